/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/document.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/encode/document_read.h"
#include "recorder/ledger/canonical.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

static const struct batch_source source = {
	.capture = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .sensor = "probe-7", .iface = "veth0"};

#define RECORDS 2000u
struct fixture {
	struct rec_slot *slots;
	const struct rec_head **records;
	struct batch batch;
	struct ends_table *ends;
};

static int setup(void **state)
{
	static const struct ends_network own = {.address = {10, 0, 0, 1}, .family = 4};
	struct fixture *f = calloc(1, sizeof(*f));

	f->slots = calloc(RECORDS, sizeof(*f->slots));
	f->records = calloc(RECORDS, sizeof(*f->records));
	for (unsigned i = 0; i < RECORDS; i++)
		f->records[i] = &f->slots[i].head;
	f->batch = (struct batch){
		.source = &source,
		.number = 0x010203040506,
		.version = 0x0708,
		.pair = {.boot = 1000000000, .wall = 1700000000123456789},
		.records = f->records,
	};
	f->ends = ends_table_new(&own, 1, NULL, 0, NULL, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ends_table_free(f->ends);
	free(f->slots);
	free(f->records);
	free(f);
	return 0;
}

static void add_frame(struct fixture *f, const struct frame *frame, uint64_t time)
{
	struct rec_slot *s = &f->slots[f->batch.nrecords++];

	memset(s, 0, sizeof(*s));
	s->head = (struct rec_head){
		.time = time,
		.wire_len = frame->wire,
		.cap_len = (uint16_t)packets_hex(s->bytes, REC_CAP_MAX, frame->hex),
		.marks = (uint16_t)frame->marks,
		.gso_segs = (uint16_t)frame->segs,
		.gso_size = (uint16_t)frame->gso,
		.side = (uint8_t)frame->side,
	};
}

/* ---- documents written by hand --------------------------------------------------------------------------------- */

#define I(name, value) bson_append_int32(&expected, name, -1, value)
#define S(name, value) bson_append_utf8(&expected, name, -1, value, -1)
#define D(name, value) bson_append_double(&expected, name, -1, value)

static void front(bson_t *expected, const uint8_t id[28], int64_t ms)
{
	bson_t meta;

	bson_append_binary(expected, "_id", -1, BSON_SUBTYPE_BINARY, id, 28);
	bson_append_date_time(expected, "ts", -1, ms);
	bson_append_document_begin(expected, "meta", -1, &meta);
	bson_append_utf8(&meta, "iface", -1, "veth0", -1);
	bson_append_utf8(&meta, "sensor", -1, "probe-7", -1);
	bson_append_document_end(expected, &meta);
}

static void assert_bson_equal(const bson_t *a, const bson_t *b)
{
	if (!bson_equal(a, b)) {
		char *x = bson_as_canonical_extended_json(a, NULL), *y = bson_as_canonical_extended_json(b, NULL);

		print_error("got      %s\nexpected %s\n", x, y);
		bson_free(x);
		bson_free(y);
	}
	assert_true(bson_equal(a, b));
}

static void a_tcp_document_by_hand(void **state)
{
	static const uint8_t id[28] = {1,  2,  3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
				       15, 16, 1, 2, 3, 4, 5, 6, 7, 8,	0,  0,	0,  0};
	struct fixture *f = *state;
	bson_t out = BSON_INITIALIZER, expected = BSON_INITIALIZER;

	/* A SYN from our own address, one second after the pair: 1700000001123456789. Received: a mirror port. */
	add_frame(f, &frames[2], 2000000000);
	assert_int_equal(document_encode(&out, &f->batch, f->ends, 0), 0);
	front(&expected, id, 1700000001123);
	I("ns", 456789);
	S("dir", "out");
	S("side", "rx");
	I("len", 74);
	S("local", "10.0.0.1");
	I("lport", 54321);
	S("remote", "10.0.0.2");
	I("rport", 80);
	I("proto", 6);
	I("ttl", 64);
	I("tos", 0);
	I("ipid", 0x1234);
	I("frag", 0x4000);
	I("flags", 2);
	D("seq", 4294967295.0);
	D("ack", 0);
	I("win", 64240);
	I("urg", 0);
	D("ltsval", 4294967294.0);
	D("rtsval", 0);
	I("mss", 1460);
	I("ws", 7);
	I("sack", 1);
	I("opts", 024613);
	I("csum", 0xbeef);
	I("etype", 0x0800);
	S("lmac", "02:00:00:00:00:01");
	S("rmac", "02:00:00:00:00:02");
	assert_bson_equal(&out, &expected);
	bson_destroy(&out);
	bson_destroy(&expected);
}

static void raw_and_marks_by_hand(void **state)
{
	static const uint8_t id[28] = {1,  2,  3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
				       15, 16, 1, 2, 3, 4, 5, 6, 7, 8,	0,  0,	0,  1};
	static const uint8_t raw[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xcc, 2, 7, 4};
	const struct frame *lldp = NULL;
	struct fixture *f = *state;
	bson_t out = BSON_INITIALIZER, expected = BSON_INITIALIZER;

	for (size_t i = 0; i < FRAMES; i++)
		if (strstr(frames[i].name, "with bytes behind it"))
			lldp = &frames[i];
	f->batch.pair = (struct clock_pair){.boot = 5, .wall = -1}; /* the last nanosecond before 1970 */
	add_frame(f, lldp, 0);
	add_frame(f, lldp, 5);
	f->slots[1].head.marks |= REC_MARK_BLOCKED;
	f->slots[1].head.side = REC_TX;
	assert_int_equal(document_encode(&out, &f->batch, f->ends, 1), 0);
	front(&expected, id, -1);
	I("ns", 999999);
	S("dir", "out");
	I("len", 60);
	I("etype", 0x88cc);
	S("lmac", "02:00:00:00:00:01");
	S("rmac", "02:00:00:00:00:02");
	S("marks", "unknown,blocked");
	bson_append_binary(&expected, "raw", -1, BSON_SUBTYPE_BINARY, raw, sizeof(raw));
	assert_bson_equal(&out, &expected);
	bson_destroy(&out);
	bson_destroy(&expected);
}

/* ---- against the form that libbson's own calls give ------------------------------------------------------------- */

static void oracle(bson_t *to, const struct fixture *f, uint32_t position)
{
	const struct rec_head *head = f->records[position];
	int64_t wall = batch_wall(&f->batch, head->time);
	struct packet packet, *p = &packet;
	uint8_t id[PACKET_ID_LEN];
	bool out;

	packet_decode(p, head, record_bytes(head));
	out = ends_source_is_local(f->ends, p);
	if (out != (p->outer.key.side == REC_TX))
		packet_set(p, PKT_SIDE);
	packet_id(id, &f->batch, position);
	front(to, id, clock_ms(wall));
	oracle_fields(to, p, wall, out);
}

/* ---- and back --------------------------------------------------------------------------------------------------- */

struct totals {
	struct fixture *f;
	struct command_buffer command;
	uint64_t frames, documents, raw, bytes, encoding, reading, rebuilding, digests, batches;
	uint64_t spoiled_digests;
};

/* The packet read back against the packet decoded: all fields but `side`, which decode does not set. */
static bool same_packet(const struct packet *decoded, const struct document_record *r)
{
	struct packet read = r->packet;

	packet_clear(&read, PKT_SIDE);
	return !packets_differ(decoded, &read, r->out);
}

/* The batch's documents, from the command's bytes, must say all there is to know about its records. */
static void check_batch(struct totals *t)
{
	struct fixture *f = t->f;
	struct canonical_hash *hash, *spoiled;
	uint8_t digest[DIGEST_LEN], other[DIGEST_LEN];
	bson_t command;
	bson_iter_t it, documents;
	uint32_t next, i = 0;

	assert_int_equal(canonical_order(&f->batch), 0);
	assert_int_equal(canonical_digest(&f->batch), 0);
	assert_int_equal(document_command(&t->command, "packets_20231114", &f->batch, f->ends, 0, f->batch.nrecords,
					  NULL, 48000000, 10000, &next),
			 f->batch.nrecords);
	assert_int_equal(next, f->batch.nrecords);
	assert_true(bson_init_static(&command, t->command.data, t->command.len));
	assert_true(bson_iter_init_find(&it, &command, "documents") && BSON_ITER_HOLDS_ARRAY(&it));
	assert_true(bson_iter_recurse(&it, &documents));
	hash = canonical_begin(source.capture, source.iface);
	spoiled = canonical_begin(source.capture, source.iface);
	for (i = 0; bson_iter_next(&documents); i++) {
		const struct rec_head *head = f->records[i];
		struct document_record r;
		struct canonical_record c;
		struct packet p;
		uint8_t bytes[REC_CAP_MAX];
		const uint8_t *data;
		const char *problem = "";
		uint32_t length;
		bson_t document, expected = BSON_INITIALIZER;
		int n;

		bson_iter_document(&documents, &length, &data);
		assert_true(bson_init_static(&document, data, length));
		oracle(&expected, f, i);
		t->encoding += !bson_equal(&document, &expected);
		bson_destroy(&expected);
		t->bytes += length;
		t->documents++;

		if (document_read(&document, &r, &problem) < 0) {
			print_error("%s\n", problem);
			t->reading++;
			continue;
		}
		packet_decode(&p, head, record_bytes(head));
		t->raw += (uint64_t)packet_has(&p, PKT_RAW);
		t->reading += !same_packet(&p, &r) || r.wall != batch_wall(&f->batch, head->time);
		n = packet_rebuild(&r.packet, bytes);
		t->rebuilding += n != head->cap_len || (n && memcmp(bytes, record_bytes(head), (size_t)n));
		c = (struct canonical_record){.ts = r.wall,
					      .wire_len = r.packet.len,
					      .cap_len = (uint16_t)(n < 0 ? 0 : n),
					      .marks = r.packet.marks,
					      .gso_segs = r.packet.segs,
					      .gso_size = r.packet.gso,
					      .side = r.packet.outer.key.side,
					      .bytes = bytes};
		canonical_add(hash, &c);
		if (i == f->batch.nrecords / 2)
			c.wire_len ^= 1;
		canonical_add(spoiled, &c);
	}
	assert_int_equal(i, f->batch.nrecords);
	assert_int_equal(canonical_end(hash, digest), 0);
	assert_int_equal(canonical_end(spoiled, other), 0);
	t->digests += memcmp(digest, f->batch.digest, DIGEST_LEN) != 0;
	t->spoiled_digests += memcmp(other, f->batch.digest, DIGEST_LEN) != 0;
	t->batches++;
	f->batch.nrecords = 0;
	f->batch.number++;
}

static void totals_check(struct totals *t)
{
	print_message("documents %lu bytes/document %lu raw %lu batches %lu\n", t->documents,
		      t->documents ? t->bytes / t->documents : 0, t->raw, t->batches);
	assert_int_equal(t->encoding, 0);
	assert_int_equal(t->reading, 0);
	assert_int_equal(t->rebuilding, 0);
	assert_int_equal(t->digests, 0);
	assert_int_equal(t->spoiled_digests, t->batches); /* one wrong length in a batch is found */
	command_buffer_free(&t->command);
}

static void frames_made_by_hand_and_back(void **state)
{
	struct totals t = {.f = *state};

	for (unsigned i = 0; i < 10 * FRAMES; i++) {
		add_frame(t.f, &frames[i % FRAMES], 1000 * (i / 3));
		t.f->slots[t.f->batch.nrecords - 1].head.side = i & 1;
	}
	check_batch(&t);
	totals_check(&t);
}

static void one_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	static uint64_t random = 0x9e3779b97f4a7c15ull;
	struct totals *t = arg;
	unsigned copies = ++t->frames % 8 ? 1 : 4; /* every frame as it is, every eighth also with damages */

	for (unsigned i = 0; i < copies; i++) {
		uint64_t r = packets_random(&random);
		struct rec_slot *s = &t->f->slots[t->f->batch.nrecords];

		packets_record(s, frame, cap, wire, r & 1);
		s->head.time = (r >> 1) % 4 * 1000000000 + (r >> 8) % 5000;
		if (i && s->head.cap_len) {
			unsigned at = (unsigned)((r >> 16) % s->head.cap_len);

			s->bytes[at] ^= (uint8_t)(1u << (r >> 40 & 7));
			if (i == 2)
				s->head.cap_len = (uint16_t)(at + 1);
			if (i == 3) {
				s->head.wire_len = (uint32_t)(r >> 32) & INT32_MAX;
				s->head.marks = (uint16_t)(r >> 48);
				s->head.gso_segs = (uint16_t)(r >> 20 & 3);
				s->head.gso_size = (uint16_t)(r >> 24 & 3);
			}
		}
		if (++t->f->batch.nrecords == RECORDS)
			check_batch(t);
	}
}

