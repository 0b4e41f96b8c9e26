/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_number.h - the number that a value has in a BSONColumn's blocks (BUCKETS.md 5.1, 5.4 to 5.6), both ways. For
 * the plain encoder and the decoder; the fast writers know their few types themselves.
 */
#ifndef XDP_RECORDER_ENCODE_COLUMN_NUMBER_H
#define XDP_RECORDER_ENCODE_COLUMN_NUMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "recorder/encode/column_read.h"

/* BSON's type bytes. */
enum bson_kind {
	BSON_DOUBLE = 0x01,
	BSON_STRING,
	BSON_OBJECT,
	BSON_ARRAY,
	BSON_BINARY,
	BSON_UNDEFINED,
	BSON_OID,
	BSON_BOOL,
	BSON_DATE,
	BSON_NULL,
	BSON_REGEX,
	BSON_DBPOINTER,
	BSON_CODE,
	BSON_SYMBOL,
	BSON_CODE_WITH_SCOPE,
	BSON_INT32,
	BSON_TIMESTAMP,
	BSON_INT64,
	BSON_DECIMAL128,
	BSON_MAX_KEY = 0x7f,
	BSON_MIN_KEY = 0xff,
};

__extension__ typedef unsigned __int128 column_wide;

/* How the values of a type follow from the numbers in the blocks. */
enum column_how {
	COLUMN_SAME,   /* each is the literal; 0 is the only number */
	COLUMN_NUMBER, /* 64 bits, differences */
	COLUMN_CHANGE, /* 64 bits, differences of differences */
	COLUMN_REAL,   /* 64 bits, differences under a scale */
	COLUMN_WIDE,   /* 128 bits, differences */
};

static inline enum column_how column_how(uint8_t type)
{
	switch (type) {
	case BSON_INT32:
	case BSON_INT64:
	case BSON_BOOL:
		return COLUMN_NUMBER;
	case BSON_DATE:
	case BSON_TIMESTAMP:
	case BSON_OID:
		return COLUMN_CHANGE;
	case BSON_DOUBLE:
		return COLUMN_REAL;
	case BSON_STRING:
	case BSON_CODE:
	case BSON_BINARY:
	case BSON_DECIMAL128:
		return COLUMN_WIDE;
	default:
		return COLUMN_SAME;
	}
}

/* The control byte's high nibble, 8 to 13, to the scale; 0 stands for the bits themselves. */
static const double column_scales[] = {0, 1, 10, 100, 10000, 100000000};

/* A double under a scale; false: not to be had back bit for bit. */
static inline bool column_real(double x, double scale, uint64_t *number)
{
	double scaled = x * scale, back;
	int64_t n;

	if (scale == 0) {
		memcpy(number, &x, sizeof(x));
		return true;
	}
	if (!(scaled >= -0x1p53 && scaled <= 0x1p53)) /* NaN as well */
		return false;
	n = (int64_t)scaled;
	if (scaled - (double)n >= 0.5)
		n++;
	if (scaled - (double)n <= -0.5)
		n--;
	back = (double)n / scale;
	*number = (uint64_t)n;
	return !memcmp(&back, &x, sizeof(x));
}

static inline double column_real_back(uint64_t number, double scale)
{
	double x;

	if (scale != 0)
		return (double)(int64_t)number / scale;
	memcpy(&x, &number, sizeof(x));
	return x;
}

/*
 * An ObjectId's bytes but for the five in the middle: those that change most are the lowest. Its bytes of place, from
 * the number's lowest on.
 */
static const uint8_t column_oid_order[] = {11, 3, 10, 2, 9, 1, 0};

static inline uint64_t column_oid(const uint8_t *oid)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < sizeof(column_oid_order); i++)
		number |= (uint64_t)oid[column_oid_order[i]] << 8 * i;
	return number;
}

static inline void column_oid_back(uint64_t number, uint8_t *oid)
{
	for (unsigned i = 0; i < sizeof(column_oid_order); i++)
		oid[column_oid_order[i]] = (uint8_t)(number >> 8 * i);
}

/* Strings: the last byte is the lowest. False: longer than 16, or a NUL first, which would be lost. */
static inline bool column_text(const uint8_t *text, uint32_t len, column_wide *number)
{
	*number = 0;
	if (len > 16 || (len && !*text))
		return false;
	for (uint32_t i = 0; i < len; i++)
		*number = *number << 8 | text[i];
	return true;
}

static inline uint32_t column_text_back(column_wide number, uint8_t text[16])
{
	uint32_t len = 0;

	while (len < 16 && number >> 8 * len)
		len++;
	for (uint32_t i = len; i; number >>= 8)
		text[--i] = (uint8_t)number;
	return len;
}

/* Binaries, decimal128: the first byte is the lowest. False: longer than 16. */
static inline bool column_bytes(const uint8_t *bytes, uint32_t len, column_wide *number)
{
	*number = 0;
	if (len > 16)
		return false;
	memcpy(number, bytes, len);
	return true;
}

#endif
