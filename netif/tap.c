/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link over a tap device. One read(2) is one frame, so what a wake-up costs
 * is spread by reading a batch, and frames are made large: with a virtio-net
 * header the guest's kernel hands over 64 KiB segments with unfinished
 * checksums, and takes such segments from us, whatever the MTU is.
 *
 * Guest to host. Frames are read straight into the slab that their pbufs then
 * refer to, placed so that the IP header is aligned to 4 bytes. A batch ends
 * at EAGAIN, or at BATCH frames so that other links get their turn, or at
 * BATCH_BYTES so that what was read is written from the cache, and so that
 * other traffic of the guest does not wait for long; of several senders more is
 * read, or each would be acknowledged frame by frame. The poll is
 * level-triggered and calls again. One exception for latency: the first
 * small frame after a quiet spell is most likely a request that stands alone,
 * and the read that would only say EAGAIN is saved. Whatever did follow it is
 * found by the next poll, and within QUIET_NS batches are read in full.
 *
 * Host to guest. The ring is drained from its head, one writev(2) a frame, and
 * a frame leaves the ring only when the kernel took it:
 *
 *   EAGAIN             wait until the descriptor is writable
 *   ENOBUFS, ENOMEM    the kernel is short of memory: a timer
 *   EIO                the interface is down: nobody is there, drop
 *   EINVAL             the kernel refuses this frame for good: drop
 *   anything else      the link is gone
 *
 * Without that header (an inherited descriptor) nobody segments or fills
 * checksums behind us: core/gso.h does, one writev(2) a packet, and a frame may
 * then be handed over in part.
 *
 * An error is told to the owner from the timer, never from within drain(): the
 * owner may remove the link, and core is walking its links then.
 *
 * Closing takes two turns of the loop (the poll handle, then the timer), so
 * that the end of a tick lies between the link's removal and the slab pool's
 * end: by then the flows have let go of their frames.
 */
#include "netif/tap.h"

#include "core/buf.h"
#include "core/gso.h"
#include "core/log.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "netif/vnet.h"
#include "platform/loop.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

enum {
	FRAME_MAX = 65550, /* 65535 bytes of IP, Ethernet, a byte to see more */
	VNET_LEN = LWR_VNET_LEGACY, /* as platform/tap.h sets it */
	READ_ROOM = FRAME_MAX + VNET_LEN + 4, /* 4: for alignment */
	BATCH = 64,
	BATCH_BYTES = 256 * 1024,
	BATCH_MANY = 2 * BATCH_BYTES, /* when several conns send */
	WINDOW = 2 * BATCH_BYTES, /* one is written while one is read */
	SMALL = 512, /* bytes: a request, an acknowledgement */
	QUIET_NS = 20 * 1000,
	IOV_MAX_FRAME = 64, /* longer chains are copied */
	RETRY_MS = 1,
	MTU_VNET = 1500, /* defaults */
	MTU_PLAIN = 65520,
	MTU_LEAST = 576,
};

struct tap {
	struct lwr_link link;
	struct lwr_tap dev;
	int gone; /* why the link ended, told by the timer; 0: it lives */
	int interest; /* UV_READABLE, and UV_WRITABLE while blocked */
	uint64_t last_wake_ns;
	uv_poll_t poll;
	uv_timer_t timer; /* retry, or tell that the link is gone */
	struct lwr_slab_pool slabs;
	uint8_t *bounce; /* for chains of too many parts; on demand */
	bool cutting; /* gso is within the frame at the ring's head */
	struct lwr_gso_iter gso; /* without vnet */
};

static struct tap *tap_of(struct lwr_link *link)
{
	return LWR_CONTAINER(link, struct tap, link);
}

static void on_poll(uv_poll_t *h, int status, int events);
static void on_timer(uv_timer_t *h);

static void set_interest(struct tap *t, int interest)
{
	if (t->interest == interest || t->gone)
		return;
	t->interest = interest;
	uv_poll_start(&t->poll, interest, on_poll);
}

/* The link ended of `err` < 0; the owner hears of it from the timer. */
static void fail(struct tap *t, int err)
{
	if (t->gone)
		return;
	uv_poll_stop(&t->poll);
	t->gone = err;
	uv_timer_start(&t->timer, on_timer, 0, 0);
}

/* ---- guest to host ------------------------------------------------------ */

/* Bytes to skip so that the IP header of a frame read there is aligned. */
static size_t align_pad(const struct tap *t, const uint8_t *room)
{
	size_t head = LWR_ETH_HLEN + (t->dev.vnet ? VNET_LEN : 0u);

	return (0 - ((uintptr_t)room + head)) & 3;
}

