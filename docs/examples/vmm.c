/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plays a VMM: a guest in this process, whose frames one thread pushes and
 * another pops. The guest asks for the gateway's address (ARP, RFC 826), then
 * sends it echo requests (RFC 792), many at a time, and counts the replies.
 *	cc -pthread -o vmm vmm.c $(pkg-config --cflags --libs lwrelay)
 *	./vmm 100000
 */
#include <errno.h>
#include <lwrelay.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, ON_THE_WAY = 512, ROOM = 2048, ARP = 42, ECHO = 74 };

/* From 52:54:00:00:00:01 and 10.0.2.15 to 10.0.2.2: lwrelay's defaults. */
static uint8_t arp_request[ARP + 1] =
	"\xff\xff\xff\xff\xff\xff\x52\x54\0\0\0\1\x08\x06\0\1\x08\0\6\4\0\1"
	"\x52\x54\0\0\0\1\x0a\0\2\x0f\0\0\0\0\0\0\x0a\0\2\2";
static uint8_t echo_request[ECHO + 1] =
	"\0\0\0\0\0\0\x52\x54\0\0\0\1\x08\0\x45\0\0\x3c\0\0\0\0\x40\1\x62\xb1"
	"\x0a\0\2\x0f\x0a\0\2\2\x08\0\xf7\xff";

struct guest {
	struct lwr_port *port;
	unsigned requests;
	/* What the thread that pops tells the other one. */
	pthread_mutex_t lock;
	pthread_cond_t came;
	uint8_t gateway[6];
	bool found;
	unsigned replies;
};

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "vmm: %s: %s\n", what, strerror(-err));
	exit(1);
}

/* Waits until the gateway answered, and `replies` came. */
static void await(struct guest *g, unsigned replies)
{
	pthread_mutex_lock(&g->lock);
	while (!g->found || g->replies < replies)
		pthread_cond_wait(&g->came, &g->lock);
	memcpy(echo_request, g->gateway, sizeof(g->gateway));
	pthread_mutex_unlock(&g->lock);
}

/* A push takes what there is room for, and never waits. */
static void push(struct lwr_port *port, struct lwr_port_frame *frames,
		 unsigned n)
{
	unsigned done = 0;
	int took;

	while (done < n) {
		took = lwr_link_push(port, frames + done, n - done);
		if (took == -EAGAIN) {
			lwr_port_wait(port, LWR_G2H, -1);
			continue;
		}
		check(took, "lwr_link_push");
		done += (unsigned)took;
	}
}

static void *push_frames(void *arg)
{
	struct guest *g = arg;
	struct iovec arp = { arp_request, ARP }, echo = { echo_request, ECHO };
	struct lwr_port_frame frames[BATCH] = { { .iov = &arp, .n = 1 } };
	unsigned sent, n;

	push(g->port, frames, 1);
	for (unsigned i = 0; i < BATCH; i++)
		frames[i] = (struct lwr_port_frame){ .iov = &echo, .n = 1 };
	for (sent = 0; sent < g->requests; sent += n) {
		await(g, sent < ON_THE_WAY ? 0 : sent - ON_THE_WAY);
		n = g->requests - sent;
		n = n < BATCH ? n : BATCH;
		push(g->port, frames, n);
	}
	await(g, g->requests);
	return NULL;
}

static void take(struct guest *g, const uint8_t *b, uint32_t len)
{
	if (len >= ARP && !memcmp(b + 12, "\x08\x06", 2)) {
		memcpy(g->gateway, b + 22, sizeof(g->gateway));
		g->found = true;
	} else if (len >= ECHO && !memcmp(b + 12, "\x08\0\x45", 3) &&
		   b[23] == 1 && b[34] == 0) {
		g->replies++;
	}
}

/* Frames are copied to where the guest wants them. */
static void *pop_frames(void *arg)
{
	static uint8_t bytes[BATCH][ROOM];
	struct lwr_port_buf bufs[BATCH];
	struct iovec iov[BATCH];
	struct guest *g = arg;
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], ROOM };
		bufs[i] = (struct lwr_port_buf){ .iov = &iov[i], .n = 1 };
	}
	while ((n = lwr_link_pop(g->port, bufs, BATCH)) >= 0) {
		pthread_mutex_lock(&g->lock);
		for (int i = 0; i < n; i++)
			take(g, bytes[i], bufs[i].len);
		pthread_cond_broadcast(&g->came);
		pthread_mutex_unlock(&g->lock);
		if (n == 0)
			lwr_port_wait(g->port, LWR_H2G, -1);
	}
	return NULL; /* -ESHUTDOWN: the link was removed */
}

int main(int argc, char **argv)
{
	struct guest g = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .came = PTHREAD_COND_INITIALIZER };
	struct lwr_relay *relay;
	pthread_t pusher, popper;
	uint32_t link;

	g.requests = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
	check(lwr_relay_open(NULL, &relay), "lwr_relay_open");
	check(lwr_link_add_port(relay, NULL, &g.port, &link), "the guest");
	check(-pthread_create(&popper, NULL, pop_frames, &g), "a thread");
	check(-pthread_create(&pusher, NULL, push_frames, &g), "a thread");
	pthread_join(pusher, NULL);
	check(lwr_link_remove(relay, link), "lwr_link_remove");
	pthread_join(popper, NULL); /* the removal woke it */
	lwr_port_free(g.port);
	lwr_relay_close(relay, NULL, NULL);
	printf("%u requests, %u replies\n", g.requests, g.replies);
	return 0;
}
