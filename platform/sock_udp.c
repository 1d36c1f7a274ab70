/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP sockets. They are not connected, so that one serves every destination of
 * a guest's socket; errors of the network therefore come by the error queue
 * (IP_RECVERR). That has a side effect: a report also makes the next call on
 * the socket fail once, whatever that call was about. Sending tries again.
 *
 * Segments are cut by the kernel (UDP_SEGMENT) in calls of as many as it
 * takes, and one by one where it refuses: they exceed the device's MTU and
 * need fragments, or the device cannot fill in their checksums.
 */
#include "platform/sock.h"
#include "platform/sock_udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
	SEGMENTS_MAX = 64, /* UDP_MAX_SEGMENTS */
	PAYLOAD_MAX = 65507,
	IOV_MAX_PARTS = 8,
};

int lwr__sock_udp(int family)
{
	int fd, one = 1;

	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Without GRO or the error queue (old kernels) it still works. */
	(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	if (family == AF_INET) {
		(void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	} else {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
				 sizeof(one));
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one,
				 sizeof(one));
	}
	return fd;
}

/* ---- sending ------------------------------------------------------------- */

static ssize_t send_once(int fd, const struct msghdr *msg)
{
	ssize_t r;

	do
		r = sendmsg(fd, msg, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* One datagram, or a train if the message says so. */
static ssize_t send_msg(int fd, const struct msghdr *msg)
{
	ssize_t r = send_once(fd, msg);

	if (r < 0 && r != -EAGAIN && r != -EMSGSIZE && r != -EINVAL)
		r = send_once(fd, msg); /* it may have been an older one's */
	return r;
}

static ssize_t send_train(int fd, struct msghdr msg, uint16_t seg)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(uint16_t))];
	} u = { 0 };
	struct cmsghdr *c;

	msg.msg_control = u.buf;
	msg.msg_controllen = sizeof(u.buf);
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(seg));
	memcpy(CMSG_DATA(c), &seg, sizeof(seg));
	return send_msg(fd, &msg);
}

/* The bytes [off, off + len) of iov. Returns the parts used. */
static size_t slice(const struct iovec *iov, int n, size_t off, size_t len,
		    struct iovec *out)
{
	size_t parts = 0, room;

	for (int i = 0; i < n && len > 0 && parts < IOV_MAX_PARTS; i++) {
		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		room = iov[i].iov_len - off;
		room = room < len ? room : len;
		out[parts].iov_base = (char *)iov[i].iov_base + off;
		out[parts++].iov_len = room;
		len -= room;
		off = 0;
	}
	return parts;
}

struct segments {
	const struct iovec *iov;
	int n;
	size_t total;
	uint16_t seg;
	const struct sockaddr *sa;
	socklen_t len;
};

static ssize_t send_part(int fd, const struct segments *s, size_t off,
			 size_t step)
{
	size_t part = s->total - off < step ? s->total - off : step;
	struct iovec iov[IOV_MAX_PARTS];
	struct msghdr msg = {
		.msg_name = (void *)(uintptr_t)s->sa,
		.msg_namelen = s->len,
		.msg_iov = iov,
		.msg_iovlen = slice(s->iov, s->n, off, part, iov),
	};

	return part > s->seg ? send_train(fd, msg, s->seg) : send_msg(fd, &msg);
}

/* Bytes that one call takes: whole segments, at least one. */
static size_t train_max(size_t seg)
{
	if (seg * SEGMENTS_MAX <= PAYLOAD_MAX)
		return seg * SEGMENTS_MAX;
	return seg <= PAYLOAD_MAX ? PAYLOAD_MAX - PAYLOAD_MAX % seg : seg;
}

static ssize_t send_segments(int fd, const struct segments *s)
{
	size_t step = train_max(s->seg), off = 0;
	ssize_t r;

	while (off < s->total) {
		r = send_part(fd, s, off, step);
		if ((r == -EINVAL || r == -EIO || r == -EMSGSIZE) &&
		    step > s->seg) {
			step = s->seg;
			continue;
		}
		if (r < 0)
			return off ? (ssize_t)off : r;
		off += s->total - off < step ? s->total - off : step;
	}
	return (ssize_t)s->total;
}

static size_t total_of(const struct iovec *iov, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

ssize_t lwr__sock_sendto(int fd, const struct iovec *iov, int n, uint16_t seg,
			 const struct sockaddr *sa, socklen_t len)
{
	struct segments s = { iov, n, total_of(iov, n), seg, sa, len };
	struct msghdr msg = {
		.msg_name = (void *)(uintptr_t)sa,
		.msg_namelen = len,
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};

	if (seg && s.total > seg)
		return send_segments(fd, &s);
	return send_msg(fd, &msg);
}

/* ---- receiving ----------------------------------------------------------- */

static ssize_t receive(int fd, struct msghdr *msg, int flags)
{
	ssize_t r;

	do
		r = recvmsg(fd, msg, flags);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

ssize_t lwr__sock_recvfrom(int fd, void *buf, size_t len, uint16_t *seg,
			   struct sockaddr_storage *from)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_name = from,
		.msg_namelen = sizeof(*from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	ssize_t r = receive(fd, &msg, 0);
	struct cmsghdr *c;
	int size = 0;

	*seg = 0;
	if (r < 0)
		return r;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	}
	if (size > 0 && size < r)
		*seg = (uint16_t)size;
	return r;
}

/* ---- errors -------------------------------------------------------------- */

/* The kernel's errno of an ICMP error, finer where it is too coarse. */
static int error_of(const struct sock_extended_err *e)
{
	if (e->ee_origin == SO_EE_ORIGIN_ICMP6)
		return e->ee_type == ICMP6_DST_UNREACH ? (int)e->ee_errno : 0;
	if (e->ee_origin != SO_EE_ORIGIN_ICMP || e->ee_type != ICMP_UNREACH)
		return 0;
	switch (e->ee_code) {
	case ICMP_UNREACH_NET_PROHIB:
	case ICMP_UNREACH_HOST_PROHIB:
	case ICMP_UNREACH_FILTER_PROHIB:
		return EACCES;
	case ICMP_UNREACH_NEEDFRAG:
		return 0;
	default:
		return (int)e->ee_errno;
	}
}

static bool is_report(const struct cmsghdr *c)
{
	return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
	       (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
}

int lwr__sock_udp_error(int fd, void *buf, size_t len, struct lwr_sock_error *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct sock_extended_err) +
				    sizeof(struct sockaddr_in6))];
	} u;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_name = &e->to,
		.msg_namelen = sizeof(e->to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.buf,
		.msg_controllen = sizeof(u.buf),
	};
	ssize_t r = receive(fd, &msg, MSG_ERRQUEUE);
	struct sock_extended_err ee;
	struct cmsghdr *c;

	e->err = 0;
	e->len = 0;
	if (r < 0)
		return (int)r;
	e->len = (size_t)r;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (!is_report(c))
			continue;
		memcpy(&ee, CMSG_DATA(c), sizeof(ee));
		e->err = error_of(&ee);
	}
	return 0;
}
