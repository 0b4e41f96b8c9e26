/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch of several buckets that a former process may have sent. Which packet is in which bucket follows from the
 * order of the conversations, and that from which addresses are local: where these have changed since, the same ids
 * hold other packets. Such a batch is settled as a whole: the records of the buckets that are there are taken away from
 * its own, as multisets, and what remains is written as documents.
 */
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/db/read_bucket.h"
#include "recorder/sink/mongo_internal.h"

enum db_result mixed_look(struct sink_job *job, struct db_client *client, struct sink_report *report,
			  struct db_problem *problem)
{
	const struct batch *batch = job->batch;
	char collection[DAYS_NAME], name[48];
	enum db_result result = DB_OK;

	days_collection(collection, "packets", batch->day);
	job->state = SEND;
	for (uint32_t k; job->nbuckets > 1 && (k = job->looked) < job->nbuckets; job->looked++) {
		bson_t stored, mine;
		bool found = false, same;

		result = read_bucket_raw(client, collection, job->buckets[k].id, batch->raw, &stored, &found, problem);
		report->commands++;
		if (result != DB_OK)
			job->state = LOOK;
		if (result != DB_OK || !found) {
			if (result != DB_OK)
				break;
			continue;
		}
		same = bucket_in_command(job, &job->buckets[k], &mine) && bson_equal(&mine, &stored);
		bson_destroy(&stored);
		if (same)
			continue;
		name_batch(batch, name);
		log_warn("%s: bucket %u is there with other bytes: each of its packets is looked for", name, k);
		job->mixed = true;
		job->state = MIXED;
		job->looked = 0;
		break;
	}
	return result;
}

/* Takes bucket k out of the rest if it is there and all of it is ours. */
static enum db_result take(struct sink_job *job, uint32_t k, struct rest *rest, struct db_client *client,
			   struct mongo *m, struct sink_report *report, struct db_problem *problem)
{
	struct job_bucket *bucket = &job->buckets[k];
	char collection[DAYS_NAME];
	bool found = false;
	int taken = 0;
	bson_t stored;
	enum db_result result;

	days_collection(collection, "packets", job->batch->day);
	result = read_bucket_raw(client, collection, bucket->id, job->batch->raw, &stored, &found, problem);
	report->commands++;
	if (result != DB_OK)
		return result;
	if (found) {
		taken = rest_take(rest, &stored, &bucket->packets);
		bson_destroy(&stored);
	}
	if (taken < 0)
		return db_problem_set(problem, DB_LATER, "out of memory");
	bucket->fate = taken ? FATE_THERE : FATE_LEFT;
	bucket->read = true;
	if (taken) {
		report->found += bucket->packets;
		m->found += bucket->packets;
		m->buckets_there++;
	} else if (found) {
		m->clashes++;
	}
	return DB_OK;
}

enum db_result mixed_read(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			  struct db_problem *problem)
{
	enum db_result result = DB_OK;

	if (!job->rest)
		job->rest = rest_new(job->batch);
	if (!job->rest || !bucket_wanted_room(job))
		return db_problem_set(problem, DB_LATER, "out of memory");
	if (!job->has_peer)
		result = db_peer(client, &job->read_peer, problem);
	job->has_peer |= result == DB_OK;
	while (result == DB_OK && job->looked < job->nbuckets) {
		result = take(job, job->looked, job->rest, client, m, report, problem);
		job->looked += result == DB_OK;
	}
	if (result != DB_OK)
		return result;
	rest_mark(job->rest, job->wanted);
	rest_free(job->rest);
	job->rest = NULL;
	drop_commands(m, job);
	job->of_buckets = true;
	job->was_read = true;
	job->state = SEND; /* of which there is nothing: the rest is documents */
	return DB_OK;
}
