/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash table of whole answers, as they came, under the key of relay/dns_msg.h,
 * and a list by last use. A hit is aged by its reader, so that TTLs count down
 * as at the resolver it came from (RFC 1035 3.2.1), and ends when the least of
 * them would be 0. Nothing is refreshed, prefetched or served stale, and no
 * timer runs: what is over goes when it is found, or as the longest unused.
 *
 * The hash is keyed, for guests choose the names (core/demux.h). The bound on
 * bytes counts what malloc takes, about.
 */
#include "relay/dns_cache.h"

#include "core/demux.h"
#include "platform/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BYTES_PER_ENTRY = 2048, /* on average, at most */
	MSG_MAX = 16 * 1024,
};

struct entry {
	struct lwr_list on_bucket;
	struct lwr_list on_lru;
	uint64_t at_ms; /* when it came */
	uint32_t ttl; /* seconds */
	uint32_t link;
	uint16_t key_len;
	uint16_t msg_len;
	uint8_t data[]; /* key, message */
};

static size_t size_of(const struct entry *e)
{
	return sizeof(*e) + e->key_len + e->msg_len;
}

int lwr__dns_cache_init(struct lwr_dns_cache *c, uint32_t limit)
{
	*c = (struct lwr_dns_cache){ .limit = limit };
	lwr__list_init(&c->lru);
	if (limit == 0)
		return 0;
	lwr__random(c->k, sizeof(c->k));
	c->buckets = 64;
	while (c->buckets < limit)
		c->buckets *= 2;
	c->bucket = malloc(c->buckets * sizeof(*c->bucket));
	if (!c->bucket)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->buckets; i++)
		lwr__list_init(&c->bucket[i]);
	return 0;
}

static void forget(struct lwr_dns_cache *c, struct entry *e)
{
	lwr__list_remove(&e->on_bucket);
	lwr__list_remove(&e->on_lru);
	c->entries--;
	c->bytes -= size_of(e);
	free(e);
}

void lwr__dns_cache_flush(struct lwr_dns_cache *c)
{
	while (!lwr__list_empty(&c->lru))
		forget(c, LWR_CONTAINER(c->lru.next, struct entry, on_lru));
}

void lwr__dns_cache_fini(struct lwr_dns_cache *c)
{
	lwr__dns_cache_flush(c);
	free(c->bucket);
}

static struct lwr_list *bucket_of(const struct lwr_dns_cache *c,
				  const struct lwr_dns_key *key)
{
	uint64_t h = lwr__siphash13(c->k, key->data, key->len);

	return &c->bucket[(h ^ key->link) & (c->buckets - 1)];
}

static struct entry *find(struct lwr_dns_cache *c,
			  const struct lwr_dns_key *key)
{
	struct lwr_list *b, *n;
	struct entry *e;

	if (c->buckets == 0)
		return NULL;
	b = bucket_of(c, key);
	for (n = b->next; n != b; n = n->next) {
		e = LWR_CONTAINER(n, struct entry, on_bucket);
		if (e->link == key->link && e->key_len == key->len &&
		    memcmp(e->data, key->data, key->len) == 0)
			return e;
	}
	return NULL;
}

const uint8_t *lwr__dns_cache_get(struct lwr_dns_cache *c,
				  const struct lwr_dns_key *key,
				  uint64_t now_ms, size_t *len, uint32_t *age)
{
	struct entry *e = find(c, key);

	if (!e)
		return NULL;
	if (now_ms - e->at_ms >= e->ttl * 1000ull) {
		forget(c, e);
		return NULL;
	}
	lwr__list_remove(&e->on_lru);
	lwr__list_append(&c->lru, &e->on_lru);
	*len = e->msg_len;
	*age = (uint32_t)((now_ms - e->at_ms) / 1000);
	return e->data + e->key_len;
}

static void make_room(struct lwr_dns_cache *c, size_t size)
{
	size_t most = (size_t)c->limit * BYTES_PER_ENTRY;

	while (!lwr__list_empty(&c->lru) &&
	       (c->entries >= c->limit || c->bytes + size > most))
		forget(c, LWR_CONTAINER(c->lru.next, struct entry, on_lru));
}

void lwr__dns_cache_put(struct lwr_dns_cache *c, const struct lwr_dns_key *key,
			uint64_t now_ms, uint32_t ttl, const uint8_t *msg,
			size_t len)
{
	struct entry *e = find(c, key);

	if (e)
		forget(c, e);
	if (c->buckets == 0 || ttl == 0 || len > MSG_MAX)
		return;
	e = malloc(sizeof(*e) + key->len + len);
	if (!e)
		return;
	e->at_ms = now_ms;
	e->ttl = ttl;
	e->link = key->link;
	e->key_len = key->len;
	e->msg_len = (uint16_t)len;
	memcpy(e->data, key->data, key->len);
	memcpy(e->data + key->len, msg, len);
	make_room(c, size_of(e));
	lwr__list_append(bucket_of(c, key), &e->on_bucket);
	lwr__list_append(&c->lru, &e->on_lru);
	c->entries++;
	c->bytes += size_of(e);
}
