/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document_read.c - fields by name into the members that fields.def gives them.
 *
 * A number or a byte string needs only a place and a width: two tables made from stack.def and fields.def say them. What
 * is more than that (texts, and the few fields that are no member) is written out. A document names the ends, a packet
 * source and destination: all is read as if the local end were the source, and turned around in the end, when `dir` is
 * known.
 */
#include "recorder/encode/document_read.h"

#include <errno.h>
#include <string.h>

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"

/* Where a number or a struct packet_bytes is; size 0: nowhere. */
struct place {
	uint16_t offset;
	uint16_t size;
};
_Static_assert(offsetof(struct packet_bytes, at) == 0, "the place of .at is that of the whole");

#define PLACE(type, member) {offsetof(type, member), sizeof(((type *)0)->member)}
#define FIRST(first, second) first
#define SECOND(first, second, ...) second
#define CHOOSE(...) SECOND(__VA_ARGS__)

/* Of a stack's fields in struct packet_stack, by their bit. */
#define L(member) member
#define PLACE_INT32(id, where) [PKT_##id] = PLACE(struct packet_stack, where),
#define PLACE_DOUBLE(id, where) PLACE_INT32(id, where)
#define PLACE_BINARY(id, where) PLACE_INT32(id, FIRST where)
#define PLACE_STRING(id, where)
/* Where there is an INSTEAD_<id>, it is taken: the end's member, or none. */
#define PLACE_LPORT(id, where) PLACE_INT32(id, key.sport)
#define PLACE_RPORT(id, where) PLACE_INT32(id, key.dport)
#define PLACE_LTSVAL(id, where) PLACE_INT32(id, tsval)
#define PLACE_RTSVAL(id, where) PLACE_INT32(id, tsecr)
#define INSTEAD_LPORT ~, PLACE_LPORT
#define INSTEAD_RPORT ~, PLACE_RPORT
#define INSTEAD_LTSVAL ~, PLACE_LTSVAL
#define INSTEAD_RTSVAL ~, PLACE_RTSVAL
#define INSTEAD_SACK ~, PLACE_STRING
#define INSTEAD_TPID ~, PLACE_STRING
#define INSTEAD_TPID2 ~, PLACE_STRING
#define STACK(id, name, bson, where, tshark, text) CHOOSE(INSTEAD_##id, PLACE_##bson, ~)(id, where)
static const struct place stack_places[64] = {
#include "recorder/packet/stack.def"
};
#undef STACK
#undef L
#undef PLACE_INT32

/* Of the fields that stand once in struct packet_other, by their bit. */
#define O(member) member
#define PLACE_INT32(id, where) [PKT_##id & 63] = PLACE(struct packet_other, where),
#define F(id, name, bson, where, tshark, text) PLACE_##bson(id, where)
static const struct place other_places[64] = {
#define FIELDS_RARE
#define FIELDS_OTHER
#include "recorder/packet/fields.def"
};
#undef F

/* Bits of a value that is narrower than its member; 0: as wide. Stacks' fields by their numbers in the outer one. */
static unsigned narrower(unsigned field)
{
	switch (field) {
	case PKT_FLAGS:
		return 12;
	case PKT_FLOW:
		return 20;
	case PKT_OUI:
	case PKT_VNI:
		return 24;
	case PKT_OPTS:
		return 30;
	case PKT_DCCP_SEQ:
	case PKT_DCCP_ACK:
		return 48;
	}
	return 0;
}

static int take_tpid(struct packet_key *key, unsigned tag, int64_t number)
{
	if (number != PACKET_TPID_AD && number != PACKET_TPID_OLD)
		return -EINVAL;
	key->tags |= (uint8_t)(number == PACKET_TPID_AD ? PACKET_TAG_AD(tag) : PACKET_TAG_OLD(tag));
	return 0;
}

