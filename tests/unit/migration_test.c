/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/migration.c: which files are migrations, and what is said of those that are not. No database is needed. */
#include "recorder/db/migrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/db/ensure.h"

static char directory[] = "/tmp/xdp-recorder-unit-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(directory);
}

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
	assert_int_equal(unlink(path), 0);
}

static void those_in_the_program(void **state)
{
	static const char *const families[] = {"packets", "balance", "batches", "floods"};
	struct migrations migrations;
	struct db_problem problem = {0};
	bson_t template;

	(void)state;
	if (migrations_load(&migrations, NULL, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	assert_true(migrations.count >= 1);
	for (size_t i = 0; i < migrations.count; i++) {
		assert_int_equal(migrations.list[i].version, i + 1);
		assert_int_equal(strlen(migrations.list[i].checksum), 64);
		assert_true(strlen(migrations.list[i].why) > 20);
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		assert_true(migrations_daily(&migrations, families[i], &template));
	assert_false(migrations_daily(&migrations, "others", &template));
	migrations_free(&migrations);
}

#define HEAD "{\"version\": 1, \"name\": \"n\", \"why\": \"w\", "

static void wrong_files(void **state)
{
	static const struct {
		const char *file, *text, *said;
	} cases[] = {
		{"0001-a.json", "", ""},
		{"0001-a.json", "{", ""},
		{"0001-a.json", "[]", ""},
		{"0001-a.json", "{}", "version"},
		{"1-a.json", HEAD "\"commands\": []}", "NNNN-name.json"},
		{"0000-a.json", HEAD "\"commands\": []}", "NNNN-name.json"},
		{"0002-a.json", HEAD "\"commands\": []}", "number in the file's name"},
		{"0002-a.json", "{\"version\": 2, \"name\": \"n\", \"why\": \"w\", \"commands\": []}", "without gap"},
		{"0001-a.json", "{\"version\": 1, \"name\": \"\", \"why\": \"w\", \"commands\": []}", "name and why"},
		{"0001-a.json", "{\"version\": 1, \"name\": \"n\", \"commands\": []}", "name and why"},
		{"0001-a.json", HEAD "\"commands\": {}}", "list of documents"},
		{"0001-a.json", HEAD "\"commands\": [{}]}", "list of documents"},
		{"0001-a.json", HEAD "\"commands\": [5]}", "list of documents"},
		{"0001-a.json", HEAD "\"commands\": [], \"undo\": []}", "are known"},
		{"0001-a.json",
		 HEAD "\"commands\": [], \"daily\": [{\"family\": \"x\", \"options\": {}, \"indexes\": []}]}",
		 "family"},
		{"0001-a.json", HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"indexes\": []}]}",
		 "options"},
		{"0001-a.json", HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"options\": {}}]}",
		 "indexes"},
		{"0001-a.json",
		 HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"options\": {}, \"indexes\": [], "
		      "\"drop\": [1]}]}",
		 "drop must be"},
		{"0001-a.json",
		 HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"options\": {}, \"indexes\": [], "
		      "\"drop\": \"x\"}]}",
		 "drop must be"},
		{"0001-a.json",
		 HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"options\": {}, \"indexes\": [], "
		      "\"x\": 1}]}",
		 "are known"},
	};
	struct migrations migrations;
	struct db_problem problem;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(&problem, 0, sizeof(problem));
		write_file(cases[i].file, cases[i].text);
		assert_int_equal(migrations_load(&migrations, directory, &problem), DB_FATAL);
		if (!strstr(problem.text, cases[i].said) || !strstr(problem.text, cases[i].file))
			fail_msg("%s: %s", cases[i].text, problem.text);
		assert_int_equal(migrations.count, 0);
		remove_file(cases[i].file);
	}
	assert_int_equal(migrations_load(&migrations, directory, &problem), DB_FATAL);
	assert_int_equal(migrations_load(&migrations, "/nonexistent", &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "/nonexistent"));
}

/* The newest template of a family counts; one that a later file does not name stays. */
static void templates_of_several_files(void **state)
{
	struct migrations migrations;
	struct db_problem problem = {0};
	bson_t template;

	(void)state;
	write_file("0001-a.json",
		   HEAD "\"commands\": [], \"daily\": [{\"family\": \"packets\", \"options\": {}, \"indexes\": []}, "
			"{\"family\": \"balance\", \"options\": {\"capped\": true}, \"indexes\": []}]}");
	write_file("0002-b.json", "{\"version\": 2, \"name\": \"n\", \"why\": \"w\", \"commands\": [], \"daily\": "
				  "[{\"family\": \"packets\", \"options\": {\"collation\": {}}, \"indexes\": []}]}");
	write_file("README", "not a migration");
	if (migrations_load(&migrations, directory, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	assert_int_equal(migrations.count, 2);
	assert_string_not_equal(migrations.list[0].checksum, migrations.list[1].checksum);
	bson_iter_t it, at;
	assert_true(migrations_daily(&migrations, "packets", &template));
	assert_true(bson_iter_init(&it, &template) && bson_iter_find_descendant(&it, "options.collation", &at));
	assert_true(migrations_daily(&migrations, "balance", &template));
	assert_true(bson_iter_init(&it, &template) && bson_iter_find_descendant(&it, "options.capped", &at));
	migrations_free(&migrations);
	remove_file("0001-a.json");
	remove_file("0002-b.json");
	remove_file("README");
}

static bool covers(const char *have, const char *want)
{
	bson_error_t error;
	bson_t *h = bson_new_from_json((const uint8_t *)have, -1, &error),
	       *w = bson_new_from_json((const uint8_t *)want, -1, &error);
	bool result = ensure_covers(h, w);

	bson_destroy(h);
	bson_destroy(w);
	return result;
}

static void options_compared(void **state)
{
	(void)state;
	assert_true(covers("{\"a\": 1}", "{}"));
	assert_true(covers("{\"a\": 1, \"b\": 2}", "{\"b\": 2}"));
	assert_true(covers("{\"a\": 1.0}", "{\"a\": {\"$numberLong\": \"1\"}}"));
	assert_true(covers("{\"t\": {\"x\": \"y\", \"more\": true}}", "{\"t\": {\"x\": \"y\"}}"));
	assert_true(covers("{\"p\": [{\"u\": \"c\"}]}", "{\"p\": [{\"u\": \"c\"}]}"));
	assert_false(covers("{}", "{\"a\": 1}"));
	assert_false(covers("{\"a\": 2}", "{\"a\": 1}"));
	assert_false(covers("{\"a\": \"1\"}", "{\"a\": 1}"));
	assert_false(covers("{\"t\": {\"x\": \"z\"}}", "{\"t\": {\"x\": \"y\"}}"));
	assert_false(covers("{\"p\": [1, 2]}", "{\"p\": [1]}"));
	assert_false(covers("{\"a\": true}", "{\"a\": false}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_in_the_program),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(templates_of_several_files),
		cmocka_unit_test(options_compared),
	};

	return cmocka_run_group_tests_name("migration", tests, set_up, tear_down);
}
