/* SPDX-License-Identifier: BSD-3-Clause */
/* The stream link on the real loop and stack, with a scripted guest. */
#include "netif/socket.h"

#include "netif/framing.h"
#include "test/link_bed.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int open_at(struct bed *w, const char *path, struct lwr_link **link)
{
	struct lwr_link_setup setup = { .name = path, .net = &w->config.net };

	return lwr__socket_listen(&w->stack, &setup, SOCK_STREAM, path, link);
}

static int open_fd(struct bed *w, int fd)
{
	struct lwr_link_setup setup = { .name = "stream-fd:3",
					.net = &w->config.net };

	return lwr__socket_fd(&w->stack, &setup, SOCK_STREAM, fd, &w->link);
}

static void listen_on(struct bed *w)
{
	struct lwr_link *link;

	assert_int_equal(open_at(w, w->path, &link), 0);
	bed_own(w, link);
}

static int dial(struct bed *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, w->path, strlen(w->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	bed_run(w);
	return fd;
}

/* Appends ARP frame number nr, padded to len, to buf; returns its size. */
static size_t put_arp(uint8_t *buf, uint32_t nr, uint32_t len)
{
	lwr__framing_put(buf, len);
	bed_put_arp(buf + 4, nr, len);
	return 4 + len;
}

static void send_all(struct bed *w, int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		else {
			p += n;
			len -= (size_t)n;
		}
		bed_run(w);
	}
}

static bool closed_by_us(struct bed *w, int fd)
{
	char c;

	bed_run(w);
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static void stream_frame_in_single_bytes_arrives(void **state)
{
	struct bed *w = *state;
	uint8_t buf[300];
	size_t len = 0;
	int fd;

	listen_on(w);
	fd = dial(w);
	for (uint32_t i = 0; i < 3; i++)
		len += put_arp(buf + len, i, 60);
	for (size_t i = 0; i < len; i++)
		send_all(w, fd, buf + i, 1);
	RUN_UNTIL(w, w->packets == 3);
	assert_true(w->in_order);
	close(fd);
}

static void stream_500_frames_in_one_write_arrive_in_order(void **state)
{
	struct bed *w = *state;
	static uint8_t buf[500 * 64];
	size_t len = 0;
	int fd;

	listen_on(w);
	fd = dial(w);
	for (uint32_t i = 0; i < 500; i++)
		len += put_arp(buf + len, i, i % 2 ? 60 : ARP_LEN);
	send_all(w, fd, buf, len);
	RUN_UNTIL(w, w->packets == 500);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.frames_g2h, 500);
	assert_int_equal(w->link->stats.bytes_g2h, len - 500 * 4);
	close(fd);
}

static void stream_frames_of_all_sizes_cut_anywhere_arrive(void **state)
{
	struct bed *w = *state;
	enum { BYTES = 20 << 20 };
	uint8_t *buf = malloc(BYTES);
	uint32_t nr = 0;
	size_t len = 0;
	int fd;

	listen_on(w);
	fd = dial(w);
	srand(5);
	while (len < BYTES - 70000)
		len += put_arp(buf + len, nr++,
			       rand() % 3 ? ARP_LEN + (uint32_t)rand() % 1500 :
					    ARP_LEN + (uint32_t)rand() % 65494);
	for (size_t at = 0, n; at < len; at += n) {
		n = rand() % 2 ? (size_t)rand() % 300000 : (size_t)rand() % 99;
		n = n < len - at ? n : len - at;
		send_all(w, fd, buf + at, n);
	}
	RUN_UNTIL(w, w->packets == nr);
	assert_true(w->in_order);
	free(buf);
	close(fd);
}

static void stream_bad_length_ends_that_client_only(void **state)
{
	static const uint32_t bad[] = { 0, 13, 65536, 0xffffffff };
	struct bed *w = *state;
	uint8_t buf[256];

	listen_on(w);
	for (unsigned i = 0; i < 4; i++) {
		int fd = dial(w);
		size_t len = put_arp(buf, i, ARP_LEN);

		lwr__framing_put(buf + len, bad[i]);
		send_all(w, fd, buf, len + 4);
		RUN_UNTIL(w, w->gone == i + 1);
		assert_int_equal(w->gone_err, -EPROTO);
		assert_int_equal(w->packets, i + 1);
		assert_int_equal(w->link->stats.drop_framing, i + 1);
		assert_true(closed_by_us(w, fd));
		close(fd);
	}
	assert_int_equal(w->downs, 4);
}

