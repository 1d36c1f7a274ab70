/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening for the guest. A rule is one --publish with a socket for each of
 * its ports, all in the loop's edge-triggered set: ports without clients cost
 * nothing. An edge puts the port on `ready`, and once a tick each ready port
 * accepts BATCH clients, in turn, until nobody is there.
 *
 * Descriptors may run out. The clients then stay in the kernel's queue, the
 * port on `starved`, and a slow timer tries again: no client is lost, nothing
 * spins, and nothing depends on which descriptor is closed first.
 *
 * Without ADDR one IPv6 socket serves both families, or an IPv4 one where the
 * host has no IPv6; clients of IPv4 then come as ::ffff:a.b.c.d, which is how
 * addresses are kept here anyway.
 *
 * A rule dies in two steps, since events of its sockets may wait in this tick.
 */
#include "relay/publish_priv.h"

#include "platform/sock.h"
#include "platform/sock_listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	BATCH = 64, /* clients of one port in one tick */
	STARVED_MS = 100,
};

/* ---- clients ------------------------------------------------------------- */

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_publish_port *port =
		LWR_CONTAINER(w, struct lwr_publish_port, watch);

	(void)events;
	if (lwr__list_empty(&port->todo))
		lwr__list_append(&port->rule->publish->ready, &port->todo);
}

static void starve(struct lwr_publish_port *port, int err)
{
	struct lwr_publish *p = port->rule->publish;

	if (!lwr__timer_active(&p->starved_timer)) {
		lwr__timer_start(&p->starved_timer, STARVED_MS);
		lwr__log(p->stack->log, LWR_LOG_DEBUG,
			 "published port %u waits: %s", port->port,
			 strerror(-err));
	}
	lwr__list_append(&p->starved, &port->todo);
}

/* Returns true if there may be more. */
static bool accept_some(struct lwr_publish_port *port)
{
	struct sockaddr_storage from;
	struct lwr_dest client;
	int fd;

	for (int i = 0; i < BATCH; i++) {
		fd = lwr__sock_accept(port->watch.fd, &from);
		if (fd == -ECONNABORTED)
			continue;
		if (fd == -EAGAIN)
			return false;
		if (fd < 0) {
			starve(port, fd);
			return false;
		}
		if (from.ss_family == AF_UNIX) {
			lwr__publish_client(port, fd, NULL);
			continue;
		}
		lwr__addr_from_sockaddr(&from, &client.addr, &client.port);
		lwr__publish_client(port, fd, &client);
	}
	return true;
}

bool lwr__publish_tick(struct lwr_publish *p)
{
	struct lwr_list todo, *n;
	struct lwr_publish_port *port;
	bool more = false;

	lwr__list_move(&p->ready, &todo);
	while ((n = lwr__list_take(&todo))) {
		port = LWR_CONTAINER(n, struct lwr_publish_port, todo);
		if (port->rule->spec.udp) {
			more = lwr__publish_udp_read(port) || more;
		} else if (accept_some(port)) {
			lwr__list_append(&p->ready, n);
			more = true;
		}
	}
	return more;
}

static void on_starved_timer(struct lwr_timer *t)
{
	struct lwr_publish *p =
		LWR_CONTAINER(t, struct lwr_publish, starved_timer);
	struct lwr_list *n;

	while ((n = lwr__list_take(&p->starved)))
		lwr__list_append(&p->ready, n);
}

static void on_waiting_timer(struct lwr_timer *t)
{
	struct lwr_publish *p =
		LWR_CONTAINER(t, struct lwr_publish, waiting_timer);

	lwr__publish_tcp_look(p, NULL);
	lwr__publish_udp_look(p, NULL);
	lwr__publish_wait(p);
}

/* ---- listening ----------------------------------------------------------- */

static struct lwr_addr wildcard(bool four)
{
	static const uint8_t zero[16];

	return four ? lwr__addr_from4(zero) : lwr__addr_from16(zero);
}

static int bind_addr(const struct lwr_publish_spec *s,
		     const struct lwr_addr *addr, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = lwr__addr_to_sockaddr(addr, port, &ss);

	return lwr__sock_listen(&ss, len, s->udp, s->any);
}

static int bind_port(const struct lwr_publish_spec *s, uint16_t port)
{
	struct lwr_addr addr = s->any ? wildcard(false) : s->addr;
	int fd = bind_addr(s, &addr, port);

	if (s->any && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
		addr = wildcard(true);
		fd = bind_addr(s, &addr, port);
	}
	return fd;
}

