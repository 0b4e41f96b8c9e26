/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_test.c - every bucket goes through bucket_check, which compares it with documents mode and is tested itself: a
 * damaged column, count or host must be found. Commands and identities are compared with what is written here by hand.
 */
#include "recorder/encode/bucket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/ledger/canonical.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

static const struct batch_source source = {
	.capture = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .sensor = "probe-7", .iface = "veth0"};

struct fixture {
	struct rec_slot *slots;
	const struct rec_head **records;
	struct batch batch;
	struct ends_table *ends;
	struct bucket_maker *maker;
	struct bucket_form form;
	uint64_t random;
	uint32_t checked, buckets; /* over all batches */
};

static int setup(void **state)
{
	static const struct ends_network own[] = {{.address = {10, 0, 0, 1}, .family = 4},
						  {.address = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .family = 6}};
	struct fixture *f = calloc(1, sizeof(*f));

	f->slots = calloc(FLOW_MOST + 1, sizeof(*f->slots));
	f->records = calloc(FLOW_MOST + 1, sizeof(*f->records));
	f->batch = (struct batch){
		.source = &source,
		.number = 7,
		.version = ENCODE_VERSION,
		.pair = {.boot = 0, .wall = 1700000000123456789},
		.records = f->records,
	};
	f->form = (struct bucket_form){.span_s = 3600, .version = 3, .raw = true};
	f->ends = ends_table_new(own, 2, NULL, 0, NULL, 0);
	f->maker = bucket_maker_new();
	f->random = 88172645463325252;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bucket_maker_free(f->maker);
	ends_table_free(f->ends);
	free(f->slots);
	free(f->records);
	free(f);
	return 0;
}

/* Times come in trains: some equal, some far apart. */
static struct rec_slot *add(struct fixture *f, const uint8_t *bytes, unsigned cap, uint32_t wire, unsigned side)
{
	uint32_t i = f->batch.nrecords++;
	struct rec_slot *s = &f->slots[i];

	memset(s, 0, sizeof(*s));
	memcpy(s->bytes, bytes, cap);
	s->head = (struct rec_head){.time = i / 3 * 1234567ull + i % 3 / 2 * 999,
				    .wire_len = wire,
				    .cap_len = (uint16_t)cap,
				    .side = (uint8_t)side};
	return s;
}

static void add_frame(struct fixture *f, const struct frame *frame)
{
	uint8_t bytes[REC_CAP_MAX];
	struct rec_slot *s = add(f, bytes, packets_hex(bytes, REC_CAP_MAX, frame->hex), frame->wire, frame->side);

	s->head.marks = (uint16_t)frame->marks;
	s->head.gso_segs = (uint16_t)frame->segs;
	s->head.gso_size = (uint16_t)frame->gso;
}

static void order(struct fixture *f)
{
	for (uint32_t i = 0; i < f->batch.nrecords; i++)
		f->records[i] = &f->slots[i].head;
	canonical_order(&f->batch);
}

static void check_version(struct fixture *f, uint8_t version)
{
	int buckets;

	f->form.version = version;
	buckets = bucket_plan(f->maker, &f->batch, f->ends, &f->form);
	assert_true(buckets >= 0);
	for (int i = 0; i < buckets; i++) {
		struct bucket_problem problem = {""};
		bson_t bucket = BSON_INITIALIZER;
		uint32_t n;
		int r;

		bucket_positions(f->maker, (uint32_t)i, &n);
		assert_true(n && n <= BUCKET_PACKETS + BUCKET_PACKETS / 2);
		assert_int_equal(bucket_encode(f->maker, &bucket, (uint32_t)i), 0);
		assert_true(bson_validate(&bucket, BSON_VALIDATE_UTF8, NULL));
		r = bucket_check(f->maker, &bucket, (uint32_t)i, &problem);
		if (r)
			fail_msg("version %u, bucket %d of %d: %d %s", version, i, buckets, r, problem.text);
		bson_destroy(&bucket);
		f->checked += n;
		f->buckets++;
	}
}

/* The batch as buckets of both versions; then it is empty. */
static void check(struct fixture *f)
{
	if (!f->batch.nrecords)
		return;
	order(f);
	check_version(f, 3);
	check_version(f, 2);
	f->batch.nrecords = 0;
}

static void frames_by_hand(void **state)
{
	struct fixture *f = *state;
	const size_t n = sizeof(frames) / sizeof(*frames);

	for (size_t i = 0; i < n; i++) {
		add_frame(f, &frames[i]);
		check(f);
	}
	for (uint32_t i = 0; i < 2600; i++)
		add_frame(f, &frames[packets_random(&f->random) >> 33 & 1 ? i % n : i / 40 % n]);
	check(f);
	assert_int_equal(f->checked, 2 * (n + 2600));
}

