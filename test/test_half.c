/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/half.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void half_eof_with_empty_queue_shuts_at_once(void **state)
{
	enum lwr_half h = LWR_HALF_OPEN;

	(void)state;
	assert_int_equal(lwr__half_eof(&h, 0), LWR_HALF_SHUTDOWN);
	assert_int_equal(h, LWR_HALF_SHUT);
}

static void half_eof_with_queue_drains_first(void **state)
{
	enum lwr_half h = LWR_HALF_OPEN;

	(void)state;
	assert_int_equal(lwr__half_eof(&h, 1), LWR_HALF_NONE);
	assert_int_equal(h, LWR_HALF_DRAIN);
	assert_int_equal(lwr__half_drained(&h), LWR_HALF_SHUTDOWN);
	assert_int_equal(h, LWR_HALF_SHUT);
}

static void half_fin_while_draining_shuts_once(void **state)
{
	enum lwr_half h = LWR_HALF_OPEN;

	(void)state;
	(void)lwr__half_eof(&h, 10);
	assert_int_equal(lwr__half_eof(&h, 10), LWR_HALF_NONE);
	assert_int_equal(h, LWR_HALF_DRAIN);
	assert_int_equal(lwr__half_drained(&h), LWR_HALF_SHUTDOWN);
	assert_int_equal(lwr__half_drained(&h), LWR_HALF_NONE);
	assert_int_equal(lwr__half_eof(&h, 0), LWR_HALF_NONE);
	assert_int_equal(h, LWR_HALF_SHUT);
}

static void half_drained_while_open_stays_open(void **state)
{
	enum lwr_half h = LWR_HALF_OPEN;

	(void)state;
	assert_int_equal(lwr__half_drained(&h), LWR_HALF_NONE);
	assert_int_equal(h, LWR_HALF_OPEN);
}

static void half_names_are_the_states(void **state)
{
	(void)state;
	assert_string_equal(lwr__half_name(LWR_HALF_OPEN), "OPEN");
	assert_string_equal(lwr__half_name(LWR_HALF_DRAIN), "DRAIN");
	assert_string_equal(lwr__half_name(LWR_HALF_SHUT), "SHUT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_eof_with_empty_queue_shuts_at_once),
		cmocka_unit_test(half_eof_with_queue_drains_first),
		cmocka_unit_test(half_fin_while_draining_shuts_once),
		cmocka_unit_test(half_drained_while_open_stays_open),
		cmocka_unit_test(half_names_are_the_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
