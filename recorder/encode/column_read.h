/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_read.h - a BSONColumn back to its values: for export, for the self-check, for reading back after a crash.
 *
 * Reads whatever a server may have made (all types and selectors of BUCKETS.md section 5, but interleaved mode), not
 * only what column.h writes, and trusts nothing: a column comes from a database.
 *
 * What it does not look into: whether a string is UTF-8, and what is inside an object, an array or another type that is
 * handed out as it is in BSON. Code is read as a string is.
 */
#ifndef XDP_RECORDER_ENCODE_COLUMN_READ_H
#define XDP_RECORDER_ENCODE_COLUMN_READ_H

#include <stddef.h>
#include <stdint.h>

#define COLUMN_VALUE_MISSING 0u

struct column_value {
	uint8_t type;	 /* BSON's type byte; COLUMN_VALUE_MISSING: no value */
	uint8_t subtype; /* of binary */
	uint32_t len;	 /* bytes of a string (without NUL), a binary, or another value as in BSON; 0 where number or real hold it */
	union {
		int64_t number; /* int32, int64, date (ms), bool, timestamp */
		double real;
	};
	uint8_t small[16];	 /* strings and binaries of up to 16 bytes, ObjectId, decimal128 */
	const uint8_t *bytes;	 /* longer ones, in the column; NULL: in small. Ask column_value_bytes. */
};

static inline const uint8_t *column_value_bytes(const struct column_value *v)
{
	return v->bytes ? v->bytes : v->small;
}

/*
 * Decodes the whole column into values[most]. The number of values, or -EINVAL (then *problem, if not NULL, is a word on what
 * and *at the offset where), or -E2BIG: there are more than `most`. Values point into `column`.
 */
int column_read(const uint8_t *column, size_t len, struct column_value *values, uint32_t most, const char **problem,
		size_t *at);

#endif
