/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/connect.c and translate.c: what comes of a command when the other end is well, absent, hostile or silent. */
#include "recorder/db/connect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/db/days.h"
#include "recorder/sink/mongo.h"
#include "tests/db/batches.h"
#include "tests/db/engine.h"
#include "tests/db/fake_server.h"

static struct engine engine;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	engine_shared(&engine);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_remove(&engine);
	return 0;
}

static enum db_result ping(const char *uri, struct db_problem *problem)
{
	struct db *db;
	enum db_result result = db_open(&db, &(struct db_options){.uri = uri}, problem);

	if (result != DB_OK)
		return result;
	result = db_ping(db, NULL, problem);
	db_close(db);
	return result;
}

static void a_server_that_is_well(void **state)
{
	struct db_problem problem = {0};
	struct db_server server;
	uint64_t latency;
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = engine.uri}, &problem), DB_OK);
	assert_string_equal(db_name(db), DB_NAME_DEFAULT);
	assert_int_equal(db_ping(db, &latency, &problem), DB_OK);
	assert_true(latency > 0);
	assert_int_equal(db_server_info(db, &server, &problem), DB_OK);
	assert_true(server.peer.writable);
	assert_true(server.peer.wire >= 13);
	assert_true(server.peer.has_process);
	assert_true(server.max_document == 16 * 1024 * 1024);
	assert_true(strlen(server.version) > 2);
	db_close(db);
}

/* A socket may be given by its path. */
static void a_path_as_uri(void **state)
{
	struct db_problem problem = {0};
	char path[256];
	size_t n = 0;

	(void)state;
	if (strncmp(engine.uri, "mongodb://%2F", 13))
		skip();
	for (const char *p = engine.uri + 10; *p && n < sizeof(path) - 1; p++) {
		unsigned byte = (unsigned char)*p;
		if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1)
			p += 2;
		path[n++] = (char)byte;
	}
	path[n] = '\0';
	assert_int_equal(ping(path, &problem), DB_OK);
}

static void the_wrong_place(void **state)
{
	struct db_problem problem = {0};
	uint64_t began;

	(void)state;
	assert_int_equal(ping("mongodb://127.0.0.1:1", &problem), DB_UNREACHABLE);
	assert_non_null(strstr(problem.text, "127.0.0.1:1"));
	assert_non_null(strstr(problem.text, "refused"));
	assert_int_equal(ping("/nonexistent/mongodb.sock", &problem), DB_UNREACHABLE);
	assert_non_null(strstr(problem.text, "No such file"));
	assert_int_equal(ping("/dev/null", &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "must end in .sock"));
	char plain[] = "/tmp/xdp-recorder-test-XXXXXX.sock";
	int fd = mkstemps(plain, 5);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ping(plain, &problem), DB_UNREACHABLE);
	assert_non_null(strstr(problem.text, "is no socket"));
	unlink(plain);
	began = clock_boot_ns();
	assert_int_equal(ping("mongodb://nobody:secret@host.invalid/", &problem), DB_UNREACHABLE);
	assert_null(strstr(problem.text, "secret"));
	assert_true(clock_boot_ns() - began < 10 * NS_PER_SEC);
}

static void wrong_uris(void **state)
{
	static const char *const wrong[] = {
		"",
		"x",
		"http://host/",
		"mongodb://",
		"mongodb://user:se/cret@host/",
		"mongodb://user:se@cret@host/",
		"mongodb://user:secret%@host/",
		"mongodb://user:secret@host:99999999/",
		"mongodb://host/?ssl=perhaps",
		"mongodb://host/?w=majority&w",
		"mongodb+srv://user:secret@host:1/",
		"mongodb://user:secret@host/a.b",
		"mongodb://user:secret@",
		"mongodb://user:secret",
	};
	struct db_problem problem;
	struct db *db;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		memset(&problem, 0, sizeof(problem));
		if (db_open(&db, &(struct db_options){.uri = wrong[i]}, &problem) == DB_OK) {
			db_close(db); /* libmongoc takes some of these; then the server decides */
			continue;
		}
		assert_int_equal(problem.result, DB_FATAL);
		assert_true(strlen(problem.text) > 10);
		assert_null(strchr(problem.text, '\n'));
		if (strchr(wrong[i], '@')) /* else it is a host's name */
			assert_null(strstr(problem.text, "cret"));
	}
	assert_int_equal(db_open(&db, &(struct db_options){.uri = "mongodb://host", .database = "a.b"}, &problem),
			 DB_FATAL);
	assert_non_null(strstr(problem.text, "a.b"));
}

