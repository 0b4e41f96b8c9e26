/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_internal.h - what the sources of flow share: the maker's memory. */
#ifndef XDP_RECORDER_ENCODE_FLOW_INTERNAL_H
#define XDP_RECORDER_ENCODE_FLOW_INTERNAL_H

#include "recorder/encode/flow.h"

/* Texts of rare fields stay where they are while the list grows: blocks, not one array. */
struct flow_texts {
	struct flow_texts *next;
	char bytes[65536 - sizeof(void *)];
};

/*
 * A key as a string of bytes whose order is the order of the keys of a family: local end, remote end (4, 16 or, without
 * addresses, 6 bytes each: MACs), protocol, ports, direction; then the rest, so that different keys are never equal.
 */
#define SORT_TEXT 60u /* bytes of it, at most; compared 5 or 6 at once, beside the key's number of 24 or 16 bits */
struct sort_text {
	uint8_t bytes[64]; /* the last two steps' loads end within */
};
_Static_assert(2 * 16 + 26 <= SORT_TEXT && SORT_TEXT % 5 == 0 && SORT_TEXT % 6 == 0 && SORT_TEXT - 5 + 8 <= 64,
	       "a key's text is as long as its longest form");
_Static_assert(FLOW_KEY_BITS <= 24, "a key's number beside 5 bytes");

struct flow_maker {
	_Alignas(64) uint32_t seed[16];
	void *memory; /* all arrays of `cap` members below */
	uint32_t cap;
	uint32_t small; /* batches one after the other that needed a quarter of a large `cap`, or less */
	struct row *row;
	struct packet_key *key;
	struct sort_text *text; /* [keys] */
	uint64_t *sort, *spare; /* [keys]: bytes of the text, number of the key */
	uint32_t *order, *first_rare;
	uint32_t *hash;	  /* [keys] */
	uint32_t *start;  /* [keys]: packets of the key, then where the next of them belongs */
	uint32_t *number; /* [rows]: row.key once more: the scatter reads nothing else */
	uint8_t *out;

	uint32_t *table; /* open addressing; 0: free, else upper bits of the hash, never 0, and the key's number */
	uint32_t table_cap, mask;
	uint32_t keys; /* of this batch; at its begin, of the last one */

	struct flow_rare *rare;
	uint32_t rares, rares_cap;
	struct flow_address *address;
	uint32_t addresses, addresses_cap;
	struct flow_texts *texts, *text_block; /* the first, that which is being filled */
	size_t text_used;

	bool plain; /* flow_fast.h is not asked: for tests, which compare */
};

/* An empty table for `keys` keys, at most half full. 0 or -ENOMEM. */
int flow_reserve_table(struct flow_maker *m, uint32_t keys);

/* flow_kernel.h, as each level has it: fills the maker's rows, keys, and lists of what is rare. 0 or -ENOMEM. */
int flow_rows_sse2(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends);
int flow_rows_avx2(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends);
int flow_rows_avx512(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends);

/* flow_rows.c: the fields of packet `row` that its row cannot hold, and its further addresses. 0 or -ENOMEM. */
int flow_add_rare(struct flow_maker *m, struct packet *p, uint32_t row, bool out);

/* flow_order.c: fills m->order[rows] from m->number, key and out. */
void flow_order(struct flow_maker *m, uint32_t rows);

#endif
