/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink/mongo.c while the server stands still (SIGSTOP) in mid-insert and goes on after 15 s: the inserts that lay in its
 * sockets run then, after the recorder gave them up. Whoever looks too early and inserts what is missing has it twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "tests/db/writers.h"

#define WRITERS 8
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
 * Half of the writers wait as they must; the other half, the control, does not, and shows that late inserts do come.
 */
static void late_inserts(void **state)
{
	struct mongo_sink_counts counts;
	struct sink *right = world_sink(&world, 0), *hasty = world_sink(&world, 1);
	struct writer writers[WRITERS] = { 0 };
	struct db_problem problem = { 0 };
	uint64_t missing[2] = { 0 }, twice[2] = { 0 };

	(void)state;
	kill(world.engine.pid, SIGSTOP);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .sink = i % 2 ? hasty : right, .id = (uint8_t)(i + 1), .records = 3000, .most = 3 };
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
		if (i == 0) { /* connections that are there already */
			kill(world.engine.pid, SIGCONT);
			sleep_ms(60);
		}
		if (i == WRITERS - 1) {
			sleep_ms(40);
			kill(world.engine.pid, SIGSTOP);
		}
	}
	sleep_ms(STILL_MS);
	kill(world.engine.pid, SIGCONT);
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_true(writers[i].longest_ns < SINK_BOUND_S * NS_PER_SEC);
		if (look_over(&world, &writers[i], &missing[i % 2], &twice[i % 2], &problem) != DB_OK)
			fail_msg("%s", problem.text);
	}
	mongo_sink_counts(right, &counts);
	print_message("stopped for %d s: %llu unknown, %llu found; missing %llu, twice %llu; without waiting twice %llu\n",
		      STILL_MS / 1000, (unsigned long long)counts.unknown, (unsigned long long)counts.found,
		      (unsigned long long)missing[0], (unsigned long long)twice[0], (unsigned long long)twice[1]);
	assert_true(counts.unknown > 0);
	assert_int_equal(missing[0], 0);
	assert_int_equal(twice[0], 0);
	assert_int_equal(counts.twice, 0);
	assert_true(twice[1] > 0);
	right->close(right);
	hasty->close(hasty);
}

/* Shutting down must not take the server's time: 10 s in all are allowed, for everything. */
static void cancelled_while_it_stands_still(void **state)
{
	struct db_problem problem = { 0 };
	struct writer writers[WRITERS] = { 0 };
	_Atomic bool stop = false;
	uint64_t began, joined, closed;
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){ .uri = world.engine.uri }, &problem), DB_OK);
	struct days *days = days_new(db, &world.migrations, 0);
	struct sink *sink = mongo_sink_new(&(struct mongo_sink_options){ .db = db, .days = days, .ends = world.ends });
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .sink = sink, .id = (uint8_t)(i + 100), .records = 3000, .stop = &stop };
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
