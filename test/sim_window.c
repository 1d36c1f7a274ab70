/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows and full rings: who stops, who goes on, and by what. */
#include "test/fake_world.h"

enum { KIB = 1024, MIB = 1024 * 1024, LONG_MS = 1800000, TEN_MINUTES = 600000 };

static struct guest_conn *with_closed_window(struct fake_world *w,
					     uint64_t send)
{
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	o.paused = true;
	o.rcvbuf = 64 * KIB;
	o.fin_on_eof = true;
	fake_plan(80)->send = send;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	fake_run(2000);
	world_ok(w);
	return c;
}

static void window_closed_for_ten_minutes(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = with_closed_window(w, 8 * MIB);

	(void)state;
	assert_int_equal(c->rcv, 64 * KIB + 1);
	fake_run(TEN_MINUTES);
	assert_int_equal(c->state, GUEST_OPEN);
	/* Bounded: a window's worth at most is held for the guest. */
	assert_true(w->tcp.chunks.bytes <= 4 * 64 * KIB);
	c->o.paused = false;
	guest_kick(c);
	world_until(w, 10000, guest_closed(c));
	assert_int_equal(c->read, 8 * MIB);
	world_clean(w);
}

static void window_update_lost(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = with_closed_window(w, MIB);

	(void)state;
	w->wire.g2h.drop_next = 1;
	c->o.paused = false;
	guest_kick(c);
	world_until(w, 20000, guest_closed(c));
	assert_int_equal(c->read, MIB);
	world_clean(w);
}

static void window_closed_exactly_at_the_last_byte(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = with_closed_window(w, 64 * KIB);

	(void)state;
	/* The FIN takes one byte of window, and may wait for it. */
	assert_in_range(c->rcv, 64 * KIB + 1, 64 * KIB + 2);
	c->o.paused = false;
	guest_kick(c);
	world_until(w, 20000, guest_closed(c));
	assert_int_equal(c->read, 64 * KIB);
	world_clean(w);
}

static void window_of_one_byte(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.ws = -1;
	o.rcvbuf = 1;
	o.silly = true;
	o.fin_on_eof = true;
	fake_plan(80)->send = 500;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(c->read, 500);
	world_clean(w);
}

static void window_that_opens_byte_by_byte(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.ws = -1;
	o.rcvbuf = 3000;
	o.silly = true;
	o.rate = 1;
	o.fin_on_eof = true;
	fake_plan(80)->send = 10000;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(c->read, 10000);
	/* No silly windows: segments are of a useful size. */
	assert_true(w->wire.packets_h2g < 1000 + 10000);
	world_clean(w);
}

static void window_of_the_stack_closed_and_reopened(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->paused = true;
	o.send = 8 * MIB;
	o.cwnd = 8 * MIB;
	o.fin_after_send = true;
	c = world_connect(w, &o);
	fake_run(TEN_MINUTES);
	/* The host's buffer, and a window, which is of 64 KiB at least. */
	assert_in_range(c->una, 2 * 64 * KIB, 64 * KIB + 2 * MIB + 2);
	assert_int_equal(w->tcp.queued, c->una - 1 - 64 * KIB);
	fake_host(0)->plan.paused = false;
	fake_host_kick(fake_host(0));
	world_until(w, 20000, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 8 * MIB);
	world_clean(w);
}

static void window_filled_with_one_byte_segments(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->paused = true;
	o.send = 100000;
	o.seg = 1;
	o.fin_after_send = true;
	c = world_connect(w, &o);
	fake_run(5000);
	assert_true(w->wire.slabs.held <= LWR_SLAB_HELD_MAX + 1);
	fake_host(0)->plan.paused = false;
	fake_host_kick(fake_host(0));
	world_until(w, LONG_MS, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 100000);
	world_clean(w);
}

static void window_closed_both_ways(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->paused = true;
	fake_plan(80)->send = 4 * MIB;
	fake_plan(80)->fin_after_send = true;
	o.paused = true;
	o.send = 4 * MIB;
	o.cwnd = 4 * MIB;
	o.fin_after_send = true;
	c = world_connect(w, &o);
	fake_run(60000);
	c->o.paused = false;
	fake_host(0)->plan.paused = false;
	guest_kick(c);
	fake_host_kick(fake_host(0));
	world_until(w, 60000, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 4 * MIB);
	assert_int_equal(c->read, 4 * MIB);
	world_clean(w);
}

static void little_memory(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	config->max_buffer = 128 * KIB;
}

