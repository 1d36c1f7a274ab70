/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash table with chained, intrusive nodes: one node embedded in each
 * connection, so adding cannot fail. It keeps the load between 1/8 and 1,
 * growing and shrinking by doubling and halving; if memory for a larger
 * table is missing, the old one goes on with longer chains. Nodes keep their
 * hash, so that resizing does not hash again and most wrong nodes of a chain
 * are told apart without comparing keys.
 *
 * SipHash-1-3 (Aumasson, Bernstein: SipHash, 2012; one compression and three
 * finalization rounds, as the Linux kernel's tables and CPython use it)
 * takes about 15 ns for a key. Weaker and faster mixes were rejected: the
 * guest picks ports and, behind a relay, addresses too.
 */
#include "core/demux.h"

#include "core/log.h"
#include "platform/sock.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_MIN = 256, SHRINK_BELOW = 8 };

static_assert(sizeof(struct lwr_key) == 40, "the key is hashed as bytes");

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline uint64_t load_le(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void sip_absorb(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	s->v0 ^= m;
}

uint64_t lwr__siphash13(const uint64_t k[2], const void *data, size_t len)
{
	const uint8_t *p = data;
	struct sip s = {
		k[0] ^ 0x736f6d6570736575,
		k[1] ^ 0x646f72616e646f6d,
		k[0] ^ 0x6c7967656e657261,
		k[1] ^ 0x7465646279746573,
	};
	uint8_t last[8] = { 0 };
	size_t left = len;

	for (; left >= 8; p += 8, left -= 8)
		sip_absorb(&s, load_le(p));
	memcpy(last, p, left);
	last[7] = (uint8_t)len;
	sip_absorb(&s, load_le(last));
	s.v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

int lwr__demux_init(struct lwr_demux *d)
{
	d->bucket = calloc(BUCKETS_MIN, sizeof(*d->bucket));
	if (!d->bucket)
		return -ENOMEM;
	d->buckets = BUCKETS_MIN;
	d->count = 0;
	lwr__random(d->k, sizeof(d->k));
	return 0;
}

void lwr__demux_fini(struct lwr_demux *d)
{
	free(d->bucket);
	d->bucket = NULL;
	d->buckets = 0;
	d->count = 0;
}

static struct lwr_demux_node **bucket_of(const struct lwr_demux *d,
					 uint64_t hash)
{
	return &d->bucket[hash & (d->buckets - 1)];
}

struct lwr_demux_node *lwr__demux_find(const struct lwr_demux *d,
				       const struct lwr_key *key)
{
	uint64_t hash = lwr__siphash13(d->k, key, sizeof(*key));
	struct lwr_demux_node *n = *bucket_of(d, hash);

	while (n &&
	       (n->hash != hash || memcmp(&n->key, key, sizeof(*key)) != 0))
		n = n->next;
	return n;
}

static void link_node(struct lwr_demux *d, struct lwr_demux_node *n)
{
	struct lwr_demux_node **b = bucket_of(d, n->hash);

	n->next = *b;
	*b = n;
}

static void resize(struct lwr_demux *d, size_t buckets)
{
	struct lwr_demux_node **old = d->bucket, *n;
	size_t old_buckets = d->buckets;
	struct lwr_demux_node **fresh = calloc(buckets, sizeof(*fresh));

	if (!fresh)
		return;
	d->bucket = fresh;
	d->buckets = buckets;
	for (size_t i = 0; i < old_buckets; i++) {
		while ((n = old[i])) {
			old[i] = n->next;
			link_node(d, n);
		}
	}
	free(old);
}

void lwr__demux_add(struct lwr_demux *d, struct lwr_demux_node *n)
{
	if (d->count >= d->buckets)
		resize(d, d->buckets * 2);
	n->hash = lwr__siphash13(d->k, &n->key, sizeof(n->key));
	link_node(d, n);
	d->count++;
}

void lwr__demux_remove(struct lwr_demux *d, struct lwr_demux_node *n)
{
	struct lwr_demux_node **at = bucket_of(d, n->hash);

	while (*at && *at != n)
		at = &(*at)->next;
	LWR_ASSERT(*at == n);
	*at = n->next;
	n->next = NULL;
	d->count--;
	if (d->buckets > BUCKETS_MIN && d->count < d->buckets / SHRINK_BELOW)
		resize(d, d->buckets / 2);
}
