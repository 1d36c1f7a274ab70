/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The far side of an in-process link: what a foreign thread calls.
 *
 * Guest to host. A frame is copied into a slab, by the pusher, so that the
 * loop's processor is spared; from there on its bytes stay where they are
 * until the host kernel took them. Lending the guest's own memory to the loop
 * was rejected: a guest could change headers between the check and the use.
 * Slabs are the pusher's for the whole life of the link. The loop only counts
 * the frames that it is done with, one store each, and no slab travels back.
 * Almost always the loop is done with all of the open slab when the next
 * frames come, and the same warm memory is filled again.
 *
 * Host to guest. A slot is a list of pieces in memory of the loop's, which it
 * does not touch until the index passed the slot.
 *
 * Shutdown. Each call announces itself (`inside`), and then looks whether the
 * link is closed; the loop's side sets `closed`, and then looks whether
 * somebody is inside. As in core/spsc.c one of the two sees the other: either
 * the call returns -ESHUTDOWN without touching anything of the loop's, or the
 * loop waits for it to leave. A borrower is inside until the last release.
 */
#include "netif/inproc_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------- */

static void far_free(struct lwr_inproc *f)
{
	while (f->slabs > 0)
		free(f->slab[--f->slabs]);
	lwr__bell_fini(&f->bell[LWR_INPROC_G2H]);
	lwr__bell_fini(&f->bell[LWR_INPROC_H2G]);
	free(f->g2h_slot);
	free(f->h2g_slot);
	free(f->iov);
	free(f->hdr);
	uv_mutex_destroy(&f->lock);
	free(f);
}

struct lwr_inproc *lwr__inproc_far_new(const struct lwr_inproc_opts *opts,
				       uint32_t iovs, size_t hdr_size)
{
	struct lwr_inproc *f = aligned_alloc(LWR_CACHE_LINE, sizeof(*f));

	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	if (uv_mutex_init(&f->lock)) {
		free(f);
		return NULL;
	}
	f->owners = 2;
	f->opts = *opts;
	lwr__bell_init(&f->bell[LWR_INPROC_G2H]);
	lwr__bell_init(&f->bell[LWR_INPROC_H2G]);
	lwr__spsc_init(&f->g2h, opts->frames);
	lwr__spsc_init(&f->h2g, opts->frames);
	f->g2h_slot = calloc(opts->frames, sizeof(*f->g2h_slot));
	f->h2g_slot = calloc(opts->frames, sizeof(*f->h2g_slot));
	f->iov = calloc(iovs, sizeof(*f->iov));
	f->hdr = calloc(opts->frames, hdr_size);
	if (f->g2h_slot && f->h2g_slot && f->iov && f->hdr)
		return f;
	far_free(f);
	return NULL;
}

void lwr__inproc_get(struct lwr_inproc *far)
{
	atomic_fetch_add(&far->owners, 1);
}

void lwr__inproc_put(struct lwr_inproc *far)
{
	if (atomic_fetch_sub(&far->owners, 1) == 1)
		far_free(far);
}

/* False: the link is closed, and the loop's things may be gone. */
static bool enter(struct lwr_inproc *f, _Atomic bool *inside)
{
	atomic_store(inside, true);
	if (!atomic_load(&f->closed))
		return true;
	atomic_store(inside, false);
	return false;
}

static void leave(_Atomic bool *inside)
{
	atomic_store_explicit(inside, false, memory_order_release);
}

/* The caller is inside. */
static void wake_loop(struct lwr_inproc *f, _Atomic uint64_t *counter)
{
	lwr__inproc_count(counter);
	lwr__loop_post(f->loop, f->post);
}

/* ---- guest to host ------------------------------------------------------- */

static bool is_free(struct lwr_inproc_slab *s)
{
	return atomic_load_explicit(&s->done, memory_order_acquire) == s->given;
}

static struct lwr_inproc_slab *slab_new(struct lwr_inproc *f)
{
	struct lwr_inproc_slab *s;

	if (f->slabs == LWR_INPROC_SLABS)
		return NULL;
	s = aligned_alloc(LWR_CACHE_LINE, sizeof(*s));
	if (!s)
		return NULL;
	s->given = 0;
	s->live = 0;
	atomic_init(&s->done, 0);
	f->slab[f->slabs++] = s;
	return s;
}

static struct lwr_inproc_slab *find_slab(struct lwr_inproc *f)
{
	for (unsigned i = 0; i < f->slabs; i++) {
		if (is_free(f->slab[i]))
			return f->slab[i];
	}
	return slab_new(f);
}

