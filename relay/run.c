/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `lwrelay run`: the relay stays where it is, a child makes the new namespaces
 * and becomes COMMAND.
 *
 *   parent                        child
 *   fork ------------------------> unshare user (unless root), net, mount
 *                                  tap eth0, addresses, routes, resolv.conf
 *   relay on the tap <------------ the tap's descriptor
 *   ready, "go" -----------------> exec COMMAND
 *   loop until it ends <---------- exit status
 *
 * Everything made belongs to the child's namespaces or to descriptors, so there
 * is nothing to clean up, however either process ends. COMMAND is killed when
 * the relay dies (PR_SET_PDEATHSIG, asked for after the last change of
 * credentials, which would clear it). A failure in the child is told by the
 * child itself on stderr; the parent only sees its socket closed.
 *
 * Both processes stay in one process group, so the terminal's signals (^C, ^\,
 * ^Z, a hang-up, a new size) reach COMMAND by themselves and only those that a
 * process sent are forwarded; the kernel marks the former SI_KERNEL. The relay
 * itself ends by none of them: it ends when COMMAND does.
 *
 * The guest's TCP crosses one loss-free hop to us, where pacing and loss-based
 * caution only cost: the default routes of the child's namespace ask for cubic,
 * whatever the host uses towards the world. (A kernel without it gets plain
 * routes; the namespace's sysctl is read-only in some containers.)
 */
#include "relay/program.h"

#include "netif/tap.h"
#include "platform/netlink.h"
#include "platform/netns.h"
#include "platform/routes.h"
#include "platform/tap.h"
#include "relay/dns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define IFNAME "eth0"

enum {
	DEFAULT_MTU = 1500,
	TXQLEN = 5000,
	EXIT_NOEXEC = 126,
	EXIT_NOTFOUND = 127,
	EXIT_SIGNAL = 128,
};

struct child {
	const struct lwr_options *opt;
	int sock; /* to the parent */
	pid_t parent;
	sigset_t old; /* signal mask for COMMAND */
	bool ipv6; /* the host has it now, and COMMAND may */
};

struct run {
	struct lwr_program program;
	pid_t pid; /* 0: COMMAND has ended */
	int sock; /* to the child */
	struct lwr_tap tap;
	uv_timer_t drain; /* COMMAND has ended; its last bytes are on their way */
	int status; /* COMMAND's */
	unsigned turns, quiet; /* of `drain`; those without a frame */
	uint64_t seen; /* bytes from the guest */
};

enum {
	DRAIN_MS = 10,
	DRAIN_TURNS = 1000, /* then whatever is left is lost */
	DRAIN_QUIET = 50, /* as when nothing was under way for so many turns */
};

/* ---- the child ---------------------------------------------------------- */

_Noreturn static void die(const char *what, int err, const char *hint)
{
	lwr__complain(what, err, hint);
	_exit(LWR_EXIT_FAILURE);
}

static void warn(const char *what, int err)
{
	char line[128];

	snprintf(line, sizeof(line), "warning: %s", what);
	lwr__complain(line, err, NULL);
}

/* True if the file says `value`. */
static bool proc_says(const char *path, char value)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c = 0;

	if (fd < 0)
		return false;
	if (read(fd, &c, 1) < 0)
		c = 0;
	close(fd);
	return c == value;
}

static const char *namespace_hint(int err)
{
	if (err == -ENOSPC || err == -EUSERS)
		return "raise sysctl user.max_user_namespaces and "
		       "user.max_net_namespaces";
	if (err == -EINVAL)
		return "this kernel has no user or network namespaces";
	if (proc_says("/proc/sys/kernel/unprivileged_userns_clone", '0'))
		return "sysctl kernel.unprivileged_userns_clone=1 allows it, "
		       "or be root";
	if (proc_says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		      '1'))
		return "sysctl kernel.apparmor_restrict_unprivileged_userns=0 "
		       "allows it, or be root";
	return "forbidden by a container, seccomp or security module: allow "
	       "user namespaces (see also sysctl user.max_user_namespaces), "
	       "or be root";
}

static void enter_namespaces(const struct child *c)
{
	bool user = geteuid() != 0;
	const char *what;
	int err = lwr__netns_unshare(user, c->opt->map_root, &what);

	/* Root without CAP_SYS_ADMIN, as in a container. */
	if (err == -EPERM && !user)
		err = lwr__netns_unshare(true, c->opt->map_root, &what);
	if (err)
		die(what, err, namespace_hint(err));
}

static void follow_parent(const struct child *c)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != c->parent) /* it died before */
		_exit(LWR_EXIT_FAILURE);
}

