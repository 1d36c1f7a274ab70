/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams need no memory: the relay's bytes are compared with the pattern as
 * they are written, and the program's are made as they are read. As in Linux:
 * an error is told once, by whichever call asks first (sock_error()), after it
 * a read gives 0 and a write EPIPE; queued bytes are read before the error; a
 * short write asks for an edge at two thirds of the buffer; closing with
 * unread bytes sends RST; a RST after the peer's FIN is EPIPE.
 */
#include "test/fake_sock.h"

#include "platform/sock.h"
#include "platform/sock_udp.h"
#include "test/fake_loop.h"
#include "test/fake_rand.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { FD_BASE = 1000, FDS = 8192, PLANS = 32, BUFFER = 64 * 1024 };

static struct {
	struct fake_host **host;
	unsigned hosts;
	struct fake_host *open[FDS];
	unsigned fds;
	unsigned limit;
	struct fake_plan plan[PLANS];
	unsigned plans;
} fs;

void fake_sock_reset(void)
{
	unsigned i;

	for (i = 0; i < fs.hosts; i++)
		free(fs.host[i]);
	free(fs.host);
	memset(&fs, 0, sizeof(fs));
	fs.limit = FDS;
}

static struct fake_plan default_plan(uint16_t port)
{
	return (struct fake_plan){ .port = port,
				   .after_ms = 1,
				   .sndbuf = BUFFER,
				   .rcvbuf = BUFFER,
				   .fin_on_eof = true };
}

struct fake_plan *fake_plan(uint16_t port)
{
	struct fake_plan *p;
	unsigned i;

	for (i = 0; i < fs.plans; i++) {
		if (fs.plan[i].port == port)
			return &fs.plan[i];
	}
	if (fs.plans == PLANS)
		abort();
	p = &fs.plan[fs.plans++];
	*p = default_plan(port);
	return p;
}

static struct fake_plan plan_of(uint16_t port)
{
	unsigned i;

	for (i = 0; i < fs.plans; i++) {
		if (fs.plan[i].port == port)
			return fs.plan[i];
	}
	return default_plan(port);
}

struct fake_host *fake_host(unsigned i)
{
	return i < fs.hosts ? fs.host[i] : NULL;
}

unsigned fake_hosts(void)
{
	return fs.hosts;
}

unsigned fake_fds(void)
{
	return fs.fds;
}

void fake_fds_limit(unsigned n)
{
	fs.limit = n;
}

static struct fake_host *host_of(int fd)
{
	struct fake_host *h = NULL;

	if (fd >= FD_BASE && fd < FD_BASE + FDS)
		h = fs.open[fd - FD_BASE];
	if (!h)
		fake_fail("use of descriptor %d, which is not open", fd);
	return h;
}

uint32_t fake_sock_ready(int fd)
{
	struct fake_host *h = host_of(fd);
	uint32_t e = 0;

	if (!h || (h->state == FAKE_CONNECTING && !h->err))
		return 0;
	if (h->err)
		e |= EPOLLERR;
	if (h->state == FAKE_CLOSED || (h->host_shut && h->relay_shut))
		e |= EPOLLHUP;
	if (h->state == FAKE_CLOSED || h->host_shut)
		e |= EPOLLIN | EPOLLRDHUP;
	if (h->h2g_queued)
		e |= EPOLLIN;
	if (h->state == FAKE_CLOSED || h->relay_shut || !h->nospace)
		e |= EPOLLOUT;
	return e;
}

/* ---- the program behind the endpoint ------------------------------------------ */

static void run(void *ctx, const void *data, size_t len);

static void schedule(struct fake_host *h)
{
	if (!h->run)
		h->run = fake_at(1, run, h);
}

static void program_reads(struct fake_host *h)
{
	uint64_t n = h->g2h_queued;

	if (h->plan.paused)
		return;
	if (h->plan.rate && n > h->plan.rate)
		n = h->plan.rate;
	h->got += n;
	h->g2h_queued -= n;
	if (h->nospace && h->g2h_queued <= h->plan.sndbuf * 2 / 3) {
		h->nospace = false;
		fake_edge(h->fd);
	}
	if (h->g2h_queued)
		schedule(h);
	else if (h->relay_shut)
		h->eof = true;
}

static void program_writes(struct fake_host *h)
{
	uint64_t n = h->plan.send - h->sent;
	bool end;

	if (h->host_shut)
		return;
	if (h->fd < 0) {
		/* Nobody is there: what it sends is answered with RST. */
		h->reset = h->reset || n > 0;
		return;
	}
	if (h->h2g_queued >= h->plan.rcvbuf)
		n = 0;
	else if (n > h->plan.rcvbuf - h->h2g_queued)
		n = h->plan.rcvbuf - h->h2g_queued;
	h->sent += n;
	h->h2g_queued += n;
	end = h->sent == h->plan.send &&
	      (h->plan.fin_after_send || (h->plan.fin_on_eof && h->eof));
	h->host_shut = end;
	if (n || end)
		fake_edge(h->fd);
}

