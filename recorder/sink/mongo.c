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
 *   a moment later; if the process changed meanwhile, it is read back. A replica set's majority needs none of this.
 */
#include "recorder/sink/mongo_internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/db/read.h"
#include "recorder/ledger/rows.h"

#define COMMAND_BYTES (1u << 20)
#define LATE_MS (DB_MAX_TIME_MS + 2000u)
#define RETRY_MOST_NS (5 * NS_PER_SEC)
#define RETRY_CONNECT_NS (NS_PER_SEC / 2) /* most where nobody is asked to do anything */

_Static_assert(PATIENCE_NS / NS_PER_SEC + CONNECT_BOUND_S <= SINK_BOUND_S, "a call stays within its bound");

enum state {
	SEND,	/* commands[next..] are to be sent */
	WAIT,	/* for the late one */
	READ,	/* what is there? */
	VERIFY, /* does the majority have it? */
	LEDGER,
	CONFIRM, /* was it one server process from the first SEND or READ to a moment after the ledger? */
	DONE,
};

struct job_command {
	struct command_buffer *buffer;
	uint32_t documents;
};

struct sink_job {
	struct batch *batch;
	const struct ends_table *ends;
	enum state state;
	bool begun;		  /* write was called */
	bool was_read;		  /* at least some documents are known from reading only */
	struct db_peer read_peer; /* who got the first command, or was read from */
	uint64_t confirm_at;	  /* boot ns */
	struct late late;
	unsigned failures; /* in a row */
	struct job_command *commands;
	unsigned count, room, next;
};

/* ---- buffers ----------------------------------------------------------------------------------------------- */

/* A megabyte that was just used is warm and mapped; a new one costs a page fault each 4 KiB. */
static struct command_buffer *buffer_take(struct mongo *m)
{
	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *buffer = atomic_exchange(&m->spare[i], NULL);
		if (buffer)
			return buffer;
	}
	return calloc(1, sizeof(struct command_buffer));
}

static void buffer_give(struct mongo *m, struct command_buffer *buffer)
{
	if (!buffer)
		return;
	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *none = NULL;
		if (atomic_compare_exchange_strong(&m->spare[i], &none, buffer))
			return;
	}
	command_buffer_free(buffer);
	free(buffer);
}

static void drop_commands(struct mongo *m, struct sink_job *job)
{
	for (unsigned i = 0; i < job->count; i++) {
		buffer_give(m, job->commands[i].buffer);
		job->commands[i].buffer = NULL;
	}
	job->count = job->next = 0;
}

/* Commands for the records that are `wanted` (NULL: all). 0 or -errno, then none. */
static int make_commands(struct mongo *m, struct sink_job *job, const uint8_t *wanted)
{
	const struct batch *batch = job->batch;
	char collection[DAYS_NAME];
	uint32_t first = 0;
	int n = 0;

	days_collection(collection, "packets", batch->day);
	drop_commands(m, job);
	while (first < batch->nrecords) {
		uint32_t next = first;
		if (job->count == job->room) {
			unsigned room = job->room ? 2 * job->room : 4;
			struct job_command *more = realloc(job->commands, room * sizeof(*more));
			if (!more) {
				n = -ENOMEM;
				break;
			}
			job->commands = more;
			job->room = room;
		}
		struct command_buffer *buffer = buffer_take(m);
		n = buffer ? document_command(buffer, collection, batch, job->ends, first, batch->nrecords - first,
					      wanted ? wanted + first : NULL, m->command_bytes, DB_MAX_TIME_MS, &next)
			   : -ENOMEM;
		if (n <= 0 || next <= first) {
			buffer_give(m, buffer);
			if (n > 0)
				n = -EINVAL;
			break;
		}
		job->commands[job->count++] = (struct job_command){buffer, (uint32_t)n};
		first = next;
	}
	if (n < 0)
		drop_commands(m, job);
	return n < 0 ? n : 0;
}

/* ---- writing a batch --------------------------------------------------------------------------------------- */

static uint64_t backed_off(unsigned failures, enum db_result result)
{
	uint64_t most = result == DB_UNREACHABLE ? RETRY_CONNECT_NS : RETRY_MOST_NS;
	unsigned shift = failures > 6 ? 6 : failures ? failures - 1 : 0;
	uint64_t pause = RETRY_LEAST_NS << shift;

	return clock_boot_ns() + (pause > most ? most : pause);
}

