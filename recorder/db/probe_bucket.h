/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe_bucket.h - the bucket that probe.c offers a server, and what a find() must show of it.
 *
 * Made by the plainest means that the format has (a literal or a block of its own for each value), not by the
 * encoder: what is asked is whether the server takes buckets, and an answer must not depend on the packets at hand. Every
 * type that fields.def has is in it, a value that is missing, and in version 3 times that are not in order. Pure.
 */
#ifndef XDP_RECORDER_DB_PROBE_BUCKET_H
#define XDP_RECORDER_DB_PROBE_BUCKET_H

#include <bson/bson.h>

#define PROBE_SPAN_S 10
#define PROBE_SMALL 3u
#define PROBE_LARGE 5u /* the same measurements and two more */

/* Appends the bucket to an empty bson_t. `count`: PROBE_SMALL or PROBE_LARGE; `version`: 2, 3. */
void probe_bucket(bson_t *to, uint32_t count, uint8_t version);

/* The measurements in order of time: number `i` of `count`, without _id. Appended to an empty bson_t. */
void probe_measurement(bson_t *to, uint32_t i, uint32_t count, uint8_t version);

/* True when both have the same fields with the same types and values, in any order. */
bool probe_same_fields(const bson_t *a, const bson_t *b);

#endif
