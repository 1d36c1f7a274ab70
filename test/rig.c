/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/rig.h"

#include "core/csum.h"

#include "lwip/pbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const uint8_t rig_mac[6] = { 2, 0, 0, 0, 0, 9 };

/* ---- the link ------------------------------------------------------------ */

static void parse(struct rig_frame *f, struct lwr_link *link)
{
	f->pkt.link = link;
	f->pkt.data = f->data;
	f->pkt.len = (uint32_t)f->len;
	f->pkt.meta = (struct lwr_frame_meta){ .gso = f->gso,
					       .gso_size = f->gso_size };
	f->drop = lwr__pkt_parse(&f->pkt);
	f->csum_valid = f->drop == LWR_DROP_NONE &&
			(f->gso || lwr__pkt_csum_valid(&f->pkt));
}

static void keep(struct rig *r, const struct lwr_frame *in)
{
	struct rig_frame *f = &r->frame[r->frames++];

	assert_true(r->frames < RIG_FRAMES);
	f->len = in->p->tot_len;
	f->data = malloc(f->len);
	assert_non_null(f->data);
	assert_int_equal(pbuf_copy_partial(in->p, f->data, (u16_t)f->len, 0),
			 f->len);
	f->gso = in->gso;
	f->gso_size = in->gso_size;
	parse(f, &r->link);
}

static void drain(struct lwr_link *link)
{
	struct rig *r = link->owner;

	r->drains++;
	if (r->stuck)
		return;
	while (lwr__ring_count(&link->h2g)) {
		keep(r, lwr__ring_at(&link->h2g, 0));
		lwr__ring_pop(&link->h2g, 1);
	}
}

static void close_link(struct lwr_link *link)
{
	lwr__stack_remove_link(link);
}

static const struct lwr_link_ops ops = { .drain = drain, .close = close_link };

/* ---- the stack ----------------------------------------------------------- */

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	struct rig *r = arg;

	if (r->on_packet)
		r->on_packet(r, pkt);
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	struct rig *r = arg;

	(void)link;
	if (r->on_link_down)
		r->on_link_down(r);
}

static void on_syn(void *arg, const struct lwr_pkt *pkt)
{
	(void)arg;
	(void)pkt;
}

static const struct lwr_stack_hooks hooks = {
	.on_syn = on_syn,
	.on_packet = on_packet,
	.on_link_down = on_link_down,
};

static void on_log(void *arg, enum lwr_level level, const char *line)
{
	struct rig *r = arg;

	(void)line;
	r->warnings += level <= LWR_LOG_WARN;
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	lwr__config_init(&r->config);
	r->log = (struct lwr_log){ LWR_LOG_DEBUG, on_log, r };
	r->dns.config = &r->config;
}

void rig_open(struct rig *r)
{
	assert_int_equal(uv_loop_init(&r->uv), 0);
	r->loop.uv = &r->uv;
	assert_int_equal(lwr__stack_init(&r->stack, &r->loop, &r->config,
					 &r->log, &hooks, r),
			 0);
	r->link.ops = &ops;
	r->link.owner = r;
	if (!r->link.caps.mtu)
		r->link.caps.mtu = 1500;
	r->link.caps.max_frame = 65535;
	strcpy(r->link.name, "rig");
	assert_int_equal(lwr__stack_add_link(&r->stack, &r->link), 0);
}

void rig_close(struct rig *r)
{
	rig_clear(r);
	r->link.ops->close(&r->link);
	lwr__stack_fini(&r->stack);
	uv_run(&r->uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&r->uv), 0);
}

/* ---- frames -------------------------------------------------------------- */

void rig_flush(struct rig *r)
{
	lwr__stack_flush(&r->stack);
}

void rig_send_meta(struct rig *r, const void *frame, size_t len,
		   const struct lwr_frame_meta *meta)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);

	assert_non_null(p);
	memcpy(p->payload, frame, len);
	lwr__stack_input(&r->link, p, meta);
	rig_flush(r);
}

void rig_send(struct rig *r, const void *frame, size_t len)
{
	struct lwr_frame_meta meta = { 0 };

	rig_send_meta(r, frame, len, &meta);
}

