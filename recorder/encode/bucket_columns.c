/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_columns.c - the arrays and lists of a bucket to the columns in `data`, in the order of fields.def. Where a
 * field is in some rows only, its dense column gets the value in front carried over the gaps (or the first one back to
 * the beginning), and a bitmap of them; lists have their gaps in themselves.
 *
 * One field can be in the rows and, of some of them, in the list of rare ones: FRAG, which IPv6 has beside FLOW. It is
 * mixed place by place: that is seldom, so it is simple.
 */
#include <emmintrin.h>

#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"

enum { FIELD_NAME_MAX = 16 };
#define F(id, name, bson, where, tshark, text) _Static_assert(sizeof(#name) <= FIELD_NAME_MAX, "see gather_bound");
#include "recorder/packet/fields.def"
#undef F

static inline bool in_rows(const struct gather *g, unsigned field)
{
	return field < 64 && (g->any >> field & 1);
}

static inline bool in_rare(const struct gather *g, unsigned field)
{
	return g->rare[field >> 6] >> (field & 63) & 1;
}

/* Calls f for each field of the bucket, in their order. */
#define EACH_FIELD(g, field)                                                                                           \
	for (unsigned word_ = 0; word_ < PACKET_WORDS; word_++)                                                        \
		for (uint64_t bits_ = (g)->rare[word_] | (word_ ? 0 : (g)->any);                                       \
		     bits_ && ((field) = 64 * word_ + (unsigned)__builtin_ctzll(bits_), 1); bits_ &= bits_ - 1)

/* Bytes of a field's rare values. */
static uint32_t rare_bytes(const struct bucket_maker *m, unsigned field)
{
	const struct gather *g = m->gather;
	uint32_t sum = 0;

	for (uint32_t i = 0; i < g->rare_count[field]; i++)
		sum += m->flow.rare[m->rare_sorted[g->rare_first[field] + i].number].len;
	return sum;
}

size_t gather_bound(const struct bucket_maker *m)
{
	const struct gather *g = m->gather;
	size_t sum = 1;
	unsigned f;

	EACH_FIELD(g, f)
	{
		uint32_t events, bytes;

		sum += 1 + FIELD_NAME_MAX + 5;
		if (!is_text(f)) {
			sum += COLUMN_BOUND(g->n);
			continue;
		}
		if (in_rare(g, f)) {
			events = 2 * g->rare_count[f] + 1;
			bytes = rare_bytes(m, f);
		} else {
			events = gather_texts(g, f);
			bytes = (uint32_t)g->texts_len;
		}
		sum += COLUMN_TEXTS_BOUND(g->n, events, bytes);
	}
	return sum;
}

/* ---- dense ----------------------------------------------------------------------------------------------------------
 */

static void set_bits(uint64_t *bits, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i = (i | 63) + 1) {
		uint64_t above = ~0ull << (i & 63), below = to > (i | 63) ? ~0ull : ~(~0ull << (to & 63));

		bits[i >> 6] |= above & below;
	}
}

/* Eight numbers at once, two or four instructions on any level. */
typedef uint32_t eight __attribute__((vector_size(32), aligned(4), may_alias));

/* Most gaps have less than eight: what is behind the last one stays as it is, without asking how many there are. */
static inline void fill(uint32_t *column, uint32_t from, uint32_t to, uint32_t value)
{
	const __m128i all = _mm_set1_epi32((int)value);

	for (; from < to; from += 8) {
		const __m128i left = _mm_set1_epi32((int)(to - from));

#pragma GCC unroll 2
		for (int k = 0; k < 8; k += 4) {
			__m128i *at = (__m128i *)(column + from + k);
			__m128i in = _mm_cmpgt_epi32(left, _mm_setr_epi32(k, k + 1, k + 2, k + 3));

			_mm_storeu_si128(at, _mm_or_si128(_mm_and_si128(in, all),
							  _mm_andnot_si128(in, _mm_loadu_si128(at))));
		}
	}
}

/* The gaps of a field, and which others have the same ones: TCP's go together, IPv4's do. */
static void find_gaps(struct gather *g, unsigned field)
{
	uint64_t same = ~0ull;
	uint32_t gaps = 0;

	memset(g->missing, 0, sizeof(g->missing));
	for (uint32_t i = 0; i < g->runs; i++) {
		const uint64_t has = g->run[i].has;
		uint32_t from = g->run[i].at, to = i + 1 < g->runs ? g->run[i + 1].at : g->n;

		if (has >> field & 1) {
			same &= has;
			continue;
		}
		same &= ~has;
		if (gaps && g->gap[gaps - 1].to == from)
			g->gap[gaps - 1].to = to;
		else
			g->gap[gaps++] = (struct gather_gap){from, to};
	}
	for (uint32_t i = 0; i < gaps; i++)
		set_bits(g->missing, g->gap[i].from, g->gap[i].to);
	g->gaps = gaps;
	g->gaps_of = same;
}

