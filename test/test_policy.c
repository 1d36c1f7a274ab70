/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct world {
	struct lwr_config config;
};

static struct lwr_addr addr(const char *text)
{
	struct lwr_addr a;

	assert_int_equal(lwr__addr_parse(text, &a), 0);
	return a;
}

static int setup(void **state)
{
	static struct world w;

	lwr__config_init(&w.config);
	*state = &w;
	return 0;
}

static enum lwr_verdict judge(const struct world *w, const char *text,
			      uint16_t port, struct lwr_dest *host)
{
	struct lwr_dest guest = { addr(text), port };

	return lwr__policy_dest(&w->config.net, &guest, host);
}

static void expect(const struct world *w, const char *text, uint16_t port,
		   enum lwr_verdict verdict)
{
	struct lwr_dest host;

	if (judge(w, text, port, &host) != verdict)
		fail_msg("%s port %u: not %d", text, port, verdict);
}

static void expect_host(const struct world *w, const char *text, uint16_t port,
			const char *host_text, uint16_t host_port)
{
	struct lwr_addr want = addr(host_text);
	struct lwr_dest host;

	assert_int_equal(judge(w, text, port, &host), LWR_ALLOW);
	assert_true(lwr__addr_equal(&host.addr, &want));
	assert_int_equal(host.port, host_port);
}

static void remote_hosts_are_themselves(void **state)
{
	struct world *w = *state;

	expect_host(w, "192.0.2.1", 80, "192.0.2.1", 80);
	expect_host(w, "10.0.3.15", 1, "10.0.3.15", 1);
	expect_host(w, "10.0.1.255", 65535, "10.0.1.255", 65535);
	expect_host(w, "2001:db8::1", 443, "2001:db8::1", 443);
	expect_host(w, "fd00:0:0:1::1", 443, "fd00:0:0:1::1", 443);
	expect_host(w, "169.253.255.255", 80, "169.253.255.255", 80);
}

static void special_addresses_are_denied(void **state)
{
	static const char *const text[] = {
		"0.0.0.0",
		"0.1.2.3",
		"127.0.0.1",
		"127.255.255.254",
		"169.254.169.254",
		"169.254.0.1",
		"224.0.0.251",
		"239.255.255.250",
		"255.255.255.255",
		"::",
		"::1",
		"fe80::1",
		"febf::1",
		"ff02::1",
		"ff0e::1",
		"::127.0.0.1",
		"::8.8.8.8",
		"::ffff:0:127.0.0.1",
		"::ffff:127.0.0.1",
		"::ffff:169.254.169.254",
	};
	struct world *w = *state;

	w->config.net.host_loopback = true;
	for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++) {
		expect(w, text[i], 80, LWR_DENY);
		expect(w, text[i], 53, LWR_DENY);
		expect(w, text[i], 0, LWR_DENY);
	}
}

static void other_guests_addresses_are_denied(void **state)
{
	struct world *w = *state;

	expect(w, "10.0.2.15", 80, LWR_DENY);
	expect(w, "10.0.2.0", 80, LWR_DENY);
	expect(w, "10.0.2.255", 80, LWR_DENY);
	expect(w, "10.0.2.200", 53, LWR_DENY);
	expect(w, "fd00::15", 80, LWR_DENY);
	expect(w, "fd00::dead", 80, LWR_DENY);
}

static void gateway_is_the_host_only_if_opened(void **state)
{
	struct world *w = *state;

	expect(w, "10.0.2.2", 80, LWR_REFUSE);
	expect(w, "10.0.2.2", 53, LWR_REFUSE);
	expect(w, "fd00::2", 80, LWR_REFUSE);
	expect(w, "fe80::2", 80, LWR_REFUSE);
	w->config.net.host_loopback = true;
	expect_host(w, "10.0.2.2", 80, "127.0.0.1", 80);
	expect_host(w, "fd00::2", 80, "::1", 80);
	expect_host(w, "fe80::2", 8080, "::1", 8080);
	expect(w, "10.0.2.2", 0, LWR_REFUSE);
	expect(w, "10.0.2.3", 80, LWR_REFUSE);
}

static bool is_query(const struct world *w, const char *text, uint16_t port)
{
	struct lwr_dest guest = { addr(text), port };

	return lwr__policy_is_query(&w->config.net, &guest);
}

static void dns_address_is_queried_at_port_53(void **state)
{
	struct world *w = *state;

	assert_true(is_query(w, "10.0.2.3", 53));
	assert_true(is_query(w, "fd00::3", 53));
	assert_false(is_query(w, "10.0.2.3", 54));
	assert_false(is_query(w, "10.0.2.2", 53));
	assert_false(is_query(w, "192.0.2.1", 53));
	expect(w, "10.0.2.3", 54, LWR_REFUSE);
	expect(w, "fd00::3", 443, LWR_REFUSE);
	w->config.net.ipv6 = false;
	assert_false(is_query(w, "fd00::3", 53));
}

