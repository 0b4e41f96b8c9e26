/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sink/mongo.c on a real server that is well: what is written is there, once, however often it is tried. */
#include "recorder/sink/mongo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/clock.h"
#include "recorder/db/read.h"
#include "recorder/ledger/rows.h"
#include "tests/db/batches.h"
#include "tests/db/engine.h"

#define LATE_MS 300 /* nothing is late here; the wait itself is in sink_stop_test.c */

static struct engine engine;
static struct db *db;
static struct migrations migrations;
static struct days *days;
static struct ends_table *ends;
static struct sink *sink;

static int set_up(void **state)
{
	struct db_problem problem = {0};
	struct migrate_report report;

	(void)state;
	engine_shared(&engine);
	if (db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem) != DB_OK ||
	    migrations_load(&migrations, NULL, &problem) != DB_OK ||
	    migrate_run(db, &migrations, NULL, &report, &problem) != DB_OK) {
		fprintf(stderr, "%s\n", problem.text);
		return -1;
	}
	days = days_new(db, &migrations, 0);
	ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	sink = mongo_sink_new(&(struct mongo_sink_options){.db = db, .days = days, .ends = ends, .late_ms = LATE_MS});
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink->close(sink);
	ends_table_free(ends);
	drop_database(db);
	days_free(days);
	migrations_free(&migrations);
	db_close(db);
	engine_remove(&engine);
	return 0;
}

/* Writes until it is settled; the documents that were inserted and found on the way. */
static void settle(struct sink *s, struct batch *batch, uint32_t *inserted, uint32_t *found)
{
	struct sink_job *job;
	struct sink_report report;
	enum sink_outcome outcome;

	*inserted = *found = 0;
	assert_int_equal(s->encode(s, batch, &job), 0);
	do {
		outcome = s->write(s, job, &report);
		*inserted += report.inserted;
		*found += report.found;
		if (outcome == SINK_AGAIN)
			sleep_ms(20);
	} while (outcome == SINK_AGAIN);
	assert_int_equal(outcome, SINK_SETTLED);
	s->job_free(s, job);
}

struct seen {
	const struct made *made;
	uint32_t next, wrong;
};

/* In order of _id: the positions, and the serial numbers in the port, count up. */
static bool look_at_packet(void *arg, const bson_t *doc)
{
	struct seen *seen = arg;
	uint8_t id[PACKET_ID_LEN];
	bson_subtype_t subtype;
	const uint8_t *data;
	bson_iter_t it;
	uint32_t len = 0;

	packet_id(id, &seen->made->batch, seen->next);
	if (!bson_iter_init_find(&it, doc, "_id") || !BSON_ITER_HOLDS_BINARY(&it)) {
		seen->wrong++;
		return true;
	}
	bson_iter_binary(&it, &subtype, &len, &data);
	seen->wrong += len != sizeof(id) || memcmp(data, id, sizeof(id));
	if (!bson_iter_init_find(&it, doc, "lport") || bson_iter_as_int64(&it) != (uint16_t)seen->next)
		if (!bson_iter_init_find(&it, doc, "rport") || bson_iter_as_int64(&it) != (uint16_t)seen->next)
			seen->wrong++;
	seen->next++;
	return true;
}

static void assert_stored_once(const struct made *made)
{
	struct seen seen = {.made = made};
	struct db_problem problem = {0};

	assert_int_equal(read_batch(db, made->source.capture, made->batch.number, made->batch.day, made_first_ms(made),
				    made_last_ms(made), look_at_packet, &seen, &problem),
			 DB_OK);
	assert_int_equal(seen.next, made->batch.nrecords);
	assert_int_equal(seen.wrong, 0);
}

