/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A question and its tries. It goes to the first resolver (relay/dns_health.h
 * says which that is), and to the next one after TRY_MS without an answer, or at
 * once when the network says that nobody is there; after the last one it begins
 * again. Earlier tries stay open: an answer that comes late is an answer. After
 * LIMIT_MS, or when every resolver was refused, the guest gets SERVFAIL: a
 * stub resolver waits five seconds.
 *
 * SERVFAIL, NOTIMP and REFUSED are an answer, but another resolver that is
 * known to be alive is asked first, as libc would; if it knows no better,
 * the first answer is passed on as it was.
 *
 * A truncated answer goes to a guest who asked with a small EDNS size: it comes
 * again by TCP. Where the guest takes more than most resolvers send in a
 * datagram, the whole answer is fetched by TCP and then sent if it fits.
 *
 * Equal questions that are in flight together are one question: this keeps
 * a guest from opening the door for a forger by asking a thousand times (RFC
 * 5452 5), and saves traffic.
 */
#include "relay/dns_upstream.h"

#include "core/demux.h"
#include "platform/sock.h"
#include "relay/dns_via.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TRY_MS = 1200,
	LIMIT_MS = 4 * TRY_MS,
	TRIES = 12,
	QUESTIONS_MAX = 4096,
	BYTES_MAX = 8 << 20,
	LARGE = 1232, /* what resolvers send in a datagram */
};

struct question {
	struct lwr_list on_due;
	struct lwr_list on_join;
	struct lwr_list waits;
	struct lwr_dns_upstream *up;
	struct lwr_dns_query q;
	struct lwr_dns_try try[TRIES];
	unsigned tries;
	unsigned tried; /* set of resolvers, of this round */
	uint64_t due_ms; /* when to try the next */
	uint64_t end_ms;
	bool tcp; /* ask by TCP from now on */
	bool final; /* no further resolver is asked */
	bool done; /* answered; only a probe is still on its way */
	uint8_t *fallback; /* an answer that is better than none */
	size_t fallback_len;
	size_t len;
	uint8_t msg[];
};

static struct question *question_of(struct lwr_dns_try *t)
{
	/* try->msg is the question's own. */
	return LWR_CONTAINER(t->msg, struct question, msg);
}

/* ---- life ---------------------------------------------------------------- */

static void set_timer(struct lwr_dns_upstream *u)
{
	uint64_t now = lwr__loop_now(u->loop), due;

	if (lwr__list_empty(&u->due)) {
		lwr__timer_stop(&u->timer);
		return;
	}
	due = LWR_CONTAINER(u->due.next, struct question, on_due)->due_ms;
	lwr__timer_start(&u->timer, due > now ? due - now : 0);
}

static void free_question(struct question *q)
{
	struct lwr_dns_upstream *u = q->up;

	for (unsigned i = 0; i < q->tries; i++)
		lwr__dns_via_cancel(&q->try[i]);
	lwr__list_remove(&q->on_due);
	lwr__list_remove(&q->on_join);
	u->questions--;
	u->bytes -= q->len;
	if (lwr__list_empty(&u->due))
		lwr__timer_stop(&u->timer);
	free(q->fallback);
	free(q);
}

static void wait_on(struct question *q)
{
	q->due_ms = lwr__loop_now(q->up->loop) + TRY_MS;
	lwr__list_remove(&q->on_due);
	lwr__list_append(&q->up->due, &q->on_due);
	if (!lwr__timer_active(&q->up->timer))
		set_timer(q->up);
}

/* A probe is worth waiting for: the dead one is likely the slower one. */
static void end_question(struct question *q)
{
	for (unsigned i = 0; i < q->tries; i++) {
		if (q->try[i].via && q->try[i].probe)
			q->done = true;
		else
			lwr__dns_via_cancel(&q->try[i]);
	}
	if (q->done)
		wait_on(q);
	else
		free_question(q);
}

/* Passes the answer to all who wait; len 0: there is none. */
static void finish(struct question *q, const uint8_t *msg, size_t len)
{
	struct lwr_list waits, *n;
	uint32_t ttl = 0;

	if (len && q->q.shareable)
		ttl = lwr__dns_lifetime(&q->q, msg, len);
	if (ttl)
		lwr__dns_cache_put(q->up->cache, &q->q.key,
				   lwr__loop_now(q->up->loop), ttl, msg, len);
	lwr__list_remove(&q->on_join);
	lwr__list_move(&q->waits, &waits);
	while ((n = lwr__list_take(&waits))) {
		struct lwr_dns_wait *w =
			LWR_CONTAINER(n, struct lwr_dns_wait, node);

		w->on_answer(w, msg, len);
	}
	end_question(q);
}

static void give_up(struct question *q)
{
	finish(q, q->fallback, q->fallback_len);
}

void lwr__dns_cancel(struct lwr_dns_wait *w)
{
	/* The question goes on, for the cache; its deadline is near. */
	lwr__list_remove(&w->node);
}

/* ---- tries --------------------------------------------------------------- */

