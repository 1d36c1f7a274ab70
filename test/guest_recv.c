/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's receiving side: RFC 9293 3.10.7, strict where Linux is. */
#include "test/guest_priv.h"

#include "test/fake_loop.h"
#include "test/fake_rand.h"

#include <errno.h>

void guest__close(struct guest_conn *c, int error)
{
	c->state = GUEST_CLOSED;
	c->error = error;
	c->ended_ms = fake_now();
	if (c->rto)
		fake_cancel(c->rto);
	if (c->reader)
		fake_cancel(c->reader);
	c->rto = NULL;
	c->reader = NULL;
}

static void on_rst(struct guest_conn *c, const struct fake_seg *s)
{
	uint64_t at = c->rcv +
		      (uint64_t)(int64_t)(int32_t)(s->seq -
						   (c->irs + (uint32_t)c->rcv));
	bool syn_sent = c->state == GUEST_SYN_SENT;

	c->rsts++;
	if (syn_sent ? c->answering : at == c->rcv) {
		guest__close(c, -ECONNRESET);
	} else if (syn_sent) {
		if (s->flags & SEG_ACK && s->ack == c->o.isn + 1)
			guest__close(c, -ECONNREFUSED);
		else
			fake_fail("RST that does not answer the SYN");
	} else if (at > c->rcv && at < c->rcv + guest__space(c)) {
		guest_ack(c); /* RFC 5961 3.2: a challenge */
	}
}

static void on_syn_ack(struct guest_conn *c, const struct fake_seg *s)
{
	c->syn_acks++;
	if (c->state == GUEST_OPEN) {
		guest_ack(c);
		return;
	}
	if (s->ack != c->o.isn + 1) {
		fake_fail("SYN-ACK of another SYN");
		return;
	}
	c->irs = s->seq;
	c->rcv = 1;
	c->una = c->nxt = c->max = 1;
	c->ws_on = c->o.ws >= 0 && s->ws >= 0;
	c->ts_on = c->o.ts && s->ts;
	c->tsecr = s->tsval;
	c->peer_ws = c->ws_on ? (uint8_t)s->ws : 0;
	c->offered_mss = s->mss;
	c->peer_mss = s->mss ? s->mss : 536;
	if (c->peer_mss > 1460)
		c->peer_mss = 1460;
	c->edge = 1 + (uint64_t)s->wnd;
	c->wl2 = 1;
	c->state = GUEST_OPEN;
	c->rto_ms = GUEST_RTO_MS;
	if (c->rto)
		fake_cancel(c->rto);
	c->rto = NULL;
	guest_ack(c);
	guest__output(c);
}

static void take_ack(struct guest_conn *c, const struct fake_seg *s,
		     uint64_t at)
{
	uint64_t ack =
		c->una +
		(uint64_t)(int64_t)(int32_t)(s->ack -
					     (c->o.isn + (uint32_t)c->una));
	uint64_t edge = ack + ((uint64_t)s->wnd << c->peer_ws);
	bool moved = edge != c->edge;

	if ((int64_t)ack < 0 || ack > c->max) {
		fake_fail("ACK of bytes that were never sent");
		return;
	}
	if (at > c->wl1 || (at == c->wl1 && ack >= c->wl2)) {
		c->edge = edge;
		c->wl1 = at;
		c->wl2 = ack;
	}
	if (ack > c->una) {
		c->una = ack;
		c->nxt = c->nxt > ack ? c->nxt : ack;
		c->dupacks = 0;
		c->rto_ms = GUEST_RTO_MS;
		if (c->rto)
			fake_cancel(c->rto);
		c->rto = NULL;
		if (ack < c->recover)
			guest__retransmit(c);
	} else if (ack == c->una && !s->len && !moved && c->una < c->max &&
		   ++c->dupacks == 3 && c->una >= c->recover) {
		c->recover = c->max;
		guest__retransmit(c);
	}
	guest__output(c);
}

static void drop_range(struct guest_conn *c, unsigned i)
{
	c->range[i] = c->range[--c->ranges];
}

/* Adds a range, and what touches it already. */
static void add_range(struct guest_conn *c, uint64_t from, uint64_t to)
{
	unsigned i = 0;

	while (i < c->ranges) {
		if (c->range[i].from > to || c->range[i].to < from) {
			i++;
			continue;
		}
		from = from < c->range[i].from ? from : c->range[i].from;
		to = to > c->range[i].to ? to : c->range[i].to;
		drop_range(c, i);
		i = 0;
	}
	if (c->ranges == GUEST_RANGES)
		return;
	c->range[c->ranges].from = from;
	c->range[c->ranges++].to = to;
}

/* Moves rcv over what is next in order. */
static void merge(struct guest_conn *c)
{
	unsigned i;

	for (i = 0; i < c->ranges; i++) {
		if (c->range[i].from > c->rcv)
			continue;
		c->rcv = c->range[i].to;
		drop_range(c, i);
		break;
	}
	if (c->fin_at && c->rcv == c->fin_at)
		c->rcv++;
}

