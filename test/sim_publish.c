/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of the host is connected before the guest is asked. */
#include "relay/publish_priv.h"
#include "test/fake_world.h"

#include <errno.h>

enum { LONG_MS = 600000, CLIENT = 5000, GPORT = 80 };

static struct {
	struct lwr_publish publish;
	struct lwr_published rule;
	struct lwr_publish_port port;
	struct guest_opts opts;
} s;

static struct lwr_addr client4(void)
{
	static const uint8_t b[4] = { 192, 0, 2, 1 };

	return lwr__addr_from4(b);
}

static struct lwr_addr client6(void)
{
	static const uint8_t b[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };

	return lwr__addr_from16(b);
}

static void know(struct fake_world *w, int six)
{
	struct lwr_link *link = &w->wire.link;

	link->guest[six].addr = six ? link->net->guest6 : link->net->guest;
	link->guest[six].known = true;
}

/* A world with a published port, whose guest listens. */
static struct fake_world *published_on(
	void (*tweak)(struct lwr_config *config, struct lwr_link_caps *caps))
{
	struct fake_world *w = fake_world(tweak);

	memset(&s, 0, sizeof(s));
	assert_int_equal(lwr__publish_init(&s.publish, &w->stack, &w->tcp), 0);
	s.rule.publish = &s.publish;
	s.rule.link = &w->wire.link;
	s.port.rule = &s.rule;
	s.port.gport = GPORT;
	s.opts = guest_opts(0);
	w->guest.listen = &s.opts;
	return w;
}

static struct fake_world *published(void)
{
	return published_on(NULL);
}

static struct fake_host *client(uint16_t port, bool six)
{
	struct lwr_dest from = { six ? client6() : client4(), port };
	struct fake_host *h = fake_client(port);

	lwr__publish_client(&s.port, h->fd, &from);
	return h;
}

static void done(struct fake_world *w)
{
	world_clean(w);
	lwr__publish_link_down(&s.publish, &w->wire.link);
	lwr__publish_fini(&s.publish);
}

static struct guest_conn *served(struct fake_world *w)
{
	return w->guest.conns ? w->guest.conn[w->guest.conns - 1] : NULL;
}

/* Whole streams both ways. */
static void transfers(bool six, bool ts, int ws)
{
	struct fake_world *w = published();
	struct fake_host *h;

	fake_plan(CLIENT)->send = 3000000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.send = 2000000;
	s.opts.fin_after_send = true;
	s.opts.ts = ts;
	s.opts.ws = ws;
	know(w, six);
	h = client(CLIENT, six);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->read, 3000000);
	assert_int_equal(served(w)->gport, GPORT);
	world_until(w, LONG_MS, h->got == 2000000 && h->eof);
	assert_false(h->reset);
	assert_int_equal(w->wire.link.stats.publish_opened, 1);
	done(w);
}

static void publish_carries_both_streams(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		transfers(i & 1, i & 2, i & 4 ? 7 : -1);
		assert_int_equal(world_teardown(state), 0);
	}
}

static void publish_refused_resets_the_client_at_once(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;

	(void)state;
	w->guest.refuses = true;
	know(w, 0);
	h = client(CLIENT, false);
	fake_run(10);
	assert_true(h->reset);
	assert_int_equal(w->wire.link.stats.publish_refused, 1);
	assert_int_equal(w->tcp.flows, 0);
	done(w);
}

static void publish_guest_half_closes_first(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;

	(void)state;
	s.opts.fin_after_send = true;
	fake_plan(CLIENT)->fin_on_eof = true;
	fake_plan(CLIENT)->send = 10000000;
	know(w, 0);
	h = client(CLIENT, false);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->read, 10000000);
	assert_true(h->eof);
	assert_false(h->reset);
	done(w);
}

static void publish_slow_reader_gets_all(void **state)
{
	struct fake_world *w = published();

	(void)state;
	fake_plan(CLIENT)->send = 4000000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.rate = 20000;
	s.opts.read_ms = 10;
	s.opts.fin_on_eof = true;
	know(w, 0);
	(void)client(CLIENT, false);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->read, 4000000);
	done(w);
}

static void publish_lost_syn_is_sent_again(void **state)
{
	struct fake_world *w = published();
	uint64_t start = fake_now();

	(void)state;
	w->wire.h2g.drop_next = 2;
	fake_plan(CLIENT)->send = 5000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.fin_on_eof = true;
	know(w, 0);
	(void)client(CLIENT, false);
	world_until(w, 9000, served(w) && guest_closed(served(w)));
	assert_in_range(fake_now() - start, 1000, 9000);
	assert_int_equal(served(w)->read, 5000);
	done(w);
}

