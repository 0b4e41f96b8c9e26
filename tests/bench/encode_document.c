/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * encode_document.c - what user space spends on each packet in documents mode before the driver has it: order, digest,
 * decode, ends, command; on a synthetic heavy-tailed mix (the parameters of the encoder's measurements) and on captures
 * beside it (XDP_RECORDER_PCAPS). Prints `NAME figure unit` lines. Parts are measured one by one over all packets, so
 * each pays for the memory; in order_digest_command they follow each other batch by batch, as in the recorder. --smoke:
 * one round.
 */
#include <bson/bson.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "tests/unit/packets.h"

enum { INSIDE = 400, OUTSIDE = 30000, LIVE = 1500, PACKETS = 400000, BATCH = 4096, RINGS = 4, FLOW_MAX = 60000 };

static uint64_t random_state = 0x2545f4914f6cdd1dull;

static uint32_t below(uint32_t n)
{
	return (uint32_t)((packets_random(&random_state) >> 32) * n >> 32);
}

static double uniform(void)
{
	return ((double)(packets_random(&random_state) >> 11) + 1) / 9007199254740993.0;
}

/* ---- the traffic --------------------------------------------------------------------------------------------------
 */

static double zipf_inside[INSIDE], zipf_outside[OUTSIDE];

static void zipf_init(double *sums, unsigned n, double exponent)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sums[i] = sum += pow(i + 1, -exponent);
}

static unsigned zipf(const double *sums, unsigned n)
{
	double x = uniform() * sums[n - 1];
	unsigned low = 0;

	while (n > 1) {
		unsigned half = n / 2;

		low += sums[low + half - 1] < x ? half : 0;
		n -= half;
	}
	return low;
}

struct flow {
	uint32_t inside, outside, left, seq[2], ts[2];
	uint16_t port, service;
	uint8_t proto, six, scan, fresh;
	uint16_t vlan;
};

static void flow_new(struct flow *f)
{
	double kind = uniform(), packets = pow(uniform(), -1 / 1.1);

	memset(f, 0, sizeof(*f));
	f->inside = zipf(zipf_inside, INSIDE);
	f->outside = zipf(zipf_outside, OUTSIDE);
	f->left = packets > FLOW_MAX ? FLOW_MAX : (uint32_t)packets;
	f->six = below(100) < 15;
	f->proto = kind < 0.70 ? 6 : kind < 0.96 ? 17 : 1;
	f->scan = f->proto == 6 && below(100) < 4;
	if (f->scan)
		f->left = 1;
	f->port = (uint16_t)(32768 + below(28000));
	f->service = f->proto == 17 && below(2) ? 53 : (uint16_t)(below(4) ? 443 : 1 + below(9000));
	f->vlan = f->inside % 3 == 0 ? (uint16_t)(100 + f->inside % 7) : 0;
	f->seq[0] = (uint32_t)packets_random(&random_state);
	f->seq[1] = (uint32_t)packets_random(&random_state);
	f->ts[0] = (uint32_t)packets_random(&random_state);
	f->ts[1] = (uint32_t)packets_random(&random_state);
	f->fresh = 1;
}

static uint8_t *put_mac(uint8_t *b, uint32_t host, bool inside)
{
	b[0] = 2;
	b[1] = inside;
	put_be32(b + 2, inside ? host : 1); /* what is outside comes from one router */
	return b + 6;
}

static uint8_t *put_address(uint8_t *b, uint32_t host, bool inside, bool six)
{
	if (six) {
		put_be64(b, inside ? 0x20010db800010000ull : 0x2a00145000000000ull | host * 2654435761u >> 8);
		put_be64(b + 8, inside ? 0x021122fffe000000ull | host : host % 3 ? host : 0x9abc000000001234ull | host);
		return b + 16;
	}
	put_be32(b, inside ? 0x0a000000 + host : 0x17000000 + host * 2654435761u % 0xb0000000);
	return b + 4;
}

