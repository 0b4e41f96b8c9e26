/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buckets while the server is killed in mid-batch and in mid-replacement, again and again: everything is there, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"
#include "tests/db/writers.h"

#define SPAN_S 3600u
#define KILLS 20
#define WRITERS 4
#define REVISIONS 5 /* of an open batch, 100 packets more each; the last one is closed */

static struct world world;
static struct sink *sink;

struct filler {
	pthread_t thread;
	char iface[8];
	uint8_t id;
	bool open;
	_Atomic bool *stop;
	unsigned settled;
};

static int set_up(void **state)
{
	struct db_problem problem = {0};
	struct probe_storage storage;

	(void)state;
	log_set_level(LOG_ERROR);
	if (world_new(&world))
		return -1;
	days_free(world.days);
	world.days = days_new(world.db, &world.migrations, SPAN_S);
	bson_t *drop = BCON_NEW("drop", "packets_20260131");
	db_run(world.db, NULL, drop, NULL, &problem);
	bson_destroy(drop);
	sink = world_sink(&world, 0);
	if (days_prepare(world.days, MADE_DAY, MADE_DAY, &problem) != DB_OK ||
	    probe_storage(world.db, PROBE_BUCKETS, &storage, &problem) != DB_OK) {
		fprintf(stderr, "%s\n", problem.text);
		return -1;
	}
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

static void settle(struct batch *batch)
{
	struct sink_report report;
	enum sink_outcome outcome;
	struct sink_job *job;

	if (sink->encode(sink, batch, &job))
		abort();
	do {
		outcome = sink->write(sink, job, &report);
		while (outcome == SINK_AGAIN && clock_boot_ns() < report.again_ns)
			sleep_ms(1);
	} while (outcome == SINK_AGAIN);
	if (outcome != SINK_SETTLED)
		abort();
	sink->job_free(sink, job);
}

static void *fill(void *arg)
{
	struct filler *f = arg;

	while (!*f->stop) {
		for (unsigned r = f->open ? 1 : REVISIONS; r <= REVISIONS; r++) {
			struct sink_storage storage;
			struct made made;

			sink->storage(sink, MADE_DAY, &storage);
			make_batch(&made, f->id, f->settled + 1, f->open ? 100 * r : 4000);
			made.source.iface = f->iface;
			made.batch.mode = storage.mode;
			made.batch.span_s = storage.span_s;
			made.batch.form = storage.form;
			made.batch.raw = storage.raw;
			made.batch.open = r < REVISIONS;
			canonical_digest(&made.batch);
			settle(&made.batch);
			drop_batch(&made);
		}
		f->settled++;
	}
	return NULL;
}

static bool first_count(void *arg, const bson_t *document)
{
	bson_iter_t it;

	if (bson_iter_init_find(&it, document, "n"))
		*(int64_t *)arg = bson_iter_as_int64(&it);
	return false;
}

static int64_t stored(const char *iface)
{
	struct db_problem problem = {0};
	struct db_client client;
	int64_t n = 0;
	bson_t *command = BCON_NEW("aggregate", "packets_20260131", "pipeline", "[", "{", "$match", "{", "meta.iface",
				   BCON_UTF8(iface), "}", "}", "{", "$count", "n", "}", "]", "cursor", "{", "}");

	if (db_client_pop(world.db, &client, &problem) != DB_OK ||
	    db_each(&client, NULL, command, first_count, &n, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	db_client_done(&client);
	bson_destroy(command);
	return n;
}

static void killed(void **state)
{
	struct filler fillers[WRITERS] = {0};
	struct mongo_sink_counts counts;
	uint64_t batches = 0;
	_Atomic bool stop = false;

	(void)state;
	for (unsigned i = 0; i < WRITERS; i++) {
		fillers[i] = (struct filler){.id = (uint8_t)(i + 1), .open = i % 2, .stop = &stop};
		snprintf(fillers[i].iface, sizeof(fillers[i].iface), "w%u", i);
		assert_int_equal(pthread_create(&fillers[i].thread, NULL, fill, &fillers[i]), 0);
	}
	for (unsigned round = 0; round < KILLS; round++) {
		sleep_ms(100 + 37 * round % 400);
		engine_kill(&world.engine);
		if (engine_up(&world.engine))
			fail_msg("%s", world.engine.error);
	}
	sleep_ms(300);
	stop = true;
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(fillers[i].thread, NULL);
	mongo_sink_counts(sink, &counts);
	for (unsigned i = 0; i < WRITERS; i++) {
		batches += fillers[i].settled;
		assert_true(fillers[i].settled > 0);
		assert_int_equal(stored(fillers[i].iface), (int64_t)fillers[i].settled * (i % 2 ? 100 * REVISIONS : 4000));
	}
	print_message("%u kills, %llu batches, %llu unknown, %llu buckets there already, %llu refused, %llu clashes\n",
		      KILLS, (unsigned long long)batches, (unsigned long long)counts.unknown,
		      (unsigned long long)counts.buckets_there, (unsigned long long)counts.buckets_refused,
		      (unsigned long long)counts.clashes);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"documents\": 0}"), (int64_t)batches);
	assert_true(counts.unknown > 0); /* else nothing was tried */
	assert_int_equal(counts.clashes, 0);
	assert_int_equal(counts.buckets_refused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(killed)};

	return cmocka_run_group_tests_name("sink_bucket_kill", tests, set_up, tear_down);
}
