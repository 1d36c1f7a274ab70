/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The in-process link on the real loop and stack. What one call does is seen
 * from the loop's own thread; races are run with threads of their own.
 */
#include "netif/inproc.h"

#include "core/csum.h"
#include "core/stack.h"
#include "core/stack_priv.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ECHOES = 50 * 1000, CLOSES = 100 };
#else
enum { ECHOES = 500 * 1000, CLOSES = 1000 };
#endif

enum { ARP_LEN = 42, V1 = 12, PRODUCERS = 4, AHEAD_MAX = 256, DEADLINE_S = 60 };

struct world {
	uv_loop_t uv;
	struct lwr_loop loop;
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_stack stack;
	struct lwr_link *link;
	struct lwr_inproc *far;
	bool echo; /* packets go back to the guest */
	unsigned packets; /* that the relay was given */
	unsigned lost; /* packets that could not go back */
	uint32_t next[PRODUCERS]; /* the number that follows, by sender */
	bool in_order;
	bool closed; /* the loop's on_closed came */
	unsigned woken[2]; /* by direction */
};

/* ---- the relay's side ----------------------------------------------------- */

static void on_log(void *arg, enum lwr_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static void send_back(struct world *w, const struct lwr_pkt *pkt)
{
	struct pbuf *p = lwr__send_alloc(ARP_LEN - LWR_ETH_HLEN);

	memcpy(p->payload, pkt->data + LWR_ETH_HLEN, ARP_LEN - LWR_ETH_HLEN);
	w->lost += lwr__ring_room(&pkt->link->h2g) == 0;
	lwr__send_eth(pkt->link, p, LWR_ETHERTYPE_ARP, pkt->data + 6);
}

/* Packets are ARP; sender and number are in its target address. */
static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	struct world *w = arg;
	struct lwr_cursor c = lwr__cursor(pkt->data + 37, 5);
	uint8_t who = lwr__cursor_u8(&c);

	w->in_order &= lwr__cursor_u32(&c) == w->next[who]++;
	w->packets++;
	if (w->echo)
		send_back(w, pkt);
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	(void)arg;
	(void)link;
}

static bool on_tick(void *arg)
{
	struct world *w = arg;

	lwr__stack_flush(&w->stack);
	return !lwr__list_empty(&w->stack.drain);
}

static const struct lwr_stack_hooks hooks = {
	.on_packet = on_packet,
	.on_link_down = on_link_down,
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	lwr__config_init(&w->config);
	w->log = (struct lwr_log){ LWR_LOG_DEBUG, on_log, w };
	w->in_order = true;
	uv_loop_init(&w->uv);
	assert_int_equal(lwr__loop_init(&w->loop, &w->uv, on_tick, w), 0);
	return lwr__stack_init(&w->stack, &w->loop, &w->config, &w->log, &hooks,
			       w);
}

static void on_closed(void *arg)
{
	((struct world *)arg)->closed = true;
}

/* As a relay ends: links first, and no turn of the loop in between. */
static int teardown(void **state)
{
	struct world *w = *state;

	if (w->link)
		w->link->ops->close(w->link);
	lwr__stack_fini(&w->stack);
	lwr__loop_fini(&w->loop, on_closed);
	uv_run(&w->uv, UV_RUN_DEFAULT);
	assert_true(w->closed);
	assert_int_equal(uv_loop_close(&w->uv), 0);
	if (w->far)
		lwr__inproc_put(w->far);
	free(w);
	return 0;
}

static void on_wake(void *arg, int dir)
{
	((struct world *)arg)->woken[dir]++;
}

static void open_link(struct world *w, struct lwr_inproc_opts o)
{
	assert_int_equal(lwr__inproc_new(&w->stack, "inproc", &w->config.net,
					 &o, &w->link, &w->far),
			 0);
}

static void close_link(struct world *w)
{
	w->link->ops->close(w->link);
	w->link = NULL;
}

