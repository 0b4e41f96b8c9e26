/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column.h - BSONColumn (BinData subtype 7): the values of one field in a bucket, packed. BUCKETS.md section 5.
 *
 * A column is a literal (type byte, 00, the value as in BSON), then Simple-8b blocks of the differences to the value
 * before it, zigzag coded, then 00. A block is 64 bits: a selector that says how many differences of how many bits it
 * holds, or that the last difference of the block before is repeated k * 120 times. All ones in a slot is a missing
 * value. Dates hold differences of differences, doubles differences under a decimal scale (here always 1, because we
 * store only integers as doubles), short strings and binaries are numbers of up to 128 bits.
 *
 * Writers of three shapes, because a bucket in flow order has three kinds of columns:
 *
 *   dense    nearly every packet differs (time, sequence numbers, checksums): arrays of values
 *   events   seldom a change (TTL, options): the places where the value changes
 *   texts    the same for strings and binaries
 *
 * column_plain.h is the plain encoder that these are tested against, column_read.h the decoder. Pure, no allocation.
 */
#ifndef XDP_RECORDER_ENCODE_COLUMN_H
#define XDP_RECORDER_ENCODE_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COLUMN_MOST 2048u /* values in a column, at most */

/* BSON's type bytes, as enum field_type. */
enum column_type {
	COLUMN_DOUBLE = 0x01,
	COLUMN_STRING = 0x02,
	COLUMN_BINARY = 0x05, /* subtype 0 */
	COLUMN_DATE = 0x09,
	COLUMN_INT32 = 0x10,
};

/*
 * Bytes that a writer may touch from `w` on, beyond what it returns included. Texts: `bytes` is the sum of the lengths
 * of all events.
 */
#define COLUMN_BOUND(n) (64u + 10u * (size_t)(n))
#define COLUMN_TEXTS_BOUND(n, events, bytes) (64u + 10u * (size_t)(n) + 24u * (size_t)(events) + (bytes))

/*
 * Dense columns. `values` are readable (not necessarily defined) up to the next multiple of 8 behind n. `missing` is a
 * bitmap (bit i & 63 of word i >> 6) or NULL; there values[i] must be equal to the value in front of it, and in front of
 * the first one that is there equal to that one: whoever gathers carries it along. At least one value is there.
 * Each returns the byte behind the column's 00; `range` becomes the smallest and the largest value.
 */
uint8_t *column_int32(uint8_t *w, const int32_t *values, const uint64_t *missing, uint32_t n, int32_t range[2]);
uint8_t *column_double(uint8_t *w, const uint32_t *values, const uint64_t *missing, uint32_t n, uint32_t range[2]);
uint8_t *column_date(uint8_t *w, const int64_t *ms, uint32_t n, int64_t range[2]);

/* From place `at` on until the next event the value is `value`, or missing. */
struct column_event {
	uint32_t at;
	uint32_t missing;
	int64_t value; /* DOUBLE: an integer, at most 2^53 in size */
};

/*
 * INT32, DOUBLE. `at` is ascending, events[0].at is 0, count is at least 1, not all of them are missing. Two
 * events in a row may say the same. Dates have no sparse form.
 */
uint8_t *column_events(uint8_t *w, enum column_type type, const struct column_event *events, uint32_t count, uint32_t n,
		       int64_t range[2]);

/*
 * STRING of up to 7 bytes, the same few again and again: values are the numbers that they have (BUCKETS.md 5.4), among which larger
 * ones must be later in BSON's order too. COLUMN_WORD2 and 3 give the number of so many letters.
 */
#define COLUMN_WORD2(a, b) ((a) << 8 | (b))
#define COLUMN_WORD3(a, b, c) ((a) << 16 | (b) << 8 | (c))
uint8_t *column_words(uint8_t *w, const struct column_event *events, uint32_t count, uint32_t n, int64_t range[2]);
/* Its letters, without a NUL; 8 bytes are touched. How many. */
uint32_t column_word(uint8_t *w, int64_t word);

struct column_text {
	uint32_t at;
	uint32_t len; /* COLUMN_TEXT_MISSING: missing */
	const uint8_t *bytes; /* STRING: no NUL counted, none inside */
};
#define COLUMN_TEXT_MISSING UINT32_MAX

/*
 * STRING, BINARY; rules as for column_events. `range` becomes the numbers of events that hold the smallest and the largest
 * value in BSON's order (BUCKETS.md section 3).
 */
uint8_t *column_texts(uint8_t *w, enum column_type type, const struct column_text *events, uint32_t count, uint32_t n,
		      uint32_t range[2]);

/*
 * Which machine code is used: the best that the processor has, unless a test or benchmark asks for less. Gives the level
 * in force, which is lower than asked for where the processor lacks it. Not while another thread writes columns.
 */
enum column_level { COLUMN_SSE2, COLUMN_AVX2, COLUMN_AVX512, COLUMN_BEST = COLUMN_AVX512 };
enum column_level column_use(enum column_level level);
/* In force; rows (flow.h) are made at it too. */
enum column_level column_level(void);

#endif