/* A number into the member that `at` says. */
static int store(void *base, const struct place *at, unsigned field, int64_t number)
{
	unsigned bits = narrower(field);

	if (!at->size || number < 0 || number >> (bits ? bits : at->size * 8u) != 0)
		return -EINVAL;
	/* Little-endian, as asserted in document.c: the value's first bytes are the lowest. */
	memcpy((uint8_t *)base + at->offset, &number, at->size);
	return 0;
}

static int take_stack_number(struct packet_stack *s, unsigned field, int64_t number)
{
	switch (field) {
	case PKT_PAD:
		s->pad = (int32_t)number;
		return number ? 0 : -EINVAL;
	case PKT_OPTS:
		if (!number)
			return -EINVAL;
		break;
	case PKT_SACK:
		return number == 1 ? 0 : -EINVAL;
	case PKT_TPID:
		return take_tpid(&s->key, 0, number);
	case PKT_TPID2:
		return take_tpid(&s->key, 1, number);
	case PKT_VLAN:
	case PKT_VLAN2:
		s->key.tags++;
		break;
	}
	return store(s, &stack_places[field], field, number);
}

/* A number of the frame itself. */
static int take_frame_number(struct document_record *r, unsigned field, int64_t number)
{
	switch (field) {
	case PKT_NS:
		return number < 0 || number > 999999 || __builtin_add_overflow(r->wall, number, &r->wall) ? -EINVAL : 0;
	case PKT_LEN: /* 32 bits without a sign */
		r->packet.len = (uint32_t)number;
		return 0;
	case PKT_SEGS:
		r->packet.segs = (uint16_t)number;
		return number > 0 && number <= UINT16_MAX ? 0 : -EINVAL;
	case PKT_GSO:
		r->packet.gso = (uint16_t)number;
		return number > 0 && number <= UINT16_MAX ? 0 : -EINVAL;
	}
	return -EINVAL;
}

static int take_address(struct packet_key *key, uint8_t address[16], const char *text)
{
	unsigned family = text_read_address(text, address);

	if (!family || (key->family && key->family != family))
		return -EINVAL;
	key->family = (uint8_t)family;
	return 0;
}

static int take_ipv6(uint8_t address[16], const char *text)
{
	return text_read_address(text, address) == 6 ? 0 : -EINVAL;
}

static int take_stack_string(struct packet_stack *s, unsigned field, const char *text)
{
	switch (field) {
	case PKT_LOCAL:
		return take_address(&s->key, s->key.src, text);
	case PKT_REMOTE:
		return take_address(&s->key, s->key.dst, text);
	case PKT_LMAC:
		return text_read_mac(text, s->key.smac);
	case PKT_RMAC:
		return text_read_mac(text, s->key.dmac);
	case PKT_ASHA:
		return text_read_mac(text, s->sha);
	case PKT_ATHA:
		return text_read_mac(text, s->tha);
	case PKT_TARGET:
		return take_ipv6(s->target, text);
	}
	return -EINVAL;
}

static int read_word(const char *text, const char *zero, const char *one, bool *value)
{
	*value = !strcmp(text, one);
	return *value || !strcmp(text, zero) ? 0 : -EINVAL;
}

static int take_frame_string(struct document_record *r, unsigned field, const char *text)
{
	bool tx;

	switch (field) {
	case PKT_DIR:
		return read_word(text, "in", "out", &r->out);
	case PKT_SIDE:
		if (read_word(text, "rx", "tx", &tx) < 0)
			return -EINVAL;
		r->packet.outer.key.side = tx ? REC_TX : REC_RX;
		return 0;
	case PKT_MARKS:
		return fields_marks_read(text, &r->packet.marks) < 0 || !r->packet.marks ? -EINVAL : 0;
	}
	return -EINVAL;
}

/* The stack that a field is of, NULL for those of the frame and those that stand once. */
static struct packet_stack *stack_of(struct packet *p, unsigned field)
{
	struct packet_stack *stacks[] = {&p->outer, &p->inner, &p->quote};
	unsigned bit = field & 63;

