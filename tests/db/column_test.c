/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Columns on a real server: those of the plain encoder (every type that a packet or another writer could have) and of
 * the fast writers go raw into buckets made by hand, pass the server's own checks, and come back through an ordinary
 * find() with the same values and BSON types, missing ones included. It is the server that decodes, not column_read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/util.h"
#include "recorder/encode/column.h"
#include "recorder/encode/column_plain.h"
#include "tests/db/engine.h"
#include "tests/unit/any_column.h"
#include "tests/unit/packets.h"

#define ROUNDS 60u
#define MOST 1000u
#define HOUR_MS 3600000
#define BEGIN_MS (1795413600000 / HOUR_MS * HOUR_MS)

static struct engine engine;
static struct db *db;
static uint64_t random_state = 11;

/* The fields of the buckets; the fast ones are written by column.h. */
static const struct {
	const char *name;
	uint8_t type;
	bool fast, gaps;
} columns[] = {
	{"t", BSON_DATE, true, false},
	{"i", BSON_INT32, true, false},
	{"dense_int", BSON_INT32, true, true},
	{"dense_double", BSON_DOUBLE, true, true},
	{"int", BSON_INT32, true, true},
	{"double", BSON_DOUBLE, true, true},
	{"string", BSON_STRING, true, true},
	{"binary", BSON_BINARY, true, true},
	{"plain_int", BSON_INT32, false, true},
	{"plain_long", BSON_INT64, false, true},
	{"plain_double", BSON_DOUBLE, false, true},
	{"plain_bool", BSON_BOOL, false, true},
	{"plain_date", BSON_DATE, false, true},
	{"plain_string", BSON_STRING, false, true},
	{"plain_binary", BSON_BINARY, false, true},
	{"plain_oid", BSON_OID, false, true},
	{"plain_timestamp", BSON_TIMESTAMP, false, true},
	{"plain_decimal", BSON_DECIMAL128, false, true},
	{"plain_null", BSON_NULL, false, true},
};
enum { T, I, DENSE_INT, DENSE_DOUBLE, COLUMNS = ARRAY_SIZE(columns) };

static uint32_t n; /* measurements of the bucket */
static struct column_value values[COLUMNS][MOST];
static uint8_t pool[COLUMNS][8192]; /* what the long ones point into */
static uint8_t out[1 << 20];

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* BSON's order within a type. */
static int order(const struct column_value *a, const struct column_value *b)
{
	uint32_t len = a->len < b->len ? a->len : b->len;
	int by_len = (a->len > b->len) - (a->len < b->len);
	int by_bytes = memcmp(column_value_bytes(a), column_value_bytes(b), len);

	switch (a->type) {
	case BSON_DOUBLE:
		return (a->real > b->real) - (a->real < b->real);
	case BSON_TIMESTAMP:
		return ((uint64_t)a->number > (uint64_t)b->number) - ((uint64_t)a->number < (uint64_t)b->number);
	case BSON_BINARY:
		if (by_len || a->subtype != b->subtype)
			return by_len ? by_len : a->subtype - b->subtype;
		return by_bytes;
	case BSON_DECIMAL128: /* positive, of one exponent */
		for (unsigned i = 8; i--;)
			if (a->small[i] != b->small[i])
				return a->small[i] - b->small[i];
		return 0;
	case BSON_STRING:
	case BSON_OID:
		return by_bytes ? by_bytes : by_len;
	default:
		return (a->number > b->number) - (a->number < b->number);
	}
}

/* What the column's writer or the order of this test cannot take becomes something that it can. */
static void tame(unsigned c, struct column_value *v)
{
	static const uint8_t exponent[8] = {0, 0, 0, 0, 0, 0, 0x40, 0x30};

	if (columns[c].fast && v->type == BSON_DOUBLE) {
		uint64_t bits = (uint64_t)v->number;

		v->real = c == DENSE_DOUBLE ? (double)(uint32_t)(bits >> 20) : (double)((int64_t)bits >> 16);
	} else if (v->type == BSON_DOUBLE && v->real != v->real) {
		v->real = 1.5;
	} else if (v->type == BSON_DECIMAL128) {
		memcpy(v->small + 8, exponent, sizeof(exponent));
	}
	if (columns[c].fast)
		v->subtype = 0;
}

