/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow.c - records to rows and distinct keys.
 *
 * Keys get their numbers in the order of their first packets, and are sorted by their bytes: nothing that the caller sees
 * depends on the hash, whose seed is random because what is hashed comes from the network. The table holds 16 more bits of
 * the hash beside the number, so nearly always one key is compared for each packet, and its line is the one that is needed.
 */
#include "recorder/encode/flow_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "recorder/core/util.h"

#define ROWS_MIN 4096u
#define TABLE_MIN 1024u
#define AHEAD 8u /* records are fetched so far ahead */

/* FLAGS, MSS and ICMP_* are of different protocols; FRAG beside FLOW brings FRAGID, which is rare: flow_add_rare. */
_Static_assert(!(ROW_FIELDS & ROW_BIT(FRAGID)), "a FRAG beside FLOW is found by it");

struct flow_maker *flow_maker_new(void)
{
	struct flow_maker *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
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

/* Room for `rows` rows; what was there is lost. */
static int reserve_rows(struct flow_maker *m, uint32_t rows)
{
	const size_t each = sizeof(*m->row) + sizeof(*m->key) + sizeof(*m->text) + sizeof(*m->sort) + sizeof(*m->spare) +
			    sizeof(*m->order) + sizeof(*m->first_rare) + sizeof(*m->hash) + sizeof(*m->start) +
			    sizeof(*m->number) + sizeof(*m->out);
	uint32_t cap = ROWS_MIN;
	uint8_t *at;

	if (rows <= m->cap)
		return 0;
	while (cap < rows)
		cap *= 2;
	free(m->memory);
	m->cap = 0;
	m->memory = at = aligned_alloc(64, each * cap); /* cap is a multiple of 64, so each array's first member is aligned */
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

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t hash_key(const uint64_t seed[8], const struct packet_key *key)
{
	uint64_t w[8], h;

	memcpy(w, key, sizeof(w));
	h = fold(w[0] ^ seed[0], w[1] ^ seed[1]) + fold(w[2] ^ seed[2], w[3] ^ seed[3]) +
	    fold(w[4] ^ seed[4], w[5] ^ seed[5]) + fold(w[6] ^ seed[6], w[7] ^ seed[7]);
	return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

typedef long long v2di __attribute__((vector_size(16), aligned(16)));

static inline bool same_key(const struct packet_key *a, const struct packet_key *b)
{
	const v2di *x = __builtin_assume_aligned(a, 64), *y = __builtin_assume_aligned(b, 64);
	v2di d = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);

	return !(d[0] | d[1]);
}

/* A place holds the hash's upper 16 bits, made odd, and the number; the index is of the lower bits and the upper ones. */
static inline uint32_t place_tag(uint32_t hash)
{
	return (hash & 0xffff0000u) | 0x10000u;
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

static __attribute__((noinline)) int add_key(struct flow_maker *m, const struct packet *p, const struct ends_table *ends,
					     uint32_t hash, uint32_t place)
{
	uint32_t k = m->keys++;

	m->key[k] = p->outer.key;
	m->out[k] = ends_source_is_local(ends, p); /* of the key alone: addresses, ports, side, MACs */
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
static inline int find_key(struct flow_maker *m, const struct packet *p, const struct ends_table *ends)
{
	uint32_t hash = hash_key(m->seed, &p->outer.key), tag = place_tag(hash), i = place_first(hash), place;

	for (;; i++) {
		i &= m->mask;
		place = m->table[i];
		if (!place)
			return add_key(m, p, ends, hash, i);
		if ((place & 0xffff0000u) == tag && same_key(&m->key[place & 0xffff], &p->outer.key))
			return (int)(place & 0xffff);
	}
}

/* Members without a set bit are 0 in the packet too, so those that share a place are or-ed. */
static inline void fill_row(struct row *row, const struct packet *p, int64_t wall, uint16_t key, bool out)
{
	const struct packet_stack *s = &p->outer;

	row->wall = wall;
	row->key = key;
	row->marks = p->marks;
	row->len = p->len;
	row->seq = s->seq;
	row->ack = s->ack;
	row->ltsval = out ? s->tsval : s->tsecr;
	row->rtsval = out ? s->tsecr : s->tsval;
	row->flags = s->flags | s->icmp_id;
	row->win = s->win | s->icmp_seq;
	row->ipid = s->ipid;
	row->csum = s->csum;
	row->slow.has = p->has[0] & ROW_FIELDS;
	row->slow.opts = s->opts;
	row->slow.flow = s->flow | s->frag;
	row->slow.icmp_type = (uint8_t)(s->mss | s->icmp_type);
	row->slow.icmp_code = (uint8_t)(s->mss >> 8 | s->icmp_code);
	row->slow.urg = s->urg;
	row->slow.ttl = s->ttl;
	row->slow.tos = s->tos;
	row->slow.ws = s->ws;
	row->slow.rare = 0;
}

static int make_rows(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	const int64_t offset = clock_pair_offset(&batch->pair);
	const uint32_t rows = batch->nrecords;
	_Alignas(64) struct packet p;

	for (uint32_t i = 0; i < rows; i++) {
		const struct rec_head *head = batch->records[i];
		int k;

		if (i + AHEAD < rows) { /* one to three cache lines somewhere in a ring; nearly all end in the second */
			__builtin_prefetch(batch->records[i + AHEAD]);
			__builtin_prefetch((const uint8_t *)batch->records[i + AHEAD] + 64);
		}
		packet_decode(&p, head, record_bytes(head));
		k = find_key(m, &p, ends);
		if (__builtin_expect(k < 0, 0))
			return k;
		p.has[0] |= (uint64_t)(m->out[k] ^ p.outer.key.side) << PKT_SIDE;
		m->number[i] = (uint16_t)k;
		m->start[k]++;
		fill_row(&m->row[i], &p, (int64_t)head->time + offset, (uint16_t)k, m->out[k]);
		if (__builtin_expect(((p.has[0] & ~ROW_FIELDS) | p.has[1] | p.has[2] | p.has[3]) != 0, 0) &&
		    flow_add_rare(m, &p, i, m->out[k]) < 0)
			return -ENOMEM;
	}
	return 0;
}
_Static_assert(REC_RX == 0 && REC_TX == 1, "the side is 1 where `out` implies it");

int flow_make(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends, struct flow *flow)
{
	int r;

	if (batch->nrecords > FLOW_MOST)
		return -E2BIG;
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
