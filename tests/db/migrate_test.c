/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/migrate.c: once, by one, and never over what it does not know. */
#include "recorder/db/migrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "tests/db/engine.h"

static struct engine engine;
static char directory[] = "/tmp/xdp-recorder-migrations-XXXXXX";

struct place {
	struct db *db;
	struct migrations migrations;
};

static void write_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *out = fopen(path, "we");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void remove_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
}

#define ONE                                                                                                            \
	"{\"version\": 1, \"name\": \"one\", \"why\": \"w\", \"commands\": [{\"create\": \"a\"}, {\"createIndexes\": " \
	"\"a\", \"indexes\": [{\"key\": {\"x\": 1}, \"name\": \"x\"}]}]}"
#define TWO                                                                                                            \
	"{\"version\": 2, \"name\": \"two\", \"why\": \"w\", \"commands\": [{\"create\": \"b\"}, {\"insert\": \"b\", " \
	"\"documents\": [{\"_id\": 1}]}]}"

static void write_files(void)
{
	write_file("0001-one.json", ONE);
	write_file("0002-two.json", TWO);
}

/* A new database each time, and the migrations of `dir`. */
static void enter(struct place *place, const char *dir)
{
	static unsigned n;
	struct db_problem problem = {0};
	char name[96];

	snprintf(name, sizeof(name), "%s_%u", test_database(), n++);
	assert_int_equal(db_open(&place->db, &(struct db_options){.uri = engine.uri, .database = name}, &problem),
			 DB_OK);
	if (migrations_load(&place->migrations, dir, &problem) != DB_OK)
		fail_msg("%s", problem.text);
}

static void leave(struct place *place)
{
	drop_database(place->db);
	db_close(place->db);
	migrations_free(&place->migrations);
}

static enum db_result run(struct place *place, struct migrate_report *report, struct db_problem *problem)
{
	struct migrate_options options = {.wait_ms = 20000, .stale_ms = 1500};

	memset(problem, 0, sizeof(*problem));
	return migrate_run(place->db, &place->migrations, &options, report, problem);
}

static int set_up(void **state)
{
	(void)state;
	engine_shared(&engine);
	if (!mkdtemp(directory))
		return -1;
	log_set_level(LOG_ERROR);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	remove_file("0001-one.json");
	remove_file("0002-two.json");
	rmdir(directory);
	engine_remove(&engine);
	return 0;
}

static void once(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;

	(void)state;
	write_files();
	enter(&place, directory);
	assert_int_equal(migrate_check(place.db, &place.migrations, &report, &problem), DB_LATER);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	assert_int_equal(report.applied, 2);
	assert_int_equal(report.from, 0);
	assert_int_equal(report.to, 2);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	assert_int_equal(report.applied, 0);
	assert_int_equal(report.from, 2);
	assert_int_equal(migrate_check(place.db, &place.migrations, &report, &problem), DB_OK);
	assert_int_equal(count_matching(place.db, "migrations", "{}"), 2); /* no lock stays */
	assert_int_equal(count_matching(place.db, "migrations",
					"{\"by.pid\": {\"$gt\": 1}, \"checksum\": {\"$type\": \"string\"}}"),
			 2);
	leave(&place);
}

static void those_of_the_program(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;
	bson_t template;

	(void)state;
	enter(&place, NULL);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	assert_int_equal(report.applied, place.migrations.count);
	assert_true(migrations_daily(&place.migrations, "packets", &template));
	assert_true(migrations_daily(&place.migrations, "floods", &template));
	leave(&place);
}

/* A crash behind any command: all of it comes again. */
static void what_is_there_does_no_harm(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;

	(void)state;
	write_files();
	enter(&place, directory);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	bson_t *forget =
		BCON_NEW("delete", "migrations", "deletes", "[", "{", "q", "{", "}", "limit", BCON_INT32(0), "}", "]");
	assert_int_equal(db_run(place.db, NULL, forget, NULL, &problem), DB_OK);
	bson_destroy(forget);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	assert_int_equal(report.applied, 2);
	assert_int_equal(count_matching(place.db, "b", "{}"), 1);
	leave(&place);
}

