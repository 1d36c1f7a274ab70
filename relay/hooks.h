/* SPDX-License-Identifier: BSD-3-Clause */
/* The user's hooks, as the relay calls them. Loop thread only. */
#ifndef LWR_RELAY_HOOKS_H
#define LWR_RELAY_HOOKS_H

#include "core/addr.h"
#include "relay/lwrelay.h"

struct lwr_hook_set {
	struct lwr_hooks fn; /* NULL each: not wanted */
	void *arg;
	bool terminated; /* on_terminate was called */
	unsigned inside; /* calls of hooks that have not returned */
};

struct lwr_endpoint lwr__endpoint(const struct lwr_addr *a, uint16_t port);

/*
 * Asks about a flow that the relay's own rules allow; *to is where it goes: to
 * the host, or of a client's, to the guest.
 * Returns LWR_ALLOW (also after a redirection), LWR_DENY or LWR_REFUSE.
 */
enum lwr_verdict lwr__hooks_flow_open(struct lwr_hook_set *h,
				      const struct lwr_flow_info *flow,
				      struct lwr_addr *to, uint16_t *port);

void lwr__hooks_flow_close(struct lwr_hook_set *h,
			   const struct lwr_flow_info *flow, int err);

/* Tells it once; later calls do nothing. */
void lwr__hooks_terminate(struct lwr_hook_set *h, const char *reason);

#endif
