/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow.c - records to rows and distinct keys.
 *
 * Keys get their numbers in the order of their first packets, and are sorted by their bytes: nothing that the caller
 * sees depends on the hash, whose seed is random because what is hashed comes from the network. The table holds 11 more
 * bits of the hash beside the number, so nearly always one key is compared for each packet, and its line is the one
 * that is needed.
 */
#include "recorder/encode/flow_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "recorder/core/util.h"
#include "recorder/encode/bytes.h"
#include "recorder/encode/flow_fast.h"

#define ROWS_MIN 4096u
#define TABLE_MIN 1024u
#define ROWS_LARGE 65536u /* more memory than for so many is given back after SMALL_MOST small batches */
#define SMALL_MOST 16u
#define AHEAD 8u /* records are fetched so far ahead */
#define SOME 8u	 /* packets that are decoded before the first of them is looked up */

/* FLAGS, MSS and ICMP_* are of different protocols; FRAG beside FLOW brings FRAGID, which is rare: flow_add_rare. */
_Static_assert(!(ROW_FIELDS & ROW_BIT(FRAGID)), "a FRAG beside FLOW is found by it");

struct flow_maker *flow_maker_new(void)
{
	struct flow_maker *m = aligned_alloc(64, sizeof(*m));

	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
	if (getrandom(m->seed, sizeof(m->seed), 0) != sizeof(m->seed)) {
		free(m);
		return NULL;
	}
	return m;
}

void flow_maker_free(struct flow_maker *m)
{
	if (!m)
		return;
	while (m->texts) {
		struct flow_texts *next = m->texts->next;

		free(m->texts);
		m->texts = next;
	}
	free(m->memory);
	free(m->table);
	free(m->rare);
	free(m->address);
	free(m);
}

/*
 * Gives memory back that a burst wanted and nobody wants now. Not at once: to have it from the system again costs its
 * pages anew.
 */
static void release_unused(struct flow_maker *m, uint32_t rows)
{
	m->small = m->cap > ROWS_LARGE && rows <= m->cap / 4 ? m->small + 1 : 0;
	if (m->small < SMALL_MOST)
		return;
	free(m->memory);
	free(m->table);
	m->memory = m->table = NULL;
	m->cap = m->table_cap = m->keys = m->small = 0;
}

/* Room for `rows` rows; what was there is lost. */
static int reserve_rows(struct flow_maker *m, uint32_t rows)
{
	const size_t each = sizeof(*m->row) + sizeof(*m->key) + sizeof(*m->text) + sizeof(*m->sort) +
			    sizeof(*m->spare) + sizeof(*m->order) + sizeof(*m->first_rare) + sizeof(*m->hash) +
			    sizeof(*m->start) + sizeof(*m->number) + sizeof(*m->out);
	uint32_t cap = ROWS_MIN;
	uint8_t *at;

	if (rows <= m->cap)
		return 0;
	while (cap < rows)
		cap *= 2;
	free(m->memory);
	m->cap = 0;
	m->memory = at =
		aligned_alloc(64, each * cap); /* cap is a multiple of 64, so each array's first member is aligned */
	if (!at)
		return -ENOMEM;
#define CARVE(array) (m->array = (void *)at, at += sizeof(*m->array) * cap)
	CARVE(row);
	CARVE(key);
	CARVE(text);
	CARVE(sort);
	CARVE(spare);
	CARVE(order);
	CARVE(first_rare);
	CARVE(hash);
	CARVE(start);
	CARVE(number);
	CARVE(out);
	m->cap = cap;
	return 0;
}

/* An empty table for `keys` keys, at most half full. */
static int reserve_table(struct flow_maker *m, uint32_t keys)
{
	uint32_t size = TABLE_MIN;

	while (size < 2 * keys)
		size *= 2;
	if (size > m->table_cap) {
		uint32_t *table = malloc(size * sizeof(*table));

		if (!table)
			return -ENOMEM;
		free(m->table);
		m->table = table;
		m->table_cap = size;
	}
	m->mask = size - 1;
	memset(m->table, 0, size * sizeof(*m->table));
	return 0;
}

typedef uint64_t v2u64 __attribute__((vector_size(16), aligned(16)));
typedef uint32_t v4u32 __attribute__((vector_size(16), aligned(16)));

/* Of the lower halves. */
static inline v2u64 product(v2u64 a, v2u64 b)
{
#ifdef __SSE2__
	return (v2u64)_mm_mul_epu32((__m128i)a, (__m128i)b); /* compilers make three multiplications of what is below */
#else
	const v2u64 low = {UINT32_MAX, UINT32_MAX};

	return (a & low) * (b & low);
#endif
}

/*
 * Each 32-bit word plus its random number, products of pairs, their sum: two keys have the same sum with a probability
 * of 2^-32 (the NH family of universal hash functions, RFC 4418). Then its bits are spread.
 */
static inline uint32_t hash_key(const struct flow_maker *m, const struct packet_key *key)
{
	const v4u32 *w = (const void *)key, *seed = (const void *)m->seed;
	v2u64 sum = {0};

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		v2u64 v = (v2u64)(w[i] + seed[i]);

		sum += product(v, v >> 32);
	}
	return (uint32_t)((sum[0] + sum[1]) * 0x9e3779b97f4a7c15 >> 32);
}

static inline bool same_key(const struct packet_key *a, const struct packet_key *b)
{
	const v2u64 *x = (const void *)a, *y = (const void *)b;
	v2u64 d = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);

	return !(d[0] | d[1]);
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
	int r = reserve_table(m, 2 * m->keys);

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

