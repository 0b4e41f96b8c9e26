/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read_bucket.h - finished buckets as they are stored, and the packets of a batch out of them (encode/bucket.h).
 *
 * Two ways lead to a bucket: {rawData: true} on the collection (wire version READ_RAW_WIRE, MongoDB 8.2, on), and the
 * collection system.buckets.<collection> that is behind it. Everything read here is what a majority has.
 */
#ifndef XDP_RECORDER_DB_READ_BUCKET_H
#define XDP_RECORDER_DB_READ_BUCKET_H

#include "recorder/db/read.h"
#include "recorder/encode/bucket.h"

#define READ_RAW_WIRE 27

/* One bucket, byte for byte. Not there is DB_OK too; the caller destroys *bucket when it was found. */
enum db_result read_bucket_raw(struct db_client *client, const char *collection, const uint8_t id[BUCKET_ID_LEN],
			       bool raw, bson_t *bucket, bool *found, struct db_problem *problem);

/* What a walk over a batch's packets met. All zero to begin with, but `bucket`. */
struct read_walk {
	uint64_t packets;   /* given to `each`, buckets' and documents' */
	uint32_t buckets;   /* that were there */
	uint32_t missing;   /* that the ledger entry names and the database has not */
	uint32_t damaged;   /* that were there and could not be read: some of their packets may have been given */
	const char *damage; /* what was wrong with the last of these; a constant */
	bool stopped;	    /* by `each` or `bucket` */
	read_document *bucket; /* may be set: gets every bucket as it is stored, before its packets; same `arg` */
};

/*
 * Every packet of a batch, as its ledger entry (batches_<day>) says: the buckets it names, then the plain documents by
 * _id. A packet out of a bucket has no _id. DB_FATAL where the entry is not one. A bucket that is missing or damaged is
 * no error: it is in *walk.
 */
enum db_result read_entry(struct db_client *client, const bson_t *entry, read_document *each, void *arg,
			  struct read_walk *walk, struct db_problem *problem);

/*
 * The same for a batch without an entry, of which only a recipe is known: buckets with the ids that bucket_id() gives
 * for 0, 1, 2
 * ... until two in a row are not there or batch->nrecords packets were read, then plain documents by _id, of any
 * version. batch: source, number, day, pair, records, first_boot, last_boot.
 */
enum db_result read_unledgered(struct db_client *client, const struct batch *batch, const struct bucket_form *form,
			       read_document *each, void *arg, struct read_walk *walk, struct db_problem *problem);

#endif
