/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program around a relay. Signals are blocked and read from a signalfd, so
 * that they are events of the loop like any other and tell who sent them.
 * Ending has one path whatever the cause: lwr__program_stop() takes the last
 * look at the counters and closes the relay; the loop runs until each handle
 * is closed, and the exit status is returned from there.
 */
#include "relay/program.h"

#include "platform/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- complaints and the log --------------------------------------------- */

void lwr__complain(const char *what, int err, const char *hint)
{
	fprintf(stderr, "lwrelay: %s%s%s%s%s%s\n", what, err ? ": " : "",
		err ? strerror(-err) : "", hint ? " (" : "", hint ? hint : "",
		hint ? ")" : "");
}

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static void log_text(void *arg, enum lwr_level level, const char *line)
{
	(void)arg;
	fprintf(stderr, "lwrelay: %s: %s\n", level_names[level], line);
}

/* Lines hold no control characters (core/log.h). */
static void log_json(void *arg, enum lwr_level level, const char *line)
{
	char out[2048];
	struct timespec now;
	size_t n = 0;

	(void)arg;
	for (; *line && n < sizeof(out) - 3; line++) {
		if (*line == '"' || *line == '\\')
			out[n++] = '\\';
		out[n++] = *line;
	}
	out[n] = '\0';
	clock_gettime(CLOCK_REALTIME, &now);
	fprintf(stderr,
		"{\"time\":%lld.%03ld,\"level\":\"%s\",\"message\":\"%s\"}\n",
		(long long)now.tv_sec, now.tv_nsec / 1000000,
		level_names[level], out);
}

/* ---- counters ----------------------------------------------------------- */

static void print_stats(FILE *to, const struct lwr_stats *s)
{
	const char *sep = "{";

#define PRINT(name, help)                             \
	fprintf(to, "%s\n  \"" #name "\": %llu", sep, \
		(unsigned long long)s->name);         \
	sep = ",";
	LWR_STATS(PRINT)
#undef PRINT
	fprintf(to, "\n}\n");
}

/* A reader of the file sees the old counters or the new, never a part. */
static int replace_stats(const char *path, const struct lwr_stats *s)
{
	char tmp[4096];
	FILE *to;
	int n = snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());

	if (n < 0 || (size_t)n >= sizeof(tmp))
		return -ENAMETOOLONG;
	to = fopen(tmp, "we");
	if (!to)
		return -errno;
	print_stats(to, s);
	if (fclose(to) == 0 && rename(tmp, path) == 0)
		return 0;
	n = -errno;
	unlink(tmp);
	return n;
}

/*
 * One descriptor is kept for the file, so that it can be written when flows
 * have taken all others. Returns 0 or -errno.
 */
static int write_stats(struct lwr_program *p)
{
	struct lwr_stats sum;
	int err = 0;

	if (!p->opt->stats)
		return 0;
	lwr__relay_stats(&p->relay, &sum);
	close(p->spare_fd);
	if (strcmp(p->opt->stats, "-") == 0)
		print_stats(stderr, &sum);
	else
		err = replace_stats(p->opt->stats, &sum);
	p->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (err)
		lwr__log(&p->log, LWR_LOG_WARN, "--stats %s: %s", p->opt->stats,
			 strerror(-err));
	return err;
}

/* A path that cannot be written is told at the start, not at the end. */
static int try_stats(struct lwr_program *p)
{
	int err = 0;

	p->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (p->opt->stats && strcmp(p->opt->stats, "-") != 0)
		err = write_stats(p);
	return err ? LWR_EXIT_FAILURE : 0;
}

/* ---- signals and --exit-fd ---------------------------------------------- */

void lwr__program_signals(sigset_t *old)
{
	static const int taken[] = { SIGTERM,  SIGINT,	SIGHUP,
				     SIGQUIT,  SIGUSR1, SIGUSR2,
				     SIGWINCH, SIGCHLD, SIGPIPE };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	sigprocmask(SIG_BLOCK, &set, old);
}

static void default_signal(struct lwr_program *p, uint32_t signo)
{
	switch (signo) {
	case SIGTERM:
	case SIGINT:
		lwr__program_stop(p, LWR_EXIT_OK);
		break;
	case SIGUSR1:
		(void)write_stats(p);
		break;
	case SIGHUP:
	case SIGQUIT:
		lwr__program_stop(p, 128 + (int)signo);
		break;
	default:
		break;
	}
}

static void on_signal(uv_poll_t *h, int status, int events)
{
	struct lwr_program *p = h->data;
	struct signalfd_siginfo si;

	(void)status;
	(void)events;
	while (read(p->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (p->on_signal)
			p->on_signal(p, &si);
		else
			default_signal(p, si.ssi_signo);
	}
}

static int watch_signals(struct lwr_program *p)
{
	sigset_t set;

	sigprocmask(SIG_BLOCK, NULL, &set);
	p->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p->signal_fd < 0)
		return -errno;
	p->signal_poll.data = p;
	uv_poll_init(&p->uv, &p->signal_poll, p->signal_fd);
	return uv_poll_start(&p->signal_poll, UV_READABLE, on_signal);
}

/* Whatever happens on it is the end: HUP, an error. */
static void on_exit_fd(uv_poll_t *h, int status, int events)
{
	struct lwr_program *p = h->data;

	(void)status;
	(void)events;
	if (p->on_exit_fd)
		p->on_exit_fd(p);
	lwr__program_stop(p, LWR_EXIT_OK);
}

