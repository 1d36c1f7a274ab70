/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets to resolvers. Each is connected, so that the kernel drops what comes
 * from anywhere else and tells of ICMP errors, and has a port that the kernel
 * chose at random (RFC 5452 9.2); each question in it has a random identifier.
 * They leave from where --outbound says, as all others do.
 *
 * UDP: questions that are in flight together share a socket, up to SLOTS in its
 * whole life; then, or when none is in flight any more, it is closed. So a
 * question asked alone has a port of its own, and no port is open long enough
 * to be worth finding out. The first question of a tick leaves at once; those
 * after it gather, and leave with one system call for each socket, those of one
 * size as a train, which passes the host's stack once.
 *
 * TCP: a connection for each question, closed after its answer. Only answers
 * that did not fit a datagram, and guests' own TCP, come this way.
 *
 *	send -> slot -> readable -> id finds the try -> lwr__dns_on_message()
 *
 * Events only note what happened. A closed socket stays in memory until the
 * end of the tick, since the loop may still hold an event of it.
 */
#include "relay/dns_via.h"

#include "core/pkt.h"
#include "platform/sock.h"
#include "platform/sock_udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	SLOTS = 64, /* questions in the life of a UDP socket */
	STREAMS_MAX = 256,
	BUDGET = 64, /* reads of one socket in one tick */
	PREFIX = 2, /* length before a message in TCP */
	SHORT = LWR_DNS_OUT / SLOTS, /* questions that may gather */
};

struct lwr_dns_via {
	struct lwr_watch watch;
	struct lwr_list node; /* on up->ready or ->dead */
	struct lwr_list on_unsent;
	struct lwr_dns_upstream *up;
	struct lwr_dns_try *slot[SLOTS]; /* in order of use; NULL: over */
	unsigned used;
	unsigned sent_slots; /* of those; the others are to be sent */
	unsigned live;
	uint8_t server;
	bool tcp;
	bool readable;
	bool writable;
	int error; /* found while sending; its questions failed of it */
	size_t sent; /* TCP: of the prefix and the message */
	size_t have; /* TCP: of the same in `in` */
	uint8_t *in; /* TCP: PREFIX + LWR_DNS_MSG_MAX, or NULL */
};

/* ---- opening and closing ------------------------------------------------- */

/* No more questions go there. */
static void retire(struct lwr_dns_via *v)
{
	if (v->up->open[v->server] == v)
		v->up->open[v->server] = NULL;
}

static void close_via(struct lwr_dns_via *v)
{
	int fd = v->watch.fd;

	retire(v);
	lwr__watch_stop(v->up->loop, &v->watch);
	lwr__sock_close(fd);
	v->watch.fd = -1;
	if (v->tcp)
		v->up->streams--;
	lwr__list_remove(&v->on_unsent);
	lwr__list_remove(&v->node);
	lwr__list_append(&v->up->dead, &v->node);
}

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_dns_via *v = LWR_CONTAINER(w, struct lwr_dns_via, watch);

	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		v->readable = true;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		v->writable = true;
	if (lwr__list_empty(&v->node) && (v->readable || v->tcp))
		lwr__list_append(&v->up->ready, &v->node);
}

static int open_socket(const struct lwr_dns *dns, unsigned server, bool tcp)
{
	const struct lwr_sock_from *from = &dns->config->outbound;
	struct sockaddr_storage ss;
	bool done;
	socklen_t len = lwr__dns_sockaddr(dns, server, &ss);

	if (lwr__addr_is_loopback(&dns->resolver[server]))
		from = NULL;
	return tcp ? lwr__sock_connect((struct sockaddr *)&ss, len, from, 0,
				       &done) :
		     lwr__sock_connect_udp((struct sockaddr *)&ss, len, from);
}

/* Returns the via, or NULL and *err. */
static struct lwr_dns_via *open_via(struct lwr_dns_upstream *u, uint8_t server,
				    bool tcp, int *err)
{
	struct lwr_dns_via *v = calloc(1, sizeof(*v));

	*err = -ENOMEM;
	if (!v)
		return NULL;
	v->up = u;
	v->server = server;
	v->tcp = tcp;
	lwr__list_init(&v->node);
	lwr__list_init(&v->on_unsent);
	v->watch.fd = open_socket(u->dns, server, tcp);
	v->watch.events = tcp ? EPOLLIN | EPOLLOUT : EPOLLIN;
	v->watch.on_event = on_event;
	*err = v->watch.fd;
	if (v->watch.fd < 0)
		goto err_undo_alloc;
	*err = lwr__watch_start(u->loop, &v->watch);
	if (*err < 0)
		goto err_undo_socket;
	u->streams += tcp;
	return v;

err_undo_socket:
	lwr__sock_close(v->watch.fd);
err_undo_alloc:
	free(v);
	return NULL;
}

