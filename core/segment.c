/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a TCP segment to its connection. It is found by hash of (link,
 * addresses, ports), with or without a PCB: a held SYN has none, and a
 * repeated SYN or a RST finds it all the same. What is in no table is a new
 * SYN, a segment of a connection in TIME-WAIT, or stray and answered with RST.
 */
#include "core/csum.h"
#include "core/stack.h"
#include "core/stack_priv.h"

#include "lwip/pbuf.h"
#include "lwip/prot/tcp.h"

#include <string.h>

enum {
	FLAG_FIN = 1,
	FLAG_SYN = 2,
	FLAG_RST = 4,
	FLAG_ACK = 16,
};

static uint64_t now(const struct lwr_stack *s)
{
	return lwr__loop_now(s->loop);
}

struct segment {
	uint32_t seq;
	uint32_t payload;
	uint8_t flags;
};

static struct segment segment_of(const struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	struct segment seg = { 0 };
	uint32_t hlen;

	lwr__cursor_bytes(&c, NULL, 4);
	seg.seq = lwr__cursor_u32(&c);
	lwr__cursor_bytes(&c, NULL, 4);
	hlen = (uint32_t)(lwr__cursor_u8(&c) >> 4) * 4;
	seg.flags = lwr__cursor_u8(&c);
	seg.payload = pkt->l4_len > hlen ? pkt->l4_len - hlen : 0;
	return seg;
}

void lwr__stack_key(struct lwr_key *key, const struct lwr_pkt *pkt)
{
	memset(key, 0, sizeof(*key));
	key->guest = pkt->src;
	key->host = pkt->dst;
	key->link = pkt->link->id;
	key->gport = pkt->sport;
	key->hport = pkt->dport;
}

/* Finds the timestamp option (RFC 7323 3.2). False: there is none. */
static bool timestamp_of(const struct lwr_pkt *pkt, uint32_t *value)
{
	enum { EOL = 0, NOP = 1, TIMESTAMP = 8 };
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	uint8_t kind, len;

	lwr__cursor_bytes(&c, NULL, 12);
	len = (uint8_t)((lwr__cursor_u8(&c) >> 4) * 4);
	c = lwr__cursor(pkt->data + pkt->l4, len);
	lwr__cursor_bytes(&c, NULL, TCP_HLEN);
	while (c.left > 0 && !c.bad) {
		kind = lwr__cursor_u8(&c);
		if (kind == EOL)
			return false;
		if (kind == NOP)
			continue;
		len = lwr__cursor_u8(&c);
		if (len < 2)
			return false;
		if (kind == TIMESTAMP) {
			*value = lwr__cursor_u32(&c);
			return !c.bad;
		}
		lwr__cursor_bytes(&c, NULL, len - 2u);
	}
	return false;
}

static void ack_timewait(struct lwr_stack *s, const struct lwr_pkt *pkt,
			 const struct lwr_timewait_slot *tw)
{
	enum { HLEN_MAX = TCP_HLEN + 12, NOP_NOP_TS_10 = 0x0101080a };
	uint8_t b[HLEN_MAX] = { 0 };
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));
	uint32_t echo = 0;
	bool ts = timestamp_of(pkt, &echo);
	uint16_t csum, hlen = ts ? HLEN_MAX : TCP_HLEN;
	struct pbuf *p = lwr__send_alloc(hlen);

	if (!p)
		return;
	lwr__cursor_put_u16(&c, pkt->dport);
	lwr__cursor_put_u16(&c, pkt->sport);
	lwr__cursor_put_u32(&c, tw->snd_nxt);
	lwr__cursor_put_u32(&c, tw->rcv_nxt);
	lwr__cursor_put_u8(&c, (uint8_t)(hlen / 4 << 4));
	lwr__cursor_put_u8(&c, FLAG_ACK);
	lwr__cursor_bytes(&c, NULL, 6); /* window, checksum, urgent: 0 */
	if (ts) {
		lwr__cursor_put_u32(&c, NOP_NOP_TS_10);
		lwr__cursor_put_u32(&c, (uint32_t)now(s));
		lwr__cursor_put_u32(&c, echo);
	}
	csum = lwr__csum(lwr__csum_pseudo(&pkt->dst, &pkt->src, LWR_PROTO_TCP,
					  hlen),
			 b, hlen);
	memcpy(b + 16, &csum, 2);
	memcpy(p->payload, b, hlen);
	lwr__send_ip(pkt->link, p, &pkt->dst, &pkt->src, LWR_PROTO_TCP, 64);
}

