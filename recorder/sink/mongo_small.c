/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small documents: each replaces the one with its _id, so all of it can be done again. */
#include "recorder/sink/mongo_internal.h"

#include <stdio.h>
#include <time.h>

#include "recorder/core/log.h"

/* Of one command, so that it stays far below maxTimeMS: an update costs the server ten times what an insert does. */
#define DOCUMENTS_MOST 1000u
#define INSERTS_MOST 10000u
#define BYTES_MOST (4u << 20)

/* {q: {_id}, u: document, upsert: true}; false when it has no _id. */
static bool append_update(bson_t *updates, uint32_t index, const bson_t *document)
{
	bson_t update, q;
	const char *key;
	bson_iter_t id;
	char text[16];

	if (!bson_iter_init_find(&id, document, "_id"))
		return false;
	bson_uint32_to_string(index, &key, text, sizeof(text));
	BSON_APPEND_DOCUMENT_BEGIN(updates, key, &update);
	BSON_APPEND_DOCUMENT_BEGIN(&update, "q", &q);
	bson_append_iter(&q, NULL, -1, &id);
	bson_append_document_end(&update, &q);
	BSON_APPEND_DOCUMENT(&update, "u", document);
	BSON_APPEND_BOOL(&update, "upsert", true);
	bson_append_document_end(updates, &update);
	return true;
}

/*
 * Sends a write of `count` small documents. Written is what the answer counts, whatever else it says: one that does not count
 * them all is as good as none.
 */
static enum db_result write_counted(struct db_client *client, const bson_t *command, size_t count, struct db_problem *problem)
{
	bson_t reply;
	bson_iter_t it;
	enum db_result result = db_command(client, NULL, command, &reply, problem);
	int64_t n = -1;

	if (result == DB_OK && bson_iter_init_find(&it, &reply, "n") && BSON_ITER_HOLDS_NUMBER(&it))
		n = bson_iter_as_int64(&it);
	if (result == DB_OK && n != (int64_t)count)
		result = db_problem_set(problem, DB_UNKNOWN, "%s: an answer that does not fit: %lld of %zu small documents acknowledged",
					db_where(client->db), (long long)n, count);
	bson_destroy(&reply);
	return result;
}

enum db_result small_replace(struct db_client *client, const char *collection, const bson_t *const *documents,
			     size_t count, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, updates;
	bool sound = true;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "update", collection);
	BSON_APPEND_ARRAY_BEGIN(&command, "updates", &updates);
	for (size_t i = 0; sound && i < count; i++)
		sound = append_update(&updates, (uint32_t)i, documents[i]);
	bson_append_array_end(&command, &updates);
	db_append_write_concern(&command);
	result = sound ? write_counted(client, &command, count, problem)
		       : db_problem_set(problem, DB_FATAL, "a document for %s has no _id", collection);
	bson_destroy(&command);
	/* Two upserts of one _id at the same time: the other one was faster, and ours comes again. */
	return result == DB_DUPLICATE ? (problem->result = DB_LATER) : result;
}

static enum db_result insert_new(struct db_client *client, const char *collection, const bson_t *const *documents,
				 size_t count, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, list;
	enum db_result result;
	const char *key;
	char text[16];

	BSON_APPEND_UTF8(&command, "insert", collection);
	BSON_APPEND_BOOL(&command, "ordered", false);
	db_append_write_concern(&command);
	BSON_APPEND_ARRAY_BEGIN(&command, "documents", &list);
	for (size_t i = 0; i < count; i++) {
		bson_uint32_to_string((uint32_t)i, &key, text, sizeof(text));
		BSON_APPEND_DOCUMENT(&list, key, documents[i]);
	}
	bson_append_array_end(&command, &list);
	result = write_counted(client, &command, count, problem);
	bson_destroy(&command);
	return result;
}

