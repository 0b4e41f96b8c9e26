/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * encode_bucket.c - from records to finished buckets: ns of CPU and bytes a packet, on the heavy-tailed mix, with one
 * train in eight of another kind (rare fields), on captures (XDP_RECORDER_PCAPS), and where every packet is its own
 * conversation. Parts are measured over all packets: decode; group (flow_make without decode); gather (rows to arrays
 * and lists); columns; rest (cut, hosts, control, the move). Beside it the same packets as documents, and the size of
 * the columns packed by the plain encoder, which packs as MongoDB does. Every bucket of the first round is checked
 * (bucket_check), versions 2 and 3. Prints `NAME figure unit` lines. --smoke: one round. Exit status 1 when a check
 * fails or the size misses its aim.
 */
#include <bson/bson.h>
#include <stdio.h>
#include <time.h>

#include "recorder/encode/bucket_internal.h"
#include "recorder/encode/column_plain.h"
#include "recorder/ledger/canonical.h"
#include "tests/bench/traffic.h"
#include "tests/unit/packets.h"

#define SIZE_AIM 1.0 /* percent more than the plain encoder */
#define COMMAND_BYTES 1000000u

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "sensor-one", .iface = "enp3s0"};
static const char collection[] = "packets_20260101";
static struct ends_table *ends;
static struct bucket_maker *maker;
static struct flow_maker *flows;
static struct command_buffer command;
static struct bucket_form form = {.span_s = 31536000, .version = 3, .raw = true};
static uint64_t sink;
static bool failed;

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the parts; each gives bytes made -------------------------------------------------------------------------------
 */

static uint64_t part_decode(struct batch *b)
{
	for (uint32_t i = 0; i < b->nrecords; i++) {
		struct packet p;

		packet_decode(&p, b->records[i], record_bytes(b->records[i]));
		sink += p.has[0];
	}
	return 0;
}

static uint64_t part_flow(struct batch *b)
{
	struct flow flow;

	if (flow_make(flows, b, ends, &flow) < 0)
		abort();
	sink += flow.keys;
	return 0;
}

static void plan(struct batch *b)
{
	if (bucket_plan(maker, b, ends, &form) < 1)
		abort();
}

static uint64_t part_gather(struct batch *b)
{
	plan(b);
	for (uint32_t i = 0; i < maker->buckets; i++) {
		gather_bucket(maker, i);
		sink += maker->gather->runs;
	}
	return 0;
}

static uint64_t part_columns(struct batch *b)
{
	plan(b);
	for (uint32_t i = 0; i < maker->buckets; i++) {
		gather_bucket(maker, i);
		command.len = 0;
		if (command_reserve(&command, gather_bound(maker)) < 0)
			abort();
		sink += (uint64_t)(gather_columns(maker, command.data) - command.data);
	}
	return 0;
}

static uint64_t part_buckets(struct batch *b)
{
	uint64_t bytes = 0;

	plan(b);
	for (uint32_t next = 0; next < maker->buckets; bytes += command.len)
		if (bucket_command(maker, &command, collection, next, COMMAND_BYTES, 10000, &next) < 1)
			abort();
	return bytes;
}

static uint64_t part_documents(struct batch *b)
{
	uint64_t bytes = 0;

	for (uint32_t next = 0; next < b->nrecords; bytes += command.len)
		if (document_command(&command, collection, b, ends, next, b->nrecords - next, NULL, COMMAND_BYTES,
				     10000, &next) < 1)
			abort();
	return bytes;
}

static uint64_t part_check(struct batch *b)
{
	plan(b);
	for (uint32_t i = 0; i < maker->buckets; i++) {
		struct bucket_problem problem = {""};
		bson_t bucket = BSON_INITIALIZER;

		if (bucket_encode(maker, &bucket, i) < 0 || bucket_check(maker, &bucket, i, &problem) < 0) {
			printf("# bucket %u of batch %lu is wrong: %s\n", i, b->number, problem.text);
			failed = true;
		}
		bson_destroy(&bucket);
	}
	return 0;
}

static uint64_t columns_bytes;

