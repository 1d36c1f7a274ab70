/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DHCP server's message. Options come in the order of the client's option
 * 55, since clients exist that stop reading at the one they wanted, within the
 * size of its option 57. The message type, the server, the lease and an echo of
 * the client's identifier (RFC 6842) come first in any case.
 *
 * What does not fit goes on in `file` and then in `sname` (option 52); once
 * there, nothing goes back, so that the order stays. What fits nowhere is left
 * out whole.
 *
 * A BOOTP client has 64 bytes for options and knows those of RFC 1497 only
 * (RFC 1534 2).
 */
#include "relay/dhcp.h"

#include "core/link.h"
#include "relay/dns.h"

#include <string.h>

enum {
	IP_UDP_HLEN = 28,
	BOOT_REPLY = 2,
	ETHERNET = 1,
	FLAG_BROADCAST = 0x8000,
	SNAME_AT = 44,
	FILE_AT = 108,
	BOOTP_LEN = 300, /* also the least that some accept, RFC 1542 2.1 */
	SIZE_MIN = 576, /* every client takes so much, RFC 2131 2 */
	OVERLOAD_LEN = 3,
};

/* ---- options of a reply -------------------------------------------------- */

/* Where an answer is put together. */
struct reply {
	const struct lwr_net *net;
	const struct lwr_dns *dns;
	const struct lwr_dhcp_request *request;
	uint16_t mtu;
	uint32_t yiaddr;
	bool lease; /* it grants or offers an address for a time */
	/* Options, `file`, `sname`: room without that for END. */
	struct lwr_cursor area[3];
	unsigned areas; /* that may be used */
	unsigned now; /* the one in use */
	unsigned used; /* bits: of `file` and `sname`, as option 52 says it */
	uint8_t sent[32]; /* bit n: option n is in, or is no option of ours */
};

static void put_option(struct reply *r, uint8_t code, const void *v, size_t len)
{
	unsigned i = r->now;
	struct lwr_cursor *c;

	if (len > UINT8_MAX)
		return;
	while (i < r->areas && len + 2 > r->area[i].left)
		i++;
	if (i == r->areas)
		return;
	r->now = i;
	r->used |= i;
	c = &r->area[i];
	lwr__cursor_put_u8(c, code);
	lwr__cursor_put_u8(c, (uint8_t)len);
	lwr__cursor_put_bytes(c, v, len);
}

/* An option whose value may be missing. */
static void put_text(struct reply *r, uint8_t code, const void *v, size_t len)
{
	if (len > 0)
		put_option(r, code, v, len);
}

static void put_number(struct reply *r, uint8_t code, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16),
			 (uint8_t)(v >> 8), (uint8_t)v };

	put_option(r, code, b, sizeof(b));
}

static void put_addr(struct reply *r, uint8_t code, const struct lwr_addr *a)
{
	put_option(r, code, a->b + 12, 4);
}

static uint32_t netmask(const struct lwr_net *net)
{
	return 0xffffffffu << (128 - net->subnet.len);
}

static void put_mtu(struct reply *r)
{
	uint8_t b[2] = { (uint8_t)(r->mtu >> 8), (uint8_t)r->mtu };

	put_option(r, LWR_DHCP_OPT_MTU, b, sizeof(b));
}

/* Whole names only: an option of 255 bytes holds most lists (RFC 3397). */
static void put_search(struct reply *r)
{
	uint8_t names[UINT8_MAX];

	put_text(r, LWR_DHCP_OPT_SEARCH, names,
		 lwr__dns_search_wire(r->dns, names, sizeof(names)));
}

/* The default route: a client that takes this ignores option 3 (RFC 3442). */
static void put_routes(struct reply *r, uint8_t code)
{
	uint8_t b[5] = { 0 };

	memcpy(b + 1, r->net->gateway.b + 12, 4);
	put_option(r, code, b, sizeof(b));
}

/* The name that its lease has, or else its own. */
static void put_name(struct reply *r)
{
	const struct lwr_dhcp_request *q = r->request;
	struct lwr_addr a = lwr__addr_of_v4(r->yiaddr);
	const struct lwr_lease *l = lwr__net_lease(r->net, &a);

	if (l && l->name[0])
		put_text(r, LWR_DHCP_OPT_NAME, l->name, strlen(l->name));
	else
		put_text(r, LWR_DHCP_OPT_NAME, q->name, q->name_len);
}

