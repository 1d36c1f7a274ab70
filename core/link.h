/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link: where a guest's frames come from and go to, or those of several guests
 * behind a bridge. What a link can do is
 * said in its capability fields; nobody above asks what kind it is.
 */
#ifndef LWR_CORE_LINK_H
#define LWR_CORE_LINK_H

#include "core/config.h"
#include "core/list.h"
#include "core/neighbour.h"
#include "core/ring.h"
#include "core/share.h"
#include "core/stats.h"
#include "lwip/netif.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_link;
struct lwr_stack;

struct lwr_link_caps {
	uint16_t mtu; /* IP bytes of a packet on the guest's wire */
	/*
	 * Largest frame the guest may hand over. Beyond 65,535 bytes, what a
	 * pbuf holds, it is dropped and counted; beyond this it is a fault.
	 */
	uint32_t max_frame;
	bool csum_g2h_trust; /* frames without a mark need no verification */
	bool csum_h2g_offload; /* the far side fills L4 checksums */
	bool gso_h2g; /* frames larger than the MTU are cut by the link */
	bool uso_h2g; /* the same for UDP */
	uint32_t flight; /* payload bytes best in flight h2g; 0: the usual */
	uint32_t window; /* receive windows grow to this; 0: the usual */
};

/* What is said of a link when it is made. */
struct lwr_link_setup {
	const char *name;
	const struct lwr_net *net; /* borrowed while the link lives */
	uint16_t mtu; /* 0: the link's default */
	uint32_t max_frame; /* 0: the link's default */
	bool csum_g2h_trust;
};

struct lwr_link_ops {
	/*
	 * The h2g ring holds frames: hand over as many as the far side takes
	 * and lwr__ring_pop() those. What is left stays for the link's own
	 * writable event, which calls lwr__stack_drain(link).
	 */
	void (*drain)(struct lwr_link *link);
	/* Starts closing; the owner of the link frees it when that is done. */
	void (*close)(struct lwr_link *link);
	/*
	 * NULL, or: puts frames back that the far side has taken. lwIP does not
	 * retransmit a segment while somebody refers to it.
	 */
	void (*reclaim)(struct lwr_link *link);
};

/* Flows of datagrams of one link. */
struct lwr_link_flows {
	struct lwr_list lru; /* longest unused first */
	uint32_t count;
};

/* An address that the guest has used, as ARP or NDP told. */
struct lwr_guest_addr {
	struct lwr_addr addr;
	bool known;
	bool absent; /* asked for, and nobody answered */
	uint64_t asked_ms; /* when last; 0: never */
};

struct lwr_link {
	const struct lwr_link_ops *ops;
	struct lwr_link_caps caps;
	struct lwr_stack *stack;
	const struct lwr_net *net; /* borrowed; NULL: the relay's own */
	bool listens; /* after on_gone, the next guest may come */
	/* The guest left: 0, or the -errno that ended it. May remove the link. */
	void (*on_gone)(struct lwr_link *link, int err);
	void *owner; /* of on_gone */
	char name[64]; /* for logs: as given to --link */
	struct lwr_ring h2g;
	struct lwr_list pending; /* on stack->drain while the ring has frames */
	struct lwr_list blocked; /* conns that found the ring full */
	struct lwr_list conns; /* TCP connections of this guest */
	struct {
		struct lwr_list sets; /* incomplete packets, oldest first */
		uint32_t count;
		size_t bytes; /* their memory */
	} frags; /* core/reass.c */
	struct lwr_link_flows udp; /* relay/udp_flow.c */
	struct lwr_link_flows echo;
	struct lwr_list node; /* on stack->links */
	struct netif netif; /* lwIP's view of the link */
	struct lwr_neighbours neighbours; /* where the guests are */
	struct lwr_guest_addr guest[2]; /* IPv4, IPv6 */
	bool up;
	uint32_t id; /* of the guest, never used again within one stack */
	uint32_t number; /* of the link, for its user; never 0 or used again */
	uint64_t tokens; /* new flows, in thousandths */
	uint64_t tokens_ms; /* when they were last counted */
	struct lwr_share share;
	uint64_t buffered; /* payload bytes of its flows, both ways, */
	uint64_t flight; /* of which so many in chunks, h2g */
	uint32_t senders; /* conns that ACKs were due for; a tap starts it anew */
	uint64_t promised; /* bytes that its receive windows have grown */
	uint32_t next_ip_id; /* identification of packets sent */
	uint32_t icmp_spent; /* errors sent and not yet forgiven, */
	uint64_t icmp_ms; /* as of then: core/stack_icmp.c */
	struct lwr_stats stats;
};

/*
 * Takes one of the new flows that the link may open now; always true where it
 * has no limit.
 */
bool lwr__link_may_open(struct lwr_link *link, uint64_t now_ms);

#endif