/* Settings that make things better; a kernel or container may lack them. */
static void tune(const struct lwr_net *net, bool ipv6)
{
	char gids[64];

	if (lwr__proc_write("/proc/sys/net/ipv4/ping_group_range",
			    "0 2147483647") < 0) {
		snprintf(gids, sizeof(gids), "%u %u", getegid(), getegid());
		lwr__proc_write("/proc/sys/net/ipv4/ping_group_range", gids);
	}
	/*
	 * The addresses are given here; the link-local one is used at once.
	 * Without IPv6 on the host the relay advertises it when that changes.
	 */
	lwr__proc_write("/proc/sys/net/ipv6/conf/" IFNAME "/disable_ipv6",
			net->ipv6 ? "0" : "1");
	lwr__proc_write("/proc/sys/net/ipv6/conf/" IFNAME "/accept_ra",
			ipv6 ? "0" : "1");
	lwr__proc_write("/proc/sys/net/ipv6/conf/" IFNAME "/accept_dad", "0");
}

static int set_route(struct lwr_netlink *nl, int family, const void *gateway)
{
	int err =
		lwr__netlink_add_default(nl, IFNAME, family, gateway, "cubic");

	return err ? lwr__netlink_add_default(nl, IFNAME, family, gateway,
					      NULL) :
		     0;
}

static int set_ipv4(struct lwr_netlink *nl, const struct lwr_net *net)
{
	int err = lwr__netlink_add_addr(nl, IFNAME, AF_INET, net->guest.b + 12,
					(uint8_t)(net->subnet.len - 96));

	return err ? err : set_route(nl, AF_INET, net->gateway.b + 12);
}

static int set_ipv6(struct lwr_netlink *nl, const struct lwr_net *net)
{
	int err = lwr__netlink_add_addr(nl, IFNAME, AF_INET6, net->guest6.b,
					net->subnet6.len);

	return err ? err : set_route(nl, AF_INET6, net->gateway6.b);
}

static void set_up_network(const struct lwr_net *net, bool ipv6)
{
	struct lwr_netlink nl;
	int err = lwr__netlink_open(&nl);

	if (err)
		die("netlink", err, NULL);
	err = lwr__netlink_up(&nl, "lo", 0, 0);
	if (err)
		die("interface lo", err, NULL);
	tune(net, ipv6);
	err = lwr__netlink_up(&nl, IFNAME, net->mtu ? net->mtu : DEFAULT_MTU,
			      TXQLEN);
	if (err)
		die("interface " IFNAME, err, NULL);
	err = set_ipv4(&nl, net);
	if (err)
		die("IPv4 address and route", err, NULL);
	err = ipv6 ? set_ipv6(&nl, net) : 0;
	if (err)
		warn("IPv6 address and route", err);
	lwr__netlink_close(&nl);
}

static void set_up_resolver(const struct lwr_config *config, bool ipv6)
{
	const struct lwr_net *net = &config->net;
	char dns[LWR_ADDR_TEXT], dns6[LWR_ADDR_TEXT];
	char text[512];
	struct lwr_dns d;
	bool search;
	int err;

	lwr__dns_init(&d, config, "/etc/resolv.conf");
	search = d.search[0] != '\0';
	snprintf(text, sizeof(text), "nameserver %s\n%s%s%s%s%s%s",
		 lwr__addr_text(&net->dns, dns), ipv6 ? "nameserver " : "",
		 ipv6 ? lwr__addr_text(&net->dns6, dns6) : "", ipv6 ? "\n" : "",
		 search ? "search " : "", d.search, search ? "\n" : "");
	err = lwr__resolvconf_mount(text);
	if (err)
		warn("/etc/resolv.conf", err);
}

_Noreturn static void exec_command(const struct child *c)
{
	char **argv = c->opt->argv;
	int err;

	sigprocmask(SIG_SETMASK, &c->old, NULL);
	execvp(argv[0], argv);
	err = -errno;
	lwr__complain(argv[0], err,
		      err == -ENOENT ? "command not found" : "not executable");
	_exit(err == -ENOENT ? EXIT_NOTFOUND : EXIT_NOEXEC);
}

_Noreturn static void child_main(const struct child *c)
{
	char why[LWR_ERROR_TEXT], line[2 * LWR_ERROR_TEXT];
	struct lwr_tap tap;
	char go;
	int err;

	enter_namespaces(c);
	follow_parent(c);
	err = lwr__tap_open(IFNAME, &tap);
	if (err) {
		snprintf(line, sizeof(line), "tap " IFNAME ": %s",
			 lwr__tap_error(err, why));
		die(line, 0, NULL);
	}
	set_up_network(&c->opt->config.net, c->ipv6);
	set_up_resolver(&c->opt->config, c->ipv6);
	err = lwr__fd_send(c->sock, tap.fd, &tap, sizeof(tap));
	if (err)
		_exit(LWR_EXIT_FAILURE);
	close(tap.fd);
	if (read(c->sock, &go, 1) != 1)
		_exit(LWR_EXIT_FAILURE);
	exec_command(c);
}

/* ---- the parent --------------------------------------------------------- */

static int exit_status(int wstatus)
{
	return WIFSIGNALED(wstatus) ? EXIT_SIGNAL + WTERMSIG(wstatus) :
				      WEXITSTATUS(wstatus);
}

/* Waits for a child that failed by itself; it has said why. */
static int reap_failed(struct run *r)
{
	int wstatus = 0;

	while (waitpid(r->pid, &wstatus, 0) < 0 && errno == EINTR)
		;
	r->pid = 0;
	wstatus = exit_status(wstatus);
	return wstatus ? wstatus : LWR_EXIT_FAILURE;
}

