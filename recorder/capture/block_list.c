/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/capture/block_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/core/util.h"
#include "recorder/packet/text.h"

static int wrong(struct block_problem *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int wrong(struct block_problem *problem, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- an entry ----------------------------------------------------------------------------------------------------- */

static unsigned bits_of(unsigned version)
{
	return version == 4 ? 32 : 128;
}

/* The bits behind the prefix become 0; whether they all were. */
static bool cut(struct block_entry *e)
{
	bool clean = true;

	for (unsigned bit = e->length; bit < bits_of(e->version); bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);

		clean &= !(e->address[bit / 8] & mask);
		e->address[bit / 8] &= (uint8_t)~mask;
	}
	return clean;
}

/* Digits only, at most `most`. */
static bool read_number(const char *text, unsigned long most, unsigned long *out)
{
	char *end;

	if (!isdigit((unsigned char)*text) || strlen(text) > 10)
		return false;
	*out = strtoul(text, &end, 10);
	return !*end && *out <= most;
}

int block_entry_read(struct block_entry *entry, const char *text, struct block_problem *problem)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct block_entry e = {.by = BLOCK_EITHER};
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned long length;
	char address[TEXT_ADDRESS_MAX] = "", right[BLOCK_TEXT_MAX];

	if (len < sizeof(address))
		memcpy(address, text, len);
	e.version = (uint8_t)text_read_address(address, e.address);
	if (!e.version)
		return wrong(problem, "\"%.60s\": must be an address or a network, such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32",
			     text);
	length = bits_of(e.version);
	if (slash && !read_number(slash + 1, length, &length))
		return wrong(problem, "\"%.60s\": the prefix of IPv%u has 0 to %u bits", text, e.version, bits_of(e.version));
	e.length = (uint8_t)length;
	if (e.version == 6 && e.length >= 96 && !memcmp(e.address, mapped, sizeof(mapped))) {
		struct block_entry v4 = {.version = 4, .length = (uint8_t)(e.length - 96)};

		memcpy(v4.address, e.address + 12, 4);
		cut(&v4);
		block_entry_text(right, &v4);
		return wrong(problem, "\"%.60s\": is IPv4 in the clothes of IPv6; %s is meant", text, right);
	}
	if (!cut(&e)) {
		block_entry_text(right, &e);
		return wrong(problem, "\"%.60s\": has bits behind its prefix; the network is %s, the host %s/%u", text, right,
			     address, bits_of(e.version));
	}
	*entry = e;
	return 0;
}

void block_entry_text(char out[BLOCK_TEXT_MAX], const struct block_entry *entry)
{
	unsigned n = text_address(out, entry->address, entry->version);

	snprintf(out + n, BLOCK_TEXT_MAX - n, "/%u", entry->length);
}

static const char *const by_names[] = {NULL, "source", "destination", "either"};

const char *block_by_name(unsigned by)
{
	return by < ARRAY_SIZE(by_names) ? by_names[by] : NULL;
}

unsigned block_by_read(const char *word)
{
	for (unsigned i = 1; i < ARRAY_SIZE(by_names); i++)
		if (!strcmp(word, by_names[i]))
			return i;
	return 0;
}

/* ---- a line --------------------------------------------------------------------------------------------------------- */

#define TIME_FORMAT "%Y-%m-%dT%H:%M:%SZ"

int block_line_read(struct block_entry *entry, char *line, unsigned by, struct block_problem *problem)
{
	char *word[5], *rest = line;
	unsigned words = 0;
	unsigned long uid = 0;
	struct tm tm = {0};
	const char *end;
	int err;

	line[strcspn(line, "#\r\n")] = '\0';
	while (words < ARRAY_SIZE(word) && (word[words] = strtok_r(rest, " \t", &rest)))
		words++;
	if (!words)
		return 0;
	err = block_entry_read(entry, word[0], problem);
	if (err)
		return err;
	entry->by = (uint8_t)(words > 1 ? block_by_read(word[1]) : by);
	if (!entry->by)
		return wrong(problem, "\"%.40s\": behind the network must be source, destination or either", word[1]);
	if (words > 2) {
		end = strptime(word[2], TIME_FORMAT, &tm);
		if (!end || *end)
			return wrong(problem, "\"%.40s\": must be a time such as 2026-11-29T17:00:00Z", word[2]);
		entry->since = timegm(&tm);
	}
	if (words > 3 && !read_number(word[3], UINT32_MAX, &uid))
		return wrong(problem, "\"%.40s\": must be a user's number", word[3]);
	entry->uid = (uint32_t)uid;
	if (words > 4)
		return wrong(problem, "\"%.40s\": one network a line, and behind it source, destination or either", word[4]);
	return 1;
}

