/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cutting batches: every record once, none across midnight or a clock step, the same again from a recipe's ranges. */
#include "recorder/source/cut.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "recorder/core/log.h"

#define SIZE REC_RING_MIN
#define RINGS 3u
#define DAY (86400ull * NS_PER_SEC)

struct fixture {
	struct rec_ring *memory[RINGS];
	union rec_desk desk[RINGS];
	struct ring rings[RINGS];
	struct batch_source source;
};

static const struct clock_pair epoch = {0, 0}; /* wall time = boot time */

static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->source.iface = "test0";
	for (unsigned i = 0; i < RINGS; i++) {
		f->memory[i] = aligned_alloc(4096, REC_RING_VALUE(SIZE) + 4096 - REC_RING_VALUE(SIZE) % 4096);
		memset(f->memory[i], 0, REC_RING_VALUE(SIZE));
		f->rings[i] = (struct ring){
			.map = f->memory[i],
			.tail = (uint64_t *)&f->desk[i].ring.tail,
			.mask = SIZE - 1,
			.limit = UINT64_MAX,
			.side = i == 2 ? REC_TX : REC_RX,
			.cpu = (uint16_t)(i % 2),
		};
	}
}

static void teardown(struct fixture *f)
{
	for (unsigned i = 0; i < RINGS; i++)
		free(f->memory[i]);
}

static void publish(struct fixture *f, unsigned ring, uint64_t time, uint16_t cap, uint32_t wire)
{
	struct rec_ring *m = f->memory[ring];
	struct rec_head *head = (struct rec_head *)(m->data + (m->head & (SIZE - 1)));

	memset(head, 0, REC_RECORD_LEN(cap));
	head->time = time;
	head->cap_len = cap;
	head->wire_len = wire;
	head->side = (uint8_t)f->rings[ring].side;
	m->head += REC_RECORD_LEN(cap);
}

static struct batch *cut(struct fixture *f, const struct clock_pair *pairs, unsigned n, uint32_t max)
{
	return cut_batch(&f->source, f->rings, RINGS, pairs, n, 0, max);
}

static void nothing_pending(void **state)
{
	struct fixture f;
	uint64_t oldest;

	(void)state;
	setup(&f);
	assert_int_equal(cut_pending(f.rings, RINGS, &oldest), 0);
	assert_null(cut(&f, &epoch, 1, 100));
	assert_int_equal(errno, 0);
	teardown(&f);
}

static void every_record_once(void **state)
{
	struct fixture f;
	uint64_t records = 0, bytes = 0, sent = 0, sent_bytes = 0;
	struct batch *batch;

	(void)state;
	setup(&f);
	for (unsigned i = 0; i < 900; i++) {
		publish(&f, i % RINGS, 1000 + i * 7000000ull, (uint16_t)(14 + i % 100), 60 + i);
		sent++;
		sent_bytes += 60 + i;
	}
	while ((batch = cut(&f, &epoch, 1, 64))) {
		uint64_t sum = 0, sum_bytes = 0;

		assert_true(batch->nrecords <= 64);
		for (unsigned i = 0; i < batch->nseconds; i++) {
			sum += batch->seconds[i].packets;
			sum_bytes += batch->seconds[i].bytes;
			if (i)
				assert_true(batch->seconds[i - 1].sec < batch->seconds[i].sec ||
					    batch->seconds[i - 1].side < batch->seconds[i].side);
		}
		assert_int_equal(sum, batch->nrecords);
		assert_int_equal(sum_bytes, batch->bytes);
		records += batch->nrecords;
		bytes += batch->bytes;
		batch_free(batch);
	}
	assert_int_equal(records, sent);
	assert_int_equal(bytes, sent_bytes);
	teardown(&f);
}