static void fill(unsigned c)
{
	struct column_value *v = values[c];
	uint32_t have;

	for (unsigned i = 0; i < sizeof(pool[c]); i++) {
		pool[c][i] = (uint8_t)packets_random(&random_state);
		if (columns[c].type == BSON_STRING)
			pool[c][i] = (uint8_t)(pool[c][i] % 127 + 1); /* UTF-8 */
	}
	have = any_column(v, n, columns[c].type, (struct any_source){pool[c], pool[c] + sizeof(pool[c])});
	assert_true(have > 0);
	for (uint32_t i = 0; i < n; i++) {
		if (i >= have)
			v[i] = v[i % have];
		if (!columns[c].gaps && !v[i].type)
			v[i] = (struct column_value){.type = columns[c].type};
		if (columns[c].type == BSON_STRING && !v[i].bytes)
			for (unsigned b = 0; b < sizeof(v[i].small); b++) /* any_column counts them up */
				v[i].small[b] = b < v[i].len ? (v[i].small[b] & 0x7f ? v[i].small[b] & 0x7f : 1) : 0;
		if (v[i].type)
			tame(c, &v[i]);
	}
}

/* ---- columns ---------------------------------------------------------------------------------------------------- */

static uint8_t *dense(unsigned c)
{
	static int64_t ms[MOST];
	static int32_t ints[MOST];
	static uint32_t reals[MOST];
	static uint64_t missing[(MOST + 63) / 64];
	int64_t range[2], carried;
	const struct column_value *v = values[c];
	uint32_t first = 0, real_range[2];
	int32_t int_range[2];

	memset(missing, 0, sizeof(missing));
	while (!v[first].type)
		first++;
	carried = v[first].type == BSON_DOUBLE ? (int64_t)v[first].real : v[first].number;
	for (uint32_t i = 0; i < n; i++) {
		if (v[i].type)
			carried = v[i].type == BSON_DOUBLE ? (int64_t)v[i].real : v[i].number;
		else
			missing[i >> 6] |= 1ull << (i & 63);
		ms[i] = carried;
		ints[i] = (int32_t)carried;
		reals[i] = (uint32_t)carried;
	}
	if (c == T)
		return column_date(out, ms, n, range);
	if (c == DENSE_DOUBLE)
		return column_double(out, reals, missing, n, real_range);
	return column_int32(out, ints, c == I ? NULL : missing, n, int_range);
}

/* An event for each place: some say the same as the one before. */
static uint8_t *sparse(unsigned c)
{
	static struct column_event events[MOST];
	static struct column_text texts[MOST];
	const struct column_value *v = values[c];
	enum column_type type = (enum column_type)columns[c].type;
	uint32_t text_range[2];
	int64_t range[2];

	for (uint32_t i = 0; i < n; i++) {
		texts[i] =
			(struct column_text){i, v[i].type ? v[i].len : COLUMN_TEXT_MISSING, column_value_bytes(&v[i])};
		events[i] = (struct column_event){i, !v[i].type,
						  v[i].type == BSON_DOUBLE ? (int64_t)v[i].real : v[i].number};
	}
	if (type == COLUMN_STRING || type == COLUMN_BINARY)
		return column_texts(out, type, texts, n, n, text_range);
	return column_events(out, type, events, n, n, range);
}

static uint32_t column_write(unsigned c)
{
	if (!columns[c].fast)
		return (uint32_t)column_plain(out, values[c], n);
	return (uint32_t)((c <= DENSE_DOUBLE ? dense(c) : sparse(c)) - out);
}

/* ---- the bucket ------------------------------------------------------------------------------------------------- */

