/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

static unsigned not_taken;

static struct lwr_services services;

static void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)r;
	if (!lwr__dhcp_input(&services, pkt))
		not_taken++;
}

static int setup(void **state)
{
	static struct rig r;

	not_taken = 0;
	rig_init(&r);
	r.on_packet = on_packet;
	rig_open(&r);
	lwr__services_init(&services, &r.stack, &r.dns);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	lwr__services_fini(&services);
	rig_close(*state);
	return 0;
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

static struct message message(uint8_t type)
{
	struct message m = { .op = 1, .htype = 1, .hlen = 6 };

	if (type) {
		m.options[m.len++] = 53;
		m.options[m.len++] = 1;
		m.options[m.len++] = type;
	}
	return m;
}

static void add(struct message *m, uint8_t code, const void *v, size_t len)
{
	m->options[m->len++] = code;
	m->options[m->len++] = (uint8_t)len;
	memcpy(m->options + m->len, v, len);
	m->len += len;
}

static void add_addr(struct message *m, uint8_t code, const char *text)
{
	struct lwr_addr a = rig_addr(text);

	add(m, code, a.b + 12, 4);
}

static void put_addr(struct lwr_cursor *c, const char *text)
{
	struct lwr_addr a = rig_addr(text ? text : "0.0.0.0");

	lwr__cursor_put_bytes(c, a.b + 12, 4);
}

static void send_message(struct rig *r, const struct message *m)
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

static const uint8_t *option(const struct reply *p, uint8_t code, uint8_t *len)
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

static void expect_option(const struct reply *p, uint8_t code, const char *v,
			  size_t len)
{
	uint8_t have;
	const uint8_t *o = option(p, code, &have);

	if (!o)
		fail_msg("no option %u", code);
	assert_int_equal(have, len);
	assert_memory_equal(o, v, len);
}

static void expect_none(const struct reply *p, uint8_t code)
{
	uint8_t len;

	if (option(p, code, &len))
		fail_msg("option %u", code);
}

/* Option codes in their order, as text of bytes. */
static void expect_order(const struct reply *p, const char *codes)
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

static struct reply expect_reply(struct rig *r, uint8_t type, const char *dst,
				 const char *yiaddr)
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

static void expect_silence(struct rig *r)
{
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.dhcp_acks, 0);
	assert_int_equal(not_taken, 0);
}

/* ---- tests --------------------------------------------------------------- */

static void discover_gets_an_offer(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	assert_memory_equal(p.frame->data, rig_mac, 6);
	expect_option(&p, 51, "\0\x01\x51\x80", 4);
	expect_option(&p, 1, "\xff\xff\xff\0", 4);
	expect_option(&p, 3, "\x0a\0\x02\x02", 4);
	expect_option(&p, 6, "\x0a\0\x02\x03", 4);
	expect_option(&p, 26, "\x05\xdc", 2);
	expect_option(&p, 28, "\x0a\0\x02\xff", 4);
	expect_option(&p, 58, "\0\0\xa8\xc0", 4);
	expect_option(&p, 59, "\0\x01\x27\x50", 4);
	expect_none(&p, 15);
	assert_int_equal(r->link.stats.dhcp_acks, 0);
}

static void discover_with_rapid_commit_gets_an_ack(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	add(&m, 80, "", 0);
	send_message(r, &m);
	p = expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 80, "", 0);
	expect_option(&p, 51, "\0\x01\x51\x80", 4);
	assert_int_equal(r->link.stats.dhcp_acks, 1);
}

static void broadcast_flag_is_honoured(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	m.flags = 0x8000;
	send_message(r, &m);
	p = expect_reply(r, OFFER, "255.255.255.255", "10.0.2.15");
	assert_memory_equal(p.frame->data, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(p.b + 10, "\x80\0", 2);
}

static void giaddr_is_ignored(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;

	m.giaddr = "192.0.2.1";
	send_message(r, &m);
	(void)expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
}

static void selecting_gets_an_ack(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;
	struct reply p;

	add_addr(&m, 50, "10.0.2.15");
	add_addr(&m, 54, "10.0.2.2");
	send_message(r, &m);
	p = expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 51, "\0\x01\x51\x80", 4);
	assert_int_equal(r->link.stats.dhcp_acks, 1);
}

static void selecting_another_server_is_left_alone(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;

	add_addr(&m, 50, "10.0.2.15");
	add_addr(&m, 54, "10.0.2.3");
	send_message(r, &m);
	expect_silence(r);
}