static void frames_of_the_captures_and_back(void **state)
{
	struct totals t = {.f = *state};

	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), one_frame, &t);
	if (t.f->batch.nrecords)
		check_batch(&t);
	totals_check(&t);
	assert_true(t.documents > 1000);
}

/* ---- the command ------------------------------------------------------------------------------------------------ */

static void the_command_is_what_a_server_expects(void **state)
{
	struct fixture *f = *state;
	struct command_buffer c = {0};
	bson_t command, head = BSON_INITIALIZER, concern;
	bson_iter_t it, documents;
	uint32_t next, n = 0;

	for (unsigned i = 0; i < 1234; i++)
		add_frame(f, &frames[i % FRAMES], i);
	assert_int_equal(
		document_command(&c, "packets_20231114", &f->batch, f->ends, 0, 1234, NULL, 48000000, 9999, &next),
		1234);
	assert_int_equal(next, 1234);
	assert_true(bson_init_static(&command, c.data, c.len));
	assert_true(bson_validate(&command, BSON_VALIDATE_UTF8 | BSON_VALIDATE_EMPTY_KEYS, NULL));
	bson_append_utf8(&head, "insert", -1, "packets_20231114", -1);
	bson_append_bool(&head, "ordered", -1, false);
	bson_append_document_begin(&head, "writeConcern", -1, &concern);
	bson_append_utf8(&concern, "w", -1, "majority", -1);
	bson_append_bool(&concern, "j", -1, true);
	bson_append_document_end(&head, &concern);
	bson_append_int32(&head, "maxTimeMS", -1, 9999);
	assert_memory_equal(c.data + 4, bson_get_data(&head) + 4, head.len - 5);
	bson_destroy(&head);
	assert_true(bson_iter_init_find(&it, &command, "documents"));
	assert_true(bson_iter_recurse(&it, &documents));
	while (bson_iter_next(&documents)) {
		char key[16];

		snprintf(key, sizeof(key), "%u", n);
		assert_string_equal(bson_iter_key(&documents), key);
		n++;
	}
	assert_int_equal(n, 1234);
	assert_false(bson_iter_next(&it)); /* documents come last */
	command_buffer_free(&c);
	assert_null(c.data);
}

