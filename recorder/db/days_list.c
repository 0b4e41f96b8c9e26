/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the server has: the daily collections by name, the spans of packets_*, what the view unites. */
#include "recorder/db/days_internal.h"

#include <stdio.h>

#include "recorder/db/ensure.h"

void days_set_add(struct days_set *set, uint32_t day)
{
	size_t at = set->count;

	while (at > 0 && set->day[at - 1] > day)
		at--;
	if (at > 0 && set->day[at - 1] == day)
		return;
	if (set->count == set->room) {
		size_t room = set->room ? 2 * set->room : 64;
		uint32_t *more = realloc(set->day, room * sizeof(*more));
		if (!more) {
			set->failed = true;
			return;
		}
		set->day = more;
		set->room = room;
	}
	memmove(set->day + at + 1, set->day + at, (set->count - at) * sizeof(*set->day));
	set->day[at] = day;
	set->count++;
}

bool days_set_has(const struct days_set *set, uint32_t day)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		if (set->day[mid] < day)
			low = mid + 1;
		else
			high = mid;
	}
	return low < set->count && set->day[low] == day;
}

/* "packets_20260131" of family "packets" -> 20260131, "packets_2019" -> 2019, else 0. */
static uint32_t day_of(const char *name, const char *family)
{
	size_t len = strlen(family), digits;

	if (strncmp(name, family, len) || name[len] != '_')
		return 0;
	digits = strspn(name + len + 1, "0123456789");
	if ((digits != 8 && digits != 4) || name[len + 1 + digits])
		return 0;
	return (uint32_t)strtoul(name + len + 1, NULL, 10);
}

void days_listing_free(struct days_listing *listing)
{
	for (size_t i = 0; i < ARRAY_SIZE(days_families); i++)
		free(listing->of[i].day);
	free(listing->view.day);
}

static bool listing_failed(const struct days_listing *listing)
{
	bool failed = listing->view.failed;

	for (size_t i = 0; i < ARRAY_SIZE(days_families); i++)
		failed |= listing->of[i].failed;
	return failed;
}

/* {viewOn: D, pipeline: [{$unionWith: D | {coll: D}}...]} */
static void look_at_view(struct days_listing *listing, const bson_t *collection)
{
	bson_iter_t it, stage, on;
	bson_t options, inside;

	listing->view_is = DAYS_VIEW_FOREIGN;
	if (!bson_iter_init_find(&it, collection, "type") || !BSON_ITER_HOLDS_UTF8(&it) ||
	    strcmp(bson_iter_utf8(&it, NULL), "view"))
		return;
	if (!bson_iter_init_find(&it, collection, "options") || !ensure_inside(&it, &options) ||
	    !bson_iter_init_find(&it, &options, "viewOn") || !BSON_ITER_HOLDS_UTF8(&it))
		return;
	listing->view_is = DAYS_VIEW_OURS;
	days_set_add(&listing->view, day_of(bson_iter_utf8(&it, NULL), DAYS_VIEW));
	if (!bson_iter_init_find(&it, &options, "pipeline") || !bson_iter_recurse(&it, &stage))
		return;
	while (bson_iter_next(&stage)) {
		if (!ensure_inside(&stage, &inside) || !bson_iter_init_find(&on, &inside, "$unionWith"))
			continue;
		if (ensure_inside(&on, &inside) && !bson_iter_init_find(&on, &inside, "coll"))
			continue;
		if (BSON_ITER_HOLDS_UTF8(&on))
			days_set_add(&listing->view, day_of(bson_iter_utf8(&on, NULL), DAYS_VIEW));
	}
}

/* bucketMaxSpanSeconds where it is bucketRoundingSeconds too, else 0. */
static unsigned span_of(const bson_t *collection)
{
	bson_iter_t it, span, rounding;

	if (!bson_iter_init(&it, collection) ||
	    !bson_iter_find_descendant(&it, "options.timeseries.bucketMaxSpanSeconds", &span) ||
	    !bson_iter_init(&it, collection) ||
	    !bson_iter_find_descendant(&it, "options.timeseries.bucketRoundingSeconds", &rounding))
		return 0;
	int64_t s = bson_iter_as_int64(&span);
	return s > 0 && s <= UINT16_MAX && s == bson_iter_as_int64(&rounding) ? (unsigned)s : 0;
}