/* Bytes of the columns, and of the same values packed by the plain encoder. */
static uint64_t part_plain(struct batch *b)
{
	static struct column_value values[COLUMN_MOST];
	static uint8_t plain[COLUMN_PLAIN_BOUND(COLUMN_MOST, COLUMN_MOST * 512)];
	uint64_t bytes = 0;

	plan(b);
	for (uint32_t i = 0; i < maker->buckets; i++) {
		bson_t bucket = BSON_INITIALIZER;
		bson_iter_t it, data;

		if (bucket_encode(maker, &bucket, i) < 0 || !bson_iter_init_find(&it, &bucket, "data") ||
		    !bson_iter_recurse(&it, &data))
			abort();
		while (bson_iter_next(&data)) {
			const uint8_t *column;
			uint32_t len;
			int n;

			bson_iter_binary(&data, NULL, &len, &column);
			n = column_read(column, len, values, COLUMN_MOST, NULL, NULL);
			if (n < 0)
				abort();
			columns_bytes += len;
			bytes += column_plain(plain, values, (uint32_t)n);
		}
		bson_destroy(&bucket);
	}
	return bytes;
}

/* ---- over a trace ---------------------------------------------------------------------------------------------------
 */

struct figure {
	double ns, bytes;
};

/* A packet, the best of the rounds. `records` are in canonical order batch by batch. */
static struct figure measure(const struct rec_head **records, uint32_t n, uint32_t size,
			     uint64_t (*part)(struct batch *), unsigned rounds)
{
	struct figure best = {1e9, 0};

	for (unsigned round = 0; round < rounds; round++) {
		uint64_t start = cpu_ns(), bytes = 0;
		double ns;

		for (uint32_t first = 0; first < n; first += size) {
			struct batch b = {.source = &source,
					  .number = first / size + 1,
					  .version = ENCODE_VERSION,
					  .pair = {.boot = 0, .wall = 1767225600000000000},
					  .records = records + first,
					  .nrecords = n - first < size ? n - first : size};

			bytes += part(&b);
		}
		ns = (double)(cpu_ns() - start) / n;
		best.ns = ns < best.ns ? ns : best.ns;
		best.bytes = (double)bytes / n;
	}
	return best;
}

static void report(const char *trace, const struct rec_head **records, uint32_t n, uint32_t size, unsigned rounds)
{
	static const enum column_level levels[] = {COLUMN_AVX2, COLUMN_SSE2};
	struct figure decode = measure(records, n, size, part_decode, rounds);
	struct figure flow = measure(records, n, size, part_flow, rounds), gather, columns, whole;
	struct figure documents = measure(records, n, size, part_documents, rounds);

#define PRINT(part, figure, unit) printf("encode_bucket.%s.%u." part " %.1f " unit "\n", trace, size, figure)
	PRINT("decode", decode.ns, "ns/packet");
	PRINT("group", flow.ns - decode.ns, "ns/packet");
	PRINT("documents", documents.ns, "ns/packet");
	PRINT("documents", documents.bytes, "bytes/packet");
	for (unsigned i = 0; i < 2; i++) {
		const char *level = i ? "sse2" : "avx2";

		if (column_use(levels[i]) != levels[i]) {
			printf("# no %s here\n", level);
			continue;
		}
		gather = measure(records, n, size, part_gather, rounds);
		columns = measure(records, n, size, part_columns, rounds);
		whole = measure(records, n, size, part_buckets, rounds);
#define PRINT_LEVEL(part, figure, unit)                                                                                \
	printf("encode_bucket.%s.%u.%s." part " %.1f " unit "\n", trace, size, level, figure)
		PRINT_LEVEL("whole", whole.ns, "ns/packet");
		PRINT_LEVEL("beyond_decode", whole.ns - decode.ns, "ns/packet");
		PRINT_LEVEL("gather", gather.ns - flow.ns, "ns/packet");
		PRINT_LEVEL("columns", columns.ns - gather.ns, "ns/packet");
		PRINT_LEVEL("rest", whole.ns - columns.ns, "ns/packet");
		PRINT_LEVEL("buckets", whole.bytes, "bytes/packet");
	}
	column_use(COLUMN_BEST);
}

static void report_size(const char *trace, const struct rec_head **records, uint32_t n, uint32_t size)
{
	struct figure plain;
	double ours;

	columns_bytes = 0;
	plain = measure(records, n, size, part_plain, 1);
	ours = (double)columns_bytes / n;
	PRINT("columns", ours, "bytes/packet");
	PRINT("columns_plain", plain.bytes, "bytes/packet");
	printf("encode_bucket.%s.%u.more_than_plain %.2f percent\n", trace, size, 100 * (ours / plain.bytes - 1));
	if (!strcmp(trace, "synthetic") && ours > plain.bytes * (1 + SIZE_AIM / 100)) {
		printf("# the size misses its aim of %.1f percent\n", SIZE_AIM);
		failed = true;
	}
}