/* Packets of any values that can be written as bytes. */
static void packets_of_any_values(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[REC_CAP_MAX];

	for (unsigned round = 0; round < 30000; round++) {
		struct packet p;
		int length = any_packet_bytes(&p, &f->random, bytes);

		if (length < 0)
			continue;
		add(f, bytes, (unsigned)length, p.len, p.outer.key.side);
		if (f->batch.nrecords == 4096)
			check(f);
	}
	check(f);
	assert_true(f->checked > 2000);
}

static void capture_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct fixture *f = arg;
	struct rec_slot *s = &f->slots[f->batch.nrecords];

	packets_record(s, frame, cap, wire, f->batch.nrecords & 1);
	s->head.time = f->batch.nrecords++ * 1234ull;
	if (f->batch.nrecords == 20000)
		check(f);
}

static void captures(void **state)
{
	struct fixture *f = *state;

	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), capture_frame, f);
	check(f);
	print_message("%u packets of captures in %u buckets, both versions together\n", f->checked, f->buckets);
	assert_true(f->checked > 0);
}

/* A UDP packet between one of `hosts` pairs. */
static void add_udp(struct fixture *f, uint32_t pair, bool back)
{
	static const uint8_t head[] = {2, 0,	0, 0, 0,  2, 2, 0, 0, 0,  0,  1, 8,
				       0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0};
	uint8_t bytes[42] = {0},
		ends[8] = {10, 0, 0, 1, 11, (uint8_t)(pair >> 16), (uint8_t)(pair >> 8), (uint8_t)pair};

	memcpy(bytes, head, sizeof(head));
	memcpy(bytes + 26, back ? ends + 4 : ends, 4);
	memcpy(bytes + 30, back ? ends : ends + 4, 4);
	bytes[35] = bytes[37] = 53;
	bytes[39] = 8;
	add(f, bytes, sizeof(bytes), 60, back ? REC_RX : REC_TX);
}

static void every_packet_its_own(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 65536; i++)
		add_udp(f, (uint32_t)packets_random(&f->random) & 0xffffff, i & 1);
	check(f);
	assert_int_equal(f->buckets, 2 * 66);
}

static void cuts(void **state)
{
	static const struct {
		uint32_t packets;
		int buckets;
	} are[] = {{0, 0}, {1, 1}, {999, 1}, {1499, 1}, {1500, 2}, {2499, 2}, {2500, 3}, {4096, 4}, {10000, 10}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(are) / sizeof(*are); i++) {
		uint32_t least = UINT32_MAX, most = 0, sum = 0;

		for (uint32_t p = 0; p < are[i].packets; p++)
			add_udp(f, p % 700, p & 1);
		order(f);
		assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), are[i].buckets);
		for (int b = 0; b < are[i].buckets; b++) {
			uint32_t n;

			bucket_positions(f->maker, (uint32_t)b, &n);
			sum += n;
			least = n < least ? n : least;
			most = n > most ? n : most;
		}
		assert_int_equal(sum, are[i].packets);
		assert_true(!sum || most - least <= 1);
		f->batch.nrecords = 0;
	}
}

static void spans(void **state)
{
	struct fixture *f = *state;

	add_udp(f, 1, false);
	add_udp(f, 1, false);
	order(f);
	f->form.span_s = 1;
	f->batch.pair.wall = 1700000000999999999;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	f->slots[1].head.time = 1;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), -ERANGE);
	f->form.span_s = 10;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	f->batch.pair.wall = -1;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), -ERANGE);
	f->batch.pair.wall = (int64_t)INT32_MAX * 1000000000 + 999999998;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	f->batch.pair.wall++;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), -ERANGE);
}

/* Hosts in the order of numbers, not of texts, each once; SHA-256 by another program. */
static void head_by_hand(void **state)
{
	static const char *const hosts[] = {"10.0.0.1", "11.0.0.2", "11.0.0.10", "11.0.1.0"};
	static const uint32_t pairs[] = {256, 10, 2, 10};
	static const uint8_t id[12] = {0x65, 0x53, 0xed, 0xe0, 0xd9, 0xd9, 0xf3, 0x6e, 0x8f, 0x88, 0x13, 0x39};
	struct fixture *f = *state;
	bson_t bucket = BSON_INITIALIZER;
	bson_iter_t it, host, at;

	for (unsigned i = 0; i < 4; i++)
		add_udp(f, pairs[i], i & 1);
	order(f);
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	assert_int_equal(bucket_encode(f->maker, &bucket, 0), 0);
	assert_true(bson_iter_init_find(&it, &bucket, "_id"));
	assert_memory_equal(bson_iter_oid(&it)->bytes, id, 12);
	assert_true(bson_iter_init(&it, &bucket) && bson_iter_find_descendant(&it, "meta.hosts", &host));
	assert_true(bson_iter_recurse(&host, &at));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(bson_iter_next(&at));
		assert_string_equal(bson_iter_utf8(&at, NULL), hosts[i]);
	}
	assert_false(bson_iter_next(&at));
	assert_true(bson_iter_init(&it, &bucket) && bson_iter_find_descendant(&it, "control.min.ts", &at));
	assert_int_equal(bson_iter_date_time(&at), 1699999200000);
	assert_true(bson_iter_init(&it, &bucket) && bson_iter_find_descendant(&it, "control.max.ts", &at));
	assert_int_equal(bson_iter_date_time(&at), 1700000000124);
	bson_destroy(&bucket);
}

