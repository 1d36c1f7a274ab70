/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the forwarder needs of a DNS message (RFC 1035 4, RFC 6891): the
 * question, the EDNS of it, and where the TTLs of an answer are.
 */
#ifndef LWR_RELAY_DNS_MSG_H
#define LWR_RELAY_DNS_MSG_H

#include "core/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LWR_DNS_HLEN = 12,
	LWR_DNS_NAME_MAX = 255, /* on the wire */
	LWR_DNS_QUESTION_MAX = LWR_DNS_NAME_MAX + 4,
	LWR_DNS_UDP_MIN = 512, /* what every client takes */
	LWR_DNS_MSG_MAX = 65535,
};

enum lwr_dns_rcode {
	LWR_DNS_NOERROR = 0,
	LWR_DNS_FORMERR = 1,
	LWR_DNS_SERVFAIL = 2,
	LWR_DNS_NXDOMAIN = 3,
	LWR_DNS_NOTIMP = 4,
	LWR_DNS_REFUSED = 5,
};

enum lwr_dns_type {
	LWR_DNS_A = 1,
	LWR_DNS_CNAME = 5,
	LWR_DNS_SOA = 6,
	LWR_DNS_PTR = 12,
	LWR_DNS_AAAA = 28,
	LWR_DNS_OPT = 41,
	LWR_DNS_TKEY = 249, /* from here on: no types of data */
	LWR_DNS_ANY = 255,
};

/* What one answer may serve for: equal keys have equal answers. */
struct lwr_dns_key {
	uint32_t link; /* guests do not share answers */
	uint16_t len;
	/* Name in lower case, type, class; flags of header, EDNS, transport. */
	uint8_t data[LWR_DNS_QUESTION_MAX + 2];
};

/* A guest's query. */
struct lwr_dns_query {
	uint16_t id;
	uint16_t flags;
	uint16_t type;
	uint16_t class;
	uint16_t name_len;
	uint16_t question_len; /* bytes of the question, behind the header */
	uint16_t udp_max; /* bytes that it takes over UDP */
	bool edns;
	bool dnssec_ok;
	bool shareable; /* its answer depends on the key alone */
	struct lwr_dns_key key;
};

enum lwr_dns_verdict {
	LWR_DNS_DROP, /* no query: not worth an answer */
	LWR_DNS_BAD, /* answered by FORMERR; id and flags are filled */
	LWR_DNS_GOOD,
};

/* Reads a query, which came by TCP or not; key.link is left to the caller. */
enum lwr_dns_verdict lwr__dns_query_parse(const uint8_t *msg, size_t len,
					  bool tcp, struct lwr_dns_query *q);

/*
 * True if msg may be an answer to the query `asked`, of which q tells: same
 * opcode and question (RFC 5452 9.1). A failure may come without a question.
 */
bool lwr__dns_answers(const struct lwr_dns_query *q, const uint8_t *asked,
		      const uint8_t *msg, size_t len);

static inline uint16_t lwr__dns_id(const uint8_t *msg)
{
	return (uint16_t)(msg[0] << 8 | msg[1]);
}

/* Of a message of at least LWR_DNS_HLEN bytes. */
bool lwr__dns_truncated(const uint8_t *msg);
enum lwr_dns_rcode lwr__dns_rcode(const uint8_t *msg);

/*
 * Seconds for which an answer may be used again: the least of its TTLs, or
 * that of a negative answer (RFC 2308 5). 0: not at all.
 */
uint32_t lwr__dns_lifetime(const struct lwr_dns_query *q, const uint8_t *msg,
			   size_t len);

/* Takes `seconds` off each TTL of an answer that has a lifetime. */
void lwr__dns_age(uint8_t *msg, size_t len, uint32_t seconds);

/*
 * Makes the answer msg, in place, that of another query with an equal
 * question: its identifier and its spelling of the name.
 */
void lwr__dns_readdress(uint8_t *msg, size_t len, uint16_t id,
			const uint8_t *question, size_t question_len);

/*
 * An answer without records to q, whose question is given, in buf of at least
 * LWR_DNS_HLEN + LWR_DNS_QUESTION_MAX + 11 bytes. Returns its length.
 */
enum { LWR_DNS_EMPTY_MAX = LWR_DNS_HLEN + LWR_DNS_QUESTION_MAX + 11 };
size_t lwr__dns_empty(const struct lwr_dns_query *q, const uint8_t *question,
		      enum lwr_dns_rcode rcode, bool truncated,
		      uint8_t buf[LWR_DNS_EMPTY_MAX]);

/*
 * The answer to q with its A or AAAA records for `addr`, or with a PTR to the
 * wire name `ptr`. Returns its length, at most max.
 */
struct lwr_dns_data {
	const struct lwr_addr *addr; /* n of them; those of q's family count */
	unsigned n;
	const uint8_t *ptr; /* or NULL */
	size_t ptr_len;
	uint32_t ttl;
};
size_t lwr__dns_write(const struct lwr_dns_query *q, const uint8_t *question,
		      const struct lwr_dns_data *data, uint8_t *buf,
		      size_t max);

#endif
