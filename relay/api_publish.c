/* SPDX-License-Identifier: BSD-3-Clause */
/* Published ports of the public header. */
#include "relay/api.h"

#include <errno.h>
#include <stdio.h>

struct publishing {
	struct lwr_relay *relay;
	const char *spec;
	uint32_t link;
	uint32_t id;
	uint16_t port;
	char why[LWR_PUBLISH_ERROR];
	int err;
};

static void do_publish(void *arg)
{
	struct publishing *p = arg;
	struct lwr_publish *all = &p->relay->publish;
	struct lwr_link *link = lwr__api_link(p->relay, p->link);

	p->err = link ? lwr__publish_add(all, link, p->spec, p->why) : -ENOENT;
	if (p->err < 0)
		return;
	p->id = (uint32_t)p->err;
	p->port = lwr__publish_find(all, p->id)->port[0].port;
}

int lwr_publish(struct lwr_relay *relay, uint32_t link, const char *spec,
		uint32_t *id, uint16_t *port, char *error, size_t error_size)
{
	struct publishing p = { .relay = relay, .spec = spec, .link = link };
	int err = lwr__calls_run(&lwr__api_of(relay)->calls, do_publish, &p);

	if (!err && p.err < 0)
		err = p.err;
	if (err) {
		if (error && error_size)
			snprintf(error, error_size, "%s", p.why);
		return err;
	}
	*id = p.id;
	if (port)
		*port = p.port;
	return 0;
}

static void do_unpublish(void *arg)
{
	struct publishing *p = arg;
	struct lwr_publish *all = &p->relay->publish;

	p->err = lwr__publish_end(all, p->id);
	if (p->relay->hooks.inside)
		lwr__api_later(lwr__api_of(p->relay));
	else
		lwr__publish_remove_ended(all);
}

int lwr_unpublish(struct lwr_relay *relay, uint32_t id)
{
	struct publishing p = { .relay = relay, .id = id };
	int err = lwr__calls_run(&lwr__api_of(relay)->calls, do_unpublish, &p);

	return err ? err : p.err;
}
