/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a DHCP client says. Options are read through a cursor over what their
 * length leaves, so a short one reads as zeros, which stand for "not said";
 * one that runs over the end makes the message invalid. Of an option that
 * comes twice the last one counts; concatenation (RFC 3396) is for options
 * that a client does not send.
 */
#include "relay/dhcp.h"

#include <string.h>

enum { UDP_HLEN = 8, BOOT_REQUEST = 1, ETHERNET = 1 };

/* RFC 1123 2.1; dots are allowed, since some clients send the whole name. */
static bool name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* Some clients count a zero at the end. What is no name reads as none. */
static void parse_name(struct lwr_dhcp_request *r, const uint8_t *v, size_t len)
{
	while (len > 0 && v[len - 1] == 0)
		len--;
	if (len > sizeof(r->name))
		return;
	for (size_t i = 0; i < len; i++)
		if (!name_char(v[i]))
			return;
	memcpy(r->name, v, len);
	r->name_len = (uint8_t)len;
}

/* Labels as in DNS, the last one of length 0 where the name is complete. */
static bool labels_valid(const uint8_t *v, size_t len)
{
	enum { LABEL_MAX = 63 };
	size_t n;

	for (size_t i = 0; i < len; i += n + 1) {
		n = v[i];
		if (n > LABEL_MAX || n > len - i - 1 ||
		    (n == 0 && i + 1 != len))
			return false;
		for (size_t k = 0; k < n; k++)
			if (!name_char(v[i + 1 + k]))
				return false;
	}
	return true;
}

static bool text_valid(const uint8_t *v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!name_char(v[i]))
			return false;
	return true;
}

/* RFC 4702 2: flags, two bytes of no meaning, a name in one of two forms. */
static void parse_fqdn(struct lwr_dhcp_request *r, struct lwr_cursor v)
{
	enum { WIRE_FORM = 4 };

	r->fqdn_flags = lwr__cursor_u8(&v);
	lwr__cursor_u16(&v);
	if (v.bad)
		return;
	r->fqdn = true;
	if ((r->fqdn_flags & WIRE_FORM) ? !labels_valid(v.p, v.left) :
					  !text_valid(v.p, v.left))
		return;
	r->fqdn_len = (uint8_t)v.left;
	lwr__cursor_bytes(&v, r->fqdn_name, v.left);
}

static void parse_option(struct lwr_dhcp_request *r, uint8_t code,
			 struct lwr_cursor v)
{
	uint8_t len = (uint8_t)v.left;

	switch (code) {
	case LWR_DHCP_OPT_TYPE:
		r->type = lwr__cursor_u8(&v);
		break;
	case LWR_DHCP_OPT_REQUESTED:
		r->requested = lwr__cursor_u32(&v);
		break;
	case LWR_DHCP_OPT_SERVER:
		r->server = lwr__cursor_u32(&v);
		break;
	case LWR_DHCP_OPT_OVERLOAD:
		r->overload = lwr__cursor_u8(&v);
		break;
	case LWR_DHCP_OPT_SIZE:
		r->size = lwr__cursor_u16(&v);
		break;
	case LWR_DHCP_OPT_RAPID:
		r->rapid = true;
		break;
	case LWR_DHCP_OPT_LIST:
		lwr__cursor_bytes(&v, r->list, len);
		r->list_len = len;
		break;
	case LWR_DHCP_OPT_CLIENT_ID:
		lwr__cursor_bytes(&v, r->id, len);
		r->id_len = len;
		break;
	case LWR_DHCP_OPT_NAME:
		parse_name(r, v.p, len);
		break;
	case LWR_DHCP_OPT_FQDN:
		parse_fqdn(r, v);
		break;
	default:
		break;
	}
}

/* Reads options up to END or the end of the field; false: one is cut off. */
static bool parse_options(struct lwr_dhcp_request *r, struct lwr_cursor c)
{
	uint8_t code, len;

	while (c.left > 0) {
		code = lwr__cursor_u8(&c);
		if (code == LWR_DHCP_OPT_END)
			break;
		if (code == LWR_DHCP_OPT_PAD)
			continue;
		len = lwr__cursor_u8(&c);
		if (c.bad || len > c.left)
			return false;
		parse_option(r, code, lwr__cursor(c.p, len));
		lwr__cursor_bytes(&c, NULL, len);
	}
	return true;
}

/* Options may go on in `file` and then in `sname` (RFC 2132 9.3). */
static bool parse_overload(struct lwr_dhcp_request *r, const uint8_t *sname,
			   const uint8_t *file)
{
	uint8_t where = r->overload;

	if ((where & 1) &&
	    !parse_options(r, lwr__cursor(file, LWR_DHCP_FILE_LEN)))
		return false;
	return !(where & 2) ||
	       parse_options(r, lwr__cursor(sname, LWR_DHCP_SNAME_LEN));
}

/*
 * The options, or a BOOTP client's vendor area, which need not be any (RFC 951
 * 3), but is whole then.
 */
static bool parse_rest(struct lwr_dhcp_request *r, struct lwr_cursor c,
		       const uint8_t *sname, const uint8_t *file)
{
	bool whole = c.left >= LWR_DHCP_VEND_LEN;

	if (lwr__cursor_u32(&c) == LWR_DHCP_MAGIC && !c.bad)
		return parse_options(r, c) && parse_overload(r, sname, file);
	return whole;
}

bool lwr__dhcp_parse(const struct lwr_pkt *pkt, struct lwr_dhcp_request *r)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	uint8_t op, htype, hlen, sname[LWR_DHCP_SNAME_LEN],
		file[LWR_DHCP_FILE_LEN];

	memset(r, 0, sizeof(*r));
	lwr__cursor_bytes(&c, NULL, UDP_HLEN);
	op = lwr__cursor_u8(&c);
	htype = lwr__cursor_u8(&c);
	hlen = lwr__cursor_u8(&c);
	lwr__cursor_u8(&c); /* hops */
	r->xid = lwr__cursor_u32(&c);
	lwr__cursor_u16(&c); /* secs */
	r->flags = lwr__cursor_u16(&c);
	r->ciaddr = lwr__cursor_u32(&c);
	lwr__cursor_bytes(&c, NULL, 12); /* yiaddr, siaddr, giaddr */
	lwr__cursor_bytes(&c, r->chaddr, sizeof(r->chaddr));
	lwr__cursor_bytes(&c, sname, sizeof(sname));
	lwr__cursor_bytes(&c, file, sizeof(file));
	if (c.bad || op != BOOT_REQUEST || htype != ETHERNET || hlen != 6 ||
	    (r->chaddr[0] & 1) || !parse_rest(r, c, sname, file))
		return false;
	r->bootp = r->type == 0;
	return true;
}