static void run(struct world *w)
{
	uv_run(&w->uv, UV_RUN_NOWAIT);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- the guest's side ----------------------------------------------------- */

/* An ARP frame behind `hlen` zero bytes. */
static size_t put_arp(uint8_t *buf, size_t hlen, uint8_t who, uint32_t nr)
{
	struct lwr_cursor c;

	memset(buf, 0, hlen + ARP_LEN);
	memset(buf + hlen, 0xff, 6);
	buf[hlen + 6] = 0x52;
	buf[hlen + 12] = 0x08;
	buf[hlen + 13] = 0x06;
	c = lwr__cursor(buf + hlen + 37, 5);
	lwr__cursor_put_u8(&c, who);
	lwr__cursor_put_u32(&c, nr);
	return hlen + ARP_LEN;
}

static uint32_t number_of(const uint8_t *arp)
{
	struct lwr_cursor c = lwr__cursor(arp + 38, 4);

	return lwr__cursor_u32(&c);
}

static int push_bytes(struct lwr_inproc *far, void *data, size_t len)
{
	struct iovec iov = { data, len };
	struct lwr_inproc_frame f = { .iov = &iov, .n = 1 };

	return lwr__inproc_push(far, &f, 1);
}

static int push_arp(struct lwr_inproc *far, uint8_t who, uint32_t nr)
{
	uint8_t buf[64];

	return push_bytes(far, buf, put_arp(buf, 0, who, nr));
}

static int pop_bytes(struct lwr_inproc *far, void *data, size_t size,
		     uint32_t *len)
{
	struct iovec iov = { data, size };
	struct lwr_inproc_buf b = { .iov = &iov, .n = 1 };
	int n = lwr__inproc_pop(far, &b, 1);

	*len = b.len;
	return n;
}

static bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* ---- guest to host -------------------------------------------------------- */

static void inproc_frames_in_pieces_arrive_in_order(void **state)
{
	struct world *w = *state;
	struct lwr_inproc_frame f[3];
	struct iovec iov[3][3];
	uint8_t buf[3][64];

	open_link(w, (struct lwr_inproc_opts){ 0 });
	for (uint32_t i = 0; i < 3; i++) {
		put_arp(buf[i], 0, 0, i);
		iov[i][0] = (struct iovec){ buf[i], 13 };
		iov[i][1] = (struct iovec){ NULL, 0 };
		iov[i][2] = (struct iovec){ buf[i] + 13, ARP_LEN - 13 };
		f[i] = (struct lwr_inproc_frame){ iov[i], 3, 0 };
	}
	assert_int_equal(lwr__inproc_push(w->far, f, 3), 3);
	run(w);
	assert_int_equal(w->packets, 3);
	assert_true(w->in_order);
	assert_int_equal(w->link->stats.frames_g2h, 3);
	assert_int_equal(w->link->stats.bytes_g2h, 3 * ARP_LEN);
}

static void inproc_what_is_no_frame_is_dropped_and_counted(void **state)
{
	struct world *w = *state;
	static uint8_t big[70000];
	struct lwr_inproc_frame none = { NULL, 0, 0 };

	open_link(w, (struct lwr_inproc_opts){ 0 });
	assert_int_equal(push_bytes(w->far, big, sizeof(big)), 1);
	assert_int_equal(push_bytes(w->far, big, 13), 1);
	assert_int_equal(push_bytes(w->far, big, UINT16_MAX + 1), 1);
	assert_int_equal(push_bytes(w->far, big, SIZE_MAX), 1);
	assert_int_equal(lwr__inproc_push(w->far, &none, 1), 1);
	assert_int_equal(lwr__inproc_push(w->far, NULL, 0), 0);
	run(w);
	assert_int_equal(w->link->stats.drop_short, 5);
	assert_int_equal(w->packets, 0);
	assert_int_equal(push_arp(w->far, 0, 0), 1);
	run(w);
	assert_int_equal(w->packets, 1);
}

static void inproc_full_ring_is_told_and_counted(void **state)
{
	struct world *w = *state;
	uint32_t nr = 0;
	int fd;

	open_link(w, (struct lwr_inproc_opts){ .frames = 8 });
	fd = lwr__inproc_fd(w->far, LWR_INPROC_G2H);
	assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_G2H), 1);
	while (push_arp(w->far, 0, nr) == 1)
		nr++;
	assert_int_equal(nr, 8);
	assert_int_equal(push_arp(w->far, 0, nr), -EAGAIN);
	assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_G2H), 0);
	assert_false(readable(fd));
	run(w);
	run(w);
	assert_true(readable(fd));
	lwr__inproc_clear(w->far, LWR_INPROC_G2H);
	assert_false(readable(fd));
	assert_int_equal(w->packets, 8);
	assert_int_equal(w->link->stats.push_full, 2);
	assert_int_equal(push_arp(w->far, 0, nr), 1);
}

