/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/csum.h"
#include "relay/hooks.h"
#include "test/udp_world.h"

#include "lwip/pbuf.h"

/* ---- relaying ------------------------------------------------------------ */

static void datagram_goes_out_and_its_answer_comes_back(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "hello");
	expect_sent("192.0.2.1", 7, "hello");
	arrive(host.fd, "192.0.2.1", 7, "world", 5);
	run(w);
	assert_int_equal(w->rig.frames, 1);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "world");
	assert_int_equal(stats(w)->udp_opened, 1);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void ipv6_has_its_own_socket(void **state)
{
	struct world *w = *state;

	say(w, "fd00::15", 4000, "2001:db8::1", 7, "six");
	expect_sent("2001:db8::1", 7, "six");
	arrive(host.fd, "2001:db8::1", 7, "", 0);
	run(w);
	expect_received(w, 0, "2001:db8::1", 7, "fd00::15", 4000, "");
}

static void empty_datagrams_pass(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "");
	assert_int_equal(host.sends, 1);
	expect_sent("192.0.2.1", 7, "");
	arrive(host.fd, "192.0.2.1", 7, "", 0);
	run(w);
	expect_received(w, 0, "192.0.2.1", 7, "10.0.2.15", 4000, "");
}

static void one_socket_for_all_destinations(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	fd = host.fd;
	say(w, "10.0.2.15", 4000, "192.0.2.2", 8, "b");
	assert_int_equal(host.fd, fd);
	assert_int_equal(host.opened, 1);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "c");
	assert_int_not_equal(host.fd, fd);
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.2", 8, "B", 1);
	arrive(fd, "192.0.2.1", 7, "A", 1);
	run(w);
	expect_received(w, 0, "192.0.2.2", 8, "10.0.2.15", 4000, "B");
	expect_received(w, 1, "192.0.2.1", 7, "10.0.2.15", 4000, "A");
}

static void strangers_are_not_heard(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 8, "x", 1);
	arrive(host.fd, "192.0.2.2", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
}

static void thousand_peers_are_all_heard(void **state)
{
	struct world *w = *state;
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;

	for (uint32_t i = 0; i < 1000; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
	}
	assert_int_equal(host.opened, 1);
	for (uint32_t i = 0; i < 1000; i += 50) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		arrive(host.fd, lwr__addr_text(&a, text), 7, "b", 1);
	}
	run(w);
	assert_int_equal(w->rig.frames, 20);
}

static void oldest_peer_is_forgotten_at_the_limit(void **state)
{
	struct world *w = *state; /* max_udp 8: 32 peers for all flows */
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;
	int fd;

	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "other");
	fd = host.fd;
	for (uint32_t i = 0; i < 40; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		say(w, "10.0.2.15", 4000, lwr__addr_text(&a, text), 7, "a");
		say(w, "10.0.2.15", 4000, "192.0.2.0", 7, "kept");
	}
	arrive(host.fd, "192.0.2.1", 7, "x", 1);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	arrive(host.fd, "192.0.2.0", 7, "x", 1);
	arrive(host.fd, "192.0.2.39", 7, "x", 1);
	arrive(fd, "192.0.2.1", 7, "x", 1); /* another flow's peer */
	run(w);
	assert_int_equal(w->rig.frames, 3);
	assert_true(w->udp.peers.count <= 32);
}

static void gateway_is_the_hosts_loopback_if_opened(void **state)
{
	struct world *w = *state;

	w->rig.config.net.host_loopback = true;
	say(w, "10.0.2.15", 4000, "10.0.2.2", 7, "a");
	expect_sent("127.0.0.1", 7, "a");
	arrive(host.fd, "127.0.0.1", 7, "b", 1);
	run(w);
	expect_received(w, 0, "10.0.2.2", 7, "10.0.2.15", 4000, "b");
}

static void train_of_the_guest_stays_whole(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX], data[4000];
	struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 1200 };
	struct world *w = *state;
	size_t len = rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, data,
			     sizeof(data));

	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(host.sends, 1);
	assert_int_equal(host.seg, 1200);
	assert_int_equal(host.len, sizeof(data));
}

