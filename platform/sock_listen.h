/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets that wait for clients of the host. Non-blocking, close-on-exec;
 * errors are negative errno values.
 */
#ifndef LWR_PLATFORM_SOCK_LISTEN_H
#define LWR_PLATFORM_SOCK_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Binds a socket: TCP, listening, or UDP. `both`: an IPv6 socket that serves
 * IPv4 as well. Returns the descriptor or -errno.
 */
int lwr__sock_listen(const struct sockaddr_storage *sa, socklen_t len, bool udp,
		     bool both);

/* The port that it is bound to. */
uint16_t lwr__sock_port(int fd);

/*
 * Takes a client's connection, with TCP_NODELAY and urgent data in line.
 * Returns its descriptor; -EAGAIN: nobody is there; -ECONNABORTED: one has
 * gone, there may be more; or -errno.
 */
int lwr__sock_accept(int fd, struct sockaddr_storage *from);

/* A datagram's other end, and our own address, IPv4 as ::ffff:a.b.c.d. */
struct lwr_sock_ends {
	struct sockaddr_storage peer;
	struct in6_addr own;
};

/*
 * Receives one datagram, or several of *seg bytes each (UDP_GRO), on a socket
 * of lwr__sock_listen(). Returns bytes or -errno.
 */
ssize_t lwr__sock_udp_take(int fd, void *buf, size_t len, uint16_t *seg,
			   struct lwr_sock_ends *e);

/*
 * Answers from the address that was written to; seg not 0: datagrams of that
 * size. Returns bytes sent or -errno.
 */
ssize_t lwr__sock_udp_answer(int fd, const void *buf, size_t len, uint16_t seg,
			     const struct lwr_sock_ends *e);

#endif
