/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	/* Payload of a packet to be segmented: 64 KiB with room for headers. */
	GSO_BYTES = 65536 - 1 - 320,
};

void lwr__sock_hops(int fd, int family, uint8_t hops, bool report)
{
	int ttl = hops ? hops : -1, on = report;

	if (family == AF_INET6) {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl,
				 sizeof(ttl));
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on,
				 sizeof(on));
	} else {
		(void)setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
		(void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	}
}

int lwr__sock_connect(const struct sockaddr *sa, socklen_t len,
		      const struct lwr_sock_from *from, uint8_t hops,
		      bool *done)
{
	int fd, err, one = 1;

	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	if (hops)
		lwr__sock_hops(fd, sa->sa_family, hops, true);
	err = from ? lwr__sock_bind_from(fd, sa->sa_family, from) : 0;
	if (err) {
		close(fd);
		return err;
	}
	*done = connect(fd, sa, len) == 0;
	if (*done || errno == EINPROGRESS)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int lwr__sock_connect_udp(const struct sockaddr *sa, socklen_t len,
			  const struct lwr_sock_from *from)
{
	int err, fd = socket(sa->sa_family,
			     SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	err = from ? lwr__sock_bind_from(fd, sa->sa_family, from) : 0;
	/* Linux takes a random port of its range (net/ipv4/udp.c). */
	if (!err && connect(fd, sa, len) < 0)
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int lwr__sock_pair(int fd[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			  0, fd) < 0 ?
		       -errno :
		       0;
}

int lwr__sock_connected(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	if (err)
		return -err;
	len = sizeof(ss);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		return 0;
	return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

ssize_t lwr__sock_writev(int fd, const struct iovec *iov, int n)
{
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};
	ssize_t r;

	do
		r = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

uint32_t lwr__sock_mss(int fd)
{
	int mss;
	socklen_t len = sizeof(mss);

	if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len) < 0 || mss < 1)
		return 0;
	return (uint32_t)mss;
}

uint32_t lwr__sock_unit(int fd)
{
	uint32_t mss = lwr__sock_mss(fd);

	if (mss == 0)
		return 1;
	return mss > GSO_BYTES ? mss : GSO_BYTES / mss * mss;
}

ssize_t lwr__sock_readv(int fd, const struct iovec *iov, int n)
{
	ssize_t r;

	do
		r = readv(fd, iov, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

bool lwr__sock_ended(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

int lwr__sock_shutdown(int fd)
{
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

bool lwr__sock_lingers(int fd)
{
	int domain = AF_UNSPEC, type = 0;
	socklen_t len = sizeof(int);

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	(void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	return domain != AF_UNSPEC && domain != AF_UNIX && type != SOCK_DGRAM;
}

void lwr__sock_reset(int fd)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

void lwr__sock_close(int fd)
{
	close(fd);
}

void lwr__random(void *buf, size_t len)
{
	/* Up to 256 bytes never fail or fall short once the pool is ready. */
	while (len > 0) {
		ssize_t n = getrandom(buf, len < 256 ? len : 256, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort();
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
}
