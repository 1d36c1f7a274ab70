/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/options_link.h"
#include "relay/dns_local.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- --link -------------------------------------------------------------- */

/*
 * KIND:WHAT[,KEY=VALUE]...; a comma in WHAT is written twice. WHAT and the
 * words after it are copied out one at a time.
 */
enum { WORD_MAX = LWR_NETNS_MAX + 64 };

/*
 * Copies up to the next single comma; *text is then behind it, or NULL at the
 * end. False: the word is too long.
 */
static bool next_word(const char **text, char word[WORD_MAX])
{
	const char *t = *text;
	size_t n = 0;

	for (; *t && (*t != ',' || t[1] == ','); t++) {
		if (n == WORD_MAX - 1)
			return false;
		t += *t == ',';
		word[n++] = *t;
	}
	word[n] = '\0';
	*text = *t ? t + 1 : NULL;
	return true;
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
	if (at && strlen(at + 1) >= sizeof(s->netns))
		return bad(err, "--link %s: the namespace's path is too long",
			   s->text);
	memcpy(s->ifname, v, len);
	if (at)
		memcpy(s->netns, at + 1, strlen(at + 1) + 1);
	return 0;
}

static int link_path(struct lwr_link_spec *s, const char *v, char *err)
{
	size_t len = strlen(v);

	if (len == 0 || len >= sizeof(s->path))
		return bad(err, "--link %s: a socket's path has 1 to %zu bytes",
			   s->text, sizeof(s->path) - 1);
	memcpy(s->path, v, len + 1);
	return 0;
}

static int link_fd(struct lwr_link_spec *s, const char *v, char *err)
{
	return lwr__fd_parse("--link descriptor", v, &s->fd, err);
}

static const struct {
	const char *prefix;
	enum lwr_link_kind kind;
	int (*parse)(struct lwr_link_spec *s, const char *v, char *err);
} kinds[] = {
	{ "tap:", LWR_LINK_TAP, link_tap },
	{ "tap-fd:", LWR_LINK_TAP_FD, link_fd },
	{ "stream:", LWR_LINK_STREAM, link_path },
	{ "stream-fd:", LWR_LINK_STREAM_FD, link_fd },
	{ "dgram:", LWR_LINK_DGRAM, link_path },
	{ "dgram-fd:", LWR_LINK_DGRAM_FD, link_fd },
	{ "seqpacket:", LWR_LINK_SEQPACKET, link_path },
	{ "seqpacket-fd:", LWR_LINK_SEQPACKET_FD, link_fd },
};

int lwr__profile_set(struct lwr_link_spec *s, const char *name,
		     char err[LWR_ERROR_TEXT])
{
	const struct lwr_profile *p;
	char names[128] = "";
	size_t n = 0;

	if (s->kind == LWR_LINK_TAP || s->kind == LWR_LINK_TAP_FD)
		return bad(err, "a tap says itself what it can: no profile");
	s->profile = lwr__profile_find(name);
	if (s->profile)
		return 0;
	for (unsigned i = 0; (p = lwr__profile_at(i)) && n < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
				      i ? ", " : "", p->name);
	return bad(err, "'%.64s' is no profile (%s)", name, names);
}

int lwr__mtu_set(struct lwr_link_spec *s, uint64_t mtu,
		 char err[LWR_ERROR_TEXT])
{
	if (mtu < LWR_MTU_MIN || mtu > LWR_MTU_MAX)
		return bad(err, "the MTU is not from %d to %d", LWR_MTU_MIN,
			   LWR_MTU_MAX);
	s->mtu = (uint16_t)mtu;
	return 0;
}

/* One KEY=VALUE. */
static int link_option(struct lwr_link_spec *s, const char *word, char *err)
{
	const char *end;
	uint64_t mtu = 0;

	if (strncmp(word, "profile=", 8) == 0)
		return lwr__profile_set(s, word + 8, err);
	if (strncmp(word, "mtu=", 4) == 0) {
		if (lwr__digits_parse(word + 4, &mtu, &end) < 0 || *end)
			mtu = 0;
		return lwr__mtu_set(s, mtu, err);
	}
	return bad(err,
		   "'%.64s' is no option of a link (profile=NAME, mtu=BYTES; "
		   "a comma in a path is written twice)",
		   word);
}

static int link_options(struct lwr_link_spec *s, const char *rest, char *err)
{
	char word[WORD_MAX] = "", why[LWR_ERROR_TEXT];

	while (rest) {
		if (!next_word(&rest, word))
			return bad(err, "--link %.200s...: is too long",
				   s->text);
		if (link_option(s, word, why) < 0)
			return bad(err, "--link %.200s: %.280s", s->text, why);
	}
	return 0;
}