static int32_t version_of(struct fixture *f, uint8_t asked)
{
	bson_t bucket = BSON_INITIALIZER;
	bson_iter_t it, at;
	int32_t version;

	f->form.version = asked;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	assert_int_equal(bucket_encode(f->maker, &bucket, 0), 0);
	assert_true(bson_iter_init(&it, &bucket) && bson_iter_find_descendant(&it, "control.version", &at));
	version = bson_iter_int32(&at);
	bson_destroy(&bucket);
	return version;
}

/* Version 3 says that a bucket is not in the order of time: where it is, a server's validate objects. */
static void version_by_order(void **state)
{
	struct fixture *f = *state;

	f->batch.pair.wall = 1700000000000000000;
	for (uint32_t last = 1; last < 12; last++) {
		/* Conversation 1, then 2: the last packet of 1 is between those of 2, or not. */
		for (uint32_t i = 0; i <= last; i++) {
			add_udp(f, 1 + (i > last / 2), false);
			f->slots[i].head.time = 1000000ull * i;
		}
		order(f);
		assert_int_equal(version_of(f, 3), 2);
		assert_int_equal(version_of(f, 2), 2);
		f->slots[0].head.time = 1000000ull * last + 999999; /* the same millisecond as the last one */
		order(f);
		assert_int_equal(version_of(f, 3), last <= 2 ? 2 : 3);
		f->slots[0].head.time = 1000000ull * (last + 1);
		order(f);
		assert_int_equal(version_of(f, 3), 3);
		assert_int_equal(version_of(f, 2), 2);
		check_version(f, 3);
		f->batch.nrecords = 0;
	}
}

/* The same batch gives the same bytes whatever the maker did before, in commands of any size. */
static void commands(void **state)
{
	static const size_t sizes[] = {1, 50000, 1 << 30};
	struct fixture *f = *state;
	struct command_buffer command = {0};
	struct bucket_maker *fresh = bucket_maker_new();
	int buckets;

	for (uint32_t i = 0; i < 12000; i++)
		add_udp(f, (uint32_t)packets_random(&f->random) % 3000, i & 1);
	order(f);
	buckets = bucket_plan(f->maker, &f->batch, f->ends, &f->form);
	assert_int_equal(buckets, 12);
	assert_int_equal(bucket_plan(fresh, &f->batch, f->ends, &f->form), 12);
	for (size_t s = 0; s < 3; s++) {
		uint32_t next = 0;

		while (next < 12) {
			uint32_t i = next;
			bson_iter_t it, at;
			bson_t all;
			int n = bucket_command(f->maker, &command, "packets_20260101", next, sizes[s], 10000, &next);

			assert_true(n > 0 && (s || n == 1) && (s < 2 || n == 12));
			assert_int_equal(n, next - i);
			assert_true(n == 1 || command.len <= sizes[s]);
			assert_true(bson_init_static(&all, command.data, command.len));
			assert_true(bson_validate(&all, BSON_VALIDATE_NONE, NULL));
			assert_true(bson_iter_init_find(&it, &all, "rawData") && bson_iter_bool(&it));
			assert_true(bson_iter_init_find(&it, &all, "insert"));
			assert_string_equal(bson_iter_utf8(&it, NULL), "packets_20260101");
			assert_true(bson_iter_init_find(&it, &all, "documents") && bson_iter_recurse(&it, &at));
			for (int k = 0; bson_iter_next(&at); k++, i++) {
				bson_t bucket = BSON_INITIALIZER;
				const uint8_t *bytes;
				uint32_t len;
				char index[12];

				snprintf(index, sizeof(index), "%d", k);
				assert_string_equal(bson_iter_key(&at), index);
				bson_iter_document(&at, &len, &bytes);
				assert_int_equal(bucket_encode(fresh, &bucket, i), 0);
				assert_int_equal(bucket.len, len);
				assert_memory_equal(bson_get_data(&bucket), bytes, len);
				bson_destroy(&bucket);
			}
			assert_int_equal(i, next);
		}
	}
	assert_int_equal(bucket_replace(f->maker, &command, "packets_20260101", 10000), -EINVAL);
	bucket_maker_free(fresh);
	command_buffer_free(&command);
}

