/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A query's way: names of the relay (relay/dns_local.c), then the cache, then a
 * resolver (relay/dns_upstream.c); what comes back is the resolver's answer
 * byte for byte, but for the identifier and the spelling of the name, which
 * are the guest's own. Over UDP an answer larger than its EDNS says becomes a
 * truncated one without records (RFC 2181 9), and the guest comes again by TCP
 * (relay/dns_tcp.c). To one without EDNS a resolver may send what it will.
 *
 * Answers are sent in the tick, not where the query is read: making room on a
 * full link may end the link. What finds no room waits; with QUERIES_MAX of a
 * link in progress further ones are dropped, so a guest that does not read
 * holds little, and one that asks too much keeps nobody else's places.
 *
 * Guests do not share cached answers, and not questions in flight: one could
 * find out what another one asks, and what a forger achieves with one would
 * hit the other.
 */
#include "relay/dns_server.h"

#include "relay/dns_local.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	UDP_HLEN = 8,
	QUERIES_MAX = 1024, /* of one link, in progress */
	HEADERS = 40 + 8 + 8, /* of IPv6, a fragment, UDP */
};

/* ---- life of a query ----------------------------------------------------- */

static struct lwr_dns_ask *new_ask(struct lwr_dns_server *s,
				   const struct lwr_dns_ask *from)
{
	struct lwr_dns_ask *a;

	if (from->link->stats.dns_pending >= QUERIES_MAX)
		return NULL;
	a = malloc(sizeof(*a));
	if (!a)
		return NULL;
	*a = *from;
	a->server = s;
	lwr__list_init(&a->wait.node);
	lwr__list_append(&s->asked, &a->node);
	a->link->stats.dns_pending++;
	if (a->conn)
		lwr__dns_tcp_asked(a->conn);
	return a;
}

void lwr__dns_forget(struct lwr_dns_ask *a)
{
	lwr__dns_cancel(&a->wait);
	lwr__list_remove(&a->node);
	a->link->stats.dns_pending--;
	if (a->answer)
		pbuf_free(a->answer);
	free(a);
}

/* ---- answers ------------------------------------------------------------- */

static void answer_udp(struct lwr_dns_ask *a, const uint8_t *msg, size_t len)
{
	uint8_t small[LWR_DNS_EMPTY_MAX];

	if (len > a->q.udp_max && !a->any_size) {
		len = lwr__dns_empty(&a->q, a->question, LWR_DNS_NOERROR, true,
				     small);
		msg = small;
	}
	a->answer = lwr__send_alloc(len);
	if (!a->answer) {
		a->link->stats.drop_memory++;
		lwr__dns_forget(a);
		return;
	}
	memcpy(a->answer->payload, msg, len);
	lwr__list_remove(&a->node);
	lwr__list_append(&a->server->waiting, &a->node);
}

/* Sends the answer msg, which need not be addressed to this query yet. */
static void answer(struct lwr_dns_ask *a, uint8_t *msg, size_t len)
{
	struct lwr_dns_conn *conn = a->conn;

	lwr__dns_readdress(msg, len, a->q.id, a->question, a->q.question_len);
	if (!conn) {
		answer_udp(a, msg, len);
		return;
	}
	lwr__dns_forget(a);
	lwr__dns_tcp_answer(conn, msg, len);
}

static void answer_empty(struct lwr_dns_ask *a, enum lwr_dns_rcode rcode)
{
	uint8_t buf[LWR_DNS_EMPTY_MAX];
	size_t n = lwr__dns_empty(&a->q, a->question, rcode, false, buf);

	answer(a, buf, n);
}

static void on_answer(struct lwr_dns_wait *w, const uint8_t *msg, size_t len)
{
	struct lwr_dns_ask *a = LWR_CONTAINER(w, struct lwr_dns_ask, wait);
	bool useless = a->conn && len && lwr__dns_truncated(msg);

	if (len == 0 || useless) {
		a->link->stats.dns_failed++;
		answer_empty(a, LWR_DNS_SERVFAIL);
		return;
	}
	a->any_size = !a->q.edns;
	memcpy(a->server->buf, msg, len);
	answer(a, a->server->buf, len);
}

