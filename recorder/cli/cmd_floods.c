/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_floods.c - the floods that a database tells of: when, who, whom, what, how much, and how it was recorded. */
#include <stdlib.h>
#include <string.h>

#include "bpf/abi.h"
#include "recorder/cli/cmd.h"
#include "recorder/core/clock.h"
#include "recorder/core/util.h"
#include "recorder/db/read_floods.h"
#include "recorder/ledger/flood_rows.h"
#include "recorder/settings/when.h"

struct asked {
	const struct settings *settings;
	struct read_floods_filter filter;
	struct episodes episodes;
};

static int each_row(void *arg, const struct flood_row *row)
{
	struct asked *a = arg;
	const struct settings_list *ifaces = &a->settings->interfaces;
	bool wanted = ifaces->count == 0;

	for (size_t i = 0; i < ifaces->count; i++)
		wanted |= !strcmp(ifaces->items[i], row->iface);
	if (!wanted || row->why == 1u << REC_WHY_ALL) /* --count: that was no flood */
		return 0;
	return episodes_add(&a->episodes, row);
}

/* A rate in a person's unit: 1.94 M, 12.3 k, 7. */
static const char *short_rate(double v, char out[16])
{
	static const char *const units[] = {"", " k", " M", " G", " T"};
	size_t u = 0;

	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	snprintf(out, 16, u && v < 100 ? "%.1f%s" : "%.0f%s", v, units[u]);
	return out;
}

/* "to 198.18.0.1 from 4096 conversations and networks": so many summaries */
static void print_ends(const struct episode *e)
{
	if (e->host[0])
		printf(" %s %s", e->from ? "from" : "to", e->host);
	if (e->other[0])
		printf(" %s %s", e->from ? "to" : "from", e->other);
	else if (e->host[0])
		printf(" %s %u %s", e->from ? "to" : "from", e->others,
		       e->of[e->from ? FLOOD_BY_SOURCE : FLOOD_BY_DESTINATION] ? "conversations and networks" : "conversations");
	else
		fputs(", hosts not told apart", stdout);
}

static void print_text(const struct episode *e)
{
	static const char *const by[] = {"by conversation", "by destination and network", "by source and network", "by protocol"};
	char at[WHEN_LEN], a[16], b[16], c[16];
	const char *separator = "; ";

	printf("%s  %.1f s  %s %s  %s", when_text(at, e->first), episode_seconds(e), e->iface, e->side == REC_TX ? "tx" : "rx",
	       episode_kind(e));
	print_ends(e);
	printf("\n    %llu packets, %llu bytes; peak %s packets/s, %s bit/s, mean %s packets/s", (unsigned long long)e->packets,
	       (unsigned long long)e->bytes, short_rate(e->peak_packets, a), short_rate(e->peak_bits, b),
	       short_rate((double)e->packets / episode_seconds(e), c));
	for (unsigned i = 0; i < FLOOD_BYS; i++)
		if (e->of[i]) {
			printf("%s%s %llu", separator, by[i], (unsigned long long)e->of[i]);
			separator = ", ";
		}
	fputs("; why:", stdout);
	for (unsigned i = 0; i < 8; i++)
		if (e->why >> i & 1 && flood_why_name(i))
			printf(" %s%s", flood_why_name(i), e->why >> (i + 1) ? "," : "");
	putchar('\n');
}

