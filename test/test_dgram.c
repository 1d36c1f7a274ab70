/* SPDX-License-Identifier: BSD-3-Clause */
/* Datagram and message links on the real loop and stack. */
#include "netif/socket.h"

#include "test/link_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void listen_on(struct bed *w, int type)
{
	struct lwr_link_setup setup = { .name = "link", .net = &w->config.net };
	struct lwr_link *link;

	assert_int_equal(
		lwr__socket_listen(&w->stack, &setup, type, w->path, &link), 0);
	bed_own(w, link);
}

static int open_fd(struct bed *w, int type, int fd)
{
	struct lwr_link_setup setup = { .name = "link", .net = &w->config.net };
	struct lwr_link *link;
	int err = lwr__socket_fd(&w->stack, &setup, type, fd, &link);

	if (!err)
		bed_own(w, link);
	return err;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

/* The path of guest nr's own socket. */
static struct sockaddr_un own_address(const struct bed *w, int nr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/g%d", w->dir, nr);
	return sa;
}

/* Returns 0 or -errno. */
static int connect_to(int fd, const char *path)
{
	struct sockaddr_un sa = address(path);

	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
}

/* A guest of a datagram link: bound, and connected as libkrun's is. */
static int guest_new(struct bed *w, int nr)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = own_address(w, nr);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(connect_to(fd, w->path), 0);
	return fd;
}

static void guest_end(struct bed *w, int nr, int fd)
{
	struct sockaddr_un sa = own_address(w, nr);

	close(fd);
	unlink(sa.sun_path);
}

static int dial(struct bed *w)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

	assert_int_equal(connect_to(fd, w->path), 0);
	bed_run(w);
	return fd;
}

/* Sends ARP number nr of len bytes; turns the loop while there is no room. */
static void send_arp(struct bed *w, int fd, uint32_t nr, uint32_t len)
{
	static uint8_t buf[70000];

	bed_put_arp(buf, nr, len);
	while (send(fd, buf, len, MSG_NOSIGNAL) < 0) {
		assert_int_equal(errno, EAGAIN);
		bed_run(w);
	}
}

/* Reads the frame that bed_send() numbered nr. */
static void read_frame(struct bed *w, int fd, uint16_t len, uint32_t nr)
{
	static uint8_t buf[70000];
	ssize_t n;

	for (uint64_t end = bed_deadline();;) {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n >= 0)
			break;
		assert_true(uv_hrtime() < end);
		bed_run(w);
	}
	assert_int_equal(n, len + 14);
	assert_int_equal(buf[17], nr & 0xff);
	for (uint16_t i = 4; i < len; i++)
		assert_int_equal(buf[14 + i], (uint8_t)(i + nr));
}

/* ---- datagrams ----------------------------------------------------------- */

static void dgram_frames_cross_both_ways(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	assert_int_equal(send(fd, "VFKT", 4, 0), 4);
	send_arp(w, fd, 0, 42);
	send_arp(w, fd, 1, 60);
	RUN_UNTIL(w, w->packets == 2);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.drop_size, 0);
	for (uint32_t i = 0; i < 5; i++)
		bed_send(w, (uint16_t)(100 + i), i);
	for (uint32_t i = 0; i < 5; i++)
		read_frame(w, fd, (uint16_t)(100 + i), i);
	assert_int_equal(w->link->stats.frames_h2g, 5);
	assert_int_equal(w->link->stats.bytes_h2g, 5 * 114 + 10);
	guest_end(w, 1, fd);
}

static void dgram_queue_limit_does_not_apply_after_the_first(void **state)
{
	struct bed *w = *state;
	uint8_t buf[1514];
	int fd, n = 0;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	bed_put_arp(buf, 0, sizeof(buf));
	while (n < 60 && send(fd, buf, sizeof(buf), 0) > 0)
		n++;
	assert_int_equal(n, 60);
	RUN_UNTIL(w, w->packets == 61);
	guest_end(w, 1, fd);
}

static void dgram_sizes_mixed_arrive_in_order(void **state)
{
	struct bed *w = *state;
	enum { FRAMES = 3000 };
	uint32_t len;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	srand(7);
	for (uint32_t i = 0; i < FRAMES; i++) {
		len = rand() % 3 ? 42 + (uint32_t)rand() % 1500 :
				   42 + (uint32_t)rand() % 65494;
		send_arp(w, fd, i, i % 500 == 0 ? 65535 : len);
	}
	RUN_UNTIL(w, w->packets == FRAMES);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.frames_g2h, FRAMES);
	guest_end(w, 1, fd);
}

