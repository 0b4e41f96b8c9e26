/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_sse2.c - dense columns with what every x86-64 has. There are no shifts of each lane by its own count, so a
 * block is made by halves: neighbours first, then pairs, then fours, each step one shift of all lanes by the same
 * count.
 */
#include <emmintrin.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m128i V;
enum { WIDTH = 16, LANES = 4 };
#define ALL 0xffffu

#define load(p) _mm_loadu_si128((const V *)(p))
#define store(p, v) _mm_storeu_si128((V *)(p), v)
#define or_(a, b) _mm_or_si128(a, b)
#define and_(a, b) _mm_and_si128(a, b)
#define xor_(a, b) _mm_xor_si128(a, b)
#define all32(x) _mm_set1_epi32((int)(x))
#define add32(a, b) _mm_add_epi32(a, b)
#define sub32(a, b) _mm_sub_epi32(a, b)
#define over32(a, b) _mm_cmpgt_epi32(a, b)
#define equal32(a, b) _mm_cmpeq_epi32(a, b)
#define all8(x) _mm_set1_epi8((char)(x))
#define add8(a, b) _mm_add_epi8(a, b)
#define sub8(a, b) _mm_sub_epi8(a, b)
#define max8(a, b) _mm_max_epu8(a, b)
#define over8(a, b) _mm_cmpgt_epi8(a, b)
#define equal8(a, b) _mm_cmpeq_epi8(a, b)
#define mask8(a) ((uint32_t)_mm_movemask_epi8(a))

static inline V min32(V a, V b)
{
	return xor_(a, and_(xor_(a, b), over32(a, b)));
}

static inline V max32(V a, V b)
{
	return xor_(a, and_(xor_(a, b), over32(b, a)));
}

/* As in column_avx2.c. */
static inline V exponents(const V size[4])
{
	V e[4];

#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++)
		e[k] = _mm_srli_epi32(_mm_castps_si128(_mm_cvtepi32_ps(size[k])), 23);
	e[0] = _mm_subs_epu16(_mm_packs_epi32(e[0], e[1]), _mm_set1_epi16(126));
	e[2] = _mm_subs_epu16(_mm_packs_epi32(e[2], e[3]), _mm_set1_epi16(126));
	return _mm_packs_epi16(e[0], e[2]);
}

static inline V missing_lanes(const uint64_t *map, uint32_t i)
{
	V lane = _mm_setr_epi32(1, 2, 4, 8);

	return equal32(and_(all32((uint32_t)(map[i >> 6] >> (i & 63))), lane), lane);
}

static inline V low_halves(const int64_t *p, int64_t base, V *far)
{
	V a = _mm_sub_epi64(load(p), _mm_set1_epi64x(base)), b = _mm_sub_epi64(load(p + 2), _mm_set1_epi64x(base));
	V middle = _mm_set1_epi64x(1 << 28);

	*far = or_(*far, or_(_mm_add_epi64(a, middle), _mm_add_epi64(b, middle)));
	return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88));
}
#define high_bits(far) _mm_srli_epi64(far, 29)

/* Eight numbers of `bits` bits, side by side. */
static inline uint64_t join(V a, V b, uint32_t bits)
{
	V low = _mm_set1_epi64x(0xffffffff), one = _mm_cvtsi32_si128((int)bits), two = _mm_cvtsi32_si128(2 * (int)bits);

	a = or_(and_(a, low), _mm_sll_epi64(_mm_srli_epi64(a, 32), one));
	b = or_(and_(b, low), _mm_sll_epi64(_mm_srli_epi64(b, 32), one));
	a = or_(_mm_unpacklo_epi64(a, b), _mm_sll_epi64(_mm_unpackhi_epi64(a, b), two));
	b = _mm_sll_epi64(_mm_unpackhi_epi64(a, a), _mm_cvtsi32_si128(4 * (int)bits));
	return (uint64_t)_mm_cvtsi128_si64(or_(a, b));
}

/* What of eight numbers is in a block of 1 to 8 slots. */
#define M1(n, b, j) ((j) < (n) ? (uint32_t)((1ull << (b)) - 1) : 0)
#define ROW(n, b)                                                                                                      \
	[n] = {M1(n, b, 0), M1(n, b, 1), M1(n, b, 2), M1(n, b, 3), M1(n, b, 4), M1(n, b, 5), M1(n, b, 6), M1(n, b, 7)}
_Alignas(16) static const uint32_t small_masks[9][8] = {ROW(1, 60), ROW(2, 30), ROW(3, 20), ROW(4, 15),
							ROW(5, 12), ROW(6, 10), ROW(7, 8),  ROW(8, 7)};
static const struct {
	uint8_t bits, shift;
} small_forms[9] = {{0, 0}, {60, 4}, {30, 4}, {20, 4}, {15, 4}, {12, 4}, {10, 4}, {8, 8}, {7, 8}};

static inline uint64_t small_block(const uint32_t *u, uint32_t slots, bool missing)
{
	const uint32_t *mask = small_masks[slots];

	(void)missing; /* cut by the mask anyway */
	return join(and_(load(u), load(mask)), and_(load(u + 4), load(mask + 4)), small_forms[slots].bits)
		       << small_forms[slots].shift |
	       (15 - slots);
}

/* Blocks of 10 to 30 slots: as 16 bits; two and then four of them side by side by multiplication. */
#define M8(n, b, j)                                                                                                    \
	M1(n, b, j), M1(n, b, (j) + 1), M1(n, b, (j) + 2), M1(n, b, (j) + 3), M1(n, b, (j) + 4), M1(n, b, (j) + 5),    \
		M1(n, b, (j) + 6), M1(n, b, (j) + 7)
#define MASK(n, b) [b] = {M8(n, b, 0), M8(n, b, 8), M8(n, b, 16), M8(n, b, 24)}
_Alignas(16) static const uint16_t large_masks[7][32] = {MASK(30, 2), MASK(20, 3), MASK(15, 4), MASK(12, 5),
							 MASK(10, 6)};
static const uint8_t large_bits[31] = {[10] = 6, [12] = 5, [15] = 4, [20] = 3, [30] = 2};

static inline uint64_t large_block(const uint32_t *u, uint32_t slots)
{
	uint32_t bits = large_bits[slots];
	V by = all32(1 | 65536 << bits), v[4];

#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++) {
		v[k] = _mm_packs_epi32(load(u + 8 * k), load(u + 8 * k + 4));
		v[k] = _mm_madd_epi16(and_(v[k], load(large_masks[bits] + 8 * k)), by);
	}
	by = all32(1 | 65536 << 2 * bits);
	v[0] = _mm_madd_epi16(_mm_packs_epi32(v[0], v[1]), by);
	v[2] = _mm_madd_epi16(_mm_packs_epi32(v[2], v[3]), by);
	return join(v[0], v[2], 4 * bits) << 4 | bits;
}

#define EVEN_AT_ONCE 1
#include "recorder/encode/column_kernel.h"

const struct column_kernel column_sse2 = {int32s, uint32s, dates};
