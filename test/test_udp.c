/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP flows on the real stack, with a host and a clock made here: this file
 * stands in for platform/loop.h and platform/sock.h.
 */
#include "relay/udp.h"
#include "relay/udp_flow.h"
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
	int send_error; /* of every send, negative */
	/* the last send */
	unsigned sends;
	int fd;
	struct lwr_addr to;
	uint16_t port, seg;
	size_t len;
	uint8_t data[70000];
	unsigned receives;
	/* the clock */
	uint64_t now;
	struct lwr_timer *timer; /* the relay's, when it runs */
	uint64_t timer_at;
} host;

static struct host_sock *sock_of(int fd)
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

ssize_t lwr__sock_sendto(int fd, const struct iovec *iov, int n, uint16_t seg,
			 const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_storage ss = { 0 };

	assert_int_equal(sock_of(fd)->family, sa->sa_family);
	if (host.send_error)
		return host.send_error;
	memcpy(&ss, sa, len);
	lwr__addr_from_sockaddr(&ss, &host.to, &host.port);
	host.sends++;
	host.fd = fd;
	host.seg = seg;
	host.len = 0;
	for (int i = 0; i < n; i++) {
		memcpy(host.data + host.len, iov[i].iov_base, iov[i].iov_len);
		host.len += iov[i].iov_len;
	}
	return (ssize_t)host.len;
}

ssize_t lwr__sock_recvfrom(int fd, void *buf, size_t len, uint16_t *seg,
			   struct sockaddr_storage *from)
{
	struct host_sock *s = sock_of(fd);
	struct arrival *a = &s->queue[s->head % QUEUE];
	ssize_t n;

	host.receives++;
	if (s->pending) {
		n = s->pending;
		s->pending = 0;
		return n;
	}
	if (s->head == s->tail)
		return -EAGAIN;
	assert_true(a->len <= len);
	memcpy(buf, a->data, a->len);
	*from = a->from;
	*seg = a->seg;
	n = (ssize_t)a->len;
	free(a->data);
	s->head++;
	return n;
}

int lwr__sock_udp_error(int fd, void *buf, size_t len, struct lwr_sock_error *e)
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

static void tell(struct host_sock *s, uint32_t events)
{
	s->watch->on_event(s->watch, events);
}

static void arrive_seg(int fd, const char *from, uint16_t port,
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

static void arrive(int fd, const char *from, uint16_t port, const void *data,
		   size_t len)
{
	arrive_seg(fd, from, port, data, len, 0);
}

/* ---- loop and clock ------------------------------------------------------ */

uint64_t lwr__loop_now(const struct lwr_loop *l)
{
	(void)l;
	return host.now;
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

void lwr__timer_init(struct lwr_loop *l, struct lwr_timer *t,
		     void (*on_timer)(struct lwr_timer *t))
{
	(void)l;
	t->on_timer = on_timer;
}

void lwr__timer_start(struct lwr_timer *t, uint64_t ms)
{
	host.timer = t;
	host.timer_at = host.now + ms;
}

void lwr__timer_stop(struct lwr_timer *t)
{
	if (host.timer == t)
		host.timer = NULL;
}

bool lwr__timer_active(const struct lwr_timer *t)
{
	return host.timer == t;
}

void lwr__timer_close(struct lwr_loop *l, struct lwr_timer *t)
{
	(void)l;
	lwr__timer_stop(t);
}

/* ---- the world ----------------------------------------------------------- */

struct world {
	struct rig rig;
	struct lwr_udp udp;
};

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	struct world *w = r->arg;

	lwr__udp_input(&w->udp, pkt);
}

static void on_link_down(struct rig *r)
{
	struct world *w = r->arg;

	lwr__udp_link_down(&w->udp, &r->link);
}

static int setup_with(void **state, uint32_t max_udp, uint32_t ring)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	memset(&host, 0, sizeof(host));
	host.now = START_MS;
	host.limit = FDS;
	rig_init(&w->rig);
	w->rig.on_packet = on_packet;
	w->rig.on_link_down = on_link_down;
	w->rig.arg = w;
	w->rig.config.max_udp = max_udp;
	w->rig.config.ring_size = ring;
	rig_open(&w->rig);
	assert_int_equal(lwr__udp_init(&w->udp, &w->rig.stack), 0);
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 8, 1024);
}

