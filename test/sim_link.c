/* SPDX-License-Identifier: BSD-3-Clause */
/* What a link may do: limits of its own, anti-spoofing, the user's hooks. */
#include "test/fake_world.h"

#include <errno.h>
#include <string.h>

static struct lwr_net net;

static void own_net(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)caps;
	net = config->net;
}

static struct fake_world *world_with_net(void)
{
	struct fake_world *w = fake_world(own_net);

	w->wire.link.net = &net;
	return w;
}

static void link_with_all_its_flows_is_refused_more(void **state)
{
	struct fake_world *w = world_with_net();
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[3];

	(void)state;
	net.limits.flows = 2;
	c[0] = world_connect(w, &o);
	c[1] = world_connect(w, &o);
	c[2] = guest_connect(&w->guest, &o);
	world_until(w, 100, c[2]->error == -ECONNREFUSED);
	assert_int_equal(w->wire.link.stats.tcp_limited, 1);
	guest_reset(c[0]);
	fake_run(10);
	(void)world_connect(w, &o);
	assert_int_equal(c[1]->error, 0);
}

static void link_opens_so_many_flows_a_second(void **state)
{
	struct fake_world *w = world_with_net();
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[40];
	unsigned i, refused = 0;

	(void)state;
	net.limits.new_flows = 10;
	fake_run(10);
	for (i = 0; i < 40; i++)
		c[i] = guest_connect(&w->guest, &o);
	fake_run(10);
	for (i = 0; i < 40; i++)
		refused += c[i]->error == -ECONNREFUSED;
	assert_int_equal(refused, 20); /* a burst of two seconds' worth */
	fake_run(1000);
	for (i = refused = 0; i < 20; i++)
		c[i] = guest_connect(&w->guest, &o);
	fake_run(10);
	for (i = 0; i < 20; i++)
		refused += c[i]->error == -ECONNREFUSED;
	assert_in_range(refused, 9, 10);
}

static void link_holds_no_more_payload_than_it_may(void **state)
{
	struct fake_world *w = world_with_net();
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c[8];
	uint64_t most = 0;
	unsigned i;

	(void)state;
	net.limits.buffer = 512 * 1024;
	fake_plan(80)->send = 4 << 20;
	fake_plan(80)->fin_after_send = true;
	o.fin_on_eof = true;
	for (i = 0; i < 8; i++)
		c[i] = guest_connect(&w->guest, &o);
	for (i = 0; i < 20000; i++) {
		if (w->wire.link.buffered > most)
			most = w->wire.link.buffered;
		fake_run(1);
		if (guest_closed(c[7]))
			break;
	}
	/* Each flow may have one read in flight besides. */
	assert_in_range(most, 1, (512 + 8 * 64) * 1024);
	for (i = 0; i < 8; i++)
		world_until(w, 60000, guest_closed(c[i]));
	assert_int_equal(w->wire.link.buffered, 0);
	world_clean(w);
}

static void strict_link_keeps_to_its_address(void **state)
{
	struct fake_world *w = world_with_net();
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	net.strict = true;
	net.guest.b[15] ^= 1;
	c = guest_connect(&w->guest, &o);
	fake_run(20);
	assert_true(w->wire.link.stats.drop_source > 0);
	assert_int_equal(w->tcp.flows, 0);
	net.guest.b[15] ^= 1;
	world_until(w, 5000, w->tcp.flows == 1);
	(void)c;
}

static void strict_link_keeps_to_its_hardware_address(void **state)
{
	struct fake_world *w = world_with_net();
	struct guest_opts o = guest_opts(80);

	(void)state;
	memset(net.guest_mac, 2, sizeof(net.guest_mac));
	(void)guest_connect(&w->guest, &o);
	fake_run(20);
	assert_true(w->wire.link.stats.drop_source > 0);
	assert_int_equal(w->tcp.flows, 0);
}

/* ---- hooks --------------------------------------------------------------- */

static struct {
	enum lwr_verdict answer;
	uint16_t port; /* redirected to */
	unsigned opened, closed, terminated;
	struct lwr_flow_info last;
	int err;
} hook;

