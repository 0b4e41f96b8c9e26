/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.h - the numbered changes of the database (migrations/NNNN-name.json), applied once each, in order.
 *
 * A file: { version, name, why, commands: [...], daily: [{ family, options, indexes, drop }...] } in extended JSON.
 * `commands` run once; each must be repeatable, since a crash can come behind any of them. `daily` are the templates of
 * the daily collections (days.h); the newest one of a family counts. Days that are there already get indexes that they
 * lack when a recorder comes to write to them; `drop` (optional) names indexes that the server makes by itself with a new
 * packets_* and that are taken off again before the first packet; in a collection that was there nothing is dropped.
 *
 * The collection `migrations` has a document for each applied one: {_id: version, name, checksum (SHA-256 of the file),
 * at, by: {host, pid, program}}, and while one is at work {_id: "lock", owner, host, pid, beat}. A lock whose beat
 * stands still for stale_ms is taken over.
 */
#ifndef XDP_RECORDER_DB_MIGRATE_H
#define XDP_RECORDER_DB_MIGRATE_H

#include <bson/bson.h>

#include "recorder/db/connect.h"

struct migration {
	int32_t version;
	char *name;
	char *why;
	bson_t *body;	   /* the whole file */
	char checksum[65]; /* hex */
};

struct migrations {
	struct migration *list; /* ascending: 1, 2, 3 ... without gaps */
	size_t count;
};

/* `dir` NULL: those built into the program. DB_OK or DB_FATAL (names the file and what is wrong with it). */
enum db_result migrations_load(struct migrations *migrations, const char *dir, struct db_problem *problem);
void migrations_free(struct migrations *migrations);

/* The newest template of a daily family ({family, options, indexes}), a view into a body; false if there is none. */
bool migrations_daily(const struct migrations *migrations, const char *family, bson_t *template);

struct migrate_options {
	unsigned wait_ms;  /* for another one's lock and for a database that is away; 0: 120 s */
	unsigned stale_ms; /* a lock without a beat for so long is taken over; 0: 30 s */
};

struct migrate_report {
	int32_t from, to; /* versions before and after */
	unsigned applied; /* by this call */
};

/*
 * Brings the database to the newest version. DB_OK also when there was nothing to do; DB_FATAL when the database is
 * newer than this program, or a migration was applied with other contents; DB_DENIED; else what the database said last
 * when wait_ms was over. Blocks; retries by itself (every command is repeatable).
 */
enum db_result migrate_run(struct db *db, const struct migrations *migrations, const struct migrate_options *options,
			   struct migrate_report *report, struct db_problem *problem);

/* Looks only: DB_OK when the database is as this program needs it, DB_LATER when migrations are to be run, DB_FATAL as
 * above. */
enum db_result migrate_check(struct db *db, const struct migrations *migrations, struct migrate_report *report,
			     struct db_problem *problem);

#endif
