// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Somebody who knows bpf/flood.h by heart but not the capture's seed: keys chosen to meet in a table meet under one seed and
 * spread under any other; and what happens if they do meet: sums stay exact, and whoever sends little is not made heavy, nor forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/flood.h"
#include "recorder/core/util.h"
#include "recorder/source/summary.h"

#define RING (1u << 23) /* 4,096 sets of flows */
#define SETS REC_FLOW_SETS(RING)
#define KEYS 4096u
#define CHOSEN 200u
#define SEED 0x5eed1234u

static uint64_t state = 88172645463325252ull;

static uint32_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

struct key {
	uint32_t src, dst;
	uint16_t sport, dport;
};

static void udp4(uint8_t frame[60], struct key k)
{
	memset(frame, 0, 60);
	put_be16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put_be16(frame + 16, 46);
	frame[23] = 17;
	put_be32(frame + 26, k.src);
	put_be32(frame + 30, k.dst);
	put_be16(frame + 34, k.sport);
	put_be16(frame + 36, k.dport);
	put_be16(frame + 38, 26);
}

static struct rec_flood_id id_of(struct key k, uint32_t seed)
{
	struct rec_flood_id id;
	uint8_t frame[60];

	udp4(frame, k);
	assert_int_equal(rec_glance(&id, frame, frame + sizeof(frame), sizeof(frame), seed), 1);
	return id;
}

/* How keys may be chosen: the i-th of a family. */
static struct key next_source(unsigned i) { return (struct key){0x0a000000 + i, 0xc6120001, 4000, 53}; }
static struct key next_port(unsigned i) { return (struct key){0x0a000001, 0xc6120001, (uint16_t)i, 53}; }
static struct key next_dport(unsigned i) { return (struct key){0x0a000001, 0xc6120001, 4000, (uint16_t)i}; }
static struct key high_bits(unsigned i) { return (struct key){i << 20 | 1, 0xc6120001, 4000, 53}; }
static struct key both_ends(unsigned i) { return (struct key){0x0a000000 + i, 0xc6120000 + i, 4000, 53}; }
static struct key against(unsigned i) { return (struct key){0x0a000000 + i, 0xc6120000 - i, (uint16_t)(4000 - i), (uint16_t)i}; }
static struct key strides(unsigned i) { return (struct key){i * 0x00010001u, 0xc6120001, (uint16_t)(i << 8), 53}; }

static struct key (*const families[])(unsigned i) = {next_source, next_port, next_dport, high_bits, both_ends, against, strides};

static unsigned fullest(const unsigned *load, unsigned n)
{
	unsigned most = 0;

	for (unsigned i = 0; i < n; i++)
		most = load[i] > most ? load[i] : most;
	return most;
}

/* A key to a set on average: where they spread, eight or nine meet somewhere. No structure of keys does better than that. */
static void structure_does_not_help(void **unused)
{
	static unsigned flow[REC_FLOW_SETS(RING)], second[REC_FLOW_SETS(RING)], known[REC_FLOW_SETS(RING)];

	(void)unused;
	for (unsigned f = 0; f < ARRAY_SIZE(families); f++)
		for (unsigned round = 0; round < 50; round++) {
			uint32_t seed = dice();

			memset(flow, 0, sizeof(flow));
			memset(second, 0, sizeof(second));
			memset(known, 0, sizeof(known));
			for (unsigned i = 0; i < KEYS; i++) {
				struct rec_flood_id id = id_of(families[f](i), seed);

				flow[id.all & (SETS - 1)]++;
				second[REC_SECOND_SET(&id) & (SETS - 1)]++;
				known[id.flow & (SETS - 1)]++;
			}
			if (fullest(flow, SETS) > 24 || fullest(second, SETS) > 24 || fullest(known, SETS) > 24)
				fail_msg("family %u, seed %08x: %u, %u, %u keys in a set", f, seed, fullest(flow, SETS),
					 fullest(second, SETS), fullest(known, SETS));
		}
}

/* Keys that have one set under SEED. */
static void choose(struct key chosen[CHOSEN])
{
	for (unsigned n = 0; n < CHOSEN;) {
		struct key k = {dice(), 0xc6120001, (uint16_t)dice(), 53};

		if ((id_of(k, SEED).all & (SETS - 1)) == 5)
			chosen[n++] = k;
	}
}

