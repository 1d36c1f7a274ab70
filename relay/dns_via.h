/* SPDX-License-Identifier: BSD-3-Clause */
/* Connected sockets to resolvers, between dns_via.c and dns_upstream.c. */
#ifndef LWR_RELAY_DNS_VIA_H
#define LWR_RELAY_DNS_VIA_H

#include "relay/dns_upstream.h"

/* One question on its way through one socket; part of the question. */
struct lwr_dns_try {
	struct lwr_dns_via *via; /* NULL: not on its way */
	uint64_t asked_ms;
	uint16_t id;
	uint8_t slot; /* in via */
	uint8_t server; /* which resolver, of this generation: */
	uint32_t generation;
	bool tcp;
	bool probe; /* nobody waits for it */
	const uint8_t *msg; /* the question; its identifier does not count */
	size_t len;
};

/*
 * Sends t->msg to resolver t->server under a random identifier, at the end of
 * the tick at the latest. Returns 0 or -errno; afterwards one of the two below
 * follows unless it is cancelled.
 */
int lwr__dns_via_send(struct lwr_dns_upstream *u, struct lwr_dns_try *t);
void lwr__dns_via_cancel(struct lwr_dns_try *t);

/* Hands over what is not sent yet. */
void lwr__dns_via_flush(struct lwr_dns_upstream *u);

/* Reads what is ready; what is left of that stays on up->ready. */
void lwr__dns_via_read(struct lwr_dns_upstream *u);

/*
 * In dns_upstream.c. A message with the identifier came from the resolver:
 * false if it is no answer, and the try goes on. Else it is over.
 */
bool lwr__dns_on_message(struct lwr_dns_try *t, const uint8_t *msg, size_t len);
/* The network or the resolver refused it: over. */
void lwr__dns_on_error(struct lwr_dns_try *t, int err);

#endif
