/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One collection of a day: made unless it is there, then looked at. And the span that a new packets_* gets. */
#include "recorder/db/days_internal.h"

#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/db/ensure.h"

#define YEAR_SPAN_S 3600 /* a capture's packets come at once, in order of time: buckets fill by count, not by age */
#define FILL 1000.0	 /* packets that a bucket should have (encode/bucket.h) */

#define WIRE_TIME_SERIES 13 /* MongoDB 5.0 */
#define WIRE_SPAN 20	    /* 6.3: bucketMaxSpanSeconds is the user's to choose */

#define RATE_OVER_S 86400
#define RATE_LEAST_S 60 /* a capture that has just begun says little */
#define RATE_MS 2000	/* the question is not worth more */

/* ---- the span ---------------------------------------------------------------------------------------------- */

unsigned days_span_for(double rate)
{
	static const unsigned spans[] = {1, 10, 60, 600};
	size_t i = 0;

	if (!(rate > 0))
		return 10;
	while (i + 1 < ARRAY_SIZE(spans) && rate * spans[i] < FILL)
		i++;
	return spans[i];
}

struct busiest {
	int64_t now_ms;
	double rate;
};

/* {_id: {sensor, iface}, packets, first} */
static bool look_at_rate(void *arg, const bson_t *doc)
{
	struct busiest *busiest = arg;
	bson_iter_t packets, first;

	if (!bson_iter_init_find(&packets, doc, "packets") || !BSON_ITER_HOLDS_NUMBER(&packets) ||
	    !bson_iter_init_find(&first, doc, "first") || !BSON_ITER_HOLDS_DATE_TIME(&first))
		return true;
	double seconds = (double)(busiest->now_ms - bson_iter_date_time(&first)) / 1000;
	double rate = bson_iter_as_double(&packets) / (seconds > RATE_LEAST_S ? seconds : RATE_LEAST_S);
	if (rate > busiest->rate)
		busiest->rate = rate;
	return true;
}

/*
 * Packets a second of the busiest interface in the 24 h before now, or since it began; from the balance, which is
 * there whatever form the packets have.
 */
static enum db_result ask_rate(struct db_client *client, double *rate, struct db_problem *problem)
{
	int64_t now = clock_wall_ns(), since = now - RATE_OVER_S * (int64_t)NS_PER_SEC;
	struct busiest busiest = {.now_ms = clock_ms(now)};
	char yesterday[DAYS_NAME], today[DAYS_NAME];
	bson_t *match = BCON_NEW("$match", "{", "ts", "{", "$gte", BCON_DATE_TIME(clock_ms(since)), "$lt",
				 BCON_DATE_TIME(busiest.now_ms), "}", "}");
	bson_t *command =
		BCON_NEW("aggregate", BCON_UTF8(days_collection(yesterday, "balance", clock_day(since))), "pipeline",
			 "[", BCON_DOCUMENT(match), "{", "$unionWith", "{", "coll",
			 BCON_UTF8(days_collection(today, "balance", clock_day(now))), "pipeline", "[",
			 BCON_DOCUMENT(match), "]", "}", "}", "{", "$group", "{", "_id", "{", "sensor", "$sensor",
			 "iface", "$iface", "}", "packets", "{", "$sum", "$stored.packets", "}", "first", "{", "$min",
			 "$ts", "}", "}", "}", "]", "cursor", "{", "}", "maxTimeMS", BCON_INT32(RATE_MS));
	enum db_result result = db_each(client, NULL, command, look_at_rate, &busiest, problem);

	bson_destroy(command);
	bson_destroy(match);
	*rate = busiest.rate;
	return result;
}

/* Without an answer the day is made all the same: a span that does not fit costs bytes, a day that is missing packets.
 */
static unsigned choose_span(struct days *days, struct db_client *client, const char *name, uint32_t day)
{
	struct db_problem problem;
	double rate = 0;

	if (days_is_year(day))
		return YEAR_SPAN_S;
	if (days->span_s)
		return days->span_s;
	if (ask_rate(client, &rate, &problem) != DB_OK) {
		rate = 0;
		log_warn("the rate of the last day is not known, %s gets a span of %u s: %s", name, days_span_for(0),
			 problem.text);
	}
	log_debug("%s: %.1f packets a second before it, span %u s", name, rate, days_span_for(rate));
	return days_span_for(rate);
}

/* ---- collections ------------------------------------------------------------------------------------------- */

/*
 * The template's options, with the span of today's choice; servers that know no free span get the nearest thing.
 * `engine`: with what they say to the storage engine.
 */
