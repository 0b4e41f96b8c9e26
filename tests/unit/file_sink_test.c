/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink into a file: the same bytes whatever interrupts it, and wherever. Real files, pipes and limits; only fdatasync is
 * made to fail by the test itself.
 */
#include "recorder/sink/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "recorder/encode/pcapng.h"
#include "recorder/sink/tee.h"
#include "recorder/source/savefile.h"
#include "tests/db/batches.h"

static int sync_fails; /* so many calls from now on */
int fdatasync(int fd);

/* In place of libc's, for the sink too: thousands of files that nobody needs need not reach the disk. */
int fdatasync(int fd)
{
	if (sync_fails) {
		sync_fails--;
		errno = EIO;
		return -1;
	}
	(void)fd;
	return 0;
}

static char path[] = "/dev/shm/file_sink_test.XXXXXX";
static struct ends_table *ends;
static struct made made[4]; /* batches 1 to 4 of a capture */
static struct made other;   /* batch 1 of another */
static const enum file_format formats[] = { FILE_PCAPNG, FILE_JSON };

static struct sink *try_fd(int fd, enum file_format format, struct file_problem *problem)
{
	const struct file_sink_options options = { fd, "the file", format, NULL, ends };

	assert_true(fd >= 0);
	return file_sink_new(&options, problem);
}

static struct sink *opened_fd(int fd, enum file_format format)
{
	struct file_problem problem = { "" };
	struct sink *sink = try_fd(fd, format, &problem);

	if (!sink) {
		print_error("%s\n", problem.text);
		fail();
	}
	return sink;
}

static struct sink *opened(enum file_format format)
{
	return opened_fd(open(path, O_RDWR | O_CLOEXEC), format);
}

static struct sink_job *encoded(struct sink *sink, struct made *m)
{
	struct sink_job *job;

	assert_int_equal(sink->encode(sink, &m->batch, &job), 0);
	return job;
}

static struct sink_report report;

static enum sink_outcome written(struct sink *sink, struct sink_job *job)
{
	memset(&report, 0, sizeof(report));
	return sink->write(sink, job, &report);
}

static void store(struct sink *sink, struct made *m)
{
	struct sink_job *job = encoded(sink, m);

	assert_int_equal(written(sink, job), SINK_SETTLED);
	assert_int_equal(report.inserted + report.found, m->batch.nrecords);
	sink->job_free(sink, job);
}

struct content {
	uint8_t bytes[1 << 16];
	size_t len;
};

static void set_content(const void *bytes, size_t len)
{
	int fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void get_content(struct content *c)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	c->len = (size_t)read(fd, c->bytes, sizeof(c->bytes));
	assert_true(c->len < sizeof(c->bytes));
	close(fd);
}

static void content_is(const struct content *want)
{
	static struct content is;

	get_content(&is);
	assert_int_equal(is.len, want->len);
	assert_memory_equal(is.bytes, want->bytes, want->len);
}

static struct content reference;

/* Batches 1 to n in an empty file. */
static void make_reference(enum file_format format, unsigned n)
{
	struct sink *sink;

	set_content("", 0);
	sink = opened(format);
	for (unsigned i = 0; i < n; i++)
		store(sink, &made[i]);
	sink->close(sink);
	get_content(&reference);
}

static void two_captures_as_our_reader_reads_them(void **state)
{
	struct savefile *file;
	struct savefile_packet p;
	struct savefile_error error;
	struct sink *sink;
	unsigned packets[2] = { 0 };

	(void)state;
	set_content("", 0);
	sink = opened(FILE_PCAPNG);
	store(sink, &made[0]);
	store(sink, &other);
	store(sink, &made[1]);
	sink->close(sink);
	assert_int_equal(savefile_open(&file, open(path, O_RDONLY), path, &error), 0);
	while (savefile_next(file, &p, &error) == 1) {
		assert_in_range(p.interface, 0, 1);
		assert_int_equal(p.cap_len, MADE_FRAME);
		assert_int_equal(p.direction, 1);
		assert_int_equal(p.wall, batch_wall(&made[0].batch, MADE_BOOT) + packets[p.interface] % 3 * 1000);
		packets[p.interface]++;
	}
	assert_int_equal(packets[0], 6);
	assert_int_equal(packets[1], 3);
	assert_string_equal(savefile_interface(file, 1)->name, "veth0");
	savefile_close(file);
}

