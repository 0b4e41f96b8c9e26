/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fill - fills a database with the heavy-tailed mix of traffic.h at a rate and over a time of one's choice, through the
 * recorder's own encoder and sink: the benchmarks' months of history, in minutes. Wall time is made up, so records of a
 * month can be written at once; order, batches, buckets and open revisions are those that the recorder would make at
 * that rate.
 *
 * usage: fill URI DATABASE --packets N --rate R [--day YYYYMMDD] [--storage buckets|documents] [--span S] [--open]
 *             [--rest] [--live N] [--threads N] [--pcap FILE] [--plain] [--without-index]
 *
 *   --rate R      packets a second of made-up time; all gaps of the mix are stretched alike
 *   --day D       the first UTC day, from its midnight (default 20260101)
 *   --open        quiet traffic as the recorder writes it: open buckets, replaced every 2 s of made-up time
 *   --live N      conversations at a time (default 1500: then one of ten packets lasts 12 minutes at 20 packets a second)
 *   --rest        the mix with all that a network carries besides (traffic_rest.c)
 *   --pcap FILE   the same packets as a capture file with a snapshot length of 96 bytes
 *   --plain       no time series: documents of the plain collection `plain`, indexes on local and remote
 *   --without-index   the host index is dropped from each day's collection, for a comparison
 *
 * Last line: JSON with packets, batches, revisions, seconds, first and last day.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/core/log.h"
#include "recorder/db/days.h"
#include "recorder/db/ensure.h"
#include "recorder/db/migrate.h"
#include "recorder/db/probe.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/mongo.h"
#include "tests/bench/traffic.h"

#define GAP_NS 300.5 /* mean gap of the mix, trace_add */
#define AGE_NS (2 * NS_PER_SEC)
#define AGE_FIRST_NS (NS_PER_SEC / 5)
#define BUCKETS_MOST 262144u
#define DOCUMENTS_MOST 4096u
#define OPEN_MOST 1000u
#define SNAPLEN 96u
#define THREADS_MOST 128

struct fill {
	const char *uri, *database, *pcap;
	uint64_t packets;
	double rate;
	uint32_t day;
	unsigned span_s, threads, live;
	enum probe_wanted wanted;
	bool open, rest, plain, without_index;

	struct db *db;
	struct migrations migrations;
	struct days *days;
	struct ends_table *ends;
	struct sink *sink;
	struct probe_storage storage;
	struct batch_source source;
	struct clock_pair pair;
	FILE *file;

	struct trace trace;
	pthread_mutex_t lock;
	uint32_t next; /* first record of the trace that is in no batch yet */
	uint64_t number, batches, revisions;
	uint32_t prepared; /* the newest day whose collections are there */
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "fill: %s: %s\n", what, why);
	exit(1);
}

static double seconds_now(void)
{
	return (double)clock_boot_ns() / 1e9;
}

/* ---- batches ------------------------------------------------------------------------------------------------ */

static int64_t wall_of(const struct fill *f, const struct rec_head *record)
{
	return (int64_t)record->time + clock_pair_offset(&f->pair);
}

static void drop_index(struct fill *f, uint32_t day)
{
	char name[DAYS_NAME];
	bson_t *command = BCON_NEW("dropIndexes", BCON_UTF8(days_collection(name, "packets", day)), "index", "hosts");
	struct db_problem problem;

	if (db_run(f->db, NULL, command, NULL, &problem) != DB_OK)
		fail("index", problem.text);
	bson_destroy(command);
}

static void prepare(struct fill *f, uint32_t day)
{
	struct db_problem problem;

	if (f->prepared == day)
		return;
	if (days_prepare(f->days, day, day, &problem) != DB_OK)
		fail("collections", problem.text);
	if (f->without_index)
		drop_index(f, day);
	f->prepared = day;
}

/* How many records from `first` on make one batch, by the recorder's rules; *most of them are there before it closes. */
static uint32_t batch_length(const struct fill *f, uint32_t first, const struct sink_storage *storage)
{
	const bool buckets = storage->mode == JOURNAL_BUCKETS;
	int64_t begin = wall_of(f, f->trace.records[first]), end = clock_day_start(clock_next_day(clock_day(begin)));
	int64_t span = (int64_t)storage->span_s * (int64_t)NS_PER_SEC;
	uint32_t n = 0, most = buckets ? BUCKETS_MOST : DOCUMENTS_MOST;

	if (span && begin - begin % span + span < end)
		end = begin - begin % span + span;
	while (first + n < f->trace.n && n < most) {
		int64_t age = wall_of(f, f->trace.records[first + n]) - begin;

		if (begin + age >= end || (!buckets && age >= (int64_t)AGE_FIRST_NS) ||
		    (buckets && age >= (int64_t)AGE_NS && n >= OPEN_MOST))
			break;
		n++;
	}
	return n;
}

