/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pump: a kernel guest for a stream link.
 *
 * It makes a tap where it runs (a network namespace that plays the guest) and
 * carries frames between it and a Unix stream socket, each behind its length
 * as u32 big-endian: what QEMU's `-netdev stream` does for a guest without
 * offloads. Plain frames: no vnet header, full checksums, at most one MTU.
 *
 * One thread a direction, so that neither can block the other: a relay that
 * waits for the pump to read while the pump waits for it to read would stand.
 * Both batch: all that the tap has (up to a bound) goes out in one write, all
 * that one read brought goes to the tap before the next.
 *
 * usage: pump IFNAME SOCKET
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	LEN = 4, /* bytes before each frame */
	FRAME_MAX = 65535,
	BATCH = 512 * 1024,
};

struct pump {
	int tap;
	int sock;
};

static void die(const char *what)
{
	fprintf(stderr, "pump: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int tap_open(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		die("/dev/net/tun");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		die(name);
	return fd;
}

static int sock_open(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int room = 4 << 20;

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(path);
	return fd;
}

static void write_all(int fd, const unsigned char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			die("relay");
		p += k;
		n -= (size_t)k;
	}
}

/* Appends what the tap has to buf, as far as another whole frame fits. */
static size_t tap_batch(int tap, unsigned char *buf)
{
	size_t n = 0;

	while (BATCH - n >= LEN + FRAME_MAX) {
		ssize_t k = read(tap, buf + n + LEN, FRAME_MAX);
		uint32_t len = htonl((uint32_t)k);

		if (k <= 0)
			break;
		memcpy(buf + n, &len, LEN);
		n += LEN + (size_t)k;
	}
	return n;
}

static void *guest_to_relay(void *arg)
{
	const struct pump *p = arg;
	struct pollfd wait = { .fd = p->tap, .events = POLLIN };
	unsigned char *buf = malloc(BATCH);

	if (!buf)
		die("memory");
	for (;;) {
		size_t n = tap_batch(p->tap, buf);

		if (n > 0)
			write_all(p->sock, buf, n);
		else
			poll(&wait, 1, -1);
	}
	return NULL;
}

/* Writes whole frames to the tap. Returns how many bytes they took. */
static size_t frames_cut(int tap, const unsigned char *buf, size_t have)
{
	size_t off = 0;

	while (have - off >= LEN) {
		uint32_t len;

		memcpy(&len, buf + off, LEN);
		len = ntohl(len);
		if (len > FRAME_MAX)
			die("a frame's length");
		if (have - off - LEN < len)
			break;
		if (write(tap, buf + off + LEN, len) < 0 && errno != EIO)
			die("tap");
		off += LEN + len;
	}
	return off;
}

static void relay_to_guest(const struct pump *p)
{
	unsigned char *buf = malloc(BATCH);
	size_t have = 0;

	if (!buf)
		die("memory");
	for (;;) {
		ssize_t k = recv(p->sock, buf + have, BATCH - have, 0);
		size_t took;

		if (k <= 0)
			exit(k == 0 ? 0 : 1);
		have += (size_t)k;
		took = frames_cut(p->tap, buf, have);
		have -= took;
		memmove(buf, buf + took, have);
	}
}

int main(int argc, char **argv)
{
	struct pump p;
	pthread_t thread;

	if (argc != 3) {
		fputs("usage: pump IFNAME SOCKET\n", stderr);
		return 2;
	}
	p.tap = tap_open(argv[1]);
	p.sock = sock_open(argv[2]);
	puts("{\"ready\": true}");
	fflush(stdout);
	if (pthread_create(&thread, NULL, guest_to_relay, &p) != 0)
		die("thread");
	relay_to_guest(&p);
}
