/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/pkt.h"

#include "core/csum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { L3 = 14, ROOM = 2048 };

/* A frame under construction: exactly `len` bytes on the heap, for ASan. */
struct build {
	uint8_t b[ROOM];
	size_t len;
};

static void put8(struct build *f, unsigned v)
{
	f->b[f->len++] = (uint8_t)v;
}

static void put16(struct build *f, unsigned v)
{
	put8(f, v >> 8);
	put8(f, v & 255);
}

static void zeros(struct build *f, size_t n)
{
	memset(f->b + f->len, 0, n);
	f->len += n;
}

static void eth(struct build *f, unsigned ethertype)
{
	f->len = 0;
	zeros(f, 12);
	put16(f, ethertype);
}

static void set16(struct build *f, size_t at, unsigned v)
{
	f->b[at] = (uint8_t)(v >> 8);
	f->b[at + 1] = (uint8_t)v;
}

static void ip4_csum(struct build *f)
{
	uint16_t csum;

	set16(f, L3 + 10, 0);
	csum = lwr__csum(0, f->b + L3, (f->b[L3] & 15u) * 4);
	memcpy(f->b + L3 + 10, &csum, 2);
}

/* Ethernet and IPv4 with `opt` option bytes; payload comes behind. */
static void ip4(struct build *f, unsigned proto, size_t opt, size_t payload)
{
	static const uint8_t addrs[] = { 10, 0, 2, 15, 93, 184, 216, 34 };

	eth(f, LWR_ETHERTYPE_IP4);
	put8(f, 0x40 | (unsigned)(20 + opt) / 4);
	put8(f, 0);
	put16(f, (unsigned)(20 + opt + payload));
	put16(f, 0x1234);
	put16(f, 0x4000);
	put8(f, 63);
	put8(f, proto);
	put16(f, 0);
	memcpy(f->b + f->len, addrs, 8);
	f->len += 8;
	zeros(f, opt);
	ip4_csum(f);
}

static void ip6(struct build *f, unsigned next, size_t payload)
{
	eth(f, LWR_ETHERTYPE_IP6);
	put16(f, 0x6000);
	put16(f, 0);
	put16(f, (unsigned)payload);
	put8(f, next);
	put8(f, 62);
	put16(f, 0xfd00);
	zeros(f, 13);
	put8(f, 0x15);
	put16(f, 0x2001);
	zeros(f, 13);
	put8(f, 9);
}

static void tcp(struct build *f, unsigned words, size_t payload)
{
	put16(f, 40000);
	put16(f, 443);
	zeros(f, 8);
	put8(f, words << 4);
	put8(f, 2);
	zeros(f, 6 + payload);
	if (words > 5)
		zeros(f, (words - 5) * 4);
}

static void udp(struct build *f, unsigned len, size_t payload)
{
	put16(f, 5353);
	put16(f, 53);
	put16(f, len);
	put16(f, 0);
	zeros(f, payload);
}

static struct lwr_pkt last; /* as the last parse left it */

static enum lwr_drop parse_meta(const struct build *f,
				struct lwr_frame_meta meta)
{
	uint8_t *copy = malloc(f->len ? f->len : 1);
	enum lwr_drop drop;

	memcpy(copy, f->b, f->len);
	memset(&last, 0xa5, sizeof(last));
	last.data = copy;
	last.len = (uint32_t)f->len;
	last.meta = meta;
	last.reassembled = false; /* the caller's word */
	drop = lwr__pkt_parse(&last);
	assert_memory_equal(copy, f->b, f->len);
	free(copy);
	last.data = NULL;
	return drop;
}

static enum lwr_drop parse(const struct build *f)
{
	return parse_meta(f, (struct lwr_frame_meta){ 0 });
}

/* Every shorter frame is short, whatever its headers promise. */
static void assert_short_when_cut(const struct build *f)
{
	struct build g = *f;

	while (g.len-- > 0)
		assert_int_equal(parse(&g), LWR_DROP_SHORT);
}

