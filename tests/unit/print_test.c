/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The line and the tree of a packet of each kind against texts that were looked at (tests/golden/print), and what must hold
 * of any packet: every field is in its tree, nothing but printable text comes out, no layer leaves a field to the list of
 * the unclaimed.
 *
 * XDP_RECORDER_GOLDEN=write writes the texts anew: look at the difference before committing it.
 */
#include "recorder/print/print.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"
#include "recorder/source/native.h"
#include "tests/unit/print_frames.h"

#define WALL 1790183581123456789 /* 2026-09-23 17:13:01.123456789 */

#define G(id) {.name = #id, .make = show_##id}
static const struct kind golden[] = {
	G(tcp_syn), G(tcp_data), G(tcp_sack), G(tcp_options_kept), G(dns), G(icmp_echo), G(icmp_unreachable), G(arp_request),
	G(arp_reply), G(neighbour_solicitation), G(router_advertisement), G(fragment6), G(extensions6), G(ah_tcp),
	G(fragment4), G(qinq), G(mpls), G(pppoe), G(vxlan), G(gre), G(sctp_init), G(spanning_tree), G(malformed), G(truncated),
	G(too_big), G(geneve), G(icmp_timestamp),
};

/* frames.h leaves the checksums of IPv4 0, which is wrong: one kind keeps it so. */
static void right_ipv4_checksums(struct frame *f)
{
	for (unsigned i = 0; i < f->layers; i++) {
		uint8_t *header = f->bytes + f->layer[i].at;
		uint32_t sum = 0;

		if (f->layer[i].kind != '4')
			continue;
		for (unsigned j = 0; j < (header[0] & 15u) * 4; j += 2)
			sum += get_be16(header + j);
		put_be16(header + 10, (uint16_t)~((sum & 0xffff) + (sum >> 16)));
	}
}

/* ---- a packet of a kind -------------------------------------------------------------------------------------- */

struct made {
	struct native_slot slot;
	struct packet packet;
	struct print_packet print;
};

static void make(struct made *m, const struct kind *kind)
{
	struct frame f = kind_frame(kind);
	struct rec_head *head;

	if (kind->make != show_tcp_sack)
		right_ipv4_checksums(&f);
	head = native_record(&m->slot, f.bytes, f.len, f.len, WALL, 0);

	packet_decode(&m->packet, head, (const uint8_t *)(head + 1));
	m->print = (struct print_packet){&m->packet, WALL, "eth0", 7, (const uint8_t *)(head + 1), head->cap_len};
}

/* Line and tree in one text. */
static size_t both(char *at, const struct print_packet *p, const struct print_style *style)
{
	size_t n = print_line(at, p, style);

	at[n++] = '\n';
	n += print_tree(at + n, p, style);
	at[n] = 0;
	return n;
}

/* ---- golden texts -------------------------------------------------------------------------------------------- */

static void each_kind_as_it_was_looked_at(void **state)
{
	const char *source = getenv("XDP_RECORDER_SOURCE"), *mode = getenv("XDP_RECORDER_GOLDEN");
	const struct print_style style = {.iface = true, .side = true};
	static char text[PRINT_LINE_MAX + PRINT_TREE_MAX + 2], expected[sizeof(text)];
	struct servent *https = getservbyport(htons(443), "tcp");
	unsigned different = 0;

	(void)state;
	if (!https || strcmp(https->s_name, "https"))
		fail_msg("the golden texts need the names of /etc/services (package netbase)");
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		char path[4096];
		struct made m;
		size_t n, got;
		FILE *file;

		make(&m, &golden[i]);
		n = both(text, &m.print, &style);
		snprintf(path, sizeof(path), "%s/tests/golden/print/%s.txt", source ? source : ".", golden[i].name);
		if (mode && !strcmp(mode, "write")) {
			file = fopen(path, "w");
			assert_non_null(file);
			assert_int_equal(fwrite(text, 1, n, file), n);
			fclose(file);
			continue;
		}
		file = fopen(path, "r");
		if (!file)
			fail_msg("%s is not there", path);
		got = fread(expected, 1, sizeof(expected) - 1, file);
		expected[got] = 0;
		fclose(file);
		if (strcmp(text, expected)) {
			print_error("%s: expected\n%s\nbut it is\n%s\n", golden[i].name, expected, text);
			different++;
		}
	}
	assert_int_equal(different, 0);
	if (mode)
		fail_msg("the golden texts were written anew: look at them");
}

