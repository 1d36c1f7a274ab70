/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/link_open.h"

#include "netif/stream.h"
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
	struct lwr_tap tap = { .fd = -1 };
	bool given = spec->kind == LWR_LINK_TAP_FD;
	int err;

	if (given)
		err = lwr__tap_adopt(spec->fd, &tap);
	else if (spec->netns)
		err = lwr__tap_open_in(spec->netns, spec->ifname, &tap);
	else
		err = lwr__tap_open(spec->ifname, &tap);
	if (err) {
		lwr__tap_error(err, text);
		return err;
	}
	err = lwr__tap_new(stack, spec->text, tap.fd, net, tap.vnet, tap.uso,
			   out);
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
	case ENOTSOCK:
		return "is no socket";
	default:
		return NULL;
	}
}

static int open_stream(struct lwr_stack *stack,
		       const struct lwr_link_spec *spec,
		       const struct lwr_net *net, struct lwr_link **out,
		       char *text)
{
	int err;

	if (spec->kind == LWR_LINK_STREAM)
		err = lwr__stream_listen(stack, spec->path, net, out);
	else
		err = lwr__stream_fd(stack, spec->text, spec->fd, net, out);
	return err ? say(text, err, socket_hint(err)) : 0;
}

int lwr__link_open(struct lwr_stack *stack, const struct lwr_link_spec *spec,
		   const struct lwr_net *net, struct lwr_link **out,
		   char err[LWR_ERROR_TEXT])
{
	switch (spec->kind) {
	case LWR_LINK_TAP:
	case LWR_LINK_TAP_FD:
		return open_tap(stack, spec, net, out, err);
	case LWR_LINK_STREAM:
	case LWR_LINK_STREAM_FD:
		return open_stream(stack, spec, net, out, err);
	}
	return say(err, -EINVAL, NULL);
}
