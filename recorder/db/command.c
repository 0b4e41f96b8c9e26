/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.c - one command and its answer, or a cursor's answers one after the other. */
#include "recorder/db/connect_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"
#include "recorder/db/translate.h"

bool db_is_late(const struct db_client *client)
{
	return client->until_ns && clock_boot_ns() > client->until_ns;
}

enum db_result db_say_slow(struct db *db, struct db_problem *problem)
{
	return db_problem_set(problem, DB_LATER, "%s: answers slowly", db->where);
}

static const char *command_name(const bson_t *command)
{
	bson_iter_t it;

	return bson_iter_init(&it, command) && bson_iter_next(&it) ? bson_iter_key(&it) : "?";
}

/* A path that is no socket is a mistake that libmongoc has no words for. */
static void explain_socket(const struct db *db, struct db_problem *problem)
{
	const mongoc_host_list_t *host = mongoc_uri_get_hosts(db->uri);
	struct stat st;

	if (problem->result != DB_UNREACHABLE || !host || host->family != AF_UNIX)
		return;
	if (stat(host->host, &st))
		db_problem_set(problem, DB_UNREACHABLE, "%s: no server: %s: %s", db->where, host->host,
			       strerror(errno));
	else if (!S_ISSOCK(st.st_mode))
		db_problem_set(problem, DB_UNREACHABLE, "%s: %s is no socket", db->where, host->host);
}

enum db_result db_failed(struct db_client *client, const char *what, bson_error_t *error, const bson_t *reply,
			     struct db_problem *problem)
{
	struct db *db = client->db;

	client->broken |= !reply || bson_empty(reply) || error->domain != MONGOC_ERROR_SERVER;
	if (guard_reason() && client->broken)
		snprintf(error->message, sizeof(error->message), "%s", guard_reason());
	translate_error(db->where, what, error, reply, client->started_ns != 0, problem);
	explain_socket(db, problem);
	return db->guard.cancelled ? db_say_cancelled(db, problem) : problem->result;
}

enum db_result db_command(struct db_client *client, const char *database, const bson_t *command, bson_t *reply,
			  struct db_problem *problem)
{
	struct db *db = client->db;
	const char *what = command_name(command);
	bson_error_t error = {0};
	enum db_result result;
	bson_t own;
	bool ok;

	if (!reply)
		reply = &own;
	client->started_ns = 0;
	if (db->guard.cancelled || db_is_late(client)) {
		bson_init(reply);
		result = db->guard.cancelled ? db_say_cancelled(db, problem) : db_say_slow(db, problem);
		goto done;
	}
	guard_reset();
	guard_give_up(client->give_up_ns);
	db_under_way = client;
	ok = mongoc_client_command_simple(client->client, database ? database : db->name, command, NULL, reply, &error);
	db_under_way = NULL;
	guard_give_up(0);
	if (ok)
		result = translate_reply(db->where, what, reply, problem);
	else
		result = db_failed(client, what, &error, reply, problem);
done:
	if (reply == &own)
		bson_destroy(&own);
	return result;
}

enum db_result db_run(struct db *db, const char *database, const bson_t *command, bson_t *reply,
		      struct db_problem *problem)
{
	struct db_client client;
	enum db_result result = db_client_pop(db, &client, problem);

	if (result != DB_OK) {
		if (reply)
			bson_init(reply);
		return result;
	}
	result = db_command(&client, database, command, reply, problem);
	db_client_done(&client);
	return result;
}

/* One answer with a cursor. `next` gets the cursor's id (0 = finished), `ns` its collection. */
static enum db_result hand_out(struct db_client *client, const bson_t *reply, db_document *each, void *arg,
			       int64_t *next, char *ns, size_t ns_size, bool *stopped, struct db_problem *problem)
{
	bson_iter_t it, field, batch;

	*next = 0;
	if (!bson_iter_init_find(&it, reply, "cursor") || !BSON_ITER_HOLDS_DOCUMENT(&it) ||
	    !bson_iter_recurse(&it, &field))
		return db_problem_set(problem, DB_UNKNOWN, "%s: an answer without cursor", client->db->where);
	while (bson_iter_next(&field)) {
		const char *key = bson_iter_key(&field);
		if (!strcmp(key, "id"))
			*next = bson_iter_as_int64(&field);
		else if (!strcmp(key, "ns") && BSON_ITER_HOLDS_UTF8(&field))
			snprintf(ns, ns_size, "%s", bson_iter_utf8(&field, NULL));
		else if ((!strcmp(key, "firstBatch") || !strcmp(key, "nextBatch")) && BSON_ITER_HOLDS_ARRAY(&field) &&
			 bson_iter_recurse(&field, &batch)) {
			while (!*stopped && bson_iter_next(&batch)) {
				const uint8_t *data;
				uint32_t len;
				bson_t doc;
				if (!BSON_ITER_HOLDS_DOCUMENT(&batch))
					continue;
				bson_iter_document(&batch, &len, &data);
				if (bson_init_static(&doc, data, len) && !each(arg, &doc))
					*stopped = true;
			}
		}
	}
	return DB_OK;
}

enum db_result db_each(struct db_client *client, const char *database, const bson_t *command, db_document *each,
		       void *arg, struct db_problem *problem)
{
	char ns[256] = "";
	int64_t cursor = 0;
	bool stopped = false;
	bson_t reply, more;
	enum db_result result = db_command(client, database, command, &reply, problem);

	if (result == DB_OK)
		result = hand_out(client, &reply, each, arg, &cursor, ns, sizeof(ns), &stopped, problem);
	bson_destroy(&reply);
	while (result == DB_OK && cursor) {
		const char *collection = strchr(ns, '.');
		bson_init(&more);
		if (stopped) {
			BSON_APPEND_UTF8(&more, "killCursors", collection ? collection + 1 : "");
			bson_t *cursors = BCON_NEW("0", BCON_INT64(cursor));
			BSON_APPEND_ARRAY(&more, "cursors", cursors);
			bson_destroy(cursors);
		} else {
			BSON_APPEND_INT64(&more, "getMore", cursor);
			BSON_APPEND_UTF8(&more, "collection", collection ? collection + 1 : "");
		}
		result = db_command(client, database, &more, &reply, problem);
		cursor = 0;
		if (stopped)
			result = DB_OK; /* the server forgets it by itself in the end */
		else if (result == DB_OK)
			result = hand_out(client, &reply, each, arg, &cursor, ns, sizeof(ns), &stopped, problem);
		bson_destroy(&more);
		bson_destroy(&reply);
	}
	return result;
}

void db_append_write_concern(bson_t *command)
{
	bson_t concern;

	BSON_APPEND_DOCUMENT_BEGIN(command, "writeConcern", &concern);
	BSON_APPEND_UTF8(&concern, "w", "majority");
	BSON_APPEND_BOOL(&concern, "j", true);
	bson_append_document_end(command, &concern);
	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
}
