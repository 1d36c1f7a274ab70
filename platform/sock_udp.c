/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP and echo sockets. They are not connected, so that one serves every destination of
 * a guest's socket; errors of the network therefore come by the error queue
 * (IP_RECVERR). That has a side effect: a report also makes the next call on
 * the socket fail once, whatever that call was about. Sending tries again.
 *
 * Segments are cut by the kernel (UDP_SEGMENT) in calls of as many as it
 * takes, and one by one where it refuses: they exceed the device's MTU and
 * need fragments, or the device cannot fill in their checksums.
 *
 * Buffers of a socket are made as large as an ordinary process may: the kernel
 * counts the memory of a datagram, not its bytes, and its default is full
 * after some hundred of 64 bytes.
 */
#include "platform/sock.h"
#include "platform/sock_udp.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
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
	READ_MAX = 65536, /* one datagram or train */
	/* Not a multiple of a page: buffers must not share cache sets. */
	READ_STRIDE = READ_MAX + 4096 + 192,
	READ_BATCH = 32,
};

static void set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* What an old kernel lacks of it is done without. */
static void set_up(int fd, int family)
{
	/* Capped by net.core.rmem_max and wmem_max. */
	set_option(fd, SOL_SOCKET, SO_RCVBUF, INT_MAX / 2);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, INT_MAX / 2);
	if (family == AF_INET) {
		set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
	} else {
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	}
}

int lwr__sock_udp(int family)
{
	int fd;

	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	set_up(fd, family);
	return fd;
}

int lwr__sock_ping(int family)
{
	int fd;

	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (fd < 0)
		return -errno;
	set_up(fd, family);
	return fd;
}

void lwr__sock_dont_fragment(int fd, int family, bool df)
{
	if (family == AF_INET)
		set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER,
			   df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
	else
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
			   df ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT);
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

struct control {
	size_t len;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))];
	} u;
};

static void put_control(struct control *c, int level, int type,
			const void *value, size_t len)
{
	struct cmsghdr *h = (struct cmsghdr *)(void *)(c->u.buf + c->len);

	h->cmsg_level = level;
	h->cmsg_type = type;
	h->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(h), value, len);
	c->len += CMSG_SPACE(len);
}

/* Tells of a train's segments and of a TTL that is not the default. */
static void add_control(struct msghdr *msg, struct control *c, uint16_t seg,
			uint8_t ttl)
{
	const struct sockaddr *sa = msg->msg_name;
	int hops = ttl;

	if (!seg && !ttl)
		return;
	memset(c, 0, sizeof(*c));
	if (seg)
		put_control(c, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
	if (ttl && sa->sa_family == AF_INET)
		put_control(c, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
	else if (ttl)
		put_control(c, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops,
			    sizeof(hops));
	msg->msg_control = c->u.buf;
	msg->msg_controllen = c->len;
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
	uint8_t ttl;
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
	struct control c;

	add_control(&msg, &c, part > s->seg ? s->seg : 0, s->ttl);
	return send_msg(fd, &msg);
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
	struct segments s = { iov, n, total_of(iov, n), seg, 0, sa, len };
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

/* A batch of n messages; `m` and `c` are as many. */
static void fill(const struct lwr_sock_out *out, unsigned n, struct mmsghdr *m,
		 struct iovec *iov, struct control *c)
{
	for (unsigned i = 0; i < n; i++) {
		iov[i].iov_base = (void *)(uintptr_t)out[i].data;
		iov[i].iov_len = out[i].len;
		m[i].msg_hdr = (struct msghdr){
			.msg_name = (void *)(uintptr_t)out[i].to,
			.msg_namelen = out[i].to_len,
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
		};
		add_control(&m[i].msg_hdr, &c[i],
			    out[i].len > out[i].seg ? out[i].seg : 0,
			    out[i].ttl);
	}
}

static int send_batch(int fd, struct mmsghdr *m, unsigned n)
{
	int r;

	if (n == 1) {
		r = (int)send_once(fd, &m->msg_hdr);
		return r < 0 ? r : 1;
	}
	do
		r = sendmmsg(fd, m, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* The first one alone, whatever it takes. Returns 1 or -errno. */
static int send_first(int fd, const struct lwr_sock_out *out, struct mmsghdr *m)
{
	struct iovec iov = { (void *)(uintptr_t)out->data, out->len };
	struct segments s = { &iov,	1,	 out->len,   out->seg,
			      out->ttl, out->to, out->to_len };
	ssize_t r;

	if (out->seg && out->len > out->seg)
		r = send_segments(fd, &s);
	else
		r = send_msg(fd, &m->msg_hdr);
	return r < 0 ? (int)r : 1;
}

int lwr__sock_send(int fd, const struct lwr_sock_out *out, unsigned n)
{
	struct control c[LWR_SOCK_BATCH];
	struct mmsghdr m[LWR_SOCK_BATCH];
	struct iovec iov[LWR_SOCK_BATCH];
	int r;

	n = n < LWR_SOCK_BATCH ? n : LWR_SOCK_BATCH;
	fill(out, n, m, iov, c);
	r = send_batch(fd, m, n);
	if (r > 0 || r == -EAGAIN)
		return r;
	return send_first(fd, out, m);
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

/* The size of each datagram of a train of len bytes; 0: it is one. */
static uint16_t gro_size(struct msghdr *msg, size_t len)
{
	struct cmsghdr *c;
	int size = 0;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	}
	return size > 0 && (size_t)size < len ? (uint16_t)size : 0;
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

	*seg = r < 0 ? 0 : gro_size(&msg, (size_t)r);
	return r;
}

struct lwr_sock_reader {
	struct mmsghdr msg[READ_BATCH];
	struct iovec iov[READ_BATCH];
	struct sockaddr_storage from[READ_BATCH];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control[READ_BATCH];
	/* Pages that nothing was received into are never touched. */
	uint8_t data[READ_BATCH][READ_STRIDE];
};

struct lwr_sock_reader *lwr__sock_reader_new(void)
{
	return malloc(sizeof(struct lwr_sock_reader));
}

void lwr__sock_reader_free(struct lwr_sock_reader *r)
{
	free(r);
}

static void prepare(struct lwr_sock_reader *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		r->iov[i].iov_base = r->data[i];
		r->iov[i].iov_len = READ_MAX;
		r->msg[i].msg_hdr = (struct msghdr){
			.msg_name = &r->from[i],
			.msg_namelen = sizeof(r->from[i]),
			.msg_iov = &r->iov[i],
			.msg_iovlen = 1,
			.msg_control = r->control[i].buf,
			.msg_controllen = sizeof(r->control[i].buf),
		};
	}
}

int lwr__sock_receive(struct lwr_sock_reader *r, int fd, struct lwr_sock_in *in,
		      unsigned max)
{
	unsigned n = max < READ_BATCH ? max : READ_BATCH;
	int got;

	prepare(r, n);
	do
		got = recvmmsg(fd, r->msg, n, 0, NULL);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	for (int i = 0; i < got; i++) {
		in[i].data = r->data[i];
		in[i].len = r->msg[i].msg_len;
		in[i].seg = gro_size(&r->msg[i].msg_hdr, in[i].len);
		in[i].from = r->from[i];
	}
	return got;
}
