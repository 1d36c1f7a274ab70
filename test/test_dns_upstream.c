/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions, resolvers' health and the cache with a clock and a network made
 * here: this file stands in for platform/loop.h and platform/sock.h.
 */
#include "relay/dns_upstream.h"

#include "core/pkt.h"
#include "platform/sock.h"
#include "platform/sock_udp.h"
#include "relay/dns_via.h"
#include "test/one_timer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <cmocka.h>

/* ---- the host ------------------------------------------------------------ */

enum { FD_BASE = 100, FDS = 512, MSG = 600, START_MS = 1000000 };

struct host_sock {
	bool open, tcp, bound;
	unsigned server; /* last number of the address */
	struct lwr_watch *watch;
	uint8_t sent[MSG]; /* the last message, without its prefix */
	size_t sent_len;
	unsigned sends;
	unsigned calls; /* that sent many */
	uint8_t in[2 * MSG]; /* bytes to be read */
	size_t in_len;
	int error; /* of the next call, once */
	bool endless; /* zeros can be read for ever */
};

static struct {
	struct host_sock sock[FDS];
	unsigned opened, open;
	int connect_error;
	uint32_t random;
} host;

static struct host_sock *sock_of(int fd)
{
	assert_true(fd >= FD_BASE && fd < FD_BASE + FDS);
	assert_true(host.sock[fd - FD_BASE].open);
	return &host.sock[fd - FD_BASE];
}

static int new_sock(const struct sockaddr *sa, socklen_t len, bool tcp,
		    const struct lwr_sock_from *from)
{
	struct sockaddr_storage ss = { 0 };
	struct host_sock *s;
	struct lwr_addr a;
	uint16_t port;

	if (host.connect_error)
		return host.connect_error;
	assert_true(host.opened < FDS);
	s = &host.sock[host.opened++];
	memcpy(&ss, sa, len);
	lwr__addr_from_sockaddr(&ss, &a, &port);
	*s = (struct host_sock){ .open = true,
				 .tcp = tcp,
				 .bound = from && from->ifname[0],
				 .server = a.b[15] };
	host.open++;
	return FD_BASE + (int)host.opened - 1;
}

int lwr__sock_connect_udp(const struct sockaddr *sa, socklen_t len,
			  const struct lwr_sock_from *from)
{
	return new_sock(sa, len, false, from);
}

int lwr__sock_connect(const struct sockaddr *sa, socklen_t len,
		      const struct lwr_sock_from *from, uint8_t hops,
		      bool *done)
{
	assert_int_equal(hops, 0);
	*done = false;
	return new_sock(sa, len, true, from);
}

void lwr__sock_close(int fd)
{
	struct host_sock *s = sock_of(fd);

	assert_null(s->watch);
	s->open = false;
	host.open--;
}

static ssize_t take_error(struct host_sock *s)
{
	int err = s->error;

	s->error = 0;
	return err;
}

