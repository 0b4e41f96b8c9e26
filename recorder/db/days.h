/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * days.h - the daily collections and the view over them.
 *
 * A *day* is the number YYYYMMDD. A number below 10,000 is a year, for imported captures, which lie anywhere between
 * 1970 and 2106: packets_2019, balance_2019 and so on, with buckets of an hour. Everything below is true of years too;
 * an import's years and a recorder's days can stand in one database, and the view unites them.
 *
 * packets_YYYYMMDD (time series), balance_*, batches_*, floods_*: made from the templates of migrations (migrate.h),
 * with their indexes, before the first document comes: MongoDB would make a plain collection by itself where a time
 * series must be. The view `packets` unites the newest 90 days that exist (and as many years) and the coming 31 days,
 * by name; it is changed only when one of the next 7 days is missing from it, or an existing one among the newest 90
 * is.
 *
 * Any thread, several recorders at once: everything is "make it unless it is there, then look at what is there".
 */
#ifndef XDP_RECORDER_DB_DAYS_H
#define XDP_RECORDER_DB_DAYS_H

#include "recorder/db/connect.h"
#include "recorder/db/migrate.h"

#define DAYS_VIEW "packets"
#define DAYS_VIEW_PAST 90
#define DAYS_VIEW_COMING 31
#define DAYS_VIEW_LEAST 7 /* coming days that must be in the view */

struct days;

static inline bool days_is_year(uint32_t day)
{
	return day < 10000;
}

/*
 * `span_s`: bucketMaxSpanSeconds of packets_* made from now on; 0: by the rate of the 24 h before (days_span_for), as
 * the balance has it. Keeps db and migrations (until days_free). NULL: no memory.
 */
struct days *days_new(struct db *db, const struct migrations *migrations, unsigned span_s);
void days_free(struct days *days);

/* For days (not years) made from now on; 0 as above. */
void days_set_span(struct days *days, unsigned span_s);

/*
 * bucketMaxSpanSeconds = bucketRoundingSeconds of packets_<day>, as the server says it is, from what days_prepare or days_need saw;
 * never asks. 0: not known, or the collection has no such span (granularity, or different values).
 */
unsigned days_span(struct days *days, uint32_t day);

/*
 * The smallest of 1, 10, 60, 600 s that lets a bucket fill to about 1,000 packets at `rate` (packets a second of the busiest
 * capture); rate 0, unknown: 10.
 */
unsigned days_span_for(double rate);

/*
 * Collections and indexes of days first..last (both days or both years, at most 62 of them) and the view as seen from
 * `last`. Looks at the server each time (one command when all is there) and forgets days that were dropped. packets_* of a
 * day that is more than an hour away is left to a later call, or to days_need: its span follows the rate of the last day.
 */
enum db_result days_prepare(struct days *days, uint32_t first, uint32_t last, struct db_problem *problem);

/*
 * One day, without asking the server when it has been seen to already, in this process and with the server process that
 * `client` leads to. The view is left alone.
 */
enum db_result days_need(struct days *days, struct db_client *client, uint32_t day, struct db_problem *problem);

/* Forgets a day: the next days_need looks at the server. */
void days_forget(struct days *days, uint32_t day);

#define DAYS_NAME 32
/* "packets_20260131", "packets_2019"; returns out. */
char *days_collection(char out[DAYS_NAME], const char *family, uint32_t day);

/* Days of which `family` has a collection, ascending. *days is malloced. */
enum db_result days_list(struct db *db, const char *family, uint32_t **days, size_t *count, struct db_problem *problem);

#endif
