/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read.h"

#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/db/days.h"
#include "recorder/db/read_bucket.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/rows.h"

/* A packet's _id: capture (16), number (6), version (2), position (4). */
#define ID_NUMBER CAPTURE_ID_LEN
#define ID_VERSION (ID_NUMBER + 6)

static void append_id_range(bson_t *filter, const uint8_t *from, const uint8_t *to, uint32_t len)
{
	bson_t range;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
	BSON_APPEND_BINARY(&range, "$gte", BSON_SUBTYPE_BINARY, from, len);
	BSON_APPEND_BINARY(&range, "$lte", BSON_SUBTYPE_BINARY, to, len);
	bson_append_document_end(filter, &range);
}

static void append_time_range(bson_t *filter, int64_t first_ms, int64_t last_ms)
{
	bson_t range;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "ts", &range);
	BSON_APPEND_DATE_TIME(&range, "$gte", first_ms);
	BSON_APPEND_DATE_TIME(&range, "$lte", last_ms);
	bson_append_document_end(filter, &range);
}

static void append_concern(bson_t *command, bool majority)
{
	bson_t concern;

	BSON_APPEND_DOCUMENT_BEGIN(command, "readConcern", &concern);
	BSON_APPEND_UTF8(&concern, "level", majority ? "majority" : "local");
	bson_append_document_end(command, &concern);
	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
}

/* ---- balance ----------------------------------------------------------------------------------------------- */

static const struct {
	enum rec_term term;
	const char *path;
} terms[] = {
	{REC_SEEN, "seen"},
	{REC_PUBLISHED, "stored"},
	{REC_FILTERED_OWN, "filtered.own"},
	{REC_FILTERED_EXPR, "filtered.expr"},
	{REC_BLOCKED, "blocked"},
	{REC_SUMMARISED_FLOW, "summarised.flow"},
	{REC_SUMMARISED_PREFIX, "summarised.prefix"},
	{REC_LOST_RING_FULL, "lost.ring_full"},
	{REC_LOST_CONTENDED, "lost.contended"},
	{REC_LOST_NO_RING, "lost.no_ring"},
	{REC_LOST_UNREADABLE, "lost.unreadable"},
};

static void append_sum(bson_t *group, const char *key, const char *path)
{
	bson_t sum;

	BSON_APPEND_DOCUMENT_BEGIN(group, key, &sum);
	BSON_APPEND_UTF8(&sum, "$sum", path);
	bson_append_document_end(group, &sum);
}

static void append_match(bson_t *match, const struct read_balance_filter *filter)
{
	if (filter->capture) {
		uint8_t from[BALANCE_ID_LEN] = {0}, to[BALANCE_ID_LEN];
		memset(to, 0xff, sizeof(to));
		memcpy(from, filter->capture, CAPTURE_ID_LEN);
		memcpy(to, filter->capture, CAPTURE_ID_LEN);
		append_id_range(match, from, to, sizeof(from));
	}
	if (filter->sensor)
		BSON_APPEND_UTF8(match, "sensor", filter->sensor);
	if (filter->iface)
		BSON_APPEND_UTF8(match, "iface", filter->iface);
	if (filter->side >= 0)
		BSON_APPEND_UTF8(match, "side", filter->side == REC_TX ? "tx" : "rx");
}

static void append_balance_pipeline(bson_t *command, const struct read_balance_filter *filter)
{
	bson_t pipeline, stage, match, group, count;
	char key[16], path[64];

	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
	append_match(&match, filter);
	bson_append_document_end(&stage, &match);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$group", &group);
	BSON_APPEND_NULL(&group, "_id");
	BSON_APPEND_DOCUMENT_BEGIN(&group, "documents", &count);
	BSON_APPEND_INT64(&count, "$sum", 1);
	bson_append_document_end(&group, &count);
	append_sum(&group, "seconds", "$secs");
	for (size_t i = 0; i < ARRAY_SIZE(terms); i++) {
		snprintf(key, sizeof(key), "p%d", (int)terms[i].term);
		snprintf(path, sizeof(path), "$%s.packets", terms[i].path);
		append_sum(&group, key, path);
		snprintf(key, sizeof(key), "b%d", (int)terms[i].term);
		snprintf(path, sizeof(path), "$%s.bytes", terms[i].path);
		append_sum(&group, key, path);
	}
	bson_append_document_end(&stage, &group);
	bson_append_document_end(&pipeline, &stage);
	bson_append_array_end(command, &pipeline);
}

static uint64_t number_of(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_NUMBER(&it) ? (uint64_t)bson_iter_as_int64(&it)
										  : 0;
}

