/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A relay as the public header shows it: the composition of relay/relay.c with
 * a loop of the caller's or a thread of its own, and calls from any thread
 * (platform/calls.c) handed over to the loop's.
 *
 * The end comes with the last callback of the relay's handles, and on a thread of
 * its own with the end of that; an open that fails half way goes the same way.
 * So a user's loop never keeps a handle of ours after on_closed, whatever failed.
 */
#include "relay/api.h"
#include "relay/options_link.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *lwr_version(void)
{
	return LWR_VERSION;
}

/* ---- options ------------------------------------------------------------ */

/* Fields beyond the `size` of an older caller's struct are zero. */
static int copy_sized(void *to, size_t size, const void *from, uint32_t have)
{
	if (have < sizeof(uint32_t) || have > size)
		return -EINVAL;
	memset(to, 0, size);
	memcpy(to, from, have);
	return 0;
}

/* The i-th text of a list that ends with NULL, or may be NULL itself. */
static const char *text_at(const char *const *list, unsigned i)
{
	return list ? list[i] : NULL;
}

static int set_leases(struct lwr_net *net, const char *const *lease, char *why)
{
	int err = 0;

	net->leases = 0; /* those of the relay are in its own network */
	for (unsigned i = 0; text_at(lease, i) && !err; i++)
		err = lwr__lease_parse(net, lease[i], why);
	return err;
}

int lwr__api_network(struct lwr_net *net, const struct lwr_network *user,
		     char why[LWR_ERROR_TEXT])
{
	struct lwr_network n;
	struct lwr_prefix p;
	int err = copy_sized(&n, sizeof(n), user, user->size);

	if (!err && n.subnet)
		err = lwr__prefix_parse(n.subnet, &p, NULL) ||
				      lwr__net_subnet(net, &p) ?
			      -EINVAL :
			      0;
	if (!err && n.subnet6)
		err = lwr__prefix_parse(n.subnet6, &p, NULL) ||
				      lwr__net_subnet6(net, &p) ?
			      -EINVAL :
			      0;
	if (!err && n.mtu && (n.mtu < LWR_MTU_MIN || n.mtu > LWR_MTU_MAX))
		err = -EINVAL;
	if (err) {
		snprintf(why, LWR_ERROR_TEXT, "an impossible network");
		return err;
	}
	net->mtu = n.mtu;
	net->ipv6 = !n.no_ipv6;
	net->host_loopback = n.host_loopback;
	net->dns_intercept = n.dns_intercept;
	return set_leases(net, n.leases, why);
}

static void set_u32(uint32_t *field, uint32_t value)
{
	if (value)
		*field = value;
}

static int set_dns(struct lwr_config *c, const struct lwr_relay_options *o,
		   char *why)
{
	int err = 0;

	for (unsigned i = 0; text_at(o->dns, i) && !err; i++)
		err = lwr__resolver_parse(c, o->dns[i], why);
	for (unsigned i = 0; text_at(o->dns_names, i) && !err; i++)
		err = lwr__dns_name_parse(c, o->dns_names[i], why);
	set_u32(&c->dns_cache, o->dns_cache);
	if (o->no_dns_cache)
		c->dns_cache = 0;
	return err;
}

static int set_outbound(struct lwr_config *c, const char *const *from,
			char *why)
{
	int err = 0;

	for (unsigned i = 0; text_at(from, i) && !err; i++)
		err = lwr__outbound_parse(&c->outbound, from[i], why);
	return err;
}

