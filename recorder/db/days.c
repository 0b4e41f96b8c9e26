/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/days.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/ensure.h"

#define DAYS_MAX 62u
#define YEAR_SPAN_S 3600 /* a capture's packets come at once, in order of time: buckets fill by count, not by age */
#define READY 64u /* days that a process remembers: more than it writes to at a time */
#define PATIENCE_MS                                                                                                    \
	3000 /* a call does not begin another command after that: what is missing comes with the next call */

#define WIRE_TIME_SERIES 13 /* MongoDB 5.0 */
#define WIRE_SPAN 20	    /* 6.3: bucketMaxSpanSeconds is the user's to choose */

#define COMMAND_NOT_FOUND 59

static const char *const families[] = {"packets", "balance", "batches", "floods"};

struct days {
	struct db *db;
	const struct migrations *migrations;
	_Atomic unsigned span_s;

	pthread_mutex_t lock;  /* held for a few instructions, never over a call */
	uint32_t ready[READY]; /* 0 = free */
	struct db_peer peer;   /* who said so: a server that was killed may have forgotten what it made last */
};

struct days *days_new(struct db *db, const struct migrations *migrations, unsigned span_s)
{
	struct days *days = calloc(1, sizeof(*days));

	if (!days)
		return NULL;
	days->db = db;
	days->migrations = migrations;
	days->span_s = span_s;
	pthread_mutex_init(&days->lock, NULL);
	return days;
}

void days_free(struct days *days)
{
	if (!days)
		return;
	pthread_mutex_destroy(&days->lock);
	free(days);
}

void days_set_span(struct days *days, unsigned span_s)
{
	days->span_s = span_s;
}

char *days_collection(char out[DAYS_NAME], const char *family, uint32_t day)
{
	snprintf(out, DAYS_NAME, days_is_year(day) ? "%.20s_%04u" : "%.20s_%08u", family, day);
	return out;
}

static uint32_t next_period(uint32_t day)
{
	return days_is_year(day) ? day + 1 : clock_next_day(day);
}

/* ---- what this process knows to be there ------------------------------------------------------------------- */

static bool is_ready(struct days *days, uint32_t day, const struct db_peer *peer)
{
	bool ready = false;

	pthread_mutex_lock(&days->lock);
	if (!db_peer_same_process(&days->peer, peer) && peer->kind == DB_STANDALONE) {
		memset(days->ready, 0, sizeof(days->ready));
		days->peer = *peer;
	}
	for (unsigned i = 0; i < READY; i++)
		ready |= days->ready[i] == day;
	pthread_mutex_unlock(&days->lock);
	return ready;
}

/* Forgetting one that is still needed costs a look at the server, no more. */
static void set_ready(struct days *days, uint32_t day, const struct db_peer *peer)
{
	unsigned at = day % READY;

	pthread_mutex_lock(&days->lock);
	for (unsigned i = 0; i < READY; i++)
		if (!days->ready[i])
			at = i;
	for (unsigned i = 0; i < READY; i++)
		if (days->ready[i] == day)
			at = i;
	if (db_peer_same_process(&days->peer, peer) || peer->kind != DB_STANDALONE)
		days->ready[at] = day;
	pthread_mutex_unlock(&days->lock);
}

void days_forget(struct days *days, uint32_t day)
{
	pthread_mutex_lock(&days->lock);
	for (unsigned i = 0; i < READY; i++)
		if (days->ready[i] == day)
			days->ready[i] = 0;
	pthread_mutex_unlock(&days->lock);
}

/* ---- what is there ----------------------------------------------------------------------------------------- */

/* A set of days, ascending. */
struct set {
	uint32_t *day;
	size_t count, room;
	bool failed; /* out of memory */
};

static void set_add(struct set *set, uint32_t day)
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

static bool set_has(const struct set *set, uint32_t day)
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

struct listing {
	struct set of[ARRAY_SIZE(families)];
	struct set view; /* the days that the view unites */
	enum { VIEW_NONE, VIEW_OURS, VIEW_FOREIGN } view_is;
};

static void listing_free(struct listing *listing)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		free(listing->of[i].day);
	free(listing->view.day);
}

static bool listing_failed(const struct listing *listing)
{
	bool failed = listing->view.failed;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		failed |= listing->of[i].failed;
	return failed;
}

