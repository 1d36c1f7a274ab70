/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * platform/sock.h without a host: each connect meets the plan of its port, and
 * what the plan makes is an endpoint that behaves as Linux' TCP does.
 */
#ifndef LWR_TEST_FAKE_SOCK_H
#define LWR_TEST_FAKE_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_event;

enum { FAKE_NEVER = UINT32_MAX };

/* What connects to a port of the host meet, and what its program does. */
struct fake_plan {
	uint16_t port;
	int result; /* of connect(): 0 or a negative errno */
	uint32_t after_ms; /* when; FAKE_NEVER: no answer */
	bool at_once; /* already in connect() itself */
	bool six; /* the routers are of IPv6 */
	uint16_t mss; /* payload of a packet; 0: 1448 */
	uint8_t routers; /* on the way; a TTL up to that ends at one of them */
	uint32_t sndbuf; /* bytes that wait for the program at most */
	uint32_t rcvbuf; /* bytes that wait for the relay at most */
	uint64_t send; /* bytes that the program sends */
	bool fin_after_send; /* then it ends its side */
	bool fin_on_eof; /* ends its side when the guest has ended */
	bool any; /* what it reads need not be the pattern */
	bool paused; /* it does not read */
	uint32_t rate; /* bytes it reads in a millisecond; 0: all */
};

enum fake_host_state { FAKE_CONNECTING, FAKE_CONNECTED, FAKE_CLOSED };

struct fake_host {
	struct fake_plan plan; /* changes take effect at fake_host_kick() */
	enum fake_host_state state;
	int fd; /* -1: the relay closed it */
	int err; /* SO_ERROR */
	uint8_t hops; /* TTL of the socket; 0: the usual one */
	bool expired; /* "time exceeded" waits in the error queue */
	uint64_t got; /* pattern bytes that the program read */
	uint64_t g2h_queued; /* bytes written by the relay, not read yet */
	uint64_t sent; /* pattern bytes that the program sent */
	uint64_t h2g_queued; /* of those, not yet read by the relay */
	bool nospace; /* the relay waits for room */
	bool relay_shut; /* the relay ended its side */
	bool host_shut; /* the program ended its side */
	bool eof; /* the program read the end */
	bool reset; /* the program saw RST */
	struct fake_event *run; /* pending: the program runs */
};

/* Forgets endpoints and plans. */
void fake_sock_reset(void);
/* The plan of a port: connected after 1 ms, 64 KiB buffers, fin_on_eof. */
struct fake_plan *fake_plan(uint16_t port);
/* A client of the relay, connected, that behaves by the plan of its port. */
struct fake_host *fake_client(uint16_t port);
/* Endpoints in the order in which they were made. */
struct fake_host *fake_host(unsigned i);
unsigned fake_hosts(void);
/* Open descriptors. */
unsigned fake_fds(void);
/* Descriptors that may be open; more give -EMFILE. */
void fake_fds_limit(unsigned n);

/* EPOLL* readiness of a descriptor. */
uint32_t fake_sock_ready(int fd);

/* The program runs now, by its plan. */
void fake_host_kick(struct fake_host *h);
/* The program resets the connection. */
void fake_host_reset(struct fake_host *h);

#endif