/* RFC 4702 4: nobody updates DNS here, neither as asked nor otherwise. */
static void put_fqdn(struct reply *r)
{
	enum { SERVER = 1, OVERRIDE = 2, WIRE_FORM = 4, NO_UPDATE = 8 };
	const struct lwr_dhcp_request *q = r->request;
	uint8_t b[UINT8_MAX], flags = NO_UPDATE;

	if (!q->fqdn)
		return;
	flags |= q->fqdn_flags & WIRE_FORM;
	if (q->fqdn_flags & SERVER)
		flags |= OVERRIDE;
	b[0] = flags;
	b[1] = b[2] = 0xff;
	memcpy(b + 3, q->fqdn_name, q->fqdn_len);
	put_option(r, LWR_DHCP_OPT_FQDN, b, q->fqdn_len + 3u);
}

static bool once(struct reply *r, uint8_t code)
{
	uint8_t bit = (uint8_t)(1u << (code % 8));

	if (r->sent[code / 8] & bit)
		return false;
	r->sent[code / 8] |= bit;
	return true;
}

static void put_wanted(struct reply *r, uint8_t code);

static void put_router(struct reply *r)
{
	const struct lwr_dhcp_request *q = r->request;

	/* The mask comes first if both come (RFC 2132 3.3). */
	if (memchr(q->list, LWR_DHCP_OPT_MASK, q->list_len))
		put_wanted(r, LWR_DHCP_OPT_MASK);
	put_addr(r, LWR_DHCP_OPT_ROUTER, &r->net->gateway);
}

/* Puts an option that the client may want, if it is one that we have. */
static void put_wanted(struct reply *r, uint8_t code)
{
	const struct lwr_net *net = r->net;

	if (!once(r, code))
		return;
	switch (code) {
	case LWR_DHCP_OPT_MASK:
		put_number(r, code, netmask(net));
		break;
	case LWR_DHCP_OPT_ROUTER:
		put_router(r);
		break;
	case LWR_DHCP_OPT_DNS:
		put_addr(r, code, &net->dns);
		break;
	case LWR_DHCP_OPT_NAME:
		put_name(r);
		break;
	case LWR_DHCP_OPT_DOMAIN:
		put_text(r, code, r->dns->search, lwr__dns_domain_len(r->dns));
		break;
	case LWR_DHCP_OPT_MTU:
		put_mtu(r);
		break;
	case LWR_DHCP_OPT_BROADCAST:
		put_number(r, code,
			   lwr__addr_v4(&net->subnet.net) | ~netmask(net));
		break;
	case LWR_DHCP_OPT_RENEW:
		if (r->lease)
			put_number(r, code, LWR_DHCP_LEASE_S / 2);
		break;
	case LWR_DHCP_OPT_REBIND:
		if (r->lease)
			put_number(r, code, LWR_DHCP_LEASE_S / 8 * 7);
		break;
	case LWR_DHCP_OPT_FQDN:
		put_fqdn(r);
		break;
	case LWR_DHCP_OPT_SEARCH:
		put_search(r);
		break;
	case LWR_DHCP_OPT_ROUTES:
	case LWR_DHCP_OPT_MS_ROUTES:
		put_routes(r, code);
		break;
	default:
		break;
	}
}

/* What every reply has, before anything that is asked for. */
static void put_mandatory(struct reply *r, uint8_t type, bool rapid)
{
	const struct lwr_dhcp_request *q = r->request;

	put_option(r, LWR_DHCP_OPT_TYPE, &type, 1);
	put_addr(r, LWR_DHCP_OPT_SERVER, &r->net->gateway);
	if (r->lease)
		put_number(r, LWR_DHCP_OPT_LEASE, LWR_DHCP_LEASE_S);
	put_text(r, LWR_DHCP_OPT_CLIENT_ID, q->id, q->id_len);
	if (rapid)
		put_option(r, LWR_DHCP_OPT_RAPID, NULL, 0);
}

static void put_all_wanted(struct reply *r)
{
	static const uint8_t usual[] = {
		LWR_DHCP_OPT_MASK,  LWR_DHCP_OPT_ROUTER,
		LWR_DHCP_OPT_DNS,   LWR_DHCP_OPT_DOMAIN,
		LWR_DHCP_OPT_MTU,   LWR_DHCP_OPT_BROADCAST,
		LWR_DHCP_OPT_RENEW, LWR_DHCP_OPT_REBIND
	};
	const struct lwr_dhcp_request *q = r->request;
	const uint8_t *list = q->list_len ? q->list : usual;
	size_t n = q->list_len ? q->list_len : sizeof(usual);

	for (size_t i = 0; i < n; i++)
		put_wanted(r, list[i]);
	/* Answered wherever it was said (RFC 4702 4). */
	put_wanted(r, LWR_DHCP_OPT_FQDN);
}

static void put_bootp(struct reply *r)
{
	put_wanted(r, LWR_DHCP_OPT_MASK);
	put_wanted(r, LWR_DHCP_OPT_ROUTER);
	put_wanted(r, LWR_DHCP_OPT_DNS);
	put_wanted(r, LWR_DHCP_OPT_NAME);
	put_wanted(r, LWR_DHCP_OPT_DOMAIN);
}