/* What was read at `p`, n bytes, is in the slab: makes a pbuf of it. */
static void take_frame(struct tap *t, uint8_t *p, size_t n)
{
	struct lwr_frame_meta meta = { 0 };
	struct pbuf *pb;

	if (t->dev.vnet) {
		if (n < VNET_LEN || !lwr__vnet_parse(p, VNET_LEN, &meta)) {
			t->link.stats.drop_malformed++;
			return;
		}
		p += VNET_LEN;
		n -= VNET_LEN;
	}
	if (n < LWR_ETH_HLEN || n >= FRAME_MAX) {
		t->link.stats.drop_short++;
		return;
	}
	pb = lwr__slab_pbuf(&t->slabs, p, n);
	if (!pb) {
		t->link.stats.drop_memory++;
		return;
	}
	lwr__stack_input(&t->link, pb, &meta);
}

/* One frame. Returns its size, 0 when there is none, or -errno. */
static ssize_t read_frame(struct tap *t)
{
	size_t room_len, pad;
	uint8_t *room = lwr__slab_room(&t->slabs, READ_ROOM, &room_len);
	ssize_t n;

	if (!room)
		return -ENOMEM;
	pad = align_pad(t, room);
	n = lwr__tap_read(&t->dev, room + pad,
			  FRAME_MAX + (t->dev.vnet ? VNET_LEN : 0u));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* The pbuf comes after the use: it refers to the slab, not the room. */
	lwr__slab_use(&t->slabs, ((pad + (size_t)n) + 3u) & ~(size_t)3);
	take_frame(t, room + pad, (size_t)n);
	return n;
}

static void read_batch(struct tap *t)
{
	uint64_t now = uv_hrtime();
	bool quiet = now - t->last_wake_ns > QUIET_NS;
	size_t most = t->link.senders > 1 ? BATCH_MANY : BATCH_BYTES;
	size_t bytes = 0;
	ssize_t n = 0;
	int i;

	t->link.senders = 0;
	t->last_wake_ns = now;
	lwr__loop_worked(t->link.stack->loop);
	for (i = 0; i < BATCH && bytes < most; i++) {
		n = read_frame(t);
		if (n <= 0 || t->gone)
			break;
		bytes += (size_t)n;
		if (!lwr__share_g2h(&t->link, (uint32_t)n) ||
		    (quiet && i == 0 && n < SMALL))
			break;
	}
	if (n < 0 && n != -ENOMEM && n != -ENOBUFS)
		fail(t, (int)n);
}

/* ---- host to guest ------------------------------------------------------ */

/* The parts of a chain; returns their number, 0 when they are too many. */
static int gather(const struct pbuf *p, struct iovec *iov)
{
	int n = 0;

	for (; p; p = p->next) {
		if (p->len == 0)
			continue;
		if (n == IOV_MAX_FRAME)
			return 0;
		iov[n].iov_base = p->payload;
		iov[n++].iov_len = p->len;
	}
	return n;
}

static int gather_copy(struct tap *t, const struct pbuf *p, struct iovec *iov)
{
	if (!t->bounce)
		t->bounce = malloc(UINT16_MAX);
	if (!t->bounce)
		return 0;
	iov->iov_base = t->bounce;
	iov->iov_len = pbuf_copy_partial(p, t->bounce, p->tot_len, 0);
	return 1;
}

/* A frame crossed over to the guest. */
static void count(struct tap *t, uint32_t bytes)
{
	t->link.stats.frames_h2g++;
	t->link.stats.bytes_h2g += bytes;
}

/* Returns 0 or -errno. */
static int write_vnet(struct tap *t, const struct lwr_frame *f)
{
	struct iovec iov[1 + IOV_MAX_FRAME];
	uint8_t vnet[VNET_LEN];
	int n = gather(f->p, iov + 1);

	if (n == 0)
		n = gather_copy(t, f->p, iov + 1);
	if (n == 0)
		return -ENOMEM;
	lwr__vnet_build(vnet, VNET_LEN, f);
	iov[0].iov_base = vnet;
	iov[0].iov_len = VNET_LEN;
	if (lwr__tap_writev(&t->dev, iov, n + 1) < 0)
		return -errno;
	count(t, f->p->tot_len);
	return 0;
}

/* The next packet of the frame. Returns 1, 0 after the last one, or -errno. */
static int write_packet(struct tap *t)
{
	struct lwr_gso_iter before = t->gso;
	struct iovec iov[1 + IOV_MAX_FRAME];
	uint8_t hdr[LWR_GSO_HDR_MAX];
	struct lwr_gso_packet pkt;
	int err, r = lwr__gso_next(&t->gso, &pkt, hdr, iov + 1, IOV_MAX_FRAME);

	if (r <= 0)
		return r == -ENOBUFS ? -EINVAL : r;
	iov[0].iov_base = hdr;
	iov[0].iov_len = pkt.hdr_len;
	if (lwr__tap_writev(&t->dev, iov, (int)pkt.n + 1) >= 0) {
		count(t, pkt.len);
		return 1;
	}
	err = -errno;
	t->gso = before;
	return err;
}

static int write_plain(struct tap *t, const struct lwr_frame *f)
{
	int r;

	if (!t->cutting)
		lwr__gso_init(&t->gso, f);
	t->cutting = true;
	do {
		r = write_packet(t);
	} while (r > 0);
	return r;
}

