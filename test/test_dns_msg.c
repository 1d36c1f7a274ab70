/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/dns_local.h"
#include "relay/dns_msg.h"

#include "core/pkt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 1024 };

struct msg {
	uint8_t data[MAX];
	struct lwr_cursor c;
};

static size_t len_of(const struct msg *m)
{
	assert_false(m->c.bad);
	return MAX - m->c.left;
}

/* Labels separated by dots. */
static void put_name(struct msg *m, const char *name)
{
	size_t n;

	for (; *name; name += n + (name[n] == '.')) {
		n = strcspn(name, ".");
		lwr__cursor_put_u8(&m->c, (uint8_t)n);
		lwr__cursor_put_bytes(&m->c, name, n);
	}
	lwr__cursor_put_u8(&m->c, 0);
}

static void begin(struct msg *m, uint16_t flags, const char *name,
		  uint16_t type, uint16_t answers, uint16_t authority,
		  uint16_t additional)
{
	m->c = lwr__cursor(m->data, MAX);
	lwr__cursor_put_u16(&m->c, 0x1234);
	lwr__cursor_put_u16(&m->c, flags);
	lwr__cursor_put_u16(&m->c, 1);
	lwr__cursor_put_u16(&m->c, answers);
	lwr__cursor_put_u16(&m->c, authority);
	lwr__cursor_put_u16(&m->c, additional);
	put_name(m, name);
	lwr__cursor_put_u16(&m->c, type);
	lwr__cursor_put_u16(&m->c, 1);
}

/* A record of the question's name. */
static void put_record(struct msg *m, uint16_t type, uint32_t ttl,
		       const void *data, size_t len)
{
	lwr__cursor_put_u16(&m->c, 0xc00c);
	lwr__cursor_put_u16(&m->c, type);
	lwr__cursor_put_u16(&m->c, 1);
	lwr__cursor_put_u32(&m->c, ttl);
	lwr__cursor_put_u16(&m->c, (uint16_t)len);
	lwr__cursor_put_bytes(&m->c, data, len);
}

static void put_opt(struct msg *m, uint16_t size, uint32_t ttl,
		    const void *options, size_t len)
{
	lwr__cursor_put_u8(&m->c, 0);
	lwr__cursor_put_u16(&m->c, LWR_DNS_OPT);
	lwr__cursor_put_u16(&m->c, size);
	lwr__cursor_put_u32(&m->c, ttl);
	lwr__cursor_put_u16(&m->c, (uint16_t)len);
	lwr__cursor_put_bytes(&m->c, options, len);
}

static void put_soa(struct msg *m, uint32_t ttl, uint8_t minimum)
{
	uint8_t soa[2 + 20] = { [21] = minimum };

	put_record(m, LWR_DNS_SOA, ttl, soa, sizeof(soa));
}

static void query(struct msg *m, const char *name, uint16_t type)
{
	begin(m, 0x0100, name, type, 0, 0, 0);
}

static struct lwr_dns_query good(const struct msg *m)
{
	struct lwr_dns_query q;

	assert_int_equal(lwr__dns_query_parse(m->data, len_of(m), false, &q),
			 LWR_DNS_GOOD);
	return q;
}

static bool same_key(const struct lwr_dns_query *a,
		     const struct lwr_dns_query *b)
{
	return a->key.len == b->key.len &&
	       memcmp(a->key.data, b->key.data, a->key.len) == 0;
}

/* ---- queries ------------------------------------------------------------- */

static void query_is_read(void **state)
{
	struct lwr_dns_query q;
	struct msg m;

	(void)state;
	query(&m, "WWW.Example", LWR_DNS_AAAA);
	q = good(&m);
	assert_int_equal(q.id, 0x1234);
	assert_int_equal(q.type, LWR_DNS_AAAA);
	assert_int_equal(q.name_len, 13);
	assert_int_equal(q.question_len, 17);
	assert_int_equal(q.udp_max, 512);
	assert_false(q.edns);
	assert_true(q.shareable);
	assert_memory_equal(q.key.data, "\3www\7example", 13);
}

static void edns_of_a_query_is_read(void **state)
{
	struct lwr_dns_query q;
	struct msg m;

	(void)state;
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 4096, 0x8000, NULL, 0);
	q = good(&m);
	assert_true(q.edns && q.dnssec_ok && q.shareable);
	assert_int_equal(q.udp_max, 4096);
	/* Less than 512 counts as 512 (RFC 6891 6.2.3). */
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 100, 0, NULL, 0);
	q = good(&m);
	assert_int_equal(q.udp_max, 512);
	assert_false(q.dnssec_ok);
}

