/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * batch.h - the unit of writing: some records of one capture, of one UTC day, under one clock pair.
 *
 * Made by source/cut.h on the loop thread, then owned by one worker at a time until it is settled. The records stay in
 * the rings: `records` are pointers into kernel memory, valid until the consumer indexes move over the ranges.
 */
#ifndef XDP_RECORDER_SOURCE_BATCH_H
#define XDP_RECORDER_SOURCE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "recorder/core/clock.h"

#define CAPTURE_ID_LEN 16
#define DIGEST_LEN 32

/* Bytes [from, to) of the ring of (side, cpu). */
struct batch_range {
	uint64_t from, to;
	uint16_t side;
	uint16_t cpu;
	uint32_t records;
};

/* What a batch holds of one boot second and side: the ledger's cross-check of the balance. */
struct batch_second {
	uint64_t sec;
	uint32_t side;
	uint32_t packets;
	uint64_t bytes;
};

/* What is the same for all batches of a capture. Owned by the drainer, outlives every batch. */
struct batch_source {
	uint8_t capture[CAPTURE_ID_LEN];
	const char *sensor; /* name */
	const char *iface;
	unsigned cpus;
};

struct batch {
	const struct batch_source *source;
	uint64_t number;        /* 1, 2, 3 ... in the capture */
	uint32_t day;           /* YYYYMMDD, UTC */
	uint16_t mode;          /* enum journal_mode (ledger/journal.h) */
	uint16_t version;       /* of cut and encoder, part of the documents' ids */
	uint16_t span_s;	/* all records lie in one such span of wall time (a multiple of it since 1970); 0: in a day */
	uint8_t form;		/* buckets: control.version; 0: documents */
	uint8_t salt;		/* of the buckets' ids: 0, more after a clash of identities */
	bool raw;		/* buckets: written with rawData; else to system.buckets */
	bool open;		/* a revision of an open bucket: no ledger entry yet, a larger one follows */
	bool there;		/* exactly these records were acknowledged as an open revision: only the ledger entry is missing */
	int attempted;          /* 1: may have been sent before: read back before inserting */
	bool assumed_span;	/* the day's collection was not known when the batch was cut: it may have another span */
	unsigned patience_ms;	/* an answer is waited for no longer (somebody else keeps the batch); 0: as long as the sink likes */
	bool foreign;		/* it was sent in a way that this program does not know: what is there is compared, the rest becomes documents */
	struct clock_pair pair;

	struct batch_range *ranges;
	unsigned nranges;
	const struct rec_head **records; /* in canonical order once ordered (canonical_order) */
	uint32_t nrecords;
	struct batch_second *seconds; /* ascending by (sec, side) */
	unsigned nseconds;
	uint64_t bytes;               /* sum of wire_len */
	size_t encoded;               /* memory of its commands; after sink->encode, 0: the sink does not say */
	uint64_t first_boot, last_boot; /* earliest and latest record time, ns */

	uint8_t digest[DIGEST_LEN];   /* SHA-256 of the canonical records; after canonical_digest */
	uint8_t previous[DIGEST_LEN]; /* digest of batch number - 1, zeros for the first */
};

/* Wall time of a boot time under the batch's pair, ns since 1970. */
static inline int64_t batch_wall(const struct batch *b, uint64_t boot)
{
	return (int64_t)boot + clock_pair_offset(&b->pair);
}

static inline const uint8_t *record_bytes(const struct rec_head *r)
{
	return (const uint8_t *)(r + 1);
}

#endif
