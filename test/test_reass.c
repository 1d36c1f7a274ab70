/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments through the real stack, on a virtual clock. */
#include "core/reass.h"
#include "test/fake_loop.h"
#include "test/rig.h"

#include "core/csum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
	unsigned packets; /* that came out whole */
	size_t len; /* UDP payload of the last one */
	uint8_t data[65536];
	uint8_t proto;
	struct lwr_addr src;
} world;

/* ---- the guest ----------------------------------------------------------- */

enum { ID = 0x1234 };

static uint8_t payload[70000]; /* UDP header and data */

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)r;
	assert_false(pkt->fragment);
	assert_true(pkt->reassembled);
	world.packets++;
	world.proto = pkt->proto;
	world.src = pkt->src;
	world.len = pkt->l4_len;
	memcpy(world.data, pkt->data + pkt->l4, pkt->l4_len);
}

static int setup(void **state)
{
	static struct rig r;

	memset(&world, 0, sizeof(world));
	fake_loop_reset();
	rig_init(&r);
	r.on_packet = on_packet;
	rig_open(&r);
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + i / 255);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	assert_int_equal(fake_events(), 0);
	return 0;
}

static void make_udp(bool four, size_t len)
{
	struct lwr_addr src = rig_addr(four ? "10.0.2.15" : "fd00::15");
	struct lwr_addr dst = rig_addr(four ? "192.0.2.1" : "2001:db8::1");
	struct lwr_cursor c = lwr__cursor(payload, 8);
	uint16_t sum;

	lwr__cursor_put_u16(&c, 4000);
	lwr__cursor_put_u16(&c, 7);
	lwr__cursor_put_u16(&c, (uint16_t)len);
	lwr__cursor_put_u16(&c, 0);
	sum = lwr__csum(lwr__csum_pseudo(&src, &dst, LWR_PROTO_UDP,
					 (uint32_t)len),
			payload, len);
	memcpy(payload + 6, &sum, 2);
}

static void fix_sum4(uint8_t *ip)
{
	uint16_t sum;

	memset(ip + 10, 0, 2);
	sum = lwr__csum(0, ip, 20);
	memcpy(ip + 10, &sum, 2);
}

/* Sends bytes [off, off + len) of `data` as a fragment. */
static void send_data(struct rig *r, bool four, uint32_t id, size_t off,
		      size_t len, bool more, const uint8_t *data)
{
	static uint8_t frame[RIG_FRAME_MAX], body[RIG_FRAME_MAX];
	struct lwr_cursor c = lwr__cursor(body, sizeof(body));
	size_t n;

	if (!four) {
		lwr__cursor_put_u16(&c, LWR_PROTO_UDP << 8);
		lwr__cursor_put_u16(&c, (uint16_t)(off | (more ? 1 : 0)));
		lwr__cursor_put_u32(&c, id);
	}
	lwr__cursor_put_bytes(&c, data, len);
	n = rig_ip(frame, four ? "10.0.2.15" : "fd00::15",
		   four ? "192.0.2.1" : "2001:db8::1", four ? 253 : 44, 64,
		   body, len + (four ? 0u : 8u));
	if (four) {
		/* rig_ip() wrote a checksum: take the bytes as they are */
		memcpy(frame + 34, data, len);
		frame[14 + 4] = (uint8_t)(id >> 8);
		frame[14 + 5] = (uint8_t)id;
		frame[14 + 6] = (uint8_t)((more ? 0x20 : 0) | off >> 11);
		frame[14 + 7] = (uint8_t)(off >> 3);
		frame[14 + 9] = LWR_PROTO_UDP;
		fix_sum4(frame + 14);
	} else {
		memcpy(frame + 54, body, len + 8);
	}
	rig_send(r, frame, n);
}

static void send_part(struct rig *r, bool four, size_t off, size_t len,
		      bool more)
{
	send_data(r, four, ID, off, len, more, payload + off);
}

static void expect_whole(size_t len)
{
	assert_int_equal(world.packets, 1);
	assert_int_equal(world.len, len);
	assert_int_equal(world.proto, LWR_PROTO_UDP);
	assert_memory_equal(world.data, payload, len);
	world.packets = 0;
}

static size_t parts(bool four, size_t len, size_t *size)
{
	*size = four ? 1480 : 1448;
	return (len + *size - 1) / *size;
}

static void send_nth(struct rig *r, bool four, size_t len, size_t i)
{
	size_t size, n = parts(four, len, &size), off = i * size;

	send_part(r, four, off, i + 1 < n ? size : len - off, i + 1 < n);
}

/* ---- tests --------------------------------------------------------------- */

