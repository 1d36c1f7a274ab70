/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each row of the table names the function that reads the option's argument,
 * the field it sets and the limits of that field. Defaults are texts that pass
 * through the same functions, so the help cannot lie about them.
 */
#include "relay/options.h"

#include "relay/options_link.h"
#include "relay/publish.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1ull << 30)
#define AT(field) offsetof(struct lwr_options, field)

/* X(name, letter, arg, command, parse, field, least, most, default, help) */
#define LWR_OPTIONS(X)                                                         \
	X("link", 'l', "LINK", SERVE, set_link, 0, 0, 0, NULL,                 \
	  "attach a guest, see above; may be repeated")                        \
	X("attach", 0, "PATH", SERVE, set_path, AT(attach), 0, 0, NULL,        \
	  "socket on which links are handed over")                             \
	X("max-links", 0, "N", SERVE, set_u32, AT(max_links), 1, 100000,       \
	  "1024", "links attached at once")                                    \
	X("mtu", 0, "BYTES", BOTH, set_u16, AT(config.net.mtu), LWR_MTU_MIN,   \
	  LWR_MTU_MAX, NULL, "MTU [1500; 65520 where a link cannot offload]")  \
	X("subnet", 0, "ADDR/LEN", BOTH, set_subnet, 0, 0, 0, "10.0.2.0/24",   \
	  "IPv4 network of the guest")                                         \
	X("subnet6", 0, "ADDR/64", BOTH, set_subnet6, 0, 0, 0, "fd00::/64",    \
	  "IPv6 network of the guest")                                         \
	X("lease", 0, "MAC=ADDR[,NAME]", SERVE, set_lease, 0, 0, 0, NULL,      \
	  "keep an address for one guest; repeatable")                         \
	X("no-ipv6", 0, NULL, BOTH, set_no_ipv6, 0, 0, 0, NULL,                \
	  "give the guest IPv4 only")                                          \
	X("dns", 0, "ADDR[:PORT]", BOTH, set_dns, 0, 0, 0, NULL,               \
	  "resolver to ask [the host's]; up to four")                          \
	X("dns-intercept", 0, NULL, BOTH, set_flag,                            \
	  AT(config.net.dns_intercept), 0, 0, NULL,                            \
	  "answer DNS queries to any address")                                 \
	X("dns-name", 0, "NAME=ADDR", BOTH, set_dns_name, 0, 0, 0, NULL,       \
	  "answer NAME with ADDR; may be repeated")                            \
	X("dns-cache", 0, "N", BOTH, set_u32, AT(config.dns_cache), 0,         \
	  LWR_DNS_CACHE_MAX, "1024", "DNS answers kept; 0: none")              \
	X("publish", 'p', "SPEC", BOTH, set_publish, 0, 0, 0, NULL,            \
	  "forward a port of the host, see above")                             \
	X("publish-wait", 0, "SEC", BOTH, set_seconds,                         \
	  AT(config.publish_wait_ms), 0, 3600, "2",                            \
	  "let its client wait for a guest that is not up")                    \
	X("host-loopback", 0, NULL, BOTH, set_flag,                            \
	  AT(config.net.host_loopback), 0, 0, NULL,                            \
	  "the gateway's address reaches the host's loopback")                 \
	X("service", 0, "PORT=unix:PATH", BOTH, set_service, 0, 0, 0, NULL,    \
	  "a port of the gateway reaches a Unix socket")                       \
	X("outbound", 0, "ADDR|IFNAME", BOTH, set_outbound, 0, 0, 0, NULL,     \
	  "the host's sockets leave from there")                               \
	X("connect-timeout", 0, "SEC", BOTH, set_seconds,                      \
	  AT(config.connect_timeout_ms), 1, 3600, "10",                        \
	  "give up on a silent destination")                                   \
	X("keep-alive", 0, "SEC", BOTH, set_u32, AT(config.keep_alive_s), 1,   \
	  86400, "120", "probe a connection silent this long")                 \
	X("udp-timeout", 0, "SEC", BOTH, set_u32, AT(config.udp_timeout_s), 1, \
	  86400, "180", "forget an answered UDP flow idle this long")          \
	X("udp-filter", 0, "WHO", BOTH, set_udp_filter, 0, 0, 0, "endpoint",   \
	  "who may answer: endpoint or any")                                   \
	X("max-flows", 0, "N", BOTH, set_u32, AT(config.max_flows), 1,         \
	  10000000, "100000", "TCP connections at once")                       \
	X("max-pending", 0, "N", BOTH, set_u32, AT(config.max_pending), 1,     \
	  1000000, "4096", "TCP connects in progress at once")                 \
	X("max-udp", 0, "N", BOTH, set_u32, AT(config.max_udp), 1, 1000000,    \
	  "4096", "UDP flows at once")                                         \
	X("max-buffer", 0, "SIZE", BOTH, set_size, AT(config.max_buffer),      \
	  1 << 20, 1024 * GIB, "1G",                                           \
	  "memory for payload of all flows (K, M, G)")                         \
	X("busy-poll", 0, "USEC", BOTH, set_u32, AT(busy_poll_us), 0, 1000000, \
	  "0", "poll so long before sleeping (0: while it pays)")              \
	X("map-root", 0, NULL, RUN, set_flag, AT(map_root), 0, 0, NULL,        \
	  "COMMAND sees itself as root")                                       \
	X("ready-fd", 0, "N", BOTH, set_fd, AT(ready_fd), 0, 0, NULL,          \
	  "write 1 to it and close it when ready")                             \
	X("exit-fd", 0, "N", BOTH, set_fd, AT(exit_fd), 0, 0, NULL,            \
	  "end when its other end is closed")                                  \
	X("pid-file", 0, "PATH", BOTH, set_text, AT(pid_file), 0, 0, NULL,     \
	  "write the process id there")                                        \
	X("one-off", '1', NULL, SERVE, set_flag, AT(one_off), 0, 0, NULL,      \
	  "end when the guest disconnects")                                    \
	X("stats", 0, "PATH", BOTH, set_text, AT(stats), 0, 0, NULL,           \
	  "write counters as JSON at the end (-: stderr)")                     \
	X("log-level", 0, "LEVEL", BOTH, set_level, 0, 0, 0, "warn",           \
	  "error, warn, info or debug")                                        \
	X("log-format", 0, "FORMAT", BOTH, set_format, 0, 0, 0, "text",        \
	  "text or json")                                                      \
	X("help", 'h', NULL, BOTH, NULL, 0, 0, 0, NULL, "print this")          \
	X("version", 'V', NULL, BOTH, NULL, 0, 0, 0, NULL, "print the version")

