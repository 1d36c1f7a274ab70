/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two ways by which foreign bytes get into an ICMP error for the guest. The
 * first byte says which: a packet of any bytes that is quoted, or a report of
 * the host's error queue about a datagram that the guest has sent. What goes
 * out must be a sound packet of at most the size that an error may have.
 */
#include "core/csum.h"
#include "core/stack.h"
#include "platform/sock.h"
#include "platform/sock_udp.h"
#include "relay/udp_flow.h"
#include "test/one_timer.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t left;
static uint16_t port; /* of the host's that was written to */

static void check(bool holds)
{
	if (!holds)
		abort();
}

static uint8_t next(void)
{
	if (left == 0)
		return 0;
	left--;
	return *input++;
}

/* ---- the host ------------------------------------------------------------ */

int lwr__watch_start(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	(void)w;
	return 0;
}

void lwr__watch_stop(struct lwr_loop *l, struct lwr_watch *w)
{
	(void)l;
	w->fd = -1;
}

void lwr__random(void *buf, size_t len)
{
	memset(buf, 7, len);
}

int lwr__sock_udp(int family)
{
	(void)family;
	return 99;
}

int lwr__sock_ping(int family)
{
	return lwr__sock_udp(family);
}

void lwr__sock_close(int fd)
{
	(void)fd;
}

void lwr__sock_dont_fragment(int fd, int family, bool df)
{
	(void)fd;
	(void)family;
	(void)df;
}

int lwr__sock_send(int fd, const struct lwr_sock_out *out, unsigned n)
{
	(void)fd;
	(void)out;
	return (int)n;
}

struct lwr_sock_reader *lwr__sock_reader_new(void)
{
	return malloc(1);
}

void lwr__sock_reader_free(struct lwr_sock_reader *r)
{
	free(r);
}

int lwr__sock_receive(struct lwr_sock_reader *r, int fd, struct lwr_sock_in *in,
		      unsigned max)
{
	(void)r;
	(void)fd;
	(void)in;
	(void)max;
	return -EAGAIN;
}

int lwr__sock_report(int fd, void *buf, size_t len, struct lwr_sock_error *e)
{
	static const int errors[] = { ECONNREFUSED, ENOPROTOOPT,
				      EACCES,	    ENETUNREACH,
				      EHOSTUNREACH, EMSGSIZE,
				      ETIME,	    0 };
	struct lwr_addr to = lwr__addr_of_v4(0xc0000201), by;

	(void)fd;
	if (left == 0)
		return -EAGAIN;
	memset(e, 0, sizeof(*e));
	e->err = errors[next() & 7];
	e->mtu = (uint32_t)next() << 24 | (uint32_t)(next() << 8 | next());
	by = lwr__addr_of_v4((uint32_t)next() << 24 | next());
	(void)lwr__addr_to_sockaddr(&to, port, &e->to);
	(void)lwr__addr_to_sockaddr(&by, 0, &e->by);
	e->len = left < len ? left : len;
	memcpy(buf, input, e->len);
	left = 0;
	return 0;
}

/* ---- the guest ----------------------------------------------------------- */

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	(void)arg;
	(void)pkt;
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	(void)arg;
	(void)link;
}

static const struct lwr_stack_hooks hooks = { .on_packet = on_packet,
					      .on_link_down = on_link_down };

static void drain(struct lwr_link *link)
{
	static uint8_t frame[2048];
	struct lwr_pkt pkt = { .link = link, .data = frame };
	const struct pbuf *p;

	while (lwr__ring_count(&link->h2g)) {
		p = lwr__ring_at(&link->h2g, 0)->p;
		check(p->tot_len <= LWR_ETH_HLEN + 1280);
		pkt.len = pbuf_copy_partial(p, frame, p->tot_len, 0);
		check(lwr__pkt_parse(&pkt) == LWR_DROP_NONE);
		check(lwr__pkt_csum_valid(&pkt));
		lwr__ring_pop(&link->h2g, 1);
	}
}

static void close_link(struct lwr_link *link)
{
	(void)link;
}

static const struct lwr_link_ops ops = { .drain = drain, .close = close_link };

static void quote(struct lwr_link *link)
{
	enum lwr_unreach why = next() % (LWR_UNREACH_REASSEMBLY + 1);
	struct lwr_addr from = next() & 1 ? link->net->gateway :
					    link->net->gateway6;
	uint8_t *copy = malloc(left + 1);

	check(copy != NULL);
	memcpy(copy, input, left);
	lwr__send_unreach(link, why, &from, copy, left);
	lwr__send_too_big(link, next(), &from, copy, left);
	free(copy);
}

static void report(struct lwr_link *link, bool echo)
{
	struct lwr_dest guest = { link->net->guest, 4000 };
	struct lwr_dest host = { lwr__addr_of_v4(0xc0000201), port };
	struct lwr_udp_flow *f;
	struct lwr_udp_sock *s;
	struct lwr_udp u;

	check((echo ? lwr__ping_init(&u, link->stack) :
		      lwr__udp_init(&u, link->stack)) == 0);
	f = lwr__udp_flow_get(&u, link, &guest);
	check(f != NULL);
	check(lwr__udp_sock_get(f, &host.addr, &s) == 0);
	lwr__udp_peer_note(f, &host, &host);
	lwr__udp_read_errors(f, s);
	lwr__udp_fini(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lwr_loop loop;
	struct lwr_link link = { .ops = &ops };
	struct lwr_log log = { 0 };
	struct lwr_config config;
	struct lwr_stack stack;
	uint8_t way;

	input = data;
	left = size;
	one_timer_reset(1);
	lwr__config_init(&config);
	check(lwr__stack_init(&stack, &loop, &config, &log, &hooks, NULL) == 0);
	link.caps.mtu = 1500;
	check(lwr__stack_add_link(&stack, &link) == 0);
	way = next();
	port = way & 2 ? 0 : 7;
	if (way & 1)
		quote(&link);
	else
		report(&link, port == 0);
	lwr__stack_flush(&stack);
	lwr__stack_remove_link(&link);
	lwr__stack_fini(&stack);
	return 0;
}
