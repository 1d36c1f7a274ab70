/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of any bytes, IPv4 header checksums made right, most of them
 * fragments: two bytes of length, then so many bytes behind an Ethernet header
 * of the gateway's. What comes out whole must lie inside its frame, memory must
 * stay bounded, and after a minute there must be none left.
 */
#include "core/csum.h"
#include "core/reass.h"
#include "core/stack.h"
#include "test/fake_loop.h"

#include "lwip/pbuf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned sum_of_all;

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	(void)arg;
	check(!pkt->fragment && pkt->l4 <= pkt->len &&
	      pkt->l4_len <= pkt->len - pkt->l4);
	for (uint32_t i = 0; i < pkt->len; i++)
		sum_of_all += pkt->data[i];
}

static void on_syn(void *arg, const struct lwr_pkt *pkt)
{
	on_packet(arg, pkt);
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	(void)arg;
	(void)link;
}

static const struct lwr_stack_hooks hooks = { .on_syn = on_syn,
					      .on_packet = on_packet,
					      .on_link_down = on_link_down };

static void drain(struct lwr_link *link)
{
	lwr__ring_pop(&link->h2g, lwr__ring_count(&link->h2g));
}

static void close_link(struct lwr_link *link)
{
	(void)link;
}

static const struct lwr_link_ops ops = { .drain = drain, .close = close_link };

static void send_frame(struct lwr_link *link, const uint8_t *data, size_t len)
{
	struct pbuf *p =
		pbuf_alloc(PBUF_RAW, (u16_t)(LWR_ETH_HLEN + len), PBUF_RAM);
	struct lwr_frame_meta meta = { 0 };
	uint8_t *b, *ip;
	uint16_t sum;

	check(p != NULL);
	b = p->payload;
	ip = b + LWR_ETH_HLEN;
	memcpy(b, link->net->gateway_mac, 6);
	memset(b + 6, 2, 6);
	memcpy(ip, data, len);
	b[12] = len > 0 && ip[0] >> 4 == 6 ? 0x86 : 0x08;
	b[13] = len > 0 && ip[0] >> 4 == 6 ? 0xdd : 0x00;
	if (len >= 20 && ip[0] == 0x45) {
		memset(ip + 10, 0, 2);
		sum = lwr__csum(0, ip, 20);
		memcpy(ip + 10, &sum, 2);
	}
	lwr__stack_input(link, p, &meta);
	lwr__stack_flush(link->stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lwr_loop loop;
	struct lwr_link link = { .ops = &ops };
	struct lwr_config config;
	struct lwr_log log = { 0 };
	struct lwr_stack stack;
	size_t len;

	fake_loop_reset();
	lwr__config_init(&config);
	check(lwr__stack_init(&stack, &loop, &config, &log, &hooks, NULL) == 0);
	link.caps.mtu = 1500;
	check(lwr__stack_add_link(&stack, &link) == 0);
	while (size >= 2) {
		len = (size_t)(data[0] << 8 | data[1]);
		data += 2;
		size -= 2;
		len = len < size ? len : size;
		len = len < 60000 ? len : 60000;
		send_frame(&link, data, len);
		data += len;
		size -= len;
		check(stack.reass.bytes <= LWR_REASS_BYTES_LINK);
		check(stack.reass.bytes == link.frags.bytes);
	}
	fake_run(61000);
	check(stack.reass.bytes == 0 && stack.reass.sets.count == 0);
	lwr__stack_remove_link(&link);
	lwr__stack_fini(&stack);
	check(fake_timers() == 0);
	return 0;
}
