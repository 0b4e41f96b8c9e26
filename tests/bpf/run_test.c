// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture_run: a frame of a file through the real program: its time and true length, records valid until the next call, more
 * frames than the ring holds, frames too short for BPF_PROG_RUN, and that a run is nobody else's business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>

#include "recorder/capture/run.h"
#include "recorder/core/util.h"
#include "tests/bpf/kinds.h"

#define SEED 0x5eed5eedu

static struct capture_run *run;

static const struct rec_head *record(const uint8_t *bytes, uint32_t have, uint32_t wire, uint64_t time)
{
	const struct rec_head *h = NULL;
	enum rec_term term = REC_TERMS;

	assert_int_equal(capture_run(run, bytes, have, wire, time, &term, &h), 0);
	assert_int_equal(term, REC_PUBLISHED);
	assert_non_null(h);
	return h;
}

static void every_kind(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds_all[i];
		struct frame f = kind_frame(k);
		const struct rec_head *h = record(f.bytes, f.len, f.len, 1000 + i);

		if (h->cap_len != k->cap || memcmp(h->off, k->off, REC_OFFS) || h->marks != k->marks || h->proto != k->proto)
			fail_msg("%s: cap %u proto %u marks %x", k->name, h->cap_len, h->proto, h->marks);
		assert_int_equal(h->time, 1000 + i);
		assert_int_equal(h->wire_len, f.len);
		assert_int_equal(h->side, REC_RX);
		assert_int_equal(h->gso_segs | h->gso_size | h->reserved[0] | h->reserved[1], 0);
		assert_memory_equal(h + 1, f.bytes, h->cap_len);
	}
}

/* A capture that cut its frames: what is missing is said, the length is the wire's, and any time goes. */
static void captured_in_part(void **state)
{
	struct frame f = frame_begin();
	const struct rec_head *h;

	(void)state;
	make_tcp4_1514(&f), frame_end(&f);
	h = record(f.bytes, 96, 1514, ~0ull);
	assert_int_equal(h->time, ~0ull);
	assert_int_equal(h->wire_len, 1514);
	assert_int_equal(h->cap_len, 94);
	assert_int_equal(h->marks, 0);
	h = record(f.bytes, 60, 1514, 0);
	assert_int_equal(h->time, 0);
	assert_int_equal(h->wire_len, 1514);
	assert_int_equal(h->cap_len, 60);
	assert_int_equal(h->marks, REC_MARK_TRUNCATED);
	/* a file that says less than it has is not believed */
	h = record(f.bytes, 96, 10, 1);
	assert_int_equal(h->wire_len, 96);
	/* more than 256 bytes of headers, of which the file has only some */
	f = frame_begin();
	make_ip6_long(&f), frame_end(&f);
	assert_int_equal(record(f.bytes, f.len, f.len, 1)->marks, REC_MARK_LONG);
	h = record(f.bytes, 200, f.len, 1);
	assert_int_equal(h->cap_len, 200);
	assert_int_equal(h->marks, REC_MARK_TRUNCATED);
}

/* Frames that BPF_PROG_RUN refuses are made natively, and only they. */
static void short_frames(void **state)
{
	uint64_t before = capture_run_native(run);
	struct frame f = frame_begin();

	(void)state;
	make_udp4(&f), frame_end(&f);
	for (uint32_t n = 0; n <= 20; n++) {
		const struct rec_head *h = record(f.bytes, n, 64, 7);

		assert_int_equal(h->cap_len, n);
		assert_int_equal(h->marks, REC_MARK_TRUNCATED);
		assert_int_equal(h->wire_len, 64);
		assert_int_equal(h->time, 7);
		assert_memory_equal(h + 1, f.bytes, n);
	}
	assert_int_equal(capture_run_native(run) - before, CAPTURE_RUN_MIN);
}

/* Ten times what the ring holds, seconds apart, on both CPUs: nothing is lost, a record stands until the next call. */
static void many(void **state)
{
	unsigned rounds = 10 * REC_RING_MIN / sizeof(struct rec_head);
	cpu_set_t all, one;
	struct frame f;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (unsigned i = 0; i < rounds; i++) {
		if (i % 512 == 0) {
			unsigned cpu = i / 512 % (unsigned)CPU_COUNT(&all);

			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			if (CPU_ISSET(cpu, &all))
				assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		}
		f = kind_frame(&kinds_all[i % KINDS]);
		assert_memory_equal(record(f.bytes, f.len, f.len, i) + 1, f.bytes, kinds_all[i % KINDS].cap);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* Two runs do not see each other's frames; the seed makes the hash. */
static void two_runs(void **state)
{
	struct capture_run *first = run, *other = NULL;
	struct capture_error err;
	struct frame f = kind_frame(&kinds_all[0]);
	uint32_t hash = record(f.bytes, f.len, f.len, 1)->hash;

	(void)state;
	assert_int_equal(capture_run_open(&other, NULL, SEED + 1, &err), 0);
	run = other;
	assert_int_not_equal(record(f.bytes, f.len, f.len, 1)->hash, hash);
	capture_run_close(other);
	run = first;
	assert_int_equal(record(f.bytes, f.len, f.len, 1)->hash, hash);
	capture_run_close(NULL);
}

/* What a filter rejects is said, whichever way the frame went; natively it means the same (filter_match). */
static void filtered(void **state)
{
	static const char *const expressions[] = { "udp", "tcp port 443 or sctp", "greater 300", "ether[12:2] != 0x800" };
	struct capture_run *all = run;
	struct capture_error err;
	struct filter_error why;
	unsigned kept = 0, rejected = 0;

	(void)state;
	for (unsigned e = 0; e < ARRAY_SIZE(expressions); e++) {
		struct filter *filter = NULL;

		assert_int_equal(filter_compile(&filter, expressions[e], &why), 0);
		assert_int_equal(capture_run_open(&run, filter, SEED, &err), 0);
		for (unsigned i = 0; i < KINDS; i++) {
			struct frame f = kind_frame(&kinds_all[i]);

			for (uint32_t n = 0; n <= f.len && n <= 300; n += n < 20 ? 1 : 13) {
				const struct rec_head *h = NULL;
				enum rec_term term = REC_TERMS;
				bool keep = filter_match(filter, f.bytes, n, f.len);

				assert_int_equal(capture_run(run, f.bytes, n, f.len, 1, &term, &h), 0);
				assert_int_equal(term, keep ? REC_PUBLISHED : REC_FILTERED_EXPR);
				assert_int_equal(!h, !keep);
				kept += keep;
				rejected += !keep;
			}
		}
		assert_true(capture_run_native(run) > 0);
		capture_run_close(run);
		filter_free(filter);
	}
	run = all;
	print_message("%u kept, %u rejected\n", kept, rejected);
	assert_true(kept > 100 && rejected > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind), cmocka_unit_test(captured_in_part), cmocka_unit_test(short_frames),
		cmocka_unit_test(many),	      cmocka_unit_test(two_runs), cmocka_unit_test(filtered),
	};
	struct capture_error err;
	char caps[96];
	int r;

	if (geteuid() || capture_missing_caps(caps, sizeof(caps)) > 0) {
		fprintf(stderr, "skip: needs root\n");
		return 77;
	}
	r = capture_run_open(&run, NULL, SEED, &err);
	if (r) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	capture_run_close(run);
	return r;
}
