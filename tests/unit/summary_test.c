// SPDX-License-Identifier: GPL-2.0-or-later
/* The tables that bpf/flood.h fills, natively: what is counted, read, merged, and said in a document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/flood.h"
#include "recorder/core/util.h"
#include "recorder/ledger/flood_rows.h"
#include "recorder/source/summary.h"

#define RING REC_RING_MIN
#define SEED 12345u

static uint64_t state = 88172645463325252ull;
static const struct batch_source source = {.sensor = "s", .iface = "eth0", .capture = {1, 2, 3}};

static uint32_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static struct rec_ring *new_ring(void)
{
	struct rec_ring *ring = calloc(1, REC_RING_VALUE(RING));

	assert_non_null(ring);
	return ring;
}

/* A UDP packet over IPv4 as the parser leaves it. */
static struct rec_slot slot_of(uint32_t from, uint32_t to, uint16_t port, uint32_t wire)
{
	struct rec_slot s = {.head = {.wire_len = wire, .proto = REC_IP_UDP, .off = {14, 34}}};

	s.bytes[14] = 0x45;
	put_be32(s.bytes + 26, from);
	put_be32(s.bytes + 30, to);
	put_be16(s.bytes + 34, port);
	put_be16(s.bytes + 36, 53);
	return s;
}

static enum rec_term count(struct rec_ring *ring, const struct rec_slot *s, uint64_t now, uint32_t epoch, uint32_t why)
{
	struct rec_flood_id id;

	rec_flood_key(&id, s, 42, SEED);
	return rec_flood_count((uint8_t *)ring + REC_TABLE_AT((size_t)RING, epoch), RING, &id, s->head.wire_len, now, epoch, REC_FILL_FULL, why);
}

/* Far more keys than there is room for, from two rings, two epochs: every packet and byte is in some entry, none in two. */
static void sums_are_exact(void **unused)
{
	struct rec_ring *ring[2] = {new_ring(), new_ring()};
	struct rec_count sent[2][2] = {{{0}}}, found[2][2] = {{{0}}};

	(void)unused;
	for (uint32_t epoch = 6; epoch < 8; epoch++)
		for (unsigned i = 0; i < 50000; i++) {
			struct rec_slot s = slot_of(dice(), i % 3 ? 0x0a000001 : dice(), (uint16_t)dice(), 60 + dice() % 1400);
			enum rec_term term = count(ring[i & 1], &s, 1000 + i, epoch, i % 3 ? REC_WHY_DEST : REC_WHY_SOURCE);

			assert_true(term == REC_SUMMARISED_FLOW || term == REC_SUMMARISED_PREFIX);
			sent[epoch & 1][term - REC_SUMMARISED_FLOW].packets++;
			sent[epoch & 1][term - REC_SUMMARISED_FLOW].bytes += s.head.wire_len;
		}
	for (uint32_t epoch = 6; epoch < 8; epoch++) {
		struct summaries all = {0};

		assert_int_equal(summaries_add(&all, ring[0], RING, epoch), 0);
		assert_int_equal(summaries_add(&all, ring[1], RING, epoch), 0);
		summaries_merge(&all);
		for (size_t i = 0; i < all.count; i++) {
			struct rec_count *to = &found[epoch & 1][(all.row[i].key.shape & 0xf0) != 0];

			to->packets += all.row[i].packets;
			to->bytes += all.row[i].bytes;
			if (i)
				assert_true(memcmp(&all.row[i - 1].key, &all.row[i].key, sizeof(all.row[i].key)) < 0);
		}
		assert_true(found[epoch & 1][0].packets && found[epoch & 1][1].packets);
		summaries_free(&all);
	}
	assert_memory_equal(sent, found, sizeof(sent));
	free(ring[0]);
	free(ring[1]);
}

