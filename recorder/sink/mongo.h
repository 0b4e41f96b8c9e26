/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mongo.h - the sink into MongoDB's documented way of writing (recorder/DESIGN.md section 6).
 *
 * A batch becomes insert commands of about 1 MB into packets_<day>, then its ledger entry. Both are acknowledged by the
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
 */
#ifndef XDP_RECORDER_SINK_MONGO_H
#define XDP_RECORDER_SINK_MONGO_H

#include "recorder/db/connect.h"
#include "recorder/db/days.h"
#include "recorder/packet/ends.h"
#include "recorder/sink/sink.h"

struct mongo_sink_options {
	struct db *db;		       /* kept: outlives the sink */
	struct days *days;	       /* kept: outlives the sink */
	const struct ends_table *ends; /* kept: see mongo_sink_set_ends */
	size_t command_bytes;	       /* 0: 1 MiB */
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
};

/* NULL: no memory. */
struct sink *mongo_sink_new(const struct mongo_sink_options *options);

/*
 * From now on batches are encoded with `ends`. A job keeps the table that it was encoded with, so that a retry gives
 * the same bytes: the former table must live until every job that was encoded before this call is freed.
 */
void mongo_sink_set_ends(struct sink *sink, const struct ends_table *ends);

void mongo_sink_counts(const struct sink *sink, struct mongo_sink_counts *counts);

#endif
