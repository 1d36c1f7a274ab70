/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/config.h"

#include <errno.h>

enum {
	HOST_GATEWAY = 2,
	HOST_DNS = 3,
	HOST_GUEST = 15,
	HOST_GUEST_SMALL = 4, /* where the subnet ends before .15 */
	PREFIX4 = 96, /* bits of ::ffff:0:0/96 */
	SMALLEST4 = PREFIX4 + 29,
	LARGEST4 = PREFIX4 + 8,
	LAST_WITH_15 = PREFIX4 + 27,
	PREFIX6 = 64,
};

static const uint8_t net4[4] = { 10, 0, 2, 0 };
static const uint8_t net6[16] = { 0xfd };
static const uint8_t gateway_ll[16] = { 0xfe, 0x80, [15] = 2 };
static const uint8_t mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

static struct lwr_addr host_in(const struct lwr_addr *net, uint8_t host)
{
	struct lwr_addr a = *net;

	a.b[15] = (uint8_t)(a.b[15] | host);
	return a;
}

/* A network whose addresses mean something else to every kernel. */
static bool is_special(const struct lwr_addr *net)
{
	return lwr__addr_is_loopback(net) || lwr__addr_is_multicast(net) ||
	       lwr__addr_is_linklocal(net) || lwr__addr_is_any(net);
}

int lwr__net_subnet(struct lwr_net *net, const struct lwr_prefix *p)
{
	bool small = p->len > LAST_WITH_15;

	if (!lwr__addr_is4(&p->net) || p->len < LARGEST4 ||
	    p->len > SMALLEST4 || is_special(&p->net))
		return -EINVAL;
	net->subnet = *p;
	net->gateway = host_in(&p->net, HOST_GATEWAY);
	net->dns = host_in(&p->net, HOST_DNS);
	net->guest = host_in(&p->net, small ? HOST_GUEST_SMALL : HOST_GUEST);
	return 0;
}

int lwr__net_subnet6(struct lwr_net *net, const struct lwr_prefix *p)
{
	if (lwr__addr_is4(&p->net) || p->len != PREFIX6 || is_special(&p->net))
		return -EINVAL;
	net->subnet6 = *p;
	net->gateway6 = host_in(&p->net, HOST_GATEWAY);
	net->dns6 = host_in(&p->net, HOST_DNS);
	net->guest6 = host_in(&p->net, 0x15); /* reads as fd00::15 */
	return 0;
}

const struct lwr_lease *lwr__net_lease(const struct lwr_net *net,
				       const struct lwr_addr *a)
{
	for (unsigned i = 0; i < net->leases; i++)
		if (lwr__addr_equal(&net->lease[i].addr, a))
			return &net->lease[i];
	return NULL;
}

bool lwr__net_leasable(const struct lwr_net *net, const struct lwr_addr *a)
{
	uint32_t mask, host;

	if (lwr__addr_equal(a, &net->gateway) ||
	    lwr__addr_equal(a, &net->gateway6) ||
	    lwr__addr_equal(a, &net->dns) || lwr__addr_equal(a, &net->dns6))
		return false;
	if (!lwr__addr_is4(a))
		return lwr__addr_in(a, &net->subnet6) &&
		       !lwr__addr_equal(a, &net->subnet6.net);
	mask = (1u << (128 - net->subnet.len)) - 1;
	host = lwr__addr_v4(a) & mask;
	return lwr__addr_in(a, &net->subnet) && host != 0 && host != mask;
}

int lwr__net_add_lease(struct lwr_net *net, const struct lwr_lease *lease)
{
	bool four = lwr__addr_is4(&lease->addr);

	if (!lwr__net_leasable(net, &lease->addr) || (lease->mac[0] & 1))
		return -EINVAL;
	for (unsigned i = 0; i < net->leases; i++) {
		const struct lwr_lease *l = &net->lease[i];

		if (lwr__addr_equal(&l->addr, &lease->addr) ||
		    (memcmp(l->mac, lease->mac, sizeof(l->mac)) == 0 &&
		     lwr__addr_is4(&l->addr) == four))
			return -EEXIST;
	}
	if (net->leases == LWR_LEASES_MAX)
		return -ENOSPC;
	net->lease[net->leases++] = *lease;
	return 0;
}

void lwr__config_init(struct lwr_config *c)
{
	struct lwr_prefix p4 = { lwr__addr_from4(net4), PREFIX4 + 24 };
	struct lwr_prefix p6 = { lwr__addr_from16(net6), PREFIX6 };

	*c = (struct lwr_config){
		.net.ipv6 = true,
		.net.gateway6_ll = lwr__addr_from16(gateway_ll),
		.connect_timeout_ms = 10000,
		.keep_alive_s = 120,
		.udp_timeout_s = 180,
		.publish_wait_ms = 2000,
		.max_flows = 100000,
		.max_pending = 4096,
		.max_udp = 4096,
		.max_buffer = 1ull << 30,
		.ring_size = 1024,
		.dns_cache = 1024,
	};
	memcpy(c->net.gateway_mac, mac, sizeof(mac));
	lwr__net_subnet(&c->net, &p4);
	lwr__net_subnet6(&c->net, &p6);
}

int lwr__config_resolver(struct lwr_config *c, const char *text)
{
	uint16_t port = 53;
	struct lwr_addr a;

	if (c->resolvers == LWR_DNS_MAX)
		return -ENOSPC;
	if (lwr__endpoint_parse(text, &a, &port) < 0 || lwr__addr_is_any(&a) ||
	    lwr__addr_is_multicast(&a))
		return -EINVAL;
	c->resolver[c->resolvers] = a;
	c->resolver_port[c->resolvers++] = port;
	return 0;
}
