/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_read.c - BSONColumn to values, one item after the other: a literal, or up to 16 blocks of numbers, each of
 * which is the step from one value to the next.
 *
 * Every length is held against the end of the column before it is believed, every value against `most` before it is
 * written. A block of 8 bytes gives at most 1,920 values, so the work is bounded by the two.
 */
#include "recorder/encode/column_read.h"

#include <errno.h>

#include "recorder/encode/column_number.h"

struct reading {
	const uint8_t *start, *at, *end, *item; /* item: what a problem is told of */
	struct column_value *values;
	uint32_t n, most;
	const char *problem;
	/* Since the last literal. */
	bool begun; /* there was one */
	enum column_how how;
	struct column_value value; /* the last one that was there */
	column_wide number;	   /* its number */
	uint64_t change;	   /* from the one before it to it */
	bool steps;		   /* may be moved on by other numbers than 0 */
	double scale;
	/* Last of the block before, for runs. */
	column_wide last;
	bool last_missing;
};

static int wrong(struct reading *r, const char *problem)
{
	r->problem = problem;
	return -EINVAL;
}

static uint64_t get(const uint8_t *from, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, from, bytes);
	return v;
}

static int add(struct reading *r, const struct column_value *value)
{
	if (r->n == r->most)
		return -E2BIG;
	r->values[r->n++] = *value;
	return 0;
}

/* ---- literals --------------------------------------------------------------------------------------------------- */

/* Bytes of a value that begins with its length, `more` bytes not counted in it; 0: it does not fit. */
static size_t counted(const uint8_t *at, size_t left, uint32_t least, uint32_t more)
{
	uint32_t len;

	if (left < 4)
		return 0;
	len = (uint32_t)get(at, 4);
	return len < least || len > INT32_MAX || (size_t)len + more > left ? 0 : (size_t)len + more;
}

static size_t cstring(const uint8_t *at, size_t left)
{
	const uint8_t *end = left ? memchr(at, 0, left) : NULL;

	return end ? (size_t)(end - at) + 1 : 0;
}

/* Bytes of a value of that type as in BSON. False: no such type, or the column ends inside. */
static bool literal_size(uint8_t type, const uint8_t *at, size_t left, size_t *size)
{
	size_t first;

	switch (type) {
	case BSON_UNDEFINED:
	case BSON_NULL:
	case BSON_MIN_KEY:
	case BSON_MAX_KEY:
		*size = 0;
		return true;
	case BSON_DOUBLE:
	case BSON_DATE:
	case BSON_TIMESTAMP:
	case BSON_INT64:
		*size = 8;
		return left >= 8;
	case BSON_BOOL:
	case BSON_INT32:
	case BSON_OID:
	case BSON_DECIMAL128:
		*size = type == BSON_BOOL ? 1 : type == BSON_INT32 ? 4 : type == BSON_OID ? 12 : 16;
		return left >= *size;
	case BSON_STRING:
	case BSON_CODE:
	case BSON_SYMBOL:
		*size = counted(at, left, 1, 4);
		return *size && !at[*size - 1];
	case BSON_DBPOINTER:
		*size = counted(at, left, 1, 4 + 12);
		return *size != 0;
	case BSON_OBJECT:
	case BSON_ARRAY:
	case BSON_CODE_WITH_SCOPE:
		*size = counted(at, left, 5, 0);
		return *size != 0;
	case BSON_BINARY:
		*size = counted(at, left, 0, 5);
		return *size != 0;
	case BSON_REGEX:
		first = cstring(at, left);
		*size = first ? cstring(at + first, left - first) : 0;
		*size += *size ? first : 0;
		return *size != 0;
	default:
		return false;
	}
}

/* The bytes of a value: small ones are copied, so that literals and what follows from them look the same. */
static void bytes_value(struct column_value *v, const uint8_t *bytes, size_t len)
{
	v->len = (uint32_t)len;
	if (len <= sizeof(v->small))
		memcpy(v->small, bytes, len);
	else
		v->bytes = bytes;
}

