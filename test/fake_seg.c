/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/fake_seg.h"

#include "core/addr.h"
#include "core/csum.h"
#include "core/pkt.h"
#include "test/fake_rand.h"

#include <string.h>

static const uint8_t gateway_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };
static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 0x15 };
static const uint8_t guest4[4] = { 10, 0, 2, 15 };
static const uint8_t host4[4] = { 192, 0, 2, 1 };
static const uint8_t guest6[16] = { 0xfd, [15] = 0x15 };
static const uint8_t host6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };

static void put_options(struct lwr_cursor *c, const struct fake_seg *s)
{
	if (s->mss) {
		lwr__cursor_put_u16(c, 0x0204);
		lwr__cursor_put_u16(c, s->mss);
	}
	if (s->flags & SEG_SYN && s->ws >= 0) {
		lwr__cursor_put_u16(c, 0x0103);
		lwr__cursor_put_u8(c, 3);
		lwr__cursor_put_u8(c, (uint8_t)s->ws);
	}
	if (s->sack)
		lwr__cursor_put_u32(c, 0x01010402);
	if (s->ts) {
		lwr__cursor_put_u32(c, 0x0101080a);
		lwr__cursor_put_u32(c, s->tsval);
		lwr__cursor_put_u32(c, s->tsecr);
	}
}

static uint32_t options_len(const struct fake_seg *s)
{
	return (s->mss ? 4u : 0) + (s->flags & SEG_SYN && s->ws >= 0 ? 4 : 0) +
	       (s->sack ? 4u : 0) + (s->ts ? 12u : 0);
}

static void put_tcp(struct lwr_cursor *c, const struct fake_seg *s)
{
	uint32_t hlen = 20 + options_len(s);

	lwr__cursor_put_u16(c, s->gport);
	lwr__cursor_put_u16(c, s->hport);
	lwr__cursor_put_u32(c, s->seq);
	lwr__cursor_put_u32(c, s->ack);
	lwr__cursor_put_u8(c, (uint8_t)(hlen / 4 << 4));
	lwr__cursor_put_u8(c, s->flags);
	lwr__cursor_put_u16(c, s->wnd);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u16(c, s->urgent);
	put_options(c, s);
	lwr__cursor_put_bytes(c, s->data, s->len);
}

static void put_ip(struct lwr_cursor *c, const struct fake_seg *s)
{
	uint32_t len = 20 + options_len(s) + s->len;

	if (s->six) {
		lwr__cursor_put_u32(c, 6u << 28);
		lwr__cursor_put_u16(c, (uint16_t)len);
		lwr__cursor_put_u8(c, LWR_PROTO_TCP);
		lwr__cursor_put_u8(c, s->ttl ? s->ttl : 64);
		lwr__cursor_put_bytes(c, guest6, 16);
		lwr__cursor_put_bytes(c, host6, 16);
		return;
	}
	lwr__cursor_put_u16(c, 0x4500);
	lwr__cursor_put_u16(c, (uint16_t)(len + 20));
	lwr__cursor_put_u32(c, 0x4000);
	lwr__cursor_put_u8(c, s->ttl ? s->ttl : 64);
	lwr__cursor_put_u8(c, LWR_PROTO_TCP);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_bytes(c, guest4, 4);
	lwr__cursor_put_bytes(c, host4, 4);
}

static bool frame_is4(const uint8_t *frame)
{
	return frame[12] == 8;
}

void fake_seg_fix(uint8_t *frame, size_t len)
{
	bool four = frame_is4(frame);
	size_t l4 = LWR_ETH_HLEN + (four ? 20 : 40);
	uint8_t *ip = frame + LWR_ETH_HLEN;
	struct lwr_addr src, dst;
	uint64_t pseudo;
	uint16_t sum;

	if (len < l4 + 20)
		return;
	if (four) {
		memset(ip + 10, 0, 2);
		sum = lwr__csum(0, ip, 20);
		memcpy(ip + 10, &sum, 2);
	}
	src = four ? lwr__addr_from4(ip + 12) : lwr__addr_from16(ip + 8);
	dst = four ? lwr__addr_from4(ip + 16) : lwr__addr_from16(ip + 24);
	pseudo = lwr__csum_pseudo(&src, &dst, LWR_PROTO_TCP,
				  (uint32_t)(len - l4));
	memset(frame + l4 + 16, 0, 2);
	sum = lwr__csum(pseudo, frame + l4, len - l4);
	memcpy(frame + l4 + 16, &sum, 2);
}

