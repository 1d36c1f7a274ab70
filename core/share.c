/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fair service between links. A tick reads every link that has frames and
 * every host socket that has payload once, so links take turns by themselves;
 * what makes it unfair is how much a turn holds: a link with a hundred flows has
 * a hundred of them, and a turn of 64 large frames is a hundred small ones'
 * delay. So in each tick a link has a share of bytes each way, and what it has
 * beyond that waits for the next tick, behind the others.
 *
 * A frame costs FRAME_COST besides its bytes: a flood of small frames is paid
 * by the frame, and one of connects by the connect. Towards the guest what a
 * link leaves of its share it keeps for CREDIT_TICKS: the payload of one flow
 * comes in bursts, a flood has something in each tick. Who was alone comes with
 * all of that.
 *
 * Shares are only kept to while links compete: for SHARED_TICKS after a tick in
 * which two links or more had something. A link alone takes as large turns as
 * its own code likes, which is faster.
 */
#include "core/share.h"

#include "core/stack.h"

enum {
	SHARE_G2H = 32 * 1024,
	SHARE_H2G = 64 * 1024, /* a segment */
	CREDIT_TICKS = 4,
	BULK_TICKS = 8,
	FRAME_COST = 16384,
	SHARED_TICKS = 16,
};

/* What is left of its last share, and that of each tick since. */
static uint32_t credit(const struct lwr_share *s, uint32_t ticks)
{
	uint32_t most = CREDIT_TICKS * SHARE_H2G, left;

	if (ticks >= CREDIT_TICKS)
		return most;
	left = s->h2g + ticks * SHARE_H2G;
	return left < most ? left : most;
}

/* The link's share of this tick; NULL: it need not keep to one. */
static struct lwr_share *share_of(struct lwr_link *link)
{
	struct lwr_sharing *all = &link->stack->sharing;
	struct lwr_share *s = &link->share;

	if (s->tick != all->tick) {
		s->h2g = credit(s, all->tick - s->tick);
		s->g2h = SHARE_G2H;
		s->tick = all->tick;
		all->active++;
	}
	return all->shared ? s : NULL;
}

static void spend(uint32_t *left, uint32_t n)
{
	*left -= n < *left ? n : *left;
}

bool lwr__share_g2h(struct lwr_link *link, uint32_t len)
{
	struct lwr_share *s = share_of(link);

	if (!s)
		return true;
	spend(&s->g2h, len + FRAME_COST);
	return s->g2h > 0;
}

uint32_t lwr__share_h2g(struct lwr_link *link)
{
	struct lwr_share *s = share_of(link);

	return s ? s->h2g : UINT32_MAX;
}

void lwr__share_h2g_use(struct lwr_link *link, uint32_t len)
{
	struct lwr_share *s = share_of(link);

	if (!s)
		return;
	spend(&s->h2g, len + FRAME_COST);
	if (len > FRAME_COST)
		s->bulk = s->tick;
}

bool lwr__share_bulk_waits(const struct lwr_link *link)
{
	const struct lwr_sharing *all = &link->stack->sharing;

	return all->shared && all->tick - link->share.bulk > BULK_TICKS;
}

void lwr__share_next(struct lwr_stack *st)
{
	struct lwr_sharing *all = &st->sharing;

	if (all->active == 0)
		return;
	if (all->active > 1)
		all->shared = SHARED_TICKS;
	else if (all->shared > 0)
		all->shared--;
	all->active = 0;
	all->tick++;
}
