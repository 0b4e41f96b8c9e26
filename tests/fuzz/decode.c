/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode.c - libFuzzer target: header bytes -> packet -> document -> packet -> header bytes, for any bytes.
 *
 * Input: a frame, then eight bytes of options, all zero in the corpus (tests/fuzz/corpus.c).
 * What must hold, besides nothing being read or written where it must not:
 *   rebuild(decode(x)) is x; a packet with any changes is refused or gives some header bytes, but no more;
 *   the document's bytes are valid BSON; read back they are the same packet, which rebuilds to x and has the canonical
 * record of x; a document with changed bytes is refused or gives some header bytes, but no more;
 *   x becomes the same row and key whether flow_fast.h knows it or not, before and behind an x with one byte changed.
 */
#include <stdbool.h>
#include <stdio.h>

#include "recorder/encode/document.h"
#include "recorder/encode/document_read.h"
#include "recorder/encode/column.h"
#include "recorder/encode/flow_internal.h"
#include "recorder/ledger/canonical.h"
#include "tests/unit/packets.h"
#include "tests/fuzz/fuzz.h"

struct options {
	uint8_t flags; /* 1: tx; 2: not cut by the parser; 4: the frame is a document; 8: no home networks */
	uint8_t marks, segs, gso;
	uint16_t spoil_at; /* byte of the document that is changed */
	uint8_t spoil;
	int8_t wire;
};

/* Members of stacks that are not there are not looked at: for comparing and changing they are zeros. */
static void clear_absent(struct packet *p)
{
	if (!p->has[1])
		memset(&p->inner, 0, sizeof(p->inner));
	if (!p->has[2])
		memset(&p->quote, 0, sizeof(p->quote));
	if (!p->has[3])
		memset(&p->other, 0, sizeof(p->other));
}

enum { POINTERS = 10 };

static void pointers_of(struct packet *p, struct packet_bytes *to[POINTERS])
{
	struct packet_stack *stacks[3] = {&p->outer, &p->inner, &p->quote};

	for (unsigned i = 0; i < 3; i++) {
		to[3 * i] = &stacks[i]->ipopts;
		to[3 * i + 1] = &stacks[i]->ext;
		to[3 * i + 2] = &stacks[i]->topts;
	}
	to[9] = &p->other.geneve_opts;
}

/* Every member the same, the bytes that are pointed to instead of the pointers. */
static bool same(const struct packet *one, const struct packet *other)
{
	static struct packet a, b; /* static: copied with what is between the members */
	struct packet_bytes *in_a[POINTERS], *in_b[POINTERS];

	memcpy(&a, one, sizeof(a));
	memcpy(&b, other, sizeof(b));
	clear_absent(&a);
	clear_absent(&b);
	pointers_of(&a, in_a);
	pointers_of(&b, in_b);
	for (unsigned i = 0; i < POINTERS; i++) {
		if (in_a[i]->len != in_b[i]->len || (in_a[i]->len && memcmp(in_a[i]->at, in_b[i]->at, in_a[i]->len)))
			return false;
		memset(in_a[i], 0, sizeof(*in_a[i]));
		memset(in_b[i], 0, sizeof(*in_b[i]));
	}
	if (a.raw_len != b.raw_len || (a.raw_len && memcmp(a.raw, b.raw, a.raw_len)))
		return false;
	a.raw = b.raw = NULL;
	return !memcmp(&a, &b, sizeof(a));
}

/* Changes fields and members anywhere; lengths may be any, the bytes pointed to are there. */
static void damage_packet(const struct packet *p, const struct options *o)
{
	static const uint8_t many[UINT16_MAX];
	uint64_t random =
		((uint64_t)o->spoil_at << 16 | (uint64_t)o->spoil << 8 | o->flags) + 0x9e3779b97f4a7c15ull + p->has[0];
	uint8_t out[REC_CAP_MAX];

	for (unsigned round = 0; round < 8; round++) {
		struct packet_bytes *pointers[POINTERS];
		struct packet q;

		memcpy(&q, p, sizeof(q));
		clear_absent(&q);
		packet_clear(&q, PKT_RAW);
		for (unsigned i = 0; i < round; i++) {
			uint64_t r = packets_random(&random);
			uint8_t *byte = (uint8_t *)&q + (r >> 32) % sizeof(q);

			if (r & 1)
				q.has[r >> 1 & 3] ^= 1ull << (r >> 3 & 63);
			else
				*byte = (uint8_t)(r & 2 ? r >> 8 : *byte ^ 1u << (r >> 8 & 7));
		}
		pointers_of(&q, pointers);
		for (unsigned i = 0; i < POINTERS; i++)
			pointers[i]->at = many;
		q.raw = many;
		MUST(packet_rebuild(&q, out) <= (int)REC_CAP_MAX);
	}
}

/* Whatever the document says, what comes of it stays within its bounds. */
static void read_any(const uint8_t *bytes, size_t size)
{
	struct document_record r;
	const char *problem = NULL;
	uint8_t out[REC_CAP_MAX];
	bson_t document;
	int n;

	if (size > INT32_MAX || !bson_init_static(&document, bytes, size))
		return;
	if (document_read(&document, &r, &problem) < 0) {
		MUST(problem);
		return;
	}
	n = packet_rebuild(&r.packet, out);
	MUST(n <= (int)REC_CAP_MAX);
}

