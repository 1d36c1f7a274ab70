/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP and ICMPv6 errors to the guest, each with the beginning of the packet
 * that it is about. Here is also decided when there must be none (RFC 1122
 * 3.2.2, RFC 4443 2.4): for an error itself, for a fragment that is not the
 * first, for what was sent to a group or from no address.
 *
 * A token bucket for each link bounds them (RFC 4443 2.4 (f)): one a
 * millisecond, and BURST at once. It is filled by looking at the clock when
 * the next one is due, so nothing runs while there are none.
 */
#include "core/csum.h"
#include "core/stack.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	HLEN = 8,
	TTL = 64,
	BURST = 1000,
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	QUOTE_MAX4 = 576 - IP4_HLEN - HLEN, /* RFC 1812 4.3.2.3 */
	QUOTE_MAX6 = 1280 - IP6_HLEN - HLEN, /* RFC 4443 2.4 (c) */
	IP6_NEXT_HEADER = 6, /* its offset, as parameter problem points at it */
};

struct code {
	uint8_t type, code;
};

static struct code code_of(enum lwr_unreach why, bool four)
{
	static const struct code codes4[] = {
		[LWR_UNREACH_NET] = { 3, 0 },
		[LWR_UNREACH_HOST] = { 3, 1 },
		[LWR_UNREACH_PROTO] = { 3, 2 },
		[LWR_UNREACH_PORT] = { 3, 3 },
		[LWR_UNREACH_PROHIBITED] = { 3, 13 },
		[LWR_UNREACH_TOO_BIG] = { 3, 4 },
		[LWR_UNREACH_TTL] = { 11, 0 },
		[LWR_UNREACH_REASSEMBLY] = { 11, 1 },
	};
	static const struct code codes6[] = {
		[LWR_UNREACH_NET] = { 1, 0 },
		[LWR_UNREACH_HOST] = { 1, 3 },
		[LWR_UNREACH_PROTO] = { 4, 1 },
		[LWR_UNREACH_PORT] = { 1, 4 },
		[LWR_UNREACH_PROHIBITED] = { 1, 1 },
		[LWR_UNREACH_TOO_BIG] = { 2, 0 },
		[LWR_UNREACH_TTL] = { 3, 0 },
		[LWR_UNREACH_REASSEMBLY] = { 3, 1 },
	};

	return four ? codes4[why] : codes6[why];
}

/* The packet's header as far as the rules ask for it. */
struct about {
	bool four;
	bool first; /* no fragment, or the first one */
	uint8_t proto;
	uint8_t type; /* of ICMP */
	struct lwr_addr src, dst;
};

static void read4(struct lwr_cursor *c, struct about *a)
{
	size_t hlen = (size_t)(lwr__cursor_u8(c) & 15) * 4;
	uint8_t b[8];

	lwr__cursor_bytes(c, NULL, 5);
	a->first = (lwr__cursor_u16(c) & 0x1fff) == 0;
	lwr__cursor_u8(c);
	a->proto = lwr__cursor_u8(c);
	lwr__cursor_u16(c);
	lwr__cursor_bytes(c, b, sizeof(b));
	a->src = lwr__addr_from4(b);
	a->dst = lwr__addr_from4(b + 4);
	lwr__cursor_bytes(c, NULL, hlen > IP4_HLEN ? hlen - IP4_HLEN : 0);
}

static void read6(struct lwr_cursor *c, struct about *a)
{
	uint8_t b[32];

	lwr__cursor_bytes(c, NULL, 6);
	a->first = true;
	a->proto = lwr__cursor_u8(c);
	lwr__cursor_u8(c);
	lwr__cursor_bytes(c, b, sizeof(b));
	a->src = lwr__addr_from16(b);
	a->dst = lwr__addr_from16(b + 16);
}

