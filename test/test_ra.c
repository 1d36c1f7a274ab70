/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t gateway_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

static struct lwr_services services;

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)r;
	(void)lwr__ra_input(&services, pkt);
}

static int setup(void **state)
{
	static struct rig r;

	rig_init(&r);
	r.on_packet = on_packet;
	rig_open(&r);
	lwr__services_init(&services, &r.stack, &r.dns);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	lwr__services_fini(&services);
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
	/* Hop limit 64, M and O, router lifetime 1800 s, no timers. */
	assert_memory_equal(f->data + f->pkt.l4, "\x86\0", 2);
	assert_memory_equal(f->data + f->pkt.l4 + 4, "\x40\xc0", 2);
	assert_memory_equal(f->data + f->pkt.l4 + 6,
			    services.ipv6 ? "\x07\x08" : "\0\0", 2);
	assert_memory_equal(f->data + f->pkt.l4 + 8, "\0\0\0\0\0\0\0\0", 8);
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
			    "\x40\xc0\0\x27\x8d\0\0\x09\x3a\x80\0\0\0\0"
			    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
			    30);
	o = option(f, 25, &len);
	assert_non_null(o);
	assert_int_equal(len, 24);
	assert_memory_equal(o + 4, "\0\0\x07\x08", 4);
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

static void rs_without_address_is_answered_every_three_seconds(void **state)
{
	struct rig *r = *state;

	solicit(r, "::", 255, "", 0);
	assert_int_equal(r->frames, 1);
	rig_later(r, 1000);
	solicit(r, "::", 255, "", 0);
	solicit(r, "::", 255, "", 0);
	assert_int_equal(r->frames, 1);
	rig_later(r, 1999);
	lwr__ra_timer(&services.timer);
	rig_flush(r);
	assert_int_equal(r->frames, 1);
	rig_later(r, 1);
	lwr__ra_timer(&services.timer);
	rig_flush(r);
	assert_int_equal(r->frames, 2);
	/* Those with an address need not wait. */
	rig_clear(r);
	solicit(r, "fe80::5054", 255, "", 0);
	(void)expect_advert(r, "fe80::5054");
}

static void timer_runs_only_for_who_solicited(void **state)
{
	struct rig *r = *state;

	assert_false(lwr__timer_active(&services.timer));
	solicit(r, "fe80::5054", 255, "", 0);
	assert_true(lwr__timer_active(&services.timer));
	rig_clear(r);
	rig_later(r, 199 * 1000);
	lwr__ra_timer(&services.timer);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	rig_later(r, 402 * 1000);
	lwr__ra_timer(&services.timer);
	rig_flush(r);
	(void)expect_advert(r, "ff02::1");
	assert_true(lwr__timer_active(&services.timer));
	lwr__services_link_down(&services, &r->link);
	rig_clear(r);
	rig_later(r, 601 * 1000);
	lwr__ra_timer(&services.timer);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	assert_false(lwr__timer_active(&services.timer));
}

static void loss_of_ipv6_is_told_at_once_and_its_return(void **state)
{
	struct rig *r = *state;
	const uint8_t *o;
	size_t len;

	solicit(r, "fe80::5054", 255, "", 0);
	rig_clear(r);
	lwr__ra_set_ipv6(&services, false);
	rig_flush(r);
	o = option(expect_advert(r, "ff02::1"), 3, &len);
	assert_memory_equal(o + 4, "\0\x27\x8d\0\0\0\0\0", 8);
	o = option(rig_frame(r, 0), 25, &len);
	assert_memory_equal(o + 4, "\0\0\0\0", 4);
	assert_false(lwr__timer_active(&services.timer));
	rig_clear(r);
	solicit(r, "fe80::5054", 255, "", 0);
	lwr__ra_set_ipv6(&services, false);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	rig_later(r, 3000);
	lwr__ra_set_ipv6(&services, true);
	rig_flush(r);
	o = option(expect_advert(r, "ff02::1"), 3, &len);
	assert_memory_equal(o + 8, "\0\x09\x3a\x80", 4);
	assert_true(lwr__timer_active(&services.timer));
}

static void nobody_is_told_before_a_guest_is_there(void **state)
{
	struct rig *r = *state;

	lwr__ra_set_ipv6(&services, false);
	lwr__ra_set_ipv6(&services, true);
	rig_flush(r);
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
		TEST(rs_without_address_is_answered_every_three_seconds),
		TEST(timer_runs_only_for_who_solicited),
		TEST(loss_of_ipv6_is_told_at_once_and_its_return),
		TEST(nobody_is_told_before_a_guest_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