static void commands_of_the_server(void **state)
{
	struct db_problem problem = {0};
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem),
			 DB_OK);
	bson_t *none = BCON_NEW("nosuchcommand", BCON_INT32(1));
	assert_int_equal(db_run(db, NULL, none, NULL, &problem), DB_REFUSED);
	assert_int_equal(problem.code, 59);
	bson_destroy(none);
	bson_t *twice = BCON_NEW("insert", "c", "documents", "[", "{", "_id", BCON_INT32(1), "}", "{", "_id",
				 BCON_INT32(1), "}", "]", "ordered", BCON_BOOL(false));
	assert_int_equal(db_run(db, NULL, twice, NULL, &problem), DB_DUPLICATE);
	assert_int_equal(problem.index, 1);
	bson_destroy(twice);
	/* A cursor over several answers, and one that is given up. */
	for (int from = 2; from < 2000; from += 500) {
		bson_t insert = BSON_INITIALIZER, documents, doc;
		char key[16];
		BSON_APPEND_UTF8(&insert, "insert", "c");
		BSON_APPEND_ARRAY_BEGIN(&insert, "documents", &documents);
		for (int i = 0; i < 500; i++) {
			snprintf(key, sizeof(key), "%d", i);
			BSON_APPEND_DOCUMENT_BEGIN(&documents, key, &doc);
			BSON_APPEND_INT32(&doc, "_id", from + i);
			bson_append_document_end(&documents, &doc);
		}
		bson_append_array_end(&insert, &documents);
		assert_int_equal(db_run(db, NULL, &insert, NULL, &problem), DB_OK);
		bson_destroy(&insert);
	}
	assert_int_equal(count_matching(db, "c", "{}"), 2001);
	drop_database(db);
	db_close(db);
}

static void check_line(void *arg, bool ok, const char *text)
{
	unsigned *lines = arg;

	(*lines)++;
	if (!ok)
		print_message("%s\n", text);
}

static void check_finds_nothing_missing(void **state)
{
	struct db_problem problem = {0};
	unsigned lines = 0;
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem),
			 DB_OK);
	assert_int_equal(db_check(db, check_line, &lines), 0);
	assert_true(lines >= 2);
	drop_database(db);
	db_close(db);
}

/* ---- a hostile server -------------------------------------------------------------------------------------- */

static struct db *open_fake(const struct fake *fake, const char *user)
{
	struct db_problem problem = {0};
	struct db *db = NULL;
	char uri[128];

	snprintf(uri, sizeof(uri), "mongodb://%s127.0.0.1:%u/", user, fake->port);
	if (db_open(&db, &(struct db_options){.uri = uri}, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	return db;
}

static void bad_answers(void **state)
{
	static const enum fake_manner manners[] = {FAKE_CLOSE, FAKE_HALF,     FAKE_GARBAGE,
						   FAKE_HUGE,  FAKE_NEGATIVE, FAKE_BROKEN_BSON};
	struct db_problem problem = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(manners); i++) {
		struct fake fake = {.command = manners[i]};
		fake_start(&fake);
		struct db *db = open_fake(&fake, "");
		uint64_t began = clock_boot_ns();
		enum db_result result = db_ping(db, NULL, &problem);
		if (result != DB_UNKNOWN)
			print_message("manner %d: %s: %s\n", manners[i], db_result_name(result), problem.text);
		assert_int_equal(result, DB_UNKNOWN);
		assert_true(fake.commands >= 1);
		assert_true(clock_boot_ns() - began < (DB_SOCKET_MS + 3000) * 1000000ull);
		db_cancel(db);
		db_close(db);
		fake_end(&fake);
	}
}

static void bad_greetings(void **state)
{
	static const enum fake_manner manners[] = {FAKE_SILENT, FAKE_CLOSE,    FAKE_HALF,	FAKE_GARBAGE,
						   FAKE_HUGE,	FAKE_NEGATIVE, FAKE_BROKEN_BSON};
	struct db_problem problem = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(manners); i++) {
		struct fake fake = {.hello = manners[i]};
		fake_start(&fake);
		struct db *db = open_fake(&fake, "");
		uint64_t began = clock_boot_ns();
		assert_int_equal(db_ping(db, NULL, &problem), DB_UNREACHABLE);
		assert_int_equal(fake.commands, 0);
		assert_true(clock_boot_ns() - began < (DB_SELECT_MS + DB_CONNECT_MS + 1000) * 1000000ull);
		db_cancel(db);
		fake.ended = true;
		db_close(db);
		fake_end(&fake);
	}
}

