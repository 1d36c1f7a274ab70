/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What became of a guest's datagram, told to it by ICMP. Three ways lead here:
 * it was refused when it came, and is still at hand; sending it failed at the
 * end of the tick; or the network reported later, by the socket's error queue.
 * For the last two the packet that an error must quote is gone: its headers
 * are written again from what the flow knows, with the payload that is there,
 * which is all that a guest's kernel looks at to find the socket.
 *
 * The error comes from where it came from: the router that reported it, so
 * that traceroute shows it; the destination as the guest knows it, if that
 * was the destination; and else the gateway, which speaks for the host.
 */
#include "core/csum.h"
#include "platform/sock_udp.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <string.h>

enum {
	REPORTS = 64, /* read at once */
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	UDP_HLEN = 8,
	ICMP_ID = 4, /* its offset */
	QUOTE_MAX = 512, /* payload bytes quoted */
	TTL = 64,
	MTU_LEAST4 = 576,
	MTU_LEAST6 = 1280,
};

/* One undeliverable datagram. */
struct undelivered {
	int err; /* positive */
	uint32_t mtu;
	const struct lwr_udp_peer *peer;
	const struct lwr_addr *by; /* NULL: the host itself */
	const uint8_t *data; /* of its payload, or ICMP message */
	size_t have; /* bytes at data */
	size_t len; /* of all of it */
};

/* False: nothing that a guest is told. */
static bool why_of(int err, enum lwr_unreach *why)
{
	switch (err) {
	case ECONNREFUSED:
		*why = LWR_UNREACH_PORT;
		return true;
	case ENOPROTOOPT:
		*why = LWR_UNREACH_PROTO;
		return true;
	case EACCES:
	case EPERM:
		*why = LWR_UNREACH_PROHIBITED;
		return true;
	case ENETUNREACH:
	case ENETDOWN:
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
	case ENODEV: /* the interface of --outbound is gone */
		*why = LWR_UNREACH_NET;
		return true;
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EINVAL: /* no address that a route could lead to */
		*why = LWR_UNREACH_HOST;
		return true;
	case EMSGSIZE:
		*why = LWR_UNREACH_TOO_BIG;
		return true;
	case ETIME:
		*why = LWR_UNREACH_TTL;
		return true;
	default:
		return false;
	}
}

const struct lwr_addr *lwr__udp_router(const struct lwr_link *link, bool four)
{
	return four ? &link->net->gateway : &link->net->gateway6;
}

void lwr__udp_tell_errno(const struct lwr_pkt *pkt, int err)
{
	const struct lwr_addr *from;
	enum lwr_unreach why;

	if (!why_of(-err, &why)) {
		pkt->link->stats.drop_memory++;
		return;
	}
	from = why == LWR_UNREACH_PORT ?
		       &pkt->dst :
		       lwr__udp_router(pkt->link, lwr__addr_is4(&pkt->dst));
	if (!(pkt->data[0] & 1))
		lwr__send_unreach(pkt->link, why, from, pkt->data + pkt->l3,
				  pkt->l4 + pkt->l4_len - pkt->l3);
}

/* ---- the packet as it was ------------------------------------------------ */

static void put_ip4(struct lwr_cursor *c, const struct undelivered *x,
		    const struct lwr_addr *src, uint8_t proto, size_t len)
{
	enum { DONT_FRAGMENT = 0x4000 };
	uint8_t *start = c->p;
	uint16_t sum;

	lwr__cursor_put_u16(c, 0x4500);
	lwr__cursor_put_u16(c, (uint16_t)(IP4_HLEN + len));
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_u16(c, x->err == EMSGSIZE ? DONT_FRAGMENT : 0);
	lwr__cursor_put_u8(c, TTL);
	lwr__cursor_put_u8(c, proto);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_bytes(c, src->b + 12, 4);
	lwr__cursor_put_bytes(c, x->peer->guest.addr.b + 12, 4);
	sum = lwr__csum(0, start, IP4_HLEN);
	memcpy(start + 10, &sum, 2);
}

static void put_ip6(struct lwr_cursor *c, const struct undelivered *x,
		    const struct lwr_addr *src, uint8_t proto, size_t len)
{
	lwr__cursor_put_u32(c, 6u << 28);
	lwr__cursor_put_u16(c, (uint16_t)len);
	lwr__cursor_put_u8(c, proto);
	lwr__cursor_put_u8(c, TTL);
	lwr__cursor_put_bytes(c, src->b, 16);
	lwr__cursor_put_bytes(c, x->peer->guest.addr.b, 16);
}

static void put_udp(struct lwr_cursor *c, const struct undelivered *x,
		    uint16_t sport)
{
	lwr__cursor_put_u16(c, sport);
	lwr__cursor_put_u16(c, x->peer->guest.port);
	lwr__cursor_put_u16(c, (uint16_t)(UDP_HLEN + x->len));
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_bytes(c, x->data, x->have);
}

/* The host's identifier is not the guest's. */
static void put_echo(struct lwr_cursor *c, const struct undelivered *x,
		     uint16_t id)
{
	struct lwr_cursor at = lwr__cursor(c->p + ICMP_ID, 2);

	lwr__cursor_put_bytes(c, x->data, x->have);
	if (x->have >= ICMP_ID + 2)
		lwr__cursor_put_u16(&at, id);
}

