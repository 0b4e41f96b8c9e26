/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spool.h - a sink in front of another one: what that one does not take in time is kept on the disk, and given to it
 * later.
 *
 *   write --direct--> inner --settled-------------------------------------------------> settled
 *     |                 | no answer within the patience, or not this time
 *     |                 v
 *     +--away-------> appended, fsynced ------------------------------------------------> settled, report->spooled
 *                       |
 *   spool_sink_replay --+--> inner (as attempted where it may have been sent) --> acknowledged --> its file goes
 *
 * The order that holds:
 * - A small document (balance, summary, event) goes the way of everything before it: while anything is in the spool, it
 * goes in behind. So a second of the balance never reaches the database before its packets.
 * - Batches of different numbers have no order among themselves; they have none without a spool either (several are in
 * flight). So live batches go directly again as soon as the database takes replayed ones, and stay a second or two
 * behind the wire. What an entry of the ledger says of its predecessor is in the entry.
 * - One batch goes one way. Once it is appended it is only replayed; who is killed in between appends or sends it
 * again, and its number, its ids and reading back make one of the two.
 *
 * After a live batch was not taken, the next one is tried only when a replayed one was acknowledged, and then not at
 * once: 1 s, doubled up to 30 s. Batches are never kept open while the database is away.
 */
#ifndef XDP_RECORDER_SINK_SPOOL_H
#define XDP_RECORDER_SINK_SPOOL_H

#include "recorder/sink/sink.h"
#include "recorder/sink/spool_store.h"

#define SPOOL_PATIENCE_MS 2000u

struct spool_sink_options {
	struct sink *inner; /* closed with the spool */
	int dir;	    /* descriptor of the directory, locked by its opener; taken over */
	const char *name;   /* of it, for messages; kept */
	uint64_t bytes, keep_free;
	size_t segment_bytes; /* 0: 64 MiB. Tests. */
	unsigned patience_ms; /* 0: SPOOL_PATIENCE_MS */
};

/* NULL with a log line; then inner is still the caller's. Reads what is there. */
struct sink *spool_sink_new(const struct spool_sink_options *options);

/* The inner sink is open for business: until then everything is spooled. Loop thread. */
void spool_sink_ready(struct sink *sink);

/* What the inner sink says of storage now, kept beside the segments for a process that cannot ask. Loop thread. */
void spool_sink_note_storage(struct sink *sink, uint32_t day);
/* There is such a note, of this or of a former process: batches can be formed without the database. */
bool spool_sink_knows_storage(const struct sink *sink);

/* Rings fill: batches that wait for the inner sink's answer are spooled at their next call, whatever their patience.
 * Any thread. */
void spool_sink_hurry(struct sink *sink, bool hurry);

/*
 * Gives the oldest of what is kept to the inner sink. On a worker, one at a time, within SINK_BOUND_S. SINK_SETTLED:
 * nothing is kept any more; SINK_AGAIN: to be called again at report->again_ns; SINK_ENDED.
 */
enum sink_outcome spool_sink_replay(struct sink *sink, struct sink_report *report);

/* Is this batch kept? At start, before anything is written: its recipe is done then. */
bool spool_sink_holds(struct sink *sink, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number,
		      const uint8_t digest[DIGEST_LEN]);

struct spool_sink_status {
	struct spool_store_counts store;
	bool kept;				     /* small documents go behind what is kept */
	bool away;				     /* batches go to the spool without being tried */
	bool full;				     /* the newest append found no room, or the disk failed */
	uint64_t spooled_batches, spooled_packets;   /* by this process */
	uint64_t replayed_batches, replayed_packets; /* acknowledged */
	uint64_t unreadable; /* records that could not be read, or are of no version that this program knows */
};
void spool_sink_status(const struct sink *sink, struct spool_sink_status *status);

#endif