static void init_reboot_gets_ack_or_nak(void **state)
{
	struct message m = message(REQUEST);
	struct message foreign = message(REQUEST);
	struct rig *r = *state;
	struct reply p;

	add_addr(&m, 50, "10.0.2.15");
	send_message(r, &m);
	(void)expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
	rig_clear(r);
	add_addr(&foreign, 50, "192.168.1.5");
	send_message(r, &foreign);
	p = expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	expect_none(&p, 51);
	expect_none(&p, 1);
	assert_int_equal(r->link.stats.dhcp_acks, 1);
}

static void renewing_is_answered_to_the_address(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;
	struct reply p;

	m.ciaddr = "10.0.2.15";
	m.src = "10.0.2.15";
	m.dst = "10.0.2.2";
	m.flags = 0x8000;
	send_message(r, &m);
	p = expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
	assert_memory_equal(p.b + 12, "\x0a\0\x02\x0f", 4);
	assert_int_equal(r->link.stats.dhcp_acks, 1);
}

static void rebinding_gets_ack_or_nak(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;
	struct reply p;

	m.ciaddr = "10.0.2.15";
	m.src = "10.0.2.15";
	send_message(r, &m);
	(void)expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
	rig_clear(r);
	m.ciaddr = "10.0.2.99";
	m.src = "10.0.2.99";
	send_message(r, &m);
	p = expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	assert_memory_equal(p.b + 12, "\0\0\0\0", 4);
}

static void request_for_nothing_is_left_alone(void **state)
{
	struct message m = message(REQUEST);

	send_message(*state, &m);
	expect_silence(*state);
}

static void inform_gets_parameters_without_a_lease(void **state)
{
	struct message m = message(INFORM);
	struct rig *r = *state;
	struct reply p;

	m.ciaddr = "10.0.2.77";
	m.src = "10.0.2.77";
	send_message(r, &m);
	p = expect_reply(r, ACK, "10.0.2.77", "0.0.0.0");
	expect_option(&p, 6, "\x0a\0\x02\x03", 4);
	expect_none(&p, 51);
	expect_none(&p, 58);
	expect_none(&p, 59);
	assert_int_equal(r->link.stats.dhcp_acks, 0);
}

static void decline_and_release_get_no_reply(void **state)
{
	struct message decline = message(DECLINE), release = message(RELEASE);
	struct rig *r = *state;

	add_addr(&decline, 50, "10.0.2.15"); /* which it never had */
	send_message(r, &decline);
	release.ciaddr = "10.0.2.15";
	release.src = "10.0.2.15";
	release.dst = "10.0.2.2";
	send_message(r, &release);
	expect_silence(r);
	assert_int_equal(r->warnings, 0);
}

static void unknown_types_get_no_reply(void **state)
{
	struct message offer = message(OFFER), odd = message(200);

	send_message(*state, &offer);
	send_message(*state, &odd);
	expect_silence(*state);
}

/* ---- several clients ----------------------------------------------------- */

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 1, 1 };
static const uint8_t mac_b[6] = { 2, 0, 0, 0, 1, 2 };
static const uint8_t mac_c[6] = { 2, 0, 0, 0, 1, 3 };

/* A message of a client, with option 50 where `addr` is not NULL. */
static void say(struct rig *r, uint8_t type, const uint8_t *mac,
		const char *addr)
{
	struct message m = message(type);

	rig_clear(r);
	m.mac = mac;
	if (addr)
		add_addr(&m, 50, addr);
	send_message(r, &m);
}

static void expect_to(struct rig *r, uint8_t type, const uint8_t *mac,
		      const char *addr)
{
	struct reply p = expect_reply(r, type, addr, addr);

	assert_memory_equal(p.frame->data, mac, 6);
	assert_memory_equal(p.b + 28, mac, 6);
}

static void take(struct rig *r, const uint8_t *mac, const char *addr)
{
	say(r, DISCOVER, mac, NULL);
	expect_to(r, OFFER, mac, addr);
	say(r, REQUEST, mac, addr);
	expect_to(r, ACK, mac, addr);
}

static void release(struct rig *r, const uint8_t *mac, const char *addr)
{
	struct message m = message(RELEASE);

	rig_clear(r);
	m.mac = mac;
	m.ciaddr = addr;
	m.src = addr;
	m.dst = "10.0.2.2";
	send_message(r, &m);
	assert_int_equal(r->frames, 0);
}

