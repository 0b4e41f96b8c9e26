/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whatever column.h writes is read back by column_read.h, is the same bytes at each level of machine code, says its
 * range, stays in its bound, and over columns as traffic makes them is at most 1 % larger than the packing of MongoDB's
 * server.
 */
#include "recorder/encode/column.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recorder/encode/column_plain.h"
#include "recorder/encode/column_read.h"

enum { SLACK = 64, LONGEST = 2100 };
enum { LEVELS = COLUMN_BEST + 1 };
static uint8_t column[LEVELS][COLUMN_TEXTS_BOUND(COLUMN_MOST, COLUMN_MOST, 1 << 20) + SLACK];
static uint8_t plain[COLUMN_PLAIN_BOUND(COLUMN_MOST, 1 << 20)];
static struct column_value want[COLUMN_MOST], got[COLUMN_MOST + 1];
static uint64_t fast_bytes, plain_bytes; /* over the columns of one test */
static uint64_t random_state = 1;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1d;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)((random64() >> 32) * n >> 32);
}

/* Of the levels' columns, `len` long: equal, within `bound`, and the values of `want`. */
static void check(const size_t len[LEVELS], size_t bound, uint32_t n)
{
	const char *problem = "";
	size_t at = 0;
	int read;

	for (unsigned level = 1; level < LEVELS; level++) {
		assert_int_equal(len[0], len[level]);
		assert_memory_equal(column[0], column[level], len[0]);
	}
	assert_in_range(len[0], 1, bound);
	for (unsigned level = 0; level < LEVELS; level++)
		for (unsigned i = 0; i < SLACK; i++)
			assert_int_equal(column[level][bound + i], 0xa5);
	read = column_read(column[0], len[0], got, COLUMN_MOST, &problem, &at);
	if (read != (int)n)
		fail_msg("%d values of %u: %s at %zu", read, n, problem, at);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(got[i].type, want[i].type);
		if (want[i].type == COLUMN_STRING || want[i].type == COLUMN_BINARY) {
			assert_int_equal(got[i].len, want[i].len);
			assert_memory_equal(column_value_bytes(&got[i]), column_value_bytes(&want[i]), want[i].len);
		} else if (want[i].type && got[i].number != want[i].number) {
			fail_msg("value %u of %u is %lx, not %lx", i, n, got[i].number, want[i].number);
		}
	}
	fast_bytes += len[0];
	plain_bytes += column_plain(plain, want, n);
}

/* The column at each level, into a buffer that shows what is written behind the bound. */
#define AT_EACH_LEVEL(bound_bytes, n, write)                                                                           \
	do {                                                                                                           \
		size_t bound = (bound_bytes), len[LEVELS];                                                             \
		for (unsigned level = COLUMN_SSE2; level < LEVELS; level++) {                                          \
			uint8_t *w = column[level];                                                                    \
			column_use(level);                                                                             \
			memset(w + bound, 0xa5, SLACK);                                                                \
			len[level] = (size_t)((write)-column[level]);                                                  \
		}                                                                                                      \
		check(len, bound, n);                                                                                  \
	} while (0)

static struct column_value number(enum column_type type, int64_t value)
{
	struct column_value v = {.type = (uint8_t)type, .number = value};

	if (type == COLUMN_DOUBLE)
		v.real = (double)value;
	return v;
}

static bool gap(const uint64_t *missing, uint32_t i)
{
	return missing && missing[i >> 6] >> (i & 63) & 1;
}

/* `values` as the contract has it: at what is missing, the one before. False: nothing is there. */
static bool carry(int64_t *values, const uint64_t *missing, uint32_t n)
{
	uint32_t first = 0;

	while (first < n && gap(missing, first))
		first++;
	if (first == n)
		return false;
	for (uint32_t i = 0; i < first; i++)
		values[i] = values[first];
	for (uint32_t i = first; i < n; i++)
		if (gap(missing, i))
			values[i] = values[i - 1];
	return true;
}