static void describe(struct fill *f, struct batch *batch, struct batch_second *seconds)
{
	batch->bytes = 0;
	batch->nseconds = 0;
	batch->seconds = seconds;
	batch->first_boot = batch->records[0]->time;
	batch->last_boot = batch->records[batch->nrecords - 1]->time;
	for (uint32_t i = 0; i < batch->nrecords; i++)
		batch->bytes += batch->records[i]->wire_len;
	for (unsigned side = 0; side < REC_SIDES; side++) {
		struct batch_second *s = &seconds[batch->nseconds++];

		*s = (struct batch_second){.sec = batch->first_boot / NS_PER_SEC, .side = side};
		for (uint32_t i = 0; i < batch->nrecords; i++)
			if (batch->records[i]->side == side) {
				s->packets++;
				s->bytes += batch->records[i]->wire_len;
			}
	}
	if (canonical_order(batch) || canonical_digest(batch))
		fail("batch", "cannot be ordered");
	(void)f;
}

static void write_batch(struct fill *f, struct batch *batch)
{
	struct batch_second seconds[REC_SIDES];
	struct sink_report report;
	struct sink_job *job;
	int error;

	describe(f, batch, seconds);
	error = f->sink->encode(f->sink, batch, &job);
	if (error)
		fail("encode", strerror(-error));
	for (;;) {
		enum sink_outcome outcome = f->sink->write(f->sink, job, &report);
		uint64_t now = clock_boot_ns();

		if (outcome == SINK_SETTLED)
			break;
		if (outcome != SINK_AGAIN)
			fail("write", report.problem);
		if (report.again_ns > now) {
			struct timespec t = {.tv_nsec = (long)((report.again_ns - now) % NS_PER_SEC)};

			nanosleep(&t, NULL);
		}
	}
	f->sink->job_free(f->sink, job);
	__atomic_add_fetch(&f->revisions, 1, __ATOMIC_RELAXED);
}

/* The revisions of an open bucket: 200 ms behind its first packet, then every 2 s, as long as packets came. */
static void write_open(struct fill *f, struct batch *batch, const struct rec_head *const *records, uint32_t n)
{
	uint64_t begin = records[0]->time, due = begin + AGE_FIRST_NS;
	uint32_t written = 0, at = 0;

	while (at < n) {
		while (at < n && records[at]->time < due)
			at++;
		if (at > written && at < n) {
			memcpy(batch->records, records, at * sizeof(*records));
			batch->nrecords = at;
			batch->open = true;
			write_batch(f, batch);
			written = at;
		}
		due += AGE_NS;
	}
	memcpy(batch->records, records, n * sizeof(*records));
	batch->nrecords = n;
	batch->open = false;
	write_batch(f, batch);
}

/* The next batch's records, numbered in their order. False: the trace is used up. */
static bool take(struct fill *f, struct batch *batch, uint32_t *first, struct sink_storage *storage)
{
	bool more;

	pthread_mutex_lock(&f->lock);
	more = f->next < f->trace.n;
	if (more) {
		uint32_t day = clock_day(wall_of(f, f->trace.records[f->next]));

		*first = f->next;
		prepare(f, day);
		*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
		f->sink->storage(f->sink, day, storage);
		if (f->wanted == PROBE_BUCKETS && storage->mode != JOURNAL_BUCKETS)
			fail("storage", "the sink does not give buckets");
		batch->nrecords = batch_length(f, *first, storage);
		batch->day = day;
		batch->number = ++f->number;
		f->batches++;
		f->next += batch->nrecords;
	}
	pthread_mutex_unlock(&f->lock);
	return more;
}

static void *work(void *arg)
{
	struct fill *f = arg;
	const struct rec_head **records = malloc(BUCKETS_MOST * sizeof(*records));
	struct batch_range range = {.side = REC_RX};
	struct sink_storage storage;
	uint32_t first;

	for (;;) {
		struct batch batch = {.source = &f->source, .records = records, .pair = f->pair, .version = ENCODE_VERSION};

		if (!take(f, &batch, &first, &storage))
			break;
		range.records = batch.nrecords;
		batch.ranges = &range;
		batch.nranges = 1;
		batch.mode = storage.mode;
		batch.span_s = storage.span_s;
		batch.form = storage.form;
		batch.raw = storage.raw;
		if (f->open && storage.mode == JOURNAL_BUCKETS && storage.replace && batch.nrecords <= OPEN_MOST) {
			write_open(f, &batch, f->trace.records + first, batch.nrecords);
		} else {
			memcpy(records, f->trace.records + first, batch.nrecords * sizeof(*records));
			write_batch(f, &batch);
		}
	}
	free(records);
	return NULL;
}

