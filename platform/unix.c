/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A socket file outlives a process that was killed, and then blocks bind().
 * Whether its owner lives is found out by connecting, but with a datagram
 * socket: Linux answers ECONNREFUSED when no socket is bound to the file, and
 * EPROTOTYPE when one of another type is, before that one learns of anything.
 * (A stream connect would be taken for a guest that comes and goes, and end a
 * relay that runs with --one-off.) Anything else than a plain "nobody" counts
 * as a live owner.
 *
 * Between that answer and unlink() another starter may bind the path; whoever
 * unlinks last wins. A lock file was rejected: it would be left behind too.
 *
 * Datagrams. An unconnected socket takes ten datagrams and then makes senders
 * wait, or fail; some VMMs take that for the end. A socket that is connected
 * back to its sender has no such limit, and refuses everybody else, so that
 * whoever leaves must be noticed, or nobody could come after him. No event
 * tells that the socket we are connected to was closed. What there is: its
 * process ends (a pidfd, from the credentials of the first datagram), a send
 * fails, or its address is no more, or another file, which is asked for while
 * it is silent. Connecting once more to the same socket changes nothing.
 */
#include "platform/unix.h"

#include "platform/sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	BACKLOG = 64,
	SOCKET_BUFFER = 7 * 1024 * 1024,
	SCM_MAX = 253, /* descriptors that one message can hold */
};

static socklen_t addr_len(const struct sockaddr_un *addr, size_t path_len)
{
	/* An abstract name has no terminator, a path has one. */
	size_t end = addr->sun_path[0] ? 1 : 0;

	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len +
			   end);
}

/* Returns 0 if the path was freed of a stale socket, else why not. */
static int remove_stale(const struct sockaddr_un *addr, socklen_t len)
{
	struct stat st;
	int fd, err;

	if (addr->sun_path[0] == '\0')
		return -EADDRINUSE;
	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)addr, len) < 0 ? errno : 0;
	close(fd);
	if (err != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(addr->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_path(int fd, const struct sockaddr_un *addr, socklen_t len)
{
	const struct sockaddr *sa = (const struct sockaddr *)addr;
	int err;

	if (bind(fd, sa, len) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	err = remove_stale(addr, len);
	if (err)
		return err;
	return bind(fd, sa, len) < 0 ? -errno : 0;
}

int lwr__unix_open(struct lwr_unix *u, const char *path, int type, mode_t mode)
{
	size_t len = strlen(path);
	struct stat st;
	int err;

	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(u->addr.sun_path))
		return -ENAMETOOLONG;
	memset(u, 0, sizeof(*u));
	u->addr.sun_family = AF_UNIX;
	memcpy(u->addr.sun_path, path, len);
	if (path[0] == '@')
		u->addr.sun_path[0] = '\0';
	u->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0)
		return -errno;
	fchmod(u->fd, mode); /* bind() makes the file with it */
	err = bind_path(u->fd, &u->addr, addr_len(&u->addr, len));
	if (err)
		goto err_close;
	if (path[0] != '@' && lstat(path, &st) == 0) {
		u->dev = st.st_dev;
		u->ino = st.st_ino;
	}
	if (type != SOCK_DGRAM && listen(u->fd, BACKLOG) < 0) {
		err = -errno;
		goto err_unlink;
	}
	return 0;

err_unlink:
	lwr__unix_close(u);
	return err;
err_close:
	close(u->fd);
	u->fd = -1;
	return err;
}

int lwr__unix_connect(const char *path, bool *done)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if (len == 0 || len > LWR_UNIX_PATH_MAX)
		return -EINVAL;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	return lwr__sock_connect((const struct sockaddr *)&addr,
				 addr_len(&addr, len), NULL, 0, done);
}

void lwr__unix_close(struct lwr_unix *u)
{
	struct stat st;

	if (u->ino && lstat(u->addr.sun_path, &st) == 0 &&
	    st.st_dev == u->dev && st.st_ino == u->ino)
		unlink(u->addr.sun_path);
	close(u->fd);
	u->fd = -1;
}

/* Beyond the sysctl limits only with CAP_NET_ADMIN. */
static void set_buffer(int fd, int force, int plain)
{
	int size = SOCKET_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size));
}

