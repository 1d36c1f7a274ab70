/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char last[1024];
static int lines;

static void sink(void *arg, enum lwr_level level, const char *line)
{
	*(enum lwr_level *)arg = level;
	snprintf(last, sizeof(last), "%s", line);
	lines++;
}

static void log_lines_above_the_level_are_not_made(void **state)
{
	enum lwr_level level = LWR_LOG_DEBUG;
	struct lwr_log log = { LWR_LOG_WARN, sink, &level };

	(void)state;
	lines = 0;
	lwr__log(&log, LWR_LOG_INFO, "no");
	assert_int_equal(lines, 0);
	lwr__log(&log, LWR_LOG_WARN, "flow %d", 12);
	assert_int_equal(lines, 1);
	assert_int_equal(level, LWR_LOG_WARN);
	assert_string_equal(last, "flow 12");
}

static void log_without_a_sink_is_silent(void **state)
{
	struct lwr_log log = { .level = LWR_LOG_DEBUG };

	(void)state;
	lwr__log(&log, LWR_LOG_ERROR, "x");
	lwr__log(NULL, LWR_LOG_ERROR, "x");
}

static void log_long_line_is_cut(void **state)
{
	enum lwr_level level;
	struct lwr_log log = { LWR_LOG_INFO, sink, &level };

	(void)state;
	lwr__log(&log, LWR_LOG_INFO, "%0900d", 1);
	assert_int_equal(strlen(last), 511);
}

static void log_event_stays_one_line(void **state)
{
	enum lwr_level level;
	struct lwr_log log = { LWR_LOG_INFO, sink, &level };

	(void)state;
	lwr__log(&log, LWR_LOG_INFO, "%s", "a\nb\x1b[0m\x7f\xc3\xa4");
	assert_string_equal(last, "a?b?[0m?\xc3\xa4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_lines_above_the_level_are_not_made),
		cmocka_unit_test(log_without_a_sink_is_silent),
		cmocka_unit_test(log_long_line_is_cut),
		cmocka_unit_test(log_event_stays_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