static void dgram_of_impossible_size_is_dropped_and_counted(void **state)
{
	static const size_t bad[] = { 0, 13, 65536, 66000, 69999 };
	static uint8_t buf[70000];
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	for (unsigned i = 0; i < 5; i++) {
		while (send(fd, buf, bad[i], 0) < 0)
			bed_run(w);
		send_arp(w, fd, i + 1, 60);
	}
	RUN_UNTIL(w, w->packets == 6);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.drop_size, 5);
	assert_int_equal(w->gone, 0);
	guest_end(w, 1, fd);
}

static void dgram_others_are_refused_while_there_is_a_guest(void **state)
{
	struct bed *w = *state;
	uint8_t buf[60];
	int a, b;

	listen_on(w, SOCK_DGRAM);
	a = guest_new(w, 1);
	b = guest_new(w, 2);
	bed_put_arp(buf, 0, 60);
	assert_int_equal(send(a, buf, 60, 0), 60);
	bed_put_arp(buf, 77, 60); /* waits in the queue before we connect */
	assert_int_equal(send(b, buf, 60, 0), 60);
	bed_put_arp(buf, 1, 60);
	assert_int_equal(send(a, buf, 60, 0), 60);
	RUN_UNTIL(w, w->packets == 2);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.drop_source, 1);
	assert_int_equal(send(b, buf, 60, 0), -1);
	assert_int_equal(errno, EPERM);
	guest_end(w, 1, a);
	guest_end(w, 2, b);
}

static void dgram_guest_without_a_name_is_told_in_the_log(void **state)
{
	struct bed *w = *state;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), named;

	listen_on(w, SOCK_DGRAM);
	assert_int_equal(connect_to(fd, w->path), 0);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->warnings == 1);
	assert_non_null(strstr(w->line, "bound to a path"));
	assert_int_equal(w->packets, 0);
	named = guest_new(w, 1);
	send_arp(w, named, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	close(fd);
	guest_end(w, 1, named);
}

static void dgram_guest_gone_is_noticed_by_a_send(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	for (int i = 0; i < 20; i++) {
		fd = guest_new(w, i);
		w->next = 0;
		w->packets = 0;
		send_arp(w, fd, 0, 60);
		RUN_UNTIL(w, w->packets == 1);
		guest_end(w, i, fd);
		bed_send(w, 100, 0);
		RUN_UNTIL(w, w->gone == (unsigned)i + 1);
		assert_int_equal(w->gone_err, 0);
	}
	assert_int_equal(w->warnings, 0);
}

/* The queue is emptied by the kernel, or read before; then the next comes. */
static void dgram_guest_of_the_same_path_is_served_again(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	for (unsigned i = 0; i < 3; i++) {
		fd = guest_new(w, 1);
		w->next = 0;
		w->packets = 0;
		send_arp(w, fd, 0, 60);
		RUN_UNTIL(w, w->packets == 1);
		guest_end(w, 1, fd);
		bed_send(w, 100, 0);
		RUN_UNTIL(w, w->gone == i + 1);
	}
}

/* Lets so much time pass as the test needs it, not more. */
static void run_until_gone(struct bed *w, unsigned gone)
{
	uint64_t end = uv_hrtime() + 10 * 1000000000ull;

	while (w->gone < gone) {
		assert_true(uv_hrtime() < end);
		uv_run(&w->uv, UV_RUN_ONCE);
	}
}

static void dgram_silent_guest_gone_is_noticed_in_time(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	close(fd); /* its file stays, as when it is killed */
	run_until_gone(w, 1);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(connect_to(fd, w->path), 0); /* no EPERM */
	close(fd);
	unlink(own_address(w, 1).sun_path);
}

/* A child that sends a frame, and ends when `hold` is closed. */
static pid_t fork_guest(struct bed *w, int fd, int hold)
{
	uint8_t buf[60];
	pid_t pid = fork();
	char c;

	if (pid)
		return pid;
	bed_put_arp(buf, 0, 60);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0)
		fd = guest_new(w, 1);
	if (send(fd, buf, 60, 0) != 60 || read(hold, &c, 1) < 0)
		_exit(1);
	_exit(0);
}

static void dgram_guest_whose_process_ends_is_gone_at_once(void **state)
{
	struct bed *w = *state;
	uint64_t start;
	int hold[2];
	pid_t pid;

	listen_on(w, SOCK_DGRAM);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	pid = fork_guest(w, -1, hold[0]);
	RUN_UNTIL(w, w->packets == 1);
	start = uv_hrtime();
	kill(pid, SIGKILL);
	run_until_gone(w, 1);
	assert_true(uv_hrtime() - start < 1500000000ull);
	assert_int_equal(w->gone_err, 0);
	waitpid(pid, NULL, 0);
	close(hold[0]);
	close(hold[1]);
	unlink(own_address(w, 1).sun_path);
}

