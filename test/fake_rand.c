/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/fake_rand.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	uint64_t state;
	bool failed;
	char why[256];
} rnd;

uint64_t fake_seed(void)
{
	const char *env = getenv("LWR_SEED");

	return env ? strtoull(env, NULL, 0) : 1;
}

void fake_rand_reset(void)
{
	rnd.state = fake_seed();
	rnd.failed = false;
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable generators, 2014). */
static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t fake_rand64(void)
{
	rnd.state += 0x9e3779b97f4a7c15;
	return mix(rnd.state);
}

uint32_t fake_below(uint32_t n)
{
	return (uint32_t)(fake_rand64() % n);
}

bool fake_chance(unsigned per_mille)
{
	return per_mille && fake_below(1000) < per_mille;
}

static uint8_t pattern_at(uint32_t salt, uint64_t off)
{
	uint64_t word = mix((uint64_t)salt << 40 ^ off / 8);

	return (uint8_t)(word >> off % 8 * 8);
}

void fake_pattern(uint8_t *out, size_t len, uint32_t salt, uint64_t off)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = pattern_at(salt, off + i);
}

bool fake_pattern_check(const uint8_t *data, size_t len, uint32_t salt,
			uint64_t off)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (data[i] != pattern_at(salt, off + i))
			return false;
	}
	return true;
}

void fake_fail(const char *fmt, ...)
{
	va_list ap;

	if (rnd.failed)
		return;
	rnd.failed = true;
	va_start(ap, fmt);
	vsnprintf(rnd.why, sizeof(rnd.why), fmt, ap);
	va_end(ap);
}

const char *fake_failed(void)
{
	return rnd.failed ? rnd.why : NULL;
}
