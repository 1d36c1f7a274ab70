/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request is an object of which every key is known; one table says how each
 * is taken, in an order in which later ones may look at earlier ones. Answers
 * are made of our own words and of texts that are cut to printable ASCII, so
 * that making them cannot fail for what a client wrote.
 */
#include "relay/attach_parse.h"

#include "relay/options_link.h"

#include <errno.h>
#include <jansson.h>
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

/* ---- request ------------------------------------------------------------- */

static int set_kind(struct lwr_attach_request *r, const json_t *v, char *err)
{
	static const struct {
		const char *name;
		enum lwr_link_kind kind;
	} kinds[] = {
		{ "stream", LWR_LINK_STREAM_FD },
		{ "dgram", LWR_LINK_DGRAM_FD },
		{ "seqpacket", LWR_LINK_SEQPACKET_FD },
		{ "tap", LWR_LINK_TAP_FD },
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(json_string_value(v), kinds[i].name) == 0) {
			r->spec.kind = kinds[i].kind;
			return 0;
		}
	}
	return bad(err, "kind: not stream, dgram, seqpacket or tap");
}

/* It stands in lines of the log. */
static int set_name(struct lwr_attach_request *r, const json_t *v, char *err)
{
	const char *name = json_string_value(v);
	int n = snprintf(r->name, sizeof(r->name), "%s", name);

	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			return bad(err, "name: has a control character");
	if (n > 0 && (size_t)n < sizeof(r->name))
		return 0;
	return bad(err, "name: has 1 to %zu bytes", sizeof(r->name) - 1);
}

static int set_profile(struct lwr_attach_request *r, const json_t *v, char *err)
{
	char why[LWR_ERROR_TEXT];

	if (lwr__profile_set(&r->spec, json_string_value(v), why) == 0)
		return 0;
	return bad(err, "profile: %.400s", why);
}

static int set_mtu(struct lwr_attach_request *r, const json_t *v, char *err)
{
	json_int_t mtu = json_integer_value(v);
	char why[LWR_ERROR_TEXT];

	if (lwr__mtu_set(&r->spec, mtu < 0 ? 0 : (uint64_t)mtu, why) == 0)
		return 0;
	return bad(err, "mtu: %.400s", why);
}

static int set_subnet(struct lwr_attach_request *r, const json_t *v, char *err)
{
	struct lwr_prefix p;

	if (lwr__prefix_parse(json_string_value(v), &p, NULL) == 0 &&
	    lwr__net_subnet(&r->net, &p) == 0)
		return 0;
	return bad(err, "subnet: not an IPv4 network from /8 to /29");
}

static int set_subnet6(struct lwr_attach_request *r, const json_t *v, char *err)
{
	struct lwr_prefix p;

	if (lwr__prefix_parse(json_string_value(v), &p, NULL) == 0 &&
	    lwr__net_subnet6(&r->net, &p) == 0)
		return 0;
	return bad(err, "subnet6: not an IPv6 network of /64");
}

/* A host of the subnet that we do not need ourselves. */
static bool can_be_guest(const struct lwr_net *net, const struct lwr_addr *a)
{
	uint32_t hosts = (1u << (128 - net->subnet.len)) - 1;
	uint32_t host;

	if (!lwr__addr_is4(a) || !lwr__addr_in(a, &net->subnet))
		return false;
	host = lwr__addr_v4(a) & hosts;
	return host != 0 && host != hosts &&
	       !lwr__addr_equal(a, &net->gateway) &&
	       !lwr__addr_equal(a, &net->dns);
}

static int set_guest(struct lwr_attach_request *r, const json_t *v, char *err)
{
	struct lwr_addr a;

	if (lwr__addr_parse(json_string_value(v), &a) < 0 ||
	    !can_be_guest(&r->net, &a))
		return bad(err, "guest: not an IPv4 address for a guest of the "
				"subnet");
	r->net.guest = a;
	return 0;
}

static int set_ipv6(struct lwr_attach_request *r, const json_t *v, char *err)
{
	(void)err;
	r->net.ipv6 = r->net.ipv6 && json_is_true(v);
	return 0;
}

static int set_tied(struct lwr_attach_request *r, const json_t *v, char *err)
{
	(void)err;
	r->tied = json_is_true(v);
	return 0;
}

