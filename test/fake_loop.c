/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that happens is an event on one list sorted by time: timers of
 * the relay, packets on the wire, the host's doings. Equal times keep their
 * order. The tick follows an event at once, or, as the seed has it, after
 * several of the same millisecond, as the real loop gathers what poll returns.
 *
 * Edges are collected like epoll_wait() does: first the watches, then the
 * calls, so that a watch freed too early by one of them is a use after free.
 */
#include "test/fake_loop.h"

#include "platform/loop.h"
#include "test/fake_rand.h"
#include "test/fake_sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	START_MS = 1000000,
	FDS = 65536,
	SPIN_MAX = 1000000, /* events in one millisecond */
	AGAIN_MAX = 10000, /* ticks that ask for another */
};

struct fake_event {
	struct fake_event *next;
	struct fake_event *prev;
	uint64_t at;
	fake_fn fn;
	void *ctx;
	size_t len;
	uint8_t data[];
};

static struct fake_event head; /* of the list: the soonest is head.next */

static struct {
	struct lwr_loop *loop;
	uint64_t now;
	uint64_t ticks;
	uint64_t spin; /* events since the clock moved */
	uint64_t looks; /* at the clock */
	unsigned events;
	unsigned timers;
	struct lwr_watch *watch[FDS];
	bool edge[FDS];
	int edges[FDS]; /* descriptors with an edge to tell */
	unsigned n_edges;
	bool telling; /* an event will tell them */
} fl;

/* ---- events ---------------------------------------------------------------- */

static void unlink_event(struct fake_event *e)
{
	e->next->prev = e->prev;
	e->prev->next = e->next;
	fl.events--;
}

void fake_loop_reset(void)
{
	struct fake_event *e;

	while (head.next && (e = head.next) != &head) {
		unlink_event(e);
		free(e);
	}
	memset(&fl, 0, sizeof(fl));
	head.next = &head;
	head.prev = &head;
	fl.now = START_MS;
}

struct fake_event *fake_post(uint64_t ms, fake_fn fn, void *ctx,
			     const void *data, size_t len)
{
	struct fake_event *e = malloc(sizeof(*e) + len), *p;

	if (!e)
		abort();
	e->at = fl.now + ms;
	e->fn = fn;
	e->ctx = ctx;
	e->len = len;
	if (len)
		memcpy(e->data, data, len);
	for (p = head.prev; p != &head && p->at > e->at; p = p->prev)
		;
	e->prev = p;
	e->next = p->next;
	p->next->prev = e;
	p->next = e;
	fl.events++;
	return e;
}

struct fake_event *fake_at(uint64_t ms, fake_fn fn, void *ctx)
{
	return fake_post(ms, fn, ctx, NULL, 0);
}

void fake_cancel(struct fake_event *e)
{
	unlink_event(e);
	free(e);
}

/* ---- running ---------------------------------------------------------------- */

static void tick(void)
{
	unsigned again = 0;

	if (!fl.loop)
		return;
	do
		fl.ticks++;
	while (fl.loop->on_tick(fl.loop->arg) && again++ < AGAIN_MAX);
	if (again >= AGAIN_MAX)
		fake_fail("on_tick has work left for ever");
}

static void step(void)
{
	struct fake_event *e = head.next;

	if (e->at > fl.now)
		fl.spin = 0;
	fl.now = e->at;
	unlink_event(e);
	e->fn(e->ctx, e->data, e->len);
	free(e);
	if (++fl.spin > SPIN_MAX)
		fake_fail("the loop spins at %llu ms",
			  (unsigned long long)fl.now);
	if (head.next == &head || head.next->at > fl.now || fake_chance(500))
		tick();
}

bool fake_run_until(bool (*cond)(void *arg), void *arg, uint64_t ms)
{
	uint64_t end = fl.now + ms;

	/* What the test did between two runs. */
	tick();
	while (!fake_failed()) {
		if (cond && cond(arg))
			return true;
		if (head.next == &head || head.next->at > end)
			break;
		step();
	}
	if (!fake_failed())
		fl.now = end;
	return cond && cond(arg);
}

void fake_run(uint64_t ms)
{
	(void)fake_run_until(NULL, NULL, ms);
}

uint64_t fake_now(void)
{
	return fl.now;
}

unsigned fake_events(void)
{
	return fl.events;
}

unsigned fake_timers(void)
{
	return fl.timers;
}

uint64_t fake_ticks(void)
{
	return fl.ticks;
}

/* ---- platform/loop.h ---------------------------------------------------------- */

