/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP and echo flows on the real stack, with a host and a clock made here:
 * what is defined in this file stands in for platform/loop.h, sock.h and
 * sock_udp.h in the one test that includes it.
 */
#ifndef LWR_TEST_UDP_WORLD_H
#define LWR_TEST_UDP_WORLD_H

#include "relay/udp.h"
#include "relay/udp_flow.h"
#include "test/one_timer.h"
#include "test/rig.h"

#include "platform/sock.h"
#include "platform/sock_udp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <cmocka.h>

/* ---- the host ------------------------------------------------------------ */

enum { FD_BASE = 100, FDS = 256, QUEUE = 256, START_MS = 1000000 };

struct arrival {
	struct sockaddr_storage from;
	size_t len;
	uint16_t seg;
	uint8_t *data;
};

struct host_sock {
	bool open;
	bool ping;
	bool df;
	int family;
	struct lwr_watch *watch;
	struct arrival queue[QUEUE];
	unsigned head, tail;
	int pending; /* error that the next receive gives, once */
	struct lwr_sock_error error;
	bool has_error;
};

static struct {
	struct host_sock sock[FDS];
	unsigned open, opened, limit;
	bool no_ipv6;
	bool no_ping;
	int send_error; /* of every send, negative; with EMSGSIZE, */
	struct lwr_sock_error report; /* this one is reported */
	unsigned calls; /* of sending */
	unsigned df_calls;
	/* the last send */
	unsigned sends;
	uint8_t ttl;
	bool df;
	int fd;
	struct lwr_addr to;
	uint16_t port, seg;
	size_t len;
	uint8_t data[70000];
	unsigned receives;
} host;

static inline struct host_sock *sock_of(int fd)
{
	assert_true(fd >= FD_BASE && fd < FD_BASE + FDS);
	assert_true(host.sock[fd - FD_BASE].open);
	return &host.sock[fd - FD_BASE];
}

int lwr__sock_udp(int family)
{
	int i;

	if (host.open >= host.limit)
		return -EMFILE;
	if (family == AF_INET6 && host.no_ipv6)
		return -EAFNOSUPPORT;
	for (i = 0; host.sock[i].open; i++)
		;
	memset(&host.sock[i], 0, sizeof(host.sock[i]));
	host.sock[i].open = true;
	host.sock[i].family = family;
	host.open++;
	host.opened++;
	return FD_BASE + i;
}

void lwr__sock_close(int fd)
{
	struct host_sock *s = sock_of(fd);

	assert_null(s->watch);
	for (; s->head != s->tail; s->head++)
		free(s->queue[s->head % QUEUE].data);
	s->open = false;
	host.open--;
}

int lwr__sock_ping(int family)
{
	int fd = host.no_ping ? -EACCES : lwr__sock_udp(family);

	if (fd >= 0)
		sock_of(fd)->ping = true;
	return fd;
}

void lwr__sock_dont_fragment(int fd, int family, bool df)
{
	assert_int_equal(sock_of(fd)->family, family);
	sock_of(fd)->df = df;
	host.df_calls++;
}

static inline void sent(int fd, const struct lwr_sock_out *out)
{
	struct sockaddr_storage ss = { 0 };

	assert_int_equal(sock_of(fd)->family, out->to->sa_family);
	memcpy(&ss, out->to, out->to_len);
	lwr__addr_from_sockaddr(&ss, &host.to, &host.port);
	host.sends++;
	host.fd = fd;
	host.seg = out->seg;
	host.ttl = out->ttl;
	host.df = sock_of(fd)->df;
	host.len = out->len;
	memcpy(host.data, out->data, out->len);
}

int lwr__sock_send(int fd, const struct lwr_sock_out *out, unsigned n)
{
	host.calls++;
	if (host.send_error == -EMSGSIZE) {
		sock_of(fd)->error = host.report;
		sock_of(fd)->has_error = true;
	}
	if (host.send_error)
		return host.send_error;
	for (unsigned i = 0; i < n; i++)
		sent(fd, &out[i]);
	return (int)n;
}

struct lwr_sock_reader *lwr__sock_reader_new(void)
{
	return malloc(QUEUE * 65536);
}

void lwr__sock_reader_free(struct lwr_sock_reader *r)
{
	free(r);
}

int lwr__sock_receive(struct lwr_sock_reader *r, int fd, struct lwr_sock_in *in,
		      unsigned max)
{
	struct host_sock *s = sock_of(fd);
	uint8_t *to = (uint8_t *)r;
	unsigned n = 0;

	host.receives++;
	if (s->pending) {
		int err = s->pending;

		s->pending = 0;
		return err;
	}
	if (s->head == s->tail)
		return -EAGAIN;
	for (; n < max && s->head != s->tail; n++, s->head++, to += 65536) {
		const struct arrival *a = &s->queue[s->head % QUEUE];

		memcpy(to, a->data, a->len);
		in[n] = (struct lwr_sock_in){ a->from, to, a->len, a->seg };
		free(a->data);
	}
	return (int)n;
}

int lwr__sock_report(int fd, void *buf, size_t len, struct lwr_sock_error *e)
{
	struct host_sock *s = sock_of(fd);

	if (!s->has_error)
		return -EAGAIN;
	s->has_error = false;
	*e = s->error;
	assert_true(e->len <= len);
	memset(buf, 0x5a, e->len);
	return 0;
}

void lwr__random(void *buf, size_t len)
{
	memset(buf, 7, len);
}