static void keys_tell_what_answers_depend_on(void **state)
{
	struct lwr_dns_query a, b;
	struct msg m;

	(void)state;
	query(&m, "x.y", LWR_DNS_A);
	a = good(&m);
	query(&m, "X.Y", LWR_DNS_A);
	b = good(&m);
	assert_true(same_key(&a, &b));
	query(&m, "x.y", LWR_DNS_AAAA);
	b = good(&m);
	assert_false(same_key(&a, &b));
	begin(&m, 0x0110, "x.y", LWR_DNS_A, 0, 0, 0); /* CD */
	b = good(&m);
	assert_false(same_key(&a, &b));
	begin(&m, 0x0000, "x.y", LWR_DNS_A, 0, 0, 0); /* no RD */
	b = good(&m);
	assert_false(same_key(&a, &b));
	begin(&m, 0x0100, "x.y", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 1232, 0, NULL, 0);
	b = good(&m);
	assert_false(same_key(&a, &b));
	query(&m, "x.y", LWR_DNS_A);
	assert_int_equal(lwr__dns_query_parse(m.data, len_of(&m), true, &b),
			 LWR_DNS_GOOD);
	assert_false(same_key(&a, &b));
}

static void unusual_queries_are_not_shared(void **state)
{
	static const uint8_t cookie[12] = { 0, 10, 0, 8 };
	static const uint8_t subnet[12] = { 0, 8, 0, 8 };
	static const uint8_t cut[4] = { 0, 10, 0, 8 };
	struct msg m;

	(void)state;
	query(&m, "x", 252); /* AXFR */
	assert_false(good(&m).shareable);
	begin(&m, 0x2800, "x", LWR_DNS_SOA, 0, 0, 0); /* UPDATE */
	assert_false(good(&m).shareable);
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 512, 1 << 16, NULL, 0); /* EDNS version 1 */
	assert_false(good(&m).shareable);
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 512, 0, subnet, sizeof(subnet));
	assert_false(good(&m).shareable);
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 512, 0, cut, sizeof(cut));
	assert_false(good(&m).shareable);
	begin(&m, 0x0100, "x", LWR_DNS_A, 0, 0, 1);
	put_opt(&m, 512, 0, cookie, sizeof(cookie));
	assert_true(good(&m).shareable);
	query(&m, "x", LWR_DNS_A);
	lwr__cursor_put_u8(&m.c, 0); /* junk behind it */
	assert_false(good(&m).shareable);
}

static void broken_queries_are_refused(void **state)
{
	struct lwr_dns_query q;
	struct msg m;
	size_t len;

	(void)state;
	query(&m, "x.y", LWR_DNS_A);
	len = len_of(&m);
	for (size_t n = 0; n < len; n++) {
		assert_int_equal(lwr__dns_query_parse(m.data, n, false, &q),
				 n < LWR_DNS_HLEN ? LWR_DNS_DROP : LWR_DNS_BAD);
	}
	m.data[5] = 2; /* questions */
	assert_int_equal(lwr__dns_query_parse(m.data, len, false, &q),
			 LWR_DNS_BAD);
	m.data[5] = 1;
	m.data[2] |= 0x80; /* an answer */
	assert_int_equal(lwr__dns_query_parse(m.data, len, false, &q),
			 LWR_DNS_DROP);
	query(&m, "x.y", LWR_DNS_A);
	m.data[12] = 0xc0; /* a pointer */
	assert_int_equal(lwr__dns_query_parse(m.data, len, false, &q),
			 LWR_DNS_BAD);
	m.data[12] = 0x41; /* an extended label (RFC 6891 5) */
	assert_int_equal(lwr__dns_query_parse(m.data, len, false, &q),
			 LWR_DNS_BAD);
}

static void longest_name_fits_and_one_more_does_not(void **state)
{
	char name[300] = "";
	struct lwr_dns_query q;
	struct msg m;

	(void)state;
	for (int i = 0; i < 126; i++)
		strcat(name, "a.");
	strcat(name, "b"); /* 127 labels: 254 bytes and the root */
	query(&m, name, LWR_DNS_A);
	assert_int_equal(good(&m).name_len, 255);
	strcat(name, "b");
	query(&m, name, LWR_DNS_A);
	assert_int_equal(lwr__dns_query_parse(m.data, len_of(&m), false, &q),
			 LWR_DNS_BAD);
}

/* ---- answers ------------------------------------------------------------- */

static bool answers(const struct msg *ask, const struct msg *m)
{
	struct lwr_dns_query q = good(ask);

	return lwr__dns_answers(&q, ask->data, m->data, len_of(m));
}

