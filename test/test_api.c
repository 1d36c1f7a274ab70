/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/lwrelay.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

static unsigned entries_of(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void note(void *arg)
{
	*(bool *)arg = true;
}

static struct lwr_relay *open_own(void)
{
	struct lwr_relay *r = NULL;

	assert_int_equal(lwr_relay_open(NULL, &r), 0);
	assert_non_null(r);
	return r;
}

static void own_thread_opens_and_closes_in_turn(void **state)
{
	unsigned fds, threads;

	(void)state;
	/* libuv keeps a pipe for signals from its first loop on. */
	lwr_relay_close(open_own(), NULL, NULL);
	fds = entries_of("/proc/self/fd");
	threads = entries_of("/proc/self/task");
	for (int i = 0; i < 20; i++)
		lwr_relay_close(open_own(), NULL, NULL);
	assert_int_equal(entries_of("/proc/self/fd"), fds);
	assert_int_equal(entries_of("/proc/self/task"), threads);
}

static void second_open_is_busy(void **state)
{
	struct lwr_relay *r = open_own(), *other = NULL;

	(void)state;
	assert_int_equal(lwr_relay_open(NULL, &other), -EBUSY);
	assert_null(other);
	lwr_relay_close(r, NULL, NULL);
	lwr_relay_close(open_own(), NULL, NULL);
}

static void callers_loop_has_nothing_left_when_closed(void **state)
{
	struct lwr_relay_options o = { .size = sizeof(o) };
	struct lwr_relay *r, *other;
	bool closed = false;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	o.loop = &loop;
	assert_int_equal(lwr_relay_open(&o, &r), 0);
	assert_int_equal(lwr_relay_open(&o, &other), -EBUSY);
	lwr_relay_close(r, note, &closed);
	assert_false(closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(closed);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void impossible_options_are_refused(void **state)
{
	static const char *const bad_dns[] = { "1.2.3.4:0", NULL };
	struct lwr_network n = { .size = sizeof(n), .subnet = "10.0.0.0/31" };
	struct lwr_relay_options o = { .size = 2 };
	struct lwr_relay *r;

	(void)state;
	assert_int_equal(lwr_relay_open(&o, &r), -EINVAL);
	o.size = sizeof(o) + 8;
	assert_int_equal(lwr_relay_open(&o, &r), -EINVAL);
	o = (struct lwr_relay_options){ .size = sizeof(o), .network = &n };
	assert_int_equal(lwr_relay_open(&o, &r), -EINVAL);
	o = (struct lwr_relay_options){ .size = sizeof(o), .dns = bad_dns };
	assert_int_equal(lwr_relay_open(&o, &r), -EINVAL);
	o = (struct lwr_relay_options){ .size = sizeof(o), .ring_frames = 3 };
	assert_int_equal(lwr_relay_open(&o, &r), -EINVAL);
}

/* An open that fails of one option says so. */
static void expect_complaint(struct lwr_relay_options *o, const char *words)
{
	struct lwr_relay *r;
	char why[256] = "";

	o->size = sizeof(*o);
	o->error = why;
	o->error_size = sizeof(why);
	assert_int_equal(lwr_relay_open(o, &r), -EINVAL);
	if (!strstr(why, words))
		fail_msg("'%s' is not in '%s'", words, why);
	*o = (struct lwr_relay_options){ 0 };
}

static void impossible_options_are_named(void **state)
{
	static const char *const name[] = { "a.test=1.2.3.4", "b.test", NULL };
	static const char *const dns[] = { "1.2.3.4:0", NULL };
	static const char *const way[] = { "no-such-if0", NULL };
	static const char *const lease[] = { "2:0:0:0:0:9=10.0.2.20", NULL };
	static const char *const far[] = { "02:00:00:00:00:09=10.9.9.9", NULL };
	struct lwr_network n = { .size = sizeof(n) };
	struct lwr_relay_options o = { 0 };

	(void)state;
	o.dns_names = name;
	expect_complaint(&o, "'b.test' is not NAME=ADDR");
	o.dns = dns;
	expect_complaint(&o, "'1.2.3.4:0' is not ADDR");
	o.outbound = way;
	expect_complaint(&o, "no-such-if0: No such device");
	o.dns_cache = 2000000;
	expect_complaint(&o, "dns_cache");
	n.leases = lease;
	o.network = &n;
	expect_complaint(&o, "is not MAC=ADDR");
	n.leases = far;
	o.network = &n;
	expect_complaint(&o, "no address of a guest");
}

static void links_come_and_go_while_it_runs(void **state)
{
	struct lwr_relay *r = open_own();
	struct lwr_counters c = { .size = sizeof(c) };
	char spec[32], why[128] = "";
	struct lwr_link_options o = { .size = sizeof(o),
				      .error = why,
				      .error_size = sizeof(why) };
	uint32_t first, second;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	snprintf(spec, sizeof(spec), "stream-fd:%d", sv[0]);
	assert_int_equal(lwr_link_add(r, spec, NULL, &first), 0);
	assert_int_not_equal(first, 0);
	assert_int_equal(lwr_link_add(r, "nonsense", &o, &second), -EINVAL);
	assert_non_null(strstr(why, "nonsense"));
	assert_int_equal(lwr_counters_get(r, first, &c), 0);
	assert_int_equal(lwr_counters_get(r, first + 100, &c), -ENOENT);
	assert_int_equal(lwr_link_remove(r, first), 0);
	assert_int_equal(lwr_link_remove(r, first), -ENOENT);
	assert_int_equal(lwr_counters_get(r, 0, &c), 0);
	assert_int_equal(read(sv[1], why, 1), 0);
	close(sv[1]);
	lwr_relay_close(r, NULL, NULL);
}

struct hooks_seen {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned down, terminated;
	uint32_t link;
	char reason[32];
};

static void on_link_down(void *arg, uint32_t link, int err)
{
	struct hooks_seen *s = arg;

	(void)err;
	pthread_mutex_lock(&s->lock);
	s->down++;
	s->link = link;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void on_terminate(void *arg, const char *reason)
{
	struct hooks_seen *s = arg;

	pthread_mutex_lock(&s->lock);
	s->terminated++;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static struct hooks_seen seen = {
	PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, ""
};

static struct lwr_relay *open_hooked(void)
{
	static const struct lwr_hooks hooks = { .size = sizeof(hooks),
						.on_link_down = on_link_down,
						.on_terminate = on_terminate };
	struct lwr_relay_options o = { .size = sizeof(o),
				       .hooks = &hooks,
				       .hook_arg = &seen };
	struct lwr_relay *r;

	seen.down = seen.terminated = 0;
	assert_int_equal(lwr_relay_open(&o, &r), 0);
	return r;
}

static void guest_that_leaves_is_told_and_its_link_gone(void **state)
{
	struct lwr_relay *r = open_hooked();
	char spec[32];
	uint32_t link;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	snprintf(spec, sizeof(spec), "stream-fd:%d", sv[0]);
	assert_int_equal(lwr_link_add(r, spec, NULL, &link), 0);
	close(sv[1]);
	pthread_mutex_lock(&seen.lock);
	while (!seen.down)
		pthread_cond_wait(&seen.cond, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
	assert_int_equal(seen.link, link);
	assert_int_equal(lwr_link_remove(r, link), -ENOENT);
	lwr_relay_close(r, NULL, NULL);
	assert_int_equal(seen.down, 1);
}

static void *terminator(void *arg)
{
	lwr_relay_terminate(arg, "enough");
	return NULL;
}

static void termination_is_told_once_from_any_thread(void **state)
{
	struct lwr_relay *r = open_hooked();
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, terminator, r), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	lwr_relay_close(r, NULL, NULL);
	assert_int_equal(seen.terminated, 1);
	assert_string_equal(seen.reason, "enough");
}

/* ---- ports ---------------------------------------------------------------- */

static const uint8_t who_has_the_gateway[42] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,  9, 8, 6,
	0,    1,    8,	  0,	6,    4,    0, 1, 2, 0, 0,  0, 0, 9,
	10,   0,    2,	  15,	0,    0,    0, 0, 0, 0, 10, 0, 2, 2,
};

static struct lwr_port *add_port(struct lwr_relay *r, uint32_t *number)
{
	struct lwr_port *port = NULL;

	assert_int_equal(lwr_link_add_port(r, NULL, &port, number), 0);
	assert_non_null(port);
	return port;
}

/* The guest asks for the gateway; the answer names its hardware address. */
static void ask_and_be_answered(struct lwr_port *port)
{
	struct iovec out = { (void *)who_has_the_gateway,
			     sizeof(who_has_the_gateway) };
	struct lwr_port_frame f = { &out, 1, sizeof(who_has_the_gateway) };
	uint8_t buf[1600];
	struct iovec in = { buf, sizeof(buf) };
	struct lwr_port_buf b = { &in, 1, 0 };

	assert_int_equal(lwr_link_push(port, &f, 1), 1);
	assert_int_equal(lwr_port_wait(port, LWR_H2G, 5000), 1);
	assert_int_equal(lwr_link_pop(port, &b, 1), 1);
	assert_true(b.len >= 42);
	assert_int_equal(buf[13], 6); /* ARP */
	assert_int_equal(buf[21], 2); /* a reply */
}

static void hundreds_of_guests_have_the_same_addresses(void **state)
{
	enum { GUESTS = 256 };
	static struct lwr_port *port[GUESTS];
	struct lwr_counters c = { .size = sizeof(c) };
	struct lwr_relay *r = open_own();
	uint32_t number[GUESTS];

	(void)state;
	for (int i = 0; i < GUESTS; i++)
		port[i] = add_port(r, &number[i]);
	for (int i = 0; i < GUESTS; i++)
		ask_and_be_answered(port[i]);
	for (int i = 0; i < GUESTS; i += 2)
		assert_int_equal(lwr_link_remove(r, number[i]), 0);
	for (int i = 1; i < GUESTS; i += 2)
		ask_and_be_answered(port[i]);
	assert_int_equal(lwr_counters_get(r, number[1], &c), 0);
	assert_int_equal(c.frames_g2h, 2);
	assert_int_equal(lwr_counters_get(r, 0, &c), 0);
	assert_int_equal(c.frames_g2h, GUESTS + GUESTS / 2);
	lwr_relay_close(r, NULL, NULL);
	for (int i = 0; i < GUESTS; i++) {
		assert_int_equal(lwr_link_push(port[i], NULL, 0), -ESHUTDOWN);
		lwr_port_free(port[i]);
	}
}

/* Fills in an IPv4 header and one of UDP before `len` bytes of payload. */
static size_t put_udp(uint8_t *f, const uint8_t src[4], const uint8_t dst[4],
		      uint16_t sport, uint16_t dport, size_t len)
{
	static const uint8_t head[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0,	 0,  9, 8,
		0,    0x45, 0,	  0,	0,    0,    0, 0, 0, 64, 17, 0, 0,
	};
	uint32_t sum = 0;

	memcpy(f, head, sizeof(head));
	f[16] = (uint8_t)((len + 28) >> 8);
	f[17] = (uint8_t)(len + 28);
	memcpy(f + 26, src, 4);
	memcpy(f + 30, dst, 4);
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)(f[i] << 8 | f[i + 1]);
	sum = ~((sum & 0xffff) + (sum >> 16));
	f[24] = (uint8_t)(sum >> 8);
	f[25] = (uint8_t)sum;
	f[34] = (uint8_t)(sport >> 8);
	f[35] = (uint8_t)sport;
	f[36] = (uint8_t)(dport >> 8);
	f[37] = (uint8_t)dport;
	f[38] = (uint8_t)((len + 8) >> 8);
	f[39] = (uint8_t)(len + 8);
	f[40] = f[41] = 0; /* no checksum */
	return len + 42;
}

/* Sends a frame and takes the answer, to a buffer of 1,600 bytes. */
static void exchange(struct lwr_port *port, uint8_t *frame, size_t len,
		     uint8_t *answer)
{
	struct iovec out = { frame, len };
	struct lwr_port_frame f = { &out, 1, (uint32_t)len };
	struct iovec in = { answer, 1600 };
	struct lwr_port_buf b = { &in, 1, 0 };

	assert_int_equal(lwr_link_push(port, &f, 1), 1);
	assert_int_equal(lwr_port_wait(port, LWR_H2G, 5000), 1);
	assert_int_equal(lwr_link_pop(port, &b, 1), 1);
}

/* What DHCP gives the guest 02:00:00:00:00:09. */
static void expect_lease(struct lwr_port *port, const uint8_t want[4])
{
	static const uint8_t bootp[] = { 1, 1, 6, 0, 1, 2, 3, 4 };
	static const uint8_t options[] = { 99, 130, 83, 99, 53, 1, 1, 255 };
	static const uint8_t none[4], all[4] = { 255, 255, 255, 255 };
	uint8_t f[400] = { 0 }, answer[1600];

	memcpy(f + 42, bootp, sizeof(bootp));
	f[42 + 28] = 2;
	f[42 + 33] = 9;
	memcpy(f + 42 + 236, options, sizeof(options));
	exchange(port, f, put_udp(f, none, all, 68, 67, 300), answer);
	assert_memory_equal(answer + 42 + 16, want, 4);
}

static void expect_name(struct lwr_port *port, const uint8_t want[4])
{
	static const uint8_t query[] = { 0,   7,   1, 0,   0,	1,   0,
					 0,   0,   0, 0,   0,	3,   'b',
					 'o', 'x', 4, 't', 'e', 's', 't',
					 0,   0,   1, 0,   1 };
	static const uint8_t guest[4] = { 10, 0, 2, 15 };
	static const uint8_t dns[4] = { 10, 0, 2, 3 };
	uint8_t f[100], answer[1600];

	memcpy(f + 42, query, sizeof(query));
	exchange(port, f, put_udp(f, guest, dns, 4000, 53, sizeof(query)),
		 answer);
	assert_int_equal(answer[42 + 7], 1); /* answers */
	assert_memory_equal(answer + 42 + sizeof(query) + 12, want, 4);
}

/* And is its own from the open on. */
static void leases_and_names_are_those_given(void **state)
{
	char lease[] = "02:00:00:00:00:09=10.0.2.77,box";
	char second[] = "02:00:00:00:00:09=10.0.2.78";
	char name[] = "box.test=192.0.2.77";
	const char *leases[] = { lease, NULL }, *names[] = { name, NULL };
	struct lwr_network n = { .size = sizeof(n), .leases = leases };
	struct lwr_relay_options o = { .size = sizeof(o),
				       .network = &n,
				       .dns_names = names,
				       .no_dns_cache = true };
	struct lwr_link_options l = { .size = sizeof(l), .network = &n };
	struct lwr_port *port, *other;
	struct lwr_relay *r;
	uint32_t number;

	(void)state;
	assert_int_equal(lwr_relay_open(&o, &r), 0);
	memset(lease, 'x', sizeof(lease) - 1);
	memset(name, 'x', sizeof(name) - 1);
	port = add_port(r, &number);
	expect_lease(port, (const uint8_t[]){ 10, 0, 2, 77 });
	leases[0] = second;
	assert_int_equal(lwr_link_add_port(r, &l, &other, &number), 0);
	expect_lease(other, (const uint8_t[]){ 10, 0, 2, 78 });
	ask_and_be_answered(port);
	expect_name(port, (const uint8_t[]){ 192, 0, 2, 77 });
	lwr_relay_close(r, NULL, NULL);
	lwr_port_free(port);
	lwr_port_free(other);
}

static void *flood(void *arg)
{
	struct iovec out = { (void *)who_has_the_gateway,
			     sizeof(who_has_the_gateway) };
	struct lwr_port_frame f[16];
	int r;

	for (int i = 0; i < 16; i++)
		f[i] = (struct lwr_port_frame){ &out, 1, 42 };
	/* Nobody pops: the ring to the guest is full soon. */
	while ((r = lwr_link_push(arg, f, 16)) != -ESHUTDOWN)
		if (r == -EAGAIN)
			(void)lwr_port_wait(arg, LWR_G2H, -1);
	return NULL;
}

static void close_ends_threads_in_push_and_in_wait(void **state)
{
	struct lwr_relay *r = open_own();
	struct lwr_counters c = { .size = sizeof(c) };
	struct lwr_port *port[4];
	pthread_t t[4];
	uint32_t number;

	(void)state;
	for (int i = 0; i < 4; i++) {
		port[i] = add_port(r, &number);
		assert_int_equal(pthread_create(&t[i], NULL, flood, port[i]),
				 0);
	}
	do
		assert_int_equal(lwr_counters_get(r, 0, &c), 0);
	while (c.frames_g2h < 20000 || c.drop_ring_full == 0);
	lwr_relay_close(r, NULL, NULL);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		lwr_port_free(port[i]);
	}
}

static void ports_are_published_and_taken_back(void **state)
{
	struct lwr_relay *r = open_own();
	char why[128] = "", spec[32];
	struct sockaddr_in sin = { .sin_family = AF_INET };
	uint32_t number, id, other;
	struct lwr_port *port;
	uint16_t chosen = 0;
	int fd;

	(void)state;
	port = add_port(r, &number);
	assert_int_equal(lwr_publish(r, number, "127.0.0.1:0:80", &id, &chosen,
				     NULL, 0),
			 0);
	assert_int_not_equal(chosen, 0);
	sin.sin_port = htons(chosen);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	close(fd);
	snprintf(spec, sizeof(spec), "127.0.0.1:%u:80", chosen);
	assert_int_equal(lwr_publish(r, number, spec, &other, NULL, why,
				     sizeof(why)),
			 -EADDRINUSE);
	assert_string_not_equal(why, "");
	assert_int_equal(lwr_publish(r, number + 9, spec, &other, NULL, NULL,
				     0),
			 -ENOENT);
	assert_int_equal(lwr_unpublish(r, id), 0);
	assert_int_equal(lwr_unpublish(r, id), -ENOENT);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);
	lwr_relay_close(r, NULL, NULL);
	lwr_port_free(port);
}

/* ---- clients of published ports, and what hooks may do --------------------- */

enum { DPORT = 36 }; /* of TCP or UDP in an Ethernet frame of IPv4 */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct lwr_relay *relay;
	enum lwr_verdict answer;
	uint32_t remove; /* a link, or */
	uint32_t unpublish; /* a rule */
	int removed;
	unsigned asked;
	struct lwr_flow_info flow;
} word = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .cond = PTHREAD_COND_INITIALIZER };

