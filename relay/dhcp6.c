/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's side of DHCPv6 (RFC 8415 18.3), the only server of its link:
 *
 *	SOLICIT              ADVERTISE of preference 255, so that nobody waits
 *	                     for another; REPLY at once with rapid commit
 *	REQUEST              REPLY with an address for each IA_NA
 *	RENEW, REBIND        the same; what the client may not keep is named with
 *	                     lifetimes of 0, beside what it may have instead
 *	CONFIRM              whether its addresses are of this link
 *	RELEASE, DECLINE     as in relay/dhcp.c
 *	INFORMATION-REQUEST  DNS address and search domains
 *
 * Which address is relay/pool.c's to say; the first is the guest's, to which
 * published ports go. Prefixes and temporary addresses are not delegated, and
 * IAs for them are told so. The server's DUID is made of the gateway's hardware
 * address (11.4): the same in each run, so that a client can renew after
 * the relay was restarted.
 *
 * While the host has no IPv6 nothing new is given, and what is renewed is
 * taken back.
 */
#include "relay/services.h"

#include "relay/dhcp6.h"
#include "relay/dns.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	SERVER_PORT = 547,
	CLIENT_PORT = 546,
	REPLY_MAX = 1280 - 40 - 8, /* fits any link */
	SEARCH_MAX = 256,
	DUID_LL_LEN = 10,
	PREFERRED_S = 12 * 3600,
	VALID_S = 24 * 3600,
	RENEW_S = PREFERRED_S / 2,
	REBIND_S = PREFERRED_S / 5 * 4,
	OFFER_MS = 60 * 1000,
	DECLINE_MS = 10 * 60 * 1000,
};

struct asked {
	struct lwr_dhcp6_request *q; /* its IAs become the answer's */
	struct lwr_services *s;
	struct lwr_link *link;
	struct lwr_pool *pool;
	const uint8_t *mac; /* of the client's frame */
	uint8_t duid[DUID_LL_LEN]; /* ours */
	uint64_t now;
};

/* ---- replies ------------------------------------------------------------- */

static void put_head(struct lwr_cursor *c, uint16_t code, size_t len)
{
	lwr__cursor_put_u16(c, code);
	lwr__cursor_put_u16(c, (uint16_t)len);
}

static void put_option(struct lwr_cursor *c, uint16_t code, const void *v,
		       size_t len)
{
	put_head(c, code, len);
	lwr__cursor_put_bytes(c, v, len);
}

static void put_status(struct lwr_cursor *c, uint16_t status)
{
	put_head(c, LWR_DHCP6_OPT_STATUS, 2);
	lwr__cursor_put_u16(c, status);
}

static void put_addr(struct lwr_cursor *c, const struct lwr_dhcp6_addr *a)
{
	put_head(c, LWR_DHCP6_OPT_ADDR, 24);
	lwr__cursor_put_bytes(c, a->addr.b, 16);
	lwr__cursor_put_u32(c, a->valid ? PREFERRED_S : 0);
	lwr__cursor_put_u32(c, a->valid ? VALID_S : 0);
}

static void put_ia(struct lwr_cursor *out, const struct lwr_dhcp6_ia *ia)
{
	uint8_t b[12 + 28 * (LWR_DHCP6_ADDRS_MAX + 1) + 6];
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));

	lwr__cursor_put_u32(&c, ia->iaid);
	if (ia->kind != LWR_DHCP6_OPT_IA_TA) {
		lwr__cursor_put_u32(&c, ia->status ? 0 : RENEW_S);
		lwr__cursor_put_u32(&c, ia->status ? 0 : REBIND_S);
	}
	for (unsigned i = 0; i < ia->addrs; i++)
		put_addr(&c, &ia->addr[i]);
	if (ia->status)
		put_status(&c, ia->status);
	put_option(out, ia->kind, b, sizeof(b) - c.left);
}

/* RFC 4704 6: nobody updates DNS here. */
static void put_fqdn(struct lwr_cursor *c, const struct lwr_dhcp6_request *q)
{
	enum { SERVER = 1, OVERRIDE = 2, NO_UPDATE = 4 };

	put_head(c, LWR_DHCP6_OPT_FQDN, q->fqdn_len + 1u);
	lwr__cursor_put_u8(c, q->fqdn_flags & SERVER ? NO_UPDATE | OVERRIDE :
						       NO_UPDATE);
	lwr__cursor_put_bytes(c, q->fqdn_name, q->fqdn_len);
}