static void a_batch_is_there(void **state)
{
	struct db_problem problem = {0};
	struct read_ledger newest;
	uint32_t inserted, found;
	struct made made;

	(void)state;
	make_batch(&made, 1, 1, 5000);
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(inserted, 5000);
	assert_int_equal(found, 0);
	assert_stored_once(&made);
	assert_int_equal(read_ledger_newest(db, made.source.capture, &newest, &problem), DB_OK);
	assert_true(newest.found);
	assert_int_equal(newest.number, 1);
	assert_int_equal(newest.day, MADE_DAY);
	assert_int_equal(newest.packets, 5000);
	assert_memory_equal(newest.digest, made.batch.digest, DIGEST_LEN);
	drop_batch(&made);
}

/* The control of the ones below: without `attempted` the same batch is stored again, and that is seen. */
static void twice_is_seen(void **state)
{
	struct mongo_sink_counts before, after;
	uint32_t inserted, found;
	struct made made;

	(void)state;
	make_batch(&made, 2, 1, 100);
	settle(sink, &made.batch, &inserted, &found);
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(inserted, 100);
	mongo_sink_counts(sink, &before);
	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	mongo_sink_counts(sink, &after);
	assert_int_equal(inserted, 0);
	assert_int_equal(found, 100);
	assert_int_equal(after.twice - before.twice, 100);
	drop_batch(&made);
}

static void attempted_adds_nothing(void **state)
{
	uint32_t inserted, found;
	struct made made;

	(void)state;
	make_batch(&made, 3, 1, 5000);
	settle(sink, &made.batch, &inserted, &found);
	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(inserted, 0);
	assert_int_equal(found, 5000);
	assert_stored_once(&made);
	drop_batch(&made);
}

/* Only a part was there: the rest comes, between the others. */
static void attempted_adds_what_is_missing(void **state)
{
	struct command_buffer buffer = {0};
	struct db_problem problem = {0};
	uint8_t wanted[3000];
	uint32_t inserted, found, next;
	struct made made;
	bson_t command;

	(void)state;
	make_batch(&made, 4, 1, 3000);
	for (uint32_t i = 0; i < sizeof(wanted); i++)
		wanted[i] = i % 3 == 1;
	assert_int_equal(document_command(&buffer, "packets_20260131", &made.batch, ends, 0, 3000, wanted, 1 << 24,
					  10000, &next),
			 1000);
	assert_true(bson_init_static(&command, buffer.data, buffer.len));
	assert_int_equal(db_run(db, NULL, &command, NULL, &problem), DB_OK);
	command_buffer_free(&buffer);

	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(found, 1000);
	assert_int_equal(inserted, 2000);
	assert_stored_once(&made);
	drop_batch(&made);
}

/* Neighbours in number and capture lie in the same time range and are not touched or taken for ours. */
static void neighbours_do_not_count(void **state)
{
	uint32_t inserted, found;
	struct made a, b, c;

	(void)state;
	make_batch(&a, 5, 1, 500);
	make_batch(&b, 5, 2, 500);
	make_batch(&c, 6, 1, 500);
	settle(sink, &a.batch, &inserted, &found);
	settle(sink, &c.batch, &inserted, &found);
	b.batch.attempted = 1;
	settle(sink, &b.batch, &inserted, &found);
	assert_int_equal(found, 0);
	assert_int_equal(inserted, 500);
	assert_stored_once(&a);
	assert_stored_once(&b);
	assert_stored_once(&c);
	drop_batch(&a);
	drop_batch(&b);
	drop_batch(&c);
}

static void an_empty_batch_has_an_entry(void **state)
{
	struct db_problem problem = {0};
	uint32_t inserted, found;
	struct made made;
	bson_t entry;
	bool there;

	(void)state;
	make_batch(&made, 7, 1, 0);
	settle(sink, &made.batch, &inserted, &found);
	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(read_ledger_entry(db, made.source.capture, 1, MADE_DAY, &entry, &there, &problem), DB_OK);
	assert_true(there);
	bson_destroy(&entry);
	assert_int_equal(read_ledger_entry(db, made.source.capture, 2, MADE_DAY, &entry, &there, &problem), DB_OK);
	assert_false(there);
	drop_batch(&made);
}

