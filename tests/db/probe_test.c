/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/probe.c: what the local engine takes, and what is made of servers that take less, or say that they took it. */
#include "recorder/db/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/db/ensure.h"
#include "recorder/db/probe_bucket.h"
#include "tests/db/engine.h"
#include "tests/db/fake_server.h"

static struct engine engine;

static int set_up(void **state)
{
	(void)state;
	engine_shared(&engine);
	log_set_level(LOG_ERROR);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_remove(&engine);
	return 0;
}

static struct db *open_engine(void)
{
	struct db_problem problem = {0};
	struct db *db;

	assert_int_equal(
		db_open(&db, &(struct db_options){.uri = engine.uri, .database = test_database()}, &problem), DB_OK);
	return db;
}

static int64_t count_probes(struct db *db)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct counted counted = {0};
	bson_t *list = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", "{", "$regex", "probe", "}", "}");

	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, list, count_one, &counted, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(list);
	return counted.n;
}

static void make_collection(struct db *db, const char *name)
{
	struct db_problem problem = {0};
	bson_t *create = BCON_NEW("create", BCON_UTF8(name));

	assert_int_equal(db_run(db, NULL, create, NULL, &problem), DB_OK);
	bson_destroy(create);
}

/* All that the engine can do, in 300 ms, and nothing stays but what may be another's probe. */
static void on_the_engine(void **state)
{
	struct db_problem problem = {0};
	struct probe_storage storage;
	struct db *db = open_engine();
	char name[64], fresh[64], stale[64];
	uint64_t best = UINT64_MAX;

	(void)state;
	snprintf(fresh, sizeof(fresh), "xdp_recorder_probe_%08lx_%016x", (unsigned long)time(NULL) - 3000, 1u);
	snprintf(stale, sizeof(stale), "xdp_recorder_probe_%08lx_%016x", (unsigned long)time(NULL) - 3700, 2u);
	make_collection(db, fresh);
	make_collection(db, stale);
	make_collection(db, "xdp_recorder_probe_of_somebody");
	for (int i = 0; i < 5; i++) {
		uint64_t begin = clock_boot_ns();

		if (probe_storage(db, i % 2 ? PROBE_AUTO : PROBE_BUCKETS, &storage, &problem) != DB_OK)
			fail_msg("%s", problem.text);
		if (clock_boot_ns() - begin < best)
			best = clock_boot_ns() - begin;
		assert_string_equal(probe_name(&storage, name), "buckets, version 3, rawData, replaced");
		assert_string_equal(storage.why, name);
	}
	print_message("probe: %.1f ms\n", (double)best / 1e6);
	assert_true(best < 300 * 1000000ull);
	assert_int_equal(count_probes(db), 2);
	drop_database(db);
	db_close(db);
}

/* What is offered is right: a server's refusal says something about the server. */
static void the_bucket_is_valid(void **state)
{
	struct db *db = open_engine();

	(void)state;
	for (uint8_t version = 2; version <= 3; version++) {
		for (uint32_t count = PROBE_SMALL; count <= PROBE_LARGE; count += PROBE_LARGE - PROBE_SMALL) {
			struct db_problem problem = {0};
			bson_t bucket = BSON_INITIALIZER, reply;
			bson_iter_t it;
			char name[32];

			snprintf(name, sizeof(name), "valid_%u_%u", version, count);
			probe_bucket(&bucket, count, version);
			bson_t *commands[] = {
				BCON_NEW("create", BCON_UTF8(name), "timeseries", "{", "timeField", "ts", "metaField",
					 "meta", "bucketMaxSpanSeconds", BCON_INT32(PROBE_SPAN_S),
					 "bucketRoundingSeconds", BCON_INT32(PROBE_SPAN_S), "}"),
				BCON_NEW("insert", BCON_UTF8(name), "documents", "[", BCON_DOCUMENT(&bucket), "]",
					 "rawData", BCON_BOOL(true)),
				BCON_NEW("validate", BCON_UTF8(name), "full", BCON_BOOL(true)),
			};
			for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
				if (db_run(db, NULL, commands[i], &reply, &problem) != DB_OK)
					fail_msg("%s: %s", name, problem.text);
				if (i == 2) {
					assert_true(bson_iter_init_find(&it, &reply, "valid") && bson_iter_bool(&it));
					assert_true(bson_iter_init_find(&it, &reply, "errors"));
					bson_t errors;
					assert_true(ensure_inside(&it, &errors) && bson_empty(&errors));
				}
				bson_destroy(&reply);
				bson_destroy(commands[i]);
			}
			assert_int_equal(count_matching(db, name, "{}"), count);
			bson_destroy(&bucket);
		}
	}
	drop_database(db);
	db_close(db);
}

