/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/text.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Text, and the bytes it stands for; every one must be written so, and read back. */
static const struct {
	const char *text;
	uint8_t bytes[16];
} ipv6_vectors[] = {
	/* RFC 5952 section 4.1: no leading zeros; 4.2.1: as short as possible */
	{"2001:db8::1", {0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
	{"2001:db8::2:1", {0x20, 0x01, 0x0d, 0xb8, [13] = 2, [15] = 1}},
	/* 4.2.2: one group of zeros is not shortened */
	{"2001:db8:0:1:1:1:1:1", {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}},
	/* 4.2.3: the longest run; the first of equal ones */
	{"2001:0:0:1::1", {0x20, 0x01, [7] = 1, [15] = 1}},
	{"2001:db8::1:0:0:1", {0x20, 0x01, 0x0d, 0xb8, [9] = 1, [15] = 1}},
	/* 4.3: lower case */
	{"abcd:ef01:2345:6789:abcd:ef01:2345:6789",
	 {0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89}},
	/* 5: a well-known prefix with an IPv4 address in it */
	{"::ffff:192.0.2.1", {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1}},
	{"::", {0}},
	{"::1", {[15] = 1}},
	{"1::", {[1] = 1}},
	{"fe80::", {0xfe, 0x80}},
	{"::2:3:4:5:6:7", {[5] = 2, [7] = 3, [9] = 4, [11] = 5, [13] = 6, [15] = 7}},
	{"1:2:3:4:5:6::", {[1] = 1, [3] = 2, [5] = 3, [7] = 4, [9] = 5, [11] = 6}},
	{"0:1:2:3:4:5:6:7", {[3] = 1, [5] = 2, [7] = 3, [9] = 4, [11] = 5, [13] = 6, [15] = 7}},
	{"7:6:5:4:3:2:1:0", {[1] = 7, [3] = 6, [5] = 5, [7] = 4, [9] = 3, [11] = 2, [13] = 1}},
	{"100:10:1:1000::f0:f00", {1, 0, 0, 0x10, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0xf0, 0x0f, 0}},
	{"::1234:5678", {[12] = 0x12, [13] = 0x34, [14] = 0x56, [15] = 0x78}}, /* IPv4-compatible is no longer a form */
};

static void ipv6_as_rfc_5952_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ipv6_vectors) / sizeof(*ipv6_vectors); i++) {
		char text[TEXT_ADDRESS_MAX + 1];
		uint8_t back[16];

		text[text_ipv6(text, ipv6_vectors[i].bytes)] = 0;
		assert_string_equal(text, ipv6_vectors[i].text);
		assert_int_equal(text_read_address(text, back), 6);
		assert_memory_equal(back, ipv6_vectors[i].bytes, 16);
	}
}

/* Against the C library, whose form is the same but for addresses with 96 leading zero bits. */
static void ipv6_as_the_c_library(void **state)
{
	uint64_t random = 88172645463325252ull;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		char text[TEXT_ADDRESS_MAX + 1], other[64];
		uint8_t a[16] = {0};

		for (unsigned g = 0; g < 8; g++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			if (random & 1) /* many groups of zeros, and some short ones */
				continue;
			a[2 * g] = random & 2 ? (uint8_t)(random >> 8) : 0;
			a[2 * g + 1] = (uint8_t)(random >> (random & 4 ? 16 : 20));
		}
		if (!a[0] && !memcmp(a, a + 1, 11))
			a[0] = 1;
		text[text_ipv6(text, a)] = 0;
		inet_ntop(AF_INET6, a, other, sizeof(other));
		assert_string_equal(text, other);
	}
}

static void ipv4_every_octet(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		for (unsigned place = 0; place < 4; place++) {
			uint8_t a[4] = {9, 99, 100, 255}, back[16];
			char text[TEXT_ADDRESS_MAX + 1], other[32];

			a[place] = (uint8_t)i;
			text[text_ipv4(text, a)] = 0;
			snprintf(other, sizeof(other), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
			assert_string_equal(text, other);
			assert_int_equal(text_read_address(text, back), 4);
			assert_memory_equal(back, a, 4);
			assert_memory_equal(back + 4, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
		}
	}
}

static void mac_and_back(void **state)
{
	char text[TEXT_ADDRESS_MAX + 1];
	const uint8_t a[6] = {0x00, 0x0f, 0xa0, 0xff, 0x10, 0x9c};
	uint8_t back[6];

	(void)state;
	text[text_mac(text, a)] = 0;
	assert_string_equal(text, "00:0f:a0:ff:10:9c");
	assert_int_equal(text_read_mac(text, back), 0);
	assert_memory_equal(a, back, 6);
	for (unsigned i = 0; i < 256; i++) {
		const uint8_t b[6] = {[2] = (uint8_t)i};
		char other[32];

		text[text_mac(text, b)] = 0;
		snprintf(other, sizeof(other), "00:00:%02x:00:00:00", i);
		assert_string_equal(text, other);
	}
}

static void nonsense_is_refused(void **state)
{
	static const char *const addresses[] = {"",	   "1.2.3",   "1.2.3.4.5", "256.1.1.1",	   "1.2.3.4 ", "x",
						"1:2:3:4", "1::2::3", "12345::",   "::ffff:1.2.3", ":",	       "::g"};
	static const char *const macs[] = {"",
					   "00:11:22:33:44",
					   "00:11:22:33:44:5",
					   "00:11:22:33:44:55:66",
					   "00-11-22-33-44-55",
					   "00:11:22:33:44:5g",
					   "00:11:22:33:44:AA"};
	uint8_t bytes[16] = {1, 2, 3};

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++)
		assert_int_equal(text_read_address(addresses[i], bytes), 0);
	for (size_t i = 0; i < sizeof(macs) / sizeof(*macs); i++)
		assert_true(text_read_mac(macs[i], bytes) < 0);
	assert_memory_equal(bytes, "\1\2\3", 3); /* outputs stay */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv6_as_rfc_5952_says), cmocka_unit_test(ipv6_as_the_c_library),
		cmocka_unit_test(ipv4_every_octet),	 cmocka_unit_test(mac_and_back),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
