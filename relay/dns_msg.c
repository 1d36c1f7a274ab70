/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarder passes messages on byte for byte, so it reads little of them:
 * the one question, the EDNS record of a query, and of an answer the walk over
 * its records, for TTLs. No record's data are looked into but the five numbers
 * at the end of an SOA. Names are skipped, never followed: a compression
 * pointer ends a name, so nothing here can loop or leave the message, and
 * every byte is read through a cursor.
 *
 * A query's name is spelt out (RFC 1035 4.1.4 lets nothing precede it that it
 * could point to), and it is kept in lower case in the key, under which answers
 * are cached and questions in flight are joined. The key also has what else an
 * answer depends on: RD, AD and CD of the header (RFC 4035 3.2), whether there
 * is EDNS, with DO, with a cookie, and whether it was asked by TCP. A query with any other EDNS option
 * (client subnet, NSID) or of an unusual kind is passed on but not shared; nor
 * is an answer with EDNS options, which are one client's (RFC 6891 6.1.1).
 *
 * Rejected: ldns, c-ares and getdns parse messages into records and write them
 * again, which loses what they do not know; each is more code to fuzz than
 * the 300 lines here.
 */
#include "relay/dns_msg.h"

#include "core/pkt.h"

#include <string.h>

enum {
	QR = 0x8000,
	OPCODE = 0x7800,
	AA = 0x0400,
	TC = 0x0200,
	RD = 0x0100,
	RA = 0x0080,
	AD = 0x0020,
	CD = 0x0010,
	RCODE = 0x000f,
	EDNS_DO = 0x8000,
	OPTION_COOKIE = 10,
	OPTION_PADDING = 12,
	OUR_UDP_SIZE = 1232,
	TYPES_OF_DATA_ONLY = LWR_DNS_TKEY,
	SOA_NUMBERS = 20,
	/* TTLs above are those of a fault (RFC 2181 8, RFC 8767 4). */
	TTL_MAX = 7 * 24 * 3600,
	NEGATIVE_MAX = 3 * 3600, /* RFC 2308 5 */
};

enum { KEY_EDNS = 1, KEY_DO = 2, KEY_COOKIE = 4, KEY_TCP = 8 };

struct header {
	uint16_t id;
	uint16_t flags;
	uint16_t count[4]; /* question, answer, authority, additional */
};

struct record {
	uint16_t type;
	uint16_t class;
	uint8_t *ttl; /* where its four bytes are */
	uint32_t ttl_value;
	const uint8_t *data;
	uint16_t len;
	bool root; /* the owner is the root */
};

static void get_header(struct lwr_cursor *c, struct header *h)
{
	h->id = lwr__cursor_u16(c);
	h->flags = lwr__cursor_u16(c);
	for (int i = 0; i < 4; i++)
		h->count[i] = lwr__cursor_u16(c);
}

/* Skips a name, compressed or not. Returns its bytes here; 0: bad. */
static size_t skip_name(struct lwr_cursor *c, bool *spelt)
{
	size_t before = c->left;
	uint8_t n;

	*spelt = true;
	while ((n = lwr__cursor_u8(c)) != 0 && !c->bad) {
		if ((n & 0xc0) == 0xc0) {
			(void)lwr__cursor_u8(c);
			*spelt = false;
			break;
		}
		if (n & 0xc0)
			c->bad = true;
		lwr__cursor_bytes(c, NULL, n);
	}
	if (before - c->left > LWR_DNS_NAME_MAX)
		c->bad = true;
	return c->bad ? 0 : before - c->left;
}

static void get_record(struct lwr_cursor *c, struct record *r)
{
	bool spelt;

	r->root = skip_name(c, &spelt) == 1;
	r->type = lwr__cursor_u16(c);
	r->class = lwr__cursor_u16(c);
	r->ttl = c->p;
	r->ttl_value = lwr__cursor_u32(c);
	r->len = lwr__cursor_u16(c);
	r->data = c->p;
	lwr__cursor_bytes(c, NULL, r->len);
}

static uint8_t lower(uint8_t b)
{
	return b >= 'A' && b <= 'Z' ? (uint8_t)(b | 0x20) : b;
}

/* ---- queries ------------------------------------------------------------- */

