/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest asks the DNS address; policy sends that to one of the host's own
 * resolvers, and the query goes there untouched as an ordinary UDP or TCP
 * flow. This file only knows which resolver that is: the ones given by --dns,
 * or else those in the host's resolv.conf.
 *
 * The file is followed without a timer, so that an idle relay sleeps: a query
 * looks at its time of change, at most once a second. A file that cannot be
 * read (it is being replaced, or the host has none) leaves what is known.
 *
 * Rejected: libc's resolver, which reads the file once and cannot be asked
 * what it found.
 *
 * A link-local resolver (fe80::1%eth0) is skipped: a destination has no
 * interface here. Search domains are handed to guests by DHCP (RFC 3397) and
 * router advertisements (RFC 8106), so names that do not fit the wire format
 * are left out when the file is read.
 */
#include "relay/dns.h"

#include "core/pkt.h"
#include "platform/resolv.h"

#include <string.h>

enum {
	DNS_PORT = 53,
	FILE_MAX = 16 * 1024,
	LOOK_EVERY_MS = 1000,
	LABEL_MAX = 63,
	NAME_MAX_TEXT = 253,
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
	char text[LWR_ADDR_TEXT];
	const char *scope = memchr(word, '%', len);
	struct lwr_addr a;

	if (scope)
		len = (size_t)(scope - word);
	if (d->config->resolvers || d->count == LWR_DNS_MAX ||
	    len >= sizeof(text))
		return;
	memcpy(text, word, len);
	text[len] = '\0';
	if (lwr__addr_parse(text, &a) < 0 || lwr__addr_is_any(&a) ||
	    lwr__addr_is_multicast(&a) ||
	    (!lwr__addr_is4(&a) && lwr__addr_is_linklocal(&a)))
		return;
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
		d->port[i] = c->resolver_port[i] ? c->resolver_port[i] :
						   DNS_PORT;
	}
}

void lwr__dns_parse(struct lwr_dns *d, const char *text)
{
	const char *end;

	set_given(d);
	d->search[0] = '\0';
	for (; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		parse_line(d, text, end);
	}
}

/* An error leaves what is known. */
static void look(struct lwr_dns *d)
{
	char text[FILE_MAX];

	if (lwr__resolv_read(d->path, &d->stamp_ns, text, sizeof(text)) > 0)
		lwr__dns_parse(d, text);
}

int lwr__dns_init(struct lwr_dns *d, const struct lwr_config *config,
		  const char *path)
{
	*d = (struct lwr_dns){ .config = config, .path = path };
	set_given(d);
	look(d);
	return 0;
}

void lwr__dns_refresh(struct lwr_dns *d, uint64_t now_ms)
{
	if (now_ms - d->read_ms < LOOK_EVERY_MS)
		return;
	d->read_ms = now_ms;
	look(d);
}

bool lwr__dns_resolver(const struct lwr_dns *d, struct lwr_addr *addr,
		       uint16_t *port)
{
	if (d->count == 0)
		return false;
	*addr = d->resolver[0];
	*port = d->port[0];
	return true;
}
