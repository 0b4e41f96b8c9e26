/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/rows.h"

#include "recorder/core/util.h"

static const char *const side_names[REC_SIDES] = {"rx", "tx"};

static const char *side_name(uint32_t side)
{
	return side_names[side == REC_TX];
}

static void append_int32(bson_t *out, const char *name, int32_t value)
{
	bson_append_int32(out, name, -1, value);
}

static void append_int64(bson_t *out, const char *name, uint64_t value)
{
	bson_append_int64(out, name, -1, (int64_t)value);
}

static void append_text(bson_t *out, const char *name, const char *value)
{
	bson_append_utf8(out, name, -1, value, -1);
}

static void append_binary(bson_t *out, const char *name, const uint8_t *bytes, size_t length)
{
	bson_append_binary(out, name, -1, BSON_SUBTYPE_BINARY, bytes, (uint32_t)length);
}

/* A wall time as Date (ms, rounded down) and the nanoseconds behind it. */
static void append_time(bson_t *out, const char *ms_name, const char *ns_name, int64_t wall)
{
	bson_append_date_time(out, ms_name, -1, clock_ms(wall));
	append_int32(out, ns_name, clock_ms_rest(wall));
}

static void append_clock(bson_t *out, const struct clock_pair *pair)
{
	bson_t clock;

	bson_append_document_begin(out, "clock", -1, &clock);
	append_int64(&clock, "boot", pair->boot);
	append_int64(&clock, "wall", (uint64_t)pair->wall);
	bson_append_document_end(out, &clock);
}

static void append_count(bson_t *out, const char *name, const struct rec_count *count)
{
	bson_t child;

	bson_append_document_begin(out, name, -1, &child);
	append_int64(&child, "packets", count->packets);
	append_int64(&child, "bytes", count->bytes);
	bson_append_document_end(out, &child);
}

/* ---- balance ----------------------------------------------------------------------------------------------------- */

void balance_id(uint8_t id[BALANCE_ID_LEN], const uint8_t capture[CAPTURE_ID_LEN], uint32_t side, uint64_t sec)
{
	memcpy(id, capture, CAPTURE_ID_LEN);
	id[CAPTURE_ID_LEN] = (uint8_t)side;
	put_be64(id + CAPTURE_ID_LEN + 1, sec);
}

static int64_t balance_wall(const struct balance_row *row)
{
	return (int64_t)(row->sec * NS_PER_SEC) + clock_pair_offset(&row->pair);
}

uint32_t balance_day(const struct balance_row *row)
{
	return clock_day(balance_wall(row));
}

static void append_witness_side(bson_t *out, const char *name, uint64_t packets, uint64_t bytes, uint64_t dropped)
{
	bson_t child;

	bson_append_document_begin(out, name, -1, &child);
	append_int64(&child, "packets", packets);
	append_int64(&child, "bytes", bytes);
	append_int64(&child, "dropped", dropped);
	bson_append_document_end(out, &child);
}

static void append_witness(bson_t *out, const struct witness *w)
{
	bson_t child;

	bson_append_document_begin(out, "witness", -1, &child);
	append_int64(&child, "boot", w->boot);
	append_witness_side(&child, "rx", w->rx_packets, w->rx_bytes, w->rx_dropped);
	append_witness_side(&child, "tx", w->tx_packets, w->tx_bytes, w->tx_dropped);
	bson_append_document_end(out, &child);
}

void balance_document(bson_t *out, const struct balance_row *row)
{
	uint8_t id[BALANCE_ID_LEN];
	bson_t child;

	balance_id(id, row->source->capture, row->side, row->sec);
	append_binary(out, "_id", id, sizeof(id));
	append_time(out, "ts", "ns", balance_wall(row));
	append_text(out, "sensor", row->source->sensor);
	append_text(out, "iface", row->source->iface);
	append_text(out, "side", side_name(row->side));
	append_int64(out, "sec", row->sec);
	append_int32(out, "secs", (int32_t)row->seconds);
	if (row->silent)
		bson_append_bool(out, "silent", -1, true);
	append_count(out, "seen", &row->term[REC_SEEN]);
	append_count(out, "stored", &row->term[REC_PUBLISHED]);

	bson_append_document_begin(out, "filtered", -1, &child);
	append_count(&child, "own", &row->term[REC_FILTERED_OWN]);
	append_count(&child, "expr", &row->term[REC_FILTERED_EXPR]);
	bson_append_document_end(out, &child);

	append_count(out, "blocked", &row->term[REC_BLOCKED]);
	if (row->term[REC_BLOCKED_STORED].packets)
		append_count(out, "blocked_stored", &row->term[REC_BLOCKED_STORED]);

	bson_append_document_begin(out, "summarised", -1, &child);
	append_count(&child, "flow", &row->term[REC_SUMMARISED_FLOW]);
	append_count(&child, "prefix", &row->term[REC_SUMMARISED_PREFIX]);
	bson_append_document_end(out, &child);

	bson_append_document_begin(out, "lost", -1, &child);
	append_count(&child, "ring_full", &row->term[REC_LOST_RING_FULL]);
	append_count(&child, "contended", &row->term[REC_LOST_CONTENDED]);
	append_count(&child, "no_ring", &row->term[REC_LOST_NO_RING]);
	append_count(&child, "unreadable", &row->term[REC_LOST_UNREADABLE]);
	bson_append_document_end(out, &child);

	if (row->witness.boot)
		append_witness(out, &row->witness);
	append_clock(out, &row->pair);
}

