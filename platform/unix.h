/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets at a path, or abstract ones ("@name"): listening, or bound and
 * connected to the one who sends first.
 */
#ifndef LWR_PLATFORM_UNIX_H
#define LWR_PLATFORM_UNIX_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

/* The longest path; what is longer no client could connect to. */
enum { LWR_UNIX_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

/* What bind() gives by itself; less for what is only the owner's. */
enum { LWR_UNIX_ALL = 0777, LWR_UNIX_OWNER = 0600 };

/* A bound path, and the file that we made there. */
struct lwr_unix {
	int fd; /* non-blocking, close-on-exec */
	struct sockaddr_un addr;
	dev_t dev;
	ino_t ino; /* 0: no file (abstract) */
};

/*
 * Binds a socket of `type` to `path`, with the permissions `mode` less the
 * umask, and listens unless it is for datagrams. A socket file that nobody is
 * bound to is replaced. Returns 0; -EADDRINUSE: the path has a live owner, who
 * does not notice; -EEXIST: there is a file that is no socket; -ENAMETOOLONG;
 * or -errno.
 */
int lwr__unix_open(struct lwr_unix *u, const char *path, int type, mode_t mode);

/*
 * Starts a stream connection. Returns the descriptor, -EAGAIN: its queue is
 * full, or -errno; *done says whether it is connected yet.
 */
int lwr__unix_connect(const char *path, bool *done);

/* Closes the socket and removes its file, if that is still ours. */
void lwr__unix_close(struct lwr_unix *u);

/* Large buffers, as far as allowed; no delay where it is TCP. */
void lwr__unix_tune(int fd);

/* Who sends datagrams to us. */
struct lwr_unix_peer {
	struct sockaddr_un addr;
	socklen_t len;
	/* Its file when we met; ino 0: abstract. */
	dev_t dev;
	ino_t ino;
	struct timespec made;
	int pidfd; /* of its process, to be closed by the owner; -1: unknown */
};

/* Anyone may send; datagrams of one it was connected to are gone. */
void lwr__unix_await(int fd);

/*
 * Connects a bound datagram socket to the sender of the first datagram that
 * waits, which then is still to be read. From then on its sender is not
 * subject to the kernel's limit of ten queued datagrams, and others are
 * refused. Returns 0; -EAGAIN: there is none; else the datagram was dropped:
 * -EDESTADDRREQ if its sender has no name, or the -errno of connect().
 */
int lwr__unix_meet(int fd, struct lwr_unix_peer *peer);

/*
 * On a socket that came connected: has the kernel note who sends, and later
 * the pidfd of who sent the first datagram that waits, or -1.
 */
void lwr__unix_ask_sender(int fd);
int lwr__unix_sender(int fd);

/* False if nobody, or somebody else, is bound to the peer's address now. */
bool lwr__unix_there(int fd, const struct lwr_unix_peer *peer);

/* ---- connections that pass descriptors ---------------------------------- */

/*
 * The next connection, non-blocking. Returns the descriptor, -EAGAIN, -EPERM:
 * one came of another user to an abstract name, and was closed; or -errno.
 */
int lwr__unix_accept(const struct lwr_unix *u);

/* Descriptors that came. Set fd to -1 and the rest to 0 at first. */
struct lwr_unix_fds {
	int fd; /* the first, the caller's; -1: none */
	unsigned count; /* of all; those after the first were closed */
	bool lost; /* there were more than we can have */
};

/* Returns bytes, 0 at the end of the stream, or -errno; adds to *fds. */
ssize_t lwr__unix_recv_fds(int sock, void *buf, size_t len,
			   struct lwr_unix_fds *fds);

/* Closes what nobody took. */
void lwr__unix_close_fds(struct lwr_unix_fds *fds);

/* Takes and closes what was not read yet; nothing more can come. */
void lwr__unix_discard(int sock);

#endif
