/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { EVENTS = 200, EVERY_MS = 2, FIXED_NS = 50 * 1000 };

struct world {
	uv_loop_t uv;
	struct lwr_loop loop;
	struct lwr_watch watch;
	struct lwr_timer timer;
	int peer;
	unsigned sent;
	unsigned seen;
};

static bool on_tick(void *arg)
{
	(void)arg;
	return false;
}

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct world *t =
		(struct world *)(void *)((char *)w -
					 offsetof(struct world, watch));
	char c;

	(void)events;
	while (recv(w->fd, &c, 1, 0) == 1)
		t->seen++;
}

static void on_closed(void *arg)
{
	(void)arg;
}

static void on_timer(struct lwr_timer *timer)
{
	struct world *t =
		(struct world *)(void *)((char *)timer -
					 offsetof(struct world, timer));

	if (t->sent == EVENTS && t->seen == EVENTS) {
		lwr__watch_stop(&t->loop, &t->watch);
		lwr__timer_close(&t->loop, timer);
		lwr__loop_fini(&t->loop, on_closed);
		return;
	}
	if (t->sent < EVENTS && send(t->peer, "x", 1, 0) == 1)
		t->sent++;
	lwr__timer_start(timer, EVERY_MS);
}

/* Processor time that events take which come every EVERY_MS. */
static int64_t cpu_of_events(uint64_t busy_poll_ns)
{
	struct world w = { 0 };
	struct timespec a, b;
	int fd[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(uv_loop_init(&w.uv), 0);
	assert_int_equal(lwr__loop_init(&w.loop, &w.uv, on_tick, &w), 0);
	w.loop.busy_poll_ns = busy_poll_ns;
	w.watch.fd = fd[0];
	w.watch.events = EPOLLIN;
	w.watch.on_event = on_event;
	w.peer = fd[1];
	assert_int_equal(lwr__watch_start(&w.loop, &w.watch), 0);
	lwr__timer_init(&w.loop, &w.timer, on_timer);
	lwr__timer_start(&w.timer, EVERY_MS);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	uv_run(&w.uv, UV_RUN_DEFAULT);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_int_equal(w.seen, EVENTS);
	assert_int_equal(uv_loop_close(&w.uv), 0);
	close(fd[0]);
	close(fd[1]);
	return (b.tv_sec - a.tv_sec) * 1000000000LL + (b.tv_nsec - a.tv_nsec);
}

static void sparse_events_are_slept_for(void **state)
{
	int64_t fixed = cpu_of_events(FIXED_NS);
	int64_t own = cpu_of_events(0);

	(void)state;
	/* One that polled as long after each would not be cheaper at all. */
	assert_true(own < fixed - EVENTS * FIXED_NS / 2);
}

/* ---- sockets beside bulk ------------------------------------------------- */

struct bulk {
	uv_loop_t uv;
	struct lwr_loop loop;
	struct lwr_watch watch;
	uv_poll_t link;
	int peer;
	bool read; /* the link's batch */
	bool in_time; /* the socket was known of at the end of that tick */
	bool seen;
};

static void bulk_event(struct lwr_watch *w, uint32_t events)
{
	struct bulk *b = (struct bulk *)(void *)((char *)w -
						 offsetof(struct bulk, watch));

	(void)events;
	b->seen = true;
}

/* A batch is read, and meanwhile something comes to the socket. */
static void bulk_read(uv_poll_t *h, int status, int events)
{
	struct bulk *b = h->data;

	(void)status;
	(void)events;
	uv_poll_stop(h);
	lwr__loop_worked(&b->loop);
	b->loop.moved += 256 * 1024;
	b->read = send(b->peer, "x", 1, 0) == 1;
}

static bool bulk_tick(void *arg)
{
	struct bulk *b = arg;

	if (b->read && b->watch.fd >= 0) {
		b->in_time = b->seen;
		lwr__watch_stop(&b->loop, &b->watch);
		b->watch.fd = -1;
		uv_close((uv_handle_t *)&b->link, NULL);
		lwr__loop_fini(&b->loop, on_closed);
	}
	return false;
}

static void sockets_are_looked_at_after_a_batch(void **state)
{
	struct bulk b = { 0 };
	int fd[2], link[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, link), 0);
	assert_int_equal(send(link[1], "x", 1, 0), 1);
	assert_int_equal(uv_loop_init(&b.uv), 0);
	assert_int_equal(lwr__loop_init(&b.loop, &b.uv, bulk_tick, &b), 0);
	b.watch.fd = fd[0];
	b.watch.events = EPOLLIN;
	b.watch.on_event = bulk_event;
	b.peer = fd[1];
	assert_int_equal(lwr__watch_start(&b.loop, &b.watch), 0);
	uv_poll_init(&b.uv, &b.link, link[0]);
	b.link.data = &b;
	uv_poll_start(&b.link, UV_READABLE, bulk_read);
	uv_run(&b.uv, UV_RUN_DEFAULT);
	assert_true(b.in_time);
	assert_int_equal(uv_loop_close(&b.uv), 0);
	for (int i = 0; i < 2; i++) {
		close(fd[i]);
		close(link[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sparse_events_are_slept_for),
		cmocka_unit_test(sockets_are_looked_at_after_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
