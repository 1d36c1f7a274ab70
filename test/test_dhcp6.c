/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/dhcp6.h"
#include "test/services_rig.h"

static int setup(void **state)
{
	return services_setup(state, lwr__dhcp6_input);
}

/* ---- the client ---------------------------------------------------------- */

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 1, 1 };
static const uint8_t mac_b[6] = { 2, 0, 0, 0, 1, 2 };
static const char server_id[10] = "\0\3\0\1\x52\x55\x0a\0\x02\x02";

struct message {
	uint8_t b[900];
	size_t len;
	const uint8_t *mac;
	const char *src, *dst; /* NULL: link-local, ff02::1:2 */
};

static void add(struct message *m, uint16_t code, const void *v, size_t len)
{
	struct lwr_cursor c = lwr__cursor(m->b + m->len, 4);

	lwr__cursor_put_u16(&c, code);
	lwr__cursor_put_u16(&c, (uint16_t)len);
	memcpy(m->b + m->len + 4, v, len);
	m->len += 4 + len;
}

/* Of the client whose DUID is made of its hardware address. */
static struct message message(uint8_t type, const uint8_t *mac)
{
	struct message m = { .b = { type, 1, 2, 3 }, .len = 4, .mac = mac };
	uint8_t duid[10] = { 0, 3, 0, 1 };

	memcpy(duid + 4, mac, 6);
	add(&m, 1, duid, sizeof(duid));
	return m;
}

static void add_ia(struct message *m, uint16_t kind, uint32_t iaid,
		   const char *addr)
{
	uint8_t b[40] = { 0 };
	size_t len = kind == 4 ? 4 : 12;
	struct lwr_addr a;

	b[3] = (uint8_t)iaid;
	if (addr) {
		a = rig_addr(addr);
		b[len + 1] = 5;
		b[len + 3] = 24;
		memcpy(b + len + 4, a.b, 16);
		len += 28;
	}
	add(m, kind, b, len);
}

static void send_message(struct rig *r, const struct message *m)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t len;

	rig_clear(r);
	len = rig_udp(frame, m->src ? m->src : "fe80::5054", 546,
		      m->dst ? m->dst : "ff02::1:2", 547, m->b, m->len);
	memcpy(frame + 6, m->mac, 6);
	rig_send(r, frame, len);
}

/* A message with one IA_NA, and our server identifier where `us`. */
static void say(struct rig *r, uint8_t type, const uint8_t *mac,
		const char *addr, bool us)
{
	struct message m = message(type, mac);

	if (us)
		add(&m, 2, server_id, sizeof(server_id));
	add_ia(&m, 3, 7, addr);
	send_message(r, &m);
}

/* ---- the reply ----------------------------------------------------------- */

/* The n-th option of a code within len bytes, or NULL. */
static const uint8_t *find(const uint8_t *p, size_t len, uint16_t code,
			   unsigned n, size_t *olen)
{
	const uint8_t *end = p + len;

	while (p < end) {
		assert_true(end - p >= 4);
		*olen = (size_t)(p[2] << 8 | p[3]);
		assert_true(*olen <= (size_t)(end - p - 4));
		if ((p[0] << 8 | p[1]) == code && n-- == 0)
			return p + 4;
		p += 4 + *olen;
	}
	return NULL;
}

static const uint8_t *option(struct rig *r, uint16_t code, unsigned n,
			     size_t *olen)
{
	size_t len;
	const uint8_t *b = rig_payload(rig_frame(r, 0), &len);

	return find(b + 4, len - 4, code, n, olen);
}

static void expect_reply(struct rig *r, uint8_t type)
{
	const struct rig_frame *f = rig_frame(r, 0);
	struct lwr_addr ll = rig_addr("fe80::2"), c = rig_addr("fe80::5054");
	const uint8_t *b, *o;
	size_t len;

	assert_int_equal(r->frames, 1);
	assert_true(lwr__addr_equal(&f->pkt.src, &ll));
	assert_true(lwr__addr_equal(&f->pkt.dst, &c));
	assert_int_equal(f->pkt.dport, 546);
	b = rig_payload(f, &len);
	assert_int_equal(b[0], type);
	assert_memory_equal(b + 1, "\1\2\3", 3);
	o = option(r, 2, 0, &len);
	assert_non_null(o);
	assert_int_equal(len, 10);
	assert_memory_equal(o, server_id, 10);
}

