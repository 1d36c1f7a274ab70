/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner of lwIP's global state. lwIP walks lists: of active PCBs for each
 * segment, of netifs for each packet, of PCBs again on a timer. Here each of
 * them is empty between calls, and holds the one element in question during a
 * call, so that every walk is one step whatever the number of connections:
 *
 *	lwr__lwip_enter(conn)  netif_list = its netif, tcp_active_pcbs = its PCB
 *	...                    tcp_input, tcp_write, tcp_slowtmr, ...
 *	lwr__lwip_leave(conn)  both empty again
 *
 * What lwIP leaves behind tells what happened: a PCB on tcp_tw_pcbs went to
 * TIME-WAIT and moves to our own table, a new one on tcp_active_pcbs after a
 * SYN is the accepted connection; one that lwr__conn_connect() made puts itself
 * there. A PCB that dies on its own calls its error
 * callback. Calls nest only for the same conn (a callback that gives credit).
 *
 * Segments. pcb->mss is the guest's MSS, by which lwIP judges windows. It is
 * raised to super_mss while data are written, so that one segment carries up
 * to 64 KiB; the link cuts it into packets of gso_size (TSO in the kernel, or
 * core/gso.c). A guest may change pcb->mss by an option in any segment, so
 * it is set again after each.
 *
 * Congestion. The link to the guest is lossless and has back-pressure, so
 * the window is the guest's own; after a loss that lwIP recovers from
 * (a guest that drops), cwnd is lwIP's until the recovery ends.
 */
#include "core/stack_priv.h"

#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "core/lwip_hooks.h"

#include "platform/sock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
	MIN_GSO = 48, /* a smaller MSS option is not believed, as in Linux */
	MAX_GSO_SEGS = 64,
	/* So that a frame's length fits 16 bits: Ethernet, IPv6, TCP, option. */
	MAX_PAYLOAD = 65535 - 14 - 40 - 20 - LWR_TCP_TIMESTAMP,
	NETIF_INDEX = 1, /* of every netif: there is one at a time */
};

static_assert((int)MAX_PAYLOAD <= (int)LWR_CHUNK_DATA,
	      "a segment fits a chunk");

static struct {
	struct lwr_stack *stack;
	struct lwr_conn *current; /* the conn that was entered */
	struct lwr_link *link; /* the link that was entered */
	bool sent; /* a segment went out, and with it any ACK due */
	struct tcp_pcb_listen *listener;
	bool initialised;
	u8_t timer_ctr; /* follows lwIP's own, which is static */
} lw;

/* ---- glue that lwIP calls ------------------------------------------------ */

u32_t sys_now(void)
{
	return lw.stack ? (u32_t)lwr__loop_now(lw.stack->loop) : 0;
}

uint32_t lwr__lwip_rand(void)
{
	uint32_t r;

	lwr__random(&r, sizeof(r));
	return r;
}

u32_t lwr__tcp_isn(const ip_addr_t *local_ip, u16_t local_port,
		   const ip_addr_t *remote_ip, u16_t remote_port)
{
	struct {
		ip_addr_t local, remote;
		u32_t link;
		u16_t lport, rport;
	} t;
	uint64_t ms = lwr__loop_now(lw.stack->loop);

	memset(&t, 0, sizeof(t));
	t.local = *local_ip;
	t.remote = *remote_ip;
	t.lport = local_port;
	t.rport = remote_port;
	t.link = lw.link->id;
	/* RFC 6528: a 4 microsecond clock plus a keyed hash of the tuple. */
	return (u32_t)(ms * 250 +
		       lwr__siphash13(lw.stack->isn_key, &t, sizeof(t)));
}

static err_t output(struct netif *n, struct pbuf *p, uint16_t ethertype)
{
	err_t err = lwr__send_tcp(n->state, lw.current, p, ethertype);

	lw.sent = lw.sent || err == ERR_OK;
	return err;
}

static err_t output4(struct netif *n, struct pbuf *p, const ip4_addr_t *dst)
{
	(void)dst;
	return output(n, p, LWR_ETHERTYPE_IP4);
}

