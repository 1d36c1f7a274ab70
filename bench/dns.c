/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dns: what dnsperf lacks.
 *
 *   serve ADDR     a resolver that is never what limits: every question is
 *                  answered with one A record, a batch with two system calls
 *   one ADDR MS    one question after the other (dnsperf sleeps between them)
 *
 * Names are new ones each time, so that no cache knows them.
 */
#include <poll.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	BATCH = 64,
	ROOM = 1024,
	QUERY_MAX = 512,
	HEADER = 12,
	DNS_PORT = 53,
	BUFFER = 8 << 20,
	SAMPLES = 1 << 20,
	PATIENCE_MS = 1000,
	LOST_MAX = 3,
};

struct batch {
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in from[BATCH];
	unsigned char data[BATCH][ROOM];
};

/* ---- the resolver ---- */

/* The name of the question, A, IN, an hour, 192.0.2.1 */
static const unsigned char record[] = { 0xc0, HEADER, 0, 1, 0,	 1, 0, 0,
					0x0e, 0x10,   0, 4, 192, 0, 2, 1 };

/* Turns the query into its answer. Returns the length; 0: it was none. */
static size_t answer(unsigned char *q, size_t len)
{
	size_t at = HEADER;

	while (at < len && q[at] != 0 && q[at] < 0xc0)
		at += q[at] + 1u;
	at += 1 + 4; /* the root, type, class */
	if (at > len)
		return 0;
	q[2] |= 0x80; /* QR */
	q[3] = 0x80; /* RA, NOERROR */
	memset(q + 6, 0, 6);
	q[7] = 1;
	memcpy(q + at, record, sizeof(record));
	return at + sizeof(record);
}

static int receive(int fd, struct batch *b)
{
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){ b->data[i], QUERY_MAX };
		b->m[i].msg_hdr =
			(struct msghdr){ .msg_name = &b->from[i],
					 .msg_namelen = sizeof(b->from[i]),
					 .msg_iov = &b->iov[i],
					 .msg_iovlen = 1 };
	}
	return recvmmsg(fd, b->m, BATCH, MSG_WAITFORONE, NULL);
}

__attribute__((noreturn)) static void serve(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), n = BUFFER;
	static struct batch b;

	if (fd < 0 || bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		die("bind");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &n, sizeof(n));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &n, sizeof(n));
	puts("{\"ready\": true}");
	fflush(stdout);
	for (;;) {
		n = receive(fd, &b);
		for (int i = 0; i < n; i++)
			b.iov[i].iov_len = answer(b.data[i], b.m[i].msg_len);
		for (int i = 0, r = 0; i<n; i += r> 0 ? r : 1)
			r = sendmmsg(fd, b.m + i, (unsigned)(n - i), 0);
	}
}

/* ---- one after the other ---- */

/* A question for an A record. Returns its length. */
static size_t question(unsigned char *q, uint32_t run, uint32_t n)
{
	size_t at = HEADER;

	memset(q, 0, QUERY_MAX);
	q[0] = (unsigned char)(n >> 8);
	q[1] = (unsigned char)n;
	q[2] = 1; /* RD */
	q[5] = 1;
	/* Two labels; the string's own end is the root. */
	at += 1u + (size_t)snprintf((char *)q + at, QUERY_MAX - HEADER,
				    "\x0c%04x%08x\x04test", run & 0xffff, n);
	q[at + 1] = 1;
	q[at + 3] = 1;
	return at + 4;
}

static bool asked(int fd, const unsigned char *q, size_t len)
{
	unsigned char a[QUERY_MAX];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (send(fd, q, len, 0) != (ssize_t)len)
		return false;
	/* Late answers of others are not counted. */
	while (poll(&p, 1, PATIENCE_MS) == 1) {
		n = recv(fd, a, sizeof(a), 0);
		if (n < 0)
			return false;
		if (n > HEADER && memcmp(a, q, 2) == 0)
			return a[3] == 0x80 && a[7] == 1;
	}
	return false;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int one(const struct sockaddr_in *to, uint32_t run_ms)
{
	uint32_t *sample = alloc(SAMPLES, sizeof(*sample));
	uint64_t begin = now_ns(), end = begin + ms(run_ms), from;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t n = 0, lost = 0, run = (uint32_t)(begin >> 12);
	unsigned char q[QUERY_MAX];
	size_t len, p50, p99;

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		die("connect");
	while ((from = now_ns()) < end && n < SAMPLES && lost < LOST_MAX) {
		len = question(q, run, n + lost);
		if (asked(fd, q, len))
			sample[n++] = (uint32_t)(now_ns() - from);
		else
			lost++;
	}
	qsort(sample, n, sizeof(*sample), by_value);
	printf("{\"counted\": %u, \"seconds\": %.3f, \"failed\": %u", n,
	       (double)(now_ns() - begin) / 1e9, lost);
	p50 = n / 2;
	p99 = n - 1 - n / 100;
	if (n)
		printf(", \"p50_us\": %.1f, \"p99_us\": %.1f",
		       sample[p50] / 1e3, sample[p99] / 1e3);
	puts("}");
	free(sample);
	close(fd);
	return lost != 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(DNS_PORT) };

	if (argc > 2 && inet_pton(AF_INET, argv[2], &sa.sin_addr) == 1) {
		if (argc == 3 && strcmp(argv[1], "serve") == 0)
			serve(&sa);
		if (argc == 4 && strcmp(argv[1], "one") == 0)
			return one(&sa, (uint32_t)strtoul(argv[3], NULL, 10));
	}
	fputs("usage: dns serve ADDR\n       dns one ADDR MS\n", stderr);
	return 2;
}
