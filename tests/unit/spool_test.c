/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spool's files: what goes in comes out, whatever becomes of the bytes in between; and which way a batch takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "recorder/core/crc32c.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/spool.h"
#include "recorder/sink/spool_batch.h"
#include "recorder/sink/spool_internal.h"
#include "recorder/sink/spool_store.h"
#include "tests/db/batches.h"

#define ROOM ((uint64_t)1 << 30)

static char place[64]; /* in memory: there are thousands of syncs */

static int new_place(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	strcpy(place, "/dev/shm/spool-test-XXXXXX");
	return mkdtemp(place) ? 0 : -1;
}

static int remove_place(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", place);
	return system(command);
}

static int open_place(void)
{
	return open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct spool_store *store_of(uint64_t bytes, size_t segment)
{
	struct spool_store_options options = {
		.dir = open_place(), .name = place, .bytes = bytes, .segment_bytes = segment};
	struct spool_store *store = NULL;

	assert_int_equal(spool_store_open(&store, &options), 0);
	return store;
}

/* Record `number`, of a length that follows from it. */
static size_t length_of(uint64_t number)
{
	return 1 + number * 37 % 300;
}

static int put_record(struct spool_store *store, uint64_t number)
{
	uint8_t bytes[sizeof(struct spool_head) + 400];
	struct spool_head head = {.type = SPOOL_BATCH, .number = number, .packets = 1};

	memset(head.capture, 7, sizeof(head.capture));
	for (size_t i = 0; i < length_of(number); i++)
		bytes[sizeof(head) + i] = (uint8_t)(number + i);
	return spool_store_append(store, &head, bytes, length_of(number));
}

static void same_record(const struct spool_record *record, uint64_t number)
{
	assert_int_equal(record->head.number, number);
	assert_int_equal(record->head.length, length_of(number));
	for (size_t i = 0; i < record->head.length; i++)
		assert_int_equal(record->payload[i], (uint8_t)(number + i));
}

/* Reads on until there is nothing; numbers must ascend. How many there were; *damaged: places that were passed by. */
static unsigned read_all(struct spool_store *store, uint64_t *last, unsigned *damaged)
{
	struct spool_record record;
	unsigned n = 0;
	int got;

	*last = 0;
	*damaged = 0;
	while ((got = spool_store_next(store, &record))) {
		*damaged += got == -EIO;
		if (got != 1)
			continue;
		assert_true(record.head.number > *last);
		*last = record.head.number;
		same_record(&record, record.head.number);
		free(record.payload);
		n++;
	}
	return n;
}

/* ---- the checksum ------------------------------------------------------------------------------------------------ */

static void crc32c_is_castagnolis(void **state)
{
	uint8_t bytes[300];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720's check value */
	assert_int_equal(crc32c_plain(0, "123456789", 9), 0xe3069283);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 13);
	for (unsigned from = 0; from < 9; from++)
		for (unsigned n = 0; n < sizeof(bytes) - from; n++) {
			assert_int_equal(crc32c(0, bytes + from, n), crc32c_plain(0, bytes + from, n));
			assert_int_equal(crc32c(crc32c(0, bytes, from), bytes + from, n), crc32c(0, bytes, from + n));
		}
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static void what_goes_in_comes_out(void **state)
{
	struct spool_store *store = store_of(ROOM, 2000);
	struct spool_store_counts counts;
	uint64_t last;
	unsigned damaged;

	(void)state;
	for (uint64_t n = 1; n <= 100; n++)
		assert_int_equal(put_record(store, n), 0);
	spool_store_counts(store, &counts);
	assert_int_equal(counts.batches, 100);
	assert_int_equal(counts.packets, 100);
	assert_true(counts.segments > 5);
	assert_int_equal(read_all(store, &last, &damaged), 100);
	spool_store_counts(store, &counts);
	assert_int_equal(counts.batches, 100); /* handed out is not acknowledged */
	spool_store_commit(store);
	spool_store_counts(store, &counts);
	assert_int_equal(counts.batches, 0);
	assert_int_equal(counts.segments, 0);
	assert_int_equal(counts.bytes, 0);
	assert_int_equal(put_record(store, 101), 0); /* and it goes on */
	assert_int_equal(read_all(store, &last, &damaged), 1);
	spool_store_close(store);
}

static void reopened_it_goes_on_where_it_was_committed(void **state)
{
	struct spool_store *store = store_of(ROOM, 2000);
	struct spool_record record;
	uint8_t capture[CAPTURE_ID_LEN], digest[DIGEST_LEN] = {0};
	uint64_t last;
	unsigned damaged;

	(void)state;
	memset(capture, 7, sizeof(capture));
	for (uint64_t n = 1; n <= 50; n++)
		assert_int_equal(put_record(store, n), 0);
	for (uint64_t n = 1; n <= 20; n++) {
		assert_int_equal(spool_store_next(store, &record), 1);
		assert_false(record.inherited);
		free(record.payload);
		if (n == 13)
			spool_store_commit(store);
	}
	spool_store_close(store);
	store = store_of(ROOM, 2000);
	assert_true(spool_store_holds(store, capture, 14, digest));
	assert_false(spool_store_holds(store, capture, 13, digest));
	assert_false(spool_store_holds(store, capture, 51, digest));
	digest[0] = 1;
	assert_false(spool_store_holds(store, capture, 14, digest)); /* another batch of that number */
	assert_int_equal(put_record(store, 51), 0);
	assert_int_equal(spool_store_next(store, &record), 1);
	assert_int_equal(record.head.number, 14);
	assert_true(record.inherited);
	free(record.payload);
	assert_int_equal(read_all(store, &last, &damaged), 37);
	assert_int_equal(last, 51);
	assert_int_equal(damaged, 0);
	spool_store_close(store);
}

static void file_of(uint64_t sequence, char path[128])
{
	char name[SPOOL_NAME];

	snprintf(path, 128, "%s/%s", place, spool_name(name, sequence));
}

static size_t slurp(const char *path, uint8_t *bytes, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t n;

	assert_non_null(file);
	n = fread(bytes, 1, size, file);
	fclose(file);
	return n;
}

static void spill(const char *path, const uint8_t *bytes, size_t n)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

/* Where each of the first `n` records ends. */
static void ends_of(size_t *end, unsigned n)
{
	end[0] = sizeof(struct spool_segment);
	for (unsigned i = 1; i <= n; i++)
		end[i] = end[i - 1] + sizeof(struct spool_head) + length_of(i);
}

static void torn_at_every_byte(void **state)
{
	enum { N = 8 };
	struct spool_store *store = store_of(ROOM, 0);
	static uint8_t bytes[8192];
	size_t end[N + 1], length;
	char path[128];

	(void)state;
	for (uint64_t n = 1; n <= N; n++)
		assert_int_equal(put_record(store, n), 0);
	spool_store_close(store);
	file_of(1, path);
	length = slurp(path, bytes, sizeof(bytes));
	ends_of(end, N);
	assert_int_equal(length, end[N]);
	for (size_t cut = 0; cut <= length; cut++) {
		struct spool_store_counts counts;
		unsigned whole = 0, damaged;
		uint64_t last;

		while (whole < N && end[whole + 1] <= cut)
			whole++;
		spill(path, bytes, cut);
		store = store_of(ROOM, 0);
		assert_int_equal(put_record(store, 1000), 0);
		assert_int_equal(read_all(store, &last, &damaged), whole + 1);
		assert_int_equal(damaged, 0);
		spool_store_counts(store, &counts);
		assert_int_equal(counts.torn, cut > end[0] && cut != end[whole]);
		spool_store_commit(store);
		spool_store_counts(store, &counts);
		assert_int_equal(counts.segments, 0);
		assert_int_equal(counts.aside, 0);
		spool_store_close(store);
	}
}

/* Each byte in turn is another one: at most the record that it is in is missing, and the file is kept aside. */
static void corrupt_at_every_byte(void **state)
{
	enum { N = 6 };
	struct spool_store *store = store_of(ROOM, 0);
	static uint8_t bytes[8192];
	size_t length, end[N + 1];
	char path[128], aside[144];

	(void)state;
	for (uint64_t n = 1; n <= N; n++)
		assert_int_equal(put_record(store, n), 0);
	spool_store_close(store);
	file_of(1, path);
	snprintf(aside, sizeof(aside), "%s.corrupt", path);
	length = slurp(path, bytes, sizeof(bytes));
	ends_of(end, N);
	log_set_level((enum log_level) - 1);
	for (size_t at = end[0]; at < length; at++) {
		struct spool_store_counts counts;
		unsigned damaged;
		uint64_t last;

		bytes[at] ^= 0x10;
		spill(path, bytes, length);
		bytes[at] ^= 0x10;
		store = store_of(ROOM, 0);
		assert_int_equal(read_all(store, &last, &damaged), N - 1);
		assert_int_equal(damaged, 1);
		spool_store_commit(store);
		spool_store_counts(store, &counts);
		assert_int_equal(counts.aside, 1);
		assert_int_equal(counts.batches, 0);
		assert_int_equal(access(aside, F_OK), 0);
		unlink(aside);
		spool_store_close(store);
	}
	/* The front: not a segment any more, unless it is the place, which only costs reading again. */
	for (size_t at = 0; at < end[0]; at++) {
		unsigned damaged, n;
		uint64_t last;

		bytes[at] ^= 0x10;
		spill(path, bytes, length);
		bytes[at] ^= 0x10;
		store = store_of(ROOM, 0);
		n = read_all(store, &last, &damaged);
		assert_true(n == N || !access(aside, F_OK));
		spool_store_commit(store);
		unlink(aside);
		spool_store_close(store);
	}
	log_set_level(LOG_ERROR);
}

static void full_is_said_and_is_over_when_there_is_room(void **state)
{
	struct spool_store *store = store_of(8000, 1000);
	struct spool_store_counts counts;
	uint64_t n = 0, last;
	unsigned damaged;
	int err;

	(void)state;
	while (!(err = put_record(store, n + 1)))
		n++;
	assert_int_equal(err, -ENOSPC);
	assert_true(n > 20);
	spool_store_counts(store, &counts);
	assert_true(counts.bytes <= 8000);
	assert_int_equal(counts.batches, n);
	assert_int_equal(counts.refused, 1);
	assert_int_equal(read_all(store, &last, &damaged), n);
	assert_int_equal(put_record(store, n + 1), -ENOSPC);
	spool_store_commit(store);
	assert_int_equal(put_record(store, n + 1), 0);
	spool_store_close(store);
}

/* ---- the disk, in place of the C library's ------------------------------------------------------------------------ */

/* One call in so many fails; 0: none. */
static unsigned failing_syncs, failing_writes;
static unsigned disk_errors;

static bool fails(unsigned one_in)
{
	static unsigned seed = 1;

	if (!one_in || (unsigned)rand_r(&seed) % one_in)
		return false;
	disk_errors++;
	return true;
}

/* A disk that takes its time, so that the others have something to wait for on any machine. */
int fdatasync(int fd)
{
	usleep(200);
	if (fails(failing_syncs)) {
		errno = EIO;
		return -1;
	}
	return fsync(fd);
}

/* What fails may have been written in part, and that part may have been said. */
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
	if (fails(failing_writes)) {
		if (n > 1 && disk_errors % 2)
			return syscall(SYS_pwrite64, fd, bytes, n / 2, at);
		if (syscall(SYS_pwrite64, fd, bytes, n / 2, at) < 0)
			return -1;
		errno = disk_errors % 3 ? EIO : ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, bytes, n, at);
}

