/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flow's life:
 *
 *	CONNECTING  the guest's SYN is held, the host socket connects
 *	            (relay/connect.c). Refused, unreachable, timed out: the
 *	            guest is told what happened, the flow ends.
 *	OPENING     the SYN was replayed to lwIP, SYN-ACK is on its way.
 *	WAITING     a client of a published port came before its guest
 *	            (relay/publish_tcp.c).
 *	CALLING     SYN is on its way to the guest for such a client.
 *	OPEN        two halves (relay/half.h) move bytes (relay/pump.c).
 *	DEAD        unlinked, unwatched, closed; freed when the tick ends.
 *
 * Callbacks, of lwIP or of the loop, only note what happened and put the flow
 * on `ready`; lwr__tcp_tick() then does the work once, whatever came together.
 * Flows with bulk wait on `bulk` until the others' work has left for the guests.
 * A guest's RST becomes a RST to the host and the other way round; two FINs
 * end the flow in order, and a flow outlives its PCB while the host has not
 * taken the last bytes.
 *
 * Keep-alive (RFC 9293 3.8.4): after keep_alive_s of silence the guest is
 * probed, and given up after PROBES unanswered probes. Flows are looked at in
 * turn, each once in an eighth of that time, so that idle flows cost nothing.
 */
#include "relay/tcp.h"
#include "relay/flow.h"
#include "relay/hooks.h"

#include "lwip/pbuf.h"

#include "platform/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { PROBES = 8, CHECKS = 8, BULK = 16 * 1024, ETHERNET_MTU = 1500 };

void lwr__flow_ready(struct lwr_flow *f)
{
	if (f->state != LWR_FLOW_DEAD && lwr__list_empty(&f->on_ready))
		lwr__list_append(&f->tcp->ready, &f->on_ready);
}

void lwr__flow_fit(struct lwr_flow *f)
{
	if (f->conn.link->caps.mtu > ETHERNET_MTU)
		lwr__conn_fit(&f->conn, lwr__sock_mss(f->watch.fd));
}

static void free_queue(struct lwr_flow *f)
{
	lwr__flow_hold(f, -(int64_t)f->g2h_len);
	f->g2h_len = 0;
	if (f->g2h_head)
		pbuf_free(f->g2h_head);
	f->g2h_head = NULL;
	f->g2h_tail = NULL;
}

static void count_end(struct lwr_flow *f)
{
	struct lwr_stats *st = &f->conn.link->stats;

	f->tcp->flows--;
	if (f->state == LWR_FLOW_OPEN) {
		st->tcp_live--;
	} else {
		f->tcp->connects--;
		st->tcp_pending--;
	}
}

/* A timer without a flow to wait for would only wake an idle process. */
static void stop_idle_timers(struct lwr_tcp *t)
{
	if (lwr__list_empty(&t->pending))
		lwr__timer_stop(&t->pending_timer);
	if (lwr__list_empty(&t->alive))
		lwr__timer_stop(&t->alive_timer);
}

void lwr__tcp_info(const struct lwr_conn *c, struct lwr_flow_info *info)
{
	const struct lwr_flow *f = LWR_CONTAINER(c, struct lwr_flow, conn);
	const struct lwr_key *k = &c->demux.key;

	*info = (struct lwr_flow_info){
		.id = f->id,
		.link = c->link->number,
		.protocol = LWR_PROTO_TCP,
		.phase = f->state == LWR_FLOW_OPEN ? LWR_PHASE_OPEN :
			 f->state == LWR_FLOW_DEAD ? LWR_PHASE_CLOSED :
						     LWR_PHASE_CONNECTING,
		.opened = f->published ? LWR_H2G : LWR_G2H,
		.guest = lwr__endpoint(&k->guest, k->gport),
		.dest = lwr__endpoint(&k->host, k->hport),
		.host = lwr__endpoint(&f->host.addr, f->host.port),
		.bytes_g2h = f->bytes_g2h,
		.bytes_h2g = f->bytes_h2g,
		.age_ms = lwr__loop_now(f->tcp->stack->loop) - f->opened_ms,
	};
}

static void tell_closed(struct lwr_flow *f)
{
	struct lwr_flow_info info;

	if (!f->tcp->hooks->fn.on_flow_close || f->unasked)
		return;
	lwr__tcp_info(&f->conn, &info);
	lwr__hooks_flow_close(f->tcp->hooks, &info, f->err);
}

