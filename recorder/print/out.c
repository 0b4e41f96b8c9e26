/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/print/out.h"

#include <string.h>

#include "recorder/packet/text.h"

static const char digits[] = "0123456789abcdef";

struct out out_begin(char *at, size_t max, bool color)
{
	return (struct out){.start = at, .room = max - 1 /* newline */, .color = color};
}

size_t out_end(struct out *o)
{
	out_paint(o, PAINT_NONE);
	o->room++;
	out_char(o, '\n');
	return o->len;
}

void out_bytes(struct out *o, const char *text, size_t length)
{
	size_t n = length < o->room - o->len ? length : o->room - o->len;

	memcpy(o->start + o->len, text, n);
	o->len += n;
}

void out_text(struct out *o, const char *text)
{
	out_bytes(o, text, strlen(text));
}

void out_char(struct out *o, char c)
{
	out_bytes(o, &c, 1);
}

void out_spaces(struct out *o, unsigned n)
{
	while (n--)
		out_char(o, ' ');
}

void out_number(struct out *o, uint64_t value)
{
	char text[20], *at = text + sizeof(text);

	do
		*--at = digits[value % 10];
	while (value /= 10);
	out_bytes(o, at, (size_t)(text + sizeof(text) - at));
}

void out_signed(struct out *o, int64_t value)
{
	if (value < 0)
		out_char(o, '-');
	out_number(o, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void out_hex(struct out *o, uint64_t value, unsigned least)
{
	char text[16], *at = text + sizeof(text);

	do
		*--at = digits[value & 15];
	while ((value >>= 4) || (at > text && (size_t)(text + sizeof(text) - at) < least));
	out_text(o, "0x");
	out_bytes(o, at, (size_t)(text + sizeof(text) - at));
}

void out_dump(struct out *o, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		out_char(o, digits[bytes[i] >> 4]);
		out_char(o, digits[bytes[i] & 15]);
	}
}

void out_name(struct out *o, const char *name)
{
	for (; *name; name++) {
		uint8_t c = (uint8_t)*name;

		if (c > 0x20 && c < 0x7f && c != '\\') {
			out_char(o, *name);
			continue;
		}
		out_text(o, "\\x");
		out_dump(o, &c, 1);
	}
}

/* An escape sequence is written whole or not at all, and only where the one that ends it will fit too. */
void out_paint(struct out *o, enum paint paint)
{
	static const char *const codes[] = {
		[PAINT_NONE] = "",	   [PAINT_DIM] = "\033[2m",   [PAINT_SOURCE] = "\033[32m", [PAINT_DEST] = "\033[36m",
		[PAINT_PROTO] = "\033[1m", [PAINT_FLAG] = "\033[33m", [PAINT_BAD] = "\033[1;31m",
	};
	static const char reset[] = "\033[0m";
	size_t n = strlen(codes[paint]);

	if (!o->color)
		return;
	if (o->painted) {
		o->room += strlen(reset);
		out_text(o, reset);
		o->painted = false;
	}
	if (!n || o->room - o->len < n + strlen(reset))
		return;
	out_text(o, codes[paint]);
	o->room -= strlen(reset);
	o->painted = true;
}

void out_painted(struct out *o, enum paint paint, const char *text)
{
	out_paint(o, paint);
	out_text(o, text);
	out_paint(o, PAINT_NONE);
}

void out_address(struct out *o, const uint8_t *address, unsigned family)
{
	char text[TEXT_ADDRESS_MAX];

	out_bytes(o, text, text_address(text, address, family));
}

void out_mac(struct out *o, const uint8_t mac[6])
{
	char text[TEXT_ADDRESS_MAX];

	out_bytes(o, text, text_mac(text, mac));
}

static void out_two(struct out *o, unsigned value)
{
	out_char(o, digits[value / 10 % 10]);
	out_char(o, digits[value % 10]);
}

/* Days since 1970 as a date of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static void out_date(struct out *o, int64_t days)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097), yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), month = (5 * doy + 2) / 153;
	unsigned day = doy - (153 * month + 2) / 5 + 1;
	int64_t year = (int64_t)yoe + era * 400;

	month += month < 10 ? 3 : -9u;
	year += month <= 2;
	out_two(o, (unsigned)(year / 100)); /* int64 ns are years 1677 to 2262 */
	out_two(o, (unsigned)(year % 100));
	out_char(o, '-');
	out_two(o, month);
	out_char(o, '-');
	out_two(o, day);
}

void out_time(struct out *o, int64_t wall, bool date)
{
	int64_t seconds = wall / 1000000000, ns = wall % 1000000000, days;
	unsigned of_day, scale = 100000000;

	if (ns < 0) {
		ns += 1000000000;
		seconds--;
	}
	days = seconds / 86400;
	if (seconds % 86400 < 0)
		days--;
	of_day = (unsigned)(seconds - days * 86400);
	if (date) {
		out_date(o, days);
		out_char(o, ' ');
	}
	out_two(o, of_day / 3600);
	out_char(o, ':');
	out_two(o, of_day / 60 % 60);
	out_char(o, ':');
	out_two(o, of_day % 60);
	out_char(o, '.');
	for (; scale; scale /= 10)
		out_char(o, digits[ns / scale % 10]);
}
