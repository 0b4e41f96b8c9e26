/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink/mongo.c writing buckets to a server that answers nonsense, or ends the connection: whatever it says, a batch that is
 * settled is there, each packet once, in a bucket that the server took or as a document, and the ledger entry says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/mongo.h"
#include "tests/db/batches.h"
#include "tests/db/fake_server.h"

#define SPAN_S 3600u
#define BUCKETS 5u
#define PACKETS (BUCKETS * 1000u)
#define LATE_MS 600u
#define SOON_NS (NS_PER_SEC / 3) /* behind the second try */

/* One bucket of a batch, by its place in the first command. */
struct held {
	bson_t *bucket;
	uint64_t from; /* boot ns: the server has it from then on */
};

struct crooked {
	const char *reply;   /* to the first insert; NULL: to none */
	unsigned taken;	     /* places that it takes of the first one, a bit each */
	enum fake_manner manner; /* of the reply to the first `times` inserts */
	unsigned times;
	int poison; /* place of the bucket that ends connections, -1: none */
	bool late;  /* the first insert is taken, but only SOON_NS later */
	const char *second; /* reply to the second insert, of which nothing is taken */
	bool raw;
	char name[64]; /* where buckets go */

	bson_t *first[BUCKETS];
	struct held held[BUCKETS];
	unsigned inserts, documents, wrong_names, twice;
	bson_t *ledger;
	char *json;
};

static const char *say(struct crooked *c, char *json)
{
	free(c->json);
	return c->json = json;
}

static const char *fmt(struct crooked *c, const char *format, ...)
{
	va_list args;
	char *json;

	va_start(args, format);
	if (vasprintf(&json, format, args) < 0)
		abort();
	va_end(args);
	return say(c, json);
}

static bool sub_document(const bson_iter_t *it, bson_t *out)
{
	const uint8_t *data;
	uint32_t len;

	if (!BSON_ITER_HOLDS_DOCUMENT(it))
		return false;
	bson_iter_document(it, &len, &data);
	return bson_init_static(out, data, len);
}

static bool same_id(const bson_t *a, const bson_oid_t *id)
{
	bson_iter_t it;

	return a && bson_iter_init_find(&it, a, "_id") && BSON_ITER_HOLDS_OID(&it) &&
	       bson_oid_equal(bson_iter_oid(&it), id);
}

static int place_of(const struct crooked *c, const bson_oid_t *id)
{
	for (unsigned k = 0; k < BUCKETS; k++)
		if (same_id(c->first[k], id))
			return (int)k;
	return -1;
}

static void hold(struct crooked *c, unsigned k, uint64_t from)
{
	if (!c->held[k].bucket)
		c->held[k] = (struct held){bson_copy(c->first[k]), from};
}

/* As a server does: takes what it has not, and names the others. */
static const char *take_all(struct crooked *c, const bson_t *command)
{
	char errors[2048] = "";
	unsigned n = 0, i = 0;
	bson_iter_t it, item, id;
	bson_t bucket;

	if (!bson_iter_init_find(&it, command, "documents") || !bson_iter_recurse(&it, &item))
		abort();
	for (; bson_iter_next(&item); i++) {
		int k;
		if (!sub_document(&item, &bucket) || !bson_iter_init_find(&id, &bucket, "_id"))
			abort();
		k = place_of(c, bson_iter_oid(&id));
		if (k < 0)
			abort();
		if (c->held[k].bucket)
			sprintf(errors + strlen(errors), "%s{\"index\": %u, \"code\": 11000, \"errmsg\": \"dup\"}",
				*errors ? ", " : "", i);
		else
			hold(c, (unsigned)k, 0), n++;
	}
	return *errors ? fmt(c, "{\"ok\": 1, \"n\": %u, \"writeErrors\": [%s]}", n, errors)
		       : fmt(c, "{\"ok\": 1, \"n\": %u}", n);
}

static bool is_poisoned(struct crooked *c, const bson_t *command)
{
	bson_iter_t it, item, id;
	bson_t bucket;

	if (c->poison < 0 || !bson_iter_init_find(&it, command, "documents") || !bson_iter_recurse(&it, &item))
		return false;
	while (bson_iter_next(&item))
		if (sub_document(&item, &bucket) && bson_iter_init_find(&id, &bucket, "_id") &&
		    place_of(c, bson_iter_oid(&id)) == c->poison)
			return true;
	return false;
}