/* ---- the message --------------------------------------------------------- */

/* Bytes that the whole message may have. */
static size_t size_limit(const struct lwr_dhcp_request *q, uint16_t mtu)
{
	size_t ip = q->size < mtu ? q->size : mtu;

	ip = ip > SIZE_MIN ? ip : SIZE_MIN;
	ip -= IP_UDP_HLEN;
	return ip < LWR_DHCP_REPLY_MAX ? ip : LWR_DHCP_REPLY_MAX;
}

static void put_fixed(struct lwr_cursor *c, const struct lwr_dhcp_request *q,
		      uint32_t ciaddr, uint32_t yiaddr)
{
	static const uint8_t names[LWR_DHCP_SNAME_LEN + LWR_DHCP_FILE_LEN];

	lwr__cursor_put_u8(c, BOOT_REPLY);
	lwr__cursor_put_u8(c, ETHERNET);
	lwr__cursor_put_u8(c, 6);
	lwr__cursor_put_u8(c, 0);
	lwr__cursor_put_u32(c, q->xid);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u16(c, q->flags & FLAG_BROADCAST);
	lwr__cursor_put_u32(c, ciaddr);
	lwr__cursor_put_u32(c, yiaddr);
	lwr__cursor_put_u32(c, 0); /* siaddr: no boot server here */
	lwr__cursor_put_u32(c, 0);
	lwr__cursor_put_bytes(c, q->chaddr, sizeof(q->chaddr));
	lwr__cursor_put_bytes(c, names, sizeof(names));
	lwr__cursor_put_u32(c, LWR_DHCP_MAGIC);
}

/* Ends the areas in use. Returns the length of the message. */
static size_t finish(struct reply *r, const uint8_t *msg)
{
	size_t len;

	if (r->areas > 1) {
		r->area[0].left += OVERLOAD_LEN;
		if (r->now > 0) {
			lwr__cursor_put_u8(&r->area[0], LWR_DHCP_OPT_OVERLOAD);
			lwr__cursor_put_u8(&r->area[0], 1);
			lwr__cursor_put_u8(&r->area[0], (uint8_t)r->used);
		}
	}
	for (unsigned i = 0; i < r->areas; i++) {
		r->area[i].left++;
		if (i == 0 || r->used & i)
			lwr__cursor_put_u8(&r->area[i], LWR_DHCP_OPT_END);
	}
	len = (size_t)(r->area[0].p - msg);
	return len > BOOTP_LEN ? len : BOOTP_LEN;
}

/* BOOTP and NAK keep to the options' own place. */
static void set_areas(struct reply *r, uint8_t *msg, size_t limit, bool one)
{
	size_t room = limit - LWR_DHCP_FIXED_LEN - 1;

	r->areas = one ? 1 : 3;
	r->area[0] = lwr__cursor(msg + LWR_DHCP_FIXED_LEN,
				 one ? room : room - OVERLOAD_LEN);
	r->area[1] = lwr__cursor(msg + FILE_AT, LWR_DHCP_FILE_LEN - 1);
	r->area[2] = lwr__cursor(msg + SNAME_AT, LWR_DHCP_SNAME_LEN - 1);
}

size_t lwr__dhcp_reply(uint8_t *msg, const struct lwr_link *link,
		       const struct lwr_dns *dns,
		       const struct lwr_dhcp_request *q,
		       const struct lwr_dhcp_answer *a)
{
	static const char why[] = "no address of this network for you";
	bool nak = a->type == LWR_DHCP_MSG_NAK;
	size_t limit = q->bootp ? BOOTP_LEN : size_limit(q, link->caps.mtu);
	struct lwr_cursor c = lwr__cursor(msg, LWR_DHCP_FIXED_LEN);
	struct reply r = { .net = link->net,
			   .dns = dns,
			   .request = q,
			   .mtu = link->caps.mtu,
			   .yiaddr = a->yiaddr,
			   .lease = a->yiaddr && !q->bootp };

	memset(msg, 0, LWR_DHCP_REPLY_MAX);
	put_fixed(&c, q, nak ? 0 : q->ciaddr, a->yiaddr);
	set_areas(&r, msg, limit, nak || q->bootp);
	if (q->bootp) {
		put_bootp(&r);
		return finish(&r, msg);
	}
	put_mandatory(&r, a->type, a->rapid);
	if (nak)
		put_option(&r, LWR_DHCP_OPT_MESSAGE, why, sizeof(why) - 1);
	else
		put_all_wanted(&r);
	return finish(&r, msg);
}
