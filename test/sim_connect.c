/* SPDX-License-Identifier: BSD-3-Clause */
/* connect() tells the truth: what the host says is what the guest sees. */
#include "test/fake_world.h"

#include <errno.h>

enum { LONG_MS = 600000 };

/* A connect that fails: what the program of the guest is told, and when. */
static void fails(bool six, int result, bool at_once, int want)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	uint64_t start;

	o.six = six;
	fake_plan(80)->result = result;
	fake_plan(80)->at_once = at_once;
	fake_plan(80)->after_ms = 20;
	start = fake_now();
	c = guest_connect(&w->guest, &o);
	world_until(w, LONG_MS, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, want);
	assert_int_equal(c->syn_acks, 0);
	assert_in_range(fake_now() - start, 0, 50);
	assert_int_equal(w->tcp.flows, 0);
	world_clean(w);
}

static void connect_failures_are_told_as_they_are(void **state)
{
	static const struct {
		int result, want;
	} t[] = {
		{ -ECONNREFUSED, -ECONNREFUSED },
		{ -ECONNRESET, -ECONNREFUSED },
		{ -EHOSTUNREACH, -EHOSTUNREACH },
		{ -ENETUNREACH, -ENETUNREACH },
		{ -EACCES, -EACCES },
		{ -ETIMEDOUT, -EHOSTUNREACH },
		{ -EMFILE, -ECONNREFUSED },
	};
	unsigned i, k;

	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		for (k = 0; k < 4; k++) {
			fails(k & 1, t[i].result, k & 2, t[i].want);
			assert_int_equal(world_teardown(state), 0);
		}
	}
}

static void connect_to_nobody_times_out(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	uint64_t start;

	(void)state;
	fake_plan(80)->after_ms = FAKE_NEVER;
	start = fake_now();
	c = guest_connect(&w->guest, &o);
	fake_run(9900);
	assert_int_equal(c->state, GUEST_SYN_SENT);
	assert_int_equal(fake_fds(), 1);
	world_until(w, LONG_MS, c->state == GUEST_CLOSED);
	assert_int_equal(c->error, -EHOSTUNREACH);
	assert_int_equal(c->syn_acks, 0);
	/* The first SYN's ICMP; the SYN is repeated after that, if it is lost. */
	assert_in_range(fake_now() - start, 10000, 10010);
	assert_int_equal(w->wire.link.stats.tcp_timeout, 1);
	world_clean(w);
}

static void connect_repeated_syn_changes_nothing(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	fake_plan(80)->after_ms = 8000;
	o.send = 10;
	o.fin_after_send = true;
	c = guest_connect(&w->guest, &o);
	fake_run(7900);
	assert_int_equal(c->syn_acks, 0);
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(fake_hosts(), 1);
	assert_int_equal(fake_host(0)->got, 10);
	world_clean(w);
}

static void connect_given_up_by_a_reset(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	struct fake_seg rst;

	(void)state;
	fake_plan(80)->after_ms = 5000;
	c = guest_connect(&w->guest, &o);
	fake_run(100);
	assert_int_equal(fake_fds(), 1);
	rst = guest_seg(c, SEG_RST);
	rst.seq = c->o.isn + 1;
	c->state = GUEST_CLOSED;
	guest_raw(&w->guest, &rst);
	fake_run(10);
	assert_int_equal(fake_fds(), 0);
	assert_int_equal(w->tcp.flows, 0);
	world_clean(w);
}

static void connect_lost_syn_acks_are_repeated(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	w->wire.h2g.drop_next = 2;
	o.send = 100;
	o.fin_after_send = true;
	c = guest_connect(&w->guest, &o);
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(fake_hosts(), 1);
	world_clean(w);
}

static void connect_lost_handshake_ack(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	c = guest_connect(&w->guest, &o);
	fake_run(1);
	w->wire.g2h.drop_next = 1;
	/* The host speaks first: only the repeated SYN-ACK gets it going. */
	fake_host(0)->plan.send = 5000;
	fake_host(0)->plan.fin_after_send = true;
	c->o.fin_on_eof = true;
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(c->read, 5000);
	world_clean(w);
}

static void connect_handshake_never_finished(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	(void)guest_connect(&w->guest, &o);
	fake_run(1);
	w->guest.vanished = true;
	world_until(w, 30000, fake_hosts() && fake_host(0)->reset);
	world_clean(w);
}

static void connect_host_resets_before_the_handshake_ends(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	w->wire.h2g.delay_ms = 50;
	c = guest_connect(&w->guest, &o);
	fake_run(10);
	fake_host_reset(fake_host(0));
	world_until(w, LONG_MS, c->state == GUEST_CLOSED);
	assert_true(c->error == -ECONNRESET || c->error == -ECONNREFUSED);
	world_clean(w);
}

static void connect_data_on_the_handshakes_ack(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	/* The bare ACK is lost: the first data segment completes it. */
	o.send = 3000;
	o.fin_after_send = true;
	c = guest_connect(&w->guest, &o);
	fake_run(1);
	w->wire.g2h.drop_next = 1;
	world_until(w, LONG_MS, guest_closed(c));
	assert_int_equal(fake_host(0)->got, 3000);
	world_clean(w);
}

