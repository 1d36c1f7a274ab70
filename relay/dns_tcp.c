/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS over TCP towards guests (RFC 7766). To relay/connect.c and relay/pump.c
 * this is a host like any other: they get one end of a socket pair, and this
 * file reads queries from the other end and writes answers there. So guests'
 * segments, windows and half-closes are treated in one place only.
 *
 * Queries come with two bytes of length, cut at any place, many at once; they
 * are answered as their answers arrive, in any order. A connection has at most
 * PENDING queries in progress and WRITE_MAX bytes of answers that the guest did
 * not take; beyond, it is not read until that is less. After the guest's FIN
 * what it asked is answered first.
 *
 * A connection on which no query was completed and no answer taken for IDLE_MS
 * is closed (6.2.3). A link has at most CONNS_MAX; another one then takes the
 * place of the longest idle.
 *
 * Rejected: answering from within the flow, without sockets. It would save two
 * copies of a few hundred bytes, and cost a second kind of host in the pump.
 */
#include "relay/dns_server.h"

#include "platform/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	PREFIX = 2,
	IDLE_MS = 15 * 1000,
	CONNS_MAX = 64, /* of one link */
	PENDING = 32,
	WRITE_MAX = 128 * 1024,
	READ_FIRST = 512, /* bytes of buffer, until more is needed */
	BUDGET = 64, /* reads of a connection in one tick */
};

struct lwr_dns_conn {
	struct lwr_watch watch;
	struct lwr_list node; /* server->conns or ->dead */
	struct lwr_list on_ready;
	struct lwr_dns_server *server;
	struct lwr_link *link;
	uint64_t idle_ms; /* when it is idle too long */
	unsigned pending; /* queries in progress */
	bool readable;
	bool writable;
	bool ended; /* the guest's FIN was read */
	uint8_t *in; /* what was read, at most one message and a half */
	size_t in_len;
	size_t in_max;
	uint8_t *out; /* answers to be written */
	size_t out_len;
	size_t out_max;
};

/* ---- life ---------------------------------------------------------------- */

static void set_timer(struct lwr_dns_server *s)
{
	uint64_t now = lwr__loop_now(s->stack->loop);
	struct lwr_dns_conn *c;

	if (lwr__list_empty(&s->conns)) {
		lwr__timer_stop(&s->idle);
		return;
	}
	c = LWR_CONTAINER(s->conns.next, struct lwr_dns_conn, node);
	lwr__timer_start(&s->idle, c->idle_ms > now ? c->idle_ms - now : 0);
}

/* Something was done on it: it is the last to become idle. */
static void touch(struct lwr_dns_conn *c)
{
	struct lwr_dns_server *s = c->server;

	c->idle_ms = lwr__loop_now(s->stack->loop) + IDLE_MS;
	lwr__list_remove(&c->node);
	lwr__list_append(&s->conns, &c->node);
	if (!lwr__timer_active(&s->idle))
		set_timer(s);
}

static void ready(struct lwr_dns_conn *c)
{
	if (c->watch.fd >= 0 && lwr__list_empty(&c->on_ready))
		lwr__list_append(&c->server->ready, &c->on_ready);
}

static void forget_asks(struct lwr_dns_conn *c)
{
	struct lwr_list *l = &c->server->asked, *n, *next;
	struct lwr_dns_ask *a;

	for (n = l->next; c->pending > 0 && n != l; n = next) {
		next = n->next;
		a = LWR_CONTAINER(n, struct lwr_dns_ask, node);
		if (a->conn != c)
			continue;
		lwr__dns_forget(a);
		c->pending--;
	}
}

static void close_conn(struct lwr_dns_conn *c)
{
	struct lwr_dns_server *s = c->server;
	int fd = c->watch.fd;

	if (fd < 0)
		return;
	forget_asks(c);
	lwr__watch_stop(s->stack->loop, &c->watch);
	c->watch.fd = -1;
	lwr__sock_close(fd);
	lwr__list_remove(&c->on_ready);
	lwr__list_remove(&c->node);
	lwr__list_append(&s->dead, &c->node);
	if (lwr__list_empty(&s->conns))
		lwr__timer_stop(&s->idle);
}

