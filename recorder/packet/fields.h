/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fields.h - the table of fields.def as data, for documentation, projections and the comparison with tshark, and the
 * small functions that its `where` column names.
 */
#ifndef XDP_RECORDER_PACKET_FIELDS_H
#define XDP_RECORDER_PACKET_FIELDS_H

#include <stdint.h>

#include "recorder/core/clock.h" /* clock_ms_rest */
#include "recorder/packet/packet.h"

/* Values are BSON's type bytes. */
enum field_type {
	FIELD_DOUBLE = 0x01,
	FIELD_STRING = 0x02,
	FIELD_BINARY = 0x05,
	FIELD_DATE = 0x09,
	FIELD_INT32 = 0x10,
};

struct field {
	const char *name;
	enum field_type type;
	const char *tshark; /* "" when tshark has nothing equal; syntax in fields.def */
	const char *text;
};

/* Indexed by enum packet_field; name is NULL where there is no such field (bits that WORD leaves out). */
extern const struct field fields[PKT_FIELDS];

/* The field of that name, PKT_FIELDS when there is none. `hint` is where to look first (documents keep the order). */
unsigned field_find(const char *name, unsigned hint);

/* Longest text of a STRING field: an IPv6 address, or all marks. Writers may touch FIELD_TEXT_MAX bytes. */
#define FIELD_TEXT_MAX 104u

/* A mark's name, by its bit number below REC_MARKS. */
extern const char *const mark_names[REC_MARKS];
#define REC_MARKS_ALL ((1u << REC_MARKS) - 1)

/* Names of the bits, divided by commas; gives the length, writes no NUL. */
unsigned fields_marks(char *at, unsigned marks);
/* The inverse. 0 or -EINVAL. */
int fields_marks_read(const char *text, uint16_t *marks);

/* Copies 3 bytes whatever the length, which is at most 3. */
static inline unsigned fields_word(char *at, const char *word, unsigned length)
{
	at[0] = word[0];
	at[1] = word[1];
	at[2] = word[2];
	return length;
}

#endif
