/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * canonical.h - the order and the digest of a batch's records: the same whoever computes it, from the rings or from
 * the database.
 *
 * Digest: SHA-256 over, first, the capture's id (16), then length (u8) and bytes of the interface's name (its first
 * 255); then for each record in order, little-endian: ts (i64, ns since 1970), wire length (u32), captured length
 * (u16), marks (u16, without REC_MARK_CSUM_NONE, which is read from the other fields), gso_segs (u16), gso_size (u16),
 * side (u8), header bytes. Order: by ts, then side, then wire length, then header bytes (memcmp, shorter first), then
 * marks, segs and size. Two records equal in all of that are interchangeable.
 */
#ifndef XDP_RECORDER_LEDGER_CANONICAL_H
#define XDP_RECORDER_LEDGER_CANONICAL_H

#include "recorder/source/batch.h"

/*
 * Orders batch->records. They come as runs, one for each range, each already ascending in time: a merge of the runs
 * that are there, not a sort. Right, if slower, for records in any order. 0 or -ENOMEM.
 */
int canonical_order(struct batch *batch);

/* Fills batch->digest; the records are in order. 0 or -EIO when the hash cannot be computed. */
int canonical_digest(struct batch *batch);

/* A record wherever it comes from: a ring, or a document (then the bytes are packet_rebuild's). */
struct canonical_record {
	int64_t ts; /* ns since 1970 */
	uint32_t wire_len;
	uint16_t cap_len; /* at most REC_CAP_MAX */
	uint16_t marks;	  /* REC_MARK_CSUM_NONE and unknown bits are ignored */
	uint16_t gso_segs, gso_size;
	uint8_t side; /* enum rec_side */
	const uint8_t *bytes;
};

struct canonical_record canonical_from(const struct batch *batch, const struct rec_head *head);

/* The order: below, equal or above 0. */
int canonical_compare(const struct canonical_record *a, const struct canonical_record *b);

/*
 * The digest, record by record, in order. begin gives NULL when the hash cannot be had; end fills the digest, frees,
 * and gives 0 or -EIO (digest may be NULL to give up). One thread at a time.
 */
struct canonical_hash;
struct canonical_hash *canonical_begin(const uint8_t capture[CAPTURE_ID_LEN], const char *iface);
void canonical_add(struct canonical_hash *hash, const struct canonical_record *record);
int canonical_end(struct canonical_hash *hash, uint8_t digest[DIGEST_LEN]);

#endif
