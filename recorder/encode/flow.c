/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow.c - the maker's memory, and what it makes of a batch: rows and keys (flow_kernel.h), in flow order
 * (flow_order.c). */
#include "recorder/encode/flow_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "recorder/encode/column.h"

#define ROWS_MIN 4096u
#define TABLE_MIN 1024u
#define ROWS_LARGE 65536u /* more memory than for so many is given back after SMALL_MOST small batches */
#define SMALL_MOST 16u

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
int flow_reserve_table(struct flow_maker *m, uint32_t keys)
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

static int (*const rows_of[])(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends) = {
	[COLUMN_SSE2] = flow_rows_sse2,
	[COLUMN_AVX2] = flow_rows_avx2,
	[COLUMN_AVX512] = flow_rows_avx512,
};

int flow_make(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends, struct flow *flow)
{
	int r;

	if (batch->nrecords > FLOW_MOST)
		return -E2BIG;
	release_unused(m, batch->nrecords);
	r = reserve_rows(m, batch->nrecords ? batch->nrecords : 1);
	if (r == 0)
		r = flow_reserve_table(m, m->keys);
	if (r < 0)
		return r;
	m->keys = m->rares = m->addresses = 0;
	m->text_block = m->texts;
	m->text_used = 0;
	r = rows_of[column_level()](m, batch, ends);
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