static void expect(enum column_type type, const int64_t *values, const uint64_t *missing, uint32_t n, int64_t range[2])
{
	range[0] = INT64_MAX;
	range[1] = INT64_MIN;
	for (uint32_t i = 0; i < n; i++) {
		want[i] = number(gap(missing, i) ? (enum column_type)0 : type, values[i]);
		range[0] = values[i] < range[0] ? values[i] : range[0];
		range[1] = values[i] > range[1] ? values[i] : range[1];
	}
}

/* A column of numbers, dense, from memory that ends where the contract says. */
static void dense(enum column_type type, int64_t *values, const uint64_t *missing, uint32_t n)
{
	uint32_t readable = (n + 7) / 8 * 8;
	int64_t right[2];

	if (!carry(values, missing, n))
		return;
	expect(type, values, missing, n, right);
	if (type == COLUMN_DATE) {
		int64_t range[2], *dates = malloc(readable * sizeof(*dates));

		memset(dates, 0x5a, readable * sizeof(*dates));
		memcpy(dates, values, n * sizeof(*dates));
		AT_EACH_LEVEL(COLUMN_BOUND(n), n, column_date(w, dates, n, range));
		assert_true(range[0] == right[0] && range[1] == right[1]);
		free(dates);
		return;
	}
	int32_t *v = malloc(readable * sizeof(*v)), range[2];

	memset(v, 0x5a, readable * sizeof(*v));
	for (uint32_t i = 0; i < n; i++)
		v[i] = (int32_t)values[i];
	if (type == COLUMN_INT32) {
		AT_EACH_LEVEL(COLUMN_BOUND(n), n, column_int32(w, v, missing, n, range));
		assert_true(range[0] == right[0] && range[1] == right[1]);
	} else {
		AT_EACH_LEVEL(COLUMN_BOUND(n), n, column_double(w, (uint32_t *)v, missing, n, (uint32_t *)range));
		assert_true((uint32_t)range[0] == right[0] && (uint32_t)range[1] == right[1]);
	}
	free(v);
}

/* The same column as events. */
static void sparse(enum column_type type, int64_t *values, const uint64_t *missing, uint32_t n)
{
	static struct column_event events[COLUMN_MOST];
	int64_t right[2], range[2];
	uint32_t count = 0;

	if (!carry(values, missing, n))
		return;
	expect(type, values, missing, n, right);
	for (uint32_t i = 0; i < n; i++)
		if (!i || gap(missing, i) != gap(missing, i - 1) || values[i] != values[i - 1] || !below(200))
			events[count++] = (struct column_event){i, gap(missing, i), gap(missing, i) ? 77 : values[i]};
	AT_EACH_LEVEL(COLUMN_BOUND(n), n, column_events(w, type, events, count, n, range));
	assert_true(range[0] == right[0] && range[1] == right[1]);
}

static const uint32_t lengths[] = {1,	2,   3,	  7,   8,   9,	 15,  31,  32,	 33,   61,   63,   64,	 65,
				   119, 120, 121, 122, 180, 241, 500, 999, 1000, 1024, 1500, 1921, 2047, 2048};
enum { LENGTHS = sizeof(lengths) / sizeof(*lengths) };

/* ---- values of one kind after the other: nothing that is likely, everything that may be
 * ------------------------------- */

enum { SHAPES = 10 };

static int64_t shaped(unsigned shape, enum column_type type, int64_t before, uint32_t i)
{
	int64_t least = type == COLUMN_INT32 ? INT32_MIN : 0, most = type == COLUMN_INT32 ? INT32_MAX : UINT32_MAX;
	unsigned bits = below(34);

	switch (shape) {
	case 0:
		return 5;
	case 1:
		return i & 1 ? most : least;
	case 2:
		return least + (int64_t)(random64() >> 32);
	case 3:
		return i; /* equal differences, not 0 */
	case 4:		  /* each width, each sign, the edges of the widths */
		before += (int64_t)((1ull << bits) - below(3)) * (below(2) ? 1 : -1);
		return before < least ? least : before > most ? most : before;
	case 5:
		return below(300) ? before : below(1000);
	case 6:
		return below(40) ? before : (int64_t)below(1u << below(31));
	case 7:
		return i < 700 ? 3 : i < 900 ? (int64_t)i * 1448 : below(65536);
	case 8:
		return before / 2 + (below(4) ? 0 : (int64_t)below(1u << 16));
	default: /* stretches of equal differences of any width */
		before += i / 150 * 7919 * (i / 150 & 1 ? -1 : 1);
		return before < least ? least : before > most ? most : before;
	}
}

