/* SPDX-License-Identifier: BSD-3-Clause */
/* What `run` and `serve` share: a relay with the program's manners. */
#ifndef LWR_RELAY_PROGRAM_H
#define LWR_RELAY_PROGRAM_H

#include "relay/options.h"
#include "relay/relay.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <uv.h>

enum { LWR_EXIT_OK = 0, LWR_EXIT_FAILURE = 1, LWR_EXIT_USAGE = 2 };

struct lwr_program {
	const struct lwr_options *opt;
	uv_loop_t uv;
	struct lwr_relay relay;
	struct lwr_log log;
	uv_poll_t signal_poll;
	uv_poll_t exit_poll; /* only with --exit-fd */
	int signal_fd;
	int spare_fd; /* for --stats */
	bool stopping;
	int status; /* the exit status */
	/* A signal came. NULL: SIGTERM and SIGINT stop, SIGUSR1 dumps stats. */
	void (*on_signal)(struct lwr_program *p,
			  const struct signalfd_siginfo *si);
	/* --exit-fd was closed; called before the program stops. */
	void (*on_exit_fd)(struct lwr_program *p);
	/* The program stops; called before the relay ends. */
	void (*on_stop)(struct lwr_program *p);
	void *owner;
};

/* The line "lwrelay: what: why (hint)"; err < 0 or 0, hint or NULL. */
void lwr__complain(const char *what, int err, const char *hint);

/* Blocks the signals that the program takes; *old is for a child to restore. */
void lwr__program_signals(sigset_t *old);

/*
 * Starts loop and relay; lwr__program_signals() came before. Returns 0, or the
 * exit status after a complaint. The hooks are set by the caller afterwards.
 */
int lwr__program_start(struct lwr_program *p, const struct lwr_options *opt);

/*
 * Publishes what the options have for link number i; a port that the host
 * chose is told on stderr. Returns 0, or the exit status after a complaint.
 */
int lwr__program_publish(struct lwr_program *p, struct lwr_link *link,
			 unsigned i);

/* Every link is up: --pid-file, --ready-fd. Returns 0 or the exit status. */
int lwr__program_ready(struct lwr_program *p);

/* Begins to end with `status`; the first call counts. */
void lwr__program_stop(struct lwr_program *p, int status);

/* Runs until the program has stopped. Returns the exit status. */
int lwr__program_run(struct lwr_program *p);

int lwr__serve(const struct lwr_options *opt);
int lwr__run(const struct lwr_options *opt);

#endif
