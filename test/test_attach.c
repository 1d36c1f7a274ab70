/* SPDX-License-Identifier: BSD-3-Clause */
/* The program is not in the library, so its parser is compiled in. */
#include "relay/attach_parse.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct lwr_attach_request req;
static char why[LWR_ERROR_TEXT];

static int parse(const char *line)
{
	struct lwr_config config;

	lwr__config_init(&config);
	return lwr__attach_parse(&req, line, strlen(line), &config.net, why);
}

static void assert_refused(const char *line, const char *sentence)
{
	assert_int_equal(parse(line), -EINVAL);
	if (!strstr(why, sentence))
		fail_msg("%s: said '%s', not '%s'", line, why, sentence);
}

static void request_of_a_kind_only_is_as_the_relay(void **state)
{
	char text[LWR_ADDR_TEXT];

	(void)state;
	assert_int_equal(parse("{\"kind\":\"dgram\"}"), 0);
	assert_int_equal(req.spec.kind, LWR_LINK_DGRAM_FD);
	assert_int_equal(req.spec.fd, -1);
	assert_string_equal(req.spec.text, "guest");
	assert_null(req.spec.profile);
	assert_int_equal(req.spec.mtu, 0);
	assert_false(req.tied);
	assert_true(req.net.ipv6);
	assert_string_equal(lwr__addr_text(&req.net.guest, text), "10.0.2.15");
}

static void request_with_all_is_taken(void **state)
{
	char text[LWR_ADDR_TEXT];

	(void)state;
	assert_int_equal(parse(" {\"guest\": \"10.9.9.77\", \"mtu\": 9000,"
			       "\"name\": \"vm-7\", \"kind\": \"stream\","
			       "\"profile\": \"libkrun\", \"tied\": true,"
			       "\"subnet\": \"10.9.0.0/16\","
			       "\"subnet6\": \"fd12::/64\"} "),
			 0);
	assert_int_equal(req.spec.kind, LWR_LINK_STREAM_FD);
	assert_string_equal(req.spec.text, "vm-7");
	assert_string_equal(req.spec.profile->name, "libkrun");
	assert_int_equal(req.spec.mtu, 9000);
	assert_true(req.tied);
	assert_string_equal(lwr__addr_text(&req.net.guest, text), "10.9.9.77");
	assert_string_equal(lwr__addr_text(&req.net.gateway, text), "10.9.0.2");
	assert_string_equal(lwr__addr_text(&req.net.gateway6, text), "fd12::2");
	assert_int_equal(parse("{\"kind\":\"tap\",\"ipv6\":false}"), 0);
	assert_int_equal(req.spec.kind, LWR_LINK_TAP_FD);
	assert_false(req.net.ipv6);
	assert_int_equal(parse("{\"kind\":\"seqpacket\"}"), 0);
	assert_int_equal(req.spec.kind, LWR_LINK_SEQPACKET_FD);
}

static void request_that_is_none_is_refused(void **state)
{
	(void)state;
	assert_refused("", "not JSON");
	assert_refused("GET / HTTP/1.1", "not JSON");
	assert_refused("[]", "not a JSON object");
	assert_refused("{\"kind\":\"stream\"} x", "not JSON");
	assert_refused("{\"kind\":\"tap\",\"kind\":\"stream\"}", "duplicate");
	assert_refused("{}", "kind: is missing");
	assert_refused("{\"kind\":\"vhost\"}", "kind: not stream, dgram");
	assert_refused("{\"kind\":7}", "kind: is not a string");
	assert_refused("{\"kind\":\"tap\",\"fd\":7}", "no key");
	assert_refused("{\"kind\":\"tap\",\"tied\":1}", "not a boolean");
	assert_refused("{\"kind\":\"tap\",\"mtu\":\"1500\"}", "not a number");
	assert_refused("{\"kind\":\"tap\",\"mtu\":-1}", "from 1280");
	assert_refused("{\"kind\":\"tap\",\"mtu\":65537}", "from 1280");
	assert_refused("{\"kind\":\"tap\",\"mtu\":99999999999999999999}",
		       "not JSON");
	assert_refused("{\"kind\":\"tap\",\"profile\":\"qemu\"}", "a tap says");
	assert_refused("{\"kind\":\"dgram\",\"profile\":\"x\"}", "no profile");
	assert_refused("{\"kind\":\"tap\",\"name\":\"\"}", "1 to 47");
	assert_refused("{\"kind\":\"tap\",\"name\":\"a\\u0000b\"}", "not JSON");
	assert_refused("{\"kind\":\"tap\",\"name\":\"a\\nb\"}", "control");
	assert_refused("{\"kind\":\"tap\",\"name\":\"12345678901234567890123"
		       "4567890123456789012345678\"}",
		       "1 to 47");
}

static void request_with_impossible_addresses_is_refused(void **state)
{
	(void)state;
	assert_refused("{\"kind\":\"tap\",\"subnet\":\"10.0.0.0/30\"}",
		       "subnet: not");
	assert_refused("{\"kind\":\"tap\",\"subnet\":\"fd00::/64\"}",
		       "subnet: not");
	assert_refused("{\"kind\":\"tap\",\"subnet6\":\"fd00::/48\"}",
		       "subnet6: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"10.0.3.15\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"10.0.2.2\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"10.0.2.3\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"10.0.2.0\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"10.0.2.255\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"fd00::15\"}",
		       "guest: not");
	assert_refused("{\"kind\":\"tap\",\"guest\":\"me\"}", "guest: not");
}

static void request_nested_without_end_is_refused(void **state)
{
	static char deep[4096];

	(void)state;
	memset(deep, '[', sizeof(deep) - 1);
	assert_refused(deep, "not JSON");
}

static void answers_are_lines_whatever_is_said(void **state)
{
	char out[LWR_ATTACH_ANSWER], long_text[LWR_ERROR_TEXT];
	size_t n;

	(void)state;
	n = lwr__attach_refused(out, "bad \"\xff\n\"");
	assert_int_equal(out[n - 1], '\n');
	out[n - 1] = '\0';
	assert_string_equal(out, "{\"ok\":false,\"error\":\"bad \\\"??\\\"\"}");
	memset(long_text, '"', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	n = lwr__attach_refused(out, long_text);
	assert_in_range(n, 10, sizeof(out));
	assert_int_equal(out[n - 1], '\n');
	assert_memory_equal(out, "{\"ok\":false", 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_of_a_kind_only_is_as_the_relay),
		cmocka_unit_test(request_with_all_is_taken),
		cmocka_unit_test(request_that_is_none_is_refused),
		cmocka_unit_test(request_with_impossible_addresses_is_refused),
		cmocka_unit_test(request_nested_without_end_is_refused),
		cmocka_unit_test(answers_are_lines_whatever_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
