/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_read.c - columns to rows. Each column is decoded once, into an array of values; then the documents are written
 * one after the other into the same memory, an element for each column that has a value there.
 *
 * Version 1 has no packed columns: {"0": value, "3": value ...}. Its values are taken as they stand in the bucket.
 */
#include "recorder/encode/bucket_read.h"

#include <errno.h>

#include "recorder/core/util.h"
#include "recorder/encode/bytes.h"
#include "recorder/encode/column_read.h"

#define SUBTYPE_COLUMN 7
/* Values of all columns together: what 100,000 packets of 40 fields have. A run of a million values takes ten bytes. */
#define VALUES_MOST (1u << 22)
#define COLUMNS_MOST 1024u

struct column {
	const char *name;
	uint32_t name_len;
	bson_type_t type; /* of what stands in data: BINARY or DOCUMENT */
	bson_subtype_t subtype;
	const uint8_t *bytes;
	uint32_t len;
	struct column_value *values;
};

struct reader {
	bool as_bson; /* values are in `bytes` as in BSON, whatever their type */
	uint32_t count, columns;
	struct column *column; /* the first is ts */
	struct column_value *values;
	bson_iter_t meta;
	bool has_meta;
	uint8_t *document;
	size_t len, cap;
	const char *problem;
};

static int refuse(struct reader *r, const char *problem)
{
	r->problem = problem;
	return -EINVAL;
}

/* ---- what the bucket says of itself ------------------------------------------------------------------------ */

static int find_document(const bson_t *bucket, const char *name, bson_iter_t *inside)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, bucket, name) && BSON_ITER_HOLDS_DOCUMENT(&it) && bson_iter_recurse(&it, inside)
		       ? 0
		       : -EINVAL;
}

/* A number of any type that is a whole one within [0, BUCKET_READ_MOST], else -1. */
static int64_t whole_number(const bson_iter_t *it)
{
	int64_t number = -1;

	if (BSON_ITER_HOLDS_INT(it)) {
		number = bson_iter_as_int64(it);
	} else if (BSON_ITER_HOLDS_DOUBLE(it)) {
		double real = bson_iter_double(it);

		if (real >= 0 && real <= BUCKET_READ_MOST && (double)(int64_t)real == real)
			number = (int64_t)real;
	}
	return number < 0 || number > (int64_t)BUCKET_READ_MOST ? -1 : number;
}

static int read_control(struct reader *r, const bson_t *bucket)
{
	int64_t version = -1, count = -1;
	bson_iter_t it;

	if (find_document(bucket, "control", &it) < 0)
		return refuse(r, "control is missing");
	while (bson_iter_next(&it)) {
		if (!strcmp(bson_iter_key(&it), "version"))
			version = whole_number(&it);
		else if (!strcmp(bson_iter_key(&it), "count"))
			count = whole_number(&it);
	}
	if (version < 1 || version > 3)
		return refuse(r, "control.version is not 1, 2 or 3");
	r->as_bson = version == 1;
	if (!r->as_bson && count < 1)
		return refuse(r, "control.count is missing or out of range");
	r->count = r->as_bson ? 0 : (uint32_t)count;
	return 0;
}

static bool same_name(const struct column *a, const struct column *b)
{
	return a->name_len == b->name_len && !memcmp(a->name, b->name, a->name_len);
}

static void look_at_column(struct column *c, const bson_iter_t *it)
{
	*c = (struct column){.name = bson_iter_key(it), .name_len = bson_iter_key_len(it), .type = bson_iter_type(it)};
	if (c->type == BSON_TYPE_BINARY)
		bson_iter_binary(it, &c->subtype, &c->len, &c->bytes);
	else if (c->type == BSON_TYPE_DOCUMENT)
		bson_iter_document(it, &c->len, &c->bytes);
}

