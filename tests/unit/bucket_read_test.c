/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/bucket_read.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/bucket_hand.h"

#define NOON INT64_C(1770000000000)

static const uint8_t id[12] = {0x69, 0x80, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
static const bson_t empty = BSON_INITIALIZER;

/* Documents that are expected, and how many came. */
struct expected {
	bson_t documents[300];
	uint32_t count, seen, stop_at, wrong;
};

static bool compare(void *arg, uint32_t index, const bson_t *document)
{
	struct expected *e = arg;

	if (e->stop_at && e->seen == e->stop_at)
		return false;
	if (index != e->seen || index >= e->count || !bson_equal(document, &e->documents[index])) {
		char *is = bson_as_canonical_extended_json(document, NULL);
		char *should = index < e->count ? bson_as_canonical_extended_json(&e->documents[index], NULL) : NULL;

		print_error("%u: %s, not %s\n", index, is, should ? should : "(none)");
		bson_free(is);
		bson_free(should);
		e->wrong++;
	}
	e->seen++;
	return true;
}

static void expect(struct expected *e, uint32_t count)
{
	memset(e, 0, sizeof(*e));
	e->count = count;
	for (uint32_t i = 0; i < count; i++)
		bson_init(&e->documents[i]);
}

static void assert_reads(const bson_t *bucket, struct expected *e)
{
	const char *problem = "none";

	if (bucket_read(bucket, compare, e, &problem) != 0)
		fail_msg("refused: %s", problem);
	assert_int_equal(e->wrong, 0);
	assert_int_equal(e->seen, e->count);
	for (uint32_t i = 0; i < e->count; i++)
		bson_destroy(&e->documents[i]);
}

static bool count_only(void *arg, uint32_t index, const bson_t *document)
{
	uint32_t *count = arg;

	(void)document;
	*count = index + 1;
	return true;
}

static void assert_refused(const bson_t *bucket, const char *word)
{
	const char *problem = NULL;
	uint32_t count = 0;

	assert_int_equal(bucket_read(bucket, count_only, &count, &problem), -EINVAL);
	assert_int_equal(count, 0);
	assert_non_null(problem);
	if (word)
		assert_string_equal(problem, word);
	assert_int_equal(bucket_read(bucket, count_only, &count, NULL), -EINVAL);
}

/* A value of each type that a column can hold, in order of BSON's type bytes. */
static const struct value {
	const char *name;
	bson_value_t value;
} values[] = {
	{"d", {.value_type = BSON_TYPE_DOUBLE, .value.v_double = -0.5}},
	{"s", {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {(char *)"2001:db8::7", 11}}},
	{"s0", {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {(char *)"", 0}}},
	{"s17", {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {(char *)"0123456789abcdefg", 17}}},
	{"b",
	 {.value_type = BSON_TYPE_BINARY,
	  .value.v_binary = {.data = (uint8_t *)"\0\1\2", .data_len = 3, .subtype = BSON_SUBTYPE_BINARY}}},
	{"b0",
	 {.value_type = BSON_TYPE_BINARY,
	  .value.v_binary = {.data = (uint8_t *)"", .data_len = 0, .subtype = BSON_SUBTYPE_BINARY}}},
	{"b20",
	 {.value_type = BSON_TYPE_BINARY,
	  .value.v_binary = {.data = (uint8_t *)"0123456789abcdefghij", .data_len = 20, .subtype = BSON_SUBTYPE_USER}}},
	{"o", {.value_type = BSON_TYPE_OID, .value.v_oid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}}},
	{"t", {.value_type = BSON_TYPE_BOOL, .value.v_bool = true}},
	{"date", {.value_type = BSON_TYPE_DATE_TIME, .value.v_datetime = -1}},
	{"null", {.value_type = BSON_TYPE_NULL}},
	{"i", {.value_type = BSON_TYPE_INT32, .value.v_int32 = INT32_MIN}},
	{"stamp", {.value_type = BSON_TYPE_TIMESTAMP, .value.v_timestamp = {1770000000, 5}}},
	{"l", {.value_type = BSON_TYPE_INT64, .value.v_int64 = INT64_MIN}},
	{"dec", {.value_type = BSON_TYPE_DECIMAL128, .value.v_decimal128 = {7, 0x3040000000000000}}},
};
#define VALUES (sizeof(values) / sizeof(*values))

static void append_meta(bson_t *meta)
{
	bson_t hosts;

	bson_append_array_begin(meta, "hosts", -1, &hosts);
	bson_append_utf8(&hosts, "0", -1, "192.0.2.1", -1);
	bson_append_utf8(&hosts, "1", -1, "2001:db8::7", -1);
	bson_append_array_end(meta, &hosts);
	bson_append_utf8(meta, "iface", -1, "veth0", -1);
	bson_append_utf8(meta, "sensor", -1, "probe-7", -1);
}

