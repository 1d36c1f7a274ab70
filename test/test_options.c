/* SPDX-License-Identifier: BSD-3-Clause */
/* The program is not in the library, so its command line is compiled in. */
#include "relay/options.c"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS_MAX = 128 };

static struct lwr_options opt;
static char err[LWR_ERROR_TEXT];

/* Parses "lwrelay" and the words up to NULL. */
static enum lwr_parsed parse_words(const char *const *words)
{
	char *argv[ARGS_MAX + 2] = { (char *)(uintptr_t) "lwrelay" };
	int argc = 1;

	while (words[argc - 1] && argc < ARGS_MAX) {
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
		argc++;
	}
	return lwr__options_parse(&opt, argc, argv, err);
}

#define PARSE(...) parse_words((const char *const[]){ __VA_ARGS__, NULL })
#define assert_bad(says, ...)                                         \
	do {                                                          \
		assert_int_equal(PARSE(__VA_ARGS__), LWR_PARSED_BAD); \
		if (!strstr(err, says))                               \
			fail_msg("'%s' is not in '%s'", says, err);   \
	} while (0)

static bool is_addr(const struct lwr_addr *a, const char *text)
{
	struct lwr_addr b;

	assert_int_equal(lwr__addr_parse(text, &b), 0);
	return lwr__addr_equal(a, &b);
}

static void table_defaults_equal_those_of_the_config(void **state)
{
	struct lwr_config c;

	(void)state;
	lwr__config_init(&c);
	assert_int_equal(PARSE("run", "true"), LWR_PARSED_OK);
	assert_memory_equal(&opt.config, &c, sizeof(c));
	assert_int_equal(opt.ready_fd, -1);
	assert_int_equal(opt.exit_fd, -1);
	assert_int_equal(opt.level, LWR_LOG_WARN);
	assert_false(opt.json);
}

static void default_addresses_are_slirps(void **state)
{
	struct lwr_config c;

	(void)state;
	lwr__config_init(&c);
	assert_true(is_addr(&c.net.gateway, "10.0.2.2"));
	assert_true(is_addr(&c.net.dns, "10.0.2.3"));
	assert_true(is_addr(&c.net.guest, "10.0.2.15"));
	assert_true(is_addr(&c.net.gateway6, "fd00::2"));
	assert_true(is_addr(&c.net.dns6, "fd00::3"));
	assert_true(is_addr(&c.net.guest6, "fd00::15"));
	assert_true(is_addr(&c.net.gateway6_ll, "fe80::2"));
	assert_int_equal(c.net.gateway_mac[0] & 3, 2);
}

static void subnets_place_gateway_dns_and_guest(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--subnet", "192.168.7.9/24", "--subnet6",
			       "fd12:3::/64", "true"),
			 LWR_PARSED_OK);
	assert_true(is_addr(&opt.config.net.gateway, "192.168.7.2"));
	assert_true(is_addr(&opt.config.net.guest, "192.168.7.15"));
	assert_true(is_addr(&opt.config.net.gateway6, "fd12:3::2"));
	assert_true(is_addr(&opt.config.net.guest6, "fd12:3::15"));
	assert_int_equal(PARSE("run", "--subnet=10.1.1.8/29", "true"),
			 LWR_PARSED_OK);
	assert_true(is_addr(&opt.config.net.gateway, "10.1.1.10"));
	assert_true(is_addr(&opt.config.net.dns, "10.1.1.11"));
	assert_true(is_addr(&opt.config.net.guest, "10.1.1.12"));
}