/* {viewOn: D, pipeline: [{$unionWith: D | {coll: D}}...]} */
static void look_at_view(struct listing *listing, const bson_t *collection)
{
	bson_iter_t it, stage, on;
	bson_t options, inside;

	listing->view_is = VIEW_FOREIGN;
	if (!bson_iter_init_find(&it, collection, "type") || !BSON_ITER_HOLDS_UTF8(&it) ||
	    strcmp(bson_iter_utf8(&it, NULL), "view"))
		return;
	if (!bson_iter_init_find(&it, collection, "options") || !ensure_inside(&it, &options) ||
	    !bson_iter_init_find(&it, &options, "viewOn") || !BSON_ITER_HOLDS_UTF8(&it))
		return;
	listing->view_is = VIEW_OURS;
	set_add(&listing->view, day_of(bson_iter_utf8(&it, NULL), DAYS_VIEW));
	if (!bson_iter_init_find(&it, &options, "pipeline") || !bson_iter_recurse(&it, &stage))
		return;
	while (bson_iter_next(&stage)) {
		if (!ensure_inside(&stage, &inside) || !bson_iter_init_find(&on, &inside, "$unionWith"))
			continue;
		if (ensure_inside(&on, &inside) && !bson_iter_init_find(&on, &inside, "coll"))
			continue;
		if (BSON_ITER_HOLDS_UTF8(&on))
			set_add(&listing->view, day_of(bson_iter_utf8(&on, NULL), DAYS_VIEW));
	}
}

static bool look_at(void *arg, const bson_t *collection)
{
	struct listing *listing = arg;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, collection, "name") || !BSON_ITER_HOLDS_UTF8(&it))
		return true;
	const char *name = bson_iter_utf8(&it, NULL);
	if (!strcmp(name, DAYS_VIEW))
		look_at_view(listing, collection);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		uint32_t day = day_of(name, families[i]);
		if (day)
			set_add(&listing->of[i], day);
	}
	return true;
}

static enum db_result list(struct db_client *client, struct listing *listing, struct db_problem *problem)
{
	bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", "{", "$regex",
				   "^(packets|(packets|balance|batches|floods)_([0-9]{4}|[0-9]{8}))$", "}", "}");
	enum db_result result;

	memset(listing, 0, sizeof(*listing));
	result = db_each(client, NULL, command, look_at, listing, problem);
	if (result == DB_OK && listing_failed(listing))
		result = db_problem_set(problem, DB_LATER, "out of memory");
	bson_destroy(command);
	return result;
}

/* ---- collections ------------------------------------------------------------------------------------------- */

/* The template's options, with the span of today's choice; servers that know no free span get the nearest thing. */
static void append_options(bson_t *command, const bson_t *options, unsigned span_s, int32_t wire)
{
	bson_iter_t it;
	bson_t series, copy;

	if (!bson_iter_init(&it, options))
		return;
	while (bson_iter_next(&it)) {
		if (strcmp(bson_iter_key(&it), "timeseries") || !ensure_inside(&it, &series) ||
		    (!span_s && wire >= WIRE_SPAN)) {
			bson_append_iter(command, NULL, -1, &it);
			continue;
		}
		BSON_APPEND_DOCUMENT_BEGIN(command, "timeseries", &copy);
		bson_copy_to_excluding_noinit(&series, &copy, "bucketMaxSpanSeconds", "bucketRoundingSeconds",
					      "granularity", (char *)NULL);
		if (wire >= WIRE_SPAN) {
			BSON_APPEND_INT32(&copy, "bucketMaxSpanSeconds", (int32_t)span_s);
			BSON_APPEND_INT32(&copy, "bucketRoundingSeconds", (int32_t)span_s);
		} else {
			BSON_APPEND_UTF8(&copy, "granularity", "seconds");
		}
		bson_append_document_end(command, &copy);
	}
}

/* Another recorder may have made it with another span: that is as good. Anything but a time series is not. */
static enum db_result check_series(struct db_client *client, const char *name, const bson_t *template,
				   struct db_problem *problem)
{
	bson_iter_t it, field;
	bson_t options, series, command = BSON_INITIALIZER, wanted;
	enum db_result result;