static void replacement(void **state)
{
	struct fixture *f = *state;
	struct command_buffer command = {0};
	bson_t bucket = BSON_INITIALIZER, must = BSON_INITIALIZER, all, a, b, c;
	uint8_t id[BUCKET_ID_LEN];
	bson_oid_t oid;

	for (uint32_t i = 0; i < 20; i++)
		add_udp(f, i, i & 1);
	order(f);
	f->form.raw = false;
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	assert_int_equal(bucket_encode(f->maker, &bucket, 0), 0);
	assert_int_equal(bucket_replace(f->maker, &command, "packets_20260101", 10000), 1);
	assert_int_equal(bucket_id(id, &f->batch, &f->form, 0), 0);
	memcpy(oid.bytes, id, sizeof(id));
	bson_append_utf8(&must, "update", -1, "system.buckets.packets_20260101", -1);
	bson_append_bool(&must, "ordered", -1, false);
	bson_append_document_begin(&must, "writeConcern", -1, &a);
	bson_append_utf8(&a, "w", -1, "majority", -1);
	bson_append_bool(&a, "j", -1, true);
	bson_append_document_end(&must, &a);
	bson_append_int32(&must, "maxTimeMS", -1, 10000);
	bson_append_array_begin(&must, "updates", -1, &a);
	bson_append_document_begin(&a, "0", -1, &b);
	bson_append_document_begin(&b, "q", -1, &c);
	bson_append_oid(&c, "_id", -1, &oid);
	BCON_APPEND(&c, "control.count", "{", "$lt", BCON_INT32(20), "}");
	bson_append_document_end(&b, &c);
	bson_append_document(&b, "u", -1, &bucket);
	bson_append_bool(&b, "upsert", -1, true);
	bson_append_document_end(&a, &b);
	bson_append_array_end(&must, &a);
	assert_true(bson_init_static(&all, command.data, command.len));
	assert_int_equal(bson_compare(&all, &must), 0);
	bson_destroy(&must);
	bson_destroy(&bucket);
	command_buffer_free(&command);
}

/* Every byte of a bucket matters to the check: none of its own makes it pass, but for reserved ones in columns. */
static void damage_is_found(void **state)
{
	static const char *const places[] = {"control.count", "control.version", "control.max.ipid", "control.min.ts",
					     "meta.hosts.3",  "meta.iface",	 "control.closed",   "data.seq",
					     "data.local",    "data.ts",	 "data.csum",	     "_id"};
	struct fixture *f = *state;
	struct bucket_problem problem;
	bson_t bucket = BSON_INITIALIZER;

	for (uint32_t i = 0; i < 600; i++)
		add_frame(f, &frames[i % (sizeof(frames) / sizeof(*frames))]);
	order(f);
	assert_int_equal(bucket_plan(f->maker, &f->batch, f->ends, &f->form), 1);
	assert_int_equal(bucket_encode(f->maker, &bucket, 0), 0);
	assert_int_equal(bucket_check(f->maker, &bucket, 0, &problem), 0);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		bson_t damaged;
		bson_iter_t it, at;
		uint8_t *byte;

		bson_copy_to(&bucket, &damaged);
		assert_true(bson_iter_init(&it, &damaged) && bson_iter_find_descendant(&it, places[i], &at));
		/* The last byte but one, or two of a value: inside a block, a text or a number's lower half. */
		byte = (uint8_t *)at.raw + at.off + 1 + strlen(bson_iter_key(&at)) + 1;
		if (BSON_ITER_HOLDS_BINARY(&at))
			byte = (uint8_t *)at.raw + at.next_off - 6;
		else if (BSON_ITER_HOLDS_UTF8(&at))
			byte += 4;
		*byte ^= 1;
		problem.text[0] = 0;
		if (bucket_check(f->maker, &damaged, 0, &problem) != -EBADMSG || !problem.text[0])
			fail_msg("%s: not found", places[i]);
		bson_destroy(&damaged);
	}
	bson_destroy(&bucket);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_by_hand),
		TEST(packets_of_any_values),
		TEST(captures),
		TEST(every_packet_its_own),
		TEST(cuts),
		TEST(spans),
		TEST(head_by_hand),
		TEST(commands),
		TEST(replacement),
		TEST(damage_is_found),
		TEST(version_by_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
