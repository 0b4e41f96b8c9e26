/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_rows.c - what a row cannot hold: a list of fields, from bit to bit, and the addresses of further stacks. */
#include "recorder/encode/flow_internal.h"

#include <errno.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/packet/text.h"

/* Room for `more` members behind the first `used`. */
static int reserve(void *array, size_t each, uint32_t used, uint32_t more, uint32_t *cap)
{
	uint32_t wanted = *cap ? *cap : 1024;
	void *grown;

	if (*cap - used >= more)
		return 0;
	while (wanted - used < more)
		wanted *= 2;
	grown = realloc(*(void **)array, wanted * each);
	if (!grown)
		return -ENOMEM;
	*(void **)array = grown;
	*cap = wanted;
	return 0;
}

/* Where a text of FIELD_TEXT_MAX bytes may be written; NULL: no memory. */
static char *text_room(struct flow_maker *m)
{
	struct flow_texts **next = m->text_block ? &m->text_block->next : &m->texts;

	if (m->text_block && m->text_used + FIELD_TEXT_MAX <= sizeof(m->text_block->bytes))
		return m->text_block->bytes + m->text_used;
	if (!*next)
		*next = calloc(1, sizeof(**next));
	if (!*next)
		return NULL;
	m->text_block = *next;
	m->text_used = 0;
	return m->text_block->bytes;
}

#define RARE_INT32(value) (rare->number = (int32_t)(value))
#define RARE_DOUBLE(value) (rare->number = (int64_t)(value))
#define RARE_DATE(value) (rare->number = (value))
#define RARE_STRING(value)                                                                                             \
	do {                                                                                                           \
		char *at = text_room(m);                                                                               \
		if (!at)                                                                                               \
			return -ENOMEM;                                                                                \
		rare->len = (uint16_t)(value);                                                                         \
		rare->bytes = (const uint8_t *)at;                                                                     \
		m->text_used += rare->len;                                                                             \
	} while (0)
#define RARE_BINARY(value) RARE_BINARY_ value
#define RARE_BINARY_(pointer, length) (rare->bytes = (pointer), rare->len = (length))

static int add_field(struct flow_maker *m, const struct packet *p, uint32_t row, unsigned field, int64_t wall, bool out)
{
	struct flow_rare *rare = &m->rare[m->rares++];

	*rare = (struct flow_rare){.row = row, .field = (uint16_t)field};
	switch (field) {
#define F(id, name, bson, where, tshark, text)                                                                         \
	case PKT_##id:                                                                                                 \
		RARE_##bson(where);                                                                                    \
		break;
#include "recorder/packet/fields.def"
#undef F
	}
	return 0;
}

static void add_ends(struct flow_maker *m, const struct packet_key *key, uint32_t row)
{
	struct flow_address *address = &m->address[m->addresses];

	address[0] = (struct flow_address){.row = row, .family = key->family};
	address[1] = address[0];
	memcpy(address[0].address, key->src, 16);
	memcpy(address[1].address, key->dst, 16);
	m->addresses += 2;
}

int flow_add_rare(struct flow_maker *m, struct packet *p, uint32_t row, bool out)
{
	struct row *r = &m->row[row];
	uint64_t words[PACKET_WORDS] = {p->has[0] & ~ROW_FIELDS, p->has[1], p->has[2], p->has[3]};

	if (reserve(&m->rare, sizeof(*m->rare), m->rares, PKT_FIELDS, &m->rares_cap) < 0 ||
	    reserve(&m->address, sizeof(*m->address), m->addresses, 4, &m->addresses_cap) < 0)
		return -ENOMEM;
	if (packet_has(p, PKT_FLOW) && packet_has(p, PKT_FRAG)) { /* IPv6 with a fragment header */
		words[0] |= ROW_BIT(FRAG);
		r->slow.has &= ~ROW_BIT(FRAG);
		r->slow.flow = p->outer.flow;
	}
	r->slow.rare = 1;
	m->first_rare[row] = m->rares;
	for (unsigned word = 0; word < PACKET_WORDS; word++) {
		for (uint64_t bits = words[word]; bits; bits &= bits - 1) {
			unsigned field = 64 * word + (unsigned)__builtin_ctzll(bits);

			if (add_field(m, p, row, field, r->wall, out) < 0)
				return -ENOMEM;
		}
	}
	if (packet_has(p, PKT_ILOCAL))
		add_ends(m, &p->inner.key, row);
	if (packet_has(p, PKT_QLOCAL))
		add_ends(m, &p->quote.key, row);
	return 0;
}
