/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sink/mongo_foreign.c on a real server: what another version wrote stays, the rest is written once, the ledger names
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/db/read_bucket.h"
#include "recorder/encode/document_read.h"
#include "recorder/ledger/journal.h"
#include "recorder/ledger/rows.h"
#include "tests/db/writers.h"

#define ALL 3000u
#define SPAN_S 3600u
#define OTHER_VERSION 99u

static struct world world;
static struct sink *sink;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	if (world_new(&world))
		return -1;
	sink = world_sink(&world, 300);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink->close(sink);
	world_remove(&world);
	return 0;
}

/* As takeover.c makes it of a recipe that it does not know. */
static void make_foreign(struct made *made, uint8_t id)
{
	make_batch(made, id, 1, ALL);
	made->batch.mode = JOURNAL_BUCKETS;
	made->batch.attempted = 1;
	made->batch.foreign = true;
}

/* The first n packets, as that other program wrote them before it was killed. */
static void written_before(uint8_t id, uint32_t n, uint16_t mode, uint16_t version)
{
	struct sink_report sum;
	struct made made;

	make_batch(&made, id, 1, n);
	made.batch.mode = mode;
	made.batch.version = version;
	if (mode == JOURNAL_BUCKETS) {
		made.batch.span_s = SPAN_S;
		made.batch.form = 3; /* version 3 */
		made.batch.raw = true;
	}
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(sum.inserted, n);
	drop_batch(&made);
}

struct tally {
	const struct batch *batch;
	uint8_t times[ALL];
	uint32_t strangers;
};

static bool count_packet(void *arg, const bson_t *document)
{
	struct tally *t = arg;
	struct document_record r;
	int64_t i = -1;

	if (!document_read(document, &r, NULL))
		i = (r.wall - batch_wall(t->batch, MADE_BOOT)) / 1000;
	if (i < 0 || i >= ALL)
		t->strangers++;
	else
		t->times[i]++;
	return true;
}

/* As the ledger's entry says where the packets are. Packets that are not there exactly once. */
static uint32_t not_once(const struct batch *batch, int64_t *documents)
{
	static struct tally t;
	struct db_problem problem = {0};
	struct read_walk walk = {0};
	struct db_client client;
	uint32_t wrong = 0;
	bool found = false;
	bson_iter_t it;
	bson_t entry;

	memset(&t, 0, sizeof(t));
	t.batch = batch;
	assert_int_equal(read_ledger_entry(world.db, batch->source->capture, 1, MADE_DAY, &entry, &found, &problem),
			 DB_OK);
	assert_true(found);
	assert_true(bson_iter_init_find(&it, &entry, "packets"));
	assert_int_equal(bson_iter_as_int64(&it), ALL);
	*documents = bson_iter_init_find(&it, &entry, "documents") ? bson_iter_as_int64(&it) : -1;
	assert_int_equal(db_client_pop(world.db, &client, &problem), DB_OK);
	assert_int_equal(read_entry(&client, &entry, count_packet, &t, &walk, &problem), DB_OK);
	db_client_done(&client);
	assert_int_equal(walk.missing + walk.damaged + t.strangers, 0);
	for (uint32_t i = 0; i < ALL; i++)
		wrong += t.times[i] != 1;
	bson_destroy(&entry);
	return wrong;
}

/* Taken over, and taken over once more as after a kill -9 before the chain went on. */
static void take_over(uint8_t id, uint32_t there, int64_t documents)
{
	struct sink_report sum;
	struct made made;
	int64_t named;

	make_foreign(&made, id);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
		assert_int_equal(sum.inserted, again ? 0 : ALL - there);
		assert_int_equal(not_once(&made.batch, &named), 0);
		assert_int_equal(named, documents);
	}
	drop_batch(&made);
}

static void documents_of_another_version(void **state)
{
	(void)state;
	written_before(1, 1200, JOURNAL_DOCUMENTS, OTHER_VERSION);
	take_over(1, 1200, ALL);
}

static void buckets_of_another_version(void **state)
{
	(void)state;
	written_before(2, 2100, JOURNAL_BUCKETS, OTHER_VERSION);
	take_over(2, 2100, ALL - 2100);
}

static void all_or_nothing(void **state)
{
	(void)state;
	take_over(3, 0, ALL);
	written_before(4, ALL, JOURNAL_BUCKETS, OTHER_VERSION);
	take_over(4, ALL, 0);
}

/* The control: taken for a recipe that is known, the same batch is stored a second time. */
static void without_comparing_they_are_there_twice(void **state)
{
	struct sink_report sum;
	struct made made;
	int64_t documents;

	(void)state;
	written_before(5, 1200, JOURNAL_DOCUMENTS, OTHER_VERSION);
	make_foreign(&made, 5);
	made.batch.foreign = false;
	made.batch.mode = JOURNAL_DOCUMENTS;
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(not_once(&made.batch, &documents), 1200);
	drop_batch(&made);
}

/* A try of this version wrote the second of two equal packets and died: that one is not taken for the first. */
static void twins_and_an_earlier_try(void **state)
{
	struct db_problem problem = {0};
	struct sink_report sum;
	struct made made;
	int64_t documents;

	(void)state;
	make_foreign(&made, 6);
	((struct rec_head *)(uintptr_t)made.batch.records[11])->time = made.batch.records[10]->time;
	memcpy((uint8_t *)(uintptr_t)record_bytes(made.batch.records[11]), record_bytes(made.batch.records[10]),
	       MADE_FRAME);
	canonical_digest(&made.batch);
	struct command_buffer command = {0};
	uint8_t wanted[ALL] = {0};
	uint32_t next;
	bson_t insert;
	wanted[11] = 1;
	assert_int_equal(document_command(&command, "packets_20260131", &made.batch, world.ends, 0, ALL, wanted,
					  1 << 20, DB_MAX_TIME_MS, &next),
			 1);
	assert_true(bson_init_static(&insert, command.data, command.len));
	assert_int_equal(db_run(world.db, NULL, &insert, NULL, &problem), DB_OK);
	command_buffer_free(&command);
	assert_int_equal(write_batch(sink, &made.batch, &sum), SINK_SETTLED);
	assert_int_equal(sum.inserted, ALL - 1);
	assert_int_equal(not_once(&made.batch, &documents), 2); /* time 10 twice, time 11 never: as it was made */
	assert_int_equal(documents, ALL);
	drop_batch(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_of_another_version),
		cmocka_unit_test(buckets_of_another_version),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(without_comparing_they_are_there_twice),
		cmocka_unit_test(twins_and_an_earlier_try),
	};

	return cmocka_run_group_tests_name("sink_foreign", tests, set_up, tear_down);
}
