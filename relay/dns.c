/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which resolvers relay/dns_upstream.c asks: those given by --dns, or else those
 * in the host's resolv.conf.
 *
 * The file is followed by inotify (platform/resolv_watch.c), so that an idle
 * relay sleeps. Where the kernel has no watch left, a query looks at the time
 * of change, at most once a second. A file that cannot be read (it is being
 * replaced, or the host has none) leaves what is known.
 *
 * Rejected: libc's resolver, which reads the file once and cannot be asked
 * what it found.
 *
 * A link-local resolver needs its interface (fe80::1%eth0). Search domains are handed to guests by DHCP (RFC 3397) and
 * router advertisements (RFC 8106), so names that do not fit the wire format
 * are left out when the file is read.
 */
#include "relay/dns.h"

#include "core/list.h"
#include "core/pkt.h"
#include "platform/resolv.h"
#include "platform/resolv_watch.h"

#include <string.h>
#include <sys/epoll.h>

enum {
	DNS_PORT = 53,
	FILE_MAX = 16 * 1024,
	LOOK_EVERY_MS = 1000,
	LABEL_MAX = 63,
	NAME_MAX_TEXT = 253,
	SCOPE_TEXT = 16,
};

static const char blanks[] = " \t\r";

/* ---- search domains ------------------------------------------------------ */

static bool label_char(char c)
{
	return c > ' ' && c < 0x7f && c != '.' && c != '\\' && c != '"';
}

/* Labels of 1 to 63 characters; one dot at the end is allowed. */
static bool name_valid(const char *name, size_t len)
{
	size_t label = 0;

	if (len == 0 || len > NAME_MAX_TEXT)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!label_char(name[i]) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return true;
}

static void add_search(struct lwr_dns *d, const char *name, size_t len)
{
	size_t used = strlen(d->search);
	size_t gap = used ? 1 : 0;

	if (len > 1 && name[len - 1] == '.')
		len--;
	if (!name_valid(name, len) || len + gap > LWR_DOMAIN_MAX - used)
		return;
	if (gap)
		d->search[used] = ' ';
	memcpy(d->search + used + gap, name, len);
	d->search[used + gap + len] = '\0';
}

size_t lwr__dns_domain_len(const struct lwr_dns *d)
{
	return strcspn(d->search, " ");
}

/* Writes one name; c->bad if it does not fit. */
static void put_name(struct lwr_cursor *c, const char *name, size_t len)
{
	const char *end = name + len;
	size_t label;

	while (name < end) {
		const char *dot = memchr(name, '.', (size_t)(end - name));

		label = (size_t)((dot ? dot : end) - name);
		lwr__cursor_put_u8(c, (uint8_t)label);
		lwr__cursor_put_bytes(c, name, label);
		name += dot ? label + 1 : label;
	}
	lwr__cursor_put_u8(c, 0);
}

size_t lwr__dns_search_wire(const struct lwr_dns *d, void *buf, size_t len)
{
	struct lwr_cursor c = lwr__cursor(buf, len);
	const char *name = d->search;
	size_t used = 0;

	while (*name) {
		size_t n = strcspn(name, " ");

		put_name(&c, name, n);
		if (c.bad)
			break;
		used = len - c.left;
		name += n + (name[n] ? 1 : 0);
	}
	return used;
}

/* ---- resolv.conf --------------------------------------------------------- */

/* The next word of a line, at most up to its end. Returns its length. */
static size_t next_word(const char **at, const char *end)
{
	const char *p = *at;
	size_t n = 0;

	while (p < end && strchr(blanks, *p))
		p++;
	*at = p;
	while (p + n < end && !strchr(blanks, p[n]))
		n++;
	return n;
}

static bool is_word(const char *at, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(at, word, len) == 0;
}

static void add_resolver(struct lwr_dns *d, const char *word, size_t len)
{
	char text[LWR_ADDR_TEXT + SCOPE_TEXT];
	struct lwr_addr a;
	uint32_t index = 0;
	char *scope;

	if (d->config->resolvers || d->count == LWR_DNS_MAX ||
	    len >= sizeof(text))
		return;
	memcpy(text, word, len);
	text[len] = '\0';
	scope = strchr(text, '%');
	if (scope)
		*scope++ = '\0';
	if (lwr__addr_parse(text, &a) < 0 || lwr__addr_is_any(&a) ||
	    lwr__addr_is_multicast(&a))
		return;
	if (!lwr__addr_is4(&a) && lwr__addr_is_linklocal(&a)) {
		index = scope ? lwr__resolv_scope(scope) : 0;
		if (index == 0)
			return;
	}
	d->scope[d->count] = index;
	d->resolver[d->count] = a;
	d->port[d->count++] = DNS_PORT;
}