static void clients_get_addresses_of_their_own(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	take(r, mac_b, "10.0.2.16");
	take(r, mac_c, "10.0.2.17");
	take(r, mac_a, "10.0.2.15");
	say(r, REQUEST, mac_b, "10.0.2.15");
	(void)expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	say(r, REQUEST, mac_b, "10.0.2.20"); /* free, but it has one */
	(void)expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	assert_int_equal(r->link.stats.dhcp_acks, 4);
	assert_int_equal(r->link.stats.dhcp_refused, 2);
}

static void forgotten_lease_is_granted_again(void **state)
{
	struct rig *r = *state;

	say(r, REQUEST, mac_b, "10.0.2.20");
	expect_to(r, ACK, mac_b, "10.0.2.20");
	take(r, mac_a, "10.0.2.15");
	take(r, mac_b, "10.0.2.20");
}

static void wanted_address_is_given_if_it_is_free(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	say(r, DISCOVER, mac_b, "10.0.2.30");
	expect_to(r, OFFER, mac_b, "10.0.2.30");
	say(r, DISCOVER, mac_c, "10.0.2.30");
	expect_to(r, OFFER, mac_c, "10.0.2.16");
}

static void another_identity_of_a_machine_keeps_the_address(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	rig_clear(r);
	m.mac = mac_a;
	add(&m, 61, "\xff\x01\x02\x03\x04", 5);
	send_message(r, &m);
	expect_to(r, OFFER, mac_a, "10.0.2.15");
}

static void identifier_counts_for_more_than_hardware(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;

	take(r, mac_b, "10.0.2.15");
	rig_clear(r);
	m.mac = mac_a;
	add(&m, 61, "\xff\x01\x02\x03\x04", 5);
	send_message(r, &m);
	expect_to(r, OFFER, mac_a, "10.0.2.16");
	rig_clear(r);
	m.mac = mac_c; /* a new card */
	send_message(r, &m);
	expect_to(r, OFFER, mac_c, "10.0.2.16");
}

static void hardware_identifier_is_the_same_as_none(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	rig_clear(r);
	m.mac = mac_a;
	add(&m, 61, "\x01\x02\0\0\0\x01\x01", 7);
	send_message(r, &m);
	expect_to(r, OFFER, mac_a, "10.0.2.15");
}

static void offer_is_kept_for_a_while(void **state)
{
	struct rig *r = *state;

	say(r, DISCOVER, mac_a, NULL);
	expect_to(r, OFFER, mac_a, "10.0.2.15");
	say(r, DISCOVER, mac_b, NULL);
	expect_to(r, OFFER, mac_b, "10.0.2.16");
	rig_later(r, 31000);
	say(r, DISCOVER, mac_c, NULL);
	expect_to(r, OFFER, mac_c, "10.0.2.15");
}

static void offer_is_free_when_another_server_was_chosen(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;

	say(r, DISCOVER, mac_a, NULL);
	rig_clear(r);
	m.mac = mac_a;
	add_addr(&m, 50, "10.0.2.15");
	add_addr(&m, 54, "10.0.2.9");
	send_message(r, &m);
	assert_int_equal(r->frames, 0);
	say(r, DISCOVER, mac_b, NULL);
	expect_to(r, OFFER, mac_b, "10.0.2.15");
}

static void declined_address_is_not_offered_for_a_while(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	say(r, DECLINE, mac_b, "10.0.2.15"); /* not its own */
	assert_int_equal(r->link.stats.dhcp_declined, 0);
	say(r, DECLINE, mac_a, "10.0.2.15");
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->warnings, 1);
	assert_int_equal(r->link.stats.dhcp_declined, 1);
	say(r, REQUEST, mac_b, "10.0.2.15");
	(void)expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	take(r, mac_a, "10.0.2.16");
	rig_later(r, 601 * 1000);
	take(r, mac_b, "10.0.2.15");
}

static void released_address_is_the_clients_until_needed(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	take(r, mac_b, "10.0.2.16");
	release(r, mac_c, "10.0.2.16"); /* not its own */
	say(r, DISCOVER, mac_c, NULL);
	expect_to(r, OFFER, mac_c, "10.0.2.17");
	release(r, mac_b, "10.0.2.16");
	take(r, mac_b, "10.0.2.16");
	release(r, mac_a, "10.0.2.15");
	take(r, mac_c, "10.0.2.17");
	say(r, DISCOVER, rig_mac, NULL);
	expect_to(r, OFFER, rig_mac, "10.0.2.15");
}

