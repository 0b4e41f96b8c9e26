/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * encode_document.c - what user space spends on each packet in documents mode before the driver has it: order, digest,
 * decode, ends, command; on a synthetic heavy-tailed mix (the parameters of the encoder's measurements) and on captures
 * beside it (XDP_RECORDER_PCAPS). Prints `NAME figure unit` lines. Parts are measured one by one over all packets, so
 * each pays for the memory; in order_digest_command they follow each other batch by batch, as in the recorder. --smoke:
 * one round.
 */
#include <bson/bson.h>
#include <stdio.h>
#include <time.h>

#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "tests/bench/traffic.h"
#include "tests/unit/packets.h"

static void captured(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct trace *t = arg;
	struct rec_slot slot;

	if (t->n == PACKETS)
		return;
	packets_record(&slot, frame, cap, wire, t->n & 1);
	trace_add(t, &slot, t->n / 16 % RINGS);
}

/* ---- the parts ------------------------------------------------------------------------------------------------------
 */

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "sensor-one", .iface = "enp3s0"};
static struct ends_table *ends;
static struct command_buffer command;
static uint64_t sink, command_bytes;

static void part_order(struct batch *b)
{
	canonical_order(b);
}

static void part_digest(struct batch *b)
{
	canonical_digest(b);
	sink += b->digest[0];
}

static void part_decode(struct batch *b)
{
	for (uint32_t i = 0; i < b->nrecords; i++) {
		struct packet p;

		packet_decode(&p, b->records[i], record_bytes(b->records[i]));
		sink += p.has[0];
	}
}

static void part_ends(struct batch *b)
{
	static struct packet packets[BATCH];

	for (uint32_t i = 0; i < b->nrecords; i++)
		packet_decode(&packets[i], b->records[i], record_bytes(b->records[i]));
	for (uint32_t i = 0; i < b->nrecords; i++)
		sink += ends_source_is_local(ends, &packets[i]);
}

static void part_rebuild(struct batch *b)
{
	for (uint32_t i = 0; i < b->nrecords; i++) {
		uint8_t bytes[REC_CAP_MAX];
		struct packet p;

		packet_decode(&p, b->records[i], record_bytes(b->records[i]));
		sink += (uint64_t)packet_rebuild(&p, bytes) + bytes[13];
	}
}

static void part_command(struct batch *b)
{
	uint32_t next;

	document_command(&command, "packets_20260101", b, ends, 0, b->nrecords, NULL, 48000000, 10000, &next);
	command_bytes += command.len;
}

