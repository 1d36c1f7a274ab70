/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct serve {
	struct lwr_program program;
	unsigned live; /* links that can still carry a guest */
};

/* An interface that was deleted, with its namespace or not, is a normal end. */
static int status_of(int err)
{
	return err == 0 || err == -ENODEV ? LWR_EXIT_OK : LWR_EXIT_FAILURE;
}

static void on_gone(struct lwr_link *link, int err)
{
	struct serve *s = link->owner;

	if (!link->listens) {
		s->live--;
		link->ops->close(link);
	}
	if (s->program.opt->one_off || s->live == 0)
		lwr__program_stop(&s->program, status_of(err));
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
	return 0;
}

static int open_links(struct serve *s)
{
	const struct lwr_options *opt = s->program.opt;
	int err = 0;

	for (unsigned i = 0; i < opt->links && !err; i++)
		err = open_link(s, &opt->link[i]);
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
		status = open_links(s);
		if (status)
			lwr__program_stop(&s->program, status);
		status = lwr__program_run(&s->program);
	}
	free(s);
	return status;
}
