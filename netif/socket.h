/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link over a Unix socket. What a frame is follows from the socket's type:
 *
 *   SOCK_STREAM     u32 big-endian length, then the frame (QEMU -netdev
 *                   stream, libkrun's unixstream, passt's protocol)
 *   SOCK_SEQPACKET  a message (UML's and slirp4netns' bess)
 *   SOCK_DGRAM      a datagram (QEMU -netdev dgram, libkrun's unixgram, vfkit)
 */
#ifndef LWR_NETIF_SOCKET_H
#define LWR_NETIF_SOCKET_H

#include "core/link.h"

/*
 * Listens on `path` and serves one guest at a time; a second one is refused,
 * the next one served after it leaves. The guest of a datagram socket is who
 * sends first, and must have a name of its own. A stale socket file is
 * replaced, a live owner's is not: -EADDRINUSE. Returns 0 and the link, or
 * -errno.
 */
int lwr__socket_listen(struct lwr_stack *stack,
		       const struct lwr_link_setup *setup, int type,
		       const char *path, struct lwr_link **out);

/*
 * The same on a socket of that type, taken on success: connected, and then it
 * serves this guest; or listening, or bound if it is for datagrams.
 */
int lwr__socket_fd(struct lwr_stack *stack, const struct lwr_link_setup *setup,
		   int type, int fd, struct lwr_link **out);

#endif
