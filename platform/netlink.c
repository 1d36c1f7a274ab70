/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One request under construction; every one fits with room to spare. */
struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct tcmsg qdisc;
		uint8_t room[192];
	} body;
};

int lwr__netlink_open(struct lwr_netlink *nl)
{
	nl->seq = 0;
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return nl->fd < 0 ? -errno : 0;
}

void lwr__netlink_close(struct lwr_netlink *nl)
{
	close(nl->fd);
	nl->fd = -1;
}

static void begin(struct request *r, uint16_t type, uint16_t flags,
		  size_t body_len)
{
	memset(r, 0, sizeof(*r));
	r->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(body_len);
	r->head.nlmsg_type = type;
	r->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
}

static void attr(struct request *r, uint16_t type, const void *data, size_t len)
{
	size_t off = NLMSG_ALIGN(r->head.nlmsg_len);
	struct rtattr a = { .rta_len = (uint16_t)RTA_LENGTH(len),
			    .rta_type = type };

	memcpy((char *)r + off, &a, sizeof(a));
	memcpy((char *)r + off + RTA_LENGTH(0), data, len);
	r->head.nlmsg_len = (uint32_t)(off + RTA_LENGTH(len));
}

static void attr_u32(struct request *r, uint16_t type, uint32_t v)
{
	attr(r, type, &v, sizeof(v));
}

/* Sends the request and waits for the kernel's answer to it. */
static int transact(struct lwr_netlink *nl, struct request *r)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		uint8_t rest[256];
	} reply;
	ssize_t n;

	r->head.nlmsg_seq = ++nl->seq;
	if (send(nl->fd, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	do {
		n = recv(nl->fd, &reply, sizeof(reply), 0);
		if (n < 0 && errno != EINTR)
			return -errno;
	} while (n < 0 || reply.head.nlmsg_seq != nl->seq);
	if ((size_t)n < NLMSG_LENGTH(sizeof(reply.err)) ||
	    reply.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.err.error;
}

static int index_of(const char *name, uint32_t *index)
{
	*index = if_nametoindex(name);
	return *index ? 0 : -errno;
}

int lwr__netlink_up(struct lwr_netlink *nl, const char *name, uint32_t mtu,
		    uint32_t txqlen)
{
	struct request r;
	uint32_t index;
	int err = index_of(name, &index);

	if (err)
		return err;
	begin(&r, RTM_NEWLINK, 0, sizeof(r.body.link));
	r.body.link.ifi_index = (int)index;
	r.body.link.ifi_flags = IFF_UP;
	r.body.link.ifi_change = IFF_UP;
	if (mtu)
		attr_u32(&r, IFLA_MTU, mtu);
	if (txqlen)
		attr_u32(&r, IFLA_TXQLEN, txqlen);
	return transact(nl, &r);
}

int lwr__netlink_no_queue(struct lwr_netlink *nl, const char *name)
{
	static const char kind[] = "noqueue";
	struct request r;
	uint32_t index;
	int err = index_of(name, &index);

	if (err)
		return err;
	begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE,
	      sizeof(r.body.qdisc));
	r.body.qdisc.tcm_family = AF_UNSPEC;
	r.body.qdisc.tcm_ifindex = (int)index;
	r.body.qdisc.tcm_parent = TC_H_ROOT;
	attr(&r, TCA_KIND, kind, sizeof(kind));
	return transact(nl, &r);
}

static size_t addr_len(int family)
{
	return family == AF_INET ? 4 : 16;
}

int lwr__netlink_add_addr(struct lwr_netlink *nl, const char *name, int family,
			  const void *addr, uint8_t prefix)
{
	struct request r;
	uint32_t index;
	int err = index_of(name, &index);

	if (err)
		return err;
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
	      sizeof(r.body.addr));
	r.body.addr.ifa_family = (uint8_t)family;
	r.body.addr.ifa_prefixlen = prefix;
	r.body.addr.ifa_index = index;
	if (family == AF_INET6)
		r.body.addr.ifa_flags = IFA_F_NODAD;
	attr(&r, IFA_LOCAL, addr, addr_len(family));
	attr(&r, IFA_ADDRESS, addr, addr_len(family));
	return transact(nl, &r);
}

/* The route's metrics are attributes within an attribute. */
static void attr_congctl(struct request *r, const char *name)
{
	struct {
		struct rtattr head;
		char name[20];
	} metric = { 0 };
	size_t len = strnlen(name, sizeof(metric.name) - 1) + 1;

	metric.head.rta_type = RTAX_CC_ALGO;
	metric.head.rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(metric.name, name, len - 1);
	attr(r, RTA_METRICS | NLA_F_NESTED, &metric, RTA_LENGTH(len));
}

int lwr__netlink_add_default(struct lwr_netlink *nl, const char *name,
			     int family, const void *gateway,
			     const char *congctl)
{
	struct request r;
	uint32_t index;
	int err = index_of(name, &index);

	if (err)
		return err;
	begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
	      sizeof(r.body.route));
	r.body.route.rtm_family = (uint8_t)family;
	r.body.route.rtm_table = RT_TABLE_MAIN;
	r.body.route.rtm_protocol = RTPROT_BOOT;
	r.body.route.rtm_scope = RT_SCOPE_UNIVERSE;
	r.body.route.rtm_type = RTN_UNICAST;
	attr(&r, RTA_GATEWAY, gateway, addr_len(family));
	attr_u32(&r, RTA_OIF, index);
	if (congctl)
		attr_congctl(&r, congctl);
	return transact(nl, &r);
}