/*
 * Carries the values of `column` over the rows that do not have the field; the bitmap of these, NULL when all have it.
 */
static const uint64_t *carry(struct gather *g, unsigned field, uint32_t *column)
{
	const uint64_t bit = 1ull << field;

	if (g->all & bit)
		return NULL;
	if (!(g->gaps_of & bit))
		find_gaps(g, field);
	for (uint32_t i = 0; i < g->gaps; i++) {
		uint32_t from = g->gap[i].from, to = g->gap[i].to;

		fill(column, from, to, column[from ? from - 1 : to]);
	}
	return g->missing;
}

/* The lower or upper halves, as a column. */
static uint32_t *half(struct gather *g, const uint32_t *pairs, bool upper)
{
	for (uint32_t i = 0; i < g->n; i += 8) {
		const eight *from = (const eight *)(pairs + i);

		*(eight *)(g->column + i) = upper ? (eight)(*from >> 16) : (eight)(*from & 0xffff);
	}
	return g->column;
}

static uint8_t *put_int32(struct gather *g, unsigned field, uint8_t *w, uint32_t *column, int64_t range[2])
{
	const uint64_t *missing = carry(g, field, column);
	int32_t narrow[2];

	w = column_int32(w, (const int32_t *)column, missing, g->n, narrow);
	range[0] = narrow[0];
	range[1] = narrow[1];
	return w;
}

static uint8_t *put_double(struct gather *g, unsigned field, uint8_t *w, uint32_t *column, int64_t range[2])
{
	const uint64_t *missing = carry(g, field, column);
	uint32_t narrow[2];

	w = column_double(w, column, missing, g->n, narrow);
	range[0] = narrow[0];
	range[1] = narrow[1];
	return w;
}

/*
 * A field of at most one row in SPARSE: a list of its values costs less than going over all rows. So are an echo's
 * among TCP; what TCP has is seldom so rare.
 */
#define SPARSE 16u
static bool is_sparse(struct gather *g, unsigned field)
{
	const uint64_t bit = 1ull << field;
	uint32_t missing = 0;

	if (g->all & bit)
		return false;
	if (!(g->gaps_of & bit))
		find_gaps(g, field);
	for (uint32_t i = 0; i < g->gaps; i++)
		missing += g->gap[i].to - g->gap[i].from;
	return (g->n - missing) * SPARSE <= g->n;
}

/* The values of one half of `pairs`, or of it as it is, between the gaps. */
static uint8_t *put_sparse(struct gather *g, unsigned field, uint8_t *w, const uint32_t *pairs, unsigned shift,
			   uint32_t mask, int64_t range[2])
{
	struct column_event *list = g->rare_number;
	uint32_t events = 0, at = 0;

	for (uint32_t i = 0; i <= g->gaps; i++) {
		const uint32_t to = i < g->gaps ? g->gap[i].from : g->n;

		for (; at < to; at++)
			list[events++] = (struct column_event){at, 0, pairs[at] >> shift & mask};
		if (i == g->gaps)
			break;
		list[events++] = (struct column_event){to, 1, 0};
		at = g->gap[i].to;
	}
	return column_events(w, (enum column_type)fields[field].type, list, events, g->n, range);
}

static uint8_t *put_dense(struct gather *g, unsigned field, uint8_t *w, int64_t range[2])
{
	if ((field == PKT_ICMP_ID || field == PKT_ICMP_SEQ) && is_sparse(g, field))
		return put_sparse(g, field, w, g->flags_win, field == PKT_ICMP_ID ? 0 : 16, 0xffff, range);
	switch (field) {
	case PKT_TS:
		return column_date(w, g->ms, g->n, range);
	case PKT_NS:
		return put_int32(g, field, w, (uint32_t *)g->ns, range);
	case PKT_LEN:
		return put_int32(g, field, w, (uint32_t *)g->len, range);
	case PKT_SEQ:
		return put_double(g, field, w, g->seq, range);
	case PKT_ACK:
		return put_double(g, field, w, g->ack, range);
	case PKT_LTSVAL:
		return put_double(g, field, w, g->ltsval, range);
	case PKT_RTSVAL:
		return put_double(g, field, w, g->rtsval, range);
	case PKT_FLAGS:
	case PKT_ICMP_ID:
		return put_int32(g, field, w, half(g, g->flags_win, false), range);
	case PKT_WIN:
	case PKT_ICMP_SEQ:
		return put_int32(g, field, w, half(g, g->flags_win, true), range);
	case PKT_IPID:
		return put_int32(g, field, w, half(g, g->ipid_csum, false), range);
	default: /* CSUM */
		return put_int32(g, field, w, half(g, g->ipid_csum, true), range);
	}
}

