/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/audit/events.h"

#include <stdio.h>

#include "recorder/audit/internal.h"
#include "recorder/core/util.h"
#include "recorder/settings/when.h"

#define SECOND 1000000000ll
/* The event of the end is written when it begins: rows may end so long behind it (the time an end may take), or just before. */
#define END_BEFORE (20 * SECOND)
#define END_BEHIND (2 * SECOND)

static enum db_result each_event(struct audit_run *run, bson_t *filter, int order, int limit, db_document *each, void *arg)
{
	bson_t command = BSON_INITIALIZER, sort, concern;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "find", "events");
	BSON_APPEND_DOCUMENT(&command, "filter", filter);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &sort);
	BSON_APPEND_INT32(&sort, "ts", order);
	bson_append_document_end(&command, &sort);
	if (limit)
		BSON_APPEND_INT32(&command, "limit", limit);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "readConcern", &concern);
	BSON_APPEND_UTF8(&concern, "level", "majority");
	bson_append_document_end(&command, &concern);
	BSON_APPEND_INT32(&command, "maxTimeMS", DB_MAX_TIME_MS);
	result = db_each(&run->client, NULL, &command, each, arg, run->problem);
	bson_destroy(&command);
	bson_destroy(filter);
	return result;
}

static bson_t *between(int64_t from, int64_t to)
{
	return BCON_NEW("ts", "{", "$gte", BCON_DATE_TIME(clock_ms(from)), "$lte", BCON_DATE_TIME(clock_ms(to)), "}");
}

static int64_t wall_of(const bson_t *event)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, event, "ts") && BSON_ITER_HOLDS_DATE_TIME(&it) ? bson_iter_date_time(&it) * 1000000 : 0;
}

static const char *text_of(const bson_t *event, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, event, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "";
}

/* The capture that an event is of, by its _id; NULL: it is none's. */
static const uint8_t *capture_of(const bson_t *event)
{
	const uint8_t *bytes;
	bson_subtype_t subtype;
	bson_iter_t it;
	uint32_t len;

	if (!bson_iter_init_find(&it, event, "_id") || !BSON_ITER_HOLDS_BINARY(&it))
		return NULL;
	bson_iter_binary(&it, &subtype, &len, &bytes);
	return len >= CAPTURE_ID_LEN + 8 ? bytes : NULL;
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

struct end_look {
	const struct audit_capture *capture;
	int64_t wall;
	struct audit_ending *ending;
};

/* {former: {capture, last_batch}} of a gap: what the next capture of the interface found of this one. */
static bool is_former(const bson_t *event, const uint8_t *capture, uint64_t *last_batch)
{
	const uint8_t *bytes = NULL;
	bson_subtype_t subtype;
	bson_iter_t it, at;
	uint32_t len = 0;

	if (bson_iter_init(&it, event) && bson_iter_find_descendant(&it, "former.capture", &at) && BSON_ITER_HOLDS_BINARY(&at))
		bson_iter_binary(&at, &subtype, &len, &bytes);
	if (len != CAPTURE_ID_LEN || memcmp(bytes, capture, len))
		return false;
	if (bson_iter_init(&it, event) && bson_iter_find_descendant(&it, "former.last_batch", &at) && BSON_ITER_HOLDS_INT(&at))
		*last_batch = (uint64_t)bson_iter_as_int64(&at);
	return true;
}

static bool look_at_end(void *arg, const bson_t *event)
{
	struct end_look *look = arg;
	struct audit_ending *e = look->ending;
	const char *kind = text_of(event, "kind"), *iface = text_of(event, "iface");

	if (iface[0] && strcmp(iface, look->capture->iface))
		return true;
	if (!strcmp(kind, "stop") || !strcmp(kind, "leave") || !strcmp(kind, "interface-gone") ||
	    (!strcmp(kind, "gap") && is_former(event, look->capture->of.capture, &e->last_batch))) {
		/* The last one counts, a leave may be followed by a stop; but that the next capture found a gap behind a stop takes nothing back. */
		if (strcmp(kind, "gap") || strcmp(e->kind, "stop"))
			snprintf(e->kind, sizeof(e->kind), "%s", kind);
		e->explained = true;
	} else if (!e->explained && !e->kind[0] && wall_of(event) > look->wall) {
		snprintf(e->kind, sizeof(e->kind), "%s", kind);
	}
	return true;
}

enum db_result audit_event_of_end(struct audit_run *run, const struct audit_capture *capture, int64_t wall,
				  struct audit_ending *ending)
{
	struct end_look look = {.capture = capture, .wall = wall, .ending = ending};
	bson_t *filter = between(wall - END_BEFORE, wall + END_BEHIND);

	*ending = (struct audit_ending){0};
	BSON_APPEND_UTF8(filter, "sensor", capture->sensor);
	return each_event(run, filter, 1, 0, look_at_end, &look);
}

/* ---- beginnings -------------------------------------------------------------------------------------------------- */

struct start_look {
	uint64_t *sec;
	bool there;
};

static bool look_at_start(void *arg, const bson_t *event)
{
	static const char *const names[REC_SIDES] = {[REC_RX] = "details.rx_sec", [REC_TX] = "details.tx_sec"};
	struct start_look *look = arg;
	uint64_t *sec = look->sec;
	bson_iter_t it, at;

	for (unsigned side = 0; side < REC_SIDES; side++)
		if (bson_iter_init(&it, event) && bson_iter_find_descendant(&it, names[side], &at) && BSON_ITER_HOLDS_INT(&at))
			sec[side] = (uint64_t)bson_iter_as_int64(&at);
	look->there = true;
	return true;
}

enum db_result audit_event_of_start(struct audit_run *run, const struct audit_capture *capture, uint64_t sec[REC_SIDES],
				    bool *there)
{
	struct start_look look = {.sec = sec};
	enum db_result result;
	uint8_t from[CAPTURE_ID_LEN + 8 + sizeof("start") - 1], to[sizeof(from)];
	bson_t *filter = bson_new(), range;

	/* Ids are capture, boot time, kind; BSON orders them by length first. */
	memset(sec, 0, REC_SIDES * sizeof(*sec));
	audit_id_range(from, to, sizeof(from), capture->of.capture);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
	BSON_APPEND_BINARY(&range, "$gte", BSON_SUBTYPE_BINARY, from, sizeof(from));
	BSON_APPEND_BINARY(&range, "$lte", BSON_SUBTYPE_BINARY, to, sizeof(to));
	bson_append_document_end(filter, &range);
	BSON_APPEND_UTF8(filter, "kind", "start");
	result = each_event(run, filter, 1, 0, look_at_start, &look);
	*there = look.there;
	return result;
}

struct last {
	char kind[16];
};

static bool keep_kind(void *arg, const bson_t *event)
{
	struct last *last = arg;

	snprintf(last->kind, sizeof(last->kind), "%s", text_of(event, "kind"));
	return false;
}

static void append_edges(bson_t *filter)
{
	bson_t kind, list;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "kind", &kind);
	BSON_APPEND_ARRAY_BEGIN(&kind, "$in", &list);
	BSON_APPEND_UTF8(&list, "0", "start");
	BSON_APPEND_UTF8(&list, "1", "resume");
	BSON_APPEND_UTF8(&list, "2", "stop");
	bson_append_array_end(&kind, &list);
	bson_append_document_end(filter, &kind);
}

