/* SPDX-License-Identifier: BSD-3-Clause */
/* Echo to external hosts. */
#include "core/csum.h"
#include "test/udp_world.h"

enum { ID = 0x4142, SEQ = 7 };

static size_t make_echo(uint8_t *l4, uint8_t type, uint16_t id, size_t data)
{
	struct lwr_cursor c = lwr__cursor(l4, 8);

	lwr__cursor_put_u8(&c, type);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_u16(&c, id);
	lwr__cursor_put_u16(&c, SEQ);
	for (size_t i = 0; i < data; i++)
		l4[8 + i] = (uint8_t)(i * 3 + i / 250);
	return 8 + data;
}

static void ping(struct world *w, const char *src, const char *dst, uint16_t id,
		 uint8_t ttl, size_t data)
{
	static uint8_t frame[RIG_FRAME_MAX], l4[RIG_FRAME_MAX];
	bool four = !strchr(src, ':');
	size_t len = make_echo(l4, four ? 8 : 128, id, data);

	len = rig_ip(frame, src, dst, four ? LWR_PROTO_ICMP : LWR_PROTO_ICMP6,
		     ttl, l4, len);
	rig_send(&w->rig, frame, len);
	run(w);
}

/* A reply as the kernel hands it over: with its own identifier. */
static void pong(const char *from, uint8_t type, size_t data)
{
	static uint8_t l4[RIG_FRAME_MAX];
	size_t len = make_echo(l4, type, 0x9999, data);

	arrive(host.fd, from, 0, l4, len);
}

static void expect_pong(struct world *w, const char *from, const char *to,
			uint16_t id, size_t data)
{
	static uint8_t want[RIG_FRAME_MAX];
	const struct rig_frame *f = rig_frame(&w->rig, 0);
	struct lwr_addr s = rig_addr(from), d = rig_addr(to);
	uint8_t type = lwr__addr_is4(&s) ? 0 : 129;
	size_t len = make_echo(want, type, id, data);

	assert_int_equal(w->rig.frames, 1);
	assert_true(lwr__addr_equal(&f->pkt.src, &s));
	assert_true(lwr__addr_equal(&f->pkt.dst, &d));
	assert_int_equal(f->pkt.l4_len, len);
	assert_int_equal(f->data[f->pkt.l4], type);
	assert_memory_equal(f->data + f->pkt.l4 + 4, want + 4, len - 4);
	rig_clear(&w->rig);
}

