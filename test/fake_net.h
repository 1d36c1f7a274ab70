/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The services on a real stack and a virtual clock, for fuzz targets: frames
 * go in, and whatever comes out must be a valid frame.
 */
#ifndef LWR_TEST_FAKE_NET_H
#define LWR_TEST_FAKE_NET_H

#include "core/pkt.h"

#include <stddef.h>
#include <stdint.h>

enum { FAKE_NET_FRAME_MAX = 2048 };

/* A sequence of records, each with a byte of choices and its own bytes. */
struct fake_record {
	uint8_t choice;
	const uint8_t *data;
	size_t len;
};

/* `reply` sees each IP packet that the guest gets; may be NULL. */
void fake_net_open(void (*reply)(const struct lwr_pkt *pkt));
void fake_net_close(void);

/* Cuts the next record off: choice, length in two bytes, data. */
bool fake_net_next(const uint8_t **data, size_t *size, struct fake_record *rec);

/* Time goes on; what is due happens. */
void fake_net_later(uint32_t ms);
void fake_net_ipv6(bool ipv6);

/* An Ethernet frame of one of four guests, to everybody. */
void fake_net_frame(unsigned guest, uint16_t ethertype, const void *data,
		    size_t len);
/* The same of an IP packet with `data` behind the IP header. */
void fake_net_ip(unsigned guest, const char *src, const char *dst,
		 uint8_t proto, uint8_t ttl, const void *data, size_t len);
void fake_net_udp(unsigned guest, const char *src, const char *dst,
		  uint16_t port, const void *data, size_t len);

/* Ends the run, for the fuzzer to report. */
void fake_net_check(bool holds);

#endif