static void an_epoch_before_is_empty(void **unused)
{
	struct rec_ring *ring = new_ring();
	struct rec_slot s = slot_of(1, 2, 3, 100);
	struct summaries all = {0};

	(void)unused;
	count(ring, &s, 10, 1, REC_WHY_FLOW);
	count(ring, &s, 20, 3, REC_WHY_FULL);
	assert_int_equal(summaries_add(&all, ring, RING, 1), 0);
	assert_int_equal(all.count, 0);
	assert_int_equal(summaries_add(&all, ring, RING, 3), 0);
	assert_int_equal(all.count, 1);
	assert_int_equal(all.row[0].packets, 1);
	assert_int_equal(all.row[0].first, 20);
	assert_int_equal(all.row[0].why, 1u << REC_WHY_FULL);
	summaries_free(&all);
	free(ring);
}

/* A heavy key keeps its place among keys that come once; one that is gone for two seconds has none. */
static void heavy_stays(void **unused)
{
	__u64 set[4] = {0};
	uint32_t most = 0;

	(void)unused;
	for (unsigned i = 0; i < 4000; i++) {
		most = rec_heavy(set, 77, 5, 1);
		for (unsigned k = 0; k < 3; k++)
			assert_true(rec_heavy(set, 1000000 + dice() % 1000000, 5, 1) < 100);
	}
	assert_int_equal(most, 4000);
	assert_true(rec_heavy(set, 77, 6, 1) > 1999);
	assert_true(rec_heavy(set, 77, 22, 1) < 3);
}

static void known_are_kept(void **unused)
{
	__u64 set[4] = {0}, *place, *last = NULL;
	uint32_t flow;

	(void)unused;
	for (uint32_t tag = 1; tag <= 4; tag++) {
		place = rec_known(set, tag, 10, 0, ~0u, REC_MINUTE, &flow);
		assert_non_null(place);
		*place = rec_entry(tag, 10, 1);
		last = place;
	}
	for (uint32_t tag = 1; tag <= 3; tag++) { /* in a later window: known */
		assert_null(rec_known(set, tag, 12, 0, ~0u, REC_MINUTE, &flow));
		assert_true(flow & REC_EARLIER);
	}
	place = rec_known(set, 99, 12, 0, ~0u, REC_MINUTE, &flow);
	assert_ptr_equal(place, last); /* the one that was not seen again */
	*place = rec_entry(99, 12, 1);
	assert_null(rec_known(set, 99, 13, 0, ~0u, REC_MINUTE, &flow));
	assert_null(rec_known(set, 100, 14, 0, ~0u, REC_MINUTE, &flow)); /* all four go on */
	assert_int_equal(flow, 0);
	assert_non_null(rec_known(set, 100, 12 + REC_MINUTE + 2, 0, ~0u, REC_MINUTE, &flow));
}