static void put_config(struct lwr_cursor *c, const struct asked *d)
{
	uint8_t names[SEARCH_MAX];
	size_t len = lwr__dns_search_wire(d->s->dns, names, sizeof(names));

	if (d->q->wants_dns)
		put_option(c, LWR_DHCP6_OPT_DNS, d->link->net->dns6.b, 16);
	if (d->q->wants_search && len > 0)
		put_option(c, LWR_DHCP6_OPT_SEARCH, names, len);
	if (d->q->fqdn)
		put_fqdn(c, d->q);
}

static void send_message(const struct asked *d, const struct lwr_addr *dst,
			 const uint8_t *msg, size_t len)
{
	struct pbuf *p = lwr__send_alloc(len);

	if (!p) {
		d->link->stats.drop_memory++;
		return;
	}
	memcpy(p->payload, msg, len);
	lwr__send_udp(d->link, p, 0, &d->link->net->gateway6_ll, SERVER_PORT,
		      dst, CLIENT_PORT);
}

/* What is answered besides the IAs. */
struct answer {
	uint8_t type; /* 0: nothing */
	bool ias;
	bool config;
	bool says_status;
	uint16_t status;
};

static void send_answer(const struct asked *d, const struct lwr_addr *dst,
			const struct answer *a)
{
	const struct lwr_dhcp6_request *q = d->q;
	uint8_t msg[REPLY_MAX], preference = 255;
	struct lwr_cursor c = lwr__cursor(msg, sizeof(msg));

	lwr__cursor_put_u8(&c, a->type);
	lwr__cursor_put_bytes(&c, q->xid, sizeof(q->xid));
	if (q->client.len)
		put_option(&c, LWR_DHCP6_OPT_CLIENT, q->client.b,
			   q->client.len);
	put_option(&c, LWR_DHCP6_OPT_SERVER, d->duid, sizeof(d->duid));
	if (a->type == LWR_DHCP6_ADVERTISE)
		put_option(&c, LWR_DHCP6_OPT_PREFERENCE, &preference, 1);
	else if (q->type == LWR_DHCP6_SOLICIT)
		put_head(&c, LWR_DHCP6_OPT_RAPID, 0);
	if (a->says_status)
		put_status(&c, a->status);
	for (unsigned i = 0; a->ias && i < q->ias; i++)
		put_ia(&c, &q->ia[i]);
	if (a->config)
		put_config(&c, d);
	LWR_ASSERT(!c.bad); /* every part has a limit of its own */
	send_message(d, dst, msg, sizeof(msg) - c.left);
}

/* ---- IAs ----------------------------------------------------------------- */

static struct lwr_client client_of(const struct asked *d, uint32_t iaid)
{
	struct {
		uint32_t iaid;
		uint8_t duid[LWR_DHCP6_DUID_MAX];
	} id = { .iaid = iaid };
	struct lwr_client c;

	memcpy(id.duid, d->q->client.b, d->q->client.len);
	memcpy(c.mac, d->mac, sizeof(c.mac));
	c.id = lwr__siphash13(d->s->key, &id,
			      sizeof(id.iaid) + d->q->client.len);
	c.owner = lwr__siphash13(d->s->key, id.duid, d->q->client.len);
	return c;
}

static void refuse(const struct asked *d, struct lwr_dhcp6_ia *ia,
		   uint16_t status)
{
	ia->addrs = 0;
	ia->status = status;
	d->link->stats.dhcp_refused++;
}

static void give(const struct asked *d, struct lwr_binding *b, bool bind)
{
	if (bind) {
		lwr__binding_set(b, LWR_BINDING_BOUND, d->now,
				 VALID_S * 1000ull);
		d->link->stats.dhcp_acks++;
	} else {
		lwr__binding_set(b, LWR_BINDING_OFFERED, d->now, OFFER_MS);
	}
	lwr__neighbours_learn(&d->link->neighbours, d->link->net, &b->addr,
			      d->mac);
}