/* ---- the other ways ------------------------------------------------------------------------------------------ */

static void put_pcap(struct fill *f)
{
	for (uint32_t i = 0; i < f->trace.n; i++) {
		const struct rec_head *r = f->trace.records[i];
		uint32_t cap = r->wire_len < SNAPLEN ? r->wire_len : SNAPLEN, have = r->cap_len < cap ? r->cap_len : cap;
		int64_t wall = wall_of(f, r);
		uint32_t head[4] = {(uint32_t)(wall / (int64_t)NS_PER_SEC), (uint32_t)(wall % (int64_t)NS_PER_SEC), cap,
				    r->wire_len};
		uint8_t bytes[SNAPLEN];

		for (uint32_t b = have; b < cap; b++)
			bytes[b] = (uint8_t)traffic_below(256);
		memcpy(bytes, record_bytes(r), have);
		if (fwrite(head, sizeof(head), 1, f->file) != 1 || fwrite(bytes, cap, 1, f->file) != 1)
			fail(f->pcap, strerror(errno));
	}
}

static void put_plain(struct fill *f)
{
	struct command_buffer buffer = {0};
	struct db_problem problem;
	struct db_client client;

	if (db_client_pop(f->db, &client, &problem) != DB_OK)
		fail("plain", problem.text);
	for (uint32_t first = 0; first < f->trace.n; first += DOCUMENTS_MOST) {
		uint32_t n = f->trace.n - first < DOCUMENTS_MOST ? f->trace.n - first : DOCUMENTS_MOST, next = 0;
		struct batch batch = {.source = &f->source, .number = ++f->number, .version = ENCODE_VERSION,
				      .records = f->trace.records + first, .nrecords = n, .pair = f->pair};

		while (next < n) {
			bson_t command;

			if (document_command(&buffer, "plain", &batch, f->ends, next, n - next, NULL, 1 << 20, DB_MAX_TIME_MS,
					     &next) <= 0 ||
			    !bson_init_static(&command, buffer.data, buffer.len))
				fail("plain", "cannot be encoded");
			if (db_command(&client, NULL, &command, NULL, &problem) != DB_OK)
				fail("plain", problem.text);
		}
		f->batches++;
	}
	db_client_done(&client);
	command_buffer_free(&buffer);
}

