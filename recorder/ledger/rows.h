/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rows.h - the small documents around the packets, as values and as BSON. Pure.
 *
 * Field names and _ids as in DESIGN.md (shared) section 6 and recorder/DESIGN.md section 6. Every document leads to its
 * capture.
 */
#ifndef XDP_RECORDER_LEDGER_ROWS_H
#define XDP_RECORDER_LEDGER_ROWS_H

#include <bson/bson.h>

#include "bpf/abi.h"
#include "recorder/core/witness.h"
#include "recorder/source/batch.h"

/* One second (or a run of seconds) of one hook: what became of the packets in it. */
struct balance_row {
	const struct batch_source *source;
	uint32_t side;
	uint64_t sec;			  /* first boot second */
	uint32_t seconds;		  /* length of the run, >= 1 */
	int silent;			  /* no packet in the whole run */
	struct clock_pair pair;		  /* in force at the first second's start */
	struct rec_count term[REC_TERMS]; /* increments over the run; SEEN includes REC_LOST_CONTENDED here */
	struct witness witness;		  /* as of writing; boot 0 = none */
};

#define BALANCE_ID_LEN 25 /* capture (16), side (1), boot second (8), big-endian */
void balance_id(uint8_t id[BALANCE_ID_LEN], const uint8_t capture[CAPTURE_ID_LEN], uint32_t side, uint64_t sec);

/* UTC day of the row's first second: the collection's. */
uint32_t balance_day(const struct balance_row *row);

/*
 * {_id, ts (Date: UTC start), ns, sensor, iface, side: "rx"|"tx", sec, secs, silent: true (only where it is), seen:
 * {packets, bytes}, stored: {..}, filtered: {own: {..}, expr: {..}}, blocked: {..}, summarised: {flow, prefix}, lost:
 * {ring_full, contended, no_ring, unreadable}, witness?: {boot, rx: {packets, bytes, dropped}, tx: {..}}, clock: {boot,
 * wall}}. Counts, sec and clock are int64, secs is int32. All terms are always written: a reader adds them up without
 * knowing which can be absent.
 */
void balance_document(bson_t *out, const struct balance_row *row);

#define LEDGER_ID_LEN 24 /* capture (16), number (8), big-endian */
void ledger_id(uint8_t id[LEDGER_ID_LEN], const uint8_t capture[CAPTURE_ID_LEN], uint64_t number);

/*
 * The ledger entry of a batch whose digest and previous are known; collection = batches_<batch->day>.
 * {_id, ts, ns (of the first record), last, last_ns, sensor, iface, capture: BinData, number, packets, bytes,
 * collection, mode, version, clock: {boot, wall}, seconds: [{sec, side, packets, bytes}], ranges: [{side, cpu, from,
 * to, packets}], digest, previous}. Counts, number, sec, from, to are int64; ns, last_ns, mode, version, cpu int32.
 */
void ledger_document(bson_t *out, const struct batch *batch, const char *packets_collection);

/*
 * Appended to the entry of a batch of buckets: {buckets: BinData, their _ids of 12 bytes each one behind the other;
 * documents: int64, packets that are documents instead}.
 */
#define LEDGER_BUCKET_ID_LEN 12
void ledger_buckets(bson_t *out, const uint8_t *ids, size_t count, uint64_t documents);

/*
 * An event: {_id: BinData(subject (16), boot (8), kind's first 64 bytes), ts, ns, kind, sensor, iface?, text,
 * details?}. `subject` is a capture's or instance's id. iface and details may be NULL.
 */
void event_document(bson_t *out, const uint8_t subject[16], uint64_t boot, int64_t wall, const char *kind,
		    const char *sensor, const char *iface, const char *text, const bson_t *details);

#endif
