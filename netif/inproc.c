/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link to another thread of this process; the loop's side. The far side is
 * netif/inproc_far.c, the rings and how their sides sleep are core/spsc.c.
 *
 * Guest to host. A pusher that finds the loop asleep for this ring posts the
 * link (platform/loop.h). A post is served at the beginning of each tick: what
 * is in the ring is handed to the stack where it lies, up to BUDGET bytes, so
 * that other links get their turn and the memory stays warm. The link is then
 * served again in the next tick. Only when that finds nothing, the ring is
 * armed; libuv's turn has two ticks, so this look costs no system call. While
 * frames keep coming the loop is not woken, nor does it sleep. The slots are
 * given back one service later: flows have written to their sockets by then,
 * and a pusher that waits for room finds slabs, too, that are free.
 *
 * Host to guest. drain() moves frames from the link's queue to the ring that
 * is shared: pieces of a frame are listed there, for the far side to copy or to
 * borrow. A frame's pbufs stay with us in `flight` until the far side's index
 * has passed it; they are put back by the loop when it comes by: in drain(), in
 * a service, and before lwIP's timers, because lwIP does not retransmit what is
 * still queued. Only when frames are left that do not fit, the loop asks to be
 * woken, when half of those in flight are taken.
 *
 * A far side that takes offloads gets whole frames and a virtio-net header;
 * for any other core/gso.c makes packets, each with its headers in `hdr` and
 * with its payload where that was, one slot a packet.
 *
 * Closing. The sticky flag, a wake-up of everyone, and the link leaves the
 * stack at once. A foreign thread may be inside a call, or have borrowed
 * frames: until it leaves, a timer looks each millisecond, and the link holds
 * the loop and what is in flight. The end of a tick lies between the removal
 * and the end of the slabs, as in netif/tap.c.
 */
#include "core/buf.h"
#include "core/gso.h"
#include "core/log.h"
#include "core/stack.h"
#include "netif/inproc_priv.h"

#include "lwip/pbuf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FRAMES = 1024, /* default */
	FRAMES_MAX = 1 << 20,
	FRAME_MAX = UINT16_MAX, /* what a pbuf can be */
	MTU_VNET = 1500, /* defaults */
	MTU_PLAIN = 65520,
	MTU_LEAST = 576,
	BUDGET = 2 * 1024 * 1024, /* bytes of one service */
	FLYING_MAX = BUDGET, /* bytes that the far side has not taken */
	HELD_MAX = LWR_INPROC_SLABS / 2, /* beyond, frames are copied out */
	PIECES = 64, /* of a frame; longer chains are copied */
	HDR_MAX = 160, /* of a packet made here, virtio-net header included */
	CLOSE_MS = 1,
};

/* What the loop keeps of a slot that the far side has not given back. */
struct flight {
	struct pbuf *p; /* of the frame whose last packet this is, or NULL */
	uint32_t iov_end; /* pieces that are free again behind it */
	uint32_t bytes;
};

struct inproc {
	struct lwr_link link;
	struct lwr_inproc *far;
	struct lwr_post post;
	uv_timer_t timer; /* while closing */
	bool closing;
	uint32_t taken; /* g2h slots taken and not given back */
	unsigned held; /* slabs with live pbufs */
	uint64_t full_told; /* of far->full, already in the counters */

	struct flight *flight; /* beside far->h2g_slot */
	uint32_t landed; /* index of the first in flight */
	uint32_t made; /* index behind the last one that is filled */
	uint64_t flying; /* bytes in flight */
	uint32_t iov_size; /* of far->iov, used as a ring */
	uint32_t iov_head;
	uint32_t iov_tail;
	size_t hdr_size; /* of each in far->hdr */
	bool cutting; /* gso is within the frame at the queue's head */
	struct lwr_gso_iter gso;
	struct pbuf *cut; /* that frame, when the link was closed meanwhile */
};

static struct inproc *inproc_of(struct lwr_link *link)
{
	return LWR_CONTAINER(link, struct inproc, link);
}

static void wake(struct lwr_inproc *far, enum lwr_inproc_dir dir)
{
	lwr__inproc_count(&far->wakes_far);
	if (far->opts.wake)
		far->opts.wake(far->opts.arg, (int)dir);
	else
		lwr__bell_ring(&far->bell[dir]);
}

/* ---- guest to host ------------------------------------------------------- */

/* In the headroom of its frame. */
struct slab_pbuf {
	struct pbuf_custom custom; /* first: lwIP frees by its address */
	struct lwr_inproc_slab *slab;
	struct inproc *link;
};

static_assert(sizeof(struct slab_pbuf) <= LWR_INPROC_HEADROOM - 2, "headroom");