/* SOLICIT and REQUEST: one address, whatever was named. */
static void assign(const struct asked *d, struct lwr_dhcp6_ia *ia, bool bind)
{
	struct lwr_client client = client_of(d, ia->iaid);
	struct lwr_binding *b;

	b = lwr__pool_choose(d->pool, d->link->net, &client,
			     ia->addrs ? &ia->addr[0].addr : NULL, d->now);
	if (!b) {
		refuse(d, ia, LWR_DHCP6_NO_ADDRS);
		return;
	}
	give(d, b, bind);
	ia->addrs = 1;
	ia->addr[0] = (struct lwr_dhcp6_addr){ b->addr, true };
}

/* RENEW and REBIND: what it may keep, or one that it may have instead. */
static void extend(const struct asked *d, struct lwr_dhcp6_ia *ia)
{
	struct lwr_client client = client_of(d, ia->iaid);
	struct lwr_binding *b = NULL;

	if (!d->s->ipv6)
		return;
	for (unsigned i = 0; i < ia->addrs && !b; i++) {
		b = lwr__pool_claim(d->pool, d->link->net, &client,
				    &ia->addr[i].addr, d->now);
		ia->addr[i].valid = b != NULL;
	}
	if (!b) {
		b = lwr__pool_choose(d->pool, d->link->net, &client, NULL,
				     d->now);
		if (b)
			ia->addr[ia->addrs++] =
				(struct lwr_dhcp6_addr){ b->addr, true };
	}
	if (b)
		give(d, b, true);
	else if (ia->addrs == 0)
		refuse(d, ia, LWR_DHCP6_NO_BINDING);
}

static void log_declined(const struct asked *d, const struct lwr_addr *a)
{
	char text[LWR_ADDR_TEXT];

	d->link->stats.dhcp_declined++;
	lwr__log(d->link->stack->log, LWR_LOG_WARN,
		 "%s: the guest declined %s by DHCPv6: another host on its "
		 "side answers for it",
		 d->link->name, lwr__addr_text(a, text));
}

/* RELEASE and DECLINE. */
static void give_back(const struct asked *d, struct lwr_dhcp6_ia *ia,
		      bool declined)
{
	struct lwr_client client = client_of(d, ia->iaid);
	struct lwr_binding *b;
	bool any = false;

	for (unsigned i = 0; i < ia->addrs; i++) {
		b = lwr__pool_own(d->pool, &client, &ia->addr[i].addr, d->now);
		if (!b)
			continue;
		any = true;
		lwr__binding_set(
			b, declined ? LWR_BINDING_DECLINED : LWR_BINDING_FREE,
			d->now, declined ? DECLINE_MS : 0);
		if (declined)
			log_declined(d, &b->addr);
	}
	ia->addrs = 0;
	ia->status = any ? LWR_DHCP6_SUCCESS : LWR_DHCP6_NO_BINDING;
}

static void answer_ia(const struct asked *d, struct lwr_dhcp6_ia *ia)
{
	const struct lwr_dhcp6_request *q = d->q;

	if (ia->kind != LWR_DHCP6_OPT_IA_NA) {
		/* Not counted: many clients try without need. */
		ia->addrs = 0;
		ia->status = ia->kind == LWR_DHCP6_OPT_IA_PD ?
				     LWR_DHCP6_NO_PREFIX :
				     LWR_DHCP6_NO_ADDRS;
		return;
	}
	switch (q->type) {
	case LWR_DHCP6_SOLICIT:
		assign(d, ia, q->rapid);
		break;
	case LWR_DHCP6_REQUEST:
		if (d->s->ipv6)
			assign(d, ia, true);
		else
			refuse(d, ia, LWR_DHCP6_NO_ADDRS);
		break;
	case LWR_DHCP6_RENEW:
	case LWR_DHCP6_REBIND:
		extend(d, ia);
		break;
	default:
		give_back(d, ia, q->type == LWR_DHCP6_DECLINE);
	}
}

/* ---- messages ------------------------------------------------------------ */

static bool names_us(const struct asked *d)
{
	const struct lwr_dhcp6_duid *s = &d->q->server;

	return s->len == sizeof(d->duid) &&
	       memcmp(s->b, d->duid, sizeof(d->duid)) == 0;
}

/* RFC 8415 16; false: it is not for this server, or not whole. */
static bool is_for_us(const struct asked *d)
{
	const struct lwr_dhcp6_request *q = d->q;

	switch (q->type) {
	case LWR_DHCP6_SOLICIT:
	case LWR_DHCP6_CONFIRM:
	case LWR_DHCP6_REBIND:
		return q->client.len && !q->server.len;
	case LWR_DHCP6_REQUEST:
	case LWR_DHCP6_RENEW:
	case LWR_DHCP6_RELEASE:
	case LWR_DHCP6_DECLINE:
		return q->client.len && names_us(d);
	case LWR_DHCP6_INFORMATION_REQUEST:
		return q->ias == 0 && (!q->server.len || names_us(d));
	default:
		return false;
	}
}

