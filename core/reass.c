/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reassembly (RFC 791 3.2, RFC 815, RFC 8200 4.5). A set is what has come of
 * one packet: its fragments in ascending order, which never overlap, so that
 * the packet is complete when as many bytes are held as its last fragment says
 * that there are. It is then put together in one buffer, under a plain header
 * without options, and parsed like any frame; whoever comes behind need not
 * know about fragments.
 *
 *	a fragment that came before, byte for byte   ignored
 *	one that overlaps others otherwise, lies
 *	beyond the end, or moves the end             the set is poisoned
 *
 * A poisoned set holds no data and swallows what else comes of its packet (RFC
 * 5722 4, and the same for IPv4: overlaps are attacks). After 30 or 60 seconds
 * a set is given up; the guest hears of it if the first fragment had come (RFC
 * 792, RFC 4443 3.3). The timer runs only while there are sets.
 *
 * Memory is bounded per link and in all, by sets and by bytes. At a limit the
 * link's own oldest set goes; only if the limit is that of all links and the
 * link has no other set, the oldest of all.
 */
#include "core/reass.h"

#include "core/csum.h"
#include "core/link.h"
#include "core/stack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	IP4_HLEN = 20,
	IP4_MORE = 0x2000,
	IP6_HLEN = 40,
	IP6_NEXT = 6,
	IP_MAX = 65535,
	FRAG6_HLEN = 8,
	FRAG6_NEXT = 44,
	QUOTE = 512, /* payload of the first fragment that an error quotes */
};

struct part {
	struct part *next;
	uint16_t off;
	uint16_t len;
	uint8_t data[];
};

struct set {
	struct lwr_demux_node demux;
	struct lwr_list age; /* r->age[] */
	struct lwr_list on_link; /* link->frags.sets */
	struct lwr_link *link;
	uint64_t until_ms;
	struct part *parts; /* ascending */
	struct part *tail;
	uint32_t n; /* parts that came, counted when dropped */
	uint32_t have; /* payload bytes held */
	uint32_t end; /* payload bytes of the packet; 0: not known yet */
	size_t bytes; /* memory */
	bool poisoned;
	uint8_t proto; /* the first fragment's next header */
	/* Ethernet and IP header; of the first fragment once it came */
	uint8_t head[LWR_ETH_HLEN + IP6_HLEN];
	uint8_t frag6[FRAG6_HLEN]; /* its fragment header */
};

/* A fragment as its headers say. */
struct piece {
	const uint8_t *data;
	uint32_t id;
	uint16_t off;
	uint16_t len;
	bool more;
};

static_assert((int)LWR_REASS_BYTES_LINK > 2 * IP_MAX, "a packet must fit");

/* ---- fragments ----------------------------------------------------------- */

static bool is4(const struct lwr_pkt *pkt)
{
	return pkt->ethertype == LWR_ETHERTYPE_IP4;
}

static void read_headers(const struct lwr_pkt *pkt, struct piece *p)
{
	struct lwr_cursor c;
	uint16_t bits;

	if (is4(pkt)) {
		c = lwr__cursor(pkt->data + pkt->l3, IP4_HLEN);
		lwr__cursor_bytes(&c, NULL, 4);
		p->id = lwr__cursor_u16(&c);
		bits = lwr__cursor_u16(&c);
		p->off = (uint16_t)(bits << 3);
		p->more = (bits & IP4_MORE) != 0;
	} else {
		c = lwr__cursor(pkt->data + pkt->l4 - FRAG6_HLEN, FRAG6_HLEN);
		lwr__cursor_bytes(&c, NULL, 2);
		bits = lwr__cursor_u16(&c);
		p->id = lwr__cursor_u32(&c);
		p->off = bits & 0xfff8;
		p->more = bits & 1;
	}
}

/* False: it can be part of no packet. */
static bool piece_of(const struct lwr_pkt *pkt, struct piece *p)
{
	uint32_t max = is4(pkt) ? IP_MAX - IP4_HLEN : IP_MAX;

	read_headers(pkt, p);
	p->data = pkt->data + pkt->l4;
	if (pkt->l4_len == 0 || p->off > max || pkt->l4_len > max - p->off)
		return false;
	p->len = (uint16_t)pkt->l4_len;
	return !p->more || p->len % 8 == 0;
}

