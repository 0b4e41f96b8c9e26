/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink/mongo.c while the server is killed in mid-insert, again and again: everything is there, once. Small batches
 * beside large ones: their inserts share buckets, and the server acknowledges some of them before the journal has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "tests/db/writers.h"

#define ROUNDS 6
#define WRITERS 8

static struct world world;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	return world_new(&world);
}

static int tear_down(void **state)
{
	(void)state;
	world_remove(&world);
	return 0;
}

static void killed_in_mid_insert(void **state)
{
	struct mongo_sink_counts counts;
	struct writer writers[WRITERS] = {0};
	struct db_problem problem = {0};
	uint64_t missing = 0, twice = 0, batches = 0;
	_Atomic bool stop = false;
	struct sink *sink = world_sink(&world, 0);

	(void)state;
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){
			.sink = sink, .id = (uint8_t)(i + 1), .records = i % 2 ? 200 : 6000, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		sleep_ms(300 + 137 * round);
		engine_kill(&world.engine);
		sleep_ms(round % 2 ? 700 : 0);
		if (engine_up(&world.engine))
			fail_msg("%s", world.engine.error);
	}
	sleep_ms(300);
	stop = true;
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		batches += writers[i].settled;
		assert_true(writers[i].longest_ns < SINK_BOUND_S * NS_PER_SEC);
		if (look_over(&world, &writers[i], &missing, &twice, &problem) != DB_OK)
			fail_msg("%s", problem.text);
		assert_int_equal(writers[i].settled > 0, 1);
	}
	mongo_sink_counts(sink, &counts);
	print_message("%u kills, %llu batches, %llu unknown, %llu found by reading back, missing %llu, twice %llu\n",
		      ROUNDS, (unsigned long long)batches, (unsigned long long)counts.unknown,
		      (unsigned long long)counts.found, (unsigned long long)missing, (unsigned long long)twice);
	assert_int_equal(missing, 0);
	assert_int_equal(twice, 0);
	assert_int_equal(counts.twice, 0);
	assert_true(counts.unknown > 0); /* else nothing was tried */
	assert_int_equal(count_matching(world.db, "batches_20260131", "{}"), (int64_t)batches);
	sink->close(sink);
}

/* The control: what is taken away by hand is missed. */
static void one_less_is_seen(void **state)
{
	struct writer writer = {.sink = world_sink(&world, 0), .id = 99, .records = 100, .most = 1};
	struct db_problem problem = {0};
	uint64_t missing = 0, twice = 0;

	(void)state;
	writer_run(&writer);
	writer.records = 103; /* three that never were */
	assert_int_equal(look_over(&world, &writer, &missing, &twice, &problem), DB_OK);
	assert_int_equal(missing, 3);
	assert_int_equal(twice, 0);
	writer.sink->close(writer.sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_in_mid_insert),
		cmocka_unit_test(one_less_is_seen),
	};

	return cmocka_run_group_tests_name("sink_kill", tests, set_up, tear_down);
}
