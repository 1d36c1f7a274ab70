/* SPDX-License-Identifier: BSD-3-Clause */
/* What each link may do in one tick, so that none keeps the others waiting. */
#ifndef LWR_CORE_SHARE_H
#define LWR_CORE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct lwr_link;
struct lwr_stack;

/* Of a link: what is left of the tick that `tick` numbers. */
struct lwr_share {
	uint32_t tick;
	uint32_t g2h; /* bytes */
	uint32_t h2g;
	uint32_t bulk; /* the tick of the last large use of that */
};

/* Of the stack. */
struct lwr_sharing {
	uint32_t tick; /* numbers the tick; its end adds one */
	uint32_t active; /* links that worked in it */
	uint32_t shared; /* ticks for which shares are kept to */
};

enum { LWR_SHARE_CONNECT = 16 * 1024 }; /* what a connect costs, in bytes */

/* A frame of `len` bytes came. False: the link's share is used up. */
bool lwr__share_g2h(struct lwr_link *link, uint32_t len);

/* Bytes of payload that may be read for the link's guest now. */
uint32_t lwr__share_h2g(struct lwr_link *link);
void lwr__share_h2g_use(struct lwr_link *link, uint32_t len);

/* Links compete, and this one's share has long been spent in small pieces. */
bool lwr__share_bulk_waits(const struct lwr_link *link);

/* The tick ends. */
void lwr__share_next(struct lwr_stack *s);

#endif
