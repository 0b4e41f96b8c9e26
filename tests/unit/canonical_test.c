/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/canonical.h"

#include <errno.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/packets.h"

static const struct batch_source source = {
	.capture = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .sensor = "s", .iface = "eth7"};

struct record {
	struct rec_head head;
	uint8_t bytes[64];
};

#define MANY 6000u
static struct record records[MANY];
static const struct rec_head *pointers[MANY];

static struct batch batch_of(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		pointers[i] = &records[i].head;
	return (struct batch){.source = &source,
			      .pair = {.boot = 1000, .wall = 1700000000000001000},
			      .records = pointers,
			      .nrecords = n};
}

/* The bytes that are hashed, put down by hand. */
static void the_digest_is_over_these_bytes(void **state)
{
	static const uint8_t bytes[] =
		{
			1,    2,    3,	  4,	5,    6,    7,	  8,	9,    10,   11,	  12,	13,
			14,   15,   16,					/* capture */
			4,    'e',  't',  'h',	'7',			/* interface */
			0x2a, 0x00, 0x6c, 0x58, 0x34, 0x9c, 0x97, 0x17, /* ts, any time */
			0x36, 0x01, 0x00, 0x00, 0x03, 0x00, 0x11, 0x00, 0x02, 0x00, 0x78, 0x05, 0x01,
			0xaa, 0xbb, 0xcc, 0x2b, 0x00, 0x6c, 0x58, 0x34, 0x9c, 0x97, 0x17, 0x05, 0x00,
			0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		};
	struct batch b = batch_of(2);
	uint8_t expected[DIGEST_LEN];
	int64_t wall;

	(void)state;
	memcpy(&wall, bytes + 21, 8);
	memset(records, 0, sizeof(records));
	records[0] = (struct record){
		.head = {.time = (uint64_t)(wall - 1700000000000000000),
			 .wire_len = 310,
			 .hash = 77,
			 .cap_len = 3,
			 .marks = REC_MARK_TRUNCATED | REC_MARK_FRAGMENT | REC_MARK_CSUM_NONE,
			 .gso_segs = 2,
			 .gso_size = 1400,
			 .side = REC_TX,
			 .proto = 6,
			 .off = {14, 34}},
		.bytes = {0xaa, 0xbb, 0xcc, 0xdd},
	};
	records[1].head = (struct rec_head){.time = records[0].head.time + 1, .wire_len = 5};
	SHA256(bytes, sizeof(bytes), expected);
	assert_int_equal(canonical_digest(&b), 0);
	assert_memory_equal(b.digest, expected, DIGEST_LEN);

	/* What is not wire truth does not enter ... */
	records[0].head.marks &= ~REC_MARK_CSUM_NONE;
	records[0].head.hash = 78;
	records[0].head.off[0] = 18;
	records[0].bytes[3] = 0;
	assert_int_equal(canonical_digest(&b), 0);
	assert_memory_equal(b.digest, expected, DIGEST_LEN);
	/* ... and every other bit does. */
	records[0].bytes[2] ^= 1;
	assert_int_equal(canonical_digest(&b), 0);
	assert_memory_not_equal(b.digest, expected, DIGEST_LEN);
}

static void make(uint64_t *random, struct record *r, uint64_t time)
{
	uint64_t x = packets_random(random);

	memset(r, 0, sizeof(*r));
	r->head.time = time;
	r->head.wire_len = 60 + (uint32_t)(x & 1);
	r->head.cap_len = 14 + (uint16_t)(x >> 1 & 3);
	r->head.marks = x >> 3 & 1 ? REC_MARK_TRUNCATED : 0;
	r->head.gso_segs = x >> 4 & 1;
	r->head.gso_size = x >> 5 & 1;
	r->head.side = x >> 6 & 1;
	for (unsigned i = 0; i < 17; i++)
		r->bytes[i] = (uint8_t)(x >> (7 + i)) & 1;
}

/* The plain way: a comparison sort by the whole order. */
static int plain(const void *a, const void *b)
{
	struct batch zero = batch_of(0);
	struct canonical_record x = canonical_from(&zero, *(const struct rec_head *const *)a);
	struct canonical_record y = canonical_from(&zero, *(const struct rec_head *const *)b);

	return canonical_compare(&x, &y);
}

static void assert_sorted(const struct batch *b)
{
	for (uint32_t i = 1; i < b->nrecords; i++)
		assert_true(plain(&b->records[i - 1], &b->records[i]) <= 0);
}

