/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the user's hooks and the public header see of UDP: a flow as long as the
 * guest's socket seems to live, asked about once for each destination. The
 * answer is not kept apart: a destination that was allowed is a peer of the
 * flow, and a redirected one is found among the peers by what the guest wrote.
 */
#include "relay/udp.h"

#include "relay/hooks.h"
#include "relay/udp_flow.h"

void lwr__udp_info(const struct lwr_udp_flow *f, struct lwr_flow_info *info)
{
	const struct lwr_key *k = &f->demux.key, *to;
	const struct lwr_udp_peer *p;

	*info = (struct lwr_flow_info){
		.id = f->id,
		.link = f->link->number,
		.protocol = f->udp->echo ? LWR_PROTO_ICMP : LWR_PROTO_UDP,
		.phase = f->dead ? LWR_PHASE_CLOSED : LWR_PHASE_OPEN,
		.guest = lwr__endpoint(&k->guest, k->gport),
		.bytes_g2h = f->bytes_g2h,
		.bytes_h2g = f->bytes_h2g,
		.age_ms = lwr__loop_now(f->udp->stack->loop) - f->opened_ms,
	};
	if (lwr__list_empty(&f->peers))
		return;
	p = LWR_CONTAINER(f->peers.prev, struct lwr_udp_peer, node);
	to = &p->demux.key;
	info->dest = lwr__endpoint(&p->guest.addr, p->guest.port);
	info->host = lwr__endpoint(&to->host, to->hport);
}

/* The destination was allowed before: *host is where it goes. */
static bool known(const struct lwr_udp_flow *f, const struct lwr_dest *dest,
		  struct lwr_dest *host)
{
	const struct lwr_list *n;
	const struct lwr_udp_peer *p;

	for (n = f->peers.prev; n != &f->peers; n = n->prev) {
		p = LWR_CONTAINER(n, struct lwr_udp_peer, node);
		if (p->guest.port == dest->port &&
		    lwr__addr_equal(&p->guest.addr, &dest->addr)) {
			host->addr = p->demux.key.host;
			host->port = p->demux.key.hport;
			return true;
		}
	}
	return false;
}

enum lwr_verdict lwr__udp_ask(struct lwr_udp *u, const struct lwr_pkt *pkt,
			      const struct lwr_dest *dest,
			      struct lwr_dest *host)
{
	struct lwr_dest guest = { pkt->src, pkt->sport };
	struct lwr_udp_flow *f;
	struct lwr_flow_info info;

	if (!u->hooks || !u->hooks->fn.on_flow_open)
		return LWR_ALLOW;
	f = lwr__udp_flow_find(u, pkt->link, &guest);
	if (f && known(f, dest, host))
		return LWR_ALLOW;
	info = (struct lwr_flow_info){
		.id = f ? f->id : u->stack->next_flow_id,
		.link = pkt->link->number,
		.protocol = LWR_PROTO_UDP,
		.guest = lwr__endpoint(&guest.addr, guest.port),
		.dest = lwr__endpoint(&dest->addr, dest->port),
		.host = lwr__endpoint(&host->addr, host->port),
	};
	return lwr__hooks_flow_open(u->hooks, &info, &host->addr, &host->port);
}
