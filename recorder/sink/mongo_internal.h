/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mongo_internal.h - the sink's parts.
 *
 *   mongo.c          batches: packets and their ledger entry, step by step
 *   mongo_commands.c what is sent for packets: documents or buckets, in memory that is used again and again
 *   mongo_documents.c packets as documents: sent, read back
 *   mongo_bucket.c   what the server says of buckets, and what follows from it
 *   mongo_mixed.c    a former process cut the batch in another way
 *   mongo_compare.c  a stored bucket beside the batch's own records
 *   mongo_foreign.c  a batch that another version of this program began
 *   mongo_small.c    small documents: upserts, one or many at once
 *   mongo_late.c     commands without an answer, and answers that are not believed yet
 */
#ifndef XDP_RECORDER_SINK_MONGO_INTERNAL_H
#define XDP_RECORDER_SINK_MONGO_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "recorder/core/turns.h"
#include "recorder/core/util.h"
#include "recorder/encode/bucket.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/mongo.h"

#define PATIENCE_NS (3 * NS_PER_SEC - 2 * LINGER_MS * 1000000ull) /* no further command is begun after that: SINK_BOUND_S less CONNECT_BOUND_S and two pauses */
#define RETRY_LEAST_NS (NS_PER_SEC / 10)
#define LINGER_MS 150			  /* longer than the 100 ms between two flushes of MongoDB's journal */
#define SPARE 32			  /* buffers kept for the next commands */
#define CHECK_ONE_IN 256u		  /* buckets, by their ids, that are decoded again whatever the options say */

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
	struct turns makers; /* struct bucket_maker, up to 64 MB each */
	_Atomic uint32_t storage; /* STORAGE_ bits and the version; 0: documents */
	bool check_all, hasty;
	mongo_sink_spoil *spoil; /* tests */
	_Atomic uint64_t commands, documents, bytes, unknown, settled, found, twice, refused;
	_Atomic uint64_t buckets, checked, check_failed, buckets_refused, buckets_there, clashes;
};

static inline struct mongo *mongo_of(struct sink *sink)
{
	return container_of(sink, struct mongo, sink);
}

#define STORAGE_BUCKETS 0x100u
#define STORAGE_RAW 0x200u
#define STORAGE_REPLACE 0x400u

/* ---- a batch on its way ---- */

enum state {
	LOOK,	/* attempted buckets: are some of the packets there as documents, or in buckets cut in another way? */
	MIXED,	/* they are: all buckets are read, the rest becomes documents */
	SEND,	/* commands[next..] are to be sent, and what became of them looked at */
	WAIT,	/* for the late one */
	FOREIGN, /* of a batch of another version: what is there? */
	READ,	/* which of the documents are there? */
	VERIFY, /* does the majority have them? */
	LEDGER,
	CONFIRM, /* was it one server process from the first SEND or READ to a moment after the ledger? */
	DONE,
	CLASHED, /* others have the id of the only bucket */
	CLOSE,	 /* the server does not take this open bucket, and its packets cannot be documents yet */
};

enum fate {
	FATE_SEND,	/* in a command that is to be sent */
	FATE_ASK,	/* duplicate key: who has it? */
	FATE_REFUSED,	/* by the server or the self-check: is it there all the same, or a smaller version of it? */
	FATE_THERE,	/* acknowledged, or found */
	FATE_DOCUMENTS, /* its packets are written as documents */
	FATE_LEFT,	/* mixed: neither there nor to be sent */
};

struct job_bucket {
	uint8_t id[BUCKET_ID_LEN];
	uint8_t fate;
	bool read;		 /* known from reading only */
	bool later;		 /* FATE_SEND: the last answer said not now */
	bool part;		 /* FATE_DOCUMENTS: a smaller version of it is there and stays; only the rest is wanted */
	uint16_t command, index; /* where it stands, while FATE_SEND or FATE_ASK */
	uint32_t packets;
};

struct job_command {
	struct command_buffer *buffer;
	uint32_t count; /* documents or buckets in it */
	unsigned ended; /* connections that ended instead of an answer */
};

