/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/fake_world.h"

#include "lwip/priv/tcp_priv.h"
#include "relay/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 700000 };

static struct fake_world world;

/* ---- the stack's hooks ------------------------------------------------------ */

static bool on_tick(void *arg)
{
	struct fake_world *w = arg;

	lwr__tcp_tick(&w->tcp);
	lwr__tcp_bulk(&w->tcp);
	lwr__stack_flush(&w->stack);
	return lwr__tcp_reap(&w->tcp);
}

static void on_syn(void *arg, const struct lwr_pkt *pkt)
{
	lwr__tcp_on_syn(&((struct fake_world *)arg)->tcp, pkt);
}

static void on_early(void *arg, struct lwr_conn *c, const struct lwr_pkt *pkt,
		     bool rst)
{
	if (lwr__tcp_on_early(&((struct fake_world *)arg)->tcp, c, pkt, rst))
		on_syn(arg, pkt);
}

static void on_open(void *arg, struct lwr_conn *c)
{
	lwr__tcp_on_open(&((struct fake_world *)arg)->tcp, c);
}

static void on_data(void *arg, struct lwr_conn *c, struct pbuf *p)
{
	lwr__tcp_on_data(&((struct fake_world *)arg)->tcp, c, p);
}

static void on_acked(void *arg, struct lwr_conn *c, uint32_t n)
{
	lwr__tcp_on_acked(&((struct fake_world *)arg)->tcp, c, n);
}

static void on_writable(void *arg, struct lwr_conn *c)
{
	lwr__tcp_on_writable(&((struct fake_world *)arg)->tcp, c);
}

static void on_end(void *arg, struct lwr_conn *c, enum lwr_conn_end end)
{
	lwr__tcp_on_end(&((struct fake_world *)arg)->tcp, c, end);
}

static void on_packet(void *arg, const struct lwr_pkt *pkt)
{
	(void)pkt;
	((struct fake_world *)arg)->others++;
}

static void on_link_down(void *arg, struct lwr_link *link)
{
	lwr__tcp_link_down(&((struct fake_world *)arg)->tcp, link);
}

static const struct lwr_stack_hooks hooks = {
	.on_syn = on_syn,
	.on_early = on_early,
	.on_open = on_open,
	.on_data = on_data,
	.on_acked = on_acked,
	.on_writable = on_writable,
	.on_end = on_end,
	.on_packet = on_packet,
	.on_link_down = on_link_down,
};

/* ---- beginning and end ------------------------------------------------------- */

static void log_line(void *arg, enum lwr_level level, const char *line)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%8llu %s\n",
		(unsigned long long)(fake_now() % 100000000), line);
}

struct fake_world *fake_world(void (*tweak)(struct lwr_config *config,
					    struct lwr_link_caps *caps))
{
	struct fake_world *w = &world;

	fake_rand_reset();
	fake_loop_reset();
	fake_sock_reset();
	memset(w, 0, sizeof(*w));
	w->log.level = LWR_LOG_DEBUG;
	w->log.sink = getenv("LWR_LOG") ? log_line : NULL;
	lwr__config_init(&w->config);
	fake_wire_init(&w->wire);
	guest_init(&w->guest, &w->wire);
	if (tweak)
		tweak(&w->config, &w->wire.link.caps);
	assert_int_equal(lwr__loop_init(&w->loop, NULL, on_tick, w), 0);
	assert_int_equal(lwr__stack_init(&w->stack, &w->loop, &w->config,
					 &w->log, &hooks, w),
			 0);
	assert_int_equal(lwr__tcp_init(&w->tcp, &w->stack, NULL, &w->hooks), 0);
	/* lwIP takes random numbers when it is first initialised only. */
	fake_rand_reset();
	assert_int_equal(lwr__stack_add_link(&w->stack, &w->wire.link), 0);
	w->open = true;
	return w;
}

int world_teardown(void **state)
{
	struct fake_world *w = &world;

	(void)state;
	if (!w->open)
		return 0;
	w->open = false;
	w->wire.link.ops->close(&w->wire.link);
	lwr__tcp_fini(&w->tcp);
	lwr__stack_fini(&w->stack);
	lwr__loop_fini(&w->loop, NULL);
	fake_wire_fini(&w->wire);
	if (fake_timers())
		fake_fail("%u timers are not closed", fake_timers());
	if (fake_fds())
		fake_fail("%u descriptors are not closed", fake_fds());
	guest_fini(&w->guest);
	fake_loop_reset();
	fake_sock_reset();
	if (fake_failed())
		fprintf(stderr, "after the test: %s\n", fake_failed());
	return fake_failed() ? -1 : 0;
}

