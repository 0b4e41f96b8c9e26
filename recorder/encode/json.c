/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.c - a line of JSON, straight from fields.def. As in document.c there are no bounds checks inside: the longest line
 * follows from the table.
 */
#include "recorder/encode/json.h"

#include <string.h>

#include "recorder/core/util.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"

#define NAME_MAX_ESCAPED (6 * JSON_NAME_MAX) /* \u00XX for each byte */
#define DATE_LEN 24			     /* 2026-11-23T17:13:01.123Z */

/* ,"name": and the longest value of each type; byte fields are cut at REC_CAP_MAX. */
#define BOUND_INT32 11
#define BOUND_DOUBLE 20
#define BOUND_DATE (2 + DATE_LEN)
#define BOUND_STRING (2 + TEXT_ADDRESS_MAX)
#define BOUND_BINARY (2 + 2 * REC_CAP_MAX)
#define F(id, name, bson, where, tshark, text) +3 + sizeof(#name) + BOUND_##bson
_Static_assert(2 + FIELD_TEXT_MAX + sizeof("'_id':'','iface':'','sensor':'',") + 2 * JSON_ID_MAX + 2 * NAME_MAX_ESCAPED
#include "recorder/packet/fields.def"
		       < JSON_LINE_MAX,
	       "all fields fit into a line");
#undef F

/* A string literal, without its NUL. */
#define PUT(at, literal) ((at) = (char *)memcpy((at), literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *put_unsigned(char *at, uint64_t value)
{
	char digits[20];
	unsigned n = sizeof(digits);

	do
		digits[--n] = (char)('0' + value % 10);
	while (value /= 10);
	memcpy(at, digits + n, sizeof(digits) - n);
	return at + sizeof(digits) - n;
}

static char *put_int32(char *at, int32_t value)
{
	if (value < 0)
		*at++ = '-';
	return put_unsigned(at, (uint64_t)(value < 0 ? -(int64_t)value : value));
}