/* A disk that fails now and then: what was acknowledged is there, each once and in order, also for who opens it again; the rest is not. */
static void a_failing_disk_keeps_what_it_acknowledged(void **state)
{
	enum { N = 3000 };
	static bool kept[N + 1];
	struct spool_store *store = store_of(ROOM, 20000);
	struct spool_store_counts counts;
	unsigned acknowledged = 0, damaged;
	uint64_t last;

	(void)state;
	failing_syncs = 20;
	failing_writes = 30;
	disk_errors = 0;
	for (uint64_t n = 1; n <= N; n++) {
		int err = put_record(store, n);

		assert_true(!err || err == -EIO || err == -ENOSPC);
		kept[n] = !err;
		acknowledged += !err;
	}
	failing_syncs = failing_writes = 0;
	assert_true(disk_errors > 100 && acknowledged > N / 2 && acknowledged < N);
	spool_store_counts(store, &counts);
	assert_int_equal(counts.batches, acknowledged);
	assert_int_equal(counts.refused, N - acknowledged);
	assert_int_equal(read_all(store, &last, &damaged), acknowledged);
	assert_int_equal(damaged, 0);
	spool_store_close(store);

	store = store_of(ROOM, 20000);
	for (uint64_t n = 1; n <= N; n++) {
		struct spool_record record;

		if (!kept[n])
			continue;
		assert_int_equal(spool_store_next(store, &record), 1);
		same_record(&record, n);
		free(record.payload);
	}
	assert_int_equal(read_all(store, &last, &damaged), 0); /* and nothing else */
	spool_store_close(store);
}