/* The columns' names and places; that of the time goes to the front, the others keep their order. */
static int find_columns(struct reader *r, const bson_t *bucket)
{
	const struct column ts = {.name = "ts", .name_len = 2}, meta = {.name = "meta", .name_len = 4};
	bson_iter_t it, count;

	r->has_meta = bson_iter_init_find(&r->meta, bucket, "meta");
	if (find_document(bucket, "data", &it) < 0)
		return refuse(r, "data is missing");
	for (count = it; bson_iter_next(&count);)
		r->columns++;
	if (count.err_off || !r->columns || r->columns > COLUMNS_MOST)
		return refuse(r, "data is damaged, or has too many columns");
	r->column = calloc(r->columns, sizeof(*r->column));
	if (!r->column)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->columns && bson_iter_next(&it); i++) {
		struct column *c = &r->column[i];

		look_at_column(c, &it);
		if (same_name(c, &ts)) {
			const struct column time = *c;

			memmove(r->column + 1, r->column, i * sizeof(*c));
			r->column[0] = time;
		}
	}
	if (!same_name(&r->column[0], &ts))
		return refuse(r, "data.ts is missing");
	for (uint32_t i = 0; i < r->columns; i++) {
		if (r->has_meta && same_name(&r->column[i], &meta))
			return refuse(r, "a field stands twice");
		for (uint32_t j = 0; j < i; j++)
			if (same_name(&r->column[i], &r->column[j]))
				return refuse(r, "a field stands twice");
	}
	return 0;
}

/* ---- columns to values ------------------------------------------------------------------------------------- */

static int read_packed(struct reader *r, struct column *c)
{
	int n;

	if (c->type != BSON_TYPE_BINARY)
		return refuse(r, "a column is not packed");
	if (c->subtype != SUBTYPE_COLUMN)
		return refuse(r, "a column is of another subtype");
	n = column_read(c->bytes, c->len, c->values, r->count, &r->problem, NULL);
	if (n == -EINVAL)
		return n;
	if (n != (int)r->count) /* -E2BIG: more than that */
		return refuse(r, "a column has not control.count values");
	return 0;
}

/* The index that a key of version 1 is, decimal without leading zeros; UINT32_MAX if it is none below `most`. */
static uint32_t index_of(const char *key, uint32_t most)
{
	uint32_t index = 0;

	if (!*key || (*key == '0' && key[1]))
		return UINT32_MAX;
	for (; *key; key++) {
		if (*key < '0' || *key > '9')
			return UINT32_MAX;
		index = 10 * index + (uint32_t)(*key - '0');
		if (index >= most)
			return UINT32_MAX;
	}
	return index;
}

static int read_plain(struct reader *r, struct column *c)
{
	uint32_t next = 0;
	bson_iter_t it;

	if (c->type != BSON_TYPE_DOCUMENT || !bson_iter_init_from_data(&it, c->bytes, c->len))
		return refuse(r, "a column is no document");
	while (bson_iter_next(&it)) {
		uint32_t index = index_of(bson_iter_key(&it), r->count);
		uint32_t value = bson_iter_offset(&it) + 1 + bson_iter_key_len(&it) + 1;

		if (index == UINT32_MAX || index < next)
			return refuse(r, "a column's index is out of order or range");
		next = index + 1;
		c->values[index] = (struct column_value){
			.type = it.raw[bson_iter_offset(&it)], .bytes = it.raw + value, .len = it.next_off - value};
	}
	return it.err_off ? refuse(r, "a column is damaged") : 0;
}

/* Version 1 has no count: as many as there are times. */
static int count_times(struct reader *r)
{
	const struct column *c = &r->column[0];
	bson_iter_t it;

	if (c->type != BSON_TYPE_DOCUMENT || !bson_iter_init_from_data(&it, c->bytes, c->len))
		return refuse(r, "a column is no document");
	while (bson_iter_next(&it))
		r->count++;
	if (!r->count || r->count > BUCKET_READ_MOST)
		return refuse(r, "the number of times is out of range");
	return 0;
}

static int read_columns(struct reader *r)
{
	int status = r->as_bson ? count_times(r) : 0;

	if (status < 0)
		return status;
	if ((uint64_t)r->columns * r->count > VALUES_MOST)
		return refuse(r, "more values than are read");
	r->values = calloc((size_t)r->columns * r->count, sizeof(*r->values));
	if (!r->values)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->columns; i++) {
		r->column[i].values = r->values + (size_t)i * r->count;
		status = r->as_bson ? read_plain(r, &r->column[i]) : read_packed(r, &r->column[i]);
		if (status < 0)
			return status;
	}
	for (uint32_t i = 0; i < r->count; i++)
		if (r->column[0].values[i].type != BSON_TYPE_DATE_TIME)
			return refuse(r, "data.ts has something else than times");
	return 0;
}

