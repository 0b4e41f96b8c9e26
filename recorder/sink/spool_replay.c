/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way out of the spool: by rounds. A round is the oldest records, as many as fit into some memory; its batches are
 * written, then its documents, and when all of them are acknowledged the place in the files moves on. One worker does
 * it, with one connection: what is live has the others. While a batch waits to be believed (150 ms), the next ones are
 * written.
 *
 * What the server answers no to, again and again, must not stand in the way of everything else: it is put behind the
 * rest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/spool_internal.h"

#define ROUND_ITEMS 256u
#define ROUND_BYTES ((size_t)16 << 20)
#define CALL_NS (3 * NS_PER_SEC) /* nothing is begun after that */
#define REFUSED_MOST 5u
#define SALTS 16u

struct item {
	struct spool_head head;
	uint8_t *bytes; /* unpacked */
	bool done;
	unsigned refused;  /* answers that said no */
	uint64_t again_ns; /* not before */
	/* a batch */
	struct spool_batch kept;
	struct sink_job *job;
	/* documents */
	struct spool_documents documents;
	size_t given; /* of more than are given at once, as an earlier build kept them */
};

struct spool_round {
	struct item item[ROUND_ITEMS];
	unsigned count;
	unsigned turn; /* who begins: one that fails does not always stand in front */
};

/* ---- a round ----------------------------------------------------------------------------------------------------- */

static void item_drop(struct spool *s, struct item *item)
{
	if (item->job)
		s->inner->job_free(s->inner, item->job);
	item->job = NULL;
	if (item->head.type == SPOOL_BATCH)
		spool_batch_drop(&item->kept);
	else
		spool_documents_drop(&item->documents);
	free(item->bytes);
	item->bytes = NULL;
}

void spool_round_free(struct spool *s)
{
	if (!s->round)
		return;
	for (unsigned i = 0; i < s->round->count; i++)
		item_drop(s, &s->round->item[i]);
	free(s->round);
	s->round = NULL;
}

/* A whole record that says nothing to this program: another version's, or a fault of ours. */
static void unreadable(struct spool *s, const struct spool_head *head)
{
	s->unreadable++;
	log_error("spool %s: a record (type %u, batch %llu, %u packets) cannot be read and is passed by", s->name,
		  head->type, (unsigned long long)head->number, head->packets);
}

/* 0, -EBADMSG or -ENOMEM. */
static int item_read(struct item *item, struct spool_record *record)
{
	int err;

	memset(item, 0, sizeof(*item));
	item->head = record->head;
	item->bytes = spool_unpack(&record->head, record->payload, &err);
	if (err)
		return err;
	if (item->head.type == SPOOL_PUT)
		return spool_documents_read(&item->documents, item->bytes, item->head.raw);
	err = spool_batch_unpack(&item->kept, item->bytes, item->head.raw);
	if (err)
		return err;
	item->kept.batch.attempted |= record->inherited;
	item->kept.batch.foreign |= item->kept.batch.version > ENCODE_VERSION;
	return 0;
}

/* False: out of memory, and nothing of it is taken. */
static bool round_fill(struct spool *s)
{
	struct spool_round *round = s->round;
	size_t bytes = 0;

	while (round->count < ROUND_ITEMS && bytes < ROUND_BYTES) {
		struct item *item = &round->item[round->count];
		struct spool_record record;
		int got = spool_store_next(s->store, &record);

		if (got == -EIO)
			continue; /* said and counted there */
		if (got != 1)
			return got == 0 || round->count;
		got = item_read(item, &record);
		if (got == -ENOMEM) {
			item_drop(s, item);
			spool_store_rewind(s->store);
			return false;
		}
		if (got) {
			unreadable(s, &record.head);
			item_drop(s, item);
			continue;
		}
		bytes += item->head.raw;
		round->count++;
	}
	return true;
}

/* The next round. SINK_AGAIN: it stands there, or report->again_ns says when to ask for it; SINK_SETTLED: nothing is
 * kept any more. */
static enum sink_outcome round_begin(struct spool *s, struct sink_report *report)
{
	s->round = NEW(struct spool_round, 1);
	if (!s->round || !round_fill(s)) {
		spool_round_free(s);
		report->again_ns = clock_boot_ns() + NS_PER_SEC;
		snprintf(report->problem, sizeof(report->problem), "spool %.100s: out of memory", s->name);
		return SINK_AGAIN;
	}
	if (s->round->count)
		return SINK_AGAIN;
	spool_round_free(s);
	spool_store_commit(s->store); /* of damaged ones, too */
	report->again_ns = clock_boot_ns() + NS_PER_SEC / 4;
	return spool_emptied(s) ? SINK_SETTLED : SINK_AGAIN;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/*
 * The collection was not known when the batch was cut. It is now, and how the day's guesses are stored is decided once, for a process
 * that is killed in the midst of them, and the next one (spool_decided.c). A batch in one span lies in one of a multiple, too.
 */
static enum sink_outcome correct_span(struct spool *s, struct batch *batch, struct sink_report *report)
{
	const struct sink_storage *decided;
	struct sink_storage now;
	enum sink_outcome outcome = s->inner->prepare_days(s->inner, batch->day, batch->day, report);
	int err;