/*
 * A segment of a connection in TIME-WAIT (RFC 9293 3.10.7.8, RFC 6191): a SYN
 * beyond the old sequence numbers opens a new one. Returns true if handled.
 */
static bool timewait_input(struct lwr_stack *s, const struct lwr_pkt *pkt,
			   const struct lwr_key *key, const struct segment *seg)
{
	struct lwr_timewait_slot *tw;

	tw = lwr__timewait_find(&s->timewait, key, now(s));
	if (!tw)
		return false;
	if ((seg->flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN &&
	    (int32_t)(seg->seq - tw->rcv_nxt) > 0) {
		lwr__timewait_remove(tw);
		return false;
	}
	if (!(seg->flags & FLAG_RST) &&
	    (seg->flags & (FLAG_SYN | FLAG_FIN) || seg->payload))
		ack_timewait(s, pkt, tw);
	return true;
}

/* Leaves only the TCP segment in the pbuf. */
static void strip(const struct lwr_pkt *pkt, struct pbuf *p)
{
	pbuf_remove_header(p, pkt->l4);
	pbuf_realloc(p, (u16_t)pkt->l4_len);
}

/* Our SYN may be answered, and nothing else: no simultaneous open. */
static bool answers_syn(const struct pbuf *p)
{
	const uint8_t *th = p->payload;

	return th[13] & (FLAG_ACK | FLAG_RST);
}

/*
 * A repeated SYN gets the same answer as the first, whatever its options: by
 * now they are agreed on, but lwIP would take new ones over.
 */
static void drop_syn_options(struct pbuf *p)
{
	uint8_t *th = p->payload;

	if (!(th[13] & FLAG_SYN))
		return;
	th[12] = TCP_HLEN / 4 << 4;
	pbuf_realloc(p, TCP_HLEN);
}

static void unknown_tcp(struct lwr_stack *s, const struct lwr_pkt *pkt,
			const struct lwr_key *key, struct pbuf *p)
{
	struct segment seg = segment_of(pkt);

	if (timewait_input(s, pkt, key, &seg)) {
		pbuf_free(p);
	} else if ((seg.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == FLAG_SYN) {
		s->hooks->on_syn(s->arg, pkt);
		pbuf_free(p);
	} else {
		strip(pkt, p);
		lwr__lwip_stray(pkt->link, pkt, p);
	}
}

/* Before the guest was answered, only these two mean anything. */
static void early_tcp(struct lwr_stack *s, struct lwr_conn *c,
		      const struct lwr_pkt *pkt, struct pbuf *p)
{
	struct segment seg = segment_of(pkt);
	bool rst = (seg.flags & FLAG_RST) != 0;

	if (rst || (seg.flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN)
		s->hooks->on_early(s->arg, c, pkt, rst);
	pbuf_free(p); /* the packet is in it */
}

void lwr__stack_segment(struct lwr_stack *s, const struct lwr_pkt *pkt,
			struct pbuf *p)
{
	struct lwr_demux_node *n;
	struct lwr_conn *c;
	struct lwr_key key;

	lwr__stack_key(&key, pkt);
	n = lwr__demux_find(&s->demux, &key);
	if (!n) {
		unknown_tcp(s, pkt, &key, p);
		return;
	}
	c = LWR_CONTAINER(n, struct lwr_conn, demux);
	if (!c->pcb) {
		early_tcp(s, c, pkt, p);
		return;
	}
	c->ttl = pkt->ttl;
	strip(pkt, p);
	if (lwr__lwip_calling(c) && !answers_syn(p)) {
		pbuf_free(p);
		return;
	}
	if (!lwr__lwip_calling(c))
		drop_syn_options(p);
	lwr__lwip_input(c, p);
}
