/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP flows: a guest's connection on one side, a host socket on the other. */
#ifndef LWR_RELAY_TCP_H
#define LWR_RELAY_TCP_H

#include "core/buf.h"
#include "core/list.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "platform/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_dns_server;
struct lwr_flow;
struct lwr_flow_info;
struct lwr_hook_set;

struct lwr_service;

struct lwr_tcp {
	struct lwr_stack *stack;
	struct lwr_dns_server *dns; /* answers what goes to it */
	struct lwr_hook_set *hooks;
	const struct lwr_service *services; /* borrowed; ends with port 0 */
	struct lwr_chunk_pool chunks; /* payload on its way to guests */
	uint64_t queued; /* payload bytes on their way to hosts */
	struct lwr_list ready; /* flows to look at before the tick ends */
	struct lwr_list bulk; /* those of them that come last */
	struct lwr_list pending; /* connects, oldest first */
	struct lwr_list alive; /* established, next keep-alive check first */
	struct lwr_list dead; /* freed when the tick ends */
	struct lwr_timer pending_timer;
	struct lwr_timer alive_timer;
	uint32_t flows; /* pending and established */
	uint32_t connects; /* of those, not established yet */
	uint64_t limit_logged_ms; /* when a limit was last logged; 0: never */
};

int lwr__tcp_init(struct lwr_tcp *t, struct lwr_stack *stack,
		  struct lwr_dns_server *dns, struct lwr_hook_set *hooks);
/* Every flow must be gone: remove the links before. */
void lwr__tcp_fini(struct lwr_tcp *t);

/* The stack's hooks of the same names. */
void lwr__tcp_on_syn(struct lwr_tcp *t, const struct lwr_pkt *pkt);
/* True: the packet is a new SYN after all, and its old flow is gone. */
bool lwr__tcp_on_early(struct lwr_tcp *t, struct lwr_conn *c,
		       const struct lwr_pkt *pkt, bool rst);
void lwr__tcp_on_open(struct lwr_tcp *t, struct lwr_conn *c);
void lwr__tcp_on_data(struct lwr_tcp *t, struct lwr_conn *c, struct pbuf *p);
void lwr__tcp_on_acked(struct lwr_tcp *t, struct lwr_conn *c, uint32_t n);
void lwr__tcp_on_writable(struct lwr_tcp *t, struct lwr_conn *c);
void lwr__tcp_on_end(struct lwr_tcp *t, struct lwr_conn *c,
		     enum lwr_conn_end end);
void lwr__tcp_link_down(struct lwr_tcp *t, struct lwr_link *link);

/* What the public header tells of a connection of a link. */
void lwr__tcp_info(const struct lwr_conn *c, struct lwr_flow_info *info);

/* Whether every guest has ended, and the hosts have all of its bytes. */
bool lwr__tcp_drained(const struct lwr_tcp *t);

/* Once a tick: serves the ready flows that have little to do. */
void lwr__tcp_tick(struct lwr_tcp *t);

/* Then the others, when the rings were drained of what is there already. */
void lwr__tcp_bulk(struct lwr_tcp *t);
/* After the rings were drained: frees dead flows. True: work is left. */
bool lwr__tcp_reap(struct lwr_tcp *t);

#endif
