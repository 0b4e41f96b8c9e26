/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/read_bucket.c on a real server: buckets made by the plain encoder, inserted raw, read back raw and as packets. */
#include "recorder/db/read_bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/ledger/journal.h"
#include "recorder/ledger/rows.h"
#include "recorder/packet/fields.h"
#include "tests/db/batches.h"
#include "tests/db/engine.h"
#include "tests/db/plain_bucket.h"

#define COLLECTION "packets_20260131"
#define PACKETS 150u
#define SIZE 2u /* packets in a bucket: many buckets, so that they come in several groups */

static struct engine engine;
static struct db *db;
static struct db_client client;
static struct ends_table *ends;
static bool by_raw;

static void run(const bson_t *command)
{
	struct db_problem problem = {0};

	if (db_command(&client, NULL, command, NULL, &problem) != DB_OK)
		fail_msg("%s", problem.text);
}

static int set_up(void **state)
{
	struct db_problem problem = {0};
	struct db_peer peer;

	(void)state;
	engine_shared(&engine);
	if (db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem) != DB_OK ||
	    db_client_pop(db, &client, &problem) != DB_OK || db_peer(&client, &peer, &problem) != DB_OK) {
		fprintf(stderr, "%s\n", problem.text);
		return -1;
	}
	by_raw = peer.wire >= READ_RAW_WIRE;
	ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	db_client_done(&client);
	drop_database(db);
	ends_table_free(ends);
	db_close(db);
	engine_remove(&engine);
	return 0;
}

static void new_collection(void)
{
	struct db_problem problem;
	bson_t *drop = BCON_NEW("drop", BCON_UTF8(COLLECTION));
	bson_t *create = BCON_NEW("create", BCON_UTF8(COLLECTION), "timeseries", "{", "timeField", BCON_UTF8("ts"),
				  "metaField", BCON_UTF8("meta"), "bucketMaxSpanSeconds", BCON_INT32(PLAIN_SPAN_S),
				  "bucketRoundingSeconds", BCON_INT32(PLAIN_SPAN_S), "}");

	db_command(&client, NULL, drop, NULL, &problem); /* not there the first time */
	run(create);
	bson_destroy(drop);
	bson_destroy(create);
}

/* Inserts what the plain encoder made, in the way that this server has. */
static void insert_bucket(const char *collection, const bson_t *bucket)
{
	char name[64];
	bson_t command = BSON_INITIALIZER, documents;

	snprintf(name, sizeof(name), "%s%s", by_raw ? "" : "system.buckets.", collection);
	bson_append_utf8(&command, "insert", -1, name, -1);
	bson_append_array_begin(&command, "documents", -1, &documents);
	bson_append_document(&documents, "0", -1, bucket);
	bson_append_array_end(&command, &documents);
	if (by_raw)
		bson_append_bool(&command, "rawData", -1, true);
	run(&command);
	bson_destroy(&command);
}

static void insert_plain(const struct batch *batch, uint32_t first, uint32_t count)
{
	struct command_buffer buffer = {0};
	bson_t command;
	uint32_t next;

	assert_int_equal(document_command(&buffer, COLLECTION, batch, ends, first, count, NULL, 1 << 20, 10000, &next),
			 count);
	assert_true(bson_init_static(&command, buffer.data, buffer.len));
	run(&command);
	command_buffer_free(&buffer);
}

/* The form that the ids are made of. */
static struct bucket_form form_here(void)
{
	return (struct bucket_form){.span_s = PLAIN_SPAN_S, .version = 3, .raw = by_raw};
}

/* Bucket `which` of a batch: SIZE packets from SIZE * which on. */
static void write_bucket(const struct batch *batch, uint32_t which)
{
	const struct bucket_form form = form_here();
	uint8_t id[BUCKET_ID_LEN];
	bson_t bucket;

	bucket_id(id, batch, &form, which);
	plain_bucket(&bucket, batch, ends, which * SIZE, SIZE, id);
	insert_bucket(COLLECTION, &bucket);
	bson_destroy(&bucket);
}

