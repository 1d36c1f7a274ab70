/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Router advertisements (RFC 4861 6.2): a guest gets a default router, a prefix
 * to make addresses in, the link's MTU, and the DNS address with the host's
 * search domains (RFC 8106). M and O are set: DHCPv6 gives the rest, above all
 * the address that published ports go to, to those who ask there.
 *
 * An advertisement is sent
 *	to who solicits with an address of its own, at once: there is no other
 *	  router whose answer could collide with ours (6.2.6 has a delay for
 *	  that);
 *	to all, if a solicitation has none, at most every three seconds;
 *	to all, every 200 to 600 seconds, on a link where a guest has ever
 *	  solicited, so that lifetimes can be finite; nothing else wakes an
 *	  idle relay;
 *	to all, as soon as what it says has changed.
 *
 * Without IPv6 on the host's side solicitations are not answered: no address
 * that a guest would try in vain. If the host loses it, what was advertised is
 * withdrawn: lifetimes of 0, and the prefix deprecated rather than made
 * invalid, which RFC 4862 5.5.3 (e) would not let happen within two hours.
 */
#include "relay/services.h"

#include "core/csum.h"
#include "relay/dns.h"
#include "relay/policy.h"

#include "platform/sock.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	HOP_LIMIT = 255,
	SOLICIT = 133,
	SOLICIT_LEN = 8,
	ADVERT = 134,
	ADVERT_MAX = 512,
	GUEST_HOP_LIMIT = 64,
	MANAGED_AND_OTHER = 0xc0,
	EVERY_MIN_S = 200,
	EVERY_MAX_S = 600,
	LIFETIME_S = 3 * EVERY_MAX_S, /* of router and DNS; RFC 8106 5.1 */
	VALID_S = 30 * 24 * 3600,
	PREFERRED_S = 7 * 24 * 3600,
	BETWEEN_MS = 3000, /* MIN_DELAY_BETWEEN_RAS */
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

static void put_prefix(struct lwr_cursor *c, const struct lwr_net *net,
		       bool offered)
{
	lwr__cursor_put_u8(c, OPT_PREFIX);
	lwr__cursor_put_u8(c, 4);
	lwr__cursor_put_u8(c, PREFIX_BITS);
	lwr__cursor_put_u8(c, PREFIX_ON_LINK | PREFIX_AUTONOMOUS);
	lwr__cursor_put_u32(c, VALID_S);
	lwr__cursor_put_u32(c, offered ? PREFERRED_S : 0);
	lwr__cursor_put_u32(c, 0);
	lwr__cursor_put_bytes(c, net->subnet6.net.b, 16);
}

static void put_rdnss(struct lwr_cursor *c, const struct lwr_net *net,
		      bool offered)
{
	lwr__cursor_put_u8(c, OPT_RDNSS);
	lwr__cursor_put_u8(c, 3);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u32(c, offered ? LIFETIME_S : 0);
	lwr__cursor_put_bytes(c, net->dns6.b, 16);
}

static void put_dnssl(struct lwr_cursor *c, const struct lwr_dns *dns,
		      bool offered)
{
	uint8_t names[DNSSL_MAX + 8] = { 0 };
	size_t len = lwr__dns_search_wire(dns, names, DNSSL_MAX);
	size_t padded = (len + 7) & ~(size_t)7;

	if (len == 0)
		return;
	lwr__cursor_put_u8(c, OPT_DNSSL);
	lwr__cursor_put_u8(c, (uint8_t)(1 + padded / 8));
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u32(c, offered ? LIFETIME_S : 0);
	lwr__cursor_put_bytes(c, names, padded);
}

/* Writes the message, its checksum still 0. Returns its length. */
static size_t write_advert(uint8_t *buf, size_t max, const struct lwr_net *net,
			   const struct lwr_services *s, uint16_t mtu)
{
	struct lwr_cursor c = lwr__cursor(buf, max);

	lwr__cursor_put_u8(&c, ADVERT);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u8(&c, GUEST_HOP_LIMIT);
	lwr__cursor_put_u8(&c, MANAGED_AND_OTHER);
	lwr__cursor_put_u16(&c, s->ipv6 ? LIFETIME_S : 0);
	lwr__cursor_put_u32(&c, 0); /* reachable time: unspecified */
	lwr__cursor_put_u32(&c, 0); /* retransmission timer */
	put_source_mac(&c, net);
	put_mtu(&c, mtu);
	put_prefix(&c, net, s->ipv6);
	put_rdnss(&c, net, s->ipv6);
	put_dnssl(&c, s->dns, s->ipv6);
	LWR_ASSERT(!c.bad); /* ADVERT_MAX is larger than all of them */
	return max - c.left;
}

