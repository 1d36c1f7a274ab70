/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/gso.h"

#include "core/csum.h"
#include "core/pkt.h"
#include "lwip/pbuf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	FIN = 0x01,
	PSH = 0x08,
	ACK = 0x10,
	CWR = 0x80,
	SEQ = 0xfffffff0, /* wraps */
	IOV = 64,
};

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

/* Chain of pbufs: headers, then payload cut at the sizes of `cut`. */
static struct pbuf *chain(const uint8_t *hdr, size_t hdr_len, size_t payload,
			  const size_t *cut)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)hdr_len, PBUF_RAM);
	size_t at = 0;

	pbuf_take(p, hdr, (u16_t)hdr_len);
	while (at < payload) {
		size_t n = *cut && *cut < payload - at ? *cut : payload - at;
		struct pbuf *q = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);

		for (size_t i = 0; i < n; i++)
			((uint8_t *)q->payload)[i] = byte_at(at + i);
		pbuf_cat(p, q);
		at += n;
		cut += *cut != 0;
	}
	return p;
}

static size_t eth_ip(uint8_t *b, bool four, uint8_t proto, size_t l4_len)
{
	struct lwr_cursor c = lwr__cursor(b, 128);
	static const uint8_t v4[] = { 93, 184, 216, 34, 10, 0, 2, 15 };
	static const uint8_t v6[32] = { 0x20, 1, [15] = 9, [16] = 0xfd };

	memset(b, 0, 14);
	lwr__cursor_bytes(&c, NULL, 12);
	lwr__cursor_put_u16(&c, four ? LWR_ETHERTYPE_IP4 : LWR_ETHERTYPE_IP6);
	if (!four) {
		lwr__cursor_put_u32(&c, 0x60000000);
		lwr__cursor_put_u16(&c, (uint16_t)l4_len);
		lwr__cursor_put_u8(&c, proto);
		lwr__cursor_put_u8(&c, 64);
		lwr__cursor_put_bytes(&c, v6, 32);
		return 54;
	}
	lwr__cursor_put_u16(&c, 0x4500);
	lwr__cursor_put_u16(&c, (uint16_t)(20 + l4_len));
	lwr__cursor_put_u16(&c, 0xffff); /* identifier: wraps */
	lwr__cursor_put_u16(&c, 0x4000);
	lwr__cursor_put_u8(&c, 64);
	lwr__cursor_put_u8(&c, proto);
	lwr__cursor_put_u16(&c, 0xdead);
	lwr__cursor_put_bytes(&c, v4, 8);
	return 34;
}

static struct lwr_frame tcp_frame(bool four, uint8_t flags, size_t payload,
				  uint16_t gso_size, const size_t *cut)
{
	uint8_t b[128];
	size_t l4 = eth_ip(b, four, LWR_PROTO_TCP, 32 + payload);
	struct lwr_cursor c = lwr__cursor(b + l4, 32);

	memset(b + l4, 0xbb, 32);
	lwr__cursor_put_u16(&c, 443);
	lwr__cursor_put_u16(&c, 40000);
	lwr__cursor_put_u32(&c, SEQ);
	lwr__cursor_put_u32(&c, 77);
	lwr__cursor_put_u8(&c, 8 << 4);
	lwr__cursor_put_u8(&c, flags);
	return (struct lwr_frame){
		.p = chain(b, l4 + 32, payload, cut),
		.gso_size = gso_size,
		.gso = !gso_size ? LWR_GSO_NONE :
		       four	 ? LWR_GSO_TCP4 :
				   LWR_GSO_TCP6,
		.needs_csum = 1,
		.l4_off = (uint16_t)l4,
		.hdr_len = (uint16_t)(l4 + 32),
	};
}

static struct lwr_frame udp_frame(bool four, size_t payload, uint16_t gso_size,
				  const size_t *cut)
{
	uint8_t b[128];
	size_t l4 = eth_ip(b, four, LWR_PROTO_UDP, 8 + payload);
	struct lwr_cursor c = lwr__cursor(b + l4, 8);

	lwr__cursor_put_u16(&c, 53);
	lwr__cursor_put_u16(&c, 5353);
	lwr__cursor_put_u16(&c, (uint16_t)(8 + payload));
	lwr__cursor_put_u16(&c, 0xbbbb);
	return (struct lwr_frame){
		.p = chain(b, l4 + 8, payload, cut),
		.gso_size = gso_size,
		.gso = gso_size ? LWR_GSO_UDP : LWR_GSO_NONE,
		.needs_csum = 1,
		.l4_off = (uint16_t)l4,
		.hdr_len = (uint16_t)(l4 + 8),
	};
}

