/* SPDX-License-Identifier: GPL-2.0-or-later */
/* audit_run.c - which captures there are, what part of each is of the range, and what of it is final. */
#include "recorder/cli/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "recorder/cli/audit_events.h"
#include "recorder/core/util.h"
#include "recorder/db/read_bucket.h"
#include "recorder/ledger/flood_rows.h"

#define DAY_NS (86400ll * 1000000000)
/* A live capture writes a row each minute at the latest; so long after its last one it is taken for dead. */
#define SILENCE_NS (150ll * 1000000000)
/* A batch stays open for a bucket's span, an hour at most; an epoch of summaries is a matter of seconds. */
#define OPEN_S 3700u
#define EPOCH_S 300u
#define SETTLE_TRIES 40 /* half a second each: batches in flight are acknowledged in any order */
#define IN_FLIGHT 16u

const char *const audit_family_names[AUDIT_FAMILIES] = {"balance", "batches", "floods", "packets"};
static const uint32_t id_len[AUDIT_FAMILIES] = {BALANCE_ID_LEN, LEDGER_ID_LEN, FLOOD_ID_LEN, 0};

void audit_note(struct audit_run *run, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	run->note(run->arg, text);
}

enum db_result audit_no_memory(struct audit_run *run)
{
	return db_problem_set(run->problem, DB_LATER, "out of memory");
}

long audit_day_index(const struct audit_run *run, enum audit_family family, uint32_t day)
{
	for (size_t i = 0; i < run->days[family].count; i++)
		if (run->days[family].day[i] == day)
			return (long)i;
	return -1;
}

bool audit_wants(const struct audit_run *run, const char *sensor, const char *iface)
{
	const struct settings_list *ifaces = &run->settings->interfaces;
	bool wanted = ifaces->count == 0;

	if (run->sensor && strcmp(run->sensor, sensor))
		return false;
	for (size_t i = 0; i < ifaces->count; i++)
		wanted |= !strcmp(ifaces->items[i], iface);
	return wanted;
}

void audit_id_range(uint8_t *from, uint8_t *to, uint32_t len, const uint8_t capture[CAPTURE_ID_LEN])
{
	memset(from, 0, len);
	memset(to, 0xff, len);
	memcpy(from, capture, CAPTURE_ID_LEN);
	memcpy(to, capture, CAPTURE_ID_LEN);
}

struct read_stream *audit_stream(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to,
				 uint32_t len, const bson_t *filter, const bson_t *projection)
{
	struct read_stream_options o = {
		.family = audit_family_names[family],
		.days = run->days[family].day,
		.ndays = run->days[family].count,
		.id_len = len,
		.filter = filter,
		.projection = projection,
		.page = family == AUDIT_BATCHES && !projection ? 32 : 2000,
	};

	memcpy(o.from, from, len);
	memcpy(o.to, to, len);
	return read_stream_open(&run->client, &o);
}

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

		result = read_edge_id(&run->client, collection, from, to, id_len[family], false, NULL, id, &len, run->problem);
		if (result != DB_OK || len != id_len[family])
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

/* ---- one capture: its part of the range -------------------------------------------------------------------------- */

/* Of all days, the smallest or greatest _id between two. */
static enum db_result edge(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to, bool greatest,
			   const bson_t *filter, uint8_t *id, bool *found)
{
	enum db_result result = DB_OK;

	*found = false;
	for (size_t i = 0; result == DB_OK && i < run->days[family].count; i++) {
		uint8_t one[READ_ID_MOST];
		char name[DAYS_NAME];
		uint32_t len;

		result = read_edge_id(&run->client, days_collection(name, audit_family_names[family], run->days[family].day[i]), from,
				      to, id_len[family], greatest, filter, one, &len, run->problem);
		if (result != DB_OK || len != id_len[family])
			continue;
		if (!*found || (memcmp(one, id, len) > 0) == greatest)
			memcpy(id, one, len);
		*found = true;
	}
	return result;
}