/* ---- rare and mixed -------------------------------------------------------------------------------------------------
 */

static const struct flow_rare *rare_at(const struct bucket_maker *m, unsigned field, uint32_t i)
{
	return &m->flow.rare[m->rare_sorted[m->gather->rare_first[field] + i].number];
}

/* Only rare values: each at its place, missing behind it unless the next row has one too. */
static uint32_t list_rare(const struct bucket_maker *m, unsigned field, bool text)
{
	const struct gather_rare *list = m->rare_sorted + m->gather->rare_first[field];
	uint32_t n = m->gather->rare_count[field], events = 0, behind = 0;
	struct gather *g = m->gather;

	for (uint32_t i = 0; i <= n; i++) {
		uint32_t at = i < n ? list[i].at : g->n;
		const struct flow_rare *r;

		if (behind < at) {
			if (text)
				g->rare_text[events++] = (struct column_text){behind, COLUMN_TEXT_MISSING, NULL};
			else
				g->rare_number[events++] = (struct column_event){behind, 1, 0};
		}
		if (i == n)
			break;
		r = rare_at(m, field, i);
		if (text)
			g->rare_text[events++] = (struct column_text){at, r->len, r->bytes};
		else
			g->rare_number[events++] = (struct column_event){at, 0, r->number};
		behind = at + 1;
	}
	return events;
}

/* Values of the rows' list and rare ones, place by place. */
static uint32_t list_mixed(const struct bucket_maker *m, unsigned field)
{
	const struct gather_rare *list = m->rare_sorted + m->gather->rare_first[field];
	struct gather *g = m->gather;
	const uint32_t count = gather_numbers(g, field);
	uint32_t event = 0, rare = 0;

	for (uint32_t at = 0; at < g->n; at++) {
		while (event + 1 < count && g->number[field][event + 1].at <= at)
			event++;
		g->rare_number[at] = g->number[field][event];
		if (rare < g->rare_count[field] && list[rare].at == at)
			g->rare_number[at] = (struct column_event){at, 0, rare_at(m, field, rare++)->number};
		g->rare_number[at].at = at;
	}
	return g->n;
}

/* ---- all ------------------------------------------------------------------------------------------------------------
 */

static uint8_t *put_texts(struct bucket_maker *m, unsigned field, uint8_t *w, struct gather_range *range)
{
	struct gather *g = m->gather;
	const bool rare = in_rare(g, field);
	const struct column_text *list = rare ? g->rare_text : g->text[field];
	uint32_t count = rare ? list_rare(m, field, true) : gather_texts(g, field), at[2];

	w = column_texts(w, (enum column_type)fields[field].type, list, count, g->n, at);
	range->text[0] = list[at[0]];
	range->text[1] = list[at[1]];
	return w;
}

/* The letters of the smallest and the largest one are put to the others. */
static uint8_t *put_words(struct gather *g, unsigned field, uint8_t *w, struct gather_range *range)
{
	int64_t words[2];

	w = column_words(w, g->number[field], gather_numbers(g, field), g->n, words);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *letters = (uint8_t *)g->letters + g->texts_len;

		range->text[i] = (struct column_text){0, column_word(letters, words[i]), letters};
		g->texts_len += 8;
	}
	return w;
}

static uint8_t *put_events(struct bucket_maker *m, unsigned field, uint8_t *w, struct gather_range *range)
{
	struct gather *g = m->gather;
	const struct column_event *list = g->rare_number;
	uint32_t count;

	if (!in_rare(g, field)) {
		list = g->number[field];
		count = gather_numbers(g, field);
	} else {
		count = in_rows(g, field) ? list_mixed(m, field) : list_rare(m, field, false);
	}
	return column_events(w, (enum column_type)fields[field].type, list, count, g->n, range->number);
}

uint8_t *gather_columns(struct bucket_maker *m, uint8_t *w)
{
	struct gather *g = m->gather;
	unsigned field;

	EACH_FIELD(g, field)
	{
		struct gather_range *range = &g->range[g->ranges++];
		uint8_t *head;

		range->field = (uint16_t)field;
		*w++ = BSON_TYPE_BINARY;
		w = (uint8_t *)stpcpy((char *)w, fields[field].name) + 1;
		head = w;
		w += 5;
		if (is_word(field))
			w = put_words(g, field, w, range);
		else if (is_text(field))
			w = put_texts(m, field, w, range);
		else if (!in_rare(g, field) && (ROW_DENSE >> (field & 63) & 1) && field < 64)
			w = put_dense(g, field, w, range->number);
		else
			w = put_events(m, field, w, range);
		put32(head, (uint32_t)(w - head) - 5);
		head[4] = BSON_SUBTYPE_COLUMN;
	}
	return w;
}
