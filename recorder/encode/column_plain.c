/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_plain.c - values to BSONColumn, one after the other, packed as MongoDB's server packs (BUCKETS.md 5.7).
 *
 * Each value is a number, the step from the one before, or a literal. Numbers wait in `pending` until a block is full:
 * in the first of four forms that holds them all, a form being 60 bits divided evenly, or 56 bits whose slots also say
 * how many zeros to append. What repeats the last number of a finished block is only counted, and becomes run words.
 *
 * Doubles have one scale for as long as only doubles follow, the smallest that holds them all. The server chooses
 * anew for every block, so its columns of mixed decimals are smaller.
 */
#include "recorder/encode/column_plain.h"

#include "recorder/encode/bytes.h"
#include "recorder/encode/column_number.h"

enum { FORMS = 4, PENDING = 60 };

/* Bits for the slots; of a slot those that count zeros, what each count stands for, the most zeros; least bits of a
 * value. */
static const struct form {
	unsigned bits, zeros, unit, most, least;
} forms[FORMS] = {{60, 0, 1, 0, 1}, {56, 4, 1, 15, 2}, {56, 4, 4, 60, 4}, {56, 5, 4, 124, 4}};

struct number {
	column_wide value;
	bool missing;
	uint8_t bits[FORMS];  /* of the value without its counted zeros */
	uint8_t zeros[FORMS]; /* how many of them are counted */
};

struct packer {
	uint8_t *w, *control; /* control: the byte that counts the blocks behind it; NULL: none yet */
	uint8_t nibble;
	struct number pending[PENDING];
	unsigned count;
	unsigned widest[FORMS];
	unsigned form; /* that held all of pending */
	/* Repeats of the last number of a finished block. A literal counts as a block that ends in 0. */
	uint64_t repeats;
	column_wide last;
	bool last_missing;
};

static unsigned bit_length(column_wide v)
{
	uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;

	return high ? 128u - (unsigned)__builtin_clzll(high) : low ? 64u - (unsigned)__builtin_clzll(low) : 0;
}

static unsigned trailing_zeros(column_wide v)
{
	uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;

	return low ? (unsigned)__builtin_ctzll(low) : high ? 64u + (unsigned)__builtin_ctzll(high) : 0;
}

static bool all_ones(column_wide v)
{
	return !(v & (v + 1));
}

/* False: no block holds it. */
static bool number_make(struct number *x, column_wide value)
{
	unsigned has = trailing_zeros(value);
	bool fits = false;

	*x = (struct number){.value = value};
	for (unsigned f = 0; f < FORMS; f++) {
		unsigned zeros = (has < forms[f].most ? has : forms[f].most) / forms[f].unit * forms[f].unit;
		column_wide rest = value >> zeros;

		/* All ones is a missing value. A slot of ones with no zeros counted is none, but the server avoids it
		 * too. */
		x->zeros[f] = (uint8_t)zeros;
		x->bits[f] = (uint8_t)(bit_length(rest) + (all_ones(rest) && (!zeros || zeros == forms[f].most)));
		fits |= x->bits[f] + forms[f].zeros <= forms[f].bits;
	}
	return fits;
}

static void widen(struct packer *p, const struct number *x)
{
	for (unsigned f = 0; f < FORMS; f++)
		if (!x->missing && x->bits[f] > p->widest[f])
			p->widest[f] = x->bits[f];
}

static void narrow(struct packer *p)
{
	for (unsigned f = 0; f < FORMS; f++)
		p->widest[f] = forms[f].least;
	for (unsigned i = 0; i < p->count; i++)
		widen(p, &p->pending[i]);
}

static void push(struct packer *p, const struct number *x)
{
	p->pending[p->count++] = *x;
	widen(p, x);
}

/* Whether one form holds all that waits and x. */
static bool fits(struct packer *p, const struct number *x)
{
	for (unsigned f = 0; f < FORMS; f++) {
		unsigned bits = x->missing || x->bits[f] < p->widest[f] ? p->widest[f] : x->bits[f];

		if ((bits + forms[f].zeros) * (p->count + 1) <= forms[f].bits) {
			p->form = f;
			return true;
		}
	}
	return false;
}

static void put_word(struct packer *p, uint64_t word)
{
	if (!p->control) {
		p->control = p->w;
		*p->w++ = (uint8_t)(p->nibble << 4);
	} else {
		++*p->control;
	}
	p->w = put64(p->w, word);
	if ((*p->control & 15) == 15)
		p->control = NULL;
}

