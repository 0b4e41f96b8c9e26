/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - what the commands of document.h and bucket.h have in common: the head of an insert or update, BSON
 * elements put by hand, and the growth of the buffer. Internal to encode/.
 */
#ifndef XDP_RECORDER_ENCODE_COMMAND_H
#define XDP_RECORDER_ENCODE_COMMAND_H

#include <errno.h>

#include "recorder/encode/bytes.h"
#include "recorder/encode/document.h"

/* Type byte and name, string literals both: one constant-size copy, the literals' NUL ends the name. */
#define PUT_HEAD(w, type, name) ((w) = (uint8_t *)memcpy((w), type name, sizeof(type name)) + sizeof(type name))

/* The value of a string element. */
static inline uint8_t *put_string(uint8_t *w, const char *text, size_t length)
{
	w = put32(w, (uint32_t)length + 1);
	memcpy(w, text, length);
	w[length] = 0;
	return w + length + 1;
}

/* Room for `more` bytes behind command->len. 0 or -ENOMEM. */
int command_grow(struct command_buffer *command, size_t more);
static inline int command_reserve(struct command_buffer *command, size_t more)
{
	return command->cap - command->len >= more ? 0 : command_grow(command, more);
}

enum command_verb { COMMAND_INSERT, COMMAND_UPDATE };
struct command_head {
	enum command_verb verb;
	const char *prefix; /* in front of the collection's name, a few bytes */
	const char *collection;
	uint32_t max_time_ms;
	bool raw; /* {rawData: true} */
};

/*
 * Overwrites the buffer with everything in front of the elements of `documents` (insert) or `updates` (update); *array
 * is the offset of the array's length, for command_end. 0, -ENOMEM or -ENAMETOOLONG.
 */
int command_begin(struct command_buffer *command, const struct command_head *head, size_t *array);

/* Bytes that command_end writes; reserved by who writes the elements. */
#define COMMAND_TAIL 2u
void command_end(struct command_buffer *command, size_t array);

/* The next number in decimal text, counted in place: {.digits = "0", .length = 1} is the first. */
struct index_text {
	char digits[10];
	unsigned length;
};

static inline void index_next(struct index_text *x)
{
	unsigned i = x->length;

	while (i && x->digits[i - 1] == '9')
		x->digits[--i] = '0';
	if (i) {
		x->digits[i - 1]++;
	} else {
		memmove(x->digits + 1, x->digits, x->length++);
		x->digits[0] = '1';
	}
}

/* Type byte and name of an array's element; may touch 12 bytes. */
static inline uint8_t *put_index(uint8_t *w, uint8_t type, const struct index_text *x)
{
	*w++ = type;
	memcpy(w, x->digits, sizeof(x->digits));
	w += x->length;
	*w++ = 0;
	return w;
}

#endif