static void fill_missing(unsigned kind, uint64_t *missing, uint32_t n)
{
	bool in = kind & 1;

	memset(missing, 0, COLUMN_MOST / 8);
	for (uint32_t i = 0; i < n; i++) {
		bool is;

		if (kind < 2) /* all but one */
			is = i != (kind ? n - 1 : n / 2);
		else if (kind < 4)
			is = below(2);
		else
			is = in = below(kind < 6 ? 20 : 250) ? in : !in;
		missing[i >> 6] |= (uint64_t)is << (i & 63);
	}
}

static void numbers_of_every_shape(void **state)
{
	static const enum column_type types[] = {COLUMN_INT32, COLUMN_DOUBLE};
	static int64_t values[COLUMN_MOST];
	static uint64_t missing[COLUMN_MOST / 64];

	(void)state;
	for (unsigned t = 0; t < 2; t++)
		for (unsigned shape = 0; shape < SHAPES; shape++)
			for (unsigned l = 0; l < LENGTHS; l++)
				for (unsigned kind = 0; kind <= 8; kind++) {
					uint32_t n = lengths[l];

					for (uint32_t i = 0; i < n; i++)
						values[i] = shaped(shape, types[t], i ? values[i - 1] : 9, i);
					if (kind < 8)
						fill_missing(kind, missing, n);
					dense(types[t], values, kind < 8 ? missing : NULL, n);
					sparse(types[t], values, kind < 8 ? missing : NULL, n);
				}
}

static void dates_of_every_shape(void **state)
{
	static const int64_t far[] = {
		0, 1, -1, INT64_MAX, INT64_MIN, 1ll << 59, -(1ll << 59), 1ll << 58, (1ll << 60) - 1, 1ll << 28};
	static int64_t ms[COLUMN_MOST];

	(void)state;
	for (unsigned shape = 0; shape < 7; shape++)
		for (unsigned l = 0; l < LENGTHS; l++) {
			int64_t now = shape == 1 ? -5000000 : 1790000000000;

			for (uint32_t i = 0; i < lengths[l]; i++) {
				if (shape == 2)
					now = far[below(10)];
				else if (shape == 3)
					now = below(100) ? now + below(5) : (int64_t)random64();
				else if (shape == 4)
					now += 250;
				else if (shape == 5) /* about the limits of 29 and 32 bits */
					now = (int64_t)(below(2) ? 1u << (27 + below(5)) : 0) + below(3);
				else if (shape == 6)
					now = (int64_t)random64();
				else
					now += below(3) ? below(3) : (int64_t)below(40) - 20;
				ms[i] = now;
			}
			dense(COLUMN_DATE, ms, NULL, lengths[l]);
		}
}

