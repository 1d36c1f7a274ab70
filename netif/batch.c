/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch is built once and written until it is empty, however the far side
 * cuts it up: a partial write moves the first iovec on, so that resuming in
 * mid frame needs no state but the iovecs themselves, and no checksum is
 * computed twice. A large segment may span batches; the iterator in it stays.
 *
 * Frames leave the ring when the whole batch is written. Giving each back as
 * soon as its last byte is gone was rejected: it would keep a boundary per
 * frame to free memory a moment earlier.
 */
#include "netif/batch.h"

#include "core/buf.h"
#include "core/log.h"
#include "lwip/pbuf.h"

enum { PIECES_MAX = LWR_BATCH_IOV / 2 };

void lwr__batch_init(struct lwr_batch *b)
{
	b->cutting = false;
	b->frames = 0;
	b->first = 0;
	b->n = 0;
}

/*
 * A frame in so many pieces that one packet of it could exceed what a write
 * takes is copied into one. Returns false if memory ran out.
 */
static bool flatten(struct lwr_frame *f)
{
	struct pbuf *p;

	if (pbuf_clen(f->p) <= PIECES_MAX)
		return true;
	p = pbuf_clone(PBUF_RAW, PBUF_RAM, f->p);
	if (!p)
		return false;
	lwr__frame_put(f->p);
	f->p = p;
	return true;
}

/* Begins with the next frame. Returns false if there is none. */
static bool next_frame(struct lwr_batch *b, const struct lwr_ring *ring)
{
	struct lwr_frame *f;

	for (; b->frames < lwr__ring_count(ring); b->frames++) {
		f = lwr__ring_at(ring, b->frames);
		if (flatten(f)) {
			lwr__gso_init(&b->gso, f);
			b->cutting = true;
			return true;
		}
	}
	return false;
}

/* Adds one packet. Returns its bytes, 0 if the frame is empty, or -ENOBUFS. */
static int add_packet(struct lwr_batch *b, unsigned slot)
{
	struct iovec *iov = &b->iov[b->n];
	uint8_t *hdr = b->hdr[slot];
	struct lwr_gso_packet pkt;
	int r;

	r = lwr__gso_next(&b->gso, &pkt, hdr + LWR_FRAMING_HLEN, iov + 1,
			  LWR_BATCH_IOV - b->n - 1);
	if (r <= 0)
		return r;
	/* Far sides end the link, or themselves, over a longer frame. */
	LWR_ASSERT(pkt.len <= LWR_FRAMING_MAX);
	lwr__framing_put(hdr, pkt.len);
	iov->iov_base = hdr;
	iov->iov_len = LWR_FRAMING_HLEN + pkt.hdr_len;
	b->n += 1 + pkt.n;
	return (int)pkt.len;
}

static void build(struct lwr_batch *b, const struct lwr_ring *ring)
{
	unsigned packets = 0;
	int bytes = 0, r;

	while (packets < LWR_BATCH_PACKETS && b->n < LWR_BATCH_IOV &&
	       bytes < LWR_BATCH_BYTES) {
		if (!b->cutting && !next_frame(b, ring))
			return;
		r = add_packet(b, packets);
		if (r < 0)
			return;
		if (r > 0)
			packets++;
		bytes += r;
		b->packets += r > 0;
		b->bytes += (uint64_t)r;
		b->cutting = b->gso.left > 0;
		b->frames += !b->cutting;
	}
}

static void finish(struct lwr_batch *b, struct lwr_ring *ring)
{
	lwr__ring_pop(ring, b->frames);
	b->frames = 0;
	b->first = 0;
	b->n = 0;
}

bool lwr__batch_fill(struct lwr_batch *b, struct lwr_ring *ring)
{
	if (!lwr__batch_empty(b))
		return true;
	build(b, ring);
	if (!lwr__batch_empty(b))
		return true;
	finish(b, ring); /* frames that had to be skipped */
	return false;
}

void lwr__batch_sent(struct lwr_batch *b, struct lwr_ring *ring, size_t bytes)
{
	struct iovec *iov;

	while (b->first < b->n) {
		iov = &b->iov[b->first];
		if (bytes < iov->iov_len) {
			iov->iov_base = (uint8_t *)iov->iov_base + bytes;
			iov->iov_len -= bytes;
			return;
		}
		bytes -= iov->iov_len;
		b->first++;
	}
	finish(b, ring);
}
