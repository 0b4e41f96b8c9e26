/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buckets while the server is killed in mid-batch and in mid-replacement, again and again, and the recorder beside it: every
 * packet is there, once. --times N: kills; --seed N: of the moments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"
#include "tests/db/writers.h"

#define SPAN_S 3600u
#define KILLS 20
#define MOST_S 30u
#define WRITERS 4
#define REVISIONS 5 /* of an open batch, 100 packets more each; the last one is closed */
#define PACKETS 3000u
#define APART_US 5000u /* between the first packets of two batches: more than PACKETS */
#define MOST_BATCHES 20000u

static struct world world;
static struct sink *sink;

struct filler {
	pthread_t thread;
	char iface[8];
	uint8_t id;
	bool open;
	unsigned most;	 /* batches, 0: until *stop */
	unsigned forget; /* this batch is not written. The control */
	_Atomic bool *stop;
	_Atomic bool writing;
	uint64_t random;
	unsigned settled, taken_over;
	uint32_t *packets; /* [settled]: of each batch */
};

static unsigned kills; /* 0: KILLS, or as many as MOST_S allow */
static uint64_t seed = 1;

static uint32_t random_below(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33) % n;
}

static int set_up(void **state)
{
	struct probe_storage storage;

	(void)state;
	log_set_level(LOG_ERROR);
	if (world_new_buckets(&world, SPAN_S, &storage))
		return -1;
	sink = world_sink(&world, 300);
	mongo_sink_set_storage(sink, &storage);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink->close(sink);
	world_remove(&world);
	return 0;
}

/* Until it is settled. Now and then the recorder dies: the next one knows only that it may have been sent, and closes it. */
static void settle(struct filler *f, struct batch *batch)
{
	struct sink_report report;
	enum sink_outcome outcome;
	struct sink_job *job;

	if (sink->encode(sink, batch, &job))
		abort();
	do {
		f->writing = true;
		outcome = sink->write(sink, job, &report);
		f->writing = false;
		if (outcome == SINK_AGAIN && !report.waiting && !random_below(&f->random, 16)) {
			sink->job_free(sink, job);
			batch->attempted = 1;
			batch->open = false;
			f->taken_over++;
			if (sink->encode(sink, batch, &job))
				abort();
		}
		while (outcome == SINK_AGAIN && clock_boot_ns() < report.again_ns)
			sleep_ms(1);
	} while (outcome == SINK_AGAIN);
	if (outcome != SINK_SETTLED)
		abort();
	sink->job_free(sink, job);
}

/* Each batch has times of its own, so that each packet is one of a kind. */
static void make_next(struct made *made, const struct filler *f, uint32_t n)
{
	struct sink_storage storage;

	sink->storage(sink, MADE_DAY, &storage);
	make_batch(made, f->id, f->settled + 1, n);
	made->source.iface = f->iface;
	made->batch.mode = storage.mode;
	made->batch.span_s = storage.span_s;
	made->batch.form = storage.form;
	made->batch.raw = storage.raw;
	made->batch.pair.wall += f->settled * (int64_t)APART_US * 1000;
	canonical_digest(&made->batch);
}

static void *fill(void *arg)
{
	struct filler *f = arg;

	while (f->settled < MOST_BATCHES && (f->most ? f->settled < f->most : !*f->stop)) {
		uint32_t n = PACKETS;

		for (unsigned r = f->open ? 1 : REVISIONS; r <= REVISIONS; r++) {
			struct made made;
			bool closed;

			n = f->open ? 100 * r : PACKETS;
			make_next(&made, f, n);
			made.batch.open = r < REVISIONS;
			if (f->settled + 1 != f->forget)
				settle(f, &made.batch);
			closed = !made.batch.open;
			drop_batch(&made);
			if (closed)
				break;
		}
		f->packets[f->settled++] = n;
		sleep_ms(random_below(&f->random, 10));
	}
	return NULL;
}

/* ---- packet by packet ------------------------------------------------------------------------------------------ */

struct seen {
	const struct filler *filler;
	uint8_t *times; /* [settled * APART_US] */
	uint64_t missing, twice, wrong;
};

static bool look_at(void *arg, const bson_t *document)
{
	struct seen *s = arg;
	bson_iter_t ts, ns, ipid;
	int64_t us, i;

	if (!bson_iter_init_find(&ts, document, "ts") || !bson_iter_init_find(&ns, document, "ns") ||
	    !bson_iter_init_find(&ipid, document, "ipid"))
		return false;
	us = bson_iter_date_time(&ts) * 1000 + bson_iter_int32(&ns) / 1000 -
	     (clock_day_start(MADE_DAY) / 1000 + 12 * 3600 * 1000000ll);
	i = us % APART_US;
	if (us < 0 || us / APART_US >= s->filler->settled || i >= s->filler->packets[us / APART_US] ||
	    bson_iter_as_int64(&ipid) != ((i * 7919) & 0xffff))
		s->wrong++;
	else if (s->times[us]++)
		s->twice++;
	return true;
}

