/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The indices of a bounded ring between exactly two threads, and how either
 * of them sleeps; the slots are the owner's array of `size` elements. How it
 * works is told in core/spsc.c.
 */
#ifndef LWR_CORE_SPSC_H
#define LWR_CORE_SPSC_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LWR_CACHE_LINE = 64 };

struct lwr_spsc {
	uint32_t size; /* a power of two */
	/* The producer's line; it alone writes it. */
	alignas(LWR_CACHE_LINE) _Atomic uint32_t tail; /* next to publish */
	uint32_t head_seen;
	/* The consumer's line. */
	alignas(LWR_CACHE_LINE) _Atomic uint32_t head; /* next to take */
	uint32_t tail_seen;
	/* Written by whoever goes to sleep, and by who wakes it. */
	alignas(LWR_CACHE_LINE) _Atomic uint64_t room_at; /* 0: nobody waits */
	_Atomic bool items_wanted;
};

/* `size` must be a power of two. */
void lwr__spsc_init(struct lwr_spsc *r, uint32_t size);

/* ---- producer ------------------------------------------------------------ */

/*
 * Free slots. The consumer's line is read only if fewer than `want` of them
 * are known.
 */
uint32_t lwr__spsc_room(struct lwr_spsc *r, uint32_t want);

/* Where the i-th free slot is, i < room. */
static inline uint32_t lwr__spsc_in(struct lwr_spsc *r, uint32_t i)
{
	return (atomic_load_explicit(&r->tail, memory_order_relaxed) + i) &
	       (r->size - 1);
}

/* The next n slots are filled. True: the consumer sleeps, wake it. */
bool lwr__spsc_publish(struct lwr_spsc *r, uint32_t n);

/* The consumer's index as it is now: how far it has come. */
uint32_t lwr__spsc_head(struct lwr_spsc *r);

/*
 * Asks to be woken when the consumer has come to index `at`. False: it is
 * there already, and nothing was asked for.
 */
bool lwr__spsc_await_room(struct lwr_spsc *r, uint32_t at);

/* ---- consumer ------------------------------------------------------------ */

/* Filled slots; the producer's line is read only if fewer than `want`. */
uint32_t lwr__spsc_count(struct lwr_spsc *r, uint32_t want);

/* Where the i-th filled slot is, i < count. */
static inline uint32_t lwr__spsc_out(struct lwr_spsc *r, uint32_t i)
{
	return (atomic_load_explicit(&r->head, memory_order_relaxed) + i) &
	       (r->size - 1);
}

/* Gives the first n slots back. True: the producer waits for it, wake it. */
bool lwr__spsc_consume(struct lwr_spsc *r, uint32_t n);

/*
 * Asks to be woken when there are more than n filled slots. False: there are
 * already, and nothing was asked for.
 */
bool lwr__spsc_await_items(struct lwr_spsc *r, uint32_t n);

#endif