static void run(void *ctx, const void *data, size_t len)
{
	struct fake_host *h = ctx;

	(void)data;
	(void)len;
	h->run = NULL;
	if (h->state != FAKE_CONNECTED || h->reset)
		return;
	program_reads(h);
	program_writes(h);
}

void fake_host_kick(struct fake_host *h)
{
	schedule(h);
}

void fake_host_reset(struct fake_host *h)
{
	h->err = h->host_shut ? EPIPE : ECONNRESET;
	h->state = FAKE_CLOSED;
	h->g2h_queued = 0;
	fake_edge(h->fd);
}

/* ---- connecting ------------------------------------------------------------------ */

static void connected(void *ctx, const void *data, size_t len)
{
	struct fake_host *h = ctx;

	(void)data;
	(void)len;
	if (h->fd < 0 || h->state != FAKE_CONNECTING)
		return;
	h->err = -h->plan.result;
	h->expired = h->hops && h->hops <= h->plan.routers;
	if (h->expired) /* as the kernel says, but for the error queue */
		h->err = EHOSTUNREACH;
	h->state = h->err ? FAKE_CLOSED : FAKE_CONNECTED;
	fake_edge(h->fd);
	schedule(h);
}

static struct fake_host *new_host(uint16_t port)
{
	struct fake_host *h = calloc(1, sizeof(*h));

	/* Pointers stay: the array holds pointers only. */
	if (fs.hosts % 1024 == 0)
		fs.host =
			realloc(fs.host, (fs.hosts + 1024) * sizeof(*fs.host));
	if (!h || !fs.host)
		abort();
	fs.host[fs.hosts++] = h;
	h->plan = plan_of(port);
	return h;
}

static uint16_t port_of(const struct sockaddr *sa)
{
	struct sockaddr_in6 s6;
	struct sockaddr_in s4;

	if (sa->sa_family == AF_INET6) {
		memcpy(&s6, sa, sizeof(s6));
		return ntohs(s6.sin6_port);
	}
	memcpy(&s4, sa, sizeof(s4));
	return ntohs(s4.sin_port);
}

static struct fake_host *open_host(uint16_t port)
{
	struct fake_host *h = new_host(port);
	int i;

	for (i = 0; fs.open[i]; i++)
		;
	h->fd = FD_BASE + i;
	fs.open[i] = h;
	fs.fds++;
	return h;
}

struct fake_host *fake_client(uint16_t port)
{
	struct fake_host *h = open_host(port);

	h->state = FAKE_CONNECTED;
	schedule(h);
	return h;
}

int lwr__sock_connect(const struct sockaddr *sa, socklen_t len,
		      const struct lwr_sock_from *from, uint8_t hops,
		      bool *done)
{
	struct fake_plan plan = plan_of(port_of(sa));
	struct fake_host *h;

	(void)len;
	(void)from;
	if (fs.fds >= fs.limit)
		return -EMFILE;
	if (plan.at_once && plan.result)
		return plan.result;
	h = open_host(plan.port);
	h->hops = hops;
	*done = plan.at_once;
	if (plan.at_once)
		connected(h, NULL, 0);
	else if (plan.after_ms != FAKE_NEVER)
		fake_at(plan.after_ms, connected, h);
	return h->fd;
}

void lwr__sock_hops(int fd, int family, uint8_t hops, bool report)
{
	struct fake_host *h = host_of(fd);

	(void)family;
	(void)report;
	h->hops = hops;
}

int lwr__sock_report(int fd, void *buf, size_t len, struct lwr_sock_error *e)
{
	struct fake_host *h = host_of(fd);
	bool six = h->plan.six;
	struct sockaddr_in router4 = { .sin_family = AF_INET };
	struct sockaddr_in6 router6 = { .sin6_family = AF_INET6 };

	(void)buf;
	(void)len;
	if (!h->expired)
		return -EAGAIN;
	h->expired = false;
	*e = (struct lwr_sock_error){ .err = ETIME };
	router4.sin_addr.s_addr = htonl(0xc6336400u + h->hops);
	router6.sin6_addr.s6_addr[0] = 0x20;
	router6.sin6_addr.s6_addr[15] = h->hops;
	if (six)
		memcpy(&e->by, &router6, sizeof(router6));
	else
		memcpy(&e->by, &router4, sizeof(router4));
	return 0;
}

static int take_error(struct fake_host *h)
{
	int err = -h->err;

	h->err = 0;
	return err;
}

int lwr__sock_connected(int fd)
{
	struct fake_host *h = host_of(fd);

	if (!h)
		return -EBADF;
	if (h->err)
		return take_error(h);
	if (h->state == FAKE_CONNECTING)
		return -EINPROGRESS;
	return h->state == FAKE_CONNECTED ? 0 : -EINPROGRESS;
}

