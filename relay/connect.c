/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the guest's SYN to the host's answer. The SYN is kept as it came, the
 * host socket connects, and only then lwIP sees the SYN and answers. Until
 * then the guest has seen nothing, so whatever the host says can be passed on
 * as it is (RFC 9293 3.10.7.3, RFC 1122 4.2.3.9):
 *
 *	refused, reset                     RST
 *	no route to net or host, timeout   ICMP unreachable
 *	the guest's TTL ended              ICMP time exceeded (relay/hops.c)
 *	forbidden, here or by policy       ICMP administratively prohibited
 *	a limit of the relay or the host   RST, counted, logged once a minute
 *
 * The gateway's address may mean the host's loopback (--host-loopback): the one
 * of the guest's family first, and where that refuses, the other.
 */
#include "relay/flow.h"
#include "relay/dns_server.h"
#include "relay/hooks.h"
#include "relay/policy.h"
#include "relay/service.h"

#include "platform/sock.h"
#include "platform/unix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	const struct lwr_addr *by; /* the router that says so; NULL: the relay */
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
	const struct lwr_addr *gateway = four ? &a->link->net->gateway :
						&a->link->net->gateway6;

	lwr__send_unreach(a->link, why, a->by ? a->by : gateway, a->syn->data,
			  a->syn->len);
}

/* At most once a minute: a guest must not be able to fill the log. */
void lwr__tcp_log_limit(struct lwr_tcp *t, const char *what)
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
	case ENOENT: /* a service's socket is not there */
		st->tcp_refused++;
		refuse(a);
		break;
	case ENETUNREACH:
	case EAFNOSUPPORT:
	case ENETDOWN:
	case ENODEV: /* the interface of --outbound is gone */
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_NET);
		break;
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_HOST);
		break;
	case ETIME:
		st->tcp_unreachable++;
		unreach(a, LWR_UNREACH_TTL);
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
		lwr__tcp_log_limit(t, strerror(-err));
		refuse(a);
	}
}

/* Where a SYN leads to. */
struct target {
	enum { HOST, DNS, SERVICE } kind;
	struct lwr_dest host;
	const char *path; /* of a service's Unix socket */
	uint8_t hops; /* TTL of the guest's own choice; 0: the usual one */
};

/* The gateway may mean ::1 as well as 127.0.0.1. */
static bool other_loopback(const struct lwr_link *link,
			   const struct lwr_key *key, struct target *to)
{
	struct lwr_dest guest = { key->host, key->hport }, first, other;

	/* Not where the user's hook led it elsewhere. */
	if (to->kind != HOST ||
	    !lwr__policy_other_loopback(link->net, &guest, &other) ||
	    lwr__policy_dest(link->net, &guest, &first) != LWR_ALLOW ||
	    !lwr__addr_equal(&first.addr, &to->host.addr) ||
	    first.port != to->host.port)
		return false;
	to->host = other;
	return true;
}

/* Connects. Returns the descriptor or -errno. */
static int open_target(struct lwr_tcp *t, struct lwr_link *link,
		       const struct target *to, bool *done)
{
	const struct lwr_sock_from *from = &t->stack->config->outbound;
	struct sockaddr_storage ss;
	socklen_t len;

	*done = to->kind == DNS;
	(void)lwr__share_g2h(link, LWR_SHARE_CONNECT);
	if (to->kind == DNS)
		return lwr__dns_tcp_open(t->dns, link);
	if (to->kind == SERVICE)
		return lwr__unix_connect(to->path, done);
	if (lwr__addr_is_loopback(&to->host.addr))
		from = NULL;
	len = lwr__addr_to_sockaddr(&to->host.addr, to->host.port, &ss);
	return lwr__sock_connect((struct sockaddr *)&ss, len, from, to->hops,
				 done);
}

/* Connects a refused flow to the other loopback. False: there is none. */
static bool try_other(struct lwr_flow *f)
{
	struct lwr_link *link = f->conn.link;
	struct target to = { .kind = HOST, .host = f->host };
	bool done;
	int fd;

	if (f->last_chance || !other_loopback(link, &f->conn.demux.key, &to))
		return false;
	f->last_chance = true;
	fd = open_target(f->tcp, link, &to, &done);
	if (fd < 0)
		return false;
	if (lwr__flow_rewatch(f, fd) < 0)
		return false;
	f->host = to.host;
	return true;
}

static void fail(struct lwr_flow *f, int err)
{
	struct answer a = { f->conn.link, &f->conn.demux.key, f->syn, NULL };
	struct lwr_addr by;
	int told = f->hops ? lwr__hops_report(f, &by) : 0;

	if (told)
		a.by = &by;
	if (told == -ETIME) /* the kernel says "host unreachable" */
		err = told;
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
	lwr__flow_fit(f);
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
	else if (err != -EINPROGRESS && !(err == -ECONNREFUSED && try_other(f)))
		fail(f, err);
}

