/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/sock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct sockaddr_in loopback4 = {
	.sin_family = AF_INET,
	.sin_addr = { 0x0100007f },
};

static const struct sockaddr_in6 loopback6 = {
	.sin6_family = AF_INET6,
	.sin6_addr = { { { [15] = 1 } } },
};

static int bound(int family, const struct lwr_sock_from *from)
{
	int err, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -EAFNOSUPPORT;
	err = lwr__sock_bind_from(fd, family, from);
	close(fd);
	return err;
}

static void nothing_given_carries_both(void **state)
{
	struct lwr_sock_from from = { 0 };

	(void)state;
	assert_false(lwr__sock_from_set(&from));
	assert_true(lwr__sock_from_carries(&from, AF_INET));
	assert_true(lwr__sock_from_carries(&from, AF_INET6));
	assert_int_equal(bound(AF_INET, &from), 0);
	assert_int_equal(lwr__sock_try_from(&from), 0);
}

static void address_carries_its_own_family(void **state)
{
	struct lwr_sock_from four = { .in = loopback4 };
	struct lwr_sock_from six = { .in6 = loopback6 };
	struct lwr_sock_from both = { .in = loopback4, .in6 = loopback6 };

	(void)state;
	assert_true(lwr__sock_from_set(&four));
	assert_true(lwr__sock_from_set(&six));
	assert_int_equal(bound(AF_INET, &four), 0);
	assert_int_equal(bound(AF_INET6, &four), -ENETUNREACH);
	assert_int_equal(bound(AF_INET, &six), -ENETUNREACH);
	assert_int_equal(lwr__sock_try_from(&four), 0);
	assert_true(lwr__sock_from_carries(&both, AF_INET));
	assert_true(lwr__sock_from_carries(&both, AF_INET6));
}

static void interface_carries_both(void **state)
{
	struct lwr_sock_from lo = { .ifname = "lo" };
	struct lwr_sock_from with = { .ifname = "lo", .in = loopback4 };
	struct lwr_sock_from none = { .ifname = "no-such0" };

	(void)state;
	assert_true(lwr__sock_from_carries(&lo, AF_INET));
	assert_true(lwr__sock_from_carries(&with, AF_INET6));
	assert_int_equal(bound(AF_INET, &lo), 0);
	assert_int_equal(bound(AF_INET, &with), 0);
	assert_int_equal(bound(AF_INET, &none), -ENODEV);
	assert_int_equal(lwr__sock_try_from(&none), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_carries_both),
		cmocka_unit_test(address_carries_its_own_family),
		cmocka_unit_test(interface_carries_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
