/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of flows. Sockets are watched by edges: an event marks
 * the socket and puts its flow on u->ready, and once a tick each ready flow
 * reads until EAGAIN or for its share of the tick, in turn, so that one
 * flooded flow cannot keep the others waiting.
 *
 * A call reads many datagrams (recvmmsg), and says that there are no more by
 * returning fewer than asked for. Those that follow each other from one peer
 * and have one size go to the guest as one train where the link can cut it
 * (USO), as do the trains that the kernel itself has put together (UDP_GRO).
 *
 * Where they come faster than one by one they are left to gather for a moment
 * between two reads: longer trains cost less, and the guest is woken less
 * often. One that comes after a single one, or later, never waits.
 *
 * A socket is read only while the link's ring has room for the largest
 * datagram in fragments, and one that brings such datagrams is read one at a
 * time. If there is no room, the link is asked to drain; if that does not
 * help, the flow stays ready, but is no reason to stay awake: the link's own
 * writable event starts the tick in which it is tried again.
 */
#include "platform/sock.h"
#include "platform/sock_udp.h"
#include "relay/udp_flow.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	BUDGET = 64, /* datagrams or trains for one flow in one tick */
	BATCH = 32, /* of one call */
	GATHER_NS = 40 * 1000,
	DATAGRAM_MAX = 65535,
	TRAIN_FRAMES = 64, /* datagrams that the kernel puts in one */
	TRAIN_MAX = 60000, /* payload of a frame that the link cuts */
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	UDP_HLEN = 8,
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

/* ---- room ---------------------------------------------------------------- */

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

/* Makes room if the link lets it; the flow may be dead afterwards. */
static bool make_room(struct lwr_udp_flow *f)
{
	if (!has_room(f->link))
		lwr__stack_drain(f->link);
	return !f->dead && has_room(f->link);
}

/* Payload of a datagram that is one frame. */
static size_t frame_max(const struct lwr_udp_flow *f)
{
	bool four = lwr__addr_is4(&f->demux.key.guest);

	size_t hlen = four ? IP4_HLEN : IP6_HLEN;

	return f->link->caps.mtu - hlen - UDP_HLEN;
}

static bool is_large(const struct lwr_udp_flow *f, const struct lwr_sock_in *in)
{
	return in->seg ? !f->link->caps.uso_h2g : in->len > frame_max(f);
}

/* ---- datagrams ----------------------------------------------------------- */

/* A stranger's address as the guest would write it. False: it could not. */
static bool stranger(const struct lwr_udp_flow *f, const struct lwr_dest *host,
		     struct lwr_dest *guest)
{
	const struct lwr_net *net = f->link->net;
	struct lwr_dest same;

	if (f->udp->echo || !f->udp->stack->config->udp_any)
		return false;
	*guest = *host;
	if (lwr__addr_is_loopback(&host->addr))
		guest->addr = *lwr__udp_router(
			f->link, lwr__addr_is4(&f->demux.key.guest));
	if (lwr__addr_is4(&guest->addr) != lwr__addr_is4(&f->demux.key.guest))
		return false;
	return lwr__policy_dest(net, guest, &same) == LWR_ALLOW &&
	       lwr__addr_equal(&same.addr, &host->addr);
}

/* Sends n datagrams of one size, the last one at most that, to the guest. */
static void deliver(struct lwr_udp_flow *f, const struct lwr_dest *from,
		    const struct lwr_sock_in *in, unsigned n)
{
	const struct lwr_key *k = &f->demux.key;
	size_t len = 0, off = 0;
	struct pbuf *p;

	for (unsigned i = 0; i < n; i++)
		len += in[i].len;
	p = lwr__send_alloc(len);
	if (!p) {
		f->link->stats.drop_memory += n;
		return;
	}
	for (unsigned i = 0; i < n; off += in[i++].len)
		memcpy((uint8_t *)p->payload + off, in[i].data, in[i].len);
	lwr__send_udp(f->link, p, n > 1 ? (uint16_t)in->len : in->seg,
		      &from->addr, from->port, &k->guest, k->gport);
}

/* A train of the kernel's; one frame cannot hold the longest. */
static void deliver_train(struct lwr_udp_flow *f, const struct lwr_dest *from,
			  const struct lwr_sock_in *in)
{
	size_t max = TRAIN_MAX, seg = in->seg;
	size_t step = seg < max ? max - max % seg : seg;
	struct lwr_sock_in part = *in;

	for (size_t off = 0; off < in->len; off += step) {
		part.data = in->data + off;
		part.len = in->len - off < step ? in->len - off : step;
		deliver(f, from, &part, 1);
	}
}

