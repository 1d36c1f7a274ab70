/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of a published TCP port is a flow like any other (relay/tcp.c),
 * opened from the other end: the host's socket is connected first, then SYN
 * goes to the guest. What the client sends meanwhile waits in its socket; from
 * OPEN on nothing is different.
 *
 *	accept -> WAITING   the guest's address is not known yet
 *	          CALLING   SYN is out; lwIP repeats it
 *	          OPEN      the guest answered
 *
 * The client was connected by the host's kernel before we could ask, so the
 * guest's refusal can only reach it as RST, at once; so does the silence of a
 * guest, after publish_wait_ms without an address or connect_timeout_ms
 * without an answer.
 */
#include "relay/publish_priv.h"

#include "platform/sock.h"
#include "relay/flow.h"

#include <errno.h>

static struct lwr_stats *stats_of(const struct lwr_flow *f)
{
	return &f->conn.link->stats;
}

/* The guest's address, and who it sees; false: no port is free for that. */
static bool make_key(const struct lwr_flow *f, int six, uint16_t gport,
		     struct lwr_key *key)
{
	return lwr__publish_key(f->conn.link, six, gport,
				f->host.port ? &f->host : NULL, NULL, key);
}

/* The user's word. False: no; else *gport may be another. */
static bool allowed(struct lwr_flow *f, const struct lwr_key *key,
		    uint16_t *gport)
{
	struct lwr_flow_info info = {
		.id = f->id,
		.protocol = LWR_PROTO_TCP,
	};

	if (lwr__publish_ask(f->tcp->hooks, &info, f->conn.link, key, &f->host,
			     gport)) {
		f->unasked = false;
		return true;
	}
	stats_of(f)->tcp_denied++;
	return false;
}

static void call(struct lwr_flow *f, int six)
{
	struct lwr_link *link = f->conn.link;
	uint16_t gport = f->conn.demux.key.gport;
	struct lwr_key key;

	if (!make_key(f, six, gport, &key)) {
		stats_of(f)->tcp_limited++;
		lwr__flow_kill(f, true);
		return;
	}
	if (!allowed(f, &key, &gport) ||
	    (gport != key.gport && !make_key(f, six, gport, &key))) {
		lwr__flow_kill(f, true);
		return;
	}
	lwr__list_remove(&f->node);
	f->state = LWR_FLOW_CALLING;
	lwr__conn_add(link, &f->conn, &key);
	lwr__flow_pending(f);
	lwr__flow_fit(f);
	if (lwr__conn_connect(&f->conn) < 0) {
		stats_of(f)->drop_memory++;
		lwr__flow_kill(f, true);
	}
}

/* Calls the guest if that is possible now. */
static bool try_call(struct lwr_publish *p, struct lwr_flow *f)
{
	bool six = f->host.port && !lwr__addr_is4(&f->host.addr);
	int use = lwr__publish_choose(p, f->conn.link, six, f->at_ms);

	if (use >= 0)
		call(f, use);
	return use >= 0;
}

void lwr__publish_client(struct lwr_publish_port *port, int fd,
			 const struct lwr_dest *client)
{
	struct lwr_publish *p = port->rule->publish;
	struct lwr_link *link = port->rule->link;
	const char *limit = lwr__tcp_limit(p->tcp, link);
	struct lwr_flow *f = NULL;

	link->stats.publish_clients++;
	if (limit) {
		link->stats.tcp_limited++;
		lwr__tcp_log_limit(p->tcp, limit);
	} else {
		f = lwr__flow_new(p->tcp, link, fd);
	}
	if (!f) {
		lwr__sock_reset(fd);
		return;
	}
	f->published = true;
	f->unasked = true;
	f->state = LWR_FLOW_WAITING;
	f->at_ms = lwr__loop_now(p->stack->loop); /* since then */
	f->writable = true;
	f->conn.demux.key.gport = port->gport; /* the rest follows */
	if (client)
		f->host = *client;
	if (try_call(p, f))
		return;
	lwr__list_append(&p->waiting, &f->node);
	lwr__publish_wait(p);
}

/* Not called in time. */
static void give_up(struct lwr_flow *f)
{
	lwr__log(f->tcp->stack->log, LWR_LOG_DEBUG, "flow %llu: no guest at %s",
		 (unsigned long long)f->id, f->conn.link->name);
	stats_of(f)->publish_timeout++;
	lwr__flow_kill(f, true);
}

void lwr__publish_tcp_look(struct lwr_publish *p, struct lwr_link *link)
{
	uint32_t wait = p->stack->config->publish_wait_ms;
	uint64_t now = lwr__loop_now(p->stack->loop);
	struct lwr_list todo, *n;
	struct lwr_flow *f;

	lwr__list_move(&p->waiting, &todo);
	while ((n = lwr__list_take(&todo))) {
		f = LWR_CONTAINER(n, struct lwr_flow, node);
		if ((!link || f->conn.link == link) && try_call(p, f))
			continue;
		if (now - f->at_ms >= wait)
			give_up(f);
		else
			lwr__list_append(&p->waiting, n);
	}
}

void lwr__publish_tcp_down(struct lwr_publish *p, const struct lwr_link *link)
{
	struct lwr_list todo, *n;
	struct lwr_flow *f;

	lwr__list_move(&p->waiting, &todo);
	while ((n = lwr__list_take(&todo))) {
		f = LWR_CONTAINER(n, struct lwr_flow, node);
		if (f->conn.link == link)
			lwr__flow_kill(f, true);
		else
			lwr__list_append(&p->waiting, n);
	}
}

void lwr__flow_unanswered(struct lwr_flow *f, enum lwr_conn_end end)
{
	struct lwr_link *link = f->conn.link;
	bool six = !lwr__addr_is4(&f->conn.demux.key.guest);

	if (end == LWR_CONN_RESET) {
		link->stats.publish_refused++;
	} else {
		link->stats.publish_timeout++;
		link->guest[six].known = false; /* it may have moved */
	}
	lwr__flow_kill(f, true);
}