/* Nothing of the queue behind it is sent or quoted. */
static void train_of_less_than_one_datagram_is_none(void **state)
{
	static uint8_t frame[RIG_FRAME_MAX];
	struct lwr_frame_meta meta = { true, LWR_GSO_UDP, 60000 };
	struct world *w = *state;
	size_t len =
		rig_udp(frame, "10.0.2.15", 4000, "192.0.2.1", 7, "abcd", 4);

	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(host.seg, 0);
	assert_int_equal(host.len, 4);
	host.send_error = -EACCES;
	rig_send_meta(&w->rig, frame, len, &meta);
	run(w);
	assert_int_equal(w->rig.frames, 1);
	assert_int_equal(w->rig.frame[0].len, 14 + 20 + 8 + 20 + 8 + 4);
}

static void train_of_the_host_is_cut_for_the_guest(void **state)
{
	static uint8_t data[64 * 1000];
	struct world *w = *state;
	size_t total = 0, len;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 1000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data) - 500, 1000);
	run(w);
	assert_int_equal(w->rig.frames, 64);
	for (unsigned i = 0; i < 64; i++) {
		const uint8_t *p = rig_payload(rig_frame(&w->rig, i), &len);

		assert_int_equal(len, i < 63 ? 1000 : 500);
		assert_memory_equal(p, data + i * 1000, len);
		total += len;
	}
	assert_int_equal(total, sizeof(data) - 500);
}

static void train_of_the_host_stays_whole_where_the_link_cuts(void **state)
{
	static uint8_t data[65000];
	struct world *w = *state;

	w->rig.link.caps.uso_h2g = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive_seg(host.fd, "192.0.2.1", 7, data, sizeof(data), 1300);
	run(w);
	/* Two frames: with its headers one would exceed what a pbuf holds. */
	assert_int_equal(w->rig.frames, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(w->rig.frame[i].gso, LWR_GSO_UDP);
		assert_int_equal(w->rig.frame[i].gso_size, 1300);
	}
}

static void large_datagram_reaches_the_guest_in_fragments(void **state)
{
	static uint8_t data[65507];
	struct world *w = *state;
	size_t total = 0;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, data, sizeof(data));
	run(w);
	for (unsigned i = 0; i < w->rig.frames; i++) {
		assert_true(w->rig.frame[i].len <= 1514);
		total += w->rig.frame[i].pkt.l4_len;
	}
	assert_int_equal(total, 8 + sizeof(data));
}

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

/* ---- expiry and limits --------------------------------------------------- */

static void idle_flow_expires_and_the_timer_stops(void **state)
{
	struct world *w = *state;

	assert_null(one_timer.timer);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 59999);
	assert_int_equal(stats(w)->udp_live, 1);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w);
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
}

static void traffic_of_either_side_keeps_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 5; i++) {
		wait_ms(w, i ? 100000 : 50000);
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
		run(w);
	}
	wait_ms(w, 100000);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 179999);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 5);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void strangers_do_not_keep_a_flow(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	wait_ms(w, 59000);
	arrive(host.fd, "192.0.2.66", 7, "b", 1);
	run(w);
	wait_ms(w, 1000);
	assert_int_equal(stats(w)->udp_live, 0);
}

static void answered_query_expires_soon(void **state)
{
	struct world *w = *state;
	int fd;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "long");
	arrive(host.fd, "192.0.2.1", 7, "long", 4);
	run(w);
	rig_clear(&w->rig);
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	fd = host.fd;
	wait_ms(w, 30000); /* unanswered: it waits */
	assert_int_equal(stats(w)->udp_live, 2);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9000);
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q"); /* asks again */
	wait_ms(w, 20000);
	arrive(fd, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 9999);
	assert_int_equal(stats(w)->udp_live, 2);
	wait_ms(w, 1);
	assert_int_equal(stats(w)->udp_live, 1);
	assert_int_equal(w->rig.frames, 2);
}

static void socket_that_also_talks_to_others_is_no_query(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4000, "192.0.2.2", 53, "q");
	arrive(host.fd, "192.0.2.2", 53, "a", 1);
	run(w);
	wait_ms(w, 170000);
	assert_int_equal(stats(w)->udp_live, 1);
}

static void oldest_flow_is_evicted_at_the_limit(void **state)
{
	struct world *w = *state;

	for (uint16_t i = 0; i < 8; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		wait_ms(w, 10);
	}
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a"); /* 4001 is oldest */
	assert_int_equal(stats(w)->udp_limited, 0);
	say(w, "10.0.2.15", 5000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_limited, 1);
	assert_int_equal(stats(w)->udp_live, 8);
	assert_int_equal(host.open, 8);
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 9);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_opened, 10);
}

