/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * seconds.c - the balance of one side, row by row, against what the ledger says of each second (corrected by what was
 * found of its packets), and against the summaries.
 *
 * Sums of seconds are in memory for a window at a time; a row that reaches beyond it begins the next one.
 */
#include "recorder/audit/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/util.h"
#include "recorder/ledger/flood_rows.h"

struct walk {
	struct audit_run *run;
	struct audit_capture *capture;
	struct audit_hook *hook;
	unsigned side;
	struct audit_cells cells;
	uint32_t room; /* of cells */
	/* rows */
	struct read_stream *rows;
	struct balance_read row; /* the next one, when has_row; its text is not kept */
	bool has_row;
	uint32_t row_day;
	/* summaries */
	struct read_stream *floods;
	struct flood_read next; /* the next document, when has_next */
	bool has_next;
	struct flood_read epoch; /* the epoch that is added up, when has_epoch */
	bool has_epoch;
	uint64_t epochs_until; /* epochs that end behind it are not fed */
};

/* ---- what is stored of each second ------------------------------------------------------------------------------- */

static void add_deltas(struct walk *w)
{
	for (size_t i = 0; i < w->run->ndeltas && i < AUDIT_DELTAS; i++) {
		const struct audit_delta *d = &w->run->deltas[i];

		if (d->side == w->side)
			audit_cells_add(&w->cells, d->sec, d->packets, d->bytes);
	}
}

static enum db_result load_cells(struct walk *w, uint64_t from, uint32_t count)
{
	struct audit_run *run = w->run;
	bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
	uint8_t id_from[READ_ID_MOST], id_to[READ_ID_MOST];
	struct read_stream *stream;
	const bson_t *document;
	enum db_result result = DB_OK;
	uint32_t day;

	if (w->room < count) {
		free(w->cells.cell);
		w->cells.cell = malloc(count * sizeof(*w->cells.cell));
		if (!w->cells.cell)
			return audit_no_memory(run);
		w->room = count;
	}
	memset(w->cells.cell, 0, count * sizeof(*w->cells.cell));
	w->cells.from = from;
	w->cells.count = count;
	audit_append_seconds(&filter, from, from + count);
	BSON_APPEND_INT32(&projection, "seconds", 1);
	ledger_id(id_from, w->capture->of.capture, 0);
	ledger_id(id_to, w->capture->of.capture, w->capture->open ? w->capture->newest : UINT64_MAX);
	stream = audit_stream(run, AUDIT_BATCHES, id_from, id_to, LEDGER_ID_LEN, &filter, &projection);
	if (!stream)
		result = audit_no_memory(run);
	while (result == DB_OK && (result = read_stream_next(stream, &document, &day, run->problem)) == DB_OK && document) {
		unsigned n;

		if (ledger_read_seconds(document, run->seconds, &n, NULL) < 0)
			continue; /* said by audit_packets */
		for (unsigned i = 0; i < n; i++)
			if (run->seconds[i].side == w->side)
				audit_cells_add(&w->cells, run->seconds[i].sec, run->seconds[i].packets, run->seconds[i].bytes);
	}
	read_stream_close(stream);
	bson_destroy(&filter);
	bson_destroy(&projection);
	add_deltas(w);
	return result;
}

/* ---- summaries --------------------------------------------------------------------------------------------------- */

static void say_document(struct walk *w, const char *family, uint32_t day, int64_t wall, const char *wrong)
{
	char name[DAYS_NAME], text[96];
	const struct audit_finding f = {.what = family,
					.collection = days_collection(name, family, day),
					.capture = w->capture->of.capture,
					.sensor = w->capture->sensor,
					.iface = w->capture->iface,
					.side = (int)w->side,
					.from = wall,
					.to = wall,
					.text = text};

	snprintf(text, sizeof(text), "a document that cannot be read: %s", wrong);
	w->run->say(w->run->arg, &f);
}

static enum db_result next_flood(struct walk *w)
{
	const bson_t *document;
	const char *wrong = "";
	enum db_result result;
	uint32_t day;

	w->has_next = false;
	while ((result = read_stream_next(w->floods, &document, &day, w->run->problem)) == DB_OK && document) {
		if (!flood_read(document, &w->next, &wrong)) {
			w->has_next = true;
			break;
		}
		say_document(w, "floods", day, w->next.wall, wrong);
	}
	return result;
}

