/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's TTL on its connects, so that traceroute shows the path by TCP as
 * well (relay/udp.c has it for datagrams). A SYN with a TTL that somebody chose
 * makes a host socket with one less, as behind any router, and with an error
 * queue: "time exceeded" ends such a connect, and the queue says who reported
 * it. The guest gets the same from the same router, quoting its SYN.
 *
 *	hops_of(SYN) -> connect -> refused by a router -> hops_report()
 *	                        -> connected           -> hops_opened()
 *
 * A TTL that a kernel chose by itself is not carried, for that would cost each
 * connect a system call to no end: 64, 128, 255, or a few less where the guest
 * routes for containers of its own.
 *
 * A socket whose guest goes on with a usual TTL gets the host's; with another it
 * keeps what it has, which is known to suffice. An established connection has
 * no error queue: the kernel would end it at the first report of a router,
 * however transient (RFC 5461).
 *
 * Who asks with a TTL expects silence where the path is silent: no timeout is
 * told. And who repeats a SYN with another one, as tcptraceroute does, asks
 * anew.
 */
#include "relay/flow.h"

#include "platform/sock.h"
#include "platform/sock_udp.h"

enum {
	OWN_ROUTERS = 8, /* of a guest */
	QUOTE_MAX = 64,
	REPORTS = 8,
};

static bool is_default(uint8_t ttl, uint8_t most)
{
	return ttl <= most && ttl > most - OWN_ROUTERS;
}

static bool is_usual(uint8_t ttl)
{
	return is_default(ttl, 64) || is_default(ttl, 128) ||
	       is_default(ttl, 255);
}

static uint8_t hops_by(const struct lwr_pkt *pkt, uint8_t ttl)
{
	if (is_usual(ttl) || ttl < 2 ||
	    lwr__policy_is_local(pkt->link->net, &pkt->dst))
		return 0;
	return (uint8_t)(ttl - 1);
}

uint8_t lwr__hops_of(const struct lwr_pkt *pkt)
{
	return hops_by(pkt, pkt->ttl);
}

bool lwr__hops_differ(const struct lwr_flow *f, const struct lwr_pkt *syn)
{
	return hops_by(syn, syn->ttl) != hops_by(syn, f->conn.ttl);
}

int lwr__hops_report(struct lwr_flow *f, struct lwr_addr *by)
{
	bool four = lwr__addr_is4(&f->host.addr);
	uint8_t quote[QUOTE_MAX];
	struct lwr_sock_error e;
	uint16_t port;

	for (int i = 0; i < REPORTS; i++) {
		if (lwr__sock_report(f->watch.fd, quote, sizeof(quote), &e) < 0)
			break;
		if (e.local || e.err == 0 || e.by.ss_family == AF_UNSPEC)
			continue;
		lwr__addr_from_sockaddr(&e.by, by, &port);
		if (lwr__policy_router(f->conn.link->net, by, four))
			return -e.err;
	}
	return 0;
}

void lwr__hops_opened(struct lwr_flow *f)
{
	bool four = lwr__addr_is4(&f->host.addr);

	lwr__sock_hops(f->watch.fd, four ? AF_INET : AF_INET6,
		       is_usual(f->conn.ttl) ? 0 : f->hops, false);
	f->hops = 0;
}
