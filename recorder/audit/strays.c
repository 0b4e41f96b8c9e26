/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * strays.c - what lies in a day's packets_* and belongs to no batch, or to two.
 *
 * Finished buckets: each _id must be named by one ledger entry. The names of a day are collected as a sorted array, and where they
 * are too many, a part of them at a time (by their hash), with the collection listed once for each part.
 *
 * Plain documents: as many as the batches have that were read. Where these are not as many, the server's buckets are read
 * once more, and each document is asked for its batch.
 */
#include "recorder/audit/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/util.h"
#include "recorder/db/read_stored.h"
#include "recorder/encode/bucket_read.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/journal.h"

#define NAMES_MOST (1u << 20) /* in memory at once: 13 MB */
#define SPAN_NS (3600ll * 1000000000) /* a bucket spans no more */

struct day_walk {
	struct audit_run *run;
	uint32_t day;
	char collection[DAYS_NAME];
	/* names of this part, sorted */
	uint8_t (*names)[BUCKET_ID_LEN];
	size_t nnames, room;
	uint32_t part, parts;
	/* plain documents */
	uint64_t documents;
	bool straddles; /* a server's bucket lies only partly in the range */
	/* of the batch that was asked for last */
	uint8_t batch[LEDGER_ID_LEN];
	bool batch_asked, batch_there;
	struct ledger_read entry;
	/* a run of stray documents */
	struct audit_finding stray;
	uint8_t stray_batch[LEDGER_ID_LEN];
	char stray_text[200], stray_sensor[AUDIT_NAME], stray_iface[AUDIT_NAME];
	bool has_stray;
	enum db_result result;
};

static uint32_t part_of(const uint8_t *id, uint32_t parts)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < BUCKET_ID_LEN; i++)
		hash = (hash ^ id[i]) * 0x100000001b3ull;
	return (uint32_t)((hash >> 16) % parts);
}

static int compare_names(const void *a, const void *b)
{
	return memcmp(a, b, BUCKET_ID_LEN);
}

static bool in_range(const struct audit_run *run, int64_t ms)
{
	return (!run->since || ms >= clock_ms(run->since)) && (!run->until || ms < clock_ms(run->until));
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static enum db_result add_names(struct day_walk *w, const uint8_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *id = ids + (size_t)i * BUCKET_ID_LEN;

		if (part_of(id, w->parts) != w->part)
			continue;
		if (w->nnames == w->room) {
			size_t room = w->room ? 2 * w->room : 4096;
			void *more = realloc(w->names, room * sizeof(*w->names));

			if (!more)
				return audit_no_memory(w->run);
			w->names = more;
			w->room = room;
		}
		memcpy(w->names[w->nnames++], id, BUCKET_ID_LEN);
	}
	return DB_OK;
}

static bool keep_names(void *arg, const bson_t *entry)
{
	struct day_walk *w = arg;
	const uint8_t *ids;
	bson_subtype_t subtype;
	bson_iter_t it;
	uint32_t len;

	if (bson_iter_init_find(&it, entry, "buckets") && BSON_ITER_HOLDS_BINARY(&it)) {
		bson_iter_binary(&it, &subtype, &len, &ids);
		w->result = add_names(w, ids, len / BUCKET_ID_LEN);
	}
	return w->result == DB_OK;
}

/* All entries of the day, of whatever capture: those that are not audited have buckets here too. */
static enum db_result collect_names(struct day_walk *w)
{
	const uint32_t days[] = {w->day};
	bson_t *projection = BCON_NEW("buckets", BCON_INT32(1));
	struct read_stream_options o = {.family = "batches", .days = days, .ndays = 1, .id_len = LEDGER_ID_LEN,
					.projection = projection, .page = 200};
	struct read_stream *stream;
	const bson_t *document;
	enum db_result result;
	uint32_t day;