/* Writes the frame's headers; the frame's length on the wire is *wire. */
static unsigned put_packet(uint8_t *start, struct flow *f, bool out, uint32_t *wire)
{
	uint8_t *b = start, options[40];
	unsigned n = 0, payload = below(3) ? 1400 + below(49) : below(600), l4;
	bool syn = f->fresh && f->proto == 6, pure = f->proto == 6 && (syn || below(3) == 0);

	if (pure)
		payload = 0;
	if (f->proto == 17 && f->service == 53)
		payload = 30 + below(150);
	if (syn) {
		memcpy(options, "\2\4\5\xb4\4\2\10\12____\0\0\0\0\1\3\3\7", 20);
		put_be32(options + 8, f->ts[!out]);
		n = 20;
	} else if (f->proto == 6) {
		memcpy(options, "\1\1\10\12", 4);
		put_be32(options + 4, f->ts[!out] += below(3));
		put_be32(options + 8, f->ts[out]);
		n = 12;
		if (pure && below(100) < 8) {
			memcpy(options + 12, "\1\1\5\12", 4);
			put_be32(options + 16, f->seq[out] + 1448);
			put_be32(options + 20, f->seq[out] + 2896);
			n = 24;
		}
	}
	l4 = f->proto == 6 ? 20 + n : 8;
	b = out ? put_mac(put_mac(b, f->outside, false), f->inside, true)
		: put_mac(put_mac(b, f->inside, true), f->outside, false);
	if (f->vlan) {
		put_be16(b, 0x8100);
		put_be16(b + 2, f->vlan);
		b += 4;
	}
	put_be16(b, f->six ? 0x86dd : 0x0800);
	b += 2;
	*wire = (uint32_t)(b - start) + (f->six ? 40 : 20) + l4 + payload;
	if (f->six) {
		put_be32(b, 0x60000000 | f->port * 13u % 0xfffff);
		put_be16(b + 4, (uint16_t)(l4 + payload));
		b[6] = f->proto == 1 ? 58 : f->proto;
		b[7] = out ? 64 : 50;
		b += 8;
	} else {
		uint64_t sum = 0;

		memset(b, 0, 12);
		b[0] = 0x45;
		put_be16(b + 2, (uint16_t)(20 + l4 + payload));
		put_be16(b + 4, (uint16_t)packets_random(&random_state));
		b[6] = 0x40;
		b[8] = out ? 64 : 50;
		b[9] = f->proto;
		b += 12;
		put_address(put_address(b, out ? f->inside : f->outside, out, false), out ? f->outside : f->inside,
			    !out, false);
		for (int i = -12; i < 8; i += 2)
			sum += get_be16(b + i);
		sum = (sum & 0xffff) + (sum >> 16);
		put_be16(b - 2, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	}
	b = put_address(b, out ? f->inside : f->outside, out, f->six);
	b = put_address(b, out ? f->outside : f->inside, !out, f->six);
	if (f->proto == 1) {
		b[0] = f->six ? (out ? 128 : 129) : (out ? 8 : 0);
		b[1] = 0;
		put_be16(b + 2, (uint16_t)packets_random(&random_state));
		put_be16(b + 4, f->port);
		put_be16(b + 6, (uint16_t)f->seq[0]++);
		b += 8;
	} else {
		put_be16(b, out ? f->port : f->service);
		put_be16(b + 2, out ? f->service : f->port);
		if (f->proto == 17) {
			put_be16(b + 4, (uint16_t)(8 + payload));
			put_be16(b + 6, (uint16_t)packets_random(&random_state));
			b += 8;
		} else {
			put_be32(b + 4, f->seq[!out]);
			put_be32(b + 8, syn ? 0 : f->seq[out]);
			put_be16(b + 12, (uint16_t)((5 + n / 4) << 12 | (syn ? 2 : payload ? 0x18 : 0x10)));
			put_be16(b + 14, (uint16_t)(500 + below(20)));
			put_be16(b + 16, (uint16_t)packets_random(&random_state));
			put_be16(b + 18, 0);
			memcpy(b + 20, options, n);
			f->seq[!out] += payload;
			b += 20 + n;
		}
	}
	f->fresh = 0;
	return (unsigned)(b - start);
}

/* ---- records as they lie in rings ----------------------------------------------------------------------------------
 */

struct trace {
	uint8_t *ring[RINGS];
	size_t used[RINGS];
	const struct rec_head **records; /* batch by batch, in runs by ring */
	uint32_t n;
	uint64_t time, header_bytes;
};

static void trace_add(struct trace *t, const struct rec_slot *slot, unsigned ring)
{
	struct rec_head *h = (struct rec_head *)(t->ring[ring] + t->used[ring]);

	memcpy(h, slot, sizeof(*h) + slot->head.cap_len);
	h->time = t->time += 1 + below(600);
	t->used[ring] += REC_RECORD_LEN(slot->head.cap_len);
	t->header_bytes += slot->head.cap_len;
	t->records[t->n++] = h;
}

static void trace_init(struct trace *t)
{
	memset(t, 0, sizeof(*t));
	t->time = 1000000000;
	t->records = calloc(PACKETS, sizeof(*t->records));
	for (unsigned i = 0; i < RINGS; i++)
		t->ring[i] = calloc(PACKETS, REC_RECORD_MAX);
}

static void trace_free(struct trace *t)
{
	free(t->records);
	for (unsigned i = 0; i < RINGS; i++)
		free(t->ring[i]);
}

static void synthetic(struct trace *t)
{
	static struct flow flows[LIVE];

	zipf_init(zipf_inside, INSIDE, 1.0);
	zipf_init(zipf_outside, OUTSIDE, 1.1);
	for (unsigned i = 0; i < LIVE; i++)
		flow_new(&flows[i]);
	while (t->n < PACKETS) {
		struct flow *f = &flows[below(LIVE)];
		bool out = f->fresh ? below(4) != 0 : below(2);
		unsigned ring = (f->port ^ f->service) % 2 + (out ? 2 : 0);

		for (unsigned train = 1 + below(24); train && t->n < PACKETS; train--) {
			struct rec_slot slot = {0};

			slot.head.cap_len = (uint16_t)put_packet(slot.bytes, f, out, &slot.head.wire_len);
			slot.head.side = out;
			trace_add(t, &slot, ring);
			if (--f->left == 0) {
				flow_new(f);
				break;
			}
		}
	}
}

static void captured(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct trace *t = arg;
	struct rec_slot slot;

	if (t->n == PACKETS)
		return;
	packets_record(&slot, frame, cap, wire, t->n & 1);
	trace_add(t, &slot, t->n / 16 % RINGS);
}

/* Within each batch: ring after ring, as `cut` takes them. */
static void by_rings(struct trace *t)
{
	const struct rec_head **batch = calloc(BATCH, sizeof(*batch));

	for (uint32_t first = 0; first < t->n; first += BATCH) {
		uint32_t n = t->n - first < BATCH ? t->n - first : BATCH, to = 0;

		for (unsigned ring = 0; ring < RINGS; ring++)
			for (uint32_t i = first; i < first + n; i++) {
				const uint8_t *p = (const uint8_t *)t->records[i];

				if (p >= t->ring[ring] && p < t->ring[ring] + t->used[ring])
					batch[to++] = t->records[i];
			}
		memcpy(t->records + first, batch, n * sizeof(*batch));
	}
	free(batch);
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
		bson_append_date_time(&d, "ts", 2, fields_ms(wall));
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
	printf("# %d packets in batches of %d from %d rings; %d hosts inside (Zipf 1.0), %d outside (1.1), %d live "
	       "flows, length "
	       "Pareto 1.1 up to %d, 15%% IPv6, 70%% TCP (4%% one-SYN scans), 26%% UDP (half DNS), 4%% ICMP, trains of "
	       "1-24, a third "
	       "of the inside hosts tagged, random checksums, best of %u rounds\n",
	       PACKETS, BATCH, RINGS, INSIDE, OUTSIDE, LIVE, FLOW_MAX, rounds);
	trace_init(&t);
	synthetic(&t);
	by_rings(&t);
	report("synthetic", &t, rounds);
	trace_free(&t);
	if (packets_captures()) {
		trace_init(&t);
		packets_directory(packets_captures(), captured, &t);
		by_rings(&t);
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