static void expect_silence(struct rig *r)
{
	assert_int_equal(r->frames, 0);
	assert_int_equal(not_taken, 0);
}

/* The n-th address of the IA; valid, or taken back. */
static void expect_addr(struct rig *r, unsigned n, const char *text, bool valid)
{
	struct lwr_addr a = rig_addr(text);
	size_t len, alen;
	const uint8_t *ia = option(r, 3, 0, &len), *o;

	assert_non_null(ia);
	o = find(ia + 12, len - 12, 5, n, &alen);
	assert_non_null(o);
	assert_int_equal(alen, 24);
	assert_memory_equal(o, a.b, 16);
	assert_memory_equal(
		o + 16,
		valid ? "\0\0\xa8\xc0\0\x01\x51\x80" : "\0\0\0\0\0\0\0\0", 8);
}

static void expect_ia_status(struct rig *r, uint16_t kind, uint8_t status)
{
	size_t len, slen, head = kind == 4 ? 4 : 12;
	const uint8_t *ia = option(r, kind, 0, &len), *o;

	assert_non_null(ia);
	assert_null(find(ia + head, len - head, 5, 0, &slen));
	o = find(ia + head, len - head, 13, 0, &slen);
	assert_non_null(o);
	assert_int_equal(o[1], status);
}

static void expect_status(struct rig *r, uint8_t status)
{
	size_t len;
	const uint8_t *o = option(r, 13, 0, &len);

	assert_non_null(o);
	assert_int_equal(o[0] << 8 | o[1], status);
}

/* ---- tests --------------------------------------------------------------- */

static void solicit_is_answered_and_nobody_waits(void **state)
{
	struct rig *r = *state;
	const uint8_t *o;
	size_t len;

	lwr__dns_parse(&r->dns, "search a.example b\n");
	say(r, LWR_DHCP6_SOLICIT, mac_a, NULL, false);
	expect_reply(r, LWR_DHCP6_ADVERTISE);
	expect_addr(r, 0, "fd00::15", true);
	o = option(r, 7, 0, &len);
	assert_non_null(o);
	assert_int_equal(o[0], 255);
	o = option(r, 1, 0, &len);
	assert_non_null(o);
	assert_memory_equal(o, "\0\3\0\1\2\0\0\0\1\1", 10);
	o = option(r, 23, 0, &len);
	assert_memory_equal(o, r->config.net.dns6.b, 16);
	o = option(r, 24, 0, &len);
	assert_int_equal(len, 14);
	assert_memory_equal(o, "\1a\7example\0\1b", 14);
	assert_int_equal(r->link.stats.dhcp_acks, 0);
}

static void rapid_commit_is_one_step(void **state)
{
	struct message m = message(LWR_DHCP6_SOLICIT, mac_a);
	struct rig *r = *state;
	size_t len;

	add(&m, 14, "", 0);
	add_ia(&m, 3, 1, NULL);
	send_message(r, &m);
	expect_reply(r, LWR_DHCP6_REPLY);
	assert_non_null(option(r, 14, 0, &len));
	expect_addr(r, 0, "fd00::15", true);
	assert_int_equal(r->link.stats.dhcp_acks, 1);
}

static void request_binds_and_others_get_others(void **state)
{
	struct rig *r = *state;

	say(r, LWR_DHCP6_REQUEST, mac_a, "fd00::15", true);
	expect_reply(r, LWR_DHCP6_REPLY);
	expect_addr(r, 0, "fd00::15", true);
	say(r, LWR_DHCP6_REQUEST, mac_b, "fd00::15", true);
	expect_addr(r, 0, "fd00::16", true);
	say(r, LWR_DHCP6_RENEW, mac_a, "fd00::15", true);
	expect_addr(r, 0, "fd00::15", true);
	say(r, LWR_DHCP6_RENEW, mac_b, "fd00::15", true);
	expect_addr(r, 0, "fd00::15", false);
	expect_addr(r, 1, "fd00::16", true);
	assert_int_equal(r->link.stats.dhcp_acks, 4);
}

