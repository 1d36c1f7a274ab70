/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load: the guest's side of the bench's traffic; `loadd` is the host's.
 *
 * One thread a stream, so that no client logic stands between a wake-up and
 * the next request. Each command prints one line of
 * JSON. What they share, the request and the pattern, is in load.h.
 *
 *   put, get   send, or receive, for a time or a fixed length
 *   rr         one byte there and back on one connection
 *   crr        connect, ask, get one byte, close, on as many ports in turn
 *   idle       open as many connections as each line on stdin says
 *
 * Throughput is what the *receiver* took between `warm` and `warm + run` after
 * its first byte: neither the sender's buffers nor slow start count.
 *
 * The payload repeats a pattern whose period is a prime, so a lost, doubled or
 * moved piece of any usual size shifts it. Receivers compare the first and the
 * last 8 bytes of each read, which costs nothing; with a fixed length (-l)
 * they compare each byte, and the total. A flood that is to cost the relay
 * rather than the load's processor (-z) is sent from a file and not read.
 *
 * cubic and TCP_NODELAY are set on every socket: a kernel whose default is
 * BBR paces, and would measure its pacing.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	MAX_THREADS = 64,
	MAX_SAMPLES = 1 << 21,
	MAX_IDLE = 1 << 20,
	IDLE_OPENERS = 16,
	IDLE_PINGS = 100,
	IDLE_FAILURES = 50,
	FAILURES_MAX = 3,
};

struct options {
	struct sockaddr_in to;
	uint16_t ports;
	uint32_t streams;
	uint32_t warm_ms;
	uint32_t run_ms;
	uint64_t length;
	bool light;
};

struct worker {
	pthread_t thread;
	const struct options *opt;
	unsigned int index;
	uint64_t begin_ns;
	struct report sum;
	uint64_t failed;
	uint32_t *sample; /* round trips in the window, ns */
	size_t samples;
	size_t sample_max;
};

struct pool {
	const struct options *opt;
	int *fd;
	size_t want;
	atomic_size_t open;
	atomic_size_t failed;
	uint64_t deadline_ns;
};

static bool recv_all(int fd, void *buf, size_t n)
{
	return recv(fd, buf, n, MSG_WAITALL) == (ssize_t)n;
}