static void pkt_tcp4_is_parsed(void **state)
{
	struct build f;
	char text[LWR_ADDR_TEXT];

	(void)state;
	ip4(&f, LWR_PROTO_TCP, 0, 30);
	tcp(&f, 5, 10);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.ethertype, LWR_ETHERTYPE_IP4);
	assert_int_equal(last.l3, 14);
	assert_int_equal(last.l4, 34);
	assert_int_equal(last.l4_len, 30);
	assert_int_equal(last.proto, LWR_PROTO_TCP);
	assert_int_equal(last.ttl, 63);
	assert_false(last.fragment);
	assert_int_equal(last.sport, 40000);
	assert_int_equal(last.dport, 443);
	assert_string_equal(lwr__addr_text(&last.src, text), "10.0.2.15");
	assert_string_equal(lwr__addr_text(&last.dst, text), "93.184.216.34");
	assert_short_when_cut(&f);
}

static void pkt_padding_is_cut(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_TCP, 0, 20);
	tcp(&f, 5, 0);
	zeros(&f, 6);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l4_len, 20);
	ip6(&f, LWR_PROTO_UDP, 9);
	udp(&f, 9, 1);
	zeros(&f, 100);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l4_len, 9);
}

static void pkt_ip4_options_are_skipped(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_TCP, 40, 20);
	tcp(&f, 5, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l4, 14 + 60);
	assert_int_equal(last.dport, 443);
	assert_short_when_cut(&f);
}

static void pkt_ip4_bad_header_fields_are_refused(void **state)
{
	struct build f, g;

	(void)state;
	ip4(&f, LWR_PROTO_TCP, 0, 20);
	tcp(&f, 5, 0);
	g = f;
	g.b[L3] = 0x55; /* version */
	ip4_csum(&g);
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	g.b[L3] = 0x44; /* header length 16 */
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	set16(&g, L3 + 2, 19); /* total length below the header's */
	ip4_csum(&g);
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	set16(&g, L3 + 2, 41); /* beyond the frame */
	ip4_csum(&g);
	assert_int_equal(parse(&g), LWR_DROP_SHORT);
	g = f;
	set16(&g, L3 + 10, 0xbeef);
	assert_int_equal(parse(&g), LWR_DROP_CHECKSUM);
	g = f;
	g.b[L3 + 12] = 224; /* from a group */
	ip4_csum(&g);
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	memset(g.b + L3 + 12, 255, 4); /* from the broadcast address */
	ip4_csum(&g);
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
}

static void pkt_dhcp_sources_and_group_destinations_pass(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_UDP, 0, 8);
	udp(&f, 8, 0);
	memset(f.b + L3 + 12, 0, 4);
	memset(f.b + L3 + 16, 255, 4);
	ip4_csum(&f);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	ip6(&f, LWR_PROTO_UDP, 8);
	udp(&f, 8, 0);
	memset(f.b + L3 + 8, 0, 16);
	set16(&f, L3 + 24, 0xff02);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
}

static void pkt_tcp_header_stays_inside(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_TCP, 0, 19);
	tcp(&f, 5, 0);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
	ip4(&f, LWR_PROTO_TCP, 0, 20);
	tcp(&f, 4, 0);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
	ip4(&f, LWR_PROTO_TCP, 0, 32);
	tcp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	ip4(&f, LWR_PROTO_TCP, 0, 32);
	tcp(&f, 9, 0);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
}

static void pkt_udp_length_cuts_and_is_checked(void **state)
{
	static const struct lwr_frame_meta gso = { .gso = LWR_GSO_UDP,
						   .gso_size = 10 };
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_UDP, 0, 7);
	udp(&f, 7, 0);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
	ip4(&f, LWR_PROTO_UDP, 0, 28);
	udp(&f, 18, 20);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l4_len, 18);
	assert_int_equal(last.sport, 5353);
	assert_int_equal(last.dport, 53);
	assert_int_equal(parse_meta(&f, gso), LWR_DROP_NONE);
	assert_int_equal(last.l4_len, 28);
	ip4(&f, LWR_PROTO_UDP, 0, 28);
	udp(&f, 7, 20);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
	ip4(&f, LWR_PROTO_UDP, 0, 28);
	udp(&f, 29, 20);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
}

