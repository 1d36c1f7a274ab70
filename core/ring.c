/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/ring.h"

#include "core/buf.h"
#include "core/log.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <stdlib.h>

int lwr__ring_init(struct lwr_ring *r, uint32_t size)
{
	LWR_ASSERT(size != 0 && (size & (size - 1)) == 0);
	r->slot = calloc(size, sizeof(*r->slot));
	r->size = size;
	r->head = 0;
	r->tail = 0;
	r->bytes = 0;
	return r->slot ? 0 : -ENOMEM;
}

void lwr__ring_fini(struct lwr_ring *r)
{
	if (!r->slot)
		return;
	lwr__ring_pop(r, lwr__ring_count(r));
	free(r->slot);
	r->slot = NULL;
}

int lwr__ring_push(struct lwr_ring *r, const struct lwr_frame *f)
{
	if (lwr__ring_room(r) == 0)
		return -EAGAIN;
	lwr__frame_get(f->p);
	r->slot[r->tail & (r->size - 1)] = *f;
	r->tail++;
	r->bytes += f->p->tot_len;
	return 0;
}

struct pbuf *lwr__ring_take(struct lwr_ring *r)
{
	struct pbuf *p = lwr__ring_at(r, 0)->p;

	r->head++;
	r->bytes -= p->tot_len;
	return p;
}

void lwr__ring_pop(struct lwr_ring *r, uint32_t n)
{
	LWR_ASSERT(n <= lwr__ring_count(r));
	/* Off the ring first: the put may run a callback. */
	while (n--)
		lwr__frame_put(lwr__ring_take(r));
}

bool lwr__frame_flatten(struct lwr_frame *f, unsigned max)
{
	struct pbuf *p;

	if (pbuf_clen(f->p) <= max)
		return true;
	p = pbuf_clone(PBUF_RAW, PBUF_RAM, f->p);
	if (!p)
		return false;
	lwr__frame_put(f->p);
	f->p = p;
	return true;
}
