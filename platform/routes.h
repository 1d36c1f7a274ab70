/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the host has IPv6, and word when that may have changed. */
#ifndef LWR_PLATFORM_ROUTES_H
#define LWR_PLATFORM_ROUTES_H

#include "platform/loop.h"
#include "platform/sock.h"

#include <stdbool.h>

struct lwr_routes {
	struct lwr_loop *loop;
	const struct lwr_sock_from *from; /* borrowed */
	struct lwr_watch watch; /* fd -1: the kernel tells nothing */
	struct lwr_timer timer; /* a burst of changes is looked at once */
	bool was_default; /* there has been a route to everywhere */
	bool ipv6;
	void (*on_change)(struct lwr_routes *r); /* of `ipv6` */
};

/*
 * Looks, and watches the network namespace that this process is in. Where it
 * cannot watch, what it saw stays. `from` is where sockets leave from.
 */
void lwr__routes_open(struct lwr_routes *r, struct lwr_loop *loop,
		      const struct lwr_sock_from *from,
		      void (*on_change)(struct lwr_routes *r));
void lwr__routes_close(struct lwr_routes *r);

/* The host has IPv6 now. */
bool lwr__routes_ipv6(const struct lwr_sock_from *from);

#endif
