/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/dhcp_client.h"

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
		TEST(impossible_messages_are_dropped),
		TEST(short_options_are_harmless),
		TEST(other_udp_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
