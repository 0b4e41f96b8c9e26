/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spool_internal.h - spool.c: which way; spool_pack.c: records to bytes and back; spool_replay.c: the way out. */
#ifndef XDP_RECORDER_SINK_SPOOL_INTERNAL_H
#define XDP_RECORDER_SINK_SPOOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "recorder/core/turns.h"
#include "recorder/core/util.h"
#include "recorder/sink/spool.h"
#include "recorder/sink/spool_batch.h"

struct spool_round;

struct spool_decision {
	uint32_t day;
	struct sink_storage storage;
};
#define SPOOL_DECISIONS 64u /* days: the newest */

struct spool {
	struct sink sink;
	struct sink *inner;
	struct spool_store *store;
	const char *name;
	int dir; /* the store's */
	unsigned patience_ms;
	_Atomic bool hurry, cancelled;

	pthread_mutex_t lock; /* held for a few instructions, never over a call */
	bool ready;
	bool away;  /* a batch was spooled since everything was empty */
	bool taken; /* since then the inner sink has acknowledged a replayed one */
	bool kept;  /* something is in the store, or on its way into or out of it */
	unsigned appending;
	uint64_t direct_from; /* boot ns: and from then on live batches are tried again */
	uint64_t pause_ns;
	struct sink_storage known; /* the newest that the inner sink said of buckets; mode 0: nothing known */

	_Atomic bool full;
	_Atomic uint64_t spooled_batches, spooled_packets, replayed_batches, replayed_packets, unreadable;
	struct turns packers; /* struct spool_scratch, up to 25 MB each */
	struct spool_round *round; /* the replaying worker's, like the decisions */
	struct spool_decision decided[SPOOL_DECISIONS];
	unsigned ndecided;
};

static inline struct spool *spool_of(struct sink *sink)
{
	return container_of(sink, struct spool, sink);
}

/* ---- spool_pack.c ---- */

/* Appends it, durable when it returns. 0 or -errno, -ECANCELED: the sink was cancelled first. `attempted`: parts of it may have been sent. */
int spool_put_batch(struct spool *s, const struct batch *batch, bool attempted);

void spool_scratch_free(struct spool *s);

struct spool_documents {
	bson_t whole; /* {family, day, from?, to?, documents: []} */
	const char *family;
	uint32_t day;
	bson_t *document; /* [count], inside of whole */
	size_t count;
	bool drops;
	bson_value_t from, to; /* inside of whole */
};
#define SPOOL_DOCUMENTS 500u /* of one record, and given to the inner sink at once: what one call of it does also on a slow machine */
int spool_put_documents(struct spool *s, const char *family, uint32_t day, const bson_t *const *documents, size_t count,
			const bson_value_t *from, const bson_value_t *to);
/* The payload as it was before packing: takes it, malloced, or frees it. NULL with -EBADMSG or -ENOMEM in *err. */
uint8_t *spool_unpack(const struct spool_head *head, uint8_t *payload, int *err);
/* 0 or -EBADMSG, -ENOMEM. `bytes` stay the caller's until spool_documents_drop. */
int spool_documents_read(struct spool_documents *out, const uint8_t *bytes, size_t length);
void spool_documents_drop(struct spool_documents *documents);

/* ---- spool.c ---- */

/* The inner sink acknowledged a replayed record. */
void spool_taken(struct spool *s);
/* Everything is committed; false: more came meanwhile. */
bool spool_emptied(struct spool *s);

/* ---- spool_decided.c ---- */

/* A storage as a line of text, and back: false, and nothing is written, when it is none. */
int spool_storage_print(char *text, size_t size, const struct sink_storage *storage);
bool spool_storage_read(const char *text, struct sink_storage *storage);
/* What was decided before; without a sound file nothing was. */
void spool_decided_read(struct spool *s);
/* How batches of the day whose form was a guess are stored; NULL: that is not decided yet. */
const struct sink_storage *spool_decided(const struct spool *s, uint32_t day);
/* Decides it, durable when it returns. 0 or -errno: then nothing may be sent. */
int spool_decide(struct spool *s, uint32_t day, const struct sink_storage *storage);

/* ---- spool_replay.c ---- */

void spool_round_free(struct spool *s);

#endif