/* The literal's value and number. */
static void literal_value(struct reading *r, uint8_t type, const uint8_t *at, size_t size)
{
	struct column_value *v = &r->value;

	*v = (struct column_value){.type = type};
	r->number = 0;
	r->steps = true;
	switch (type) {
	case BSON_DOUBLE:
		memcpy(&v->real, at, 8); /* its number is made when the scale is known */
		break;
	case BSON_BOOL:
	case BSON_INT64:
	case BSON_DATE:
	case BSON_TIMESTAMP:
		r->number = get(at, (unsigned)size);
		v->number = type == BSON_BOOL ? r->number != 0 : (int64_t)r->number;
		break;
	case BSON_INT32:
		v->number = (int32_t)get(at, 4);
		r->number = (uint64_t)v->number;
		break;
	case BSON_OID:
		bytes_value(v, at, size);
		r->number = column_oid(at);
		break;
	case BSON_STRING:
	case BSON_CODE:
		bytes_value(v, at + 4, size - 5);
		column_text(at + 4, v->len, &r->number); /* without a number it counts as 0 for the next */
		break;
	case BSON_BINARY:
		v->subtype = at[4];
		bytes_value(v, at + 5, size - 5);
		r->steps = column_bytes(at + 5, v->len, &r->number);
		break;
	case BSON_DECIMAL128:
		bytes_value(v, at, size);
		column_bytes(at, v->len, &r->number);
		break;
	default:
		bytes_value(v, at, size);
		r->steps = false;
	}
}

