/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bounded ring of frames on their way to a guest. Producer and consumer are
 * the loop thread. A frame is a pbuf chain, referenced, never copied.
 */
#ifndef LWR_CORE_RING_H
#define LWR_CORE_RING_H

#include <stdbool.h>
#include <stdint.h>

struct pbuf;

/* Segmentation that a frame still needs, as in virtio-net (OASIS 5.1.6). */
enum lwr_gso { LWR_GSO_NONE, LWR_GSO_TCP4, LWR_GSO_TCP6, LWR_GSO_UDP };

struct lwr_frame {
	struct pbuf *p; /* starts at the Ethernet header */
	uint16_t gso_size; /* payload bytes of each packet; 0: one packet */
	uint8_t gso; /* enum lwr_gso */
	uint8_t needs_csum; /* L4 checksum field holds the pseudo-header sum */
	uint16_t l4_off; /* offset of the TCP or UDP header in the frame */
	uint16_t hdr_len; /* bytes before the payload, Ethernet included */
};

struct lwr_ring {
	struct lwr_frame *slot;
	uint32_t size; /* a power of two */
	uint32_t head; /* next to take; free-running */
	uint32_t tail; /* next to fill; free-running */
	uint32_t bytes; /* of all frames in it */
};

/* Returns 0 or -ENOMEM. `size` must be a power of two. */
int lwr__ring_init(struct lwr_ring *r, uint32_t size);
/* Frees the slots; frames still in it are released with lwr__frame_put(). */
void lwr__ring_fini(struct lwr_ring *r);

static inline uint32_t lwr__ring_count(const struct lwr_ring *r)
{
	return r->tail - r->head;
}

static inline uint32_t lwr__ring_room(const struct lwr_ring *r)
{
	return r->size - (r->tail - r->head);
}

/* Takes its own references to f->p and its data. Returns 0 or -EAGAIN. */
int lwr__ring_push(struct lwr_ring *r, const struct lwr_frame *f);

/* The i-th frame from the head, i < count; stays in the ring. */
static inline struct lwr_frame *lwr__ring_at(const struct lwr_ring *r,
					     uint32_t i)
{
	return &r->slot[(r->head + i) & (r->size - 1)];
}

/* Takes the first frame off; its references are the caller's, for the put. */
struct pbuf *lwr__ring_take(struct lwr_ring *r);

/*
 * A frame of more than `max` pieces is copied into one, for what takes only so
 * many at once. Returns false if memory ran out.
 */
bool lwr__frame_flatten(struct lwr_frame *f, unsigned max);

/* Releases the first n frames, n <= count. */
void lwr__ring_pop(struct lwr_ring *r, uint32_t n);

#endif
