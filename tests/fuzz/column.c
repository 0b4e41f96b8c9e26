/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column.c - libFuzzer target: columns read, and written and read.
 *
 * Input: bytes, then one that says what they are (0 in the corpus): a column as it is, values of any type for the plain
 * encoder, or values of one of the shapes of column.h. What must hold, besides nothing being read or written where it
 * must not: a column that is refused is refused with a reason; one that is read has at most as many values as there is
 * room; what was written reads as what it was written from, within its bound; the fast writers write the same bytes
 * with every machine code, and know the smallest and the largest value.
 */
#include <errno.h>
#include <stdio.h>

#include "recorder/encode/column.h"
#include "recorder/encode/column_plain.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/any_column.h"

#define MOST 8192u
_Static_assert(MOST >= COLUMN_MOST, "room for a whole column");

/* What SSE2 is compared with. */
static enum column_level other_level(uint32_t n)
{
	return n & 1 ? COLUMN_BEST : COLUMN_AVX2;
}

static struct column_value values[MOST], again[MOST];

static void reads_as(const uint8_t *column, size_t len, const struct column_value *want, uint32_t n)
{
	MUST(column_read(column, len, again, n, NULL, NULL) == (int)n);
	for (uint32_t i = 0; i < n; i++)
		MUST(any_column_same(&again[i], &want[i]));
}

static void plain(const struct column_value *v, uint32_t n)
{
	uint8_t *column;
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += v[i].len;
	column = malloc(COLUMN_PLAIN_BOUND(n, bytes));
	reads_as(column, column_plain(column, v, n), v, n);
	free(column);
}

/* A column as it is; what it says, written again, says the same. */
static void any_bytes(const uint8_t *data, size_t size)
{
	static struct column_value first[MOST];
	uint8_t *exact = malloc(size + !size);
	const char *problem = NULL;
	size_t at = SIZE_MAX;
	int n;

	memcpy(exact, data, size); /* no option behind it */
	n = column_read(exact, size, first, MOST, &problem, &at);
	if (n >= 0)
		plain(first, (uint32_t)n); /* its values point into it */
	free(exact);
	if (n == -E2BIG)
		return;
	if (n < 0) {
		MUST(n == -EINVAL && problem && at <= size);
		return;
	}
	MUST(n <= (int)MOST);
}

/* ---- the fast writers ------------------------------------------------------------------------------------------- */

/* What a writer is given, in exact memory, and what it said. */
struct written {
	uint8_t *column;
	size_t len;
	int64_t range[2];
};

struct dense {
	enum column_type type;
	uint32_t n;
	void *values;
	uint64_t *missing; /* or NULL */
};

static uint8_t *dense_write(uint8_t *w, const struct dense *d, int64_t range[2])
{
	uint32_t reals[2];
	int32_t ints[2];

	switch (d->type) {
	case COLUMN_INT32:
		w = column_int32(w, d->values, d->missing, d->n, ints);
		range[0] = ints[0];
		range[1] = ints[1];
		return w;
	case COLUMN_DOUBLE:
		w = column_double(w, d->values, d->missing, d->n, reals);
		range[0] = reals[0];
		range[1] = reals[1];
		return w;
	default:
		return column_date(w, d->values, d->n, range);
	}
}

/* The smallest and the largest of the values are in `range`. */
static void range_is(const struct column_value *v, uint32_t n, const int64_t range[2])
{
	int64_t least = INT64_MAX, most = INT64_MIN;

	for (uint32_t i = 0; i < n; i++) {
		int64_t x = v[i].type == BSON_DOUBLE ? (int64_t)v[i].real : v[i].number;

		if (v[i].type == COLUMN_VALUE_MISSING)
			continue;
		least = x < least ? x : least;
		most = x > most ? x : most;
	}
	MUST(range[0] == least && range[1] == most);
}

