/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters and flows of the public header. */
#include "relay/api.h"
#include "relay/udp_flow.h"

#include <errno.h>
#include <string.h>

struct asking {
	struct lwr_relay *relay;
	uint32_t link;
	struct lwr_stats stats;
	bool (*fn)(void *arg, const struct lwr_flow_info *flow);
	void *arg;
	int result;
};

static struct lwr_link *next_link(struct lwr_relay *r, struct lwr_link *link)
{
	struct lwr_list *n = link ? link->node.next : r->stack.links.next;

	return n == &r->stack.links ? NULL :
				      LWR_CONTAINER(n, struct lwr_link, node);
}

struct lwr_link *lwr__api_link(struct lwr_relay *r, uint32_t number)
{
	struct lwr_link *link = NULL;

	while ((link = next_link(r, link)) && link->number != number)
		;
	return link;
}

static void do_count(void *arg)
{
	struct asking *a = arg;
	struct lwr_link *link = lwr__api_link(a->relay, a->link);

	if (a->link == 0)
		lwr__relay_stats(a->relay, &a->stats);
	else if (link)
		a->stats = link->stats;
	else
		a->result = -ENOENT;
}

int lwr_counters_get(struct lwr_relay *relay, uint32_t link,
		     struct lwr_counters *out)
{
	struct asking a = { .relay = relay, .link = link };
	uint32_t size = out->size;
	struct lwr_counters c;
	int err;

	if (size < sizeof(uint32_t) || size > sizeof(c))
		return -EINVAL;
	err = lwr__calls_run(&lwr__api_of(relay)->calls, do_count, &a);
	if (err || a.result)
		return err ? err : a.result;
	memset(&c, 0, sizeof(c));
	c.size = size;
#define COPY(name, help) c.name = a.stats.name;
	LWR_STATS(COPY)
#undef COPY
	memcpy(out, &c, size);
	return 0;
}

/* Returns false when the user has seen enough. */
static bool each_tcp(struct asking *a, struct lwr_link *link)
{
	struct lwr_list *n, *next;
	struct lwr_flow_info info;

	for (n = link->conns.next; n != &link->conns; n = next) {
		next = n->next;
		lwr__tcp_info(LWR_CONTAINER(n, struct lwr_conn, on_link),
			      &info);
		a->result++;
		if (!a->fn(a->arg, &info))
			return false;
	}
	return true;
}

static bool each_udp(struct asking *a, const struct lwr_list *flows)
{
	const struct lwr_list *n, *next;
	struct lwr_flow_info info;

	for (n = flows->next; n != flows; n = next) {
		next = n->next;
		lwr__udp_info(LWR_CONTAINER(n, struct lwr_udp_flow, on_link),
			      &info);
		a->result++;
		if (!a->fn(a->arg, &info))
			return false;
	}
	return true;
}

static bool each_client(struct asking *a, const struct lwr_link *link)
{
	const struct lwr_list *at = NULL;
	struct lwr_flow_info info;

	while (lwr__publish_udp_next(&a->relay->publish, link, &at, &info)) {
		a->result++;
		if (!a->fn(a->arg, &info))
			return false;
	}
	return true;
}

static void do_flows(void *arg)
{
	struct asking *a = arg;
	struct lwr_link *link = NULL;

	while ((link = next_link(a->relay, link))) {
		if (a->link && a->link != link->number)
			continue;
		if (!each_tcp(a, link) || !each_udp(a, &link->udp.lru) ||
		    !each_udp(a, &link->echo.lru) || !each_client(a, link))
			return;
	}
}

int lwr_flows_each(struct lwr_relay *relay, uint32_t link,
		   bool (*fn)(void *arg, const struct lwr_flow_info *flow),
		   void *arg)
{
	struct asking a = { .relay = relay, .link = link, .fn = fn, .arg = arg };
	int err = lwr__calls_run(&lwr__api_of(relay)->calls, do_flows, &a);

	return err ? err : a.result;
}