static void midnight_and_steps_part_batches(void **state)
{
	struct fixture f;
	/* At boot time 2 s the wall clock is set forward by an hour. */
	const struct clock_pair pairs[2] = {{0, (int64_t)(20000 * DAY) - (int64_t)NS_PER_SEC},
					    {2 * NS_PER_SEC, (int64_t)(20000 * DAY) + 3601 * (int64_t)NS_PER_SEC}};
	const uint32_t days[3] = {20241003, 20241004, 20241004};
	struct batch *batch;

	(void)state;
	setup(&f);
	for (unsigned ms = 0; ms < 4000; ms += 10)
		publish(&f, ms / 10 % 2, ms * 1000000ull, 42, 60);
	for (unsigned i = 0; i < 3; i++) {
		batch = cut(&f, pairs, 2, 10000);
		assert_non_null(batch);
		assert_int_equal(batch->day, days[i]);
		assert_int_equal(batch->pair.boot, i == 2 ? 2 * NS_PER_SEC : 0);
		assert_int_equal(batch->nrecords, i == 2 ? 200 : 100);
		assert_int_equal(clock_day(batch_wall(batch, batch->first_boot)), days[i]);
		assert_int_equal(clock_day(batch_wall(batch, batch->last_boot)), days[i]);
		batch_free(batch);
	}
	assert_null(cut(&f, pairs, 2, 10000));
	teardown(&f);
}

static void wraps_and_is_formed_again(void **state)
{
	struct fixture f;
	struct batch *batch, *again;

	(void)state;
	setup(&f);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 150; i++)
			publish(&f, 0, (round * 1000ull + i) * 1000, (uint16_t)(40 + i % 50), 99);
		publish(&f, 2, round * 1000000ull, 256, 1500);
		batch = cut(&f, &epoch, 1, 1000);
		assert_int_equal(batch->nrecords, 151);
		again = cut_again(&f.source, f.rings, RINGS, batch->ranges, batch->nranges, &batch->pair);
		assert_non_null(again);
		assert_int_equal(again->nrecords, batch->nrecords);
		assert_int_equal(again->bytes, batch->bytes);
		assert_int_equal(again->day, batch->day);
		assert_memory_equal(again->records, batch->records, batch->nrecords * sizeof(void *));
		assert_memory_equal(again->seconds, batch->seconds, batch->nseconds * sizeof(*batch->seconds));
		/* A range that does not end at a record is refused. */
		batch->ranges[0].to -= 8;
		assert_null(cut_again(&f.source, f.rings, RINGS, batch->ranges, batch->nranges, &batch->pair));
		assert_int_equal(errno, EBADMSG);
		batch->ranges[0].to += 8;
		for (unsigned i = 0; i < batch->nranges; i++)
			ring_settle(&f.rings[batch->ranges[i].side == REC_TX ? 2 : batch->ranges[i].cpu],
				    batch->ranges[i].to);
		/* Behind the consumer index there is nothing to form it from. */
		assert_null(cut_again(&f.source, f.rings, RINGS, batch->ranges, batch->nranges, &batch->pair));
		batch_free(again);
		batch_free(batch);
	}
	teardown(&f);
}

static void damage_is_skipped_and_said(void **state)
{
	struct fixture f;
	struct batch *batch;

	(void)state;
	setup(&f);
	for (unsigned i = 0; i < 10; i++)
		publish(&f, 0, i, 42, 60);
	((struct rec_head *)(f.memory[0]->data + 5 * REC_RECORD_LEN(42)))->cap_len = 9999;
	log_set_level((enum log_level)-1);
	batch = cut(&f, &epoch, 1, 100);
	log_set_level(LOG_INFO);
	assert_int_equal(batch->nrecords, 5);
	assert_true(f.rings[0].damaged);
	assert_int_equal(f.rings[0].next, f.memory[0]->head);
	batch_free(batch);
	teardown(&f);
}

static void a_limit_holds(void **state)
{
	struct fixture f;
	struct batch *batch;
	uint64_t oldest;

	(void)state;
	setup(&f);
	publish(&f, 0, 1, 42, 60);
	f.rings[0].limit = f.memory[0]->head;
	publish(&f, 0, 2, 42, 60);
	batch = cut(&f, &epoch, 1, 100);
	assert_int_equal(batch->nrecords, 1);
	assert_int_equal(cut_pending(f.rings, RINGS, &oldest), 0);
	batch_free(batch);
	teardown(&f);
}