static void inproc_large_frames_fill_memory_and_not_only_slots(void **state)
{
	struct world *w = *state;
	static uint8_t big[60000];
	int n = 0;

	open_link(w, (struct lwr_inproc_opts){ 0 });
	for (int round = 0; round < 3; round++) {
		for (n = 0; push_bytes(w->far, big, sizeof(big)) == 1; n++)
			;
		assert_true(n >= 100 && n < 1024);
		assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_G2H), 0);
		for (int i = 0; i < 100; i++)
			run(w);
		assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_G2H), 1);
	}
	assert_int_equal(w->link->stats.drop_ethertype, 3 * n);
}

static void inproc_many_pushes_wake_a_sleeping_loop_once(void **state)
{
	struct world *w = *state;
	struct lwr_inproc_wakes wakes;
	uint32_t nr = 0;

	open_link(w, (struct lwr_inproc_opts){ 0 });
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < 100; i++)
			assert_int_equal(push_arp(w->far, 0, nr++), 1);
		lwr__inproc_wakes(w->far, &wakes);
		assert_int_equal(wakes.loop, round);
		run(w);
		run(w);
	}
	assert_int_equal(w->packets, 300);
	assert_int_equal(wakes.far, 0);
}

/* ---- host to guest -------------------------------------------------------- */

static void inproc_pop_scatters_and_tells_the_whole_length(void **state)
{
	struct world *w = *state;
	uint8_t a[10], b[20], small[20];
	struct iovec two[] = { { a, 10 }, { NULL, 0 }, { b, 20 } };
	struct iovec one = { small, sizeof(small) };
	struct lwr_inproc_buf bufs[] = { { two, 3, 0 }, { &one, 1, 0 } };
	uint8_t want[64];

	open_link(w, (struct lwr_inproc_opts){ 0 });
	w->echo = true;
	push_arp(w->far, 0, 0);
	push_arp(w->far, 0, 1);
	assert_int_equal(lwr__inproc_pop(w->far, bufs, 2), 0);
	run(w);
	assert_int_equal(lwr__inproc_pop(w->far, bufs, 2), 2);
	assert_int_equal(bufs[0].len, ARP_LEN);
	assert_int_equal(bufs[1].len, ARP_LEN);
	put_arp(want, 0, 0, 0);
	assert_int_equal(a[6], w->config.net.gateway_mac[0]);
	assert_memory_equal(b + 4, want + 14, 16);
	assert_memory_equal(small + 14, want + 14, 6);
	assert_int_equal(lwr__inproc_pop(w->far, bufs, 2), 0);
	assert_int_equal(w->link->stats.frames_h2g, 2);
	assert_int_equal(w->link->stats.bytes_h2g, 2 * ARP_LEN);
}

