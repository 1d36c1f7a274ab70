/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a DHCPv6 client says. Options nest: an IA has addresses in it. Each
 * level is read through a cursor over what the level above leaves, to a fixed
 * depth, so a length can only ever make it smaller; one that runs over makes
 * the message invalid. Relayed messages are not taken: a guest's link has no
 * relay agents.
 */
#include "relay/dhcp6.h"

#include <string.h>

enum { UDP_HLEN = 8 };

/* Takes one option off c. False: there is none, or it is cut off (c->bad). */
static bool next_option(struct lwr_cursor *c, uint16_t *code,
			struct lwr_cursor *v)
{
	uint16_t len;

	if (c->left == 0)
		return false;
	*code = lwr__cursor_u16(c);
	len = lwr__cursor_u16(c);
	if (c->bad || len > c->left) {
		c->bad = true;
		return false;
	}
	*v = lwr__cursor(c->p, len);
	lwr__cursor_bytes(c, NULL, len);
	return true;
}

static bool parse_duid(struct lwr_dhcp6_duid *d, struct lwr_cursor v)
{
	if (v.left < 3 || v.left > sizeof(d->b))
		return false;
	d->len = (uint8_t)v.left;
	lwr__cursor_bytes(&v, d->b, d->len);
	return true;
}

static bool parse_addr(struct lwr_dhcp6_ia *ia, struct lwr_cursor v)
{
	uint8_t b[16];

	lwr__cursor_bytes(&v, b, sizeof(b));
	lwr__cursor_bytes(&v, NULL, 8); /* lifetimes that it would like */
	if (v.bad)
		return false;
	if (ia->addrs < LWR_DHCP6_ADDRS_MAX)
		ia->addr[ia->addrs++].addr = lwr__addr_from16(b);
	return true;
}

static bool parse_ia(struct lwr_dhcp6_request *r, uint16_t kind,
		     struct lwr_cursor c)
{
	struct lwr_dhcp6_ia ia = { .kind = kind };
	struct lwr_cursor v;
	uint16_t code;

	ia.iaid = lwr__cursor_u32(&c);
	if (kind != LWR_DHCP6_OPT_IA_TA)
		lwr__cursor_bytes(&c, NULL, 8); /* T1 and T2 */
	while (!c.bad && next_option(&c, &code, &v))
		if (code == LWR_DHCP6_OPT_ADDR && !parse_addr(&ia, v))
			return false;
	if (!c.bad && r->ias < LWR_DHCP6_IAS_MAX)
		r->ia[r->ias++] = ia;
	return !c.bad;
}

static void parse_list(struct lwr_dhcp6_request *r, struct lwr_cursor v)
{
	uint16_t code;

	r->wants_dns = false;
	r->wants_search = false;
	while (v.left >= 2) {
		code = lwr__cursor_u16(&v);
		r->wants_dns = r->wants_dns || code == LWR_DHCP6_OPT_DNS;
		r->wants_search = r->wants_search ||
				  code == LWR_DHCP6_OPT_SEARCH;
	}
}

/* RFC 4704 4: flags and a name, whose bytes are only ever given back. */
static void parse_fqdn(struct lwr_dhcp6_request *r, struct lwr_cursor v)
{
	r->fqdn_flags = lwr__cursor_u8(&v);
	if (v.bad || v.left > sizeof(r->fqdn_name))
		return;
	r->fqdn = true;
	r->fqdn_len = (uint8_t)v.left;
	lwr__cursor_bytes(&v, r->fqdn_name, r->fqdn_len);
}

static bool parse_option(struct lwr_dhcp6_request *r, uint16_t code,
			 struct lwr_cursor v)
{
	switch (code) {
	case LWR_DHCP6_OPT_CLIENT:
		return parse_duid(&r->client, v);
	case LWR_DHCP6_OPT_SERVER:
		return parse_duid(&r->server, v);
	case LWR_DHCP6_OPT_IA_NA:
	case LWR_DHCP6_OPT_IA_TA:
	case LWR_DHCP6_OPT_IA_PD:
		return parse_ia(r, code, v);
	case LWR_DHCP6_OPT_LIST:
		parse_list(r, v);
		return true;
	case LWR_DHCP6_OPT_RAPID:
		r->rapid = true;
		return true;
	case LWR_DHCP6_OPT_FQDN:
		parse_fqdn(r, v);
		return true;
	default:
		return true;
	}
}

bool lwr__dhcp6_parse(const struct lwr_pkt *pkt, struct lwr_dhcp6_request *r)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	struct lwr_cursor v;
	uint16_t code;

	memset(r, 0, sizeof(*r));
	r->wants_dns = true;
	r->wants_search = true;
	lwr__cursor_bytes(&c, NULL, UDP_HLEN);
	r->type = lwr__cursor_u8(&c);
	lwr__cursor_bytes(&c, r->xid, sizeof(r->xid));
	while (!c.bad && next_option(&c, &code, &v))
		if (!parse_option(r, code, v))
			return false;
	return !c.bad;
}