static void no_answer(void **state)
{
	struct fake fake = {.command = FAKE_SILENT};
	struct db_problem problem = {0};

	(void)state;
	fake_start(&fake);
	struct db *db = open_fake(&fake, "");
	uint64_t began = clock_boot_ns();
	assert_int_equal(db_ping(db, NULL, &problem), DB_UNKNOWN);
	uint64_t took = clock_boot_ns() - began;
	assert_true(took >= (DB_SOCKET_MS - 500) * 1000000ull && took < (DB_SOCKET_MS + 3000) * 1000000ull);
	db_close(db);
	fake_end(&fake);
}

static void *cancel_soon(void *arg)
{
	sleep_ms(700);
	db_cancel(arg);
	return NULL;
}

static void cancelled_while_waiting(void **state)
{
	static const enum fake_manner manners[] = {FAKE_SILENT, FAKE_DRIP};
	struct db_problem problem = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(manners); i++) {
		struct fake fake = {.command = manners[i]};
		pthread_t thread;
		fake_start(&fake);
		struct db *db = open_fake(&fake, "");
		assert_int_equal(pthread_create(&thread, NULL, cancel_soon, db), 0);
		uint64_t began = clock_boot_ns();
		assert_int_equal(db_ping(db, NULL, &problem), DB_CANCELLED);
		assert_true(clock_boot_ns() - began < 2 * NS_PER_SEC);
		assert_int_equal(db_ping(db, NULL, &problem), DB_CANCELLED);
		pthread_join(thread, NULL);
		db_close(db);
		fake_end(&fake);
	}
}

static const char *fixed_answer(struct fake *fake, const char *name, const bson_t *command)
{
	(void)name;
	(void)command;
	return fake->arg;
}

