/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/probe_bucket.h"

#include <stdbool.h>
#include <stdio.h>

#include "recorder/core/util.h"

#define SECONDS 1767225600 /* 2026-01-01, a multiple of the span */

/* Selector 14: one number of 60 bits in a block. All ones: a missing value. */
#define BLOCK_OF_ONE 0x80
#define SLOT(number) ((uint64_t)(number) << 4 | 14)
#define MISSING SLOT(UINT64_MAX >> 4)

/* Each value grows with its measurement's time, so the ends of a column are those of the times. */
static const char *const columns[] = {"ts", "ns", "seq", "remote", "rmac", "vlan"};
enum { TS, NS, SEQ, REMOTE, RMAC, VLAN, COLUMNS };

static const uint8_t in_order[PROBE_LARGE] = {1, 3, 5, 7, 9}, mixed[PROBE_LARGE] = {5, 1, 3, 9, 7};

/* Milliseconds behind SECONDS of measurement i, as the bucket has them. */
static uint8_t time_of(uint32_t i, uint8_t version)
{
	return (version == 3 ? mixed : in_order)[i];
}

static bool is_there(int column, uint32_t i)
{
	return column != VLAN || i % 2 == 0;
}

static void append_value(bson_t *to, const char *key, int column, uint8_t at)
{
	const uint8_t mac[] = {2, 0, 0, 0, 0, at};
	char text[16];

	switch (column) {
	case TS:
		BSON_APPEND_DATE_TIME(to, key, SECONDS * 1000ll + at);
		break;
	case SEQ:
		BSON_APPEND_DOUBLE(to, key, 3e9 + at);
		break;
	case REMOTE:
		snprintf(text, sizeof(text), "192.0.2.%u", at);
		BSON_APPEND_UTF8(to, key, text);
		break;
	case RMAC:
		BSON_APPEND_BINARY(to, key, BSON_SUBTYPE_BINARY, mac, sizeof(mac));
		break;
	default: /* 1, 2, 3 ... of it */
		BSON_APPEND_INT32(to, key, 100000 + at);
		break;
	}
}

static uint8_t *put_block(uint8_t *w, uint64_t word)
{
	*w++ = BLOCK_OF_ONE;
	memcpy(w, &(uint64_t){htole64(word)}, sizeof(word));
	return w + sizeof(word);
}

/* A literal is the element with an empty name. int32 values behind the first are differences, in zigzag. */
static uint8_t *put_value(uint8_t *w, int column, uint8_t at, int before)
{
	bson_t literal = BSON_INITIALIZER;

	if (before && (column == NS || column == VLAN)) {
		int64_t d = at - before;

		bson_destroy(&literal);
		return put_block(w, SLOT((uint64_t)d << 1 ^ (uint64_t)(d >> 63)));
	}
	append_value(&literal, "", column, at);
	memcpy(w, bson_get_data(&literal) + 4, literal.len - 5);
	w += literal.len - 5;
	bson_destroy(&literal);
	return w;
}

static void append_column(bson_t *data, int column, uint32_t count, uint8_t version)
{
	uint8_t bytes[PROBE_LARGE * 32], *w = bytes;
	int before = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint8_t at = time_of(i, version);

		if (!is_there(column, i)) {
			w = put_block(w, MISSING);
			continue;
		}
		w = put_value(w, column, at, before);
		before = at;
	}
	*w++ = 0;
	BSON_APPEND_BINARY(data, columns[column], BSON_SUBTYPE_COLUMN, bytes, (uint32_t)(w - bytes));
}

/* control.min or control.max; the smallest time is that of the span. */
static void append_ends(bson_t *control, const char *key, bool max, uint32_t count, uint8_t version)
{
	bson_t ends;

	BSON_APPEND_DOCUMENT_BEGIN(control, key, &ends);
	for (int c = 0; c < COLUMNS; c++) {
		int at = -1;

		for (uint32_t i = 0; i < count; i++) {
			int t = time_of(i, version);
			if (is_there(c, i) && (at < 0 || (max ? t > at : t < at)))
				at = t;
		}
		append_value(&ends, columns[c], c, c == TS && !max ? 0 : (uint8_t)at);
	}
	bson_append_document_end(control, &ends);
}

static void append_meta(bson_t *to)
{
	bson_t meta, hosts;

	BSON_APPEND_DOCUMENT_BEGIN(to, "meta", &meta);
	BSON_APPEND_ARRAY_BEGIN(&meta, "hosts", &hosts);
	BSON_APPEND_UTF8(&hosts, "0", "192.0.2.1");
	BSON_APPEND_UTF8(&hosts, "1", "192.0.2.3");
	bson_append_array_end(&meta, &hosts);
	BSON_APPEND_UTF8(&meta, "iface", "probe");
	BSON_APPEND_UTF8(&meta, "sensor", "probe");
	bson_append_document_end(to, &meta);
}

void probe_bucket(bson_t *to, uint32_t count, uint8_t version)
{
	uint8_t id[12] = {0};
	bson_t control, data;
	bson_oid_t oid;

	put_be32(id, SECONDS);
	bson_oid_init_from_data(&oid, id);
	BSON_APPEND_OID(to, "_id", &oid);
	BSON_APPEND_DOCUMENT_BEGIN(to, "control", &control);
	BSON_APPEND_INT32(&control, "version", version);
	append_ends(&control, "min", false, count, version);
	append_ends(&control, "max", true, count, version);
	BSON_APPEND_INT32(&control, "count", (int32_t)count);
	BSON_APPEND_BOOL(&control, "closed", true);
	bson_append_document_end(to, &control);
	append_meta(to);
	BSON_APPEND_DOCUMENT_BEGIN(to, "data", &data);
	for (int c = 0; c < COLUMNS; c++)
		append_column(&data, c, count, version);
	bson_append_document_end(to, &data);
}

void probe_measurement(bson_t *to, uint32_t i, uint32_t count, uint8_t version)
{
	uint32_t place = 0;

	/* The i-th smallest of the first `count` times. */
	for (uint32_t p = 0; p < count; p++) {
		uint32_t smaller = 0;

		for (uint32_t q = 0; q < count; q++)
			smaller += time_of(q, version) < time_of(p, version);
		if (smaller == i)
			place = p;
	}
	for (int c = 0; c < COLUMNS; c++)
		if (is_there(c, place))
			append_value(to, columns[c], c, time_of(place, version));
	append_meta(to);
}

bool probe_same_fields(const bson_t *a, const bson_t *b)
{
	bson_t sorted = BSON_INITIALIZER;
	bson_iter_t in_a, in_b;
	bool same = bson_count_keys(a) == bson_count_keys(b) && bson_iter_init(&in_a, a);

	while (same && bson_iter_next(&in_a))
		same = bson_iter_init_find(&in_b, b, bson_iter_key(&in_a)) && bson_append_iter(&sorted, NULL, -1, &in_b);
	same = same && bson_equal(a, &sorted);
	bson_destroy(&sorted);
	return same;
}
