/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rig with the relay's services: what a guest sends reaches the one that is
 * tested. Defined in the test that includes this.
 */
#ifndef LWR_TEST_SERVICES_RIG_H
#define LWR_TEST_SERVICES_RIG_H

#include "relay/services.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef bool services_fn(struct lwr_services *s, const struct lwr_pkt *pkt);

static struct lwr_services services;
static services_fn *tested;
static unsigned not_taken; /* packets that are not for it */

static inline void on_packet(struct rig *r, const struct lwr_pkt *pkt)
{
	(void)r;
	if (!tested(&services, pkt))
		not_taken++;
}

static inline int services_setup(void **state, services_fn *input)
{
	static struct rig r;

	tested = input;
	not_taken = 0;
	rig_init(&r);
	r.on_packet = on_packet;
	rig_open(&r);
	lwr__services_init(&services, &r.stack, &r.dns);
	*state = &r;
	return 0;
}

static inline int teardown(void **state)
{
	lwr__services_fini(&services);
	rig_close(*state);
	return 0;
}

#endif