/* A block of as many numbers as fill one of the form without an empty slot. */
static void emit(struct packer *p)
{
	static const uint8_t plain[] = {60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1};
	const struct form *form = &forms[p->form];
	unsigned slots, width, shift, selector = 1;
	uint64_t word;

	if (p->form == 0) {
		while (plain[selector - 1] > p->count)
			selector++;
		slots = plain[selector - 1];
		word = selector;
		shift = selector == 7 || selector == 8 ? 8 : 4;
	} else {
		slots = p->count;
		word = p->form == 1 ? 7 | (10 - slots) << 4 : 8 | ((p->form == 2 ? 8 : 14) - slots) << 4;
		shift = 8;
	}
	width = (shift == 8 ? 56 : 60) / slots;
	for (unsigned i = 0; i < slots; i++, shift += width) {
		const struct number *x = &p->pending[i];
		unsigned zeros = x->zeros[p->form];
		uint64_t slot = (uint64_t)(x->value >> zeros) << form->zeros | zeros / form->unit;

		word |= (x->missing ? (1ull << width) - 1 : slot) << shift;
	}
	p->count -= slots;
	memmove(p->pending, p->pending + slots, p->count * sizeof(*p->pending));
	narrow(p);
	put_word(p, word);
}

/* Into pending, blocks written as they become full; may_run: what repeats the last of a block begins to be counted. */
static void pack(struct packer *p, const struct number *x, bool may_run)
{
	struct number before;

	if (fits(p, x)) {
		push(p, x);
		return;
	}
	before = p->pending[p->count - 1]; /* an empty `pending` takes any number */
	do
		emit(p);
	while (!fits(p, x));
	if (may_run && !p->count && x->missing == before.missing && x->value == before.value) {
		p->repeats = 1;
		p->last = x->value;
		p->last_missing = x->missing;
	} else {
		push(p, x);
	}
}

static void end_run(struct packer *p)
{
	struct number x = {.missing = p->last_missing};
	uint64_t words = p->repeats / 120;

	if (!p->last_missing)
		number_make(&x, p->last);
	for (; words; words -= words < 16 ? words : 16)
		put_word(p, 15 | ((words < 16 ? words : 16) - 1) << 4);
	for (uint64_t i = p->repeats % 120; i; i--)
		pack(p, &x, false);
	p->repeats = 0;
}

/* False: no block holds the number. */
static bool add(struct packer *p, column_wide value, bool missing)
{
	struct number x = {.missing = missing};

	if (!missing && !number_make(&x, value))
		return false;
	if (!p->count || p->repeats) {
		if (p->last == value && p->last_missing == missing) {
			p->repeats++;
			return true;
		}
		end_run(p);
		p->last = 0;
		p->last_missing = false;
	}
	pack(p, &x, true);
	return true;
}

static void begin(struct packer *p, uint8_t *w)
{
	*p = (struct packer){.w = w, .nibble = 8};
	narrow(p);
}