static err_t output6(struct netif *n, struct pbuf *p, const ip6_addr_t *dst)
{
	(void)dst;
	return output(n, p, LWR_ETHERTYPE_IP6);
}

/* ---- entering and leaving ------------------------------------------------ */

static void enter_link(struct lwr_link *link)
{
	LWR_ASSERT(!lw.link);
	lw.link = link;
	netif_list = &link->netif;
	tcp_ticks = (u32_t)(lwr__loop_now(lw.stack->loop) / TCP_SLOW_INTERVAL);
}

static void leave_link(void)
{
	lw.link = NULL;
	netif_list = NULL;
	tcp_active_pcbs = NULL;
}

bool lwr__lwip_enter(struct lwr_conn *c)
{
	if (lw.current == c)
		return false;
	enter_link(c->link);
	c->link->netif.mtu = c->mtu ? c->mtu : c->link->caps.mtu;
	c->link->netif.mtu6 = c->link->netif.mtu;
	lw.current = c;
	tcp_active_pcbs = c->pcb;
	if (c->pcb)
		c->pcb->next = NULL;
	return true;
}

/* The one place where a live PCB is cut from its conn. */
static struct tcp_pcb *detach(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	c->pcb = NULL;
	lwr__list_remove(&c->on_due);
	lwr__list_remove(&c->on_ack);
	lwr__list_remove(&c->on_blocked);
	return pcb;
}

static void end_timewait(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = detach(c);

	lwr__timewait_add(&lw.stack->timewait, &c->demux.key, pcb->snd_nxt,
			  pcb->rcv_nxt, lwr__loop_now(lw.stack->loop));
	tcp_abandon(pcb, 0);
	lw.stack->hooks->on_end(lw.stack->arg, c, LWR_CONN_CLOSED);
}

uint32_t lwr__lwip_window(const struct tcp_pcb *pcb)
{
	return LWIP_MIN(pcb->snd_wnd, pcb->cwnd);
}

/*
 * lwIP neither sends part of a segment nor starts a timer for one that cwnd
 * keeps back while nothing is in flight (it takes a segment for a packet), so
 * cwnd is never smaller than two segments, and what waited for it goes out.
 */
static void open_cwnd(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	uint32_t least = 2u * c->super_mss;

	if (!(pcb->flags & (TF_RTO | TF_INFR)))
		least = TCP_SND_BUF;
	if (pcb->cwnd >= least)
		return;
	pcb->cwnd = least;
	if (pcb->unsent)
		(void)tcp_output(pcb);
}

/* A pure window update calls nobody back: look after each segment. */
static void look_at_window(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	uint32_t edge;

	open_cwnd(c);
	edge = pcb->lastack + lwr__lwip_window(pcb);
	if (edge == c->edge)
		return;
	c->edge = edge;
	lw.stack->hooks->on_writable(lw.stack->arg, c);
}

void lwr__lwip_leave(struct lwr_conn *c, bool entered)
{
	if (!entered)
		return;
	if (tcp_tw_pcbs)
		end_timewait(c);
	if (c->pcb) {
		c->pcb->mss = c->wire_mss;
		/* An ACK may empty the queue; lwIP asserts that it did not. */
		if (!c->pcb->unsent || c->pcb->unacked)
			c->pcb->persist_backoff = 0;
		if (c->pcb->state >= ESTABLISHED)
			look_at_window(c);
		lwr__stack_settle(c);
	}
	lw.current = NULL;
	leave_link();
}

/* ---- lwIP's callbacks ----------------------------------------------------- */

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	(void)pcb;
	(void)err;
	if (arg)
		lw.stack->hooks->on_data(lw.stack->arg, arg, p);
	else if (p)
		pbuf_free(p);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	(void)pcb;
	if (arg)
		lw.stack->hooks->on_acked(lw.stack->arg, arg, len);
	return ERR_OK;
}

/* The PCB is gone, or about to be freed by lwIP itself. */
static void on_err(void *arg, err_t err)
{
	struct lwr_conn *c = arg;
	enum lwr_conn_end end = err == ERR_RST	? LWR_CONN_RESET :
				err == ERR_CLSD ? LWR_CONN_CLOSED :
						  LWR_CONN_TIMEOUT;

	if (!c)
		return;
	c->pcb = NULL;
	lwr__list_remove(&c->on_due);
	lwr__list_remove(&c->on_ack);
	lwr__list_remove(&c->on_blocked);
	lw.stack->hooks->on_end(lw.stack->arg, c, end);
}

