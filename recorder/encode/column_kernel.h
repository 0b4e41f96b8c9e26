/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_kernel.h - dense columns by vector code; included once for each level of it, by a file that says what the
 * vectors are:
 *
 *   V, WIDTH, LANES      type, bytes, 32-bit lanes; load, store, or/and/xor_, add32, sub32, over32 (signed a > b),
 * max8, over8, add8, sub8, all8 (of one byte), mask8 (a bit of each byte) exponents, missing_lanes, low_halves,
 * small_block (of up to SMALL_MOST slots), large_block
 *
 * column.c says how it works. All levels give the same bytes.
 */
#include "recorder/encode/column_internal.h"

#define SMALL_MOST 8

/* What is equal throughout is looked for in halves of 32 values, whatever a chunk is. */
enum { EVEN = 32, CHUNK = WIDTH > EVEN ? WIDTH : EVEN, PADDED = COLUMN_MOST + 2 * CHUNK, NEVER = 127, RUNS_MOST = COLUMN_MOST / COLUMN_RUN + 1 };

struct run {
	uint32_t from, to;
};

/* `bits`: of the difference's size, 0 to 31, so that the number takes one more; NEVER: 32, or behind the last value. */
struct scratch {
	_Alignas(WIDTH) uint32_t u[PADDED];
	_Alignas(WIDTH) uint8_t bits[PADDED], slots[PADDED];
	_Alignas(WIDTH) uint8_t most4[PADDED], most8[PADDED], most15[PADDED],
		most30[PADDED]; /* of bits, over so many values */
	struct run runs[RUNS_MOST];
	uint32_t nruns;
	uint64_t even; /* EVEN values of equal bits throughout */
	bool wide;     /* a difference has 32 bits */
};

/* CHUNK numbers and their bits from the values x[-2..CHUNK - 1]; flip: 1 << 31 where they are unsigned. */
static inline __attribute__((always_inline)) V chunk(struct scratch *s, uint32_t i, const int32_t *x, uint32_t flip,
						     bool date, const uint64_t *missing, V range[2])
{
	V sign = all32(flip), wide = all32(0);
	uint32_t even = 0;

	for (uint32_t half = 0; half < CHUNK; half += WIDTH) {
		V size[4];

#pragma GCC unroll 4
		for (uint32_t k = 0; k < 4; k++) {
			const int32_t *at = x + half + k * LANES;
			V now = xor_(load(at), sign), before = xor_(load(at - 1), sign), d = sub32(now, before),
			  negative;

			range[0] = min32(range[0], now);
			range[1] = max32(range[1], now);
			if (date) {
				d = sub32(d, sub32(before, load(at - 2)));
				negative = over32(all32(0), d);
			} else {
				negative = over32(before, now);
			}
			size[k] = sub32(xor_(d, negative), negative);
			d = xor_(add32(d, d), negative);
			if (missing)
				d = or_(d, missing_lanes(missing, i + half + k * LANES));
			store(s->u + i + half + k * LANES, d);
		}
		size[0] = exponents(size);
		store(s->bits + i + half, size[0]);
		wide = or_(wide, size[0]);
#if EVEN_AT_ONCE == 1
		even += mask8(equal8(size[0], all8(s->bits[i]))) == ALL;
	}
	s->even |= (uint64_t)(even == CHUNK / WIDTH) << i / EVEN;
#else
		even = even_parts(size[0]);
	}
	s->even |= (uint64_t)even << i / EVEN;
#endif
	return wide;
}

