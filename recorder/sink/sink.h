/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink.h - where batches and the small documents around them go. A struct of functions; one backend a file.
 *
 * All functions run on worker threads, several at once, and may block, but no call longer than SINK_BOUND_S. The loop calls them
 * in this order for each batch: encode once; then write until it says SINK_SETTLED, not before the moment that it names;
 * then job_free. A sink never gives up a batch by itself: the loop decides.
 */
#ifndef XDP_RECORDER_SINK_SINK_H
#define XDP_RECORDER_SINK_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include <bson/bson.h>

#include "recorder/source/batch.h"

#define SINK_BOUND_S 20

enum sink_outcome {
	SINK_SETTLED, /* packets and ledger entry are there, durably (majority, journalled), or on the disk (spooled); or the document is */
	SINK_AGAIN,   /* not yet: call again at report->again_ns, nothing is decided */
	SINK_ENDED,   /* the sink was told to end (sink->cancel) before it was settled */
	SINK_CLASH,   /* buckets: others have these ids. To be encoded again with the next salt, its recipe written first */
};

struct sink_report {
	uint64_t again_ns;   /* boot time of the next try, for SINK_AGAIN */
	uint64_t latency_ns; /* of the last command that was acknowledged, 0 if none was */
	uint32_t inserted;   /* documents that this call put there */
	uint32_t found;      /* documents that reading back found there already */
	uint32_t commands;   /* commands sent */
	bool waiting;        /* the pause is part of settling: the sink itself is well */
	bool spooled;        /* SETTLED: not by the database, but by the disk */
	bool refused;        /* the server did answer, and does not want this batch or document */
	bool away;           /* with close: the database is away, and what is open cannot be kept */
	bool close;          /* the server does not take this open batch: to be given closed; then it becomes documents */
	char problem[200];   /* one line for the log and `status` when not settled; empty otherwise */
};

struct sink_job; /* a batch on its way; the sink's own */

/* How batches of a day are to be formed now. */
struct sink_storage {
	uint16_t mode;	 /* enum journal_mode */
	uint16_t span_s; /* 0: batches need not end before the day */
	uint8_t form;	 /* as in struct batch */
	bool raw;
	bool replace; /* a batch may be given open, and then larger */
	bool assumed; /* the day's collection is not known: its span is a guess */
};

struct sink {
	const char *name; /* "mongo" */

	/* Orders nothing: the batch is already in canonical order and has its digest. 0 or -errno (then no job). */
	int (*encode)(struct sink *sink, struct batch *batch, struct sink_job **job);

	/* For the next batch of `day`. Never blocks; loop thread. NULL: documents, without span. */
	void (*storage)(struct sink *sink, uint32_t day, struct sink_storage *storage);

	/*
	 * Packets first, then the batch's ledger entry. Of an open batch (batch->open) only the packets: settled means that a
	 * query sees them; the same batch comes again, larger, and at last closed. With batch->there only the entry.
	 */
	enum sink_outcome (*write)(struct sink *sink, struct sink_job *job, struct sink_report *report);

	void (*job_free)(struct sink *sink, struct sink_job *job);

	/*
	 * A small document with its _id: balance, event, sensor. Replaces the one with the same _id (upsert).
	 * `family` is "balance", "events", "sensors"; `day` (YYYYMMDD) makes the collection's name where the family is daily,
	 * 0 otherwise. `drop_from`..`drop_to`: documents of that family and day with an _id in (drop_from, drop_to] are deleted
	 * first (spans of the balance); both NULL for none.
	 */
	enum sink_outcome (*put)(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
				 const bson_value_t *drop_from, const bson_value_t *drop_to, struct sink_report *report);

	/*
	 * Many small documents of one family and day at once, each as by `put` without dropping: settled when all are,
	 * else all of them are to be given again: fewer at once when there are more than a thousand or so, because what does not
	 * fit into a call's time never will.
	 */
	enum sink_outcome (*put_many)(struct sink *sink, const char *family, uint32_t day, const bson_t *const *documents,
				      size_t count, struct sink_report *report);

	/* Makes ready what the days need (collections, the view). Called at start and every minute. */
	enum sink_outcome (*prepare_days)(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report);

	/* From any thread: calls under way return soon, with SINK_ENDED where they are not settled. */
	void (*cancel)(struct sink *sink);

	/* After every job is freed. */
	void (*close)(struct sink *sink);
};

#endif
