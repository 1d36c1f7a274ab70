/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lwrelay: a network for guests, in user space.
 *
 * ONE RELAY AT A TIME: lwIP's state is global, so a second lwr_relay_open()
 * in a process is refused with -EBUSY until the first relay has closed. A relay
 * serves many guests (links); for more cores, run more processes.
 *
 * Threads. A relay works on one thread, its loop's: the caller's uv_loop_t, or
 * a thread of its own. Every function of a relay may be called from any
 * thread: on the loop's thread (in hooks, too) it works at once; from another
 * it is handed over and waited for, so the loop must be running, and must not be
 * waiting for the caller. Hooks are called on the loop's thread. The functions
 * of a port (lwr_link_push() and its kin) never wait.
 *
 * Conventions. Functions return 0 or a count, or a negative errno. Structs with
 * a `size` are set to zero, then `size` to their sizeof; a zero field is the
 * default. Texts and structs that are passed in are copied unless it is said
 * otherwise. g2h is guest to host, h2g host to guest. The library never prints,
 * never exits, and leaves signals and their masks alone.
 */
#ifndef LWRELAY_H
#define LWRELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LWR_API __attribute__((visibility("default")))

struct lwr_relay;
struct lwr_port;
struct uv_loop_s;

/* ---- addresses ---------------------------------------------------------- */

/* Address and port; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct lwr_endpoint {
	uint8_t addr[16]; /* network byte order */
	uint16_t port; /* host byte order */
};

/* The network that a guest sees. Two guests may have the same one. */
struct lwr_network {
	uint32_t size;
	const char *subnet; /* "10.0.2.0/24": gateway .2, DNS .3, guest .15 */
	const char *subnet6; /* "fd00::/64": likewise */
	uint16_t mtu; /* of the guest; 0: the link's default */
	bool no_ipv6;
	bool host_loopback; /* the gateway's address reaches 127.0.0.1, ::1 */
	bool dns_intercept; /* answer queries to any address's port 53 */
	const char *const *leases; /* "MAC=ADDR[,NAME]"..., NULL; 64 at most */
};

/* ---- flows and hooks ---------------------------------------------------- */

enum lwr_dir { LWR_G2H, LWR_H2G };

/* What to do with a flow. */
enum lwr_verdict {
	LWR_ALLOW,
	LWR_DENY, /* ICMP: administratively prohibited */
	LWR_REFUSE, /* as if nothing listened there */
	LWR_REDIRECT, /* to *to instead */
	LWR_TERMINATE, /* deny it, and see on_terminate */
};

enum lwr_flow_phase {
	LWR_PHASE_CONNECTING, /* the guest has no answer yet */
	LWR_PHASE_OPEN,
	LWR_PHASE_CLOSED,
};

/*
 * One TCP connection, or the datagrams of one guest address and port, or those
 * of one client of a published port.
 */
struct lwr_flow_info {
	uint64_t id; /* never used again, unless the flow was denied */
	uint32_t link;
	uint8_t protocol; /* IANA's: 6 TCP, 17 UDP, 1 echo of either family */
	uint8_t phase; /* enum lwr_flow_phase */
	uint8_t opened; /* enum lwr_dir; LWR_H2G: by a client */
	struct lwr_endpoint guest;
	struct lwr_endpoint dest; /* as the guest wrote it; a client: sees it */
	struct lwr_endpoint host; /* what the host is asked for; a client's own */
	uint64_t bytes_g2h; /* payload */
	uint64_t bytes_h2g;
	uint64_t age_ms;
};

