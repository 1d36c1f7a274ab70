/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client of a byte stream, a length in front of each frame.
 *
 * g2h: one recv() fills as much of a slab as there is; the frames in it become
 * pbufs where they lie. What is left of the last frame stays where it is if
 * the next room begins there, and is moved to the start of it otherwise (the
 * slab it lies in is either still open, or kept by the frames before it).
 *
 * h2g: the ring is written in batches (netif/batch.h), which cut large
 * segments and fill checksums. A batch written in part is finished before
 * anything else, so the far side never waits inside a frame for a decision
 * of ours. While the socket is full the client is blocked: poll for writable,
 * and the ring fills; that is the back-pressure.
 *
 * A failed write may come in the middle of the stack's work, where ending the
 * client would pull the link from under it. It only shuts the socket down;
 * the client then ends where it always does, in on_poll(), by reading the end
 * of the stream.
 *
 * Sockets stay level-triggered and each wake reads about one slab: then come
 * the other links and the end of the tick, and the slab is used again while it
 * is warm.
 */
#include "netif/client.h"

#include "core/log.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "netif/batch.h"
#include "netif/framing.h"
#include "platform/loop.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
	ROOM = 96 * 1024, /* more than a frame, to read in large pieces */
	READ_BUDGET = 256 * 1024, /* bytes of one wake */
	WRITE_BUDGET = 1024 * 1024, /* bytes of one drain */
	FINISH_MS = 2,
};

struct stream {
	struct lwr_client client;
	uv_poll_t poll;
	int fd;
	struct lwr_loop *loop;
	struct lwr_link *link; /* NULL: stopped, memory waits for uv_close() */
	struct lwr_slab_pool *slabs;
	void (*on_gone)(struct lwr_link *link, int err);
	uint8_t *at; /* bytes read but not cut into frames yet, in a slab */
	size_t have; /* how many */
	bool blocked; /* h2g: the socket is full */
	int err; /* h2g: the -errno that broke it, or 0 */
	struct lwr_batch batch;
};

/* ---- coming and going ---------------------------------------------------- */

static struct stream *stream_of(struct lwr_client *client)
{
	return LWR_CONTAINER(client, struct stream, client);
}

static void on_poll(uv_poll_t *h, int status, int events);

/* Poll interest follows from the client's state. */
static void watch(struct stream *c)
{
	int events = UV_READABLE | (c->blocked ? UV_WRITABLE : 0);

	uv_poll_start(&c->poll, events, on_poll);
}

static void set_blocked(struct stream *c, bool blocked)
{
	if (c->blocked == blocked)
		return;
	c->blocked = blocked;
	watch(c);
}

static void on_closed(uv_handle_t *h)
{
	struct stream *c = h->data;

	lwr__loop_release(c->loop);
	free(c);
}

/*
 * A frame that was begun is written to its end: libkrun waits for the rest of
 * one for ever, even at the end of the stream. Who waits has read all there
 * is, so there is room.
 */
static void finish_frame(struct stream *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLOUT };
	struct msghdr msg = { 0 };
	ssize_t n;

	while (!c->err && lwr__batch_begun(&c->batch)) {
		msg.msg_iov = c->batch.iov + c->batch.first;
		msg.msg_iovlen = lwr__batch_begun(&c->batch);
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0)
			lwr__batch_sent(&c->batch, &c->link->h2g, (size_t)n);
		else if (errno != EAGAIN || poll(&pfd, 1, FINISH_MS) <= 0)
			return;
	}
}

