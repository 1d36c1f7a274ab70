/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --host-loopback for UDP: the gateway's address means 127.0.0.1 and ::1. The
 * guest's own family comes first, as in relay/connect.c; there is no connect
 * whose refusal could be waited for, so the refusal of a datagram has to do:
 *
 *	TRIAL   a loopback of the guest's family that nobody has answered from
 *	        yet. What is sent there is kept as well, bounded; if it is
 *	        refused, it goes to the other loopback, and the peer has
 *	MOVED:  what the guest writes to the gateway goes to the other one.
 *	        Refusals that were still on their way say nothing new.
 *	NEITHER the other refused as well, which the guest is told. With its next
 *	        datagram everything begins again: servers come and go.
 *
 * An answer ends the TRIAL, and so does silence: a host refuses a datagram on
 * its loopback almost within the call that sends it, so TRIAL_MS without a
 * refusal is consent. Both make the peer PLAIN, one like any other: a refusal
 * is told, and begins it all again.
 *
 * What is kept is little, because it is kept for about one tick: a guest that
 * floods the host with first datagrams may lose some that are refused.
 */
#include "relay/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TRIAL_MS = 1000,
	HELD_MAX = 64, /* datagrams and trains of all flows */
	HELD_BYTES = 256 * 1024,
};

/* What a guest wrote to the gateway, while it may be refused. */
struct held {
	struct lwr_list node; /* u->held, oldest first */
	struct lwr_udp_flow *flow;
	struct lwr_dest host; /* the loopback of the guest's family */
	size_t len;
	uint16_t seg;
	uint8_t data[];
};

static struct lwr_dest host_of(const struct lwr_udp_peer *p)
{
	return (struct lwr_dest){ p->demux.key.host, p->demux.key.hport };
}

/* ---- what is kept -------------------------------------------------------- */

static struct held *held_of(struct lwr_list *n)
{
	return LWR_CONTAINER(n, struct held, node);
}

static void unlink_held(struct lwr_udp *u, struct held *h)
{
	lwr__list_remove(&h->node);
	u->n_held--;
	u->held_bytes -= h->len;
}

static void hold(struct lwr_udp_flow *f, const struct lwr_udp_datagram *d)
{
	struct lwr_udp *u = f->udp;
	struct held *h = malloc(sizeof(*h) + d->len);

	if (!h)
		return;
	*h = (struct held){
		.flow = f, .host = d->host, .len = d->len, .seg = d->seg
	};
	memcpy(h->data, d->data, d->len);
	lwr__list_init(&h->node);
	lwr__list_append(&u->held, &h->node);
	u->n_held++;
	u->held_bytes += h->len;
	while (u->n_held > HELD_MAX || u->held_bytes > HELD_BYTES) {
		h = held_of(u->held.next);
		unlink_held(u, h);
		free(h);
	}
}

/* Moves what is kept of a flow, for one loopback or (NULL) for both. */
static void take_held(struct lwr_udp_flow *f, const struct lwr_dest *host,
		      struct lwr_list *taken)
{
	struct lwr_udp *u = f->udp;
	struct lwr_list *n, *next;

	lwr__list_init(taken);
	for (n = u->held.next; n != &u->held; n = next) {
		next = n->next;
		if (held_of(n)->flow != f ||
		    (host && !lwr__dest_equal(&held_of(n)->host, host)))
			continue;
		unlink_held(u, held_of(n));
		lwr__list_append(taken, n);
	}
}

static void drop_held(struct lwr_udp_flow *f, const struct lwr_dest *host)
{
	struct lwr_list taken, *n;

	take_held(f, host, &taken);
	while ((n = lwr__list_take(&taken)))
		free(held_of(n));
}

void lwr__udp_loopback_forget(struct lwr_udp_flow *f)
{
	drop_held(f, NULL);
}

/* ---- the guest's side ---------------------------------------------------- */