/* Its control: something else under the name is not taken for ours. */
static void something_else_is_there(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;

	(void)state;
	write_files();
	enter(&place, directory);
	bson_t *create = BCON_NEW("create", "a", "capped", BCON_BOOL(true), "size", BCON_INT32(4096));
	assert_int_equal(db_run(place.db, NULL, create, NULL, &problem), DB_OK);
	bson_destroy(create);
	assert_int_equal(run(&place, &report, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "'a' is there already"));
	leave(&place);

	enter(&place, directory);
	create = BCON_NEW("create", "a", "validator", "{", "x", "{", "$gt", BCON_INT32(1), "}", "}");
	assert_int_equal(db_run(place.db, NULL, create, NULL, &problem), DB_OK);
	bson_destroy(create);
	assert_int_equal(run(&place, &report, &problem), DB_OK); /* somebody's addition */
	leave(&place);

	enter(&place, directory);
	create = BCON_NEW("createIndexes", "a", "indexes", "[", "{", "key", "{", "y", BCON_INT32(1), "}", "name", "x",
			  "}", "]");
	assert_int_equal(db_run(place.db, NULL, create, NULL, &problem), DB_OK);
	bson_destroy(create);
	assert_int_equal(run(&place, &report, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "index"));
	assert_int_equal(count_matching(place.db, "migrations", "{}"), 0); /* nor a lock */
	leave(&place);
}

static void changed_contents(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;

	(void)state;
	write_files();
	enter(&place, directory);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	migrations_free(&place.migrations);
	write_file("0001-one.json", ONE " ");
	assert_int_equal(migrations_load(&place.migrations, directory, &problem), DB_OK);
	assert_int_equal(run(&place, &report, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "other contents"));
	assert_int_equal(migrate_check(place.db, &place.migrations, &report, &problem), DB_FATAL);
	leave(&place);
}

static void newer_database(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;

	(void)state;
	write_files();
	enter(&place, directory);
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	migrations_free(&place.migrations);
	remove_file("0002-two.json");
	assert_int_equal(migrations_load(&place.migrations, directory, &problem), DB_OK);
	assert_int_equal(run(&place, &report, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "newer xdp-recorder"));
	leave(&place);
}

struct racer {
	struct place *place;
	struct migrate_report report;
	struct db_problem problem;
	enum db_result result;
};

static void *race(void *arg)
{
	struct racer *racer = arg;

	racer->result = run(racer->place, &racer->report, &racer->problem);
	return NULL;
}

static void threads_at_once(void **state)
{
	enum { RACERS = 6 };
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	struct place place;
	unsigned applied = 0;

	(void)state;
	write_files();
	enter(&place, directory);
	for (int i = 0; i < RACERS; i++) {
		racers[i].place = &place;
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(threads[i], NULL);
		if (racers[i].result != DB_OK)
			fail_msg("%s", racers[i].problem.text);
		applied += racers[i].report.applied;
	}
	assert_int_equal(applied, 2);
	assert_int_equal(count_matching(place.db, "migrations", "{}"), 2);
	leave(&place);
}

/* In a process of its own: `argument` is the database. Exit status: what was applied, 99 for a problem. */
static int child(const char *database)
{
	struct db_problem problem = {0};
	struct migrate_report report;
	struct place place;

	if (db_open(&place.db, &(struct db_options){.uri = engine.uri, .database = database}, &problem) != DB_OK ||
	    migrations_load(&place.migrations, directory, &problem) != DB_OK ||
	    run(&place, &report, &problem) != DB_OK) {
		fprintf(stderr, "%s\n", problem.text);
		return 99;
	}
	db_close(place.db);
	migrations_free(&place.migrations);
	return (int)report.applied;
}