void lwr__dns_tcp_reap(struct lwr_dns_server *s)
{
	struct lwr_dns_conn *c;
	struct lwr_list *n;

	while ((n = lwr__list_take(&s->dead))) {
		c = LWR_CONTAINER(n, struct lwr_dns_conn, node);
		free(c->in);
		free(c->out);
		free(c);
	}
}

static void on_idle(struct lwr_timer *t)
{
	struct lwr_dns_server *s =
		LWR_CONTAINER(t, struct lwr_dns_server, idle);
	uint64_t now = lwr__loop_now(s->stack->loop);
	struct lwr_dns_conn *c;

	while (!lwr__list_empty(&s->conns)) {
		c = LWR_CONTAINER(s->conns.next, struct lwr_dns_conn, node);
		if (c->idle_ms > now)
			break;
		close_conn(c);
	}
	set_timer(s);
}

/* ---- writing ------------------------------------------------------------- */

static void flush(struct lwr_dns_conn *c)
{
	struct iovec iov = { c->out, c->out_len };
	ssize_t n;

	if (c->out_len == 0 || !c->writable)
		return;
	n = lwr__sock_writev(c->watch.fd, &iov, 1);
	if (n == -EAGAIN) {
		c->writable = false;
	} else if (n < 0) {
		close_conn(c);
	} else {
		c->writable = (size_t)n == c->out_len;
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
		touch(c);
	}
}

/* Makes *buf hold `need` bytes. False: no memory. */
static bool grow(uint8_t **buf, size_t *max, size_t need)
{
	size_t to = *max ? *max : READ_FIRST;
	uint8_t *p;

	if (need <= *max)
		return true;
	while (to < need)
		to *= 2;
	p = realloc(*buf, to);
	if (!p)
		return false;
	*buf = p;
	*max = to;
	return true;
}

/* It is written in the tick, with others that come in it. */
void lwr__dns_tcp_answer(struct lwr_dns_conn *c, const uint8_t *msg, size_t len)
{
	c->pending--;
	if (!grow(&c->out, &c->out_max, c->out_len + PREFIX + len)) {
		close_conn(c);
		return;
	}
	c->out[c->out_len] = (uint8_t)(len >> 8);
	c->out[c->out_len + 1] = (uint8_t)len;
	memcpy(c->out + c->out_len + PREFIX, msg, len);
	c->out_len += PREFIX + len;
	ready(c);
}

void lwr__dns_tcp_asked(struct lwr_dns_conn *c)
{
	c->pending++;
}

/* ---- reading ------------------------------------------------------------- */

static bool may_read(const struct lwr_dns_conn *c)
{
	return c->watch.fd >= 0 && c->pending < PENDING &&
	       c->out_len < WRITE_MAX;
}

/* Bytes of the message that begins at `in` + off, with its prefix. */
static size_t wanted(const struct lwr_dns_conn *c, size_t off)
{
	const uint8_t *in = c->in + off;

	if (c->in_len - off < PREFIX)
		return PREFIX;
	return PREFIX + (size_t)(in[0] << 8 | in[1]);
}

/*
 * Takes the whole messages off `in`, as many as may be in progress. What is
 * left moves once: there may be 65,536 empty ones.
 */
static void serve_messages(struct lwr_dns_conn *c)
{
	struct lwr_dns_ask from = { .link = c->link, .conn = c };
	size_t off = 0, n;

	while (may_read(c) && c->in_len - off >= PREFIX) {
		n = wanted(c, off);
		if (n > c->in_len - off)
			break;
		lwr__dns_serve(c->server, &from, c->in + off + PREFIX,
			       n - PREFIX);
		off += n;
	}
	if (off == 0 || c->watch.fd < 0)
		return;
	c->in_len -= off;
	memmove(c->in, c->in + off, c->in_len);
	touch(c);
}

