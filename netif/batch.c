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

#include <string.h>

enum { PIECES_MAX = LWR_BATCH_IOV / 2 };

static void empty(struct lwr_batch *b)
{
	b->frames = 0;
	b->first = 0;
	b->n = 0;
	b->packet = 0;
	b->packets_built = 0;
	b->begun = false;
}

void lwr__batch_init(struct lwr_batch *b, bool framed)
{
	b->cutting = false;
	b->framed = framed;
	empty(b);
}

/* Begins with the next frame. Returns false if there is none. */
static bool next_frame(struct lwr_batch *b, const struct lwr_ring *ring)
{
	struct lwr_frame *f;

	for (; b->frames < lwr__ring_count(ring); b->frames++) {
		f = lwr__ring_at(ring, b->frames);
		if (lwr__frame_flatten(f, PIECES_MAX)) {
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
	unsigned framing = b->framed ? LWR_FRAMING_HLEN : 0;
	uint8_t *hdr = b->hdr[slot];
	struct lwr_gso_packet pkt;
	int r;

	r = lwr__gso_next(&b->gso, &pkt, hdr + framing, iov + 1,
			  LWR_BATCH_IOV - b->n - 1);
	if (r <= 0)
		return r;
	/* Far sides end the link, or themselves, over a longer frame. */
	LWR_ASSERT(pkt.len <= LWR_FRAMING_MAX);
	if (b->framed)
		lwr__framing_put(hdr, pkt.len);
	iov->iov_base = hdr;
	iov->iov_len = framing + pkt.hdr_len;
	b->n += 1 + pkt.n;
	b->end[slot] = b->n;
	return (int)pkt.len;
}

static void build(struct lwr_batch *b, const struct lwr_ring *ring)
{
	int bytes = 0, r;

	while (b->packets_built < LWR_BATCH_PACKETS && b->n < LWR_BATCH_IOV &&
	       bytes < LWR_BATCH_BYTES) {
		if (!b->cutting && !next_frame(b, ring))
			return;
		r = add_packet(b, b->packets_built);
		if (r < 0)
			return;
		bytes += r;
		b->packets_built += r > 0;
		b->packets += r > 0;
		b->bytes += (uint64_t)r;
		b->cutting = b->gso.left > 0;
		b->frames += !b->cutting;
	}
}

static void finish(struct lwr_batch *b, struct lwr_ring *ring)
{
	lwr__ring_pop(ring, b->frames);
	empty(b);
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
			b->begun = b->begun || bytes > 0;
			return;
		}
		bytes -= iov->iov_len;
		b->first++;
		b->begun = b->first < b->end[b->packet];
		b->packet += !b->begun;
	}
	finish(b, ring);
}

unsigned lwr__batch_begun(const struct lwr_batch *b)
{
	return b->begun ? b->end[b->packet] - b->first : 0;
}

unsigned lwr__batch_messages(struct lwr_batch *b, struct mmsghdr *msg,
			     unsigned max)
{
	unsigned at = b->first, n = 0;

	for (; n < max && b->packet + n < b->packets_built; n++) {
		memset(&msg[n], 0, sizeof(msg[n]));
		msg[n].msg_hdr.msg_iov = &b->iov[at];
		msg[n].msg_hdr.msg_iovlen = b->end[b->packet + n] - at;
		at = b->end[b->packet + n];
	}
	return n;
}

void lwr__batch_sent_messages(struct lwr_batch *b, struct lwr_ring *ring,
			      unsigned n)
{
	b->packet += n;
	if (b->packet == b->packets_built)
		finish(b, ring);
	else if (n)
		b->first = b->end[b->packet - 1];
}
