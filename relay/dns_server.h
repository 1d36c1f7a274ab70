/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DNS that guests see: names of its own, a cache, and the host's resolvers
 * behind it. The lower half is between dns_server.c and dns_tcp.c.
 */
#ifndef LWR_RELAY_DNS_SERVER_H
#define LWR_RELAY_DNS_SERVER_H

#include "core/link.h"
#include "core/list.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "platform/loop.h"
#include "relay/dns.h"
#include "relay/dns_cache.h"
#include "relay/dns_upstream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lwr_dns_server {
	struct lwr_stack *stack;
	struct lwr_dns *dns;
	struct lwr_dns_cache cache;
	struct lwr_dns_upstream up;
	struct lwr_list asked; /* queries that wait for a resolver */
	struct lwr_list waiting; /* answers for links by UDP, not sent yet */
	struct lwr_list answered; /* of those, left in this tick */
	struct lwr_list conns; /* of guests over TCP, longest idle first */
	struct lwr_list ready; /* of those, to look at in this tick */
	struct lwr_list dead; /* of those, freed at the end of the tick */
	struct lwr_timer idle; /* of the first of conns */
	uint8_t *buf; /* one answer while it is made */
};

/* Returns 0 or -ENOMEM. */
int lwr__dns_server_init(struct lwr_dns_server *s, struct lwr_stack *stack,
			 struct lwr_dns *dns);
/* Every link must be down. */
void lwr__dns_server_fini(struct lwr_dns_server *s);

/* A UDP packet of a guest. True: it was a query, and is taken care of. */
bool lwr__dns_server_input(struct lwr_dns_server *s, const struct lwr_pkt *pkt);

/*
 * A TCP connection of a guest on the link. Returns a connected socket, taken by
 * the caller, whose other end answers; or -errno.
 */
int lwr__dns_tcp_open(struct lwr_dns_server *s, struct lwr_link *link);

/* Once a tick, before flows move bytes. True: work is left. */
bool lwr__dns_server_tick(struct lwr_dns_server *s);

/* Forgets the queries and connections of a link. */
void lwr__dns_server_link_down(struct lwr_dns_server *s,
			       const struct lwr_link *link);

/* ---- for dns_tcp.c ------------------------------------------------------- */

struct lwr_dns_conn;

/* A query, from its arrival until its answer is on its way. */
struct lwr_dns_ask {
	struct lwr_dns_wait wait;
	struct lwr_list node; /* server->asked, ->waiting or ->answered */
	struct lwr_dns_server *server;
	struct lwr_link *link;
	struct lwr_dns_conn *conn; /* NULL: it came by UDP */
	struct lwr_addr guest; /* UDP: who asked */
	struct lwr_addr local; /* UDP: whom the guest asked */
	uint16_t gport;
	uint16_t lport;
	struct pbuf *answer; /* UDP: when it is there */
	bool any_size; /* UDP: as large as the resolver sent it */
	struct lwr_dns_query q;
	uint8_t question[LWR_DNS_QUESTION_MAX];
};

/* Answers the query msg of `from`, a draft whose q is not filled; now or later. */
void lwr__dns_serve(struct lwr_dns_server *s, const struct lwr_dns_ask *from,
		    const uint8_t *msg, size_t len);

/* Frees an ask that is on server->asked. */
void lwr__dns_forget(struct lwr_dns_ask *a);

/* The answer to a query of the conn. */
void lwr__dns_tcp_answer(struct lwr_dns_conn *c, const uint8_t *msg,
			 size_t len);
/* It has one query more in progress. */
void lwr__dns_tcp_asked(struct lwr_dns_conn *c);
void lwr__dns_tcp_tick(struct lwr_dns_server *s);
void lwr__dns_tcp_reap(struct lwr_dns_server *s);
void lwr__dns_tcp_link_down(struct lwr_dns_server *s,
			    const struct lwr_link *link);
void lwr__dns_tcp_init(struct lwr_dns_server *s);
void lwr__dns_tcp_fini(struct lwr_dns_server *s);

#endif
