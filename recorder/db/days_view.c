/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The view over the daily collections: what it must hold, and changing it as seldom as that allows. */
#include "recorder/db/days_internal.h"

#include "recorder/core/clock.h"
#include "recorder/db/ensure.h"

#define COMMAND_NOT_FOUND 59

/* As many of the days, and as many of the years, which are the smaller numbers. */
static void newest(struct days_set *out, const struct days_set *from, size_t count)
{
	size_t years = 0;

	while (years < from->count && days_is_year(from->day[years]))
		years++;
	for (size_t i = years > count ? years - count : 0; i < years; i++)
		days_set_add(out, from->day[i]);
	for (size_t i = from->count - years > count ? from->count - count : years; i < from->count; i++)
		days_set_add(out, from->day[i]);
}

/* Years come with an import, not with the calendar. */
static void coming(struct days_set *out, uint32_t day, unsigned count)
{
	for (unsigned i = 0; !days_is_year(day) && i <= count; i++, day = clock_next_day(day))
		days_set_add(out, day);
}

static bool view_will_do(const struct days_listing *listing, uint32_t last)
{
	struct days_set must = {0};
	bool yes = listing->view_is == DAYS_VIEW_OURS;

	newest(&must, &listing->of[0], DAYS_VIEW_PAST);
	coming(&must, last, DAYS_VIEW_LEAST);
	for (size_t i = 0; yes && i < must.count; i++)
		yes = days_set_has(&listing->view, must.day[i]);
	yes = yes || must.failed;
	free(must.day);
	return yes;
}

/*
 * Coming days that another recorder put there stay, at most as many as we put there ourselves: clocks differ, and
 * two recorders must not take each other's days out in turns.
 */
static void view_wanted(const struct days_listing *listing, uint32_t last, struct days_set *want)
{
	size_t others = 0;

	newest(want, &listing->of[0], DAYS_VIEW_PAST);
	coming(want, last, DAYS_VIEW_COMING);
	for (size_t i = listing->view.count; i-- > 0 && others < DAYS_VIEW_COMING;) {
		uint32_t day = listing->view.day[i];
		if (!days_is_year(day) && !days_set_has(want, day) && !days_set_has(&listing->of[0], day)) {
			days_set_add(want, day);
			others++;
		}
	}
}

/* Oldest first, so that a find() without sort gives the packets about in the order of time. */
static void append_view(bson_t *command, const struct days_set *want)
{
	char name[DAYS_NAME], key[16];
	const char *index;
	bson_t pipeline, stage;

	BSON_APPEND_UTF8(command, "viewOn", days_collection(name, DAYS_VIEW, want->day[0]));
	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
	for (size_t i = 1; i < want->count; i++) {
		bson_uint32_to_string((uint32_t)i - 1, &index, key, sizeof(key));
		BSON_APPEND_DOCUMENT_BEGIN(&pipeline, index, &stage);
		BSON_APPEND_UTF8(&stage, "$unionWith", days_collection(name, DAYS_VIEW, want->day[i]));
		bson_append_document_end(&pipeline, &stage);
	}
	bson_append_array_end(command, &pipeline);
}

/*
 * collMod changes it in one step. A server without it (the local engine) needs drop and create, between which the view
 * is empty to readers: that is why it is done so seldom.
 */
static enum db_result change_view(struct db_client *client, const struct days_listing *listing, uint32_t last,
				  struct db_problem *problem)
{
	struct days_set want = {0};
	bson_t command;
	enum db_result result = DB_OK;
	bool replaced = false;

	view_wanted(listing, last, &want);
	if (want.failed || !want.count) {
		free(want.day);
		return db_problem_set(problem, DB_LATER, "out of memory");
	}
	if (listing->view_is == DAYS_VIEW_OURS) {
		bson_init(&command);
		BSON_APPEND_UTF8(&command, "collMod", DAYS_VIEW);
		append_view(&command, &want);
		result = ensure_command(client, &command, problem);
		bson_destroy(&command);
		replaced = result == DB_OK;
		if (result == DB_REFUSED && problem->code == COMMAND_NOT_FOUND) {
			bson_t *drop = BCON_NEW("drop", DAYS_VIEW);
			client->until_ns = 0; /* not to stop half-way */
			result = ensure_command(client, drop, problem);
			bson_destroy(drop);
		}
	}
	if (result == DB_OK && !replaced) {
		bson_init(&command);
		BSON_APPEND_UTF8(&command, "create", DAYS_VIEW);
		append_view(&command, &want);
		result = ensure_command(client, &command, problem);
		bson_destroy(&command);
		if (result == DB_FATAL) /* somebody was faster: what he made is looked at next */
			problem->result = result = DB_LATER;
	}
	free(want.day);
	return result;
}

enum db_result days_keep_view(struct days *days, struct db_client *client, struct days_listing *listing, uint32_t last,
			      struct db_problem *problem)
{
	enum db_result result;

	for (unsigned tries = 0; tries < 4; tries++) {
		if (listing->view_is == DAYS_VIEW_FOREIGN)
			return db_problem_set(problem, DB_FATAL,
					      "%s: '" DAYS_VIEW "' is a collection; the view of all days needs the "
								"name: rename it, or use another database",
					      db_where(days->db));
		if (view_will_do(listing, last))
			return DB_OK;
		result = change_view(client, listing, last, problem);
		if (result != DB_OK && result != DB_LATER)
			return result;
		days_listing_free(listing);
		enum db_result listed = days_look(days, client, 0, 0, listing, problem);
		if (listed != DB_OK)
			return listed;
	}
	return db_problem_set(problem, DB_LATER, "%s: others change the view '" DAYS_VIEW "' too", db_where(days->db));
}
