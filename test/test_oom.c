/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation fails once: a relay opens, gets a link, carries a connection
 * and a datagram, gets an in-process guest, publishes a port, and closes, while
 * the n-th malloc() of all returns NULL; for n = 0, 1, ... until none is left to
 * fail. Whatever becomes of the guest, nothing may crash, keep a descriptor, or
 * leak (the sanitizer looks for that). malloc and its kin are wrapped by the
 * linker (cmake/tests.cmake), so what libuv itself allocates is not touched.
 */
#include "core/pkt.h"
#include "relay/lwrelay.h"
#include "test/rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { TURNS = 12, GPORT = 4000, SYN = 0x02, PUSH_ACK = 0x18 };

/* ---- allocation ----------------------------------------------------------- */

static long fail_at = -1; /* -1: never */
static long calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);

static bool refused(void)
{
	return calls++ == fail_at;
}

void *__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refused() ? NULL : __real_realloc(p, n);
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
	return refused() ? ENOMEM : __real_posix_memalign(p, align, n);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- one guest ------------------------------------------------------------ */

struct scene {
	uv_loop_t loop;
	struct lwr_relay *relay;
	int guest; /* its end of the link; -1 */
	int server; /* listens on 127.0.0.1 */
	uint16_t port;
	uint32_t seq, ack;
	bool carried; /* the server got the guest's bytes */
	bool closed;
};

static void turn(struct scene *s)
{
	struct pollfd pfd = { .fd = uv_backend_fd(&s->loop), .events = POLLIN };

	for (int i = 0; i < TURNS; i++) {
		uv_run(&s->loop, UV_RUN_NOWAIT);
		if (poll(&pfd, 1, 1) == 0 && i > 2)
			break;
	}
}

static void send_frame(struct scene *s, const uint8_t *frame, size_t len)
{
	uint8_t buf[RIG_FRAME_MAX + 4];
	uint32_t n = htonl((uint32_t)len);

	memcpy(buf, &n, 4);
	memcpy(buf + 4, frame, len);
	(void)send(s->guest, buf, len + 4, MSG_NOSIGNAL);
	turn(s);
}

static void send_tcp(struct scene *s, uint8_t flags, const char *data)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint8_t l4[64];
	struct lwr_cursor c = lwr__cursor(l4, sizeof(l4));

	lwr__cursor_put_u16(&c, GPORT);
	lwr__cursor_put_u16(&c, s->port);
	lwr__cursor_put_u32(&c, s->seq);
	lwr__cursor_put_u32(&c, s->ack);
	lwr__cursor_put_u8(&c, 5 << 4);
	lwr__cursor_put_u8(&c, flags);
	lwr__cursor_put_u16(&c, 65535);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_bytes(&c, data, strlen(data));
	send_frame(s, frame,
		   rig_ip(frame, "10.0.2.15", "10.0.2.2", LWR_PROTO_TCP, 64, l4,
			  (size_t)(c.p - l4)));
}

/* Reads what the relay answered; true if there was a SYN-ACK. */
static bool answered(struct scene *s)
{
	uint8_t buf[4096];
	ssize_t n = recv(s->guest, buf, sizeof(buf), MSG_DONTWAIT);
	uint32_t seq;

	if (n < 4 + 14 + 20 + 20 || (buf[4 + 14 + 20 + 13] & 0x3f) != 0x12)
		return false;
	memcpy(&seq, buf + 4 + 14 + 20 + 4, 4);
	s->ack = ntohl(seq) + 1;
	return true;
}

static void carry(struct scene *s)
{
	static uint8_t frame[RIG_FRAME_MAX];
	char buf[16];
	int fd;

	s->seq = 1000;
	s->ack = 0;
	send_tcp(s, SYN, "");
	if (answered(s)) {
		s->seq++;
		send_tcp(s, PUSH_ACK, "hello");
		fd = accept4(s->server, NULL, NULL, SOCK_NONBLOCK);
		if (fd >= 0) {
			s->carried = recv(fd, buf, sizeof(buf), 0) == 5;
			if (s->carried)
				(void)send(fd, "hello", 5, MSG_NOSIGNAL);
			turn(s);
			close(fd);
		}
	}
	send_frame(s, frame,
		   rig_udp(frame, "10.0.2.15", 5000, "10.0.2.2", s->port, "x",
			   1));
}

/* An in-process guest says something, too, and publishes a port. */
static void carry_by_port(struct scene *s)
{
	uint8_t frame[64] = { 0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 9 };
	struct iovec iov = { frame, sizeof(frame) };
	struct lwr_port_frame f = { &iov, 1, sizeof(frame) };
	struct lwr_port *port;
	uint32_t link, id;

	if (lwr_link_add_port(s->relay, NULL, &port, &link))
		return;
	(void)lwr_link_push(port, &f, 1);
	(void)lwr_publish(s->relay, link, "127.0.0.1:0:80", &id, NULL, NULL, 0);
	turn(s);
	lwr_port_free(port);
}

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed = true;
}

static int open_relay(struct scene *s)
{
	struct lwr_network net = { .size = sizeof(net), .host_loopback = true };
	struct lwr_relay_options o = { .size = sizeof(o),
				       .loop = &s->loop,
				       .network = &net };

	return lwr_relay_open(&o, &s->relay);
}

/* Returns 0, or the -errno of opening relay or link. */
static int play(struct scene *s)
{
	int err, sv[2];
	uint32_t link;
	char spec[32];

	s->closed = false;
	assert_int_equal(uv_loop_init(&s->loop), 0);
	err = open_relay(s);
	if (err) {
		uv_run(&s->loop, UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&s->loop), 0);
		return err;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	snprintf(spec, sizeof(spec), "stream-fd:%d", sv[0]);
	err = lwr_link_add(s->relay, spec, NULL, &link);
	s->guest = sv[1];
	if (err)
		close(sv[0]);
	else
		carry(s);
	carry_by_port(s);
	lwr_relay_close(s->relay, on_closed, s);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_true(s->closed);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	close(sv[1]);
	return err;
}

static void listen_on(struct scene *s)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(s->server, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(s->server, 8), 0);
	assert_int_equal(getsockname(s->server, (struct sockaddr *)&sin, &len),
			 0);
	s->port = ntohs(sin.sin_port);
}

static void any_allocation_may_fail(void **state)
{
	static struct scene s;
	long n, total;
	unsigned fds;
	int err;

	(void)state;
	listen_on(&s);
	assert_int_equal(play(&s), 0); /* what is made once and kept */
	fds = open_fds();
	calls = 0;
	assert_int_equal(play(&s), 0);
	assert_true(s.carried);
	total = calls;
	assert_in_range(total, 20, 2000);
	for (n = 0; n < total; n++) {
		calls = 0;
		fail_at = n;
		err = play(&s);
		fail_at = -1;
		if (err != 0 && err != -ENOMEM)
			fail_msg("allocation %ld: %d", n, err);
		if (open_fds() != fds)
			fail_msg("allocation %ld: %d descriptors are left", n,
				 (int)(open_fds() - fds));
	}
	s.carried = false;
	assert_int_equal(play(&s), 0);
	assert_true(s.carried);
	close(s.server);
	print_message("%ld allocations, each failed once\n", total);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
