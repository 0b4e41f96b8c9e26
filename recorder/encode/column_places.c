/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_places.c - blocks of a column that seldom changes, from the places where it does. Time goes with the number of
 * blocks, not of values.
 *
 * Between two places lie zeros (or missing values, which take as little). Whole runs of 120 of them need no bits at all
 * as long as the block before ended in one; what remains is packed like any other numbers: as many slots as the widest
 * number allows, so that the zeros in front of a change and behind it fill its block.
 */
#include "recorder/encode/column_internal.h"

#define FORM(slots, selector, bits) [slots] = {selector, bits, (selector) == 7 || (selector) == 8 ? 8 : 4}
const struct column_form column_forms[COLUMN_SLOTS_MOST + 1] = {
	FORM(60, 1, 1),	 FORM(30, 2, 2),  FORM(20, 3, 3),  FORM(15, 4, 4),  FORM(12, 5, 5),
	FORM(10, 6, 6),	 FORM(8, 7, 7),	  FORM(7, 8, 8),   FORM(6, 9, 10),  FORM(5, 10, 12),
	FORM(4, 11, 15), FORM(3, 12, 20), FORM(2, 13, 30), FORM(1, 14, 60),
};

const uint8_t column_slots_within[COLUMN_SLOTS_MOST + 1] = {
	0,  1,	2,  3,	4,  5,	6,  7,	8,  8,	10, 10, 12, 12, 12, 15, 15, 15, 15, 15, 20,
	20, 20, 20, 20, 20, 20, 20, 20, 20, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30,
	30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 60,
};

const uint8_t column_slots_of[65] = {
	60, 60, 30, 20, 15, 12, 10, 8, 7, 6, 6, 5, 5, 4, 4, 4, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
	1,  1,	1,  1,	1,  1,	1,  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
};

void column_literal_number(struct column_writer *c, enum column_type type, int64_t value)
{
	uint8_t *w = column_literal(c, type);
	double real = (double)value;

	if (type == COLUMN_INT32) {
		c->w = put32(w, (uint32_t)value);
		return;
	}
	if (type == COLUMN_DOUBLE)
		memcpy(&value, &real, sizeof(value));
	c->w = put64(w, (uint64_t)value);
}

void column_runs(struct column_writer *c, uint32_t k)
{
	for (; k > COLUMN_RUN_MOST; k -= COLUMN_RUN_MOST)
		column_block(c, COLUMN_RUN_SELECTOR | (COLUMN_RUN_MOST - 1) << 4);
	column_block(c, COLUMN_RUN_SELECTOR | (k - 1) << 4);
}

/*
 * The blocks that so many zeros take, as a hexadecimal number of their selectors, the first one lowest: the largest
 * ones first, which are also the fewest.
 */
static const uint32_t fillers[COLUMN_RUN] = {
	0x0,	0xe,	0xd,	0xc,	0xb,	0xa,	0x9,	0x8,	 0x7,	 0xe7,	 0x6,	 0xe6,	 0x5,	0xe5,
	0xd5,	0x4,	0xe4,	0xd4,	0xc4,	0xb4,	0x3,	0xe3,	 0xd3,	 0xc3,	 0xb3,	 0xa3,	 0x93,	0x83,
	0x73,	0xe73,	0x2,	0xe2,	0xd2,	0xc2,	0xb2,	0xa2,	 0x92,	 0x82,	 0x72,	 0xe72,	 0x62,	0xe62,
	0x52,	0xe52,	0xd52,	0x42,	0xe42,	0xd42,	0xc42,	0xb42,	 0x32,	 0xe32,	 0xd32,	 0xc32,	 0xb32, 0xa32,
	0x932,	0x832,	0x732,	0xe732, 0x1,	0xe1,	0xd1,	0xc1,	 0xb1,	 0xa1,	 0x91,	 0x81,	 0x71,	0xe71,
	0x61,	0xe61,	0x51,	0xe51,	0xd51,	0x41,	0xe41,	0xd41,	 0xc41,	 0xb41,	 0x31,	 0xe31,	 0xd31, 0xc31,
	0xb31,	0xa31,	0x931,	0x831,	0x731,	0xe731, 0x21,	0xe21,	 0xd21,	 0xc21,	 0xb21,	 0xa21,	 0x921, 0x821,
	0x721,	0xe721, 0x621,	0xe621, 0x521,	0xe521, 0xd521, 0x421,	 0xe421, 0xd421, 0xc421, 0xb421, 0x321, 0xe321,
	0xd321, 0xc321, 0xb321, 0xa321, 0x9321, 0x8321, 0x7321, 0xe7321,
};

