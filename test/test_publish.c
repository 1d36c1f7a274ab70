/* SPDX-License-Identifier: BSD-3-Clause */
/* The argument of --publish, and whom the guest sees as the client. */
#include "relay/publish_priv.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* ---- SPEC ------------------------------------------------------------------ */

static struct lwr_publish_spec parsed(const char *text)
{
	char err[LWR_PUBLISH_ERROR] = "";
	struct lwr_publish_spec s;

	if (lwr__publish_parse(&s, text, err) < 0)
		fail_msg("%s", err);
	return s;
}

static void spec_forms(void **state)
{
	static const struct {
		const char *text;
		const char *addr; /* NULL: any */
		uint16_t first, last, guest;
		bool udp;
	} t[] = {
		{ "80", NULL, 80, 80, 0, false },
		{ "8080:80", NULL, 8080, 8080, 80, false },
		{ "53/udp", NULL, 53, 53, 0, true },
		{ "53/tcp", NULL, 53, 53, 0, false },
		{ "0:80", NULL, 0, 0, 80, false },
		{ "0", NULL, 0, 0, 0, false },
		{ "127.0.0.1:8080:80", "127.0.0.1", 8080, 8080, 80, false },
		{ "127.0.0.1:8080", "127.0.0.1", 8080, 8080, 0, false },
		{ "0.0.0.0:1-3/udp", "0.0.0.0", 1, 3, 0, true },
		{ "[::1]:8080:80", "::1", 8080, 8080, 80, false },
		{ "[::]:8080", "::", 8080, 8080, 0, false },
		{ "8000-8010", NULL, 8000, 8010, 0, false },
		{ "8000-8010:90", NULL, 8000, 8010, 90, false },
		{ "8000-8010:90-100", NULL, 8000, 8010, 90, false },
		{ "1-65535", NULL, 1, 65535, 0, false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct lwr_publish_spec s = parsed(t[i].text);

		assert_int_equal(s.any, t[i].addr == NULL);
		if (t[i].addr) {
			struct lwr_addr a = rig_addr(t[i].addr);

			assert_memory_equal(&s.addr, &a, sizeof(a));
		}
		assert_int_equal(s.first, t[i].first);
		assert_int_equal(s.last, t[i].last);
		assert_int_equal(s.guest, t[i].guest);
		assert_int_equal(s.udp, t[i].udp);
		assert_string_equal(s.path, "");
	}
}

static void spec_unix_socket(void **state)
{
	struct lwr_publish_spec s = parsed("unix:/run/a:b.sock:80");

	(void)state;
	assert_string_equal(s.path, "/run/a:b.sock");
	assert_int_equal(s.guest, 80);
	assert_int_equal(s.first, s.last);
}

static void spec_impossible_is_refused(void **state)
{
	static const char *const t[] = {
		"",
		"x",
		"80x",
		"65536",
		"-1",
		"80:",
		":80",
		"80:0",
		"80:1:2",
		"80:65536",
		"80-",
		"80-79",
		"0-10",
		"80-90:65530",
		"80-90:1-5",
		"80/sctp",
		"80/",
		"127.0.0.1",
		"127.0.0.1:",
		"1.2.3:80",
		"::1:80",
		"[::1]80",
		"[::1",
		"[127.0.0.1]:80",
		"[fe80::1%eth0]:80",
		"224.0.0.1:80",
		"[ff02::1]:80",
		" 80",
		"80 ",
		"host:80:80",
		"unix:",
		"unix::80",
		"unix:/a",
		"unix:/a:",
		"unix:/a:0",
		"unix:/a:65536",
		"unix:/a:8x",
		"0x50",
		"+80",
	};
	char err[LWR_PUBLISH_ERROR], many[600];
	struct lwr_publish_spec s;

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		err[0] = '\0';
		if (lwr__publish_parse(&s, t[i], err) == 0)
			fail_msg("taken: %s", t[i]);
		assert_non_null(strstr(err, t[i]));
	}
	memset(many, '1', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_int_not_equal(lwr__publish_parse(&s, many, err), 0);
	memcpy(many, "unix:/", 6);
	memcpy(many + 590, ":80", 4);
	assert_int_not_equal(lwr__publish_parse(&s, many, err), 0);
}

/* ---- the client that the guest sees ------------------------------------------ */

static struct rig *opened(void)
{
	static struct rig r;

	rig_init(&r);
	rig_open(&r);
	r.link.guest[0] = (struct lwr_guest_addr){ .addr = r.link.net->guest,
						   .known = true };
	r.link.guest[1] = (struct lwr_guest_addr){ .addr = r.link.net->guest6,
						   .known = true };
	return &r;
}

/* Whom a guest of family `six` sees for a client. */
static struct lwr_key seen(struct rig *r, const char *addr, int six)
{
	struct lwr_dest client = { rig_addr(addr), 5555 };
	struct lwr_key key;

	assert_true(lwr__publish_key(&r->link, six, 80, &client, NULL, &key));
	assert_int_equal(key.gport, 80);
	assert_int_equal(key.link, r->link.id);
	assert_true(lwr__addr_equal(&key.guest, six ? &r->link.net->guest6 :
						      &r->link.net->guest));
	return key;
}

static void check_seen(struct rig *r, const char *client, int six,
		       const char *as)
{
	struct lwr_key key = seen(r, client, six);
	char text[LWR_ADDR_TEXT];

	assert_string_equal(lwr__addr_text(&key.host, text), as);
	assert_int_equal(key.hport, 5555);
}

static void source_is_the_clients_where_it_can_be(void **state)
{
	struct rig *r = opened();

	(void)state;
	check_seen(r, "192.0.2.1", 0, "192.0.2.1");
	check_seen(r, "172.17.0.1", 0, "172.17.0.1");
	check_seen(r, "10.0.3.15", 0, "10.0.3.15");
	check_seen(r, "2001:db8::1", 1, "2001:db8::1");
	check_seen(r, "fd00:0:0:1::1", 1, "fd00:0:0:1::1");
	rig_close(r);
}

static void source_is_the_gateway_where_it_must_be(void **state)
{
	static const char *const four[] = { "127.0.0.1",   "127.3.2.1",
					    "10.0.2.15",   "10.0.2.2",
					    "10.0.2.3",	   "10.0.2.99",
					    "169.254.1.1", "0.0.0.1" };
	static const char *const six[] = { "::1", "fe80::1", "fd00::15",
					   "fd00::2", "fd00::99" };
	struct rig *r = opened();
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(four) / sizeof(*four); i++)
		check_seen(r, four[i], 0, "10.0.2.2");
	for (i = 0; i < sizeof(six) / sizeof(*six); i++)
		check_seen(r, six[i], 1, "fd00::2");
	/* Of the other family. */
	check_seen(r, "192.0.2.1", 1, "fd00::2");
	check_seen(r, "2001:db8::1", 0, "10.0.2.2");
	rig_close(r);
}

