/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a network card does with a large segment, done in software: packet k
 * of a frame gets the frame's headers with its own length, IPv4 identifier,
 * sequence number, flags and checksums, and iovecs that point at its part of
 * the payload. Payload is read once, for its checksum, and never copied.
 *
 * As Linux' tcp_gso_segment() has it: every packet but the last carries `size`
 * bytes; FIN and PSH stay on the last, CWR on the first (RFC 3168 6.1.2); the
 * IPv4 identifier counts up (RFC 6864 lets it, and receivers that merge
 * packets expect it). UDP: each packet is a datagram of its own.
 *
 * A frame without segmentation but with needs_csum is one packet whose
 * checksum is filled; the partial sum in its field is ignored and computed
 * anew with everything else. Any other frame passes as it is.
 *
 * Frames come from lwIP and from the relay's own senders, so impossible
 * headers are bugs, not input.
 */
#include "core/gso.h"

#include "core/csum.h"
#include "core/log.h"
#include "core/pkt.h"
#include "lwip/pbuf.h"

#include <errno.h>
#include <string.h>

enum {
	TCP_SEQ = 4,
	TCP_HLEN = 12,
	TCP_FLAGS = 13,
	TCP_CSUM = 16,
	TCP_HLEN_MIN = 20,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
	UDP_LEN = 4,
	UDP_CSUM = 6,
	UDP_HLEN_MIN = 8,
	IP4_LEN = 2,
	IP4_ID = 4,
	IP4_PROTO = 9,
	IP4_CSUM = 10,
	IP4_SRC = 12,
	IP6_LEN = 4,
	IP6_PROTO = 6,
	IP6_SRC = 8,
	IP6_HLEN = 40,
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void add32(uint8_t *p, uint32_t n)
{
	uint32_t v = ((uint32_t)get16(p) << 16 | get16(p + 2)) + n;

	put16(p, v >> 16);
	put16(p + 2, v);
}

/* A checksum is computed in memory order. */
static void put_csum(uint8_t *p, uint16_t csum)
{
	memcpy(p, &csum, sizeof(csum));
}

static bool is_ip4(const uint8_t *hdr)
{
	return get16(hdr + 12) == LWR_ETHERTYPE_IP4;
}

/* Copies up to LWR_GSO_HDR_MAX bytes of the frame's start; returns how many. */
static uint32_t copy_start(const struct pbuf *p, uint8_t *out)
{
	uint32_t n = 0, part;

	for (; p && n < LWR_GSO_HDR_MAX; p = p->next) {
		part = LWR_GSO_HDR_MAX - n;
		if (part > p->len)
			part = p->len;
		memcpy(out + n, p->payload, part);
		n += part;
	}
	return n;
}

/* Moves on by n bytes; empty pbufs are stepped over. */
static void advance(struct lwr_gso_iter *g, uint32_t n)
{
	g->q_off += n;
	while (g->q && g->q_off >= g->q->len) {
		g->q_off -= g->q->len;
		g->q = g->q->next;
	}
}

void lwr__gso_init(struct lwr_gso_iter *g, const struct lwr_frame *f)
{
	uint32_t have;

	g->q = f->p;
	g->q_off = 0;
	g->left = 0;
	g->k = 0;
	g->size = f->gso_size;
	g->hdr_len = 0;
	for (const struct pbuf *q = f->p; q; q = q->next)
		g->left += q->len;
	if (f->gso_size == 0 && !f->needs_csum) {
		advance(g, 0);
		return;
	}
	have = copy_start(f->p, g->hdr);
	g->l4 = f->l4_off;
	LWR_ASSERT(have >= g->l4 + (uint32_t)UDP_HLEN_MIN);
	g->proto =
		g->hdr[LWR_ETH_HLEN + (is_ip4(g->hdr) ? IP4_PROTO : IP6_PROTO)];
	g->hdr_len = (uint16_t)(g->l4 + UDP_HLEN_MIN);
	if (g->proto == LWR_PROTO_TCP) {
		LWR_ASSERT(have >= g->l4 + (uint32_t)TCP_HLEN_MIN);
		g->hdr_len =
			(uint16_t)(g->l4 + (g->hdr[g->l4 + TCP_HLEN] >> 4) * 4);
	}
	LWR_ASSERT(have >= g->hdr_len);
	g->left -= g->hdr_len;
	advance(g, g->hdr_len);
}

/* The next `len` payload bytes. Returns how many iovecs, or -ENOBUFS. */
static int gather(const struct lwr_gso_iter *g, uint32_t len, struct iovec *iov,
		  unsigned max)
{
	const struct pbuf *q = g->q;
	uint32_t off = g->q_off, part;
	unsigned n = 0;

	for (; len; q = q->next, off = 0) {
		part = q->len - off;
		if (part == 0)
			continue;
		if (n == max)
			return -ENOBUFS;
		if (part > len)
			part = len;
		iov[n].iov_base = (uint8_t *)q->payload + off;
		iov[n++].iov_len = part;
		len -= part;
	}
	return (int)n;
}

static uint64_t sum_iov(uint64_t sum, const struct iovec *iov, unsigned n)
{
	bool odd = false;

	for (unsigned i = 0; i < n; i++) {
		if (odd)
			sum = lwr__csum_add_odd(sum, iov[i].iov_base,
						iov[i].iov_len);
		else
			sum = lwr__csum_add(sum, iov[i].iov_base,
					    iov[i].iov_len);
		odd ^= iov[i].iov_len & 1;
	}
	return sum;
}

/* Fills in the IP header; returns the pseudo-header's sum. */
static uint64_t fill_ip(const struct lwr_gso_iter *g, uint8_t *hdr,
			uint32_t len)
{
	uint8_t *ip = hdr + LWR_ETH_HLEN;
	uint32_t l4_len = len - g->l4;
	struct lwr_addr src, dst;

	if (is_ip4(hdr)) {
		put16(ip + IP4_LEN, len - LWR_ETH_HLEN);
		put16(ip + IP4_ID, get16(ip + IP4_ID) + g->k);
		put16(ip + IP4_CSUM, 0);
		put_csum(ip + IP4_CSUM, lwr__csum(0, ip, g->l4 - LWR_ETH_HLEN));
		src = lwr__addr_from4(ip + IP4_SRC);
		dst = lwr__addr_from4(ip + IP4_SRC + 4);
	} else {
		put16(ip + IP6_LEN, len - LWR_ETH_HLEN - IP6_HLEN);
		src = lwr__addr_from16(ip + IP6_SRC);
		dst = lwr__addr_from16(ip + IP6_SRC + 16);
	}
	return lwr__csum_pseudo(&src, &dst, g->proto, l4_len);
}

/* Fills in the transport header but its checksum; returns where that goes. */
static uint8_t *fill_l4(const struct lwr_gso_iter *g, uint8_t *hdr,
			uint32_t len, bool last)
{
	uint8_t *l4 = hdr + g->l4;

	if (g->proto != LWR_PROTO_TCP) {
		put16(l4 + UDP_LEN, len - g->l4);
		return l4 + UDP_CSUM;
	}
	add32(l4 + TCP_SEQ, g->k * g->size);
	if (!last)
		l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (g->k > 0)
		l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	return l4 + TCP_CSUM;
}

static void fill_headers(const struct lwr_gso_iter *g, uint8_t *hdr,
			 uint32_t len, bool last, const struct iovec *iov,
			 unsigned n)
{
	uint8_t *field;
	uint64_t sum;
	uint16_t csum;

	memcpy(hdr, g->hdr, g->hdr_len);
	field = fill_l4(g, hdr, len, last);
	put_csum(field, 0);
	sum = fill_ip(g, hdr, len);
	/* Headers are of even length, so the payload starts at an even one. */
	sum = lwr__csum_add(sum, hdr + g->l4, (size_t)(g->hdr_len - g->l4));
	csum = (uint16_t)~lwr__csum_fold(sum_iov(sum, iov, n));
	if (csum == 0 && g->proto == LWR_PROTO_UDP)
		csum = 0xffff; /* 0 says that there is none (RFC 768) */
	put_csum(field, csum);
}

int lwr__gso_next(struct lwr_gso_iter *g, struct lwr_gso_packet *out,
		  uint8_t *hdr, struct iovec *iov, unsigned max)
{
	uint32_t part = g->left;
	int n;

	if (g->left == 0 && (g->k > 0 || g->hdr_len == 0))
		return 0;
	if (g->size && part > g->size)
		part = g->size;
	n = gather(g, part, iov, max);
	if (n < 0)
		return n;
	out->hdr_len = g->hdr_len;
	out->len = g->hdr_len + part;
	out->n = (unsigned)n;
	if (g->hdr_len)
		fill_headers(g, hdr, out->len, part == g->left, iov, out->n);
	advance(g, part);
	g->left -= part;
	g->k++;
	return 1;
}