/* The block of a selector with all of its slots missing. */
#define ONES(slots, bits, shift) (((1ull << (slots) * (bits)) - 1) << (shift))
static const uint64_t all_missing[15] = {
	0,
	1 | ONES(60, 1, 4),
	2 | ONES(30, 2, 4),
	3 | ONES(20, 3, 4),
	4 | ONES(15, 4, 4),
	5 | ONES(12, 5, 4),
	6 | ONES(10, 6, 4),
	7 | ONES(8, 7, 8),
	8 | ONES(7, 8, 8),
	9 | ONES(6, 10, 4),
	10 | ONES(5, 12, 4),
	11 | ONES(4, 15, 4),
	12 | ONES(3, 20, 4),
	13 | ONES(2, 30, 4),
	14 | ONES(1, 60, 4),
};

/* The writer while it is in registers: what is written through byte pointers could be its own members, else. */
struct blocks {
	uint8_t *w, *end; /* the next block, the end of the open group */
	uint8_t *control;
	uint8_t kind;
};

/* A group's control byte says that it is full, until blocks_back knows better. */
static inline struct blocks blocks_of(const struct column_writer *c)
{
	if (c->room)
		*c->control = (uint8_t)(c->kind - 1 + COLUMN_GROUP);
	return (struct blocks){c->w, c->w + 8 * c->room, c->control, c->kind};
}

static inline void blocks_back(struct column_writer *c, const struct blocks *b)
{
	if (b->w == c->w && !c->room) /* no group is open */
		return;
	c->w = b->w;
	c->control = b->control;
	c->room = (uint8_t)((b->end - b->w) / 8);
	*c->control = (uint8_t)(b->kind - 1 + COLUMN_GROUP - c->room);
}

static inline void put(struct blocks *b, uint64_t block)
{
	if (b->w == b->end) {
		b->control = b->w++;
		*b->control = (uint8_t)(b->kind - 1 + COLUMN_GROUP);
		b->end = b->w + 8 * COLUMN_GROUP;
	}
	b->w = put64(b->w, block);
}

static inline __attribute__((always_inline)) void put_exactly(struct blocks *b, uint32_t room, bool missing)
{
	for (uint32_t selectors = fillers[room]; selectors; selectors >>= 4)
		put(b, missing ? all_missing[selectors & 15] : selectors & 15);
}

static inline __attribute__((always_inline)) void put_runs(struct blocks *b, uint32_t k)
{
	for (; k > COLUMN_RUN_MOST; k -= COLUMN_RUN_MOST)
		put(b, COLUMN_RUN_SELECTOR | (COLUMN_RUN_MOST - 1) << 4);
	put(b, COLUMN_RUN_SELECTOR | (k - 1) << 4);
}

/*
 * Blocks of zeros or missing values, `room` of them in front of a place that could share its block with less than
 * `keep` of them (0: none); how many they took.
 */
static inline __attribute__((always_inline)) uint32_t filler(struct blocks *b, struct column_state *s, uint32_t room,
							     uint32_t keep)
{
	uint8_t last = s->fill ? COLUMN_LAST_MISSING : COLUMN_LAST_ZERO;
	uint32_t took = 0, odd;

	if (room >= COLUMN_RUN) {
		odd = room % COLUMN_RUN;
		if (s->last == last) {
			took = room - odd;
			put_runs(b, room / COLUMN_RUN);
			room = odd;
		} else if (odd) { /* the odd ones first, and a run can follow */
			keep = 0;
			room = odd;
		} else {
			put_exactly(b, COLUMN_SLOTS_MOST, s->fill);
			s->last = last;
			return COLUMN_SLOTS_MOST;
		}
	}
	if (!keep) {
		put_exactly(b, room, s->fill);
		took += room;
		room = 0;
	}
	while (room && room >= keep) {
		uint32_t slots = column_slots_within[room < COLUMN_SLOTS_MOST ? room : COLUMN_SLOTS_MOST];
		uint8_t selector = column_forms[slots].selector;

		put(b, s->fill ? all_missing[selector] : selector);
		took += slots;
		room -= slots;
	}
	s->last = took ? last : s->last;
	return took;
}