struct appender {
	pthread_t thread;
	struct spool_store *store;
	uint8_t id;
	unsigned count;
};

static void *append_many(void *arg)
{
	struct appender *a = arg;

	for (uint64_t n = 1; n <= a->count; n++) {
		uint8_t bytes[sizeof(struct spool_head) + 100];
		struct spool_head head = {.type = SPOOL_BATCH, .number = n, .packets = 1};

		memset(head.capture, a->id, sizeof(head.capture));
		memset(bytes + sizeof(head), a->id, 100);
		if (spool_store_append(a->store, &head, bytes, 100))
			abort();
	}
	return NULL;
}

/* Several write, one reads and commits; each one's records stay in order, and syncs are shared. */
static void several_at_once(void **state)
{
	enum { THREADS = 6, EACH = 300 };
	struct spool_store *store = store_of(ROOM, 20000);
	struct appender appender[THREADS];
	struct spool_store_counts counts;
	uint64_t seen[THREADS] = {0};
	unsigned total = 0;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		appender[i] = (struct appender){.store = store, .id = (uint8_t)i, .count = EACH};
		assert_int_equal(pthread_create(&appender[i].thread, NULL, append_many, &appender[i]), 0);
	}
	while (total < THREADS * EACH) {
		struct spool_record record;

		if (spool_store_next(store, &record) != 1)
			continue;
		assert_int_equal(record.head.number, ++seen[record.head.capture[0]]);
		free(record.payload);
		if (++total % 17 == 0)
			spool_store_commit(store);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(appender[i].thread, NULL);
	spool_store_commit(store);
	spool_store_counts(store, &counts);
	assert_int_equal(counts.batches, 0);
	assert_int_equal(counts.segments, 0);
	assert_true(counts.syncs < counts.appended);
	spool_store_close(store);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static void a_batch_comes_back(void **state)
{
	struct made made;
	struct spool_batch back;
	uint8_t digest[DIGEST_LEN];
	size_t size;
	uint8_t *bytes;

	(void)state;
	make_batch(&made, 9, 1234, 500);
	made.batch.mode = JOURNAL_BUCKETS;
	made.batch.span_s = 60;
	made.batch.form = 3;
	made.batch.salt = 5;
	made.batch.raw = made.batch.assumed_span = true;
	made.batch.attempted = 1;
	size = spool_batch_size(&made.batch);
	bytes = malloc(size);
	spool_batch_pack(&made.batch, bytes);
	assert_int_equal(spool_batch_unpack(&back, bytes, size), 0);
	assert_int_equal(back.batch.number, 1234);
	assert_int_equal(back.batch.nrecords, 500);
	assert_int_equal(back.batch.span_s, 60);
	assert_int_equal(back.batch.form, 3);
	assert_int_equal(back.batch.salt, 5);
	assert_true(back.batch.raw && back.batch.assumed_span && back.batch.attempted && !back.batch.foreign);
	assert_int_equal(back.batch.bytes, made.batch.bytes);
	assert_string_equal(back.source.sensor, "test");
	assert_string_equal(back.source.iface, "veth0");
	assert_memory_equal(&back.batch.pair, &made.batch.pair, sizeof(made.batch.pair));
	assert_memory_equal(back.batch.ranges, &made.range, sizeof(made.range));
	assert_memory_equal(back.batch.seconds, &made.second, sizeof(made.second));
	memcpy(digest, back.batch.digest, sizeof(digest));
	assert_int_equal(canonical_digest(&back.batch), 0); /* of the records that came back */
	assert_memory_equal(back.batch.digest, digest, sizeof(digest));
	spool_batch_drop(&back);
	for (size_t n = 0; n < size; n++) { /* in memory of its own, so that a step beyond it is seen */
		uint8_t *part = malloc(n + 1);

		memcpy(part, bytes, n);
		assert_int_equal(spool_batch_unpack(&back, part, n), -EBADMSG);
		free(part);
	}
	free(bytes);
	drop_batch(&made);
}

/* ---- which way ----------------------------------------------------------------------------------------------------
 */

/* A database that takes what comes or does not, and notes in which order: 'b' a batch, 'd' a document. */
struct fake {
	struct sink sink;
	bool away;
	size_t most; /* documents that one call has time for, 0: any */
	size_t taken; /* by put_many */
	char order[64];
	unsigned n, tries;
	unsigned span_s; /* of any day, 0: not known */
	uint16_t mode, formed_span; /* of the batch that was encoded last */
};

static struct fake *fake_of(struct sink *sink)
{
	return container_of(sink, struct fake, sink);
}

static int fake_encode(struct sink *sink, struct batch *batch, struct sink_job **job)
{
	fake_of(sink)->mode = batch->mode;
	fake_of(sink)->formed_span = batch->span_s;
	*job = (struct sink_job *)batch;
	return 0;
}

static enum sink_outcome fake_take(struct fake *f, char what, struct sink_report *report)
{
	memset(report, 0, sizeof(*report));
	f->tries++;
	if (!f->away) {
		f->order[f->n++ % sizeof(f->order)] = what;
		report->latency_ns = 1;
		return SINK_SETTLED;
	}
	snprintf(report->problem, sizeof(report->problem), "away");
	report->again_ns = clock_boot_ns();
	return SINK_AGAIN;
}

static enum sink_outcome fake_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	(void)job;
	return fake_take(fake_of(sink), 'b', report);
}