static void key_of(struct lwr_key *key, const struct lwr_pkt *pkt,
		   const struct piece *p)
{
	memset(key, 0, sizeof(*key));
	key->guest = pkt->src;
	key->host = pkt->dst;
	key->link = pkt->link->id;
	key->gport = (uint16_t)p->id;
	/* An IPv6 identification is of 32 bits, an IPv4 one of a protocol. */
	key->hport = is4(pkt) ? pkt->proto : (uint16_t)(p->id >> 16);
}

/* ---- sets ---------------------------------------------------------------- */

static void account(struct lwr_reass *r, struct set *s, size_t bytes)
{
	s->bytes += bytes;
	s->link->frags.bytes += bytes;
	r->bytes += bytes;
}

static void free_parts(struct set *s)
{
	struct part *p, *next;

	for (p = s->parts; p; p = next) {
		next = p->next;
		free(p);
	}
	s->parts = s->tail = NULL;
}

static void arm(struct lwr_reass *r);

static void set_free(struct lwr_reass *r, struct set *s)
{
	free_parts(s);
	lwr__demux_remove(&r->sets, &s->demux);
	lwr__list_remove(&s->age);
	lwr__list_remove(&s->on_link);
	s->link->frags.count--;
	s->link->frags.bytes -= s->bytes;
	r->bytes -= s->bytes;
	free(s);
	if (r->sets.count == 0)
		lwr__timer_stop(&r->timer);
}

static void set_drop(struct lwr_reass *r, struct set *s)
{
	s->link->stats.drop_fragment += s->n;
	set_free(r, s);
}

static void poison(struct lwr_reass *r, struct set *s)
{
	size_t freed = s->bytes - sizeof(*s);

	free_parts(s);
	s->link->stats.drop_fragment += s->n;
	s->n = 0;
	s->poisoned = true;
	s->bytes -= freed;
	s->link->frags.bytes -= freed;
	r->bytes -= freed;
}

static bool link_full(const struct lwr_link *link, uint32_t sets, size_t bytes)
{
	return link->frags.count + sets > LWR_REASS_SETS_LINK ||
	       link->frags.bytes + bytes > LWR_REASS_BYTES_LINK;
}

static bool all_full(const struct lwr_reass *r, uint32_t sets, size_t bytes)
{
	return r->sets.count + sets > LWR_REASS_SETS ||
	       r->bytes + bytes > LWR_REASS_BYTES;
}

/* The link's oldest set, or the oldest of all; never `keep`. */
static struct set *victim(const struct lwr_reass *r,
			  const struct lwr_link *link, const struct set *keep,
			  bool of_all)
{
	struct lwr_list *n = link->frags.sets.next;

	if (keep && n == &keep->on_link)
		n = n->next;
	if (n != &link->frags.sets)
		return LWR_CONTAINER(n, struct set, on_link);
	for (int i = 0; of_all && i < 2; i++) {
		n = r->age[i].next;
		if (keep && n == &keep->age)
			n = n->next;
		if (n != &r->age[i])
			return LWR_CONTAINER(n, struct set, age);
	}
	return NULL;
}

/* Room for so much more. False: there is none besides `keep`. */
static bool make_room(struct lwr_reass *r, const struct lwr_link *link,
		      const struct set *keep, uint32_t sets, size_t bytes)
{
	struct set *s;
	bool own;

	while ((own = link_full(link, sets, bytes)) ||
	       all_full(r, sets, bytes)) {
		s = victim(r, link, keep, !own);
		if (!s)
			return false;
		set_drop(r, s);
	}
	return true;
}

static struct set *set_new(struct lwr_reass *r, const struct lwr_pkt *pkt,
			   const struct lwr_key *key)
{
	struct lwr_link *link = pkt->link;
	uint32_t ms = is4(pkt) ? LWR_REASS_MS4 : LWR_REASS_MS6;
	struct set *s;

	if (!make_room(r, link, NULL, 1, sizeof(*s)))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->link = link;
	s->demux.key = *key;
	s->until_ms = lwr__loop_now(r->loop) + ms;
	lwr__demux_add(&r->sets, &s->demux);
	lwr__list_init(&s->age);
	lwr__list_append(&r->age[is4(pkt) ? 0 : 1], &s->age);
	lwr__list_init(&s->on_link);
	lwr__list_append(&link->frags.sets, &s->on_link);
	link->frags.count++;
	account(r, s, sizeof(*s));
	if (!lwr__timer_active(&r->timer))
		arm(r);
	return s;
}

