/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each frame is parsed and checked once; a TCP segment goes on to
 * core/segment.c, any other packet to the relay's services.
 *
 * Timers exist only for conns for which lwIP has something running (`due`)
 * or owes an ACK (`ack`); with both lists empty nothing wakes the process.
 *
 * Output goes to each link's ring and is handed over once at the end of the
 * tick. A conn that finds the ring full is put on link->blocked and goes on
 * when the ring has drained to the half.
 */
#include "core/stack.h"
#include "core/stack_priv.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/pbuf.h"

#include "platform/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOW_MS = TCP_SLOW_INTERVAL,
	ACK_DELAY_MS = 5,
};

/* ---- frames ------------------------------------------------------------------- */

static void count_drop(struct lwr_link *link, enum lwr_drop why)
{
	switch (why) {
	case LWR_DROP_NONE:
		break;
	case LWR_DROP_SHORT:
		link->stats.drop_short++;
		break;
	case LWR_DROP_ETHERTYPE:
		link->stats.drop_ethertype++;
		break;
	case LWR_DROP_MALFORMED:
		link->stats.drop_malformed++;
		break;
	case LWR_DROP_CHECKSUM:
		link->stats.drop_checksum++;
		break;
	case LWR_DROP_PROTO:
		link->stats.drop_proto++;
		break;
	}
}

/* The frame is for us: to the gateway, or to a group (IEEE 802.3 3.2.3). */
static bool for_us(const struct lwr_pkt *pkt)
{
	return (pkt->data[0] & 1) ||
	       memcmp(pkt->data, pkt->link->net->gateway_mac, 6) == 0;
}

/* RFC 2827, for a link whose guest's address is known beforehand. */
static bool mac_allowed(const struct lwr_pkt *pkt)
{
	static const uint8_t any[6];
	const uint8_t *mac = pkt->link->net->guest_mac;

	return memcmp(mac, any, 6) == 0 || memcmp(mac, pkt->data + 6, 6) == 0;
}

static void learn(struct lwr_link *link, const struct lwr_pkt *pkt)
{
	const uint8_t *mac = pkt->data + 6;

	if (mac[0] & 1)
		return;
	lwr__neighbours_saw(&link->neighbours, mac);
	if (pkt->l4)
		lwr__neighbours_learn(&link->neighbours, link->net, &pkt->src,
				      mac);
}

/* TCP needs a pbuf of its own. */
static void input_whole_tcp(struct lwr_stack *s, struct lwr_pkt *pkt)
{
	struct pbuf *p = NULL;

	if (pkt->len <= UINT16_MAX)
		p = pbuf_alloc(PBUF_RAW, (u16_t)pkt->len, PBUF_RAM);
	if (!p) {
		pkt->link->stats.drop_memory++;
		return;
	}
	memcpy(p->payload, pkt->data, pkt->len);
	pkt->data = p->payload;
	lwr__stack_segment(s, pkt, p);
}

static void input_fragment(struct lwr_stack *s, const struct lwr_pkt *fragment)
{
	struct lwr_pkt pkt = { .link = fragment->link, .reassembled = true };
	enum lwr_drop drop;
	uint8_t *frame;

	frame = lwr__reass_input(&s->reass, fragment, &pkt.len);
	if (!frame)
		return;
	pkt.data = frame;
	drop = lwr__pkt_parse(&pkt);
	/* Whoever vouched for fragments has not seen the whole. */
	if (drop == LWR_DROP_NONE && !lwr__pkt_csum_valid(&pkt))
		drop = LWR_DROP_CHECKSUM;
	if (drop != LWR_DROP_NONE)
		count_drop(pkt.link, drop);
	else if (pkt.proto == LWR_PROTO_TCP)
		input_whole_tcp(s, &pkt);
	else
		s->hooks->on_packet(s->arg, &pkt);
	free(frame);
}