static void pkt_icmp_belongs_to_its_family(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_ICMP, 0, 8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.sport, 0);
	ip4(&f, LWR_PROTO_ICMP, 0, 7);
	zeros(&f, 7);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
	ip4(&f, LWR_PROTO_ICMP6, 0, 8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_PROTO);
	ip6(&f, LWR_PROTO_ICMP6, 8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	ip6(&f, LWR_PROTO_ICMP, 8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_PROTO);
	ip4(&f, 47, 0, 8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_PROTO);
}

static void pkt_ip4_fragments_are_marked(void **state)
{
	static const unsigned frag[] = { 0x2000, 0x0001, 0x2001, 0x1000 };
	struct build f;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		ip4(&f, LWR_PROTO_UDP, 0, 3);
		zeros(&f, 3); /* less than a UDP header */
		set16(&f, L3 + 6, frag[i]);
		ip4_csum(&f);
		assert_int_equal(parse(&f), LWR_DROP_NONE);
		assert_true(last.fragment);
		assert_int_equal(last.proto, LWR_PROTO_UDP);
		assert_int_equal(last.l4_len, 3);
		assert_int_equal(last.dport, 0);
		assert_true(lwr__pkt_csum_valid(&last));
	}
}

static void pkt_fragment_beyond_65535_is_refused(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_UDP, 0, 8);
	zeros(&f, 8);
	set16(&f, L3 + 6, 0x1fff);
	ip4_csum(&f);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
	set16(&f, L3 + 6, 0x1ffe);
	ip4_csum(&f);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
}

static void pkt_udp6_is_parsed(void **state)
{
	struct build f;
	char text[LWR_ADDR_TEXT];

	(void)state;
	ip6(&f, LWR_PROTO_UDP, 12);
	udp(&f, 12, 4);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.ethertype, LWR_ETHERTYPE_IP6);
	assert_int_equal(last.l4, 54);
	assert_int_equal(last.l4_len, 12);
	assert_int_equal(last.ttl, 62);
	assert_int_equal(last.dport, 53);
	assert_string_equal(lwr__addr_text(&last.src, text), "fd00::15");
	assert_string_equal(lwr__addr_text(&last.dst, text), "2001::9");
	assert_short_when_cut(&f);
}

static void pkt_ip6_bad_header_fields_are_refused(void **state)
{
	struct build f, g;

	(void)state;
	ip6(&f, LWR_PROTO_UDP, 8);
	udp(&f, 8, 0);
	g = f;
	g.b[L3] = 0x40;
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	g.b[L3 + 8] = 0xff; /* from a group */
	assert_int_equal(parse(&g), LWR_DROP_MALFORMED);
	g = f;
	set16(&g, L3 + 4, 9); /* beyond the frame */
	assert_int_equal(parse(&g), LWR_DROP_SHORT);
	ip6(&f, 59, 0); /* no next header */
	assert_int_equal(parse(&f), LWR_DROP_PROTO);
}

static void pkt_ip6_cannot_carry_ip4_addresses(void **state)
{
	struct build f;

	(void)state;
	for (size_t at = L3 + 8; at <= L3 + 24; at += 16) {
		ip6(&f, LWR_PROTO_UDP, 8);
		udp(&f, 8, 0);
		memset(f.b + at, 0, 16);
		set16(&f, at + 10, 0xffff);
		f.b[at + 12] = 127;
		f.b[at + 15] = 1;
		assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
	}
}

/* An extension header of 8 bytes. */
static void ext(struct build *f, unsigned next, unsigned b2, unsigned b3)
{
	put8(f, next);
	put8(f, 0);
	put8(f, b2);
	put8(f, b3);
	zeros(f, 4);
}

static void pkt_ip6_extension_headers_are_skipped(void **state)
{
	struct build f;

	(void)state;
	ip6(&f, 0, 8 + 8 + 24 + 8);
	ext(&f, 43, 0, 0);
	ext(&f, 60, 0, 0); /* routing, at its end */
	put8(&f, LWR_PROTO_UDP);
	put8(&f, 2); /* 24 bytes */
	zeros(&f, 22);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l4, 54 + 40);
	assert_int_equal(last.l4_len, 8);
	assert_int_equal(last.proto, LWR_PROTO_UDP);
	assert_int_equal(last.dport, 53);
	assert_false(last.fragment);
	assert_short_when_cut(&f);
}

