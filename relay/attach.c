/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection lives through three states:
 *
 *   reading   one line, with one descriptor beside any of its bytes, within
 *             REQUEST_MS; it is answered by one line
 *   tied      only if it asked for that: until it is closed, and the link with
 *             it, or the link ends, and it with the link
 *   closing   its handles
 *
 * A link is its own otherwise: it outlives the connection, and is closed and
 * freed when its guest leaves. Each has its own network, which lives as long
 * as the link does.
 *
 * Clients are taken for hostile. Descriptors that come are counted and closed
 * but the first; a line has a largest length; at most CONNS_MAX clients are
 * read from at once, and the others wait in the listener's backlog; links have
 * a largest number. Who has handed a descriptor over may have kept a copy, and
 * flags of the file, like O_NONBLOCK, are then theirs to change: no call that a
 * link makes depends on them (MSG_DONTWAIT; taps: platform/tap.c), and sockets
 * whose close() can be made to wait are not taken.
 *
 * Who may connect is said by the permissions of the socket's file, which is the
 * owner's only; an abstract name has no permissions, and there a client must be
 * of our own user, or root.
 */
#include "relay/attach.h"

#include "core/log.h"
#include "platform/loop.h"
#include "platform/sock.h"
#include "platform/unix.h"
#include "relay/attach_parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
	LINE_MAX_BYTES = 4096,
	REQUEST_MS = 5000,
	CONNS_MAX = 64,
	RETRY_MS = 100, /* after descriptors ran out */
};

struct lwr_attach {
	struct lwr_stack *stack;
	struct lwr_attach_options options;
	struct lwr_unix sock;
	uv_poll_t listener;
	uv_timer_t retry;
	struct lwr_list conns; /* being read, or tied */
	struct lwr_list links;
	unsigned reading;
	uint32_t count; /* links */
	unsigned handles; /* of the two above, whose close is pending */
};

/* A link that was handed over. */
struct attached {
	struct lwr_list node; /* attach->links */
	struct lwr_attach *attach;
	struct lwr_link *link;
	struct lwr_net net; /* the link's */
	struct conn *tie; /* NULL: none */
};

struct conn {
	struct lwr_list node; /* attach->conns */
	struct lwr_attach *attach; /* not any more when it is closing */
	struct lwr_loop *loop;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* whose close is pending */
	struct attached *link; /* tied to it; NULL: reading */
	struct lwr_unix_fds passed;
	size_t have;
	char line[LINE_MAX_BYTES];
};

/* ---- connections --------------------------------------------------------- */

static void on_listener(uv_poll_t *h, int status, int events);

static void listen_on(struct lwr_attach *a)
{
	uv_poll_start(&a->listener, UV_READABLE, on_listener);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	if (--c->handles > 0)
		return;
	lwr__loop_release(c->loop);
	free(c);
}

/* One less is being read: there is room for another. */
static void read_one_less(struct lwr_attach *a)
{
	if (a->reading-- == CONNS_MAX)
		listen_on(a);
}

/* Ends the connection; a link that was tied to it is let go. */
static void conn_close(struct conn *c)
{
	struct lwr_attach *a = c->attach;

	if (c->link)
		c->link->tie = NULL;
	else
		read_one_less(a);
	lwr__unix_close_fds(&c->passed);
	lwr__list_remove(&c->node);
	uv_poll_stop(&c->poll);
	lwr__unix_discard(c->fd);
	lwr__sock_close(c->fd);
	c->handles = 2;
	uv_close((uv_handle_t *)&c->poll, on_conn_closed);
	uv_close((uv_handle_t *)&c->timer, on_conn_closed);
}

static void answer(struct conn *c, const char *text, size_t len)
{
	struct iovec iov = { (char *)(uintptr_t)text, len };

	/* A new connection has room; a client that left needs no answer. */
	(void)lwr__sock_writev(c->fd, &iov, 1);
}

static void refuse(struct conn *c, const char *why)
{
	char out[LWR_ATTACH_ANSWER];

	lwr__log(c->attach->stack->log, LWR_LOG_WARN, "%s: link refused: %s",
		 c->attach->options.path, why);
	answer(c, out, lwr__attach_refused(out, why));
	conn_close(c);
}

/* ---- links --------------------------------------------------------------- */

