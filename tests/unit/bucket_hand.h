/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_hand.h - for tests: buckets made by hand, of columns that hold a literal for each value: right whatever an
 * encoder does, and as large as it gets. Test code.
 */
#ifndef XDP_RECORDER_TESTS_BUCKET_HAND_H
#define XDP_RECORDER_TESTS_BUCKET_HAND_H

#include <bson/bson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct hand_column {
	uint8_t *at;
	size_t len, cap;
};

static inline void hand_put(struct hand_column *c, const void *bytes, size_t len)
{
	while (c->cap - c->len < len) {
		c->cap = c->cap ? 2 * c->cap : 256;
		c->at = realloc(c->at, c->cap);
		if (!c->at)
			abort();
	}
	memcpy(c->at + c->len, bytes, len);
	c->len += len;
}

/* A value of any type: a BSON element with an empty name is a literal. */
static inline void hand_value(struct hand_column *c, const bson_value_t *value)
{
	bson_t element = BSON_INITIALIZER;

	bson_append_value(&element, "", 0, value);
	hand_put(c, bson_get_data(&element) + 4, element.len - 5);
	bson_destroy(&element);
}

/* A word of 64 bits: a selector and its slots. */
static inline void hand_block(struct hand_column *c, uint64_t word)
{
	hand_put(c, "\x80", 1);
	hand_put(c, &word, 8);
}

/* One slot of 60 bits, all ones. */
static inline void hand_missing(struct hand_column *c)
{
	hand_block(c, ~0ull - 1);
}

static inline void hand_int32(struct hand_column *c, int32_t number)
{
	hand_value(c, &(bson_value_t){.value_type = BSON_TYPE_INT32, .value.v_int32 = number});
}

static inline void hand_date(struct hand_column *c, int64_t ms)
{
	hand_value(c, &(bson_value_t){.value_type = BSON_TYPE_DATE_TIME, .value.v_datetime = ms});
}

/* Ends the column and puts it into `data`, or whatever document it is to stand in. */
static inline void hand_column(bson_t *data, const char *name, struct hand_column *c)
{
	hand_put(c, "", 1);
	bson_append_binary(data, name, -1, (bson_subtype_t)7, c->at, (uint32_t)c->len);
	free(c->at);
	*c = (struct hand_column){0};
}

/* {_id, control: {version, min, max, count, closed: true}, meta, data}. `meta` may be NULL, `count` negative: none. */
static inline void hand_bucket(bson_t *bucket, int32_t version, int32_t count, const bson_t *min, const bson_t *max,
			       const bson_t *meta, const bson_t *data, const uint8_t id[12])
{
	bson_oid_t oid;
	bson_t control;

	memcpy(oid.bytes, id, 12);
	bson_append_oid(bucket, "_id", -1, &oid);
	bson_append_document_begin(bucket, "control", -1, &control);
	bson_append_int32(&control, "version", -1, version);
	bson_append_document(&control, "min", -1, min);
	bson_append_document(&control, "max", -1, max);
	if (count >= 0)
		bson_append_int32(&control, "count", -1, count);
	bson_append_bool(&control, "closed", -1, true);
	bson_append_document_end(bucket, &control);
	if (meta)
		bson_append_document(bucket, "meta", -1, meta);
	bson_append_document(bucket, "data", -1, data);
}

#endif