static int open_port(struct lwr_published *r, struct lwr_publish_port *port)
{
	const struct lwr_publish_spec *s = &r->spec;
	uint16_t n = (uint16_t)(port - r->port);
	int err = 0, fd;

	if (s->path[0]) {
		err = lwr__unix_open(&r->sock, s->path, SOCK_STREAM,
				     LWR_UNIX_ALL);
		fd = err ? err : r->sock.fd;
	} else {
		fd = bind_port(s, s->first ? (uint16_t)(s->first + n) : 0);
	}
	if (fd < 0)
		return fd;
	port->watch.fd = fd;
	port->port = s->path[0] ? 0 : lwr__sock_port(fd);
	port->gport = s->guest ? (uint16_t)(s->guest + n) : port->port;
	port->serial = r->publish->next_serial++;
	return lwr__watch_start(r->publish->stack->loop, &port->watch);
}

static void close_port(struct lwr_published *r, struct lwr_publish_port *port)
{
	int fd = port->watch.fd;

	lwr__list_remove(&port->todo);
	if (fd < 0)
		return;
	lwr__publish_udp_end(r->publish, NULL, port);
	lwr__watch_stop(r->publish->stack->loop, &port->watch);
	if (r->spec.path[0])
		lwr__unix_close(&r->sock);
	else
		lwr__sock_close(fd);
}

static void remove_rule(struct lwr_published *r)
{
	for (unsigned i = 0; i < r->ports; i++)
		close_port(r, &r->port[i]);
	lwr__list_remove(&r->node);
	lwr__list_append(&r->publish->dead, &r->node);
}

static struct lwr_published *new_rule(struct lwr_publish *p,
				      struct lwr_link *link,
				      const struct lwr_publish_spec *s)
{
	unsigned ports = 1u + s->last - s->first;
	struct lwr_published *r =
		calloc(1, sizeof(*r) + ports * sizeof(r->port[0]));

	if (!r)
		return NULL;
	r->publish = p;
	r->link = link;
	r->spec = *s;
	r->ports = ports;
	for (unsigned i = 0; i < ports; i++) {
		r->port[i].rule = r;
		r->port[i].watch.fd = -1;
		r->port[i].watch.events = EPOLLIN;
		r->port[i].watch.on_event = on_event;
		lwr__list_init(&r->port[i].todo);
	}
	lwr__list_append(&p->rules, &r->node);
	return r;
}

static const char *hint_of(const struct lwr_publish_spec *s, int err)
{
	switch (-err) {
	case EADDRINUSE:
		return s->path[0] ? " (another process has this socket)" :
				    " (another process has this port)";
	case EACCES:
		return s->path[0] ?
			       "" :
			       " (sysctl net.ipv4.ip_unprivileged_port_start "
			       "allows it, or choose one from 1024)";
	case EADDRNOTAVAIL:
		return " (the host has no such address)";
	case EMFILE:
		return " (raise the limit of open files: ulimit -n)";
	default:
		return "";
	}
}

static void complain(const struct lwr_publish_spec *s, unsigned i, int err,
		     char text[LWR_PUBLISH_ERROR])
{
	char addr[LWR_ADDR_TEXT] = "";

	if (s->path[0]) {
		snprintf(text, LWR_PUBLISH_ERROR, "%s: %s%s", s->path,
			 strerror(-err), hint_of(s, err));
		return;
	}
	if (!s->any)
		lwr__addr_text(&s->addr, addr);
	snprintf(text, LWR_PUBLISH_ERROR, "port %u/%s%s%s: %s%s", s->first + i,
		 s->udp ? "udp" : "tcp", s->any ? "" : " of ", addr,
		 strerror(-err), hint_of(s, err));
}

static void log_rule(const struct lwr_published *r)
{
	char text[LWR_PUBLISH_TEXT];

	for (unsigned i = 0; i < r->ports; i++)
		lwr__log(r->publish->stack->log, LWR_LOG_INFO,
			 "published %s of %s",
			 lwr__publish_text(&r->port[i], text), r->link->name);
}

