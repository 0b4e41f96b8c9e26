/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * column_avx512.c - dense columns with AVX-512: as column_avx2.c, in vectors of 64 bytes. Small blocks are one vector; to make all
 * in the same way, up to 30 slots, was no faster.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m512i V;
enum { WIDTH = 64, LANES = 16 };
#define ALL UINT64_MAX

#define load(p) _mm512_loadu_si512(p)
#define store(p, v) _mm512_storeu_si512(p, v)
#define or_(a, b) _mm512_or_si512(a, b)
#define and_(a, b) _mm512_and_si512(a, b)
#define xor_(a, b) _mm512_xor_si512(a, b)
#define all32(x) _mm512_set1_epi32((int)(x))
#define add32(a, b) _mm512_add_epi32(a, b)
#define sub32(a, b) _mm512_sub_epi32(a, b)
#define min32(a, b) _mm512_min_epi32(a, b)
#define max32(a, b) _mm512_max_epi32(a, b)
#define over32(a, b) _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b))
#define equal32(a, b) _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b))
#define all8(x) _mm512_set1_epi8((char)(x))
#define add8(a, b) _mm512_add_epi8(a, b)
#define sub8(a, b) _mm512_sub_epi8(a, b)
#define max8(a, b) _mm512_max_epu8(a, b)
#define over8(a, b) _mm512_movm_epi8(_mm512_cmpgt_epi8_mask(a, b))
#define mask8(a) ((uint64_t)_mm512_movepi8_mask(a))

/* As in column_avx2.c, of 64 sizes: what is rounded up there is here. */
static inline V exponents(const V size[4])
{
	const V less = _mm512_set1_epi16(126);
	V e[4];

#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++)
		e[k] = _mm512_srli_epi32(_mm512_castps_si512(_mm512_cvtepi32_ps(size[k])), 23);
	e[0] = _mm512_subs_epu16(_mm512_packs_epi32(e[0], e[1]), less);
	e[2] = _mm512_subs_epu16(_mm512_packs_epi32(e[2], e[3]), less);
	return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
					_mm512_packs_epi16(e[0], e[2]));
}

/* A bit for each half whose bytes are all equal. */
static inline uint32_t even_parts(V size)
{
	const V first = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi8(32), 1);
	const uint64_t same = _mm512_cmpeq_epi8_mask(size, _mm512_permutexvar_epi8(first, size));

	return ((uint32_t)same == UINT32_MAX) | (uint32_t)(same >> 32 == UINT32_MAX) << 1;
}

/* All ones in the lanes whose bits [i, i + 16) of the map are set. */
static inline V missing_lanes(const uint64_t *map, uint32_t i)
{
	return _mm512_movm_epi32((__mmask16)(map[i >> 6] >> (i & 63)));
}

/* 16 numbers of 64 bits less `base`, as 32 bits; in *far, the OR of them + 2^28. */
static inline V low_halves(const int64_t *p, int64_t base, V *far)
{
	V from = _mm512_set1_epi64(base), middle = _mm512_set1_epi64(1 << 28);
	V a = _mm512_sub_epi64(load(p), from), b = _mm512_sub_epi64(load(p + 8), from);

	*far = or_(*far, or_(_mm512_add_epi64(a, middle), _mm512_add_epi64(b, middle)));
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(a)), _mm512_cvtepi64_epi32(b), 1);
}
#define high_bits(far) _mm512_srli_epi64(far, 29)

/* Where the slots of a block begin; 64 shifts out what is not in the block. */
#define S(n, bits, j) ((j) < (n) ? ((n) == 7 || (n) == 8 ? 8 : 4) + (bits) * (j) : 64)
#define S8(n, b, j)                                                                                                    \
	S(n, b, j), S(n, b, j + 1), S(n, b, j + 2), S(n, b, j + 3), S(n, b, j + 4), S(n, b, j + 5), S(n, b, j + 6),    \
		S(n, b, j + 7)
#define ROW(n, selector, b) [n] = {{S8(n, b, 0), S8(n, b, 8), S8(n, b, 16), S8(n, b, 24)}, (1ull << (b)) - 1, selector}
static const struct {
	_Alignas(64) uint64_t shift[32];
	uint64_t mask, selector;
} forms[31] = {ROW(1, 14, 60), ROW(2, 13, 30), ROW(3, 12, 20), ROW(4, 11, 15), ROW(5, 10, 12),
	       ROW(6, 9, 10),  ROW(7, 8, 8),   ROW(8, 7, 7),   ROW(10, 6, 6),  ROW(12, 5, 5),
	       ROW(15, 4, 4),  ROW(20, 3, 3),  ROW(30, 2, 2)};

static inline V slots_of(const uint32_t *u, uint32_t slots, unsigned part, bool missing)
{
	V v = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)(u + 8 * part)));

	if (missing)
		v = and_(v, _mm512_set1_epi64((int64_t)forms[slots].mask));
	return _mm512_sllv_epi64(v, _mm512_load_si512(forms[slots].shift + 8 * part));
}

static inline uint64_t fold(V v, uint32_t slots)
{
	__m256i half = _mm256_or_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	__m128i quarter = _mm_or_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));

	return (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(quarter, _mm_unpackhi_epi64(quarter, quarter))) |
	       forms[slots].selector;
}

static inline uint64_t small_block(const uint32_t *u, uint32_t slots, bool missing)
{
	return fold(slots_of(u, slots, 0, missing), slots);
}

/* Up to 32 numbers are read. */
static inline uint64_t large_block(const uint32_t *u, uint32_t slots)
{
	V v = _mm512_ternarylogic_epi64(slots_of(u, slots, 0, true), slots_of(u, slots, 1, true),
					slots_of(u, slots, 2, true), 0xfe); /* a | b | c */

	return fold(or_(v, slots_of(u, slots, 3, true)), slots);
}

#define EVEN_AT_ONCE 2
#include "recorder/encode/column_kernel.h"

const struct column_kernel column_avx512 = {int32s, uint32s, dates};
