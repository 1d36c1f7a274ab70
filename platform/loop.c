/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tick is one turn of libuv's loop: links and sockets are read in the poll
 * phase, and what came of it is finished once, in on_tick, before the loop
 * sleeps. libuv runs timers before it polls, so on_tick is called both after
 * polling (check) and before sleeping (prepare); when nothing happened it
 * costs a few loads.
 *
 * Host sockets of flows are in one edge-triggered epoll set, itself watched by
 * libuv. An edge is told once, so a socket costs one epoll_ctl in its life:
 * stopping to read for want of credit, and starting again, costs none. The
 * owner keeps the readiness it was told of until EAGAIN.
 *
 * Other threads push a post on a list without locks and wake the loop; each
 * tick begins with the posts. One async handle serves all, because libuv looks
 * at every one that there is when any of them is sent. It is closed when the
 * last thread that may send it has left.
 *
 * A batch of large frames takes a while to read. What came to sockets
 * meanwhile need not wait for the next one: they are looked at once more.
 *
 * When on_tick says that work is left, or while lingering, an idle handle
 * keeps libuv from sleeping.
 *
 * Lingering: to sleep and to be woken costs two context switches and, between
 * processors, an interrupt; when the next event is a few microseconds away,
 * polling for it is cheaper and much sooner. So after work the loop polls on
 * for at most LINGER_NS, as long as that pays: a balance gains SLEEP_NS, what
 * a sleep costs, for each event that came in time, and loses the time that was
 * spent. When it is used up, only each PROBE_EVERY-th sleep is preceded by a
 * try. An idle process sleeps, and one whose events are far apart spends less
 * than 1 us more for each. --busy-poll replaces this by a fixed time.
 */
#include "platform/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	EVENTS_PER_WAKE = 256,
	LINGER_NS = 50 * 1000,
	SLEEP_NS = 20 * 1000,
	AT_ONCE_NS = 2 * 1000, /* there would not have been a sleep */
	BALANCE_MAX = 4 * LINGER_NS,
	ALLOWANCE = 2 * LINGER_NS,
	PROBE_EVERY = 128,
	BULK = 8 * 1024, /* bytes of a tick, on average */
	LOOK_AGAIN = 64 * 1024, /* bytes moved since no work was left */
};

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

static void set_idling(struct lwr_loop *l, bool idling)
{
	if (idling == l->idling)
		return;
	l->idling = idling;
	if (idling)
		uv_idle_start(&l->idle, on_idle);
	else
		uv_idle_stop(&l->idle);
}

bool lwr__loop_spins(const struct lwr_loop *l)
{
	return l->lingering || (l->worked && l->busy_poll_ns);
}

/* Lingering earned so many nanoseconds, or cost them. */
static void settle(struct lwr_loop *l, int64_t earned)
{
	l->lingering = false;
	l->balance += earned;
	if (l->balance < 0)
		l->balance = 0;
	if (l->balance > BALANCE_MAX)
		l->balance = BALANCE_MAX;
}

static bool may_linger(struct lwr_loop *l)
{
	l->volume = l->volume - l->volume / 8 + l->moved / 8;
	l->moved = 0;
	if (l->busy_poll_ns)
		return true;
	if (l->balance == 0 && ++l->sleeps % PROBE_EVERY == 0)
		l->balance = ALLOWANCE;
	return l->volume < BULK && l->balance > 0;
}

/* Nothing is left to do: poll on rather than sleep? */
static bool linger(struct lwr_loop *l)
{
	uint64_t limit = l->busy_poll_ns ? l->busy_poll_ns : LINGER_NS;
	uint64_t now;

	if (!l->worked && !l->lingering)
		return false;
	now = uv_hrtime();
	if (l->worked) {
		l->worked = false;
		l->lingering = may_linger(l);
		l->since_ns = now;
	} else if (now - l->since_ns >= limit) {
		settle(l, -(int64_t)limit);
	}
	return l->lingering;
}

/* ---- posts ---------------------------------------------------------------- */

/* False: it is queued already. */
static bool enqueue(struct lwr_loop *l, struct lwr_post *p)
{
	if (atomic_exchange(&p->queued, true))
		return false;
	p->next = atomic_load_explicit(&l->posted, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&l->posted, &p->next, p))
		;
	return true;
}

void lwr__loop_post(struct lwr_loop *l, struct lwr_post *p)
{
	if (enqueue(l, p))
		uv_async_send(&l->async);
}

/* All that is queued, the first one first. */
static struct lwr_post *take_posts(struct lwr_loop *l)
{
	struct lwr_post *p, *next, *first = NULL;

	if (!atomic_load_explicit(&l->posted, memory_order_relaxed))
		return NULL;
	for (p = atomic_exchange(&l->posted, NULL); p; p = next) {
		next = p->next;
		p->next = first;
		first = p;
	}
	return first;
}

static void run_posts(struct lwr_loop *l)
{
	struct lwr_post *p, *next;

	for (p = take_posts(l); p; p = next) {
		next = p->next;
		/* From here on it can be posted anew. */
		atomic_store(&p->queued, false);
		if (p->on_post(p))
			enqueue(l, p);
	}
}

/* The posts are run by the end of the tick. */
static void on_async(uv_async_t *h)
{
	(void)h;
}

/* ---- ticks ---------------------------------------------------------------- */

static void end_tick(struct lwr_loop *l)
{
	bool more;

	run_posts(l);
	if (l->on_closed)
		return; /* a post has ended it all */
	/* Posts may stay for as long as we linger: they are no work. */
	more = l->on_tick(l->arg) || linger(l) || atomic_load(&l->posted);
	set_idling(l, more);
}

