/* SPDX-License-Identifier: BSD-3-Clause */
/* What became of datagrams that a UDP socket of platform/sock.h sent. */
#ifndef LWR_PLATFORM_SOCK_UDP_H
#define LWR_PLATFORM_SOCK_UDP_H

#include <stddef.h>
#include <sys/socket.h>

/* A datagram that the network could not deliver. */
struct lwr_sock_error {
	/*
	 * ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, or EACCES where it was
	 * forbidden; 0 for what is no destination unreachable.
	 */
	int err;
	struct sockaddr_storage to; /* its destination */
	size_t len; /* bytes of its payload in the caller's buffer */
};

/*
 * Takes the oldest report off the socket's error queue, with the beginning of
 * the datagram's payload. Returns 0 or -errno (-EAGAIN: there is none).
 */
int lwr__sock_udp_error(int fd, void *buf, size_t len,
			struct lwr_sock_error *e);

#endif
