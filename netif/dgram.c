/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client of a socket that keeps messages apart: one is a frame. Both ways
 * many of them cross with one system call.
 *
 * g2h: a batch is read into slots of the open slab, each with room for a frame
 * of the usual size; what is longer goes on in a spill of the slot's own, and
 * that frame is copied together. After a batch with such a frame the slots
 * are of 64 KiB, fewer of them, so that a guest's large segments are not
 * copied; small ones make them small again. The spills are memory that is
 * reserved and, unless it is used, never touched.
 *
 * h2g: netif/batch.h cuts large segments and fills checksums; what the socket
 * does not take waits. EAGAIN and ENOBUFS are back-pressure: poll for
 * writable, and the ring fills.
 *
 * Before the socket was connected to the guest, others could send too. Who
 * sent is compared until the queue was found empty once; from then on the
 * kernel refuses them.
 *
 * The end. A message socket with connections tells it as a stream does. Of
 * datagrams nobody does (platform/unix.c): the client asks when the guest's
 * process ended, by sending a frame that means nothing, and from a timer while
 * the guest is silent, by looking at its address. A send that fails in the
 * middle of the stack's work, where the client cannot be ended, leaves that to
 * the timer too.
 */
#include "netif/client.h"

#include "core/log.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "netif/batch.h"
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
	SLOTS = 32,
	SLOT_SMALL = 2048,
	SLOT_LARGE = 64 * 1024,
	SLOT_ALIGN = 64,
	PAD = 2, /* the IP header is then aligned */
	SPILL = 64 * 1024, /* more than a frame of 65,535 bytes lacks */
	READ_BUDGET = 256 * 1024, /* bytes of one wake */
	WRITE_BUDGET = 1024 * 1024, /* bytes of one drain */
	SEND = 128, /* messages of one call */
	CHECK_MS = 2000, /* is a silent guest still there? */
};

/* vfkit's hello; the frames of its guest follow. */
static const char hello[4] = { 'V', 'F', 'K', 'T' };

struct dgram {
	struct lwr_client client;
	uv_poll_t poll;
	uv_poll_t exit; /* of the guest's process, if peer.pidfd >= 0 */
	uv_timer_t timer;
	int fd;
	struct lwr_loop *loop;
	bool messages; /* SOCK_SEQPACKET */
	bool local; /* a Unix socket: a refused send is the end */
	bool met; /* the process that sends has been asked for */
	struct lwr_unix_peer peer; /* len 0: it came connected */
	struct lwr_link *link; /* NULL: stopped */
	struct lwr_slab_pool *slabs;
	void (*on_gone)(struct lwr_link *link, int err);
	bool heard; /* since the timer's last look */
	bool strangers; /* the queue may hold messages of others */
	bool large; /* the last batch had a large frame */
	bool blocked; /* h2g: the socket is full */
	int err; /* the -errno that broke it, or 0 */
	unsigned handles; /* whose close is pending */
	uint8_t *spill;
	struct mmsghdr msg[SLOTS];
	struct iovec iov[SLOTS][2];
	struct sockaddr_un from[SLOTS];
	struct lwr_batch batch;
};

static struct dgram *dgram_of(struct lwr_client *client)
{
	return LWR_CONTAINER(client, struct dgram, client);
}

static void on_poll(uv_poll_t *h, int status, int events);

/* Poll interest follows from the client's state. */
static void watch(struct dgram *c)
{
	int events = UV_READABLE | (c->blocked ? UV_WRITABLE : 0);

	uv_poll_start(&c->poll, events, on_poll);
}

static void set_blocked(struct dgram *c, bool blocked)
{
	if (c->blocked == blocked)
		return;
	c->blocked = blocked;
	watch(c);
}

/* Errors that a later message may not meet. */
static bool passing(const struct dgram *c, int err)
{
	return err == -EINTR || (!c->local && err == -ECONNREFUSED);
}

/* ---- guest to host ------------------------------------------------------- */

static size_t slot_size(const struct dgram *c)
{
	return c->large ? SLOT_LARGE : SLOT_SMALL;
}

