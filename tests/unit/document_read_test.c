/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/document_read.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/encode/document.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/frames.h"

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "probe-7", .iface = "veth0"};
static const struct batch batch = {.source = &source, .number = 3, .version = ENCODE_VERSION};

static void front(bson_t *to, uint32_t position, int64_t ms)
{
	uint8_t id[PACKET_ID_LEN];
	bson_t meta;

	packet_id(id, &batch, position);
	bson_append_binary(to, "_id", -1, BSON_SUBTYPE_BINARY, id, sizeof(id));
	bson_append_date_time(to, "ts", -1, ms);
	bson_append_document_begin(to, "meta", -1, &meta);
	bson_append_utf8(&meta, "iface", -1, source.iface, -1);
	bson_append_utf8(&meta, "sensor", -1, source.sensor, -1);
	bson_append_document_end(to, &meta);
}

/* Packet -> document as libbson makes it -> packet -> the same document. NULL, or the field that is wrong. */
static const char *there_and_back(const struct packet *p, int64_t wall, bool out)
{
	bson_t document = BSON_INITIALIZER, expected = BSON_INITIALIZER, again = BSON_INITIALIZER;
	struct document_record r;
	const char *wrong = NULL;

	front(&expected, 7, clock_ms(wall));
	oracle_fields(&expected, p, wall, out);
	assert_int_equal(document_packet(&document, &batch, p, wall, out, 7), 0);
	if (!bson_equal(&document, &expected))
		wrong = "the document's bytes";
	else if (document_read(&document, &r, &wrong) == 0)
		wrong = r.out != out || r.wall != wall ? "out, wall" : packets_differ(p, &r.packet, out);
	if (!wrong) {
		assert_int_equal(document_packet(&again, &batch, &r.packet, r.wall, r.out, 7), 0);
		wrong = bson_equal(&document, &again) ? NULL : "the second document";
	}
	bson_destroy(&document);
	bson_destroy(&expected);
	bson_destroy(&again);
	return wrong;
}

static const int64_t walls[] = {0, -1, 1700000000123456789, -999999999999999999, 999999};

static void every_field_alone(void **state)
{
	uint64_t random = 0x1234567;
	unsigned checked = 0;
	uint8_t bytes[REC_CAP_MAX];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(7 * i + 1);
	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		for (unsigned round = 0; fields[f].name && round < 40; round++) {
			bool out = round & 1;
			struct packet p;
			const char *wrong;

			any_packet(&p, &random, bytes, round < 4);
			p.outer.key.side = out ? REC_TX : REC_RX;
			if (f == PKT_SIDE)
				p.outer.key.side ^= 1;
			any_packet_set(&p, f);
			wrong = there_and_back(&p, walls[round % 5], out);
			if (wrong)
				fail_msg("%s alone: %s", fields[f].name, wrong);
			checked++;
		}
	}
	assert_true(checked > 200 * 40);
}

/* Any of the fields together, and all of them: also the longest document there can be. */
static void fields_together(void **state)
{
	uint64_t random = 0x7654321;
	uint8_t bytes[REC_CAP_MAX];

	(void)state;
	memset(bytes, 0xa5, sizeof(bytes));
	for (unsigned round = 0; round < 2000; round++) {
		uint64_t chance = round ? packets_random(&random) % 64 : 64;
		bool out = round & 1;
		struct packet p;
		const char *wrong;

		any_packet(&p, &random, bytes, round == 0);
		/* Together these are REC_CAP_MAX at most, as in a packet. */
		p.outer.ext.len = p.inner.ext.len = p.quote.ext.len = 32;
		p.outer.ipopts.len = p.inner.ipopts.len = p.quote.ipopts.len = 20;
		p.outer.topts.len = p.inner.topts.len = p.quote.topts.len = 20;
		p.other.geneve_opts.len = 40;
		for (unsigned f = 0; f < PKT_FIELDS; f++)
			if (fields[f].name && !packet_has(&p, f) && packets_random(&random) % 64 < chance)
				any_packet_set(&p, f);
		p.outer.key.side = (out ? REC_TX : REC_RX) ^ (unsigned)packet_has(&p, PKT_SIDE);
		for (unsigned i = 0; i < 3; i++) {
			struct packet_stack *s = i == 0 ? &p.outer : i == 1 ? &p.inner : &p.quote;

			s->key.tags = (uint8_t)((s->key.tags & ~3u) +
						(unsigned)packet_has(&p, 64 * i + PKT_VLAN) +
						(unsigned)packet_has(&p, 64 * i + PKT_VLAN2));
		}
		wrong = there_and_back(&p, walls[round % 5], out);
		if (wrong)
			fail_msg("round %u: %s", round, wrong);
	}
}

