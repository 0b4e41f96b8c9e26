/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buckets and the server. An _id is unique in its collection, so sending again is always safe, and an answer is all that
 * is needed to know what became of a bucket: acknowledged; duplicate key, then what is stored is looked at; refused,
 * then its packets, and only these, become documents. So do those of a bucket whose id somebody else has, where the
 * batch has other buckets: these are there already, a batch under new ids would have them twice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/log.h"
#include "recorder/db/read.h"
#include "recorder/db/read_bucket.h"
#include "recorder/db/translate.h"
#include "recorder/ledger/rows.h"
#include "recorder/sink/mongo_internal.h"

#define UNAUTHORIZED 13
#define ENDED_MOST 3		   /* connections that ended over one command instead of an answer */
#define SILENT_NS (5 * NS_PER_SEC) /* longer is a server that stands still */

/* ---- answers ------------------------------------------------------------------------------------------------- */

/* Of those that nothing was said of yet. */
static struct job_bucket *bucket_at(struct sink_job *job, unsigned command, int64_t index)
{
	for (uint32_t k = 0; k < job->nbuckets; k++)
		if (job->buckets[k].command == command && job->buckets[k].index == index &&
		    job->buckets[k].fate == FATE_SEND && !job->buckets[k].later)
			return &job->buckets[k];
	return NULL;
}

static uint32_t to_send(const struct sink_job *job, unsigned command)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < job->nbuckets; k++)
		n += job->buckets[k].command == command && job->buckets[k].fate == FATE_SEND;
	return n;
}

/* It is looked for before its packets become documents: a smaller version can be there. */
static void refuse(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, const char *text)
{
	static struct log_limit limit;
	char name[48];

	bucket->fate = FATE_REFUSED;
	m->buckets_refused++;
	days_forget(m->days, job->batch->day); /* perhaps the collection is not what it was */
	name_batch(job->batch, name);
	log_limited(&limit, 10, LOG_ERROR, "%s: the server refused bucket %u: %s; its packets are written as documents",
		    name, (unsigned)(bucket - job->buckets), text);
}

static bool is_refusal(enum db_result result, int32_t code)
{
	return result == DB_REFUSED || code == UNAUTHORIZED; /* of raw writes: documents need fewer rights */
}

static int64_t number_of(const bson_t *document, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, document, name) && BSON_ITER_HOLDS_NUMBER(&it) ? bson_iter_as_int64(&it) : -1;
}

/*
 * Fates from the list of errors; returns how many there are, -1 when they cannot be of this command: an index that it does
 * not have, or twice the same. Then what the answer does not name is not believed to be there either.
 */
static int64_t write_errors(struct mongo *m, struct sink_job *job, const bson_t *reply)
{
	bson_iter_t it, error, text;
	uint32_t count = 0, len;
	const uint8_t *data;
	bson_t document;

	if (!bson_iter_init_find(&it, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&it) ||
	    !bson_iter_recurse(&it, &error))
		return 0;
	while (bson_iter_next(&error)) {
		if (!BSON_ITER_HOLDS_DOCUMENT(&error))
			continue;
		bson_iter_document(&error, &len, &data);
		if (!bson_init_static(&document, data, len))
			continue;
		int32_t code = (int32_t)number_of(&document, "code");
		enum db_result result = translate_code(code);
		struct job_bucket *bucket = bucket_at(job, job->next, number_of(&document, "index"));
		if (!bucket)
			return -1;
		count++;
		if (result == DB_DUPLICATE)
			bucket->fate = FATE_ASK;
		else if (!is_refusal(result, code))
			bucket->later = true;
		else
			refuse(m, job, bucket,
			       bson_iter_init_find(&text, &document, "errmsg") && BSON_ITER_HOLDS_UTF8(&text)
				       ? bson_iter_utf8(&text, NULL)
				       : "no text");
	}
	return count;
}

static bool any_later(const struct sink_job *job)
{
	for (uint32_t k = 0; k < job->nbuckets; k++)
		if (job->buckets[k].later)
			return true;
	return false;
}