static void on_prepare(uv_prepare_t *h)
{
	end_tick(h->data);
}

/* What sockets have to say. */
static void look(struct lwr_loop *l)
{
	struct epoll_event ev[EVENTS_PER_WAKE];
	struct lwr_watch *w;
	int i, n;

	n = epoll_wait(l->epfd, ev, EVENTS_PER_WAKE, 0);
	if (n > 0)
		lwr__loop_worked(l);
	for (i = 0; i < n; i++) {
		w = ev[i].data.ptr;
		/* Stopped by an earlier event of this wake; not freed yet. */
		if (w->fd >= 0)
			w->on_event(w, ev[i].events);
	}
}

static void on_epoll(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	look(h->data);
}

static void on_check(uv_check_t *h)
{
	struct lwr_loop *l = h->data;

	if (l->moved >= LOOK_AGAIN)
		look(l);
	end_tick(l);
}

int lwr__loop_init(struct lwr_loop *l, uv_loop_t *uv,
		   bool (*on_tick)(void *arg), void *arg)
{
	int err;

	*l = (struct lwr_loop){
		.uv = uv, .on_tick = on_tick, .arg = arg, .posters = 1
	};
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		return -errno;
	/* In this order: the second one needs no descriptor and no memory. */
	err = uv_async_init(uv, &l->async, on_async);
	if (err)
		goto err_undo_epoll;
	err = uv_poll_init(uv, &l->ep_poll, l->epfd);
	if (err)
		goto err_undo_async;
	uv_prepare_init(uv, &l->prepare);
	uv_check_init(uv, &l->check);
	uv_idle_init(uv, &l->idle);
	l->ep_poll.data = l;
	l->prepare.data = l;
	l->check.data = l;
	l->idle.data = l;
	uv_poll_start(&l->ep_poll, UV_READABLE, on_epoll);
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	return 0;

err_undo_async:
	uv_close((uv_handle_t *)&l->async, NULL);
err_undo_epoll:
	close(l->epfd);
	return err;
}

void lwr__loop_hold(struct lwr_loop *l)
{
	l->holds++;
}

void lwr__loop_release(struct lwr_loop *l)
{
	if (--l->holds > 0 || !l->on_closed)
		return;
	close(l->epfd);
	l->on_closed(l->arg);
}

static void on_handle_closed(uv_handle_t *h)
{
	lwr__loop_release(h->data);
}

static void close_handle(struct lwr_loop *l, uv_handle_t *h)
{
	h->data = l;
	lwr__loop_hold(l);
	uv_close(h, on_handle_closed);
}

static void poster_left(struct lwr_loop *l)
{
	if (--l->posters == 0)
		close_handle(l, (uv_handle_t *)&l->async);
}

void lwr__post_start(struct lwr_loop *l, struct lwr_post *p,
		     bool (*on_post)(struct lwr_post *p))
{
	p->on_post = on_post;
	l->posters++;
	lwr__loop_hold(l);
}

void lwr__post_stop(struct lwr_loop *l, struct lwr_post *gone)
{
	struct lwr_post *p, *next;

	for (p = take_posts(l); p; p = next) {
		next = p->next;
		atomic_store(&p->queued, false);
		if (p != gone)
			enqueue(l, p);
	}
	poster_left(l);
	lwr__loop_release(l);
}

void lwr__loop_fini(struct lwr_loop *l, void (*on_closed)(void *arg))
{
	l->on_closed = on_closed;
	poster_left(l);
	close_handle(l, (uv_handle_t *)&l->ep_poll);
	close_handle(l, (uv_handle_t *)&l->prepare);
	close_handle(l, (uv_handle_t *)&l->check);
	close_handle(l, (uv_handle_t *)&l->idle);
}

void lwr__loop_worked(struct lwr_loop *l)
{
	int64_t waited;

	if (l->lingering) {
		waited = (int64_t)(uv_hrtime() - l->since_ns);
		settle(l, waited < AT_ONCE_NS ? 0 : SLEEP_NS - waited);
	}
	l->worked = true;
}

uint64_t lwr__loop_now(const struct lwr_loop *l)
{
	return uv_now(l->uv);
}

uint64_t lwr__loop_clock(const struct lwr_loop *l)
{
	(void)l;
	return uv_hrtime();
}

int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w)
{
	struct epoll_event ev = {
		.events = w->events | EPOLLRDHUP | EPOLLET,
		.data.ptr = w,
	};

	return epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0 ? -errno : 0;
}

void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w)
{
	/*
	 * Closing the descriptor takes it out of the set: every socket has one
	 * descriptor only, ours, closed next.
	 */
	(void)l;
	w->fd = -1;
}

static void on_uv_timer(uv_timer_t *h)
{
	struct lwr_timer *t = h->data;

	t->on_timer(t);
}

void lwr__timer_init(struct lwr_loop *l, struct lwr_timer *t,
		     void (*on_timer)(struct lwr_timer *t))
{
	uv_timer_init(l->uv, &t->uv);
	t->uv.data = t;
	t->on_timer = on_timer;
}

void lwr__timer_start(struct lwr_timer *t, uint64_t ms)
{
	uv_timer_start(&t->uv, on_uv_timer, ms, 0);
}

void lwr__timer_stop(struct lwr_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool lwr__timer_active(const struct lwr_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

void lwr__timer_close(struct lwr_loop *l, struct lwr_timer *t)
{
	close_handle(l, (uv_handle_t *)&t->uv);
}