static bool add_balance(void *arg, const bson_t *doc)
{
	struct read_balance *sums = arg;
	char key[16];

	sums->documents += number_of(doc, "documents");
	sums->seconds += number_of(doc, "seconds");
	for (size_t i = 0; i < ARRAY_SIZE(terms); i++) {
		snprintf(key, sizeof(key), "p%d", (int)terms[i].term);
		sums->term[terms[i].term].packets += number_of(doc, key);
		snprintf(key, sizeof(key), "b%d", (int)terms[i].term);
		sums->term[terms[i].term].bytes += number_of(doc, key);
	}
	return true;
}

enum db_result read_balance(struct db *db, const struct read_balance_filter *filter, struct read_balance *sums,
			    struct db_problem *problem)
{
	CLEANUP_FREE uint32_t *days = NULL;
	struct db_client client;
	char name[DAYS_NAME];
	size_t count;
	enum db_result result = days_list(db, "balance", &days, &count, problem);

	memset(sums, 0, sizeof(*sums));
	if (result == DB_OK)
		result = db_client_pop(db, &client, problem);
	if (result != DB_OK)
		return result;
	for (size_t i = 0; result == DB_OK && i < count; i++) {
		if ((filter->first_day && days[i] < filter->first_day) ||
		    (filter->last_day && days[i] > filter->last_day))
			continue;
		bson_t command = BSON_INITIALIZER, cursor;
		BSON_APPEND_UTF8(&command, "aggregate", days_collection(name, "balance", days[i]));
		append_balance_pipeline(&command, filter);
		BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
		bson_append_document_end(&command, &cursor);
		append_concern(&command, false);
		result = db_each(&client, NULL, &command, add_balance, sums, problem);
		bson_destroy(&command);
	}
	db_client_done(&client);
	return result;
}

/* ---- ledger ------------------------------------------------------------------------------------------------ */

static void copy_binary(const bson_t *doc, const char *name, uint8_t *out, uint32_t size)
{
	bson_subtype_t subtype;
	const uint8_t *bytes;
	bson_iter_t it;
	uint32_t len;

	if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_BINARY(&it))
		return;
	bson_iter_binary(&it, &subtype, &len, &bytes);
	if (len == size)
		memcpy(out, bytes, size);
}

struct newest {
	struct read_ledger *entry;
	uint32_t day;
};

static bool keep_newest(void *arg, const bson_t *doc)
{
	struct newest *newest = arg;
	struct read_ledger *entry = newest->entry;
	uint8_t id[LEDGER_ID_LEN] = {0};

	copy_binary(doc, "_id", id, sizeof(id));
	uint64_t number = get_be64(id + CAPTURE_ID_LEN);
	if (entry->found && number <= entry->number)
		return true;
	*entry = (struct read_ledger){.found = true, .number = number, .day = newest->day};
	entry->packets = (uint32_t)number_of(doc, "packets");
	copy_binary(doc, "digest", entry->digest, DIGEST_LEN);
	copy_binary(doc, "previous", entry->previous, DIGEST_LEN);
	return true;
}

enum db_result read_ledger_newest(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], struct read_ledger *entry,
				  struct db_problem *problem)
{
	CLEANUP_FREE uint32_t *days = NULL;
	uint8_t from[LEDGER_ID_LEN], to[LEDGER_ID_LEN];
	struct db_client client;
	char name[DAYS_NAME];
	size_t count;
	enum db_result result = days_list(db, "batches", &days, &count, problem);

	*entry = (struct read_ledger){0};
	if (result == DB_OK)
		result = db_client_pop(db, &client, problem);
	if (result != DB_OK)
		return result;
	ledger_id(from, capture, 0);
	ledger_id(to, capture, UINT64_MAX);
	/* All days: after a step of the clock the newest number need not lie in the newest day. */
	for (size_t i = 0; result == DB_OK && i < count; i++) {
		struct newest newest = {entry, days[i]};
		bson_t command = BSON_INITIALIZER, filter, sort;
		BSON_APPEND_UTF8(&command, "find", days_collection(name, "batches", days[i]));
		BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
		append_id_range(&filter, from, to, sizeof(from));
		bson_append_document_end(&command, &filter);
		BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &sort);
		BSON_APPEND_INT32(&sort, "_id", -1);
		bson_append_document_end(&command, &sort);
		BSON_APPEND_INT32(&command, "limit", 1);
		append_concern(&command, false);
		result = db_each(&client, NULL, &command, keep_newest, &newest, problem);
		bson_destroy(&command);
	}
	db_client_done(&client);
	return result;
}

struct copy {
	bson_t *out;
	bool found;
};

static bool keep_copy(void *arg, const bson_t *doc)
{
	struct copy *copy = arg;

	bson_copy_to(doc, copy->out);
	copy->found = true;
	return false;
}