static void memory_at_its_limit_slows_but_loses_nothing(void **state)
{
	struct fake_world *w = fake_world(little_memory);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[8];
	unsigned i;

	(void)state;
	fake_plan(80)->send = 256 * KIB;
	fake_plan(80)->fin_after_send = true;
	fake_plan(80)->rate = 500;
	fake_plan(80)->after_ms = 100; /* all connect before any sends */
	o.send = 256 * KIB;
	o.fin_after_send = true;
	for (i = 0; i < 8; i++)
		c[i] = guest_connect(&w->guest, &o);
	for (i = 0; i < 8; i++) {
		world_until(w, LONG_MS,
			    guest_closed(c[i]) && fake_host(i)->eof);
		assert_int_equal(c[i]->read, 256 * KIB);
		assert_int_equal(fake_host(i)->got, 256 * KIB);
	}
	world_clean(w);
}

/* ---- rings ------------------------------------------------------------------- */

static void small_ring(struct lwr_config *config, struct lwr_link_caps *caps)
{
	config->ring_size = 32;
	caps->gso_h2g = false; /* a slot for each packet */
}

static void ring_full_resumes_without_a_timer(void **state)
{
	struct fake_world *w = fake_world(small_ring);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	uint64_t start;

	(void)state;
	o.fin_on_eof = true;
	c = world_connect(w, &o);
	fake_run(1000);
	w->wire.stuck = true;
	fake_host(0)->plan.send = 256 * KIB;
	fake_host(0)->plan.fin_after_send = true;
	fake_host_kick(fake_host(0));
	fake_run(150); /* shorter than lwIP's retransmission */
	assert_true(lwr__ring_room(&w->wire.link.h2g) <= 16);
	start = fake_now();
	fake_wire_unstick(&w->wire);
	world_until(w, 10000, guest_closed(c));
	assert_true(fake_now() - start < 90);
	assert_int_equal(c->read, 256 * KIB);
	world_clean(w);
}

static void ring_full_for_a_while(void **state)
{
	struct fake_world *w = fake_world(small_ring);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[8];
	unsigned i;

	(void)state;
	o.fin_on_eof = true;
	fake_plan(80)->send = 256 * KIB;
	fake_plan(80)->fin_after_send = true;
	for (i = 0; i < 8; i++)
		c[i] = world_connect(w, &o);
	w->wire.stuck = true;
	fake_run(100000); /* shorter than keep-alive */
	fake_wire_unstick(&w->wire);
	for (i = 0; i < 8; i++) {
		world_until(w, 60000, guest_closed(c[i]));
		assert_int_equal(c[i]->read, 256 * KIB);
	}
	world_clean(w);
}

static void ring_drained_slowly_by_many_flows(void **state)
{
	struct fake_world *w = fake_world(small_ring);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[20];
	unsigned i;

	(void)state;
	w->wire.per_ms = 7;
	o.fin_on_eof = true;
	o.send = 32 * KIB;
	fake_plan(80)->send = 128 * KIB;
	fake_plan(80)->fin_after_send = true;
	for (i = 0; i < 20; i++)
		c[i] = guest_connect(&w->guest, &o);
	for (i = 0; i < 20; i++) {
		world_until(w, 60000, guest_closed(c[i]) && fake_host(i)->eof);
		assert_int_equal(c[i]->read, 128 * KIB);
		assert_int_equal(fake_host(i)->got, 32 * KIB);
	}
	world_clean(w);
}

static void ring_full_when_the_link_goes(void **state)
{
	struct fake_world *w = fake_world(small_ring);
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->send = MIB;
	(void)world_connect(w, &o);
	w->wire.stuck = true;
	fake_run(100);
	lwr__stack_reset_link(&w->wire.link);
	assert_int_equal(lwr__ring_count(&w->wire.link.h2g), 0);
	fake_run(10);
	assert_true(fake_host(0)->reset);
	/* The next guest is served. */
	fake_wire_unstick(&w->wire);
	guest_reset(world_connect(w, &o));
	world_clean(w);
}

/* ---- what windows promise ------------------------------------------------ */

enum { MANY = 40, FIRST = 128 * KIB };

static void four_mib(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	config->max_buffer = 4 * MIB;
}

/* The g2h bytes that are held are never more than windows have promised. */
static void check_promise(const struct fake_world *w, uint64_t limit,
			  unsigned flows)
{
	assert_true(w->tcp.queued <= w->stack.promised + flows * FIRST);
	assert_true(w->stack.promised <= limit / 2);
	assert_int_equal(w->stack.promised, w->wire.link.promised);
}