static const char *insert_buckets(struct fake *fake, struct crooked *c, const bson_t *command)
{
	bson_iter_t it, item;
	bson_t bucket;

	if (!c->inserts++) {
		unsigned k = 0;
		if (!bson_iter_init_find(&it, command, "documents") || !bson_iter_recurse(&it, &item))
		abort();
		while (bson_iter_next(&item) && k < BUCKETS && sub_document(&item, &bucket))
			c->first[k++] = bson_copy(&bucket);
		for (k = 0; k < BUCKETS; k++)
			if ((c->taken >> k & 1) || c->late)
				hold(c, k, c->late ? clock_boot_ns() + SOON_NS : 0);
		fake->command = c->late ? FAKE_CLOSE : c->times ? c->manner : FAKE_ANSWER;
		if (c->reply || c->late)
			return c->reply ? c->reply : "{\"ok\": 1}";
	}
	if (c->inserts <= c->times)
		fake->command = c->manner;
	if (is_poisoned(c, command))
		fake->command = FAKE_CLOSE;
	if (fake->command != FAKE_ANSWER)
		return "{\"ok\": 1, \"n\": 5}";
	if (c->second && c->inserts == 2)
		return c->second;
	return take_all(c, command);
}

static const char *find(struct crooked *c, const bson_t *command)
{
	static const char none[] = "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": []}}";
	bson_iter_t it, id;
	int k;

	if (!bson_iter_init(&it, command) || !bson_iter_find_descendant(&it, "filter._id.$in.0", &id) ||
	    !BSON_ITER_HOLDS_OID(&id))
		return none; /* documents */
	c->wrong_names += !bson_iter_init_find(&it, command, "find") || strcmp(bson_iter_utf8(&it, NULL), c->name);
	k = place_of(c, bson_iter_oid(&id));
	if (k < 0 || !c->held[k].bucket || clock_boot_ns() < c->held[k].from)
		return none;
	char *json = bson_as_canonical_extended_json(c->held[k].bucket, NULL);
	const char *reply = fmt(
		c, "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": [%s]}}", json);
	bson_free(json);
	return reply;
}