/* All optional; `arg` is the relay's options' hook_arg. */
struct lwr_hooks {
	uint32_t size;
	/*
	 * A guest opens a TCP connection, or writes to a UDP destination for the
	 * first time; or a client does, of a published port, and the guest is
	 * about to be called. The relay's own rules allow it. For LWR_REDIRECT
	 * *to is written, which is at first flow->host, or for a client
	 * flow->guest, of which only the port may change. A client that may not
	 * is reset, or unheard.
	 */
	enum lwr_verdict (*on_flow_open)(void *arg,
					 const struct lwr_flow_info *flow,
					 struct lwr_endpoint *to);
	/* A TCP connection ended, or was not made; `err` is 0 or -errno. */
	void (*on_flow_close)(void *arg, const struct lwr_flow_info *flow,
			      int err);
	/* The guest of a link left: 0, or the -errno that ended it. */
	void (*on_link_down)(void *arg, uint32_t link, int err);
	/* A line without its newline; level as in lwr_relay_options. */
	void (*on_log)(void *arg, unsigned level, const char *line);
	/*
	 * Comes at most once in a relay's life, after LWR_TERMINATE or
	 * lwr_relay_terminate(): the guest is to be ended. The relay goes on.
	 */
	void (*on_terminate)(void *arg, const char *reason);
};

/* ---- a relay ------------------------------------------------------------ */

struct lwr_relay_options {
	uint32_t size;
	/*
	 * The loop to work on: open and close are then called on its thread,
	 * and it is borrowed until on_closed. NULL: a thread of the relay's own.
	 */
	struct uv_loop_s *loop;
	const struct lwr_network *network; /* of links without their own */
	const char *const *dns; /* "ADDR[:PORT]"..., NULL; default: the host's */
	const struct lwr_hooks *hooks;
	void *hook_arg;
	unsigned log_level; /* 0 errors, 1 warnings, 2 information, 3 debug */
	uint32_t connect_timeout_ms; /* 10,000 */
	uint32_t keep_alive_s; /* 120: silence before a guest is probed */
	uint32_t udp_timeout_s; /* 180 */
	bool udp_any; /* guests hear datagrams of strangers, too */
	uint32_t max_flows; /* 100,000 TCP connections */
	uint32_t max_pending; /* 4,096 of them not established yet */
	uint32_t max_udp; /* 4,096 UDP flows */
	uint64_t max_buffer; /* 1 GiB of payload */
	uint32_t ring_frames; /* 1,024 a link; a power of two */
	uint32_t busy_poll_us; /* spin this long before sleeping */
	const char *const *dns_names; /* "NAME=ADDR"..., NULL; 32 at most */
	uint32_t dns_cache; /* 1,024 answers */
	bool no_dns_cache;
	const char *const *outbound; /* "ADDR" or "IFNAME"..., NULL */
	/* For errors in words; written where it is not NULL. */
	char *error;
	size_t error_size;
};

/*
 * Opens a relay. `options` may be NULL.
 * Returns 0 and *relay, or -EBUSY: there is one already; -EINVAL: an option is
 * impossible; -ENOMEM, -EMFILE and what else the system says.
 * Lifetime: *relay is valid until lwr_relay_close() lets go of it.
 */
LWR_API int lwr_relay_open(const struct lwr_relay_options *options,
			   struct lwr_relay **relay);

/*
 * Ends every flow (hosts and guests see RST) and link, then the relay, within a
 * second. Any thread; what is called afterwards returns -ESHUTDOWN. The second
 * call does nothing.
 *
 * on_closed is called on the loop's thread when nothing is left: the relay's
 * memory, the loop and the hooks' arguments are the caller's again. NULL with
 * a relay on its own thread: waits for that instead, unless called in a hook.
 */
LWR_API void lwr_relay_close(struct lwr_relay *relay,
			     void (*on_closed)(void *arg), void *arg);

/* Triggers on_terminate, from any thread; does not wait. Text is copied. */
LWR_API void lwr_relay_terminate(struct lwr_relay *relay, const char *reason);

/* Version of the library, as "0.1.0". */
LWR_API const char *lwr_version(void);

/* ---- links -------------------------------------------------------------- */

