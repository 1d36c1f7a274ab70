/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams on their way to the host. What a guest sends within one tick is
 * copied behind each other and handed over when the tick ends, one system call
 * for each socket (sendmmsg). Datagrams of one size that follow each other to
 * one destination become a train (UDP_SEGMENT), which passes the host's
 * stack once: 64 of them cost about what two do otherwise. A shorter one ends
 * a train; what a train must not have in common with it is a TTL or an
 * address.
 *
 *	queue          [a a a][b][a a a a]     of all sockets, as they came
 *	each socket    first -> next -> last   of its own
 *
 * The copy costs less than the references that would be needed otherwise, and
 * the frame's slab is free again. There is no waiting: a lone datagram leaves
 * in the tick that it came in. When the queue is full it is sent at once.
 *
 * DF is an option of the socket, and is set when it differs from that of the
 * datagram before. What is not taken because the socket is full is dropped and
 * counted; for any other reason the guest is told, as if it had been sent by
 * itself.
 */
#include "platform/sock_udp.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	OUT_MAX = 256, /* datagrams and trains */
	OUT_BYTES = 128 * 1024,
	NONE = 0xffff,
	TRAIN_PARTS = 64, /* UDP_MAX_SEGMENTS */
	TRAIN_BYTES = 65000,
};

struct entry {
	struct lwr_udp_datagram d; /* d.data is within the queue */
	struct lwr_udp_sock *sock;
	struct sockaddr_in6 to; /* or an IPv4 one */
	socklen_t to_len;
	uint16_t next; /* of the same socket; NONE: the last */
};

struct lwr_udp_out {
	struct lwr_list socks; /* that have entries, in order */
	unsigned n;
	size_t used;
	struct entry entry[OUT_MAX];
	uint8_t data[OUT_BYTES];
};

/* ---- queueing ------------------------------------------------------------ */

static bool extend(struct lwr_udp *u, const struct lwr_udp_sock *s,
		   const struct lwr_udp_datagram *d)
{
	struct lwr_udp_out *o = u->out;
	struct lwr_udp_datagram *t;
	size_t step;

	if (u->echo || o->n == 0 || o->entry[o->n - 1].sock != s)
		return false;
	t = &o->entry[o->n - 1].d;
	step = t->seg ? t->seg : t->len;
	/* A train whose last is shorter has ended, and so has an empty one. */
	if (d->seg || d->len == 0 || d->len > step || t->len % step != 0)
		return false;
	if (t->len + d->len > TRAIN_BYTES || t->len / step >= TRAIN_PARTS ||
	    o->used + d->len > OUT_BYTES)
		return false;
	if (t->ttl != d->ttl || t->df != d->df ||
	    !lwr__dest_equal(&t->host, &d->host))
		return false;
	memcpy(o->data + o->used, d->data, d->len);
	o->used += d->len;
	t->seg = (uint16_t)step;
	t->len += d->len;
	return true;
}

static void append(struct lwr_udp_out *o, struct lwr_udp_sock *s,
		   const struct lwr_udp_datagram *d)
{
	uint16_t i = (uint16_t)o->n++;
	struct entry *e = &o->entry[i];
	struct sockaddr_storage ss;

	e->d = *d;
	e->d.data = o->data + o->used;
	memcpy(o->data + o->used, d->data, d->len);
	o->used += d->len;
	e->sock = s;
	e->to_len = lwr__addr_to_sockaddr(&d->host.addr, d->host.port, &ss);
	memcpy(&e->to, &ss, e->to_len);
	e->next = NONE;
	if (lwr__list_empty(&s->on_out)) {
		lwr__list_append(&o->socks, &s->on_out);
		s->out_first = i;
	} else {
		o->entry[s->out_last].next = i;
	}
	s->out_last = i;
}

void lwr__udp_out_add(struct lwr_udp *u, struct lwr_udp_sock *s,
		      const struct lwr_udp_datagram *d)
{
	if (extend(u, s, d))
		return;
	if (u->out->n == OUT_MAX || d->len > OUT_BYTES - u->out->used)
		lwr__udp_out_flush(u);
	append(u->out, s, d);
}

