/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process/storage.c: what a server takes is asked again when it is another version or process than at start, and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/process/drainer.h"
#include "tests/db/fake_server.h"

#define PROCESS(id) "\"topologyVersion\": {\"processId\": {\"$oid\": \"" id "\"}, \"counter\": {\"$numberLong\": \"0\"}}"

static const char *_Atomic build = "{\"ok\": 1, \"version\": \"6.0.1\"}";

static const char *answer(struct fake *fake, const char *name, const bson_t *command)
{
	(void)fake;
	(void)command;
	return !strcmp(name, "buildInfo") ? build : "{\"ok\": 1}";
}

static bool asked_again(struct drainer *d)
{
	d->probed_new = false;
	storage_probe_again(d);
	return d->probed_new;
}

static void another_server(void **state)
{
	struct fake fake = {.answer = answer, .wire = 17, .hello_more = PROCESS("0102030405060708090a0b0c")};
	struct settings settings = {.storage = STORAGE_AUTO};
	struct drainer *d = calloc(1, sizeof(*d));
	struct db_problem problem = {0};
	char uri[64];

	(void)state;
	fake_start(&fake);
	snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%u/", fake.port);
	d->settings = &settings;
	assert_int_equal(db_open(&d->db, &(struct db_options){.uri = uri}, &problem), DB_OK);
	assert_int_equal(storage_probe(d, &problem), DB_OK);
	assert_true(d->probed_new);
	assert_string_equal(d->server.version, "6.0.1");
	assert_false(d->probed.buckets); /* too old to say what a bucket spans */
	assert_non_null(strstr(d->probed.why, "6.3"));
	assert_false(asked_again(d)); /* the control: it is the same */

	build = "{\"ok\": 1, \"version\": \"8.0.4\"}"; /* newer */
	assert_true(asked_again(d));
	assert_string_equal(d->server.version, "8.0.4");
	assert_false(asked_again(d));
	build = "{\"ok\": 1, \"version\": \"5.0.30\"}"; /* older */
	assert_true(asked_again(d));
	assert_string_equal(d->server.version, "5.0.30");

	fake.command = FAKE_CLOSE; /* away: nothing is known, and nothing forgotten */
	assert_false(asked_again(d));
	assert_string_equal(d->server.version, "5.0.30");
	fake.command = FAKE_ANSWER;
	assert_false(asked_again(d));
	fake.command = FAKE_CLOSE; /* the same version, started anew */
	assert_false(asked_again(d));
	fake.hello_more = PROCESS("ffffffffffffffffffffffff");
	fake.command = FAKE_ANSWER;
	assert_true(asked_again(d));
	assert_false(asked_again(d));

	db_close(d->db);
	fake_end(&fake);
	free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(another_server)};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
