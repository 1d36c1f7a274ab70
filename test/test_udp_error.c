/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/csum.h"
#include "test/udp_world.h"

/* ---- refusals ------------------------------------------------------------ */

static void expect_unreachable(struct world *w, const char *from, uint8_t type,
			       uint8_t code, const char *src, uint16_t sport,
			       const char *dst, uint16_t dport)
{
	const struct rig_frame *f = rig_frame(&w->rig, 0);
	struct lwr_addr a = rig_addr(from), s = rig_addr(src);
	bool four = lwr__addr_is4(&a);
	struct lwr_cursor c;
	uint8_t quoted[16];
	struct lwr_addr d = rig_addr(dst);
	size_t len;

	assert_int_equal(w->rig.frames, 1);
	assert_int_equal(f->data[f->pkt.l4], type);
	assert_int_equal(f->data[f->pkt.l4 + 1], code);
	assert_true(lwr__addr_equal(&f->pkt.src, &a));
	assert_true(lwr__addr_equal(&f->pkt.dst, &s));
	c = lwr__cursor(rig_payload(f, &len), 48);
	lwr__cursor_bytes(&c, NULL, four ? 12 : 8);
	lwr__cursor_bytes(&c, quoted, four ? 4 : 16);
	assert_memory_equal(quoted, s.b + (four ? 12 : 0), four ? 4 : 16);
	lwr__cursor_bytes(&c, quoted, four ? 4 : 16);
	assert_memory_equal(quoted, d.b + (four ? 12 : 0), four ? 4 : 16);
	assert_int_equal(lwr__cursor_u16(&c), sport);
	assert_int_equal(lwr__cursor_u16(&c), dport);
	rig_clear(&w->rig);
}

static void denied_destinations_are_prohibited(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "169.254.169.254", 80, "a");
	expect_unreachable(w, "10.0.2.2", 3, 13, "10.0.2.15", 4000,
			   "169.254.169.254", 80);
	say(w, "fd00::15", 4000, "::1", 80, "a");
	expect_unreachable(w, "fd00::2", 1, 1, "fd00::15", 4000, "::1", 80);
	assert_int_equal(stats(w)->udp_denied, 2);
	assert_int_equal(host.opened, 0);
	assert_int_equal(stats(w)->udp_opened, 0);
}

static void closed_gateway_ports_are_unreachable(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	expect_unreachable(w, "10.0.2.2", 3, 3, "10.0.2.15", 4000, "10.0.2.2",
			   7);
	say(w, "fd00::15", 4000, "fd00::3", 7, "a");
	expect_unreachable(w, "fd00::3", 1, 4, "fd00::15", 4000, "fd00::3", 7);
}

static void groups_are_dropped_without_a_word(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 5353, "224.0.0.251", 5353, "a");
	say(w, "10.0.2.15", 138, "255.255.255.255", 138, "a");
	say(w, "fd00::15", 5353, "ff02::fb", 5353, "a");
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_denied, 3);
	assert_int_equal(stats(w)->udp_opened, 0);
}

static void foreign_sources_are_dropped(void **state)
{
	struct world *w = *state;

	say(w, "192.0.2.9", 4000, "192.0.2.1", 7, "a");
	say(w, "0.0.0.0", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.2", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 0, "192.0.2.1", 7, "a");
	say(w, "2001:db8::9", 4000, "2001:db8::1", 7, "a");
	assert_int_equal(stats(w)->drop_source, 5);
	assert_int_equal(host.opened, 0);
}

static void errno_of_sending_is_told(void **state)
{
	static const struct {
		int err;
		const char *from;
		uint8_t code;
	} t[] = { { -ENETUNREACH, "10.0.2.2", 0 },
		  { -EHOSTUNREACH, "10.0.2.2", 1 },
		  { -ECONNREFUSED, "192.0.2.1", 3 },
		  { -EACCES, "10.0.2.2", 13 },
		  { -EPERM, "10.0.2.2", 13 } };
	struct world *w = *state;

	for (size_t i = 0; i < 5; i++) {
		host.send_error = t[i].err;
		say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
		expect_unreachable(w, t[i].from, 3, t[i].code, "10.0.2.15",
				   4000, "192.0.2.1", 7);
	}
	host.send_error = -EAGAIN;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_full, 1);
	assert_int_equal(stats(w)->drop_memory, 0);
}