static void chosen_for_one_seed(void **unused)
{
	static unsigned load[REC_FLOW_SETS(RING)];
	struct key chosen[CHOSEN];

	(void)unused;
	choose(chosen);
	for (unsigned round = 0; round <= 20; round++) {
		uint32_t seed = round ? dice() : SEED;

		memset(load, 0, sizeof(load));
		for (unsigned i = 0; i < CHOSEN; i++)
			load[id_of(chosen[i], seed).all & (SETS - 1)]++;
		if (round)
			assert_in_range(fullest(load, SETS), 1, 6);
		else
			assert_int_equal(fullest(load, SETS), CHOSEN); /* the control */
	}
}

/* Who knows the seed nevertheless fills a set: the rest goes to second sets and networks, and the sums are exact. */
static void a_set_is_filled(void **unused)
{
	struct rec_ring *ring = calloc(1, REC_RING_VALUE(RING));
	uint64_t sent = 0, bytes = 0, by_flow = 0;
	struct key chosen[CHOSEN], other;
	struct summaries all = {0};
	struct rec_flood_id id;

	(void)unused;
	assert_non_null(ring);
	choose(chosen);
	for (unsigned i = 0; i < 100 * CHOSEN; i++) {
		uint32_t wire = 60 + dice() % 1400;

		id = id_of(chosen[i % CHOSEN], SEED);
		by_flow += rec_flood_count((uint8_t *)ring + REC_TABLE_AT((size_t)RING, 0), RING, &id, wire, 1000 + i, 0, 12, REC_WHY_DEST) ==
			   REC_SUMMARISED_FLOW;
		sent++;
		bytes += wire;
	}
	assert_true(by_flow > sent * 8 / 10); /* two sets for each: the second ones are all over the table */
	do
		other = (struct key){dice(), 0xac100001, 7, 8};
	while ((id_of(other, SEED).all & (SETS - 1)) != 5);
	id = id_of(other, SEED);
	assert_int_equal(rec_flood_count((uint8_t *)ring + REC_TABLE_AT((size_t)RING, 0), RING, &id, 60, 5000, 0, 12, REC_WHY_FLOW),
			 REC_SUMMARISED_FLOW);
	assert_int_equal(summaries_add(&all, ring, RING, 0), 0);
	for (size_t i = 0; i < all.count; i++) {
		sent -= all.row[i].packets;
		bytes -= all.row[i].bytes;
	}
	assert_int_equal(sent, (uint64_t)-1); /* the other one */
	assert_int_equal(bytes, (uint64_t)-60);
	summaries_free(&all);
	free(ring);
}

/* Whatever meets in a set of `heavy`: no key is ever said to have more packets than it sent. */
static void nobody_is_made_heavy(void **unused)
{
	for (unsigned round = 0; round < 200; round++) {
		unsigned keys = 2 + dice() % 40, sent[42] = {0};
		__u64 set[4] = {0};

		(void)unused;
		for (unsigned i = 0; i < 20000; i++) {
			unsigned k = dice() % 3 ? dice() % keys : dice() % 2, weight = dice() % 5 ? 1 : 1 + dice() % 256;
			uint32_t said = rec_heavy(set, 1000 + k, i / 5000, weight);

			sent[k] += weight;
			if (said > sent[k])
				fail_msg("key %u sent %u packets and is said to have %u", k, sent[k], said);
		}
	}
}

/* A conversation that was there in two windows keeps its place for a minute, whoever knocks at its set. */
static void a_known_one_stays(void **unused)
{
	__u64 set[4] = {0};
	uint32_t flow;

	(void)unused;
	*rec_known(set, 7, 100, 0, ~0u, REC_MINUTE, &flow) = rec_entry(7, 100, 1);
	assert_null(rec_known(set, 7, 101, 0, ~0u, REC_MINUTE, &flow));
	for (unsigned i = 0; i < 1000000; i++) {
		uint32_t tag = dice() | 16;
		__u64 *place = rec_known(set, tag, 102 + i / 3000, 0, ~0u, REC_MINUTE, &flow);

		if (place)
			*place = rec_entry(tag, 102 + i / 3000, 1);
	}
	assert_null(rec_known(set, 7, 102 + 333, 0, ~0u, REC_MINUTE, &flow));
	assert_true(flow & REC_EARLIER);
	assert_non_null(rec_known(set, 3, 102 + 333 + REC_MINUTE + 1, 0, ~0u, REC_MINUTE, &flow)); /* the control: a minute later it is forgotten */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure_does_not_help), cmocka_unit_test(chosen_for_one_seed), cmocka_unit_test(a_set_is_filled),
		cmocka_unit_test(nobody_is_made_heavy),	   cmocka_unit_test(a_known_one_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