	if (!bson_iter_init_find(&it, template, "options") || !ensure_inside(&it, &options) ||
	    !bson_iter_init_find(&it, &options, "timeseries") || !ensure_inside(&it, &series)) {
		bson_destroy(&command);
		return DB_FATAL;
	}
	/* ensure_command compares with what is there; only the fields that must agree are asked for. */
	BSON_APPEND_UTF8(&command, "create", name);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "timeseries", &wanted);
	if (bson_iter_init_find(&field, &series, "timeField"))
		bson_append_iter(&wanted, NULL, -1, &field);
	if (bson_iter_init_find(&field, &series, "metaField"))
		bson_append_iter(&wanted, NULL, -1, &field);
	bson_append_document_end(&command, &wanted);
	result = ensure_command(client, &command, problem);
	bson_destroy(&command);
	return result;
}

static enum db_result make(struct days *days, struct db_client *client, const char *family, uint32_t day, int32_t wire,
			   struct db_problem *problem)
{
	char name[DAYS_NAME];
	bson_t template, options, indexes, command;
	bson_iter_t it;
	enum db_result result;

	days_collection(name, family, day);
	if (!migrations_daily(days->migrations, family, &template) || !bson_iter_init_find(&it, &template, "options") ||
	    !ensure_inside(&it, &options))
		return db_problem_set(problem, DB_FATAL, "no migration says how %s is made", name);
	bool series = bson_has_field(&options, "timeseries");
	if (series && wire < WIRE_TIME_SERIES)
		return db_problem_set(problem, DB_FATAL,
				      "%s: the server has no time-series collections; MongoDB 5.0 or later is needed",
				      db_where(days->db));

	bson_init(&command);
	BSON_APPEND_UTF8(&command, "create", name);
	append_options(&command, &options, days_is_year(day) ? YEAR_SPAN_S : days->span_s, wire);
	result = ensure_command(client, &command, problem);
	bson_destroy(&command);
	if (result == DB_FATAL && series) {
		struct db_problem first = *problem;
		result = check_series(client, name, &template, problem);
		if (result != DB_OK)
			*problem = first;
	}
	if (result != DB_OK || !bson_iter_init_find(&it, &template, "indexes") || !ensure_inside(&it, &indexes) ||
	    bson_empty(&indexes))
		return result;

	bson_init(&command);
	BSON_APPEND_UTF8(&command, "createIndexes", name);
	BSON_APPEND_ARRAY(&command, "indexes", &indexes);
	result = ensure_command(client, &command, problem);
	bson_destroy(&command);
	return result;
}

/* All families of a day. `there`: what the server has now (NULL: what this process remembers will do). */
static enum db_result make_day(struct days *days, struct db_client *client, uint32_t day, const struct listing *there,
			       struct db_problem *problem)
{
	struct db_peer peer;
	enum db_result result = db_peer(client, &peer, problem);
	bool all = result == DB_OK && is_ready(days, day, &peer);

	for (size_t i = 0; there && all && i < ARRAY_SIZE(families); i++)
		all = set_has(&there->of[i], day);
	if (all)
		return DB_OK;
	for (size_t i = 0; result == DB_OK && i < ARRAY_SIZE(families); i++)
		result = make(days, client, families[i], day, peer.wire, problem);
	if (result == DB_OK)
		set_ready(days, day, &peer);
	return result;
}

/* ---- the view ---------------------------------------------------------------------------------------------- */

/* As many of the days, and as many of the years, which are the smaller numbers. */
static void newest(struct set *out, const struct set *from, size_t count)
{
	size_t years = 0;

	while (years < from->count && days_is_year(from->day[years]))
		years++;
	for (size_t i = years > count ? years - count : 0; i < years; i++)
		set_add(out, from->day[i]);
	for (size_t i = from->count - years > count ? from->count - count : years; i < from->count; i++)
		set_add(out, from->day[i]);
}

/* Years come with an import, not with the calendar. */
static void coming(struct set *out, uint32_t day, unsigned count)
{
	for (unsigned i = 0; !days_is_year(day) && i <= count; i++, day = clock_next_day(day))
		set_add(out, day);
}

static bool view_will_do(const struct listing *listing, uint32_t last)
{
	struct set must = {0};
	bool yes = listing->view_is == VIEW_OURS;

	newest(&must, &listing->of[0], DAYS_VIEW_PAST);
	coming(&must, last, DAYS_VIEW_LEAST);
	for (size_t i = 0; yes && i < must.count; i++)
		yes = set_has(&listing->view, must.day[i]);
	yes = yes || must.failed;
	free(must.day);
	return yes;
}

