/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP relayed by flow: one host socket for each guest address and port. */
#ifndef LWR_RELAY_UDP_H
#define LWR_RELAY_UDP_H

#include "core/demux.h"
#include "core/list.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "platform/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_udp {
	struct lwr_stack *stack;
	struct lwr_demux flows; /* key: link, guest address and port */
	struct lwr_demux peers; /* the same with a host's address and port */
	struct lwr_list lru; /* flows, longest unused first */
	struct lwr_list answered; /* of those, DNS queries with an answer */
	struct lwr_list ready; /* flows with datagrams left to read */
	struct lwr_list dead; /* freed at the end of the tick */
	struct lwr_timer timer; /* next expiry; stopped without flows */
	uint8_t *buf; /* one datagram, or one train of them */
};

/* Returns 0 or -ENOMEM. */
int lwr__udp_init(struct lwr_udp *u, struct lwr_stack *stack);
/* Ends all flows; not from within a watch's on_event. */
void lwr__udp_fini(struct lwr_udp *u);

/* A valid UDP packet of a guest that no service took. */
void lwr__udp_input(struct lwr_udp *u, const struct lwr_pkt *pkt);

/* Once a tick: reads ready flows, reaps. True: work is left. */
bool lwr__udp_tick(struct lwr_udp *u);

/* Ends the flows of a link. */
void lwr__udp_link_down(struct lwr_udp *u, const struct lwr_link *link);

#endif