/* Another resolv.conf: what is known of the resolvers is void. */
static void follow(struct lwr_dns_upstream *u)
{
	if (u->generation == u->dns->generation)
		return;
	u->generation = u->dns->generation;
	memset(u->health, 0, sizeof(u->health));
	memset(u->open, 0, sizeof(u->open)); /* closed after its last answer */
	lwr__dns_cache_flush(u->cache);
}

static void note_bad(struct lwr_dns_upstream *u, const struct lwr_dns_try *t,
		     int err)
{
	bool ours = err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
		    err == -ENOBUFS;

	if (t->generation == u->generation && !ours)
		lwr__dns_health_bad(&u->health[t->server], t->asked_ms,
				    lwr__loop_now(u->loop));
}

/* Returns 0 or -errno. */
static int send_to(struct question *q, unsigned server)
{
	struct lwr_dns_upstream *u = q->up;
	struct lwr_dns_try *t = &q->try[q->tries++];
	int err;

	q->tried |= 1u << server;
	*t = (struct lwr_dns_try){ .asked_ms = lwr__loop_now(u->loop),
				   .server = (uint8_t)server,
				   .generation = u->generation,
				   .tcp = q->tcp,
				   .msg = q->msg,
				   .len = q->len };
	err = lwr__dns_via_send(u, t);
	if (err)
		note_bad(u, t, err);
	return err;
}

static bool any_live(const struct question *q)
{
	for (unsigned i = 0; i < q->tries; i++)
		if (q->try[i].via)
			return true;
	return false;
}

/*
 * Asks the next resolver. False: nobody is left to be asked. `again`: a round
 * that is through may begin anew.
 */
static bool ask_next(struct question *q, bool again)
{
	struct lwr_dns_upstream *u = q->up;
	unsigned n = u->dns->count;
	int server;

	while (!q->final && q->tries < TRIES) {
		server = lwr__dns_health_next(u->health, n, q->tried,
					      q->fallback != NULL);
		if (server < 0 && (!again || q->fallback))
			return false;
		if (server < 0) {
			again = false;
			q->tried = 0;
			continue;
		}
		if (send_to(q, (unsigned)server) == 0) {
			wait_on(q);
			return true;
		}
	}
	return false;
}

static void on_overdue(struct question *q)
{
	struct lwr_dns_upstream *u = q->up;

	for (unsigned i = 0; i < q->tries; i++)
		if (q->try[i].via)
			note_bad(u, &q->try[i], -ETIMEDOUT);
	if (q->done)
		free_question(q);
	else if (q->fallback || lwr__loop_now(u->loop) >= q->end_ms ||
		 !ask_next(q, true))
		give_up(q);
}

static void on_timer(struct lwr_timer *timer)
{
	struct lwr_dns_upstream *u =
		LWR_CONTAINER(timer, struct lwr_dns_upstream, timer);
	struct question *q;

	follow(u);
	while (!lwr__list_empty(&u->due)) {
		q = LWR_CONTAINER(u->due.next, struct question, on_due);
		if (q->due_ms > lwr__loop_now(u->loop))
			break;
		on_overdue(q);
	}
	set_timer(u);
}

/* ---- answers ------------------------------------------------------------- */

static void keep_fallback(struct question *q, const uint8_t *msg, size_t len)
{
	if (q->fallback)
		return;
	q->fallback = malloc(len);
	if (!q->fallback)
		return;
	memcpy(q->fallback, msg, len);
	q->fallback_len = len;
}

static bool is_failure(const uint8_t *msg)
{
	enum lwr_dns_rcode r = lwr__dns_rcode(msg);

	return r == LWR_DNS_SERVFAIL || r == LWR_DNS_NOTIMP ||
	       r == LWR_DNS_REFUSED;
}

/* The whole of a truncated answer. False: it is not to be had. */
static bool fetch_whole(struct question *q, unsigned server, const uint8_t *msg,
			size_t len)
{
	if (q->q.udp_max <= LARGE || q->tries == TRIES)
		return false;
	keep_fallback(q, msg, len);
	q->tcp = true;
	q->final = true;
	if (send_to(q, server) < 0)
		return false;
	wait_on(q);
	return true;
}

bool lwr__dns_on_message(struct lwr_dns_try *t, const uint8_t *msg, size_t len)
{
	struct question *q = question_of(t);
	struct lwr_dns_upstream *u = q->up;
	bool current = t->generation == u->generation;

	if (!lwr__dns_answers(&q->q, q->msg, msg, len))
		return false;
	lwr__dns_via_cancel(t);
	if (current)
		lwr__dns_health_good(&u->health[t->server],
				     lwr__loop_now(u->loop));
	if (q->done) {
		free_question(q);
		return true;
	}
	if (lwr__dns_truncated(msg) && !t->tcp && current &&
	    fetch_whole(q, t->server, msg, len))
		return true;
	if (is_failure(msg) && !q->final) {
		keep_fallback(q, msg, len);
		if (q->fallback && ask_next(q, false))
			return true;
		msg = q->fallback ? q->fallback : msg;
		len = q->fallback ? q->fallback_len : len;
	}
	finish(q, msg, len);
	return true;
}

