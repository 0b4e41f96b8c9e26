/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A gap's document: its _id is the same when it begins and when it ends, and nobody else's; times are never too narrow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/core/util.h"
#include "recorder/ledger/gap.h"

static const struct batch_source source = {.sensor = "s", .iface = "r0", .capture = {1, 2, 3}};

static struct gap some(void)
{
	return (struct gap){.source = &source, .side = -1, .why = GAP_DOWN, .by = GAP_BY_LOOK, .id_boot = 77,
			    .begin = 1000000999999, .end = 1000002000001};
}

static const char *text(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "";
}

static int64_t date(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_DATE_TIME(&it) ? bson_iter_date_time(&it) : -1;
}

static void one_identity(void **state)
{
	struct gap gap = some(), other = some();
	uint8_t a[GAP_ID_MAX], b[GAP_ID_MAX];
	size_t n = gap_id(a, &gap);

	(void)state;
	other.open = true;
	other.why = GAP_GONE; /* it turned out so */
	assert_int_equal(gap_id(b, &other), n);
	assert_memory_equal(a, b, n);
	for (int side = REC_RX; side < REC_SIDES; side++) {
		other.side = side;
		assert_true(gap_id(b, &other) != n || memcmp(a, b, n));
	}
	other = some();
	other.before = true;
	assert_true(gap_id(b, &other) != n);
	other.side = REC_TX; /* the longest */
	assert_true(gap_id(b, &other) <= GAP_ID_MAX);
}

static void what_it_says(void **state)
{
	struct gap gap = some();
	bson_t doc = BSON_INITIALIZER, open = BSON_INITIALIZER;
	bson_iter_t it;

	(void)state;
	gap_document(&doc, &gap);
	assert_string_equal(text(&doc, "kind"), "gap");
	assert_string_equal(text(&doc, "why"), "link down");
	assert_string_equal(text(&doc, "by"), "last look");
	assert_string_equal(text(&doc, "iface"), "r0");
	assert_string_equal(text(&doc, "text"), "nothing could be seen for 0.001 s: the link was down");
	assert_false(bson_has_field(&doc, "side"));
	assert_false(bson_has_field(&doc, "former"));
	assert_int_equal(date(&doc, "begin"), 1000000); /* down, and the end up: in ms it is not shorter */
	assert_int_equal(date(&doc, "ts"), 1000000);
	assert_int_equal(date(&doc, "end"), 1000003);
	gap.open = true;
	gap.side = REC_TX;
	gap_document(&open, &gap);
	assert_true(bson_iter_init_find(&it, &open, "end") && BSON_ITER_HOLDS_NULL(&it));
	assert_string_equal(text(&open, "side"), "tx");
	bson_destroy(&doc);
	bson_destroy(&open);
}

static void of_a_former_capture(void **state)
{
	const uint8_t former[CAPTURE_ID_LEN] = {9};
	struct gap gap = some();
	bson_t doc = BSON_INITIALIZER;
	bson_iter_t it, at;

	(void)state;
	gap.why = GAP_REBOOT;
	gap.by = GAP_BY_BALANCE;
	gap.before = true;
	gap.former = former;
	gap.last_batch = 12;
	gap.unaccounted = 34;
	gap_document(&doc, &gap);
	assert_string_equal(text(&doc, "why"), "reboot");
	assert_true(bson_iter_init(&it, &doc) && bson_iter_find_descendant(&it, "former.unaccounted", &at));
	assert_int_equal(bson_iter_int64(&at), 34);
	assert_true(bson_iter_init(&it, &doc) && bson_iter_find_descendant(&it, "former.last_batch", &at));
	assert_int_equal(bson_iter_int64(&at), 12);
	bson_destroy(&doc);
}

static void every_reason_has_a_name(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GAP_WHYS; i++) {
		assert_true(gap_why_name((enum gap_why)i)[0]);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(gap_why_name((enum gap_why)i), gap_why_name((enum gap_why)j));
	}
	for (unsigned i = 0; i < GAP_BYS; i++)
		assert_true(gap_by_name((enum gap_by)i)[0]);
	assert_string_equal(gap_why_name(GAP_WHYS), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_identity),
		cmocka_unit_test(what_it_says),
		cmocka_unit_test(of_a_former_capture),
		cmocka_unit_test(every_reason_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
