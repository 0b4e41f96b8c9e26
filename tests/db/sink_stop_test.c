/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink/mongo.c while the server stands still (SIGSTOP) in mid-insert and goes on after 15 s: the inserts that lay in
 * its sockets run then, after the recorder gave them up. Whoever looks too early and inserts what is missing has it
 * twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "tests/db/writers.h"

#define WRITERS 9
#define STILL_MS 15000

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

/*
 * Three kinds of writers: those that wait as they must; those that read back as soon as the server answers (how often
 * that goes wrong is a race: a figure, not a check); and the control, that sends again what has no answer.
 */
static void late_inserts(void **state)
{
	enum { RIGHT, HASTY, NAIVE, KINDS };
	struct sink *sinks[KINDS] = {world_sink(&world, 0), world_sink(&world, 1), world_sink(&world, 1)};
	struct mongo_sink_counts counts;
	struct writer writers[WRITERS] = {0};
	struct db_problem problem = {0};
	uint64_t missing[KINDS] = {0}, twice[KINDS] = {0};
	_Atomic bool stop = false;

	(void)state;
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.sink = sinks[i % KINDS],
					     .id = (uint8_t)(i + 1),
					     .records = 12000,
					     .stop = &stop,
					     .naive = i % KINDS == NAIVE};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	sleep_ms(1500); /* all are connected and in the middle of something */
	kill(world.engine.pid, SIGSTOP);
	sleep_ms(100);
	stop = true; /* the batch under way is each one's last */
	sleep_ms(STILL_MS);
	kill(world.engine.pid, SIGCONT);
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_true(writers[i].longest_ns < SINK_BOUND_S * NS_PER_SEC);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		if (look_over(&world, &writers[i], &missing[i % KINDS], &twice[i % KINDS], &problem) != DB_OK)
			fail_msg("%s", problem.text);
	mongo_sink_counts(sinks[RIGHT], &counts);
	print_message("stopped for %d s: %llu unknown, %llu found; missing %llu, twice %llu; without waiting twice "
		      "%llu, without reading %llu\n",
		      STILL_MS / 1000, (unsigned long long)counts.unknown, (unsigned long long)counts.found,
		      (unsigned long long)missing[RIGHT], (unsigned long long)twice[RIGHT],
		      (unsigned long long)twice[HASTY], (unsigned long long)twice[NAIVE]);
	assert_true(counts.unknown > 0);
	assert_int_equal(missing[RIGHT], 0);
	assert_int_equal(twice[RIGHT], 0);
	assert_int_equal(counts.twice, 0);
	assert_true(twice[NAIVE] > 0);
	for (unsigned i = 0; i < KINDS; i++)
		sinks[i]->close(sinks[i]);
}

/* Shutting down must not take the server's time: 10 s in all are allowed, for everything. */
static void cancelled_while_it_stands_still(void **state)
{
	struct db_problem problem = {0};
	struct writer writers[WRITERS] = {0};
	_Atomic bool stop = false;
	uint64_t began, joined, closed;
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = world.engine.uri}, &problem), DB_OK);
	struct days *days = days_new(db, &world.migrations, 0);
	struct sink *sink = mongo_sink_new(&(struct mongo_sink_options){.db = db, .days = days, .ends = world.ends});
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.sink = sink, .id = (uint8_t)(i + 100), .records = 3000, .stop = &stop};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	sleep_ms(300);
	kill(world.engine.pid, SIGSTOP);
	sleep_ms(500);
	began = clock_boot_ns();
	sink->cancel(sink);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	joined = clock_boot_ns();
	sink->close(sink);
	days_free(days);
	db_close(db);
	closed = clock_boot_ns();
	kill(world.engine.pid, SIGCONT);
	print_message("cancelled with the server stopped: calls ended after %llu ms, closed after %llu ms\n",
		      (unsigned long long)(joined - began) / 1000000, (unsigned long long)(closed - began) / 1000000);
	assert_true(joined - began < 4 * NS_PER_SEC);
	assert_true(closed - began < 8 * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_inserts),
		cmocka_unit_test(cancelled_while_it_stands_still),
	};

	return cmocka_run_group_tests_name("sink_stop", tests, set_up, tear_down);
}
