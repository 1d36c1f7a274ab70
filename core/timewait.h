/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections in TIME-WAIT (RFC 9293 3.6.1): remembered only to acknowledge a
 * repeated FIN and to judge a new SYN of the same tuple. A direct-mapped
 * table: a newer connection may displace an older one, nothing ever expires
 * by a timer.
 */
#ifndef LWR_CORE_TIMEWAIT_H
#define LWR_CORE_TIMEWAIT_H

#include "core/demux.h"

#include <stdbool.h>
#include <stdint.h>

enum { LWR_TIMEWAIT_SLOTS = 2048, LWR_TIMEWAIT_MS = 60000 };

struct lwr_timewait_slot {
	struct lwr_key key;
	uint64_t since_ms; /* 0: empty */
	uint32_t snd_nxt; /* host order */
	uint32_t rcv_nxt;
};

struct lwr_timewait {
	struct lwr_timewait_slot *slot;
	uint64_t k[2];
};

int lwr__timewait_init(struct lwr_timewait *t);
void lwr__timewait_fini(struct lwr_timewait *t);
void lwr__timewait_add(struct lwr_timewait *t, const struct lwr_key *key,
		       uint32_t snd_nxt, uint32_t rcv_nxt, uint64_t now_ms);
/* Returns the live slot of the tuple or NULL. */
struct lwr_timewait_slot *lwr__timewait_find(struct lwr_timewait *t,
					     const struct lwr_key *key,
					     uint64_t now_ms);
void lwr__timewait_remove(struct lwr_timewait_slot *slot);

#endif