static void the_command_stops_before_it_is_too_long(void **state)
{
	struct fixture *f = *state;
	struct command_buffer c = {0};
	uint32_t first = 0, next, commands = 0;
	bson_t all = BSON_INITIALIZER, whole = BSON_INITIALIZER;

	for (unsigned i = 0; i < 500; i++)
		add_frame(f, &frames[i % FRAMES], i);
	for (unsigned i = 0; i < 500; i++)
		document_encode(&whole, &f->batch, f->ends, i);
	for (; first < 500; first = next, commands++) {
		size_t limit = commands % 3 == 2 ? 10 : 20000; /* too small for any: one at a time */
		int n = document_command(&c, "p", &f->batch, f->ends, first, 500 - first, NULL, limit, 1, &next);
		bson_t command, document;
		bson_iter_t it, documents;

		assert_int_equal(n, next - first);
		assert_true(n > 0);
		assert_true(c.len <= 20000);
		assert_true(limit == 10 ? n == 1 : n > 1 || next == 500);
		assert_true(bson_init_static(&command, c.data, c.len));
		assert_true(bson_iter_init_find(&it, &command, "documents") && bson_iter_recurse(&it, &documents));
		while (bson_iter_next(&documents)) {
			const uint8_t *data;
			uint32_t length;

			bson_iter_document(&documents, &length, &data);
			assert_true(bson_init_static(&document, data, length));
			bson_concat(&all, &document);
			n--;
		}
		assert_int_equal(n, 0);
	}
	assert_true(commands > 5);
	assert_bson_equal(&all, &whole); /* every document once, in order */
	bson_destroy(&all);
	bson_destroy(&whole);
	command_buffer_free(&c);
}