/* ---- what holds of every packet ------------------------------------------------------------------------------- */

/* `word` stands in text, and what is before and behind it is no letter or digit. */
static bool has_word(const char *text, const char *word)
{
	for (const char *at = text; (at = strstr(at, word)); at++) {
		char before = at == text ? ' ' : at[-1], behind = at[strlen(word)];

		if (!(before >= '0' && before <= '9') && !(before >= 'a' && before <= 'z') && !(behind >= '0' && behind <= '9') &&
		    !(behind >= 'a' && behind <= 'z'))
			return true;
	}
	return false;
}

static bool has_number(const char *text, int64_t value)
{
	static const char *const forms[] = {"0x%llx", "0x%02llx", "0x%03llx", "0x%04llx", "0x%05llx", "0x%06llx", "0x%08llx"};
	char word[32];

	snprintf(word, sizeof(word), "%lld", (long long)value);
	if (has_word(text, word))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(word, sizeof(word), forms[i], (unsigned long long)value);
#pragma GCC diagnostic pop
		if (has_word(text, word))
			return true;
	}
	return false;
}

/* The marks are a line each. */
static bool has_text(const char *text, char *value)
{
	for (char *word = strtok(value, ","); word; word = strtok(NULL, ","))
		if (!has_word(text, word))
			return false;
	return true;
}

/* In one piece, or sixteen bytes a line (raw). */
static bool has_bytes(const char *text, const uint8_t *bytes, unsigned n)
{
	char piece[2 * REC_CAP_MAX + 64];
	bool lines = true;

	for (unsigned i = 0; i < n; i++)
		snprintf(piece + 2 * i, 3, "%02x", bytes[i]);
	if (n && has_word(text, piece))
		return true;
	for (unsigned i = 0; i < n; i += 16) {
		size_t used = (size_t)snprintf(piece, sizeof(piece), "0x%04x", i);

		for (unsigned j = i; j < n && j < i + 16; j++)
			used += (size_t)snprintf(piece + used, sizeof(piece) - used, "%s %02x", j % 8 ? "" : " ", bytes[j]);
		lines = lines && strstr(text, piece);
	}
	return lines; /* an empty frame has none */
}

#define HAS_INT32(where) has_number(text, (int64_t)(where))
#define HAS_DOUBLE(where) has_number(text, (int64_t)(where))
#define HAS_DATE(where) (strstr(text, "17:13:01.123") != NULL)
#define HAS_PAIR(bytes, length) has_bytes(text, bytes, length)
#define HAS_BINARY(where) HAS_PAIR where
#define HAS_STRING(where) (at[where] = 0, has_text(text, at))

