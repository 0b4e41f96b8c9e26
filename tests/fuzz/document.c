/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document.c - libFuzzer target: documents that nobody should have written -> packet -> header bytes, document, JSON.
 *
 * Input: bytes, then eight of options, all zero in the corpus (tests/fuzz/corpus.c), which say what the bytes are: a
 * frame, whose document is then changed; a document as it is; or a list of fields with their values. What must hold,
 * besides nothing being read or written where it must not:
 *   a frame's document read back rebuilds to the frame's header bytes;
 *   what document_read takes gives at most REC_CAP_MAX header bytes (or is refused by packet_rebuild), a line of JSON
 *   within its bound, and a document that reads as the same packet.
 */
#include <bson/bson.h>
#include <stdbool.h>
#include <stdio.h>

#include "recorder/encode/document.h"
#include "recorder/encode/document_read.h"
#include "recorder/encode/json.h"
#include "tests/unit/any_packet.h"
#include "tests/fuzz/fuzz.h"

struct options {
	uint8_t flags; /* 1: fields; 2: a document; else a frame; 4: tx; 8: without what every document has */
	uint8_t field; /* of the frame's document, is gone */
	uint16_t spoil_at;
	uint8_t spoil[4]; /* exclusive or, from there on */
};

static const struct batch_source source = {.capture = {1}, .sensor = "s", .iface = "i"};

/* Whatever the document says, what comes of it stays within its bounds and says the same again. */
static void read_any(const uint8_t *bytes, size_t size)
{
	const struct batch batch = {.source = &source, .number = 1, .version = ENCODE_VERSION};
	static char line[JSON_LINE_MAX];
	struct document_record r, again;
	const char *problem = NULL;
	uint8_t out[REC_CAP_MAX];
	bson_t document, second = BSON_INITIALIZER;

	if (size > INT32_MAX || !bson_init_static(&document, bytes, size))
		return;
	if (document_read(&document, &r, &problem) < 0) {
		MUST(problem);
		return;
	}
	MUST(packet_rebuild(&r.packet, out) <= (int)REC_CAP_MAX);
	MUST(json_line(line, &r.packet, r.wall, r.out, &(struct json_source){r.iface, r.sensor, r.id, r.id_len}) <
	     JSON_LINE_MAX);
	if (document_packet(&second, &batch, &r.packet, r.wall, r.out, 0) == 0) {
		MUST(bson_validate(&second, BSON_VALIDATE_UTF8, NULL));
		MUST(document_read(&second, &again, NULL) == 0);
		MUST(again.out == r.out && again.wall == r.wall);
		MUST(!packets_differ(&r.packet, &again.packet, r.out));
	}
	bson_destroy(&second);
}

static void frame(const uint8_t *data, size_t size, const struct options *o)
{
	static struct ends_table *none;
	struct rec_slot slot;
	const struct rec_head *records[1] = {&slot.head};
	struct batch batch = {
		.source = &source, .number = 1, .version = ENCODE_VERSION, .records = records, .nrecords = 1};
	bson_t document = BSON_INITIALIZER, less = BSON_INITIALIZER;
	uint8_t out[REC_CAP_MAX], spoiled[8192];
	struct document_record r;
	size_t length;

	if (!none)
		none = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	packets_record(&slot, data, (uint32_t)size, (uint32_t)size, o->flags & 4 ? 1 : 0);
	MUST(document_encode(&document, &batch, none, 0) == 0);
	MUST(bson_validate(&document, BSON_VALIDATE_UTF8, NULL));
	MUST(document_read(&document, &r, NULL) == 0);
	MUST(packet_rebuild(&r.packet, out) == slot.head.cap_len);
	MUST(!memcmp(out, slot.bytes, slot.head.cap_len));

	/* A field less (in place of raw, most often, as raw hides the others), and bytes changed. */
	bson_copy_to_excluding_noinit(&document, &less, o->field ? fields[o->field % PKT_FIELDS].name ?: "raw" : "raw", NULL);
	length = less.len;
	MUST(length <= sizeof(spoiled));
	memcpy(spoiled, bson_get_data(&less), length);
	read_any(spoiled, length);
	for (unsigned i = 0; i < sizeof(o->spoil); i++)
		spoiled[(o->spoil_at + i) % length] ^= o->spoil[i];
	read_any(spoiled, length);
	bson_destroy(&less);
	bson_destroy(&document);
}

/* A field of ten bytes: number, 4 bits of text and length each, a value of 8. */
static void append(bson_t *to, const uint8_t *b)
{
	static const char *const texts[] = {"in", "out", "rx", "tx", "10.0.0.1", "10.0.0.2", "::1", "ff02::1",
					    "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "time,long", "", "x"};
	const struct field *f = &fields[b[0] < PKT_FIELDS ? b[0] : b[0] - PKT_FIELDS];
	static uint8_t bytes[REC_CAP_MAX];
	uint64_t number;

	memcpy(&number, b + 2, sizeof(number));
	if (!f->name)
		return;
	switch (f->type) {
	case FIELD_INT32:
		bson_append_int32(to, f->name, -1, (int32_t)number);
		break;
	case FIELD_DOUBLE:
		bson_append_double(to, f->name, -1, (double)(number & 0xffffffffffff));
		break;
	case FIELD_STRING:
		bson_append_utf8(to, f->name, -1, texts[(b[1] & 15) % (sizeof(texts) / sizeof(*texts))], -1);
		break;
	case FIELD_BINARY:
		memcpy(bytes, b + 2, 8);
		bson_append_binary(to, f->name, -1, BSON_SUBTYPE_BINARY, bytes, 4u * (b[1] >> 4));
		break;
	case FIELD_DATE:
		bson_append_date_time(to, f->name, -1, (int64_t)number);
		break;
	}
}

static void list(const uint8_t *data, size_t size, const struct options *o)
{
	bson_t document = BSON_INITIALIZER;

	if (!(o->flags & 8)) {
		bson_append_date_time(&document, "ts", -1, 1700000000000);
		bson_append_int32(&document, "ns", -1, 5);
		bson_append_utf8(&document, "dir", -1, o->flags & 4 ? "out" : "in", -1);
		bson_append_int32(&document, "len", -1, o->spoil_at);
	}
	for (size_t i = 0; i + 10 <= size; i += 10)
		append(&document, data + i);
	read_any(bson_get_data(&document), document.len);
	bson_destroy(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o;

	if (size < sizeof(o))
		return 0;
	size -= sizeof(o);
	memcpy(&o, data + size, sizeof(o));
	if (o.flags & 1)
		list(data, size, &o);
	else if (o.flags & 2)
		read_any(data, size);
	else
		frame(data, size, &o);
	return 0;
}