/* Two levels of machine code, the same bytes. */
static void written_same(const struct written w[2], const struct column_value *v, uint32_t n)
{
	MUST(w[0].len == w[1].len && !memcmp(w[0].column, w[1].column, w[0].len));
	reads_as(w[0].column, w[0].len, v, n);
}

static void dense(enum column_type type, struct any_source source)
{
	struct dense d = {.type = type};
	struct written w[2];
	bool gaps = any_take(&source, 1) & 1;
	uint32_t there = 0;
	int64_t carried;

	d.n = any_column(values, COLUMN_MOST, type == COLUMN_DOUBLE ? BSON_INT64 : (uint8_t)type, source);
	while (there < d.n && values[there].type == COLUMN_VALUE_MISSING)
		there++;
	if (there == d.n)
		return;
	/* Up to a multiple of eight is readable, not defined. */
	d.values = malloc((size_t)(d.n + 7) / 8 * 8 * (type == COLUMN_DATE ? 8 : 4));
	d.missing = gaps && type != COLUMN_DATE ? calloc((d.n + 63) / 64, 8) : NULL;
	carried = values[there].number;
	for (uint32_t i = 0; i < d.n; i++) {
		bool missing = values[i].type == COLUMN_VALUE_MISSING;

		carried = missing ? carried : values[i].number;
		if (missing && d.missing)
			d.missing[i >> 6] |= 1ull << (i & 63);
		if (!missing || !d.missing)
			values[i] = (struct column_value){.type = (uint8_t)type, .number = carried};
		if (type == COLUMN_DATE)
			((int64_t *)d.values)[i] = carried;
		else
			((uint32_t *)d.values)[i] = (uint32_t)carried;
		if (type == COLUMN_DOUBLE && values[i].type)
			values[i].real = (uint32_t)carried;
	}
	for (unsigned level = 0; level < 2; level++) {
		column_use(level ? other_level(d.n) : COLUMN_SSE2);
		w[level].column = malloc(COLUMN_BOUND(d.n));
		w[level].len = (size_t)(dense_write(w[level].column, &d, w[level].range) - w[level].column);
		range_is(values, d.n, w[level].range);
	}
	written_same(w, values, d.n);
	free(w[0].column);
	free(w[1].column);
	free(d.values);
	free(d.missing);
}

/* Places where the value changes, and some where it does not. How many; gives the first that is there. */
static uint32_t changes(uint32_t *at, uint32_t n, uint32_t *there, bool more)
{
	uint32_t count = 0;

	*there = n;
	for (uint32_t i = 0; i < n; i++) {
		if (values[i].type && *there == n)
			*there = i;
		if (!i || !any_column_same(&values[i], &values[i - 1]) || (more && i % 11 == 5))
			at[count++] = i;
	}
	return *there == n ? 0 : count;
}

static void events(enum column_type type, struct any_source source)
{
	static uint32_t at[COLUMN_MOST];
	bool more = any_take(&source, 1) & 1;
	uint32_t n = any_column(values, COLUMN_MOST, type == COLUMN_DOUBLE ? BSON_INT64 : BSON_INT32, source), there;
	struct column_event *list;
	struct written w[2];
	uint32_t count;

	for (uint32_t i = 0; i < n && type == COLUMN_DOUBLE; i++) {
		int64_t number = values[i].number;

		if (!values[i].type)
			continue;
		number = number < -(1ll << 53) || number > 1ll << 53 ? number >> 11 : number;
		values[i] = (struct column_value){.type = BSON_DOUBLE, .real = (double)number};
	}
	count = changes(at, n, &there, more);
	if (!count)
		return;
	list = malloc(count * sizeof(*list));
	for (uint32_t i = 0; i < count; i++) {
		const struct column_value *v = &values[at[i]];

		list[i] = (struct column_event){.at = at[i], .missing = !v->type};
		list[i].value = v->type == BSON_DOUBLE ? (int64_t)v->real : v->number;
	}
	for (unsigned level = 0; level < 2; level++) {
		column_use(level ? other_level(n) : COLUMN_SSE2);
		w[level].column = malloc(COLUMN_BOUND(n));
		w[level].len = (size_t)(column_events(w[level].column, type, list, count, n, w[level].range) -
					w[level].column);
		range_is(values, n, w[level].range);
	}
	written_same(w, values, n);
	free(w[0].column);
	free(w[1].column);
	free(list);
}