int lwr__loop_init(struct lwr_loop *l, uv_loop_t *uv,
		   bool (*on_tick)(void *arg), void *arg)
{
	*l = (struct lwr_loop){ .uv = uv, .on_tick = on_tick, .arg = arg };
	fl.loop = l;
	return 0;
}

void lwr__loop_fini(struct lwr_loop *l, void (*on_closed)(void *arg))
{
	fl.loop = NULL;
	if (on_closed)
		on_closed(l->arg);
}

void lwr__loop_hold(struct lwr_loop *l)
{
	l->holds++;
}

void lwr__loop_release(struct lwr_loop *l)
{
	l->holds--;
}

static void on_posted(void *ctx, const void *data, size_t len)
{
	struct lwr_post *p = ctx;

	(void)data;
	(void)len;
	if (atomic_exchange(&p->queued, false) && p->on_post(p))
		lwr__loop_post(fl.loop, p);
}

void lwr__post_start(struct lwr_loop *l, struct lwr_post *p,
		     bool (*on_post)(struct lwr_post *p))
{
	p->on_post = on_post;
	l->holds++;
}

void lwr__post_stop(struct lwr_loop *l, struct lwr_post *p)
{
	atomic_store(&p->queued, false);
	l->holds--;
}

/* From the one thread that there is. */
void lwr__loop_post(struct lwr_loop *l, struct lwr_post *p)
{
	(void)l;
	if (!atomic_exchange(&p->queued, true))
		fake_at(0, on_posted, p);
}

bool lwr__loop_spins(const struct lwr_loop *l)
{
	(void)l;
	return false;
}

void lwr__loop_worked(struct lwr_loop *l)
{
	(void)l;
}

uint64_t lwr__loop_now(const struct lwr_loop *l)
{
	(void)l;
	return fl.now;
}

/* A look at it takes a microsecond. */
uint64_t lwr__loop_clock(const struct lwr_loop *l)
{
	(void)l;
	return fl.now * 1000000 + ++fl.looks * 1000;
}

static void tell_edges(void *ctx, const void *data, size_t len)
{
	static struct lwr_watch *told[FDS];
	static uint32_t events[FDS];
	unsigned i, n = 0;

	(void)ctx;
	(void)data;
	(void)len;
	fl.telling = false;
	for (i = 0; i < fl.n_edges; i++) {
		int fd = fl.edges[i];

		fl.edge[fd] = false;
		told[n] = fl.watch[fd];
		/* Closing took the descriptor out of the set. */
		events[n] = told[n] ? fake_sock_ready(fd) : 0;
		if (events[n])
			n++;
	}
	fl.n_edges = 0;
	for (i = 0; i < n; i++) {
		if (told[i]->fd >= 0)
			told[i]->on_event(told[i], events[i]);
	}
}

void fake_edge(int fd)
{
	if (fd < 0 || !fl.watch[fd] || fl.edge[fd])
		return;
	fl.edge[fd] = true;
	fl.edges[fl.n_edges++] = fd;
	if (!fl.telling)
		fake_at(0, tell_edges, NULL);
	fl.telling = true;
}

int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	if (w->fd < 0 || w->fd >= FDS)
		return -EBADF;
	if (fl.watch[w->fd])
		fake_fail("descriptor %d is watched twice", w->fd);
	fl.watch[w->fd] = w;
	if (fake_sock_ready(w->fd))
		fake_edge(w->fd);
	return 0;
}

void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	if (w->fd >= 0)
		fl.watch[w->fd] = NULL;
	w->fd = -1;
}

static void on_fake_timer(void *ctx, const void *data, size_t len)
{
	struct lwr_timer *t = ctx;

	(void)data;
	(void)len;
	t->uv.data = NULL;
	t->on_timer(t);
}

/* uv.data is the event while the timer runs. */
void lwr__timer_init(struct lwr_loop *l, struct lwr_timer *t,
		     void (*on_timer)(struct lwr_timer *t))
{
	(void)l;
	memset(&t->uv, 0, sizeof(t->uv));
	t->on_timer = on_timer;
	fl.timers++;
}

void lwr__timer_stop(struct lwr_timer *t)
{
	if (t->uv.data)
		fake_cancel(t->uv.data);
	t->uv.data = NULL;
}

void lwr__timer_start(struct lwr_timer *t, uint64_t ms)
{
	lwr__timer_stop(t);
	t->uv.data = fake_at(ms, on_fake_timer, t);
}

bool lwr__timer_active(const struct lwr_timer *t)
{
	return t->uv.data != NULL;
}

void lwr__timer_close(struct lwr_loop *l, struct lwr_timer *t)
{
	(void)l;
	lwr__timer_stop(t);
	fl.timers--;
}