static void publish_lost_handshake_segments(void **state)
{
	struct fake_world *w = published();

	(void)state;
	/* The SYN-ACK, and then the ACK of its repetition. */
	w->wire.g2h.drop_next = 1;
	s.opts.send = 7000;
	s.opts.fin_after_send = true;
	know(w, 0);
	(void)client(CLIENT, false);
	fake_run(10);
	w->wire.h2g.drop_next = 1;
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(fake_host(0)->got, 7000);
	done(w);
}

static void publish_silent_guest_resets_in_time(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;
	uint64_t start = fake_now();

	(void)state;
	w->guest.listen = NULL;
	know(w, 0);
	h = client(CLIENT, false);
	world_until(w, 11000, h->reset);
	assert_in_range(fake_now() - start, 9900, 10100);
	assert_int_equal(w->wire.link.stats.publish_timeout, 1);
	assert_false(w->wire.link.guest[0].known);
	done(w);
}

static void publish_guest_vanishes_in_the_handshake(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;

	(void)state;
	know(w, 0);
	h = client(CLIENT, false);
	w->guest.vanished = true;
	world_until(w, 30000, h->reset);
	done(w);
}

static void publish_client_gives_up_while_calling(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;

	(void)state;
	w->guest.listen = NULL;
	know(w, 0);
	h = client(CLIENT, false);
	fake_run(100);
	assert_int_equal(w->tcp.flows, 1);
	fake_host_reset(h);
	fake_run(10);
	assert_int_equal(w->tcp.flows, 0);
	done(w);
}

static void publish_client_waits_for_the_guest(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;

	(void)state;
	fake_plan(CLIENT)->send = 5000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.fin_on_eof = true;
	w->guest.vanished = true; /* it cannot read the questions */
	h = client(CLIENT, false);
	fake_run(1500);
	assert_int_equal(w->guest.conns, 0);
	w->guest.vanished = false;
	know(w, 0);
	lwr__publish_guest_seen(&s.publish, &w->wire.link);
	world_until(w, 1000, served(w) && guest_closed(served(w)));
	assert_false(h->reset);
	done(w);
}

static void publish_guest_that_never_comes(void **state)
{
	struct fake_world *w = published();
	struct fake_host *h;
	uint64_t start = fake_now();

	(void)state;
	w->guest.vanished = true;
	h = client(CLIENT, false);
	world_until(w, 5000, h->reset);
	assert_in_range(fake_now() - start, 2000, 2100);
	assert_int_equal(w->wire.link.stats.publish_timeout, 1);
	done(w);
}

static void publish_simultaneous_open_is_ignored(void **state)
{
	struct fake_world *w = published();
	struct fake_seg syn = { .gport = GPORT,
				.hport = CLIENT,
				.flags = SEG_SYN,
				.seq = 7,
				.wnd = 1000,
				.mss = 100,
				.ws = 14 };

	(void)state;
	fake_plan(CLIENT)->send = 100000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.fin_on_eof = true;
	know(w, 0);
	w->guest.vanished = true;
	(void)client(CLIENT, false);
	fake_run(5);
	w->guest.vanished = false;
	guest_raw(&w->guest, &syn);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->read, 100000);
	done(w);
}

static void large(struct lwr_config *config, struct lwr_link_caps *caps)
{
	(void)config;
	caps->mtu = 65520;
}

static void publish_offers_whole_packets_of_the_client(void **state)
{
	struct fake_world *w = published_on(large);

	(void)state;
	fake_plan(CLIENT)->mss = 1368;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.fin_on_eof = true;
	know(w, 0);
	(void)client(CLIENT, false);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->offered_mss, 47 * 1368 + 12);
	done(w);
}

static void publish_with_losses_both_ways(void **state)
{
	struct fake_world *w = published();

	(void)state;
	w->wire.g2h.drop = w->wire.h2g.drop = 30;
	fake_plan(CLIENT)->send = 300000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.send = 300000;
	s.opts.fin_after_send = true;
	know(w, 1);
	(void)client(CLIENT, true);
	world_until(w, LONG_MS, served(w) && guest_closed(served(w)));
	assert_int_equal(served(w)->read, 300000);
	done(w);
}

/* ---- the user's word ----------------------------------------------------- */

static struct {
	enum lwr_verdict answer;
	struct lwr_endpoint to; /* port 0: unchanged */
	unsigned opened, closed;
	struct lwr_flow_info first, last;
	int err;
} hook;

static enum lwr_verdict on_open(void *arg, const struct lwr_flow_info *flow,
				struct lwr_endpoint *to)
{
	(void)arg;
	hook.opened++;
	hook.first = *flow;
	assert_memory_equal(to, &flow->guest, sizeof(*to));
	if (hook.to.port)
		*to = hook.to;
	return hook.answer;
}

