/* SPDX-License-Identifier: GPL-2.0-or-later */
/* column_events.c - a column of numbers, or of words that have them, from the places where it changes. */
#include "recorder/encode/column_internal.h"

uint32_t column_word(uint8_t *w, int64_t word)
{
	const unsigned bytes = (71 - (unsigned)__builtin_clzll((uint64_t)word | 1)) / 8;
	const uint64_t letters = __builtin_bswap64((uint64_t)word << 8 * (8 - bytes));

	memcpy(w, &letters, sizeof(letters));
	return bytes;
}

static void literal(struct column_writer *c, enum column_type type, int64_t value)
{
	uint32_t len;

	if (type != COLUMN_STRING) {
		column_literal_number(c, type, value);
		return;
	}
	c->w = column_literal(c, type);
	len = column_word(c->w + 4, value);
	c->w = put32(c->w, len + 1) + len;
	*c->w++ = 0;
}

uint8_t *column_words(uint8_t *w, const struct column_event *events, uint32_t count, uint32_t n, int64_t range[2])
{
	return column_events(w, COLUMN_STRING, events, count, n, range);
}

uint8_t *column_events(uint8_t *w, enum column_type type, const struct column_event *events, uint32_t count, uint32_t n,
		       int64_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};
	struct column_place places[COLUMN_MOST + COLUMN_MARKS];
	struct column_state s = {.fill = 1, .last = COLUMN_LAST_ZERO};
	uint32_t first = 0, used = 0;
	int64_t last, least, most;
	uint32_t missing = 0;

	while (events[first].missing)
		first++;
	if (events[first].at)
		column_places(&c, &s, places, 0, events[first].at);
	last = least = most = events[first].value;
	literal(&c, type, last);
	s = (struct column_state){.at = events[first].at + 1};
	/* An event that says what the one before says is written over by the next one. */
	for (uint32_t i = first + 1; i < count; i++) {
		const struct column_event *e = &events[i];
		const uint64_t there = (uint64_t)e->missing - 1; /* all ones, or 0 */
		const uint64_t difference = ((uint64_t)e->value - (uint64_t)last) & there, u = column_zigzag(difference);

		last = (int64_t)((uint64_t)last + difference);
		least = last < least ? last : least;
		most = last > most ? last : most;
		places[used] = column_place(e->at, column_slots_of[column_bits(u)], e->missing, u);
		used += (u | (missing ^ e->missing)) != 0;
		missing = e->missing;
	}
	if (used)
		column_places(&c, &s, places, used, n);
	else
		column_zeros(&c, n - s.at);
	range[0] = least;
	range[1] = most;
	*c.w++ = 0;
	return c.w;
}