/* ---- ledger ------------------------------------------------------------------------------------------------------ */

void ledger_id(uint8_t id[LEDGER_ID_LEN], const uint8_t capture[CAPTURE_ID_LEN], uint64_t number)
{
	memcpy(id, capture, CAPTURE_ID_LEN);
	put_be64(id + CAPTURE_ID_LEN, number);
}

/* An array's next element, a document. */
static void element_begin(bson_t *array, uint32_t index, bson_t *element)
{
	char text[16];
	const char *key;
	size_t length = bson_uint32_to_string(index, &key, text, sizeof(text));

	bson_append_document_begin(array, key, (int)length, element);
}

void ledger_document(bson_t *out, const struct batch *batch, const char *packets_collection)
{
	const struct batch_source *source = batch->source;
	uint8_t id[LEDGER_ID_LEN];
	bson_t array, element;

	ledger_id(id, source->capture, batch->number);
	append_binary(out, "_id", id, sizeof(id));
	append_time(out, "ts", "ns", batch_wall(batch, batch->first_boot));
	append_time(out, "last", "last_ns", batch_wall(batch, batch->last_boot));
	append_text(out, "sensor", source->sensor);
	append_text(out, "iface", source->iface);
	append_binary(out, "capture", source->capture, CAPTURE_ID_LEN);
	append_int64(out, "number", batch->number);
	append_int64(out, "packets", batch->nrecords);
	append_int64(out, "bytes", batch->bytes);
	append_text(out, "collection", packets_collection);
	append_int32(out, "mode", batch->mode);
	append_int32(out, "version", batch->version);
	append_clock(out, &batch->pair);

	bson_append_array_begin(out, "seconds", -1, &array);
	for (unsigned i = 0; i < batch->nseconds; i++) {
		const struct batch_second *s = &batch->seconds[i];

		element_begin(&array, i, &element);
		append_int64(&element, "sec", s->sec);
		append_text(&element, "side", side_name(s->side));
		append_int64(&element, "packets", s->packets);
		append_int64(&element, "bytes", s->bytes);
		bson_append_document_end(&array, &element);
	}
	bson_append_array_end(out, &array);

	bson_append_array_begin(out, "ranges", -1, &array);
	for (unsigned i = 0; i < batch->nranges; i++) {
		const struct batch_range *r = &batch->ranges[i];

		element_begin(&array, i, &element);
		append_text(&element, "side", side_name(r->side));
		append_int32(&element, "cpu", r->cpu);
		append_int64(&element, "from", r->from);
		append_int64(&element, "to", r->to);
		append_int64(&element, "packets", r->records);
		bson_append_document_end(&array, &element);
	}
	bson_append_array_end(out, &array);

	append_binary(out, "digest", batch->digest, DIGEST_LEN);
	append_binary(out, "previous", batch->previous, DIGEST_LEN);
}

void ledger_buckets(bson_t *out, const uint8_t *ids, size_t count, uint64_t documents)
{
	append_binary(out, "buckets", ids, count * LEDGER_BUCKET_ID_LEN);
	append_int64(out, "documents", documents);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

#define EVENT_KIND_MAX 64u

void event_document(bson_t *out, const uint8_t subject[16], uint64_t boot, int64_t wall, const char *kind,
		    const char *sensor, const char *iface, const char *text, const bson_t *details)
{
	uint8_t id[16 + 8 + EVENT_KIND_MAX];
	size_t length = strnlen(kind, EVENT_KIND_MAX);

	memcpy(id, subject, 16);
	put_be64(id + 16, boot);
	memcpy(id + 24, kind, length);
	append_binary(out, "_id", id, 24 + length);
	append_time(out, "ts", "ns", wall);
	append_text(out, "kind", kind);
	append_text(out, "sensor", sensor);
	if (iface)
		append_text(out, "iface", iface);
	append_text(out, "text", text);
	if (details)
		bson_append_document(out, "details", -1, details);
}