static void make_entry(bson_t *entry, const struct made *made, const char *collection, int32_t mode, uint32_t buckets,
		       int64_t documents)
{
	const struct bucket_form form = form_here();
	uint8_t id[LEDGER_ID_LEN], *ids = malloc(buckets * BUCKET_ID_LEN + 1);

	ledger_id(id, made->source.capture, made->batch.number);
	for (uint32_t i = 0; i < buckets; i++)
		bucket_id(ids + i * BUCKET_ID_LEN, &made->batch, &form, i);
	bson_init(entry);
	bson_append_binary(entry, "_id", -1, BSON_SUBTYPE_BINARY, id, sizeof(id));
	bson_append_date_time(entry, "ts", -1, made_first_ms(made));
	bson_append_date_time(entry, "last", -1, made_last_ms(made));
	bson_append_utf8(entry, "collection", -1, collection, -1);
	bson_append_int32(entry, "mode", -1, mode);
	if (mode == JOURNAL_BUCKETS) {
		bson_append_binary(entry, "buckets", -1, BSON_SUBTYPE_BINARY, ids, buckets * BUCKET_ID_LEN);
		bson_append_int64(entry, "documents", -1, documents);
	}
	free(ids);
}

/* Which packets came, and whether each is what its record gives. */
struct came {
	const struct made *made;
	uint8_t times[PACKETS];
	uint32_t wrong, count, stop_at;
};

/* All but _id and meta, in one order: the server's own buckets have their columns in any. */
static void in_order(const bson_t *document, bson_t *out)
{
	bson_iter_t it;

	bson_init(out);
	for (unsigned f = 0; f < PKT_FIELDS; f++)
		if (fields[f].name && bson_iter_init_find(&it, document, fields[f].name))
			bson_append_iter(out, NULL, -1, &it);
	assert_int_equal(bson_count_keys(document), bson_count_keys(out) + bson_has_field(document, "_id") + 1);
}

static bool note(void *arg, const bson_t *document)
{
	struct came *came = arg;
	bson_t should = BSON_INITIALIZER, is, plain;
	bson_iter_t it;
	uint32_t serial = PACKETS;

	/* The serial number is in the source port: that of the end whose port is not 53. */
	for (unsigned end = 0; end < 2; end++)
		if (bson_iter_init_find(&it, document, end ? "rport" : "lport") && bson_iter_int32(&it) != 53)
			serial = (uint32_t)bson_iter_int32(&it);
	if (serial == PACKETS) /* number 53 has it in both */
		serial = 53;
	came->count++;
	if (serial >= PACKETS) {
		came->wrong++;
		return true;
	}
	came->times[serial]++;
	assert_int_equal(document_encode(&should, &came->made->batch, ends, serial), 0);
	in_order(document, &is);
	in_order(&should, &plain);
	if (!bson_equal(&is, &plain)) {
		char *a = bson_as_canonical_extended_json(&is, NULL),
		     *b = bson_as_canonical_extended_json(&plain, NULL);

		if (!came->wrong++)
			print_error("%s\n%s\n", a, b);
		bson_free(a);
		bson_free(b);
	}
	bson_destroy(&should);
	bson_destroy(&is);
	bson_destroy(&plain);
	return came->count != came->stop_at;
}

/* Packets [first, last) came once each, no other did. */
static void assert_came(const struct came *came, uint32_t first, uint32_t last)
{
	assert_int_equal(came->wrong, 0);
	for (uint32_t i = 0; i < PACKETS; i++)
		assert_int_equal(came->times[i], i >= first && i < last);
}

static void remove_bucket(const struct batch *batch, uint32_t which)
{
	const struct bucket_form form = form_here();
	uint8_t id[BUCKET_ID_LEN];
	bson_oid_t oid;
	bson_t *command;

	bucket_id(id, batch, &form, which);
	memcpy(oid.bytes, id, sizeof(id));
	command = BCON_NEW("delete", BCON_UTF8(by_raw ? COLLECTION : "system.buckets." COLLECTION), "deletes", "[", "{",
			   "q", "{", "_id", BCON_OID(&oid), "}", "limit", BCON_INT32(1), "}", "]");
	if (by_raw)
		bson_append_bool(command, "rawData", -1, true);
	run(command);
	bson_destroy(command);
}