/* All of a command's buckets of which no error was said. */
static void acknowledged(struct mongo *m, struct sink_job *job, struct sink_report *report)
{
	for (uint32_t k = 0; k < job->nbuckets; k++) {
		struct job_bucket *bucket = &job->buckets[k];
		if (bucket->command != job->next || bucket->fate != FATE_SEND || bucket->later)
			continue;
		bucket->fate = FATE_THERE;
		bucket->read = false;
		m->buckets++;
		m->documents += bucket->packets;
		report->inserted += bucket->packets;
	}
}

static enum db_result answered(struct mongo *m, struct sink_job *job, enum db_result result, const bson_t *reply,
			       struct sink_report *report, struct db_problem *problem)
{
	int64_t count = job->commands[job->next].count, errors, n;
	int32_t code = problem->code;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, reply, "ok") || !bson_iter_as_bool(&it)) { /* the command as a whole */
		if (result != DB_DUPLICATE && !is_refusal(result, result == DB_OK ? 0 : code))
			return result;
		for (uint32_t k = 0; k < job->nbuckets; k++) {
			struct job_bucket *bucket = &job->buckets[k];
			if (bucket->command != job->next || bucket->fate != FATE_SEND)
				continue;
			if (result == DB_DUPLICATE)
				bucket->fate = FATE_ASK;
			else
				refuse(m, job, bucket, problem->text);
		}
		return DB_OK;
	}
	for (uint32_t k = 0; k < job->nbuckets; k++)
		job->buckets[k].later = false;
	errors = write_errors(m, job, reply);
	if (bson_iter_init_find(&it, reply, "writeConcernError"))
		return result == DB_LATER ? result
					  : db_problem_set(problem, DB_LATER, "%s: buckets not acknowledged by the majority",
							   db_where(m->db));
	n = number_of(reply, "n");
	if (errors < 0 || n < 0 || n > count || n + errors != count)
		return db_problem_set(problem, DB_LATER,
				      "%s: an answer that does not fit: %lld of %lld buckets acknowledged", db_where(m->db),
				      (long long)n, (long long)count);
	acknowledged(m, job, report);
	if (any_later(job)) /* the others again */
		return db_problem_set(problem, DB_LATER, "%s: some buckets not now", db_where(m->db));
	return DB_OK;
}

/*
 * A server that has no answer to a damaged column ends the connection; for ever, if it were sent for ever. The buckets of
 * such a command are sent one by one, and what still ends connections counts as refused. A server that is killed at these
 * very moments only gets documents instead of buckets.
 */
static void poisonous(struct mongo *m, struct sink_job *job, struct db_problem *problem)
{
	struct job_command *c = &job->commands[job->next];
	int error = 0;

	if (c->count > 1 && !job->alone) {
		job->alone = true;
		error = make_buckets(m, job);
		if (error) {
			job->alone = false;
			db_problem_set(problem, DB_LATER, "cannot encode: %s", strerror(-error));
		}
		return;
	}
	c->ended = 0;
	for (uint32_t k = 0; k < job->nbuckets; k++)
		if (job->buckets[k].command == job->next && job->buckets[k].fate == FATE_SEND)
			refuse(m, job, &job->buckets[k], "it ends the connection instead of an answer");
}

enum db_result bucket_send(struct mongo *m, struct sink_job *job, struct db_client *client, const struct db_peer *peer,
			   uint64_t asked, struct sink_report *report, struct db_problem *problem)
{
	struct job_command *c = &job->commands[job->next];
	uint32_t live = to_send(job, job->next);
	enum db_result result;
	bson_t command, reply;
	size_t bytes;

	if (live && live != c->count && thin_command(job, job->next))
		return db_problem_set(problem, DB_LATER, "out of memory");
	if (!live) {
		job->next++;
		return DB_OK;
	}
	bytes = c->buffer->len;
	if (!bson_init_static(&command, c->buffer->data, bytes))
		return db_problem_set(problem, DB_FATAL, "a command of %zu bytes is no BSON document", bytes);
	result = db_command(client, NULL, &command, &reply, problem);
	m->commands++;
	report->commands++;
	if (client->started_ns && (result == DB_UNKNOWN || result == DB_CANCELLED)) {
		late_begin(m, &job->late, client, peer, asked); /* only documents have to wait for it */
		if (result == DB_UNKNOWN && clock_boot_ns() - client->started_ns < SILENT_NS && ++c->ended >= ENDED_MOST)
			poisonous(m, job, problem);
	} else if (client->started_ns ? result != DB_UNREACHABLE : result == DB_REFUSED) { /* or too large to be sent */
		result = answered(m, job, result, &reply, report, problem);
		if (result == DB_OK) {
			m->bytes += bytes;
			report->latency_ns = clock_boot_ns() - client->started_ns;
			job->next++;
		}
	}
	bson_destroy(&reply);
	return result;
}

