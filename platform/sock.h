/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host sockets. Every call is non-blocking, every descriptor close-on-exec;
 * errors are negative errno values.
 */
#ifndef LWR_PLATFORM_SOCK_H
#define LWR_PLATFORM_SOCK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Where outgoing sockets are bound to; all zeros: nowhere. */
struct lwr_sock_from {
	char ifname[16]; /* IF_NAMESIZE */
	struct sockaddr_in in; /* sin_family 0: any */
	struct sockaddr_in6 in6;
};

bool lwr__sock_from_set(const struct lwr_sock_from *from);

/* False: addresses of the other family only, which say where that one goes. */
bool lwr__sock_from_carries(const struct lwr_sock_from *from, int family);

/*
 * Binds a socket of `family` before it is used. Returns 0 or -errno
 * (-ENETUNREACH: that family is not carried).
 */
int lwr__sock_bind_from(int fd, int family, const struct lwr_sock_from *from);

/* Tries whether sockets can be bound so. Returns 0 or -errno. */
int lwr__sock_try_from(const struct lwr_sock_from *from);

/*
 * Starts a connection, of TCP with TCP_NODELAY, or to a Unix socket; urgent
 * data are read as plain data. from NULL: bound nowhere; hops 0: the host's
 * TTL, else as by lwr__sock_hops(). Returns the descriptor, or -errno; *done
 * says whether it is connected yet.
 */
int lwr__sock_connect(const struct sockaddr *sa, socklen_t len,
		      const struct lwr_sock_from *from, uint8_t hops,
		      bool *done);

/*
 * Gives a TCP socket a TTL or hop limit (0: the host's usual one), and an error
 * queue for lwr__sock_report() or not.
 */
void lwr__sock_hops(int fd, int family, uint8_t hops, bool report);

/*
 * A UDP socket connected to an address, with a random port: it receives from
 * there only. from NULL: bound nowhere. Messages pass by the calls for streams.
 * Returns it, or -errno.
 */
int lwr__sock_connect_udp(const struct sockaddr *sa, socklen_t len,
			  const struct lwr_sock_from *from);

/* Two connected stream sockets. Returns 0 or -errno. */
int lwr__sock_pair(int fd[2]);

/* Returns 0 when connected, -EINPROGRESS, or the negative errno it failed of. */
int lwr__sock_connected(int fd);

/* Returns bytes taken, or -errno (-EAGAIN: the socket buffer is full). */
ssize_t lwr__sock_writev(int fd, const struct iovec *iov, int n);

/* Payload bytes of a packet of a connected stream; 0: unknown. */
uint32_t lwr__sock_mss(int fd);

/*
 * Bytes of the largest piece that the kernel sends of a connected stream in one
 * go: what is written in multiples of it leaves no small packet. Never 0.
 */
uint32_t lwr__sock_unit(int fd);

/* Returns bytes read, 0 at the end of the stream, or -errno. */
ssize_t lwr__sock_readv(int fd, const struct iovec *iov, int n);

/* True if the next read would find the end of the stream, in order. */
bool lwr__sock_ended(int fd);

/* Half-closes the sending side. Returns 0 or -errno. */
int lwr__sock_shutdown(int fd);

/* Its close() may wait, if whoever shares it wants that (SO_LINGER). */
bool lwr__sock_lingers(int fd);

/* Closes so that the peer sees RST, whatever is buffered. */
void lwr__sock_reset(int fd);

void lwr__sock_close(int fd);

/* An unconnected UDP socket of `family`. Returns the descriptor or -errno. */
int lwr__sock_udp(int family);

/*
 * Sends one payload, cut by the kernel into datagrams of `seg` bytes where
 * seg is not 0 (UDP_SEGMENT). Returns bytes sent or -errno.
 */
ssize_t lwr__sock_sendto(int fd, const struct iovec *iov, int n, uint16_t seg,
			 const struct sockaddr *sa, socklen_t len);

/*
 * Receives one datagram, or several of one size *seg each (UDP_GRO).
 * Returns bytes or -errno; fills the sender's address.
 */
ssize_t lwr__sock_recvfrom(int fd, void *buf, size_t len, uint16_t *seg,
			   struct sockaddr_storage *from);

/* Fills `buf` with secure random bytes. */
void lwr__random(void *buf, size_t len);

#endif
