/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The door for guest bytes. A frame is walked once, outside in: Ethernet, IP
 * with its options or extension headers, transport header. Each step reads
 * through a cursor that cannot leave what the step before it left over, so
 * that a length field can only ever make the packet smaller. What passes has:
 * l3 and l4 inside the frame, l4_len bytes from l4 on inside the frame, a
 * full transport header in them, and addresses that a sender may have.
 *
 * Refused on purpose: IPv6 packets with IPv4-mapped addresses, since they
 * would be IPv4 ones to everything behind this door (RFC 4942 2.2);
 * source routes that are not at their end (RFC 5095); hop-by-hop options
 * that do not come first (RFC 8200 4.1).
 *
 * Of a fragment only the IP header is looked at; l4 and l4_len are then the
 * fragment's payload, and in IPv6 its fragment header lies in the 8 bytes
 * before l4. An atomic IPv6 fragment (RFC 6946) is a whole packet.
 */
#include "core/pkt.h"

#include "core/csum.h"

enum {
	ARP_LEN = 28, /* for Ethernet and IPv4 */
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	TCP_HLEN = 20,
	UDP_HLEN = 8,
	ICMP_HLEN = 8,
	IP4_MORE_FRAGMENTS = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP4_DONT_FRAGMENT = 0x4000,
	IP_MAX = 65535,
	IP6_HOP_BY_HOP = 0,
	IP6_ROUTING = 43,
	IP6_FRAGMENT = 44,
	IP6_DEST_OPTS = 60,
	IP6_EXT_MAX = 8, /* extension headers in one packet */
};

/* ---- cursor -------------------------------------------------------------- */

