/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-process link, beside the tap link, in one process: a relay on a
 * thread of its own, servers on others, and a guest. With the link `inproc` the
 * guest is a thread that plays VMM and TCP/IP of each of its links: it pushes
 * segments of a size that is asked for, acknowledges what it pops (copied out,
 * as into a guest's memory), and sleeps when there is nothing to do. Nothing is
 * lost on such a link, so its TCP needs no timers. With `tap` it is a thread in
 * a network namespace with the kernel's TCP.
 *
 *     inproc LINK MODE LINKS MS FRAME [SPIN]     LINK inproc or tap (1 link)
 *
 * MODE is put (guest to host), get, rr (a byte there and back) or idle; FRAME
 * 65536 or 1500; SPIN: microseconds that the guest looks on before it sleeps, as
 * VMMs do. One line of JSON: bytes and frames in the window, what the
 * link cost in wake-ups and system calls (of its own: not those of host
 * sockets), latencies. The relay has the first processor, all else the last.
 */
#include "netif/inproc.h"
#include "netif/tap.h"
#include "platform/tap.h"
#include "relay/relay.h"

#include "core/csum.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
	LINKS_MAX = 256,
	MSS = 1460,
	BULK = 44 * MSS, /* of a 64 KiB frame */
	V1 = 12,
	HDR = 14 + 20 + 20,
	WSCALE = 7,
	WINDOW = 4 << 20, /* of the guest */
	POPS = 16,
	RTT_MAX = 1 << 20,
	WARM_MS = 200,
};

enum mode { PUT, GET, RR, IDLE };

struct link {
	struct lwr_link *link;
	struct lwr_inproc *far;
	uint32_t una, nxt, window, rcv; /* TCP, from the guest's view */
	bool open;
	bool owes_ack;
	bool asked; /* rr: a byte is on its way */
	uint64_t sent_ns;
};

static struct {
	enum mode mode;
	bool tap;
	unsigned links;
	uint64_t run_ms;
	uint64_t spin_ns;
	uint32_t segment; /* payload of a frame to the host */
	bool large;
	in_port_t port;
	uv_loop_t uv;
	uv_async_t stop;
	uv_prepare_t turn;
	struct lwr_relay relay;
	struct link link[LINKS_MAX];
	int tap_fd;
	_Atomic int bell; /* of all links */
	_Atomic bool asleep; /* the guest's thread is about to sleep on it */
	_Atomic uint64_t turns; /* of the loop */
	_Atomic uint64_t sleeps, rings; /* of the guest's thread */
	_Atomic uint64_t bytes; /* payload that arrived where it should */
	_Atomic bool done;
	uint32_t *rtt;
	_Atomic uint32_t rtts;
	pthread_barrier_t ready;
} b;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void pin(bool relay)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(relay ? 0 : (size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg))
		die("pthread_create");
	pthread_detach(t);
}

static void add_bytes(size_t n)
{
	atomic_fetch_add_explicit(&b.bytes, n, memory_order_relaxed);
}

/* ---- the server ------------------------------------------------------------ */

static void *serve(void *arg)
{
	static char zeros[256 * 1024];
	int fd = (int)(intptr_t)arg, one = 1;
	char *buf = malloc(sizeof(zeros));
	ssize_t n = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* One guest's thread beside hundreds of servers gets its share. */
	if (b.links > 1)
		setpriority(PRIO_PROCESS, (id_t)gettid(), 19);
	while (n > 0 && b.mode == GET)
		n = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);
	while (n > 0) {
		n = recv(fd, buf, sizeof(zeros), 0);
		if (b.mode == RR && n > 0)
			n = send(fd, buf, (size_t)n, MSG_NOSIGNAL);
		else if (n > 0)
			add_bytes((size_t)n);
	}
	free(buf);
	close(fd);
	return NULL;
}

static void *listener(void *arg)
{
	int fd;

	while ((fd = accept((int)(intptr_t)arg, NULL, NULL)) >= 0)
		start(serve, (void *)(intptr_t)fd);
	return NULL;
}

static void start_server(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 512))
		die("listen");
	getsockname(fd, (struct sockaddr *)&sa, &len);
	b.port = ntohs(sa.sin_port);
	start(listener, (void *)(intptr_t)fd);
}