static int watch_exit_fd(struct lwr_program *p)
{
	int fd = p->opt->exit_fd;
	int err;

	if (fd < 0)
		return 0;
	err = uv_poll_init(&p->uv, &p->exit_poll, fd);
	if (err) {
		lwr__complain("--exit-fd", err, "it must be a pipe or socket");
		return LWR_EXIT_USAGE;
	}
	p->exit_poll.data = p;
	uv_poll_start(&p->exit_poll, UV_DISCONNECT, on_exit_fd);
	return 0;
}

/* ---- start and stop ----------------------------------------------------- */

/* Each flow has a descriptor of the host. */
static void raise_fd_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
}

static void on_relay_closed(struct lwr_relay *r)
{
	struct lwr_program *p = LWR_CONTAINER(r, struct lwr_program, relay);

	if (p->signal_poll.data)
		uv_close((uv_handle_t *)&p->signal_poll, NULL);
	if (p->exit_poll.data)
		uv_close((uv_handle_t *)&p->exit_poll, NULL);
}

int lwr__program_start(struct lwr_program *p, const struct lwr_options *opt)
{
	struct lwr_config config = opt->config;
	int err;

	memset(p, 0, sizeof(*p));
	p->opt = opt;
	p->log.level = opt->level;
	p->log.sink = opt->json ? log_json : log_text;
	raise_fd_limit();
	err = uv_loop_init(&p->uv);
	if (!err)
		err = lwr__relay_init(&p->relay, &p->uv, &config, &p->log,
				      on_relay_closed);
	if (!err) {
		p->relay.loop.busy_poll_ns = opt->busy_poll_us * 1000ull;
		p->relay.owner = p;
		p->relay.tcp.services = opt->service;
		err = watch_signals(p);
	}
	if (err) {
		lwr__complain("cannot start", err, NULL);
		return LWR_EXIT_FAILURE;
	}
	err = try_stats(p);
	if (!err)
		err = watch_exit_fd(p);
	if (err) {
		lwr__program_stop(p, err);
		lwr__program_run(p);
	}
	return err;
}

/* Nobody could know it otherwise. */
static void tell_chosen(const struct lwr_published *r)
{
	char text[LWR_PUBLISH_TEXT];

	if (r && r->spec.first == 0 && !r->spec.path[0])
		fprintf(stderr, "lwrelay: published %s\n",
			lwr__publish_text(&r->port[0], text));
}

int lwr__program_publish(struct lwr_program *p, struct lwr_link *link,
			 unsigned i)
{
	struct lwr_publish *publish = &p->relay.publish;
	char err[LWR_PUBLISH_ERROR], what[LWR_ERROR_TEXT];
	int id;

	for (unsigned n = 0; n < p->opt->publishes; n++) {
		const struct lwr_publish_option *o = &p->opt->publish[n];

		if (o->link != i)
			continue;
		id = lwr__publish_add(publish, link, o->text, err);
		if (id < 0) {
			snprintf(what, sizeof(what), "--publish %s: %s",
				 o->text, err);
			lwr__complain(what, 0, NULL);
			return LWR_EXIT_FAILURE;
		}
		tell_chosen(lwr__publish_find(publish, (uint32_t)id));
	}
	return 0;
}

static int write_pid_file(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fprintf(f, "%d\n", (int)getpid());
	return fclose(f) < 0 ? -errno : 0;
}

int lwr__program_ready(struct lwr_program *p)
{
	const char *path = p->opt->pid_file;
	int err = path ? write_pid_file(path) : 0;

	if (err) {
		lwr__complain(path, err, "of --pid-file");
		return LWR_EXIT_FAILURE;
	}
	if (p->opt->ready_fd >= 0) {
		if (write(p->opt->ready_fd, "1", 1) < 0)
			lwr__log(&p->log, LWR_LOG_WARN, "--ready-fd: %s",
				 strerror(errno));
		close(p->opt->ready_fd);
	}
	return 0;
}

void lwr__program_stop(struct lwr_program *p, int status)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->status = status;
	if (write_stats(p) < 0 && status == LWR_EXIT_OK)
		p->status = LWR_EXIT_FAILURE;
	close(p->spare_fd);
	if (p->on_stop)
		p->on_stop(p);
	lwr__relay_close(&p->relay);
}

int lwr__program_run(struct lwr_program *p)
{
	uv_run(&p->uv, UV_RUN_DEFAULT);
	close(p->signal_fd);
	uv_loop_close(&p->uv);
	if (p->opt->pid_file)
		unlink(p->opt->pid_file);
	return p->status;
}

/* Descriptors that were lent to the relay are none of COMMAND's business. */
static void keep(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int dispatch(struct lwr_options *o)
{
	keep(o->ready_fd);
	keep(o->exit_fd);
	return o->command == LWR_RUN ? lwr__run(o) : lwr__serve(o);
}

int main(int argc, char **argv)
{
	char err[LWR_ERROR_TEXT];
	struct lwr_options *o = malloc(sizeof(*o));
	int status = LWR_EXIT_OK;

	if (!o) {
		lwr__complain("cannot start", -ENOMEM, NULL);
		return LWR_EXIT_FAILURE;
	}
	switch (lwr__options_parse(o, argc, argv, err)) {
	case LWR_PARSED_OK:
		status = dispatch(o);
		break;
	case LWR_PARSED_HELP:
		lwr__options_help(stdout);
		break;
	case LWR_PARSED_VERSION:
		puts("lwrelay " LWR_VERSION);
		break;
	case LWR_PARSED_BAD:
		lwr__complain(err, 0, NULL);
		status = LWR_EXIT_USAGE;
		break;
	}
	if (fflush(stdout) < 0 || ferror(stdout)) {
		lwr__complain("standard output", -errno, NULL);
		status = LWR_EXIT_FAILURE;
	}
	free(o);
	return status;
}