static int64_t reply_n(const bson_t *reply)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, reply, "n") && BSON_ITER_HOLDS_NUMBER(&it) ? bson_iter_as_int64(&it) : -1;
}

static void name_batch(const struct batch *batch, char out[48])
{
	const uint8_t *c = batch->source->capture;

	snprintf(out, 48, "batch %llu of capture %02x%02x%02x%02x", (unsigned long long)batch->number, c[0], c[1], c[2],
		 c[3]);
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

static enum db_result send_next(struct mongo *m, struct sink_job *job, struct db_client *client,
				struct sink_report *report, struct db_problem *problem)
{
	const struct job_command *c = &job->commands[job->next];
	struct db_peer peer;
	enum db_result result = days_need(m->days, client, job->batch->day, problem);
	bson_t command, reply;
	uint64_t asked;

	if (result != DB_OK)
		return result;
	asked = clock_boot_ns();
	result = db_peer(client, &peer, problem);
	if (result != DB_OK)
		return result;
	if (job->next == 0 && !job->was_read)
		job->read_peer = peer;
	if (!bson_init_static(&command, c->buffer->data, c->buffer->len))
		return db_problem_set(problem, DB_FATAL, "a command of %zu bytes is no BSON document", c->buffer->len);

	result = db_command(client, NULL, &command, &reply, problem);
	m->commands++;
	report->commands++;
	if (result == DB_OK && reply_n(&reply) != c->documents)
		result = db_problem_set(problem, DB_LATER, "%s: insert: %lld of %u documents acknowledged",
					db_where(m->db), (long long)reply_n(&reply), c->documents);
	bson_destroy(&reply);
	if (result == DB_OK) {
		m->documents += c->documents;
		m->bytes += c->buffer->len;
		report->inserted += c->documents;
		report->latency_ns = clock_boot_ns() - client->started_ns;
		job->next++;
		return DB_OK;
	}
	if (result == DB_UNKNOWN || (result == DB_CANCELLED && client->started_ns))
		late_begin(m, &job->late, client, &peer, asked);
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

static enum db_result read_back(struct mongo *m, struct sink_job *job, struct db_client *client,
				struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	CLEANUP_FREE uint8_t *present = malloc(batch->nrecords ? batch->nrecords : 1);
	enum db_result result = present ? db_peer(client, &job->read_peer, problem)
					: db_problem_set(problem, DB_LATER, "out of memory");
	uint32_t found = 0;
	unsigned twice = 0;

	if (result == DB_OK)
		result = read_batch_positions(client, batch, false, present, batch->nrecords, problem);
	report->commands++;
	if (result != DB_OK)
		return result;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		found += present[i] > 0;
		twice += present[i] > 1;
		present[i] = !present[i]; /* from here on: wanted */
	}
	if (twice)
		report_twice(m, batch, twice);
	report->found = found;
	m->found += found;
	m->settled++;
	job->was_read = true;
	if (found < batch->nrecords) {
		int error = make_commands(m, job, present);
		if (error)
			return db_problem_set(problem, DB_LATER, "cannot encode: %s", strerror(-error));
	}
	job->state = SEND;
	return DB_OK;
}

/* What the primary shows is not yet what a majority has. */
static enum db_result verify(struct mongo *m, struct sink_job *job, struct db_client *client,
			     struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	CLEANUP_FREE uint8_t *present = malloc(batch->nrecords ? batch->nrecords : 1);
	enum db_result result = present ? read_batch_positions(client, batch, true, present, batch->nrecords, problem)
					: db_problem_set(problem, DB_LATER, "out of memory");

	report->commands++;
	for (uint32_t i = 0; result == DB_OK && i < batch->nrecords; i++)
		if (!present[i]) {
			job->state = READ; /* rolled back, or not yet replicated */
			return db_problem_set(problem, DB_LATER, "%s: a majority does not have all documents yet",
					      db_where(m->db));
		}
	if (result == DB_OK)
		job->state = LEDGER;
	return result;
}

static enum db_result write_ledger(struct mongo *m, struct sink_job *job, struct db_client *client,
				   struct sink_report *report, struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	bool confirm = job->read_peer.kind == DB_STANDALONE && (job->was_read || job->read_peer.has_process);
	char packets[DAYS_NAME], batches[DAYS_NAME];
	bson_t entry = BSON_INITIALIZER;
	const bson_t *only = &entry;
	enum db_result result = days_need(m->days, client, batch->day, problem);

	if (result == DB_OK) {
		days_collection(packets, "packets", batch->day);
		days_collection(batches, "batches", batch->day);
		ledger_document(&entry, batch, packets);
		result = small_replace(client, batches, &only, 1, problem);
		report->commands++;
	}
	bson_destroy(&entry);
	if (result == DB_OK) {
		report->latency_ns = clock_boot_ns() - client->started_ns;
		job->state = confirm ? CONFIRM : DONE;
		job->confirm_at = clock_boot_ns() + LINGER_MS * 1000000ull;
	} else if (confirm && client->started_ns) {
		job->state = READ; /* no need to wait: an entry is the same however often it is written */
	}
	return result;
}

/* LINGER_MS after the ledger's answer. No thread waits for it: the loop calls again. */
static enum db_result confirm(struct mongo *m, struct sink_job *job, struct db_client *client, uint64_t *again,
			      struct db_problem *problem)
{
	enum db_result result;

	if (clock_boot_ns() < job->confirm_at) {
		*again = job->confirm_at;
		return db_problem_set(problem, DB_LATER, "%s: acknowledged, to be confirmed", db_where(m->db));
	}
	result = late_lives_on(m, client, &job->read_peer, problem);
	job->state = result == DB_OK ? DONE : READ;
	return result;
}

static enum db_result advance(struct mongo *m, struct sink_job *job, struct db_client *client,
			      struct sink_report *report, uint64_t *again, struct db_problem *problem)
{
	switch (job->state) {
	case SEND:
		if (job->next < job->count)
			return send_next(m, job, client, report, problem);
		drop_commands(m, job);
		job->state = job->was_read && job->read_peer.kind != DB_STANDALONE ? VERIFY : LEDGER;
		return DB_OK;
	case WAIT: {
		enum db_result result = late_wait(m, &job->late, again, problem);
		if (result == DB_OK)
			job->state = READ;
		return result;
	}
	case READ:
		return read_back(m, job, client, report, problem);
	case VERIFY:
		return verify(m, job, client, report, problem);
	case LEDGER:
		return write_ledger(m, job, client, report, problem);
	case CONFIRM:
		return confirm(m, job, client, again, problem);
	case DONE:
		break;
	}
	return DB_OK;
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
	if (!job->begun && job->batch->attempted) {
		drop_commands(m, job);
		late_inherit(m, &job->late);
		job->state = WAIT;
	}
	job->begun = true;
	before = job->state;
	result = db_client_pop(m->db, &client, &problem);
	client.until_ns = began + PATIENCE_NS;
	while (result == DB_OK && job->state != DONE && clock_boot_ns() - began < PATIENCE_NS)
		result = advance(m, job, &client, report, &again, &problem);
	db_client_done(&client);

	if (result == DB_OK && job->state == DONE)
		return SINK_SETTLED;
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
	report->again_ns = again ? again : backed_off(job->failures, result);
	return SINK_AGAIN;
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
	if (!batch->attempted) /* else it is read back first, and most likely there */
		error = make_commands(m, job, NULL);
	if (error) {
		free(job->commands);
		free(job);
		return error;
	}
	*out = job;
	return 0;
}

static void mongo_job_free(struct sink *sink, struct sink_job *job)
{
	if (!job)
		return;
	drop_commands(mongo_of(sink), job);
	free(job->commands);
	free(job);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static void mongo_cancel(struct sink *sink)
{
	db_cancel(mongo_of(sink)->db);
}

static void mongo_close(struct sink *sink)
{
	struct mongo *m = mongo_of(sink);

	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *buffer = m->spare[i];
		if (buffer)
			command_buffer_free(buffer);
		free(buffer);
	}
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
	m->born = clock_boot_ns();
	pthread_mutex_init(&m->lock, NULL);
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
	};
}