/* ---- the relay ------------------------------------------------------------- */

static void on_log(void *arg, enum lwr_level level, const char *line)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%s\n", line);
}

static void on_turn(uv_prepare_t *h)
{
	(void)h;
	atomic_fetch_add_explicit(&b.turns, 1, memory_order_relaxed);
}

static void on_closed(struct lwr_relay *r)
{
	(void)r;
	uv_close((uv_handle_t *)&b.stop, NULL);
	uv_close((uv_handle_t *)&b.turn, NULL);
}

static void on_stop(uv_async_t *h)
{
	(void)h;
	lwr__relay_close(&b.relay);
}

/* As virtio has it: rings once, and only if the guest's thread sleeps. */
static void on_wake(void *arg, int dir)
{
	(void)arg;
	(void)dir;
	if (!atomic_exchange(&b.asleep, false))
		return;
	atomic_fetch_add_explicit(&b.rings, 1, memory_order_relaxed);
	eventfd_write(b.bell, 1);
}

static int add_link(unsigned i, const struct lwr_net *net)
{
	struct lwr_inproc_opts o = { .vnet = true,
				     .offload = b.large,
				     .wake = on_wake };
	struct lwr_link_setup setup = { .name = "bench", .net = net };

	struct lwr_tap tap = { .fd = b.tap_fd, .vnet = true };

	if (b.tap)
		return lwr__tap_new(&b.relay.stack, &setup, &tap,
				    &b.link[i].link);
	return lwr__inproc_new(&b.relay.stack, "bench", net, &o,
			       &b.link[i].link, &b.link[i].far);
}

static void *relay_thread(void *arg)
{
	struct lwr_log log = { LWR_LOG_WARN, on_log, NULL };
	static struct lwr_config config;

	(void)arg;
	pin(true);
	lwr__config_init(&config);
	config.net.host_loopback = true;
	config.net.ipv6 = false;
	uv_loop_init(&b.uv);
	uv_async_init(&b.uv, &b.stop, on_stop);
	uv_prepare_init(&b.uv, &b.turn);
	uv_prepare_start(&b.turn, on_turn);
	if (lwr__relay_init(&b.relay, &b.uv, &config, &log, on_closed))
		die("relay");
	for (unsigned i = 0; i < b.links; i++) {
		if (add_link(i, &b.relay.config.net))
			die("link");
	}
	pthread_barrier_wait(&b.ready);
	uv_run(&b.uv, UV_RUN_DEFAULT);
	return NULL;
}

/* ---- a guest's TCP --------------------------------------------------------- */

static void put32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, 4);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return ntohl(v);
}

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
/* MSS 1460, window scale. */
static const uint8_t syn_opts[8] = { 2, 4, 5, 0xb4, 1, 3, 3, WSCALE };

/* Header of a segment with so much payload; options only with SYN. */
static size_t put_headers(struct link *l, uint8_t *h, uint8_t flags,
			  uint32_t payload)
{
	const struct lwr_net *net = &b.relay.config.net;
	size_t opts = flags & TH_SYN ? 8 : 0;
	uint8_t *ip = h + V1 + 14, *th = ip + 20;
	struct virtio_net_hdr_v1 v = { 0 };
	uint32_t len = 20 + (uint32_t)opts + payload;
	uint16_t sum;

	memset(h, 0, V1 + HDR + opts);
	v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	v.csum_start = 34;
	v.csum_offset = 16;
	if (payload > MSS) {
		v.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		v.gso_size = MSS;
		v.hdr_len = HDR;
	}
	memcpy(h, &v, V1);
	memcpy(h + V1, net->gateway_mac, 6);
	memcpy(h + V1 + 6, guest_mac, sizeof(guest_mac));
	h[V1 + 12] = 8;
	put32(ip, 0x45000000 | (20 + len));
	put32(ip + 8, 0x40060000);
	memcpy(ip + 12, net->guest.b + 12, 4);
	memcpy(ip + 16, net->gateway.b + 12, 4);
	sum = lwr__csum(0, ip, 20);
	memcpy(ip + 10, &sum, 2);
	put32(th, 40000u << 16 | b.port);
	put32(th + 4, l->nxt);
	put32(th + 8, l->rcv);
	put32(th + 12, (uint32_t)(5 + opts / 4) << 28 | (uint32_t)flags << 16 |
			       (WINDOW >> (opts ? 16 : WSCALE)));
	if (opts)
		memcpy(th + 20, syn_opts, sizeof(syn_opts));
	return V1 + HDR + opts;
}