/* Adds up the next epoch. */
static enum db_result next_epoch(struct walk *w)
{
	enum db_result result = DB_OK;

	w->has_epoch = w->has_next;
	w->epoch = w->next;
	while (w->has_next && result == DB_OK) {
		result = next_flood(w);
		if (!w->has_next || w->next.epoch != w->epoch.epoch || w->next.sec != w->epoch.sec || w->next.secs != w->epoch.secs)
			break;
		w->epoch.count.packets += w->next.count.packets;
		w->epoch.count.bytes += w->next.count.bytes;
	}
	if (w->has_epoch && w->epoch.sec + w->epoch.secs > w->epochs_until) {
		/* It reaches beyond the range, or into what is still being written. */
		if (w->epoch.sec < w->hook->final_summarised)
			w->hook->final_summarised = w->epoch.sec;
		w->has_epoch = w->has_next = false;
	}
	return result;
}

/* Epochs that begin no later than `sec`. */
static enum db_result feed_epochs(struct walk *w, uint64_t sec)
{
	enum db_result result = DB_OK;

	while (result == DB_OK && w->has_epoch && w->epoch.sec <= sec) {
		audit_hook_epoch(w->hook, &w->epoch);
		result = next_epoch(w);
	}
	return result;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static enum db_result next_row(struct walk *w)
{
	const bson_t *document;
	const char *wrong = "";
	enum db_result result;
	uint32_t day;

	w->has_row = false;
	while ((result = read_stream_next(w->rows, &document, &day, w->run->problem)) == DB_OK && document) {
		w->row_day = day;
		if (!balance_read(document, &w->row, &wrong)) {
			w->has_row = true;
			break;
		}
		say_document(w, "balance", w->row_day, w->row.wall, wrong);
	}
	return result;
}

/* Rows that end within the window. */
static enum db_result feed_rows(struct walk *w)
{
	const uint64_t end = w->cells.from + w->cells.count;
	enum db_result result = DB_OK;
	char name[DAYS_NAME];

	while (result == DB_OK && w->has_row && w->row.row.sec + w->row.row.seconds <= end) {
		result = feed_epochs(w, w->row.row.sec);
		audit_hook_row(w->hook, &w->row.row, w->row.wall, days_collection(name, "balance", w->row_day), &w->cells);
		w->run->totals.rows++;
		if (result == DB_OK)
			result = next_row(w);
	}
	return result;
}

/* The first second from `at` on that a row or a packet may have; UINT64_MAX: there is none. */
static uint64_t next_second(const struct walk *w, uint64_t at, uint64_t last)
{
	uint64_t next = w->has_row ? w->row.row.sec : UINT64_MAX;

	for (uint64_t i = at / AUDIT_WINDOW; i < AUDIT_WINDOWS && i <= last / AUDIT_WINDOW; i++)
		if (w->capture->windows[i / 8] >> i % 8 & 1) {
			uint64_t sec = i * AUDIT_WINDOW > at ? i * AUDIT_WINDOW : at;

			return sec < next && sec <= last ? sec : next;
		}
	return next;
}

static enum db_result walk_windows(struct walk *w, uint64_t at, bool bounded)
{
	const uint64_t last = bounded ? 0 : w->capture->last_sec; /* bounded: packets beyond the rows are not of the range */
	enum db_result result = DB_OK;
	char name[DAYS_NAME];

	while (result == DB_OK && (at = next_second(w, at, last)) != UINT64_MAX) {
		uint32_t count = AUDIT_WINDOW;
		uint64_t left;

		if (w->has_row && w->row.row.sec == at && w->row.row.seconds > count)
			count = w->row.row.seconds;
		result = load_cells(w, at, count);
		if (result == DB_OK)
			result = feed_rows(w);
		left = w->has_row && w->row.row.sec < at + count ? w->row.row.sec : at + count;
		if (result == DB_OK)
			audit_hook_left(w->hook, &w->cells, bounded && !w->has_row && w->hook->end < left ? w->hook->end : left,
					w->row_day ? days_collection(name, "balance", w->row_day) : "balance");
		at = left;
	}
	return result;
}

/* The first epoch that begins in the range; one that began before it and reaches into it cannot be compared. */
static enum db_result straddling_epoch(struct walk *w, const uint8_t *from, const uint8_t *to, uint64_t sec)
{
	struct audit_run *run = w->run;
	bson_t filter = BSON_INITIALIZER, range;
	uint8_t id[READ_ID_MOST], best[READ_ID_MOST] = {0};
	enum db_result result = DB_OK;
	uint32_t len, day;
	size_t found = SIZE_MAX;