static const struct key {
	const char *name;
	json_type type; /* JSON_TRUE: either */
	int (*set)(struct lwr_attach_request *r, const json_t *v, char *err);
} keys[] = {
	{ "kind", JSON_STRING, set_kind },
	{ "name", JSON_STRING, set_name },
	{ "profile", JSON_STRING, set_profile },
	{ "mtu", JSON_INTEGER, set_mtu },
	{ "subnet", JSON_STRING, set_subnet },
	{ "guest", JSON_STRING, set_guest },
	{ "subnet6", JSON_STRING, set_subnet6 },
	{ "ipv6", JSON_TRUE, set_ipv6 },
	{ "tied", JSON_TRUE, set_tied },
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

static bool known(const char *name)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return true;
	return false;
}

static bool of_type(const json_t *v, json_type type)
{
	return type == JSON_TRUE ? json_is_boolean(v) : json_typeof(v) == type;
}

static int take(struct lwr_attach_request *r, json_t *object, char *err)
{
	const char *name;
	json_t *v;

	json_object_foreach(object, name, v)
	{
		if (!known(name))
			return bad(err, "'%.64s' is no key of a request", name);
	}
	if (!json_object_get(object, "kind"))
		return bad(err, "kind: is missing");
	for (unsigned i = 0; i < KEYS; i++) {
		v = json_object_get(object, keys[i].name);
		if (!v)
			continue;
		if (!of_type(v, keys[i].type))
			return bad(err, "%s: is not %s", keys[i].name,
				   keys[i].type == JSON_STRING	? "a string" :
				   keys[i].type == JSON_INTEGER ? "a number" :
								  "a boolean");
		if (keys[i].set(r, v, err) < 0)
			return -EINVAL;
	}
	return 0;
}

int lwr__attach_parse(struct lwr_attach_request *r, const char *line,
		      size_t len, const struct lwr_net *net,
		      char err[LWR_ERROR_TEXT])
{
	json_error_t why;
	json_t *object;
	int e;

	*r = (struct lwr_attach_request){ .net = *net };
	snprintf(r->name, sizeof(r->name), "guest");
	r->spec.text = r->name;
	r->spec.fd = -1;
	object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!object)
		return bad(err, "not JSON: %.*s", JSON_ERROR_TEXT_LENGTH,
			   why.text);
	e = json_is_object(object) ? take(r, object, err) :
				     bad(err, "not a JSON object");
	json_decref(object);
	return e;
}

/* ---- answer -------------------------------------------------------------- */

/* Writes it as a line, and gives it back. */
static size_t write_line(char out[LWR_ATTACH_ANSWER], json_t *object)
{
	size_t n = json_dumpb(object, out, LWR_ATTACH_ANSWER - 1, JSON_COMPACT);

	json_decref(object);
	if (n == 0 || n > LWR_ATTACH_ANSWER - 1)
		n = (size_t)snprintf(out, LWR_ATTACH_ANSWER, "{\"ok\":false}");
	out[n] = '\n';
	return n + 1;
}

static json_t *address(const struct lwr_addr *a)
{
	char text[LWR_ADDR_TEXT];

	return json_string(lwr__addr_text(a, text));
}

static json_t *prefix(const struct lwr_prefix *p)
{
	char text[LWR_ADDR_TEXT];
	int len = lwr__addr_is4(&p->net) ? p->len - 96 : p->len;

	return json_sprintf("%s/%d", lwr__addr_text(&p->net, text), len);
}

size_t lwr__attach_accepted(char out[LWR_ATTACH_ANSWER],
			    const struct lwr_link *link)
{
	const struct lwr_net *net = link->net;
	json_t *o = json_pack(
		"{s:b, s:I, s:i, s:o, s:o, s:o, s:o}", "ok", 1, "link",
		(json_int_t)link->number, "mtu", (int)link->caps.mtu, "subnet",
		prefix(&net->subnet), "guest", address(&net->guest), "gateway",
		address(&net->gateway), "dns", address(&net->dns));

	if (o && net->ipv6) {
		json_object_set_new(o, "subnet6", prefix(&net->subnet6));
		json_object_set_new(o, "gateway6", address(&net->gateway6));
		json_object_set_new(o, "dns6", address(&net->dns6));
	}
	return write_line(out, o);
}

size_t lwr__attach_refused(char out[LWR_ATTACH_ANSWER], const char *why)
{
	char text[LWR_ERROR_TEXT];
	size_t n = 0;

	for (; n < sizeof(text) - 1 && why[n]; n++) {
		text[n] = why[n];
		if (why[n] < ' ' || why[n] > '~')
			text[n] = '?';
	}
	text[n] = '\0';
	return write_line(out, json_pack("{s:b, s:s}", "ok", 0, "error", text));
}
