/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/half.h"

#include "core/log.h"

/* Transitions: OPEN to DRAIN or SHUT, DRAIN to SHUT; nothing goes back. */
static void set(enum lwr_half *h, enum lwr_half to)
{
	static const bool may[3][3] = {
		[LWR_HALF_OPEN] = { [LWR_HALF_DRAIN] = true,
				    [LWR_HALF_SHUT] = true },
		[LWR_HALF_DRAIN] = { [LWR_HALF_SHUT] = true },
	};

	LWR_ASSERT(may[*h][to]);
	*h = to;
}

enum lwr_half_action lwr__half_eof(enum lwr_half *h, uint64_t queued)
{
	if (*h != LWR_HALF_OPEN)
		return LWR_HALF_NONE;
	set(h, queued ? LWR_HALF_DRAIN : LWR_HALF_SHUT);
	return queued ? LWR_HALF_NONE : LWR_HALF_SHUTDOWN;
}

enum lwr_half_action lwr__half_drained(enum lwr_half *h)
{
	if (*h != LWR_HALF_DRAIN)
		return LWR_HALF_NONE;
	set(h, LWR_HALF_SHUT);
	return LWR_HALF_SHUTDOWN;
}

const char *lwr__half_name(enum lwr_half h)
{
	static const char *const name[] = {
		[LWR_HALF_OPEN] = "OPEN",
		[LWR_HALF_DRAIN] = "DRAIN",
		[LWR_HALF_SHUT] = "SHUT",
	};

	return name[h];
}
