/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * udp: both ends of the bench's datagrams.
 *
 *   serve ADDR PORT       the host's side: sinks, sources, echoes
 *   put, get              as many datagrams as get through in a time
 *   put-free, get-free    the highest rate of which at most one in a thousand
 *                         is lost, found by halving
 *   rr                    one byte there and back
 *
 * A run is a number; datagrams carry it, so that latecomers of an earlier one
 * do not count. The sender sends bursts at even intervals and sleeps between
 * them, because both ends share a processor. Each command prints one line of
 * JSON. The receiver counts; its time is from its first datagram to its last.
 */
#include <getopt.h>
#include <poll.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	BATCH = 32,
	PAYLOAD_MAX = 1472,
	BURST_US = 250, /* between bursts */
	RATE_MAX = 4000000,
	RATE_LEAST = 2000,
	STEPS = 9,
	LOSS_PER_MILLE = 1,
	SETTLE_MS = 60, /* until the last datagram of a run has come */
	BUFFER = 8 << 20,
};

enum kind { DATA = 1, COUNT, SOURCE_OF };

struct head {
	uint32_t magic;
	uint16_t kind;
	uint16_t size;
	uint32_t run;
	uint32_t rate; /* a second; 0: as fast as it goes */
	uint32_t ms;
	uint32_t pad;
	uint64_t sent;
};

struct count {
	uint32_t run;
	uint64_t received, first_ns, last_ns;
};

struct options {
	struct sockaddr_in to;
	uint32_t size, run_ms, rate;
};

static int udp_socket(void)
{
	struct timeval stuck = { .tv_usec = 500000 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), n = BUFFER;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &n, sizeof(n));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &n, sizeof(n));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stuck, sizeof(stuck));
	return fd;
}

/* ---- a sender ---- */

static unsigned send_some(int fd, const struct sockaddr_in *to, unsigned n,
			  struct head *h)
{
	static unsigned char payload[PAYLOAD_MAX];
	struct iovec iov = { payload, h->size };
	struct mmsghdr m[BATCH];
	int r;

