/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many frames of a ring as one gather write: to a byte stream, with a length
 * in front of each packet, or as messages, one for each packet.
 */
#ifndef LWR_NETIF_BATCH_H
#define LWR_NETIF_BATCH_H

#include "core/gso.h"
#include "core/ring.h"
#include "netif/framing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	LWR_BATCH_IOV = 1024, /* UIO_MAXIOV: what one sendmsg() takes */
	LWR_BATCH_PACKETS = 512,
	LWR_BATCH_BYTES = 256 * 1024, /* no packet is begun beyond */
	LWR_BATCH_HDR = LWR_FRAMING_HLEN + LWR_GSO_HDR_MAX,
};

/*
 * What was built and not yet taken by the far side. Its iovecs point into
 * frames of the ring: while it is not empty, nobody else takes frames off.
 */
struct lwr_batch {
	struct lwr_gso_iter gso; /* in ring frame `frames`, if `cutting` */
	bool cutting;
	bool framed; /* lengths in front */
	uint32_t frames; /* of the ring, wholly in this batch */
	uint64_t packets; /* built and not counted yet, and */
	uint64_t bytes; /* their bytes, without the length words */
	unsigned first; /* iovecs [first, n) are left to write */
	unsigned n;
	struct iovec iov[LWR_BATCH_IOV];
	unsigned packet; /* the one that iovec `first` belongs to */
	unsigned packets_built;
	unsigned end[LWR_BATCH_PACKETS]; /* iovec behind each packet's last */
	bool begun; /* that packet was written in part */
	uint8_t hdr[LWR_BATCH_PACKETS][LWR_BATCH_HDR];
};

void lwr__batch_init(struct lwr_batch *b, bool framed);

static inline bool lwr__batch_empty(const struct lwr_batch *b)
{
	return b->first == b->n;
}

/*
 * Builds the next batch, unless one is unfinished. Returns true if there is
 * something to write.
 */
bool lwr__batch_fill(struct lwr_batch *b, struct lwr_ring *ring);

/* `bytes` of it were written: the rest is next; frames done leave the ring. */
void lwr__batch_sent(struct lwr_batch *b, struct lwr_ring *ring, size_t bytes);

/* Up to `max` packets of it as messages, not 0. Returns how many. */
unsigned lwr__batch_messages(struct lwr_batch *b, struct mmsghdr *msg,
			     unsigned max);

/* The same for the first n of those messages. */
void lwr__batch_sent_messages(struct lwr_batch *b, struct lwr_ring *ring,
			      unsigned n);

/* What is left of a packet begun: iovecs from iov[first] on; 0: none was. */
unsigned lwr__batch_begun(const struct lwr_batch *b);

#endif
