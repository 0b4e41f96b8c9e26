/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * days_internal.h - between the files of days.h:
 *
 *   days.c       what this process knows, and what is asked from outside
 *   days_list.c  what the server has
 *   days_make.c  collections of one day: options, indexes, the span
 *   days_view.c  the view over them
 */
#ifndef XDP_RECORDER_DB_DAYS_INTERNAL_H
#define XDP_RECORDER_DB_DAYS_INTERNAL_H

#include <pthread.h>

#include "recorder/core/util.h"
#include "recorder/db/days.h"

#define DAYS_READY 64u /* days that a process remembers: more than it writes to at a time */

/* Families of daily collections; the packets are the one that costs thought. */
enum { DAYS_PACKETS, DAYS_FAMILIES = 4 };
extern const char *const days_families[DAYS_FAMILIES];

struct days_known {
	uint32_t day;	 /* 0 = free */
	unsigned made;	 /* families that are there as they must be, a bit each */
	unsigned span_s; /* as days_span() says it */
};

struct days {
	struct db *db;
	const struct migrations *migrations;
	_Atomic unsigned span_s;

	pthread_mutex_t lock; /* held for a few instructions, never over a call */
	struct days_known known[DAYS_READY];
	struct db_peer peer; /* who said so: a server that was killed may have forgotten what it made last */
};

/* The server says that packets_<day> has this span. */
void days_note_span(struct days *days, uint32_t day, unsigned span_s);

/* ---- what is there ----------------------------------------------------------------------------------------- */

/* A set of days, ascending. */
struct days_set {
	uint32_t *day;
	size_t count, room;
	bool failed; /* out of memory */
};

void days_set_add(struct days_set *set, uint32_t day);
bool days_set_has(const struct days_set *set, uint32_t day);

struct days_listing {
	struct days *days;
	uint32_t first, last; /* days whose span is noted */
	struct days_set of[DAYS_FAMILIES];
	struct days_set view; /* the days that the view unites */
	enum { DAYS_VIEW_NONE, DAYS_VIEW_OURS, DAYS_VIEW_FOREIGN } view_is;
};

/* Fills a listing (of no defined contents before) in every case; days_listing_free. */
enum db_result days_look(struct days *days, struct db_client *client, uint32_t first, uint32_t last,
			 struct days_listing *listing, struct db_problem *problem);
void days_listing_free(struct days_listing *listing);

/* Whether packets_<day> is there; its span is noted. */
enum db_result days_look_at_packets(struct days *days, struct db_client *client, uint32_t day, bool *there,
				    struct db_problem *problem);

/* ---- making ------------------------------------------------------------------------------------------------ */

/*
 * One family of a day as the template says, with its indexes. `there`: it has been seen; the template's `drop` is for
 * collections that are new.
 */
enum db_result days_make(struct days *days, struct db_client *client, unsigned family, uint32_t day, bool there,
			 int32_t wire, struct db_problem *problem);

/* The view as seen from `last`. Looks again when others change it too. */
enum db_result days_keep_view(struct days *days, struct db_client *client, struct days_listing *listing, uint32_t last,
			      struct db_problem *problem);

#endif
