/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams need no memory here either: what is sent is made of the pattern at
 * its offset, again for each retransmission, and what arrives is compared with
 * it whatever its order, so that only ranges are kept.
 *
 * Loss recovery is NewReno's (RFC 6582) without its window: three duplicate
 * ACKs or a timeout send the first segment again, each partial ACK the next.
 */
#include "test/guest_priv.h"

#include "test/fake_loop.h"
#include "test/fake_rand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RTO_MAX_MS = 5000, FIRST_PORT = 40000 };

static void arm_rto(struct guest_conn *c);

/* ---- sending -------------------------------------------------------------- */

uint32_t guest__space(const struct guest_conn *c)
{
	uint64_t data = c->rcv - (c->fin_at && c->rcv > c->fin_at ? 1 : 0);
	uint64_t held = data ? data - 1 - c->read : 0;

	return held < c->o.rcvbuf ? (uint32_t)(c->o.rcvbuf - held) : 0;
}

/* The window field, and what it promises. */
static uint16_t window_field(struct guest_conn *c, bool syn)
{
	uint32_t wnd = guest__space(c);
	uint8_t ws = c->ws_on && !syn ? (uint8_t)c->o.ws : 0;

	wnd >>= ws;
	wnd = wnd > 0xffff ? 0xffff : wnd;
	if (c->rcv + ((uint64_t)wnd << ws) > c->told)
		c->told = c->rcv + ((uint64_t)wnd << ws);
	return (uint16_t)wnd;
}

struct fake_seg guest_seg(const struct guest_conn *c, uint8_t flags)
{
	struct fake_seg s = {
		.gport = c->gport,
		.hport = c->o.hport,
		.six = c->o.six,
		.flags = flags,
		.ttl = c->o.ttl,
		.seq = c->o.isn + (uint32_t)c->nxt,
		.ack = c->irs + (uint32_t)c->rcv,
		.ws = -1,
		.ts = c->ts_on,
		.tsval = (uint32_t)fake_now(),
		.tsecr = c->tsecr,
	};

	return s;
}

/* LWR_TRACE: one line for each segment that the guest sends or receives. */
void guest__trace(const struct guest *g, const struct fake_seg *s,
		  const char *way)
{
	(void)g;
	fprintf(stderr, "%8llu %s %u:%u %s%s%s%s%s seq %u ack %u wnd %u +%u\n",
		(unsigned long long)(fake_now() % 100000000), way, s->gport,
		s->hport, s->icmp ? "icmp" : "", s->flags & SEG_SYN ? "S" : "",
		s->flags & SEG_FIN ? "F" : "", s->flags & SEG_RST ? "R" : "",
		s->flags & SEG_ACK ? "A" : "", s->seq, s->ack, s->wnd, s->len);
}

void guest_raw(struct guest *g, const struct fake_seg *s)
{
	static uint8_t frame[SEG_FRAME_MAX];

	if (g->trace)
		guest__trace(g, s, "g2h");
	if (!g->vanished)
		fake_wire_send(g->wire, frame, fake_seg_build(s, frame));
}

void guest_ack(struct guest_conn *c)
{
	struct fake_seg s = guest_seg(c, SEG_ACK);

	s.seq = c->o.isn + (uint32_t)c->max;
	s.wnd = window_field(c, false);
	guest_raw(c->guest, &s);
}

void guest__send_syn(struct guest_conn *c)
{
	struct fake_seg s =
		guest_seg(c, c->answering ? SEG_SYN | SEG_ACK : SEG_SYN);

	s.seq = c->o.isn;
	if (!c->answering)
		s.ack = 0;
	s.wnd = window_field(c, true);
	s.mss = c->o.mss;
	s.ws = c->o.ws;
	s.sack = true;
	s.ts = c->answering ? c->ts_on : c->o.ts;
	if (c->answering && !c->ws_on)
		s.ws = -1;
	guest_raw(c->guest, &s);
}