ssize_t lwr__sock_writev(int fd, const struct iovec *iov, int n)
{
	struct host_sock *s = sock_of(fd);
	uint8_t all[MSG + 4];
	size_t len = 0, skip = s->tcp ? 2 : 0;

	if (s->error)
		return take_error(s);
	for (int i = 0; i < n; i++) {
		assert_true(iov[i].iov_len <= sizeof(all) - len);
		memcpy(all + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	memcpy(s->sent, all + skip, len - skip);
	s->sent_len = len - skip;
	s->sends++;
	return (ssize_t)len;
}

/* One call; a train is as many messages. */
int lwr__sock_send(int fd, const struct lwr_sock_out *out, unsigned n)
{
	struct host_sock *s = sock_of(fd);

	if (s->error)
		return (int)take_error(s);
	s->calls++;
	for (unsigned i = 0; i < n; i++) {
		size_t part, left = out[i].len;
		const uint8_t *p = out[i].data;

		for (; left > 0; p += part, left -= part) {
			part = out[i].seg ? out[i].seg : left;
			part = part < left ? part : left;
			assert_true(part <= MSG);
			memcpy(s->sent, p, part);
			s->sent_len = part;
			s->sends++;
		}
	}
	return (int)n;
}

ssize_t lwr__sock_readv(int fd, const struct iovec *iov, int n)
{
	struct host_sock *s = sock_of(fd);
	size_t len = iov->iov_len < s->in_len ? iov->iov_len : s->in_len;

	assert_int_equal(n, 1);
	if (s->endless) {
		memset(iov->iov_base, 0, iov->iov_len);
		return (ssize_t)iov->iov_len;
	}
	if (s->error)
		return take_error(s);
	if (len == 0)
		return -EAGAIN;
	memcpy(iov->iov_base, s->in, len);
	s->in_len -= len;
	memmove(s->in, s->in + len, s->in_len);
	return (ssize_t)len;
}

void lwr__random(void *buf, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		host.random = host.random * 1103515245 + 12345;
		p[i] = (uint8_t)(host.random >> 16);
	}
}

int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	sock_of(w->fd)->watch = w;
	return 0;
}

void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	sock_of(w->fd)->watch = NULL;
}

/* ---- the world ----------------------------------------------------------- */

struct waiter {
	struct lwr_dns_wait wait;
	unsigned answers;
	uint8_t msg[MSG];
	size_t len;
	uint64_t at_ms;
};

enum { WAITERS = 300 };

struct world {
	struct lwr_config config;
	struct lwr_dns dns;
	struct lwr_dns_cache cache;
	struct lwr_dns_upstream up;
	struct waiter waiter[WAITERS];
	unsigned waiters;
};

