/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends of connections: half-closes, FINs, resets, TIME-WAIT, keep-alive. */
#include "test/fake_world.h"

#include <errno.h>

enum { KIB = 1024, MIB = 1024 * 1024, LONG_MS = 600000 };

static void close_guest_half_then_host_answers(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->fin_on_eof = false;
	o.send = 1000;
	o.fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, LONG_MS, fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 1000);
	/* Long after, so that nothing is in flight by chance. */
	fake_run(5000);
	fake_host(0)->plan.send = 10 * MIB;
	fake_host(0)->plan.fin_after_send = true;
	fake_host_kick(fake_host(0));
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(c->read, 10 * MIB);
	world_clean(w);
	assert_false(fake_host(0)->reset);
}

static void close_host_half_then_guest_uploads(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->send = 1000;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, LONG_MS, c->eof);
	assert_int_equal(c->read, 1000);
	fake_run(5000);
	c->o.send = 10 * MIB;
	c->o.fin_after_send = true;
	guest_kick(c);
	world_until(w, LONG_MS, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 10 * MIB);
	world_clean(w);
	assert_false(fake_host(0)->reset);
}

static void close_at_the_same_time(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	c = world_connect(w, &o);
	fake_run(100);
	c->o.fin_after_send = true;
	fake_host(0)->plan.fin_after_send = true;
	fake_host_kick(fake_host(0));
	guest_kick(c);
	world_until(w, 1000, guest_closed(c) && fake_host(0)->eof);
	world_clean(w);
	assert_false(fake_host(0)->reset);
}

static void close_fin_with_data_and_repeated_fin(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->fin_on_eof = false;
	o.send = 100; /* one segment, FIN on it */
	o.fin_after_send = true;
	w->wire.g2h.dup = 1000;
	c = world_connect(w, &o);
	world_until(w, 1000, fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 100);
	fake_host(0)->plan.fin_after_send = true;
	fake_host_kick(fake_host(0));
	world_until(w, 1000, guest_closed(c));
	world_clean(w);
	assert_int_equal(c->rsts, 0);
}

static void close_fin_behind_a_gap(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.seg = 100;
	c = world_connect(w, &o);
	fake_run(10);
	w->wire.g2h.drop_next = 1;
	c->o.send = 300;
	c->o.fin_after_send = true;
	guest_kick(c);
	fake_run(50);
	assert_false(fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 0);
	world_until(w, LONG_MS, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 300);
	world_clean(w);
}

/* The FINs and their ACKs are lost, of one side or of both. */
static void lost_end(struct fake_world *w, bool host_first, unsigned lost)
{
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c = world_connect(w, &o);

	fake_run(10);
	if (lost & 1)
		w->wire.g2h.drop_next = 2;
	if (lost & 2)
		w->wire.h2g.drop_next = 2;
	c->o.fin_on_eof = host_first;
	c->o.fin_after_send = !host_first;
	fake_host(0)->plan.fin_after_send = host_first;
	guest_kick(c);
	fake_host_kick(fake_host(0));
	world_until(w, 20000, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(c->rsts, 0);
	world_clean(w);
}

static void close_lost_fins_and_acks(void **state)
{
	unsigned i;

	for (i = 0; i < 8; i++) {
		lost_end(fake_world(NULL), i & 4, i & 3);
		assert_int_equal(world_teardown(state), 0);
	}
}

/* The guest retransmits its FIN to the stack in TIME-WAIT. */
static void close_last_ack_is_lost(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, 1000, c->eof);
	fake_run(100);
	w->wire.h2g.drop_next = 1;
	c->o.fin_after_send = true;
	guest_kick(c);
	world_until(w, 10000, guest_closed(c));
	assert_int_equal(c->rsts, 0);
	assert_int_equal(c->no_ts, 0);
	world_clean(w);
}