/* The document of an _id, read; false in *found when there is none. */
static enum db_result row_at(struct audit_run *run, const uint8_t *id, struct balance_read *row, bool *found)
{
	struct read_stream *stream = audit_stream(run, AUDIT_BALANCE, id, id, BALANCE_ID_LEN, NULL, NULL);
	const bson_t *document = NULL;
	enum db_result result = stream ? DB_OK : audit_no_memory(run);
	uint32_t day;

	if (result == DB_OK)
		result = read_stream_next(stream, &document, &day, run->problem);
	*found = result == DB_OK && document && !balance_read(document, row, NULL);
	read_stream_close(stream);
	return result;
}

struct span {
	bool there;
	uint64_t from, to;	 /* boot seconds that begin rows of the range; to: end of the last one */
	int64_t wall_from, wall_to;
	bool has_before;
	uint64_t before; /* end of the row in front of the range */
	uint64_t last_sec; /* the last row's */
};

static void append_ts(bson_t *filter, const struct audit_run *run)
{
	bson_t range;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "ts", &range);
	if (run->since)
		BSON_APPEND_DATE_TIME(&range, "$gte", clock_ms(run->since));
	if (run->until)
		BSON_APPEND_DATE_TIME(&range, "$lt", clock_ms(run->until));
	bson_append_document_end(filter, &range);
}

/* Rows that begin in the range. */
static enum db_result side_span(struct audit_run *run, const struct audit_capture *c, unsigned side, struct span *span)
{
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST], id[READ_ID_MOST], before[READ_ID_MOST];
	bson_t filter = BSON_INITIALIZER;
	struct balance_read row;
	enum db_result result;
	bool found;

	*span = (struct span){0};
	audit_id_range(from, to, BALANCE_ID_LEN, c->of.capture);
	from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = (uint8_t)side;
	if (run->since || run->until)
		append_ts(&filter, run);
	result = edge(run, AUDIT_BALANCE, from, to, false, &filter, id, &span->there);
	if (result == DB_OK && span->there)
		result = row_at(run, id, &row, &found);
	if (result == DB_OK && span->there && found) {
		span->from = row.row.sec;
		span->wall_from = row.wall;
		if (row.row.sec) {
			balance_id(to, c->of.capture, side, row.row.sec - 1);
			result = edge(run, AUDIT_BALANCE, from, to, true, NULL, before, &found);
			if (result == DB_OK && found)
				result = row_at(run, before, &row, &span->has_before);
			span->before = row.row.sec + row.row.seconds;
		}
		audit_id_range(from, to, BALANCE_ID_LEN, c->of.capture);
		from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = (uint8_t)side;
		if (result == DB_OK)
			result = edge(run, AUDIT_BALANCE, from, to, true, &filter, id, &found);
		if (result == DB_OK)
			result = row_at(run, id, &row, &found);
		span->last_sec = row.row.sec;
		span->to = row.row.sec + row.row.seconds;
		span->wall_to = row.wall + (int64_t)(row.row.seconds * NS_PER_SEC);
	}
	bson_destroy(&filter);
	return result;
}

/* ---- its end ----------------------------------------------------------------------------------------------------- */

static void say_capture(struct audit_run *run, const struct audit_capture *c, const char *what, const char *family, int side,
			int64_t from, int64_t to, const char *text)
{
	const struct audit_finding f = {.what = what,
					.collection = family,
					.capture = c->of.capture,
					.sensor = c->sensor,
					.iface = c->iface,
					.side = side,
					.from = from,
					.to = to,
					.text = text};

	run->say(run->arg, &f);
}

/* The newest batch of which all before are there. */
static enum db_result settle(struct audit_run *run, struct audit_capture *c)
{
	enum db_result result = DB_OK;

