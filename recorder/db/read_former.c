/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read_former.h"

#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/db/days.h"
#include "recorder/ledger/rows.h"

#define DAY_MS 86400000ll

/* One command with a cursor, by a client of the pool. Takes the command. */
static enum db_result ask(struct db *db, bson_t *command, read_document *each, void *arg, struct db_problem *problem)
{
	struct db_client client;
	enum db_result result = db_client_pop(db, &client, problem);

	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
	if (result == DB_OK) {
		result = db_each(&client, NULL, command, each, arg, problem);
		db_client_done(&client);
	}
	bson_destroy(command);
	return result;
}

static bool is_there(void *arg, const bson_t *doc)
{
	(void)doc;
	*(bool *)arg = true;
	return false;
}

enum db_result read_event_there(struct db *db, const uint8_t *id, uint32_t length, bool *there, struct db_problem *problem)
{
	*there = false;
	return ask(db,
		   BCON_NEW("find", BCON_UTF8("events"), "filter", "{", "_id", BCON_BIN(BSON_SUBTYPE_BINARY, id, length), "}",
			    "limit", BCON_INT32(1)),
		   is_there, there, problem);
}

enum db_result read_open_gaps(struct db *db, const struct read_former_of *of, read_document *each, void *arg,
			      struct db_problem *problem)
{
	return ask(db,
		   BCON_NEW("find", BCON_UTF8("events"), "filter", "{", "kind", BCON_UTF8("gap"), "sensor",
			    BCON_UTF8(of->sensor), "iface", BCON_UTF8(of->iface), "end", BCON_NULL, "ts", "{", "$lt",
			    BCON_DATE_TIME(clock_ms(of->created)), "}", "capture", "{", "$ne",
			    BCON_BIN(BSON_SUBTYPE_BINARY, of->capture, CAPTURE_ID_LEN), "}", "}"),
		   each, arg, problem);
}

/* ---- the capture before ---------------------------------------------------------------------------------------- */

struct start {
	const struct read_former_of *of;
	struct read_former *former;
	int64_t began_ms;
	int64_t stop_ms;
};

static bool keep_start(void *arg, const bson_t *doc)
{
	struct start *start = arg;
	bson_iter_t it, at;
	bson_subtype_t subtype;
	const uint8_t *bytes;
	uint32_t length;

	if (!bson_iter_init_find(&it, doc, "_id") || !BSON_ITER_HOLDS_BINARY(&it))
		return false;
	bson_iter_binary(&it, &subtype, &length, &bytes);
	if (length < CAPTURE_ID_LEN || !bson_iter_init_find(&at, doc, "ts"))
		return false;
	memcpy(start->former->capture, bytes, CAPTURE_ID_LEN);
	start->former->found = true;
	start->began_ms = bson_iter_date_time(&at);
	start->former->same_boot = bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, "details.boot", &at) &&
				   BSON_ITER_HOLDS_UTF8(&at) && !strcmp(bson_iter_utf8(&at, NULL), start->of->boot);
	return false;
}

static enum db_result find_start(struct db *db, struct start *start, struct db_problem *problem)
{
	const struct read_former_of *of = start->of;

	return ask(db,
		   BCON_NEW("find", BCON_UTF8("events"), "filter", "{", "kind", "{", "$in", "[", BCON_UTF8("start"),
			    BCON_UTF8("resume"), "]", "}", "ts", "{", "$lt", BCON_DATE_TIME(clock_ms(of->created)), "}", "sensor", BCON_UTF8(of->sensor), "iface",
			    BCON_UTF8(of->iface), "details.capture", "{", "$ne",
			    BCON_BIN(BSON_SUBTYPE_BINARY, of->capture, CAPTURE_ID_LEN), "}", "$or", "[", "{",
			    "details.instance", BCON_UTF8(of->instance), "}", "{", "details.boot", "{", "$ne",
			    BCON_UTF8(of->boot), "}", "}", "{", "details.netns", BCON_INT64(of->netns), "}", "]", "}", "sort",
			    "{", "ts", BCON_INT32(-1), "}", "limit", BCON_INT32(1)),
		   keep_start, start, problem);
}

static bool keep_stop(void *arg, const bson_t *doc)
{
	struct start *start = arg;
	bson_iter_t it;

	start->former->stopped = bson_iter_init_find(&it, doc, "ts") && BSON_ITER_HOLDS_DATE_TIME(&it);
	if (start->former->stopped)
		start->stop_ms = bson_iter_date_time(&it);
	return false;
}

/* `stop` of that capture, or, of earlier versions, of its sensor. */
static enum db_result find_stop(struct db *db, struct start *start, struct db_problem *problem)
{
	const struct read_former_of *of = start->of;