static void lease_expires(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	rig_later(r, 24 * 3600 * 1000 + 1);
	take(r, mac_b, "10.0.2.15");
	take(r, mac_a, "10.0.2.16");
}

static void bootp_gets_an_address_for_good(void **state)
{
	struct message m = message(0);
	struct rig *r = *state;
	struct reply p = { 0 };

	lwr__dns_parse(&r->dns, "search a.example b\n");
	m.mac = mac_a;
	m.bare = true;
	send_message(r, &m);
	assert_int_equal(r->frames, 1);
	p.frame = rig_frame(r, 0);
	assert_memory_equal(p.frame->data, mac_a, 6);
	p.b = rig_payload(p.frame, &p.len);
	assert_int_equal(p.len, 300);
	assert_memory_equal(p.b + 16, "\x0a\0\x02\x0f", 4);
	expect_order(&p, "\x01\x03\x06\x0f");
	rig_later(r, 100ull * 24 * 3600 * 1000);
	take(r, mac_b, "10.0.2.16");
}

static void exhausted_pool_reuses_what_is_free_longest(void **state)
{
	uint8_t mac[6] = { 2, 0, 0, 0, 9, 0 };
	struct rig *r = *state;
	char addr[20];

	for (unsigned i = 0; i < 64; i++) {
		snprintf(addr, sizeof(addr), "10.0.2.%u", 15 + i);
		mac[5] = (uint8_t)i;
		take(r, mac, addr);
	}
	say(r, DISCOVER, mac_a, NULL);
	assert_int_equal(r->frames, 0);
	assert_int_equal(r->link.stats.dhcp_refused, 1);
	mac[5] = 20;
	release(r, mac, "10.0.2.35");
	rig_later(r, 10);
	mac[5] = 10;
	release(r, mac, "10.0.2.25");
	take(r, mac_a, "10.0.2.35");
	take(r, mac_b, "10.0.2.25");
}

static void add_lease(struct rig *r, const uint8_t *mac, const char *addr,
		      const char *name)
{
	struct lwr_lease l = { .addr = rig_addr(addr) };

	memcpy(l.mac, mac, 6);
	if (name)
		memcpy(l.name, name, strlen(name) + 1);
	assert_int_equal(lwr__net_add_lease(&r->config.net, &l), 0);
}

static void lease_is_for_its_hardware_address_only(void **state)
{
	struct rig *r = *state;

	add_lease(r, mac_b, "10.0.2.15", NULL);
	add_lease(r, mac_c, "10.0.2.200", NULL); /* beyond the pool */
	take(r, mac_a, "10.0.2.16");
	take(r, mac_b, "10.0.2.15");
	take(r, mac_c, "10.0.2.200");
	say(r, REQUEST, mac_a, "10.0.2.200");
	(void)expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	say(r, REQUEST, mac_c, "10.0.2.17");
	(void)expect_reply(r, NAK, "255.255.255.255", "0.0.0.0");
	rig_later(r, 25 * 3600 * 1000);
	say(r, DISCOVER, rig_mac, NULL);
	expect_to(r, OFFER, rig_mac, "10.0.2.17");
}

static void declined_lease_gives_way_to_another_address(void **state)
{
	struct rig *r = *state;

	add_lease(r, mac_a, "10.0.2.50", NULL);
	take(r, mac_a, "10.0.2.50");
	say(r, DECLINE, mac_a, "10.0.2.50");
	take(r, mac_a, "10.0.2.15");
	rig_later(r, 601 * 1000);
	take(r, mac_a, "10.0.2.50");
}

/* ---- names --------------------------------------------------------------- */

static void host_name_is_the_leases_or_the_clients(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	add(&m, 12, "box-1\0", 6);
	add(&m, 55, "\x0c", 1);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 12, "box-1", 5);
	rig_clear(r);
	m.mac = mac_b;
	add_lease(r, mac_b, "10.0.2.77", "build");
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.77", "10.0.2.77");
	expect_option(&p, 12, "build", 5);
}

static void impossible_host_name_is_none(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	add(&m, 12, "a b", 3);
	add(&m, 55, "\x0c", 1);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_none(&p, 12);
}