static void rebind_of_a_foreign_address_gets_a_new_one(void **state)
{
	struct rig *r = *state;

	say(r, LWR_DHCP6_REBIND, mac_a, "2001:db8::5", false);
	expect_reply(r, LWR_DHCP6_REPLY);
	expect_addr(r, 0, "2001:db8::5", false);
	expect_addr(r, 1, "fd00::15", true);
	say(r, LWR_DHCP6_REBIND, mac_b, "fd00::20", false);
	expect_addr(r, 0, "fd00::20", true); /* as it was before a restart */
}

static void two_ias_of_one_client_get_two_addresses(void **state)
{
	struct message m = message(LWR_DHCP6_REQUEST, mac_a);
	struct rig *r = *state;
	const uint8_t *o;
	size_t len;

	add(&m, 2, server_id, sizeof(server_id));
	add_ia(&m, 3, 1, NULL);
	add_ia(&m, 3, 2, NULL);
	send_message(r, &m);
	expect_addr(r, 0, "fd00::15", true);
	o = option(r, 3, 1, &len);
	assert_non_null(o);
	assert_int_equal(o[3], 2);
	assert_int_equal(o[12 + 4 + 15], 0x16);
}

static void another_duid_of_a_machine_keeps_the_address(void **state)
{
	struct message m = { .b = { LWR_DHCP6_SOLICIT, 1, 2, 3 },
			     .len = 4,
			     .mac = mac_a };
	struct rig *r = *state;

	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, true);
	add(&m, 1, "\0\4abcdefghijklmnop", 18);
	add_ia(&m, 3, 99, NULL);
	send_message(r, &m);
	expect_addr(r, 0, "fd00::15", true);
}

static void confirm_says_whether_it_is_the_link(void **state)
{
	struct rig *r = *state;

	say(r, LWR_DHCP6_CONFIRM, mac_a, "fd00::77", false);
	expect_reply(r, LWR_DHCP6_REPLY);
	expect_status(r, LWR_DHCP6_SUCCESS);
	say(r, LWR_DHCP6_CONFIRM, mac_a, "2001:db8::5", false);
	expect_status(r, LWR_DHCP6_NOT_ON_LINK);
	say(r, LWR_DHCP6_CONFIRM, mac_a, NULL, false);
	expect_silence(r);
}

static void release_and_decline_are_confirmed(void **state)
{
	struct rig *r = *state;

	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, true);
	say(r, LWR_DHCP6_RELEASE, mac_b, "fd00::15", true);
	expect_status(r, LWR_DHCP6_SUCCESS);
	expect_ia_status(r, 3, LWR_DHCP6_NO_BINDING);
	say(r, LWR_DHCP6_RELEASE, mac_a, "fd00::15", true);
	expect_status(r, LWR_DHCP6_SUCCESS);
	say(r, LWR_DHCP6_REQUEST, mac_b, NULL, true);
	expect_addr(r, 0, "fd00::15", true);
	say(r, LWR_DHCP6_DECLINE, mac_b, "fd00::15", true);
	expect_status(r, LWR_DHCP6_SUCCESS);
	assert_int_equal(r->link.stats.dhcp_declined, 1);
	say(r, LWR_DHCP6_REQUEST, mac_b, NULL, true);
	expect_addr(r, 0, "fd00::16", true);
	rig_later(r, 601 * 1000);
	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, true);
	expect_addr(r, 0, "fd00::15", true);
}