/* Points n messages at the room. */
static void prepare(struct dgram *c, uint8_t *room, unsigned n)
{
	size_t size = slot_size(c);

	for (unsigned i = 0; i < n; i++) {
		struct msghdr *h = &c->msg[i].msg_hdr;

		c->iov[i][0].iov_base = room + i * size + PAD;
		c->iov[i][0].iov_len = size - PAD;
		c->iov[i][1].iov_base = c->spill + (size_t)i * SPILL;
		c->iov[i][1].iov_len = SPILL;
		h->msg_iov = c->iov[i];
		h->msg_iovlen = 2;
		h->msg_name = c->strangers ? &c->from[i] : NULL;
		h->msg_namelen = c->strangers ? sizeof(c->from[i]) : 0;
		h->msg_flags = 0;
	}
}

static bool from_guest(const struct dgram *c, unsigned i)
{
	const struct msghdr *h = &c->msg[i].msg_hdr;

	return !c->strangers ||
	       (h->msg_namelen == c->peer.len &&
		memcmp(&c->from[i], &c->peer.addr, h->msg_namelen) == 0);
}

/* Of slot i, with len bytes; NULL: no memory. */
static struct pbuf *frame_of(struct dgram *c, unsigned i, size_t len)
{
	const struct iovec *iov = c->iov[i];
	struct pbuf *p;

	if (len <= iov[0].iov_len)
		return lwr__slab_pbuf(c->slabs, iov[0].iov_base, len);
	p = lwr__frame_alloc(len);
	if (p) {
		memcpy(p->payload, iov[0].iov_base, iov[0].iov_len);
		memcpy((uint8_t *)p->payload + iov[0].iov_len, iov[1].iov_base,
		       len - iov[0].iov_len);
	}
	return p;
}

/* Message i was read. */
static void input(struct dgram *c, unsigned i)
{
	static const struct lwr_frame_meta no_meta;
	const struct mmsghdr *m = &c->msg[i];
	struct lwr_stats *stats = &c->link->stats;
	struct pbuf *p;

	if (!from_guest(c, i)) {
		stats->drop_source++;
		return;
	}
	if (m->msg_len == sizeof(hello) &&
	    memcmp(c->iov[i][0].iov_base, hello, sizeof(hello)) == 0)
		return;
	if (m->msg_len < LWR_ETH_HLEN || m->msg_len > UINT16_MAX ||
	    (m->msg_hdr.msg_flags & MSG_TRUNC)) {
		stats->drop_size++;
		return;
	}
	p = frame_of(c, i, m->msg_len);
	if (p)
		lwr__stack_input(c->link, p, &no_meta);
	else
		stats->drop_memory++;
}

/* Marks the room of n messages as used; what the last one left stays. */
static void use_slots(struct dgram *c, unsigned n)
{
	size_t size = slot_size(c), last = PAD + c->msg[n - 1].msg_len;

	last = (last + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
	lwr__slab_use(c->slabs, (n - 1) * size + (last < size ? last : size));
}

/* Hands n messages to the stack; returns their bytes. */
static size_t take(struct dgram *c, unsigned n)
{
	bool large = false;
	size_t bytes = 0;

	use_slots(c, n);
	/* The owner may close the link from inside. */
	for (unsigned i = 0; i < n && c->link; i++) {
		bytes += c->msg[i].msg_len;
		large |= c->msg[i].msg_len > SLOT_SMALL - PAD;
		input(c, i);
	}
	c->large = large;
	return bytes;
}

/* True if the far side has closed its end of a message socket. */
static bool leaving(const struct lwr_client *client)
{
	const struct dgram *c = LWR_CONTAINER(client, struct dgram, client);
	struct pollfd pfd = { .fd = c->fd, .events = POLLRDHUP };

	return c->err || (c->messages && poll(&pfd, 1, 0) > 0);
}

/*
 * Reads one batch; *bytes grows by its size. Returns 1, 0 if the queue is
 * empty now, or -errno; -EPIPE: the guest has left.
 */
static int read_batch(struct dgram *c, size_t *bytes)
{
	size_t size = slot_size(c), len;
	uint8_t *room = lwr__slab_room(
		c->slabs, c->large ? size : SLOTS / 2 * size, &len);
	unsigned most = (unsigned)(len / size);
	bool ended;
	int n;

	if (!room)
		return -ENOMEM;
	most = most < SLOTS ? most : SLOTS;
	prepare(c, room, most);
	n = recvmmsg(c->fd, c->msg, most, MSG_DONTWAIT, NULL);
	if (n < 0 && errno == EAGAIN) {
		c->strangers = false;
		return 0;
	}
	if (n < 0)
		return errno == ECONNRESET && c->messages ? 1 : -errno;
	ended = n > 0 && c->msg[n - 1].msg_len == 0 && leaving(&c->client);
	while (ended && n > 0 && c->msg[n - 1].msg_len == 0)
		n--; /* the end is read again and again */
	if (n > 0)
		*bytes += take(c, (unsigned)n);
	if (!c->link)
		return 0;
	if (ended)
		return -EPIPE;
	if ((unsigned)n < most)
		c->strangers = false;
	return (unsigned)n == most;
}

/* Who keeps a copy of the descriptor may have shut it down: always readable. */
static bool is_shut(const struct dgram *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLRDHUP);
}

