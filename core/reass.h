/* SPDX-License-Identifier: BSD-3-Clause */
/* Reassembly of a guest's IPv4 and IPv6 fragments. */
#ifndef LWR_CORE_REASS_H
#define LWR_CORE_REASS_H

#include "core/demux.h"
#include "core/list.h"
#include "core/pkt.h"
#include "platform/loop.h"

#include <stddef.h>
#include <stdint.h>

struct lwr_link;

enum {
	LWR_REASS_SETS_LINK = 64, /* incomplete packets of one link */
	LWR_REASS_SETS = 1024, /* of all links */
	LWR_REASS_BYTES_LINK = 5 * 1024 * 1024, /* their memory */
	LWR_REASS_BYTES = 32 * 1024 * 1024,
	LWR_REASS_PARTS = 512, /* fragments of one packet */
	LWR_REASS_MS4 = 30 * 1000, /* how long the first one waits */
	LWR_REASS_MS6 = 60 * 1000, /* RFC 8200 4.5 */
};

struct lwr_reass {
	struct lwr_loop *loop;
	struct lwr_demux sets; /* key: link, addresses, identification */
	struct lwr_list age[2]; /* IPv4 and IPv6, oldest first */
	struct lwr_timer timer; /* the next expiry; stopped without sets */
	size_t bytes; /* memory of all sets */
};

/* Returns 0 or -ENOMEM. */
int lwr__reass_init(struct lwr_reass *r, struct lwr_loop *loop);
void lwr__reass_fini(struct lwr_reass *r);

/*
 * Takes a fragment's bytes. Returns NULL, or the frame of the whole packet
 * if this was its last missing piece: *len bytes, not parsed, to be freed.
 */
uint8_t *lwr__reass_input(struct lwr_reass *r, const struct lwr_pkt *pkt,
			  uint32_t *len);

/* Forgets the link's fragments. */
void lwr__reass_link_down(struct lwr_reass *r, struct lwr_link *link);

#endif