/* Wherever the file ends: a new process that is told to write the same batches makes the very same file of it. */
static void cut_at_every_byte(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		make_reference(formats[f], 2);
		for (size_t cut = 0; cut <= reference.len; cut++) {
			struct sink *sink;

			set_content(reference.bytes, cut);
			sink = opened(formats[f]);
			store(sink, &made[0]);
			store(sink, &made[1]);
			sink->close(sink);
			content_is(&reference);
		}
	}
}

static void zeros_behind_it_are_cut_off(void **state)
{
	static struct content zeros;

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct sink *sink;

		make_reference(formats[f], 2);
		zeros = reference;
		memset(zeros.bytes + zeros.len, 0, 5000);
		set_content(zeros.bytes, zeros.len + 5000);
		sink = opened(formats[f]);
		sink->close(sink);
		content_is(&reference);
	}
}

static void refused(enum file_format format, const void *bytes, size_t len, const char *text)
{
	static struct content before;
	struct file_problem problem = { "" };

	set_content(bytes, len);
	get_content(&before);
	assert_null(try_fd(open(path, O_RDWR), format, &problem));
	if (!strstr(problem.text, text)) {
		print_error("'%s' does not say '%s'\n", problem.text, text);
		fail();
	}
	content_is(&before);
}

static void what_is_not_ours(void **state)
{
	static struct content damaged;
	uint8_t section[PCAPNG_SECTION_MAX];
	size_t n = pcapng_section(section, NULL, NULL, "Dumpcap");

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		refused(formats[f], "x", 1, "is not a recording of this program");
		refused(formats[f], "a text of some length\n", 22, "is not a recording of this program");
		refused(formats[f], "\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\0\0\4\0\1\0\0\0", 24, "is not a recording of this program");
		refused(formats[f], section, n, "is not a recording of this program");
		make_reference(formats[f], 2);
		refused(formats[!f], reference.bytes, reference.len, "is not a recording of this program");
		damaged = reference;
		memset(damaged.bytes + damaged.len / 2, 0x99, 200);
		refused(formats[f], damaged.bytes, damaged.len, "is damaged at byte");
	}
	refused(FILE_JSON, "{\"a\":1}\n", 8, "is not a recording of this program");
	/* Without a newline it could be a torn line of ours, but for what stands there. */
	refused(FILE_JSON, "{\"_id\":\"hello\",\"x\":1}", 21, "is not a recording of this program");
}

static void in_number_order(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct sink *sink;
		struct sink_job *first, *second, *third;

		make_reference(formats[f], 3);
		set_content("", 0);
		sink = opened(formats[f]);
		first = encoded(sink, &made[0]);
		second = encoded(sink, &made[1]);
		third = encoded(sink, &made[2]);
		assert_int_equal(written(sink, second), SINK_AGAIN);
		assert_true(report.waiting);
		assert_int_equal(written(sink, third), SINK_AGAIN);
		assert_int_equal(written(sink, first), SINK_SETTLED);
		assert_int_equal(written(sink, third), SINK_AGAIN);
		assert_int_equal(written(sink, second), SINK_SETTLED);
		assert_int_equal(written(sink, third), SINK_SETTLED);
		assert_int_equal(written(sink, third), SINK_SETTLED); /* asked again: nothing more */
		sink->job_free(sink, first);
		sink->job_free(sink, second);
		sink->job_free(sink, third);
		sink->close(sink);
		content_is(&reference);
	}
}

/* The database wants the first under another salt: until it has come again, it still is the one that goes first. */
static void encoded_anew(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct sink *sink;
		struct sink_job *first, *second;

		make_reference(formats[f], 2);
		set_content("", 0);
		sink = opened(formats[f]);
		first = encoded(sink, &made[0]);
		second = encoded(sink, &made[1]);
		sink->job_free(sink, first);
		assert_int_equal(written(sink, second), SINK_AGAIN);
		assert_true(report.waiting);
		first = encoded(sink, &made[0]);
		assert_int_equal(written(sink, second), SINK_AGAIN);
		assert_int_equal(written(sink, first), SINK_SETTLED);
		assert_int_equal(written(sink, second), SINK_SETTLED);
		sink->job_free(sink, first);
		sink->job_free(sink, second);
		first = encoded(sink, &made[0]);
		sink->job_free(sink, first); /* and one that never comes again, for close */
		sink->close(sink);
		content_is(&reference);
	}
}