	return ask(db,
		   BCON_NEW("find", BCON_UTF8("events"), "filter", "{", "kind", BCON_UTF8("stop"), "sensor",
			    BCON_UTF8(of->sensor), "ts", "{", "$gte", BCON_DATE_TIME(start->began_ms), "$lt",
			    BCON_DATE_TIME(clock_ms(of->created)), "}", "iface", "{", "$in", "[", BCON_UTF8(of->iface),
			    BCON_NULL, "]", "}", "}", "sort", "{", "ts", BCON_INT32(-1), "}", "limit", BCON_INT32(1)),
		   keep_stop, start, problem);
}

static bool keep_end(void *arg, const bson_t *doc)
{
	int64_t *end_ms = arg;
	bson_iter_t ts, secs;

	if (bson_iter_init_find(&ts, doc, "ts") && BSON_ITER_HOLDS_DATE_TIME(&ts) && bson_iter_init_find(&secs, doc, "secs"))
		*end_ms = bson_iter_date_time(&ts) + bson_iter_as_int64(&secs) * 1000;
	return false;
}

/* End of the newest second of a side, ms; 0: there is none. Newest day first. */
static enum db_result find_end(struct db *db, const uint8_t *capture, uint32_t side, const uint32_t *days, size_t count,
			       int64_t *end_ms, struct db_problem *problem)
{
	uint8_t from[BALANCE_ID_LEN], to[BALANCE_ID_LEN];
	enum db_result result = DB_OK;
	char name[DAYS_NAME];

	*end_ms = 0;
	balance_id(from, capture, side, 0);
	balance_id(to, capture, side, UINT64_MAX);
	for (size_t i = count; result == DB_OK && !*end_ms && i > 0; i--)
		result = ask(db,
			     BCON_NEW("find", BCON_UTF8(days_collection(name, "balance", days[i - 1])), "filter", "{", "_id",
				      "{", "$gte", BCON_BIN(BSON_SUBTYPE_BINARY, from, sizeof(from)), "$lte",
				      BCON_BIN(BSON_SUBTYPE_BINARY, to, sizeof(to)), "}", "}", "sort", "{", "_id",
				      BCON_INT32(-1), "}", "limit", BCON_INT32(1)),
			     keep_end, end_ms, problem);
	return result;
}

static enum db_result find_until(struct db *db, struct start *start, struct db_problem *problem)
{
	CLEANUP_FREE uint32_t *days = NULL;
	size_t count;
	enum db_result result = days_list(db, "balance", &days, &count, problem);
	int64_t until = 0;

	for (uint32_t side = 0; result == DB_OK && side < REC_SIDES; side++) {
		int64_t end;

		result = find_end(db, start->former->capture, side, days, count, &end, problem);
		if (end && (!until || end < until))
			until = end;
	}
	if (!until)
		until = start->began_ms;
	if (start->former->stopped && start->stop_ms < until) /* within its last second */
		until = start->stop_ms;
	start->former->until = until * 1000000;
	return result;
}

static bool keep_count(void *arg, const bson_t *doc)
{
	bson_iter_t it;

	if (bson_iter_init_find(&it, doc, "n"))
		*(int64_t *)arg += bson_iter_as_int64(&it);
	return false;
}

/* What was stored of it after the last second that was: of that day and the next, further on there cannot be any. */
static enum db_result count_rest(struct db *db, struct start *start, struct db_problem *problem)
{
	const struct read_former_of *of = start->of;
	int64_t from = clock_ms(start->former->until), to = clock_ms(of->created);
	enum db_result result = DB_OK;
	CLEANUP_FREE uint32_t *days = NULL;
	char name[DAYS_NAME];
	size_t count;

	result = days_list(db, "packets", &days, &count, problem);
	for (size_t i = 0; result == DB_OK && i < count; i++) {
		if (days[i] < clock_day(start->former->until) || clock_day_start(days[i]) / 1000000 > from + DAY_MS)
			continue;
		result = ask(db,
			     BCON_NEW("aggregate", BCON_UTF8(days_collection(name, "packets", days[i])), "pipeline", "[", "{",
				      "$match", "{", "meta.sensor", BCON_UTF8(of->sensor), "meta.iface", BCON_UTF8(of->iface),
				      "ts", "{", "$gte", BCON_DATE_TIME(from), "$lt", BCON_DATE_TIME(to), "}", "}", "}", "{",
				      "$count", BCON_UTF8("n"), "}", "]", "cursor", "{", "}"),
			     keep_count, &start->former->unaccounted, problem);
	}
	return result;
}

enum db_result read_former(struct db *db, const struct read_former_of *of, struct read_former *former,
			   struct db_problem *problem)
{
	struct start start = {.of = of, .former = former};
	struct read_ledger entry = {0};
	enum db_result result;

	*former = (struct read_former){0};
	result = find_start(db, &start, problem);
	if (result != DB_OK || !former->found)
		return result;
	result = find_stop(db, &start, problem);
	if (result == DB_OK)
		result = find_until(db, &start, problem);
	if (result == DB_OK)
		result = read_ledger_newest(db, former->capture, &entry, problem);
	former->last_batch = entry.number;
	if (result == DB_OK)
		result = count_rest(db, &start, problem);
	return result;
}