struct sink_job {
	struct batch *batch;
	const struct ends_table *ends;
	enum state state;
	bool begun;		  /* write was called */
	bool has_peer;		  /* read_peer is known */
	bool was_read;		  /* at least some packets are known from reading only */
	struct db_peer read_peer; /* who got the first command, or was read from */
	uint64_t confirm_at;	  /* boot ns */
	bool stood_once;	  /* the server had perhaps stood still, and was asked once more: not for ever */
	struct late late;
	unsigned failures; /* in a row */
	struct job_command *commands;
	unsigned count, room, next;

	bool of_buckets; /* commands: else of documents */
	bool update;	 /* commands: a bucket that replaces smaller versions of itself */
	struct job_bucket *buckets;
	uint32_t nbuckets;
	uint8_t *wanted;     /* [nrecords] of a batch of buckets: 1: this packet is to be a document. NULL: none */
	uint32_t nwanted;
	bool alone;	/* one bucket a command */
	struct rest *rest; /* MIXED, while its buckets are read */
	uint32_t looked;   /* LOOK and MIXED: buckets that were read */
	bool mixed;	/* some of the buckets that are there were cut in another way (mongo_mixed.c) */
	unsigned smaller; /* times that an update found a smaller version, and did not replace it */
	bool inherited; /* attempted: what an earlier process may have sent was waited for */
	bool compared;	/* foreign: buckets (only those that are there), wanted and others are known */
	uint32_t others; /* foreign: plain documents of other versions that are there */
};

static inline bool job_is_buckets(const struct sink_job *job)
{
	return job->batch->mode == JOURNAL_BUCKETS;
}

/* ---- mongo_commands.c ---- */

struct bucket_maker *maker_take(struct mongo *m);
void maker_give(struct mongo *m, struct bucket_maker *maker);
void spare_free(struct mongo *m);
struct bucket_form job_form(const struct sink_job *job);
/* Commands of documents for the records that are `wanted` (NULL: all). 0 or -errno, then none. */
int make_documents(struct mongo *m, struct sink_job *job, const uint8_t *wanted);
/*
 * Commands for all buckets that are not to be documents; the first time it makes job->buckets too, and looks at what it
 * made (self-check). 0 or -errno, then none.
 */
int make_buckets(struct mongo *m, struct sink_job *job);
void drop_commands(struct mongo *m, struct sink_job *job);
/* Takes out of a command those buckets that are not to be sent any more. 0 or -ENOMEM. */
int thin_command(struct sink_job *job, unsigned command);
/* The bucket as it stands in its command. False: it is in none. */
bool bucket_in_command(const struct sink_job *job, const struct job_bucket *bucket, bson_t *document);
void name_batch(const struct batch *batch, char out[48]);

/* ---- mongo_documents.c ---- */

/* Sends commands[next]. When it is not acknowledged job->state says where to go on. */
enum db_result documents_send(struct mongo *m, struct sink_job *job, struct db_client *client,
			      const struct db_peer *peer, uint64_t asked, struct sink_report *report,
			      struct db_problem *problem);
/* READ: what is there already; commands for the rest. */
enum db_result documents_read(struct mongo *m, struct sink_job *job, struct db_client *client,
			      struct sink_report *report, struct db_problem *problem);
/* VERIFY: what the primary shows is not yet what a majority has. */
enum db_result documents_verify(struct mongo *m, struct sink_job *job, struct db_client *client,
				struct sink_report *report, struct db_problem *problem);

/* ---- mongo_compare.c ---- */

struct overlap {
	size_t ours, stored, common; /* records; common: as multisets of canonical records */
	uint32_t *rest;		     /* [ours - common]: positions of ours that are not stored */
};
/* 0, then the caller frees rest; -ENOMEM; -EBADMSG: what is stored is no bucket of packets of this interface. */
int overlap_of(struct mongo *m, const struct sink_job *job, uint32_t bucket, const bson_t *stored, struct overlap *overlap);

