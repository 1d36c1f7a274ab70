/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one owner of lwIP. Takes parsed guest packets, finds their connection,
 * and runs lwIP on it; sends what lwIP and the relay have for the guest.
 * Loop thread only.
 */
#ifndef LWR_CORE_STACK_H
#define LWR_CORE_STACK_H

#include "core/addr.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/demux.h"
#include "core/link.h"
#include "core/list.h"
#include "core/log.h"
#include "core/pkt.h"
#include "core/share.h"
#include "core/reass.h"
#include "core/stats.h"
#include "core/timewait.h"
#include "platform/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pbuf;
struct tcp_pcb;

enum lwr_conn_end {
	LWR_CONN_CLOSED, /* both FINs are through */
	LWR_CONN_RESET, /* the guest sent RST */
	LWR_CONN_TIMEOUT, /* the guest did not answer */
};

/*
 * One guest TCP connection; the relay embeds it in its flow. It is in the
 * demultiplexer from lwr__conn_add() to lwr__conn_remove(), with or without a
 * PCB: while the host connects there is none.
 */
struct lwr_conn {
	struct lwr_demux_node demux; /* key: link, addresses, ports */
	struct lwr_list on_link; /* link->conns */
	struct lwr_list on_due; /* stack->due: lwIP has a timer running */
	struct lwr_list on_ack; /* stack->ack, ->ack_now: an ACK is due */
	struct lwr_list on_blocked; /* link->blocked: the h2g ring was full */
	struct lwr_link *link;
	struct tcp_pcb *pcb;
	uint32_t edge; /* right edge of the guest's window, last seen */
	uint32_t window; /* receive window that the guest may fill */
	uint32_t moved; /* bytes credited since it last grew */
	uint16_t mtu; /* by which the MSS is agreed on; 0: the link's */
	uint16_t wire_mss; /* MSS agreed with the guest, options included */
	uint16_t gso_size; /* payload bytes of one packet on its wire */
	uint16_t probe_every; /* ticks between probes of a closed window; 0: open */
	uint16_t probe_wait; /* ticks until the next */
	uint16_t super_mss; /* n * gso_size and options: a whole segment */
	uint8_t ttl; /* of the guest's last segment, or of its held SYN */
};

/* Core to relay. Every function but on_syn may be called in lwIP's callbacks. */
struct lwr_stack_hooks {
	/*
	 * A SYN of an unknown connection. The relay adds a conn and later calls
	 * lwr__conn_accept() or _refuse(), or answers otherwise.
	 */
	void (*on_syn)(void *arg, const struct lwr_pkt *pkt);
	/* A repeated SYN or a RST of a conn that has no PCB yet. */
	void (*on_early)(void *arg, struct lwr_conn *c,
			 const struct lwr_pkt *pkt, bool rst);
	/* The handshake is complete. */
	void (*on_open)(void *arg, struct lwr_conn *c);
	/* Payload in order; the pbuf is the relay's. NULL: the guest's FIN. */
	void (*on_data)(void *arg, struct lwr_conn *c, struct pbuf *p);
	/* The guest acknowledged n bytes: their memory is the relay's again. */
	void (*on_acked)(void *arg, struct lwr_conn *c, uint32_t n);
	/* More may be sent: the window or the ring opened. */
	void (*on_writable)(void *arg, struct lwr_conn *c);
	/* The PCB is gone; conn->pcb is NULL already. */
	void (*on_end)(void *arg, struct lwr_conn *c, enum lwr_conn_end end);
	/* Any other valid packet: ARP, UDP, ICMP, ICMPv6; never fragments. */
	void (*on_packet)(void *arg, const struct lwr_pkt *pkt);
	/* A link went down; its conns are removed by the relay. */
	void (*on_link_down)(void *arg, struct lwr_link *link);
	/* And will not come up again. May be NULL. */
	void (*on_link_gone)(void *arg, struct lwr_link *link);
};