static void fqdn_is_answered_nobody_updates_dns(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	add(&m, 81,
	    "\x05\0\0\x03"
	    "box\x01"
	    "d\0",
	    10);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 81,
		      "\x0e\xff\xff\x03"
		      "box\x01"
		      "d\0",
		      10);
	rig_clear(r);
	m = message(DISCOVER);
	add(&m, 81, "\0\0\0box", 6);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 81,
		      "\x08\xff\xff"
		      "box",
		      6);
	rig_clear(r);
	m = message(DISCOVER);
	add(&m, 81,
	    "\x04\0\0\x09"
	    "box",
	    7); /* a label that runs over */
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_option(&p, 81, "\x0c\xff\xff", 3);
}

static void what_does_not_fit_goes_on_in_file(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	char text[100] = "search ";
	struct reply p;
	uint8_t id[230];

	memset(id, 1, sizeof(id));
	for (size_t i = 0; i < 61; i++)
		text[7 + i] = i % 2 ? ' ' : 'a';
	lwr__dns_parse(&r->dns, text);
	add(&m, 61, id, sizeof(id));
	add(&m, 55, "\x01\x03\x77\x06", 4);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	assert_true(p.len <= 576 - 28);
	expect_option(&p, 3, "\x0a\0\x02\x02", 4);
	expect_option(&p, 52, "\x01", 1);
	expect_none(&p, 119);
	assert_memory_equal(p.b + 108,
			    "\x77\x5d\x01"
			    "a\0",
			    5);
	assert_memory_equal(p.b + 108 + 95, "\x06\x04\x0a\0\x02\x03\xff", 7);
	assert_memory_equal(p.b + 44, "\0\0\0", 3);
}

static void options_come_in_the_clients_order(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	lwr__dns_parse(&r->dns, "search a.example b\n");
	add(&m, 55, "\x1a\x77\x0f\x06\x0c\x1c\x01\x03\x79\x06\x33\xf9", 12);
	add(&m, 61, "\x01\x02\x03", 3);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_order(&p,
		     "\x35\x36\x33\x3d\x1a\x77\x0f\x06\x1c\x01\x03\x79\xf9");
	expect_option(&p, 121, "\0\x0a\0\x02\x02", 5);
	expect_option(&p, 61, "\x01\x02\x03", 3);
	expect_option(&p, 15, "a.example", 9);
	expect_option(&p, 119, "\1a\7example\0\1b\0", 14);
}

static void mask_precedes_the_router(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct reply p;

	add(&m, 55, "\x06\x03\x01", 3);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_order(&p, "\x35\x36\x33\x06\x01\x03");
	/* Not asked for, not given. */
	rig_clear(r);
	m = message(DISCOVER);
	add(&m, 55, "\x03", 1);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	expect_order(&p, "\x35\x36\x33\x03");
}

static void reply_keeps_to_the_clients_size(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	char text[300] = "search ";
	uint8_t id[255], len;
	struct reply p;

	memset(id, 1, sizeof(id));
	for (size_t i = 0; i < 255; i++)
		text[7 + i] = i % 2 ? ' ' : 'a';
	lwr__dns_parse(&r->dns, text);
	add(&m, 57, "\0\x10", 2); /* less than every client must take */
	add(&m, 61, id, sizeof(id));
	add(&m, 55, "\x77\x06", 2);
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	assert_true(p.len <= 576 - 28);
	expect_none(&p, 119);
	expect_option(&p, 6, "\x0a\0\x02\x03", 4);
	rig_clear(r);
	m.options[5] = 0xff; /* 65296: the MTU bounds it */
	send_message(r, &m);
	p = expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
	assert_non_null(option(&p, 119, &len));
	assert_int_equal(len, 255);
}

static void options_go_on_in_file(void **state)
{
	static const char file[128] = { 50, 4, 10, 0, 2, 15, (char)255 };
	struct message m = message(REQUEST);
	struct rig *r = *state;

	m.file = file;
	send_message(r, &m); /* without option 52 it is a file name */
	expect_silence(r);
	add(&m, 52, "\x01", 1);
	send_message(r, &m);
	(void)expect_reply(r, ACK, "10.0.2.15", "10.0.2.15");
}

