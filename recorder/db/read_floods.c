/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read_floods.h"

#include <stdlib.h>
#include <string.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"
#include "recorder/db/days.h"
#include "recorder/ledger/flood_rows.h"

struct walk {
	read_flood *each;
	void *arg;
	int error;
};

static int64_t number(const bson_t *document, const char *name, int64_t none)
{
	bson_iter_t at;

	return bson_iter_init_find(&at, document, name) && (BSON_ITER_HOLDS_NUMBER(&at) || BSON_ITER_HOLDS_DATE_TIME(&at))
		       ? BSON_ITER_HOLDS_DATE_TIME(&at) ? bson_iter_date_time(&at) : bson_iter_as_int64(&at)
		       : none;
}

static const char *text(const bson_t *document, const char *name)
{
	bson_iter_t at;

	return bson_iter_init_find(&at, document, name) && BSON_ITER_HOLDS_UTF8(&at) ? bson_iter_utf8(&at, NULL) : "";
}

static enum flood_by by_of(const char *word)
{
	static const char *const words[] = {"flow", "destination", "source", "protocol"};
	unsigned i = 0;

	while (i < FLOOD_BY_PROTOCOL && strcmp(words[i], word) != 0)
		i++;
	return i;
}

static unsigned why_of(const bson_t *document)
{
	bson_iter_t at, list;
	unsigned why = 0;

	if (!bson_iter_init_find(&at, document, "why") || !BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &list))
		return 0;
	while (bson_iter_next(&list))
		if (BSON_ITER_HOLDS_UTF8(&list))
			why |= flood_why_bit(bson_iter_utf8(&list, NULL));
	return why;
}

static bool hand_out(void *arg, const bson_t *d)
{
	struct walk *walk = arg;
	bson_iter_t at;
	struct flood_row row = {
		.sensor = text(d, "sensor"),
		.iface = text(d, "iface"),
		.src = text(d, "src"),
		.dst = text(d, "dst"),
		.side = strcmp(text(d, "side"), "tx") == 0 ? REC_TX : REC_RX,
		.epoch = (uint32_t)number(d, "epoch", 0),
		.first = number(d, "ts", 0) * 1000000 + number(d, "ns", 0),
		.last = number(d, "last", 0) * 1000000 + number(d, "last_ns", 0),
		.by = by_of(text(d, "by")),
		.proto = (int32_t)number(d, "proto", -1),
		.etype = (int32_t)number(d, "etype", -1),
		.icmp_type = (int32_t)number(d, "icmp_type", -1),
		.sport = (int32_t)number(d, "sport", -1),
		.dport = (int32_t)number(d, "dport", -1),
		.flags_any = (int32_t)number(d, "flags_any", -1),
		.flags_all = (int32_t)number(d, "flags_all", -1),
		.fragments = bson_iter_init_find(&at, d, "fragments"),
		.packets = (uint64_t)number(d, "packets", 0),
		.bytes = (uint64_t)number(d, "bytes", 0),
		.why = why_of(d),
	};
	const uint8_t *id;
	uint32_t len;

	if (bson_iter_init_find(&at, d, "_id") && BSON_ITER_HOLDS_BINARY(&at)) {
		bson_iter_binary(&at, NULL, &len, &id);
		memcpy(row.capture, id, len < sizeof(row.capture) ? len : sizeof(row.capture));
	}
	walk->error = walk->each(walk->arg, &row);
	return walk->error == 0;
}

static void append_match(bson_t *command, const struct read_floods_filter *filter)
{
	bson_t match, range;

	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &match);
	if (filter->sensor)
		BSON_APPEND_UTF8(&match, "sensor", filter->sensor);
	if (filter->iface)
		BSON_APPEND_UTF8(&match, "iface", filter->iface);
	if (filter->since) {
		BSON_APPEND_DOCUMENT_BEGIN(&match, "last", &range);
		BSON_APPEND_DATE_TIME(&range, "$gte", clock_ms(filter->since));
		bson_append_document_end(&match, &range);
	}
	if (filter->until) {
		BSON_APPEND_DOCUMENT_BEGIN(&match, "ts", &range);
		BSON_APPEND_DATE_TIME(&range, "$lt", clock_ms(filter->until));
		bson_append_document_end(&match, &range);
	}
	bson_append_document_end(command, &match);
}

static enum db_result read_day(struct db_client *client, uint32_t day, const struct read_floods_filter *filter,
			       struct walk *walk, struct db_problem *problem)
{
	bson_t command = BSON_INITIALIZER, sort;
	char name[DAYS_NAME];
	enum db_result result;

	BSON_APPEND_UTF8(&command, "find", days_collection(name, "floods", day));
	append_match(&command, filter);
	BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &sort);
	BSON_APPEND_INT32(&sort, "_id", 1);
	bson_append_document_end(&command, &sort);
	result = db_each(client, NULL, &command, hand_out, walk, problem);
	bson_destroy(&command);
	if (result == DB_OK && walk->error)
		result = db_problem_set(problem, DB_LATER, "%s: %s", name, strerror(-walk->error));
	return result;
}

enum db_result read_floods(struct db *db, const struct read_floods_filter *filter, read_flood *each, void *arg,
			   struct db_problem *problem)
{
	struct walk walk = {.each = each, .arg = arg};
	struct db_client client;
	uint32_t *days = NULL;
	size_t count = 0;
	enum db_result result = days_list(db, "floods", &days, &count, problem);

	if (result == DB_OK)
		result = db_client_pop(db, &client, problem);
	if (result != DB_OK) {
		free(days);
		return result;
	}
	for (size_t i = 0; result == DB_OK && i < count; i++) {
		int64_t start = days_is_year(days[i]) ? 0 : clock_day_start(days[i]), day = 86400 * 1000000000ll;

		/* an epoch lies in the day that it began in, and may last into the next ones */
		if (start && filter->until && start >= filter->until)
			continue;
		if (start && filter->since && start + 2 * day < filter->since)
			continue;
		result = read_day(&client, days[i], filter, &walk, problem);
	}
	db_client_done(&client);
	free(days);
	return result;
}