static int setup_small_ring(void **state)
{
	return setup_with(state, 8, 64);
}

static int setup_many(void **state)
{
	return setup_with(state, 1000, 1024);
}

static int teardown(void **state)
{
	struct world *w = *state;

	rig_clear(&w->rig);
	w->rig.link.ops->close(&w->rig.link);
	lwr__udp_fini(&w->udp);
	assert_int_equal(host.open, 0);
	assert_null(host.timer);
	assert_int_equal(w->rig.stack.stats.udp_live, 0);
	lwr__stack_fini(&w->rig.stack);
	assert_int_equal(uv_loop_close(&w->rig.uv), 0);
	free(w);
	return 0;
}

/* Ticks until nothing is left to do. */
static void run(struct world *w)
{
	unsigned n = 0;

	while (lwr__udp_tick(&w->udp)) {
		lwr__stack_flush(&w->rig.stack);
		assert_true(++n < 1000);
	}
	lwr__stack_flush(&w->rig.stack);
}

/* Time passes, timers run. */
static void wait_ms(struct world *w, uint64_t ms)
{
	uint64_t end = host.now + ms;
	struct lwr_timer *t;

	while (host.timer && host.timer_at <= end) {
		host.now = host.timer_at > host.now ? host.timer_at : host.now;
		t = host.timer;
		host.timer = NULL;
		t->on_timer(t);
		run(w);
	}
	host.now = end;
}

static void say(struct world *w, const char *src, uint16_t sport,
		const char *dst, uint16_t dport, const char *text)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t len = rig_udp(frame, src, sport, dst, dport, text, strlen(text));

	rig_send(&w->rig, frame, len);
	run(w);
}

static void expect_sent(const char *to, uint16_t port, const char *text)
{
	struct lwr_addr a = rig_addr(to);

	assert_true(lwr__addr_equal(&host.to, &a));
	assert_int_equal(host.port, port);
	assert_int_equal(host.len, strlen(text));
	assert_memory_equal(host.data, text, host.len);
}

static void expect_received(struct world *w, unsigned i, const char *src,
			    uint16_t sport, const char *dst, uint16_t dport,
			    const char *text)
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

static const struct lwr_stats *stats(const struct world *w)
{
	return &w->rig.link.stats;
}

/* ---- relaying ------------------------------------------------------------ */

static void datagram_goes_out_and_its_answer_comes_back(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "hello");
	expect_sent("192.0.2.1", 7, "hello");
	arrive(host.fd, "192.0.2.1", 7, "world", 5);
	run(w);
	assert_int_equal(w->rig.frames, 1);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "world");
	assert_int_equal(stats(w)->udp_opened, 1);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void ipv6_has_its_own_socket(void **state)
{
	struct world *w = *state;

	say(w, "fd00::15", 4000, "2001:db8::1", 7, "six");
	expect_sent("2001:db8::1", 7, "six");
	arrive(host.fd, "2001:db8::1", 7, "", 0);
	run(w);
	expect_received(w, 0, "2001:db8::1", 7, "fd00::15", 4000, "");
}

static void empty_datagrams_pass(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "");
	assert_int_equal(host.sends, 1);
	expect_sent("192.0.2.1", 7, "");
	arrive(host.fd, "192.0.2.1", 7, "", 0);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "");
}

static void one_socket_for_all_destinations(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	fd = host.fd;
	say(w, "10.0.2.15", 4000, "192.0.2.2", 8, "b");
	assert_int_equal(host.fd, fd);
	assert_int_equal(host.opened, 1);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "c");
	assert_int_not_equal(host.fd, fd);
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.2", 8, "B", 1);
	arrive(fd, "192.0.2.1", 7, "A", 1);
	run(w);
	expect_received(w, 0, "192.0.2.2", 8, "10.0.2.15", 4000, "B");
	expect_received(w, 1, "192.0.2.1", 7, "10.0.2.15", 4000, "A");
}