struct lwr_link_options {
	uint32_t size;
	const struct lwr_network *network; /* NULL: the relay's */
	/*
	 * Anti-spoofing: with `strict` the guest may use only the addresses
	 * that it is given (RFC 2827), and `mac`, where that is not zero.
	 */
	bool strict;
	uint8_t mac[6];
	/* Limits of this link, besides the relay's. 0: none. */
	uint32_t max_flows; /* TCP */
	uint32_t max_udp; /* UDP */
	uint32_t max_new_flows; /* TCP and UDP, a second; bursts of twice that */
	uint64_t max_buffer; /* bytes of payload */
	/* In-process links only. */
	uint32_t frames; /* of each ring, a power of two; 1,024 */
	bool many_pushers; /* more than one thread may call lwr_link_push() */
	bool vnet; /* a virtio_net_hdr_v1 of 12 bytes before each frame */
	bool offload; /* with vnet: the guest takes unfinished checksums, TSO */
	bool uso; /* with vnet: and UDP segments over the MTU */
	/*
	 * Wakes the port's user, on the loop's thread, instead of a descriptor
	 * (see lwr_port_arm()). Must not call functions of the port.
	 */
	void (*on_wake)(void *arg, int dir); /* enum lwr_dir */
	void *wake_arg;
	/* For errors in words; written where it is not NULL. */
	char *error;
	size_t error_size;
};

/*
 * Adds a guest's link: `spec` as the program's --link takes it ("tap-fd:5",
 * "stream:/run/guest.sock", ...). `options` may be NULL.
 * Returns 0 and the link's number, never 0 and never used again, or -errno.
 * Owns: a descriptor in `spec` is taken on success.
 */
LWR_API int lwr_link_add(struct lwr_relay *relay, const char *spec,
			 const struct lwr_link_options *options,
			 uint32_t *link);

/*
 * The same, for a guest in this process: frames pass through the port.
 * Owns: the port is the caller's, until lwr_port_free(); it outlives the link.
 */
LWR_API int lwr_link_add_port(struct lwr_relay *relay,
			      const struct lwr_link_options *options,
			      struct lwr_port **port, uint32_t *link);

/* Ends a link and its flows. Returns 0, or -ENOENT: there is none such. */
LWR_API int lwr_link_remove(struct lwr_relay *relay, uint32_t link);

/* ---- in-process guests: the port of a link -------------------------------
 *
 * Frames cross through two rings without locks. Push takes one thread at a time
 * (or many: many_pushers); pop, borrow and release take one, the same or
 * another. None of them waits, but lwr_port_wait(). After the link's end they
 * return -ESHUTDOWN.
 */

/* A frame in pieces; with vnet, the virtio_net_hdr_v1 is the first 12 bytes. */
struct lwr_port_frame {
	const struct iovec *iov;
	uint32_t n; /* pieces */
	uint32_t len; /* bytes of all pieces; not read by lwr_link_push() */
};

/* A caller's buffer for one frame. */
struct lwr_port_buf {
	const struct iovec *iov;
	uint32_t n; /* pieces */
	uint32_t len; /* set: bytes of the frame; what had no room was cut */
};

/*
 * Takes frames from the guest, as many as there is room for, and copies them,
 * once. What is no frame is taken, dropped and counted.
 * Returns how many were taken, at least 1; -EAGAIN: no room (counted; see
 * lwr_port_arm()); -ENOMEM.
 */
LWR_API int lwr_link_push(struct lwr_port *port,
			  const struct lwr_port_frame *frames, unsigned n);

/*
 * Copies up to n frames for the guest out, one into each buffer.
 * Returns how many, 0: none. -EBUSY: frames are borrowed.
 */
LWR_API int lwr_link_pop(struct lwr_port *port, struct lwr_port_buf *bufs,
			 unsigned n);

/*
 * Lends up to n frames for the guest without a copy, in their order; those that
 * are borrowed already are not told again. Returns how many, 0: none.
 * Lifetime: the pieces are readable until lwr_link_release(); the link's end
 * waits for that, so release soon, and always, also after -ESHUTDOWN.
 */
LWR_API int lwr_link_borrow(struct lwr_port *port,
			    struct lwr_port_frame *frames, unsigned n);
/* Gives the first n of the borrowed frames back. */
LWR_API void lwr_link_release(struct lwr_port *port, unsigned n);

