/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spool in front of a real server: what was kept while it was away comes into it once, as documents and as buckets;
 * while the server is killed, and while who replays is killed (kill -9, in a process of its own) at any moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/spool.h"
#include "tests/db/writers.h"

#define SPAN_S 3600u
#define LATE_MS 300u
#define SENDERS 4
#define PACKETS 700u

static struct world world;
static struct probe_storage storage;
static char place[64];

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	strcpy(place, "/tmp/spool-test-XXXXXX");
	return mkdtemp(place) ? world_new_buckets(&world, SPAN_S, &storage) : -1;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	world_remove(&world);
	snprintf(command, sizeof(command), "rm -rf '%s'", place);
	return system(command);
}

static struct sink *new_spool(struct db *db, struct days *days)
{
	struct sink *inner = mongo_sink_new(&(struct mongo_sink_options){
		.db = db, .days = days, .ends = world.ends, .late_ms = LATE_MS, .hasty = true});
	struct spool_sink_options options = {.inner = inner,
					     .dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
					     .name = place,
					     .bytes = 1 << 30,
					     .segment_bytes = 200000,
					     .patience_ms = 400};
	struct sink *sink;

	mongo_sink_set_storage(inner, &storage);
	sink = spool_sink_new(&options);
	assert_non_null(sink);
	return sink;
}

static void batch_of(struct made *made, uint8_t id, uint64_t number, bool buckets)
{
	make_batch(made, id, number, PACKETS);
	if (!buckets)
		return;
	made->batch.mode = JOURNAL_BUCKETS;
	made->batch.span_s = SPAN_S;
	made->batch.form = storage.version;
	made->batch.raw = storage.raw;
}

static void put_event(struct sink *sink, uint32_t n, struct sink_report *report, enum sink_outcome want)
{
	bson_t *event = BCON_NEW("_id", BCON_INT32((int32_t)n), "kind", "spooltest");

	assert_int_equal(sink->put(sink, "events", 0, event, NULL, NULL, report), want);
	bson_destroy(event);
}

static unsigned replay_all(struct sink *sink, unsigned seconds)
{
	uint64_t until = clock_boot_ns() + seconds * NS_PER_SEC;
	struct sink_report report;
	unsigned calls = 0;

	while (spool_sink_replay(sink, &report) != SINK_SETTLED) {
		calls++;
		if (clock_boot_ns() > until)
			fail_msg("not replayed in %u s: %s", seconds, report.problem);
		while (clock_boot_ns() < report.again_ns)
			sleep_ms(2);
	}
	return calls;
}

/* Batches 1, 2, ... of documents of capture `id` that are there, each packet once. */
static int64_t whole_batches_of(uint8_t id)
{
	struct db_problem problem = {0};
	uint64_t missing = 0, twice = 0;
	struct writer w = {.id = id, .records = PACKETS};

	for (w.settled = 1; w.settled < 1000; w.settled++) {
		missing = twice = 0;
		if (look_over(&world, &w, &missing, &twice, &problem) != DB_OK)
			fail_msg("%s", problem.text);
		if (missing || twice)
			break;
	}
	return w.settled - 1;
}

static int64_t all_packets(void)
{
	return count_matching(world.db, "packets_20260131", "{}");
}

