/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A path like /etc/resolv.conf is a file, or a link to one in /run, and it may be
 * written in place, replaced by rename, or its link may be; the folder in /run
 * may not exist yet. So every step on the way is watched: the folder that has
 * the name, for each link that follows, and the file itself, which may be
 * mounted over the name and then has its folder elsewhere. Where a folder does
 * not exist the nearest one above it is watched.
 *
 * An event means: look again from the beginning. inotify_add_watch() for what
 * is watched already changes nothing; folders that are no longer on the way
 * cost a needless look now and then. Between adding watches and reading the
 * file nothing can be missed, in that order.
 *
 * A file system mounted over the name while we run is not seen.
 */
#include "platform/resolv_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { LINKS_MAX = 8 };

static const uint32_t folder_mask = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM |
				    IN_CLOSE_WRITE | IN_DELETE |
				    IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
/* Not IN_MODIFY: a file that is being written is read when that is over. */
static const uint32_t file_mask = IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |
				  IN_MOVE_SELF;

/* Cuts the last part off, in place; "/" and "." stay what they are. */
static void to_folder(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		memcpy(path, ".", 2);
	else if (slash == path)
		path[1] = '\0';
	else
		*slash = '\0';
}

/* The folder of `path`, or the nearest that exists. Returns 0 or -errno. */
static int watch_folder(int fd, const char *path)
{
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%s", path);
	for (;;) {
		to_folder(folder);
		if (inotify_add_watch(fd, folder, folder_mask) >= 0)
			return 0;
		if ((errno != ENOENT && errno != ENOTDIR) ||
		    strcmp(folder, "/") == 0 || strcmp(folder, ".") == 0)
			return -errno;
	}
}

/* Where the link at `path` leads, in place. False: it is none, or too long. */
static bool follow_link(char path[PATH_MAX])
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	size_t at = 0;

	if (n <= 0)
		return false;
	target[n] = '\0';
	if (target[0] != '/') {
		to_folder(path);
		at = strlen(path) + 1;
		if (at + (size_t)n >= PATH_MAX)
			return false;
		path[at - 1] = '/';
	}
	memcpy(path + at, target, (size_t)n + 1);
	return true;
}

static int watch_way(int fd, const char *start)
{
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s", start);
	for (int i = 0; i < LINKS_MAX; i++) {
		err = watch_folder(fd, path);
		if (err)
			return err;
		if (!follow_link(path))
			break;
	}
	/* It need not exist. */
	(void)inotify_add_watch(fd, start, file_mask);
	return 0;
}

int lwr__resolv_watch(const char *path)
{
	int err, fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0)
		return -errno;
	err = watch_way(fd, path);
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

void lwr__resolv_rewatch(int fd, const char *path)
{
	char events[4096];
	ssize_t n;

	do
		n = read(fd, events, sizeof(events));
	while (n > 0 || (n < 0 && errno == EINTR));
	(void)watch_way(fd, path);
}

void lwr__resolv_unwatch(int fd)
{
	close(fd);
}