struct parse {
	struct lwr_options *o;
	char *err;
};

struct row {
	struct lwr_option pub;
	int (*parse)(struct parse *p, const struct row *r, const char *v);
	size_t field;
	uint64_t least, most;
};

__attribute__((format(printf, 2, 3))) static int bad(struct parse *p,
						     const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err, LWR_ERROR_TEXT, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void *field_of(const struct parse *p, const struct row *r)
{
	return (char *)p->o + r->field;
}

/* ---- arguments ---------------------------------------------------------- */

static int parse_number(struct parse *p, const struct row *r, const char *v,
			uint64_t *n)
{
	const char *end;

	if (lwr__digits_parse(v, n, &end) == 0 && *end == '\0' &&
	    *n >= r->least && *n <= r->most)
		return 0;
	return bad(p, "--%s: '%s' is not a number from %llu to %llu",
		   r->pub.name, v, (unsigned long long)r->least,
		   (unsigned long long)r->most);
}

static int set_u16(struct parse *p, const struct row *r, const char *v)
{
	uint64_t n;
	int err = parse_number(p, r, v, &n);

	if (!err)
		*(uint16_t *)field_of(p, r) = (uint16_t)n;
	return err;
}

static int set_u32(struct parse *p, const struct row *r, const char *v)
{
	uint64_t n;
	int err = parse_number(p, r, v, &n);

	if (!err)
		*(uint32_t *)field_of(p, r) = (uint32_t)n;
	return err;
}

/* Seconds, kept as milliseconds. */
static int set_seconds(struct parse *p, const struct row *r, const char *v)
{
	uint64_t n;
	int err = parse_number(p, r, v, &n);

	if (!err)
		*(uint32_t *)field_of(p, r) = (uint32_t)(n * 1000);
	return err;
}

static int set_size(struct parse *p, const struct row *r, const char *v)
{
	static const char units[] = "KMG";
	const char *end, *unit;
	uint64_t n, scale = 1;

	if (lwr__digits_parse(v, &n, &end) < 0)
		goto err;
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (*end && (!unit || !*unit || end[1]))
		goto err;
	for (; unit && unit >= units; unit--)
		scale *= 1024;
	if (n > r->most / scale || n * scale < r->least)
		goto err;
	*(uint64_t *)field_of(p, r) = n * scale;
	return 0;
err:
	return bad(p, "--%s: '%s' is not a size from 1M to 1024G", r->pub.name,
		   v);
}

static int set_flag(struct parse *p, const struct row *r, const char *v)
{
	(void)v;
	*(bool *)field_of(p, r) = true;
	return 0;
}

static int set_text(struct parse *p, const struct row *r, const char *v)
{
	if (*v == '\0')
		return bad(p, "--%s: the argument is empty", r->pub.name);
	*(const char **)field_of(p, r) = v;
	return 0;
}

/* A Unix socket's. */
static int set_path(struct parse *p, const struct row *r, const char *v)
{
	if (strlen(v) > LWR_UNIX_PATH_MAX)
		return bad(p, "--%s: a socket's path has at most %d bytes",
			   r->pub.name, LWR_UNIX_PATH_MAX);
	return set_text(p, r, v);
}

static int set_no_ipv6(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	(void)v;
	p->o->config.net.ipv6 = false;
	return 0;
}

static int set_fd(struct parse *p, const struct row *r, const char *v)
{
	char what[32];
	int *fd = field_of(p, r);

	snprintf(what, sizeof(what), "--%s", r->pub.name);
	return lwr__fd_parse(what, v, fd, p->err);
}

static int set_subnet(struct parse *p, const struct row *r, const char *v)
{
	struct lwr_prefix net;

	(void)r;
	if (lwr__prefix_parse(v, &net, NULL) == 0 &&
	    lwr__net_subnet(&p->o->config.net, &net) == 0)
		return 0;
	return bad(p, "--subnet: '%s' is not an IPv4 network from /8 to /29",
		   v);
}

static int set_subnet6(struct parse *p, const struct row *r, const char *v)
{
	struct lwr_prefix net;

	(void)r;
	if (lwr__prefix_parse(v, &net, NULL) == 0 &&
	    lwr__net_subnet6(&p->o->config.net, &net) == 0)
		return 0;
	return bad(p, "--subnet6: '%s' is not an IPv6 network of /64", v);
}

static int set_dns(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	return lwr__resolver_parse(&p->o->config, v, p->err);
}

/* Several addresses may be given to a name, one by one. */
static int set_dns_name(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	return lwr__dns_name_parse(&p->o->config, v, p->err);
}

static int set_level(struct parse *p, const struct row *r, const char *v)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	(void)r;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(v, names[i]) == 0) {
			p->o->level = (enum lwr_level)i;
			return 0;
		}
	}
	return bad(p, "--log-level: '%s' is not error, warn, info or debug", v);
}