/* ---- values to documents ----------------------------------------------------------------------------------- */

/* Room for `more` bytes behind what is there. */
static int reserve(struct reader *r, size_t more)
{
	size_t cap = r->cap ? r->cap : 4096;
	uint8_t *bytes;

	if (r->cap - r->len >= more)
		return 0;
	while (cap - r->len < more)
		cap *= 2;
	bytes = realloc(r->document, cap);
	if (!bytes)
		return -ENOMEM;
	r->document = bytes;
	r->cap = cap;
	return 0;
}

static uint8_t *put_bytes(uint8_t *w, const uint8_t *bytes, uint32_t len)
{
	if (len)
		memcpy(w, bytes, len);
	return w + len;
}

static uint8_t *put_value(uint8_t *w, const struct column_value *v, bool as_bson)
{
	if (as_bson)
		return put_bytes(w, v->bytes, v->len);
	switch (v->type) {
	case BSON_TYPE_INT32:
		return put32(w, (uint32_t)v->number);
	case BSON_TYPE_INT64:
	case BSON_TYPE_DATE_TIME:
	case BSON_TYPE_TIMESTAMP:
		return put64(w, (uint64_t)v->number);
	case BSON_TYPE_DOUBLE:
		memcpy(w, &v->real, 8);
		return w + 8;
	case BSON_TYPE_BOOL:
		*w = v->number != 0;
		return w + 1;
	case BSON_TYPE_UTF8:
		w = put_bytes(put32(w, v->len + 1), column_value_bytes(v), v->len);
		*w = 0;
		return w + 1;
	case BSON_TYPE_BINARY:
		w = put32(w, v->len);
		*w++ = v->subtype;
		break;
	}
	return put_bytes(w, column_value_bytes(v), v->len);
}

static int put_element(struct reader *r, const char *name, uint32_t name_len, const struct column_value *v,
		       bool as_bson)
{
	uint8_t *w;

	/* Type, the name's NUL, the longest head of a value and the end of a string; the document's own end. */
	if (reserve(r, (size_t)name_len + v->len + 1 + 1 + 8 + 1 + 1) < 0)
		return -ENOMEM;
	w = r->document + r->len;
	*w++ = v->type;
	memcpy(w, name, name_len);
	w += name_len;
	*w++ = 0;
	r->len = (size_t)(put_value(w, v, as_bson) - r->document);
	return 0;
}

static int put_meta(struct reader *r)
{
	uint32_t start = bson_iter_offset(&r->meta), value = start + 1 + bson_iter_key_len(&r->meta) + 1;
	const struct column_value v = {
		.type = r->meta.raw[start], .bytes = r->meta.raw + value, .len = r->meta.next_off - value};

	return put_element(r, "meta", 4, &v, true);
}

static int put_document(struct reader *r, uint32_t index)
{
	int status = 0;

	r->len = 4;
	for (uint32_t i = 0; i < r->columns && !status; i++) {
		const struct column *c = &r->column[i];

		if (c->values[index].type != COLUMN_VALUE_MISSING)
			status = put_element(r, c->name, c->name_len, &c->values[index], r->as_bson);
		if (i == 0 && r->has_meta && !status)
			status = put_meta(r);
	}
	if (status)
		return status;
	r->document[r->len++] = 0;
	put32(r->document, (uint32_t)r->len);
	return 0;
}

static int give_documents(struct reader *r, bucket_each *each, void *arg)
{
	bson_t document;
	int status = reserve(r, 4);

	for (uint32_t i = 0; i < r->count && !status; i++) {
		status = put_document(r, i);
		if (status)
			break;
		if (!bson_init_static(&document, r->document, r->len))
			status = refuse(r, "a document is too long");
		else if (!each(arg, i, &document))
			status = -ECANCELED;
	}
	return status;
}

int bucket_read(const bson_t *bucket, bucket_each *each, void *arg, const char **problem)
{
	struct reader r = {.problem = "bson"};
	int status = read_control(&r, bucket);

	if (!status)
		status = find_columns(&r, bucket);
	if (!status)
		status = read_columns(&r);
	if (!status)
		status = give_documents(&r, each, arg);
	free(r.document);
	free(r.values);
	free(r.column);
	if (status == -EINVAL && problem)
		*problem = r.problem;
	return status;
}
