/* SPDX-License-Identifier: BSD-3-Clause */
/* Behind the public header: between relay/api*.c. */
#ifndef LWR_RELAY_API_H
#define LWR_RELAY_API_H

#include "platform/calls.h"
#include "relay/link_open.h"
#include "relay/relay.h"

struct lwr_api {
	struct lwr_relay relay; /* what the user has a pointer to */
	struct lwr_calls calls;
	bool callable; /* `calls` can be used */
	struct lwr_list links; /* struct lwr_api_link */
	uv_loop_t *uv;
	uv_loop_t own; /* the loop of a thread of its own */
	uv_thread_t thread;
	bool threaded;
	bool joined; /* somebody waits for the thread */
	struct lwr_call later_call; /* ends what a hook has removed, */
	bool later; /* if posted */
	struct lwr_call close_call;
	bool closing; /* under calls.lock */
	void (*on_closed)(void *arg);
	void *closed_arg;
	struct lwr_call terminate_call;
	bool terminating; /* under calls.lock */
	char reason[128];
};

static inline struct lwr_api *lwr__api_of(struct lwr_relay *r)
{
	return LWR_CONTAINER(r, struct lwr_api, relay);
}

/* Applies the user's network to *net. Returns 0, or -EINVAL and why. */
int lwr__api_network(struct lwr_net *net, const struct lwr_network *user,
		     char why[LWR_ERROR_TEXT]);

/*
 * A hook is called from the depth of some work on a flow, and what it removes
 * may be part of that: it is marked, and ended by a call of its own.
 */
void lwr__api_later(struct lwr_api *api);
void lwr__api_close_removed(struct lwr_api *api); /* links */

/* The link of that number, or NULL. */
struct lwr_link *lwr__api_link(struct lwr_relay *r, uint32_t number);

/* Lets go of what belongs to links that are gone with the relay. */
void lwr__api_links_fini(struct lwr_api *api);

#endif
