/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_kernel.h - records to rows and distinct keys; included once for each level of machine code (column.h), by a file
 * that is compiled for it. All levels give the same rows.
 *
 * Keys get their numbers in the order of their first packets, and are sorted by their bytes: nothing that the caller
 * sees depends on the hash, whose seed is random because what is hashed comes from the network. The table holds 11 more
 * bits of the hash beside the number, so nearly always one key is compared for each packet, and its line is the one
 * that is needed.
 */
#include "recorder/encode/flow_internal.h"

#include <errno.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/encode/bytes.h"
#include "recorder/encode/flow_fast.h"

#define AHEAD 16u /* records are fetched so far ahead */
#define SIDES 2u
#define SOME 16u /* packets that are decoded before the first of them is looked up; a bit for each in 32 */

/* FLAGS, MSS and ICMP_* are of different protocols; FRAG beside FLOW brings FRAGID, which is rare: flow_add_rare. */
_Static_assert(!(ROW_FIELDS & ROW_BIT(FRAGID)), "a FRAG beside FLOW is found by it");

typedef uint64_t v2u64 __attribute__((vector_size(16), aligned(16)));
typedef uint32_t v4u32 __attribute__((vector_size(16), aligned(16)));

#ifndef __AVX512VBMI__
/* Of the lower halves. */
static inline v2u64 product(v2u64 a, v2u64 b)
{
	return (v2u64)_mm_mul_epu32((__m128i)a,
				    (__m128i)b); /* compilers make three multiplications of (a & low) * (b & low) */
}
#endif

/*
 * Each 32-bit word plus its random number, products of pairs, their sum: two keys have the same sum with a probability
 * of 2^-32 (the NH family of universal hash functions, RFC 4418). Then its bits are spread.
 */
static inline uint32_t hash_key(const struct flow_maker *m, const struct packet_key *key)
{
	uint64_t total;
#ifdef __AVX512VBMI__
	__m512i v = _mm512_add_epi32(_mm512_load_si512(key), _mm512_load_si512(m->seed));
	__m256i half;
	v2u64 sum;

	v = _mm512_mul_epu32(v, _mm512_srli_epi64(v, 32));
	half = _mm256_add_epi64(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
	sum = (v2u64)_mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
	total = sum[0] + sum[1];
#else
	const v4u32 *w = (const void *)key, *seed = (const void *)m->seed;
	v2u64 sum = {0};

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		v2u64 v = (v2u64)(w[i] + seed[i]);

		sum += product(v, v >> 32);
	}
	total = sum[0] + sum[1];
#endif
	return (uint32_t)(total * 0x9e3779b97f4a7c15 >> 32);
}

static inline bool same_key(const struct packet_key *a, const struct packet_key *b)
{
#ifdef __AVX512VBMI__
	return !_mm512_cmpneq_epi64_mask(_mm512_load_si512(a), _mm512_load_si512(b));
#else
	const v2u64 *x = (const void *)a, *y = (const void *)b;
	v2u64 d = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);

	return !(d[0] | d[1]);
#endif
}

/* A place holds the hash's upper bits, made odd, and the number; the index is of the lower bits and the upper ones. */
#define PLACE_KEY ((1u << FLOW_KEY_BITS) - 1)
static inline uint32_t place_tag(uint32_t hash)
{
	return (hash & ~PLACE_KEY) | 1u << FLOW_KEY_BITS;
}
static inline uint32_t place_first(uint32_t hash)
{
	return hash ^ hash >> 15;
}

static __attribute__((noinline)) int grow_table(struct flow_maker *m)
{
	int r = flow_reserve_table(m, 2 * m->keys);

	if (r < 0)
		return r;
	for (uint32_t k = 0; k < m->keys; k++) {
		uint32_t i = place_first(m->hash[k]) & m->mask;

		while (m->table[i])
			i = (i + 1) & m->mask;
		m->table[i] = place_tag(m->hash[k]) | k;
	}
	return 0;
}

static __attribute__((noinline)) int add_key(struct flow_maker *m, const struct packet_key *key,
					     const struct ends_table *ends, uint32_t hash, uint32_t place)
{
	uint32_t k = m->keys++;

	m->key[k] = *key;
	m->out[k] = ends_key_is_local(ends, key);
	m->hash[k] = hash;
	m->start[k] = 0;
	m->table[place] = place_tag(hash) | k;
	if (2 * m->keys > m->mask) {
		int r = grow_table(m);

		if (r < 0)
			return r;
	}
	return (int)k;
}

/* The number of the packet's key, or -ENOMEM. */
static inline int find_key(struct flow_maker *m, const struct packet_key *key, const struct ends_table *ends,
			   uint32_t hash)
{
	uint32_t tag = place_tag(hash), i = place_first(hash), place;

	for (;; i++) {
		i &= m->mask;
		place = m->table[i];
		if (!place)
			return add_key(m, key, ends, hash, i);
		if ((place & ~PLACE_KEY) == tag && same_key(&m->key[place & PLACE_KEY], key))
			return (int)(place & PLACE_KEY);
	}
}

