/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/hooks.h"
#include "test/udp_world.h"

static int setup_open(void **state)
{
	int err = setup(state);

	((struct world *)*state)->rig.config.net.host_loopback = true;
	return err;
}

/* One loopback's socket refuses a datagram, by its error queue. */
static void refuse(struct world *w, int fd, const char *to, uint16_t port)
{
	struct host_sock *s = sock_of(fd);
	struct lwr_addr a = rig_addr(to);

	s->error.err = ECONNREFUSED;
	s->error.len = 1;
	(void)lwr__addr_to_sockaddr(&a, port, &s->error.to);
	s->has_error = true;
	tell(s, EPOLLERR);
	run(w);
}

/* Exactly one ICMP port unreachable from the gateway. */
static void expect_refused(struct world *w, const char *from)
{
	const struct rig_frame *f = rig_frame(&w->rig, 0);
	struct lwr_addr a = rig_addr(from);
	bool four = lwr__addr_is4(&a);

	assert_int_equal(w->rig.frames, 1);
	assert_int_equal(f->data[f->pkt.l4], four ? 3 : 1);
	assert_int_equal(f->data[f->pkt.l4 + 1], four ? 3 : 4);
	assert_true(lwr__addr_equal(&f->pkt.src, &a));
	rig_clear(&w->rig);
}

static void refused_datagram_goes_to_the_other(void **state)
{
	static const struct {
		const char *guest, *gateway, *own, *other;
	} t[] = { { "10.0.2.15", "10.0.2.2", "127.0.0.1", "::1" },
		  { "fd00::15", "fd00::2", "::1", "127.0.0.1" } };
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		say(w, t[i].guest, 4000, t[i].gateway, 7, "a");
		expect_sent(t[i].own, 7, "a");
		refuse(w, host.fd, t[i].own, 7);
		expect_sent(t[i].other, 7, "a");
		arrive(host.fd, t[i].other, 7, "b", 1);
		run(w);
		assert_int_equal(w->rig.frames, 1);
		expect_received(w, 0, t[i].gateway, 7, t[i].guest, 4000, "b");
		say(w, t[i].guest, 4000, t[i].gateway, 7, "c");
		expect_sent(t[i].other, 7, "c");
		rig_clear(&w->rig);
	}
	assert_int_equal(w->udp.n_held, 0);
}

static void only_both_refusals_are_told(void **state)
{
	struct world *w = *state;
	int fd;

	for (int i = 0; i < 3; i++) {
		say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
		expect_sent("127.0.0.1", 7, "a");
		fd = host.fd;
		refuse(w, fd, "127.0.0.1", 7);
		assert_int_equal(w->rig.frames, 0);
		expect_sent("::1", 7, "a");
		refuse(w, host.fd, "::1", 7);
		expect_refused(w, "10.0.2.2");
		refuse(w, fd, "127.0.0.1", 7); /* a late one */
		assert_int_equal(w->rig.frames, 0);
	}
	assert_int_equal(w->udp.n_held, 0);
}

static void all_that_waits_is_sent_again_in_order(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	fd = host.fd;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 8, "x");
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "b");
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "y");
	assert_int_equal(w->udp.n_held, 4);
	host.sends = 0;
	refuse(w, fd, "127.0.0.1", 7);
	assert_int_equal(host.sends, 2);
	expect_sent("::1", 7, "b");
	refuse(w, fd, "127.0.0.1", 7); /* of "b": nothing new */
	assert_int_equal(host.sends, 2);
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(w->udp.n_held, 2);
}

static void answer_ends_the_trial(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	fd = host.fd;
	arrive(fd, "127.0.0.1", 7, "b", 1);
	run(w);
	assert_int_equal(w->udp.n_held, 0);
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "c");
	assert_int_equal(w->udp.n_held, 0);
	rig_clear(&w->rig);
	refuse(w, fd, "127.0.0.1", 7); /* the server ended: told at once */
	expect_refused(w, "10.0.2.2");
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "d");
	expect_sent("127.0.0.1", 7, "d");
	refuse(w, fd, "127.0.0.1", 7); /* and may be at the other now */
	expect_sent("::1", 7, "d");
}

static void silence_ends_the_trial(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	wait_ms(w, 999);
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "b");
	assert_int_equal(w->udp.n_held, 2);
	wait_ms(w, 1);
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "c");
	assert_int_equal(w->udp.n_held, 0);
	refuse(w, host.fd, "127.0.0.1", 7);
	expect_refused(w, "10.0.2.2");
}