/* Measurement i has the value of column j unless (i + j) % 3 is 0: gaps at the front, inside and at the end. */
static bool has_value(uint32_t i, uint32_t j)
{
	return (i + j) % 3 != 0;
}

static void expect_all_types(struct expected *e, const bson_t *meta, uint32_t n)
{
	expect(e, n);
	for (uint32_t i = 0; i < n; i++) {
		bson_t *d = &e->documents[i];

		bson_append_date_time(d, "ts", -1, NOON + (i * 7) % 5);
		if (meta)
			bson_append_document(d, "meta", -1, meta);
		for (uint32_t j = 0; j < VALUES; j++)
			if (has_value(i, j))
				bson_append_value(d, values[j].name, -1, &values[j].value);
	}
}

static void all_types(void **state)
{
	bson_t data = BSON_INITIALIZER, meta = BSON_INITIALIZER, bucket = BSON_INITIALIZER;
	struct hand_column c = {0};
	struct expected e;

	(void)state;
	for (uint32_t i = 0; i < 7; i++)
		hand_date(&c, NOON + (i * 7) % 5);
	hand_column(&data, "ts", &c);
	for (uint32_t j = 0; j < VALUES; j++) {
		for (uint32_t i = 0; i < 7; i++) {
			if (has_value(i, j))
				hand_value(&c, &values[j].value);
			else
				hand_missing(&c);
		}
		hand_column(&data, values[j].name, &c);
	}
	append_meta(&meta);
	hand_bucket(&bucket, 3, 7, &empty, &empty, &meta, &data, id);
	expect_all_types(&e, &meta, 7);
	assert_reads(&bucket, &e);
	bson_reinit(&bucket);
	hand_bucket(&bucket, 2, 7, &empty, &empty, NULL, &data, id);
	expect_all_types(&e, NULL, 7);
	assert_reads(&bucket, &e);
	bson_destroy(&bucket);
	bson_destroy(&meta);
	bson_destroy(&data);
}

/* {"0": v, "2": v ...} */
static void plain_column(bson_t *data, const char *name, const bson_value_t *value, uint32_t n, uint32_t j)
{
	char text[16];
	bson_t column;

	bson_append_document_begin(data, name, -1, &column);
	for (uint32_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%u", i);
		if (!value)
			bson_append_date_time(&column, text, -1, NOON + (i * 7) % 5);
		else if (has_value(i, j))
			bson_append_value(&column, text, -1, value);
	}
	bson_append_document_end(data, &column);
}

static void version_1(void **state)
{
	bson_t data = BSON_INITIALIZER, meta = BSON_INITIALIZER, bucket = BSON_INITIALIZER;
	struct expected e;

	(void)state;
	plain_column(&data, "ts", NULL, 13, 0);
	for (uint32_t j = 0; j < VALUES; j++)
		plain_column(&data, values[j].name, &values[j].value, 13, j);
	append_meta(&meta);
	for (int32_t count = -1; count < 14; count += 14) { /* without one, and with one */
		hand_bucket(&bucket, 1, count, &empty, &empty, &meta, &data, id);
		expect_all_types(&e, &meta, 13);
		assert_reads(&bucket, &e);
		bson_reinit(&bucket);
	}
	bson_destroy(&bucket);
	bson_destroy(&meta);
	bson_destroy(&data);
}

/* Blocks and a run: BUCKETS.md sections 5.2, 5.3, 5.8. */
static void packed(void **state)
{
	bson_t data = BSON_INITIALIZER, bucket = BSON_INITIALIZER;
	struct hand_column c = {0};
	struct expected e;

	(void)state;
	/* Dates 1 ms apart: the first difference of differences is 1, then 0: a slot of 60 bits, then a run of 120,
	 * then one of 120. */
	hand_int32(&c, 0);
	hand_block(&c, 0x000400080010002b);
	hand_block(&c, 15);
	hand_block(&c, 15);
	hand_column(&data, "n", &c);
	hand_date(&c, NOON);
	hand_block(&c, 2ull << 4 | 14);
	hand_block(&c, 14);
	hand_block(&c, 1 << 4 | 15);
	hand_block(&c, 14);
	hand_block(&c, 14);
	hand_column(&data, "ts", &c);
	hand_bucket(&bucket, 3, 245, &empty, &empty, NULL, &data, id);
	expect(&e, 245);
	for (uint32_t i = 0; i < 245; i++) {
		bson_append_date_time(&e.documents[i], "ts", -1, NOON + i);
		bson_append_int32(&e.documents[i], "n", -1, (int32_t)i);
	}
	assert_reads(&bucket, &e);
	bson_destroy(&bucket);
	bson_destroy(&data);
}

