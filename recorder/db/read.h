/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read.h - what the control plane reads back: the balance's sums, a capture's chain, a batch's packets (of finished
 * buckets: read_bucket.h).
 *
 * Blocking, for the command line, takeover and tests; never on the way of a packet.
 */
#ifndef XDP_RECORDER_DB_READ_H
#define XDP_RECORDER_DB_READ_H

#include "bpf/abi.h"
#include "recorder/db/connect.h"
#include "recorder/source/batch.h"

/* Sums of balance_<day> documents, in the terms of rec_term (SEEN includes contended, as in balance_row). */
struct read_balance {
	uint64_t documents;
	uint64_t seconds;
	struct rec_count term[REC_TERMS];
};

/* Which documents: NULL and 0 mean all. Days are those of the collections (UTC), both ends inclusive. */
struct read_balance_filter {
	const uint8_t *capture; /* CAPTURE_ID_LEN */
	const char *sensor;
	const char *iface;
	int side; /* enum rec_side, -1: both */
	uint32_t first_day, last_day;
};
enum db_result read_balance(struct db *db, const struct read_balance_filter *filter, struct read_balance *sums,
			    struct db_problem *problem);

/* A capture's newest ledger entry over all days. found false: there is none (DB_OK). */
struct read_ledger {
	bool found;
	uint64_t number;
	uint32_t day;
	uint32_t packets;
	uint8_t digest[DIGEST_LEN];
	uint8_t previous[DIGEST_LEN];
};
enum db_result read_ledger_newest(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], struct read_ledger *entry,
				  struct db_problem *problem);

/* One entry as it is. The caller destroys *entry when found. */
enum db_result read_ledger_entry(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number, uint32_t day,
				 bson_t *entry, bool *found, struct db_problem *problem);

typedef bool read_document(void *arg, const bson_t *document);

/*
 * Walks the packets of a batch of any encoder version, written either way: as its ledger entry says (read_bucket.h, which
 * tells more about it), or without an entry its plain documents by _id, ascending. [first_ms, last_ms] is then the batch's
 * time range, which spares a scan of the day; both 0: the whole day. `each` returns false to stop.
 */
enum db_result read_batch(struct db *db, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number, uint32_t day,
			  int64_t first_ms, int64_t last_ms, read_document *each, void *arg,
			  struct db_problem *problem);

/* Only the plain documents, those that a majority has. */
enum db_result read_documents(struct db_client *client, const char *collection, const uint8_t capture[CAPTURE_ID_LEN],
			      uint64_t number, int64_t first_ms, int64_t last_ms, read_document *each, void *arg,
			      struct db_problem *problem);

/*
 * The positions of a batch's documents that are there, of one encoder version: present[position] counts how often (255
 * = that or more). With `majority` only what a majority has.
 */
enum db_result read_batch_positions(struct db_client *client, const struct batch *batch, bool majority,
				    uint8_t *present, uint32_t count, struct db_problem *problem);

#endif