static void stop(struct lwr_client *client)
{
	struct stream *c = stream_of(client);

	finish_frame(c);
	c->link = NULL;
	uv_poll_stop(&c->poll);
	close(c->fd);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

static bool leaving(const struct lwr_client *client)
{
	const struct stream *c = LWR_CONTAINER(client, struct stream, client);
	struct pollfd pfd = { .fd = c->fd, .events = POLLRDHUP };

	return c->err || poll(&pfd, 1, 0) > 0;
}

/* ---- guest to host ------------------------------------------------------- */

/* Reads once. Returns bytes, 0 at the end of the stream, or -errno. */
static ssize_t read_more(struct stream *c, bool *all)
{
	size_t len;
	uint8_t *room = lwr__slab_room(c->slabs, ROOM, &len);
	ssize_t n;

	/* What was begun may be in the slab just left: it cannot be kept. */
	if (!room)
		return -ENOMEM;
	if (c->have && room != c->at)
		memmove(room, c->at, c->have);
	c->at = room;
	len -= c->have;
	n = recv(c->fd, room + c->have, len, MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	c->have += (size_t)n;
	*all = (size_t)n < len;
	return n;
}

/* One frame of len bytes at data. */
static void input(struct stream *c, uint8_t *data, uint32_t len)
{
	static const struct lwr_frame_meta no_meta;
	struct pbuf *p;

	if (len > UINT16_MAX) {
		c->link->stats.drop_size++;
		return;
	}
	p = lwr__slab_pbuf(c->slabs, data, len);
	if (p)
		lwr__stack_input(c->link, p, &no_meta);
	else
		c->link->stats.drop_memory++;
}

/* Hands the whole frames to the stack. Returns 0 or -EPROTO. */
static int cut_frames(struct stream *c)
{
	size_t used = 0;
	uint32_t len;
	int r = 0;

	/* The owner may close the link from inside. */
	while (c->link) {
		r = lwr__framing_cut(c->at + used, c->have - used,
				     c->link->caps.max_frame, &len);
		if (r <= 0)
			break;
		input(c, c->at + used + LWR_FRAMING_HLEN, len);
		used += LWR_FRAMING_HLEN + len;
	}
	lwr__slab_use(c->slabs, used);
	c->at += used;
	c->have -= used;
	if (r >= 0)
		return 0;
	c->link->stats.drop_framing++;
	return r;
}

/*
 * Reads what a wake may read. Returns 1 if the client goes on, 0 if it left,
 * or the -errno of its end.
 */
static int read_client(struct stream *c)
{
	size_t total = 0;
	bool all = false;
	ssize_t n;
	int err;

	while (!all && total < READ_BUDGET) {
		n = read_more(c, &all);
		if (n == -EAGAIN || n == -EINTR)
			return 1;
		if (n <= 0)
			return (int)n;
		total += (size_t)n;
		lwr__loop_worked(c->link->stack->loop);
		err = cut_frames(c);
		if (err)
			return err;
		if (!c->link || !lwr__share_g2h(c->link, (uint32_t)n))
			return 1;
	}
	return 1;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct stream *c = h->data;
	int r = 1;

	/* An error, too, comes behind frames that are there to be read. */
	if (status < 0 || (events & UV_READABLE))
		r = read_client(c);
	if (!c->link)
		return;
	if (status < 0 && r == 1)
		r = -ECONNRESET; /* libuv stopped the watch */
	if (r <= 0) {
		c->on_gone(c->link, c->err ? c->err : r);
		return;
	}
	if (c->blocked && (events & UV_WRITABLE)) {
		set_blocked(c, false);
		lwr__stack_drain(c->link);
	}
}

/* ---- host to guest ------------------------------------------------------- */

static ssize_t write_batch(struct stream *c)
{
	struct lwr_batch *b = &c->batch;
	struct msghdr msg = {
		.msg_iov = b->iov + b->first,
		.msg_iovlen = b->n - b->first,
	};
	ssize_t n;

	do {
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void broken(struct stream *c, int err)
{
	c->err = err;
	lwr__batch_init(&c->batch, true);
	set_blocked(c, false);
	shutdown(c->fd, SHUT_RDWR);
}

static bool may_retry(int err)
{
	return err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM;
}

static void count(struct stream *c)
{
	c->link->stats.frames_h2g += c->batch.packets;
	c->link->stats.bytes_h2g += c->batch.bytes;
	c->batch.packets = 0;
	c->batch.bytes = 0;
}

static void drain(struct lwr_client *client)
{
	struct stream *c = stream_of(client);
	struct lwr_ring *ring = &c->link->h2g;
	size_t total = 0;
	ssize_t n;

	if (c->err) {
		lwr__ring_pop(ring, lwr__ring_count(ring));
		return;
	}
	while (!c->blocked && lwr__batch_fill(&c->batch, ring)) {
		count(c);
		n = write_batch(c);
		if (n < 0 && !may_retry((int)n)) {
			broken(c, (int)n);
			return;
		}
		if (n > 0) {
			lwr__batch_sent(&c->batch, ring, (size_t)n);
			total += (size_t)n;
		}
		if (!lwr__batch_empty(&c->batch) || total >= WRITE_BUDGET)
			set_blocked(c, true);
	}
}

/* ---- life --------------------------------------------------------------- */

static const struct lwr_client_ops stream_ops = {
	.stop = stop,
	.leaving = leaving,
	.drain = drain,
};

int lwr__stream_client(const struct lwr_client_args *args,
		       struct lwr_client **out)
{
	struct stream *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = uv_poll_init(args->link->stack->loop->uv, &c->poll, args->fd);
	if (err) {
		free(c);
		return err;
	}
	lwr__unix_tune(args->fd);
	lwr__batch_init(&c->batch, true);
	c->client.ops = &stream_ops;
	c->poll.data = c;
	c->fd = args->fd;
	c->link = args->link;
	c->loop = args->link->stack->loop;
	lwr__loop_hold(c->loop);
	c->slabs = args->slabs;
	c->on_gone = args->on_gone;
	watch(c);
	*out = &c->client;
	return 0;
}