static void fake_job_free(struct sink *sink, struct sink_job *job)
{
	(void)sink;
	(void)job;
}

static enum sink_outcome fake_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
				  const bson_value_t *from, const bson_value_t *to, struct sink_report *report)
{
	(void)family;
	(void)day;
	(void)document;
	(void)from;
	(void)to;
	return fake_take(fake_of(sink), 'd', report);
}

static enum sink_outcome fake_put_many(struct sink *sink, const char *family, uint32_t day,
				       const bson_t *const *documents, size_t count, struct sink_report *report)
{
	(void)family;
	(void)day;
	(void)documents;
	if (fake_of(sink)->most && count > fake_of(sink)->most) {
		memset(report, 0, sizeof(*report));
		fake_of(sink)->tries++;
		snprintf(report->problem, sizeof(report->problem), "answers slowly");
		report->again_ns = clock_boot_ns();
		return SINK_AGAIN;
	}
	fake_of(sink)->taken += fake_of(sink)->away ? 0 : count;
	for (size_t i = 1; i < count && !fake_of(sink)->away; i++)
		fake_take(fake_of(sink), 'd', report);
	return fake_take(fake_of(sink), 'd', report);
}

static void fake_storage(struct sink *sink, uint32_t day, struct sink_storage *storage)
{
	const unsigned span_s = fake_of(sink)->span_s;

	(void)day;
	*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
	if (span_s)
		*storage = (struct sink_storage){
			.mode = JOURNAL_BUCKETS, .span_s = (uint16_t)span_s, .form = 3, .raw = true, .replace = true};
}

