/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers that may be given again until their TTLs end. */
#ifndef LWR_RELAY_DNS_CACHE_H
#define LWR_RELAY_DNS_CACHE_H

#include "core/list.h"
#include "relay/dns_msg.h"

#include <stddef.h>
#include <stdint.h>

struct lwr_dns_cache {
	struct lwr_list *bucket;
	uint32_t buckets; /* a power of two; 0: caches nothing */
	uint32_t limit; /* entries */
	uint32_t entries;
	size_t bytes;
	struct lwr_list lru; /* longest unused first */
	uint64_t k[2];
};

/* Returns 0 or -ENOMEM. limit 0: caches nothing. */
int lwr__dns_cache_init(struct lwr_dns_cache *c, uint32_t limit);
void lwr__dns_cache_fini(struct lwr_dns_cache *c);

/* Forgets all answers: the network has changed. */
void lwr__dns_cache_flush(struct lwr_dns_cache *c);

/*
 * The answer under the key, as it came, with its age in seconds; NULL: there
 * is none. Valid until the next call.
 */
const uint8_t *lwr__dns_cache_get(struct lwr_dns_cache *c,
				  const struct lwr_dns_key *key,
				  uint64_t now_ms, size_t *len, uint32_t *age);

/* Keeps a copy of an answer for ttl seconds, in place of an older one. */
void lwr__dns_cache_put(struct lwr_dns_cache *c, const struct lwr_dns_key *key,
			uint64_t now_ms, uint32_t ttl, const uint8_t *msg,
			size_t len);

#endif
