/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/fake_net.h"

#include "core/csum.h"
#include "core/stack.h"
#include "relay/dns.h"
#include "relay/services.h"
#include "test/fake_loop.h"

#include "lwip/pbuf.h"

#include <stdlib.h>
#include <string.h>

static struct {
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_loop loop;
	struct lwr_stack stack;
	struct lwr_dns dns;
	struct lwr_link link;
	struct lwr_services services;
	void (*reply)(const struct lwr_pkt *pkt);
} h;

void fake_net_check(bool holds)
{
	if (!holds)
		abort();
}

/* ---- the guest's side ---------------------------------------------------- */

static void take(const struct lwr_frame *f)
{
	static uint8_t buf[FAKE_NET_FRAME_MAX];
	struct lwr_pkt pkt = { .link = &h.link,
			       .data = buf,
			       .len = f->p->tot_len };

	fake_net_check(f->p->tot_len <= sizeof(buf));
	pbuf_copy_partial(f->p, buf, f->p->tot_len, 0);
	fake_net_check(lwr__pkt_parse(&pkt) == LWR_DROP_NONE);
	fake_net_check(lwr__pkt_csum_valid(&pkt));
	fake_net_check(memcmp(buf + 6, h.config.net.gateway_mac, 6) == 0);
	if (h.reply && pkt.l4)
		h.reply(&pkt);
}

static void drain(struct lwr_link *link)
{
	while (lwr__ring_count(&link->h2g)) {
		take(lwr__ring_at(&link->h2g, 0));
		lwr__ring_pop(&link->h2g, 1);
	}
}

static void close_link(struct lwr_link *link)
{
	lwr__stack_remove_link(link);
}

static const struct lwr_link_ops ops = { .drain = drain, .close = close_link };

/* ---- the relay's side ---------------------------------------------------- */

static bool on_tick(void *arg)
{
	(void)arg;
	lwr__stack_flush(&h.stack);
	return false;
}

static void on_syn(void *arg, const struct lwr_pkt *pkt)
{
	(void)arg;
	(void)pkt;
}

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	(void)arg;
	if (lwr__arp_input(&h.services, pkt) ||
	    lwr__dhcp_input(&h.services, pkt) ||
	    lwr__dhcp6_input(&h.services, pkt))
		return;
	if (pkt->proto == LWR_PROTO_ICMP6 && !lwr__ndp_input(&h.services, pkt))
		(void)lwr__ra_input(&h.services, pkt);
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	(void)arg;
	lwr__services_link_down(&h.services, link);
}

static const struct lwr_stack_hooks hooks = { .on_syn = on_syn,
					      .on_packet = on_packet,
					      .on_link_down = on_link_down };

void fake_net_open(void (*reply)(const struct lwr_pkt *pkt))
{
	fake_loop_reset();
	memset(&h, 0, sizeof(h));
	h.reply = reply;
	lwr__config_init(&h.config);
	h.dns.config = &h.config;
	lwr__dns_parse(&h.dns, "search a.example b.example\n");
	fake_net_check(lwr__loop_init(&h.loop, NULL, on_tick, NULL) == 0);
	fake_net_check(lwr__stack_init(&h.stack, &h.loop, &h.config, &h.log,
				       &hooks, NULL) == 0);
	lwr__services_init(&h.services, &h.stack, &h.dns);
	h.link.ops = &ops;
	h.link.caps.mtu = 1500;
	h.link.caps.max_frame = FAKE_NET_FRAME_MAX;
	fake_net_check(lwr__stack_add_link(&h.stack, &h.link) == 0);
}

void fake_net_close(void)
{
	h.link.ops->close(&h.link);
	lwr__services_fini(&h.services);
	lwr__stack_fini(&h.stack);
	lwr__loop_fini(&h.loop, NULL);
}

void fake_net_later(uint32_t ms)
{
	fake_run(ms);
}

void fake_net_ipv6(bool ipv6)
{
	lwr__ra_set_ipv6(&h.services, ipv6);
	lwr__stack_flush(&h.stack);
}

/* ---- frames -------------------------------------------------------------- */

