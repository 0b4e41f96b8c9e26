/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_order.c - the order of the keys, then of the packets.
 *
 * A key's text is sorted 6 bytes at a time, with more than 65,536 keys 5: these and the key's number are one integer,
 * so that a step moves 8 bytes for each key; keys that are equal so far are sorted by the next bytes. A step looks at
 * bits that differ only, and where none differs it is left out. Families are apart from the begin, so that little
 * differs within one: 10.0.0.0/8 has no first byte.
 */
#include "recorder/encode/flow_internal.h"

#include <string.h>

#include "recorder/core/util.h"

#define INSERTION_MOST 24u
#define WIDE_LEAST 2048u /* keys from which on digits of 11 bits are faster than those of 8 */

static void sort_text(uint8_t *t, const struct packet_key *k, bool out)
{
	const uint8_t *local, *remote;
	unsigned n = k->family == 4 ? 4 : k->family == 6 ? 16 : 6;

	if (k->family) {
		local = out ? k->src : k->dst;
		remote = out ? k->dst : k->src;
	} else {
		local = out ? k->smac : k->dmac;
		remote = out ? k->dmac : k->smac;
	}
	memset(t, 0, 64);
	/* 16 bytes whatever n is: what is too much is within the key, and written over. */
	memcpy(t, local, 16);
	memcpy(t + n, remote, 16);
	t += 2 * n;
	t[0] = k->proto;
	put_be16(t + 1, out ? k->sport : k->dport);
	put_be16(t + 3, out ? k->dport : k->sport);
	t[5] = !out;
	t[6] = k->tags;
	put_be16(t + 7, k->etype);
	put_be16(t + 9, k->vlan);
	put_be16(t + 11, k->vlan2);
	t[13] = k->side;
	memcpy(t + 14, out ? k->smac : k->dmac, 6);
	memcpy(t + 20, out ? k->dmac : k->smac, 6);
}

static void insertion(uint64_t *a, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint64_t v = a[i];
		uint32_t j = i;

		for (; j && a[j - 1] > v; j--)
			a[j] = a[j - 1];
		a[j] = v;
	}
}

/* By the bits from the lowest one that is set in `differ` up, in digits that begin at such a bit. */
static void radix(uint64_t *a, uint64_t *spare, uint32_t n, uint64_t differ)
{
	const unsigned width = n < WIDE_LEAST ? 8 : 11;
	uint64_t *from = a, *to = spare, *other;

	while (differ) {
		const unsigned shift = (unsigned)__builtin_ctzll(differ), mask = (1u << width) - 1;
		uint32_t at[1u << 11], sum = 0;

		memset(at, 0, sizeof(*at) << width);
		for (uint32_t i = 0; i < n; i++)
			at[from[i] >> shift & mask]++;
		for (unsigned d = 0; d <= mask; d++) {
			uint32_t count = at[d];

			at[d] = sum;
			sum += count;
		}
		for (uint32_t i = 0; i < n; i++)
			to[at[from[i] >> shift & mask]++] = from[i];
		other = from;
		from = to;
		to = other;
		differ &= ~((uint64_t)mask << shift);
	}
	if (from != a)
		memcpy(a, from, n * sizeof(*a));
}

/* Sorts the n keys whose numbers, of `bits` bits, stand in a, and whose texts are equal before `at`. */
static void sort(const struct flow_maker *m, uint64_t *a, uint64_t *spare, uint32_t n, unsigned bits, unsigned at)
{
	const uint64_t number = (1ull << bits) - 1;
	uint64_t differ = 0;

	for (; at < SORT_TEXT && !differ; at += 8 - bits / 8) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = a[i] & number;

			a[i] = (get_be64(m->text[k].bytes + at) & ~number) | k;
			differ |= a[i] ^ a[0];
		}
		differ &= ~number;
	}
	if (!differ)
		return;
	if (n <= INSERTION_MOST)
		insertion(a, n);
	else
		radix(a, spare, n, differ);
	for (uint32_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && a[j] >> bits == a[i] >> bits; j++)
			;
		if (j - i > 1)
			sort(m, a + i, spare + i, j - i, bits, at);
	}
}

/* A family is 0, 4 or 6. */
void flow_order(struct flow_maker *m, uint32_t rows)
{
	const unsigned bits = m->keys > 65536 ? 24 : 16;
	uint32_t family[4] = {0}, first[4] = {0}, at = 0;

	for (uint32_t k = 0; k < m->keys; k++)
		family[m->key[k].family / 2]++;
	for (unsigned i = 1; i < 4; i++)
		first[i] = first[i - 1] + family[i - 1];
	for (uint32_t k = 0; k < m->keys; k++) {
		sort_text(m->text[k].bytes, &m->key[k], m->out[k]);
		m->sort[first[m->key[k].family / 2]++] = k;
	}
	for (unsigned i = 0; i < 4; i++)
		sort(m, m->sort + first[i] - family[i], m->spare, family[i], bits, 0);
	for (uint32_t i = 0; i < m->keys; i++) {
		uint32_t *start = &m->start[m->sort[i] & ((1u << bits) - 1)], count = *start;

		*start = at;
		at += count;
	}
	for (uint32_t i = 0; i < rows; i++)
		m->order[m->start[m->number[i]]++] = i;
}