static void every_size_is_put_together(void **state)
{
	static const size_t sizes[] = { 1481, 1489, 4104, 9000, 65515 };
	struct rig *r = *state;
	size_t size;

	for (int four = 0; four < 2; four++) {
		for (size_t k = 0; k < 5; k++) {
			make_udp(four, sizes[k]);
			for (size_t i = 0; i < parts(four, sizes[k], &size);
			     i++)
				send_nth(r, four, sizes[k], i);
			expect_whole(sizes[k]);
		}
	}
	assert_int_equal(r->link.stats.drop_fragment, 0);
	assert_int_equal(r->stack.reass.bytes, 0);
}

static void order_does_not_matter(void **state)
{
	enum { LEN = 20000 };
	struct rig *r = *state;
	size_t size, n;

	for (int four = 0; four < 2; four++) {
		make_udp(four, LEN);
		n = parts(four, LEN, &size);
		for (size_t i = n; i > 0; i--)
			send_nth(r, four, LEN, i - 1);
		expect_whole(LEN);
		for (size_t i = 0; i < n; i++)
			send_nth(r, four, LEN, i * 5 % n); /* n: 14 */
		expect_whole(LEN);
	}
}

static void duplicates_are_ignored(void **state)
{
	enum { LEN = 5000 };
	struct rig *r = *state;
	size_t size;

	for (int four = 0; four < 2; four++) {
		make_udp(four, LEN);
		for (size_t i = 0; i < parts(four, LEN, &size); i++) {
			send_nth(r, four, LEN, i);
			if (i + 1 < parts(four, LEN, &size))
				send_nth(r, four, LEN, i);
		}
		expect_whole(LEN);
	}
	assert_int_equal(r->link.stats.drop_fragment, 0);
}

static void overlap_drops_the_set(void **state)
{
	struct rig *r = *state;

	for (int four = 0; four < 2; four++) {
		make_udp(four, 3000);
		send_part(r, four, 0, 1448, true);
		send_part(r, four, 1440, 1448, true); /* 8 bytes too early */
		send_part(r, four, 1448, 1552, false);
		assert_int_equal(world.packets, 0);
		/* What is left of it is swallowed, even if it were complete. */
		send_part(r, four, 0, 1448, true);
		send_part(r, four, 1448, 1552, false);
		assert_int_equal(world.packets, 0);
		assert_int_equal(r->frames, 0);
		fake_run(60000);
		assert_int_equal(r->stack.reass.bytes, 0);
		assert_int_equal(r->frames, 0); /* and nobody is told */
	}
	assert_int_equal(r->link.stats.drop_fragment, 10);
}

static void same_place_with_other_bytes_is_an_overlap(void **state)
{
	static const uint8_t other[1448] = { 1 };
	struct rig *r = *state;

	make_udp(true, 3000);
	send_part(r, true, 0, 1448, true);
	send_data(r, true, ID, 0, 1448, true, other);
	send_part(r, true, 1448, 1552, false);
	assert_int_equal(world.packets, 0);
}

static void bytes_beyond_the_end_drop_the_set(void **state)
{
	struct rig *r = *state;

	make_udp(true, 3000);
	send_part(r, true, 1448, 1552, false);
	send_part(r, true, 3000, 8, true);
	send_part(r, true, 0, 1448, true);
	assert_int_equal(world.packets, 0);
	/* and the same the other way round */
	send_data(r, true, 7, 4000, 8, true, payload);
	send_data(r, true, 7, 1448, 1552, false, payload + 1448);
	send_data(r, true, 7, 0, 1448, true, payload);
	assert_int_equal(world.packets, 0);
	/* two ends */
	send_data(r, true, 8, 1448, 8, false, payload + 1448);
	send_data(r, true, 8, 1448, 1552, false, payload + 1448);
	send_data(r, true, 8, 0, 1448, true, payload);
	assert_int_equal(world.packets, 0);
}

static void impossible_fragments_are_malformed(void **state)
{
	struct rig *r = *state;

	send_part(r, true, 0, 1447, true); /* no multiple of 8 */
	send_part(r, false, 0, 1447, true);
	send_part(r, true, 65528, 8, false); /* beyond 65535 with its header */
	send_part(r, true, 0, 0, true);
	send_part(r, false, 8, 0, false);
	assert_int_equal(r->link.stats.drop_malformed, 5);
	assert_int_equal(r->stack.reass.sets.count, 0);
	assert_int_equal(fake_events(), 0);
}

