/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/ring.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct lwr_frame frame(uint16_t nr)
{
	struct lwr_frame f = { .p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM),
			       .hdr_len = nr };

	assert_non_null(f.p);
	return f;
}

static int push_new(struct lwr_ring *r, uint16_t nr)
{
	struct lwr_frame f = frame(nr);
	int err = lwr__ring_push(r, &f);

	pbuf_free(f.p); /* the ring has its own reference */
	return err;
}

static void ring_holds_what_its_size_says_and_then_refuses(void **state)
{
	struct lwr_ring r;

	(void)state;
	assert_int_equal(lwr__ring_init(&r, 8), 0);
	for (uint16_t i = 0; i < 8; i++) {
		assert_int_equal(lwr__ring_room(&r), 8 - i);
		assert_int_equal(push_new(&r, i), 0);
		assert_int_equal(lwr__ring_count(&r), i + 1);
	}
	assert_int_equal(push_new(&r, 8), -EAGAIN);
	assert_int_equal(lwr__ring_count(&r), 8);
	lwr__ring_fini(&r);
}

static void ring_keeps_order_across_its_end_and_the_counters_end(void **state)
{
	struct lwr_ring r;
	uint16_t in = 0, out = 0;

	(void)state;
	assert_int_equal(lwr__ring_init(&r, 4), 0);
	r.head = r.tail = UINT32_MAX - 5;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(push_new(&r, in++), 0);
		for (uint16_t i = 0; i < 3; i++)
			assert_int_equal(lwr__ring_at(&r, i)->hdr_len, out + i);
		lwr__ring_pop(&r, 3);
		out = (uint16_t)(out + 3);
		assert_int_equal(lwr__ring_count(&r), 0);
		assert_int_equal(lwr__ring_room(&r), 4);
	}
	lwr__ring_fini(&r);
}

static void ring_holds_a_reference_until_the_pop(void **state)
{
	struct lwr_frame f = frame(0);
	struct lwr_ring r;

	(void)state;
	assert_int_equal(lwr__ring_init(&r, 4), 0);
	assert_int_equal(lwr__ring_push(&r, &f), 0);
	assert_int_equal(lwr__ring_push(&r, &f), 0);
	assert_int_equal(f.p->ref, 3);
	lwr__ring_pop(&r, 0);
	assert_int_equal(f.p->ref, 3);
	lwr__ring_pop(&r, 1);
	assert_int_equal(f.p->ref, 2);
	lwr__ring_fini(&r);
	assert_int_equal(f.p->ref, 1);
	pbuf_free(f.p);
}

static void ring_refusal_takes_no_reference(void **state)
{
	struct lwr_frame f = frame(0);
	struct lwr_ring r;

	(void)state;
	assert_int_equal(lwr__ring_init(&r, 1), 0);
	assert_int_equal(push_new(&r, 1), 0);
	assert_int_equal(lwr__ring_push(&r, &f), -EAGAIN);
	assert_int_equal(f.p->ref, 1);
	lwr__ring_fini(&r);
	pbuf_free(f.p);
}

static void ring_fini_twice_is_harmless(void **state)
{
	struct lwr_ring r;

	(void)state;
	assert_int_equal(lwr__ring_init(&r, 2), 0);
	lwr__ring_fini(&r);
	lwr__ring_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			ring_holds_what_its_size_says_and_then_refuses),
		cmocka_unit_test(
			ring_keeps_order_across_its_end_and_the_counters_end),
		cmocka_unit_test(ring_holds_a_reference_until_the_pop),
		cmocka_unit_test(ring_refusal_takes_no_reference),
		cmocka_unit_test(ring_fini_twice_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
