/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sink/mongo.c writing buckets on a real server: the packets are there, once, however often they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/encode/bucket.h"
#include "recorder/ledger/journal.h"
#include "tests/db/writers.h"

#define SPAN_S 3600u

static struct world world;
static struct sink *sink;

static int set_up(void **state)
{
	struct probe_storage storage;

	(void)state;
	log_set_level(LOG_ERROR);
	if (world_new_buckets(&world, SPAN_S, &storage))
		return -1;
	sink = mongo_sink_new(&(struct mongo_sink_options){
		.db = world.db, .days = world.days, .ends = world.ends, .late_ms = 300, .check_all = true});
	mongo_sink_set_storage(sink, &storage);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink->close(sink);
	world_remove(&world);
	return 0;
}

static void make_bucket_batch(struct made *made, uint8_t id, uint64_t number, uint32_t n)
{
	struct sink_storage storage;

	sink->storage(sink, MADE_DAY, &storage);
	assert_int_equal(storage.mode, JOURNAL_BUCKETS);
	assert_int_equal(storage.span_s, SPAN_S);
	make_batch(made, id, number, n);
	made->batch.mode = storage.mode;
	made->batch.span_s = storage.span_s;
	made->batch.form = storage.form;
	made->batch.raw = storage.raw;
}

static int64_t stored(void)
{
	return count_matching(world.db, "packets_20260131", "{}");
}

static void once_however_often(void **state)
{
	struct sink_report sum;
	struct made made;
	int64_t before = stored();

	(void)state;
	make_bucket_batch(&made, 1, 1, 5000);
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(sum.inserted, 5000);
	assert_int_equal(stored() - before, 5000);
	for (int again = 0; again < 2; again++) {
		made.batch.attempted = again;
		assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
		assert_int_equal(sum.inserted, 0);
		assert_int_equal(sum.found, 5000);
		assert_int_equal(stored() - before, 5000);
	}
	assert_int_equal(count_matching(world.db, "batches_20260131",
					"{\"packets\": 5000, \"mode\": 2, \"documents\": 0}"),
			 1);
	drop_batch(&made);
}

/* Five revisions, an older one late, closed, closed again. */
static void an_open_batch_grows(void **state)
{
	struct sink_report sum;
	struct made made;
	int64_t before = stored();

	(void)state;
	for (uint32_t n = 100; n <= 500; n += 100) {
		make_bucket_batch(&made, 2, 1, n);
		made.batch.open = true;
		assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
		assert_int_equal(stored() - before, n);
		drop_batch(&made);
	}
	make_bucket_batch(&made, 2, 1, 200);
	made.batch.open = true;
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(sum.found, 200);
	assert_int_equal(stored() - before, 500);
	drop_batch(&made);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"packets\": 600}"), 0);
	make_bucket_batch(&made, 2, 1, 600);
	for (int again = 0; again < 3; again++) {
		made.batch.attempted = again == 1;
		made.batch.there = again == 2;
		assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
		assert_int_equal(stored() - before, 600);
		assert_int_equal(count_matching(world.db, "batches_20260131", "{\"packets\": 600}"), 1);
	}
	drop_batch(&made);
}

/* The hook of the options: bucket 1 of every batch gets a wrong count, which the server refuses. */
static void spoil_count(const struct batch *batch, uint32_t bucket, uint8_t *bytes, size_t length)
{
	uint8_t *at = memmem(bytes, length, "\x10" "count", 7);

	(void)batch;
	if (bucket == 1 && at)
		at[7]++;
}

/* With the self-check the recorder sees it first; without (its id is not one of the samples) the server. */
static void only_the_refused_one_becomes_documents(void **state)
{
	struct probe_storage storage;
	struct mongo_sink_counts counts;
	struct db_problem problem = {0};
	struct sink_report sum;
	struct made made;

	(void)state;
	assert_int_equal(probe_storage(world.db, PROBE_BUCKETS, &storage, &problem), DB_OK);
	for (int check = 0; check < 2; check++) {
		int64_t before = stored();
		struct sink *s = mongo_sink_new(&(struct mongo_sink_options){.db = world.db,
									     .days = world.days,
									     .ends = world.ends,
									     .late_ms = 300,
									     .check_all = check,
									     .spoil = spoil_count});
		mongo_sink_set_storage(s, &storage);
		make_bucket_batch(&made, (uint8_t)(10 + check), 1, 5000);
		for (int again = 0; again < 2; again++) {
			made.batch.attempted = again;
			assert_int_equal(write_batch(s, &made.batch, &sum), SINK_SETTLED);
			assert_int_equal(sum.inserted, again ? 0 : 5000);
			assert_int_equal(stored() - before, 5000);
		}
		mongo_sink_counts(s, &counts);
		assert_true(check ? counts.check_failed > 0 : counts.buckets_refused > 0);
		assert_in_range(count_matching(world.db, "packets_20260131", "{\"_id\": {\"$exists\": true}}"), 500,
				3000);
		drop_batch(&made);
		s->close(s);
	}
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"documents\": {\"$gt\": 0}}"), 2);
}

