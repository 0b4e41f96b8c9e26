/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mongo.h - the sink into MongoDB: as documents, the documented way of writing, or as finished buckets (recorder/DESIGN.md
 * sections 6 and 11). A batch says by its mode what it becomes; which one the next is to have says sink->storage.
 *
 * Documents. A batch becomes insert commands of about 1 MB into packets_<day>, then its ledger entry. Both are acknowledged by the
 * majority and journalled before a batch is settled. Whatever is not certain is settled by reading back:
 *
 *   fresh --all acknowledged--------------------------------> ledger --acknowledged--> settled
 *     | unknown, or batch->attempted                             ^
 *     v                                                          | all there
 *   waiting: server answers on a new connection,           settle: ids read back,
 *            + DB_MAX_TIME_MS + 2 s (none if it is   ----> missing ones inserted
 *            certainly another process)
 *
 * An answer that says no (refused, later) goes to settle without waiting: what was answered is over. So does a batch
 * whose packets were acknowledged by one process of a standalone server and its ledger entry by another.
 *
 * Buckets. Their ids are unique, so each step can be done again at any time:
 *
 *   attempted: documents of it there? --> send --acknowledged, duplicate key and the same packets--> ledger --> settled
 *                                          ^  | unknown, not now                                        ^
 *                                          +--+                                                         |
 *                                             | refused: are its packets there all the same? --> their documents,
 *                                                                                               as above, with waiting
 *
 * Refused is what an answer names (and only that is left of its command: the rest of it counts as stored), and a bucket
 * over which the server ends one connection after the other. It is looked for when nothing can come any more of unanswered
 * commands that had it. An attempted batch that is there under its ids, but cut in another way (mongo_mixed.c), is settled
 * packet by packet.
 *
 * An acknowledged revision of an open batch is confirmed like a ledger entry: `batch->there` trusts it. A batch of one
 * bucket whose id somebody else has is a SINK_CLASH; of a larger one that bucket becomes documents (mongo_bucket.c). An open
 * batch that the server refuses is not decided: report->close. A batch that was open is closed with one bucket, which
 * at most BUCKET_PACKETS records always are.
 */
#ifndef XDP_RECORDER_SINK_MONGO_H
#define XDP_RECORDER_SINK_MONGO_H

#include "recorder/db/connect.h"
#include "recorder/db/days.h"
#include "recorder/db/probe.h"
#include "recorder/packet/ends.h"
#include "recorder/sink/sink.h"

/* Changes an encoded bucket in place, before the self-check sees it. */
typedef void mongo_sink_spoil(const struct batch *batch, uint32_t bucket, uint8_t *bytes, size_t length);

struct mongo_sink_options {
	struct db *db;		       /* kept: outlives the sink */
	struct days *days;	       /* kept: outlives the sink */
	const struct ends_table *ends; /* kept: see mongo_sink_set_ends */
	size_t command_bytes;	       /* 0: 1 MiB */
	bool check_all;		       /* every bucket is decoded again before it is sent, not one in 256 */
	bool hasty; /* small documents wait for an answer 2 s, and 2 ms each: somebody else keeps them then (spool.h) */
	mongo_sink_spoil *spoil;       /* NULL. Tests only. */
	unsigned late_ms; /* how long after an answer an old command may still come; 0: DB_MAX_TIME_MS + 2 s. Tests
			     only. */
};

/* Documents that were found stored more than once, refused ones, and so on: totals, any thread. */
struct mongo_sink_counts {
	uint64_t commands, documents, bytes; /* sent for packets */
	uint64_t unknown;		     /* commands whose fate had to be settled */
	uint64_t settled;		     /* batches that were read back */
	uint64_t found;			     /* documents that reading back found */
	uint64_t twice;			     /* of these: more than once. Must be 0; the log says which batch. */
	uint64_t refused;		     /* answers that refused a document */
	uint64_t buckets;		     /* acknowledged; their packets count as documents above */
	uint64_t buckets_there;		     /* that a duplicate key led to */
	uint64_t checked, check_failed;	     /* decoded again; and these were not what they were made from */
	uint64_t buckets_refused;	     /* by the server: written as documents */
	uint64_t clashes;		     /* buckets whose id somebody else has */
};

/* NULL: no memory. */
struct sink *mongo_sink_new(const struct mongo_sink_options *options);

/*
 * From now on batches are encoded with `ends`. A job keeps the table that it was encoded with, so that a retry gives
 * the same bytes: the former table must live until every job that was encoded before this call is freed.
 */
void mongo_sink_set_ends(struct sink *sink, const struct ends_table *ends);

/*
 * What the server takes (probe.h); any thread, at any time. Batches that are on their way keep the mode that they were cut with.
 * Before the first call, and with NULL: documents.
 */
void mongo_sink_set_storage(struct sink *sink, const struct probe_storage *storage);

void mongo_sink_counts(const struct sink *sink, struct mongo_sink_counts *counts);

#endif
