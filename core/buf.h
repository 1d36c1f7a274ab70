/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory for payload. Slabs hold guest frames as they were read (g2h), chunks
 * hold host bytes until the guest acknowledged them (h2g). Both come from
 * last-in first-out pools, so the memory in use stays warm in the cache.
 */
#ifndef LWR_CORE_BUF_H
#define LWR_CORE_BUF_H

#include "core/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pbuf;

/* ---- slabs: guest to host ---------------------------------------------- */

enum {
	LWR_SLAB_SIZE = 256 * 1024,
	/* Beyond so many slabs held by others, frames are copied out. */
	LWR_SLAB_HELD_MAX = 16,
};

struct lwr_slab_pool;

/* The buffer that a link reads into. */
struct lwr_slab {
	struct lwr_slab *next; /* in the pool */
	struct lwr_slab_pool *pool;
	uint32_t refs; /* pbufs in it, and the reader */
	uint8_t data[];
};

struct lwr_slab_pool {
	struct lwr_slab *free;
	struct lwr_slab *open; /* the slab being read into, or NULL */
	uint32_t used; /* bytes of it handed out */
	uint32_t held; /* slabs alive besides the open and free ones */
	uint32_t spare; /* slabs on the free list */
};

void lwr__slab_init(struct lwr_slab_pool *p);
/* Frees the slabs; every pbuf of the pool must be gone. */
void lwr__slab_fini(struct lwr_slab_pool *p);

/*
 * At least `need` writable bytes in a row, need <= LWR_SLAB_SIZE; *len says
 * how many there are. Returns NULL when memory ran out. Stays valid until
 * the next lwr__slab_room() or lwr__slab_fini(); but what was written behind
 * the used part may be moved (they may overlap) to the new room right after
 * that call.
 */
uint8_t *lwr__slab_room(struct lwr_slab_pool *p, size_t need, size_t *len);

/* Marks the first n bytes of that room as used; they belong to pbufs now. */
void lwr__slab_use(struct lwr_slab_pool *p, size_t n);

/*
 * A contiguous pbuf over [data, data+len) of the room last returned: a
 * reference, or a copy when the pool is held by slow consumers. NULL: no
 * memory.
 */
struct pbuf *lwr__slab_pbuf(struct lwr_slab_pool *p, uint8_t *data, size_t len);

/* Memory of its own for a frame; NULL: none, or it is too long. */
struct pbuf *lwr__frame_alloc(size_t len);

/* ---- chunks: host to guest ---------------------------------------------- */

enum {
	LWR_CHUNK_SIZE = 64 * 1024, /* and alignment */
	LWR_CHUNK_DATA = LWR_CHUNK_SIZE - 64,
	LWR_CHUNK_SPARE = 64, /* free chunks kept */
};

struct lwr_chunk_pool;

struct lwr_chunk {
	struct lwr_chunk *next; /* of the same flow, or free */
	struct lwr_chunk_pool *pool;
	uint32_t refs; /* the flow's, and one of each frame in a ring */
	uint32_t end; /* the flow's: stream offset behind its last byte */
	uint8_t pad[64 - 2 * sizeof(void *) - 8];
	uint8_t data[LWR_CHUNK_DATA];
};

/* All chunks of one relay. */
struct lwr_chunk_pool {
	struct lwr_chunk *free;
	uint32_t spare; /* chunks on the free list */
	uint64_t bytes; /* alive, free ones excluded */
	uint64_t limit; /* lwr__chunk_get() fails beyond */
};

void lwr__chunk_init(struct lwr_chunk_pool *p, uint64_t limit);
/* Gives free chunks back; those still referenced are freed by their put. */
void lwr__chunk_fini(struct lwr_chunk_pool *p);
/* NULL: no memory, or the limit is reached. */
struct lwr_chunk *lwr__chunk_get(struct lwr_chunk_pool *p);
/* Drops a reference; the last one returns it to the pool. */
void lwr__chunk_put(struct lwr_chunk *c);

/*
 * A frame's reference on its pbufs, and on the chunks that they point into:
 * a guest may acknowledge bytes that are still queued for it.
 */
void lwr__frame_get(struct pbuf *p);
void lwr__frame_put(struct pbuf *p);

#endif
