/* SPDX-License-Identifier: BSD-3-Clause */
#include "netif/vnet.h"

#include "core/log.h"

#include <assert.h>
#include <endian.h>
#include <linux/virtio_net.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	UDP_HLEN = 8,
	UDP_CSUM = 6, /* offsets of the checksum fields */
	TCP_CSUM = 16,
};

static_assert(sizeof(struct virtio_net_hdr) == LWR_VNET_LEGACY, "legacy");
static_assert(sizeof(struct virtio_net_hdr_v1) == LWR_VNET_V1, "version 1");

/* A field as it is in a header of that length; its own inverse. */
static uint16_t order(size_t len, uint16_t v)
{
	return len == LWR_VNET_V1 ? htole16(v) : v;
}

bool lwr__vnet_parse(const void *p, size_t len, struct lwr_frame_meta *meta)
{
	struct virtio_net_hdr h;

	LWR_ASSERT(len >= sizeof(h));
	memcpy(&h, p, sizeof(h));
	meta->csum_ok = (h.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM |
				    VIRTIO_NET_HDR_F_DATA_VALID)) != 0;
	meta->gso_size = order(len, h.gso_size);
	switch (h.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		meta->gso = LWR_GSO_NONE;
		meta->gso_size = 0;
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		meta->gso = LWR_GSO_TCP4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		meta->gso = LWR_GSO_TCP6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		meta->gso = LWR_GSO_UDP;
		break;
	default:
		return false;
	}
	return meta->gso_size > 0;
}

static void describe(struct virtio_net_hdr_v1 *h, size_t len,
		     const struct lwr_frame *f)
{
	static const uint8_t type[] = {
		[LWR_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
		[LWR_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
		[LWR_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
		[LWR_GSO_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4,
	};
	bool udp = f->hdr_len - f->l4_off == UDP_HLEN;

	if (f->needs_csum) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = order(len, f->l4_off);
		h->csum_offset = order(len, udp ? UDP_CSUM : TCP_CSUM);
	}
	if (f->gso != LWR_GSO_NONE) {
		h->gso_type = type[f->gso];
		h->gso_size = order(len, f->gso_size);
		h->hdr_len = order(len, f->hdr_len);
	}
}

void lwr__vnet_build(void *p, size_t len, const struct lwr_frame *f)
{
	struct virtio_net_hdr_v1 h = { 0 };

	/* All of a frame is in one buffer, as far as we are concerned. */
	h.num_buffers = order(len, 1);
	if (f)
		describe(&h, len, f);
	memcpy(p, &h, len);
}