/* False: an option that answers may depend on. */
static bool options_shareable(const struct record *r, uint8_t *key_flags)
{
	struct lwr_cursor c = lwr__cursor(r->data, r->len);

	while (c.left > 0 && !c.bad) {
		uint16_t code = lwr__cursor_u16(&c);

		lwr__cursor_bytes(&c, NULL, lwr__cursor_u16(&c));
		if (code == OPTION_COOKIE)
			*key_flags |= KEY_COOKIE;
		else if (code != OPTION_PADDING)
			return false;
	}
	return !c.bad;
}

/* The OPT record of a query (RFC 6891 6.1). */
static void read_edns(struct lwr_dns_query *q, const struct record *r,
		      uint8_t *key_flags)
{
	uint8_t version = (uint8_t)(r->ttl_value >> 16);

	q->edns = true;
	q->dnssec_ok = (r->ttl_value & EDNS_DO) != 0;
	if (r->class > LWR_DNS_UDP_MIN)
		q->udp_max = r->class;
	*key_flags |= KEY_EDNS | (q->dnssec_ok ? KEY_DO : 0);
	if (version != 0 || !r->root || !options_shareable(r, key_flags))
		q->shareable = false;
}

/* What stands behind the question of a query; anything odd is not shared. */
static void read_rest(struct lwr_dns_query *q, struct lwr_cursor *c,
		      const struct header *h, uint8_t *key_flags)
{
	uint32_t n = 0u + h->count[1] + h->count[2] + h->count[3];
	struct record r;

	q->shareable = (h->flags & (OPCODE | TC | AA)) == 0 &&
		       h->count[1] == 0 && h->count[2] == 0 &&
		       q->type < TYPES_OF_DATA_ONLY && q->type != LWR_DNS_OPT;
	for (; n > 0; n--) {
		get_record(c, &r);
		if (c->bad)
			break;
		if (r.type == LWR_DNS_OPT && !q->edns)
			read_edns(q, &r, key_flags);
		else
			q->shareable = false;
	}
	if (c->bad || c->left > 0)
		q->shareable = false;
}

static void make_key(struct lwr_dns_query *q, const uint8_t *question,
		     uint8_t key_flags)
{
	struct lwr_dns_key *k = &q->key;
	uint16_t i;

	for (i = 0; i < q->name_len; i++)
		k->data[i] = lower(question[i]);
	for (; i < q->question_len; i++)
		k->data[i] = question[i];
	k->data[i++] = (uint8_t)((q->flags & RD) >> 8 | (q->flags & (AD | CD)));
	k->data[i++] = key_flags;
	k->len = i;
}

enum lwr_dns_verdict lwr__dns_query_parse(const uint8_t *msg, size_t len,
					  bool tcp, struct lwr_dns_query *q)
{
	struct lwr_cursor c = lwr__cursor(msg, len);
	uint8_t key_flags = tcp ? KEY_TCP : 0;
	struct header h;
	bool spelt;

	memset(q, 0, offsetof(struct lwr_dns_query, key));
	q->udp_max = LWR_DNS_UDP_MIN;
	get_header(&c, &h);
	if (c.bad || (h.flags & QR))
		return LWR_DNS_DROP;
	q->id = h.id;
	q->flags = h.flags;
	if (h.count[0] != 1)
		return LWR_DNS_BAD;
	q->name_len = (uint16_t)skip_name(&c, &spelt);
	q->type = lwr__cursor_u16(&c);
	q->class = lwr__cursor_u16(&c);
	if (c.bad || !spelt)
		return LWR_DNS_BAD;
	q->question_len = (uint16_t)(q->name_len + 4);
	read_rest(q, &c, &h, &key_flags);
	make_key(q, msg + LWR_DNS_HLEN, key_flags);
	return LWR_DNS_GOOD;
}

/* ---- answers ------------------------------------------------------------- */

