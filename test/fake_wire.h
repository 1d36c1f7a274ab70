/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wire between guest and stack: a link that declares segmentation, cuts
 * what it is given as a real one does, and loses, doubles and delays packets
 * as the seed has it.
 */
#ifndef LWR_TEST_FAKE_WIRE_H
#define LWR_TEST_FAKE_WIRE_H

#include "core/buf.h"
#include "core/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_faults {
	unsigned drop; /* per mille of packets */
	unsigned dup;
	unsigned reorder; /* of packets that come up to jitter_ms later */
	uint32_t delay_ms;
	uint32_t jitter_ms;
	unsigned drop_next; /* so many packets are lost, then none by this */
};

struct fake_wire {
	struct lwr_link link;
	struct lwr_slab_pool slabs;
	struct fake_faults g2h;
	struct fake_faults h2g;
	bool stuck; /* takes no frames until fake_wire_unstick() */
	uint32_t per_ms; /* frames taken in a millisecond; 0: all */
	bool scheduled; /* the writable event is on its way */
	void (*to_guest)(void *arg, uint8_t *packet, size_t len);
	void *arg;
	uint64_t packets_h2g; /* cut and counted before faults */
	uint32_t max_packet; /* longest of them, Ethernet included */
};

/* caps and the guest's function; the stack is given the link by the caller. */
void fake_wire_init(struct fake_wire *w);
/* A frame from the guest. */
void fake_wire_send(struct fake_wire *w, const uint8_t *frame, size_t len);
/* The link is writable again. */
void fake_wire_unstick(struct fake_wire *w);
/* Every slab is back; frees them. */
void fake_wire_fini(struct fake_wire *w);

#endif