static void echo_comes_back_with_the_guests_identifier(void **state)
{
	static const size_t sizes[] = { 0, 1, 56, 1452 };
	struct world *w = *state;

	for (size_t i = 0; i < 4; i++) {
		ping(w, "10.0.2.15", "192.0.2.1", ID, 64, sizes[i]);
		expect_sent_bytes("192.0.2.1", 0, 8 + sizes[i]);
		pong("192.0.2.1", 0, sizes[i]);
		run(w);
		expect_pong(w, "192.0.2.1", "10.0.2.15", ID, sizes[i]);
		ping(w, "fd00::15", "2001:db8::1", ID, 64, sizes[i]);
		expect_sent_bytes("2001:db8::1", 0, 8 + sizes[i]);
		pong("2001:db8::1", 129, sizes[i]);
		run(w);
		expect_pong(w, "2001:db8::1", "fd00::15", ID, sizes[i]);
	}
	assert_int_equal(host.opened, 2);
	assert_int_equal(stats(w)->echo_live, 2);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void one_socket_for_an_identifier(void **state)
{
	struct world *w = *state;

	ping(w, "10.0.2.15", "192.0.2.1", 1, 64, 8);
	ping(w, "10.0.2.15", "192.0.2.2", 1, 64, 8);
	assert_int_equal(host.opened, 1);
	ping(w, "10.0.2.15", "192.0.2.1", 2, 64, 8);
	assert_int_equal(host.opened, 2);
}

static void strangers_are_not_heard(void **state)
{
	struct world *w = *state;

	w->rig.config.udp_any = true;
	ping(w, "10.0.2.15", "192.0.2.1", ID, 64, 8);
	pong("192.0.2.2", 0, 8);
	pong("192.0.2.1", 3, 8);
	run(w);
	assert_int_equal(w->rig.frames, 0);
}

static void ttl_goes_on_one_less(void **state)
{
	struct world *w = *state;

	ping(w, "10.0.2.15", "192.0.2.1", ID, 5, 8);
	assert_int_equal(host.ttl, 4);
	ping(w, "fd00::15", "2001:db8::1", ID, 2, 8);
	assert_int_equal(host.ttl, 1);
}

static void report(struct world *w, const char *to, const char *by, int err)
{
	struct host_sock *s = sock_of(host.fd);
	struct lwr_addr a = rig_addr(to), b = rig_addr(by);

	s->error = (struct lwr_sock_error){ .err = err, .len = 8 };
	(void)lwr__addr_to_sockaddr(&a, 0, &s->error.to);
	(void)lwr__addr_to_sockaddr(&b, 0, &s->error.by);
	s->has_error = true;
	tell(s, EPOLLERR);
	run(w);
}

static void errors_quote_the_guests_identifier(void **state)
{
	struct world *w = *state;
	const struct rig_frame *f;
	struct lwr_addr router = rig_addr("198.51.100.9");
	const uint8_t *quote;
	struct lwr_cursor c;
	size_t len;

	ping(w, "10.0.2.15", "192.0.2.1", ID, 2, 8);
	report(w, "192.0.2.1", "198.51.100.9", ETIME);
	f = rig_frame(&w->rig, 0);
	assert_true(lwr__addr_equal(&f->pkt.src, &router));
	assert_int_equal(f->data[f->pkt.l4], 11);
	quote = rig_payload(f, &len);
	c = lwr__cursor(quote, len);
	lwr__cursor_bytes(&c, NULL, 9);
	assert_int_equal(lwr__cursor_u8(&c), LWR_PROTO_ICMP);
	lwr__cursor_bytes(&c, NULL, 10 + 4);
	assert_int_equal(lwr__cursor_u16(&c), ID);
	assert_false(c.bad);
}

static void forbidden_sockets_are_warned_of_once(void **state)
{
	struct world *w = *state;
	unsigned before = w->rig.warnings;

	host.no_ping = true;
	for (int i = 0; i < 5; i++)
		ping(w, "10.0.2.15", "192.0.2.1", (uint16_t)i, 64, 8);
	ping(w, "fd00::15", "2001:db8::1", 7, 64, 8);
	assert_int_equal(w->rig.warnings, before + 1);
	assert_int_equal(stats(w)->echo_live, 0);
	assert_int_equal(w->rig.frames, 6); /* prohibited, and it is told */
	assert_int_equal(w->rig.frame[0].data[w->rig.frame[0].pkt.l4], 3);
	assert_int_equal(w->rig.frame[0].data[w->rig.frame[0].pkt.l4 + 1], 13);
}

static void denied_destinations_are_prohibited(void **state)
{
	struct world *w = *state;

	ping(w, "10.0.2.15", "169.254.169.254", ID, 64, 8);
	ping(w, "10.0.2.15", "10.0.2.16", ID, 64, 8);
	ping(w, "10.0.2.15", "224.0.0.1", ID, 64, 8); /* a group: silently */
	assert_int_equal(stats(w)->echo_denied, 3);
	assert_int_equal(w->rig.frames, 2);
	assert_int_equal(host.opened, 0);
}

static void identifiers_are_bounded(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 5000; i++)
		ping(w, "10.0.2.15", "192.0.2.1", (uint16_t)i, 64, 8);
	assert_int_equal(stats(w)->echo_live, 16);
	assert_int_equal(host.open, 16);
	assert_int_equal(stats(w)->echo_limited, 5000 - 16);
	assert_int_equal(host.sends, 5000);
	wait_ms(w, 60000);
	assert_int_equal(host.open, 0);
}

static void other_messages_are_left_alone(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint8_t l4[16] = { 13 };
	struct world *w = *state;
	size_t len = rig_ip(frame, "10.0.2.15", "192.0.2.1", LWR_PROTO_ICMP, 64,
			    l4, sizeof(l4));

	rig_send(&w->rig, frame, len);
	run(w);
	assert_int_equal(host.opened, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(echo_comes_back_with_the_guests_identifier),
		TEST(one_socket_for_an_identifier),
		TEST(strangers_are_not_heard),
		TEST(ttl_goes_on_one_less),
		TEST(errors_quote_the_guests_identifier),
		TEST(forbidden_sockets_are_warned_of_once),
		TEST(denied_destinations_are_prohibited),
		TEST(identifiers_are_bounded),
		TEST(other_messages_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
