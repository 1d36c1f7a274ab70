/* SPDX-License-Identifier: BSD-3-Clause */
#include "netif/batch.h"

#include "core/buf.h"
#include "lwip/pbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAM_MAX = 8 << 20 };

struct fixture {
	struct lwr_ring ring;
	struct lwr_batch batch;
	uint8_t want[STREAM_MAX]; /* what the far side must see */
	uint8_t got[STREAM_MAX];
	size_t wanted;
	size_t given;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	lwr__batch_init(&f->batch, true);
	return lwr__ring_init(&f->ring, 1024);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lwr__ring_fini(&f->ring);
	free(f);
	return 0;
}

/* A plain frame of `len` bytes in about `pieces` pbufs. */
static void push(struct fixture *f, size_t len, size_t pieces)
{
	struct lwr_frame frame = { 0 };
	size_t size = len / pieces ? len / pieces : 1, n;
	uint8_t *w;

	lwr__framing_put(f->want + f->wanted, (uint32_t)len);
	f->wanted += 4;
	w = f->want + f->wanted;
	for (size_t i = 0; i < len; i++)
		w[i] = (uint8_t)rand();
	f->wanted += len;
	for (size_t at = 0; at < len; at += n) {
		struct pbuf *q;

		n = size < len - at ? size : len - at;
		q = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);
		pbuf_take(q, w + at, (u16_t)n);
		if (frame.p)
			pbuf_cat(frame.p, q);
		else
			frame.p = q;
	}
	assert_int_equal(lwr__ring_push(&f->ring, &frame), 0);
	pbuf_free(frame.p);
}

/* The far side takes up to max bytes of the batch, as sendmsg() would. */
static void take(struct fixture *f, size_t max)
{
	const struct lwr_batch *b = &f->batch;
	size_t n = 0;

	assert_true(b->n - b->first <= LWR_BATCH_IOV);
	for (unsigned i = b->first; i < b->n && n < max; i++) {
		size_t part = b->iov[i].iov_len;

		assert_true(part > 0);
		part = part < max - n ? part : max - n;
		memcpy(f->got + f->given, b->iov[i].iov_base, part);
		f->given += part;
		n += part;
	}
	lwr__batch_sent(&f->batch, &f->ring, n);
}

static void assert_all_given(struct fixture *f)
{
	assert_int_equal(lwr__ring_count(&f->ring), 0);
	assert_int_equal(f->given, f->wanted);
	assert_memory_equal(f->got, f->want, f->wanted);
}

static void batch_of_an_empty_ring_is_nothing(void **state)
{
	struct fixture *f = *state;

	assert_false(lwr__batch_fill(&f->batch, &f->ring));
	assert_true(lwr__batch_empty(&f->batch));
}

static void batch_frames_leave_the_ring_when_all_is_written(void **state)
{
	struct fixture *f = *state;

	push(f, 60, 1);
	push(f, 1514, 2);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	take(f, 64);
	assert_int_equal(lwr__ring_count(&f->ring), 2);
	take(f, SIZE_MAX);
	assert_all_given(f);
	assert_false(lwr__batch_fill(&f->batch, &f->ring));
}

static void batch_written_byte_by_byte_is_exact(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 20; i++)
		push(f, 14 + i * 10, 1 + i);
	while (lwr__batch_fill(&f->batch, &f->ring))
		take(f, 1);
	assert_all_given(f);
}