/* Where n bytes lie, or NULL and bad. */
static uint8_t *take(struct lwr_cursor *c, size_t n)
{
	uint8_t *p = c->p;

	if (c->bad || n > c->left) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

uint8_t lwr__cursor_u8(struct lwr_cursor *c)
{
	const uint8_t *p = take(c, 1);

	return p ? *p : 0;
}

uint16_t lwr__cursor_u16(struct lwr_cursor *c)
{
	const uint8_t *p = take(c, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t lwr__cursor_u32(struct lwr_cursor *c)
{
	const uint8_t *p = take(c, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			       (uint32_t)p[2] << 8 | p[3] :
		   0;
}

void lwr__cursor_bytes(struct lwr_cursor *c, void *out, size_t n)
{
	const uint8_t *p = take(c, n);

	if (!out || n == 0)
		return;
	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

void lwr__cursor_put_u8(struct lwr_cursor *c, uint8_t v)
{
	lwr__cursor_put_bytes(c, &v, 1);
}

void lwr__cursor_put_u16(struct lwr_cursor *c, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	lwr__cursor_put_bytes(c, b, sizeof(b));
}

void lwr__cursor_put_u32(struct lwr_cursor *c, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16),
			 (uint8_t)(v >> 8), (uint8_t)v };

	lwr__cursor_put_bytes(c, b, sizeof(b));
}

void lwr__cursor_put_bytes(struct lwr_cursor *c, const void *in, size_t n)
{
	uint8_t *p = take(c, n);

	if (p && n)
		memcpy(p, in, n);
}

/* ---- transport ----------------------------------------------------------- */

static enum lwr_drop parse_tcp(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	uint32_t hlen;

	if (pkt->l4_len < TCP_HLEN)
		return LWR_DROP_SHORT;
	pkt->sport = lwr__cursor_u16(c);
	pkt->dport = lwr__cursor_u16(c);
	lwr__cursor_bytes(c, NULL, 8);
	hlen = (lwr__cursor_u8(c) >> 4) * 4u;
	if (hlen < TCP_HLEN || hlen > pkt->l4_len)
		return LWR_DROP_MALFORMED;
	return LWR_DROP_NONE;
}

static enum lwr_drop parse_udp(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	uint32_t len;

	if (pkt->l4_len < UDP_HLEN)
		return LWR_DROP_SHORT;
	pkt->sport = lwr__cursor_u16(c);
	pkt->dport = lwr__cursor_u16(c);
	len = lwr__cursor_u16(c);
	/* Of a frame of many datagrams it says nothing that IP does not. */
	if (pkt->meta.gso == LWR_GSO_UDP)
		return LWR_DROP_NONE;
	if (len < UDP_HLEN)
		return LWR_DROP_MALFORMED;
	if (len > pkt->l4_len)
		return LWR_DROP_SHORT;
	pkt->l4_len = len;
	return LWR_DROP_NONE;
}

static bool proto_known(const struct lwr_pkt *pkt)
{
	switch (pkt->proto) {
	case LWR_PROTO_TCP:
	case LWR_PROTO_UDP:
		return true;
	case LWR_PROTO_ICMP:
		return pkt->ethertype == LWR_ETHERTYPE_IP4;
	case LWR_PROTO_ICMP6:
		return pkt->ethertype == LWR_ETHERTYPE_IP6;
	default:
		return false;
	}
}

/* c stands at the transport header and ends with the packet. */
static enum lwr_drop parse_l4(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	pkt->l4 = (uint16_t)(c->p - pkt->data);
	pkt->l4_len = (uint32_t)c->left;
	if (!proto_known(pkt))
		return LWR_DROP_PROTO;
	if (pkt->fragment)
		return LWR_DROP_NONE;
	if (pkt->proto == LWR_PROTO_TCP)
		return parse_tcp(pkt, c);
	if (pkt->proto == LWR_PROTO_UDP)
		return parse_udp(pkt, c);
	return pkt->l4_len < ICMP_HLEN ? LWR_DROP_SHORT : LWR_DROP_NONE;
}

/* ---- network ------------------------------------------------------------- */

/* Offset is in units of 8 bytes; the packet it belongs to must be possible. */
static bool fragment_fits(uint32_t offset, size_t payload)
{
	return payload <= IP_MAX - offset * 8;
}

static enum lwr_drop parse_ip4(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	const uint8_t *hdr = c->p;
	size_t hlen, total;
	uint16_t frag;
	uint8_t first, b[8];

	if (c->left < IP4_HLEN)
		return LWR_DROP_SHORT;
	first = lwr__cursor_u8(c);
	hlen = (size_t)(first & 15) * 4;
	if (first >> 4 != 4 || hlen < IP4_HLEN)
		return LWR_DROP_MALFORMED;
	lwr__cursor_u8(c);
	total = lwr__cursor_u16(c);
	if (total < hlen)
		return LWR_DROP_MALFORMED;
	if (total > pkt->len - LWR_ETH_HLEN)
		return LWR_DROP_SHORT;
	if (lwr__csum(0, hdr, hlen) != 0)
		return LWR_DROP_CHECKSUM;
	lwr__cursor_u16(c);
	frag = lwr__cursor_u16(c);
	pkt->ttl = lwr__cursor_u8(c);
	pkt->proto = lwr__cursor_u8(c);
	lwr__cursor_u16(c);
	lwr__cursor_bytes(c, b, 8);
	pkt->src = lwr__addr_from4(b);
	pkt->dst = lwr__addr_from4(b + 4);
	if (lwr__addr_is_multicast(&pkt->src))
		return LWR_DROP_MALFORMED;
	lwr__cursor_bytes(c, NULL, hlen - IP4_HLEN);
	c->left = total - hlen;
	pkt->fragment = (frag & (IP4_MORE_FRAGMENTS | IP4_OFFSET)) != 0;
	pkt->df = (frag & IP4_DONT_FRAGMENT) != 0;
	if (!fragment_fits(frag & IP4_OFFSET, c->left))
		return LWR_DROP_MALFORMED;
	return parse_l4(pkt, c);
}

/* A fragment header, from its second byte on. */
static enum lwr_drop parse_fragment(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	uint16_t off;

	lwr__cursor_u8(c);
	off = lwr__cursor_u16(c);
	lwr__cursor_u32(c);
	if (c->bad)
		return LWR_DROP_SHORT;
	if (!fragment_fits(off >> 3, c->left))
		return LWR_DROP_MALFORMED;
	pkt->fragment = (off & 0xfff9) != 0;
	return LWR_DROP_NONE;
}

/* Hop-by-hop, destination options or routing, from the second byte on. */
static enum lwr_drop parse_options(struct lwr_cursor *c, bool routing)
{
	size_t len = lwr__cursor_u8(c) * 8u + 8;
	uint8_t segments_left;

	lwr__cursor_u8(c);
	segments_left = lwr__cursor_u8(c);
	lwr__cursor_bytes(c, NULL, len - 4);
	if (c->bad)
		return LWR_DROP_SHORT;
	if (routing && segments_left != 0)
		return LWR_DROP_MALFORMED;
	return LWR_DROP_NONE;
}

/* Walks the extension headers; pkt->proto becomes what follows them. */
static enum lwr_drop parse_ip6_ext(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	enum lwr_drop drop;
	uint8_t next, type;

	for (int n = 0; n <= IP6_EXT_MAX && !pkt->fragment; n++) {
		type = pkt->proto;
		if (type != IP6_HOP_BY_HOP && type != IP6_ROUTING &&
		    type != IP6_FRAGMENT && type != IP6_DEST_OPTS)
			return LWR_DROP_NONE;
		if (n == IP6_EXT_MAX || (type == IP6_HOP_BY_HOP && n > 0))
			return LWR_DROP_MALFORMED;
		next = lwr__cursor_u8(c);
		drop = type == IP6_FRAGMENT ?
			       parse_fragment(pkt, c) :
			       parse_options(c, type == IP6_ROUTING);
		if (drop)
			return drop;
		pkt->proto = next;
	}
	return LWR_DROP_NONE;
}

static bool addr6_possible(const struct lwr_pkt *pkt)
{
	return !lwr__addr_is4(&pkt->src) && !lwr__addr_is4(&pkt->dst) &&
	       !lwr__addr_is_multicast(&pkt->src);
}

static enum lwr_drop parse_ip6(struct lwr_pkt *pkt, struct lwr_cursor *c)
{
	enum lwr_drop drop;
	uint16_t payload;
	uint8_t b[32];

	if (c->left < IP6_HLEN)
		return LWR_DROP_SHORT;
	pkt->df = !pkt->reassembled;
	if (lwr__cursor_u32(c) >> 28 != 6)
		return LWR_DROP_MALFORMED;
	payload = lwr__cursor_u16(c);
	pkt->proto = lwr__cursor_u8(c);
	pkt->ttl = lwr__cursor_u8(c);
	lwr__cursor_bytes(c, b, sizeof(b));
	pkt->src = lwr__addr_from16(b);
	pkt->dst = lwr__addr_from16(b + 16);
	if (!addr6_possible(pkt))
		return LWR_DROP_MALFORMED;
	if (payload > c->left)
		return LWR_DROP_SHORT;
	c->left = payload;
	drop = parse_ip6_ext(pkt, c);
	return drop ? drop : parse_l4(pkt, c);
}

enum lwr_drop lwr__pkt_parse(struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data, pkt->len);

	pkt->l3 = LWR_ETH_HLEN;
	pkt->l4 = 0;
	pkt->l4_len = 0;
	pkt->proto = 0;
	pkt->ttl = 0;
	pkt->fragment = false;
	pkt->df = false;
	pkt->sport = 0;
	pkt->dport = 0;
	memset(&pkt->src, 0, sizeof(pkt->src));
	memset(&pkt->dst, 0, sizeof(pkt->dst));
	lwr__cursor_bytes(&c, NULL, 12);
	pkt->ethertype = lwr__cursor_u16(&c);
	if (c.bad)
		return LWR_DROP_SHORT;
	switch (pkt->ethertype) {
	case LWR_ETHERTYPE_IP4:
		return parse_ip4(pkt, &c);
	case LWR_ETHERTYPE_IP6:
		return parse_ip6(pkt, &c);
	case LWR_ETHERTYPE_ARP:
		return c.left < ARP_LEN ? LWR_DROP_SHORT : LWR_DROP_NONE;
	default: /* VLAN and 802.3 too */
		return LWR_DROP_ETHERTYPE;
	}
}

bool lwr__pkt_csum_valid(const struct lwr_pkt *pkt)
{
	const uint8_t *l4 = pkt->data + pkt->l4;
	uint64_t sum = 0;

	/* It covers the whole packet: for whoever reassembles. */
	if (pkt->l4 == 0 || pkt->fragment)
		return true;
	if (pkt->proto == LWR_PROTO_UDP && l4[6] == 0 && l4[7] == 0)
		return pkt->ethertype == LWR_ETHERTYPE_IP4;
	if (pkt->proto != LWR_PROTO_ICMP)
		sum = lwr__csum_pseudo(&pkt->src, &pkt->dst, pkt->proto,
				       pkt->l4_len);
	return lwr__csum(sum, l4, pkt->l4_len) == 0;
}
