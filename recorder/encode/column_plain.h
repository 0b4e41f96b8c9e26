/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_plain.h - the plain BSONColumn encoder: value by value, with the packing of MongoDB's server (BUCKETS.md section
 * 5.7: extended selectors too). The oracle for column.h in tests and benchmarks, and the measure of its size; the recorder never
 * calls it.
 */
#ifndef XDP_RECORDER_ENCODE_COLUMN_PLAIN_H
#define XDP_RECORDER_ENCODE_COLUMN_PLAIN_H

#include "recorder/encode/column_read.h"

/* Bytes that column_plain may need for n values whose strings and binaries are together `bytes` long. */
#define COLUMN_PLAIN_BOUND(n, bytes) (64u + 40u * (size_t)(n) + (bytes))

/* Any mix of types of column_value (missing included). The column's length, its 00 included. */
size_t column_plain(uint8_t *w, const struct column_value *values, uint32_t n);

#endif
