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

/* The block of a selector with all of its slots 0, or missing. */
#define ONES(slots, bits, shift) (((1ull << (slots) * (bits)) - 1) << (shift))
static const uint64_t filled[2][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14},
				       {
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
				       }};

/*
 * What fills up to COLUMN_RUN - 1 values in front of a place: blocks of the most slots that fit, down to where a block
 * may hold the place too, or of a place of no slots to the last value. Their selectors, the first one lowest; how many,
 * and values in them.
 */
static uint32_t fills[COLUMN_SLOTS_MOST + 1][COLUMN_RUN]; /* by slots of the place; few of them are ever used */
#define FILL_BLOCKS(fill) ((fill) >> 20 & 7)
#define FILL_TOOK(fill) ((fill) >> 23)

static uint32_t fill_of(uint32_t room, uint32_t keep)
{
	uint32_t selectors = 0, blocks = 0, took = 0;

	while (room && room >= keep) {
		uint32_t slots = column_slots_within[room < COLUMN_SLOTS_MOST ? room : COLUMN_SLOTS_MOST];

		selectors |= (uint32_t)column_forms[slots].selector << 4 * blocks++;
		took += slots;
		room -= slots;
	}
	return selectors | blocks << 20 | took << 23;
}

__attribute__((constructor)) static void make_fills(void)
{
	for (uint32_t slots = 0; slots <= COLUMN_SLOTS_MOST; slots++)
		for (uint32_t room = 0; room < COLUMN_RUN; room++)
			fills[slots][room] = fill_of(room, slots);
}

/* Blocks one behind the other; column_blocks puts them into groups when all are there. */
struct blocks {
	uint64_t *next;
	uint64_t block[COLUMN_MOST + COLUMN_RUN_MOST];
};

static inline void put(struct blocks *b, uint64_t block)
{
	*b->next++ = block;
}

/* Hardly ever more than two; these are written without asking. */
static inline void put_fill(struct blocks *b, uint32_t fill, unsigned missing)
{
	const uint64_t *of = filled[missing];
	const uint32_t blocks = FILL_BLOCKS(fill);

	b->next[0] = of[fill & 15];
	b->next[1] = of[fill >> 4 & 15];
	if (__builtin_expect(blocks > 2, 0))
		for (unsigned i = 2; i < blocks; i++)
			b->next[i] = of[fill >> 4 * i & 15];
	b->next += blocks;
}

static void put_runs(struct blocks *b, uint32_t k)
{
	for (; k > COLUMN_RUN_MOST; k -= COLUMN_RUN_MOST)
		put(b, COLUMN_RUN_SELECTOR | (COLUMN_RUN_MOST - 1) << 4);
	put(b, COLUMN_RUN_SELECTOR | (k - 1) << 4);
}

static void put_groups(struct column_writer *c, const struct blocks *b)
{
	const uint64_t *from = b->block;
	uint32_t left = (uint32_t)(b->next - b->block);

	while (left) {
		uint32_t n;

		if (!c->room) {
			c->control = c->w++;
			*c->control = c->kind - 1;
			c->room = COLUMN_GROUP;
		}
		n = left < c->room ? left : c->room;
		*c->control += (uint8_t)n;
		c->room -= (uint8_t)n;
		left -= n;
		for (uint32_t i = 0; i < n; i += 2) /* one too many does no harm: more follow, or the bound has room */
			memcpy(c->w + 8 * i, from + i, 16);
		from += n;
		c->w += 8 * n;
	}
}

/*
 * COLUMN_RUN or more zeros or missing values in front of a place. Behind their like they are runs, and what is odd is
 * packed with the rest; else the odd ones come first, and a run can follow. How many were written.
 */
static uint32_t put_long(struct blocks *b, struct column_state *s, uint32_t room)
{
	const uint8_t last = s->fill ? COLUMN_LAST_MISSING : COLUMN_LAST_ZERO;
	const uint32_t odd = room % COLUMN_RUN;
	const uint32_t fill = fills[0][odd ? odd : COLUMN_SLOTS_MOST];

	if (s->last == last) {
		put_runs(b, room / COLUMN_RUN);
		return room - odd;
	}
	s->last = last;
	put_fill(b, fill, s->fill);
	return FILL_TOOK(fill);
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
	struct blocks b;
	struct column_state s = *to_s;
	const struct column_place *p = places;

	b.next = b.block;
	places[count] = column_place(to, 0, 0, 0); /* 0 slots: no block reaches it */
	places[count + 1] = column_place(UINT32_MAX, 0, 0, 0);
	while (s.at < to) {
		uint32_t room = p->at - s.at, slots = p->slots;
		uint32_t fill, took;

		if (room >= COLUMN_RUN) {
			s.at += put_long(&b, &s, room);
			continue;
		}
		fill = fills[slots][room];
		took = FILL_TOOK(fill);
		put_fill(&b, fill, s.fill);
		s.last = took ? s.fill : s.last;
		s.at += took;
		room -= took;
		if (s.at == to)
			break;
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
	put_groups(c, &b);
	*to_s = s;
}
_Static_assert(COLUMN_LAST_ZERO == 0 && COLUMN_LAST_MISSING == 1, "as `fill`");

void column_zeros(struct column_writer *c, uint32_t room)
{
	const uint32_t fill = fills[0][room % COLUMN_RUN];

	if (room >= COLUMN_RUN)
		column_runs(c, room / COLUMN_RUN);
	for (uint32_t i = 0; i < FILL_BLOCKS(fill); i++)
		column_block(c, fill >> 4 * i & 15);
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