static void print_json(const struct episode *e)
{
	static const char *const by[] = {"flow", "destination", "source", "protocol"};
	bson_t out = BSON_INITIALIZER, part;
	char at[WHEN_LEN], index[16];
	unsigned n = 0;
	char *text;

	BSON_APPEND_UTF8(&out, "first", when_text(at, e->first));
	BSON_APPEND_UTF8(&out, "last", when_text(at, e->last));
	BSON_APPEND_DOUBLE(&out, "seconds", episode_seconds(e));
	BSON_APPEND_UTF8(&out, "sensor", e->sensor);
	BSON_APPEND_UTF8(&out, "iface", e->iface);
	BSON_APPEND_UTF8(&out, "side", e->side == REC_TX ? "tx" : "rx");
	BSON_APPEND_UTF8(&out, "kind", episode_kind(e));
	if (e->host[0])
		BSON_APPEND_UTF8(&out, e->from ? "source" : "destination", e->host);
	if (e->other[0])
		BSON_APPEND_UTF8(&out, e->from ? "destination" : "source", e->other);
	else
		BSON_APPEND_INT64(&out, "others", e->others);
	BSON_APPEND_INT64(&out, "packets", (int64_t)e->packets);
	BSON_APPEND_INT64(&out, "bytes", (int64_t)e->bytes);
	BSON_APPEND_DOUBLE(&out, "peak_packets_per_s", e->peak_packets);
	BSON_APPEND_DOUBLE(&out, "peak_bits_per_s", e->peak_bits);
	BSON_APPEND_DOUBLE(&out, "mean_packets_per_s", (double)e->packets / episode_seconds(e));
	BSON_APPEND_DOCUMENT_BEGIN(&out, "by", &part);
	for (unsigned i = 0; i < FLOOD_BYS; i++)
		if (e->of[i])
			BSON_APPEND_INT64(&part, by[i], (int64_t)e->of[i]);
	bson_append_document_end(&out, &part);
	BSON_APPEND_ARRAY_BEGIN(&out, "why", &part);
	for (unsigned i = 0; i < 8; i++)
		if (e->why >> i & 1 && flood_why_name(i)) {
			snprintf(index, sizeof(index), "%u", n++);
			BSON_APPEND_UTF8(&part, index, flood_why_name(i));
		}
	bson_append_array_end(&out, &part);
	text = bson_as_relaxed_extended_json(&out, NULL);
	puts(text ? text : "{}");
	bson_free(text);
	bson_destroy(&out);
}

static bool time_of(const char *name, const char *text, int64_t *out)
{
	if (!text || !text[0] || when_parse(text, clock_wall_ns(), out))
		return true;
	cmd_fail(EXIT_USAGE, "--%s \"%s\": must be " WHEN_FORMS, name, text);
	return false;
}

static int print_all(const struct asked *a)
{
	uint64_t packets = 0, bytes = 0;

	for (size_t i = 0; i < a->episodes.count; i++) {
		const struct episode *e = &a->episodes.list[i];

		if (a->settings->json)
			print_json(e);
		else
			print_text(e);
		packets += e->packets;
		bytes += e->bytes;
	}
	if (!a->settings->json && !a->settings->quiet)
		printf("episodes %zu packets %llu bytes %llu\n", a->episodes.count, (unsigned long long)packets,
		       (unsigned long long)bytes);
	return fflush(stdout) ? cmd_fail(EXIT_FAILED, "stdout: the output could not be written") : EXIT_DONE;
}

int cmd_floods(const struct settings *settings)
{
	struct db_options options = {.uri = settings->mongo, .database = settings->database};
	struct asked a = {.settings = settings};
	struct db_problem problem = {0};
	struct db *db = NULL;
	enum db_result result;
	int status;

	if (!cmd_has_database(settings) || !time_of("since", settings->since, &a.filter.since) ||
	    !time_of("until", settings->until, &a.filter.until))
		return EXIT_USAGE;
	if (a.filter.since && a.filter.until && a.filter.since >= a.filter.until)
		return cmd_fail(EXIT_USAGE, "--since \"%s\" must lie before --until \"%s\"", settings->since, settings->until);
	if (settings->sensor && settings->origin[SETTING_sensor].source)
		a.filter.sensor = settings->sensor;
	result = db_open(&db, &options, &problem);
	if (result == DB_OK)
		result = read_floods(db, &a.filter, each_row, &a, &problem);
	if (result == DB_OK) {
		episodes_end(&a.episodes);
		status = print_all(&a);
	} else {
		status = cmd_fail(EXIT_FAILED, "%s", problem.text);
	}
	episodes_free(&a.episodes);
	db_close(db);
	return status;
}