static bool look_at(void *arg, const bson_t *collection)
{
	struct days_listing *listing = arg;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, collection, "name") || !BSON_ITER_HOLDS_UTF8(&it))
		return true;
	const char *name = bson_iter_utf8(&it, NULL);
	if (!strcmp(name, DAYS_VIEW))
		look_at_view(listing, collection);
	for (size_t i = 0; i < ARRAY_SIZE(days_families); i++) {
		uint32_t day = day_of(name, days_families[i]);
		if (day)
			days_set_add(&listing->of[i], day);
		if (i == DAYS_PACKETS && day && day >= listing->first && day <= listing->last)
			days_note_span(listing->days, day, span_of(collection));
	}
	return true;
}

static enum db_result look(struct db_client *client, const char *pattern, struct days_listing *listing,
			   struct db_problem *problem)
{
	bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", "{", "$regex",
				   BCON_UTF8(pattern), "}", "}");
	enum db_result result = db_each(client, NULL, command, look_at, listing, problem);

	if (result == DB_OK && listing_failed(listing))
		result = db_problem_set(problem, DB_LATER, "out of memory");
	bson_destroy(command);
	return result;
}

enum db_result days_look(struct days *days, struct db_client *client, uint32_t first, uint32_t last,
			 struct days_listing *listing, struct db_problem *problem)
{
	*listing = (struct days_listing){.days = days, .first = first, .last = last};
	return look(client, "^(packets|(packets|balance|batches|floods)_([0-9]{4}|[0-9]{8}))$", listing, problem);
}

enum db_result days_look_at_packets(struct days *days, struct db_client *client, uint32_t day, bool *there,
				    struct db_problem *problem)
{
	struct days_listing listing = {.days = days, .first = day, .last = day};
	char name[DAYS_NAME], pattern[DAYS_NAME + 2];
	enum db_result result;

	snprintf(pattern, sizeof(pattern), "^%s$", days_collection(name, days_families[DAYS_PACKETS], day));
	result = look(client, pattern, &listing, problem);
	*there = listing.of[DAYS_PACKETS].count > 0;
	days_listing_free(&listing);
	return result;
}

struct names {
	const char *family;
	struct days_set days;
};

static bool look_at_name(void *arg, const bson_t *collection)
{
	struct names *names = arg;
	bson_iter_t it;
	uint32_t day = 0;

	if (bson_iter_init_find(&it, collection, "name") && BSON_ITER_HOLDS_UTF8(&it))
		day = day_of(bson_iter_utf8(&it, NULL), names->family);
	if (day)
		days_set_add(&names->days, day);
	return true;
}

enum db_result days_list(struct db *db, const char *family, uint32_t **days, size_t *count, struct db_problem *problem)
{
	struct names names = {.family = family};
	struct db_client client;
	char pattern[64];
	enum db_result result = db_client_pop(db, &client, problem);

	*days = NULL;
	*count = 0;
	if (result != DB_OK)
		return result;
	snprintf(pattern, sizeof(pattern), "^%.20s_([0-9]{4}|[0-9]{8})$", family);
	bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "nameOnly", BCON_BOOL(true), "filter", "{", "name",
				   "{", "$regex", BCON_UTF8(pattern), "}", "}");
	result = db_each(&client, NULL, command, look_at_name, &names, problem);
	bson_destroy(command);
	db_client_done(&client);
	if (result == DB_OK && names.days.failed)
		result = db_problem_set(problem, DB_LATER, "out of memory");
	if (result != DB_OK) {
		free(names.days.day);
		return result;
	}
	*days = names.days.day;
	*count = names.days.count;
	return DB_OK;
}
