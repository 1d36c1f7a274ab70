/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes: every one arrives, in order, whatever the wire and the readers do. */
#include "relay/flow.h"
#include "test/fake_world.h"

enum { KIB = 1024, MIB = 1024 * 1024, LONG_MS = 600000, RUNS = 8 };

/* Both sides send so many bytes, end, and are closed in order. */
static void transfer(struct fake_world *w, struct guest_opts *o, uint64_t g2h,
		     uint64_t h2g)
{
	struct fake_plan *plan = fake_plan(o->hport);
	struct guest_conn *c;
	struct fake_host *h;

	plan->send = h2g;
	plan->fin_after_send = true;
	o->send = g2h;
	o->fin_after_send = true;
	c = guest_connect(&w->guest, o);
	world_until(w, LONG_MS, guest_closed(c) || c->state == GUEST_CLOSED);
	h = fake_host(0);
	world_until(w, LONG_MS, h->eof || h->reset);
	assert_int_equal(c->state, GUEST_OPEN);
	assert_int_equal(c->error, 0);
	assert_int_equal(c->read, h2g);
	assert_true(h->eof);
	assert_int_equal(h->got, g2h);
	assert_false(h->reset);
	world_clean(w);
}

static void tcp_lossless_bulk_both_ways(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	transfer(w, &o, 4 * MIB, 4 * MIB);
}

static void tcp_nothing_sent_is_closed_in_order(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	transfer(w, &o, 0, 0);
}

static void tcp_ipv6_bulk_both_ways(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	o.six = true;
	o.mss = 1440;
	transfer(w, &o, MIB, MIB);
}

static void tcp_large_guest_frames(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	o.seg = 60000;
	o.cwnd = MIB;
	transfer(w, &o, 4 * MIB, 0);
}

/* Several runs, each with other losses. */
static void lossy(void **state, const struct fake_faults *g2h,
		  const struct fake_faults *h2g, uint64_t bytes)
{
	struct fake_world *w;
	struct guest_opts o;
	unsigned i, k;

	for (i = 0; i < RUNS; i++) {
		w = fake_world(NULL);
		for (k = 0; k < i; k++)
			(void)fake_rand64();
		o = guest_opts(80);
		w->wire.g2h = *g2h;
		w->wire.h2g = *h2g;
		transfer(w, &o, bytes, bytes);
		assert_int_equal(world_teardown(state), 0);
	}
}

static const struct fake_faults lossless = { .delay_ms = 1 };

static void tcp_g2h_survives_loss_reordering_and_duplicates(void **state)
{
	static const struct fake_faults f = { .drop = 100,
					      .dup = 50,
					      .reorder = 200,
					      .delay_ms = 1,
					      .jitter_ms = 5 };

	lossy(state, &f, &lossless, 512 * KIB);
}

static void tcp_h2g_survives_1_percent_loss(void **state)
{
	static const struct fake_faults f = { .drop = 10, .delay_ms = 1 };

	lossy(state, &lossless, &f, 512 * KIB);
}

static void tcp_h2g_survives_5_percent_loss(void **state)
{
	static const struct fake_faults f = { .drop = 50, .delay_ms = 1 };

	lossy(state, &lossless, &f, 512 * KIB);
}

static void tcp_everything_is_lossy(void **state)
{
	static const struct fake_faults f = { .drop = 30,
					      .dup = 30,
					      .reorder = 100,
					      .delay_ms = 2,
					      .jitter_ms = 10 };

	lossy(state, &f, &f, 256 * KIB);
}

static void tcp_sequence_numbers_wrap(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	o.isn = 0xffffff00;
	transfer(w, &o, MIB, MIB);
}

static void tcp_slow_host_gets_every_byte(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->rate = 1000;
	fake_plan(80)->sndbuf = 16 * KIB;
	transfer(w, &o, 4 * MIB, 0);
}

static void tcp_slow_guest_gets_every_byte(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	o.rate = 64 * KIB;
	o.read_ms = 100;
	transfer(w, &o, 0, 4 * MIB);
}

static void tcp_plain_options(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	o.ws = -1;
	o.ts = false;
	o.mss = 0;
	o.rcvbuf = 0xffff;
	transfer(w, &o, MIB, MIB);
	assert_true(w->wire.max_packet <= 14 + 20 + 20 + 536);
}

static void small_mss(uint16_t mss, bool ts)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	o.mss = mss;
	o.ts = ts;
	w->wire.h2g.drop = 10;
	transfer(w, &o, 16 * KIB, 512 * KIB);
	assert_true(w->wire.max_packet <= 14u + 20 + 20 + mss);
}