static void batch_unfinished_is_not_rebuilt(void **state)
{
	struct fixture *f = *state;
	unsigned n;

	push(f, 100, 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	n = f->batch.n;
	take(f, 50);
	push(f, 100, 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	assert_int_equal(f->batch.n, n);
	take(f, SIZE_MAX);
	assert_int_equal(lwr__ring_count(&f->ring), 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	take(f, SIZE_MAX);
	assert_all_given(f);
}

static void batch_random_frames_and_writes_are_exact(void **state)
{
	struct fixture *f = *state;

	srand(3);
	for (int round = 0; round < 20; round++) {
		for (int i = rand() % 60; i > 0; i--) {
			size_t len = rand() % 4 ? 14 + (size_t)rand() % 1500 :
						  60000 + (size_t)rand() % 5535;

			if (f->wanted + len + 4 < STREAM_MAX)
				push(f, len, 1 + (size_t)rand() % 40);
		}
		while (lwr__batch_fill(&f->batch, &f->ring) && rand() % 50)
			take(f, (size_t)rand() % 400000);
	}
	while (lwr__batch_fill(&f->batch, &f->ring))
		take(f, SIZE_MAX);
	assert_all_given(f);
}

static void batch_is_bounded_in_packets_iovecs_and_bytes(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 1024; i++)
		push(f, 60, 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	assert_int_equal(f->batch.frames, LWR_BATCH_PACKETS);
	while (lwr__batch_fill(&f->batch, &f->ring))
		take(f, SIZE_MAX);
	for (int i = 0; i < 20; i++)
		push(f, 65535, 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	assert_int_equal(f->batch.frames, 5);
	while (lwr__batch_fill(&f->batch, &f->ring))
		take(f, SIZE_MAX);
	for (int i = 0; i < 20; i++)
		push(f, 400, 200);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	assert_int_equal(f->batch.frames, 5);
	while (lwr__batch_fill(&f->batch, &f->ring))
		take(f, SIZE_MAX);
	assert_all_given(f);
}

static void batch_copies_a_frame_in_too_many_pieces(void **state)
{
	struct fixture *f = *state;

	push(f, 3000, 3000);
	push(f, 60, 1);
	assert_true(lwr__batch_fill(&f->batch, &f->ring));
	assert_true(f->batch.n < 8);
	take(f, SIZE_MAX);
	assert_all_given(f);
}

/* A TCP frame of 60,000 bytes, cut into packets of `size`. */
static void push_large(struct fixture *f, uint16_t size)
{
	static const uint8_t ip[] = {
		0x08, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6
	};
	struct lwr_frame frame = { .p = pbuf_alloc(PBUF_RAW, 60000, PBUF_RAM),
				   .gso = LWR_GSO_TCP4,
				   .gso_size = size,
				   .needs_csum = 1,
				   .l4_off = 34,
				   .hdr_len = 54 };
	uint8_t *b = frame.p->payload;

	memset(b, 7, 60000);
	memcpy(b + 12, ip, sizeof(ip));
	b[34 + 12] = 5 << 4;
	assert_int_equal(lwr__ring_push(&f->ring, &frame), 0);
	pbuf_free(frame.p);
}

static void batch_boundary_inside_a_large_segment_is_exact(void **state)
{
	struct fixture *f = *state;
	size_t packets = 0, bytes = 0;
	uint32_t len;

	for (int i = 0; i < 10; i++)
		push_large(f, 100);
	while (lwr__batch_fill(&f->batch, &f->ring)) {
		/* 600 packets a frame, 512 a batch */
		assert_true(lwr__batch_empty(&f->batch) || f->batch.n <= 1024);
		take(f, 10007);
	}
	for (size_t at = 0; at < f->given; at += 4 + len) {
		assert_int_equal(lwr__framing_cut(f->got + at, f->given - at,
						  LWR_FRAMING_MAX, &len),
				 1);
		packets++;
		bytes += len - 54;
	}
	assert_int_equal(bytes, 10 * (60000 - 54));
	assert_int_equal(packets, 10 * 600);
	assert_int_equal(lwr__ring_count(&f->ring), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(batch_of_an_empty_ring_is_nothing),
		TEST(batch_frames_leave_the_ring_when_all_is_written),
		TEST(batch_written_byte_by_byte_is_exact),
		TEST(batch_unfinished_is_not_rebuilt),
		TEST(batch_random_frames_and_writes_are_exact),
		TEST(batch_is_bounded_in_packets_iovecs_and_bytes),
		TEST(batch_copies_a_frame_in_too_many_pieces),
		TEST(batch_boundary_inside_a_large_segment_is_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