static void answer_must_have_the_question(void **state)
{
	struct msg ask, m;

	(void)state;
	query(&ask, "x.example", LWR_DNS_A);
	begin(&m, 0x8180, "X.EXAMPLE", LWR_DNS_A, 0, 0, 0);
	assert_true(answers(&ask, &m));
	begin(&m, 0x0100, "x.example", LWR_DNS_A, 0, 0, 0);
	assert_false(answers(&ask, &m));
	begin(&m, 0x8180, "y.example", LWR_DNS_A, 0, 0, 0);
	assert_false(answers(&ask, &m));
	begin(&m, 0x8180, "x.example", LWR_DNS_AAAA, 0, 0, 0);
	assert_false(answers(&ask, &m));
	begin(&m, 0xa980, "x.example", LWR_DNS_A, 0, 0, 0);
	assert_false(answers(&ask, &m));
	/* Only a failure may come without it. */
	begin(&m, 0x8185, "x.example", LWR_DNS_A, 0, 0, 0);
	m.data[5] = 0;
	assert_true(answers(&ask, &m));
	m.data[3] = 0x80;
	assert_false(answers(&ask, &m));
}

static uint32_t lifetime(const struct msg *m, uint16_t type)
{
	struct lwr_dns_query q;
	struct msg ask;

	query(&ask, "x", type);
	q = good(&ask);
	return lwr__dns_lifetime(&q, m->data, len_of(m));
}

static void lifetime_is_the_least_ttl(void **state)
{
	struct msg m;

	(void)state;
	begin(&m, 0x8180, "x", LWR_DNS_A, 2, 1, 1);
	put_record(&m, LWR_DNS_A, 300, "abcd", 4);
	put_record(&m, LWR_DNS_A, 200, "abcd", 4);
	put_record(&m, 2, 100, "\0", 1);
	put_opt(&m, 1232, 0, NULL, 0); /* its TTL is none */
	assert_int_equal(lifetime(&m, LWR_DNS_A), 100);
	begin(&m, 0x8180, "x", LWR_DNS_A, 1, 0, 0);
	put_record(&m, LWR_DNS_A, 0x80000001, "abcd", 4);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
}

static void lifetime_of_a_negative_answer_is_the_soas(void **state)
{
	struct msg m;

	(void)state;
	begin(&m, 0x8183, "x", LWR_DNS_A, 0, 1, 0);
	put_soa(&m, 3600, 60);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 60);
	begin(&m, 0x8180, "x", LWR_DNS_A, 0, 1, 0); /* no data */
	put_soa(&m, 30, 60);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 30);
	begin(&m, 0x8180, "x", LWR_DNS_A, 1, 1, 0); /* an alias of nothing */
	put_record(&m, LWR_DNS_CNAME, 10, "\1y", 3);
	put_soa(&m, 30, 60);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 10);
	begin(&m, 0x8183, "x", LWR_DNS_A, 0, 0, 0); /* without SOA */
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
	begin(&m, 0x8183, "x", LWR_DNS_A, 0, 1, 0);
	put_record(&m, LWR_DNS_SOA, 60, "short", 5);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
}

static void failures_and_broken_answers_have_no_lifetime(void **state)
{
	struct msg m;

	(void)state;
	begin(&m, 0x8182, "x", LWR_DNS_A, 1, 0, 0);
	put_record(&m, LWR_DNS_A, 300, "abcd", 4);
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
	m.data[3] = 0x80;
	assert_int_equal(lifetime(&m, LWR_DNS_A), 300);
	m.data[2] |= 2; /* truncated */
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
	m.data[2] &= (uint8_t)~2;
	m.data[7] = 2; /* one record more than there is */
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
	begin(&m, 0x8180, "x", LWR_DNS_A, 1, 0, 1);
	put_record(&m, LWR_DNS_A, 300, "abcd", 4);
	put_opt(&m, 1232, 0, "\0\12\0\0", 4); /* a cookie is one client's */
	assert_int_equal(lifetime(&m, LWR_DNS_A), 0);
}

static void age_takes_seconds_off_every_ttl_but_edns(void **state)
{
	struct lwr_cursor c;
	struct msg m;
	size_t at;

	(void)state;
	begin(&m, 0x8180, "x", LWR_DNS_A, 2, 0, 1);
	at = len_of(&m);
	put_record(&m, LWR_DNS_A, 300, "abcd", 4);
	put_record(&m, LWR_DNS_A, 5, "abcd", 4);
	put_opt(&m, 1232, 0x8000, NULL, 0);
	lwr__dns_age(m.data, len_of(&m), 10);
	c = lwr__cursor(m.data + at, 100);
	lwr__cursor_bytes(&c, NULL, 6);
	assert_int_equal(lwr__cursor_u32(&c), 290);
	lwr__cursor_bytes(&c, NULL, 6 + 6);
	assert_int_equal(lwr__cursor_u32(&c), 0);
	lwr__cursor_bytes(&c, NULL, 6 + 5);
	assert_int_equal(lwr__cursor_u32(&c), 0x8000);
}