static bool same_sender(const struct lwr_sock_in *a,
			const struct lwr_sock_in *b)
{
	size_t len = a->from.ss_family == AF_INET ? sizeof(struct sockaddr_in) :
						    sizeof(struct sockaddr_in6);

	return memcmp(&a->from, &b->from, len) == 0;
}

/* How many of the n make one frame. */
static unsigned run_of(const struct lwr_udp_flow *f,
		       const struct lwr_sock_in *in, unsigned n)
{
	size_t total = in->len;
	unsigned i = 1;

	if (f->udp->echo || in->seg || in->len == 0 || is_large(f, in) ||
	    !f->link->caps.uso_h2g)
		return 1;
	while (i < n && in[i - 1].len == in->len && in[i].len <= in->len &&
	       in[i].len > 0 && !in[i].seg && total + in[i].len <= TRAIN_MAX &&
	       same_sender(in, &in[i]))
		total += in[i++].len;
	return i;
}

/* n of them, as run_of() has them. */
static void input(struct lwr_udp_flow *f, const struct lwr_sock_in *in,
		  unsigned n)
{
	struct lwr_dest host, guest;
	struct lwr_udp_peer *p;

	lwr__addr_from_sockaddr(&in->from, &host.addr, &host.port);
	if (f->udp->echo)
		host.port = 0;
	p = lwr__udp_peer_find(f, &host);
	if (!p && !stranger(f, &host, &guest))
		return; /* nobody that the guest spoke to */
	if (p) {
		lwr__udp_flow_heard(f);
		lwr__udp_loopback_heard(p);
	}
	for (unsigned i = 0; i < n; i++)
		f->bytes_h2g += in[i].len;
	if (p && f->udp->echo)
		lwr__ping_deliver(f, p, in);
	else if (in->seg)
		deliver_train(f, p ? &p->guest : &guest, in);
	else
		deliver(f, p ? &p->guest : &guest, in, n);
}

/* All of a call's; the flow may be dead afterwards. */
static void input_all(struct lwr_udp_flow *f, struct lwr_udp_sock *s,
		      const struct lwr_sock_in *in, unsigned n)
{
	unsigned i, run;

	s->large = false;
	for (i = 0; i < n && !f->dead; i += run) {
		run = run_of(f, in + i, n - i);
		if (is_large(f, in + i))
			s->large = true;
		if (i > 0)
			(void)make_room(f);
		if (!f->dead)
			input(f, in + i, run);
	}
}

/* Reads one socket. Returns what is left of the budget. */
static int read_sock(struct lwr_udp_flow *f, struct lwr_udp_sock *s, int budget)
{
	struct lwr_sock_in in[BATCH];
	unsigned want;
	int n;

	if (s->failed)
		lwr__udp_read_errors(f, s);
	while (s->readable && budget > 0 && make_room(f)) {
		want = s->large ? 1 : BATCH;
		n = lwr__sock_receive(f->udp->reader, s->watch.fd, in, want);
		budget -= n > 0 ? n : 1;
		/* Any other error is a report's, told by its queue. */
		if (n == -EAGAIN || (n >= 0 && n < (int)want))
			s->readable = false;
		if (n > 0) {
			f->got += (unsigned)n;
			input_all(f, s, in, (unsigned)n);
		}
	}
	return budget;
}

static bool gathers(const struct lwr_udp_flow *f)
{
	const struct lwr_loop *l = f->udp->stack->loop;

	return f->got > 1 && lwr__loop_clock(l) - f->read_ns < GATHER_NS;
}

/* Returns true if something is left to read. */
static bool read_flow(struct lwr_udp_flow *f)
{
	int budget = BUDGET;
	bool left = false;

	f->read_ns = lwr__loop_clock(f->udp->stack->loop);
	f->got = 0;
	for (int i = 0; i < LWR_UDP_SOCKS && !f->dead; i++) {
		struct lwr_udp_sock *s = &f->sock[i];

		if (s->watch.fd < 0)
			continue;
		budget = read_sock(f, s, budget);
		left = left || s->readable || s->failed;
	}
	if (left)
		f->got = 0;
	return left && !f->dead;
}

bool lwr__udp_host_read(struct lwr_udp *u)
{
	struct lwr_list todo, *n;
	struct lwr_udp_flow *f;
	bool more = false;

	lwr__list_move(&u->ready, &todo);
	while ((n = lwr__list_take(&todo))) {
		f = LWR_CONTAINER(n, struct lwr_udp_flow, todo);
		if (gathers(f)) {
			lwr__list_append(&u->ready, &f->todo);
			more = true;
			continue;
		}
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