void lwr__dns_upstream_reap(struct lwr_dns_upstream *u)
{
	struct lwr_dns_via *v;
	struct lwr_list *n;

	while ((n = lwr__list_take(&u->dead))) {
		v = LWR_CONTAINER(n, struct lwr_dns_via, node);
		free(v->in);
		free(v);
	}
}

/* ---- sending ------------------------------------------------------------- */

static uint16_t random_id(struct lwr_dns_upstream *u)
{
	if (u->ids == 0) {
		lwr__random(u->id, sizeof(u->id));
		u->ids = LWR_DNS_IDS;
	}
	return u->id[--u->ids];
}

static struct lwr_dns_try *find_try(const struct lwr_dns_via *v, uint16_t id)
{
	for (unsigned i = 0; i < v->used; i++)
		if (v->slot[i] && v->slot[i]->id == id)
			return v->slot[i];
	return NULL;
}

static void enter(struct lwr_dns_via *v, struct lwr_dns_try *t)
{
	do
		t->id = random_id(v->up);
	while (find_try(v, t->id));
	t->via = v;
	t->slot = (uint8_t)v->used;
	v->slot[v->used++] = t;
	v->live++;
	if (v->used == SLOTS)
		retire(v);
}

void lwr__dns_via_cancel(struct lwr_dns_try *t)
{
	struct lwr_dns_via *v = t->via;

	if (!v)
		return;
	t->via = NULL;
	v->slot[t->slot] = NULL;
	if (--v->live == 0)
		close_via(v);
}

/* All of a via's questions failed alike. */
static void fail_all(struct lwr_dns_via *v, int err)
{
	retire(v);
	for (unsigned i = 0; i < v->used; i++)
		if (v->slot[i])
			lwr__dns_on_error(v->slot[i], err);
}

/* Writes what is left of prefix, identifier and the rest of the message. */
static ssize_t write_try(const struct lwr_dns_via *v,
			 const struct lwr_dns_try *t)
{
	uint8_t head[4] = { (uint8_t)(t->len >> 8), (uint8_t)t->len,
			    (uint8_t)(t->id >> 8), (uint8_t)t->id };
	size_t skip = v->tcp ? v->sent : PREFIX;
	struct iovec iov[2] = {
		{ head, sizeof(head) },
		{ (void *)(uintptr_t)(t->msg + 2), t->len - 2 },
	};
	int first = skip >= sizeof(head);

	skip -= first ? sizeof(head) : 0;
	iov[first].iov_base = (char *)iov[first].iov_base + skip;
	iov[first].iov_len -= skip;
	return lwr__sock_writev(v->watch.fd, iov + first, 2 - first);
}

/* It may be the report of an earlier one: then that failed as well. */
static void fail_later(struct lwr_dns_via *v, int err)
{
	retire(v);
	v->error = err;
	if (v->watch.fd >= 0 && lwr__list_empty(&v->node))
		lwr__list_append(&v->up->ready, &v->node);
}

/* The question at `to`, as it goes out. */
static void spell(uint8_t *to, const struct lwr_dns_try *t)
{
	memcpy(to, t->msg, t->len);
	to[0] = (uint8_t)(t->id >> 8);
	to[1] = (uint8_t)t->id;
}

/* A train's parts are of one size, but for a shorter last one. */
static bool extends(const struct lwr_sock_out *o, size_t len)
{
	size_t step = o->seg ? o->seg : o->len;

	return len <= step && o->len % step == 0;
}

/* The unsent questions as datagrams and trains. Returns their number. */
static unsigned gather(struct lwr_dns_via *v, struct lwr_sock_out *out)
{
	uint8_t *to = v->up->out;
	const struct lwr_dns_try *t;
	unsigned n = 0;

	for (; v->sent_slots < v->used; v->sent_slots++) {
		t = v->slot[v->sent_slots];
		if (!t)
			continue;
		spell(to, t);
		if (n > 0 && extends(&out[n - 1], t->len)) {
			if (!out[n - 1].seg)
				out[n - 1].seg = (uint16_t)out[n - 1].len;
			out[n - 1].len += t->len;
		} else {
			out[n++] = (struct lwr_sock_out){ .data = to,
							  .len = t->len };
		}
		to += t->len;
	}
	return n;
}

static void flush(struct lwr_dns_via *v)
{
	struct lwr_sock_out out[SLOTS];
	unsigned n, at = 0;
	int r = 1;

	lwr__list_remove(&v->on_unsent);
	n = gather(v, out);
	while (at < n && r > 0) {
		r = lwr__sock_send(v->watch.fd, out + at, n - at);
		at += r > 0 ? (unsigned)r : 0;
	}
	if (r < 0 && r != -EAGAIN)
		fail_later(v, r);
}

void lwr__dns_via_flush(struct lwr_dns_upstream *u)
{
	while (!lwr__list_empty(&u->unsent))
		flush(LWR_CONTAINER(u->unsent.next, struct lwr_dns_via,
				    on_unsent));
}

