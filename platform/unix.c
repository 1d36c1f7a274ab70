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
 */
#include "platform/unix.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 16 };

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

int lwr__unix_listen(struct lwr_unix *u, const char *path)
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
	u->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0)
		return -errno;
	err = bind_path(u->fd, &u->addr, addr_len(&u->addr, len));
	if (err)
		goto err_close;
	if (path[0] != '@' && lstat(path, &st) == 0) {
		u->dev = st.st_dev;
		u->ino = st.st_ino;
	}
	if (listen(u->fd, BACKLOG) < 0) {
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

void lwr__unix_close(struct lwr_unix *u)
{
	struct stat st;

	if (u->ino && lstat(u->addr.sun_path, &st) == 0 &&
	    st.st_dev == u->dev && st.st_ino == u->ino)
		unlink(u->addr.sun_path);
	close(u->fd);
	u->fd = -1;
}