/* The two meanings of a destination; false: `host` is none of two. */
static bool meanings(const struct lwr_udp_flow *f, const struct lwr_dest *guest,
		     const struct lwr_dest *host, struct lwr_dest *own,
		     struct lwr_dest *other)
{
	const struct lwr_net *net = f->link->net;

	return !f->udp->echo && lwr__addr_is_loopback(&host->addr) &&
	       lwr__policy_other_loopback(net, guest, other) &&
	       lwr__policy_dest(net, guest, own) == LWR_ALLOW &&
	       (lwr__dest_equal(host, own) || lwr__dest_equal(host, other));
}

void lwr__udp_loopback_choose(struct lwr_udp_flow *f,
			      const struct lwr_dest *guest,
			      struct lwr_dest *host)
{
	struct lwr_dest own, other;
	struct lwr_udp_peer *p;

	if (!meanings(f, guest, host, &own, &other))
		return;
	/* Without it, the other one is where the user's hook led. */
	p = lwr__udp_peer_find(f, &own);
	if (p)
		*host = p->loopback == LWR_UDP_MOVED ? other : own;
}

void lwr__udp_loopback_sent(struct lwr_udp_peer *p,
			    const struct lwr_udp_datagram *d)
{
	struct lwr_udp_flow *f = p->flow;
	uint64_t now = lwr__loop_now(f->udp->stack->loop);
	struct lwr_dest own, other;

	if (p->loopback == LWR_UDP_PLAIN ||
	    !meanings(f, &p->guest, &d->host, &own, &other) ||
	    !lwr__dest_equal(&d->host, &own))
		return;
	if (p->loopback != LWR_UDP_TRIAL) {
		p->loopback = LWR_UDP_TRIAL;
		p->trial_ms = now;
	}
	if (now - p->trial_ms >= TRIAL_MS)
		lwr__udp_loopback_heard(p);
	else
		hold(f, d);
}

/* ---- the host's ---------------------------------------------------------- */

void lwr__udp_loopback_heard(struct lwr_udp_peer *p)
{
	struct lwr_dest host = host_of(p);

	if (p->loopback != LWR_UDP_TRIAL)
		return;
	p->loopback = LWR_UDP_PLAIN;
	drop_held(p->flow, &host);
}

/* Sends again what one loopback refused; the flow may be dead afterwards. */
static void move(struct lwr_udp_flow *f, const struct lwr_dest *guest,
		 const struct lwr_dest *from, const struct lwr_dest *to)
{
	struct lwr_udp_datagram d = { .host = *to };
	struct lwr_dest name = *guest; /* the peer may go */
	struct lwr_list taken, *n;
	struct lwr_udp_sock *s;
	int err;

	take_held(f, from, &taken);
	while ((n = lwr__list_take(&taken))) {
		d.data = held_of(n)->data;
		d.len = held_of(n)->len;
		d.seg = held_of(n)->seg;
		err = f->dead ? 0 : lwr__udp_sock_get(f, &to->addr, &s);
		if (!f->dead) {
			(void)lwr__udp_peer_note(f, to, &name);
			if (err)
				lwr__udp_tell_failed(f, s, &d, err);
			else
				lwr__udp_out_now(s, &d);
		}
		free(held_of(n));
	}
}

bool lwr__udp_loopback_refused(struct lwr_udp_peer *p)
{
	struct lwr_udp_flow *f = p->flow;
	struct lwr_dest own, other, host = host_of(p);
	struct lwr_udp_peer *first;

	if (!meanings(f, &p->guest, &host, &own, &other))
		return false;
	first = lwr__dest_equal(&host, &own) ? p : lwr__udp_peer_find(f, &own);
	if (first != p) {
		if (first && first->loopback == LWR_UDP_MOVED)
			first->loopback = LWR_UDP_NEITHER;
		return false;
	}
	if (p->loopback == LWR_UDP_TRIAL) {
		p->loopback = LWR_UDP_MOVED;
		move(f, &p->guest, &own, &other);
		return true;
	}
	if (p->loopback != LWR_UDP_PLAIN)
		return true;
	p->loopback = LWR_UDP_NEW;
	return false;
}
