/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One guest's link on the real stack, without a loop that runs: frames go in,
 * what the stack has for the guest is kept as it would be on the wire.
 */
#ifndef LWR_TEST_RIG_H
#define LWR_TEST_RIG_H

#include "core/config.h"
#include "core/link.h"
#include "core/log.h"
#include "core/pkt.h"
#include "core/stack.h"
#include "relay/dns.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { RIG_FRAMES = 512, RIG_FRAME_MAX = 65600 };

struct rig_frame {
	uint8_t *data;
	size_t len;
	uint8_t gso;
	uint16_t gso_size;
	struct lwr_pkt pkt; /* of it; src and dst as on the wire */
	enum lwr_drop drop; /* why it could not be parsed */
	bool csum_valid;
};

struct rig {
	uv_loop_t uv;
	struct lwr_loop loop;
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_stack stack;
	struct lwr_dns dns;
	struct lwr_link link;
	unsigned warnings; /* log lines of that level or worse */
	bool stuck; /* the link takes nothing */
	unsigned drains; /* calls of the link's drain */
	struct rig_frame frame[RIG_FRAMES]; /* that the guest received */
	unsigned frames;
	void (*on_packet)(struct rig *r, const struct lwr_pkt *pkt);
	void (*on_link_down)(struct rig *r);
	void *arg;
};

extern const uint8_t rig_mac[6]; /* the guest's */

/* Defaults in r->config; change them before rig_open(). */
void rig_init(struct rig *r);
void rig_open(struct rig *r);
void rig_close(struct rig *r);

/* Hands a frame to the stack, and what comes of it to the guest. */
void rig_send(struct rig *r, const void *frame, size_t len);
void rig_send_meta(struct rig *r, const void *frame, size_t len,
		   const struct lwr_frame_meta *meta);
/* Frames still in the ring reach the guest. */
void rig_flush(struct rig *r);
/* Moves the clock of a loop that does not run; timers stay as they are. */
void rig_later(struct rig *r, uint64_t ms);
/* Forgets received frames. */
void rig_clear(struct rig *r);
/* The i-th received frame; fails the test if there is none, or a bad one. */
const struct rig_frame *rig_frame(struct rig *r, unsigned i);

struct lwr_addr rig_addr(const char *text);

/*
 * Frames from the guest to the gateway's hardware address, or to a group's;
 * checksums filled in. They return the length; buf is RIG_FRAME_MAX long.
 */
size_t rig_ip(uint8_t *buf, const char *src, const char *dst, uint8_t proto,
	      uint8_t ttl, const void *l4, size_t len);
size_t rig_udp(uint8_t *buf, const char *src, uint16_t sport, const char *dst,
	       uint16_t dport, const void *data, size_t len);

/* Payload of a received UDP, ICMP or ICMPv6 packet behind its 8 bytes. */
const uint8_t *rig_payload(const struct rig_frame *f, size_t *len);

#endif
