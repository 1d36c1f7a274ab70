/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a client of a published port is led to, and whom the guest sees.
 *
 * The guest is reached at an address that it was heard to use (link->guest,
 * relay/neigh.c). If none is known, it is asked for the ones that it should
 * have, again and again while a client waits, up to publish_wait_ms. A client
 * goes to the guest's address of its own family; one that the guest has not
 * got is given up after FALLBACK_MS, and the other family is used.
 *
 * The guest sees the client's own address and port where it could have met
 * them on a network (lwr__policy_client()). Loopback, link-local and the
 * guest's own subnet would mean something else to it, and a client of the
 * other family or of a Unix socket has no address that it could answer: these
 * become the gateway, with a port of their own for each.
 */
#include "relay/publish_priv.h"

#include "platform/sock.h"
#include "relay/hooks.h"
#include "relay/services.h"

#include <string.h>

enum {
	FALLBACK_MS = 200, /* without an answer, it has no such address */
	ASK_EVERY_MS = 200, /* of somebody who waits */
	ASK_ABSENT_MS = 5000, /* whether it has that address by now */
	PORTS_FROM = 1024,
	PORTS_TRIED = 256,
};

static void ask(struct lwr_stack *s, struct lwr_link *link, int six,
		uint32_t every)
{
	struct lwr_guest_addr *g = &link->guest[six];
	const struct lwr_net *net = link->net;
	uint64_t now = lwr__loop_now(s->loop);

	if ((six && !net->ipv6) || (g->asked_ms && now - g->asked_ms < every))
		return;
	g->asked_ms = now;
	lwr__neigh_ask(link, six ? &net->guest6 : &net->guest);
}

int lwr__publish_choose(struct lwr_publish *p, struct lwr_link *link, bool six,
			uint64_t since)
{
	struct lwr_guest_addr *own = &link->guest[six];
	const struct lwr_guest_addr *other = &link->guest[!six];
	bool waited = lwr__loop_now(p->stack->loop) - since >= FALLBACK_MS;

	if (!link->up)
		return -1;
	if (own->known)
		return six;
	if (other->known && (waited || own->absent || !link->net->ipv6)) {
		own->absent = true;
		ask(p->stack, link, six, ASK_ABSENT_MS);
		return !six;
	}
	ask(p->stack, link, 0, ASK_EVERY_MS);
	ask(p->stack, link, 1, ASK_EVERY_MS);
	return -1;
}

/* The gateway's port for this client: its own, or the first free one. */
static bool free_port(const struct lwr_stack *s, const struct lwr_demux *taken,
		      struct lwr_key *key, uint16_t first)
{
	uint16_t port = first;

	for (int i = 0; i < PORTS_TRIED; i++) {
		key->hport = port;
		if (port >= PORTS_FROM && !lwr__demux_find(&s->demux, key) &&
		    (!taken || !lwr__demux_find(taken, key)))
			return true;
		lwr__random(&port, sizeof(port));
	}
	return false;
}

bool lwr__publish_key(struct lwr_link *link, int six, uint16_t gport,
		      const struct lwr_dest *client,
		      const struct lwr_demux *taken, struct lwr_key *key)
{
	const struct lwr_stack *s = link->stack;
	const struct lwr_net *net = link->net;

	memset(key, 0, sizeof(*key));
	key->guest = link->guest[six].addr;
	key->gport = gport;
	key->link = link->id;
	if (client && lwr__addr_is4(&client->addr) == !six &&
	    lwr__policy_client(net, &client->addr)) {
		key->host = client->addr;
		key->hport = client->port;
		if (!lwr__demux_find(&s->demux, key) &&
		    (!taken || !lwr__demux_find(taken, key)))
			return true;
	}
	key->host = six ? net->gateway6 : net->gateway;
	return free_port(s, taken, key, client ? client->port : 0);
}

bool lwr__publish_ask(struct lwr_hook_set *hooks, struct lwr_flow_info *info,
		      const struct lwr_link *link, const struct lwr_key *key,
		      const struct lwr_dest *host, uint16_t *gport)
{
	struct lwr_addr to = key->guest;

	info->link = link->number;
	info->opened = LWR_H2G;
	info->guest = lwr__endpoint(&key->guest, key->gport);
	info->dest = lwr__endpoint(&key->host, key->hport);
	info->host = lwr__endpoint(&host->addr, host->port);
	/* Another guest would have to be looked for. */
	return lwr__hooks_flow_open(hooks, info, &to, gport) == LWR_ALLOW &&
	       lwr__addr_equal(&to, &key->guest) && *gport != 0;
}

void lwr__publish_wait(struct lwr_publish *p)
{
	bool any = !lwr__list_empty(&p->waiting) ||
		   !lwr__list_empty(&p->udp_waiting);

	if (any && !lwr__timer_active(&p->waiting_timer))
		lwr__timer_start(&p->waiting_timer, LWR_PUBLISH_STEP_MS);
}

void lwr__publish_guest_seen(struct lwr_publish *p, struct lwr_link *link)
{
	if (!lwr__list_empty(&p->waiting))
		lwr__publish_tcp_look(p, link);
	if (!lwr__list_empty(&p->udp_waiting))
		lwr__publish_udp_look(p, link);
}
