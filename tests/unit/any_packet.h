/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * any_packet.h - packets that hold any values, and a comparison by the table: what the tests of encode/ share. Test code.
 *
 * any_packet fills every member with random bytes, made to what such a member may hold, and sets no field but those that
 * every document has; any_packet_set sets one more, with the fields it needs beside it.
 */
#ifndef XDP_RECORDER_TESTS_ANY_PACKET_H
#define XDP_RECORDER_TESTS_ANY_PACKET_H

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "tests/unit/packets.h"

static inline void any_stack(struct packet_stack *s, uint64_t random, const uint8_t *bytes)
{
	s->key.family = random & 1 ? 6 : 4;
	if (s->key.family == 4) {
		memset(s->key.src + 4, 0, 12);
		memset(s->key.dst + 4, 0, 12);
	}
	s->key.tags = 0;
	s->flow &= 0xfffff;
	s->flags &= 0xfff;
	s->opts = (s->opts & 0x3fffffff) | 1;
	s->pad |= 1;
	s->sacks = 0;
	s->ext = (struct packet_bytes){bytes, (uint16_t)(1 + (random >> 8) % 60)};
	s->ipopts = (struct packet_bytes){bytes + 60, (uint16_t)(1 + (random >> 16) % 40)};
	s->topts = (struct packet_bytes){bytes + 100, (uint16_t)(1 + (random >> 24) % 40)};
}

/* `bytes` are REC_CAP_MAX of any. With `most` every number is the largest of its kind. */
static inline void any_packet(struct packet *p, uint64_t *random, const uint8_t *bytes, bool most)
{
	uint8_t *at = (uint8_t *)p;

	for (size_t i = 0; i < sizeof(*p); i++)
		at[i] = most ? 0xff : (uint8_t)(packets_random(random) >> 56);
	memset(p->has, 0, sizeof(p->has));
	p->marks = most ? REC_MARKS_ALL : (uint16_t)((p->marks & REC_MARKS_ALL) | 1);
	p->segs |= 1;
	p->gso |= 1;
	p->len &= INT32_MAX;
	p->raw = bytes;
	p->raw_len = most ? REC_CAP_MAX : p->raw_len % (REC_CAP_MAX + 1);
	any_stack(&p->outer, packets_random(random), bytes);
	any_stack(&p->inner, packets_random(random), bytes);
	any_stack(&p->quote, packets_random(random), bytes);
	p->outer.key.side &= 1;
	p->other.oui &= 0xffffff;
	p->other.vni &= 0xffffff;
	p->other.dccp_seq &= 0xffffffffffff;
	p->other.dccp_ack &= 0xffffffffffff;
	p->other.geneve_opts = (struct packet_bytes){bytes, (uint16_t)(1 + packets_random(random) % 80)};
	packet_set(p, PKT_TS);
	packet_set(p, PKT_NS);
	packet_set(p, PKT_DIR);
	packet_set(p, PKT_LEN);
}

static inline void any_packet_set(struct packet *p, unsigned field)
{
	struct packet_stack *stacks[] = {&p->outer, &p->inner, &p->quote}, *s = stacks[field >> 6 > 2 ? 0 : field >> 6];
	unsigned first = field & ~63u, bit = field & 63;

	packet_set(p, field);
	if (field >> 6 > 2)
		return;
	if (bit == PKT_LOCAL || bit == PKT_REMOTE) {
		packet_set(p, first + PKT_LOCAL);
		packet_set(p, first + PKT_REMOTE);
	}
	for (unsigned i = PKT_SL1; bit >= PKT_SL1 && bit <= PKT_SR4 && i <= (bit | 1); i++) {
		packet_set(p, first + (i - PKT_SL1) / 2 * 2 + PKT_SL1);
		packet_set(p, first + (i - PKT_SL1) / 2 * 2 + PKT_SR1);
		s->sacks = (uint8_t)((i - PKT_SL1) / 2 + 1);
	}
	if (bit == PKT_TPID2)
		any_packet_set(p, first + PKT_VLAN2);
	if (bit == PKT_VLAN2 || bit == PKT_TPID)
		any_packet_set(p, first + PKT_VLAN);
	if (bit == PKT_VLAN || bit == PKT_VLAN2)
		s->key.tags++;
	if (bit == PKT_TPID || bit == PKT_TPID2)
		s->key.tags |= (uint8_t)(p->time & 1 ? PACKET_TAG_AD(bit == PKT_TPID2) : PACKET_TAG_OLD(bit == PKT_TPID2));
}