static enum lwr_verdict on_open(void *arg, const struct lwr_flow_info *flow,
				struct lwr_endpoint *to)
{
	(void)arg;
	hook.opened++;
	assert_memory_equal(to, &flow->host, sizeof(*to));
	if (hook.port)
		to->port = hook.port;
	return hook.answer;
}

static void on_close(void *arg, const struct lwr_flow_info *flow, int err)
{
	(void)arg;
	hook.closed++;
	hook.last = *flow;
	hook.err = err;
}

static void on_terminate(void *arg, const char *reason)
{
	(void)arg;
	assert_non_null(reason);
	hook.terminated++;
}

static struct fake_world *world_with_hooks(enum lwr_verdict answer)
{
	struct fake_world *w = fake_world(NULL);

	memset(&hook, 0, sizeof(hook));
	hook.answer = answer;
	w->hooks.fn.on_flow_open = on_open;
	w->hooks.fn.on_flow_close = on_close;
	w->hooks.fn.on_terminate = on_terminate;
	return w;
}

static void hook_tells_what_a_flow_carried(void **state)
{
	struct fake_world *w = world_with_hooks(LWR_ALLOW);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	o.send = 3000;
	o.fin_after_send = true;
	fake_plan(80)->send = 5000;
	fake_plan(80)->fin_after_send = true;
	c = world_connect(w, &o);
	world_until(w, 5000, guest_closed(c));
	world_clean(w);
	assert_int_equal(hook.opened, 1);
	assert_int_equal(hook.closed, 1);
	assert_int_equal(hook.err, 0);
	assert_int_equal(hook.last.bytes_g2h, 3000);
	assert_int_equal(hook.last.bytes_h2g, 5000);
	assert_int_equal(hook.last.dest.port, 80);
	assert_int_equal(hook.last.protocol, 6);
}

static void hook_denies_with_icmp(void **state)
{
	struct fake_world *w = world_with_hooks(LWR_DENY);
	struct guest_opts o = guest_opts(80);

	(void)state;
	(void)guest_connect(&w->guest, &o);
	fake_run(20);
	assert_int_equal(w->wire.link.stats.tcp_denied, 1);
	assert_int_equal(w->wire.link.stats.icmp_sent, 1);
	assert_int_equal(w->tcp.flows, 0);
}

static void hook_redirects(void **state)
{
	struct fake_world *w = world_with_hooks(LWR_REDIRECT);
	struct guest_opts o = guest_opts(80);
	struct guest_conn *c;

	(void)state;
	hook.port = 8080;
	fake_plan(80)->result = -ECONNREFUSED;
	c = world_connect(w, &o);
	guest_reset(c);
	world_clean(w);
	assert_int_equal(hook.last.dest.port, 80);
	assert_int_equal(hook.last.host.port, 8080);
	assert_int_equal(hook.err, -ECONNRESET);
}

static void hook_terminates_once(void **state)
{
	struct fake_world *w = world_with_hooks(LWR_TERMINATE);
	struct guest_opts o = guest_opts(80);

	(void)state;
	(void)guest_connect(&w->guest, &o);
	(void)guest_connect(&w->guest, &o);
	fake_run(20);
	assert_int_equal(hook.terminated, 1);
	assert_int_equal(w->wire.link.stats.tcp_denied, 2);
	assert_int_equal(w->tcp.flows, 0);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(link_with_all_its_flows_is_refused_more),
	WORLD_TEST(link_opens_so_many_flows_a_second),
	WORLD_TEST(link_holds_no_more_payload_than_it_may),
	WORLD_TEST(strict_link_keeps_to_its_address),
	WORLD_TEST(strict_link_keeps_to_its_hardware_address),
	WORLD_TEST(hook_tells_what_a_flow_carried),
	WORLD_TEST(hook_denies_with_icmp),
	WORLD_TEST(hook_redirects),
	WORLD_TEST(hook_terminates_once),
};

WORLD_MAIN(tests)