/* A double as an event has up to 53 bits and a sign. */
static void large_doubles_as_events(void **state)
{
	static int64_t values[COLUMN_MOST];

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		values[i] = (i & 1 ? -1 : 1) * (int64_t)((1ull << 53) >> below(54));
	sparse(COLUMN_DOUBLE, values, NULL, 500);
	assert_memory_equal(column[0], "\x01\x00\x00\x00\x00\x00\x00\x00", 8);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static struct column_text texts[COLUMN_MOST];
static uint8_t text_bytes[COLUMN_MOST][32];
static uint8_t longest[3][LONGEST];

static int order(enum column_type type, const struct column_text *a, const struct column_text *b)
{
	uint32_t common = a->len < b->len ? a->len : b->len;
	int d = common ? memcmp(a->bytes, b->bytes, common) : 0;

	if (type == COLUMN_BINARY && a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return d ? d : (a->len > b->len) - (a->len < b->len);
}

static void texts_there_and_back(enum column_type type, uint32_t count, uint32_t n)
{
	uint32_t range[2];
	size_t bytes = 0;
	bool any = false;

	for (uint32_t e = 0; e < count; e++) {
		uint32_t end = e + 1 < count ? texts[e + 1].at : n;
		struct column_value v = {0};

		if (texts[e].len != COLUMN_TEXT_MISSING) {
			v = (struct column_value){.type = (uint8_t)type, .len = texts[e].len, .bytes = texts[e].bytes};
			if (v.len <= sizeof(v.small)) {
				memcpy(v.small, v.bytes, v.len);
				v.bytes = NULL;
			}
			bytes += v.len;
			any = true;
		}
		for (uint32_t i = texts[e].at; i < end; i++)
			want[i] = v;
	}
	if (!any)
		return;
	AT_EACH_LEVEL(COLUMN_TEXTS_BOUND(n, count, bytes), n, column_texts(w, type, texts, count, n, range));
	for (uint32_t e = 0; e < count; e++)
		if (texts[e].len != COLUMN_TEXT_MISSING) {
			assert_true(order(type, &texts[range[0]], &texts[e]) <= 0);
			assert_true(order(type, &texts[range[1]], &texts[e]) >= 0);
		}
}

static uint32_t any_text(enum column_type type, unsigned shape, uint32_t e)
{
	static const uint32_t sizes[] = {0, 1, 4, 6, 8, 9, 15, 16, 17, 18};
	uint32_t len = sizes[below(10)];

	texts[e].bytes = text_bytes[e];
	if (shape == 0 || !e) { /* any bytes */
		for (uint32_t i = 0; i < len; i++)
			text_bytes[e][i] = (uint8_t)(type == COLUMN_STRING ? 1 + below(255) : random64());
	} else if (shape == 1) { /* one byte differs */
		len = texts[e - 1].len == COLUMN_TEXT_MISSING || texts[e - 1].len > 18 ? 8 : texts[e - 1].len;
		memcpy(text_bytes[e], text_bytes[e - 1], 32);
		text_bytes[e][below(len + 1)] = (uint8_t)(1 + below(255));
		for (uint32_t i = 0; type == COLUMN_STRING && i < len; i++)
			text_bytes[e][i] += !text_bytes[e][i];
	} else if (shape == 2) { /* some that come again, long ones as well */
		uint32_t which = below(3);

		texts[e].bytes = longest[which];
		return which ? below(3) * 8 : below(2) ? 2000 : 16;
	} else {
		return (uint32_t)snprintf((char *)text_bytes[e], 32, "192.0.%u.%u", below(2), below(256));
	}
	return len;
}

static void texts_of_every_shape(void **state)
{
	static const enum column_type types[] = {COLUMN_STRING, COLUMN_BINARY};
	static const uint32_t steps[] = {1, 3, 30, 400};

	(void)state;
	for (unsigned i = 0; i < LONGEST; i++) {
		longest[0][i] = longest[1][i] = 'a' + i % 20;
		longest[2][i] = 'b';
	}
	for (unsigned round = 0; round < 2 * 4 * 4 * LENGTHS; round++) {
		enum column_type type = types[round & 1];
		uint32_t n = lengths[round / 32], step = steps[round >> 1 & 3], count = 0;

		for (uint32_t at = 0; at < n && count < 500; at += 1 + below(step)) {
			texts[count].at = at;
			texts[count].len = any_text(type, round >> 3 & 3, count);
			if (!below(10))
				texts[count].len = COLUMN_TEXT_MISSING;
			count++;
		}
		texts_there_and_back(type, count, n);
	}
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static void size_begins(void)
{
	fast_bytes = plain_bytes = 0;
}

static double size_is(const char *name)
{
	double percent = 100.0 * (double)fast_bytes / (double)plain_bytes - 100;

	printf("column size %s: %lu bytes, as the server %lu: %+.2f %%\n", name, fast_bytes, plain_bytes, percent);
	return percent;
}

/* Columns in flow order: a bucket has several conversations, in each values follow from one another. */
enum { KINDS = 8 };

static int64_t realistic(unsigned kind, int64_t before, bool first)
{
	static const uint32_t segments[] = {1448, 1448, 1448, 1460, 517, 1, 0, 0};

	switch (kind) {
	case 0: /* seq */
		return (uint32_t)(first ? random64() : (uint64_t)before + segments[below(8)]);
	case 1: /* ack */
		return (uint32_t)(first ? random64() : (uint64_t)before + 2896 * below(3));
	case 2: /* tsval */
		return (uint32_t)(first ? random64() : (uint64_t)before + (below(3) ? 0 : below(40)));
	case 3: /* csum */
		return below(65536);
	case 4: /* ipid */
		return first ? below(65536) : (before + 1) & 65535;
	case 5: /* win */
		return below(12) ? before : 500 + below(64) * 4;
	case 6: /* flags */
		return first ? 2 : below(4) ? 16 : 24;
	default: /* len */
		return below(3) ? 1500 : below(2) ? 52 : 52 + below(1449);
	}
}

static void sizes_are_as_the_servers(void **state)
{
	static const char *const names[KINDS] = {"seq", "ack", "tsval", "csum", "ipid", "win", "flags", "len"};
	static const uint32_t sparse_gaps[] = {20, 60, 200, 700};
	static int64_t values[COLUMN_MOST];
	uint64_t fast = 0, server = 0;

	(void)state;
	for (unsigned kind = 0; kind < KINDS + 5; kind++) {
		static char name[32];

		size_begins();
		for (unsigned bucket = 0; bucket < 40; bucket++) {
			uint32_t left = 0, n = 900 + below(200);

			for (uint32_t i = 0; i < n; i++) {
				bool first = !left;

				left = left ? left - 1 : below(4) ? below(30) : below(700);
				if (kind < KINDS)
					values[i] = realistic(kind, i ? values[i - 1] : 0, first);
				else if (kind < KINDS + 4)
					values[i] =
						i && below(sparse_gaps[kind - KINDS]) ? values[i - 1] : 64 << below(3);
				else
					values[i] = first ? 1790000000000 + below(20000)
							  : values[i - 1] + (below(2) ? 0 : below(80));
			}
			if (kind < KINDS)
				dense(kind < 3 ? COLUMN_DOUBLE : COLUMN_INT32, values, NULL, n);
			else if (kind < KINDS + 4)
				sparse(COLUMN_INT32, values, NULL, n);
			else
				dense(COLUMN_DATE, values, NULL, n);
		}
		snprintf(name, sizeof(name), "a change in %u", sparse_gaps[(kind - KINDS) & 3]);
		size_is(kind < KINDS ? names[kind] : kind < KINDS + 4 ? name : "time");
		fast += fast_bytes;
		server += plain_bytes;
	}
	fast_bytes = fast;
	plain_bytes = server;
	assert_true(size_is("in all") <= 1.0);
}

static void constant_columns_are_short(void **state)
{
	static int64_t values[COLUMN_MOST];

	(void)state;
	for (uint32_t n = 1; n <= COLUMN_MOST; n++) {
		size_begins();
		sparse(COLUMN_INT32, values, NULL, n);
		assert_true(fast_bytes <= plain_bytes);
		size_begins();
		dense(COLUMN_INT32, values, NULL, n);
		assert_true(fast_bytes <= plain_bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_every_shape),   cmocka_unit_test(dates_of_every_shape),
		cmocka_unit_test(large_doubles_as_events),  cmocka_unit_test(texts_of_every_shape),
		cmocka_unit_test(sizes_are_as_the_servers), cmocka_unit_test(constant_columns_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
