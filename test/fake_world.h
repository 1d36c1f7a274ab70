/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest, wire, stack, TCP relay and host, composed; one at a time. */
#ifndef LWR_TEST_FAKE_WORLD_H
#define LWR_TEST_FAKE_WORLD_H

#include "relay/hooks.h"
#include "relay/tcp.h"
#include "test/fake_loop.h"
#include "test/fake_rand.h"
#include "test/fake_sock.h"
#include "test/fake_wire.h"
#include "test/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fake_world {
	struct lwr_config config;
	struct lwr_log log;
	struct lwr_loop loop;
	struct lwr_stack stack;
	struct lwr_tcp tcp;
	struct lwr_hook_set hooks;
	struct fake_wire wire;
	struct guest guest;
	bool open;
	uint64_t others; /* packets that were not TCP */
};

/*
 * The world of a test. `tweak` may change configuration and capabilities
 * before the stack sees them; NULL: defaults.
 */
struct fake_world *fake_world(void (*tweak)(struct lwr_config *config,
					    struct lwr_link_caps *caps));

/* Fails the test if anything went wrong so far. */
#define world_ok(w) world_ok_at(w, __FILE__, __LINE__)
void world_ok_at(struct fake_world *w, const char *file, int line);

/*
 * Waits until nothing happens any more; then no flow, descriptor, chunk, slab,
 * queued byte or timer may be left.
 */
#define world_clean(w) world_clean_at(w, __FILE__, __LINE__)
void world_clean_at(struct fake_world *w, const char *file, int line);

/* Runs until the expression is true, at most `ms`, else fails. */
#define world_until(w, ms, expr)                                        \
	do {                                                            \
		uint64_t end_ = fake_now() + (ms);                      \
		while (!(expr) && fake_now() < end_ && !fake_failed())  \
			fake_run(1);                                    \
		world_ok(w);                                            \
		if (!(expr)) {                                          \
			world_dump(w);                                  \
			fail_msg("not in %d ms: %s", (int)(ms), #expr); \
		}                                                       \
	} while (0)

/* What flows, PCBs and guest are at, to stderr. */
void world_dump(struct fake_world *w);

/* A connect that has succeeded. */
struct guest_conn *world_connect(struct fake_world *w,
				 const struct guest_opts *o);

/* main() of a simulation: the argument picks tests by name. */
int world_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv);
int world_teardown(void **state);
#define WORLD_TEST(f) cmocka_unit_test_teardown(f, world_teardown)
#define WORLD_MAIN(tests)                                                  \
	int main(int argc, char **argv)                                    \
	{                                                                  \
		return world_main(tests, sizeof(tests) / sizeof(*(tests)), \
				  argc, argv);                             \
	}

#endif
