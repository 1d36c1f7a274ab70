/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/udp_world.h"

/* ---- relaying ------------------------------------------------------------ */

static void datagram_goes_out_and_its_answer_comes_back(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "hello");
	expect_sent("192.0.2.1", 7, "hello");
	arrive(host.fd, "192.0.2.1", 7, "world", 5);
	run(w);
	assert_int_equal(w->rig.frames, 1);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "world");
	assert_int_equal(stats(w)->udp_opened, 1);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void ipv6_has_its_own_socket(void **state)
{
	struct world *w = *state;

	say(w, "fd00::15", 4000, "2001:db8::1", 7, "six");
	expect_sent("2001:db8::1", 7, "six");
	arrive(host.fd, "2001:db8::1", 7, "", 0);
	run(w);
	expect_received(w, 0, "2001:db8::1", 7, "fd00::15", 4000, "");
}

static void empty_datagrams_pass(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "");
	assert_int_equal(host.sends, 1);
	expect_sent("192.0.2.1", 7, "");
	arrive(host.fd, "192.0.2.1", 7, "", 0);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "");
}

static void one_socket_for_all_destinations(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	fd = host.fd;
	say(w, "10.0.2.15", 4000, "192.0.2.2", 8, "b");
	assert_int_equal(host.fd, fd);
	assert_int_equal(host.opened, 1);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "c");
	assert_int_not_equal(host.fd, fd);
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.2", 8, "B", 1);
	arrive(fd, "192.0.2.1", 7, "A", 1);
	run(w);
	expect_received(w, 0, "192.0.2.2", 8, "10.0.2.15", 4000, "B");
	expect_received(w, 1, "192.0.2.1", 7, "10.0.2.15", 4000, "A");
}

static void strangers_are_not_heard(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 8, "x", 1);
	arrive(host.fd, "192.0.2.2", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
}

static void thousand_peers_are_all_heard(void **state)
{
	struct world *w = *state;
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;

	for (uint32_t i = 0; i < 1000; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
	}
	assert_int_equal(host.opened, 1);
	for (uint32_t i = 0; i < 1000; i += 50) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		arrive(host.fd, lwr__addr_text(&a, text), 7, "b", 1);
	}
	run(w);
	assert_int_equal(w->rig.frames, 20);
}

static void oldest_peer_is_forgotten_at_the_limit(void **state)
{
	struct world *w = *state; /* max_udp 8: 32 peers for all flows */
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;
	int fd;

	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "other");
	fd = host.fd;
	for (uint32_t i = 0; i < 40; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
		say(w, "10.0.2.15", 4000, "192.0.2.0", 7, "kept");
	}
	arrive(host.fd, "192.0.2.1", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	arrive(host.fd, "192.0.2.0", 7, "x", 1);
	arrive(host.fd, "192.0.2.39", 7, "x", 1);
	arrive(fd, "192.0.2.1", 7, "x", 1); /* another flow's peer */
	run(w);
	assert_int_equal(w->rig.frames, 3);
	assert_true(w->udp.peers.count <= 32);
}

static void gateway_is_the_hosts_loopback_if_opened(void **state)
{
	struct world *w = *state;

	w->rig.config.net.host_loopback = true;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	expect_sent("127.0.0.1", 7, "a");
	arrive(host.fd, "127.0.0.1", 7, "b", 1);
	run(w);
	expect_received(w, 0, "10.0.2.2", 7, "10.0.2.15", 4000, "b");
}

static void train_of_the_guest_stays_whole(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX], data[4000];
	struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 1200 };
	struct world *w = *state;
	size_t len = rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, data,
			     sizeof(data));

	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(host.sends, 1);
	assert_int_equal(host.seg, 1200);
	assert_int_equal(host.len, sizeof(data));
}

/* Nothing of the queue behind it is sent or quoted. */
static void train_of_less_than_one_datagram_is_none(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 60000 };
	struct world *w = *state;
	size_t len =
		rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, "abcd", 4);

	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(host.seg, 0);
	assert_int_equal(host.len, 4);
	host.send_error = -EACCES;
	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(w->rig.frames, 1);
	assert_int_equal(w->rig.frame[0].len, 14 + 20 + 8 + 20 + 8 + 4);
}

static void train_of_the_host_is_cut_for_the_guest(void **state)
{
	static uint8_t data[64 * 1000];
	struct world *w = *state;
	size_t total = 0, len;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 1000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data) - 500, 1000);
	run(w);
	assert_int_equal(w->rig.frames, 64);
	for (unsigned i = 0; i < 64; i++) {
		const uint8_t *p = rig_payload(rig_frame(&w->rig, i), &len);

		assert_int_equal(len, i < 63 ? 1000 : 500);
		assert_memory_equal(p, data + i * 1000, len);
		total += len;
	}
	assert_int_equal(total, sizeof(data) - 500);
}