static void make_plain(struct fill *f)
{
	bson_t *command = BCON_NEW("createIndexes", "plain", "indexes", "[", "{", "key", "{", "local", BCON_INT32(1), "}", "name",
				   "local", "}", "{", "key", "{", "remote", BCON_INT32(1), "}", "name", "remote", "}", "]");
	struct db_problem problem;

	if (db_run(f->db, NULL, command, NULL, &problem) != DB_OK)
		fail("plain", problem.text);
	bson_destroy(command);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

/* Another trace of the mix, behind the one before in time, `n` packets of it. */
static void next_trace(struct fill *f, uint32_t n, uint64_t *base)
{
	double stretch = 1e9 / f->rate / GAP_NS;
	uint64_t begin;

	memset(f->trace.used, 0, sizeof(f->trace.used));
	f->trace.n = 0;
	begin = f->trace.time;
	traffic_flows_of(&f->trace, f->rest, f->live);
	if (n < f->trace.n)
		f->trace.n = n;
	for (uint32_t i = 0; i < f->trace.n; i++) {
		struct rec_head *r = (struct rec_head *)f->trace.records[i];

		r->time = *base + (uint64_t)((double)(r->time - begin) * stretch);
	}
	*base = f->trace.records[f->trace.n - 1]->time + 1;
	f->next = 0;
}

static void write_trace(struct fill *f)
{
	pthread_t thread[THREADS_MOST];

	if (f->file)
		put_pcap(f);
	if (f->plain) {
		put_plain(f);
		return;
	}
	for (unsigned i = 0; i < f->threads; i++)
		if (pthread_create(&thread[i], NULL, work, f))
			fail("threads", "cannot be made");
	for (unsigned i = 0; i < f->threads; i++)
		pthread_join(thread[i], NULL);
}

static void open_database(struct fill *f)
{
	struct db_problem problem = {0};
	struct migrate_report report;

	f->ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	if (!f->ends ||
	    db_open(&f->db, &(struct db_options){.uri = f->uri, .database = f->database, .clients = f->threads}, &problem) !=
		    DB_OK ||
	    migrations_load(&f->migrations, NULL, &problem) != DB_OK ||
	    migrate_run(f->db, &f->migrations, NULL, &report, &problem) != DB_OK ||
	    probe_storage(f->db, f->wanted, &f->storage, &problem) != DB_OK)
		fail("database", problem.text);
	f->days = days_new(f->db, &f->migrations, f->span_s);
	f->sink = mongo_sink_new(&(struct mongo_sink_options){.db = f->db, .days = f->days, .ends = f->ends});
	if (!f->days || !f->sink)
		fail("database", "out of memory");
	mongo_sink_set_storage(f->sink, &f->storage);
	if (f->plain)
		make_plain(f);
}

static void open_pcap(struct fill *f)
{
	/* magic of ns, version 2.4, zone and accuracy 0, snapshot length, Ethernet */
	static const uint32_t head[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, SNAPLEN, 1};

	f->file = fopen(f->pcap, "w");
	if (!f->file || fwrite(head, sizeof(head), 1, f->file) != 1)
		fail(f->pcap, strerror(errno));
}

static void parse(struct fill *f, int argc, char **argv)
{
	enum { PACKETS_, RATE, DAY_, STORAGE, SPAN, OPEN, REST, THREADS, PCAP_, PLAIN, WITHOUT_INDEX, LIVE_ };
	static const struct option options[] = {
		{"packets", 1, 0, PACKETS_}, {"rate", 1, 0, RATE},   {"day", 1, 0, DAY_},	  {"storage", 1, 0, STORAGE},
		{"span", 1, 0, SPAN},	     {"open", 0, 0, OPEN},   {"rest", 0, 0, REST},	  {"threads", 1, 0, THREADS},
		{"pcap", 1, 0, PCAP_},	     {"plain", 0, 0, PLAIN}, {"without-index", 0, 0, WITHOUT_INDEX},
		{"live", 1, 0, LIVE_},	     {0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case PACKETS_: f->packets = strtoull(optarg, NULL, 10); break;
		case RATE: f->rate = strtod(optarg, NULL); break;
		case DAY_: f->day = (uint32_t)strtoul(optarg, NULL, 10); break;
		case STORAGE: f->wanted = strcmp(optarg, "documents") ? PROBE_BUCKETS : PROBE_DOCUMENTS; break;
		case SPAN: f->span_s = (unsigned)strtoul(optarg, NULL, 10); break;
		case OPEN: f->open = true; break;
		case REST: f->rest = true; break;
		case THREADS: f->threads = (unsigned)strtoul(optarg, NULL, 10); break;
		case PCAP_: f->pcap = optarg; break;
		case PLAIN: f->plain = true; break;
		case WITHOUT_INDEX: f->without_index = true; break;
		case LIVE_: f->live = (unsigned)strtoul(optarg, NULL, 10); break;
		default: exit(2);
		}
	}
	if (argc - optind != 2 || !f->packets || f->rate <= 0 || !f->threads || f->threads > THREADS_MOST || !f->live ||
	    f->live > LIVE) {
		fprintf(stderr, "usage: fill URI DATABASE --packets N --rate R [options]: see the head of tests/bench/fill.c\n");
		exit(2);
	}
	f->uri = argv[optind];
	f->database = argv[optind + 1];
}

int main(int argc, char **argv)
{
	struct fill f = {.day = 20260101, .threads = 16, .live = LIVE, .wanted = PROBE_BUCKETS,
			 .source = {.capture = "fill", .sensor = "fill", .iface = "mix0", .cpus = 2}};
	uint64_t base = NS_PER_SEC, left;
	double begin;

	parse(&f, argc, argv);
	memcpy(f.source.capture + 4, &f.day, sizeof(f.day));
	f.pair = (struct clock_pair){.boot = base, .wall = clock_day_start(f.day)};
	pthread_mutex_init(&f.lock, NULL);
	open_database(&f);
	if (f.pcap)
		open_pcap(&f);
	trace_init(&f.trace);
	begin = seconds_now();
	for (left = f.packets; left;) {
		next_trace(&f, left < PACKETS ? (uint32_t)left : PACKETS, &base);
		write_trace(&f);
		left -= f.trace.n;
	}
	if (f.file && fclose(f.file))
		fail(f.pcap, strerror(errno));
	printf("{\"packets\": %llu, \"batches\": %llu, \"revisions\": %llu, \"seconds\": %.3f, \"first\": %u, \"last\": %u, "
	       "\"storage\": \"%s\"}\n",
	       (unsigned long long)f.packets, (unsigned long long)f.batches, (unsigned long long)f.revisions,
	       seconds_now() - begin, f.day, clock_day((int64_t)base - 1 + clock_pair_offset(&f.pair)), f.storage.why);
	f.sink->close(f.sink);
	days_free(f.days);
	migrations_free(&f.migrations);
	db_close(f.db);
	ends_table_free(f.ends);
	trace_free(&f.trace);
	return 0;
}
