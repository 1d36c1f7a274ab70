/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link whose far side is another thread of this process: a VMM's virtio
 * thread, a runtime's own. Frames cross through two rings without locks; a
 * system call is made only to wake a side that said that it sleeps.
 */
#ifndef LWR_NETIF_INPROC_H
#define LWR_NETIF_INPROC_H

#include "core/link.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * The far side's handle. It has two owners, the link and the user, and ends
 * with the last of them: after the link's close every call returns
 * -ESHUTDOWN, and lwr__inproc_put() is all that is left to do.
 *
 * Calls named push take one thread at a time, unless `many` was asked for;
 * calls named pop, borrow and release take one thread, the same or another.
 * Neither needs the loop thread, nor may be made from it while it waits.
 */
struct lwr_inproc;

enum lwr_inproc_dir {
	LWR_INPROC_G2H, /* frames from the guest: push */
	LWR_INPROC_H2G, /* frames to the guest: pop, borrow */
};

struct lwr_inproc_opts {
	uint32_t frames; /* capacity each way, a power of two; 0: 1024 */
	bool many; /* push may be called from many threads at once */
	bool vnet; /* 12 bytes, struct virtio_net_hdr_v1, before each frame */
	/* With vnet: what the guest takes besides finished MTU-sized frames. */
	bool offload; /* unfinished checksums, TCP segments over the MTU */
	bool uso; /* UDP segments over the MTU, too */
	/*
	 * Wakes the far side, from the loop thread: there are frames to pop, or
	 * room to push, or the link ended. Must not call back. NULL: the
	 * descriptors of lwr__inproc_fd() are used.
	 */
	void (*wake)(void *arg, int dir); /* enum lwr_inproc_dir */
	void *arg;
};

/* A frame in pieces, the virtio-net header (if any) at its very beginning. */
struct lwr_inproc_frame {
	const struct iovec *iov;
	uint32_t n; /* pieces */
	uint32_t len; /* bytes of all pieces */
};

/* ---- loop thread --------------------------------------------------------- */

/*
 * Adds a link to the stack. Returns 0 with the link, which is ended by its
 * ops->close(), and the far side's handle, to be given back with
 * lwr__inproc_put(); or -errno (-EINVAL: `frames`, the MTU).
 */
int lwr__inproc_new(struct lwr_stack *stack, const char *name,
		    const struct lwr_net *net,
		    const struct lwr_inproc_opts *opts, struct lwr_link **link,
		    struct lwr_inproc **far);

/* ---- any thread ---------------------------------------------------------- */

/* One more owner, and one less; the memory goes with the last. */
void lwr__inproc_get(struct lwr_inproc *far);
void lwr__inproc_put(struct lwr_inproc *far);

/* ---- far thread: guest to host ------------------------------------------- */

/*
 * Takes frames from the guest, as many as there is room for; never blocks
 * (with `many`: waits for other pushes at most). The bytes are copied, once;
 * `len` is not read. What is no frame is taken, dropped and counted.
 * Returns how many were taken, at least 1; -EAGAIN: no room, counted;
 * -ENOMEM; -ESHUTDOWN.
 */
int lwr__inproc_push(struct lwr_inproc *far,
		     const struct lwr_inproc_frame *frames, unsigned n);

/* ---- far thread: host to guest ------------------------------------------- */

/*
 * Lends up to `max` frames from the head of the ring without a copy: the
 * pieces stay readable until they are released. Frames borrowed before and not
 * released are not told again. Returns how many, 0: none, or -ESHUTDOWN.
 *
 * The link's close comes to its end only when all are released, so do that
 * soon; and always, also after -ESHUTDOWN.
 */
int lwr__inproc_borrow(struct lwr_inproc *far, struct lwr_inproc_frame *frames,
		       unsigned max);
/* Gives back the first n of the borrowed frames. */
void lwr__inproc_release(struct lwr_inproc *far, unsigned n);

/* A caller's buffer for one frame, in pieces. */
struct lwr_inproc_buf {
	const struct iovec *iov;
	uint32_t n; /* pieces */
	uint32_t len; /* set: bytes of the frame; more than there is room: cut */
};

/*
 * Copies up to n frames out, one into each buffer. Returns how many, 0: none,
 * or -ESHUTDOWN. -EBUSY: frames are borrowed.
 */
int lwr__inproc_pop(struct lwr_inproc *far, struct lwr_inproc_buf *bufs,
		    unsigned n);

/* ---- far thread: sleeping ------------------------------------------------ */

/*
 * Says that this side is going to sleep until there is something to pop (or
 * borrow), or room to push after -EAGAIN. Returns 0: sleep now, one wake-up
 * will come; 1: do not, there is something already; -ESHUTDOWN. A wake-up is a
 * hint: it may come without reason.
 */
int lwr__inproc_arm(struct lwr_inproc *far, enum lwr_inproc_dir dir);

/*
 * The descriptor that is readable after a wake-up, for poll(2) and the like;
 * made by the first call, lasts as long as the handle. Returns it or -errno.
 * Without `wake` only, and before lwr__inproc_arm().
 */
int lwr__inproc_fd(struct lwr_inproc *far, enum lwr_inproc_dir dir);

/* Makes that descriptor unreadable again: call it after each wake-up. */
void lwr__inproc_clear(struct lwr_inproc *far, enum lwr_inproc_dir dir);

/*
 * All of that for a thread with nothing else to wait for: arms, polls, clears.
 * With `many`, several threads may wait like this for room to push, but only
 * one may with calls of its own. Returns 1: there is something; 0: the time is over (-1: there is no end);
 * -ESHUTDOWN; -EINTR.
 */
int lwr__inproc_wait(struct lwr_inproc *far, enum lwr_inproc_dir dir,
		     int timeout_ms);

/* ---- figures ------------------------------------------------------------- */

/* System calls made to wake either side since the start; any thread. */
struct lwr_inproc_wakes {
	uint64_t loop; /* uv_async_send() by the far side */
	uint64_t far; /* descriptor writes or wake() by the loop */
};

void lwr__inproc_wakes(const struct lwr_inproc *far,
		       struct lwr_inproc_wakes *w);

#endif
