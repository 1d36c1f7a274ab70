/* SPDX-License-Identifier: BSD-3-Clause */
/* Real UDP sockets on the loopback device. */
#include "platform/sock_udp.h"

#include "platform/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 5000 };

static uint8_t out[65536], in[65536];

struct ends {
	int a, b;
	struct sockaddr_storage to; /* b's address */
	socklen_t len;
};

static socklen_t loopback(int family, struct sockaddr_storage *ss)
{
	struct sockaddr_in s4 = { .sin_family = AF_INET };
	struct sockaddr_in6 s6 = { .sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	memset(ss, 0, sizeof(*ss));
	s4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (family == AF_INET) {
		memcpy(ss, &s4, sizeof(s4));
		return sizeof(s4);
	}
	memcpy(ss, &s6, sizeof(s6));
	return sizeof(s6);
}

/* Skips the test where the host lacks the family. */
static struct ends ends(int family)
{
	struct ends e;

	e.a = lwr__sock_udp(family);
	e.b = lwr__sock_udp(family);
	if (e.a < 0 || e.b < 0)
		skip();
	e.len = loopback(family, &e.to);
	if (bind(e.b, (struct sockaddr *)&e.to, e.len) < 0)
		skip();
	assert_int_equal(getsockname(e.b, (struct sockaddr *)&e.to, &e.len), 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 255);
	return e;
}

static void close_ends(struct ends *e)
{
	close(e->a);
	close(e->b);
}

static ssize_t send_out(const struct ends *e, size_t len, uint16_t seg)
{
	struct iovec iov = { out, len };

	return lwr__sock_sendto(e->a, &iov, 1, seg,
				(const struct sockaddr *)&e->to, e->len);
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

/* Receives `len` bytes cut into datagrams of `size`, however they come. */
static void expect_datagrams(int fd, size_t len, size_t size)
{
	struct sockaddr_storage from;
	size_t off = 0, part;
	uint16_t seg;
	ssize_t n;

	do {
		wait_for(fd, POLLIN);
		n = lwr__sock_recvfrom(fd, in, sizeof(in), &seg, &from);
		assert_true(n >= 0);
		part = len - off < size ? len - off : size;
		if (seg)
			assert_int_equal(seg, size);
		else
			assert_int_equal(n, part);
		assert_true((size_t)n <= len - off);
		assert_memory_equal(in, out + off, (size_t)n);
		off += (size_t)n;
	} while (off < len);
	assert_int_equal(lwr__sock_recvfrom(fd, in, sizeof(in), &seg, &from),
			 -EAGAIN);
}

static void every_size_arrives(int family)
{
	static const size_t sizes[] = { 0, 1, 1472, 1473, 4096, 65507 };
	struct ends e = ends(family);

	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(send_out(&e, sizes[i], 0), sizes[i]);
		expect_datagrams(e.b, sizes[i], 65507);
	}
	close_ends(&e);
}

static void every_size_arrives_ipv4(void **state)
{
	(void)state;
	every_size_arrives(AF_INET);
}

static void every_size_arrives_ipv6(void **state)
{
	(void)state;
	every_size_arrives(AF_INET6);
}

static void segments_arrive_cut(void **state)
{
	struct ends e = ends(AF_INET);

	(void)state;
	assert_int_equal(send_out(&e, 10000, 1200), 10000);
	expect_datagrams(e.b, 10000, 1200);
	/* More than the kernel takes in one call. */
	assert_int_equal(send_out(&e, 100 * 100 + 7, 100), 10007);
	expect_datagrams(e.b, 10007, 100);
	/* Not more than one: no segmentation at all. */
	assert_int_equal(send_out(&e, 1200, 1200), 1200);
	expect_datagrams(e.b, 1200, 1200);
	assert_int_equal(send_out(&e, 100, 1200), 100);
	expect_datagrams(e.b, 100, 1200);
	close_ends(&e);
}

/* Larger than the device's MTU: the kernel refuses, and they go one by one. */
static void segments_over_the_mtu_arrive_in_fragments(void **state)
{
	struct ends e = ends(AF_INET);

	(void)state;
	assert_int_equal(send_out(&e, 65500, 65499), 65500);
	expect_datagrams(e.b, 65500, 65499);
	close_ends(&e);
}

static void parts_are_joined(void **state)
{
	struct ends e = ends(AF_INET);
	struct iovec iov[3] = { { out, 10 },
				{ out + 10, 0 },
				{ out + 10, 1990 } };

	(void)state;
	assert_int_equal(lwr__sock_sendto(e.a, iov, 3, 0,
					  (struct sockaddr *)&e.to, e.len),
			 2000);
	expect_datagrams(e.b, 2000, 2000);
	assert_int_equal(lwr__sock_sendto(e.a, iov, 3, 7,
					  (struct sockaddr *)&e.to, e.len),
			 2000);
	expect_datagrams(e.b, 2000, 7);
	close_ends(&e);
}

static void too_large_is_an_error(void **state)
{
	struct ends e = ends(AF_INET);

	(void)state;
	assert_int_equal(send_out(&e, 65508, 0), -EMSGSIZE);
	close_ends(&e);
}

static void closed_port_is_reported(int family)
{
	struct ends e = ends(family);
	struct lwr_sock_error err;
	int fd = e.b;

	close(fd);
	assert_int_equal(send_out(&e, 100, 0), 100);
	wait_for(e.a, POLLERR);
	assert_int_equal(lwr__sock_report(e.a, in, sizeof(in), &err), 0);
	assert_int_equal(err.err, ECONNREFUSED);
	assert_int_equal(err.len, 100);
	assert_memory_equal(in, out, 100);
	if (family == AF_INET) {
		struct sockaddr_in to, want;

		memcpy(&to, &err.to, sizeof(to));
		memcpy(&want, &e.to, sizeof(want));
		assert_int_equal(to.sin_port, want.sin_port);
		assert_int_equal(to.sin_addr.s_addr, want.sin_addr.s_addr);
	} else {
		struct sockaddr_in6 to, want;

		memcpy(&to, &err.to, sizeof(to));
		memcpy(&want, &e.to, sizeof(want));
		assert_int_equal(to.sin6_port, want.sin6_port);
		assert_memory_equal(&to.sin6_addr, &want.sin6_addr, 16);
	}
	assert_int_equal(lwr__sock_report(e.a, in, sizeof(in), &err), -EAGAIN);
	close(e.a);
}

static void closed_port_is_reported_ipv4(void **state)
{
	(void)state;
	closed_port_is_reported(AF_INET);
}

static void closed_port_is_reported_ipv6(void **state)
{
	(void)state;
	closed_port_is_reported(AF_INET6);
}

/* A report about one destination must not cost another its datagram. */
static void report_does_not_hinder_the_next_datagram(void **state)
{
	struct ends e = ends(AF_INET), gone = ends(AF_INET);
	struct iovec iov = { out, 10 };

	(void)state;
	close(gone.b);
	assert_int_equal(lwr__sock_sendto(e.a, &iov, 1, 0,
					  (struct sockaddr *)&gone.to,
					  gone.len),
			 10);
	wait_for(e.a, POLLERR);
	assert_int_equal(send_out(&e, 100, 0), 100);
	expect_datagrams(e.b, 100, 100);
	close_ends(&e);
	close(gone.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_arrives_ipv4),
		cmocka_unit_test(every_size_arrives_ipv6),
		cmocka_unit_test(segments_arrive_cut),
		cmocka_unit_test(segments_over_the_mtu_arrive_in_fragments),
		cmocka_unit_test(parts_are_joined),
		cmocka_unit_test(too_large_is_an_error),
		cmocka_unit_test(closed_port_is_reported_ipv4),
		cmocka_unit_test(closed_port_is_reported_ipv6),
		cmocka_unit_test(report_does_not_hinder_the_next_datagram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