int lwr__link_parse(struct lwr_link_spec *s, const char *text,
		    char err[LWR_ERROR_TEXT])
{
	const char *rest = text;
	char word[WORD_MAX] = "";
	int r;

	if (!next_word(&rest, word))
		return bad(err, "--link %.200s...: is too long", text);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(word, kinds[i].prefix, len) != 0)
			continue;
		*s = (struct lwr_link_spec){ .kind = kinds[i].kind,
					     .text = text,
					     .fd = -1 };
		r = kinds[i].parse(s, word + len, err);
		return r < 0 ? r : link_options(s, rest, err);
	}
	return bad(err,
		   "--link: '%s' is no kind of link (tap:IFNAME[@NETNS], "
		   "tap-fd:N, stream:PATH, stream-fd:N, dgram:PATH, "
		   "dgram-fd:N, seqpacket:PATH or seqpacket-fd:N)",
		   text);
}

/* ---- --lease ------------------------------------------------------------- */

static int parse_mac(const char *text, const char **end, uint8_t mac[6])
{
	char *e;

	for (unsigned i = 0; i < 6; i++) {
		unsigned long n = strtoul(text, &e, 16);

		/* Two digits, and no sign or blank that strtoul() takes. */
		if (e != text + 2 || !isxdigit((unsigned char)*text))
			return -EINVAL;
		mac[i] = (uint8_t)n;
		if (i < 5 && *e != ':')
			return -EINVAL;
		text = e + (i < 5);
	}
	*end = text;
	return 0;
}

/* RFC 1123 2.1, without a domain. */
static bool host_name_valid(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-')
			return false;
	return len > 0 && len <= LWR_HOST_NAME_MAX && name[0] != '-' &&
	       name[len - 1] != '-';
}

static int parse_lease(const char *text, struct lwr_lease *l)
{
	char addr[LWR_ADDR_TEXT];
	size_t len;

	if (parse_mac(text, &text, l->mac) < 0 || *text != '=')
		return -EINVAL;
	text++;
	len = strcspn(text, ",");
	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (text[len]) {
		text += len + 1;
		if (!host_name_valid(text))
			return -EINVAL;
		memcpy(l->name, text, strlen(text) + 1);
	}
	return lwr__addr_parse(addr, &l->addr);
}

int lwr__lease_parse(struct lwr_net *net, const char *text,
		     char err[LWR_ERROR_TEXT])
{
	struct lwr_lease l = { 0 };

	if (parse_lease(text, &l) < 0)
		return bad(err,
			   "--lease: '%s' is not MAC=ADDR or "
			   "MAC=ADDR,NAME",
			   text);
	switch (lwr__net_add_lease(net, &l)) {
	case 0:
		return 0;
	case -EEXIST:
		return bad(err,
			   "--lease %s: that address, or one of its "
			   "family for that MAC, is given already",
			   text);
	case -ENOSPC:
		return bad(err, "--lease: more than %d", LWR_LEASES_MAX);
	default:
		return bad(err,
			   "--lease %s: no address of a guest in the "
			   "network of --subnet or --subnet6",
			   text);
	}
}

/* ---- --dns, --dns-name, --outbound --------------------------------------- */

int lwr__resolver_parse(struct lwr_config *c, const char *text,
			char err[LWR_ERROR_TEXT])
{
	switch (lwr__config_resolver(c, text)) {
	case 0:
		return 0;
	case -ENOSPC:
		return bad(err, "--dns: more than %d resolvers", LWR_DNS_MAX);
	default:
		return bad(err,
			   "--dns: '%s' is not ADDR, ADDR4:PORT or "
			   "[ADDR6]:PORT",
			   text);
	}
}

int lwr__dns_name_parse(struct lwr_config *c, const char *text,
			char err[LWR_ERROR_TEXT])
{
	const char *addr = strchr(text, '=');
	struct lwr_dns_name *n = &c->dns_name[c->dns_names];

	if (c->dns_names == LWR_DNS_NAMES_MAX)
		return bad(err, "--dns-name: more than %d names",
			   LWR_DNS_NAMES_MAX);
	if (!addr ||
	    lwr__dns_local_name(n->name, text, (size_t)(addr - text)) < 0 ||
	    lwr__addr_parse(addr + 1, &n->addr) < 0)
		return bad(err, "--dns-name: '%s' is not NAME=ADDR", text);
	c->dns_names++;
	return 0;
}

int lwr__outbound_parse(struct lwr_sock_from *from, const char *text,
			char err[LWR_ERROR_TEXT])
{
	struct sockaddr_storage ss;
	struct lwr_addr a;
	int e;

	if (lwr__addr_parse(text, &a) == 0) {
		(void)lwr__addr_to_sockaddr(&a, 0, &ss);
		if (lwr__addr_is4(&a))
			memcpy(&from->in, &ss, sizeof(from->in));
		else
			memcpy(&from->in6, &ss, sizeof(from->in6));
	} else if (*text && strlen(text) < sizeof(from->ifname)) {
		memcpy(from->ifname, text, strlen(text) + 1);
	} else {
		return bad(err, "--outbound: '%s' is no address or interface",
			   text);
	}
	e = lwr__sock_try_from(from);
	if (e)
		return bad(err, "--outbound: %s: %s", text, strerror(-e));
	return 0;
}