/* Number of fields that are set; those whose value is not in the text are named. */
static unsigned count_fields(const char *name, const char *text, const struct packet *p, unsigned *missing)
{
	char at[FIELD_TEXT_MAX + 1];
	unsigned n = 0;

	for (int out = 0; out < 2; out++) { /* whoever is local: the same values */
		const int64_t wall = WALL;

#define F(id, field, bson, where, tshark, meaning)                                                                     \
	if (packet_has(p, PKT_##id) && PKT_##id != PKT_DIR && PKT_##id != PKT_SIDE) {                                  \
		n++;                                                                                                   \
		if (PKT_##id == PKT_NS		    ? !strstr(text, ".123456789")                                      \
		    : PKT_##id % 64 == PKT_SACK && PKT_##id < 192 ? !strstr(text, "sackOK")                            \
								    : !HAS_##bson(where)) {                            \
			print_error("%s: %s is not in its tree\n", name, #field);                                      \
			++*missing;                                                                                    \
		}                                                                                                      \
	}
#include "recorder/packet/fields.def"
#undef F
	}
	return n / 2;
}

static void check_kind(const struct kind *kind, unsigned *fields_seen, unsigned *wrong)
{
	static char text[PRINT_LINE_MAX + PRINT_TREE_MAX + 2];
	const struct print_style style = {.iface = true, .side = true};
	struct made m;

	make(&m, kind);
	text[print_tree(text, &m.print, &style)] = 0;
	*fields_seen += count_fields(kind->name, text, &m.packet, wrong);
	if (strstr(text, "\n  Other")) {
		print_error("%s: no layer claims some of its fields\n%s", kind->name, text);
		++*wrong;
	}
	both(text, &m.print, &style);
	for (const char *c = text; *c; c++)
		if (*c != '\n' && (*c < 0x20 || *c > 0x7e))
			fail_msg("%s: byte 0x%02x", kind->name, (unsigned char)*c);
	text[print_line(text, &m.print, &style)] = 0;
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void every_field_is_in_the_tree(void **state)
{
	unsigned seen = 0, wrong = 0;

	(void)state;
	for (size_t i = 0; i < KINDS; i++)
		check_kind(&kinds_all[i], &seen, &wrong);
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++)
		check_kind(&golden[i], &seen, &wrong);
	printf("# %u fields of %zu packets are in their trees\n", seen, KINDS + ARRAY_SIZE(golden));
	assert_int_equal(wrong, 0);
}

/* What comes from a wire is anything. The same frames in each run. */
static void damaged_frames(void **state)
{
	static char text[PRINT_TREE_MAX + 1];
	const struct print_style style = {.iface = true, .side = true, .color = true};
	uint64_t random = 0x9e3779b97f4a7c15;
	unsigned wrong = 0, seen = 0;

	(void)state;
	for (unsigned i = 0; i < 60000 && wrong < 10; i++) {
		const struct kind *kind = i % 2 ? &golden[i / 2 % ARRAY_SIZE(golden)] : &kinds_all[i / 2 % KINDS];
		struct frame f = kind_frame(kind);
		struct native_slot slot;
		struct rec_head *head;
		struct packet p;
		struct print_packet print = {.packet = &p, .wall = WALL, .iface = "eth0", .number = i};
		uint32_t have;

		for (unsigned n = 1 + i % 5; n--;) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			f.bytes[(random >> 33) % (f.len < 160 ? f.len : 160)] ^= (uint8_t)(1u << (random >> 60 & 7));
		}
		have = i % 3 ? f.len : (uint32_t)((random >> 40) % (f.len + 1));
		head = native_record(&slot, f.bytes, have, have > 60 && i % 7 == 0 ? f.len : have, WALL, 0);
		packet_decode(&p, head, (const uint8_t *)(head + 1));
		print.bytes = (const uint8_t *)(head + 1);
		print.cap_len = head->cap_len;
		assert_true(print_line(text, &print, &style) <= PRINT_LINE_MAX);
		text[print_tree(text, &print, &(struct print_style){.iface = true})] = 0;
		seen += count_fields(kind->name, text, &p, &wrong);
		if (strstr(text, "  Other ")) {
			print_error("%s, damaged: no layer claims some of its fields\n%s", kind->name, text);
			wrong++;
		}
		for (const char *c = text; *c; c++)
			if (*c != '\n' && (*c < 0x20 || *c > 0x7e))
				fail_msg("%s: byte 0x%02x", kind->name, (unsigned char)*c);
	}
	printf("# %u fields of damaged packets are in their trees\n", seen);
	assert_int_equal(wrong, 0);
}

/* A field that no layer expects is listed all the same. */
static void an_unclaimed_field_is_listed(void **state)
{
	static char text[PRINT_TREE_MAX + 1];
	const struct print_style style = {0};
	struct made m;
	struct kind dns = G(dns);

	(void)state;
	make(&m, &dns);
	m.packet.other.tsn = 987654321;
	packet_set(&m.packet, PKT_TSN);
	m.packet.outer.mss = 1234;
	packet_set(&m.packet, PKT_MSS);
	text[print_tree(text, &m.print, &style)] = 0;
	assert_non_null(strstr(text, "\n  Other"));
	assert_true(has_word(text, "tsn"));
	assert_true(has_word(text, "987654321"));
	assert_true(has_word(text, "mss"));
	assert_true(has_word(text, "1234"));
}

static void names_are_escaped(void **state)
{
	static char text[PRINT_LINE_MAX + PRINT_TREE_MAX + 2];
	const struct print_style style = {.iface = true, .side = true};
	struct kind dns = G(dns);
	struct made m;

	(void)state;
	make(&m, &dns);
	m.print.iface = "e\033[31m\n\x9b\\0";
	both(text, &m.print, &style);
	assert_null(strchr(text, '\033'));
	assert_null(strchr(text, '\x9b'));
	assert_non_null(strstr(text, "e\\x1b[31m\\x0a\\x9b\\x5c0 rx"));
}

/* Colours change nothing but colours, and each is switched off again before the line ends. */
static void colours_are_only_colours(void **state)
{
	static char plain[PRINT_LINE_MAX + PRINT_TREE_MAX + 2], colored[2 * sizeof(plain)];
	struct print_style style = {.iface = true, .side = true};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		struct made m;
		unsigned escapes = 0;
		char *to = colored;

		make(&m, &golden[i]);
		style.color = false;
		both(plain, &m.print, &style);
		style.color = true;
		both(colored, &m.print, &style);
		for (const char *c = colored; *c; c++) {
			if (*c != '\033') {
				*to++ = *c;
				continue;
			}
			escapes++;
			assert_true(escapes % 2 == (strncmp(c, "\033[0m", 4) != 0));
			c = strchr(c, 'm');
			assert_non_null(c);
		}
		*to = 0;
		assert_true(escapes > 4);
		assert_string_equal(colored, plain);
	}
}

