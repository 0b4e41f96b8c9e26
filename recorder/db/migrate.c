/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Applying migrations. One recorder does it at a time, the one that has the lock document; the others look on and wait.
 * The lock is only for order and economy: every command is repeatable and the record of a migration has its
 * version as _id, so a holder that was thought dead and comes back does no harm.
 */
#include "recorder/db/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/ensure.h"

#define COLLECTION "migrations"
#define WAIT_MS 120000u
#define STALE_MS 30000u
#define PAUSE_MS 200u

struct run {
	struct db *db;
	const struct migrations *migrations;
	uint8_t owner[16];
	char host[65];
	unsigned stale_ms;

	/* Another's lock as last seen, and since when it looks just so. */
	uint8_t seen_owner[16];
	int64_t seen_beat;
	uint64_t seen_since;
	bool seen;
};

/* ---- what was applied -------------------------------------------------------------------------------------- */

struct applied {
	const struct run *run;
	struct db_problem *problem;
	enum db_result result;
	int32_t highest;
	uint64_t known; /* bit version - 1; versions above 64 would need more */
};

static const char *field_text(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "?";
}

static bool look_at_applied(void *arg, const bson_t *doc)
{
	struct applied *applied = arg;
	const struct migrations *ours = applied->run->migrations;
	const char *where = db_where(applied->run->db);
	const char *checksum = field_text(doc, "checksum");
	bson_iter_t it;

	if (!bson_iter_init_find(&it, doc, "_id") || !BSON_ITER_HOLDS_NUMBER(&it))
		return true;
	int32_t version = (int32_t)bson_iter_as_int64(&it);
	if (version > applied->highest)
		applied->highest = version;
	if (version < 1)
		return true;
	if ((size_t)version > ours->count) {
		applied->result = db_problem_set(
			applied->problem, DB_FATAL,
			"%s: the database is at version %d (%s), this program knows %zu: use a newer xdp-recorder",
			where, version, field_text(doc, "name"), ours->count);
	} else if (strcmp(checksum, ours->list[version - 1].checksum)) {
		applied->result = db_problem_set(
			applied->problem, DB_FATAL,
			"%s: migration %d (%s) was applied with other contents (sha256 %.12s there, %.12s here)", where,
			version, ours->list[version - 1].name, checksum, ours->list[version - 1].checksum);
	} else if (version <= 64) {
		applied->known |= 1ull << (version - 1);
	}
	return true;
}

static enum db_result read_applied(struct db_client *client, struct run *run, struct applied *applied,
				   struct db_problem *problem)
{
	bson_t *find = BCON_NEW("find", COLLECTION, "filter", "{", "_id", "{", "$type", "number", "}", "}", "sort", "{",
				"_id", BCON_INT32(1), "}");
	enum db_result result;

	*applied = (struct applied){.run = run, .problem = problem};
	result = db_each(client, NULL, find, look_at_applied, applied, problem);
	bson_destroy(find);
	return result == DB_OK ? applied->result : result;
}

static const struct migration *next_of(const struct run *run, const struct applied *applied)
{
	for (size_t i = 0; i < run->migrations->count; i++)
		if (!(applied->known & (1ull << i)))
			return &run->migrations->list[i];
	return NULL;
}

/* ---- the lock ---------------------------------------------------------------------------------------------- */

static void append_who(bson_t *doc, const char *key, const struct run *run)
{
	bson_t by;

	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &by);
	BSON_APPEND_UTF8(&by, "host", run->host);
	BSON_APPEND_INT32(&by, "pid", (int32_t)getpid());
	BSON_APPEND_UTF8(&by, "program", "xdp-recorder " RECORDER_VERSION);
	bson_append_document_end(doc, &by);
}