static void pkt_ip6_extension_headers_stay_inside(void **state)
{
	struct build f;

	(void)state;
	ip6(&f, 60, 8); /* 2048 bytes promised */
	put8(&f, LWR_PROTO_UDP);
	put8(&f, 255);
	zeros(&f, 6);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
	ip6(&f, 60, 1);
	put8(&f, LWR_PROTO_UDP);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
	ip6(&f, 44, 7);
	put8(&f, LWR_PROTO_UDP);
	zeros(&f, 6);
	assert_int_equal(parse(&f), LWR_DROP_SHORT);
}

static void pkt_ip6_source_route_is_refused(void **state)
{
	struct build f;

	(void)state;
	ip6(&f, 43, 16);
	ext(&f, LWR_PROTO_UDP, 0, 1);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
}

static void pkt_ip6_hop_by_hop_only_comes_first(void **state)
{
	struct build f;

	(void)state;
	ip6(&f, 60, 24);
	ext(&f, 0, 0, 0);
	ext(&f, LWR_PROTO_UDP, 0, 0);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
}

static void pkt_ip6_takes_eight_extension_headers(void **state)
{
	struct build f;

	(void)state;
	for (unsigned n = 8; n <= 9; n++) {
		ip6(&f, 60, n * 8 + 8);
		for (unsigned i = 1; i < n; i++)
			ext(&f, 60, 0, 0);
		ext(&f, LWR_PROTO_UDP, 0, 0);
		udp(&f, 8, 0);
		assert_int_equal(parse(&f),
				 n == 8 ? LWR_DROP_NONE : LWR_DROP_MALFORMED);
	}
}

static void pkt_ip6_fragments_are_marked(void **state)
{
	struct build f;

	(void)state;
	for (int last_one = 0; last_one < 2; last_one++) {
		ip6(&f, 44, 8 + 3);
		ext(&f, LWR_PROTO_UDP, 0, last_one ? 8 : 1);
		zeros(&f, 3);
		assert_int_equal(parse(&f), LWR_DROP_NONE);
		assert_true(last.fragment);
		assert_int_equal(last.proto, LWR_PROTO_UDP);
		assert_int_equal(last.l4, 54 + 8);
		assert_int_equal(last.l4_len, 3);
	}
	ip6(&f, 44, 16);
	ext(&f, LWR_PROTO_UDP, 0xff, 0xf8);
	zeros(&f, 8);
	assert_int_equal(parse(&f), LWR_DROP_MALFORMED);
}

static void pkt_ip6_atomic_fragment_is_a_whole_packet(void **state)
{
	struct build f;

	(void)state;
	ip6(&f, 44, 16);
	ext(&f, LWR_PROTO_UDP, 0, 0);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_false(last.fragment);
	assert_int_equal(last.dport, 53);
}

static void pkt_arp_passes_and_other_ethertypes_do_not(void **state)
{
	static const unsigned other[] = { 0x8100, 0x88a8, 0x88cc, 60, 0, 1500 };
	struct build f;

	(void)state;
	eth(&f, LWR_ETHERTYPE_ARP);
	zeros(&f, 28);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	assert_int_equal(last.l3, 14);
	assert_int_equal(last.l4, 0);
	assert_int_equal(last.l4_len, 0);
	assert_true(lwr__addr_is_any(&last.src));
	assert_true(lwr__pkt_csum_valid(&last));
	assert_short_when_cut(&f);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		eth(&f, other[i]);
		zeros(&f, 46);
		assert_int_equal(parse(&f), LWR_DROP_ETHERTYPE);
	}
}