static void dump_flow(const struct lwr_flow *f)
{
	const struct tcp_pcb *p = f->conn.pcb;

	fprintf(stderr,
		"flow %llu: state %u g2h %u h2g %u%s%s%s%s, queued %u\n",
		(unsigned long long)f->id, f->state, f->g2h, f->h2g,
		f->readable ? " readable" : "", f->writable ? " writable" : "",
		f->hangup ? " hangup" : "", f->finished ? " finished" : "",
		f->g2h_len);
	if (!p)
		return;
	fprintf(stderr,
		"  pcb state %u flags %x una %u nxt %u lbb %u wnd %u cwnd %u "
		"ssthresh %u rto %d rtime %d nrtx %u dup %u mss %u qlen %u "
		"rcv_nxt %u rcv_wnd %u unsent %d unacked %d ooseq %d "
		"persist %u/%u\n",
		p->state, p->flags, p->lastack, p->snd_nxt, p->snd_lbb,
		p->snd_wnd, p->cwnd, p->ssthresh, p->rto, p->rtime, p->nrtx,
		p->dupacks, p->mss, p->snd_queuelen, p->rcv_nxt, p->rcv_wnd,
		p->unsent != NULL, p->unacked != NULL, p->ooseq != NULL,
		p->persist_cnt, p->persist_backoff);
}

static void dump_guest(const struct guest_conn *c)
{
	fprintf(stderr,
		"guest %u: state %d error %d una %llu nxt %llu max %llu edge "
		"%llu rcv %llu read %llu told %llu ranges %u fin %llu eof %d\n",
		c->gport, c->state, c->error, (unsigned long long)c->una,
		(unsigned long long)c->nxt, (unsigned long long)c->max,
		(unsigned long long)c->edge, (unsigned long long)c->rcv,
		(unsigned long long)c->read, (unsigned long long)c->told,
		c->ranges, (unsigned long long)c->fin_at, c->eof);
}

void world_dump(struct fake_world *w)
{
	const struct lwr_stats *st = &w->wire.link.stats;
	struct lwr_list *n;
	unsigned i;

	fprintf(stderr,
		"reset by guest %llu, by host %llu, vanished %llu, drops: "
		"checksum %llu malformed %llu ring %llu\n",
		(unsigned long long)st->tcp_reset_guest,
		(unsigned long long)st->tcp_reset_host,
		(unsigned long long)st->tcp_vanished,
		(unsigned long long)st->drop_checksum,
		(unsigned long long)st->drop_malformed,
		(unsigned long long)st->drop_ring_full);
	for (n = w->wire.link.conns.next; n != &w->wire.link.conns; n = n->next)
		dump_flow(lwr__flow_of(
			LWR_CONTAINER(n, struct lwr_conn, on_link)));
	for (i = 0; i < w->guest.conns; i++)
		dump_guest(w->guest.conn[i]);
}

/* ---- checks ---------------------------------------------------------------------- */

void world_ok_at(struct fake_world *w, const char *file, int line)
{
	(void)w;
	if (!fake_failed())
		return;
	print_error("%s:%d: seed %llu: %s\n", file, line,
		    (unsigned long long)fake_seed(), fake_failed());
	fail();
}

static void expect(const char *what, uint64_t have)
{
	if (have)
		fake_fail("%llu %s left", (unsigned long long)have, what);
}

void world_clean_at(struct fake_world *w, const char *file, int line)
{
	struct lwr_stats st;

	w->guest.vanished = true;
	fake_run(SETTLE_MS);
	lwr__stack_stats(&w->stack, &st);
	expect("flows", w->tcp.flows);
	expect("connects", w->tcp.connects);
	expect("bytes of chunks", w->tcp.chunks.bytes);
	expect("bytes queued", w->tcp.queued);
	expect("of tcp_live", st.tcp_live);
	expect("of tcp_pending", st.tcp_pending);
	expect("conns", w->stack.demux.count);
	expect("descriptors", fake_fds());
	expect("slabs held", w->wire.slabs.held);
	expect("frames in the ring", lwr__ring_count(&w->wire.link.h2g));
	expect("on due", !lwr__list_empty(&w->stack.due));
	expect("on ack", !lwr__list_empty(&w->stack.ack));
	expect("on blocked", !lwr__list_empty(&w->wire.link.blocked));
	expect("timers running", fake_events());
	world_ok_at(w, file, line);
}

struct guest_conn *world_connect(struct fake_world *w,
				 const struct guest_opts *o)
{
	struct guest_conn *c = guest_connect(&w->guest, o);

	world_until(w, 20000, c->state != GUEST_SYN_SENT);
	assert_int_equal(c->state, GUEST_OPEN);
	return c;
}

int world_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	printf("seed %llu (LWR_SEED)\n", (unsigned long long)fake_seed());
	return _cmocka_run_group_tests("sim", tests, n, NULL, NULL);
}
