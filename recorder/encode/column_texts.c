/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_texts.c - a column of strings or binaries from the places where it changes. Up to 16 bytes they are numbers of
 * 128 bits (strings big-endian, binaries little-endian); a difference that is too wide for a plain block fits an
 * extended one when it ends in enough zeros: value bits and a count of zeros (BUCKETS.md section 5.2). We write those
 * with one slot only.
 */
#include "recorder/encode/column_internal.h"

#define NUMBER_BYTES 16u

typedef unsigned __int128 u128;

/* One-slot blocks with trailing zeros, in the order in which they are tried. */
static const struct {
	uint8_t selector, zero_bits, unit, value_bits;
} extended[] = {
	{7 | 9 << 4, 4, 1, 52},
	{8 | 7 << 4, 4, 4, 52},
	{8 | 13 << 4, 5, 4, 51},
};
#define VALUE_BITS_MOST 52u /* of any of them */

/* A block that holds number u; 0 (no selector) where none does. */
static uint64_t extended_block(u128 u)
{
	uint64_t low = (uint64_t)u, high = (uint64_t)(u >> 64);
	unsigned zeros = (unsigned)(low ? __builtin_ctzll(low) : 64 + __builtin_ctzll(high));

	/* Most strangers' addresses end here. */
	if (high && 128 - (unsigned)__builtin_clzll(high) - zeros > VALUE_BITS_MOST)
		return 0;
	for (unsigned i = 0; i < sizeof(extended) / sizeof(*extended); i++) {
		unsigned most = (1u << extended[i].zero_bits) - 1, z = zeros / extended[i].unit;
		u128 value;

		z = z < most ? z : most;
		value = u >> z * extended[i].unit;
		/* all ones in value and count would be a missing value */
		if (value + (z == most) < (u128)1 << extended[i].value_bits)
			return extended[i].selector | ((uint64_t)value << extended[i].zero_bits | z) << 8;
	}
	return 0;
}

/* Bytes [0, len) of b as a number, by two loads that may overlap: what lies in both is the same. */
static inline u128 little_endian(const uint8_t *b, uint32_t len)
{
	uint64_t low, high;
	uint32_t first, last;

	if (len > 8) {
		memcpy(&low, b, 8);
		memcpy(&high, b + len - 8, 8);
		return (u128)high << 8 * (len - 8) | low;
	}
	if (len >= 4) {
		memcpy(&first, b, 4);
		memcpy(&last, b + len - 4, 4);
		return (uint64_t)last << 8 * (len - 4) | first;
	}
	return len ? b[0] | (uint32_t)b[len / 2] << 8 * (len / 2) | (uint32_t)b[len - 1] << 8 * (len - 1) : 0;
}

static inline u128 turned(u128 number)
{
	return (u128)__builtin_bswap64((uint64_t)number) << 64 | __builtin_bswap64((uint64_t)(number >> 64));
}

/* A text and, of a short one, its number and a number whose order is that of its bytes. */
struct short_text {
	const struct column_text *t;
	u128 number, order;
	bool numbered; /* else both are 0 */
};

static inline struct short_text short_of(enum column_type type, const struct column_text *t)
{
	struct short_text x = {.t = t};

	if (t->len > NUMBER_BYTES || (type == COLUMN_STRING && t->len && !t->bytes[0]))
		return x;
	x.numbered = true;
	x.number = little_endian(t->bytes, t->len);
	x.order = turned(x.number);
	if (type == COLUMN_STRING)
		x.number = t->len ? x.order >> 8 * (NUMBER_BYTES - t->len) : 0;
	return x;
}

/* BSON's order: strings by bytes, binaries by length first. */
static int compare(enum column_type type, const struct column_text *a, const struct column_text *b)
{
	int order = 0;

	if (type == COLUMN_BINARY && a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->len && b->len)
		order = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
	return order ? order : a->len < b->len ? -1 : a->len > b->len;
}

/* The same by numbers, of two texts that have them. */
static inline bool less(enum column_type type, const struct short_text *a, const struct short_text *b)
{
	if (!a->numbered || !b->numbered)
		return compare(type, a->t, b->t) < 0;
	if (type == COLUMN_BINARY && a->t->len != b->t->len)
		return a->t->len < b->t->len;
	return a->order != b->order ? a->order < b->order : a->t->len < b->t->len;
}

