/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/options_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

__attribute__((format(printf, 2, 3))) static int bad(char *err, const char *fmt,
						     ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, LWR_ERROR_TEXT, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int lwr__digits_parse(const char *text, uint64_t *out, const char **end)
{
	char *e;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &e, 10);
	*end = e;
	return errno ? -ERANGE : 0;
}

int lwr__fd_parse(const char *what, const char *text, int *fd,
		  char err[LWR_ERROR_TEXT])
{
	const char *end;
	uint64_t n;

	if (lwr__digits_parse(text, &n, &end) < 0 || *end || n > INT_MAX)
		return bad(err, "%s: '%s' is not a file descriptor number",
			   what, text);
	*fd = (int)n;
	if (fcntl(*fd, F_GETFD) < 0)
		return bad(err, "%s %s: %s (inherit it from the caller)", what,
			   text, strerror(errno));
	return 0;
}

static int link_tap(struct lwr_link_spec *s, const char *v, char *err)
{
	const char *at = strchr(v, '@');
	size_t len = at ? (size_t)(at - v) : strlen(v);

	if (len == 0 || len >= sizeof(s->ifname) || memchr(v, '/', len))
		return bad(err,
			   "--link %s: the interface name has 1 to 15 letters",
			   s->text);
	if (at && at[1] == '\0')
		return bad(err,
			   "--link %s: no namespace after @ (a PID, a path or "
			   "a name)",
			   s->text);
	memcpy(s->ifname, v, len);
	s->netns = at ? at + 1 : NULL;
	return 0;
}

static int link_stream(struct lwr_link_spec *s, const char *v, char *err)
{
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (*v == '\0' || strlen(v) > max)
		return bad(err, "--link %s: a socket's path has 1 to %zu bytes",
			   s->text, max);
	s->path = v;
	return 0;
}

static int link_fd(struct lwr_link_spec *s, const char *v, char *err)
{
	return lwr__fd_parse("--link descriptor", v, &s->fd, err);
}

static int link_later(struct lwr_link_spec *s, const char *v, char *err)
{
	(void)v;
	return bad(err,
		   "--link %s: not available in this version (use tap, "
		   "tap-fd, stream or stream-fd)",
		   s->text);
}

static const struct {
	const char *prefix;
	enum lwr_link_kind kind;
	int (*parse)(struct lwr_link_spec *s, const char *v, char *err);
} kinds[] = {
	{ "tap:", LWR_LINK_TAP, link_tap },
	{ "tap-fd:", LWR_LINK_TAP_FD, link_fd },
	{ "stream:", LWR_LINK_STREAM, link_stream },
	{ "stream-fd:", LWR_LINK_STREAM_FD, link_fd },
	{ "dgram:", LWR_LINK_STREAM, link_later },
	{ "dgram-fd:", LWR_LINK_STREAM, link_later },
	{ "vhost-user:", LWR_LINK_STREAM, link_later },
};

int lwr__link_parse(struct lwr_link_spec *s, const char *text,
		    char err[LWR_ERROR_TEXT])
{
	size_t len;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		len = strlen(kinds[i].prefix);
		if (strncmp(text, kinds[i].prefix, len) != 0)
			continue;
		*s = (struct lwr_link_spec){ .kind = kinds[i].kind,
					     .text = text,
					     .fd = -1 };
		return kinds[i].parse(s, text + len, err);
	}
	return bad(err,
		   "--link: '%s' is no kind of link (tap:IFNAME[@NETNS], "
		   "tap-fd:N, stream:PATH or stream-fd:N)",
		   text);
}