/* Fills the transport checksum of f at `field`, and keeps f alive in last. */
static bool csum_valid(struct build *f, size_t field, int damage)
{
	uint16_t csum;
	uint64_t sum = 0;

	if (f->len && parse(f) != LWR_DROP_NONE)
		return false;
	set16(f, field, 0);
	if (last.proto != LWR_PROTO_ICMP)
		sum = lwr__csum_pseudo(&last.src, &last.dst, last.proto,
				       last.l4_len);
	csum = lwr__csum(sum, f->b + last.l4, last.l4_len);
	memcpy(f->b + field, &csum, 2);
	f->b[f->len - 1] = (uint8_t)(f->b[f->len - 1] ^ damage);
	last.data = f->b;
	return lwr__pkt_csum_valid(&last);
}

static void pkt_checksum_holds_only_of_undamaged_packets(void **state)
{
	struct build f;

	(void)state;
	for (int damage = 0; damage < 2; damage++) {
		ip4(&f, LWR_PROTO_TCP, 0, 31);
		tcp(&f, 5, 11);
		assert_int_equal(csum_valid(&f, 34 + 16, damage), !damage);
		ip4(&f, LWR_PROTO_UDP, 0, 11);
		udp(&f, 11, 3);
		assert_int_equal(csum_valid(&f, 34 + 6, damage), !damage);
		ip4(&f, LWR_PROTO_ICMP, 0, 9);
		zeros(&f, 9);
		assert_int_equal(csum_valid(&f, 34 + 2, damage), !damage);
		ip6(&f, LWR_PROTO_TCP, 31);
		tcp(&f, 5, 11);
		assert_int_equal(csum_valid(&f, 54 + 16, damage), !damage);
		ip6(&f, LWR_PROTO_ICMP6, 9);
		zeros(&f, 9);
		assert_int_equal(csum_valid(&f, 54 + 2, damage), !damage);
	}
}

static void pkt_udp_without_checksum_is_valid_in_ip4_only(void **state)
{
	struct build f;

	(void)state;
	ip4(&f, LWR_PROTO_UDP, 0, 8);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	last.data = f.b;
	assert_true(lwr__pkt_csum_valid(&last));
	ip6(&f, LWR_PROTO_UDP, 8);
	udp(&f, 8, 0);
	assert_int_equal(parse(&f), LWR_DROP_NONE);
	last.data = f.b;
	assert_false(lwr__pkt_csum_valid(&last));
}

/* Whatever passes keeps the promises of the header. */
static void assert_parse_is_sound(const struct build *f)
{
	if (parse(f) != LWR_DROP_NONE)
		return;
	assert_true(last.l4 <= f->len);
	assert_true(last.l4_len <= f->len - last.l4);
	if (!last.l4 || last.fragment)
		return;
	assert_true(last.l4_len >= (last.proto == LWR_PROTO_TCP ? 20u : 8u));
}

static void pkt_mutated_frames_stay_inside(void **state)
{
	struct build f, seed[3];

	(void)state;
	ip4(&seed[0], LWR_PROTO_TCP, 8, 40);
	tcp(&seed[0], 6, 16);
	ip6(&seed[1], 0, 8 + 8 + 8 + 20);
	ext(&seed[1], 43, 0, 0);
	ext(&seed[1], 44, 0, 0);
	ext(&seed[1], LWR_PROTO_UDP, 0, 0);
	udp(&seed[1], 20, 12);
	ip4(&seed[2], LWR_PROTO_UDP, 0, 20);
	udp(&seed[2], 20, 12);
	srand(7);
	for (int i = 0; i < 200000; i++) {
		f = seed[i % 3];
		for (int n = rand() % 4; n >= 0; n--)
			f.b[12 + (unsigned)rand() % (f.len - 12)] =
				(uint8_t)rand();
		if (i % 3 != 1 && (f.b[L3] & 15) * 4u <= f.len - L3)
			ip4_csum(&f);
		if (rand() % 8 == 0)
			f.len -= (unsigned)rand() % f.len;
		assert_parse_is_sound(&f);
	}
}