static void leases_are_checked_against_the_network(void **state)
{
	static const char *const odd[] = {
		"",
		"52:54:00:12:34:56",
		"52:54:00:12:34=10.0.2.20",
		"52:54:00:12:34:5=10.0.2.20",
		"52:54:00:12:34:56:78=10.0.2.20",
		"52:54:00:12:34:+6=10.0.2.20",
		"52:54:00:12:34:56=10.0.2",
		"52:54:00:12:34:56=10.0.2.20,",
		"52:54:00:12:34:56=10.0.2.20,a b",
		"52:54:00:12:34:56=10.0.2.20,-a",
	};
	const struct lwr_lease *l = opt.config.net.lease;

	(void)state;
	assert_int_equal(PARSE("serve", "--link", "tap:t0", "--lease",
			       "52:54:00:12:34:5F=192.168.7.20,box-1",
			       "--lease=52:54:00:12:34:5f=fd00::20", "--subnet",
			       "192.168.7.0/24"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.config.net.leases, 2);
	assert_memory_equal(l[0].mac, "\x52\x54\0\x12\x34\x5f", 6);
	assert_true(is_addr(&l[0].addr, "192.168.7.20"));
	assert_string_equal(l[0].name, "box-1");
	assert_true(is_addr(&l[1].addr, "fd00::20"));
	assert_string_equal(l[1].name, "");
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_bad("--lease: '", "serve", "--link", "tap:t0", "--lease",
			   odd[i]);
	assert_bad("no address of a guest", "serve", "--link", "tap:t0",
		   "--lease", "52:54:00:12:34:56=10.0.2.2");
	assert_bad("no address of a guest", "serve", "--link", "tap:t0",
		   "--lease", "52:54:00:12:34:56=10.0.3.20");
	assert_bad("given already", "serve", "--link", "tap:t0", "--lease",
		   "52:54:00:12:34:56=10.0.2.20", "--lease",
		   "52:54:00:12:34:57=10.0.2.20");
}

static void impossible_subnets_are_refused(void **state)
{
	static const char *const v4[] = { "10.0.2.0",	 "10.0.2.0/30",
					  "10.0.0.0/7",	 "10.0.2.0/33",
					  "fd00::/64",	 "127.0.0.0/24",
					  "224.0.0.0/8", "169.254.3.0/24",
					  "1.2.3/24",	 "" };
	static const char *const v6[] = { "fd00::/63", "fd00::", "10.0.2.0/24",
					  "ff02::/64", "fe80::/64" };

	(void)state;
	for (size_t i = 0; i < sizeof(v4) / sizeof(v4[0]); i++)
		assert_bad("--subnet: '", "run", "--subnet", v4[i], "true");
	for (size_t i = 0; i < sizeof(v6) / sizeof(v6[0]); i++)
		assert_bad("--subnet6: '", "run", "--subnet6", v6[i], "true");
}

static void values_follow_a_space_or_an_equals_sign(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--mtu", "9000", "--keep-alive=7",
			       "--connect-timeout=3", "--max-buffer", "64M",
			       "--busy-poll=100", "--no-ipv6",
			       "--host-loopback", "--map-root", "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.config.net.mtu, 9000);
	assert_int_equal(opt.config.keep_alive_s, 7);
	assert_int_equal(opt.config.connect_timeout_ms, 3000);
	assert_int_equal(opt.config.max_buffer, 64u << 20);
	assert_int_equal(opt.busy_poll_us, 100);
	assert_false(opt.config.net.ipv6);
	assert_true(opt.config.net.host_loopback);
	assert_true(opt.map_root);
}

static void bad_numbers_are_refused(void **state)
{
	static const char *const bad_mtu[] = {
		"",	 "abc",	  "1279",  "65521", "-1500",
		"1500x", " 1500", "+1500", "0x600", "99999999999999999999"
	};
	static const char *const bad_size[] = { "",
						"M",
						"1X",
						"1MM",
						"512K",
						"1",
						"-1",
						"99999999999999999999",
						"18446744073709551615G" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad_mtu) / sizeof(bad_mtu[0]); i++)
		assert_bad("--mtu: '", "run", "--mtu", bad_mtu[i], "true");
	for (size_t i = 0; i < sizeof(bad_size) / sizeof(bad_size[0]); i++)
		assert_bad("--max-buffer: '", "run", "--max-buffer",
			   bad_size[i], "true");
}

