/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_meta.c - what stands in front of the columns: _id, control and meta. Hosts are sorted as numbers IPv4
 * with the text that its column had made of it, IPv6 made to text when they are written.
 */
#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"

/*
 * By insertion for the usual few, else by each byte in which not all are equal, from `low` up: the lowest first. IPv6
 * are numbers of 128 bits, IPv4 the upper half of 64 with what belongs to it below.
 */
#define DEFINE_SORT(name, type, low)                                                                                   \
	static void name(type *hosts, type *room, uint32_t n)                                                          \
	{                                                                                                              \
		type *from = hosts, *to = room, *other, differ = 0;                                                    \
                                                                                                                       \
		for (uint32_t i = 1; n < 32 && i < n; i++) {                                                           \
			type h = hosts[i];                                                                             \
			uint32_t j = i;                                                                                \
                                                                                                                       \
			for (; j && hosts[j - 1] > h; j--)                                                             \
				hosts[j] = hosts[j - 1];                                                               \
			hosts[j] = h;                                                                                  \
		}                                                                                                      \
		for (uint32_t i = 0; n >= 32 && i < n; i++)                                                            \
			differ |= hosts[i] ^ hosts[0];                                                                 \
		for (unsigned shift = low; shift < 8 * sizeof(type); shift += 8) {                                     \
			uint32_t at[256] = {0}, sum = 0;                                                               \
                                                                                                                       \
			if (!(uint8_t)(differ >> shift))                                                               \
				continue;                                                                              \
			for (uint32_t i = 0; i < n; i++)                                                               \
				at[(uint8_t)(from[i] >> shift)]++;                                                     \
			for (unsigned i = 0; i < 256; i++) {                                                           \
				uint32_t these = at[i];                                                                \
                                                                                                                       \
				at[i] = sum;                                                                           \
				sum += these;                                                                          \
			}                                                                                              \
			for (uint32_t i = 0; i < n; i++)                                                               \
				to[at[(uint8_t)(from[i] >> shift)]++] = from[i];                                       \
			other = from;                                                                                  \
			from = to;                                                                                     \
			to = other;                                                                                    \
		}                                                                                                      \
		if (from != hosts)                                                                                     \
			memcpy(hosts, from, n * sizeof(*hosts));                                                       \
	}
DEFINE_SORT(sort4, uint64_t, 32)
DEFINE_SORT(sort6, host_number, 0)

void hosts_sort(struct bucket_maker *m)
{
	uint32_t left = 0;

	sort4(m->host4, m->host4_room, m->nhost4);
	for (uint32_t i = 0; i < m->nhost4; i++)
		if (!left || m->host4[i] >> 32 != m->host4[left - 1] >> 32)
			m->host4[left++] = m->host4[i];
	m->nhost4 = left;
	left = 0;
	sort6(m->host6, m->host6_room, m->nhost6);
	for (uint32_t i = 0; i < m->nhost6; i++)
		if (!left || m->host6[i] != m->host6[left - 1])
			m->host6[left++] = m->host6[i];
	m->nhost6 = left;
}

static uint8_t *put_hosts(struct bucket_maker *m, uint8_t *w)
{
	struct index_text index = {.digits = "0", .length = 1};
	uint8_t *array = w, address[16];

	w += 4;
	for (uint32_t i = 0; i < m->nhost4 + m->nhost6; i++) {
		unsigned len;

		w = put_index(w, BSON_TYPE_UTF8, &index);
		if (i < m->nhost4) {
			const char *text = m->gather->letters + (uint32_t)m->host4[i];

			memcpy(w + 4, text, TEXT_CELL);
			len = (uint8_t)text[TEXT_CELL - 1];
		} else {
			put_be64(address, (uint64_t)(m->host6[i - m->nhost4] >> 64));
			put_be64(address + 8, (uint64_t)m->host6[i - m->nhost4]);
			len = text_ipv6((char *)w + 4, address);
		}
		w = put32(w, len + 1) + len;
		*w++ = 0;
		index_next(&index);
	}
	*w++ = 0;
	put32(array, (uint32_t)(w - array));
	return w;
}

