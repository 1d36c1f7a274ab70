/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments that no honest guest sends: they change nothing for anybody. */
#include "test/fake_world.h"

#include "relay/flow.h"

#include "lwip/tcp.h"

enum { KIB = 1024, MIB = 1024 * 1024, LONG_MS = 600000 };

struct heard {
	unsigned acks, rsts;
	struct fake_seg last;
};

static void hear(void *arg, const struct fake_seg *s)
{
	struct heard *h = arg;

	h->last = *s;
	h->last.data = NULL;
	if (s->flags & SEG_RST)
		h->rsts++;
	else if (s->flags & SEG_ACK)
		h->acks++;
}

static void listen_to(struct fake_world *w, struct heard *h)
{
	*h = (struct heard){ 0 };
	w->guest.on_seg = hear;
	w->guest.arg = h;
}

static struct lwr_flow *only_flow(struct fake_world *w)
{
	struct lwr_list *n = w->wire.link.conns.next;

	assert_true(n != &w->wire.link.conns);
	return lwr__flow_of(LWR_CONTAINER(n, struct lwr_conn, on_link));
}

static struct guest_conn *idle(struct fake_world *w)
{
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c = world_connect(w, &o);

	fake_run(1000);
	world_ok(w);
	return c;
}

/* The connection still works, both ways, and ends in order. */
static void still_works(struct fake_world *w, struct guest_conn *c)
{
	c->o.send = 256 * KIB;
	c->o.fin_after_send = true;
	fake_host(0)->plan.send = 256 * KIB;
	fake_host(0)->plan.fin_after_send = true;
	guest_kick(c);
	fake_host_kick(fake_host(0));
	world_until(w, LONG_MS, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(fake_host(0)->got, 256 * KIB);
	assert_int_equal(c->read, 256 * KIB);
	world_clean(w);
}

static void hostile_mss_option_in_a_data_segment(void **state)
{
	static const uint16_t mss[] = { 1, 48, 536, 9000, 65535 };
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct fake_seg s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(mss) / sizeof(*mss); i++) {
		s = guest_seg(c, SEG_ACK);
		s.wnd = 2000;
		s.mss = mss[i];
		guest_raw(&w->guest, &s);
		fake_host(0)->plan.send += 64 * KIB;
		fake_host_kick(fake_host(0));
		fake_run(100);
		guest_raw(&w->guest, &s); /* an old ACK by now */
		fake_run(100);
	}
	assert_true(w->wire.max_packet <= 14 + 20 + 20 + 1460);
	c->o.send = 256 * KIB;
	c->o.fin_after_send = true;
	fake_host(0)->plan.fin_after_send = true;
	guest_kick(c);
	fake_host_kick(fake_host(0));
	world_until(w, LONG_MS, guest_closed(c) && fake_host(0)->eof);
	assert_int_equal(c->read, 5 * 64 * KIB);
	world_clean(w);
}

static void hostile_ack_beyond_what_was_sent(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct heard heard;
	struct fake_seg s;
	uint32_t k;

	(void)state;
	for (k = 1; k < 1u << 31; k *= 3) {
		listen_to(w, &heard);
		s = guest_seg(c, SEG_ACK);
		s.ack += k;
		s.wnd = 1000;
		guest_raw(&w->guest, &s);
		fake_run(100);
		assert_int_equal(heard.rsts, 0);
		/* RFC 9293 3.10.7.4: an ACK, and the segment is dropped. */
		assert_int_equal(heard.acks, 1);
	}
	still_works(w, c);
}

static void hostile_data_beyond_the_window(void **state)
{
	static uint8_t junk[1000];
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct heard heard;
	struct fake_seg s;
	uint32_t k;

	(void)state;
	for (k = 2 * MIB + 1; k < 1u << 31; k += 1u << 28) {
		listen_to(w, &heard);
		s = guest_seg(c, SEG_ACK | SEG_FIN);
		s.seq += k;
		s.data = junk;
		s.len = sizeof(junk);
		s.wnd = 2000;
		guest_raw(&w->guest, &s);
		fake_run(100);
		assert_int_equal(heard.acks, 1);
		assert_int_equal(heard.last.ack, guest_seg(c, 0).seq);
	}
	still_works(w, c);
}

