/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host has IPv6 if it could send to any address of the Internet: the kernel
 * is asked for the route and the source it would take, which covers routing
 * rules, tables and tunnels as a look at the tables would not. No packet is
 * sent. A host without such a route, but with a global address, is in a closed
 * network and has what that network has; unless it had such a route before: then
 * it has lost its way out. Where sockets leave from one address or interface
 * (--outbound), only that one counts.
 *
 * Rtnetlink tells of changes to links, addresses and routes. The messages are
 * thrown away, and the question asked again a little later.
 */
#include "platform/routes.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SETTLE_MS = 100, ANY_PORT = 9 };

#define CONTAINER(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static bool is_global(const struct in6_addr *a)
{
	return !IN6_IS_ADDR_LINKLOCAL(a) && !IN6_IS_ADDR_LOOPBACK(a) &&
	       !IN6_IS_ADDR_UNSPECIFIED(a);
}

/* 2600:: stands for the Internet: global, and in nobody's private use. */
static bool has_default(const struct lwr_sock_from *from)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6,
				   .sin6_port = htons(ANY_PORT),
				   .sin6_addr = { { { 0x26 } } } };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool found;

	if (fd < 0)
		return false;
	found = lwr__sock_bind_from(fd, AF_INET6, from) == 0 &&
		connect(fd, (struct sockaddr *)&sa, len) == 0 &&
		getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
		is_global(&sa.sin6_addr);
	close(fd);
	return found;
}

static bool has_address(const struct lwr_sock_from *from)
{
	const struct sockaddr_in6 *sin6;
	struct ifaddrs *all, *a;
	bool found = false;

	if (!lwr__sock_from_carries(from, AF_INET6) || getifaddrs(&all) < 0)
		return false;
	for (a = all; a && !found; a = a->ifa_next) {
		sin6 = (const void *)a->ifa_addr;
		found = sin6 && sin6->sin6_family == AF_INET6 &&
			(a->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP &&
			(!from->ifname[0] ||
			 strcmp(from->ifname, a->ifa_name) == 0) &&
			is_global(&sin6->sin6_addr);
	}
	freeifaddrs(all);
	return found;
}

bool lwr__routes_ipv6(const struct lwr_sock_from *from)
{
	return has_default(from) || has_address(from);
}

static bool look(struct lwr_routes *r)
{
	if (has_default(r->from)) {
		r->was_default = true;
		return true;
	}
	return !r->was_default && has_address(r->from);
}

static void on_timer(struct lwr_timer *t)
{
	struct lwr_routes *r = CONTAINER(t, struct lwr_routes, timer);
	bool ipv6 = look(r);

	if (ipv6 == r->ipv6)
		return;
	r->ipv6 = ipv6;
	r->on_change(r);
}

static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_routes *r = CONTAINER(w, struct lwr_routes, watch);
	char buf[8192];

	(void)events;
	/* Lost messages (ENOBUFS) are messages too. */
	while (recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 ||
	       errno == ENOBUFS || errno == EINTR)
		;
	if (!lwr__timer_active(&r->timer))
		lwr__timer_start(&r->timer, SETTLE_MS);
}

static int open_monitor(void)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK,
				  .nl_groups = RTMGRP_IPV6_IFADDR |
					       RTMGRP_IPV6_ROUTE };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void lwr__routes_open(struct lwr_routes *r, struct lwr_loop *loop,
		      const struct lwr_sock_from *from,
		      void (*on_change)(struct lwr_routes *r))
{
	*r = (struct lwr_routes){ .loop = loop,
				  .from = from,
				  .on_change = on_change };
	r->watch.events = EPOLLIN;
	r->watch.on_event = on_event;
	r->watch.fd = open_monitor();
	if (r->watch.fd >= 0 && lwr__watch_start(loop, &r->watch) < 0) {
		close(r->watch.fd);
		r->watch.fd = -1;
	}
	lwr__timer_init(loop, &r->timer, on_timer);
	/* After the watch: no change can be missed in between. */
	r->ipv6 = look(r);
}

void lwr__routes_close(struct lwr_routes *r)
{
	int fd = r->watch.fd;

	if (fd >= 0) {
		lwr__watch_stop(r->loop, &r->watch);
		close(fd);
	}
	lwr__timer_stop(&r->timer);
	lwr__timer_close(r->loop, &r->timer);
}
