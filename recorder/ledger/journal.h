/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.h - the drainer's crash-proof memory: one mmap-able pinned array for each capture.
 *
 * It outlives the process, not the machine: rings do neither. It answers, after a kill -9 at any instruction: which
 * batches may have been sent (recipes), under which number and digest does the next one stand (chain), which clock pairs
 * are in force (pairs), up to which second is the balance written (settled).
 *
 * Nothing torn is ever believed: a recipe counts only with its state word, stored last with release order, and its
 * checksum; chain, pairs and settled are kept twice, written in turn, each with a sequence number and a checksum, and the
 * newest whole copy counts. A process dies between two stores, it does not reorder them: on one machine the mapping is
 * coherent, so a compiler barrier and release stores suffice.
 *
 * Loop thread only. Version and layout: JOURNAL_VERSION; a journal of another version is refused by journal_open.
 */
#ifndef XDP_RECORDER_LEDGER_JOURNAL_H
#define XDP_RECORDER_LEDGER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/source/batch.h"

#define JOURNAL_VERSION 1u
#define JOURNAL_RECIPES 16u
#define JOURNAL_PAIRS 32u

/* How a batch was to be written. */
enum journal_mode { JOURNAL_DOCUMENTS = 1, JOURNAL_BUCKETS = 2 };

enum journal_state {
	JOURNAL_FREE = 0,
	JOURNAL_VALID = 1, /* may have been sent, wholly or in part */
	JOURNAL_DONE = 2,  /* acknowledged: only its consumer indexes remain to be moved */
};

/* Totals of one hook at the end of a settled second: base of the next balance row. [cpu][term]. */
struct journal_totals {
	uint64_t sec;
	struct rec_count *total; /* cpus * REC_TERMS; points into memory of the caller */
};

struct journal;

/* Bytes the journal map must have for a capture of `cpus` possible CPUs. */
size_t journal_size(unsigned cpus);

/*
 * Maps `fd`. A map of zeros is formatted: the capture's id goes in. 0; -EPROTO (with a log line) when it is another version's,
 * another capture's or damaged; -errno.
 */
int journal_open(struct journal **journal, int fd, unsigned cpus, const uint8_t capture[CAPTURE_ID_LEN]);
void journal_close(struct journal *journal);

/* True when journal_open formatted it. */
int journal_is_new(const struct journal *journal);

/* Since when the hooks are attached, boot ns; 0: not yet. And whether the event that says so (`start`) is in the database. */
uint64_t journal_attached(const struct journal *journal);
void journal_set_attached(struct journal *journal, uint64_t boot_ns);
bool journal_start_told(const struct journal *journal);
void journal_set_start_told(struct journal *journal);

/* ---- clock pairs: ascending in boot time ---- */
unsigned journal_pairs(const struct journal *journal, const struct clock_pair **pairs);
/* Appends; the oldest that ended before `keep_from` (boot ns) goes when there is no room. */
void journal_add_pair(struct journal *journal, const struct clock_pair *pair, uint64_t keep_from);

/* ---- the chain ---- */
/* Number and digest of the newest freed batch, and what all freed ones held; 0 and zeros before the first. */
uint64_t journal_chain(const struct journal *journal, uint8_t digest[DIGEST_LEN], struct rec_count *stored);
void journal_set_chain(struct journal *journal, uint64_t number, const uint8_t digest[DIGEST_LEN],
		       const struct rec_count *stored);

/* ---- the balance ---- */
void journal_settled(const struct journal *journal, unsigned side, struct journal_totals *totals);
void journal_set_settled(struct journal *journal, unsigned side, const struct journal_totals *totals);

/* ---- recipes ---- */
struct journal_recipe {
	uint64_t number;
	uint32_t day;
	uint16_t mode;    /* enum journal_mode */
	uint16_t version; /* ENCODE_VERSION of who made it */
	struct clock_pair pair;
	uint8_t digest[DIGEST_LEN];
	uint8_t previous[DIGEST_LEN];
	uint32_t nranges;
	/* 0 in the recipes of versions that knew no buckets: as batch.h has them. */
	uint16_t span_s;
	uint8_t form;
	uint8_t flags; /* JOURNAL_OPEN, JOURNAL_RAW, JOURNAL_ASSUMED; the salt in the upper four bits */
};
#define JOURNAL_OPEN 1u /* a revision of an open batch; of several with one number, that with the most records counts */
#define JOURNAL_RAW 2u
#define JOURNAL_ASSUMED 4u /* its span was a guess: it goes to the spool, never to the database as it is */
#define JOURNAL_SALTS 16u
_Static_assert(sizeof(struct journal_recipe) == 16 + 16 + 64 + 8, "as in journals of earlier versions");

/* Index of a free recipe, or -ENOSPC. */
int journal_free_recipe(const struct journal *journal);
/* Writes recipe `index` from the batch; valid when it returns. */
void journal_write_recipe(struct journal *journal, int index, const struct batch *batch);
void journal_mark_done(struct journal *journal, int index);
void journal_free(struct journal *journal, int index);
/* State of recipe `index`; JOURNAL_FREE as well when it is torn. `ranges` points into the journal. */
enum journal_state journal_read_recipe(const struct journal *journal, int index, struct journal_recipe *recipe,
				       const struct batch_range **ranges);

unsigned journal_salt(const struct journal_recipe *recipe);

/* A recipe that a former process left. */
struct journal_left {
	int index;
	enum journal_state state; /* VALID or DONE */
	struct journal_recipe recipe;
	const struct batch_range *ranges; /* in the journal */
	bool smaller; /* a revision of an open batch of which there is a larger one: to be freed */
};

/* All of them, ascending by number, of equal numbers the one that counts last. Returns how many. */
unsigned journal_left(const struct journal *journal, struct journal_left left[JOURNAL_RECIPES]);

#endif
