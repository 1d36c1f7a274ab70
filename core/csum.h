/* SPDX-License-Identifier: BSD-3-Clause */
/* The Internet checksum (RFC 1071), and copies of it for several layers. */
#ifndef LWR_CORE_CSUM_H
#define LWR_CORE_CSUM_H

#include "core/addr.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Adds len bytes to a running sum. Bytes after an odd-length part must be
 * added with lwr__csum_add_odd(). The sum is in network byte order, unfolded.
 */
uint64_t lwr__csum_add(uint64_t sum, const void *data, size_t len);

/* The same for data that starts at an odd offset of the checksummed range. */
uint64_t lwr__csum_add_odd(uint64_t sum, const void *data, size_t len);

/* Folds to 16 bits, network byte order, not inverted. */
uint16_t lwr__csum_fold(uint64_t sum);

/* The pseudo-header's sum, either family (RFC 9293 3.1, RFC 8200 8.1). */
uint64_t lwr__csum_pseudo(const struct lwr_addr *src,
			  const struct lwr_addr *dst, uint8_t proto,
			  uint32_t len);

/* The finished checksum over data: what goes into the header field. */
uint16_t lwr__csum(uint64_t sum, const void *data, size_t len);

/* lwIP's LWIP_CHKSUM: folded, not inverted, network byte order. */
uint16_t lwr__lwip_chksum(const void *data, int len);

#endif
