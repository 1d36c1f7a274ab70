/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Echo to the relay's own addresses (RFC 792, RFC 4443 4.1): identifier,
 * sequence and data come back as they were, fragmented on the way out if the
 * reply exceeds the MTU. The stack has verified the checksum. Echo to anybody
 * else, and errors that a guest reports, are not taken here.
 */
#include "relay/services.h"

#include "core/csum.h"
#include "relay/policy.h"

#include "lwip/pbuf.h"

#include <string.h>

enum {
	ECHO_REPLY4 = 0,
	ECHO_REQUEST4 = 8,
	ECHO_REQUEST6 = 128,
	ECHO_REPLY6 = 129,
	TTL = 64,
};

static bool is_echo(const struct lwr_pkt *pkt)
{
	const uint8_t *h = pkt->data + pkt->l4;

	if (pkt->l4 == 0 || pkt->l4_len < 8 || h[1] != 0)
		return false;
	if (pkt->proto == LWR_PROTO_ICMP)
		return h[0] == ECHO_REQUEST4;
	return pkt->proto == LWR_PROTO_ICMP6 && h[0] == ECHO_REQUEST6;
}

static void send_reply(const struct lwr_pkt *pkt)
{
	bool four = pkt->proto == LWR_PROTO_ICMP;
	struct pbuf *p = lwr__send_alloc(pkt->l4_len);
	uint64_t sum = 0;
	uint16_t csum;
	uint8_t *h;

	if (!p) {
		pkt->link->stats.drop_memory++;
		return;
	}
	h = p->payload;
	memcpy(h, pkt->data + pkt->l4, pkt->l4_len);
	h[0] = four ? ECHO_REPLY4 : ECHO_REPLY6;
	memset(h + 2, 0, 2);
	if (!four)
		sum = lwr__csum_pseudo(&pkt->dst, &pkt->src, LWR_PROTO_ICMP6,
				       pkt->l4_len);
	csum = lwr__csum(sum, h, pkt->l4_len);
	memcpy(h + 2, &csum, 2);
	lwr__send_ip(pkt->link, p, &pkt->dst, &pkt->src, pkt->proto, TTL);
}

bool lwr__icmp_input(const struct lwr_pkt *pkt)
{
	if (!is_echo(pkt) || !lwr__policy_is_local(pkt->link->net, &pkt->dst))
		return false;
	if (lwr__addr_is_any(&pkt->src) ||
	    !lwr__policy_source(pkt->link->net, &pkt->src))
		pkt->link->stats.drop_source++;
	else
		send_reply(pkt);
	return true;
}
