/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/column_internal.h"

static enum column_level in_force = COLUMN_BEST;

enum column_level column_use(enum column_level level)
{
	in_force = level;
	return in_force;
}

static bool bit(const uint64_t *bits, uint32_t i)
{
	return bits && bits[i >> 6] >> (i & 63) & 1;
}

static uint8_t *dense(uint8_t *w, enum column_type type, const int64_t *values, const uint64_t *missing, uint32_t n)
{
	struct column_event events[COLUMN_MOST];
	int64_t range[2];

	for (uint32_t i = 0; i < n; i++)
		events[i] = (struct column_event){i, bit(missing, i), values[i]};
	return column_events(w, type, events, n, n, range);
}

uint8_t *column_int32(uint8_t *w, const int32_t *values, const uint64_t *missing, uint32_t n, int32_t range[2])
{
	int64_t wide[COLUMN_MOST];

	range[0] = range[1] = values[0];
	for (uint32_t i = 0; i < n; i++) {
		wide[i] = values[i];
		range[0] = values[i] < range[0] ? values[i] : range[0];
		range[1] = values[i] > range[1] ? values[i] : range[1];
	}
	return dense(w, COLUMN_INT32, wide, missing, n);
}

uint8_t *column_double(uint8_t *w, const uint32_t *values, const uint64_t *missing, uint32_t n, uint32_t range[2])
{
	int64_t wide[COLUMN_MOST];

	range[0] = range[1] = values[0];
	for (uint32_t i = 0; i < n; i++) {
		wide[i] = values[i];
		range[0] = values[i] < range[0] ? values[i] : range[0];
		range[1] = values[i] > range[1] ? values[i] : range[1];
	}
	return dense(w, COLUMN_DOUBLE, wide, missing, n);
}

/* Any dates: a difference of differences that no block holds becomes a literal, and what follows counts from there. */
uint8_t *column_date(uint8_t *w, const int64_t *ms, uint32_t n, int64_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};
	uint64_t u[COLUMN_MOST], difference = 0;
	uint32_t from = 1;

	range[0] = range[1] = ms[0];
	column_literal_number(&c, COLUMN_DATE, ms[0]);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t d = (uint64_t)ms[i] - (uint64_t)ms[i - 1];

		range[0] = ms[i] < range[0] ? ms[i] : range[0];
		range[1] = ms[i] > range[1] ? ms[i] : range[1];
		u[i] = column_zigzag(d - difference);
		difference = d;
		if (u[i] > COLUMN_NUMBER_MOST) {
			column_numbers(&c, u, from, i);
			column_literal_number(&c, COLUMN_DATE, ms[i]);
			difference = 0;
			from = i + 1;
		}
	}
	column_numbers(&c, u, from, n);
	*c.w++ = 0;
	return c.w;
}
