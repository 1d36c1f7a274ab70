/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a guest's packet may go, and which host address that means. */
#ifndef LWR_RELAY_POLICY_H
#define LWR_RELAY_POLICY_H

#include "core/addr.h"
#include "core/config.h"
#include "relay/lwrelay.h"

#include <stdbool.h>
#include <stdint.h>

/* A destination as the guest wrote it, and as the host is asked for it. */
struct lwr_dest {
	struct lwr_addr addr;
	uint16_t port;
};

/*
 * Decides on a TCP or UDP destination. The gateway's address means the host's
 * loopback, if opened.
 * Multicast, broadcast, unspecified, loopback and link-local destinations and
 * the metadata address 169.254.169.254 are denied. Returns LWR_ALLOW and *host,
 * LWR_DENY, or LWR_REFUSE: a port of the gateway itself where nothing listens.
 */
enum lwr_verdict lwr__policy_dest(const struct lwr_net *net,
				  const struct lwr_dest *guest,
				  struct lwr_dest *host);

/*
 * A DNS query, which the relay answers itself (relay/dns_server.h): port 53 of
 * the DNS address, or of any with dns_intercept.
 */
bool lwr__policy_is_query(const struct lwr_net *net,
			  const struct lwr_dest *guest);

/* A source that a guest may use: its own subnet, or not yet configured. */
bool lwr__policy_source(const struct lwr_net *net, const struct lwr_addr *src);

static inline bool lwr__dest_equal(const struct lwr_dest *a,
				   const struct lwr_dest *b)
{
	return a->port == b->port && lwr__addr_equal(&a->addr, &b->addr);
}

/*
 * The second meaning of the gateway's address where it means the loopback: the
 * loopback of the other family. False: `guest` is no such destination.
 */
bool lwr__policy_other_loopback(const struct lwr_net *net,
				const struct lwr_dest *guest,
				struct lwr_dest *host);

/*
 * A loopback that failed of this -errno has nobody who listens: it refuses, or
 * the host has none of that family. The other one is worth a try.
 */
bool lwr__policy_nobody(int err);

/* A router behind the gateway, as whose word the guest may be told an error. */
bool lwr__policy_router(const struct lwr_net *net, const struct lwr_addr *a,
			bool four);

/* True for an address of the gateway itself. */
bool lwr__policy_is_gateway(const struct lwr_net *net,
			    const struct lwr_addr *a);

/*
 * A client of the host whose address the guest may be shown: a remote host, as
 * far as the guest can tell.
 */
bool lwr__policy_client(const struct lwr_net *net, const struct lwr_addr *a);

/* An address that the relay itself answers ARP, NDP and echo for. */
bool lwr__policy_is_local(const struct lwr_net *net, const struct lwr_addr *a);

#endif