/* Other packets under the same identity. One bucket: nothing is written, the next salt settles it. */
static void a_clash(void **state)
{
	struct sink_report sum;
	struct made made;
	int64_t before = stored();

	(void)state;
	make_bucket_batch(&made, 3, 1, 400);
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	for (uint32_t i = 0; i < 400; i++)
		((uint8_t *)(uintptr_t)record_bytes(made.batch.records[i]))[22] ^= 1; /* TTL */
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_CLASH);
	assert_int_equal(stored() - before, 400);
	made.batch.salt++;
	made.batch.number++; /* the ledger's entry of the first one stays */
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(stored() - before, 800);
	drop_batch(&made);
}

/* The first bucket or two of it, as a process wrote them that knew other local addresses. */
static uint32_t first_ones_by(const struct ends_table *ends, const struct batch *batch)
{
	struct bucket_form form = {.span_s = batch->span_s, .version = batch->form, .raw = batch->raw};
	struct bucket_maker *maker = bucket_maker_new();
	struct command_buffer buffer = {0};
	struct db_problem problem = {0};
	uint32_t next, packets, sum = 0;
	bson_t command;

	assert_true(bucket_plan(maker, batch, ends, &form) > 2);
	assert_true(bucket_command(maker, &buffer, "packets_20260131", 0, 24000, DB_MAX_TIME_MS, &next) > 0);
	assert_in_range(next, 1, 4);
	assert_true(bson_init_static(&command, buffer.data, buffer.len));
	assert_int_equal(db_run(world.db, NULL, &command, NULL, &problem), DB_OK);
	for (uint32_t k = 0; k < next; k++) {
		bucket_positions(maker, k, &packets);
		sum += packets;
	}
	command_buffer_free(&buffer);
	bucket_maker_free(maker);
	return sum;
}

struct serials {
	uint8_t *seen;
	uint64_t wrong;
};

/* made_record: the IP identification says which packet of the batch it is, together with its time. */
static bool note_serial(void *arg, const bson_t *document)
{
	struct serials *s = arg;
	bson_iter_t ts, ns;
	uint64_t i;

	if (!bson_iter_init_find(&ts, document, "ts") || !bson_iter_init_find(&ns, document, "ns"))
		return false;
	i = (uint64_t)((bson_iter_date_time(&ts) % 1000) * 1000000 + bson_iter_int32(&ns)) / 1000;
	if (i >= 5000 || s->seen[i]++)
		s->wrong++;
	return true;
}

/* Killed in mid-batch; meanwhile an address of this machine has changed, and with it the order of the conversations. */
static void cut_by_other_addresses(void **state)
{
	struct ends_network own = {.family = 4, .prefix = 9, .address = {0, 128}};
	struct ends_network home = {.family = 4, .prefix = 24, .address = {192, 0, 2}};
	struct serials serials = {calloc(5000, 1), 0};
	struct ends_table *other = ends_table_new(&own, 1, NULL, 0, &home, 1);
	struct db_problem problem = {0};
	struct db_client client;
	struct sink_report sum;
	struct made made;
	uint32_t there;

	(void)state;
	make_bucket_batch(&made, 20, 1, 5000);
	made.source.iface = "other0";
	there = first_ones_by(other, &made.batch);
	for (int again = 0; again < 2; again++) {
		made.batch.attempted = 1;
		assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
		assert_int_equal(sum.inserted, again ? 0 : 5000 - there);
	}
	bson_t *find = BCON_NEW("find", "packets_20260131", "filter", "{", "meta.iface", "other0", "}");
	assert_int_equal(db_client_pop(world.db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, find, note_serial, &serials, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(find);
	assert_int_equal(serials.wrong, 0);
	assert_null(memchr(serials.seen, 0, 5000));
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"iface\": \"other0\", \"documents\": 0}"), 0);
	free(serials.seen);
	ends_table_free(other);
	drop_batch(&made);
}

