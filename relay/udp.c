/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP, by flow. A flow stands for one socket of the guest: its address and
 * port on its link. It owns at most one host socket of each family, opened by
 * the first datagram that needs it and never connected, so that every
 * destination sees the same source port (endpoint-independent mapping, RFC
 * 4787 4.1), which is what makes peer-to-peer programs work.
 *
 * What comes back is filtered by endpoint (RFC 4787 5): a datagram passes only
 * from an address and port that this flow has written to; with --udp-filter
 * any, from anybody. Each such peer keeps the destination as the guest wrote
 * it, and the reply carries that as its source: the gateway's address for the
 * host's loopback. Of two names of one peer the last one used counts.
 *
 *	guest frame -> policy -> flow, peer -> queue         relay/udp.c
 *	queue -> sendmmsg, at the end of the tick            relay/udp_out.c
 *	socket -> recvmmsg -> peer -> lwr__send_udp          relay/udp_host.c
 *	what could not be delivered -> ICMP                  relay/udp_error.c
 *	what one loopback refused -> the other               relay/udp_loopback.c
 *	tables, limits, expiry, sockets                      relay/udp_flow.c
 *	ICMP echo to external hosts, by all of these         relay/ping.c
 *
 * Nothing waits longer than a tick in either direction, but 40 us at most where
 * datagrams come in numbers. Towards the host, what the socket does not take is
 * dropped and counted; towards the guest, a socket is not read while the link's ring is full, and the kernel's buffer bounds
 * what waits. Trains of equal datagrams stay whole both ways: UDP_SEGMENT
 * carries a guest's, UDP_GRO brings the host's.
 *
 * The guest's TTL goes on, one less; and so does its DF: what is too large for
 * the path is told, not fragmented behind its back. A guest is told what
 * happened to its datagram by ICMP, whether policy, the host's routing or the
 * network refused it; never for one to a group (RFC 1122 3.2.2).
 *
 * Rejected: a connected socket for each destination, as in a firewall's state
 * table. It would cost a descriptor each, and the mapping that the guest sees
 * would depend on the destination. Connecting the socket of a flow that has
 * one peer was rejected as well: Linux gives it a new port when it must be
 * undone for a second peer, and strangers could not be let in.
 */
#include "relay/udp.h"

#include "platform/sock_udp.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	UDP_HLEN = 8,
	DNS_PORT = 53,
	ECHO_SHARE = 16, /* UDP flows for each of echo */
	ECHO_LEAST = 16,
};

/* ---- guest to host ------------------------------------------------------- */

/* Returns true if it may be relayed, and where to. */
static bool allowed(struct lwr_udp *u, const struct lwr_pkt *pkt,
		    const struct lwr_dest *dest, struct lwr_dest *host)
{
	enum lwr_verdict v = lwr__policy_dest(pkt->link->net, dest, host);

	if (v == LWR_ALLOW)
		v = lwr__udp_ask(u, pkt, dest, host);
	if (v == LWR_ALLOW)
		return true;
	pkt->link->stats.udp_denied++;
	lwr__udp_tell_errno(pkt, v == LWR_DENY ? -EACCES : -ECONNREFUSED);
	return false;
}

/* A guest may say of one datagram that it is a train of larger ones. */
uint16_t lwr__udp_seg(const struct lwr_pkt *pkt)
{
	uint16_t seg = pkt->meta.gso == LWR_GSO_UDP ? pkt->meta.gso_size : 0;

	return seg < pkt->l4_len - UDP_HLEN ? seg : 0;
}

uint8_t lwr__udp_ttl(const struct lwr_pkt *pkt)
{
	/* The relay's own addresses are the first hop, not behind it. */
	if (lwr__policy_is_local(pkt->link->net, &pkt->dst) || pkt->ttl < 2)
		return 0;
	return (uint8_t)(pkt->ttl - 1);
}

