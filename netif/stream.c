/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream link: a listener, or nothing but an inherited descriptor, and at
 * most one client. What belongs to a client (partial frame, unfinished batch)
 * lives in netif/client.c and dies with it, so that a client gone in mid
 * frame leaves nothing to the next.
 *
 * The far side has no offload, but the client cuts large segments and fills
 * checksums as it writes; so the capabilities say that the link does both,
 * and lwIP makes 64 KiB segments.
 *
 * Closing takes two turns of the loop, so that the end of a tick lies between
 * the link's removal and the slab pool's end: by then the flows have let go of
 * their frames.
 */
#include "netif/stream.h"

#include "core/buf.h"
#include "core/log.h"
#include "core/stack.h"
#include "netif/client.h"
#include "netif/framing.h"
#include "platform/loop.h"
#include "platform/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
	MTU_DEFAULT = 1500,
	ACCEPT_BUDGET = 16, /* clients of one wake */
	ACCEPT_RETRY_MS = 100, /* after descriptors ran out */
};

struct stream {
	struct lwr_link link;
	struct lwr_slab_pool slabs;
	struct lwr_client *client; /* NULL: none */
	bool listening; /* the next two are in use */
	struct lwr_unix sock;
	uv_poll_t listener;
	uv_timer_t retry;
	bool full; /* accept() found no descriptor; said once */
	bool closing;
	bool settled; /* the first turn of closing is over */
	unsigned handles; /* whose close is pending */
};

static struct stream *stream_of(struct lwr_link *link)
{
	return LWR_CONTAINER(link, struct stream, link);
}

static void on_listener_poll(uv_poll_t *h, int status, int events);

static void listen_on(struct stream *s)
{
	if (s->listening)
		uv_poll_start(&s->listener, UV_READABLE, on_listener_poll);
}

/* ---- client -------------------------------------------------------------- */

/* The owner may close the link in its on_gone. */
static void client_gone(struct lwr_link *link, int err)
{
	struct stream *s = stream_of(link);
	const struct lwr_log *log = link->stack->log;

	lwr__client_stop(s->client);
	s->client = NULL;
	/* How a guest's program ended is not an error of the link. */
	if (err == -ECONNRESET || err == -EPIPE)
		err = 0;
	if (err)
		lwr__log(log, LWR_LOG_WARN, "%s: guest's link ended: %s",
			 link->name, strerror(-err));
	else
		lwr__log(log, LWR_LOG_INFO, "%s: guest left", link->name);
	lwr__stack_reset_link(link);
	listen_on(s);
	if (link->on_gone)
		link->on_gone(link, err);
}

/* Takes fd on success. */
static int client_start(struct stream *s, int fd)
{
	int err = lwr__client_start(&s->link, &s->slabs, fd, client_gone,
				    &s->client);

	if (!err)
		lwr__log(s->link.stack->log, LWR_LOG_INFO,
			 "%s: guest connected", s->link.name);
	return err;
}

static void drain(struct lwr_link *link)
{
	struct stream *s = stream_of(link);

	if (s->client)
		lwr__client_drain(s->client);
	else /* nobody is there to take them */
		lwr__ring_pop(&link->h2g, lwr__ring_count(&link->h2g));
}

/* ---- listener ------------------------------------------------------------ */

static void on_retry(uv_timer_t *h)
{
	listen_on(h->data);
}

/* Out of descriptors or memory: those waiting are served when some return. */
static void pause_accept(struct stream *s, int err)
{
	if (!s->full)
		lwr__log(s->link.stack->log, LWR_LOG_ERROR,
			 "%s: cannot accept a guest: %s (trying again)",
			 s->link.name, strerror(-err));
	s->full = true;
	uv_poll_stop(&s->listener);
	uv_timer_start(&s->retry, on_retry, ACCEPT_RETRY_MS, 0);
}