void lwr__flow_kill(struct lwr_flow *f, bool reset_host)
{
	int fd = f->watch.fd;

	if (f->state == LWR_FLOW_DEAD)
		return;
	lwr__conn_abort(&f->conn);
	if (f->state != LWR_FLOW_WAITING)
		lwr__conn_remove(f->tcp->stack, &f->conn);
	lwr__watch_stop(f->tcp->stack->loop, &f->watch);
	if (fd >= 0 && reset_host)
		lwr__sock_reset(fd);
	else if (fd >= 0)
		lwr__sock_close(fd);
	free_queue(f);
	lwr__flow_release(f, true);
	free(f->syn);
	f->syn = NULL;
	count_end(f);
	f->state = LWR_FLOW_DEAD;
	lwr__list_remove(&f->on_ready);
	lwr__list_remove(&f->node);
	lwr__list_append(&f->tcp->dead, &f->node);
	tell_closed(f);
	stop_idle_timers(f->tcp);
}

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_flow *f = LWR_CONTAINER(w, struct lwr_flow, watch);

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		f->readable = true;
	/* A read ends early at urgent data: no short cut from now on. */
	if (events & EPOLLPRI)
		f->readable = f->hangup = true;
	if (events & EPOLLOUT)
		f->writable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP))
		f->hangup = true;
	if (events & EPOLLERR)
		f->error = true;
	lwr__flow_ready(f);
}

struct lwr_flow *lwr__flow_new(struct lwr_tcp *t, struct lwr_link *link, int fd)
{
	struct lwr_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->watch.fd = fd;
	f->watch.events = EPOLLIN | EPOLLOUT | EPOLLPRI;
	f->watch.on_event = on_event;
	if (lwr__watch_start(t->stack->loop, &f->watch) < 0) {
		free(f);
		return NULL;
	}
	f->tcp = t;
	f->conn.link = link;
	f->id = t->stack->next_flow_id++;
	f->opened_ms = lwr__loop_now(t->stack->loop);
	lwr__list_init(&f->node);
	lwr__list_init(&f->on_ready);
	t->flows++;
	t->connects++;
	link->stats.tcp_pending++;
	return f;
}

int lwr__flow_rewatch(struct lwr_flow *f, int fd)
{
	int err, old = f->watch.fd;

	lwr__watch_stop(f->tcp->stack->loop, &f->watch);
	lwr__sock_close(old);
	f->watch.fd = fd;
	f->readable = f->writable = f->hangup = f->error = false;
	err = lwr__watch_start(f->tcp->stack->loop, &f->watch);
	if (err) {
		lwr__sock_close(fd);
		f->watch.fd = -1;
	}
	return err;
}

void lwr__flow_pending(struct lwr_flow *f)
{
	struct lwr_tcp *t = f->tcp;
	uint32_t ms = t->stack->config->connect_timeout_ms;

	f->at_ms = lwr__loop_now(t->stack->loop) + ms;
	lwr__list_append(&t->pending, &f->node);
	if (!lwr__timer_active(&t->pending_timer))
		lwr__timer_start(&t->pending_timer, ms);
}

/* ---- events: note and remember -------------------------------------------- */

bool lwr__tcp_on_early(struct lwr_tcp *t, struct lwr_conn *c,
		       const struct lwr_pkt *pkt, bool rst)
{
	struct lwr_flow *f = lwr__flow_of(c);
	bool again = !rst && lwr__hops_differ(f, pkt);

	(void)t;
	/* A repeated SYN changes nothing; a RST gives the connect up. */
	if (f->state != LWR_FLOW_CONNECTING || (!rst && !again))
		return false;
	f->err = -ECONNRESET;
	lwr__flow_kill(f, true);
	return again;
}

static void watch_keepalive(struct lwr_flow *f)
{
	struct lwr_tcp *t = f->tcp;
	uint64_t every = t->stack->config->keep_alive_s * 1000ull / CHECKS;

	lwr__list_remove(&f->node);
	f->at_ms = lwr__loop_now(t->stack->loop) + every;
	lwr__list_append(&t->alive, &f->node);
	if (!lwr__timer_active(&t->alive_timer))
		lwr__timer_start(&t->alive_timer, every);
}

