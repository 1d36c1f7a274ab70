/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients of published UDP ports. Each client (its address and port, and the
 * address of ours that it wrote to) is a flow with one source towards the
 * guest for as long as it lives, its own or the gateway's with a port of its
 * own, so that the guest tells clients apart and finds the same one again.
 * A flow has no socket: all clients of a port share the port's.
 *
 *	client -> port's socket -> `clients` -> lwr__send_udp     here
 *	guest's packet -> `guests` -> sendmsg from that socket    here
 *
 * A packet of the guest's is looked for in `guests` before it becomes a flow
 * of the guest's own (relay/udp.c), so an answer never leaves by another port.
 *
 * While the guest's address is not known, a flow holds its first datagrams, up
 * to HELD_MAX, for publish_wait_ms. Flows end udp_timeout_s after the last
 * datagram of either side, the longest unused first at max_udp.
 */
#include "relay/publish_priv.h"

#include "platform/sock_listen.h"
#include "relay/hooks.h"
#include "relay/tcp.h"
#include "relay/udp.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	UDP_HLEN = 8,
	BUDGET = 64, /* calls for one port in one tick */
	HELD_MAX = 16, /* datagrams kept for a guest that is not up */
	TRAIN_MAX = 60000, /* payload of a frame that the link cuts */
};

struct held {
	struct held *next;
	struct pbuf *p;
	uint16_t seg;
};

struct client {
	struct lwr_demux_node by_client;
	struct lwr_demux_node by_guest; /* in `guests` if OPEN */
	struct lwr_list age; /* p->udp_lru or ->udp_waiting */
	struct lwr_publish_port *port;
	struct lwr_sock_ends ends;
	uint64_t id; /* of the flow, for the user */
	uint64_t bytes_g2h; /* payload */
	uint64_t bytes_h2g;
	uint64_t opened_ms;
	uint64_t used_ms;
	enum { WAITING, OPEN, DENIED } state;
	unsigned n_held;
	struct held *held; /* the oldest first */
};

static struct lwr_link *link_of(const struct client *c)
{
	return c->port->rule->link;
}

static uint64_t now_of(const struct lwr_publish *p)
{
	return lwr__loop_now(p->stack->loop);
}

/* ---- to the guest -------------------------------------------------------- */

static void deliver(struct client *c, const uint8_t *data, size_t n,
		    uint16_t seg)
{
	const struct lwr_key *k = &c->by_guest.key;
	size_t max = TRAIN_MAX, off = 0, step = n, part;
	struct pbuf *p;

	if (seg)
		step = seg < max ? max - max % seg : seg;
	do {
		part = n - off < step ? n - off : step;
		p = lwr__send_alloc(part);
		if (!p) {
			link_of(c)->stats.drop_memory++;
			return;
		}
		memcpy(p->payload, data + off, part);
		lwr__send_udp(link_of(c), p, seg, &k->host, k->hport, &k->guest,
			      k->gport);
		off += part;
	} while (off < n);
}

static void hold(struct client *c, const uint8_t *data, size_t n, uint16_t seg)
{
	struct held **tail = &c->held, *h;

	h = c->n_held < HELD_MAX ? malloc(sizeof(*h)) : NULL;
	if (h)
		h->p = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);
	if (!h || !h->p) {
		free(h);
		link_of(c)->stats.drop_memory++;
		return;
	}
	memcpy(h->p->payload, data, n);
	h->seg = seg;
	h->next = NULL;
	while (*tail)
		tail = &(*tail)->next;
	*tail = h;
	c->n_held++;
}

static void drop_held(struct client *c, bool send)
{
	struct held *h;

	while ((h = c->held)) {
		c->held = h->next;
		if (send)
			deliver(c, h->p->payload, h->p->len, h->seg);
		pbuf_free(h->p);
		free(h);
	}
	c->n_held = 0;
}

/* ---- flows --------------------------------------------------------------- */

