/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket.c - libFuzzer target: buckets that nobody should have written -> documents; packets of any kind -> buckets ->
 * documents.
 *
 * Input: bytes, then eight of options, all zero in the corpus, which say what the bytes are: a column of a bucket that
 * is else whole; a bucket as it is; what is changed in a whole one, three bytes each: place (2), exclusive or (1); or a
 * frame and how copies of it differ, of which a batch is made.
 * What must hold, besides nothing being read or written where it must not: a bucket that is read gives at least one
 * document, each well-formed as far as its own elements go, with ts first; one that is refused says why; twice the same
 * comes of it. A batch's buckets of either version are valid, pass the self-check and read as so many documents; every
 * packet is in one of them.
 */
#include <bson/bson.h>
#include <errno.h>

#include "recorder/encode/bucket.h"
#include "recorder/encode/bucket_read.h"
#include "recorder/encode/column_plain.h"
#include "recorder/ledger/canonical.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/bucket_hand.h"

struct options {
	uint8_t flags;	     /* 1: a bucket; 2: changes; 16: packets; else a column; 4: version 1; 8: version 2 */
	uint8_t count;	     /* of measurements: the column's; of packets; 0: 100 */
	uint8_t differences; /* of packets: how many at the end of the bytes */
	uint8_t any;	     /* of packets: so many in 256 hold any values */
	uint8_t times;	     /* of packets: 255: ten times `count` of them */
	uint8_t rest[3];
};

#define MOST 255u
static const uint8_t id[12];
static const bson_t empty = BSON_INITIALIZER;

struct seen {
	uint32_t count;
	uint64_t sum;
};

static bool look(void *arg, uint32_t index, const bson_t *document)
{
	const uint8_t *bytes = bson_get_data(document);
	struct seen *seen = arg;
	bson_iter_t it;

	MUST(index == seen->count);
	MUST(bson_iter_init(&it, document) && bson_iter_next(&it));
	MUST(!strcmp(bson_iter_key(&it), "ts") && BSON_ITER_HOLDS_DATE_TIME(&it));
	for (uint32_t i = 0; i < document->len; i++)
		seen->sum = (seen->sum ^ bytes[i]) * 1099511628211ull;
	seen->count++;
	return true;
}

static void read_any(const uint8_t *bytes, size_t size)
{
	struct seen first = {0}, second = {0};
	const char *problem = NULL;
	bson_t bucket;
	int status;

	if (size > INT32_MAX || !bson_init_static(&bucket, bytes, size))
		return;
	status = bucket_read(&bucket, look, &first, &problem);
	MUST(status == 0 ? first.count > 0 : status == -EINVAL && problem && *problem);
	MUST(bucket_read(&bucket, look, &second, NULL) == status);
	MUST(first.count == second.count && first.sum == second.sum);
}

/* n values of a type: a mix of runs, steps and gaps. */
static void append_column(bson_t *data, const char *name, uint8_t type, uint32_t n)
{
	static struct column_value values[MOST];
	static uint8_t packed[COLUMN_PLAIN_BOUND(MOST, 16 * MOST)];

	for (uint32_t i = 0; i < n; i++) {
		values[i] = (struct column_value){.type = type};
		if (type != BSON_TYPE_DATE_TIME && i % 11 == 3)
			values[i].type = COLUMN_VALUE_MISSING;
		else if (type == BSON_TYPE_DOUBLE)
			values[i].real = i / 7 * 1000.0;
		else if (type == BSON_TYPE_UTF8 || type == BSON_TYPE_BINARY)
			memcpy(values[i].small, i / 20 % 2 ? "192.0.2.1" : "10.0.0.77", values[i].len = 9);
		else
			values[i].number = 1770000000000 % INT32_MAX + i * i / 40;
	}
	bson_append_binary(data, name, -1, (bson_subtype_t)7, packed, (uint32_t)column_plain(packed, values, n));
}

static void append_plain(bson_t *data, const char *name, uint32_t n)
{
	char text[16];
	bson_t column;

	bson_append_document_begin(data, name, -1, &column);
	for (uint32_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%u", i);
		bson_append_date_time(&column, text, -1, i);
	}
	bson_append_document_end(data, &column);
}

/* A whole bucket, with `column` in it where there is one. */
static void make(bson_t *bucket, const struct options *o, const uint8_t *column, size_t size)
{
	uint32_t n = o->count ? o->count : 100;
	bson_t data = BSON_INITIALIZER;
	int32_t version = o->flags & 4 ? 1 : o->flags & 8 ? 2 : 3;

	if (version == 1) {
		append_plain(&data, "ts", n);
		append_plain(&data, "x", n);
	} else {
		append_column(&data, "ts", BSON_TYPE_DATE_TIME, n);
		append_column(&data, "len", BSON_TYPE_INT32, n);
		append_column(&data, "seq", BSON_TYPE_DOUBLE, n);
		append_column(&data, "local", BSON_TYPE_UTF8, n);
		append_column(&data, "raw", BSON_TYPE_BINARY, n);
	}
	if (column)
		bson_append_binary(&data, "any", -1, (bson_subtype_t)7, column, (uint32_t)size);
	bson_init(bucket);
	hand_bucket(bucket, version, version == 1 ? -1 : (int32_t)n, &empty, &empty, &empty, &data, id);
	bson_destroy(&data);
}

