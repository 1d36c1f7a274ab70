/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop: one libuv loop, one edge-triggered epoll set nested in it for
 * the host sockets of flows, timers, posts from other threads, and the end of a
 * tick. Loop thread only, but for lwr__loop_post().
 */
#ifndef LWR_PLATFORM_LOOP_H
#define LWR_PLATFORM_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct lwr_loop;
struct lwr_watch;
struct lwr_timer;

/*
 * A host socket under edge-triggered watch. `events` are EPOLL* bits; an edge
 * is told once, so the owner remembers readiness until EAGAIN. The memory must
 * live until the end of the tick in which lwr__watch_stop() was called.
 */
struct lwr_watch {
	int fd; /* -1: not watched */
	uint32_t events; /* EPOLLIN, EPOLLOUT; hang-up is always told */
	void (*on_event)(struct lwr_watch *w, uint32_t events);
};

/* A one-shot timer in milliseconds. */
struct lwr_timer {
	uv_timer_t uv;
	void (*on_timer)(struct lwr_timer *t);
};

/* Work that any thread can ask the loop for; many requests are one call. */
struct lwr_post {
	struct lwr_post *next; /* on loop->posted */
	_Atomic bool queued;
	/* Returns true to be called again in the next tick. */
	bool (*on_post)(struct lwr_post *p);
};

struct lwr_loop {
	uv_loop_t *uv;
	int epfd;
	uv_poll_t ep_poll;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	uv_async_t async; /* wakes the loop for `posted` */
	_Atomic(struct lwr_post *) posted; /* the last one first */
	unsigned posters; /* posts that may be posted, and the loop itself */
	/*
	 * End of a tick, before the loop may sleep: flush, pump, drain, reap.
	 * Returns true if work is left, and the loop then does not sleep.
	 */
	bool (*on_tick)(void *arg);
	void *arg;
	uint64_t busy_poll_ns; /* linger this long after work; 0: adaptive */
	uint64_t since_ns; /* when lingering began */
	int64_t balance; /* ns that lingering has saved and may spend */
	uint32_t sleeps; /* without lingering */
	uint64_t moved; /* bytes of frames, in this tick */
	uint64_t volume; /* the same, averaged over ticks */
	bool worked; /* in this tick */
	bool lingering; /* polling on before a sleep */
	bool idling;
	unsigned holds; /* what must be gone before on_closed */
	void (*on_closed)(void *arg);
};

/*
 * Returns 0 or -errno; the memory then must live until the next turn of `uv`,
 * which is borrowed until lwr__loop_fini() completed.
 */
int lwr__loop_init(struct lwr_loop *l, uv_loop_t *uv,
		   bool (*on_tick)(void *arg), void *arg);

/*
 * Whoever has uv handles of its own holds the loop until they are closed, so
 * that nothing is left in uv when on_closed comes.
 */
void lwr__loop_hold(struct lwr_loop *l);
void lwr__loop_release(struct lwr_loop *l);

/* Closes the loop's own handles; `on_closed` comes when nobody holds it. */
void lwr__loop_fini(struct lwr_loop *l, void (*on_closed)(void *arg));

/* p may be posted from now on, until the stop; that holds the loop. */
void lwr__post_start(struct lwr_loop *l, struct lwr_post *p,
		     bool (*on_post)(struct lwr_post *p));
/* Nobody posts it any more; it is not called again. */
void lwr__post_stop(struct lwr_loop *l, struct lwr_post *p);
/* Any thread: p->on_post is called at the beginning of a tick. */
void lwr__loop_post(struct lwr_loop *l, struct lwr_post *p);

/* The loop polls on for now, rather than to sleep. */
bool lwr__loop_spins(const struct lwr_loop *l);

/* Note that a frame or event came: as soon as that is known. */
void lwr__loop_worked(struct lwr_loop *l);

/* Monotonic milliseconds, as of the start of this tick. */
uint64_t lwr__loop_now(const struct lwr_loop *l);

/* Monotonic nanoseconds, read anew. */
uint64_t lwr__loop_clock(const struct lwr_loop *l);

/* Watches w->fd for edges of w->events. Returns 0 or -errno. */
int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w);

/* Ends the watch; call before the descriptor is closed. */
void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w);

void lwr__timer_init(struct lwr_loop *l, struct lwr_timer *t,
		     void (*on_timer)(struct lwr_timer *t));
void lwr__timer_start(struct lwr_timer *t, uint64_t ms);
void lwr__timer_stop(struct lwr_timer *t);
bool lwr__timer_active(const struct lwr_timer *t);
/* The memory is the caller's again when the loop's on_closed has come. */
void lwr__timer_close(struct lwr_loop *l, struct lwr_timer *t);

#endif
