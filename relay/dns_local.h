/* SPDX-License-Identifier: BSD-3-Clause */
/* Names that mean the host or the gateway, and those of --dns-name. */
#ifndef LWR_RELAY_DNS_LOCAL_H
#define LWR_RELAY_DNS_LOCAL_H

#include "core/config.h"
#include "relay/dns_msg.h"

#include <stddef.h>
#include <stdint.h>

enum { LWR_DNS_LOCAL_MAX = 1500 }; /* bytes of such an answer */

/* Takes a name, of labels as a host may have. Returns 0 or -EINVAL. */
int lwr__dns_local_name(char to[LWR_DOMAIN_MAX + 1], const char *text,
			size_t len);

/*
 * The answer to q, if its name is one of these or its address one of theirs.
 * Returns its length, or 0.
 */
size_t lwr__dns_local_answer(const struct lwr_config *config,
			     const struct lwr_net *net,
			     const struct lwr_dns_query *q,
			     const uint8_t *question,
			     uint8_t buf[LWR_DNS_LOCAL_MAX]);

#endif
