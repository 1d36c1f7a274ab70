/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/hooks.h"

#include <string.h>

struct lwr_endpoint lwr__endpoint(const struct lwr_addr *a, uint16_t port)
{
	struct lwr_endpoint e = { .port = port };

	memcpy(e.addr, a->b, sizeof(e.addr));
	return e;
}

enum lwr_verdict lwr__hooks_flow_open(struct lwr_hook_set *h,
				      const struct lwr_flow_info *flow,
				      struct lwr_addr *to, uint16_t *port)
{
	struct lwr_endpoint e = flow->opened == LWR_H2G ? flow->guest :
							  flow->host;
	enum lwr_verdict v;

	if (!h->fn.on_flow_open)
		return LWR_ALLOW;
	h->inside++;
	v = h->fn.on_flow_open(h->arg, flow, &e);
	h->inside--;
	switch (v) {
	case LWR_ALLOW:
	case LWR_REFUSE:
		return v;
	case LWR_REDIRECT:
		*to = lwr__addr_from16(e.addr);
		*port = e.port;
		return LWR_ALLOW;
	case LWR_TERMINATE:
		lwr__hooks_terminate(h, "a flow broke the policy");
		return LWR_DENY;
	default:
		return LWR_DENY;
	}
}

void lwr__hooks_flow_close(struct lwr_hook_set *h,
			   const struct lwr_flow_info *flow, int err)
{
	if (!h->fn.on_flow_close)
		return;
	h->inside++;
	h->fn.on_flow_close(h->arg, flow, err);
	h->inside--;
}

void lwr__hooks_terminate(struct lwr_hook_set *h, const char *reason)
{
	if (h->terminated)
		return;
	h->terminated = true;
	if (!h->fn.on_terminate)
		return;
	h->inside++;
	h->fn.on_terminate(h->arg, reason);
	h->inside--;
}
