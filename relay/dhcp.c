/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's side of DHCPv4 (RFC 2131), and of BOOTP (RFC 951) for what
 * boots from ROMs. Which address a client gets is relay/pool.c's to say:
 *
 *	DISCOVER             OFFER, or ACK at once with rapid commit (RFC 4039)
 *	REQUEST, selecting   ACK; silence if it names another server
 *	  init-reboot        ACK if the client may have the address, else NAK
 *	  renewing           the same; the reply goes to the address itself
 *	  rebinding          the same
 *	INFORM               ACK without address or lease
 *	DECLINE              the address is not given for a while; no reply
 *	RELEASE              it may be given to others; no reply
 *	BOOTP                an address for good
 *
 * A server must keep silent on an init-reboot client that it has no record of
 * (4.3.2). As the only server of this network it knows every address and
 * answers NAK, so that a guest moved here from elsewhere starts over at once.
 *
 * Replies go where 4.1 says, but for giaddr: there are no relay agents on a
 * guest's link, and a reply sent to whatever giaddr says would leave it.
 *
 * A host without IPv4 changes nothing here: the gateway, names and published
 * ports still work, and connects to elsewhere fail at once as unreachable.
 */
#include "relay/services.h"

#include "relay/dhcp.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	SERVER_PORT = 67,
	CLIENT_PORT = 68,
	FLAG_BROADCAST = 0x8000,
	OFFER_MS = 30 * 1000,
	DECLINE_MS = 10 * 60 * 1000,
};

/* ---- replies ------------------------------------------------------------- */

/* RFC 2131 4.1 */
static struct lwr_addr reply_dest(const struct lwr_dhcp_request *q,
				  const struct lwr_dhcp_answer *a)
{
	const uint32_t everybody = 0xffffffff;

	if (a->type == LWR_DHCP_MSG_NAK)
		return lwr__addr_of_v4(everybody);
	if (q->ciaddr && !q->bootp)
		return lwr__addr_of_v4(q->ciaddr);
	if ((q->flags & FLAG_BROADCAST) || !a->yiaddr)
		return lwr__addr_of_v4(everybody);
	return lwr__addr_of_v4(a->yiaddr);
}

static void send_answer(struct lwr_link *link, const struct lwr_dns *dns,
			const struct lwr_dhcp_request *q,
			const struct lwr_dhcp_answer *a)
{
	uint8_t msg[LWR_DHCP_REPLY_MAX];
	size_t len = lwr__dhcp_reply(msg, link, dns, q, a);
	struct lwr_addr dst = reply_dest(q, a);
	struct pbuf *p = lwr__send_alloc(len);

	if (!p) {
		link->stats.drop_memory++;
		return;
	}
	memcpy(p->payload, msg, len);
	lwr__send_udp(link, p, 0, &link->net->gateway, SERVER_PORT, &dst,
		      CLIENT_PORT);
}

/* ---- decisions ----------------------------------------------------------- */

/* A request with what it is judged by. */
struct asked {
	const struct lwr_dhcp_request *q;
	struct lwr_link *link;
	struct lwr_pool *pool;
	struct lwr_client client;
	uint64_t now;
};

/*
 * Without an identifier the hardware address is one, in the form in which most
 * clients send it (RFC 2132 9.14), so that both are the same client.
 */
static struct lwr_client client_of(const struct lwr_services *s,
				   const struct lwr_dhcp_request *q)
{
	uint8_t id[7] = { 1 };
	struct lwr_client c;

	memcpy(id + 1, q->chaddr, 6);
	memcpy(c.mac, q->chaddr, sizeof(c.mac));
	c.id = q->id_len ? lwr__siphash13(s->key, q->id, q->id_len) :
			   lwr__siphash13(s->key, id, sizeof(id));
	c.owner = c.id;
	return c;
}

/* The client has it, or is about to: so it can be reached there. */
static void give(const struct asked *d, struct lwr_binding *b,
		 enum lwr_binding_state state, uint64_t ms)
{
	lwr__binding_set(b, state, d->now, ms);
	lwr__neighbours_learn(&d->link->neighbours, d->link->net, &b->addr,
			      d->client.mac);
}

static struct lwr_dhcp_answer refuse(const struct asked *d, uint8_t type)
{
	d->link->stats.dhcp_refused++;
	return (struct lwr_dhcp_answer){ .type = type };
}

static struct lwr_dhcp_answer grant(const struct asked *d,
				    struct lwr_binding *b, bool rapid)
{
	give(d, b, LWR_BINDING_BOUND,
	     d->q->bootp ? LWR_FOREVER : LWR_DHCP_LEASE_S * 1000ull);
	d->link->stats.dhcp_acks++;
	return (struct lwr_dhcp_answer){ .type = LWR_DHCP_MSG_ACK,
					 .rapid = rapid,
					 .yiaddr = lwr__addr_v4(&b->addr) };
}

