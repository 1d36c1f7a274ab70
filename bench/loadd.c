/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loadd: the host side of the bench's traffic. What each connection is for
 * stands in the request that it begins with: SINK counts what it gets and
 * answers with a report at the end of file, SOURCE sends for a while (or a
 * fixed length) and closes; each of these has a thread and the code that the
 * other end has, so that a direction costs the load the same whoever opened
 * the connection. ECHO returns what it gets; of these there are thousands, in
 * one epoll loop.
 */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "bench/load.h"

struct conn {
	int fd;
	size_t got; /* bytes of the request so far */
	struct request req;
};

static void conn_free(struct conn *c)
{
	close(c->fd);
	free(c);
}

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void *conn_bulk(void *arg)
{
	struct conn *c = arg;
	struct report sum;

	if (c->req.mode == SOURCE)
		bulk_send(c->fd, &c->req);
	else if (bulk_receive(c->fd, &c->req, &sum))
		send_all(c->fd, &sum, sizeof(sum));
	conn_free(c);
	return NULL;
}

/* Leaves the loop for a thread of its own. */
static void conn_detach(int ep, struct conn *c)
{
	pthread_t thread;

	epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
	fcntl(c->fd, F_SETFL, 0);
	if (pthread_create(&thread, NULL, conn_bulk, c) != 0)
		die("thread");
	pthread_detach(thread);
}

/* Each of these returns false when the connection has ended. */

static bool conn_request(int ep, struct conn *c)
{
	unsigned char *to = (unsigned char *)&c->req + c->got;
	ssize_t n = recv(c->fd, to, sizeof(c->req) - c->got, 0);

	if (n <= 0)
		return would_block(n);
	c->got += (size_t)n;
	if (c->got < sizeof(c->req))
		return true;
	if (c->req.magic != MAGIC)
		return false;
	if (c->req.mode == SINK || c->req.mode == SOURCE)
		conn_detach(ep, c);
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
	if (c->got < sizeof(c->req))
		return conn_request(ep, c);
	return c->req.mode == ECHO && conn_echo(c, buf);
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