/* One more frame of the slab is through. */
static void done(struct lwr_inproc_slab *s)
{
	uint32_t n = atomic_load_explicit(&s->done, memory_order_relaxed);

	atomic_store_explicit(&s->done, n + 1, memory_order_release);
}

static void slab_pbuf_free(struct pbuf *p)
{
	struct slab_pbuf *sp = (struct slab_pbuf *)(void *)p;
	struct lwr_inproc_slab *s = sp->slab;

	if (--s->live == 0)
		sp->link->held--;
	done(s);
}

static struct pbuf *copied(struct lwr_inproc_slab *s, const uint8_t *data,
			   uint16_t len)
{
	/* One byte is spare, as in core/buf.c. */
	uint16_t room = len < UINT16_MAX ? (uint16_t)(len + 1) : len;
	struct pbuf *p = pbuf_alloc(PBUF_RAW, room, PBUF_RAM);

	if (p) {
		memcpy(p->payload, data, len);
		pbuf_realloc(p, len);
	}
	done(s);
	return p;
}

/* A pbuf over a frame in the slab, or a copy if much is held by others. */
static struct pbuf *frame_pbuf(struct inproc *l, struct lwr_inproc_slot *slot,
			       uint8_t *data, uint16_t len)
{
	struct lwr_inproc_slab *s = slot->slab;
	struct slab_pbuf *sp;

	if (l->held > HELD_MAX)
		return copied(s, data, len);
	if (s->live++ == 0)
		l->held++;
	sp = (struct slab_pbuf *)(void *)(slot->data - LWR_INPROC_HEADROOM);
	sp->slab = s;
	sp->link = l;
	sp->custom.custom_free_function = slab_pbuf_free;
	return pbuf_alloced_custom(PBUF_RAW, len, PBUF_REF, &sp->custom, data,
				   len);
}

static void refuse(struct lwr_inproc_slot *slot, uint64_t *counter)
{
	(*counter)++;
	if (slot->slab)
		done(slot->slab);
}

static void input(struct inproc *l, struct lwr_inproc_slot *slot)
{
	uint32_t hlen = (uint32_t)lwr__inproc_hlen(l->far);
	struct lwr_frame_meta meta = { 0 };
	struct pbuf *p;
	uint32_t len;

	if (!slot->slab || slot->len < hlen + LWR_ETH_HLEN ||
	    slot->len - hlen > FRAME_MAX) {
		refuse(slot, &l->link.stats.drop_short);
		return;
	}
	if (hlen && !lwr__vnet_parse(slot->data, hlen, &meta)) {
		refuse(slot, &l->link.stats.drop_malformed);
		return;
	}
	len = slot->len - hlen;
	p = frame_pbuf(l, slot, slot->data + hlen, (uint16_t)len);
	if (p)
		lwr__stack_input(&l->link, p, &meta);
	else
		l->link.stats.drop_memory++;
}

static void give_back(struct inproc *l)
{
	if (l->taken && lwr__spsc_consume(&l->far->g2h, l->taken))
		wake(l->far, LWR_INPROC_G2H);
	l->taken = 0;
}

static void take_frames(struct inproc *l)
{
	struct lwr_inproc *far = l->far;
	uint32_t count = lwr__spsc_count(&far->g2h, UINT32_MAX);
	uint32_t bytes = 0;
	struct lwr_inproc_slot *slot;

	/* The owner may close the link from inside. */
	while (l->taken < count && bytes < BUDGET && !l->closing) {
		slot = &far->g2h_slot[lwr__spsc_out(&far->g2h, l->taken++)];
		bytes += slot->len;
		input(l, slot);
	}
	if (l->taken)
		lwr__loop_worked(l->link.stack->loop);
}

static void count_full(struct inproc *l)
{
	uint64_t full =
		atomic_load_explicit(&l->far->full, memory_order_relaxed);

	l->link.stats.push_full += full - l->full_told;
	l->full_told = full;
}

/* ---- host to guest ------------------------------------------------------- */

static void land(struct inproc *l, uint32_t end)
{
	struct flight *f;

	for (; l->landed != end; l->landed++) {
		f = &l->flight[l->landed & (l->far->h2g.size - 1)];
		l->iov_head = f->iov_end;
		l->flying -= f->bytes;
		if (f->p)
			lwr__frame_put(f->p);
	}
}

static void reclaim(struct lwr_link *link)
{
	struct inproc *l = inproc_of(link);

	if (!l->closing)
		land(l, lwr__spsc_head(&l->far->h2g));
}

/* Room for the pieces of a frame in a row; NULL: none now. */
static struct iovec *iov_room(struct inproc *l)
{
	uint32_t at = l->iov_tail & (l->iov_size - 1);