void lwr__tcp_on_open(struct lwr_tcp *t, struct lwr_conn *c)
{
	struct lwr_flow *f = lwr__flow_of(c);

	if (f->state == LWR_FLOW_CALLING)
		c->link->stats.publish_opened++;
	f->state = LWR_FLOW_OPEN;
	if (f->hops)
		lwr__hops_opened(f);
	t->connects--;
	c->link->stats.tcp_pending--;
	c->link->stats.tcp_live++;
	c->link->stats.tcp_opened++;
	watch_keepalive(f);
	stop_idle_timers(t);
	lwr__flow_ready(f);
	lwr__log(t->stack->log, LWR_LOG_DEBUG, "flow %llu open",
		 (unsigned long long)f->id);
}

void lwr__tcp_on_data(struct lwr_tcp *t, struct lwr_conn *c, struct pbuf *p)
{
	struct lwr_flow *f = lwr__flow_of(c);

	(void)t;
	if (p)
		lwr__flow_append(f, p);
	else
		lwr__flow_guest_eof(f);
	lwr__flow_ready(f);
}

void lwr__tcp_on_acked(struct lwr_tcp *t, struct lwr_conn *c, uint32_t n)
{
	struct lwr_flow *f = lwr__flow_of(c);

	(void)t;
	f->h2g_acked += n;
	lwr__flow_release(f, false);
	if (f->readable)
		lwr__flow_ready(f);
}

void lwr__tcp_on_writable(struct lwr_tcp *t, struct lwr_conn *c)
{
	struct lwr_flow *f = lwr__flow_of(c);

	(void)t;
	if (f->readable)
		lwr__flow_ready(f);
}

void lwr__tcp_on_end(struct lwr_tcp *t, struct lwr_conn *c,
		     enum lwr_conn_end end)
{
	struct lwr_flow *f = lwr__flow_of(c);

	(void)t;
	if (f->state == LWR_FLOW_CALLING) {
		lwr__flow_unanswered(f, end);
		return;
	}
	if (end == LWR_CONN_RESET)
		c->link->stats.tcp_reset_guest++;
	if (end == LWR_CONN_TIMEOUT)
		c->link->stats.tcp_vanished++;
	if (end != LWR_CONN_CLOSED) {
		f->err = end == LWR_CONN_RESET ? -ECONNRESET : -ETIMEDOUT;
		lwr__flow_kill(f, true);
		return;
	}
	f->finished = true;
	lwr__flow_ready(f);
}

void lwr__tcp_link_down(struct lwr_tcp *t, struct lwr_link *link)
{
	struct lwr_flow *f;

	(void)t;
	while (!lwr__list_empty(&link->conns)) {
		f = lwr__flow_of(LWR_CONTAINER(link->conns.next,
					       struct lwr_conn, on_link));
		f->err = -ENETDOWN;
		/* Whoever had ended may still be heard to the last byte. */
		lwr__flow_kill(f, f->g2h != LWR_HALF_SHUT);
	}
}

/* ---- service: the work of a tick ------------------------------------------- */

/* The host's side is broken: the guest sees RST. */
static void host_failed(struct lwr_flow *f, int err)
{
	f->conn.link->stats.tcp_reset_host++;
	lwr__log(f->tcp->stack->log, LWR_LOG_DEBUG,
		 "flow %llu reset by the host: errno %d",
		 (unsigned long long)f->id, -err);
	f->err = err;
	lwr__flow_kill(f, true);
}

/*
 * A pending error is told at once, also when the guest's window is closed
 * and nothing can be read: a connection without a relay would do the same.
 */
static int pending_error(struct lwr_flow *f)
{
	int err;

	if (!f->error)
		return 0;
	f->error = false;
	err = lwr__sock_connected(f->watch.fd);
	return err == -EINPROGRESS ? 0 : err;
}

static void serve_open(struct lwr_flow *f)
{
	int more, err = lwr__flow_pump_g2h(f);

	if (err < 0) {
		host_failed(f, err);
		return;
	}
	more = f->finished ? 0 : lwr__flow_pump_h2g(f);
	if (more >= 0)
		err = pending_error(f);
	if (more < 0 || err < 0) {
		host_failed(f, more < 0 ? more : err);
		return;
	}
	if (f->finished && f->g2h == LWR_HALF_SHUT)
		lwr__flow_kill(f, false);
	else if (more)
		lwr__flow_ready(f);
}

static void serve(struct lwr_flow *f)
{
	if (f->state == LWR_FLOW_CONNECTING)
		lwr__flow_connecting(f);
	else if (f->state == LWR_FLOW_OPEN)
		serve_open(f);
	else if (pending_error(f) < 0) /* a client gave up */
		lwr__flow_kill(f, true);
}