/* Room for a frame of len bytes, headroom included; NULL: none now. */
static uint8_t *slab_room(struct lwr_inproc *f, uint32_t len)
{
	uint32_t need =
		LWR_INPROC_HEADROOM + len + 1; /* as core/buf.c has it */
	uint8_t *p;

	/* On cache lines of its own: the loop reads the frame before it. */
	need = (need + LWR_CACHE_LINE - 1) & ~(uint32_t)(LWR_CACHE_LINE - 1);
	if (f->open && is_free(f->open))
		f->used = 0;
	if (!f->open || LWR_INPROC_SLAB_SIZE - f->used < need) {
		f->open = find_slab(f);
		f->used = 0;
		if (!f->open)
			return NULL;
	}
	p = f->open->data + f->used;
	f->used += need;
	return p;
}

/* Bytes of all pieces, or more than a frame may have. */
static uint32_t length_of(const struct lwr_inproc_frame *frame)
{
	size_t len = 0;

	for (uint32_t i = 0; i < frame->n && len <= LWR_INPROC_MAX; i++) {
		if (frame->iov[i].iov_len > LWR_INPROC_MAX)
			return LWR_INPROC_MAX + 1;
		len += frame->iov[i].iov_len;
	}
	return (uint32_t)len;
}

/* False: no room. */
static bool copy_in(struct lwr_inproc *f, const struct lwr_inproc_frame *frame,
		    struct lwr_inproc_slot *slot)
{
	uint32_t len = length_of(frame);
	uint8_t *p;

	*slot = (struct lwr_inproc_slot){ .len = len };
	if (len == 0 || len > LWR_INPROC_MAX)
		return true;
	p = slab_room(f, len);
	if (!p)
		return false;
	p += LWR_INPROC_HEADROOM;
	slot->slab = f->open;
	slot->data = p;
	for (uint32_t i = 0; i < frame->n; i++) {
		if (frame->iov[i].iov_len == 0)
			continue;
		memcpy(p, frame->iov[i].iov_base, frame->iov[i].iov_len);
		p += frame->iov[i].iov_len;
	}
	f->open->given++;
	return true;
}

/* Nothing was taken. The next try is worth it when half of the ring is. */
static int no_room(struct lwr_inproc *f, bool memory)
{
	uint32_t count = f->g2h.size - lwr__spsc_room(&f->g2h, f->g2h.size);

	/* Waiting for the loop helps only if it has frames of ours. */
	if (memory && count == 0 && f->slabs < LWR_INPROC_SLABS)
		return -ENOMEM;
	f->room_at = f->g2h.head_seen + (count + 1) / 2;
	lwr__inproc_count(&f->full);
	return -EAGAIN;
}

static int push(struct lwr_inproc *f, const struct lwr_inproc_frame *frames,
		unsigned n)
{
	uint32_t room = lwr__spsc_room(&f->g2h, n), i;

	for (i = 0; i < n && i < room; i++) {
		if (!copy_in(f, &frames[i],
			     &f->g2h_slot[lwr__spsc_in(&f->g2h, i)]))
			break;
	}
	if (i == 0)
		return n ? no_room(f, room > 0) : 0;
	f->room_at = f->g2h.head_seen;
	if (lwr__spsc_publish(&f->g2h, i))
		wake_loop(f, &f->wakes_push);
	return (int)i;
}

int lwr__inproc_push(struct lwr_inproc *far,
		     const struct lwr_inproc_frame *frames, unsigned n)
{
	int r = -ESHUTDOWN;

	if (far->opts.many)
		uv_mutex_lock(&far->lock);
	if (enter(far, &far->push_inside)) {
		r = push(far, frames, n);
		leave(&far->push_inside);
	}
	if (far->opts.many)
		uv_mutex_unlock(&far->lock);
	return r;
}

/* ---- host to guest ------------------------------------------------------- */

static void consume(struct lwr_inproc *f, uint32_t n)
{
	if (n && lwr__spsc_consume(&f->h2g, n))
		wake_loop(f, &f->wakes_pop);
}

int lwr__inproc_borrow(struct lwr_inproc *far, struct lwr_inproc_frame *frames,
		       unsigned max)
{
	uint32_t first = far->borrowed, count, i;

	if (first ? atomic_load(&far->closed) : !enter(far, &far->pop_inside))
		return -ESHUTDOWN;
	max = max < far->h2g.size ? max : far->h2g.size;
	count = lwr__spsc_count(&far->h2g, first + max) - first;
	count = count < max ? count : max;
	for (i = 0; i < count; i++)
		frames[i] = far->h2g_slot[lwr__spsc_out(&far->h2g, first + i)];
	far->borrowed = first + count;
	if (!far->borrowed)
		leave(&far->pop_inside);
	return (int)count;
}

void lwr__inproc_release(struct lwr_inproc *far, unsigned n)
{
	n = n < far->borrowed ? n : far->borrowed;
	if (n == 0)
		return;
	consume(far, n);
	far->borrowed -= n;
	if (!far->borrowed)
		leave(&far->pop_inside);
}