static void inproc_borrowed_frames_stay_until_released(void **state)
{
	struct world *w = *state;
	struct lwr_inproc_frame f[4];
	struct lwr_inproc_buf buf = { 0 };

	open_link(w, (struct lwr_inproc_opts){ .frames = 4 });
	w->echo = true;
	for (uint32_t i = 0; i < 4; i++)
		push_arp(w->far, 0, i);
	run(w);
	assert_int_equal(lwr__inproc_borrow(w->far, f, 1), 1);
	assert_int_equal(lwr__inproc_borrow(w->far, f + 1, 3), 3);
	assert_int_equal(lwr__inproc_borrow(w->far, f, 1), 0);
	assert_int_equal(lwr__inproc_pop(w->far, &buf, 1), -EBUSY);
	/* More come: they wait behind. */
	push_arp(w->far, 0, 4);
	run(w);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(f[i].len, ARP_LEN);
		assert_int_equal(f[i].n, 1);
		assert_int_equal(number_of(f[i].iov->iov_base), i);
	}
	lwr__inproc_release(w->far, 3);
	assert_int_equal(number_of(f[3].iov->iov_base), 3);
	run(w);
	assert_int_equal(lwr__inproc_borrow(w->far, f, 4), 1);
	assert_int_equal(number_of(f[0].iov->iov_base), 4);
	lwr__inproc_release(w->far, 99);
	assert_int_equal(lwr__inproc_pop(w->far, &buf, 1), 0);
}

static void inproc_wakes_a_popper_once_and_only_asleep(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	uint32_t len;

	open_link(w, (struct lwr_inproc_opts){ .wake = on_wake, .arg = w });
	w->echo = true;
	push_arp(w->far, 0, 0);
	run(w);
	assert_int_equal(w->woken[LWR_INPROC_H2G], 0);
	assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_H2G), 1);
	assert_int_equal(pop_bytes(w->far, buf, sizeof(buf), &len), 1);
	assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_H2G), 0);
	for (uint32_t i = 1; i < 10; i++) {
		push_arp(w->far, 0, i);
		run(w);
	}
	assert_int_equal(w->woken[LWR_INPROC_H2G], 1);
	assert_int_equal(w->woken[LWR_INPROC_G2H], 0);
}

/* The frame came between the announcement and the second look. */
static void inproc_wait_returns_only_for_a_reason(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	uint32_t len;

	open_link(w, (struct lwr_inproc_opts){ 0 });
	w->echo = true;
	assert_true(lwr__inproc_fd(w->far, LWR_INPROC_H2G) >= 0);
	assert_int_equal(lwr__inproc_arm(w->far, LWR_INPROC_H2G), 0);
	push_arp(w->far, 0, 0);
	run(w);
	assert_int_equal(lwr__inproc_wait(w->far, LWR_INPROC_H2G, -1), 1);
	assert_int_equal(pop_bytes(w->far, buf, sizeof(buf), &len), 1);
	assert_true(readable(lwr__inproc_fd(w->far, LWR_INPROC_H2G)));
	assert_int_equal(lwr__inproc_wait(w->far, LWR_INPROC_H2G, 1), 0);
}

static void inproc_full_h2g_ring_goes_on_when_half_is_taken(void **state)
{
	struct world *w = *state;
	struct lwr_inproc_wakes wakes;
	struct lwr_inproc_frame f[8];
	uint32_t got = 0;

	open_link(w, (struct lwr_inproc_opts){ .frames = 8 });
	w->echo = true;
	for (uint32_t i = 0; i < 24; i++) {
		push_arp(w->far, 0, i);
		run(w);
	}
	assert_int_equal(lwr__ring_count(&w->link->h2g), 16);
	lwr__inproc_wakes(w->far, &wakes);
	assert_int_equal(lwr__inproc_borrow(w->far, f, 8), 8);
	lwr__inproc_release(w->far, 3);
	run(w);
	assert_int_equal(lwr__ring_count(&w->link->h2g), 16);
	lwr__inproc_release(w->far, 5);
	for (got = 8; got < 24;) {
		int n = lwr__inproc_borrow(w->far, f, 8);

		for (int i = 0; i < n; i++)
			assert_int_equal(number_of(f[i].iov->iov_base), got++);
		lwr__inproc_release(w->far, (unsigned)n);
		run(w);
	}
	assert_int_equal(w->lost, 0);
}

