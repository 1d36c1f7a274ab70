/* SPDX-License-Identifier: BSD-3-Clause */
/* The TTL of the guest's connects: traceroute by TCP, and who else sets one. */
#include "test/fake_world.h"

#include "core/csum.h"

#include <errno.h>
#include <string.h>

enum { ROUTERS = 3 };

static struct guest_opts with_ttl(bool six, uint8_t ttl)
{
	struct guest_opts o = guest_opts(80);

	o.six = six;
	o.ttl = ttl;
	fake_plan(80)->six = six;
	fake_plan(80)->routers = ROUTERS;
	return o;
}

static struct lwr_addr router(bool six, unsigned hop)
{
	uint8_t b[16] = { 0x20, [15] = (uint8_t)hop };

	return six ? lwr__addr_from16(b) : lwr__addr_of_v4(0xc6336400u + hop);
}

static void hop_that_ends_it_says_so(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c;
	struct guest_opts o;
	struct lwr_addr by;

	(void)state;
	for (unsigned i = 0; i < 2 * ROUTERS; i++) {
		o = with_ttl(i & 1, (uint8_t)(2 + i / 2));
		by = router(o.six, 1 + i / 2);
		c = guest_connect(&w->guest, &o);
		world_until(w, 100, c->state == GUEST_CLOSED);
		assert_int_equal(c->error, -EHOSTUNREACH);
		assert_int_equal(c->icmps, 1);
		assert_true(lwr__addr_equal(&c->icmp_from, &by));
		assert_int_equal(c->syn_acks, 0);
	}
	assert_int_equal(w->wire.link.stats.tcp_unreachable, 2 * ROUTERS);
	world_clean(w);
}

static void ttl_that_suffices_stays(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = with_ttl(false, ROUTERS + 2);
	struct guest_conn *c;

	(void)state;
	c = world_connect(w, &o);
	assert_int_equal(fake_host(0)->hops, ROUTERS + 1);
	guest_reset(c);
	world_clean(w);
}

static void guest_that_goes_on_as_usual_gets_the_usual(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct guest_opts o = with_ttl(false, ROUTERS + 2);
	struct guest_conn *c = guest_connect(&w->guest, &o);

	(void)state;
	c->o.ttl = 64;
	c->o.send = 1000;
	c->o.fin_after_send = true;
	fake_run(1);
	assert_int_equal(fake_host(0)->hops, ROUTERS + 1);
	world_until(w, 1000, guest_closed(c));
	assert_int_equal(fake_host(0)->hops, 0);
	assert_int_equal(fake_host(0)->got, 1000);
	world_clean(w);
}

static void usual_ttls_are_not_carried(void **state)
{
	static const uint8_t ttl[] = { 64, 63, 57, 128, 121, 255, 248 };
	struct fake_world *w = fake_world(NULL);
	struct guest_conn *c;
	struct guest_opts o;

	(void)state;
	for (unsigned i = 0; i < sizeof(ttl); i++) {
		o = with_ttl(i & 1, ttl[i]);
		c = world_connect(w, &o);
		assert_int_equal(fake_host(i)->hops, 0);
		guest_reset(c);
	}
	world_clean(w);
}

static unsigned heard;

static void on_seg(void *arg, const struct fake_seg *s)
{
	(void)arg;
	(void)s;
	heard++;
}

static struct fake_seg probe(uint8_t ttl)
{
	return (struct fake_seg){ .gport = 4000,
				  .hport = 80,
				  .flags = SEG_SYN,
				  .ttl = ttl,
				  .seq = 1,
				  .wnd = 1000,
				  .ws = -1 };
}

static void silent_path_stays_silent(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct fake_seg syn = probe(2);

	(void)state;
	heard = 0;
	w->guest.raw = true;
	w->guest.on_seg = on_seg;
	fake_plan(80)->after_ms = FAKE_NEVER;
	guest_raw(&w->guest, &syn);
	fake_run(9000);
	assert_int_equal(fake_fds(), 1);
	fake_run(2000);
	assert_int_equal(fake_fds(), 0);
	assert_int_equal(heard, 0);
	assert_int_equal(w->wire.link.stats.tcp_timeout, 1);
	world_clean(w);
}