static enum lwr_verdict on_client(void *arg, const struct lwr_flow_info *flow,
				  struct lwr_endpoint *to)
{
	enum lwr_verdict v;

	(void)arg;
	pthread_mutex_lock(&word.lock);
	word.asked++;
	word.flow = *flow;
	if (word.remove)
		word.removed = lwr_link_remove(word.relay, word.remove);
	if (word.unpublish)
		word.removed = lwr_unpublish(word.relay, word.unpublish);
	to->port = 8080;
	v = word.answer;
	pthread_cond_signal(&word.cond);
	pthread_mutex_unlock(&word.lock);
	return v;
}

/* A guest that is known by its ARP, whose ports are published. */
static struct lwr_port *open_published(uint32_t *number)
{
	static const struct lwr_hooks hooks = { .size = sizeof(hooks),
						.on_flow_open = on_client };
	struct lwr_relay_options o = { .size = sizeof(o), .hooks = &hooks };
	struct lwr_port *port;

	word.asked = 0;
	assert_int_equal(lwr_relay_open(&o, &word.relay), 0);
	port = add_port(word.relay, number);
	ask_and_be_answered(port);
	return port;
}

static void say_next(enum lwr_verdict v, uint32_t unpublish, uint32_t remove)
{
	pthread_mutex_lock(&word.lock);
	word.answer = v;
	word.unpublish = unpublish;
	word.remove = remove;
	word.removed = -1;
	pthread_mutex_unlock(&word.lock);
}

