/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal survives a death at any store: every torn state is either the old one or the new one. */
#include "recorder/ledger/journal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "recorder/core/log.h"

#define CPUS 2u

static const uint8_t id_a[CAPTURE_ID_LEN] = "capture A      ";
static const uint8_t id_b[CAPTURE_ID_LEN] = "capture B      ";

static int memory(void)
{
	int fd = memfd_create("journal", 0);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)journal_size(CPUS) + 4096), 0);
	return fd;
}

static struct journal *opened(int fd, const uint8_t *id)
{
	struct journal *j;

	assert_int_equal(journal_open(&j, fd, CPUS, id), 0);
	return j;
}

static void new_and_again(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a), *other;
	uint8_t digest[DIGEST_LEN];
	struct rec_count stored;

	(void)state;
	assert_true(journal_is_new(j));
	assert_int_equal(journal_chain(j, digest, &stored), 0);
	assert_int_equal(stored.packets, 0);
	journal_close(j);
	j = opened(fd, id_a);
	assert_false(journal_is_new(j));
	journal_close(j);
	log_set_level((enum log_level)-1);
	assert_int_equal(journal_open(&other, fd, CPUS, id_b), -EPROTO);
	assert_int_equal(journal_open(&other, fd, CPUS + 1, id_a), -EPROTO);
	log_set_level(LOG_INFO);
	close(fd);
}

static void pairs_are_kept_in_order(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a);
	const struct clock_pair *pairs;

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		journal_add_pair(j, &(struct clock_pair){i * 100, (int64_t)i}, 0);
	journal_close(j);
	j = opened(fd, id_a);
	assert_int_equal(journal_pairs(j, &pairs), 5);
	assert_int_equal(pairs[4].boot, 400);
	/* Nothing before 250 is needed any more: the pair in force at 250 stays. */
	journal_add_pair(j, &(struct clock_pair){500, 5}, 250);
	assert_int_equal(journal_pairs(j, &pairs), 4);
	assert_int_equal(pairs[0].boot, 200);
	journal_close(j);
	close(fd);
}

static void chain_and_settled_survive_a_torn_copy(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a);
	struct rec_count stored = {7, 700}, read;
	struct rec_count totals_of[CPUS * REC_TERMS] = {{1, 2}};
	struct journal_totals totals = {.sec = 41, .total = totals_of};
	uint8_t digest[DIGEST_LEN] = "first", now[DIGEST_LEN];
	uint8_t *bytes = mmap(NULL, journal_size(CPUS), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size_t torn = 0, kept = 0;

	(void)state;
	assert_ptr_not_equal(bytes, MAP_FAILED);
	journal_set_chain(j, 1, digest, &stored);
	journal_set_settled(j, REC_TX, &totals);
	memcpy(digest, "second", 6);
	journal_set_chain(j, 2, digest, &stored);
	totals.sec = 42;
	journal_set_settled(j, REC_TX, &totals);
	/* Whatever byte is damaged, what is read is the first or the second state, never a mixture. */
	for (size_t at = 0; at < journal_size(CPUS); at++) {
		uint64_t number;

		bytes[at] ^= 0x5a;
		number = journal_chain(j, now, &read);
		assert_true(number == 1 || number == 2);
		assert_memory_equal(now, number == 1 ? "first" : "second", 5);
		journal_settled(j, REC_TX, &totals);
		assert_true(totals.sec == 41 || totals.sec == 42);
		torn += number == 1 || totals.sec == 41;
		kept += number == 2 && totals.sec == 42;
		bytes[at] ^= 0x5a;
	}
	assert_true(torn > 0); /* control: damage is seen at all */
	assert_true(kept > 0);
	munmap(bytes, journal_size(CPUS));
	journal_close(j);
	close(fd);
}

