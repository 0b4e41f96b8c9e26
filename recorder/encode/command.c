/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/command.h"

#include "recorder/core/pages.h"

#define PREFIX_MAX 32u
#define HEAD_BOUND (192u + PREFIX_MAX + DOCUMENT_NAME_MAX)

void command_buffer_free(struct command_buffer *buffer)
{
	pages_resize(buffer->data, buffer->cap, 0);
	*buffer = (struct command_buffer){0};
}

int command_grow(struct command_buffer *c, size_t more)
{
	size_t cap = c->cap ? c->cap : 1 << 16;
	uint8_t *data;

	while (cap - c->len < more)
		cap *= 2;
	data = pages_resize(c->data, c->cap, cap);
	if (!data)
		return -ENOMEM;
	c->data = data;
	c->cap = cap;
	return 0;
}

static uint8_t *put_concern(uint8_t *w)
{
	uint8_t *concern;

	PUT_HEAD(w, "\x03", "writeConcern");
	concern = w;
	w += 4;
	PUT_HEAD(w, "\x02", "w");
	w = put_string(w, "majority", 8);
	PUT_HEAD(w, "\x08", "j");
	*w++ = 1;
	*w++ = 0;
	put32(concern, (uint32_t)(w - concern));
	return w;
}

int command_begin(struct command_buffer *c, const struct command_head *head, size_t *array)
{
	size_t prefix = strlen(head->prefix), name = strlen(head->collection);
	uint8_t *w;

	c->len = 0;
	if (prefix > PREFIX_MAX || name > DOCUMENT_NAME_MAX)
		return -ENAMETOOLONG;
	if (command_reserve(c, HEAD_BOUND) < 0)
		return -ENOMEM;
	w = c->data + 4;
	if (head->verb == COMMAND_UPDATE)
		PUT_HEAD(w, "\x02", "update");
	else
		PUT_HEAD(w, "\x02", "insert");
	w = put32(w, (uint32_t)(prefix + name) + 1);
	memcpy(w, head->prefix, prefix);
	memcpy(w + prefix, head->collection, name + 1);
	w += prefix + name + 1;
	PUT_HEAD(w, "\x08", "ordered");
	*w++ = 0;
	w = put_concern(w);
	PUT_HEAD(w, "\x10", "maxTimeMS");
	w = put32(w, head->max_time_ms);
	if (head->raw) {
		PUT_HEAD(w, "\x08", "rawData");
		*w++ = 1;
	}
	if (head->verb == COMMAND_UPDATE)
		PUT_HEAD(w, "\x04", "updates");
	else
		PUT_HEAD(w, "\x04", "documents");
	*array = (size_t)(w - c->data);
	c->len = *array + 4;
	return 0;
}

void command_end(struct command_buffer *c, size_t array)
{
	c->data[c->len++] = 0;
	put32(c->data + array, (uint32_t)(c->len - array));
	c->data[c->len++] = 0;
	put32(c->data, (uint32_t)c->len);
}