static int dial(const struct options *o, unsigned int turn)
{
	struct sockaddr_in to = o->to;
	int fd = tcp_socket(0);

	if (fd < 0)
		return -1;
	to.sin_port = htons((uint16_t)(ntohs(to.sin_port) + turn % o->ports));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct request request_for(const struct options *o, enum mode mode)
{
	return (struct request){ .magic = MAGIC,
				 .mode = mode,
				 .warm_ms = o->warm_ms,
				 .run_ms = o->run_ms,
				 .length = o->length,
				 .light = o->light };
}

static int ask(const struct options *o, enum mode mode, unsigned int turn)
{
	struct request r = request_for(o, mode);
	int fd = dial(o, turn);

	if (fd >= 0 && !send_all(fd, &r, sizeof(r))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- clients: one thread a stream ---- */

static void *put_run(void *arg)
{
	struct worker *w = arg;
	struct request r = request_for(w->opt, SINK);
	int fd = ask(w->opt, SINK, w->index);
	uint64_t sent;

	if (fd < 0) {
		w->failed++;
		return NULL;
	}
	sent = bulk_send(fd, &r);
	shutdown(fd, SHUT_WR);
	if (!recv_all(fd, &w->sum, sizeof(w->sum)) || w->sum.total != sent)
		w->failed++;
	close(fd);
	return NULL;
}

static void *get_run(void *arg)
{
	struct worker *w = arg;
	struct request r = request_for(w->opt, SOURCE);
	int fd = ask(w->opt, SOURCE, w->index);

	if (fd < 0) {
		w->failed++;
		return NULL;
	}
	if (!bulk_receive(fd, &r, &w->sum) ||
	    (r.length && w->sum.total != r.length))
		w->failed++;
	close(fd);
	return NULL;
}

/*
 * One exchange: counted, and timed, when it worked inside the window. Returns
 * whether there is time for another.
 */
static bool worker_note(struct worker *w, uint64_t from, bool ok)
{
	uint64_t begin = w->begin_ns + ms(w->opt->warm_ms);
	uint64_t now = now_ns();

	w->sum.total++;
	if (!ok)
		w->failed++;
	if (now >= begin + ms(w->opt->run_ms) || w->failed >= FAILURES_MAX)
		return false;
	if (ok && from >= begin) {
		w->sum.counted++;
		if (w->samples < w->sample_max)
			w->sample[w->samples++] = (uint32_t)(now - from);
	}
	return true;
}

static bool exchange(int fd, unsigned char byte)
{
	unsigned char back = (unsigned char)~byte;

	return send_all(fd, &byte, 1) && recv_all(fd, &back, 1) && back == byte;
}

static void *rr_run(void *arg)
{
	struct worker *w = arg;
	int fd = ask(w->opt, ECHO, w->index);
	uint64_t from;
	bool ok;

	do {
		from = now_ns();
		ok = fd >= 0 && exchange(fd, (unsigned char)w->sum.total);
	} while (worker_note(w, from, ok) && ok);
	if (fd >= 0)
		close(fd);
	return NULL;
}

static bool crr_once(const struct worker *w, unsigned int turn)
{
	struct request r = request_for(w->opt, ECHO);
	unsigned char out[sizeof(r) + 1];
	unsigned char back = 0;
	int fd = dial(w->opt, turn);
	bool ok;

	if (fd < 0)
		return false;
	memcpy(out, &r, sizeof(r));
	out[sizeof(r)] = 'x';
	ok = send_all(fd, out, sizeof(out)) && recv_all(fd, &back, 1) &&
	     back == 'x';
	close(fd);
	return ok;
}

static void *crr_run(void *arg)
{
	struct worker *w = arg;
	unsigned int turn = w->index;
	uint64_t from;

	do {
		from = now_ns();
	} while (worker_note(w, from, crr_once(w, turn++)));
	return NULL;
}

static void workers_run(struct worker *w, const struct options *o,
			void *(*run)(void *))
{
	for (uint32_t i = 0; i < o->streams; i++) {
		w[i] = (struct worker){ .opt = o,
					.index = i,
					.begin_ns = now_ns(),
					.sample_max =
						MAX_SAMPLES / o->streams };
		w[i].sample = alloc(w[i].sample_max, sizeof(*w[i].sample));
		if (pthread_create(&w[i].thread, NULL, run, &w[i]) != 0)
			die("thread");
	}
	for (uint32_t i = 0; i < o->streams; i++)
		pthread_join(w[i].thread, NULL);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_latency(const struct worker *w, uint32_t n)
{
	uint32_t *all = alloc(MAX_SAMPLES, sizeof(*all));
	size_t k = 0, mid, tail;

	for (uint32_t i = 0; i < n; i++) {
		memcpy(all + k, w[i].sample, w[i].samples * sizeof(*all));
		k += w[i].samples;
	}
	qsort(all, k, sizeof(*all), by_value);
	mid = k / 2;
	tail = k / 100;
	if (k > 0)
		printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", all[mid] / 1e3,
		       all[k - 1 - tail] / 1e3);
	free(all);
}

static int client(const struct options *o, void *(*run)(void *))
{
	static struct worker w[MAX_THREADS];
	struct report sum = { 0 };
	uint64_t failed = 0;

	workers_run(w, o, run);
	for (uint32_t i = 0; i < o->streams; i++) {
		sum.total += w[i].sum.total;
		sum.counted += w[i].sum.counted;
		sum.bad += w[i].sum.bad;
		failed += w[i].failed;
	}
	printf("{\"total\": %llu, \"counted\": %llu, \"seconds\": %.3f, "
	       "\"bad\": %llu, \"failed\": %llu",
	       (unsigned long long)sum.total, (unsigned long long)sum.counted,
	       o->run_ms / 1e3, (unsigned long long)sum.bad,
	       (unsigned long long)failed);
	print_latency(w, o->streams);
	puts("}");
	return sum.bad || failed ? 1 : 0;
}

/* ---- connections that only stand there ---- */

static void *pool_opener(void *arg)
{
	struct pool *p = arg;

	while (now_ns() < p->deadline_ns &&
	       atomic_load(&p->failed) < IDLE_FAILURES) {
		size_t i = atomic_fetch_add(&p->open, 1);
		int fd;

		if (i >= p->want) {
			atomic_fetch_sub(&p->open, 1);
			break;
		}
		fd = ask(p->opt, ECHO, (unsigned int)i);
		p->fd[i] = fd;
		if (fd < 0 || !exchange(fd, (unsigned char)i))
			atomic_fetch_add(&p->failed, 1);
	}
	return NULL;
}

static void pool_grow(struct pool *p, size_t want)
{
	pthread_t t[IDLE_OPENERS];
	uint64_t begin = now_ns();

	p->want = want;
	p->deadline_ns = begin + ms(p->opt->run_ms);
	for (int i = 0; i < IDLE_OPENERS; i++)
		if (pthread_create(&t[i], NULL, pool_opener, p) != 0)
			die("thread");
	for (int i = 0; i < IDLE_OPENERS; i++)
		pthread_join(t[i], NULL);
	printf("{\"open\": %zu, \"failed\": %zu, \"seconds\": %.3f}\n",
	       atomic_load(&p->open) - atomic_load(&p->failed),
	       atomic_load(&p->failed), (double)(now_ns() - begin) / 1e9);
	fflush(stdout);
}

static void pool_ping(const struct pool *p)
{
	size_t open = atomic_load(&p->open);
	size_t alive = 0;

	for (size_t i = 0; i < IDLE_PINGS; i++) {
		int fd = p->fd[i * open / IDLE_PINGS];

		if (fd >= 0 && exchange(fd, (unsigned char)i))
			alive++;
	}
	printf("{\"pinged\": %d, \"alive\": %zu}\n", IDLE_PINGS, alive);
}

/* Each line on stdin is how many shall be open; at its end some are tried. */
static int idle(const struct options *o)
{
	struct pool p = { .opt = o };
	char line[32];

	p.fd = alloc(MAX_IDLE, sizeof(*p.fd));
	while (fgets(line, sizeof(line), stdin)) {
		size_t want = strtoul(line, NULL, 10);

		if (want > MAX_IDLE)
			die("count");
		pool_grow(&p, want);
	}
	pool_ping(&p);
	return 0;
}

/* ---- command line ---- */

static int usage(void)
{
	fputs("usage: load put|get|rr|crr|idle -a ADDR -p PORT\n"
	      "            [-P PORTS] [-n STREAMS] [-w WARM_MS] [-t RUN_MS]\n"
	      "            [-l LENGTH (fixed, each byte compared)]\n"
	      "            [-z (no payload is copied or looked at)]\n",
	      stderr);
	return 2;
}

static bool options_parse(struct options *o, int argc, char **argv)
{
	int c;

	*o = (struct options){ .ports = 1, .streams = 1, .run_ms = 1000 };
	o->to.sin_family = AF_INET;
	while ((c = getopt(argc, argv, "a:p:P:n:w:t:l:z")) != -1) {
		unsigned long long n = strtoull(optarg ? optarg : "", NULL, 10);

		switch (c) {
		case 'a':
			inet_pton(AF_INET, optarg, &o->to.sin_addr);
			break;
		case 'p':
			o->to.sin_port = htons((uint16_t)n);
			break;
		case 'P':
			o->ports = (uint16_t)n;
			break;
		case 'n':
			o->streams = (uint32_t)n;
			break;
		case 'w':
			o->warm_ms = (uint32_t)n;
			break;
		case 't':
			o->run_ms = (uint32_t)n;
			break;
		case 'l':
			o->length = n;
			break;
		case 'z':
			o->light = true;
			break;
		default:
			return false;
		}
	}
	if (o->light && o->length)
		return false; /* nobody would compare */
	return o->to.sin_port != 0 && o->ports > 0 && o->ports <= MAX_PORTS &&
	       o->streams > 0 && o->streams <= MAX_THREADS;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void *(*run)(void *);
	} clients[] = { { "put", put_run },
			{ "get", get_run },
			{ "rr", rr_run },
			{ "crr", crr_run } };
	struct options o;

	if (argc < 2 || !options_parse(&o, argc - 1, argv + 1))
		return usage();
	raise_nofile();
	pattern_init();
	if (strcmp(argv[1], "idle") == 0)
		return idle(&o);
	for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
		if (strcmp(argv[1], clients[i].name) == 0)
			return client(&o, clients[i].run);
	return usage();
}
