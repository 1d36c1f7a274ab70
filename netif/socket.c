/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link over a socket: a listener, or nothing but an inherited descriptor,
 * and at most one client. What belongs to a client (partial frame, unfinished
 * batch) lives in netif/stream.c or netif/dgram.c and dies with it, so that a
 * client gone in mid frame leaves nothing to the next.
 *
 * A datagram socket has no connections to accept: a first datagram counts as
 * one. The socket is then connected to its sender (platform/unix.c), and the
 * client gets a duplicate of it; until the client has gone, the listener is
 * not looked at.
 *
 * The far side has no offload, but the client cuts large segments and fills
 * checksums as it writes; so the capabilities say that the link does both,
 * and lwIP makes 64 KiB segments.
 *
 * Closing takes two turns of the loop, so that the end of a tick lies between
 * the link's removal and the slab pool's end: by then the flows have let go of
 * their frames.
 */
#include "netif/socket.h"

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
	FLIGHT = 4 * 1024 * 1024, /* its guest wakes late: see docs/design.md */
	ACCEPT_BUDGET = 16, /* clients of one wake */
	ACCEPT_RETRY_MS = 100, /* after descriptors ran out */
};

struct socket_link {
	struct lwr_link link;
	struct lwr_slab_pool slabs;
	struct lwr_client *client; /* NULL: none */
	int type;
	bool listening; /* the next two are in use */
	struct lwr_unix sock;
	uv_poll_t listener;
	uv_timer_t retry;
	bool handed; /* sock is somebody else's as well */
	bool full; /* accept() found no descriptor; said once */
	bool closing;
	bool settled; /* the first turn of closing is over */
	unsigned handles; /* whose close is pending */
};

static struct socket_link *socket_of(struct lwr_link *link)
{
	return LWR_CONTAINER(link, struct socket_link, link);
}

static void on_listener_poll(uv_poll_t *h, int status, int events);

static void listen_on(struct socket_link *s)
{
	if (!s->listening)
		return;
	if (s->type == SOCK_DGRAM)
		lwr__unix_await(s->sock.fd);
	uv_poll_start(&s->listener, UV_READABLE, on_listener_poll);
}

/* ---- client -------------------------------------------------------------- */

