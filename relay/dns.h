/* SPDX-License-Identifier: BSD-3-Clause */
/* The resolvers of the host, and its search domains. */
#ifndef LWR_RELAY_DNS_H
#define LWR_RELAY_DNS_H

#include "core/addr.h"
#include "core/config.h"
#include "core/log.h"
#include "platform/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lwr_dns {
	const struct lwr_config *config;
	struct lwr_addr resolver[LWR_DNS_MAX];
	uint16_t port[LWR_DNS_MAX];
	uint32_t scope[LWR_DNS_MAX]; /* interface of a link-local one, or 0 */
	unsigned count;
	uint32_t generation; /* changes whenever they do */
	/* Search domains, one blank between two, or "". */
	char search[LWR_DOMAIN_MAX + 1];
	void (*on_search)(struct lwr_dns *d); /* they changed; or NULL */
	const char *path; /* /etc/resolv.conf; borrowed */
	int64_t stamp_ns; /* of the file that was last read; 0: none */
	uint64_t read_ms; /* when it was last looked at, while not followed */
	struct lwr_loop *loop; /* of the watch */
	struct lwr_watch watch; /* tells of changes; fd -1: not followed */
};

/* Reads the resolvers; none at all is not an error. */
int lwr__dns_init(struct lwr_dns *d, const struct lwr_config *config,
		  const char *path);

/* Reads the file again whenever it changes, if the kernel can tell. */
void lwr__dns_follow(struct lwr_dns *d, struct lwr_loop *loop);
void lwr__dns_unfollow(struct lwr_dns *d);

/* Where it cannot: looks, at most once a second, whether it changed. */
void lwr__dns_refresh(struct lwr_dns *d, uint64_t now_ms);

/* Parses resolv.conf text (resolv.conf(5)) into d. */
void lwr__dns_parse(struct lwr_dns *d, const char *text);

/* The i-th resolver's address. Returns its length. */
socklen_t lwr__dns_sockaddr(const struct lwr_dns *d, unsigned i,
			    struct sockaddr_storage *ss);

/*
 * The search domains as names on the wire (RFC 1035 3.1), uncompressed, whole
 * names only. Returns the bytes written, at most len.
 */
size_t lwr__dns_search_wire(const struct lwr_dns *d, void *buf, size_t len);

/* Length of the first search domain in d->search; 0: there is none. */
size_t lwr__dns_domain_len(const struct lwr_dns *d);

#endif
