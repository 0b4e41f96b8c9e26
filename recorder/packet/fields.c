/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/fields.h"

#include <errno.h>
#include <string.h>

const struct field fields[PKT_FIELDS] = {
#define F(id, name, bson, where, tshark, text) [PKT_##id] = {#name, FIELD_##bson, tshark, text},
#include "recorder/packet/fields.def"
#undef F
};

const char *const mark_names[REC_MARKS] = {
	"truncated", "malformed", "long", "unknown", "fragment", "vlan_hw", "blocked", "gso", "csum_none",
	"time",
};

unsigned field_find(const char *name, unsigned hint)
{
	for (unsigned i = 0; i < PKT_FIELDS; i++) {
		unsigned f = hint + i;

		f -= f >= PKT_FIELDS ? PKT_FIELDS : 0;
		if (f < PKT_FIELDS && fields[f].name && !strcmp(fields[f].name, name))
			return f;
	}
	return PKT_FIELDS;
}

unsigned fields_marks(char *at, unsigned marks)
{
	char *start = at;

	for (unsigned i = 0; i < REC_MARKS; i++) {
		size_t n = strlen(mark_names[i]);

		if (!(marks >> i & 1))
			continue;
		if (at != start)
			*at++ = ',';
		memcpy(at, mark_names[i], n);
		at += n;
	}
	return (unsigned)(at - start);
}

int fields_marks_read(const char *text, uint16_t *marks)
{
	unsigned found = 0;

	while (*text) {
		size_t n = strcspn(text, ",");
		unsigned i;

		for (i = 0; i < REC_MARKS; i++)
			if (strlen(mark_names[i]) == n && !memcmp(mark_names[i], text, n))
				break;
		if (i == REC_MARKS)
			return -EINVAL;
		found |= 1u << i;
		text += n;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	*marks = (uint16_t)found;
	return 0;
}
