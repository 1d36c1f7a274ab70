/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port of an in-process link is netif/inproc.h's far side under the public
 * names. The structs of both have the same fields, which is checked here, so
 * that an array of frames passes without being copied.
 */
#include "netif/inproc.h"
#include "relay/api.h"

#include <assert.h>
#include <stddef.h>

#define SAME(a, b, field)                                           \
	static_assert(offsetof(struct a, field) ==                  \
				      offsetof(struct b, field) &&  \
			      sizeof(struct a) == sizeof(struct b), \
		      "the public " #b " differs")

SAME(lwr_inproc_frame, lwr_port_frame, iov);
SAME(lwr_inproc_frame, lwr_port_frame, n);
SAME(lwr_inproc_frame, lwr_port_frame, len);
SAME(lwr_inproc_buf, lwr_port_buf, iov);
SAME(lwr_inproc_buf, lwr_port_buf, n);
SAME(lwr_inproc_buf, lwr_port_buf, len);
static_assert((int)LWR_INPROC_G2H == LWR_G2H && (int)LWR_INPROC_H2G == LWR_H2G,
	      "the public enum lwr_dir differs");

static struct lwr_inproc *far_of(struct lwr_port *port)
{
	return (struct lwr_inproc *)port;
}

static enum lwr_inproc_dir inner(enum lwr_dir dir)
{
	return (enum lwr_inproc_dir)dir;
}

int lwr_link_push(struct lwr_port *port, const struct lwr_port_frame *frames,
		  unsigned n)
{
	return lwr__inproc_push(far_of(port),
				(const struct lwr_inproc_frame *)frames, n);
}

int lwr_link_pop(struct lwr_port *port, struct lwr_port_buf *bufs, unsigned n)
{
	return lwr__inproc_pop(far_of(port), (struct lwr_inproc_buf *)bufs, n);
}

int lwr_link_borrow(struct lwr_port *port, struct lwr_port_frame *frames,
		    unsigned n)
{
	return lwr__inproc_borrow(far_of(port),
				  (struct lwr_inproc_frame *)frames, n);
}

void lwr_link_release(struct lwr_port *port, unsigned n)
{
	lwr__inproc_release(far_of(port), n);
}

int lwr_port_arm(struct lwr_port *port, enum lwr_dir dir)
{
	return lwr__inproc_arm(far_of(port), inner(dir));
}

int lwr_port_fd(struct lwr_port *port, enum lwr_dir dir)
{
	return lwr__inproc_fd(far_of(port), inner(dir));
}

void lwr_port_clear(struct lwr_port *port, enum lwr_dir dir)
{
	lwr__inproc_clear(far_of(port), inner(dir));
}

int lwr_port_wait(struct lwr_port *port, enum lwr_dir dir, int timeout_ms)
{
	return lwr__inproc_wait(far_of(port), inner(dir), timeout_ms);
}

void lwr_port_free(struct lwr_port *port)
{
	if (port)
		lwr__inproc_put(far_of(port));
}
