/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * encode_flow.c - what flow_make spends on each packet, beside packet_decode, which it needs for few of them: on the heavy-tailed mix of
 * traffic.h, on the same with every other kind of packet in it, and on the worst case, each packet a conversation of
 * its own (UDP from random addresses to one); and beside it the ledger's digest of the same records. Prints `NAME figure unit` lines; ns are of CPU, the best of the rounds.
 * --smoke: one round; --once CASE BATCH PART: that part of that case once, without a figure, to count its instructions.
 */
#include <stdio.h>
#include <time.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/encode/flow.h"
#include "recorder/encode/flow_internal.h"
#include "recorder/ledger/canonical.h"
#include "recorder/packet/wire.h"
#include "tests/bench/traffic.h"
#include "tests/unit/packets.h"

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "sensor-one", .iface = "enp3s0"};
static struct ends_table *ends;
static struct flow_maker *maker;
static uint64_t sink, keys, rares;

static void part_decode(struct batch *b)
{
	for (uint32_t i = 0; i < b->nrecords; i++) {
		struct packet p;

		if (i + 8 < b->nrecords) {
			__builtin_prefetch(b->records[i + 8]);
			__builtin_prefetch((const uint8_t *)b->records[i + 8] + 64);
		}
		packet_decode(&p, b->records[i], record_bytes(b->records[i]));
		sink += p.has[0];
	}
}

static void part_all(struct batch *b)
{
	struct flow flow;

	if (flow_make(maker, b, ends, &flow) < 0)
		abort();
	keys += flow.keys;
	rares += flow.rares;
	sink += flow.order[flow.rows / 2];
}

static void part_digest(struct batch *b)
{
	if (canonical_digest(b) < 0)
		abort();
	sink += b->digest[0];
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* `part` over all packets; ns of CPU of it. `order`: flow_make is done before each, and only the order again is timed.
 */
static uint64_t run(const struct trace *t, uint32_t size, void (*part)(struct batch *))
{
	uint64_t ns = 0;

	for (uint32_t first = 0; first < t->n; first += size) {
		struct batch b = {.source = &source,
				  .number = first / size + 1,
				  .version = ENCODE_VERSION,
				  .pair = {.boot = 0, .wall = 1767225600000000000},
				  .records = t->records + first,
				  .nrecords = t->n - first < size ? t->n - first : size};
		uint64_t start;

		if (!part) {
			part_all(&b);
			memset(maker->start, 0, maker->keys * sizeof(*maker->start));
			for (uint32_t i = 0; i < b.nrecords; i++)
				maker->start[maker->number[i]]++;
		}
		start = cpu_ns();
		if (part)
			part(&b);
		else
			flow_order(maker, b.nrecords);
		ns += cpu_ns() - start;
	}
	return ns;
}

static double measure(const struct trace *t, uint32_t size, void (*part)(struct batch *), unsigned rounds)
{
	uint64_t best = UINT64_MAX;

	for (unsigned round = 0; round < rounds; round++) {
		uint64_t ns = run(t, size, part);

		best = ns < best ? ns : best;
	}
	return (double)best / t->n;
}

static void report(const char *name, const struct trace *t, unsigned rounds)
{
	static const uint32_t sizes[] = {4096, 65536, FLOW_MOST};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		double decode = measure(t, sizes[i], part_decode, rounds), order = measure(t, sizes[i], NULL, rounds),
		       all;

		keys = rares = 0;
		all = measure(t, sizes[i], part_all, rounds);
#define PRINT(part, figure, unit) printf("encode_flow.%s.%u." part " %.3f " unit "\n", name, sizes[i], figure)
		PRINT("all", all, "ns/packet");
		PRINT("decode", decode, "ns/packet");
		PRINT("rows", all - order, "ns/packet"); /* decode, look-up, rows, rare fields */
		PRINT("order", order, "ns/packet");
		PRINT("digest", measure(t, sizes[i], part_digest, rounds), "ns/packet");
		PRINT("keys", (double)keys / rounds / t->n, "keys/packet");
		PRINT("rare", (double)rares / rounds / t->n, "fields/packet");
	}
}

/* Every packet its own conversation. */
static void traffic_scattered(struct trace *t)
{
	uint8_t frame[42] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17};
	uint64_t random = 88172645463325252;
	struct rec_slot slot;

	put_be16(frame + 38, 26);
	for (uint32_t i = 0; i < PACKETS; i++) {
		put_be32(frame + 26, (uint32_t)(packets_random(&random) >> 32));
		put_be32(frame + 30, 0x0a000001);
		put_be16(frame + 24, wire_ipv4_sum(frame + 14, 20));
		put_be16(frame + 34, (uint16_t)(packets_random(&random) >> 48));
		put_be16(frame + 36, 53);
		packets_record(&slot, frame, sizeof(frame), 60, REC_RX);
		slot.head.time = 1000000000ull + 1000ull * i;
		trace_add(t, &slot, i / 16 % RINGS);
	}
	trace_by_rings(t);
}

/* In batches of FLOW_MOST: so the smaller ones are in order too. */
static void canonical(struct trace *t)
{
	for (uint32_t first = 0; first < t->n; first += FLOW_MOST) {
		struct batch b = {.records = t->records + first,
				  .nrecords = t->n - first < FLOW_MOST ? t->n - first : FLOW_MOST};

		canonical_order(&b);
	}
}

static const char *const cases[] = {"synthetic", "mixed", "scattered"};

static void fill(struct trace *t, unsigned which)
{
	trace_init(t);
	if (which == 2) {
		traffic_scattered(t);
	} else {
		traffic_flows(t, which == 1);
		trace_by_rings(t);
	}
	canonical(t);
}

static int once(char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct batch *);
	} parts[] = {{"all", part_all}, {"decode", part_decode}, {"digest", part_digest}};
	unsigned which = 0, part = 0;
	struct trace t;

	while (which < 3 && strcmp(argv[2], cases[which]) != 0)
		which++;
	while (part < 3 && strcmp(argv[4], parts[part].name) != 0)
		part++;
	if (which == 3 || part == 3)
		return 2;
	fill(&t, which);
	run(&t, (uint32_t)atoi(argv[3]), parts[part].run);
	trace_free(&t);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8},
						   {.address = {0x20, 0x01, 0x0d, 0xb8}, .family = 6, .prefix = 32}};
	bool smoke = argc == 2 && !strcmp(argv[1], "--smoke");
	unsigned rounds = smoke ? 1 : 5;
	int r = 0;

	ends = ends_table_new(NULL, 0, NULL, 0, home, 2);
	maker = flow_maker_new();
	if (!ends || !maker)
		return 1;
	if (argc == 5 && !strcmp(argv[1], "--once")) {
		r = once(argv);
	} else if (argc > 1 && !smoke) {
		fprintf(stderr, "usage: %s [--smoke | --once CASE BATCH all|decode|digest]\n", argv[0]);
		r = 2;
	} else {
		printf("# %d packets from %d rings; synthetic: " TRAFFIC_TEXT "; best of %u rounds\n", PACKETS, RINGS,
		       INSIDE, OUTSIDE, LIVE, FLOW_MAX, rounds);
		for (unsigned i = 0; i < 3; i++) {
			struct trace t;

			fill(&t, i);
			report(cases[i], &t, rounds);
			trace_free(&t);
		}
	}
	flow_maker_free(maker);
	ends_table_free(ends);
	return r ? r : sink == 42; /* it was all used */
}
