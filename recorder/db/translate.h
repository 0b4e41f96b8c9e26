/* SPDX-License-Identifier: GPL-2.0-or-later */
/* translate.h - libmongoc's and the server's errors as db_result and one line: the only place that knows their codes.
 */
#ifndef XDP_RECORDER_DB_TRANSLATE_H
#define XDP_RECORDER_DB_TRANSLATE_H

#include "recorder/db/connect.h"

/* What a server's error code means for who wants to try again. */
enum db_result translate_code(int32_t code);

/*
 * An answer that came: `ok`, writeErrors, writeConcernError. `what` is the command's name, `where` as of db_where.
 * DB_OK when all are fine.
 */
enum db_result translate_reply(const char *where, const char *what, const bson_t *reply, struct db_problem *problem);

/* No answer came, or libmongoc made an error of it. `sent`: it had begun to be written to a socket. */
enum db_result translate_error(const char *where, const char *what, const bson_error_t *error, const bson_t *reply,
			       bool sent, struct db_problem *problem);

#endif
