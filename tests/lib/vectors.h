/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vectors.h - columns that MongoDB's server made or took, with their values: tests/golden/vectors.json.zst, which is
 * the vectors.json of the description of the format (BUCKETS.md) through `zstd -19`.
 */
#ifndef XDP_RECORDER_TESTS_VECTORS_H
#define XDP_RECORDER_TESTS_VECTORS_H

#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "recorder/encode/column_number.h"
#include "recorder/encode/column_read.h"

struct vector {
	char name[128];	  /* type and name */
	bool from_server; /* made by it; else taken by it */
	uint8_t *column;
	size_t len, bytes; /* bytes: of the strings and binaries */
	struct column_value *values;
	uint32_t n;
};

struct vectors {
	bson_t *json; /* the values point into it */
	struct vector *all;
	uint32_t n;
};

static inline uint8_t *vectors_hex(const char *hex, uint32_t *n)
{
	uint8_t *bytes;

	*n = (uint32_t)strlen(hex) / 2;
	bytes = malloc(*n ? *n : 1);
	for (uint32_t i = 0; bytes && i < *n; i++) {
		unsigned byte = 0;

		sscanf(hex + 2 * i, "%2x", &byte);
		bytes[i] = (uint8_t)byte;
	}
	return bytes;
}

/* Bytes of more than 16 are kept until the program ends. */
static inline void vectors_bytes(struct column_value *v, const char *hex)
{
	uint8_t *bytes = vectors_hex(hex, &v->len);

	if (v->len > sizeof(v->small)) {
		v->bytes = bytes;
		return;
	}
	memcpy(v->small, bytes, v->len);
	free(bytes);
}

/* One value: null, or a document of its type and text. False: not understood. */
static inline bool vectors_value(const bson_iter_t *at, struct column_value *v)
{
	bson_iter_t it, pair;
	const char *key, *text;
	uint32_t len;

	*v = (struct column_value){.type = COLUMN_VALUE_MISSING};
	if (BSON_ITER_HOLDS_NULL(at))
		return true;
	if (!bson_iter_recurse(at, &it) || !bson_iter_next(&it))
		return false;
	key = bson_iter_key(&it);
	text = BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, &len) : NULL;
	if (!strcmp(key, "string") && text) {
		v->type = BSON_STRING;
		v->len = len;
		v->bytes = len > sizeof(v->small) ? (const uint8_t *)text : NULL;
		if (!v->bytes)
			memcpy(v->small, text, len);
	} else if (!strcmp(key, "double") && text) {
		v->type = BSON_DOUBLE;
		v->number = (int64_t)strtoull(text, NULL, 16);
	} else if (!strcmp(key, "oid") && text) {
		v->type = BSON_OID;
		vectors_bytes(v, text);
	} else if (text && (!strcmp(key, "int32") || !strcmp(key, "int64") || !strcmp(key, "date"))) {
		v->type = key[0] == 'd' ? BSON_DATE : key[3] == '3' ? BSON_INT32 : BSON_INT64;
		v->number = strtoll(text, NULL, 10);
	} else if (!strcmp(key, "bool")) {
		v->type = BSON_BOOL;
		v->number = bson_iter_bool(&it);
	} else if (!strcmp(key, "null")) {
		v->type = BSON_NULL;
	} else if (!strcmp(key, "bin") && bson_iter_recurse(&it, &pair) && bson_iter_next(&pair)) {
		v->type = BSON_BINARY;
		v->subtype = (uint8_t)bson_iter_as_int64(&pair);
		if (!bson_iter_next(&pair) || !BSON_ITER_HOLDS_UTF8(&pair))
			return false;
		vectors_bytes(v, bson_iter_utf8(&pair, NULL));
	} else {
		return false;
	}
	return true;
}

static inline bool vectors_one(const bson_iter_t *at, struct vector *v)
{
	bson_iter_t it, values;
	const char *type = "", *name = "";
	uint32_t len;

	if (!bson_iter_recurse(at, &it))
		return false;
	while (bson_iter_next(&it)) {
		const char *key = bson_iter_key(&it);

		if (!strcmp(key, "type"))
			type = bson_iter_utf8(&it, NULL);
		if (!strcmp(key, "name"))
			name = bson_iter_utf8(&it, NULL);
		if (!strcmp(key, "hex")) {
			v->column = vectors_hex(bson_iter_utf8(&it, NULL), &len);
			v->len = len;
		}
		if (!strcmp(key, "count"))
			v->values = calloc((size_t)bson_iter_as_int64(&it), sizeof(*v->values));
		if (strcmp(key, "values") || !v->values || !bson_iter_recurse(&it, &values))
			continue;
		while (bson_iter_next(&values)) {
			if (!vectors_value(&values, &v->values[v->n]))
				return false;
			v->bytes += v->values[v->n++].len;
		}
	}
	snprintf(v->name, sizeof(v->name), "%s: %s", type, name);
	return v->column && v->n;
}

static inline bson_t *vectors_json(void)
{
	const char *source = getenv("XDP_RECORDER_SOURCE");
	char path[4096], *text = NULL;
	static char packed[1 << 20];
	size_t n, size = 8 << 20;
	bson_error_t error = {0};
	bson_t *json = NULL;
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/golden/vectors.json.zst", source ? source : ".");
	file = fopen(path, "rb");
	n = file ? fread(packed, 1, sizeof(packed), file) : 0;
	if (file)
		fclose(file);
	text = malloc(size);
	size = n && text ? ZSTD_decompress(text, size, packed, n) : 0;
	if (!n || ZSTD_isError(size))
		fprintf(stderr, "%s: cannot be read\n", path);
	else if (!(json = bson_new_from_json((const uint8_t *)text, (ssize_t)size, &error)))
		fprintf(stderr, "%s: %s\n", path, error.message);
	free(text);
	return json;
}

/* All of them, or none (and said why on stderr). Kept until the program ends. */
static inline bool vectors_load(struct vectors *v)
{
	static const char *const lists[] = {"vectors", "handmade"};
	bson_iter_t it, list;

	*v = (struct vectors){.json = vectors_json(), .all = calloc(1024, sizeof(*v->all))};
	if (!v->json || !v->all)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (!bson_iter_init_find(&it, v->json, lists[i]) || !bson_iter_recurse(&it, &list))
			return false;
		while (v->n < 1024 && bson_iter_next(&list)) {
			if (!vectors_one(&list, &v->all[v->n])) {
				fprintf(stderr, "vector %u of %s is not understood\n", v->n, lists[i]);
				return false;
			}
			v->all[v->n++].from_server = i == 0;
		}
	}
	return true;
}

#endif