	c->newest = c->newest_from = 0;
	for (unsigned tries = 0; result == DB_OK && tries < SETTLE_TRIES; tries++) {
		uint8_t from[READ_ID_MOST], to[READ_ID_MOST], id[READ_ID_MOST];
		struct ledger_read entry = {.seconds = run->seconds};
		uint64_t newest, next = 0;
		struct read_stream *stream;
		const bson_t *document;
		uint32_t day;
		bool found;

		audit_id_range(from, to, LEDGER_ID_LEN, c->of.capture);
		result = edge(run, AUDIT_BATCHES, from, to, true, NULL, id, &found);
		if (result != DB_OK || !found)
			return result;
		newest = get_be64(id + CAPTURE_ID_LEN);
		ledger_id(from, c->of.capture, newest > IN_FLIGHT ? newest - IN_FLIGHT : 1);
		stream = audit_stream(run, AUDIT_BATCHES, from, id, LEDGER_ID_LEN, NULL, NULL);
		if (!stream)
			return audit_no_memory(run);
		while ((result = read_stream_next(stream, &document, &day, run->problem)) == DB_OK && document &&
		       !ledger_read(document, &entry, NULL) && (!next || entry.number <= next)) {
			next = entry.number + 1;
			c->newest = entry.number;
			c->newest_from = (uint64_t)(entry.first - clock_pair_offset(&entry.pair)) / NS_PER_SEC;
		}
		read_stream_close(stream);
		if (result != DB_OK || c->newest == newest)
			return result;
		usleep(500000);
	}
	c->newest = UINT64_MAX; /* a hole that does not close: audit_packets tells it */
	return result;
}

/* Does it go on? Else why has it ended? */
static enum db_result judge_end(struct audit_run *run, struct audit_capture *c, const struct span span[REC_SIDES])
{
	const struct span *last = span[REC_TX].there && (!span[REC_RX].there || span[REC_TX].to > span[REC_RX].to) ? &span[REC_TX]
														  : &span[REC_RX];
	struct audit_ending ending;
	enum db_result result;
	char text[160];

	if (run->until && last->wall_to >= run->until)
		return DB_OK; /* it goes on behind the range */
	result = audit_event_of_end(run, c, last->wall_to, &ending);
	if (result != DB_OK)
		return result;
	if (!strcmp(ending.kind, "leave") || (!ending.explained && run->now - last->wall_to < SILENCE_NS)) {
		c->open = true;
		return settle(run, c);
	}
	if (!strcmp(ending.kind, "gap") && ending.explained) {
		c->cut_off = true;
		c->last_batch = ending.last_batch;
		audit_note(run, "%s: the capture was cut off; packets behind the last second of its balance are as its event `gap` says",
			   c->iface);
	}
	if (ending.explained)
		return DB_OK;
	snprintf(text, sizeof(text), "the balance ends without an event that says why%s%s", ending.kind[0] ? "; next event: " : "",
		 ending.kind);
	say_capture(run, c, "end", "balance", -1, last->wall_to, last->wall_to, text);
	return DB_OK;
}

/* Both sides begin and end with the same second, and no later than the event says. */
static enum db_result judge_sides(struct audit_run *run, const struct audit_capture *c, const struct span span[REC_SIDES])
{
	const struct span *rx = &span[REC_RX], *tx = &span[REC_TX];
	enum db_result result = DB_OK;
	uint64_t first[REC_SIDES];
	bool there = false;