static void the_entry_is_always_the_same(void **state)
{
	struct db_problem problem = {0};
	uint32_t inserted, found;
	bson_t first, second;
	struct made made;
	bool there;

	(void)state;
	make_batch(&made, 8, 7, 50);
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(read_ledger_entry(db, made.source.capture, 7, MADE_DAY, &first, &there, &problem), DB_OK);
	assert_true(there);
	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(read_ledger_entry(db, made.source.capture, 7, MADE_DAY, &second, &there, &problem), DB_OK);
	assert_true(there);
	assert_true(bson_equal(&first, &second));
	assert_int_equal(count_matching(db, "batches_20260131", "{\"number\": 7}"), 1);
	bson_destroy(&first);
	bson_destroy(&second);
	drop_batch(&made);
}

/* A day that nobody prepared: the collection is made as a time series, not as MongoDB would. */
static void a_day_on_demand(void **state)
{
	uint32_t inserted, found;
	struct made made;

	(void)state;
	make_batch(&made, 9, 1, 10);
	made.batch.day = 20260130;
	made.batch.pair.wall -= 86400ll * (int64_t)NS_PER_SEC;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(count_matching(db, "packets_20260130", "{}"), 10);
	bson_t *filter = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", "packets_20260130", "type",
				  "timeseries", "}");
	struct db_problem problem = {0};
	struct counted counted = {0};
	struct db_client client;
	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, filter, count_one, &counted, &problem), DB_OK);
	assert_int_equal(counted.n, 1);
	db_client_done(&client);
	bson_destroy(filter);
	drop_batch(&made);
}

static void run_json(const char *json)
{
	struct db_problem problem = {0};
	bson_error_t error;
	bson_t *command = bson_new_from_json((const uint8_t *)json, -1, &error);

	assert_non_null(command);
	assert_int_equal(db_run(db, NULL, command, NULL, &problem), DB_OK);
	bson_destroy(command);
}

static const bson_t *balance_like(uint32_t id, int value)
{
	return BCON_NEW("_id", BCON_INT32((int32_t)id), "value", BCON_INT32(value));
}

/* More than one command takes; again with other values, and nothing is there twice. */
static void many_small_documents(void **state)
{
	enum { MANY = 2500 };
	const bson_t *documents[MANY];
	const bson_t *bad = BCON_NEW("value", BCON_INT32(1));
	struct sink_report report;
	uint64_t began = clock_boot_ns();

	(void)state;
	for (int round = 1; round <= 2; round++) {
		for (uint32_t i = 0; i < MANY; i++)
			documents[i] = balance_like(i, round);
		assert_int_equal(sink->put_many(sink, "balance", 2019, documents, MANY, &report), SINK_SETTLED);
		assert_int_equal(report.commands, 3);
		assert_int_equal(report.inserted, MANY);
		for (uint32_t i = 0; i < MANY; i++)
			bson_destroy((bson_t *)documents[i]);
	}
	assert_true(clock_boot_ns() - began < 30 * NS_PER_SEC); /* one by one they would sleep for 12 minutes */
	assert_int_equal(count_matching(db, "balance_2019", "{\"value\": 2}"), MANY);
	assert_int_equal(count_matching(db, "balance_2019", "{}"), MANY);
	assert_int_equal(sink->put_many(sink, "balance", 2019, documents, 0, &report), SINK_SETTLED);
	assert_int_equal(sink->put_many(sink, "balance", 2019, &bad, 1, &report), SINK_AGAIN);
	assert_non_null(strstr(report.problem, "_id"));
	bson_destroy((bson_t *)bad);
}

/* A document that the server will not take stops its batch, loudly; nothing is lost, and it goes on once it is taken.
 */