static int setup(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	memset(&host, 0, sizeof(host));
	one_timer_reset(START_MS);
	lwr__config_init(&w.config);
	w.dns.config = &w.config;
	lwr__dns_parse(&w.dns, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
	assert_int_equal(lwr__dns_cache_init(&w.cache, 4), 0);
	assert_int_equal(
		lwr__dns_upstream_init(&w.up, NULL, NULL, &w.dns, &w.cache), 0);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	lwr__dns_upstream_fini(&w->up);
	lwr__dns_cache_fini(&w->cache);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
	return 0;
}

static void tick(struct world *w)
{
	while (lwr__dns_upstream_tick(&w->up))
		;
	lwr__dns_upstream_reap(&w->up);
}

static void wait_ms(struct world *w, uint64_t ms)
{
	uint64_t end = one_timer.now + ms;

	while (one_timer_step(end))
		tick(w);
}

static void on_answer(struct lwr_dns_wait *wait, const uint8_t *msg, size_t len)
{
	struct waiter *n = LWR_CONTAINER(wait, struct waiter, wait);

	n->answers++;
	n->len = len;
	n->at_ms = one_timer.now;
	if (len)
		memcpy(n->msg, msg, len);
}

/* A query for a name of one letter and a number, of type A. */
static size_t make_query(uint8_t *buf, unsigned number, uint16_t edns)
{
	struct lwr_cursor c = lwr__cursor(buf, MSG);

	lwr__cursor_put_u32(&c, 0x0100);
	lwr__cursor_put_u16(&c, 1);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_u16(&c, edns ? 1 : 0);
	lwr__cursor_put_u8(&c, 3);
	lwr__cursor_put_u8(&c, 'n');
	lwr__cursor_put_u16(
		&c, (uint16_t)(0x6161 + number % 20 + number / 20 * 256));
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u32(&c, 1 << 16 | 1);
	if (edns) {
		lwr__cursor_put_u8(&c, 0);
		lwr__cursor_put_u16(&c, LWR_DNS_OPT);
		lwr__cursor_put_u16(&c, edns);
		lwr__cursor_put_u32(&c, 0);
		lwr__cursor_put_u16(&c, 0);
	}
	return MSG - c.left;
}

/* Within a tick that goes on. */
static struct waiter *ask_on(struct world *w, unsigned number, uint16_t edns,
			     bool tcp)
{
	struct waiter *n = &w->waiter[w->waiters++];
	struct lwr_dns_query q;
	uint8_t msg[MSG];
	size_t len = make_query(msg, number, edns);

	assert_true(w->waiters < WAITERS);
	n->wait.on_answer = on_answer;
	lwr__list_init(&n->wait.node);
	assert_int_equal(lwr__dns_query_parse(msg, len, tcp, &q), LWR_DNS_GOOD);
	q.key.link = 1;
	assert_int_equal(lwr__dns_ask(&w->up, &n->wait, &q, msg, len, tcp), 0);
	return n;
}

static struct waiter *ask_with(struct world *w, unsigned number, uint16_t edns,
			       bool tcp)
{
	struct waiter *n = ask_on(w, number, edns, tcp);

	tick(w);
	return n;
}

static struct waiter *ask(struct world *w, unsigned number)
{
	return ask_with(w, number, 0, false);
}

static struct host_sock *last_sock(void)
{
	return &host.sock[host.opened - 1];
}

static void arrive(struct world *w, struct host_sock *s, const uint8_t *msg,
		   size_t len)
{
	if (s->tcp) {
		s->in[s->in_len++] = (uint8_t)(len >> 8);
		s->in[s->in_len++] = (uint8_t)len;
	}
	memcpy(s->in + s->in_len, msg, len);
	s->in_len += len;
	s->watch->on_event(s->watch, EPOLLIN);
	tick(w);
}

/* The socket's last question is answered with one address. */
static void answer(struct world *w, struct host_sock *s, uint16_t flags)
{
	static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0,
					  0,	60, 0, 4, 1, 2, 3, 4 };
	bool bare = (flags & 0x020f) != 0;
	uint8_t msg[MSG];
	size_t len = 12 + 5 + 4;

	assert_true(s->open && s->sent_len >= len);
	memcpy(msg, s->sent, len);
	msg[2] = (uint8_t)(flags >> 8);
	msg[3] = (uint8_t)flags;
	msg[7] = bare ? 0 : 1;
	msg[11] = 0;
	if (!bare) {
		memcpy(msg + len, record, sizeof(record));
		len += sizeof(record);
	}
	arrive(w, s, msg, len);
}

static void refuse(struct world *w, struct host_sock *s)
{
	s->error = -ECONNREFUSED;
	s->watch->on_event(s->watch, EPOLLERR);
	tick(w);
}

static void expect_rcode(const struct waiter *n, enum lwr_dns_rcode rcode)
{
	assert_int_equal(n->answers, 1);
	assert_true(n->len >= LWR_DNS_HLEN);
	assert_int_equal(lwr__dns_rcode(n->msg), rcode);
}

/* ---- questions ----------------------------------------------------------- */