static int set_format(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	p->o->json = strcmp(v, "json") == 0;
	if (p->o->json || strcmp(v, "text") == 0)
		return 0;
	return bad(p, "--log-format: '%s' is not text or json", v);
}

/* Kept as text: the network may be given after it. */
static int set_lease(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	if (p->o->leases == LWR_LEASES_MAX)
		return bad(p, "--lease: more than %d", LWR_LEASES_MAX);
	p->o->lease[p->o->leases++] = v;
	return 0;
}

static int add_leases(struct parse *p)
{
	int err = 0;

	for (unsigned i = 0; i < p->o->leases && !err; i++)
		err = lwr__lease_parse(&p->o->config.net, p->o->lease[i],
				       p->err);
	return err;
}

static int set_udp_filter(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	p->o->config.udp_any = strcmp(v, "any") == 0;
	if (p->o->config.udp_any || strcmp(v, "endpoint") == 0)
		return 0;
	return bad(p, "--udp-filter: '%s' is not endpoint or any", v);
}

static int set_service(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	if (p->o->services == LWR_SERVICES_MAX)
		return bad(p, "--service: more than %d", LWR_SERVICES_MAX);
	if (lwr__service_parse(&p->o->service[p->o->services++], v) < 0)
		return bad(p, "--service: '%s' is not PORT=unix:PATH", v);
	return 0;
}

