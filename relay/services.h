/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the relay answers itself: ARP and NDP, router advertisements, DHCPv4
 * and DHCPv6, echo to the gateway. Each input function returns true if the
 * packet was its own.
 */
#ifndef LWR_RELAY_SERVICES_H
#define LWR_RELAY_SERVICES_H

#include "core/list.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "platform/loop.h"
#include "relay/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_dns;

/* What is remembered of one link's guests. */
struct lwr_lan {
	struct lwr_list node; /* services->lans */
	struct lwr_link *link;
	struct lwr_pool pool4;
	struct lwr_pool pool6;
	bool solicited; /* a guest has asked for a router */
	uint64_t advertised_ms; /* the last one to all; 0: never */
	uint64_t next_ms; /* the next one to all */
	uint64_t defended_ms; /* our addresses, the last time; 0: never */
};

struct lwr_services {
	struct lwr_stack *stack;
	const struct lwr_dns *dns;
	bool ipv6; /* the host has IPv6: guests are given it */
	struct lwr_list lans;
	struct lwr_timer timer; /* of the earliest lan->next_ms */
	uint64_t key[2]; /* of identities' hashes */
};

void lwr__services_init(struct lwr_services *s, struct lwr_stack *stack,
			const struct lwr_dns *dns);
void lwr__services_fini(struct lwr_services *s);

/* The link's guest left: what it was given is given anew. */
void lwr__services_link_down(struct lwr_services *s,
			     const struct lwr_link *link);

/* Made when first asked for; NULL: no memory, counted. */
struct lwr_lan *lwr__services_lan(struct lwr_services *s,
				  struct lwr_link *link);

/* ARP (RFC 826) for the gateway's and the DNS address only. */
bool lwr__arp_input(struct lwr_services *s, const struct lwr_pkt *pkt);

/* Neighbour solicitations (RFC 4861 7.2.4) for the same, and DAD. */
bool lwr__ndp_input(struct lwr_services *s, const struct lwr_pkt *pkt);

/*
 * Asks the guest whether it has the address. The answer comes to
 * lwr__arp_input() or lwr__ndp_input(), which note it in link->guest.
 */
void lwr__neigh_ask(struct lwr_link *link, const struct lwr_addr *target);
/* The guest said that it has the address. */
void lwr__neigh_learn(struct lwr_link *link, const struct lwr_addr *a);

/* Router solicitations: an advertisement with prefix, MTU, RDNSS, DNSSL. */
bool lwr__ra_input(struct lwr_services *s, const struct lwr_pkt *pkt);

/* The host got IPv6 or lost it: guests are told. */
void lwr__ra_set_ipv6(struct lwr_services *s, bool ipv6);

/* What advertisements say has changed: guests are told. */
void lwr__ra_changed(struct lwr_services *s);

/* services->timer */
void lwr__ra_timer(struct lwr_timer *t);

/* DHCPv4 (RFC 2131) and BOOTP (RFC 951), the server's side. */
bool lwr__dhcp_input(struct lwr_services *s, const struct lwr_pkt *pkt);

/* DHCPv6 (RFC 8415), the server's side. */
bool lwr__dhcp6_input(struct lwr_services *s, const struct lwr_pkt *pkt);

/* ICMP and ICMPv6 echo to the relay's own addresses. */
bool lwr__icmp_input(const struct lwr_pkt *pkt);

#endif