/* ---- segments and the virtio-net header ----------------------------------- */

enum { HDR = 14 + 20 + 20, PAYLOAD = 3000, SEG = 1000 };

/* A TCP frame of three packets, its payload in a second pbuf. */
static void queue_segment(struct world *w)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, HDR, PBUF_RAM);
	struct pbuf *q = pbuf_alloc(PBUF_RAW, PAYLOAD, PBUF_RAM);
	struct lwr_frame f = { .p = p,
			       .gso = LWR_GSO_TCP4,
			       .gso_size = SEG,
			       .needs_csum = 1,
			       .l4_off = 34,
			       .hdr_len = HDR };
	struct lwr_cursor c = lwr__cursor(p->payload, HDR);

	memset(p->payload, 0, HDR);
	for (unsigned i = 0; i < PAYLOAD; i++)
		((uint8_t *)q->payload)[i] = (uint8_t)(i * 7);
	lwr__cursor_put_bytes(&c, (const uint8_t[6]){ 2 }, 6);
	lwr__cursor_put_bytes(&c, w->config.net.gateway_mac, 6);
	lwr__cursor_put_u16(&c, LWR_ETHERTYPE_IP4);
	lwr__cursor_put_u16(&c, 0x4500);
	lwr__cursor_put_u16(&c, HDR - 14 + PAYLOAD);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_u32(&c, 0x40060000);
	lwr__cursor_put_bytes(&c, w->config.net.gateway.b + 12, 4);
	lwr__cursor_put_bytes(&c, w->config.net.guest.b + 12, 4);
	lwr__cursor_put_u32(&c, 1234 << 16 | 80);
	lwr__cursor_put_u32(&c, 1);
	lwr__cursor_put_u32(&c, 0);
	lwr__cursor_put_u32(&c, 0x50100000);
	pbuf_cat(p, q);
	assert_int_equal(lwr__stack_push(w->link, &f), 0);
	pbuf_free(p);
	run(w);
}

/* A finished packet of the segment, behind `hlen` bytes. */
static void check_packet(struct world *w, uint8_t *data, uint32_t len,
			 uint32_t hlen, unsigned nr)
{
	struct lwr_pkt pkt = { .link = w->link,
			       .data = data + hlen,
			       .len = len - hlen };

	assert_int_equal(len, hlen + HDR + SEG);
	assert_int_equal(lwr__pkt_parse(&pkt), LWR_DROP_NONE);
	assert_true(lwr__pkt_csum_valid(&pkt));
	for (unsigned i = 0; i < SEG; i++)
		assert_int_equal(data[hlen + HDR + i],
				 (uint8_t)((nr * SEG + i) * 7));
}

static void inproc_segments_are_cut_without_offload(void **state)
{
	struct world *w = *state;
	uint8_t buf[2048], zero[10] = { 0 };
	uint32_t len;

	for (int vnet = 0; vnet < 2; vnet++) {
		/* Two slots: the frame crosses in two parts. */
		open_link(w, (struct lwr_inproc_opts){ .frames = 2,
						       .vnet = vnet });
		queue_segment(w);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(
				pop_bytes(w->far, buf, sizeof(buf), &len), 1);
			check_packet(w, buf, len, vnet ? V1 : 0, i);
			if (vnet)
				assert_memory_equal(buf, zero, 10);
			run(w);
		}
		assert_int_equal(w->link->stats.frames_h2g, 3);
		assert_int_equal(w->link->stats.bytes_h2g, 3 * (HDR + SEG));
		close_link(w);
		lwr__inproc_put(w->far);
		w->far = NULL;
		run(w);
		run(w);
	}
}

