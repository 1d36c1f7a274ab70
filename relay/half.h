/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One direction of a flow, as a pure value: bytes come from a source, wait in
 * a queue, go to a sink. The end of the stream passes after the last byte.
 */
#ifndef LWR_RELAY_HALF_H
#define LWR_RELAY_HALF_H

#include <stdbool.h>
#include <stdint.h>

enum lwr_half {
	LWR_HALF_OPEN, /* the source may still send */
	LWR_HALF_DRAIN, /* the source ended, the queue is not empty */
	LWR_HALF_SHUT, /* the end was passed on */
};

enum lwr_half_action {
	LWR_HALF_NONE,
	LWR_HALF_SHUTDOWN, /* pass the end of the stream to the sink, once */
};

/* The source ended while `queued` bytes wait. */
enum lwr_half_action lwr__half_eof(enum lwr_half *h, uint64_t queued);

/* The sink took the last queued byte. */
enum lwr_half_action lwr__half_drained(enum lwr_half *h);

/* "OPEN", "DRAIN" or "SHUT". */
const char *lwr__half_name(enum lwr_half h);

#endif
