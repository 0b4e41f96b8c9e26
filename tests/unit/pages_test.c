// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that grows and shrinks over the size from which it is mapped keeps its content, and what is large goes back at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "recorder/core/pages.h"

static long resident_kb(void)
{
	long size, pages = -1;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &pages), 2);
	fclose(f);
	return pages * 4;
}

static void content_stays(void **state)
{
	static const size_t sizes[] = {1, 100, 65536, 200000, 262143, 262144, 300000, 1 << 20, 5 << 20, 262144, 262143, 4096, 1 << 20, 7};
	uint8_t *p = NULL;
	size_t has = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t kept = has < sizes[i] ? has : sizes[i];

		p = pages_resize(p, has, sizes[i]);
		assert_non_null(p);
		for (size_t k = 0; k < kept; k++)
			if (p[k] != (uint8_t)(k * 7 + (k >> 8)))
				fail_msg("byte %zu of %zu has changed from %zu to %zu", k, kept, has, sizes[i]);
		has = sizes[i];
		for (size_t k = 0; k < has; k++)
			p[k] = (uint8_t)(k * 7 + (k >> 8));
	}
	assert_null(pages_resize(p, has, 0));
	assert_null(pages_resize(NULL, 0, 0));
}

static void large_goes_back(void **state)
{
	enum { N = 32, SIZE = 2 << 20 };
	void *p[N];
	long before = resident_kb(), most;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* it keeps what was freed for a while */
#endif
	for (unsigned i = 0; i < N; i++) {
		p[i] = pages_resize(NULL, 0, SIZE);
		assert_non_null(p[i]);
		memset(p[i], 1, SIZE);
	}
	most = resident_kb();
	assert_true(most - before > N * (SIZE >> 10) * 9 / 10);
	for (unsigned i = 0; i + 1 < N; i++)
		pages_resize(p[i], SIZE, 0);
	assert_true(resident_kb() - before < 4 * (SIZE >> 10)); /* with the last one still there */
	pages_resize(p[N - 1], SIZE, 0);
}

static void no_memory(void **state)
{
	uint8_t *p = pages_resize(NULL, 0, 1 << 20);

	(void)state;
	assert_non_null(p);
	memset(p, 5, 1 << 20);
	assert_null(pages_resize(p, 1 << 20, SIZE_MAX / 2));
	assert_int_equal(p[(1 << 20) - 1], 5);
	pages_resize(p, 1 << 20, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_stays),
		cmocka_unit_test(large_goes_back),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