static void append_lock(bson_t *doc, const char *key, const struct run *run)
{
	bson_t lock;

	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &lock);
	BSON_APPEND_UTF8(&lock, "_id", "lock");
	BSON_APPEND_BINARY(&lock, "owner", BSON_SUBTYPE_BINARY, run->owner, sizeof(run->owner));
	BSON_APPEND_INT64(&lock, "beat", 1);
	BSON_APPEND_DATE_TIME(&lock, "since", clock_wall_ns() / 1000000);
	append_who(&lock, "by", run);
	bson_append_document_end(doc, &lock);
}

static int64_t count_of(const bson_t *reply, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, reply, name) && BSON_ITER_HOLDS_NUMBER(&it) ? bson_iter_as_int64(&it) : 0;
}

/* {update: migrations, updates: [{q: {_id: "lock", owner, beat?}, u}]}: DB_OK when it matched, DB_LATER when not. */
static enum db_result update_lock(struct db_client *client, const uint8_t owner[16], const int64_t *beat,
				  const bson_t *u, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, reply, updates, update, q;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "update", COLLECTION);
	BSON_APPEND_ARRAY_BEGIN(&command, "updates", &updates);
	BSON_APPEND_DOCUMENT_BEGIN(&updates, "0", &update);
	BSON_APPEND_DOCUMENT_BEGIN(&update, "q", &q);
	BSON_APPEND_UTF8(&q, "_id", "lock");
	BSON_APPEND_BINARY(&q, "owner", BSON_SUBTYPE_BINARY, owner, 16);
	if (beat)
		BSON_APPEND_INT64(&q, "beat", *beat);
	bson_append_document_end(&update, &q);
	BSON_APPEND_DOCUMENT(&update, "u", u);
	bson_append_document_end(&updates, &update);
	bson_append_array_end(&command, &updates);
	db_append_write_concern(&command);
	result = db_command(client, NULL, &command, &reply, problem);
	if (result == DB_OK && count_of(&reply, "n") != 1)
		result = db_problem_set(problem, DB_LATER, "%s: the migration lock went to somebody else",
					db_where(client->db));
	bson_destroy(&reply);
	bson_destroy(&command);
	return result;
}

struct lock {
	bool found;
	uint8_t owner[16];
	int64_t beat;
	char host[65];
	int64_t pid;
};

static bool look_at_lock(void *arg, const bson_t *doc)
{
	struct lock *lock = arg;
	bson_subtype_t subtype;
	const uint8_t *owner;
	bson_iter_t it, by;
	uint32_t len;

	lock->found = true;
	if (bson_iter_init_find(&it, doc, "owner") && BSON_ITER_HOLDS_BINARY(&it)) {
		bson_iter_binary(&it, &subtype, &len, &owner);
		memcpy(lock->owner, owner, len < 16 ? len : 16);
	}
	lock->beat = count_of(doc, "beat");
	if (bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, "by.host", &by) && BSON_ITER_HOLDS_UTF8(&by))
		snprintf(lock->host, sizeof(lock->host), "%.64s", bson_iter_utf8(&by, NULL));
	if (bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, "by.pid", &by) && BSON_ITER_HOLDS_NUMBER(&by))
		lock->pid = bson_iter_as_int64(&by);
	return false;
}