	if (at + PIECES + 1 > l->iov_size) {
		l->iov_tail += l->iov_size - at;
		at = 0;
	}
	if (l->iov_size - (l->iov_tail - l->iov_head) < PIECES + 1)
		return NULL;
	return &l->far->iov[at];
}

/* The pieces of a chain behind the first; returns how many there are. */
static uint32_t gather(const struct pbuf *p, struct iovec *iov)
{
	uint32_t n = 0;

	for (; p; p = p->next) {
		if (p->len == 0)
			continue;
		iov[n].iov_base = p->payload;
		iov[n++].iov_len = p->len;
	}
	return n;
}

/* Fills the next slot; the frame's pbuf comes with its last packet. */
static void fill_slot(struct inproc *l, struct iovec *iov, uint32_t n,
		      uint32_t len, bool last)
{
	uint32_t at = l->made++ & (l->far->h2g.size - 1);

	/* Without any header the first piece is empty. */
	l->iov_tail += n;
	if (iov->iov_len == 0) {
		iov++;
		n--;
	}
	l->far->h2g_slot[at] = (struct lwr_inproc_frame){ iov, n, len };
	l->flight[at] = (struct flight){
		.p = last ? lwr__ring_take(&l->link.h2g) : NULL,
		.iov_end = l->iov_tail,
		.bytes = len,
	};
	l->flying += len;
	l->link.stats.frames_h2g++;
	l->link.stats.bytes_h2g += len - lwr__inproc_hlen(l->far);
}

/* The whole frame, with a header that says what it still needs. */
static void add_whole(struct inproc *l, const struct lwr_frame *f,
		      struct iovec *iov, uint8_t *hdr)
{
	uint32_t n = gather(f->p, iov + 1);

	lwr__vnet_build(hdr, LWR_VNET_V1, f);
	*iov = (struct iovec){ hdr, LWR_VNET_V1 };
	fill_slot(l, iov, n + 1, LWR_VNET_V1 + (uint32_t)f->p->tot_len, true);
}

/* The next packet of the frame at the queue's head. */
static void add_packet(struct inproc *l, const struct lwr_frame *f,
		       struct iovec *iov, uint8_t *hdr)
{
	size_t hlen = lwr__inproc_hlen(l->far);
	struct lwr_gso_packet pkt = { 0 };

	if (!l->cutting)
		lwr__gso_init(&l->gso, f);
	if (lwr__gso_next(&l->gso, &pkt, hdr + hlen, iov + 1, PIECES) <= 0) {
		l->cutting = false; /* an empty frame, which nobody makes */
		lwr__ring_pop(&l->link.h2g, 1);
		return;
	}
	if (hlen)
		lwr__vnet_build(hdr, hlen, NULL);
	l->cutting = l->gso.left > 0;
	*iov = (struct iovec){ hdr, hlen + pkt.hdr_len };
	fill_slot(l, iov, pkt.n + 1, pkt.len + (uint32_t)hlen, !l->cutting);
}

/* False: there is no room now. */
static bool add(struct inproc *l)
{
	struct lwr_inproc *far = l->far;
	struct lwr_frame *f = lwr__ring_at(&l->link.h2g, 0);
	uint8_t *hdr = far->hdr + (l->made & (far->h2g.size - 1)) * l->hdr_size;
	struct iovec *iov;

	if (l->made - l->landed == far->h2g.size || l->flying >= FLYING_MAX)
		return false;
	iov = iov_room(l);
	if (!iov)
		return false;
	if (!lwr__frame_flatten(f, PIECES)) {
		l->link.stats.drop_memory++;
		lwr__ring_pop(&l->link.h2g, 1);
	} else if (far->opts.offload) {
		add_whole(l, f, iov, hdr);
	} else {
		add_packet(l, f, iov, hdr);
	}
	return true;
}

/* Shares what there is room for. True: that was all. */
static bool share(struct inproc *l)
{
	struct lwr_ring *queue = &l->link.h2g;
	uint32_t before = l->made;

	while (lwr__ring_count(queue) && add(l))
		;
	if (l->made != before &&
	    lwr__spsc_publish(&l->far->h2g, l->made - before))
		wake(l->far, LWR_INPROC_H2G);
	return lwr__ring_count(queue) == 0;
}

static void drain(struct lwr_link *link)
{
	struct inproc *l = inproc_of(link);
	uint32_t half;

	if (l->closing)
		return;
	do {
		reclaim(link);
		if (share(l))
			return;
		half = (l->made - l->landed + 1) / 2;
	} while (!lwr__spsc_await_room(&l->far->h2g, l->landed + half));
}

/* ---- service ------------------------------------------------------------- */

