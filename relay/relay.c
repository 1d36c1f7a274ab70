/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay as a whole. One tick: links and sockets were read, flows noted
 * what happened; then, in this order, DNS answers are sent, clients of published
 * ports are accepted, flows with few bytes move them, datagrams are read. The
 * rings are drained of that before flows with many bytes move theirs, so that
 * bulk keeps nobody waiting for more than the rest of its turn. Then the rings
 * are drained again, and what died is freed.
 */
#include "relay/relay.h"
#include "relay/policy.h"
#include "relay/services.h"

#include <string.h>

static bool on_tick(void *arg)
{
	struct lwr_relay *r = arg;
	bool more = lwr__dns_server_tick(&r->dns_server);

	more = lwr__publish_tick(&r->publish) || more;
	lwr__tcp_tick(&r->tcp);
	more = lwr__udp_tick(&r->udp) || more;
	more = lwr__udp_tick(&r->ping) || more;
	lwr__tcp_bulk(&r->tcp);
	lwr__stack_flush(&r->stack);
	more = lwr__tcp_reap(&r->tcp) || more;
	lwr__publish_reap(&r->publish);
	/* A drained ring lets go what it kept back: frames for the next tick. */
	return more || !lwr__list_empty(&r->stack.drain);
}

/*
 * What may not go further than here ends here: the guest's first hop (RFC 1812
 * 5.3.1). Returns true if it was told so.
 */
static bool expired(const struct lwr_pkt *pkt)
{
	const struct lwr_net *net = pkt->link->net;

	if (pkt->ttl > 1 || lwr__policy_is_local(net, &pkt->dst) ||
	    lwr__addr_is_multicast(&pkt->dst) ||
	    !lwr__policy_source(net, &pkt->src))
		return false;
	pkt->link->stats.drop_ttl++;
	lwr__send_unreach(pkt->link, LWR_UNREACH_TTL,
			  lwr__addr_is4(&pkt->dst) ? &net->gateway :
						     &net->gateway6,
			  pkt->data + pkt->l3, pkt->l4 + pkt->l4_len - pkt->l3);
	return true;
}

static void on_syn(void *arg, const struct lwr_pkt *pkt)
{
	struct lwr_relay *r = arg;

	if (!expired(pkt))
		lwr__tcp_on_syn(&r->tcp, pkt);
}

static void on_early(void *arg, struct lwr_conn *c, const struct lwr_pkt *pkt,
		     bool rst)
{
	if (lwr__tcp_on_early(&((struct lwr_relay *)arg)->tcp, c, pkt, rst))
		on_syn(arg, pkt);
}

static void on_open(void *arg, struct lwr_conn *c)
{
	lwr__tcp_on_open(&((struct lwr_relay *)arg)->tcp, c);
}

static void on_data(void *arg, struct lwr_conn *c, struct pbuf *p)
{
	lwr__tcp_on_data(&((struct lwr_relay *)arg)->tcp, c, p);
}

static void on_acked(void *arg, struct lwr_conn *c, uint32_t n)
{
	lwr__tcp_on_acked(&((struct lwr_relay *)arg)->tcp, c, n);
}

static void on_writable(void *arg, struct lwr_conn *c)
{
	lwr__tcp_on_writable(&((struct lwr_relay *)arg)->tcp, c);
}

static void on_end(void *arg, struct lwr_conn *c, enum lwr_conn_end end)
{
	lwr__tcp_on_end(&((struct lwr_relay *)arg)->tcp, c, end);
}

static void on_udp(struct lwr_relay *r, const struct lwr_pkt *pkt)
{
	if (!lwr__dhcp_input(&r->services, pkt) &&
	    !lwr__dhcp6_input(&r->services, pkt) &&
	    !lwr__publish_udp_input(&r->publish, pkt) &&
	    !lwr__dns_server_input(&r->dns_server, pkt))
		lwr__udp_input(&r->udp, pkt);
}

static void on_icmp(struct lwr_relay *r, const struct lwr_pkt *pkt)
{
	if (!lwr__icmp_input(pkt))
		(void)lwr__ping_input(&r->ping, pkt);
}

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	struct lwr_relay *r = arg;

	if (pkt->ethertype == LWR_ETHERTYPE_ARP) {
		(void)lwr__arp_input(&r->services, pkt);
		lwr__publish_guest_seen(&r->publish, pkt->link);
		return;
	}
	if (expired(pkt))
		return;
	switch (pkt->proto) {
	case LWR_PROTO_UDP:
		on_udp(r, pkt);
		break;
	case LWR_PROTO_ICMP6:
		/* Neighbour discovery in fragments is an attack: RFC 6980. */
		if (!pkt->reassembled && lwr__ndp_input(&r->services, pkt)) {
			lwr__publish_guest_seen(&r->publish, pkt->link);
			break;
		}
		if (!pkt->reassembled && lwr__ra_input(&r->services, pkt))
			break;
		on_icmp(r, pkt);
		break;
	case LWR_PROTO_ICMP:
		on_icmp(r, pkt);
		break;
	default:
		pkt->link->stats.drop_proto++;
	}
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	struct lwr_relay *r = arg;

	lwr__tcp_link_down(&r->tcp, link);
	lwr__udp_link_down(&r->udp, link);
	lwr__dns_server_link_down(&r->dns_server, link);
	lwr__services_link_down(&r->services, link);
	lwr__udp_link_down(&r->ping, link);
	lwr__publish_link_down(&r->publish, link);
}

