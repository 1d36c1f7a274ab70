/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions that other threads have the loop's thread call. */
#ifndef LWR_PLATFORM_CALLS_H
#define LWR_PLATFORM_CALLS_H

#include "platform/loop.h"

#include <stdbool.h>
#include <uv.h>

/* One call; its memory is the caller's until fn was called or given up. */
struct lwr_call {
	void (*fn)(void *arg);
	void *arg;
	struct lwr_call *next;
	uv_sem_t *done; /* NULL: nobody waits */
	int err;
};

struct lwr_calls {
	struct lwr_loop *loop;
	struct lwr_post post;
	uv_thread_t thread; /* the loop's */
	uv_mutex_t lock; /* of what follows */
	struct lwr_call *head, **tail;
	bool shut; /* sticky: no more calls */
};

/* The calling thread is the loop's. Returns 0 or -errno. */
int lwr__calls_init(struct lwr_calls *c, struct lwr_loop *loop);

/*
 * Calls fn on the loop's thread, at once if this is it, and waits for its end.
 * Any thread. Returns 0, or -ESHUTDOWN: fn was not and will not be called.
 */
int lwr__calls_run(struct lwr_calls *c, void (*fn)(void *arg), void *arg);

/* The same without waiting: `call` has fn and arg, and lives until then. */
int lwr__calls_post(struct lwr_calls *c, struct lwr_call *call);

/* Gives up what was not called yet, and refuses more. Loop thread. */
void lwr__calls_shut(struct lwr_calls *c);

/* Afterwards; no thread may be inside the functions above any more. */
void lwr__calls_fini(struct lwr_calls *c);

bool lwr__calls_here(const struct lwr_calls *c);

#endif