static void check_flow(const struct batch *one, const struct ends_table *ends, const struct options *o)
{
	static struct flow_maker *fast, *plain;
	static struct rec_slot other;
	const struct rec_head *x = one->records[0], *records[] = {x, &other.head, x};
	struct batch batch = *one;
	struct flow a, b;

	if (!fast) {
		fast = flow_maker_new();
		plain = flow_maker_new();
		plain->plain = true;
	}
	column_use((enum column_level)(x->wire_len % (COLUMN_BEST + 1)));
	other.head = *x;
	memcpy(other.bytes, record_bytes(x), x->cap_len);
	if (x->cap_len)
		other.bytes[o->spoil_at % x->cap_len] ^= o->spoil;
	batch.records = records;
	batch.nrecords = 3;
	MUST(flow_make(fast, &batch, ends, &a) == 0 && flow_make(plain, &batch, ends, &b) == 0);
	MUST(a.keys == b.keys && a.rares == b.rares && a.addresses == b.addresses);
	MUST(!memcmp(a.row, b.row, 3 * sizeof(*a.row)) && !memcmp(a.key, b.key, a.keys * sizeof(*a.key)));
	MUST(!memcmp(a.order, b.order, 3 * sizeof(*a.order)) && !memcmp(a.out, b.out, a.keys));
}

static void check(const struct rec_head *head, const uint8_t *bytes, const struct options *o)
{
	static const struct batch_source source = {.capture = {1}, .sensor = "s", .iface = "i"};
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8},
						   {.address = {0xfe, 0x80}, .family = 6, .prefix = 10}};
	static struct ends_table *ends, *none;
	static struct command_buffer command;
	struct {
		struct rec_head head;
		uint8_t bytes[REC_CAP_MAX];
	} record;
	const struct rec_head *records[1] = {&record.head};
	struct batch batch = {.source = &source, .number = 1, .version = 1, .records = records, .nrecords = 1};
	struct canonical_record canonical, again;
	struct document_record r;
	struct packet p, q;
	uint8_t out[REC_CAP_MAX], spoiled[8192];
	bson_t document = BSON_INITIALIZER, whole;
	uint32_t next;
	size_t length;

	if (!ends) {
		ends = ends_table_new(NULL, 0, NULL, 0, home, 2);
		none = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	}
	packet_decode(&p, head, bytes);
	MUST(packet_rebuild(&p, out) == head->cap_len);
	MUST(!memcmp(out, bytes, head->cap_len));
	damage_packet(&p, o);

	record.head = *head;
	memcpy(record.bytes, bytes, head->cap_len);
	MUST(document_encode(&document, &batch, o->flags & 8 ? none : ends, 0) == 0);
	MUST(bson_validate(&document, BSON_VALIDATE_UTF8, NULL));
	MUST(document_read(&document, &r, NULL) == 0);
	MUST(packet_rebuild(&r.packet, out) == head->cap_len);
	MUST(!memcmp(out, bytes, head->cap_len));
	canonical = canonical_from(&batch, &record.head);
	again = (struct canonical_record){.ts = r.wall,
					  .wire_len = r.packet.len,
					  .cap_len = head->cap_len,
					  .marks = r.packet.marks,
					  .gso_segs = r.packet.segs,
					  .gso_size = r.packet.gso,
					  .side = r.packet.outer.key.side,
					  .bytes = out};
	MUST(canonical_compare(&canonical, &again) == 0);
	q = r.packet;
	q.time = p.time;
	packet_clear(&q, PKT_SIDE);
	MUST(same(&p, &q));

	MUST(document_command(&command, "p", &batch, ends, 0, 1, NULL, 1 << 20, 1, &next) == 1);
	MUST(bson_init_static(&whole, command.data, command.len) && bson_validate(&whole, BSON_VALIDATE_UTF8, NULL));

	check_flow(&batch, ends, o);

	length = document.len;
	MUST(length <= sizeof(spoiled));
	memcpy(spoiled, bson_get_data(&document), length);
	spoiled[o->spoil_at % length] ^= o->spoil;
	read_any(spoiled, length);
	bson_destroy(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o;
	struct rec_slot slot;
	uint32_t wire;

	if (size < sizeof(o))
		return 0;
	size -= sizeof(o);
	memcpy(&o, data + size, sizeof(o));
	if (o.flags & 4) {
		read_any(data, size);
		return 0;
	}
	wire = (uint32_t)((int64_t)size + o.wire < 0 ? 0 : (int64_t)size + o.wire);
	packets_record(&slot, data, (uint32_t)(size < wire ? size : wire), wire, o.flags & 1);
	if (o.flags & 2) {
		slot.head.cap_len = (uint16_t)(size < REC_CAP_MAX ? size : REC_CAP_MAX);
		memcpy(slot.bytes, data, slot.head.cap_len);
	}
	slot.head.marks ^= o.marks;
	slot.head.gso_segs = o.segs;
	slot.head.gso_size = o.gso;
	check(&slot.head, slot.bytes, &o);
	return 0;
}
