/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mongo_internal.h - the sink's parts.
 *
 *   mongo.c        batches: packets and their ledger entry, step by step
 *   mongo_small.c  small documents: upserts, one or many at once
 *   mongo_late.c   commands without an answer, and answers that are not believed yet
 */
#ifndef XDP_RECORDER_SINK_MONGO_INTERNAL_H
#define XDP_RECORDER_SINK_MONGO_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/sink/mongo.h"

#define PATIENCE_NS (3 * NS_PER_SEC)	  /* no further command is begun after that: SINK_BOUND_S less CONNECT_BOUND_S */
#define RETRY_LEAST_NS (NS_PER_SEC / 10)
#define LINGER_MS 150			  /* longer than the 100 ms between two flushes of MongoDB's journal */
#define SPARE 32			  /* buffers kept for the next commands */

/* A command without an answer, from the moment that it was given up until nothing can come of it any more. */
struct late {
	bool pending;
	uint64_t since;	     /* boot ns: it was sent before that */
	struct db_peer peer; /* to whom; has_process false: not known for certain */
	uint64_t until;	     /* boot ns, 0 = no answer on a new connection yet */
};

struct mongo {
	struct sink sink;
	struct db *db;
	struct days *days;
	const struct ends_table *_Atomic ends;
	size_t command_bytes;
	unsigned late_ms;
	uint64_t born;

	pthread_mutex_t lock; /* held for a few instructions, never over a call */
	/* The newest connection that was made to see whether the server answers. */
	uint64_t answer_opened, answer_came;
	struct db_peer answer_peer;
	uint64_t unknown_at; /* when the newest unknown command was given up */
	struct late put_late;

	struct command_buffer *_Atomic spare[SPARE];
	_Atomic uint64_t commands, documents, bytes, unknown, settled, found, twice, refused;
};

static inline struct mongo *mongo_of(struct sink *sink)
{
	return container_of(sink, struct mongo, sink);
}

/* ---- mongo_late.c ---- */

/* The command that `client` just sent to `peer` (asked at `asked`) has no answer. */
void late_begin(struct mongo *m, struct late *late, const struct db_client *client, const struct db_peer *peer,
		uint64_t asked);
/* One that somebody sent before this job was made: an earlier process, or this one before it gave a job up. */
void late_inherit(struct mongo *m, struct late *late);
/* DB_OK: over, go on. DB_LATER with *again: not yet. Else why the server does not answer. */
enum db_result late_wait(struct mongo *m, struct late *late, uint64_t *again, struct db_problem *problem);
/* DB_OK: the process that acknowledged (or was read from) is the one that answers now. */
enum db_result late_lives_on(struct mongo *m, struct db_client *client, const struct db_peer *before,
			     struct db_problem *problem);

/* ---- mongo_small.c ---- */

/* One update command: each document replaces the one with its _id, or is inserted. */
enum db_result small_replace(struct db_client *client, const char *collection, const bson_t *const *documents,
			     size_t count, struct db_problem *problem);
enum sink_outcome small_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
			    const bson_value_t *drop_from, const bson_value_t *drop_to, struct sink_report *report);
enum sink_outcome small_put_many(struct sink *sink, const char *family, uint32_t day, const bson_t *const *documents,
				 size_t count, struct sink_report *report);
enum sink_outcome small_prepare_days(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report);

#endif
