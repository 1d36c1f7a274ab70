/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagram sockets beyond what platform/sock.h has: UDP and ICMP echo, many
 * datagrams a call, TTLs, path MTUs, and what became of what was sent.
 */
#ifndef LWR_PLATFORM_SOCK_UDP_H
#define LWR_PLATFORM_SOCK_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { LWR_SOCK_BATCH = 64 }; /* datagrams of one call, at most */

/*
 * An ICMP echo socket ("ping socket"): the kernel puts its own identifier into
 * requests and gives only replies to them. Returns the descriptor or -errno
 * (-EACCES: net.ipv4.ping_group_range does not include us).
 */
int lwr__sock_ping(int family);

/*
 * What happens to datagrams larger than the path: `df` none is fragmented,
 * -EMSGSIZE says that one was too large; else the host fragments them.
 */
void lwr__sock_dont_fragment(int fd, int family, bool df);

/* ---- sending ------------------------------------------------------------ */

/* One datagram, or a train of them of `seg` bytes each where seg is not 0. */
struct lwr_sock_out {
	const struct sockaddr *to;
	const uint8_t *data;
	size_t len;
	socklen_t to_len;
	uint16_t seg;
	uint8_t ttl; /* 0: the host's default */
};

/*
 * Sends up to LWR_SOCK_BATCH in order, in as few calls as it can. Returns how
 * many were taken, at least 1; or -errno, why the first was not.
 */
int lwr__sock_send(int fd, const struct lwr_sock_out *out, unsigned n);

/* ---- receiving ---------------------------------------------------------- */

struct lwr_sock_in {
	struct sockaddr_storage from;
	const uint8_t *data; /* until the next call */
	size_t len;
	uint16_t seg; /* not 0: several datagrams of this size each */
};

struct lwr_sock_reader;

/* NULL: no memory. */
struct lwr_sock_reader *lwr__sock_reader_new(void);
void lwr__sock_reader_free(struct lwr_sock_reader *r);

/*
 * Receives up to `max` datagrams or trains. Returns their number or -errno;
 * fewer than `max`: there are no more.
 */
int lwr__sock_receive(struct lwr_sock_reader *r, int fd, struct lwr_sock_in *in,
		      unsigned max);

/* ---- errors ------------------------------------------------------------- */

/* A datagram, or the SYN of a connect, that the network could not deliver. */
struct lwr_sock_error {
	/*
	 * ECONNREFUSED, ENOPROTOOPT, ENETUNREACH, EHOSTUNREACH; EACCES where
	 * it was forbidden, EMSGSIZE where `mtu` would have passed, ETIME where
	 * its TTL ended; 0 for anything else.
	 */
	int err;
	uint32_t mtu;
	bool local; /* the host itself says so; `to` has no port then */
	struct sockaddr_storage to; /* its destination */
	struct sockaddr_storage by; /* who reports it; family 0: unknown */
	size_t len; /* bytes of its payload in the caller's buffer */
};

/*
 * Takes the oldest report off the socket's error queue, with the beginning of
 * the datagram's payload (echo: of the ICMP message). Returns 0 or -errno
 * (-EAGAIN: there is none).
 */
int lwr__sock_report(int fd, void *buf, size_t len, struct lwr_sock_error *e);

#endif
