/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/settings/when.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000ll

static const char *digits(const char *at, int count, int low, int high, int *out)
{
	int value = 0;

	if (!at)
		return NULL;
	for (int i = 0; i < count; i++, at++) {
		if (!isdigit((unsigned char)*at))
			return NULL;
		value = value * 10 + *at - '0';
	}
	*out = value;
	return value < low || value > high ? NULL : at;
}

static const char *mark(const char *at, char c)
{
	return at && *at == c ? at + 1 : NULL;
}

/* A fraction of a second behind its dot; digits beyond the ninth are not looked at. */
static const char *fraction(const char *at, int64_t *ns)
{
	int64_t unit = NS;

	if (!isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		unit /= 10;
		*ns += (*at - '0') * unit;
	}
	return at;
}

static bool parse_date(const char *at, int64_t *out)
{
	struct tm tm = {0}, back;
	int64_t ns = 0;
	time_t seconds;

	at = digits(at, 4, 1970, 2199, &tm.tm_year);
	at = digits(mark(at, '-'), 2, 1, 12, &tm.tm_mon);
	at = digits(mark(at, '-'), 2, 1, 31, &tm.tm_mday);
	if (at && (*at == 'T' || *at == ' ')) {
		at = digits(at + 1, 2, 0, 23, &tm.tm_hour);
		at = digits(mark(at, ':'), 2, 0, 59, &tm.tm_min);
		if (at && *at == ':')
			at = digits(at + 1, 2, 0, 59, &tm.tm_sec);
		if (at && *at == '.')
			at = fraction(at + 1, &ns);
		if (at && *at == 'Z')
			at++;
	}
	if (!at || *at)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	back = tm;
	seconds = timegm(&back);
	if (back.tm_mday != tm.tm_mday) /* there is no 30th of February */
		return false;
	*out = seconds * NS + ns;
	return true;
}

static bool parse_ago(const char *text, int64_t now, int64_t *out)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	long long n;

	if (!isdigit((unsigned char)*text) || strlen(text) > 9)
		return false;
	n = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (end[0] == units[i].letter && !end[1]) {
			*out = now - n * units[i].seconds * NS;
			return *out > 0;
		}
	return false;
}

bool when_parse(const char *text, int64_t now, int64_t *out)
{
	if (!strcmp(text, "now")) {
		*out = now;
		return true;
	}
	return parse_date(text, out) || parse_ago(text, now, out);
}

char *when_text(char out[WHEN_LEN], int64_t wall_ns)
{
	time_t seconds = wall_ns / NS;
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, WHEN_LEN, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(out + n, WHEN_LEN - n, ".%03dZ", (int)(wall_ns % NS / 1000000));
	return out;
}