/* All chunks; those at the ends from a copy, because the values before and behind are not ours to read. */
static inline __attribute__((always_inline)) void differences(struct scratch *s, const int32_t *v, uint32_t n,
							      uint32_t flip, bool date, const uint64_t *missing,
							      int32_t range[2])
{
	V bound[2] = {all32((uint32_t)v[0] ^ flip), all32((uint32_t)v[0] ^ flip)}, wide = all32(0);
	int32_t edge[2 + CHUNK], parts[2][LANES];

	s->even = 0;
	for (uint32_t i = 0; i < n; i += CHUNK) {
		const int32_t *x = v + i;

		if (!i || i + CHUNK > n) {
			uint32_t count = n - i < CHUNK ? n - i : CHUNK;

			edge[0] = x[i ? -2 : 0];
			edge[1] = x[i ? -1 : 0];
			memcpy(edge + 2, x, count * sizeof(*x));
			for (; count < CHUNK; count++)
				edge[2 + count] = v[n - 1];
			x = edge + 2;
		}
		wide = or_(wide, chunk(s, i, x, flip, date, missing, bound));
	}
	s->wide = mask8(over8(wide, all8(63))) != 0;
	for (uint32_t i = 0; i < 2; i++) {
		store(parts[i], bound[i]);
		range[i] = parts[i][0];
	}
	for (uint32_t i = 1; i < LANES; i++) {
		range[0] = parts[0][i] < range[0] ? parts[0][i] : range[0];
		range[1] = parts[1][i] > range[1] ? parts[1][i] : range[1];
	}
}

static inline void pad(uint8_t *bytes, uint32_t from)
{
	for (uint32_t i = 0; i < CHUNK; i += WIDTH)
		store(bytes + from + i, all8(NEVER));
}

/* Numbers of less than `limit` bits (`m` is one less) let the block have `more` slots. */
#define ALLOW(limit, m, more) and_(over8(all8(limit), m), all8(more))

/* The slots of a block that would start at each value: more and more values together, until none fit. */
static void count_slots(struct scratch *s, uint32_t n)
{
	const uint8_t *b = s->bits;
	V any = all8(0);
	uint32_t i, end = (n + CHUNK - 1) / CHUNK * CHUNK;

	pad(s->bits, n);
	pad(s->bits, end);
	for (i = 0; i < end; i += WIDTH) {
		V two = max8(load(b + i), load(b + i + 1)), three = max8(two, load(b + i + 2)),
		  four = max8(three, load(b + i + 3));
		V fits = over8(all8(15), four);

		store(s->most4 + i, four);
		any = or_(any, fits);
		fits = add8(fits, add8(over8(all8(30), two), over8(all8(20), three)));
		store(s->slots + i, sub8(all8(1), fits));
	}
	if (!mask8(any))
		return;
	pad(s->most4, end);
	b = s->most4;
	any = all8(0);
	for (i = 0; i < end; i += WIDTH) {
		V four = load(b + i), eight = max8(four, load(b + i + 4));
		V fits = over8(all8(7), eight);

		store(s->most8 + i, eight);
		any = or_(any, fits);
		fits = add8(fits, over8(all8(12), max8(four, load(s->bits + i + 4))));
		fits = add8(fits, over8(all8(10), max8(four, load(b + i + 2))));
		fits = add8(fits, over8(all8(8), max8(four, load(b + i + 3))));
		store(s->slots + i, sub8(load(s->slots + i), fits));
	}
	if (!mask8(any))
		return;
	pad(s->most8, end);
	b = s->most8;
	any = all8(0);
	for (i = 0; i < end; i += WIDTH) {
		V eight = load(b + i), fifteen = max8(eight, load(b + i + 7)), fits = ALLOW(4, fifteen, 3);

		store(s->most15 + i, fifteen);
		any = or_(any, fits);
		fits = add8(fits, ALLOW(6, max8(eight, load(b + i + 2)), 2));
		fits = add8(fits, ALLOW(5, max8(eight, load(b + i + 4)), 2));
		store(s->slots + i, add8(load(s->slots + i), fits));
	}
	if (!mask8(over8(any, all8(0))))
		return;
	pad(s->most15, end);
	b = s->most15;
	any = all8(0);
	for (i = 0; i < end; i += WIDTH) {
		V fifteen = load(b + i), thirty = max8(fifteen, load(b + i + 15)), fits = ALLOW(2, thirty, 10);

		store(s->most30 + i, thirty);
		any = or_(any, fits);
		fits = add8(fits, ALLOW(3, max8(fifteen, load(b + i + 5)), 5));
		store(s->slots + i, add8(load(s->slots + i), fits));
	}
	if (!mask8(over8(any, all8(0))))
		return;
	pad(s->most30, end);
	for (i = 0; i < end; i += WIDTH) {
		V sixty = max8(load(s->most30 + i), load(s->most30 + i + 30));

		store(s->slots + i, add8(load(s->slots + i), ALLOW(1, sixty, 30)));
	}
}