static void close_of_the_guest_waits_for_a_slow_host(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->paused = true;
	fake_plan(80)->fin_after_send = true;
	o.send = 150 * KIB; /* the host's buffer, and in the relay */
	o.fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, 10000, guest_closed(c));
	/* For the guest all is over; the relay still has its bytes. */
	fake_run(LONG_MS);
	assert_int_equal(w->tcp.flows, 1);
	assert_true(w->tcp.queued > 0);
	fake_host(0)->plan.paused = false;
	fake_host_kick(fake_host(0));
	world_until(w, 1000, fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 150 * KIB);
	assert_false(fake_host(0)->reset);
	world_clean(w);
}

/* ---- resets ------------------------------------------------------------------ */

static struct guest_conn *established(struct fake_world *w, uint64_t send,
				      bool paused)
{
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	o.paused = paused;
	o.rcvbuf = 64 * KIB;
	fake_plan(80)->send = send;
	c = world_connect(w, &o);
	fake_run(1000);
	world_ok(w);
	return c;
}

static void reset_by_the_guest_reaches_the_host(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = established(w, 0, false);

	(void)state;
	guest_reset(c);
	world_until(w, 100, fake_host(0)->reset);
	assert_int_equal(w->wire.link.stats.tcp_reset_guest, 1);
	world_clean(w);
}

static void reset_by_the_guest_with_its_window_closed(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = established(w, MIB, true);

	(void)state;
	guest_reset(c);
	world_until(w, 100, fake_host(0)->reset);
	world_clean(w);
}

static void reset_by_the_guest_while_the_host_is_blocked(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c;
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->paused = true;
	o.send = 4 * MIB;
	o.cwnd = 4 * MIB;
	c = world_connect(w, &o);
	fake_run(2000);
	assert_true(w->tcp.queued > 0);
	guest_reset(c);
	world_until(w, 100, fake_host(0)->reset);
	world_clean(w);
}

static void reset_by_the_host_reaches_the_guest(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = established(w, 0, false);

	(void)state;
	fake_host_reset(fake_host(0));
	world_until(w, 100, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, -ECONNRESET);
	world_clean(w);
}

static void reset_by_the_host_with_the_guests_window_closed(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = established(w, MIB, true);

	(void)state;
	fake_run(3000); /* probes of the window as well */
	assert_int_equal(c->state, GUEST_OPEN);
	fake_host_reset(fake_host(0));
	world_until(w, 100, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, -ECONNRESET);
	world_clean(w);
}

static void reset_by_the_host_with_data_in_flight(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->send = 100 * MIB;
	o.send = 100 * MIB;
	c = world_connect(w, &o);
	fake_run(50);
	fake_host_reset(fake_host(0));
	world_until(w, 100, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, -ECONNRESET);
	world_clean(w);
}

static void reset_by_the_host_after_its_fin(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c;
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, 1000, c->eof);
	fake_host_reset(fake_host(0));
	world_until(w, 100, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, -ECONNRESET);
	world_clean(w);
}

/* ---- TIME-WAIT ------------------------------------------------------------------ */

struct heard {
	unsigned acks, syn_acks, rsts;
	struct fake_seg last;
};

static void hear(void *arg, const struct fake_seg *s)
{
	struct heard *h = arg;

	h->last = *s;
	if (s->flags & SEG_RST)
		h->rsts++;
	else if (s->flags & SEG_SYN)
		h->syn_acks++;
	else if (s->flags & SEG_ACK)
		h->acks++;
}

/* The host ends first: the stack is the side that waits. */
static struct guest_conn *in_time_wait(struct fake_world *w)
{
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	fake_plan(80)->fin_after_send = true;
	o.fin_on_eof = true;
	o.isn = 1000;
	c = world_connect(w, &o);
	world_until(w, 1000, guest_closed(c));
	fake_run(100);
	assert_int_equal(w->tcp.flows, 0);
	return c;
}

static void timewait_acknowledges_a_repeated_fin(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = in_time_wait(w);
	struct fake_seg fin = guest_seg(c, SEG_FIN | SEG_ACK);
	struct heard heard = { 0 };

	(void)state;
	w->guest.on_seg = hear;
	w->guest.arg = &heard;
	fin.seq = c->o.isn + 1;
	guest_raw(&w->guest, &fin);
	fake_run(50);
	assert_int_equal(heard.acks, 1);
	assert_int_equal(heard.rsts, 0);
	assert_int_equal(heard.last.ack, c->o.isn + 2);
	world_clean(w);
}

