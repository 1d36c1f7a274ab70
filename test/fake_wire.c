/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/fake_wire.h"

#include "core/gso.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "test/fake_loop.h"
#include "test/fake_rand.h"
#include "test/fake_seg.h"

#include <string.h>

enum { IOV = 64, MTU = 1500 };

/* Posts one packet, or none, or two, by the faults of the direction. */
static void pass(struct fake_wire *w, struct fake_faults *f, fake_fn fn,
		 const uint8_t *packet, size_t len)
{
	unsigned copies = fake_chance(f->dup) ? 2 : 1;
	uint64_t ms;

	if (f->drop_next) {
		f->drop_next--;
		return;
	}
	if (fake_chance(f->drop))
		return;
	while (copies-- > 0) {
		ms = f->delay_ms;
		if (f->jitter_ms && fake_chance(f->reorder))
			ms += 1 + fake_below(f->jitter_ms);
		fake_post(ms, fn, w, packet, len);
	}
}

/* ---- guest to host ------------------------------------------------------- */

static void arrive_g2h(void *ctx, const void *data, size_t len)
{
	struct fake_wire *w = ctx;
	struct lwr_frame_meta meta = { 0 };
	struct pbuf *p;
	uint8_t *room;
	size_t have;

	if (!w->link.up)
		return;
	room = lwr__slab_room(&w->slabs, len, &have);
	if (!room)
		return;
	memcpy(room, data, len);
	lwr__slab_use(&w->slabs, len);
	p = lwr__slab_pbuf(&w->slabs, room, len);
	if (p)
		lwr__stack_input(&w->link, p, &meta);
}

void fake_wire_send(struct fake_wire *w, const uint8_t *frame, size_t len)
{
	pass(w, &w->g2h, arrive_g2h, frame, len);
}

/* ---- host to guest ------------------------------------------------------- */

static void arrive_h2g(void *ctx, const void *data, size_t len)
{
	static uint8_t packet[SEG_FRAME_MAX];
	struct fake_wire *w = ctx;

	memcpy(packet, data, len);
	w->to_guest(w->arg, packet, len);
}

static void check_size(struct fake_wire *w, size_t len)
{
	w->packets_h2g++;
	if (len > w->max_packet)
		w->max_packet = (uint32_t)len;
	if (len > (size_t)w->link.caps.mtu + LWR_ETH_HLEN)
		fake_fail("packet of %zu bytes for MTU %u", len,
			  w->link.caps.mtu);
}

static void cut(struct fake_wire *w, const struct lwr_frame *f)
{
	static uint8_t packet[SEG_FRAME_MAX];
	uint8_t hdr[LWR_GSO_HDR_MAX];
	struct lwr_gso_packet out;
	struct lwr_gso_iter g;
	struct iovec iov[IOV];
	size_t len;
	unsigned i;

	if (f->gso && !w->link.caps.gso_h2g)
		fake_fail("a frame to cut for a link that does not");
	lwr__gso_init(&g, f);
	while (lwr__gso_next(&g, &out, hdr, iov, IOV) > 0) {
		memcpy(packet, hdr, out.hdr_len);
		len = out.hdr_len;
		for (i = 0; i < out.n; i++) {
			memcpy(packet + len, iov[i].iov_base, iov[i].iov_len);
			len += iov[i].iov_len;
		}
		if (len != out.len)
			fake_fail("a cut packet of another length");
		check_size(w, len);
		pass(w, &w->h2g, arrive_h2g, packet, len);
	}
}

static void writable(void *ctx, const void *data, size_t len)
{
	struct fake_wire *w = ctx;

	(void)data;
	(void)len;
	w->scheduled = false;
	if (w->link.up && !w->stuck)
		lwr__stack_drain(&w->link);
}

static void drain(struct lwr_link *link)
{
	struct fake_wire *w = LWR_CONTAINER(link, struct fake_wire, link);
	uint32_t n = 0;

	if (w->scheduled && w->per_ms)
		return;
	while (!w->stuck && lwr__ring_count(&link->h2g) &&
	       (!w->per_ms || n < w->per_ms)) {
		cut(w, lwr__ring_at(&link->h2g, 0));
		lwr__ring_pop(&link->h2g, 1);
		n++;
	}
	if (w->per_ms && !w->stuck) {
		w->scheduled = true;
		fake_at(1, writable, w);
	}
}

static void close_link(struct lwr_link *link)
{
	lwr__stack_remove_link(link);
}

void fake_wire_unstick(struct fake_wire *w)
{
	w->stuck = false;
	fake_at(0, writable, w);
}

static const struct lwr_link_ops ops = { .drain = drain, .close = close_link };

void fake_wire_init(struct fake_wire *w)
{
	*w = (struct fake_wire){
		.link = { .ops = &ops,
			  .name = "fake",
			  .caps = { .mtu = MTU,
				    .max_frame = SEG_FRAME_MAX,
				    .csum_h2g_offload = true,
				    .gso_h2g = true } },
		.g2h = { .delay_ms = 1 },
		.h2g = { .delay_ms = 1 },
	};
	lwr__slab_init(&w->slabs);
}

void fake_wire_fini(struct fake_wire *w)
{
	if (w->slabs.held || (w->slabs.open && w->slabs.open->refs != 1))
		fake_fail("%u slabs are still held", w->slabs.held);
	else
		lwr__slab_fini(&w->slabs);
}