static int literal(struct reading *r, uint8_t type)
{
	size_t size;

	if (r->at == r->end || *r->at++)
		return wrong(r, "a literal with a name");
	if (!literal_size(type, r->at, (size_t)(r->end - r->at), &size))
		return wrong(r, "a literal");
	literal_value(r, type, r->at, size);
	r->at += size;
	r->begun = true;
	r->how = column_how(type);
	r->change = 0;
	r->last = 0;
	r->last_missing = false;
	return add(r, &r->value);
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

/* The value of a number of up to 64 bits that is not a double's. */
static void number_value(struct column_value *v, uint64_t number)
{
	switch (v->type) {
	case BSON_INT32:
		v->number = (int32_t)number;
		break;
	case BSON_BOOL:
		v->number = number != 0;
		break;
	case BSON_OID:
		column_oid_back(number, v->small);
		break;
	default:
		v->number = (int64_t)number;
	}
}

static void wide_value(struct column_value *v, column_wide number)
{
	v->bytes = NULL;
	memset(v->small, 0, sizeof(v->small));
	if (v->type == BSON_STRING || v->type == BSON_CODE)
		v->len = column_text_back(number, v->small);
	else
		memcpy(v->small, &number, v->len);
}

/* Moves on by one number of a block. */
static int step(struct reading *r, column_wide u)
{
	column_wide by = u >> 1 ^ -(u & 1);

	if (!r->begun)
		return wrong(r, "a number before the first literal");
	if (u && !r->steps)
		return wrong(r, "a change of what cannot change");
	if (u >> 64 && r->how != COLUMN_WIDE)
		return wrong(r, "a number of more than 64 bits");
	switch (r->how) {
	case COLUMN_SAME:
		break;
	case COLUMN_NUMBER:
		r->number = (uint64_t)(r->number + by);
		number_value(&r->value, (uint64_t)r->number);
		break;
	case COLUMN_CHANGE:
		r->change += (uint64_t)by;
		r->number = (uint64_t)(r->number + r->change);
		number_value(&r->value, (uint64_t)r->number);
		break;
	case COLUMN_REAL:
		r->number = (uint64_t)(r->number + by);
		r->value.real = column_real_back((uint64_t)r->number, r->scale);
		break;
	case COLUMN_WIDE:
		if (!u) /* may have no number */
			break;
		r->number += by;
		wide_value(&r->value, r->number);
	}
	return add(r, &r->value);
}

static int missing(struct reading *r)
{
	return add(r, &(struct column_value){.type = COLUMN_VALUE_MISSING});
}

static int one(struct reading *r, column_wide u, bool is_missing)
{
	return is_missing ? missing(r) : step(r, u);
}

/* How the 60 or 56 bits of a block are divided. */
struct shape {
	unsigned first, slots, width;
	unsigned zeros, unit; /* of each slot the low bits that count zeros, and how many zeros each count stands for */
};

/* False: there is no such selector. */
static bool block_shape(uint64_t word, struct shape *s)
{
	static const uint8_t slots[] = {0, 60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1};
	unsigned selector = word & 15, extension = word >> 4 & 15;

	*s = (struct shape){.first = 4, .slots = slots[selector]};
	if (selector == 7 || selector == 8) {
		s->first = 8;
		s->unit = selector == 7 ? 1 : 4;
		s->zeros = !extension ? 0 : selector == 8 && extension > 7 ? 5 : 4;
		if (extension)
			s->slots = (selector == 7 ? 10 : extension > 7 ? 14 : 8) - extension;
		if (s->slots < 1 || s->slots > 9) /* below 0, too */
			return false;
	}
	if (!s->slots)
		return false;
	s->width = (s->first == 4 ? 60u : 56u) / s->slots;
	return true;
}

static int run(struct reading *r, uint64_t word)
{
	uint32_t count = ((uint32_t)(word >> 4 & 15) + 1) * 120;
	int err = 0;

	while (count-- && !err)
		err = one(r, r->last, r->last_missing);
	return err;
}

static int block(struct reading *r, uint64_t word)
{
	struct shape s;
	uint64_t ones;
	int err = 0;

	if ((word & 15) == 15)
		return run(r, word);
	if (!block_shape(word, &s))
		return wrong(r, "a selector");
	ones = (1ull << s.width) - 1;
	for (unsigned i = 0; i < s.slots && !err; i++) {
		uint64_t slot = word >> (s.first + i * s.width) & ones, value = slot >> s.zeros;
		unsigned shift = (unsigned)(slot & ((1u << s.zeros) - 1)) * s.unit;

		r->last_missing = slot == ones;
		r->last = r->last_missing ? 0 : (column_wide)value << shift;
		if (!r->last_missing && r->last >> shift != value)
			return wrong(r, "a number of more than 128 bits");
		err = one(r, r->last, r->last_missing);
	}
	return err;
}

static int blocks(struct reading *r, uint8_t control)
{
	unsigned form = control >> 4, count = (control & 15u) + 1;
	uint64_t number;
	int err = 0;

	if (form < 8 || form > 13)
		return wrong(r, form == 15 ? "interleaved mode" : "a control byte");
	r->scale = column_scales[form - 8];
	if (r->begun && r->how == COLUMN_REAL) {
		if (!column_real(r->value.real, r->scale, &number))
			return wrong(r, "a scale that does not hold the value before");
		r->number = number;
	}
	while (count-- && !err) {
		r->item = r->at;
		if (r->end - r->at < 8)
			return wrong(r, "a block cut off");
		r->at += 8;
		err = block(r, get(r->at - 8, 8));
	}
	return err;
}

int column_read(const uint8_t *column, size_t len, struct column_value *values, uint32_t most, const char **problem,
		size_t *at)
{
	struct reading r = {.start = column,
			    .at = column,
			    .end = column + len,
			    .item = column,
			    .values = values,
			    .most = most < INT32_MAX ? most : INT32_MAX};
	uint8_t control;
	int err = 0;

	while (!err) {
		r.item = r.at;
		if (r.at == r.end) {
			err = wrong(&r, "no end");
			break;
		}
		control = *r.at++;
		if (!control) {
			if (r.at == r.end)
				return (int)r.n;
			err = wrong(&r, "bytes behind the end");
		} else if (control < 0x20 || control == BSON_MAX_KEY || control == BSON_MIN_KEY) {
			err = literal(&r, control);
		} else {
			err = blocks(&r, control);
		}
	}
	if (err == -EINVAL && problem)
		*problem = r.problem;
	if (err == -EINVAL && at)
		*at = (size_t)(r.item - r.start);
	return err;
}
