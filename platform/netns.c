/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces. A tap belongs to the network namespace in which /dev/net/tun was
 * opened, and a process with threads cannot safely change its own namespace
 * and come back, so whoever needs one elsewhere forks, enters, opens, and
 * sends the descriptor home (SCM_RIGHTS).
 *
 * Entering needs CAP_SYS_ADMIN in the user namespace that owns the network
 * namespace. Root has that everywhere. An ordinary user has it only inside a
 * user namespace of its own, so a refused setns() is tried once more after
 * entering the owner (NS_GET_USERNS), not the target process's own user
 * namespace: bubblewrap and friends nest a second one whose root has no say
 * over the network.
 *
 * A new user namespace maps one id of each kind, which the process may write
 * itself (user_namespaces(7)); setgroups must be denied before gid_map.
 */
#include "platform/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

int lwr__netns_open(const char *spec)
{
	char path[256];
	int fd, n;

	if (spec[0] == '\0')
		return -EINVAL;
	if (spec[strspn(spec, "0123456789")] == '\0')
		n = snprintf(path, sizeof(path), "/proc/%s/ns/net", spec);
	else if (strchr(spec, '/'))
		n = snprintf(path, sizeof(path), "%s", spec);
	else
		n = snprintf(path, sizeof(path), "/run/netns/%s", spec);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int lwr__netns_enter(int fd)
{
	int err, owner;

	if (setns(fd, CLONE_NEWNET) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	owner = ioctl(fd, NS_GET_USERNS);
	if (owner < 0)
		return -EPERM;
	err = setns(owner, CLONE_NEWUSER) < 0 ? -EPERM : 0;
	close(owner);
	if (!err && setns(fd, CLONE_NEWNET) < 0)
		err = -errno;
	return err;
}

int lwr__proc_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int map_id(const char *path, unsigned inside, unsigned outside)
{
	char line[64];

	snprintf(line, sizeof(line), "%u %u 1\n", inside, outside);
	return lwr__proc_write(path, line);
}

static int unshare_user(bool root, const char **what)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int err;

	*what = "new user namespace";
	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	*what = "ids of the new user namespace";
	err = lwr__proc_write("/proc/self/setgroups", "deny");
	if (err && err != -ENOENT)
		return err;
	err = map_id("/proc/self/uid_map", root ? 0 : uid, uid);
	if (err)
		return err;
	return map_id("/proc/self/gid_map", root ? 0 : gid, gid);
}

int lwr__netns_unshare(bool user, bool root, const char **what)
{
	int err = user ? unshare_user(root, what) : 0;

	if (err)
		return err;
	*what = "new network and mount namespace";
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -errno;
	*what = "private mounts";
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	return 0;
}

int lwr__fd_send(int sock, int fd, const void *data, size_t len)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = ctl.room;
		msg.msg_controllen = sizeof(ctl.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int lwr__fd_recv(int sock, int *fd, void *data, size_t len)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl = { 0 };
	struct iovec iov = { data, len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = ctl.room,
			      .msg_controllen = sizeof(ctl.room) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return (size_t)n == len ? 0 : -EPIPE;
}