/* Moves on in a list of pieces as a copy fills them. */
static void copy_out(const struct lwr_inproc_frame *frame,
		     struct lwr_inproc_buf *buf)
{
	const struct iovec *to = buf->iov, *end = to + buf->n;
	size_t at = 0, part, left;
	const uint8_t *from;

	buf->len = frame->len;
	for (uint32_t i = 0; i < frame->n; i++) {
		from = frame->iov[i].iov_base;
		for (left = frame->iov[i].iov_len; left; left -= part) {
			for (; to < end && at == to->iov_len; to++)
				at = 0;
			if (to == end)
				return;
			part = to->iov_len - at;
			part = part < left ? part : left;
			memcpy((uint8_t *)to->iov_base + at, from, part);
			from += part;
			at += part;
		}
	}
}

int lwr__inproc_pop(struct lwr_inproc *far, struct lwr_inproc_buf *bufs,
		    unsigned n)
{
	uint32_t count, i;

	if (far->borrowed)
		return -EBUSY;
	if (!enter(far, &far->pop_inside))
		return -ESHUTDOWN;
	count = lwr__spsc_count(&far->h2g, n);
	count = count < n ? count : n;
	for (i = 0; i < count; i++)
		copy_out(&far->h2g_slot[lwr__spsc_out(&far->h2g, i)], &bufs[i]);
	consume(far, count);
	leave(&far->pop_inside);
	return (int)count;
}

/* ---- sleeping ------------------------------------------------------------ */

static bool await(struct lwr_inproc *f, enum lwr_inproc_dir dir)
{
	bool sleep;

	if (dir == LWR_INPROC_H2G)
		return lwr__spsc_await_items(&f->h2g, f->borrowed);
	if (f->opts.many)
		uv_mutex_lock(&f->lock);
	sleep = lwr__spsc_await_room(&f->g2h, f->room_at);
	if (f->opts.many)
		uv_mutex_unlock(&f->lock);
	return sleep;
}

int lwr__inproc_arm(struct lwr_inproc *far, enum lwr_inproc_dir dir)
{
	bool sleep = await(far, dir);

	/* The close sets this first, and then wakes everyone. */
	if (atomic_load(&far->closed))
		return -ESHUTDOWN;
	return sleep ? 0 : 1;
}

int lwr__inproc_fd(struct lwr_inproc *far, enum lwr_inproc_dir dir)
{
	int fd = lwr__bell_fd(&far->bell[dir]);

	/* Then the close may not have seen it. */
	if (fd >= 0 && atomic_load(&far->closed))
		lwr__bell_ring(&far->bell[dir]);
	return fd;
}

void lwr__inproc_clear(struct lwr_inproc *far, enum lwr_inproc_dir dir)
{
	lwr__bell_clear(&far->bell[dir]);
	/* That stays readable. */
	if (atomic_load(&far->closed))
		lwr__bell_ring(&far->bell[dir]);
}

/*
 * Of many pushers several may sleep on the one bell, and on the one index that
 * the ring remembers: whoever wakes up, or finds room, wakes the next.
 */
static void count_waiting(struct lwr_inproc *f, enum lwr_inproc_dir dir,
			  int add, bool next)
{
	if (!f->opts.many || dir != LWR_INPROC_G2H)
		return;
	uv_mutex_lock(&f->lock);
	f->waiting = (unsigned)((int)f->waiting + add);
	if (next && f->waiting)
		lwr__bell_ring(&f->bell[dir]);
	uv_mutex_unlock(&f->lock);
}

/* Sleeps until there is something: a ring may be left from before. */
static int sleep_until(struct lwr_inproc *f, enum lwr_inproc_dir dir,
		       int timeout_ms)
{
	uint64_t begin = uv_hrtime();
	int left = timeout_ms, r;

	while ((r = lwr__inproc_arm(f, dir)) == 0) {
		r = lwr__bell_wait(&f->bell[dir], left);
		if (r <= 0)
			break;
		lwr__inproc_clear(f, dir);
		if (timeout_ms < 0)
			continue;
		left = timeout_ms - (int)((uv_hrtime() - begin) / 1000000);
		left = left > 0 ? left : 0;
	}
	return r;
}

int lwr__inproc_wait(struct lwr_inproc *far, enum lwr_inproc_dir dir,
		     int timeout_ms)
{
	int r = lwr__inproc_fd(far, dir);

	if (r < 0)
		return r;
	count_waiting(far, dir, 1, false);
	r = sleep_until(far, dir, timeout_ms);
	count_waiting(far, dir, -1, r > 0);
	return atomic_load(&far->closed) ? -ESHUTDOWN : r;
}

void lwr__inproc_wakes(const struct lwr_inproc *far, struct lwr_inproc_wakes *w)
{
	w->far = atomic_load_explicit(&far->wakes_far, memory_order_relaxed);
	w->loop = atomic_load_explicit(&far->wakes_push, memory_order_relaxed) +
		  atomic_load_explicit(&far->wakes_pop, memory_order_relaxed);
}
