/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static unsigned not_taken;

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)r;
	if (!lwr__icmp_input(pkt))
		not_taken++;
}

static int setup(void **state)
{
	static struct rig r;

	not_taken = 0;
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

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
}

static void send_icmp(struct rig *r, const char *src, const char *dst,
		      uint8_t type, uint8_t code, size_t data)
{
	static uint8_t frame[RIG_FRAME_MAX], l4[RIG_FRAME_MAX];
	bool four = !strchr(src, ':');
	size_t len;

	fill(l4, 8 + data);
	l4[0] = type;
	l4[1] = code;
	len = rig_ip(frame, src, dst, four ? LWR_PROTO_ICMP : LWR_PROTO_ICMP6,
		     64, l4, 8 + data);
	rig_send(r, frame, len);
}

static void ping(struct rig *r, const char *src, const char *dst, size_t data)
{
	send_icmp(r, src, dst, strchr(src, ':') ? 128 : 8, 0, data);
}

static void expect_reply(struct rig *r, const char *src, const char *dst,
			 size_t data)
{
	static uint8_t want[RIG_FRAME_MAX];
	const struct rig_frame *f = rig_frame(r, 0);
	struct lwr_addr s = rig_addr(src), d = rig_addr(dst);
	const uint8_t *l4 = f->data + f->pkt.l4;

	assert_int_equal(r->frames, 1);
	assert_true(lwr__addr_equal(&f->pkt.src, &s));
	assert_true(lwr__addr_equal(&f->pkt.dst, &d));
	assert_int_equal(f->pkt.l4_len, 8 + data);
	assert_int_equal(l4[0], strchr(src, ':') ? 129 : 0);
	assert_int_equal(l4[1], 0);
	fill(want, 8 + data);
	assert_memory_equal(l4 + 4, want + 4, 4 + data);
	rig_clear(r);
}

static void echo_to_own_addresses_comes_back(void **state)
{
	static const char *const four[] = { "10.0.2.2", "10.0.2.3" };
	static const char *const six[] = { "fd00::2", "fd00::3", "fe80::2" };
	static const size_t sizes[] = { 0, 1, 56, 1451, 1452 };
	struct rig *r = *state;

	for (size_t n = 0; n < 5; n++) {
		for (size_t i = 0; i < 2; i++) {
			ping(r, "10.0.2.15", four[i], sizes[n]);
			expect_reply(r, four[i], "10.0.2.15", sizes[n]);
		}
		for (size_t i = 0; i < 3; i++) {
			ping(r, "fd00::15", six[i], sizes[n]);
			expect_reply(r, six[i], "fd00::15", sizes[n]);
		}
	}
	ping(r, "10.0.2.15", "10.0.2.2", 1472);
	expect_reply(r, "10.0.2.2", "10.0.2.15", 1472);
	assert_int_equal(not_taken, 0);
}

/* A link with large frames may bring more than its MTU lets out whole. */
static void large_echo_comes_back_in_fragments(void **state)
{
	struct rig *r = *state;
	size_t total = 0;

	ping(r, "10.0.2.15", "10.0.2.2", 4000);
	assert_int_equal(r->frames, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(r->frame[i].len <= 1514);
		assert_true(r->frame[i].pkt.fragment);
		total += r->frame[i].pkt.l4_len;
	}
	assert_int_equal(total, 4008);
}

static void echo_to_others_is_left_alone(void **state)
{
	struct rig *r = *state;

	ping(r, "10.0.2.15", "192.0.2.1", 8);
	ping(r, "10.0.2.15", "10.0.2.16", 8);
	ping(r, "10.0.2.15", "10.0.2.255", 8);
	ping(r, "fd00::15", "2001:db8::1", 8);
	ping(r, "fd00::15", "ff02::1", 8);
	assert_int_equal(r->frames, 0);
	assert_int_equal(not_taken, 5);
}

static void other_messages_are_left_alone(void **state)
{
	struct rig *r = *state;

	send_icmp(r, "10.0.2.15", "10.0.2.2", 0, 0, 8);
	send_icmp(r, "10.0.2.15", "10.0.2.2", 3, 3, 28);
	send_icmp(r, "10.0.2.15", "10.0.2.2", 8, 1, 8);
	send_icmp(r, "10.0.2.15", "10.0.2.2", 13, 0, 12);
	send_icmp(r, "10.0.2.15", "10.0.2.2", 128, 0, 8);
	send_icmp(r, "fd00::15", "fd00::2", 8, 0, 8);
	send_icmp(r, "fd00::15", "fd00::2", 129, 0, 8);
	assert_int_equal(r->frames, 0);
	assert_int_equal(not_taken, 7);
}

static void echo_from_a_foreign_address_is_dropped(void **state)
{
	struct rig *r = *state;

	ping(r, "192.0.2.1", "10.0.2.2", 8);
	ping(r, "0.0.0.0", "10.0.2.2", 8);
	ping(r, "10.0.2.3", "10.0.2.2", 8);
	ping(r, "2001:db8::1", "fd00::2", 8);
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.drop_source, 4);
}

static void wrong_checksum_is_dropped_unless_vouched_for(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct lwr_frame_meta vouched = { .csum_ok = true };
	uint8_t l4[16] = { 8 };
	struct rig *r = *state;
	size_t len = rig_ip(frame, "10.0.2.15", "10.0.2.2", LWR_PROTO_ICMP, 64,
			    l4, sizeof(l4));

	frame[len - 1] ^= 1;
	rig_send(r, frame, len);
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.drop_checksum, 1);
	rig_send_meta(r, frame, len, &vouched);
	(void)rig_frame(r, 0);
	assert_int_equal(r->frames, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(echo_to_own_addresses_comes_back),
		TEST(large_echo_comes_back_in_fragments),
		TEST(echo_to_others_is_left_alone),
		TEST(other_messages_are_left_alone),
		TEST(echo_from_a_foreign_address_is_dropped),
		TEST(wrong_checksum_is_dropped_unless_vouched_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