/* Returns false when there are no more to accept now. */
static bool accept_one(struct stream *s)
{
	int fd = accept4(s->sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err;

	if (fd < 0) {
		err = errno;
		if (err == EMFILE || err == ENFILE || err == ENOMEM ||
		    err == ENOBUFS)
			pause_accept(s, -err);
		return err == ECONNABORTED || err == EINTR;
	}
	s->full = false;
	if (s->client) {
		lwr__log(s->link.stack->log, LWR_LOG_WARN,
			 "%s: second guest refused: the link has one",
			 s->link.name);
		close(fd);
		return true;
	}
	err = client_start(s, fd);
	if (err) {
		lwr__log(s->link.stack->log, LWR_LOG_ERROR,
			 "%s: guest refused: %s", s->link.name, strerror(-err));
		close(fd);
	}
	return true;
}

static void on_listener_poll(uv_poll_t *h, int status, int events)
{
	struct stream *s = h->data;

	(void)status;
	(void)events;
	if (s->client && lwr__client_leaving(s->client)) {
		/* The next guest waits until the last frames are read. */
		uv_poll_stop(&s->listener);
		return;
	}
	for (int i = 0; i < ACCEPT_BUDGET; i++) {
		if (!accept_one(s))
			return;
	}
}

/* ---- link ---------------------------------------------------------------- */

static void stream_free(struct stream *s)
{
	lwr__slab_fini(&s->slabs);
	lwr__loop_release(s->link.stack->loop);
	free(s);
}

static void close_handle(struct stream *s, uv_handle_t *h);

static void on_handle_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	if (--s->handles > 0)
		return;
	if (s->settled) {
		stream_free(s);
		return;
	}
	s->settled = true;
	uv_timer_init(h->loop, &s->retry);
	close_handle(s, (uv_handle_t *)&s->retry);
}

static void close_handle(struct stream *s, uv_handle_t *h)
{
	h->data = s;
	s->handles++;
	uv_close(h, on_handle_closed);
}

/* The memory lives until the last of them is closed. */
static void close_handles(struct stream *s)
{
	if (s->listening) {
		uv_poll_stop(&s->listener);
		close_handle(s, (uv_handle_t *)&s->listener);
		lwr__unix_close(&s->sock);
	}
	close_handle(s, (uv_handle_t *)&s->retry);
}

static void stream_close(struct lwr_link *link)
{
	struct stream *s = stream_of(link);

	if (s->closing)
		return;
	s->closing = true;
	lwr__stack_remove_link(link);
	if (s->client)
		lwr__client_stop(s->client);
	s->client = NULL;
	close_handles(s);
}

static const struct lwr_link_ops stream_ops = {
	.drain = drain,
	.close = stream_close,
};

static struct stream *stream_new(struct lwr_stack *stack, const char *name,
				 const struct lwr_net *net)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->link.ops = &stream_ops;
	s->link.stack = stack;
	s->link.net = net;
	s->link.caps = (struct lwr_link_caps){
		.mtu = net->mtu ? net->mtu : MTU_DEFAULT,
		.max_frame = LWR_FRAMING_MAX,
		.gso_h2g = true,
		.uso_h2g = true,
	};
	snprintf(s->link.name, sizeof(s->link.name), "%s", name);
	lwr__slab_init(&s->slabs);
	lwr__loop_hold(stack->loop);
	uv_timer_init(stack->loop->uv, &s->retry);
	s->retry.data = s;
	return s;
}

int lwr__stream_listen(struct lwr_stack *stack, const char *path,
		       const struct lwr_net *net, struct lwr_link **out)
{
	char name[sizeof(struct sockaddr_un) + 16];
	struct stream *s;
	int err;

	snprintf(name, sizeof(name), "stream:%.107s", path);
	s = stream_new(stack, name, net);
	if (!s)
		return -ENOMEM;
	err = lwr__unix_listen(&s->sock, path);
	if (err)
		goto err_close;
	err = uv_poll_init(stack->loop->uv, &s->listener, s->sock.fd);
	if (err) {
		lwr__unix_close(&s->sock);
		goto err_close;
	}
	s->listening = true;
	s->link.listens = true;
	s->listener.data = s;
	err = lwr__stack_add_link(stack, &s->link);
	if (err)
		goto err_close;
	listen_on(s);
	*out = &s->link;
	return 0;

err_close:
	close_handles(s);
	return err;
}

/* Returns 0 if fd can be a client, or -errno. */
static int adopt_fd(int fd)
{
	socklen_t len = sizeof(int);
	int type, flags;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

int lwr__stream_fd(struct lwr_stack *stack, const char *name, int fd,
		   const struct lwr_net *net, struct lwr_link **out)
{
	struct stream *s;
	int err = adopt_fd(fd);

	if (err)
		return err;
	s = stream_new(stack, name, net);
	if (!s)
		return -ENOMEM;
	err = lwr__stack_add_link(stack, &s->link);
	if (err)
		goto err_close;
	err = client_start(s, fd);
	if (err)
		goto err_remove;
	*out = &s->link;
	return 0;

err_remove:
	lwr__stack_remove_link(&s->link);
err_close:
	close_handles(s);
	return err;
}
