/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Payload both ways. Credit flows against the data:
 *
 * g2h  lwIP hands over pbufs in order; they wait in the flow's queue and go
 *      to the host socket with one sendmsg a tick (or earlier, when much has
 *      gathered: the bytes are still in the cache then; but only as many as
 *      the kernel makes full packets of). The guest's window opens by what the
 *      kernel took, never before. While the host does not take any, small
 *      pbufs are gathered into larger ones, so that a guest cannot fill its
 *      window with pbufs of a byte.
 *
 * h2g  no more is read from the host than the guest's window and the ring
 *      take, so nothing is ever left unsent in lwIP (which would not send a
 *      part of a segment). Bytes are read into chunks of a segment each,
 *      several at once in bulk, and lwIP refers to them there until they are
 *      acknowledged; a small read is copied and its chunk used again.
 */
#include "relay/flow.h"

#include "lwip/pbuf.h"

#include "platform/sock.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum {
	IOV_MAX_G2H = 64,
	FLUSH_AT = 240 * 1024, /* queued g2h bytes that go out at once */
	BULK_CHUNKS = 8,
	COPY_MAX = 2048, /* h2g: reads up to this are copied */
	IN_FLIGHT = 1536 * 1024, /* h2g bytes of a link, see below */
	IN_FLIGHT_LEAST = 128 * 1024, /* of one flow */
	TICK_SHARE = 512 * 1024, /* h2g bytes of one flow in one tick */
	COLLECT_MAX = 2048, /* pbufs gathered while the host is blocked */
	COLLECTOR = 16 * 1024,
};

/* ---- guest to host ------------------------------------------------------- */

/* Copies p behind the tail's bytes, in a collector. False: no memory. */
static bool collect(struct lwr_flow *f, struct pbuf *p)
{
	struct pbuf *c = f->g2h_tail;

	if (f->g2h_room < p->tot_len) {
		c = pbuf_alloc(PBUF_RAW, COLLECTOR, PBUF_RAM);
		if (!c)
			return false;
		c->len = 0;
		c->tot_len = 0;
		if (f->g2h_tail)
			f->g2h_tail->next = c;
		else
			f->g2h_head = c;
		f->g2h_tail = c;
		f->g2h_room = COLLECTOR;
	}
	(void)pbuf_copy_partial(p, (char *)c->payload + c->len, p->tot_len, 0);
	c->len = (u16_t)(c->len + p->tot_len);
	f->g2h_room -= p->tot_len;
	pbuf_free(p);
	return true;
}

static void guest_shutdown(struct lwr_flow *f, enum lwr_half_action action)
{
	if (action == LWR_HALF_SHUTDOWN)
		(void)lwr__sock_shutdown(f->watch.fd);
}

static void set_half(struct lwr_flow *f, uint8_t *half, enum lwr_half to,
		     const char *dir)
{
	if (*half == to)
		return;
	lwr__log(f->tcp->stack->log, LWR_LOG_DEBUG, "flow %llu %s %s->%s",
		 (unsigned long long)f->id, dir,
		 lwr__half_name((enum lwr_half) * half), lwr__half_name(to));
	*half = (uint8_t)to;
}

void lwr__flow_guest_eof(struct lwr_flow *f)
{
	enum lwr_half h = (enum lwr_half)f->g2h;
	enum lwr_half_action action = lwr__half_eof(&h, f->g2h_len);

	set_half(f, &f->g2h, h, "g2h");
	guest_shutdown(f, action);
}

/* Drops the first n bytes of the queue: the host has them. */
static void consume(struct lwr_flow *f, uint32_t n)
{
	struct pbuf *p;

	f->g2h_len -= n;
	lwr__flow_hold(f, -(int64_t)n);
	f->bytes_g2h += n;
	while ((p = f->g2h_head) && n >= p->len) {
		n -= p->len;
		f->g2h_head = p->next;
		p->next = NULL;
		pbuf_free(p);
	}
	if (!f->g2h_head) {
		f->g2h_tail = NULL;
		f->g2h_room = 0;
	} else if (n > 0) {
		p->payload = (char *)p->payload + n;
		p->len = (u16_t)(p->len - n);
	}
}

/* The first `want` bytes of the queue, or as many as fit. */
static int gather(const struct lwr_flow *f, struct iovec *iov, uint32_t want,
		  size_t *total)
{
	struct pbuf *p;
	int n = 0;

	*total = 0;
	for (p = f->g2h_head; p && n < IOV_MAX_G2H && *total < want;
	     p = p->next) {
		iov[n].iov_base = p->payload;
		iov[n].iov_len = LWIP_MIN(p->len, want - *total);
		*total += iov[n++].iov_len;
	}
	return n;
}