	w->nnames = 0;
	memset(o.to, 0xff, sizeof(o.to));
	stream = read_stream_open(&w->run->client, &o);
	result = stream ? DB_OK : audit_no_memory(w->run);
	while (result == DB_OK && (result = read_stream_next(stream, &document, &day, w->run->problem)) == DB_OK && document)
		result = keep_names(w, document) ? DB_OK : w->result;
	read_stream_close(stream);
	bson_destroy(projection);
	if (result != DB_OK)
		return result;
	if (w->nnames)
		qsort(w->names, w->nnames, sizeof(*w->names), compare_names);
	return DB_OK;
}

static void say_bucket(struct day_walk *w, const struct read_stored *one, const char *what, const char *why)
{
	char text[160], hex[2 * BUCKET_ID_LEN + 1];
	struct audit_finding f = {.what = what,
				  .collection = w->collection,
				  .sensor = one->sensor,
				  .iface = one->iface,
				  .side = -1,
				  .from = one->first_ms * 1000000,
				  .to = one->last_ms * 1000000,
				  .text = text};

	*put_hex(hex, one->id, BUCKET_ID_LEN) = '\0';
	snprintf(text, sizeof(text), "bucket %s of %u packets %s", hex, one->packets, why);
	w->run->say(w->run->arg, &f);
}

/* A batch that is not in the ledger yet: a live capture's open bucket, or what is in flight. */
static bool may_be_open(const struct audit_run *run, const struct read_stored *one)
{
	for (size_t i = 0; i < run->ncaptures; i++) {
		const struct audit_capture *c = &run->captures[i];

		if (c->open && !strcmp(c->sensor, one->sensor) && !strcmp(c->iface, one->iface) &&
		    run->now - one->first_ms * 1000000 < 2 * SPAN_NS)
			return true;
	}
	return false;
}

static bool look_at_bucket(void *arg, const struct read_stored *one)
{
	struct day_walk *w = arg;
	const struct audit_run *run = w->run;
	size_t times = 0, at;
	uint8_t *name;

	if (!one->finished) {
		bool first = in_range(run, one->first_ms), last = in_range(run, one->last_ms);

		if (w->part == 0 && (first || last) && audit_wants(run, one->sensor, one->iface)) {
			w->documents += one->packets;
			/* The server rounds the beginning down. */
			w->straddles |= !first || !last || (run->since && one->first_ms - clock_ms(run->since) < SPAN_NS / 1000000);
		}
		return true;
	}
	if (!audit_wants(run, one->sensor, one->iface) || !in_range(run, one->first_ms) || part_of(one->id, w->parts) != w->part)
		return true;
	name = w->nnames ? bsearch(one->id, w->names, w->nnames, sizeof(*w->names), compare_names) : NULL;
	if (name) {
		at = (size_t)(name - w->names[0]) / BUCKET_ID_LEN;
		while (at > 0 && !memcmp(w->names[at - 1], one->id, BUCKET_ID_LEN))
			at--;
		for (; at < w->nnames && !memcmp(w->names[at], one->id, BUCKET_ID_LEN); at++)
			times++;
	}
	if (times > 1)
		say_bucket(w, one, "twice", "is named by more than one ledger entry");
	else if (!times && !may_be_open(run, one))
		say_bucket(w, one, "stray", "belongs to no batch");
	return true;
}

static enum db_result list(struct day_walk *w, read_stored_each *each)
{
	const struct audit_run *run = w->run;
	uint32_t from = 0, to = UINT32_MAX;

	if (!days_is_year(w->day) && run->since && run->since > SPAN_NS)
		from = (uint32_t)((run->since - SPAN_NS) / 1000000000);
	if (!days_is_year(w->day) && run->until && run->until > 0)
		to = (uint32_t)(run->until / 1000000000);
	return read_stored(&w->run->client, w->collection, run->raw, from, to, each, w, run->problem);
}

/* ---- plain documents --------------------------------------------------------------------------------------------- */