/* Known before a ring is watched: a senior. Heavy while it is: none any more, until it came twice since. */
static void seniors(void **unused)
{
	const uint32_t calm = REC_MINUTE;
	__u64 set[4] = {0};
	uint32_t flow;

	(void)unused;
	*rec_known(set, 1, 10, 0, ~0u, calm, &flow) = rec_entry(1, 10, 1);
	*rec_known(set, 2, 10, 1, ~0u, calm, &flow) = rec_entry(2, 10, 1);
	assert_null(rec_known(set, 1, 11, 0, ~0u, calm, &flow));
	assert_int_equal(flow, REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 2, 11, 1, ~0u, 0, &flow));
	assert_int_equal(flow, 1 | REC_EARLIER);
	assert_null(rec_known(set, 1, 11, 8, 8, 0, &flow));
	assert_int_equal(flow, 8 | REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 1, 11, 0, 8, 0, &flow)); /* in a ring that is not watched: the answer to it */
	assert_int_equal(flow, 8 | REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 1, 11, 1, 8, 0, &flow));
	assert_int_equal(flow, 9 | REC_EARLIER);
	assert_null(rec_known(set, 1, 20, 0, 8, 5, &flow)); /* it was not seen since window 15 */
	assert_int_equal(flow, REC_EARLIER);
	assert_null(rec_known(set, 1, 20, 0, 8, 5, &flow)); /* the same window: nothing is written */
	assert_null(rec_known(set, 1, 21, 0, 8, 1, &flow)); /* a ring was watched in window 20, be it another one */
	assert_int_equal(flow, REC_EARLIER);
	assert_null(rec_known(set, 1, 23, 0, 8, 3, &flow));
	assert_int_equal(flow, REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 1, 22, 1, 8, 2, &flow)); /* another CPU's clock: not a day ago */
	assert_int_equal(flow, 1 | REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 1, 23, 1, 8, 3, &flow)); /* and what it wrote is of this window */
	assert_int_equal(flow, 2 | REC_EARLIER | REC_SENIOR);
	assert_null(rec_known(set, 1, 23 + REC_MINUTE + 1, 1, 8, calm, &flow));
	assert_int_equal(flow, 1);
	assert_null(rec_known(set, 1, 23 + 2 * (REC_MINUTE + 1), 0, 8, calm, &flow));
	assert_int_equal(flow, 1); /* 0 would be no entry */
}

/* By the ring's size alone: sixteenths, then eight steps of the last one, full. */
static void fills(void **unused)
{
	const uint32_t ring = 1u << 22, sixteenth = ring / 16;

	(void)unused;
	for (uint32_t i = 0; i <= REC_FILL_NEW; i++) {
		assert_int_equal(rec_flood_fill(i * sixteenth, ring), i);
		assert_int_equal(rec_flood_fill(i * sixteenth + sixteenth / 8 - 1, ring), i);
	}
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(rec_flood_fill(15 * sixteenth + i * sixteenth / 8, ring), 15 + i);
	assert_int_equal(rec_flood_fill(ring - 1, ring), 22);
	assert_int_equal(rec_flood_fill(ring, ring), 23);
	assert_int_equal(REC_FILL_LAST, 22);
	assert_int_equal(REC_FILL_FULL, 23);
}

static void limits_fall(void **unused)
{
	/* of a conversation, from ten sixteenths on */
	static const uint32_t flows[] = {8192, 2048, 512, 32, 8, 4, 2, 2, 1, 1, 1, 1, 1};
	const uint32_t senior = REC_EARLIER | REC_SENIOR;

	(void)unused;
	assert_int_equal(rec_flood_why(REC_FILL_COUNT - 1, REC_COUNT_MOST, ~0u, ~0u), 0);
	for (uint32_t fill = REC_FILL_COUNT; fill < REC_FILL_FULL; fill++) {
		uint32_t limit = rec_flood_limit(fill), flow = flows[fill - REC_FILL_COUNT];
		int known = fill < REC_FILL_SENIOR, stays = fill < REC_FILL_LAST;

		assert_int_equal(limit, fill < REC_FILL_NEW ? 8192u >> 2 * (fill - REC_FILL_COUNT) : 8);
		assert_int_equal(rec_flow_limit(fill), flow);
		assert_int_equal(rec_loud(fill), flow < REC_LOUD ? REC_LOUD : flow);
		assert_int_equal(rec_flood_why(fill, flow, limit, limit), fill < REC_FILL_NEW ? 0 : REC_WHY_NEW);
		assert_int_equal(rec_flood_why(fill, flow | REC_EARLIER, limit, limit), 0);
		assert_int_equal(rec_flood_why(fill, flow + 1, 0, 0), REC_WHY_FLOW);
		assert_int_equal(rec_flood_why(fill, (flow + 1) | senior, 0, 0), REC_WHY_FLOW);
		assert_int_equal(rec_flood_why(fill, 1, 0, limit + 1), REC_WHY_DEST);
		assert_int_equal(rec_flood_why(fill, 1, limit + 1, 0), REC_WHY_SOURCE);
		assert_int_equal(rec_flood_why(fill, 1 | REC_EARLIER, limit + 1, limit + 1), known ? 0 : REC_WHY_DEST);
		assert_int_equal(rec_flood_why(fill, 1 | senior, limit + 1, limit + 1), stays ? 0 : REC_WHY_DEST);
	}
	assert_int_equal(rec_flood_why(REC_FILL_FULL, 1 | senior, 0, 0), REC_WHY_FULL);
}