/* One packet as the far side sees it. */
struct wire {
	uint8_t b[66000];
	size_t len;
	struct lwr_pkt pkt;
};

static void flatten(struct wire *w, const struct lwr_gso_packet *p,
		    const uint8_t *hdr, const struct iovec *iov)
{
	memcpy(w->b, hdr, p->hdr_len);
	w->len = p->hdr_len;
	for (unsigned i = 0; i < p->n; i++) {
		memcpy(w->b + w->len, iov[i].iov_base, iov[i].iov_len);
		w->len += iov[i].iov_len;
	}
	assert_int_equal(w->len, p->len);
}

static int next(struct lwr_gso_iter *g, struct wire *w)
{
	struct lwr_gso_packet p;
	uint8_t hdr[LWR_GSO_HDR_MAX];
	struct iovec iov[IOV];
	int r = lwr__gso_next(g, &p, hdr, iov, IOV);

	if (r == 1)
		flatten(w, &p, hdr, iov);
	return r;
}

/* Our own parser accepts it, checksums included. */
static void assert_valid(struct wire *w)
{
	memset(&w->pkt, 0, sizeof(w->pkt));
	w->pkt.data = w->b;
	w->pkt.len = (uint32_t)w->len;
	assert_int_equal(lwr__pkt_parse(&w->pkt), LWR_DROP_NONE);
	assert_true(lwr__pkt_csum_valid(&w->pkt));
	assert_int_equal(w->pkt.l4 + w->pkt.l4_len, w->len);
}

static uint32_t get32(const uint8_t *p)
{
	struct lwr_cursor c = lwr__cursor(p, 4);

	return lwr__cursor_u32(&c);
}

static uint16_t get16(const uint8_t *p)
{
	struct lwr_cursor c = lwr__cursor(p, 2);

	return lwr__cursor_u16(&c);
}

/* Cuts a frame and checks every packet of it; returns how many. */
static unsigned check_tcp(const struct lwr_frame *f, size_t payload)
{
	static struct wire w;
	struct lwr_gso_iter g;
	size_t at = 0;
	unsigned k = 0;

	lwr__gso_init(&g, f);
	for (; next(&g, &w) == 1; k++) {
		size_t n = w.len - f->hdr_len;

		assert_valid(&w);
		assert_int_equal(get32(w.b + w.pkt.l4 + 4),
				 (uint32_t)(SEQ + at));
		if (w.pkt.ethertype == LWR_ETHERTYPE_IP4)
			assert_int_equal(get16(w.b + 18),
					 (uint16_t)(0xffff + k));
		if (f->gso_size)
			assert_true(n == f->gso_size || at + n == payload);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(w.b[f->hdr_len + i], byte_at(at + i));
		at += n;
	}
	assert_int_equal(at, payload);
	assert_int_equal(next(&g, &w), 0);
	return k;
}

static void gso_tcp_packets_are_valid_and_carry_everything(void **state)
{
	static const size_t payload[] = {
		1, 999, 1000, 1001, 2000, 5555, 64000
	};
	static const size_t cuts[][4] = {
		{ 0 }, { 1, 0 }, { 1000, 0 }, { 999, 2, 3, 0 }, { 1499, 1, 1 },
	};

	(void)state;
	for (int four = 0; four < 2; four++)
		for (size_t i = 0; i < 7; i++)
			for (size_t j = 0; j < 5; j++) {
				struct lwr_frame f = tcp_frame(
					four, ACK, payload[i], 1000, cuts[j]);

				assert_int_equal(check_tcp(&f, payload[i]),
						 (payload[i] + 999) / 1000);
				pbuf_free(f.p);
			}
}

