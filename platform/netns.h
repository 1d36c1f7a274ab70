/* SPDX-License-Identifier: BSD-3-Clause */
/* Namespaces, and descriptors passed between processes. */
#ifndef LWR_PLATFORM_NETNS_H
#define LWR_PLATFORM_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Opens the network namespace of a PID ("4711"), a path ("/run/netns/x") or a
 * name as `ip netns` keeps it ("x"). Returns the descriptor or -errno.
 */
int lwr__netns_open(const char *spec);

/*
 * Moves the calling thread into the namespace, by way of the user namespace
 * that owns it where that is needed. Returns 0 or -errno.
 */
int lwr__netns_enter(int fd);

/*
 * Moves the calling process into a new network and mount namespace. `user`:
 * into a new user namespace first, with its own ids, or, with `root`, as 0.
 * Returns 0 or -errno; *what then names the step that failed.
 */
int lwr__netns_unshare(bool user, bool root, const char **what);

/* Writes a file in one write(2), as /proc wants it. Returns 0 or -errno. */
int lwr__proc_write(const char *path, const char *text);

/*
 * Makes `text` the content of /etc/resolv.conf in the calling process's own
 * mount namespace. Returns 0 or -errno; -ENOENT: there is none to cover.
 */
int lwr__resolvconf_mount(const char *text);

/* Sends data, and a descriptor unless fd is -1. Returns 0 or -errno. */
int lwr__fd_send(int sock, int fd, const void *data, size_t len);

/*
 * Receives what lwr__fd_send() sent; *fd is -1 if there was no descriptor.
 * Returns 0, -EPIPE when the other side is gone, or -errno.
 */
int lwr__fd_recv(int sock, int *fd, void *data, size_t len);

#endif