static const char *crooked_answer(struct fake *fake, const char *name, const bson_t *command)
{
	struct crooked *c = fake->arg;
	bson_iter_t it, items;
	const char *collection = bson_iter_init(&it, command) && bson_iter_next(&it) && BSON_ITER_HOLDS_UTF8(&it)
					 ? bson_iter_utf8(&it, NULL)
					 : "";

	fake->command = FAKE_ANSWER;
	if (!strcmp(name, "listCollections"))
		return "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": [{\"name\": "
		       "\"packets_20260131\", \"options\": {\"timeseries\": {\"timeField\": \"ts\", \"metaField\": "
		       "\"meta\", \"bucketMaxSpanSeconds\": 3600, \"bucketRoundingSeconds\": 3600}}}]}}";
	if (!strcmp(name, "find"))
		return find(c, command);
	if (!strcmp(name, "insert") && bson_iter_init(&it, command) &&
	    bson_iter_find_descendant(&it, "documents.0.control", &items)) {
		c->wrong_names += strcmp(collection, c->name) || bson_has_field(command, "rawData") != c->raw;
		return insert_buckets(fake, c, command);
	}
	if (!strcmp(name, "insert") && bson_iter_init_find(&it, command, "documents") && bson_iter_recurse(&it, &items)) {
		unsigned n = 0;
		while (bson_iter_next(&items))
			n++;
		c->documents += n;
		return fmt(c, "{\"ok\": 1, \"n\": %u}", n);
	}
	if (!strcmp(name, "update") && !strncmp(collection, "batches_", 8) && bson_iter_init(&it, command) &&
	    bson_iter_find_descendant(&it, "updates.0.u", &items)) {
		bson_t entry;
		if (c->ledger)
			bson_destroy(c->ledger);
		c->ledger = sub_document(&items, &entry) ? bson_copy(&entry) : NULL;
		return "{\"ok\": 1, \"n\": 1}";
	}
	return "{\"ok\": 1}";
}

static int32_t held_count(const bson_t *bucket)
{
	bson_iter_t it, count;

	return bson_iter_init(&it, bucket) && bson_iter_find_descendant(&it, "control.count", &count)
		       ? bson_iter_int32(&count)
		       : -1;
}

/* Every packet once, and the ledger names exactly what is there. */
static void look_over(const struct crooked *c, const char *what)
{
	uint32_t in_buckets = 0, buckets = 0, len = 0;
	const uint8_t *ids = NULL;
	bson_subtype_t subtype;
	bson_iter_t it;

	for (unsigned k = 0; k < BUCKETS; k++)
		if (c->held[k].bucket) {
			in_buckets += (uint32_t)held_count(c->held[k].bucket);
			buckets++;
		}
	if (in_buckets + c->documents != PACKETS || c->wrong_names)
		fail_msg("%s: %u packets in buckets, %u documents, %u wrong names", what, in_buckets, c->documents,
			 c->wrong_names);
	assert_non_null(c->ledger);
	assert_true(bson_iter_init_find(&it, c->ledger, "documents"));
	assert_int_equal(bson_iter_as_int64(&it), c->documents);
	if (bson_iter_init_find(&it, c->ledger, "buckets"))
		bson_iter_binary(&it, &subtype, &len, &ids);
	if (len != buckets * 12)
		fail_msg("%s: the ledger names %u buckets of %u", what, len / 12, buckets);
	for (unsigned i = 0; i < buckets; i++) {
		bson_oid_t id;
		bson_oid_init_from_data(&id, ids + i * 12);
		int k = place_of(c, &id);
		assert_true(k >= 0 && c->held[k].bucket);
	}
}

/* Writes one batch to such a server. */
static void run(struct crooked *c, const char *what, struct mongo_sink_counts *counts)
{
	struct fake fake = {.answer = crooked_answer,
			    .arg = c,
			    .wire = c->raw ? 27 : 21,
			    .hello_more = "\"topologyVersion\": {\"processId\": {\"$oid\": "
					  "\"0102030405060708090a0b0c\"}, \"counter\": {\"$numberLong\": \"0\"}}"};
	struct probe_storage storage = {.buckets = true, .version = 3, .raw = c->raw, .replace = true};
	struct ends_table *ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	struct db_problem problem = {0};
	struct migrations migrations;
	struct sink_report report;
	enum sink_outcome outcome;
	struct sink_job *job;
	struct made made;
	uint64_t deadline;
	char uri[64];
	struct db *db;

	snprintf(c->name, sizeof(c->name), "%spackets_20260131", c->raw ? "" : "system.buckets.");
	fake_start(&fake);
	snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%u/", fake.port);
	assert_int_equal(db_open(&db, &(struct db_options){.uri = uri}, &problem), DB_OK);
	assert_int_equal(migrations_load(&migrations, NULL, &problem), DB_OK);
	struct days *days = days_new(db, &migrations, SPAN_S);
	struct sink *sink = mongo_sink_new(
		&(struct mongo_sink_options){.db = db, .days = days, .ends = ends, .late_ms = LATE_MS});
	mongo_sink_set_storage(sink, &storage);
	make_batch(&made, 7, 1, PACKETS);
	made.batch.mode = JOURNAL_BUCKETS;
	made.batch.span_s = SPAN_S;
	made.batch.form = 3;
	made.batch.raw = c->raw;
	assert_int_equal(sink->encode(sink, &made.batch, &job), 0);
	deadline = clock_boot_ns() + 30 * NS_PER_SEC;
	do {
		outcome = sink->write(sink, job, &report);
		while (outcome == SINK_AGAIN && clock_boot_ns() < report.again_ns)
			usleep(1000);
	} while (outcome == SINK_AGAIN && clock_boot_ns() < deadline);
	mongo_sink_counts(sink, counts);
	sink->job_free(sink, job);
	sink->close(sink);
	days_free(days);
	migrations_free(&migrations);
	db_close(db);
	fake_end(&fake);
	if (outcome != SINK_SETTLED)
		fail_msg("%s: not settled: %s", what, report.problem);
	look_over(c, what);
	for (unsigned k = 0; k < BUCKETS; k++) {
		bson_destroy(c->first[k]);
		bson_destroy(c->held[k].bucket);
	}
	bson_destroy(c->ledger);
	free(c->json);
	drop_batch(&made);
	ends_table_free(ends);
}

#define E(index, code) "{\"index\": " index ", \"code\": " code ", \"errmsg\": \"x\"}"
#define FIRST(n, errors) "{\"ok\": 1, \"n\": " n ", \"writeErrors\": [" errors "]}"

/* What it says of the first command, and what it has taken of it. */
static void nonsense_is_not_believed(void **state)
{
	static const struct {
		const char *reply;
		unsigned taken;
	} cases[] = {
		{FIRST("4", E("999", "121")), 0x1b},
		{FIRST("4", E("-1", "121")), 0x1b},
		{FIRST("4", E("4294967298", "121")), 0x1b},
		{FIRST("4", E("65538", "121")), 0x1b},
		{FIRST("4", E("{\"a\": 2}", "121")), 0x1b},
		{FIRST("4", "{\"code\": 121}"), 0x1b},
		{FIRST("4", "{}"), 0x1b},
		{FIRST("3", E("1", "121") ", " E("1", "121")), 0x19},
		{FIRST("3", E("1", "11000") ", " E("1", "11000")), 0x1a},
		{FIRST("3", E("1", "121") ", " E("3", "112")), 0x15},
		{FIRST("3", E("3", "112") ", " E("1", "121")), 0x15},
		{FIRST("3", E("3", "112") ", " E("1", "13")), 0x15},
		{FIRST("3", E("0", "91") ", " E("1", "11000")), 0x1e},
		{FIRST("3", E("0", "112") ", " E("0", "112")), 0x1c},
		{FIRST("4", E("2", "\"x\"")), 0x1b},
		{FIRST("5", E("2", "121")), 0x1b},
		{FIRST("3", E("2", "121")), 0x18},
		{FIRST("4", "7, \"x\", null"), 0x1b},
		{"{\"ok\": 1, \"n\": 6}", 0},
		{"{\"ok\": 1, \"n\": 10}", 0},
		{"{\"ok\": 1, \"n\": -5}", 0},
		{"{\"ok\": 1, \"n\": 4294967301}", 0},
		{"{\"ok\": 1, \"n\": 1e300}", 0},
		{"{\"ok\": 1, \"n\": {\"$numberDouble\": \"NaN\"}}", 0},
		{"{\"ok\": 1, \"n\": \"5\"}", 0},
		{"{\"ok\": 1}", 0},
		{"{\"ok\": 1, \"n\": 4, \"writeErrors\": \"yes\"}", 0x0f},
		{"{\"ok\": 1, \"n\": 4, \"writeErrors\": {\"a\": 1}}", 0x0f},
		{FIRST("-1", E("0", "11000") ", " E("1", "11000") ", " E("2", "11000") ", " E("3", "11000") ", " E(
			 "4", "11000") ", " E("5", "11000")),
		 0},
		{"{\"ok\": 1, \"n\": 5, \"writeConcernError\": {\"code\": 64, \"errmsg\": \"timeout\"}}", 0},
		{"{\"ok\": 1, \"n\": 5, \"writeConcernError\": 3}", 0},
		{"{\"ok\": 0, \"code\": 121, \"errmsg\": \"no\"}", 0},
		{"{\"ok\": 0, \"code\": 121, \"errmsg\": \"no, but it has two\"}", 0x03},
		{"{\"ok\": 0, \"code\": 11000, \"errmsg\": \"has none\"}", 0},
		{"{\"ok\": 0, \"code\": 50, \"errmsg\": \"time\"}", 0x07},
		{"{\"ok\": 0}", 0},
		{"{}", 0},
		{"{\"n\": 5}", 0},
	};
	struct mongo_sink_counts counts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct crooked c = {.reply = cases[i].reply, .taken = cases[i].taken, .poison = -1, .raw = i % 2};
		run(&c, cases[i].reply, &counts);
	}
}

static void broken_answers(void **state)
{
	static const enum fake_manner manners[] = {FAKE_CLOSE, FAKE_HALF,     FAKE_GARBAGE,
						   FAKE_HUGE,  FAKE_NEGATIVE, FAKE_BROKEN_BSON};
	struct mongo_sink_counts counts;
	char what[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(manners); i++)
		for (unsigned taken = 0; taken < 32; taken += 31) {
			struct crooked c = {
				.manner = manners[i], .times = 2, .taken = taken, .poison = -1, .raw = true};
			snprintf(what, sizeof(what), "manner %zu, taken %u", i, taken);
			run(&c, what, &counts);
			assert_true(counts.unknown >= 2);
			assert_int_equal(counts.buckets_refused, 0);
		}
}

/* For ever: only that bucket becomes documents. */
static void a_bucket_that_ends_connections(void **state)
{
	struct mongo_sink_counts counts;
	struct crooked c = {.poison = 2, .raw = true};

	(void)state;
	run(&c, "poison", &counts);
	assert_int_equal(counts.buckets_refused, 1);
	assert_int_equal(c.documents, 1000);
	assert_in_range(c.inserts, 5, 30);
}

/* Without an answer, then refused, but the first one is still on its way. */
static void a_late_one_beside_a_refusal(void **state)
{
	static const char *const refusals[] = {
		"{\"ok\": 0, \"code\": 121, \"errmsg\": \"no\"}",
		FIRST("4", E("1", "121")),
		FIRST("0", E("0", "121") ", " E("1", "121") ", " E("2", "121") ", " E("3", "121") ", " E("4", "121")),
	};
	struct mongo_sink_counts counts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct crooked c = {.late = true, .second = refusals[i], .poison = -1, .raw = true};
		run(&c, refusals[i], &counts);
		assert_true(counts.buckets_refused > 0);
		assert_int_equal(c.documents, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nonsense_is_not_believed),
		cmocka_unit_test(broken_answers),
		cmocka_unit_test(a_bucket_that_ends_connections),
		cmocka_unit_test(a_late_one_beside_a_refusal),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("sink_bucket_fake", tests, NULL, NULL);
}
