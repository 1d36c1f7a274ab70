/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams relayed by flow: UDP, one host socket for each guest address and
 * port; ICMP echo, one for each guest address and identifier.
 */
#ifndef LWR_RELAY_UDP_H
#define LWR_RELAY_UDP_H

#include "core/demux.h"
#include "core/list.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "platform/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_sock_reader;
struct lwr_udp_out;

struct lwr_flow_info;
struct lwr_hook_set;
struct lwr_udp_flow;

/* How long a flow may be idle. */
enum lwr_udp_class {
	LWR_UDP_ONE_WAY, /* only the guest has spoken */
	LWR_UDP_ANSWERED, /* only DNS queries so far, the last one answered */
	LWR_UDP_STREAM, /* both have */
	LWR_UDP_CLASSES,
};

struct lwr_udp {
	struct lwr_stack *stack;
	struct lwr_hook_set *hooks; /* NULL: none */
	bool echo; /* its flows are of ICMP echo */
	bool warned; /* that the host forbids echo sockets */
	uint32_t limit; /* flows */
	struct lwr_demux flows; /* key: link, guest address and port */
	struct lwr_demux peers; /* the same with a host's address and port */
	struct lwr_list age[LWR_UDP_CLASSES]; /* longest unused first */
	struct lwr_list ready; /* flows with datagrams left to read */
	struct lwr_list dead; /* freed at the end of the tick */
	struct lwr_timer timer; /* next expiry; stopped without flows */
	struct lwr_sock_reader *reader;
	struct lwr_udp_out *out; /* datagrams of this tick for the host */
	struct lwr_list held; /* copies that a loopback may still refuse */
	size_t held_bytes;
	unsigned n_held;
};

/* Returns 0 or -ENOMEM. */
int lwr__udp_init(struct lwr_udp *u, struct lwr_stack *stack);
int lwr__ping_init(struct lwr_udp *u, struct lwr_stack *stack);
/* Ends all flows; not from within a watch's on_event. */
void lwr__udp_fini(struct lwr_udp *u);

/* Payload bytes of each datagram of a train; 0: it is one datagram. */
uint16_t lwr__udp_seg(const struct lwr_pkt *pkt);

/* A valid UDP packet of a guest that no service took. */
void lwr__udp_input(struct lwr_udp *u, const struct lwr_pkt *pkt);

/* A valid ICMP or ICMPv6 packet. Returns true if it was an echo request. */
bool lwr__ping_input(struct lwr_udp *u, const struct lwr_pkt *pkt);

/* What the public header tells of a flow. */
void lwr__udp_info(const struct lwr_udp_flow *f, struct lwr_flow_info *info);

/* Once a tick: sends, reads ready flows, reaps. True: work is left. */
bool lwr__udp_tick(struct lwr_udp *u);

/* Ends the flows of a link. */
void lwr__udp_link_down(struct lwr_udp *u, const struct lwr_link *link);

#endif
