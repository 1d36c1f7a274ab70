/* SPDX-License-Identifier: BSD-3-Clause */
/* The two lines of JSON on an --attach connection. */
#ifndef LWR_RELAY_ATTACH_PARSE_H
#define LWR_RELAY_ATTACH_PARSE_H

#include "relay/link_open.h"

#include <stdbool.h>
#include <stddef.h>

/* A link that a client hands over; spec.fd is still to be set. */
struct lwr_attach_request {
	struct lwr_link_spec spec; /* its text is `name` */
	struct lwr_net net;
	char name[48];
	bool tied; /* the link ends with its connection */
};

/*
 * Takes the line apart; what it does not say is as in `net`. Returns 0, or
 * -EINVAL with a sentence in err.
 */
int lwr__attach_parse(struct lwr_attach_request *r, const char *line,
		      size_t len, const struct lwr_net *net,
		      char err[LWR_ERROR_TEXT]);

enum { LWR_ATTACH_ANSWER = 1024 };

/* The answers, with their newline. Return their length. */
size_t lwr__attach_accepted(char out[LWR_ATTACH_ANSWER],
			    const struct lwr_link *link);
size_t lwr__attach_refused(char out[LWR_ATTACH_ANSWER], const char *why);

#endif
