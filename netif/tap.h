/* SPDX-License-Identifier: BSD-3-Clause */
/* A link over a tap device, with a virtio-net header on each frame. */
#ifndef LWR_NETIF_TAP_H
#define LWR_NETIF_TAP_H

#include "core/link.h"

#include <stdint.h>

/*
 * `fd` is a tap descriptor as platform/tap.h opens it; taken on success.
 * `vnet` says that it was opened with IFF_VNET_HDR and offloads, `uso` that
 * UDP segmentation was accepted. Returns 0 and the link, or -errno.
 */
int lwr__tap_new(struct lwr_stack *stack, const struct lwr_link_setup *setup,
		 int fd, bool vnet, bool uso, struct lwr_link **out);

#endif
