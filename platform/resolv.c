/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/resolv.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The change time, not the time of modification: it also moves when another
 * file, perhaps an older one, is renamed into place.
 */
static int64_t stamp_of(const struct stat *st)
{
	return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/* Returns bytes read or -errno. */
static ssize_t read_all(int fd, char *buf, size_t len)
{
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = read(fd, buf + have, len - have);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int read_open(int fd, int64_t *stamp, char *buf, size_t len)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	n = read_all(fd, buf, len - 1);
	if (n < 0)
		return (int)n;
	buf[n] = '\0';
	*stamp = stamp_of(&st);
	return 1;
}

int lwr__resolv_read(const char *path, int64_t *stamp, char *buf, size_t len)
{
	struct stat st;
	int fd, r;

	if (stat(path, &st) < 0)
		return -errno;
	if (stamp_of(&st) == *stamp)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	r = read_open(fd, stamp, buf, len);
	close(fd);
	return r;
}

uint32_t lwr__resolv_scope(const char *name)
{
	uint32_t index = if_nametoindex(name);
	char *end;
	unsigned long n;

	if (index)
		return index;
	n = strtoul(name, &end, 10);
	return *name >= '0' && *name <= '9' && *end == '\0' && n <= INT32_MAX ?
		       (uint32_t)n :
		       0;
}
