/* SPDX-License-Identifier: BSD-3-Clause */
/* A TCP flow, between relay/tcp.c, relay/connect.c and relay/pump.c. */
#ifndef LWR_RELAY_FLOW_H
#define LWR_RELAY_FLOW_H

#include "relay/half.h"
#include "relay/policy.h"
#include "relay/tcp.h"

enum lwr_flow_state {
	LWR_FLOW_CONNECTING, /* the guest's SYN is held */
	LWR_FLOW_OPENING, /* the host is connected, SYN-ACK is out */
	LWR_FLOW_WAITING, /* a client; the guest's address is not known yet */
	LWR_FLOW_CALLING, /* a client; SYN to the guest is out */
	LWR_FLOW_OPEN,
	LWR_FLOW_DEAD, /* on tcp->dead */
};

struct lwr_syn;

struct lwr_flow {
	struct lwr_conn conn;
	struct lwr_watch watch; /* the host socket */
	struct lwr_list node; /* tcp->pending, ->alive, ->dead, or waiting */
	struct lwr_list on_ready; /* tcp->ready or ->bulk */
	struct lwr_tcp *tcp;
	struct lwr_syn *syn; /* the held SYN; NULL after it was replayed */
	struct pbuf *g2h_head; /* payload that the host did not take yet */
	struct pbuf *g2h_tail;
	struct lwr_chunk *h2g_head; /* not yet acknowledged by the guest */
	struct lwr_chunk *h2g_tail;
	uint64_t id; /* for logs and the user */
	uint64_t bytes_g2h; /* payload that the host took */
	uint64_t bytes_h2g; /* payload that was read from it */
	uint64_t opened_ms; /* when the SYN came */
	uint64_t at_ms; /* when `node` is looked at next */
	uint32_t g2h_len; /* bytes in the g2h queue */
	uint32_t g2h_room; /* bytes free in the tail, if it is a collector */
	uint32_t g2h_unit; /* of lwr__sock_unit(), or 0: not asked yet */
	uint32_t h2g_sent; /* stream offset, modulo 2^32 */
	uint32_t h2g_acked;
	struct lwr_dest host; /* what it is connected to; a client's address */
	int err; /* why it ended */
	uint8_t hops; /* TTL that its connect was given; 0: the usual one */
	bool last_chance; /* no other loopback is tried after this one */
	bool published; /* opened by a client of the host, */
	bool unasked; /* about whom the user was not asked yet, or said no */
	uint8_t state; /* enum lwr_flow_state */
	uint8_t g2h; /* enum lwr_half */
	uint8_t h2g;
	bool readable; /* of the host socket: until EAGAIN */
	bool writable;
	bool hangup; /* read until EAGAIN, the end or the error */
	bool error; /* the socket has one pending */
	bool bulk; /* the last read was filled: read into many chunks */
	bool finished; /* lwIP closed its side in order */
};

static inline struct lwr_flow *lwr__flow_of(struct lwr_conn *c)
{
	return LWR_CONTAINER(c, struct lwr_flow, conn);
}

/* relay/tcp.c */
/* A flow around a host socket, in no list and no table. NULL: no memory. */
struct lwr_flow *lwr__flow_new(struct lwr_tcp *t, struct lwr_link *link,
			       int fd);
/* Another host socket takes the place of the first. Returns 0 or -errno. */
int lwr__flow_rewatch(struct lwr_flow *f, int fd);
/* Gives it connect_timeout_ms to become OPEN. */
void lwr__flow_pending(struct lwr_flow *f);
void lwr__flow_ready(struct lwr_flow *f);

/* The host is connected: segments as lwr__conn_fit() has them, if they are large. */
void lwr__flow_fit(struct lwr_flow *f);
/* Ends the flow: the guest sees RST if it is still connected. */
void lwr__flow_kill(struct lwr_flow *f, bool reset_host);

/* relay/hops.c */
/* The TTL that a SYN's connect has to have; 0: the host's usual one. */
uint8_t lwr__hops_of(const struct lwr_pkt *pkt);
/* The repeated SYN has another TTL than the held one, and asks anew. */
bool lwr__hops_differ(const struct lwr_flow *f, const struct lwr_pkt *syn);
/* Why a router ended the connect, a negative errno, and which; 0: none did. */
int lwr__hops_report(struct lwr_flow *f, struct lwr_addr *by);
/* The connection stands. */
void lwr__hops_opened(struct lwr_flow *f);

/* relay/connect.c */
/* The host socket told something while the SYN is held. */
void lwr__flow_connecting(struct lwr_flow *f);
void lwr__connect_timeouts(struct lwr_tcp *t);
/* A limit of the relay's own or of the link that is reached, or NULL. */
const char *lwr__tcp_limit(const struct lwr_tcp *t, struct lwr_link *link);
/* Warns of a limit, at most once a minute. */
void lwr__tcp_log_limit(struct lwr_tcp *t, const char *what);

/* relay/publish_tcp.c */
/* The guest refused a client, or said nothing. */
void lwr__flow_unanswered(struct lwr_flow *f, enum lwr_conn_end end);

/* Payload for the host that is held, for the relay and for the link. */
static inline void lwr__flow_hold(struct lwr_flow *f, int64_t bytes)
{
	f->tcp->queued += (uint64_t)bytes;
	f->conn.link->buffered += (uint64_t)bytes;
}

/* relay/pump.c */
/* Payload from the guest; taken. */
void lwr__flow_append(struct lwr_flow *f, struct pbuf *p);
void lwr__flow_guest_eof(struct lwr_flow *f);
/* Returns 0 or the host socket's -errno. */
int lwr__flow_pump_g2h(struct lwr_flow *f);
/* Returns 1 if its share of the tick ran out, 0, or -errno. */
int lwr__flow_pump_h2g(struct lwr_flow *f);
/* Gives back what the guest acknowledged; `all`: everything. */
void lwr__flow_release(struct lwr_flow *f, bool all);

#endif
