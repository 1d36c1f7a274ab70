/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the relay does with a connection: write, credit, half-close, probe.
 *
 * lwIP sends no part of a segment: one that is larger than the window would
 * wait for the persist timer. So the relay asks for the room first and writes
 * no more, and nothing is left unsent but what a full ring kept back.
 *
 * lwIP would probe a closed window only while it has something unsent, so that
 * is done here too (RFC 9293 3.8.6.1).
 *
 * The receive window starts at LWR_WINDOW_FIRST, so that thousands of
 * connections to hosts that do not read hold little, and doubles up to
 * WINDOW_USUAL, or what the link needs, while the host takes a window's worth
 * at once. What a window holds beyond that waits in the guest's queue, before
 * anything else that the guest sends.
 *
 * A window is memory that the guest may fill, whatever the host does then: in
 * order it waits for the host, out of order in lwIP. What windows have grown is
 * counted (`promised`), until a connection's last byte is the host's, and it is
 * not more than half of what may be buffered, of the relay and of the link.
 *
 * Window updates are decided here, not by lwIP, whose threshold is a constant
 * and too large for a guest without window scaling: half of the window.
 */
#include "core/stack_priv.h"

#include "lwip/priv/tcp_priv.h"

#include <errno.h>

enum {
	QUEUE_RESERVE = 32, /* pbufs left for what must not fail */
	RING_RESERVE = 16, /* slots left for ACKs and control segments */
	WINDOW_USUAL = 2 * 1024 * 1024,
	PROBE_FIRST = 300 / TCP_SLOW_INTERVAL, /* ticks; then doubled up to */
	PROBE_MAX = 60 * 1000 / TCP_SLOW_INTERVAL,
};

/*
 * A guest with a large MTU fills its segments, and what of one is no whole
 * packet of the host's goes out as a small one. With timestamps: who does not
 * have them leaves as many bytes. Not if it made segments much smaller.
 */
void lwr__conn_fit(struct lwr_conn *c, uint32_t mss)
{
	uint32_t head = lwr__addr_is4(&c->demux.key.guest) ? 40 : 60;
	uint32_t most, whole;

	head += LWR_TCP_TIMESTAMP;
	most = c->link->caps.mtu - head;
	whole = mss ? most - most % mss : most;
	if (whole >= most - most / 8)
		c->mtu = (uint16_t)(whole + head);
}

static bool may_send(const struct tcp_pcb *pcb)
{
	return pcb && (pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT);
}

uint32_t lwr__conn_room(struct lwr_conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;
	uint32_t wnd, flight, room;

	if (!may_send(pcb) || pcb->unsent ||
	    pcb->snd_queuelen + QUEUE_RESERVE > TCP_SND_QUEUELEN)
		return 0;
	if (lwr__ring_room(&c->link->h2g) <= RING_RESERVE ||
	    c->link->h2g.bytes >= LWR_RING_BYTES) {
		lwr__list_remove(&c->on_blocked);
		lwr__list_append(&c->link->blocked, &c->on_blocked);
		return 0;
	}
	wnd = lwr__lwip_window(pcb);
	flight = pcb->snd_lbb - pcb->lastack;
	room = wnd > flight ? wnd - flight : 0;
	room = LWIP_MIN(room, pcb->snd_buf);
	/* Silly windows (RFC 9293 3.8.6.2.1): wait for a packet's worth. */
	if (flight && room < LWIP_MIN(c->gso_size, pcb->snd_wnd_max / 2))
		return 0;
	return room;
}

uint16_t lwr__conn_segment(const struct lwr_conn *c)
{
	uint16_t opt = (uint16_t)(c->wire_mss - c->gso_size);
	uint32_t half = c->pcb ? c->pcb->snd_wnd_max / 2 : 0;
	uint32_t seg = (uint32_t)c->super_mss - opt;

	/* lwIP's own limit: half of the largest window seen. */
	if (half > opt && half < c->super_mss)
		seg = half - opt;
	return (uint16_t)seg;
}

void lwr__conn_stalled(struct lwr_conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;

	if (c->probe_every || !may_send(pcb) || pcb->unsent || pcb->unacked ||
	    pcb->snd_wnd > 0)
		return;
	c->probe_every = PROBE_FIRST;
	c->probe_wait = PROBE_FIRST;
	lwr__stack_settle(c);
}

/*
 * A segment without payload, one byte before what the guest expects: it
 * answers with its window. Unlike lwIP's own probes it has the timestamp that
 * was agreed on (RFC 7323 3.2), without which some guests would drop it.
 */
static void send_probe(struct tcp_pcb *pcb)
{
	pcb->snd_nxt--;
	(void)tcp_send_empty_ack(pcb);
	pcb->snd_nxt++;
}

void lwr__conn_probe_window(struct lwr_conn *c)
{
	bool entered;

	if (c->pcb->snd_wnd > 0 || !may_send(c->pcb)) {
		c->probe_every = 0;
		return;
	}
	if (--c->probe_wait > 0)
		return;
	c->probe_every = (uint16_t)LWIP_MIN(c->probe_every * 2, PROBE_MAX);
	c->probe_wait = c->probe_every;
	entered = lwr__lwip_enter(c);
	send_probe(c->pcb);
	lwr__lwip_leave(c, entered);
}

