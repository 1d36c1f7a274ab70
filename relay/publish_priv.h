/* SPDX-License-Identifier: BSD-3-Clause */
/* Between relay/publish*.c. */
#ifndef LWR_RELAY_PUBLISH_PRIV_H
#define LWR_RELAY_PUBLISH_PRIV_H

#include "relay/policy.h"
#include "relay/publish.h"

struct lwr_flow_info;
struct lwr_hook_set;

enum {
	LWR_PUBLISH_STEP_MS = 50, /* between looks at who waits */
	LWR_PUBLISH_BUF = 65536, /* bytes of p->buf */
};

/* relay/publish_guest.c: which address of the guest, seen from whom */

/*
 * Which of the guest's addresses a client of family `six` is led to: 0 IPv4,
 * 1 IPv6, -1: not known yet, and asked for. `since` is when it came.
 */
int lwr__publish_choose(struct lwr_publish *p, struct lwr_link *link, bool six,
			uint64_t since);
/*
 * Fills a key with the guest's address and who the guest sees: the client
 * where that can be, else the gateway with a port that is free in both
 * `taken` tables. client NULL: it has no address. False: no port is free.
 */
bool lwr__publish_key(struct lwr_link *link, int six, uint16_t gport,
		      const struct lwr_dest *client,
		      const struct lwr_demux *taken, struct lwr_key *key);
/*
 * Asks the user about a client, `host`, of the tuple `key`; info has id and
 * protocol. False: it may not; else *gport, the guest's, may have changed.
 */
bool lwr__publish_ask(struct lwr_hook_set *hooks, struct lwr_flow_info *info,
		      const struct lwr_link *link, const struct lwr_key *key,
		      const struct lwr_dest *host, uint16_t *gport);
/* Runs the timer as long as somebody waits. */
void lwr__publish_wait(struct lwr_publish *p);

/* relay/publish_tcp.c */
/* Takes a client's socket; client NULL: a Unix socket's. */
void lwr__publish_client(struct lwr_publish_port *port, int fd,
			 const struct lwr_dest *client);
/* Leads who waits to its guest where it is known now; `link` NULL: any. */
void lwr__publish_tcp_look(struct lwr_publish *p, struct lwr_link *link);
void lwr__publish_tcp_down(struct lwr_publish *p, const struct lwr_link *link);

/* relay/publish_udp.c */
int lwr__publish_udp_init(struct lwr_publish *p);
void lwr__publish_udp_fini(struct lwr_publish *p);
/* Reads datagrams. True: some are left that can be read. */
bool lwr__publish_udp_read(struct lwr_publish_port *port);
void lwr__publish_udp_look(struct lwr_publish *p, struct lwr_link *link);
/* Ends the clients of a link (NULL: of any) and port (NULL: every). */
void lwr__publish_udp_end(struct lwr_publish *p, const struct lwr_link *link,
			  const struct lwr_publish_port *port);

#endif
