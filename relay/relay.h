/* SPDX-License-Identifier: BSD-3-Clause */
/* One relay: the stack and every service on it, composed. Loop thread only. */
#ifndef LWR_RELAY_RELAY_H
#define LWR_RELAY_RELAY_H

#include "core/buf.h"
#include "core/config.h"
#include "core/log.h"
#include "core/stack.h"
#include "core/stats.h"
#include "platform/loop.h"
#include "platform/routes.h"
#include "relay/dns.h"
#include "relay/dns_server.h"
#include "relay/hooks.h"
#include "relay/services.h"
#include "relay/publish.h"
#include "relay/tcp.h"
#include "relay/udp.h"

#include <stdint.h>
#include <uv.h>

struct lwr_relay {
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_hook_set hooks; /* set by the owner after init */
	struct lwr_loop loop;
	struct lwr_stack stack;
	struct lwr_tcp tcp;
	struct lwr_udp udp;
	struct lwr_udp ping;
	struct lwr_publish publish;
	struct lwr_dns dns;
	struct lwr_dns_server dns_server;
	struct lwr_services services;
	struct lwr_routes routes; /* of the host */
	void (*on_closed)(struct lwr_relay *r);
	void *owner;
};

/*
 * Returns 0 or -errno. `uv` and the memory are borrowed until on_closed, which
 * comes once: after lwr__relay_close(), or at once or later after a failure.
 */
int lwr__relay_init(struct lwr_relay *r, uv_loop_t *uv,
		    const struct lwr_config *config, const struct lwr_log *log,
		    void (*on_closed)(struct lwr_relay *r));

/* Ends every flow (the peers see RST) and link; then on_closed. */
void lwr__relay_close(struct lwr_relay *r);

/* Sum of all counters. */
void lwr__relay_stats(const struct lwr_relay *r, struct lwr_stats *sum);

#endif