static enum sink_outcome fake_days(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report)
{
	(void)sink;
	(void)first;
	(void)last;
	memset(report, 0, sizeof(*report));
	return SINK_SETTLED;
}

static void fake_nothing(struct sink *sink)
{
	(void)sink;
}

static struct sink *spool_before(struct fake *f)
{
	struct spool_sink_options options = {
		.inner = &f->sink, .dir = open_place(), .name = place, .bytes = ROOM, .patience_ms = 30};
	struct sink *sink;

	f->sink = (struct sink){.name = "fake",
				.encode = fake_encode,
				.write = fake_write,
				.job_free = fake_job_free,
				.put = fake_put,
				.put_many = fake_put_many,
				.storage = fake_storage,
				.prepare_days = fake_days,
				.cancel = fake_nothing,
				.close = fake_nothing};
	sink = spool_sink_new(&options);
	assert_non_null(sink);
	return sink;
}

/* One batch until it is settled. True: on the disk. `guessed`: of buckets, for a day that nobody has seen. */
static bool batch_written(struct sink *sink, uint64_t number, bool guessed)
{
	struct sink_report report;
	struct sink_job *job;
	struct made made;
	enum sink_outcome outcome;

	make_batch(&made, 3, number, 5);
	if (guessed) {
		made.batch.mode = JOURNAL_BUCKETS;
		made.batch.span_s = 10;
		made.batch.form = 3;
		made.batch.assumed_span = true;
	}
	assert_int_equal(sink->encode(sink, &made.batch, &job), 0);
	do
		outcome = sink->write(sink, job, &report);
	while (outcome == SINK_AGAIN);
	assert_int_equal(outcome, SINK_SETTLED);
	sink->job_free(sink, job);
	drop_batch(&made);
	return report.spooled;
}

