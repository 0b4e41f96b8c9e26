/* SPDX-License-Identifier: GPL-2.0-or-later */
/* column_avx2.c - dense columns with AVX2: variable shifts put each number in its slot, OR makes a block of them. */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m256i V;
enum { WIDTH = 32, LANES = 8 };
#define ALL 0xffffffffu

#define load(p) _mm256_loadu_si256((const V *)(p))
#define store(p, v) _mm256_storeu_si256((V *)(p), v)
#define or_(a, b) _mm256_or_si256(a, b)
#define and_(a, b) _mm256_and_si256(a, b)
#define xor_(a, b) _mm256_xor_si256(a, b)
#define all32(x) _mm256_set1_epi32((int)(x))
#define add32(a, b) _mm256_add_epi32(a, b)
#define sub32(a, b) _mm256_sub_epi32(a, b)
#define min32(a, b) _mm256_min_epi32(a, b)
#define max32(a, b) _mm256_max_epi32(a, b)
#define over32(a, b) _mm256_cmpgt_epi32(a, b)
#define equal32(a, b) _mm256_cmpeq_epi32(a, b)
#define all8(x) _mm256_set1_epi8((char)(x))
#define add8(a, b) _mm256_add_epi8(a, b)
#define sub8(a, b) _mm256_sub_epi8(a, b)
#define max8(a, b) _mm256_max_epu8(a, b)
#define over8(a, b) _mm256_cmpgt_epi8(a, b)
#define equal8(a, b) _mm256_cmpeq_epi8(a, b)
#define mask8(a) ((uint32_t)_mm256_movemask_epi8(a))

/* The bits of 32 sizes, as bytes: a float's exponent says them. One rounded up counts as wider: seldom, and harmless.
 */
static inline V exponents(const V size[4])
{
	V e[4];

#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++)
		e[k] = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(size[k])), 23);
	e[0] = _mm256_subs_epu16(_mm256_packs_epi32(e[0], e[1]), _mm256_set1_epi16(126));
	e[2] = _mm256_subs_epu16(_mm256_packs_epi32(e[2], e[3]), _mm256_set1_epi16(126));
	return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(e[0], e[2]), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* All ones in the lanes whose bits [i, i + 8) of the map are set. */
static inline V missing_lanes(const uint64_t *map, uint32_t i)
{
	V lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);

	return equal32(and_(all32((uint32_t)(map[i >> 6] >> (i & 63))), lane), lane);
}

/* 8 numbers of 64 bits less `base`, as 32 bits; in *far, the OR of them + 2^28. */
static inline V low_halves(const int64_t *p, int64_t base, V *far)
{
	V a = _mm256_sub_epi64(load(p), _mm256_set1_epi64x(base)),
	  b = _mm256_sub_epi64(load(p + 4), _mm256_set1_epi64x(base));
	V middle = _mm256_set1_epi64x(1 << 28);
	__m256 low = _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88);

	*far = or_(*far, or_(_mm256_add_epi64(a, middle), _mm256_add_epi64(b, middle)));
	return _mm256_permute4x64_epi64(_mm256_castps_si256(low), 0xd8);
}
#define high_bits(far) _mm256_srli_epi64(far, 29)

/* Where the slots of blocks of 1 to 8 slots begin; 64 shifts out what is not in the block. */
#define S(slots, bits, j) ((j) < (slots) ? ((slots) == 7 || (slots) == 8 ? 8 : 4) + (bits) * (j) : 64)
#define ROW(n, b) [n] = {S(n, b, 0), S(n, b, 1), S(n, b, 2), S(n, b, 3), S(n, b, 4), S(n, b, 5), S(n, b, 6), S(n, b, 7)}
_Alignas(32) static const uint64_t small_shifts[9][8] = {ROW(1, 60), ROW(2, 30), ROW(3, 20), ROW(4, 15),
							 ROW(5, 12), ROW(6, 10), ROW(7, 8),  ROW(8, 7)};
static const uint32_t small_masks[9] = {0,   ~0u, (1 << 30) - 1, (1 << 20) - 1, (1 << 15) - 1, (1 << 12) - 1, 1023,
					255, 127};

static inline uint64_t fold(V a, V b)
{
	V v = or_(a, b);
	__m128i x = _mm_or_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

	return (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(x, _mm_unpackhi_epi64(x, x)));
}

static inline uint64_t small_block(const uint32_t *u, uint32_t slots, bool missing)
{
	V a = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)u));
	V b = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(u + 4)));

	if (missing) {
		V mask = _mm256_set1_epi64x(small_masks[slots]);

		a = and_(a, mask);
		b = and_(b, mask);
	}
	a = _mm256_sllv_epi64(a, load(small_shifts[slots]));
	b = _mm256_sllv_epi64(b, load(small_shifts[slots] + 4));
	return fold(a, b) | (15 - slots);
}

/*
 * Blocks of 10 to 30 slots, which have 6 to 2 bits, as their selectors say: the numbers as bytes, four of them side by
 * side in 32 bits by two multiplications, and then as above. Packing leaves the fours in the order 0 2 4 6 1 3 5 7.
 */
#define M1(n, b, j) ((j) < (n) ? (1 << (b)) - 1 : 0)
#define M4(n, b, j) M1(n, b, j), M1(n, b, (j) + 1), M1(n, b, (j) + 2), M1(n, b, (j) + 3)
#define MASK(n, b)                                                                                                     \
	[b] = {M4(n, b, 0), M4(n, b, 8),  M4(n, b, 16), M4(n, b, 24),                                                  \
	       M4(n, b, 4), M4(n, b, 12), M4(n, b, 20), M4(n, b, 28)}
_Alignas(32) static const uint8_t large_masks[7][32] = {MASK(30, 2), MASK(20, 3), MASK(15, 4), MASK(12, 5),
							MASK(10, 6)};
#define FOURS(b)                                                                                                       \
	[b] = {4, 4 + 8 * (b), 4 + 16 * (b), 4 + 24 * (b), 4 + 4 * (b), 4 + 12 * (b), 4 + 20 * (b), 4 + 28 * (b)}
_Alignas(32) static const uint64_t large_shifts[7][8] = {FOURS(2), FOURS(3), FOURS(4), FOURS(5), FOURS(6)};

static const uint8_t large_bits[31] = {[10] = 6, [12] = 5, [15] = 4, [20] = 3, [30] = 2};

static inline uint64_t large_block(const uint32_t *u, uint32_t slots)
{
	uint32_t bits = large_bits[slots];
	V v = _mm256_packs_epi16(_mm256_packs_epi32(load(u), load(u + 8)),
				 _mm256_packs_epi32(load(u + 16), load(u + 24)));

	v = and_(v, load(large_masks[bits]));
	v = _mm256_maddubs_epi16(v, _mm256_set1_epi16((short)(1 | 256 << bits)));
	v = _mm256_madd_epi16(v, _mm256_set1_epi32(1 | 65536 << 2 * bits));
	return fold(_mm256_sllv_epi64(_mm256_cvtepu32_epi64(_mm256_castsi256_si128(v)), load(large_shifts[bits])),
		    _mm256_sllv_epi64(_mm256_cvtepu32_epi64(_mm256_extracti128_si256(v, 1)),
				      load(large_shifts[bits] + 4))) |
	       bits;
}

#define EVEN_AT_ONCE 1
#include "recorder/encode/column_kernel.h"

const struct column_kernel column_avx2 = {int32s, uint32s, dates};
