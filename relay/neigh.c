/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has this address? The relay says "I" for its own addresses only: the
 * gateway and the DNS address, IPv4 and IPv6. Everything else, above all the
 * guest's own address, stays unanswered, or a guest that probes an address
 * before it takes it (RFC 5227 2.1, RFC 4862 5.4) would find it taken.
 *
 * The relay asks only for the guest of a published port (relay/neigh_ask.c):
 * every frame of a guest says its hardware address, and ARP its sender's
 * (core/neighbour.c).
 *
 * A guest that probes for one of our addresses is told, and so learns of the
 * conflict. One that claims it (as an ARP sender, or by an advertisement of its
 * own) is contradicted before all, since there may be other guests on the link
 * whom it would mislead, but only once in ten seconds (RFC 5227 2.4 c): not a
 * quarrel without end.
 *
 * Neighbour solicitations must have come from this link (hop limit 255) and be
 * whole in every option, else they are dropped as RFC 4861 7.1.1 asks. The
 * stack has verified their checksum.
 */
#include "relay/services.h"

#include "core/csum.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <string.h>

/* ---- ARP ----------------------------------------------------------------- */

enum {
	ARP_LEN = 28,
	ARP_ETHERNET = 1,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	DEFEND_MS = 10 * 1000, /* RFC 5227 1.1 */
};

struct arp {
	uint16_t op;
	uint8_t mac[6]; /* of the sender */
	struct lwr_addr sender;
	struct lwr_addr target;
};

static bool parse_arp(const struct lwr_pkt *pkt, struct arp *a)
{
	struct lwr_cursor c =
		lwr__cursor(pkt->data + pkt->l3, pkt->len - pkt->l3);
	uint16_t hardware = lwr__cursor_u16(&c);
	uint16_t protocol = lwr__cursor_u16(&c);
	uint16_t lengths = lwr__cursor_u16(&c);
	uint8_t b[4];

	a->op = lwr__cursor_u16(&c);
	lwr__cursor_bytes(&c, a->mac, 6);
	lwr__cursor_bytes(&c, b, 4);
	a->sender = lwr__addr_from4(b);
	lwr__cursor_bytes(&c, NULL, 6);
	lwr__cursor_bytes(&c, b, 4);
	a->target = lwr__addr_from4(b);
	return !c.bad && hardware == ARP_ETHERNET &&
	       protocol == LWR_ETHERTYPE_IP4 && lengths == (6 << 8 | 4) &&
	       !(a->mac[0] & 1);
}

/* A reply, or an announcement if `a` says so (RFC 5227 1.1). */
static void send_arp(struct lwr_link *link, uint16_t op, const struct arp *a,
		     const uint8_t to[6])
{
	struct pbuf *p = lwr__send_alloc(ARP_LEN);
	struct lwr_cursor c;

	if (!p) {
		link->stats.drop_memory++;
		return;
	}
	c = lwr__cursor(p->payload, ARP_LEN);
	lwr__cursor_put_u16(&c, ARP_ETHERNET);
	lwr__cursor_put_u16(&c, LWR_ETHERTYPE_IP4);
	lwr__cursor_put_u16(&c, 6 << 8 | 4);
	lwr__cursor_put_u16(&c, op);
	lwr__cursor_put_bytes(&c, link->net->gateway_mac, 6);
	lwr__cursor_put_bytes(&c, a->target.b + 12, 4);
	lwr__cursor_put_bytes(&c, a->mac, 6);
	lwr__cursor_put_bytes(&c, a->sender.b + 12, 4);
	lwr__send_eth(link, p, LWR_ETHERTYPE_ARP, to);
}

/* True if it is time to defend an address again. */
static bool may_defend(struct lwr_services *s, struct lwr_link *link)
{
	struct lwr_lan *lan = lwr__services_lan(s, link);
	uint64_t now = lwr__loop_now(s->stack->loop);

	if (!lan || (lan->defended_ms && now - lan->defended_ms < DEFEND_MS))
		return false;
	lan->defended_ms = now;
	return true;
}

static void announce(struct lwr_link *link, const struct lwr_addr *own)
{
	static const uint8_t everybody[6] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};
	const struct arp a = { .sender = *own, .target = *own };

	send_arp(link, ARP_REQUEST, &a, everybody);
}

bool lwr__arp_input(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	struct arp a;

	if (pkt->ethertype != LWR_ETHERTYPE_ARP)
		return false;
	if (!parse_arp(pkt, &a)) {
		pkt->link->stats.drop_malformed++;
		return true;
	}
	lwr__neighbours_learn(&pkt->link->neighbours, pkt->link->net, &a.sender,
			      a.mac);
	lwr__neigh_learn(pkt->link, &a.sender);
	if (lwr__policy_is_local(pkt->link->net, &a.sender)) {
		if (may_defend(s, pkt->link))
			announce(pkt->link, &a.sender);
	} else if (a.op == ARP_REQUEST &&
		   lwr__policy_is_local(pkt->link->net, &a.target)) {
		send_arp(pkt->link, ARP_REPLY, &a, a.mac);
	}
	return true;
}

/* ---- NDP ----------------------------------------------------------------- */