/* Answered queries are on a list of their own; age decides all the same. */
static void oldest_of_both_kinds_is_evicted(void **state)
{
	struct world *w = *state;
	int query, stream;

	say(w, "10.0.2.15", 4000, "192.0.2.53", 53, "q");
	query = host.fd;
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	stream = host.fd;
	host.limit = 2;
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4002, "192.0.2.53", 53, "q");
	assert_int_equal(host.fd, query); /* its number is free again */
	arrive(query, "192.0.2.53", 53, "a", 1);
	run(w);
	wait_ms(w, 10);
	say(w, "10.0.2.15", 4003, "192.0.2.1", 7, "a");
	assert_int_equal(host.fd, stream);
}

static void out_of_descriptors_the_oldest_gives_its_own(void **state)
{
	struct world *w = *state;

	host.limit = 3;
	for (uint16_t i = 0; i < 6; i++) {
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
		assert_int_equal(host.sends, i + 1);
	}
	assert_int_equal(stats(w)->udp_live, 3);
	assert_int_equal(stats(w)->udp_limited, 3);
	assert_int_equal(w->rig.frames, 0);
}

static void without_any_descriptor_it_is_dropped(void **state)
{
	struct world *w = *state;

	host.limit = 0;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_live, 0);
	assert_int_equal(stats(w)->drop_memory, 1);
	host.limit = 1;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	assert_int_equal(host.sends, 1);
}

static void flows_end_with_the_link(void **state)
{
	struct world *w = *state;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	say(w, "10.0.2.15", 4001, "192.0.2.53", 53, "q");
	arrive(host.fd, "192.0.2.53", 53, "a", 1); /* not read yet */
	lwr__stack_reset_link(&w->rig.link);
	assert_int_equal(host.open, 0);
	assert_null(one_timer.timer);
	run(w);
	assert_int_equal(w->rig.frames, 0);
	assert_int_equal(stats(w)->udp_live, 0);
}

/* ---- back-pressure ------------------------------------------------------- */

static void full_ring_stops_reading_not_the_loop(void **state)
{
	struct world *w = *state;
	unsigned receives;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	w->rig.stuck = true;
	for (int i = 0; i < 200; i++)
		arrive(host.fd, "192.0.2.1", 7, "b", 1);
	run(w); /* comes back: it does not spin */
	receives = host.receives;
	assert_true(receives < 200);
	run(w);
	assert_int_equal(host.receives, receives);
	assert_int_equal(stats(w)->drop_ring_full, 0);
	w->rig.stuck = false;
	run(w); /* as after the link's writable event */
	assert_int_equal(w->rig.frames, 200);
	assert_int_equal(stats(w)->drop_ring_full, 0);
}

static void flooded_flow_leaves_the_others_their_turn(void **state)
{
	struct world *w = *state;
	int flooded;

	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	flooded = host.fd;
	say(w, "10.0.2.15", 4001, "192.0.2.1", 7, "a");
	for (int i = 0; i < 200; i++)
		arrive(flooded, "192.0.2.1", 7, "b", 1);
	arrive(host.fd, "192.0.2.1", 7, "c", 1);
	assert_true(lwr__udp_tick(&w->udp));
	lwr__stack_flush(&w->rig.stack);
	expect_received(w, w->rig.frames - 1, "192.0.2.1", 7, "10.0.2.15", 4001,
			"c");
	assert_true(w->rig.frames < 100);
	run(w);
	assert_int_equal(w->rig.frames, 201);
}

/* ---- batches --------------------------------------------------------------- */

/* Without a tick, so that several wait for it. */
static void queue(struct world *w, uint16_t sport, const char *dst,
		  const void *data, size_t len)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t n = rig_udp(frame, "10.0.2.15", sport, dst, 7, data, len);

	rig_send(&w->rig, frame, n);
}

static void datagrams_of_a_tick_are_one_call_for_a_socket(void **state)
{
	struct world *w = *state;
	char text[LWR_ADDR_TEXT];
	struct lwr_addr a;

	for (uint32_t i = 0; i < 40; i++) {
		a = lwr__addr_of_v4(0xc0000200 + i);
		queue(w, (uint16_t)(4000 + i % 2), lwr__addr_text(&a, text),
		      "data", 4);
	}
	assert_int_equal(host.calls, 0);
	run(w);
	assert_int_equal(host.calls, 2);
	assert_int_equal(host.sends, 40);
}

