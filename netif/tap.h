/* SPDX-License-Identifier: BSD-3-Clause */
/* A link over a tap device, with a virtio-net header on each frame. */
#ifndef LWR_NETIF_TAP_H
#define LWR_NETIF_TAP_H

#include "core/link.h"
#include "platform/tap.h"

#include <stdint.h>

/* tap->fd is taken on success. Returns 0 and the link, or -errno. */
int lwr__tap_new(struct lwr_stack *stack, const struct lwr_link_setup *setup,
		 const struct lwr_tap *tap, struct lwr_link **out);

#endif
