/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 512 };

void lwr__log(const struct lwr_log *log, enum lwr_level level, const char *fmt,
	      ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	if (!log || !log->sink || level > log->level)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* Names come from outside; one event stays one line. */
	for (char *p = line; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	log->sink(log->arg, level, line);
}

_Noreturn void lwr__assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "lwrelay: bug: %s:%d: %s is false\n", file, line, cond);
	abort();
}