	return bit < PKT_LOCAL || bit > PKT_RMAC || field >> 6 > 2 ? NULL : stacks[field >> 6];
}

static int take_number(struct document_record *r, unsigned field, int64_t number)
{
	struct packet_stack *s = stack_of(&r->packet, field);

	if (s)
		return take_stack_number(s, field & 63, number);
	if (field < 64)
		return take_frame_number(r, field, number);
	return store(&r->packet.other, &other_places[field & 63], field, number);
}

static int take_double(struct document_record *r, unsigned field, double number)
{
	/* Above 48 bits there is no field; below 53, a double is exact. */
	if (!(number >= 0 && number < (double)(1ull << 48)) || (double)(int64_t)number != number)
		return -EINVAL;
	return take_number(r, field, (int64_t)number);
}

static int take_string(struct document_record *r, unsigned field, const char *text)
{
	struct packet_stack *s = stack_of(&r->packet, field);

	if (s)
		return take_stack_string(s, field & 63, text);
	if (field == PKT_RDEST)
		return take_ipv6(r->packet.other.redirect, text);
	return take_frame_string(r, field, text);
}

static int take_binary(struct document_record *r, unsigned field, const bson_iter_t *it)
{
	struct packet *p = &r->packet;
	struct packet_stack *s = stack_of(p, field);
	struct packet_bytes bytes;
	bson_subtype_t subtype;
	uint32_t length;

	bson_iter_binary(it, &subtype, &length, &bytes.at);
	if (subtype != BSON_SUBTYPE_BINARY || length > REC_CAP_MAX || (!length && field != PKT_RAW))
		return -EINVAL;
	bytes.len = (uint16_t)length;
	if (field == PKT_RAW) {
		p->raw = bytes.at;
		p->raw_len = bytes.len;
	} else if (s) {
		memcpy((uint8_t *)s + stack_places[field & 63].offset, &bytes, sizeof(bytes));
	} else {
		memcpy((uint8_t *)&p->other + other_places[field & 63].offset, &bytes, sizeof(bytes));
	}
	return 0;
}

static int read_string(const bson_iter_t *it, const char **text)
{
	uint32_t length;

	if (!BSON_ITER_HOLDS_UTF8(it))
		return -EINVAL;
	*text = bson_iter_utf8(it, &length);
	return strlen(*text) == length ? 0 : -EINVAL;
}

static int take_field(struct document_record *r, unsigned field, const bson_iter_t *it)
{
	const char *text;
	int64_t ns;

	if ((int)bson_iter_type(it) != (int)fields[field].type)
		return -EINVAL;
	switch (fields[field].type) {
	case FIELD_INT32:
		return take_number(r, field, bson_iter_int32(it));
	case FIELD_DOUBLE:
		return take_double(r, field, bson_iter_double(it));
	case FIELD_STRING:
		return read_string(it, &text) < 0 ? -EINVAL : take_string(r, field, text);
	case FIELD_BINARY:
		return take_binary(r, field, it);
	case FIELD_DATE: /* ts; `ns` may have come before */
		return __builtin_mul_overflow(bson_iter_date_time(it), (int64_t)1000000, &ns) ||
				       __builtin_add_overflow(r->wall, ns, &r->wall)
			       ? -EINVAL
			       : 0;
	}
	return -EINVAL;
}

static int read_meta(const bson_iter_t *it, struct document_record *out)
{
	bson_iter_t child;

	if (!BSON_ITER_HOLDS_DOCUMENT(it) || !bson_iter_recurse(it, &child))
		return -EINVAL;
	while (bson_iter_next(&child)) {
		const char *key = bson_iter_key(&child);
		const char **to = !strcmp(key, "iface") ? &out->iface : !strcmp(key, "sensor") ? &out->sensor : NULL;

		if (to && read_string(&child, to) < 0)
			return -EINVAL;
	}
	return 0;
}

