/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audit.h - what does not close: accounts that are fed what is in a database and say where it contradicts itself. Pure
 * but for memory: no clock, no I/O, no database.
 *
 *   audit_hook    the balance of one side of a capture, row by row: terms, time, stored, summarised, the witness
 *   audit_chain   the ledger of a capture, entry by entry: numbers, digests of the one before
 *   audit_batch   one batch: its packets against its entry
 *
 * Each finding is handed out when it is known, in the order of what was fed. Memory is bounded by one batch and one
 * window of seconds, whatever the range.
 */
#ifndef XDP_RECORDER_LEDGER_AUDIT_H
#define XDP_RECORDER_LEDGER_AUDIT_H

#include <stdbool.h>

#include "recorder/ledger/canonical.h"
#include "recorder/ledger/rows_read.h"

/* ---- findings ---------------------------------------------------------------------------------------------------- */

/* Text lives as long as the call. */
struct audit_finding {
	const char *what;	/* a word: "terms", "hole", "packets" ... */
	const char *collection; /* where it stands, or should stand; "" = in none */
	const uint8_t *capture; /* NULL: not known */
	const char *sensor, *iface;
	int side;		  /* enum rec_side, -1: both or neither */
	int64_t from, to;	  /* wall time, ns; the same twice: one moment */
	bool counted;		  /* expected and found hold */
	struct rec_count expected, found;
	const char *text;
};
typedef void audit_say(void *arg, const struct audit_finding *finding);

/* Whose account it is. Text is the caller's and outlives the account. */
struct audit_of {
	uint8_t capture[CAPTURE_ID_LEN];
	const char *sensor, *iface;
	audit_say *say;
	void *arg;
};

/* ---- the witness ------------------------------------------------------------------------------------------------- */

/*
 * The interface's counters, read at some moment inside of a second, against what the hook had seen before that second and
 * behind it: so what only the witness saw is known to lie between two bounds. It is the most that two readings prove,
 * with counters that never count less than the hook sees. Counters that went back begin anew.
 */
#define AUDIT_READINGS 64u

struct audit_reading {
	uint64_t sec; /* in which it was read */
	uint64_t packets, bytes;
};

struct audit_witness {
	struct audit_reading waiting[AUDIT_READINGS]; /* ascending: their seconds have not come yet */
	unsigned nwaiting;
	struct audit_reading last; /* the newest that was read, to see a reset */
	uint64_t seen_before;	   /* packets of the hook in the rows so far */
	bool begun;
	/* witness - seen: least and most that it can have been at the first reading; the least most, and the most least of any. */
	int64_t first_least, least_most, most_least;
	uint64_t unseen;  /* proven, since the last reset */
	uint64_t at_most; /* it is no more than that */
	uint64_t excess;  /* proven that the hook saw more: then the interface does not count all that the hook sees */
	uint64_t unseen_before, at_most_before; /* of those before the last reset */
	unsigned readings, resets;		/* readings: whose second has come */
};

void audit_witness_row(struct audit_witness *w, const struct balance_row *row);

/* ---- one side of a capture --------------------------------------------------------------------------------------- */

/* The seconds [from, from + count): what is stored of each, from packets and ledger. */
struct audit_cells {
	uint64_t from;
	uint32_t count;
	struct rec_count *cell;
};

void audit_cells_add(struct audit_cells *cells, uint64_t sec, uint64_t packets, uint64_t bytes);

/* Epochs of summaries and rows that overlap, one by one or in a chain, are compared together. */
struct audit_epochs {
	uint64_t from, end; /* boot seconds of the group; end 0: there is none */
	int64_t wall;	    /* of `from` */
	uint32_t epoch;	    /* its newest */
	unsigned epochs;
	struct rec_count summaries, balance;
	uint64_t compared; /* groups */
};

