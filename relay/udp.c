/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP, by flow. A flow stands for one socket of the guest: its address and
 * port on its link. It owns at most one host socket of each family, opened by
 * the first datagram that needs it and never connected, so that every
 * destination sees the same source port (endpoint-independent mapping, RFC
 * 4787 4.1), which is what makes peer-to-peer programs work.
 *
 * What comes back is filtered by endpoint (RFC 4787 5): a datagram passes only
 * from an address and port that this flow has written to. Each such peer keeps
 * the destination as the guest wrote it, and the reply carries that as its
 * source: the gateway's address for the host's loopback. Of two names of one
 * peer the last one used counts.
 *
 *	guest frame -> policy -> flow, peer -> sendto        relay/udp.c
 *	socket -> recvfrom -> peer -> lwr__send_udp          relay/udp_host.c
 *	tables, limits, expiry                               relay/udp_flow.c
 *
 * Nothing is queued here in either direction. Towards the host, what the
 * socket does not take is dropped and counted; towards the guest, a socket is
 * not read while the link's ring is full, and the kernel's buffer bounds what
 * waits. Trains of equal datagrams stay whole both ways: UDP_SEGMENT carries a
 * guest's, UDP_GRO brings the host's.
 *
 * A guest is told what happened to its datagram by ICMP, whether policy, the
 * host's routing or the network refused it; never for one to a group (RFC 1122
 * 3.2.2).
 *
 * Rejected: a connected socket for each destination, as in a firewall's state
 * table. It would cost a descriptor each, and the mapping that the guest sees
 * would depend on the destination.
 */
#include "relay/udp.h"

#include "platform/sock.h"
#include "relay/policy.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { UDP_HLEN = 8, DNS_PORT = 53 };

/* One datagram, or train of them, on its way to the host. */
struct datagram {
	struct lwr_dest guest; /* its source */
	struct lwr_dest dest; /* as the guest wrote it */
	struct lwr_dest host; /* as the host is asked for it */
	struct iovec payload;
	uint16_t seg;
};

/* ---- what the guest is told ---------------------------------------------- */

static void tell(const struct lwr_pkt *pkt, enum lwr_unreach why,
		 const struct lwr_addr *from)
{
	if ((pkt->data[0] & 1) || lwr__addr_is_multicast(&pkt->dst))
		return;
	lwr__send_unreach(pkt->link, why, from, pkt->data + pkt->l3,
			  pkt->l4 + pkt->l4_len - pkt->l3);
}

static const struct lwr_addr *router(const struct lwr_pkt *pkt)
{
	const struct lwr_net *c = pkt->link->net;

	return lwr__addr_is4(&pkt->dst) ? &c->gateway : &c->gateway6;
}

static void tell_errno(const struct lwr_pkt *pkt, int err)
{
	enum lwr_unreach why;

	if (!lwr__udp_host_why(err, &why))
		pkt->link->stats.drop_memory++;
	else
		tell(pkt, why,
		     why == LWR_UNREACH_PORT ? &pkt->dst : router(pkt));
}

/* ---- guest to host ------------------------------------------------------- */

/* Returns true if it may be relayed, and where to. */
static bool allowed(const struct lwr_pkt *pkt, struct datagram *d)
{
	const struct lwr_net *c = pkt->link->net;

	switch (lwr__policy_dest(c, &d->dest, &d->host)) {
	case LWR_ALLOW:
		return true;
	case LWR_DENY:
		pkt->link->stats.udp_denied++;
		tell(pkt, LWR_UNREACH_PROHIBITED, router(pkt));
		return false;
	default:
		pkt->link->stats.udp_denied++;
		tell(pkt, LWR_UNREACH_PORT, &pkt->dst);
		return false;
	}
}

/* Opens the flow's socket of one family. Returns 0 or -errno. */
static int open_sock(struct lwr_udp *u, struct lwr_udp_sock *s, int family)
{
	int err, fd = lwr__sock_udp(family);

	if (fd == -EMFILE || fd == -ENFILE) {
		/* Its own flow is in use now, and so the last to go. */
		s->flow->link->stats.udp_limited++;
		(void)lwr__udp_flow_evict(u);
		if (s->flow->dead)
			return fd;
		fd = lwr__sock_udp(family);
	}
	if (fd < 0)
		return fd;
	s->watch.fd = fd;
	err = lwr__watch_start(u->stack->loop, &s->watch);
	if (err) {
		lwr__sock_close(fd);
		s->watch.fd = -1;
	}
	return err;
}

static ssize_t send_to(struct lwr_udp_sock *s, const struct datagram *d)
{
	struct sockaddr_storage ss;
	socklen_t len = lwr__addr_to_sockaddr(&d->host.addr, d->host.port, &ss);

	return lwr__sock_sendto(s->watch.fd, &d->payload, 1, d->seg,
				(struct sockaddr *)&ss, len);
}