static struct set *set_of(struct lwr_reass *r, const struct lwr_pkt *pkt,
			  const struct piece *p)
{
	struct lwr_demux_node *n;
	struct lwr_key key;

	key_of(&key, pkt, p);
	n = lwr__demux_find(&r->sets, &key);
	return n ? LWR_CONTAINER(n, struct set, demux) : set_new(r, pkt, &key);
}

/* ---- putting together ---------------------------------------------------- */

enum verdict { TAKEN, AGAIN, CLASH, NO_MEMORY };

/* Behind which part it belongs. */
static struct part **place(struct set *s, const struct piece *p)
{
	struct part **at = &s->parts;

	if (s->tail && s->tail->off + s->tail->len <= p->off)
		return &s->tail->next;
	while (*at && (*at)->off + (*at)->len <= p->off)
		at = &(*at)->next;
	return at;
}

/* What is held and what is known of the end allow this piece. */
static bool end_agrees(const struct set *s, const struct piece *p)
{
	uint32_t end = (uint32_t)p->off + p->len;

	if (p->more)
		return s->end == 0 || end < s->end;
	if (s->end)
		return s->end == end;
	return !s->tail || (uint32_t)s->tail->off + s->tail->len <= end;
}

static bool same(const struct part *f, const struct piece *p)
{
	return f->off == p->off && f->len == p->len &&
	       memcmp(f->data, p->data, p->len) == 0;
}

static enum verdict add(struct lwr_reass *r, struct set *s,
			const struct piece *p)
{
	struct part **at = place(s, p), *f = *at;
	size_t size = sizeof(*f) + p->len;

	if (!end_agrees(s, p))
		return CLASH;
	if (f && f->off < p->off + p->len)
		return same(f, p) ? AGAIN : CLASH;
	if (s->n >= LWR_REASS_PARTS)
		return CLASH;
	if (!make_room(r, s->link, s, 0, size))
		return NO_MEMORY;
	f = malloc(size);
	if (!f)
		return NO_MEMORY;
	f->off = p->off;
	f->len = p->len;
	memcpy(f->data, p->data, p->len);
	f->next = *at;
	*at = f;
	if (!f->next)
		s->tail = f;
	if (!p->more)
		s->end = (uint32_t)p->off + p->len;
	s->have += p->len;
	s->n++;
	account(r, s, size);
	return TAKEN;
}

static void keep_head(struct set *s, const struct lwr_pkt *pkt,
		      const struct piece *p)
{
	uint16_t hlen = is4(pkt) ? IP4_HLEN : IP6_HLEN;

	if (p->off != 0)
		return;
	memcpy(s->head, pkt->data, LWR_ETH_HLEN);
	memcpy(s->head + LWR_ETH_HLEN, pkt->data + pkt->l3, hlen);
	if (!is4(pkt))
		memcpy(s->frag6, pkt->data + pkt->l4 - FRAG6_HLEN, FRAG6_HLEN);
	s->proto = pkt->proto;
}

/* Makes the header one without options, for `len` bytes of payload. */
static void fix_ip4(uint8_t *ip, uint32_t len, bool whole)
{
	struct lwr_cursor c = lwr__cursor(ip, IP4_HLEN);
	uint16_t sum;

	lwr__cursor_put_u8(&c, 0x45);
	lwr__cursor_u8(&c);
	lwr__cursor_put_u16(&c, (uint16_t)(IP4_HLEN + len));
	lwr__cursor_u16(&c);
	if (whole)
		lwr__cursor_put_u16(&c, 0);
	memset(ip + 10, 0, 2);
	sum = lwr__csum(0, ip, IP4_HLEN);
	memcpy(ip + 10, &sum, 2);
}

static void fix_ip6(uint8_t *ip, uint32_t len, uint8_t next)
{
	struct lwr_cursor c = lwr__cursor(ip + 4, 3);

	lwr__cursor_put_u16(&c, (uint16_t)len);
	lwr__cursor_put_u8(&c, next);
}

static bool set_is4(const struct set *s)
{
	return lwr__addr_is4(&s->demux.key.guest);
}

static uint8_t *join(const struct set *s, uint32_t *len)
{
	uint32_t head = LWR_ETH_HLEN + (set_is4(s) ? IP4_HLEN : IP6_HLEN);
	uint8_t *frame = malloc(head + s->end);

	if (!frame)
		return NULL;
	memcpy(frame, s->head, head);
	if (set_is4(s))
		fix_ip4(frame + LWR_ETH_HLEN, s->end, true);
	else
		fix_ip6(frame + LWR_ETH_HLEN, s->end, s->proto);
	for (const struct part *p = s->parts; p; p = p->next)
		memcpy(frame + head + p->off, p->data, p->len);
	*len = head + s->end;
	return frame;
}

