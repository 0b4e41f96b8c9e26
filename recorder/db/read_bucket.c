/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read_bucket.h"

#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/db/days.h"
#include "recorder/encode/bucket_read.h"
#include "recorder/ledger/journal.h"
#include "recorder/ledger/rows.h"

/* Buckets asked for at once: a few megabytes. */
#define GROUP 32u

/* system.buckets.<collection> */
#define BUCKETS_PREFIX "system.buckets."
#define COLLECTION_MOST 256

static void append_oid(bson_t *to, const char *key, const uint8_t id[BUCKET_ID_LEN])
{
	bson_oid_t oid;

	memcpy(oid.bytes, id, sizeof(oid.bytes));
	bson_append_oid(to, key, -1, &oid);
}

/* {find, filter: {_id: {$in: ids}}, readConcern, maxTimeMS, rawData}; the clustered collection gives them by _id. */
static void buckets_command(bson_t *command, const char *collection, const uint8_t *ids, uint32_t count, bool raw)
{
	bson_t filter, in, array, concern;
	char name[COLLECTION_MOST + sizeof(BUCKETS_PREFIX)], text[16];
	const char *key;

	snprintf(name, sizeof(name), "%s%s", raw ? "" : BUCKETS_PREFIX, collection);
	BSON_APPEND_UTF8(command, "find", name);
	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &filter);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &array);
	for (uint32_t i = 0; i < count; i++) {
		bson_uint32_to_string(i, &key, text, sizeof(text));
		append_oid(&array, key, ids + (size_t)i * BUCKET_ID_LEN);
	}
	bson_append_array_end(&in, &array);
	bson_append_document_end(&filter, &in);
	bson_append_document_end(command, &filter);
	BSON_APPEND_INT32(command, "batchSize", (int32_t)count + 1); /* the cursor ends with the first answer */
	BSON_APPEND_DOCUMENT_BEGIN(command, "readConcern", &concern);
	BSON_APPEND_UTF8(&concern, "level", "majority");
	bson_append_document_end(command, &concern);
	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
	if (raw)
		BSON_APPEND_BOOL(command, "rawData", true);
}

struct one {
	bson_t *bucket;
	bool found;
};

static bool keep_one(void *arg, const bson_t *document)
{
	struct one *one = arg;

	bson_copy_to(document, one->bucket);
	one->found = true;
	return false;
}

enum db_result read_bucket_raw(struct db_client *client, const char *collection, const uint8_t id[BUCKET_ID_LEN],
			       bool raw, bson_t *bucket, bool *found, struct db_problem *problem)
{
	struct one one = {.bucket = bucket};
	bson_t command = BSON_INITIALIZER;
	enum db_result result;

	buckets_command(&command, collection, id, 1, raw);
	result = db_each(client, NULL, &command, keep_one, &one, problem);
	bson_destroy(&command);
	*found = one.found;
	return result;
}

/* ---- a batch's packets ------------------------------------------------------------------------------------- */

struct walker {
	struct db_client *client;
	const char *collection;
	bool raw;
	read_document *each;
	void *arg;
	struct read_walk *walk;
	uint32_t group; /* buckets of the last group that were there */
};

static enum db_result choose_way(struct walker *w, struct db_problem *problem)
{
	struct db_peer peer;
	enum db_result result = db_peer(w->client, &peer, problem);

	w->raw = result == DB_OK && peer.wire >= READ_RAW_WIRE;
	return result;
}

static bool give(struct walker *w, const bson_t *document)
{
	w->walk->packets++;
	if (!w->each(w->arg, document))
		w->walk->stopped = true;
	return !w->walk->stopped;
}

static bool give_measurement(void *arg, uint32_t index, const bson_t *document)
{
	(void)index;
	return give(arg, document);
}

static bool give_document(void *arg, const bson_t *document)
{
	return give(arg, document);
}

static bool give_bucket(void *arg, const bson_t *bucket)
{
	struct walker *w = arg;
	const char *damage = "out of memory";
	int status;

	if (w->walk->bucket && !w->walk->bucket(w->arg, bucket)) {
		w->walk->stopped = true;
		return false;
	}
	status = bucket_read(bucket, give_measurement, w, &damage);
	w->walk->buckets++;
	w->group++;
	if (status < 0 && !w->walk->stopped) {
		w->walk->damaged++;
		w->walk->damage = damage;
	}
	return !w->walk->stopped;
}

/* The buckets of some ids; w->group says how many of them were there. */
static enum db_result walk_group(struct walker *w, const uint8_t *ids, uint32_t count, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER;
	enum db_result result;

	w->group = 0;
	buckets_command(&command, w->collection, ids, count, w->raw);
	result = db_each(w->client, NULL, &command, give_bucket, w, problem);
	bson_destroy(&command);
	return result;
}

