/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which batch of a lane is written next (process/pipeline.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/process/pipeline_internal.h"

static void first_comes_first(void **state)
{
	struct flight flights[3] = {{.state = FLIGHT_WRITING}, {.state = FLIGHT_PREPARED}, {.state = FLIGHT_PREPARED}};
	const struct lane lane = {.first = flights, .last = &flights[2]};

	(void)state;
	flights[0].next = &flights[1];
	flights[1].next = &flights[2];
	assert_ptr_equal(flight_next(&lane), &flights[1]);
	flights[1].state = FLIGHT_WAITING;
	assert_ptr_equal(flight_next(&lane), &flights[2]);
	flights[2].state = FLIGHT_SETTLED;
	assert_null(flight_next(&lane));
}

/* Also where the digest of the one before is known: it was taken over, or is closed, or comes under another salt. */
static void none_overtakes_one_that_is_prepared(void **state)
{
	struct flight flights[2] = {{.state = FLIGHT_PREPARING}, {.state = FLIGHT_PREPARED}};
	const struct lane lane = {.first = flights, .last = &flights[1]};

	(void)state;
	flights[0].next = &flights[1];
	for (int chained = 0; chained < 2; chained++) {
		flights[0].chained = chained;
		assert_null(flight_next(&lane));
	}
	flights[0].state = FLIGHT_PREPARED;
	assert_ptr_equal(flight_next(&lane), &flights[0]);
}

static void an_empty_lane_has_none(void **state)
{
	const struct lane lane = {0};

	(void)state;
	assert_null(flight_next(&lane));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_comes_first),
		cmocka_unit_test(none_overtakes_one_that_is_prepared),
		cmocka_unit_test(an_empty_lane_has_none),
	};

	return cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
