/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spool_file.h - what stands in a file of the spool. Pure: bytes in, bytes out; no file, no clock.
 *
 *   segment   struct spool_segment, then records one behind the other
 *   record    struct spool_head, then `length` bytes: a batch (spool_batch.h) or small documents, zstd where `raw` says
 * so
 *
 * Integers are the host's: a spool is read on the machine that wrote it. A head has a checksum of its own, so that the
 * file can be walked without reading what is in between, and a place be found again behind damaged bytes; the payload's
 * checksum is in the head. A file that ends within a record was torn: who wrote it was not told that it is kept.
 */
#ifndef XDP_RECORDER_SINK_SPOOL_FILE_H
#define XDP_RECORDER_SINK_SPOOL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/source/batch.h"

#define SPOOL_VERSION 1u
#define SPOOL_PAYLOAD_MAX (256u << 20)

struct spool_segment {
	uint8_t magic[8];
	uint32_t version;
	uint32_t crc; /* of magic, version, sequence, created */
	uint64_t sequence;
	int64_t created; /* wall ns */
	/* Changed in place. */
	uint64_t done; /* bytes of this file that are acknowledged, from its beginning; a lower value is harmless */
	uint64_t reserved[3];
};
_Static_assert(sizeof(struct spool_segment) == 64, "the first record stands at 64");

enum spool_type {
	SPOOL_BATCH = 1,
	SPOOL_PUT = 2, /* small documents, as BSON: spool_put_pack() in spool.c */
};

struct spool_head {
	uint32_t magic;
	uint8_t type;	/* enum spool_type */
	uint8_t packed; /* 1: the payload is one zstd frame of `raw` bytes */
	uint16_t reserved;
	uint32_t length; /* bytes of payload in the file */
	uint32_t raw;	 /* bytes of it unpacked */
	uint8_t capture[CAPTURE_ID_LEN];
	uint64_t number;  /* of a batch */
	uint64_t digest;  /* its first 8 bytes */
	uint32_t packets; /* of a batch */
	uint32_t documents;
	uint32_t payload_crc;
	uint32_t head_crc; /* of all before */
};
_Static_assert(sizeof(struct spool_head) == 64, "a head has no padding");

void spool_segment_begin(struct spool_segment *segment, uint64_t sequence, int64_t created);
bool spool_segment_sound(const struct spool_segment *segment);

/* Fills magic, length and the checksums; the rest is the caller's. */
void spool_head_seal(struct spool_head *head, const uint8_t *payload, uint32_t length);
/* A head that was written so, and can be. */
bool spool_head_sound(const struct spool_head *head);
bool spool_payload_sound(const struct spool_head *head, const uint8_t *payload);

/* The first place from `at` on where a sound head begins; `length` when there is none. */
size_t spool_resync(const uint8_t *bytes, size_t length, size_t at);

/* What stands at `at` of a segment's bytes. */
enum spool_found {
	SPOOL_FOUND_RECORD,  /* whole; *next is behind it */
	SPOOL_FOUND_END,     /* the segment ends here */
	SPOOL_FOUND_TORN,    /* it ends in mid-record: within a head, or a sound head says more than there is */
	SPOOL_FOUND_DAMAGED, /* something else than was written; *next is where the next sound head stands, or the end
			      */
};
enum spool_found spool_look(const uint8_t *bytes, size_t length, size_t at, struct spool_head *head, size_t *next);

/* "000000000000002a.spool"; the sequence of such a name, 0 when it is none. */
#define SPOOL_NAME 32
char *spool_name(char out[SPOOL_NAME], uint64_t sequence);
uint64_t spool_name_sequence(const char *name);

#endif
