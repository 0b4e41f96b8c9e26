// SPDX-License-Identifier: GPL-2.0-or-later
/* Summaries become floods: who, whom, what; two at once, a scan, a pause, and more than there is room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "recorder/ledger/episodes.h"
#include "recorder/settings/when.h"

#define S 1000000000ll

static struct flood_row row_of(const char *src, const char *dst, int proto, int64_t at, uint64_t packets)
{
	return (struct flood_row){.sensor = "s", .iface = "r0", .src = src, .dst = dst, .proto = proto, .etype = -1, .icmp_type = -1,
				  .sport = -1, .dport = -1, .flags_any = -1, .flags_all = -1, .epoch = (uint32_t)(at / S),
				  .first = at, .last = at + S, .packets = packets, .bytes = 60 * packets, .why = 4};
}

static void add(struct episodes *e, struct flood_row row)
{
	assert_int_equal(episodes_add(e, &row), 0);
}

/* Two victims at once, many sources each, of which one is told by network too; then a pause, and one of them again. */
static void victims(void **unused)
{
	struct episodes e = {0};
	char name[32];

	(void)unused;
	for (int second = 100; second < 103; second++)
		for (int i = 0; i < 50; i++) {
			struct flood_row r;

			snprintf(name, sizeof(name), "10.0.0.%d", i);
			r = row_of(name, i & 1 ? "192.0.2.1" : "192.0.2.2", 6, second * S, 1000);
			r.flags_all = r.flags_any = 2;
			add(&e, r);
			if (i == 49) {
				r = row_of("", "192.0.2.1", 6, second * S, 5000);
				r.by = FLOOD_BY_DESTINATION;
				r.flags_all = r.flags_any = 2;
				add(&e, r);
			}
		}
	add(&e, row_of("10.0.0.1", "192.0.2.1", 6, 200 * S, 7));
	episodes_end(&e);
	assert_int_equal(e.count, 3);
	for (unsigned i = 0; i < 2; i++) {
		const struct episode *one = &e.list[i];

		assert_string_equal(one->host, i ? "192.0.2.2" : "192.0.2.1");
		assert_string_equal(one->other, "");
		assert_false(one->from);
		assert_int_equal(one->packets, i ? 75000 : 90000);
		assert_int_equal(one->bytes, 60 * one->packets);
		assert_int_equal(one->of[FLOOD_BY_DESTINATION], i ? 0 : 15000);
		assert_int_equal(one->others, i ? 25 : 26);
		assert_int_equal(one->first, 100 * S);
		assert_int_equal(one->last, 103 * S);
		assert_true(one->peak_packets == (i ? 25000 : 30000));
		assert_string_equal(episode_kind(one), "TCP SYN");
	}
	assert_int_equal(e.list[2].packets, 7);
	assert_string_equal(e.list[2].other, "10.0.0.1");
	episodes_free(&e);
}

static void scan(void **unused)
{
	struct episodes e = {0};
	char name[32];

	(void)unused;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "192.0.%d.%d", i >> 8, i & 255);
		add(&e, row_of("10.0.0.9", name, 17, (100 + i / 400) * S, 10));
	}
	for (int i = 0; i < EPISODE_SCAN - 1; i++) { /* too few */
		snprintf(name, sizeof(name), "198.51.100.%d", i);
		add(&e, row_of("10.0.0.8", name, 17, 100 * S, 1));
	}
	episodes_end(&e);
	assert_int_equal(e.count, EPISODE_SCAN);
	for (unsigned i = 0, scans = 0; i < e.count; i++) {
		scans += e.list[i].from;
		if (e.list[i].from) {
			assert_string_equal(e.list[i].host, "10.0.0.9");
			assert_int_equal(e.list[i].packets, 10000);
			assert_int_equal(e.list[i].others, 1000);
		}
		if (i + 1 == e.count)
			assert_int_equal(scans, 1);
	}
	episodes_free(&e);
}

