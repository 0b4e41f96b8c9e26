/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets as documents: sent, refused, read back. Of a batch of buckets only those that job->wanted names. */
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/db/read.h"
#include "recorder/sink/mongo_internal.h"

static int64_t reply_n(const bson_t *reply)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, reply, "n") && BSON_ITER_HOLDS_NUMBER(&it) ? bson_iter_as_int64(&it) : -1;
}

/* Which record of the batch is document `index` of a command: its _id ends with it. */
static bool record_of(const struct command_buffer *buffer, uint32_t index, uint32_t *position)
{
	char path[48];
	bson_subtype_t subtype;
	const uint8_t *id;
	bson_iter_t it, at;
	bson_t command;
	uint32_t len;

	snprintf(path, sizeof(path), "documents.%u._id", index);
	if (!bson_init_static(&command, buffer->data, buffer->len) || !bson_iter_init(&it, &command) ||
	    !bson_iter_find_descendant(&it, path, &at) || !BSON_ITER_HOLDS_BINARY(&at))
		return false;
	bson_iter_binary(&at, &subtype, &len, &id);
	*position = get_be32(id + len - 4);
	return len == PACKET_ID_LEN;
}

/* It stays where it is and is tried again; somebody has to know. */
static void refused(struct mongo *m, struct sink_job *job, struct db_problem *problem)
{
	static struct log_limit limit;
	char name[48], text[sizeof(problem->text)];
	uint32_t position;

	m->refused++;
	days_forget(m->days, job->batch->day); /* perhaps the collection is not what it was */
	name_batch(job->batch, name);
	if (problem->index != DB_NO_INDEX && record_of(job->commands[job->next].buffer, problem->index, &position)) {
		memcpy(text, problem->text, sizeof(text));
		snprintf(problem->text, sizeof(problem->text), "record %u: %.180s", position, text);
	}
	log_limited(&limit, 10, LOG_ERROR, "%s: %s", name, problem->text);
}

/* After an insert that was not acknowledged: where to go on. */
static void after_failure(struct mongo *m, struct sink_job *job, const struct db_client *client,
			  struct db_problem *problem)
{
	if (!client->started_ns)
		return; /* nothing was sent: the same command again */
	if (problem->result == DB_REFUSED)
		refused(m, job, problem);
	drop_commands(m, job);
	job->state = job->late.pending ? WAIT : READ;
}

enum db_result documents_send(struct mongo *m, struct sink_job *job, struct db_client *client,
			      const struct db_peer *peer, uint64_t asked, struct sink_report *report,
			      struct db_problem *problem)
{
	const struct job_command *c = &job->commands[job->next];
	enum db_result result;
	bson_t command, reply;

	if (!bson_init_static(&command, c->buffer->data, c->buffer->len))
		return db_problem_set(problem, DB_FATAL, "a command of %zu bytes is no BSON document", c->buffer->len);
	result = db_command(client, NULL, &command, &reply, problem);
	m->commands++;
	report->commands++;
	if (result == DB_OK && reply_n(&reply) != c->count)
		result = db_problem_set(problem, DB_LATER, "%s: insert: %lld of %u documents acknowledged",
					db_where(m->db), (long long)reply_n(&reply), c->count);
	bson_destroy(&reply);
	if (result == DB_OK) {
		m->documents += c->count;
		m->bytes += c->buffer->len;
		report->inserted += c->count;
		report->latency_ns = clock_boot_ns() - client->started_ns;
		job->next++;
		return DB_OK;
	}
	if (result == DB_UNKNOWN || (result == DB_CANCELLED && client->started_ns))
		late_begin(m, &job->late, client, peer, asked);
	after_failure(m, job, client, problem);
	return result;
}

static void report_twice(struct mongo *m, const struct batch *batch, unsigned twice)
{
	char name[48];

	m->twice += twice;
	name_batch(batch, name);
	log_error("%s: %u documents of %s are stored more than once", db_where(m->db), twice, name);
}

enum db_result documents_read(struct mongo *m, struct sink_job *job, struct db_client *client,
			      struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	CLEANUP_FREE uint8_t *present = malloc(batch->nrecords ? batch->nrecords : 1);
	struct db_peer peer;
	enum db_result result = present ? db_peer(client, &peer, problem)
					: db_problem_set(problem, DB_LATER, "out of memory");
	uint32_t found = 0, missing = 0;
	unsigned twice = 0;

	if (result == DB_OK && (!job->has_peer || !job_is_buckets(job))) /* a batch's buckets went to the first one */
		job->read_peer = peer;
	job->has_peer |= result == DB_OK;
	if (result == DB_OK)
		result = read_batch_positions(client, batch, false, present, batch->nrecords, problem);
	report->commands++;
	if (result != DB_OK)
		return result;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		found += present[i] > 0;
		twice += present[i] > 1;
		present[i] = !present[i] && (!job->wanted || job->wanted[i]); /* from here on: to be inserted */
		missing += present[i];
	}
	if (twice)
		report_twice(m, batch, twice);
	report->found += found;
	m->found += found;
	m->settled++;
	job->was_read = true;
	if (missing) {
		int error = make_documents(m, job, present);
		if (error)
			return db_problem_set(problem, DB_LATER, "cannot encode: %s", strerror(-error));
	}
	job->state = SEND;
	return DB_OK;
}

/* What the primary shows is not yet what a majority has. */
enum db_result documents_verify(struct mongo *m, struct sink_job *job, struct db_client *client,
				struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	CLEANUP_FREE uint8_t *present = malloc(batch->nrecords ? batch->nrecords : 1);
	enum db_result result = present ? read_batch_positions(client, batch, true, present, batch->nrecords, problem)
					: db_problem_set(problem, DB_LATER, "out of memory");

	report->commands++;
	for (uint32_t i = 0; result == DB_OK && i < batch->nrecords; i++)
		if (!present[i] && (!job->wanted || job->wanted[i])) {
			job->state = READ; /* rolled back, or not yet replicated */
			return db_problem_set(problem, DB_LATER, "%s: a majority does not have all documents yet",
					      db_where(m->db));
		}
	if (result == DB_OK)
		job->state = LEDGER;
	return result;
}