/* Hands one frame to the kernel. Returns 0 or -errno. */
static int write_frame(struct tap *t, const struct lwr_frame *f)
{
	return t->link.caps.csum_h2g_offload ? write_vnet(t, f) :
					       write_plain(t, f);
}

/* True: the frame left the ring, for good or ill. */
static bool dispose(struct tap *t, int err)
{
	switch (-err) {
	case 0:
		return true;
	case EAGAIN:
	case EINTR:
		set_interest(t, UV_READABLE | UV_WRITABLE);
		return false;
	case ENOBUFS:
	case ENOMEM:
		uv_timer_start(&t->timer, on_timer, RETRY_MS, 0);
		return false;
	case EIO:
	case EINVAL:
		t->link.stats.drop_link_refused++;
		return true;
	default:
		fail(t, err);
		return false;
	}
}

static void drain(struct lwr_link *link)
{
	struct tap *t = tap_of(link);
	uint32_t count = lwr__ring_count(&link->h2g);
	uint32_t i;

	if (t->gone)
		return;
	for (i = 0; i < count; i++) {
		if (!dispose(t, write_frame(t, lwr__ring_at(&link->h2g, i))))
			break;
		t->cutting = false;
	}
	lwr__ring_pop(&link->h2g, i);
}

/* ---- events ------------------------------------------------------------- */

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct tap *t = h->data;

	if (status < 0) { /* the interface or its namespace was deleted */
		fail(t, -ENODEV);
		return;
	}
	if (events & UV_WRITABLE) {
		set_interest(t, UV_READABLE);
		lwr__stack_drain(&t->link);
	}
	if ((events & UV_READABLE) && !t->gone)
		read_batch(t);
}

static void on_timer(uv_timer_t *h)
{
	struct tap *t = h->data;

	if (!t->gone) {
		lwr__stack_drain(&t->link);
		return;
	}
	lwr__log(t->link.stack->log, LWR_LOG_WARN, "%s: the tap ended: %s",
		 t->link.name, strerror(-t->gone));
	if (t->link.on_gone)
		t->link.on_gone(&t->link, t->gone);
}

/* ---- life --------------------------------------------------------------- */

static void on_timer_closed(uv_handle_t *h)
{
	struct tap *t = h->data;

	lwr__slab_fini(&t->slabs);
	lwr__loop_release(t->link.stack->loop);
	free(t->bounce);
	free(t);
}

static void on_poll_closed(uv_handle_t *h)
{
	struct tap *t = h->data;

	if (t->dev.fd >= 0)
		close(t->dev.fd);
	uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static void tap_close(struct lwr_link *link)
{
	struct tap *t = tap_of(link);

	if (uv_is_closing((uv_handle_t *)&t->poll))
		return;
	uv_timer_stop(&t->timer);
	t->gone = -ECANCELED;
	lwr__stack_remove_link(link);
	uv_close((uv_handle_t *)&t->poll, on_poll_closed);
}

static const struct lwr_link_ops tap_ops = {
	.drain = drain,
	.close = tap_close,
};

static void set_caps(struct lwr_link *link, uint16_t mtu, bool vnet, bool uso)
{
	link->ops = &tap_ops;
	link->caps = (struct lwr_link_caps){
		.mtu = mtu ? mtu : (uint16_t)(vnet ? MTU_VNET : MTU_PLAIN),
		.max_frame = FRAME_MAX,
		.csum_h2g_offload = vnet,
		.gso_h2g = true,
		.uso_h2g = uso || !vnet,
		.window = WINDOW,
	};
}

int lwr__tap_new(struct lwr_stack *stack, const struct lwr_link_setup *setup,
		 const struct lwr_tap *tap, struct lwr_link **out)
{
	uint16_t mtu = setup->mtu ? setup->mtu : setup->net->mtu;
	struct tap *t;
	int err;

	if (mtu && mtu < MTU_LEAST)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->dev = *tap;
	t->link.net = setup->net;
	set_caps(&t->link, mtu, tap->vnet, tap->uso);
	snprintf(t->link.name, sizeof(t->link.name), "%s", setup->name);
	lwr__slab_init(&t->slabs);
	err = uv_poll_init(stack->loop->uv, &t->poll, tap->fd);
	if (err)
		goto err_undo_alloc;
	uv_timer_init(stack->loop->uv, &t->timer);
	lwr__loop_hold(stack->loop);
	t->link.stack = stack;
	t->poll.data = t;
	t->timer.data = t;
	err = lwr__stack_add_link(stack, &t->link);
	if (err)
		goto err_undo_handles;
	set_interest(t, UV_READABLE);
	*out = &t->link;
	return 0;

err_undo_handles:
	/* The memory goes with the handles; the descriptor stays the caller's. */
	t->dev.fd = -1;
	uv_close((uv_handle_t *)&t->poll, on_poll_closed);
	return err;
err_undo_alloc:
	free(t);
	return err;
}
