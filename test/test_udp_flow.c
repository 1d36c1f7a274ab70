/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/udp_world.h"

#include "lwip/pbuf.h"

/* ---- expiry and limits --------------------------------------------------- */

static void idle_flow_expires_and_the_timer_stops(void **state)
{
	struct world *w = *state;

	assert_null(one_timer.timer);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 59999);
	assert_int_equal(stats(w)->udp_live, 1);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w);
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
}

static void traffic_of_either_side_keeps_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 5; i++) {
		wait_ms(w, i ? 100000 : 50000);
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
		run(w);
	}
	wait_ms(w, 100000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 5);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void strangers_do_not_keep_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 59000);
	arrive(host.fd, "192.0.2.66", 7, "b", 1);
	run(w);
	wait_ms(w, 1000);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void answered_query_expires_soon(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "long");
	arrive(host.fd, "192.0.2.1", 7, "long", 4);
	run(w);
	rig_clear(&w->rig);
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	fd = host.fd;
	wait_ms(w, 30000); /* unanswered: it waits */
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9000);
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q"); /* asks again */
	wait_ms(w, 20000);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9999);
	assert_int_equal(stats(w)->udp_live, 2);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 2);
}

static void socket_that_also_talks_to_others_is_no_query(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4000, "192.0.2.2", 53, "q");
	arrive(host.fd, "192.0.2.2", 53, "a", 1);
	run(w);
	wait_ms(w, 170000);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void oldest_flow_is_evicted_at_the_limit(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < 8; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		wait_ms(w, 10);
	}
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a"); /* 4001 is oldest */
	assert_int_equal(stats(w)->udp_limited, 0);
	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_limited, 1);
	assert_int_equal(stats(w)->udp_live, 8);
	assert_int_equal(host.open, 8);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 9);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 10);
}

/* Answered queries are on a list of their own; age decides all the same. */
static void oldest_of_both_kinds_is_evicted(void **state)
{
	struct world *w = *state;
	int query, stream;

	say(w, "10.0.2.15", 4000, "192.0.2.53", 53, "q");
	query = host.fd;
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	stream = host.fd;
	host.limit = 2;
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4002, "192.0.2.53", 53, "q");
	assert_int_equal(host.fd, query); /* its number is free again */
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4003, "192.0.2.1", 7, "a");
	assert_int_equal(host.fd, stream);
}

static void out_of_descriptors_the_oldest_gives_its_own(void **state)
{
	struct world *w = *state;

	host.limit = 3;
	for (uint16_t i = 0; i < 6; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		assert_int_equal(host.sends, i + 1);
	}
	assert_int_equal(stats(w)->udp_live, 3);
	assert_int_equal(stats(w)->udp_limited, 3);
	assert_int_equal(w->rig.frames, 0);
}

static void without_any_descriptor_it_is_dropped(void **state)
{
	struct world *w = *state;

	host.limit = 0;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(stats(w)->drop_memory, 1);
	host.limit = 1;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(host.sends, 1);
}

static void flows_end_with_the_link(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	arrive(host.fd, "192.0.2.53", 53, "a", 1); /* not read yet */
	lwr__stack_reset_link(&w->rig.link);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_live, 0);
}

/* ---- who is heard, who is evicted ------------------------------------------- */

static void strangers_are_heard_if_asked_for(void **state)
{
	struct world *w = *state;

	w->rig.config.udp_any = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.66", 9, "x", 1);
	arrive(host.fd, "127.0.0.1", 9, "x", 1); /* not opened */
	arrive(host.fd, "10.0.2.2", 9, "x", 1); /* what it would pass for */
	run(w);
	assert_int_equal(w->rig.frames, 1);
	expect_received(w, 0, "192.0.2.66", 9, "10.0.2.15", 4000, "x");
	w->rig.config.net.host_loopback = true;
	arrive(host.fd, "127.0.0.1", 9, "y", 1);
	run(w);
	expect_received(w, 1, "10.0.2.2", 9, "10.0.2.15", 4000, "y");
	wait_ms(w, 60000); /* but they do not keep the flow */
	assert_int_equal(stats(w)->udp_live, 0);
}

static void say_on(struct world *w, struct lwr_link *link, uint16_t sport)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t n = rig_udp(frame, "10.0.2.15", sport, "192.0.2.1", 7, "a", 1);
	struct lwr_frame_meta meta = { 0 };
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);

	memcpy(p->payload, frame, n);
	lwr__stack_input(link, p, &meta);
	run(w);
	wait_ms(w, 1);
}

static void greedy_link_evicts_its_own(void **state)
{
	struct world *w = *state; /* 8 flows for two links */
	struct lwr_link *a = &w->rig.link;
	struct lwr_link b = { .ops = a->ops,
			      .caps = a->caps,
			      .owner = a->owner };

	assert_int_equal(lwr__stack_add_link(&w->rig.stack, &b), 0);
	for (uint16_t i = 0; i < 3; i++)
		say_on(w, &b, (uint16_t)(5000 + i));
	for (uint16_t i = 0; i < 50; i++)
		say_on(w, a, (uint16_t)(4000 + i));
	assert_int_equal(b.stats.udp_live, 3);
	assert_int_equal(a->stats.udp_live, 5);
	/* Up to its share the other one gets what the first has too much. */
	for (uint16_t i = 0; i < 50; i++)
		say_on(w, &b, (uint16_t)(6000 + i));
	assert_int_equal(b.stats.udp_live, 4);
	assert_int_equal(a->stats.udp_live, 4);
	assert_int_equal(a->stats.udp_limited, 45);
	lwr__udp_link_down(&w->udp, &b); /* the rig's hook knows one link */
	lwr__stack_remove_link(&b);
	run(w);
}

static void limit_of_a_link_is_its_own(void **state)
{
	struct world *w = *state;

	w->rig.config.net.limits.udp = 2;
	for (uint16_t i = 0; i < 5; i++)
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_live, 2);
	assert_int_equal(stats(w)->udp_limited, 3);
	assert_int_equal(host.sends, 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(idle_flow_expires_and_the_timer_stops),
		TEST(traffic_of_either_side_keeps_a_flow),
		TEST(strangers_do_not_keep_a_flow),
		TEST(answered_query_expires_soon),
		TEST(socket_that_also_talks_to_others_is_no_query),
		TEST(oldest_flow_is_evicted_at_the_limit),
		TEST(oldest_of_both_kinds_is_evicted),
		TEST(out_of_descriptors_the_oldest_gives_its_own),
		TEST(without_any_descriptor_it_is_dropped),
		TEST(flows_end_with_the_link),
		TEST(strangers_are_heard_if_asked_for),
		TEST(greedy_link_evicts_its_own),
		TEST(limit_of_a_link_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
