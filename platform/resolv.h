/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of the host's resolv.conf, and whether they are new. */
#ifndef LWR_PLATFORM_RESOLV_H
#define LWR_PLATFORM_RESOLV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads the file as a string if it is not the one that *stamp stands for, and
 * sets *stamp; a stamp of 0 stands for none. What does not fit is cut off.
 * Returns 1 and the text, 0 if the file is unchanged, or -errno.
 */
int lwr__resolv_read(const char *path, int64_t *stamp, char *buf, size_t len);

/* The number of an interface, given by name or number; 0: there is none. */
uint32_t lwr__resolv_scope(const char *name);

#endif