/* Ports by name are the machine's own names; with numeric there are none. */
static void names_and_numbers(void **state)
{
	static char text[PRINT_LINE_MAX + 1];
	struct print_style style = {0};
	struct kind dns = G(dns);
	struct made m;

	(void)state;
	make(&m, &dns);
	text[print_line(text, &m.print, &style)] = 0;
	assert_non_null(strstr(text, "10.0.0.2.domain: UDP"));
	style.numeric = true;
	text[print_line(text, &m.print, &style)] = 0;
	assert_non_null(strstr(text, "10.0.0.2.53: UDP"));
}

static void times(void **state)
{
	static const struct {
		int64_t wall;
		const char *text;
	} cases[] = {
		{0, "1970-01-01 00:00:00.000000000 "},
		{-1, "1969-12-31 23:59:59.999999999 "},
		{951782400000000001, "2000-02-29 00:00:00.000000001 "},
		{INT64_MAX, "2262-04-11 23:47:16.854775807 "},
		{INT64_MIN, "1677-09-21 00:12:43.145224192 "},
	};
	static char text[PRINT_LINE_MAX + 1];
	const struct print_style style = {.date = true};
	struct kind dns = G(dns);
	struct made m;

	(void)state;
	make(&m, &dns);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		m.print.wall = cases[i].wall;
		text[print_line(text, &m.print, &style)] = 0;
		text[strlen(cases[i].text)] = 0;
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_as_it_was_looked_at),
		cmocka_unit_test(every_field_is_in_the_tree),
		cmocka_unit_test(damaged_frames),
		cmocka_unit_test(an_unclaimed_field_is_listed),
		cmocka_unit_test(names_are_escaped),
		cmocka_unit_test(colours_are_only_colours),
		cmocka_unit_test(names_and_numbers),
		cmocka_unit_test(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
