/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rows_read.h - the documents of rows.h and flood_rows.h back to values, for audit. Pure.
 *
 * Read strictly: a term, a count or a digest that is not there, or of another type, is an error, because a sum without it
 * would be taken for one. Fields that nothing here uses are not looked at.
 */
#ifndef XDP_RECORDER_LEDGER_ROWS_READ_H
#define XDP_RECORDER_LEDGER_ROWS_READ_H

#include <stdbool.h>

#include "recorder/ledger/rows.h"

/* `source` of the row is not set; text points into the document. */
struct balance_read {
	struct balance_row row;
	uint8_t capture[CAPTURE_ID_LEN]; /* of the _id, as are row.side and row.sec: the fields beside it must say the same */
	const char *sensor, *iface;
	int64_t wall; /* of its first second, ns */
};

/* 0 or -EINVAL, then *problem is the field's name. Every function here. */
int balance_read(const bson_t *document, struct balance_read *out, const char **problem);

#define LEDGER_SECONDS_MOST 262144u /* of one batch: more than a day of both sides has */

/* A ledger entry. `seconds` is memory of the caller, LEDGER_SECONDS_MOST long. Text and buckets point into the document. */
struct ledger_read {
	uint8_t capture[CAPTURE_ID_LEN];
	uint64_t number;
	const char *sensor, *iface, *collection;
	int64_t first, last; /* wall time of its first and last packet, ns */
	uint64_t packets, bytes;
	int32_t mode, version;
	struct clock_pair pair;
	struct batch_second *seconds;
	unsigned nseconds;
	const uint8_t *buckets; /* LEDGER_BUCKET_ID_LEN each */
	uint32_t nbuckets;
	uint64_t documents; /* packets that are documents: all of them where mode says so */
	uint8_t digest[DIGEST_LEN], previous[DIGEST_LEN];
};
int ledger_read(const bson_t *document, struct ledger_read *out, const char **problem);
/* Only its seconds. */
int ledger_read_seconds(const bson_t *document, struct batch_second *seconds, unsigned *nseconds, const char **problem);

/* What a summary of floods_* counts, and over which seconds of the balance. */
struct flood_read {
	uint8_t capture[CAPTURE_ID_LEN];
	unsigned side;
	uint32_t epoch;
	uint64_t sec, secs;
	struct rec_count count;
	int64_t wall; /* of its first packet */
	const char *sensor, *iface;
};
int flood_read(const bson_t *document, struct flood_read *out, const char **problem);

#endif
