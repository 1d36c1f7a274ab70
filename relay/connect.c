/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the guest's SYN to the host's answer. The SYN is kept as it came, the
 * host socket connects, and only then lwIP sees the SYN and answers. Until
 * then the guest has seen nothing, so whatever the host says can be passed on
 * as it is (RFC 9293 3.10.7.3, RFC 1122 4.2.3.9):
 *
 *	refused, reset                     RST
 *	no route to net or host, timeout   ICMP unreachable
 *	forbidden, here or by policy       ICMP administratively prohibited
 *	a limit of the relay or the host   RST, counted, logged once a minute
 */
#include "relay/flow.h"
#include "relay/dns_server.h"
#include "relay/hooks.h"
#include "relay/policy.h"

#include "platform/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	SYN_MAX = 128, /* bytes of a SYN that is held */
	LOG_EVERY_MS = 60 * 1000,
};

/* A held SYN: the IP packet without payload. */
struct lwr_syn {
	uint16_t len;
	uint16_t tcp; /* offset of the TCP header */
	uint8_t data[];
};

/* What is needed to answer a SYN, before or after a flow exists. */
struct answer {
	struct lwr_link *link;
	const struct lwr_key *key;
	const struct lwr_syn *syn;
};

static struct lwr_syn *copy_syn(const struct lwr_pkt *pkt)
{
	struct lwr_cursor c = lwr__cursor(pkt->data + pkt->l4, pkt->l4_len);
	struct lwr_syn *syn;
	uint16_t hlen;

	lwr__cursor_bytes(&c, NULL, 12);
	hlen = (uint16_t)((lwr__cursor_u8(&c) >> 4) * 4);
	if (c.bad || hlen > pkt->l4_len)
		return NULL;
	syn = malloc(sizeof(*syn) + SYN_MAX);
	if (!syn)
		return NULL;
	syn->tcp = (uint16_t)(pkt->l4 - pkt->l3);
	syn->len = (uint16_t)(syn->tcp + hlen);
	if (syn->len > SYN_MAX) { /* IPv6 with long extension headers */
		free(syn);
		return NULL;
	}
	memcpy(syn->data, pkt->data + pkt->l3, syn->len);
	return syn;
}

static uint32_t syn_seq(const struct lwr_syn *syn)
{
	struct lwr_cursor c = lwr__cursor(syn->data + syn->tcp,
					  (size_t)(syn->len - syn->tcp));

	lwr__cursor_bytes(&c, NULL, 4);
	return lwr__cursor_u32(&c);
}

static void refuse(const struct answer *a)
{
	lwr__conn_refuse(a->link, &a->key->guest, a->key->gport, &a->key->host,
			 a->key->hport, syn_seq(a->syn));
}

static void unreach(const struct answer *a, enum lwr_unreach why)
{
	bool four = lwr__addr_is4(&a->key->host);

	/* From the gateway: it is the router that says so. */
	lwr__send_unreach(a->link, why,
			  four ? &a->link->net->gateway :
				 &a->link->net->gateway6,
			  a->syn->data, a->syn->len);
}

/* At most once a minute: a guest must not be able to fill the log. */
static void log_limit(struct lwr_tcp *t, const char *what)
{
	uint64_t now = lwr__loop_now(t->stack->loop);

	if (t->limit_logged_ms && now - t->limit_logged_ms < LOG_EVERY_MS)
		return;
	t->limit_logged_ms = now;
	lwr__log(t->stack->log, LWR_LOG_WARN,
		 "connections refused at a limit: %s", what);
}