static void spans_part_batches(void **state)
{
	struct fixture f;
	/* Wall time = boot time + 20,000 days + 7.5 s; at 25 s of boot time the clock is set back by 3 s. */
	const int64_t offset = (int64_t)(20000 * DAY) + 7500000000ll;
	const struct clock_pair pairs[2] = {{0, offset}, {25 * NS_PER_SEC, 25 * (int64_t)NS_PER_SEC + offset - 3000000000ll}};
	/* Boot times, ms: spans of 10 s end at 2.5, 12.5, 22.5; the step at 25; then, 3 s later, at 25.5, 35.5. */
	const uint64_t ends[] = {2500, 12500, 22500, 25000, 25500, 35500, 40000};
	uint64_t ms = 0;

	(void)state;
	setup(&f);
	for (uint64_t t = 0; t < 40000; t += 100)
		publish(&f, t / 100 % 3, t * 1000000, 42, 60);
	for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct batch *batch = cut_batch(&f.source, f.rings, RINGS, pairs, 2, 10, 10000);

		assert_non_null(batch);
		assert_int_equal(cut_day(f.rings, RINGS, pairs, 2), i + 1 < sizeof(ends) / sizeof(*ends) ? 20241004 : 0);
		assert_int_equal(batch->span_s, 10);
		assert_int_equal(batch->first_boot, ms * 1000000);
		assert_int_equal(batch->last_boot, (ends[i] - 100) * 1000000);
		assert_int_equal(batch->nrecords, (ends[i] - ms) / 100);
		assert_int_equal(batch_end(batch) % (10 * (int64_t)NS_PER_SEC), 0);
		assert_true(batch_wall(batch, batch->last_boot) < batch_end(batch));
		assert_true(batch_wall(batch, batch->first_boot) >= batch_end(batch) - 10 * (int64_t)NS_PER_SEC);
		ms = ends[i];
		batch_free(batch);
	}
	teardown(&f);
}

static void a_span_ends_with_its_day(void **state)
{
	struct fixture f;
	const struct clock_pair pair = {0, (int64_t)(20000 * DAY) - (int64_t)NS_PER_SEC};
	struct batch *batch;

	(void)state;
	setup(&f);
	publish(&f, 0, 0, 42, 60);
	publish(&f, 1, 2 * NS_PER_SEC, 42, 60);
	for (unsigned i = 0; i < 2; i++) { /* 7 s do not divide a day */
		batch = cut_batch(&f.source, f.rings, RINGS, &pair, 1, 7, 100);
		assert_int_equal(batch->nrecords, 1);
		assert_int_equal(batch->day, i ? 20241004 : 20241003);
		if (!i)
			assert_int_equal(batch_end(batch), (int64_t)(20000 * DAY));
		batch_free(batch);
	}
	/* Without a span the day's end is the batch's. */
	publish(&f, 0, 3 * NS_PER_SEC, 42, 60);
	batch = cut(&f, &pair, 1, 100);
	assert_int_equal(batch_end(batch), (int64_t)(20001 * DAY));
	batch_free(batch);
	teardown(&f);
}

/* A record that was published late, of a span that is over, is nobody's but the next batch's. */
static void late_ones_wait_for_their_own_batch(void **state)
{
	struct fixture f;
	struct batch *batch, *more;
	bool over;

	(void)state;
	setup(&f);
	publish(&f, 0, 10 * NS_PER_SEC, 42, 60);
	batch = cut_batch(&f.source, f.rings, RINGS, &epoch, 1, 10, 100);
	publish(&f, 1, 10 * NS_PER_SEC - 1, 42, 60);
	publish(&f, 0, 11 * NS_PER_SEC, 42, 60);
	more = cut_more(batch, f.rings, RINGS, &epoch, 1, 100, &over);
	assert_true(over);
	assert_int_equal(more->nrecords, 2);
	batch_free(batch);
	batch_free(more);
	batch = cut_batch(&f.source, f.rings, RINGS, &epoch, 1, 10, 100);
	assert_int_equal(batch->nrecords, 1);
	assert_int_equal(batch->first_boot, 10 * NS_PER_SEC - 1);
	batch_free(batch);
	teardown(&f);
}

static bool holds(const struct batch *batch, const struct rec_head *record)
{
	for (uint32_t i = 0; i < batch->nrecords; i++)
		if (batch->records[i] == record)
			return true;
	return false;
}