static void gso_last_segment_keeps_fin_and_psh(void **state)
{
	static const size_t cut[] = { 0 };
	struct lwr_frame f =
		tcp_frame(true, FIN | PSH | ACK | CWR, 2500, 1000, cut);
	static struct wire w;
	struct lwr_gso_iter g;

	(void)state;
	lwr__gso_init(&g, &f);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(w.b[34 + 13], ACK | CWR);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(w.b[34 + 13], ACK);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(w.b[34 + 13], FIN | PSH | ACK);
	assert_int_equal(next(&g, &w), 0);
	pbuf_free(f.p);
}

static void gso_frame_of_one_segment_keeps_all_flags(void **state)
{
	static const size_t cut[] = { 0 };
	struct lwr_frame f =
		tcp_frame(false, FIN | PSH | ACK | CWR, 1000, 1000, cut);
	static struct wire w;
	struct lwr_gso_iter g;

	(void)state;
	lwr__gso_init(&g, &f);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(w.b[54 + 13], FIN | PSH | ACK | CWR);
	assert_int_equal(next(&g, &w), 0);
	pbuf_free(f.p);
}

static void gso_options_are_in_every_segment(void **state)
{
	static const size_t cut[] = { 0 };
	struct lwr_frame f = tcp_frame(true, ACK, 2500, 1000, cut);
	static struct wire w;
	struct lwr_gso_iter g;

	(void)state;
	lwr__gso_init(&g, &f);
	while (next(&g, &w) == 1)
		for (int i = 20; i < 32; i++)
			assert_int_equal(w.b[34 + i], 0xbb);
	pbuf_free(f.p);
}

static void gso_udp_packets_are_datagrams(void **state)
{
	static const size_t cut[] = { 300, 700, 0 };
	static struct wire w;

	(void)state;
	for (int four = 0; four < 2; four++) {
		struct lwr_frame f = udp_frame(four, 2501, 1000, cut);
		struct lwr_gso_iter g;
		size_t at = 0;

		lwr__gso_init(&g, &f);
		while (next(&g, &w) == 1) {
			assert_valid(&w);
			assert_int_equal(get16(w.b + w.pkt.l4 + 4),
					 w.len - w.pkt.l4);
			for (size_t i = f.hdr_len; i < w.len; i++)
				assert_int_equal(w.b[i], byte_at(at++));
		}
		assert_int_equal(at, 2501);
		assert_int_equal(g.k, 3);
		pbuf_free(f.p);
	}
}

static void gso_none_only_fills_the_checksum(void **state)
{
	static const size_t cut[] = { 3, 0 };
	static struct wire w;

	(void)state;
	for (int four = 0; four < 2; four++)
		for (size_t payload = 0; payload < 1400; payload += 699) {
			struct lwr_frame f =
				tcp_frame(four, PSH | ACK, payload, 0, cut);
			struct lwr_gso_iter g;

			assert_int_equal(check_tcp(&f, payload), 1);
			lwr__gso_init(&g, &f);
			assert_int_equal(next(&g, &w), 1);
			assert_int_equal(w.b[f.l4_off + 13], PSH | ACK);
			pbuf_free(f.p);
			f = udp_frame(four, payload, 0, cut);
			lwr__gso_init(&g, &f);
			assert_int_equal(next(&g, &w), 1);
			assert_valid(&w);
			assert_int_equal(next(&g, &w), 0);
			pbuf_free(f.p);
		}
}

/* A payload whose sum makes the checksum come out as 0. */
static void gso_udp_checksum_is_never_zero(void **state)
{
	static const size_t cut[] = { 0 };
	struct lwr_frame f = udp_frame(true, 2, 0, cut);
	static struct wire w;
	struct lwr_gso_iter g;

	(void)state;
	memset(f.p->next->payload, 0, 2);
	lwr__gso_init(&g, &f);
	assert_int_equal(next(&g, &w), 1);
	/* The checksum of zeros, as payload, cancels everything. */
	memcpy(f.p->next->payload, w.b + 34 + 6, 2);
	lwr__gso_init(&g, &f);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(get16(w.b + 34 + 6), 0xffff);
	assert_valid(&w);
	pbuf_free(f.p);
}