static void hostile_window_overrun(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c;
	struct guest_opts o = guest_opts(80);

	(void)state;
	fake_plan(80)->paused = true;
	o.cwnd = 8 * MIB;
	o.send = 8 * MIB;
	c = world_connect(w, &o);
	c->edge = 1ull << 40; /* whatever the stack says */
	guest_kick(c);
	fake_run(1000);
	assert_true(w->tcp.queued <= 2 * MIB);
	world_ok(w);
	c->o.send = 0;
	guest_reset(c);
	world_clean(w);
}

static void hostile_resets_beside_the_sequence(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct heard heard;
	struct fake_seg s;
	uint32_t k;

	(void)state;
	for (k = 1; k < 1u << 31; k *= 5) {
		listen_to(w, &heard);
		s = guest_seg(c, SEG_RST);
		s.seq += k;
		guest_raw(&w->guest, &s);
		s = guest_seg(c, SEG_SYN);
		s.seq += k;
		guest_raw(&w->guest, &s);
		fake_run(100);
		assert_int_equal(heard.rsts, 0);
		assert_int_equal(w->tcp.flows, 1);
	}
	still_works(w, c);
}

static void hostile_urgent_data_are_plain_data(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct fake_seg s;
	uint8_t data[10];
	unsigned i;

	(void)state;
	for (i = 0; i < 100; i++) {
		s = guest_seg(c, SEG_ACK | SEG_URG);
		s.urgent = (uint16_t)fake_below(65536);
		s.wnd = 2000;
		s.data = data;
		s.len = sizeof(data);
		fake_pattern(data, s.len, fake_salt_g2h(80), c->nxt - 1);
		c->nxt += s.len;
		c->max = c->nxt;
		c->o.send += s.len;
		guest_raw(&w->guest, &s);
		fake_run(5);
	}
	world_until(w, 1000, fake_host(0)->got == 1000);
	guest_reset(c);
	world_clean(w);
}

/* Any cut of the stream, in any order, with overlaps, again and again. */
static void hostile_overlapping_segments(void **state)
{
	enum { TOTAL = 60000, MAX = 3000 };
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	static uint8_t data[MAX];
	struct fake_seg s;
	uint32_t from, first = guest_seg(c, 0).seq;

	(void)state;
	c->max = 1 + TOTAL; /* so that ACKs of it are honest */
	c->nxt = c->max;
	c->o.send = TOTAL;
	while (fake_host(0)->got < TOTAL && !fake_failed()) {
		from = fake_below(TOTAL);
		s = guest_seg(c, SEG_ACK);
		s.wnd = 2000;
		s.len = 1 + fake_below(MAX);
		s.len = s.len < TOTAL - from ? s.len : TOTAL - from;
		s.seq = first + from;
		s.data = data;
		fake_pattern(data, s.len, fake_salt_g2h(80), from);
		guest_raw(&w->guest, &s);
		fake_run(fake_below(2));
	}
	world_ok(w);
	c->una = c->max;
	guest_reset(c);
	world_clean(w);
}

/*
 * An ACK of bytes that are still in the ring: the relay reuses their memory,
 * but not before they are sent.
 */
static void hostile_ack_of_bytes_still_in_the_ring(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct fake_seg s;
	unsigned i;

	(void)state;
	c->o.rcvbuf = 8 * MIB;
	guest_ack(c);
	fake_run(10);
	w->wire.stuck = true;
	fake_host(0)->plan.send = 100 * MIB;
	fake_host_kick(fake_host(0));
	for (i = 0; i < 100; i++) {
		fake_run(3);
		s = guest_seg(c, SEG_ACK);
		s.ack = only_flow(w)->conn.pcb->snd_nxt;
		s.wnd = 0x4000;
		guest_raw(&w->guest, &s);
		fake_run(3);
	}
	assert_true(lwr__ring_count(&w->wire.link.h2g) > 20);
	w->guest.vanished = false;
	fake_wire_unstick(&w->wire);
	fake_run(5); /* each byte is compared as it arrives */
	world_ok(w);
	assert_true(c->rcv > 512 * KIB);
	guest_reset(c);
	world_clean(w);
}

