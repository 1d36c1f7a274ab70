/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of UDP flows. Sockets are watched by edges: an event marks
 * the socket and puts its flow on u->ready, and once a tick each ready flow
 * reads until EAGAIN or for its share of the tick, in turn, so that one
 * flooded flow cannot keep the others waiting.
 *
 * A socket is read only while the link's ring has room for the largest
 * datagram in fragments. If it has not, the link is asked to drain; if that
 * does not help, the flow stays ready, but is no reason to stay awake: the
 * link's own writable event starts the tick in which it is tried again.
 *
 * Reports of undeliverable datagrams (the socket's error queue) become ICMP
 * errors. The packet that they must quote is gone; its headers are written
 * again from what the flow knows, with the payload that the report brought,
 * which is all that a guest's kernel looks at to find the socket.
 */
#include "core/csum.h"
#include "platform/sock.h"
#include "platform/sock_udp.h"
#include "relay/udp.h"
#include "relay/udp_flow.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	BUDGET = 64, /* calls for one flow in one tick */
	DATAGRAM_MAX = 65535,
	TRAIN_FRAMES = 64, /* datagrams that the kernel puts in one */
	TRAIN_MAX = 60000, /* payload of a frame that the link cuts */
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	UDP_HLEN = 8,
	QUOTE_MAX = 512, /* payload bytes quoted */
	TTL = 64,
};

void lwr__udp_host_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_udp_sock *s = LWR_CONTAINER(w, struct lwr_udp_sock, watch);
	struct lwr_udp_flow *f = s->flow;

	if (events & EPOLLERR)
		s->failed = true;
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		s->readable = true;
	if ((s->failed || s->readable) && lwr__list_empty(&f->todo))
		lwr__list_append(&f->udp->ready, &f->todo);
}

bool lwr__udp_host_why(int err, enum lwr_unreach *why)
{
	switch (-err) {
	case ECONNREFUSED:
		*why = LWR_UNREACH_PORT;
		return true;
	case EACCES:
	case EPERM:
		*why = LWR_UNREACH_PROHIBITED;
		return true;
	case ENETUNREACH:
	case ENETDOWN:
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
		*why = LWR_UNREACH_NET;
		return true;
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EINVAL: /* no address that a route could lead to */
		*why = LWR_UNREACH_HOST;
		return true;
	default:
		return false;
	}
}

/* ---- errors -------------------------------------------------------------- */

/* The guest's packet as it must have been. Returns its length. */
static size_t rebuild(uint8_t *buf, size_t max, const struct lwr_udp_peer *p,
		      const uint8_t *payload, size_t len)
{
	const struct lwr_key *k = &p->flow->demux.key;
	bool four = lwr__addr_is4(&k->guest);
	struct lwr_cursor c = lwr__cursor(buf, max);
	uint16_t udp_len = (uint16_t)(UDP_HLEN + len), sum;

	if (four) {
		lwr__cursor_put_u16(&c, 0x4500);
		lwr__cursor_put_u16(&c, (uint16_t)(IP4_HLEN + udp_len));
		lwr__cursor_put_u32(&c, 0);
		lwr__cursor_put_u8(&c, TTL);
		lwr__cursor_put_u8(&c, LWR_PROTO_UDP);
		lwr__cursor_put_u16(&c, 0);
		lwr__cursor_put_bytes(&c, k->guest.b + 12, 4);
		lwr__cursor_put_bytes(&c, p->guest.addr.b + 12, 4);
		sum = lwr__csum(0, buf, IP4_HLEN);
		memcpy(buf + 10, &sum, 2);
	} else {
		lwr__cursor_put_u32(&c, 6u << 28);
		lwr__cursor_put_u16(&c, udp_len);
		lwr__cursor_put_u8(&c, LWR_PROTO_UDP);
		lwr__cursor_put_u8(&c, TTL);
		lwr__cursor_put_bytes(&c, k->guest.b, 16);
		lwr__cursor_put_bytes(&c, p->guest.addr.b, 16);
	}
	lwr__cursor_put_u16(&c, k->gport);
	lwr__cursor_put_u16(&c, p->guest.port);
	lwr__cursor_put_u16(&c, udp_len);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_bytes(&c, payload, len);
	return max - c.left;
}

static struct lwr_udp_peer *peer_at(struct lwr_udp_flow *f,
				    const struct sockaddr_storage *ss)
{
	struct lwr_dest host;

	lwr__addr_from_sockaddr(ss, &host.addr, &host.port);
	return lwr__udp_peer_find(f, &host);
}

