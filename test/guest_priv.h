/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the guest. */
#ifndef LWR_TEST_GUEST_PRIV_H
#define LWR_TEST_GUEST_PRIV_H

#include "test/guest.h"

enum { GUEST_RTO_MS = 200 };

/* test/guest.c */
/* Room in the receive buffer, in bytes. */
uint32_t guest__space(const struct guest_conn *c);
/* Sends what windows allow. */
void guest__output(struct guest_conn *c);
/* A SYN for the guest's program. */
void guest__accept(struct guest *g, const struct fake_seg *s);
/* Sends the SYN, or the SYN-ACK. */
void guest__send_syn(struct guest_conn *c);
/* Sends the first unacknowledged segment again. */
void guest__retransmit(struct guest_conn *c);
/* The program reads as its options say. */
void guest__read_some(struct guest_conn *c);
void guest__trace(const struct guest *g, const struct fake_seg *s,
		  const char *way);

/* test/guest_recv.c */
/* A packet arrives. */
void guest__input(void *arg, uint8_t *packet, size_t len);
/* The connection is gone; error: what the program is told. */
void guest__close(struct guest_conn *c, int error);

#endif
