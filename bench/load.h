/* SPDX-License-Identifier: BSD-3-Clause */
/* What both ends of the bench's traffic share: see load.c for the theory. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	PERIOD = 262139, /* prime */
	CHUNK = 256 * 1024,
	MAX_PORTS = 64,
	GRACE_MS = 100, /* the sender outlasts the receiver's window */
	STUCK_S = 10,
	MAGIC = 0x6c6f6164,
};

enum mode { SINK = 1, SOURCE, ECHO };

struct request {
	uint32_t magic;
	uint32_t mode;
	uint32_t warm_ms;
	uint32_t run_ms;
	uint64_t length; /* 0: by time; else so many bytes, each compared */
	uint32_t light; /* neither end touches the payload */
	uint32_t pad;
};

struct report {
	uint64_t total;
	uint64_t counted; /* inside the window */
	uint64_t bad;
};

struct meter {
	struct report sum;
	uint64_t first_ns;
	uint64_t warm_ns;
	uint64_t run_ns;
	bool each_byte;
	bool light;
};

static unsigned char pattern[PERIOD + CHUNK];

static inline void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t ms(uint32_t n)
{
	return (uint64_t)n * 1000000u;
}

static inline void pattern_init(void)
{
	uint64_t x = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = (unsigned char)x;
	}
	for (size_t i = 0; i < CHUNK; i++)
		pattern[PERIOD + i] = pattern[i];
}

static inline void *alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("memory");
	return p;
}

/* ---- what a receiver does with a read ---- */

static inline void meter_init(struct meter *m, const struct request *r)
{
	*m = (struct meter){ .warm_ns = ms(r->warm_ms),
			     .run_ns = ms(r->run_ms),
			     .each_byte = r->length != 0,
			     .light = r->light != 0 };
}

static inline bool piece_ok(const struct meter *m, const unsigned char *buf,
			    size_t n)
{
	const unsigned char *want = pattern + m->sum.total % PERIOD;
	size_t edge = n < 8 ? n : 8;

	if (m->each_byte)
		return memcmp(buf, want, n) == 0;
	return memcmp(buf, want, edge) == 0 &&
	       memcmp(buf + n - edge, want + n - edge, edge) == 0;
}

static inline void meter_take(struct meter *m, const unsigned char *buf,
			      size_t n)
{
	uint64_t now = now_ns();

	if (m->first_ns == 0)
		m->first_ns = now;
	if (!m->light && !piece_ok(m, buf, n))
		m->sum.bad++;
	m->sum.total += n;
	now -= m->first_ns;
	if (now >= m->warm_ns && now < m->warm_ns + m->run_ns)
		m->sum.counted += n;
}

/* ---- sockets ---- */

static inline int tcp_socket(int flags)
{
	struct timeval stuck = { .tv_sec = STUCK_S };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
		die("cubic");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stuck, sizeof(stuck));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stuck, sizeof(stuck));
	return fd;
}

static inline bool send_all(int fd, const void *buf, size_t n)
{
	const unsigned char *p = buf;

	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* ---- bulk: the same at either end, a thread a stream ----
 *
 * A sender waits in epoll and not in send(2), which costs a relayed stream a
 * fifth on two processors; a receiver in recv(2). A light one may wait in
 * sendfile(2), which has no flag against it.
 */

static inline int pattern_file(void)
{
	int fd = memfd_create("pattern", MFD_CLOEXEC);

	if (fd < 0 || write(fd, pattern, CHUNK) != CHUNK)
		die("memfd");
	signal(SIGPIPE, SIG_IGN); /* sendfile has no flag for that */
	return fd;
}

/* Sends for a time, or as many bytes as asked for. Returns those sent. */
static inline uint64_t bulk_send(int fd, const struct request *r)
{
	uint64_t stop =
		now_ns() + ms(r->warm_ms) + ms(r->run_ms) + ms(GRACE_MS);
	struct epoll_event ev = { .events = EPOLLOUT };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	int file = r->light ? pattern_file() : -1;
	uint64_t sent = 0;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll");
	while (r->length ? sent < r->length : now_ns() < stop) {
		uint64_t left = r->length ? r->length - sent : CHUNK;
		size_t n = left < CHUNK ? (size_t)left : CHUNK;
		ssize_t k;

		if (epoll_wait(ep, &ev, 1, STUCK_S * 1000) != 1)
			break;
		k = r->light ? sendfile(fd, file, &(off_t){ 0 }, n) :
			       send(fd, pattern + sent % PERIOD, n,
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k < 0 && errno != EAGAIN)
			break;
		sent += k > 0 ? (uint64_t)k : 0;
	}
	close(ep);
	if (file >= 0)
		close(file);
	return sent;
}

/* Reads to the end. False: it was no end. */
static inline bool bulk_receive(int fd, const struct request *r,
				struct report *sum)
{
	unsigned char *buf = alloc(1, CHUNK);
	struct meter m;
	ssize_t n;

	meter_init(&m, r);
	/* What TCP truncates it does not copy (tcp(7)). */
	while ((n = recv(fd, buf, CHUNK, r->light ? MSG_TRUNC : 0)) > 0)
		meter_take(&m, buf, (size_t)n);
	*sum = m.sum;
	free(buf);
	return n == 0;
}

static inline void raise_nofile(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

#endif