/* Sizes of packets and segments: the SYN's options, the link's MTU. */
static void set_sizes(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	bool four = lwr__addr_is4(&c->demux.key.guest);
	uint16_t opt = pcb->flags & TF_TIMESTAMP ? LWR_TCP_TIMESTAMP : 0;
	uint16_t max = (uint16_t)(c->link->caps.mtu - (four ? 40 : 60));
	unsigned n = 1;

	c->wire_mss = LWIP_MIN(pcb->mss, max);
	c->wire_mss = (uint16_t)LWIP_MAX(c->wire_mss, MIN_GSO + opt);
	c->gso_size = (uint16_t)(c->wire_mss - opt);
	if (c->gso_size > MAX_PAYLOAD)
		c->gso_size = MAX_PAYLOAD;
	if (c->link->caps.gso_h2g)
		n = (unsigned)LWIP_MIN(MAX_PAYLOAD / c->gso_size, MAX_GSO_SEGS);
	c->super_mss = (uint16_t)(c->gso_size * n + opt);
}

static void set_window(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	c->window = LWIP_MIN(pcb->rcv_wnd, LWR_WINDOW_FIRST);
	pcb->rcv_wnd = c->window;
	pcb->rcv_ann_wnd = c->window;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + c->window;
}

/* Makes a PCB the conn's. */
static void adopt(struct lwr_conn *c, struct tcp_pcb *pcb)
{
	c->pcb = pcb;
	tcp_arg(pcb, c);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	tcp_nagle_disable(pcb);
	set_sizes(c);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)err;
	if (!pcb || !arg)
		return ERR_OK;
	/* Again: a repeated SYN may have had other options. */
	set_sizes(arg);
	set_window(arg);
	lw.stack->hooks->on_open(lw.stack->arg, arg);
	return ERR_OK;
}

/* ---- segments in ----------------------------------------------------------- */

static void to_lwip(ip_addr_t *to, const struct lwr_addr *a)
{
	memset(to, 0, sizeof(*to));
	if (lwr__addr_is4(a)) {
		IP_SET_TYPE_VAL(*to, IPADDR_TYPE_V4);
		memcpy(&ip_2_ip4(to)->addr, a->b + 12, 4);
	} else {
		IP_SET_TYPE_VAL(*to, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(to)->addr, a->b, 16);
	}
}

static void set_ip_data(struct lwr_link *link, const struct lwr_addr *src,
			const struct lwr_addr *dst)
{
	ip_data.current_netif = &link->netif;
	ip_data.current_input_netif = &link->netif;
	to_lwip(&ip_data.current_iphdr_src, src);
	to_lwip(&ip_data.current_iphdr_dest, dst);
}

/*
 * lwIP does not trim every out-of-order segment to the window, and moves a FIN
 * from one to another; later it asserts that all of it fits. So they are
 * trimmed here, and lose their FIN, which the guest repeats in its place.
 */
static void trim_ahead(const struct tcp_pcb *pcb, struct pbuf *p)
{
	struct tcp_hdr *th = p->payload;
	u32_t seq = lwip_ntohl(th->seqno), edge = pcb->rcv_nxt + pcb->rcv_wnd;
	u16_t hlen = TCPH_HDRLEN_BYTES(th);

	if (!TCP_SEQ_GT(seq, pcb->rcv_nxt))
		return; /* in order: lwIP trims it */
	TCPH_UNSET_FLAG(th, TCP_FIN);
	if (TCP_SEQ_LT(seq, edge) && (u32_t)(p->tot_len - hlen) > edge - seq)
		pbuf_realloc(p, (u16_t)(hlen + (edge - seq)));
}

/*
 * An ACK for every other packet, but once a tick (RFC 9293 3.8.6.3): the flag
 * by which lwIP sees that the last one is owed still is hidden from it, so that
 * it does not send for each pair, and what came together is answered together.
 */