/* What find() shows of a filler's packets, beside what it wrote. */
static void compare(const struct filler *f, struct seen *s)
{
	struct db_problem problem = {0};
	struct db_client client;
	bson_t *find = BCON_NEW("find", "packets_20260131", "filter", "{", "meta.iface", BCON_UTF8(f->iface), "}",
				"projection", "{", "_id", BCON_INT32(0), "ts", BCON_INT32(1), "ns", BCON_INT32(1),
				"ipid", BCON_INT32(1), "}");

	*s = (struct seen){.filler = f, .times = calloc(f->settled + 1, APART_US)};
	if (db_client_pop(world.db, &client, &problem) != DB_OK ||
	    db_each(&client, NULL, find, look_at, s, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	db_client_done(&client);
	bson_destroy(find);
	for (unsigned n = 0; n < f->settled; n++)
		for (uint32_t i = 0; i < f->packets[n]; i++)
			s->missing += !s->times[n * APART_US + i];
	free(s->times);
}

static void filler_start(struct filler *f, unsigned i, _Atomic bool *stop)
{
	f->id = (uint8_t)(i + 1);
	f->open = i % 2;
	f->stop = stop;
	f->random = seed * 100 + i;
	f->packets = calloc(MOST_BATCHES, sizeof(*f->packets));
	snprintf(f->iface, sizeof(f->iface), "w%u", i);
	assert_int_equal(pthread_create(&f->thread, NULL, fill, f), 0);
}

/* Every second kill waits for a replacement that is under way. True: it was when the server was killed. */
static bool kill_one(struct filler *fillers, unsigned round, uint64_t *random)
{
	struct filler *aim = &fillers[1 + 2 * random_below(random, WRITERS / 2)];
	uint64_t deadline;
	bool writing;

	sleep_ms(random_below(random, 400));
	deadline = clock_boot_ns() + NS_PER_SEC;
	while (round % 2 && !aim->writing && clock_boot_ns() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	nanosleep(&(struct timespec){.tv_nsec = random_below(random, 1000000)}, NULL);
	writing = aim->writing;
	engine_kill(&world.engine);
	if (engine_up(&world.engine))
		fail_msg("%s", world.engine.error);
	return writing;
}

static void killed(void **state)
{
	static struct filler fillers[WRITERS];
	struct mongo_sink_counts counts;
	unsigned batches = 0, hit = 0, taken_over = 0, round = 0;
	uint64_t random = seed, began = clock_boot_ns();
	_Atomic bool stop = false;

	(void)state;
	for (unsigned i = 0; i < WRITERS; i++)
		filler_start(&fillers[i], i, &stop);
	do { /* on a slow machine MOST_S is a few kills, and it may be that none of them met anything */
		hit += kill_one(fillers, round++, &random);
		mongo_sink_counts(sink, &counts);
	} while (kills ? round < kills
		       : round < KILLS && (clock_boot_ns() - began < MOST_S * NS_PER_SEC || !hit || !counts.unknown));
	sleep_ms(300);
	stop = true;
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(fillers[i].thread, NULL);
	mongo_sink_counts(sink, &counts);
	for (unsigned i = 0; i < WRITERS; i++) {
		struct seen s;

		batches += fillers[i].settled;
		taken_over += fillers[i].taken_over;
		assert_true(fillers[i].settled > 0);
		compare(&fillers[i], &s);
		if (s.missing || s.twice || s.wrong)
			fail_msg("writer %u, seed %llu: %llu packets missing, %llu twice, %llu wrong", i,
				 (unsigned long long)seed, (unsigned long long)s.missing, (unsigned long long)s.twice,
				 (unsigned long long)s.wrong);
		free(fillers[i].packets);
	}
	print_message("%u kills, %u in mid-replacement, %u batches, %u taken over, %llu unknown, %llu buckets there "
		      "already, %llu refused, %llu clashes\n",
		      round, hit, batches, taken_over, (unsigned long long)counts.unknown,
		      (unsigned long long)counts.buckets_there, (unsigned long long)counts.buckets_refused,
		      (unsigned long long)counts.clashes);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{}"), (int64_t)batches);
	assert_true(counts.unknown > 0 && hit > 0); /* else nothing was tried */
	assert_int_equal(counts.clashes, 0);
}

/* The control: a writer that forgets a batch, and one that has its last one twice. */
static void one_less_is_seen(void **state)
{
	struct filler f = {.most = 3, .forget = 2};
	struct sink_report report;
	struct sink_job *job;
	struct made made;
	struct seen s;

	(void)state;
	filler_start(&f, 100, NULL);
	pthread_join(f.thread, NULL);
	compare(&f, &s);
	assert_int_equal(s.missing, PACKETS);
	assert_int_equal(s.twice + s.wrong, 0);
	f.settled--;
	make_next(&made, &f, PACKETS);
	made.batch.number += 1000; /* under another identity */
	assert_int_equal(sink->encode(sink, &made.batch, &job), 0);
	while (sink->write(sink, job, &report) == SINK_AGAIN)
		sleep_ms(10);
	sink->job_free(sink, job);
	drop_batch(&made);
	f.settled++;
	compare(&f, &s);
	assert_int_equal(s.missing, PACKETS);
	assert_int_equal(s.twice, PACKETS);
	free(f.packets);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(killed), cmocka_unit_test(one_less_is_seen)};

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--times"))
			kills = (unsigned)strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--seed"))
			seed = strtoul(argv[i + 1], NULL, 10);
	}
	return cmocka_run_group_tests_name("sink_bucket_kill", tests, set_up, tear_down);
}
