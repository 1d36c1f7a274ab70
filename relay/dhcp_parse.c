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
	if (lwr__cursor_u32(&c) != LWR_DHCP_MAGIC || c.bad)
		return false;
	return op == BOOT_REQUEST && htype == ETHERNET && hlen == 6 &&
	       parse_options(r, c) && parse_overload(r, sname, file);
}
