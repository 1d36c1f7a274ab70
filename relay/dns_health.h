/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of several resolvers to ask next, by what they did before. */
#ifndef LWR_RELAY_DNS_HEALTH_H
#define LWR_RELAY_DNS_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* One resolver; all zero: nothing is known, which is good enough. */
struct lwr_dns_health {
	bool dead; /* did not answer */
	uint64_t answered_ms; /* when it last did */
	uint64_t probe_ms; /* when a dead one is tried again */
	uint32_t wait_ms; /* between two such probes */
};

/* It answered, whatever the answer was. */
void lwr__dns_health_good(struct lwr_dns_health *h, uint64_t now_ms);

/* It left a question of asked_ms unanswered, or refused it. */
void lwr__dns_health_bad(struct lwr_dns_health *h, uint64_t asked_ms,
			 uint64_t now_ms);

/*
 * The next of n resolvers in order that is not in the set `tried`: those that
 * answer before those that do not, and only those if `alive`. -1: none.
 */
int lwr__dns_health_next(const struct lwr_dns_health *h, unsigned n,
			 unsigned tried, bool alive);

/* A dead one, not in `tried`, that is due to be tried again; or -1. */
int lwr__dns_health_probe(struct lwr_dns_health *h, unsigned n, unsigned tried,
			  uint64_t now_ms);

#endif