static void a_refused_document_is_named(void **state)
{
	struct mongo_sink_counts before, after;
	struct sink_report report;
	struct sink_job *job;
	uint32_t inserted, found;
	struct made made;

	(void)state;
	make_batch(&made, 10, 1, 10);
	made.batch.day = 20260129;
	made.batch.pair.wall -= 2 * 86400ll * (int64_t)NS_PER_SEC;
	settle(sink, &made.batch, &inserted, &found); /* makes the collection */
	made.batch.number = 2;
	/* A time series has no validator; a collection that was swapped under the recorder can have one. */
	run_json("{\"drop\": \"packets_20260129\"}");
	run_json("{\"create\": \"packets_20260129\", \"validator\": {\"len\": {\"$exists\": true}, \"$nor\": "
		 "[{\"rport\": 5}, {\"lport\": 5}]}}");
	mongo_sink_counts(sink, &before);
	assert_int_equal(sink->encode(sink, &made.batch, &job), 0);
	assert_int_equal(sink->write(sink, job, &report), SINK_AGAIN);
	assert_non_null(strstr(report.problem, "record 5"));
	assert_non_null(strstr(report.problem, "validation"));
	assert_true(report.again_ns > clock_boot_ns());
	mongo_sink_counts(sink, &after);
	assert_int_equal(after.refused - before.refused, 1);
	assert_int_equal(count_matching(db, "packets_20260129", "{}"), 9);
	assert_int_equal(sink->write(sink, job, &report), SINK_AGAIN);
	assert_non_null(strstr(report.problem, "'packets_20260129' is there already"));

	sink->job_free(sink, job);
	run_json("{\"drop\": \"packets_20260129\"}");
	made.batch.attempted = 1;
	settle(sink, &made.batch, &inserted, &found);
	assert_int_equal(inserted, 10);
	assert_stored_once(&made);
	drop_batch(&made);
}

static void put(uint64_t sec, int64_t value, const bson_value_t *from, const bson_value_t *to)
{
	static const uint8_t capture[CAPTURE_ID_LEN] = {42};
	uint8_t id[BALANCE_ID_LEN];
	struct sink_report report;
	bson_t doc = BSON_INITIALIZER;

	balance_id(id, capture, REC_RX, sec);
	BSON_APPEND_BINARY(&doc, "_id", BSON_SUBTYPE_BINARY, id, sizeof(id));
	BSON_APPEND_INT64(&doc, "value", value);
	assert_int_equal(sink->put(sink, "balance", MADE_DAY, &doc, from, to, &report), SINK_SETTLED);
	bson_destroy(&doc);
}

static bson_value_t id_value(uint8_t id[BALANCE_ID_LEN], uint64_t sec)
{
	static const uint8_t capture[CAPTURE_ID_LEN] = {42};
	bson_value_t value = {.value_type = BSON_TYPE_BINARY};

	balance_id(id, capture, REC_RX, sec);
	value.value.v_binary.data = id;
	value.value.v_binary.data_len = BALANCE_ID_LEN;
	value.value.v_binary.subtype = BSON_SUBTYPE_BINARY;
	return value;
}

static void put_replaces_and_drops(void **state)
{
	uint8_t from_id[BALANCE_ID_LEN], to_id[BALANCE_ID_LEN];
	bson_value_t from, to;

	(void)state;
	for (uint64_t sec = 100; sec < 110; sec++)
		put(sec, 1, NULL, NULL);
	put(105, 2, NULL, NULL);
	assert_int_equal(count_matching(db, "balance_20260131", "{}"), 10);
	assert_int_equal(count_matching(db, "balance_20260131", "{\"value\": 2}"), 1);
	from = id_value(from_id, 102);
	to = id_value(to_id, 106);
	put(102, 3, &from, &to); /* 103..106 go, 102 becomes the run */
	put(102, 3, &from, &to);
	assert_int_equal(count_matching(db, "balance_20260131", "{}"), 6);
	assert_int_equal(count_matching(db, "balance_20260131", "{\"value\": 3}"), 1);
	assert_int_equal(count_matching(db, "balance_20260131", "{\"value\": 2}"), 0);
}

