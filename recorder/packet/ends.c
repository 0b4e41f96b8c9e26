/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ends.c - membership in sets of addresses. A set is a sorted array of disjoint ranges, so that overlapping networks
 * cost nothing and an address is found by halving; own addresses are ranges of one. IPv4 and MAC addresses are numbers
 * of 64 bits, IPv6 addresses of 128.
 */
#include "recorder/packet/ends.h"

#include <string.h>

#include "recorder/core/util.h"

typedef unsigned __int128 u128;

struct range64 {
	uint64_t from, to; /* inclusive */
};
struct range128 {
	u128 from, to;
};

struct ends_table {
	struct range64 *own4, *home4, *macs;
	struct range128 *own6, *home6;
	size_t nown4, nhome4, nmacs, nown6, nhome6;
};

static inline uint64_t mac_number(const uint8_t *a)
{
	return (uint64_t)get_be16(a) << 32 | get_be32(a + 2);
}

static inline u128 ipv6_number(const uint8_t *a)
{
	return (u128)get_be64(a) << 64 | get_be64(a + 8);
}

/* The last range that begins at or before `value` holds it, or none does. */
#define DEFINE_SET(type, number)                                                                                       \
	static int compare_##type(const void *a, const void *b)                                                        \
	{                                                                                                              \
		const struct type *x = a, *y = b;                                                                      \
                                                                                                                       \
		return x->from < y->from ? -1 : x->from > y->from;                                                     \
	}                                                                                                              \
	static size_t make_##type(struct type *set, size_t n)                                                          \
	{                                                                                                              \
		size_t last = 0;                                                                                       \
                                                                                                                       \
		if (!n)                                                                                                \
			return 0;                                                                                      \
		qsort(set, n, sizeof(*set), compare_##type);                                                           \
		for (size_t i = 1; i < n; i++) {                                                                       \
			if (set[i].from > set[last].to)                                                                \
				set[++last] = set[i];                                                                  \
			else if (set[i].to > set[last].to)                                                             \
				set[last].to = set[i].to;                                                              \
		}                                                                                                      \
		return last + 1;                                                                                       \
	}                                                                                                              \
	static inline bool in_##type(const struct type *set, size_t n, number value)                                   \
	{                                                                                                              \
		const struct type *base = set;                                                                         \
                                                                                                                       \
		if (!n)                                                                                                \
			return false;                                                                                  \
		while (n > 1) {                                                                                        \
			size_t half = n / 2;                                                                           \
                                                                                                                       \
			base = base[half].from <= value ? base + half : base;                                          \
			n -= half;                                                                                     \
		}                                                                                                      \
		return base->from <= value && value <= base->to;                                                       \
	}
DEFINE_SET(range64, uint64_t)
DEFINE_SET(range128, u128)

static void add(struct range64 *four, size_t *nfour, struct range128 *six, size_t *nsix, const struct ends_network *net,
		unsigned prefix)
{
	if (net->family == 4) {
		uint32_t mask = prefix >= 32 ? 0 : UINT32_MAX >> prefix;
		uint32_t number = get_be32(net->address) & ~mask;

		four[(*nfour)++] = (struct range64){number, number | mask};
	} else if (net->family == 6) {
		u128 mask = prefix >= 128 ? 0 : ~(u128)0 >> prefix;
		u128 number = ipv6_number(net->address) & ~mask;

		six[(*nsix)++] = (struct range128){number, number | mask};
	}
}

struct ends_table *ends_table_new(const struct ends_network *own, size_t owns, const uint8_t (*macs)[6], size_t nmacs,
				  const struct ends_network *home, size_t homes)
{
	struct ends_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	/* One more than needed: calloc(0) may give NULL. */
	t->own4 = calloc(owns + 1, sizeof(*t->own4));
	t->own6 = calloc(owns + 1, sizeof(*t->own6));
	t->home4 = calloc(homes + 1, sizeof(*t->home4));
	t->home6 = calloc(homes + 1, sizeof(*t->home6));
	t->macs = calloc(nmacs + 1, sizeof(*t->macs));
	if (!t->own4 || !t->own6 || !t->home4 || !t->home6 || !t->macs) {
		ends_table_free(t);
		return NULL;
	}
	for (size_t i = 0; i < owns; i++)
		add(t->own4, &t->nown4, t->own6, &t->nown6, &own[i], 128);
	for (size_t i = 0; i < homes; i++)
		add(t->home4, &t->nhome4, t->home6, &t->nhome6, &home[i], home[i].prefix);
	for (size_t i = 0; i < nmacs; i++)
		t->macs[i] = (struct range64){mac_number(macs[i]), mac_number(macs[i])};
	t->nown4 = make_range64(t->own4, t->nown4);
	t->nhome4 = make_range64(t->home4, t->nhome4);
	t->nown6 = make_range128(t->own6, t->nown6);
	t->nhome6 = make_range128(t->home6, t->nhome6);
	t->nmacs = make_range64(t->macs, nmacs);
	return t;
}

void ends_table_free(struct ends_table *t)
{
	if (!t)
		return;
	free(t->own4);
	free(t->own6);
	free(t->home4);
	free(t->home6);
	free(t->macs);
	free(t);
}

/* The last two rules. */
static bool lower_is_source(const struct packet_key *k, int address_order)
{
	if (address_order)
		return address_order < 0;
	if (k->sport != k->dport)
		return k->sport < k->dport;
	/* Nothing tells the ends apart: what we sent was sent by the local end. */
	return k->side == REC_TX;
}

bool ends_key_is_local(const struct ends_table *t, const struct packet_key *k)
{
	bool source, destination;

	if (k->family == 4) {
		uint32_t src = get_be32(k->src), dst = get_be32(k->dst);

		if (dst >> 28 == 14 || dst == UINT32_MAX)
			return true;
		source = in_range64(t->own4, t->nown4, src);
		destination = in_range64(t->own4, t->nown4, dst);
		if (source != destination)
			return source;
		source = in_range64(t->home4, t->nhome4, src);
		destination = in_range64(t->home4, t->nhome4, dst);
		if (source != destination)
			return source;
		return lower_is_source(k, src < dst ? -1 : src > dst);
	}
	if (k->family == 6) {
		u128 src = ipv6_number(k->src), dst = ipv6_number(k->dst);

		if (k->dst[0] == 0xff)
			return true;
		source = in_range128(t->own6, t->nown6, src);
		destination = in_range128(t->own6, t->nown6, dst);
		if (source != destination)
			return source;
		source = in_range128(t->home6, t->nhome6, src);
		destination = in_range128(t->home6, t->nhome6, dst);
		if (source != destination)
			return source;
		return lower_is_source(k, src < dst ? -1 : src > dst);
	}
	/* No addresses: the MACs, of which there are no networks. A frame too short for them has zeros. */
	if (k->dmac[0] & 1)
		return true;
	source = in_range64(t->macs, t->nmacs, mac_number(k->smac));
	destination = in_range64(t->macs, t->nmacs, mac_number(k->dmac));
	if (source != destination)
		return source;
	return lower_is_source(k, memcmp(k->smac, k->dmac, 6));
}

static bool same64(const struct range64 *a, size_t na, const struct range64 *b, size_t nb)
{
	return na == nb && memcmp(a, b, na * sizeof(*a)) == 0;
}

static bool same128(const struct range128 *a, size_t na, const struct range128 *b, size_t nb)
{
	return na == nb && memcmp(a, b, na * sizeof(*a)) == 0;
}

bool ends_table_equal(const struct ends_table *a, const struct ends_table *b)
{
	return same64(a->own4, a->nown4, b->own4, b->nown4) && same64(a->home4, a->nhome4, b->home4, b->nhome4) &&
	       same64(a->macs, a->nmacs, b->macs, b->nmacs) && same128(a->own6, a->nown6, b->own6, b->nown6) &&
	       same128(a->home6, a->nhome6, b->home6, b->nhome6);
}