	if (outcome != SINK_SETTLED)
		return outcome;
	decided = spool_decided(s, batch->day);
	if (decided) {
		now = *decided;
	} else {
		s->inner->storage(s->inner, batch->day, &now);
		err = spool_decide(s, batch->day, &now);
		if (err) {
			snprintf(report->problem, sizeof(report->problem), "spool %.100s: how the day is stored cannot be written down: %s",
				 s->name, strerror(-err));
			report->again_ns = clock_boot_ns() + NS_PER_SEC;
			return SINK_AGAIN;
		}
	}
	if (now.mode != JOURNAL_BUCKETS) {
		batch->mode = JOURNAL_DOCUMENTS;
		batch->span_s = batch->form = 0;
		batch->raw = false;
	} else {
		if (batch->span_s && now.span_s % batch->span_s == 0)
			batch->span_s = now.span_s;
		batch->form = now.form;
		batch->raw = now.raw;
	}
	batch->assumed_span = false;
	return SINK_SETTLED;
}

static enum sink_outcome begin_batch(struct spool *s, struct item *item, struct sink_report *report)
{
	enum sink_outcome outcome = SINK_SETTLED;
	int err;

	if (item->kept.batch.assumed_span && s->inner->storage)
		outcome = correct_span(s, &item->kept.batch, report);
	if (outcome != SINK_SETTLED)
		return outcome;
	err = s->inner->encode(s->inner, &item->kept.batch, &item->job);
	if (!err)
		return SINK_SETTLED;
	snprintf(report->problem, sizeof(report->problem), "spool: a batch cannot be encoded: %s", strerror(-err));
	report->again_ns = clock_boot_ns() + NS_PER_SEC;
	return SINK_AGAIN;
}

/*
 * Others have its identities: the next salt. None of it has to be written down: who begins once more takes the same
 * salts in the same order, and finds under the last of them what it had stored.
 */
static void next_salt(struct spool *s, struct item *item, struct sink_report *report)
{
	struct batch *batch = &item->kept.batch;

	s->inner->job_free(s->inner, item->job);
	item->job = NULL;
	batch->salt = (uint8_t)((batch->salt + 1) % SALTS);
	batch->attempted = 1;
	report->again_ns = clock_boot_ns() + (batch->salt ? 0 : 5 * NS_PER_SEC);
}

static enum sink_outcome write_batch(struct spool *s, struct item *item, struct sink_report *report)
{
	enum sink_outcome outcome = SINK_SETTLED;

	memset(report, 0, sizeof(*report));
	if (!item->job)
		outcome = begin_batch(s, item, report);
	if (outcome == SINK_SETTLED)
		outcome = s->inner->write(s->inner, item->job, report);
	if (outcome == SINK_CLASH) {
		next_salt(s, item, report);
		outcome = SINK_AGAIN;
	}
	if (outcome == SINK_SETTLED) {
		s->replayed_batches++;
		s->replayed_packets += item->head.packets;
	}
	return outcome;
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

static bool same_place(const struct item *a, const struct item *b)
{
	return !strcmp(a->documents.family, b->documents.family) && a->documents.day == b->documents.day;
}

/* Those of one collection that can go together with item `first`, in order; up to one that deletes. */
static size_t gather(struct spool_round *round, unsigned first, struct item *with[SPOOL_DOCUMENTS], const bson_t *list[],
		     size_t room, size_t *count)
{
	const struct item *head = &round->item[first];
	size_t items = 0;

	*count = 0;
	for (unsigned i = first; i < round->count && items < SPOOL_DOCUMENTS; i++) {
		struct item *item = &round->item[i];

		if (item->head.type != SPOOL_PUT || item->done || !same_place(head, item))
			continue;
		if (items && (item->documents.drops || head->documents.drops || *count + item->documents.count > room))
			break;
		for (size_t k = 0; k < item->documents.count; k++)
			list[(*count)++] = &item->documents.document[k];
		with[items++] = item;
	}
	return items;
}

static enum sink_outcome write_documents(struct spool *s, unsigned first, struct sink_report *report)
{
	struct spool_round *round = s->round;
	struct item *head = &round->item[first], *with[SPOOL_DOCUMENTS];
	size_t room = head->documents.count > SPOOL_DOCUMENTS ? head->documents.count : SPOOL_DOCUMENTS, count, items, left;
	CLEANUP_FREE const bson_t **list = malloc(room * sizeof(*list));
	const struct spool_documents *d = &head->documents;
	enum sink_outcome outcome;