static void run(const char *trace, const struct trace *t, unsigned rounds)
{
	static const uint32_t sizes[] = {4096, 65536};
	const struct rec_head **records = calloc(t->n + 1, sizeof(*records));

	for (unsigned i = 0; i < 2 && t->n; i++) {
		memcpy(records, t->records, t->n * sizeof(*records));
		for (uint32_t first = 0; first < t->n; first += sizes[i]) {
			struct batch b = {.source = &source, .records = records + first, .nrecords = sizes[i]};

			b.nrecords = t->n - first < sizes[i] ? t->n - first : sizes[i];
			canonical_order(&b);
		}
		for (form.version = 2; form.version <= 3; form.version++)
			measure(records, t->n, sizes[i], part_check, 1);
		form.version = 2;
		printf("encode_bucket.%s.%u.version2 %.1f ns/packet\n", trace, sizes[i],
		       measure(records, t->n, sizes[i], part_buckets, rounds).ns);
		form.version = 3;
		report(trace, records, t->n, sizes[i], rounds);
		report_size(trace, records, t->n, sizes[i]);
	}
	free(records);
}

/* TCP with time stamps between two ends that never meet again; one in `six` of IPv6, 0: none. */
static void strangers(struct trace *t, unsigned six)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

	while (t->n < PACKETS) {
		bool ipv6 = six && traffic_below(six) == 0;
		uint8_t frame[128], *ip = frame + 14, *tcp = ip + (ipv6 ? 40 : 20);
		struct rec_slot slot;

		for (unsigned i = 0; i < sizeof(frame); i++)
			frame[i] = (uint8_t)traffic_below(256);
		memcpy(frame, macs, sizeof(macs));
		memcpy(frame + 12, ipv6 ? "\x86\xdd\x60\0\0\0\0\x20\x06\x40\x20\x01\x0d\xb8" : "\x08\0\x45\0\0\x34",
		       ipv6 ? 14 : 6);
		if (!ipv6)
			memcpy(ip + 6, "\x40\0\x40\x06\0\0\x0a", 7);
		memcpy(tcp + 12, "\x80\x10", 2);
		memcpy(tcp + 20, "\1\1\x08\x0a", 4);
		t->time += 1000 + traffic_below(2000);
		packets_record(&slot, frame, (uint32_t)(tcp + 32 - frame), (uint32_t)(tcp + 32 - frame),
			       traffic_below(2));
		trace_add(t, &slot, t->n / 16 % RINGS);
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

int main(int argc, char **argv)
{
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8},
						   {.address = {0x20, 0x01, 0x0d, 0xb8}, .family = 6, .prefix = 32}};
	static const char *const names[] = {"synthetic", "mixed", "strangers", "strangers_half_ipv6", "captures"};
	bool smoke = argc == 2 && !strcmp(argv[1], "--smoke");
	unsigned rounds = smoke ? 1 : 5;

	if (argc > 1 && !smoke) {
		fprintf(stderr, "usage: %s [--smoke]\n", argv[0]);
		return 2;
	}
	ends = ends_table_new(NULL, 0, NULL, 0, home, 2);
	maker = bucket_maker_new();
	flows = flow_maker_new();
	if (!ends || !maker || !flows)
		return 1;
	printf("# %d packets; " TRAFFIC_TEXT "; mixed: one train in %d of another kind; best of %u rounds\n", PACKETS,
	       INSIDE, OUTSIDE, LIVE, FLOW_MAX, TRAFFIC_REST_EVERY, rounds);
	for (unsigned i = 0; i < 5; i++) {
		struct trace t;

		trace_init(&t);
		if (i < 2)
			traffic_flows(&t, i == 1);
		else if (i < 4)
			strangers(&t, i == 3 ? 2 : 0);
		else if (packets_captures())
			packets_directory(packets_captures(), captured, &t);
		else
			printf("# no captures: set XDP_RECORDER_PCAPS\n");
		run(names[i], &t, rounds);
		trace_free(&t);
	}
	command_buffer_free(&command);
	flow_maker_free(flows);
	bucket_maker_free(maker);
	ends_table_free(ends);
	return failed || sink == 42; /* it was all used */
}
