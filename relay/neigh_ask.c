/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which addresses does the guest have? Learned from what it says in ARP and
 * NDP, and asked for where a published port is to reach a guest that has not
 * spoken yet, so that one that merely listens is found. The address that DHCP
 * gives goes before any other that the guest uses.
 */
#include "core/csum.h"
#include "relay/policy.h"
#include "relay/services.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	ARP_LEN = 28,
	ARP_ETHERNET = 1,
	ARP_REQUEST = 1,
	ND_HOP_LIMIT = 255,
	ND_SOLICIT = 135,
	ND_ASK_LEN = 32, /* a solicitation with one link-layer option */
	OPT_SOURCE_MAC = 1,
};

void lwr__neigh_learn(struct lwr_link *link, const struct lwr_addr *a)
{
	const struct lwr_net *net = link->net;
	bool six = !lwr__addr_is4(a);
	struct lwr_guest_addr *g = &link->guest[six];
	const struct lwr_addr *given = six ? &net->guest6 : &net->guest;

	if (lwr__addr_is_any(a) || lwr__addr_is_linklocal(a) ||
	    !lwr__policy_source(net, a))
		return;
	if (g->known && lwr__addr_equal(&g->addr, given))
		return;
	g->addr = *a;
	g->known = true;
	g->absent = false;
}

static struct pbuf *alloc(struct lwr_link *link, size_t len)
{
	struct pbuf *p = lwr__send_alloc(len);

	if (!p)
		link->stats.drop_memory++;
	return p;
}

static void ask_arp(struct lwr_link *link, const struct lwr_addr *target)
{
	static const uint8_t everybody[6] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};
	struct pbuf *p = alloc(link, ARP_LEN);
	struct lwr_cursor c;

	if (!p)
		return;
	c = lwr__cursor(p->payload, ARP_LEN);
	lwr__cursor_put_u16(&c, ARP_ETHERNET);
	lwr__cursor_put_u16(&c, LWR_ETHERTYPE_IP4);
	lwr__cursor_put_u16(&c, 6 << 8 | 4);
	lwr__cursor_put_u16(&c, ARP_REQUEST);
	lwr__cursor_put_bytes(&c, link->net->gateway_mac, 6);
	lwr__cursor_put_bytes(&c, link->net->gateway.b + 12, 4);
	lwr__cursor_put_bytes(&c, (uint8_t[6]){ 0 }, 6);
	lwr__cursor_put_bytes(&c, target->b + 12, 4);
	lwr__send_eth(link, p, LWR_ETHERTYPE_ARP, everybody);
}

/* By the target's group: RFC 4861 7.2.2, RFC 4291 2.7.1. */
static void ask_ndp(struct lwr_link *link, const struct lwr_addr *target)
{
	static const uint8_t group[16] = { 0xff, 2, [11] = 1, [12] = 0xff };
	const struct lwr_addr *src = &link->net->gateway6_ll;
	struct lwr_addr dst = lwr__addr_from16(group);
	struct pbuf *p = alloc(link, ND_ASK_LEN);
	struct lwr_cursor c;
	uint16_t sum;

	if (!p)
		return;
	memcpy(dst.b + 13, target->b + 13, 3);
	c = lwr__cursor(p->payload, ND_ASK_LEN);
	lwr__cursor_put_u8(&c, ND_SOLICIT);
	lwr__cursor_put_bytes(&c, (uint8_t[7]){ 0 }, 7);
	lwr__cursor_put_bytes(&c, target->b, 16);
	lwr__cursor_put_u8(&c, OPT_SOURCE_MAC);
	lwr__cursor_put_u8(&c, 1);
	lwr__cursor_put_bytes(&c, link->net->gateway_mac, 6);
	sum = lwr__csum(lwr__csum_pseudo(src, &dst, LWR_PROTO_ICMP6,
					 ND_ASK_LEN),
			p->payload, ND_ASK_LEN);
	memcpy((uint8_t *)p->payload + 2, &sum, 2);
	lwr__send_ip(link, p, src, &dst, LWR_PROTO_ICMP6, ND_HOP_LIMIT);
}

void lwr__neigh_ask(struct lwr_link *link, const struct lwr_addr *target)
{
	if (lwr__addr_is4(target))
		ask_arp(link, target);
	else
		ask_ndp(link, target);
}
