/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/json.h"

#include <bson/bson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "recorder/encode/document.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/frames.h"

static const uint8_t id[3] = {0x00, 0xab, 0xff};
static const struct json_source plain = {.iface = "eth0", .sensor = "host", .id = id, .id_len = sizeof(id)};

static void take_line(char *line, const struct packet *p, int64_t wall, bool out, const struct json_source *source)
{
	char at[JSON_LINE_MAX];
	size_t length = json_line(at, p, wall, out, source);

	assert_true(length >= 2 && length < JSON_LINE_MAX);
	memcpy(line, at, length);
	line[length] = 0;
	assert_null(strchr(line, '\n'));
	assert_int_equal(strlen(line), length);
}

/* ---- a reader of what RFC 8259 allows for one object of texts and whole numbers, nothing else ------------------- */

static const char *read_text(const char *s)
{
	if (*s++ != '"')
		return NULL;
	for (; *s != '"'; s++) {
		if ((uint8_t)*s < 0x20)
			return NULL;
		if (*s != '\\')
			continue;
		if (*++s == 'u') {
			for (unsigned i = 0; i < 4; i++)
				if (!strchr("0123456789abcdef", *++s) || !*s)
					return NULL;
		} else if (!*s || !strchr("\"\\/bfnrt", *s)) {
			return NULL;
		}
	}
	return s + 1;
}

static const char *read_number(const char *s)
{
	s += *s == '-';
	if (*s < '0' || *s > '9' || (*s == '0' && s[1] >= '0' && s[1] <= '9'))
		return NULL;
	while (*s >= '0' && *s <= '9')
		s++;
	return s;
}

/* The number of members, -1 where the line is not such an object. */
static int read_object(const char *s)
{
	int members = 0;

	if (*s++ != '{')
		return -1;
	for (;; s++) {
		s = read_text(s);
		if (!s || *s++ != ':')
			return -1;
		s = *s == '"' ? read_text(s) : read_number(s);
		members++;
		if (!s || *s != ',')
			break;
	}
	return s && *s == '}' && !s[1] ? members : -1;
}

/* ---- the line against the packet's document --------------------------------------------------------------------- */

static void same_hex(const char *text, const uint8_t *bytes, uint32_t n)
{
	char hex[2 * REC_CAP_MAX + 1] = "";

	for (uint32_t i = 0; i < n; i++)
		sprintf(hex + 2 * i, "%02x", bytes[i]);
	assert_string_equal(text, hex);
}

static void same_value(const bson_iter_t *json, const bson_iter_t *document)
{
	bson_subtype_t subtype;
	const uint8_t *bytes;
	uint32_t length;

	assert_string_equal(bson_iter_key(json), bson_iter_key(document));
	switch (bson_iter_type(document)) {
	case BSON_TYPE_INT32:
		assert_int_equal(bson_iter_as_int64(json), bson_iter_int32(document));
		break;
	case BSON_TYPE_DOUBLE:
		assert_true(BSON_ITER_HOLDS_INT(json));
		assert_true((double)bson_iter_as_int64(json) == bson_iter_double(document));
		break;
	case BSON_TYPE_UTF8:
		assert_string_equal(bson_iter_utf8(json, NULL), bson_iter_utf8(document, NULL));
		break;
	case BSON_TYPE_BINARY:
		bson_iter_binary(document, &subtype, &length, &bytes);
		same_hex(bson_iter_utf8(json, NULL), bytes, length);
		break;
	default:
		fail_msg("type %d", bson_iter_type(document));
	}
}