static uint64_t end_of(const struct guest_conn *c)
{
	return 1 + c->o.send;
}

static bool may_fin(const struct guest_conn *c)
{
	return c->o.fin_after_send || (c->o.fin_on_eof && c->eof);
}

/* One segment of [from, to) that is in the send buffer; the FIN at the end. */
static void send_range(struct guest_conn *c, uint64_t from, uint64_t to)
{
	static uint8_t data[SEG_FRAME_MAX];
	struct fake_seg s = guest_seg(c, SEG_ACK);
	uint64_t end = end_of(c);

	s.seq = c->o.isn + (uint32_t)from;
	s.wnd = window_field(c, false);
	if (to > end) {
		s.flags |= SEG_FIN;
		to = end;
	}
	s.len = (uint32_t)(to - from);
	if (s.len) {
		s.flags |= SEG_PSH;
		fake_pattern(data, s.len, fake_salt_g2h(c->o.hport), from - 1);
		s.data = data;
	}
	guest_raw(c->guest, &s);
}

/* Where the segment that begins at `from` ends, by size and by data. */
static uint64_t segment_end(const struct guest_conn *c, uint64_t from)
{
	uint32_t seg = c->o.seg ? c->o.seg : c->peer_mss;
	uint64_t end = end_of(c);

	if (c->o.ts && !c->o.seg)
		seg -= 12;
	if (from + seg < end)
		return from + seg;
	return may_fin(c) ? end + 1 : end;
}

void guest__output(struct guest_conn *c)
{
	uint64_t to, limit;

	if (c->state != GUEST_OPEN)
		return;
	limit = c->una + c->o.cwnd;
	limit = limit < c->edge ? limit : c->edge;
	for (;;) {
		to = segment_end(c, c->nxt);
		if (to > limit && c->nxt < limit && c->nxt == c->una)
			to = limit; /* part of it rather than nothing */
		if (to <= c->nxt || to > limit)
			break;
		send_range(c, c->nxt, to);
		c->nxt = to;
		if (c->nxt > c->max)
			c->max = c->nxt;
	}
	arm_rto(c);
}

void guest__retransmit(struct guest_conn *c)
{
	uint64_t to = segment_end(c, c->una);

	if (to > c->max)
		to = c->max;
	if (to > c->una)
		send_range(c, c->una, to);
}

static bool has_more(const struct guest_conn *c)
{
	return c->nxt < end_of(c) || (may_fin(c) && c->nxt == end_of(c));
}

static void on_rto(void *ctx, const void *data, size_t len)
{
	struct guest_conn *c = ctx;

	(void)data;
	(void)len;
	c->rto = NULL;
	c->rto_ms = c->rto_ms * 2 > RTO_MAX_MS ? RTO_MAX_MS : c->rto_ms * 2;
	if (c->state == GUEST_SYN_SENT) {
		guest__send_syn(c);
	} else if (c->una < c->max) {
		c->recover = c->max;
		c->dupacks = 0;
		guest__retransmit(c);
	} else if (has_more(c)) {
		/* A closed window: probe with one byte (RFC 9293 3.8.6.1). */
		send_range(c, c->nxt, c->nxt + 1);
		c->nxt++;
		c->max = c->nxt;
	}
	arm_rto(c);
}

static void arm_rto(struct guest_conn *c)
{
	bool need =
		c->state == GUEST_SYN_SENT ||
		(c->state == GUEST_OPEN && (c->una < c->max || has_more(c)));

	if (!need && c->rto) {
		fake_cancel(c->rto);
		c->rto = NULL;
	}
	if (need && !c->rto && !c->guest->vanished)
		c->rto = fake_at(c->rto_ms, on_rto, c);
}

/* ---- the program reads ----------------------------------------------------- */

static void on_reader(void *ctx, const void *data, size_t len)
{
	struct guest_conn *c = ctx;

	(void)data;
	(void)len;
	c->reader = NULL;
	guest__read_some(c);
}

