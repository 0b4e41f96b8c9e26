/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a batch are in mongo.h. Three rules make each of them safe:
 *
 * - Nothing is inserted while a former insert of the same documents may still be on its way. An answer of any kind ends
 *   a command. Without one it may lie in the socket buffer of a server that stands still; it is over DB_MAX_TIME_MS
 *   after the server goes on reading, which it does at the latest when it answers on a new connection.
 * - What was found by reading is not yet known to last: it is journalled by the ledger entry's write, which comes after
 *   it in the same journal, if the server process is the same at both times (standalone); or it is read once more with
 *   the majority's eyes (replica set, sharded cluster).
 * - Acknowledged by one process is not believed before that process has lived on for LINGER_MS. A standalone server's
 *   answer to {j: true} is a promise about its own journal, and the local engine breaks it. After kill -9 it had
 *   forgotten 25 of 11,839 acknowledged upserts, and 9 of 3,245 inserts into a time series (where several share a
 *   bucket, one writes for all), all of the last milliseconds: 26 at most where it was measured. So a batch is settled
 *   a moment later, and once more a moment later if the process took its time to say so (stopped, it did not live on); if the
 *   process changed meanwhile, it is read back. A replica set's majority needs none of this.
 */
#include "recorder/sink/mongo_internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/ledger/rows.h"

#define COMMAND_BYTES (1u << 20)
#define LATE_MS (DB_MAX_TIME_MS + 2000u)
#define RETRY_MOST_NS (5 * NS_PER_SEC)
#define RETRY_CONNECT_NS (NS_PER_SEC / 2) /* most where nobody is asked to do anything */

_Static_assert(PATIENCE_NS + CONNECT_BOUND_S * NS_PER_SEC + 2 * LINGER_MS * 1000000ull <= SINK_BOUND_S * NS_PER_SEC, "a call stays within its bound");

/* ---- writing a batch --------------------------------------------------------------------------------------- */

static uint64_t backed_off(unsigned failures, enum db_result result)
{
	uint64_t most = result == DB_UNREACHABLE ? RETRY_CONNECT_NS : RETRY_MOST_NS;
	unsigned shift = failures > 6 ? 6 : failures ? failures - 1 : 0;
	uint64_t pause = RETRY_LEAST_NS << shift;

	return clock_boot_ns() + (pause > most ? most : pause);
}

static enum db_result send_next(struct mongo *m, struct sink_job *job, struct db_client *client,
				struct sink_report *report, struct db_problem *problem)
{
	struct db_peer peer;
	enum db_result result = days_need(m->days, client, job->batch->day, problem);
	uint64_t asked = clock_boot_ns();

	if (result == DB_OK)
		result = db_peer(client, &peer, problem);
	if (result != DB_OK)
		return result;
	if (!job->has_peer)
		job->read_peer = peer;
	job->has_peer = true;
	return job->of_buckets ? bucket_send(m, job, client, &peer, asked, report, problem)
			       : documents_send(m, job, client, &peer, asked, report, problem);
}

/*
 * All has to be written or looked for once more: what was acknowledged may be gone. Buckets are simply sent again; what
 * became of them is known then, and documents are read back after that.
 */
static enum db_result begin_again(struct mongo *m, struct sink_job *job, struct db_problem *problem)
{
	int error = 0;

	job->has_peer = false;
	if (job->batch->foreign) {
		job->state = FOREIGN;
		drop_commands(m, job);
		return DB_OK;
	}
	job->state = !job_is_buckets(job) ? READ : job->mixed ? MIXED : SEND;
	for (uint32_t k = 0; k < job->nbuckets; k++)
		if (job->buckets[k].part) { /* the smaller version may be gone too */
			job->buckets[k].part = false;
			job->buckets[k].fate = FATE_REFUSED;
		}
	rest_free(job->rest);
	job->rest = NULL;
	job->looked = 0;
	if (job->wanted)
		memset(job->wanted, 0, job->batch->nrecords);
	if (job_is_buckets(job) && !job->batch->there)
		error = make_buckets(m, job);
	return error ? db_problem_set(problem, DB_LATER, "cannot encode: %s", strerror(-error)) : DB_OK;
}

