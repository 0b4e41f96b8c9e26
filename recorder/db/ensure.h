/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ensure.h - commands that make something, repeatable: "make it unless it is there just so".
 */
#ifndef XDP_RECORDER_DB_ENSURE_H
#define XDP_RECORDER_DB_ENSURE_H

#include "recorder/db/connect.h"

/*
 * Runs a command that may have been run before. create of what is there with these options, createIndexes of indexes
 * that are there, drop and dropIndexes of what is not there are DB_OK. Something else under the same name is DB_FATAL,
 * and the problem names it. Writes are majority and journalled.
 */
enum db_result ensure_command(struct db_client *client, const bson_t *command, struct db_problem *problem);

/* True when every option of `want` is in `have` with the same value (numbers by value); `have` may hold more. Pure. */
bool ensure_covers(const bson_t *have, const bson_t *want);

/* A view into an embedded document or array. False when `it` is none. */
bool ensure_inside(const bson_iter_t *it, bson_t *out);

#endif