static void kept_and_sent(void **state)
{
	struct sink *sink = new_spool(world.db, world.days);
	struct spool_sink_status status;
	struct sink_report report;
	int64_t before = all_packets(), entries = count_matching(world.db, "batches_20260131", "{\"mode\": 1}");

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct made made;

		batch_of(&made, (uint8_t)(10 + i % 2), 1 + i / 2, i % 2);
		assert_int_equal(write_batch(sink, &made.batch, &report), SINK_SETTLED);
		drop_batch(&made);
		put_event(sink, i, &report, SINK_SETTLED);
		assert_true(report.spooled);
	}
	spool_sink_status(sink, &status);
	assert_int_equal(status.store.batches, 8);
	assert_int_equal(status.store.packets, 8 * PACKETS);
	assert_int_equal(status.store.documents, 8);
	assert_true(status.away);
	assert_int_equal(all_packets(), before);
	sink->close(sink);
	sink = new_spool(world.db, world.days); /* the next process */
	spool_sink_ready(sink);
	put_event(sink, 100, &report, SINK_SETTLED);
	assert_true(report.spooled); /* behind what is kept, though the server is there */
	assert_int_equal(count_matching(world.db, "events", "{\"kind\": \"spooltest\"}"), 0);
	replay_all(sink, 30);
	assert_int_equal(all_packets(), before + 8 * PACKETS);
	assert_int_equal(whole_batches_of(10), 4);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"mode\": 2}"), 4);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{\"mode\": 1}"), entries + 4);
	assert_int_equal(count_matching(world.db, "events", "{\"kind\": \"spooltest\"}"), 9);
	spool_sink_status(sink, &status);
	assert_int_equal(status.store.segments, 0);
	assert_int_equal(status.replayed_packets, 8 * PACKETS);
	assert_false(status.away);
	put_event(sink, 101, &report, SINK_SETTLED);
	assert_false(report.spooled);
	sink->close(sink);
}

/* ---- the server is killed, with writers all the time ---- */

/* Every batch has a time of its own: what was attempted is looked for there. */
struct sender {
	pthread_t thread;
	struct sink *sink;
	uint8_t id;
	_Atomic bool *stop;
	unsigned settled;
	uint64_t longest_ns; /* call of write */
};

#define SENT 200u
#define SENT_MOST 60u /* batches: an engine that is slow to start must not make this a long test */

static void sender_batch(struct made *made, const struct sender *s, uint64_t number)
{
	make_batch(made, s->id, number, SENT);
	made->batch.pair.wall += (int64_t)(s->id * 10 * NS_PER_SEC + number * NS_PER_SEC / 100);
	canonical_digest(&made->batch);
}

static void *sender_run(void *arg)
{
	struct sender *s = arg;

	while (!*s->stop && s->settled < SENT_MOST) {
		struct sink_report report;
		struct sink_job *job;
		struct made made;
		enum sink_outcome outcome;

		sender_batch(&made, s, s->settled + 1);
		if (s->sink->encode(s->sink, &made.batch, &job))
			abort();
		do {
			uint64_t began = clock_boot_ns();
			outcome = s->sink->write(s->sink, job, &report);
			began = clock_boot_ns() - began;
			s->longest_ns = began > s->longest_ns ? began : s->longest_ns;
			while (outcome == SINK_AGAIN && clock_boot_ns() < report.again_ns)
				sleep_ms(1);
		} while (outcome == SINK_AGAIN);
		s->sink->job_free(s->sink, job);
		drop_batch(&made);
		s->settled++;
		sleep_ms(150);
	}
	return NULL;
}

static void sender_check(const struct sender *s, uint64_t *missing, uint64_t *twice)
{
	struct db_problem problem = {0};
	uint8_t present[SENT];
	struct db_client client;

	assert_int_equal(db_client_pop(world.db, &client, &problem), DB_OK);
	for (unsigned n = 1; n <= s->settled; n++) {
		struct made made;

		sender_batch(&made, s, n);
		if (read_batch_positions(&client, &made.batch, false, present, SENT, &problem) != DB_OK)
			fail_msg("%s", problem.text);
		for (uint32_t i = 0; i < SENT; i++) {
			*missing += !present[i];
			*twice += present[i] > 1;
		}
		drop_batch(&made);
	}
	db_client_done(&client);
}

struct replayer {
	pthread_t thread;
	struct sink *sink;
	_Atomic bool stop;
};

static void *replayer_run(void *arg)
{
	struct replayer *r = arg;
	struct sink_report report;

	while (!r->stop) {
		spool_sink_replay(r->sink, &report);
		sleep_ms(10);
	}
	return NULL;
}