/* What a ledger entry says that is needed here. */
struct entry {
	const uint8_t *capture;
	uint64_t number;
	int32_t mode;
	const char *collection;
	int64_t first_ms, last_ms;
	const uint8_t *buckets;
	uint32_t count; /* of buckets */
	int64_t documents;
};

static const uint8_t *binary_of(const bson_iter_t *it, uint32_t *len)
{
	const uint8_t *bytes = NULL;
	bson_subtype_t subtype;

	*len = 0;
	if (BSON_ITER_HOLDS_BINARY(it))
		bson_iter_binary(it, &subtype, len, &bytes);
	return bytes;
}

static enum db_result take_entry(struct entry *e, const bson_t *document, struct db_problem *problem)
{
	uint32_t id_len = 0, buckets_len = 0;
	bson_iter_t it;

	*e = (struct entry){.mode = JOURNAL_DOCUMENTS};
	if (!bson_iter_init(&it, document))
		return db_problem_set(problem, DB_FATAL, "a ledger entry that is no document");
	while (bson_iter_next(&it)) {
		const char *key = bson_iter_key(&it);

		if (!strcmp(key, "_id"))
			e->capture = binary_of(&it, &id_len);
		else if (!strcmp(key, "mode"))
			e->mode = (int32_t)bson_iter_as_int64(&it);
		else if (!strcmp(key, "collection") && BSON_ITER_HOLDS_UTF8(&it))
			e->collection = bson_iter_utf8(&it, NULL);
		else if (!strcmp(key, "ts") && BSON_ITER_HOLDS_DATE_TIME(&it))
			e->first_ms = bson_iter_date_time(&it);
		else if (!strcmp(key, "last") && BSON_ITER_HOLDS_DATE_TIME(&it))
			e->last_ms = bson_iter_date_time(&it);
		else if (!strcmp(key, "buckets"))
			e->buckets = binary_of(&it, &buckets_len);
		else if (!strcmp(key, "documents"))
			e->documents = bson_iter_as_int64(&it);
	}
	if (id_len != LEDGER_ID_LEN || !e->collection || strlen(e->collection) > COLLECTION_MOST ||
	    buckets_len % BUCKET_ID_LEN)
		return db_problem_set(problem, DB_FATAL,
				      "a ledger entry without a whole _id, collection or list of buckets");
	e->number = get_be64(e->capture + CAPTURE_ID_LEN);
	e->count = buckets_len / BUCKET_ID_LEN;
	return DB_OK;
}

enum db_result read_entry(struct db_client *client, const bson_t *document, read_document *each, void *arg,
			  struct read_walk *walk, struct db_problem *problem)
{
	struct walker w = {.client = client, .each = each, .arg = arg, .walk = walk};
	struct entry e;
	enum db_result result = take_entry(&e, document, problem);

	if (result == DB_OK && e.count)
		result = choose_way(&w, problem);
	w.collection = e.collection;
	for (uint32_t i = 0; result == DB_OK && !walk->stopped && i < e.count; i += GROUP) {
		uint32_t n = e.count - i < GROUP ? e.count - i : GROUP;

		result = walk_group(&w, e.buckets + (size_t)i * BUCKET_ID_LEN, n, problem);
		if (result == DB_OK && !walk->stopped)
			walk->missing += n - w.group;
	}
	if (result == DB_OK && !walk->stopped && (e.mode == JOURNAL_DOCUMENTS || e.documents))
		result = read_documents(client, e.collection, e.capture, e.number, e.first_ms, e.last_ms, give_document,
					&w, problem);
	return result;
}

enum db_result read_unledgered(struct db_client *client, const struct batch *batch, const struct bucket_form *form,
			       read_document *each, void *arg, struct read_walk *walk, struct db_problem *problem)
{
	char name[DAYS_NAME];
	struct walker w = {.client = client,
			   .collection = days_collection(name, "packets", batch->day),
			   .raw = form->raw,
			   .each = each,
			   .arg = arg,
			   .walk = walk};
	enum db_result result = DB_OK;
	unsigned absent = 0;

	for (uint32_t i = 0; result == DB_OK && !walk->stopped && absent < 2 && walk->packets < batch->nrecords; i++) {
		uint8_t id[BUCKET_ID_LEN];

		if (bucket_id(id, batch, form, i) < 0)
			return db_problem_set(problem, DB_LATER, "out of memory");
		result = walk_group(&w, id, 1, problem);
		absent = w.group ? 0 : absent + 1;
	}
	if (result == DB_OK && !walk->stopped && walk->packets < batch->nrecords)
		result = read_documents(client, w.collection, batch->source->capture, batch->number,
					clock_ms(batch_wall(batch, batch->first_boot)),
					clock_ms(batch_wall(batch, batch->last_boot)), give_document, &w, problem);
	return result;
}
