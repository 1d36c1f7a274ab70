/* SPDX-License-Identifier: BSD-3-Clause */
#include "netif/framing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t stream[LWR_FRAMING_HLEN + LWR_FRAMING_MAX];

static void framing_needs_the_whole_header(void **state)
{
	uint32_t len = 7;

	(void)state;
	/* Even if three bytes tell already that the length is impossible. */
	memset(stream, 0xff, 4);
	for (size_t n = 0; n < 4; n++)
		assert_int_equal(
			lwr__framing_cut(stream, n, LWR_FRAMING_MAX, &len), 0);
	assert_int_equal(len, 7);
}

static void framing_needs_the_whole_frame(void **state)
{
	uint32_t len;

	(void)state;
	lwr__framing_put(stream, 60);
	for (size_t n = 4; n < 64; n++)
		assert_int_equal(
			lwr__framing_cut(stream, n, LWR_FRAMING_MAX, &len), 0);
	assert_int_equal(lwr__framing_cut(stream, 64, LWR_FRAMING_MAX, &len),
			 1);
	assert_int_equal(len, 60);
	assert_int_equal(lwr__framing_cut(stream, 65, LWR_FRAMING_MAX, &len),
			 1);
	assert_int_equal(len, 60);
}

static void framing_takes_lengths_from_14_to_65535(void **state)
{
	static const uint32_t good[] = { 14, 15, 1514, 65534, 65535 };
	static const uint32_t bad[] = { 0,	    1,		13,
					65536,	    0x00ffffff, 0x01000000,
					0x0e000000, 0x80000000, 0xffffffff };
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		lwr__framing_put(stream, good[i]);
		assert_int_equal(lwr__framing_cut(stream, sizeof(stream),
						  LWR_FRAMING_MAX, &len),
				 1);
		assert_int_equal(len, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		lwr__framing_put(stream, bad[i]);
		assert_int_equal(lwr__framing_cut(stream, 4, LWR_FRAMING_MAX,
						  &len),
				 -EPROTO);
		assert_int_equal(lwr__framing_cut(stream, sizeof(stream),
						  LWR_FRAMING_MAX, &len),
				 -EPROTO);
	}
}

static void framing_header_is_big_endian(void **state)
{
	static const uint8_t want[] = { 0, 0, 0xff, 0x0e };

	(void)state;
	lwr__framing_put(stream, 0xff0e);
	assert_memory_equal(stream, want, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(framing_needs_the_whole_header),
		cmocka_unit_test(framing_needs_the_whole_frame),
		cmocka_unit_test(framing_takes_lengths_from_14_to_65535),
		cmocka_unit_test(framing_header_is_big_endian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
