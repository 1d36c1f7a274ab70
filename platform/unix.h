/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening Unix sockets in the file system, or abstract ones ("@name"). */
#ifndef LWR_PLATFORM_UNIX_H
#define LWR_PLATFORM_UNIX_H

#include <sys/types.h>
#include <sys/un.h>

/* A bound path, and the file that we made there. */
struct lwr_unix {
	int fd; /* listening, non-blocking, close-on-exec */
	struct sockaddr_un addr;
	dev_t dev;
	ino_t ino; /* 0: no file (abstract) */
};

/*
 * Listens on `path`. A socket file that nobody is bound to is replaced.
 * Returns 0; -EADDRINUSE: the path has a live owner, who does not notice;
 * -EEXIST: there is a file that is no socket; -ENAMETOOLONG; or -errno.
 */
int lwr__unix_listen(struct lwr_unix *u, const char *path);

/* Closes the socket and removes its file, if that is still ours. */
void lwr__unix_close(struct lwr_unix *u);

#endif
