/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct batch_source source = {
	.capture = {0xa0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .sensor = "probe", .iface = "eth7"};

/* A document as relaxed JSON against the expected text; binary values are shown in base64. */
static void assert_json(const bson_t *document, const char *expected)
{
	char *json;

	assert_true(bson_validate(document, BSON_VALIDATE_UTF8, NULL));
	json = bson_as_canonical_extended_json(document, NULL);
	assert_string_equal(json, expected);
	bson_free(json);
}

#define LONG(n) "{ \"$numberLong\" : \"" #n "\" }"
#define INT(n) "{ \"$numberInt\" : \"" #n "\" }"
#define DATE(n) "{ \"$date\" : { \"$numberLong\" : \"" #n "\" } }"
#define BIN(text) "{ \"$binary\" : { \"base64\" : \"" text "\", \"subType\" : \"00\" } }"
#define COUNT(p, b) "{ \"packets\" : " LONG(p) ", \"bytes\" : " LONG(b) " }"

static void a_balance_row(void **state)
{
	struct balance_row row = {
		.source = &source,
		.side = REC_TX,
		.sec = 7,
		.seconds = 1,
		.pair = {.boot = 1, .wall = 1700000000999000002}, /* offset ...999000001 */
		.witness = {.boot = 8000000001,
			    .rx_packets = 1,
			    .rx_bytes = 2,
			    .rx_dropped = 3,
			    .tx_packets = 4,
			    .tx_bytes = 5,
			    .tx_dropped = 6},
	};
	bson_t out = BSON_INITIALIZER;

	(void)state;
	for (unsigned i = 0; i < REC_TERMS; i++)
		row.term[i] = (struct rec_count){.packets = 100 + i, .bytes = 1000 + i};
	row.term[REC_SEEN].bytes = 1ull << 40;
	balance_document(&out, &row);
	/* clang-format off */
	assert_json(&out,
		"{ \"_id\" : " BIN("oAIDBAUGBwgJCgsMDQ4PEAEAAAAAAAAABw==")
		", \"ts\" : " DATE(1700000007999) ", \"ns\" : " INT(1)
		", \"sensor\" : \"probe\", \"iface\" : \"eth7\", \"side\" : \"tx\", \"sec\" : " LONG(7) ", \"secs\" : " INT(1)
		", \"seen\" : " COUNT(100, 1099511627776)
		", \"stored\" : " COUNT(101, 1001)
		", \"filtered\" : { \"own\" : " COUNT(102, 1002) ", \"expr\" : " COUNT(103, 1003) " }"
		", \"blocked\" : " COUNT(104, 1004)
		", \"blocked_stored\" : " COUNT(111, 1011)
		", \"summarised\" : { \"flow\" : " COUNT(105, 1005) ", \"prefix\" : " COUNT(106, 1006) " }"
		", \"lost\" : { \"ring_full\" : " COUNT(107, 1007) ", \"contended\" : " COUNT(108, 1008)
		", \"no_ring\" : " COUNT(109, 1009) ", \"unreadable\" : " COUNT(110, 1010) " }"
		", \"witness\" : { \"boot\" : " LONG(8000000001)
		", \"rx\" : { \"packets\" : " LONG(1) ", \"bytes\" : " LONG(2) ", \"dropped\" : " LONG(3) " }"
		", \"tx\" : { \"packets\" : " LONG(4) ", \"bytes\" : " LONG(5) ", \"dropped\" : " LONG(6) " } }"
		", \"clock\" : { \"boot\" : " LONG(1) ", \"wall\" : " LONG(1700000000999000002) " } }");
	/* clang-format on */
	bson_destroy(&out);
}

static void a_silent_run_without_a_witness(void **state)
{
	struct balance_row row = {.source = &source, .sec = 1ull << 40, .seconds = 60, .silent = 1};
	bson_t out = BSON_INITIALIZER;
	bson_iter_t it;

	(void)state;
	row.pair.wall = -(int64_t)(row.sec * NS_PER_SEC) - 1; /* one nanosecond before 1970 */
	balance_document(&out, &row);
	assert_true(bson_iter_init_find(&it, &out, "silent") && bson_iter_bool(&it));
	assert_true(bson_iter_init_find(&it, &out, "ts") && bson_iter_date_time(&it) == -1);
	assert_true(bson_iter_init_find(&it, &out, "ns") && bson_iter_int32(&it) == 999999);
	assert_true(bson_iter_init_find(&it, &out, "secs") && bson_iter_int32(&it) == 60);
	assert_true(bson_iter_init_find(&it, &out, "side") && !strcmp(bson_iter_utf8(&it, NULL), "rx"));
	assert_false(bson_iter_init_find(&it, &out, "witness"));
	assert_int_equal(balance_day(&row), 19691231);
	bson_destroy(&out);
}

static void ids_are_in_order(void **state)
{
	uint8_t a[BALANCE_ID_LEN], b[BALANCE_ID_LEN], c[LEDGER_ID_LEN], d[LEDGER_ID_LEN];

	(void)state;
	balance_id(a, source.capture, REC_RX, 255);
	balance_id(b, source.capture, REC_RX, 256);
	assert_true(memcmp(a, b, sizeof(a)) < 0);
	balance_id(a, source.capture, REC_TX, 0);
	assert_true(memcmp(b, a, sizeof(a)) < 0);
	ledger_id(c, source.capture, 0xffff);
	ledger_id(d, source.capture, 0x10000);
	assert_true(memcmp(c, d, sizeof(c)) < 0);
	assert_memory_equal(c, source.capture, CAPTURE_ID_LEN);
}

static void a_ledger_entry(void **state)
{
	struct batch_range ranges[12] = {[0] = {.from = 8, .to = 1ull << 33, .side = REC_TX, .cpu = 3, .records = 5}};
	struct batch_second seconds[] = {{.sec = 9, .side = REC_RX, .packets = 2, .bytes = 120}};
	struct batch b = {
		.source = &source,
		.number = 258,
		.day = 20231114,
		.mode = 1,
		.version = 2,
		.pair = {.boot = 1000, .wall = 1700000000000001000},
		.ranges = ranges,
		.nranges = 1,
		.nrecords = 5,
		.seconds = seconds,
		.nseconds = 1,
		.bytes = 700,
		.first_boot = 9000000005,
		.last_boot = 9999999999,
		.digest = {1},
		.previous = {2},
	};
	bson_t out = BSON_INITIALIZER;
	bson_iter_t it, child;
	char key[16];

	(void)state;
	ledger_document(&out, &b, "packets_20231114");
	/* clang-format off */
	assert_json(&out,
		"{ \"_id\" : " BIN("oAIDBAUGBwgJCgsMDQ4PEAAAAAAAAAEC")
		", \"ts\" : " DATE(1700000009000) ", \"ns\" : " INT(5)
		", \"last\" : " DATE(1700000009999) ", \"last_ns\" : " INT(999999)
		", \"sensor\" : \"probe\", \"iface\" : \"eth7\", \"capture\" : " BIN("oAIDBAUGBwgJCgsMDQ4PEA==")
		", \"number\" : " LONG(258) ", \"packets\" : " LONG(5) ", \"bytes\" : " LONG(700)
		", \"collection\" : \"packets_20231114\", \"mode\" : " INT(1) ", \"version\" : " INT(2)
		", \"clock\" : { \"boot\" : " LONG(1000) ", \"wall\" : " LONG(1700000000000001000) " }"
		", \"seconds\" : [ { \"sec\" : " LONG(9) ", \"side\" : \"rx\", \"packets\" : " LONG(2)
		", \"bytes\" : " LONG(120) " } ]"
		", \"ranges\" : [ { \"side\" : \"tx\", \"cpu\" : " INT(3) ", \"from\" : " LONG(8)
		", \"to\" : " LONG(8589934592) ", \"packets\" : " LONG(5) " } ]"
		", \"digest\" : " BIN("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		", \"previous\" : " BIN("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") " }");
	/* clang-format on */
	bson_destroy(&out);

	/* Arrays have their indexes as names. */
	bson_init(&out);
	b.nranges = 12;
	ledger_document(&out, &b, "p");
	assert_true(bson_iter_init_find(&it, &out, "ranges") && bson_iter_recurse(&it, &child));
	for (unsigned i = 0; i < 12; i++) {
		assert_true(bson_iter_next(&child));
		snprintf(key, sizeof(key), "%u", i);
		assert_string_equal(bson_iter_key(&child), key);
	}
	assert_false(bson_iter_next(&child));
	bson_destroy(&out);
}

static void events(void **state)
{
	bson_t out = BSON_INITIALIZER, details = BSON_INITIALIZER;
	char kind[101];
	bson_iter_t it;
	bson_subtype_t subtype;
	const uint8_t *id;
	uint32_t length;

	(void)state;
	bson_append_int32(&details, "missing", -1, 3);
	event_document(&out, source.capture, 258, 1700000000123456789, "gap", "probe", "eth7", "three are missing",
		       &details);
	assert_json(&out,
		    "{ \"_id\" : " BIN("oAIDBAUGBwgJCgsMDQ4PEAAAAAAAAAECZ2Fw") ", \"ts\" : " DATE(
			    1700000000123) ", \"ns\" : " INT(456789) ", \"kind\" : \"gap\", \"sensor\" : \"probe\", "
								     "\"iface\" : \"eth7\", "
								     "\"text\" : \"three are missing\", \"details\" : "
								     "{ \"missing\" : " INT(3) " } }");
	bson_destroy(&out);
	bson_destroy(&details);

	bson_init(&out);
	memset(kind, 'k', 100);
	kind[100] = 0;
	event_document(&out, source.capture, 1, 0, kind, "probe", NULL, "", NULL);
	assert_false(bson_iter_init_find(&it, &out, "iface"));
	assert_false(bson_iter_init_find(&it, &out, "details"));
	assert_true(bson_iter_init_find(&it, &out, "_id"));
	bson_iter_binary(&it, &subtype, &length, &id);
	assert_int_equal(length, 16 + 8 + 64);
	bson_destroy(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_balance_row),    cmocka_unit_test(a_silent_run_without_a_witness),
		cmocka_unit_test(ids_are_in_order), cmocka_unit_test(a_ledger_entry),
		cmocka_unit_test(events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