/* By libc's calendar. */
static void date_text(char text[64], int64_t wall)
{
	time_t seconds = clock_ms(wall) >= 0 ? clock_ms(wall) / 1000 : -((999 - clock_ms(wall)) / 1000);
	char form[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(form, sizeof(form), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, 64, "%s.%03dZ", form, (int)(clock_ms(wall) - seconds * 1000));
}

static void check_line(const struct packet *p, int64_t wall, bool out)
{
	char line[JSON_LINE_MAX + 1], date[64];
	bson_t expected = BSON_INITIALIZER, *json;
	bson_iter_t a, b;
	bson_error_t error;

	take_line(line, p, wall, out, &plain);
	oracle_fields(&expected, p, wall, out);
	assert_int_equal(read_object(line), 4 + bson_count_keys(&expected)); /* _id, ts, iface, sensor; ns.. */
	json = bson_new_from_json((const uint8_t *)line, -1, &error);
	if (!json)
		fail_msg("%s: %s", error.message, line);
	assert_true(bson_iter_init(&a, json) && bson_iter_init(&b, &expected));
	assert_true(bson_iter_next(&a));
	assert_string_equal(bson_iter_key(&a), "_id");
	assert_string_equal(bson_iter_utf8(&a, NULL), "00abff");
	assert_true(bson_iter_next(&a));
	date_text(date, wall);
	assert_string_equal(bson_iter_key(&a), "ts");
	assert_string_equal(bson_iter_utf8(&a, NULL), date);
	while (bson_iter_next(&b)) {
		assert_true(bson_iter_next(&a));
		same_value(&a, &b);
		if (strcmp(bson_iter_key(&b), "ns"))
			continue;
		assert_true(bson_iter_next(&a));
		assert_string_equal(bson_iter_key(&a), "iface");
		assert_string_equal(bson_iter_utf8(&a, NULL), "eth0");
		assert_true(bson_iter_next(&a));
		assert_string_equal(bson_iter_key(&a), "sensor");
		assert_string_equal(bson_iter_utf8(&a, NULL), "host");
	}
	assert_false(bson_iter_next(&a));
	bson_destroy(json);
	bson_destroy(&expected);
}

static void a_line_by_hand(void **state)
{
	char line[JSON_LINE_MAX + 1];
	struct rec_slot slot = {0};
	struct packet p;

	(void)state;
	slot.head.wire_len = frames[0].wire;
	slot.head.cap_len = (uint16_t)packets_hex(slot.bytes, REC_CAP_MAX, frames[0].hex);
	packet_decode(&p, &slot.head, slot.bytes);
	take_line(line, &p, 1700000001123456789, true, &plain);
	assert_string_equal(
		line, "{\"_id\":\"00abff\",\"ts\":\"2023-11-14T22:13:21.123Z\",\"ns\":456789,\"iface\":\"eth0\","
		      "\"sensor\":\"host\",\"dir\":\"out\",\"len\":129,\"local\":\"192.168.0.1\",\"lport\":53,"
		      "\"remote\":\"192.168.0.199\",\"rport\":59772,\"proto\":17,\"ttl\":64,\"tos\":0,\"ipid\":0,"
		      "\"frag\":16384,\"csum\":10143,\"etype\":2048,\"lmac\":\"02:00:00:00:00:01\","
		      "\"rmac\":\"02:00:00:00:00:02\"}");
	take_line(line, &p, 1700000001123456789, true, &(struct json_source){0});
	assert_ptr_equal(strstr(line, "{\"ts\":\"2023-11-14T22:13:21.123Z\",\"ns\":456789,\"dir\":"), line);
	memset(p.has, 0, sizeof(p.has));
	take_line(line, &p, 0, true, &(struct json_source){0});
	assert_string_equal(line, "{}");
}

static void every_field(void **state)
{
	uint8_t bytes[REC_CAP_MAX];
	uint64_t random = 42;

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(11 * i);
	for (unsigned f = 0; f < PKT_FIELDS; f++)
		for (unsigned round = 0; fields[f].name && round < 20; round++) {
			struct packet p;

			any_packet(&p, &random, bytes, round < 2);
			any_packet_set(&p, f);
			check_line(&p, (int64_t)packets_random(&random), round & 1);
		}
}

/* All fields at their longest, the longest names: within JSON_LINE_MAX (a sanitizer sees more). */
static void the_longest_line(void **state)
{
	char line[JSON_LINE_MAX + 1], name[JSON_NAME_MAX + 20];
	const struct json_source source = {.iface = name, .sensor = name, .id = id, .id_len = sizeof(id)};
	uint8_t bytes[2 * REC_CAP_MAX];
	uint64_t random = 43;
	struct packet p;

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	memset(name, 1, sizeof(name));
	name[sizeof(name) - 1] = 0;
	any_packet(&p, &random, bytes, true);
	for (unsigned f = 0; f < PKT_FIELDS; f++)
		if (fields[f].name)
			packet_set(&p, f);
	for (unsigned i = 0; i < 3; i++) {
		struct packet_stack *s = i == 0 ? &p.outer : i == 1 ? &p.inner : &p.quote;

		s->key.family = 6;
		s->ext.len = s->ipopts.len = s->topts.len = 2 * REC_CAP_MAX; /* cut: REC_CAP_MAX */
	}
	take_line(line, &p, INT64_MIN, true, &source);
	assert_true(strlen(line) > 10000);
	assert_true(read_object(line) > 190);
	assert_non_null(strstr(line, "\\u0001\"")); /* 255 of them, the rest is cut */
}

static void names_are_escaped(void **state)
{
	static const struct {
		const char *name, *json;
	} names[] = {
		{"eth0", "eth0"},
		{"a\"b\\c/d", "a\\\"b\\\\c/d"},
		{"\x01\n\x1f\x7f", "\\u0001\\u000a\\u001f\\u007f"},
		{"\xc2\x9b" "31m\xc2\x80\xc2\xa0", "\\u009b31m\\u0080\xc2\xa0"}, /* CSI, as one character */
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xff" "a\x80", "\xef\xbf\xbd" "a\xef\xbf\xbd"},
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},			 /* longer than needed */
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},	 /* a surrogate */
		{"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},			 /* it ends in a character */
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* above U+10FFFF */
		{"", ""},
	};
	struct packet p = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char line[JSON_LINE_MAX + 1], expected[256];

		take_line(line, &p, 0, true, &(struct json_source){.sensor = names[i].name});
		snprintf(expected, sizeof(expected), "{\"sensor\":\"%s\"}", names[i].json);
		assert_string_equal(line, expected);
		assert_int_equal(read_object(line), 1);
		assert_true(bson_utf8_validate(line, strlen(line), false));
	}
}

