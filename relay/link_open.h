/* SPDX-License-Identifier: BSD-3-Clause */
/* A link as somebody describes it, and how it is opened. */
#ifndef LWR_RELAY_LINK_OPEN_H
#define LWR_RELAY_LINK_OPEN_H

#include "core/link.h"
#include "platform/unix.h"

#include <stdint.h>

enum { LWR_ERROR_TEXT = 512, LWR_NETNS_MAX = 1024 };

enum lwr_link_kind {
	LWR_LINK_TAP,
	LWR_LINK_TAP_FD,
	LWR_LINK_STREAM,
	LWR_LINK_STREAM_FD,
	LWR_LINK_DGRAM,
	LWR_LINK_DGRAM_FD,
	LWR_LINK_SEQPACKET,
	LWR_LINK_SEQPACKET_FD,
};

/* What the far side of a socket does that its protocol does not say. */
struct lwr_profile {
	const char *name;
	uint16_t mtu; /* if nobody asks for another; 0: the link's default */
	uint32_t max_frame; /* 0: the link's default */
	bool csum_g2h_trust; /* its checksums may be unfinished */
};

/* NULL: there is none of that name. */
const struct lwr_profile *lwr__profile_find(const char *name);

/* The i-th; NULL beyond the last. */
const struct lwr_profile *lwr__profile_at(unsigned i);

struct lwr_link_spec {
	enum lwr_link_kind kind;
	const char *text; /* borrowed; the link's name in the log */
	char path[LWR_UNIX_PATH_MAX + 1]; /* stream, dgram, seqpacket */
	char ifname[16]; /* tap */
	char netns[LWR_NETNS_MAX]; /* tap: PID, path, name; "": this one */
	int fd; /* of the kinds with fd: taken on success */
	const struct lwr_profile *profile; /* of sockets; NULL: plain */
	uint16_t mtu; /* 0: the network's, or the link's default */
};

/*
 * Opens a link that the stack and `net`, borrowed while the link lives, then
 * serve; the caller sets its owner and on_gone. Returns 0, or -errno with a
 * sentence in err that says why and what helps, without the link's name.
 */
int lwr__link_open(struct lwr_stack *stack, const struct lwr_link_spec *spec,
		   const struct lwr_net *net, struct lwr_link **out,
		   char err[LWR_ERROR_TEXT]);

/* The sentence of a tap that could not be opened; returns `text`. */
const char *lwr__tap_error(int err, char text[LWR_ERROR_TEXT]);

#endif