/* Hosts take all until windows have grown, and then nothing any more. */
static void many_stuck_hosts_hold_what_windows_may(void **state)
{
	struct fake_world *w = fake_world(four_mib);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[MANY];
	uint64_t most = 0;
	unsigned i, n;

	(void)state;
	o.send = 64 * MIB;
	o.cwnd = 8 * MIB;
	fake_plan(80)->any = true;
	fake_plan(80)->sndbuf = 256 * KIB;
	for (i = 0; i < MANY; i++) {
		c[i] = world_connect(w, &o);
		check_promise(w, 4 * MIB, i + 1);
	}
	fake_run(100);
	/* The first ones have grown, the others may do all the same. */
	assert_true(w->stack.promised > MIB);
	for (i = 0; i < MANY; i++)
		assert_true(fake_host(i)->got > 0);
	for (i = 0; i < MANY; i++)
		fake_host(i)->plan.paused = true;
	for (n = 0; n < 500; n++) {
		fake_run(10);
		check_promise(w, 4 * MIB, MANY);
		most = w->tcp.queued > most ? w->tcp.queued : most;
	}
	assert_true(most > MIB);
	for (i = 0; i < MANY; i++) {
		guest_reset(c[i]);
		fake_run(1);
	}
	world_clean(w);
	assert_int_equal(w->stack.promised, 0);
}

static struct lwr_net limited;

static void own_net(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	limited = config->net;
	limited.limits.buffer = 2 * MIB;
}

static void send_much(struct guest_conn *c)
{
	c->o.send = 1000 * MIB;
	c->o.cwnd = 8 * MIB;
	guest_kick(c);
	fake_run(200);
}

/* What one connection has grown another one may grow after it. */
static void window_grows_when_another_has_ended(void **state)
{
	struct fake_world *w = fake_world(own_net);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[2];
	uint64_t first;

	(void)state;
	w->wire.link.net = &limited;
	fake_plan(80)->sndbuf = 4 * MIB;
	fake_plan(80)->any = true;
	c[0] = world_connect(w, &o);
	c[1] = world_connect(w, &o);
	assert_int_equal(w->stack.promised, 0);
	send_much(c[0]);
	first = w->stack.promised;
	assert_int_equal(first, MIB - FIRST);
	send_much(c[1]);
	assert_int_equal(w->stack.promised - first, FIRST);
	guest_reset(c[0]);
	fake_run(200);
	check_promise(w, 2 * MIB, 1);
	assert_int_equal(w->stack.promised, MIB - FIRST);
	guest_reset(c[1]);
	world_clean(w);
	assert_int_equal(w->stack.promised, 0);
}

/* The guest has ended, and nobody has taken its bytes: they still count. */
static void ended_guest_keeps_its_promise(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.send = 100 * KIB;
	o.fin_after_send = true;
	fake_plan(80)->sndbuf = 10 * KIB;
	fake_plan(80)->paused = true;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, 10000, guest_closed(c));
	fake_run(10000);
	assert_true(w->tcp.queued >= 80 * KIB);
	check_promise(w, 256 * KIB, 1);
	fake_host(0)->plan.paused = false;
	fake_host_kick(fake_host(0));
	world_clean(w);
	assert_int_equal(w->stack.promised, 0);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(many_stuck_hosts_hold_what_windows_may),
	WORLD_TEST(window_grows_when_another_has_ended),
	WORLD_TEST(ended_guest_keeps_its_promise),
	WORLD_TEST(window_closed_for_ten_minutes),
	WORLD_TEST(window_update_lost),
	WORLD_TEST(window_closed_exactly_at_the_last_byte),
	WORLD_TEST(window_of_one_byte),
	WORLD_TEST(window_that_opens_byte_by_byte),
	WORLD_TEST(window_of_the_stack_closed_and_reopened),
	WORLD_TEST(window_filled_with_one_byte_segments),
	WORLD_TEST(window_closed_both_ways),
	WORLD_TEST(memory_at_its_limit_slows_but_loses_nothing),
	WORLD_TEST(ring_full_resumes_without_a_timer),
	WORLD_TEST(ring_full_for_a_while),
	WORLD_TEST(ring_drained_slowly_by_many_flows),
	WORLD_TEST(ring_full_when_the_link_goes),
};

WORLD_MAIN(tests)