/* ---- sending ------------------------------------------------------------- */

/* For a call; `to` is the destination as the call wants it. */
static struct lwr_sock_out message(const struct lwr_udp_datagram *d,
				   const void *to, socklen_t to_len)
{
	return (struct lwr_sock_out){
		.to = to,
		.to_len = to_len,
		.data = d->data,
		.len = d->len,
		.seg = d->seg,
		.ttl = d->ttl,
	};
}

/* The entries from `i` on that one call may send. Returns their number. */
static unsigned gather(const struct lwr_udp_out *o, uint16_t i,
		       struct lwr_sock_out *msg)
{
	bool df = o->entry[i].d.df;
	const struct entry *e;
	unsigned n = 0;

	for (; i != NONE && n < LWR_SOCK_BATCH; i = e->next) {
		e = &o->entry[i];
		if (e->d.df != df)
			break;
		msg[n++] = message(&e->d, &e->to, e->to_len);
	}
	return n;
}

static void set_df(struct lwr_udp_sock *s, const struct lwr_udp_datagram *d)
{
	bool four = lwr__addr_is4(&d->host.addr);

	if (s->df_set && s->df == d->df)
		return;
	s->df = d->df;
	s->df_set = true;
	lwr__sock_dont_fragment(s->watch.fd, four ? AF_INET : AF_INET6, s->df);
}

static void count_full(const struct lwr_udp_sock *s,
		       const struct lwr_udp_datagram *d)
{
	s->flow->link->stats.udp_full +=
		d->seg ? (d->len + d->seg - 1) / d->seg : 1;
}

static void not_sent(struct lwr_udp_sock *s, const struct lwr_udp_datagram *d,
		     int err)
{
	if (err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM)
		count_full(s, d);
	else
		lwr__udp_tell_failed(s->flow, s, d, err);
}

/* Sends what one call takes. Returns the first entry that is left, or NONE. */
static uint16_t send_some(struct lwr_udp_out *o, struct lwr_udp_sock *s,
			  uint16_t i)
{
	struct lwr_sock_out msg[LWR_SOCK_BATCH];
	unsigned n = gather(o, i, msg);
	int r;

	set_df(s, &o->entry[i].d);
	r = lwr__sock_send(s->watch.fd, msg, n);
	if (r < 0)
		not_sent(s, &o->entry[i].d, r);
	for (n = r > 0 ? (unsigned)r : 1; n > 0 && i != NONE; n--)
		i = o->entry[i].next;
	return i;
}

static void send_all(struct lwr_udp_out *o, struct lwr_udp_sock *s)
{
	uint16_t i = s->out_first;

	lwr__list_remove(&s->on_out);
	while (i != NONE)
		i = send_some(o, s, i);
}

void lwr__udp_out_now(struct lwr_udp_sock *s, const struct lwr_udp_datagram *d)
{
	struct sockaddr_storage ss;
	socklen_t len = lwr__addr_to_sockaddr(&d->host.addr, d->host.port, &ss);
	struct lwr_sock_out msg = message(d, &ss, len);
	int r;

	set_df(s, d);
	r = lwr__sock_send(s->watch.fd, &msg, 1);
	if (r < 0)
		not_sent(s, d, r);
}

void lwr__udp_out_flush_sock(struct lwr_udp *u, struct lwr_udp_sock *s)
{
	if (!lwr__list_empty(&s->on_out))
		send_all(u->out, s);
}

void lwr__udp_out_flush(struct lwr_udp *u)
{
	struct lwr_udp_out *o = u->out;
	struct lwr_list *n;

	while ((n = lwr__list_take(&o->socks)))
		send_all(o, LWR_CONTAINER(n, struct lwr_udp_sock, on_out));
	o->n = 0;
	o->used = 0;
}

int lwr__udp_out_init(struct lwr_udp *u)
{
	u->out = malloc(sizeof(*u->out));
	if (!u->out)
		return -ENOMEM;
	lwr__list_init(&u->out->socks);
	u->out->n = 0;
	u->out->used = 0;
	return 0;
}

void lwr__udp_out_fini(struct lwr_udp *u)
{
	free(u->out);
}
