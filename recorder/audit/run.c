/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.c - the whole of it, one capture after the other; and what all parts use. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "recorder/audit/events.h"
#include "recorder/audit/internal.h"
#include "recorder/core/util.h"
#include "recorder/db/read_bucket.h"
#include "recorder/ledger/flood_rows.h"

const char *const audit_family_names[AUDIT_FAMILIES] = {"balance", "batches", "floods", "packets"};
const uint32_t audit_id_len[AUDIT_FAMILIES] = {BALANCE_ID_LEN, LEDGER_ID_LEN, FLOOD_ID_LEN, 0};

void audit_note(struct audit_run *run, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	run->note(run->arg, text);
}

enum db_result audit_no_memory(struct audit_run *run)
{
	return db_problem_set(run->problem, DB_LATER, "out of memory");
}

long audit_day_index(const struct audit_run *run, enum audit_family family, uint32_t day)
{
	for (size_t i = 0; i < run->days[family].count; i++)
		if (run->days[family].day[i] == day)
			return (long)i;
	return -1;
}

bool audit_wants(const struct audit_run *run, const char *sensor, const char *iface)
{
	const struct settings_list *ifaces = &run->settings->interfaces;
	bool wanted = ifaces->count == 0;

	if (run->sensor && strcmp(run->sensor, sensor))
		return false;
	for (size_t i = 0; i < ifaces->count; i++)
		wanted |= !strcmp(ifaces->items[i], iface);
	return wanted;
}

void audit_id_range(uint8_t *from, uint8_t *to, uint32_t len, const uint8_t capture[CAPTURE_ID_LEN])
{
	memset(from, 0, len);
	memset(to, 0xff, len);
	memcpy(from, capture, CAPTURE_ID_LEN);
	memcpy(to, capture, CAPTURE_ID_LEN);
}

void audit_append_seconds(bson_t *filter, uint64_t from, uint64_t to)
{
	bson_t array, match, range;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "seconds", &array);
	BSON_APPEND_DOCUMENT_BEGIN(&array, "$elemMatch", &match);
	BSON_APPEND_DOCUMENT_BEGIN(&match, "sec", &range);
	BSON_APPEND_INT64(&range, "$gte", (int64_t)from);
	BSON_APPEND_INT64(&range, "$lt", (int64_t)to);
	bson_append_document_end(&match, &range);
	bson_append_document_end(&array, &match);
	bson_append_document_end(filter, &array);
}

struct read_stream *audit_stream(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to,
				 uint32_t len, const bson_t *filter, const bson_t *projection)
{
	struct read_stream_options o = {
		.family = audit_family_names[family],
		.days = run->days[family].day,
		.ndays = run->days[family].count,
		.id_len = len,
		.filter = filter,
		.projection = projection,
		.page = family == AUDIT_BATCHES && !projection ? 32 : 2000,
	};

	memcpy(o.from, from, len);
	memcpy(o.to, to, len);
	return read_stream_open(&run->client, &o);
}

enum db_result audit_run(struct audit_run *run)
{
	struct db_peer peer;
	enum db_result result = db_client_pop(run->db, &run->client, run->problem);

	if (result != DB_OK)
		return result;
	run->deltas = malloc(AUDIT_DELTAS * sizeof(*run->deltas));
	run->seconds = malloc(LEDGER_SECONDS_MOST * sizeof(*run->seconds));
	if (!run->deltas || !run->seconds)
		result = audit_no_memory(run);
	if (result == DB_OK)
		result = db_peer(&run->client, &peer, run->problem);
	if (result == DB_OK) {
		run->raw = peer.wire >= READ_RAW_WIRE;
		result = audit_find_captures(run);
	}
	for (size_t i = 0; result == DB_OK && i < run->ncaptures; i++)
		result = audit_judge(run, &run->captures[i]);
	if (result == DB_OK)
		result = audit_starts(run);
	if (result == DB_OK)
		result = audit_strays(run);
	db_client_done(&run->client);
	return result;
}

void audit_run_free(struct audit_run *run)
{
	for (unsigned family = 0; family < AUDIT_FAMILIES; family++)
		free(run->days[family].day);
	free(run->documents);
	free(run->buckets);
	free(run->captures);
	free(run->deltas);
	free(run->seconds);
	audit_batch_free(&run->batch);
}