static void take_data(struct guest_conn *c, const struct fake_seg *s,
		      uint64_t at)
{
	uint64_t from = at, to = at + s->len, end = c->rcv + guest__space(c);

	if (s->len > c->max_data)
		c->max_data = s->len;
	if (s->len &&
	    (at < 1 || !fake_pattern_check(s->data, s->len,
					   fake_salt_h2g(c->o.hport), at - 1)))
		fake_fail("h2g bytes differ at %llu of port %u",
			  (unsigned long long)at, c->o.hport);
	/* One byte may probe a closed window. */
	if (to > c->told && !(s->len == 1 && at == c->told))
		fake_fail("data %llu bytes beyond the guest's window",
			  (unsigned long long)(to - c->told));
	if (s->flags & SEG_FIN) {
		if (c->fin_at && c->fin_at != to)
			fake_fail("the FIN moved");
		if (to <= end)
			c->fin_at = to;
	}
	from = from < c->rcv ? c->rcv : from;
	to = to < end ? to : end;
	if (from < to)
		add_range(c, from, to);
	merge(c);
}

static void on_open_segment(struct guest_conn *c, const struct fake_seg *s)
{
	uint64_t at = c->rcv +
		      (uint64_t)(int64_t)(int32_t)(s->seq -
						   (c->irs + (uint32_t)c->rcv));
	bool answer = s->len || s->flags & SEG_FIN || at < c->rcv;

	if (s->mss || s->sack || s->ws >= 0)
		fake_fail("SYN options outside of a SYN");
	if (c->ts_on && !s->ts) { /* RFC 7323 3.2: dropped, as FreeBSD does */
		c->no_ts++;
		return;
	}
	if (!c->ts_on && s->ts)
		fake_fail("timestamps that were not agreed on");
	if (s->ts && at <= c->rcv)
		c->tsecr = s->tsval;
	if (s->len || s->flags & SEG_FIN)
		take_data(c, s, at);
	if (s->flags & SEG_ACK)
		take_ack(c, s, at);
	if (answer)
		guest_ack(c);
	guest__read_some(c);
}

static void on_icmp(struct guest_conn *c, const struct fake_seg *s)
{
	static const int four[] = {
		[0] = -ENETUNREACH, [1] = -EHOSTUNREACH, [13] = -EACCES
	};
	static const int six[] = {
		[0] = -ENETUNREACH, [1] = -EACCES, [3] = -EHOSTUNREACH
	};
	int err = 0;

	c->icmps++;
	c->icmp_from = s->icmp_from;
	if (s->icmp_type == (c->o.six ? 3 : 11) && s->icmp_code == 0)
		err = -EHOSTUNREACH; /* as a kernel says of a TTL that ended */
	if (c->o.six && s->icmp_type == 1 && s->icmp_code < 4)
		err = six[s->icmp_code];
	if (!c->o.six && s->icmp_type == 3 && s->icmp_code < 14)
		err = four[s->icmp_code];
	if (!err)
		fake_fail("ICMP %u/%u", s->icmp_type, s->icmp_code);
	if (c->state == GUEST_SYN_SENT)
		guest__close(c, err);
}

static void answer_closed(struct guest_conn *c, const struct fake_seg *s)
{
	struct fake_seg r = guest_seg(c, SEG_RST);

	if (s->flags & SEG_RST)
		return;
	r.seq = s->ack;
	r.ts = false;
	guest_raw(c->guest, &r);
}

/* Something for a connection whose SYN-ACK is out. */
static void on_answered(struct guest_conn *c, const struct fake_seg *s)
{
	if (s->flags & SEG_SYN) {
		guest__send_syn(c);
		return;
	}
	if (!(s->flags & SEG_ACK) || s->ack != c->o.isn + 1)
		return;
	c->answering = false;
	c->state = GUEST_OPEN;
	c->una = c->nxt = c->max = 1;
	c->edge = 1 + ((uint64_t)s->wnd << c->peer_ws);
	c->wl2 = 1;
	c->rto_ms = GUEST_RTO_MS;
	if (c->rto)
		fake_cancel(c->rto);
	c->rto = NULL;
	on_open_segment(c, s);
	guest__output(c);
}

static void on_stray(struct guest *g, const struct fake_seg *s)
{
	struct fake_seg r = { .gport = s->gport,
			      .hport = s->hport,
			      .six = s->six,
			      .flags = SEG_RST | SEG_ACK,
			      .ack = s->seq + 1,
			      .ws = -1 };
	bool syn = (s->flags & (SEG_SYN | SEG_ACK)) == SEG_SYN && !s->icmp;

	if (syn && g->refuses)
		guest_raw(g, &r);
	else if (syn && g->listen)
		guest__accept(g, s);
	else
		g->strays++;
}

static struct guest_conn *find(struct guest *g, const struct fake_seg *s)
{
	unsigned i;

	for (i = g->conns; i-- > 0;) {
		if (g->conn[i]->gport == s->gport &&
		    g->conn[i]->o.hport == s->hport &&
		    g->conn[i]->o.six == s->six)
			return g->conn[i];
	}
	return NULL;
}

void guest__input(void *arg, uint8_t *packet, size_t len)
{
	struct guest *g = arg;
	struct guest_conn *c;
	struct fake_seg s;

	if (g->vanished || !fake_seg_parse(&s, packet, len))
		return;
	if (g->trace)
		guest__trace(g, &s, "h2g");
	if (g->on_seg)
		g->on_seg(g->arg, &s);
	if (g->raw)
		return;
	c = find(g, &s);
	if (!c)
		on_stray(g, &s);
	else if (s.icmp)
		on_icmp(c, &s);
	else if (c->state == GUEST_CLOSED)
		answer_closed(c, &s);
	else if (s.flags & SEG_RST)
		on_rst(c, &s);
	else if (c->answering)
		on_answered(c, &s);
	else if (s.flags & SEG_SYN)
		on_syn_ack(c, &s);
	else if (c->state == GUEST_OPEN)
		on_open_segment(c, &s);
}
