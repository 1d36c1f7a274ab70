/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted guest: TCP (RFC 9293, RFC 5961 for RST) over fake_wire, small but
 * strict. Whatever a Linux guest would not accept, it does not accept either;
 * whatever the stack must never send is a failure.
 */
#ifndef LWR_TEST_GUEST_H
#define LWR_TEST_GUEST_H

#include "test/fake_seg.h"
#include "test/fake_wire.h"

#include <stdbool.h>
#include <stdint.h>

enum { GUEST_CONNS = 64, GUEST_RANGES = 512 };

/* What the guest's program and its TCP do; may change while it runs. */
struct guest_opts {
	uint16_t hport;
	bool six;
	uint8_t ttl; /* 0: 64 */
	uint32_t isn;
	uint16_t mss; /* its MSS option; 0: none */
	int ws; /* its window scale option; -1: none */
	bool ts;
	uint32_t rcvbuf;
	uint32_t seg; /* payload of the segments it sends */
	uint32_t cwnd; /* bytes in flight at most */
	uint64_t send; /* bytes that the program sends */
	bool fin_after_send;
	bool fin_on_eof; /* ends when the host has ended */
	bool paused; /* the program does not read */
	uint32_t rate; /* bytes it reads every read_ms; 0: all at once */
	uint32_t read_ms;
	bool silly; /* tells of every byte of window */
};

enum guest_state { GUEST_SYN_SENT, GUEST_OPEN, GUEST_CLOSED };

/* Positions: the SYN is 0, the first byte 1, the FIN behind the last. */
struct guest_conn {
	struct guest *guest;
	struct guest_opts o;
	uint16_t gport;
	enum guest_state state;
	int error; /* what connect() or read() would say, negative */
	bool answering; /* SYN_SENT, but it is a SYN-ACK */
	uint32_t irs; /* the stack's ISN */
	bool ws_on;
	bool ts_on;
	uint16_t offered_mss; /* in the stack's SYN; 0: none */
	uint16_t peer_mss; /* what it uses of that */
	uint8_t peer_ws;
	uint32_t tsecr;
	/* send */
	uint64_t una;
	uint64_t nxt;
	uint64_t max; /* highest nxt ever */
	uint64_t edge; /* where the stack's window ends */
	uint64_t wl1; /* position and ACK of the last window update */
	uint64_t wl2;
	uint64_t recover;
	unsigned dupacks;
	uint32_t rto_ms;
	struct fake_event *rto;
	/* receive */
	uint64_t rcv;
	uint64_t read; /* bytes the program read */
	uint64_t told; /* right edge told to the stack, the highest */
	uint64_t fin_at; /* where the stack's FIN is; 0: not seen */
	bool eof; /* the program read everything and the end */
	struct {
		uint64_t from, to;
	} range[GUEST_RANGES]; /* received out of order */
	unsigned ranges;
	struct fake_event *reader;
	/* counters */
	uint32_t syn_acks;
	uint32_t rsts;
	uint32_t icmps;
	struct lwr_addr icmp_from; /* who sent the last one */
	uint32_t no_ts; /* dropped: the timestamps that were agreed on lack */
	uint32_t max_data; /* longest payload received */
	uint64_t ended_ms; /* when it was reset */
};

struct guest {
	struct fake_wire *wire;
	struct guest_conn *conn[GUEST_CONNS];
	unsigned conns;
	uint16_t next_port;
	bool trace;
	bool vanished; /* hears and says nothing */
	uint32_t strays; /* segments of no connection */
	const struct guest_opts *listen; /* of connects to it; NULL: no answer */
	bool refuses; /* answers them with RST */
	bool raw; /* only on_seg sees what comes */
	/* Sees everything that comes first; may be NULL. */
	void (*on_seg)(void *arg, const struct fake_seg *s);
	void *arg;
};

void guest_init(struct guest *g, struct fake_wire *wire);
void guest_fini(struct guest *g);

/* 256 KiB of buffer, MSS 1460, window scale 7, timestamps. */
struct guest_opts guest_opts(uint16_t hport);
/* Sends the SYN. The result lives until guest_fini(). */
struct guest_conn *guest_connect(struct guest *g, const struct guest_opts *o);
/* Options changed: sends and reads what they allow now. */
void guest_kick(struct guest_conn *c);
/* The program resets the connection. */
void guest_reset(struct guest_conn *c);
/* Both ends were exchanged and acknowledged. */
bool guest_closed(const struct guest_conn *c);
/* One ACK with the current window, as a keep-alive would send it. */
void guest_ack(struct guest_conn *c);

/* A segment of the connection that a test fills in; ports are set. */
struct fake_seg guest_seg(const struct guest_conn *c, uint8_t flags);
/* Sends any segment past the guest's TCP. */
void guest_raw(struct guest *g, const struct fake_seg *s);

#endif