static inline uint64_t load64(const void *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	return v;
}

/* So many of the members of a packet's stack, in the order of a row's, are copied at once. */
#define SAME(row_first, row_member, first, member)                                                                     \
	_Static_assert(offsetof(struct row, row_member) - offsetof(struct row, row_first) ==                           \
			       offsetof(struct packet_stack, member) - offsetof(struct packet_stack, first),           \
		       #member " is where a row has it")
SAME(seq, ack, seq, ack);
SAME(ltsval, rtsval, tsval, tsecr);
SAME(flags, win, flags, win);
SAME(flags, ipid, flags, ipid);
SAME(flags, csum, flags, csum);
SAME(icmp_id, icmp_seq, icmp_id, icmp_seq);
SAME(slow.opts, slow.flow, opts, flow);
SAME(slow.mss, slow.urg, mss, urg);
SAME(slow.mss, slow.ttl, mss, ttl);
SAME(slow.mss, slow.tos, mss, tos);
SAME(slow.mss, slow.ws, mss, ws);
SAME(slow.mss, slow.rare, mss, sacks);
SAME(slow.icmp_type, slow.icmp_code, icmp_type, icmp_code);

/* Members without a set bit are 0 in the packet too, so those that share a place are or-ed. */
static inline void fill_row(struct row *row, const struct packet *p, int64_t wall, uint32_t key, bool out)
{
	const struct packet_stack *s = &p->outer;
	const unsigned turn = out ? 0 : 32;
	uint64_t clocks = load64(&s->tsval);
	uint32_t echo;
	uint16_t icmp;

	memcpy(&echo, &s->icmp_id, 4);
	memcpy(&icmp, &s->icmp_type, 2);
	row->wall = wall;
	put64((uint8_t *)&row->key_marks, key | p->marks << FLOW_KEY_BITS | (uint64_t)p->len << 32);
	put64((uint8_t *)&row->seq, load64(&s->seq));
	put64((uint8_t *)&row->ltsval, clocks << turn | clocks >> (-turn & 63));
	put64((uint8_t *)&row->flags, load64(&s->flags) | echo);
	row->slow.has = p->has[0] & ROW_FIELDS;
	put64((uint8_t *)&row->slow.opts, load64(&s->opts) | (uint64_t)s->frag << 32);
	put64((uint8_t *)&row->slow.mss, (load64(&s->mss) & UINT64_MAX >> 8) | icmp);
}
_Static_assert(offsetof(struct row, key_marks) == 8 && offsetof(struct row, len) == 12, "key, marks, len are 8 bytes");

/*
 * A key between the stages, of one packet or of several: those of one conversation come in trains, so the packet
 * before, of the same side, often has the same one. The first stage makes key and hash, the second all that a row has
 * of it.
 */
struct head {
	_Alignas(64) struct packet_key key;
	uint32_t hash;
	uint32_t number;
	uint32_t turn; /* 32: the clocks change places */
	bool out;
	uint64_t side; /* ROW_BIT(SIDE) or 0 */
};

/* Some packets on their way through the stages. */
struct some {
	struct head head[SIDES + SOME]; /* first those that the packets before these ended with */
	uint32_t heads;
	uint8_t head_of[SOME];
	uint32_t general;	      /* a bit for each that flow_fast.h does not know */
	struct packet packet[SOME];   /* those */
	struct flow_last last[SIDES]; /* of each side: a packet of the key before */
	uint8_t last_head[SIDES];     /* and this key */
};

/* The key of packet i, which flow_fast.h does not know. */
static __attribute__((noinline)) void general_head(struct some *s, uint32_t i, const struct rec_head *h,
						   const uint8_t *b)
{
	s->general |= 1u << i;
	s->head_of[i] = (uint8_t)s->heads;
	packet_decode(&s->packet[i], h, b);
	s->head[s->heads].key = s->packet[i].outer.key;
}

/* Row and key of a packet that is not as the one before. False: flow_fast.h does not know it. */
static inline bool fast_head(struct some *s, struct row *row, const struct rec_head *h, const uint8_t *b,
			     int64_t offset)
{
	struct flow_last is = {.shape = flow_fast_shape(h, b), .bytes = b, .cap = h->cap_len};

	if (!is.shape)
		return false;
	is.addresses = fast_addresses_sum(is.shape, b);
	if (!flow_fast_row(row, &is, h, b, offset))
		return false;
	s->last[h->side != 0] = is;
	flow_fast_key(&s->head[s->heads].key, is.shape, b, h->side);
	return true;
}

/*
 * The first stage: rows of the packets that flow_fast.h knows, keys, hashes. Records are one to three cache lines
 * somewhere in a ring; nearly all end in the second.
 */
static inline void decode_some(struct flow_maker *m, struct some *s, const struct rec_head **records, struct row *row,
			       uint32_t n, uint32_t left, int64_t offset)
{
	s->heads = SIDES;
	s->general = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct rec_head *h = records[i];
		const unsigned side = h->side != 0;
		const uint8_t *b = record_bytes(h);
		struct head *head = &s->head[s->heads];

		if (i + AHEAD < left) {
			__builtin_prefetch(records[i + AHEAD]);
			__builtin_prefetch((const uint8_t *)records[i + AHEAD] + 64);
		}
		if (flow_fast_same(&s->last[side], h, b)) {
			if (__builtin_expect(flow_fast_row(&row[i], &s->last[side], h, b, offset), 1)) {
				s->head_of[i] = s->last_head[side];
				continue;
			}
			general_head(s, i, h, b);
		} else if (!m->plain && fast_head(s, &row[i], h, b, offset)) {
			s->last_head[side] = (uint8_t)s->heads;
			s->head_of[i] = (uint8_t)s->heads;
		} else {
			general_head(s, i, h, b);
		}
		s->heads++;
		head->hash = hash_key(m, &head->key);
		__builtin_prefetch(&m->table[place_first(head->hash) & m->mask]);
	}
}