static void send_advert(const struct lwr_services *s, struct lwr_link *link,
			const struct lwr_addr *dst)
{
	const struct lwr_net *net = link->net;
	uint8_t buf[ADVERT_MAX];
	size_t len = write_advert(buf, sizeof(buf), net, s, link->caps.mtu);
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

/* ---- when ---------------------------------------------------------------- */

static uint64_t now_of(const struct lwr_services *s)
{
	return lwr__loop_now(s->stack->loop);
}

static uint64_t interval_ms(void)
{
	uint32_t r;

	lwr__random(&r, sizeof(r));
	return (EVERY_MIN_S + r % (EVERY_MAX_S - EVERY_MIN_S + 1)) * 1000ull;
}

/* The timer runs for the earliest, and not at all if none is due. */
static void arm(struct lwr_services *s)
{
	uint64_t first = UINT64_MAX, now = now_of(s);
	struct lwr_list *n;
	struct lwr_lan *lan;

	for (n = s->lans.next; n != &s->lans; n = n->next) {
		lan = LWR_CONTAINER(n, struct lwr_lan, node);
		if (lan->next_ms && lan->next_ms < first)
			first = lan->next_ms;
	}
	lwr__timer_stop(&s->timer);
	if (first != UINT64_MAX)
		lwr__timer_start(&s->timer, first > now ? first - now : 0);
}

static void advertise_now(struct lwr_services *s, struct lwr_lan *lan)
{
	struct lwr_addr dst = lwr__addr_from16(all_nodes);

	send_advert(s, lan->link, &dst);
	lan->advertised_ms = now_of(s);
	lan->next_ms = s->ipv6 && lan->solicited ?
			       lan->advertised_ms + interval_ms() :
			       0;
}

/* To all, or as soon as that may be again. */
static void advertise(struct lwr_services *s, struct lwr_lan *lan)
{
	uint64_t may = lan->advertised_ms + BETWEEN_MS;

	if (lan->advertised_ms == 0 || now_of(s) >= may) {
		advertise_now(s, lan);
	} else {
		lan->next_ms = may;
	}
	arm(s);
}

void lwr__ra_timer(struct lwr_timer *t)
{
	struct lwr_services *s = LWR_CONTAINER(t, struct lwr_services, timer);
	uint64_t now = now_of(s);
	struct lwr_list *n;
	struct lwr_lan *lan;

	for (n = s->lans.next; n != &s->lans; n = n->next) {
		lan = LWR_CONTAINER(n, struct lwr_lan, node);
		if (lan->next_ms && lan->next_ms <= now)
			advertise_now(s, lan);
	}
	arm(s);
}

static void tell_guests(struct lwr_services *s)
{
	struct lwr_list *n;
	struct lwr_link *link;
	struct lwr_lan *lan;

	for (n = s->stack->links.next; n != &s->stack->links; n = n->next) {
		link = LWR_CONTAINER(n, struct lwr_link, node);
		if (!link->net->ipv6 || !link->neighbours.known)
			continue;
		lan = lwr__services_lan(s, link);
		if (lan)
			advertise(s, lan);
	}
}

void lwr__ra_changed(struct lwr_services *s)
{
	if (s->ipv6)
		tell_guests(s);
}

void lwr__ra_set_ipv6(struct lwr_services *s, bool ipv6)
{
	if (ipv6 == s->ipv6)
		return;
	s->ipv6 = ipv6;
	tell_guests(s);
}

/* ---- solicitations ------------------------------------------------------- */

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

static void answer(struct lwr_services *s, struct lwr_lan *lan,
		   const struct lwr_addr *src)
{
	lan->solicited = true;
	if (!s->ipv6)
		return;
	if (lwr__addr_is_any(src)) {
		advertise(s, lan);
		return;
	}
	send_advert(s, lan->link, src);
	if (lan->next_ms == 0) {
		lan->next_ms = now_of(s) + interval_ms();
		arm(s);
	}
}

bool lwr__ra_input(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	struct lwr_lan *lan;

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
	lan = lwr__services_lan(s, pkt->link);
	if (lan)
		answer(s, lan, &pkt->src);
	return true;
}