static inline void tell(struct host_sock *s, uint32_t events)
{
	s->watch->on_event(s->watch, events);
}

static inline void arrive_seg(int fd, const char *from, uint16_t port,
			      const void *data, size_t len, uint16_t seg)
{
	struct host_sock *s = sock_of(fd);
	struct arrival *a = &s->queue[s->tail++ % QUEUE];
	struct lwr_addr addr = rig_addr(from);

	assert_true(s->tail - s->head <= QUEUE);
	(void)lwr__addr_to_sockaddr(&addr, port, &a->from);
	a->data = malloc(len + 1);
	assert_non_null(a->data);
	memcpy(a->data, data, len);
	a->len = len;
	a->seg = seg;
	tell(s, EPOLLIN | EPOLLOUT);
}

static inline void arrive(int fd, const char *from, uint16_t port,
			  const void *data, size_t len)
{
	arrive_seg(fd, from, port, data, len, 0);
}

int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	assert_null(sock_of(w->fd)->watch);
	sock_of(w->fd)->watch = w;
	return 0;
}

void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	assert_ptr_equal(sock_of(w->fd)->watch, w);
	sock_of(w->fd)->watch = NULL;
	w->fd = -1;
}

/* ---- the world ----------------------------------------------------------- */

struct world {
	struct rig rig;
	struct lwr_udp udp;
	struct lwr_udp ping;
};

static inline void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	struct world *w = r->arg;

	if (pkt->proto == LWR_PROTO_UDP)
		lwr__udp_input(&w->udp, pkt);
	else
		(void)lwr__ping_input(&w->ping, pkt);
}

static inline void on_link_down(struct rig *r)
{
	struct world *w = r->arg;

	lwr__udp_link_down(&w->udp, &r->link);
	lwr__udp_link_down(&w->ping, &r->link);
}

static inline int setup_with(void **state, uint32_t max_udp, uint32_t ring)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	memset(&host, 0, sizeof(host));
	one_timer_reset(START_MS);
	host.limit = FDS;
	rig_init(&w->rig);
	w->rig.on_packet = on_packet;
	w->rig.on_link_down = on_link_down;
	w->rig.arg = w;
	w->rig.config.max_udp = max_udp;
	w->rig.config.ring_size = ring;
	rig_open(&w->rig);
	assert_int_equal(lwr__udp_init(&w->udp, &w->rig.stack), 0);
	assert_int_equal(lwr__ping_init(&w->ping, &w->rig.stack), 0);
	*state = w;
	return 0;
}

static inline int setup(void **state)
{
	return setup_with(state, 8, 1024);
}

static inline int setup_small_ring(void **state)
{
	return setup_with(state, 8, 64);
}

static inline int setup_many(void **state)
{
	return setup_with(state, 1000, 1024);
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	rig_clear(&w->rig);
	w->rig.link.ops->close(&w->rig.link);
	lwr__udp_fini(&w->udp);
	lwr__udp_fini(&w->ping);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
	assert_int_equal(w->rig.stack.stats.udp_live, 0);
	lwr__stack_fini(&w->rig.stack);
	assert_int_equal(uv_loop_close(&w->rig.uv), 0);
	free(w);
	return 0;
}

/* Ticks until nothing is left to do. */
static inline void run(struct world *w)
{
	unsigned n = 0;

	bool more;

	do {
		more = lwr__udp_tick(&w->udp);
		more = lwr__udp_tick(&w->ping) || more;
		lwr__stack_flush(&w->rig.stack);
		assert_true(++n < 1000);
	} while (more);
	lwr__stack_flush(&w->rig.stack);
}

/* Time passes, timers run. */
static inline void wait_ms(struct world *w, uint64_t ms)
{
	uint64_t end = one_timer.now + ms;

	while (one_timer_step(end))
		run(w);
}

static inline void say(struct world *w, const char *src, uint16_t sport,
		       const char *dst, uint16_t dport, const char *text)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t len = rig_udp(frame, src, sport, dst, dport, text, strlen(text));

	rig_send(&w->rig, frame, len);
	run(w);
}

static inline void expect_sent_bytes(const char *to, uint16_t port, size_t len)
{
	struct lwr_addr a = rig_addr(to);

	assert_true(lwr__addr_equal(&host.to, &a));
	assert_int_equal(host.port, port);
	assert_int_equal(host.len, len);
}

static inline void expect_sent(const char *to, uint16_t port, const char *text)
{
	struct lwr_addr a = rig_addr(to);

	assert_true(lwr__addr_equal(&host.to, &a));
	assert_int_equal(host.port, port);
	assert_int_equal(host.len, strlen(text));
	assert_memory_equal(host.data, text, host.len);
}

static inline void expect_received(struct world *w, unsigned i, const char *src,
				   uint16_t sport, const char *dst,
				   uint16_t dport, const char *text)
{
	const struct rig_frame *f = rig_frame(&w->rig, i);
	struct lwr_addr s = rig_addr(src), d = rig_addr(dst);
	const uint8_t *payload;
	size_t len;

	assert_true(lwr__addr_equal(&f->pkt.src, &s));
	assert_true(lwr__addr_equal(&f->pkt.dst, &d));
	assert_int_equal(f->pkt.sport, sport);
	assert_int_equal(f->pkt.dport, dport);
	payload = rig_payload(f, &len);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(payload, text, len);
}

static inline const struct lwr_stats *stats(const struct world *w)
{
	return &w->rig.link.stats;
}

#endif