static void stream_client_gone_anywhere_harms_nobody(void **state)
{
	struct bed *w = *state;
	uint8_t buf[128];
	unsigned gone = 0;

	listen_on(w);
	put_arp(buf, 0, 60);
	for (size_t cut = 0; cut < 64; cut++) {
		int fd = dial(w);

		send_all(w, fd, buf, cut);
		close(fd);
		RUN_UNTIL(w, w->gone == gone + 1);
		gone++;
		assert_int_equal(w->gone_err, 0);
		fd = dial(w);
		w->next = 0;
		w->packets = 0;
		send_all(w, fd, buf, 64);
		RUN_UNTIL(w, w->packets == 1);
		close(fd);
		RUN_UNTIL(w, w->gone == gone + 1);
		gone++;
	}
	assert_true(w->in_order);
	assert_int_equal(w->warnings, 0);
}

static void stream_second_client_is_refused(void **state)
{
	struct bed *w = *state;
	uint8_t buf[128];
	int fd, second;

	listen_on(w);
	fd = dial(w);
	send_all(w, fd, buf, put_arp(buf, 0, 60));
	second = dial(w);
	assert_true(closed_by_us(w, second));
	assert_int_equal(w->warnings, 1);
	assert_int_equal(w->gone, 0);
	send_all(w, fd, buf, put_arp(buf, 1, 60));
	RUN_UNTIL(w, w->packets == 2);
	close(second);
	close(fd);
}

static void
stream_next_client_waits_for_the_last_frames_of_the_first(void **state)
{
	struct bed *w = *state;
	enum { FRAMES = 40000 };
	uint8_t *buf = malloc(FRAMES * 64);
	size_t len = 0, sent = 0;
	ssize_t n;
	int fd, second;

	listen_on(w);
	fd = dial(w);
	for (uint32_t i = 0; i < FRAMES; i++)
		len += put_arp(buf + len, i, 60);
	while ((n = send(fd, buf + sent, len - sent, MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	close(fd);
	second = dial(w);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->packets, sent / 64);
	assert_true(w->in_order);
	w->packets = 0;
	w->next = 0;
	send_all(w, second, buf, 64);
	RUN_UNTIL(w, w->packets == 1);
	assert_int_equal(w->warnings, 0);
	close(second);
	free(buf);
}

/* Reads n bytes, turning the loop meanwhile. */
static void read_exact(struct bed *w, int fd, uint8_t *buf, size_t n)
{
	uint64_t end = bed_deadline();

	while (n) {
		ssize_t r = recv(fd, buf, n, MSG_DONTWAIT);

		assert_true(uv_hrtime() < end);
		if (r > 0) {
			buf += r;
			n -= (size_t)r;
			end = bed_deadline();
		}
		bed_run(w);
	}
}

static void read_frame(struct bed *w, int fd, uint16_t len, uint32_t nr)
{
	static uint8_t buf[70000];
	struct lwr_cursor c = lwr__cursor(buf, 4);

	read_exact(w, fd, buf, 4);
	assert_int_equal(lwr__cursor_u32(&c), len + 14u);
	read_exact(w, fd, buf, len + 14u);
	c = lwr__cursor(buf + 14, 4);
	assert_int_equal(lwr__cursor_u32(&c), nr);
	for (uint16_t i = 4; i < len; i++)
		assert_int_equal(buf[14 + i], (uint8_t)(i + nr));
}

static void stream_full_socket_is_back_pressure_and_resumes(void **state)
{
	struct bed *w = *state;
	uint32_t in = 0, out = 0;
	int fd;

	listen_on(w);
	fd = dial(w);
	while (lwr__ring_room(&w->link->h2g)) {
		bed_send(w, (uint16_t)(46 + in * 977 % 20000), in);
		in++;
		bed_run(w);
		assert_true(in < 100000);
	}
	assert_int_equal(w->link->stats.drop_ring_full, 0);
	for (; out < in; out++)
		read_frame(w, fd, (uint16_t)(46 + out * 977 % 20000), out);
	RUN_UNTIL(w, lwr__ring_count(&w->link->h2g) == 0);
	assert_int_equal(w->gone, 0);
	close(fd);
}

static void stream_client_gone_while_blocked_harms_nobody(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w);
	fd = dial(w);
	while (lwr__ring_room(&w->link->h2g)) {
		bed_send(w, 1501, 1);
		bed_run(w);
	}
	close(fd);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->gone_err, 0);
	assert_int_equal(lwr__ring_count(&w->link->h2g), 0);
	fd = dial(w);
	bed_send(w, 777, 9);
	read_frame(w, fd, 777, 9);
	close(fd);
}