static void inproc_segments_pass_whole_with_offload(void **state)
{
	struct world *w = *state;
	struct virtio_net_hdr_v1 h;
	struct lwr_inproc_frame f;

	open_link(w, (struct lwr_inproc_opts){ .vnet = true, .offload = true });
	queue_segment(w);
	assert_int_equal(lwr__inproc_borrow(w->far, &f, 1), 1);
	assert_int_equal(f.len, V1 + HDR + PAYLOAD);
	assert_int_equal(f.n, 3);
	assert_int_equal(f.iov[0].iov_len, V1);
	memcpy(&h, f.iov[0].iov_base, sizeof(h));
	assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(h.gso_size, SEG);
	assert_int_equal(h.hdr_len, HDR);
	assert_int_equal(h.csum_start, 34);
	assert_int_equal(h.csum_offset, 16);
	assert_int_equal(h.num_buffers, 1);
	lwr__inproc_release(w->far, 1);
}

static void inproc_header_of_the_guest_is_read_and_checked(void **state)
{
	struct world *w = *state;
	uint8_t buf[128];
	size_t len = put_arp(buf, V1, 0, 0);

	open_link(w, (struct lwr_inproc_opts){ .vnet = true });
	assert_int_equal(push_bytes(w->far, buf, len), 1);
	buf[1] = VIRTIO_NET_HDR_GSO_TCPV4; /* of size 0 */
	assert_int_equal(push_bytes(w->far, buf, len), 1);
	buf[1] = 77;
	assert_int_equal(push_bytes(w->far, buf, len), 1);
	assert_int_equal(push_bytes(w->far, buf, V1 + 13), 1);
	run(w);
	assert_int_equal(w->packets, 1);
	assert_int_equal(w->link->stats.drop_malformed, 2);
	assert_int_equal(w->link->stats.drop_short, 1);
}

static void inproc_impossible_options_are_refused(void **state)
{
	struct world *w = *state;
	const struct lwr_inproc_opts bad[] = { { .frames = 3 },
					       { .frames = 1u << 31 },
					       { .offload = true },
					       { .vnet = true, .uso = true } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(lwr__inproc_new(&w->stack, "x", &w->config.net,
						 &bad[i], &w->link, &w->far),
				 -EINVAL);
}

/* ---- the end -------------------------------------------------------------- */

static void inproc_after_the_close_everything_says_so(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	uint32_t len;
	int fd;

	open_link(w, (struct lwr_inproc_opts){ 0 });
	fd = lwr__inproc_fd(w->far, LWR_INPROC_H2G);
	w->echo = true;
	push_arp(w->far, 0, 0);
	run(w);
	close_link(w);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(push_arp(w->far, 0, 0), -ESHUTDOWN);
		assert_int_equal(pop_bytes(w->far, buf, 64, &len), -ESHUTDOWN);
		assert_int_equal(lwr__inproc_borrow(w->far, NULL, 1),
				 -ESHUTDOWN);
		for (int dir = 0; dir < 2; dir++) {
			assert_int_equal(lwr__inproc_arm(w->far, dir),
					 -ESHUTDOWN);
			lwr__inproc_clear(w->far, dir);
			assert_int_equal(lwr__inproc_wait(w->far, dir, -1),
					 -ESHUTDOWN);
			assert_true(readable(lwr__inproc_fd(w->far, dir)));
		}
		assert_true(readable(fd));
		run(w);
	}
}

