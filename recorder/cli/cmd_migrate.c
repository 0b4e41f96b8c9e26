/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/cmd.h"

#include "recorder/db/connect.h"
#include "recorder/db/migrate.h"

static void print_applied(const struct migrations *migrations, int32_t from, int32_t to, const char *verb)
{
	for (size_t i = 0; i < migrations->count; i++) {
		const struct migration *m = &migrations->list[i];

		if (m->version > from && m->version <= to)
			printf("%s %04d-%s\n", verb, m->version, m->name);
	}
}

static unsigned wait_of(const struct settings *settings)
{
	if (settings->database_wait_ms == 0)
		return 1;
	return settings->database_wait_ms > UINT32_MAX ? UINT32_MAX : (unsigned)settings->database_wait_ms;
}

static enum db_result migrate(const struct settings *settings, struct db *db, const struct migrations *migrations,
			      struct db_problem *problem)
{
	struct migrate_options options = {.wait_ms = wait_of(settings)};
	struct migrate_report report = {0};
	enum db_result result;

	if (settings->dry_run) {
		int32_t newest = migrations->count ? migrations->list[migrations->count - 1].version : 0;

		result = migrate_check(db, migrations, &report, problem);
		/* "Later" is also what a server says that cannot answer now; then it has a code. */
		if (result != DB_OK && (result != DB_LATER || problem->code))
			return result;
		print_applied(migrations, report.to, newest, "would apply");
		printf("%d to apply, %d are there\n", newest - report.to, report.to);
		return DB_OK;
	}
	result = migrate_run(db, migrations, &options, &report, problem);
	print_applied(migrations, report.to - (int32_t)report.applied, report.to, "applied");
	if (result == DB_OK)
		printf("%u applied, %d were there\n", report.applied, report.to - (int32_t)report.applied);
	return result;
}

int cmd_migrate(const struct settings *settings)
{
	struct db_options options = {.uri = settings->mongo, .database = settings->database};
	struct migrations migrations = {0};
	struct db_problem problem = {0};
	struct db *db = NULL;
	enum db_result result;

	if (!cmd_has_database(settings))
		return EXIT_USAGE;
	if (log_get_level() == LOG_INFO)
		log_set_level(LOG_WARNING); /* what is applied is this command's output already */
	result = db_open(&db, &options, &problem);
	if (result == DB_OK)
		result = migrations_load(&migrations, NULL, &problem);
	if (result == DB_OK)
		result = migrate(settings, db, &migrations, &problem);
	if (result != DB_OK)
		cmd_fail(EXIT_FAILED, "%s", problem.text);
	migrations_free(&migrations);
	db_close(db);
	return result == DB_OK ? EXIT_DONE : EXIT_FAILED;
}
