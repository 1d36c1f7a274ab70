/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Router advertisements, in answer to solicitations (RFC 4861 6.2.6): a guest
 * that asks gets a default router, a prefix to make addresses in, the link's
 * MTU, and the DNS address with the host's search domains (RFC 8106), and
 * needs nothing else for IPv6.
 *
 * Nothing is sent unasked, so an idle relay sleeps. Hence the lifetimes are
 * the longest there are: what a guest was told must not run out while it runs.
 * The router's is 65535 seconds (RFC 8319 4), the others are infinite.
 *
 * Without IPv6 on the host's side there is no advertisement at all, and so no
 * address that a guest would try in vain.
 */
#include "relay/services.h"

#include "core/csum.h"
#include "relay/dns.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	HOP_LIMIT = 255,
	SOLICIT = 133,
	SOLICIT_LEN = 8,
	ADVERT = 134,
	ADVERT_MAX = 512,
	GUEST_HOP_LIMIT = 64,
	ROUTER_LIFETIME_S = 65535,
	PREFIX_BITS = 64,
	PREFIX_ON_LINK = 0x80,
	PREFIX_AUTONOMOUS = 0x40,
	OPT_SOURCE_MAC = 1,
	OPT_PREFIX = 3,
	OPT_MTU = 5,
	OPT_RDNSS = 25,
	OPT_DNSSL = 31,
	DNSSL_MAX = 256,
};

static const uint32_t forever = 0xffffffff;
static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };

static void put_source_mac(struct lwr_cursor *c, const struct lwr_net *net)
{
	lwr__cursor_put_u8(c, OPT_SOURCE_MAC);
	lwr__cursor_put_u8(c, 1);
	lwr__cursor_put_bytes(c, net->gateway_mac, 6);
}

static void put_mtu(struct lwr_cursor *c, uint16_t mtu)
{
	lwr__cursor_put_u8(c, OPT_MTU);
	lwr__cursor_put_u8(c, 1);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u32(c, mtu);
}

static void put_prefix(struct lwr_cursor *c, const struct lwr_net *net)
{
	lwr__cursor_put_u8(c, OPT_PREFIX);
	lwr__cursor_put_u8(c, 4);
	lwr__cursor_put_u8(c, PREFIX_BITS);
	lwr__cursor_put_u8(c, PREFIX_ON_LINK | PREFIX_AUTONOMOUS);
	lwr__cursor_put_u32(c, forever); /* valid */
	lwr__cursor_put_u32(c, forever); /* preferred */
	lwr__cursor_put_u32(c, 0);
	lwr__cursor_put_bytes(c, net->subnet6.net.b, 16);
}

static void put_rdnss(struct lwr_cursor *c, const struct lwr_net *net)
{
	lwr__cursor_put_u8(c, OPT_RDNSS);
	lwr__cursor_put_u8(c, 3);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u32(c, forever);
	lwr__cursor_put_bytes(c, net->dns6.b, 16);
}

static void put_dnssl(struct lwr_cursor *c, const struct lwr_dns *dns)
{
	uint8_t names[DNSSL_MAX + 8] = { 0 };
	size_t len = lwr__dns_search_wire(dns, names, DNSSL_MAX);
	size_t padded = (len + 7) & ~(size_t)7;

	if (len == 0)
		return;
	lwr__cursor_put_u8(c, OPT_DNSSL);
	lwr__cursor_put_u8(c, (uint8_t)(1 + padded / 8));
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u32(c, forever);
	lwr__cursor_put_bytes(c, names, padded);
}

/* Writes the message, its checksum still 0. Returns its length. */
static size_t write_advert(uint8_t *buf, size_t max, const struct lwr_net *net,
			   const struct lwr_dns *dns, uint16_t mtu)
{
	struct lwr_cursor c = lwr__cursor(buf, max);

	lwr__cursor_put_u8(&c, ADVERT);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u8(&c, GUEST_HOP_LIMIT);
	lwr__cursor_put_u8(&c, 0); /* neither managed nor other: no DHCPv6 */
	lwr__cursor_put_u16(&c, ROUTER_LIFETIME_S);
	lwr__cursor_put_u32(&c, 0); /* reachable time: unspecified */
	lwr__cursor_put_u32(&c, 0); /* retransmission timer */
	put_source_mac(&c, net);
	put_mtu(&c, mtu);
	put_prefix(&c, net);
	put_rdnss(&c, net);
	put_dnssl(&c, dns);
	LWR_ASSERT(!c.bad); /* ADVERT_MAX is larger than all of them */
	return max - c.left;
}

static void send_advert(struct lwr_link *link, const struct lwr_net *net,
			const struct lwr_dns *dns, const struct lwr_addr *dst)
{
	uint8_t buf[ADVERT_MAX];
	size_t len = write_advert(buf, sizeof(buf), net, dns, link->caps.mtu);
	struct pbuf *p = lwr__send_alloc(len);
	uint16_t sum;

	if (!p) {
		link->stats.drop_memory++;
		return;
	}
	sum = lwr__csum(lwr__csum_pseudo(&net->gateway6_ll, dst,
					 LWR_PROTO_ICMP6, (uint32_t)len),
			buf, len);
	memcpy(buf + 2, &sum, 2);
	memcpy(p->payload, buf, len);
	lwr__send_ip(link, p, &net->gateway6_ll, dst, LWR_PROTO_ICMP6,
		     HOP_LIMIT);
}

/* RFC 4861 6.1.1 */
static bool solicit_valid(const struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	bool unspecified = lwr__addr_is_any(&pkt->src);
	uint8_t type, units;

	lwr__cursor_u8(&c);
	if (lwr__cursor_u8(&c) != 0 || pkt->ttl != HOP_LIMIT)
		return false;
	lwr__cursor_bytes(&c, NULL, SOLICIT_LEN - 2);
	while (c.left > 0 && !c.bad) {
		type = lwr__cursor_u8(&c);
		units = lwr__cursor_u8(&c);
		if (units == 0 || (unspecified && type == OPT_SOURCE_MAC))
			return false;
		lwr__cursor_bytes(&c, NULL, units * 8u - 2);
	}
	return !c.bad;
}

bool lwr__ra_input(const struct lwr_dns *dns, const struct lwr_pkt *pkt)
{
	struct lwr_addr dst = lwr__addr_from16(all_nodes);

	if (pkt->ethertype != LWR_ETHERTYPE_IP6 ||
	    pkt->proto != LWR_PROTO_ICMP6 || pkt->fragment ||
	    pkt->data[pkt->l4] != SOLICIT)
		return false;
	if (!pkt->link->net->ipv6)
		return true;
	if (!solicit_valid(pkt)) {
		pkt->link->stats.drop_malformed++;
		return true;
	}
	if (!lwr__policy_source(pkt->link->net, &pkt->src)) {
		pkt->link->stats.drop_source++;
		return true;
	}
	if (!lwr__addr_is_any(&pkt->src))
		dst = pkt->src;
	send_advert(pkt->link, pkt->link->net, dns, &dst);
	return true;
}