static void train_of_the_host_stays_whole_where_the_link_cuts(void **state)
{
	static uint8_t data[65000];
	struct world *w = *state;

	w->rig.link.caps.uso_h2g = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data), 1300);
	run(w);
	/* Two frames: with its headers one would exceed what a pbuf holds. */
	assert_int_equal(w->rig.frames, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(w->rig.frame[i].gso, LWR_GSO_UDP);
		assert_int_equal(w->rig.frame[i].gso_size, 1300);
	}
}

static void large_datagram_reaches_the_guest_in_fragments(void **state)
{
	static uint8_t data[65507];
	struct world *w = *state;
	size_t total = 0;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, data, sizeof(data));
	run(w);
	for (unsigned i = 0; i < w->rig.frames; i++) {
		assert_true(w->rig.frame[i].len <= 1514);
		total += w->rig.frame[i].pkt.l4_len;
	}
	assert_int_equal(total, 8 + sizeof(data));
}

/* ---- back-pressure ------------------------------------------------------- */

static void full_ring_stops_reading_not_the_loop(void **state)
{
	struct world *w = *state;
	unsigned receives;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	w->rig.stuck = true;
	for (int i = 0; i < 200; i++)
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w); /* comes back: it does not spin */
	receives = host.receives;
	assert_true(receives < 200);
	run(w);
	assert_int_equal(host.receives, receives);
	assert_int_equal(stats(w)->drop_ring_full, 0);
	w->rig.stuck = false;
	run(w); /* as after the link's writable event */
	assert_int_equal(w->rig.frames, 200);
	assert_int_equal(stats(w)->drop_ring_full, 0);
}

static void flooded_flow_leaves_the_others_their_turn(void **state)
{
	struct world *w = *state;
	int flooded;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	flooded = host.fd;
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	for (int i = 0; i < 200; i++)
		arrive(flooded, "192.0.2.1", 7, "b", 1);
	arrive(host.fd, "192.0.2.1", 7, "c", 1);
	assert_true(lwr__udp_tick(&w->udp));
	lwr__stack_flush(&w->rig.stack);
	expect_received(w, w->rig.frames - 1, "192.0.2.1", 7, "10.0.2.15", 4001,
			"c");
	assert_true(w->rig.frames < 100);
	run(w);
	assert_int_equal(w->rig.frames, 201);
}

static void datagrams_in_numbers_are_left_to_gather(void **state)
{
	struct world *w = *state;
	uint64_t looks;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, "1", 1);
	run(w);
	/* One alone was no sign of more. */
	arrive(host.fd, "192.0.2.1", 7, "2", 1);
	arrive(host.fd, "192.0.2.1", 7, "3", 1);
	assert_false(lwr__udp_tick(&w->udp));
	lwr__stack_flush(&w->rig.stack);
	assert_int_equal(w->rig.frames, 3);
	/* Two were. */
	arrive(host.fd, "192.0.2.1", 7, "4", 1);
	assert_true(lwr__udp_tick(&w->udp));
	lwr__stack_flush(&w->rig.stack);
	assert_int_equal(w->rig.frames, 3);
	looks = one_timer.looks;
	run(w);
	assert_int_equal(w->rig.frames, 4);
	assert_in_range(one_timer.looks - looks, 30, 50);
}

static void large_datagrams_one_by_one_do_not_gather(void **state)
{
	static const uint8_t large[5000];
	struct world *w = *state;
	unsigned before;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 5; i++) {
		before = w->rig.frames;
		arrive(host.fd, "192.0.2.1", 7, large, sizeof(large));
		assert_false(lwr__udp_tick(&w->udp));
		lwr__stack_flush(&w->rig.stack);
		assert_int_equal(w->rig.frames, before + 4); /* fragments */
	}
}

/* ---- batches --------------------------------------------------------------- */

/* Without a tick, so that several wait for it. */
static void queue(struct world *w, uint16_t sport, const char *dst,
		  const void *data, size_t len)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t n = rig_udp(frame, "10.0.2.15", sport, dst, 7, data, len);

	rig_send(&w->rig, frame, n);
}