static void intercepted_queries_may_go_anywhere(void **state)
{
	struct world *w = *state;

	w->config.net.dns_intercept = true;
	assert_true(is_query(w, "10.0.2.3", 53));
	assert_true(is_query(w, "192.0.2.1", 53));
	assert_true(is_query(w, "2001:db8::1", 53));
	assert_true(is_query(w, "10.0.2.2", 53));
	assert_false(is_query(w, "192.0.2.1", 54));
	assert_false(is_query(w, "224.0.0.251", 53));
	assert_false(is_query(w, "169.254.169.254", 53));
	assert_false(is_query(w, "10.0.2.9", 53));
}

static void one_address_for_gateway_and_dns_serves_both(void **state)
{
	struct world *w = *state;

	w->config.net.dns = w->config.net.gateway;
	w->config.net.host_loopback = true;
	assert_true(is_query(w, "10.0.2.2", 53));
	expect_host(w, "10.0.2.2", 80, "127.0.0.1", 80);
}

static void without_ipv6_all_of_it_is_denied(void **state)
{
	struct world *w = *state;

	w->config.net.ipv6 = false;
	w->config.net.host_loopback = true;
	expect(w, "2001:db8::1", 80, LWR_DENY);
	expect(w, "fd00::2", 80, LWR_DENY);
	expect(w, "fd00::3", 53, LWR_DENY);
	expect_host(w, "192.0.2.1", 80, "192.0.2.1", 80);
}

static void port_0_is_refused(void **state)
{
	expect(*state, "192.0.2.1", 0, LWR_REFUSE);
	expect(*state, "2001:db8::1", 0, LWR_REFUSE);
}

static void sources_are_the_guests_own(void **state)
{
	static const char *const good[] = { "10.0.2.15",  "10.0.2.1",
					    "10.0.2.254", "0.0.0.0",
					    "fd00::15",	  "fd00::1:2:3:4",
					    "fe80::5054", "::" };
	static const char *const bad[] = {
		"10.0.2.2",    "10.0.2.3",  "10.0.2.0",	 "10.0.2.255",
		"10.0.3.1",    "127.0.0.1", "192.0.2.1", "169.254.1.1",
		"fd00::2",     "fd00::3",   "fe80::2",	 "fd00:0:0:1::1",
		"2001:db8::1", "::1"
	};
	struct world *w = *state;
	struct lwr_addr a;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		a = addr(good[i]);
		if (!lwr__policy_source(&w->config.net, &a))
			fail_msg("%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		a = addr(bad[i]);
		if (lwr__policy_source(&w->config.net, &a))
			fail_msg("%s", bad[i]);
	}
	w->config.net.ipv6 = false;
	for (size_t i = 4; i < sizeof(good) / sizeof(*good); i++) {
		a = addr(good[i]);
		assert_false(lwr__policy_source(&w->config.net, &a));
	}
}

static void local_are_gateway_and_dns(void **state)
{
	static const char *const local[] = { "10.0.2.2", "10.0.2.3", "fd00::2",
					     "fd00::3", "fe80::2" };
	struct world *w = *state;
	struct lwr_addr a;

	for (size_t i = 0; i < 5; i++) {
		a = addr(local[i]);
		w->config.net.ipv6 = true;
		assert_true(lwr__policy_is_local(&w->config.net, &a));
		w->config.net.ipv6 = false;
		assert_int_equal(lwr__policy_is_local(&w->config.net, &a),
				 i < 2);
	}
	a = addr("10.0.2.15");
	assert_false(lwr__policy_is_local(&w->config.net, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(remote_hosts_are_themselves, setup),
		cmocka_unit_test_setup(special_addresses_are_denied, setup),
		cmocka_unit_test_setup(other_guests_addresses_are_denied,
				       setup),
		cmocka_unit_test_setup(gateway_is_the_host_only_if_opened,
				       setup),
		cmocka_unit_test_setup(dns_address_is_queried_at_port_53,
				       setup),
		cmocka_unit_test_setup(
			one_address_for_gateway_and_dns_serves_both, setup),
		cmocka_unit_test_setup(without_ipv6_all_of_it_is_denied, setup),
		cmocka_unit_test_setup(port_0_is_refused, setup),
		cmocka_unit_test_setup(sources_are_the_guests_own, setup),
		cmocka_unit_test_setup(intercepted_queries_may_go_anywhere,
				       setup),
		cmocka_unit_test_setup(local_are_gateway_and_dns, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
