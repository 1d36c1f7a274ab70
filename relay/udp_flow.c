/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables behind relay/udp.c: flows by the guest's address and port, peers
 * by that and the host's. Both are keyed hashes, since the guest chooses what
 * is in them.
 *
 * How long a flow may be idle depends on its class: a minute while only the
 * guest has spoken, --udp-timeout once it was answered (RFC 4787 4.3: at least
 * two minutes), and seconds for a socket that only asks for names and was
 * answered. Each class has a list in the order of last use, so that the next
 * one to expire is at a head; the timer is for the earliest of the heads. Use
 * by either side moves a flow to the tail and leaves the timer, which finds
 * out when it comes.
 *
 * At the limit of all links a link that has its share of it or more gives its
 * own oldest flow, and else the link that has most gives its own: no guest can
 * push out the flows of others.
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
#include "platform/sock_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	ANSWERED_MS = 10 * 1000,
	ONE_WAY_MS = 60 * 1000,
	ECHO_MS = 60 * 1000, /* RFC 5508 3.2 */
};

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
	size_t limit = (size_t)u->limit * LWR_UDP_PEERS_SHARE;

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
	p->loopback = LWR_UDP_NEW;
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

struct lwr_udp_peer *lwr__udp_peer_note(struct lwr_udp_flow *f,
					const struct lwr_dest *host,
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
	p = newest_peer(f);
	p->guest = *guest;
	return p;
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

static struct lwr_link_flows *flows_of(const struct lwr_udp *u,
				       struct lwr_link *link)
{
	return u->echo ? &link->echo : &link->udp;
}

static void count_limited(const struct lwr_udp *u, struct lwr_link *link)
{
	if (u->echo)
		link->stats.echo_limited++;
	else
		link->stats.udp_limited++;
}

/* The link's oldest flow. Returns false if it has none. */
static bool evict_own(const struct lwr_link_flows *l)
{
	if (lwr__list_empty(&l->lru))
		return false;
	lwr__udp_flow_kill(
		LWR_CONTAINER(l->lru.next, struct lwr_udp_flow, on_link));
	return true;
}

/* Room for one more of this link's. False: there is none. */
static bool evict(struct lwr_udp *u, struct lwr_link *link)
{
	const struct lwr_list *links = &u->stack->links, *n;
	struct lwr_link_flows *own = flows_of(u, link), *most = own, *l;
	uint32_t n_links = 0, share;

	for (n = links->next; n != links; n = n->next, n_links++) {
		l = flows_of(u, LWR_CONTAINER(n, struct lwr_link, node));
		if (l->count > most->count)
			most = l;
	}
	share = n_links ? u->limit / n_links : u->limit;
	count_limited(u, link);
	return evict_own(own->count >= share ? own : most);
}

static bool make_room(struct lwr_udp *u, struct lwr_link *link)
{
	const struct lwr_link_flows *own = flows_of(u, link);
	uint32_t limit = u->echo ? 0 : link->net->limits.udp;

	if (!lwr__link_may_open(link, lwr__loop_now(u->stack->loop))) {
		count_limited(u, link);
		return false;
	}
	if (limit && own->count >= limit) {
		count_limited(u, link);
		return evict_own(own);
	}
	return u->flows.count < u->limit || evict(u, link);
}

static void init_sock(struct lwr_udp_flow *f, struct lwr_udp_sock *s)
{
	s->flow = f;
	s->watch.fd = -1;
	s->watch.events = EPOLLIN;
	s->watch.on_event = lwr__udp_host_event;
	lwr__list_init(&s->on_out);
}

static void count_live(const struct lwr_udp_flow *f, bool opened)
{
	struct lwr_link_flows *l = flows_of(f->udp, f->link);
	struct lwr_stats *st = &f->link->stats;

	l->count = opened ? l->count + 1 : l->count - 1;
	if (f->udp->echo) {
		st->echo_opened += opened;
		st->echo_live = l->count;
	} else {
		st->udp_opened += opened;
		st->udp_live = l->count;
	}
}

static void touch(struct lwr_udp_flow *f, enum lwr_udp_class class);

struct lwr_udp_flow *lwr__udp_flow_new(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest)
{
	struct lwr_udp_flow *f;

	if (!make_room(u, link))
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->udp = u;
	f->id = u->stack->next_flow_id++;
	f->opened_ms = lwr__loop_now(u->stack->loop);
	f->link = link;
	lwr__list_init(&f->age);
	lwr__list_init(&f->on_link);
	lwr__list_init(&f->todo);
	lwr__list_init(&f->peers);
	for (int i = 0; i < LWR_UDP_SOCKS; i++)
		init_sock(f, &f->sock[i]);
	key_of(&f->demux.key, link, guest);
	lwr__demux_add(&u->flows, &f->demux);
	count_live(f, true);
	touch(f, LWR_UDP_ONE_WAY);
	return f;
}

struct lwr_udp_flow *lwr__udp_flow_get(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest)
{
	struct lwr_udp_flow *f = lwr__udp_flow_find(u, link, guest);

	return f ? f : lwr__udp_flow_new(u, link, guest);
}

/* ---- sockets ------------------------------------------------------------- */

static int open_fd(const struct lwr_udp *u, int family)
{
	return u->echo ? lwr__sock_ping(family) : lwr__sock_udp(family);
}

/* Sockets for the host itself are bound nowhere. */
static int bind_fd(const struct lwr_udp *u, int fd, int family,
		   const struct lwr_addr *host)
{
	if (lwr__addr_is_loopback(host))
		return 0;
	return lwr__sock_bind_from(fd, family, &u->stack->config->outbound);
}

static int open_sock(struct lwr_udp *u, struct lwr_udp_sock *s, int family,
		     const struct lwr_addr *host)
{
	int err, fd = open_fd(u, family);

	if (fd == -EMFILE || fd == -ENFILE) {
		/* Its own flow is in use now, and so the last to go. */
		(void)evict(u, s->flow->link);
		if (s->flow->dead)
			return fd;
		fd = open_fd(u, family);
	}
	if (fd < 0)
		return fd;
	s->watch.fd = fd;
	err = bind_fd(u, fd, family, host);
	if (!err)
		err = lwr__watch_start(u->stack->loop, &s->watch);
	if (err) {
		lwr__sock_close(fd);
		s->watch.fd = -1;
	}
	return err;
}

int lwr__udp_sock_get(struct lwr_udp_flow *f, const struct lwr_addr *host,
		      struct lwr_udp_sock **out)
{
	const struct lwr_sock_from *from = &f->udp->stack->config->outbound;
	bool four = lwr__addr_is4(host);
	struct lwr_udp_sock *s = &f->sock[four ? 0 : 1];

	if (lwr__sock_from_set(from) && lwr__addr_is_loopback(host))
		s += 2;
	*out = s;
	if (s->watch.fd >= 0)
		return 0;
	return open_sock(f->udp, s, four ? AF_INET : AF_INET6, host);
}

static void close_sock(struct lwr_udp *u, struct lwr_udp_sock *s)
{
	int fd = s->watch.fd;

	if (fd < 0)
		return;
	lwr__udp_out_flush_sock(u, s);
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
	lwr__udp_loopback_forget(f);
	for (int i = 0; i < LWR_UDP_SOCKS; i++)
		close_sock(u, &f->sock[i]);
	while (!lwr__list_empty(&f->peers)) {
		n = f->peers.next;
		peer_free(LWR_CONTAINER(n, struct lwr_udp_peer, node));
	}
	lwr__demux_remove(&u->flows, &f->demux);
	lwr__list_remove(&f->age);
	lwr__list_remove(&f->on_link);
	count_live(f, false);
	lwr__list_remove(&f->todo);
	lwr__list_append(&u->dead, &f->todo);
}

/* ---- expiry -------------------------------------------------------------- */

static struct lwr_udp_flow *head_of(const struct lwr_list *l)
{
	if (lwr__list_empty(l))
		return NULL;
	return LWR_CONTAINER(l->next, struct lwr_udp_flow, age);
}

static uint64_t expiry(const struct lwr_udp_flow *f)
{
	uint64_t idle = (uint64_t)f->udp->stack->config->udp_timeout_s * 1000;
	uint64_t most = idle;

	if (f->udp->echo)
		most = idle = ECHO_MS;
	else if (f->class == LWR_UDP_ANSWERED)
		most = ANSWERED_MS;
	else if (f->class == LWR_UDP_ONE_WAY)
		most = ONE_WAY_MS;
	return f->used_ms + (idle < most ? idle : most);
}

static void arm(struct lwr_udp *u)
{
	uint64_t now = lwr__loop_now(u->stack->loop), at = UINT64_MAX;
	const struct lwr_udp_flow *f;

	for (int i = 0; i < LWR_UDP_CLASSES; i++) {
		f = head_of(&u->age[i]);
		if (f && expiry(f) < at)
			at = expiry(f);
	}
	if (at == UINT64_MAX)
		lwr__timer_stop(&u->timer);
	else
		lwr__timer_start(&u->timer, at > now ? at - now : 0);
}

static void touch(struct lwr_udp_flow *f, enum lwr_udp_class class)
{
	struct lwr_udp *u = f->udp;
	bool first = lwr__list_empty(&u->age[class]);

	f->class = class;
	f->used_ms = lwr__loop_now(u->stack->loop);
	lwr__list_remove(&f->age);
	lwr__list_append(&u->age[class], &f->age);
	lwr__list_remove(&f->on_link);
	lwr__list_append(&flows_of(u, f->link)->lru, &f->on_link);
	if (first)
		arm(u);
}

void lwr__udp_flow_sent(struct lwr_udp_flow *f, bool query)
{
	f->talks = f->talks || !query;
	touch(f, f->class == LWR_UDP_STREAM ? LWR_UDP_STREAM : LWR_UDP_ONE_WAY);
}

void lwr__udp_flow_heard(struct lwr_udp_flow *f)
{
	touch(f, f->talks ? LWR_UDP_STREAM : LWR_UDP_ANSWERED);
}

/* Kills what is due of one class. */
static void expire(struct lwr_udp *u, const struct lwr_list *l)
{
	uint64_t now = lwr__loop_now(u->stack->loop);
	struct lwr_udp_flow *f;

	while ((f = head_of(l)) && expiry(f) <= now)
		lwr__udp_flow_kill(f);
}

void lwr__udp_flow_expire(struct lwr_udp *u)
{
	for (int i = 0; i < LWR_UDP_CLASSES; i++)
		expire(u, &u->age[i]);
	arm(u);
}