/* An address of each family, or an interface. */
static int set_outbound(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	return lwr__outbound_parse(&p->o->config.outbound, v, p->err);
}

/* It is for the guest of the --link before it, or of the first. */
static int set_publish(struct parse *p, const struct row *r, const char *v)
{
	struct lwr_options *o = p->o;
	struct lwr_publish_option *to = &o->publish[o->publishes];
	char why[LWR_PUBLISH_ERROR];
	struct lwr_publish_spec spec;

	(void)r;
	if (o->publishes == LWR_PUBLISH_MAX)
		return bad(p, "--publish: more than %d", LWR_PUBLISH_MAX);
	if (lwr__publish_parse(&spec, v, why) < 0)
		return bad(p, "--publish: %s", why);
	*to = (struct lwr_publish_option){ v, o->links ? o->links - 1 : 0 };
	o->publishes++;
	return 0;
}

static int set_link(struct parse *p, const struct row *r, const char *v)
{
	(void)r;
	if (p->o->links == LWR_LINKS_MAX)
		return bad(p, "--link: more than %d links", LWR_LINKS_MAX);
	return lwr__link_parse(&p->o->link[p->o->links++], v, p->err);
}

/* ---- the table at work -------------------------------------------------- */

static const struct row rows[] = {
#define ROW(name, letter, arg, command, parse, field, least, most, def, help) \
	{ { name, letter, arg, LWR_##command, def, help },                    \
	  parse,                                                              \
	  field,                                                              \
	  least,                                                              \
	  most },
	LWR_OPTIONS(ROW)
#undef ROW
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

const struct lwr_option *lwr__options_row(size_t i)
{
	return i < ROWS ? &rows[i].pub : NULL;
}

static int set_defaults(struct parse *p)
{
	int err = 0;

	memset(p->o, 0, sizeof(*p->o));
	lwr__config_init(&p->o->config);
	p->o->ready_fd = -1;
	p->o->exit_fd = -1;
	for (unsigned i = 0; i < ROWS && !err; i++)
		if (rows[i].pub.def)
			err = rows[i].parse(p, &rows[i], rows[i].pub.def);
	return err;
}

/* The row of "--name", "--name=value" or "-x"; *value after the "=" or NULL. */
static const struct row *find_row(const char *word, const char **value)
{
	bool is_long = word[1] == '-';
	const char *name = word + 1 + is_long;
	size_t len = strcspn(name, "=");

	*value = name[len] ? name + len + 1 : NULL;
	for (unsigned i = 0; i < ROWS; i++) {
		const struct lwr_option *pub = &rows[i].pub;

		if (is_long && strlen(pub->name) == len &&
		    memcmp(pub->name, name, len) == 0)
			return &rows[i];
		if (!is_long && len == 1 && pub->letter == name[0])
			return &rows[i];
	}
	return NULL;
}

static enum lwr_parsed parse_one(struct parse *p, char **argv, int *i)
{
	const char *word = argv[*i], *value;
	const struct row *r = find_row(word, &value);
	int n = (int)strcspn(word, "=");

	if (!r) {
		bad(p, "%.*s: unknown option (try lwrelay --help)", n, word);
		return LWR_PARSED_BAD;
	}
	if (!r->parse)
		return r->pub.letter == 'h' ? LWR_PARSED_HELP :
					      LWR_PARSED_VERSION;
	if (!(r->pub.of & p->o->command)) {
		bad(p, "--%s: not an option of %s", r->pub.name,
		    p->o->command == LWR_RUN ? "run" : "serve");
		return LWR_PARSED_BAD;
	}
	if (r->pub.arg && !value)
		value = argv[++*i];
	if (r->pub.arg ? !value : value != NULL) {
		bad(p, "--%s: %s", r->pub.name,
		    r->pub.arg ? "its argument is missing" :
				 "it takes no argument");
		return LWR_PARSED_BAD;
	}
	return r->parse(p, r, value) < 0 ? LWR_PARSED_BAD : LWR_PARSED_OK;
}

static int set_command(struct parse *p, const char *word)
{
	if (strcmp(word, "serve") == 0)
		p->o->command = LWR_SERVE;
	else if (strcmp(word, "run") == 0)
		p->o->command = LWR_RUN;
	else
		return bad(p,
			   "%s: unknown command (run, serve, or try "
			   "lwrelay --help)",
			   word);
	return 0;
}

/* What is left after the options. */
static int check_rest(struct parse *p, char **rest)
{
	if (add_leases(p) < 0)
		return -EINVAL;
	if (p->o->command == LWR_RUN) {
		p->o->argv = rest;
		return *rest ? 0 :
			       bad(p, "run: no command (lwrelay run -- "
				      "COMMAND...)");
	}
	if (*rest)
		return bad(p, "%s: unexpected argument", *rest);
	if (p->o->links == 0 && !p->o->attach)
		return bad(p, "serve: no --link and no --attach (for example "
			      "--link stream:/tmp/guest.sock)");
	return 0;
}

enum lwr_parsed lwr__options_parse(struct lwr_options *o, int argc, char **argv,
				   char err[LWR_ERROR_TEXT])
{
	struct parse p = { o, err };
	enum lwr_parsed r;
	int i = 1;

	err[0] = '\0';
	if (set_defaults(&p) < 0)
		return LWR_PARSED_BAD;
	o->command = LWR_BOTH;
	if (argc > 1 && argv[1][0] != '-' && set_command(&p, argv[i++]) < 0)
		return LWR_PARSED_BAD;
	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		r = parse_one(&p, argv, &i);
		if (r != LWR_PARSED_OK)
			return r;
	}
	if (o->command == LWR_BOTH) {
		bad(&p, "no command (run, serve, or try lwrelay --help)");
		return LWR_PARSED_BAD;
	}
	return check_rest(&p, argv + i) < 0 ? LWR_PARSED_BAD : LWR_PARSED_OK;
}

static void help_row(FILE *to, const struct lwr_option *o)
{
	char head[40];

	snprintf(head, sizeof(head), "%s%c%s--%s%s%s", o->letter ? "-" : " ",
		 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
		 o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(to, "  %-26s %s", head, o->help);
	if (o->def)
		fprintf(to, " [%s]", o->def);
	fprintf(to, "%s\n",
		o->of == LWR_BOTH ? "" :
		o->of == LWR_RUN  ? " (run)" :
				    " (serve)");
}

void lwr__options_help(FILE *to)
{
	fputs("Usage: lwrelay run   [OPTION]... -- COMMAND...\n"
	      "       lwrelay serve [OPTION]... --link LINK...\n\n"
	      "run gives COMMAND a network namespace of its own, serve a "
	      "virtual machine or\nnamespace a network, without giving it the "
	      "host's network.\n\n"
	      "LINK is one of\n"
	      "  tap:IFNAME[@NETNS]   tap interface, in the namespace of a "
	      "PID, path or name\n"
	      "  tap-fd:N             an open tap descriptor\n"
	      "  stream:PATH          listening Unix socket for QEMU, libkrun "
	      "and others\n"
	      "  dgram:PATH           Unix datagram socket for libkrun, vfkit, "
	      "QEMU\n"
	      "  seqpacket:PATH       listening SOCK_SEQPACKET socket for User "
	      "Mode Linux\n"
	      "  stream-fd:N, dgram-fd:N, seqpacket-fd:N  an open one\n"
	      "and behind it, comma-separated:\n"
	      "  profile=NAME         what a socket's guest does: plain, qemu, "
	      "libkrun,\n"
	      "                       libkrun-raw\n"
	      "  mtu=BYTES            this link's MTU\n\n"
	      "SPEC of --publish, for the guest of the --link before it or of "
	      "the first, is\n"
	      "  [ADDR:]PORT[-END][:GUESTPORT][/udp]   PORT 0: the host chooses "
	      "one\n"
	      "  unix:PATH:GUESTPORT                   a Unix socket of the "
	      "host\n\n"
	      "Options:\n",
	      to);
	for (unsigned i = 0; i < ROWS; i++)
		help_row(to, &rows[i].pub);
}