static enum db_result write_ledger(struct mongo *m, struct sink_job *job, struct db_client *client,
				   struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	char packets[DAYS_NAME], batches[DAYS_NAME];
	bool confirm;
	bson_t entry = BSON_INITIALIZER;
	const bson_t *only = &entry;
	enum db_result result = days_need(m->days, client, batch->day, problem);

	if (result == DB_OK && !job->has_peer)
		result = db_peer(client, &job->read_peer, problem);
	job->has_peer |= result == DB_OK;
	confirm = job->read_peer.kind == DB_STANDALONE && (job->was_read || job->read_peer.has_process);
	if (result == DB_OK && !batch->open) {
		days_collection(packets, "packets", batch->day);
		days_collection(batches, "batches", batch->day);
		ledger_document(&entry, batch, packets);
		result = job_is_buckets(job) && !bucket_ledger(job, &entry)
				 ? db_problem_set(problem, DB_LATER, "out of memory")
				 : small_replace(client, batches, &only, 1, problem);
		report->commands++;
	}
	bson_destroy(&entry);
	if (result == DB_OK) {
		if (!batch->open)
			report->latency_ns = clock_boot_ns() - client->started_ns;
		job->state = confirm ? CONFIRM : DONE;
		job->confirm_at = clock_boot_ns() + LINGER_MS * 1000000ull;
		job->stood_once = false;
	} else if (confirm && client->started_ns) { /* no need to wait: an entry is the same however often it is written */
		struct db_problem other;
		if (begin_again(m, job, &other) != DB_OK)
			*problem = other;
	}
	return result;
}

/* LINGER_MS after the ledger's answer. No thread waits for it: the loop calls again. */
static enum db_result confirm(struct mongo *m, struct sink_job *job, struct db_client *client, uint64_t *again,
			      struct db_problem *problem)
{
	struct db_problem other;
	enum db_result result = DB_OK;
	bool stood = false;

	if (clock_boot_ns() >= job->confirm_at) {
		result = late_lives_on(m, client, &job->read_peer, &stood, problem);
		if (stood && !job->stood_once)
			job->confirm_at = clock_boot_ns() + LINGER_MS * 1000000ull;
		job->stood_once |= stood;
	}
	if (result == DB_OK && clock_boot_ns() < job->confirm_at) {
		*again = job->confirm_at;
		return db_problem_set(problem, DB_LATER, "%s: acknowledged, to be confirmed", db_where(m->db));
	}
	if (result == DB_OK)
		job->state = DONE;
	else if (begin_again(m, job, &other) != DB_OK)
		*problem = other;
	return result;
}

/* Before anything is read that decides what becomes a document. */
static void inherit(struct mongo *m, struct sink_job *job)
{
	if (job->batch->attempted && !job->inherited && !job->late.pending)
		late_inherit(m, &job->late);
	job->inherited = true;
}

/*
 * A refused bucket is looked for when nothing can come any more of commands that had it: one without an answer that the server
 * takes in the end would be there beside the documents.
 */
static enum db_result ask(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, struct db_client *client,
			  struct sink_report *report, uint64_t *again, struct db_problem *problem)
{
	enum db_result result = DB_OK;

	if (bucket->fate == FATE_REFUSED && !job->batch->open) {
		inherit(m, job);
		result = late_wait(m, &job->late, again, problem);
	}
	return result == DB_OK ? bucket_ask(m, job, bucket, client, report, problem) : result;
}

static enum db_result mix(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			  uint64_t *again, struct db_problem *problem)
{
	enum db_result result;

	inherit(m, job);
	result = late_wait(m, &job->late, again, problem);
	return result == DB_OK ? mixed_read(m, job, client, report, problem) : result;
}

/* All commands were answered. */
static enum db_result sent(struct mongo *m, struct sink_job *job, struct db_problem *problem)
{
	int error = 0;

	if (job->of_buckets) { /* else they are the documents of refused buckets already */
		error = bucket_wanted(m, job);
		if (error)
			return db_problem_set(problem, DB_LATER, "cannot encode: %s", strerror(-error));
		if (job->nwanted) {
			drop_commands(m, job);
			job->of_buckets = false;
			inherit(m, job);
			job->state = WAIT;
			return DB_OK;
		}
	}
	drop_commands(m, job);
	job->state = job->was_read && job->read_peer.kind != DB_STANDALONE && (!job_is_buckets(job) || job->nwanted)
			     ? VERIFY
			     : LEDGER;
	return DB_OK;
}

