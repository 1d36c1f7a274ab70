/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The error queues of sockets (IP_RECVERR, IPV6_RECVERR): of datagrams, and of
 * a TCP socket that is connecting.
 */
#include "platform/sock_udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

static int error_of4(const struct sock_extended_err *e)
{
	if (e->ee_type == ICMP_TIME_EXCEEDED)
		return e->ee_code == ICMP_EXC_TTL ? ETIME : 0;
	if (e->ee_type != ICMP_DEST_UNREACH)
		return 0;
	/* The kernel's errno is finer or coarser than what it came of. */
	switch (e->ee_code) {
	case ICMP_UNREACH_NET_PROHIB:
	case ICMP_UNREACH_HOST_PROHIB:
	case ICMP_UNREACH_FILTER_PROHIB:
		return EACCES;
	case ICMP_UNREACH_NEEDFRAG:
		return EMSGSIZE;
	default:
		return (int)e->ee_errno;
	}
}

static int error_of6(const struct sock_extended_err *e)
{
	switch (e->ee_type) {
	case ICMP6_DST_UNREACH:
		return (int)e->ee_errno;
	case ICMP6_PACKET_TOO_BIG:
		return EMSGSIZE;
	case ICMP6_TIME_EXCEEDED:
		return e->ee_code == ICMP6_TIME_EXCEED_TRANSIT ? ETIME : 0;
	case ICMP6_PARAM_PROB:
		return e->ee_code == ICMP6_PARAMPROB_NEXTHEADER ? ENOPROTOOPT :
								  0;
	default:
		return 0;
	}
}

static int error_of(const struct sock_extended_err *e)
{
	switch (e->ee_origin) {
	case SO_EE_ORIGIN_ICMP:
		return error_of4(e);
	case SO_EE_ORIGIN_ICMP6:
		return error_of6(e);
	case SO_EE_ORIGIN_LOCAL:
		return (int)e->ee_errno;
	default:
		return 0;
	}
}

static bool is_report(const struct cmsghdr *c)
{
	return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
	       (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
}

/* What the kernel appends: the error, and the address of who reports it. */
struct report {
	struct sock_extended_err ee;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} by;
};

static void read_report(const struct cmsghdr *c, struct lwr_sock_error *e)
{
	size_t len = c->cmsg_len - CMSG_LEN(0);
	struct report r = { 0 };

	memcpy(&r, CMSG_DATA(c), len < sizeof(r) ? len : sizeof(r));
	e->err = error_of(&r.ee);
	e->mtu = e->err == EMSGSIZE ? r.ee.ee_info : 0;
	e->local = r.ee.ee_origin == SO_EE_ORIGIN_LOCAL;
	if (r.by.sa.sa_family == AF_INET)
		memcpy(&e->by, &r.by.in, sizeof(r.by.in));
	else if (r.by.sa.sa_family == AF_INET6)
		memcpy(&e->by, &r.by.in6, sizeof(r.by.in6));
}

int lwr__sock_report(int fd, void *buf, size_t len, struct lwr_sock_error *e)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct report))];
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
	struct cmsghdr *c;
	ssize_t r;

	memset(e, 0, sizeof(*e));
	do
		r = recvmsg(fd, &msg, MSG_ERRQUEUE);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	e->len = (size_t)r;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (is_report(c))
			read_report(c, e);
	}
	return 0;
}
