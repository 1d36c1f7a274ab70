/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DHCPv4 messages of several clients: each record is one, its choice says whose
 * and how much time passes before. Replies must be whole messages and give
 * only addresses of the network that are not the relay's.
 */
#include "test/fake_net.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIXED = 240, OPT_END = 255 };

static void check_options(struct lwr_cursor c)
{
	uint8_t code, len;

	for (;;) {
		code = lwr__cursor_u8(&c);
		fake_net_check(!c.bad && code != 0);
		if (code == OPT_END)
			return;
		len = lwr__cursor_u8(&c);
		lwr__cursor_bytes(&c, NULL, len);
	}
}

static void check_reply(const struct lwr_pkt *pkt)
{
	const uint8_t *b = pkt->data + pkt->l4 + 8;
	size_t len = pkt->l4_len - 8;

	fake_net_check(pkt->sport == 67 && pkt->dport == 68 && len >= 300);
	fake_net_check(b[0] == 2 && b[1] == 1 && b[2] == 6);
	check_options(lwr__cursor(b + FIXED, len - FIXED));
	if (memcmp(b + 16, "\0\0\0\0", 4) == 0)
		return;
	fake_net_check(memcmp(b + 16, "\x0a\0\x02", 3) == 0);
	fake_net_check(b[19] >= 15 && b[19] != 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t pass_ms[] = { 0, 31 * 1000, 601 * 1000,
					    25 * 3600 * 1000 };
	struct fake_record rec;

	fake_net_open(check_reply);
	while (fake_net_next(&data, &size, &rec)) {
		fake_net_later(pass_ms[(rec.choice >> 2) & 3]);
		fake_net_udp(rec.choice, "0.0.0.0", "255.255.255.255", 67,
			     rec.data, rec.len);
	}
	fake_net_close();
	return 0;
}