static void only_the_wanted(void **state)
{
	struct fixture *f = *state;
	struct command_buffer c = {0};
	uint8_t wanted[100] = {[3] = 1, [50] = 1, [99] = 1}, none[100] = {0};
	uint32_t next, position[3], n = 0;
	bson_t command;
	bson_iter_t it, documents;

	for (unsigned i = 0; i < 110; i++)
		add_frame(f, &frames[0], i);
	assert_int_equal(document_command(&c, "p", &f->batch, f->ends, 10, 100, wanted, 1 << 20, 1, &next), 3);
	assert_int_equal(next, 110);
	assert_true(bson_init_static(&command, c.data, c.len));
	assert_true(bson_iter_init_find(&it, &command, "documents") && bson_iter_recurse(&it, &documents));
	while (bson_iter_next(&documents)) {
		bson_iter_t child;
		bson_subtype_t subtype;
		const uint8_t *id;
		uint32_t length;

		assert_true(bson_iter_recurse(&documents, &child) && bson_iter_next(&child));
		bson_iter_binary(&child, &subtype, &length, &id);
		assert_int_equal(length, 28);
		position[n++] = (uint32_t)id[26] << 8 | id[27];
	}
	assert_int_equal(n, 3);
	assert_int_equal(position[0], 13);
	assert_int_equal(position[1], 60);
	assert_int_equal(position[2], 109);
	assert_int_equal(document_command(&c, "p", &f->batch, f->ends, 10, 100, none, 1 << 20, 1, &next), 0);
	assert_int_equal(next, 110);
	assert_true(bson_init_static(&command, c.data, c.len) && bson_validate(&command, BSON_VALIDATE_NONE, NULL));
	command_buffer_free(&c);
}