/* A path that is silent at the guest's TTL stays so. */
static void give_up(struct lwr_flow *f)
{
	if (!f->hops) {
		fail(f, -ETIMEDOUT);
		return;
	}
	f->err = -ETIMEDOUT;
	f->conn.link->stats.tcp_timeout++;
	lwr__flow_kill(f, true);
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
			give_up(f);
		else if (f->state == LWR_FLOW_CALLING)
			lwr__flow_unanswered(f, LWR_CONN_TIMEOUT);
		else /* the guest did not finish its handshake */
			lwr__flow_kill(f, true);
	}
}

/* The flow of a held SYN. */
static struct lwr_flow *new_flow(struct lwr_tcp *t, const struct lwr_pkt *pkt,
				 struct lwr_syn *syn, const struct target *to,
				 int fd)
{
	struct lwr_flow *f = lwr__flow_new(t, pkt->link, fd);
	struct lwr_key key;

	if (!f)
		return NULL;
	f->syn = syn;
	f->host = to->host;
	f->hops = to->hops;
	f->conn.ttl = pkt->ttl;
	f->last_chance = to->kind != HOST;
	lwr__stack_key(&key, pkt);
	lwr__conn_add(pkt->link, &f->conn, &key);
	lwr__flow_pending(f);
	return f;
}

static void start(struct lwr_tcp *t, const struct lwr_pkt *pkt,
		  const struct answer *a, struct lwr_syn *syn,
		  struct target *to)
{
	struct lwr_flow *f;
	bool done;
	int fd = open_target(t, pkt->link, to, &done);

	if (lwr__policy_nobody(fd) && other_loopback(pkt->link, a->key, to)) {
		fd = open_target(t, pkt->link, to, &done);
		/* A host without ::1 refuses there as well. */
		fd = lwr__policy_nobody(fd) ? -ECONNREFUSED : fd;
	}
	if (fd == -EAGAIN) { /* a full Unix socket: the guest asks again */
		free(syn);
		return;
	}
	if (fd < 0) {
		answer_error(t, a, fd);
		free(syn);
		return;
	}
	f = new_flow(t, pkt, syn, to, fd);
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
const char *lwr__tcp_limit(const struct lwr_tcp *t, struct lwr_link *link)
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
		.id = t->stack->next_flow_id,
		.link = pkt->link->number,
		.protocol = LWR_PROTO_TCP,
		.guest = lwr__endpoint(&pkt->src, pkt->sport),
		.dest = lwr__endpoint(&pkt->dst, pkt->dport),
		.host = lwr__endpoint(&host->addr, host->port),
	};

	return lwr__hooks_flow_open(t->hooks, &info, &host->addr, &host->port);
}

static enum lwr_verdict
find_target(struct lwr_tcp *t, const struct lwr_pkt *pkt, struct target *to)
{
	struct lwr_dest guest = { pkt->dst, pkt->dport };

	if (lwr__policy_is_query(pkt->link->net, &guest)) {
		to->kind = DNS;
		return LWR_ALLOW;
	}
	to->path = lwr__service_find(t->services, pkt->link->net, &guest);
	if (to->path) {
		to->kind = SERVICE;
		return LWR_ALLOW;
	}
	return lwr__policy_dest(pkt->link->net, &guest, &to->host);
}

static void decide(struct lwr_tcp *t, const struct lwr_pkt *pkt,
		   const struct answer *a, struct lwr_syn *syn)
{
	struct target to = { .kind = HOST, .host = { pkt->dst, pkt->dport } };
	enum lwr_verdict v = find_target(t, pkt, &to);
	const char *limit = lwr__tcp_limit(t, pkt->link);

	if (v == LWR_ALLOW && !limit && to.kind == HOST)
		v = ask(t, pkt, &to.host);
	if (to.kind == HOST && !lwr__addr_is_loopback(&to.host.addr))
		to.hops = lwr__hops_of(pkt);
	if (v == LWR_ALLOW && !limit) {
		start(t, pkt, a, syn, &to);
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
		lwr__tcp_log_limit(t, limit);
		refuse(a);
	}
	free(syn);
}

void lwr__tcp_on_syn(struct lwr_tcp *t, const struct lwr_pkt *pkt)
{
	struct answer a = { .link = pkt->link };
	struct lwr_syn *syn;
	struct lwr_key key;

	if (!lwr__policy_source(pkt->link->net, &pkt->src)) {
		pkt->link->stats.drop_source++;
		return;
	}
	syn = copy_syn(pkt);
	if (!syn) {
		pkt->link->stats.drop_memory++;
		return;
	}
	lwr__stack_key(&key, pkt);
	a.key = &key;
	a.syn = syn;
	decide(t, pkt, &a, syn);
}
