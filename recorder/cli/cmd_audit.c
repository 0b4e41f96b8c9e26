/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_audit.c - does the balance close? What was asked, and how the answer is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/audit/audit.h"
#include "recorder/audit/events.h"
#include "recorder/cli/cmd.h"
#include "recorder/core/util.h"
#include "recorder/settings/when.h"

#define PRINTED 200u /* findings; the rest are counted */

static void print_json(bson_t *line)
{
	char *text = bson_as_relaxed_extended_json(line, NULL);

	puts(text ? text : "{}");
	bson_free(text);
	bson_destroy(line);
}

static void append_count(bson_t *out, const char *name, const struct rec_count *count)
{
	bson_t child;

	BSON_APPEND_DOCUMENT_BEGIN(out, name, &child);
	BSON_APPEND_INT64(&child, "packets", (int64_t)count->packets);
	BSON_APPEND_INT64(&child, "bytes", (int64_t)count->bytes);
	bson_append_document_end(out, &child);
}

static void finding_json(const struct audit_finding *f, const char *capture, const char *events)
{
	bson_t out = BSON_INITIALIZER;
	char at[WHEN_LEN];

	BSON_APPEND_UTF8(&out, "finding", f->what);
	BSON_APPEND_UTF8(&out, "from", when_text(at, f->from));
	BSON_APPEND_UTF8(&out, "to", when_text(at, f->to));
	BSON_APPEND_UTF8(&out, "collection", f->collection);
	BSON_APPEND_UTF8(&out, "sensor", f->sensor);
	BSON_APPEND_UTF8(&out, "iface", f->iface);
	if (f->side >= 0)
		BSON_APPEND_UTF8(&out, "side", f->side == REC_TX ? "tx" : "rx");
	if (f->capture)
		BSON_APPEND_UTF8(&out, "capture", capture);
	BSON_APPEND_UTF8(&out, "text", f->text);
	if (f->counted) {
		append_count(&out, "expected", &f->expected);
		append_count(&out, "found", &f->found);
	}
	if (events[0])
		BSON_APPEND_UTF8(&out, "events", events);
	print_json(&out);
}

static void finding_text(const struct audit_finding *f, const char *capture, const char *events)
{
	char at[WHEN_LEN], to[WHEN_LEN];

	printf("%s", when_text(at, f->from));
	if (f->to != f->from)
		printf(" to %s", when_text(to, f->to));
	printf("  %s  %s%s%s", f->what, f->collection, f->collection[0] && f->iface[0] ? " " : "", f->iface);
	if (f->side >= 0)
		printf(" %s", f->side == REC_TX ? "tx" : "rx");
	if (f->sensor[0])
		printf(" of %s", f->sensor);
	if (f->capture)
		printf(", capture %.8s", capture);
	printf(": %s", f->text);
	if (f->counted)
		printf("; expected %llu packets, %llu bytes, found %llu packets, %llu bytes", (unsigned long long)f->expected.packets,
		       (unsigned long long)f->expected.bytes, (unsigned long long)f->found.packets,
		       (unsigned long long)f->found.bytes);
	if (events[0])
		printf("; events: %s", events);
	putchar('\n');
}

static void say(void *arg, const struct audit_finding *f)
{
	struct audit_run *run = arg;
	char capture[2 * CAPTURE_ID_LEN + 1] = "", events[256] = "";
	struct db_problem *kept = run->problem, ignored;

	if (++run->totals.findings > PRINTED)
		return;
	if (f->capture)
		*put_hex(capture, f->capture, CAPTURE_ID_LEN) = '\0';
	if (!strcmp(f->what, "hole") || !strcmp(f->what, "end")) {
		run->problem = &ignored; /* without its events a finding is a finding all the same */
		(void)audit_events_between(run, f->sensor, f->from - 5000000000, f->to + 5000000000, events, sizeof(events));
		run->problem = kept;
	}
	if (run->settings->json)
		finding_json(f, capture, events);
	else
		finding_text(f, capture, events);
}

static void note(void *arg, const char *text)
{
	struct audit_run *run = arg;
	bson_t out = BSON_INITIALIZER;

	if (run->settings->json) {
		BSON_APPEND_UTF8(&out, "note", text);
		print_json(&out);
	} else if (!run->settings->quiet) {
		fprintf(stderr, "note: %s\n", text);
	}
}