/* The second stage: which keys they are. 0 or -ENOMEM. */
static inline int find_some(struct flow_maker *m, struct some *s, const struct ends_table *ends)
{
	for (uint32_t i = SIDES; i < s->heads; i++) {
		struct head *head = &s->head[i];
		int k = find_key(m, &head->key, ends, head->hash);

		if (__builtin_expect(k < 0, 0))
			return k;
		head->number = (uint32_t)k;
		head->out = m->out[k];
		head->turn = head->out ? 0 : 32;
		head->side = (uint64_t)(head->out ^ head->key.side) << PKT_SIDE;
	}
	return 0;
}

static inline int general_row(struct flow_maker *m, struct packet *p, uint32_t row, int64_t offset,
			      const struct head *head)
{
	p->has[0] |= head->side;
	fill_row(&m->row[row], p, (int64_t)p->time + offset, head->number, head->out);
	if (((p->has[0] & ~ROW_FIELDS) | p->has[1] | p->has[2] | p->has[3]) == 0)
		return 0;
	return flow_add_rare(m, p, row, head->out);
}

/* The third stage: what only the key tells of a row; nothing in it asks. Then the rows that are not yet filled. */
static inline int finish_some(struct flow_maker *m, struct some *s, uint32_t first, uint32_t n, int64_t offset)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct head *head = &s->head[s->head_of[i]];
		struct row *row = &m->row[first + i];
		uint64_t clocks = load64(&row->ltsval);

		row->key_marks |= head->number;
		put64((uint8_t *)&row->ltsval, clocks << head->turn | clocks >> (-head->turn & 63));
		row->slow.has |= head->side;
		m->number[first + i] = head->number;
		m->start[head->number]++;
	}
	for (uint32_t left = s->general; left; left &= left - 1) {
		const unsigned i = (unsigned)__builtin_ctz(left);

		if (general_row(m, &s->packet[i], first + i, offset, &s->head[s->head_of[i]]) < 0)
			return -ENOMEM;
	}
	for (unsigned side = 0; side < SIDES; side++) {
		s->head[side] = s->head[s->last_head[side]];
		s->last_head[side] = (uint8_t)side;
	}
	return 0;
}

/*
 * Packet by packet through one stage after the other, SOME at a time: what decode wrote in small pieces is read in
 * large ones, which waits for the writes to leave the store buffer; and the table's lines are under way while other
 * keys are hashed.
 */
static inline int make_rows(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	const int64_t offset = clock_pair_offset(&batch->pair);
	const uint32_t rows = batch->nrecords;
	struct some some;

	memset(some.head, 0, SIDES * sizeof(*some.head));
	for (unsigned side = 0; side < SIDES; side++) {
		some.last[side] = (struct flow_last){.cap = FLOW_NO_CAP};
		some.last_head[side] = (uint8_t)side;
	}
	for (uint32_t first = 0, n; first < rows; first += n) {
		int r;

		n = rows - first < SOME ? rows - first : SOME;
		decode_some(m, &some, batch->records + first, m->row + first, n, rows - first, offset);
		r = find_some(m, &some, ends);
		if (r == 0)
			r = finish_some(m, &some, first, n, offset);
		if (r < 0)
			return r;
	}
	return 0;
}
_Static_assert(REC_RX == 0 && REC_TX == 1, "the side is 1 where `out` implies it");
