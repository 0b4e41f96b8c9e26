// SPDX-License-Identifier: GPL-2.0-or-later
/* As many at once as there are turns, never more, and each of those who wait in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "recorder/core/turns.h"

#define TURNS 2u
#define THREADS 8u
#define TIMES 20u

static struct turns turns;
static _Atomic unsigned inside, most, done;

static void *work(void *unused)
{
	const struct timespec moment = {.tv_nsec = 500000};

	(void)unused;
	for (unsigned i = 0; i < TIMES; i++) {
		unsigned now, before;

		turns_take(&turns);
		now = ++inside;
		before = most;
		while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
			;
		nanosleep(&moment, NULL);
		inside--;
		done++;
		turns_give(&turns);
	}
	return NULL;
}

static void few_at_once(void **unused)
{
	pthread_t thread[THREADS];

	(void)unused;
	turns_begin(&turns, TURNS);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(most, TURNS);
	assert_int_equal(done, THREADS * TIMES);
	turns_end(&turns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(few_at_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