	memset(report, 0, sizeof(*report));
	if (!list) {
		report->again_ns = clock_boot_ns() + NS_PER_SEC;
		return SINK_AGAIN;
	}
	items = gather(round, first, with, list, room, &count);
	left = count - head->given;
	count = left < SPOOL_DOCUMENTS ? left : SPOOL_DOCUMENTS;
	outcome = d->drops || count == 1 ? s->inner->put(s->inner, d->family, d->day, list[head->given],
							 d->drops ? &d->from : NULL, d->drops ? &d->to : NULL, report)
					 : s->inner->put_many(s->inner, d->family, d->day, list + head->given, count, report);
	if (outcome == SINK_SETTLED && count < left) {
		head->given += count;
		report->waiting = true;
		report->again_ns = clock_boot_ns(); /* the rest, in the next call */
		return SINK_AGAIN;
	}
	for (size_t i = 0; i < items && outcome == SINK_SETTLED; i++)
		with[i]->done = true;
	return outcome;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

/* Behind everything else, so that this goes on. */
static void put_behind(struct spool *s, struct item *item)
{
	int err;

	if (item->head.type == SPOOL_BATCH) {
		err = spool_put_batch(s, &item->kept.batch, true);
	} else {
		const struct spool_documents *d = &item->documents;
		CLEANUP_FREE const bson_t **list = malloc(d->count * sizeof(*list));

		for (size_t i = 0; list && i < d->count; i++)
			list[i] = &d->document[i];
		err = list ? spool_put_documents(s, d->family, d->day, list, d->count, d->drops ? &d->from : NULL,
						 d->drops ? &d->to : NULL)
			   : -ENOMEM;
	}
	item->refused = 0;
	item->done = !err;
}

/* What one call said of an item. False: the server is not there, nobody else needs to ask. */
static bool judge(struct spool *s, struct item *item, enum sink_outcome outcome, const struct sink_report *one,
		  struct sink_report *sum)
{
	sum->commands += one->commands;
	sum->inserted += one->inserted;
	sum->found += one->found;
	sum->latency_ns = one->latency_ns ? one->latency_ns : sum->latency_ns;
	if (outcome == SINK_SETTLED) {
		item->done = true;
		spool_taken(s);
		return true;
	}
	item->again_ns = one->again_ns;
	if (one->waiting || !one->problem[0])
		return true;
	memcpy(sum->problem, one->problem, sizeof(sum->problem));
	item->refused += one->refused;
	if (item->refused >= REFUSED_MOST)
		put_behind(s, item);
	return one->refused;
}

/* One pass over the round's batches, or its documents. False: no further call makes sense now. */
static bool pass(struct spool *s, enum spool_type type, uint64_t until, struct sink_report *sum, bool *ended)
{
	struct spool_round *round = s->round;

	for (unsigned k = 0; k < round->count; k++) {
		unsigned i = type == SPOOL_BATCH ? (round->turn + k) % round->count : k; /* documents have an order */
		struct item *item = &round->item[i];
		struct sink_report one;
		enum sink_outcome outcome;
		uint64_t now = clock_boot_ns();

		if (item->done || item->head.type != type || (type == SPOOL_BATCH && item->again_ns > now))
			continue;
		if (now >= until || s->cancelled)
			return false;
		outcome = type == SPOOL_BATCH ? write_batch(s, item, &one) : write_documents(s, i, &one);
		*ended |= outcome == SINK_ENDED;
		if (!judge(s, item, outcome, &one, sum)) {
			round->turn = i + 1;
			return false;
		}
		if (type == SPOOL_PUT && !item->done)
			return false;
	}
	return true;
}

static bool left_of(const struct spool_round *round, enum spool_type type, uint64_t *again)
{
	bool left = false;

	for (unsigned i = 0; i < round->count; i++) {
		const struct item *item = &round->item[i];

		if (item->done || item->head.type != type)
			continue;
		left = true;
		*again = item->again_ns < *again ? item->again_ns : *again;
	}
	return left;
}

enum sink_outcome spool_sink_replay(struct sink *sink, struct sink_report *report)
{
	struct spool *s = spool_of(sink);
	uint64_t until = clock_boot_ns() + CALL_NS, again = UINT64_MAX;
	bool ended = false;

	memset(report, 0, sizeof(*report));
	if (!s->round) {
		enum sink_outcome outcome = round_begin(s, report);

		if (!s->round)
			return outcome;
	}
	pass(s, SPOOL_BATCH, until, report, &ended);
	if (!left_of(s->round, SPOOL_BATCH, &again)) {
		pass(s, SPOOL_PUT, until, report, &ended);
		if (!left_of(s->round, SPOOL_PUT, &again)) {
			spool_round_free(s);
			spool_store_commit(s->store);
			again = 0;
		}
	}
	report->again_ns = again;
	return ended || s->cancelled ? SINK_ENDED : SINK_AGAIN;
}