/* ---- what is there already ----------------------------------------------------------------------------------- */

uint8_t *bucket_wanted_room(struct sink_job *job)
{
	if (!job->wanted)
		job->wanted = calloc(job->batch->nrecords + 1, 1);
	return job->wanted;
}

static void there(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, struct sink_report *report)
{
	bucket->fate = FATE_THERE;
	bucket->read = job->was_read = true;
	report->found += bucket->packets;
	m->found += bucket->packets;
	m->buckets_there++;
}

/* Others have its id. */
static void clash(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, struct db_problem *problem)
{
	char name[48];

	m->clashes++;
	name_batch(job->batch, name);
	db_problem_set(problem, DB_DUPLICATE, "%s: another bucket has the id of bucket %u of %s", db_where(m->db),
		       (unsigned)(bucket - job->buckets), name);
	log_error("%s", problem->text);
	if (job->nbuckets == 1)
		job->state = CLASHED;
	else
		bucket->fate = FATE_DOCUMENTS;
}

/* A duplicate key, and not the same bytes. */
static int judge_duplicate(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, const struct overlap *o,
			   struct sink_report *report, struct db_problem *problem)
{
	bool same = o->common == o->ours && o->common == o->stored;
	bool newer = o->common == o->ours && o->common < o->stored; /* ours is an older version */
	bool older = o->common < o->ours && o->common == o->stored;

	if (same || (newer && job->batch->open)) {
		there(m, job, bucket, report);
	} else if (older && job->nbuckets == 1) {
		if (job->update) { /* it was smaller a moment ago already: the same update again, but not for ever */
			bucket->fate = ++job->smaller < ENDED_MOST ? FATE_SEND : FATE_REFUSED;
			job->next = 0;
			return 0;
		}
		job->update = true;
		return make_buckets(m, job);
	} else {
		clash(m, job, bucket, problem);
	}
	return 0;
}

/* A refused one: what of it is there? The rest becomes documents. */
static int judge_refused(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, const struct overlap *o,
			 struct sink_report *report)
{
	if (o->common != o->stored || !o->stored) { /* not of ours */
		bucket->fate = FATE_DOCUMENTS;
		return 0;
	}
	if (o->common == o->ours) {
		there(m, job, bucket, report);
		return 0;
	}
	if (!bucket_wanted_room(job))
		return -ENOMEM;
	for (size_t i = 0; i < o->ours - o->common; i++)
		job->wanted[o->rest[i]] = 1;
	bucket->fate = FATE_DOCUMENTS;
	bucket->part = true;
	return 0;
}

struct job_bucket *bucket_to_ask(struct sink_job *job)
{
	for (uint32_t k = 0; k < job->nbuckets; k++)
		if (job->buckets[k].fate == FATE_ASK || job->buckets[k].fate == FATE_REFUSED)
			return &job->buckets[k];
	return NULL;
}

