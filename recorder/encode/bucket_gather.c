/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_gather.c - the rows of a bucket to what the column writers take. Each row's dense members are copied without a
 * question, also where they are missing (columns know where: the runs of equal `has`), four rows at a time. Key, marks
 * and the 24 bytes of row_slow are compared with the row before; those that differ are noted, and looked at afterwards
 * (bucket_change.c): so nothing here depends on what is in the packets, but for rare fields.
 */
#include <emmintrin.h>

#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"

#define AHEAD 64u /* rows to prefetch: they lie in the order of time */

/* Addresses of the row's inner and quoted packets: few rows have any, so they are looked for. */
static void gather_addresses(struct bucket_maker *m, uint32_t row)
{
	const struct flow_address *a = m->flow.address;
	uint32_t n = m->flow.addresses, from = 0;

	while (n) {
		uint32_t half = n / 2;

		if (a[from + half].row < row) {
			from += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	for (; from < m->flow.addresses && a[from].row == row; from++)
		if (a[from].family == 6)
			gather_host6(m, a[from].address);
		else if (a[from].family == 4)
			gather_host4(m, a[from].address, gather_text_cell(m->gather, a[from].address));
}

static __attribute__((noinline)) void gather_rare(struct bucket_maker *m, uint32_t at, uint32_t row)
{
	struct gather *g = m->gather;

	for (uint32_t i = m->flow.first_rare[row]; i < m->flow.rares && m->flow.rare[i].row == row; i++) {
		unsigned field = m->flow.rare[i].field;

		m->rare[g->rares] = (struct gather_rare){at, i};
		m->rare_field[g->rares++] = (uint16_t)field;
		g->rare[field >> 6] |= 1ull << (field & 63);
		g->rare_count[field]++;
	}
	if (m->flow.addresses)
		gather_addresses(m, row);
}

/* Rare fields by field, each one's by place. */
static void sort_rare(struct bucket_maker *m)
{
	struct gather *g = m->gather;
	uint32_t next[PKT_FIELDS], sum = 0;

	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		g->rare_first[f] = next[f] = sum;
		sum += g->rare_count[f];
	}
	for (uint32_t i = 0; i < g->rares; i++)
		m->rare_sorted[next[m->rare_field[i]]++] = m->rare[i];
}

static void gather_begin(struct bucket_maker *m, uint32_t n)
{
	struct gather *g = m->gather;

	g->n = n;
	g->any = g->gaps_of = 0;
	g->all = ~0ull;
	memset(g->slow_differs, 0, sizeof(g->slow_differs));
	memset(g->key_differs, 0, sizeof(g->key_differs));
	if (g->rares)
		memset(g->rare_count, 0, sizeof(g->rare_count));
	memset(g->rare, 0, sizeof(g->rare));
	for (unsigned f = 0; f < 64; f++)
		if (is_text(f))
			g->end[f].text = g->text[f];
		else
			g->end[f].number = g->number[f];
	g->rares = g->runs = g->ranges = 0;
	g->texts_len = 0;
	m->nhost4 = m->nhost6 = 0;
}

/* Four members that lie side by side in four rows, each to its array. */
static inline void turn_four(const struct row *const r[4], size_t from, uint32_t *a, uint32_t *b, uint32_t *c,
			     uint32_t *d)
{
	__m128i v[4], low[2], high[2];

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++)
		v[i] = _mm_loadu_si128((const __m128i *)((const uint8_t *)r[i] + from));
#pragma GCC unroll 2
	for (unsigned i = 0; i < 2; i++) {
		low[i] = _mm_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
		high[i] = _mm_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
	}
	_mm_storeu_si128((__m128i *)a, _mm_unpacklo_epi64(low[0], low[1]));
	_mm_storeu_si128((__m128i *)b, _mm_unpackhi_epi64(low[0], low[1]));
	_mm_storeu_si128((__m128i *)c, _mm_unpacklo_epi64(high[0], high[1]));
	_mm_storeu_si128((__m128i *)d, _mm_unpackhi_epi64(high[0], high[1]));
}
_Static_assert(offsetof(struct row, len) == offsetof(struct row, key_marks) + 4 &&
		       offsetof(struct row, ack) == offsetof(struct row, key_marks) + 12 &&
		       offsetof(struct row, flags) == offsetof(struct row, ltsval) + 8 &&
		       offsetof(struct row, ipid) == offsetof(struct row, ltsval) + 12,
	       "members that are turned together");

static inline void gather_dense(struct gather *g, uint32_t i, const struct row *const r[4])
{
#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++) {
		uint64_t wall = (uint64_t)r[k]->wall, ms = wall / 1000000;

		g->ms[i + k] = (int64_t)ms;
		g->ns[i + k] = (int32_t)(wall - ms * 1000000);
	}
	turn_four(r, offsetof(struct row, key_marks), gather_key_marks(g) + i, (uint32_t *)g->len + i, g->seq + i,
		  g->ack + i);
	turn_four(r, offsetof(struct row, ltsval), g->ltsval + i, g->rtsval + i, g->flags_win + i, g->ipid_csum + i);
}

