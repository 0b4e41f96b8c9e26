/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_internal.h - what the parts of the column writer share: blocks and literals into a column (here, inline),
 * the packer of seldom changes (column_places.c) and the vector kernels (column_kernel.h). Not for others.
 */
#ifndef XDP_RECORDER_ENCODE_COLUMN_INTERNAL_H
#define XDP_RECORDER_ENCODE_COLUMN_INTERNAL_H

#include "recorder/encode/bytes.h"
#include "recorder/encode/column.h"

/* High nibble of a control byte. */
#define COLUMN_BLOCKS 0x80u	   /* n + 1 blocks */
#define COLUMN_BLOCKS_SCALE1 0x90u /* the same, of doubles * 1 */
#define COLUMN_GROUP 16u	   /* blocks behind a control byte, at most */

#define COLUMN_RUN 120u		/* a run block stands for k times so many */
#define COLUMN_RUN_MOST 16u	/* k, at most */
#define COLUMN_RUN_SELECTOR 15u /* | (k - 1) << 4 */
#define COLUMN_SLOTS_MOST 60u
#define COLUMN_NUMBER_MOST ((1ull << 60) - 2) /* the largest number of a plain block; all ones is a missing value */

/* How a plain block of so many slots looks: its selector, bits of a slot, place of the first slot. */
struct column_form {
	uint8_t selector, bits, shift;
};
extern const struct column_form column_forms[COLUMN_SLOTS_MOST + 1]; /* by slots; selector 0: there is none */
extern const uint8_t
	column_slots_within[COLUMN_SLOTS_MOST + 1]; /* the most slots that a block may have, up to this many */
extern const uint8_t column_slots_of[65]; /* the most slots of a block with numbers of so many bits; 0: none */

/* Bits that number u takes: those of u + 1, since all ones is a missing value. u below 2^64 - 1. */
static inline unsigned column_bits(uint64_t u)
{
	return 64 - (unsigned)__builtin_clzll(u + 1);
}

static inline uint64_t column_zigzag(uint64_t difference)
{
	return difference << 1 ^ (uint64_t)((int64_t)difference >> 63);
}

/* A column that is being written. */
struct column_writer {
	uint8_t *w;	  /* the next byte */
	uint8_t *control; /* of the open group of blocks */
	uint8_t room;	  /* blocks that still go into it; 0: none is open */
	uint8_t kind;	  /* COLUMN_BLOCKS... */
};

static inline void column_block(struct column_writer *c, uint64_t block)
{
	if (!c->room) {
		c->control = c->w++;
		*c->control = c->kind - 1;
		c->room = COLUMN_GROUP;
	}
	c->room--;
	++*c->control;
	c->w = put64(c->w, block);
}

/*
 * Type byte and empty name of a literal; blocks behind it are a group of their own, under the type's scale. In front of the
 * first literal there is none: a server refuses missing values under another.
 */
static inline uint8_t *column_literal(struct column_writer *c, enum column_type type)
{
	c->room = 0;
	c->kind = type == COLUMN_DOUBLE ? COLUMN_BLOCKS_SCALE1 : COLUMN_BLOCKS;
	return put16(c->w, type);
}

/* A literal INT32, DOUBLE or DATE. */
void column_literal_number(struct column_writer *c, enum column_type type, int64_t value);

/* k repeats of 120 of the last number, k from 1. */
void column_runs(struct column_writer *c, uint32_t k);

/*
 * From place `at` on the column says: number u, then zeros; or missing. column_places wants COLUMN_MARKS places more
 * behind the last one, for its own.
 */
#define COLUMN_MARKS 2u
struct column_place {
	uint32_t at;
	uint8_t slots;	 /* column_slots_of the bits of u */
	uint8_t missing; /* u is 0 */
	uint64_t u;
};

/* In two stores. */
static inline struct column_place column_place(uint32_t at, uint8_t slots, uint32_t missing, uint64_t u)
{
	struct column_place place = {.u = u};
	uint64_t head = at | (uint64_t)slots << 32 | (uint64_t)missing << 40;

	memcpy(&place, &head, 8);
	return place;
}
_Static_assert(offsetof(struct column_place, slots) == 4 && offsetof(struct column_place, missing) == 5 &&
		       offsetof(struct column_place, u) == 8,
	       "as column_place puts it together");

/* How far a column of places is, and what the last slot held: this decides whether a run block can follow. */
enum column_last { COLUMN_LAST_ZERO, COLUMN_LAST_MISSING, COLUMN_LAST_OTHER };
struct column_state {
	uint32_t at;  /* the next value */
	uint8_t fill; /* 1: until the next place the values are missing, else zeros */
	uint8_t last; /* enum column_last */
};

/* Packs the values [s->at, to); places are ascending, all of them within. */
void column_places(struct column_writer *c, struct column_state *s, struct column_place *places, uint32_t count,
		   uint32_t to);

/* `room` zeros behind a literal. */
void column_zeros(struct column_writer *c, uint32_t room);

/* Plainly, number by number: u[from..to), each at most COLUMN_NUMBER_MOST. Behind a literal. */
void column_numbers(struct column_writer *c, const uint64_t *u, uint32_t from, uint32_t to);

/*
 * Dense columns behind their literal, at places [from, n); values as column.h has them. `range` is that of the values,
 * of unsigned ones with the highest bit turned. Dates: false, and nothing written, where they are too far apart for 32
 * bits.
 */
struct column_kernel {
	void (*int32s)(struct column_writer *c, const int32_t *v, const uint64_t *missing, uint32_t from, uint32_t n,
		       int32_t range[2]);
	void (*uint32s)(struct column_writer *c, const uint32_t *v, const uint64_t *missing, uint32_t from, uint32_t n,
			int32_t range[2]);
	bool (*dates)(struct column_writer *c, const int64_t *ms, uint32_t n, int64_t range[2]);
};
extern const struct column_kernel column_sse2, column_avx2, column_avx512;

#endif
