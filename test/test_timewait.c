/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/timewait.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct lwr_key key_nr(uint16_t port)
{
	struct lwr_key key = { .guest = lwr__addr_of_v4(0x0a00020f),
			       .host = lwr__addr_of_v4(0x5db8d822),
			       .link = 1,
			       .gport = port,
			       .hport = 443 };

	return key;
}

static int setup(void **state)
{
	static struct lwr_timewait t;

	*state = &t;
	return lwr__timewait_init(&t);
}

static int teardown(void **state)
{
	lwr__timewait_fini(*state);
	return 0;
}

static void timewait_remembers_until_its_time_is_over(void **state)
{
	struct lwr_key key = key_nr(1), other = key_nr(2);
	struct lwr_timewait_slot *s;

	assert_null(lwr__timewait_find(*state, &key, 5000));
	lwr__timewait_add(*state, &key, 11, 22, 5000);
	s = lwr__timewait_find(*state, &key, 5000);
	assert_non_null(s);
	assert_int_equal(s->snd_nxt, 11);
	assert_int_equal(s->rcv_nxt, 22);
	assert_null(lwr__timewait_find(*state, &other, 5000));
	assert_ptr_equal(lwr__timewait_find(*state, &key,
					    5000 + LWR_TIMEWAIT_MS - 1),
			 s);
	assert_null(lwr__timewait_find(*state, &key, 5000 + LWR_TIMEWAIT_MS));
}

static void timewait_works_at_time_zero(void **state)
{
	struct lwr_key key = key_nr(1);

	lwr__timewait_add(*state, &key, 1, 2, 0);
	assert_non_null(lwr__timewait_find(*state, &key, 0));
}

static void timewait_removed_is_not_found(void **state)
{
	struct lwr_key key = key_nr(1);

	lwr__timewait_add(*state, &key, 1, 2, 100);
	lwr__timewait_remove(lwr__timewait_find(*state, &key, 100));
	assert_null(lwr__timewait_find(*state, &key, 100));
}

static void timewait_newest_of_a_tuple_counts(void **state)
{
	struct lwr_key key = key_nr(1);
	struct lwr_timewait_slot *s;

	lwr__timewait_add(*state, &key, 1, 2, 100);
	lwr__timewait_add(*state, &key, 3, 4, 200);
	s = lwr__timewait_find(*state, &key, 100 + LWR_TIMEWAIT_MS);
	assert_non_null(s);
	assert_int_equal(s->snd_nxt, 3);
}

static void timewait_newer_displaces_older_when_full(void **state)
{
	enum { MANY = 4 * LWR_TIMEWAIT_SLOTS };
	unsigned found = 0;

	for (uint16_t i = 0; i < MANY; i++) {
		struct lwr_key key = key_nr(i);

		lwr__timewait_add(*state, &key, i, i, 100);
		assert_non_null(lwr__timewait_find(*state, &key, 100));
	}
	for (uint16_t i = 0; i < MANY; i++) {
		struct lwr_key key = key_nr(i);
		struct lwr_timewait_slot *s =
			lwr__timewait_find(*state, &key, 100);

		if (s) {
			assert_int_equal(s->snd_nxt, i);
			found++;
		}
	}
	assert_in_range(found, LWR_TIMEWAIT_SLOTS / 2, LWR_TIMEWAIT_SLOTS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timewait_remembers_until_its_time_is_over),
		TEST(timewait_works_at_time_zero),
		TEST(timewait_removed_is_not_found),
		TEST(timewait_newest_of_a_tuple_counts),
		TEST(timewait_newer_displaces_older_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
