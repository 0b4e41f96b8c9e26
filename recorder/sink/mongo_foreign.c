/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch that another version of this program began, in a way that this one does not know: another mode, encoder or
 * form of buckets. What is there under its number stays: buckets and documents are read, and their packets taken away
 * from the batch's own. Only the rest is written, as documents with this version in their ids; an earlier try may have
 * written some of these already, they are known by their positions. The ledger entry is over all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/log.h"
#include "recorder/db/read_bucket.h"
#include "recorder/ledger/rows.h"
#include "recorder/sink/mongo_internal.h"

#define VERSION_AT (CAPTURE_ID_LEN + 6) /* in a packet's _id */

struct foreign {
	struct mongo *m;
	struct sink_job *job;
	struct pile *stored;
	uint32_t own, unreadable;
	bool no_memory;
};

/* A name for what is there: as buckets of a batch of our own have one. */
static bool note_bucket(void *arg, const bson_t *bucket)
{
	struct foreign *f = arg;
	struct sink_job *job = f->job;
	struct job_bucket *more = realloc(job->buckets, (job->nbuckets + 1) * sizeof(*more));
	bson_iter_t id;

	f->no_memory |= !more;
	if (!more)
		return false;
	job->buckets = more;
	if (!bson_iter_init_find(&id, bucket, "_id") || !BSON_ITER_HOLDS_OID(&id))
		return true;
	more[job->nbuckets] = (struct job_bucket){.fate = FATE_THERE, .read = true};
	memcpy(more[job->nbuckets++].id, bson_iter_oid(&id)->bytes, BUCKET_ID_LEN);
	return true;
}

static bool note_packet(void *arg, const bson_t *document)
{
	struct foreign *f = arg;
	bson_iter_t it;

	if (bson_iter_init_find(&it, document, "_id") && BSON_ITER_HOLDS_BINARY(&it)) {
		const uint8_t *id;
		uint32_t len;

		bson_iter_binary(&it, NULL, &len, &id);
		if (len == PACKET_ID_LEN && (id[VERSION_AT] << 8 | id[VERSION_AT + 1]) == f->job->batch->version) {
			f->own++;
			return true; /* documents_read finds it by its position */
		}
		f->job->others++;
	}
	if (!stored_add(f->stored, document)) {
		f->no_memory |= stored_no_memory(f->stored);
		f->unreadable++;
	}
	return !f->no_memory;
}

/*
 * An event, which has a second purpose: its write is believed when a majority has it, and with it everything that was
 * written before. So what a majority shows after it is all that there is. The same event at every try.
 */
static enum db_result announce(struct mongo *m, const struct sink_job *job, struct db_client *client,
			       struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	char name[48], text[160];
	bson_t event = BSON_INITIALIZER;
	const bson_t *only = &event;
	enum db_result result;

	name_batch(batch, name);
	snprintf(text, sizeof(text), "%s was sent by another version: what is there stays, the rest becomes documents",
		 name);
	event_document(&event, batch->source->capture, batch->last_boot, batch_wall(batch, batch->last_boot),
		       "recipe-unknown", batch->source->sensor, batch->source->iface, text, NULL);
	result = days_need(m->days, client, batch->day, problem);
	if (result == DB_OK)
		result = small_replace(client, "events", &only, 1, problem);
	bson_destroy(&event);
	return result;
}

/* Positions of ours that an earlier try has written are not to be taken for those of somebody else's packets. */
static enum db_result take_away(struct foreign *f, struct db_client *client, struct db_problem *problem)
{
	struct sink_job *job = f->job;
	const struct batch *batch = job->batch;
	CLEANUP_FREE uint8_t *own = calloc(batch->nrecords + 1, 1);
	int64_t common = -ENOMEM;
	enum db_result result = DB_OK;

	free(job->wanted);
	job->wanted = malloc(batch->nrecords + 1);
	if (!own || !job->wanted)
		return db_problem_set(problem, DB_LATER, "out of memory");
	if (f->own)
		result = read_batch_positions(client, batch, true, own, batch->nrecords, problem);
	if (result != DB_OK)
		return result;
	for (uint32_t i = 0; i < batch->nrecords; i++)
		job->wanted[i] = !own[i];
	common = stored_take_away(f->stored, job->wanted);
	if (common < 0)
		return db_problem_set(problem, DB_LATER, "out of memory");
	job->nwanted = 0;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		job->wanted[i] |= own[i] > 0;
		job->nwanted += job->wanted[i];
	}
	f->unreadable += (uint32_t)(stored_count(f->stored) - (size_t)common);
	return DB_OK;
}

static void say(const struct foreign *f, const struct read_walk *walk)
{
	const struct batch *batch = f->job->batch;
	char name[48];

	name_batch(batch, name);
	log_info("%s: another version wrote %llu of its packets; %u are documents of this one", name,
		 (unsigned long long)(batch->nrecords - f->job->nwanted), f->job->nwanted);
	if (f->unreadable || walk->damaged)
		log_error("%s: %u packets and %u buckets that are there are not known to be its own: some may be there "
			  "twice",
			  name, f->unreadable, walk->damaged);
}

static enum db_result read_there(struct foreign *f, struct db_client *client, const struct bucket_form *form,
				 struct read_walk *walk, struct db_problem *problem)
{
	const struct batch *batch = f->job->batch;
	char collection[DAYS_NAME];

	if (form->span_s) /* else the collection never had buckets of ours */
		return read_unledgered(client, batch, form, note_packet, f, walk, problem);
	return read_documents(client, days_collection(collection, "packets", batch->day), batch->source->capture,
			      batch->number, clock_ms(batch_wall(batch, batch->first_boot)),
			      clock_ms(batch_wall(batch, batch->last_boot)), note_packet, f, problem);
}

enum db_result foreign_read(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			    struct db_problem *problem)
{
	struct foreign f = {.m = m, .job = job, .stored = stored_new(job->batch)};
	struct read_walk walk = {.bucket = note_bucket};
	struct bucket_form form = job_form(job);
	struct db_peer peer;
	enum db_result result =
		f.stored ? announce(m, job, client, problem) : db_problem_set(problem, DB_LATER, "out of memory");

	if (result == DB_OK)
		result = db_peer(client, &peer, problem);
	if (result == DB_OK) {
		job->read_peer = peer;
		job->has_peer = job->was_read = true;
		job->nbuckets = job->others = 0;
		form.raw = peer.wire >= READ_RAW_WIRE;
		form.span_s = form.span_s ? form.span_s : days_span(m->days, job->batch->day);
		result = read_there(&f, client, &form, &walk, problem);
	}
	if (result == DB_OK && f.no_memory)
		result = db_problem_set(problem, DB_LATER, "out of memory");
	if (result == DB_OK)
		result = take_away(&f, client, problem);
	if (result == DB_OK) {
		say(&f, &walk);
		report->found += job->batch->nrecords - job->nwanted;
		m->found += job->batch->nrecords - job->nwanted;
		job->compared = true;
		job->state = job->nwanted ? READ : LEDGER;
	}
	report->commands += 3;
	stored_free(f.stored);
	return result;
}