static const char *text_at(const bson_t *document, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, document, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "";
}

static int64_t number_at(const bson_t *document, const char *name)
{
	bson_iter_t it;

	assert_true(bson_iter_init_find(&it, document, name));
	return bson_iter_as_int64(&it);
}

static void documents(void **unused)
{
	struct flood_epoch epoch = {.source = &source, .side = REC_TX, .epoch = 7, .sec = 100, .end = 103};
	struct rec_slot s = slot_of(0xcb007107, 0xc6120001, 4000, 60);
	struct rec_ring *ring = new_ring();
	bson_t flow = BSON_INITIALIZER, net = BSON_INITIALIZER;
	struct summaries all = {0};
	uint8_t id[FLOOD_ID_LEN];
	struct rec_flood_key key;

	(void)unused;
	count(ring, &s, 100500000001ull, 7, REC_WHY_FLOW);
	s.head.wire_len = 1500;
	count(ring, &s, 102000000000ull, 7, REC_WHY_DEST);
	assert_int_equal(summaries_add(&all, ring, RING, 7), 0);
	assert_int_equal(all.count, 1);
	flood_document(&flow, &epoch, 5, &all.row[0]);
	assert_string_equal(text_at(&flow, "by"), "flow");
	assert_string_equal(text_at(&flow, "src"), "203.0.113.7");
	assert_string_equal(text_at(&flow, "dst"), "198.18.0.1");
	assert_string_equal(text_at(&flow, "side"), "tx");
	assert_string_equal(text_at(&flow, "why.0"), "");
	assert_int_equal(number_at(&flow, "sport"), 4000);
	assert_int_equal(number_at(&flow, "dport"), 53);
	assert_int_equal(number_at(&flow, "proto"), 17);
	assert_int_equal(number_at(&flow, "packets"), 2);
	assert_int_equal(number_at(&flow, "bytes"), 1560);
	assert_int_equal(number_at(&flow, "len_min"), 60);
	assert_int_equal(number_at(&flow, "len_max"), 1500);
	assert_int_equal(number_at(&flow, "ns"), 1);
	assert_int_equal(number_at(&flow, "sec"), 100);
	assert_int_equal(number_at(&flow, "secs"), 3);
	assert_int_equal(all.row[0].why, 1u << REC_WHY_FLOW | 1u << REC_WHY_DEST);
	flood_id(id, &epoch, 5);
	assert_int_equal(get_be32(id + CAPTURE_ID_LEN + 5), 5);

	key = all.row[0].key;
	rec_flood_prefix(&key, REC_WHY_DEST);
	all.row[0].key = key;
	flood_document(&net, &epoch, 6, &all.row[0]);
	assert_string_equal(text_at(&net, "by"), "destination");
	assert_string_equal(text_at(&net, "src_net"), "203.0.0.0/8");
	assert_string_equal(text_at(&net, "dst"), "198.18.0.1");
	assert_false(bson_has_field(&net, "src") || bson_has_field(&net, "sport"));
	bson_destroy(&flow);
	bson_destroy(&net);
	summaries_free(&all);
	free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_exact), cmocka_unit_test(an_epoch_before_is_empty), cmocka_unit_test(heavy_stays),
		cmocka_unit_test(known_are_kept), cmocka_unit_test(seniors), cmocka_unit_test(fills), cmocka_unit_test(limits_fall),	      cmocka_unit_test(documents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