static void impossible_messages_are_dropped(void **state)
{
	struct rig *r = *state;
	struct message m = message(DISCOVER);

	m.op = 2;
	send_message(r, &m);
	m.op = 1;
	m.htype = 6;
	send_message(r, &m);
	m.htype = 1;
	m.hlen = 16;
	send_message(r, &m);
	m.hlen = 6;
	add(&m, 55, "\x01\x03", 2);
	m.cut = 2; /* in option 55 */
	send_message(r, &m);
	m.cut = 4; /* its length too */
	send_message(r, &m);
	m.cut = m.len + 2; /* in the magic number */
	send_message(r, &m);
	m.cut = m.len + 200;
	send_message(r, &m);
	assert_int_equal(r->link.stats.drop_malformed, 7);
	expect_silence(r);
	m.cut = 1; /* only END is missing: every option is there */
	send_message(r, &m);
	(void)expect_reply(r, OFFER, "10.0.2.15", "10.0.2.15");
}

/* Options too short for their type read as not said. */
static void short_options_are_harmless(void **state)
{
	struct message m = message(REQUEST);
	struct rig *r = *state;

	add(&m, 50, "\x0a\0", 2);
	add(&m, 54, "", 0);
	add(&m, 57, "\x01", 1);
	add(&m, 55, "", 0);
	add(&m, 61, "", 0);
	send_message(r, &m);
	expect_silence(r);
}

static void other_udp_is_left_alone(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct rig *r = *state;
	size_t len;

	len = rig_udp(frame, "10.0.2.15", 68, "192.0.2.1", 67, "x", 1);
	rig_send(r, frame, len);
	len = rig_udp(frame, "10.0.2.15", 68, "10.0.2.2", 69, "x", 1);
	rig_send(r, frame, len);
	assert_int_equal(not_taken, 2);
	assert_int_equal(r->frames, 0);
}

static void small_subnets_have_their_own_mask(void **state)
{
	struct message m = message(DISCOVER);
	struct rig *r = *state;
	struct lwr_prefix p;
	struct reply reply;

	assert_int_equal(lwr__prefix_parse("192.168.7.16/29", &p, NULL), 0);
	assert_int_equal(lwr__net_subnet(&r->config.net, &p), 0);
	send_message(r, &m);
	assert_int_equal(r->frames, 1);
	reply.frame = rig_frame(r, 0);
	reply.b = rig_payload(reply.frame, &reply.len);
	expect_option(&reply, 1, "\xff\xff\xff\xf8", 4);
	expect_option(&reply, 28, "\xc0\xa8\x07\x17", 4);
	expect_option(&reply, 3, "\xc0\xa8\x07\x12", 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(discover_gets_an_offer),
		TEST(discover_with_rapid_commit_gets_an_ack),
		TEST(broadcast_flag_is_honoured),
		TEST(giaddr_is_ignored),
		TEST(selecting_gets_an_ack),
		TEST(selecting_another_server_is_left_alone),
		TEST(init_reboot_gets_ack_or_nak),
		TEST(renewing_is_answered_to_the_address),
		TEST(rebinding_gets_ack_or_nak),
		TEST(request_for_nothing_is_left_alone),
		TEST(inform_gets_parameters_without_a_lease),
		TEST(decline_and_release_get_no_reply),
		TEST(unknown_types_get_no_reply),
		TEST(clients_get_addresses_of_their_own),
		TEST(forgotten_lease_is_granted_again),
		TEST(wanted_address_is_given_if_it_is_free),
		TEST(another_identity_of_a_machine_keeps_the_address),
		TEST(identifier_counts_for_more_than_hardware),
		TEST(hardware_identifier_is_the_same_as_none),
		TEST(offer_is_kept_for_a_while),
		TEST(offer_is_free_when_another_server_was_chosen),
		TEST(declined_address_is_not_offered_for_a_while),
		TEST(released_address_is_the_clients_until_needed),
		TEST(lease_expires),
		TEST(bootp_gets_an_address_for_good),
		TEST(exhausted_pool_reuses_what_is_free_longest),
		TEST(lease_is_for_its_hardware_address_only),
		TEST(declined_lease_gives_way_to_another_address),
		TEST(host_name_is_the_leases_or_the_clients),
		TEST(impossible_host_name_is_none),
		TEST(fqdn_is_answered_nobody_updates_dns),
		TEST(what_does_not_fit_goes_on_in_file),
		TEST(options_come_in_the_clients_order),
		TEST(mask_precedes_the_router),
		TEST(reply_keeps_to_the_clients_size),
		TEST(options_go_on_in_file),
		TEST(impossible_messages_are_dropped),
		TEST(short_options_are_harmless),
		TEST(other_udp_is_left_alone),
		TEST(small_subnets_have_their_own_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