/* DB_OK: it is ours. DB_LATER: another one's, still beating or not yet long enough still. */
static enum db_result take_lock(struct db_client *client, struct run *run, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, documents, holder = BSON_INITIALIZER;
	struct lock lock = {0};
	enum db_result result;
	bson_iter_t it;
	bson_t ours;

	BSON_APPEND_UTF8(&command, "insert", COLLECTION);
	BSON_APPEND_ARRAY_BEGIN(&command, "documents", &documents);
	append_lock(&documents, "0", run);
	bson_append_array_end(&command, &documents);
	db_append_write_concern(&command);
	result = db_command(client, NULL, &command, NULL, problem);
	bson_destroy(&command);
	if (result != DB_DUPLICATE) {
		bson_destroy(&holder);
		return result;
	}

	bson_t *find = BCON_NEW("find", COLLECTION, "filter", "{", "_id", "lock", "}", "limit", BCON_INT32(1));
	result = db_each(client, NULL, find, look_at_lock, &lock, problem);
	bson_destroy(find);
	if (result != DB_OK || !lock.found) {
		bson_destroy(&holder);
		return result != DB_OK ? result
				       : db_problem_set(problem, DB_LATER, "the migration lock was just freed");
	}
	if (!memcmp(lock.owner, run->owner, sizeof(run->owner))) {
		bson_destroy(&holder);
		return DB_OK; /* an insert of ours whose answer was lost */
	}
	uint64_t now = clock_boot_ns();
	if (!run->seen || run->seen_beat != lock.beat || memcmp(run->seen_owner, lock.owner, 16)) {
		run->seen = true;
		run->seen_beat = lock.beat;
		run->seen_since = now;
		memcpy(run->seen_owner, lock.owner, 16);
	}
	if (now - run->seen_since < run->stale_ms * 1000000ull) {
		bson_destroy(&holder);
		return db_problem_set(problem, DB_LATER, "%s: another recorder is migrating (%s, pid %" PRId64 ")",
				      db_where(run->db), lock.host, lock.pid);
	}
	log_warn("%s: the migration lock of %s, pid %" PRId64 ", has not moved for %u ms: taking it over",
		 db_where(run->db), lock.host, lock.pid, run->stale_ms);
	append_lock(&holder, "u", run);
	if (bson_iter_init_find(&it, &holder, "u") && ensure_inside(&it, &ours))
		result = update_lock(client, lock.owner, &lock.beat, &ours, problem);
	bson_destroy(&holder);
	return result;
}

static enum db_result beat(struct db_client *client, const struct run *run, struct db_problem *problem)
{
	bson_t *u = BCON_NEW("$inc", "{", "beat", BCON_INT64(1), "}");
	enum db_result result = update_lock(client, run->owner, NULL, u, problem);

	bson_destroy(u);
	return result;
}

static void free_lock(struct db_client *client, const struct run *run)
{
	struct db_problem problem;
	bson_t *command = BCON_NEW("delete", COLLECTION, "deletes", "[", "{", "q", "{", "_id", "lock", "owner",
				   BCON_BIN(BSON_SUBTYPE_BINARY, run->owner, sizeof(run->owner)), "}", "limit",
				   BCON_INT32(1), "}", "]");

	db_append_write_concern(command);
	if (db_command(client, NULL, command, NULL, &problem) != DB_OK)
		log_debug("the migration lock stays until it is stale: %s", problem.text);
	bson_destroy(command);
}

/* ---- applying ---------------------------------------------------------------------------------------------- */

static enum db_result record(struct db_client *client, const struct run *run, const struct migration *m,
			     struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, documents, doc;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "insert", COLLECTION);
	BSON_APPEND_ARRAY_BEGIN(&command, "documents", &documents);
	BSON_APPEND_DOCUMENT_BEGIN(&documents, "0", &doc);
	BSON_APPEND_INT32(&doc, "_id", m->version);
	BSON_APPEND_UTF8(&doc, "name", m->name);
	BSON_APPEND_UTF8(&doc, "why", m->why);
	BSON_APPEND_UTF8(&doc, "checksum", m->checksum);
	BSON_APPEND_DATE_TIME(&doc, "at", clock_wall_ns() / 1000000);
	append_who(&doc, "by", run);
	bson_append_document_end(&documents, &doc);
	bson_append_array_end(&command, &documents);
	db_append_write_concern(&command);
	result = db_command(client, NULL, &command, NULL, problem);
	bson_destroy(&command);
	return result == DB_DUPLICATE ? DB_OK : result; /* its checksum is looked at before the next one */
}

static enum db_result apply(struct db_client *client, const struct run *run, const struct migration *m,
			    struct db_problem *problem)
{
	enum db_result result = DB_OK;
	bson_iter_t it, element;
	bson_t command;

