/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/program.h"

#include "netif/stream.h"
#include "netif/tap.h"
#include "platform/netns.h"
#include "platform/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A link and what the program knows of it. */
struct served {
	struct lwr_program *program;
	unsigned *live; /* links that can still carry a guest */
	bool listens; /* another guest may come */
};

static void complain_link(const char *text, int err, const char *hint)
{
	char what[160];

	snprintf(what, sizeof(what), "--link %s", text);
	lwr__complain(what, err, hint);
}

/* An interface that was deleted, with its namespace or not, is a normal end. */
static int status_of(int err)
{
	return err == 0 || err == -ENODEV ? LWR_EXIT_OK : LWR_EXIT_FAILURE;
}

static void on_gone(struct lwr_link *link, int err)
{
	struct served *s = link->owner;
	struct lwr_program *p = s->program;

	if (!s->listens) {
		(*s->live)--;
		link->ops->close(link);
	}
	if (p->opt->one_off || *s->live == 0)
		lwr__program_stop(p, status_of(err));
}

static int open_tap(struct lwr_program *p, const struct lwr_link_spec *spec,
		    struct lwr_link **link)
{
	struct lwr_tap tap = { .fd = -1 };
	char what[160];
	int err;

	if (spec->kind == LWR_LINK_TAP_FD)
		err = lwr__tap_adopt(spec->fd, &tap);
	else if (spec->netns)
		err = lwr__tap_open_in(spec->netns, spec->ifname, &tap);
	else
		err = lwr__tap_open(spec->ifname, &tap);
	if (err) {
		snprintf(what, sizeof(what), "--link %s", spec->text);
		lwr__complain_tap(what, err);
		return err;
	}
	err = lwr__tap_new(&p->relay.stack, spec->text, tap.fd,
			   &p->opt->config.net, tap.vnet, tap.uso, link);
	if (err) {
		complain_link(spec->text, err, NULL);
		close(tap.fd);
	}
	return err;
}

static int open_stream(struct lwr_program *p, const struct lwr_link_spec *spec,
		       struct lwr_link **link)
{
	struct lwr_stack *stack = &p->relay.stack;
	const struct lwr_net *net = &p->opt->config.net;
	int err;

	if (spec->kind == LWR_LINK_STREAM)
		err = lwr__stream_listen(stack, spec->path, net, link);
	else
		err = lwr__stream_fd(stack, spec->text, spec->fd, net, link);
	if (err)
		complain_link(spec->text, err,
			      err == -EADDRINUSE ?
				      "another process serves this socket" :
			      err == -ENOTSOCK ? "is no socket" :
						 NULL);
	return err;
}

static int open_link(struct lwr_program *p, const struct lwr_link_spec *spec,
		     struct served *s)
{
	bool tap = spec->kind == LWR_LINK_TAP || spec->kind == LWR_LINK_TAP_FD;
	struct lwr_link *link;
	int err = tap ? open_tap(p, spec, &link) : open_stream(p, spec, &link);

	if (err)
		return err;
	s->listens = spec->kind == LWR_LINK_STREAM;
	link->owner = s;
	link->on_gone = on_gone;
	(*s->live)++;
	return 0;
}

static int open_links(struct lwr_program *p, struct served *s, unsigned *live)
{
	int err = 0;

	for (unsigned i = 0; i < p->opt->links && !err; i++) {
		s[i] = (struct served){ .program = p, .live = live };
		err = open_link(p, &p->opt->link[i], &s[i]);
	}
	return err ? LWR_EXIT_FAILURE : lwr__program_ready(p);
}

int lwr__serve(const struct lwr_options *opt)
{
	struct lwr_program *p = malloc(sizeof(*p));
	struct served *s = calloc(LWR_LINKS_MAX, sizeof(*s));
	unsigned live = 0;
	sigset_t old;
	int status = LWR_EXIT_FAILURE;

	if (!p || !s) {
		lwr__complain("cannot start", -ENOMEM, NULL);
		goto out;
	}
	lwr__program_signals(&old);
	status = lwr__program_start(p, opt);
	if (status)
		goto out;
	status = open_links(p, s, &live);
	if (status)
		lwr__program_stop(p, status);
	status = lwr__program_run(p);
out:
	free(s);
	free(p);
	return status;
}
