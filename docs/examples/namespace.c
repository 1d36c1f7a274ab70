/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gives a network namespace a network: runs a command in one of its own, behind
 * a relay in this process. Needs no privilege, only /dev/net/tun and ip(8).
 *	cc -o namespace namespace.c $(pkg-config --cflags --libs lwrelay)
 *	./namespace curl https://example.org/
 * The child makes the namespaces and a tap in them, and hands its descriptor
 * over; the parent gives that to a relay, which works on a thread of its own,
 * and tells the child to start the command.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lwrelay.h>
#include <net/if.h>
#include <linux/if_tun.h> /* after net/if.h */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

_Noreturn static void die(const char *what, int err)
{
	fprintf(stderr, "namespace: %s: %s\n", what, strerror(err));
	exit(127);
}

static void put(const char *path, const char *format, unsigned id)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, format, id) < 0)
		die(path, errno);
	close(fd);
}

/* An ordinary user makes namespaces as root of a user namespace. */
static void make_namespaces(void)
{
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWNET | CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)))
		die("unshare", errno);
	if (!uid)
		return;
	put("/proc/self/setgroups", "deny", 0);
	put("/proc/self/uid_map", "0 %u 1", uid);
	put("/proc/self/gid_map", "0 %u 1", gid);
}

/* With IFF_VNET_HDR segments of 64 KiB pass without being cut. */
static int make_tap(void)
{
	struct ifreq ifr = { .ifr_name = "eth0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr))
		die("/dev/net/tun", errno);
	return fd;
}

/* Sends a descriptor with one byte; `fd` < 0: receives one. */
static int pass_fd(int sock, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { &(char){ 0 }, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (fd < 0) {
		if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 &&
		    msg.msg_controllen)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		return fd;
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? fd : -1;
}

/* The addresses are lwrelay's defaults; a DHCP client would do as well. */
_Noreturn static void be_guest(int sock, char **command)
{
	make_namespaces();
	if (pass_fd(sock, make_tap()) < 0 || read(sock, &(char){ 0 }, 1) != 1)
		exit(127); /* the parent is gone, and has said why */
	/* NOLINTNEXTLINE(cert-env33-c): nothing of the user's is in it */
	if (system("set -e; ip link set lo up; ip link set eth0 up;"
		   "ip addr add 10.0.2.15/24 dev eth0;"
		   "ip route add default via 10.0.2.2; mount --make-rprivate /;"
		   "conf=$(mktemp); echo nameserver 10.0.2.3 >$conf;"
		   "mount --bind $conf /etc/resolv.conf; rm $conf"))
		exit(127);
	execvp(command[0], command);
	die(command[0], errno);
}

static struct lwr_relay *serve(int tap)
{
	struct lwr_link_options options = { .size = sizeof(options) };
	struct lwr_relay *relay;
	uint32_t link; /* for lwr_link_remove() and the like */
	char spec[32], why[128] = "";
	int err = lwr_relay_open(NULL, &relay);

	if (err)
		die("lwr_relay_open", -err);
	options.error = why;
	options.error_size = sizeof(why);
	snprintf(spec, sizeof(spec), "tap-fd:%d", tap);
	err = lwr_link_add(relay, spec, &options, &link); /* takes the tap */
	if (err)
		die(why, -err);
	return relay;
}

int main(int argc, char **argv)
{
	struct lwr_relay *relay;
	int sv[2], tap, status;
	pid_t pid;

	if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		die("usage: namespace COMMAND", argc < 2 ? EINVAL : errno);
	pid = fork(); /* before the relay has its thread */
	if (pid < 0)
		die("fork", errno);
	if (pid == 0)
		be_guest(sv[1], argv + 1);
	close(sv[1]);
	tap = pass_fd(sv[0], -1);
	if (tap < 0)
		return 127; /* the child has said why */
	relay = serve(tap);
	if (write(sv[0], "", 1) != 1 || waitpid(pid, &status, 0) < 0)
		die("the guest", errno);
	lwr_relay_close(relay, NULL, NULL); /* waits until all is given back */
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