static bool one_batch(struct sink *sink, uint64_t number)
{
	return batch_written(sink, number, false);
}

static bool one_document(struct sink *sink)
{
	bson_t *document = BCON_NEW("_id", BCON_INT32(1));
	struct sink_report report;

	assert_int_equal(sink->put(sink, "events", 0, document, NULL, NULL, &report), SINK_SETTLED);
	bson_destroy(document);
	return report.spooled;
}

static void the_order_holds(void **state)
{
	struct fake fake = {.span_s = 60};
	struct sink *sink = spool_before(&fake);
	struct sink_storage storage;
	struct sink_report report;
	unsigned tries;

	(void)state;
	assert_false(spool_sink_knows_storage(sink));
	assert_true(one_batch(sink, 1)); /* it is not ready yet */
	spool_sink_ready(sink);
	spool_sink_note_storage(sink, MADE_DAY);
	assert_int_equal(spool_sink_replay(sink, &report), SINK_AGAIN);
	assert_int_equal(spool_sink_replay(sink, &report), SINK_SETTLED);
	assert_false(one_batch(sink, 2));
	assert_false(one_document(sink));
	assert_string_equal(fake.order, "bbd");
	fake.away = true;
	tries = fake.tries;
	assert_true(one_batch(sink, 3));
	assert_true(fake.tries > tries); /* as long as its patience */
	tries = fake.tries;
	assert_true(one_document(sink));
	assert_true(one_batch(sink, 4)); /* at once */
	assert_true(one_document(sink));
	assert_int_equal(fake.tries, tries);
	fake.span_s = 0; /* the next day's collection: nobody has seen it */
	sink->storage(sink, 20260201, &storage);
	assert_int_equal(storage.mode, JOURNAL_BUCKETS);
	assert_int_equal(storage.span_s, 60);
	assert_true(storage.assumed && !storage.replace);
	assert_int_equal(spool_sink_replay(sink, &report), SINK_AGAIN);
	assert_string_equal(report.problem, "away");
	fake.away = false;
	assert_true(one_document(sink)); /* still behind */
	while (spool_sink_replay(sink, &report) != SINK_SETTLED)
		;
	assert_string_equal(fake.order, "bbdbbddd");
	assert_false(one_document(sink));
	assert_false(one_batch(sink, 5));
	sink->close(sink);
	sink = spool_before(&fake); /* the next process, without its database */
	assert_true(spool_sink_knows_storage(sink));
	sink->storage(sink, MADE_DAY, &storage);
	assert_int_equal(storage.span_s, 60);
	sink->close(sink);
}

