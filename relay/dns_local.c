/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest knows the gateway by address only if it looks at its routes; these
 * names say the same: host.internal and gateway.internal (.internal is reserved
 * for such use), and those that podman's and Docker's guests know. --dns-name
 * adds to them, and one that equals a built-in name replaces it.
 *
 * A name that is known is answered here whatever the type: what it does not
 * have, AAAA without IPv6 as much as MX, is NOERROR without records (RFC 2308
 * 2.2), never NXDOMAIN, on which some resolvers would give up A as well. The
 * reverse names of these addresses have PTR records.
 */
#include "relay/dns_local.h"

#include "core/pkt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TTL = 60, CLASS_IN = 1, CLASS_ANY = 255, LABEL_MAX = 63 };

static const char *const host_names[] = {
	"host.internal",
	"gateway.internal",
	"host.docker.internal",
	"gateway.docker.internal",
	"host.containers.internal",
};

enum { HOST_NAMES = sizeof(host_names) / sizeof(host_names[0]) };

/* ---- names --------------------------------------------------------------- */

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '_';
}

int lwr__dns_local_name(char to[LWR_DOMAIN_MAX + 1], const char *text,
			size_t len)
{
	size_t label = 0, i;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len == 0 || len > LWR_DNS_NAME_MAX - 2)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		to[i] = text[i];
		if (to[i] >= 'A' && to[i] <= 'Z')
			to[i] = (char)(to[i] | 0x20);
		if (to[i] == '.' ? label == 0 :
				   !is_host_char(to[i]) || label == LABEL_MAX)
			return -EINVAL;
		label = to[i] == '.' ? 0 : label + 1;
	}
	to[len] = '\0';
	return label ? 0 : -EINVAL;
}

/* Writes a valid name as labels. Returns its length. */
static size_t to_wire(const char *name, uint8_t wire[LWR_DNS_NAME_MAX])
{
	struct lwr_cursor c = lwr__cursor(wire, LWR_DNS_NAME_MAX);
	size_t n;

	for (; *name; name += n + (name[n] == '.')) {
		n = strcspn(name, ".");
		lwr__cursor_put_u8(&c, (uint8_t)n);
		lwr__cursor_put_bytes(&c, name, n);
	}
	lwr__cursor_put_u8(&c, 0);
	return LWR_DNS_NAME_MAX - c.left;
}

static bool asks_for(const struct lwr_dns_query *q, const char *name)
{
	uint8_t wire[LWR_DNS_NAME_MAX];
	size_t n = to_wire(name, wire);

	return q->name_len == n && memcmp(q->key.data, wire, n) == 0;
}

static void put_label(struct lwr_cursor *c, unsigned n, const char *format)
{
	char text[8];
	int len = snprintf(text, sizeof(text), format, n);

	lwr__cursor_put_u8(c, (uint8_t)len);
	lwr__cursor_put_bytes(c, text, (size_t)len);
}

/* 2.2.0.10.in-addr.arpa, or the same in ip6.arpa. */
static bool asks_for_reverse(const struct lwr_dns_query *q,
			     const struct lwr_addr *a)
{
	static const char top4[] = "\7in-addr\4arpa", top6[] = "\3ip6\4arpa";
	uint8_t wire[LWR_DNS_NAME_MAX];
	struct lwr_cursor c = lwr__cursor(wire, sizeof(wire));
	bool four = lwr__addr_is4(a);

	for (int i = 15; i >= (four ? 12 : 0); i--) {
		if (four) {
			put_label(&c, a->b[i], "%u");
			continue;
		}
		put_label(&c, a->b[i] & 0xfu, "%x");
		put_label(&c, a->b[i] >> 4, "%x");
	}
	lwr__cursor_put_bytes(&c, four ? top4 : top6,
			      four ? sizeof(top4) : sizeof(top6));
	return q->name_len == sizeof(wire) - c.left &&
	       memcmp(q->key.data, wire, q->name_len) == 0;
}

/* ---- answers ------------------------------------------------------------- */

/* The addresses of q's name. Returns how many, or -1: no name of ours. */
static int find_addrs(const struct lwr_config *config,
		      const struct lwr_net *net, const struct lwr_dns_query *q,
		      struct lwr_addr addr[LWR_DNS_NAMES_MAX])
{
	int n = 0;

	for (unsigned i = 0; i < config->dns_names; i++)
		if (asks_for(q, config->dns_name[i].name))
			addr[n++] = config->dns_name[i].addr;
	for (unsigned i = 0; n == 0 && i < HOST_NAMES; i++) {
		if (!asks_for(q, host_names[i]))
			continue;
		addr[n++] = net->gateway;
		if (net->ipv6)
			addr[n++] = net->gateway6;
	}
	return n ? n : -1;
}

/* The name of the address that q asks back for, or NULL. */
static const char *find_reverse(const struct lwr_config *config,
				const struct lwr_net *net,
				const struct lwr_dns_query *q)
{
	for (unsigned i = 0; i < config->dns_names; i++)
		if (asks_for_reverse(q, &config->dns_name[i].addr))
			return config->dns_name[i].name;
	if (asks_for_reverse(q, &net->gateway) ||
	    (net->ipv6 && asks_for_reverse(q, &net->gateway6)))
		return host_names[0];
	return NULL;
}

static bool asks_for_ptr(const struct lwr_dns_query *q)
{
	return q->type == LWR_DNS_PTR || q->type == LWR_DNS_ANY;
}

size_t lwr__dns_local_answer(const struct lwr_config *config,
			     const struct lwr_net *net,
			     const struct lwr_dns_query *q,
			     const uint8_t *question,
			     uint8_t buf[LWR_DNS_LOCAL_MAX])
{
	struct lwr_addr addr[LWR_DNS_NAMES_MAX];
	struct lwr_dns_data data = { .addr = addr, .ttl = TTL };
	uint8_t ptr[LWR_DNS_NAME_MAX];
	const char *name = NULL;
	int n;

	if (q->class != CLASS_IN && q->class != CLASS_ANY)
		return 0;
	n = find_addrs(config, net, q, addr);
	if (n < 0 && asks_for_ptr(q))
		name = find_reverse(config, net, q);
	if (n < 0 && !name)
		return 0;
	if (name) {
		data.ptr = ptr;
		data.ptr_len = to_wire(name, ptr);
	} else {
		data.n = (unsigned)n;
	}
	return lwr__dns_write(q, question, &data, buf, LWR_DNS_LOCAL_MAX);
}
