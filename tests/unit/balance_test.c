/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows from the kernel's totals: their sum is the totals, whatever was read, overwritten or silent in between. */
#include "recorder/ledger/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define CPUS 3u

struct fixture {
	int fd;
	struct journal *journal;
	struct rec_seconds *seconds;
	struct balance balance;
};

static const uint8_t id[CAPTURE_ID_LEN] = "balance";

static struct fixture *setup(uint64_t first_sec)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fd = memfd_create("journal", 0);
	assert_int_equal(ftruncate(f->fd, (off_t)journal_size(CPUS) + 4096), 0);
	assert_int_equal(journal_open(&f->journal, f->fd, CPUS, id), 0);
	f->seconds = calloc(REC_SIDES * CPUS, sizeof(*f->seconds));
	assert_int_equal(balance_open(&f->balance, f->journal, f->seconds, CPUS, REC_TX, first_sec), 0);
	return f;
}

static void reopen(struct fixture *f)
{
	balance_close(&f->balance);
	journal_close(f->journal);
	assert_int_equal(journal_open(&f->journal, f->fd, CPUS, id), 0);
	assert_int_equal(balance_open(&f->balance, f->journal, f->seconds, CPUS, REC_TX, 1), 0);
}

static void teardown(struct fixture *f)
{
	balance_close(&f->balance);
	journal_close(f->journal);
	free(f->seconds);
	close(f->fd);
	free(f);
}

/* What the program does (bpf/recorder.bpf.c): n packets of 100 bytes in second `sec` on `cpu`, published. */
static void packets(struct fixture *f, unsigned cpu, uint64_t sec, uint64_t n)
{
	struct rec_seconds *s = &f->seconds[REC_TX * CPUS + cpu];
	struct rec_second *slot = &s->slot[s->newest];

	if (slot->sec != sec) {
		struct rec_second *to = &s->slot[(s->newest + 1) & (REC_SECONDS - 1)];

		slot->total[REC_LOST_CONTENDED] = s->contended;
		memcpy(to->total, slot->total, sizeof(to->total));
		to->sec = sec;
		s->newest = (s->newest + 1) & (REC_SECONDS - 1);
		slot = to;
	}
	slot->total[REC_SEEN].packets += n;
	slot->total[REC_SEEN].bytes += 100 * n;
	slot->total[REC_PUBLISHED].packets += n;
	slot->total[REC_PUBLISHED].bytes += 100 * n;
}

static void expect(struct fixture *f, uint64_t final_sec, uint64_t sec, uint32_t seconds, uint64_t seen)
{
	struct balance_row row = {0};

	assert_true(balance_next(&f->balance, final_sec, false, &row));
	assert_int_equal(row.sec, sec);
	assert_int_equal(row.seconds, seconds);
	assert_int_equal(row.term[REC_SEEN].packets, seen);
	assert_int_equal(row.term[REC_SEEN].bytes, 100 * seen);
	assert_int_equal(row.silent, seen == 0);
	balance_settle(&f->balance, f->journal);
}

static void second_by_second(void **state)
{
	struct fixture *f = setup(100);
	struct balance_row row;

	(void)state;
	packets(f, 0, 100, 5);
	packets(f, 1, 100, 6);
	packets(f, 1, 101, 7);
	packets(f, 2, 103, 8);
	assert_false(balance_next(&f->balance, 100, false, &row)); /* nothing is final */
	expect(f, 104, 100, 1, 11);
	reopen(f); /* a restart needs no memory */
	expect(f, 104, 101, 1, 7);
	expect(f, 104, 102, 1, 0);
	expect(f, 104, 103, 1, 8);
	assert_false(balance_next(&f->balance, 104, false, &row));
	teardown(f);
}

static void not_settled_is_formed_again(void **state)
{
	struct fixture *f = setup(100);
	struct balance_row a = {0}, b = {0};

	(void)state;
	packets(f, 0, 100, 5);
	assert_true(balance_next(&f->balance, 101, false, &a));
	reopen(f);
	assert_true(balance_next(&f->balance, 101, false, &b));
	assert_memory_equal(a.term, b.term, sizeof(a.term));
	assert_int_equal(a.sec, b.sec);
	teardown(f);
}

static void silence_is_one_row(void **state)
{
	struct fixture *f = setup(100);
	struct balance_row row;

	(void)state;
	assert_false(balance_next(&f->balance, 130, false, &row)); /* it may go on */
	assert_true(balance_next(&f->balance, 130, true, &row));
	assert_int_equal(row.seconds, 30);
	expect(f, 161, 100, 61, 0); /* the heartbeat */
	packets(f, 2, 170, 3);
	expect(f, 171, 161, 9, 0);
	expect(f, 171, 170, 1, 3);
	teardown(f);
}

static void overwritten_slots_lose_no_packet(void **state)
{
	struct fixture *f = setup(1);
	struct balance_row row = {0};
	uint64_t sum = 0, seconds = 0, rows = 0, sent = 0, last = 3 * REC_SECONDS;

	(void)state;
	for (uint64_t sec = 1; sec <= last; sec++) {
		packets(f, 0, sec, sec % 7 + 1);
		sent += sec % 7 + 1;
		if (sec % 3 == 0) {
			packets(f, 1, sec, 2);
			sent += 2;
		}
	}
	while (balance_next(&f->balance, last + 1, false, &row)) {
		sum += row.term[REC_SEEN].packets;
		seconds += row.seconds;
		rows++;
		balance_settle(&f->balance, f->journal);
	}
	assert_int_equal(sum, sent);
	assert_int_equal(seconds, last);
	assert_in_range(rows, REC_SECONDS - 2, REC_SECONDS); /* the first row stands for all that was overwritten */
	teardown(f);
}

static void a_span_that_is_not_final_waits(void **state)
{
	struct fixture *f = setup(1);
	struct balance_row row;

	(void)state;
	for (uint64_t sec = 1; sec <= 2 * REC_SECONDS; sec++)
		packets(f, 0, sec, 1);
	/* The oldest known second is about REC_SECONDS: until that is final, nothing can be told apart. */
	assert_false(balance_next(&f->balance, REC_SECONDS - 10, false, &row));
	assert_true(balance_next(&f->balance, REC_SECONDS + 10, false, &row));
	teardown(f);
}

static void contended_packets_are_seen(void **state)
{
	struct fixture *f = setup(10);
	struct rec_count now[REC_TERMS];
	struct balance_row row;

	(void)state;
	packets(f, 0, 10, 5);
	f->seconds[REC_TX * CPUS].contended = (struct rec_count){2, 200};
	balance_now(&f->balance, now);
	assert_int_equal(now[REC_SEEN].packets, 7);
	assert_int_equal(now[REC_LOST_CONTENDED].packets, 2);
	assert_true(balance_next(&f->balance, 11, false, &row));
	assert_int_equal(row.term[REC_SEEN].packets, 7);
	assert_int_equal(row.term[REC_PUBLISHED].packets + row.term[REC_LOST_CONTENDED].packets, 7);
	balance_settle(&f->balance, f->journal);
	packets(f, 0, 11, 1);
	assert_true(balance_next(&f->balance, 12, false, &row));
	assert_int_equal(row.term[REC_SEEN].packets, 1); /* not counted a second time */
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(second_by_second),
		cmocka_unit_test(not_settled_is_formed_again),
		cmocka_unit_test(silence_is_one_row),
		cmocka_unit_test(overwritten_slots_lose_no_packet),
		cmocka_unit_test(a_span_that_is_not_final_waits),
		cmocka_unit_test(contended_packets_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
