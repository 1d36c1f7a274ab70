/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP flows and the peers that they may hear from: between relay/udp*.c. */
#ifndef LWR_RELAY_UDP_FLOW_H
#define LWR_RELAY_UDP_FLOW_H

#include "core/demux.h"
#include "core/list.h"
#include "core/stack.h"
#include "platform/loop.h"
#include "relay/policy.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_link;
struct lwr_udp;
struct lwr_udp_flow;

enum {
	LWR_UDP_BUF = 65536, /* bytes of u->buf */
	LWR_UDP_PEERS_MAX = 1024, /* of one flow */
	LWR_UDP_PEERS_SHARE = 4, /* of all flows, times config.max_udp */
};

/* A host destination that the guest has written to on this flow. */
struct lwr_udp_peer {
	struct lwr_demux_node demux; /* u->peers; key.host, hport: the host's */
	struct lwr_list node; /* flow->peers, oldest first */
	struct lwr_udp_flow *flow;
	struct lwr_dest guest; /* the same as the guest wrote it */
};

struct lwr_udp_sock {
	struct lwr_watch watch; /* fd -1: not opened */
	struct lwr_udp_flow *flow;
	bool readable; /* until EAGAIN */
	bool failed; /* reports wait in its error queue, until EAGAIN */
};

/* How long it may be idle, and on which list it waits for that. */
enum lwr_udp_kind {
	LWR_UDP_ASKED, /* only DNS queries so far, the last one unanswered */
	LWR_UDP_ANSWERED, /* the same, answered */
	LWR_UDP_STREAM, /* anything else */
};

struct lwr_udp_flow {
	struct lwr_demux_node demux; /* u->flows; key.guest, gport */
	struct lwr_list age; /* u->lru or u->answered */
	struct lwr_list todo; /* u->ready or u->dead */
	struct lwr_udp *udp;
	struct lwr_link *link;
	uint64_t used_ms;
	enum lwr_udp_kind kind;
	bool dead;
	struct lwr_udp_sock sock[2]; /* IPv4, IPv6 */
	struct lwr_list peers;
	uint32_t n_peers;
	struct lwr_udp_peer first; /* one that no limit can deny */
};

struct lwr_udp_flow *lwr__udp_flow_find(struct lwr_udp *u,
					const struct lwr_link *link,
					const struct lwr_dest *guest);

/* Evicts the flow longest unused at the limit. NULL: no memory. */
struct lwr_udp_flow *lwr__udp_flow_new(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest);

/* Notes traffic: the flow is the last to expire of its kind. */
void lwr__udp_flow_touch(struct lwr_udp_flow *f, enum lwr_udp_kind kind);

/* Takes it out of every table and closes its sockets; freed by the reaper. */
void lwr__udp_flow_kill(struct lwr_udp_flow *f);

/* Kills the one longest unused. False: there is none. */
bool lwr__udp_flow_evict(struct lwr_udp *u);

/* Kills what was idle too long, starts the timer for what expires next. */
void lwr__udp_flow_expire(struct lwr_udp *u);

/* NULL: the guest has not written there, or too long ago. */
struct lwr_udp_peer *lwr__udp_peer_find(struct lwr_udp_flow *f,
					const struct lwr_dest *host);

/* Remembers a destination; the flow's oldest is forgotten at a limit. */
void lwr__udp_peer_note(struct lwr_udp_flow *f, const struct lwr_dest *host,
			const struct lwr_dest *guest);

/* relay/udp_host.c: watch.on_event of every socket. */
void lwr__udp_host_event(struct lwr_watch *w, uint32_t events);

/* Reads ready flows. Returns true if some are left that can be read. */
bool lwr__udp_host_read(struct lwr_udp *u);

/* What an errno of sending means. False: nothing that a guest is told. */
bool lwr__udp_host_why(int err, enum lwr_unreach *why);

#endif