static enum db_result advance(struct mongo *m, struct sink_job *job, struct db_client *client,
			      struct sink_report *report, uint64_t *again, struct db_problem *problem)
{
	struct job_bucket *bucket;

	switch (job->state) {
	case LOOK:
		return bucket_look(m, job, client, report, problem);
	case MIXED:
		return mix(m, job, client, report, again, problem);
	case SEND:
		bucket = job->of_buckets ? bucket_to_ask(job) : NULL;
		return bucket		       ? ask(m, job, bucket, client, report, again, problem)
		       : job->next < job->count ? send_next(m, job, client, report, problem)
						: sent(m, job, problem);
	case WAIT: {
		enum db_result result = late_wait(m, &job->late, again, problem);
		if (result == DB_OK)
			job->state = job->batch->foreign && !job->compared ? FOREIGN : READ;
		return result;
	}
	case FOREIGN:
		return foreign_read(m, job, client, report, problem);
	case READ:
		return documents_read(m, job, client, report, problem);
	case VERIFY:
		return documents_verify(m, job, client, report, problem);
	case LEDGER:
		return write_ledger(m, job, client, report, problem);
	case CONFIRM:
		return confirm(m, job, client, again, problem);
	case DONE:
	case CLASHED:
	case CLOSE:
		break;
	}
	return DB_OK;
}

/* The first call for a job. */
static void begin(struct mongo *m, struct sink_job *job)
{
	if (!job->batch->attempted || job->batch->there)
		return;
	if (job_is_buckets(job) && !job->batch->foreign) {
		job->state = LOOK;
		return;
	}
	drop_commands(m, job);
	late_inherit(m, &job->late);
	job->state = WAIT;
}

static enum sink_outcome mongo_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	struct mongo *m = mongo_of(sink);
	uint64_t began = clock_boot_ns(), again = 0;
	struct db_problem problem = {0};
	struct db_client client;
	enum db_result result;
	enum state before;

	memset(report, 0, sizeof(*report));
	if (!job->begun)
		begin(m, job);
	job->begun = true;
	before = job->state;
	result = db_client_pop(m->db, &client, &problem);
	client.until_ns = began + PATIENCE_NS;
	if (job->batch->patience_ms)
		client.give_up_ns = began + job->batch->patience_ms * 1000000ull;
	while (result == DB_OK && job->state < DONE && clock_boot_ns() - began < PATIENCE_NS)
		result = advance(m, job, &client, report, &again, &problem);
	db_client_done(&client);

	if (result == DB_OK && job->state == DONE)
		return SINK_SETTLED;
	if (job->state == CLASHED) {
		snprintf(report->problem, sizeof(report->problem), "%s", problem.text);
		return SINK_CLASH;
	}
	if (job->state == CLOSE) {
		report->close = true;
		report->again_ns = clock_boot_ns() + NS_PER_SEC;
		snprintf(report->problem, sizeof(report->problem), "%s: the open bucket is refused", db_where(m->db));
		return SINK_AGAIN;
	}
	if (result == DB_OK) { /* slow, but it goes on */
		job->failures = 0;
		report->again_ns = clock_boot_ns();
		return SINK_AGAIN;
	}
	snprintf(report->problem, sizeof(report->problem), "%s", problem.text);
	if (result == DB_CANCELLED)
		return SINK_ENDED;
	if (job->state != before || report->inserted)
		job->failures = 0;
	job->failures += !again; /* waiting is no failure */
	report->waiting = again;
	report->refused = result == DB_REFUSED || result == DB_FATAL;
	report->again_ns = again ? again : backed_off(job->failures, result);
	return SINK_AGAIN;
}

static void mongo_job_free(struct sink *sink, struct sink_job *job)
{
	if (!job)
		return;
	drop_commands(mongo_of(sink), job);
	free(job->commands);
	free(job->buckets);
	free(job->wanted);
	rest_free(job->rest);
	free(job);
}

