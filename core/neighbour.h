/* SPDX-License-Identifier: BSD-3-Clause */
/* Which hardware address on a link has which IP address. */
#ifndef LWR_CORE_NEIGHBOUR_H
#define LWR_CORE_NEIGHBOUR_H

#include "core/addr.h"
#include "core/config.h"

#include <stdbool.h>
#include <stdint.h>

enum { LWR_NEIGHBOUR_SETS = 64, LWR_NEIGHBOUR_WAYS = 4 };

struct lwr_neighbour {
	struct lwr_addr addr; /* all zeros: the slot is free */
	uint8_t mac[6];
};

struct lwr_neighbours {
	uint8_t mac[6]; /* source of the last valid frame; ff:..: none yet */
	bool known; /* there was one */
	bool many; /* frames came from more than one, or leases say so */
	const struct lwr_neighbour *last; /* learned or confirmed; or NULL */
	struct lwr_neighbour slot[LWR_NEIGHBOUR_SETS][LWR_NEIGHBOUR_WAYS];
};

/* Forgets everything. */
void lwr__neighbours_reset(struct lwr_neighbours *n, const struct lwr_net *net);

/* A valid frame came from `mac`. */
void lwr__neighbours_saw(struct lwr_neighbours *n, const uint8_t mac[6]);

/*
 * `addr` is at `mac`, as a guest itself says. Ignored for an address that no
 * guest of the network can have, and for one that a lease gives to another.
 */
void lwr__neighbours_learn(struct lwr_neighbours *n, const struct lwr_net *net,
			   const struct lwr_addr *addr, const uint8_t mac[6]);

/*
 * Where a unicast address is: what was learned, else what a lease says, else
 * the source of the last frame. Lifetime: until the next call.
 */
const uint8_t *lwr__neighbours_find(const struct lwr_neighbours *n,
				    const struct lwr_net *net,
				    const struct lwr_addr *addr);

#endif