/* ---- sizes -------------------------------------------------------------------- */

static void large(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)config;
	caps->mtu = 65520;
}

/* With the option of timestamps a guest's segments are whole packets then. */
static void mss_is_a_whole_number_of_the_hosts(void **state)
{
	static const struct {
		bool large, six;
		uint16_t host, want;
	} t[] = {
		/* Small ones are the guest's own. */
		{ false, false, 1448, 1460 },
		{ false, true, 1428, 1440 },
		{ false, false, 1368, 1460 },
		{ true, false, 1448, 45 * 1448 + 12 },
		{ true, true, 1428, 45 * 1428 + 12 },
		{ true, false, 65468, 65480 },
		{ true, false, 65483, 65480 },
		/* Half of the guest's speed is too much for that. */
		{ true, false, 33000, 65480 },
	};
	struct guest_opts o = guest_opts(80);
	struct fake_world *w;

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		w = fake_world(t[i].large ? large : NULL);
		fake_plan(80)->mss = t[i].host;
		o.six = t[i].six;
		assert_int_equal(world_connect(w, &o)->offered_mss, t[i].want);
		assert_int_equal(world_teardown(state), 0);
	}
}

/* ---- floods ----------------------------------------------------------------- */

static void limits(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	config->max_pending = 100;
}

static struct fake_seg flood_syn(unsigned i)
{
	return (struct fake_seg){ .gport = (uint16_t)(1 + i % 39000),
				  .hport = (uint16_t)(1000 + i / 39000),
				  .flags = SEG_SYN,
				  .seq = fake_below(1u << 31),
				  .wnd = 1000,
				  .mss = 1460,
				  .ws = 7 };
}

static void flood_is_limited_and_others_go_on(void **state)
{
	struct fake_world *w = fake_world(limits);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	struct fake_seg syn;
	unsigned i;

	(void)state;
	c = world_connect(w, &o);
	for (i = 0; i < 3; i++)
		fake_plan((uint16_t)(1000 + i))->after_ms = FAKE_NEVER;
	for (i = 0; i < 100000; i++) {
		syn = flood_syn(i);
		guest_raw(&w->guest, &syn);
		if (i % 100 == 0)
			fake_run(1);
		assert_true(w->tcp.connects <= 100);
		assert_true(fake_fds() <= 101);
	}
	c->o.send = 100000;
	c->o.fin_after_send = true;
	guest_kick(c);
	world_until(w, 5000, fake_host(0)->got == 100000 && guest_closed(c));
	assert_true(w->wire.link.stats.tcp_limited > 90000);
	/* And when the connects have timed out, there is room again. */
	fake_run(11000);
	c = world_connect(w, &o);
	guest_reset(c);
	world_clean(w);
}

static void flood_of_syn_and_reset_loses_no_slot(void **state)
{
	struct fake_world *w = fake_world(limits);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	struct fake_seg s;
	unsigned i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		s = flood_syn(i);
		guest_raw(&w->guest, &s);
		/* Before, in, and after the host's answer. */
		fake_run(i % 5);
		s.flags = SEG_RST;
		s.seq++;
		s.mss = 0;
		s.ws = -1;
		guest_raw(&w->guest, &s);
	}
	fake_run(10);
	assert_int_equal(w->tcp.flows, 0);
	c = world_connect(w, &o);
	guest_reset(c);
	world_clean(w);
}

static void flood_beyond_the_hosts_descriptors(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[20];
	unsigned i, refused = 0;

	(void)state;
	fake_fds_limit(10);
	for (i = 0; i < 20; i++)
		c[i] = guest_connect(&w->guest, &o);
	fake_run(100);
	for (i = 0; i < 20; i++)
		refused += c[i]->error == -ECONNREFUSED;
	assert_int_equal(refused, 10);
	guest_reset(c[0]);
	fake_run(100);
	c[0] = world_connect(w, &o);
	world_clean(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(connect_failures_are_told_as_they_are),
	WORLD_TEST(connect_to_nobody_times_out),
	WORLD_TEST(connect_repeated_syn_changes_nothing),
	WORLD_TEST(connect_given_up_by_a_reset),
	WORLD_TEST(connect_lost_syn_acks_are_repeated),
	WORLD_TEST(connect_lost_handshake_ack),
	WORLD_TEST(connect_handshake_never_finished),
	WORLD_TEST(connect_host_resets_before_the_handshake_ends),
	WORLD_TEST(connect_data_on_the_handshakes_ack),
	WORLD_TEST(mss_is_a_whole_number_of_the_hosts),
	WORLD_TEST(flood_is_limited_and_others_go_on),
	WORLD_TEST(flood_of_syn_and_reset_loses_no_slot),
	WORLD_TEST(flood_beyond_the_hosts_descriptors),
};

WORLD_MAIN(tests)