enum db_result bucket_ask(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, struct db_client *client,
			  struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	struct overlap o = {0};
	char collection[DAYS_NAME];
	bson_t stored, mine;
	bool found = false;
	int error = 0;
	enum db_result result;

	if (bucket->fate == FATE_REFUSED && batch->open) {
		job->state = CLOSE; /* as documents its packets would need the positions of the closed batch */
		return DB_OK;
	}
	days_collection(collection, "packets", batch->day);
	result = job->has_peer ? DB_OK : db_peer(client, &job->read_peer, problem);
	job->has_peer |= result == DB_OK;
	if (result != DB_OK)
		return result;
	result = read_bucket_raw(client, collection, bucket->id, batch->raw, &stored, &found, problem);
	report->commands++;
	if (result != DB_OK)
		return result;
	if (!found) {
		if (bucket->fate == FATE_REFUSED) {
			bucket->fate = FATE_DOCUMENTS;
			return DB_OK;
		}
		bucket->fate = FATE_SEND;
		if (bucket->command < job->next)
			job->next = bucket->command;
		return db_problem_set(problem, DB_LATER, "%s: a bucket is there, but a majority does not have it yet",
				      db_where(m->db));
	}
	if (bucket->fate == FATE_ASK && bucket_in_command(job, bucket, &mine) && bson_equal(&mine, &stored)) {
		there(m, job, bucket, report);
	} else {
		error = overlap_of(m, job, (uint32_t)(bucket - job->buckets), &stored, &o);
		if (error == -EBADMSG) {
			o.stored = 1; /* something of others */
			o.common = 0;
			error = 0;
		}
		if (!error)
			error = bucket->fate == FATE_ASK ? judge_duplicate(m, job, bucket, &o, report, problem)
							 : judge_refused(m, job, bucket, &o, report);
		free(o.rest);
	}
	bson_destroy(&stored);
	return error ? db_problem_set(problem, DB_LATER, "cannot compare a bucket: %s", strerror(-error)) : DB_OK;
}

/* ---- documents of refused buckets ---------------------------------------------------------------------------- */

enum db_result bucket_look(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			   struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	struct bucket_form form = job_form(job);
	CLEANUP_FREE uint8_t *present = malloc(batch->nrecords + 1);
	struct bucket_maker *maker;
	enum db_result result = present ? read_batch_positions(client, batch, false, present, batch->nrecords, problem)
					: db_problem_set(problem, DB_LATER, "out of memory");

	report->commands++;
	if (result != DB_OK)
		return result;
	if (memchr(present, 1, batch->nrecords) || memchr(present, 2, batch->nrecords)) {
		maker = maker_take(m);
		if (!maker || bucket_plan(maker, batch, job->ends, &form) < 0) {
			maker_give(m, maker);
			return db_problem_set(problem, DB_LATER, "out of memory");
		}
		for (uint32_t k = 0; k < job->nbuckets; k++) {
			uint32_t count;
			const uint32_t *position = bucket_positions(maker, k, &count);
			for (uint32_t i = 0; i < count; i++)
				if (present[position[i]])
					job->buckets[k].fate = FATE_REFUSED;
		}
		maker_give(m, maker);
	}
	return mixed_look(job, client, report, problem);
}

int bucket_wanted(struct mongo *m, struct sink_job *job)
{
	struct bucket_form form = job_form(job);
	struct bucket_maker *maker;
	bool any = false;
	int error;

	for (uint32_t k = 0; k < job->nbuckets; k++)
		any |= job->buckets[k].fate == FATE_DOCUMENTS;
	job->nwanted = 0;
	if (!any && !job->mixed)
		return 0;
	maker = bucket_wanted_room(job) ? maker_take(m) : NULL;
	error = maker ? bucket_plan(maker, job->batch, job->ends, &form) : -ENOMEM;
	for (uint32_t k = 0; error >= 0 && k < job->nbuckets; k++) {
		uint32_t count;
		const uint32_t *position = bucket_positions(maker, k, &count);
		if (job->buckets[k].fate == FATE_DOCUMENTS && !job->buckets[k].part)
			for (uint32_t i = 0; i < count; i++)
				job->wanted[position[i]] = 1;
	}
	maker_give(m, maker);
	for (uint32_t i = 0; error >= 0 && i < job->batch->nrecords; i++)
		job->nwanted += job->wanted[i];
	return error < 0 ? error : 0;
}

/* ---- ledger --------------------------------------------------------------------------------------------------- */

_Static_assert(LEDGER_BUCKET_ID_LEN == BUCKET_ID_LEN, "the ledger names buckets by their _ids");

bool bucket_ledger(const struct sink_job *job, bson_t *entry)
{
	CLEANUP_FREE uint8_t *ids = malloc((size_t)job->nbuckets * BUCKET_ID_LEN + 1);
	size_t n = 0;

	for (uint32_t k = 0; ids && k < job->nbuckets; k++)
		if (job->buckets[k].fate == FATE_THERE || job->buckets[k].part)
			memcpy(ids + n++ * BUCKET_ID_LEN, job->buckets[k].id, BUCKET_ID_LEN);
	if (ids)
		ledger_buckets(entry, ids, n, job->nwanted + job->others);
	return ids;
}