/* Tells the guest why its connect failed with the negative errno `err`. */
static void answer_error(struct lwr_tcp *t, const struct answer *a, int err)
{
	struct lwr_stats *st = &a->link->stats;

	switch (-err) {
	case ECONNREFUSED:
	case ECONNRESET:
		st->tcp_refused++;
		refuse(a);
		break;
	case ENETUNREACH:
	case EAFNOSUPPORT:
	case ENETDOWN:
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_NET);
		break;
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_HOST);
		break;
	case ETIMEDOUT:
		st->tcp_timeout++;
		unreach(a, LWR_UNREACH_HOST);
		break;
	case EACCES:
	case EPERM:
	case EINVAL:
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_PROHIBITED);
		break;
	default: /* EMFILE, ENFILE, ENOMEM, ENOBUFS, and what is not foreseen */
		st->tcp_limited++;
		log_limit(t, strerror(-err));
		refuse(a);
	}
}

static void fail(struct lwr_flow *f, int err)
{
	struct answer a = { f->conn.link, &f->conn.demux.key, f->syn };

	f->err = err;
	answer_error(f->tcp, &a, err);
	lwr__flow_kill(f, true);
}

/* The host is connected: lwIP answers the guest now. */
static void replay(struct lwr_flow *f)
{
	struct lwr_syn *syn = f->syn;
	int err;

	f->state = LWR_FLOW_OPENING;
	f->writable = true;
	err = lwr__conn_accept(&f->conn, syn->data + syn->tcp,
			       (size_t)(syn->len - syn->tcp));
	if (err < 0) {
		fail(f, err);
		return;
	}
	free(f->syn);
	f->syn = NULL;
}

void lwr__flow_connecting(struct lwr_flow *f)
{
	int err = 0;

	/* Writable without an error is a connection; else ask. */
	if (!f->writable || f->hangup || f->error)
		err = lwr__sock_connected(f->watch.fd);
	f->error = false;
	if (err == 0)
		replay(f);
	else if (err != -EINPROGRESS)
		fail(f, err);
}