static void append_options(bson_t *command, const bson_t *options, unsigned span_s, int32_t wire, bool engine)
{
	bson_iter_t it;
	bson_t series, copy;

	if (!bson_iter_init(&it, options))
		return;
	while (bson_iter_next(&it)) {
		if (!engine && !strcmp(bson_iter_key(&it), "storageEngine"))
			continue;
		if (strcmp(bson_iter_key(&it), "timeseries") || !ensure_inside(&it, &series)) {
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

static enum db_result create_indexes(struct db_client *client, const char *name, const bson_t *indexes,
				     struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "createIndexes", name);
	BSON_APPEND_ARRAY(&command, "indexes", indexes);
	result = ensure_command(client, &command, problem);
	bson_destroy(&command);
	return result;
}

/* The same indexes, without what they say to the storage engine. */
static void without_engine(const bson_t *indexes, bson_t *out)
{
	bson_iter_t it;
	bson_t index, copy;

	bson_init(out);
	if (!bson_iter_init(&it, indexes))
		return;
	while (bson_iter_next(&it)) {
		if (!ensure_inside(&it, &index))
			continue;
		BSON_APPEND_DOCUMENT_BEGIN(out, bson_iter_key(&it), &copy);
		bson_copy_to_excluding_noinit(&index, &copy, "storageEngine", (char *)NULL);
		bson_append_document_end(out, &copy);
	}
}

static enum db_result make_indexes(struct db_client *client, const char *name, const bson_t *template,
				   struct db_problem *problem)
{
	enum db_result result;
	bson_t indexes, plain;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, template, "indexes") || !ensure_inside(&it, &indexes) || bson_empty(&indexes))
		return DB_OK;
	result = create_indexes(client, name, &indexes, problem);
	if (result != DB_FATAL && result != DB_REFUSED)
		return result;
	/* A server that lets nobody choose, or a day that has them already in the server's own form: as good. */
	without_engine(&indexes, &plain);
	if (!bson_equal(&indexes, &plain))
		result = create_indexes(client, name, &plain, problem);
	bson_destroy(&plain);
	return result;
}

/* Indexes that the server makes by itself and that only cost. One that it keeps does no harm. */
static enum db_result drop_indexes(struct db_client *client, const char *name, const bson_t *template,
				   struct db_problem *problem)
{
	enum db_result result = DB_OK;
	bson_iter_t it, index;

	if (!bson_iter_init_find(&it, template, "drop") || !bson_iter_recurse(&it, &index))
		return DB_OK;
	while (result == DB_OK && bson_iter_next(&index)) {
		bson_t *command =
			BCON_NEW("dropIndexes", BCON_UTF8(name), "index", BCON_UTF8(bson_iter_utf8(&index, NULL)));

		result = ensure_command(client, command, problem);
		bson_destroy(command);
		if (result != DB_REFUSED)
			continue;
		log_warn("%s keeps its index %s: %s", name, bson_iter_utf8(&index, NULL), problem->text);
		result = DB_OK;
	}
	return result;
}

static enum db_result create_collection(struct db_client *client, const char *name, const bson_t *options,
					unsigned span_s, int32_t wire, bool engine, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER;
	enum db_result result;

	BSON_APPEND_UTF8(&command, "create", name);
	append_options(&command, options, span_s, wire, engine);
	result = ensure_command(client, &command, problem);
	bson_destroy(&command);
	return result;
}

static enum db_result make_collection(struct db_client *client, const char *name, const bson_t *template,
				      unsigned span_s, int32_t wire, struct db_problem *problem)
{
	enum db_result result;
	bson_iter_t it;
	bson_t options;

	if (!bson_iter_init_find(&it, template, "options") || !ensure_inside(&it, &options))
		return db_problem_set(problem, DB_FATAL, "no migration says how %s is made", name);
	result = create_collection(client, name, &options, span_s, wire, true, problem);
	/* As with indexes: a server that lets nobody choose, or a day that is there in the server's own form. */
	if ((result == DB_REFUSED || result == DB_FATAL) && bson_has_field(&options, "storageEngine"))
		result = create_collection(client, name, &options, span_s, wire, false, problem);
	if (result == DB_FATAL && bson_has_field(&options, "timeseries")) {
		struct db_problem first = *problem;
		result = check_series(client, name, template, problem);
		if (result != DB_OK)
			*problem = first;
	}
	return result;
}

/* The span that is there may be another recorder's choice, so it is asked for again where this call made it. */
static enum db_result make_packets(struct days *days, struct db_client *client, const char *name, uint32_t day,
				   const bson_t *template, bool there, int32_t wire, struct db_problem *problem)
{
	enum db_result result = DB_OK;
	unsigned span_s;
	bool found;

	if (wire < WIRE_TIME_SERIES)
		return db_problem_set(problem, DB_FATAL,
				      "%s: the server has no time-series collections; MongoDB 5.0 or later is needed",
				      db_where(days->db));
	if (!there)
		result = days_look_at_packets(days, client, day, &there, problem);
	if (result != DB_OK)
		return result;
	span_s = there ? days_span(days, day) : choose_span(days, client, name, day);
	result = make_collection(client, name, template, span_s ? span_s : days_span_for(0), wire, problem);
	if (result == DB_OK)
		result = make_indexes(client, name, template, problem);
	if (result == DB_OK && !there)
		result = drop_indexes(client, name, template, problem);
	if (result == DB_OK && !there)
		result = days_look_at_packets(days, client, day, &found, problem);
	return result;
}

enum db_result days_make(struct days *days, struct db_client *client, unsigned family, uint32_t day, bool there,
			 int32_t wire, struct db_problem *problem)
{
	char name[DAYS_NAME];
	enum db_result result;
	bson_t template;

	days_collection(name, days_families[family], day);
	if (!migrations_daily(days->migrations, days_families[family], &template))
		return db_problem_set(problem, DB_FATAL, "no migration says how %s is made", name);
	if (family == DAYS_PACKETS)
		return make_packets(days, client, name, day, &template, there, wire, problem);
	result = make_collection(client, name, &template, 0, wire, problem);
	return result == DB_OK ? make_indexes(client, name, &template, problem) : result;
}
