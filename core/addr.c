/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255 };

bool lwr__addr_is4(const struct lwr_addr *a)
{
	return memcmp(a->b, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool lwr__addr_is_any(const struct lwr_addr *a)
{
	static const uint8_t zero[16];

	if (lwr__addr_is4(a))
		return memcmp(a->b + 12, zero, 4) == 0;
	return memcmp(a->b, zero, 16) == 0;
}

bool lwr__addr_is_multicast(const struct lwr_addr *a)
{
	if (!lwr__addr_is4(a))
		return a->b[0] == 0xff;
	return (a->b[12] & 0xf0) == 0xe0 || lwr__addr_v4(a) == 0xffffffff;
}

bool lwr__addr_is_loopback(const struct lwr_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (lwr__addr_is4(a))
		return a->b[12] == 127;
	return memcmp(a->b, one, sizeof(one)) == 0;
}

bool lwr__addr_is_linklocal(const struct lwr_addr *a)
{
	if (lwr__addr_is4(a))
		return a->b[12] == 169 && a->b[13] == 254;
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool lwr__addr_in(const struct lwr_addr *a, const struct lwr_prefix *p)
{
	size_t bytes = p->len / 8;
	unsigned bits = p->len % 8;
	unsigned mask = 0xff00u >> bits;

	if (memcmp(a->b, p->net.b, bytes) != 0)
		return false;
	return bits == 0 ||
	       ((a->b[bytes] ^ p->net.b[bytes]) & mask & 0xff) == 0;
}

struct lwr_addr lwr__addr_from4(const void *b4)
{
	struct lwr_addr a;

	memcpy(a.b, v4_mapped, sizeof(v4_mapped));
	memcpy(a.b + 12, b4, 4);
	return a;
}

struct lwr_addr lwr__addr_from16(const void *b16)
{
	struct lwr_addr a;

	memcpy(a.b, b16, 16);
	return a;
}

uint32_t lwr__addr_v4(const struct lwr_addr *a)
{
	uint32_t v;

	memcpy(&v, a->b + 12, sizeof(v));
	return ntohl(v);
}

struct lwr_addr lwr__addr_of_v4(uint32_t host_order)
{
	uint32_t v = htonl(host_order);

	return lwr__addr_from4(&v);
}

int lwr__addr_parse(const char *text, struct lwr_addr *a)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, text, b) == 1)
		*a = lwr__addr_from4(b);
	else if (inet_pton(AF_INET6, text, b) == 1)
		*a = lwr__addr_from16(b);
	else
		return -EINVAL;
	return 0;
}

/* Clears the bits of a behind the first len ones. */
static void clear_host_bits(struct lwr_addr *a, unsigned len)
{
	for (unsigned i = 0; i < sizeof(a->b); i++) {
		if (len >= 8) {
			len -= 8;
			continue;
		}
		a->b[i] = (uint8_t)(a->b[i] & (0xff00u >> len));
		len = 0;
	}
}

/* A decimal number of at most three digits, or -EINVAL. */
static int parse_len(const char *s)
{
	int n = 0;

	for (int i = 0; s[i]; i++) {
		if (s[i] < '0' || s[i] > '9' || i == 3)
			return -EINVAL;
		n = n * 10 + (s[i] - '0');
	}
	return *s ? n : -EINVAL;
}

int lwr__prefix_parse(const char *text, struct lwr_prefix *p,
		      struct lwr_addr *host)
{
	const char *slash = strchr(text, '/');
	char buf[LWR_ADDR_TEXT];
	struct lwr_addr a;
	int len, base;

	if (!slash || (size_t)(slash - text) >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, (size_t)(slash - text));
	buf[slash - text] = '\0';
	if (lwr__addr_parse(buf, &a) < 0)
		return -EINVAL;
	len = parse_len(slash + 1);
	base = strchr(buf, ':') ? 0 : 96;
	if (len < 0 || base + len > 128)
		return -EINVAL;
	if (host)
		*host = a;
	p->net = a;
	p->len = (uint8_t)(base + len);
	clear_host_bits(&p->net, p->len);
	return 0;
}

const char *lwr__addr_text(const struct lwr_addr *a, char buf[LWR_ADDR_TEXT])
{
	if (lwr__addr_is4(a))
		return inet_ntop(AF_INET, a->b + 12, buf, LWR_ADDR_TEXT);
	return inet_ntop(AF_INET6, a->b, buf, LWR_ADDR_TEXT);
}

socklen_t lwr__addr_to_sockaddr(const struct lwr_addr *a, uint16_t port,
				struct sockaddr_storage *ss)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	memset(ss, 0, sizeof(*ss));
	if (lwr__addr_is4(a)) {
		in.sin_port = htons(port);
		memcpy(&in.sin_addr, a->b + 12, 4);
		memcpy(ss, &in, sizeof(in));
		return sizeof(in);
	}
	in6.sin6_port = htons(port);
	memcpy(&in6.sin6_addr, a->b, 16);
	memcpy(ss, &in6, sizeof(in6));
	return sizeof(in6);
}

void lwr__addr_from_sockaddr(const struct sockaddr_storage *ss,
			     struct lwr_addr *a, uint16_t *port)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (ss->ss_family == AF_INET) {
		memcpy(&in, ss, sizeof(in));
		*a = lwr__addr_from4(&in.sin_addr);
		*port = ntohs(in.sin_port);
		return;
	}
	memcpy(&in6, ss, sizeof(in6));
	*a = lwr__addr_from16(&in6.sin6_addr);
	*port = ntohs(in6.sin6_port);
}

static int port_parse(const char *text, uint16_t *port)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	n = strtoul(text, &end, 10);
	if (*end || n == 0 || n > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

int lwr__endpoint_parse(const char *text, struct lwr_addr *a, uint16_t *port)
{
	bool bracket = *text == '[';
	const char *start = text + bracket;
	const char *end = strchr(text, bracket ? ']' : ':');
	char buf[LWR_ADDR_TEXT];

	if (!bracket && lwr__addr_parse(text, a) == 0)
		return 0;
	if (!end || (size_t)(end - start) >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, start, (size_t)(end - start));
	buf[end - start] = '\0';
	end += bracket;
	if (lwr__addr_parse(buf, a) < 0)
		return -EINVAL;
	if (*end == '\0')
		return 0;
	return *end == ':' ? port_parse(end + 1, port) : -EINVAL;
}