static void answer_reaches_who_asked(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	assert_int_equal(last_sock()->server, 1);
	answer(w, last_sock(), 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
}

static void sockets_leave_by_the_way_that_is_given(void **state)
{
	struct world *w = *state;

	strcpy(w->config.outbound.ifname, "out0");
	(void)ask(w, 1);
	assert_true(last_sock()->bound);
	answer(w, last_sock(), 0x8180);
	(void)ask_with(w, 2, 0, true);
	assert_true(last_sock()->bound && last_sock()->tcp);
	wait_ms(w, 6000);
	lwr__dns_parse(&w->dns, "nameserver 127.0.0.53\n");
	(void)ask(w, 3);
	assert_false(last_sock()->bound);
	answer(w, last_sock(), 0x8180);
}

static void questions_share_a_socket_for_a_while(void **state)
{
	struct world *w = *state;
	struct waiter *first = ask(w, 0);

	for (unsigned i = 1; i < 64; i++)
		(void)ask(w, i);
	assert_int_equal(host.opened, 1);
	(void)ask(w, 64);
	assert_int_equal(host.opened, 2);
	/* The first socket's last question is answered; the others wait. */
	answer(w, &host.sock[0], 0x8180);
	expect_rcode(&w->waiter[63], LWR_DNS_NOERROR);
	assert_int_equal(first->answers, 0);
	wait_ms(w, 6000);
	assert_int_equal(first->answers, 1);
	assert_int_equal(first->len, 0);
	assert_int_equal(host.open, 0);
}

static void equal_questions_are_one(void **state)
{
	struct world *w = *state;
	struct waiter *a = ask(w, 1), *b = ask(w, 1);
	struct waiter *other = ask_with(w, 1, 0, true);

	assert_int_equal(host.sock[0].sends, 1);
	answer(w, &host.sock[0], 0x8180);
	expect_rcode(a, LWR_DNS_NOERROR);
	expect_rcode(b, LWR_DNS_NOERROR);
	assert_int_equal(other->answers, 0);
	lwr__dns_cancel(&other->wait);
}

static void forged_messages_change_nothing(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);
	struct host_sock *s = last_sock();
	uint8_t msg[21];

	memcpy(msg, s->sent, 21);
	arrive(w, s, msg, 21); /* a query, not an answer */
	msg[2] = 0x81;
	msg[0] ^= 1;
	arrive(w, s, msg, 21); /* another identifier */
	msg[0] ^= 1;
	msg[14] ^= 1;
	arrive(w, s, msg, 21); /* another name */
	arrive(w, s, msg, 5);
	assert_int_equal(n->answers, 0);
	answer(w, s, 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
}

static void cancelled_question_still_feeds_the_cache(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	lwr__dns_cancel(&n->wait);
	answer(w, last_sock(), 0x8180);
	assert_int_equal(n->answers, 0);
	assert_int_equal(w->cache.entries, 1);
}

/* ---- failover ------------------------------------------------------------ */

static void silent_resolver_is_left_for_the_next(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	wait_ms(w, 1199);
	assert_int_equal(host.opened, 1);
	wait_ms(w, 1);
	assert_int_equal(host.opened, 2);
	assert_int_equal(last_sock()->server, 2);
	answer(w, last_sock(), 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	/* It is remembered. */
	n = ask(w, 2);
	assert_int_equal(last_sock()->server, 2);
	answer(w, last_sock(), 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
}

static void late_answer_is_an_answer(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	wait_ms(w, 1500);
	assert_int_equal(host.opened, 2);
	answer(w, &host.sock[0], 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	assert_int_equal(host.open, 0);
	(void)ask(w, 2); /* and it is alive */
	assert_int_equal(last_sock()->server, 1);
}

static void dead_resolver_gets_copies_until_it_answers(void **state)
{
	struct world *w = *state;
	struct waiter *n;

	(void)ask(w, 1);
	wait_ms(w, 1200);
	answer(w, last_sock(), 0x8180);
	wait_ms(w, 1000);
	n = ask(w, 2);
	assert_int_equal(host.opened, 4);
	assert_int_equal(host.sock[2].server, 2);
	assert_int_equal(host.sock[3].server, 1); /* the copy */
	answer(w, &host.sock[2], 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	/* The next copy comes after twice the time. */
	wait_ms(w, 1999);
	(void)ask(w, 3);
	answer(w, last_sock(), 0x8180);
	assert_int_equal(host.opened, 5);
	wait_ms(w, 1);
	n = ask(w, 4);
	assert_int_equal(host.opened, 7);
	answer(w, &host.sock[5], 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	answer(w, &host.sock[6], 0x8180); /* later, and nobody waits */
	assert_int_equal(host.open, 0);
	(void)ask(w, 5);
	assert_int_equal(last_sock()->server, 1);
}

static void all_silent_ends_within_five_seconds(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	wait_ms(w, 6000);
	assert_int_equal(n->answers, 1);
	assert_int_equal(n->len, 0);
	assert_int_equal(n->at_ms, START_MS + 4800);
	assert_int_equal(host.sock[0].sends, 2);
	assert_int_equal(host.sock[1].sends, 2);
	assert_int_equal(host.open, 0);
}

static void refusal_goes_on_at_once(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	refuse(w, last_sock());
	assert_int_equal(last_sock()->server, 2);
	refuse(w, last_sock());
	assert_int_equal(n->answers, 1);
	assert_int_equal(n->len, 0);
	assert_int_equal(host.open, 0);
}

/* While answers are read: the next tick may be far away. */
static void report_found_while_going_on_fails_the_earlier(void **state)
{
	enum { SERVFAIL = 0x8182 };
	struct world *w = *state;
	struct waiter *a = ask(w, 1), *b;

	answer(w, last_sock(), SERVFAIL);
	assert_int_equal(last_sock()->server, 2);
	last_sock()->error = -EPERM;
	b = ask(w, 2);
	assert_int_equal(last_sock()->server, 1);
	answer(w, last_sock(), SERVFAIL);
	assert_int_equal(b->answers, 1);
	assert_int_equal(a->answers, 1);
	assert_int_equal(host.open, 0);
}

static void report_found_while_sending_fails_the_earlier(void **state)
{
	struct world *w = *state;
	struct waiter *a = ask(w, 1), *b;

	host.sock[0].error = -ECONNREFUSED;
	b = ask(w, 2);
	assert_int_equal(host.sock[1].server, 2);
	assert_int_equal(host.sock[1].sends, 2); /* both went on */
	assert_int_equal(a->answers + b->answers, 0);
	wait_ms(w, 6000);
	assert_int_equal(a->answers + b->answers, 2);
}

static void unreachable_network_is_no_answer_at_once(void **state)
{
	struct world *w = *state;
	struct waiter *n;

	host.connect_error = -ENETUNREACH;
	n = ask(w, 1);
	assert_int_equal(n->answers, 1);
	assert_int_equal(n->len, 0);
}

static void without_resolvers_there_is_no_answer(void **state)
{
	struct world *w = *state;

	lwr__dns_parse(&w->dns, "");
	assert_int_equal(ask(w, 1)->answers, 1);
}

static void servfail_is_asked_of_the_next_then_passed_on(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask(w, 1);

	answer(w, last_sock(), 0x8182);
	assert_int_equal(n->answers, 0);
	assert_int_equal(last_sock()->server, 2);
	answer(w, last_sock(), 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	n = ask(w, 2);
	answer(w, last_sock(), 0x8185); /* REFUSED */
	answer(w, last_sock(), 0x8182);
	expect_rcode(n, LWR_DNS_REFUSED); /* the first one's */
	/* The second one does not answer at all. */
	n = ask(w, 3);
	answer(w, last_sock(), 0x8182);
	wait_ms(w, 1200);
	expect_rcode(n, LWR_DNS_SERVFAIL);
}

static void other_resolvers_are_used_at_once(void **state)
{
	struct world *w = *state;
	struct waiter *n;

	(void)ask(w, 1);
	answer(w, last_sock(), 0x8180);
	assert_int_equal(w->cache.entries, 1);
	n = ask(w, 2);
	lwr__dns_parse(&w->dns, "nameserver 192.0.2.9\n");
	(void)ask(w, 3);
	assert_int_equal(last_sock()->server, 9);
	assert_int_equal(w->cache.entries, 0);
	answer(w, &host.sock[1], 0x8180); /* of the old one */
	expect_rcode(n, LWR_DNS_NOERROR);
}

/* ---- truncation ---------------------------------------------------------- */

static void truncation_is_passed_to_a_small_client(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask_with(w, 1, 1232, false);

	answer(w, last_sock(), 0x8380);
	expect_rcode(n, LWR_DNS_NOERROR);
	assert_true(lwr__dns_truncated(n->msg));
}

static void whole_answer_is_fetched_for_a_large_client(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask_with(w, 1, 4096, false);
	struct host_sock *s;

	answer(w, last_sock(), 0x8380);
	s = last_sock();
	assert_true(s->tcp && s->sends == 0);
	s->watch->on_event(s->watch, EPOLLOUT);
	tick(w);
	assert_int_equal(s->sends, 1);
	answer(w, s, 0x8180);
	expect_rcode(n, LWR_DNS_NOERROR);
	assert_false(lwr__dns_truncated(n->msg));
	/* If it cannot be had, the truncated one is better than nothing. */
	n = ask_with(w, 2, 4096, false);
	answer(w, last_sock(), 0x8380);
	refuse(w, last_sock());
	expect_rcode(n, LWR_DNS_NOERROR);
	assert_true(lwr__dns_truncated(n->msg));
}

static void answer_over_tcp_may_come_in_pieces(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask_with(w, 1, 0, true);
	struct host_sock *s = last_sock();
	uint8_t answer_bytes[23] = { 0, 21 };

	s->watch->on_event(s->watch, EPOLLOUT);
	tick(w);
	memcpy(answer_bytes + 2, s->sent, 21);
	answer_bytes[4] = 0x81;
	for (size_t i = 0; i < sizeof(answer_bytes); i++) {
		assert_int_equal(n->answers, 0);
		s->in[s->in_len++] = answer_bytes[i];
		s->watch->on_event(s->watch, EPOLLIN);
		tick(w);
	}
	expect_rcode(n, LWR_DNS_NOERROR);
}

static void endless_messages_over_tcp_keep_nobody_else_waiting(void **state)
{
	struct world *w = *state;
	struct waiter *n = ask_with(w, 1, 0, true);
	struct host_sock *s = last_sock();

	s->endless = true;
	s->watch->on_event(s->watch, EPOLLIN);
	for (int i = 0; i < 10; i++)
		assert_true(lwr__dns_upstream_tick(&w->up));
	s->endless = false;
	wait_ms(w, 6000);
	assert_int_equal(n->answers, 1);
	assert_int_equal(n->len, 0);
}

/* ---- cache --------------------------------------------------------------- */

static struct lwr_dns_key key(const char *text)
{
	struct lwr_dns_key k = { .link = 1 };

	k.len = (uint16_t)strlen(text);
	memcpy(k.data, text, k.len);
	return k;
}

static bool cached(struct world *w, const char *name, uint32_t *age)
{
	struct lwr_dns_key k = key(name);
	size_t len;

	return lwr__dns_cache_get(&w->cache, &k, one_timer.now, &len, age) !=
	       NULL;
}

static void put(struct world *w, const char *name, uint32_t ttl, size_t len)
{
	static const uint8_t msg[65535];
	struct lwr_dns_key k = key(name);

	lwr__dns_cache_put(&w->cache, &k, one_timer.now, ttl, msg, len);
}

static void cached_answer_ages_and_ends(void **state)
{
	struct world *w = *state;
	struct lwr_dns_key other = key("a");
	uint32_t age;
	size_t len;

	put(w, "a", 10, 50);
	one_timer.now += 9999;
	assert_true(cached(w, "a", &age));
	assert_int_equal(age, 9);
	other.link = 2;
	assert_null(lwr__dns_cache_get(&w->cache, &other, one_timer.now, &len,
				       &age));
	one_timer.now += 1;
	assert_false(cached(w, "a", &age));
	assert_int_equal(w->cache.entries, 0);
	put(w, "b", 0, 50);
	assert_false(cached(w, "b", &age));
}

static void cache_is_bounded_and_drops_the_longest_unused(void **state)
{
	struct world *w = *state;
	uint32_t age;

	for (const char *p = "abcd"; *p; p++)
		put(w, (char[]){ *p, 0 }, 60, 50);
	assert_true(cached(w, "a", &age));
	put(w, "e", 60, 50);
	assert_int_equal(w->cache.entries, 4);
	assert_true(cached(w, "a", &age));
	assert_false(cached(w, "b", &age));
	put(w, "a", 60, 60); /* in place of the old one */
	assert_int_equal(w->cache.entries, 4);
	/* By bytes too. */
	put(w, "f", 60, 7000);
	put(w, "g", 60, 7000);
	assert_int_equal(w->cache.entries, 1);
	put(w, "h", 60, 20000); /* too large to keep */
	assert_false(cached(w, "h", &age));
	assert_true(cached(w, "g", &age));
}

static void cache_of_size_0_keeps_nothing(void **state)
{
	struct world *w = *state;
	uint32_t age;

	lwr__dns_cache_fini(&w->cache);
	assert_int_equal(lwr__dns_cache_init(&w->cache, 0), 0);
	put(w, "a", 60, 50);
	assert_false(cached(w, "a", &age));
	lwr__dns_cache_flush(&w->cache);
}

static void questions_of_a_tick_leave_together(void **state)
{
	struct world *w = *state;
	struct waiter *last = NULL;

	for (unsigned i = 0; i < 70; i++)
		last = ask_on(w, i, i % 3 ? 0 : 1232, false);
	/* The first at once; a socket is for 64. */
	assert_int_equal(host.opened, 2);
	assert_int_equal(host.sock[0].sends, 1);
	assert_int_equal(host.sock[1].sends, 0);
	tick(w);
	assert_int_equal(host.sock[0].sends, 64);
	assert_int_equal(host.sock[0].calls, 1);
	assert_int_equal(host.sock[1].sends, 6);
	assert_int_equal(host.sock[1].calls, 1);
	answer(w, &host.sock[1], 0x8180);
	expect_rcode(last, LWR_DNS_NOERROR);
	wait_ms(w, 6000);
}

static void what_left_together_fails_together(void **state)
{
	struct world *w = *state;

	ask_on(w, 1, 0, false);
	ask_on(w, 2, 0, false);
	ask_on(w, 3, 0, false);
	host.sock[0].error = -ECONNREFUSED;
	tick(w);
	assert_int_equal(host.opened, 2);
	assert_int_equal(host.sock[1].server, 2);
	assert_int_equal(host.sock[1].sends, 3);
	wait_ms(w, 6000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answer_reaches_who_asked),
		TEST(sockets_leave_by_the_way_that_is_given),
		TEST(questions_share_a_socket_for_a_while),
		TEST(questions_of_a_tick_leave_together),
		TEST(what_left_together_fails_together),
		TEST(equal_questions_are_one),
		TEST(forged_messages_change_nothing),
		TEST(cancelled_question_still_feeds_the_cache),
		TEST(silent_resolver_is_left_for_the_next),
		TEST(late_answer_is_an_answer),
		TEST(dead_resolver_gets_copies_until_it_answers),
		TEST(all_silent_ends_within_five_seconds),
		TEST(refusal_goes_on_at_once),
		TEST(report_found_while_going_on_fails_the_earlier),
		TEST(report_found_while_sending_fails_the_earlier),
		TEST(unreachable_network_is_no_answer_at_once),
		TEST(without_resolvers_there_is_no_answer),
		TEST(servfail_is_asked_of_the_next_then_passed_on),
		TEST(other_resolvers_are_used_at_once),
		TEST(truncation_is_passed_to_a_small_client),
		TEST(whole_answer_is_fetched_for_a_large_client),
		TEST(answer_over_tcp_may_come_in_pieces),
		TEST(endless_messages_over_tcp_keep_nobody_else_waiting),
		TEST(cached_answer_ages_and_ends),
		TEST(cache_is_bounded_and_drops_the_longest_unused),
		TEST(cache_of_size_0_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
