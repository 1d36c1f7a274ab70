/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An IP address of either family: 16 bytes in network order, IPv4 in the form
 * ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that it compares and hashes as bytes.
 */
#ifndef LWR_CORE_ADDR_H
#define LWR_CORE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { LWR_ADDR_TEXT = 48 };

struct lwr_addr {
	uint8_t b[16];
};

/* An address range: the first `len` bits of `net` (IPv4: 96 + prefix). */
struct lwr_prefix {
	struct lwr_addr net;
	uint8_t len;
};

static inline bool lwr__addr_equal(const struct lwr_addr *a,
				   const struct lwr_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool lwr__addr_is4(const struct lwr_addr *a);
bool lwr__addr_is_any(const struct lwr_addr *a);
bool lwr__addr_is_multicast(const struct lwr_addr *a); /* or 255.255.255.255 */
bool lwr__addr_is_loopback(const struct lwr_addr *a);
bool lwr__addr_is_linklocal(const struct lwr_addr *a);
bool lwr__addr_in(const struct lwr_addr *a, const struct lwr_prefix *p);

/* From 4 or 16 bytes in network order. */
struct lwr_addr lwr__addr_from4(const void *b4);
struct lwr_addr lwr__addr_from16(const void *b16);

/* IPv4 as a number in host order; only for lwr__addr_is4(). */
uint32_t lwr__addr_v4(const struct lwr_addr *a);
struct lwr_addr lwr__addr_of_v4(uint32_t host_order);

/* Parses a numeric address of either family. Returns 0 or -EINVAL. */
int lwr__addr_parse(const char *text, struct lwr_addr *a);

/*
 * Parses ADDR, ADDR4:PORT or [ADDR6]:PORT; without a port *port stays as it
 * is. Returns 0 or -EINVAL.
 */
int lwr__endpoint_parse(const char *text, struct lwr_addr *a, uint16_t *port);

/* Parses ADDR/LEN; the host bits are kept in *host where that is not NULL. */
int lwr__prefix_parse(const char *text, struct lwr_prefix *p,
		      struct lwr_addr *host);

/* Writes the address as text; returns buf. */
const char *lwr__addr_text(const struct lwr_addr *a, char buf[LWR_ADDR_TEXT]);

/* Returns the length of the socket address written. */
socklen_t lwr__addr_to_sockaddr(const struct lwr_addr *a, uint16_t port,
				struct sockaddr_storage *ss);
void lwr__addr_from_sockaddr(const struct sockaddr_storage *ss,
			     struct lwr_addr *a, uint16_t *port);

#endif