static void cursor_reads_big_endian_until_the_end(void **state)
{
	static const uint8_t b[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));
	uint8_t out[2];

	(void)state;
	assert_int_equal(lwr__cursor_u8(&c), 1);
	assert_int_equal(lwr__cursor_u16(&c), 0x0203);
	assert_int_equal(lwr__cursor_u32(&c), 0x04050607);
	lwr__cursor_bytes(&c, out, 2);
	assert_int_equal(out[0] << 8 | out[1], 0x0809);
	assert_int_equal(c.left, 0);
	lwr__cursor_bytes(&c, NULL, 0);
	assert_false(c.bad);
	assert_int_equal(lwr__cursor_u8(&c), 0);
	assert_true(c.bad);
}

static void cursor_stays_bad_and_gives_zeros(void **state)
{
	static const uint8_t b[] = { 1, 2, 3 };
	struct lwr_cursor c = lwr__cursor(b, sizeof(b));
	uint8_t out[2] = { 9, 9 };

	(void)state;
	assert_int_equal(lwr__cursor_u32(&c), 0);
	assert_true(c.bad);
	assert_int_equal(lwr__cursor_u8(&c), 0);
	assert_int_equal(lwr__cursor_u16(&c), 0);
	lwr__cursor_bytes(&c, out, 2);
	assert_int_equal(out[0] | out[1], 0);
	lwr__cursor_bytes(&c, NULL, SIZE_MAX);
	assert_true(c.bad);
}

static void cursor_writes_big_endian_and_not_over_the_end(void **state)
{
	static const uint8_t want[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xee };
	uint8_t b[10] = { [9] = 0xee };
	struct lwr_cursor c = lwr__cursor(b, 9);

	(void)state;
	lwr__cursor_put_u8(&c, 1);
	lwr__cursor_put_u16(&c, 0x0203);
	lwr__cursor_put_u32(&c, 0x04050607);
	lwr__cursor_put_bytes(&c, want + 7, 2);
	lwr__cursor_put_bytes(&c, NULL, 0);
	assert_false(c.bad);
	lwr__cursor_put_u8(&c, 0);
	assert_true(c.bad);
	assert_memory_equal(b, want, sizeof(b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pkt_tcp4_is_parsed),
		cmocka_unit_test(pkt_padding_is_cut),
		cmocka_unit_test(pkt_ip4_options_are_skipped),
		cmocka_unit_test(pkt_ip4_bad_header_fields_are_refused),
		cmocka_unit_test(pkt_dhcp_sources_and_group_destinations_pass),
		cmocka_unit_test(pkt_tcp_header_stays_inside),
		cmocka_unit_test(pkt_udp_length_cuts_and_is_checked),
		cmocka_unit_test(pkt_icmp_belongs_to_its_family),
		cmocka_unit_test(pkt_ip4_fragments_are_marked),
		cmocka_unit_test(pkt_fragment_beyond_65535_is_refused),
		cmocka_unit_test(pkt_udp6_is_parsed),
		cmocka_unit_test(pkt_ip6_bad_header_fields_are_refused),
		cmocka_unit_test(pkt_ip6_cannot_carry_ip4_addresses),
		cmocka_unit_test(pkt_ip6_extension_headers_are_skipped),
		cmocka_unit_test(pkt_ip6_extension_headers_stay_inside),
		cmocka_unit_test(pkt_ip6_source_route_is_refused),
		cmocka_unit_test(pkt_ip6_hop_by_hop_only_comes_first),
		cmocka_unit_test(pkt_ip6_takes_eight_extension_headers),
		cmocka_unit_test(pkt_ip6_fragments_are_marked),
		cmocka_unit_test(pkt_ip6_atomic_fragment_is_a_whole_packet),
		cmocka_unit_test(pkt_arp_passes_and_other_ethertypes_do_not),
		cmocka_unit_test(pkt_checksum_holds_only_of_undamaged_packets),
		cmocka_unit_test(pkt_udp_without_checksum_is_valid_in_ip4_only),
		cmocka_unit_test(pkt_mutated_frames_stay_inside),
		cmocka_unit_test(cursor_reads_big_endian_until_the_end),
		cmocka_unit_test(cursor_stays_bad_and_gives_zeros),
		cmocka_unit_test(cursor_writes_big_endian_and_not_over_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