static void tell(struct lwr_udp_flow *f, const struct lwr_sock_error *e,
		 const uint8_t *payload)
{
	const struct lwr_net *c = f->link->net;
	uint8_t quote[IP6_HLEN + UDP_HLEN + QUOTE_MAX];
	struct lwr_udp_peer *p = peer_at(f, &e->to);
	const struct lwr_addr *from;
	enum lwr_unreach why;
	size_t len;

	if (!p || !lwr__udp_host_why(-e->err, &why))
		return;
	from = lwr__addr_is4(&p->guest.addr) ? &c->gateway : &c->gateway6;
	if (why == LWR_UNREACH_PORT)
		from = &p->guest.addr;
	len = rebuild(quote, sizeof(quote), p, payload, e->len);
	lwr__send_unreach(f->link, why, from, quote, len);
}

static void read_errors(struct lwr_udp_flow *f, struct lwr_udp_sock *s)
{
	uint8_t payload[QUOTE_MAX];
	struct lwr_sock_error e;

	for (int i = 0; i < BUDGET; i++) {
		if (lwr__sock_udp_error(s->watch.fd, payload, sizeof(payload),
					&e) < 0) {
			s->failed = false;
			return;
		}
		tell(f, &e, payload);
	}
}

/* ---- datagrams ----------------------------------------------------------- */

/* Frames that one call may need: fragments of one datagram, or a train. */
static uint32_t frames_needed(const struct lwr_link *link)
{
	uint32_t n = DATAGRAM_MAX / (link->caps.mtu / 2u + 1) + TRAIN_FRAMES;

	return n < link->h2g.size / 2 ? n : link->h2g.size / 2;
}

static bool has_room(const struct lwr_link *link)
{
	return lwr__ring_room(&link->h2g) >= frames_needed(link);
}

/* Sends n bytes of u->buf to the guest. */
static void deliver(struct lwr_udp_flow *f, const struct lwr_udp_peer *peer,
		    size_t n, uint16_t seg)
{
	const struct lwr_key *k = &f->demux.key;
	size_t max = TRAIN_MAX, off = 0, step = n, part;
	struct pbuf *p;

	if (seg)
		step = seg < max ? max - max % seg : seg;
	do {
		part = n - off < step ? n - off : step;
		p = lwr__send_alloc(part);
		if (!p) {
			f->link->stats.drop_memory++;
			return;
		}
		memcpy(p->payload, f->udp->buf + off, part);
		lwr__send_udp(f->link, p, seg, &peer->guest.addr,
			      peer->guest.port, &k->guest, k->gport);
		off += part;
	} while (off < n);
}

static void input(struct lwr_udp_flow *f, const struct sockaddr_storage *from,
		  size_t n, uint16_t seg)
{
	struct lwr_udp_peer *p = peer_at(f, from);

	if (!p)
		return; /* nobody that the guest spoke to */
	deliver(f, p, n, seg);
	lwr__udp_flow_touch(f, f->kind == LWR_UDP_STREAM ? LWR_UDP_STREAM :
							   LWR_UDP_ANSWERED);
}

/* Reads one socket. Returns what is left of the budget. */
static int read_sock(struct lwr_udp_flow *f, struct lwr_udp_sock *s, int budget)
{
	struct sockaddr_storage from;
	uint16_t seg;
	ssize_t n;

	if (s->failed)
		read_errors(f, s);
	while (s->readable && budget > 0 && has_room(f->link)) {
		budget--;
		n = lwr__sock_recvfrom(s->watch.fd, f->udp->buf, LWR_UDP_BUF,
				       &seg, &from);
		if (n >= 0)
			input(f, &from, (size_t)n, seg);
		else if (n == -EAGAIN)
			s->readable = false;
		/* Any other error is a report's, told by its queue. */
	}
	return budget;
}

/* Returns true if something is left to read. */
static bool read_flow(struct lwr_udp_flow *f)
{
	int budget = BUDGET;
	bool left = false;

	for (int i = 0; i < 2; i++) {
		struct lwr_udp_sock *s = &f->sock[i];

		if (s->watch.fd < 0)
			continue;
		budget = read_sock(f, s, budget);
		left = left || s->readable || s->failed;
	}
	return left;
}

/* Makes room if the link lets it; the flow may be dead afterwards. */
static bool make_room(struct lwr_udp_flow *f)
{
	if (!has_room(f->link))
		lwr__stack_drain(f->link);
	return !f->dead && has_room(f->link);
}

bool lwr__udp_host_read(struct lwr_udp *u)
{
	struct lwr_list todo, *n;
	struct lwr_udp_flow *f;
	bool more = false;

	lwr__list_move(&u->ready, &todo);
	while ((n = lwr__list_take(&todo))) {
		f = LWR_CONTAINER(n, struct lwr_udp_flow, todo);
		if (!make_room(f)) {
			if (!f->dead)
				lwr__list_append(&u->ready, &f->todo);
			continue;
		}
		if (read_flow(f)) {
			lwr__list_append(&u->ready, &f->todo);
			more = true;
		}
	}
	return more;
}
