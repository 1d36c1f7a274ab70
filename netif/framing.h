/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames in a byte stream: u32 big-endian length, then the frame. */
#ifndef LWR_NETIF_FRAMING_H
#define LWR_NETIF_FRAMING_H

#include <stddef.h>
#include <stdint.h>

enum {
	LWR_FRAMING_HLEN = 4,
	LWR_FRAMING_MIN = 14, /* an Ethernet header */
	LWR_FRAMING_MAX = 65535, /* that we send */
};

/*
 * Looks at the start of `len` bytes. Returns 1 if a whole frame is there, of
 * *frame bytes after the header; 0 if bytes are missing; -EPROTO if its
 * length is impossible, below an Ethernet header or beyond `max`, as soon as
 * that can be told.
 */
int lwr__framing_cut(const uint8_t *data, size_t len, uint32_t max,
		     uint32_t *frame);

/* Writes the header of a frame of `frame` bytes. */
void lwr__framing_put(uint8_t hdr[LWR_FRAMING_HLEN], uint32_t frame);

#endif
