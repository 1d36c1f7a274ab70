/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tap devices. Each is opened with a virtio-net header of 10 bytes before each
 * frame and every offload that the kernel has, so that a guest may hand over
 * 64 KiB segments and unfinished checksums whatever its MTU is.
 *
 * The kernel drops silently what does not fit in a tap's queue, and lwIP pays
 * a full retransmission timeout for each loss, so the queue is made long; the
 * window of a connection is what bounds it. A queueing discipline before it
 * would never hold anything back, but be worked on by one processor at a time,
 * and have a guest's packet wait for whoever that is: a tap that we make has
 * none, as with veth.
 */
#include "platform/tap.h"

#include "platform/netlink.h"
#include "platform/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { TAP_QUEUE = 5000, TAP_VNET_LEN = 10 };

/* What a helper process in another namespace answers with. */
struct answer {
	int err;
	struct lwr_tap tap;
};

static void set_offload(struct lwr_tap *tap)
{
	const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
				  TUN_F_TSO_ECN;
	int len = TAP_VNET_LEN;

	tap->uso = false;
	if (!tap->vnet)
		return;
	/* An earlier owner of a persistent tap may have chosen otherwise. */
	ioctl(tap->fd, TUNSETVNETHDRSZ, &len);
	if (ioctl(tap->fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
		tap->uso = true;
	else
		ioctl(tap->fd, TUNSETOFFLOAD, tso);
}

static void set_queue(struct ifreq *ifr)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return;
	ifr->ifr_qlen = TAP_QUEUE;
	ioctl(sock, SIOCSIFTXQLEN, ifr); /* may be forbidden: slower, no more */
	close(sock);
}

static void set_no_discipline(const char *ifname)
{
	struct lwr_netlink nl;

	if (lwr__netlink_open(&nl) < 0)
		return;
	(void)lwr__netlink_no_queue(&nl, ifname); /* as above */
	lwr__netlink_close(&nl);
}

int lwr__tap_open(const char *ifname, struct lwr_tap *tap)
{
	const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	bool there = if_nametoindex(ifname) != 0;
	struct ifreq ifr = { 0 };
	size_t len = strlen(ifname);
	int err;

	if (len == 0 || len >= sizeof(ifr.ifr_name))
		return -EINVAL;
	memcpy(ifr.ifr_name, ifname, len);
	tap->vnet = true;
	tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0)
		return -errno;
	ifr.ifr_flags = flags;
	err = ioctl(tap->fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
	if (err == -EINVAL) { /* a persistent one with several queues */
		ifr.ifr_flags = (short)(flags | IFF_MULTI_QUEUE);
		err = ioctl(tap->fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
	}
	if (err) {
		close(tap->fd);
		return err;
	}
	set_offload(tap);
	set_queue(&ifr);
	if (!there) /* who made it may have chosen one */
		set_no_discipline(ifr.ifr_name);
	return 0;
}

/*
 * O_NONBLOCK belongs to the open file, and so to all who have a descriptor of
 * it; a flag of the call does not. A tap cannot be opened anew to have a file
 * of one's own. It costs 80 ns a read, and is not used where nobody else has
 * the descriptor.
 */
static bool without_flag(struct lwr_tap *tap, ssize_t r)
{
	if (r >= 0 || errno != EOPNOTSUPP || !tap->shared)
		return false;
	tap->shared = false; /* before Linux 6.4: the file's flag has to do */
	return true;
}

ssize_t lwr__tap_read(struct lwr_tap *tap, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	ssize_t r;

	if (!tap->shared)
		return read(tap->fd, buf, len);
	r = preadv2(tap->fd, &iov, 1, -1, RWF_NOWAIT);
	return without_flag(tap, r) ? read(tap->fd, buf, len) : r;
}

ssize_t lwr__tap_writev(struct lwr_tap *tap, const struct iovec *iov, int n)
{
	ssize_t r;

	if (!tap->shared)
		return writev(tap->fd, iov, n);
	r = pwritev2(tap->fd, iov, n, -1, RWF_NOWAIT);
	return without_flag(tap, r) ? writev(tap->fd, iov, n) : r;
}

int lwr__tap_adopt(int fd, struct lwr_tap *tap)
{
	struct ifreq ifr = { 0 };
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0)
		return -errno;
	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return errno == EBADFD ? -EBADFD : -ENOTTY;
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return -EPROTOTYPE;
	if (fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	tap->fd = fd;
	tap->shared = true;
	tap->vnet = (ifr.ifr_flags & IFF_VNET_HDR) != 0;
	set_offload(tap);
	return 0;
}

/* The helper process: only async-signal-safe calls, the parent may thread. */
_Noreturn static void serve_tap(int sock, int ns, const char *ifname)
{
	struct answer a = { .tap = { .fd = -1 } };

	a.err = lwr__netns_enter(ns);
	if (!a.err)
		a.err = lwr__tap_open(ifname, &a.tap);
	lwr__fd_send(sock, a.err ? -1 : a.tap.fd, &a, sizeof(a));
	_exit(0);
}

static int receive_tap(int sock, struct lwr_tap *tap)
{
	struct answer a;
	int fd;
	int err = lwr__fd_recv(sock, &fd, &a, sizeof(a));

	if (!err)
		err = a.err;
	if (!err && fd < 0)
		err = -EPROTO;
	if (err)
		return err;
	*tap = a.tap;
	tap->fd = fd;
	return 0;
}

int lwr__tap_open_in(const char *netns, const char *ifname, struct lwr_tap *tap)
{
	int pair[2];
	int ns = lwr__netns_open(netns);
	int err;
	pid_t pid;

	if (ns < 0)
		return ns;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		err = -errno;
		goto err_undo_ns;
	}
	pid = fork();
	if (pid == 0)
		serve_tap(pair[1], ns, ifname);
	err = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (!err) {
		err = receive_tap(pair[0], tap);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(pair[0]);
err_undo_ns:
	close(ns);
	return err;
}