static void gather_ack(struct lwr_conn *c, bool owed, bool large)
{
	if (lw.sent || !c->pcb)
		return;
	if (!(c->pcb->flags & TF_ACK_DELAY)) { /* nothing new came */
		if (owed)
			tcp_set_flags(c->pcb, TF_ACK_DELAY);
		return;
	}
	if (owed || large) {
		lwr__list_remove(&c->on_ack);
		lwr__list_append(&lw.stack->ack_now, &c->on_ack);
	}
}

void lwr__lwip_input(struct lwr_conn *c, struct pbuf *p)
{
	bool entered = lwr__lwip_enter(c);
	bool owed = (c->pcb->flags & TF_ACK_DELAY) != 0;
	bool large = p->tot_len > TCP_HLEN + c->wire_mss;

	trim_ahead(c->pcb, p);
	set_ip_data(c->link, &c->demux.key.guest, &c->demux.key.host);
	tcp_clear_flags(c->pcb, TF_ACK_DELAY);
	lw.sent = false;
	tcp_input(p, &c->link->netif);
	gather_ack(c, owed, large);
	lwr__lwip_leave(c, entered);
}

bool lwr__lwip_calling(const struct lwr_conn *c)
{
	return c->pcb->state == SYN_SENT;
}

void lwr__lwip_stray(struct lwr_link *link, const struct lwr_pkt *pkt,
		     struct pbuf *p)
{
	enter_link(link);
	set_ip_data(link, &pkt->src, &pkt->dst);
	tcp_input(p, &link->netif);
	leave_link();
}

int lwr__conn_accept(struct lwr_conn *c, const void *syn, size_t len)
{
	/* lwIP reads one byte behind an option that ends with its kind. */
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)(len + 1), PBUF_RAM);

	if (!p)
		return -ENOMEM;
	memcpy(p->payload, syn, len);
	((uint8_t *)p->payload)[len] = 0;
	pbuf_realloc(p, (u16_t)len);
	lwr__lwip_enter(c);
	set_ip_data(c->link, &c->demux.key.guest, &c->demux.key.host);
	lw.listener->local_port = c->demux.key.hport;
	lw.listener->netif_idx = NETIF_INDEX;
	lw.listener->callback_arg = c;
	lw.listener->next = NULL;
	tcp_listen_pcbs.listen_pcbs = lw.listener;
	tcp_input(p, &c->link->netif);
	tcp_listen_pcbs.listen_pcbs = NULL;
	c->pcb = tcp_active_pcbs;
	if (c->pcb) {
		adopt(c, c->pcb);
		set_window(c);
	}
	lwr__lwip_leave(c, true);
	return c->pcb ? 0 : -ENOMEM;
}

/* The guest's SYN-ACK said what its SYN would have said. */
static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)pcb;
	(void)err;
	if (!arg)
		return ERR_OK;
	set_sizes(arg);
	set_window(arg);
	lw.stack->hooks->on_open(lw.stack->arg, arg);
	return ERR_OK;
}

/* An old connection of this tuple is nobody's any more. */
static void forget_timewait(const struct lwr_key *key)
{
	struct lwr_timewait_slot *tw = lwr__timewait_find(
		&lw.stack->timewait, key, lwr__loop_now(lw.stack->loop));

	if (tw)
		lwr__timewait_remove(tw);
}

int lwr__conn_connect(struct lwr_conn *c)
{
	const struct lwr_key *key = &c->demux.key;
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	ip_addr_t guest;
	err_t err;

	if (!pcb)
		return -ENOMEM;
	forget_timewait(key);
	lwr__lwip_enter(c);
	adopt(c, pcb);
	/* Bound to a netif, lwIP asks for no route. */
	pcb->netif_idx = NETIF_INDEX;
	to_lwip(&pcb->local_ip, &key->host);
	pcb->local_port = key->hport;
	to_lwip(&guest, &key->guest);
	err = tcp_connect(pcb, &guest, key->gport, on_connected);
	if (err != ERR_OK)
		tcp_abort(detach(c));
	else
		set_sizes(c);
	lwr__lwip_leave(c, true);
	return err == ERR_OK ? 0 : -ENOMEM;
}

