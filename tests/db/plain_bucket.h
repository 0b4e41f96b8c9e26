/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plain_bucket.h - for tests/db: packets of a batch as a bucket, made from their documents by the plain column encoder.
 * Test code: slow, and nothing of encode/bucket.c in it.
 */
#ifndef TESTS_DB_PLAIN_BUCKET_H
#define TESTS_DB_PLAIN_BUCKET_H

#include "recorder/encode/column_plain.h"
#include "recorder/encode/document.h"
#include "tests/unit/bucket_hand.h"

#define PLAIN_COLUMNS 64u
#define PLAIN_SPAN_S 60

struct plain_column {
	char name[32];
	struct column_value *values;
	uint32_t smallest, largest; /* places of a value that is there */
	size_t bytes;
	bool any;
};

static inline void plain_take(struct column_value *v, const bson_iter_t *it)
{
	bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
	const uint8_t *bytes = NULL;

	v->type = (uint8_t)bson_iter_type(it);
	if (v->type == BSON_TYPE_UTF8)
		bytes = (const uint8_t *)bson_iter_utf8(it, &v->len);
	else if (v->type == BSON_TYPE_BINARY)
		bson_iter_binary(it, &subtype, &v->len, &bytes);
	else if (v->type == BSON_TYPE_DOUBLE)
		v->real = bson_iter_double(it);
	else
		v->number = v->type == BSON_TYPE_DATE_TIME ? bson_iter_date_time(it) : bson_iter_as_int64(it);
	v->subtype = (uint8_t)subtype;
	if (!v->len)
		return;
	if (v->len <= sizeof(v->small)) {
		memcpy(v->small, bytes, v->len);
	} else {
		uint8_t *kept = malloc(v->len);

		memcpy(kept, bytes, v->len);
		v->bytes = kept;
	}
}

/* In BSON's order, of values of one type. */
static inline int plain_compare(const struct column_value *a, const struct column_value *b)
{
	uint32_t shorter = a->len < b->len ? a->len : b->len;
	int order;

	if (a->type == BSON_TYPE_DOUBLE)
		return (a->real > b->real) - (a->real < b->real);
	if (a->type != BSON_TYPE_UTF8 && a->type != BSON_TYPE_BINARY)
		return (a->number > b->number) - (a->number < b->number);
	order = memcmp(column_value_bytes(a), column_value_bytes(b), shorter);
	if (a->type == BSON_TYPE_BINARY && a->len != b->len)
		order = 0;
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static inline void plain_append(bson_t *to, const char *name, const struct column_value *v)
{
	switch (v->type) {
	case BSON_TYPE_DOUBLE:
		bson_append_double(to, name, -1, v->real);
		break;
	case BSON_TYPE_UTF8:
		bson_append_utf8(to, name, -1, (const char *)column_value_bytes(v), (int)v->len);
		break;
	case BSON_TYPE_BINARY:
		bson_append_binary(to, name, -1, BSON_SUBTYPE_BINARY, column_value_bytes(v), v->len);
		break;
	case BSON_TYPE_DATE_TIME:
		bson_append_date_time(to, name, -1, v->number);
		break;
	default:
		bson_append_int32(to, name, -1, (int32_t)v->number);
	}
}

/* Adds document `place` to the columns. */
static inline void plain_add(struct plain_column *columns, const bson_t *document, uint32_t place, uint32_t n)
{
	bson_iter_t it;

	bson_iter_init(&it, document);
	while (bson_iter_next(&it)) {
		struct plain_column *c = columns;

		if (!strcmp(bson_iter_key(&it), "_id") || !strcmp(bson_iter_key(&it), "meta"))
			continue;
		while (c->values && strcmp(c->name, bson_iter_key(&it)))
			c++;
		if (!c->values) {
			snprintf(c->name, sizeof(c->name), "%s", bson_iter_key(&it));
			c->values = calloc(n, sizeof(*c->values));
		}
		plain_take(&c->values[place], &it);
		c->bytes += c->values[place].len;
		if (!c->any || plain_compare(&c->values[place], &c->values[c->smallest]) < 0)
			c->smallest = place;
		if (!c->any || plain_compare(&c->values[place], &c->values[c->largest]) > 0)
			c->largest = place;
		c->any = true;
	}
}

static inline void plain_finish(bson_t *bucket, struct plain_column *columns, uint32_t n, const bson_t *meta,
				const uint8_t id[12])
{
	bson_t min = BSON_INITIALIZER, max = BSON_INITIALIZER, data = BSON_INITIALIZER;

	for (struct plain_column *c = columns; c->values; c++) {
		struct column_value least = c->values[c->smallest];
		uint8_t *packed = malloc(COLUMN_PLAIN_BOUND(n, c->bytes));

		if (!strcmp(c->name, "ts"))
			least.number -= least.number % (PLAIN_SPAN_S * 1000);
		plain_append(&min, c->name, &least);
		plain_append(&max, c->name, &c->values[c->largest]);
		bson_append_binary(&data, c->name, -1, (bson_subtype_t)7, packed,
				   (uint32_t)column_plain(packed, c->values, n));
		free(packed);
		for (uint32_t i = 0; i < n; i++)
			free((void *)c->values[i].bytes);
		free(c->values);
	}
	hand_bucket(bucket, 3, (int32_t)n, &min, &max, meta, &data, id);
	bson_destroy(&min);
	bson_destroy(&max);
	bson_destroy(&data);
}

/* Records [first, first + n) of the batch as a bucket of version 3; meta is {hosts: [], iface, sensor}. */
static inline void plain_bucket(bson_t *bucket, const struct batch *batch, const struct ends_table *ends,
				uint32_t first, uint32_t n, const uint8_t id[12])
{
	struct plain_column columns[PLAIN_COLUMNS + 1] = {0};
	bson_t meta = BSON_INITIALIZER, hosts;

	bson_init(bucket);
	for (uint32_t i = 0; i < n; i++) {
		bson_t document = BSON_INITIALIZER;

		if (document_encode(&document, batch, ends, first + i))
			abort();
		plain_add(columns, &document, i, n);
		bson_destroy(&document);
	}
	bson_append_array_begin(&meta, "hosts", -1, &hosts);
	bson_append_array_end(&meta, &hosts);
	bson_append_utf8(&meta, "iface", -1, batch->source->iface, -1);
	bson_append_utf8(&meta, "sensor", -1, batch->source->sensor, -1);
	plain_finish(bucket, columns, n, &meta, id);
	bson_destroy(&meta);
}

#endif