static void timewait_takes_a_new_syn_with_a_higher_isn(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	(void)in_time_wait(w);
	w->guest.next_port--; /* the same port again */
	o.isn = 100000;
	o.send = 1000;
	o.fin_on_eof = true;
	c = world_connect(w, &o);
	world_until(w, 1000, guest_closed(c));
	assert_int_equal(fake_hosts(), 2);
	assert_int_equal(fake_host(1)->got, 1000);
	world_clean(w);
}

/* ---- a guest that is gone ---------------------------------------------------------- */

static void short_keep_alive(struct lwr_config *config,
			     struct lwr_link_caps *caps)
{
	(void)caps;
	config->keep_alive_s = 40;
}

static void keepalive_ends_the_flow_of_a_guest_that_vanished(void **state)
{
	struct fake_world *w = fake_world(short_keep_alive);
	uint64_t start;

	(void)state;
	(void)established(w, 0, false);
	start = fake_now();
	w->guest.vanished = true;
	world_until(w, 100000, fake_host(0)->reset);
	/* Silence, then eight probes an eighth apart, and a look between. */
	assert_in_range(fake_now() - start, 40000, 40000 + 10 * 5000 + 1000);
	assert_int_equal(w->wire.link.stats.tcp_vanished, 1);
	world_clean(w);
}

static void keepalive_leaves_an_idle_guest_alone(void **state)
{
	struct fake_world *w = fake_world(short_keep_alive);
	struct guest_conn *c = established(w, 0, false);

	(void)state;
	fake_run(3600 * 1000);
	world_ok(w);
	assert_int_equal(c->no_ts, 0);
	assert_int_equal(c->state, GUEST_OPEN);
	assert_int_equal(w->tcp.flows, 1);
	guest_reset(c);
	world_clean(w);
}

static void keepalive_ends_a_flow_with_data_in_flight(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->send = 100 * MIB;
	(void)world_connect(w, &o);
	fake_run(30);
	w->guest.vanished = true;
	world_until(w, LONG_MS, fake_host(0)->reset);
	world_clean(w);
}

static void idle_flows_cost_less_than_a_wake_a_second(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	uint64_t ticks;
	unsigned i;

	(void)state;
	for (i = 0; i < 50; i++) {
		(void)world_connect(w, &o);
		fake_run(20);
	}
	fake_run(1000);
	ticks = fake_ticks();
	fake_run(100000);
	assert_in_range(fake_ticks() - ticks, 0, 100);
	assert_int_equal(w->tcp.flows, 50);
	world_clean(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(close_guest_half_then_host_answers),
	WORLD_TEST(close_host_half_then_guest_uploads),
	WORLD_TEST(close_at_the_same_time),
	WORLD_TEST(close_fin_with_data_and_repeated_fin),
	WORLD_TEST(close_fin_behind_a_gap),
	WORLD_TEST(close_lost_fins_and_acks),
	WORLD_TEST(close_last_ack_is_lost),
	WORLD_TEST(close_of_the_guest_waits_for_a_slow_host),
	WORLD_TEST(reset_by_the_guest_reaches_the_host),
	WORLD_TEST(reset_by_the_guest_with_its_window_closed),
	WORLD_TEST(reset_by_the_guest_while_the_host_is_blocked),
	WORLD_TEST(reset_by_the_host_reaches_the_guest),
	WORLD_TEST(reset_by_the_host_with_the_guests_window_closed),
	WORLD_TEST(reset_by_the_host_with_data_in_flight),
	WORLD_TEST(reset_by_the_host_after_its_fin),
	WORLD_TEST(timewait_acknowledges_a_repeated_fin),
	WORLD_TEST(timewait_takes_a_new_syn_with_a_higher_isn),
	WORLD_TEST(keepalive_ends_the_flow_of_a_guest_that_vanished),
	WORLD_TEST(keepalive_leaves_an_idle_guest_alone),
	WORLD_TEST(keepalive_ends_a_flow_with_data_in_flight),
	WORLD_TEST(idle_flows_cost_less_than_a_wake_a_second),
};

WORLD_MAIN(tests)