/* Reads what a wake may read. Returns 0, or the -errno of its end. */
static int read_guest(struct dgram *c, bool readable)
{
	size_t total = 0, before;
	int r;

	do {
		before = total;
		r = read_batch(c, &total);
	} while (r > 0 && total < READ_BUDGET &&
		 lwr__share_g2h(c->link, (uint32_t)(total - before)));
	if (total && c->link) {
		c->heard = true;
		lwr__loop_worked(c->link->stack->loop);
	}
	if (r == 0 && total == 0 && readable && c->link && is_shut(c))
		return -EPIPE;
	return r < 0 && !passing(c, r) ? r : 0;
}

/* ---- host to guest ------------------------------------------------------- */

/* Ends the client, but from the timer. */
static void on_timer(uv_timer_t *h);

static void broken(struct dgram *c, int err)
{
	c->err = err;
	lwr__batch_init(&c->batch, false);
	set_blocked(c, false);
	uv_timer_start(&c->timer, on_timer, 0, 0);
}

/* Returns how many of n messages the socket took, or -errno. */
static int send_batch(struct dgram *c, size_t *bytes)
{
	struct lwr_link *link = c->link;
	struct mmsghdr msg[SEND];
	unsigned n = lwr__batch_messages(&c->batch, msg, SEND);
	int r = sendmmsg(c->fd, msg, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (r < 0)
		return -errno;
	for (int i = 0; i < r; i++) {
		link->stats.frames_h2g++;
		link->stats.bytes_h2g += msg[i].msg_len;
		*bytes += msg[i].msg_len;
	}
	return r;
}

static bool may_retry(int err)
{
	return err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM;
}

/* True if the drain goes on: it was sent, or left out for good. */
static bool dispose(struct dgram *c, int r)
{
	if (r == -EINTR)
		return true;
	if (may_retry(r)) {
		set_blocked(c, true);
		return false;
	}
	if (r == -EMSGSIZE || passing(c, r)) {
		c->link->stats.drop_link_refused++;
		r = 1;
	}
	if (r < 0) {
		broken(c, r);
		return false;
	}
	lwr__batch_sent_messages(&c->batch, &c->link->h2g, (unsigned)r);
	return true;
}

static void drain(struct lwr_client *client)
{
	struct dgram *c = dgram_of(client);
	struct lwr_ring *ring = &c->link->h2g;
	size_t total = 0;

	if (c->err) {
		lwr__ring_pop(ring, lwr__ring_count(ring));
		return;
	}
	while (!c->blocked && lwr__batch_fill(&c->batch, ring)) {
		if (total >= WRITE_BUDGET)
			set_blocked(c, true);
		else if (!dispose(c, send_batch(c, &total)))
			return;
	}
}

/* ---- the guest's end ----------------------------------------------------- */

static void gone(struct dgram *c, int err)
{
	/* Who closes without a word has left like any other. */
	if (err == -ECONNREFUSED || err == -ENOTCONN)
		err = 0;
	c->on_gone(c->link, err);
}

/* Sends a frame of a type that is for experiments (IEEE 802, 0x88b5). */
static int probe(const struct dgram *c)
{
	uint8_t frame[60] = { [12] = 0x88, [13] = 0xb5 };

	memset(frame, 0xff, 6);
	memcpy(frame + 6, c->link->net->gateway_mac, 6);
	if (send(c->fd, frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return may_retry(-errno) ? 0 : -errno;
	return 0;
}

static void on_process_end(uv_poll_t *h, int status, int events)
{
	struct dgram *c = h->data;
	int err = c->err;

	(void)status;
	(void)events;
	uv_poll_stop(&c->exit);
	if (!err) /* somebody else may hold its socket */
		err = probe(c);
	if (err)
		gone(c, err);
}

static void on_timer(uv_timer_t *h)
{
	struct dgram *c = h->data;

	if (c->err)
		gone(c, c->err);
	else if (!c->heard && !lwr__unix_there(c->fd, &c->peer))
		gone(c, 0);
	else
		c->heard = false;
}

static void watch_exit(struct dgram *c)
{
	int fd = c->peer.pidfd;

	if (fd < 0)
		return;
	if (uv_poll_init(c->poll.loop, &c->exit, fd) < 0) {
		close(fd);
		c->peer.pidfd = -1;
		return;
	}
	c->exit.data = c;
	uv_poll_start(&c->exit, UV_READABLE, on_process_end);
}

static int socket_error(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct dgram *c = h->data;
	int err = 0;

	if (status < 0) { /* libuv stopped the watch */
		err = socket_error(c->fd);
		if (c->messages || passing(c, err))
			err = 0;
		watch(c);
	}
	if (!c->met) {
		c->met = true;
		c->peer.pidfd = lwr__unix_sender(c->fd);
		watch_exit(c);
	}
	if (!err)
		err = read_guest(c, events & UV_READABLE);
	if (!c->link)
		return;
	if (err) {
		gone(c, c->err ? c->err : err);
		return;
	}
	if (c->blocked && (events & UV_WRITABLE)) {
		set_blocked(c, false);
		lwr__stack_drain(c->link);
	}
}

/* ---- life --------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	struct dgram *c = h->data;

	if (--c->handles > 0)
		return;
	lwr__loop_release(c->loop);
	free(c->spill);
	free(c);
}

static void close_handle(struct dgram *c, uv_handle_t *h)
{
	c->handles++;
	uv_close(h, on_closed);
}

static void stop(struct lwr_client *client)
{
	struct dgram *c = dgram_of(client);

	c->link = NULL;
	uv_poll_stop(&c->poll);
	if (c->peer.pidfd >= 0) {
		uv_poll_stop(&c->exit);
		close(c->peer.pidfd);
		close_handle(c, (uv_handle_t *)&c->exit);
	}
	close(c->fd);
	close_handle(c, (uv_handle_t *)&c->poll);
	close_handle(c, (uv_handle_t *)&c->timer);
}

static const struct lwr_client_ops dgram_ops = {
	.stop = stop,
	.leaving = leaving,
	.drain = drain,
};

/* What the socket is. Returns 0 or -errno. */
static int look_at(struct dgram *c)
{
	socklen_t len = sizeof(int);
	int type, family;

	if (getsockopt(c->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0)
		return -errno;
	c->messages = type == SOCK_SEQPACKET;
	c->local = family == AF_UNIX;
	return 0;
}

/* Watches over a guest that does not say when it leaves. */
static void watch_peer(struct dgram *c, const struct lwr_unix_peer *peer)
{
	c->peer.pidfd = -1;
	c->met = peer || c->messages || !c->local;
	if (!c->met)
		lwr__unix_ask_sender(c->fd);
	if (!peer)
		return;
	c->peer = *peer;
	c->strangers = true;
	uv_timer_start(&c->timer, on_timer, CHECK_MS, CHECK_MS);
	watch_exit(c);
}

int lwr__dgram_client(const struct lwr_client_args *args,
		      struct lwr_client **out)
{
	uv_loop_t *uv = args->link->stack->loop->uv;
	struct dgram *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (!c)
		return err;
	c->spill = malloc((size_t)SLOTS * SPILL);
	if (!c->spill)
		goto err_undo_client;
	c->fd = args->fd;
	err = look_at(c);
	if (err)
		goto err_undo_spill;
	err = uv_poll_init(uv, &c->poll, c->fd);
	if (err)
		goto err_undo_spill;
	uv_timer_init(uv, &c->timer);
	c->poll.data = c;
	c->timer.data = c;
	lwr__unix_tune(c->fd);
	lwr__batch_init(&c->batch, false);
	c->client.ops = &dgram_ops;
	c->link = args->link;
	c->loop = args->link->stack->loop;
	lwr__loop_hold(c->loop);
	c->slabs = args->slabs;
	c->on_gone = args->on_gone;
	watch_peer(c, args->peer);
	watch(c);
	*out = &c->client;
	return 0;

err_undo_spill:
	free(c->spill);
err_undo_client:
	free(c);
	return err;
}
