/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One guest frame, parsed once, with every offset checked: the only way in
 * which the rest of the program looks at guest bytes.
 */
#ifndef LWR_CORE_PKT_H
#define LWR_CORE_PKT_H

#include "core/addr.h"
#include "core/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lwr_link;
struct pbuf;

enum {
	LWR_ETH_HLEN = 14,
	LWR_ETHERTYPE_IP4 = 0x0800,
	LWR_ETHERTYPE_ARP = 0x0806,
	LWR_ETHERTYPE_IP6 = 0x86dd,
	LWR_PROTO_ICMP = 1,
	LWR_PROTO_TCP = 6,
	LWR_PROTO_UDP = 17,
	LWR_PROTO_ICMP6 = 58,
};

/* How the far side vouches for a frame; filled by the link. */
struct lwr_frame_meta {
	bool csum_ok; /* checksums need no verification */
	uint8_t gso; /* enum lwr_gso: a frame of several packets */
	uint16_t gso_size; /* payload of each of them */
};

struct lwr_pkt {
	struct lwr_link *link;
	uint8_t *data; /* the Ethernet header; contiguous */
	uint32_t len; /* bytes at data, padding included */
	struct lwr_frame_meta meta;
	uint16_t ethertype;
	uint16_t l3; /* offset of the ARP, IPv4 or IPv6 header */
	uint16_t l4; /* offset of the transport header; 0: not IP */
	uint32_t l4_len; /* transport header and payload, no padding */
	uint8_t proto; /* transport protocol */
	uint8_t ttl; /* TTL or hop limit */
	/*
	 * A fragment: l4 is its payload, whatever that begins with; in IPv6
	 * its fragment header is the 8 bytes before.
	 */
	bool fragment;
	bool reassembled; /* was fragments; set by whoever put it together */
	bool df; /* nobody may fragment it on its way: always so in IPv6 */
	struct lwr_addr src;
	struct lwr_addr dst;
	uint16_t sport; /* TCP and UDP, host order; else 0 */
	uint16_t dport;
};

/* Why a frame was not parsed; each has a counter. */
enum lwr_drop {
	LWR_DROP_NONE,
	LWR_DROP_SHORT,
	LWR_DROP_ETHERTYPE,
	LWR_DROP_MALFORMED,
	LWR_DROP_CHECKSUM,
	LWR_DROP_PROTO,
};

/* Parses pkt->data[0..len); verifies the IPv4 header checksum. */
enum lwr_drop lwr__pkt_parse(struct lwr_pkt *pkt);

/* True if the TCP, UDP, ICMP or ICMPv6 checksum holds (RFC 1071). */
bool lwr__pkt_csum_valid(const struct lwr_pkt *pkt);

/* Bounds-checked big-endian reading and writing of bytes. */
struct lwr_cursor {
	uint8_t *p;
	size_t left;
	bool bad; /* a read or write ran over the end; sticky */
};

static inline struct lwr_cursor lwr__cursor(const void *p, size_t len)
{
	return (struct lwr_cursor){ (uint8_t *)(uintptr_t)p, len, false };
}

uint8_t lwr__cursor_u8(struct lwr_cursor *c);
uint16_t lwr__cursor_u16(struct lwr_cursor *c);
uint32_t lwr__cursor_u32(struct lwr_cursor *c);
/* Copies n bytes out (zeros when over the end); out may be NULL to skip. */
void lwr__cursor_bytes(struct lwr_cursor *c, void *out, size_t n);
void lwr__cursor_put_u8(struct lwr_cursor *c, uint8_t v);
void lwr__cursor_put_u16(struct lwr_cursor *c, uint16_t v);
void lwr__cursor_put_u32(struct lwr_cursor *c, uint32_t v);
void lwr__cursor_put_bytes(struct lwr_cursor *c, const void *in, size_t n);

#endif
