/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/dhcp_client.h"

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
		TEST(host_name_is_the_leases_or_the_clients),
		TEST(impossible_host_name_is_none),
		TEST(fqdn_is_answered_nobody_updates_dns),
		TEST(what_does_not_fit_goes_on_in_file),
		TEST(options_come_in_the_clients_order),
		TEST(mask_precedes_the_router),
		TEST(reply_keeps_to_the_clients_size),
		TEST(options_go_on_in_file),
		TEST(small_subnets_have_their_own_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