/* The collection is another one than the days remember, or than the recipe says: refused, and documents; then the next batch fits. */
static void another_span(void **state)
{
	struct sink_storage now;
	struct sink_report sum;
	struct made made;
	int64_t before = stored();

	(void)state;
	make_bucket_batch(&made, 21, 1, 3000);
	made.batch.span_s = 60; /* from before the collection was made anew */
	made.batch.pair.wall += 90 * (int64_t)NS_PER_SEC; /* not at an hour */
	canonical_digest(&made.batch);
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(stored() - before, 3000);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"documents\": 3000}"), 1);
	sink->storage(sink, MADE_DAY, &now); /* asked again: what it is is known */
	assert_int_equal(now.span_s, SPAN_S);
	drop_batch(&made);
}

struct fields {
	bson_t *documents;
	size_t count, most;
};

static bool keep(void *arg, const bson_t *document)
{
	struct fields *f = arg;

	if (f->count < f->most)
		bson_copy_to(document, &f->documents[f->count++]);
	return true;
}

static void find_all(const char *iface, struct fields *f)
{
	struct db_problem problem = {0};
	struct db_client client;
	bson_t *find = BCON_NEW("find", "packets_20260131", "filter", "{", "meta.iface", BCON_UTF8(iface), "}",
				"projection", "{", "_id", BCON_INT32(0), "meta", BCON_INT32(0), "}", "sort", "{", "ts",
				BCON_INT32(1), "ns", BCON_INT32(1), "}");

	assert_int_equal(db_client_pop(world.db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, find, keep, f, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(find);
}

/* Every field of a, with its type, is in b, whatever the order. */
static bool same_fields(const bson_t *a, const bson_t *b)
{
	bson_iter_t x, y;

	if (bson_count_keys(a) != bson_count_keys(b) || !bson_iter_init(&x, a))
		return false;
	while (bson_iter_next(&x)) {
		bson_t one = BSON_INITIALIZER, other = BSON_INITIALIZER;
		bool same = bson_iter_init_find(&y, b, bson_iter_key(&x));
		bson_append_iter(&one, "v", 1, &x);
		if (same)
			bson_append_iter(&other, "v", 1, &y);
		same = same && bson_equal(&one, &other);
		bson_destroy(&one);
		bson_destroy(&other);
		if (!same)
			return false;
	}
	return true;
}

/* On the server, not by our decoder; and `validate` finds nothing invalid. */
static void a_find_shows_the_same_documents(void **state)
{
	enum { MOST = 3000 };
	struct fields buckets = {NEW(bson_t, MOST + 1), 0, MOST + 1};
	struct fields documents = {NEW(bson_t, MOST + 1), 0, MOST + 1};
	bson_t *validate = BCON_NEW("validate", "packets_20260131", "full", BCON_BOOL(true)), reply;
	struct db_problem problem = {0};
	struct sink_report sum;
	struct made made;
	bson_iter_t it;

	(void)state;
	make_bucket_batch(&made, 4, 1, MOST);
	made.source.iface = "equal0";
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	drop_batch(&made);
	make_batch(&made, 4, 2, MOST);
	made.source.iface = "equal1";
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	drop_batch(&made);
	find_all("equal0", &buckets);
	find_all("equal1", &documents);
	assert_int_equal(buckets.count, MOST);
	assert_int_equal(documents.count, MOST);
	for (size_t i = 0; i < MOST; i++)
		assert_true(same_fields(&buckets.documents[i], &documents.documents[i]));
	assert_false(same_fields(&buckets.documents[0], &documents.documents[1])); /* the control */
	for (size_t i = 0; i < MOST; i++) {
		bson_destroy(&buckets.documents[i]);
		bson_destroy(&documents.documents[i]);
	}
	free(buckets.documents);
	free(documents.documents);
	assert_int_equal(db_run(world.db, NULL, validate, &reply, &problem), DB_OK);
	if (!bson_iter_init_find(&it, &reply, "valid") || !bson_iter_as_bool(&it))
		fail_msg("%s", bson_as_relaxed_extended_json(&reply, NULL));
	/* Version 3 with times that happen to be in order is a warning (BUCKETS.md section 2), no error. */
	assert_true(bson_iter_init_find(&it, &reply, "nInvalidDocuments") && bson_iter_as_int64(&it) == 0);
	bson_destroy(&reply);
	bson_destroy(validate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_however_often),
		cmocka_unit_test(an_open_batch_grows),
		cmocka_unit_test(only_the_refused_one_becomes_documents),
		cmocka_unit_test(a_clash),
		cmocka_unit_test(cut_by_other_addresses),
		cmocka_unit_test(another_span),
		cmocka_unit_test(a_find_shows_the_same_documents),
	};

	return cmocka_run_group_tests_name("sink_bucket", tests, set_up, tear_down);
}