static void what_is_kept_is_bounded(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX], data[1400];
	struct world *w = *state;
	size_t len = rig_udp(frame, "10.0.2.15", 4000, "10.0.2.2", 7, data,
			     sizeof(data));

	for (int i = 0; i < 1000; i++)
		rig_send(&w->rig, frame, len);
	assert_int_equal(w->udp.n_held, 64);
	run(w);
	host.sends = 0;
	refuse(w, host.fd, "127.0.0.1", 7);
	assert_int_equal(host.sends, 64);
	assert_int_equal(w->udp.held_bytes, 0);
	/* Trains are larger, and so are fewer. */
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "a");
	for (int i = 0; i < 20; i++) {
		static uint8_t large[RIG_FRAME_MAX], more[40000];
		struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 1200 };

		len = rig_udp(large, "10.0.2.15", 4001, "10.0.2.2", 7, more,
			      sizeof(more));
		rig_send_meta(&w->rig, large, len, &meta);
	}
	assert_int_equal(w->udp.n_held, 6);
	run(w);
}

/* A host without ::1 has nobody listening there. */
static void absent_loopback_is_a_refusal(void **state)
{
	struct world *w = *state;
	int fd;

	host.send_error = -EADDRNOTAVAIL;
	say(w, "fd00::15", 4000, "fd00::2", 7, "a");
	expect_refused(w, "fd00::2"); /* neither is there */
	host.send_error = 0;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	fd = host.fd;
	host.send_error = -EADDRNOTAVAIL;
	refuse(w, fd, "127.0.0.1", 7);
	expect_refused(w, "10.0.2.2");
	host.send_error = 0;
	host.no_ipv6 = true; /* nor has it such sockets */
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "a");
	refuse(w, host.fd, "127.0.0.1", 7);
	expect_refused(w, "10.0.2.2");
	assert_int_equal(w->udp.n_held, 0);
}

static void other_destinations_are_what_they_were(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(w->udp.n_held, 0);
	refuse(w, host.fd, "192.0.2.1", 7);
	expect_refused(w, "192.0.2.1");
}

static void ended_flow_keeps_nothing(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "a");
	assert_int_equal(w->udp.n_held, 2);
	wait_ms(w, 60000);
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(w->udp.n_held, 0);
}

/* One descriptor for all: the moved flow itself has to give way. */
static void out_of_descriptors_nothing_breaks(void **state)
{
	struct world *w = *state;

	host.limit = 1;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	refuse(w, host.fd, "127.0.0.1", 7);
	assert_int_equal(host.open, 0);
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(w->udp.n_held, 0);
}

/* ---- with the user's hook ------------------------------------------------ */

static struct lwr_addr led_to;
static bool leads;

static enum lwr_verdict on_open(void *arg, const struct lwr_flow_info *flow,
				struct lwr_endpoint *to)
{
	(void)arg;
	(void)flow;
	if (!leads)
		return LWR_ALLOW;
	*to = lwr__endpoint(&led_to, 7);
	return LWR_REDIRECT;
}

static struct lwr_hook_set hooks = { .fn.on_flow_open = on_open };

static void hook_sees_one_flow_and_its_word_holds(void **state)
{
	struct world *w = *state;

	w->udp.hooks = &hooks;
	leads = false;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	refuse(w, host.fd, "127.0.0.1", 7);
	expect_sent("::1", 7, "a");
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "b");
	expect_sent("::1", 7, "b");
	leads = true;
	led_to = rig_addr("::1");
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "c");
	expect_sent("::1", 7, "c");
	refuse(w, host.fd, "::1", 7);
	expect_refused(w, "10.0.2.2");
	say(w, "10.0.2.15", 4001, "10.0.2.2", 7, "d");
	expect_sent("::1", 7, "d");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_open, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refused_datagram_goes_to_the_other),
		TEST(only_both_refusals_are_told),
		TEST(all_that_waits_is_sent_again_in_order),
		TEST(answer_ends_the_trial),
		TEST(silence_ends_the_trial),
		TEST(what_is_kept_is_bounded),
		TEST(absent_loopback_is_a_refusal),
		TEST(other_destinations_are_what_they_were),
		TEST(ended_flow_keeps_nothing),
		TEST(out_of_descriptors_nothing_breaks),
		TEST(hook_sees_one_flow_and_its_word_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
