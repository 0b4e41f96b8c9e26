/* SPDX-License-Identifier: GPL-2.0-or-later */
/* captures.c - which days the database has, and which captures there are in them. */
#include <stdlib.h>

#include "recorder/audit/events.h"
#include "recorder/audit/internal.h"
#include "recorder/core/util.h"

#define DAY_NS (86400ll * 1000000000)

/* ---- days -------------------------------------------------------------------------------------------------------- */

static bool day_in_range(const struct audit_run *run, uint32_t day)
{
	int64_t start, length = DAY_NS;

	if (days_is_year(day)) {
		start = clock_day_start(day * 10000 + 101);
		length = 366 * DAY_NS;
	} else {
		start = clock_day_start(day);
	}
	/* What begins in a day may last into the next one; and a day's first rows follow those of the day before. */
	return (!run->until || start < run->until + DAY_NS) && (!run->since || start + length > run->since - DAY_NS);
}

static enum db_result list_days(struct audit_run *run)
{
	enum db_result result = DB_OK;

	for (unsigned family = 0; result == DB_OK && family < AUDIT_FAMILIES; family++) {
		struct audit_days *days = &run->days[family];
		size_t kept = 0;

		result = days_list(run->db, audit_family_names[family], &days->day, &days->count, run->problem);
		for (size_t i = 0; result == DB_OK && i < days->count; i++)
			if (day_in_range(run, days->day[i]))
				days->day[kept++] = days->day[i];
		days->count = kept;
	}
	run->documents = calloc(run->days[AUDIT_PACKETS].count + 1, sizeof(*run->documents));
	run->buckets = calloc(run->days[AUDIT_PACKETS].count + 1, sizeof(*run->buckets));
	if (result == DB_OK && (!run->documents || !run->buckets))
		result = audit_no_memory(run);
	return result;
}

static void say_day(struct audit_run *run, uint32_t day)
{
	const struct audit_finding f = {.what = "day",
					.collection = "",
					.sensor = run->sensor ? run->sensor : "",
					.iface = "",
					.side = -1,
					.from = clock_day_start(day),
					.to = clock_day_start(day) + DAY_NS,
					.text = "nothing of this day is in the database, and no event says that capture had ended: dropped?"};

	run->say(run->arg, &f);
}

/* Days between the first and the last one of the range that have no collections. */
static enum db_result missing_days(struct audit_run *run)
{
	const struct audit_days *days = &run->days[AUDIT_BALANCE];
	const int64_t until = run->until && run->until < run->now ? run->until : run->now;
	enum db_result result = DB_OK;
	uint32_t day = 0, last = 0;

	for (size_t i = 0; i < days->count; i++)
		if (!days_is_year(days->day[i])) {
			day = day ? day : days->day[i];
			last = days->day[i];
		}
	if (run->since && (day || !days->count))
		day = clock_day(run->since);
	if ((run->since || run->until) && day)
		last = clock_day(until - 1);
	while (day && day <= last && result == DB_OK) {
		bool explained = false;

		if (audit_day_index(run, AUDIT_BALANCE, day) < 0) {
			result = audit_capture_was_off(run, clock_day_start(day), &explained);
			if (result == DB_OK && !explained)
				say_day(run, day);
		}
		day = clock_next_day(day);
	}
	return result;
}

/* ---- captures ---------------------------------------------------------------------------------------------------- */

struct naming {
	char sensor[AUDIT_NAME], iface[AUDIT_NAME];
};

static bool keep_names(void *arg, const bson_t *document)
{
	struct naming *names = arg;
	bson_iter_t it;

	if (bson_iter_init_find(&it, document, "sensor") && BSON_ITER_HOLDS_UTF8(&it))
		snprintf(names->sensor, sizeof(names->sensor), "%s", bson_iter_utf8(&it, NULL));
	if (bson_iter_init_find(&it, document, "iface") && BSON_ITER_HOLDS_UTF8(&it))
		snprintf(names->iface, sizeof(names->iface), "%s", bson_iter_utf8(&it, NULL));
	return false;
}

static enum db_result name_of(struct audit_run *run, const char *collection, const uint8_t *id, uint32_t len,
			      struct naming *names)
{
	bson_t *command = BCON_NEW("find", BCON_UTF8(collection), "filter", "{", "_id", BCON_BIN(BSON_SUBTYPE_BINARY, id, len), "}",
				   "limit", BCON_INT32(1), "maxTimeMS", BCON_INT32(DB_MAX_TIME_MS));
	enum db_result result;

	memset(names, 0, sizeof(*names));
	result = db_each(&run->client, NULL, command, keep_names, names, run->problem);
	bson_destroy(command);
	return result;
}

static bool is_known(const struct audit_run *run, const uint8_t *capture)
{
	for (size_t i = 0; i < run->ncaptures; i++)
		if (!memcmp(run->captures[i].of.capture, capture, CAPTURE_ID_LEN))
			return true;
	return false;
}

static enum db_result add_capture(struct audit_run *run, const uint8_t *id, const struct naming *names, bool file)
{
	struct audit_capture *more = realloc(run->captures, (run->ncaptures + 1) * sizeof(*more)), *c;

	if (!more)
		return audit_no_memory(run);
	run->captures = more;
	c = &more[run->ncaptures++];
	*c = (struct audit_capture){.file = file, .newest = UINT64_MAX, .first_sec = UINT64_MAX};
	memcpy(c->of.capture, id, CAPTURE_ID_LEN);
	memcpy(c->sensor, names->sensor, sizeof(c->sensor));
	memcpy(c->iface, names->iface, sizeof(c->iface));
	return DB_OK;
}

/* From one capture's first _id to the next one's: as many queries as captures. */
static enum db_result captures_of(struct audit_run *run, enum audit_family family, uint32_t day)
{
	uint8_t from[READ_ID_MOST] = {0}, to[READ_ID_MOST], id[READ_ID_MOST];
	char collection[DAYS_NAME];
	enum db_result result;
	uint32_t len;

	memset(to, 0xff, sizeof(to));
	days_collection(collection, audit_family_names[family], day);
	for (;;) {
		struct naming names;

		result = read_edge_id(&run->client, collection, from, to, audit_id_len[family], false, NULL, id, &len, run->problem);
		if (result != DB_OK || len != audit_id_len[family])
			return result;
		if (!is_known(run, id)) {
			result = name_of(run, collection, id, len, &names);
			if (result == DB_OK && audit_wants(run, names.sensor, names.iface))
				result = add_capture(run, id, &names, days_is_year(day));
			if (result != DB_OK)
				return result;
		}
		memset(from, 0xff, sizeof(from));
		memcpy(from, id, CAPTURE_ID_LEN);
		if (!memcmp(from, to, len))
			return DB_OK;
	}
}

static enum db_result find_captures(struct audit_run *run)
{
	enum db_result result = DB_OK;

	for (unsigned family = 0; family < AUDIT_PACKETS; family++)
		for (size_t i = 0; result == DB_OK && i < run->days[family].count; i++)
			result = captures_of(run, family, run->days[family].day[i]);
	for (size_t i = 0; i < run->ncaptures; i++) {
		struct audit_capture *c = &run->captures[i];

		c->of.sensor = c->sensor;
		c->of.iface = c->iface;
		c->of.say = run->say;
		c->of.arg = run->arg;
	}
	return result;
}

enum db_result audit_find_captures(struct audit_run *run)
{
	enum db_result result = list_days(run);

	if (result == DB_OK)
		result = find_captures(run);
	return result == DB_OK ? missing_days(run) : result;
}
