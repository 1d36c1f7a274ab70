/* SPDX-License-Identifier: BSD-3-Clause */
/* Flows of datagrams and the peers that they may hear from: relay/udp*.c. */
#ifndef LWR_RELAY_UDP_FLOW_H
#define LWR_RELAY_UDP_FLOW_H

#include "core/demux.h"
#include "core/list.h"
#include "core/stack.h"
#include "platform/loop.h"
#include "relay/policy.h"
#include "relay/udp.h"

#include <stdbool.h>
#include <stdint.h>

struct lwr_link;
struct lwr_sock_in;
struct lwr_udp_flow;

enum {
	LWR_UDP_PEERS_MAX = 1024, /* of one flow */
	LWR_UDP_PEERS_SHARE = 4, /* of all flows, times u->limit */
	/* IPv4, IPv6; the same for the loopback, if others are bound. */
	LWR_UDP_SOCKS = 4,
};

/* What is known of one of two loopbacks: relay/udp_loopback.c. */
enum lwr_udp_loopback {
	LWR_UDP_NEW, /* or no loopback */
	LWR_UDP_TRIAL,
	LWR_UDP_PLAIN,
	LWR_UDP_MOVED,
	LWR_UDP_NEITHER,
};

/* A host destination that the guest has written to on this flow. */
struct lwr_udp_peer {
	struct lwr_demux_node demux; /* u->peers; key.host, hport: the host's */
	struct lwr_list node; /* flow->peers, oldest first */
	struct lwr_udp_flow *flow;
	struct lwr_dest guest; /* the same as the guest wrote it */
	uint64_t trial_ms; /* when the TRIAL began */
	enum lwr_udp_loopback loopback;
};

struct lwr_udp_sock {
	struct lwr_watch watch; /* fd -1: not opened */
	struct lwr_udp_flow *flow;
	struct lwr_list on_out; /* while datagrams of this tick wait */
	uint16_t out_first; /* of u->out's, if on_out */
	uint16_t out_last;
	uint32_t mtu; /* why the last send failed of EMSGSIZE; 0: unknown */
	bool readable; /* until EAGAIN */
	bool failed; /* reports wait in its error queue, until EAGAIN */
	bool df; /* as lwr__sock_dont_fragment() was told last, */
	bool df_set; /* if at all */
	bool large; /* the last datagrams need several frames each */
};

struct lwr_udp_flow {
	struct lwr_demux_node demux; /* u->flows; key.guest, gport */
	struct lwr_list age; /* u->age[class] */
	struct lwr_list on_link; /* link->udp or ->echo */
	struct lwr_list todo; /* u->ready or u->dead */
	struct lwr_udp *udp;
	struct lwr_link *link;
	uint64_t used_ms;
	uint64_t read_ns; /* when its sockets were read */
	uint64_t opened_ms;
	uint64_t id; /* for the user */
	uint64_t bytes_g2h; /* payload */
	uint64_t bytes_h2g;
	enum lwr_udp_class class;
	uint32_t got; /* then, and nothing was left; 0: something was */
	bool talks; /* to others than resolvers */
	bool dead;
	struct lwr_udp_sock sock[LWR_UDP_SOCKS];
	struct lwr_list peers;
	uint32_t n_peers;
	struct lwr_udp_peer first; /* one that no limit can deny */
};

struct lwr_udp_flow *lwr__udp_flow_find(struct lwr_udp *u,
					const struct lwr_link *link,
					const struct lwr_dest *guest);

/* Evicts a flow at a limit. NULL: no memory, or too many new ones. */
struct lwr_udp_flow *lwr__udp_flow_new(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest);

/* Finds it or makes it. */
struct lwr_udp_flow *lwr__udp_flow_get(struct lwr_udp *u, struct lwr_link *link,
				       const struct lwr_dest *guest);

/* The guest spoke, to a resolver or not; a peer did. */
void lwr__udp_flow_sent(struct lwr_udp_flow *f, bool query);
void lwr__udp_flow_heard(struct lwr_udp_flow *f);

/* Takes it out of every table and closes its sockets; freed by the reaper. */
void lwr__udp_flow_kill(struct lwr_udp_flow *f);

/* Kills what was idle too long, starts the timer for what expires next. */
void lwr__udp_flow_expire(struct lwr_udp *u);

