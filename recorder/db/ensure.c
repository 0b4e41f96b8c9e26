/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/ensure.h"

#include <stdio.h>

#include "recorder/core/util.h"

enum {
	NAMESPACE_NOT_FOUND = 26,
	INDEX_NOT_FOUND = 27,
	NAMESPACE_EXISTS = 48,
	COMMAND_NOT_FOUND = 59,
	INDEX_OPTIONS_CONFLICT = 85,
	INDEX_KEY_SPECS_CONFLICT = 86,
};

bool ensure_inside(const bson_iter_t *it, bson_t *out)
{
	const uint8_t *data;
	uint32_t len;

	if (BSON_ITER_HOLDS_DOCUMENT(it))
		bson_iter_document(it, &len, &data);
	else if (BSON_ITER_HOLDS_ARRAY(it))
		bson_iter_array(it, &len, &data);
	else
		return false;
	return bson_init_static(out, data, len);
}

static bool same_value(const bson_iter_t *have, const bson_iter_t *want)
{
	bson_t a, b;

	if (BSON_ITER_HOLDS_NUMBER(have) && BSON_ITER_HOLDS_NUMBER(want))
		return bson_iter_as_double(have) == bson_iter_as_double(want);
	if (bson_iter_type(have) != bson_iter_type(want))
		return false;
	if (ensure_inside(have, &a) && ensure_inside(want, &b)) {
		if (BSON_ITER_HOLDS_ARRAY(have) && bson_count_keys(&a) != bson_count_keys(&b))
			return false;
		return ensure_covers(&a, &b);
	}
	switch (bson_iter_type(have)) {
	case BSON_TYPE_UTF8:
		return !strcmp(bson_iter_utf8(have, NULL), bson_iter_utf8(want, NULL));
	case BSON_TYPE_BOOL:
		return bson_iter_bool(have) == bson_iter_bool(want);
	case BSON_TYPE_DATE_TIME:
		return bson_iter_date_time(have) == bson_iter_date_time(want);
	default:
		return true; /* no other type is an option's */
	}
}

bool ensure_covers(const bson_t *have, const bson_t *want)
{
	bson_iter_t w, h;

	if (!bson_iter_init(&w, want))
		return false;
	while (bson_iter_next(&w))
		if (!bson_iter_init_find(&h, have, bson_iter_key(&w)) || !same_value(&h, &w))
			return false;
	return true;
}

struct found {
	bool any;
	bool covers;
	const bson_t *want;
};

/* What it holds must be what is asked for; further options (a validator, a compressor) are somebody's choice, capped is
 * not. */
static bool look_at(void *arg, const bson_t *collection)
{
	struct found *found = arg;
	const char *type = bson_has_field(found->want, "viewOn")       ? "view"
			   : bson_has_field(found->want, "timeseries") ? "timeseries"
								       : "collection";
	bson_iter_t it;
	bson_t options;

	found->any = true;
	if (!bson_iter_init_find(&it, collection, "type") || !BSON_ITER_HOLDS_UTF8(&it) ||
	    strcmp(bson_iter_utf8(&it, NULL), type))
		return true;
	if (bson_iter_init_find(&it, collection, "options") && ensure_inside(&it, &options))
		found->covers = ensure_covers(&options, found->want) &&
				bson_has_field(&options, "capped") == bson_has_field(found->want, "capped");
	return true;
}

/* The server says that the name is taken. Servers before 7.0 say so also when it is taken by just what is asked for. */
static enum db_result name_taken(struct db_client *client, const bson_t *command, const char *name,
				 struct db_problem *problem)
{
	bson_t want = BSON_INITIALIZER;
	struct found found = {.want = &want};
	enum db_result result;
	bson_t *list = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", BCON_UTF8(name), "}");

	bson_copy_to_excluding_noinit(command, &want, "create", "writeConcern", "comment", "maxTimeMS", (char *)NULL);
	result = db_each(client, NULL, list, look_at, &found, problem);
	if (result == DB_OK && !found.any)
		result = db_problem_set(problem, DB_LATER, "%s: %s vanished while it was looked at",
					db_where(client->db), name);
	else if (result == DB_OK && !found.covers)
		result = db_problem_set(
			problem, DB_FATAL,
			"%s: '%s' is there already, but as something else; rename or drop it, or use another database",
			db_where(client->db), name);
	bson_destroy(list);
	bson_destroy(&want);
	return result;
}

enum db_result ensure_command(struct db_client *client, const bson_t *command, struct db_problem *problem)
{
	bson_iter_t it;
	bson_t sent;
	enum db_result result;

	if (!bson_iter_init(&it, command) || !bson_iter_next(&it))
		return db_problem_set(problem, DB_FATAL, "an empty command");
	const char *what = bson_iter_key(&it);
	const char *name = BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "";

	bson_copy_to(command, &sent);
	if (!bson_has_field(command, "writeConcern")) {
		bson_t concern;
		BSON_APPEND_DOCUMENT_BEGIN(&sent, "writeConcern", &concern);
		BSON_APPEND_UTF8(&concern, "w", "majority");
		BSON_APPEND_BOOL(&concern, "j", true);
		bson_append_document_end(&sent, &concern);
	}
	result = db_command(client, NULL, &sent, NULL, problem);
	bson_destroy(&sent);

	if (!strcmp(what, "create") && result == DB_REFUSED && problem->code == NAMESPACE_EXISTS)
		return name_taken(client, command, name, problem);
	if (!strcmp(what, "createIndexes") && result == DB_REFUSED &&
	    (problem->code == INDEX_OPTIONS_CONFLICT || problem->code == INDEX_KEY_SPECS_CONFLICT)) {
		struct db_problem first = *problem;
		return db_problem_set(problem, DB_FATAL,
				      "an index of '%s' is there already, but another one; drop it: %s", name,
				      first.text);
	}
	if ((!strcmp(what, "drop") || !strcmp(what, "dropIndexes")) && result == DB_REFUSED &&
	    (problem->code == NAMESPACE_NOT_FOUND || problem->code == INDEX_NOT_FOUND))
		return DB_OK;
	if (!strcmp(what, "insert") && result == DB_DUPLICATE)
		return DB_OK;
	return result;
}
