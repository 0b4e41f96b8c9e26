/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stored bucket beside the batch's own records. Other bytes need not be other packets (another program version may pack
 * them in another way), so what counts is the canonical record: what was on the wire, and when.
 */
#include <errno.h>
#include <stdlib.h>

#include "recorder/encode/bucket_read.h"
#include "recorder/encode/document_read.h"
#include "recorder/ledger/canonical.h"
#include "recorder/sink/mongo_internal.h"

struct record {
	struct canonical_record canonical;
	uint32_t position; /* in the batch */
};

struct pile {
	struct record *records;
	uint8_t *bytes; /* REC_CAP_MAX for each; NULL: they lie elsewhere */
	size_t count, room;
	const struct batch *batch;
	bool no_memory;
};

static void pile_free(struct pile *pile)
{
	free(pile->records);
	free(pile->bytes);
}

static bool pile_grow(struct pile *pile)
{
	size_t room = pile->room ? 2 * pile->room : 1024;
	struct record *records = realloc(pile->records, room * sizeof(*records));
	uint8_t *bytes;

	if (records)
		pile->records = records;
	bytes = records ? realloc(pile->bytes, room * REC_CAP_MAX) : NULL;
	if (!bytes) {
		pile->no_memory = true;
		return false;
	}
	pile->bytes = bytes;
	pile->room = room;
	return true;
}

/* A measurement of a stored bucket as a record. False: it cannot be one of this batch. */
static bool pile_document(void *arg, uint32_t index, const bson_t *document)
{
	struct pile *pile = arg;
	struct document_record r;
	int n;

	(void)index;
	if (document_read(document, &r, NULL) < 0 || !r.iface || strcmp(r.iface, pile->batch->source->iface))
		return false;
	if (pile->count == pile->room && !pile_grow(pile))
		return false;
	n = packet_rebuild(&r.packet, pile->bytes + pile->count * REC_CAP_MAX);
	if (n < 0)
		return false;
	pile->records[pile->count++].canonical = (struct canonical_record){
		.ts = r.wall,
		.wire_len = r.packet.len,
		.cap_len = (uint16_t)n,
		.marks = r.packet.marks,
		.gso_segs = r.packet.segs,
		.gso_size = r.packet.gso,
		.side = r.packet.outer.key.side,
	};
	return true;
}

/* The batch's own records at the positions of a bucket. 0 or -errno. */
static int pile_positions(struct mongo *m, const struct sink_job *job, uint32_t number, struct pile *pile)
{
	struct bucket_form form = job_form(job);
	struct bucket_maker *maker = maker_take(m);
	int error = maker ? bucket_plan(maker, job->batch, job->ends, &form) : -ENOMEM;
	const uint32_t *position;
	uint32_t count;

	if (error >= 0) {
		position = bucket_positions(maker, number, &count);
		pile->records = malloc((count + 1) * sizeof(*pile->records));
		error = pile->records ? 0 : -ENOMEM;
		for (uint32_t i = 0; !error && i < count; i++)
			pile->records[pile->count++] = (struct record){
				canonical_from(job->batch, job->batch->records[position[i]]), position[i]};
	}
	maker_give(m, maker);
	return error;
}

static int compare_records(const void *a, const void *b)
{
	return canonical_compare(&((const struct record *)a)->canonical, &((const struct record *)b)->canonical);
}

/* Takes from `ours` what `stored` has too, as multisets; both are sorted. Returns how many these are. */
static size_t take_away(struct pile *ours, const struct pile *stored)
{
	size_t common = 0, kept = 0, j = 0;

	for (size_t i = 0; i < ours->count; i++) {
		int order = -1;
		while (j < stored->count && (order = compare_records(&stored->records[j], &ours->records[i])) < 0)
			j++;
		if (j < stored->count && order == 0) {
			common++;
			j++;
		} else {
			ours->records[kept++] = ours->records[i];
		}
	}
	ours->count = kept;
	return common;
}

struct pile *stored_new(const struct batch *batch)
{
	struct pile *stored = calloc(1, sizeof(*stored));

	if (stored)
		stored->batch = batch;
	return stored;
}

void stored_free(struct pile *stored)
{
	if (stored)
		pile_free(stored);
	free(stored);
}

bool stored_add(struct pile *stored, const bson_t *document)
{
	return pile_document(stored, 0, document);
}

bool stored_no_memory(const struct pile *stored)
{
	return stored->no_memory;
}

size_t stored_count(const struct pile *stored)
{
	return stored->count;
}