	memcpy(payload, h, h->size < sizeof(*h) ? h->size : sizeof(*h));
	for (unsigned i = 0; i < n; i++) {
		m[i].msg_hdr =
			(struct msghdr){ .msg_name = (void *)(uintptr_t)to,
					 .msg_namelen = sizeof(*to),
					 .msg_iov = &iov,
					 .msg_iovlen = 1 };
	}
	r = sendmmsg(fd, m, n, 0);
	return r > 0 ? (unsigned)r : 0;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
			       .tv_nsec = (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Returns how many were sent. */
static uint64_t send_run(int fd, const struct sockaddr_in *to,
			 const struct head *r)
{
	struct head h = {
		.magic = MAGIC, .kind = DATA, .size = r->size, .run = r->run
	};
	uint64_t begin = now_ns(), end = begin + ms(r->ms), now, due;
	uint64_t sent = 0;

	while ((now = now_ns()) < end) {
		due = r->rate ? (now - begin) * r->rate / 1000000000u + 1 :
				sent + BATCH;
		while (sent < due) {
			uint64_t n = due - sent < BATCH ? due - sent : BATCH;

			sent += send_some(fd, to, (unsigned)n, &h);
			if (now_ns() >= end)
				break;
		}
		if (r->rate)
			sleep_until(now + BURST_US * 1000ull);
	}
	return sent;
}

/* ---- a receiver ---- */

struct receiver {
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in from[BATCH];
	unsigned char data[BATCH][2048];
};

static int receive(struct receiver *r, int fd)
{
	for (int i = 0; i < BATCH; i++) {
		r->iov[i] = (struct iovec){ r->data[i], sizeof(r->data[i]) };
		r->m[i].msg_hdr =
			(struct msghdr){ .msg_name = &r->from[i],
					 .msg_namelen = sizeof(r->from[i]),
					 .msg_iov = &r->iov[i],
					 .msg_iovlen = 1 };
	}
	return recvmmsg(fd, r->m, BATCH, MSG_WAITFORONE, NULL);
}

static void take(struct count *c, const struct head *h)
{
	uint64_t now = now_ns();

	if (c->run != h->run)
		*c = (struct count){ .run = h->run, .first_ns = now };
	c->received++;
	c->last_ns = now;
}

/* ---- serving ---- */

static void serve_one(int fd, struct receiver *r, int i, struct count *c)
{
	const struct sockaddr_in *from = &r->from[i];
	size_t len = r->m[i].msg_len;
	struct head h;

	if (len < sizeof(h)) {
		sendto(fd, r->data[i], len, 0, (const struct sockaddr *)from,
		       sizeof(*from));
		return;
	}
	memcpy(&h, r->data[i], sizeof(h));
	if (h.magic != MAGIC)
		return;
	if (h.kind == DATA) {
		take(c, &h);
	} else if (h.kind == COUNT) {
		sendto(fd, c, sizeof(*c), 0, (const struct sockaddr *)from,
		       sizeof(*from));
	} else if (h.kind == SOURCE_OF) {
		h.sent = send_run(fd, from, &h);
		h.kind = COUNT;
		sleep_until(now_ns() + ms(SETTLE_MS));
		sendto(fd, &h, sizeof(h), 0, (const struct sockaddr *)from,
		       sizeof(*from));
	}
}

__attribute__((noreturn)) static void serve(const char *addr, const char *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	struct receiver *r = alloc(1, sizeof(*r));
	struct count c = { 0 };
	int fd = udp_socket(), n;

	sa.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, addr, &sa.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die("bind");
	puts("{\"ready\": true}");
	fflush(stdout);
	for (;;) {
		n = receive(r, fd);
		for (int i = 0; i < n; i++)
			serve_one(fd, r, i, &c);
	}
}

/* ---- clients ---- */

struct result {
	double loss; /* 0 to 1 */
	double per_second; /* at the receiver */
	uint64_t sent, received;
};

static uint32_t next_run(void)
{
	static uint32_t run;

	if (!run)
		run = (uint32_t)(now_ns() >> 10) | 1;
	return run++;
}

static void finish(struct result *x, uint64_t sent, const struct count *c)
{
	double s = (double)(c->last_ns - c->first_ns) / 1e9;

	x->sent = sent;
	x->received = c->received;
	x->loss = sent && c->received < sent ?
			  1 - (double)c->received / (double)sent :
			  0;
	x->per_second = s > 0 ? (double)c->received / s : 0;
}

static bool put(int fd, const struct options *o, uint32_t rate,
		struct result *x)
{
	struct head h = { .magic = MAGIC,
			  .kind = COUNT,
			  .size = (uint16_t)o->size,
			  .run = next_run(),
			  .rate = rate,
			  .ms = o->run_ms };
	uint64_t sent = send_run(fd, &o->to, &h);
	struct count c;

	for (int i = 0; i < 10; i++) {
		sleep_until(now_ns() + ms(SETTLE_MS));
		sendto(fd, &h, sizeof(h), 0, (const struct sockaddr *)&o->to,
		       sizeof(o->to));
		if (recv(fd, &c, sizeof(c), 0) == (ssize_t)sizeof(c) &&
		    c.run == h.run) {
			finish(x, sent, &c);
			return true;
		}
	}
	return false;
}

static bool get(int fd, const struct options *o, uint32_t rate,
		struct result *x)
{
	static struct receiver r;
	struct head h = { .magic = MAGIC,
			  .kind = SOURCE_OF,
			  .size = (uint16_t)o->size,
			  .run = next_run(),
			  .rate = rate,
			  .ms = o->run_ms };
	struct count c = { 0 };
	uint64_t give_up = now_ns() + ms(o->run_ms) + ms(1500);
	int n;

	sendto(fd, &h, sizeof(h), 0, (const struct sockaddr *)&o->to,
	       sizeof(o->to));
	while (now_ns() < give_up) {
		n = receive(&r, fd);
		for (int i = 0; i < n; i++) {
			struct head got;

			memcpy(&got, r.data[i], sizeof(got));
			if (got.magic != MAGIC || got.run != h.run)
				continue;
			if (got.kind == DATA) {
				take(&c, &got);
			} else {
				finish(x, got.sent, &c);
				return true;
			}
		}
	}
	return false;
}

typedef bool (*run_fn)(int fd, const struct options *o, uint32_t rate,
		       struct result *x);

static int flood(const struct options *o, run_fn run)
{
	struct result x = { 0 };
	bool ok = run(udp_socket(), o, o->rate, &x);

	printf("{\"counted\": %.0f, \"seconds\": 1, \"loss\": %.4f, "
	       "\"sent\": %llu, \"failed\": %d}\n",
	       x.per_second, x.loss, (unsigned long long)x.sent, !ok);
	return !ok;
}

/* Between a rate that passed and one that did not. */
static int search(const struct options *o, run_fn run)
{
	double low = RATE_LEAST, high = 0, rate = 100000;
	struct options step = *o;
	struct result x = { 0 };
	int fd = udp_socket();

	step.run_ms = o->run_ms / STEPS;
	for (int i = 0; i < STEPS; i++) {
		/* A rate that the sender cannot reach says nothing. */
		bool ok = run(fd, &step, (uint32_t)rate, &x) &&
			  x.loss * 1000 <= LOSS_PER_MILLE;
		double got = (double)x.sent * 1000 / step.run_ms;

		if (ok)
			low = got > low ? got : low;
		else
			high = rate;
		if (ok && got < rate * 0.8)
			break;
		rate = high > 0 ? (low + high) / 2 : rate * 2;
		if (rate > RATE_MAX || (high > 0 && high - low < low / 20))
			break;
	}
	printf("{\"counted\": %.0f, \"seconds\": 1, \"failed\": 0}\n", low);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int rr(const struct options *o)
{
	enum { SAMPLES = 1 << 20 };
	uint32_t *sample = alloc(SAMPLES, sizeof(*sample));
	uint64_t begin = now_ns(), end = begin + ms(o->run_ms), from;
	size_t n = 0, failed = 0;
	unsigned char byte = 0, back;
	int fd = udp_socket();

	if (connect(fd, (const struct sockaddr *)&o->to, sizeof(o->to)) < 0)
		die("connect");
	while ((from = now_ns()) < end && n < SAMPLES && failed < 3) {
		byte++;
		if (send(fd, &byte, 1, 0) == 1 && recv(fd, &back, 1, 0) == 1 &&
		    back == byte)
			sample[n++] = (uint32_t)(now_ns() - from);
		else
			failed++;
	}
	qsort(sample, n, sizeof(*sample), by_value);
	printf("{\"counted\": %zu, \"seconds\": %.3f, \"failed\": %zu", n,
	       (double)(now_ns() - begin) / 1e9, failed);
	if (n) {
		size_t p50 = n / 2, p99 = n - 1 - n / 100;

		printf(", \"p50_us\": %.1f, \"p99_us\": %.1f",
		       sample[p50] / 1e3, sample[p99] / 1e3);
	}
	puts("}");
	return failed != 0;
}

static int usage(void)
{
	fputs("usage: udp serve ADDR PORT\n"
	      "       udp put|get|put-free|get-free|rr -a ADDR -p PORT\n"
	      "           [-s SIZE] [-t RUN_MS] [-r RATE]\n",
	      stderr);
	return 2;
}

static bool options_parse(struct options *o, int argc, char **argv)
{
	int c;

	*o = (struct options){ .size = 64, .run_ms = 1000 };
	o->to.sin_family = AF_INET;
	while ((c = getopt(argc, argv, "a:p:s:t:r:")) != -1) {
		unsigned long n = strtoul(optarg ? optarg : "", NULL, 10);

		if (c == 'a')
			inet_pton(AF_INET, optarg, &o->to.sin_addr);
		else if (c == 'p')
			o->to.sin_port = htons((uint16_t)n);
		else if (c == 's')
			o->size = (uint32_t)n;
		else if (c == 't')
			o->run_ms = (uint32_t)n;
		else if (c == 'r')
			o->rate = (uint32_t)n;
		else
			return false;
	}
	return o->size >= sizeof(struct head) && o->size <= PAYLOAD_MAX &&
	       o->run_ms >= STEPS;
}

int main(int argc, char **argv)
{
	struct options o;

	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		serve(argv[2], argv[3]);
	if (argc < 2 || !options_parse(&o, argc - 1, argv + 1))
		return usage();
	if (strcmp(argv[1], "put") == 0)
		return flood(&o, put);
	if (strcmp(argv[1], "get") == 0)
		return flood(&o, get);
	if (strcmp(argv[1], "put-free") == 0)
		return search(&o, put);
	if (strcmp(argv[1], "get-free") == 0)
		return search(&o, get);
	return strcmp(argv[1], "rr") == 0 ? rr(&o) : usage();
}