/* The element of control.min (0) or control.max (1). */
static uint8_t *put_value(const struct bucket_maker *m, uint8_t *w, const struct gather_range *range, unsigned which)
{
	enum field_type type = fields[range->field].type;
	const struct column_text *text = &range->text[which];
	double number;

	*w++ = type;
	w = (uint8_t *)stpcpy((char *)w, fields[range->field].name) + 1;
	switch (type) {
	case FIELD_DATE:
		return put64(w, which ? (uint64_t)range->number[1] : m->base_s * 1000);
	case FIELD_DOUBLE:
		number = (double)range->number[which];
		memcpy(w, &number, 8);
		return w + 8;
	case FIELD_INT32:
		return put32(w, (uint32_t)range->number[which]);
	case FIELD_STRING:
		return put_string(w, (const char *)text->bytes, text->len);
	default: /* BINARY */
		w = put32(w, text->len);
		*w++ = BSON_SUBTYPE_BINARY;
		if (text->len)
			memcpy(w, text->bytes, text->len);
		return w + text->len;
	}
}

static uint8_t *put_control(const struct bucket_maker *m, uint8_t *w)
{
	const struct gather *g = m->gather;
	uint8_t *control = w;

	w += 4;
	PUT_HEAD(w, "\x10", "version");
	w = put32(w, m->gather->version);
	for (unsigned which = 0; which < 2; which++) {
		uint8_t *bound;

		if (which)
			PUT_HEAD(w, "\x03", "max");
		else
			PUT_HEAD(w, "\x03", "min");
		bound = w;
		w += 4;
		for (uint32_t i = 0; i < g->ranges; i++)
			w = put_value(m, w, &g->range[i], which);
		*w++ = 0;
		put32(bound, (uint32_t)(w - bound));
	}
	PUT_HEAD(w, "\x10", "count");
	w = put32(w, g->n);
	PUT_HEAD(w, "\x08", "closed");
	*w++ = 1;
	*w++ = 0;
	put32(control, (uint32_t)(w - control));
	return w;
}

size_t bucket_head_bound(const struct bucket_maker *m)
{
	const struct gather *g = m->gather;
	size_t bound = 192 + 2 * DOCUMENT_NAME_MAX;

	bound += (size_t)(m->nhost4 + m->nhost6) * (1 + 11 + 4 + TEXT_ADDRESS_MAX + 1);
	bound += 64 * 2 * (1 + 16 + 4 + FIELD_TEXT_MAX + 1);
	/* Rare fields of the bucket, but each only once: what is in the rows too is counted twice. */
	for (unsigned word = 0; word < PACKET_WORDS; word++)
		for (uint64_t bits = g->rare[word]; bits; bits &= bits - 1) {
			unsigned f = 64 * word + (unsigned)__builtin_ctzll(bits);
			uint32_t longest = FIELD_TEXT_MAX;

			for (uint32_t i = 0; i < g->rare_count[f]; i++) {
				uint32_t len = m->flow.rare[m->rare_sorted[g->rare_first[f] + i].number].len;

				longest = len > longest ? len : longest;
			}
			bound += 2 * (1 + 16 + 5 + (size_t)longest + 1);
		}
	return bound;
}

uint8_t *bucket_head(struct bucket_maker *m, uint8_t *w, const uint8_t id[BUCKET_ID_LEN])
{
	uint8_t *meta;

	PUT_HEAD(w, "\x07", "_id");
	memcpy(w, id, BUCKET_ID_LEN);
	w += BUCKET_ID_LEN;
	PUT_HEAD(w, "\x03", "control");
	w = put_control(m, w);
	PUT_HEAD(w, "\x03", "meta");
	meta = w;
	w += 4;
	PUT_HEAD(w, "\x04", "hosts");
	w = put_hosts(m, w);
	PUT_HEAD(w, "\x02", "iface");
	w = put_string(w, m->batch->source->iface, m->iface);
	PUT_HEAD(w, "\x02", "sensor");
	w = put_string(w, m->batch->source->sensor, m->sensor);
	*w++ = 0;
	put32(meta, (uint32_t)(w - meta));
	PUT_HEAD(w, "\x03", "data");
	return w;
}
