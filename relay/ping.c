/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Echo to external hosts (RFC 792, RFC 4443 4), by flows like those of UDP
 * with the identifier in the place of the port: each identifier of a guest has
 * a ping socket, which an ordinary process may open where the host's
 * net.ipv4.ping_group_range lets it. The kernel writes its own identifier into
 * the request; the reply gets the guest's back. Sequence, data, TTL and DF are
 * the guest's. Tables, limits, batches and errors are those of relay/udp*.c.
 */
#include "core/csum.h"
#include "platform/sock_udp.h"
#include "relay/udp_flow.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <string.h>

enum {
	ECHO_REPLY4 = 0,
	ECHO_REQUEST4 = 8,
	ECHO_REQUEST6 = 128,
	ECHO_REPLY6 = 129,
	ICMP_HLEN = 8,
	ICMP_CSUM = 2, /* offsets in its header */
	ICMP_ID = 4,
	ECHO_PORT = 7, /* what policy is asked for (RFC 862) */
	TTL = 64,
};

static bool is_echo(const struct lwr_pkt *pkt)
{
	const uint8_t *h = pkt->data + pkt->l4;

	if (pkt->l4 == 0 || pkt->l4_len < ICMP_HLEN || h[1] != 0)
		return false;
	if (pkt->proto == LWR_PROTO_ICMP)
		return h[0] == ECHO_REQUEST4;
	return pkt->proto == LWR_PROTO_ICMP6 && h[0] == ECHO_REQUEST6;
}

static void warn(struct lwr_udp *u)
{
	if (u->warned)
		return;
	u->warned = true;
	lwr__log(u->stack->log, LWR_LOG_WARN,
		 "guests cannot ping other hosts: this user may not open ping "
		 "sockets (set sysctl net.ipv4.ping_group_range to include its "
		 "group, as in \"0 2147483647\")");
}

static bool allowed(const struct lwr_pkt *pkt, struct lwr_dest *host)
{
	struct lwr_dest dest = { pkt->dst, ECHO_PORT };

	if (lwr__policy_dest(pkt->link->net, &dest, host) == LWR_ALLOW) {
		host->port = 0;
		return true;
	}
	pkt->link->stats.echo_denied++;
	lwr__udp_tell_errno(pkt, -EACCES);
	return false;
}

static void forward(struct lwr_udp *u, struct lwr_udp_flow *f,
		    const struct lwr_pkt *pkt, const struct lwr_dest *host)
{
	struct lwr_dest dest = { pkt->dst, 0 };
	struct lwr_udp_datagram d = {
		.host = *host,
		.data = pkt->data + pkt->l4,
		.len = pkt->l4_len,
		.ttl = lwr__udp_ttl(pkt),
		.df = pkt->df,
	};
	struct lwr_udp_sock *s;
	int err = lwr__udp_sock_get(f, &host->addr, &s);

	if (err) {
		if (err == -EACCES || err == -EPERM)
			warn(u);
		lwr__udp_tell_errno(pkt, err);
		if (f->n_peers == 0)
			lwr__udp_flow_kill(f);
		return;
	}
	lwr__udp_flow_sent(f, false);
	(void)lwr__udp_peer_note(f, host, &dest);
	lwr__udp_out_add(u, s, &d);
}

bool lwr__ping_input(struct lwr_udp *u, const struct lwr_pkt *pkt)
{
	struct lwr_dest guest = { .addr = pkt->src }, host;
	struct lwr_udp_flow *f;
	struct lwr_cursor c;

	if (!is_echo(pkt))
		return false;
	if (lwr__addr_is_any(&pkt->src) ||
	    !lwr__policy_source(pkt->link->net, &pkt->src)) {
		pkt->link->stats.drop_source++;
		return true;
	}
	if (!allowed(pkt, &host))
		return true;
	c = lwr__cursor(pkt->data + pkt->l4 + ICMP_ID, 2);
	guest.port = lwr__cursor_u16(&c);
	f = lwr__udp_flow_get(u, pkt->link, &guest);
	if (f)
		forward(u, f, pkt, &host);
	else
		pkt->link->stats.drop_memory++;
	return true;
}

void lwr__ping_deliver(struct lwr_udp_flow *f, const struct lwr_udp_peer *peer,
		       const struct lwr_sock_in *in)
{
	const struct lwr_key *k = &f->demux.key;
	bool four = lwr__addr_is4(&k->guest);
	struct lwr_cursor c;
	uint64_t sum = 0;
	struct pbuf *p;
	uint16_t csum;
	uint8_t *h;

	if (in->len < ICMP_HLEN ||
	    in->data[0] != (four ? ECHO_REPLY4 : ECHO_REPLY6))
		return;
	p = lwr__send_alloc(in->len);
	if (!p) {
		f->link->stats.drop_memory++;
		return;
	}
	h = p->payload;
	memcpy(h, in->data, in->len);
	memset(h + ICMP_CSUM, 0, 2);
	c = lwr__cursor(h + ICMP_ID, 2);
	lwr__cursor_put_u16(&c, k->gport);
	if (!four)
		sum = lwr__csum_pseudo(&peer->guest.addr, &k->guest,
				       LWR_PROTO_ICMP6, (uint32_t)in->len);
	csum = lwr__csum(sum, h, in->len);
	memcpy(h + ICMP_CSUM, &csum, 2);
	lwr__send_ip(f->link, p, &peer->guest.addr, &k->guest,
		     four ? LWR_PROTO_ICMP : LWR_PROTO_ICMP6, TTL);
}
