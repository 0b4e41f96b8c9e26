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
	if (type == COLUMN_DOUBLE)
		c->kind = COLUMN_BLOCKS_SCALE1;
}

void column_runs(struct column_writer *c, uint32_t k)
{
	for (; k > COLUMN_RUN_MOST; k -= COLUMN_RUN_MOST)
		column_block(c, COLUMN_RUN_SELECTOR | (COLUMN_RUN_MOST - 1) << 4);
	column_block(c, COLUMN_RUN_SELECTOR | (k - 1) << 4);
}

/* All ones in slots [from, to) of a block. */
static inline uint64_t ones(struct column_form form, uint32_t from, uint32_t to)
{
	return ((1ull << (to - from) * form.bits) - 1) << (form.shift + from * form.bits);
}

/*
 * Blocks of zeros or missing values, `room` of them in front of a place that could share its block with less than
 * `keep`; how many they took.
 */
static inline __attribute__((always_inline)) uint32_t filler(struct column_writer *c, struct column_state *s,
							     uint32_t room, uint32_t keep)
{
	uint8_t last = s->fill ? COLUMN_LAST_MISSING : COLUMN_LAST_ZERO;
	uint32_t took = 0, slots;

	if (room > COLUMN_RUN && room % COLUMN_RUN && s->last != last) { /* the odd ones first, and a run can follow */
		keep = room;
		room %= COLUMN_RUN;
	} else if (room >= COLUMN_RUN && s->last == last) {
		took = room / COLUMN_RUN * COLUMN_RUN;
		for (slots = took; slots > COLUMN_RUN * COLUMN_RUN_MOST; slots -= COLUMN_RUN * COLUMN_RUN_MOST)
			column_block(c, COLUMN_RUN_SELECTOR | (COLUMN_RUN_MOST - 1) << 4);
		column_block(c, COLUMN_RUN_SELECTOR | (slots / COLUMN_RUN - 1) << 4);
		room -= took;
		if (!room || room < keep)
			return took;
	}
	do {
		struct column_form form;

		slots = column_slots_within[room < COLUMN_SLOTS_MOST ? room : COLUMN_SLOTS_MOST];
		form = column_forms[slots];
		column_block(c, form.selector | (s->fill ? ones(form, 0, slots) : 0));
		took += slots;
		room -= slots;
	} while (room && room >= keep);
	s->last = last;
	return took;
}

/* Slots of a block from `at` on that holds place p and perhaps more of them. */
static inline uint32_t slots_at(const struct column_place *p, uint32_t at)
{
	uint32_t slots = COLUMN_SLOTS_MOST;

	for (; p->at - at < slots; p++) {
		if (p->slots <= p->at - at) {
			slots = p->at - at;
			break;
		}
		if (p->slots < slots)
			slots = p->slots;
	}
	return column_slots_within[slots];
}

/* Writer and state are copied: what is written through byte pointers could be them, else. */
void column_places(struct column_writer *to_c, struct column_state *to_s, struct column_place *places, uint32_t count,
		   uint32_t to)
{
	struct column_writer c = *to_c;
	struct column_state s = *to_s;
	struct column_place *p = places;

	places[count] = (struct column_place){.at = to}; /* 0 slots: no block reaches it */
	while (s.at < to) {
		uint32_t slots, from = 0;
		struct column_form form;
		uint64_t block;

		if (p->at - s.at >= p->slots || p->at - s.at >= COLUMN_RUN) {
			s.at += filler(&c, &s, p->at - s.at, p->slots);
			continue;
		}
		slots = slots_at(p, s.at);
		form = column_forms[slots];
		block = form.selector;
		s.last = COLUMN_LAST_ZERO;
		for (; p->at - s.at < slots; p++) {
			uint32_t slot = p->at - s.at;

			if (s.fill)
				block |= ones(form, from, slot);
			block |= p->u << (form.shift + slot * form.bits);
			s.last = p->u && slot == slots - 1 ? COLUMN_LAST_OTHER : COLUMN_LAST_ZERO;
			s.fill = p->missing;
			from = slot;
		}
		if (s.fill) {
			block |= ones(form, from, slots);
			s.last = COLUMN_LAST_MISSING;
		}
		column_block(&c, block);
		s.at += slots;
	}
	*to_c = c;
	*to_s = s;
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
