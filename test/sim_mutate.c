/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames at random, most of them near to what a live connection expects: no
 * crash, no leak, nothing damaged comes back, and then a guest is served.
 */
#include "test/fake_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TUPLES = 16, FRAMES = 200000, DATA_MAX = 4000, PORT = 1000 };

/* What is known of a connection, from the SYN sent and the last answer. */
struct tuple {
	uint32_t seq;
	uint32_t ack;
	uint32_t wnd;
	bool six;
};

static struct tuple tuple[TUPLES];

static void learn(void *arg, const struct fake_seg *s)
{
	unsigned i = s->gport - PORT;

	(void)arg;
	if (i >= TUPLES || s->icmp || s->flags & SEG_RST)
		return;
	tuple[i].ack =
		s->seq + s->len + (s->flags & (SEG_SYN | SEG_FIN) ? 1 : 0);
	tuple[i].seq = s->ack;
}

static uint32_t near(uint32_t n)
{
	switch (fake_below(8)) {
	case 0:
		return n + fake_below(3000) - 1500;
	case 1:
		return n + (uint32_t)fake_rand64();
	case 2:
		return n + fake_below(4) - 2;
	default:
		return n;
	}
}

static uint8_t random_flags(void)
{
	static const uint8_t usual[] = {
		SEG_ACK, SEG_ACK,	    SEG_ACK, SEG_ACK | SEG_PSH, SEG_SYN,
		SEG_SYN, SEG_ACK | SEG_FIN, SEG_RST, SEG_RST | SEG_ACK
	};

	if (fake_chance(100))
		return (uint8_t)fake_rand64();
	return usual[fake_below(sizeof(usual))];
}

static size_t random_segment(uint8_t *frame)
{
	static uint8_t data[DATA_MAX];
	unsigned i = fake_below(TUPLES);
	struct tuple *t = &tuple[i];
	struct fake_seg s = {
		.gport = (uint16_t)(PORT + i),
		.hport = (uint16_t)(80 + i % 6),
		.six = i & 1,
		.flags = random_flags(),
		.seq = near(t->seq),
		.ack = near(t->ack),
		.wnd = (uint16_t)fake_rand64(),
		.ws = fake_below(16) ? (int)fake_below(16) : -1,
		.sack = fake_chance(100),
		.ts = fake_chance(100),
		.mss = fake_chance(200) ? (uint16_t)fake_rand64() : 0,
		.urgent = (uint16_t)fake_rand64(),
		.data = data,
	};

	if (fake_chance(400))
		s.len = fake_below(DATA_MAX);
	if (fake_chance(100))
		s.wnd = 0;
	return fake_seg_build(&s, frame);
}

/* Changes some bytes, headers mostly, and the length. */
static size_t mutate(uint8_t *frame, size_t len)
{
	unsigned n = fake_below(4);
	size_t at;

	while (n-- > 0) {
		at = fake_chance(700) ? 12 + fake_below(90) : fake_below(4096);
		if (at < len)
			frame[at] = (uint8_t)fake_rand64();
	}
	if (fake_chance(50))
		len = 1 + fake_below((uint32_t)len);
	if (fake_chance(800))
		fake_seg_fix(frame, len);
	return len;
}

static size_t random_frame(uint8_t *frame)
{
	size_t i, len;

	if (fake_chance(20)) {
		len = 1 + fake_below(200);
		for (i = 0; i < len; i++)
			frame[i] = (uint8_t)fake_rand64();
		return len;
	}
	len = random_segment(frame);
	return fake_chance(300) ? mutate(frame, len) : len;
}

/* Ports that behave differently, all of them not caring about bytes. */
static void plans(void)
{
	static const int result[6] = {
		0, 0, 0, 0, -ECONNREFUSED, -EHOSTUNREACH
	};
	struct fake_plan *p;
	unsigned i;

	for (i = 0; i < 6; i++) {
		p = fake_plan((uint16_t)(80 + i));
		p->any = true;
		p->result = result[i];
		p->after_ms = i % 3;
		p->at_once = i == 5;
		p->send = i * 100000;
		p->paused = i == 2;
		p->rate = i == 3 ? 100 : 0;
		p->fin_after_send = i == 1;
	}
}

static void host_acts(void)
{
	struct fake_host *h = NULL;

	if (fake_hosts())
		h = fake_host(fake_below(fake_hosts()));
	if (!h || h->fd < 0 || h->state != FAKE_CONNECTED)
		return;
	if (fake_chance(300)) {
		fake_host_reset(h);
		return;
	}
	h->plan.paused = fake_chance(300);
	h->plan.fin_after_send = fake_chance(500);
	fake_host_kick(h);
}

static void small_limits(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	config->ring_size = 64;
	config->connect_timeout_ms = 200;
	config->keep_alive_s = 5;
	config->max_flows = 100;
	config->max_buffer = 4 << 20;
}

/* At the end, a guest as good as any is served. */
static void serve_one(struct fake_world *w)
{
	struct guest_opts o = guest_opts(9999);
	struct guest_conn *c;
	struct fake_host *h;

	w->guest.raw = false;
	w->guest.on_seg = NULL;
	o.send = 100000;
	o.fin_after_send = true;
	fake_plan(9999)->send = 100000;
	c = world_connect(w, &o);
	h = fake_host(fake_hosts() - 1);
	world_until(w, 60000, guest_closed(c) && h->eof);
	assert_int_equal(h->got, 100000);
	assert_int_equal(c->read, 100000);
	world_clean(w);
}

static void mutate_many(struct fake_world *w, unsigned frames)
{
	static uint8_t frame[SEG_FRAME_MAX];
	size_t len;
	unsigned i;

	plans();
	w->guest.raw = true;
	w->guest.on_seg = learn;
	for (i = 0; i < frames && !fake_failed(); i++) {
		len = random_frame(frame);
		fake_wire_send(&w->wire, frame, len);
		if (fake_chance(20))
			host_acts();
		if (fake_chance(5)) {
			w->wire.stuck = !w->wire.stuck;
			if (!w->wire.stuck)
				fake_wire_unstick(&w->wire);
		}
		if (fake_chance(300))
			fake_run(fake_chance(10) ? 300 : 1);
	}
	world_ok(w);
}

static void mutate_frames_leave_nothing_behind(void **state)
{
	struct fake_world *w = fake_world(small_limits);

	(void)state;
	mutate_many(w, FRAMES);
	if (w->wire.stuck)
		fake_wire_unstick(&w->wire);
	/* No link is taken down: time ends everything. */
	w->guest.vanished = true;
	fake_run(3600 * 1000);
	world_ok(w);
	assert_int_equal(w->tcp.flows, 0);
	assert_int_equal(fake_fds(), 0);
	w->guest.vanished = false;
	serve_one(w);
}

static void mutate_frames_then_the_link_is_reset(void **state)
{
	struct fake_world *w = fake_world(small_limits);

	(void)state;
	mutate_many(w, 20000);
	fake_run(10); /* what is still on the wire */
	lwr__stack_reset_link(&w->wire.link);
	assert_int_equal(w->tcp.flows, 0);
	assert_int_equal(fake_fds(), 0);
	fake_wire_unstick(&w->wire);
	serve_one(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(mutate_frames_leave_nothing_behind),
	WORLD_TEST(mutate_frames_then_the_link_is_reset),
};

WORLD_MAIN(tests)
