/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Published ports: clients of the host reach a program of the guest. Added and
 * removed while the relay runs. Loop thread only.
 */
#ifndef LWR_RELAY_PUBLISH_H
#define LWR_RELAY_PUBLISH_H

#include "core/demux.h"
#include "core/list.h"
#include "core/stack.h"
#include "platform/loop.h"
#include "platform/unix.h"

#include <stdbool.h>
#include <stdint.h>

enum { LWR_PUBLISH_ERROR = 256, LWR_PUBLISH_TEXT = 160 };

struct lwr_tcp;
struct lwr_published;

/* [ADDR:]PORT[-END][:GUESTPORT][/udp] or unix:PATH:GUESTPORT, taken apart. */
struct lwr_publish_spec {
	bool any; /* no ADDR: every address of the host, both families */
	bool udp;
	struct lwr_addr addr;
	uint16_t first; /* ports of the host; 0: the host chooses */
	uint16_t last;
	uint16_t guest; /* the guest's for `first`; 0: as the host's */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": none */
};

/* Returns 0, or -EINVAL with the reason in err. */
int lwr__publish_parse(struct lwr_publish_spec *s, const char *text,
		       char err[LWR_PUBLISH_ERROR]);

struct lwr_flow_info;

/* One listening socket. */
struct lwr_publish_port {
	struct lwr_watch watch;
	struct lwr_list todo; /* publish->ready or ->starved */
	struct lwr_published *rule;
	uint32_t serial; /* UDP: its part of the clients' keys */
	uint16_t port; /* of the host; 0: a Unix socket */
	uint16_t gport;
};

/* What one lwr__publish_add() made. */
struct lwr_published {
	struct lwr_list node; /* publish->rules or ->dead */
	struct lwr_publish *publish;
	struct lwr_link *link;
	uint32_t id;
	bool ended; /* by lwr__publish_end() */
	struct lwr_publish_spec spec;
	struct lwr_unix sock; /* of spec.path */
	unsigned ports;
	struct lwr_publish_port port[];
};

struct lwr_publish {
	struct lwr_stack *stack;
	struct lwr_tcp *tcp;
	struct lwr_list rules;
	struct lwr_list dead; /* rules, freed at the end of the tick */
	struct lwr_list ready; /* ports with clients or datagrams to take */
	struct lwr_list starved; /* ports that found no descriptor left */
	struct lwr_list waiting; /* TCP flows whose guest is not up yet */
	struct lwr_timer starved_timer;
	struct lwr_timer waiting_timer; /* also of udp_waiting */
	uint32_t next_id;
	uint32_t next_serial;
	/* UDP, relay/publish_udp.c */
	struct lwr_demux clients; /* key: port, the client's address and port */
	struct lwr_demux guests; /* key: as of a packet of the guest's */
	struct lwr_list udp_lru; /* longest unused first */
	struct lwr_list udp_waiting; /* flows whose guest is not up yet */
	struct lwr_timer udp_timer;
	uint8_t *buf; /* one datagram, or a train of them */
};

/* Returns 0 or -ENOMEM. */
int lwr__publish_init(struct lwr_publish *p, struct lwr_stack *stack,
		      struct lwr_tcp *tcp);
/* The links are gone, and all that was published for them. */
void lwr__publish_fini(struct lwr_publish *p);

/*
 * Listens as `text` says, for the guest of the link. Returns its id (> 0), or
 * -errno with the reason in err, the port named.
 */
int lwr__publish_add(struct lwr_publish *p, struct lwr_link *link,
		     const char *text, char err[LWR_PUBLISH_ERROR]);
/*
 * The rule is unknown from now on; what it listens to ends with the call after
 * that. TCP connections go on. Returns 0 or -ENOENT.
 */
int lwr__publish_end(struct lwr_publish *p, uint32_t id);
void lwr__publish_remove_ended(struct lwr_publish *p);
/* The rule after `r`, or the first for NULL; NULL at the end. */
const struct lwr_published *lwr__publish_next(const struct lwr_publish *p,
					      const struct lwr_published *r);
/* NULL: there is none of that id. */
const struct lwr_published *lwr__publish_find(const struct lwr_publish *p,
					      uint32_t id);
/* "127.0.0.1:8080 -> 80/tcp"; returns buf. */
const char *lwr__publish_text(const struct lwr_publish_port *port,
			      char buf[LWR_PUBLISH_TEXT]);

/* Once a tick: accepts, reads. True: work is left. */
bool lwr__publish_tick(struct lwr_publish *p);
/* Frees removed rules at the end of the tick. */
void lwr__publish_reap(struct lwr_publish *p);

/* An address of the link's guest became known (link->guest). */
void lwr__publish_guest_seen(struct lwr_publish *p, struct lwr_link *link);
/* The guest left: who waits for it is reset. */
void lwr__publish_link_down(struct lwr_publish *p, struct lwr_link *link);
/* The link itself is no more. */
void lwr__publish_link_gone(struct lwr_publish *p, struct lwr_link *link);

/*
 * The UDP client after *at, or the first where that is NULL, that talks to the
 * guest of the link; *at moves on. False: there is none.
 */
bool lwr__publish_udp_next(const struct lwr_publish *p,
			   const struct lwr_link *link,
			   const struct lwr_list **at,
			   struct lwr_flow_info *info);

/* A UDP packet of a guest. True: it went to a client of a published port. */
bool lwr__publish_udp_input(struct lwr_publish *p, const struct lwr_pkt *pkt);

#endif