/* The same documents by libbson's calls, to compare. */
#define LIB_INT32(name, value) bson_append_int32(&d, #name, sizeof(#name) - 1, (int32_t)(value))
#define LIB_DOUBLE(name, value) bson_append_double(&d, #name, sizeof(#name) - 1, (double)(value))
#define LIB_DATE(name, value) (void)0
#define LIB_STRING(name, value)                                                                                        \
	do {                                                                                                           \
		char at[FIELD_TEXT_MAX];                                                                               \
		unsigned size = (value);                                                                               \
		bson_append_utf8(&d, #name, sizeof(#name) - 1, at, (int)size);                                         \
	} while (0)
#define LIB_ARGUMENTS(pointer, length) pointer, length
#define LIB_APPEND(...) bson_append_binary(__VA_ARGS__)
#define LIB_BINARY(name, value) LIB_APPEND(&d, #name, sizeof(#name) - 1, BSON_SUBTYPE_BINARY, LIB_ARGUMENTS value)

static void part_libbson(struct batch *b)
{
	bson_t all = BSON_INITIALIZER;

	for (uint32_t i = 0; i < b->nrecords; i++) {
		int64_t wall = batch_wall(b, b->records[i]->time);
		struct packet packet, *p = &packet;
		uint8_t id[PACKET_ID_LEN];
		bson_t d, meta;
		char key[16];
		const char *text;
		size_t length = bson_uint32_to_string(i, &text, key, sizeof(key));
		bool out;

		packet_decode(p, b->records[i], record_bytes(b->records[i]));
		out = ends_source_is_local(ends, p);
		if (out != (p->outer.key.side == REC_TX))
			packet_set(p, PKT_SIDE);
		bson_append_document_begin(&all, text, (int)length, &d);
		packet_id(id, b, i);
		bson_append_binary(&d, "_id", 3, BSON_SUBTYPE_BINARY, id, sizeof(id));
		bson_append_date_time(&d, "ts", 2, clock_ms(wall));
		bson_append_document_begin(&d, "meta", 4, &meta);
		bson_append_utf8(&meta, "iface", 5, b->source->iface, -1);
		bson_append_utf8(&meta, "sensor", 6, b->source->sensor, -1);
		bson_append_document_end(&d, &meta);
#define F(field, name, bson, where, tshark, description)                                                               \
	if (packet_has(p, PKT_##field))                                                                                \
		LIB_##bson(name, where);
#include "recorder/packet/fields.def"
#undef F
		bson_append_document_end(&all, &d);
	}
	sink += all.len;
	bson_destroy(&all);
}

/* All that the recorder does with a batch before the driver has it. */
static void part_all(struct batch *b)
{
	part_order(b);
	part_digest(b);
	part_command(b);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ns of CPU for each packet, the best of the rounds. */
static double measure(const struct trace *t, void (*part)(struct batch *), unsigned rounds)
{
	const struct rec_head **copy = calloc(t->n + 1, sizeof(*copy));
	double best = 1e9;

	for (unsigned round = 0; round < rounds; round++) {
		uint64_t start, ns;

		memcpy(copy, t->records, t->n * sizeof(*copy));
		start = cpu_ns();
		for (uint32_t first = 0; first < t->n; first += BATCH) {
			struct batch b = {.source = &source,
					  .number = first / BATCH + 1,
					  .version = ENCODE_VERSION,
					  .pair = {.boot = 0, .wall = 1767225600000000000},
					  .records = copy + first,
					  .nrecords = t->n - first < BATCH ? t->n - first : BATCH};

			part(&b);
		}
		ns = cpu_ns() - start;
		if ((double)ns / t->n < best)
			best = (double)ns / t->n;
	}
	free(copy);
	return best;
}

static void report(const char *name, const struct trace *t, unsigned rounds)
{
	double order = measure(t, part_order, rounds), all = measure(t, part_all, rounds);
	uint32_t raw = 0;

	/* From here on in canonical order, as in the recorder. */
	for (uint32_t first = 0; first < t->n; first += BATCH) {
		struct batch b = {.records = t->records + first,
				  .nrecords = t->n - first < BATCH ? t->n - first : BATCH};

		canonical_order(&b);
	}
	for (uint32_t i = 0; i < t->n; i++) {
		struct packet p;

		packet_decode(&p, t->records[i], record_bytes(t->records[i]));
		raw += (uint32_t)packet_has(&p, PKT_RAW);
	}
#define PRINT(part, figure, unit) printf("encode_document.%s." part " %.1f " unit "\n", name, figure)
	PRINT("order_digest_command", all, "ns/packet");
	PRINT("order", order, "ns/packet");
	PRINT("digest", measure(t, part_digest, rounds), "ns/packet");
	PRINT("decode", measure(t, part_decode, rounds), "ns/packet");
	PRINT("decode_ends", measure(t, part_ends, rounds), "ns/packet");
	PRINT("decode_rebuild", measure(t, part_rebuild, rounds), "ns/packet");
	command_bytes = 0;
	PRINT("command", measure(t, part_command, rounds), "ns/packet");
	PRINT("command_by_libbson", measure(t, part_libbson, rounds), "ns/packet");
	PRINT("document", (double)command_bytes / rounds / t->n, "bytes/packet");
	PRINT("headers", (double)t->header_bytes / t->n, "bytes/packet");
	PRINT("raw", 1e6 * raw / t->n, "ppm");
}

int main(int argc, char **argv)
{
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8},
						   {.address = {192, 168}, .family = 4, .prefix = 16},
						   {.address = {172, 16}, .family = 4, .prefix = 12},
						   {.address = {0x20, 0x01, 0x0d, 0xb8}, .family = 6, .prefix = 32}};
	static const struct ends_network own[] = {{.address = {10, 0, 0, 1}, .family = 4},
						  {.address = {0xfe, 0x80, [15] = 1}, .family = 6}};
	bool smoke = argc == 2 && !strcmp(argv[1], "--smoke");
	unsigned rounds = smoke ? 1 : 5;
	struct trace t;

	if (argc > 1 && !smoke) {
		fprintf(stderr, "usage: %s [--smoke]\n", argv[0]);
		return 2;
	}
	ends = ends_table_new(own, 2, NULL, 0, home, 4);
	if (!ends)
		return 1;
	printf("# %d packets in batches of %d from %d rings; " TRAFFIC_TEXT ", best of %u rounds\n", PACKETS, BATCH, RINGS,
	       INSIDE, OUTSIDE, LIVE, FLOW_MAX, rounds);
	trace_init(&t);
	traffic_flows(&t, false);
	trace_by_rings(&t);
	report("synthetic", &t, rounds);
	trace_free(&t);
	if (packets_captures()) {
		trace_init(&t);
		packets_directory(packets_captures(), captured, &t);
		trace_by_rings(&t);
		if (t.n)
			report("captures", &t, rounds);
		trace_free(&t);
	} else {
		printf("# no captures: set XDP_RECORDER_PCAPS\n");
	}
	command_buffer_free(&command);
	ends_table_free(ends);
	return sink == 42; /* it was all used */
}
