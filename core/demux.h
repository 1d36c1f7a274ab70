/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A keyed hash table of tuples. The guest chooses the ports, so the hash is
 * SipHash-1-3 under a random key: nobody outside can make chains long.
 */
#ifndef LWR_CORE_DEMUX_H
#define LWR_CORE_DEMUX_H

#include "core/addr.h"

#include <stddef.h>
#include <stdint.h>

/* guest and host say which side's address and port it is. */
struct lwr_key {
	struct lwr_addr guest;
	struct lwr_addr host;
	uint32_t link; /* lwr_link.id */
	uint16_t gport;
	uint16_t hport;
};

struct lwr_demux_node {
	struct lwr_demux_node *next;
	uint64_t hash;
	struct lwr_key key;
};

struct lwr_demux {
	struct lwr_demux_node **bucket;
	size_t buckets; /* a power of two */
	size_t count;
	uint64_t k[2];
};

uint64_t lwr__siphash13(const uint64_t k[2], const void *data, size_t len);

/* Returns 0 or -ENOMEM. The hash key is random. */
int lwr__demux_init(struct lwr_demux *d);
void lwr__demux_fini(struct lwr_demux *d);

struct lwr_demux_node *lwr__demux_find(const struct lwr_demux *d,
				       const struct lwr_key *key);

/* n->key is set by the caller and not in the table yet. Grows on its own. */
void lwr__demux_add(struct lwr_demux *d, struct lwr_demux_node *n);
/* n must be in the table. */
void lwr__demux_remove(struct lwr_demux *d, struct lwr_demux_node *n);

#endif
