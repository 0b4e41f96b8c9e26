/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column.c - dense columns: nearly every value differs from the one before. (column_events.c, column_texts.c: seldom.)
 *
 * To pack one number after the other, asking each time whether it still fits, costs a few unpredictable branches for
 * each. The kernel (column_kernel.h) instead goes over the whole column a few times with vectors, and then once by
 * blocks:
 *
 *   1. differences, their zigzag form u, their widths in bits and the range of the values, 32 values at a time. The
 *      width is that of the difference's size, which is the exponent of its float;
 *   2. for every value, how many slots a block would have that starts with it: the largest width over the next
 *      2, 3, 4, ... 60 values, each from two shorter ones, against the width of a slot. As soon as no block of a size
 * fits anywhere, larger ones are not tried;
 *   3. stretches of at least 120 equal numbers, looked for only where 64 widths are equal;
 *   4. jump from block to block: slots[i] values are shifted to their places all at once and ORed to a word. No branch
 *      depends on the values but the one between up to 8 and more slots.
 *
 * A block takes as many numbers as fit, which is what MongoDB's server does too; only its selectors for numbers that
 * end in zeros are not used here.
 */
#include <cpuid.h>

#include "recorder/encode/column_internal.h"

static const struct column_kernel *const kernels[] = {
	[COLUMN_SSE2] = &column_sse2, [COLUMN_AVX2] = &column_avx2, [COLUMN_AVX512] = &column_avx512};
static enum column_level in_force = COLUMN_SSE2;

/* What *_avx2.c are compiled for. Not every compiler's own check knows LZCNT and MOVBE. */
static bool has_avx2(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
	       __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT) && __get_cpuid(1, &a, &b, &c, &d) &&
	       (c & bit_MOVBE);
}

/* *_avx512.c: what came with Ice Lake and Zen 4. __builtin_cpu_supports asks the system too: it keeps the registers. */
static bool has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
}

enum column_level column_use(enum column_level level)
{
	if (level == COLUMN_AVX512 && !has_avx512())
		level = COLUMN_AVX2;
	if (level == COLUMN_AVX2 && !has_avx2())
		level = COLUMN_SSE2;
	in_force = level;
	return level;
}

enum column_level column_level(void)
{
	return in_force;
}

__attribute__((constructor)) static void choose(void)
{
	__builtin_cpu_init();
	column_use(COLUMN_BEST);
}

/* What is missing in front of the literal; its place. */
static uint32_t leading(struct column_writer *c, const uint64_t *missing)
{
	struct column_state s = {.fill = 1, .last = COLUMN_LAST_ZERO};
	struct column_place marks[COLUMN_MARKS];
	uint32_t word = 0, first;

	if (!missing || !(missing[0] & 1))
		return 0;
	while (missing[word] == ~0ull)
		word++;
	first = 64 * word + (uint32_t)__builtin_ctzll(~missing[word]);
	column_places(c, &s, marks, 0, first);
	return first;
}

uint8_t *column_int32(uint8_t *w, const int32_t *values, const uint64_t *missing, uint32_t n, int32_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};
	uint32_t first = leading(&c, missing);

	column_literal_number(&c, COLUMN_INT32, values[first]);
	kernels[in_force]->int32s(&c, values, missing, first + 1, n, range);
	*c.w++ = 0;
	return c.w;
}

uint8_t *column_double(uint8_t *w, const uint32_t *values, const uint64_t *missing, uint32_t n, uint32_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};
	uint32_t first = leading(&c, missing);
	int32_t turned[2];

	column_literal_number(&c, COLUMN_DOUBLE, values[first]);
	kernels[in_force]->uint32s(&c, values, missing, first + 1, n, turned);
	for (unsigned i = 0; i < 2; i++)
		range[i] = (uint32_t)turned[i] ^ 1u << 31;
	*c.w++ = 0;
	return c.w;
}

/* Dates of any distance: a difference of differences that no block holds becomes a literal, and what follows counts
 * from there. */
static void far_dates(struct column_writer *c, const int64_t *ms, uint32_t n, int64_t range[2])
{
	uint64_t u[COLUMN_MOST], difference = 0;
	uint32_t from = 1;

	range[0] = range[1] = ms[0];
	for (uint32_t i = 1; i < n; i++) {
		uint64_t d = (uint64_t)ms[i] - (uint64_t)ms[i - 1];

		range[0] = ms[i] < range[0] ? ms[i] : range[0];
		range[1] = ms[i] > range[1] ? ms[i] : range[1];
		u[i] = column_zigzag(d - difference);
		difference = d;
		if (u[i] > COLUMN_NUMBER_MOST) {
			column_numbers(c, u, from, i);
			column_literal_number(c, COLUMN_DATE, ms[i]);
			difference = 0;
			from = i + 1;
		}
	}
	column_numbers(c, u, from, n);
}

uint8_t *column_date(uint8_t *w, const int64_t *ms, uint32_t n, int64_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};

	column_literal_number(&c, COLUMN_DATE, ms[0]);
	if (!kernels[in_force]->dates(&c, ms, n, range))
		far_dates(&c, ms, n, range);
	*c.w++ = 0;
	return c.w;
}