static void arm(struct lwr_publish *p)
{
	uint64_t idle = p->stack->config->udp_timeout_s * 1000ull, at;
	const struct client *c;

	if (lwr__list_empty(&p->udp_lru)) {
		lwr__timer_stop(&p->udp_timer);
		return;
	}
	c = LWR_CONTAINER(p->udp_lru.next, struct client, age);
	at = c->used_ms + idle;
	lwr__timer_start(&p->udp_timer, at > now_of(p) ? at - now_of(p) : 0);
}

static void touch(struct lwr_publish *p, struct client *c)
{
	bool first = lwr__list_empty(&p->udp_lru);

	c->used_ms = now_of(p);
	lwr__list_remove(&c->age);
	lwr__list_append(&p->udp_lru, &c->age);
	if (first)
		arm(p);
}

static void end(struct lwr_publish *p, struct client *c)
{
	lwr__demux_remove(&p->clients, &c->by_client);
	if (c->state == OPEN)
		lwr__demux_remove(&p->guests, &c->by_guest);
	lwr__list_remove(&c->age);
	drop_held(c, false);
	link_of(c)->stats.publish_udp_live--;
	free(c);
}

static void on_udp_timer(struct lwr_timer *t)
{
	struct lwr_publish *p = LWR_CONTAINER(t, struct lwr_publish, udp_timer);
	uint64_t idle = p->stack->config->udp_timeout_s * 1000ull;
	struct client *c;

	while (!lwr__list_empty(&p->udp_lru)) {
		c = LWR_CONTAINER(p->udp_lru.next, struct client, age);
		if (c->used_ms + idle > now_of(p))
			break;
		end(p, c);
	}
	arm(p);
}

static void make_room(struct lwr_publish *p, struct lwr_link *link)
{
	struct lwr_list *l = &p->udp_lru;

	if (p->clients.count < p->stack->config->max_udp)
		return;
	link->stats.udp_limited++;
	if (lwr__list_empty(l))
		l = &p->udp_waiting;
	end(p, LWR_CONTAINER(l->next, struct client, age));
}

static struct lwr_dest address_of(const struct client *c)
{
	const struct lwr_key *k = &c->by_client.key;

	return (struct lwr_dest){ k->host, k->hport };
}

/* The tuple that the guest sees; false: no port is free for it. */
static bool make_key(struct lwr_publish *p, struct client *c, int six,
		     uint16_t gport)
{
	struct lwr_dest client = address_of(c);

	return lwr__publish_key(link_of(c), six, gport, &client, &p->guests,
				&c->by_guest.key);
}

/* The user's word on a client whose tuple is made. */
static bool allowed(struct lwr_publish *p, struct client *c, int six)
{
	struct lwr_flow_info info = {
		.id = c->id,
		.protocol = LWR_PROTO_UDP,
	};
	struct lwr_dest client = address_of(c);
	uint16_t gport = c->port->gport;

	return lwr__publish_ask(p->tcp->hooks, &info, link_of(c),
				&c->by_guest.key, &client, &gport) &&
	       (gport == c->port->gport || make_key(p, c, six, gport));
}

/* Gives the client its source towards the guest, if that can be now. */
static void settle(struct lwr_publish *p, struct client *c)
{
	bool six = !lwr__addr_is4(&c->by_client.key.host);
	int use = lwr__publish_choose(p, link_of(c), six, c->used_ms);

	if (use < 0 || !make_key(p, c, use, c->port->gport))
		return;
	if (!allowed(p, c, use)) {
		c->state = DENIED;
		link_of(c)->stats.udp_denied += c->n_held;
		drop_held(c, false);
		touch(p, c);
		return;
	}
	c->state = OPEN;
	lwr__demux_add(&p->guests, &c->by_guest);
	touch(p, c);
	drop_held(c, true);
}