static void datagrams_of_a_tick_are_one_call_for_a_socket(void **state)
{
	struct world *w = *state;
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;

	for (uint32_t i = 0; i < 40; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		queue(w, (uint16_t)(4000 + i % 2), lwr__addr_text(&a, text),
		      "data", 4);
	}
	assert_int_equal(host.calls, 0);
	run(w);
	assert_int_equal(host.calls, 2);
	assert_int_equal(host.sends, 40);
}

static void equal_datagrams_to_one_peer_are_a_train(void **state)
{
	static uint8_t data[1000];
	struct world *w = *state;

	for (int i = 0; i < 10; i++) {
		data[0] = (uint8_t)i;
		queue(w, 4000, "192.0.2.1", data, i < 9 ? 1000 : 300);
	}
	run(w);
	assert_int_equal(host.sends, 1);
	assert_int_equal(host.seg, 1000);
	assert_int_equal(host.len, 9300);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(host.data[i * 1000], i);
}

static void train_ends_where_something_differs(void **state)
{
	static uint8_t data[1000];
	struct world *w = *state;

	queue(w, 4000, "192.0.2.1", data, 1000);
	queue(w, 4000, "192.0.2.1", data, 500); /* ends the train */
	queue(w, 4000, "192.0.2.1", data, 500);
	queue(w, 4000, "192.0.2.1", data, 501); /* larger */
	queue(w, 4000, "192.0.2.2", data, 501); /* to another */
	queue(w, 4000, "192.0.2.2", data, 0); /* empty */
	queue(w, 4000, "192.0.2.2", data, 0);
	run(w);
	assert_int_equal(host.sends, 6);
	assert_int_equal(host.calls, 1);
}

static void full_queue_is_sent_at_once(void **state)
{
	static uint8_t data[1400];
	struct world *w = *state;

	for (int i = 0; i < 500; i++)
		queue(w, 4000, "192.0.2.1", data, sizeof(data));
	assert_true(host.sends > 0);
	run(w);
	assert_true(host.sends >= 500 / 46 && host.sends < 20);
}

static void evicted_flow_has_sent_its_datagrams(void **state)
{
	struct world *w = *state; /* max_udp 8 */

	for (uint16_t i = 0; i < 100; i++)
		queue(w, (uint16_t)(4000 + i), "192.0.2.1", "data", 4);
	run(w);
	assert_int_equal(host.sends, 100);
	assert_int_equal(stats(w)->udp_limited, 92);
}

static void datagrams_of_a_call_are_a_train_for_the_guest(void **state)
{
	static uint8_t data[1472];
	struct world *w = *state;

	w->rig.link.caps.uso_h2g = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 20; i++)
		arrive(host.fd, "192.0.2.1", 7, data, sizeof(data));
	arrive(host.fd, "192.0.2.1", 7, data, 100);
	arrive(host.fd, "192.0.2.1", 7, data, 0);
	run(w);
	assert_int_equal(w->rig.frames, 2);
	assert_int_equal(w->rig.frame[0].gso, LWR_GSO_UDP);
	assert_int_equal(w->rig.frame[0].gso_size, 1472);
	assert_int_equal(w->rig.frame[0].len, 42 + 20 * 1472 + 100);
	assert_int_equal(w->rig.frame[1].len, 42);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagram_goes_out_and_its_answer_comes_back),
		TEST(ipv6_has_its_own_socket),
		TEST(empty_datagrams_pass),
		TEST(one_socket_for_all_destinations),
		TEST(strangers_are_not_heard),
		cmocka_unit_test_setup_teardown(thousand_peers_are_all_heard,
						setup_many, teardown),
		TEST(oldest_peer_is_forgotten_at_the_limit),
		TEST(gateway_is_the_hosts_loopback_if_opened),
		TEST(train_of_the_guest_stays_whole),
		TEST(train_of_less_than_one_datagram_is_none),
		TEST(train_of_the_host_is_cut_for_the_guest),
		TEST(train_of_the_host_stays_whole_where_the_link_cuts),
		TEST(large_datagram_reaches_the_guest_in_fragments),
		cmocka_unit_test_setup_teardown(
			full_ring_stops_reading_not_the_loop, setup_small_ring,
			teardown),
		TEST(datagrams_in_numbers_are_left_to_gather),
		TEST(large_datagrams_one_by_one_do_not_gather),
		TEST(flooded_flow_leaves_the_others_their_turn),
		TEST(datagrams_of_a_tick_are_one_call_for_a_socket),
		TEST(equal_datagrams_to_one_peer_are_a_train),
		TEST(train_ends_where_something_differs),
		TEST(full_queue_is_sent_at_once),
		TEST(evicted_flow_has_sent_its_datagrams),
		TEST(datagrams_of_a_call_are_a_train_for_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
