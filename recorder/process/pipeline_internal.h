/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pipeline_internal.h - the parts of the way of a batch.
 *
 *   pipeline.c  flights: cut, prepared, recipe, written, settled
 *   open.c      the open batch of a lane: when it grows, when it closes
 *   takeover.c  what the former process left
 */
#ifndef XDP_RECORDER_PROCESS_PIPELINE_INTERNAL_H
#define XDP_RECORDER_PROCESS_PIPELINE_INTERNAL_H

#include "recorder/process/drainer.h"

/* Bytes of ring that a packet takes: a UDP packet 80, most take more. */
#define RECORD_TYPICAL 96u

/* The last of its lane from now on. Takes the batch; NULL: no memory, the batch is still the caller's. */
struct flight *flight_new(struct lane *lane, struct batch *batch);
/* Order, digest, encode on a worker; then its recipe, when its predecessor's digest is known, and written. */
void flight_prepare(struct flight *flight);
void flight_prepare_later(struct flight *flight, unsigned ms);
/*
 * The next to be written, NULL: none. Never one whose predecessor is still being prepared, whatever it was before: a recipe holds the
 * digest of the one before it, and a file learns the order of its batches from their encoding (sink/file.c).
 */
struct flight *flight_next(const struct lane *lane);
/* Valid when it returns: in another place than the former one, which is freed then. False: no place. */
bool flight_write_recipe(struct flight *flight);
/* How batches of `day` are to be formed. */
void lane_storage(struct lane *lane, uint32_t day, struct sink_storage *storage);
/* Bytes of the fullest ring of the lane between its tail and what may be cut are a quarter of it, at least. */
bool lane_quarter(const struct lane *lane);
/* Moves the consumer indexes behind these ranges. Doing it again changes nothing. */
void lane_settle_ranges(struct lane *lane, const struct batch_range *ranges, unsigned n);
/* The settled prefix, in number order. */
void lane_settle_prefix(struct lane *lane);

/* ---- open.c ---- */

/* A batch just cut stays open: small, and more of its span may come. */
bool open_fits(const struct lane *lane, const struct batch *batch, const struct sink_storage *storage);
/* The open batch of the lane, which is its last; NULL: none, so that the next may be cut. */
struct flight *open_of(const struct lane *lane);
/* What an acknowledged open batch is to do. Pure: the clock and the rings are the caller's. */
enum open_step { OPEN_WAITS, OPEN_GROWS, OPEN_CLOSES };
struct open_view {
	uint64_t now, sent; /* boot ns; sent: its newest revision was cut */
	int64_t left;	    /* ns until its span ends */
	uint64_t pending;   /* bytes that are not cut */
	uint32_t records;   /* that it holds, fewer than BUCKET_PACKETS */
	bool close;	    /* its end, for other reasons than these */
};
/* *due: boot time of the next look where it waits. */
enum open_step open_decide(const struct open_view *view, uint64_t *due);
/* Lets the open batch grow or close if it is time. Boot time of the next look, UINT64_MAX where none is needed. */
uint64_t open_look(struct flight *flight, uint64_t now);
/* The sink has this revision. */
void open_acknowledged(struct flight *flight);
/* The server does not take this revision as a bucket: the batch closes, then its packets can be documents. */
void open_close(struct flight *flight);
/* Others have the identities of its buckets. */
void open_clash(struct flight *flight);
void open_free(struct flight *flight);

#endif
