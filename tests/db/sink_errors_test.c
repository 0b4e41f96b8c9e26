/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the sink does when the server says no: for every reason of the README's table the batch is not settled, the problem names the
 * reason, the next try is a bounded time away, and when the server is well again each document is there exactly once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/rows.h"
#include "recorder/sink/mongo.h"
#include "tests/db/batches.h"
#include "tests/db/fake_server.h"

#define DOCUMENTS 10u
#define TIMES 2u /* it says no so often */
#define LATE_MS 300u
#define PATIENCE_NS (20 * NS_PER_SEC)
#define MOST_WAIT_NS (31 * NS_PER_SEC) /* between two tries */

struct moody {
	const char *no;	    /* its answer while it does not want to */
	unsigned takes;	    /* documents that it takes all the same, of each command */
	const char *refused; /* the command that it does not want: "insert", "update" */
	unsigned said;
	unsigned there[DOCUMENTS];
	unsigned entries;
	char answer[4000];
	pthread_mutex_t lock;
};

static void take(struct moody *m, const bson_t *command, unsigned most)
{
	bson_iter_t it, item, id;
	unsigned n = 0;

	if (!bson_iter_init_find(&it, command, "documents") || !bson_iter_recurse(&it, &item))
		return;
	for (; n < most && bson_iter_next(&item); n++) {
		const uint8_t *bytes;
		bson_subtype_t subtype;
		uint32_t len, position;

		if (!bson_iter_recurse(&item, &id) || !bson_iter_find(&id, "_id"))
			abort();
		bson_iter_binary(&id, &subtype, &len, &bytes);
		position = get_be32(bytes + PACKET_ID_LEN - 4);
		if (len != PACKET_ID_LEN || position >= DOCUMENTS)
			abort();
		m->there[position]++;
	}
}