static void dgram_backpressure_loses_nothing(void **state)
{
	struct bed *w = *state;
	enum { FRAMES = 900 };
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	for (uint32_t i = 0; i < FRAMES; i++) {
		bed_send(w, 1400, i);
		if (i % 100 == 0)
			bed_run(w);
	}
	for (int i = 0; i < 100; i++)
		bed_run(w);
	for (uint32_t i = 0; i < FRAMES; i++)
		read_frame(w, fd, 1400, i);
	assert_int_equal(w->link->stats.frames_h2g, FRAMES);
	guest_end(w, 1, fd);
}

/* QEMU's socket is not connected: ten frames, then it must have read. */
static void dgram_guest_that_is_not_connected_gets_all(void **state)
{
	struct bed *w = *state;
	struct sockaddr_un to = address(w->path), sa = own_address(w, 1);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	uint8_t buf[60];

	listen_on(w, SOCK_DGRAM);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	bed_put_arp(buf, 0, 60);
	assert_int_equal(
		sendto(fd, buf, 60, 0, (struct sockaddr *)&to, sizeof(to)), 60);
	RUN_UNTIL(w, w->packets == 1);
	for (uint32_t i = 0; i < 300; i++)
		bed_send(w, 200, i);
	for (uint32_t i = 0; i < 300; i++)
		read_frame(w, fd, 200, i);
	guest_end(w, 1, fd);
}

static void dgram_link_closed_from_inside(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	w->close_on_packet = true;
	for (uint32_t i = 0; i < 5; i++)
		send_arp(w, fd, i, 60);
	RUN_UNTIL(w, !w->link);
	assert_int_equal(w->packets, 1);
	guest_end(w, 1, fd);
}

static void dgram_link_closed_when_the_guest_goes(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_DGRAM);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	w->close_on_gone = true;
	guest_end(w, 1, fd);
	bed_send(w, 100, 0);
	RUN_UNTIL(w, !w->link);
}

/* ---- inherited ----------------------------------------------------------- */

static void dgram_fd_of_a_pair_serves_its_other_end(void **state)
{
	struct bed *w = *state;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	assert_int_equal(open_fd(w, SOCK_DGRAM, sv[0]), 0);
	assert_false(w->link->listens);
	send_arp(w, sv[1], 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	bed_send(w, 300, 3);
	read_frame(w, sv[1], 300, 3);
	close(sv[1]);
	bed_send(w, 300, 4);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->gone_err, 0);
}

/* By whoever kept a copy of it. */
static void dgram_fd_that_is_shut_down_is_gone(void **state)
{
	struct bed *w = *state;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	assert_int_equal(open_fd(w, SOCK_DGRAM, sv[0]), 0);
	send_arp(w, sv[1], 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	send_arp(w, sv[1], 1, 60);
	shutdown(sv[0], SHUT_RD);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->gone_err, 0);
	assert_int_equal(w->packets, 2);
	close(sv[1]);
}