static inline bool equal(const struct short_text *a, const struct short_text *b)
{
	if (a->t->len != b->t->len || a->numbered != b->numbered)
		return false;
	return a->numbered ? a->number == b->number : memcmp(a->t->bytes, b->t->bytes, a->t->len) == 0;
}

struct texts {
	struct column_writer c;
	struct column_state s;
	enum column_type type;
	struct short_text before; /* the last one that is there */
	uint32_t used;
	struct column_place places[COLUMN_MOST + COLUMN_MARKS];
};

static void flush(struct texts *x, uint32_t to)
{
	column_places(&x->c, &x->s, x->places, x->used, to);
	x->used = 0;
}

static void literal(struct texts *x, const struct short_text *text)
{
	const struct column_text *t = text->t;
	u128 bytes = turned(text->order);
	uint8_t *w;

	if (x->s.at < t->at)
		flush(x, t->at);
	w = column_literal(&x->c, x->type);
	w = put32(w, t->len + (x->type == COLUMN_STRING));
	if (x->type == COLUMN_BINARY)
		*w++ = 0;   /* subtype */
	if (text->numbered) /* 16 bytes at once: the bound leaves room for them */
		memcpy(w, &bytes, sizeof(bytes));
	else
		memcpy(w, t->bytes, t->len);
	w += t->len;
	if (x->type == COLUMN_STRING)
		*w++ = 0;
	x->c.w = w;
	x->s = (struct column_state){.at = t->at + 1};
	x->used = 0;
}

/* Text `to`, which differs from the one before it, as a difference; false: a literal is needed. */
static bool difference(struct texts *x, const struct short_text *to)
{
	uint32_t at = to->t->at;
	uint64_t block;
	u128 u;

	if (!to->numbered)
		return false;
	if (x->type == COLUMN_BINARY ? to->t->len != x->before.t->len : !x->before.numbered && !to->number)
		return false;
	u = to->number - x->before.number;
	u = u << 1 ^ -(u >> 127);
	if (u <= COLUMN_NUMBER_MOST) {
		x->places[x->used++] =
			column_place(at, column_slots_of[column_bits((uint64_t)u)], 0, (uint64_t)u);
		return true;
	}
	block = extended_block(u);
	if (!block)
		return false;
	if (x->s.at < at)
		flush(x, at);
	column_block(&x->c, block);
	x->s = (struct column_state){.at = at + 1, .last = COLUMN_LAST_OTHER};
	return true;
}

uint8_t *column_texts(uint8_t *w, enum column_type type, const struct column_text *events, uint32_t count, uint32_t n,
		      uint32_t range[2])
{
	struct texts x;
	struct short_text least, most;
	bool missing = false;
	uint32_t first = 0;

	x.c = (struct column_writer){.w = w, .kind = COLUMN_BLOCKS};
	x.s = (struct column_state){.fill = 1, .last = COLUMN_LAST_ZERO};
	x.type = type;
	x.used = 0;
	while (events[first].len == COLUMN_TEXT_MISSING)
		first++;
	x.before = least = most = short_of(type, &events[first]);
	literal(&x, &x.before);
	for (uint32_t i = first + 1; i < count; i++) {
		const struct column_text *t = &events[i];
		struct short_text now;

		if (t->len == COLUMN_TEXT_MISSING) {
			if (!missing)
				x.places[x.used++] = column_place(t->at, COLUMN_SLOTS_MOST, 1, 0);
			missing = true;
			continue;
		}
		now = short_of(type, t);
		if (equal(&now, &x.before)) {
			if (missing)
				x.places[x.used++] = column_place(t->at, COLUMN_SLOTS_MOST, 0, 0);
		} else {
			if (!difference(&x, &now))
				literal(&x, &now);
			if (less(type, &now, &least))
				least = now;
			else if (less(type, &most, &now))
				most = now;
		}
		x.before = now;
		missing = false;
	}
	flush(&x, n);
	range[0] = (uint32_t)(least.t - events);
	range[1] = (uint32_t)(most.t - events);
	*x.c.w++ = 0;
	return x.c.w;
}