static void end_stray(struct day_walk *w)
{
	char more[64];

	if (!w->has_stray)
		return;
	snprintf(more, sizeof(more), " (%llu documents)", (unsigned long long)w->stray.found.packets);
	w->stray.found = (struct rec_count){0};
	strncat(w->stray_text, more, sizeof(w->stray_text) - strlen(w->stray_text) - 1);
	w->stray.text = w->stray_text;
	w->run->say(w->run->arg, &w->stray);
	w->has_stray = false;
}

static const char *name_in(const bson_t *document, const char *path)
{
	bson_iter_t it, at;

	return bson_iter_init(&it, document) && bson_iter_find_descendant(&it, path, &at) && BSON_ITER_HOLDS_UTF8(&at)
		       ? bson_iter_utf8(&at, NULL)
		       : "";
}

static void add_stray(struct day_walk *w, const bson_t *document, int64_t wall, const char *what, const char *why)
{
	if (w->has_stray && (memcmp(w->stray_batch, w->batch, sizeof(w->batch)) || w->stray.what != what))
		end_stray(w);
	if (!w->has_stray) {
		snprintf(w->stray_sensor, sizeof(w->stray_sensor), "%s", name_in(document, "meta.sensor"));
		snprintf(w->stray_iface, sizeof(w->stray_iface), "%s", name_in(document, "meta.iface"));
		w->stray = (struct audit_finding){.what = what,
						  .collection = w->collection,
						  .sensor = w->stray_sensor,
						  .iface = w->stray_iface,
						  .side = -1,
						  .from = wall,
						  .to = wall};
		snprintf(w->stray_text, sizeof(w->stray_text), "%s", why);
		memcpy(w->stray_batch, w->batch, sizeof(w->batch));
		w->has_stray = true;
	}
	w->stray.found.packets++;
	if (wall < w->stray.from)
		w->stray.from = wall;
	if (wall > w->stray.to)
		w->stray.to = wall;
}

/* The ledger entry of the batch, asked for once for all its documents that follow each other. */
static enum db_result ask_batch(struct day_walk *w, const uint8_t *id)
{
	const uint32_t days[] = {w->day};
	struct read_stream_options o = {.family = "batches", .days = days, .ndays = 1, .id_len = LEDGER_ID_LEN, .page = 1};
	struct read_stream *stream;
	const bson_t *document = NULL;
	enum db_result result;
	uint32_t day;

	if (w->batch_asked && !memcmp(w->batch, id, LEDGER_ID_LEN))
		return DB_OK;
	memcpy(w->batch, id, LEDGER_ID_LEN);
	memcpy(o.from, id, LEDGER_ID_LEN);
	memcpy(o.to, id, LEDGER_ID_LEN);
	w->entry.seconds = w->run->seconds;
	stream = read_stream_open(&w->run->client, &o);
	result = stream ? read_stream_next(stream, &document, &day, w->run->problem) : audit_no_memory(w->run);
	w->batch_asked = result == DB_OK;
	w->batch_there = result == DB_OK && document && !ledger_read(document, &w->entry, NULL);
	w->entry.sensor = w->entry.iface = w->entry.collection = "";
	read_stream_close(stream);
	return result;
}

static bool is_of_open(const struct audit_run *run, const uint8_t *id)
{
	for (size_t i = 0; i < run->ncaptures; i++) {
		const struct audit_capture *c = &run->captures[i];

		if (c->open && !memcmp(c->of.capture, id, CAPTURE_ID_LEN) && get_be64(id + CAPTURE_ID_LEN) > c->newest)
			return true;
	}
	return false;
}

static int64_t wall_of(const bson_t *document)
{
	bson_iter_t it;
	int64_t wall = 0;

	if (bson_iter_init_find(&it, document, "ts") && BSON_ITER_HOLDS_DATE_TIME(&it))
		wall = bson_iter_date_time(&it) * 1000000;
	if (bson_iter_init_find(&it, document, "ns") && BSON_ITER_HOLDS_INT32(&it))
		wall += bson_iter_int32(&it);
	return wall;
}

