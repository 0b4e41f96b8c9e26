/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cut.h - takes batches from the rings of one capture. Loop thread only.
 *
 * The oldest record that is not yet cut fixes the batch's UTC day and clock pair; from every ring the records that agree
 * are taken, from the ring with the oldest on, until `max_records` are there. So no batch crosses midnight or a step of
 * the clock, and a quiet ring is never behind a busy one for longer than a batch.
 */
#ifndef XDP_RECORDER_SOURCE_CUT_H
#define XDP_RECORDER_SOURCE_CUT_H

#include "recorder/source/batch.h"
#include "recorder/source/ring.h"

/* A batch notes packets and bytes for at most so many (second, side) pairs and is closed before it needs more. */
#define CUT_SECONDS 256u

/* Bytes published and not yet cut; *oldest is the boot time of the oldest such record (UINT64_MAX when there is none). */
uint64_t cut_pending(struct ring *rings, unsigned nrings, uint64_t *oldest);

/* UTC day of the oldest record that is not yet cut: whose collection says what span the next batch may have. 0: none. */
uint32_t cut_day(struct ring *rings, unsigned nrings, const struct clock_pair *pairs, unsigned npairs);

/*
 * `pairs` are ascending in boot time, npairs >= 1; records before the first count as under it. Advances ring->next of the rings it
 * took from. NULL when nothing is pending or memory is short (errno ENOMEM; nothing is taken then). `span_s`: the batch
 * also ends where a span of the wall clock does; 0: only where the day does. It is noted in the batch; the caller sets number, mode,
 * version and how buckets are written.
 */
struct batch *cut_batch(const struct batch_source *source, struct ring *rings, unsigned nrings,
			const struct clock_pair *pairs, unsigned npairs, uint32_t span_s, uint32_t max_records);

/*
 * The larger self of an open batch: what it holds, and the records behind it that still belong to it, up to max_records in all.
 * Number, pair, mode and form are the open one's. *over: no further record can belong to it (there is one of a later
 * span, day or pair, or max_records are there). NULL: errno ENOMEM, or EBADMSG when the rings do not hold it any more.
 */
struct batch *cut_more(const struct batch *open, struct ring *rings, unsigned nrings, const struct clock_pair *pairs,
		       unsigned npairs, uint32_t max_records, bool *over);

/* Wall time at which the batch's span, or day, ends, ns since 1970. */
int64_t batch_end(const struct batch *batch);

/*
 * The same batch again from its ranges (takeover): `ranges` are checked against tail and head, and every record in them is
 * walked. Sets day from `pair`. NULL with errno EBADMSG when the ranges do not hold whole records of one day.
 */
struct batch *cut_again(const struct batch_source *source, struct ring *rings, unsigned nrings,
			const struct batch_range *ranges, unsigned nranges, const struct clock_pair *pair);

/* The ring that a range is of; NULL when there is none such. */
struct ring *cut_ring_of(struct ring *rings, unsigned nrings, const struct batch_range *range);

void batch_free(struct batch *batch);

#endif
