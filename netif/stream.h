/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link over a Unix stream socket: u32 big-endian length, then the frame
 * (QEMU -netdev stream, libkrun's unixstream, passt's protocol).
 */
#ifndef LWR_NETIF_STREAM_H
#define LWR_NETIF_STREAM_H

#include "core/link.h"

#include <stdint.h>

/*
 * `net` is borrowed while the link lives. Listens on `path` and serves one client at a time; a second one is refused,
 * the next one served after it leaves. A stale socket file is replaced, a
 * live owner's is not: -EADDRINUSE. Returns 0 and the link, or -errno.
 */
int lwr__stream_listen(struct lwr_stack *stack, const char *path,
		       const struct lwr_net *net, struct lwr_link **out);

/* The same on a connected socket, taken on success; it serves this client. */
int lwr__stream_fd(struct lwr_stack *stack, const char *name, int fd,
		   const struct lwr_net *net, struct lwr_link **out);

#endif
