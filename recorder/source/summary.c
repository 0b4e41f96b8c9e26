/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/source/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int append(struct summaries *s, const struct rec_flood *e)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct rec_flood *row = realloc(s->row, room * sizeof(*row));

		if (!row)
			return -ENOMEM;
		s->row = row;
		s->room = room;
	}
	s->row[s->count++] = *e;
	return 0;
}

static int add_sets(struct summaries *s, const uint8_t *at, uint32_t sets, uint32_t epoch)
{
	const struct rec_flood_set *head = (const void *)at;
	const struct rec_flood *entry = (const void *)(at + sets * sizeof(*head));

	for (uint32_t i = 0; i < sets; i++) {
		if (head[i].epoch != epoch)
			continue;
		for (uint32_t k = 0; k < head[i].used && k < REC_FLOOD_WAYS; k++) {
			int r = append(s, &entry[i * REC_FLOOD_WAYS + k]);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int summaries_add(struct summaries *s, const struct rec_ring *ring, uint32_t ring_size, uint32_t epoch)
{
	const uint8_t *at = (const uint8_t *)ring + REC_TABLE_AT((size_t)ring_size, epoch);
	const uint32_t flows = REC_FLOW_SETS(ring_size), prefixes = REC_PREFIX_SETS(ring_size);
	const struct rec_flood *protocol;
	int r;

	r = add_sets(s, at, flows, epoch);
	at += REC_SETS_LEN(flows);
	if (r == 0)
		r = add_sets(s, at, prefixes, epoch);
	protocol = (const void *)(at + REC_SETS_LEN(prefixes));
	for (uint32_t i = 0; r == 0 && i < REC_PROTOCOLS; i++)
		if (protocol[i].packets && protocol[i].epoch == epoch)
			r = append(s, &protocol[i]);
	return r;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct rec_flood_key));
}

static void add_up(struct rec_flood *to, const struct rec_flood *e)
{
	to->packets += e->packets;
	to->bytes += e->bytes;
	to->first = e->first < to->first ? e->first : to->first;
	to->last = e->last > to->last ? e->last : to->last;
	to->len_min = e->len_min < to->len_min ? e->len_min : to->len_min;
	to->len_max = e->len_max > to->len_max ? e->len_max : to->len_max;
	to->marks |= e->marks;
	to->why |= e->why;
	to->flags_any |= e->flags_any;
	to->flags_all &= e->flags_all;
}

void summaries_merge(struct summaries *s)
{
	size_t n = 0;

	if (!s->count)
		return;
	qsort(s->row, s->count, sizeof(*s->row), by_key);
	for (size_t i = 1; i < s->count; i++)
		if (by_key(&s->row[n], &s->row[i]) == 0)
			add_up(&s->row[n], &s->row[i]);
		else
			s->row[++n] = s->row[i];
	s->count = n + 1;
}

void summaries_free(struct summaries *s)
{
	free(s->row);
	*s = (struct summaries){0};
}