/* ---- bytes --------------------------------------------------------------------------- */

static size_t take(struct fake_host *h, const struct iovec *iov, int n,
		   size_t room)
{
	uint64_t off = h->got + h->g2h_queued;
	size_t part, taken = 0;
	int i;

	for (i = 0; i < n && taken < room; i++) {
		part = iov[i].iov_len;
		part = part < room - taken ? part : room - taken;
		if (!h->plan.any &&
		    !fake_pattern_check(iov[i].iov_base, part,
					fake_salt_g2h(h->plan.port),
					off + taken))
			fake_fail("g2h bytes differ near %llu of port %u",
				  (unsigned long long)(off + taken),
				  h->plan.port);
		taken += part;
	}
	return taken;
}

static size_t total_of(const struct iovec *iov, int n)
{
	size_t total = 0;
	int i;

	for (i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

ssize_t lwr__sock_writev(int fd, const struct iovec *iov, int n)
{
	struct fake_host *h = host_of(fd);
	size_t taken, room;

	if (!h)
		return -EBADF;
	if (h->err)
		return take_error(h);
	if (h->state != FAKE_CONNECTED || h->relay_shut)
		return -EPIPE;
	room = h->g2h_queued < h->plan.sndbuf ?
		       (size_t)(h->plan.sndbuf - h->g2h_queued) :
		       0;
	taken = take(h, iov, n, room);
	h->g2h_queued += taken;
	if (taken < total_of(iov, n))
		h->nospace = true;
	schedule(h);
	return taken ? (ssize_t)taken : -EAGAIN;
}

uint32_t lwr__sock_mss(int fd)
{
	const struct fake_host *h = host_of(fd);

	return h->plan.mss ? h->plan.mss : 1448;
}

uint32_t lwr__sock_unit(int fd)
{
	return 65200 / lwr__sock_mss(fd) * lwr__sock_mss(fd);
}

ssize_t lwr__sock_readv(int fd, const struct iovec *iov, int n)
{
	struct fake_host *h = host_of(fd);
	size_t part, got = 0;
	int i;

	if (!h)
		return -EBADF;
	for (i = 0; i < n && h->h2g_queued; i++) {
		part = iov[i].iov_len;
		part = part < h->h2g_queued ? part : (size_t)h->h2g_queued;
		fake_pattern(iov[i].iov_base, part, fake_salt_h2g(h->plan.port),
			     h->sent - h->h2g_queued);
		h->h2g_queued -= part;
		got += part;
	}
	if (got) {
		if (h->state == FAKE_CONNECTED)
			schedule(h);
		return (ssize_t)got;
	}
	if (h->err)
		return take_error(h);
	if (h->state == FAKE_CLOSED || h->host_shut)
		return 0;
	return -EAGAIN;
}

bool lwr__sock_ended(int fd)
{
	struct fake_host *h = host_of(fd);

	return h && !h->h2g_queued && !h->err &&
	       (h->state == FAKE_CLOSED || h->host_shut);
}

int lwr__sock_shutdown(int fd)
{
	struct fake_host *h = host_of(fd);

	if (!h)
		return -EBADF;
	if (h->state != FAKE_CONNECTED)
		return -ENOTCONN;
	if (h->relay_shut)
		fake_fail("the relay ended port %u twice", h->plan.port);
	h->relay_shut = true;
	schedule(h);
	if (h->host_shut)
		fake_edge(fd);
	return 0;
}

/* ---- ends ------------------------------------------------------------------------------ */

static struct fake_host *drop_fd(int fd)
{
	struct fake_host *h = host_of(fd);

	if (!h)
		return NULL;
	fs.open[fd - FD_BASE] = NULL;
	fs.fds--;
	h->fd = -1;
	return h;
}

void lwr__sock_reset(int fd)
{
	struct fake_host *h = drop_fd(fd);

	if (!h)
		return;
	h->reset = h->state == FAKE_CONNECTED;
	h->g2h_queued = 0;
}

void lwr__sock_close(int fd)
{
	struct fake_host *h = drop_fd(fd);

	if (!h || h->state != FAKE_CONNECTED)
		return;
	if (h->h2g_queued) {
		h->reset = true;
		return;
	}
	h->relay_shut = true;
	schedule(h);
}

void lwr__random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len-- > 0)
		*p++ = (uint8_t)fake_rand64();
}

/* Nothing here asks for DNS. */
int lwr__sock_connect_udp(const struct sockaddr *sa, socklen_t len,
			  const struct lwr_sock_from *from)
{
	(void)from;
	(void)sa;
	(void)len;
	return -ENETUNREACH;
}

int lwr__sock_pair(int fd[2])
{
	(void)fd;
	return -EMFILE;
}
