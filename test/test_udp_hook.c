/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/hooks.h"
#include "test/udp_world.h"

static struct {
	enum lwr_verdict answer;
	unsigned asked;
} hook;

static enum lwr_verdict on_open(void *arg, const struct lwr_flow_info *flow,
				struct lwr_endpoint *to)
{
	(void)arg;
	hook.asked++;
	assert_int_equal(flow->protocol, 17);
	assert_int_equal(flow->dest.port, 7);
	if (hook.answer == LWR_REDIRECT)
		to->port = 77;
	return hook.answer;
}

static struct lwr_hook_set hooks = { .fn.on_flow_open = on_open };

static void hook_is_asked_once_for_a_destination(void **state)
{
	struct world *w = *state;
	struct lwr_flow_info info;

	hook.answer = LWR_REDIRECT;
	hook.asked = 0;
	w->udp.hooks = &hooks;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "one");
	expect_sent("192.0.2.1", 77, "one");
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "two");
	expect_sent("192.0.2.1", 77, "two");
	assert_int_equal(hook.asked, 1);
	arrive(host.fd, "192.0.2.1", 77, "back", 4);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "back");
	lwr__udp_info(LWR_CONTAINER(w->rig.link.udp.lru.next,
				    struct lwr_udp_flow, on_link),
		      &info);
	assert_int_equal(info.bytes_g2h, 6);
	assert_int_equal(info.bytes_h2g, 4);
	assert_int_equal(info.dest.port, 7);
	assert_int_equal(info.host.port, 77);
}

static void hook_denies_datagrams(void **state)
{
	struct world *w = *state;

	hook.answer = LWR_DENY;
	hook.asked = 0;
	w->udp.hooks = &hooks;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "one");
	assert_int_equal(host.sends, 0);
	assert_int_equal(stats(w)->udp_denied, 1);
	assert_int_equal(stats(w)->udp_live, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hook_is_asked_once_for_a_destination),
		TEST(hook_denies_datagrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
