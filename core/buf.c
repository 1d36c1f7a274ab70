/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slabs. A link reads into the open slab; each frame becomes a custom pbuf
 * that refers to its bytes there. Almost always the frames of one wake are
 * consumed before the next, the reader's reference is then the only one, and
 * the same warm memory is read into again. A slab with frames that somebody
 * keeps (out of order, or a host socket that is full) is left to them and a
 * new one opened; beyond LWR_SLAB_HELD_MAX such slabs frames are copied out,
 * so that a small frame cannot hold 256 KiB.
 *
 * Chunks. Each is aligned to its size, so that a pointer into the payload of
 * a segment leads to its chunk: a frame in a ring keeps the chunks it points
 * into, whatever the guest acknowledges meanwhile.
 */
#include "core/buf.h"

#include "lwip/pbuf.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB_SPARE_MAX = 12 };

static void slab_free(struct lwr_slab *s)
{
	struct lwr_slab_pool *p = s->pool;

	if (!p || p->spare >= SLAB_SPARE_MAX) {
		free(s);
		return;
	}
	s->next = p->free;
	p->free = s;
	p->spare++;
}

/* A pbuf's reference went; the pool may be gone by now. */
static void slab_put(struct lwr_slab *s)
{
	if (--s->refs > 0)
		return;
	if (s->pool)
		s->pool->held--;
	slab_free(s);
}

void lwr__slab_init(struct lwr_slab_pool *p)
{
	memset(p, 0, sizeof(*p));
}

/* The reader leaves the open slab to the pbufs in it. */
static void slab_leave(struct lwr_slab_pool *p)
{
	struct lwr_slab *s = p->open;

	p->open = NULL;
	if (!s)
		return;
	p->held++;
	slab_put(s);
}

static struct lwr_slab *slab_new(struct lwr_slab_pool *p)
{
	struct lwr_slab *s = p->free;

	if (s) {
		p->free = s->next;
		p->spare--;
	} else {
		s = malloc(sizeof(*s) + LWR_SLAB_SIZE + 1);
		if (!s)
			return NULL;
	}
	s->next = NULL;
	s->pool = p;
	s->refs = 1;
	return s;
}

/*
 * Slabs still held do not know their siblings, so the pool cannot tell them
 * that it goes: whoever owns it ends its flows before, and held is 0.
 */
void lwr__slab_fini(struct lwr_slab_pool *p)
{
	struct lwr_slab *s;

	slab_leave(p);
	while ((s = p->free)) {
		p->free = s->next;
		free(s);
	}
	p->spare = SLAB_SPARE_MAX;
}

uint8_t *lwr__slab_room(struct lwr_slab_pool *p, size_t need, size_t *len)
{
	if (p->open && p->open->refs == 1)
		p->used = 0;
	if (p->open && LWR_SLAB_SIZE - p->used < need)
		slab_leave(p);
	if (!p->open) {
		p->open = slab_new(p);
		p->used = 0;
		if (!p->open)
			return NULL;
	}
	*len = LWR_SLAB_SIZE - p->used;
	return p->open->data + p->used;
}

void lwr__slab_use(struct lwr_slab_pool *p, size_t n)
{
	p->used += (uint32_t)n;
}

struct slab_pbuf {
	struct pbuf_custom custom; /* first: lwIP frees by its address */
	struct lwr_slab *slab;
};

static void slab_pbuf_free(struct pbuf *p)
{
	struct slab_pbuf *sp = (struct slab_pbuf *)(void *)p;

	slab_put(sp->slab);
	free(sp);
}

/* One byte is spare: lwIP reads the length of an option that has none. */
struct pbuf *lwr__frame_alloc(size_t len)
{
	size_t room = len < UINT16_MAX ? len + 1 : len;
	struct pbuf *p;

	if (len > UINT16_MAX)
		return NULL;
	p = pbuf_alloc(PBUF_RAW, (u16_t)room, PBUF_RAM);
	if (p)
		pbuf_realloc(p, (u16_t)len);
	return p;
}

static struct pbuf *copied(const uint8_t *data, size_t len)
{
	struct pbuf *p = lwr__frame_alloc(len);

	if (p)
		memcpy(p->payload, data, len);
	return p;
}

struct pbuf *lwr__slab_pbuf(struct lwr_slab_pool *p, uint8_t *data, size_t len)
{
	struct slab_pbuf *sp;

	if (len > UINT16_MAX)
		return NULL;
	if (p->held > LWR_SLAB_HELD_MAX)
		return copied(data, len);
	sp = malloc(sizeof(*sp));
	if (!sp)
		return NULL;
	sp->slab = p->open;
	sp->slab->refs++;
	sp->custom.custom_free_function = slab_pbuf_free;
	return pbuf_alloced_custom(PBUF_RAW, (u16_t)len, PBUF_REF, &sp->custom,
				   data, (u16_t)len);
}

void lwr__chunk_init(struct lwr_chunk_pool *p, uint64_t limit)
{
	*p = (struct lwr_chunk_pool){ .limit = limit };
}

void lwr__chunk_fini(struct lwr_chunk_pool *p)
{
	struct lwr_chunk *c;

	while ((c = p->free)) {
		p->free = c->next;
		free(c);
	}
	p->spare = LWR_CHUNK_SPARE;
}

struct lwr_chunk *lwr__chunk_get(struct lwr_chunk_pool *p)
{
	struct lwr_chunk *c = p->free;

	if (p->bytes + LWR_CHUNK_SIZE > p->limit)
		return NULL;
	if (c) {
		p->free = c->next;
		p->spare--;
	} else {
		c = aligned_alloc(LWR_CHUNK_SIZE, sizeof(*c));
		if (!c)
			return NULL;
	}
	p->bytes += LWR_CHUNK_SIZE;
	c->next = NULL;
	c->pool = p;
	c->refs = 1;
	c->end = 0;
	return c;
}

void lwr__chunk_put(struct lwr_chunk *c)
{
	struct lwr_chunk_pool *p = c->pool;

	if (--c->refs > 0)
		return;
	p->bytes -= LWR_CHUNK_SIZE;
	if (p->spare >= LWR_CHUNK_SPARE) {
		free(c);
		return;
	}
	c->next = p->free;
	p->free = c;
	p->spare++;
}

/* The chunk that a pbuf of a segment points into; NULL: it owns its bytes. */
static struct lwr_chunk *chunk_of(const struct pbuf *p)
{
	uintptr_t at = (uintptr_t)p->payload;

	if (!pbuf_match_type(p, PBUF_ROM))
		return NULL;
	return (struct lwr_chunk *)(at & ~(uintptr_t)(LWR_CHUNK_SIZE - 1));
}

void lwr__frame_get(struct pbuf *p)
{
	struct lwr_chunk *c;
	struct pbuf *q;

	pbuf_ref(p);
	for (q = p->next; q; q = q->next) {
		c = chunk_of(q);
		if (c)
			c->refs++;
	}
}

void lwr__frame_put(struct pbuf *p)
{
	struct lwr_chunk *c;
	struct pbuf *q;

	for (q = p->next; q; q = q->next) {
		c = chunk_of(q);
		if (c)
			lwr__chunk_put(c);
	}
	pbuf_free(p);
}