struct audit_hook {
	const struct audit_of *of;
	unsigned side;
	bool continuous;    /* rows must follow each other: not those of a file */
	/* Seconds from here on are still being written: what is stored, what is summarised in them is not judged. */
	uint64_t final_stored, final_summarised;
	uint64_t first_summarised; /* nor what is summarised before: its epoch began in front of the range */
	uint64_t from, end; /* boot seconds that the rows so far cover; end 0: none */
	int64_t offset;	    /* wall - boot of the newest row */
	char collection[40]; /* of the newest row */
	struct rec_count term[REC_TERMS];
	struct rec_count open; /* stored and summarised of seconds that are still being written */
	uint64_t rows;
	struct audit_witness witness;
	struct audit_epochs epochs;
};

void audit_hook_begin(struct audit_hook *hook, const struct audit_of *of, unsigned side, bool continuous);

/* Rows in the order of their seconds. `cells` hold every second of the row; those of it are set to 0. */
void audit_hook_row(struct audit_hook *hook, const struct balance_row *row, int64_t wall, const char *collection,
		    struct audit_cells *cells);

/* What is left in the cells of seconds before `upto`: packets of which no row tells. */
void audit_hook_left(struct audit_hook *hook, struct audit_cells *cells, uint64_t upto, const char *collection);

/* An epoch's sums. Epochs and rows come in the order of their first second. */
void audit_hook_epoch(struct audit_hook *hook, const struct flood_read *sum);

/* The last group of epochs. */
void audit_hook_end(struct audit_hook *hook);

/* ---- the ledger -------------------------------------------------------------------------------------------------- */

struct audit_chain {
	const struct audit_of *of;
	bool begun, known; /* known: the digest of `number` */
	uint64_t number;
	uint8_t digest[DIGEST_LEN];
	int64_t last; /* wall time of its last packet */
	uint64_t batches;
};

/*
 * Without `before` the chain begins with batch 1. `before`: the neighbour of the range is there; or number alone, known
 * false: it is not, and nothing is said about the tie to it.
 */
void audit_chain_begin(struct audit_chain *chain, const struct audit_of *of);
void audit_chain_entry(struct audit_chain *chain, const struct ledger_read *entry, const char *collection);

/* ---- a batch ----------------------------------------------------------------------------------------------------- */

/* Memory is kept from one batch to the next. */
struct audit_batch {
	struct canonical_record *records;
	size_t *at; /* of each record's bytes in `bytes`, which moves while it grows */
	size_t nrecords, records_room;
	uint8_t *bytes;
	size_t nbytes, bytes_room;
	struct batch_second *found; /* as many as the entry's seconds, in their order */
	unsigned found_room;
	unsigned hint;
	uint64_t packets, size; /* all that were added, `size` in wire bytes */
	struct rec_count elsewhere[REC_SIDES]; /* of seconds that the entry does not know */
	uint64_t more_segments[REC_SIDES];     /* of super-packets, those beyond the first */
	const char *damaged; /* of packets that could not be read: what the last one lacked */
	uint64_t ndamaged;
	bool no_memory;
};

int audit_batch_begin(struct audit_batch *batch, const struct ledger_read *entry);
/* A packet of it. Its bytes are copied. */
void audit_batch_add(struct audit_batch *batch, const struct ledger_read *entry, const struct canonical_record *record);
/* One that cannot be read as a packet of this batch. */
void audit_batch_damaged(struct audit_batch *batch, const char *problem);

/*
 * Says what differs, for each second of a side; else, where all are there, that a digest differs. `missing` and `damaged`
 * buckets are named in the text. True when the batch is whole. `differs` gets found - entry for each second that differs
 * (packets, bytes as two's complement), to correct what the ledger says where the balance is compared.
 */
typedef void audit_differs(void *arg, uint64_t sec, unsigned side, int64_t packets, int64_t bytes);
bool audit_batch_end(struct audit_batch *batch, const struct audit_of *of, const struct ledger_read *entry,
		     const char *note, audit_differs *differs, void *arg);
void audit_batch_free(struct audit_batch *batch);

#endif