static void any_runs_give_one_order(void **state)
{
	uint64_t random = 7;

	(void)state;
	for (unsigned runs = 1; runs <= 37; runs += runs < 6 ? 1 : 5) {
		for (unsigned tick = 1; tick <= 1000000; tick *= 100) { /* coarse clocks: many records of one time */
			uint8_t digest[DIGEST_LEN];
			struct batch b;
			uint32_t n = 0;

			for (unsigned run = 0; run < runs; run++) {
				uint64_t time = 1000000000;

				for (unsigned i = 0; i < 2000 / runs; i++) {
					time += packets_random(&random) % 5000;
					make(&random, &records[n++], time / tick * tick);
				}
			}
			b = batch_of(n);
			assert_int_equal(canonical_order(&b), 0);
			assert_sorted(&b);
			assert_int_equal(canonical_digest(&b), 0);
			memcpy(digest, b.digest, DIGEST_LEN);

			/* The same records from other rings, in any order, and sorted the plain way */
			b = batch_of(n);
			for (uint32_t i = n - 1; i > 0; i--) {
				uint32_t j = (uint32_t)(packets_random(&random) % (i + 1));
				const struct rec_head *t = pointers[i];

				pointers[i] = pointers[j];
				pointers[j] = t;
			}
			assert_int_equal(canonical_order(&b), 0);
			assert_int_equal(canonical_digest(&b), 0);
			assert_memory_equal(b.digest, digest, DIGEST_LEN);
			b = batch_of(n);
			qsort(b.records, n, sizeof(*b.records), plain);
			assert_int_equal(canonical_digest(&b), 0);
			assert_memory_equal(b.digest, digest, DIGEST_LEN);

			/* The control: another order is another digest. */
			const struct rec_head *t = pointers[0];
			pointers[0] = pointers[n - 1];
			pointers[n - 1] = t;
			assert_int_equal(canonical_digest(&b), 0);
			assert_memory_not_equal(b.digest, digest, DIGEST_LEN);
		}
	}
}

static void order_by_each_member(void **state)
{
	const uint8_t low[] = {1, 2, 3}, high[] = {1, 2, 4};
	struct canonical_record a = {.ts = 5, .side = 0, .wire_len = 60, .cap_len = 3, .bytes = low}, b;

	(void)state;
	assert_int_equal(canonical_compare(&a, &a), 0);
#define ABOVE(change)                                                                                                  \
	do {                                                                                                           \
		b = a;                                                                                                 \
		change;                                                                                                \
		assert_true(canonical_compare(&a, &b) < 0);                                                            \
		assert_true(canonical_compare(&b, &a) > 0);                                                            \
	} while (0)
	ABOVE(b.ts = 6; b.side = 0);
	ABOVE(b.side = 1; b.wire_len = 1);
	ABOVE(b.wire_len = 61; b.bytes = low);
	ABOVE(b.bytes = high; b.cap_len = 3);
	ABOVE(b.bytes = (const uint8_t *)"\1\2\3\0"; b.cap_len = 4);
	ABOVE(b.marks = REC_MARK_GSO);
	ABOVE(b.gso_segs = 1);
	ABOVE(b.gso_size = 1);
	a.ts = -1; /* before 1970 */
	ABOVE(b.ts = 1);
	b = a;
	b.marks = REC_MARK_CSUM_NONE;
	assert_int_equal(canonical_compare(&a, &b), 0);
}

static void empty_and_single(void **state)
{
	struct batch b = batch_of(0);
	uint8_t bytes[21] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 4, 'e', 't', 'h', '7'};
	uint8_t expected[DIGEST_LEN];

	(void)state;
	SHA256(bytes, sizeof(bytes), expected);
	assert_int_equal(canonical_order(&b), 0);
	assert_int_equal(canonical_digest(&b), 0);
	assert_memory_equal(b.digest, expected, DIGEST_LEN);
	b = batch_of(1);
	assert_int_equal(canonical_order(&b), 0);
}

static void a_record_longer_than_any_is_an_error(void **state)
{
	struct canonical_hash *h = canonical_begin(source.capture, source.iface);
	struct canonical_record r = {.cap_len = REC_CAP_MAX + 1};
	uint8_t digest[DIGEST_LEN] = {9};

	(void)state;
	canonical_add(h, &r);
	assert_int_equal(canonical_end(h, digest), -EIO);
	assert_int_equal(digest[0], 9);
	h = canonical_begin(source.capture, source.iface);
	assert_int_equal(canonical_end(h, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_digest_is_over_these_bytes),
		cmocka_unit_test(any_runs_give_one_order),
		cmocka_unit_test(order_by_each_member),
		cmocka_unit_test(empty_and_single),
		cmocka_unit_test(a_record_longer_than_any_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