static enum db_result delete_range(struct db_client *client, const char *collection, const bson_value_t *from,
				   const bson_value_t *to, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, deletes, one, q, range;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "delete", collection);
	BSON_APPEND_ARRAY_BEGIN(&command, "deletes", &deletes);
	BSON_APPEND_DOCUMENT_BEGIN(&deletes, "0", &one);
	BSON_APPEND_DOCUMENT_BEGIN(&one, "q", &q);
	BSON_APPEND_DOCUMENT_BEGIN(&q, "_id", &range);
	BSON_APPEND_VALUE(&range, "$gt", from);
	BSON_APPEND_VALUE(&range, "$lte", to);
	bson_append_document_end(&q, &range);
	bson_append_document_end(&one, &q);
	BSON_APPEND_INT32(&one, "limit", 0);
	bson_append_document_end(&deletes, &one);
	bson_append_array_end(&command, &deletes);
	db_append_write_concern(&command);
	result = db_command(client, NULL, &command, NULL, problem);
	bson_destroy(&command);
	return result;
}

/*
 * An event never changes, so a late one does no harm. A late row of the balance or a late sensor could come back over
 * what was written after it: none is written while one may be on its way.
 */
static bool changes(const char *family)
{
	return strcmp(family, "events") != 0;
}

static enum db_result put_late_wait(struct mongo *m, uint64_t *again, struct db_problem *problem)
{
	struct late late;
	enum db_result result;

	pthread_mutex_lock(&m->lock);
	late = m->put_late;
	pthread_mutex_unlock(&m->lock);
	result = late_wait(m, &late, again, problem);
	pthread_mutex_lock(&m->lock);
	if (m->put_late.since == late.since) /* else there is a newer one */
		m->put_late = late;
	else if (result == DB_OK)
		result = db_problem_set(problem, DB_LATER, "%s: another small document was not answered",
					db_where(m->db));
	pthread_mutex_unlock(&m->lock);
	return result;
}

/* What one call of `put` or `put_many` is to do. */
struct puts {
	const char *family;
	uint32_t day;
	const bson_t *const *documents;
	size_t count;
	const bson_value_t *drop_from, *drop_to;
};

/* Summaries of floods come by the ten thousand, and are there already only when they are given again. */
static bool mostly_new(const struct puts *puts)
{
	return !strcmp(puts->family, "floods");
}

/* As many of them as one command takes; at least one. */
static size_t piece(const struct puts *puts, size_t from)
{
	size_t bytes = 0, n = 0, most = mostly_new(puts) ? INSERTS_MOST : DOCUMENTS_MOST;

	while (from + n < puts->count && n < most && (!n || bytes + puts->documents[from + n]->len <= BYTES_MOST))
		bytes += puts->documents[from + n++]->len;
	return n;
}

/* Of new ones some were there: given again, or by a call that had no time for all of them. */
static enum db_result replace_piece(struct db_client *client, const char *name, const bson_t *const *documents, size_t count,
				    struct sink_report *report, struct db_problem *problem)
{
	enum db_result result = DB_OK;

	for (size_t from = 0, n; result == DB_OK && from < count; from += n) {
		n = count - from < DOCUMENTS_MOST ? count - from : DOCUMENTS_MOST;
		result = small_replace(client, name, documents + from, n, problem);
		report->commands++;
	}
	return result;
}

static enum db_result replace_all(struct db_client *client, const char *name, const struct puts *puts,
				  struct sink_report *report, struct db_problem *problem)
{
	enum db_result result = DB_OK;

	for (size_t from = 0, n; result == DB_OK && from < puts->count; from += n) {
		n = piece(puts, from);
		result = mostly_new(puts) ? insert_new(client, name, puts->documents + from, n, problem) : DB_DUPLICATE;
		report->commands += mostly_new(puts);
		if (result == DB_DUPLICATE)
			result = replace_piece(client, name, puts->documents + from, n, report, problem);
		if (result == DB_OK) {
			report->inserted += (uint32_t)n;
			report->latency_ns = clock_boot_ns() - client->started_ns;
		}
	}
	return result;
}