static void link_close(struct attached *l)
{
	lwr__list_remove(&l->node);
	l->attach->count--;
	l->link->ops->close(l->link);
	if (l->tie)
		conn_close(l->tie);
	free(l);
}

static void on_gone(struct lwr_link *link, int err)
{
	struct attached *l = link->owner;
	struct lwr_attach_options options = l->attach->options;

	/* The next guest may come while there is somebody to end the link. */
	if (link->listens && l->tie)
		return;
	link_close(l);
	options.on_gone(options.arg, err);
}

/* Opens what the request asks for. Returns NULL with why. */
static struct attached *link_new(struct lwr_attach *a, struct conn *c,
				 struct lwr_attach_request *r, char *why)
{
	struct attached *l = calloc(1, sizeof(*l));
	struct lwr_link *link;

	if (!l) {
		snprintf(why, LWR_ERROR_TEXT, "%s", strerror(ENOMEM));
		return NULL;
	}
	if (lwr__sock_lingers(c->passed.fd)) {
		snprintf(why, LWR_ERROR_TEXT, "is no Unix socket");
		free(l);
		return NULL;
	}
	l->net = r->net;
	r->spec.fd = c->passed.fd;
	if (lwr__link_open(a->stack, &r->spec, &l->net, &link, why) < 0) {
		free(l);
		return NULL;
	}
	c->passed.fd = -1;
	l->attach = a;
	l->link = link;
	link->owner = l;
	link->on_gone = on_gone;
	lwr__list_append(&a->links, &l->node);
	a->count++;
	return l;
}

/* ---- requests ------------------------------------------------------------ */

/* What was passed is one descriptor. Returns 0, or -EINVAL with why. */
static int check_passed(const struct lwr_unix_fds *passed, char *why)
{
	if (passed->count == 1 && !passed->lost)
		return 0;
	if (passed->lost)
		snprintf(why, LWR_ERROR_TEXT,
			 "descriptors were lost: too many for us");
	else if (passed->count == 0)
		snprintf(why, LWR_ERROR_TEXT,
			 "no descriptor came with the line (SCM_RIGHTS)");
	else
		snprintf(why, LWR_ERROR_TEXT,
			 "%u descriptors came with the line, not one",
			 passed->count);
	return -EINVAL;
}

static void tie(struct conn *c, struct attached *l)
{
	read_one_less(c->attach);
	c->link = l;
	l->tie = c;
	uv_timer_stop(&c->timer);
}

/* The line is there. */
static void request(struct conn *c, size_t len)
{
	struct lwr_attach *a = c->attach;
	char out[LWR_ATTACH_ANSWER], why[LWR_ERROR_TEXT];
	struct lwr_attach_request r;
	struct attached *l = NULL;

	if (lwr__attach_parse(&r, c->line, len, a->options.net, why) < 0 ||
	    check_passed(&c->passed, why) < 0)
		goto refused;
	snprintf(why, sizeof(why), "there are %u links already (--max-links)",
		 a->count);
	if (a->count < a->options.max_links)
		l = link_new(a, c, &r, why);
	if (!l)
		goto refused;
	lwr__log(a->stack->log, LWR_LOG_INFO, "%s: link %u attached: %s",
		 a->options.path, l->link->number, l->link->name);
	answer(c, out, lwr__attach_accepted(out, l->link));
	if (r.tied)
		tie(c, l);
	else
		conn_close(c);
	return;

refused:
	refuse(c, why);
}

/* Bytes arrived, or the end (n is 0). */
static void consider(struct conn *c, size_t n)
{
	char *end = memchr(c->line + c->have, '\n', n);
	char why[LWR_ERROR_TEXT];

	c->have += n;
	if (end || (n == 0 && c->have)) {
		request(c, end ? (size_t)(end - c->line) : c->have);
	} else if (n == 0) {
		conn_close(c); /* who only looks whether we live */
	} else if (c->have == sizeof(c->line)) {
		snprintf(why, sizeof(why), "the line is longer than %d bytes",
			 LINE_MAX_BYTES);
		refuse(c, why);
	}
}

/* What comes on a tied connection means nothing, but its end does. */
static void read_tied(struct conn *c)
{
	struct lwr_attach_options options = c->attach->options;
	struct iovec iov = { c->line, sizeof(c->line) };
	ssize_t n = lwr__sock_readv(c->fd, &iov, 1);

	if (n > 0 || n == -EAGAIN || n == -EINTR)
		return;
	lwr__log(c->attach->stack->log, LWR_LOG_INFO, "%s: connection closed",
		 c->link->link->name);
	link_close(c->link);
	options.on_gone(options.arg, 0);
}