static void sizes_scale_by_1024(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--max-buffer=2048k", "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.config.max_buffer, 2u << 20);
	assert_int_equal(PARSE("run", "--max-buffer=3G", "true"),
			 LWR_PARSED_OK);
	assert_true(opt.config.max_buffer == 3ull << 30);
	assert_int_equal(PARSE("run", "--max-buffer=1048576", "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.config.max_buffer, 1u << 20);
}

static void resolvers_have_an_optional_port(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--dns", "9.9.9.9", "--dns=1.1.1.1:5353",
			       "--dns", "2620:fe::fe", "--dns",
			       "[2620:fe::9]:5300", "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.config.resolvers, 4);
	assert_int_equal(opt.config.resolver_port[0], 53);
	assert_int_equal(opt.config.resolver_port[1], 5353);
	assert_true(is_addr(&opt.config.resolver[2], "2620:fe::fe"));
	assert_int_equal(opt.config.resolver_port[2], 53);
	assert_true(is_addr(&opt.config.resolver[3], "2620:fe::9"));
	assert_int_equal(opt.config.resolver_port[3], 5300);
}

static void bad_resolvers_are_refused(void **state)
{
	static const char *const bad_dns[] = {
		"",	     "dns.example",   "1.1.1.1:",
		"1.1.1.1:0", "1.1.1.1:65536", "1.1.1.1:5x",
		"[::1",	     "[::1]5",	      "0.0.0.0",
		"::",	     "224.0.0.1",     ":53"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad_dns) / sizeof(bad_dns[0]); i++)
		assert_bad("--dns: '", "run", "--dns", bad_dns[i], "true");
	assert_bad("more than 4", "run", "--dns=1.1.1.1", "--dns=1.1.1.1",
		   "--dns=1.1.1.1", "--dns=1.1.1.1", "--dns=1.1.1.1", "true");
}

