/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtio-net header before a frame (OASIS virtio 5.1.6): what the frame
 * still needs, checksum and segmentation.
 */
#ifndef LWR_NETIF_VNET_H
#define LWR_NETIF_VNET_H

#include "core/pkt.h"
#include "core/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LWR_VNET_LEGACY = 10, /* struct virtio_net_hdr, the host's byte order */
	LWR_VNET_V1 = 12, /* struct virtio_net_hdr_v1, little endian */
};

/* `len` bytes at p, one of the two. False: no header that a driver writes. */
bool lwr__vnet_parse(const void *p, size_t len, struct lwr_frame_meta *meta);

/* The header of a frame; NULL: of one that needs nothing. */
void lwr__vnet_build(void *p, size_t len, const struct lwr_frame *f);

#endif