static void forward(struct lwr_udp *u, struct lwr_udp_flow *f,
		    const struct lwr_pkt *pkt, const struct lwr_dest *dest,
		    const struct lwr_dest *host)
{
	struct lwr_udp_datagram d = {
		.host = *host,
		.data = pkt->data + pkt->l4 + UDP_HLEN,
		.len = pkt->l4_len - UDP_HLEN,
		.seg = lwr__udp_seg(pkt),
		.ttl = lwr__udp_ttl(pkt),
		.df = pkt->df &&
		      !lwr__policy_is_local(pkt->link->net, &pkt->dst),
	};
	struct lwr_udp_sock *s;
	int err = lwr__udp_sock_get(f, &host->addr, &s);

	if (err) {
		lwr__udp_tell_errno(pkt, err);
		if (f->n_peers == 0)
			lwr__udp_flow_kill(f);
		return;
	}
	f->bytes_g2h += d.len;
	lwr__udp_flow_sent(f, dest->port == DNS_PORT);
	lwr__udp_loopback_sent(lwr__udp_peer_note(f, host, dest), &d);
	lwr__udp_out_add(u, s, &d);
}

static bool source_valid(const struct lwr_pkt *pkt)
{
	return pkt->sport != 0 && !lwr__addr_is_any(&pkt->src) &&
	       lwr__policy_source(pkt->link->net, &pkt->src);
}

void lwr__udp_input(struct lwr_udp *u, const struct lwr_pkt *pkt)
{
	struct lwr_dest guest = { pkt->src, pkt->sport };
	struct lwr_dest dest = { pkt->dst, pkt->dport }, host;
	struct lwr_udp_flow *f;

	if (!source_valid(pkt)) {
		pkt->link->stats.drop_source++;
		return;
	}
	if (!allowed(u, pkt, &dest, &host))
		return;
	f = lwr__udp_flow_get(u, pkt->link, &guest);
	if (!f) {
		pkt->link->stats.drop_memory++;
		return;
	}
	lwr__udp_loopback_choose(f, &dest, &host);
	forward(u, f, pkt, &dest, &host);
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
	bool more;

	lwr__udp_out_flush(u);
	more = lwr__udp_host_read(u);
	reap(u);
	return more;
}

static int init(struct lwr_udp *u, struct lwr_stack *stack)
{
	int err;

	*u = (struct lwr_udp){ .stack = stack };
	for (int i = 0; i < LWR_UDP_CLASSES; i++)
		lwr__list_init(&u->age[i]);
	lwr__list_init(&u->ready);
	lwr__list_init(&u->dead);
	lwr__list_init(&u->held);
	u->reader = lwr__sock_reader_new();
	if (!u->reader)
		return -ENOMEM;
	err = lwr__udp_out_init(u);
	if (err)
		goto err_undo_reader;
	err = lwr__demux_init(&u->flows);
	if (err)
		goto err_undo_out;
	err = lwr__demux_init(&u->peers);
	if (err)
		goto err_undo_flows;
	lwr__timer_init(stack->loop, &u->timer, on_timer);
	return 0;

err_undo_flows:
	lwr__demux_fini(&u->flows);
err_undo_out:
	lwr__udp_out_fini(u);
err_undo_reader:
	lwr__sock_reader_free(u->reader);
	return err;
}

int lwr__udp_init(struct lwr_udp *u, struct lwr_stack *stack)
{
	int err = init(u, stack);

	u->limit = stack->config->max_udp;
	return err;
}

int lwr__ping_init(struct lwr_udp *u, struct lwr_stack *stack)
{
	uint32_t limit = stack->config->max_udp / ECHO_SHARE;
	int err = init(u, stack);

	u->echo = true;
	u->limit = limit < ECHO_LEAST ? ECHO_LEAST : limit;
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
	for (int i = 0; i < LWR_UDP_CLASSES; i++)
		kill_all(&u->age[i], link);
	lwr__udp_flow_expire(u);
}

void lwr__udp_fini(struct lwr_udp *u)
{
	for (int i = 0; i < LWR_UDP_CLASSES; i++)
		kill_all(&u->age[i], NULL);
	reap(u);
	lwr__timer_stop(&u->timer);
	lwr__timer_close(u->stack->loop, &u->timer);
	lwr__demux_fini(&u->peers);
	lwr__demux_fini(&u->flows);
	lwr__udp_out_fini(u);
	lwr__sock_reader_free(u->reader);
}