/* A transport checksum is checked wherever nobody vouched for it. */
static bool transport_valid(const struct lwr_pkt *pkt)
{
	return pkt->fragment || pkt->meta.csum_ok ||
	       pkt->link->caps.csum_g2h_trust || !pkt->l4 ||
	       lwr__pkt_csum_valid(pkt);
}

void lwr__stack_input(struct lwr_link *link, struct pbuf *p,
		      const struct lwr_frame_meta *meta)
{
	struct lwr_stack *s = link->stack;
	struct lwr_pkt pkt = {
		.link = link,
		.data = p->payload,
		.len = p->len,
		.meta = *meta,
	};
	enum lwr_drop drop;

	link->stats.frames_g2h++;
	link->stats.bytes_g2h += p->len;
	s->loop->moved += p->len;
	drop = lwr__pkt_parse(&pkt);
	if (drop == LWR_DROP_NONE && !transport_valid(&pkt))
		drop = LWR_DROP_CHECKSUM;
	if (drop != LWR_DROP_NONE) {
		count_drop(link, drop);
		pbuf_free(p);
		return;
	}
	if (!for_us(&pkt)) {
		link->stats.drop_dest++;
		pbuf_free(p);
		return;
	}
	if (!mac_allowed(&pkt)) {
		link->stats.drop_source++;
		pbuf_free(p);
		return;
	}
	learn(link, &pkt);
	if (pkt.fragment) {
		input_fragment(s, &pkt);
	} else if (pkt.l4 && pkt.proto == LWR_PROTO_TCP) {
		lwr__stack_segment(s, &pkt, p);
		return;
	} else {
		s->hooks->on_packet(s->arg, &pkt);
	}
	pbuf_free(p);
}

/* ---- output rings --------------------------------------------------------------- */

int lwr__stack_push(struct lwr_link *link, const struct lwr_frame *f)
{
	bool was_empty = lwr__ring_count(&link->h2g) == 0;

	if (!link->up || lwr__ring_push(&link->h2g, f) < 0)
		return -EAGAIN;
	link->stack->loop->moved += f->p->tot_len;
	if (was_empty && lwr__list_empty(&link->pending))
		lwr__list_append(&link->stack->drain, &link->pending);
	return 0;
}

static void resume_blocked(struct lwr_link *link)
{
	struct lwr_list todo, *n;

	lwr__list_move(&link->blocked, &todo);
	while ((n = lwr__list_take(&todo)))
		lwr__conn_resume(LWR_CONTAINER(n, struct lwr_conn, on_blocked));
}

void lwr__stack_drain(struct lwr_link *link)
{
	if (lwr__ring_count(&link->h2g))
		link->ops->drain(link);
	if (lwr__ring_room(&link->h2g) >= link->h2g.size / 2 &&
	    link->h2g.bytes <= LWR_RING_BYTES / 2)
		resume_blocked(link);
}

/* Those that a segment took along meanwhile are not due any more. */
static void send_acks(struct lwr_list *due)
{
	struct lwr_list todo, *n;
	struct lwr_conn *c;

	lwr__list_move(due, &todo);
	while ((n = lwr__list_take(&todo))) {
		c = LWR_CONTAINER(n, struct lwr_conn, on_ack);
		c->link->senders++;
		lwr__lwip_ack(c);
	}
}

void lwr__stack_drain_all(struct lwr_stack *s)
{
	struct lwr_list todo, *n;

	lwr__list_move(&s->drain, &todo);
	while ((n = lwr__list_take(&todo)))
		lwr__stack_drain(LWR_CONTAINER(n, struct lwr_link, pending));
}

void lwr__stack_flush(struct lwr_stack *s)
{
	lwr__share_next(s);
	send_acks(&s->ack_now);
	lwr__stack_drain_all(s);
}

/* ---- timers ----------------------------------------------------------------------- */