/* The relay ends while a frame is borrowed: its end waits for the release. */
static void inproc_close_waits_for_what_is_borrowed(void **state)
{
	struct world *w = *state;
	struct lwr_inproc_frame f;

	open_link(w, (struct lwr_inproc_opts){ .frames = 2 });
	queue_segment(w);
	assert_int_equal(lwr__inproc_borrow(w->far, &f, 1), 1);
	close_link(w);
	lwr__stack_fini(&w->stack);
	lwr__loop_fini(&w->loop, on_closed);
	for (int i = 0; i < 1000; i++)
		run(w);
	assert_false(w->closed);
	assert_int_equal(((const uint8_t *)f.iov[1].iov_base)[1], 7);
	assert_int_equal(lwr__inproc_borrow(w->far, &f, 1), -ESHUTDOWN);
	lwr__inproc_release(w->far, 1);
	uv_run(&w->uv, UV_RUN_DEFAULT);
	assert_true(w->closed);
	assert_int_equal(uv_loop_close(&w->uv), 0);
	lwr__inproc_put(w->far);
	setup(state);
	free(w);
}

/* ---- threads -------------------------------------------------------------- */

struct guest {
	struct world *w;
	struct lwr_inproc *far;
	uint8_t who;
	uint32_t count; /* frames to push, or to pop */
	_Atomic uint32_t moved;
	struct guest *peer; /* pops what comes back, or NULL */
	bool wrong;
	int end; /* the error that ended it, or 0 */
	_Atomic bool done;
};

/* The relay may drop what does not fit in the link's queue. */
static bool ahead(const struct guest *g)
{
	return g->peer && g->moved - g->peer->moved >= AHEAD_MAX &&
	       !atomic_load(&g->peer->done);
}

static void *push_all(void *arg)
{
	struct guest *g = arg;
	int r = 0;

	while (g->moved < g->count) {
		if (ahead(g)) {
			sched_yield();
			continue;
		}
		r = push_arp(g->far, g->who, g->moved);
		if (r == -EAGAIN) {
			r = lwr__inproc_wait(g->far, LWR_INPROC_G2H, -1);
		} else if (r > 0) {
			g->moved++;
		}
		if (r < 0 && r != -EINTR)
			break;
	}
	g->end = r < 0 ? r : 0;
	atomic_store(&g->done, true);
	return NULL;
}

static void *pop_all(void *arg)
{
	struct guest *g = arg;
	struct lwr_inproc_frame f[16];
	int r = 0;

	while (g->moved < g->count) {
		r = lwr__inproc_borrow(g->far, f, 1 + g->moved % 16);
		for (int i = 0; i < r; i++)
			g->wrong |= number_of(f[i].iov->iov_base) != g->moved++;
		lwr__inproc_release(g->far, r > 0 ? (unsigned)r : 0);
		if (r == 0)
			r = lwr__inproc_wait(g->far, LWR_INPROC_H2G, -1);
		if (r < 0 && r != -EINTR)
			break;
	}
	g->end = r < 0 ? r : 0;
	atomic_store(&g->done, true);
	return NULL;
}

static void keep_running(uv_timer_t *t)
{
	(void)t; /* only so that the deadline is looked at */
}

/* Runs the loop, asleep when it likes, until both are done. */
static void run_until_done(struct world *w, const struct guest *g, unsigned n)
{
	uint64_t end = now_ns() + DEADLINE_S * UINT64_C(1000000000);
	uv_timer_t tick;
	unsigned i = 0;

	uv_timer_init(&w->uv, &tick);
	uv_timer_start(&tick, keep_running, 1000, 1000);
	while (i < n) {
		assert_true(now_ns() < end);
		uv_run(&w->uv, UV_RUN_ONCE);
		while (i < n && atomic_load(&g[i].done))
			i++;
	}
	uv_close((uv_handle_t *)&tick, NULL);
	run(w);
}

