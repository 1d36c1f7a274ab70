/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports of the gateway behind which there is a Unix socket of the host. */
#ifndef LWR_RELAY_SERVICE_H
#define LWR_RELAY_SERVICE_H

#include "relay/policy.h"

#include <stdint.h>

struct lwr_service {
	uint16_t port; /* 0: the end of the list */
	const char *path; /* "@name": an abstract one */
};

/* Parses PORT=unix:PATH, which is borrowed. Returns 0 or -EINVAL. */
int lwr__service_parse(struct lwr_service *s, const char *text);

/* The socket behind a destination, or NULL. list NULL: there are none. */
const char *lwr__service_find(const struct lwr_service *list,
			      const struct lwr_net *net,
			      const struct lwr_dest *guest);

#endif
