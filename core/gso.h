/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segmentation and checksums in software, for links whose far side does
 * neither: cuts a frame of a ring into wire packets without copying payload.
 */
#ifndef LWR_CORE_GSO_H
#define LWR_CORE_GSO_H

#include "core/ring.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Ethernet, IPv4 with options or IPv6, TCP with options. */
enum { LWR_GSO_HDR_MAX = 14 + 60 + 60 };

/* Where in a frame the next packet begins. Valid while the frame is queued. */
struct lwr_gso_iter {
	const struct pbuf *q; /* where its payload is; NULL: at the end */
	uint32_t q_off; /* and at which byte of q */
	uint32_t left; /* payload bytes not yet handed out */
	uint32_t k; /* packets handed out */
	uint16_t size; /* payload of a packet; 0: all of it in one */
	uint16_t l4; /* offset of the transport header */
	uint16_t hdr_len; /* 0: the frame goes out as it is */
	uint8_t proto; /* transport protocol */
	uint8_t hdr[LWR_GSO_HDR_MAX]; /* as in the frame */
};

/* One wire packet: hdr_len header bytes, then n pieces of payload. */
struct lwr_gso_packet {
	uint32_t hdr_len; /* 0: the headers are in the pieces */
	uint32_t len; /* of the whole packet */
	unsigned n;
};

/* f stays as it is until the last packet was used. */
void lwr__gso_init(struct lwr_gso_iter *g, const struct lwr_frame *f);

/*
 * The next packet: its headers into hdr (LWR_GSO_HDR_MAX bytes), its payload
 * as iovecs. Returns 1; 0 after the last one; -ENOBUFS if it needs more than
 * `max` iovecs, and then nothing changed. The same frame always gives the
 * same packets.
 */
int lwr__gso_next(struct lwr_gso_iter *g, struct lwr_gso_packet *out,
		  uint8_t *hdr, struct iovec *iov, unsigned max);

#endif