static struct client *new_client(struct lwr_publish *p,
				 struct lwr_publish_port *port,
				 const struct lwr_key *key,
				 const struct lwr_sock_ends *ends)
{
	struct client *c;

	make_room(p, port->rule->link);
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->port = port;
	c->ends = *ends;
	c->id = p->stack->next_flow_id++;
	c->opened_ms = c->used_ms = now_of(p);
	c->state = WAITING;
	c->by_client.key = *key;
	lwr__demux_add(&p->clients, &c->by_client);
	lwr__list_init(&c->age);
	lwr__list_append(&p->udp_waiting, &c->age);
	link_of(c)->stats.publish_udp_opened++;
	link_of(c)->stats.publish_udp_live++;
	settle(p, c);
	return c;
}

static struct client *client_of(struct lwr_publish *p,
				struct lwr_publish_port *port,
				const struct lwr_sock_ends *ends)
{
	struct lwr_demux_node *n;
	struct lwr_key key;

	memset(&key, 0, sizeof(key));
	lwr__addr_from_sockaddr(&ends->peer, &key.host, &key.hport);
	key.guest = lwr__addr_from16(&ends->own);
	key.link = port->serial;
	n = lwr__demux_find(&p->clients, &key);
	return n ? LWR_CONTAINER(n, struct client, by_client) :
		   new_client(p, port, &key, ends);
}

void lwr__publish_udp_look(struct lwr_publish *p, struct lwr_link *link)
{
	uint32_t wait = p->stack->config->publish_wait_ms;
	struct lwr_list todo, *n;
	struct client *c;

	lwr__list_move(&p->udp_waiting, &todo);
	while ((n = lwr__list_take(&todo))) {
		c = LWR_CONTAINER(n, struct client, age);
		lwr__list_append(&p->udp_waiting, n);
		if (link && link_of(c) != link)
			continue;
		settle(p, c);
		if (c->state == WAITING && now_of(p) - c->used_ms >= wait)
			end(p, c);
	}
}

void lwr__publish_udp_end(struct lwr_publish *p, const struct lwr_link *link,
			  const struct lwr_publish_port *port)
{
	struct lwr_list *const lists[] = { &p->udp_lru, &p->udp_waiting };
	struct lwr_list *n, *next;
	struct client *c;

	for (int i = 0; i < 2; i++) {
		for (n = lists[i]->next; n != lists[i]; n = next) {
			next = n->next;
			c = LWR_CONTAINER(n, struct client, age);
			if ((!link || link_of(c) == link) &&
			    (!port || c->port == port))
				end(p, c);
		}
	}
	arm(p);
}

/* ---- from the clients ---------------------------------------------------- */

static void input(struct lwr_publish_port *port,
		  const struct lwr_sock_ends *ends, size_t n, uint16_t seg)
{
	struct lwr_publish *p = port->rule->publish;
	struct client *c = client_of(p, port, ends);

	if (!c) {
		port->rule->link->stats.drop_memory++;
		return;
	}
	if (c->state == DENIED) { /* and asked about again when it expired */
		link_of(c)->stats.udp_denied++;
		return;
	}
	c->bytes_h2g += n;
	if (c->state == WAITING) {
		hold(c, p->buf, n, seg);
		lwr__publish_wait(p);
		return;
	}
	deliver(c, p->buf, n, seg);
	touch(p, c);
}

/* The largest datagram in fragments, or a train, fits the ring. */
static bool has_room(const struct lwr_link *link)
{
	return lwr__ring_room(&link->h2g) >= link->h2g.size / 4;
}

