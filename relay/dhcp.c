/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's side of DHCPv4 (RFC 2131) for a link with one guest. There is
 * one address to give and nobody to compete for it, so there is no state: the
 * answer follows from the message alone, and any client that asks on the link
 * is the guest. A client that lost its mind, its disk or its lease file gets
 * the same address again.
 *
 *	DISCOVER             OFFER, or ACK at once with rapid commit (RFC 4039)
 *	REQUEST, selecting   ACK; silence if it names another server
 *	  init-reboot        ACK if the address is ours to give, else NAK
 *	  renewing           the same; the reply goes to the address itself
 *	  rebinding          the same
 *	INFORM               ACK without address or lease
 *	DECLINE, RELEASE     noted, no reply
 *	BOOTP, no type       no reply
 *
 * A server must keep silent on an init-reboot client that it has no record of
 * (4.3.2). As the only server of this network it knows every address and
 * answers NAK, so that a guest moved here from elsewhere starts over at once.
 *
 * Replies go where 4.1 says, but for giaddr: there are no relay agents on a
 * guest's link, and a reply sent to whatever giaddr says would leave it.
 *
 * Options come in the order of the client's option 55, since clients exist
 * that stop reading at the one they wanted, within the size of its option 57;
 * what does not fit is left out whole. The message type, the server, the lease
 * and an echo of the client's identifier (RFC 6842) come first in any case.
 */
#include "relay/services.h"

#include "relay/dhcp.h"
#include "relay/dns.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	SERVER_PORT = 67,
	CLIENT_PORT = 68,
	IP_UDP_HLEN = 28,
	BOOT_REPLY = 2,
	ETHERNET = 1,
	FLAG_BROADCAST = 0x8000,
	FIXED_LEN = 240, /* up to and with the magic number */
	REPLY_MIN = 300, /* RFC 1542 2.1 */
	REPLY_MAX = 1472,
	SIZE_MIN = 576, /* every client takes so much, RFC 2131 2 */
	LEASE_S = 24 * 3600,
};

/* ---- options of a reply -------------------------------------------------- */

/* Where an answer is put together. */
struct reply {
	const struct lwr_net *net;
	const struct lwr_dns *dns;
	const struct lwr_dhcp_request *request;
	uint16_t mtu;
	bool lease; /* it grants or offers an address */
	struct lwr_cursor c; /* the last byte of the message is END's */
	uint8_t sent[32]; /* bit n: option n is in, or is no option of ours */
};

static void put_option(struct reply *r, uint8_t code, const void *v, size_t len)
{
	if (len == 0 || len > UINT8_MAX || len + 2 > r->c.left)
		return;
	lwr__cursor_put_u8(&r->c, code);
	lwr__cursor_put_u8(&r->c, (uint8_t)len);
	lwr__cursor_put_bytes(&r->c, v, len);
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

	put_option(r, LWR_DHCP_OPT_SEARCH, names,
		   lwr__dns_search_wire(r->dns, names, sizeof(names)));
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
	case LWR_DHCP_OPT_DOMAIN:
		put_option(r, code, r->dns->search,
			   lwr__dns_domain_len(r->dns));
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
			put_number(r, code, LEASE_S / 2);
		break;
	case LWR_DHCP_OPT_REBIND:
		if (r->lease)
			put_number(r, code, LEASE_S / 8 * 7);
		break;
	case LWR_DHCP_OPT_SEARCH:
		put_search(r);
		break;
	default:
		break;
	}
}

/* What every reply has, before anything that is asked for. */
static void put_mandatory(struct reply *r, uint8_t type)
{
	const struct lwr_dhcp_request *q = r->request;

	put_option(r, LWR_DHCP_OPT_TYPE, &type, 1);
	put_addr(r, LWR_DHCP_OPT_SERVER, &r->net->gateway);
	if (r->lease)
		put_number(r, LWR_DHCP_OPT_LEASE, LEASE_S);
	put_option(r, LWR_DHCP_OPT_CLIENT_ID, q->id, q->id_len);
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
}

static void put_rapid(struct reply *r)
{
	if (r->c.left < 2)
		return;
	lwr__cursor_put_u8(&r->c, LWR_DHCP_OPT_RAPID);
	lwr__cursor_put_u8(&r->c, 0);
}

/* ---- replies ------------------------------------------------------------- */

