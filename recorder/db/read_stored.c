/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read_stored.h"

#include <stdio.h>
#include <string.h>

#include "recorder/core/util.h"

#define PAGE 500 /* buckets that the server looks at in one command */

struct listing {
	read_stored_each *each;
	void *arg;
	uint8_t last[BUCKET_ID_LEN];
	uint32_t met;
	bool stopped;
};

static int64_t number(const bson_t *document, const char *name)
{
	bson_iter_t it;

	if (!bson_iter_init_find(&it, document, name))
		return 0;
	return BSON_ITER_HOLDS_DATE_TIME(&it) ? bson_iter_date_time(&it) : bson_iter_as_int64(&it);
}

static const char *text(const bson_t *document, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, document, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "";
}

static bool take(void *arg, const bson_t *document)
{
	struct listing *listing = arg;
	struct read_stored one = {.finished = number(document, "finished") != 0,
				  .packets = (uint32_t)number(document, "packets"),
				  .first_ms = number(document, "first"),
				  .last_ms = number(document, "last"),
				  .sensor = text(document, "sensor"),
				  .iface = text(document, "iface")};
	bson_iter_t it;

	listing->met++;
	if (!bson_iter_init_find(&it, document, "_id") || !BSON_ITER_HOLDS_OID(&it))
		return true;
	memcpy(one.id, bson_iter_oid(&it)->bytes, sizeof(one.id));
	memcpy(listing->last, one.id, sizeof(one.id));
	if (!listing->each(listing->arg, &one))
		listing->stopped = true;
	return !listing->stopped;
}

static void append_oid(bson_t *to, const char *key, const uint8_t id[BUCKET_ID_LEN])
{
	bson_oid_t oid;

	memcpy(oid.bytes, id, sizeof(oid.bytes));
	BSON_APPEND_OID(to, key, &oid);
}

/* Version 1 has no count: as many packets as times. */
#define PROJECT                                                                                                        \
	"{\"$project\": {\"sensor\": \"$meta.sensor\", \"iface\": \"$meta.iface\", \"first\": \"$control.min.ts\","     \
	" \"last\": \"$control.max.ts\","                                                                              \
	" \"finished\": {\"$cond\": [{\"$eq\": [{\"$type\": \"$data._id\"}, \"missing\"]}, 1, 0]},"                      \
	" \"packets\": {\"$cond\": [{\"$eq\": [\"$control.version\", 1]}, {\"$size\": {\"$objectToArray\": \"$data.ts\"}}," \
	" \"$control.count\"]}}}"

static void append_pipeline(bson_t *command, const uint8_t *from, bool behind, const uint8_t *to)
{
	bson_t pipeline, stage, match, range, *project = bson_new_from_json((const uint8_t *)PROJECT, -1, NULL);

	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
	BSON_APPEND_DOCUMENT_BEGIN(&match, "_id", &range);
	append_oid(&range, behind ? "$gt" : "$gte", from);
	append_oid(&range, "$lte", to);
	bson_append_document_end(&match, &range);
	bson_append_document_end(&stage, &match);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$sort", &match);
	BSON_APPEND_INT32(&match, "_id", 1);
	bson_append_document_end(&stage, &match);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "2", &stage);
	BSON_APPEND_INT32(&stage, "$limit", PAGE);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT(&pipeline, "3", project);
	bson_append_array_end(command, &pipeline);
	bson_destroy(project);
}

static enum db_result list_page(struct db_client *client, const char *collection, bool raw, const uint8_t *to, bool begin,
				struct listing *listing, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, part;
	char name[300];
	enum db_result result;

	snprintf(name, sizeof(name), "%s%s", raw ? "" : "system.buckets.", collection);
	BSON_APPEND_UTF8(&command, "aggregate", name);
	append_pipeline(&command, listing->last, !begin, to);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &part);
	BSON_APPEND_INT32(&part, "batchSize", PAGE + 1);
	bson_append_document_end(&command, &part);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "readConcern", &part);
	BSON_APPEND_UTF8(&part, "level", "majority");
	bson_append_document_end(&command, &part);
	BSON_APPEND_INT32(&command, "maxTimeMS", DB_MAX_TIME_MS);
	if (raw)
		BSON_APPEND_BOOL(&command, "rawData", true);
	listing->met = 0;
	result = db_each(client, NULL, &command, take, listing, problem);
	bson_destroy(&command);
	return result;
}

enum db_result read_stored(struct db_client *client, const char *collection, bool raw, uint32_t from_s, uint32_t to_s,
			   read_stored_each *each, void *arg, struct db_problem *problem)
{
	struct listing listing = {.each = each, .arg = arg};
	uint8_t to[BUCKET_ID_LEN];
	enum db_result result;
	bool begin = true;

	memset(to, 0xff, sizeof(to));
	put_be32(to, to_s);
	put_be32(listing.last, from_s);
	do {
		result = list_page(client, collection, raw, to, begin, &listing, problem);
		begin = false;
	} while (result == DB_OK && !listing.stopped && listing.met >= PAGE);
	return result;
}