static void equal_datagrams_to_one_peer_are_a_train(void **state)
{
	static uint8_t data[1000];
	struct world *w = *state;

	for (int i = 0; i < 10; i++) {
		data[0] = (uint8_t)i;
		queue(w, 4000, "192.0.2.1", data, i < 9 ? 1000 : 300);
	}
	run(w);
	assert_int_equal(host.sends, 1);
	assert_int_equal(host.seg, 1000);
	assert_int_equal(host.len, 9300);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(host.data[i * 1000], i);
}

static void train_ends_where_something_differs(void **state)
{
	static uint8_t data[1000];
	struct world *w = *state;

	queue(w, 4000, "192.0.2.1", data, 1000);
	queue(w, 4000, "192.0.2.1", data, 500); /* ends the train */
	queue(w, 4000, "192.0.2.1", data, 500);
	queue(w, 4000, "192.0.2.1", data, 501); /* larger */
	queue(w, 4000, "192.0.2.2", data, 501); /* to another */
	queue(w, 4000, "192.0.2.2", data, 0); /* empty */
	queue(w, 4000, "192.0.2.2", data, 0);
	run(w);
	assert_int_equal(host.sends, 6);
	assert_int_equal(host.calls, 1);
}

static void full_queue_is_sent_at_once(void **state)
{
	static uint8_t data[1400];
	struct world *w = *state;

	for (int i = 0; i < 500; i++)
		queue(w, 4000, "192.0.2.1", data, sizeof(data));
	assert_true(host.sends > 0);
	run(w);
	assert_true(host.sends >= 500 / 46 && host.sends < 20);
}

static void evicted_flow_has_sent_its_datagrams(void **state)
{
	struct world *w = *state; /* max_udp 8 */

	for (uint16_t i = 0; i < 100; i++)
		queue(w, (uint16_t)(4000 + i), "192.0.2.1", "data", 4);
	run(w);
	assert_int_equal(host.sends, 100);
	assert_int_equal(stats(w)->udp_limited, 92);
}

static void datagrams_of_a_call_are_a_train_for_the_guest(void **state)
{
	static uint8_t data[1472];
	struct world *w = *state;

	w->rig.link.caps.uso_h2g = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	for (int i = 0; i < 20; i++)
		arrive(host.fd, "192.0.2.1", 7, data, sizeof(data));
	arrive(host.fd, "192.0.2.1", 7, data, 100);
	arrive(host.fd, "192.0.2.1", 7, data, 0);
	run(w);
	assert_int_equal(w->rig.frames, 2);
	assert_int_equal(w->rig.frame[0].gso, LWR_GSO_UDP);
	assert_int_equal(w->rig.frame[0].gso_size, 1472);
	assert_int_equal(w->rig.frame[0].len, 42 + 20 * 1472 + 100);
	assert_int_equal(w->rig.frame[1].len, 42);
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

/* ---- who is heard, who is evicted ------------------------------------------- */

static void strangers_are_heard_if_asked_for(void **state)
{
	struct world *w = *state;

	w->rig.config.udp_any = true;
	say(w, "10.0.2.15", 4000, "192.0.2.1", 7, "a");
	arrive(host.fd, "192.0.2.66", 9, "x", 1);
	arrive(host.fd, "127.0.0.1", 9, "x", 1); /* not opened */
	arrive(host.fd, "10.0.2.2", 9, "x", 1); /* what it would pass for */
	run(w);
	assert_int_equal(w->rig.frames, 1);
	expect_received(w, 0, "192.0.2.66", 9, "10.0.2.15", 4000, "x");
	w->rig.config.net.host_loopback = true;
	arrive(host.fd, "127.0.0.1", 9, "y", 1);
	run(w);
	expect_received(w, 1, "10.0.2.2", 9, "10.0.2.15", 4000, "y");
	wait_ms(w, 60000); /* but they do not keep the flow */
	assert_int_equal(stats(w)->udp_live, 0);
}

static void say_on(struct world *w, struct lwr_link *link, uint16_t sport)
{
	static uint8_t frame[RIG_FRAME_MAX];
	size_t n = rig_udp(frame, "10.0.2.15", sport, "192.0.2.1", 7, "a", 1);
	struct lwr_frame_meta meta = { 0 };
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);

	memcpy(p->payload, frame, n);
	lwr__stack_input(link, p, &meta);
	run(w);
	wait_ms(w, 1);
}