/* Bytes that the whole message may have, FIXED_LEN included. */
static size_t size_limit(const struct lwr_dhcp_request *q, uint16_t mtu)
{
	size_t ip = q->size < mtu ? q->size : mtu;

	ip = ip > SIZE_MIN ? ip : SIZE_MIN;
	ip -= IP_UDP_HLEN;
	return ip < REPLY_MAX ? ip : REPLY_MAX;
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

/* RFC 2131 4.1 */
static struct lwr_addr reply_dest(const struct lwr_dhcp_request *q,
				  uint8_t type, uint32_t yiaddr)
{
	const uint32_t everybody = 0xffffffff;

	if (type == LWR_DHCP_MSG_NAK)
		return lwr__addr_of_v4(everybody);
	if (q->ciaddr)
		return lwr__addr_of_v4(q->ciaddr);
	if ((q->flags & FLAG_BROADCAST) || !yiaddr)
		return lwr__addr_of_v4(everybody);
	return lwr__addr_of_v4(yiaddr);
}

static void send_message(struct lwr_link *link, const uint8_t *msg, size_t len,
			 const struct lwr_addr *dst)
{
	const struct lwr_net *net = link->net;
	struct pbuf *p = lwr__send_alloc(len);

	if (!p) {
		link->stats.drop_memory++;
		return;
	}
	memcpy(p->payload, msg, len);
	lwr__send_udp(link, p, 0, &net->gateway, SERVER_PORT, dst, CLIENT_PORT);
}

/* How a request is answered: OFFER, ACK, ACK to INFORM, or NAK. */
struct answer {
	uint8_t type; /* 0: not at all */
	bool lease;
	bool rapid;
};

static void send_answer(struct lwr_link *link, const struct lwr_dns *dns,
			const struct lwr_dhcp_request *q,
			const struct answer *a)
{
	const struct lwr_net *net = link->net;
	uint32_t yiaddr = a->lease ? lwr__addr_v4(&net->guest) : 0;
	uint32_t ciaddr = a->type == LWR_DHCP_MSG_ACK ? q->ciaddr : 0;
	size_t limit = size_limit(q, link->caps.mtu), len;
	uint8_t msg[REPLY_MAX] = { 0 };
	struct reply r = { .net = net,
			   .dns = dns,
			   .request = q,
			   .mtu = link->caps.mtu,
			   .lease = a->lease,
			   .c = lwr__cursor(msg, limit - 1) };
	struct lwr_addr dst = reply_dest(q, a->type, yiaddr);

	put_fixed(&r.c, q, ciaddr, yiaddr);
	put_mandatory(&r, a->type);
	if (a->rapid)
		put_rapid(&r);
	if (a->type != LWR_DHCP_MSG_NAK)
		put_all_wanted(&r);
	len = limit - 1 - r.c.left;
	msg[len++] = LWR_DHCP_OPT_END;
	send_message(link, msg, len > REPLY_MIN ? len : REPLY_MIN, &dst);
}

/* ---- decisions ----------------------------------------------------------- */

static struct answer on_request(const struct lwr_net *net,
				const struct lwr_dhcp_request *q)
{
	uint32_t ours = lwr__addr_v4(&net->guest);
	uint32_t wanted = q->ciaddr ? q->ciaddr : q->requested;

	if (q->server && q->server != lwr__addr_v4(&net->gateway))
		return (struct answer){ 0 }; /* it chose another server */
	if (!wanted)
		return (struct answer){ 0 };
	if (wanted != ours)
		return (struct answer){ .type = LWR_DHCP_MSG_NAK };
	return (struct answer){ .type = LWR_DHCP_MSG_ACK, .lease = true };
}

static struct answer decide(const struct lwr_net *net,
			    const struct lwr_dhcp_request *q)
{
	switch (q->type) {
	case LWR_DHCP_MSG_DISCOVER:
		return (struct answer){ .type = q->rapid ? LWR_DHCP_MSG_ACK :
							   LWR_DHCP_MSG_OFFER,
					.lease = true,
					.rapid = q->rapid };
	case LWR_DHCP_MSG_REQUEST:
		return on_request(net, q);
	case LWR_DHCP_MSG_INFORM:
		return (struct answer){ .type = LWR_DHCP_MSG_ACK };
	default:
		return (struct answer){ 0 };
	}
}

/* To a server on this link: broadcast, or unicast to the gateway. */
static bool is_ours(const struct lwr_net *net, const struct lwr_pkt *pkt)
{
	return pkt->ethertype == LWR_ETHERTYPE_IP4 &&
	       pkt->proto == LWR_PROTO_UDP && !pkt->fragment &&
	       pkt->dport == SERVER_PORT &&
	       (lwr__addr_is_multicast(&pkt->dst) ||
		lwr__addr_equal(&pkt->dst, &net->gateway));
}

static void note(const struct lwr_link *link, const struct lwr_dhcp_request *q)
{
	if (q->type == LWR_DHCP_MSG_DECLINE)
		lwr__log(link->stack->log, LWR_LOG_WARN,
			 "%s: the guest declined its address by DHCP: "
			 "another host on its side answers for it",
			 link->name);
	else if (q->type == LWR_DHCP_MSG_RELEASE)
		lwr__log(link->stack->log, LWR_LOG_DEBUG,
			 "%s: DHCP lease released", link->name);
}

bool lwr__dhcp_input(const struct lwr_dns *dns, const struct lwr_pkt *pkt)
{
	struct lwr_dhcp_request q;
	struct answer a;

	if (!is_ours(pkt->link->net, pkt))
		return false;
	if (!lwr__dhcp_parse(pkt, &q)) {
		pkt->link->stats.drop_malformed++;
		return true;
	}
	note(pkt->link, &q);
	a = decide(pkt->link->net, &q);
	if (a.type == 0)
		return true;
	if (a.type == LWR_DHCP_MSG_ACK && a.lease)
		pkt->link->stats.dhcp_acks++;
	send_answer(pkt->link, dns, &q, &a);
	return true;
}