/* A row's second half in two pieces: flags to csum, and has of row_slow; the rest of row_slow. */
struct slow_pieces {
	__m128i first, second;
};
static inline struct slow_pieces slow_of(const struct row *r)
{
	return (struct slow_pieces){_mm_load_si128((const __m128i *)((const uint8_t *)r + 32)),
				    _mm_load_si128((const __m128i *)((const uint8_t *)r + 48))};
}
_Static_assert(offsetof(struct row, slow) == 40 && offsetof(struct row_slow, rare) == 23, "slow_of, note_four");

/*
 * A bit for each of rows [i, i + 4) that differs from the one before: in row_slow, in key or marks. The bits of rows
 * that are not there are cut off later. What the first piece has in front of row_slow does not count.
 */
static inline bool note_four(struct gather *g, uint32_t i, const struct row *const r[4], struct slow_pieces *before)
{
	const __m128i has = _mm_set_epi32(-1, -1, 0, 0), zero = _mm_setzero_si128();
	const __m128i *key_marks = (const __m128i *)(gather_key_marks(g) + i);
	__m128i same[4], rare = zero, keys;
	uint64_t slow, key;

#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++) {
		struct slow_pieces is = slow_of(r[k]);
		__m128i differ = _mm_and_si128(_mm_xor_si128(is.first, before->first), has);

		same[k] = _mm_cmpeq_epi32(_mm_or_si128(differ, _mm_xor_si128(is.second, before->second)), zero);
		rare = _mm_or_si128(rare, is.second);
		*before = is;
	}
	same[0] = _mm_packs_epi16(_mm_packs_epi32(same[0], same[1]), _mm_packs_epi32(same[2], same[3]));
	slow = ~(unsigned)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(same[0], _mm_cmpeq_epi32(zero, zero)))) & 15;
	keys = _mm_cmpeq_epi32(_mm_loadu_si128(key_marks),
			       _mm_loadu_si128((const __m128i *)(gather_key_marks(g) + i - 1)));
	key = ~(unsigned)_mm_movemask_ps(_mm_castsi128_ps(keys)) & 15;
	g->slow_differs[i / 64] |= slow << i % 64;
	g->key_differs[i / 64] |= key << i % 64;
	return _mm_extract_epi16(rare, 7) >> 8;
}

/* Whether ms is ascending: no difference below 0. */
static bool by_time(const struct gather *g)
{
	typedef int64_t four __attribute__((vector_size(32), aligned(8), may_alias));
	four sum = {0};
	int64_t below;
	uint32_t i = 1;

	for (; i + 4 <= g->n; i += 4)
		sum |= *(const four *)(g->ms + i) - *(const four *)(g->ms + i - 1);
	below = sum[0] | sum[1] | sum[2] | sum[3];
	for (; i < g->n; i++)
		below |= g->ms[i] - g->ms[i - 1];
	return below >= 0;
}

static inline void fetch_four(const struct row *row, const uint32_t *position)
{
#pragma GCC unroll 4
	for (uint32_t k = 0; k < 4; k++)
		__builtin_prefetch(&row[position[k]]);
}

/* Behind the last row the last one again. */
static inline void fill_four(const struct row *four[4], const struct row *row, const uint32_t *position, uint32_t i,
			     uint32_t n)
{
	if (__builtin_expect(i + 4 <= n, 1)) {
#pragma GCC unroll 4
		for (uint32_t k = 0; k < 4; k++)
			four[k] = &row[position[i + k]];
	} else {
		for (uint32_t k = 0; k < 4; k++)
			four[k] = &row[position[i + k < n ? i + k : n - 1]];
	}
}

/*
 * The rows' dense members to arrays, and which rows differ from the one before: of those behind the last one, which
 * fill_four takes for the last one again, none does; the first one is made to differ in all.
 */
static void gather_rows(struct bucket_maker *m, const uint32_t *position, uint32_t n, uint32_t left)
{
	const struct row *row = m->flow.row;
	struct gather *g = m->gather;
	struct slow_pieces before = slow_of(&row[position[0]]);

	for (uint32_t i = 0; i < n; i += 4) {
		const struct row *four[4];

		if (__builtin_expect(i + AHEAD + 4 <= left, 1))
			fetch_four(row, position + i + AHEAD);
		fill_four(four, row, position, i, n);
		gather_dense(g, i, four);
		if (__builtin_expect(note_four(g, i, four, &before), 0))
			for (uint32_t k = 0; k < 4 && i + k < n; k++)
				if (four[k]->slow.rare)
					gather_rare(m, i + k, position[i + k]);
	}
	g->slow_differs[0] |= 1;
	g->key_differs[0] |= 1;
}

void gather_bucket(struct bucket_maker *m, uint32_t bucket)
{
	uint32_t first, n = bucket_cut(m, bucket, &first);
	const uint32_t *position = m->positions + first;
	struct gather *g = m->gather;

	gather_begin(m, n);
	gather_rows(m, position, n, m->flow.rows - first);
	gather_slow(g, m->flow.row, position);
	gather_keys(m, bucket, position);
	g->version = by_time(g) ? 2 : m->form.version;
	if (g->rares)
		sort_rare(m);
}