enum db_result audit_capture_was_off(struct audit_run *run, int64_t wall, bool *off)
{
	struct last before = {""}, within = {""};
	bson_t *filter = between(0, wall - 1);
	enum db_result result;

	append_edges(filter);
	result = each_event(run, filter, -1, 1, keep_kind, &before);
	if (result == DB_OK) {
		filter = between(wall, wall + 86400 * SECOND - 1);
		append_edges(filter);
		result = each_event(run, filter, 1, 1, keep_kind, &within);
	}
	*off = !strcmp(before.kind, "stop") && !within.kind[0];
	return result;
}

static bool check_start(void *arg, const bson_t *event)
{
	struct audit_run *run = arg;
	const uint8_t *capture = capture_of(event);
	const char *sensor = text_of(event, "sensor"), *iface = text_of(event, "iface");
	bool there = false;

	if (!capture || !audit_wants(run, sensor, iface))
		return true;
	for (size_t i = 0; i < run->ncaptures; i++)
		there |= !memcmp(run->captures[i].of.capture, capture, CAPTURE_ID_LEN);
	/* One that has just begun may have nothing to show yet. */
	if (!there && run->now - wall_of(event) > 5 * SECOND)
		run->say(run->arg, &(struct audit_finding){.what = "capture",
							   .collection = "events",
							   .capture = capture,
							   .sensor = sensor,
							   .iface = iface,
							   .side = -1,
							   .from = wall_of(event),
							   .to = wall_of(event),
							   .text = "a capture began, and nothing of it is in the database"});
	return true;
}

enum db_result audit_starts(struct audit_run *run)
{
	bson_t *filter = between(run->since, run->until ? run->until - 1 : run->now);

	BSON_APPEND_UTF8(filter, "kind", "start");
	return each_event(run, filter, 1, 0, check_start, run);
}

/* ---- holes ------------------------------------------------------------------------------------------------------- */

struct words {
	char *text;
	size_t size, used;
};

static bool add_words(void *arg, const bson_t *event)
{
	struct words *w = arg;
	char at[WHEN_LEN];
	int n = snprintf(w->text + w->used, w->size - w->used, "%s%s %s", w->used ? ", " : "", text_of(event, "kind"),
			 when_text(at, wall_of(event)));

	if (n < 0 || (size_t)n >= w->size - w->used) {
		w->text[w->used] = '\0';
		return false;
	}
	w->used += (size_t)n;
	return true;
}

enum db_result audit_events_between(struct audit_run *run, const char *sensor, int64_t from, int64_t to, char *text, size_t size)
{
	struct words w = {text, size, 0};
	bson_t *filter = between(from, to), kind;

	text[0] = '\0';
	BSON_APPEND_UTF8(filter, "sensor", sensor);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "kind", &kind);
	BSON_APPEND_UTF8(&kind, "$ne", "pressure");
	bson_append_document_end(filter, &kind);
	return each_event(run, filter, 1, 4, add_words, &w);
}
