/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read_stored.h - what lies in a packets_* collection, whoever put it there: bucket by bucket, without their packets. For audit.
 */
#ifndef XDP_RECORDER_DB_READ_STORED_H
#define XDP_RECORDER_DB_READ_STORED_H

#include "recorder/db/read_bucket.h"

struct read_stored {
	uint8_t id[BUCKET_ID_LEN];
	bool finished;	 /* ours: its packets have no _id. Else the server made it of documents */
	uint32_t packets;
	int64_t first_ms, last_ms; /* first: rounded down to the span where the server made it */
	const char *sensor, *iface; /* "": not said. Valid during the call */
};

/* Return false to end it. */
typedef bool read_stored_each(void *arg, const struct read_stored *stored);

/* All buckets of a collection, or those whose _id lies in the seconds [from_s, to_s] (0, UINT32_MAX: all); by _id. */
enum db_result read_stored(struct db_client *client, const char *collection, bool raw, uint32_t from_s, uint32_t to_s,
			   read_stored_each *each, void *arg, struct db_problem *problem);

#endif