/* The name of the first field that one packet has and the other has not, or that has another value there; NULL: none. */
static inline const char *packets_differ(const struct packet *one, const struct packet *other, bool out)
{
	const int64_t wall = 0;

	for (unsigned f = 0; f < PKT_FIELDS; f++)
		if (packet_has(one, f) != packet_has(other, f))
			return fields[f].name ? fields[f].name : "a bit without a field";
#define DIFFER_INT32(value) DIFFER_DOUBLE(value)
#define DIFFER_DATE(value) DIFFER_DOUBLE(value)
#define DIFFER_DOUBLE(value)                                                                                           \
	do {                                                                                                           \
		int64_t numbers[2];                                                                                    \
		for (unsigned i = 0; i < 2; i++) {                                                                     \
			const struct packet *p = i ? other : one;                                                      \
			numbers[i] = p ? (int64_t)(value) : 0;                                                         \
		}                                                                                                      \
		same = numbers[0] == numbers[1];                                                                       \
	} while (0)
#define DIFFER_STRING(value)                                                                                           \
	do {                                                                                                           \
		char texts[2][FIELD_TEXT_MAX];                                                                         \
		unsigned length[2];                                                                                    \
		for (unsigned i = 0; i < 2; i++) {                                                                     \
			const struct packet *p = i ? other : one;                                                      \
			char *at = texts[i];                                                                           \
			length[i] = p ? (value) : 0;                                                                   \
		}                                                                                                      \
		same = length[0] == length[1] && !memcmp(texts[0], texts[1], length[0]);                               \
	} while (0)
#define DIFFER_ARGUMENTS(pointer, length) pointer, length
#define DIFFER_BINARY(value) DIFFER_BINARY_(DIFFER_ARGUMENTS value)
#define DIFFER_BINARY_(...) DIFFER_BINARY__(__VA_ARGS__)
#define DIFFER_BINARY__(pointer, length)                                                                               \
	do {                                                                                                           \
		const void *bytes[2];                                                                                  \
		unsigned sizes[2];                                                                                     \
		for (unsigned i = 0; i < 2; i++) {                                                                     \
			const struct packet *p = i ? other : one;                                                      \
			bytes[i] = pointer;                                                                            \
			sizes[i] = length;                                                                             \
		}                                                                                                      \
		same = sizes[0] == sizes[1] && (!sizes[0] || !memcmp(bytes[0], bytes[1], sizes[0]));                   \
	} while (0)
#define F(id, name, bson, where, tshark, text)                                                                         \
	if (packet_has(one, PKT_##id)) {                                                                               \
		bool same;                                                                                             \
		DIFFER_##bson(where);                                                                                  \
		if (!same)                                                                                             \
			return #name;                                                                                  \
	}
#include "recorder/packet/fields.def"
#undef F
	return one->outer.key.side != other->outer.key.side ? "side" : NULL;
}

/*
 * Header bytes of an Ethernet packet of any values, of which one field chosen at random is certainly there; *p is what they
 * were made of. Their number; negative where the choice names no field, or fields that contradict each other. Its byte fields are not to be
 * followed afterwards.
 */
static inline int any_packet_bytes(struct packet *p, uint64_t *random, uint8_t bytes[REC_CAP_MAX])
{
	unsigned field = (unsigned)(packets_random(random) >> 32) % PKT_FIELDS;
	uint8_t any[REC_CAP_MAX];

	for (unsigned i = 0; i < sizeof(any); i++)
		any[i] = (uint8_t)(packets_random(random) >> 56);
	any_packet(p, random, any, false);
	if (!fields[field].name)
		return -EINVAL;
	any_packet_set(p, PKT_ETYPE);
	any_packet_set(p, PKT_LMAC);
	any_packet_set(p, PKT_RMAC);
	any_packet_set(p, field);
	return packet_rebuild(p, bytes);
}

/* ---- the document that libbson's own calls give ----------------------------------------------------------------- */

#ifdef BSON_H
#define ORACLE_INT32(name, value) bson_append_int32(to, #name, -1, (int32_t)(value))
#define ORACLE_DOUBLE(name, value) bson_append_double(to, #name, -1, (double)(value))
#define ORACLE_DATE(name, value) (void)wall
#define ORACLE_STRING(name, value)                                                                                     \
	do {                                                                                                           \
		char at[FIELD_TEXT_MAX];                                                                               \
		unsigned length = (value);                                                                             \
		bson_append_utf8(to, #name, -1, at, (int)length);                                                      \
	} while (0)
#define ORACLE_ARGUMENTS(pointer, length) pointer, length
#define ORACLE_APPEND(...) bson_append_binary(__VA_ARGS__)
#define ORACLE_BINARY(name, value) ORACLE_APPEND(to, #name, -1, BSON_SUBTYPE_BINARY, ORACLE_ARGUMENTS value)

/* All fields but ts, in the table's order. */
static inline void oracle_fields(bson_t *to, const struct packet *p, int64_t wall, bool out)
{
#define F(id, name, bson, where, tshark, text)                                                                         \
	if (packet_has(p, PKT_##id))                                                                                   \
		ORACLE_##bson(name, where);
#include "recorder/packet/fields.def"
#undef F
}
#endif

#endif