/* False: it is not even a header. */
static bool read_header(struct about *a, const void *ip, size_t len)
{
	struct lwr_cursor c = lwr__cursor(ip, len);

	if (len < IP4_HLEN)
		return false;
	a->four = *(const uint8_t *)ip >> 4 == 4;
	if (a->four)
		read4(&c, a);
	else
		read6(&c, a);
	if (c.bad)
		return false;
	a->type = lwr__cursor_u8(&c);
	return true;
}

static bool is_error(const struct about *a)
{
	if (a->proto == LWR_PROTO_ICMP6)
		return a->type < 128 || a->type == 137;
	return a->proto == LWR_PROTO_ICMP &&
	       (a->type == 3 || a->type == 4 || a->type == 5 || a->type == 11 ||
		a->type == 12);
}

static bool is_due(const struct about *a)
{
	return a->first && !is_error(a) && !lwr__addr_is_any(&a->src) &&
	       !lwr__addr_is_multicast(&a->src) &&
	       !lwr__addr_is_multicast(&a->dst);
}

static bool within_rate(struct lwr_link *link)
{
	uint64_t now = lwr__loop_now(link->stack->loop);
	uint64_t passed = now - link->icmp_ms;

	link->icmp_ms = now;
	link->icmp_spent -= passed < link->icmp_spent ? (uint32_t)passed :
							link->icmp_spent;
	if (link->icmp_spent >= BURST)
		return false;
	link->icmp_spent++;
	return true;
}

static uint32_t rest_of(const struct about *a, enum lwr_unreach why,
			uint32_t mtu)
{
	if (why == LWR_UNREACH_TOO_BIG)
		return a->four && mtu > UINT16_MAX ? UINT16_MAX : mtu;
	return !a->four && why == LWR_UNREACH_PROTO ? IP6_NEXT_HEADER : 0;
}

static void send_error(struct lwr_link *link, enum lwr_unreach why,
		       uint32_t mtu, const struct lwr_addr *from,
		       const struct about *a, const void *ip, size_t len)
{
	size_t max = a->four ? QUOTE_MAX4 : QUOTE_MAX6;
	struct code code = code_of(why, a->four);
	struct lwr_cursor c;
	uint64_t sum = 0;
	struct pbuf *p;
	uint16_t csum;

	len = len < max ? len : max;
	p = lwr__send_alloc(HLEN + len);
	if (!p)
		return;
	c = lwr__cursor(p->payload, HLEN + len);
	lwr__cursor_put_u8(&c, code.type);
	lwr__cursor_put_u8(&c, code.code);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u32(&c, rest_of(a, why, mtu));
	lwr__cursor_put_bytes(&c, ip, len);
	if (!a->four)
		sum = lwr__csum_pseudo(from, &a->src, LWR_PROTO_ICMP6,
				       (uint32_t)(HLEN + len));
	csum = lwr__csum(sum, p->payload, HLEN + len);
	memcpy((uint8_t *)p->payload + 2, &csum, 2);
	link->stats.icmp_sent++;
	lwr__send_ip(link, p, from, &a->src,
		     a->four ? LWR_PROTO_ICMP : LWR_PROTO_ICMP6, TTL);
}

static void error(struct lwr_link *link, enum lwr_unreach why, uint32_t mtu,
		  const struct lwr_addr *from, const void *ip, size_t len)
{
	struct about a;

	if (!read_header(&a, ip, len) || a.four != lwr__addr_is4(from) ||
	    a.four != lwr__addr_is4(&a.src) || !is_due(&a))
		return;
	if (within_rate(link))
		send_error(link, why, mtu, from, &a, ip, len);
	else
		link->stats.icmp_limited++;
}

void lwr__send_unreach(struct lwr_link *link, enum lwr_unreach why,
		       const struct lwr_addr *from, const void *ip, size_t len)
{
	error(link, why, 0, from, ip, len);
}

void lwr__send_too_big(struct lwr_link *link, uint32_t mtu,
		       const struct lwr_addr *from, const void *ip, size_t len)
{
	error(link, LWR_UNREACH_TOO_BIG, mtu, from, ip, len);
}
