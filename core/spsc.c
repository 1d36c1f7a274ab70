/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data. Both indices run freely and wrap; tail - head slots are filled. The
 * producer fills slots and then stores tail, with release; the consumer loads
 * tail, with acquire, and so sees what was filled. In the same way head hands
 * slots back. Each index is on a cache line of its own beside the owner's last
 * view of the other one, which is refreshed only when it says too little: in
 * a run of frames the lines move between the processors once per batch, not
 * once per frame.
 *
 * Sleep. Each side announces that it sleeps, then looks again, and only then
 * sleeps; the other side moves its index, and then looks for an announcement:
 *
 *     sleeper                          waker
 *     S1  store announcement           W1  store index
 *     S2  load index                   W2  load announcement
 *
 * These four are sequentially consistent, so they have one total order in
 * which S1 < S2 and W1 < W2. If S2 missed the index, then S2 < W1, thus
 * S1 < W2, and the waker sees the announcement: no wake-up is lost. With
 * release and acquire alone both could look before the other's store arrived
 * (x86 reorders just that). A fence between the two would do as well, but
 * ThreadSanitizer does not understand fences.
 *
 * Whoever takes the announcement back, by an exchange, owns the wake-up: the
 * sleeper that looked again and found something, or the waker, who then rings.
 * So there is one ring per sleep at most. A sleeper whose exchange came too
 * late is rung although it is awake: callers take a wake-up as a hint.
 *
 * The producer waits for an index and not for a count (as in virtio's event
 * index), so that it is woken when there is room worth waking for.
 */
#include "core/spsc.h"

#include "core/log.h"

#include <string.h>

#define WAITS (UINT64_C(1) << 32) /* in room_at, beside the index */

void lwr__spsc_init(struct lwr_spsc *r, uint32_t size)
{
	LWR_ASSERT(size != 0 && (size & (size - 1)) == 0);
	memset(r, 0, sizeof(*r));
	r->size = size;
}

static uint32_t own(const _Atomic uint32_t *index)
{
	return atomic_load_explicit(index, memory_order_relaxed);
}

/* Index a has come to b, or passed it. */
static bool reached(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}

/* ---- producer ------------------------------------------------------------ */

uint32_t lwr__spsc_room(struct lwr_spsc *r, uint32_t want)
{
	uint32_t tail = own(&r->tail);

	if (r->size - (tail - r->head_seen) < want)
		r->head_seen = lwr__spsc_head(r);
	return r->size - (tail - r->head_seen);
}

uint32_t lwr__spsc_head(struct lwr_spsc *r)
{
	return atomic_load_explicit(&r->head, memory_order_acquire);
}

bool lwr__spsc_publish(struct lwr_spsc *r, uint32_t n)
{
	atomic_store(&r->tail, own(&r->tail) + n);
	return atomic_load(&r->items_wanted) &&
	       atomic_exchange(&r->items_wanted, false);
}

bool lwr__spsc_await_room(struct lwr_spsc *r, uint32_t at)
{
	atomic_store(&r->room_at, WAITS | at);
	if (!reached(atomic_load(&r->head), at))
		return true;
	atomic_exchange(&r->room_at, 0);
	return false;
}

/* ---- consumer ------------------------------------------------------------ */

uint32_t lwr__spsc_count(struct lwr_spsc *r, uint32_t want)
{
	uint32_t head = own(&r->head);

	if (r->tail_seen - head < want)
		r->tail_seen =
			atomic_load_explicit(&r->tail, memory_order_acquire);
	return r->tail_seen - head;
}

bool lwr__spsc_consume(struct lwr_spsc *r, uint32_t n)
{
	uint32_t head = own(&r->head) + n;
	uint64_t at;

	atomic_store(&r->head, head);
	at = atomic_load(&r->room_at);
	return at && reached(head, (uint32_t)at) &&
	       atomic_exchange(&r->room_at, 0);
}

bool lwr__spsc_await_items(struct lwr_spsc *r, uint32_t n)
{
	atomic_store(&r->items_wanted, true);
	if (atomic_load(&r->tail) - own(&r->head) <= n)
		return true;
	atomic_exchange(&r->items_wanted, false);
	return false;
}
