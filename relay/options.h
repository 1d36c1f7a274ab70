/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program's command line. One table makes the parser, the defaults, the
 * help, and what the test expects of the manual page.
 */
#ifndef LWR_RELAY_OPTIONS_H
#define LWR_RELAY_OPTIONS_H

#include "core/config.h"
#include "core/log.h"
#include "relay/service.h"
#include "relay/link_open.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LWR_LINKS_MAX = 64, LWR_PUBLISH_MAX = 1024, LWR_SERVICES_MAX = 64 };

enum lwr_command { LWR_SERVE = 1, LWR_RUN = 2, LWR_BOTH = 3 };

/* One --publish. */
struct lwr_publish_option {
	const char *text;
	unsigned link; /* index of the --link whose guest it reaches */
};

struct lwr_options {
	enum lwr_command command;
	struct lwr_config config;
	struct lwr_link_spec link[LWR_LINKS_MAX];
	unsigned links;
	struct lwr_publish_option publish[LWR_PUBLISH_MAX];
	unsigned publishes;
	struct lwr_service service[LWR_SERVICES_MAX + 1]; /* ends with port 0 */
	unsigned services;
	char **argv; /* run: COMMAND, ends with NULL */
	const char *lease[LWR_LEASES_MAX]; /* as given; checked at the end */
	unsigned leases;
	const char *attach; /* path, or NULL */
	uint32_t max_links; /* attached at once */
	const char *pid_file;
	const char *stats; /* path, or "-" */
	int ready_fd; /* -1: none */
	int exit_fd;
	uint32_t busy_poll_us;
	enum lwr_level level;
	bool json;
	bool one_off;
	bool map_root;
};

/* One row of the table. */
struct lwr_option {
	const char *name; /* without the dashes */
	char letter; /* 0: none */
	const char *arg; /* how the help calls its argument; NULL: none */
	enum lwr_command of;
	const char *def; /* default as text, or NULL */
	const char *help;
};

enum lwr_parsed {
	LWR_PARSED_OK,
	LWR_PARSED_HELP, /* --help was asked for */
	LWR_PARSED_VERSION,
	LWR_PARSED_BAD, /* err says why, without "lwrelay: " */
};

/* The strings of argv are borrowed for as long as the options are used. */
enum lwr_parsed lwr__options_parse(struct lwr_options *o, int argc, char **argv,
				   char err[LWR_ERROR_TEXT]);

void lwr__options_help(FILE *to);

/* The i-th row; NULL beyond the last. */
const struct lwr_option *lwr__options_row(size_t i);

#endif