size_t fake_seg_build(const struct fake_seg *s, uint8_t *frame)
{
	struct lwr_cursor c = lwr__cursor(frame, SEG_FRAME_MAX);
	size_t len;

	lwr__cursor_put_bytes(&c, gateway_mac, 6);
	lwr__cursor_put_bytes(&c, guest_mac, 6);
	lwr__cursor_put_u16(&c, s->six ? LWR_ETHERTYPE_IP6 : LWR_ETHERTYPE_IP4);
	put_ip(&c, s);
	put_tcp(&c, s);
	len = SEG_FRAME_MAX - c.left;
	fake_seg_fix(frame, len);
	return len;
}

static void parse_option(struct fake_seg *s, uint8_t kind, struct lwr_cursor *o)
{
	if (kind == 2) {
		s->mss = lwr__cursor_u16(o);
	} else if (kind == 3) {
		s->ws = lwr__cursor_u8(o);
	} else if (kind == 4) {
		s->sack = true;
	} else if (kind == 8) {
		s->ts = true;
		s->tsval = lwr__cursor_u32(o);
		s->tsecr = lwr__cursor_u32(o);
	}
}

static void parse_options(struct fake_seg *s, struct lwr_cursor *c, size_t left)
{
	struct lwr_cursor o;
	uint8_t kind, len;

	while (left > 0) {
		kind = lwr__cursor_u8(c);
		left--;
		if (kind == 0)
			break;
		if (kind == 1)
			continue;
		len = lwr__cursor_u8(c);
		if (len < 2 || (size_t)len - 1 > left) {
			fake_fail("TCP option of impossible length");
			return;
		}
		o = lwr__cursor(c->p, len - 2u);
		parse_option(s, kind, &o);
		lwr__cursor_bytes(c, NULL, len - 2u);
		left -= len - 1u;
	}
	lwr__cursor_bytes(c, NULL, left);
}

/* Where the L4 header is in a quoted packet of an ICMP error. */
static bool parse_icmp(struct fake_seg *s, const struct lwr_pkt *pkt)
{
	size_t ip = s->six ? 40 : 20;
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);

	s->icmp = true;
	s->icmp_from = pkt->src;
	s->icmp_type = lwr__cursor_u8(&c);
	s->icmp_code = lwr__cursor_u8(&c);
	lwr__cursor_bytes(&c, NULL, 6 + ip);
	s->gport = lwr__cursor_u16(&c);
	s->hport = lwr__cursor_u16(&c);
	return !c.bad;
}

static bool parse_tcp(struct fake_seg *s, const struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	size_t hlen;

	s->hport = lwr__cursor_u16(&c);
	s->gport = lwr__cursor_u16(&c);
	s->seq = lwr__cursor_u32(&c);
	s->ack = lwr__cursor_u32(&c);
	hlen = (size_t)(lwr__cursor_u8(&c) >> 4) * 4;
	s->flags = lwr__cursor_u8(&c);
	s->wnd = lwr__cursor_u16(&c);
	lwr__cursor_bytes(&c, NULL, 4);
	if (hlen < 20 || hlen > pkt->l4_len)
		return false;
	parse_options(s, &c, hlen - 20);
	s->data = c.p;
	s->len = (uint32_t)c.left;
	return !c.bad;
}

bool fake_seg_parse(struct fake_seg *s, uint8_t *frame, size_t len)
{
	struct lwr_pkt pkt = { .data = frame, .len = (uint32_t)len };
	bool ok = false;

	*s = (struct fake_seg){ .ws = -1 };
	if (lwr__pkt_parse(&pkt) != LWR_DROP_NONE || !pkt.l4 ||
	    !lwr__pkt_csum_valid(&pkt)) {
		fake_fail("damaged packet for the guest, %zu bytes", len);
		return false;
	}
	s->six = !lwr__addr_is4(&pkt.src);
	if (pkt.proto == LWR_PROTO_TCP)
		ok = parse_tcp(s, &pkt);
	else if (pkt.proto == LWR_PROTO_ICMP || pkt.proto == LWR_PROTO_ICMP6)
		ok = parse_icmp(s, &pkt);
	if (!ok)
		fake_fail("packet for the guest that it cannot parse");
	return ok;
}
