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
	return cut_batch(&f->source, f->rings, RINGS, pairs, n, max);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_pending),
		cmocka_unit_test(every_record_once),
		cmocka_unit_test(midnight_and_steps_part_batches),
		cmocka_unit_test(wraps_and_is_formed_again),
		cmocka_unit_test(damage_is_skipped_and_said),
		cmocka_unit_test(a_limit_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
