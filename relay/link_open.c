/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/link_open.h"

#include "netif/socket.h"
#include "netif/tap.h"
#include "platform/tap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "why (what helps)"; returns err. */
static int say(char text[LWR_ERROR_TEXT], int err, const char *hint)
{
	snprintf(text, LWR_ERROR_TEXT, "%s%s%s%s", strerror(-err),
		 hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
	return err;
}

/* ---- profiles ----------------------------------------------------------- */

/*
 * libkrun's guests have 64 KiB segments and unfinished checksums, about which
 * it says nothing on the wire. An MTU of 65,520 is what its own DHCP client
 * takes if it is told none, and it makes large segments to the guest true
 * ones, which the guest can also forward to its containers.
 */
static const struct lwr_profile profiles[] = {
	{ .name = "plain" },
	{ .name = "qemu" },
	{ .name = "libkrun",
	  .mtu = 65520,
	  .max_frame = 65550,
	  .csum_g2h_trust = true },
	{ .name = "libkrun-raw" },
};

const struct lwr_profile *lwr__profile_at(unsigned i)
{
	return i < sizeof(profiles) / sizeof(profiles[0]) ? &profiles[i] : NULL;
}

const struct lwr_profile *lwr__profile_find(const char *name)
{
	const struct lwr_profile *p;

	for (unsigned i = 0; (p = lwr__profile_at(i)); i++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static struct lwr_link_setup setup_of(const struct lwr_link_spec *spec,
				      const struct lwr_net *net)
{
	const struct lwr_profile *p = spec->profile ? spec->profile : profiles;

	return (struct lwr_link_setup){
		.name = spec->text,
		.net = net,
		.mtu = spec->mtu ? spec->mtu :
		       net->mtu	 ? net->mtu :
				   p->mtu,
		.max_frame = p->max_frame,
		.csum_g2h_trust = p->csum_g2h_trust,
	};
}

/* ---- tap ---------------------------------------------------------------- */

static const char *tap_hint(int err)
{
	switch (-err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		if (access("/dev/net/tun", F_OK) == 0)
			return "is the namespace gone?";
		return "/dev/net/tun is missing: load the module tun, or give "
		       "the container that device";
	case EACCES:
		return "/dev/net/tun is not permitted: make it readable and "
		       "writable";
	case EPERM:
		return "needs CAP_NET_ADMIN there: be root, own the namespace, "
		       "or let root prepare it with ip tuntap add ... user";
	case EBUSY:
		return "another process has this tap";
	case EINVAL:
		return "exists but is no tap?";
	case EPROTOTYPE:
		return "must be a tap opened with IFF_NO_PI";
	case ENOTTY:
		return "is no tap";
	default:
		return NULL;
	}
}

const char *lwr__tap_error(int err, char text[LWR_ERROR_TEXT])
{
	/* "Protocol wrong type" and the like would only confuse. */
	bool ours = err == -EPROTOTYPE || err == -ENOTTY;

	say(text, ours ? -EINVAL : err, tap_hint(err));
	return text;
}

static int open_tap(struct lwr_stack *stack, const struct lwr_link_spec *spec,
		    const struct lwr_net *net, struct lwr_link **out,
		    char *text)
{
	struct lwr_link_setup setup = setup_of(spec, net);
	struct lwr_tap tap = { .fd = -1 };
	bool given = spec->kind == LWR_LINK_TAP_FD;
	int err;

	if (given)
		err = lwr__tap_adopt(spec->fd, &tap);
	else if (spec->netns[0])
		err = lwr__tap_open_in(spec->netns, spec->ifname, &tap);
	else
		err = lwr__tap_open(spec->ifname, &tap);
	if (err) {
		lwr__tap_error(err, text);
		return err;
	}
	err = lwr__tap_new(stack, &setup, &tap, out);
	if (err && !given)
		close(tap.fd);
	return err ? say(text, err, NULL) : 0;
}

/* ---- sockets ------------------------------------------------------------ */

static const char *socket_hint(int err)
{
	switch (-err) {
	case EADDRINUSE:
		return "another process serves this socket";
	case EEXIST:
		return "there is a file that is no socket";
	case ENOTSOCK:
		return "is no socket";
	case EPROTOTYPE:
		return "is a socket of another type";
	case ENOTCONN:
		return "is not connected, and guests cannot come to it";
	default:
		return NULL;
	}
}

static int open_socket(struct lwr_stack *stack,
		       const struct lwr_link_spec *spec, int type, bool given,
		       const struct lwr_net *net, struct lwr_link **out,
		       char *text)
{
	struct lwr_link_setup setup = setup_of(spec, net);
	int err;

	if (given)
		err = lwr__socket_fd(stack, &setup, type, spec->fd, out);
	else
		err = lwr__socket_listen(stack, &setup, type, spec->path, out);
	return err ? say(text, err, socket_hint(err)) : 0;
}

int lwr__link_open(struct lwr_stack *stack, const struct lwr_link_spec *spec,
		   const struct lwr_net *net, struct lwr_link **out,
		   char err[LWR_ERROR_TEXT])
{
	static const struct {
		int type; /* 0: no socket */
		bool given;
	} kinds[] = {
		[LWR_LINK_TAP] = { 0, false },
		[LWR_LINK_TAP_FD] = { 0, true },
		[LWR_LINK_STREAM] = { SOCK_STREAM, false },
		[LWR_LINK_STREAM_FD] = { SOCK_STREAM, true },
		[LWR_LINK_DGRAM] = { SOCK_DGRAM, false },
		[LWR_LINK_DGRAM_FD] = { SOCK_DGRAM, true },
		[LWR_LINK_SEQPACKET] = { SOCK_SEQPACKET, false },
		[LWR_LINK_SEQPACKET_FD] = { SOCK_SEQPACKET, true },
	};
	int type = kinds[spec->kind].type;

	if (type == 0)
		return open_tap(stack, spec, net, out, err);
	return open_socket(stack, spec, type, kinds[spec->kind].given, net, out,
			   err);
}