static void too_many_bytes_are_refused(void **state)
{
	uint8_t bytes[REC_CAP_MAX] = {0};
	uint64_t random = 1;
	struct packet p;
	bson_t to = BSON_INITIALIZER;

	(void)state;
	any_packet(&p, &random, bytes, false);
	any_packet_set(&p, PKT_EXT);
	any_packet_set(&p, PKT_GOPTS);
	p.outer.ext.len = 200;
	p.other.geneve_opts.len = 56;
	assert_int_equal(document_packet(&to, &batch, &p, 0, true, 0), 0);
	bson_reinit(&to);
	p.other.geneve_opts.len = 57;
	assert_int_equal(document_packet(&to, &batch, &p, 0, true, 0), -EINVAL);
	p.other.geneve_opts.len = 1;
	any_packet_set(&p, PKT_RAW);
	p.raw_len = REC_CAP_MAX + 1;
	assert_int_equal(document_packet(&to, &batch, &p, 0, true, 0), -EINVAL);
	assert_int_equal(to.len, 5);
	bson_destroy(&to);
}

/* ---- documents that nobody should have written ------------------------------------------------------------------ */

static void good_document(bson_t *good)
{
	struct rec_slot slot = {0};
	struct packet p;

	slot.head = (struct rec_head){
		.wire_len = frames[2].wire,
		.cap_len = (uint16_t)packets_hex(slot.bytes, REC_CAP_MAX, frames[2].hex),
		.side = REC_TX,
	};
	packet_decode(&p, &slot.head, slot.bytes);
	assert_int_equal(document_packet(good, &batch, &p, 1700000001123456789, true, 0), 0);
}

static void missing_and_of_another_type(void **state)
{
	bson_t good = BSON_INITIALIZER;
	struct document_record r;
	const char *problem;
	bson_iter_t it;
	unsigned refused = 0;

	(void)state;
	good_document(&good);
	assert_int_equal(document_read(&good, &r, NULL), 0);
	assert_string_equal(r.iface, "veth0");
	assert_string_equal(r.sensor, "probe-7");
	assert_int_equal(r.id_len, 28);
	/* Of another type, or gone: refused at once, or no bytes come of it that are not the frame's. */
	assert_true(bson_iter_init(&it, &good));
	while (bson_iter_next(&it)) {
		const char *key = bson_iter_key(&it);
		bson_t bad = BSON_INITIALIZER, less = BSON_INITIALIZER;
		uint8_t bytes[REC_CAP_MAX];

		bson_copy_to_excluding_noinit(&good, &bad, key, NULL);
		bson_concat(&less, &bad);
		bson_append_bool(&bad, key, -1, true);
		assert_int_equal(document_read(&bad, &r, &problem), -EINVAL);
		assert_string_equal(problem, key);
		if (document_read(&less, &r, NULL) < 0 || packet_rebuild(&r.packet, bytes) < 0)
			refused++;
		bson_destroy(&bad);
		bson_destroy(&less);
	}
	assert_true(refused > 20);
	bson_destroy(&good);
}

