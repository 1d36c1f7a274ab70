/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which guest has which address. The relay is the only server of its network,
 * so it may decide freely, and does so that a guest keeps its address however
 * its identity changes:
 *
 *	a lease of its hardware address (--lease)
 *	what this identity had before, bound or not
 *	what this hardware address had under another identity
 *	the network's guest address, which published ports go to
 *	what the client asks for, an address never given, the one longest free
 *
 * The third is what happens when a machine boots from the network and then
 * starts a system that calls itself otherwise. (RFC 2131 would give it a second
 * address; two clients behind one hardware address that are up at once need
 * leases.) Not so for a second identity of one machine: a DHCPv6 client
 * may ask for several addresses (IAIDs) under one DUID.
 *
 * Addresses come from a small range that starts at the guest's, and from the
 * leases, so the table is bounded by what can be given at all. What a relay
 * forgot by being restarted, clients tell: a claim to a free address of the
 * range is granted.
 *
 * Nothing expires by a timer: times are compared when somebody asks.
 */
#include "relay/pool.h"

#include <string.h>

static const struct lwr_addr *first_of(const struct lwr_pool *p,
				       const struct lwr_net *net)
{
	return p->six ? &net->guest6 : &net->guest;
}

/* The i-th address of the range; false: it cannot be given to just anyone. */
static bool nth(const struct lwr_pool *p, const struct lwr_net *net, unsigned i,
		struct lwr_addr *a)
{
	*a = *first_of(p, net);
	if (p->six)
		a->b[15] = (uint8_t)(a->b[15] + i);
	else
		*a = lwr__addr_of_v4(lwr__addr_v4(a) + i);
	return lwr__net_leasable(net, a) && !lwr__net_lease(net, a);
}

static bool in_range(const struct lwr_pool *p, const struct lwr_net *net,
		     const struct lwr_addr *addr)
{
	struct lwr_addr a;

	for (unsigned i = 0; i < LWR_POOL_DYNAMIC; i++)
		if (nth(p, net, i, &a) && lwr__addr_equal(&a, addr))
			return true;
	return false;
}

static const struct lwr_lease *lease_of(const struct lwr_pool *p,
					const struct lwr_net *net,
					const struct lwr_client *c)
{
	for (unsigned i = 0; i < net->leases; i++) {
		const struct lwr_lease *l = &net->lease[i];

		if (memcmp(l->mac, c->mac, sizeof(c->mac)) == 0 &&
		    lwr__addr_is4(&l->addr) != p->six)
			return l;
	}
	return NULL;
}

static struct lwr_binding *at(struct lwr_pool *p, const struct lwr_addr *a)
{
	for (unsigned i = 0; i < p->count; i++)
		if (lwr__addr_equal(&p->binding[i].addr, a))
			return &p->binding[i];
	return NULL;
}

static bool in_force(const struct lwr_binding *b, uint64_t now)
{
	return b->state != LWR_BINDING_FREE && b->until_ms > now;
}

static bool is_declined(const struct lwr_binding *b, uint64_t now)
{
	return b->state == LWR_BINDING_DECLINED && b->until_ms > now;
}

/* It is, or was, the client's. */
static bool is_clients(const struct lwr_binding *b, const struct lwr_client *c)
{
	if (b->client.id == c->id)
		return true;
	return b->client.owner != c->owner &&
	       memcmp(b->client.mac, c->mac, sizeof(c->mac)) == 0;
}

static struct lwr_binding *take(struct lwr_binding *b,
				const struct lwr_client *c)
{
	b->client = *c;
	return b;
}

/* A binding of an address that was never given. NULL: the table is full. */
static struct lwr_binding *add(struct lwr_pool *p, const struct lwr_client *c,
			       const struct lwr_addr *a)
{
	struct lwr_binding *b;

	if (p->count == LWR_POOL_MAX)
		return NULL;
	b = &p->binding[p->count++];
	*b = (struct lwr_binding){ .addr = *a };
	return take(b, c);
}

/* What it had: by its identity first, then by its hardware address. */
static struct lwr_binding *former(struct lwr_pool *p,
				  const struct lwr_client *c, uint64_t now)
{
	struct lwr_binding *b, *other = NULL;

	for (unsigned i = 0; i < p->count; i++) {
		b = &p->binding[i];
		if (is_declined(b, now) || !is_clients(b, c))
			continue;
		if (b->client.id == c->id)
			return b;
		other = b;
	}
	return other;
}