static void readdress_gives_identifier_and_spelling(void **state)
{
	struct lwr_dns_query q;
	struct msg ask, m;

	(void)state;
	query(&ask, "xYz", LWR_DNS_A);
	q = good(&ask);
	begin(&m, 0x8180, "xyz", LWR_DNS_A, 0, 0, 0);
	lwr__dns_readdress(m.data, len_of(&m), 0xabcd, ask.data + 12,
			   q.question_len);
	assert_int_equal(lwr__dns_id(m.data), 0xabcd);
	assert_memory_equal(m.data + 12, "\3xYz", 5);
}

/* ---- names of the relay -------------------------------------------------- */

static size_t local(const char *name, uint16_t type, struct lwr_config *config,
		    uint8_t *buf)
{
	struct lwr_dns_query q;
	struct msg ask;

	query(&ask, name, type);
	q = good(&ask);
	return lwr__dns_local_answer(config, &config->net, &q, ask.data + 12,
				     buf);
}

static void local_names_have_addresses(void **state)
{
	uint8_t buf[LWR_DNS_LOCAL_MAX];
	struct lwr_config config;
	size_t n;

	(void)state;
	lwr__config_init(&config);
	n = local("HOST.internal", LWR_DNS_A, &config, buf);
	assert_int_equal(n, 12 + 19 + 16);
	assert_memory_equal(buf + n - 4, "\12\0\2\2", 4);
	n = local("gateway.docker.internal", LWR_DNS_AAAA, &config, buf);
	assert_int_equal(buf[7], 1);
	assert_int_equal(buf[n - 1], 2);
	config.net.ipv6 = false;
	n = local("host.internal", LWR_DNS_AAAA, &config, buf);
	assert_int_equal(n, 12 + 19);
	assert_int_equal(lwr__dns_rcode(buf), LWR_DNS_NOERROR);
	assert_int_equal(local("host.internal.org", LWR_DNS_A, &config, buf),
			 0);
	assert_int_equal(local("internal", LWR_DNS_A, &config, buf), 0);
}

static void given_names_replace_the_built_in(void **state)
{
	uint8_t buf[LWR_DNS_LOCAL_MAX];
	struct lwr_config config;
	size_t n;

	(void)state;
	lwr__config_init(&config);
	config.dns_names = 1;
	assert_int_equal(lwr__dns_local_name(config.dns_name[0].name,
					     "Host.Internal.", 14),
			 0);
	config.dns_name[0].addr = lwr__addr_of_v4(0x01020304);
	n = local("host.internal", LWR_DNS_ANY, &config, buf);
	assert_int_equal(buf[7], 1);
	assert_memory_equal(buf + n - 4, "\1\2\3\4", 4);
	n = local("4.3.2.1.in-addr.arpa", LWR_DNS_PTR, &config, buf);
	assert_memory_equal(buf + n - 15, "\4host\10internal", 15);
	n = local("2.2.0.10.in-addr.arpa", LWR_DNS_PTR, &config, buf);
	assert_true(n > 0);
	assert_int_equal(
		local("5.3.2.1.in-addr.arpa", LWR_DNS_PTR, &config, buf), 0);
}

static void local_name_must_be_one(void **state)
{
	static const char *const bad[] = { "",	  ".",	 "a..b", ".a",
					   "a b", "a=b", "a..",	 "\xe4" };
	char to[LWR_DOMAIN_MAX + 1], name[65];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(lwr__dns_local_name(to, bad[i], strlen(bad[i])) <
			    0);
	}
	memset(name, 'a', 64);
	assert_true(lwr__dns_local_name(to, name, 64) < 0);
	assert_int_equal(lwr__dns_local_name(to, name, 63), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_is_read),
		cmocka_unit_test(edns_of_a_query_is_read),
		cmocka_unit_test(keys_tell_what_answers_depend_on),
		cmocka_unit_test(unusual_queries_are_not_shared),
		cmocka_unit_test(broken_queries_are_refused),
		cmocka_unit_test(longest_name_fits_and_one_more_does_not),
		cmocka_unit_test(answer_must_have_the_question),
		cmocka_unit_test(lifetime_is_the_least_ttl),
		cmocka_unit_test(lifetime_of_a_negative_answer_is_the_soas),
		cmocka_unit_test(failures_and_broken_answers_have_no_lifetime),
		cmocka_unit_test(age_takes_seconds_off_every_ttl_but_edns),
		cmocka_unit_test(readdress_gives_identifier_and_spelling),
		cmocka_unit_test(local_names_have_addresses),
		cmocka_unit_test(given_names_replace_the_built_in),
		cmocka_unit_test(local_name_must_be_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