static void names_too_long_are_refused(void **state)
{
	struct fixture *f = *state;
	struct command_buffer c = {0};
	char name[DOCUMENT_NAME_MAX + 2];
	struct batch_source longer = source;
	uint32_t next;
	bson_t out = BSON_INITIALIZER;

	memset(name, 'x', sizeof(name));
	name[DOCUMENT_NAME_MAX + 1] = 0;
	add_frame(f, &frames[0], 1);
	assert_int_equal(document_command(&c, name, &f->batch, f->ends, 0, 1, NULL, 1 << 20, 1, &next), -ENAMETOOLONG);
	f->batch.source = &longer;
	longer.sensor = name;
	assert_int_equal(document_command(&c, "p", &f->batch, f->ends, 0, 1, NULL, 1 << 20, 1, &next), -ENAMETOOLONG);
	assert_int_equal(document_encode(&out, &f->batch, f->ends, 0), -ENAMETOOLONG);
	name[DOCUMENT_NAME_MAX] = 0; /* the longest that is allowed, everywhere */
	longer.iface = name;
	assert_int_equal(document_command(&c, name, &f->batch, f->ends, 0, 1, NULL, 1 << 20, 1, &next), 1);
	bson_destroy(&out);
	command_buffer_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_tcp_document_by_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(raw_and_marks_by_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_made_by_hand_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_of_the_captures_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(the_command_is_what_a_server_expects, setup, teardown),
		cmocka_unit_test_setup_teardown(the_command_stops_before_it_is_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(names_too_long_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
