/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where outgoing sockets leave from. Binding to an interface needs no
 * privilege since Linux 5.7, as long as the socket was not bound before.
 *
 * An address says by which way its family goes, and that the other goes none:
 * to let it leave by another interface would be a leak for whoever gave the
 * address of a tunnel.
 */
#include "platform/sock.h"

#include <errno.h>
#include <unistd.h>

static sa_family_t family_of(const struct lwr_sock_from *from, int family)
{
	return family == AF_INET6 ? from->in6.sin6_family : from->in.sin_family;
}

bool lwr__sock_from_set(const struct lwr_sock_from *from)
{
	return from->ifname[0] || from->in.sin_family || from->in6.sin6_family;
}

bool lwr__sock_from_carries(const struct lwr_sock_from *from, int family)
{
	return !lwr__sock_from_set(from) || from->ifname[0] ||
	       family_of(from, family);
}

int lwr__sock_bind_from(int fd, int family, const struct lwr_sock_from *from)
{
	const void *sa = family == AF_INET6 ? (const void *)&from->in6 :
					      (const void *)&from->in;
	socklen_t len = family == AF_INET6 ? sizeof(from->in6) :
					     sizeof(from->in);
	int one = 1;

	if (!lwr__sock_from_carries(from, family))
		return -ENETUNREACH;
	if (from->ifname[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, from->ifname,
		       sizeof(from->ifname)) < 0)
		return -errno;
	if (!family_of(from, family))
		return 0;
	/* The port is chosen by connect(), so that all of them are there. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
			 sizeof(one));
	return bind(fd, sa, len) < 0 ? -errno : 0;
}

int lwr__sock_try_from(const struct lwr_sock_from *from)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int fd, err = 0;

	for (int i = 0; i < 2 && !err; i++) {
		if (!lwr__sock_from_carries(from, families[i]))
			continue;
		fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue; /* a host without that family */
		err = lwr__sock_bind_from(fd, families[i], from);
		close(fd);
	}
	return err;
}