void rig_later(struct rig *r, uint64_t ms)
{
	r->uv.time += ms;
}

void rig_clear(struct rig *r)
{
	for (unsigned i = 0; i < r->frames; i++)
		free(r->frame[i].data);
	r->frames = 0;
}

const struct rig_frame *rig_frame(struct rig *r, unsigned i)
{
	const struct rig_frame *f = &r->frame[i];

	if (i >= r->frames)
		fail_msg("frame %u of %u", i, r->frames);
	assert_int_equal(f->drop, LWR_DROP_NONE);
	assert_true(f->csum_valid);
	assert_memory_equal(f->data + 6, r->config.net.gateway_mac, 6);
	return f;
}

struct lwr_addr rig_addr(const char *text)
{
	struct lwr_addr a;

	assert_int_equal(lwr__addr_parse(text, &a), 0);
	return a;
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

static void put_ip6(struct lwr_cursor *c, const struct lwr_addr *src,
		    const struct lwr_addr *dst, uint8_t proto, uint8_t ttl,
		    size_t len)
{
	lwr__cursor_put_u32(c, 6u << 28);
	lwr__cursor_put_u16(c, (uint16_t)len);
	lwr__cursor_put_u8(c, proto);
	lwr__cursor_put_u8(c, ttl);
	lwr__cursor_put_bytes(c, src->b, 16);
	lwr__cursor_put_bytes(c, dst->b, 16);
}

static void fill_csum(uint8_t *l4, size_t len, const struct lwr_addr *src,
		      const struct lwr_addr *dst, uint8_t proto)
{
	size_t at = proto == LWR_PROTO_UDP ? 6 :
		    proto == LWR_PROTO_TCP ? 16 :
					     2;
	uint64_t sum = 0;
	uint16_t csum;

	if (proto != LWR_PROTO_ICMP)
		sum = lwr__csum_pseudo(src, dst, proto, (uint32_t)len);
	memset(l4 + at, 0, 2);
	csum = lwr__csum(sum, l4, len);
	if (csum == 0 && proto == LWR_PROTO_UDP)
		csum = 0xffff;
	memcpy(l4 + at, &csum, 2);
}

size_t rig_ip(uint8_t *buf, const char *src, const char *dst, uint8_t proto,
	      uint8_t ttl, const void *l4, size_t len)
{
	static const uint8_t gateway[6] = { 0x52, 0x55, 10, 0, 2, 2 };
	struct lwr_cursor c = lwr__cursor(buf, RIG_FRAME_MAX);
	struct lwr_addr s = rig_addr(src), d = rig_addr(dst);
	bool four = lwr__addr_is4(&s);
	uint8_t group[6];

	memset(group, 0xff, sizeof(group));
	lwr__cursor_put_bytes(&c, lwr__addr_is_multicast(&d) ? group : gateway,
			      6);
	lwr__cursor_put_bytes(&c, rig_mac, 6);
	lwr__cursor_put_u16(&c, four ? LWR_ETHERTYPE_IP4 : LWR_ETHERTYPE_IP6);
	if (four)
		put_ip4(&c, &s, &d, proto, ttl, len);
	else
		put_ip6(&c, &s, &d, proto, ttl, len);
	memcpy(c.p, l4, len);
	fill_csum(c.p, len, &s, &d, proto);
	assert_false(c.bad);
	return (size_t)(c.p - buf) + len;
}

size_t rig_udp(uint8_t *buf, const char *src, uint16_t sport, const char *dst,
	       uint16_t dport, const void *data, size_t len)
{
	static uint8_t l4[RIG_FRAME_MAX];
	struct lwr_cursor c = lwr__cursor(l4, sizeof(l4));

	lwr__cursor_put_u16(&c, sport);
	lwr__cursor_put_u16(&c, dport);
	lwr__cursor_put_u16(&c, (uint16_t)(8 + len));
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_bytes(&c, data, len);
	return rig_ip(buf, src, dst, LWR_PROTO_UDP, 64, l4, 8 + len);
}

const uint8_t *rig_payload(const struct rig_frame *f, size_t *len)
{
	assert_true(f->pkt.l4_len >= 8);
	*len = f->pkt.l4_len - 8;
	return f->data + f->pkt.l4 + 8;
}
