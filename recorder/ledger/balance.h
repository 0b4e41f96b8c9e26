/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * balance.h - from the kernel's totals to balance rows: which second can be closed, and what was in it.
 *
 * The kernel keeps totals by (CPU, second in which a packet came). A row is the difference between two of them. State is
 * only "settled up to second S with these totals", kept in the journal; so a restart forms the same rows again.
 *
 * Loop thread only; no clock: the caller says what is final.
 */
#ifndef XDP_RECORDER_LEDGER_BALANCE_H
#define XDP_RECORDER_LEDGER_BALANCE_H

#include <stdbool.h>

#include "recorder/ledger/journal.h"
#include "recorder/ledger/rows.h"

/* A run of silent seconds becomes a row at the latest when it is this long: the heartbeat. */
#define BALANCE_SILENCE 60u

struct balance {
	const struct rec_seconds *seconds; /* of this side: cpus elements, mapped read-only */
	unsigned cpus;
	uint32_t side;
	struct journal_totals settled; /* the last row's end */
	struct journal_totals next;    /* end of the row that balance_next returned */
};

/*
 * `seconds` is the mapped map, all sides. Reads the settled state; in a new capture the balance begins with second
 * `first_sec`. 0 or -ENOMEM.
 */
int balance_open(struct balance *balance, struct journal *journal, const struct rec_seconds *seconds, unsigned cpus,
		 uint32_t side, uint64_t first_sec);
void balance_close(struct balance *balance);

/*
 * The next row, of seconds behind the settled one and before `final_sec` (exclusive). Fills row->side, sec, seconds, silent, term;
 * the caller adds source, pair and witness. False when there is none to write yet. `flush`: do not wait for a silent
 * run to reach BALANCE_SILENCE.
 */
bool balance_next(struct balance *balance, uint64_t final_sec, bool flush, struct balance_row *row);

/* The row that balance_next returned is acknowledged: the journal moves on. */
void balance_settle(struct balance *balance, struct journal *journal);

/* Totals since the capture began, as they stand now, SEEN including contended. */
void balance_now(const struct balance *balance, struct rec_count term[REC_TERMS]);

#endif
