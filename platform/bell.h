/* SPDX-License-Identifier: BSD-3-Clause */
/* A descriptor that one thread makes readable to wake another. */
#ifndef LWR_PLATFORM_BELL_H
#define LWR_PLATFORM_BELL_H

#include <stdatomic.h>

struct lwr_bell {
	_Atomic int fd; /* -1: nobody asked for it */
};

void lwr__bell_init(struct lwr_bell *b);
void lwr__bell_fini(struct lwr_bell *b);

/*
 * The descriptor, made now if there is none. Any thread.
 * Returns it or -errno.
 */
int lwr__bell_fd(struct lwr_bell *b);

/* Makes it readable; nothing happens while there is none. Any thread. */
void lwr__bell_ring(struct lwr_bell *b);

/* Makes it unreadable. */
void lwr__bell_clear(struct lwr_bell *b);

/*
 * Sleeps until it is readable. Returns 1, or 0 when the time is over (-1:
 * there is no end), or -errno.
 */
int lwr__bell_wait(struct lwr_bell *b, int timeout_ms);

#endif
