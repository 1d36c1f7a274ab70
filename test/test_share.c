/* SPDX-License-Identifier: BSD-3-Clause */
/* What links may do in a tick, alone and beside each other. */
#include "core/share.h"
#include "core/stack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { KIB = 1024, FRAME_COST = 16 * KIB, H2G = 64 * KIB };

static struct lwr_stack stack;
static struct lwr_link a, b;

static int setup(void **state)
{
	(void)state;
	memset(&stack, 0, sizeof(stack));
	memset(&a, 0, sizeof(a));
	a.stack = &stack;
	b = a;
	stack.sharing.tick = 100;
	return 0;
}

/* A tick in which both have something ends. */
static void compete(void)
{
	(void)lwr__share_h2g(&a);
	(void)lwr__share_h2g(&b);
	lwr__share_next(&stack);
}

static void alone_there_is_no_share(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_true(lwr__share_g2h(&a, 64 * KIB));
		assert_true(lwr__share_h2g(&a) == UINT32_MAX);
		lwr__share_h2g_use(&a, 64 * KIB);
		if (i % 10 == 0)
			lwr__share_next(&stack);
	}
}

static void beside_another_each_tick_has_one(void **state)
{
	(void)state;
	compete();
	for (int i = 0; i < 100; i++) {
		while (lwr__share_h2g(&a))
			lwr__share_h2g_use(&a, H2G);
		assert_true(lwr__share_h2g(&b) > 0);
		lwr__share_h2g_use(&b, 1);
		/* A large frame is a share, and so are two small ones. */
		assert_false(lwr__share_g2h(&a, H2G));
		assert_true(lwr__share_g2h(&b, 0));
		assert_false(lwr__share_g2h(&b, 0));
		lwr__share_next(&stack);
		assert_int_equal(lwr__share_h2g(&a), H2G);
	}
}

static void connect_uses_up_the_share(void **state)
{
	(void)state;
	compete();
	(void)lwr__share_h2g(&b);
	assert_false(lwr__share_g2h(&a, LWR_SHARE_CONNECT));
}

static void what_is_left_is_kept_for_a_while(void **state)
{
	static const struct {
		unsigned ticks;
		uint32_t want;
	} t[] = { { 1, H2G }, { 2, 2 * H2G }, { 4, 4 * H2G }, { 12, 4 * H2G } };

	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		setup(state);
		compete();
		while (lwr__share_h2g(&a))
			lwr__share_h2g_use(&a, H2G);
		for (unsigned k = 0; k < t[i].ticks; k++) {
			(void)lwr__share_h2g(&b);
			lwr__share_next(&stack);
		}
		assert_int_equal(lwr__share_h2g(&a), t[i].want);
	}
}

static void part_of_a_share_is_kept_too(void **state)
{
	(void)state;
	compete();
	while (lwr__share_h2g(&a))
		lwr__share_h2g_use(&a, H2G);
	(void)lwr__share_h2g(&b);
	lwr__share_next(&stack);
	assert_int_equal(lwr__share_h2g(&a), H2G);
	lwr__share_h2g_use(&a, 1000);
	lwr__share_next(&stack);
	assert_int_equal(lwr__share_h2g(&a), 2 * H2G - FRAME_COST - 1000);
}

static void bulk_that_small_pieces_keep_waiting_is_told(void **state)
{
	(void)state;
	compete();
	(void)lwr__share_h2g(&a);
	lwr__share_h2g_use(&a, 20 * KIB);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(lwr__share_bulk_waits(&a), i > 8);
		compete();
		while (lwr__share_h2g(&a))
			lwr__share_h2g_use(&a, 100);
	}
	(void)lwr__share_h2g(&b);
	lwr__share_next(&stack);
	(void)lwr__share_h2g(&a);
	lwr__share_h2g_use(&a, 20 * KIB);
	assert_false(lwr__share_bulk_waits(&a));
	/* Nobody waits where there are no shares. */
	stack.sharing.shared = 0;
	stack.sharing.tick += 100;
	assert_false(lwr__share_bulk_waits(&a));
}

static void who_is_alone_again_has_none(void **state)
{
	(void)state;
	compete();
	for (int i = 0; i < 16; i++) {
		assert_true(lwr__share_h2g(&a) < UINT32_MAX);
		lwr__share_next(&stack);
	}
	assert_true(lwr__share_h2g(&a) == UINT32_MAX);
	/* A tick without anything changes nothing. */
	lwr__share_next(&stack);
	lwr__share_next(&stack);
	assert_true(lwr__share_h2g(&a) == UINT32_MAX);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(alone_there_is_no_share, setup),
		cmocka_unit_test_setup(beside_another_each_tick_has_one, setup),
		cmocka_unit_test_setup(connect_uses_up_the_share, setup),
		cmocka_unit_test_setup(what_is_left_is_kept_for_a_while, setup),
		cmocka_unit_test_setup(part_of_a_share_is_kept_too, setup),
		cmocka_unit_test_setup(
			bulk_that_small_pieces_keep_waiting_is_told, setup),
		cmocka_unit_test_setup(who_is_alone_again_has_none, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
