/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/csum.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BYTES = 66000 };

static uint8_t data[BYTES];

/* RFC 1071 as it is written, in host order. */
static uint16_t reference(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint64_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t folded(const uint8_t *p, size_t len)
{
	return ntohs(lwr__csum_fold(lwr__csum_add(0, p, len)));
}

static void fill(int what)
{
	srand(1);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = what < 0 ? (uint8_t)rand() : (uint8_t)what;
}

static void csum_equals_rfc_1071_at_any_length_and_alignment(void **state)
{
	static const int what[] = { -1, 0xff, 0, 0x80 };

	(void)state;
	for (size_t w = 0; w < 4; w++) {
		fill(what[w]);
		for (size_t len = 0; len < 700; len++)
			for (size_t off = 0; off < 9; off++)
				assert_int_equal(folded(data + off, len),
						 reference(data + off, len));
		assert_int_equal(folded(data + 1, 65535),
				 reference(data + 1, 65535));
	}
}

static void csum_of_the_rfc_example(void **state)
{
	static const uint8_t b[] = { 0x00, 0x01, 0xf2, 0x03,
				     0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(folded(b, sizeof(b)), 0xddf2);
	assert_int_equal(ntohs(lwr__csum(0, b, sizeof(b))), 0x220d);
}

static void csum_of_parts_equals_csum_of_the_whole(void **state)
{
	(void)state;
	fill(-1);
	for (size_t cut = 0; cut <= 300; cut++) {
		uint64_t sum = lwr__csum_add(0, data, cut);

		if (cut % 2)
			sum = lwr__csum_add_odd(sum, data + cut, 300 - cut);
		else
			sum = lwr__csum_add(sum, data + cut, 300 - cut);
		assert_int_equal(ntohs(lwr__csum_fold(sum)),
				 reference(data, 300));
	}
}

static void csum_takes_the_largest_running_sum(void **state)
{
	uint64_t sum = UINT64_MAX;

	(void)state;
	fill(0xff);
	for (int i = 0; i < 1000; i++)
		sum = lwr__csum_add(sum, data, 65534);
	assert_int_equal(lwr__csum_fold(sum), 0xffff);
	assert_int_equal(lwr__csum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(lwr__csum_fold(0), 0);
}

static void csum_pseudo_covers_every_field_of_both_families(void **state)
{
	static const uint8_t four[] = { 10,  0,	 2, 15, 93, 184,
					216, 34, 0, 6,	0,  20 };
	uint8_t six[40] = { 0xfd, [15] = 0x15, [16] = 0x20, 0x01, [31] = 9,
			    0,	  1,	       2,	    3,	  [39] = 17 };
	struct lwr_addr src, dst;

	(void)state;
	lwr__addr_parse("10.0.2.15", &src);
	lwr__addr_parse("93.184.216.34", &dst);
	assert_int_equal(
		ntohs(lwr__csum_fold(lwr__csum_pseudo(&src, &dst, 6, 20))),
		reference(four, sizeof(four)));
	src = lwr__addr_from16(six);
	dst = lwr__addr_from16(six + 16);
	assert_int_equal(ntohs(lwr__csum_fold(
				 lwr__csum_pseudo(&src, &dst, 17, 0x010203))),
			 reference(six, sizeof(six)));
}

static void csum_for_lwip_is_folded_and_not_inverted(void **state)
{
	(void)state;
	fill(-1);
	for (int len = 0; len < 200; len++)
		assert_int_equal(ntohs(lwr__lwip_chksum(data + 1, len)),
				 reference(data + 1, (size_t)len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			csum_equals_rfc_1071_at_any_length_and_alignment),
		cmocka_unit_test(csum_of_the_rfc_example),
		cmocka_unit_test(csum_of_parts_equals_csum_of_the_whole),
		cmocka_unit_test(csum_takes_the_largest_running_sum),
		cmocka_unit_test(
			csum_pseudo_covers_every_field_of_both_families),
		cmocka_unit_test(csum_for_lwip_is_folded_and_not_inverted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
