/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t gateway_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)lwr__ra_input(&r->dns, pkt);
}

static int setup(void **state)
{
	static struct rig r;

	rig_init(&r);
	r.on_packet = on_packet;
	rig_open(&r);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	return 0;
}

static void solicit(struct rig *r, const char *src, uint8_t hop_limit,
		    const char *options, size_t len)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint8_t l4[64] = { 133 };
	size_t n;

	memcpy(l4 + 8, options, len);
	n = rig_ip(frame, src, "ff02::2", LWR_PROTO_ICMP6, hop_limit, l4,
		   8 + len);
	rig_send(r, frame, n);
}

/* The first option of a type, or NULL; its length in *len. */
static const uint8_t *option(const struct rig_frame *f, uint8_t type,
			     size_t *len)
{
	const uint8_t *p = f->data + f->pkt.l4 + 16;
	const uint8_t *end = f->data + f->pkt.l4 + f->pkt.l4_len;

	for (; p < end; p += p[1] * 8) {
		assert_true(p[1] > 0 && p + p[1] * 8 <= end);
		*len = p[1] * 8u;
		if (p[0] == type)
			return p;
	}
	return NULL;
}

static const struct rig_frame *expect_advert(struct rig *r, const char *dst)
{
	const struct rig_frame *f = rig_frame(r, 0);
	struct lwr_addr d = rig_addr(dst), ll = rig_addr("fe80::2");

	assert_int_equal(r->frames, 1);
	assert_int_equal(f->pkt.ttl, 255);
	assert_true(lwr__addr_equal(&f->pkt.src, &ll));
	assert_true(lwr__addr_equal(&f->pkt.dst, &d));
	/* Hop limit 64, no flags, router lifetime 65535 s, no timers. */
	assert_memory_equal(f->data + f->pkt.l4, "\x86\0", 2);
	assert_memory_equal(f->data + f->pkt.l4 + 4,
			    "\x40\0\xff\xff\0\0\0\0\0\0\0\0", 12);
	return f;
}

static void rs_gets_everything_a_guest_needs(void **state)
{
	struct rig *r = *state;
	const struct rig_frame *f;
	const uint8_t *o;
	size_t len;

	lwr__dns_parse(&r->dns, "search a.example b\n");
	solicit(r, "fe80::5054", 255, "\x01\x01\x02\0\0\0\0\x09", 8);
	f = expect_advert(r, "fe80::5054");
	o = option(f, 1, &len);
	assert_non_null(o);
	assert_memory_equal(o + 2, gateway_mac, 6);
	o = option(f, 5, &len);
	assert_non_null(o);
	assert_memory_equal(o + 2, "\0\0\0\0\x05\xdc", 6);
	o = option(f, 3, &len);
	assert_non_null(o);
	assert_int_equal(len, 32);
	assert_memory_equal(o + 2,
			    "\x40\xc0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"
			    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
			    30);
	o = option(f, 25, &len);
	assert_non_null(o);
	assert_int_equal(len, 24);
	assert_memory_equal(o + 4, "\xff\xff\xff\xff", 4);
	assert_memory_equal(o + 8, r->config.net.dns6.b, 16);
	o = option(f, 31, &len);
	assert_non_null(o);
	assert_int_equal(len, 24);
	assert_memory_equal(o + 8, "\1a\7example\0\1b\0\0", 16);
}

static void rs_without_address_is_answered_to_all(void **state)
{
	struct rig *r = *state;
	const struct rig_frame *f;
	size_t len;

	solicit(r, "::", 255, "", 0);
	f = expect_advert(r, "ff02::1");
	assert_memory_equal(f->data, "\x33\x33\0\0\0\x01", 6);
	assert_null(option(f, 31, &len));
}

static void longest_search_list_fits(void **state)
{
	struct rig *r = *state;
	char text[LWR_DOMAIN_MAX + 20] = "search ";
	size_t len;

	for (size_t i = 0; i < LWR_DOMAIN_MAX; i++)
		text[7 + i] = i % 2 ? ' ' : 'a';
	lwr__dns_parse(&r->dns, text);
	assert_int_equal(strlen(r->dns.search), LWR_DOMAIN_MAX);
	solicit(r, "::", 255, "", 0);
	assert_non_null(option(expect_advert(r, "ff02::1"), 31, &len));
	assert_int_equal(len, 8 + 256);
}

static void mtu_is_the_links(void **state)
{
	struct rig *r = *state;
	size_t len;

	r->link.caps.mtu = 65520;
	solicit(r, "::", 255, "", 0);
	assert_memory_equal(option(expect_advert(r, "ff02::1"), 5, &len) + 4,
			    "\0\0\xff\xf0", 4);
}

static void invalid_rs_is_dropped(void **state)
{
	struct rig *r = *state;

	solicit(r, "fe80::5054", 64, "", 0);
	solicit(r, "::", 255, "\x01\x01\x02\0\0\0\0\x09", 8);
	solicit(r, "fe80::5054", 255, "\x01\0\0\0\0\0\0\0", 8);
	solicit(r, "fe80::5054", 255, "\x01\x02\0\0\0\0\0\0", 8);
	solicit(r, "fe80::5054", 255, "\x01", 1);
	assert_int_equal(r->link.stats.drop_malformed, 5);
	solicit(r, "2001:db8::1", 255, "", 0);
	assert_int_equal(r->link.stats.drop_source, 1);
	assert_int_equal(r->frames, 0);
}

static void without_ipv6_there_is_no_router(void **state)
{
	struct rig *r = *state;

	r->config.net.ipv6 = false;
	solicit(r, "::", 255, "", 0);
	solicit(r, "fe80::5054", 255, "", 0);
	assert_int_equal(r->link.stats.drop_source, 0);
	assert_int_equal(r->frames, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rs_gets_everything_a_guest_needs),
		TEST(rs_without_address_is_answered_to_all),
		TEST(longest_search_list_fits),
		TEST(mtu_is_the_links),
		TEST(invalid_rs_is_dropped),
		TEST(without_ipv6_there_is_no_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
