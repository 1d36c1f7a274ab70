/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two sides of an in-process link share. */
#ifndef LWR_NETIF_INPROC_PRIV_H
#define LWR_NETIF_INPROC_PRIV_H

#include "core/spsc.h"
#include "netif/inproc.h"
#include "netif/vnet.h"
#include "platform/bell.h"
#include "platform/loop.h"

#include <uv.h>

enum {
	/* A frame with its header; the loop drops what lwIP cannot hold. */
	LWR_INPROC_MAX = UINT16_MAX + LWR_VNET_V1,
	LWR_INPROC_SLABS = 32,
	LWR_INPROC_SLAB_SIZE = 256 * 1024,
	/*
	 * Before a frame in a slab: room for the loop's pbuf, and two bytes so
	 * that the IP header behind 14 or 26 bytes is aligned.
	 */
	LWR_INPROC_HEADROOM = 64 + 2,
};

/*
 * Memory for frames of the guest. The pusher fills it from the start; when the
 * loop is done with as many frames as were put in, it is free again.
 */
struct lwr_inproc_slab {
	uint32_t given; /* pusher: frames put in */
	alignas(LWR_CACHE_LINE) _Atomic uint32_t done; /* loop: done with */
	uint32_t live; /* loop: pbufs that refer to it */
	alignas(LWR_CACHE_LINE) uint8_t data[LWR_INPROC_SLAB_SIZE];
};

struct lwr_inproc_slot {
	struct lwr_inproc_slab *slab; /* NULL: no frame, of that length */
	uint8_t *data; /* behind LWR_INPROC_HEADROOM bytes */
	uint32_t len;
};

struct lwr_inproc {
	_Atomic unsigned owners;
	_Atomic bool closed; /* sticky */
	struct lwr_inproc_opts opts; /* constant */
	/* Valid while closed is false, or one of the `inside` is true. */
	struct lwr_loop *loop;
	struct lwr_post *post;
	struct lwr_bell bell[2]; /* by direction */
	_Atomic uint64_t wakes_far;

	struct lwr_spsc g2h;
	struct lwr_inproc_slot *g2h_slot;
	struct lwr_spsc h2g;
	struct lwr_inproc_frame *h2g_slot;
	/* Filled by the loop, for the pieces of the slots. */
	struct iovec *iov;
	uint8_t *hdr;

	/* The pusher's. */
	alignas(LWR_CACHE_LINE) _Atomic bool push_inside;
	uv_mutex_t lock; /* with opts.many */
	unsigned waiting; /* with opts.many: threads in lwr__inproc_wait() */
	struct lwr_inproc_slab *slab[LWR_INPROC_SLABS];
	struct lwr_inproc_slab *open; /* being filled, or NULL */
	unsigned slabs;
	uint32_t used; /* bytes of it */
	uint32_t room_at; /* index at which the next push is worth a try */
	_Atomic uint64_t full; /* pushes that found no room */
	_Atomic uint64_t wakes_push;

	/* The popper's. */
	alignas(LWR_CACHE_LINE) _Atomic bool pop_inside;
	uint32_t borrowed;
	_Atomic uint64_t wakes_pop;
};

/* Counters that one thread writes and any reads. */
static inline void lwr__inproc_count(_Atomic uint64_t *n)
{
	uint64_t v = atomic_load_explicit(n, memory_order_relaxed);

	atomic_store_explicit(n, v + 1, memory_order_relaxed);
}

static inline size_t lwr__inproc_hlen(const struct lwr_inproc *far)
{
	return far->opts.vnet ? LWR_VNET_V1 : 0;
}

/* netif/inproc_far.c: a handle with two owners. Returns NULL: no memory. */
struct lwr_inproc *lwr__inproc_far_new(const struct lwr_inproc_opts *opts,
				       uint32_t iovs, size_t hdr_size);

#endif