/*
 * The batch's records, and what remains of them when those of stored buckets are taken away. NULL: no memory. rest_take: 1
 * when all of a bucket's records were among them (now they are gone), 0 (nothing was taken) or -ENOMEM.
 */
struct rest;
struct rest *rest_new(const struct batch *batch);
int rest_take(struct rest *rest, const bson_t *stored, uint32_t *packets);
/* 1 for each position that remains. */
void rest_mark(const struct rest *rest, uint8_t *wanted);
void rest_free(struct rest *rest);

/* ---- mongo_mixed.c ---- */

/* Goes to MIXED if a bucket of it is there that other bytes stand in than would be sent. */
enum db_result mixed_look(struct sink_job *job, struct db_client *client, struct sink_report *report,
			  struct db_problem *problem);
/* MIXED: what is not in one of its buckets is wanted as documents. */
enum db_result mixed_read(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			  struct db_problem *problem);

/* Stored packets one by one, to be held against the batch's records. */
struct pile;
struct pile *stored_new(const struct batch *batch);
void stored_free(struct pile *stored);
/* False: it cannot be read as a packet of this interface. */
bool stored_add(struct pile *stored, const bson_t *document);
bool stored_no_memory(const struct pile *stored);
size_t stored_count(const struct pile *stored);
/* Clears wanted[i] of as many records as are stored, as multisets of canonical records; how many these are, or -ENOMEM. Once. */
int64_t stored_take_away(struct pile *stored, uint8_t *wanted);

/* ---- mongo_foreign.c ---- */

/* FOREIGN: what another version wrote of this batch stays; job->wanted names the rest. */
enum db_result foreign_read(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			    struct db_problem *problem);

/* ---- mongo_bucket.c ---- */

/* Sends commands[next] and notes what the answer says of its buckets. DB_OK: go on. */
enum db_result bucket_send(struct mongo *m, struct sink_job *job, struct db_client *client, const struct db_peer *peer,
			   uint64_t asked, struct sink_report *report, struct db_problem *problem);
/* A bucket whose fate must be asked for; NULL: there is none. */
struct job_bucket *bucket_to_ask(struct sink_job *job);
/* What is there under its id? DB_OK: it has a fate now, or job->state says what its batch has. */
enum db_result bucket_ask(struct mongo *m, struct sink_job *job, struct job_bucket *bucket, struct db_client *client,
			  struct sink_report *report, struct db_problem *problem);
/* LOOK: buckets with packets that are there as documents are not sent before it is known why. */
enum db_result bucket_look(struct mongo *m, struct sink_job *job, struct db_client *client, struct sink_report *report,
			   struct db_problem *problem);
uint8_t *bucket_wanted_room(struct sink_job *job); /* NULL: no memory */
/* Fills job->wanted and nwanted with the packets of buckets that are to be documents. 0 or -errno. */
int bucket_wanted(struct mongo *m, struct sink_job *job);
/* The ledger entry's part; false: no memory. */
bool bucket_ledger(const struct sink_job *job, bson_t *entry);

/* ---- mongo_late.c ---- */

/* The command that `client` just sent to `peer` (asked at `asked`) has no answer. */
void late_begin(struct mongo *m, struct late *late, const struct db_client *client, const struct db_peer *peer,
		uint64_t asked);
/* One that somebody sent before this job was made: an earlier process, or this one before it gave a job up. */
void late_inherit(struct mongo *m, struct late *late);
/* DB_OK: over, go on. DB_LATER with *again: not yet. Else why the server does not answer. */
enum db_result late_wait(struct mongo *m, struct late *late, uint64_t *again, struct db_problem *problem);
/*
 * DB_OK: the process that acknowledged (or was read from) is the one that answers now. *stood: it took its time; perhaps it stood still
 * since it had acknowledged, and has not lived on for LINGER_MS yet.
 */
enum db_result late_lives_on(struct mongo *m, struct db_client *client, const struct db_peer *before, bool *stood,
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