/* A number of 33 bits may look like one of 32 that has no highest bit; their widths differ. */
static inline bool same_number(const struct scratch *s, uint32_t i, uint32_t j)
{
	return s->u[i] == s->u[j] && s->bits[i] == s->bits[j];
}

/* Stretches of 120 equal numbers: each has two whole parts of EVEN in it, whose bits are equal. */
static void find_runs(struct scratch *s, uint32_t from, uint32_t n)
{
	uint64_t candidates = s->even & s->even >> 1;
	const uint32_t *u = s->u;

	s->nruns = 0;
	while (candidates) {
		uint32_t at = (uint32_t)__builtin_ctzll(candidates) * EVEN, to = at;

		candidates &= candidates - 1;
		if (at < from) /* the literal's chunk */
			continue;
		while (!s->wide && to + LANES <= n && mask8(equal32(load(u + to), all32(u[at]))) == ALL)
			to += LANES;
		while (to < n && same_number(s, to, at))
			to++;
		if (to < at + 2 * EVEN)
			continue;
		while (at > from && same_number(s, at - 1, at))
			at--;
		if (to - at >= COLUMN_RUN)
			s->runs[s->nruns++] = (struct run){at, to};
		candidates = to / EVEN < 64 ? candidates >> to / EVEN << to / EVEN : 0;
	}
}

/*
 * One of two words, without a branch: which it is depends on the values, and a branch would be taken the wrong way for
 * every second block of a column of random ones.
 */
static inline uint64_t either(bool first, uint64_t a, uint64_t b)
{
	uint64_t mask = 0 - (uint64_t)first;

	__asm__("" : "+r"(mask)); /* compilers see a branch in it */
	return b ^ ((a ^ b) & mask);
}

/* A one-slot block of a number that 32 bits may not hold. */
static inline uint64_t wide_block(const int32_t *v, uint32_t i, uint32_t flip)
{
	int64_t d = (int64_t)(int32_t)((uint32_t)v[i] ^ flip) - (int32_t)((uint32_t)v[i - 1] ^ flip);

	return column_zigzag((uint64_t)d) << 4 | 14;
}

/* The bits [i, i + 60) of the map. */
static inline uint64_t sixty_bits(const uint64_t *map, uint32_t i)
{
	uint64_t bits = map[i >> 6] >> (i & 63);

	if ((i & 63) > 4)
		bits |= map[(i >> 6) + 1] << (64 - (i & 63));
	return bits << 4;
}

/* Blocks from value i on until `to` is reached; the value behind the last one. */
static inline __attribute__((always_inline)) uint32_t blocks(struct column_writer *c, const struct scratch *s,
							     uint32_t i, uint32_t to, const int32_t *v, uint32_t flip,
							     const uint64_t *missing)
{
	bool wide = s->wide;

	while (i < to) {
		uint8_t *w, *end;

		if (!c->room) {
			c->control = c->w++;
			c->room = COLUMN_GROUP;
		}
		w = c->w;
		end = w + 8 * c->room;
		do {
			uint32_t slots = s->slots[i];
			uint64_t block;

			if (slots <= SMALL_MOST) {
				block = small_block(s->u + i, slots, missing != NULL);
				if (wide)
					block = either(slots == 1, wide_block(v, i, flip), block);
				if (missing)
					block = either(slots == 1 && missing[i >> 6] >> (i & 63) & 1, ~1ull, block);
			} else if (slots == COLUMN_SLOTS_MOST) {
				block = 1 | (missing ? sixty_bits(missing, i) : 0);
			} else {
				block = large_block(s->u + i, slots);
			}
			w = put64(w, block);
			i += slots;
		} while (i < to && w < end);
		*c->control = (uint8_t)(c->kind - 1 + (w - c->control) / 8);
		c->room = (uint8_t)((end - w) / 8);
		c->w = w;
	}
	return i;
}

