/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY_NS (86400ll * (int64_t)NS_PER_SEC)

static void days_of_known_moments(void **state)
{
	(void)state;
	assert_int_equal(clock_day(0), 19700101);
	assert_int_equal(clock_day(-1), 19691231);
	assert_int_equal(clock_day(-DAY_NS), 19691231);
	assert_int_equal(clock_day(-DAY_NS - 1), 19691230);
	assert_int_equal(clock_day(951782400 * (int64_t)NS_PER_SEC), 20000229);
	assert_int_equal(clock_day(4107542400 * (int64_t)NS_PER_SEC - 1), 21000228);
	assert_int_equal(clock_day(4107542400 * (int64_t)NS_PER_SEC), 21000301); /* 2100 has no leap day */
	assert_int_equal(clock_next_day(20231231), 20240101);
	assert_int_equal(clock_next_day(20240228), 20240229);
	assert_int_equal(clock_next_day(20230228), 20230301);
	assert_int_equal(clock_day_start(19700102), DAY_NS);
}

static void days_as_gmtime(void **state)
{
	(void)state;
	for (int64_t day = -20000; day < 80000; day += 7) {
		time_t t = (time_t)(day * 86400);
		struct tm tm;
		uint32_t expected, d = clock_day(day * DAY_NS);

		gmtime_r(&t, &tm);
		expected = (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
		assert_int_equal(d, expected);
		assert_true(clock_day_start(d) == day * DAY_NS);
		assert_int_equal(clock_day(day * DAY_NS + DAY_NS - 1), expected);
		assert_int_equal(clock_next_day(d), clock_day((day + 1) * DAY_NS));
	}
}

static void a_pair_and_its_steps(void **state)
{
	struct clock_pair pair = {.boot = 5000, .wall = 1700000000000005000};
	struct clock_sample same = {.boot = 9000, .wall = 1700000000000009000, .error = 50};

	(void)state;
	assert_true(clock_pair_offset(&pair) == 1700000000000000000);
	assert_false(clock_stepped(&pair, &same));
	same.wall += 1050;
	assert_false(clock_stepped(&pair, &same));
	same.wall += 1;
	assert_true(clock_stepped(&pair, &same));
	same.wall -= 2101;
	assert_false(clock_stepped(&pair, &same));
	same.wall -= 1;
	assert_true(clock_stepped(&pair, &same));
}

static void both_clocks_are_read_together(void **state)
{
	struct clock_sample a = clock_sample(), b = clock_sample();
	struct clock_pair pair = {.boot = a.boot, .wall = a.wall};

	(void)state;
	assert_true(b.boot > a.boot);
	assert_true(a.error < 1000000);
	assert_false(clock_stepped(&pair, &b));
	assert_true(clock_boot_ns() >= b.boot);
	assert_in_range(clock_wall_ns() / (int64_t)NS_PER_SEC, 1600000000, 4100000000);
}

static void the_wall_clock_is_injected(void **state)
{
	char path[] = "/tmp/clock-test-XXXXXX";
	int fd = mkstemp(path);
	int64_t offset = -10 * DAY_NS, before = clock_wall_ns();
	struct clock_sample sample;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &offset, sizeof(offset), 0), sizeof(offset));
	assert_int_equal(clock_inject(path), 0);
	assert_in_range(clock_wall_ns() - before - offset, 0, 60 * (int64_t)NS_PER_SEC);
	sample = clock_sample();
	assert_in_range(sample.wall - before - offset, 0, 60 * (int64_t)NS_PER_SEC);
	offset = DAY_NS; /* it is read again each time */
	assert_int_equal(pwrite(fd, &offset, sizeof(offset), 0), sizeof(offset));
	assert_in_range(clock_wall_ns() - before - offset, 0, 60 * (int64_t)NS_PER_SEC);
	assert_int_equal(clock_inject("/nonexistent/file"), -ENOENT);
	assert_in_range(clock_wall_ns() - before - offset, 0, 60 * (int64_t)NS_PER_SEC);
	assert_int_equal(clock_inject(NULL), 0);
	assert_in_range(clock_wall_ns() - before, 0, 60 * (int64_t)NS_PER_SEC);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(days_of_known_moments),      cmocka_unit_test(days_as_gmtime),
		cmocka_unit_test(a_pair_and_its_steps),	      cmocka_unit_test(both_clocks_are_read_together),
		cmocka_unit_test(the_wall_clock_is_injected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