static void on_conn(uv_poll_t *h, int status, int events)
{
	struct conn *c = h->data;
	ssize_t n;

	(void)status;
	(void)events;
	if (c->link) {
		read_tied(c);
		return;
	}
	n = lwr__unix_recv_fds(c->fd, c->line + c->have,
			       sizeof(c->line) - c->have, &c->passed);
	if (n >= 0)
		consider(c, (size_t)n);
	else if (n != -EAGAIN && n != -EINTR)
		conn_close(c);
}

static void on_timeout(uv_timer_t *h)
{
	refuse(h->data, "no whole line came in time");
}

/* ---- listener ------------------------------------------------------------ */

/* Takes fd. */
static void conn_new(struct lwr_attach *a, int fd)
{
	struct lwr_loop *loop = a->stack->loop;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || uv_poll_init(loop->uv, &c->poll, fd) < 0) {
		free(c);
		lwr__sock_close(fd);
		return;
	}
	uv_timer_init(loop->uv, &c->timer);
	lwr__loop_hold(loop);
	c->attach = a;
	c->loop = loop;
	c->fd = fd;
	c->passed.fd = -1;
	c->poll.data = c;
	c->timer.data = c;
	uv_poll_start(&c->poll, UV_READABLE, on_conn);
	uv_timer_start(&c->timer, on_timeout, REQUEST_MS, 0);
	lwr__list_append(&a->conns, &c->node);
	a->reading++;
}

static void on_retry(uv_timer_t *h)
{
	listen_on(h->data);
}

static void on_listener(uv_poll_t *h, int status, int events)
{
	struct lwr_attach *a = h->data;
	int fd = -EAGAIN;

	(void)status;
	(void)events;
	while (a->reading < CONNS_MAX) {
		fd = lwr__unix_accept(&a->sock);
		if (fd < 0)
			break;
		conn_new(a, fd);
	}
	if (a->reading == CONNS_MAX) {
		uv_poll_stop(&a->listener); /* until one of them ends */
	} else if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED &&
		   fd != -EPERM) {
		lwr__log(a->stack->log, LWR_LOG_ERROR, "%s: accept: %s",
			 a->options.path, strerror(-fd));
		uv_poll_stop(&a->listener);
		uv_timer_start(&a->retry, on_retry, RETRY_MS, 0);
	}
}

/* ---- life ---------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct lwr_attach *a = h->data;
	struct lwr_loop *loop = a->stack->loop;

	if (--a->handles > 0)
		return;
	free(a);
	lwr__loop_release(loop);
}

int lwr__attach_open(struct lwr_stack *stack,
		     const struct lwr_attach_options *options,
		     struct lwr_attach **out)
{
	uv_loop_t *uv = stack->loop->uv;
	struct lwr_attach *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	err = lwr__unix_open(&a->sock, options->path, SOCK_STREAM,
			     LWR_UNIX_OWNER);
	if (err)
		goto err_undo_alloc;
	err = uv_poll_init(uv, &a->listener, a->sock.fd);
	if (err)
		goto err_undo_socket;
	uv_timer_init(uv, &a->retry);
	lwr__loop_hold(stack->loop);
	a->stack = stack;
	a->options = *options;
	a->listener.data = a;
	a->retry.data = a;
	lwr__list_init(&a->conns);
	lwr__list_init(&a->links);
	listen_on(a);
	*out = a;
	return 0;

err_undo_socket:
	lwr__unix_close(&a->sock);
err_undo_alloc:
	free(a);
	return err;
}

void lwr__attach_close(struct lwr_attach *a)
{
	while (!lwr__list_empty(&a->links))
		link_close(LWR_CONTAINER(a->links.next, struct attached, node));
	while (!lwr__list_empty(&a->conns))
		conn_close(LWR_CONTAINER(a->conns.next, struct conn, node));
	uv_poll_stop(&a->listener);
	lwr__unix_close(&a->sock);
	a->handles = 2;
	uv_close((uv_handle_t *)&a->listener, on_closed);
	uv_close((uv_handle_t *)&a->retry, on_closed);
}