static void expect_time_exceeded(struct rig *r, bool four)
{
	const struct rig_frame *f = rig_frame(r, 0);
	const uint8_t *quote;
	size_t len;

	assert_int_equal(r->frames, 1);
	assert_int_equal(f->data[f->pkt.l4], four ? 11 : 3);
	assert_int_equal(f->data[f->pkt.l4 + 1], 1);
	quote = rig_payload(f, &len);
	quote += four ? 20 : 48;
	assert_memory_equal(quote, payload, 8);
	if (four)
		assert_int_equal(lwr__csum(0, quote - 20, 20), 0);
	else
		assert_int_equal(quote[-42], 44);
	rig_clear(r);
}

static void missing_fragment_expires_and_the_guest_is_told(void **state)
{
	struct rig *r = *state;

	make_udp(true, 3000);
	send_part(r, true, 0, 1448, true);
	fake_run(29999);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	fake_run(1);
	rig_flush(r);
	expect_time_exceeded(r, true);
	make_udp(false, 3000);
	send_part(r, false, 0, 1448, true);
	fake_run(59999);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	fake_run(1);
	rig_flush(r);
	expect_time_exceeded(r, false);
	assert_int_equal(r->link.stats.drop_fragment, 2);
	assert_int_equal(fake_events(), 0);
}

static void without_the_first_fragment_nobody_is_told(void **state)
{
	struct rig *r = *state;

	send_part(r, true, 1448, 1552, false);
	fake_run(30000);
	rig_flush(r);
	assert_int_equal(r->frames, 0);
	assert_int_equal(fake_events(), 0);
}

static void sets_of_a_link_are_bounded(void **state)
{
	struct rig *r = *state;

	make_udp(true, 3000);
	for (uint32_t id = 0; id < 5000; id++)
		send_data(r, true, id, 0, 1448, true, payload);
	assert_int_equal(r->stack.reass.sets.count, LWR_REASS_SETS_LINK);
	assert_int_equal(r->link.frags.count, LWR_REASS_SETS_LINK);
	/* The newest is whole all the same. */
	send_data(r, true, 4999, 1448, 1552, false, payload + 1448);
	expect_whole(3000);
	assert_int_equal(r->link.stats.drop_fragment,
			 5000 - LWR_REASS_SETS_LINK);
}

static void bytes_of_a_link_are_bounded(void **state)
{
	struct rig *r = *state;

	for (uint32_t id = 0; id < 64; id++)
		for (size_t off = 0; off + 32000 <= 65000; off += 32000)
			send_data(r, false, id, off, 32000, true, payload);
	for (uint32_t id = 0; id < 64; id++)
		for (size_t off = 0; off < 65000; off += 128)
			send_data(r, false, 100 + id, off, 128, true, payload);
	assert_true(r->stack.reass.bytes <= LWR_REASS_BYTES_LINK);
	assert_true(r->link.frags.bytes == r->stack.reass.bytes);
}

static void tiny_fragments_are_bounded(void **state)
{
	struct rig *r = *state;

	make_udp(true, 800);
	for (size_t off = 0; off < 800; off += 8)
		send_part(r, true, off, 8, off + 8 < 800);
	expect_whole(800);
	for (size_t off = 0; off < 16384; off += 8)
		send_part(r, true, off, 8, true);
	assert_true(r->stack.reass.bytes < 1024); /* poisoned */
}

static void wrong_checksum_of_the_whole_is_dropped(void **state)
{
	struct rig *r = *state;

	make_udp(true, 3000);
	payload[2000] ^= 1;
	send_part(r, true, 0, 1448, true);
	send_part(r, true, 1448, 1552, false);
	assert_int_equal(world.packets, 0);
	assert_int_equal(r->link.stats.drop_checksum, 1);
}

static void fragments_end_with_the_link(void **state)
{
	struct rig *r = *state;

	send_part(r, true, 0, 1448, true);
	send_part(r, false, 0, 1448, true);
	lwr__stack_reset_link(&r->link);
	assert_int_equal(r->stack.reass.sets.count, 0);
	assert_int_equal(r->stack.reass.bytes, 0);
	assert_int_equal(fake_events(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_size_is_put_together),
		TEST(order_does_not_matter),
		TEST(duplicates_are_ignored),
		TEST(overlap_drops_the_set),
		TEST(same_place_with_other_bytes_is_an_overlap),
		TEST(bytes_beyond_the_end_drop_the_set),
		TEST(impossible_fragments_are_malformed),
		TEST(missing_fragment_expires_and_the_guest_is_told),
		TEST(without_the_first_fragment_nobody_is_told),
		TEST(sets_of_a_link_are_bounded),
		TEST(bytes_of_a_link_are_bounded),
		TEST(tiny_fragments_are_bounded),
		TEST(wrong_checksum_of_the_whole_is_dropped),
		TEST(fragments_end_with_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
