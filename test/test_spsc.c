/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring between two threads, and sleeping at its edge. "Sleep" is a bell
 * that its sleeper polls: a lost wake-up is a bell that never rings, and the
 * two threads meet at the edge ten million times in a few seconds. The same
 * is done with descriptors, where a sleep is a real one, in fewer rounds.
 */
#include "core/spsc.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLEEPS = 1000 * 1000, REAL_SLEEPS = 20 * 1000 };
#else
enum { SLEEPS = 10 * 1000 * 1000, REAL_SLEEPS = 100 * 1000 };
#endif

enum { SLOTS = 64, LOST_S = 20 };

/* ---- one thread ---------------------------------------------------------- */

static void spsc_counts_what_is_published_and_given_back(void **state)
{
	struct lwr_spsc r;

	(void)state;
	lwr__spsc_init(&r, 4);
	assert_int_equal(lwr__spsc_room(&r, 4), 4);
	assert_int_equal(lwr__spsc_count(&r, 1), 0);
	assert_false(lwr__spsc_publish(&r, 3));
	assert_int_equal(lwr__spsc_room(&r, 1), 1);
	assert_int_equal(lwr__spsc_count(&r, 1), 3);
	assert_false(lwr__spsc_consume(&r, 2));
	assert_int_equal(lwr__spsc_count(&r, 1), 1);
	assert_int_equal(lwr__spsc_out(&r, 0), 2);
	assert_int_equal(lwr__spsc_room(&r, 3), 3);
	assert_int_equal(lwr__spsc_in(&r, 0), 3);
	assert_int_equal(lwr__spsc_in(&r, 1), 0);
}

static void spsc_indices_wrap_at_the_end_of_their_type(void **state)
{
	struct lwr_spsc r;

	(void)state;
	lwr__spsc_init(&r, 4);
	r.tail = r.head = r.head_seen = r.tail_seen = UINT32_MAX - 1;
	assert_false(lwr__spsc_publish(&r, 4));
	assert_int_equal(lwr__spsc_room(&r, 1), 0);
	assert_true(lwr__spsc_await_room(&r, 1));
	assert_int_equal(lwr__spsc_count(&r, 4), 4);
	assert_false(lwr__spsc_consume(&r, 2)); /* the index is 0 now */
	assert_true(lwr__spsc_consume(&r, 1));
	assert_int_equal(lwr__spsc_room(&r, 4), 3);
}

static void spsc_wakes_a_sleeper_once_and_nobody_who_is_awake(void **state)
{
	struct lwr_spsc r;

	(void)state;
	lwr__spsc_init(&r, 8);
	assert_true(lwr__spsc_await_items(&r, 0));
	assert_true(lwr__spsc_publish(&r, 1));
	assert_false(lwr__spsc_publish(&r, 1));
	assert_false(lwr__spsc_await_items(&r, 0));
	assert_false(lwr__spsc_publish(&r, 1));
	/* More than the three that it has. */
	assert_true(lwr__spsc_await_items(&r, 3));
	assert_true(lwr__spsc_publish(&r, 1));
}

static void spsc_wakes_the_producer_at_the_index_it_named(void **state)
{
	struct lwr_spsc r;

	(void)state;
	lwr__spsc_init(&r, 8);
	lwr__spsc_publish(&r, 8);
	assert_int_equal(lwr__spsc_count(&r, 8), 8);
	assert_true(lwr__spsc_await_room(&r, 4));
	assert_false(lwr__spsc_consume(&r, 3));
	assert_true(lwr__spsc_consume(&r, 1));
	assert_false(lwr__spsc_consume(&r, 1));
	assert_false(lwr__spsc_await_room(&r, 5));
	assert_false(lwr__spsc_consume(&r, 1));
}

/* ---- two threads --------------------------------------------------------- */

struct side {
	int fd; /* -1: the bell is polled */
	_Atomic bool rung;
	_Atomic uint64_t sleeps;
};

struct race {
	struct lwr_spsc r;
	uint64_t slot[SLOTS];
	struct side items; /* the consumer sleeps on it */
	struct side room; /* the producer does */
	uint64_t goal; /* sleeps of both together, about */
	uint64_t sent;
	uint64_t taken;
	uint64_t wrong;
	_Atomic bool done; /* the producer has sent its last */
};

static void ring(struct side *s)
{
	if (s->fd >= 0)
		(void)!write(s->fd, &(uint64_t){ 1 }, 8);
	else
		atomic_store(&s->rung, true);
}

static uint64_t sleeps(const struct race *x)
{
	return atomic_load_explicit(&x->items.sleeps, memory_order_relaxed) +
	       atomic_load_explicit(&x->room.sleeps, memory_order_relaxed);
}

static void lost(const struct race *x, const char *who)
{
	fprintf(stderr, "%s was not woken after %llu sleeps\n", who,
		(unsigned long long)sleeps(x));
	abort();
}