static void swap(void *a, void *b, size_t n)
{
	uint8_t held[16];

	memcpy(held, a, n);
	memcpy(a, b, n);
	memcpy(b, held, n);
}

/* The local end was read as the source, and is the destination. */
static void turn(struct packet_stack *s)
{
	swap(s->key.src, s->key.dst, sizeof(s->key.src));
	swap(s->key.smac, s->key.dmac, sizeof(s->key.smac));
	swap(&s->key.sport, &s->key.dport, sizeof(s->key.sport));
	swap(&s->tsval, &s->tsecr, sizeof(s->tsval));
}

/* What a stack's fields say together. NULL, or the name of one that is missing or too many. */
static const char *finish_stack(const struct packet *p, struct packet_stack *s, unsigned first)
{
	if (packet_has(p, first + PKT_LOCAL) != packet_has(p, first + PKT_REMOTE))
		return fields[first + PKT_REMOTE].name;
	while (s->sacks < PACKET_SACKS && packet_has(p, first + PKT_SL1 + 2u * s->sacks))
		s->sacks++;
	for (unsigned i = 0; i < PACKET_SACKS; i++)
		if (packet_has(p, first + PKT_SL1 + 2 * i) != (i < s->sacks) ||
		    packet_has(p, first + PKT_SR1 + 2 * i) != (i < s->sacks))
			return fields[first + PKT_SL1 + 2 * i].name;
	if ((packet_has(p, first + PKT_VLAN2) || packet_has(p, first + PKT_TPID)) && !packet_has(p, first + PKT_VLAN))
		return fields[first + PKT_VLAN].name;
	if (packet_has(p, first + PKT_TPID2) && !packet_has(p, first + PKT_VLAN2))
		return fields[first + PKT_VLAN2].name;
	return NULL;
}

static const char *finish(struct document_record *r)
{
	struct packet *p = &r->packet;

	for (unsigned f = PKT_TS; f <= PKT_DIR; f++)
		if (!packet_has(p, f))
			return fields[f].name;
	if (!packet_has(p, PKT_LEN))
		return "len";
	if (!packet_has(p, PKT_SIDE))
		p->outer.key.side = r->out ? REC_TX : REC_RX;
	for (unsigned word = 0; word < 3; word++) {
		struct packet_stack *s = stack_of(p, 64 * word + PKT_LOCAL);
		const char *wrong = finish_stack(p, s, 64 * word);

		if (wrong)
			return wrong;
		/* A quoted packet went the other way. */
		if (r->out == (word == 2))
			turn(s);
	}
	return NULL;
}

int document_read(const bson_t *document, struct document_record *out, const char **problem)
{
	const char *wrong = "bson";
	unsigned next = 0;
	bson_iter_t it;

	memset(out, 0, sizeof(*out));
	if (!bson_iter_init(&it, document))
		goto refuse;
	while (bson_iter_next(&it)) {
		const char *key = bson_iter_key(&it);
		bson_subtype_t subtype;
		unsigned field;

		wrong = key;
		if (!strcmp(key, "_id")) {
			if (!BSON_ITER_HOLDS_BINARY(&it))
				goto refuse;
			bson_iter_binary(&it, &subtype, &out->id_len, &out->id);
			continue;
		}
		if (!strcmp(key, "meta")) {
			if (read_meta(&it, out) < 0)
				goto refuse;
			continue;
		}
		field = field_find(key, next);
		if (field == PKT_FIELDS || packet_has(&out->packet, field) || take_field(out, field, &it) < 0)
			goto refuse;
		packet_set(&out->packet, field);
		next = field + 1 < PKT_FIELDS ? field + 1 : 0;
	}
	if (it.err_off) {
		wrong = "bson";
		goto refuse;
	}
	wrong = finish(out);
	if (!wrong)
		return 0;
refuse:
	if (problem)
		*problem = wrong;
	return -EINVAL;
}