struct lwr_stack {
	struct lwr_loop *loop;
	const struct lwr_config *config;
	const struct lwr_log *log;
	const struct lwr_stack_hooks *hooks;
	void *arg; /* of the hooks */
	struct lwr_demux demux;
	struct lwr_timewait timewait;
	struct lwr_reass reass;
	struct lwr_list links;
	struct lwr_list drain; /* links with frames in their h2g ring */
	struct lwr_list due;
	struct lwr_list ack;
	struct lwr_list ack_now; /* at the end of this tick */
	struct lwr_timer slow; /* 500 ms, while `due` is not empty */
	struct lwr_timer fast; /* delayed ACKs, while `ack` is not empty */
	struct lwr_sharing sharing;
	uint64_t promised; /* bytes that receive windows have grown */
	uint64_t isn_key[2]; /* RFC 6528 */
	uint32_t next_link_id;
	uint64_t next_flow_id; /* of all protocols */
	struct lwr_stats stats; /* of links that are gone, and of none */
};

/* Only one stack may be open in a process: else -EBUSY. */
int lwr__stack_init(struct lwr_stack *s, struct lwr_loop *loop,
		    const struct lwr_config *config, const struct lwr_log *log,
		    const struct lwr_stack_hooks *hooks, void *arg);
void lwr__stack_fini(struct lwr_stack *s);

/* link->ops, caps and name are set by the caller. Returns 0 or -errno. */
int lwr__stack_add_link(struct lwr_stack *s, struct lwr_link *link);
/* Tells the relay (on_link_down), drops queued frames, forgets the link. */
void lwr__stack_remove_link(struct lwr_link *link);
/* The guest left but the link stays: as above, ready for the next guest. */
void lwr__stack_reset_link(struct lwr_link *link);

/*
 * A frame from the guest: p is one contiguous pbuf, which the stack takes.
 * Input is cheap to call many times; output is sent at the end of the tick.
 */
void lwr__stack_input(struct lwr_link *link, struct pbuf *p,
		      const struct lwr_frame_meta *meta);

/* The link can take frames again: drains its ring and resumes its conns. */
void lwr__stack_drain(struct lwr_link *link);

/* The same for all links that have frames queued in this tick. */
void lwr__stack_drain_all(struct lwr_stack *s);

/* End of a tick: hands queued frames of all links to them. */
void lwr__stack_flush(struct lwr_stack *s);

/* The tuple of a packet from a guest. */
void lwr__stack_key(struct lwr_key *key, const struct lwr_pkt *pkt);

/* Sum of all counters, links included. */
void lwr__stack_stats(const struct lwr_stack *s, struct lwr_stats *sum);

/* ---- connections ------------------------------------------------------ */

/* Enters the tuple, which is in no table yet, for a conn without PCB. */
void lwr__conn_add(struct lwr_link *link, struct lwr_conn *c,
		   const struct lwr_key *key);

/*
 * The host's packets hold `mss` bytes of payload; 0: unknown. Offers the guest
 * an MSS by which its segments are whole ones; it is sent no larger ones either.
 * Before accept or connect.
 */
void lwr__conn_fit(struct lwr_conn *c, uint32_t mss);

/*
 * Replays the SYN, `syn` of `len` bytes (the TCP header with options), to
 * lwIP, which answers with SYN-ACK. Returns 0 or -ENOMEM.
 */
int lwr__conn_accept(struct lwr_conn *c, const void *syn, size_t len);

/*
 * Opens towards the guest, whose hardware address is known: sends SYN from
 * key.host to key.guest, repeated by lwIP. on_open or on_end (LWR_CONN_RESET:
 * refused) follows; how long to wait is the caller's. Returns 0 or -ENOMEM.
 */
int lwr__conn_connect(struct lwr_conn *c);

/* Answers a SYN with RST: connection refused. */
void lwr__conn_refuse(struct lwr_link *link, const struct lwr_addr *src,
		      uint16_t sport, const struct lwr_addr *dst,
		      uint16_t dport, uint32_t seq);