static int set_config(struct lwr_config *c, const struct lwr_relay_options *o,
		      char *why)
{
	uint32_t ring = o->ring_frames;
	int err = 0;

	lwr__config_init(c);
	if (o->network)
		err = lwr__api_network(&c->net, o->network, why);
	if (!err)
		err = set_dns(c, o, why);
	if (!err)
		err = set_outbound(c, o->outbound, why);
	if (!err && (ring & (ring - 1) || o->log_level > LWR_LOG_DEBUG ||
		     o->dns_cache > LWR_DNS_CACHE_MAX)) {
		snprintf(why, LWR_ERROR_TEXT,
			 "an impossible ring_frames, log_level or dns_cache");
		err = -EINVAL;
	}
	set_u32(&c->connect_timeout_ms, o->connect_timeout_ms);
	set_u32(&c->keep_alive_s, o->keep_alive_s);
	set_u32(&c->udp_timeout_s, o->udp_timeout_s);
	set_u32(&c->max_flows, o->max_flows);
	set_u32(&c->max_pending, o->max_pending);
	set_u32(&c->max_udp, o->max_udp);
	set_u32(&c->ring_size, ring);
	c->udp_any = o->udp_any;
	if (o->max_buffer)
		c->max_buffer = o->max_buffer;
	return err;
}

/* ---- hooks --------------------------------------------------------------- */

static void on_log(void *arg, enum lwr_level level, const char *line)
{
	struct lwr_api *api = arg;
	struct lwr_hook_set *h = &api->relay.hooks;

	if (!h->fn.on_log)
		return;
	h->inside++;
	h->fn.on_log(h->arg, level, line);
	h->inside--;
}

static void do_terminate(void *arg)
{
	struct lwr_api *api = arg;

	lwr__hooks_terminate(&api->relay.hooks, api->reason);
}

void lwr_relay_terminate(struct lwr_relay *relay, const char *reason)
{
	struct lwr_api *api = lwr__api_of(relay);
	bool first;

	uv_mutex_lock(&api->calls.lock);
	first = !api->terminating;
	if (first)
		snprintf(api->reason, sizeof(api->reason), "%s",
			 reason ? reason : "");
	api->terminating = true;
	uv_mutex_unlock(&api->calls.lock);
	if (!first)
		return;
	api->terminate_call =
		(struct lwr_call){ .fn = do_terminate, .arg = api };
	(void)lwr__calls_post(&api->calls, &api->terminate_call);
}

static void end_removed(void *arg)
{
	struct lwr_api *api = arg;

	api->later = false;
	lwr__publish_remove_ended(&api->relay.publish);
	lwr__api_close_removed(api);
}

void lwr__api_later(struct lwr_api *api)
{
	if (api->later)
		return;
	api->later = true;
	api->later_call = (struct lwr_call){ .fn = end_removed, .arg = api };
	(void)lwr__calls_post(&api->calls, &api->later_call);
}

/* ---- the end ------------------------------------------------------------- */

static void finish(struct lwr_api *api)
{
	void (*on_closed)(void *arg) = api->on_closed;
	void *arg = api->closed_arg;

	free(api);
	if (on_closed)
		on_closed(arg);
}

static void on_relay_closed(struct lwr_relay *relay)
{
	struct lwr_api *api = lwr__api_of(relay);

	if (api->callable)
		lwr__calls_fini(&api->calls);
	lwr__api_links_fini(api);
	if (!api->threaded)
		finish(api);
}

static void do_close(void *arg)
{
	struct lwr_api *api = arg;

	lwr__calls_shut(&api->calls);
	lwr__relay_close(&api->relay);
}

void lwr_relay_close(struct lwr_relay *relay, void (*on_closed)(void *arg),
		     void *arg)
{
	struct lwr_api *api = lwr__api_of(relay);
	bool first, wait = api->threaded && !on_closed &&
			   !lwr__calls_here(&api->calls);
	uv_thread_t thread = api->thread;

	uv_mutex_lock(&api->calls.lock);
	first = !api->closing;
	api->closing = true;
	uv_mutex_unlock(&api->calls.lock);
	if (!first)
		return;
	api->on_closed = on_closed;
	api->closed_arg = arg;
	api->joined = wait;
	api->close_call = (struct lwr_call){ .fn = do_close, .arg = api };
	(void)lwr__calls_post(&api->calls, &api->close_call);
	if (wait) {
		uv_thread_join(&thread);
		free(api);
	}
}