static void append(bson_t *to, const char *name, const struct column_value *v)
{
	bson_oid_t oid;
	bson_decimal128_t decimal;

	switch (v->type) {
	case BSON_DOUBLE:
		bson_append_double(to, name, -1, v->real);
		break;
	case BSON_STRING:
		bson_append_utf8(to, name, -1, (const char *)column_value_bytes(v), (int)v->len);
		break;
	case BSON_BINARY:
		bson_append_binary(to, name, -1, (bson_subtype_t)v->subtype, column_value_bytes(v), v->len);
		break;
	case BSON_OID:
		memcpy(oid.bytes, v->small, 12);
		bson_append_oid(to, name, -1, &oid);
		break;
	case BSON_BOOL:
		bson_append_bool(to, name, -1, v->number);
		break;
	case BSON_DATE:
		bson_append_date_time(to, name, -1, v->number);
		break;
	case BSON_NULL:
		bson_append_null(to, name, -1);
		break;
	case BSON_INT32:
		bson_append_int32(to, name, -1, (int32_t)v->number);
		break;
	case BSON_TIMESTAMP:
		bson_append_timestamp(to, name, -1, (uint32_t)((uint64_t)v->number >> 32), (uint32_t)v->number);
		break;
	case BSON_INT64:
		bson_append_int64(to, name, -1, v->number);
		break;
	case BSON_DECIMAL128:
		memcpy(&decimal.low, v->small, 8);
		memcpy(&decimal.high, v->small + 8, 8);
		bson_append_decimal128(to, name, -1, &decimal);
		break;
	default:
		fail_msg("type %u", v->type);
	}
}

/* Smallest and largest; false: all are missing, the field is in no part of the bucket. */
static bool extremes(unsigned c, struct column_value *least, struct column_value *most)
{
	bool any = false;

	for (uint32_t i = 0; i < n; i++) {
		const struct column_value *v = &values[c][i];

		if (!v->type)
			continue;
		if (!any || order(v, least) < 0)
			*least = *v;
		if (!any || order(v, most) > 0)
			*most = *v;
		any = true;
	}
	if (c == T)
		least->number = BEGIN_MS;
	return any;
}

/* Version 2 is sorted by time, 3 is not. */
static bool sorted(void)
{
	for (uint32_t i = 1; i < n; i++)
		if (values[T][i].number < values[T][i - 1].number)
			return false;
	return true;
}

static void bucket(bson_t *to, uint32_t round)
{
	bson_t control, min = BSON_INITIALIZER, max = BSON_INITIALIZER, data = BSON_INITIALIZER;
	bson_oid_t id = {{0}};

	put_be32(id.bytes, (uint32_t)(BEGIN_MS / 1000));
	put_be32(id.bytes + 8, round);
	for (unsigned c = 0; c < COLUMNS; c++) {
		struct column_value least, most;

		if (!extremes(c, &least, &most))
			continue;
		append(&min, columns[c].name, &least);
		append(&max, columns[c].name, &most);
		bson_append_binary(&data, columns[c].name, -1, (bson_subtype_t)7, out, column_write(c));
	}
	bson_append_oid(to, "_id", -1, &id);
	bson_append_document_begin(to, "control", -1, &control);
	bson_append_int32(&control, "version", -1, sorted() ? 2 : 3);
	bson_append_document(&control, "min", -1, &min);
	bson_append_document(&control, "max", -1, &max);
	bson_append_int32(&control, "count", -1, (int32_t)n);
	bson_append_bool(&control, "closed", -1, true);
	bson_append_document_end(to, &control);
	bson_append_int32(to, "meta", -1, (int32_t)round);
	bson_append_document(to, "data", -1, &data);
	bson_destroy(&min);
	bson_destroy(&max);
	bson_destroy(&data);
}

/* ---- there and back --------------------------------------------------------------------------------------------- */

struct found {
	uint32_t count, fields;
};