static void strangers_are_not_heard(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 8, "x", 1);
	arrive(host.fd, "192.0.2.2", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
}

static void thousand_peers_are_all_heard(void **state)
{
	struct world *w = *state;
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;

	for (uint32_t i = 0; i < 1000; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
	}
	assert_int_equal(host.opened, 1);
	for (uint32_t i = 0; i < 1000; i += 50) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		arrive(host.fd, lwr__addr_text(&a, text), 7, "b", 1);
	}
	run(w);
	assert_int_equal(w->rig.frames, 20);
}

static void oldest_peer_is_forgotten_at_the_limit(void **state)
{
	struct world *w = *state; /* max_udp 8: 32 peers for all flows */
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;
	int fd;

	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "other");
	fd = host.fd;
	for (uint32_t i = 0; i < 40; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
		say(w, "10.0.2.15", 4000, "192.0.2.0", 7, "kept");
	}
	arrive(host.fd, "192.0.2.1", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	arrive(host.fd, "192.0.2.0", 7, "x", 1);
	arrive(host.fd, "192.0.2.39", 7, "x", 1);
	arrive(fd, "192.0.2.1", 7, "x", 1); /* another flow's peer */
	run(w);
	assert_int_equal(w->rig.frames, 3);
	assert_true(w->udp.peers.count <= 32);
}

static void gateway_is_the_hosts_loopback_if_opened(void **state)
{
	struct world *w = *state;

	w->rig.config.net.host_loopback = true;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	expect_sent("127.0.0.1", 7, "a");
	arrive(host.fd, "127.0.0.1", 7, "b", 1);
	run(w);
	expect_received(w, 0, "10.0.2.2", 7, "10.0.2.15", 4000, "b");
}

static void train_of_the_guest_stays_whole(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX], data[4000];
	struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 1200 };
	struct world *w = *state;
	size_t len = rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, data,
			     sizeof(data));

	rig_send_meta(&w->rig, frame, len, &meta);
	assert_int_equal(host.sends, 1);
	assert_int_equal(host.seg, 1200);
	assert_int_equal(host.len, sizeof(data));
}

static void train_of_the_host_is_cut_for_the_guest(void **state)
{
	static uint8_t data[64 * 1000];
	struct world *w = *state;
	size_t total = 0, len;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 1000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data) - 500, 1000);
	run(w);
	assert_int_equal(w->rig.frames, 64);
	for (unsigned i = 0; i < 64; i++) {
		const uint8_t *p = rig_payload(rig_frame(&w->rig, i), &len);

		assert_int_equal(len, i < 63 ? 1000 : 500);
		assert_memory_equal(p, data + i * 1000, len);
		total += len;
	}
	assert_int_equal(total, sizeof(data) - 500);
}

static void train_of_the_host_stays_whole_where_the_link_cuts(void **state)
{
	static uint8_t data[65000];
	struct world *w = *state;

	w->rig.link.caps.uso_h2g = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data), 1300);
	run(w);
	/* Two frames: with its headers one would exceed what a pbuf holds. */
	assert_int_equal(w->rig.frames, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(w->rig.frame[i].gso, LWR_GSO_UDP);
		assert_int_equal(w->rig.frame[i].gso_size, 1300);
	}
}

static void large_datagram_reaches_the_guest_in_fragments(void **state)
{
	static uint8_t data[65507];
	struct world *w = *state;
	size_t total = 0;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, data, sizeof(data));
	run(w);
	for (unsigned i = 0; i < w->rig.frames; i++) {
		assert_true(w->rig.frame[i].len <= 1514);
		total += w->rig.frame[i].pkt.l4_len;
	}
	assert_int_equal(total, 8 + sizeof(data));
}

/* ---- refusals ------------------------------------------------------------ */