/* Until what was acknowledged is believed; who perhaps stood still is asked once more (mongo.c). */
static enum db_result linger(struct mongo *m, struct db_client *client, const struct db_peer *peer, struct db_problem *problem)
{
	enum db_result result = DB_OK;
	bool stood = true;

	for (unsigned n = 0; result == DB_OK && stood && n < 2; n++) {
		nanosleep(&(struct timespec){.tv_nsec = LINGER_MS * 1000000l}, NULL);
		result = late_lives_on(m, client, peer, &stood, problem);
	}
	return result;
}

static enum db_result put_once(struct mongo *m, struct db_client *client, const struct puts *puts,
			       struct sink_report *report, struct db_problem *problem)
{
	char name[DAYS_NAME];
	struct db_peer peer;
	struct late late;
	uint64_t asked;
	enum db_result result = puts->day ? days_need(m->days, client, puts->day, problem) : DB_OK;

	if (result != DB_OK)
		return result;
	if (puts->day)
		days_collection(name, puts->family, puts->day);
	else
		snprintf(name, sizeof(name), "%s", puts->family);
	asked = clock_boot_ns();
	result = db_peer(client, &peer, problem);
	if (result == DB_OK && puts->drop_from && puts->drop_to) {
		result = delete_range(client, name, puts->drop_from, puts->drop_to, problem);
		report->commands++;
	}
	if (result == DB_OK)
		result = replace_all(client, name, puts, report, problem);
	if (result == DB_OK && peer.kind == DB_STANDALONE && peer.has_process) {
		result = linger(m, client, &peer, problem);
	} else if (result == DB_UNKNOWN && changes(puts->family)) {
		late_begin(m, &late, client, &peer, asked);
		pthread_mutex_lock(&m->lock);
		m->put_late = late;
		pthread_mutex_unlock(&m->lock);
	}
	return result;
}

/* The retries of these are not counted by a job: the pause is always the same. */
static enum sink_outcome outcome_of(enum db_result result, uint64_t again, const struct db_problem *problem,
				    struct sink_report *report)
{
	if (result == DB_OK)
		return SINK_SETTLED;
	snprintf(report->problem, sizeof(report->problem), "%s", problem->text);
	if (result == DB_CANCELLED)
		return SINK_ENDED;
	report->again_ns = again ? again : clock_boot_ns() + NS_PER_SEC;
	report->waiting = again;
	report->refused = result == DB_REFUSED || result == DB_FATAL;
	return SINK_AGAIN;
}

static enum sink_outcome put(struct sink *sink, const struct puts *puts, struct sink_report *report)
{
	struct mongo *m = mongo_of(sink);
	struct db_problem problem = {0};
	struct db_client client;
	enum db_result result;
	uint64_t again = 0;

	memset(report, 0, sizeof(*report));
	result = db_client_pop(m->db, &client, &problem);
	client.until_ns = clock_boot_ns() + PATIENCE_NS;
	if (m->hasty)
		client.give_up_ns = clock_boot_ns() + 2 * NS_PER_SEC + puts->count * 2000000ull;
	if (result == DB_OK && changes(puts->family))
		result = put_late_wait(m, &again, &problem);
	if (result == DB_OK)
		result = put_once(m, &client, puts, report, &problem);
	db_client_done(&client);
	return outcome_of(result, again, &problem, report);
}

enum sink_outcome small_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
			    const bson_value_t *drop_from, const bson_value_t *drop_to, struct sink_report *report)
{
	struct puts one = {family, day, &document, 1, drop_from, drop_to};

	return put(sink, &one, report);
}

enum sink_outcome small_put_many(struct sink *sink, const char *family, uint32_t day, const bson_t *const *documents,
				 size_t count, struct sink_report *report)
{
	struct puts many = {family, day, documents, count, NULL, NULL};

	return put(sink, &many, report);
}

enum sink_outcome small_prepare_days(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report)
{
	struct db_problem problem = {0};
	enum db_result result;

	memset(report, 0, sizeof(*report));
	result = days_prepare(mongo_of(sink)->days, first, last, &problem);
	return outcome_of(result, 0, &problem, report);
}
