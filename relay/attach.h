/* SPDX-License-Identifier: BSD-3-Clause */
/* --attach: a socket on which each connection hands over one link. */
#ifndef LWR_RELAY_ATTACH_H
#define LWR_RELAY_ATTACH_H

#include "core/stack.h"

#include <stdint.h>

struct lwr_attach;

struct lwr_attach_options {
	const char *path;
	uint32_t max_links; /* attached at once */
	const struct lwr_net *net; /* what a request does not say; borrowed */
	/* A link that was attached has gone: 0, or the -errno that ended it. */
	void (*on_gone)(void *arg, int err);
	void *arg;
};

/*
 * Listens; links come and go by themselves from now on. Returns 0, or what
 * lwr__unix_open() returns, or -errno.
 */
int lwr__attach_open(struct lwr_stack *stack,
		     const struct lwr_attach_options *options,
		     struct lwr_attach **out);

/*
 * Ends connections and links, before the stack ends. Its handles hold the
 * loop until they are closed.
 */
void lwr__attach_close(struct lwr_attach *a);

#endif
