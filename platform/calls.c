/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list under a lock, and a post to wake the loop: what comes here is rare (a
 * link is added, counters are read), so the lock is never contended for long.
 * Frames do not pass here.
 *
 * No call is lost: `shut` and the list change under the same lock, so a call is
 * either on the list that lwr__calls_shut() gives up, or refused. The post is
 * only made under the lock and before `shut`, so never after its stop.
 */
#include "platform/calls.h"

#include <errno.h>
#include <stddef.h>

bool lwr__calls_here(const struct lwr_calls *c)
{
	uv_thread_t self = uv_thread_self();

	return uv_thread_equal(&c->thread, &self) != 0;
}

static void finish(struct lwr_call *call, int err)
{
	uv_sem_t *done = call->done;

	/* Afterwards the call's memory is another thread's. */
	call->err = err;
	if (done)
		uv_sem_post(done);
}

static struct lwr_call *take(struct lwr_calls *c)
{
	struct lwr_call *call;

	uv_mutex_lock(&c->lock);
	call = c->head;
	if (call)
		c->head = call->next;
	if (!c->head)
		c->tail = &c->head;
	uv_mutex_unlock(&c->lock);
	return call;
}

static bool on_post(struct lwr_post *p)
{
	struct lwr_calls *c =
		(struct lwr_calls *)((char *)p -
				     offsetof(struct lwr_calls, post));
	struct lwr_call *call;

	while ((call = take(c))) {
		call->fn(call->arg);
		finish(call, 0);
	}
	return false;
}

int lwr__calls_init(struct lwr_calls *c, struct lwr_loop *loop)
{
	int err;

	*c = (struct lwr_calls){ .loop = loop,
				 .tail = &c->head,
				 .thread = uv_thread_self() };
	err = uv_mutex_init(&c->lock);
	if (!err)
		lwr__post_start(loop, &c->post, on_post);
	return err;
}

int lwr__calls_post(struct lwr_calls *c, struct lwr_call *call)
{
	bool shut;

	call->next = NULL;
	uv_mutex_lock(&c->lock);
	shut = c->shut;
	if (!shut) {
		*c->tail = call;
		c->tail = &call->next;
		lwr__loop_post(c->loop, &c->post);
	}
	uv_mutex_unlock(&c->lock);
	return shut ? -ESHUTDOWN : 0;
}

int lwr__calls_run(struct lwr_calls *c, void (*fn)(void *arg), void *arg)
{
	struct lwr_call call = { .fn = fn, .arg = arg };
	uv_sem_t done;
	int err;

	if (lwr__calls_here(c)) {
		if (c->shut)
			return -ESHUTDOWN;
		fn(arg);
		return 0;
	}
	err = uv_sem_init(&done, 0);
	if (err)
		return err;
	call.done = &done;
	err = lwr__calls_post(c, &call);
	if (!err) {
		uv_sem_wait(&done);
		err = call.err;
	}
	uv_sem_destroy(&done);
	return err;
}

void lwr__calls_shut(struct lwr_calls *c)
{
	struct lwr_call *call;

	uv_mutex_lock(&c->lock);
	c->shut = true;
	uv_mutex_unlock(&c->lock);
	while ((call = take(c)))
		finish(call, -ESHUTDOWN);
	lwr__post_stop(c->loop, &c->post);
}

void lwr__calls_fini(struct lwr_calls *c)
{
	uv_mutex_destroy(&c->lock);
}