/* Sorted. The bytes may have moved while the pile grew: so they are found only now. */
static void pile_sort(struct pile *stored)
{
	for (size_t i = 0; i < stored->count; i++)
		stored->records[i].canonical.bytes = stored->bytes + i * REC_CAP_MAX;
	if (stored->count)
		qsort(stored->records, stored->count, sizeof(*stored->records), compare_records);
}

int64_t stored_take_away(struct pile *stored, uint8_t *wanted)
{
	const struct batch *batch = stored->batch;
	struct pile ours = {.records = malloc((batch->nrecords + 1) * sizeof(*ours.records))};
	int64_t common;

	if (!ours.records)
		return -ENOMEM;
	for (uint32_t i = 0; i < batch->nrecords; i++)
		if (wanted[i])
			ours.records[ours.count++] = (struct record){canonical_from(batch, batch->records[i]), i};
	memset(wanted, 0, batch->nrecords);
	qsort(ours.records, ours.count, sizeof(*ours.records), compare_records);
	pile_sort(stored);
	common = (int64_t)take_away(&ours, stored);
	for (size_t i = 0; i < ours.count; i++)
		wanted[ours.records[i].position] = 1;
	pile_free(&ours);
	return common;
}

int overlap_of(struct mongo *m, const struct sink_job *job, uint32_t bucket, const bson_t *document, struct overlap *o)
{
	struct pile stored = {.batch = job->batch}, ours = {0};
	int error = pile_positions(m, job, bucket, &ours);

	if (!error) {
		error = bucket_read(document, pile_document, &stored, NULL);
		if (stored.no_memory)
			error = -ENOMEM;
		else if (error && error != -ENOMEM)
			error = -EBADMSG;
	}
	if (!error) {
		o->ours = ours.count;
		o->stored = stored.count;
		qsort(ours.records, ours.count, sizeof(*ours.records), compare_records);
		pile_sort(&stored);
		o->common = take_away(&ours, &stored);
		o->rest = malloc((ours.count + 1) * sizeof(*o->rest));
		error = o->rest ? 0 : -ENOMEM;
		for (size_t i = 0; o->rest && i < ours.count; i++)
			o->rest[i] = ours.records[i].position;
	}
	pile_free(&stored);
	pile_free(&ours);
	return error;
}

/* ---- a whole batch ------------------------------------------------------------------------------------------- */

struct rest {
	struct pile ours;
	const struct batch *batch;
};

struct rest *rest_new(const struct batch *batch)
{
	struct rest *rest = calloc(1, sizeof(*rest));

	if (rest)
		rest->ours.records = malloc((batch->nrecords + 1) * sizeof(*rest->ours.records));
	if (!rest || !rest->ours.records) {
		free(rest);
		return NULL;
	}
	rest->batch = batch;
	for (uint32_t i = 0; i < batch->nrecords; i++)
		rest->ours.records[rest->ours.count++] =
			(struct record){canonical_from(batch, batch->records[i]), i};
	qsort(rest->ours.records, rest->ours.count, sizeof(struct record), compare_records);
	return rest;
}

int rest_take(struct rest *rest, const bson_t *bucket, uint32_t *packets)
{
	struct pile stored = {.batch = rest->batch}, ours = rest->ours;
	int error = bucket_read(bucket, pile_document, &stored, NULL);
	size_t common = 0;

	if (stored.no_memory || error == -ENOMEM) {
		pile_free(&stored);
		return -ENOMEM;
	}
	*packets = (uint32_t)stored.count;
	ours.records = malloc((ours.count + 1) * sizeof(*ours.records));
	if (!ours.records) {
		pile_free(&stored);
		return -ENOMEM;
	}
	memcpy(ours.records, rest->ours.records, ours.count * sizeof(*ours.records));
	pile_sort(&stored);
	if (!error && stored.count)
		common = take_away(&ours, &stored);
	if (common && common == stored.count) { /* all of it */
		struct record *before = rest->ours.records;
		rest->ours = ours;
		ours.records = before;
	} else {
		common = 0;
	}
	free(ours.records);
	pile_free(&stored);
	return common > 0;
}

void rest_mark(const struct rest *rest, uint8_t *wanted)
{
	memset(wanted, 0, rest->batch->nrecords);
	for (size_t i = 0; i < rest->ours.count; i++)
		wanted[rest->ours.records[i].position] = 1;
}

void rest_free(struct rest *rest)
{
	if (rest)
		free(rest->ours.records);
	free(rest);
}
