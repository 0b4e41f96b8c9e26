/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connect_internal.h - between the files of connect.h:
 *
 *   connect   a database: opened, its clients handed out, cancelled
 *   command   a command and its answer
 *   peer      who answers
 */
#ifndef XDP_RECORDER_DB_CONNECT_INTERNAL_H
#define XDP_RECORDER_DB_CONNECT_INTERNAL_H

#include <pthread.h>

#include "recorder/db/connect.h"
#include "recorder/db/guard.h"

struct idle;

struct db {
	mongoc_uri_t *uri;
	mongoc_apm_callbacks_t *callbacks;
	char *app;
	char *name;
	char *where;
	struct guard guard;

	pthread_mutex_t lock; /* held for a few instructions, never over a call */
	struct idle *idle;
	unsigned count, most;
	unsigned generation;
};

/* The command that this thread has under way, for the callback that is told when it goes out. */
extern _Thread_local struct db_client *db_under_way;

/* DB_CANCELLED, DB_LATER: with words. */
enum db_result db_say_cancelled(struct db *db, struct db_problem *problem);
enum db_result db_say_slow(struct db *db, struct db_problem *problem);
bool db_is_late(const struct db_client *client);
/* Without an answer the connection is worth nothing any more; with one (the server said no) it is. */
enum db_result db_failed(struct db_client *client, const char *what, bson_error_t *error, const bson_t *reply,
			 struct db_problem *problem);

#endif