static uint16_t publish(uint32_t number, const char *spec, uint32_t *id)
{
	uint16_t chosen;

	assert_int_equal(
		lwr_publish(word.relay, number, spec, id, &chosen, NULL, 0), 0);
	return chosen;
}

/* A client of a published port, who has said something. */
static int client(int type, uint16_t chosen)
{
	int fd = socket(AF_INET, type, 0);
	struct sockaddr_in sin = { .sin_family = AF_INET };

	sin.sin_port = htons(chosen);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	(void)send(fd, "x", 1, MSG_NOSIGNAL);
	return fd;
}

static void wait_asked(unsigned times)
{
	pthread_mutex_lock(&word.lock);
	while (word.asked < times)
		pthread_cond_wait(&word.cond, &word.lock);
	pthread_mutex_unlock(&word.lock);
}

/* The port to which the guest's next packet of a protocol goes. */
static uint16_t next_dport(struct lwr_port *port, uint8_t protocol)
{
	uint8_t buf[1600];
	struct iovec in = { buf, sizeof(buf) };
	struct lwr_port_buf b = { &in, 1, 0 };

	do {
		assert_int_equal(lwr_port_wait(port, LWR_H2G, 10000), 1);
		assert_int_equal(lwr_link_pop(port, &b, 1), 1);
	} while (buf[12] != 8 || buf[13] != 0 || buf[23] != protocol);
	return (uint16_t)(buf[DPORT] << 8 | buf[DPORT + 1]);
}

