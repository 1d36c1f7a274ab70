/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines go to a sink that the program or the library's user gives. */
#ifndef LWR_CORE_LOG_H
#define LWR_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum lwr_level {
	LWR_LOG_ERROR,
	LWR_LOG_WARN,
	LWR_LOG_INFO,
	LWR_LOG_DEBUG,
};

struct lwr_log {
	enum lwr_level level; /* lines above it are not made */
	void (*sink)(void *arg, enum lwr_level level, const char *line);
	void *arg;
};

__attribute__((format(printf, 3, 4))) void
lwr__log(const struct lwr_log *log, enum lwr_level level, const char *fmt, ...);

/* Our own bug: never reachable from what a guest, peer or client sends. */
#define LWR_ASSERT(cond) \
	((cond) ? (void)0 : lwr__assert_failed(#cond, __FILE__, __LINE__))

_Noreturn void lwr__assert_failed(const char *cond, const char *file, int line);

#endif