/* Returns 0 or -errno. */
static int forward(struct lwr_udp *u, struct lwr_udp_flow *f,
		   const struct datagram *d)
{
	bool four = lwr__addr_is4(&d->host.addr);
	struct lwr_udp_sock *s = &f->sock[four ? 0 : 1];
	ssize_t n;
	int err;

	if (s->watch.fd < 0) {
		err = open_sock(u, s, four ? AF_INET : AF_INET6);
		if (err)
			return err;
	}
	lwr__udp_peer_note(f, &d->host, &d->dest);
	n = send_to(s, d);
	return n < 0 ? (int)n : 0;
}

static struct lwr_udp_flow *flow_of(struct lwr_udp *u, struct lwr_link *link,
				    const struct datagram *d)
{
	enum lwr_udp_kind kind = LWR_UDP_STREAM;
	struct lwr_udp_flow *f;

	f = lwr__udp_flow_find(u, link, &d->guest);
	if (!f)
		f = lwr__udp_flow_new(u, link, &d->guest);
	if (!f)
		return NULL;
	if (d->dest.port == DNS_PORT && f->kind != LWR_UDP_STREAM)
		kind = LWR_UDP_ASKED;
	lwr__udp_flow_touch(f, kind);
	return f;
}

static void datagram_of(const struct lwr_pkt *pkt, struct datagram *d)
{
	d->guest.addr = pkt->src;
	d->guest.port = pkt->sport;
	d->dest.addr = pkt->dst;
	d->dest.port = pkt->dport;
	d->payload.iov_base = pkt->data + pkt->l4 + UDP_HLEN;
	d->payload.iov_len = pkt->l4_len - UDP_HLEN;
	d->seg = pkt->meta.gso == LWR_GSO_UDP ? pkt->meta.gso_size : 0;
}

static bool source_valid(const struct lwr_pkt *pkt)
{
	return pkt->sport != 0 && !lwr__addr_is_any(&pkt->src) &&
	       lwr__policy_source(pkt->link->net, &pkt->src);
}

void lwr__udp_input(struct lwr_udp *u, const struct lwr_pkt *pkt)
{
	struct lwr_link *link = pkt->link;
	struct lwr_udp_flow *f;
	struct datagram d;
	int err;

	if (!source_valid(pkt)) {
		link->stats.drop_source++;
		return;
	}
	datagram_of(pkt, &d);
	if (!allowed(pkt, &d))
		return;
	f = flow_of(u, link, &d);
	if (!f) {
		link->stats.drop_memory++;
		return;
	}
	err = forward(u, f, &d);
	if (err)
		tell_errno(pkt, err);
	if (f->n_peers == 0)
		lwr__udp_flow_kill(f); /* no socket could be had */
}

/* ---- life ---------------------------------------------------------------- */

static void on_timer(struct lwr_timer *t)
{
	lwr__udp_flow_expire(LWR_CONTAINER(t, struct lwr_udp, timer));
}

static void reap(struct lwr_udp *u)
{
	struct lwr_list *n;

	while ((n = lwr__list_take(&u->dead)))
		free(LWR_CONTAINER(n, struct lwr_udp_flow, todo));
}

bool lwr__udp_tick(struct lwr_udp *u)
{
	bool more = lwr__udp_host_read(u);

	reap(u);
	return more;
}

int lwr__udp_init(struct lwr_udp *u, struct lwr_stack *stack)
{
	int err;

	*u = (struct lwr_udp){ .stack = stack };
	lwr__list_init(&u->lru);
	lwr__list_init(&u->answered);
	lwr__list_init(&u->ready);
	lwr__list_init(&u->dead);
	u->buf = malloc(LWR_UDP_BUF);
	if (!u->buf)
		return -ENOMEM;
	err = lwr__demux_init(&u->flows);
	if (err)
		goto err_undo_buf;
	err = lwr__demux_init(&u->peers);
	if (err)
		goto err_undo_flows;
	lwr__timer_init(stack->loop, &u->timer, on_timer);
	return 0;

err_undo_flows:
	lwr__demux_fini(&u->flows);
err_undo_buf:
	free(u->buf);
	return err;
}

static void kill_all(struct lwr_list *l, const struct lwr_link *link)
{
	struct lwr_list *n, *next;
	struct lwr_udp_flow *f;

	for (n = l->next; n != l; n = next) {
		next = n->next;
		f = LWR_CONTAINER(n, struct lwr_udp_flow, age);
		if (!link || f->link == link)
			lwr__udp_flow_kill(f);
	}
}

void lwr__udp_link_down(struct lwr_udp *u, const struct lwr_link *link)
{
	kill_all(&u->lru, link);
	kill_all(&u->answered, link);
	lwr__udp_flow_expire(u);
}

void lwr__udp_fini(struct lwr_udp *u)
{
	kill_all(&u->lru, NULL);
	kill_all(&u->answered, NULL);
	reap(u);
	lwr__timer_stop(&u->timer);
	lwr__timer_close(u->stack->loop, &u->timer);
	lwr__demux_fini(&u->peers);
	lwr__demux_fini(&u->flows);
	free(u->buf);
}
