/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of the command line that need taking apart. */
#ifndef LWR_RELAY_OPTIONS_LINK_H
#define LWR_RELAY_OPTIONS_LINK_H

#include "relay/options.h"

#include <stdint.h>

/* Decimal digits, nothing else; *end is what follows. Returns 0 or -errno. */
int lwr__digits_parse(const char *text, uint64_t *out, const char **end);

/*
 * An open descriptor's number; `what` begins the complaint. Returns 0, or
 * -EINVAL with the complaint in err.
 */
int lwr__fd_parse(const char *what, const char *text, int *fd,
		  char err[LWR_ERROR_TEXT]);

/* A field each of a link's spec. Return 0, or -EINVAL with why in err. */
int lwr__profile_set(struct lwr_link_spec *s, const char *name,
		     char err[LWR_ERROR_TEXT]);
int lwr__mtu_set(struct lwr_link_spec *s, uint64_t mtu,
		 char err[LWR_ERROR_TEXT]);

/*
 * The argument of --link, borrowed by the spec. Returns 0, or -EINVAL with
 * the complaint in err.
 */
int lwr__link_parse(struct lwr_link_spec *s, const char *text,
		    char err[LWR_ERROR_TEXT]);

/*
 * Adds a --lease, MAC=ADDR[,NAME], to the network that it is for. Returns 0, or
 * -EINVAL after writing the complaint.
 */
int lwr__lease_parse(struct lwr_net *net, const char *text,
		     char err[LWR_ERROR_TEXT]);

/* The same for a --dns, a --dns-name, and an --outbound, which is tried. */
int lwr__resolver_parse(struct lwr_config *c, const char *text,
			char err[LWR_ERROR_TEXT]);
int lwr__dns_name_parse(struct lwr_config *c, const char *text,
			char err[LWR_ERROR_TEXT]);
int lwr__outbound_parse(struct lwr_sock_from *from, const char *text,
			char err[LWR_ERROR_TEXT]);

#endif
