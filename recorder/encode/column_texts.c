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

/* A block that holds number u; 0 (no selector) where none does. */
static uint64_t extended_block(u128 u)
{
	uint64_t low = (uint64_t)u;
	unsigned zeros = low ? (unsigned)__builtin_ctzll(low) : 64 + (unsigned)__builtin_ctzll((uint64_t)(u >> 64));

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

/* Short strings and binaries as numbers. */
static u128 number_of(enum column_type type, const struct column_text *t)
{
	uint64_t low = 0, high = 0;
	u128 number = 0;

	if (type == COLUMN_BINARY) {
		memcpy(&number, t->bytes, t->len);
		return number;
	}
	if (t->len > 8) {
		memcpy(&high, t->bytes, 8);
		memcpy(&low, t->bytes + t->len - 8, 8);
		return (u128)__builtin_bswap64(high) << 8 * (t->len - 8) | __builtin_bswap64(low);
	}
	memcpy((uint8_t *)&low + 8 - t->len, t->bytes, t->len);
	return __builtin_bswap64(low);
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

static bool equal(const struct column_text *a, const struct column_text *b)
{
	return a->len == b->len && (!a->len || memcmp(a->bytes, b->bytes, a->len) == 0);
}

struct texts {
	struct column_writer c;
	struct column_state s;
	enum column_type type;
	const struct column_text *before; /* the last one that is there */
	u128 number;			  /* of it; 0 where it has none */
	bool numbered;
	uint32_t used;
	struct column_place places[COLUMN_MOST + 1];
};

static void flush(struct texts *x, uint32_t to)
{
	column_places(&x->c, &x->s, x->places, x->used, to);
	x->used = 0;
}

static bool has_number(enum column_type type, const struct column_text *t)
{
	return t->len <= NUMBER_BYTES && (type == COLUMN_BINARY || !t->len || t->bytes[0]);
}

static void literal(struct texts *x, const struct column_text *t)
{
	uint8_t *w;

	if (x->s.at < t->at)
		flush(x, t->at);
	w = column_literal(&x->c, x->type);
	w = put32(w, t->len + (x->type == COLUMN_STRING));
	if (x->type == COLUMN_BINARY)
		*w++ = 0; /* subtype */
	if (t->len)
		memcpy(w, t->bytes, t->len);
	w += t->len;
	if (x->type == COLUMN_STRING)
		*w++ = 0;
	x->c.w = w;
	x->s = (struct column_state){.at = t->at + 1};
	x->numbered = has_number(x->type, t);
	x->number = x->numbered ? number_of(x->type, t) : 0;
	x->used = 0;
}

/* Text t, which differs from the one before it, as a difference; false: a literal is needed. */
static bool difference(struct texts *x, const struct column_text *t)
{
	uint64_t block;
	u128 number, u;

	if (!has_number(x->type, t))
		return false;
	number = number_of(x->type, t);
	if (x->type == COLUMN_BINARY ? t->len != x->before->len : !x->numbered && !number)
		return false;
	u = number - x->number;
	u = u << 1 ^ -(u >> 127);
	if (u <= COLUMN_NUMBER_MOST) {
		x->places[x->used++] =
			(struct column_place){t->at, column_slots_of[column_bits((uint64_t)u)], 0, (uint64_t)u};
	} else {
		block = extended_block(u);
		if (!block)
			return false;
		flush(x, t->at);
		column_block(&x->c, block);
		x->s = (struct column_state){.at = t->at + 1, .last = COLUMN_LAST_OTHER};
	}
	x->number = number;
	x->numbered = true;
	return true;
}

uint8_t *column_texts(uint8_t *w, enum column_type type, const struct column_text *events, uint32_t count, uint32_t n,
		      uint32_t range[2])
{
	struct texts x;
	bool missing = false;
	uint32_t first = 0;

	x.c = (struct column_writer){.w = w, .kind = COLUMN_BLOCKS};
	x.s = (struct column_state){.fill = 1, .last = COLUMN_LAST_ZERO};
	x.type = type;
	x.used = 0;
	while (events[first].len == COLUMN_TEXT_MISSING)
		first++;
	literal(&x, &events[first]);
	x.before = &events[first];
	range[0] = range[1] = first;
	for (uint32_t i = first + 1; i < count; i++) {
		const struct column_text *t = &events[i];

		if (t->len == COLUMN_TEXT_MISSING) {
			if (!missing)
				x.places[x.used++] = (struct column_place){t->at, COLUMN_SLOTS_MOST, 1, 0};
			missing = true;
			continue;
		}
		if (equal(t, x.before)) {
			if (missing)
				x.places[x.used++] = (struct column_place){t->at, COLUMN_SLOTS_MOST, 0, 0};
		} else {
			if (!difference(&x, t))
				literal(&x, t);
			if (compare(type, t, &events[range[0]]) < 0)
				range[0] = i;
			if (compare(type, t, &events[range[1]]) > 0)
				range[1] = i;
		}
		x.before = t;
		missing = false;
	}
	flush(&x, n);
	*x.c.w++ = 0;
	return x.c.w;
}