static uint64_t readable(const struct guest_conn *c)
{
	uint64_t data = c->rcv - (c->fin_at && c->rcv > c->fin_at ? 1 : 0);

	return data - 1 - c->read;
}

static bool worth_telling(const struct guest_conn *c)
{
	uint64_t now = c->rcv + guest__space(c);
	uint64_t step = c->o.mss ? c->o.mss : 536;

	if (c->o.silly || step > c->o.rcvbuf / 2)
		step = 1;
	return now >= c->told + step && !c->fin_at;
}

void guest__read_some(struct guest_conn *c)
{
	uint64_t n;

	if (c->state != GUEST_OPEN || c->o.paused || c->reader)
		return;
	n = readable(c);
	if (c->o.rate && n > c->o.rate)
		n = c->o.rate;
	c->read += n;
	if (n && worth_telling(c))
		guest_ack(c);
	if (c->o.rate && readable(c))
		c->reader =
			fake_at(c->o.read_ms ? c->o.read_ms : 1, on_reader, c);
	if (!c->eof && c->fin_at && c->rcv > c->fin_at && !readable(c)) {
		c->eof = true;
		guest__output(c);
	}
}

/* ---- for tests ------------------------------------------------------------- */

void guest_init(struct guest *g, struct fake_wire *wire)
{
	*g = (struct guest){ .wire = wire,
			     .next_port = FIRST_PORT,
			     .trace = getenv("LWR_TRACE") != NULL };
	wire->to_guest = guest__input;
	wire->arg = g;
}

void guest_fini(struct guest *g)
{
	unsigned i;

	for (i = 0; i < g->conns; i++)
		free(g->conn[i]);
	g->conns = 0;
}

struct guest_opts guest_opts(uint16_t hport)
{
	return (struct guest_opts){
		.hport = hport,
		.isn = (uint32_t)fake_rand64(),
		.mss = 1460,
		.ws = 7,
		.ts = true,
		.rcvbuf = 256 * 1024,
		.cwnd = 256 * 1024,
	};
}

static struct guest_conn *new_conn(struct guest *g, const struct guest_opts *o)
{
	struct guest_conn *c = calloc(1, sizeof(*c));

	if (!c || g->conns == GUEST_CONNS)
		abort();
	g->conn[g->conns++] = c;
	c->guest = g;
	c->o = *o;
	c->rto_ms = 1000;
	return c;
}

void guest__accept(struct guest *g, const struct fake_seg *s)
{
	struct guest_conn *c = new_conn(g, g->listen);

	c->o.hport = s->hport;
	c->o.six = s->six;
	c->gport = s->gport;
	c->answering = true;
	c->irs = s->seq;
	c->rcv = 1;
	c->ws_on = c->o.ws >= 0 && s->ws >= 0;
	c->ts_on = c->o.ts && s->ts;
	c->tsecr = s->tsval;
	c->peer_ws = c->ws_on ? (uint8_t)s->ws : 0;
	c->offered_mss = s->mss;
	c->peer_mss = s->mss && s->mss < 1460 ? s->mss : 1460;
	guest__send_syn(c);
	arm_rto(c);
}

struct guest_conn *guest_connect(struct guest *g, const struct guest_opts *o)
{
	struct guest_conn *c = new_conn(g, o);

	c->gport = g->next_port++;
	guest__send_syn(c);
	arm_rto(c);
	return c;
}

void guest_kick(struct guest_conn *c)
{
	if (c->state == GUEST_OPEN && c->rcv && worth_telling(c))
		guest_ack(c);
	guest__read_some(c);
	guest__output(c);
}

void guest_reset(struct guest_conn *c)
{
	struct fake_seg s = guest_seg(c, SEG_RST | SEG_ACK);

	s.wnd = 0;
	guest_raw(c->guest, &s);
	guest__close(c, -ECONNABORTED);
}

bool guest_closed(const struct guest_conn *c)
{
	return c->state == GUEST_OPEN && c->una == end_of(c) + 1 && c->eof;
}