/* A given address if nobody has it. */
static struct lwr_binding *available(struct lwr_pool *p,
				     const struct lwr_client *c,
				     const struct lwr_addr *a, uint64_t now)
{
	struct lwr_binding *b = at(p, a);

	if (!b)
		return add(p, c, a);
	return in_force(b, now) ? NULL : take(b, c);
}

static struct lwr_binding *never_given(struct lwr_pool *p,
				       const struct lwr_net *net,
				       const struct lwr_client *c)
{
	struct lwr_addr a;

	for (unsigned i = 0; i < LWR_POOL_DYNAMIC; i++)
		if (nth(p, net, i, &a) && !at(p, &a))
			return add(p, c, &a);
	return NULL;
}

static struct lwr_binding *longest_free(struct lwr_pool *p,
					const struct lwr_net *net,
					const struct lwr_client *c,
					uint64_t now)
{
	struct lwr_binding *b, *best = NULL;

	for (unsigned i = 0; i < p->count; i++) {
		b = &p->binding[i];
		if (in_force(b, now) || lwr__net_lease(net, &b->addr))
			continue;
		if (!best || b->until_ms < best->until_ms)
			best = b;
	}
	return best ? take(best, c) : NULL;
}

static struct lwr_binding *dynamic(struct lwr_pool *p,
				   const struct lwr_net *net,
				   const struct lwr_client *c,
				   const struct lwr_addr *wanted, uint64_t now)
{
	const struct lwr_addr *first = first_of(p, net);
	struct lwr_binding *b = NULL;

	if (!lwr__net_lease(net, first))
		b = available(p, c, first, now);
	if (!b && wanted && in_range(p, net, wanted))
		b = available(p, c, wanted, now);
	if (!b)
		b = never_given(p, net, c);
	return b ? b : longest_free(p, net, c, now);
}

struct lwr_binding *lwr__pool_choose(struct lwr_pool *p,
				     const struct lwr_net *net,
				     const struct lwr_client *c,
				     const struct lwr_addr *wanted,
				     uint64_t now_ms)
{
	const struct lwr_lease *l = lease_of(p, net, c);
	struct lwr_binding *b;

	if (l) {
		b = at(p, &l->addr);
		if (!b)
			return add(p, c, &l->addr);
		if (!is_declined(b, now_ms))
			return take(b, c);
	}
	b = former(p, c, now_ms);
	if (b)
		return take(b, c);
	return dynamic(p, net, c, wanted, now_ms);
}

/* The address is the client's to name, as far as leases and range say. */
static bool claimable(struct lwr_pool *p, const struct lwr_net *net,
		      const struct lwr_client *c, const struct lwr_addr *addr,
		      uint64_t now)
{
	const struct lwr_lease *l = lease_of(p, net, c);
	struct lwr_binding *b = l ? at(p, &l->addr) : NULL;

	if (l && !(b && is_declined(b, now)))
		return lwr__addr_equal(&l->addr, addr);
	return in_range(p, net, addr);
}

struct lwr_binding *lwr__pool_claim(struct lwr_pool *p,
				    const struct lwr_net *net,
				    const struct lwr_client *c,
				    const struct lwr_addr *addr,
				    uint64_t now_ms)
{
	struct lwr_binding *b = at(p, addr), *had = former(p, c, now_ms);

	if (!claimable(p, net, c, addr, now_ms))
		return NULL;
	if (!b || !in_force(b, now_ms)) {
		/* It has another one, and is to learn that. */
		if (had && had != b && in_force(had, now_ms) &&
		    !lwr__net_lease(net, addr))
			return NULL;
		return b ? take(b, c) : add(p, c, addr);
	}
	if (is_declined(b, now_ms))
		return NULL;
	return lwr__net_lease(net, addr) || is_clients(b, c) ? take(b, c) :
							       NULL;
}

struct lwr_binding *lwr__pool_own(struct lwr_pool *p,
				  const struct lwr_client *c,
				  const struct lwr_addr *addr, uint64_t now_ms)
{
	struct lwr_binding *b = at(p, addr);

	if (!b || !in_force(b, now_ms) || is_declined(b, now_ms))
		return NULL;
	return is_clients(b, c) ? b : NULL;
}

void lwr__binding_set(struct lwr_binding *b, enum lwr_binding_state state,
		      uint64_t now_ms, uint64_t ms)
{
	if (state == LWR_BINDING_OFFERED && b->state == LWR_BINDING_BOUND &&
	    b->until_ms > now_ms)
		return;
	b->state = state;
	b->until_ms = ms == LWR_FOREVER ? LWR_FOREVER : now_ms + ms;
}