static bool found_one(void *arg, const bson_t *document)
{
	struct found *found = arg;
	bson_t want = BSON_INITIALIZER;
	bson_iter_t it, place, theirs, ours;
	uint32_t i;

	assert_true(bson_iter_init_find(&it, document, "i"));
	i = (uint32_t)bson_iter_int32(&it);
	assert_true(i < n);
	for (unsigned c = 0; c < COLUMNS; c++)
		if (values[c][i].type)
			append(&want, columns[c].name, &values[c][i]);
	/* `m`, and each field once: as many, and every one that is wanted. Equal bytes of BSON: type and value. */
	assert_true(bson_iter_init_find(&place, document, "m"));
	assert_int_equal(bson_count_keys(document), bson_count_keys(&want) + 1);
	assert_true(bson_iter_init(&ours, &want));
	while (bson_iter_next(&ours)) {
		bson_t a = BSON_INITIALIZER, b = BSON_INITIALIZER;

		if (!bson_iter_init_find(&theirs, document, bson_iter_key(&ours)))
			fail_msg("measurement %u has no %s", i, bson_iter_key(&ours));
		bson_append_iter(&a, "", 0, &ours);
		bson_append_iter(&b, "", 0, &theirs);
		if (!bson_equal(&a, &b))
			fail_msg("measurement %u of %u: another %s", i, n, bson_iter_key(&ours));
		bson_destroy(&a);
		bson_destroy(&b);
		found->fields++;
	}
	bson_destroy(&want);
	found->count++;
	return true;
}

static void run(const char *database, bson_t *command, bson_t *reply)
{
	struct db_problem problem = {0};

	if (db_run(db, database, command, reply, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	bson_destroy(command);
}

/* Makes a bucket's values, inserts it raw, reads it by its meta. The number of values that came back. */
static uint32_t there_and_back(uint32_t round)
{
	struct db_problem problem = {0};
	struct found found = {0};
	struct db_client client;
	bson_t document = BSON_INITIALIZER;
	bson_t *find = BCON_NEW("find", "columns", "filter", "{", "m", BCON_INT32((int32_t)round), "}");

	n = round < 4 ? round + 1 : 1 + (uint32_t)(packets_random(&random_state) % MOST);
	for (unsigned c = 0; c < COLUMNS; c++)
		fill(c);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t random = packets_random(&random_state) % HOUR_MS;

		values[I][i].number = i;
		values[T][i].number = BEGIN_MS + (int64_t)(round & 1 ? random : (uint64_t)i * 3 + random % 3);
	}
	bucket(&document, round);
	run(NULL,
	    BCON_NEW("insert", "columns", "documents", "[", BCON_DOCUMENT(&document), "]", "rawData", BCON_BOOL(true)),
	    NULL);
	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	if (db_each(&client, NULL, find, found_one, &found, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	db_client_done(&client);
	assert_int_equal(found.count, n);
	bson_destroy(&document);
	bson_destroy(find);
	return found.fields;
}

/* Neither errors nor warnings. Without a checkpoint before, the server warns that it could not look at everything. */
static void validates(void)
{
	static const char *const lists[] = {"errors", "warnings"};
	bson_iter_t it, list;
	bson_t reply;

	run("admin", BCON_NEW("fsync", BCON_INT32(1)), NULL);
	run(NULL, BCON_NEW("validate", "columns", "full", BCON_BOOL(true)), &reply);
	assert_true(bson_iter_init_find(&it, &reply, "valid") && bson_iter_bool(&it));
	for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
		assert_true(bson_iter_init_find(&it, &reply, lists[i]) && bson_iter_recurse(&it, &list));
		if (bson_iter_next(&list))
			fail_msg("validate: %s", bson_iter_utf8(&list, NULL));
	}
	bson_destroy(&reply);
}

static void columns_come_back_from_the_server(void **state)
{
	uint32_t fields = 0;

	(void)state;
	run(NULL,
	    BCON_NEW("create", "columns", "timeseries", "{", "timeField", "t", "metaField", "m", "bucketMaxSpanSeconds",
		     BCON_INT32(HOUR_MS / 1000), "bucketRoundingSeconds", BCON_INT32(HOUR_MS / 1000), "}"),
	    NULL);
	for (uint32_t round = 0; round < ROUNDS; round++)
		fields += there_and_back(round);
	print_message("%u buckets, %u values\n", ROUNDS, fields);
	assert_true(fields > 100000);

	validates();
}

static int set_up(void **state)
{
	struct db_problem problem = {0};

	(void)state;
	engine_shared(&engine);
	if (db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem) == DB_OK)
		return 0;
	fprintf(stderr, "%s\n", problem.text);
	return -1;
}

static int tear_down(void **state)
{
	(void)state;
	drop_database(db);
	db_close(db);
	engine_remove(&engine);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(columns_come_back_from_the_server)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