/* The owner may close the link in its on_gone. */
static void client_gone(struct lwr_link *link, int err)
{
	struct socket_link *s = socket_of(link);
	const struct lwr_log *log = link->stack->log;

	s->client->ops->stop(s->client);
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

/* Takes fd on success, and the peer's pidfd. */
static int client_start(struct socket_link *s, int fd,
			const struct lwr_unix_peer *peer)
{
	struct lwr_client_args args = {
		.link = &s->link,
		.slabs = &s->slabs,
		.fd = fd,
		.peer = peer,
		.on_gone = client_gone,
	};
	int err = s->type == SOCK_STREAM ?
			  lwr__stream_client(&args, &s->client) :
			  lwr__dgram_client(&args, &s->client);

	if (!err)
		lwr__log(s->link.stack->log, LWR_LOG_INFO,
			 "%s: guest connected", s->link.name);
	return err;
}

static void drain(struct lwr_link *link)
{
	struct socket_link *s = socket_of(link);

	if (s->client)
		s->client->ops->drain(s->client);
	else /* nobody is there to take them */
		lwr__ring_pop(&link->h2g, lwr__ring_count(&link->h2g));
}

/* ---- listener ------------------------------------------------------------ */

static void on_retry(uv_timer_t *h)
{
	struct socket_link *s = h->data;

	uv_poll_start(&s->listener, UV_READABLE, on_listener_poll);
}

/* Out of descriptors or memory: those waiting are served when some return. */
static void pause_accept(struct socket_link *s, int err)
{
	if (!s->full)
		lwr__log(s->link.stack->log, LWR_LOG_ERROR,
			 "%s: cannot accept a guest: %s (trying again)",
			 s->link.name, strerror(-err));
	s->full = true;
	uv_poll_stop(&s->listener);
	uv_timer_start(&s->retry, on_retry, ACCEPT_RETRY_MS, 0);
}

static bool exhausted(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
	       err == -ENOBUFS;
}

static void refused(struct socket_link *s, int err, const char *hint)
{
	lwr__log(s->link.stack->log, LWR_LOG_ERROR, "%s: guest refused: %s%s",
		 s->link.name, strerror(-err), hint);
}

/* Returns false when there are no more to accept now. */
static bool accept_one(struct socket_link *s)
{
	int fd, err;

	/* One that was handed over may have been made to block since. */
	if (s->handed)
		(void)fcntl(s->sock.fd, F_SETFL, O_RDWR | O_NONBLOCK);
	fd = accept4(s->sock.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		err = -errno;
		if (exhausted(err))
			pause_accept(s, err);
		return err == -ECONNABORTED || err == -EINTR;
	}
	s->full = false;
	if (s->client) {
		lwr__log(s->link.stack->log, LWR_LOG_WARN,
			 "%s: second guest refused: the link has one",
			 s->link.name);
		close(fd);
		return true;
	}
	err = client_start(s, fd, NULL);
	if (err) {
		refused(s, err, "");
		close(fd);
	}
	return true;
}

static const char *meet_hint(int err)
{
	switch (-err) {
	case EDESTADDRREQ:
		return " (its socket must be bound to a path)";
	case ENOENT:
		return " (its socket's path must be absolute, and visible "
		       "here)";
	default:
		return "";
	}
}

/* The socket was connected to `peer`; the client gets its own descriptor. */
static int start_met(struct socket_link *s, const struct lwr_unix_peer *peer)
{
	int fd = fcntl(s->sock.fd, F_DUPFD_CLOEXEC, 0);
	int err = fd < 0 ? -errno : client_start(s, fd, peer);

	if (!err) {
		uv_poll_stop(&s->listener);
		s->full = false;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	return err;
}

/* A first datagram is what a connection is elsewhere. */
static bool meet_one(struct socket_link *s)
{
	struct lwr_unix_peer peer;
	int err = lwr__unix_meet(s->sock.fd, &peer);

	if (err) {
		if (err != -EAGAIN)
			refused(s, err, meet_hint(err));
		return err != -EAGAIN;
	}
	err = start_met(s, &peer);
	if (err) {
		lwr__unix_await(s->sock.fd);
		pause_accept(s, err);
	}
	return false;
}

static void on_listener_poll(uv_poll_t *h, int status, int events)
{
	struct socket_link *s = h->data;

	(void)events;
	if (status < 0) /* a pending error; libuv stopped the watch */
		listen_on(s);
	if (s->client && s->client->ops->leaving(s->client)) {
		/* The next guest waits until the last frames are read. */
		uv_poll_stop(&s->listener);
		return;
	}
	for (int i = 0; i < ACCEPT_BUDGET; i++) {
		if (!(s->type == SOCK_DGRAM ? meet_one(s) : accept_one(s)))
			return;
	}
}

/* ---- link ---------------------------------------------------------------- */

static void socket_free(struct socket_link *s)
{
	lwr__slab_fini(&s->slabs);
	lwr__loop_release(s->link.stack->loop);
	free(s);
}

static void close_handle(struct socket_link *s, uv_handle_t *h);

static void on_handle_closed(uv_handle_t *h)
{
	struct socket_link *s = h->data;

	if (--s->handles > 0)
		return;
	if (s->settled) {
		socket_free(s);
		return;
	}
	s->settled = true;
	uv_timer_init(h->loop, &s->retry);
	close_handle(s, (uv_handle_t *)&s->retry);
}

static void close_handle(struct socket_link *s, uv_handle_t *h)
{
	h->data = s;
	s->handles++;
	uv_close(h, on_handle_closed);
}

/* The memory lives until the last of them is closed. */
static void close_handles(struct socket_link *s)
{
	if (s->listening) {
		uv_poll_stop(&s->listener);
		close_handle(s, (uv_handle_t *)&s->listener);
		lwr__unix_close(&s->sock);
	}
	close_handle(s, (uv_handle_t *)&s->retry);
}

static void socket_close(struct lwr_link *link)
{
	struct socket_link *s = socket_of(link);

	if (s->closing)
		return;
	s->closing = true;
	if (s->client) /* before the frames go that it is writing */
		s->client->ops->stop(s->client);
	s->client = NULL;
	lwr__stack_remove_link(link);
	close_handles(s);
}

static const struct lwr_link_ops socket_ops = {
	.drain = drain,
	.close = socket_close,
};

static struct socket_link *socket_new(struct lwr_stack *stack,
				      const struct lwr_link_setup *setup,
				      int type)
{
	uint32_t max = setup->max_frame ? setup->max_frame : LWR_FRAMING_MAX;
	uint16_t mtu = setup->mtu ? setup->mtu : setup->net->mtu;
	struct socket_link *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->type = type;
	s->link.ops = &socket_ops;
	s->link.stack = stack;
	s->link.net = setup->net;
	s->link.caps = (struct lwr_link_caps){
		.mtu = mtu ? mtu : MTU_DEFAULT,
		.max_frame = max,
		.flight = FLIGHT,
		.csum_g2h_trust = setup->csum_g2h_trust,
		.gso_h2g = true,
		.uso_h2g = true,
	};
	snprintf(s->link.name, sizeof(s->link.name), "%s", setup->name);
	lwr__slab_init(&s->slabs);
	lwr__loop_hold(stack->loop);
	uv_timer_init(stack->loop->uv, &s->retry);
	s->retry.data = s;
	return s;
}

/* Serves whoever comes to s->sock. Returns 0 or -errno. */
static int start_listening(struct socket_link *s)
{
	int err =
		uv_poll_init(s->link.stack->loop->uv, &s->listener, s->sock.fd);

	if (err)
		return err;
	s->listener.data = s;
	err = lwr__stack_add_link(s->link.stack, &s->link);
	if (err) {
		close_handle(s, (uv_handle_t *)&s->listener);
		return err;
	}
	s->listening = true;
	s->link.listens = true;
	if (s->type == SOCK_DGRAM)
		lwr__unix_tune(s->sock.fd);
	listen_on(s);
	return 0;
}

int lwr__socket_listen(struct lwr_stack *stack,
		       const struct lwr_link_setup *setup, int type,
		       const char *path, struct lwr_link **out)
{
	struct socket_link *s = socket_new(stack, setup, type);
	int err;

	if (!s)
		return -ENOMEM;
	err = lwr__unix_open(&s->sock, path, type, LWR_UNIX_ALL);
	if (err)
		goto err_close;
	err = start_listening(s);
	if (err)
		goto err_unlink;
	*out = &s->link;
	return 0;

err_unlink:
	lwr__unix_close(&s->sock);
err_close:
	close_handles(s);
	return err;
}

static int int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -errno :
								    value;
}

/* Returns 0 if fd can be a link of that type, or -errno. */
static int adopt_fd(int fd, int type)
{
	int is = int_option(fd, SO_TYPE), flags;

	if (is < 0)
		return is;
	if (is != type)
		return -EPROTOTYPE;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* Guests come to it. Returns 1, 0, or -errno if it is of no use. */
static int awaits_guests(int fd, int type)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0)
		return 0;
	if (type != SOCK_DGRAM)
		return int_option(fd, SO_ACCEPTCONN) > 0 ? 1 : -ENOTCONN;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return sa.ss_family == AF_UNIX && len > sizeof(sa.ss_family) ?
		       1 :
		       -ENOTCONN;
}

static int start_connected(struct socket_link *s, int fd)
{
	int err = lwr__stack_add_link(s->link.stack, &s->link);

	if (err)
		return err;
	err = client_start(s, fd, NULL);
	if (err)
		lwr__stack_remove_link(&s->link);
	return err;
}

int lwr__socket_fd(struct lwr_stack *stack, const struct lwr_link_setup *setup,
		   int type, int fd, struct lwr_link **out)
{
	struct socket_link *s;
	int err = adopt_fd(fd, type);
	int awaits = err ? err : awaits_guests(fd, type);

	if (awaits < 0)
		return awaits;
	s = socket_new(stack, setup, type);
	if (!s)
		return -ENOMEM;
	s->sock.fd = fd;
	s->handed = true;
	err = awaits ? start_listening(s) : start_connected(s, fd);
	if (err)
		close_handles(s);
	else
		*out = &s->link;
	return err;
}