static void answers_and_results(void **state)
{
	static const struct {
		const char *json;
		enum db_result result;
		const char *text;
	} cases[] = {
		{"{\"ok\": 1, \"n\": 3}", DB_OK, ""},
		{"{\"ok\": true}", DB_OK, ""},
		{"{\"ok\": \"yes\", \"n\": 3}", DB_UNKNOWN, "is this MongoDB"},
		{"{\"n\": 3}", DB_UNKNOWN, "without ok"},
		{"{\"ok\": 0, \"code\": 10107, \"errmsg\": \"not primary\"}", DB_LATER, "not primary"},
		{"{\"ok\": 0, \"code\": 14031, \"errmsg\": \"no space\"}", DB_LATER, "no space"},
		{"{\"ok\": 0, \"code\": 11601, \"errmsg\": \"interrupted\"}", DB_LATER, "interrupted"},
		{"{\"ok\": 0, \"code\": 50, \"errmsg\": \"time limit\"}", DB_LATER, "time limit"},
		{"{\"ok\": 0, \"code\": 13, \"errmsg\": \"not authorized\"}", DB_DENIED, "readWrite"},
		{"{\"ok\": 0, \"code\": 73, \"errmsg\": \"bad name\"}", DB_REFUSED, "bad name"},
		{"{\"ok\": 0, \"code\": 4242, \"errmsg\": \"x\", \"errorLabels\": [\"RetryableWriteError\"]}", DB_LATER,
		 "x"},
		{"{\"ok\": 0}", DB_REFUSED, "no text"},
		{"{\"ok\": 1, \"writeErrors\": [{\"index\": 4, \"code\": 11000, \"errmsg\": \"dup\"}]}", DB_DUPLICATE,
		 "document 4"},
		{"{\"ok\": 1, \"writeErrors\": [{\"index\": 4, \"code\": 11000, \"errmsg\": \"dup\"}, {\"index\": 7, "
		 "\"code\": 2, \"errmsg\": \"bad value\"}]}",
		 DB_REFUSED, "document 7"},
		{"{\"ok\": 1, \"writeErrors\": [{\"index\": 4, \"code\": 14031, \"errmsg\": \"full\"}, {\"index\": 7, "
		 "\"code\": 11000, \"errmsg\": \"dup\"}]}",
		 DB_LATER, "2 in all"},
		{"{\"ok\": 1, \"writeErrors\": 5}", DB_OK, ""},
		{"{\"ok\": 1, \"writeErrors\": [5, {}]}", DB_REFUSED, ""},
		{"{\"ok\": 1, \"n\": 3, \"writeConcernError\": {\"code\": 64, \"errmsg\": \"waiting for replication "
		 "timed out\"}}",
		 DB_LATER, "majority"},
		{"{\"ok\": 0, \"code\": 1, \"errmsg\": \"see mongodb://u:secret@h/\\nsecond line\"}", DB_LATER,
		 "***@h/ second"},
	};
	struct db_problem problem = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char copy[512];
		struct fake fake = {.answer = fixed_answer, .arg = copy};
		snprintf(copy, sizeof(copy), "%s", cases[i].json);
		fake_start(&fake);
		struct db *db = open_fake(&fake, "");
		bson_t *command = BCON_NEW("insert", "c");
		enum db_result result = db_run(db, NULL, command, NULL, &problem);
		if (result != cases[i].result)
			fail_msg("%s: %s: %s", cases[i].json, db_result_name(result), problem.text);
		if (result != DB_OK) {
			assert_int_equal(problem.result, result);
			if (!strstr(problem.text, cases[i].text))
				fail_msg("%s", problem.text);
		}
		bson_destroy(command);
		db_close(db);
		fake_end(&fake);
	}
}

static void a_refused_login(void **state)
{
	char refusal[] = "{\"ok\": 0, \"code\": 18, \"errmsg\": \"Authentication failed.\"}";
	struct fake fake = {.answer = fixed_answer, .arg = refusal};
	struct db_problem problem = {0};

	(void)state;
	fake_start(&fake);
	struct db *db = open_fake(&fake, "user:secret@");
	assert_int_equal(db_ping(db, NULL, &problem), DB_DENIED);
	assert_non_null(strstr(problem.text, "login refused"));
	assert_null(strstr(problem.text, "secret"));
	assert_null(strstr(db_where(db), "secret"));
	assert_null(strstr(db_where(db), "user"));
	db_close(db);
	fake_end(&fake);
}

static void a_server_that_is_too_old(void **state)
{
	struct fake fake = {.hello_more = "\"maxWireVersion\": 2"};
	struct db_problem problem = {0};

	(void)state;
	fake_start(&fake);
	struct db *db = open_fake(&fake, "");
	enum db_result result = db_ping(db, NULL, &problem);
	assert_true(result == DB_FATAL || result == DB_UNREACHABLE);
	assert_non_null(strstr(problem.text, "wire version"));
	db_close(db);
	fake_end(&fake);
}

static void ports_of_the_database(void **state)
{
	struct db_problem problem = {0};
	uint16_t ports[4];
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = "mongodb://a.invalid:1234,b.invalid,c.invalid:1234/"},
				 &problem),
			 DB_OK);
	assert_int_equal(db_ports(db, ports, 4), 2);
	assert_int_equal(ntohs(ports[0]), 1234);
	assert_int_equal(ntohs(ports[1]), 27017);
	assert_int_equal(db_ports(db, ports, 1), 1);
	db_cancel(db);
	db_close(db);
}

/* ---- the sink on a replica set ----------------------------------------------------------------------------- */

struct replica_set {
	struct made made;
	unsigned local, majority, updates;
	char answer[3500];
	pthread_mutex_t lock;
};

