/* SPDX-License-Identifier: BSD-3-Clause */
/* One connected guest of the stream link: frames in a byte stream. */
#ifndef LWR_NETIF_CLIENT_H
#define LWR_NETIF_CLIENT_H

#include "core/buf.h"
#include "core/link.h"

#include <stdbool.h>

struct lwr_client;

/*
 * Serves a connected, non-blocking socket as the link's guest; it reads into
 * `slabs`, which outlives it. fd is taken on success. on_gone comes once, when
 * the guest left (0) or its link broke (-errno), with the client still to be
 * stopped. Returns 0 or -errno.
 */
int lwr__client_start(struct lwr_link *link, struct lwr_slab_pool *slabs,
		      int fd, void (*on_gone)(struct lwr_link *link, int err),
		      struct lwr_client **out);

/* Ends it at once; c is not valid any more. Callable from inside on_gone. */
void lwr__client_stop(struct lwr_client *c);

/* The far side is gone already, though there may be frames left to read. */
bool lwr__client_leaving(const struct lwr_client *c);

/* Writes as much of link->h2g as the socket takes; the rest follows. */
void lwr__client_drain(struct lwr_client *c);

#endif
