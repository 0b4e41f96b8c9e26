/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spool_batch.h - a batch as bytes and back. Pure but for memory.
 *
 * Kept is everything that forms the commands which would have been sent: the records as the kernel wrote them (in
 * canonical order, with their digest), number, ranges, clock pair, mode, form. Formed again from them it is the same
 * commands byte for byte, as long as the same addresses are local; and unlike a finished command it can still become
 * documents where a server refuses a bucket, be compared with what is there, or get other identities.
 */
#ifndef XDP_RECORDER_SINK_SPOOL_BATCH_H
#define XDP_RECORDER_SINK_SPOOL_BATCH_H

#include "recorder/source/batch.h"

/* Bytes that it takes. */
size_t spool_batch_size(const struct batch *batch);
/* Writes them all to `out`, which is aligned to 8. */
void spool_batch_pack(const struct batch *batch, uint8_t *out);

/* A batch whose records point into the bytes that it was read from. */
struct spool_batch {
	struct batch batch;
	struct batch_source source;
	char *names; /* sensor and interface */
};

/*
 * `bytes` are aligned to 8 and stay the caller's until spool_batch_drop. 0; -EBADMSG when they are no batch: whatever
 * they are, nothing outside of them is read; -ENOMEM.
 */
int spool_batch_unpack(struct spool_batch *out, const uint8_t *bytes, size_t length);
void spool_batch_drop(struct spool_batch *batch);

#endif