static bool same_question(const uint8_t *a, const uint8_t *b, size_t name_len,
			  size_t len)
{
	for (size_t i = 0; i < name_len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return memcmp(a + name_len, b + name_len, len - name_len) == 0;
}

bool lwr__dns_answers(const struct lwr_dns_query *q, const uint8_t *asked,
		      const uint8_t *msg, size_t len)
{
	struct lwr_cursor c = lwr__cursor(msg, len);
	struct header h;

	get_header(&c, &h);
	if (c.bad || !(h.flags & QR) || ((h.flags ^ q->flags) & OPCODE))
		return false;
	if (h.count[0] == 0) /* failures, and updates (RFC 2136 3.8) */
		return h.count[1] == 0 && (h.flags & (RCODE | OPCODE)) != 0;
	return h.count[0] == 1 && c.left >= q->question_len &&
	       same_question(c.p, asked + LWR_DNS_HLEN, q->name_len,
			     q->question_len);
}

bool lwr__dns_truncated(const uint8_t *msg)
{
	return (msg[2] & (TC >> 8)) != 0;
}

enum lwr_dns_rcode lwr__dns_rcode(const uint8_t *msg)
{
	return (enum lwr_dns_rcode)(msg[3] & RCODE);
}

struct lifetime {
	uint32_t ttl; /* the least */
	uint32_t negative; /* of the SOA, if there is one */
	bool has_type; /* the answer has a record of the type asked for */
	bool has_soa;
	bool bad;
};

/* TTL values with the highest bit set count as 0 (RFC 2181 8). */
static uint32_t ttl_of(uint32_t v)
{
	if (v & 0x80000000u)
		return 0;
	return v < TTL_MAX ? v : TTL_MAX;
}

static void look_at_soa(struct lifetime *l, const struct record *r)
{
	struct lwr_cursor c = lwr__cursor(r->data, r->len);
	uint32_t minimum;

	/* Two names come first, compressed perhaps; the numbers are last. */
	if (r->len < SOA_NUMBERS) {
		l->bad = true;
		return;
	}
	lwr__cursor_bytes(&c, NULL, (size_t)r->len - 4);
	minimum = ttl_of(lwr__cursor_u32(&c));
	l->has_soa = true;
	l->negative = ttl_of(r->ttl_value);
	if (minimum < l->negative)
		l->negative = minimum;
}

static void look_at(struct lifetime *l, const struct record *r, int section,
		    uint16_t type)
{
	uint32_t ttl = ttl_of(r->ttl_value);

	if (r->type == LWR_DNS_OPT) {
		/* Its options, and the upper bits of RCODE, are not cached. */
		if (r->len > 0 || r->ttl_value >> 24)
			l->bad = true;
		return;
	}
	if (ttl < l->ttl)
		l->ttl = ttl;
	if (section == 1 && r->type == type)
		l->has_type = true;
	if (section == 2 && r->type == LWR_DNS_SOA)
		look_at_soa(l, r);
	if (r->type >= TYPES_OF_DATA_ONLY && r->type <= LWR_DNS_ANY)
		l->bad = true; /* TSIG and the like */
}

static uint32_t decide(const struct lifetime *l, enum lwr_dns_rcode rcode)
{
	uint32_t ttl = l->ttl;

	if (l->bad || (rcode != LWR_DNS_NOERROR && rcode != LWR_DNS_NXDOMAIN))
		return 0;
	if (rcode == LWR_DNS_NOERROR && l->has_type)
		return ttl;
	if (!l->has_soa)
		return 0;
	if (l->negative < ttl)
		ttl = l->negative;
	return ttl < NEGATIVE_MAX ? ttl : NEGATIVE_MAX;
}

uint32_t lwr__dns_lifetime(const struct lwr_dns_query *q, const uint8_t *msg,
			   size_t len)
{
	struct lwr_cursor c = lwr__cursor(msg, len);
	struct lifetime l = { .ttl = TTL_MAX };
	struct header h;
	struct record r;

	get_header(&c, &h);
	if (c.bad || (h.flags & TC) || h.count[0] != 1)
		return 0;
	lwr__cursor_bytes(&c, NULL, q->question_len);
	for (int section = 1; section < 4; section++) {
		for (uint16_t n = h.count[section]; n > 0 && !c.bad; n--) {
			get_record(&c, &r);
			if (!c.bad)
				look_at(&l, &r, section, q->type);
		}
	}
	if (c.bad || c.left > 0)
		return 0;
	return decide(&l, (enum lwr_dns_rcode)(h.flags & RCODE));
}

void lwr__dns_age(uint8_t *msg, size_t len, uint32_t seconds)
{
	struct lwr_cursor c = lwr__cursor(msg, len);
	struct header h;
	struct record r;
	uint32_t n, ttl;
	bool spelt;

	get_header(&c, &h);
	(void)skip_name(&c, &spelt);
	(void)lwr__cursor_u32(&c);
	for (n = 0u + h.count[1] + h.count[2] + h.count[3]; n > 0; n--) {
		struct lwr_cursor to;

		get_record(&c, &r);
		if (c.bad)
			return;
		if (r.type == LWR_DNS_OPT)
			continue;
		to = lwr__cursor(r.ttl, 4);
		ttl = r.ttl_value & 0x80000000u ? 0 : r.ttl_value;
		lwr__cursor_put_u32(&to, ttl > seconds ? ttl - seconds : 0);
	}
}

void lwr__dns_readdress(uint8_t *msg, size_t len, uint16_t id,
			const uint8_t *question, size_t question_len)
{
	struct lwr_cursor c = lwr__cursor(msg, len);
	struct header h;

	lwr__cursor_put_u16(&c, id);
	c = lwr__cursor(msg, len);
	get_header(&c, &h);
	if (h.count[0] == 1 && question_len <= c.left)
		lwr__cursor_put_bytes(&c, question, question_len);
}

/* ---- answers of our own -------------------------------------------------- */

static void put_header(struct lwr_cursor *c, const struct lwr_dns_query *q,
		       uint16_t flags, uint16_t answers)
{
	/* BAD queries have no question that could be repeated. */
	uint16_t kept = q->flags & (OPCODE | RD | CD);

	lwr__cursor_put_u16(c, q->id);
	lwr__cursor_put_u16(c, (uint16_t)(QR | RA | kept | flags));
	lwr__cursor_put_u16(c, q->question_len ? 1 : 0);
	lwr__cursor_put_u16(c, answers);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u16(c, q->edns ? 1 : 0);
}

static void put_edns(struct lwr_cursor *c, const struct lwr_dns_query *q)
{
	if (!q->edns)
		return;
	lwr__cursor_put_u8(c, 0);
	lwr__cursor_put_u16(c, LWR_DNS_OPT);
	lwr__cursor_put_u16(c, OUR_UDP_SIZE);
	lwr__cursor_put_u32(c, q->dnssec_ok ? EDNS_DO : 0);
	lwr__cursor_put_u16(c, 0);
}

size_t lwr__dns_empty(const struct lwr_dns_query *q, const uint8_t *question,
		      enum lwr_dns_rcode rcode, bool truncated,
		      uint8_t buf[LWR_DNS_EMPTY_MAX])
{
	struct lwr_cursor c = lwr__cursor(buf, LWR_DNS_EMPTY_MAX);

	put_header(&c, q, (uint16_t)((uint16_t)rcode | (truncated ? TC : 0)),
		   0);
	lwr__cursor_put_bytes(&c, question, q->question_len);
	put_edns(&c, q);
	return LWR_DNS_EMPTY_MAX - c.left;
}

/* Begins a record of the question's name, up to its data. */
static void put_record(struct lwr_cursor *c, uint16_t type, uint32_t ttl,
		       size_t len)
{
	enum { POINTER = 0xc000, IN = 1 };

	lwr__cursor_put_u16(c, POINTER | LWR_DNS_HLEN);
	lwr__cursor_put_u16(c, type);
	lwr__cursor_put_u16(c, IN);
	lwr__cursor_put_u32(c, ttl);
	lwr__cursor_put_u16(c, (uint16_t)len);
}

static bool fits(const struct lwr_dns_query *q, const struct lwr_addr *a)
{
	return q->type == LWR_DNS_ANY ||
	       q->type == (lwr__addr_is4(a) ? LWR_DNS_A : LWR_DNS_AAAA);
}

static void put_addr(struct lwr_cursor *c, const struct lwr_addr *a,
		     uint32_t ttl)
{
	bool four = lwr__addr_is4(a);
	size_t len = four ? 4 : 16;

	put_record(c, four ? LWR_DNS_A : LWR_DNS_AAAA, ttl, len);
	lwr__cursor_put_bytes(c, a->b + 16 - len, len);
}

size_t lwr__dns_write(const struct lwr_dns_query *q, const uint8_t *question,
		      const struct lwr_dns_data *data, uint8_t *buf, size_t max)
{
	struct lwr_cursor c = lwr__cursor(buf, max), head;
	uint16_t n = 0;

	put_header(&c, q, AA, 0);
	lwr__cursor_put_bytes(&c, question, q->question_len);
	for (unsigned i = 0; i < data->n; i++) {
		if (!fits(q, &data->addr[i]))
			continue;
		put_addr(&c, &data->addr[i], data->ttl);
		n++;
	}
	if (data->ptr) {
		put_record(&c, LWR_DNS_PTR, data->ttl, data->ptr_len);
		lwr__cursor_put_bytes(&c, data->ptr, data->ptr_len);
		n++;
	}
	put_edns(&c, q);
	head = lwr__cursor(buf, max);
	put_header(&head, q, AA, n);
	return c.bad ? 0 : max - c.left;
}