/*
 * Small ones may use up the link's share in each tick. A flow that it did not
 * reach stands first on `ready` in the next, and now and then is served there.
 */
static bool has_bulk(const struct lwr_flow *f)
{
	return f->g2h_len > BULK ||
	       (f->bulk && !lwr__share_bulk_waits(f->conn.link));
}

void lwr__tcp_tick(struct lwr_tcp *t)
{
	struct lwr_list todo, *n;

	lwr__list_move(&t->ready, &todo);
	while ((n = lwr__list_take(&todo))) {
		struct lwr_flow *f =
			LWR_CONTAINER(n, struct lwr_flow, on_ready);

		if (has_bulk(f))
			lwr__list_append(&t->bulk, &f->on_ready);
		else
			serve(f);
	}
}

void lwr__tcp_bulk(struct lwr_tcp *t)
{
	struct lwr_list todo, *n;

	if (lwr__list_empty(&t->bulk))
		return;
	lwr__stack_drain_all(t->stack);
	lwr__list_move(&t->bulk, &todo);
	while ((n = lwr__list_take(&todo)))
		serve(LWR_CONTAINER(n, struct lwr_flow, on_ready));
}

bool lwr__tcp_reap(struct lwr_tcp *t)
{
	struct lwr_list *n;

	while ((n = lwr__list_take(&t->dead)))
		free(LWR_CONTAINER(n, struct lwr_flow, node));
	return !lwr__list_empty(&t->ready);
}

bool lwr__tcp_drained(const struct lwr_tcp *t)
{
	const struct lwr_list *n;

	for (n = t->alive.next; n != &t->alive; n = n->next)
		if (LWR_CONTAINER(n, struct lwr_flow, node)->g2h !=
		    LWR_HALF_SHUT)
			return false;
	return true;
}

/* ---- keep-alive --------------------------------------------------------------- */

static void check_guest(struct lwr_flow *f)
{
	uint64_t limit = f->tcp->stack->config->keep_alive_s * 1000ull;

	if (lwr__conn_idle_ms(&f->conn) >= limit) {
		if (lwr__conn_probe(&f->conn) > PROBES) {
			f->conn.link->stats.tcp_vanished++;
			f->err = -ETIMEDOUT;
			lwr__flow_kill(f, true);
			return;
		}
	}
	watch_keepalive(f);
}

static void on_alive_timer(struct lwr_timer *timer)
{
	struct lwr_tcp *t = LWR_CONTAINER(timer, struct lwr_tcp, alive_timer);
	uint64_t now = lwr__loop_now(t->stack->loop);
	struct lwr_flow *f;

	while (!lwr__list_empty(&t->alive)) {
		f = LWR_CONTAINER(t->alive.next, struct lwr_flow, node);
		if (f->at_ms > now) {
			/* At most one wake a second, whatever the number. */
			uint64_t in = f->at_ms - now;

			lwr__timer_start(timer, in < 1000 ? 1000 : in);
			return;
		}
		check_guest(f);
	}
}

static void on_pending_timer(struct lwr_timer *timer)
{
	struct lwr_tcp *t = LWR_CONTAINER(timer, struct lwr_tcp, pending_timer);

	lwr__connect_timeouts(t);
}

int lwr__tcp_init(struct lwr_tcp *t, struct lwr_stack *stack,
		  struct lwr_dns_server *dns, struct lwr_hook_set *hooks)
{
	*t = (struct lwr_tcp){ .stack = stack, .dns = dns, .hooks = hooks };
	lwr__chunk_init(&t->chunks, stack->config->max_buffer);
	lwr__list_init(&t->ready);
	lwr__list_init(&t->bulk);
	lwr__list_init(&t->pending);
	lwr__list_init(&t->alive);
	lwr__list_init(&t->dead);
	lwr__timer_init(stack->loop, &t->pending_timer, on_pending_timer);
	lwr__timer_init(stack->loop, &t->alive_timer, on_alive_timer);
	return 0;
}

void lwr__tcp_fini(struct lwr_tcp *t)
{
	LWR_ASSERT(t->flows == 0);
	(void)lwr__tcp_reap(t);
	lwr__timer_close(t->stack->loop, &t->pending_timer);
	lwr__timer_close(t->stack->loop, &t->alive_timer);
	lwr__chunk_fini(&t->chunks);
}
