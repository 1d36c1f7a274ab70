/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of a link's guests: which are given, to whom, until when. */
#ifndef LWR_RELAY_POOL_H
#define LWR_RELAY_POOL_H

#include "core/addr.h"
#include "core/config.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LWR_POOL_DYNAMIC = 64, /* addresses from the guest's own on */
	LWR_POOL_MAX = LWR_POOL_DYNAMIC + LWR_LEASES_MAX,
};

#define LWR_FOREVER UINT64_MAX

/* Who asks. The hashes are keyed, so that no guest can make two alike. */
struct lwr_client {
	uint64_t id; /* DHCPv4 client identifier, or DUID and IAID */
	uint64_t owner; /* the machine of several ids: DUID; else the id */
	uint8_t mac[6];
};

enum lwr_binding_state {
	LWR_BINDING_FREE, /* remembered: it was this client's */
	LWR_BINDING_OFFERED,
	LWR_BINDING_BOUND,
	LWR_BINDING_DECLINED, /* somebody else has it, a client said */
};

struct lwr_binding {
	struct lwr_addr addr;
	struct lwr_client client;
	enum lwr_binding_state state;
	uint64_t until_ms; /* the state counts; then it is as FREE */
};

/* Of one family on one link; all zeros is an empty one. */
struct lwr_pool {
	bool six;
	unsigned count;
	struct lwr_binding binding[LWR_POOL_MAX];
};

/*
 * The address for a client: its lease, what it had, the network's default
 * guest address, what it wants (or NULL), any. NULL: none is left. The binding
 * is this client's then, in whatever state it was. Lifetime: the pool's.
 */
struct lwr_binding *lwr__pool_choose(struct lwr_pool *p,
				     const struct lwr_net *net,
				     const struct lwr_client *c,
				     const struct lwr_addr *wanted,
				     uint64_t now_ms);

/* The binding if the client may have the address that it names, or NULL. */
struct lwr_binding *lwr__pool_claim(struct lwr_pool *p,
				    const struct lwr_net *net,
				    const struct lwr_client *c,
				    const struct lwr_addr *addr,
				    uint64_t now_ms);

/* The client's own binding of an address that is in force, or NULL. */
struct lwr_binding *lwr__pool_own(struct lwr_pool *p,
				  const struct lwr_client *c,
				  const struct lwr_addr *addr, uint64_t now_ms);

/* For at least `ms` from now on; a binding in force is not cut down to an offer. */
void lwr__binding_set(struct lwr_binding *b, enum lwr_binding_state state,
		      uint64_t now_ms, uint64_t ms);

#endif
