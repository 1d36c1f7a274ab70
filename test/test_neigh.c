/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"
#include "test/rig.h"

#include "core/csum.h"

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
	if (!lwr__arp_input(&services, pkt))
		(void)lwr__ndp_input(&services, pkt);
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

/* ---- ARP ----------------------------------------------------------------- */

struct arp {
	uint16_t hardware, op, lengths;
	const uint8_t *mac;
	const char *sender, *target;
};

static void send_arp(struct rig *r, const struct arp *a)
{
	struct lwr_addr sender = rig_addr(a->sender);
	struct lwr_addr target = rig_addr(a->target);
	uint8_t buf[60] = { 0 };
	struct lwr_cursor c = lwr__cursor(buf, sizeof(buf));

	lwr__cursor_put_bytes(&c, "\xff\xff\xff\xff\xff\xff", 6);
	lwr__cursor_put_bytes(&c, rig_mac, 6);
	lwr__cursor_put_u16(&c, LWR_ETHERTYPE_ARP);
	lwr__cursor_put_u16(&c, a->hardware);
	lwr__cursor_put_u16(&c, LWR_ETHERTYPE_IP4);
	lwr__cursor_put_u16(&c, a->lengths);
	lwr__cursor_put_u16(&c, a->op);
	lwr__cursor_put_bytes(&c, a->mac, 6);
	lwr__cursor_put_bytes(&c, sender.b + 12, 4);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_bytes(&c, target.b + 12, 4);
	rig_send(r, buf, sizeof(buf));
}

static void ask_arp(struct rig *r, const char *sender, const char *target)
{
	struct arp a = { 1, 1, 0x604, rig_mac, sender, target };

	send_arp(r, &a);
}

static void expect_arp(struct rig *r, const char *who, const char *asker)
{
	const struct rig_frame *f = rig_frame(r, 0);
	struct lwr_addr ours = rig_addr(who), theirs = rig_addr(asker);
	const uint8_t *b = f->data;

	assert_int_equal(r->frames, 1);
	assert_int_equal(f->len, 42);
	assert_memory_equal(b, rig_mac, 6);
	assert_memory_equal(b + 12, "\x08\x06\0\x01\x08\0\x06\x04\0\x02", 10);
	assert_memory_equal(b + 22, gateway_mac, 6);
	assert_memory_equal(b + 28, ours.b + 12, 4);
	assert_memory_equal(b + 32, rig_mac, 6);
	assert_memory_equal(b + 38, theirs.b + 12, 4);
}

static void arp_for_gateway_and_dns_is_answered(void **state)
{
	struct rig *r = *state;

	ask_arp(r, "10.0.2.15", "10.0.2.2");
	expect_arp(r, "10.0.2.2", "10.0.2.15");
	rig_clear(r);
	ask_arp(r, "10.0.2.15", "10.0.2.3");
	expect_arp(r, "10.0.2.3", "10.0.2.15");
}

static void arp_probe_for_gateway_is_answered(void **state)
{
	struct rig *r = *state;

	ask_arp(r, "0.0.0.0", "10.0.2.2");
	expect_arp(r, "10.0.2.2", "0.0.0.0");
}

static void arp_for_anybody_else_is_not(void **state)
{
	struct rig *r = *state;

	ask_arp(r, "0.0.0.0", "10.0.2.15");
	ask_arp(r, "10.0.2.15", "10.0.2.15");
	ask_arp(r, "10.0.2.15", "10.0.2.16");
	ask_arp(r, "10.0.2.15", "192.0.2.1");
	assert_int_equal(r->frames, 0);
}

