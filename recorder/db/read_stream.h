/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * read_stream.h - the documents of a family (balance, batches, floods) over all its days, in the order of their _id, one by
 * one. For audit; blocking, one thread.
 *
 * A page of one day is in memory at a time; of more days only where their _ids lie in between (after a step of the clock
 * back over midnight). No query depends on how much there is: each has the server's time limit to itself.
 */
#ifndef XDP_RECORDER_DB_READ_STREAM_H
#define XDP_RECORDER_DB_READ_STREAM_H

#include "recorder/db/connect.h"

#define READ_ID_MOST 40

struct read_stream;

struct read_stream_options {
	const char *family;
	const uint32_t *days; /* of which the family has a collection, ascending */
	size_t ndays;
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST]; /* binary _ids, both inclusive */
	uint32_t id_len;
	const bson_t *filter;	  /* more conditions; NULL: none */
	const bson_t *projection; /* NULL: whole documents */
	uint32_t page;		  /* documents asked for at once */
};

/* Keeps days until it is closed, copies the rest. NULL: out of memory. */
struct read_stream *read_stream_open(struct db_client *client, const struct read_stream_options *options);

/*
 * The next document, NULL behind the last; valid until the next call. *day is that of its collection. A document without
 * a binary _id of id_len bytes is skipped: it does not belong to the family.
 */
enum db_result read_stream_next(struct read_stream *stream, const bson_t **document, uint32_t *day,
				struct db_problem *problem);
void read_stream_close(struct read_stream *stream);

/* The smallest _id of a collection within [from, to], of any length up to READ_ID_MOST; or the greatest. *len 0: there is none. */
enum db_result read_edge_id(struct db_client *client, const char *collection, const uint8_t *from, const uint8_t *to,
			    uint32_t len, bool greatest, const bson_t *filter, uint8_t id[READ_ID_MOST], uint32_t *found,
			    struct db_problem *problem);

#endif