static void host_without_ipv6_is_unreachable(void **state)
{
	struct world *w = *state;

	host.no_ipv6 = true;
	say(w, "fd00::15", 4000, "2001:db8::1", 7, "a");
	expect_unreachable(w, "fd00::2", 1, 0, "fd00::15", 4000, "2001:db8::1",
			   7);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void report(struct world *w, const char *to, uint16_t port, int err)
{
	struct host_sock *s = sock_of(host.fd);
	struct lwr_addr a = rig_addr(to);

	s->error.err = err;
	s->error.len = 4;
	(void)lwr__addr_to_sockaddr(&a, port, &s->error.to);
	s->has_error = true;
	s->pending = -err;
	tell(s, EPOLLERR);
	run(w);
}

static void reports_become_icmp_with_the_guests_packet(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	report(w, "192.0.2.1", 7, ECONNREFUSED);
	expect_unreachable(w, "192.0.2.1", 3, 3, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report(w, "192.0.2.1", 7, EHOSTUNREACH);
	expect_unreachable(w, "10.0.2.2", 3, 1, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report(w, "192.0.2.1", 7, EACCES);
	expect_unreachable(w, "10.0.2.2", 3, 13, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	/* Not a destination of this flow; nothing that a guest is told. */
	report(w, "192.0.2.2", 7, ECONNREFUSED);
	report(w, "192.0.2.1", 7, 0);
	assert_int_equal(w->rig.frames, 0);
}

static void report_names_what_the_guest_wrote(void **state)
{
	struct world *w = *state;

	w->rig.config.net.host_loopback = true;
	say(w, "fd00::15", 4000, "fd00::2", 53, "a");
	report(w, "::1", 53, ECONNREFUSED);
	report(w, "127.0.0.1", 53, ECONNREFUSED);
	expect_unreachable(w, "fd00::2", 1, 4, "fd00::15", 4000, "fd00::2", 53);
}

static void datagrams_behind_a_report_are_read(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	sock_of(host.fd)->pending = -ECONNREFUSED;
	arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "b");
}

/* ---- TTL, DF, path MTU ------------------------------------------------------ */

static void say_ip(struct world *w, uint8_t ttl, bool df)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t n = rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, "a", 1);
	uint16_t sum;

	frame[14 + 6] = df ? 0x40 : 0;
	frame[14 + 8] = ttl;
	memset(frame + 14 + 10, 0, 2);
	sum = lwr__csum(0, frame + 14, 20);
	memcpy(frame + 14 + 10, &sum, 2);
	rig_send(&w->rig, frame, n);
	run(w);
}

static void ttl_and_df_of_the_guest_go_on(void **state)
{
	struct world *w = *state;

	say_ip(w, 64, true);
	assert_int_equal(host.ttl, 63);
	assert_true(host.df);
	say_ip(w, 2, true);
	assert_int_equal(host.ttl, 1);
	assert_int_equal(host.df_calls, 1);
	say_ip(w, 255, false);
	assert_int_equal(host.ttl, 254);
	assert_false(host.df);
	assert_int_equal(host.df_calls, 2);
	/* The host's own are not behind a hop. */
	w->rig.config.net.host_loopback = true;
	say(w, "10.0.2.15", 4001, "10.0.2.2", 53, "q");
	assert_int_equal(host.ttl, 0);
	assert_false(host.df);
	say(w, "fd00::15", 4000, "2001:db8::1", 7, "six");
	assert_int_equal(host.ttl, 63);
	assert_true(host.df);
}

static uint32_t rest_of(const struct rig_frame *f)
{
	struct lwr_cursor c = lwr__cursor(f->data + f->pkt.l4 + 4, 4);

	return lwr__cursor_u32(&c);
}

static void too_large_for_the_hosts_path_is_told_with_the_mtu(void **state)
{
	struct world *w = *state;

	host.send_error = -EMSGSIZE;
	host.report = (struct lwr_sock_error){ .err = EMSGSIZE,
					       .local = true,
					       .mtu = 1400 };
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(rest_of(rig_frame(&w->rig, 0)), 1400);
	expect_unreachable(w, "10.0.2.2", 3, 4, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	say(w, "fd00::15", 4000, "2001:db8::1", 7, "a");
	assert_int_equal(rest_of(rig_frame(&w->rig, 0)), 1400);
	expect_unreachable(w, "fd00::2", 2, 0, "fd00::15", 4000, "2001:db8::1",
			   7);
}

static void report_by(struct world *w, const char *to, const char *by, int err,
		      uint32_t mtu)
{
	struct host_sock *s = sock_of(host.fd);
	struct lwr_addr a = rig_addr(by);

	s->error = (struct lwr_sock_error){ .mtu = mtu };
	(void)lwr__addr_to_sockaddr(&a, 0, &s->error.by);
	report(w, to, 7, err);
}

static void routers_report_comes_from_the_router(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	report_by(w, "192.0.2.1", "198.51.100.9", ETIME, 0);
	expect_unreachable(w, "198.51.100.9", 11, 0, "10.0.2.15", 4000,
			   "192.0.2.1", 7);
	report_by(w, "192.0.2.1", "198.51.100.9", EMSGSIZE, 1280);
	assert_int_equal(rest_of(rig_frame(&w->rig, 0)), 1280);
	expect_unreachable(w, "198.51.100.9", 3, 4, "10.0.2.15", 4000,
			   "192.0.2.1", 7);
	report_by(w, "192.0.2.1", "192.0.2.1", ECONNREFUSED, 0);
	expect_unreachable(w, "192.0.2.1", 3, 3, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report_by(w, "192.0.2.1", "192.0.2.1", ENOPROTOOPT, 0);
	expect_unreachable(w, "192.0.2.1", 3, 2, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	/* Nobody that a guest may hear of: the gateway speaks. */
	report_by(w, "192.0.2.1", "127.0.0.1", EHOSTUNREACH, 0);
	expect_unreachable(w, "10.0.2.2", 3, 1, "10.0.2.15", 4000, "192.0.2.1",
			   7);
	report_by(w, "192.0.2.1", "10.0.2.15", EHOSTUNREACH, 0);
	expect_unreachable(w, "10.0.2.2", 3, 1, "10.0.2.15", 4000, "192.0.2.1",
			   7);
}

static void errors_are_bounded_in_rate(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3000; i++) {
		say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
		rig_clear(&w->rig);
	}
	assert_int_equal(stats(w)->icmp_sent, 1000);
	assert_int_equal(stats(w)->icmp_limited, 2000);
	wait_ms(w, 500);
	for (int i = 0; i < 3000; i++) {
		say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
		rig_clear(&w->rig);
	}
	assert_int_equal(stats(w)->icmp_sent, 1500);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(denied_destinations_are_prohibited),
		TEST(closed_gateway_ports_are_unreachable),
		TEST(groups_are_dropped_without_a_word),
		TEST(foreign_sources_are_dropped),
		TEST(errno_of_sending_is_told),
		TEST(host_without_ipv6_is_unreachable),
		TEST(reports_become_icmp_with_the_guests_packet),
		TEST(report_names_what_the_guest_wrote),
		TEST(datagrams_behind_a_report_are_read),
		TEST(ttl_and_df_of_the_guest_go_on),
		TEST(too_large_for_the_hosts_path_is_told_with_the_mtu),
		TEST(routers_report_comes_from_the_router),
		TEST(errors_are_bounded_in_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