/* To everybody, and once in ten seconds. */
static void arp_claim_of_our_address_is_contradicted(void **state)
{
	struct rig *r = *state;
	const uint8_t *b;

	ask_arp(r, "10.0.2.2", "10.0.2.2");
	ask_arp(r, "10.0.2.2", "10.0.2.15");
	ask_arp(r, "10.0.2.3", "10.0.2.3");
	assert_int_equal(r->frames, 1);
	b = rig_frame(r, 0)->data;
	assert_memory_equal(b, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(b + 20, "\0\x01", 2);
	assert_memory_equal(b + 22, gateway_mac, 6);
	assert_memory_equal(b + 28, "\x0a\0\x02\x02", 4);
	assert_memory_equal(b + 38, "\x0a\0\x02\x02", 4);
	rig_later(r, 10000);
	ask_arp(r, "10.0.2.3", "10.0.2.3");
	assert_int_equal(r->frames, 2);
}

static void arp_that_is_no_request_is_not(void **state)
{
	struct rig *r = *state;
	struct arp reply = { 1, 2, 0x604, rig_mac, "10.0.2.15", "10.0.2.2" };
	struct arp token = { 6, 1, 0x604, rig_mac, "10.0.2.15", "10.0.2.2" };
	struct arp sizes = { 1, 1, 0x610, rig_mac, "10.0.2.15", "10.0.2.2" };
	struct arp group = { 1,		  1,
			     0x604,	  (const uint8_t *)"\x01\0\x5e\0\0\x01",
			     "10.0.2.15", "10.0.2.2" };

	send_arp(r, &reply);
	assert_int_equal(r->link.stats.drop_malformed, 0);
	send_arp(r, &token);
	send_arp(r, &sizes);
	send_arp(r, &group);
	assert_int_equal(r->link.stats.drop_malformed, 3);
	assert_int_equal(r->frames, 0);
}

/* ---- NDP ----------------------------------------------------------------- */

struct solicit {
	const char *src, *dst, *target;
	uint8_t hop_limit, code;
	const char *options;
	size_t options_len;
};

static const char source_mac_option[] = "\x01\x01\x02\0\0\0\0\x09";

static void send_solicit(struct rig *r, const struct solicit *s)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct lwr_addr target = rig_addr(s->target);
	uint8_t l4[128] = { 0 };
	struct lwr_cursor c = lwr__cursor(l4, sizeof(l4));
	size_t len;

	lwr__cursor_put_u8(&c, 135);
	lwr__cursor_put_u8(&c, s->code);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_bytes(&c, target.b, 16);
	lwr__cursor_put_bytes(&c, s->options, s->options_len);
	len = rig_ip(frame, s->src, s->dst, LWR_PROTO_ICMP6, s->hop_limit, l4,
		     sizeof(l4) - c.left);
	rig_send(r, frame, len);
}

static void ask_ndp(struct rig *r, const char *src, const char *dst,
		    const char *target)
{
	struct solicit s = { src, dst, target, 255, 0, source_mac_option, 8 };

	if (strcmp(src, "::") == 0)
		s.options_len = 0;
	send_solicit(r, &s);
}

static void expect_advert(struct rig *r, const char *dst, const char *target,
			  uint8_t flags)
{
	const struct rig_frame *f = rig_frame(r, 0);
	struct lwr_addr d = rig_addr(dst), t = rig_addr(target);
	const uint8_t *b = f->data + f->pkt.l4;

	assert_int_equal(r->frames, 1);
	assert_int_equal(f->pkt.proto, LWR_PROTO_ICMP6);
	assert_int_equal(f->pkt.ttl, 255);
	assert_int_equal(f->pkt.l4_len, 32);
	assert_true(lwr__addr_equal(&f->pkt.dst, &d));
	assert_true(lwr__addr_equal(&f->pkt.src, &t));
	assert_int_equal(b[0], 136);
	assert_int_equal(b[1], 0);
	assert_int_equal(b[4], flags);
	assert_memory_equal(b + 8, t.b, 16);
	assert_memory_equal(b + 24, "\x02\x01", 2);
	assert_memory_equal(b + 26, gateway_mac, 6);
}

static void ns_for_own_addresses_is_answered(void **state)
{
	static const char *const own[] = { "fd00::2", "fd00::3", "fe80::2" };
	struct rig *r = *state;

	for (size_t i = 0; i < 3; i++) {
		/* To the solicited-node group, and to the address itself. */
		ask_ndp(r, "fd00::15", "ff02::1:ff00:2", own[i]);
		expect_advert(r, "fd00::15", own[i], 0xe0);
		assert_memory_equal(r->frame[0].data, rig_mac, 6);
		rig_clear(r);
		ask_ndp(r, "fe80::15", own[i], own[i]);
		expect_advert(r, "fe80::15", own[i], 0xe0);
		rig_clear(r);
	}
}

static void dad_probe_for_own_address_is_answered_to_all(void **state)
{
	struct rig *r = *state;

	ask_ndp(r, "::", "ff02::1:ff00:2", "fd00::2");
	expect_advert(r, "ff02::1", "fd00::2", 0xa0);
	assert_memory_equal(r->frame[0].data, "\x33\x33\0\0\0\x01", 6);
}

