/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* The 256 octets in decimal, each with the point behind it, in cells of four characters. */
#define TEN(tens, fill)                                                                                                \
	tens "0." fill tens "1." fill tens "2." fill tens "3." fill tens "4." fill tens "5." fill tens "6." fill tens  \
	     "7." fill tens "8." fill tens "9." fill
static const char decimal[] = TEN("", "  ") TEN("1", " ") TEN("2", " ") TEN("3", " ") TEN("4", " ") TEN("5", " ")
	TEN("6", " ") TEN("7", " ") TEN("8", " ") TEN("9", " ") TEN("10", "") TEN("11", "") TEN("12", "") TEN("13", "")
		TEN("14", "") TEN("15", "") TEN("16", "") TEN("17", "") TEN("18", "") TEN("19", "") TEN("20", "")
			TEN("21", "") TEN("22", "") TEN("23", "") TEN("24", "") "250.251.252.253.254.255.";
_Static_assert(sizeof(decimal) == 256 * 4 + 1, "four characters for each octet");

#define SIXTEEN(h) h "0" h "1" h "2" h "3" h "4" h "5" h "6" h "7" h "8" h "9" h "a" h "b" h "c" h "d" h "e" h "f"
static const char hex[] =
	SIXTEEN("0") SIXTEEN("1") SIXTEEN("2") SIXTEEN("3") SIXTEEN("4") SIXTEEN("5") SIXTEEN("6") SIXTEEN("7")
		SIXTEEN("8") SIXTEEN("9") SIXTEEN("a") SIXTEEN("b") SIXTEEN("c") SIXTEEN("d") SIXTEEN("e") SIXTEEN("f");
_Static_assert(sizeof(hex) == 256 * 2 + 1, "two characters for each octet");

unsigned text_ipv4(char *at, const uint8_t a[4])
{
	char *start = at;

	for (int i = 0; i < 4; i++) {
		memcpy(at, decimal + 4 * a[i], 4);
		at += 2 + (a[i] > 9) + (a[i] > 99);
	}
	return (unsigned)(at - start) - 1; /* the last point is not part of it */
}

/* One group without leading zeros, and a colon; touches four characters at least. */
static inline char *put_group(char *at, unsigned group)
{
	const unsigned skip = 3u - (group > 0xf) - (group > 0xff) - (group > 0xfff);
	uint16_t high, low;
	uint32_t four;

	memcpy(&high, hex + 2 * (group >> 8), 2);
	memcpy(&low, hex + 2 * (group & 0xff), 2);
	four = (high | (uint32_t)low << 16) >> 8 * skip; /* the first character is the lowest byte */
	memcpy(at, &four, 4);
	at[4 - skip] = ':';
	return at + 5 - skip;
}

unsigned text_ipv6(char *at, const uint8_t a[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned group[8], zeros = 0, longest = 1, first = 8; /* a single zero group is not shortened */
	char *start = at;

	if (!memcmp(a, mapped, sizeof(mapped))) {
		memcpy(at, "::ffff:", 7);
		return 7 + text_ipv4(at + 7, a + 12);
	}
	for (unsigned g = 0; g < 8; g++) {
		group[g] = (unsigned)a[2 * g] << 8 | a[2 * g + 1];
		zeros |= (unsigned)!group[g] << g;
	}
	/* Where two, three, ... groups in a row are zero; the first place of the most. */
	for (unsigned runs = zeros & zeros >> 1; runs; runs &= zeros >> longest) {
		longest++;
		first = (unsigned)__builtin_ctz(runs);
	}
	for (unsigned g = 0; g < first; g++)
		at = put_group(at, group[g]);
	if (first == 8)
		return (unsigned)(at - start) - 1; /* the last colon is not part of it */
	if (first == 0)
		*at++ = ':';
	*at++ = ':';
	for (unsigned g = first + longest; g < 8; g++)
		at = put_group(at, group[g]);
	return (unsigned)(at - start) - (first + longest < 8);
}

unsigned text_mac(char *at, const uint8_t a[6])
{
	for (int i = 0; i < 6; i++) {
		memcpy(at + 3 * i, hex + 2 * a[i], 2);
		if (i < 5)
			at[3 * i + 2] = ':';
	}
	return TEXT_MAC_LEN;
}

unsigned text_read_address(const char *text, uint8_t address[16])
{
	uint8_t read[16] = {0};
	unsigned family = strchr(text, ':') ? 6 : 4;

	if (inet_pton(family == 6 ? AF_INET6 : AF_INET, text, read) != 1)
		return 0;
	memcpy(address, read, sizeof(read));
	return family;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int text_read_mac(const char *text, uint8_t address[6])
{
	uint8_t read[6];

	if (strlen(text) != TEXT_MAC_LEN)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		int high = nibble(text[3 * i]), low = nibble(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
		read[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(address, read, sizeof(read));
	return 0;
}