static int send_udp(struct lwr_dns_upstream *u, struct lwr_dns_try *t)
{
	struct lwr_dns_via *v = u->open[t->server];
	ssize_t r;
	int err;

	if (!v) {
		v = open_via(u, t->server, false, &err);
		if (!v)
			return err;
		u->open[t->server] = v;
	}
	if (t->len <= SHORT && u->sending) {
		enter(v, t);
		if (lwr__list_empty(&v->on_unsent))
			lwr__list_append(&u->unsent, &v->on_unsent);
		return 0;
	}
	flush(v);
	u->sending = true;
	enter(v, t);
	v->sent_slots = v->used;
	r = write_try(v, t);
	if (r >= 0 || r == -EAGAIN) /* dropped by the kernel, as on the way */
		return 0;
	lwr__dns_via_cancel(t);
	fail_later(v, (int)r);
	return (int)r;
}

static int send_tcp(struct lwr_dns_upstream *u, struct lwr_dns_try *t)
{
	struct lwr_dns_via *v;
	int err;

	if (u->streams >= STREAMS_MAX)
		return -EMFILE;
	v = open_via(u, t->server, true, &err);
	if (!v)
		return err;
	enter(v, t);
	return 0; /* it is sent when the socket is connected */
}

int lwr__dns_via_send(struct lwr_dns_upstream *u, struct lwr_dns_try *t)
{
	return t->tcp ? send_tcp(u, t) : send_udp(u, t);
}

/* ---- receiving ----------------------------------------------------------- */

static void input(struct lwr_dns_via *v, const uint8_t *msg, size_t len)
{
	struct lwr_dns_try *t;

	if (len < LWR_DNS_HLEN)
		return;
	t = find_try(v, lwr__dns_id(msg));
	if (t)
		(void)lwr__dns_on_message(t, msg, len);
}

static void read_udp(struct lwr_dns_via *v)
{
	struct lwr_dns_upstream *u = v->up;
	ssize_t n;

	for (int i = 0; i < BUDGET && v->readable && v->watch.fd >= 0; i++) {
		struct iovec iov = { u->buf, LWR_DNS_MSG_MAX };

		n = lwr__sock_readv(v->watch.fd, &iov, 1);
		if (n == -EAGAIN)
			v->readable = false;
		else if (n < 0)
			fail_all(v, (int)n);
		else
			input(v, u->buf, (size_t)n);
	}
}

/* The length of the message that begins in `in`, with its prefix. */
static size_t wanted(const struct lwr_dns_via *v)
{
	if (v->have < PREFIX)
		return PREFIX;
	return PREFIX + (size_t)(v->in[0] << 8 | v->in[1]);
}

/* Returns bytes read, or -errno; the end of the stream is an error here. */
static ssize_t read_part(struct lwr_dns_via *v)
{
	struct iovec iov;
	ssize_t n;

	if (!v->in)
		v->in = calloc(1, PREFIX + LWR_DNS_MSG_MAX);
	if (!v->in)
		return -ENOMEM;
	iov.iov_base = v->in + v->have;
	iov.iov_len = wanted(v) - v->have;
	n = lwr__sock_readv(v->watch.fd, &iov, 1);
	if (n > 0)
		v->have += (size_t)n;
	return n == 0 ? -ECONNRESET : n;
}

static void read_tcp(struct lwr_dns_via *v)
{
	ssize_t n = 0;

	/* A resolver may send for ever what is no answer. */
	for (int i = 0; i < BUDGET && v->readable && v->watch.fd >= 0 && n >= 0;
	     i++) {
		n = read_part(v);
		if (n < 0 || v->have < PREFIX || v->have < wanted(v))
			continue;
		input(v, v->in + PREFIX, v->have - PREFIX);
		v->have = 0; /* if it was none, the next one may be */
	}
	if (n == -EAGAIN)
		v->readable = false;
	else if (n < 0)
		fail_all(v, (int)n);
}

static void write_tcp(struct lwr_dns_via *v)
{
	const struct lwr_dns_try *t = v->slot[0];
	ssize_t r;

	while (v->writable && v->sent < PREFIX + t->len) {
		r = write_try(v, t);
		if (r == -EAGAIN) {
			v->writable = false;
		} else if (r < 0) {
			fail_all(v, (int)r);
			return;
		} else {
			v->sent += (size_t)r;
		}
	}
}

static void serve(struct lwr_dns_via *v)
{
	if (v->error) {
		fail_all(v, v->error);
	} else if (v->tcp) {
		write_tcp(v);
		if (v->watch.fd >= 0)
			read_tcp(v);
	} else {
		read_udp(v);
	}
}

void lwr__dns_via_read(struct lwr_dns_upstream *u)
{
	struct lwr_list todo, *n;
	struct lwr_dns_via *v;

	lwr__list_move(&u->ready, &todo);
	while ((n = lwr__list_take(&todo))) {
		v = LWR_CONTAINER(n, struct lwr_dns_via, node);
		serve(v);
		if (v->watch.fd >= 0 && v->readable &&
		    lwr__list_empty(&v->node))
			lwr__list_append(&u->ready, &v->node);
	}
}
