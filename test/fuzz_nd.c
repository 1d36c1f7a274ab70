/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ARP, neighbour and router discovery of several guests: each record is an ARP
 * packet or an ICMPv6 message, its choice says from whom and to whom. Answers
 * are for the relay's own addresses only.
 */
#include "test/fake_net.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct lwr_pkt *pkt)
{
	const uint8_t *b = pkt->data + pkt->l4;
	uint8_t last;

	fake_net_check(pkt->proto == LWR_PROTO_ICMP6 && pkt->ttl == 255);
	fake_net_check(b[0] == 134 || b[0] == 136);
	if (b[0] != 136)
		return;
	last = b[8 + 15];
	fake_net_check(b[8] == 0xfd || b[8] == 0xfe);
	fake_net_check(last == 2 || last == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const from[] = { "::", "fe80::1", "fd00::15",
					    "2001:db8::1" };
	static const char *const to[] = { "ff02::1:ff00:2", "ff02::2",
					  "fe80::2", "fd00::2" };
	struct fake_record rec;

	fake_net_open(check_reply);
	while (fake_net_next(&data, &size, &rec)) {
		unsigned c = rec.choice;

		if (c & 0x80)
			fake_net_later((c & 0x40) ? 700 * 1000 : 3000);
		if ((c & 0x30) == 0x30)
			fake_net_frame(c, LWR_ETHERTYPE_ARP, rec.data, rec.len);
		else
			fake_net_ip(c, from[(c >> 2) & 3], to[(c >> 4) & 3],
				    LWR_PROTO_ICMP6, 255, rec.data, rec.len);
	}
	fake_net_close();
	return 0;
}
