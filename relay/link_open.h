/* SPDX-License-Identifier: BSD-3-Clause */
/* A link as somebody describes it, and how it is opened. */
#ifndef LWR_RELAY_LINK_OPEN_H
#define LWR_RELAY_LINK_OPEN_H

#include "core/link.h"

#include <stdint.h>

enum { LWR_ERROR_TEXT = 512 };

enum lwr_link_kind {
	LWR_LINK_TAP,
	LWR_LINK_TAP_FD,
	LWR_LINK_STREAM,
	LWR_LINK_STREAM_FD,
};

/* The strings are borrowed until the link is open. */
struct lwr_link_spec {
	enum lwr_link_kind kind;
	const char *text; /* as given: the link's name in the log */
	const char *path; /* stream */
	char ifname[16]; /* tap */
	const char *netns; /* tap: a PID, a path or a name; NULL: this one */
	int fd; /* tap-fd, stream-fd: taken on success */
};

/*
 * Opens a link that the stack and `net`, borrowed while the link lives, then
 * serve; the caller sets its owner and on_gone. Returns 0, or -errno with a
 * sentence in err that says why and what helps, without the link's name.
 */
int lwr__link_open(struct lwr_stack *stack, const struct lwr_link_spec *spec,
		   const struct lwr_net *net, struct lwr_link **out,
		   char err[LWR_ERROR_TEXT]);

/* The sentence of a tap that could not be opened; returns `text`. */
const char *lwr__tap_error(int err, char text[LWR_ERROR_TEXT]);

#endif