static void list(struct moody *m, const struct batch *batch)
{
	char *at = m->answer + sprintf(m->answer, "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": [");
	bool first = true;

	for (uint32_t i = 0; i < DOCUMENTS; i++)
		for (unsigned k = 0; k < m->there[i]; k++) {
			uint8_t id[PACKET_ID_LEN];
			bson_t doc = BSON_INITIALIZER;
			char *json;

			packet_id(id, batch, i);
			BSON_APPEND_BINARY(&doc, "_id", BSON_SUBTYPE_BINARY, id, sizeof(id));
			json = bson_as_canonical_extended_json(&doc, NULL);
			at += sprintf(at, "%s%s", first ? "" : ", ", json);
			first = false;
			bson_free(json);
			bson_destroy(&doc);
		}
	strcpy(at, "]}}");
}

static struct made made;

static const char *moody_answer(struct fake *fake, const char *name, const bson_t *command)
{
	struct moody *m = fake->arg;
	bool insert = !strcmp(name, "insert"), update = !strcmp(name, "update");

	pthread_mutex_lock(&m->lock);
	strcpy(m->answer, "{\"ok\": 1, \"n\": 1}");
	if (!strcmp(name, "listCollections")) {
		strcpy(m->answer, "{\"ok\": 1, \"cursor\": {\"id\": 0, \"ns\": \"recorder.x\", \"firstBatch\": []}}");
	} else if (!strcmp(name, "find")) {
		list(m, &made.batch);
	} else if (!strcmp(name, m->refused) && m->said < TIMES) {
		m->said++;
		if (insert)
			take(m, command, m->takes);
		strcpy(m->answer, m->no);
	} else if (insert) {
		take(m, command, DOCUMENTS);
		sprintf(m->answer, "{\"ok\": 1, \"n\": %u}", DOCUMENTS);
	} else if (update) {
		m->entries++;
	}
	pthread_mutex_unlock(&m->lock);
	return m->answer;
}

/* Writes the batch until it is settled; what was said the first time to `problem`. */
static void run(struct moody *m, char problem[200])
{
	struct fake fake = {.answer = moody_answer, .arg = m, .hello_more = "\"setName\": \"rs\""};
	struct db_problem opening = {0};
	struct migrations migrations;
	struct sink_report report;
	enum sink_outcome outcome;
	struct sink_job *job;
	uint64_t until;
	char uri[64];
	struct db *db;

	m->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	make_batch(&made, 1, 1, DOCUMENTS);
	fake_start(&fake);
	snprintf(uri, sizeof(uri), "mongodb://127.0.0.1:%u/", fake.port);
	assert_int_equal(db_open(&db, &(struct db_options){.uri = uri}, &opening), DB_OK);
	assert_int_equal(migrations_load(&migrations, NULL, &opening), DB_OK);
	struct days *days = days_new(db, &migrations, 0);
	struct ends_table *ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	struct sink *sink =
		mongo_sink_new(&(struct mongo_sink_options){.db = db, .days = days, .ends = ends, .late_ms = LATE_MS});

	assert_int_equal(sink->encode(sink, &made.batch, &job), 0);
	problem[0] = '\0';
	until = clock_boot_ns() + PATIENCE_NS;
	for (;;) {
		uint64_t now;

		outcome = sink->write(sink, job, &report);
		now = clock_boot_ns();
		if (outcome == SINK_SETTLED || now > until)
			break;
		assert_int_equal(outcome, SINK_AGAIN);
		assert_true(report.again_ns < now + MOST_WAIT_NS);
		assert_int_equal(m->entries, 0); /* no ledger entry of a batch that is not there */
		if (!problem[0] && !report.waiting)
			memcpy(problem, report.problem, sizeof(report.problem));
		while (clock_boot_ns() < report.again_ns)
			usleep(1000);
	}
	assert_int_equal(outcome, SINK_SETTLED);
	sink->job_free(sink, job);
	sink->close(sink);
	ends_table_free(ends);
	days_free(days);
	migrations_free(&migrations);
	db_close(db);
	fake_end(&fake);
	drop_batch(&made);
}

static void every_reason(void **state)
{
	static const struct {
		const char *what, *no, *said;
		unsigned takes;
		const char *refused;
	} cases[] = {
		{"not primary", "{\"ok\": 0, \"code\": 10107, \"errmsg\": \"not primary\"}", "not primary", 0, "insert"},
		{"stepped down in between", "{\"ok\": 0, \"code\": 189, \"errmsg\": \"stepped down\"}", "stepped down", 4, "insert"},
		{"no space", "{\"ok\": 0, \"code\": 14031, \"errmsg\": \"out of disk space\"}", "out of disk space", 0, "insert"},
		{"no space for some", "{\"ok\": 1, \"n\": 3, \"writeErrors\": [{\"index\": 3, \"code\": 14031, \"errmsg\": \"disk full\"}]}",
		 "disk full", 3, "insert"},
		{"unauthorised", "{\"ok\": 0, \"code\": 13, \"errmsg\": \"not authorized\"}", "lacks rights", 0, "insert"},
		{"timeout", "{\"ok\": 0, \"code\": 50, \"errmsg\": \"operation exceeded time limit\"}", "time limit", 5, "insert"},
		{"no majority", "{\"ok\": 1, \"n\": 10, \"writeConcernError\": {\"code\": 64, \"errmsg\": \"waiting timed out\"}}",
		 "majority", DOCUMENTS, "insert"},
		{"a document is refused",
		 "{\"ok\": 1, \"n\": 4, \"writeErrors\": [{\"index\": 4, \"code\": 2, \"errmsg\": \"bad value\"}]}", "bad value", 4, "insert"},
		{"a user who writes is blocked", "{\"ok\": 0, \"code\": 371, \"errmsg\": \"user writes blocked\"}", "blocked", 0, "insert"},
		{"shutting down", "{\"ok\": 0, \"code\": 91, \"errmsg\": \"in quiesce mode\"}", "quiesce", 0, "insert"},
		{"the ledger: not primary", "{\"ok\": 0, \"code\": 10107, \"errmsg\": \"not primary\"}", "not primary", 0, "update"},
		{"the ledger: no space", "{\"ok\": 0, \"code\": 14031, \"errmsg\": \"out of disk space\"}", "out of disk space", 0, "update"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct moody m = {.no = cases[i].no, .takes = cases[i].takes, .refused = cases[i].refused};
		char problem[200];

		run(&m, problem);
		if (m.said != TIMES && cases[i].takes != DOCUMENTS)
			fail_msg("%s: it said no %u times, not %u", cases[i].what, m.said, TIMES);
		if (!strstr(problem, cases[i].said))
			fail_msg("%s: no '%s' in: %s", cases[i].what, cases[i].said, problem);
		assert_int_equal(m.entries, 1);
		for (unsigned k = 0; k < DOCUMENTS; k++)
			if (m.there[k] != 1)
				fail_msg("%s: document %u is there %u times", cases[i].what, k, m.there[k]);
	}
}

/* The control: a server that takes a document twice is found out by these very counts. */
static void twice_is_counted(void **state)
{
	struct moody m = {.no = "{\"ok\": 1, \"n\": 1}", .refused = "nothing"};
	char problem[200];

	(void)state;
	m.there[3] = 1;
	run(&m, problem);
	assert_int_equal(m.there[3], 2);
	assert_int_equal(m.there[4], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason),
		cmocka_unit_test(twice_is_counted),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("sink_errors", tests, NULL, NULL);
}