static void recipes(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a);
	struct batch_range ranges[2] = {{0, 800, REC_RX, 1, 10}, {80, 160, REC_TX, 0, 1}};
	struct batch batch = {.number = 9, .day = 20261123, .mode = JOURNAL_DOCUMENTS, .version = 1,
			      .pair = {5, 6}, .ranges = ranges, .nranges = 2};
	struct journal_recipe recipe;
	const struct batch_range *read;
	uint8_t *bytes = mmap(NULL, journal_size(CPUS), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size_t refused = 0;
	int index;

	(void)state;
	for (unsigned i = 0; i < JOURNAL_RECIPES; i++) {
		index = journal_free_recipe(j);
		assert_int_equal(index, (int)i);
		journal_write_recipe(j, index, &batch);
	}
	assert_int_equal(journal_free_recipe(j), -ENOSPC);
	journal_close(j);
	j = opened(fd, id_a);
	assert_int_equal(journal_read_recipe(j, 3, &recipe, &read), JOURNAL_VALID);
	assert_int_equal(recipe.number, 9);
	assert_int_equal(recipe.nranges, 2);
	assert_memory_equal(read, ranges, sizeof(ranges));
	journal_mark_done(j, 3);
	assert_int_equal(journal_read_recipe(j, 3, &recipe, &read), JOURNAL_DONE);
	journal_free(j, 3);
	assert_int_equal(journal_read_recipe(j, 3, &recipe, &read), JOURNAL_FREE);
	/* A damaged recipe is not believed: it is read as before, or not at all. */
	for (size_t at = 0; at < journal_size(CPUS); at++) {
		bytes[at] ^= 0x11;
		if (journal_read_recipe(j, 5, &recipe, &read) == JOURNAL_FREE)
			refused++;
		else
			assert_int_equal(recipe.number, 9);
		bytes[at] ^= 0x11;
	}
	assert_true(refused >= sizeof(recipe) + sizeof(ranges));
	munmap(bytes, journal_size(CPUS));
	journal_close(j);
	close(fd);
}

static void how_buckets_are_written_is_kept(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a);
	struct batch_range range = {0, 800, REC_RX, 1, 10};
	struct batch batch = {.number = 9, .day = 20261123, .mode = JOURNAL_BUCKETS, .version = 2, .span_s = 600, .form = 3,
			      .salt = 15, .raw = true, .ranges = &range, .nranges = 1};
	struct journal_recipe recipe;
	const struct batch_range *read;

	(void)state;
	journal_write_recipe(j, 0, &batch);
	batch.raw = false;
	batch.open = true;
	batch.salt = 0;
	journal_write_recipe(j, 1, &batch);
	batch.mode = JOURNAL_DOCUMENTS;
	journal_write_recipe(j, 2, &batch);
	journal_close(j);
	j = opened(fd, id_a);
	assert_int_equal(journal_read_recipe(j, 0, &recipe, &read), JOURNAL_VALID);
	assert_int_equal(recipe.span_s, 600);
	assert_int_equal(recipe.form, 3);
	assert_int_equal(journal_salt(&recipe), 15);
	assert_int_equal(recipe.flags & (JOURNAL_OPEN | JOURNAL_RAW), JOURNAL_RAW);
	assert_int_equal(journal_read_recipe(j, 1, &recipe, &read), JOURNAL_VALID);
	assert_int_equal(recipe.flags, JOURNAL_OPEN);
	/* Of documents nothing of it counts: earlier versions left these bytes as they were. */
	assert_int_equal(journal_read_recipe(j, 2, &recipe, &read), JOURNAL_VALID);
	assert_int_equal(recipe.span_s | recipe.form | recipe.flags, 0);
	journal_close(j);
	close(fd);
}

static void the_largest_revision_counts(void **state)
{
	int fd = memory();
	struct journal *j = opened(fd, id_a);
	struct journal_left left[JOURNAL_RECIPES];
	struct batch_range range = {0, 800, REC_RX, 1, 10};
	struct batch batch = {.mode = JOURNAL_BUCKETS, .version = 2, .form = 3, .ranges = &range, .nranges = 1};

	(void)state;
	assert_int_equal(journal_left(j, left), 0);
	batch.number = 8;
	batch.open = true;
	journal_write_recipe(j, 3, &batch);
	range.records = 20;
	journal_write_recipe(j, 1, &batch); /* its larger self */
	range.records = 15;
	batch.number = 7;
	journal_write_recipe(j, 0, &batch);
	batch.salt = 1;
	journal_write_recipe(j, 5, &batch); /* the same again after a clash */
	batch.number = 6;
	journal_write_recipe(j, 6, &batch);
	range.records = 10;
	journal_write_recipe(j, 7, &batch);
	journal_mark_done(j, 7);
	assert_int_equal(journal_left(j, left), 6);
	for (unsigned i = 0; i < 6; i++) {
		static const int order[6] = {6, 7, 0, 5, 3, 1};

		assert_int_equal(left[i].index, order[i]);
		assert_int_equal(left[i].smaller, i % 2 == 0);
		assert_int_equal(left[i].recipe.number, 6 + i / 2);
	}
	assert_int_equal(left[1].state, JOURNAL_DONE);
	journal_close(j);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_and_again),
		cmocka_unit_test(pairs_are_kept_in_order),
		cmocka_unit_test(chain_and_settled_survive_a_torn_copy),
		cmocka_unit_test(recipes),
		cmocka_unit_test(how_buckets_are_written_is_kept),
		cmocka_unit_test(the_largest_revision_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
