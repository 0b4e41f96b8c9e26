/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.h - for the C tests of this directory: a local engine of the test's own, to be killed, stopped and started
 * again.
 *
 * With XDP_RECORDER_TEST_MONGO set to a URI, tests that do no harm to the server use that one, in a database of their
 * own.
 */
#ifndef TESTS_DB_ENGINE_H
#define TESTS_DB_ENGINE_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"

#define SKIP_CODE 77

struct engine {
	char data[64]; /* empty: not ours */
	char uri[256];
	char error[256];
	pid_t pid;
};

static inline void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000l}, NULL);
}

/* Runs `engine ARGUMENT --data DIR`, last line of its output in `line`. Its exit status. */
static inline int engine_run(const struct engine *e, const char *argument, char *line, size_t size)
{
	const char *source = getenv("XDP_RECORDER_SOURCE");
	char command[512], text[256];

	snprintf(command, sizeof(command), "'%s/deploy/engine/engine' %s --data '%s' 2>&1", source ? source : ".",
		 argument, e->data);
	FILE *out = popen(command, "re");
	if (!out)
		return -1;
	*line = '\0';
	while (fgets(text, sizeof(text), out)) {
		text[strcspn(text, "\n")] = '\0';
		snprintf(line, size, "%s", text);
	}
	return pclose(out);
}

/* Starts it, or starts it again. */
static inline int engine_up(struct engine *e)
{
	char line[256];
	char *pid;

	if (engine_run(e, "start", e->error, sizeof(e->error)))
		return -1;
	pid = strstr(e->error, "pid ");
	e->pid = pid ? (pid_t)atoi(pid + 4) : 0;
	if (e->pid <= 1 || engine_run(e, "uri", line, sizeof(line)))
		return -1;
	snprintf(e->uri, sizeof(e->uri), "%s", line);
	return 0;
}

static inline void engine_kill(struct engine *e)
{
	if (e->pid <= 1)
		return;
	kill(e->pid, SIGCONT);
	kill(e->pid, SIGKILL);
	while (!kill(e->pid, 0))
		sleep_ms(2);
	e->pid = 0;
}

/* A new engine with no data. Ends the program with SKIP_CODE where there is none to be had. */
static inline void engine_new(struct engine *e)
{
	memset(e, 0, sizeof(*e));
	snprintf(e->data, sizeof(e->data), "/tmp/xdp-recorder-test-XXXXXX");
	if (!mkdtemp(e->data) || engine_up(e)) {
		fprintf(stderr, "skipped: no local engine: %s\n", e->error);
		rmdir(e->data);
		exit(SKIP_CODE);
	}
}

/* One that other tests may use at the same time; never killed. */
static inline void engine_shared(struct engine *e)
{
	const char *uri = getenv("XDP_RECORDER_TEST_MONGO");

	if (!uri || !*uri) {
		engine_new(e);
		return;
	}
	memset(e, 0, sizeof(*e));
	snprintf(e->uri, sizeof(e->uri), "%s", uri);
}

static inline void engine_remove(struct engine *e)
{
	char command[128];

	if (!*e->data)
		return;
	engine_kill(e);
	snprintf(command, sizeof(command), "rm -rf '%s'", e->data);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", e->data);
}

/* A database name of this test program. */
static inline const char *test_database(void)
{
	static char name[64];

	snprintf(name, sizeof(name), "test_%d_%lx", (int)getpid(), (unsigned long)time(NULL));
	return name;
}

static inline void drop_database(struct db *db)
{
	struct db_problem problem;
	bson_t *command = BCON_NEW("dropDatabase", BCON_INT32(1));

	if (db_run(db, NULL, command, NULL, &problem) != DB_OK)
		fprintf(stderr, "%s\n", problem.text);
	bson_destroy(command);
}

struct counted {
	int64_t n;
};

static inline bool count_one(void *arg, const bson_t *doc)
{
	(void)doc;
	((struct counted *)arg)->n++;
	return true;
}

/* Documents of a collection that match a filter in JSON; -1 when it cannot be asked. */
static inline int64_t count_matching(struct db *db, const char *collection, const char *filter)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct counted counted = {0};
	bson_error_t error;
	bson_t *parsed = bson_new_from_json((const uint8_t *)filter, -1, &error);
	bson_t *find = BCON_NEW("find", BCON_UTF8(collection), "filter", BCON_DOCUMENT(parsed), "projection", "{",
				"_id", BCON_INT32(1), "}");
	enum db_result result = db_client_pop(db, &client, &problem);

	if (result == DB_OK)
		result = db_each(&client, NULL, find, count_one, &counted, &problem);
	db_client_done(&client);
	bson_destroy(find);
	bson_destroy(parsed);
	if (result != DB_OK)
		fprintf(stderr, "count: %s\n", problem.text);
	return result == DB_OK ? counted.n : -1;
}

#endif