static void end(struct run *r)
{
	if (uv_is_closing((uv_handle_t *)&r->drain))
		return;
	uv_timer_stop(&r->drain);
	uv_close((uv_handle_t *)&r->drain, NULL);
	lwr__program_stop(&r->program, r->status);
}

/*
 * A process may end before what it sent has left its kernel: nothing is lost
 * then on a machine of its own, and nothing shall be here. Connections that
 * somebody else keeps open are not waited for.
 */
static void on_drain(uv_timer_t *timer)
{
	struct run *r = timer->data;
	struct lwr_relay *relay = &r->program.relay;
	struct lwr_stats st;

	lwr__relay_stats(relay, &st);
	if (st.bytes_g2h != r->seen || relay->tcp.queued)
		r->quiet = 0;
	else
		r->quiet++;
	r->seen = st.bytes_g2h;
	if (lwr__tcp_drained(&relay->tcp) || r->quiet > DRAIN_QUIET ||
	    ++r->turns > DRAIN_TURNS)
		end(r);
}

static void on_command_ended(struct run *r, int wstatus)
{
	r->pid = 0;
	r->status = exit_status(wstatus);
	uv_timer_init(&r->program.uv, &r->drain);
	uv_unref((uv_handle_t *)&r->drain);
	r->drain.data = r;
	if (WIFEXITED(wstatus))
		uv_timer_start(&r->drain, on_drain, 0, DRAIN_MS);
	else
		end(r);
}

static void on_signal(struct lwr_program *p, const struct signalfd_siginfo *si)
{
	struct run *r = p->owner;
	int signo = (int)si->ssi_signo;
	int wstatus;

	if (r->pid == 0) {
		if (uv_is_active((uv_handle_t *)&r->drain) &&
		    (signo == SIGTERM || signo == SIGINT))
			end(r);
		return;
	}
	if (signo == SIGCHLD) {
		if (waitpid(r->pid, &wstatus, WNOHANG) == r->pid)
			on_command_ended(r, wstatus);
	} else if (signo != SIGPIPE && si->ssi_code != SI_KERNEL) {
		kill(r->pid, signo);
	}
}

static void on_exit_fd(struct lwr_program *p)
{
	struct run *r = p->owner;

	if (r->pid)
		kill(r->pid, SIGTERM);
	else
		end(r);
}

/* COMMAND deleted its interface: it goes on without a network. */
static void on_gone(struct lwr_link *link, int err)
{
	(void)err;
	link->ops->close(link);
}

static int attach(struct run *r)
{
	struct lwr_program *p = &r->program;
	struct lwr_link *link;
	struct lwr_link_setup setup = { .name = "tap:" IFNAME,
					.net = &p->opt->config.net };
	int err = lwr__tap_new(&p->relay.stack, &setup, &r->tap, &link);

	if (err) {
		lwr__complain("tap " IFNAME, err, NULL);
		return LWR_EXIT_FAILURE;
	}
	link->owner = r;
	link->on_gone = on_gone;
	err = lwr__program_publish(p, link, 0);
	if (!err)
		err = lwr__program_ready(p);
	if (!err && send(r->sock, "g", 1, MSG_NOSIGNAL) < 0)
		return LWR_EXIT_FAILURE;
	return err;
}

static int parent_main(struct run *r, const struct lwr_options *opt)
{
	struct lwr_tap tap;
	int fd, status;

	if (lwr__fd_recv(r->sock, &fd, &tap, sizeof(tap)) < 0 || fd < 0)
		return reap_failed(r);
	r->tap = tap;
	r->tap.fd = fd;
	status = lwr__program_start(&r->program, opt);
	if (status)
		return status;
	r->program.owner = r;
	r->program.on_signal = on_signal;
	r->program.on_exit_fd = on_exit_fd;
	status = attach(r);
	if (status)
		lwr__program_stop(&r->program, status);
	return lwr__program_run(&r->program);
}

static int start(struct run *r, const struct lwr_options *opt)
{
	struct child c = { .opt = opt,
			   .parent = getpid(),
			   .ipv6 = opt->config.net.ipv6 &&
				   lwr__routes_ipv6(&opt->config.outbound) };
	int pair[2];

	lwr__program_signals(&c.old);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c.sock = pair[1];
	r->sock = pair[0];
	r->pid = fork();
	if (r->pid == 0) {
		close(pair[0]);
		child_main(&c);
	}
	close(pair[1]);
	return r->pid < 0 ? -errno : 0;
}

int lwr__run(const struct lwr_options *opt)
{
	struct run *r = calloc(1, sizeof(*r));
	int err = r ? start(r, opt) : -ENOMEM;
	int status;

	if (err) {
		lwr__complain("cannot start a process", err, NULL);
		free(r);
		return LWR_EXIT_FAILURE;
	}
	status = parent_main(r, opt);
	close(r->sock); /* a child that still waits ends by this */
	free(r);
	return status;
}
