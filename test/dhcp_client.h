/* SPDX-License-Identifier: BSD-3-Clause */
/* A DHCPv4 client: messages by hand, and what a reply must say. */
#ifndef LWR_TEST_DHCP_CLIENT_H
#define LWR_TEST_DHCP_CLIENT_H

#include "test/services_rig.h"

enum {
	DISCOVER = 1,
	OFFER,
	REQUEST,
	DECLINE,
	ACK,
	NAK,
	RELEASE,
	INFORM,
	XID = 0x12345678,
};

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 1, 1 };
static const uint8_t mac_b[6] = { 2, 0, 0, 0, 1, 2 };
static const uint8_t mac_c[6] = { 2, 0, 0, 0, 1, 3 };

static inline int setup(void **state)
{
	return services_setup(state, lwr__dhcp_input);
}

static inline void add_lease(struct rig *r, const uint8_t *mac,
			     const char *addr, const char *name)
{
	struct lwr_lease l = { .addr = rig_addr(addr) };

	memcpy(l.mac, mac, 6);
	if (name)
		memcpy(l.name, name, strlen(name) + 1);
	assert_int_equal(lwr__net_add_lease(&r->config.net, &l), 0);
}

/* ---- the client ---------------------------------------------------------- */

struct message {
	uint8_t op, htype, hlen;
	uint16_t flags;
	const char *ciaddr, *giaddr;
	const char *src, *dst; /* NULL: as a client without address */
	size_t cut; /* bytes left off at the end */
	uint8_t options[400];
	size_t len;
	const char *file; /* options in `file`, 128 bytes */
	const uint8_t *mac; /* NULL: rig_mac */
	bool bare; /* no magic number: the vendor area is zeros */
};

static inline struct message message(uint8_t type)
{
	struct message m = { .op = 1, .htype = 1, .hlen = 6 };

	if (type) {
		m.options[m.len++] = 53;
		m.options[m.len++] = 1;
		m.options[m.len++] = type;
	}
	return m;
}

static inline void add(struct message *m, uint8_t code, const void *v,
		       size_t len)
{
	m->options[m->len++] = code;
	m->options[m->len++] = (uint8_t)len;
	memcpy(m->options + m->len, v, len);
	m->len += len;
}

static inline void add_addr(struct message *m, uint8_t code, const char *text)
{
	struct lwr_addr a = rig_addr(text);

	add(m, code, a.b + 12, 4);
}

static inline void put_addr(struct lwr_cursor *c, const char *text)
{
	struct lwr_addr a = rig_addr(text ? text : "0.0.0.0");

	lwr__cursor_put_bytes(c, a.b + 12, 4);
}

static inline void send_message(struct rig *r, const struct message *m)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint8_t b[700] = { 0 };
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));
	size_t len;

	lwr__cursor_put_u8(&c, m->op);
	lwr__cursor_put_u8(&c, m->htype);
	lwr__cursor_put_u8(&c, m->hlen);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u32(&c, XID);
	lwr__cursor_put_u16(&c, 3);
	lwr__cursor_put_u16(&c, m->flags);
	put_addr(&c, m->ciaddr);
	put_addr(&c, NULL);
	put_addr(&c, NULL);
	put_addr(&c, m->giaddr);
	lwr__cursor_put_bytes(&c, m->mac ? m->mac : rig_mac, 6);
	c.p += 10 + 64;
	if (m->file)
		memcpy(c.p, m->file, 128);
	c.p += 128;
	c.left -= 10 + 64 + 128;
	if (m->bare) {
		lwr__cursor_bytes(&c, NULL, 64);
	} else {
		lwr__cursor_put_u32(&c, 0x63825363);
		lwr__cursor_put_bytes(&c, m->options, m->len);
		lwr__cursor_put_u8(&c, 255);
	}
	assert_false(c.bad);
	len = rig_udp(frame, m->src ? m->src : "0.0.0.0", 68,
		      m->dst ? m->dst : "255.255.255.255", 67, b,
		      sizeof(b) - c.left - m->cut);
	if (m->mac)
		memcpy(frame + 6, m->mac, 6);
	rig_send(r, frame, len);
}

/* ---- the reply ----------------------------------------------------------- */

struct reply {
	const uint8_t *b;
	size_t len;
	const struct rig_frame *frame;
};

static inline const uint8_t *option(const struct reply *p, uint8_t code,
				    uint8_t *len)
{
	size_t at = 240;

	for (;;) {
		assert_true(at < p->len);
		if (p->b[at] == 255)
			return NULL;
		assert_true(p->b[at] != 0 && at + 2 + p->b[at + 1] < p->len);
		*len = p->b[at + 1];
		if (p->b[at] == code)
			return p->b + at + 2;
		at += 2u + p->b[at + 1];
	}
}

static inline void expect_option(const struct reply *p, uint8_t code,
				 const char *v, size_t len)
{
	uint8_t have;
	const uint8_t *o = option(p, code, &have);

	if (!o)
		fail_msg("no option %u", code);
	assert_int_equal(have, len);
	assert_memory_equal(o, v, len);
}

static inline void expect_none(const struct reply *p, uint8_t code)
{
	uint8_t len;

	if (option(p, code, &len))
		fail_msg("option %u", code);
}

/* Option codes in their order, as text of bytes. */
static inline void expect_order(const struct reply *p, const char *codes)
{
	size_t at = 240, n = 0;

	for (; p->b[at] != 255; at += 2u + p->b[at + 1]) {
		assert_true(at < p->len);
		if (p->b[at] != (uint8_t)codes[n])
			fail_msg("option %u in place %zu", p->b[at], n);
		n++;
	}
	assert_int_equal(strlen(codes), n);
}

static inline struct reply expect_reply(struct rig *r, uint8_t type,
					const char *dst, const char *yiaddr)
{
	struct lwr_addr d = rig_addr(dst), y = rig_addr(yiaddr);
	struct lwr_addr gateway = rig_addr("10.0.2.2");
	struct reply p = { .frame = rig_frame(r, 0) };

	assert_int_equal(r->frames, 1);
	assert_true(lwr__addr_equal(&p.frame->pkt.src, &gateway));
	assert_true(lwr__addr_equal(&p.frame->pkt.dst, &d));
	assert_int_equal(p.frame->pkt.sport, 67);
	assert_int_equal(p.frame->pkt.dport, 68);
	p.b = rig_payload(p.frame, &p.len);
	assert_true(p.len >= 300);
	assert_memory_equal(p.b, "\x02\x01\x06\0\x12\x34\x56\x78\0\0", 10);
	assert_memory_equal(p.b + 16, y.b + 12, 4);
	assert_memory_equal(p.b + 24, "\0\0\0\0", 4);
	assert_memory_equal(p.b + 236, "\x63\x82\x53\x63", 4);
	expect_option(&p, 53, (const char *)&type, 1);
	expect_option(&p, 54, "\x0a\0\x02\x02", 4);
	return p;
}

static inline void expect_silence(struct rig *r)
{
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.dhcp_acks, 0);
	assert_int_equal(not_taken, 0);
}

#endif
