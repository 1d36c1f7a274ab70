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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sparse_events_are_slept_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
