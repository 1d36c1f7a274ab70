/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loadd: the host side of the bench's traffic, one epoll loop. What each
 * connection is for stands in the request that it begins with: SINK counts
 * what it gets and answers with a report at the end of file, SOURCE sends for
 * a while (or a fixed length) and closes, ECHO returns what it gets.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/load.h"

struct conn {
	int fd;
	uint32_t events;
	size_t got; /* bytes of the request so far */
	struct request req;
	struct meter meter;
	uint64_t sent;
	uint64_t stop_ns;
};

static void conn_free(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void conn_listen_for(int ep, struct conn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (c->events == events)
		return;
	c->events = events;
	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Each of these returns false when the connection has ended. */

static bool conn_request(int ep, struct conn *c)
{
	unsigned char *to = (unsigned char *)&c->req + c->got;
	ssize_t n = recv(c->fd, to, sizeof(c->req) - c->got, 0);
	uint32_t time_ms;

	if (n <= 0)
		return would_block(n);
	c->got += (size_t)n;
	if (c->got < sizeof(c->req))
		return true;
	if (c->req.magic != MAGIC)
		return false;
	meter_init(&c->meter, &c->req);
	time_ms = c->req.warm_ms + c->req.run_ms + GRACE_MS;
	c->stop_ns = now_ns() + ms(time_ms);
	if (c->req.mode == SOURCE)
		conn_listen_for(ep, c, EPOLLOUT);
	return true;
}

static bool conn_sink(struct conn *c, unsigned char *buf)
{
	ssize_t n = recv(c->fd, buf, CHUNK, 0);

	if (n == 0)
		send_all(c->fd, &c->meter.sum, sizeof(c->meter.sum));
	if (n <= 0)
		return would_block(n);
	meter_take(&c->meter, buf, (size_t)n);
	return true;
}

static size_t source_room(const struct conn *c)
{
	uint64_t left = c->req.length - c->sent;

	if (c->req.length == 0)
		return now_ns() < c->stop_ns ? CHUNK : 0;
	return left < CHUNK ? (size_t)left : CHUNK;
}

static bool conn_source(struct conn *c)
{
	size_t room = source_room(c);
	ssize_t n;

	if (room == 0)
		return false;
	n = send(c->fd, pattern + c->sent % PERIOD, room, MSG_NOSIGNAL);
	if (n < 0)
		return would_block(n);
	c->sent += (size_t)n;
	return true;
}

static bool conn_echo(struct conn *c, unsigned char *buf)
{
	ssize_t n = recv(c->fd, buf, CHUNK, 0);

	if (n <= 0)
		return would_block(n);
	return send_all(c->fd, buf, (size_t)n);
}

static bool conn_event(int ep, struct conn *c, unsigned char *buf)
{
	if (c->got < sizeof(c->req) && !conn_request(ep, c))
		return false;
	if (c->got < sizeof(c->req))
		return true;
	switch (c->req.mode) {
	case SINK:
		return conn_sink(c, buf);
	case SOURCE:
		return conn_source(c);
	case ECHO:
		return conn_echo(c, buf);
	default:
		return false;
	}
}

static void server_accept(int ep, int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event ev = { .events = EPOLLIN };
		struct conn *c;

		if (fd < 0)
			return;
		c = alloc(1, sizeof(*c));
		c->fd = fd;
		c->events = EPOLLIN;
		ev.data.ptr = c;
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void server_listen(int ep, const struct sockaddr_in *base,
			  uint16_t ports, int *listener)
{
	for (uint16_t i = 0; i < ports; i++) {
		struct sockaddr_in at = *base;
		struct epoll_event ev = { .events = EPOLLIN };
		int fd = tcp_socket(SOCK_NONBLOCK);

		if (fd < 0)
			die("socket");
		at.sin_port = htons((uint16_t)(ntohs(at.sin_port) + i));
		if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
			die("bind");
		if (listen(fd, 4096) < 0)
			die("listen");
		listener[i] = fd;
		ev.data.ptr = &listener[i];
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	}
}

static void server_loop(int ep, const int *listener)
{
	unsigned char *buf = alloc(1, CHUNK);
	struct epoll_event ev[64];

	for (;;) {
		int n = epoll_wait(ep, ev, 64, -1);

		for (int i = 0; i < n; i++) {
			int *l = ev[i].data.ptr;

			if (l >= listener && l < listener + MAX_PORTS)
				server_accept(ep, *l);
			else if (!conn_event(ep, ev[i].data.ptr, buf))
				conn_free(ev[i].data.ptr);
		}
	}
}

int main(int argc, char **argv)
{
	static int listener[MAX_PORTS];
	struct sockaddr_in base = { .sin_family = AF_INET };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	unsigned long ports = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

	if (ports < 1 || ports > MAX_PORTS ||
	    inet_pton(AF_INET, argv[1], &base.sin_addr) != 1) {
		fputs("usage: loadd ADDR PORT PORTS\n", stderr);
		return 2;
	}
	base.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	raise_nofile();
	pattern_init();
	server_listen(ep, &base, (uint16_t)ports, listener);
	puts("{\"ready\": true}");
	fflush(stdout);
	server_loop(ep, listener);
}