/* libmongoc does not live through fork(), so the processes are new runs of this program. */
static void processes_at_once(void **state)
{
	enum { RACERS = 4 };
	struct place place;
	pid_t pids[RACERS];
	int applied = 0, status;

	(void)state;
	write_files();
	enter(&place, directory);
	for (int i = 0; i < RACERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (!pids[i]) {
			execl("/proc/self/exe", "migrate_test", engine.uri, db_name(place.db), directory, (char *)NULL);
			_exit(98);
		}
	}
	for (int i = 0; i < RACERS; i++) {
		waitpid(pids[i], &status, 0);
		assert_true(WIFEXITED(status));
		assert_in_range(WEXITSTATUS(status), 0, 2);
		applied += WEXITSTATUS(status);
	}
	assert_int_equal(applied, 2);
	leave(&place);
}

static void put_lock(struct place *place)
{
	struct db_problem problem;
	uint8_t owner[16] = {9};
	bson_t *insert = BCON_NEW("insert", "migrations", "documents", "[", "{", "_id", "lock", "owner",
				  BCON_BIN(BSON_SUBTYPE_BINARY, owner, sizeof(owner)), "beat", BCON_INT64(5), "by", "{",
				  "host", "elsewhere", "pid", BCON_INT32(4711), "}", "}", "]");

	assert_int_equal(db_run(place->db, NULL, insert, NULL, &problem), DB_OK);
	bson_destroy(insert);
}

static void a_crashed_holder(void **state)
{
	struct migrate_report report;
	struct db_problem problem;
	struct place place;
	uint64_t began;

	(void)state;
	write_files();
	enter(&place, directory);
	put_lock(&place);
	began = clock_boot_ns();
	assert_int_equal(run(&place, &report, &problem), DB_OK);
	assert_int_equal(report.applied, 2);
	assert_true(clock_boot_ns() - began >= 1500000000ull);
	assert_true(clock_boot_ns() - began < 6000000000ull);
	assert_int_equal(count_matching(place.db, "migrations", "{\"_id\": \"lock\"}"), 0);
	leave(&place);
}

static _Atomic bool beating;

static void *keep_beating(void *arg)
{
	struct place *place = arg;
	struct db_problem problem;
	bson_t *update = BCON_NEW("update", "migrations", "updates", "[", "{", "q", "{", "_id", "lock", "}", "u", "{",
				  "$inc", "{", "beat", BCON_INT64(1), "}", "}", "}", "]");

	while (beating) {
		db_run(place->db, NULL, update, NULL, &problem);
		sleep_ms(300);
	}
	bson_destroy(update);
	return NULL;
}

/* The control: a holder that lives is not robbed. */
static void a_living_holder(void **state)
{
	struct migrate_options options = {.wait_ms = 5000, .stale_ms = 1500};
	struct migrate_report report;
	struct db_problem problem;
	struct place place;
	pthread_t thread;

	(void)state;
	write_files();
	enter(&place, directory);
	put_lock(&place);
	beating = true;
	assert_int_equal(pthread_create(&thread, NULL, keep_beating, &place), 0);
	assert_int_equal(migrate_run(place.db, &place.migrations, &options, &report, &problem), DB_LATER);
	assert_non_null(strstr(problem.text, "elsewhere, pid 4711"));
	beating = false;
	pthread_join(thread, NULL);
	assert_int_equal(count_matching(place.db, "migrations", "{\"_id\": \"lock\", \"by.host\": \"elsewhere\"}"), 1);
	leave(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once),
		cmocka_unit_test(those_of_the_program),
		cmocka_unit_test(what_is_there_does_no_harm),
		cmocka_unit_test(something_else_is_there),
		cmocka_unit_test(changed_contents),
		cmocka_unit_test(newer_database),
		cmocka_unit_test(threads_at_once),
		cmocka_unit_test(processes_at_once),
		cmocka_unit_test(a_crashed_holder),
		cmocka_unit_test(a_living_holder),
	};

	if (argc == 4) {
		snprintf(engine.uri, sizeof(engine.uri), "%s", argv[1]);
		snprintf(directory, sizeof(directory), "%s", argv[3]);
		return child(argv[2]);
	}
	return cmocka_run_group_tests_name("migrate", tests, set_up, tear_down);
}