bool lwr__publish_udp_read(struct lwr_publish_port *port)
{
	struct lwr_publish *p = port->rule->publish;
	struct lwr_link *link = port->rule->link;
	struct lwr_sock_ends ends;
	uint16_t seg;
	ssize_t n;

	if (!has_room(link))
		lwr__stack_drain(link);
	for (int i = 0; i < BUDGET && has_room(link); i++) {
		n = lwr__sock_udp_take(port->watch.fd, p->buf, LWR_PUBLISH_BUF,
				       &seg, &ends);
		if (n == -EAGAIN)
			return false;
		if (n >= 0)
			input(port, &ends, (size_t)n, seg);
	}
	lwr__list_append(&p->ready, &port->todo);
	/* Else the link's own writable event starts the next tick. */
	return has_room(link);
}

/* ---- from the guest ------------------------------------------------------ */

bool lwr__publish_udp_input(struct lwr_publish *p, const struct lwr_pkt *pkt)
{
	uint16_t seg = lwr__udp_seg(pkt);
	struct lwr_demux_node *n;
	struct lwr_key key;
	struct client *c;
	ssize_t r;

	if (p->guests.count == 0)
		return false;
	lwr__stack_key(&key, pkt);
	n = lwr__demux_find(&p->guests, &key);
	if (!n)
		return false;
	c = LWR_CONTAINER(n, struct client, by_guest);
	r = lwr__sock_udp_answer(c->port->watch.fd,
				 pkt->data + pkt->l4 + UDP_HLEN,
				 pkt->l4_len - UDP_HLEN, seg, &c->ends);
	if (r < 0)
		pkt->link->stats.drop_memory++;
	c->bytes_g2h += pkt->l4_len - UDP_HLEN;
	touch(p, c);
	return true;
}

/* ---- for the user -------------------------------------------------------- */

static void info_of(const struct lwr_publish *p, const struct client *c,
		    struct lwr_flow_info *info)
{
	const struct lwr_key *k = &c->by_guest.key;
	struct lwr_dest client = address_of(c);

	*info = (struct lwr_flow_info){
		.id = c->id,
		.link = link_of(c)->number,
		.protocol = LWR_PROTO_UDP,
		.phase = LWR_PHASE_OPEN,
		.opened = LWR_H2G,
		.guest = lwr__endpoint(&k->guest, k->gport),
		.dest = lwr__endpoint(&k->host, k->hport),
		.host = lwr__endpoint(&client.addr, client.port),
		.bytes_g2h = c->bytes_g2h,
		.bytes_h2g = c->bytes_h2g,
		.age_ms = now_of(p) - c->opened_ms,
	};
}

bool lwr__publish_udp_next(const struct lwr_publish *p,
			   const struct lwr_link *link,
			   const struct lwr_list **at,
			   struct lwr_flow_info *info)
{
	const struct lwr_list *n = *at ? (*at)->next : p->udp_lru.next;
	const struct client *c;

	for (; n != &p->udp_lru; n = n->next) {
		c = LWR_CONTAINER(n, struct client, age);
		if (link_of(c) != link || c->state != OPEN)
			continue;
		*at = n;
		info_of(p, c, info);
		return true;
	}
	return false;
}

/* ---- life ---------------------------------------------------------------- */

int lwr__publish_udp_init(struct lwr_publish *p)
{
	int err;

	lwr__list_init(&p->udp_lru);
	p->buf = malloc(LWR_PUBLISH_BUF);
	if (!p->buf)
		return -ENOMEM;
	err = lwr__demux_init(&p->clients);
	if (err)
		goto err_undo_buf;
	err = lwr__demux_init(&p->guests);
	if (err)
		goto err_undo_clients;
	lwr__timer_init(p->stack->loop, &p->udp_timer, on_udp_timer);
	return 0;

err_undo_clients:
	lwr__demux_fini(&p->clients);
err_undo_buf:
	free(p->buf);
	return err;
}

void lwr__publish_udp_fini(struct lwr_publish *p)
{
	lwr__timer_stop(&p->udp_timer);
	lwr__timer_close(p->stack->loop, &p->udp_timer);
	lwr__demux_fini(&p->guests);
	lwr__demux_fini(&p->clients);
	free(p->buf);
}