static void the_server_is_killed(void **state)
{
	struct replayer replayer = {.sink = new_spool(world.db, world.days)};
	struct sender senders[SENDERS] = {0};
	struct spool_sink_status status;
	uint64_t missing = 0, twice = 0, longest = 0, batches = 0;
	_Atomic bool stop = false;

	(void)state;
	spool_sink_ready(replayer.sink);
	assert_int_equal(pthread_create(&replayer.thread, NULL, replayer_run, &replayer), 0);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.sink = replayer.sink, .id = (uint8_t)(40 + i), .stop = &stop};
		assert_int_equal(pthread_create(&senders[i].thread, NULL, sender_run, &senders[i]), 0);
	}
	for (unsigned round = 0; round < 3; round++) {
		sleep_ms(400 + 137 * round);
		if (round == 1) {
			kill(world.engine.pid, SIGSTOP);
			sleep_ms(1500);
		}
		engine_kill(&world.engine);
		sleep_ms(900);
		if (engine_up(&world.engine))
			fail_msg("%s", world.engine.error);
	}
	sleep_ms(300);
	stop = true;
	for (unsigned i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	replayer.stop = true;
	pthread_join(replayer.thread, NULL);
	spool_sink_status(replayer.sink, &status);
	replay_all(replayer.sink, 40);
	for (unsigned i = 0; i < SENDERS; i++) {
		longest = senders[i].longest_ns > longest ? senders[i].longest_ns : longest;
		batches += senders[i].settled;
		sender_check(&senders[i], &missing, &twice);
	}
	print_message(
		"%llu batches, of them spooled %llu, replayed %llu; longest call %llu ms, missing %llu, twice %llu\n",
		(unsigned long long)batches, (unsigned long long)status.spooled_batches,
		(unsigned long long)status.replayed_batches, (unsigned long long)longest / 1000000,
		(unsigned long long)missing, (unsigned long long)twice);
	assert_true(status.spooled_batches > 0);
	assert_int_equal(missing, 0);
	assert_int_equal(twice, 0);
	assert_int_equal(count_matching(world.db, "batches_20260131", "{}"), (int64_t)batches);
	replayer.sink->close(replayer.sink);
}

/* ---- who replays is killed ---- */

static void __attribute__((noreturn)) child_replays(void)
{
	struct db_problem problem = {0};
	struct sink_report report;
	struct sink *sink;
	struct days *days;
	struct db *db;

	if (db_open(&db, &(struct db_options){.uri = world.engine.uri}, &problem) != DB_OK)
		_exit(1);
	days = days_new(db, &world.migrations, 0);
	sink = new_spool(db, days);
	spool_sink_ready(sink);
	while (spool_sink_replay(sink, &report) != SINK_SETTLED)
		while (clock_boot_ns() < report.again_ns)
			sleep_ms(1);
	_exit(0);
}

static void killed_while_replaying(void **state)
{
	enum { BATCHES = 40 };
	struct sink *sink = new_spool(world.db, world.days);
	int64_t before = all_packets();
	struct sink_report report;
	unsigned kills = 0;
	int status = 1;

	(void)state;
	for (unsigned i = 0; i < BATCHES; i++) {
		struct made made;

		batch_of(&made, (uint8_t)(80 + i % 2), 1 + i / 2, i % 2);
		assert_int_equal(write_batch(sink, &made.batch, &report), SINK_SETTLED);
		drop_batch(&made);
	}
	sink->close(sink);
	for (unsigned round = 0; round < 40 && status; round++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid)
			child_replays();
		for (unsigned ms = 0; ms < 60 + 90 * round; ms += 5) {
			if (waitpid(pid, &status, WNOHANG) == pid) {
				pid = 0;
				break;
			}
			sleep_ms(5);
		}
		if (!pid)
			break;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		kills++;
	}
	print_message("%u kills\n", kills);
	assert_int_equal(status, 0);
	assert_true(kills > 2);
	assert_int_equal(whole_batches_of(80), BATCHES / 2);
	assert_int_equal(all_packets(), before + BATCHES * (int64_t)PACKETS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_server_is_killed), /* first: it counts the ledger */
		cmocka_unit_test(kept_and_sent),
		cmocka_unit_test(killed_while_replaying),
	};

	return cmocka_run_group_tests_name("spool", tests, set_up, tear_down);
}