static void gso_plain_frame_passes_untouched(void **state)
{
	static const size_t cut[] = { 100, 0 };
	struct lwr_frame f = tcp_frame(true, FIN, 500, 0, cut);
	static struct wire w;
	struct lwr_gso_iter g;

	(void)state;
	f.needs_csum = 0;
	lwr__gso_init(&g, &f);
	assert_int_equal(next(&g, &w), 1);
	assert_int_equal(w.len, f.p->tot_len);
	assert_int_equal(pbuf_memcmp(f.p, 0, w.b, (u16_t)w.len), 0);
	assert_int_equal(next(&g, &w), 0);
	pbuf_free(f.p);
}

static void gso_is_the_same_every_time(void **state)
{
	static const size_t cut[] = { 777, 0 };
	struct lwr_frame f = tcp_frame(true, PSH, 5000, 1448, cut);
	static struct wire a, b;
	struct lwr_gso_iter g, h;

	(void)state;
	lwr__gso_init(&g, &f);
	while (next(&g, &a) == 1) {
		lwr__gso_init(&h, &f);
		while (h.k < g.k)
			assert_int_equal(next(&h, &b), 1);
		assert_int_equal(a.len, b.len);
		assert_memory_equal(a.b, b.b, a.len);
	}
	pbuf_free(f.p);
}

static void gso_without_room_for_iovecs_changes_nothing(void **state)
{
	static const size_t cut[] = { 100, 100, 100, 0 };
	struct lwr_frame f = tcp_frame(true, PSH, 1000, 500, cut);
	struct lwr_gso_iter g, before;
	struct lwr_gso_packet p;
	uint8_t hdr[LWR_GSO_HDR_MAX];
	struct iovec iov[IOV];

	(void)state;
	lwr__gso_init(&g, &f);
	before = g;
	for (unsigned max = 0; max < 4; max++)
		assert_int_equal(lwr__gso_next(&g, &p, hdr, iov, max),
				 -ENOBUFS);
	assert_memory_equal(&g, &before, sizeof(g));
	assert_int_equal(lwr__gso_next(&g, &p, hdr, iov, 4), 1);
	assert_int_equal(p.n, 4);
	pbuf_free(f.p);
}

static void gso_steps_over_empty_pbufs(void **state)
{
	static const size_t cut[] = { 500, 0 };
	struct lwr_frame f = tcp_frame(true, PSH, 1000, 300, cut);

	(void)state;
	/* One more at the end, and the first payload pbuf emptied. */
	pbuf_cat(f.p, pbuf_alloc(PBUF_RAW, 0, PBUF_RAM));
	assert_int_equal(check_tcp(&f, 1000), 4);
	f.p->next->len = 0;
	f.p->tot_len = (u16_t)(f.p->tot_len - 500);
	{
		static struct wire w;
		struct lwr_gso_iter g;

		lwr__gso_init(&g, &f);
		assert_int_equal(next(&g, &w), 1);
		assert_valid(&w);
		assert_int_equal(w.b[f.hdr_len], byte_at(500));
	}
	pbuf_free(f.p);
}

static void gso_reads_headers_across_pbufs(void **state)
{
	static const size_t cut[] = { 0 };
	struct lwr_frame f = tcp_frame(true, ACK, 100, 0, cut), g = f;
	struct pbuf *head = pbuf_alloc(PBUF_RAW, 40, PBUF_RAM);

	(void)state;
	pbuf_copy_partial(f.p, head->payload, 40, 0);
	pbuf_remove_header(f.p, 40);
	pbuf_cat(head, f.p);
	g.p = head;
	assert_int_equal(check_tcp(&g, 100), 1);
	pbuf_free(head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			gso_tcp_packets_are_valid_and_carry_everything),
		cmocka_unit_test(gso_last_segment_keeps_fin_and_psh),
		cmocka_unit_test(gso_frame_of_one_segment_keeps_all_flags),
		cmocka_unit_test(gso_options_are_in_every_segment),
		cmocka_unit_test(gso_udp_packets_are_datagrams),
		cmocka_unit_test(gso_none_only_fills_the_checksum),
		cmocka_unit_test(gso_udp_checksum_is_never_zero),
		cmocka_unit_test(gso_plain_frame_passes_untouched),
		cmocka_unit_test(gso_is_the_same_every_time),
		cmocka_unit_test(gso_without_room_for_iovecs_changes_nothing),
		cmocka_unit_test(gso_steps_over_empty_pbufs),
		cmocka_unit_test(gso_reads_headers_across_pbufs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
