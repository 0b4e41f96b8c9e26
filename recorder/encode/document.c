/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document.c - BSON written straight into the memory that is sent.
 *
 * What all documents of a batch have in common (the element head of _id, its first 24 bytes, the head of ts, meta) is
 * written once, as a preamble that is copied to the front of each document. The rest comes from fields.def. What nearly
 * every packet has is unrolled: one bit test for each field, then constant-size copies. What is rare (has[1..3]) stands in
 * a function of its own, which goes from bit to bit, so that common packets pay for one test. There are no bounds checks
 * inside a document: its longest form (DOCUMENT_BOUND) follows from the table and is reserved before.
 */
#include "recorder/encode/document.h"

#include <errno.h>

#include "recorder/core/util.h"
#include "recorder/encode/command.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"

/*
 * Bytes that a value takes at most, by its type in the table. Every text but that of the marks is an address or shorter.
 * The values of BINARY fields are different parts of the header bytes, hence together not longer than these; and once
 * more all of them, as `raw`.
 */
#define BOUND_INT32 4
#define BOUND_DOUBLE 8
#define BOUND_DATE 8
#define BOUND_STRING (4 + TEXT_ADDRESS_MAX + 1)
#define BOUND_BINARY 5
enum {
	FIELDS_BOUND = 0
#define F(id, name, bson, where, tshark, text) +1 + sizeof(#name) + BOUND_##bson
#include "recorder/packet/fields.def"
#undef F
	+ 2 * REC_CAP_MAX + FIELD_TEXT_MAX,
	/* length, _id, ts, meta {iface, sensor}; see preamble_init */
	PREAMBLE_BOUND = 4 + (1 + 4 + 5 + PACKET_ID_LEN) + (1 + 3 + 8) + (1 + 5 + 4 + 1) + (1 + 6 + 5) + (1 + 7 + 5) +
			 2 * DOCUMENT_NAME_MAX,
	ELEMENT_BOUND = 1 + 11, /* type, index of the document as text */
	DOCUMENT_BOUND = ELEMENT_BOUND + PREAMBLE_BOUND + FIELDS_BOUND + 1,
};

struct preamble {
	size_t len;
	size_t position, ts; /* offsets of what is different in each document */
	uint8_t bytes[PREAMBLE_BOUND];
};

static uint8_t *put_id(uint8_t *w, const struct batch *b, uint32_t position)
{
	uint8_t number[8];

	memcpy(w, b->source->capture, CAPTURE_ID_LEN);
	put_be64(number, b->number);
	memcpy(w + 16, number + 2, 6);
	put_be16(w + 22, b->version);
	put_be32(w + 24, position);
	return w + PACKET_ID_LEN;
}

void packet_id(uint8_t id[PACKET_ID_LEN], const struct batch *batch, uint32_t position)
{
	put_id(id, batch, position);
}

static int preamble_init(struct preamble *t, const struct batch *b)
{
	size_t iface = strlen(b->source->iface), sensor = strlen(b->source->sensor);
	uint8_t *w = t->bytes + 4, *meta;

	if (iface > DOCUMENT_NAME_MAX || sensor > DOCUMENT_NAME_MAX)
		return -ENAMETOOLONG;
	PUT_HEAD(w, "\x05", "_id");
	w = put32(w, PACKET_ID_LEN);
	*w++ = BSON_SUBTYPE_BINARY;
	w = put_id(w, b, 0);
	t->position = (size_t)(w - t->bytes) - 4;
	PUT_HEAD(w, "\x09", "ts");
	t->ts = (size_t)(w - t->bytes);
	w = put64(w, 0);
	PUT_HEAD(w, "\x03", "meta");
	meta = w;
	w += 4;
	PUT_HEAD(w, "\x02", "iface");
	w = put_string(w, b->source->iface, iface);
	PUT_HEAD(w, "\x02", "sensor");
	w = put_string(w, b->source->sensor, sensor);
	*w++ = 0;
	put32(meta, (uint32_t)(w - meta));
	t->len = (size_t)(w - t->bytes);
	return 0;
}