static void nothing_asked(void **state)
{
	struct db_problem problem = {0};
	struct probe_storage storage;
	struct db *db;

	(void)state;
	assert_int_equal(db_open(&db, &(struct db_options){.uri = "mongodb://127.0.0.1:1/"}, &problem), DB_OK);
	assert_int_equal(probe_storage(db, PROBE_DOCUMENTS, &storage, &problem), DB_OK);
	assert_false(storage.buckets);
	assert_int_equal(probe_storage(db, PROBE_AUTO, &storage, &problem), DB_UNREACHABLE);
	db_close(db);
}

/* ---- servers that the engine is not --------------------------------------------------------------------------- */

/* A server with one bucket at most, and what is wrong with it. */
struct server {
	int32_t wire;
	bool no_raw, no_system, no_version_3; /* refused */
	bool closes;			      /* the connection, on a raw insert */
	bool only_update;		      /* closes on an update, not on an insert */
	bool shows_raw_wrong, shows_less, shows_type; /* a raw find; a find(): a packet less, a value's type changed */
	bool twice;			      /* takes an _id twice */
	bool no_replace, smaller_wins;
	bool denied; /* raw writes take rights */

	const char *expected; /* name, or NULL: DB_FATAL with PROBE_BUCKETS, documents else */
	const char *why;      /* is in it */

	uint32_t count; /* of what is stored, 0: nothing */
	uint8_t version;
	unsigned made, dropped;
};

static _Thread_local char json[16384];

static const char *one_bucket(const struct server *server)
{
	bson_t bucket = BSON_INITIALIZER;
	char *text;

	probe_bucket(&bucket, server->count, server->version);
	if (server->shows_raw_wrong)
		BSON_APPEND_INT32(&bucket, "more", 1);
	text = bson_as_canonical_extended_json(&bucket, NULL);
	snprintf(json, sizeof(json), "{\"cursor\": {\"id\": 0, \"ns\": \"d.c\", \"firstBatch\": [%s]}, \"ok\": 1}", text);
	bson_free(text);
	bson_destroy(&bucket);
	return json;
}

static const char *documents_of(const struct server *server)
{
	size_t at = (size_t)snprintf(json, sizeof(json), "{\"cursor\": {\"id\": 0, \"ns\": \"d.c\", \"firstBatch\": [");

	for (uint32_t i = server->shows_less; i < server->count; i++) {
		bson_t document = BSON_INITIALIZER, changed = BSON_INITIALIZER;
		char *text;

		probe_measurement(&document, i, server->count, server->version);
		bson_copy_to_excluding_noinit(&document, &changed, server->shows_type ? "seq" : "-", NULL);
		if (server->shows_type)
			BSON_APPEND_INT64(&changed, "seq", 3000000001 + i);
		text = bson_as_canonical_extended_json(&changed, NULL);
		at += (size_t)snprintf(json + at, sizeof(json) - at, "%s%s", i > server->shows_less ? ", " : "", text);
		bson_free(text);
		bson_destroy(&document);
		bson_destroy(&changed);
	}
	snprintf(json + at, sizeof(json) - at, "]}, \"ok\": 1}");
	return json;
}

static int64_t number_in(const bson_t *command, const char *path)
{
	bson_iter_t it, found;

	return bson_iter_init(&it, command) && bson_iter_find_descendant(&it, path, &found) ? bson_iter_as_int64(&found)
											    : 0;
}

#define REFUSED(code, text)                                                                                            \
	"{\"n\": 0, \"writeErrors\": [{\"index\": 0, \"code\": " #code ", \"errmsg\": \"" text "\"}], \"ok\": 1}"

static const char *write_answer(struct server *server, bool raw, bool update, uint32_t count, uint8_t version)
{
	if (server->denied)
		return "{\"ok\": 0, \"code\": 13, \"codeName\": \"Unauthorized\", \"errmsg\": \"not authorized\"}";
	if (raw ? server->no_raw : server->no_system)
		return "{\"ok\": 0, \"code\": 73, \"errmsg\": \"no such thing\"}";
	if (version == 3 && server->no_version_3)
		return REFUSED(121, "Document failed validation");
	if (update && server->no_replace)
		return REFUSED(72, "no upsert");
	if (server->count && !server->twice && !(update && (count > server->count || server->smaller_wins)))
		return REFUSED(11000, "E11000 duplicate key");
	server->count = count;
	server->version = version;
	return "{\"n\": 1, \"ok\": 1}";
}