void lwr__stack_settle(struct lwr_conn *c)
{
	struct lwr_stack *s = c->link->stack;

	if (lwr__list_empty(&c->on_due) && lwr__lwip_due(c)) {
		lwr__list_append(&s->due, &c->on_due);
		if (!lwr__timer_active(&s->slow))
			lwr__timer_start(&s->slow, SLOW_MS);
	}
	if (c->pcb->flags & TF_ACK_DELAY && lwr__list_empty(&c->on_ack)) {
		lwr__list_append(&s->ack, &c->on_ack);
		if (!lwr__timer_active(&s->fast))
			lwr__timer_start(&s->fast, ACK_DELAY_MS);
	}
}

static void reclaim_all(struct lwr_stack *s)
{
	struct lwr_link *link;
	struct lwr_list *n;

	for (n = s->links.next; n != &s->links; n = n->next) {
		link = LWR_CONTAINER(n, struct lwr_link, node);
		if (link->ops->reclaim)
			link->ops->reclaim(link);
	}
}

static void on_slow(struct lwr_timer *t)
{
	struct lwr_stack *s = LWR_CONTAINER(t, struct lwr_stack, slow);
	struct lwr_list todo, *n;
	struct lwr_conn *c;

	reclaim_all(s);
	lwr__list_move(&s->due, &todo);
	while ((n = lwr__list_take(&todo))) {
		c = LWR_CONTAINER(n, struct lwr_conn, on_due);
		/* It settles on `due` again if something is still running. */
		if (c->pcb && lwr__lwip_due(c))
			lwr__lwip_slow(c);
	}
	if (!lwr__list_empty(&s->due))
		lwr__timer_start(&s->slow, SLOW_MS);
}

static void on_fast(struct lwr_timer *t)
{
	struct lwr_stack *s = LWR_CONTAINER(t, struct lwr_stack, fast);

	send_acks(&s->ack);
	if (!lwr__list_empty(&s->ack))
		lwr__timer_start(&s->fast, ACK_DELAY_MS);
}

/* ---- conns and links ----------------------------------------------------------------- */

void lwr__conn_add(struct lwr_link *link, struct lwr_conn *c,
		   const struct lwr_key *key)
{
	lwr__list_init(&c->on_due);
	lwr__list_init(&c->on_ack);
	lwr__list_init(&c->on_blocked);
	lwr__list_init(&c->on_link);
	c->link = link;
	c->demux.key = *key;
	lwr__demux_add(&link->stack->demux, &c->demux);
	lwr__list_append(&link->conns, &c->on_link);
}

void lwr__conn_remove(struct lwr_stack *s, struct lwr_conn *c)
{
	LWR_ASSERT(!c->pcb);
	lwr__conn_promise_kept(c);
	lwr__demux_remove(&s->demux, &c->demux);
	lwr__list_remove(&c->on_link);
	lwr__list_remove(&c->on_due);
	lwr__list_remove(&c->on_ack);
	lwr__list_remove(&c->on_blocked);
}

int lwr__stack_add_link(struct lwr_stack *s, struct lwr_link *link)
{
	int err = lwr__ring_init(&link->h2g, s->config->ring_size);

	if (err)
		return err;
	link->stack = s;
	if (!link->net)
		link->net = &s->config->net;
	link->id = s->next_link_id++;
	link->number = link->id;
	link->up = true;
	lwr__neighbours_reset(&link->neighbours, link->net);
	lwr__list_init(&link->pending);
	lwr__list_init(&link->blocked);
	lwr__list_init(&link->conns);
	lwr__list_init(&link->frags.sets);
	lwr__list_init(&link->udp.lru);
	lwr__list_init(&link->echo.lru);
	lwr__list_append(&s->links, &link->node);
	lwr__lwip_netif(link);
	return 0;
}

