/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform/loop.h on a virtual clock: linked instead of platform/loop.c by
 * every test that uses a function of this header.
 */
#ifndef LWR_TEST_FAKE_LOOP_H
#define LWR_TEST_FAKE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_event;

/* What is to happen; `data` is the event's copy. */
typedef void (*fake_fn)(void *ctx, const void *data, size_t len);

/* Frees what is left of events, sets the clock to a new start. */
void fake_loop_reset(void);
/* In `ms` milliseconds. The result is for fake_cancel() only. */
struct fake_event *fake_at(uint64_t ms, fake_fn fn, void *ctx);
/* The same with a copy of `len` bytes. */
struct fake_event *fake_post(uint64_t ms, fake_fn fn, void *ctx,
			     const void *data, size_t len);
/* The event must not have happened yet. */
void fake_cancel(struct fake_event *e);

/* The descriptor's readiness changed: an edge, told in this millisecond. */
void fake_edge(int fd);

/* Runs what happens in the next `ms` milliseconds. */
void fake_run(uint64_t ms);
/* Runs until cond(arg), at most `ms`. Returns whether it became true. */
bool fake_run_until(bool (*cond)(void *arg), void *arg, uint64_t ms);

uint64_t fake_now(void);
/* Events that are still to happen. */
unsigned fake_events(void);
/* Timers that were initialised and not closed. */
unsigned fake_timers(void);
/* How often on_tick was called. */
uint64_t fake_ticks(void);

#endif