static bool on_post(struct lwr_post *p)
{
	struct inproc *l = LWR_CONTAINER(p, struct inproc, post);

	if (l->closing)
		return false;
	give_back(l);
	count_full(l);
	reclaim(&l->link);
	if (lwr__ring_count(&l->link.h2g))
		lwr__stack_drain(&l->link);
	take_frames(l);
	if (l->taken || l->closing || lwr__loop_spins(l->link.stack->loop))
		return !l->closing;
	return !lwr__spsc_await_items(&l->far->g2h, 0);
}

/* ---- life ---------------------------------------------------------------- */

static void inproc_free(struct inproc *l)
{
	free(l->flight);
	free(l);
}

static void on_timer_closed(uv_handle_t *h)
{
	struct inproc *l = h->data;

	lwr__inproc_put(l->far);
	lwr__loop_release(l->link.stack->loop);
	inproc_free(l);
}

static void on_timer(uv_timer_t *h)
{
	struct inproc *l = h->data;

	if (atomic_load(&l->far->push_inside) ||
	    atomic_load(&l->far->pop_inside))
		return;
	lwr__post_stop(l->link.stack->loop, &l->post);
	land(l, l->made);
	if (l->cut)
		lwr__frame_put(l->cut);
	uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

static void inproc_close(struct lwr_link *link)
{
	struct inproc *l = inproc_of(link);

	if (l->closing)
		return;
	l->closing = true;
	count_full(l);
	atomic_store(&l->far->closed, true);
	wake(l->far, LWR_INPROC_G2H);
	wake(l->far, LWR_INPROC_H2G);
	/* Packets of it may be borrowed; the others of the queue are ours. */
	if (l->cutting)
		l->cut = lwr__ring_take(&link->h2g);
	lwr__stack_remove_link(link);
	uv_timer_start(&l->timer, on_timer, 0, CLOSE_MS);
}

static const struct lwr_link_ops inproc_ops = {
	.drain = drain,
	.close = inproc_close,
	.reclaim = reclaim,
};

static void set_caps(struct lwr_link *link, uint16_t mtu,
		     const struct lwr_inproc_opts *o)
{
	link->ops = &inproc_ops;
	link->caps = (struct lwr_link_caps){
		.mtu = mtu ? mtu : (uint16_t)(o->vnet ? MTU_VNET : MTU_PLAIN),
		.max_frame = FRAME_MAX,
		.flight = 4 * 1024 * 1024,
		.window = 2 * BUDGET,
		.csum_h2g_offload = o->offload,
		.gso_h2g = true,
		.uso_h2g = o->uso || !o->offload,
	};
}

static int check_opts(struct lwr_inproc_opts *o, const struct lwr_net *net)
{
	if (!o->frames)
		o->frames = FRAMES;
	if (o->frames > FRAMES_MAX || (o->frames & (o->frames - 1)))
		return -EINVAL;
	if ((o->offload && !o->vnet) || (o->uso && !o->offload))
		return -EINVAL;
	return net->mtu && net->mtu < MTU_LEAST ? -EINVAL : 0;
}

/* All memory of the link. Returns NULL if there is too little. */
static struct inproc *inproc_alloc(const struct lwr_inproc_opts *o)
{
	struct inproc *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->hdr_size = o->offload ? LWR_VNET_V1 + 4 : HDR_MAX;
	l->iov_size = o->frames * 4 < 4 * PIECES ? 4 * PIECES : o->frames * 4;
	l->flight = calloc(o->frames, sizeof(*l->flight));
	if (l->flight)
		l->far = lwr__inproc_far_new(o, l->iov_size, l->hdr_size);
	if (l->far)
		return l;
	inproc_free(l);
	return NULL;
}

int lwr__inproc_new(struct lwr_stack *stack, const char *name,
		    const struct lwr_net *net,
		    const struct lwr_inproc_opts *opts, struct lwr_link **link,
		    struct lwr_inproc **far)
{
	struct lwr_inproc_opts o = *opts;
	struct inproc *l;
	int err = check_opts(&o, net);

	if (err)
		return err;
	l = inproc_alloc(&o);
	if (!l)
		return -ENOMEM;
	l->link.net = net;
	set_caps(&l->link, net->mtu, &o);
	snprintf(l->link.name, sizeof(l->link.name), "%s", name);
	err = lwr__stack_add_link(stack, &l->link);
	if (err)
		goto err_undo_alloc;
	lwr__post_start(stack->loop, &l->post, on_post);
	l->far->loop = stack->loop;
	l->far->post = &l->post;
	uv_timer_init(stack->loop->uv, &l->timer);
	l->timer.data = l;
	lwr__loop_hold(stack->loop);
	lwr__spsc_await_items(&l->far->g2h, 0);
	*link = &l->link;
	*far = l->far;
	return 0;

err_undo_alloc:
	lwr__inproc_put(l->far);
	lwr__inproc_put(l->far);
	inproc_free(l);
	return err;
}