/*
 * Says that this side is about to sleep, until there is something to pop
 * (LWR_H2G), or room to push after -EAGAIN (LWR_G2H). A wake-up costs a system
 * call and is made only after this. Returns 0: sleep; 1: do not, there is
 * something already.
 */
LWR_API int lwr_port_arm(struct lwr_port *port, enum lwr_dir dir);

/*
 * The descriptor that a wake-up makes readable: for poll(2) and the like, with
 * ports that have no on_wake. Returns it, borrowed until lwr_port_free(), or
 * -errno. lwr_port_clear() after the wake-up makes it unreadable again.
 */
LWR_API int lwr_port_fd(struct lwr_port *port, enum lwr_dir dir);
LWR_API void lwr_port_clear(struct lwr_port *port, enum lwr_dir dir);

/*
 * All of that for a thread with nothing else to wait for: arms, polls, clears.
 * Returns 1: there is something; 0: timeout_ms is over (-1: endless).
 */
LWR_API int lwr_port_wait(struct lwr_port *port, enum lwr_dir dir,
			  int timeout_ms);

/* Lets go of the port; no other call may be under way or follow. */
LWR_API void lwr_port_free(struct lwr_port *port);

/*
 * Publishes ports of the host to the guest of `link`: `spec` as the program's
 * --publish takes it ("127.0.0.1:8080:80", "5353/udp", "unix:PATH:80"). *port,
 * where not NULL, is the first port, chosen by the host for 0. The reason of a
 * failure is written to `error`, where not NULL.
 * Returns 0 and the id, -ENOENT: no such link, -EINVAL, -EADDRINUSE, -EACCES...
 */
LWR_API int lwr_publish(struct lwr_relay *relay, uint32_t link,
			const char *spec, uint32_t *id, uint16_t *port,
			char *error, size_t error_size);
/* Ends listening; connections go on. Returns 0 or -ENOENT. */
LWR_API int lwr_unpublish(struct lwr_relay *relay, uint32_t id);

/* ---- what goes on ------------------------------------------------------- */

/* Counters since the start, of one link or all; `*_live`, `*_pending`: now. */
struct lwr_counters {
	uint32_t size;
	uint64_t frames_g2h, bytes_g2h, frames_h2g, bytes_h2g, drop_short;
	uint64_t drop_ethertype, drop_malformed, drop_checksum, drop_proto;
	uint64_t drop_fragment, drop_source, drop_dest, drop_memory;
	uint64_t drop_ring_full, drop_link_refused, drop_framing, tcp_opened;
	uint64_t tcp_refused, tcp_unreachable, tcp_timeout, tcp_limited;
	uint64_t tcp_denied, tcp_reset_guest, tcp_reset_host, tcp_vanished;
	uint64_t tcp_pending, tcp_live, udp_opened, udp_limited, udp_denied;
	uint64_t udp_live, dns_queries, icmp_sent, dhcp_acks, reassembled;
	uint64_t drop_ttl, icmp_limited, udp_full, push_full, echo_opened;
	uint64_t echo_limited, echo_denied, echo_live, drop_size, dhcp_refused;
	uint64_t dhcp_declined, dns_local, dns_cached, dns_failed, dns_limited;
	uint64_t dns_tcp, dns_pending, publish_clients, publish_opened;
	uint64_t publish_refused, publish_timeout, publish_udp_opened;
	uint64_t publish_udp_live;
};

/*
 * A snapshot of the counters of `link`, or of all links, those that are gone
 * included (0). counters->size is set before.
 * Returns 0, or -ENOENT: there is no such link.
 */
LWR_API int lwr_counters_get(struct lwr_relay *relay, uint32_t link,
			     struct lwr_counters *counters);

/*
 * Calls fn for each flow of `link`, or of all (0), on the loop's thread, until
 * it returns false; fn must not call functions of the relay.
 * Returns how many flows fn saw.
 */
LWR_API int lwr_flows_each(struct lwr_relay *relay, uint32_t link,
			   bool (*fn)(void *arg,
				      const struct lwr_flow_info *flow),
			   void *arg);

#ifdef __cplusplus
}
#endif

#endif
