/* SPDX-License-Identifier: BSD-3-Clause */
/* What the relay is told at its start; constant while it runs. */
#ifndef LWR_CORE_CONFIG_H
#define LWR_CORE_CONFIG_H

#include "core/addr.h"
#include "platform/sock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LWR_DNS_MAX = 4,
	LWR_DNS_NAMES_MAX = 32,
	LWR_DOMAIN_MAX = 255,
	LWR_LEASES_MAX = 64,
	LWR_DNS_CACHE_MAX = 1000000,
	LWR_HOST_NAME_MAX = 63, /* RFC 1123 2.1: one label */
};

/* An address, of either family, that only one hardware address may have. */
struct lwr_lease {
	uint8_t mac[6];
	struct lwr_addr addr;
	char name[LWR_HOST_NAME_MAX + 1]; /* host name by DHCP; "": none */
};

/* What one guest may use of the relay; 0: the relay's own limits only. */
struct lwr_limits {
	uint32_t flows; /* TCP */
	uint32_t udp;
	uint32_t new_flows; /* a second, TCP and UDP; bursts of twice that */
	uint64_t buffer; /* bytes of payload */
};

enum { LWR_MTU_MIN = 1280, LWR_MTU_MAX = 65520 };

/* The network that a guest sees; one for each link, or one for all. */
struct lwr_net {
	uint16_t mtu; /* 0: the link's default */

	struct lwr_prefix subnet; /* IPv4 subnet of the guest */
	struct lwr_addr gateway; /* 10.0.2.2: router, alias of the host */
	struct lwr_addr dns; /* 10.0.2.3 */
	struct lwr_addr guest; /* 10.0.2.15: what DHCP gives */

	bool ipv6; /* false: the guest gets no IPv6 */
	struct lwr_prefix subnet6; /* a /64 */
	struct lwr_addr gateway6; /* fd00::2 */
	struct lwr_addr dns6; /* fd00::3 */
	struct lwr_addr guest6; /* fd00::15 */
	struct lwr_addr gateway6_ll; /* fe80::2 */

	uint8_t gateway_mac[6]; /* locally administered */

	bool host_loopback; /* the gateway's address reaches 127.0.0.1, ::1 */
	bool dns_intercept; /* queries to any address are answered here */

	struct lwr_lease lease[LWR_LEASES_MAX];
	unsigned leases;

	bool strict; /* the guest uses no address but `guest` and subnet6 */
	uint8_t guest_mac[6]; /* and this one, if not zero (RFC 2827) */
	struct lwr_limits limits;
};

/* A name that the relay answers for itself. */
struct lwr_dns_name {
	char name[LWR_DOMAIN_MAX + 1];
	struct lwr_addr addr;
};

struct lwr_config {
	struct lwr_net net; /* of links that have none of their own */

	uint32_t connect_timeout_ms;
	uint32_t keep_alive_s; /* silence before the first probe */
	uint32_t udp_timeout_s; /* of a flow that was heard from */
	bool udp_any; /* strangers may answer: --udp-filter any */
	uint32_t publish_wait_ms; /* for a guest that is not up yet */

	struct lwr_sock_from outbound; /* of sockets to remote hosts */

	uint32_t max_flows; /* TCP flows and connects in progress */
	uint32_t max_pending; /* connects and handshakes in progress */
	uint32_t max_udp; /* UDP flows */
	uint64_t max_buffer; /* bytes buffered for all flows together */

	uint32_t ring_size; /* frames in a link's h2g ring, a power of two */

	/* Resolvers given by --dns; none: the host's /etc/resolv.conf. */
	struct lwr_addr resolver[LWR_DNS_MAX];
	uint16_t resolver_port[LWR_DNS_MAX];
	unsigned resolvers;

	struct lwr_dns_name dns_name[LWR_DNS_NAMES_MAX];
	unsigned dns_names;
	uint32_t dns_cache; /* answers kept; 0: none */
};

/* Fills in the defaults. */
void lwr__config_init(struct lwr_config *c);

/* Places gateway, DNS and guest in a new subnet as the defaults do. */
int lwr__net_subnet(struct lwr_net *net, const struct lwr_prefix *p);
int lwr__net_subnet6(struct lwr_net *net, const struct lwr_prefix *p);

/* Some guest may have it: in the network, not the relay's, not all of it. */
bool lwr__net_leasable(const struct lwr_net *net, const struct lwr_addr *a);

/* The lease of an address, or NULL. */
const struct lwr_lease *lwr__net_lease(const struct lwr_net *net,
				       const struct lwr_addr *a);

/*
 * Adds a lease. Returns 0, -EINVAL for an address that no guest of the network
 * can have, -EEXIST if it or one of its family for this hardware address was
 * given already, -ENOSPC.
 */
int lwr__net_add_lease(struct lwr_net *net, const struct lwr_lease *lease);

/*
 * Adds a resolver, as lwr__endpoint_parse() takes it; port 53 by default.
 * Returns 0, -EINVAL, or -ENOSPC: LWR_DNS_MAX are there.
 */
int lwr__config_resolver(struct lwr_config *c, const char *text);

#endif