/* Pushes up to n equal segments. Returns how many were taken. */
static unsigned send_segments(struct link *l, uint8_t flags, uint32_t payload,
			      unsigned n)
{
	static uint8_t bulk[BULK], hdr[POPS][V1 + HDR + 8];
	struct lwr_inproc_frame f[POPS];
	struct iovec iov[POPS][2];
	uint32_t nxt = l->nxt;
	int r;

	for (unsigned i = 0; i < n; i++) {
		iov[i][0].iov_base = hdr[i];
		iov[i][0].iov_len = put_headers(l, hdr[i], flags, payload);
		iov[i][1] = (struct iovec){ bulk, payload };
		f[i] = (struct lwr_inproc_frame){ iov[i], 2, 0 };
		l->nxt += payload;
	}
	r = lwr__inproc_push(l->far, f, n);
	n = r > 0 ? (unsigned)r : 0;
	l->nxt = nxt + n * payload + (n && (flags & TH_SYN) ? 1 : 0);
	l->owes_ack = l->owes_ack && !n;
	return n;
}

static void on_segment(struct link *l, const uint8_t *p, uint32_t len)
{
	const uint8_t *ip = p + V1 + 14, *th = ip + 20;
	uint32_t hlen, total, payload;
	uint8_t flags;

	if (len < V1 + HDR || p[V1 + 12] != 8 || p[V1 + 13] || ip[9] != 6)
		return;
	flags = th[13];
	if (flags & TH_RST) {
		fprintf(stderr, "reset\n");
		exit(1);
	}
	hlen = (uint32_t)(th[12] >> 4) * 4;
	total = get32(ip) & 0xffff;
	payload = total - 20 - hlen;
	l->una = get32(th + 8);
	l->window = (get32(th + 12) & 0xffff) << (flags & TH_SYN ? 0 : WSCALE);
	if (flags & TH_SYN) {
		l->rcv = get32(th + 4) + 1;
		l->open = true;
		l->owes_ack = true;
	}
	if (payload == 0 || get32(th + 4) != l->rcv)
		return;
	l->rcv += payload;
	l->owes_ack = true;
	if (b.mode == GET)
		add_bytes(payload);
	if (b.mode == RR) {
		if (b.rtts < RTT_MAX)
			b.rtt[b.rtts++] = (uint32_t)(now_ns() - l->sent_ns);
		l->asked = false;
	}
}

static bool receive(struct link *l)
{
	static uint8_t buf[POPS][V1 + 65536];
	struct lwr_inproc_buf bufs[POPS];
	struct iovec iov[POPS];
	int n;

	for (unsigned i = 0; i < POPS; i++) {
		iov[i] = (struct iovec){ buf[i], sizeof(buf[i]) };
		bufs[i] = (struct lwr_inproc_buf){ &iov[i], 1, 0 };
	}
	n = lwr__inproc_pop(l->far, bufs, POPS);
	for (int i = 0; i < n; i++)
		on_segment(l, buf[i], bufs[i].len);
	return n > 0;
}

static bool transmit(struct link *l)
{
	uint32_t room = l->window - (l->nxt - l->una), n;

	if (!l->open)
		return false;
	if (b.mode == RR && !l->asked) {
		l->sent_ns = now_ns();
		l->asked = send_segments(l, TH_ACK | TH_PUSH, 1, 1) == 1;
		return l->asked;
	}
	if (b.mode == PUT && (int32_t)room >= (int32_t)b.segment) {
		n = room / b.segment;
		n = send_segments(l, TH_ACK, b.segment, n < POPS ? n : POPS);
		if (n)
			return true;
	}
	return l->owes_ack && send_segments(l, TH_ACK, 0, 1) == 1;
}

/* ---- the guest's thread ---------------------------------------------------- */