static void sleep_fd(struct race *x, struct side *s, const char *who)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	uint64_t n;

	if (poll(&pfd, 1, LOST_S * 1000) != 1)
		lost(x, who);
	(void)!read(s->fd, &n, 8);
}

static void sleep_on(struct race *x, struct side *s, const char *who)
{
	time_t end = 0;

	atomic_fetch_add_explicit(&s->sleeps, 1, memory_order_relaxed);
	if (s->fd >= 0) {
		sleep_fd(x, s, who);
		return;
	}
	for (unsigned spin = 1; !atomic_exchange(&s->rung, false); spin++) {
		if (spin % 256)
			continue;
		sched_yield();
		if (end == 0)
			end = time(NULL) + LOST_S;
		else if (spin % 65536 == 0 && time(NULL) > end)
			lost(x, who);
	}
}

/* A cheap stream of numbers, to vary how many are moved at a time. */
static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

static void *produce(void *arg)
{
	struct race *x = arg;
	uint32_t seed = 1, n, room;

	while (sleeps(x) < x->goal) {
		room = lwr__spsc_room(&x->r, 1);
		if (room == 0) {
			n = (uint32_t)x->sent - x->r.size + 1 +
			    next(&seed) % x->r.size;
			if (lwr__spsc_await_room(&x->r, n))
				sleep_on(x, &x->room, "the producer");
			continue;
		}
		n = 1 + next(&seed) % room;
		for (uint32_t i = 0; i < n; i++)
			x->slot[lwr__spsc_in(&x->r, i)] = x->sent++;
		if (lwr__spsc_publish(&x->r, n))
			ring(&x->items);
	}
	atomic_store(&x->done, true);
	ring(&x->items);
	return NULL;
}

static void *consume(void *arg)
{
	struct race *x = arg;
	uint32_t seed = 2, n, have;

	for (;;) {
		have = lwr__spsc_count(&x->r, 1);
		if (have == 0 && atomic_load(&x->done) &&
		    lwr__spsc_count(&x->r, 1) == 0)
			return NULL;
		if (have == 0) {
			if (lwr__spsc_await_items(&x->r, 0) &&
			    !atomic_load(&x->done))
				sleep_on(x, &x->items, "the consumer");
			continue;
		}
		n = 1 + next(&seed) % have;
		for (uint32_t i = 0; i < n; i++)
			x->wrong += x->slot[lwr__spsc_out(&x->r, i)] !=
				    x->taken++;
		if (lwr__spsc_consume(&x->r, n))
			ring(&x->room);
	}
}

/* Runs both sides until they have slept `goal` times together. */
static void run(uint32_t size, uint64_t goal, bool real)
{
	struct race *x = aligned_alloc(LWR_CACHE_LINE, sizeof(*x));
	pthread_t thread;

	assert_non_null(x);
	memset(x, 0, sizeof(*x));
	lwr__spsc_init(&x->r, size);
	x->goal = goal;
	x->items.fd = real ? eventfd(0, EFD_CLOEXEC) : -1;
	x->room.fd = real ? eventfd(0, EFD_CLOEXEC) : -1;
	assert_int_equal(pthread_create(&thread, NULL, produce, x), 0);
	consume(x);
	pthread_join(thread, NULL);
	assert_int_equal(x->wrong, 0);
	assert_int_equal(x->taken, x->sent);
	assert_true(sleeps(x) >= goal);
	assert_true(x->items.sleeps > 0 && x->room.sleeps > 0);
	if (real) {
		close(x->items.fd);
		close(x->room.fd);
	}
	free(x);
}

static void spsc_loses_no_wakeup_with_one_slot(void **state)
{
	(void)state;
	run(1, SLEEPS / 2, false);
}

static void spsc_loses_no_wakeup_with_few_slots(void **state)
{
	(void)state;
	run(4, SLEEPS / 4, false);
}

static void spsc_loses_no_wakeup_with_many_slots(void **state)
{
	(void)state;
	run(SLOTS, SLEEPS / 4, false);
}

static void spsc_loses_no_wakeup_of_a_real_sleep(void **state)
{
	(void)state;
	run(1, REAL_SLEEPS / 2, true);
	run(SLOTS, REAL_SLEEPS / 2, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spsc_counts_what_is_published_and_given_back),
		cmocka_unit_test(spsc_indices_wrap_at_the_end_of_their_type),
		cmocka_unit_test(
			spsc_wakes_a_sleeper_once_and_nobody_who_is_awake),
		cmocka_unit_test(spsc_wakes_the_producer_at_the_index_it_named),
		cmocka_unit_test(spsc_loses_no_wakeup_with_one_slot),
		cmocka_unit_test(spsc_loses_no_wakeup_with_few_slots),
		cmocka_unit_test(spsc_loses_no_wakeup_with_many_slots),
		cmocka_unit_test(spsc_loses_no_wakeup_of_a_real_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
