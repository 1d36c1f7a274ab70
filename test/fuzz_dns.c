/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A query and an answer to it, of any bytes: two bytes of length of the query,
 * the query, the answer. Whatever is read must be inside, and what is written
 * must be read again.
 */
#include "relay/dns_msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *copy(const uint8_t *data, size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		abort();
	memcpy(p, data, size);
	return p;
}

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* An answer of ours to a good query must be one. */
static void try_empty(const struct lwr_dns_query *q, const uint8_t *query)
{
	uint8_t buf[LWR_DNS_EMPTY_MAX];
	size_t n = lwr__dns_empty(q, query + LWR_DNS_HLEN, LWR_DNS_SERVFAIL,
				  true, buf);

	check(lwr__dns_answers(q, query, buf, n));
	check(lwr__dns_truncated(buf));
	check(lwr__dns_rcode(buf) == LWR_DNS_SERVFAIL);
}

static void try_write(const struct lwr_dns_query *q, const uint8_t *query)
{
	struct lwr_addr addr[2] = { lwr__addr_of_v4(0x0a000202),
				    { .b = { 0xfd } } };
	struct lwr_dns_data d = { .addr = addr, .n = 2, .ttl = 60 };
	uint8_t buf[512];
	size_t n =
		lwr__dns_write(q, query + LWR_DNS_HLEN, &d, buf, sizeof(buf));

	check(n >= LWR_DNS_HLEN && lwr__dns_answers(q, query, buf, n));
	if (q->type == LWR_DNS_A || q->type == LWR_DNS_AAAA)
		check(lwr__dns_lifetime(q, buf, n) == 60);
}

static void try_answer(const struct lwr_dns_query *q, const uint8_t *query,
		       const uint8_t *data, size_t size)
{
	uint8_t *msg = copy(data, size);
	uint32_t ttl;

	if (lwr__dns_answers(q, query, msg, size)) {
		ttl = lwr__dns_lifetime(q, msg, size);
		lwr__dns_age(msg, size, 1);
		if (ttl > 1)
			check(lwr__dns_lifetime(q, msg, size) >= ttl - 1);
		lwr__dns_readdress(msg, size, 7, query + LWR_DNS_HLEN,
				   q->question_len);
		check(lwr__dns_answers(q, query, msg, size));
	}
	free(msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lwr_dns_query q;
	uint8_t *query;
	size_t n;

	if (size < 2)
		return 0;
	n = (size_t)(data[0] << 8 | data[1]);
	data += 2;
	size -= 2;
	if (n > size)
		n = size;
	query = copy(data, n);
	if (lwr__dns_query_parse(query, n, n & 1, &q) == LWR_DNS_GOOD) {
		check(q.question_len <= LWR_DNS_QUESTION_MAX);
		check(q.key.len <= sizeof(q.key.data));
		try_empty(&q, query);
		try_write(&q, query);
		try_answer(&q, query, data + n, size - n);
	}
	free(query);
	return 0;
}
