// SPDX-License-Identifier: GPL-2.0-or-later
/* As many at once as there are turns, never more, and each of those who wait in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "recorder/core/turns.h"

#define THREADS 8u
#define TIMES 20u

static struct turns turns;
static _Atomic unsigned inside, most, done, made;

static void *work(void *unused)
{
	const struct timespec moment = {.tv_nsec = 500000};

	(void)unused;
	for (unsigned i = 0; i < TIMES; i++) {
		unsigned now, before;
		_Atomic unsigned *thing = turns_take(&turns);

		if (!thing) {
			thing = calloc(1, sizeof(*thing));
			made++;
		}
		assert_int_equal((*thing)++, 0); /* nobody else has it */
		now = ++inside;
		before = most;
		while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
			;
		nanosleep(&moment, NULL);
		inside--;
		done++;
		(*thing)--;
		turns_give(&turns, thing);
	}
	return NULL;
}

static void few_at_once(void **unused)
{
	pthread_t thread[THREADS];

	(void)unused;
	turns_begin(&turns);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(most, TURNS);
	assert_int_equal(done, THREADS * TIMES);
	assert_int_equal(made, TURNS); /* what was left is used again */
	for (unsigned i = 0; i < TURNS; i++) {
		void *thing = turns_left(&turns);

		assert_non_null(thing);
		free(thing);
	}
	assert_null(turns_left(&turns));
	turns_end(&turns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(few_at_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
