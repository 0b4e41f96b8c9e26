/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

static size_t dump_bytes(char *to, const char *name, struct packet_bytes bytes)
{
	size_t n = (size_t)sprintf(to, " %s=", name);

	for (unsigned i = 0; i < bytes.len; i++)
		n += (size_t)sprintf(to + n, "%02x", bytes.at[i]);
	return n;
}

/* The fields of a packet as text, the form that frames.h uses. ts, ns, dir and raw are left out. */
#define DUMP_INT32(name, value) n += (size_t)sprintf(to + n, " " #name "=%d", (int32_t)(value))
#define DUMP_DOUBLE(name, value) n += (size_t)sprintf(to + n, " " #name "=%.0f", (double)(value))
#define DUMP_DATE(name, value) (void)0
/* clang-format off */
#define DUMP_PAIR(pointer, length) {pointer, length}
/* clang-format on */
#define DUMP_BINARY(name, value) n += dump_bytes(to + n, #name, (struct packet_bytes)DUMP_PAIR value)
#define DUMP_STRING(name, value)                                                                                       \
	do {                                                                                                           \
		char at[FIELD_TEXT_MAX + 1];                                                                           \
		at[value] = 0;                                                                                         \
		n += (size_t)sprintf(to + n, " " #name "=%s", at);                                                     \
	} while (0)

static const char *dump(const struct packet *p, bool out)
{
	static char to[4096];
	const int64_t wall = 0;
	size_t n = 0;

	to[1] = 0;
#define F(id, name, bson, where, tshark, text)                                                                         \
	if (packet_has(p, PKT_##id) && PKT_##id != PKT_NS && PKT_##id != PKT_DIR && PKT_##id != PKT_RAW)               \
		DUMP_##bson(name, where);
#include "recorder/packet/fields.def"
#undef F
	return to + 1;
}

static unsigned words(const char *text)
{
	unsigned n = 0;

	for (; *text; text += strspn(text, " "), n++)
		text += strcspn(text, " ");
	return n;
}

static bool has_word(const char *text, const char *word, size_t length)
{
	for (; *text; text += strspn(text, " ")) {
		size_t n = strcspn(text, " ");

		if (n == length && !memcmp(text, word, n))
			return true;
		text += n;
	}
	return false;
}

/* The same words in any order; none stands twice in `a`. */
static bool same_words(const char *a, const char *b)
{
	if (words(a) != words(b))
		return false;
	for (; *a; a += strspn(a, " ")) {
		size_t n = strcspn(a, " ");

		if (!has_word(b, a, n))
			return false;
		a += n;
	}
	return true;
}

struct record {
	struct rec_head head;
	uint8_t bytes[REC_CAP_MAX];
};

static void make(struct record *r, const struct frame *f)
{
	memset(r, 0, sizeof(*r));
	r->head = (struct rec_head){
		.time = 12345,
		.wire_len = f->wire,
		.cap_len = (uint16_t)packets_hex(r->bytes, sizeof(r->bytes), f->hex),
		.marks = (uint16_t)f->marks,
		.gso_segs = (uint16_t)f->segs,
		.gso_size = (uint16_t)f->gso,
		.side = (uint8_t)f->side,
	};
}

static void frames_made_by_hand(void **state)
{
	unsigned wrong = 0;

	(void)state;
	assert_true(same_words("a b c", "c  a b") && !same_words("a b", "a b c") && !same_words("a b c", "a b"));
	for (size_t i = 0; i < FRAMES; i++) {
		struct record r;
		struct packet p;

		make(&r, &frames[i]);
		memset(&p, 0xa5, sizeof(p)); /* nothing of what was there before is seen */
		packet_decode(&p, &r.head, r.bytes);
		if (!same_words(dump(&p, frames[i].out), frames[i].fields) ||
		    packet_has(&p, PKT_RAW) != (int)frames[i].raw) {
			print_error("%s%s\nfields:   %s\nexpected: %s\n", frames[i].name,
				    packet_has(&p, PKT_RAW) ? " (raw)" : "", dump(&p, frames[i].out), frames[i].fields);
			wrong++;
			continue;
		}
		assert_true(p.time == 12345);
		assert_int_equal(p.outer.key.side, frames[i].side);
		if (frames[i].raw) {
			assert_int_equal(p.raw_len, r.head.cap_len);
			assert_ptr_equal(p.raw, r.bytes);
		}
	}
	assert_int_equal(wrong, 0);
}

/* What is read does not depend on what lies behind the captured bytes. ASan sees reads beyond them: the memory is
 * exact. */
static void every_truncation(void **state)
{
	unsigned whole = 0;

	(void)state;
	for (size_t i = 0; i < FRAMES; i++) {
		struct record r;

		make(&r, &frames[i]);
		for (unsigned n = 0; n <= r.head.cap_len; n++) {
			struct rec_head head = r.head;
			uint8_t *exact = malloc(n + !n), again[REC_CAP_MAX];
			struct packet p;

			head.cap_len = (uint16_t)n;
			memcpy(exact, r.bytes, n);
			packet_decode(&p, &head, exact);
			assert_int_equal(packet_rebuild(&p, again), n);
			assert_memory_equal(again, exact, n);
			if (n == 14 || (n == r.head.cap_len && !frames[i].raw))
				whole += !packet_has(&p, PKT_RAW);
			free(exact);
		}
	}
	assert_true(whole > FRAMES); /* raw is not simply always there */
}

/* Heads are the kernel's, but nothing in them may lead us out of the bytes. */
static void heads_that_lie(void **state)
{
	uint8_t bytes[REC_CAP_MAX] = {[12] = 8, [14] = 0x45};
	struct rec_head head;
	struct packet p;

	(void)state;
	memset(&head, 0xff, sizeof(head));
	packet_decode(&p, &head, bytes);
	assert_int_equal(p.raw_len, REC_CAP_MAX);
	assert_int_equal(p.marks, REC_MARKS_ALL & ~REC_MARK_CSUM_NONE);
	assert_int_equal(p.outer.key.side, REC_TX);
	assert_true(p.len == UINT32_MAX);
}

static void the_key_is_the_same_for_a_conversation(void **state)
{
	struct record r;
	struct packet a, b;

	(void)state;
	make(&r, &frames[0]);
	packet_decode(&a, &r.head, r.bytes);
	r.bytes[19] ^= 0x55; /* IPv4 id, checksum of UDP */
	r.bytes[41] ^= 0x55;
	memset(&b, 0xa5, sizeof(b)); /* nothing of what was there before stays */
	packet_decode(&b, &r.head, r.bytes);
	assert_memory_equal(&a.outer.key, &b.outer.key, sizeof(a.outer.key));
	assert_int_not_equal(a.outer.csum, b.outer.csum);
	r.bytes[37] ^= 1; /* a port */
	packet_decode(&b, &r.head, r.bytes);
	assert_memory_not_equal(&a.outer.key, &b.outer.key, sizeof(a.outer.key));
}

static void marks_as_text_and_back(void **state)
{
	char text[FIELD_TEXT_MAX + 1];
	uint16_t back = 7;

	(void)state;
	for (unsigned marks = 0; marks <= REC_MARKS_ALL; marks++) {
		unsigned n = fields_marks(text, marks);

		assert_true(n <= FIELD_TEXT_MAX);
		text[n] = 0;
		assert_int_equal(fields_marks_read(text, &back), 0);
		assert_int_equal(back, marks);
	}
	assert_true(fields_marks_read("truncated,", &back) < 0);
	assert_true(fields_marks_read(",gso", &back) < 0);
	assert_true(fields_marks_read("gs", &back) < 0);
	assert_true(fields_marks_read("gso,lost", &back) < 0);
	assert_int_equal(back, REC_MARKS_ALL);
}

static void the_table_is_sound(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PKT_FIELDS; i++) {
		if (!fields[i].name)
			continue;
		assert_true(*fields[i].name && *fields[i].text);
		assert_int_equal(field_find(fields[i].name, (i * 7) % PKT_FIELDS), i); /* names are unique */
	}
	assert_int_equal(field_find("nonsense", 3), PKT_FIELDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_made_by_hand),	  cmocka_unit_test(every_truncation),
		cmocka_unit_test(heads_that_lie),	  cmocka_unit_test(the_key_is_the_same_for_a_conversation),
		cmocka_unit_test(marks_as_text_and_back), cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
