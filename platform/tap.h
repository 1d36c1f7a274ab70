/* SPDX-License-Identifier: BSD-3-Clause */
/* Tap devices, here or in another network namespace. */
#ifndef LWR_PLATFORM_TAP_H
#define LWR_PLATFORM_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct lwr_tap {
	int fd;
	bool vnet; /* 10-byte virtio-net header, checksum and TSO offload */
	bool uso; /* UDP segmentation offload too (Linux 6.2) */
	bool shared; /* others have it too, who may make it block */
};

/*
 * One frame. They never wait; with a shared descriptor whatever its flags are,
 * from Linux 6.4 on. Return bytes, or -1 and errno.
 */
ssize_t lwr__tap_read(struct lwr_tap *tap, void *buf, size_t len);
ssize_t lwr__tap_writev(struct lwr_tap *tap, const struct iovec *iov, int n);

/*
 * Creates or attaches to tap `ifname` in the calling process's namespace,
 * non-blocking. Returns 0 or -errno.
 */
int lwr__tap_open(const char *ifname, struct lwr_tap *tap);

/* The same in the namespace of a PID or a path ("4711", "/run/netns/x"). */
int lwr__tap_open_in(const char *netns, const char *ifname,
		     struct lwr_tap *tap);

/* Finds out how an inherited descriptor was opened; turns offload on. */
int lwr__tap_adopt(int fd, struct lwr_tap *tap);

#endif
