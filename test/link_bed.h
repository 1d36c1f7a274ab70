/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real loop and stack for a link with a scripted guest; the relay is given
 * ARP packets, numbered in the target address.
 */
#ifndef LWR_TEST_LINK_BED_H
#define LWR_TEST_LINK_BED_H

#include "core/stack.h"

#include <stdbool.h>
#include <stdint.h>

enum { ARP_LEN = 42 };

struct bed {
	uv_loop_t uv;
	struct lwr_loop loop;
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_stack stack;
	struct lwr_link *link;
	char dir[64];
	char path[96];
	unsigned packets; /* that the relay was given */
	uint32_t next; /* number that the next one must have */
	bool in_order;
	unsigned downs, gone;
	int gone_err;
	bool close_on_packet, close_on_gone;
	unsigned warnings;
	char line[256]; /* the last of them */
};

/* cmocka's; the bed is *state. */
int bed_setup(void **state);
int bed_teardown(void **state);

/* One turn of the loop. */
void bed_run(struct bed *w);
/* When to give up waiting for something, as uv_hrtime() tells. */
uint64_t bed_deadline(void);

/* Takes the link that was opened. */
void bed_own(struct bed *w, struct lwr_link *link);

/* ARP frame number nr at buf, padded to len. */
void bed_put_arp(uint8_t *buf, uint32_t nr, uint32_t len);

/* Queues a frame for the guest: its Ethernet payload, len bytes, numbered. */
void bed_send(struct bed *w, uint16_t len, uint32_t nr);

#define RUN_UNTIL(w, cond)                               \
	do {                                             \
		uint64_t end_ = bed_deadline();          \
		while (!(cond)) {                        \
			assert_true(uv_hrtime() < end_); \
			bed_run(w);                      \
		}                                        \
	} while (0)

#endif