static void greedy_link_evicts_its_own(void **state)
{
	struct world *w = *state; /* 8 flows for two links */
	struct lwr_link *a = &w->rig.link;
	struct lwr_link b = { .ops = a->ops,
			      .caps = a->caps,
			      .owner = a->owner };

	assert_int_equal(lwr__stack_add_link(&w->rig.stack, &b), 0);
	for (uint16_t i = 0; i < 3; i++)
		say_on(w, &b, (uint16_t)(5000 + i));
	for (uint16_t i = 0; i < 50; i++)
		say_on(w, a, (uint16_t)(4000 + i));
	assert_int_equal(b.stats.udp_live, 3);
	assert_int_equal(a->stats.udp_live, 5);
	/* Up to its share the other one gets what the first has too much. */
	for (uint16_t i = 0; i < 50; i++)
		say_on(w, &b, (uint16_t)(6000 + i));
	assert_int_equal(b.stats.udp_live, 4);
	assert_int_equal(a->stats.udp_live, 4);
	assert_int_equal(a->stats.udp_limited, 45);
	lwr__udp_link_down(&w->udp, &b); /* the rig's hook knows one link */
	lwr__stack_remove_link(&b);
	run(w);
}

static void limit_of_a_link_is_its_own(void **state)
{
	struct world *w = *state;

	w->rig.config.net.limits.udp = 2;
	for (uint16_t i = 0; i < 5; i++)
		say(w, "10.0.2.15", (uint16_t)(4000 + i), "192.0.2.1", 7, "a");
	assert_int_equal(stats(w)->udp_live, 2);
	assert_int_equal(stats(w)->udp_limited, 3);
	assert_int_equal(host.sends, 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- the user's word ----------------------------------------------------- */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(datagram_goes_out_and_its_answer_comes_back),
		TEST(ipv6_has_its_own_socket),
		TEST(empty_datagrams_pass),
		TEST(one_socket_for_all_destinations),
		TEST(strangers_are_not_heard),
		cmocka_unit_test_setup_teardown(thousand_peers_are_all_heard,
						setup_many, teardown),
		TEST(oldest_peer_is_forgotten_at_the_limit),
		TEST(gateway_is_the_hosts_loopback_if_opened),
		TEST(train_of_the_guest_stays_whole),
		TEST(train_of_less_than_one_datagram_is_none),
		TEST(train_of_the_host_is_cut_for_the_guest),
		TEST(train_of_the_host_stays_whole_where_the_link_cuts),
		TEST(large_datagram_reaches_the_guest_in_fragments),
		TEST(denied_destinations_are_prohibited),
		TEST(closed_gateway_ports_are_unreachable),
		TEST(groups_are_dropped_without_a_word),
		TEST(foreign_sources_are_dropped),
		TEST(errno_of_sending_is_told),
		TEST(host_without_ipv6_is_unreachable),
		TEST(reports_become_icmp_with_the_guests_packet),
		TEST(report_names_what_the_guest_wrote),
		TEST(datagrams_behind_a_report_are_read),
		TEST(idle_flow_expires_and_the_timer_stops),
		TEST(traffic_of_either_side_keeps_a_flow),
		TEST(strangers_do_not_keep_a_flow),
		TEST(answered_query_expires_soon),
		TEST(socket_that_also_talks_to_others_is_no_query),
		TEST(oldest_flow_is_evicted_at_the_limit),
		TEST(oldest_of_both_kinds_is_evicted),
		TEST(out_of_descriptors_the_oldest_gives_its_own),
		TEST(without_any_descriptor_it_is_dropped),
		TEST(flows_end_with_the_link),
		cmocka_unit_test_setup_teardown(
			full_ring_stops_reading_not_the_loop, setup_small_ring,
			teardown),
		TEST(flooded_flow_leaves_the_others_their_turn),
		TEST(datagrams_of_a_tick_are_one_call_for_a_socket),
		TEST(equal_datagrams_to_one_peer_are_a_train),
		TEST(train_ends_where_something_differs),
		TEST(full_queue_is_sent_at_once),
		TEST(evicted_flow_has_sent_its_datagrams),
		TEST(datagrams_of_a_call_are_a_train_for_the_guest),
		TEST(ttl_and_df_of_the_guest_go_on),
		TEST(too_large_for_the_hosts_path_is_told_with_the_mtu),
		TEST(routers_report_comes_from_the_router),
		TEST(errors_are_bounded_in_rate),
		TEST(strangers_are_heard_if_asked_for),
		TEST(greedy_link_evicts_its_own),
		TEST(limit_of_a_link_is_its_own),
		TEST(hook_is_asked_once_for_a_destination),
		TEST(hook_denies_datagrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