void lwr__conn_refuse(struct lwr_link *link, const struct lwr_addr *src,
		      uint16_t sport, const struct lwr_addr *dst,
		      uint16_t dport, uint32_t seq)
{
	ip_addr_t guest, host;

	to_lwip(&guest, src);
	to_lwip(&host, dst);
	enter_link(link);
	tcp_rst_netif(&link->netif, 0, seq + 1, &host, &guest, dport, sport);
	leave_link();
}

void lwr__conn_abort(struct lwr_conn *c)
{
	struct tcp_pcb *pcb;

	if (!c->pcb)
		return;
	LWR_ASSERT(lw.current != c);
	lwr__lwip_enter(c);
	pcb = detach(c);
	/* A RST beyond the guest's window is ignored (RFC 5961 3.2). */
	if (TCP_SEQ_GT(pcb->snd_nxt, pcb->lastack + pcb->snd_wnd))
		pcb->snd_nxt = pcb->lastack + pcb->snd_wnd;
	tcp_abort(pcb);
	lwr__lwip_leave(c, true);
}

/* ---- timers ------------------------------------------------------------------ */

bool lwr__lwip_due(const struct lwr_conn *c)
{
	const struct tcp_pcb *pcb = c->pcb;

	if (c->probe_every || pcb->unacked || pcb->unsent || pcb->ooseq ||
	    pcb->flags & TF_CLOSEPEND)
		return true;
	return pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT &&
	       pcb->state != FIN_WAIT_2;
}

void lwr__lwip_slow(struct lwr_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	bool entered;

	if (c->probe_every)
		lwr__conn_probe_window(c);
	entered = lwr__lwip_enter(c);
	/* tcp_slowtmr counts both up before it looks at the PCB. */
	tcp_ticks--;
	pcb->last_timer = lw.timer_ctr++;
	pcb->mss = c->super_mss;
	tcp_slowtmr();
	/* Still alive, and without its FIN because memory was short? */
	if (c->pcb == pcb && pcb->flags & TF_CLOSEPEND) {
		tcp_clear_flags(pcb, TF_CLOSEPEND);
		(void)tcp_shutdown(pcb, 0, 1);
	}
	lwr__lwip_leave(c, entered);
}

void lwr__lwip_ack(struct lwr_conn *c)
{
	bool entered;

	if (!c->pcb || !(c->pcb->flags & TF_ACK_DELAY))
		return;
	entered = lwr__lwip_enter(c);
	tcp_ack_now(c->pcb);
	(void)tcp_output(c->pcb);
	lwr__lwip_leave(c, entered);
}

/* ---- opening and closing ------------------------------------------------------ */

void lwr__lwip_netif(struct lwr_link *link)
{
	struct netif *n = &link->netif;

	memset(n, 0, sizeof(*n));
	n->state = link;
	n->num = NETIF_INDEX - 1;
	n->flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
	n->mtu = link->caps.mtu;
	n->mtu6 = link->caps.mtu;
	n->output = output4;
	n->output_ip6 = output6;
}

int lwr__lwip_open(struct lwr_stack *s)
{
	struct tcp_pcb *pcb;

	if (lw.stack)
		return -EBUSY;
	if (!lw.initialised)
		lwip_init();
	lw.initialised = true;
	pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	if (!pcb)
		return -ENOMEM;
	/* Listens to nothing until lwr__conn_accept() lends it a port. */
	lw.listener = (struct tcp_pcb_listen *)(void *)tcp_listen(pcb);
	if (!lw.listener) {
		tcp_abort(pcb);
		return -ENOMEM;
	}
	tcp_accept((struct tcp_pcb *)(void *)lw.listener, on_accept);
	tcp_listen_pcbs.listen_pcbs = NULL;
	lw.stack = s;
	return 0;
}

void lwr__lwip_close(struct lwr_stack *s)
{
	LWR_ASSERT(lw.stack == s);
	lw.listener->next = NULL;
	tcp_listen_pcbs.listen_pcbs = lw.listener;
	(void)tcp_close((struct tcp_pcb *)(void *)lw.listener);
	memset(&lw.current, 0, sizeof(lw.current));
	lw.listener = NULL;
	lw.stack = NULL;
}