static char *put_digits(char *at, unsigned value, unsigned n)
{
	for (unsigned i = n; i--; value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + n;
}

/*
 * RFC 3339, in UTC. All of int64_t's nanoseconds lie in the years 1677 to 2262. The date is counted in years that begin in
 * March, so that the leap day is the last one (H. Hinnant, chrono-Compatible Low-Level Date Algorithms).
 */
static char *put_date(char *at, int64_t wall)
{
	int64_t ms = clock_ms(wall), day = ms / 86400000 - (ms % 86400000 < 0);
	unsigned in_day = (unsigned)(ms - day * 86400000), since = (unsigned)(day + 719468); /* 0000-03-01 */
	unsigned era = since / 146097, of_era = since % 146097;
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;

	at = put_digits(at, 400 * era + year + (month > 9), 4);
	*at++ = '-';
	at = put_digits(at, month > 9 ? month - 9 : month + 3, 2);
	*at++ = '-';
	at = put_digits(at, of_year - (153 * month + 2) / 5 + 1, 2);
	*at++ = 'T';
	at = put_digits(at, in_day / 3600000, 2);
	*at++ = ':';
	at = put_digits(at, in_day / 60000 % 60, 2);
	*at++ = ':';
	at = put_digits(at, in_day / 1000 % 60, 2);
	*at++ = '.';
	at = put_digits(at, in_day % 1000, 3);
	*at++ = 'Z';
	return at;
}

/* Bytes of the UTF-8 character at `s`, 0 when it is none (RFC 3629: no surrogates, nothing longer than needed). */
static unsigned utf8_length(const uint8_t *s)
{
	unsigned n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) /* the NUL behind the text is none either */
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* U+0080 to U+009F, some of which steer a terminal as ESC does; JSON itself asks only for those below U+0020. */
static bool is_c1(const uint8_t *s)
{
	return s[0] == 0xc2 && s[1] < 0xa0;
}

/*
 * The first JSON_NAME_MAX bytes of a text (whole characters), escaped; what is not UTF-8 becomes U+FFFD. No control character
 * is left in it: lines are read on terminals.
 */
static char *put_name(char *at, const char *text)
{
	const uint8_t *s = (const uint8_t *)text, *end = s + strnlen(text, JSON_NAME_MAX);

	while (s < end) {
		unsigned n = utf8_length(s);

		if (s + n > end)
			break;
		if (n == 0) {
			PUT(at, "\xef\xbf\xbd");
			n = 1;
		} else if (*s < 0x20 || *s == 0x7f || is_c1(s)) {
			PUT(at, "\\u00");
			at = put_hex(at, s + n - 1, 1);
		} else {
			if (*s == '"' || *s == '\\')
				*at++ = '\\';
			memcpy(at, s, n);
			at += n;
		}
		s += n;
	}
	return at;
}

#define PUT_INT32(value) at = put_int32(at, (int32_t)(value))
#define PUT_DOUBLE(value) at = put_unsigned(at, value)
#define PUT_STRING(value)                                                                                              \
	do {                                                                                                           \
		*at++ = '"';                                                                                           \
		at += (value);                                                                                         \
		*at++ = '"';                                                                                           \
	} while (0)
#define PUT_BINARY(value) PUT_BINARY_(BINARY_ARGUMENTS value)
#define BINARY_ARGUMENTS(pointer, length) pointer, length
#define PUT_BINARY_(...) PUT_BINARY__(__VA_ARGS__)
#define PUT_BINARY__(pointer, length)                                                                                  \
	do {                                                                                                           \
		*at++ = '"';                                                                                           \
		at = put_hex(at, pointer, (length) < REC_CAP_MAX ? (length) : REC_CAP_MAX);                            \
		*at++ = '"';                                                                                           \
	} while (0)
#define PUT_DATE(value)                                                                                                \
	do {                                                                                                           \
		*at++ = '"';                                                                                           \
		at = put_date(at, value);                                                                              \
		*at++ = '"';                                                                                           \
	} while (0)

static char *put_field(char *at, unsigned field, const struct packet *p, int64_t wall, bool out)
{
	switch (field) {
#define F(id, name, bson, where, tshark, text)                                                                         \
	case PKT_##id:                                                                                                 \
		PUT(at, "\"" #name "\":");                                                                             \
		PUT_##bson(where);                                                                                     \
		*at++ = ',';                                                                                           \
		break;
#include "recorder/packet/fields.def"
#undef F
	}
	return at;
}

static char *put_fields(char *at, unsigned word, uint64_t bits, const struct packet *p, int64_t wall, bool out)
{
	for (; bits; bits &= bits - 1)
		at = put_field(at, 64 * word + (unsigned)__builtin_ctzll(bits), p, wall, out);
	return at;
}

size_t json_line(char *at, const struct packet *p, int64_t wall, bool out, const struct json_source *source)
{
	const uint64_t times = 1ull << PKT_TS | 1ull << PKT_NS;
	char *start = at;

	*at++ = '{';
	if (source->id) {
		PUT(at, "\"_id\":\"");
		at = put_hex(at, source->id, source->id_len < JSON_ID_MAX ? source->id_len : JSON_ID_MAX);
		PUT(at, "\",");
	}
	at = put_fields(at, 0, p->has[0] & times, p, wall, out);
	if (source->iface) {
		PUT(at, "\"iface\":\"");
		at = put_name(at, source->iface);
		PUT(at, "\",");
	}
	if (source->sensor) {
		PUT(at, "\"sensor\":\"");
		at = put_name(at, source->sensor);
		PUT(at, "\",");
	}
	at = put_fields(at, 0, p->has[0] & ~times, p, wall, out);
	for (unsigned word = 1; word < PACKET_WORDS; word++)
		at = put_fields(at, word, p->has[word], p, wall, out);
	if (at[-1] == ',') /* not so only when there is nothing at all */
		at--;
	*at++ = '}';
	return (size_t)(at - start);
}