static bool is_clients(void *arg, const struct lwr_flow_info *flow)
{
	*(unsigned *)arg += flow->opened == LWR_H2G;
	return true;
}

static void clients_are_asked_about(void **state)
{
	unsigned seen_flows = 0;
	struct lwr_port *port;
	uint32_t number, id;
	int tcp, udp, no;
	char byte;

	(void)state;
	port = open_published(&number);
	say_next(LWR_REDIRECT, 0, 0);
	tcp = client(SOCK_STREAM, publish(number, "127.0.0.1:0:80", &id));
	assert_int_equal(next_dport(port, 6), 8080);
	udp = client(SOCK_DGRAM, publish(number, "127.0.0.1:0:80/udp", &id));
	assert_int_equal(next_dport(port, 17), 8080);
	wait_asked(2);
	assert_int_equal(word.flow.protocol, 17);
	assert_int_equal(word.flow.opened, LWR_H2G);
	assert_int_equal(word.flow.guest.port, 80);
	assert_true(lwr_flows_each(word.relay, number, is_clients,
				   &seen_flows) >= 2);
	assert_int_equal(seen_flows, 2);
	say_next(LWR_DENY, 0, 0);
	no = client(SOCK_STREAM, publish(number, "127.0.0.1:0:81", &id));
	assert_int_equal(recv(no, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	wait_asked(3);
	assert_int_equal(word.asked, 3);
	close(no);
	close(udp);
	close(tcp);
	lwr_relay_close(word.relay, NULL, NULL);
	lwr_port_free(port);
}

/* What a hook is asked about may end under it, whatever it answers. */
static void removes_what_it_is_asked_about(int type, const char *spec)
{
	uint32_t number, id;
	struct lwr_port *port = open_published(&number);
	uint16_t chosen = publish(number, spec, &id);
	int fd[2];

	say_next(LWR_ALLOW, id, 0);
	fd[0] = client(type, chosen);
	wait_asked(1);
	assert_int_equal(word.removed, 0);
	assert_int_equal(lwr_unpublish(word.relay, id), -ENOENT);
	say_next(LWR_ALLOW, 0, number);
	fd[1] = client(type, publish(number, spec, &id));
	wait_asked(2);
	assert_int_equal(word.removed, 0);
	assert_int_equal(lwr_link_remove(word.relay, number), -ENOENT);
	close(fd[0]);
	close(fd[1]);
	lwr_relay_close(word.relay, NULL, NULL);
	lwr_port_free(port);
}

static void hooks_may_remove_what_they_are_asked_about(void **state)
{
	(void)state;
	removes_what_it_is_asked_about(SOCK_STREAM, "127.0.0.1:0:80");
	removes_what_it_is_asked_about(SOCK_DGRAM, "127.0.0.1:0:80/udp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_thread_opens_and_closes_in_turn),
		cmocka_unit_test(second_open_is_busy),
		cmocka_unit_test(callers_loop_has_nothing_left_when_closed),
		cmocka_unit_test(impossible_options_are_refused),
		cmocka_unit_test(impossible_options_are_named),
		cmocka_unit_test(leases_and_names_are_those_given),
		cmocka_unit_test(links_come_and_go_while_it_runs),
		cmocka_unit_test(guest_that_leaves_is_told_and_its_link_gone),
		cmocka_unit_test(termination_is_told_once_from_any_thread),
		cmocka_unit_test(hundreds_of_guests_have_the_same_addresses),
		cmocka_unit_test(close_ends_threads_in_push_and_in_wait),
		cmocka_unit_test(ports_are_published_and_taken_back),
		cmocka_unit_test(clients_are_asked_about),
		cmocka_unit_test(hooks_may_remove_what_they_are_asked_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