static void information_request_gets_what_it_lists(void **state)
{
	struct message m = message(LWR_DHCP6_INFORMATION_REQUEST, mac_a);
	struct message bare = { .b = { LWR_DHCP6_INFORMATION_REQUEST, 1, 2, 3 },
				.len = 4,
				.mac = mac_a };
	struct rig *r = *state;
	size_t len;

	lwr__dns_parse(&r->dns, "search a.example b\n");
	add(&m, 6, "\0\x18", 2);
	send_message(r, &m);
	expect_reply(r, LWR_DHCP6_REPLY);
	assert_null(option(r, 23, 0, &len));
	assert_non_null(option(r, 24, 0, &len));
	send_message(r, &bare); /* a client may stay unnamed */
	expect_reply(r, LWR_DHCP6_REPLY);
	assert_null(option(r, 1, 0, &len));
	assert_non_null(option(r, 23, 0, &len));
	add_ia(&m, 3, 1, NULL);
	send_message(r, &m);
	expect_silence(r);
}

static void prefixes_and_temporary_addresses_are_not_given(void **state)
{
	struct message m = message(LWR_DHCP6_SOLICIT, mac_a);
	struct rig *r = *state;

	add_ia(&m, 25, 1, NULL);
	add_ia(&m, 4, 1, NULL);
	send_message(r, &m);
	expect_reply(r, LWR_DHCP6_ADVERTISE);
	expect_ia_status(r, 25, LWR_DHCP6_NO_PREFIX);
	expect_ia_status(r, 4, LWR_DHCP6_NO_ADDRS);
}

static void fqdn_is_answered_nobody_updates_dns(void **state)
{
	struct message m = message(LWR_DHCP6_SOLICIT, mac_a);
	struct rig *r = *state;
	const uint8_t *o;
	size_t len;

	add(&m, 39, "\1\3box", 5);
	send_message(r, &m);
	o = option(r, 39, 0, &len);
	assert_non_null(o);
	assert_int_equal(len, 5);
	assert_memory_equal(o, "\6\3box", 5);
}

static void lease_is_for_its_hardware_address(void **state)
{
	struct lwr_lease l = { .mac = { 2, 0, 0, 0, 1, 2 },
			       .addr = rig_addr("fd00::15") };
	struct rig *r = *state;

	assert_int_equal(lwr__net_add_lease(&r->config.net, &l), 0);
	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, true);
	expect_addr(r, 0, "fd00::16", true);
	say(r, LWR_DHCP6_REQUEST, mac_b, NULL, true);
	expect_addr(r, 0, "fd00::15", true);
}

static void without_ipv6_nothing_is_given_and_all_taken_back(void **state)
{
	struct rig *r = *state;

	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, true);
	services.ipv6 = false;
	say(r, LWR_DHCP6_SOLICIT, mac_b, NULL, false);
	expect_silence(r);
	say(r, LWR_DHCP6_CONFIRM, mac_a, "fd00::15", false);
	expect_silence(r);
	say(r, LWR_DHCP6_REQUEST, mac_b, NULL, true);
	expect_ia_status(r, 3, LWR_DHCP6_NO_ADDRS);
	say(r, LWR_DHCP6_RENEW, mac_a, "fd00::15", true);
	expect_addr(r, 0, "fd00::15", false);
}

static void not_for_this_server_is_left_alone(void **state)
{
	struct message m = message(LWR_DHCP6_REQUEST, mac_a);
	struct rig *r = *state;

	add(&m, 2, "\0\3\0\1\2\0\0\0\0\x77", 10);
	add_ia(&m, 3, 1, NULL);
	send_message(r, &m);
	expect_silence(r);
	say(r, LWR_DHCP6_SOLICIT, mac_a, NULL, true);
	expect_silence(r);
	say(r, LWR_DHCP6_REQUEST, mac_a, NULL, false);
	expect_silence(r);
	say(r, LWR_DHCP6_RECONFIGURE, mac_a, NULL, true);
	expect_silence(r);
	say(r, LWR_DHCP6_ADVERTISE, mac_a, NULL, true);
	expect_silence(r);
}