static void limit_file(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that is full in the middle of a batch, wherever: RLIMIT_FSIZE gives a short write and then EFBIG. */
static void full_disk(void **state)
{
	static struct content one;
	size_t step = 7;

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		make_reference(formats[f], 1);
		one = reference;
		make_reference(formats[f], 2);
		for (size_t room = one.len; room < reference.len; room += step) {
			struct sink *sink;
			struct sink_job *job;

			set_content("", 0);
			sink = opened(formats[f]);
			store(sink, &made[0]);
			job = encoded(sink, &made[1]);
			limit_file(room);
			assert_int_equal(written(sink, job), SINK_AGAIN);
			assert_false(report.waiting);
			assert_non_null(strstr(report.problem, "the file: cannot be written: File too large"));
			assert_true(report.again_ns > clock_boot_ns());
			content_is(&one);
			limit_file(RLIM_INFINITY);
			assert_int_equal(written(sink, job), SINK_SETTLED);
			sink->job_free(sink, job);
			sink->close(sink);
			content_is(&reference);
		}
	}
}

/* A failed fdatasync: what came behind the last good one is written once more. */
static void failing_disk(void **state)
{
	(void)state;
	for (unsigned good = 0; good < 3; good++)
		for (unsigned f = 0; f < 2; f++) {
			struct sink *sink;
			struct sink_job *job[3];

			make_reference(formats[f], 3);
			set_content("", 0);
			sink = opened(formats[f]);
			for (unsigned i = 0; i < 3; i++)
				job[i] = encoded(sink, &made[i]);
			for (unsigned i = 0; i < good; i++)
				assert_int_equal(written(sink, job[i]), SINK_SETTLED);
			sync_fails = 1;
			assert_int_equal(written(sink, job[good]), SINK_AGAIN);
			assert_non_null(strstr(report.problem, "fdatasync"));
			for (unsigned i = good; i < 3; i++)
				assert_int_equal(written(sink, job[i]), SINK_SETTLED);
			for (unsigned i = 0; i < 3; i++)
				sink->job_free(sink, job[i]);
			sink->close(sink);
			content_is(&reference);
		}
}

/* The part that a former process had written stays, also when the rest has to be written twice. */
static void failing_disk_behind_a_beginning(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		make_reference(formats[f], 1);
		for (size_t cut = 0; cut < reference.len; cut += 5) {
			struct sink *sink;
			struct sink_job *job;

			set_content(reference.bytes, cut);
			sink = opened(formats[f]);
			job = encoded(sink, &made[0]);
			sync_fails = 1;
			assert_int_equal(written(sink, job), SINK_AGAIN);
			assert_int_equal(written(sink, job), SINK_SETTLED);
			sink->job_free(sink, job);
			sink->close(sink);
			content_is(&reference);
		}
	}
}

static void one_recorder_at_a_time(void **state)
{
	struct file_problem problem;
	struct sink *sink;

	(void)state;
	set_content("", 0);
	sink = opened(FILE_PCAPNG);
	assert_null(try_fd(open(path, O_RDWR), FILE_PCAPNG, &problem));
	assert_non_null(strstr(problem.text, "another recorder writes it"));
	sink->close(sink);
	sink = opened(FILE_PCAPNG);
	sink->close(sink);
}

static void a_reader_that_goes(void **state)
{
	struct sink *sink;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sink = opened_fd(fds[1], FILE_PCAPNG);
	store(sink, &made[0]);
	assert_false(file_sink_reader_gone(sink));
	close(fds[0]);
	{
		struct sink_job *job = encoded(sink, &made[1]);

		assert_int_equal(written(sink, job), SINK_SETTLED);
		assert_int_equal(report.inserted, 0);
		sink->job_free(sink, job);
	}
	assert_true(file_sink_reader_gone(sink));
	sink->close(sink);
}