/*
 * Slots of a block from `at` on that holds place p and perhaps more of them: it ends in front of the first one that is
 * too wide for it.
 */
static inline uint32_t slots_at(const struct column_place *p, uint32_t at)
{
	uint32_t slots = COLUMN_SLOTS_MOST, gap;

	for (; gap = p->at - at, gap < slots; p++) {
		uint32_t most = p->slots > gap ? p->slots : gap;

		slots = most < slots ? most : slots;
	}
	return column_slots_within[slots];
}

/*
 * A block with the places from p on that fit; the first one that does not. What is missing is
 * all ones: from a slot to the end it is -1 in that slot, as each form ends with the word's last bit, and +1 ends it.
 */
static const struct column_place *mixed(struct blocks *b, struct column_state *s, const struct column_place *p)
{
	const uint32_t slots = slots_at(p, s->at);
	const struct column_form form = column_forms[slots];
	uint64_t block = form.selector, fill = s->fill, missing = -(fill << form.shift), u = 0;
	uint32_t slot, last = 0;

	for (; slot = p->at - s->at, slot < slots; p++) {
		const unsigned shift = form.shift + slot * form.bits;

		u = p->u;
		block |= u << shift;
		missing -= (p->missing - fill) << shift;
		fill = p->missing;
		last = slot;
	}
	put(b, block | missing);
	s->last = fill ? COLUMN_LAST_MISSING : u && last == slots - 1 ? COLUMN_LAST_OTHER : COLUMN_LAST_ZERO;
	s->fill = (uint8_t)fill;
	s->at += slots;
	return p;
}

void column_places(struct column_writer *c, struct column_state *to_s, struct column_place *places, uint32_t count,
		   uint32_t to)
{
	struct blocks b = blocks_of(c);
	struct column_state s = *to_s;
	const struct column_place *p = places;

	places[count] = column_place(to, 0, 0, 0); /* 0 slots: no block reaches it */
	places[count + 1] = column_place(UINT32_MAX, 0, 0, 0);
	while (s.at < to) {
		uint32_t room = p->at - s.at, slots = p->slots;

		if (room >= slots || room >= COLUMN_RUN) {
			s.at += filler(&b, &s, room, slots);
			continue;
		}
		if (p[1].at - s.at >= slots && !s.fill && !p->missing) { /* alone in its block */
			struct column_form form = column_forms[slots];

			put(&b, form.selector | p->u << (form.shift + room * form.bits));
			s.last = p->u && room == slots - 1 ? COLUMN_LAST_OTHER : COLUMN_LAST_ZERO;
			s.at += slots;
			p++;
			continue;
		}
		p = mixed(&b, &s, p);
	}
	blocks_back(c, &b);
	*to_s = s;
}

void column_zeros(struct column_writer *c, uint32_t room)
{
	struct blocks b = blocks_of(c);

	if (room >= COLUMN_RUN)
		put_runs(&b, room / COLUMN_RUN);
	put_exactly(&b, room % COLUMN_RUN, false);
	blocks_back(c, &b);
}

void column_numbers(struct column_writer *c, const uint64_t *u, uint32_t from, uint32_t to)
{
	uint64_t last = 0;

	while (from < to) {
		uint32_t slots = COLUMN_SLOTS_MOST, same = 0, n;
		struct column_form form;
		uint64_t block;

		while (from + same < to && u[from + same] == last)
			same++;
		if (same >= COLUMN_RUN) {
			column_runs(c, same / COLUMN_RUN);
			from += same / COLUMN_RUN * COLUMN_RUN;
			continue;
		}
		for (n = 0; n < slots && from + n < to; n++) {
			uint32_t most = column_slots_of[column_bits(u[from + n])];

			if (most <= n)
				break;
			if (most < slots)
				slots = most;
		}
		slots = column_slots_within[n < slots ? n : slots];
		form = column_forms[slots];
		block = form.selector;
		for (n = 0; n < slots; n++)
			block |= u[from + n] << (form.shift + n * form.bits);
		column_block(c, block);
		from += slots;
		last = u[from - 1];
	}
}
