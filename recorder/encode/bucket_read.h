/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_read.h - a bucket back to the documents that a find() shows: for the self-check, for reading back after a crash,
 * for audit and export. Reads buckets of versions 1, 2 and 3, ours or the server's own.
 */
#ifndef XDP_RECORDER_ENCODE_BUCKET_READ_H
#define XDP_RECORDER_ENCODE_BUCKET_READ_H

#include <bson/bson.h>
#include <stdbool.h>

/* Measurements in a bucket that is read, at most: those that MongoDB or bucket.h make are smaller. */
#define BUCKET_READ_MOST 100000u

/* A measurement as a document {ts, meta, ...columns in the order of data}; return false to stop. */
typedef bool bucket_each(void *arg, uint32_t index, const bson_t *document);

/*
 * 0; -ECANCELED when `each` stopped it; -ENOMEM; -EINVAL when it is no bucket or damaged: then *problem (if not NULL) is a word on what.
 * control.count, and the same number of values in every column, are checked. Strict in what would change a value, not in control.min and max.
 */
int bucket_read(const bson_t *bucket, bucket_each *each, void *arg, const char **problem);

#endif