/* All of the batch's documents are seen by the primary; the first time a majority is asked, it lacks the last one. */
static const char *replica_answer(struct fake *fake, const char *name, const bson_t *command)
{
	struct replica_set *set = fake->arg;
	bson_iter_t it, level;
	char *at = set->answer;

	pthread_mutex_lock(&set->lock);
	strcpy(at, "{\"ok\": 1, \"n\": 1}");
	set->updates += !strcmp(name, "update");
	if (!strcmp(name, "find") && bson_iter_init(&it, command) &&
	    bson_iter_find_descendant(&it, "readConcern.level", &level)) {
		bool majority = !strcmp(bson_iter_utf8(&level, NULL), "majority");
		unsigned count = set->made.batch.nrecords - (majority && !set->majority);
		set->majority += majority;
		set->local += !majority;
		at += sprintf(at, "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": [");
		for (uint32_t i = 0; i < count; i++) {
			uint8_t id[PACKET_ID_LEN];
			bson_t doc = BSON_INITIALIZER;
			packet_id(id, &set->made.batch, i);
			BSON_APPEND_BINARY(&doc, "_id", BSON_SUBTYPE_BINARY, id, sizeof(id));
			char *json = bson_as_canonical_extended_json(&doc, NULL);
			at += sprintf(at, "%s%s", i ? ", " : "", json);
			bson_free(json);
			bson_destroy(&doc);
		}
		strcpy(at, "]}}");
	}
	if (!strcmp(name, "listCollections"))
		strcpy(set->answer, "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": []}}");
	pthread_mutex_unlock(&set->lock);
	return set->answer;
}

/* What was found on the primary counts only once a majority has it: else a change of primary could undo it. */
static void settled_by_the_majority(void **state)
{
	struct replica_set set = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake fake = {.hello_more = "\"setName\": \"rs\"", .answer = replica_answer, .arg = &set};
	struct db_problem problem = {0};
	struct migrations migrations;
	struct sink_report report;
	struct sink_job *job;
	struct db_server server;

	(void)state;
	make_batch(&set.made, 1, 1, 10);
	set.made.batch.attempted = 1;
	fake_start(&fake);
	struct db *db = open_fake(&fake, "");
	assert_int_equal(db_server_info(db, &server, &problem), DB_OK);
	assert_int_equal(server.peer.kind, DB_REPLICA_SET);
	assert_string_equal(server.set, "rs");
	assert_int_equal(migrations_load(&migrations, NULL, &problem), DB_OK);
	struct days *days = days_new(db, &migrations, 0);
	struct ends_table *ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	struct sink *sink =
		mongo_sink_new(&(struct mongo_sink_options){.db = db, .days = days, .ends = ends, .late_ms = 1});

	assert_int_equal(sink->encode(sink, &set.made.batch, &job), 0);
	enum sink_outcome outcome;
	while ((outcome = sink->write(sink, job, &report)) == SINK_AGAIN && !set.majority)
		sleep_ms(5);
	assert_int_equal(outcome, SINK_AGAIN);
	assert_non_null(strstr(report.problem, "majority"));
	assert_int_equal(set.updates, 0);
	assert_int_equal(sink->write(sink, job, &report), SINK_SETTLED);
	assert_int_equal(report.found, 10);
	assert_int_equal(report.inserted, 0);
	assert_int_equal(set.local, 2);
	assert_int_equal(set.majority, 2);
	assert_int_equal(set.updates, 1);

	sink->job_free(sink, job);
	sink->close(sink);
	ends_table_free(ends);
	days_free(days);
	migrations_free(&migrations);
	db_close(db);
	fake_end(&fake);
	drop_batch(&set.made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_is_well),
		cmocka_unit_test(a_path_as_uri),
		cmocka_unit_test(the_wrong_place),
		cmocka_unit_test(wrong_uris),
		cmocka_unit_test(commands_of_the_server),
		cmocka_unit_test(check_finds_nothing_missing),
		cmocka_unit_test(bad_answers),
		cmocka_unit_test(bad_greetings),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(cancelled_while_waiting),
		cmocka_unit_test(answers_and_results),
		cmocka_unit_test(a_refused_login),
		cmocka_unit_test(a_server_that_is_too_old),
		cmocka_unit_test(ports_of_the_database),
		cmocka_unit_test(settled_by_the_majority),
	};

	return cmocka_run_group_tests_name("connect", tests, set_up, tear_down);
}
