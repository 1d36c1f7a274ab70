/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DHCPv6 messages of several clients, as in fuzz_dhcp.c; the choice also says
 * whether the host has IPv6. Replies must be whole, and addresses with a
 * lifetime of the network.
 */
#include "test/fake_net.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IA_NA = 3, ADDR = 5, DEPTH = 2 };

static void check_addr(const struct lwr_cursor *v)
{
	fake_net_check(v->left >= 24);
	if (memcmp(v->p + 20, "\0\0\0\0", 4) == 0)
		return;
	fake_net_check(memcmp(v->p, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15) ==
		       0);
	fake_net_check(v->p[15] >= 0x15);
}

static void check_options(struct lwr_cursor c, unsigned depth)
{
	struct lwr_cursor v;
	uint16_t code, len;

	while (c.left > 0) {
		code = lwr__cursor_u16(&c);
		len = lwr__cursor_u16(&c);
		v = lwr__cursor(c.p, len);
		lwr__cursor_bytes(&c, NULL, len);
		fake_net_check(!c.bad);
		if (code == ADDR)
			check_addr(&v);
		if (code != IA_NA || depth == 0)
			continue;
		fake_net_check(len >= 12);
		check_options(lwr__cursor(v.p + 12, v.left - 12), depth - 1);
	}
}

static void check_reply(const struct lwr_pkt *pkt)
{
	const uint8_t *b = pkt->data + pkt->l4 + 8;

	if (pkt->proto == LWR_PROTO_ICMP6)
		return; /* an advertisement: IPv6 came or went */
	fake_net_check(pkt->sport == 547 && pkt->dport == 546);
	fake_net_check(b[0] == 2 || b[0] == 7);
	check_options(lwr__cursor(b + 4, pkt->l4_len - 12), DEPTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_record rec;

	fake_net_open(check_reply);
	while (fake_net_next(&data, &size, &rec)) {
		fake_net_ipv6(!(rec.choice & 4));
		if (rec.choice & 8)
			fake_net_later(601 * 1000);
		fake_net_udp(rec.choice, "fe80::1",
			     rec.choice & 16 ? "fe80::2" : "ff02::1:2", 547,
			     rec.data, rec.len);
	}
	fake_net_close();
	return 0;
}
