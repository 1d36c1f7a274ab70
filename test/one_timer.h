/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock of platform/loop.h and one timer, moved by the test: what is defined
 * here stands in for them in the one file that includes it.
 */
#ifndef LWR_TEST_ONE_TIMER_H
#define LWR_TEST_ONE_TIMER_H

#include "platform/loop.h"

static struct {
	uint64_t now;
	struct lwr_timer *timer; /* when it runs */
	uint64_t at;
	uint64_t looks; /* at the clock: each takes a microsecond */
} one_timer;

static inline void one_timer_reset(uint64_t now)
{
	one_timer.timer = NULL;
	one_timer.now = now;
}

/* Time goes on to the timer, which fires, or to `end` if that comes first. */
static inline bool one_timer_step(uint64_t end)
{
	struct lwr_timer *t = one_timer.timer;

	if (!t || one_timer.at > end) {
		one_timer.now = end;
		return false;
	}
	if (one_timer.at > one_timer.now)
		one_timer.now = one_timer.at;
	one_timer.timer = NULL;
	t->on_timer(t);
	return true;
}

uint64_t lwr__loop_now(const struct lwr_loop *l)
{
	(void)l;
	return one_timer.now;
}

uint64_t lwr__loop_clock(const struct lwr_loop *l)
{
	(void)l;
	return one_timer.now * 1000000 + ++one_timer.looks * 1000;
}

void lwr__timer_init(struct lwr_loop *l, struct lwr_timer *t,
		     void (*on_timer)(struct lwr_timer *t))
{
	(void)l;
	t->on_timer = on_timer;
}

void lwr__timer_start(struct lwr_timer *t, uint64_t ms)
{
	one_timer.timer = t;
	one_timer.at = one_timer.now + ms;
}

void lwr__timer_stop(struct lwr_timer *t)
{
	if (one_timer.timer == t)
		one_timer.timer = NULL;
}

bool lwr__timer_active(const struct lwr_timer *t)
{
	return one_timer.timer == t;
}

void lwr__timer_close(struct lwr_loop *l, struct lwr_timer *t)
{
	(void)l;
	lwr__timer_stop(t);
}

#endif