static void expect_unreachable(struct world *w, const char *from, uint8_t type,
			       uint8_t code, const char *src, uint16_t sport,
			       const char *dst, uint16_t dport)
{
	const struct rig_frame *f = rig_frame(&w->rig, 0);
	struct lwr_addr a = rig_addr(from), s = rig_addr(src);
	bool four = lwr__addr_is4(&a);
	struct lwr_cursor c;
	uint8_t quoted[16];
	struct lwr_addr d = rig_addr(dst);
	size_t len;

	assert_int_equal(w->rig.frames, 1);
	assert_int_equal(f->data[f->pkt.l4], type);
	assert_int_equal(f->data[f->pkt.l4 + 1], code);
	assert_true(lwr__addr_equal(&f->pkt.src, &a));
	assert_true(lwr__addr_equal(&f->pkt.dst, &s));
	c = lwr__cursor(rig_payload(f, &len), 48);
	lwr__cursor_bytes(&c, NULL, four ? 12 : 8);
	lwr__cursor_bytes(&c, quoted, four ? 4 : 16);
	assert_memory_equal(quoted, s.b + (four ? 12 : 0), four ? 4 : 16);
	lwr__cursor_bytes(&c, quoted, four ? 4 : 16);
	assert_memory_equal(quoted, d.b + (four ? 12 : 0), four ? 4 : 16);
	assert_int_equal(lwr__cursor_u16(&c), sport);
	assert_int_equal(lwr__cursor_u16(&c), dport);
	rig_clear(&w->rig);
}

static void denied_destinations_are_prohibited(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "169.254.169.254", 80, "a");
	expect_unreachable(w, "10.0.2.2", 3, 13, "10.0.2.15", 4000,
			   "169.254.169.254", 80);
	say(w, "fd00::15", 4000, "::1", 80, "a");
	expect_unreachable(w, "fd00::2", 1, 1, "fd00::15", 4000, "::1", 80);
	assert_int_equal(stats(w)->udp_denied, 2);
	assert_int_equal(host.opened, 0);
	assert_int_equal(stats(w)->udp_opened, 0);
}

static void closed_gateway_ports_are_unreachable(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	expect_unreachable(w, "10.0.2.2", 3, 3, "10.0.2.15", 4000, "10.0.2.2",
			   7);
	say(w, "fd00::15", 4000, "fd00::3", 7, "a");
	expect_unreachable(w, "fd00::3", 1, 4, "fd00::15", 4000, "fd00::3", 7);
}

static void groups_are_dropped_without_a_word(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 5353, "224.0.0.251", 5353, "a");
	say(w, "10.0.2.15", 138, "255.255.255.255", 138, "a");
	say(w, "fd00::15", 5353, "ff02::fb", 5353, "a");
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_denied, 3);
	assert_int_equal(stats(w)->udp_opened, 0);
}

static void foreign_sources_are_dropped(void **state)
{
	struct world *w = *state;

	say(w, "192.0.2.9", 4000, "192.0.2.1", 7, "a");
	say(w, "0.0.0.0", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.2", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 0, "192.0.2.1", 7, "a");
	say(w, "2001:db8::9", 4000, "2001:db8::1", 7, "a");
	assert_int_equal(stats(w)->drop_source, 5);
	assert_int_equal(host.opened, 0);
}

static void errno_of_sending_is_told(void **state)
{
	static const struct {
		int err;
		const char *from;
		uint8_t code;
	} t[] = { { -ENETUNREACH, "10.0.2.2", 0 },
		  { -EHOSTUNREACH, "10.0.2.2", 1 },
		  { -ECONNREFUSED, "192.0.2.1", 3 },
		  { -EACCES, "10.0.2.2", 13 },
		  { -EPERM, "10.0.2.2", 13 } };
	struct world *w = *state;

	for (size_t i = 0; i < 5; i++) {
		host.send_error = t[i].err;
		say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
		expect_unreachable(w, t[i].from, 3, t[i].code, "10.0.2.15",
				   4000, "192.0.2.1", 7);
	}
	host.send_error = -EAGAIN;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->drop_memory, 1);
}