/* Returns its length in buf. */
static size_t rebuild(uint8_t *buf, size_t max, const struct undelivered *x)
{
	const struct lwr_udp_flow *f = x->peer->flow;
	const struct lwr_key *k = &f->demux.key;
	struct lwr_cursor c = lwr__cursor(buf, max);
	bool four = lwr__addr_is4(&k->guest), echo = f->udp->echo;
	size_t len = x->len + (echo ? 0 : UDP_HLEN);
	uint8_t proto = LWR_PROTO_UDP;

	if (echo)
		proto = four ? LWR_PROTO_ICMP : LWR_PROTO_ICMP6;
	if (four)
		put_ip4(&c, x, &k->guest, proto, len);
	else
		put_ip6(&c, x, &k->guest, proto, len);
	if (echo)
		put_echo(&c, x, k->gport);
	else
		put_udp(&c, x, k->gport);
	return max - c.left;
}

/* ---- telling ------------------------------------------------------------- */

static const struct lwr_addr *source_of(const struct undelivered *x,
					enum lwr_unreach why)
{
	const struct lwr_link *link = x->peer->flow->link;
	const struct lwr_addr *guest = &x->peer->guest.addr;
	bool four = lwr__addr_is4(guest);

	if (x->by ? lwr__addr_equal(x->by, &x->peer->demux.key.host) :
		    why == LWR_UNREACH_PORT)
		return guest;
	if (x->by && lwr__policy_router(link->net, x->by, four))
		return x->by;
	return lwr__udp_router(link, four);
}

/* An IPv6 path of a guest cannot be smaller, whatever an IPv4 one is. */
static uint32_t mtu_of(const struct undelivered *x)
{
	uint32_t least = lwr__addr_is4(&x->peer->guest.addr) ? MTU_LEAST4 :
							       MTU_LEAST6;

	if (x->mtu == 0 || (least == MTU_LEAST6 && x->mtu < least))
		return least;
	return x->mtu;
}

static bool tell(const struct undelivered *x)
{
	uint8_t quote[IP6_HLEN + UDP_HLEN + QUOTE_MAX];
	struct lwr_link *link = x->peer->flow->link;
	const struct lwr_addr *from;
	enum lwr_unreach why;
	size_t len;

	if (!why_of(x->err, &why))
		return false;
	from = source_of(x, why);
	len = rebuild(quote, sizeof(quote), x);
	if (why == LWR_UNREACH_TOO_BIG)
		lwr__send_too_big(link, mtu_of(x), from, quote, len);
	else
		lwr__send_unreach(link, why, from, quote, len);
	return true;
}

void lwr__udp_tell_failed(struct lwr_udp_flow *f, struct lwr_udp_sock *s,
			  const struct lwr_udp_datagram *d, int err)
{
	struct undelivered x = { .err = -err,
				 .data = d->data,
				 .len = d->seg ? d->seg : d->len };
	struct lwr_udp_peer *peer;

	if (err == -EMSGSIZE) {
		s->mtu = 0;
		lwr__udp_read_errors(f, s);
		x.mtu = s->mtu;
	}
	x.have = x.len < QUOTE_MAX ? x.len : QUOTE_MAX;
	peer = lwr__udp_peer_find(f, &d->host);
	if (peer && lwr__addr_is_loopback(&d->host.addr) &&
	    lwr__policy_nobody(err)) {
		/* A host without ::1 listens there as little. */
		x.err = ECONNREFUSED;
		if (lwr__udp_loopback_refused(peer))
			return;
	}
	x.peer = peer;
	if (!peer || !tell(&x))
		f->link->stats.drop_memory++;
}

/* ---- reports ------------------------------------------------------------- */

static void on_report(struct lwr_udp_flow *f, struct lwr_udp_sock *s,
		      const struct lwr_sock_error *e, const uint8_t *payload)
{
	struct undelivered x = { .err = e->err,
				 .mtu = e->mtu,
				 .data = payload,
				 .have = e->len,
				 .len = e->len };
	struct lwr_udp_peer *peer;
	struct lwr_dest host;
	struct lwr_addr by;
	uint16_t port;

	if (e->local) { /* told when sending failed of it */
		if (e->err == EMSGSIZE)
			s->mtu = e->mtu;
		return;
	}
	lwr__addr_from_sockaddr(&e->to, &host.addr, &host.port);
	peer = lwr__udp_peer_find(f, &host);
	if (!peer ||
	    (e->err == ECONNREFUSED && lwr__udp_loopback_refused(peer)))
		return;
	x.peer = peer;
	if (e->by.ss_family != AF_UNSPEC) {
		lwr__addr_from_sockaddr(&e->by, &by, &port);
		x.by = &by;
	}
	(void)tell(&x);
}

void lwr__udp_read_errors(struct lwr_udp_flow *f, struct lwr_udp_sock *s)
{
	uint8_t payload[QUOTE_MAX];
	struct lwr_sock_error e;

	for (int i = 0; i < REPORTS && !f->dead; i++) {
		if (lwr__sock_report(s->watch.fd, payload, sizeof(payload),
				     &e) < 0) {
			s->failed = false;
			return;
		}
		on_report(f, s, &e, payload);
	}
}