/* ---- queries ------------------------------------------------------------- */

static bool answer_local(struct lwr_dns_ask *a)
{
	const struct lwr_stack *stack = a->server->stack;
	uint8_t *buf = a->server->buf;
	size_t n = lwr__dns_local_answer(stack->config, a->link->net, &a->q,
					 a->question, buf);

	if (n == 0)
		return false;
	a->link->stats.dns_local++;
	answer(a, buf, n);
	return true;
}

static bool answer_cached(struct lwr_dns_ask *a)
{
	struct lwr_dns_server *s = a->server;
	const uint8_t *msg;
	uint32_t age;
	size_t len;

	if (!a->q.shareable)
		return false;
	msg = lwr__dns_cache_get(&s->cache, &a->q.key,
				 lwr__loop_now(s->stack->loop), &len, &age);
	if (!msg)
		return false;
	memcpy(s->buf, msg, len);
	lwr__dns_age(s->buf, len, age);
	a->link->stats.dns_cached++;
	a->any_size = !a->q.edns;
	answer(a, s->buf, len);
	return true;
}

static void forward(struct lwr_dns_ask *a, const uint8_t *msg, size_t len)
{
	struct lwr_dns_server *s = a->server;

	lwr__dns_refresh(s->dns, lwr__loop_now(s->stack->loop));
	a->wait.on_answer = on_answer;
	if (lwr__dns_ask(&s->up, &a->wait, &a->q, msg, len, a->conn != NULL)) {
		a->link->stats.dns_limited++;
		answer_empty(a, LWR_DNS_SERVFAIL);
	}
}

void lwr__dns_serve(struct lwr_dns_server *s, const struct lwr_dns_ask *from,
		    const uint8_t *msg, size_t len)
{
	struct lwr_dns_query q;
	struct lwr_dns_ask *a;
	enum lwr_dns_verdict v =
		lwr__dns_query_parse(msg, len, from->conn != NULL, &q);

	if (v == LWR_DNS_DROP)
		return;
	from->link->stats.dns_queries++;
	a = new_ask(s, from);
	if (!a) {
		from->link->stats.dns_limited++;
		return;
	}
	a->q = q;
	a->q.key.link = a->link->id;
	memcpy(a->question, msg + LWR_DNS_HLEN, q.question_len);
	if (v == LWR_DNS_BAD)
		answer_empty(a, LWR_DNS_FORMERR);
	else if (!answer_local(a) && !answer_cached(a))
		forward(a, msg, len);
}

bool lwr__dns_server_input(struct lwr_dns_server *s, const struct lwr_pkt *pkt)
{
	struct lwr_dest dest = { pkt->dst, pkt->dport };
	struct lwr_dns_ask from = { .link = pkt->link,
				    .guest = pkt->src,
				    .local = pkt->dst,
				    .gport = pkt->sport,
				    .lport = pkt->dport };
	const uint8_t *msg = pkt->data + pkt->l4 + UDP_HLEN;
	size_t left = pkt->l4_len - UDP_HLEN, part = left;

	if (pkt->sport == 0 || lwr__addr_is_any(&pkt->src) ||
	    !lwr__policy_source(pkt->link->net, &pkt->src) ||
	    !lwr__policy_is_query(pkt->link->net, &dest))
		return false;
	if (pkt->meta.gso == LWR_GSO_UDP && pkt->meta.gso_size)
		part = pkt->meta.gso_size;
	for (; left > 0; msg += part, left -= part) {
		part = part < left ? part : left;
		lwr__dns_serve(s, &from, msg, part);
	}
	return true;
}

/* ---- sending ------------------------------------------------------------- */