	BSON_APPEND_DOCUMENT_BEGIN(&filter, "sec", &range);
	BSON_APPEND_INT64(&range, "$lt", (int64_t)sec);
	bson_append_document_end(&filter, &range);
	for (size_t i = 0; result == DB_OK && i < run->days[AUDIT_FLOODS].count; i++) {
		char name[DAYS_NAME];

		result = read_edge_id(&run->client, days_collection(name, "floods", run->days[AUDIT_FLOODS].day[i]), from, to,
				      FLOOD_ID_LEN, true, &filter, id, &len, run->problem);
		if (result == DB_OK && len == FLOOD_ID_LEN && (found == SIZE_MAX || memcmp(id, best, len) > 0)) {
			memcpy(best, id, sizeof(best));
			found = i;
		}
	}
	if (result == DB_OK && found != SIZE_MAX) {
		struct read_stream *one = audit_stream(run, AUDIT_FLOODS, best, best, FLOOD_ID_LEN, NULL, NULL);
		const bson_t *document = NULL;
		struct flood_read flood;

		result = one ? read_stream_next(one, &document, &day, run->problem) : audit_no_memory(run);
		if (result == DB_OK && document && !flood_read(document, &flood, NULL) && flood.sec + flood.secs > sec)
			w->hook->first_summarised = flood.sec + flood.secs;
		read_stream_close(one);
	}
	bson_destroy(&filter);
	return result;
}

static enum db_result begin_floods(struct walk *w, uint64_t sec)
{
	bson_t filter = BSON_INITIALIZER, range;
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST];
	enum db_result result = DB_OK;

	audit_id_range(from, to, FLOOD_ID_LEN, w->capture->of.capture);
	from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = (uint8_t)w->side;
	if (sec) {
		result = straddling_epoch(w, from, to, sec);
		BSON_APPEND_DOCUMENT_BEGIN(&filter, "sec", &range);
		BSON_APPEND_INT64(&range, "$gte", (int64_t)sec);
		bson_append_document_end(&filter, &range);
	}
	if (result == DB_OK) {
		w->floods = audit_stream(w->run, AUDIT_FLOODS, from, to, FLOOD_ID_LEN, sec ? &filter : NULL, NULL);
		result = w->floods ? next_flood(w) : audit_no_memory(w->run);
		if (result == DB_OK)
			result = next_epoch(w);
	}
	bson_destroy(&filter);
	return result;
}

enum db_result audit_seconds(struct audit_run *run, struct audit_capture *capture, unsigned side, uint64_t from, uint64_t to,
			     bool bounded, struct audit_hook *hook)
{
	struct walk w = {.run = run, .capture = capture, .hook = hook, .side = side, .epochs_until = bounded ? to : UINT64_MAX};
	uint8_t id_from[READ_ID_MOST], id_to[READ_ID_MOST];
	uint64_t begin = from ? from : capture->first_sec;
	enum db_result result;

	balance_id(id_from, capture->of.capture, side, from);
	balance_id(id_to, capture->of.capture, side, to ? to - 1 : UINT64_MAX);
	w.rows = audit_stream(run, AUDIT_BALANCE, id_from, id_to, BALANCE_ID_LEN, NULL, NULL);
	result = w.rows ? next_row(&w) : audit_no_memory(run);
	if (result == DB_OK && w.has_row && (from || w.row.row.sec < begin))
		begin = w.row.row.sec;
	if (result == DB_OK)
		result = begin_floods(&w, from);
	if (result == DB_OK)
		result = walk_windows(&w, begin, bounded);
	if (result == DB_OK)
		result = feed_epochs(&w, UINT64_MAX);
	audit_hook_end(hook);
	read_stream_close(w.rows);
	read_stream_close(w.floods);
	free(w.cells.cell);
	return result;
}