/* More of them than the server does in the time of a call, whenever they come: they go there in smaller parts. */
static void many_documents_go_in_parts(void **state)
{
	enum { MANY = 10000 };
	struct fake fake = {.most = 1000};
	struct sink *sink = spool_before(&fake);
	bson_t *document = BCON_NEW("_id", BCON_INT32(1));
	const bson_t *list[MANY];
	struct sink_report report;
	unsigned rounds = 0;

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		list[i] = document;
	spool_sink_ready(sink);
	assert_int_equal(sink->put_many(sink, "floods", MADE_DAY, list, MANY, &report), SINK_SETTLED);
	assert_true(report.spooled);
	while (spool_sink_replay(sink, &report) != SINK_SETTLED)
		assert_true(rounds++ < 1000);
	assert_int_equal(fake.taken, MANY);
	/* As a build before this one kept them. */
	assert_int_equal(spool_put_documents(container_of(sink, struct spool, sink), "floods", MADE_DAY, list, MANY, NULL, NULL), 0);
	assert_int_equal(spool_put_documents(container_of(sink, struct spool, sink), "floods", MADE_DAY, list, 1, NULL, NULL), 0);
	while (spool_sink_replay(sink, &report) != SINK_SETTLED)
		assert_true(rounds++ < 1000);
	assert_int_equal(fake.taken, 2 * MANY);
	bson_destroy(document);
	sink->close(sink);
}

/* Killed in the midst of replaying, and followed by a process with another storage: the batch is formed as it was before. */
static void a_guess_is_decided_once(void **state)
{
	struct fake fake = {.span_s = 600};
	struct sink *sink = spool_before(&fake);
	struct sink_report report;
	char path[256];

	(void)state;
	spool_sink_ready(sink);
	assert_true(batch_written(sink, 1, true)); /* never directly */
	assert_int_equal(fake.tries, 0);
	fake.away = true; /* from the middle of it on */
	assert_int_equal(spool_sink_replay(sink, &report), SINK_AGAIN);
	assert_int_equal(fake.mode, JOURNAL_BUCKETS);
	assert_int_equal(fake.formed_span, 600);
	sink->close(sink);

	fake.span_s = 0; /* documents */
	sink = spool_before(&fake);
	spool_sink_ready(sink);
	assert_int_equal(spool_sink_replay(sink, &report), SINK_AGAIN);
	assert_int_equal(fake.mode, JOURNAL_BUCKETS);
	assert_int_equal(fake.formed_span, 600);
	sink->close(sink);

	snprintf(path, sizeof(path), "%s/decided", place); /* control: without the decision it is another */
	assert_int_equal(unlink(path), 0);
	sink = spool_before(&fake);
	spool_sink_ready(sink);
	assert_int_equal(spool_sink_replay(sink, &report), SINK_AGAIN);
	assert_int_equal(fake.mode, JOURNAL_DOCUMENTS);
	sink->close(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_is_castagnolis),
		cmocka_unit_test_setup_teardown(what_goes_in_comes_out, new_place, remove_place),
		cmocka_unit_test_setup_teardown(reopened_it_goes_on_where_it_was_committed, new_place, remove_place),
		cmocka_unit_test_setup_teardown(torn_at_every_byte, new_place, remove_place),
		cmocka_unit_test_setup_teardown(corrupt_at_every_byte, new_place, remove_place),
		cmocka_unit_test_setup_teardown(full_is_said_and_is_over_when_there_is_room, new_place, remove_place),
		cmocka_unit_test_setup_teardown(a_failing_disk_keeps_what_it_acknowledged, new_place, remove_place),
		cmocka_unit_test_setup_teardown(several_at_once, new_place, remove_place),
		cmocka_unit_test(a_batch_comes_back),
		cmocka_unit_test_setup_teardown(the_order_holds, new_place, remove_place),
		cmocka_unit_test_setup_teardown(many_documents_go_in_parts, new_place, remove_place),
		cmocka_unit_test_setup_teardown(a_guess_is_decided_once, new_place, remove_place),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