/*
 * Bytes that may be written now without anything being left unsent. 0 where
 * the ring is full: on_writable follows when it has drained.
 */
uint32_t lwr__conn_room(struct lwr_conn *c);

/* Payload bytes of the largest segment. */
uint16_t lwr__conn_segment(const struct lwr_conn *c);

/*
 * There is payload to send and no room: if the guest's window is closed and
 * nothing in flight, it is probed until it opens.
 */
void lwr__conn_stalled(struct lwr_conn *c);

/*
 * Queues payload for the guest without copying: `data` stays valid until it
 * was acknowledged, in a chunk (core/buf.h) unless `copy`. Returns 0 or -errno.
 */
int lwr__conn_write(struct lwr_conn *c, const void *data, uint16_t len,
		    bool copy);
/* Sends what is queued. */
void lwr__conn_output(struct lwr_conn *c);
/*
 * Opens the guest's window by n bytes that the host kernel took. `grow`: the
 * host keeps up and there is memory, so the window may become larger.
 */
void lwr__conn_credit(struct lwr_conn *c, uint32_t n, bool grow);
/* FIN after all queued payload. Returns 0 or -ENOMEM (try again later). */
int lwr__conn_shutdown(struct lwr_conn *c);
/* RST to the guest and the PCB's end; on_end is not called. */
void lwr__conn_abort(struct lwr_conn *c);
/* Milliseconds since the guest's last segment. */
uint64_t lwr__conn_idle_ms(const struct lwr_conn *c);
/* One keep-alive probe; returns how many are unanswered now. */
unsigned lwr__conn_probe(struct lwr_conn *c);
/* Takes the conn out of every table; the PCB must be gone. */
void lwr__conn_remove(struct lwr_stack *s, struct lwr_conn *c);

/* ---- other output ------------------------------------------------------ */

/* A pbuf of len bytes with room for all headers in front; NULL: no memory. */
struct pbuf *lwr__send_alloc(size_t len);

/*
 * Sends an IP packet whose payload is p, fragmented where it exceeds the
 * link's MTU; takes p. Checksums inside p are the caller's.
 */
void lwr__send_ip(struct lwr_link *link, struct pbuf *p,
		  const struct lwr_addr *src, const struct lwr_addr *dst,
		  uint8_t proto, uint8_t ttl);

/*
 * Sends a UDP payload p, taken; `seg` not 0: several datagrams of that size,
 * cut here where the link cannot.
 */
void lwr__send_udp(struct lwr_link *link, struct pbuf *p, uint16_t seg,
		   const struct lwr_addr *src, uint16_t sport,
		   const struct lwr_addr *dst, uint16_t dport);

/* Sends an Ethernet payload; takes p. */
void lwr__send_eth(struct lwr_link *link, struct pbuf *p, uint16_t ethertype,
		   const uint8_t dst[6]);

/* ---- ICMP errors: core/stack_icmp.c -------------------------------------- */

enum lwr_unreach {
	LWR_UNREACH_NET,
	LWR_UNREACH_HOST,
	LWR_UNREACH_PROTO,
	LWR_UNREACH_PORT,
	LWR_UNREACH_PROHIBITED,
	LWR_UNREACH_TOO_BIG, /* with lwr__send_too_big() */
	LWR_UNREACH_TTL, /* time exceeded in transit */
	LWR_UNREACH_REASSEMBLY, /* time exceeded for missing fragments */
};

/*
 * An ICMP or ICMPv6 error for a guest's packet, quoting it (RFC 792, RFC
 * 4443). `ip` points at its IP header, of `len` bytes and the family of
 * `from`. Nothing is sent where no error is due, or if there were too many.
 */
void lwr__send_unreach(struct lwr_link *link, enum lwr_unreach why,
		       const struct lwr_addr *from, const void *ip, size_t len);
/* Fragmentation needed, or packet too big: `mtu` would have passed. */
void lwr__send_too_big(struct lwr_link *link, uint32_t mtu,
		       const struct lwr_addr *from, const void *ip, size_t len);

#endif