static void read_conn(struct lwr_dns_conn *c)
{
	struct iovec iov;
	size_t need = wanted(c, 0);
	ssize_t n;

	if (!grow(&c->in, &c->in_max, need > c->in_len ? need : c->in_len)) {
		close_conn(c);
		return;
	}
	iov.iov_base = c->in + c->in_len;
	iov.iov_len = c->in_max - c->in_len;
	n = lwr__sock_readv(c->watch.fd, &iov, 1);
	if (n == -EAGAIN) {
		c->readable = false;
	} else if (n < 0) {
		close_conn(c);
	} else if (n == 0) {
		c->ended = true;
		c->readable = false;
	} else {
		c->in_len += (size_t)n;
		serve_messages(c);
	}
}

static void serve(struct lwr_dns_conn *c)
{
	serve_messages(c); /* that had to wait */
	for (int i = 0; i < BUDGET && may_read(c) && c->readable; i++)
		read_conn(c);
	if (c->watch.fd >= 0)
		flush(c);
	if (c->watch.fd < 0)
		return;
	if (c->ended && c->pending == 0 && c->out_len == 0)
		close_conn(c);
	else if (c->readable && may_read(c))
		ready(c);
}

void lwr__dns_tcp_tick(struct lwr_dns_server *s)
{
	struct lwr_list todo, *n;

	lwr__list_move(&s->ready, &todo);
	while ((n = lwr__list_take(&todo)))
		serve(LWR_CONTAINER(n, struct lwr_dns_conn, on_ready));
}

/* ---- opening ------------------------------------------------------------- */

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_dns_conn *c = LWR_CONTAINER(w, struct lwr_dns_conn, watch);

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		c->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->writable = true;
	ready(c);
}

/* The longest idle one of a link goes if there are too many. */
static void make_room(struct lwr_dns_server *s, const struct lwr_link *link)
{
	struct lwr_dns_conn *c, *oldest = NULL;
	unsigned count = 0;
	struct lwr_list *n;

	for (n = s->conns.next; n != &s->conns; n = n->next) {
		c = LWR_CONTAINER(n, struct lwr_dns_conn, node);
		if (c->link != link)
			continue;
		count++;
		if (!oldest)
			oldest = c;
	}
	if (count >= CONNS_MAX)
		close_conn(oldest);
}

static int watch(struct lwr_dns_server *s, struct lwr_link *link, int fd)
{
	struct lwr_dns_conn *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->server = s;
	c->link = link;
	c->writable = true;
	c->watch.fd = fd;
	c->watch.events = EPOLLIN | EPOLLOUT;
	c->watch.on_event = on_event;
	lwr__list_init(&c->node);
	lwr__list_init(&c->on_ready);
	err = lwr__watch_start(s->stack->loop, &c->watch);
	if (err) {
		free(c);
		return err;
	}
	touch(c);
	link->stats.dns_tcp++;
	return 0;
}

int lwr__dns_tcp_open(struct lwr_dns_server *s, struct lwr_link *link)
{
	int fd[2], err;

	make_room(s, link);
	err = lwr__sock_pair(fd);
	if (err)
		return err;
	err = watch(s, link, fd[1]);
	if (err == 0)
		return fd[0];
	lwr__sock_close(fd[0]);
	lwr__sock_close(fd[1]);
	return err;
}

void lwr__dns_tcp_link_down(struct lwr_dns_server *s,
			    const struct lwr_link *link)
{
	struct lwr_list *n, *next;
	struct lwr_dns_conn *c;

	for (n = s->conns.next; n != &s->conns; n = next) {
		next = n->next;
		c = LWR_CONTAINER(n, struct lwr_dns_conn, node);
		if (c->link == link)
			close_conn(c);
	}
}

void lwr__dns_tcp_init(struct lwr_dns_server *s)
{
	lwr__list_init(&s->conns);
	lwr__list_init(&s->ready);
	lwr__list_init(&s->dead);
	lwr__timer_init(s->stack->loop, &s->idle, on_idle);
}

void lwr__dns_tcp_fini(struct lwr_dns_server *s)
{
	LWR_ASSERT(lwr__list_empty(&s->conns));
	lwr__dns_tcp_reap(s);
	lwr__timer_stop(&s->idle);
	lwr__timer_close(s->stack->loop, &s->idle);
}
