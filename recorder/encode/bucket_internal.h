/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_internal.h - what a bucket is between its steps. Internal to encode/bucket*.c.
 *
 *   bucket_plan      the batch's rows in flow order, and where they are cut                      bucket.c
 *   gather_bucket    one bucket's rows to arrays (dense), rare fields                            bucket_gather.c
 *   gather_slow..    and lists of changes (slow, key)                                            bucket_change.c
 *   gather_columns   those to columns, with the smallest and largest value of each               bucket_columns.c
 *   put_*            _id, control and meta around them                                           bucket_meta.c
 *   bucket_command   many of them into a command's memory                                        bucket_command.c
 */
#ifndef XDP_RECORDER_ENCODE_BUCKET_INTERNAL_H
#define XDP_RECORDER_ENCODE_BUCKET_INTERNAL_H

#include "recorder/encode/bucket.h"
#include "recorder/encode/column.h"
#include "recorder/encode/command.h"
#include "recorder/packet/text.h"

#define BUCKET_MOST (BUCKET_PACKETS + BUCKET_PACKETS / 2)
/*
 * Elements of the arrays of a bucket: more than BUCKET_MOST and one, and such that 64 lists of 16-byte elements begin
 * in 64 different sets of the first cache (16 * 1516 is -5 lines, modulo 4096 bytes): only their beginnings are in use.
 */
#define GATHER_ROOM 1516u
#define GATHER_WORDS ((GATHER_ROOM + 63) / 64)
_Static_assert(GATHER_ROOM >= BUCKET_MOST + 8 && GATHER_ROOM <= COLUMN_MOST,
	       "padded to 8 values, and a column at most");

/* From place `at` on the rows have these bits. */
struct gather_has {
	uint32_t at;
	uint64_t has;
};

/* Rows [from, to) do not have a field. */
struct gather_gap {
	uint32_t from, to;
};

/* A rare field of a row of this bucket. */
struct gather_rare {
	uint32_t at;
	uint32_t number; /* in flow.rare */
};

/* Fields of two words, which are kept as their numbers. */
#define ROW_WORDS (ROW_BIT(DIR) | ROW_BIT(SIDE))

union gather_end {
	struct column_event *number;
	struct column_text *text;
};

/* What the smallest and largest value of a column become in control. */
struct gather_range {
	uint16_t field;
	union {
		int64_t number[2]; /* INT32, DOUBLE, DATE */
		struct column_text text[2];
	};
};

/* One bucket, from its rows to its columns. Kept from bucket to bucket; lists and arrays are valid up to their counts.
 */
struct gather {
	uint32_t n;
	uint64_t any, all;	     /* of the rows' has: OR, AND */
	uint64_t rare[PACKET_WORDS]; /* fields that are in the list of rare ones */
	uint32_t rares, runs, ranges;
	size_t texts_len; /* used of `letters` */
	uint8_t version;  /* control.version: a server counts version 3 in the order of time as a defect */

	int64_t ms[GATHER_ROOM];
	int32_t ns[GATHER_ROOM], len[GATHER_ROOM];
	uint32_t key_marks_room[4 + GATHER_ROOM]; /* gather_key_marks */
	uint32_t seq[GATHER_ROOM], ack[GATHER_ROOM], ltsval[GATHER_ROOM], rtsval[GATHER_ROOM];
	uint32_t flags_win[GATHER_ROOM], ipid_csum[GATHER_ROOM]; /* two of 16 bits, the first in the lower half */
	uint32_t column[GATHER_ROOM]; /* one of these halves, or the column that is carried */
	/* Rows without the fields gaps_of: they are the same ones for all of these. 0: of none. */
	uint64_t gaps_of, missing[GATHER_WORDS];
	struct gather_gap gap[GATHER_ROOM];
	uint32_t gaps;
	struct gather_has run[GATHER_ROOM];
	uint64_t slow_differs[GATHER_WORDS], key_differs[GATHER_WORDS]; /* from the row before: row_slow; key, marks */

	union gather_end end[64]; /* of the events of each field, where the next one belongs */
	struct column_event number[64][GATHER_ROOM];
	struct column_text text[64][GATHER_ROOM];
	struct gather_range range[PKT_FIELDS];
	/* The column of a rare field; behind each value a place without. */
	union {
		struct column_event rare_number[2 * GATHER_ROOM];
		struct column_text rare_text[2 * GATHER_ROOM];
	};
	uint32_t rare_count[PKT_FIELDS], rare_first[PKT_FIELDS];
	char letters[GATHER_ROOM * (4 * TEXT_ADDRESS_MAX + FIELD_TEXT_MAX)];
};