int lwr__conn_write(struct lwr_conn *c, const void *data, uint16_t len,
		    bool copy)
{
	bool entered;
	err_t err;

	if (!may_send(c->pcb))
		return -EPIPE;
	entered = lwr__lwip_enter(c);
	c->pcb->mss = c->super_mss;
	err = tcp_write(c->pcb, data, len, copy ? TCP_WRITE_FLAG_COPY : 0);
	c->pcb->mss = c->wire_mss;
	lwr__lwip_leave(c, entered);
	return err == ERR_OK ? 0 : -ENOMEM;
}

void lwr__conn_output(struct lwr_conn *c)
{
	bool entered;

	if (!c->pcb)
		return;
	entered = lwr__lwip_enter(c);
	(void)tcp_output(c->pcb); /* what is left waits for the ring */
	lwr__lwip_leave(c, entered);
}

static bool guest_may_send(const struct tcp_pcb *pcb)
{
	return pcb->state == ESTABLISHED || pcb->state == FIN_WAIT_1 ||
	       pcb->state == FIN_WAIT_2;
}

/* Window that the guest has not been told of. */
static uint32_t unannounced(const struct tcp_pcb *pcb)
{
	return pcb->rcv_nxt + pcb->rcv_wnd - pcb->rcv_ann_right_edge;
}

static uint64_t rest_of(uint64_t limit, uint64_t used)
{
	return limit / 2 > used ? limit / 2 - used : 0;
}

/* So many bytes more may windows promise. */
static uint64_t promisable(const struct lwr_conn *c)
{
	const struct lwr_stack *s = c->link->stack;
	uint64_t room = rest_of(s->config->max_buffer, s->promised);
	uint64_t limit = c->link->net->limits.buffer;

	return limit ? LWIP_MIN(room, rest_of(limit, c->link->promised)) : room;
}

static void widen(struct lwr_conn *c, uint32_t extra)
{
	c->window += extra;
	c->link->promised += extra;
	c->link->stack->promised += extra;
}

void lwr__conn_promise_kept(struct lwr_conn *c)
{
	uint32_t n =
		c->window > LWR_WINDOW_FIRST ? c->window - LWR_WINDOW_FIRST : 0;

	c->link->promised -= n;
	c->link->stack->promised -= n;
	c->window = 0;
}

static uint32_t window_max(const struct lwr_conn *c)
{
	uint32_t max = c->link->caps.window;

	return LWIP_MIN(max ? max : WINDOW_USUAL, TCP_WND_MAX(c->pcb));
}

/* Bytes to credit beside those that were taken, so that the window grows. */
static uint32_t growth(struct lwr_conn *c, uint32_t n)
{
	uint32_t max = window_max(c), extra;

	c->moved += n;
	if (c->moved < c->window || c->window >= max)
		return 0;
	extra = LWIP_MIN(c->window, max - c->window);
	if (promisable(c) < extra)
		return 0;
	widen(c, extra);
	c->moved = 0;
	return extra;
}

void lwr__conn_credit(struct lwr_conn *c, uint32_t n, bool grow)
{
	struct tcp_pcb *pcb = c->pcb;
	bool entered;
	u16_t take;

	if (!pcb)
		return;
	entered = lwr__lwip_enter(c);
	if (grow)
		n += growth(c, n);
	while (n > 0) {
		take = (u16_t)LWIP_MIN(n, 0xffffu);
		tcp_recved(pcb, take);
		n -= take;
	}
	if (guest_may_send(pcb) && unannounced(pcb) >= c->window / 2) {
		tcp_ack_now(pcb);
		(void)tcp_output(pcb);
	}
	lwr__lwip_leave(c, entered);
}

int lwr__conn_shutdown(struct lwr_conn *c)
{
	bool entered;
	err_t err;

	if (!c->pcb)
		return 0;
	entered = lwr__lwip_enter(c);
	err = tcp_shutdown(c->pcb, 0, 1);
	lwr__lwip_leave(c, entered);
	return err == ERR_OK ? 0 : -ENOMEM;
}

uint64_t lwr__conn_idle_ms(const struct lwr_conn *c)
{
	u32_t ticks = (u32_t)(lwr__loop_now(c->link->stack->loop) /
			      TCP_SLOW_INTERVAL);

	return c->pcb ? (uint64_t)(ticks - c->pcb->tmr) * TCP_SLOW_INTERVAL : 0;
}

unsigned lwr__conn_probe(struct lwr_conn *c)
{
	bool entered;
	unsigned n;

	if (!c->pcb)
		return 0;
	entered = lwr__lwip_enter(c);
	send_probe(c->pcb);
	n = ++c->pcb->keep_cnt_sent; /* lwIP clears it with each segment */
	lwr__lwip_leave(c, entered);
	return n;
}

void lwr__conn_resume(struct lwr_conn *c)
{
	lwr__conn_output(c);
	if (c->pcb)
		c->link->stack->hooks->on_writable(c->link->stack->arg, c);
}