int lwr__publish_add(struct lwr_publish *p, struct lwr_link *link,
		     const char *text, char err[LWR_PUBLISH_ERROR])
{
	struct lwr_publish_spec spec;
	struct lwr_published *r;
	int e = lwr__publish_parse(&spec, text, err);

	if (e)
		return e;
	r = new_rule(p, link, &spec);
	if (!r) {
		snprintf(err, LWR_PUBLISH_ERROR, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < r->ports && !e; i++) {
		e = open_port(r, &r->port[i]);
		if (e)
			complain(&spec, i, e, err);
	}
	if (e) {
		remove_rule(r);
		return e;
	}
	r->id = p->next_id++;
	log_rule(r);
	return (int)r->id;
}

const struct lwr_published *lwr__publish_find(const struct lwr_publish *p,
					      uint32_t id)
{
	const struct lwr_published *r = NULL;

	while ((r = lwr__publish_next(p, r)) && r->id != id)
		;
	return r;
}

int lwr__publish_end(struct lwr_publish *p, uint32_t id)
{
	struct lwr_list *n;

	for (n = p->rules.next; n != &p->rules; n = n->next) {
		struct lwr_published *r =
			LWR_CONTAINER(n, struct lwr_published, node);

		if (r->id == id && !r->ended) {
			r->ended = true;
			return 0;
		}
	}
	return -ENOENT;
}

void lwr__publish_remove_ended(struct lwr_publish *p)
{
	struct lwr_published *r;
	struct lwr_list *n, *next;

	for (n = p->rules.next; n != &p->rules; n = next) {
		next = n->next;
		r = LWR_CONTAINER(n, struct lwr_published, node);
		if (r->ended)
			remove_rule(r);
	}
}

const struct lwr_published *lwr__publish_next(const struct lwr_publish *p,
					      const struct lwr_published *r)
{
	const struct lwr_list *n = r ? r->node.next : p->rules.next;

	for (; n != &p->rules; n = n->next) {
		r = LWR_CONTAINER(n, struct lwr_published, node);
		if (!r->ended)
			return r;
	}
	return NULL;
}

const char *lwr__publish_text(const struct lwr_publish_port *port,
			      char buf[LWR_PUBLISH_TEXT])
{
	const struct lwr_publish_spec *s = &port->rule->spec;
	char addr[LWR_ADDR_TEXT] = "*";
	bool six = !s->any && !lwr__addr_is4(&s->addr);

	if (!s->any)
		lwr__addr_text(&s->addr, addr);
	if (s->path[0])
		snprintf(buf, LWR_PUBLISH_TEXT, "unix:%s -> %u/tcp", s->path,
			 port->gport);
	else
		snprintf(buf, LWR_PUBLISH_TEXT, "%s%s%s:%u -> %u/%s",
			 six ? "[" : "", addr, six ? "]" : "", port->port,
			 port->gport, s->udp ? "udp" : "tcp");
	return buf;
}

/* ---- life ---------------------------------------------------------------- */

void lwr__publish_link_down(struct lwr_publish *p, struct lwr_link *link)
{
	lwr__publish_tcp_down(p, link);
	lwr__publish_udp_end(p, link, NULL);
}

void lwr__publish_link_gone(struct lwr_publish *p, struct lwr_link *link)
{
	struct lwr_list *n, *next;

	for (n = p->rules.next; n != &p->rules; n = next) {
		struct lwr_published *r =
			LWR_CONTAINER(n, struct lwr_published, node);

		next = n->next;
		if (r->link == link)
			remove_rule(r);
	}
}

void lwr__publish_reap(struct lwr_publish *p)
{
	struct lwr_list *n;

	while ((n = lwr__list_take(&p->dead)))
		free(LWR_CONTAINER(n, struct lwr_published, node));
}

int lwr__publish_init(struct lwr_publish *p, struct lwr_stack *stack,
		      struct lwr_tcp *tcp)
{
	int err;

	*p = (struct lwr_publish){
		.stack = stack, .tcp = tcp, .next_id = 1, .next_serial = 1
	};
	lwr__list_init(&p->rules);
	lwr__list_init(&p->dead);
	lwr__list_init(&p->ready);
	lwr__list_init(&p->starved);
	lwr__list_init(&p->waiting);
	lwr__list_init(&p->udp_waiting);
	err = lwr__publish_udp_init(p);
	if (err)
		return err;
	lwr__timer_init(stack->loop, &p->starved_timer, on_starved_timer);
	lwr__timer_init(stack->loop, &p->waiting_timer, on_waiting_timer);
	return 0;
}

void lwr__publish_fini(struct lwr_publish *p)
{
	LWR_ASSERT(lwr__list_empty(&p->rules));
	lwr__publish_udp_fini(p);
	lwr__publish_reap(p);
	lwr__timer_stop(&p->starved_timer);
	lwr__timer_stop(&p->waiting_timer);
	lwr__timer_close(p->stack->loop, &p->starved_timer);
	lwr__timer_close(p->stack->loop, &p->waiting_timer);
}