static void dates(void **state)
{
	static const struct {
		int64_t wall;
		const char *text;
		int ns;
	} dates[] = {
		{0, "1970-01-01T00:00:00.000Z", 0},
		{-1, "1969-12-31T23:59:59.999Z", 999999},
		{951782400000000000, "2000-02-29T00:00:00.000Z", 0},
		{-2203977600000000000, "1900-02-28T00:00:00.000Z", 0},
		{-2203891200000000000, "1900-03-01T00:00:00.000Z", 0},
		{INT64_MAX, "2262-04-11T23:47:16.854Z", 775807},
		{INT64_MIN, "1677-09-21T00:12:43.145Z", 224192},
	};
	struct packet p = {0};

	(void)state;
	packet_set(&p, PKT_TS);
	packet_set(&p, PKT_NS);
	for (unsigned i = 0; i < sizeof(dates) / sizeof(*dates); i++) {
		char line[JSON_LINE_MAX + 1], expected[256];

		take_line(line, &p, dates[i].wall, true, &(struct json_source){0});
		snprintf(expected, sizeof(expected), "{\"ts\":\"%s\",\"ns\":%d}", dates[i].text, dates[i].ns);
		assert_string_equal(line, expected);
	}
}

static void one_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	uint64_t *frames_seen = arg;
	struct rec_slot slot;
	struct packet p;

	packets_record(&slot, frame, cap, wire, *frames_seen & 1);
	packet_decode(&p, &slot.head, slot.bytes);
	check_line(&p, (int64_t)(1700000000000000000 + *frames_seen * 1234567), *frames_seen & 2);
	++*frames_seen;
}

static void frames_of_the_captures(void **state)
{
	uint64_t seen = 0;

	(void)state;
	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), one_frame, &seen);
	print_message("lines %lu\n", seen);
	assert_true(seen > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_by_hand),   cmocka_unit_test(every_field), cmocka_unit_test(the_longest_line),
		cmocka_unit_test(names_are_escaped), cmocka_unit_test(dates),	   cmocka_unit_test(frames_of_the_captures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