/* ---- the beginning ------------------------------------------------------- */

/* What an open is about, while it is under way. */
struct opening {
	struct lwr_api *api;
	struct lwr_relay_options options;
	struct lwr_hooks hooks;
	struct lwr_config config;
	uv_sem_t done;
	int err;
};

/* On the loop's thread. On failure the api is on its way to be freed. */
static int start(struct opening *o)
{
	struct lwr_api *api = o->api;
	struct lwr_log log = { .level = (enum lwr_level)o->options.log_level,
			       .sink = on_log,
			       .arg = api };
	int err;

	lwr__list_init(&api->links);
	err = lwr__relay_init(&api->relay, api->uv, &o->config, &log,
			      on_relay_closed);
	if (err)
		return err; /* and the api may be gone */
	err = lwr__calls_init(&api->calls, &api->relay.loop);
	if (err) {
		lwr__relay_close(&api->relay);
		return err;
	}
	api->callable = true;
	api->relay.loop.busy_poll_ns = o->options.busy_poll_us * 1000ull;
	api->relay.hooks.fn = o->hooks;
	api->relay.hooks.arg = o->options.hook_arg;
	return 0;
}

static void thread_main(void *arg)
{
	struct opening *o = arg;
	struct lwr_api *api = o->api;
	int err = start(o);
	bool joined;

	o->err = err;
	uv_sem_post(&o->done);
	uv_run(&api->own, UV_RUN_DEFAULT);
	if (err)
		return; /* the opener frees */
	uv_loop_close(&api->own);
	joined = api->joined;
	if (joined)
		return;
	pthread_detach(pthread_self());
	finish(api);
}

/* Signals are the business of the threads that were there before. */
static int create_thread(struct opening *o)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = uv_thread_create(&o->api->thread, thread_main, o);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

static int start_thread(struct opening *o)
{
	struct lwr_api *api = o->api;
	int err = uv_loop_init(&api->own);

	if (err)
		goto err_undo_api;
	err = uv_sem_init(&o->done, 0);
	if (err)
		goto err_undo_loop;
	err = create_thread(o);
	if (err)
		goto err_undo_sem;
	uv_sem_wait(&o->done);
	uv_sem_destroy(&o->done);
	if (!o->err)
		return 0;
	err = o->err;
	uv_thread_join(&api->thread);
	uv_loop_close(&api->own);
	free(api);
	return err;

err_undo_sem:
	uv_sem_destroy(&o->done);
err_undo_loop:
	uv_loop_close(&api->own);
err_undo_api:
	free(api);
	return err;
}

static int complain(const struct lwr_relay_options *o, int err, const char *why)
{
	if (o->error && o->error_size)
		snprintf(o->error, o->error_size, "%s",
			 why[0] ? why : strerror(-err));
	return err;
}

int lwr_relay_open(const struct lwr_relay_options *options,
		   struct lwr_relay **relay)
{
	static const struct lwr_relay_options none = { .size = sizeof(none) };
	struct opening o = { .err = 0 };
	char why[LWR_ERROR_TEXT] = "";
	struct lwr_api *api;
	int err;

	if (!options)
		options = &none;
	err = copy_sized(&o.options, sizeof(o.options), options, options->size);
	if (!err && o.options.hooks)
		err = copy_sized(&o.hooks, sizeof(o.hooks), o.options.hooks,
				 o.options.hooks->size);
	if (err)
		return err;
	err = set_config(&o.config, &o.options, why);
	if (err)
		return complain(&o.options, err, why);
	api = calloc(1, sizeof(*api));
	if (!api)
		return -ENOMEM;
	o.api = api;
	api->threaded = !o.options.loop;
	api->uv = api->threaded ? &api->own : o.options.loop;
	err = api->threaded ? start_thread(&o) : start(&o);
	if (err)
		return complain(&o.options, err, "");
	*relay = &api->relay;
	return 0;
}