static void repeated_syn_with_another_ttl_asks_anew(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct fake_seg syn;

	(void)state;
	w->guest.raw = true;
	fake_plan(80)->after_ms = FAKE_NEVER;
	for (uint8_t ttl = 2; ttl < 6; ttl++) {
		for (int i = 0; i < 3; i++) { /* and the same one does not */
			syn = probe(ttl);
			guest_raw(&w->guest, &syn);
			fake_run(100);
		}
		assert_int_equal(fake_fds(), 1);
		assert_int_equal(fake_hosts(), ttl - 1u);
		assert_int_equal(fake_host(ttl - 2u)->hops, ttl - 1);
	}
	syn = probe(64);
	guest_raw(&w->guest, &syn);
	fake_run(100);
	assert_int_equal(fake_hosts(), 5);
	assert_int_equal(fake_host(4)->hops, 0);
	assert_int_equal(w->tcp.flows, 1);
	fake_run(11000);
	world_clean(w);
}

/* The frame in two fragments of IPv4: `first` bytes of TCP, and the rest. */
static void send_in_two(struct guest *g, const struct fake_seg *s)
{
	enum { ETH = 14, IP = 20, FIRST = 24, MORE = 0x20 };
	static uint8_t frame[SEG_FRAME_MAX], part[SEG_FRAME_MAX];
	size_t len = fake_seg_build(s, frame) - ETH - IP, n;
	uint16_t sum;

	for (size_t off = 0; off < len; off += n) {
		n = off ? len - off : FIRST;
		memcpy(part, frame, ETH + IP);
		memcpy(part + ETH + IP, frame + ETH + IP + off, n);
		part[ETH + 3] = (uint8_t)(IP + n);
		part[ETH + 6] = off ? 0 : MORE;
		part[ETH + 7] = (uint8_t)(off / 8);
		memset(part + ETH + 10, 0, 2);
		sum = lwr__csum(0, part + ETH, IP);
		memcpy(part + ETH + 10, &sum, 2);
		fake_wire_send(g->wire, part, ETH + IP + n);
	}
}

static void syn_in_fragments_asks_anew_as_well(void **state)
{
	struct fake_world *w = fake_world(NULL);
	struct fake_seg syn;

	(void)state;
	w->guest.raw = true;
	fake_plan(80)->after_ms = FAKE_NEVER;
	for (uint8_t ttl = 2; ttl < 4; ttl++) {
		syn = probe(ttl);
		syn.mss = 1460;
		syn.ts = true;
		send_in_two(&w->guest, &syn);
		fake_run(100);
		assert_int_equal(fake_hosts(), ttl - 1u);
		assert_int_equal(fake_host(ttl - 2u)->hops, ttl - 1);
	}
	fake_run(11000);
	world_clean(w);
}

static void only_a_syn_asks_anew(void **state)
{
	static const uint8_t flags[] = { SEG_ACK, SEG_FIN | SEG_ACK,
					 SEG_SYN | SEG_ACK, SEG_PSH, 0 };
	struct fake_world *w = fake_world(NULL);
	struct fake_seg s = probe(2);

	(void)state;
	w->guest.raw = true;
	fake_plan(80)->after_ms = FAKE_NEVER;
	guest_raw(&w->guest, &s);
	for (unsigned i = 0; i < sizeof(flags); i++) {
		s = probe(5);
		s.flags = flags[i];
		guest_raw(&w->guest, &s);
		fake_run(100);
		assert_int_equal(fake_hosts(), 1);
		assert_int_equal(fake_fds(), 1);
	}
	fake_run(11000);
	world_clean(w);
}

static const struct CMUnitTest tests[] = {
	WORLD_TEST(hop_that_ends_it_says_so),
	WORLD_TEST(ttl_that_suffices_stays),
	WORLD_TEST(guest_that_goes_on_as_usual_gets_the_usual),
	WORLD_TEST(usual_ttls_are_not_carried),
	WORLD_TEST(silent_path_stays_silent),
	WORLD_TEST(repeated_syn_with_another_ttl_asks_anew),
	WORLD_TEST(syn_in_fragments_asks_anew_as_well),
	WORLD_TEST(only_a_syn_asks_anew),
};

WORLD_MAIN(tests)
