/* SPDX-License-Identifier: BSD-3-Clause */
/* Links of the public header: each with a network of its own. */
#include "netif/inproc.h"
#include "relay/api.h"
#include "relay/link_open.h"
#include "relay/options_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lives as long as the link, whose `net` and `owner` it is. */
struct api_link {
	struct lwr_list node; /* api->links */
	struct lwr_net net;
	struct lwr_api *api;
	struct lwr_link *link; /* NULL: closing */
	uint32_t number;
	bool removed; /* its number is no longer known */
};

/* One call of lwr_link_add(), on its way to the loop's thread. */
struct adding {
	struct lwr_api *api;
	const struct lwr_link_spec *spec; /* NULL: in-process */
	struct lwr_inproc_opts opts;
	struct lwr_inproc *far;
	struct api_link *al;
	char *why;
	uint32_t number;
	int err;
};

/* ---- options ------------------------------------------------------------ */

static int copy_options(struct lwr_link_options *to,
			const struct lwr_link_options *from)
{
	memset(to, 0, sizeof(*to));
	if (!from)
		return 0;
	if (from->size < sizeof(uint32_t) || from->size > sizeof(*to))
		return -EINVAL;
	memcpy(to, from, from->size);
	return to->frames & (to->frames - 1) ? -EINVAL : 0;
}

static int set_net(struct lwr_net *net, const struct lwr_link_options *o,
		   char *why)
{
	int err = o->network ? lwr__api_network(net, o->network, why) : 0;

	if (err)
		return err;
	net->strict = o->strict;
	memcpy(net->guest_mac, o->mac, sizeof(net->guest_mac));
	net->limits = (struct lwr_limits){
		.flows = o->max_flows,
		.udp = o->max_udp,
		.new_flows = o->max_new_flows,
		.buffer = o->max_buffer,
	};
	return 0;
}

static int say(const struct lwr_link_options *o, int err, const char *why)
{
	if (o->error && o->error_size)
		snprintf(o->error, o->error_size, "%s", why);
	return err;
}

/* ---- life --------------------------------------------------------------- */

static void forget(struct api_link *al)
{
	lwr__list_remove(&al->node);
	free(al);
}

static void close_link(struct api_link *al)
{
	al->link->on_gone = NULL;
	al->link->ops->close(al->link);
	forget(al);
}

static void on_gone(struct lwr_link *link, int err)
{
	struct api_link *al = link->owner;
	struct lwr_hook_set *h = &al->api->relay.hooks;
	uint32_t number = al->number;

	/* The hook may not find a link that is of no more use. */
	if (!link->listens)
		close_link(al);
	if (h->fn.on_link_down)
		h->fn.on_link_down(h->arg, number, err);
}

void lwr__api_links_fini(struct lwr_api *api)
{
	while (!lwr__list_empty(&api->links))
		forget(LWR_CONTAINER(api->links.next, struct api_link, node));
}

static int open_link(struct adding *a, struct lwr_link **link)
{
	struct lwr_stack *stack = &a->api->relay.stack;

	if (a->spec)
		return lwr__link_open(stack, a->spec, &a->al->net, link,
				      a->why);
	return lwr__inproc_new(stack, "in-process", &a->al->net, &a->opts, link,
			       &a->far);
}

static void do_add(void *arg)
{
	struct adding *a = arg;
	struct api_link *al = a->al;
	struct lwr_link *link;

	a->err = open_link(a, &link);
	if (a->err)
		return;
	link->owner = al;
	link->on_gone = on_gone;
	al->link = link;
	al->number = link->number;
	a->number = link->number; /* `al` may be gone when the caller looks */
	lwr__list_append(&a->api->links, &al->node);
}

static struct api_link *new_link(struct lwr_api *api,
				 const struct lwr_link_options *o, char *why,
				 int *err)
{
	struct api_link *al = calloc(1, sizeof(*al));

	*err = -ENOMEM;
	if (!al)
		return NULL;
	al->api = api;
	al->net = api->relay.config.net;
	lwr__list_init(&al->node);
	*err = set_net(&al->net, o, why);
	if (!*err)
		return al;
	free(al);
	return NULL;
}

/* Has the loop's thread add the link that `a` describes. */
static int add(struct adding *a, const struct lwr_link_options *o,
	       uint32_t *number)
{
	int err;

	a->al = new_link(a->api, o, a->why, &err);
	if (err)
		return say(o, err, a->why[0] ? a->why : strerror(-err));
	err = lwr__calls_run(&a->api->calls, do_add, a);
	if (!err)
		err = a->err;
	if (err) {
		free(a->al);
		return say(o, err, a->why[0] ? a->why : strerror(-err));
	}
	*number = a->number;
	return 0;
}

int lwr_link_add(struct lwr_relay *relay, const char *spec,
		 const struct lwr_link_options *options, uint32_t *number)
{
	char why[LWR_ERROR_TEXT] = "";
	struct adding a = { .api = lwr__api_of(relay), .why = why };
	struct lwr_link_options o;
	struct lwr_link_spec s;
	int err = copy_options(&o, options);

	if (err)
		return err;
	err = lwr__link_parse(&s, spec, why);
	if (err)
		return say(&o, err, why);
	a.spec = &s;
	return add(&a, &o, number);
}

int lwr_link_add_port(struct lwr_relay *relay,
		      const struct lwr_link_options *options,
		      struct lwr_port **port, uint32_t *number)
{
	char why[LWR_ERROR_TEXT] = "";
	struct adding a = { .api = lwr__api_of(relay), .why = why };
	struct lwr_link_options o;
	int err = copy_options(&o, options);

	if (err)
		return err;
	a.opts = (struct lwr_inproc_opts){
		.frames = o.frames,
		.many = o.many_pushers,
		.vnet = o.vnet,
		.offload = o.offload,
		.uso = o.uso,
		.wake = o.on_wake,
		.arg = o.wake_arg,
	};
	err = add(&a, &o, number);
	if (!err)
		*port = (struct lwr_port *)a.far;
	return err;
}

struct removing {
	struct lwr_api *api;
	uint32_t number;
	int err;
};

static struct api_link *find(struct lwr_api *api, uint32_t number)
{
	struct lwr_list *n;
	struct api_link *al;

	for (n = api->links.next; n != &api->links; n = n->next) {
		al = LWR_CONTAINER(n, struct api_link, node);
		if (al->number == number && !al->removed)
			return al;
	}
	return NULL;
}

void lwr__api_close_removed(struct lwr_api *api)
{
	struct lwr_list *n, *next;
	struct api_link *al;

	for (n = api->links.next; n != &api->links; n = next) {
		next = n->next;
		al = LWR_CONTAINER(n, struct api_link, node);
		if (al->removed)
			close_link(al);
	}
}

static void do_remove(void *arg)
{
	struct removing *rm = arg;
	struct api_link *al = find(rm->api, rm->number);

	rm->err = al ? 0 : -ENOENT;
	if (!al)
		return;
	al->removed = true;
	if (rm->api->relay.hooks.inside)
		lwr__api_later(rm->api);
	else
		close_link(al);
}

int lwr_link_remove(struct lwr_relay *relay, uint32_t number)
{
	struct removing rm = { .api = lwr__api_of(relay), .number = number };
	int err = lwr__calls_run(&rm.api->calls, do_remove, &rm);

	return err ? err : rm.err;
}