/*
 * Coming days that another recorder put there stay, at most as many as we put there ourselves: clocks differ, and
 * two recorders must not take each other's days out in turns.
 */
static void view_wanted(const struct listing *listing, uint32_t last, struct set *want)
{
	size_t others = 0;

	newest(want, &listing->of[0], DAYS_VIEW_PAST);
	coming(want, last, DAYS_VIEW_COMING);
	for (size_t i = listing->view.count; i-- > 0 && others < DAYS_VIEW_COMING;) {
		uint32_t day = listing->view.day[i];
		if (!days_is_year(day) && !set_has(want, day) && !set_has(&listing->of[0], day)) {
			set_add(want, day);
			others++;
		}
	}
}

/* Oldest first, so that a find() without sort gives the packets about in the order of time. */
static void append_view(bson_t *command, const struct set *want)
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
static enum db_result change_view(struct db_client *client, const struct listing *listing, uint32_t last,
				  struct db_problem *problem)
{
	struct set want = {0};
	bson_t command;
	enum db_result result = DB_OK;
	bool replaced = false;

	view_wanted(listing, last, &want);
	if (want.failed || !want.count) {
		free(want.day);
		return db_problem_set(problem, DB_LATER, "out of memory");
	}
	if (listing->view_is == VIEW_OURS) {
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

static enum db_result keep_view(struct days *days, struct db_client *client, struct listing *listing, uint32_t last,
				struct db_problem *problem)
{
	enum db_result result;

	for (unsigned tries = 0; tries < 4; tries++) {
		if (listing->view_is == VIEW_FOREIGN)
			return db_problem_set(problem, DB_FATAL,
					      "%s: '" DAYS_VIEW "' is a collection; the view of all days needs the "
								"name: rename it, or use another database",
					      db_where(days->db));
		if (view_will_do(listing, last))
			return DB_OK;
		result = change_view(client, listing, last, problem);
		if (result != DB_OK && result != DB_LATER)
			return result;
		listing_free(listing);
		enum db_result listed = list(client, listing, problem);
		if (listed != DB_OK)
			return listed;
	}
	return db_problem_set(problem, DB_LATER, "%s: others change the view '" DAYS_VIEW "' too", db_where(days->db));
}

/* ---- from outside ------------------------------------------------------------------------------------------ */

enum db_result days_prepare(struct days *days, uint32_t first, uint32_t last, struct db_problem *problem)
{
	struct db_client client;
	struct listing there = {0};
	enum db_result result = db_client_pop(days->db, &client, problem);
	unsigned n = 0;

	if (result != DB_OK)
		return result;
	client.until_ns = clock_boot_ns() + PATIENCE_MS * 1000000ull;
	result = list(&client, &there, problem);
	if (result == DB_OK && days_is_year(first) != days_is_year(last))
		result = db_problem_set(problem, DB_FATAL, "%u to %u: days and years do not go together", first, last);
	for (uint32_t day = first; result == DB_OK && day <= last; day = next_period(day)) {
		if (++n > DAYS_MAX)
			result = db_problem_set(problem, DB_FATAL, "more than %u days at once", DAYS_MAX);
		else
			result = make_day(days, &client, day, &there, problem);
		for (size_t i = 0; result == DB_OK && i < ARRAY_SIZE(families); i++)
			set_add(&there.of[i], day);
	}
	if (result == DB_OK)
		result = keep_view(days, &client, &there, last, problem);
	listing_free(&there);
	db_client_done(&client);
	return result;
}

enum db_result days_need(struct days *days, struct db_client *client, uint32_t day, struct db_problem *problem)
{
	return make_day(days, client, day, NULL, problem);
}

struct names {
	const char *family;
	struct set days;
};

static bool look_at_name(void *arg, const bson_t *collection)
{
	struct names *names = arg;
	bson_iter_t it;
	uint32_t day = 0;

	if (bson_iter_init_find(&it, collection, "name") && BSON_ITER_HOLDS_UTF8(&it))
		day = day_of(bson_iter_utf8(&it, NULL), names->family);
	if (day)
		set_add(&names->days, day);
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
