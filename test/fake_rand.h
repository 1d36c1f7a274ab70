/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a simulation shares: one seeded random source, the pattern that all
 * payload follows, and the first thing that went wrong.
 */
#ifndef LWR_TEST_FAKE_RAND_H
#define LWR_TEST_FAKE_RAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The seed: LWR_SEED from the environment, else 1. */
uint64_t fake_seed(void);
/* Starts the sequence again, and forgets failures. */
void fake_rand_reset(void);
uint64_t fake_rand64(void);
/* 0 <= result < n */
uint32_t fake_below(uint32_t n);
bool fake_chance(unsigned per_mille);

/* Payload of the stream `salt` from byte offset `off` on. */
void fake_pattern(uint8_t *out, size_t len, uint32_t salt, uint64_t off);
/* True if the bytes are the pattern's. */
bool fake_pattern_check(const uint8_t *data, size_t len, uint32_t salt,
			uint64_t off);
/* Streams of the connection to one port of the host. */
static inline uint32_t fake_salt_g2h(uint16_t port)
{
	return port;
}
static inline uint32_t fake_salt_h2g(uint16_t port)
{
	return 0x10000u | port;
}

/*
 * Notes a failure (the first one counts). Checks inside callbacks of the stack
 * use it, for an assertion there would jump out of lwIP.
 */
__attribute__((format(printf, 1, 2))) void fake_fail(const char *fmt, ...);
/* The first failure, or NULL. */
const char *fake_failed(void);

#endif
