/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/timewait.h"

#include "platform/sock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert((LWR_TIMEWAIT_SLOTS & (LWR_TIMEWAIT_SLOTS - 1)) == 0,
	      "a mask picks the slot");

int lwr__timewait_init(struct lwr_timewait *t)
{
	t->slot = calloc(LWR_TIMEWAIT_SLOTS, sizeof(*t->slot));
	if (!t->slot)
		return -ENOMEM;
	lwr__random(t->k, sizeof(t->k));
	return 0;
}

void lwr__timewait_fini(struct lwr_timewait *t)
{
	free(t->slot);
	t->slot = NULL;
}

static struct lwr_timewait_slot *slot_of(const struct lwr_timewait *t,
					 const struct lwr_key *key)
{
	uint64_t hash = lwr__siphash13(t->k, key, sizeof(*key));

	return &t->slot[hash & (LWR_TIMEWAIT_SLOTS - 1)];
}

void lwr__timewait_add(struct lwr_timewait *t, const struct lwr_key *key,
		       uint32_t snd_nxt, uint32_t rcv_nxt, uint64_t now_ms)
{
	*slot_of(t, key) = (struct lwr_timewait_slot){
		.key = *key,
		.since_ms = now_ms ? now_ms : 1,
		.snd_nxt = snd_nxt,
		.rcv_nxt = rcv_nxt,
	};
}

struct lwr_timewait_slot *lwr__timewait_find(struct lwr_timewait *t,
					     const struct lwr_key *key,
					     uint64_t now_ms)
{
	struct lwr_timewait_slot *s = slot_of(t, key);

	if (s->since_ms == 0 || now_ms >= s->since_ms + LWR_TIMEWAIT_MS)
		return NULL;
	return memcmp(&s->key, key, sizeof(*key)) == 0 ? s : NULL;
}

void lwr__timewait_remove(struct lwr_timewait_slot *slot)
{
	slot->since_ms = 0;
}