/* ---- the last lines ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum rec_term term[2];
	bool two;
} figures[] = {
	{"seen", {REC_SEEN}, false},
	{"stored", {REC_PUBLISHED}, false},
	{"summarised", {REC_SUMMARISED_FLOW, REC_SUMMARISED_PREFIX}, true},
	{"filtered", {REC_FILTERED_OWN, REC_FILTERED_EXPR}, true},
	{"blocked", {REC_BLOCKED}, false},
};

static const struct {
	const char *name;
	enum rec_term term;
} losses[] = {
	{"ring full", REC_LOST_RING_FULL},
	{"contended", REC_LOST_CONTENDED},
	{"no ring", REC_LOST_NO_RING},
	{"unreadable", REC_LOST_UNREADABLE},
};

static struct rec_count sum_of(const struct audit_totals *t, const enum rec_term *terms, size_t n)
{
	struct rec_count sum = {0};

	for (size_t i = 0; i < n; i++) {
		sum.packets += t->term[terms[i]].packets;
		sum.bytes += t->term[terms[i]].bytes;
	}
	return sum;
}

static struct rec_count lost_of(const struct audit_totals *t)
{
	struct rec_count sum = {0};

	for (size_t i = 0; i < ARRAY_SIZE(losses); i++) {
		sum.packets += t->term[losses[i].term].packets;
		sum.bytes += t->term[losses[i].term].bytes;
	}
	return sum;
}

static void totals_json(const struct audit_totals *t)
{
	struct rec_count lost = lost_of(t);
	bson_t out = BSON_INITIALIZER, reasons;

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		struct rec_count sum = sum_of(t, figures[i].term, figures[i].two ? 2 : 1);

		append_count(&out, figures[i].name, &sum);
	}
	append_count(&out, "lost", &lost);
	BSON_APPEND_DOCUMENT_BEGIN(&out, "reasons", &reasons);
	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		if (t->term[losses[i].term].packets)
			append_count(&reasons, losses[i].name, &t->term[losses[i].term]);
	bson_append_document_end(&out, &reasons);
	BSON_APPEND_INT64(&out, "unseen", (int64_t)t->unseen);
	BSON_APPEND_INT64(&out, "open", (int64_t)t->open.packets);
	BSON_APPEND_INT64(&out, "read", (int64_t)t->packets);
	BSON_APPEND_INT64(&out, "batches", (int64_t)t->batches);
	BSON_APPEND_INT64(&out, "rows", (int64_t)t->rows);
	BSON_APPEND_INT64(&out, "findings", (int64_t)t->findings);
	print_json(&out);
}

static void totals_text(const struct audit_totals *t)
{
	struct rec_count lost = lost_of(t);

	if (t->findings > PRINTED)
		printf("%llu findings more\n", (unsigned long long)(t->findings - PRINTED));
	for (size_t i = 0; i < ARRAY_SIZE(losses); i++)
		if (t->term[losses[i].term].packets)
			printf("lost, %s: %llu packets, %llu bytes\n", losses[i].name,
			       (unsigned long long)t->term[losses[i].term].packets,
			       (unsigned long long)t->term[losses[i].term].bytes);
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
		printf("%s %llu ", figures[i].name,
		       (unsigned long long)sum_of(t, figures[i].term, figures[i].two ? 2 : 1).packets);
	printf("lost %llu unseen %llu findings %llu\n", (unsigned long long)lost.packets, (unsigned long long)t->unseen,
	       (unsigned long long)t->findings);
}

/* ---- what was asked ---------------------------------------------------------------------------------------------- */

static bool time_of(const char *name, const char *text, int64_t now, int64_t *out)
{
	if (!text || !text[0] || when_parse(text, now, out))
		return true;
	cmd_fail(EXIT_USAGE, "--%s \"%s\": must be " WHEN_FORMS, name, text);
	return false;
}

static int verdict(struct audit_run *run)
{
	const struct audit_totals *t = &run->totals;

	if (!t->rows && !t->batches && !t->findings)
		return cmd_fail(EXIT_FAILED, "%s: nothing is recorded in that range, so nothing closes", db_where(run->db));
	if (run->settings->json)
		totals_json(t);
	else
		totals_text(t);
	return fflush(stdout) ? cmd_fail(EXIT_FAILED, "stdout: the output could not be written")
			      : t->findings ? EXIT_FAILED : EXIT_DONE;
}

int cmd_audit(const struct settings *settings)
{
	struct db_options options = {.uri = settings->mongo, .database = settings->database};
	struct db_problem problem = {0};
	struct audit_run run = {.settings = settings, .problem = &problem, .say = say, .note = note, .now = clock_wall_ns()};
	enum db_result result;
	int status;

	run.arg = &run;
	if (!cmd_has_database(settings) || !time_of("since", settings->since, run.now, &run.since) ||
	    !time_of("until", settings->until, run.now, &run.until))
		return EXIT_USAGE;
	if (run.since && run.until && run.since >= run.until)
		return cmd_fail(EXIT_USAGE, "--since \"%s\" must lie before --until \"%s\"", settings->since, settings->until);
	if (settings->sensor && settings->origin[SETTING_sensor].source)
		run.sensor = settings->sensor;
	result = db_open(&run.db, &options, &problem);
	if (result == DB_OK)
		result = audit_run(&run);
	status = result == DB_OK ? verdict(&run) : cmd_fail(EXIT_FAILED, "%s", problem.text);
	audit_run_free(&run);
	db_close(run.db);
	return status;
}