bool lwr__link_may_open(struct lwr_link *link, uint64_t now_ms)
{
	uint64_t rate = link->net->limits.new_flows;
	uint64_t most = rate * 2 * 1000, have;

	if (rate == 0)
		return true;
	have = link->tokens + (now_ms - link->tokens_ms) * rate;
	if (have > most || link->tokens_ms == 0)
		have = most;
	link->tokens_ms = now_ms;
	link->tokens = have >= 1000 ? have - 1000 : have;
	return have >= 1000;
}

void lwr__stack_reset_link(struct lwr_link *link)
{
	struct lwr_stack *s = link->stack;

	/* What ends now has nobody to be told to. */
	link->up = false;
	s->hooks->on_link_down(s->arg, link);
	lwr__reass_link_down(&s->reass, link);
	lwr__ring_pop(&link->h2g, lwr__ring_count(&link->h2g));
	lwr__list_remove(&link->pending);
	lwr__neighbours_reset(&link->neighbours, link->net);
	memset(link->guest, 0, sizeof(link->guest));
	/* A new number: nothing of the old guest can match the new one's. */
	link->id = s->next_link_id++;
	link->up = true;
}

static void add_stats(struct lwr_stats *to, const struct lwr_stats *from)
{
#define ADD(name, help) to->name += from->name;
	LWR_STATS(ADD)
#undef ADD
}

void lwr__stack_remove_link(struct lwr_link *link)
{
	const struct lwr_stack_hooks *hooks = link->stack->hooks;

	lwr__stack_reset_link(link);
	link->up = false;
	if (hooks->on_link_gone)
		hooks->on_link_gone(link->stack->arg, link);
	add_stats(&link->stack->stats, &link->stats);
	lwr__list_remove(&link->node);
	lwr__ring_fini(&link->h2g);
}

void lwr__stack_stats(const struct lwr_stack *s, struct lwr_stats *sum)
{
	const struct lwr_list *n;

	*sum = s->stats;
	for (n = s->links.next; n != &s->links; n = n->next)
		add_stats(sum, &LWR_CONTAINER(n, struct lwr_link, node)->stats);
}

int lwr__stack_init(struct lwr_stack *s, struct lwr_loop *loop,
		    const struct lwr_config *config, const struct lwr_log *log,
		    const struct lwr_stack_hooks *hooks, void *arg)
{
	int err;

	*s = (struct lwr_stack){ .loop = loop,
				 .config = config,
				 .log = log,
				 .hooks = hooks,
				 .arg = arg,
				 .next_link_id = 1,
				 .next_flow_id = 1,
				 .sharing.tick = 1 };
	lwr__list_init(&s->links);
	lwr__list_init(&s->drain);
	lwr__list_init(&s->due);
	lwr__list_init(&s->ack);
	lwr__list_init(&s->ack_now);
	lwr__random(s->isn_key, sizeof(s->isn_key));
	err = lwr__demux_init(&s->demux);
	if (err)
		return err;
	err = lwr__timewait_init(&s->timewait);
	if (err)
		goto err_undo_demux;
	err = lwr__reass_init(&s->reass, loop);
	if (err)
		goto err_undo_timewait;
	err = lwr__lwip_open(s);
	if (err)
		goto err_undo_reass;
	lwr__timer_init(loop, &s->slow, on_slow);
	lwr__timer_init(loop, &s->fast, on_fast);
	return 0;

err_undo_reass:
	lwr__reass_fini(&s->reass);
err_undo_timewait:
	lwr__timewait_fini(&s->timewait);
err_undo_demux:
	lwr__demux_fini(&s->demux);
	return err;
}

void lwr__stack_fini(struct lwr_stack *s)
{
	LWR_ASSERT(lwr__list_empty(&s->links));
	lwr__timer_close(s->loop, &s->slow);
	lwr__timer_close(s->loop, &s->fast);
	lwr__lwip_close(s);
	lwr__reass_fini(&s->reass);
	lwr__timewait_fini(&s->timewait);
	lwr__demux_fini(&s->demux);
}