/* A packet between the two stages. */
struct decoded {
	_Alignas(64) struct packet_key key; /* unless `like` */
	uint32_t hash;
	uint32_t like;		/* the row of an earlier packet that has the same key; NONE */
	struct packet *general; /* NULL: its row is filled but for what the key tells */
};
#define NONE UINT32_MAX

/* The packet before, of each side: those of one conversation come in trains. */
struct last {
	struct flow_fast packet;
	uint32_t row;
};

/*
 * The first stage: rows of the packets that flow_fast.h knows, keys, hashes. Records are one to three cache lines
 * somewhere in a ring; nearly all end in the second.
 */
static inline void decode_some(struct flow_maker *m, struct decoded *d, struct packet *general, struct last *last,
			       const struct rec_head **records, uint32_t first, uint32_t n, uint32_t left,
			       int64_t offset)
{
	for (uint32_t i = 0; i < n; i++, d++) {
		const struct rec_head *h = records[i];
		struct last *l = &last[h->side != 0];
		struct flow_fast f;

		if (i + AHEAD < left) {
			__builtin_prefetch(records[i + AHEAD]);
			__builtin_prefetch((const uint8_t *)records[i + AHEAD] + 64);
		}
		d->like = NONE;
		d->general = NULL;
		if (__builtin_expect(!m->plain && flow_fast_row(&m->row[first + i], &f, h, record_bytes(h), offset),
				     1)) {
			bool same = flow_fast_same(&f, &l->packet);

			l->packet = f;
			if (same) {
				d->like = l->row;
				continue;
			}
			l->row = first + i;
			flow_fast_key(&d->key, &f, h->side);
		} else {
			d->general = &general[i];
			packet_decode(d->general, h, record_bytes(h));
			d->key = d->general->outer.key;
		}
		d->hash = hash_key(m, &d->key);
		__builtin_prefetch(&m->table[place_first(d->hash) & m->mask]);
	}
}

/* What only the key tells of a row that flow_fast.h filled. */
static inline void finish_row(struct row *row, uint32_t key, bool out, bool other)
{
	const unsigned turn = out ? 0 : 32;
	uint64_t clocks = load64(&row->ltsval);

	row->key_marks |= key;
	put64((uint8_t *)&row->ltsval, clocks << turn | clocks >> (-turn & 63));
	row->slow.has |= (uint64_t)other << PKT_SIDE;
}

static inline int general_row(struct flow_maker *m, struct packet *p, uint32_t row, int64_t offset, uint32_t k,
			      bool out)
{
	p->has[0] |= (uint64_t)(out ^ p->outer.key.side) << PKT_SIDE;
	fill_row(&m->row[row], p, (int64_t)p->time + offset, k, out);
	if (((p->has[0] & ~ROW_FIELDS) | p->has[1] | p->has[2] | p->has[3]) == 0)
		return 0;
	return flow_add_rare(m, p, row, out);
}

/*
 * Packet by packet through one stage after the other, SOME at a time: what decode wrote in small pieces is read in
 * large ones, which waits for the writes to leave the store buffer; and the table's lines are under way while other
 * keys are hashed.
 */
static int make_rows(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	const int64_t offset = clock_pair_offset(&batch->pair);
	const uint32_t rows = batch->nrecords;
	struct packet general[SOME];
	struct decoded some[SOME];
	struct last last[2] = {{.row = NONE}, {.row = NONE}}; /* of no shape */

	for (uint32_t first = 0, n; first < rows; first += n) {
		n = rows - first < SOME ? rows - first : SOME;
		decode_some(m, some, general, last, batch->records + first, first, n, rows - first, offset);
		for (uint32_t i = 0; i < n; i++) {
			const struct decoded *d = &some[i];
			const uint32_t row = first + i;
			int k = d->like != NONE ? (int)m->number[d->like] : find_key(m, &d->key, ends, d->hash);
			bool out;

			if (__builtin_expect(k < 0, 0))
				return k;
			out = m->out[k];
			m->number[row] = (uint32_t)k;
			m->start[k]++;
			if (__builtin_expect(!d->general, 1))
				finish_row(&m->row[row], (uint32_t)k, out, out ^ m->key[k].side);
			else if (general_row(m, d->general, row, offset, (uint32_t)k, out) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}
_Static_assert(REC_RX == 0 && REC_TX == 1, "the side is 1 where `out` implies it");

int flow_make(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends, struct flow *flow)
{
	int r;

	if (batch->nrecords > FLOW_MOST)
		return -E2BIG;
	release_unused(m, batch->nrecords);
	r = reserve_rows(m, batch->nrecords ? batch->nrecords : 1);
	if (r == 0)
		r = reserve_table(m, m->keys);
	if (r < 0)
		return r;
	m->keys = m->rares = m->addresses = 0;
	m->text_block = m->texts;
	m->text_used = 0;
	r = make_rows(m, batch, ends);
	if (r < 0)
		return r;
	flow_order(m, batch->nrecords);
	*flow = (struct flow){
		.rows = batch->nrecords,
		.keys = m->keys,
		.rares = m->rares,
		.addresses = m->addresses,
		.row = m->row,
		.order = m->order,
		.key = m->key,
		.out = m->out,
		.rare = m->rare,
		.first_rare = m->first_rare,
		.address = m->address,
	};
	return 0;
}