static const char *answer(struct fake *fake, const char *name, const bson_t *command)
{
	struct server *server = fake->arg;
	bool raw = bson_has_field(command, "rawData"), update = !strcmp(name, "update");
	const char *of = "";
	bson_iter_t it;

	fake->command = FAKE_ANSWER;
	if (bson_iter_init(&it, command) && bson_iter_next(&it) && BSON_ITER_HOLDS_UTF8(&it))
		of = bson_iter_utf8(&it, NULL);
	if (!strcmp(name, "listCollections"))
		return "{\"cursor\": {\"id\": 0, \"ns\": \"d.$cmd.listCollections\", \"firstBatch\": []}, \"ok\": 1}";
	if (!strcmp(name, "find"))
		return raw || !strncmp(of, "system.buckets.", 15) ? one_bucket(server) : documents_of(server);
	if (!strcmp(name, "create")) {
		server->made++;
		server->count = 0;
	} else if (!strcmp(name, "drop")) {
		server->dropped++;
	} else if (update || !strcmp(name, "insert")) {
		if (server->closes && update == server->only_update)
			fake->command = FAKE_CLOSE;
		return update ? write_answer(server, raw, true, (uint32_t)number_in(command, "updates.0.u.control.count"),
					     (uint8_t)number_in(command, "updates.0.u.control.version"))
			      : write_answer(server, raw, false,
					     (uint32_t)number_in(command, "documents.0.control.count"),
					     (uint8_t)number_in(command, "documents.0.control.version"));
	}
	return "{\"ok\": 1}";
}

static struct server servers[] = {
	{.wire = 27, .expected = "buckets, version 3, rawData, replaced"},
	{.wire = 25, .expected = "buckets, version 3, system.buckets, replaced"},
	{.wire = 24, .expected = "buckets, version 2, system.buckets, replaced"},
	{.wire = 20, .expected = "buckets, version 2, system.buckets, replaced"},
	{.wire = 19, .why = "before MongoDB 6.3"},
	{.wire = 28, .no_raw = true, .expected = "buckets, version 3, system.buckets, replaced", .why = "no such thing"},
	{.wire = 25, .no_raw = true, .no_system = true, .why = "system.buckets, version 3: insert: "},
	{.wire = 28, .no_version_3 = true, .expected = "buckets, version 2, rawData, replaced", .why = "failed validation"},
	{.wire = 28, .no_replace = true, .expected = "buckets, version 3, rawData", .why = "replacing it: "},
	{.wire = 28, .smaller_wins = true, .expected = "buckets, version 3, rawData", .why = "not what was written"},
	{.wire = 28, .shows_raw_wrong = true, .why = "reading it: it is not what was written"},
	{.wire = 28, .shows_less = true, .why = "find(): it does not show the packets"},
	{.wire = 28, .shows_type = true, .why = "find(): it does not show the packets"},
	{.wire = 28, .twice = true, .why = "once more: it was not refused"},
	{.wire = 28, .denied = true, .why = "rawData, version 3: insert: "},
	{.wire = 28, .closes = true, .why = "rawData, version 3: insert: "},
	{.wire = 28, .closes = true, .only_update = true, .expected = "buckets, version 3, rawData", .why = "replacing it: "},
};

static void ask(struct server *server, enum probe_wanted wanted)
{
	struct fake fake = {.wire = server->wire, .answer = answer, .arg = server};
	struct db_problem problem = {0};
	struct probe_storage storage;
	char uri[64], name[64];
	struct db *db;

	server->made = server->dropped = 0;
	fake_start(&fake);
	snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%u/", fake.port);
	assert_int_equal(db_open(&db, &(struct db_options){.uri = uri}, &problem), DB_OK);
	enum db_result result = probe_storage(db, wanted, &storage, &problem);
	if (!server->expected && wanted == PROBE_BUCKETS) {
		assert_int_equal(result, DB_FATAL);
		assert_non_null(strstr(problem.text, "takes no finished buckets"));
		assert_non_null(strstr(problem.text, server->why));
	} else {
		if (result != DB_OK)
			fail_msg("%s", problem.text);
		assert_string_equal(probe_name(&storage, name), server->expected ? server->expected : "documents");
		if (server->why && !strstr(storage.why, server->why))
			fail_msg("'%s' is not in '%s'", server->why, storage.why);
	}
	assert_int_equal(storage.denied, server->denied);
	assert_int_equal(server->made, server->dropped);
	db_close(db);
	fake_end(&fake);
}

static void other_servers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		print_message("%s\n", servers[i].expected ? servers[i].expected : servers[i].why);
		ask(&servers[i], PROBE_AUTO);
		ask(&servers[i], PROBE_BUCKETS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_the_engine),
		cmocka_unit_test(the_bucket_is_valid),
		cmocka_unit_test(nothing_asked),
		cmocka_unit_test(other_servers),
	};

	return cmocka_run_group_tests_name("probe", tests, set_up, tear_down);
}