void lwr__unix_tune(int fd)
{
	int one = 1;

	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	/* An inherited descriptor may be TCP (QEMU -netdev socket). */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- datagrams ---------------------------------------------------------- */

/* Has the kernel say which process sends. */
static void pass_credentials(int fd, int on)
{
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
}

/* -1: the message does not say, or the process is of another namespace. */
static int open_sender(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	struct ucred cred;

	if (!c || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_CREDENTIALS)
		return -1;
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	if (cred.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, cred.pid, 0);
}

/* Looks at the sender of the first datagram, which stays. */
static int look(int fd, struct lwr_unix_peer *peer)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_name = &peer->addr,
		.msg_namelen = sizeof(peer->addr),
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};

	memset(peer, 0, sizeof(*peer));
	peer->pidfd = -1;
	if (recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	peer->len = msg.msg_namelen;
	peer->pidfd = open_sender(&msg);
	return 0;
}

void lwr__unix_ask_sender(int fd)
{
	pass_credentials(fd, 1);
}

int lwr__unix_sender(int fd)
{
	struct lwr_unix_peer peer = { .pidfd = -1 };

	if (look(fd, &peer) == 0)
		pass_credentials(fd, 0);
	return peer.pidfd;
}

static bool named(const struct lwr_unix_peer *peer)
{
	return peer->len > offsetof(struct sockaddr_un, sun_path);
}

/* The file that the peer is bound to. */
static int stat_peer(const struct lwr_unix_peer *peer, struct stat *st)
{
	char path[sizeof(peer->addr.sun_path) + 1] = { 0 };

	memcpy(path, peer->addr.sun_path, sizeof(peer->addr.sun_path));
	return stat(path, st) < 0 ? -errno : 0;
}

static int connect_peer(int fd, const struct lwr_unix_peer *peer)
{
	const struct sockaddr *sa = (const struct sockaddr *)&peer->addr;

	return connect(fd, sa, peer->len) < 0 ? -errno : 0;
}

int lwr__unix_meet(int fd, struct lwr_unix_peer *peer)
{
	struct stat st;
	int err;

	err = look(fd, peer);
	if (err)
		return err;
	err = named(peer) ? connect_peer(fd, peer) : -EDESTADDRREQ;
	if (err) {
		(void)recv(fd, NULL, 0, MSG_DONTWAIT);
		if (peer->pidfd >= 0)
			close(peer->pidfd);
		return err == -EAGAIN ? -ECONNREFUSED : err;
	}
	pass_credentials(fd, 0);
	if (peer->addr.sun_path[0] && stat_peer(peer, &st) == 0) {
		peer->dev = st.st_dev;
		peer->ino = st.st_ino;
		peer->made = st.st_mtim;
	}
	return 0;
}

void lwr__unix_await(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)connect(fd, &none, sizeof(none));
	pass_credentials(fd, 1);
}

bool lwr__unix_there(int fd, const struct lwr_unix_peer *peer)
{
	struct stat st;

	if (peer->ino &&
	    (stat_peer(peer, &st) < 0 || st.st_dev != peer->dev ||
	     st.st_ino != peer->ino || st.st_mtim.tv_sec != peer->made.tv_sec ||
	     st.st_mtim.tv_nsec != peer->made.tv_nsec))
		return false;
	return connect_peer(fd, peer) == 0;
}

/* ---- connections that pass descriptors ---------------------------------- */

/* Root, or a process of our own user. */
static bool is_ours(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

int lwr__unix_accept(const struct lwr_unix *u)
{
	int fd = accept4(u->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (u->addr.sun_path[0] || is_ours(fd))
		return fd;
	close(fd);
	return -EPERM;
}

/* Nobody's wish that close() waits for a network (SO_LINGER) is ours. */
static void close_foreign(int fd)
{
	struct linger off = { .l_onoff = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	close(fd);
}

static void take_fds(const struct cmsghdr *c, struct lwr_unix_fds *fds)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (size_t i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (fds->count++ == 0)
			fds->fd = fd;
		else
			close_foreign(fd);
	}
}

ssize_t lwr__unix_recv_fds(int sock, void *buf, size_t len,
			   struct lwr_unix_fds *fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(SCM_MAX * sizeof(int))];
	} control;
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (n < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			take_fds(c, fds);
	fds->lost |= (msg.msg_flags & MSG_CTRUNC) != 0;
	return n;
}

void lwr__unix_close_fds(struct lwr_unix_fds *fds)
{
	if (fds->fd >= 0)
		close_foreign(fds->fd);
	fds->fd = -1;
}

/* Else the kernel would close it, and wait where we would not. */
void lwr__unix_discard(int sock)
{
	struct lwr_unix_fds fds = { .fd = -1 };
	char buf[4096];

	(void)shutdown(sock, SHUT_RD);
	while (lwr__unix_recv_fds(sock, buf, sizeof(buf), &fds) > 0)
		lwr__unix_close_fds(&fds);
}
