/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells when a file changed that is often a link, and often replaced. */
#ifndef LWR_PLATFORM_RESOLV_WATCH_H
#define LWR_PLATFORM_RESOLV_WATCH_H

/*
 * A descriptor that becomes readable when the file that `path` leads to may
 * have changed, appeared or been replaced. Returns it or -errno.
 */
int lwr__resolv_watch(const char *path);

/* After it became readable: forgets the events and looks where path leads. */
void lwr__resolv_rewatch(int fd, const char *path);

void lwr__resolv_unwatch(int fd);

#endif