static void one_bucket(void **state)
{
	const struct bucket_form form = form_here();
	uint8_t id[BUCKET_ID_LEN], other[BUCKET_ID_LEN];
	struct db_problem problem = {0};
	struct made made;
	bson_t bucket, stored;
	bool found;

	(void)state;
	new_collection();
	make_batch(&made, 1, 1, PACKETS);
	bucket_id(id, &made.batch, &form, 0);
	bucket_id(other, &made.batch, &form, 1);
	plain_bucket(&bucket, &made.batch, ends, 0, PACKETS, id);
	insert_bucket(COLLECTION, &bucket);
	assert_int_equal(read_bucket_raw(&client, COLLECTION, id, by_raw, &stored, &found, &problem), DB_OK);
	assert_true(found);
	assert_true(bson_equal(&stored, &bucket));
	bson_destroy(&stored);
	assert_int_equal(read_bucket_raw(&client, COLLECTION, other, by_raw, &stored, &found, &problem), DB_OK);
	assert_false(found);
	bson_destroy(&bucket);
	drop_batch(&made);
}

/* What the server unpacks is what the reader unpacks, which is what documents mode writes. */
static void as_the_server_sees_it(void **state)
{
	struct db_problem problem = {0};
	struct came came = {0};
	struct made made;
	bson_t *find = BCON_NEW("find", BCON_UTF8(COLLECTION), "filter", "{", "}");

	(void)state;
	new_collection();
	make_batch(&made, 1, 1, PACKETS);
	came.made = &made;
	for (uint32_t i = 0; i < PACKETS / SIZE; i++)
		write_bucket(&made.batch, i);
	assert_int_equal(db_each(&client, NULL, find, note, &came, &problem), DB_OK);
	assert_came(&came, 0, PACKETS);
	bson_destroy(find);
	drop_batch(&made);
}

static void entries(void **state)
{
	struct db_problem problem = {0};
	struct read_walk walk = {0};
	struct came came = {0};
	struct made made, stranger;
	bson_t entry;

	(void)state;
	new_collection();
	make_batch(&made, 1, 1, PACKETS);
	make_batch(&stranger, 1, 2, PACKETS);
	/* 70 buckets, the last ten packets as documents; and another batch in the same time, of which nothing may come.
	 */
	for (uint32_t i = 0; i < 70; i++)
		write_bucket(&made.batch, i);
	insert_plain(&made.batch, 140, 10);
	insert_plain(&stranger.batch, 0, 20);
	write_bucket(&stranger.batch, 20);

	came.made = &made;
	make_entry(&entry, &made, COLLECTION, JOURNAL_BUCKETS, 70, 10);
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_OK);
	assert_came(&came, 0, PACKETS);
	assert_int_equal(walk.packets, PACKETS);
	assert_int_equal(walk.buckets, 70);
	assert_int_equal(walk.missing + walk.damaged + walk.stopped, 0);

	came = (struct came){.made = &made, .stop_at = 31};
	walk = (struct read_walk){0};
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_OK);
	assert_true(walk.stopped);
	assert_int_equal(came.count, 31);
	assert_int_equal(walk.missing + walk.damaged, 0);

	remove_bucket(&made.batch, 33);
	remove_bucket(&made.batch, 69);
	came = (struct came){.made = &made};
	walk = (struct read_walk){0};
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_OK);
	assert_int_equal(came.wrong, 0);
	assert_int_equal(came.count, PACKETS - 2 * SIZE);
	assert_int_equal(came.times[66] + came.times[67] + came.times[138] + came.times[139], 0);
	assert_int_equal(walk.missing, 2);
	bson_destroy(&entry);

	make_entry(&entry, &made, COLLECTION, JOURNAL_DOCUMENTS, 0, 0);
	came = (struct came){.made = &made};
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_OK);
	assert_came(&came, 140, PACKETS);
	bson_destroy(&entry);
	drop_batch(&made);
	drop_batch(&stranger);
}

