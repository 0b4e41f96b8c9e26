/* SPDX-License-Identifier: GPL-2.0-or-later */
/* writers.h - for tests/db: threads that write batches until they are settled, and a look at what is there then. */
#ifndef TESTS_DB_WRITERS_H
#define TESTS_DB_WRITERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "recorder/core/clock.h"
#include "recorder/db/probe.h"
#include "recorder/db/read.h"
#include "recorder/sink/mongo.h"
#include "tests/db/batches.h"
#include "tests/db/engine.h"

struct world {
	struct engine engine;
	struct db *db;
	struct migrations migrations;
	struct days *days;
	struct ends_table *ends;
};

/* 0, or -1 with the reason on stderr. */
static inline int world_new(struct world *w)
{
	struct db_problem problem = {0};
	struct migrate_report report;

	engine_new(&w->engine);
	if (db_open(&w->db, &(struct db_options){.uri = w->engine.uri}, &problem) != DB_OK ||
	    migrations_load(&w->migrations, NULL, &problem) != DB_OK ||
	    migrate_run(w->db, &w->migrations, NULL, &report, &problem) != DB_OK) {
		fprintf(stderr, "%s\n", problem.text);
		return -1;
	}
	w->days = days_new(w->db, &w->migrations, 0);
	w->ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	return days_prepare(w->days, MADE_DAY, MADE_DAY, &problem) == DB_OK ? 0 : -1;
}

static inline void world_remove(struct world *w)
{
	ends_table_free(w->ends);
	days_free(w->days);
	migrations_free(&w->migrations);
	db_close(w->db);
	engine_remove(&w->engine);
}

static inline struct sink *world_sink(struct world *w, unsigned late_ms)
{
	return mongo_sink_new(
		&(struct mongo_sink_options){.db = w->db, .days = w->days, .ends = w->ends, .late_ms = late_ms});
}

/*
 * The same, but that the day's collection has buckets of span_s, and what storage this server is found to take. 0, or -1 with the
 * reason on stderr.
 */
static inline int world_new_buckets(struct world *w, unsigned span_s, struct probe_storage *storage)
{
	bson_t *drop = BCON_NEW("drop", "packets_20260131");
	struct db_problem problem = {0};
	bool failed = world_new(w);

	if (!failed) {
		days_free(w->days);
		w->days = days_new(w->db, &w->migrations, span_s);
		db_run(w->db, NULL, drop, NULL, &problem);
		failed = days_prepare(w->days, MADE_DAY, MADE_DAY, &problem) != DB_OK ||
			 probe_storage(w->db, PROBE_BUCKETS, storage, &problem) != DB_OK;
		if (failed)
			fprintf(stderr, "%s\n", problem.text);
	}
	bson_destroy(drop);
	return failed ? -1 : 0;
}

/* Writes the batch until it is settled, ended, clashed or is to be closed; *sum is what all calls reported. */
static inline enum sink_outcome write_batch(struct sink *sink, struct batch *batch, struct sink_report *sum)
{
	struct sink_report report;
	enum sink_outcome outcome;
	struct sink_job *job;

	memset(sum, 0, sizeof(*sum));
	if (sink->encode(sink, batch, &job))
		abort();
	do {
		outcome = sink->write(sink, job, &report);
		sum->inserted += report.inserted;
		sum->found += report.found;
		sum->close |= report.close;
		memcpy(sum->problem, report.problem, sizeof(sum->problem));
		if (outcome == SINK_AGAIN)
			sleep_ms(20);
	} while (outcome == SINK_AGAIN && !report.close);
	sink->job_free(sink, job);
	return outcome;
}

/* One thread: batches of capture `id`, numbers 1, 2, 3 ... until told to stop; then those under way are settled. */
struct writer {
	struct sink *sink;
	pthread_t thread;
	uint8_t id;
	uint32_t records;
	unsigned most; /* batches, 0: until *stop */
	_Atomic bool *stop;
	unsigned pause_ms; /* between two batches */
	bool naive; /* what has no answer is sent again, as most programs do */

	unsigned settled;
	unsigned calls;	     /* of write */
	uint64_t longest_ns; /* of one */
	char problem[200];   /* the last one */
};

static inline void *writer_run(void *arg)
{
	struct writer *w = arg;

	while (w->most ? w->settled < w->most : !*w->stop) {
		struct sink_report report;
		struct sink_job *job;
		struct made made;
		enum sink_outcome outcome;

		make_batch(&made, w->id, w->settled + 1, w->records);
		if (w->sink->encode(w->sink, &made.batch, &job))
			abort();
		do {
			uint64_t began = clock_boot_ns();
			outcome = w->sink->write(w->sink, job, &report);
			uint64_t took = clock_boot_ns() - began;
			w->calls++;
			if (took > w->longest_ns)
				w->longest_ns = took;
			if (outcome != SINK_SETTLED)
				memcpy(w->problem, report.problem, sizeof(w->problem));
			if (w->naive && outcome == SINK_AGAIN && *report.problem && !report.waiting) {
				w->sink->job_free(w->sink, job);
				if (w->sink->encode(w->sink, &made.batch, &job))
					abort();
			}
			while (outcome == SINK_AGAIN && clock_boot_ns() < report.again_ns)
				sleep_ms(1);
		} while (outcome == SINK_AGAIN);
		w->sink->job_free(w->sink, job);
		drop_batch(&made);
		if (outcome == SINK_ENDED)
			break;
		w->settled++;
		sleep_ms(w->pause_ms);
	}
	return NULL;
}

/* Documents of a writer's settled batches that are missing, and that are there more often than once. */
static inline enum db_result look_over(struct world *world, const struct writer *w, uint64_t *missing, uint64_t *twice,
				       struct db_problem *problem)
{
	uint8_t *present = malloc(w->records);
	struct db_client client;
	enum db_result result = db_client_pop(world->db, &client, problem);

	for (unsigned n = 1; result == DB_OK && n <= w->settled; n++) {
		struct made made;
		make_batch(&made, w->id, n, w->records);
		result = read_batch_positions(&client, &made.batch, false, present, w->records, problem);
		for (uint32_t i = 0; i < w->records; i++) {
			*missing += !present[i];
			*twice += present[i] > 1;
		}
		drop_batch(&made);
	}
	db_client_done(&client);
	free(present);
	return result;
}

#endif
