/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Most links have one guest, and then every frame goes to the one hardware
 * address that frames come from. Behind a bridge there may be more; each
 * guest's own packets, ARP and NDP included, say where it is, so the relay
 * never has to ask.
 *
 * Learning goes on from the first frame, so that a guest that was alone is
 * found when a second one appears. A frame like the one before costs one
 * comparison. The table has a fixed size: sets of four, in which what is
 * confirmed moves to the front and what is new pushes the last one out. A
 * guest that makes up addresses can push others out of the table until they
 * speak again; guests behind one bridge can do worse to each other.
 *
 * An address that a lease (core/config.h) gives to a hardware address is
 * there, whatever other frames claim.
 */
#include "core/neighbour.h"

#include <string.h>

void lwr__neighbours_reset(struct lwr_neighbours *n, const struct lwr_net *net)
{
	memset(n, 0, sizeof(*n));
	memset(n->mac, 0xff, sizeof(n->mac));
	n->many = net->leases > 0;
}

void lwr__neighbours_saw(struct lwr_neighbours *n, const uint8_t mac[6])
{
	if (memcmp(n->mac, mac, sizeof(n->mac)) == 0)
		return;
	n->many = n->many || n->known;
	memcpy(n->mac, mac, sizeof(n->mac));
	n->known = true;
}

static struct lwr_neighbour *set_of(const struct lwr_neighbours *n,
				    const struct lwr_addr *a)
{
	enum { GOLDEN = 0x9e3779b1u, SHIFT = 26 };
	uint32_t head, tail;

	_Static_assert(1u << (32 - SHIFT) == LWR_NEIGHBOUR_SETS, "index");
	memcpy(&head, a->b + 8, sizeof(head));
	memcpy(&tail, a->b + 12, sizeof(tail));
	head = (head * 31 + tail) * (uint32_t)GOLDEN;
	return (struct lwr_neighbour *)(uintptr_t)n->slot[head >> SHIFT];
}

static bool is_at(const struct lwr_neighbour *e, const struct lwr_addr *addr,
		  const uint8_t mac[6])
{
	return lwr__addr_equal(&e->addr, addr) && memcmp(e->mac, mac, 6) == 0;
}

/* The relay's own addresses are nobody else's. */
static bool is_own(const struct lwr_net *net, const struct lwr_addr *a)
{
	return lwr__addr_equal(a, &net->gateway) ||
	       lwr__addr_equal(a, &net->dns) ||
	       lwr__addr_equal(a, &net->gateway6) ||
	       lwr__addr_equal(a, &net->dns6) ||
	       lwr__addr_equal(a, &net->gateway6_ll);
}

static bool may_have(const struct lwr_net *net, const struct lwr_addr *a,
		     const uint8_t mac[6])
{
	const struct lwr_lease *l = lwr__net_lease(net, a);

	if (l)
		return memcmp(l->mac, mac, sizeof(l->mac)) == 0;
	if (is_own(net, a))
		return false;
	if (lwr__addr_is4(a))
		return lwr__addr_in(a, &net->subnet);
	return lwr__addr_in(a, &net->subnet6) || lwr__addr_is_linklocal(a);
}

void lwr__neighbours_learn(struct lwr_neighbours *n, const struct lwr_net *net,
			   const struct lwr_addr *addr, const uint8_t mac[6])
{
	struct lwr_neighbour e, *set;
	unsigned i;

	if (n->last && is_at(n->last, addr, mac))
		return;
	if (!may_have(net, addr, mac))
		return;
	e.addr = *addr;
	memcpy(e.mac, mac, sizeof(e.mac));
	set = set_of(n, addr);
	for (i = 0; i < LWR_NEIGHBOUR_WAYS - 1; i++)
		if (lwr__addr_equal(&set[i].addr, addr))
			break;
	memmove(set + 1, set, i * sizeof(*set));
	set[0] = e;
	n->last = &set[0];
	if (memcmp(n->mac, mac, sizeof(n->mac)) != 0)
		n->many = true;
}

const uint8_t *lwr__neighbours_find(const struct lwr_neighbours *n,
				    const struct lwr_net *net,
				    const struct lwr_addr *addr)
{
	const struct lwr_neighbour *set;
	const struct lwr_lease *lease;

	if (!n->many)
		return n->mac;
	set = set_of(n, addr);
	for (unsigned i = 0; i < LWR_NEIGHBOUR_WAYS; i++)
		if (lwr__addr_equal(&set[i].addr, addr))
			return set[i].mac;
	lease = lwr__net_lease(net, addr);
	return lease ? lease->mac : n->mac;
}