static void same_but_larger(const struct batch *small, const struct batch *large)
{
	uint64_t packets = 0, bytes = 0;

	assert_true(large->nrecords >= small->nrecords);
	assert_int_equal(large->number, small->number);
	assert_int_equal(large->day, small->day);
	assert_int_equal(large->form, small->form);
	assert_int_equal(large->salt, small->salt);
	assert_memory_equal(large->previous, small->previous, DIGEST_LEN);
	for (uint32_t i = 0; i < small->nrecords; i++)
		assert_true(holds(large, small->records[i]));
	for (unsigned i = 0; i < large->nseconds; i++) {
		packets += large->seconds[i].packets;
		bytes += large->seconds[i].bytes;
	}
	assert_int_equal(packets, large->nrecords);
	assert_int_equal(bytes, large->bytes);
}

static void an_open_one_grows(void **state)
{
	struct fixture f;
	struct batch *batch, *more, *again;
	unsigned sent = 0, steps = 0;
	bool over = false;

	(void)state;
	setup(&f);
	publish(&f, 2, 5, 42, 60);
	sent++;
	batch = cut_batch(&f.source, f.rings, RINGS, &epoch, 1, 10, 100);
	batch->number = 7;
	batch->form = 3;
	batch->salt = 2;
	batch->previous[0] = 9;
	/* The order of rings must not push what it has out: its own record is of the last one. */
	while (!over) {
		for (unsigned i = 0; i < 9; i++, sent++)
			publish(&f, i % 2, (sent + 1) * 1000, (uint16_t)(42 + i), 60 + i);
		more = cut_more(batch, f.rings, RINGS, &epoch, 1, 100, &over);
		assert_non_null(more);
		same_but_larger(batch, more);
		assert_int_equal(more->nrecords, sent < 100 ? sent : 100);
		assert_int_equal(over, sent >= 100);
		again = cut_again(&f.source, f.rings, RINGS, more->ranges, more->nranges, &more->pair);
		assert_int_equal(again->nrecords, more->nrecords);
		batch_free(again);
		batch_free(batch);
		batch = more;
		steps++;
	}
	assert_int_equal(steps, 11);
	/* What it left is the next batch. */
	publish(&f, 0, 10 * NS_PER_SEC, 42, 60);
	batch_free(batch);
	batch = cut_batch(&f.source, f.rings, RINGS, &epoch, 1, 0, 1000);
	assert_int_equal(batch->nrecords, sent - 100 + 1);
	batch_free(batch);
	teardown(&f);
}

static void an_open_one_ends_with_span_and_step(void **state)
{
	struct fixture f;
	const struct clock_pair pairs[2] = {{0, 0}, {3 * NS_PER_SEC, 3000000001}};
	struct batch *batch, *more;
	bool over;

	(void)state;
	for (unsigned step = 0; step < 2; step++) {
		setup(&f);
		publish(&f, 0, 1 * NS_PER_SEC, 42, 60);
		batch = cut_batch(&f.source, f.rings, RINGS, pairs, 1, 10, 100);
		publish(&f, 0, 2 * NS_PER_SEC, 42, 60);
		more = cut_more(batch, f.rings, RINGS, pairs, 1 + step, 100, &over);
		assert_int_equal(more->nrecords, 2);
		assert_false(over);
		publish(&f, 1, (step ? 3 : 10) * NS_PER_SEC, 42, 60);
		batch_free(batch);
		batch = more;
		more = cut_more(batch, f.rings, RINGS, pairs, 1 + step, 100, &over);
		assert_int_equal(more->nrecords, 2);
		assert_true(over);
		batch_free(batch);
		batch_free(more);
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_pending),
		cmocka_unit_test(every_record_once),
		cmocka_unit_test(midnight_and_steps_part_batches),
		cmocka_unit_test(wraps_and_is_formed_again),
		cmocka_unit_test(damage_is_skipped_and_said),
		cmocka_unit_test(a_limit_holds),
		cmocka_unit_test(spans_part_batches),
		cmocka_unit_test(a_span_ends_with_its_day),
		cmocka_unit_test(late_ones_wait_for_their_own_batch),
		cmocka_unit_test(an_open_one_grows),
		cmocka_unit_test(an_open_one_ends_with_span_and_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