/* Sends the first `want` bytes of the queue. Returns 0 or -errno. */
static int send_queued(struct lwr_flow *f, uint32_t want)
{
	struct iovec iov[IOV_MAX_G2H];
	uint32_t taken = 0;
	size_t total;
	ssize_t r = 0;

	while (taken < want && f->writable) {
		int n = gather(f, iov, want - taken, &total);

		r = lwr__sock_writev(f->watch.fd, iov, n);
		if (r < 0)
			break;
		consume(f, (uint32_t)r);
		taken += (uint32_t)r;
		if ((size_t)r < total) /* the kernel will tell when again */
			f->writable = false;
	}
	if (r == -EAGAIN)
		f->writable = false;
	if (taken)
		lwr__conn_credit(&f->conn, taken, f->writable);
	return r < 0 && r != -EAGAIN ? (int)r : 0;
}

int lwr__flow_pump_g2h(struct lwr_flow *f)
{
	int err = send_queued(f, f->g2h_len);
	enum lwr_half h;

	if (err < 0)
		return err;
	if (!f->g2h_head) {
		h = (enum lwr_half)f->g2h;
		guest_shutdown(f, lwr__half_drained(&h));
		set_half(f, &f->g2h, h, "g2h");
	}
	return 0;
}

/* So much of the queue that the kernel makes no small packet of the rest. */
static uint32_t whole_packets(struct lwr_flow *f)
{
	if (!f->g2h_unit)
		f->g2h_unit = lwr__sock_unit(f->watch.fd);
	return f->g2h_len - f->g2h_len % f->g2h_unit;
}

/*
 * The queue is a chain of pbufs; only `len` of each is looked at, for tot_len
 * has no room for more than 64 KiB.
 */
void lwr__flow_append(struct lwr_flow *f, struct pbuf *p)
{
	uint32_t len = p->tot_len;

	f->g2h_len += len;
	lwr__flow_hold(f, len);
	if (!f->writable && len < COLLECT_MAX && collect(f, p))
		return;
	if (f->g2h_tail)
		f->g2h_tail->next = p;
	else
		f->g2h_head = p;
	while (p->next)
		p = p->next;
	f->g2h_tail = p;
	f->g2h_room = 0;
	/* An error shows again in the service of the flow. */
	if (f->g2h_len >= FLUSH_AT && f->writable)
		(void)send_queued(f, whole_packets(f));
}

/* ---- host to guest --------------------------------------------------------- */

static void hold_chunk(struct lwr_flow *f, int64_t bytes)
{
	f->conn.link->buffered += (uint64_t)bytes;
	f->conn.link->flight += (uint64_t)bytes;
}

void lwr__flow_release(struct lwr_flow *f, bool all)
{
	struct lwr_chunk *c;

	while ((c = f->h2g_head) &&
	       (all || (int32_t)(f->h2g_acked - c->end) >= 0)) {
		f->h2g_head = c->next;
		if (!f->h2g_head)
			f->h2g_tail = NULL;
		hold_chunk(f, -(int64_t)sizeof(*c));
		lwr__chunk_put(c);
	}
}

static void keep_chunk(struct lwr_flow *f, struct lwr_chunk *c)
{
	c->end = f->h2g_sent;
	hold_chunk(f, sizeof(*c));
	if (f->h2g_tail)
		f->h2g_tail->next = c;
	else
		f->h2g_head = c;
	f->h2g_tail = c;
}

/* Gives `len` bytes in chunk c to lwIP; takes the chunk. */
static int give(struct lwr_flow *f, struct lwr_chunk *c, uint32_t len,
		bool copy)
{
	int err =
		len ? lwr__conn_write(&f->conn, c->data, (uint16_t)len, copy) :
		      0;

	if (err < 0 || len == 0 || copy) {
		f->h2g_sent += err < 0 ? 0 : len;
		lwr__chunk_put(c);
		return err;
	}
	f->h2g_sent += len;
	keep_chunk(f, c);
	return 0;
}

struct batch {
	struct lwr_chunk *chunk[BULK_CHUNKS];
	struct iovec iov[BULK_CHUNKS];
	int n;
	size_t total;
};

/* Chunks of a segment each for up to `want` bytes. */
static void prepare(struct lwr_flow *f, struct batch *b, uint32_t want)
{
	uint16_t seg = lwr__conn_segment(&f->conn);
	int max = f->bulk ? BULK_CHUNKS : 1;

	b->n = 0;
	b->total = 0;
	while (want > 0 && b->n < max) {
		struct lwr_chunk *c = lwr__chunk_get(&f->tcp->chunks);
		uint32_t len = want < seg ? want : seg;

		if (!c)
			break;
		b->chunk[b->n] = c;
		b->iov[b->n].iov_base = c->data;
		b->iov[b->n].iov_len = len;
		b->n++;
		b->total += len;
		want -= len;
	}
}