	if (rx->there && tx->there && !run->since && rx->from != tx->from) {
		unsigned late = rx->from < tx->from ? REC_TX : REC_RX;

		say_capture(run, c, "hole", "balance", (int)late, span[!late].wall_from, span[late].wall_from,
			    "no balance at the beginning, and the other side has one");
	}
	if (rx->there && tx->there && !run->until && !c->open && rx->to != tx->to) {
		unsigned early = rx->to < tx->to ? REC_RX : REC_TX;

		say_capture(run, c, "hole", "balance", (int)early, span[early].wall_to, span[!early].wall_to,
			    "no balance at the end, and the other side has one");
	}
	result = audit_event_of_start(run, c, first, &there);
	if (result == DB_OK && !there)
		say_capture(run, c, "event", "events", -1, rx->there ? rx->wall_from : tx->wall_from,
			    rx->there ? rx->wall_from : tx->wall_from, "no event says that this capture began");
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK && !run->since; side++)
		if (span[side].there && first[side] && span[side].from > first[side])
			say_capture(run, c, "hole", "balance", (int)side,
				    span[side].wall_from - (int64_t)((span[side].from - first[side]) * NS_PER_SEC),
				    span[side].wall_from, "no balance from the first second on that its event `start` names");
	return result;
}

/* ---- one capture ------------------------------------------------------------------------------------------------- */

/* The batches that have a packet in [from, to); all of them without bounds. */
static enum db_result batches_of(struct audit_run *run, struct audit_capture *c, uint64_t from, uint64_t to, uint64_t *first,
				 uint64_t *last, bool *found)
{
	uint8_t id_from[READ_ID_MOST], id_to[READ_ID_MOST], id[READ_ID_MOST];
	bson_t filter = BSON_INITIALIZER, array, match, range;
	enum db_result result;

	ledger_id(id_from, c->of.capture, 0);
	ledger_id(id_to, c->of.capture, c->newest);
	if (run->since || run->until) {
		BSON_APPEND_DOCUMENT_BEGIN(&filter, "seconds", &array);
		BSON_APPEND_DOCUMENT_BEGIN(&array, "$elemMatch", &match);
		BSON_APPEND_DOCUMENT_BEGIN(&match, "sec", &range);
		BSON_APPEND_INT64(&range, "$gte", (int64_t)from);
		BSON_APPEND_INT64(&range, "$lt", (int64_t)to);
		bson_append_document_end(&match, &range);
		bson_append_document_end(&array, &match);
		bson_append_document_end(&filter, &array);
	}
	result = edge(run, AUDIT_BATCHES, id_from, id_to, false, &filter, id, found);
	if (result == DB_OK && *found) {
		*first = get_be64(id + CAPTURE_ID_LEN);
		result = edge(run, AUDIT_BATCHES, id_from, id_to, true, &filter, id, found);
		*last = get_be64(id + CAPTURE_ID_LEN);
	}
	bson_destroy(&filter);
	return result;
}

/* The batch in front of the range. */
static enum db_result neighbour(struct audit_run *run, const struct audit_capture *c, uint64_t number, struct audit_chain *chain)
{
	struct ledger_read entry = {.seconds = run->seconds};
	uint8_t id[READ_ID_MOST];
	struct read_stream *stream;
	const bson_t *document = NULL;
	enum db_result result;
	uint32_t day;

	ledger_id(id, c->of.capture, number);
	stream = audit_stream(run, AUDIT_BATCHES, id, id, LEDGER_ID_LEN, NULL, NULL);
	result = stream ? read_stream_next(stream, &document, &day, run->problem) : audit_no_memory(run);
	if (result == DB_OK && document && !ledger_read(document, &entry, NULL)) {
		chain->number = number;
		chain->last = entry.last;
		memcpy(chain->digest, entry.digest, DIGEST_LEN);
	} else if (result == DB_OK && run->since) {
		chain->number = number;
		chain->known = false;
		audit_note(run, "%s: batch %llu, in front of the range, is not in the database: the range is not tied to what was before it",
			   c->iface, (unsigned long long)number);
	}
	read_stream_close(stream);
	return result;
}

static enum db_result judge_packets(struct audit_run *run, struct audit_capture *c, uint64_t from, uint64_t to)
{
	struct audit_chain chain;
	uint64_t first = 0, last = 0;
	enum db_result result;
	bool found;

