/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP segments of a simulated guest, to and from Ethernet frames. */
#ifndef LWR_TEST_FAKE_SEG_H
#define LWR_TEST_FAKE_SEG_H

#include "core/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SEG_FIN = 1,
	SEG_SYN = 2,
	SEG_RST = 4,
	SEG_PSH = 8,
	SEG_ACK = 16,
	SEG_URG = 32,
	SEG_FRAME_MAX = 65600,
};

/* Ports are the guest's and the host's, whichever sent the segment. */
struct fake_seg {
	uint16_t gport;
	uint16_t hport;
	bool six;
	uint8_t flags;
	uint8_t ttl; /* of the guest's; 0: 64 */
	uint32_t seq;
	uint32_t ack;
	uint16_t wnd;
	uint16_t urgent;
	uint16_t mss; /* option; 0: none */
	int ws; /* option; -1: none */
	bool sack; /* option: permitted */
	bool ts; /* option */
	uint32_t tsval;
	uint32_t tsecr;
	const uint8_t *data;
	uint32_t len;
	/* Received ICMP errors: flags is 0, and ports are those quoted. */
	bool icmp;
	uint8_t icmp_type;
	uint8_t icmp_code;
	struct lwr_addr icmp_from;
};

/* Writes the guest's frame; returns its length. */
size_t fake_seg_build(const struct fake_seg *s, uint8_t *frame);

/*
 * Parses a packet for the guest, checksums included. False: it is neither a
 * TCP segment nor an ICMP error, or it is damaged (then that is a failure).
 */
bool fake_seg_parse(struct fake_seg *s, uint8_t *frame, size_t len);

/* Writes a checksum of TCP again after a change of the frame. */
void fake_seg_fix(uint8_t *frame, size_t len);

#endif
