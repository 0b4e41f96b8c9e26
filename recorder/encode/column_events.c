/* SPDX-License-Identifier: GPL-2.0-or-later */
/* column_events.c - a column of numbers from the places where it changes. */
#include "recorder/encode/column_internal.h"

uint8_t *column_events(uint8_t *w, enum column_type type, const struct column_event *events, uint32_t count, uint32_t n,
		       int64_t range[2])
{
	struct column_writer c = {.w = w, .kind = COLUMN_BLOCKS};
	struct column_place places[COLUMN_MOST + 1];
	struct column_state s = {.fill = 1, .last = COLUMN_LAST_ZERO};
	uint32_t first = 0, used = 0;
	int64_t last, least, most;
	bool missing = false;

	while (events[first].missing)
		first++;
	if (events[first].at)
		column_places(&c, &s, places, 0, events[first].at);
	last = least = most = events[first].value;
	column_literal_number(&c, type, last);
	s = (struct column_state){.at = events[first].at + 1};
	for (uint32_t i = first + 1; i < count; i++) {
		const struct column_event *e = &events[i];
		uint64_t u = 0;

		if (e->missing) {
			if (missing)
				continue;
		} else {
			u = column_zigzag((uint64_t)e->value - (uint64_t)last);
			if (!u && !missing)
				continue;
			last = e->value;
			least = last < least ? last : least;
			most = last > most ? last : most;
		}
		missing = e->missing;
		places[used++] = (struct column_place){e->at, column_slots_of[column_bits(u)], missing, u};
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