static void ns_for_anybody_else_is_not_answered(void **state)
{
	struct rig *r = *state;

	ask_ndp(r, "::", "ff02::1:ff00:15", "fd00::15");
	ask_ndp(r, "fd00::15", "ff02::1:ff00:15", "fd00::15");
	ask_ndp(r, "::", "ff02::1:ff00:15", "fe80::15");
	ask_ndp(r, "fd00::15", "ff02::1:ff00:1", "2001:db8::1");
	ask_ndp(r, "fd00::15", "ff02::1:ff00:1", "::ffff:10.0.2.2");
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.drop_malformed, 0);
}

static void invalid_ns_is_dropped(void **state)
{
	static const struct solicit bad[] = {
		{ "fd00::15", "fd00::2", "fd00::2", 254, 0, NULL, 0 },
		{ "fd00::15", "fd00::2", "fd00::2", 255, 1, NULL, 0 },
		{ "fd00::15", "fd00::2", "ff02::1", 255, 0, NULL, 0 },
		/* An option without length, one that is cut off. */
		{ "fd00::15", "fd00::2", "fd00::2", 255, 0,
		  "\x01\0\0\0\0\0\0\0", 8 },
		{ "fd00::15", "fd00::2", "fd00::2", 255, 0,
		  "\x01\x02\0\0\0\0\0\0", 8 },
		{ "fd00::15", "fd00::2", "fd00::2", 255, 0, "\x01", 1 },
		/* A probe to an address, and one that names its sender. */
		{ "::", "fd00::2", "fd00::2", 255, 0, NULL, 0 },
		{ "::", "ff02::1:ff00:2", "fd00::2", 255, 0, source_mac_option,
		  8 },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		send_solicit(r, &bad[i]);
		assert_int_equal(r->link.stats.drop_malformed, i + 1);
	}
	assert_int_equal(r->frames, 0);
}

static void ns_from_a_foreign_address_is_dropped(void **state)
{
	struct rig *r = *state;

	ask_ndp(r, "2001:db8::1", "fd00::2", "fd00::2");
	ask_ndp(r, "fd00::2", "fd00::2", "fd00::2");
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.drop_source, 2);
}

static void short_ns_is_dropped(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint8_t l4[23] = { 135 };
	struct rig *r = *state;
	size_t len;

	for (size_t n = 8; n < sizeof(l4); n++) {
		len = rig_ip(frame, "fd00::15", "fd00::2", LWR_PROTO_ICMP6, 255,
			     l4, n);
		rig_send(r, frame, len);
	}
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.drop_malformed, 15);
}

static void send_claim(struct rig *r, const char *target, uint8_t hop_limit)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct lwr_addr t = rig_addr(target);
	uint8_t l4[24] = { 136, 0, 0, 0, 0x20 };
	size_t len;

	memcpy(l4 + 8, t.b, 16);
	len = rig_ip(frame, "fe80::15", "ff02::1", LWR_PROTO_ICMP6, hop_limit,
		     l4, sizeof(l4));
	rig_send(r, frame, len);
}

static void claim_of_our_address_is_contradicted(void **state)
{
	struct rig *r = *state;

	send_claim(r, "fd00::15", 255);
	send_claim(r, "fd00::2", 64); /* from beyond the link */
	assert_int_equal(r->frames, 0);
	send_claim(r, "fd00::2", 255);
	send_claim(r, "fd00::2", 255);
	expect_advert(r, "ff02::1", "fd00::2", 0xa0);
}

static void without_ipv6_ns_is_not_answered(void **state)
{
	struct rig *r = *state;

	r->config.net.ipv6 = false;
	ask_ndp(r, "fd00::15", "ff02::1:ff00:2", "fd00::2");
	ask_ndp(r, "::", "ff02::1:ff00:2", "fd00::2");
	assert_int_equal(r->frames, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(arp_for_gateway_and_dns_is_answered),
		TEST(arp_probe_for_gateway_is_answered),
		TEST(arp_for_anybody_else_is_not),
		TEST(arp_claim_of_our_address_is_contradicted),
		TEST(arp_that_is_no_request_is_not),
		TEST(ns_for_own_addresses_is_answered),
		TEST(dad_probe_for_own_address_is_answered_to_all),
		TEST(ns_for_anybody_else_is_not_answered),
		TEST(invalid_ns_is_dropped),
		TEST(ns_from_a_foreign_address_is_dropped),
		TEST(short_ns_is_dropped),
		TEST(claim_of_our_address_is_contradicted),
		TEST(without_ipv6_ns_is_not_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
