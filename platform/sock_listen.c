/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wildcard socket of UDP must answer from the address that its client wrote
 * to, which the kernel tells and takes by packet info (ip(7), RFC 3542 6). On
 * an IPv6 socket that serves IPv4 too, both families use the IPv6 form.
 */
#include "platform/sock_listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BACKLOG = 4096, SEGMENTS_MAX = 64, PAYLOAD_MAX = 65507 };

static void set(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_options(int fd, int family, bool udp, bool both)
{
	if (family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both);
	if (!udp) {
		/* Accepted sockets inherit them. */
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
		set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		return;
	}
	set(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	else
		set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

int lwr__sock_listen(const struct sockaddr_storage *sa, socklen_t len, bool udp,
		     bool both)
{
	int fd, err;

	fd = socket(sa->ss_family,
		    (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK |
			    SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	set_options(fd, sa->ss_family, udp, both);
	if (bind(fd, (const struct sockaddr *)sa, len) == 0 &&
	    (udp || listen(fd, BACKLOG) == 0))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

uint16_t lwr__sock_port(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return 0;
	memcpy(&in, &ss, sizeof(in));
	memcpy(&in6, &ss, sizeof(in6));
	return ntohs(ss.ss_family == AF_INET6 ? in6.sin6_port : in.sin_port);
}

int lwr__sock_accept(int fd, struct sockaddr_storage *from)
{
	socklen_t len = sizeof(*from);
	int r;

	memset(from, 0, sizeof(*from));
	do
		r = accept4(fd, (struct sockaddr *)from, &len,
			    SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
		return -errno;
	default: /* accept(2): errors of the network come here too */
		return -ECONNABORTED;
	}
}

/* ---- UDP ----------------------------------------------------------------- */

static void map4(struct in6_addr *to, const struct in_addr *a)
{
	memset(to, 0, sizeof(*to));
	memset(to->s6_addr + 10, 0xff, 2);
	memcpy(to->s6_addr + 12, a, 4);
}

static void take_control(struct msghdr *msg, struct lwr_sock_ends *e, int *gro)
{
	struct in6_pktinfo six;
	struct in_pktinfo four;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(gro, CMSG_DATA(c), sizeof(*gro));
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
			   c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof(six));
			e->own = six.ipi6_addr;
		} else if (c->cmsg_level == IPPROTO_IP &&
			   c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof(four));
			map4(&e->own, &four.ipi_addr);
		}
	}
}

ssize_t lwr__sock_udp_take(int fd, void *buf, size_t len, uint16_t *seg,
			   struct lwr_sock_ends *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int)) +
			 CMSG_SPACE(sizeof(struct in_pktinfo)) +
			 CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} u;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_name = &e->peer,
		.msg_namelen = sizeof(e->peer),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	int gro = 0;
	ssize_t r;

	memset(e, 0, sizeof(*e));
	do
		r = recvmsg(fd, &msg, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	take_control(&msg, e, &gro);
	*seg = gro > 0 && gro < r ? (uint16_t)gro : 0;
	return r;
}

/* Packet info of the family of the socket that the client's address names. */
static void put_own(struct cmsghdr *c, const struct lwr_sock_ends *e)
{
	struct in6_pktinfo six = { .ipi6_addr = e->own };
	struct in_pktinfo four = { 0 };

	if (e->peer.ss_family == AF_INET6) {
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(six));
		memcpy(CMSG_DATA(c), &six, sizeof(six));
		return;
	}
	memcpy(&four.ipi_spec_dst, e->own.s6_addr + 12, 4);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(four));
	memcpy(CMSG_DATA(c), &four, sizeof(four));
}

static ssize_t answer_once(int fd, const void *buf, size_t len, uint16_t seg,
			   const struct lwr_sock_ends *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
			 CMSG_SPACE(sizeof(uint16_t))];
	} u = { 0 };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr msg = {
		.msg_name = (void *)(uintptr_t)&e->peer,
		.msg_namelen = e->peer.ss_family == AF_INET6 ?
				       sizeof(struct sockaddr_in6) :
				       sizeof(struct sockaddr_in),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t r;

	put_own(c, e);
	msg.msg_controllen = CMSG_ALIGN(c->cmsg_len);
	if (seg && len > seg) {
		c = (struct cmsghdr *)(void *)(u.buf + msg.msg_controllen);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(seg));
		memcpy(CMSG_DATA(c), &seg, sizeof(seg));
		msg.msg_controllen += CMSG_SPACE(sizeof(seg));
	}
	do
		r = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

ssize_t lwr__sock_udp_answer(int fd, const void *buf, size_t len, uint16_t seg,
			     const struct lwr_sock_ends *e)
{
	const char *data = buf;
	size_t off = 0, step = len, part;
	ssize_t r;

	if (seg && (size_t)seg * SEGMENTS_MAX < step)
		step = (size_t)seg * SEGMENTS_MAX;
	if (seg && step > PAYLOAD_MAX)
		step = seg < PAYLOAD_MAX ? (size_t)PAYLOAD_MAX / seg * seg :
					   seg;
	do {
		part = len - off < step ? len - off : step;
		r = answer_once(fd, data + off, part, seg, e);
		/* As in sock_udp.c: the device, or its MTU, cannot cut it. */
		if (r < 0 && r != -EAGAIN && part > seg && seg && step > seg) {
			step = seg;
			continue;
		}
		if (r < 0)
			return r;
		off += part;
	} while (off < len);
	return (ssize_t)len;
}