/* Hands over the first r bytes that were read, and what was not used back. */
static int hand_over(struct lwr_flow *f, struct batch *b, size_t r)
{
	bool copy = r <= COPY_MAX;
	int i, err = 0;

	for (i = 0; i < b->n; i++) {
		size_t len = r < b->iov[i].iov_len ? r : b->iov[i].iov_len;

		r -= len;
		if (err < 0)
			lwr__chunk_put(b->chunk[i]);
		else
			err = give(f, b->chunk[i], (uint32_t)len, copy);
	}
	return err;
}

/* Memory for payload ran out: go on slowly rather than not at all. */
static ssize_t read_small(struct lwr_flow *f, uint32_t want)
{
	char buf[COPY_MAX];
	struct iovec iov = { buf, want < sizeof(buf) ? want : sizeof(buf) };
	ssize_t r = lwr__sock_readv(f->watch.fd, &iov, 1);
	int err;

	if (r <= 0)
		return r;
	err = lwr__conn_write(&f->conn, buf, (uint16_t)r, true);
	if (err < 0)
		return err;
	f->h2g_sent += (uint32_t)r;
	return r;
}

/* One read of up to `want` bytes. Returns what was read, 0 at the end. */
static ssize_t pump_once(struct lwr_flow *f, uint32_t want)
{
	struct batch b;
	ssize_t r;
	int err;

	prepare(f, &b, want);
	if (b.n == 0) {
		r = read_small(f, want);
		b.total = want < COPY_MAX ? want : COPY_MAX;
	} else {
		r = lwr__sock_readv(f->watch.fd, b.iov, b.n);
		err = hand_over(f, &b, r > 0 ? (size_t)r : 0);
		if (r > 0 && err < 0)
			r = err;
	}
	if (r > 0) {
		f->bytes_h2g += (uint64_t)r;
		lwr__conn_output(&f->conn);
		f->bulk = (size_t)r == b.total || r > LWR_CHUNK_DATA;
		/* A short read of a stream has emptied it (epoll(7)). */
		if ((size_t)r < b.total && !f->hangup)
			f->readable = false;
	}
	if (r == -EAGAIN)
		f->readable = false;
	return r;
}

static void host_eof(struct lwr_flow *f)
{
	enum lwr_half h = (enum lwr_half)f->h2g;

	/* All that was read is with lwIP already: nothing is queued here. */
	if (lwr__half_eof(&h, 0) == LWR_HALF_SHUTDOWN)
		(void)lwr__conn_shutdown(&f->conn);
	set_half(f, &f->h2g, h, "h2g");
	f->readable = false;
}

/* The guest has its share of memory in use: one read at a time then. */
static bool link_full(const struct lwr_flow *f)
{
	uint64_t limit = f->conn.link->net->limits.buffer;

	return limit && f->conn.link->buffered >= limit;
}

/*
 * What the flow may read now. Beside window and ring there is a bound on the
 * bytes that the link's flows have in flight, for those should stay in the
 * cache: a flow may have as much as is left of it, so n bulk flows settle at
 * 1 / (n + 1) of it each.
 */
static uint32_t room_of(struct lwr_flow *f)
{
	uint32_t room = lwr__conn_room(&f->conn);
	uint32_t flight = f->h2g_sent - f->h2g_acked;
	const struct lwr_link *link = f->conn.link;
	uint64_t most = link->caps.flight ? link->caps.flight : IN_FLIGHT;
	uint32_t limit = IN_FLIGHT_LEAST;

	if (link->flight + IN_FLIGHT_LEAST < most)
		limit = (uint32_t)(most - link->flight);
	if (flight >= limit || (flight > 0 && link_full(f)))
		return 0; /* its next acknowledgement comes back here */
	return room < limit - flight ? room : limit - flight;
}

int lwr__flow_pump_h2g(struct lwr_flow *f)
{
	struct lwr_link *link = f->conn.link;
	uint32_t room, left = lwr__share_h2g(link);
	uint32_t share = left < TICK_SHARE ? left : TICK_SHARE;
	ssize_t r;

	if (share == 0)
		return f->readable && f->h2g == LWR_HALF_OPEN;

	while (f->readable && f->h2g == LWR_HALF_OPEN) {
		room = room_of(f);
		if (room == 0) {
			/* A FIN needs no window. */
			if (f->hangup && lwr__sock_ended(f->watch.fd))
				host_eof(f);
			else
				lwr__conn_stalled(&f->conn);
			return 0;
		}
		r = pump_once(f, room < share ? room : share);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return (int)r;
		if (r == 0)
			host_eof(f);
		lwr__share_h2g_use(link, (uint32_t)r);
		share -= (uint32_t)r;
		if (share == 0)
			return 1;
	}
	return 0;
}