/* The values [from, n), whose literal is in front of them. */
static inline __attribute__((always_inline)) void pack(struct column_writer *c, struct scratch *s, uint32_t from,
						       uint32_t n, const int32_t *v, uint32_t flip,
						       const uint64_t *missing)
{
	uint32_t i = from, end = (n + CHUNK - 1) / CHUNK * CHUNK;

	memset(s->u + end, 0, CHUNK * sizeof(*s->u));
	count_slots(s, n);
	find_runs(s, from, n);
	for (uint32_t r = 0; r <= s->nruns; r++) {
		uint32_t to = n;

		if (r < s->nruns) /* a run repeats what the block in front of it ended in; a literal counts as 0 */
			to = s->runs[r].from + (s->runs[r].from > from || s->u[from]);
		i = blocks(c, s, i, to, v, flip, missing);
		if (r < s->nruns && i + COLUMN_RUN <= s->runs[r].to) {
			column_runs(c, (s->runs[r].to - i) / COLUMN_RUN);
			i += (s->runs[r].to - i) / COLUMN_RUN * COLUMN_RUN;
		}
	}
}

static inline __attribute__((always_inline)) void numbers(struct column_writer *c, const int32_t *v, uint32_t flip,
							  const uint64_t *missing, uint32_t from, uint32_t n,
							  int32_t range[2])
{
	struct scratch s;

	differences(&s, v, n, flip, false, missing, range);
	if (range[0] == range[1] && !missing)
		column_zeros(c, n - from);
	else
		pack(c, &s, from, n, v, flip, missing);
}

static void int32s(struct column_writer *c, const int32_t *v, const uint64_t *missing, uint32_t from, uint32_t n,
		   int32_t range[2])
{
	if (missing)
		numbers(c, v, 0, missing, from, n, range);
	else
		numbers(c, v, 0, NULL, from, n, range);
}

static void uint32s(struct column_writer *c, const uint32_t *v, const uint64_t *missing, uint32_t from, uint32_t n,
		    int32_t range[2])
{
	if (missing)
		numbers(c, (const int32_t *)v, 1u << 31, missing, from, n, range);
	else
		numbers(c, (const int32_t *)v, 1u << 31, NULL, from, n, range);
}

/* Dates that lie within 2^28 ms (three days) of the first: as differences to it they have 32 bits, and so on. */
static bool dates(struct column_writer *c, const int64_t *ms, uint32_t n, int64_t range[2])
{
	int32_t offset[COLUMN_MOST + CHUNK], bound[2];
	struct scratch s;
	V far = all32(0);
	uint32_t i;

	offset[0] = 0;
	for (i = 0; i + LANES <= n; i += LANES)
		store(offset + i, low_halves(ms + i, ms[0], &far));
	if (mask8(equal32(high_bits(far), all32(0))) != ALL)
		return false;
	for (; i < n; i++) {
		uint64_t d = (uint64_t)ms[i] - (uint64_t)ms[0];

		if ((d + (1u << 28)) >> 29)
			return false;
		offset[i] = (int32_t)d;
	}
	differences(&s, offset, n, 0, true, NULL, bound);
	range[0] = ms[0] + bound[0];
	range[1] = ms[0] + bound[1];
	pack(c, &s, 1, n, offset, 0, NULL);
	return true;
}