static void host_without_ipv6_is_unreachable(void **state)
{
	struct world *w = *state;

	host.no_ipv6 = true;
	say(w, "fd00::15", 4000, "2001:db8::1", 7, "a");
	expect_unreachable(w, "fd00::2", 1, 0, "fd00::15", 4000, "2001:db8::1",
			   7);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void report(struct world *w, const char *to, uint16_t port, int err)
{
	struct host_sock *s = sock_of(host.fd);
	struct lwr_addr a = rig_addr(to);

	s->error.err = err;
	s->error.len = 4;
	(void)lwr__addr_to_sockaddr(&a, port, &s->error.to);
	s->has_error = true;
	s->pending = -err;
	tell(s, EPOLLERR);
	run(w);
}

static void reports_become_icmp_with_the_guests_packet(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	report(w, "192.0.2.1", 7, ECONNREFUSED);
	expect_unreachable(w, "192.0.2.1", 3, 3, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report(w, "192.0.2.1", 7, EHOSTUNREACH);
	expect_unreachable(w, "10.0.2.2", 3, 1, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report(w, "192.0.2.1", 7, EACCES);
	expect_unreachable(w, "10.0.2.2", 3, 13, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	/* Not a destination of this flow; nothing that a guest is told. */
	report(w, "192.0.2.2", 7, ECONNREFUSED);
	report(w, "192.0.2.1", 7, 0);
	assert_int_equal(w->rig.frames, 0);
}

static void report_names_what_the_guest_wrote(void **state)
{
	struct world *w = *state;

	w->rig.config.net.host_loopback = true;
	say(w, "fd00::15", 4000, "fd00::2", 53, "a");
	report(w, "::1", 53, ECONNREFUSED);
	expect_unreachable(w, "fd00::2", 1, 4, "fd00::15", 4000, "fd00::2", 53);
}

static void datagrams_behind_a_report_are_read(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	sock_of(host.fd)->pending = -ECONNREFUSED;
	arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "b");
}

/* ---- expiry and limits --------------------------------------------------- */

static void idle_flow_expires_and_the_timer_stops(void **state)
{
	struct world *w = *state;

	assert_null(host.timer);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(host.open, 0);
	assert_null(host.timer);
}

static void traffic_of_either_side_keeps_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 5; i++) {
		wait_ms(w, 100000);
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
		run(w);
	}
	wait_ms(w, 100000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 5);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void strangers_do_not_keep_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 179000);
	arrive(host.fd, "192.0.2.66", 7, "b", 1);
	run(w);
	wait_ms(w, 1000);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void answered_query_expires_soon(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "long");
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	fd = host.fd;
	wait_ms(w, 30000); /* unanswered: it waits */
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9000);
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q"); /* asks again */
	wait_ms(w, 20000);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9999);
	assert_int_equal(stats(w)->udp_live, 2);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 2);
}

static void socket_that_also_talks_to_others_is_no_query(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4000, "192.0.2.2", 53, "q");
	arrive(host.fd, "192.0.2.2", 53, "a", 1);
	run(w);
	wait_ms(w, 170000);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void oldest_flow_is_evicted_at_the_limit(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < 8; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		wait_ms(w, 10);
	}
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a"); /* 4001 is oldest */
	assert_int_equal(stats(w)->udp_limited, 0);
	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_limited, 1);
	assert_int_equal(stats(w)->udp_live, 8);
	assert_int_equal(host.open, 8);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 9);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 10);
}

/* Answered queries are on a list of their own; age decides all the same. */
static void oldest_of_both_kinds_is_evicted(void **state)
{
	struct world *w = *state;
	int query, stream;

	say(w, "10.0.2.15", 4000, "192.0.2.53", 53, "q");
	query = host.fd;
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	stream = host.fd;
	host.limit = 2;
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4002, "192.0.2.53", 53, "q");
	assert_int_equal(host.fd, query); /* its number is free again */
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4003, "192.0.2.1", 7, "a");
	assert_int_equal(host.fd, stream);
}

static void out_of_descriptors_the_oldest_gives_its_own(void **state)
{
	struct world *w = *state;

	host.limit = 3;
	for (uint16_t i = 0; i < 6; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		assert_int_equal(host.sends, i + 1);
	}
	assert_int_equal(stats(w)->udp_live, 3);
	assert_int_equal(stats(w)->udp_limited, 3);
	assert_int_equal(w->rig.frames, 0);
}