enum {
	ND_HOP_LIMIT = 255,
	ND_SOLICIT = 135,
	ND_ADVERT = 136,
	ND_SOLICIT_LEN = 24,
	ND_ADVERT_LEN = 32, /* with one link-layer option */
	ND_ROUTER = 0x80,
	ND_SOLICITED = 0x40,
	ND_OVERRIDE = 0x20,
	OPT_SOURCE_MAC = 1,
	OPT_TARGET_MAC = 2,
};

static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };

/* ff02::1:ff00:0/104 */
static bool is_solicited_node(const struct lwr_addr *a)
{
	static const uint8_t head[13] = { 0xff, 2, [11] = 1, [12] = 0xff };

	return memcmp(a->b, head, sizeof(head)) == 0;
}

/* Walks the options; false if one is broken, or names a probe's sender. */
static bool options_valid(struct lwr_cursor *c, bool probe)
{
	uint8_t type, units;

	while (c->left > 0) {
		type = lwr__cursor_u8(c);
		units = lwr__cursor_u8(c);
		if (units == 0 || (probe && type == OPT_SOURCE_MAC))
			return false;
		lwr__cursor_bytes(c, NULL, units * 8u - 2);
		if (c->bad)
			return false;
	}
	return !c->bad;
}

/* RFC 4861 7.1.1 */
static bool parse_solicit(const struct lwr_pkt *pkt, struct lwr_addr *target)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	bool probe = lwr__addr_is_any(&pkt->src);
	uint8_t b[16];

	lwr__cursor_u8(&c);
	if (lwr__cursor_u8(&c) != 0 || pkt->ttl != ND_HOP_LIMIT)
		return false;
	lwr__cursor_bytes(&c, NULL, 6);
	lwr__cursor_bytes(&c, b, 16);
	*target = lwr__addr_from16(b);
	if (c.bad || lwr__addr_is_multicast(target))
		return false;
	if (probe && !is_solicited_node(&pkt->dst))
		return false;
	return options_valid(&c, probe);
}

/* To the asking guest, or to all where there is none that may be addressed. */
static void send_advert(struct lwr_link *link, const struct lwr_addr *target,
			const struct lwr_addr *to)
{
	struct lwr_addr dst = to ? *to : lwr__addr_from16(all_nodes);
	struct pbuf *p = lwr__send_alloc(ND_ADVERT_LEN);
	struct lwr_cursor c;
	uint16_t sum;

	if (!p) {
		link->stats.drop_memory++;
		return;
	}
	c = lwr__cursor(p->payload, ND_ADVERT_LEN);
	lwr__cursor_put_u8(&c, ND_ADVERT);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u8(&c, (uint8_t)(ND_ROUTER | ND_OVERRIDE |
					 (to ? ND_SOLICITED : 0)));
	lwr__cursor_put_bytes(&c, (uint8_t[3]){ 0 }, 3);
	lwr__cursor_put_bytes(&c, target->b, 16);
	lwr__cursor_put_u8(&c, OPT_TARGET_MAC);
	lwr__cursor_put_u8(&c, 1);
	lwr__cursor_put_bytes(&c, link->net->gateway_mac, 6);
	sum = lwr__csum(lwr__csum_pseudo(target, &dst, LWR_PROTO_ICMP6,
					 ND_ADVERT_LEN),
			p->payload, ND_ADVERT_LEN);
	memcpy((uint8_t *)p->payload + 2, &sum, 2);
	lwr__send_ip(link, p, target, &dst, LWR_PROTO_ICMP6, ND_HOP_LIMIT);
}

/*
 * A guest's advertisement says which address it has, or that it claims ours.
 */
static void on_advert(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	struct lwr_addr target;
	uint8_t b[16];

	lwr__cursor_bytes(&c, NULL, 8);
	lwr__cursor_bytes(&c, b, sizeof(b));
	target = lwr__addr_from16(b);
	if (c.bad || pkt->ttl != ND_HOP_LIMIT || lwr__addr_is4(&target))
		return;
	if (!lwr__policy_is_local(pkt->link->net, &target)) {
		lwr__neigh_learn(pkt->link, &target);
		return;
	}
	if (may_defend(s, pkt->link))
		send_advert(pkt->link, &target, NULL);
}

static void answer_solicit(const struct lwr_pkt *pkt,
			   const struct lwr_addr *target)
{
	bool probe = lwr__addr_is_any(&pkt->src);

	if (!probe)
		lwr__neigh_learn(pkt->link, &pkt->src);
	if (!lwr__addr_is4(target) &&
	    lwr__policy_is_local(pkt->link->net, target))
		send_advert(pkt->link, target, probe ? NULL : &pkt->src);
}

static void on_solicit(const struct lwr_pkt *pkt)
{
	struct lwr_addr target;

	if (!parse_solicit(pkt, &target))
		pkt->link->stats.drop_malformed++;
	else if (!lwr__policy_source(pkt->link->net, &pkt->src))
		pkt->link->stats.drop_source++;
	else
		answer_solicit(pkt, &target);
}

bool lwr__ndp_input(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	uint8_t type;

	if (pkt->ethertype != LWR_ETHERTYPE_IP6 ||
	    pkt->proto != LWR_PROTO_ICMP6 || pkt->fragment)
		return false;
	type = pkt->data[pkt->l4];
	if (type == ND_SOLICIT)
		on_solicit(pkt);
	else if (type == ND_ADVERT)
		on_advert(s, pkt);
	return type == ND_SOLICIT || type == ND_ADVERT;
}