static void stream_client_that_stops_reading_for_good_is_ended(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w);
	fd = dial(w);
	shutdown(fd, SHUT_RD);
	bed_send(w, 100, 1);
	bed_send(w, 100, 2);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->gone_err, 0);
	close(fd);
}

static void stream_without_client_drops_what_is_sent(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w);
	bed_send(w, 100, 1);
	bed_run(w);
	assert_int_equal(lwr__ring_count(&w->link->h2g), 0);
	fd = dial(w);
	bed_send(w, 100, 2);
	read_frame(w, fd, 100, 2);
	close(fd);
}

static void stream_link_closed_from_inside_a_frame(void **state)
{
	struct bed *w = *state;
	uint8_t buf[256];
	size_t len;
	int fd;

	listen_on(w);
	w->close_on_packet = true;
	fd = dial(w);
	len = put_arp(buf, 0, 60);
	len += put_arp(buf + len, 1, 60);
	send_all(w, fd, buf, len);
	assert_int_equal(w->packets, 1);
	assert_null(w->link);
	assert_true(closed_by_us(w, fd));
	assert_int_equal(w->gone, 0);
	close(fd);
}

static void stream_link_closed_from_on_gone(void **state)
{
	struct bed *w = *state;

	listen_on(w);
	w->close_on_gone = true;
	close(dial(w));
	RUN_UNTIL(w, w->gone == 1);
	assert_null(w->link);
}

static void stream_fd_serves_one_client(void **state)
{
	struct bed *w = *state;
	uint8_t buf[128];
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	w->config.net.mtu = 9000;
	assert_int_equal(open_fd(w, sv[0]), 0);
	bed_own(w, w->link);
	assert_int_equal(w->link->caps.mtu, 9000);
	assert_string_equal(w->link->name, "stream-fd:3");
	send_all(w, sv[1], buf, put_arp(buf, 0, 60));
	RUN_UNTIL(w, w->packets == 1);
	bed_send(w, 60, 4);
	read_frame(w, sv[1], 60, 4);
	close(sv[1]);
	RUN_UNTIL(w, w->gone == 1);
	bed_run(w);
}

static void stream_fd_refuses_what_is_no_stream(void **state)
{
	struct bed *w = *state;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	int file = open("/dev/null", O_RDWR);

	assert_int_equal(open_fd(w, fd), -EPROTOTYPE);
	assert_int_equal(open_fd(w, file), -ENOTSOCK);
	assert_int_equal(open_fd(w, -1), -EBADF);
	assert_null(w->link);
	close(fd); /* still ours */
	close(file);
}

static void stream_listen_says_why_it_cannot(void **state)
{
	struct bed *w = *state;
	struct lwr_link *other = NULL;

	listen_on(w);
	assert_int_equal(open_at(w, w->path, &other), -EADDRINUSE);
	assert_int_equal(open_at(w, "/nonexistent/x", &other), -ENOENT);
	assert_null(other);
	close(dial(w));
}

static void stream_serves_again_when_descriptors_return(void **state)
{
	struct bed *w = *state;
	struct rlimit old, none;
	uint8_t buf[128];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	listen_on(w);
	memcpy(sa.sun_path, w->path, strlen(w->path));
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	for (int i = 0; i < 50; i++)
		bed_run(w);
	assert_int_equal(w->warnings, 1);
	setrlimit(RLIMIT_NOFILE, &old);
	put_arp(buf, 0, 60);
	assert_int_equal(send(fd, buf, 64, 0), 64);
	while (w->packets == 0)
		uv_run(&w->uv, UV_RUN_ONCE);
	assert_int_equal(w->warnings, 1);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stream_frame_in_single_bytes_arrives),
		TEST(stream_500_frames_in_one_write_arrive_in_order),
		TEST(stream_frames_of_all_sizes_cut_anywhere_arrive),
		TEST(stream_bad_length_ends_that_client_only),
		TEST(stream_client_gone_anywhere_harms_nobody),
		TEST(stream_second_client_is_refused),
		TEST(stream_next_client_waits_for_the_last_frames_of_the_first),
		TEST(stream_full_socket_is_back_pressure_and_resumes),
		TEST(stream_client_gone_while_blocked_harms_nobody),
		TEST(stream_client_that_stops_reading_for_good_is_ended),
		TEST(stream_without_client_drops_what_is_sent),
		TEST(stream_link_closed_from_inside_a_frame),
		TEST(stream_link_closed_from_on_gone),
		TEST(stream_fd_serves_one_client),
		TEST(stream_fd_refuses_what_is_no_stream),
		TEST(stream_listen_says_why_it_cannot),
		TEST(stream_serves_again_when_descriptors_return),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
