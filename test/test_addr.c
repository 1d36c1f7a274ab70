/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/addr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct lwr_addr addr(const char *text)
{
	struct lwr_addr a;

	assert_int_equal(lwr__addr_parse(text, &a), 0);
	return a;
}

static void addr_parses_and_prints_both_families(void **state)
{
	static const char *const text[] = {
		"10.0.2.15", "0.0.0.0", "255.255.255.255", "::",
		"::1",	     "fd00::2", "2001:db8::1:2"
	};
	char buf[LWR_ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct lwr_addr a = addr(text[i]);

		assert_string_equal(lwr__addr_text(&a, buf), text[i]);
	}
}

static void addr_refuses_what_is_no_address(void **state)
{
	static const char *const text[] = { "",		  "10.0.2",
					    "10.0.2.256", "host",
					    "fd00::g",	  "1.2.3.4/8",
					    "10.0.2.3 ",  ":" };
	struct lwr_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		assert_int_equal(lwr__addr_parse(text[i], &a), -EINVAL);
}

static void addr_knows_its_family(void **state)
{
	struct lwr_addr four = addr("1.2.3.4"), six = addr("fd00::1");
	struct lwr_addr mapped = addr("::ffff:1.2.3.4");

	(void)state;
	assert_true(lwr__addr_is4(&four));
	assert_false(lwr__addr_is4(&six));
	assert_true(lwr__addr_equal(&four, &mapped));
	assert_false(lwr__addr_equal(&four, &six));
}

struct kind {
	const char *text;
	bool any, multicast, loopback, linklocal;
};

static void addr_kinds_are_told_apart(void **state)
{
	static const struct kind kinds[] = {
		{ "0.0.0.0", true, false, false, false },
		{ "::", true, false, false, false },
		{ "0.0.0.1", false, false, false, false },
		{ "223.255.255.255", false, false, false, false },
		{ "224.0.0.1", false, true, false, false },
		{ "239.1.1.1", false, true, false, false },
		{ "240.0.0.1", false, false, false, false },
		{ "255.255.255.255", false, true, false, false },
		{ "ff02::1", false, true, false, false },
		{ "fe00::1", false, false, false, false },
		{ "126.0.0.1", false, false, false, false },
		{ "127.0.0.1", false, false, true, false },
		{ "127.255.0.1", false, false, true, false },
		{ "::1", false, false, true, false },
		{ "::2", false, false, false, false },
		{ "169.254.169.254", false, false, false, true },
		{ "169.253.0.1", false, false, false, false },
		{ "170.254.0.1", false, false, false, false },
		{ "fe80::2", false, false, false, true },
		{ "febf::2", false, false, false, true },
		{ "fec0::2", false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct kind *k = &kinds[i];
		struct lwr_addr a = addr(k->text);

		assert_int_equal(lwr__addr_is_any(&a), k->any);
		assert_int_equal(lwr__addr_is_multicast(&a), k->multicast);
		assert_int_equal(lwr__addr_is_loopback(&a), k->loopback);
		assert_int_equal(lwr__addr_is_linklocal(&a), k->linklocal);
	}
}

static void addr_converts_to_a_number_and_back(void **state)
{
	struct lwr_addr a = lwr__addr_of_v4(0x0a00020f);
	struct lwr_addr b = addr("10.0.2.15");

	(void)state;
	assert_true(lwr__addr_equal(&a, &b));
	assert_int_equal(lwr__addr_v4(&a), 0x0a00020f);
}

static void prefix_parses_and_clears_host_bits(void **state)
{
	struct lwr_prefix p;
	struct lwr_addr host, net;

	(void)state;
	assert_int_equal(lwr__prefix_parse("10.0.2.15/20", &p, &host), 0);
	net = addr("10.0.0.0");
	assert_int_equal(p.len, 96 + 20);
	assert_true(lwr__addr_equal(&p.net, &net));
	net = addr("10.0.2.15");
	assert_true(lwr__addr_equal(&host, &net));
	assert_int_equal(lwr__prefix_parse("fd00::15/64", &p, NULL), 0);
	net = addr("fd00::");
	assert_int_equal(p.len, 64);
	assert_true(lwr__addr_equal(&p.net, &net));
	assert_int_equal(lwr__prefix_parse("::ffff:1.2.3.4/128", &p, NULL), 0);
	assert_int_equal(p.len, 128);
}

static void prefix_refuses_bad_text(void **state)
{
	static const char *const text[] = {
		"10.0.2.0",
		"10.0.2.0/",
		"10.0.2.0/33",
		"fd00::/129",
		"10.0.2.0/-1",
		"10.0.2.0/8x",
		"x/8",
		"10.0.2.0/ 8",
		"10.0.2.0/0008",
		"/8",
		"10.0.2.0/24/",
		"10.0.2.0/300",
		"0000000000000000000000000000000000000000000000000000::/8",
	};
	struct lwr_prefix p;

	(void)state;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		assert_int_equal(lwr__prefix_parse(text[i], &p, NULL), -EINVAL);
}

static bool in(const char *text, const char *prefix)
{
	struct lwr_addr a = addr(text);
	struct lwr_prefix p;

	assert_int_equal(lwr__prefix_parse(prefix, &p, NULL), 0);
	return lwr__addr_in(&a, &p);
}

static void prefix_holds_its_own_addresses_only(void **state)
{
	(void)state;
	assert_true(in("10.0.2.255", "10.0.2.0/24"));
	assert_false(in("10.0.3.0", "10.0.2.0/24"));
	assert_true(in("10.0.15.255", "10.0.0.0/20"));
	assert_false(in("10.0.16.0", "10.0.0.0/20"));
	assert_true(in("10.0.2.1", "10.0.2.1/32"));
	assert_false(in("10.0.2.2", "10.0.2.1/32"));
	assert_true(in("1.2.3.4", "0.0.0.0/0"));
	assert_false(in("fd00::1", "0.0.0.0/0"));
	assert_true(in("fd00::1", "::/0"));
	assert_true(in("fd00::1:2:3:4", "fd00::/64"));
	assert_false(in("fd00:0:0:1::", "fd00::/64"));
	assert_true(in("fd7f::1", "fd00::/9"));
	assert_false(in("fd80::1", "fd00::/9"));
}

static void sockaddr_keeps_address_and_port(void **state)
{
	static const char *const text[] = { "10.0.2.15", "fd00::15" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct lwr_addr a = addr(text[i]), b;
		struct sockaddr_storage ss;
		uint16_t port;
		socklen_t len = lwr__addr_to_sockaddr(&a, 8080, &ss);

		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) :
					  sizeof(struct sockaddr_in));
		assert_int_equal(ss.ss_family, i ? AF_INET6 : AF_INET);
		lwr__addr_from_sockaddr(&ss, &b, &port);
		assert_true(lwr__addr_equal(&a, &b));
		assert_int_equal(port, 8080);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_parses_and_prints_both_families),
		cmocka_unit_test(addr_refuses_what_is_no_address),
		cmocka_unit_test(addr_knows_its_family),
		cmocka_unit_test(addr_kinds_are_told_apart),
		cmocka_unit_test(addr_converts_to_a_number_and_back),
		cmocka_unit_test(prefix_parses_and_clears_host_bits),
		cmocka_unit_test(prefix_refuses_bad_text),
		cmocka_unit_test(prefix_holds_its_own_addresses_only),
		cmocka_unit_test(sockaddr_keeps_address_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