/*
 * A timeout moves all that is in flight back to lwIP's queue, behind a window
 * that was closed since; then an ACK empties it after all, while lwIP's timer
 * runs for something else.
 */
static void hostile_ack_empties_a_queue_that_waits_for_window(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c = idle(w);
	struct fake_seg s = guest_seg(c, SEG_ACK);
	uint32_t all;
	uint8_t byte[2];

	(void)state;
	w->guest.raw = true;
	fake_host(0)->plan.any = true;
	fake_host(0)->plan.send = 50 * KIB;
	fake_host_kick(fake_host(0));
	fake_run(50);
	all = only_flow(w)->conn.pcb->snd_nxt;
	assert_int_equal(all - s.ack, 50 * KIB);
	s.data = byte;
	s.len = 1;
	s.wnd = 2000;
	fake_pattern(byte, 1, fake_salt_g2h(80), 0);
	guest_raw(&w->guest, &s);
	s.seq++;
	s.len = 0;
	s.wnd = 0;
	guest_raw(&w->guest, &s);
	fake_run(2000);
	s.ack = all;
	s.seq += 10;
	s.len = 1; /* out of order */
	guest_raw(&w->guest, &s);
	fake_run(2000);
	world_ok(w);
	guest_reset(c);
	w->guest.vanished = true;
	world_clean(w);
}

/* The SYN comes twice, the second with options that the first had not. */
static void hostile_syn_repeated_with_more_options(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;
	struct fake_seg syn;

	(void)state;
	o.ts = false;
	o.fin_on_eof = true;
	fake_plan(80)->send = 4 * MIB;
	fake_plan(80)->fin_after_send = true;
	w->wire.h2g.delay_ms = 10;
	c = guest_connect(&w->guest, &o);
	fake_run(5);
	syn = guest_seg(c, SEG_SYN);
	syn.seq = o.isn;
	syn.mss = 9000;
	syn.ws = 14;
	syn.ts = true;
	syn.wnd = 65535;
	guest_raw(&w->guest, &syn);
	world_until(w, 10000, c->state != GUEST_SYN_SENT);
	world_until(w, 60000, guest_closed(c));
	assert_int_equal(c->read, 4 * MIB);
	world_clean(w);
}

static void hostile_segments_of_no_connection(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct heard heard;
	struct fake_seg s = { .gport = 5, .hport = 6, .ws = -1, .wnd = 5 };
	unsigned flags;

	(void)state;
	listen_to(w, &heard);
	for (flags = 0; flags < 64; flags++) {
		if ((flags & (SEG_SYN | SEG_ACK | SEG_RST)) == SEG_SYN)
			continue;
		listen_to(w, &heard);
		s.flags = (uint8_t)flags;
		s.seq = (uint32_t)fake_rand64();
		s.ack = (uint32_t)fake_rand64();
		guest_raw(&w->guest, &s);
		fake_run(20);
		assert_int_equal(heard.rsts, flags & SEG_RST ? 0 : 1);
		if (!(flags & SEG_RST) && flags & SEG_ACK)
			assert_int_equal(heard.last.seq, s.ack);
	}
	world_clean(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(hostile_mss_option_in_a_data_segment),
	WORLD_TEST(hostile_ack_beyond_what_was_sent),
	WORLD_TEST(hostile_data_beyond_the_window),
	WORLD_TEST(hostile_window_overrun),
	WORLD_TEST(hostile_resets_beside_the_sequence),
	WORLD_TEST(hostile_urgent_data_are_plain_data),
	WORLD_TEST(hostile_overlapping_segments),
	WORLD_TEST(hostile_ack_of_bytes_still_in_the_ring),
	WORLD_TEST(hostile_ack_empties_a_queue_that_waits_for_window),
	WORLD_TEST(hostile_syn_repeated_with_more_options),
	WORLD_TEST(hostile_segments_of_no_connection),
};

WORLD_MAIN(tests)