static bool look_at_document(void *arg, uint32_t index, const bson_t *document)
{
	struct day_walk *w = arg;
	const uint8_t *bytes = NULL;
	uint8_t id[LEDGER_ID_LEN] = {0};
	int64_t wall = wall_of(document);
	bson_subtype_t subtype;
	char text[160];
	uint32_t len = 0;
	bson_iter_t it;

	(void)index;
	if (!audit_wants(w->run, name_in(document, "meta.sensor"), name_in(document, "meta.iface")))
		return true;
	if (bson_iter_init_find(&it, document, "_id") && BSON_ITER_HOLDS_BINARY(&it))
		bson_iter_binary(&it, &subtype, &len, &bytes);
	if (len != PACKET_ID_LEN) {
		memset(w->batch, 0, sizeof(w->batch));
		w->batch_asked = false;
		add_stray(w, document, wall, "stray", "documents with an _id that no recorder gives");
		return true;
	}
	memcpy(id, bytes, CAPTURE_ID_LEN);
	memcpy(id + CAPTURE_ID_LEN + 2, bytes + CAPTURE_ID_LEN, 6);
	w->result = ask_batch(w, id);
	if (w->result != DB_OK)
		return false;
	if (!w->batch_there) {
		if (is_of_open(w->run, id))
			return true;
		snprintf(text, sizeof(text), "documents of batch %llu, which is not in the ledger",
			 (unsigned long long)get_be64(id + CAPTURE_ID_LEN));
		add_stray(w, document, wall, "stray", text);
	} else if (w->entry.mode == JOURNAL_BUCKETS && !w->entry.documents) {
		snprintf(text, sizeof(text), "documents of batch %llu, whose packets are in buckets",
			 (unsigned long long)w->entry.number);
		add_stray(w, document, wall, "twice", text);
	} else if (wall < w->entry.first || wall > w->entry.last) {
		snprintf(text, sizeof(text), "documents of batch %llu, outside of its time", (unsigned long long)w->entry.number);
		add_stray(w, document, wall, "stray", text);
	}
	return true;
}

static bool read_documents_of(void *arg, const struct read_stored *one)
{
	struct day_walk *w = arg;
	const char *problem = "";
	bson_t bucket;
	bool found;
	int status;

	if (one->finished || !(in_range(w->run, one->first_ms) || in_range(w->run, one->last_ms)))
		return true;
	w->result = read_bucket_raw(&w->run->client, w->collection, one->id, w->run->raw, &bucket, &found, w->run->problem);
	if (w->result != DB_OK || !found)
		return w->result == DB_OK;
	status = bucket_read(&bucket, look_at_document, w, &problem);
	bson_destroy(&bucket);
	if (w->result == DB_OK && status == -EINVAL)
		say_bucket(w, one, "damaged", problem);
	return w->result == DB_OK;
}

/* ---- a day ------------------------------------------------------------------------------------------------------- */

static enum db_result strays_of_day(struct audit_run *run, size_t index)
{
	struct day_walk w = {.run = run, .day = run->days[AUDIT_PACKETS].day[index], .parts = 1};
	enum db_result result = DB_OK;

	days_collection(w.collection, "packets", w.day);
	w.parts += (uint32_t)(run->buckets[index] / NAMES_MOST);
	for (w.part = 0; w.part < w.parts && result == DB_OK; w.part++) {
		result = collect_names(&w);
		if (result == DB_OK)
			result = list(&w, look_at_bucket);
	}
	w.part = 0;
	if (result == DB_OK && (w.documents != run->documents[index] || w.straddles)) {
		result = list(&w, read_documents_of);
		result = result == DB_OK ? w.result : result;
		end_stray(&w);
	}
	free(w.names);
	return result;
}

enum db_result audit_strays(struct audit_run *run)
{
	enum db_result result = DB_OK;

	for (size_t i = 0; result == DB_OK && i < run->days[AUDIT_PACKETS].count; i++)
		result = strays_of_day(run, i);
	return result;
}
