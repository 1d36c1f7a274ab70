/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resolvers are asked in the order in which resolv.conf has them (its man page
 * promises that), but a guest must not wait for a dead one with every question.
 * One that left a question unanswered, and has answered nothing since that was
 * asked, counts as dead: it comes last from then on. A single lost datagram
 * can have this effect too, so it is found out soon whether it still holds:
 * after a second, and then at intervals that double up to half a minute, a copy
 * of some question goes to the dead one as well, beside the one that is asked
 * properly. No guest waits for the outcome; any answer makes it good again.
 */
#include "relay/dns_health.h"

enum { WAIT_FIRST_MS = 1000, WAIT_MOST_MS = 30 * 1000 };

void lwr__dns_health_good(struct lwr_dns_health *h, uint64_t now_ms)
{
	h->dead = false;
	h->answered_ms = now_ms;
	h->wait_ms = 0;
}

void lwr__dns_health_bad(struct lwr_dns_health *h, uint64_t asked_ms,
			 uint64_t now_ms)
{
	/* Busy with a hard question, but alive. */
	if (h->answered_ms > asked_ms || h->dead)
		return;
	h->dead = true;
	h->wait_ms = WAIT_FIRST_MS;
	h->probe_ms = now_ms + h->wait_ms;
}

int lwr__dns_health_next(const struct lwr_dns_health *h, unsigned n,
			 unsigned tried, bool alive)
{
	int last = -1;

	for (unsigned i = 0; i < n; i++) {
		if (tried >> i & 1)
			continue;
		if (!h[i].dead)
			return (int)i;
		if (last < 0 && !alive)
			last = (int)i;
	}
	return last;
}

int lwr__dns_health_probe(struct lwr_dns_health *h, unsigned n, unsigned tried,
			  uint64_t now_ms)
{
	for (unsigned i = 0; i < n; i++) {
		if ((tried >> i & 1) || !h[i].dead || h[i].probe_ms > now_ms)
			continue;
		h[i].wait_ms = h[i].wait_ms < WAIT_MOST_MS / 2 ?
				       h[i].wait_ms * 2 :
				       WAIT_MOST_MS;
		h[i].probe_ms = now_ms + h[i].wait_ms;
		return (int)i;
	}
	return -1;
}
