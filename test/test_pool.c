/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/dhcp_client.h"

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

/* DISCOVER with a client identifier (RFC 2132 9.14). */
static void identified(struct rig *r, const uint8_t *mac, const char *id,
		       uint8_t len, const char *offered)
{
	struct message m = message(DISCOVER);

	rig_clear(r);
	m.mac = mac;
	add(&m, 61, id, len);
	send_message(r, &m);
	expect_to(r, OFFER, mac, offered);
}

static void another_identity_of_a_machine_keeps_the_address(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	identified(r, mac_a, "\xff\x01\x02\x03\x04", 5, "10.0.2.15");
}

static void identifier_counts_for_more_than_hardware(void **state)
{
	struct rig *r = *state;

	take(r, mac_b, "10.0.2.15");
	identified(r, mac_a, "\xff\x01\x02\x03\x04", 5, "10.0.2.16");
	/* A new card. */
	identified(r, mac_c, "\xff\x01\x02\x03\x04", 5, "10.0.2.16");
}

static void hardware_identifier_is_the_same_as_none(void **state)
{
	struct rig *r = *state;

	take(r, mac_a, "10.0.2.15");
	identified(r, mac_a, "\x01\x02\0\0\0\x01\x01", 7, "10.0.2.15");
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