unsigned block_line_write(char out[BLOCK_LINE_MAX], const struct block_entry *entry)
{
	char network[BLOCK_TEXT_MAX], when[32];
	time_t since = (time_t)entry->since;
	struct tm tm;

	block_entry_text(network, entry);
	strftime(when, sizeof(when), TIME_FORMAT, gmtime_r(&since, &tm));
	return (unsigned)snprintf(out, BLOCK_LINE_MAX, "%-20s %-11s %s %u\n", network, block_by_name(entry->by), when, entry->uid);
}

/* ---- lists ---------------------------------------------------------------------------------------------------------- */

int block_list_append(struct block_list *list, const struct block_entry *entry)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct block_entry *entries = realloc(list->entries, room * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		list->entries = entries;
		list->room = room;
	}
	list->entries[list->count++] = *entry;
	return 0;
}

int block_entry_compare(const struct block_entry *a, const struct block_entry *b)
{
	int order = a->version - b->version;

	if (!order)
		order = memcmp(a->address, b->address, sizeof(a->address));
	return order ? order : a->length - b->length;
}

static int by_prefix(const void *a, const void *b)
{
	return block_entry_compare(a, b);
}

/* glibc's qsort is a merge sort, stable, as long as it gets memory; so that "last" does not hang on that, places are compared. */
static int by_prefix_and_place(const void *a, const void *b)
{
	const struct block_entry *const *x = a, *const *y = b;
	int order = block_entry_compare(*x, *y);

	return order ? order : (*x > *y) - (*x < *y);
}

void block_list_sort(struct block_list *list)
{
	const struct block_entry **order = malloc((list->count + 1) * sizeof(*order));
	struct block_entry *sorted = malloc((list->count + 1) * sizeof(*sorted));
	size_t n = 0;

	if (!order || !sorted) { /* no memory for places: qsort's own order will do */
		qsort(list->entries, list->count, sizeof(*list->entries), by_prefix);
		for (size_t i = 0; i < list->count; i++) {
			n -= n && !block_entry_compare(&list->entries[n - 1], &list->entries[i]);
			list->entries[n++] = list->entries[i];
		}
	} else {
		for (size_t i = 0; i < list->count; i++)
			order[i] = &list->entries[i];
		qsort(order, list->count, sizeof(*order), by_prefix_and_place);
		for (size_t i = 0; i < list->count; i++) {
			n -= n && !block_entry_compare(&sorted[n - 1], order[i]);
			sorted[n++] = *order[i];
		}
		if (n)
			memcpy(list->entries, sorted, n * sizeof(*sorted));
	}
	list->count = n;
	free(order);
	free(sorted);
}

const struct block_entry *block_list_find(const struct block_list *list, const struct block_entry *prefix)
{
	return list->count ? bsearch(prefix, list->entries, list->count, sizeof(*prefix), by_prefix) : NULL;
}

const struct block_entry *block_list_covering(const struct block_list *list, unsigned version, const uint8_t *address)
{
	for (unsigned length = 0; list->count && length <= bits_of(version); length++) {
		struct block_entry e = {.version = (uint8_t)version, .length = (uint8_t)length};
		const struct block_entry *found;

		memcpy(e.address, address, bits_of(version) / 8);
		cut(&e);
		found = block_list_find(list, &e);
		if (found)
			return found;
	}
	return NULL;
}

/* Walks both in order: those of `list` alone, of `other` if wanted, and of both as `other` says, or not at all. */
static int merge(struct block_list *out, const struct block_list *list, const struct block_list *other, bool wanted)
{
	size_t a = 0, b = 0;
	int err = 0;

	while (!err && (a < list->count || b < other->count)) {
		int order = a == list->count	 ? 1
			    : b == other->count ? -1
						: block_entry_compare(&list->entries[a], &other->entries[b]);

		if (order < 0)
			err = block_list_append(out, &list->entries[a]);
		else if (wanted)
			err = block_list_append(out, &other->entries[b]);
		a += order <= 0;
		b += order >= 0;
	}
	if (err)
		block_list_free(out);
	return err;
}

int block_list_with(struct block_list *out, const struct block_list *list, const struct block_list *more)
{
	return merge(out, list, more, true);
}

int block_list_without(struct block_list *out, const struct block_list *list, const struct block_list *fewer)
{
	return merge(out, list, fewer, false);
}

void block_list_free(struct block_list *list)
{
	free(list->entries);
	memset(list, 0, sizeof(*list));
}