static void kinds(void **unused)
{
	static const struct {
		int proto, icmp_type, sport, all, any, etype;
		bool fragments;
		const char *kind;
	} cases[] = {
		{1, 8, -1, -1, -1, -1, false, "ICMP echo request"}, {58, 129, -1, -1, -1, -1, false, "ICMPv6 echo reply"},
		{1, 3, -1, -1, -1, -1, false, "ICMP type 3"},	     {1, -1, -1, -1, -1, -1, false, "ICMP"},
		{17, -1, 53, -1, -1, -1, false, "UDP from DNS"},     {17, -1, 5000, -1, -1, -1, false, "UDP"},
		{6, -1, 80, 0x12, 0x12, -1, false, "TCP SYN ACK"},   {6, -1, 80, 0x04, 0x14, -1, false, "TCP RST"},
		{6, -1, 80, 0x10, 0x10, -1, false, "TCP ACK"},	     {6, -1, 80, 0x10, 0x1b, -1, false, "TCP"},
		{17, -1, -1, -1, -1, -1, true, "fragments"},	     {-1, -1, -1, -1, -1, 0x0806, false, "ARP"},
		{-1, -1, -1, -1, -1, 0x88cc, false, "EtherType 88cc"}, {132, -1, -1, -1, -1, -1, false, "IP protocol 132"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct flood_row r = row_of("a", "b", cases[i].proto, S, 3), other = row_of("a", "b", cases[i].proto, S, 2);
		struct episodes e = {0};

		r.icmp_type = cases[i].icmp_type;
		r.sport = cases[i].sport;
		r.dport = 9;
		r.flags_all = cases[i].all;
		r.flags_any = cases[i].any;
		r.etype = cases[i].etype;
		r.fragments = cases[i].fragments;
		add(&e, r);
		add(&e, other);
		episodes_end(&e);
		assert_int_equal(e.count, 1);
		assert_string_equal(episode_kind(&e.list[0]), cases[i].kind);
		episodes_free(&e);
	}
}

/* Whatever comes, the sums are those of the rows. */
static void sums(void **unused)
{
	struct episodes e = {0};
	uint64_t want = 0, have = 0, kinds_have = 0;
	char src[32], dst[32];

	(void)unused;
	for (unsigned i = 0; i < EPISODE_MOST + 5000; i++) {
		struct flood_row r;

		snprintf(src, sizeof(src), "10.%u.%u.%u", i * 7919 >> 16 & 255, i * 7919 >> 8 & 255, i * 7919 & 255);
		snprintf(dst, sizeof(dst), "11.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		r = row_of(src, dst, 17, (int64_t)(1 + i / 10000) * S, i % 97 + 1);
		want += r.packets;
		add(&e, r);
	}
	episodes_end(&e);
	for (size_t i = 0; i < e.count; i++) {
		have += e.list[i].packets;
		kinds_have += e.list[i].kind[0].packets;
		assert_true(!i || e.list[i].first >= e.list[i - 1].first);
	}
	assert_int_equal(have, want);
	assert_int_equal(kinds_have, want);
	assert_in_range(e.count, 2, EPISODE_MOST + 1);
	episodes_free(&e);
	episodes_end(&e);
	assert_int_equal(e.count, 0);
}

static void times(void **unused)
{
	static const char *const wrong[] = {"", "2026", "2026-13-01", "2026-02-30", "2026-11-24T24:00", "2026-11-24T1:00", "2026-11-24x",
					    "10", "5w", "-2h", "tomorrow", "2026-11-24T10:00:05.", "99999999999d"};
	const int64_t now = 1795514405ll * S; /* 2026-11-24 10:00:05 */
	char text[WHEN_LEN];
	int64_t at = 7;

	(void)unused;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_false(when_parse(wrong[i], now, &at));
		assert_int_equal(at, 7);
	}
	assert_true(when_parse("2026-11-24", now, &at));
	assert_string_equal(when_text(text, at), "2026-11-24 00:00:00.000Z");
	assert_true(when_parse("2026-11-24T10:00", now, &at));
	assert_int_equal(at, now - 5 * S);
	assert_true(when_parse("2026-11-24 10:00:05.25Z", now, &at));
	assert_int_equal(at, now + S / 4);
	assert_true(when_parse("2h", now, &at));
	assert_int_equal(at, now - 7200 * S);
	assert_true(when_parse("now", now, &at));
	assert_int_equal(at, now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(victims), cmocka_unit_test(scan), cmocka_unit_test(kinds), cmocka_unit_test(sums), cmocka_unit_test(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
