/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * [ADDR:]PORT[-END][:GUESTPORT][/tcp|/udp], IPv6 addresses in brackets, or
 * unix:PATH:GUESTPORT. What stands before the first colon is an address if it
 * has a dot; a port has none. GUESTPORT is the guest's port for PORT, and may
 * be written as a range of the same length.
 */
#include "relay/publish.h"

#include "relay/options_link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static int bad(char *err, const char *fmt,
						     ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, LWR_PUBLISH_ERROR, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int parse_port(const char *text, uint16_t *port, const char **end)
{
	uint64_t n;

	if (lwr__digits_parse(text, &n, end) < 0 || n > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

/* PORT or PORT-END; ends at a colon or the text's end. */
static int parse_range(const char *text, uint16_t *first, uint16_t *last,
		       const char **end)
{
	int err = parse_port(text, first, end);

	*last = *first;
	if (err || **end != '-')
		return err;
	err = parse_port(*end + 1, last, end);
	return err || *first == 0 || *last < *first ? -EINVAL : 0;
}

/* Cuts "/udp" or "/tcp" off. */
static int parse_proto(struct lwr_publish_spec *s, char *text)
{
	char *slash = strrchr(text, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	s->udp = strcmp(slash + 1, "udp") == 0;
	return s->udp || strcmp(slash + 1, "tcp") == 0 ? 0 : -EINVAL;
}

/* Reads ADDR: where there is one; *rest is what follows. */
static int parse_addr(struct lwr_publish_spec *s, char *text, char **rest)
{
	char *end = strchr(text, *text == '[' ? ']' : ':');
	bool six = *text == '[';

	*rest = text;
	s->any = true;
	if (!six && (!end || !memchr(text, '.', (size_t)(end - text))))
		return 0;
	if (!end || (six && end[1] != ':'))
		return -EINVAL;
	*end = '\0';
	*rest = end + 1 + six;
	s->any = false;
	if (lwr__addr_parse(text + six, &s->addr) < 0 ||
	    lwr__addr_is4(&s->addr) == six || lwr__addr_is_multicast(&s->addr))
		return -EINVAL;
	return 0;
}

static int parse_guest(struct lwr_publish_spec *s, const char *text)
{
	uint16_t last;
	const char *end;

	if (parse_range(text, &s->guest, &last, &end) < 0 || *end ||
	    s->guest == 0 || s->guest + (s->last - s->first) > UINT16_MAX)
		return -EINVAL;
	if (last != s->guest && last - s->guest != s->last - s->first)
		return -EINVAL;
	return 0;
}

static int parse_unix(struct lwr_publish_spec *s, const char *text,
		      const char *v, char *err)
{
	const char *colon = strrchr(v, ':'), *end;
	size_t len = colon ? (size_t)(colon - v) : 0;

	if (len == 0 || len >= sizeof(s->path))
		return bad(err,
			   "'%s' is not unix:PATH:GUESTPORT (a path has "
			   "1 to %zu bytes)",
			   text, sizeof(s->path) - 1);
	if (parse_port(colon + 1, &s->guest, &end) < 0 || *end || !s->guest)
		return bad(err, "'%s': %s is not a port of the guest", text,
			   colon + 1);
	memcpy(s->path, v, len);
	return 0;
}

int lwr__publish_parse(struct lwr_publish_spec *s, const char *text,
		       char err[LWR_PUBLISH_ERROR])
{
	char buf[LWR_PUBLISH_TEXT], *rest;
	const char *end;

	memset(s, 0, sizeof(*s));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(s, text, text + 5, err);
	if (strlen(text) >= sizeof(buf))
		goto err_form;
	memcpy(buf, text, strlen(text) + 1);
	if (parse_proto(s, buf) < 0 || parse_addr(s, buf, &rest) < 0 ||
	    parse_range(rest, &s->first, &s->last, &end) < 0)
		goto err_form;
	if (*end == ':' ? parse_guest(s, end + 1) < 0 : *end != '\0')
		goto err_form;
	return 0;

err_form:
	return bad(err,
		   "'%s' is not [ADDR:]PORT[-END][:GUESTPORT][/udp] (an IPv6 "
		   "ADDR stands in brackets)",
		   text);
}
