/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions put to the host's resolvers. */
#ifndef LWR_RELAY_DNS_UPSTREAM_H
#define LWR_RELAY_DNS_UPSTREAM_H

#include "core/list.h"
#include "core/log.h"
#include "platform/loop.h"
#include "relay/dns.h"
#include "relay/dns_cache.h"
#include "relay/dns_health.h"
#include "relay/dns_msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lwr_dns_via;

enum {
	LWR_DNS_JOIN = 256, /* buckets of questions in flight */
	LWR_DNS_OUT = 32 * 1024,
	LWR_DNS_IDS = 64,
};

struct lwr_dns_upstream {
	struct lwr_loop *loop;
	const struct lwr_log *log;
	const struct lwr_dns *dns; /* who to ask */
	struct lwr_dns_cache *cache; /* answers go there */
	struct lwr_dns_health health[LWR_DNS_MAX];
	uint32_t generation; /* of dns, that health belongs to */
	struct lwr_dns_via *open[LWR_DNS_MAX]; /* where the next one goes */
	struct lwr_list due; /* questions, next deadline first */
	struct lwr_list join[LWR_DNS_JOIN]; /* by key: who may share */
	struct lwr_list ready; /* sockets to look at in this tick */
	struct lwr_list unsent; /* sockets with questions to be sent in it */
	bool sending; /* in this tick one has left already */
	struct lwr_list dead; /* sockets, freed at the end of the tick */
	struct lwr_timer timer; /* of the first deadline */
	uint32_t questions; /* in flight */
	uint32_t streams; /* TCP connections */
	size_t bytes; /* of those questions */
	uint64_t k[2];
	uint16_t id[LWR_DNS_IDS]; /* random numbers at hand */
	unsigned ids;
	uint8_t *buf; /* one message */
	uint8_t *out; /* LWR_DNS_OUT bytes: questions that leave together */
};

/* Somebody who waits for an answer; the owner embeds it. */
struct lwr_dns_wait {
	struct lwr_list node;
	/* Once, within a tick; len 0: no resolver answered. */
	void (*on_answer)(struct lwr_dns_wait *w, const uint8_t *msg,
			  size_t len);
};

/* Returns 0 or -ENOMEM. */
int lwr__dns_upstream_init(struct lwr_dns_upstream *u, struct lwr_loop *loop,
			   const struct lwr_log *log, const struct lwr_dns *dns,
			   struct lwr_dns_cache *cache);
/* All waits must have been cancelled. */
void lwr__dns_upstream_fini(struct lwr_dns_upstream *u);

/*
 * Asks; `tcp`: the answer may be of any size. On 0, on_answer follows, perhaps
 * from within this call. Returns 0, or -errno at a limit.
 */
int lwr__dns_ask(struct lwr_dns_upstream *u, struct lwr_dns_wait *w,
		 const struct lwr_dns_query *q, const uint8_t *msg, size_t len,
		 bool tcp);

/* The wait is over, or never was. */
void lwr__dns_cancel(struct lwr_dns_wait *w);

/* Once a tick: reads sockets. True: work is left. */
bool lwr__dns_upstream_tick(struct lwr_dns_upstream *u);
/* At the end of the tick. */
void lwr__dns_upstream_reap(struct lwr_dns_upstream *u);

#endif