/* The socket for a destination, opened if need be; *out. 0 or -errno. */
int lwr__udp_sock_get(struct lwr_udp_flow *f, const struct lwr_addr *host,
		      struct lwr_udp_sock **out);

/* NULL: the guest has not written there, or too long ago. */
struct lwr_udp_peer *lwr__udp_peer_find(struct lwr_udp_flow *f,
					const struct lwr_dest *host);

/* Remembers a destination; the flow's oldest is forgotten at a limit. */
struct lwr_udp_peer *lwr__udp_peer_note(struct lwr_udp_flow *f,
					const struct lwr_dest *host,
					const struct lwr_dest *guest);

/* ---- relay/udp_hook.c: the user's word ------------------------------------- */

/* About a destination that the rules allow; *host may change. */
enum lwr_verdict lwr__udp_ask(struct lwr_udp *u, const struct lwr_pkt *pkt,
			      const struct lwr_dest *dest,
			      struct lwr_dest *host);

/* ---- relay/udp_out.c: guest to host --------------------------------------- */

/* One datagram, or a train of them of `seg` bytes each where seg is not 0. */
struct lwr_udp_datagram {
	struct lwr_dest host;
	const uint8_t *data;
	size_t len;
	uint16_t seg;
	uint8_t ttl; /* 0: the host's default */
	bool df;
};

/* Returns 0 or -ENOMEM. */
int lwr__udp_out_init(struct lwr_udp *u);
void lwr__udp_out_fini(struct lwr_udp *u);
/* Copies it; it is sent by the end of the tick, or the guest is told why not. */
void lwr__udp_out_add(struct lwr_udp *u, struct lwr_udp_sock *s,
		      const struct lwr_udp_datagram *d);
/* Sends it before all that waits. */
void lwr__udp_out_now(struct lwr_udp_sock *s, const struct lwr_udp_datagram *d);
/* Sends what waits, of one socket or of all. */
void lwr__udp_out_flush_sock(struct lwr_udp *u, struct lwr_udp_sock *s);
void lwr__udp_out_flush(struct lwr_udp *u);

/* The TTL for the host: one less, as of any router's. */
uint8_t lwr__udp_ttl(const struct lwr_pkt *pkt);

/* ---- relay/udp_loopback.c: the gateway's address means two ---------------- */

/* Of a flow's destination that policy allowed: *host may become the other. */
void lwr__udp_loopback_choose(struct lwr_udp_flow *f,
			      const struct lwr_dest *guest,
			      struct lwr_dest *host);

/* A datagram goes to a peer; it sent one; it refused one. */
void lwr__udp_loopback_sent(struct lwr_udp_peer *p,
			    const struct lwr_udp_datagram *d);
void lwr__udp_loopback_heard(struct lwr_udp_peer *p);
/* True: not to be told. The flow may be dead then, or the peer another. */
bool lwr__udp_loopback_refused(struct lwr_udp_peer *p);

/* The flow ends. */
void lwr__udp_loopback_forget(struct lwr_udp_flow *f);

/* ---- relay/udp_host.c: host to guest -------------------------------------- */

/* watch.on_event of every socket. */
void lwr__udp_host_event(struct lwr_watch *w, uint32_t events);

/* Reads ready flows. Returns true if some are left that can be read. */
bool lwr__udp_host_read(struct lwr_udp *u);

/* relay/ping.c: an echo reply from a peer. */
void lwr__ping_deliver(struct lwr_udp_flow *f, const struct lwr_udp_peer *peer,
		       const struct lwr_sock_in *in);

/* ---- relay/udp_error.c ---------------------------------------------------- */

/* Tells the guest by ICMP what became of its packet of this tick. */
void lwr__udp_tell_errno(const struct lwr_pkt *pkt, int err);

/* The same for one that was queued; err is negative. */
void lwr__udp_tell_failed(struct lwr_udp_flow *f, struct lwr_udp_sock *s,
			  const struct lwr_udp_datagram *d, int err);

/* Reads the socket's error queue; the guest is told. */
void lwr__udp_read_errors(struct lwr_udp_flow *f, struct lwr_udp_sock *s);

/* The gateway's address of a packet's family: who refuses what it may not. */
const struct lwr_addr *lwr__udp_router(const struct lwr_link *link, bool four);

#endif
