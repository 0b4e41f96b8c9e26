/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When an open batch waits, grows and closes (process/open.c), by the clock's and the rings' word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/encode/bucket.h"
#include "recorder/process/pipeline_internal.h"

#define NOW (1000 * NS_PER_SEC)

/* 100 packets, cut a second ago, 30 s of its span left, nothing new. */
static struct open_view quiet(void)
{
	return (struct open_view){
		.now = NOW, .sent = NOW - NS_PER_SEC, .left = 30 * (int64_t)NS_PER_SEC, .records = 100};
}

static void without_packets_it_waits_for_its_span(void **state)
{
	struct open_view view = quiet();
	uint64_t due;

	(void)state;
	view.sent = NOW - 100 * NS_PER_SEC; /* however old: the same bytes are not written again */
	assert_int_equal(open_decide(&view, &due), OPEN_WAITS);
	assert_int_equal(due, NOW + 30 * NS_PER_SEC);
}

static void it_is_replaced_every_2_s_at_most(void **state)
{
	struct open_view view = quiet();
	uint64_t due;

	(void)state;
	view.pending = 1;
	assert_int_equal(open_decide(&view, &due), OPEN_WAITS);
	assert_int_equal(due, NOW + NS_PER_SEC);
	view.now = due - 1;
	assert_int_equal(open_decide(&view, &due), OPEN_WAITS);
	view.now++;
	assert_int_equal(open_decide(&view, &due), OPEN_GROWS);
}

static void its_span_ends_before_the_2_s(void **state)
{
	struct open_view view = quiet();
	uint64_t due;

	(void)state;
	view.pending = 1;
	view.left = 5000;
	assert_int_equal(open_decide(&view, &due), OPEN_WAITS);
	assert_int_equal(due, NOW + 5000);
	view.left = 0;
	assert_int_equal(open_decide(&view, &due), OPEN_CLOSES);
	view.left = -1; /* the wall clock is not ours */
	assert_int_equal(open_decide(&view, &due), OPEN_CLOSES);
}

static void a_full_one_does_not_wait(void **state)
{
	struct open_view view = quiet();
	uint64_t due;

	(void)state;
	view.pending = (BUCKET_PACKETS - 100) * RECORD_TYPICAL - 1;
	assert_int_equal(open_decide(&view, &due), OPEN_WAITS);
	view.pending++;
	assert_int_equal(open_decide(&view, &due), OPEN_GROWS);
}

static void what_others_say_comes_first(void **state)
{
	struct open_view view = quiet();
	uint64_t due;

	(void)state;
	view.close = true;
	assert_int_equal(open_decide(&view, &due), OPEN_CLOSES);
	view.pending = UINT32_MAX;
	assert_int_equal(open_decide(&view, &due), OPEN_CLOSES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_packets_it_waits_for_its_span),
		cmocka_unit_test(it_is_replaced_every_2_s_at_most),
		cmocka_unit_test(its_span_ends_before_the_2_s),
		cmocka_unit_test(a_full_one_does_not_wait),
		cmocka_unit_test(what_others_say_comes_first),
	};

	return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
