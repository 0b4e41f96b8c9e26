/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What became of the packets of each second: a hash table, since a file's packets need not be in order of time. Memory is
 * bounded by the file: one cell for each second in which there is a packet.
 */
#include "recorder/process/import_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

#define ROOM_FIRST 1024u /* a power of two */

struct import_rows {
	struct import_row *cells;
	uint8_t *used;
	size_t room, count;
	struct import_row *last; /* packets come many to a second */
};

struct import_rows *import_rows_new(void)
{
	struct import_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->room = ROOM_FIRST;
	rows->cells = malloc(rows->room * sizeof(*rows->cells));
	rows->used = calloc(rows->room, 1);
	if (rows->cells && rows->used)
		return rows;
	import_rows_free(rows);
	return NULL;
}

void import_rows_free(struct import_rows *rows)
{
	if (!rows)
		return;
	free(rows->cells);
	free(rows->used);
	free(rows);
}

static bool is_of(const struct import_row *row, unsigned capture, unsigned side, uint64_t sec)
{
	return row->sec == sec && row->capture == capture && row->side == side;
}

/* The cell, or the free one where it would be. */
static size_t place(const struct import_rows *rows, unsigned capture, unsigned side, uint64_t sec)
{
	uint64_t hash = (sec * 0x9e3779b97f4a7c15ull ^ (uint64_t)capture << 1 ^ side) * 0xff51afd7ed558ccdull;
	size_t at = (size_t)(hash >> 32) & (rows->room - 1);

	while (rows->used[at] && !is_of(&rows->cells[at], capture, side, sec))
		at = (at + 1) & (rows->room - 1);
	return at;
}

static int grow(struct import_rows *rows)
{
	struct import_rows more = {.room = 2 * rows->room, .count = rows->count};

	more.cells = malloc(more.room * sizeof(*more.cells));
	more.used = calloc(more.room, 1);
	if (!more.cells || !more.used) {
		free(more.cells);
		free(more.used);
		return -ENOMEM;
	}
	for (size_t i = 0; i < rows->room; i++) {
		const struct import_row *row = &rows->cells[i];

		if (!rows->used[i])
			continue;
		size_t at = place(&more, row->capture, row->side, row->sec);
		more.cells[at] = *row;
		more.used[at] = 1;
	}
	free(rows->cells);
	free(rows->used);
	*rows = more;
	return 0;
}

static struct import_row *row_of(struct import_rows *rows, unsigned capture, unsigned side, uint64_t sec)
{
	size_t at;

	if (rows->last && is_of(rows->last, capture, side, sec))
		return rows->last;
	if (2 * rows->count >= rows->room && grow(rows))
		return NULL;
	at = place(rows, capture, side, sec);
	if (!rows->used[at]) {
		rows->used[at] = 1;
		rows->cells[at] = (struct import_row){.sec = sec, .capture = capture, .side = side};
		rows->count++;
	}
	return rows->last = &rows->cells[at];
}

int import_rows_add(struct import_rows *rows, unsigned capture, unsigned side, uint64_t sec, enum rec_term term,
		    uint32_t bytes)
{
	struct import_row *row = row_of(rows, capture, side, sec);
	struct rec_count *count;

	if (!row)
		return -ENOMEM;
	count = term == REC_PUBLISHED ? &row->stored : term == REC_FILTERED_EXPR ? &row->filtered : &row->lost;
	count->packets++;
	count->bytes += bytes;
	return 0;
}

static uint32_t year_of(const struct import_row *row)
{
	return clock_day((int64_t)(row->sec * NS_PER_SEC)) / 10000;
}

static int compare(const void *x, const void *y)
{
	const struct import_row *a = x, *b = y;
	uint32_t one = year_of(a), other = year_of(b);

	if (one != other)
		return one < other ? -1 : 1;
	if (a->capture != b->capture)
		return a->capture < b->capture ? -1 : 1;
	if (a->side != b->side)
		return a->side < b->side ? -1 : 1;
	return (int64_t)a->sec < (int64_t)b->sec ? -1 : (int64_t)a->sec > (int64_t)b->sec;
}

const struct import_row *import_rows_sorted(struct import_rows *rows, const struct import_row **sorted)
{
	size_t n = 0;

	for (size_t i = 0; i < rows->room; i++)
		if (rows->used[i])
			rows->cells[n++] = rows->cells[i];
	rows->last = NULL;
	qsort(rows->cells, n, sizeof(*rows->cells), compare);
	*sorted = rows->cells;
	return rows->cells + n;
}
