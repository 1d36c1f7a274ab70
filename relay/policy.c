/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest chooses every byte of a destination, and the host's sockets give
 * some of them a meaning that a network never would: 0.0.0.0 and :: connect
 * to the host itself, fe80:: needs an interface, 169.254.169.254 hands out
 * credentials. So the order is: the relay's own addresses first, each with its
 * one meaning; then everything that is not a plain unicast address of a remote
 * host is denied; only what is left goes to the host's routing table.
 *
 * An IPv4-mapped address is IPv4 here (core/addr.h), whichever family it came
 * in, and is judged as such. Its older relatives, IPv4-compatible ::a.b.c.d
 * (RFC 4291 2.5.5.1) and IPv4-translated ::ffff:0:a.b.c.d (RFC 2765 2.1), mean
 * nothing to a host and are denied, and ::1 and :: with them.
 */
#include "relay/policy.h"

#include <errno.h>
#include <string.h>

enum { DNS_PORT = 53, PREFIX_BITS = 128 };

static const uint8_t loopback4[4] = { 127, 0, 0, 1 };
static const uint8_t loopback6[16] = { [15] = 1 };

bool lwr__policy_is_gateway(const struct lwr_net *net, const struct lwr_addr *a)
{
	if (lwr__addr_is4(a))
		return lwr__addr_equal(a, &net->gateway);
	return lwr__addr_equal(a, &net->gateway6) ||
	       lwr__addr_equal(a, &net->gateway6_ll);
}

static bool is_dns(const struct lwr_net *net, const struct lwr_addr *a)
{
	return lwr__addr_equal(a, lwr__addr_is4(a) ? &net->dns : &net->dns6);
}

/* The first or last address of the IPv4 subnet (RFC 1812 4.2.3.1). */
static bool is_subnet_broadcast(const struct lwr_net *net,
				const struct lwr_addr *a)
{
	uint32_t mask, host;

	if (!lwr__addr_in(a, &net->subnet) || net->subnet.len > PREFIX_BITS - 2)
		return false;
	mask = (1u << (PREFIX_BITS - net->subnet.len)) - 1;
	host = lwr__addr_v4(a) & mask;
	return host == 0 || host == mask;
}

/* A remote host may have this address, as far as the address tells. */
static bool is_remote4(const struct lwr_addr *a)
{
	return a->b[12] != 0; /* "this network", RFC 1122 3.2.1.3 */
}

static bool is_remote6(const struct lwr_addr *a)
{
	static const uint8_t zero[12];
	static const uint8_t translated[12] = { [8] = 0xff, [9] = 0xff };

	return memcmp(a->b, zero, sizeof(zero)) != 0 &&
	       memcmp(a->b, translated, sizeof(translated)) != 0;
}

static bool is_remote(const struct lwr_net *net, const struct lwr_addr *a)
{
	if (lwr__addr_is_multicast(a) || lwr__addr_is_loopback(a) ||
	    lwr__addr_is_linklocal(a))
		return false;
	if (lwr__addr_is4(a))
		return is_remote4(a) && !lwr__addr_in(a, &net->subnet);
	return is_remote6(a) && !lwr__addr_in(a, &net->subnet6);
}

static enum lwr_verdict dest_gateway(const struct lwr_net *net,
				     const struct lwr_dest *guest,
				     struct lwr_dest *host)
{
	if (!net->host_loopback)
		return LWR_REFUSE;
	host->addr = lwr__addr_is4(&guest->addr) ? lwr__addr_from4(loopback4) :
						   lwr__addr_from16(loopback6);
	host->port = guest->port;
	return LWR_ALLOW;
}

enum lwr_verdict lwr__policy_dest(const struct lwr_net *net,
				  const struct lwr_dest *guest,
				  struct lwr_dest *host)
{
	const struct lwr_addr *a = &guest->addr;

	if (!net->ipv6 && !lwr__addr_is4(a))
		return LWR_DENY;
	if (lwr__policy_is_gateway(net, a) && guest->port != 0)
		return dest_gateway(net, guest, host);
	if (lwr__policy_is_local(net, a))
		return LWR_REFUSE;
	if (!is_remote(net, a))
		return LWR_DENY;
	if (guest->port == 0)
		return LWR_REFUSE;
	*host = *guest;
	return LWR_ALLOW;
}

bool lwr__policy_is_query(const struct lwr_net *net,
			  const struct lwr_dest *guest)
{
	const struct lwr_addr *a = &guest->addr;

	if (guest->port != DNS_PORT || (!net->ipv6 && !lwr__addr_is4(a)))
		return false;
	return is_dns(net, a) ||
	       (net->dns_intercept &&
		(lwr__policy_is_gateway(net, a) || is_remote(net, a)));
}

bool lwr__policy_other_loopback(const struct lwr_net *net,
				const struct lwr_dest *guest,
				struct lwr_dest *host)
{
	if (!net->host_loopback || !lwr__policy_is_gateway(net, &guest->addr))
		return false;
	host->addr = lwr__addr_is4(&guest->addr) ? lwr__addr_from16(loopback6) :
						   lwr__addr_from4(loopback4);
	host->port = guest->port;
	return true;
}

bool lwr__policy_nobody(int err)
{
	return err == -ECONNREFUSED || err == -EADDRNOTAVAIL ||
	       err == -ENETUNREACH || err == -EAFNOSUPPORT;
}

static bool source4(const struct lwr_net *net, const struct lwr_addr *src)
{
	if (net->strict)
		return lwr__addr_equal(src, &net->guest);
	return lwr__addr_in(src, &net->subnet) &&
	       !is_subnet_broadcast(net, src);
}

static bool source6(const struct lwr_net *net, const struct lwr_addr *src)
{
	return net->ipv6 && (lwr__addr_in(src, &net->subnet6) ||
			     lwr__addr_is_linklocal(src));
}

bool lwr__policy_source(const struct lwr_net *net, const struct lwr_addr *src)
{
	if (lwr__addr_is_any(src))
		return net->ipv6 || lwr__addr_is4(src);
	if (lwr__policy_is_local(net, src))
		return false;
	return lwr__addr_is4(src) ? source4(net, src) : source6(net, src);
}

bool lwr__policy_client(const struct lwr_net *net, const struct lwr_addr *a)
{
	return (net->ipv6 || lwr__addr_is4(a)) && is_remote(net, a);
}

bool lwr__policy_router(const struct lwr_net *net, const struct lwr_addr *a,
			bool four)
{
	return lwr__addr_is4(a) == four && !lwr__addr_is_any(a) &&
	       !lwr__addr_is_loopback(a) && !lwr__addr_is_multicast(a) &&
	       !lwr__addr_in(a, four ? &net->subnet : &net->subnet6);
}

bool lwr__policy_is_local(const struct lwr_net *net, const struct lwr_addr *a)
{
	if (!net->ipv6 && !lwr__addr_is4(a))
		return false;
	return lwr__policy_is_gateway(net, a) || is_dns(net, a);
}