/* Sleeps, unless one of the links has something by now. */
static void doze(void)
{
	bool sleep = true;
	eventfd_t n;

	atomic_store(&b.asleep, true);
	for (unsigned i = 0; i < b.links; i++) {
		struct link *l = &b.link[i];

		sleep &= lwr__inproc_arm(l->far, LWR_INPROC_H2G) == 0;
		if (b.mode == PUT && l->window - (l->nxt - l->una) >= b.segment)
			sleep &= lwr__inproc_arm(l->far, LWR_INPROC_G2H) == 0;
	}
	if (!sleep && atomic_exchange(&b.asleep, false))
		return;
	atomic_fetch_add_explicit(&b.sleeps, 1, memory_order_relaxed);
	eventfd_read(b.bell, &n);
}

static void *vmm_thread(void *arg)
{
	uint64_t last = 0;
	bool busy;

	(void)arg;
	pin(false);
	for (unsigned i = 0; i < b.links; i++) {
		b.link[i].una = b.link[i].nxt = 1000;
		send_segments(&b.link[i], TH_SYN, 0, 1);
	}
	while (!atomic_load_explicit(&b.done, memory_order_relaxed)) {
		busy = false;
		for (unsigned i = 0; i < b.links; i++) {
			busy |= receive(&b.link[i]);
			busy |= transmit(&b.link[i]);
		}
		if (busy)
			last = b.spin_ns ? now_ns() : 0;
		else if (!b.spin_ns || now_ns() - last > b.spin_ns)
			doze();
	}
	return NULL;
}

/* Gives eth0 of this namespace the guest's address, MTU 1500. */
static void configure(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq r = { .ifr_name = "eth0" };

	sa.sin_addr.s_addr = htonl(0x0a00020f);
	memcpy(&r.ifr_addr, &sa, sizeof(sa));
	if (ioctl(s, SIOCSIFADDR, &r))
		die("address");
	sa.sin_addr.s_addr = htonl(0xffffff00);
	memcpy(&r.ifr_netmask, &sa, sizeof(sa));
	ioctl(s, SIOCSIFNETMASK, &r);
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &r))
		die("up");
	close(s);
}

static void *kernel_thread(void *arg)
{
	static char buf[256 * 1024];
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd = (int)(intptr_t)arg, one = 1;
	ssize_t n = 1;

	pin(false);
	sa.sin_addr.s_addr = htonl(0x0a000202);
	sa.sin_port = htons(b.port);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("connect");
	while (n > 0 && b.mode != IDLE) {
		uint64_t begin = now_ns();

		if (b.mode != GET)
			n = send(fd, buf, b.mode == RR ? 1 : sizeof(buf),
				 MSG_NOSIGNAL);
		if (b.mode != PUT)
			n = recv(fd, buf, sizeof(buf), 0);
		if (b.mode == GET && n > 0)
			add_bytes((size_t)n);
		if (b.mode == RR && b.rtts < RTT_MAX)
			b.rtt[b.rtts++] = (uint32_t)(now_ns() - begin);
	}
	return NULL;
}

/* A tap in a namespace of its own, and the guest's socket there. */
static void *open_tap(void *arg)
{
	struct lwr_tap tap;

	if (unshare(CLONE_NEWNET))
		die("unshare");
	if (lwr__tap_open("eth0", &tap))
		die("tap");
	configure();
	b.tap_fd = tap.fd;
	*(int *)arg = socket(AF_INET, SOCK_STREAM, 0);
	return NULL;
}

/* ---- the measurement ------------------------------------------------------- */

struct sample {
	uint64_t at, bytes, turns, sleeps, rings, frames_g2h, frames_h2g;
	uint64_t wakes_loop;
	uint32_t rtts;
};

static void take(struct sample *s)
{
	struct lwr_inproc_wakes w;

	*s = (struct sample){ .at = now_ns(),
			      .bytes = b.bytes,
			      .turns = b.turns,
			      .sleeps = b.sleeps,
			      .rings = b.rings,
			      .rtts = b.rtts };
	for (unsigned i = 0; i < b.links; i++) {
		/* A figure: read while the relay may write it. */
		s->frames_g2h += b.link[i].link->stats.frames_g2h;
		s->frames_h2g += b.link[i].link->stats.frames_h2g;
		if (b.tap)
			continue;
		lwr__inproc_wakes(b.link[i].far, &w);
		s->wakes_loop += w.loop;
	}
}

static int compare(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, c = *(const uint32_t *)y;

	return a < c ? -1 : a > c;
}