static void values_out_of_range(void **state)
{
	static const struct {
		const char *problem, *json;
	} extra[] = {
		{"nonsense", "{\"nonsense\": 1}"},
		{"lport", "{\"lport\": 1}"}, /* twice */
		{"sl2", "{\"sl2\": 1.0, \"sr2\": 1.0}"},
		{"sl1", "{\"sl1\": 1.0}"},
		{"qsl1", "{\"qsr1\": 1.0}"},
		{"asha", "{\"asha\": \"00:00\"}"},
		{"ulen", "{\"ulen\": 65536}"},
		{"ulen", "{\"ulen\": -1}"},
		{"ulen", "{\"ulen\": 1.0}"},
		{"ulen", "{\"ulen\": {\"$numberLong\": \"1\"}}"},
		{"iulen", "{\"iulen\": 65536}"},
		{"qttl", "{\"qttl\": 256}"},
		{"iflags", "{\"iflags\": 4096}"},
		{"iflow", "{\"iflow\": 1048576}"},
		{"iopts", "{\"iopts\": 0}"},
		{"iopts", "{\"iopts\": 1073741824}"},
		{"qpad", "{\"qpad\": 0}"},
		{"isack", "{\"isack\": 2}"},
		{"sl1", "{\"sl1\": 4294967296.0, \"sr1\": 1.0}"},
		{"sl1", "{\"sl1\": 0.5, \"sr1\": 1.0}"},
		{"sl1", "{\"sl1\": {\"$numberDouble\": \"NaN\"}, \"sr1\": 1.0}"},
		{"oui", "{\"oui\": 16777216}"},
		{"vni", "{\"vni\": 16777216}"},
		{"vnires", "{\"vnires\": 256}"},
		{"mpls", "{\"mpls\": 4294967296.0}"},
		{"mpls", "{\"mpls\": -1.0}"},
		{"dccp_seq", "{\"dccp_seq\": 281474976710656.0}"},
		{"marks", "{\"marks\": \"bad\"}"},
		{"marks", "{\"marks\": \"\"}"},
		{"side", "{\"side\": \"left\"}"},
		{"segs", "{\"segs\": 0}"},
		{"tpid", "{\"tpid\": 33024}"},
		{"vlan", "{\"tpid\": 34984}"},
		{"vlan", "{\"vlan2\": 1}"},
		{"ivlan2", "{\"ivlan\": 1, \"itpid2\": 34984}"},
		{"qremote", "{\"qlocal\": \"10.0.0.1\"}"},
		{"qremote", "{\"qlocal\": \"10.0.0.1\", \"qremote\": \"::1\"}"},
		{"ilocal", "{\"ilocal\": \"10.0.0\"}"},
		{"target", "{\"target\": \"10.0.0.1\"}"},
		{"rdest", "{\"rdest\": \"10.0.0.1\"}"},
		{"ext", "{\"ext\": {\"$binary\": {\"base64\": \"\", \"subType\": \"00\"}}}"},
		{"gopts", "{\"gopts\": {\"$binary\": {\"base64\": \"AAAA\", \"subType\": \"80\"}}}"},
		{"raw", "{\"raw\": {\"$binary\": {\"base64\": \"AAAA\", \"subType\": \"05\"}}}"},
	};
	bson_t good = BSON_INITIALIZER;

	(void)state;
	good_document(&good);
	for (unsigned i = 0; i < sizeof(extra) / sizeof(*extra); i++) {
		bson_t *more = bson_new_from_json((const uint8_t *)extra[i].json, -1, NULL);
		bson_t bad = BSON_INITIALIZER;
		struct document_record r;
		const char *problem = NULL;

		assert_non_null(more);
		bson_concat(&bad, &good);
		bson_concat(&bad, more);
		if (document_read(&bad, &r, &problem) == 0)
			fail_msg("read: %s", extra[i].json);
		if (strcmp(problem, extra[i].problem))
			fail_msg("%s refused for %s", extra[i].json, problem);
		bson_destroy(&bad);
		bson_destroy(more);
	}
	bson_destroy(&good);
}

/* A byte string that is longer than any header. */
static void bytes_too_long(void **state)
{
	static const uint8_t zeros[REC_CAP_MAX + 1];
	static const char *const names[] = {"ext", "ipopts", "topts", "iext", "qtopts", "gopts", "raw"};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (unsigned more = 0; more < 2; more++) {
			bson_t document = BSON_INITIALIZER;
			struct document_record r;
			const char *problem = NULL;

			good_document(&document);
			bson_append_binary(&document, names[i], -1, BSON_SUBTYPE_BINARY, zeros, REC_CAP_MAX + more);
			assert_int_equal(document_read(&document, &r, &problem), more ? -EINVAL : 0);
			if (more)
				assert_string_equal(problem, names[i]);
			bson_destroy(&document);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_alone),
		cmocka_unit_test(fields_together),
		cmocka_unit_test(too_many_bytes_are_refused),
		cmocka_unit_test(missing_and_of_another_type),
		cmocka_unit_test(values_out_of_range),
		cmocka_unit_test(bytes_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