enum db_result read_ledger_entry(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number, uint32_t day,
				 bson_t *entry, bool *found, struct db_problem *problem)
{
	uint8_t id[LEDGER_ID_LEN];
	struct copy copy = {.out = entry};
	struct db_client client;
	char name[DAYS_NAME];
	bson_t command = BSON_INITIALIZER, filter;
	enum db_result result = db_client_pop(db, &client, problem);

	*found = false;
	if (result == DB_OK) {
		ledger_id(id, capture, number);
		BSON_APPEND_UTF8(&command, "find", days_collection(name, "batches", day));
		BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
		BSON_APPEND_BINARY(&filter, "_id", BSON_SUBTYPE_BINARY, id, sizeof(id));
		bson_append_document_end(&command, &filter);
		BSON_APPEND_INT32(&command, "limit", 1);
		append_concern(&command, false);
		result = db_each(&client, NULL, &command, keep_copy, &copy, problem);
		db_client_done(&client);
	}
	bson_destroy(&command);
	*found = copy.found;
	return result;
}

/* ---- packets ----------------------------------------------------------------------------------------------- */

enum db_result read_documents(struct db_client *client, const char *collection, const uint8_t capture[CAPTURE_ID_LEN],
			      uint64_t number, int64_t first_ms, int64_t last_ms, read_document *each, void *arg,
			      struct db_problem *problem)
{
	const struct batch_source source = {.sensor = "", .iface = ""};
	struct batch_source mine = source;
	struct batch batch = {.source = &mine, .number = number};
	uint8_t from[PACKET_ID_LEN], to[PACKET_ID_LEN];
	bson_t command = BSON_INITIALIZER, filter, sort;
	enum db_result result;

	memcpy(mine.capture, capture, CAPTURE_ID_LEN);
	packet_id(from, &batch, 0);
	packet_id(to, &batch, 0);
	memset(from + ID_VERSION, 0, sizeof(from) - ID_VERSION);
	memset(to + ID_VERSION, 0xff, sizeof(to) - ID_VERSION);
	BSON_APPEND_UTF8(&command, "find", collection);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
	if (first_ms || last_ms)
		append_time_range(&filter, first_ms, last_ms);
	append_id_range(&filter, from, to, sizeof(from));
	bson_append_document_end(&command, &filter);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &sort);
	BSON_APPEND_INT32(&sort, "_id", 1);
	bson_append_document_end(&command, &sort);
	append_concern(&command, true);
	result = db_each(client, NULL, &command, each, arg, problem);
	bson_destroy(&command);
	return result;
}

enum db_result read_batch(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number, uint32_t day,
			  int64_t first_ms, int64_t last_ms, read_document *each, void *arg, struct db_problem *problem)
{
	struct read_walk walk = {0};
	struct db_client client;
	char name[DAYS_NAME];
	bson_t entry;
	bool found;
	enum db_result result = read_ledger_entry(db, capture, number, day, &entry, &found, problem);

	if (result == DB_OK)
		result = db_client_pop(db, &client, problem);
	if (result == DB_OK) {
		if (found)
			result = read_entry(&client, &entry, each, arg, &walk, problem);
		else
			result = read_documents(&client, days_collection(name, "packets", day), capture, number,
						first_ms, last_ms, each, arg, problem);
		db_client_done(&client);
	}
	if (found)
		bson_destroy(&entry);
	return result;
}

struct positions {
	uint8_t *present;
	uint32_t count;
};

static bool note_position(void *arg, const bson_t *doc)
{
	struct positions *positions = arg;
	uint8_t id[PACKET_ID_LEN];

	memset(id, 0xff, sizeof(id));
	copy_binary(doc, "_id", id, sizeof(id));
	uint32_t position = get_be32(id + PACKET_ID_LEN - 4);
	if (position < positions->count && positions->present[position] < UINT8_MAX)
		positions->present[position]++;
	return true;
}

enum db_result read_batch_positions(struct db_client *client, const struct batch *batch, bool majority,
				    uint8_t *present, uint32_t count, struct db_problem *problem)
{
	struct positions positions = {present, count};
	uint8_t from[PACKET_ID_LEN], to[PACKET_ID_LEN];
	char name[DAYS_NAME];
	bson_t command = BSON_INITIALIZER, filter, projection;
	enum db_result result;

	memset(present, 0, count);
	if (!count)
		return DB_OK;
	packet_id(from, batch, 0);
	packet_id(to, batch, count - 1);
	BSON_APPEND_UTF8(&command, "find", days_collection(name, "packets", batch->day));
	BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
	append_time_range(&filter, clock_ms(batch_wall(batch, batch->first_boot)),
			  clock_ms(batch_wall(batch, batch->last_boot)));
	append_id_range(&filter, from, to, sizeof(from));
	bson_append_document_end(&command, &filter);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "projection", &projection);
	BSON_APPEND_INT32(&projection, "_id", 1);
	bson_append_document_end(&command, &projection);
	BSON_APPEND_INT32(&command, "batchSize",
			  (int32_t)(2 * count + 16)); /* one answer, even if all were there twice */
	append_concern(&command, majority);
	result = db_each(client, NULL, &command, note_position, &positions, problem);
	bson_destroy(&command);
	return result;
}