void lwr__dns_on_error(struct lwr_dns_try *t, int err)
{
	struct question *q = question_of(t);

	note_bad(q->up, t, err);
	lwr__dns_via_cancel(t);
	if (q->done)
		free_question(q);
	else if (!t->probe &&
		 (q->final || (!ask_next(q, false) && !any_live(q))))
		give_up(q);
}

/* ---- asking -------------------------------------------------------------- */

static struct lwr_list *bucket_of(struct lwr_dns_upstream *u,
				  const struct lwr_dns_key *key)
{
	uint64_t h = lwr__siphash13(u->k, key->data, key->len);

	return &u->join[(h ^ key->link) & (LWR_DNS_JOIN - 1)];
}

static struct question *find_equal(struct lwr_dns_upstream *u,
				   const struct lwr_dns_query *q)
{
	struct lwr_list *n, *b = bucket_of(u, &q->key);
	struct question *o;

	for (n = b->next; n != b; n = n->next) {
		o = LWR_CONTAINER(n, struct question, on_join);
		/* One that asked for less may get a truncated answer. */
		if (o->q.udp_max >= q->udp_max &&
		    o->q.key.link == q->key.link &&
		    o->q.key.len == q->key.len &&
		    memcmp(o->q.key.data, q->key.data, q->key.len) == 0)
			return o;
	}
	return NULL;
}

static struct question *new_question(struct lwr_dns_upstream *u,
				     const struct lwr_dns_query *query,
				     const uint8_t *msg, size_t len)
{
	struct question *q;

	if (u->questions >= QUESTIONS_MAX || u->bytes + len > BYTES_MAX)
		return NULL;
	q = calloc(1, sizeof(*q) + len);
	if (!q)
		return NULL;
	q->up = u;
	q->q = *query;
	q->len = len;
	memcpy(q->msg, msg, len);
	q->end_ms = lwr__loop_now(u->loop) + LIMIT_MS;
	lwr__list_init(&q->on_due);
	lwr__list_init(&q->on_join);
	lwr__list_init(&q->waits);
	if (query->shareable)
		lwr__list_append(bucket_of(u, &query->key), &q->on_join);
	u->questions++;
	u->bytes += len;
	return q;
}

int lwr__dns_ask(struct lwr_dns_upstream *u, struct lwr_dns_wait *w,
		 const struct lwr_dns_query *query, const uint8_t *msg,
		 size_t len, bool tcp)
{
	struct question *q = NULL;
	int probe;

	follow(u);
	if (query->shareable)
		q = find_equal(u, query);
	if (q) {
		lwr__list_append(&q->waits, &w->node);
		return 0;
	}
	q = new_question(u, query, msg, len);
	if (!q)
		return -ENOBUFS;
	q->tcp = tcp;
	lwr__list_append(&q->waits, &w->node);
	if (!ask_next(q, false)) {
		give_up(q);
		return 0;
	}
	probe = lwr__dns_health_probe(u->health, u->dns->count, q->tried,
				      lwr__loop_now(u->loop));
	if (probe >= 0 && send_to(q, (unsigned)probe) == 0)
		q->try[q->tries - 1].probe = true;
	return 0;
}

bool lwr__dns_upstream_tick(struct lwr_dns_upstream *u)
{
	follow(u);
	lwr__dns_via_flush(u);
	lwr__dns_via_read(u);
	lwr__dns_via_flush(u); /* what was asked once more */
	u->sending = false;
	/* Sockets to read on from, and those that failed meanwhile. */
	return !lwr__list_empty(&u->ready);
}

int lwr__dns_upstream_init(struct lwr_dns_upstream *u, struct lwr_loop *loop,
			   const struct lwr_log *log, const struct lwr_dns *dns,
			   struct lwr_dns_cache *cache)
{
	*u = (struct lwr_dns_upstream){ .loop = loop,
					.log = log,
					.dns = dns,
					.cache = cache,
					.generation = dns->generation };
	u->buf = malloc(LWR_DNS_MSG_MAX);
	if (!u->buf)
		return -ENOMEM;
	u->out = malloc(LWR_DNS_OUT);
	if (!u->out) {
		free(u->buf);
		return -ENOMEM;
	}
	lwr__random(u->k, sizeof(u->k));
	lwr__list_init(&u->due);
	lwr__list_init(&u->ready);
	lwr__list_init(&u->unsent);
	lwr__list_init(&u->dead);
	for (int i = 0; i < LWR_DNS_JOIN; i++)
		lwr__list_init(&u->join[i]);
	lwr__timer_init(loop, &u->timer, on_timer);
	return 0;
}

void lwr__dns_upstream_fini(struct lwr_dns_upstream *u)
{
	while (!lwr__list_empty(&u->due))
		free_question(
			LWR_CONTAINER(u->due.next, struct question, on_due));
	lwr__dns_upstream_reap(u);
	lwr__timer_stop(&u->timer);
	lwr__timer_close(u->loop, &u->timer);
	free(u->out);
	free(u->buf);
}