static void on_link_gone(void *arg, struct lwr_link *link)
{
	lwr__publish_link_gone(&((struct lwr_relay *)arg)->publish, link);
}

static const struct lwr_stack_hooks hooks = {
	.on_syn = on_syn,
	.on_early = on_early,
	.on_open = on_open,
	.on_data = on_data,
	.on_acked = on_acked,
	.on_writable = on_writable,
	.on_end = on_end,
	.on_packet = on_packet,
	.on_link_down = on_link_down,
	.on_link_gone = on_link_gone,
};

static void on_routes(struct lwr_routes *routes)
{
	struct lwr_relay *r = LWR_CONTAINER(routes, struct lwr_relay, routes);

	lwr__log(&r->log, LWR_LOG_INFO, "the host %s IPv6",
		 routes->ipv6 ? "has" : "no longer has");
	lwr__ra_set_ipv6(&r->services, routes->ipv6);
}

static void on_search(struct lwr_dns *dns)
{
	lwr__ra_changed(&LWR_CONTAINER(dns, struct lwr_relay, dns)->services);
}

static void on_loop_closed(void *arg)
{
	struct lwr_relay *r = arg;

	r->on_closed(r);
}

int lwr__relay_init(struct lwr_relay *r, uv_loop_t *uv,
		    const struct lwr_config *config, const struct lwr_log *log,
		    void (*on_closed)(struct lwr_relay *r))
{
	int err;

	memset(r, 0, sizeof(*r));
	r->on_closed = on_closed;
	r->config = *config;
	r->log = *log;
	err = lwr__dns_init(&r->dns, &r->config, "/etc/resolv.conf");
	if (!err)
		err = lwr__loop_init(&r->loop, uv, on_tick, r);
	if (err) {
		on_closed(r);
		return err;
	}
	err = lwr__stack_init(&r->stack, &r->loop, &r->config, &r->log, &hooks,
			      r);
	if (err)
		goto err_undo_loop;
	lwr__dns_follow(&r->dns, &r->loop);
	err = lwr__dns_server_init(&r->dns_server, &r->stack, &r->dns);
	if (err)
		goto err_undo_stack;
	err = lwr__tcp_init(&r->tcp, &r->stack, &r->dns_server, &r->hooks);
	if (err)
		goto err_undo_dns;
	err = lwr__udp_init(&r->udp, &r->stack);
	r->udp.hooks = &r->hooks;
	if (err)
		goto err_undo_tcp;
	err = lwr__ping_init(&r->ping, &r->stack);
	if (err)
		goto err_undo_udp;
	err = lwr__publish_init(&r->publish, &r->stack, &r->tcp);
	if (err)
		goto err_undo_ping;
	lwr__services_init(&r->services, &r->stack, &r->dns);
	lwr__routes_open(&r->routes, &r->loop, &r->config.outbound, on_routes);
	r->services.ipv6 = r->routes.ipv6;
	r->dns.on_search = on_search;
	return 0;

err_undo_ping:
	lwr__udp_fini(&r->ping);
err_undo_udp:
	lwr__udp_fini(&r->udp);
err_undo_tcp:
	lwr__tcp_fini(&r->tcp);
err_undo_dns:
	lwr__dns_server_fini(&r->dns_server);
err_undo_stack:
	lwr__dns_unfollow(&r->dns);
	lwr__stack_fini(&r->stack);
err_undo_loop:
	lwr__loop_fini(&r->loop, on_loop_closed);
	return err;
}

void lwr__relay_close(struct lwr_relay *r)
{
	struct lwr_link *link;

	while (!lwr__list_empty(&r->stack.links)) {
		link = LWR_CONTAINER(r->stack.links.next, struct lwr_link,
				     node);
		link->ops->close(link);
	}
	r->dns.on_search = NULL;
	lwr__routes_close(&r->routes);
	lwr__services_fini(&r->services);
	lwr__publish_fini(&r->publish);
	lwr__udp_fini(&r->ping);
	lwr__udp_fini(&r->udp);
	lwr__tcp_fini(&r->tcp);
	lwr__dns_server_fini(&r->dns_server);
	lwr__dns_unfollow(&r->dns);
	lwr__stack_fini(&r->stack);
	lwr__loop_fini(&r->loop, on_loop_closed);
}

void lwr__relay_stats(const struct lwr_relay *r, struct lwr_stats *sum)
{
	lwr__stack_stats(&r->stack, sum);
}