static uint8_t *complete(struct lwr_reass *r, struct set *s, uint32_t *len)
{
	uint8_t *frame = join(s, len);

	if (!frame) {
		set_drop(r, s);
		return NULL;
	}
	s->link->stats.reassembled++;
	set_free(r, s);
	return frame;
}

uint8_t *lwr__reass_input(struct lwr_reass *r, const struct lwr_pkt *pkt,
			  uint32_t *len)
{
	struct lwr_stats *st = &pkt->link->stats;
	enum verdict v;
	struct piece p;
	struct set *s;

	if (!piece_of(pkt, &p)) {
		st->drop_malformed++;
		return NULL;
	}
	s = set_of(r, pkt, &p);
	v = !s ? NO_MEMORY : s->poisoned ? CLASH : add(r, s, &p);
	if (v == TAKEN) {
		keep_head(s, pkt, &p);
		return s->have == s->end ? complete(r, s, len) : NULL;
	}
	if (v != AGAIN)
		st->drop_fragment++;
	if (v == CLASH && !s->poisoned)
		poison(r, s);
	return NULL;
}

/* ---- expiry -------------------------------------------------------------- */

/* Tells the guest, with its first fragment. */
static void tell(const struct set *s)
{
	uint8_t quote[IP6_HLEN + FRAG6_HLEN + QUOTE];
	const struct part *p = s->parts;
	size_t hlen = set_is4(s) ? IP4_HLEN : IP6_HLEN, n;

	if (!p || p->off != 0)
		return;
	memcpy(quote, s->head + LWR_ETH_HLEN, hlen);
	if (set_is4(s)) {
		fix_ip4(quote, p->len, false);
	} else {
		fix_ip6(quote, FRAG6_HLEN + (uint32_t)p->len, FRAG6_NEXT);
		memcpy(quote + hlen, s->frag6, FRAG6_HLEN);
		hlen += FRAG6_HLEN;
	}
	n = p->len < QUOTE ? p->len : QUOTE;
	memcpy(quote + hlen, p->data, n);
	lwr__send_unreach(s->link, LWR_UNREACH_REASSEMBLY, &s->demux.key.host,
			  quote, hlen + n);
}

static struct set *oldest(const struct lwr_list *l)
{
	return l->next == l ? NULL : LWR_CONTAINER(l->next, struct set, age);
}

static void arm(struct lwr_reass *r)
{
	uint64_t now = lwr__loop_now(r->loop), at = UINT64_MAX;
	const struct set *s;

	for (int i = 0; i < 2; i++) {
		s = oldest(&r->age[i]);
		if (s && s->until_ms < at)
			at = s->until_ms;
	}
	if (at != UINT64_MAX)
		lwr__timer_start(&r->timer, at > now ? at - now : 0);
}

static void on_timer(struct lwr_timer *t)
{
	struct lwr_reass *r = LWR_CONTAINER(t, struct lwr_reass, timer);
	uint64_t now = lwr__loop_now(r->loop);
	struct set *s;

	for (int i = 0; i < 2; i++) {
		while ((s = oldest(&r->age[i])) && s->until_ms <= now) {
			tell(s);
			set_drop(r, s);
		}
	}
	arm(r);
}

/* ---- life ---------------------------------------------------------------- */

void lwr__reass_link_down(struct lwr_reass *r, struct lwr_link *link)
{
	struct lwr_list *n;

	while ((n = link->frags.sets.next) != &link->frags.sets)
		set_free(r, LWR_CONTAINER(n, struct set, on_link));
}

int lwr__reass_init(struct lwr_reass *r, struct lwr_loop *loop)
{
	int err;

	*r = (struct lwr_reass){ .loop = loop };
	err = lwr__demux_init(&r->sets);
	if (err)
		return err;
	lwr__list_init(&r->age[0]);
	lwr__list_init(&r->age[1]);
	lwr__timer_init(loop, &r->timer, on_timer);
	return 0;
}

void lwr__reass_fini(struct lwr_reass *r)
{
	lwr__timer_stop(&r->timer);
	lwr__timer_close(r->loop, &r->timer);
	lwr__demux_fini(&r->sets);
}