/* batch->there: nothing is sent, but the ledger entry names the bucket. */
static int only_bucket(struct sink_job *job)
{
	struct bucket_form form = job_form(job);

	job->buckets = calloc(1, sizeof(*job->buckets));
	if (!job->buckets)
		return -ENOMEM;
	job->nbuckets = 1;
	job->of_buckets = true;
	job->buckets[0].fate = FATE_THERE;
	bucket_id(job->buckets[0].id, job->batch, &form, 0);
	return 0;
}

static int mongo_encode(struct sink *sink, struct batch *batch, struct sink_job **out)
{
	struct mongo *m = mongo_of(sink);
	struct sink_job *job = calloc(1, sizeof(*job));
	int error = 0;

	if (!job)
		return -ENOMEM;
	job->batch = batch;
	job->ends = m->ends;
	job->state = SEND;
	if (batch->foreign) /* nothing is known to be missing yet */
		error = 0;
	else if (job_is_buckets(job))
		error = batch->there ? only_bucket(job) : make_buckets(m, job);
	else if (!batch->attempted) /* else it is read back first, and most likely there */
		error = make_documents(m, job, NULL);
	if (error) {
		mongo_job_free(sink, job);
		return error;
	}
	batch->encoded = 0;
	for (unsigned i = 0; i < job->count; i++)
		batch->encoded += job->commands[i].buffer->cap;
	*out = job;
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void mongo_storage(struct sink *sink, uint32_t day, struct sink_storage *storage)
{
	const struct mongo *m = mongo_of(sink);
	uint32_t chosen = m->storage;
	unsigned span = chosen & STORAGE_BUCKETS ? days_span(m->days, day) : 0;

	*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
	if (span && span <= UINT16_MAX)
		*storage = (struct sink_storage){
			.mode = JOURNAL_BUCKETS,
			.span_s = (uint16_t)span,
			.form = (uint8_t)chosen,
			.raw = chosen & STORAGE_RAW,
			.replace = chosen & STORAGE_REPLACE,
		};
}

void mongo_sink_set_storage(struct sink *sink, const struct probe_storage *storage)
{
	uint32_t chosen = 0;

	if (storage && storage->buckets)
		chosen = STORAGE_BUCKETS | storage->version | (storage->raw ? STORAGE_RAW : 0) |
			 (storage->replace ? STORAGE_REPLACE : 0);
	mongo_of(sink)->storage = chosen;
}

static void mongo_cancel(struct sink *sink)
{
	db_cancel(mongo_of(sink)->db);
}

static void mongo_close(struct sink *sink)
{
	struct mongo *m = mongo_of(sink);

	spare_free(m);
	turns_end(&m->makers);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

struct sink *mongo_sink_new(const struct mongo_sink_options *options)
{
	struct mongo *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->sink = (struct sink){
		.name = "mongo",
		.encode = mongo_encode,
		.storage = mongo_storage,
		.write = mongo_write,
		.job_free = mongo_job_free,
		.put = small_put,
		.put_many = small_put_many,
		.prepare_days = small_prepare_days,
		.cancel = mongo_cancel,
		.close = mongo_close,
	};
	m->db = options->db;
	m->days = options->days;
	m->ends = options->ends;
	m->command_bytes = options->command_bytes ? options->command_bytes : COMMAND_BYTES;
	m->late_ms = options->late_ms ? options->late_ms : LATE_MS;
	m->check_all = options->check_all;
	m->spoil = options->spoil;
	m->hasty = options->hasty;
	m->born = clock_boot_ns();
	pthread_mutex_init(&m->lock, NULL);
	turns_begin(&m->makers);
	return &m->sink;
}

void mongo_sink_set_ends(struct sink *sink, const struct ends_table *ends)
{
	mongo_of(sink)->ends = ends;
}

void mongo_sink_counts(const struct sink *sink, struct mongo_sink_counts *counts)
{
	const struct mongo *m = container_of(sink, const struct mongo, sink);

	*counts = (struct mongo_sink_counts){
		.commands = m->commands,
		.documents = m->documents,
		.bytes = m->bytes,
		.unknown = m->unknown,
		.settled = m->settled,
		.found = m->found,
		.twice = m->twice,
		.refused = m->refused,
		.buckets = m->buckets,
		.buckets_there = m->buckets_there,
		.checked = m->checked,
		.check_failed = m->check_failed,
		.buckets_refused = m->buckets_refused,
		.clashes = m->clashes,
	};
}
