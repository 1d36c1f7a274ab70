/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the relay answers itself: ARP and NDP, router advertisements, DHCPv4,
 * echo to the gateway. Each returns true if the packet was its own.
 */
#ifndef LWR_RELAY_SERVICES_H
#define LWR_RELAY_SERVICES_H

#include "core/pkt.h"
#include "core/stack.h"

struct lwr_dns;

/* ARP (RFC 826) for the gateway's and the DNS address only. */
bool lwr__arp_input(const struct lwr_pkt *pkt);

/* Neighbour solicitations (RFC 4861 7.2.4) for the same, and DAD. */
bool lwr__ndp_input(const struct lwr_pkt *pkt);

/* Router solicitations: an advertisement with prefix, MTU, RDNSS, DNSSL. */
bool lwr__ra_input(const struct lwr_dns *dns, const struct lwr_pkt *pkt);

/* DHCPv4 (RFC 2131), the server's side for one guest on the link. */
bool lwr__dhcp_input(const struct lwr_dns *dns, const struct lwr_pkt *pkt);

/* ICMP and ICMPv6 echo to the relay's own addresses. */
bool lwr__icmp_input(const struct lwr_pkt *pkt);

#endif