static bool has_room(const struct lwr_dns_ask *a)
{
	const struct lwr_link *link = a->link;
	uint32_t frames =
		1 + a->answer->tot_len / (link->caps.mtu - (unsigned)HEADERS);

	/* An answer that can never fit is cut by the ring instead. */
	if (frames > link->h2g.size / 2)
		frames = link->h2g.size / 2;
	return lwr__ring_room(&link->h2g) >= frames;
}

static void send_answer(struct lwr_dns_ask *a)
{
	struct pbuf *p = a->answer;

	a->answer = NULL;
	lwr__send_udp(a->link, p, 0, &a->local, a->lport, &a->guest, a->gport);
	lwr__dns_forget(a);
}

/*
 * What finds no room stays, without keeping the loop awake: the link's own
 * writable event starts the tick in which it is tried again. A link that is
 * drained may go down, and its answers with it.
 */
static void send_answers(struct lwr_dns_server *s)
{
	const struct lwr_link *full = NULL;
	struct lwr_dns_ask *a;
	struct lwr_list *n;

	lwr__list_move(&s->waiting, &s->answered);
	while ((n = lwr__list_take(&s->answered))) {
		a = LWR_CONTAINER(n, struct lwr_dns_ask, node);
		lwr__list_append(&s->waiting, n);
		if (!has_room(a) && a->link != full) {
			full = a->link;
			lwr__stack_drain(a->link);
			if (s->waiting.prev != n)
				continue;
		}
		if (has_room(a))
			send_answer(a);
	}
}

bool lwr__dns_server_tick(struct lwr_dns_server *s)
{
	bool more = lwr__dns_upstream_tick(&s->up);

	lwr__dns_tcp_tick(s);
	send_answers(s);
	lwr__dns_tcp_reap(s);
	lwr__dns_upstream_reap(&s->up);
	return more || !lwr__list_empty(&s->ready);
}

/* ---- life ---------------------------------------------------------------- */

int lwr__dns_server_init(struct lwr_dns_server *s, struct lwr_stack *stack,
			 struct lwr_dns *dns)
{
	int err;

	*s = (struct lwr_dns_server){ .stack = stack, .dns = dns };
	lwr__list_init(&s->asked);
	lwr__list_init(&s->answered);
	lwr__list_init(&s->waiting);
	s->buf = malloc(LWR_DNS_MSG_MAX);
	if (!s->buf)
		return -ENOMEM;
	err = lwr__dns_cache_init(&s->cache, stack->config->dns_cache);
	if (err)
		goto err_undo_buf;
	err = lwr__dns_upstream_init(&s->up, stack->loop, stack->log, dns,
				     &s->cache);
	if (err)
		goto err_undo_cache;
	lwr__dns_tcp_init(s);
	return 0;

err_undo_cache:
	lwr__dns_cache_fini(&s->cache);
err_undo_buf:
	free(s->buf);
	return err;
}

void lwr__dns_server_fini(struct lwr_dns_server *s)
{
	LWR_ASSERT(lwr__list_empty(&s->asked));
	LWR_ASSERT(lwr__list_empty(&s->waiting));
	lwr__dns_tcp_fini(s);
	lwr__dns_upstream_fini(&s->up);
	lwr__dns_cache_fini(&s->cache);
	free(s->buf);
}

static void forget_link(struct lwr_list *l, const struct lwr_link *link)
{
	struct lwr_list *n, *next;
	struct lwr_dns_ask *a;

	for (n = l->next; n != l; n = next) {
		next = n->next;
		a = LWR_CONTAINER(n, struct lwr_dns_ask, node);
		if (a->link == link)
			lwr__dns_forget(a);
	}
}

void lwr__dns_server_link_down(struct lwr_dns_server *s,
			       const struct lwr_link *link)
{
	lwr__dns_tcp_link_down(s, link);
	forget_link(&s->asked, link);
	forget_link(&s->answered, link);
	forget_link(&s->waiting, link);
}