static void links_are_taken_apart(void **state)
{
	(void)state;
	assert_int_equal(PARSE("serve", "--link", "tap:tap0", "-l",
			       "tap:eth0@/run/netns/x", "--link=stream:/tmp/s",
			       "--link", "stream-fd:0", "--link", "tap-fd:1"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.links, 5);
	assert_int_equal(opt.link[0].kind, LWR_LINK_TAP);
	assert_string_equal(opt.link[0].ifname, "tap0");
	assert_string_equal(opt.link[0].netns, "");
	assert_string_equal(opt.link[1].ifname, "eth0");
	assert_string_equal(opt.link[1].netns, "/run/netns/x");
	assert_int_equal(opt.link[2].kind, LWR_LINK_STREAM);
	assert_string_equal(opt.link[2].path, "/tmp/s");
	assert_int_equal(opt.link[3].fd, 0);
	assert_int_equal(opt.link[4].kind, LWR_LINK_TAP_FD);
}

static void bad_links_are_refused(void **state)
{
	char path[128] = "stream:/";

	(void)state;
	memset(path + 8, 'x', 108);
	assert_bad("no kind of link", "serve", "--link", "eth:0");
	assert_bad("1 to 15", "serve", "--link", "tap:");
	assert_bad("1 to 15", "serve", "--link", "tap:sixteen_letters_");
	assert_bad("1 to 15", "serve", "--link", "tap:a/b");
	assert_bad("no namespace", "serve", "--link", "tap:a@");
	assert_bad("1 to 107", "serve", "--link", "stream:");
	assert_bad("1 to 107", "serve", "--link", path);
	assert_bad("not a file desc", "serve", "--link", "tap-fd:x");
	assert_bad("Bad file desc", "serve", "--link", "stream-fd:987654");
	assert_bad("no kind of link", "serve", "--link", "vhost-user:/tmp/x");
	assert_bad("no --link", "serve");
}

static void links_have_options(void **state)
{
	(void)state;
	assert_int_equal(PARSE("serve", "--link",
			       "stream:/tmp/s,profile=libkrun,mtu=9000", "-l",
			       "dgram:/tmp/d", "-l", "dgram-fd:0,profile=plain",
			       "-l", "seqpacket:@abstract", "-l",
			       "seqpacket-fd:1,mtu=1280", "-l",
			       "stream:/tmp/a,,b,,,mtu=1400", "-l",
			       "tap:t@/run/x,,y,mtu=65520"),
			 LWR_PARSED_OK);
	assert_string_equal(opt.link[0].path, "/tmp/s");
	assert_string_equal(opt.link[0].profile->name, "libkrun");
	assert_true(opt.link[0].profile->csum_g2h_trust);
	assert_int_equal(opt.link[0].mtu, 9000);
	assert_int_equal(opt.link[1].kind, LWR_LINK_DGRAM);
	assert_null(opt.link[1].profile);
	assert_int_equal(opt.link[1].mtu, 0);
	assert_int_equal(opt.link[2].kind, LWR_LINK_DGRAM_FD);
	assert_int_equal(opt.link[2].fd, 0);
	assert_int_equal(opt.link[3].kind, LWR_LINK_SEQPACKET);
	assert_string_equal(opt.link[3].path, "@abstract");
	assert_int_equal(opt.link[4].kind, LWR_LINK_SEQPACKET_FD);
	assert_int_equal(opt.link[4].mtu, 1280);
	assert_string_equal(opt.link[5].path, "/tmp/a,b,");
	assert_int_equal(opt.link[5].mtu, 1400);
	assert_string_equal(opt.link[6].netns, "/run/x,y");
	assert_int_equal(opt.link[6].mtu, 65520);
}

static void bad_link_options_are_refused(void **state)
{
	static char longest[2000] = "stream:";

	(void)state;
	memset(longest + 7, 'a', sizeof(longest) - 8);
	assert_bad("no profile (plain, qemu,", "serve", "-l",
		   "stream:/s,profile=vmware");
	assert_bad("a tap says itself", "serve", "-l", "tap:a,profile=qemu");
	assert_bad("1280 to 65520", "serve", "-l", "stream:/s,mtu=576");
	assert_bad("1280 to 65520", "serve", "-l", "stream:/s,mtu=65536");
	assert_bad("1280 to 65520", "serve", "-l", "stream:/s,mtu=x");
	assert_bad("1280 to 65520", "serve", "-l", "stream:/s,mtu=");
	assert_bad("no option of a link", "serve", "-l", "stream:/s,mtu");
	assert_bad("no option of a link", "serve", "-l", "stream:/s,");
	assert_bad("no option of a link", "serve", "-l", "stream:/a,b");
	assert_bad("1 to 107", "serve", "-l", "dgram:,mtu=1500");
	assert_bad("not a file desc", "serve", "-l", "dgram-fd:,mtu=1500");
	assert_bad("too long", "serve", "-l", longest);
}

static void too_many_links_are_refused(void **state)
{
	const char *words[2 * LWR_LINKS_MAX + 4] = { "serve" };
	size_t n = 1;

	(void)state;
	for (int i = 0; i <= LWR_LINKS_MAX; i++)
		words[n++] = "--link=stream:/tmp/x";
	assert_int_equal(parse_words(words), LWR_PARSED_BAD);
	assert_non_null(strstr(err, "more than 64"));
}

static void descriptors_must_be_open(void **state)
{
	char text[16];
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	snprintf(text, sizeof(text), "%d", fd);
	assert_int_equal(PARSE("run", "--ready-fd", text, "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.ready_fd, fd);
	close(fd);
	assert_bad("--ready-fd", "run", "--ready-fd", text, "true");
	assert_bad("Bad file desc", "run", "--exit-fd", text, "true");
}

static void commands_take_only_their_options(void **state)
{
	(void)state;
	assert_bad("not an option of serve", "serve", "--map-root");
	assert_bad("not an option of run", "run", "--one-off", "true");
	assert_bad("not an option of run", "run", "--link", "tap:x", "true");
	assert_bad("unknown option", "run", "--mtuu=5", "true");
	assert_bad("--mt: unknown", "run", "--mt=5", "true");
	assert_bad("unknown option", "run", "-x", "true");
	assert_bad("takes no argument", "run", "--no-ipv6=1", "true");
	assert_bad("is missing", "run", "--mtu");
	assert_bad("unknown command", "frob");
	assert_bad("--publish: '80x' is not", "run", "-p", "80x", "true");
	assert_bad("unexpected argument", "serve", "--link=tap:a", "b");
	assert_bad("no command", "run", "--");
	assert_bad("no command", "--mtu", "1500");
	assert_bad("argument is empty", "run", "--pid-file=", "true");
}

static void words_behind_the_dashes_are_the_command(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--no-ipv6", "--", "--mtu", "-h"),
			 LWR_PARSED_OK);
	assert_string_equal(opt.argv[0], "--mtu");
	assert_string_equal(opt.argv[1], "-h");
	assert_null(opt.argv[2]);
	assert_int_equal(PARSE("run", "ls", "--help"), LWR_PARSED_OK);
	assert_string_equal(opt.argv[1], "--help");
}

static void help_and_version_need_no_command(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--help"), LWR_PARSED_HELP);
	assert_int_equal(PARSE("-h"), LWR_PARSED_HELP);
	assert_int_equal(PARSE("serve", "--help"), LWR_PARSED_HELP);
	assert_int_equal(PARSE("--version"), LWR_PARSED_VERSION);
}

static void levels_and_formats_have_names(void **state)
{
	(void)state;
	assert_int_equal(PARSE("run", "--log-level=debug", "--log-format=json",
			       "true"),
			 LWR_PARSED_OK);
	assert_int_equal(opt.level, LWR_LOG_DEBUG);
	assert_true(opt.json);
	assert_bad("--log-level", "run", "--log-level=loud", "true");
	assert_bad("--log-format", "run", "--log-format=xml", "true");
	assert_false(opt.config.udp_any);
	assert_int_equal(PARSE("run", "--udp-filter=any", "true"),
			 LWR_PARSED_OK);
	assert_true(opt.config.udp_any);
	assert_bad("--udp-filter", "run", "--udp-filter=address", "true");
}

static char *slurp(const char *path)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

/* "--no-ipv6" as the manual page writes it: "\-\-no\-ipv6". */
static void roff_name(const char *name, char out[64])
{
	char *o = stpcpy(out, "\\-\\-");

	for (; *name; name++) {
		if (*name == '-')
			*o++ = '\\';
		*o++ = *name;
	}
	*o = '\0';
}

static void manual_page_describes_every_option(void **state)
{
	const struct lwr_option *row;
	const char *man = slurp("man/lwrelay.1");
	char name[64];

	(void)state;
	for (size_t i = 0; (row = lwr__options_row(i)); i++) {
		roff_name(row->name, name);
		if (!strstr(man, name))
			fail_msg("%s is not in man/lwrelay.1", name);
	}
}

static void help_fits_a_terminal_and_has_every_option(void **state)
{
	const struct lwr_option *row;
	char text[8192] = "", name[64];
	FILE *to = fmemopen(text, sizeof(text), "w");

	(void)state;
	assert_non_null(to);
	lwr__options_help(to);
	fclose(to);
	for (size_t i = 0; (row = lwr__options_row(i)); i++) {
		snprintf(name, sizeof(name), "--%s", row->name);
		assert_non_null(strstr(text, name));
	}
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strlen(line) > 80)
			fail_msg("too wide: %s", line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_defaults_equal_those_of_the_config),
		cmocka_unit_test(default_addresses_are_slirps),
		cmocka_unit_test(subnets_place_gateway_dns_and_guest),
		cmocka_unit_test(leases_are_checked_against_the_network),
		cmocka_unit_test(impossible_subnets_are_refused),
		cmocka_unit_test(values_follow_a_space_or_an_equals_sign),
		cmocka_unit_test(bad_numbers_are_refused),
		cmocka_unit_test(sizes_scale_by_1024),
		cmocka_unit_test(resolvers_have_an_optional_port),
		cmocka_unit_test(bad_resolvers_are_refused),
		cmocka_unit_test(links_are_taken_apart),
		cmocka_unit_test(bad_links_are_refused),
		cmocka_unit_test(links_have_options),
		cmocka_unit_test(bad_link_options_are_refused),
		cmocka_unit_test(too_many_links_are_refused),
		cmocka_unit_test(descriptors_must_be_open),
		cmocka_unit_test(commands_take_only_their_options),
		cmocka_unit_test(words_behind_the_dashes_are_the_command),
		cmocka_unit_test(help_and_version_need_no_command),
		cmocka_unit_test(levels_and_formats_have_names),
		cmocka_unit_test(manual_page_describes_every_option),
		cmocka_unit_test(help_fits_a_terminal_and_has_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
