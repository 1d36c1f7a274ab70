/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest at the far end of a socket: whoever speaks its protocol. */
#ifndef LWR_NETIF_CLIENT_H
#define LWR_NETIF_CLIENT_H

#include "core/buf.h"
#include "core/link.h"
#include "platform/unix.h"

#include <stdbool.h>

struct lwr_client;

struct lwr_client_ops {
	/* Ends it at once; c is not valid any more. Also from in on_gone. */
	void (*stop)(struct lwr_client *c);
	/* The far side is gone, though there may be frames left to read. */
	bool (*leaving)(const struct lwr_client *c);
	/* Writes as much of link->h2g as the socket takes; the rest follows. */
	void (*drain)(struct lwr_client *c);
};

struct lwr_client {
	const struct lwr_client_ops *ops;
};

/* What a client is made of. */
struct lwr_client_args {
	struct lwr_link *link;
	struct lwr_slab_pool *slabs; /* it reads into; outlives it */
	int fd; /* connected, non-blocking; taken on success */
	/* Whom a datagram socket was connected to; NULL: it came connected. */
	const struct lwr_unix_peer *peer;
	/*
	 * Comes once, when the guest left (0) or its link broke (-errno), with
	 * the client still to be stopped.
	 */
	void (*on_gone)(struct lwr_link *link, int err);
};

/* Frames in a byte stream, each with its length in front. */
int lwr__stream_client(const struct lwr_client_args *args,
		       struct lwr_client **out);

/* A datagram or message is a frame. */
int lwr__dgram_client(const struct lwr_client_args *args,
		      struct lwr_client **out);

#endif