/* Key and marks of each row, as they are in it; one in front of them can be read. */
static inline uint32_t *gather_key_marks(struct gather *g)
{
	return g->key_marks_room + 4;
}

/* Its column is made from a list of numbers, though its values are texts. */
static inline bool is_word(unsigned field)
{
	return field < 64 && (ROW_WORDS >> field & 1);
}

/* Has a list of texts. */
static inline bool is_text(unsigned field)
{
	return (fields[field].type == FIELD_STRING || fields[field].type == FIELD_BINARY) && !is_word(field);
}

/* Events of a field. */
static inline uint32_t gather_numbers(const struct gather *g, unsigned field)
{
	return (uint32_t)(g->end[field].number - g->number[field]);
}
static inline uint32_t gather_texts(const struct gather *g, unsigned field)
{
	return (uint32_t)(g->end[field].text - g->text[field]);
}

typedef unsigned __int128 host_number;

struct bucket_maker {
	struct flow_maker *flows;
	struct flow flow;
	const struct batch *batch;
	const struct ends_table *ends;
	struct bucket_form form;
	uint32_t buckets;
	uint64_t base_s;	   /* control.min.ts of all buckets, seconds */
	size_t iface, sensor;	   /* bytes of the names */
	const uint32_t *positions; /* [flow.rows]: the buckets' one behind the other */
	uint32_t *sorted;	   /* version 2: those of each bucket by time */
	struct gather *gather;
	/* Of this plan's size: rare fields as they come and by field; addresses of either family, room to sort. */
	struct gather_rare *rare, *rare_sorted;
	uint16_t *rare_field;
	uint64_t *host4, *host4_room; /* address << 32 | where its text stands in gather->letters */
	host_number *host6, *host6_room;
	uint32_t nhost4, nhost6;
	uint32_t *key_seen; /* [FLOW_MOST]: the last bucket whose hosts have the key's, plus 1. Version 2 */
	size_t rare_cap, host_cap, sorted_cap;
	struct command_buffer one;  /* bucket_encode */
	struct command_buffer kept; /* bucket `kept_bucket` of this plan, made for a command that it did not fit in */
	uint32_t kept_bucket;	    /* UINT32_MAX: none */
};

/* Positions [*first, *first + the number returned) of maker->positions are the bucket's. */
uint32_t bucket_cut(const struct bucket_maker *maker, uint32_t bucket, uint32_t *first);

/* Rows of a bucket to arrays and lists; hosts to maker->host4 and host6 (not yet sorted). */
void gather_bucket(struct bucket_maker *maker, uint32_t bucket);

/* Its parts: of the rows that were noted, members of row_slow, then (it notes some more) key and marks, to events. */
void gather_slow(struct gather *g, const struct row *row, const uint32_t *position);
void gather_keys(struct bucket_maker *maker, uint32_t bucket, const uint32_t *position);
/* Of any address: the text of an IPv4 one in `letters`, where it is; a host. */
uint32_t gather_text_cell(struct gather *g, const uint8_t address[4]);
void gather_host4(struct bucket_maker *m, const uint8_t address[4], uint32_t cell);
void gather_host6(struct bucket_maker *m, const uint8_t address[16]);

/* Bytes that gather_columns may touch. */
size_t gather_bound(const struct bucket_maker *maker);
/* Writes the elements of `data`, fills gather->range; the byte behind them. */
uint8_t *gather_columns(struct bucket_maker *maker, uint8_t *w);

/* _id, control, meta and the head of data: bytes at most, after the gather; and they, once the columns are written. */
size_t bucket_head_bound(const struct bucket_maker *maker);
uint8_t *bucket_head(struct bucket_maker *maker, uint8_t *w, const uint8_t id[BUCKET_ID_LEN]);

/* A whole bucket document behind command->len + `behind`. Its length, or -errno; the room is reserved with `more`
 * behind it. */
int64_t bucket_put(struct bucket_maker *maker, struct command_buffer *command, size_t behind, size_t more,
		   uint32_t bucket);

/* Sorts maker->host4 and host6 and removes what is twice. */
void hosts_sort(struct bucket_maker *maker);

/* Text of an IPv4 address in gather->letters: TEXT_CELL bytes, the last of them the length. */
#define TEXT_CELL 16u

#endif
