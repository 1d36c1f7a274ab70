/* SPDX-License-Identifier: BSD-3-Clause */
#include "netif/framing.h"

#include "core/pkt.h"

#include <errno.h>

int lwr__framing_cut(const uint8_t *data, size_t len, uint32_t max,
		     uint32_t *frame)
{
	struct lwr_cursor c = lwr__cursor(data, len);
	uint32_t n = lwr__cursor_u32(&c);

	if (c.bad)
		return 0;
	if (n < LWR_FRAMING_MIN || n > max)
		return -EPROTO;
	if (n > c.left)
		return 0;
	*frame = n;
	return 1;
}

void lwr__framing_put(uint8_t hdr[LWR_FRAMING_HLEN], uint32_t frame)
{
	struct lwr_cursor c = lwr__cursor(hdr, LWR_FRAMING_HLEN);

	lwr__cursor_put_u32(&c, frame);
}