static double percentile_us(const uint32_t *sorted, uint32_t n, uint32_t pc)
{
	uint32_t at = (uint32_t)((uint64_t)n * pc / 100);

	return n ? (double)sorted[at] / 1e3 : 0;
}

static void print(const struct sample *s, const struct sample *e)
{
	double sec = (double)(e->at - s->at) / 1e9;
	double frames = (double)(e->frames_g2h - s->frames_g2h + e->frames_h2g -
				 s->frames_h2g);
	uint64_t wakes = e->wakes_loop - s->wakes_loop;
	uint64_t turns = e->turns - s->turns;
	/*
	 * A turn is an epoll_wait; a wake of either side a write and a read,
	 * but of all posts in a turn only the first one writes.
	 */
	uint64_t calls = turns + 2 * (wakes < turns ? wakes : turns) +
			 e->sleeps - s->sleeps + e->rings - s->rings;
	uint32_t n = e->rtts - s->rtts;
	const uint32_t *rtt = b.rtt + s->rtts;

	qsort(b.rtt + s->rtts, n, sizeof(*rtt), compare);
	printf("{\"gbit\": %.3f, \"frames_g2h\": %.0f, \"frames_h2g\": %.0f, "
	       "\"wakes_loop\": %llu, \"wakes_guest\": %llu, \"turns\": %llu, "
	       "\"calls_per_frame\": %.4f, \"wakes_per_frame\": %.4f, "
	       "\"rr\": %.0f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
	       (double)(e->bytes - s->bytes) * 8e-9 / sec,
	       (double)(e->frames_g2h - s->frames_g2h) / sec,
	       (double)(e->frames_h2g - s->frames_h2g) / sec,
	       (unsigned long long)wakes,
	       (unsigned long long)(e->rings - s->rings),
	       (unsigned long long)(e->turns - s->turns),
	       frames > 0 ? (double)calls / frames : 0,
	       frames > 0 ? (double)(wakes + e->rings - s->rings) / frames : 0,
	       n / sec, percentile_us(rtt, n, 50), percentile_us(rtt, n, 99));
}

static void nap(uint64_t ms)
{
	usleep((useconds_t)ms * 1000);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = { "put", "get", "rr", "idle" };
	struct rlimit lim;
	struct sample s, e;
	pthread_t t = 0, relay;
	int fd = -1;

	if (argc < 6 || argc > 7) {
		fprintf(stderr, "usage: inproc inproc|tap put|get|rr|idle "
				"LINKS MS 65536|1500 [SPIN]\n");
		return 2;
	}
	b.tap = strcmp(argv[1], "tap") == 0;
	while (b.mode < IDLE && strcmp(argv[2], modes[b.mode]) != 0)
		b.mode++;
	b.links = b.tap ? 1 : (unsigned)strtoul(argv[3], NULL, 10);
	b.run_ms = strtoul(argv[4], NULL, 10);
	b.spin_ns = argc > 6 ? strtoul(argv[6], NULL, 10) * 1000 : 0;
	b.large = strtoul(argv[5], NULL, 10) > 1500;
	b.segment = b.large ? BULK : MSS;
	if (b.links < 1 || b.links > LINKS_MAX)
		return 2;
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	b.rtt = calloc(RTT_MAX, sizeof(*b.rtt));
	b.bell = eventfd(0, EFD_CLOEXEC);
	pin(false);
	start_server();
	if (b.tap && !pthread_create(&t, NULL, open_tap, &fd))
		pthread_join(t, NULL);
	pthread_barrier_init(&b.ready, NULL, 2);
	pthread_create(&relay, NULL, relay_thread, NULL);
	pthread_barrier_wait(&b.ready);
	if (b.tap)
		start(kernel_thread, (void *)(intptr_t)fd);
	else
		pthread_create(&t, NULL, vmm_thread, NULL);
	nap(WARM_MS + b.links * 4 + (b.mode == IDLE ? 2000 : 0));
	take(&s);
	nap(b.run_ms);
	take(&e);
	b.done = true;
	eventfd_write(b.bell, 1);
	print(&s, &e);
	if (!b.tap) {
		pthread_join(t, NULL);
		uv_async_send(&b.stop);
		pthread_join(relay, NULL);
	}
	fflush(stdout);
	_exit(0);
}