/* Of several domain and search lines the last one counts. */
static void parse_search(struct lwr_dns *d, const char *at, const char *end,
			 bool many)
{
	size_t n;

	d->search[0] = '\0';
	while ((n = next_word(&at, end)) > 0) {
		if (*at == '#' || *at == ';')
			break;
		add_search(d, at, n);
		at += n;
		if (!many)
			break;
	}
}

static void parse_line(struct lwr_dns *d, const char *at, const char *end)
{
	size_t n = next_word(&at, end);
	const char *arg = at + n;

	if (is_word(at, n, "nameserver")) {
		n = next_word(&arg, end);
		add_resolver(d, arg, n);
	} else if (is_word(at, n, "search")) {
		parse_search(d, arg, end, true);
	} else if (is_word(at, n, "domain")) {
		parse_search(d, arg, end, false);
	}
}

static void set_given(struct lwr_dns *d)
{
	const struct lwr_config *c = d->config;

	d->count = c->resolvers;
	for (unsigned i = 0; i < c->resolvers; i++) {
		d->resolver[i] = c->resolver[i];
		d->scope[i] = 0;
		d->port[i] = c->resolver_port[i] ? c->resolver_port[i] :
						   DNS_PORT;
	}
}

/* True if both would ask the same resolvers. */
static bool same_resolvers(const struct lwr_dns *a, const struct lwr_dns *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (!lwr__addr_equal(&a->resolver[i], &b->resolver[i]) ||
		    a->port[i] != b->port[i] || a->scope[i] != b->scope[i])
			return false;
	return true;
}

void lwr__dns_parse(struct lwr_dns *d, const char *text)
{
	struct lwr_dns old = *d;
	const char *end;

	set_given(d);
	d->search[0] = '\0';
	for (; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		parse_line(d, text, end);
	}
	if (!same_resolvers(d, &old))
		d->generation++;
}

/* An error leaves what is known. */
static void look(struct lwr_dns *d)
{
	char text[FILE_MAX], search[sizeof(d->search)];

	if (lwr__resolv_read(d->path, &d->stamp_ns, text, sizeof(text)) <= 0)
		return;
	memcpy(search, d->search, sizeof(search));
	lwr__dns_parse(d, text);
	if (d->on_search && strcmp(search, d->search) != 0)
		d->on_search(d);
}

int lwr__dns_init(struct lwr_dns *d, const struct lwr_config *config,
		  const char *path)
{
	*d = (struct lwr_dns){ .config = config, .path = path };
	d->watch.fd = -1;
	set_given(d);
	look(d);
	return 0;
}

socklen_t lwr__dns_sockaddr(const struct lwr_dns *d, unsigned i,
			    struct sockaddr_storage *ss)
{
	socklen_t len = lwr__addr_to_sockaddr(&d->resolver[i], d->port[i], ss);

	if (d->scope[i])
		((struct sockaddr_in6 *)ss)->sin6_scope_id = d->scope[i];
	return len;
}

/* ---- following the file -------------------------------------------------- */

/*
 * Something happened near the file, perhaps to a link on the way to it: the
 * watches are set anew, and then the file is read, so that nothing is missed
 * in between.
 */
static void on_event(struct lwr_watch *w, uint32_t events)
{
	struct lwr_dns *d = LWR_CONTAINER(w, struct lwr_dns, watch);

	(void)events;
	lwr__resolv_rewatch(w->fd, d->path);
	look(d);
}

void lwr__dns_follow(struct lwr_dns *d, struct lwr_loop *loop)
{
	int fd = lwr__resolv_watch(d->path);

	if (fd < 0)
		return; /* then lwr__dns_refresh() does it */
	d->loop = loop;
	d->watch = (struct lwr_watch){ fd, EPOLLIN, on_event };
	if (lwr__watch_start(loop, &d->watch) == 0) {
		look(d);
		return;
	}
	lwr__resolv_unwatch(fd);
	d->watch.fd = -1;
}

void lwr__dns_unfollow(struct lwr_dns *d)
{
	int fd = d->watch.fd;

	if (fd < 0)
		return;
	lwr__watch_stop(d->loop, &d->watch);
	lwr__resolv_unwatch(fd);
	d->watch.fd = -1;
}

void lwr__dns_refresh(struct lwr_dns *d, uint64_t now_ms)
{
	if (d->watch.fd >= 0 || now_ms - d->read_ms < LOOK_EVERY_MS)
		return;
	d->read_ms = now_ms;
	look(d);
}
