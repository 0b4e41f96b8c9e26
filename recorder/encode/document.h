/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document.h - a batch as the documents of an insert command: the documented way of writing.
 *
 * Pure but for the growth of the output buffer. The same batch always gives the same bytes as long as the ends table
 * is the same; ids and digest do not depend on it.
 */
#ifndef XDP_RECORDER_ENCODE_DOCUMENT_H
#define XDP_RECORDER_ENCODE_DOCUMENT_H

#include <bson/bson.h>
#include <stdbool.h>

#include "recorder/packet/ends.h"
#include "recorder/source/batch.h"

/*
 * Version of cut and encoder: stands in recipes and in the documents' ids. Change it with either. A recipe of an older
 * version that is formed again keeps that version in its ids, so that what was inserted is found by them.
 *
 *   2   fields of tunnels, of quotes and of what stands once; len, segs and gso are in front of the stacks
 */
#define ENCODE_VERSION 2u

/* BinData (subtype 0) of a packet document's _id: capture (16), number (6), version (2), position (4), big-endian. */
#define PACKET_ID_LEN 28
void packet_id(uint8_t id[PACKET_ID_LEN], const struct batch *batch, uint32_t position);

/* Longest names of sensor, interface and collection, bytes. Longer ones are refused (-ENAMETOOLONG). */
#define DOCUMENT_NAME_MAX 255u

/*
 * Appends the document of record `position` of the (canonically ordered) batch to `to`, an empty bson_t. 0 or -errno.
 * Field order: _id, ts, meta, then the order of fields.def. `meta` is {iface, sensor} (keys sorted, BUCKETS.md section
 * 7).
 */
int document_encode(bson_t *to, const struct batch *batch, const struct ends_table *ends, uint32_t position);

/*
 * The same for a packet that is decoded already. `out`: its source is the local end; PKT_SIDE is set by the caller where
 * the side is not what that implies. -EINVAL also when its byte fields together, or raw, are longer than REC_CAP_MAX.
 */
int document_packet(bson_t *to, const struct batch *batch, const struct packet *p, int64_t wall, bool out,
		    uint32_t position);

/*
 * A command's bytes. All zero to begin with; document_command grows it and leaves the memory for the next command, so
 *keep one for each worker. `data` is NULL or of core/pages. Hand it on without a copy:
 *
 *	bson_t command;
 *	bson_init_static(&command, buffer.data, buffer.len);
 */
struct command_buffer {
	uint8_t *data;
	size_t len, cap;
};
void command_buffer_free(struct command_buffer *buffer);

/*
 * Builds the whole command {insert: collection, ordered: false, writeConcern: {w: "majority", j: true}, maxTimeMS,
 * documents: [...]} in `command` (what it held is overwritten) from records [first, first + count) for which
 * `wanted` is NULL or wanted[i - first] is not 0. Returns the number of documents, or -ENOMEM, -ENAMETOOLONG; stops
 * before the command is longer than `max_bytes` (but takes one document at least) and says in *next the first record
 * that is not dealt with. With 0 documents the command is well-formed, but servers refuse it.
 */
int document_command(struct command_buffer *command, const char *collection, const struct batch *batch,
		     const struct ends_table *ends, uint32_t first, uint32_t count, const uint8_t *wanted,
		     size_t max_bytes, uint32_t max_time_ms, uint32_t *next);

#endif
