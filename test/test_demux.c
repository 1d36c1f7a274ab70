/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/demux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BUCKETS_MIN = 256, MANY = 20000 };

/* Values of CPython 3.11, whose hash is SipHash-1-3 (key 0: no seed). */
static void siphash13_gives_known_answers(void **state)
{
	static const uint64_t zero[2];

	(void)state;
	assert_true(lwr__siphash13(zero, "abc", 3) ==
		    (uint64_t)-4594863902769663758);
	assert_true(lwr__siphash13(zero, "abcdefgh", 8) ==
		    (uint64_t)4574395652268504554);
	assert_true(lwr__siphash13(zero, "abcdefghijklmnopqrstuvwxyz", 26) ==
		    (uint64_t)3619993805786647007);
}

static void siphash13_depends_on_both_halves_of_the_key(void **state)
{
	static const uint64_t k[3][2] = { { 1, 2 }, { 1, 3 }, { 2, 2 } };

	(void)state;
	assert_true(lwr__siphash13(k[0], "", 0) != lwr__siphash13(k[1], "", 0));
	assert_true(lwr__siphash13(k[0], "", 0) != lwr__siphash13(k[2], "", 0));
}

static struct lwr_key key_nr(uint32_t i)
{
	struct lwr_key key = { .guest = lwr__addr_of_v4(0x0a00020f),
			       .host = lwr__addr_of_v4(0x5db8d822 + i / 60000),
			       .link = 1,
			       .gport = (uint16_t)(i % 60000),
			       .hport = 443 };

	return key;
}

static void demux_finds_by_every_field_of_the_key(void **state)
{
	struct lwr_demux_node n = { .key = key_nr(7) };
	struct lwr_key k[6];
	struct lwr_demux d;

	(void)state;
	for (int i = 0; i < 6; i++)
		k[i] = n.key;
	k[1].guest.b[15]++;
	k[2].host.b[15]++;
	k[3].link++;
	k[4].gport++;
	k[5].hport++;
	assert_int_equal(lwr__demux_init(&d), 0);
	assert_null(lwr__demux_find(&d, &k[0]));
	lwr__demux_add(&d, &n);
	assert_ptr_equal(lwr__demux_find(&d, &k[0]), &n);
	for (int i = 1; i < 6; i++)
		assert_null(lwr__demux_find(&d, &k[i]));
	lwr__demux_remove(&d, &n);
	assert_null(lwr__demux_find(&d, &k[0]));
	assert_int_equal(d.count, 0);
	lwr__demux_fini(&d);
}

static size_t longest_chain(const struct lwr_demux *d)
{
	size_t max = 0;

	for (size_t i = 0; i < d->buckets; i++) {
		size_t n = 0;

		for (struct lwr_demux_node *p = d->bucket[i]; p; p = p->next)
			n++;
		max = n > max ? n : max;
	}
	return max;
}

static void demux_grows_at_load_one_and_keeps_chains_short(void **state)
{
	struct lwr_demux_node *n = calloc(MANY, sizeof(*n));
	struct lwr_demux d;

	(void)state;
	assert_int_equal(lwr__demux_init(&d), 0);
	assert_int_equal(d.buckets, BUCKETS_MIN);
	for (uint32_t i = 0; i < MANY; i++) {
		n[i].key = key_nr(i);
		lwr__demux_add(&d, &n[i]);
		assert_true(d.buckets >= d.count);
		assert_true(d.buckets <= BUCKETS_MIN ||
			    d.buckets < 2 * d.count);
	}
	assert_int_equal(d.count, MANY);
	assert_true(longest_chain(&d) <= 12);
	for (uint32_t i = 0; i < MANY; i++)
		assert_ptr_equal(lwr__demux_find(&d, &n[i].key), &n[i]);
	lwr__demux_fini(&d);
	free(n);
}

static void demux_shrinks_but_not_below_the_first_size(void **state)
{
	struct lwr_demux_node *n = calloc(MANY, sizeof(*n));
	struct lwr_demux d;

	(void)state;
	assert_int_equal(lwr__demux_init(&d), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		n[i].key = key_nr(i);
		lwr__demux_add(&d, &n[i]);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		lwr__demux_remove(&d, &n[i]);
		assert_true(d.buckets >= BUCKETS_MIN);
		if (i + 1 < MANY)
			assert_ptr_equal(lwr__demux_find(&d, &n[MANY - 1].key),
					 &n[MANY - 1]);
	}
	assert_int_equal(d.count, 0);
	assert_int_equal(d.buckets, BUCKETS_MIN);
	lwr__demux_fini(&d);
	free(n);
}

static void demux_removes_from_the_middle_of_a_chain(void **state)
{
	struct lwr_demux_node n[200] = { 0 };
	struct lwr_demux d;

	(void)state;
	assert_int_equal(lwr__demux_init(&d), 0);
	for (uint32_t i = 0; i < 200; i++) {
		n[i].key = key_nr(i);
		lwr__demux_add(&d, &n[i]);
	}
	assert_true(longest_chain(&d) > 1);
	for (uint32_t i = 0; i < 200; i += 2)
		lwr__demux_remove(&d, &n[i]);
	for (uint32_t i = 0; i < 200; i++)
		assert_ptr_equal(lwr__demux_find(&d, &n[i].key),
				 i % 2 ? &n[i] : NULL);
	lwr__demux_fini(&d);
}

static void demux_keys_differ_between_tables(void **state)
{
	struct lwr_demux a, b;

	(void)state;
	assert_int_equal(lwr__demux_init(&a), 0);
	assert_int_equal(lwr__demux_init(&b), 0);
	assert_memory_not_equal(a.k, b.k, sizeof(a.k));
	lwr__demux_fini(&a);
	lwr__demux_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash13_gives_known_answers),
		cmocka_unit_test(siphash13_depends_on_both_halves_of_the_key),
		cmocka_unit_test(demux_finds_by_every_field_of_the_key),
		cmocka_unit_test(
			demux_grows_at_load_one_and_keeps_chains_short),
		cmocka_unit_test(demux_shrinks_but_not_below_the_first_size),
		cmocka_unit_test(demux_removes_from_the_middle_of_a_chain),
		cmocka_unit_test(demux_keys_differ_between_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