/* BSON's order: strings by their bytes, binaries by their length first. */
static int order(enum column_type type, const struct column_text *a, const struct column_text *b)
{
	uint32_t len = a->len < b->len ? a->len : b->len;
	int by_len = (a->len > b->len) - (a->len < b->len), by_bytes = memcmp(a->bytes, b->bytes, len);

	if (type == COLUMN_BINARY)
		return by_len ? by_len : by_bytes;
	return by_bytes ? by_bytes : by_len;
}

/* The events of `range` hold values that none is below or above. */
static void text_range_is(enum column_type type, const struct column_text *list, uint32_t count,
			  const uint32_t range[2])
{
	MUST(range[0] < count && range[1] < count);
	MUST(list[range[0]].len != COLUMN_TEXT_MISSING && list[range[1]].len != COLUMN_TEXT_MISSING);
	for (uint32_t i = 0; i < count; i++) {
		if (list[i].len == COLUMN_TEXT_MISSING)
			continue;
		MUST(order(type, &list[range[0]], &list[i]) <= 0);
		MUST(order(type, &list[range[1]], &list[i]) >= 0);
	}
}

static void texts(enum column_type type, struct any_source source)
{
	static uint32_t at[COLUMN_MOST];
	bool more = any_take(&source, 1) & 1;
	uint32_t n = any_column(values, COLUMN_MOST, (uint8_t)type, source), there, count, range[2];
	struct column_text *list;
	struct written w[2];
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		values[i].subtype = 0;
		if (type == COLUMN_STRING && memchr(column_value_bytes(&values[i]), 0, values[i].len))
			values[i] = (struct column_value){.type = BSON_STRING};
	}
	count = changes(at, n, &there, more);
	if (!count)
		return;
	list = malloc(count * sizeof(*list));
	for (uint32_t i = 0; i < count; i++) {
		const struct column_value *v = &values[at[i]];
		uint8_t *exact = malloc(v->len ? v->len : 1);

		memcpy(exact, column_value_bytes(v), v->len);
		list[i] = (struct column_text){
			.at = at[i], .len = v->type ? v->len : COLUMN_TEXT_MISSING, .bytes = exact};
		bytes += v->len;
	}
	for (unsigned level = 0; level < 2; level++) {
		column_use(level ? other_level(n) : COLUMN_SSE2);
		w[level].column = malloc(COLUMN_TEXTS_BOUND(n, count, bytes));
		w[level].len = (size_t)(column_texts(w[level].column, type, list, count, n, range) - w[level].column);
		text_range_is(type, list, count, range);
	}
	written_same(w, values, n);
	for (uint32_t i = 0; i < count; i++)
		free((void *)(uintptr_t)list[i].bytes);
	free(w[0].column);
	free(w[1].column);
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct any_source source = {data, data + size - (size ? 1 : 0)};

	if (!size)
		return 0;
	switch (data[size - 1] % 9) {
	case 0:
		any_bytes(data, size - 1);
		break;
	case 1:
		plain(values, any_column(values, MOST, 0, source));
		break;
	case 2:
		dense(COLUMN_INT32, source);
		break;
	case 3:
		dense(COLUMN_DOUBLE, source);
		break;
	case 4:
		dense(COLUMN_DATE, source);
		break;
	case 5:
		events(COLUMN_INT32, source);
		break;
	case 6:
		events(COLUMN_DOUBLE, source);
		break;
	case 7:
		texts(COLUMN_STRING, source);
		break;
	case 8:
		texts(COLUMN_BINARY, source);
		break;
	}
	return 0;
}