static void order_of_fields(void **state)
{
	static const char *const names[] = {"len", "_id", "ns", "ts", "aa"};
	bson_t data = BSON_INITIALIZER, bucket = BSON_INITIALIZER;
	struct hand_column c = {0};
	struct expected e;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		if (!strcmp(names[i], "ts"))
			hand_date(&c, NOON);
		else
			hand_int32(&c, (int32_t)i);
		hand_column(&data, names[i], &c);
	}
	hand_bucket(&bucket, 2, 1, &empty, &empty, &empty, &data, id);
	expect(&e, 1);
	bson_append_date_time(&e.documents[0], "ts", -1, NOON);
	bson_append_document(&e.documents[0], "meta", -1, &empty);
	for (int32_t i = 0; i < 5; i++)
		if (i != 3)
			bson_append_int32(&e.documents[0], names[i], -1, i);
	assert_reads(&bucket, &e);
	bson_destroy(&bucket);
	bson_destroy(&data);
}

/* A good bucket of three measurements with one column more, made by the test. */
static void bucket_with(bson_t *bucket, int32_t version, int32_t count, const char *name, struct hand_column *column)
{
	bson_t data = BSON_INITIALIZER;
	struct hand_column c = {0};

	bson_init(bucket);
	for (int64_t i = 0; i < 3; i++)
		hand_date(&c, NOON + i);
	hand_column(&data, "ts", &c);
	if (name)
		hand_column(&data, name, column);
	hand_bucket(bucket, version, count, &empty, &empty, NULL, &data, id);
	bson_destroy(&data);
}

static void each_can_stop(void **state)
{
	struct expected e;
	bson_t bucket;

	(void)state;
	bucket_with(&bucket, 3, 3, NULL, NULL);
	expect(&e, 3);
	for (int64_t i = 0; i < 3; i++)
		bson_append_date_time(&e.documents[i], "ts", -1, NOON + i);
	e.stop_at = 2;
	assert_int_equal(bucket_read(&bucket, compare, &e, NULL), -ECANCELED);
	assert_int_equal(e.seen, 2);
	assert_int_equal(e.wrong, 0);
	e.seen = e.stop_at = 0;
	assert_reads(&bucket, &e);
	bson_destroy(&bucket);
}

static void control_is_checked(void **state)
{
	static const struct {
		int32_t version, count;
		const char *problem;
	} cases[] = {
		{0, 3, "control.version is not 1, 2 or 3"},
		{4, 3, "control.version is not 1, 2 or 3"},
		{-1, 3, "control.version is not 1, 2 or 3"},
		{3, -1, "control.count is missing or out of range"},
		{2, 0, "control.count is missing or out of range"},
		{3, BUCKET_READ_MOST + 1, "control.count is missing or out of range"},
		{3, 2, "a column has not control.count values"},
		{2, 4, "a column has not control.count values"},
		{3, BUCKET_READ_MOST, "a column has not control.count values"},
		{1, 3, "a column is no document"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bson_t bucket;

		bucket_with(&bucket, cases[i].version, cases[i].count, NULL, NULL);
		assert_refused(&bucket, cases[i].problem);
		bson_destroy(&bucket);
	}
	assert_refused(&empty, "control is missing");
}

static void columns_are_checked(void **state)
{
	struct hand_column c = {0};
	bson_t bucket;

	(void)state;
	hand_int32(&c, 1); /* shorter than the others, then longer */
	hand_int32(&c, 1);
	bucket_with(&bucket, 3, 3, "len", &c);
	assert_refused(&bucket, "a column has not control.count values");
	bson_destroy(&bucket);
	for (int32_t i = 0; i < 4; i++)
		hand_int32(&c, i);
	bucket_with(&bucket, 3, 3, "len", &c);
	assert_refused(&bucket, "a column has not control.count values");
	bson_destroy(&bucket);
	hand_put(&c, "\x10\0\1", 3); /* a literal that is cut off */
	bucket_with(&bucket, 3, 3, "len", &c);
	assert_refused(&bucket, NULL);
	bson_destroy(&bucket);
	for (int32_t i = 0; i < 3; i++)
		hand_int32(&c, i);
	bucket_with(&bucket, 3, 3, "ts", &c);
	assert_refused(&bucket, "a field stands twice");
	bson_destroy(&bucket);
}

/* {control: {version, count: 1}, data}: what hand_bucket makes is too good. */
static void assert_data_refused(int32_t version, bson_t *data, const char *problem)
{
	bson_t bucket = BSON_INITIALIZER;

	hand_bucket(&bucket, version, version == 1 ? -1 : 1, &empty, &empty, &empty, data, id);
	assert_refused(&bucket, problem);
	bson_destroy(&bucket);
	bson_reinit(data);
}

static void data_is_checked(void **state)
{
	bson_t data = BSON_INITIALIZER, column = BSON_INITIALIZER;
	struct hand_column c = {0};

	(void)state;
	assert_data_refused(3, &data, "data is damaged, or has too many columns");
	hand_int32(&c, 1);
	hand_column(&data, "len", &c);
	assert_data_refused(3, &data, "data.ts is missing");
	hand_int32(&c, 1);
	hand_column(&data, "ts", &c);
	assert_data_refused(3, &data, "data.ts has something else than times");
	hand_missing(&c);
	hand_column(&data, "ts", &c);
	assert_data_refused(2, &data, "data.ts has something else than times");
	bson_append_binary(&data, "ts", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)"", 1);
	assert_data_refused(3, &data, "a column is of another subtype");
	bson_append_int32(&data, "ts", -1, 1);
	assert_data_refused(3, &data, "a column is not packed");
	hand_date(&c, NOON);
	hand_column(&data, "ts", &c);
	hand_int32(&c, 1);
	hand_column(&data, "meta", &c);
	assert_data_refused(3, &data, "a field stands twice");

	bson_append_document(&data, "ts", -1, &column);
	assert_data_refused(1, &data, "the number of times is out of range");
	for (unsigned i = 0; i < 4; i++) {
		static const char *const keys[] = {"1", "00", "", "0x"};

		bson_append_date_time(&column, keys[i], -1, NOON);
		bson_append_document(&data, "ts", -1, &column);
		assert_data_refused(1, &data, "a column's index is out of order or range");
		bson_reinit(&column);
	}
	bson_append_date_time(&column, "0", -1, NOON);
	bson_append_date_time(&column, "0", -1, NOON);
	bson_append_document(&data, "ts", -1, &column);
	assert_data_refused(1, &data, "a column's index is out of order or range");
	bson_destroy(&column);
	bson_destroy(&data);
}