void lwr__connect_timeouts(struct lwr_tcp *t)
{
	uint64_t now = lwr__loop_now(t->stack->loop);
	struct lwr_flow *f;

	while (!lwr__list_empty(&t->pending)) {
		f = LWR_CONTAINER(t->pending.next, struct lwr_flow, node);
		if (f->at_ms > now) {
			lwr__timer_start(&t->pending_timer, f->at_ms - now);
			return;
		}
		if (f->state == LWR_FLOW_CONNECTING)
			fail(f, -ETIMEDOUT);
		else /* the guest did not finish its handshake */
			lwr__flow_kill(f, true);
	}
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

static struct lwr_flow *new_flow(struct lwr_tcp *t, const struct lwr_pkt *pkt,
				 struct lwr_syn *syn,
				 const struct lwr_dest *dest, int fd)
{
	struct lwr_flow *f = calloc(1, sizeof(*f));
	const struct lwr_config *config = t->stack->config;

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
	f->syn = syn;
	f->id = t->next_id++;
	if (dest)
		f->host = *dest;
	f->opened_ms = lwr__loop_now(t->stack->loop);
	f->at_ms = f->opened_ms + config->connect_timeout_ms;
	lwr__list_init(&f->on_ready);
	lwr__list_append(&t->pending, &f->node);
	if (!lwr__timer_active(&t->pending_timer))
		lwr__timer_start(&t->pending_timer, config->connect_timeout_ms);
	lwr__conn_add(t->stack, &f->conn, pkt);
	t->flows++;
	t->connects++;
	pkt->link->stats.tcp_pending++;
	return f;
}

/* Connects to `dest`, or to our own DNS. Returns the socket or -errno. */
static int open_host(struct lwr_tcp *t, struct lwr_link *link,
		     const struct lwr_dest *dest, bool query, bool *done)
{
	struct sockaddr_storage ss;
	socklen_t len;

	*done = query;
	(void)lwr__share_g2h(link, LWR_SHARE_CONNECT);
	if (query)
		return lwr__dns_tcp_open(t->dns, link);
	len = lwr__addr_to_sockaddr(&dest->addr, dest->port, &ss);
	return lwr__sock_connect((struct sockaddr *)&ss, len, done);
}

static void start(struct lwr_tcp *t, const struct lwr_pkt *pkt,
		  const struct answer *a, struct lwr_syn *syn,
		  const struct lwr_dest *dest, bool query)
{
	struct lwr_flow *f;
	bool done;
	int fd = open_host(t, pkt->link, dest, query, &done);

	if (fd < 0) {
		answer_error(t, a, fd);
		free(syn);
		return;
	}
	f = new_flow(t, pkt, syn, dest, fd);
	if (!f) {
		answer_error(t, a, -ENOMEM);
		lwr__sock_close(fd);
		free(syn);
		return;
	}
	if (done)
		replay(f);
}

/* Limits of the relay's own and of the link; NULL: there is room. */
static const char *limit_reached(const struct lwr_tcp *t, struct lwr_link *link)
{
	const struct lwr_limits *l = &link->net->limits;
	const struct lwr_config *config = t->stack->config;

	if (t->flows >= config->max_flows)
		return "max-flows";
	if (t->connects >= config->max_pending)
		return "max-pending";
	if (t->queued + t->chunks.bytes >= config->max_buffer)
		return "max-buffer";
	if (l->flows &&
	    link->stats.tcp_live + link->stats.tcp_pending >= l->flows)
		return "max-flows of the link";
	if (l->buffer && link->buffered >= l->buffer)
		return "max-buffer of the link";
	if (!lwr__link_may_open(link, lwr__loop_now(t->stack->loop)))
		return "new flows a second of the link";
	return NULL;
}

/* The user's word on what the rules allow; *host may change. */
static enum lwr_verdict ask(struct lwr_tcp *t, const struct lwr_pkt *pkt,
			    struct lwr_dest *host)
{
	struct lwr_flow_info info = {
		.id = t->next_id,
		.link = pkt->link->number,
		.protocol = LWR_PROTO_TCP,
		.guest = lwr__endpoint(&pkt->src, pkt->sport),
		.dest = lwr__endpoint(&pkt->dst, pkt->dport),
		.host = lwr__endpoint(&host->addr, host->port),
	};

	return lwr__hooks_flow_open(t->hooks, &info, &host->addr, &host->port);
}

static void decide(struct lwr_tcp *t, const struct lwr_pkt *pkt,
		   const struct answer *a, struct lwr_syn *syn)
{
	struct lwr_dest guest = { pkt->dst, pkt->dport }, host = guest;
	bool query = lwr__policy_is_query(pkt->link->net, &guest);
	enum lwr_verdict v = LWR_ALLOW;
	const char *limit = limit_reached(t, pkt->link);

	if (!query)
		v = lwr__policy_dest(pkt->link->net, &guest, &host);
	if (v == LWR_ALLOW && !limit && !query)
		v = ask(t, pkt, &host);
	if (v == LWR_ALLOW && !limit) {
		start(t, pkt, a, syn, &host, query);
		return;
	}
	if (v == LWR_DENY) {
		a->link->stats.tcp_denied++;
		unreach(a, LWR_UNREACH_PROHIBITED);
	} else if (v == LWR_REFUSE) {
		a->link->stats.tcp_refused++;
		refuse(a);
	} else {
		a->link->stats.tcp_limited++;
		log_limit(t, limit);
		refuse(a);
	}
	free(syn);
}

void lwr__tcp_on_syn(struct lwr_tcp *t, const struct lwr_pkt *pkt)
{
	struct lwr_key key = { .guest = pkt->src,
			       .host = pkt->dst,
			       .link = pkt->link->id,
			       .gport = pkt->sport,
			       .hport = pkt->dport };
	struct answer a = { .link = pkt->link, .key = &key };
	struct lwr_syn *syn;

	if (!lwr__policy_source(pkt->link->net, &pkt->src)) {
		pkt->link->stats.drop_source++;
		return;
	}
	syn = copy_syn(pkt);
	if (!syn) {
		pkt->link->stats.drop_memory++;
		return;
	}
	a.syn = syn;
	decide(t, pkt, &a, syn);
}