static void finish(struct packer *p)
{
	end_run(p);
	while (p->count)
		emit(p);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

struct plain {
	struct packer packer;
	const struct column_value *before; /* last value that was there */
	column_wide number;		   /* its number */
	uint64_t change;
	bool numbered; /* it has a number */
	double scale;
};

static uint8_t *put_literal(uint8_t *w, const struct column_value *v)
{
	uint32_t len = v->len;

	*w++ = v->type;
	*w++ = 0;
	switch (v->type) {
	case BSON_DOUBLE:
	case BSON_INT64:
	case BSON_DATE:
	case BSON_TIMESTAMP:
		return put64(w, (uint64_t)v->number); /* or its double's bits */
	case BSON_INT32:
		return put32(w, (uint32_t)v->number);
	case BSON_BOOL:
		*w = v->number != 0;
		return w + 1;
	case BSON_STRING:
	case BSON_CODE:
		w = put32(w, len + 1);
		memcpy(w, column_value_bytes(v), len);
		w[len] = 0;
		return w + len + 1;
	case BSON_BINARY:
		w = put32(w, len);
		*w++ = v->subtype;
		/* fall through */
	default:
		memcpy(w, column_value_bytes(v), len);
		return w + len;
	}
}

static bool same_bytes(const struct column_value *a, const struct column_value *b)
{
	return a->len == b->len && !memcmp(column_value_bytes(a), column_value_bytes(b), a->len);
}

/* Equal values of the same type. */
static bool same(const struct column_value *a, const struct column_value *b)
{
	switch (column_how(a->type)) {
	case COLUMN_NUMBER:
	case COLUMN_REAL: /* the bits */
		return a->number == b->number;
	default:
		return a->subtype == b->subtype && same_bytes(a, b);
	}
}

/* False: it has none. */
static bool value_number(const struct column_value *v, double scale, column_wide *number)
{
	const uint8_t *bytes = column_value_bytes(v);
	uint64_t low = (uint64_t)v->number;
	bool has = true;

	switch (v->type) {
	case BSON_STRING:
	case BSON_CODE:
		return column_text(bytes, v->len, number);
	case BSON_BINARY:
	case BSON_DECIMAL128:
		return column_bytes(bytes, v->len, number);
	case BSON_OID:
		low = column_oid(bytes);
		break;
	case BSON_DOUBLE:
		has = column_real(v->real, scale, &low);
		break;
	case BSON_BOOL:
		low = v->number != 0;
		break;
	}
	*number = low;
	return has && column_how(v->type) != COLUMN_SAME;
}

static column_wide zigzag(column_wide by, unsigned bits)
{
	column_wide sign = by >> (bits - 1) & 1, mask = bits == 64 ? UINT64_MAX : ~(column_wide)0;

	return (by << 1 ^ -sign) & mask;
}

/* The value as a number behind the one before it. False: it must be a literal. */
static bool put_step(struct plain *c, const struct column_value *v)
{
	const struct column_value *before = c->before;
	column_wide number;
	uint64_t change;
	bool put;

	if (!before || v->type != before->type)
		return false;
	if (column_how(v->type) != COLUMN_CHANGE && same(v, before))
		return add(&c->packer, 0, false);
	if (!value_number(v, c->scale, &number))
		return false;
	switch (column_how(v->type)) {
	case COLUMN_CHANGE:
		if (v->type == BSON_OID && memcmp(v->small + 4, before->small + 4, 5))
			return false;
		change = (uint64_t)(number - c->number);
		put = add(&c->packer, zigzag((uint64_t)(change - c->change), 64), false);
		c->change = change;
		break;
	case COLUMN_WIDE:
		if (v->type == BSON_BINARY && (v->len != before->len || v->subtype != before->subtype))
			return false;
		if (!c->numbered && !number) /* 0 would repeat the literal */
			return false;
		put = add(&c->packer, zigzag(number - c->number, 128), false);
		break;
	default:
		put = add(&c->packer, zigzag((uint64_t)(number - c->number), 64), false);
	}
	c->number = number;
	c->numbered = true;
	return put;
}

/* Smallest scale, by its place in column_scales, that holds the first and all doubles behind it; 0 when none does. */
static unsigned common_scale(const struct column_value *values, uint32_t n)
{
	uint64_t number;

	for (unsigned s = 1; s < sizeof(column_scales) / sizeof(*column_scales); s++) {
		uint32_t i = 0;

		while (i < n &&
		       (values[i].type == COLUMN_VALUE_MISSING ||
			(values[i].type == BSON_DOUBLE && column_real(values[i].real, column_scales[s], &number))))
			i++;
		if (i == n || values[i].type != BSON_DOUBLE)
			return s;
	}
	return 0;
}

size_t column_plain(uint8_t *w, const struct column_value *values, uint32_t n)
{
	struct plain c = {0};

	begin(&c.packer, w);
	for (uint32_t i = 0; i < n; i++) {
		const struct column_value *v = &values[i];

		if (v->type == COLUMN_VALUE_MISSING) {
			add(&c.packer, 0, true);
			continue;
		}
		if (!put_step(&c, v)) {
			unsigned scale = v->type == BSON_DOUBLE ? common_scale(v, n - i) : 0;

			finish(&c.packer);
			begin(&c.packer, put_literal(c.packer.w, v));
			c.packer.nibble = (uint8_t)(8 + scale);
			c.scale = column_scales[scale];
			c.change = 0;
			c.numbered = value_number(v, c.scale, &c.number);
		}
		c.before = v;
	}
	finish(&c.packer);
	*c.packer.w++ = 0;
	return (size_t)(c.packer.w - w);
}
