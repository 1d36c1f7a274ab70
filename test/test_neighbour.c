/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/neighbour.h"
#include "test/rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t one[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t two[6] = { 2, 0, 0, 0, 0, 2 };

static struct lwr_config config;
static struct lwr_neighbours n;

static int setup(void **state)
{
	(void)state;
	lwr__config_init(&config);
	lwr__neighbours_reset(&n, &config.net);
	return 0;
}

/* A frame of an IP packet. */
static void hear(const char *addr, const uint8_t mac[6])
{
	struct lwr_addr a = rig_addr(addr);

	lwr__neighbours_saw(&n, mac);
	lwr__neighbours_learn(&n, &config.net, &a, mac);
}

static void expect_at(const char *addr, const uint8_t mac[6])
{
	struct lwr_addr a = rig_addr(addr);

	assert_memory_equal(lwr__neighbours_find(&n, &config.net, &a), mac, 6);
}

static void add_lease(const uint8_t mac[6], const char *addr)
{
	struct lwr_lease l = { .addr = rig_addr(addr) };

	memcpy(l.mac, mac, 6);
	assert_int_equal(lwr__net_add_lease(&config.net, &l), 0);
	lwr__neighbours_reset(&n, &config.net);
}

static void before_any_frame_it_is_everybody(void **state)
{
	(void)state;
	assert_false(n.known);
	expect_at("10.0.2.15", (const uint8_t *)"\xff\xff\xff\xff\xff\xff");
}

static void one_guest_has_every_address(void **state)
{
	(void)state;
	hear("10.0.2.15", one);
	assert_true(n.known);
	assert_false(n.many);
	expect_at("10.0.2.15", one);
	expect_at("10.0.2.200", one);
	expect_at("fe80::9", one);
}

static void first_guest_is_still_found_when_a_second_appears(void **state)
{
	(void)state;
	hear("10.0.2.15", one);
	hear("fd00::15", one);
	hear("fe80::1", one);
	hear("10.0.2.16", two);
	assert_true(n.many);
	expect_at("10.0.2.15", one);
	expect_at("fd00::15", one);
	expect_at("fe80::1", one);
	expect_at("10.0.2.16", two);
	expect_at("10.0.2.99", two); /* unknown: who spoke last */
}

static void address_moves_to_who_speaks_from_it(void **state)
{
	(void)state;
	hear("10.0.2.15", one);
	hear("10.0.2.15", two);
	expect_at("10.0.2.15", two);
	hear("10.0.2.15", one);
	expect_at("10.0.2.15", one);
}

static void relays_own_and_foreign_addresses_are_not_learned(void **state)
{
	static const char *const foreign[] = { "10.0.2.2", "10.0.2.3",
					       "fd00::2",  "fd00::3",
					       "fe80::2",  "0.0.0.0",
					       "8.8.8.8",  "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		hear(foreign[i], one);
	hear("10.0.2.16", two);
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		expect_at(foreign[i], two);
}

static void lease_cannot_be_taken_over(void **state)
{
	(void)state;
	add_lease(one, "10.0.2.20");
	hear("10.0.2.20", two);
	expect_at("10.0.2.20", one);
	expect_at("10.0.2.21", two);
	hear("10.0.2.20", one);
	hear("10.0.2.20", two);
	expect_at("10.0.2.20", one);
}

static void flood_of_addresses_stays_in_the_table(void **state)
{
	char text[32];

	(void)state;
	hear("10.0.2.15", one);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "fd00::1:%x", i);
		hear(text, two);
	}
	expect_at("fd00::1:1387", two);
	hear("10.0.2.15", one);
	expect_at("10.0.2.15", one);
}

static void reset_forgets(void **state)
{
	(void)state;
	hear("10.0.2.15", one);
	hear("10.0.2.16", two);
	lwr__neighbours_reset(&n, &config.net);
	assert_false(n.known || n.many);
	hear("10.0.2.17", one);
	expect_at("10.0.2.16", one);
}

static void impossible_leases_are_refused(void **state)
{
	static const char *const bad[] = {
		"10.0.2.2", "10.0.2.3", "10.0.2.0", "10.0.2.255", "10.0.3.5",
		"fd00::2",  "fd00::3",	"fd00::",   "fd01::5"
	};
	struct lwr_lease l = { .mac = { 2, 0, 0, 0, 0, 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		l.addr = rig_addr(bad[i]);
		assert_int_equal(lwr__net_add_lease(&config.net, &l), -EINVAL);
	}
	l.addr = rig_addr("10.0.2.20");
	assert_int_equal(lwr__net_add_lease(&config.net, &l), 0);
	assert_int_equal(lwr__net_add_lease(&config.net, &l), -EEXIST);
	l.addr = rig_addr("10.0.2.21");
	assert_int_equal(lwr__net_add_lease(&config.net, &l), -EEXIST);
	l.addr = rig_addr("fd00::20"); /* the other family */
	assert_int_equal(lwr__net_add_lease(&config.net, &l), 0);
	l.mac[0] = 1;
	l.addr = rig_addr("10.0.2.22");
	assert_int_equal(lwr__net_add_lease(&config.net, &l), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(before_any_frame_it_is_everybody),
		TEST(one_guest_has_every_address),
		TEST(first_guest_is_still_found_when_a_second_appears),
		TEST(address_moves_to_who_speaks_from_it),
		TEST(relays_own_and_foreign_addresses_are_not_learned),
		TEST(lease_cannot_be_taken_over),
		TEST(flood_of_addresses_stays_in_the_table),
		TEST(reset_forgets),
		TEST(impossible_leases_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
