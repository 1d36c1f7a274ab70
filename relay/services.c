/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/services.h"

#include "platform/sock.h"

#include <stdlib.h>

void lwr__services_init(struct lwr_services *s, struct lwr_stack *stack,
			const struct lwr_dns *dns)
{
	*s = (struct lwr_services){ .stack = stack, .dns = dns, .ipv6 = true };
	lwr__list_init(&s->lans);
	lwr__random(s->key, sizeof(s->key));
	lwr__timer_init(stack->loop, &s->timer, lwr__ra_timer);
}

static void drop(struct lwr_lan *lan)
{
	lwr__list_remove(&lan->node);
	free(lan);
}

static struct lwr_lan *find(struct lwr_services *s, const struct lwr_link *link)
{
	struct lwr_list *n;
	struct lwr_lan *lan;

	for (n = s->lans.next; n != &s->lans; n = n->next) {
		lan = LWR_CONTAINER(n, struct lwr_lan, node);
		if (lan->link == link)
			return lan;
	}
	return NULL;
}

void lwr__services_link_down(struct lwr_services *s,
			     const struct lwr_link *link)
{
	struct lwr_lan *lan = find(s, link);

	if (lan)
		drop(lan);
}

struct lwr_lan *lwr__services_lan(struct lwr_services *s, struct lwr_link *link)
{
	struct lwr_lan *lan = find(s, link);

	if (lan)
		return lan;
	lan = calloc(1, sizeof(*lan));
	if (!lan) {
		link->stats.drop_memory++;
		return NULL;
	}
	lan->link = link;
	lan->pool6.six = true;
	lwr__list_append(&s->lans, &lan->node);
	return lan;
}

void lwr__services_fini(struct lwr_services *s)
{
	while (!lwr__list_empty(&s->lans))
		drop(LWR_CONTAINER(s->lans.next, struct lwr_lan, node));
	lwr__timer_stop(&s->timer);
	lwr__timer_close(s->stack->loop, &s->timer);
}
