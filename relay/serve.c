/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/program.h"

#include "relay/attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct serve {
	struct lwr_program program;
	unsigned live; /* links that can still carry a guest */
	struct lwr_attach *attach; /* NULL: none, or closed */
};

/* An interface that was deleted, with its namespace or not, is a normal end. */
static int status_of(int err)
{
	return err == 0 || err == -ENODEV ? LWR_EXIT_OK : LWR_EXIT_FAILURE;
}

/* A guest left. */
static void left(struct serve *s, int err)
{
	if (s->program.opt->one_off || (s->live == 0 && !s->attach))
		lwr__program_stop(&s->program, status_of(err));
}

static void on_gone(struct lwr_link *link, int err)
{
	struct serve *s = link->owner;

	if (!link->listens) {
		s->live--;
		link->ops->close(link);
	}
	left(s, err);
}

static void on_attached_gone(void *arg, int err)
{
	left(arg, err);
}

static void on_stop(struct lwr_program *p)
{
	struct serve *s = p->owner;

	if (s->attach)
		lwr__attach_close(s->attach);
	s->attach = NULL;
}

static int open_attach(struct serve *s)
{
	struct lwr_program *p = &s->program;
	struct lwr_attach_options o = {
		.path = p->opt->attach,
		.max_links = p->opt->max_links,
		.net = &p->opt->config.net,
		.on_gone = on_attached_gone,
		.arg = s,
	};
	char line[LWR_ERROR_TEXT];
	int err = lwr__attach_open(&p->relay.stack, &o, &s->attach);

	if (err) {
		snprintf(line, sizeof(line), "--attach %s", o.path);
		lwr__complain(line, err,
			      err == -EADDRINUSE ?
				      "another process serves this socket" :
				      NULL);
	}
	return err;
}

static int open_link(struct serve *s, const struct lwr_link_spec *spec)
{
	char why[LWR_ERROR_TEXT], line[2 * LWR_ERROR_TEXT];
	struct lwr_program *p = &s->program;
	struct lwr_link *link;
	int err = lwr__link_open(&p->relay.stack, spec, &p->opt->config.net,
				 &link, why);

	if (err) {
		snprintf(line, sizeof(line), "--link %s: %s", spec->text, why);
		lwr__complain(line, 0, NULL);
		return err;
	}
	link->owner = s;
	link->on_gone = on_gone;
	s->live++;
	return lwr__program_publish(p, link, (unsigned)(spec - p->opt->link));
}

static int open_links(struct serve *s)
{
	const struct lwr_options *opt = s->program.opt;
	int err = 0;

	for (unsigned i = 0; i < opt->links && !err; i++)
		err = open_link(s, &opt->link[i]);
	if (!err && opt->attach)
		err = open_attach(s);
	return err ? LWR_EXIT_FAILURE : lwr__program_ready(&s->program);
}

int lwr__serve(const struct lwr_options *opt)
{
	struct serve *s = calloc(1, sizeof(*s));
	sigset_t old;
	int status;

	if (!s) {
		lwr__complain("cannot start", -ENOMEM, NULL);
		return LWR_EXIT_FAILURE;
	}
	lwr__program_signals(&old);
	status = lwr__program_start(&s->program, opt);
	if (!status) {
		s->program.owner = s;
		s->program.on_stop = on_stop;
		status = open_links(s);
		if (status)
			lwr__program_stop(&s->program, status);
		status = lwr__program_run(&s->program);
	}
	free(s);
	return status;
}