static void change(const struct options *o, const uint8_t *changes, size_t size)
{
	static uint8_t spoiled[1 << 16];
	bson_t bucket;

	make(&bucket, o, NULL, 0);
	MUST(bucket.len <= sizeof(spoiled));
	memcpy(spoiled, bson_get_data(&bucket), bucket.len);
	read_any(spoiled, bucket.len);
	for (size_t i = 0; i + 3 <= size; i += 3)
		spoiled[(changes[i] | changes[i + 1] << 8) % bucket.len] ^= changes[i + 2];
	read_any(spoiled, bucket.len);
	bson_destroy(&bucket);
}

/* ---- packets to buckets ------------------------------------------------------------------------------------------ */

#define PACKETS_MOST (10 * MOST)
static struct rec_slot slots[PACKETS_MOST];
static const struct rec_head *records[PACKETS_MOST];

/* From packet `first` on every `every`th one has byte `at` changed, more and more. */
struct difference {
	uint8_t at, first, every, by;
};

/* One packet of any values that can be written as bytes, or none. */
static bool any_record(struct rec_slot *slot, uint64_t *random)
{
	uint8_t bytes[REC_CAP_MAX];
	struct packet p;
	int length = any_packet_bytes(&p, random, bytes);

	if (length < 0)
		return false;
	memset(slot, 0, sizeof(*slot));
	memcpy(slot->bytes, bytes, (size_t)length);
	slot->head = (struct rec_head){
		.wire_len = p.len, .cap_len = (uint16_t)length, .side = p.outer.key.side, .marks = p.marks};
	return true;
}

static uint32_t make_records(const struct options *o, const uint8_t *frame, size_t size)
{
	uint32_t n = (o->count ? o->count : 100) * (o->times == 255 ? 10u : 1u), length;
	uint64_t random = 1 + (uint64_t)o->rest[0] + ((uint64_t)o->rest[1] << 8), time = 0;
	struct difference differences[64];
	size_t count = o->differences % 64;

	count = count < size / sizeof(*differences) ? count : size / sizeof(*differences);
	size -= count * sizeof(*differences);
	memcpy(differences, frame + size, count * sizeof(*differences));
	length = size < REC_CAP_MAX ? (uint32_t)size : REC_CAP_MAX;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t bytes[REC_CAP_MAX];

		memcpy(bytes, frame, length);
		for (size_t d = 0; length && d < count; d++)
			if (i >= differences[d].first && i % (differences[d].every + 1u) == 0)
				bytes[differences[d].at % length] += (uint8_t)(differences[d].by * (i + 1));
		if (packets_random(&random) >> 56 >= o->any || !any_record(&slots[i], &random))
			packets_record(&slots[i], bytes, length, (uint32_t)size, bytes[0] & 1);
		time += packets_random(&random) >> (o->rest[2] % 32 + 32);
		slots[i].head.time = time % 3600000000000;
		records[i] = &slots[i].head;
	}
	return n;
}

static void encode(struct bucket_maker *maker, const struct ends_table *ends, const struct batch *batch,
		   uint8_t version)
{
	struct bucket_form form = {.span_s = 7200, .version = version, .raw = true};
	int buckets = bucket_plan(maker, batch, ends, &form);
	uint32_t sum = 0;

	MUST(buckets > 0);
	for (uint32_t i = 0; i < (uint32_t)buckets; i++) {
		struct bucket_problem wrong = {""};
		bson_t bucket = BSON_INITIALIZER;
		const char *problem = NULL;
		struct seen seen = {0};
		uint32_t n;

		bucket_positions(maker, i, &n);
		sum += n;
		MUST(bucket_encode(maker, &bucket, i) == 0);
		MUST(bson_validate(&bucket, BSON_VALIDATE_UTF8, NULL));
		if (bucket_check(maker, &bucket, i, &wrong)) {
			fprintf(stderr, "version %u: %s\n", version, wrong.text);
			abort();
		}
		MUST(bucket_read(&bucket, look, &seen, &problem) == 0 && seen.count == n);
		bson_destroy(&bucket);
	}
	MUST(sum == batch->nrecords);
}

static void packets(const struct options *o, const uint8_t *frame, size_t size)
{
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8}};
	static const struct batch_source source = {.sensor = "s", .iface = "i"};
	static struct bucket_maker *maker;
	static struct ends_table *ends;
	/* 7200 s begin at this time */
	struct batch batch = {.source = &source,
			      .number = 1,
			      .version = ENCODE_VERSION,
			      .pair = {.boot = 0, .wall = 7200000000000 * 236111},
			      .records = records};

	if (!maker) {
		maker = bucket_maker_new();
		ends = ends_table_new(NULL, 0, NULL, 0, home, 1);
		MUST(maker && ends);
	}
	batch.nrecords = make_records(o, frame, size);
	canonical_order(&batch);
	encode(maker, ends, &batch, 3);
	encode(maker, ends, &batch, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o;
	bson_t bucket;

	if (size < sizeof(o))
		return 0;
	size -= sizeof(o);
	memcpy(&o, data + size, sizeof(o));
	if (o.flags & 1) {
		read_any(data, size);
	} else if (o.flags & 2) {
		change(&o, data, size);
	} else if (o.flags & 16) {
		packets(&o, data, size);
	} else {
		make(&bucket, &o, data, size);
		read_any(bson_get_data(&bucket), bucket.len);
		bson_destroy(&bucket);
	}
	return 0;
}
