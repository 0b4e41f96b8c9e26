/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/packet.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/packet/fields.h"
#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

struct counts {
	uint64_t frames, records, raw, topts, differ;
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
	c->topts += (uint64_t)packet_has(&p, PKT_TOPTS);
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
	assert_int_equal(c.raw, 0);
	assert_in_range(c.topts, 1000, c.records - 1000);
}

/* The ten digits of `opts` are enough for ten elements; eleven are kept as they were. */
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
		assert_false(packet_has(&p, PKT_RAW));
		assert_int_equal(packet_has(&p, PKT_OPTS), nops <= 10);
		assert_int_equal(packet_has(&p, PKT_TOPTS), nops > 10);
		assert_int_equal(packet_rebuild(&p, again), 54 + nops);
		assert_memory_equal(bytes, again, 54 + nops);
	}
}

/* Where the bytes are given back though the field is missing: it is beside the headers, or implied. */
static bool may_be_missing(const struct packet *p, unsigned f)
{
	/* topts and ext hold these once more */
	static const uint8_t read[] = {PKT_MSS, PKT_WS,	 PKT_SACK, PKT_LTSVAL, PKT_RTSVAL, PKT_SL1, PKT_SR1,
				       PKT_SL2, PKT_SR2, PKT_SL3,  PKT_SR3,    PKT_SL4,	   PKT_SR4};

	if (f == PKT_TS || f == PKT_NS || f == PKT_DIR || f == PKT_LEN || f == PKT_SEGS || f == PKT_GSO ||
	    f == PKT_MARKS || f == PKT_AH_SPI || f == PKT_AH_SEQ)
		return true;
	for (size_t i = 0; i < sizeof(read); i++)
		if ((f & 63) == read[i] && f < 64 * 3)
			return packet_has(p, (f & ~63u) + PKT_TOPTS);
	return false;
}

/* Of every packet: without any of its fields, or with any that is not its own, it is refused or is another packet. */
static void every_field_matters(void **state)
{
	unsigned without = 0, with = 0, refused = 0;

	(void)state;
	for (size_t i = 0; i < FRAMES; i++) {
		uint8_t bytes[REC_CAP_MAX], out[REC_CAP_MAX];
		struct rec_head head = {
			.wire_len = frames[i].wire,
			.cap_len = (uint16_t)packets_hex(bytes, sizeof(bytes), frames[i].hex),
		};
		struct packet p;

		packet_decode(&p, &head, bytes);
		if (packet_has(&p, PKT_RAW))
			continue;
		/* Members that are not there are not looked at; for this test they are zeros. */
		if (!p.has[1])
			memset(&p.inner, 0, sizeof(p.inner));
		if (!p.has[2])
			memset(&p.quote, 0, sizeof(p.quote));
		if (!p.has[3])
			memset(&p.other, 0, sizeof(p.other));
		for (unsigned f = 0; f < 64 * PACKET_WORDS; f++) {
			struct packet q = p;
			bool there = packet_has(&p, f);
			int n;

			if (f == PKT_RAW || f == PKT_SIDE)
				continue;
			if (there)
				packet_clear(&q, f);
			else
				packet_set(&q, f);
			n = packet_rebuild(&q, out);
			if (n == head.cap_len && !memcmp(out, bytes, head.cap_len) && there && !may_be_missing(&p, f)) {
				print_error("%s: without field %u (%s)\n", frames[i].name, f, fields[f].name);
				fail();
			}
			without += there;
			with += !there;
			refused += n == -EINVAL;
		}
	}
	print_message("fields taken away %u, added %u, refused %u\n", without, with, refused);
	assert_true(without > 1000);
	assert_true(refused > without + with / 2);
}

/* Values that no decoder gives. */
static void contradictions_are_refused(void **state)
{
	uint8_t bytes[REC_CAP_MAX], out[REC_CAP_MAX];
	struct rec_head head = {.wire_len = 74, .cap_len = (uint16_t)packets_hex(bytes, sizeof(bytes), frames[2].hex)};
	static const int32_t codes[] = {0, -1, 1 << 30, 01, 0222, 05555, 071, 010, 0101, 01111111111};
	struct packet good, p;

	(void)state;
	packet_decode(&good, &head, bytes);
	assert_int_equal(packet_rebuild(&good, out), head.cap_len);
	for (unsigned i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		p = good;
		p.outer.opts = codes[i];
		p.outer.sacks = 4;
		assert_int_equal(packet_rebuild(&p, out), -EINVAL);
	}
#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		p = good;                                                                                              \
		change;                                                                                                \
		assert_int_equal(packet_rebuild(&p, out), -EINVAL);                                                    \
	} while (0)
	REFUSED(p.outer.flags = 0x1000);
	REFUSED(p.outer.key.family = 6);
	REFUSED(p.outer.key.etype = 0x86dd);
	REFUSED(p.outer.key.etype = 0x88cc);
	REFUSED(p.outer.key.etype = 3);
	REFUSED(p.outer.key.tags = 3);
	REFUSED(p.outer.key.tags = 1);
	REFUSED(p.outer.key.proto = 17);
	REFUSED(p.outer.pad = -70000; packet_set(&p, PKT_PAD));
	REFUSED(p.outer.ipopts = ((struct packet_bytes){bytes, 44}); packet_set(&p, PKT_IPOPTS));
	REFUSED(p.outer.ipopts = ((struct packet_bytes){bytes, 6}); packet_set(&p, PKT_IPOPTS));
	REFUSED(packet_clear(&p, PKT_OPTS); p.outer.topts = ((struct packet_bytes){bytes, 44});
		packet_set(&p, PKT_TOPTS));
	REFUSED(packet_set(&p, PKT_RAW); p.raw_len = REC_CAP_MAX + 1);
	REFUSED(memset(p.has, 0, sizeof(p.has)));
#undef REFUSED
}

/* Every frame of the captures, as the parser cuts it. */
static void one_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct counts *c = arg;
	struct rec_slot slot;

	packets_record(&slot, frame, cap, wire, c->frames++ % 2);
	check(c, &slot.head, slot.bytes, false);
}

/* A quarter of them, cut and changed anywhere. */
static void one_frame_changed(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	static uint64_t random = 0x9e3779b97f4a7c15ull;
	struct counts *c = arg;
	struct rec_slot slot;

	if (++c->frames % 4)
		return;
	packets_record(&slot, frame, cap, wire, c->frames / 4 % 2);
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
	struct counts whole = {0}, changed = {0};

	(void)state;
	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), one_frame, &whole);
	packets_directory(packets_captures(), one_frame_changed, &changed);
	print_message("frames %lu raw %lu differ %lu; changed: records %lu raw %lu differ %lu\n", whole.frames,
		      whole.raw, whole.differ, changed.records, changed.raw, changed.differ);
	assert_int_equal(whole.differ, 0);
	assert_int_equal(changed.differ, 0);
	assert_true(whole.records > 1000);
	/* Protocols without fields, and what is broken: in no collection of ordinary captures the rule. */
	assert_true(whole.raw < whole.records / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_made_by_hand),	      cmocka_unit_test(tcp_options_in_any_order),
		cmocka_unit_test(more_options_than_digits),   cmocka_unit_test(every_field_matters),
		cmocka_unit_test(contradictions_are_refused), cmocka_unit_test(frames_of_the_captures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