	if (bson_iter_init_find(&it, m->body, "commands") && bson_iter_recurse(&it, &element))
		while (result == DB_OK && bson_iter_next(&element)) {
			result = beat(client, run, problem);
			if (result == DB_OK && ensure_inside(&element, &command))
				result = ensure_command(client, &command, problem);
		}
	if (result == DB_OK)
		result = record(client, run, m, problem);
	if (result == DB_REFUSED) { /* the same file will not do better next time */
		struct db_problem first = *problem;
		result = db_problem_set(problem, DB_FATAL, "migration %d (%s): %s", m->version, m->name, first.text);
	}
	return result;
}

/* One look, and if there is something to do and nobody else does it, everything. */
static enum db_result step(struct db_client *client, struct run *run, struct migrate_report *report,
			   struct db_problem *problem)
{
	const struct migration *m;
	struct applied applied;
	enum db_result result = read_applied(client, run, &applied, problem);

	report->to = applied.highest;
	if (report->from < 0 && result == DB_OK)
		report->from = applied.highest;
	if (result != DB_OK || !next_of(run, &applied))
		return result;

	result = take_lock(client, run, problem);
	if (result != DB_OK)
		return result;
	while ((result = read_applied(client, run, &applied, problem)) == DB_OK && (m = next_of(run, &applied))) {
		result = apply(client, run, m, problem);
		if (result != DB_OK)
			break;
		report->applied++;
		log_info("%s: migration %d (%s) applied", db_where(run->db), m->version, m->name);
	}
	report->to = applied.highest;
	free_lock(client, run);
	return result;
}

static bool worth_waiting(enum db_result result)
{
	return result == DB_UNREACHABLE || result == DB_LATER || result == DB_UNKNOWN || result == DB_DUPLICATE;
}

static enum db_result begin(struct run *run, struct db *db, const struct migrations *migrations,
			    struct db_problem *problem)
{
	*run = (struct run){.db = db, .migrations = migrations};
	if (migrations->count > 64)
		return db_problem_set(problem, DB_FATAL, "more than 64 migrations");
	if (getrandom(run->owner, sizeof(run->owner), 0) != sizeof(run->owner))
		return db_problem_set(problem, DB_FATAL, "no random bytes");
	if (gethostname(run->host, sizeof(run->host) - 1))
		strcpy(run->host, "?");
	return DB_OK;
}

enum db_result migrate_run(struct db *db, const struct migrations *migrations, const struct migrate_options *options,
			   struct migrate_report *report, struct db_problem *problem)
{
	struct run run;
	struct db_client client;
	enum db_result result = begin(&run, db, migrations, problem);
	unsigned wait_ms = options && options->wait_ms ? options->wait_ms : WAIT_MS;
	uint64_t end = clock_boot_ns() + wait_ms * 1000000ull;

	*report = (struct migrate_report){.from = -1};
	if (result != DB_OK)
		return result;
	run.stale_ms = options && options->stale_ms ? options->stale_ms : STALE_MS;
	for (;;) {
		result = db_client_pop(db, &client, problem);
		if (result == DB_OK) {
			result = step(&client, &run, report, problem);
			db_client_done(&client);
		}
		if (!worth_waiting(result) || clock_boot_ns() >= end)
			break;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000l}, NULL);
	}
	if (report->from < 0)
		report->from = 0;
	return result;
}

enum db_result migrate_check(struct db *db, const struct migrations *migrations, struct migrate_report *report,
			     struct db_problem *problem)
{
	struct run run;
	struct applied applied;
	struct db_client client;
	const struct migration *m;
	enum db_result result = begin(&run, db, migrations, problem);

	*report = (struct migrate_report){0};
	if (result == DB_OK)
		result = db_client_pop(db, &client, problem);
	if (result != DB_OK)
		return result;
	result = read_applied(&client, &run, &applied, problem);
	db_client_done(&client);
	report->from = report->to = applied.highest;
	if (result == DB_OK && (m = next_of(&run, &applied)))
		result = db_problem_set(problem, DB_LATER,
					"%s: migration %d (%s) is to be applied: xdp-recorder migrate", db_where(db),
					m->version, m->name);
	return result;
}
