/* SPDX-License-Identifier: GPL-2.0-or-later */
/* read_floods.h - the summaries of floods_*, for the command line. Blocking. */
#ifndef XDP_RECORDER_DB_READ_FLOODS_H
#define XDP_RECORDER_DB_READ_FLOODS_H

#include "recorder/db/connect.h"
#include "recorder/ledger/episodes.h"

/* NULL and 0 mean all. Times are wall clock, ns: summaries whose packets lie at least in part within [since, until). */
struct read_floods_filter {
	const char *sensor, *iface;
	int64_t since, until;
};

/* 0, or a negative error that ends it. */
typedef int read_flood(void *arg, const struct flood_row *row);

/* Day by day, within a day by capture, side and epoch. DB_LATER where `each` ended it (out of memory). */
enum db_result read_floods(struct db *db, const struct read_floods_filter *filter, read_flood *each, void *arg,
			   struct db_problem *problem);

#endif
