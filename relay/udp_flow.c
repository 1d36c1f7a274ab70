/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables behind relay/udp.c: flows by the guest's address and port, peers
 * by that and the host's. Both are keyed hashes, since the guest chooses what
 * is in them.
 *
 * A flow is on one of two lists, each in the order of last use and with one
 * idle time for all on it, so that the next one to expire is at a head. A
 * socket that only asks for names is done soon after it was answered; it
 * waits on `answered` for seconds, all others on `lru` for minutes. The timer
 * is for the earlier of the two heads; use moves a flow to the tail and leaves
 * the timer, which finds out when it comes.
 *
 * A flow dies in two steps: kill takes it out of every table and closes its
 * sockets, the memory goes at the end of the tick, because an event of one of
 * its sockets may be waiting in this one.
 *
 * Peers are few for most flows; the first is part of the flow. A guest that
 * writes to a thousand hosts from one port (a tracker's client, a scanner)
 * pays with its own oldest peers, never with another flow's.
 */
#include "relay/udp_flow.h"

#include "platform/sock.h"
#include "relay/udp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { ANSWERED_MS = 10000 };

static void key_of(struct lwr_key *key, const struct lwr_link *link,
		   const struct lwr_dest *guest)
{
	memset(key, 0, sizeof(*key));
	key->guest = guest->addr;
	key->gport = guest->port;
	key->link = link->id;
}

/* ---- peers --------------------------------------------------------------- */

static void peer_key(struct lwr_key *key, const struct lwr_udp_flow *f,
		     const struct lwr_dest *host)
{
	*key = f->demux.key;
	key->host = host->addr;
	key->hport = host->port;
}

struct lwr_udp_peer *lwr__udp_peer_find(struct lwr_udp_flow *f,
					const struct lwr_dest *host)
{
	struct lwr_demux_node *n;
	struct lwr_key key;

	peer_key(&key, f, host);
	n = lwr__demux_find(&f->udp->peers, &key);
	return n ? LWR_CONTAINER(n, struct lwr_udp_peer, demux) : NULL;
}

static void peer_remove(struct lwr_udp_peer *p)
{
	lwr__demux_remove(&p->flow->udp->peers, &p->demux);
	lwr__list_remove(&p->node);
	p->flow->n_peers--;
}

static void peer_free(struct lwr_udp_peer *p)
{
	peer_remove(p);
	if (p != &p->flow->first)
		free(p);
}

static bool may_add(const struct lwr_udp_flow *f)
{
	const struct lwr_udp *u = f->udp;
	size_t limit = (size_t)u->stack->config->max_udp * LWR_UDP_PEERS_SHARE;

	return f->n_peers < LWR_UDP_PEERS_MAX && u->peers.count < limit;
}

/* A peer of this flow that is in no table. */
static struct lwr_udp_peer *peer_get(struct lwr_udp_flow *f)
{
	struct lwr_udp_peer *p = NULL;

	if (f->n_peers == 0)
		return &f->first;
	if (may_add(f))
		p = malloc(sizeof(*p));
	if (!p) {
		p = LWR_CONTAINER(f->peers.next, struct lwr_udp_peer, node);
		peer_remove(p);
	}
	return p;
}

static void peer_add(struct lwr_udp_flow *f, const struct lwr_dest *host)
{
	struct lwr_udp_peer *p = peer_get(f);

	p->flow = f;
	peer_key(&p->demux.key, f, host);
	lwr__demux_add(&f->udp->peers, &p->demux);
	lwr__list_init(&p->node);
	lwr__list_append(&f->peers, &p->node);
	f->n_peers++;
}

static struct lwr_udp_peer *newest_peer(const struct lwr_udp_flow *f)
{
	return LWR_CONTAINER(f->peers.prev, struct lwr_udp_peer, node);
}

static bool is_peer(const struct lwr_udp_peer *p, const struct lwr_dest *host)
{
	return p->demux.key.hport == host->port &&
	       lwr__addr_equal(&p->demux.key.host, &host->addr);
}

void lwr__udp_peer_note(struct lwr_udp_flow *f, const struct lwr_dest *host,
			const struct lwr_dest *guest)
{
	struct lwr_udp_peer *p = NULL;

	/* Most often it is the one written to before. */
	if (f->n_peers == 0 || !is_peer(newest_peer(f), host)) {
		p = lwr__udp_peer_find(f, host);
		if (p) {
			lwr__list_remove(&p->node);
			lwr__list_append(&f->peers, &p->node);
		} else {
			peer_add(f, host);
		}
	}
	newest_peer(f)->guest = *guest;
}

/* ---- flows --------------------------------------------------------------- */

struct lwr_udp_flow *lwr__udp_flow_find(struct lwr_udp *u,
					const struct lwr_link *link,
					const struct lwr_dest *guest)
{
	struct lwr_demux_node *n;
	struct lwr_key key;

	key_of(&key, link, guest);
	n = lwr__demux_find(&u->flows, &key);
	return n ? LWR_CONTAINER(n, struct lwr_udp_flow, demux) : NULL;
}

struct lwr_udp_flow *lwr__udp_flow_new(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest)
{
	struct lwr_udp_flow *f;

	if (u->flows.count >= u->stack->config->max_udp) {
		link->stats.udp_limited++;
		if (!lwr__udp_flow_evict(u))
			return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->udp = u;
	f->link = link;
	f->kind = LWR_UDP_ASKED;
	lwr__list_init(&f->age);
	lwr__list_init(&f->todo);
	lwr__list_init(&f->peers);
	for (int i = 0; i < 2; i++) {
		f->sock[i].flow = f;
		f->sock[i].watch.fd = -1;
		f->sock[i].watch.events = EPOLLIN;
		f->sock[i].watch.on_event = lwr__udp_host_event;
	}
	key_of(&f->demux.key, link, guest);
	lwr__demux_add(&u->flows, &f->demux);
	link->stats.udp_opened++;
	link->stats.udp_live++;
	lwr__udp_flow_touch(f, LWR_UDP_ASKED);
	return f;
}

static void close_sock(struct lwr_udp *u, struct lwr_udp_sock *s)
{
	int fd = s->watch.fd;

	if (fd < 0)
		return;
	lwr__watch_stop(u->stack->loop, &s->watch);
	lwr__sock_close(fd);
	s->watch.fd = -1;
}

void lwr__udp_flow_kill(struct lwr_udp_flow *f)
{
	struct lwr_udp *u = f->udp;
	struct lwr_list *n;

	if (f->dead)
		return;
	f->dead = true;
	while (!lwr__list_empty(&f->peers)) {
		n = f->peers.next;
		peer_free(LWR_CONTAINER(n, struct lwr_udp_peer, node));
	}
	lwr__demux_remove(&u->flows, &f->demux);
	lwr__list_remove(&f->age);
	close_sock(u, &f->sock[0]);
	close_sock(u, &f->sock[1]);
	f->link->stats.udp_live--;
	lwr__list_remove(&f->todo);
	lwr__list_append(&u->dead, &f->todo);
}

static struct lwr_udp_flow *head_of(const struct lwr_list *l)
{
	if (lwr__list_empty(l))
		return NULL;
	return LWR_CONTAINER(l->next, struct lwr_udp_flow, age);
}

bool lwr__udp_flow_evict(struct lwr_udp *u)
{
	struct lwr_udp_flow *a = head_of(&u->lru);
	struct lwr_udp_flow *b = head_of(&u->answered);

	if (!a || (b && b->used_ms <= a->used_ms))
		a = b;
	if (!a)
		return false;
	lwr__udp_flow_kill(a);
	return true;
}

/* ---- expiry -------------------------------------------------------------- */

static uint64_t expiry(const struct lwr_udp_flow *f)
{
	uint64_t idle = (uint64_t)f->udp->stack->config->udp_timeout_s * 1000;

	if (f->kind == LWR_UDP_ANSWERED)
		idle = ANSWERED_MS;
	return f->used_ms + idle;
}

static void arm(struct lwr_udp *u)
{
	const struct lwr_udp_flow *a = head_of(&u->lru);
	const struct lwr_udp_flow *b = head_of(&u->answered);
	uint64_t now = lwr__loop_now(u->stack->loop), at = UINT64_MAX;

	if (!a && !b) {
		lwr__timer_stop(&u->timer);
		return;
	}
	if (a)
		at = expiry(a);
	if (b && expiry(b) < at)
		at = expiry(b);
	lwr__timer_start(&u->timer, at > now ? at - now : 0);
}

void lwr__udp_flow_touch(struct lwr_udp_flow *f, enum lwr_udp_kind kind)
{
	struct lwr_udp *u = f->udp;
	struct lwr_list *l = kind == LWR_UDP_ANSWERED ? &u->answered : &u->lru;
	bool first = lwr__list_empty(l);

	f->kind = kind;
	f->used_ms = lwr__loop_now(u->stack->loop);
	lwr__list_remove(&f->age);
	lwr__list_append(l, &f->age);
	if (first)
		arm(u);
}

/* Kills what is due on one list. */
static void expire(struct lwr_udp *u, const struct lwr_list *l)
{
	uint64_t now = lwr__loop_now(u->stack->loop);
	struct lwr_udp_flow *f;

	while ((f = head_of(l)) && expiry(f) <= now)
		lwr__udp_flow_kill(f);
}

void lwr__udp_flow_expire(struct lwr_udp *u)
{
	expire(u, &u->lru);
	expire(u, &u->answered);
	arm(u);
}
