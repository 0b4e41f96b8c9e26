/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/packet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

struct counts {
	uint64_t frames, records, raw, differ;
};

/* decode, rebuild, compare; counts. `spoil`: change one byte of what came back, so that the check is seen to fail. */
static void check(struct counts *c, const struct rec_head *head, const uint8_t *bytes, bool spoil)
{
	uint8_t again[REC_CAP_MAX];
	struct packet p;
	int n;

	packet_decode(&p, head, bytes);
	n = packet_rebuild(&p, again);
	if (spoil && n > 0)
		again[head->time % (unsigned)n] ^= 1;
	c->records++;
	c->raw += (uint64_t)packet_has(&p, PKT_RAW);
	c->differ += n != head->cap_len || (n && memcmp(again, bytes, (size_t)n));
}

static void frames_made_by_hand(void **state)
{
	struct counts c = {0}, control = {0};

	(void)state;
	for (size_t i = 0; i < FRAMES; i++) {
		uint8_t bytes[REC_CAP_MAX];
		struct rec_head head = {
			.wire_len = frames[i].wire,
			.side = (uint8_t)frames[i].side,
			.cap_len = (uint16_t)packets_hex(bytes, sizeof(bytes), frames[i].hex),
		};

		check(&c, &head, bytes, false);
		check(&control, &head, bytes, true);
	}
	assert_int_equal(c.differ, 0);
	assert_int_equal(control.differ, FRAMES - 1); /* all but the empty one */
}

/* All sequences of up to six options of every kind, also ones that do not come out at a multiple of four. */
static void tcp_options_in_any_order(void **state)
{
	static const char *const kinds[] = {"01",
					    "02 04 05 b4",
					    "03 03 07",
					    "04 02",
					    "05 0a 00 00 00 01 00 00 00 02",
					    "08 0a 00 00 00 03 00 00 00 04",
					    "00 00",
					    "06 06 00 00 00 00",
					    "00 00 00 00"};
	struct counts c = {0};
	const unsigned n = sizeof(kinds) / sizeof(*kinds);

	(void)state;
	for (unsigned code = 0; code < n * n * n * n * n * n; code++) {
		uint8_t bytes[REC_CAP_MAX + 64];
		struct rec_head head = {0};
		unsigned length = 54, rest = code;

		memset(bytes, 0, sizeof(bytes));
		packets_hex(bytes, 54, frames[8].hex);
		for (unsigned i = 0; i < 6 && length < 94; i++, rest /= n)
			length += packets_hex(bytes + length, 34, kinds[rest % n]);
		if (length > 94 || (length - 54) % 4)
			continue;
		bytes[46] = (uint8_t)((length - 34) / 4 << 4);
		head.wire_len = length;
		head.cap_len = (uint16_t)length;
		check(&c, &head, bytes, false);
	}
	assert_int_equal(c.differ, 0);
	assert_true(c.records > 50000);
	assert_in_range(c.raw, 1000, c.records - 1000);
}

/* The ten digits of `opts` are enough for ten elements; eleven need raw. */
static void more_options_than_digits(void **state)
{
	(void)state;
	for (unsigned nops = 8; nops <= 16; nops += 4) {
		uint8_t bytes[REC_CAP_MAX] = {0}, again[REC_CAP_MAX];
		struct rec_head head = {.wire_len = 54 + nops, .cap_len = (uint16_t)(54 + nops)};
		struct packet p;

		packets_hex(bytes, 54, frames[8].hex);
		memset(bytes + 54, 1, nops);
		bytes[46] = (uint8_t)((20 + nops) / 4 << 4);
		packet_decode(&p, &head, bytes);
		assert_int_equal(packet_has(&p, PKT_RAW), nops > 10);
		assert_int_equal(packet_rebuild(&p, again), 54 + nops);
		assert_memory_equal(bytes, again, 54 + nops);
	}
}

/* Packets that no decoder made. */
static void contradictions_are_refused(void **state)
{
	uint8_t bytes[REC_CAP_MAX], out[REC_CAP_MAX];
	struct rec_head head = {.wire_len = 74, .cap_len = (uint16_t)packets_hex(bytes, sizeof(bytes), frames[2].hex)};
	struct packet good, p;

	(void)state;
	packet_decode(&good, &head, bytes);
	assert_int_equal(packet_rebuild(&good, out), head.cap_len);
	/* any of the fields a header needs is missing */
	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		bool optional = f == PKT_TS || f == PKT_NS || f == PKT_DIR || f == PKT_LEN || f == PKT_MSS ||
				f == PKT_WS || f == PKT_SACK || f == PKT_LTSVAL || f == PKT_RTSVAL || f == PKT_OPTS;

		p = good;
		packet_clear(&p, f);
		if (packet_has(&good, f) && !optional)
			assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	}
	static const int32_t codes[] = {0, -1, 1 << 30, 01, 0222, 05555, 071, 010, 0101, 01111111111};
	for (unsigned i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		p = good;
		p.outer.opts = codes[i];
		p.outer.sacks = 4;
		if (codes[i] != 0222)
			assert_int_equal(packet_rebuild(&p, out), -EINVAL);
		else
			assert_true(packet_rebuild(&p, out) > 0);
	}
	p = good;
	p.outer.flags = 0x1000;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	p.outer.sacks = 5;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	p.outer.key.family = 6;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	p.outer.key.etype = 0x86dd;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	p.outer.key.etype = 0x88cc;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	p.outer.key.tags = 3;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	p = good;
	packet_set(&p, PKT_RAW);
	p.raw_len = REC_CAP_MAX + 1;
	assert_int_equal(packet_rebuild(&p, out), -EINVAL);
}

/* Every frame of the captures, as the parser cuts it, then cut and changed anywhere. */
static void one_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	static uint64_t random = 0x9e3779b97f4a7c15ull;
	struct counts *c = arg;
	struct rec_slot slot;

	if (++c->frames % 4) /* a quarter is many */
		return;
	packets_record(&slot, frame, cap, wire, c->frames / 4 % 2);
	check(c, &slot.head, slot.bytes, false);
	for (unsigned i = 0; i < 8 && slot.head.cap_len; i++) {
		uint64_t r = packets_random(&random);
		unsigned at = (unsigned)(r % slot.head.cap_len);

		slot.bytes[at] = r & 1u << 20 ? (uint8_t)(r >> 32) : (uint8_t)(slot.bytes[at] ^ 1u << (r >> 32 & 7));
		if ((r >> 40) % 4 == 0)
			slot.head.cap_len = (uint16_t)((r >> 44) % (slot.head.cap_len + 1u));
		if ((r >> 42) % 4 == 0)
			slot.head.wire_len = (uint32_t)(r >> 32);
		check(c, &slot.head, slot.bytes, false);
	}
}

static void frames_of_the_captures(void **state)
{
	struct counts c = {0};

	(void)state;
	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), one_frame, &c);
	print_message("frames %lu records %lu raw %lu differ %lu\n", c.frames / 4, c.records, c.raw, c.differ);
	assert_int_equal(c.differ, 0);
	assert_true(c.records > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_made_by_hand),	    cmocka_unit_test(tcp_options_in_any_order),
		cmocka_unit_test(more_options_than_digits), cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(frames_of_the_captures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
