/* SPDX-License-Identifier: GPL-2.0-or-later */
/* any_column.h - columns of any values out of any bytes, and whether two values are the same. For unit tests and
 * fuzzing. */
#ifndef XDP_RECORDER_TESTS_ANY_COLUMN_H
#define XDP_RECORDER_TESTS_ANY_COLUMN_H

#include <stdbool.h>
#include <string.h>

#include "recorder/encode/column_number.h"
#include "recorder/encode/column_read.h"

static inline bool any_column_same(const struct column_value *a, const struct column_value *b)
{
	return a->type == b->type && a->subtype == b->subtype && a->len == b->len && a->number == b->number &&
	       !memcmp(column_value_bytes(a), column_value_bytes(b), a->len);
}

/* Bytes to make choices from; zeros behind their end. */
struct any_source {
	const uint8_t *at, *end;
};

static inline uint64_t any_take(struct any_source *s, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && s->at < s->end; i++)
		v |= (uint64_t)*s->at++ << 8 * i;
	return v;
}

static inline void any_column_bytes(struct column_value *v, const uint8_t *bytes, uint32_t len)
{
	v->len = len;
	v->bytes = len > sizeof(v->small) ? bytes : NULL;
	if (!v->bytes)
		memcpy(v->small, bytes, len);
}

/* A value whose number is of that many bytes; strings and binaries point into the source. */
static inline struct column_value any_column_value(uint8_t type, uint8_t how, struct any_source *s)
{
	/* What is kept as in BSON: an object, an array, a regex, a DBPointer, a symbol, code with an empty scope. */
	static const uint8_t object[] = {5, 0, 0, 0, 0}, regex[] = {'a', 0, 'i', 0}, symbol[] = {2, 0, 0, 0, 'x', 0};
	static const uint8_t pointer[17] = {1}, scope[] = {14, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0};
	struct column_value v = {.type = type};
	size_t left;
	uint32_t len;

	switch (type) {
	case BSON_STRING:
	case BSON_CODE:
	case BSON_BINARY:
		len = (uint32_t)any_take(s, 1) % (how & 1 ? 40 : 18);
		v.subtype = type == BSON_BINARY && how & 2 ? 0x80 : 0;
		left = (size_t)(s->end - s->at);
		any_column_bytes(&v, s->at, len < left ? len : (uint32_t)left);
		s->at += v.len;
		break;
	case BSON_OID:
	case BSON_DECIMAL128:
		v.len = type == BSON_OID ? 12 : 16;
		for (unsigned i = 0; i < v.len; i++)
			v.small[i] = how & 1 && i >= 4 && i < 9 ? 7 : (uint8_t)any_take(s, 1);
		break;
	case BSON_INT32:
		v.number = (int32_t)any_take(s, 1 + how % 4);
		break;
	case BSON_INT64:
	case BSON_DATE:
	case BSON_TIMESTAMP:
		v.number = (int64_t)any_take(s, 1 + how % 8);
		break;
	case BSON_BOOL:
		v.number = how & 1;
		break;
	case BSON_DOUBLE:
		if (how < 8)
			v.number = (int64_t)any_take(s, 8); /* the bits */
		else
			v.real = (double)(int64_t)any_take(s, 1 + how % 7) / column_scales[1 + how / 8 % 5];
		break;
	case BSON_OBJECT:
	case BSON_ARRAY:
		any_column_bytes(&v, object, sizeof(object));
		break;
	case BSON_REGEX:
		any_column_bytes(&v, regex, sizeof(regex));
		break;
	case BSON_SYMBOL:
		any_column_bytes(&v, symbol, sizeof(symbol));
		break;
	case BSON_CODE_WITH_SCOPE:
		any_column_bytes(&v, scope, sizeof(scope));
		break;
	case BSON_DBPOINTER:
		any_column_bytes(&v, pointer, sizeof(pointer));
		break;
	}
	return v;
}

/* As many values as the source and `most` give; of that type, or of all types when it is 0. */
static inline uint32_t any_column(struct column_value *values, uint32_t most, uint8_t only, struct any_source s)
{
	static const uint8_t types[] = {
		BSON_INT32,	 BSON_DOUBLE,  BSON_STRING,    BSON_DATE,  BSON_BINARY,		 BSON_INT64,
		BSON_BOOL,	 BSON_OID,     BSON_TIMESTAMP, BSON_NULL,  BSON_OBJECT,		 BSON_CODE,
		BSON_DECIMAL128, BSON_SYMBOL,  BSON_REGEX,     BSON_ARRAY, BSON_CODE_WITH_SCOPE, BSON_DBPOINTER,
		BSON_MIN_KEY,	 BSON_MAX_KEY, BSON_UNDEFINED};
	uint8_t type = only ? only : types[any_take(&s, 1) % sizeof(types)];
	struct column_value last = any_column_value(type, (uint8_t)any_take(&s, 1), &s);
	uint32_t n = 0;

	while (n < most && s.at < s.end) {
		uint8_t op = (uint8_t)any_take(&s, 1), how = op >> 3;
		uint32_t count = 1;
		int64_t by = 0;

		switch (op & 7) {
		case 0:
			for (count = 1 + (uint32_t)any_take(&s, 1 + how % 2) % 4096; n < most && count; count--)
				values[n++] = (struct column_value){.type = COLUMN_VALUE_MISSING};
			break;
		case 1: /* the same, many times */
			count = 1 + (uint32_t)any_take(&s, 2) % 4096;
			break;
		case 2: /* steps */
			count = 1 + (uint32_t)any_take(&s, 1);
			by = (int8_t)any_take(&s, 1);
			break;
		case 3:
			type = how || only ? type : types[any_take(&s, 1) % sizeof(types)];
			last = any_column_value(type, (uint8_t)any_take(&s, 1), &s);
			break;
		default:
			last = any_column_value(type, how, &s);
		}
		for (; n < most && count; count--) {
			if (type == BSON_DOUBLE && last.real > -1e15 && last.real < 1e15)
				last.real += (double)by;
			else if (type == BSON_INT32)
				last.number = (int32_t)((uint64_t)last.number + (uint64_t)by);
			else if (type == BSON_INT64 || type == BSON_DATE || type == BSON_TIMESTAMP)
				last.number = (int64_t)((uint64_t)last.number + (uint64_t)by);
			else if (last.len && !last.bytes &&
				 (type == BSON_STRING || type == BSON_BINARY || type == BSON_OID))
				last.small[last.len - 1] = (uint8_t)(last.small[last.len - 1] + by);
			values[n++] = last;
		}
	}
	return n;
}

#endif
