/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list under a lock, and a uv_async to wake the loop: what comes here is rare
 * (a link is added, counters are read), so the lock is never contended for
 * long, and libuv merges wake-ups. Frames do not pass here.
 *
 * No call is lost: `shut` and the list change under the same lock, so a call is
 * either on the list that lwr__calls_shut() gives up, or refused. The async is
 * only rung under the lock and before `shut`, so never after its close.
 */
#include "platform/calls.h"

#include <errno.h>

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

static void on_async(uv_async_t *async)
{
	struct lwr_calls *c = async->data;
	struct lwr_call *call;

	while ((call = take(c))) {
		call->fn(call->arg);
		finish(call, 0);
	}
}

int lwr__calls_init(struct lwr_calls *c, uv_loop_t *uv)
{
	int err;

	*c = (struct lwr_calls){ .tail = &c->head, .thread = uv_thread_self() };
	err = uv_mutex_init(&c->lock);
	if (err)
		return err;
	err = uv_async_init(uv, &c->async, on_async);
	if (err)
		uv_mutex_destroy(&c->lock);
	c->async.data = c;
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
		uv_async_send(&c->async);
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
}

static void on_handle_closed(uv_handle_t *h)
{
	struct lwr_calls *c = h->data;

	uv_mutex_destroy(&c->lock);
	c->on_closed(c->arg);
}

void lwr__calls_close(struct lwr_calls *c, void (*on_closed)(void *arg),
		      void *arg)
{
	c->on_closed = on_closed;
	c->arg = arg;
	uv_close((uv_handle_t *)&c->async, on_handle_closed);
}
