/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the stack. */
#ifndef LWR_CORE_STACK_PRIV_H
#define LWR_CORE_STACK_PRIV_H

#include "core/stack.h"
#include "lwip/err.h"

struct netif;

/*
 * Payload stops beyond so many bytes in a link's ring: what waits there delays
 * every other flow of the guest, and has left the cache when it is written.
 */
#ifndef LWR_RING_BYTES
#define LWR_RING_BYTES (1024 * 1024)
#endif

/* Bytes of the option in each segment once it is agreed on (RFC 7323 3.2). */
#define LWR_TCP_TIMESTAMP 12

/* Receive window of a new connection, in bytes. */
#define LWR_WINDOW_FIRST (128 * 1024)

/* core/lwip.c: the only file that touches lwIP's global state. */
int lwr__lwip_open(struct lwr_stack *s);
void lwr__lwip_close(struct lwr_stack *s);
/*
 * Around each call of lwIP's for a conn. Returns false when it was entered
 * already (a callback); leave takes that back. The PCB may be gone afterwards.
 */
bool lwr__lwip_enter(struct lwr_conn *c);
void lwr__lwip_leave(struct lwr_conn *c, bool entered);
/* Bytes that may be in flight to the guest. */
uint32_t lwr__lwip_window(const struct tcp_pcb *pcb);
/* Makes the link's netif usable; lwIP never sees more than one at a time. */
void lwr__lwip_netif(struct lwr_link *link);
/* A segment for a conn with a PCB; p starts at the TCP header, and is taken. */
void lwr__lwip_input(struct lwr_conn *c, struct pbuf *p);
/* True from our SYN to the guest's answer. */
bool lwr__lwip_calling(const struct lwr_conn *c);
/* A segment that belongs to nothing: answered with RST; p is taken. */
void lwr__lwip_stray(struct lwr_link *link, const struct lwr_pkt *pkt,
		     struct pbuf *p);
/* 100 ms have passed for this conn. */
void lwr__lwip_slow(struct lwr_conn *c);
/* Sends a delayed ACK, if one is still due. */
void lwr__lwip_ack(struct lwr_conn *c);
/* True while lwIP has a timer running for this conn. */
bool lwr__lwip_due(const struct lwr_conn *c);

/* core/conn.c: retries what a full ring kept back. */
void lwr__conn_resume(struct lwr_conn *c);
/* The conn is over: what its window had grown others may have. */
void lwr__conn_promise_kept(struct lwr_conn *c);
/* A tick of a conn whose window is closed. */
void lwr__conn_probe_window(struct lwr_conn *c);

/* core/stack_send.c: netif->output of either family. */
err_t lwr__send_tcp(struct lwr_link *link, struct lwr_conn *c, struct pbuf *p,
		    uint16_t ethertype);

/* core/segment.c: a valid TCP segment of a guest; p, its frame, is taken. */
void lwr__stack_segment(struct lwr_stack *s, const struct lwr_pkt *pkt,
			struct pbuf *p);

/* core/stack.c */
/* Puts the conn on the timer lists that its PCB asks for. */
void lwr__stack_settle(struct lwr_conn *c);
/* Queues a frame; its reference is the ring's own. -EAGAIN: full. */
int lwr__stack_push(struct lwr_link *link, const struct lwr_frame *f);

#endif