static struct lwr_dhcp_answer on_discover(const struct asked *d)
{
	struct lwr_addr wanted = lwr__addr_of_v4(d->q->requested);
	struct lwr_binding *b;

	b = lwr__pool_choose(d->pool, d->link->net, &d->client, &wanted,
			     d->now);
	if (!b)
		return refuse(d, 0);
	if (d->q->rapid || d->q->bootp)
		return grant(d, b, d->q->rapid);
	give(d, b, LWR_BINDING_OFFERED, OFFER_MS);
	return (struct lwr_dhcp_answer){ .type = LWR_DHCP_MSG_OFFER,
					 .yiaddr = lwr__addr_v4(&b->addr) };
}

/* The client chose another server: what it was offered is free. */
static void withdraw(const struct asked *d, uint32_t requested)
{
	struct lwr_addr a = lwr__addr_of_v4(requested);
	struct lwr_binding *b;

	b = lwr__pool_own(d->pool, &d->client, &a, d->now);
	if (b && b->state == LWR_BINDING_OFFERED)
		lwr__binding_set(b, LWR_BINDING_FREE, d->now, 0);
}

static struct lwr_dhcp_answer on_request(const struct asked *d)
{
	const struct lwr_dhcp_request *q = d->q;
	uint32_t wanted = q->ciaddr ? q->ciaddr : q->requested;
	struct lwr_addr a = lwr__addr_of_v4(wanted);
	struct lwr_binding *b;

	if (q->server && q->server != lwr__addr_v4(&d->link->net->gateway)) {
		withdraw(d, wanted);
		return (struct lwr_dhcp_answer){ 0 };
	}
	if (!wanted)
		return (struct lwr_dhcp_answer){ 0 };
	b = lwr__pool_claim(d->pool, d->link->net, &d->client, &a, d->now);
	return b ? grant(d, b, false) : refuse(d, LWR_DHCP_MSG_NAK);
}

static void on_decline(const struct asked *d)
{
	struct lwr_addr a = lwr__addr_of_v4(d->q->requested);
	struct lwr_binding *b;
	char text[LWR_ADDR_TEXT];

	b = lwr__pool_own(d->pool, &d->client, &a, d->now);
	if (!b)
		return;
	lwr__binding_set(b, LWR_BINDING_DECLINED, d->now, DECLINE_MS);
	d->link->stats.dhcp_declined++;
	lwr__log(d->link->stack->log, LWR_LOG_WARN,
		 "%s: the guest declined %s by DHCP: another host on its side "
		 "answers for it",
		 d->link->name, lwr__addr_text(&a, text));
}

static void on_release(const struct asked *d)
{
	struct lwr_addr a = lwr__addr_of_v4(d->q->ciaddr);
	struct lwr_binding *b;

	b = lwr__pool_own(d->pool, &d->client, &a, d->now);
	if (b)
		lwr__binding_set(b, LWR_BINDING_FREE, d->now, 0);
}

static struct lwr_dhcp_answer decide(const struct asked *d)
{
	switch (d->q->bootp ? LWR_DHCP_MSG_DISCOVER : d->q->type) {
	case LWR_DHCP_MSG_DISCOVER:
		return on_discover(d);
	case LWR_DHCP_MSG_REQUEST:
		return on_request(d);
	case LWR_DHCP_MSG_INFORM:
		return (struct lwr_dhcp_answer){ .type = LWR_DHCP_MSG_ACK };
	case LWR_DHCP_MSG_DECLINE:
		on_decline(d);
		break;
	case LWR_DHCP_MSG_RELEASE:
		on_release(d);
		break;
	default:
		break;
	}
	return (struct lwr_dhcp_answer){ 0 };
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

bool lwr__dhcp_input(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	struct lwr_dhcp_request q;
	struct lwr_dhcp_answer a;
	struct lwr_lan *lan;
	struct asked d;

	if (!is_ours(pkt->link->net, pkt))
		return false;
	if (!lwr__dhcp_parse(pkt, &q)) {
		pkt->link->stats.drop_malformed++;
		return true;
	}
	lan = lwr__services_lan(s, pkt->link);
	if (!lan)
		return true;
	d = (struct asked){ .q = &q,
			    .link = pkt->link,
			    .pool = &lan->pool4,
			    .client = client_of(s, &q),
			    .now = lwr__loop_now(s->stack->loop) };
	a = decide(&d);
	if (a.type != 0)
		send_answer(pkt->link, s->dns, &q, &a);
	return true;
}