static void tcp_mss_is_respected_on_the_wire(void **state)
{
	static const uint16_t mss[] = { 88, 536, 537, 1080, 1220, 1459 };
	size_t i;

	for (i = 0; i < sizeof(mss) / sizeof(*mss); i++) {
		small_mss(mss[i], i % 2);
		assert_int_equal(world_teardown(state), 0);
	}
}

static void no_gso(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)config;
	caps->gso_h2g = false;
}

static void tcp_link_that_does_not_cut(void **state)
{
	struct fake_world *w = fake_world(no_gso);
	struct guest_opts o = guest_opts(80);

	(void)state;
	transfer(w, &o, MIB, 2 * MIB);
}

static void jumbo(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)config;
	caps->mtu = 65520;
	caps->gso_h2g = false;
}

static void tcp_mtu_65520(void **state)
{
	struct fake_world *w;
	struct guest_opts o;
	unsigned i;

	for (i = 0; i < 4; i++) {
		w = fake_world(jumbo);
		o = guest_opts(80);
		o.six = i & 1;
		o.ts = i & 2;
		o.mss = o.six ? 65460 : 65480;
		o.seg = 60000;
		o.rcvbuf = 2 * MIB;
		fake_plan(80)->rcvbuf = MIB;
		transfer(w, &o, MIB, 8 * MIB);
		assert_true(w->wire.max_packet > 60000);
		assert_int_equal(world_teardown(state), 0);
	}
}

static void tcp_connects_at_once(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->at_once = true;
	transfer(w, &o, 64 * KIB, 64 * KIB);
}

static void tcp_segments_of_a_tick_share_an_ack(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.send = 4 * MIB;
	o.seg = 1000;
	o.cwnd = 100 * 1000;
	c = world_connect(w, &o);
	world_until(w, LONG_MS, c->una == o.send + 1);
	/* Not one for every other of the 4,195 segments. */
	assert_true(w->wire.packets_h2g < 4195 / 2 * 9 / 10);
	world_clean(w);
}

static struct {
	void (*to_guest)(void *arg, uint8_t *packet, size_t len);
	uint64_t read; /* when port 81's last came */
	unsigned overtaken;
} order;

/* Data from port 81 before what port 80 sent in the same tick? */
static void note_order(void *arg, uint8_t *packet, size_t len)
{
	bool bulk = packet[14 + 20 + 1] == 80;

	if (len > 100 && bulk && order.read == fake_now())
		order.overtaken++;
	if (len > 100 && !bulk)
		order.read = fake_now();
	order.to_guest(arg, packet, len);
}

static void tcp_bulk_comes_last_in_a_tick(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts bulk = guest_opts(80), few = guest_opts(81);
	struct guest_conn *c[2];

	(void)state;
	memset(&order, 0, sizeof(order));
	c[0] = world_connect(w, &bulk);
	c[1] = world_connect(w, &few);
	order.to_guest = w->wire.to_guest;
	w->wire.to_guest = note_order;
	for (unsigned i = 0; i < 20; i++) {
		LWR_CONTAINER(w->tcp.alive.next, struct lwr_flow, node)->bulk =
			true;
		for (unsigned k = 0; k < 2; k++) {
			fake_host(k)->plan.send += 200;
			fake_host_kick(fake_host(k));
		}
		fake_run(20);
	}
	assert_int_equal(c[0]->read, 20 * 200);
	assert_int_equal(c[1]->read, 20 * 200);
	/* But where a tick came between the two. */
	assert_true(order.overtaken > 15);
	guest_reset(c[0]);
	guest_reset(c[1]);
	world_clean(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(tcp_lossless_bulk_both_ways),
	WORLD_TEST(tcp_nothing_sent_is_closed_in_order),
	WORLD_TEST(tcp_ipv6_bulk_both_ways),
	WORLD_TEST(tcp_large_guest_frames),
	WORLD_TEST(tcp_g2h_survives_loss_reordering_and_duplicates),
	WORLD_TEST(tcp_h2g_survives_1_percent_loss),
	WORLD_TEST(tcp_h2g_survives_5_percent_loss),
	WORLD_TEST(tcp_everything_is_lossy),
	WORLD_TEST(tcp_sequence_numbers_wrap),
	WORLD_TEST(tcp_slow_host_gets_every_byte),
	WORLD_TEST(tcp_slow_guest_gets_every_byte),
	WORLD_TEST(tcp_plain_options),
	WORLD_TEST(tcp_mss_is_respected_on_the_wire),
	WORLD_TEST(tcp_link_that_does_not_cut),
	WORLD_TEST(tcp_mtu_65520),
	WORLD_TEST(tcp_connects_at_once),
	WORLD_TEST(tcp_segments_of_a_tick_share_an_ack),
	WORLD_TEST(tcp_bulk_comes_last_in_a_tick),
};

WORLD_MAIN(tests)