/* Without an address there is nothing to confirm. */
static struct answer confirm(const struct asked *d)
{
	struct answer a = { .says_status = true };

	for (unsigned i = 0; i < d->q->ias; i++) {
		const struct lwr_dhcp6_ia *ia = &d->q->ia[i];

		for (unsigned k = 0; k < ia->addrs; k++) {
			a.type = LWR_DHCP6_REPLY;
			if (!lwr__addr_in(&ia->addr[k].addr,
					  &d->link->net->subnet6))
				a.status = LWR_DHCP6_NOT_ON_LINK;
		}
	}
	return a;
}

static struct answer decide(const struct asked *d)
{
	struct lwr_dhcp6_request *q = d->q;
	struct answer a = { .type = LWR_DHCP6_REPLY };

	switch (q->type) {
	case LWR_DHCP6_CONFIRM:
		return d->s->ipv6 ? confirm(d) : (struct answer){ 0 };
	case LWR_DHCP6_INFORMATION_REQUEST:
		a.config = true;
		return d->s->ipv6 ? a : (struct answer){ 0 };
	case LWR_DHCP6_SOLICIT:
		if (!d->s->ipv6)
			return (struct answer){ 0 };
		if (!q->rapid)
			a.type = LWR_DHCP6_ADVERTISE;
		break;
	case LWR_DHCP6_RELEASE:
	case LWR_DHCP6_DECLINE:
		a.says_status = true;
		break;
	default:
		break;
	}
	for (unsigned i = 0; i < q->ias; i++)
		answer_ia(d, &q->ia[i]);
	a.ias = true;
	a.config = !a.says_status;
	return a;
}

static void input(struct asked *d, const struct lwr_pkt *pkt)
{
	struct answer a;

	if (!is_for_us(d))
		return;
	if (lwr__addr_is_multicast(&pkt->dst)) {
		a = decide(d);
	} else if (d->q->server.len && d->q->client.len) {
		/* 18.4: never told that it may be asked so. */
		a = (struct answer){ .type = LWR_DHCP6_REPLY,
				     .says_status = true,
				     .status = LWR_DHCP6_USE_MULTICAST };
	} else {
		return;
	}
	if (a.type != 0)
		send_answer(d, &pkt->src, &a);
}

/* ff02::1:2, or the gateway itself. */
static bool is_ours(const struct lwr_pkt *pkt)
{
	static const uint8_t servers[16] = { 0xff, 2, [13] = 1, [15] = 2 };

	return pkt->ethertype == LWR_ETHERTYPE_IP6 &&
	       pkt->proto == LWR_PROTO_UDP && !pkt->fragment &&
	       pkt->dport == SERVER_PORT &&
	       (memcmp(pkt->dst.b, servers, sizeof(servers)) == 0 ||
		lwr__policy_is_local(pkt->link->net, &pkt->dst));
}

bool lwr__dhcp6_input(struct lwr_services *s, const struct lwr_pkt *pkt)
{
	const struct lwr_net *net = pkt->link->net;
	struct lwr_dhcp6_request q;
	struct asked d = { .q = &q,
			   .s = s,
			   .link = pkt->link,
			   .mac = pkt->data + 6,
			   .duid = { 0, 3, 0, 1 },
			   .now = lwr__loop_now(s->stack->loop) };
	struct lwr_lan *lan;

	if (!is_ours(pkt))
		return false;
	if (!net->ipv6)
		return true;
	if (lwr__addr_is_any(&pkt->src) ||
	    !lwr__policy_source(net, &pkt->src)) {
		pkt->link->stats.drop_source++;
		return true;
	}
	if (!lwr__dhcp6_parse(pkt, &q)) {
		pkt->link->stats.drop_malformed++;
		return true;
	}
	lan = lwr__services_lan(s, pkt->link);
	if (!lan)
		return true;
	d.pool = &lan->pool6;
	memcpy(d.duid + 4, net->gateway_mac, 6);
	input(&d, pkt);
	return true;
}