/* Servers refuse damaged buckets: in a plain collection they can lie. */
static void damaged(void **state)
{
	const struct bucket_form form = form_here();
	struct db_problem problem = {0};
	struct read_walk walk = {0};
	struct came came = {0};
	uint8_t id[BUCKET_ID_LEN];
	struct made made;
	bson_t entry, bucket;

	(void)state;
	if (!by_raw)
		skip();
	make_batch(&made, 1, 1, PACKETS);
	came.made = &made;
	for (uint32_t i = 0; i < 3; i++) {
		bucket_id(id, &made.batch, &form, i);
		plain_bucket(&bucket, &made.batch, ends, i * SIZE, SIZE, id);
		if (i == 1) {
			uint8_t *count = memmem(bson_get_data(&bucket), bucket.len,
						"\x10"
						"count",
						7);

			assert_non_null(count);
			count[7]++;
		}
		insert_bucket("plain", &bucket);
		bson_destroy(&bucket);
	}
	make_entry(&entry, &made, "plain", JOURNAL_BUCKETS, 3, 0);
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_OK);
	assert_int_equal(came.count, 2 * SIZE);
	assert_int_equal(walk.buckets, 3);
	assert_int_equal(walk.damaged, 1);
	assert_string_equal(walk.damage, "a column has not control.count values");
	bson_destroy(&entry);
	bson_init(&entry);
	assert_int_equal(read_entry(&client, &entry, note, &came, &walk, &problem), DB_FATAL);
	bson_destroy(&entry);
	drop_batch(&made);
}

static void unledgered(void **state)
{
	/* Which of the buckets 0 to 74 are there, and how many packets are then found. */
	static const struct {
		uint32_t from, to, hole, found;
	} cases[] = {
		{0, 75, 75, 150}, {0, 75, 10, 148}, {0, 1, 75, 2}, {1, 3, 75, 4}, {2, 75, 75, 0},
	};
	const struct bucket_form form = form_here();
	struct db_problem problem = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct read_walk walk = {0};
		struct came came = {0};
		struct made made;

		new_collection();
		make_batch(&made, 1, 1, PACKETS);
		came.made = &made;
		for (uint32_t b = cases[i].from; b < cases[i].to; b++)
			if (b != cases[i].hole)
				write_bucket(&made.batch, b);
		assert_int_equal(read_unledgered(&client, &made.batch, &form, note, &came, &walk, &problem), DB_OK);
		assert_int_equal(came.wrong, 0);
		assert_int_equal(walk.packets, cases[i].found);
		assert_int_equal(came.count, cases[i].found);
		/* What is missing may be there as documents. */
		if (i == 1) {
			insert_plain(&made.batch, 10 * SIZE, SIZE);
			came = (struct came){.made = &made};
			walk = (struct read_walk){0};
			assert_int_equal(read_unledgered(&client, &made.batch, &form, note, &came, &walk, &problem),
					 DB_OK);
			assert_came(&came, 0, PACKETS);
		}
		drop_batch(&made);
	}
}

static void whole_batch(void **state)
{
	struct db_problem problem = {0};
	struct came came = {0};
	struct made made;
	bson_t entry, command = BSON_INITIALIZER, documents;

	(void)state;
	new_collection();
	make_batch(&made, 1, 1, PACKETS);
	came.made = &made;
	for (uint32_t i = 0; i < PACKETS / SIZE; i++)
		write_bucket(&made.batch, i);
	/* Without an entry nothing says that there are buckets. */
	assert_int_equal(read_batch(db, made.source.capture, 1, MADE_DAY, made_first_ms(&made), made_last_ms(&made),
				    note, &came, &problem),
			 DB_OK);
	assert_int_equal(came.count, 0);
	make_entry(&entry, &made, COLLECTION, JOURNAL_BUCKETS, PACKETS / SIZE, 0);
	bson_append_utf8(&command, "insert", -1, "batches_20260131", -1);
	bson_append_array_begin(&command, "documents", -1, &documents);
	bson_append_document(&documents, "0", -1, &entry);
	bson_append_array_end(&command, &documents);
	run(&command);
	assert_int_equal(read_batch(db, made.source.capture, 1, MADE_DAY, 0, 0, note, &came, &problem), DB_OK);
	assert_came(&came, 0, PACKETS);
	bson_destroy(&command);
	bson_destroy(&entry);
	drop_batch(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bucket), cmocka_unit_test(as_the_server_sees_it),
		cmocka_unit_test(entries),    cmocka_unit_test(damaged),
		cmocka_unit_test(unledgered), cmocka_unit_test(whole_batch),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
