/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	struct lwr_config config;
	struct lwr_dns dns;
	char dir[64];
	char path[96];
};

static int setup(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	lwr__config_init(&w.config);
	w.dns.config = &w.config;
	strcpy(w.dir, "/tmp/lwr-dns-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.path, sizeof(w.path), "%s/resolv.conf", w.dir);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	unlink(w->path);
	rmdir(w->dir);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void expect(const struct lwr_dns *d, unsigned i, const char *text,
		   uint16_t port)
{
	char buf[LWR_ADDR_TEXT];

	assert_true(i < d->count);
	assert_string_equal(lwr__addr_text(&d->resolver[i], buf), text);
	assert_int_equal(d->port[i], port);
}

static void parse_nameservers_in_order(void **state)
{
	struct world *w = *state;

	lwr__dns_parse(&w->dns, "# comment\n; another\n"
				"nameserver 192.0.2.1\n"
				"\tnameserver\t2001:db8::1   # trailing\r\n"
				"options ndots:5\n"
				"nameserver 192.0.2.3");
	assert_int_equal(w->dns.count, 3);
	expect(&w->dns, 0, "192.0.2.1", 53);
	expect(&w->dns, 1, "2001:db8::1", 53);
	expect(&w->dns, 2, "192.0.2.3", 53);
	assert_string_equal(w->dns.search, "");
}

static void parse_keeps_four(void **state)
{
	struct world *w = *state;

	lwr__dns_parse(&w->dns, "nameserver 1.1.1.1\nnameserver 1.1.1.2\n"
				"nameserver 1.1.1.3\nnameserver 1.1.1.4\n"
				"nameserver 1.1.1.5\n");
	assert_int_equal(w->dns.count, 4);
	expect(&w->dns, 3, "1.1.1.4", 53);
}

static void parse_skips_what_it_cannot_use(void **state)
{
	struct world *w = *state;

	lwr__dns_parse(&w->dns,
		       "nameserver\n"
		       "nameserver \n"
		       "nameserver localhost\n"
		       "nameserver 1.2.3\n"
		       "nameserver 0.0.0.0\n"
		       "nameserver 224.0.0.1\n"
		       "nameserver fe80::1%no-such-if\n"
		       "nameserver 111111111111111111111111111111111111111111"
		       "111111111111111111111111111111\n"
		       "nameserver4 1.1.1.1\n"
		       "#nameserver 1.1.1.2\n"
		       "nameserver 2001:db8::5%eth0\n");
	assert_int_equal(w->dns.count, 1);
	expect(&w->dns, 0, "2001:db8::5", 53);
}

static void parse_search_last_line_wins(void **state)
{
	struct world *w = *state;

	lwr__dns_parse(&w->dns, "search a.example b.example. # c.example\n");
	assert_string_equal(w->dns.search, "a.example b.example");
	assert_int_equal(lwr__dns_domain_len(&w->dns), 9);
	lwr__dns_parse(&w->dns, "search a.example\ndomain c.example d\n");
	assert_string_equal(w->dns.search, "c.example");
	lwr__dns_parse(&w->dns, "domain c.example\nsearch x y\n");
	assert_string_equal(w->dns.search, "x y");
	lwr__dns_parse(&w->dns, "search .\n");
	assert_string_equal(w->dns.search, "");
	assert_int_equal(lwr__dns_domain_len(&w->dns), 0);
}

static void parse_search_refuses_bad_names(void **state)
{
	struct world *w = *state;
	char line[400] = "search ";

	lwr__dns_parse(&w->dns, "search a..b .x ok a\\b \"q\" \x01\n");
	assert_string_equal(w->dns.search, "ok");
	memset(line + 7, 'a', 64);
	strcpy(line + 71, " b\n");
	lwr__dns_parse(&w->dns, line);
	assert_string_equal(w->dns.search, "b");
}

static void parse_search_is_bounded(void **state)
{
	struct world *w = *state;
	char text[2000] = "search";

	for (int i = 0; i < 100; i++)
		strcat(text, " abcdefgh.example");
	lwr__dns_parse(&w->dns, text);
	assert_true(strlen(w->dns.search) <= LWR_DOMAIN_MAX);
	assert_true(strlen(w->dns.search) > LWR_DOMAIN_MAX - 20);
}

static void given_resolvers_replace_the_files(void **state)
{
	struct world *w = *state;

	assert_int_equal(lwr__addr_parse("9.9.9.9", &w->config.resolver[0]), 0);
	w->config.resolver_port[0] = 5353;
	w->config.resolvers = 1;
	lwr__dns_parse(&w->dns, "nameserver 1.1.1.1\nsearch x\n");
	assert_int_equal(w->dns.count, 1);
	expect(&w->dns, 0, "9.9.9.9", 5353);
	assert_string_equal(w->dns.search, "x");
}

static void link_local_resolver_needs_its_interface(void **state)
{
	struct world *w = *state;
	struct sockaddr_storage ss;

	lwr__dns_parse(&w->dns, "nameserver fe80::1%lo\n"
				"nameserver fe80::2%no-such-if\n"
				"nameserver fe80::3\n"
				"nameserver fe80::4%7\n");
	assert_int_equal(w->dns.count, 2);
	expect(&w->dns, 1, "fe80::4", 53);
	assert_int_equal(lwr__dns_sockaddr(&w->dns, 1, &ss),
			 sizeof(struct sockaddr_in6));
	assert_int_equal(((struct sockaddr_in6 *)&ss)->sin6_scope_id, 7);
	lwr__dns_sockaddr(&w->dns, 0, &ss);
	assert_int_equal(((struct sockaddr_in6 *)&ss)->sin6_scope_id, 1);
}

static void generation_tells_of_other_resolvers_only(void **state)
{
	struct world *w = *state;
	uint32_t g;

	lwr__dns_parse(&w->dns, "nameserver 1.1.1.1\n");
	g = w->dns.generation;
	lwr__dns_parse(&w->dns, "# new\nnameserver 1.1.1.1\nsearch x\n");
	assert_int_equal(w->dns.generation, g);
	lwr__dns_parse(&w->dns, "nameserver 1.1.1.2\n");
	assert_int_not_equal(w->dns.generation, g);
}

static void search_wire_is_labels(void **state)
{
	static const uint8_t want[] = "\1a\7example\0\3foo\0\1b";
	struct world *w = *state;
	uint8_t buf[64];

	lwr__dns_parse(&w->dns, "search a.example foo b\n");
	assert_int_equal(lwr__dns_search_wire(&w->dns, buf, sizeof(buf)), 19);
	assert_memory_equal(buf, want, 19);
	/* Whole names only. */
	assert_int_equal(lwr__dns_search_wire(&w->dns, buf, 18), 16);
	assert_int_equal(lwr__dns_search_wire(&w->dns, buf, 10), 0);
	lwr__dns_parse(&w->dns, "");
	assert_int_equal(lwr__dns_search_wire(&w->dns, buf, 64), 0);
}

static void file_is_followed(void **state)
{
	struct world *w = *state;
	struct lwr_dns *d = &w->dns;
	char other[100];

	write_file(w->path, "nameserver 1.1.1.1\n");
	assert_int_equal(lwr__dns_init(d, &w->config, w->path), 0);
	expect(d, 0, "1.1.1.1", 53);
	/* Replaced as resolvconf does it. */
	snprintf(other, sizeof(other), "%s.new", w->path);
	write_file(other, "nameserver 2.2.2.2\n");
	d->stamp_ns--; /* files of one moment may have the same time */
	assert_int_equal(rename(other, w->path), 0);
	lwr__dns_refresh(d, 5000);
	expect(d, 0, "2.2.2.2", 53);
	/* Not looked at twice in a second. */
	write_file(w->path, "nameserver 3.3.3.3\n");
	d->stamp_ns--;
	lwr__dns_refresh(d, 5999);
	expect(d, 0, "2.2.2.2", 53);
	lwr__dns_refresh(d, 6000);
	expect(d, 0, "3.3.3.3", 53);
}

static void file_gone_keeps_what_is_known(void **state)
{
	struct world *w = *state;
	struct lwr_dns *d = &w->dns;

	write_file(w->path, "nameserver 1.1.1.1\n");
	assert_int_equal(lwr__dns_init(d, &w->config, w->path), 0);
	assert_int_equal(unlink(w->path), 0);
	lwr__dns_refresh(d, 5000);
	expect(d, 0, "1.1.1.1", 53);
	assert_int_equal(mkdir(w->path, 0700), 0);
	lwr__dns_refresh(d, 7000);
	expect(d, 0, "1.1.1.1", 53);
	assert_int_equal(rmdir(w->path), 0);
	write_file(w->path, "");
	lwr__dns_refresh(d, 9000);
	assert_int_equal(d->count, 0);
}

static void no_file_is_no_error(void **state)
{
	struct world *w = *state;

	assert_int_equal(lwr__dns_init(&w->dns, &w->config, w->path), 0);
	assert_int_equal(w->dns.count, 0);
	write_file(w->path, "nameserver 1.1.1.1\n");
	lwr__dns_refresh(&w->dns, 2000);
	assert_int_equal(w->dns.count, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parse_nameservers_in_order),
		TEST(parse_keeps_four),
		TEST(parse_skips_what_it_cannot_use),
		TEST(parse_search_last_line_wins),
		TEST(parse_search_refuses_bad_names),
		TEST(parse_search_is_bounded),
		TEST(given_resolvers_replace_the_files),
		TEST(link_local_resolver_needs_its_interface),
		TEST(generation_tells_of_other_resolvers_only),
		TEST(search_wire_is_labels),
		TEST(file_is_followed),
		TEST(file_gone_keeps_what_is_known),
		TEST(no_file_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
