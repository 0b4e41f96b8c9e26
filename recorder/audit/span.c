/* SPDX-License-Identifier: GPL-2.0-or-later */
/* span.c - a capture's part of the range: the rows of its balance that begin in it. */

#include "recorder/audit/internal.h"
#include "recorder/core/util.h"

enum db_result audit_edge(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to, bool greatest,
			   const bson_t *filter, uint8_t *id, bool *found)
{
	enum db_result result = DB_OK;

	*found = false;
	for (size_t i = 0; result == DB_OK && i < run->days[family].count; i++) {
		uint8_t one[READ_ID_MOST];
		char name[DAYS_NAME];
		uint32_t len;

		result = read_edge_id(&run->client, days_collection(name, audit_family_names[family], run->days[family].day[i]), from,
				      to, audit_id_len[family], greatest, filter, one, &len, run->problem);
		if (result != DB_OK || len != audit_id_len[family])
			continue;
		if (!*found || (memcmp(one, id, len) > 0) == greatest)
			memcpy(id, one, len);
		*found = true;
	}
	return result;
}

/* The document of an _id, read; false in *found when there is none. */
static enum db_result row_at(struct audit_run *run, const uint8_t *id, struct balance_read *row, bool *found)
{
	struct read_stream *stream = audit_stream(run, AUDIT_BALANCE, id, id, BALANCE_ID_LEN, NULL, NULL);
	const bson_t *document = NULL;
	enum db_result result = stream ? DB_OK : audit_no_memory(run);
	uint32_t day;

	if (result == DB_OK)
		result = read_stream_next(stream, &document, &day, run->problem);
	*found = result == DB_OK && document && !balance_read(document, row, NULL);
	read_stream_close(stream);
	return result;
}

static void append_ts(bson_t *filter, const struct audit_run *run)
{
	bson_t range;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "ts", &range);
	if (run->since)
		BSON_APPEND_DATE_TIME(&range, "$gte", clock_ms(run->since));
	if (run->until)
		BSON_APPEND_DATE_TIME(&range, "$lt", clock_ms(run->until));
	bson_append_document_end(filter, &range);
}

enum db_result audit_side_span(struct audit_run *run, const struct audit_capture *c, unsigned side, struct audit_span *span)
{
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST], id[READ_ID_MOST], before[READ_ID_MOST];
	bson_t filter = BSON_INITIALIZER;
	struct balance_read row;
	enum db_result result;
	bool found;

	*span = (struct audit_span){0};
	audit_id_range(from, to, BALANCE_ID_LEN, c->of.capture);
	from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = (uint8_t)side;
	if (run->since || run->until)
		append_ts(&filter, run);
	result = audit_edge(run, AUDIT_BALANCE, from, to, false, &filter, id, &span->there);
	if (result == DB_OK && span->there)
		result = row_at(run, id, &row, &found);
	if (result == DB_OK && span->there && found) {
		span->from = row.row.sec;
		span->wall_from = row.wall;
		if (row.row.sec) {
			balance_id(to, c->of.capture, side, row.row.sec - 1);
			result = audit_edge(run, AUDIT_BALANCE, from, to, true, NULL, before, &found);
			if (result == DB_OK && found)
				result = row_at(run, before, &row, &span->has_before);
			span->before = row.row.sec + row.row.seconds;
		}
		audit_id_range(from, to, BALANCE_ID_LEN, c->of.capture);
		from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = (uint8_t)side;
		if (result == DB_OK)
			result = audit_edge(run, AUDIT_BALANCE, from, to, true, &filter, id, &found);
		if (result == DB_OK)
			result = row_at(run, id, &row, &found);
		span->last_sec = row.row.sec;
		span->to = row.row.sec + row.row.seconds;
		span->wall_to = row.wall + (int64_t)(row.row.seconds * NS_PER_SEC);
	}
	bson_destroy(&filter);
	return result;
}