	audit_chain_begin(&chain, &c->of);
	result = batches_of(run, c, from, to, &first, &last, &found);
	if (result != DB_OK || !found)
		return result;
	if (first > 1)
		result = neighbour(run, c, first - 1, &chain);
	if (result == DB_OK)
		result = audit_packets(run, c, &chain, first, last);
	if (result == DB_OK && c->last_batch && chain.number != c->last_batch)
		say_capture(run, c, "missing", "batches", -1, chain.last, chain.last,
			    "the ledger does not end with the batch that the event `gap` names");
	return result;
}

static void note_unseen(struct audit_run *run, const struct audit_capture *c, const struct audit_hook *hook)
{
	const struct audit_witness *w = &hook->witness;
	const uint64_t segments = c->more_segments[hook->side], proven = w->unseen + w->unseen_before;
	const char *side = hook->side == REC_TX ? "tx" : "rx";
	const uint64_t unseen = proven > segments ? proven - segments : 0;

	if (w->resets)
		audit_note(run, "%s %s: the interface's counters began anew %u times; what passed meanwhile cannot be compared", c->iface, side,
			   w->resets);
	if (w->readings < 2) {
		audit_note(run, "%s %s: the interface's counters were read %s within the range: nothing is known of what only they saw",
			   c->iface, side, w->readings ? "once" : "never");
		return;
	}
	if (w->excess)
		audit_note(run, "%s %s: the hook saw at least %llu packets more than the interface counted: it does not count what the hook sees",
			   c->iface, side, (unsigned long long)w->excess);
	if (segments)
		audit_note(run, "%s %s: super-packets of %llu segments more; the interface may count segments, so as many packets are not called unseen",
			   c->iface, side, (unsigned long long)segments);
	if (unseen)
		audit_note(run, "%s %s: the interface counted at least %llu packets, at most %llu, that the hook did not see", c->iface, side,
			   (unsigned long long)unseen, (unsigned long long)(w->at_most + w->at_most_before));
	run->totals.unseen += unseen;
}

static uint64_t boot_second(int64_t wall, const struct span *span)
{
	int64_t offset = span->wall_from - (int64_t)(span->from * NS_PER_SEC);

	return (uint64_t)(wall - offset) / NS_PER_SEC;
}

/* Where a capture that goes on is final. */
static enum db_result bound_hook(struct audit_run *run, const struct audit_capture *c, const struct span *span,
				 struct audit_hook *hook)
{
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST];
	const uint64_t now = boot_second(run->now, span);
	struct read_stream *stream;
	const bson_t *document = NULL;
	struct flood_read flood;
	uint64_t written = 0;
	enum db_result result = DB_OK;
	uint32_t day;

	if (c->cut_off)
		hook->final_stored = span->to;
	if (!c->open)
		return DB_OK;
	hook->final_stored = c->newest_from;
	if (now > OPEN_S && hook->final_stored < now - OPEN_S)
		hook->final_stored = now - OPEN_S;
	for (uint8_t side = 0; result == DB_OK && side < REC_SIDES; side++) {
		uint8_t id[READ_ID_MOST];
		bool found;

		audit_id_range(from, to, FLOOD_ID_LEN, c->of.capture);
		from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = side;
		result = edge(run, AUDIT_FLOODS, from, to, true, NULL, id, &found);
		if (result != DB_OK || !found)
			continue;
		stream = audit_stream(run, AUDIT_FLOODS, id, id, FLOOD_ID_LEN, NULL, NULL);
		result = stream ? read_stream_next(stream, &document, &day, run->problem) : audit_no_memory(run);
		if (result == DB_OK && document && !flood_read(document, &flood, NULL) && flood.sec + flood.secs > written)
			written = flood.sec + flood.secs;
		read_stream_close(stream);
	}
	hook->final_summarised = now > EPOCH_S && written < now - EPOCH_S ? now - EPOCH_S : written;
	return result;
}