/* Each frame goes back; small rings, so that every side meets its edges. */
static void inproc_echo_between_threads_loses_nothing(void **state)
{
	struct world *w = *state;
	struct guest g[2] = { { .w = w, .count = ECHOES },
			      { .w = w, .count = ECHOES } };
	pthread_t thread[2];

	open_link(w, (struct lwr_inproc_opts){ .frames = 32 });
	w->echo = true;
	g[0].far = g[1].far = w->far;
	g[0].peer = &g[1];
	pthread_create(&thread[0], NULL, push_all, &g[0]);
	pthread_create(&thread[1], NULL, pop_all, &g[1]);
	run_until_done(w, g, 2);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	assert_int_equal(w->lost, 0);
	assert_int_equal(g[0].end | g[1].end, 0);
	assert_false(g[1].wrong);
	assert_true(w->in_order);
	assert_int_equal(w->packets, ECHOES);
	assert_int_equal(g[1].moved, ECHOES);
}

static void inproc_many_producers_keep_their_own_order(void **state)
{
	struct world *w = *state;
	struct guest g[PRODUCERS];
	pthread_t thread[PRODUCERS];

	open_link(w, (struct lwr_inproc_opts){ .frames = 64, .many = true });
	memset(g, 0, sizeof(g));
	for (uint8_t i = 0; i < PRODUCERS; i++) {
		g[i].w = w;
		g[i].far = w->far;
		g[i].who = i;
		g[i].count = ECHOES / PRODUCERS;
		pthread_create(&thread[i], NULL, push_all, &g[i]);
	}
	run_until_done(w, g, PRODUCERS);
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < PRODUCERS; i++)
		assert_int_equal(g[i].end, 0);
	assert_true(w->in_order);
	assert_int_equal(w->packets, ECHOES / PRODUCERS * PRODUCERS);
}

/* The link is closed under a pusher and a popper, asleep or in a call. */
static void inproc_close_under_two_threads(void **state)
{
	struct world *w = *state;

	w->echo = true;
	for (unsigned round = 0; round < CLOSES; round++) {
		struct guest g[2] = { { .w = w, .count = UINT32_MAX },
				      { .w = w, .count = UINT32_MAX } };
		pthread_t thread[2];

		memset(w->next, 0, sizeof(w->next));
		open_link(w, (struct lwr_inproc_opts){ .frames = 8 });
		for (int i = 0; i < 2; i++) {
			g[i].far = w->far;
			lwr__inproc_get(w->far);
		}
		lwr__inproc_put(w->far);
		pthread_create(&thread[0], NULL, push_all, &g[0]);
		pthread_create(&thread[1], NULL, pop_all, &g[1]);
		for (unsigned i = 0; i < round % 64; i++)
			run(w);
		close_link(w);
		if (round % 2)
			run(w);
		for (int i = 0; i < 2; i++) {
			pthread_join(thread[i], NULL);
			assert_int_equal(g[i].end, -ESHUTDOWN);
			lwr__inproc_put(g[i].far);
		}
	}
	w->far = NULL;
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(inproc_frames_in_pieces_arrive_in_order),
		TEST(inproc_what_is_no_frame_is_dropped_and_counted),
		TEST(inproc_full_ring_is_told_and_counted),
		TEST(inproc_large_frames_fill_memory_and_not_only_slots),
		TEST(inproc_many_pushes_wake_a_sleeping_loop_once),
		TEST(inproc_pop_scatters_and_tells_the_whole_length),
		TEST(inproc_borrowed_frames_stay_until_released),
		TEST(inproc_wakes_a_popper_once_and_only_asleep),
		TEST(inproc_wait_returns_only_for_a_reason),
		TEST(inproc_full_h2g_ring_goes_on_when_half_is_taken),
		TEST(inproc_segments_are_cut_without_offload),
		TEST(inproc_segments_pass_whole_with_offload),
		TEST(inproc_header_of_the_guest_is_read_and_checked),
		TEST(inproc_impossible_options_are_refused),
		TEST(inproc_after_the_close_everything_says_so),
		TEST(inproc_close_waits_for_what_is_borrowed),
		TEST(inproc_echo_between_threads_loses_nothing),
		TEST(inproc_many_producers_keep_their_own_order),
		TEST(inproc_close_under_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
