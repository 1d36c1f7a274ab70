/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/bell.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

void lwr__bell_init(struct lwr_bell *b)
{
	atomic_init(&b->fd, -1);
}

void lwr__bell_fini(struct lwr_bell *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

int lwr__bell_fd(struct lwr_bell *b)
{
	int fd, old = b->fd;

	if (old >= 0)
		return old;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (atomic_compare_exchange_strong(&b->fd, &old, fd))
		return fd;
	close(fd); /* another thread was faster */
	return old;
}

void lwr__bell_ring(struct lwr_bell *b)
{
	const uint64_t one = 1;
	int fd = b->fd;

	/* It fails only when it is readable already, 2^64 times. */
	if (fd >= 0)
		(void)!write(fd, &one, sizeof(one));
}

void lwr__bell_clear(struct lwr_bell *b)
{
	uint64_t n;
	int fd = b->fd;

	if (fd >= 0)
		(void)!read(fd, &n, sizeof(n));
}

int lwr__bell_wait(struct lwr_bell *b, int timeout_ms)
{
	struct pollfd pfd = { .fd = b->fd, .events = POLLIN };
	int n = poll(&pfd, 1, timeout_ms);

	return n < 0 ? -errno : n;
}