bool fake_net_next(const uint8_t **data, size_t *size, struct fake_record *rec)
{
	struct lwr_cursor c = lwr__cursor(*data, *size);

	rec->choice = lwr__cursor_u8(&c);
	rec->len = lwr__cursor_u16(&c);
	if (c.bad)
		return false;
	if (rec->len > c.left)
		rec->len = c.left;
	rec->data = c.p;
	*data = c.p + rec->len;
	*size = c.left - rec->len;
	return true;
}

void fake_net_frame(unsigned guest, uint16_t ethertype, const void *data,
		    size_t len)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)(guest & 3) };
	struct lwr_frame_meta meta = { .csum_ok = true };
	struct lwr_cursor c;
	struct pbuf *p;

	if (len > FAKE_NET_FRAME_MAX - LWR_ETH_HLEN)
		return;
	p = pbuf_alloc(PBUF_RAW, (u16_t)(LWR_ETH_HLEN + len), PBUF_RAM);
	fake_net_check(p != NULL);
	c = lwr__cursor(p->payload, p->len);
	lwr__cursor_put_bytes(&c, "\xff\xff\xff\xff\xff\xff", 6);
	lwr__cursor_put_bytes(&c, mac, sizeof(mac));
	lwr__cursor_put_u16(&c, ethertype);
	lwr__cursor_put_bytes(&c, data, len);
	lwr__stack_input(&h.link, p, &meta);
	lwr__stack_flush(&h.stack);
}

static void put_ip4(struct lwr_cursor *c, const struct lwr_addr *src,
		    const struct lwr_addr *dst, uint8_t proto, uint8_t ttl,
		    size_t len)
{
	uint8_t *start = c->p;
	uint16_t sum;

	lwr__cursor_put_u16(c, 0x4500);
	lwr__cursor_put_u16(c, (uint16_t)(20 + len));
	lwr__cursor_put_u32(c, 0);
	lwr__cursor_put_u8(c, ttl);
	lwr__cursor_put_u8(c, proto);
	lwr__cursor_put_u16(c, 0);
	lwr__cursor_put_bytes(c, src->b + 12, 4);
	lwr__cursor_put_bytes(c, dst->b + 12, 4);
	sum = lwr__csum(0, start, 20);
	memcpy(start + 10, &sum, 2);
}

void fake_net_ip(unsigned guest, const char *src, const char *dst,
		 uint8_t proto, uint8_t ttl, const void *data, size_t len)
{
	uint8_t b[FAKE_NET_FRAME_MAX];
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));
	struct lwr_addr s, d;
	bool four;

	if (lwr__addr_parse(src, &s) < 0 || lwr__addr_parse(dst, &d) < 0)
		return;
	four = lwr__addr_is4(&s);
	if (four) {
		put_ip4(&c, &s, &d, proto, ttl, len);
	} else {
		lwr__cursor_put_u32(&c, 6u << 28);
		lwr__cursor_put_u16(&c, (uint16_t)len);
		lwr__cursor_put_u8(&c, proto);
		lwr__cursor_put_u8(&c, ttl);
		lwr__cursor_put_bytes(&c, s.b, 16);
		lwr__cursor_put_bytes(&c, d.b, 16);
	}
	lwr__cursor_put_bytes(&c, data, len);
	if (!c.bad)
		fake_net_frame(guest,
			       four ? LWR_ETHERTYPE_IP4 : LWR_ETHERTYPE_IP6, b,
			       sizeof(b) - c.left);
}

void fake_net_udp(unsigned guest, const char *src, const char *dst,
		  uint16_t port, const void *data, size_t len)
{
	uint8_t b[FAKE_NET_FRAME_MAX];
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));

	lwr__cursor_put_u16(&c, 68);
	lwr__cursor_put_u16(&c, port);
	lwr__cursor_put_u16(&c, (uint16_t)(8 + len));
	lwr__cursor_put_u16(&c, 1); /* a checksum that somebody vouches for */
	lwr__cursor_put_bytes(&c, data, len);
	if (!c.bad)
		fake_net_ip(guest, src, dst, LWR_PROTO_UDP, 64, b,
			    sizeof(b) - c.left);
}