static enum db_result judge_side(struct audit_run *run, struct audit_capture *c, unsigned side, const struct span *span)
{
	const bool bounded = c->open || run->until;
	struct audit_hook hook;
	enum db_result result;

	audit_hook_begin(&hook, &c->of, side, !c->file);
	if (span->has_before && !c->file)
		hook.end = span->before;
	hook.offset = span->wall_from - (int64_t)(span->from * NS_PER_SEC);
	result = bound_hook(run, c, span, &hook);
	if (result == DB_OK)
		result = audit_seconds(run, c, side, run->since ? span->from : 0, bounded ? span->to : 0, bounded, &hook);
	if (result != DB_OK)
		return result;
	for (unsigned i = 0; i < REC_TERMS; i++) {
		run->totals.term[i].packets += hook.term[i].packets;
		run->totals.term[i].bytes += hook.term[i].bytes;
	}
	run->totals.open.packets += hook.open.packets;
	run->totals.open.bytes += hook.open.bytes;
	if (!c->file && hook.rows)
		note_unseen(run, c, &hook);
	if (hook.open.packets)
		audit_note(run, "%s %s: still being written: %llu packets of the last seconds are not judged yet", c->iface,
			   side == REC_TX ? "tx" : "rx", (unsigned long long)hook.open.packets);
	return DB_OK;
}

static enum db_result judge(struct audit_run *run, struct audit_capture *c)
{
	struct span span[REC_SIDES];
	uint64_t from = UINT64_MAX, to = 0;
	enum db_result result = DB_OK;

	run->ndeltas = 0;
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK; side++) {
		result = side_span(run, c, side, &span[side]);
		if (result == DB_OK && span[side].there) {
			from = span[side].from < from ? span[side].from : from;
			to = span[side].to > to ? span[side].to : to;
		}
	}
	if (result != DB_OK || (!to && (run->since || run->until)))
		return result; /* nothing of it begins in the range */
	if (to && !c->file) {
		result = judge_end(run, c, span);
		if (result == DB_OK)
			result = judge_sides(run, c, span);
	}
	c->windows = calloc(AUDIT_WINDOWS / 8, 1);
	if (result == DB_OK && !c->windows)
		result = audit_no_memory(run);
	if (result == DB_OK)
		result = judge_packets(run, c, from, to);
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK; side++)
		if (span[side].there || !(run->since || run->until))
			result = judge_side(run, c, side, &span[side]);
	free(TAKE_PTR(c->windows));
	return result;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

enum db_result audit_run(struct audit_run *run)
{
	struct db_peer peer;
	enum db_result result = db_client_pop(run->db, &run->client, run->problem);

	if (result != DB_OK)
		return result;
	run->deltas = malloc(AUDIT_DELTAS * sizeof(*run->deltas));
	run->seconds = malloc(LEDGER_SECONDS_MOST * sizeof(*run->seconds));
	if (!run->deltas || !run->seconds)
		result = audit_no_memory(run);
	if (result == DB_OK)
		result = db_peer(&run->client, &peer, run->problem);
	if (result == DB_OK) {
		run->raw = peer.wire >= READ_RAW_WIRE;
		result = list_days(run);
	}
	if (result == DB_OK)
		result = find_captures(run);
	if (result == DB_OK)
		result = missing_days(run);
	for (size_t i = 0; result == DB_OK && i < run->ncaptures; i++)
		result = judge(run, &run->captures[i]);
	if (result == DB_OK)
		result = audit_starts(run);
	if (result == DB_OK)
		result = audit_strays(run);
	db_client_done(&run->client);
	return result;
}

void audit_run_free(struct audit_run *run)
{
	for (unsigned family = 0; family < AUDIT_FAMILIES; family++)
		free(run->days[family].day);
	free(run->documents);
	free(run->buckets);
	free(run->captures);
	free(run->deltas);
	free(run->seconds);
	audit_batch_free(&run->batch);
}