static void without_any_descriptor_it_is_dropped(void **state)
{
	struct world *w = *state;

	host.limit = 0;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(stats(w)->drop_memory, 1);
	host.limit = 1;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(host.sends, 1);
}

static void flows_end_with_the_link(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	arrive(host.fd, "192.0.2.53", 53, "a", 1); /* not read yet */
	lwr__stack_reset_link(&w->rig.link);
	assert_int_equal(host.open, 0);
	assert_null(host.timer);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_live, 0);
}

/* ---- back-pressure ------------------------------------------------------- */

static void full_ring_stops_reading_not_the_loop(void **state)
{
	struct world *w = *state;
	unsigned receives;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	w->rig.stuck = true;
	for (int i = 0; i < 200; i++)
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w); /* comes back: it does not spin */
	receives = host.receives;
	assert_true(receives < 200);
	run(w);
	assert_int_equal(host.receives, receives);
	assert_int_equal(stats(w)->drop_ring_full, 0);
	w->rig.stuck = false;
	run(w); /* as after the link's writable event */
	assert_int_equal(w->rig.frames, 200);
	assert_int_equal(stats(w)->drop_ring_full, 0);
}

static void flooded_flow_leaves_the_others_their_turn(void **state)
{
	struct world *w = *state;
	int flooded;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	flooded = host.fd;
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	for (int i = 0; i < 200; i++)
		arrive(flooded, "192.0.2.1", 7, "b", 1);
	arrive(host.fd, "192.0.2.1", 7, "c", 1);
	assert_true(lwr__udp_tick(&w->udp));
	lwr__stack_flush(&w->rig.stack);
	expect_received(w, w->rig.frames - 1, "192.0.2.1", 7, "10.0.2.15", 4001,
			"c");
	assert_true(w->rig.frames < 100);
	run(w);
	assert_int_equal(w->rig.frames, 201);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagram_goes_out_and_its_answer_comes_back),
		TEST(ipv6_has_its_own_socket),
		TEST(empty_datagrams_pass),
		TEST(one_socket_for_all_destinations),
		TEST(strangers_are_not_heard),
		cmocka_unit_test_setup_teardown(thousand_peers_are_all_heard,
						setup_many, teardown),
		TEST(oldest_peer_is_forgotten_at_the_limit),
		TEST(gateway_is_the_hosts_loopback_if_opened),
		TEST(train_of_the_guest_stays_whole),
		TEST(train_of_the_host_is_cut_for_the_guest),
		TEST(train_of_the_host_stays_whole_where_the_link_cuts),
		TEST(large_datagram_reaches_the_guest_in_fragments),
		TEST(denied_destinations_are_prohibited),
		TEST(closed_gateway_ports_are_unreachable),
		TEST(groups_are_dropped_without_a_word),
		TEST(foreign_sources_are_dropped),
		TEST(errno_of_sending_is_told),
		TEST(host_without_ipv6_is_unreachable),
		TEST(reports_become_icmp_with_the_guests_packet),
		TEST(report_names_what_the_guest_wrote),
		TEST(datagrams_behind_a_report_are_read),
		TEST(idle_flow_expires_and_the_timer_stops),
		TEST(traffic_of_either_side_keeps_a_flow),
		TEST(strangers_do_not_keep_a_flow),
		TEST(answered_query_expires_soon),
		TEST(socket_that_also_talks_to_others_is_no_query),
		TEST(oldest_flow_is_evicted_at_the_limit),
		TEST(oldest_of_both_kinds_is_evicted),
		TEST(out_of_descriptors_the_oldest_gives_its_own),
		TEST(without_any_descriptor_it_is_dropped),
		TEST(flows_end_with_the_link),
		cmocka_unit_test_setup_teardown(
			full_ring_stops_reading_not_the_loop, setup_small_ring,
			teardown),
		TEST(flooded_flow_leaves_the_others_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
