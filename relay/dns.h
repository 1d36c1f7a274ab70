/* SPDX-License-Identifier: BSD-3-Clause */
/* Which resolver of the host answers for the guest's DNS address. */
#ifndef LWR_RELAY_DNS_H
#define LWR_RELAY_DNS_H

#include "core/addr.h"
#include "core/config.h"
#include "core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lwr_dns {
	const struct lwr_config *config;
	struct lwr_addr resolver[LWR_DNS_MAX];
	uint16_t port[LWR_DNS_MAX];
	unsigned count;
	/* Search domains, one blank between two, or "". */
	char search[LWR_DOMAIN_MAX + 1];
	const char *path; /* /etc/resolv.conf; borrowed */
	uint64_t read_ms; /* when it was last looked at */
	int64_t stamp_ns; /* of the file that was last read; 0: none */
};

/* Reads the resolvers; none at all is not an error. */
int lwr__dns_init(struct lwr_dns *d, const struct lwr_config *config,
		  const char *path);

/* Looks, at most once a second, whether resolv.conf changed. */
void lwr__dns_refresh(struct lwr_dns *d, uint64_t now_ms);

/* Parses resolv.conf text (resolv.conf(5)) into d. */
void lwr__dns_parse(struct lwr_dns *d, const char *text);

/* The resolver to ask. False: there is none. */
bool lwr__dns_resolver(const struct lwr_dns *d, struct lwr_addr *addr,
		       uint16_t *port);

/*
 * The search domains as names on the wire (RFC 1035 3.1), uncompressed, whole
 * names only. Returns the bytes written, at most len.
 */
size_t lwr__dns_search_wire(const struct lwr_dns *d, void *buf, size_t len);

/* Length of the first search domain in d->search; 0: there is none. */
size_t lwr__dns_domain_len(const struct lwr_dns *d);

#endif
