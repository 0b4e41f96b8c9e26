/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read_former.h - what the database knows of the capture that an interface had before this one. Blocking.
 *
 * After a reboot the rings and pins are gone, and what was not stored with them: only the database still says up to when
 * the former capture saw.
 */
#ifndef XDP_RECORDER_DB_READ_FORMER_H
#define XDP_RECORDER_DB_READ_FORMER_H

#include "recorder/db/connect.h"
#include "recorder/db/read.h"

/* Who asks. */
struct read_former_of {
	const char *sensor, *iface, *instance;
	const uint8_t *capture; /* CAPTURE_ID_LEN, ours */
	const char *boot;	/* the kernel's boot id */
	int64_t netns;		/* cookie of the network namespace, of this boot */
	int64_t created;	/* wall ns: since when our capture sees */
};

/*
 * The newest capture of this sensor's interface before ours: of this instance, of this network namespace, or of another boot
 * (whatever it was, it is over). `until` is the end of the last second that the balance has of it, of the side that has the
 * earlier one; the heartbeat makes that at most BALANCE_SILENCE and what was not stored yet.
 */
struct read_former {
	bool found;
	uint8_t capture[CAPTURE_ID_LEN];
	bool same_boot;
	bool stopped;	     /* it ended as asked: `until` is that moment, if it is earlier */
	int64_t until;	     /* wall ns */
	uint64_t last_batch; /* of the ledger, 0: none */
	int64_t unaccounted; /* packets of the interface from `until` on, of that day and the next: in no second */
};
enum db_result read_former(struct db *db, const struct read_former_of *of, struct read_former *former,
			   struct db_problem *problem);

/* Events of kind `gap` of this interface that have no end, of other captures. */
enum db_result read_open_gaps(struct db *db, const struct read_former_of *of, read_document *each, void *arg,
			      struct db_problem *problem);

enum db_result read_event_there(struct db *db, const uint8_t *id, uint32_t length, bool *there, struct db_problem *problem);

#endif
