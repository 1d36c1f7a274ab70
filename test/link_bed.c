/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/link_bed.h"

#include "lwip/pbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void on_log(void *arg, enum lwr_level level, const char *line)
{
	struct bed *w = arg;

	if (level > LWR_LOG_WARN)
		return;
	w->warnings++;
	snprintf(w->line, sizeof(w->line), "%s", line);
}

/* Packets are ARP, numbered in the target address. */
static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	struct bed *w = arg;
	struct lwr_cursor c = lwr__cursor(pkt->data + 38, 4);

	w->in_order &= lwr__cursor_u32(&c) == w->next++;
	w->packets++;
	if (w->close_on_packet && w->link) {
		w->link->ops->close(w->link);
		w->link = NULL;
	}
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	struct bed *w = arg;

	(void)link;
	w->downs++;
}

static void on_gone(struct lwr_link *link, int err)
{
	struct bed *w = link->owner;

	w->gone++;
	w->gone_err = err;
	if (w->close_on_gone) {
		link->ops->close(link);
		w->link = NULL;
	}
}

static bool on_tick(void *arg)
{
	struct bed *w = arg;

	lwr__stack_flush(&w->stack);
	return false;
}

static const struct lwr_stack_hooks hooks = {
	.on_packet = on_packet,
	.on_link_down = on_link_down,
};

int bed_setup(void **state)
{
	struct bed *w = calloc(1, sizeof(*w));

	*state = w;
	strcpy(w->dir, "/tmp/lwr-link-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
	lwr__config_init(&w->config);
	w->config.ring_size = 1024;
	w->log = (struct lwr_log){ LWR_LOG_DEBUG, on_log, w };
	w->in_order = true;
	uv_loop_init(&w->uv);
	assert_int_equal(lwr__loop_init(&w->loop, &w->uv, on_tick, w), 0);
	return lwr__stack_init(&w->stack, &w->loop, &w->config, &w->log, &hooks,
			       w);
}

static void nothing(void *arg)
{
	(void)arg;
}

int bed_teardown(void **state)
{
	struct bed *w = *state;

	if (w->link)
		w->link->ops->close(w->link);
	for (int i = 0; i < 10; i++)
		uv_run(&w->uv, UV_RUN_NOWAIT);
	assert_int_not_equal(access(w->path, F_OK), 0);
	lwr__stack_fini(&w->stack);
	lwr__loop_fini(&w->loop, nothing);
	uv_run(&w->uv, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->uv), 0);
	rmdir(w->dir);
	free(w);
	return 0;
}

void bed_run(struct bed *w)
{
	uv_run(&w->uv, UV_RUN_NOWAIT);
}

uint64_t bed_deadline(void)
{
	return uv_hrtime() + 10 * 1000000000ull;
}

void bed_own(struct bed *w, struct lwr_link *link)
{
	w->link = link;
	link->on_gone = on_gone;
	link->owner = w;
}

void bed_put_arp(uint8_t *buf, uint32_t nr, uint32_t len)
{
	struct lwr_cursor c;

	memset(buf, 0, len);
	memset(buf, 0xff, 6);
	buf[6] = 0x52;
	buf[12] = 0x08;
	buf[13] = 0x06;
	c = lwr__cursor(buf + 38, 4);
	lwr__cursor_put_u32(&c, nr);
}

void bed_send(struct bed *w, uint16_t len, uint32_t nr)
{
	struct pbuf *p = lwr__send_alloc(len);
	uint8_t *b = p->payload;
	struct lwr_cursor c = lwr__cursor(b, len);
	static const uint8_t dst[6] = { 0x52 };

	for (uint16_t i = 0; i < len; i++)
		b[i] = (uint8_t)(i + nr);
	lwr__cursor_put_u32(&c, nr);
	lwr__send_eth(w->link, p, 0x88b5, dst);
}
