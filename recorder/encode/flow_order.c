/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_order.c - the order of the keys, then of the packets.
 *
 * A key's text is sorted SORT_BYTES bytes at a time: these and the key's number are one integer, so that a step moves 8
 * bytes for each key; keys that are equal so far are sorted by the next bytes. A step sorts by the bytes that differ
 * only, and where none differs it is left out.
 */
#include "recorder/encode/flow_internal.h"

#include <string.h>

#include "recorder/core/util.h"

#define INSERTION_MOST 24u

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
	*t++ = k->family;
	memcpy(t, local, n);
	memcpy(t + n, remote, n);
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

/* By the bytes of which a bit is set in `differ`, the lowest first. */
static void radix(uint64_t *a, uint64_t *spare, uint32_t n, uint64_t differ)
{
	uint64_t *from = a, *to = spare, *other;

	for (unsigned shift = 16; shift < 64; shift += 8) {
		uint32_t at[256] = {0}, sum = 0;

		if (!(differ >> shift & 0xff))
			continue;
		for (uint32_t i = 0; i < n; i++)
			at[from[i] >> shift & 0xff]++;
		for (unsigned d = 0; d < 256; d++) {
			uint32_t count = at[d];

			at[d] = sum;
			sum += count;
		}
		for (uint32_t i = 0; i < n; i++)
			to[at[from[i] >> shift & 0xff]++] = from[i];
		other = from;
		from = to;
		to = other;
	}
	if (from != a)
		memcpy(a, from, n * sizeof(*a));
}

/* Sorts the n keys whose numbers stand in a, and whose texts are equal before this step. */
static void sort(const struct flow_maker *m, uint64_t *a, uint64_t *spare, uint32_t n, unsigned step)
{
	uint64_t differ = 0;

	for (; step < SORT_STEPS && !differ; step++) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t k = a[i] & 0xffff;

			a[i] = (get_be64(m->text[k].bytes + SORT_BYTES * step) & ~0xffffull) | k;
			differ |= a[i] ^ a[0];
		}
		differ &= ~0xffffull;
	}
	if (!differ)
		return;
	if (n <= INSERTION_MOST)
		insertion(a, n);
	else
		radix(a, spare, n, differ);
	for (uint32_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && a[j] >> 16 == a[i] >> 16; j++)
			;
		if (j - i > 1)
			sort(m, a + i, spare + i, j - i, step);
	}
}

void flow_order(struct flow_maker *m, uint32_t rows)
{
	uint32_t at = 0;

	for (uint32_t k = 0; k < m->keys; k++) {
		sort_text(m->text[k].bytes, &m->key[k], m->out[k]);
		m->sort[k] = k;
	}
	sort(m, m->sort, m->spare, m->keys, 0);
	for (uint32_t i = 0; i < m->keys; i++) {
		uint32_t *start = &m->start[m->sort[i] & 0xffff], count = *start;

		*start = at;
		at += count;
	}
	for (uint32_t i = 0; i < rows; i++)
		m->order[m->start[m->number[i]]++] = i;
}