static void *cancel_soon(void *arg)
{
	struct sink *sink = arg;

	usleep(200000);
	sink->cancel(sink);
	return NULL;
}

static void a_pipe_that_nobody_reads_can_be_left(void **state)
{
	static uint8_t rubbish[1 << 20];
	uint64_t begin = clock_boot_ns();
	struct sink *sink;
	struct sink_job *job;
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], rubbish, sizeof(rubbish)) > 0)
		;
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
	sink = opened_fd(fds[1], FILE_PCAPNG);
	job = encoded(sink, &made[0]);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, sink), 0);
	assert_int_equal(written(sink, job), SINK_ENDED);
	assert_true(clock_boot_ns() - begin < 2 * NS_PER_SEC);
	pthread_join(thread, NULL);
	sink->job_free(sink, job);
	sink->close(sink);
	close(fds[0]);
}

/* Two sinks: settled when both have it, and who has it is not asked again. */
static void both_have_it(void **state)
{
	struct sink *sink;
	struct sink_job *job;

	(void)state;
	make_reference(FILE_PCAPNG, 1);
	set_content("", 0);
	sink = tee_sink_new(opened(FILE_PCAPNG), opened_fd(open("/dev/full", O_WRONLY), FILE_JSON));
	job = encoded(sink, &made[0]);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(written(sink, job), SINK_AGAIN);
		assert_int_equal(report.inserted, i ? 0 : 3);
		assert_non_null(strstr(report.problem, "No space left"));
		content_is(&reference);
	}
	sink->job_free(sink, job);
	sink->close(sink);
	sink = tee_sink_new(opened(FILE_PCAPNG), opened_fd(open("/dev/null", O_WRONLY), FILE_JSON));
	job = encoded(sink, &made[0]);
	assert_int_equal(written(sink, job), SINK_SETTLED);
	assert_int_equal(report.found, 3);    /* in the file already */
	assert_int_equal(report.inserted, 3); /* a device has no memory */
	sink->job_free(sink, job);
	sink->close(sink);
	content_is(&reference);
}

static void counters_at_the_end(void **state)
{
	const struct file_statistics statistics = { &made[0].source, 1700000000000000000, 10, 2, 3, 5 };
	struct savefile *file;
	struct savefile_packet p;
	struct savefile_error error;
	struct sink *sink;

	(void)state;
	set_content("", 0);
	sink = opened(FILE_PCAPNG);
	assert_int_equal(file_sink_statistics(sink, &statistics), 0); /* of a capture without a packet */
	sink->close(sink);
	get_content(&reference);
	assert_int_equal(savefile_open(&file, open(path, O_RDONLY), path, &error), 0);
	assert_int_equal(savefile_next(file, &p, &error), 0);
	assert_int_equal(savefile_interfaces(file), 1);
	savefile_close(file);
	sink = opened(FILE_PCAPNG);
	store(sink, &made[0]);
	sink->close(sink);
	assert_int_equal(savefile_open(&file, open(path, O_RDONLY), path, &error), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(savefile_next(file, &p, &error), 1);
	assert_int_equal(savefile_next(file, &p, &error), 0);
	assert_int_equal(savefile_interfaces(file), 1); /* the description that is there serves */
	savefile_close(file);
}

static int begin(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	for (unsigned i = 0; i < 4; i++)
		make_batch(&made[i], 0xab, i + 1, 3);
	make_batch(&other, 0xcd, 1, 3);
	return fd < 0 || close(fd) || !ends;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	for (unsigned i = 0; i < 4; i++)
		drop_batch(&made[i]);
	drop_batch(&other);
	ends_table_free(ends);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_captures_as_our_reader_reads_them),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(zeros_behind_it_are_cut_off),
		cmocka_unit_test(what_is_not_ours),
		cmocka_unit_test(in_number_order),
		cmocka_unit_test(encoded_anew),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(failing_disk),
		cmocka_unit_test(failing_disk_behind_a_beginning),
		cmocka_unit_test(one_recorder_at_a_time),
		cmocka_unit_test(a_reader_that_goes),
		cmocka_unit_test(a_pipe_that_nobody_reads_can_be_left),
		cmocka_unit_test(both_have_it),
		cmocka_unit_test(counters_at_the_end),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