/* How a field of each type is written, at `w`. */
#define PUT_INT32(name, value)                                                                                         \
	do {                                                                                                           \
		PUT_HEAD(w, "\x10", #name);                                                                            \
		w = put32(w, (uint32_t)(value));                                                                       \
	} while (0)
#define PUT_DOUBLE(name, value)                                                                                        \
	do {                                                                                                           \
		double number = (value);                                                                               \
		PUT_HEAD(w, "\x01", #name);                                                                            \
		memcpy(w, &number, 8);                                                                                 \
		w += 8;                                                                                                \
	} while (0)
#define PUT_STRING(name, value)                                                                                        \
	do {                                                                                                           \
		char *at;                                                                                              \
		unsigned length;                                                                                       \
		PUT_HEAD(w, "\x02", #name);                                                                            \
		at = (char *)w + 4;                                                                                    \
		length = (value);                                                                                      \
		put32(w, length + 1);                                                                                  \
		at[length] = 0;                                                                                        \
		w += 4 + length + 1;                                                                                   \
	} while (0)
#define PUT_BINARY(name, value) PUT_BINARY_(name, BINARY_ARGUMENTS value)
#define BINARY_ARGUMENTS(pointer, length) pointer, length
#define PUT_BINARY_(name, ...) PUT_BINARY__(name, __VA_ARGS__)
#define PUT_BINARY__(name, pointer, length)                                                                            \
	do {                                                                                                           \
		PUT_HEAD(w, "\x05", #name);                                                                            \
		w = put32(w, length);                                                                                  \
		*w++ = BSON_SUBTYPE_BINARY;                                                                            \
		if (length)                                                                                            \
			memcpy(w, pointer, length);                                                                    \
		w += length;                                                                                           \
	} while (0)
#define PUT_DATE(name, value) (void)0 /* ts stands in the preamble */

/* The fields of has[1..3], in their order, from bit to bit. Bits that name no field cannot be set. */
static __attribute__((noinline)) uint8_t *put_rare(uint8_t *w, const struct packet *p, bool out)
{
	for (unsigned word = 1; word < PACKET_WORDS; word++) {
		for (uint64_t bits = p->has[word]; bits; bits &= bits - 1) {
			switch (64 * word + (unsigned)__builtin_ctzll(bits)) {
#define FIELDS_RARE
#define F(id, name, bson, where, tshark, text)                                                                         \
	case PKT_##id:                                                                                                 \
		PUT_##bson(name, where);                                                                               \
		break;
#include "recorder/packet/fields.def"
#undef F
			}
		}
	}
	return w;
}

/* Writes a packet's document to `w`, which has room for DOCUMENT_BOUND; the byte behind it. */
static inline uint8_t *put_packet(uint8_t *w, const struct preamble *t, const struct packet *p, int64_t wall, bool out,
				  uint32_t position)
{
	const uint64_t has = p->has[0]; /* not read again behind each store */
	uint8_t *start = w;

	memcpy(w, t->bytes, t->len);
	put_be32(w + t->position, position);
	put64(w + t->ts, (uint64_t)clock_ms(wall));
	w += t->len;
#define FIELDS_COMMON
#define F(id, name, bson, where, tshark, text)                                                                         \
	if (has >> PKT_##id & 1)                                                                                       \
		PUT_##bson(name, where);
#include "recorder/packet/fields.def"
#undef F
	if (__builtin_expect((p->has[1] | p->has[2] | p->has[3]) != 0, 0))
		w = put_rare(w, p, out);
	*w++ = 0;
	put32(start, (uint32_t)(w - start));
	return w;
}

/* Decodes record `position`; true when its source is the local end. */
static inline bool decode(struct packet *p, const struct batch *batch, const struct ends_table *ends, uint32_t position)
{
	const struct rec_head *head = batch->records[position];
	bool out;

	packet_decode(p, head, record_bytes(head));
	out = ends_source_is_local(ends, p);
	if (out != (p->outer.key.side == REC_TX))
		packet_set(p, PKT_SIDE);
	return out;
}

static inline uint8_t *put_document(uint8_t *w, const struct preamble *t, const struct batch *batch,
				    const struct ends_table *ends, uint32_t position)
{
	struct packet packet;
	bool out = decode(&packet, batch, ends, position);

	return put_packet(w, t, &packet, batch_wall(batch, batch->records[position]->time), out, position);
}

/* Bytes of all BINARY fields but raw. */
static size_t binary_bytes(const struct packet *p)
{
	size_t sum = 0;

#define LENGTH_INT32(id, value)
#define LENGTH_DOUBLE(id, value)
#define LENGTH_DATE(id, value)
#define LENGTH_STRING(id, value)
#define LENGTH_BINARY(id, value) LENGTH_BINARY_(id, BINARY_ARGUMENTS value)
#define LENGTH_BINARY_(id, ...) LENGTH_BINARY__(id, __VA_ARGS__)
#define LENGTH_BINARY__(id, pointer, length)                                                                           \
	if (PKT_##id != PKT_RAW && packet_has(p, PKT_##id))                                                            \
		sum += (length);
#define F(id, name, bson, where, tshark, text) LENGTH_##bson(id, where)
#include "recorder/packet/fields.def"
#undef F
	return sum;
}

int document_packet(bson_t *to, const struct batch *batch, const struct packet *p, int64_t wall, bool out,
		    uint32_t position)
{
	uint8_t bytes[DOCUMENT_BOUND], *end;
	struct preamble preamble;
	bson_t document;
	int r = preamble_init(&preamble, batch);

	if (r < 0)
		return r;
	if (binary_bytes(p) > REC_CAP_MAX || (packet_has(p, PKT_RAW) && p->raw_len > REC_CAP_MAX))
		return -EINVAL;
	end = put_packet(bytes, &preamble, p, wall, out, position);
	if (!bson_init_static(&document, bytes, (size_t)(end - bytes)) || !bson_concat(to, &document))
		return -EINVAL;
	return 0;
}

int document_encode(bson_t *to, const struct batch *batch, const struct ends_table *ends, uint32_t position)
{
	struct packet packet;
	bool out = decode(&packet, batch, ends, position);

	return document_packet(to, batch, &packet, batch_wall(batch, batch->records[position]->time), out, position);
}

/* A record is one to three cache lines somewhere in a ring; nearly all end in the second. */
static inline void prefetch(const struct rec_head *record)
{
	__builtin_prefetch(record);
	__builtin_prefetch((const uint8_t *)record + 64);
}

int document_command(struct command_buffer *c, const char *collection, const struct batch *batch,
		     const struct ends_table *ends, uint32_t first, uint32_t count, const uint8_t *wanted,
		     size_t max_bytes, uint32_t max_time_ms, uint32_t *next)
{
	const struct command_head head = {COMMAND_INSERT, "", collection, max_time_ms, false};
	struct index_text index = {.digits = "0", .length = 1};
	struct preamble preamble;
	uint32_t i, documents = 0;
	size_t array = 0;
	int r = preamble_init(&preamble, batch);

	if (r == 0)
		r = command_begin(c, &head, &array);
	if (r < 0)
		return r;
	for (i = first; i < first + count; i++) {
		uint8_t *w;

		if (wanted && !wanted[i - first])
			continue;
		if (i + 8 < first + count)
			prefetch(batch->records[i + 8]);
		if (command_reserve(c, DOCUMENT_BOUND + COMMAND_TAIL) < 0)
			return -ENOMEM;
		w = put_index(c->data + c->len, BSON_TYPE_DOCUMENT, &index);
		w = put_document(w, &preamble, batch, ends, i);
		if (documents && (size_t)(w - c->data) + COMMAND_TAIL > max_bytes)
			break;
		c->len = (size_t)(w - c->data);
		documents++;
		index_next(&index);
	}
	command_end(c, array);
	*next = i;
	return (int)documents;
}
