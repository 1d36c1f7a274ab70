/* SPDX-License-Identifier: BSD-3-Clause */
/* As much of rtnetlink(7) as setting up a guest's interface needs. */
#ifndef LWR_PLATFORM_NETLINK_H
#define LWR_PLATFORM_NETLINK_H

#include <stdint.h>

/* Of the network namespace in which it was opened. */
struct lwr_netlink {
	int fd;
	uint32_t seq;
};

/* Returns 0 or -errno. */
int lwr__netlink_open(struct lwr_netlink *nl);
void lwr__netlink_close(struct lwr_netlink *nl);

/*
 * Brings interface `name` up; mtu and txqlen are left as they are where 0.
 * Returns 0 or -errno.
 */
int lwr__netlink_up(struct lwr_netlink *nl, const char *name, uint32_t mtu,
		    uint32_t txqlen);

/*
 * Has interface `name` send at once what it is given (tc-noqueue), whatever its
 * queueing discipline was. Returns 0 or -errno.
 */
int lwr__netlink_no_queue(struct lwr_netlink *nl, const char *name);

/*
 * Adds an address, usable at once: no duplicate detection. `family` is AF_INET
 * or AF_INET6, `addr` its 4 or 16 bytes. Returns 0 or -errno.
 */
int lwr__netlink_add_addr(struct lwr_netlink *nl, const char *name, int family,
			  const void *addr, uint8_t prefix);

/*
 * Adds the default route by way of `gateway`, for TCP with congestion control
 * `congctl` where that is not NULL. Returns 0 or -errno.
 */
int lwr__netlink_add_default(struct lwr_netlink *nl, const char *name,
			     int family, const void *gateway,
			     const char *congctl);

#endif