static void unicast_is_told_to_use_multicast(void **state)
{
	struct message m = message(LWR_DHCP6_RENEW, mac_a);
	struct rig *r = *state;

	m.dst = "fe80::2";
	add(&m, 2, server_id, sizeof(server_id));
	add_ia(&m, 3, 1, "fd00::15");
	send_message(r, &m);
	expect_reply(r, LWR_DHCP6_REPLY);
	expect_status(r, LWR_DHCP6_USE_MULTICAST);
	m = message(LWR_DHCP6_SOLICIT, mac_a);
	m.dst = "fe80::2";
	send_message(r, &m);
	expect_silence(r);
}

static void impossible_messages_are_dropped(void **state)
{
	struct message m = message(LWR_DHCP6_SOLICIT, mac_a);
	struct rig *r = *state;
	uint8_t duid[131] = { 0 };

	m.len--; /* the DUID is cut off */
	send_message(r, &m);
	m.len = 6; /* half a head */
	send_message(r, &m);
	m.len = 2;
	send_message(r, &m);
	m = message(LWR_DHCP6_SOLICIT, mac_a);
	add(&m, 3, "\0\0\0\1\0\0", 6); /* no whole IA_NA */
	send_message(r, &m);
	m = message(LWR_DHCP6_SOLICIT, mac_a);
	add(&m, 3, "\0\0\0\1\0\0\0\0\0\0\0\0\0\5\0\4\0\0\0\0", 20);
	send_message(r, &m);
	m = message(LWR_DHCP6_SOLICIT, mac_a);
	add(&m, 1, duid, sizeof(duid));
	send_message(r, &m);
	assert_int_equal(r->link.stats.drop_malformed, 6);
	expect_silence(r);
}

/* Everything at its largest still fits into the reply. */
static void largest_message_is_answered(void **state)
{
	struct message m = { .b = { LWR_DHCP6_SOLICIT, 1, 2, 3 },
			     .len = 4,
			     .mac = mac_a };
	struct rig *r = *state;
	char text[LWR_DOMAIN_MAX + 20] = "search ";
	uint8_t duid[130] = { 0, 4 }, name[129] = { 0 };
	size_t len;

	for (size_t i = 0; i < LWR_DOMAIN_MAX; i++)
		text[7 + i] = i % 2 ? ' ' : 'a';
	lwr__dns_parse(&r->dns, text);
	add(&m, 1, duid, sizeof(duid));
	add(&m, 39, name, sizeof(name));
	for (uint8_t i = 0; i < 8; i++)
		add_ia(&m, 3, i, "2001:db8::1");
	send_message(r, &m);
	expect_reply(r, LWR_DHCP6_ADVERTISE);
	assert_non_null(option(r, 3, 3, &len));
	assert_null(option(r, 3, 4, &len));
	assert_non_null(option(r, 39, 0, &len));
}

static void other_udp_is_left_alone(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct rig *r = *state;
	size_t len;

	len = rig_udp(frame, "fd00::15", 546, "2001:db8::1", 547, "x", 1);
	rig_send(r, frame, len);
	len = rig_udp(frame, "fd00::15", 546, "ff02::1:2", 548, "x", 1);
	rig_send(r, frame, len);
	assert_int_equal(not_taken, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(solicit_is_answered_and_nobody_waits),
		TEST(rapid_commit_is_one_step),
		TEST(request_binds_and_others_get_others),
		TEST(rebind_of_a_foreign_address_gets_a_new_one),
		TEST(two_ias_of_one_client_get_two_addresses),
		TEST(another_duid_of_a_machine_keeps_the_address),
		TEST(confirm_says_whether_it_is_the_link),
		TEST(release_and_decline_are_confirmed),
		TEST(information_request_gets_what_it_lists),
		TEST(prefixes_and_temporary_addresses_are_not_given),
		TEST(fqdn_is_answered_nobody_updates_dns),
		TEST(lease_is_for_its_hardware_address),
		TEST(without_ipv6_nothing_is_given_and_all_taken_back),
		TEST(not_for_this_server_is_left_alone),
		TEST(unicast_is_told_to_use_multicast),
		TEST(impossible_messages_are_dropped),
		TEST(largest_message_is_answered),
		TEST(other_udp_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