static void dgram_fd_of_a_process_that_ends_is_gone(void **state)
{
	struct bed *w = *state;
	int sv[2], hold[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	assert_int_equal(open_fd(w, SOCK_DGRAM, sv[0]), 0);
	pid = fork_guest(w, sv[1], hold[0]);
	close(sv[1]);
	RUN_UNTIL(w, w->packets == 1);
	kill(pid, SIGKILL);
	run_until_gone(w, 1);
	waitpid(pid, NULL, 0);
	close(hold[0]);
	close(hold[1]);
}

/* Whose other end somebody else holds too is not gone with one process. */
static void dgram_fd_shared_by_processes_stays(void **state)
{
	struct bed *w = *state;
	int sv[2], hold[2];
	uint8_t buf[128];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	assert_int_equal(open_fd(w, SOCK_DGRAM, sv[0]), 0);
	pid = fork_guest(w, sv[1], hold[0]);
	RUN_UNTIL(w, w->packets == 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (uint64_t end = bed_deadline();
	     recv(sv[1], buf, 128, MSG_DONTWAIT) < 0;) {
		assert_true(uv_hrtime() < end); /* the probe's */
		bed_run(w);
	}
	assert_int_equal(buf[12] << 8 | buf[13], 0x88b5);
	send_arp(w, sv[1], 1, 60);
	RUN_UNTIL(w, w->packets == 2);
	assert_int_equal(w->gone, 0);
	close(sv[1]);
	close(hold[0]);
	close(hold[1]);
}

static void dgram_fd_that_is_bound_awaits_its_guest(void **state)
{
	struct bed *w = *state;
	struct sockaddr_un sa = address(w->path);
	int own = socket(AF_UNIX, SOCK_DGRAM, 0), fd;

	assert_int_equal(bind(own, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(open_fd(w, SOCK_DGRAM, own), 0);
	assert_true(w->link->listens);
	fd = guest_new(w, 1);
	send_arp(w, fd, 0, 60);
	RUN_UNTIL(w, w->packets == 1);
	guest_end(w, 1, fd);
	unlink(w->path);
}

static void fds_of_no_use_are_refused(void **state)
{
	struct bed *w = *state;
	int dgram = socket(AF_UNIX, SOCK_DGRAM, 0);
	int seq = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	int file = open("/dev/null", O_RDWR);

	assert_int_equal(open_fd(w, SOCK_DGRAM, dgram), -ENOTCONN);
	assert_int_equal(open_fd(w, SOCK_SEQPACKET, seq), -ENOTCONN);
	assert_int_equal(open_fd(w, SOCK_SEQPACKET, dgram), -EPROTOTYPE);
	assert_int_equal(open_fd(w, SOCK_DGRAM, file), -ENOTSOCK);
	assert_int_equal(open_fd(w, SOCK_DGRAM, -1), -EBADF);
	assert_int_equal(close(dgram) | close(seq) | close(file), 0);
}

/* ---- messages ------------------------------------------------------------ */

static void seqpacket_frames_cross_and_guests_come_again(void **state)
{
	struct bed *w = *state;
	int fd, second;

	listen_on(w, SOCK_SEQPACKET);
	for (unsigned i = 0; i < 3; i++) {
		fd = dial(w);
		w->next = 0;
		w->packets = 0;
		for (uint32_t nr = 0; nr < 500; nr++)
			send_arp(w, fd, nr, 42 + nr * 100);
		RUN_UNTIL(w, w->packets == 500);
		bed_send(w, 1400, 9);
		read_frame(w, fd, 1400, 9);
		second = dial(w);
		assert_int_equal(w->warnings, i + 1);
		assert_non_null(strstr(w->line, "second guest refused"));
		close(second);
		close(fd);
		RUN_UNTIL(w, w->gone == i + 1);
		assert_int_equal(w->gone_err, 0);
	}
	assert_true(w->in_order);
}

static void seqpacket_last_frames_are_read(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_SEQPACKET);
	fd = dial(w);
	bed_send(w, 100, 0); /* unread at the end: ECONNRESET */
	bed_run(w);
	for (uint32_t nr = 0; nr < 10; nr++)
		send_arp(w, fd, nr, 60);
	close(fd);
	RUN_UNTIL(w, w->gone == 1);
	assert_int_equal(w->packets, 10);
	assert_int_equal(w->gone_err, 0);
	assert_int_equal(w->link->stats.drop_size, 0);
}

static void seqpacket_message_of_nothing_is_no_end(void **state)
{
	struct bed *w = *state;
	int fd;

	listen_on(w, SOCK_SEQPACKET);
	fd = dial(w);
	assert_int_equal(send(fd, "", 0, 0), 0);
	send_arp(w, fd, 0, 60);
	assert_int_equal(send(fd, "", 0, 0), 0);
	RUN_UNTIL(w, w->link->stats.drop_size == 2);
	send_arp(w, fd, 1, 60);
	RUN_UNTIL(w, w->packets == 2);
	assert_int_equal(w->gone, 0);
	close(fd);
	RUN_UNTIL(w, w->gone == 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(dgram_frames_cross_both_ways),
		TEST(dgram_queue_limit_does_not_apply_after_the_first),
		TEST(dgram_sizes_mixed_arrive_in_order),
		TEST(dgram_of_impossible_size_is_dropped_and_counted),
		TEST(dgram_others_are_refused_while_there_is_a_guest),
		TEST(dgram_guest_without_a_name_is_told_in_the_log),
		TEST(dgram_guest_gone_is_noticed_by_a_send),
		TEST(dgram_guest_of_the_same_path_is_served_again),
		TEST(dgram_silent_guest_gone_is_noticed_in_time),
		TEST(dgram_guest_whose_process_ends_is_gone_at_once),
		TEST(dgram_backpressure_loses_nothing),
		TEST(dgram_guest_that_is_not_connected_gets_all),
		TEST(dgram_link_closed_from_inside),
		TEST(dgram_link_closed_when_the_guest_goes),
		TEST(dgram_fd_of_a_pair_serves_its_other_end),
		TEST(dgram_fd_that_is_shut_down_is_gone),
		TEST(dgram_fd_of_a_process_that_ends_is_gone),
		TEST(dgram_fd_shared_by_processes_stays),
		TEST(dgram_fd_that_is_bound_awaits_its_guest),
		TEST(fds_of_no_use_are_refused),
		TEST(seqpacket_frames_cross_and_guests_come_again),
		TEST(seqpacket_last_frames_are_read),
		TEST(seqpacket_message_of_nothing_is_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