static void balance_adds_up(void **state)
{
	static const struct batch_source source = {.capture = {43}, .sensor = "s", .iface = "i", .cpus = 1};
	struct balance_row row = {.source = &source, .side = REC_TX, .seconds = 2};
	struct read_balance_filter filter = {.capture = source.capture, .side = REC_TX};
	struct db_problem problem = {0};
	struct sink_report report;
	struct read_balance sums;

	(void)state;
	row.pair.wall = clock_day_start(MADE_DAY);
	for (row.sec = 1; row.sec < 20; row.sec += 2) {
		for (int t = 0; t < REC_TERMS; t++)
			row.term[t] = (struct rec_count){row.sec, 100 * row.sec + (uint64_t)t};
		bson_t doc = BSON_INITIALIZER;
		balance_document(&doc, &row);
		assert_int_equal(sink->put(sink, "balance", balance_day(&row), &doc, NULL, NULL, &report),
				 SINK_SETTLED);
		bson_destroy(&doc);
	}
	assert_int_equal(read_balance(db, &filter, &sums, &problem), DB_OK);
	assert_int_equal(sums.documents, 10);
	assert_int_equal(sums.seconds, 20);
	for (int t = 0; t <= REC_LOST_UNREADABLE; t++) {
		assert_int_equal(sums.term[t].packets, 100);
		assert_int_equal(sums.term[t].bytes, 100 * 100 + 10 * t);
	}
	filter.side = REC_RX;
	assert_int_equal(read_balance(db, &filter, &sums, &problem), DB_OK);
	assert_int_equal(sums.documents, 0);
}

static void events_and_sensors(void **state)
{
	static const uint8_t subject[16] = {1};
	struct sink_report report;

	(void)state;
	for (int i = 0; i < 2; i++) {
		bson_t doc = BSON_INITIALIZER;
		event_document(&doc, subject, 5, 1000000000, "start", "s", NULL, "started", NULL);
		assert_int_equal(sink->put(sink, "events", 0, &doc, NULL, NULL, &report), SINK_SETTLED);
		bson_destroy(&doc);
	}
	assert_int_equal(count_matching(db, "events", "{\"kind\": \"start\"}"), 1);
}

static void a_cancelled_sink_ends(void **state)
{
	struct db_problem problem = {0};
	struct sink_report report;
	struct sink_job *job;
	struct made made;
	struct db *other;

	(void)state;
	assert_int_equal(db_open(&other, &(struct db_options){.uri = engine.uri, .database = db_name(db)}, &problem),
			 DB_OK);
	struct days *other_days = days_new(other, &migrations, 0);
	struct sink *s = mongo_sink_new(&(struct mongo_sink_options){.db = other, .days = other_days, .ends = ends});
	make_batch(&made, 11, 1, 10);
	assert_int_equal(s->encode(s, &made.batch, &job), 0);
	s->cancel(s);
	assert_int_equal(s->write(s, job, &report), SINK_ENDED);
	s->job_free(s, job);
	s->close(s);
	days_free(other_days);
	db_close(other);
	drop_batch(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_is_there),
		cmocka_unit_test(twice_is_seen),
		cmocka_unit_test(attempted_adds_nothing),
		cmocka_unit_test(attempted_adds_what_is_missing),
		cmocka_unit_test(neighbours_do_not_count),
		cmocka_unit_test(an_empty_batch_has_an_entry),
		cmocka_unit_test(the_entry_is_always_the_same),
		cmocka_unit_test(a_day_on_demand),
		cmocka_unit_test(many_small_documents),
		cmocka_unit_test(a_refused_document_is_named),
		cmocka_unit_test(put_replaces_and_drops),
		cmocka_unit_test(balance_adds_up),
		cmocka_unit_test(events_and_sensors),
		cmocka_unit_test(a_cancelled_sink_ends),
	};

	return cmocka_run_group_tests_name("sink", tests, set_up, tear_down);
}
