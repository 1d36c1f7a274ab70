/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A private /etc/resolv.conf that leaves nothing behind, even when the process
 * is killed half-way. In the caller's own mount namespace: a small tmpfs is
 * mounted over some directory that exists everywhere, the file is written
 * there, bind-mounted over /etc/resolv.conf, and the tmpfs taken off the
 * directory again; the bind mount alone keeps it alive. Nobody outside ever
 * sees any of it, and it goes with the namespace.
 *
 * Rejected: a temporary file, bind-mounted and unlinked (a kill between the
 * two leaves the file); fsopen(2) with open_tree(2) on the detached mount
 * (kernels before 6.15 refuse to clone a file out of a detached mount).
 * A symbolic link (systemd-resolved) is followed: what it points to is covered.
 */
#include "platform/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0644) < 0 || write(fd, text, len) != (ssize_t)len)
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

/* Covers what `target` (O_PATH) refers to with a file made below `dir`. */
static int cover(int target, const char *dir, const char *text)
{
	char from[64], to[64];
	int err;

	if (mount("lwrelay", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=64k,mode=0755") < 0)
		return -errno;
	snprintf(from, sizeof(from), "%s/resolv.conf", dir);
	snprintf(to, sizeof(to), "/proc/self/fd/%d", target);
	err = write_file(from, text);
	if (!err && mount(from, to, NULL, MS_BIND, NULL) < 0)
		err = -errno;
	umount2(dir, MNT_DETACH);
	return err;
}

int lwr__resolvconf_mount(const char *text)
{
	static const char *const dirs[] = { "/tmp", "/run", "/mnt", "/etc" };
	int target = open("/etc/resolv.conf", O_PATH | O_CLOEXEC);
	int err = -ENOENT;

	if (target < 0)
		return -errno;
	for (size_t i = 0; err && i < sizeof(dirs) / sizeof(dirs[0]); i++)
		err = cover(target, dirs[i], text);
	close(target);
	return err == -ENOENT ? -ENOTDIR : err;
}