/* A hostile bucket is small and says that it is large. */
static void bounds(void **state)
{
	enum { MANY = 2 + 52 * 1920 }; /* a literal, a zero, and runs of it */
	bson_t data = BSON_INITIALIZER, bucket = BSON_INITIALIZER;
	struct hand_column c = {0};
	uint32_t count = 0;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 1025; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		hand_int32(&c, 1);
		hand_column(&data, name, &c);
	}
	assert_data_refused(3, &data, "data is damaged, or has too many columns");
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), i ? "c%u" : "ts", i);
		hand_date(&c, NOON);
		hand_block(&c, 14);
		for (unsigned k = 0; k < 52; k++)
			hand_block(&c, 15 << 4 | 15);
		hand_column(&data, name, &c);
		if (i != 1 && i != 49)
			continue;
		hand_bucket(&bucket, 3, MANY, &empty, &empty, NULL, &data, id);
		if (i == 1) {
			assert_int_equal(bucket_read(&bucket, count_only, &count, NULL), 0);
			assert_int_equal(count, MANY);
		} else {
			assert_refused(&bucket, "more values than are read");
		}
		bson_reinit(&bucket);
	}
	bson_destroy(&bucket);
	bson_destroy(&data);
}

/* Each bit of a good bucket, turned: refused or read, nothing else. */
static void each_bit(void **state)
{
	struct hand_column c = {0};
	uint8_t *bytes;
	bson_t bucket;

	(void)state;
	hand_int32(&c, 0);
	hand_block(&c, 2ull << 34 | 2 << 4 | 13);
	bucket_with(&bucket, 3, 3, "len", &c);
	bytes = malloc(bucket.len);
	for (uint32_t bit = 0; bit < 8 * bucket.len; bit++) {
		uint32_t count = 0;
		bson_t damaged;
		int status;

		memcpy(bytes, bson_get_data(&bucket), bucket.len);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!bson_init_static(&damaged, bytes, bucket.len))
			continue;
		status = bucket_read(&damaged, count_only, &count, NULL);
		assert_true(status == 0 || status == -EINVAL);
		assert_true((status == 0) == (count > 0));
	}
	free(bytes);
	bson_destroy(&bucket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_types),
		cmocka_unit_test(version_1),
		cmocka_unit_test(packed),
		cmocka_unit_test(order_of_fields),
		cmocka_unit_test(each_can_stop),
		cmocka_unit_test(control_is_checked),
		cmocka_unit_test(columns_are_checked),
		cmocka_unit_test(data_is_checked),
		cmocka_unit_test(bounds),
		cmocka_unit_test(each_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