static void on_close(void *arg, const struct lwr_flow_info *flow, int err)
{
	(void)arg;
	hook.closed++;
	hook.last = *flow;
	hook.err = err;
}

static struct fake_world *asked(enum lwr_verdict answer)
{
	struct fake_world *w = published();

	memset(&hook, 0, sizeof(hook));
	hook.answer = answer;
	w->hooks.fn.on_flow_open = on_open;
	w->hooks.fn.on_flow_close = on_close;
	return w;
}

static void hook_is_told_of_a_client(void **state)
{
	struct fake_world *w = asked(LWR_ALLOW);
	struct lwr_addr from = client4(), guest;
	struct fake_host *h;

	(void)state;
	fake_plan(CLIENT)->send = 3000;
	fake_plan(CLIENT)->fin_after_send = true;
	s.opts.send = 2000;
	s.opts.fin_after_send = true;
	w->guest.vanished = true; /* it cannot read the questions */
	h = client(CLIENT, false);
	fake_run(1500);
	assert_int_equal(hook.opened, 0); /* the guest is not there yet */
	w->guest.vanished = false;
	know(w, 0);
	lwr__publish_guest_seen(&s.publish, &w->wire.link);
	assert_int_equal(hook.opened, 1);
	assert_int_equal(hook.first.opened, LWR_H2G);
	assert_int_equal(hook.first.protocol, 6);
	assert_int_equal(hook.first.guest.port, GPORT);
	guest = w->wire.link.guest[0].addr;
	assert_memory_equal(hook.first.guest.addr, guest.b, 16);
	assert_memory_equal(hook.first.host.addr, from.b, 16);
	assert_int_equal(hook.first.host.port, CLIENT);
	world_until(w, LONG_MS, h->got == 2000 && h->eof);
	done(w);
	assert_int_equal(hook.closed, 1);
	assert_int_equal(hook.err, 0);
	assert_int_equal(hook.last.id, hook.first.id);
	assert_int_equal(hook.last.opened, LWR_H2G);
	assert_int_equal(hook.last.bytes_h2g, 3000);
	assert_int_equal(hook.last.bytes_g2h, 2000);
}

static void hook_that_denies_a_client_resets_it(void **state)
{
	static const enum lwr_verdict no[] = { LWR_DENY, LWR_REFUSE,
					       LWR_TERMINATE };

	for (unsigned i = 0; i < 3; i++) {
		struct fake_world *w = asked(no[i]);
		struct fake_host *h;

		know(w, 0);
		h = client(CLIENT, false);
		assert_true(h->reset);
		fake_run(100);
		assert_int_equal(w->guest.conns, 0);
		assert_int_equal(w->wire.link.stats.tcp_denied, 1);
		assert_int_equal(hook.opened, 1);
		assert_int_equal(hook.closed, 0);
		done(w);
		assert_int_equal(world_teardown(state), 0);
	}
}

static void hook_may_lead_a_client_to_another_port(void **state)
{
	struct fake_world *w = asked(LWR_REDIRECT);
	struct lwr_addr guest;

	(void)state;
	know(w, 0);
	guest = w->wire.link.guest[0].addr;
	hook.to = lwr__endpoint(&guest, 8080);
	(void)client(CLIENT, false);
	world_until(w, LONG_MS, served(w));
	assert_int_equal(served(w)->gport, 8080);
	/* But not to another guest. */
	guest.b[15] ^= 1;
	hook.to = lwr__endpoint(&guest, 8080);
	assert_true(client(CLIENT + 1, false)->reset);
	assert_int_equal(w->wire.link.stats.tcp_denied, 1);
	guest_reset(served(w));
	done(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(hook_is_told_of_a_client),
	WORLD_TEST(hook_that_denies_a_client_resets_it),
	WORLD_TEST(hook_may_lead_a_client_to_another_port),
	WORLD_TEST(publish_carries_both_streams),
	WORLD_TEST(publish_refused_resets_the_client_at_once),
	WORLD_TEST(publish_guest_half_closes_first),
	WORLD_TEST(publish_slow_reader_gets_all),
	WORLD_TEST(publish_lost_syn_is_sent_again),
	WORLD_TEST(publish_lost_handshake_segments),
	WORLD_TEST(publish_silent_guest_resets_in_time),
	WORLD_TEST(publish_guest_vanishes_in_the_handshake),
	WORLD_TEST(publish_client_gives_up_while_calling),
	WORLD_TEST(publish_client_waits_for_the_guest),
	WORLD_TEST(publish_guest_that_never_comes),
	WORLD_TEST(publish_simultaneous_open_is_ignored),
	WORLD_TEST(publish_offers_whole_packets_of_the_client),
	WORLD_TEST(publish_with_losses_both_ways),
};

WORLD_MAIN(tests)