static void source_in_use_gets_another_port(void **state)
{
	struct rig *r = opened();
	struct lwr_demux_node own, gw, other;
	struct lwr_key key;

	(void)state;
	own.key = seen(r, "192.0.2.1", 0);
	lwr__demux_add(&r->stack.demux, &own);
	gw.key = seen(r, "192.0.2.1", 0);
	assert_true(lwr__addr_equal(&gw.key.host, &r->link.net->gateway));
	assert_int_equal(gw.key.hport, 5555);
	lwr__demux_add(&r->stack.demux, &gw);
	other.key = seen(r, "192.0.2.1", 0);
	assert_int_not_equal(other.key.hport, 5555);
	assert_true(other.key.hport >= 1024);
	/* A Unix socket's client has no port at all. */
	assert_true(lwr__publish_key(&r->link, 0, 80, NULL, NULL, &key));
	assert_true(lwr__addr_equal(&key.host, &r->link.net->gateway));
	assert_true(key.hport >= 1024);
	lwr__demux_remove(&r->stack.demux, &own);
	lwr__demux_remove(&r->stack.demux, &gw);
	rig_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spec_forms),
		cmocka_unit_test(spec_unix_socket),
		cmocka_unit_test(spec_impossible_is_refused),
		cmocka_unit_test(source_is_the_clients_where_it_can_be),
		cmocka_unit_test(source_is_the_gateway_where_it_must_be),
		cmocka_unit_test(source_in_use_gets_another_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
