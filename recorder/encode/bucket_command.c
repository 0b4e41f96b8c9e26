/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_command.c - buckets straight into the command that is sent. What control says is known when the columns are
 * written, and it stands in front of them: they are written behind room enough and moved up, 25 bytes a packet within
 * the first caches.
 */
#include "recorder/encode/bucket_internal.h"

int64_t bucket_put(struct bucket_maker *m, struct command_buffer *c, size_t behind, size_t more, uint32_t bucket)
{
	uint8_t id[BUCKET_ID_LEN], *start, *columns, *end, *data;
	size_t head, length;
	int r = bucket_id(id, m->batch, &m->form, bucket);

	if (r < 0)
		return r;
	gather_bucket(m, bucket);
	hosts_sort(m);
	head = bucket_head_bound(m);
	if (command_reserve(c, behind + head + gather_bound(m) + more) < 0)
		return -ENOMEM;
	start = c->data + c->len + behind;
	columns = start + head;
	end = gather_columns(m, columns);
	data = bucket_head(m, start + 4, id);
	length = (size_t)(end - columns);
	memmove(data + 4, columns, length);
	end = data + 4 + length;
	*end++ = 0;
	put32(data, (uint32_t)(end - data));
	*end++ = 0;
	put32(start, (uint32_t)(end - start));
	return end - start;
}

static struct command_head command_head(const struct bucket_maker *m, enum command_verb verb, const char *collection,
					uint32_t max_time_ms)
{
	return (struct command_head){verb, m->form.raw ? "" : "system.buckets.", collection, max_time_ms, m->form.raw};
}

/* A bucket that did not fit in this command is the first of the next one: it is not made twice. */
static void keep(struct bucket_maker *m, const uint8_t *bytes, size_t length, uint32_t bucket)
{
	m->kept.len = 0;
	m->kept_bucket = UINT32_MAX;
	if (command_reserve(&m->kept, length) < 0)
		return; /* then it is made again */
	memcpy(m->kept.data, bytes, length);
	m->kept.len = length;
	m->kept_bucket = bucket;
}

/* As bucket_put. */
static int64_t put_kept(struct bucket_maker *m, struct command_buffer *c, size_t behind, size_t more, uint32_t bucket)
{
	if (m->kept_bucket != bucket)
		return bucket_put(m, c, behind, more, bucket);
	if (command_reserve(c, behind + m->kept.len + more) < 0)
		return -ENOMEM;
	memcpy(c->data + c->len + behind, m->kept.data, m->kept.len);
	return (int64_t)m->kept.len;
}

int bucket_command(struct bucket_maker *m, struct command_buffer *c, const char *collection, uint32_t first,
		   size_t max_bytes, uint32_t max_time_ms, uint32_t *next)
{
	const struct command_head head = command_head(m, COMMAND_INSERT, collection, max_time_ms);
	struct index_text index = {.digits = "0", .length = 1};
	uint32_t i;
	size_t array;
	int r = command_begin(c, &head, &array);

	if (r < 0)
		return r;
	for (i = first; i < m->buckets; i++) {
		size_t name = 2 + index.length;
		int64_t length = put_kept(m, c, name, COMMAND_TAIL + sizeof(index.digits), i);

		if (length < 0)
			return (int)length;
		if (i > first && c->len + name + (size_t)length + COMMAND_TAIL > max_bytes) {
			keep(m, c->data + c->len + name, (size_t)length, i);
			break;
		}
		c->data[c->len] = BSON_TYPE_DOCUMENT;
		memcpy(c->data + c->len + 1, index.digits, index.length);
		c->data[c->len + 1 + index.length] = 0;
		c->len += name + (size_t)length;
		index_next(&index);
	}
	command_end(c, array);
	*next = i;
	return (int)(i - first);
}

/* Up to the length of `u`'s document: {q: {_id, "control.count": {$lt: n}}, u: */
static uint8_t *put_update(uint8_t *w, const uint8_t id[BUCKET_ID_LEN], uint32_t count)
{
	uint8_t *q, *less;

	PUT_HEAD(w, "\x03", "q");
	q = w;
	w += 4;
	PUT_HEAD(w, "\x07", "_id");
	memcpy(w, id, BUCKET_ID_LEN);
	w += BUCKET_ID_LEN;
	PUT_HEAD(w, "\x03", "control.count");
	less = w;
	w += 4;
	PUT_HEAD(w, "\x10", "$lt");
	w = put32(w, count);
	*w++ = 0;
	put32(less, (uint32_t)(w - less));
	*w++ = 0;
	put32(q, (uint32_t)(w - q));
	PUT_HEAD(w, "\x03", "u");
	return w;
}

int bucket_replace(struct bucket_maker *m, struct command_buffer *c, const char *collection, uint32_t max_time_ms)
{
	const struct command_head head = command_head(m, COMMAND_UPDATE, collection, max_time_ms);
	uint8_t id[BUCKET_ID_LEN], *w, *update;
	size_t array, start;
	int64_t length;
	int r;

	if (m->buckets != 1)
		return -EINVAL;
	r = bucket_id(id, m->batch, &m->form, 0);
	if (r == 0)
		r = command_begin(c, &head, &array);
	if (r == 0)
		r = command_reserve(c, 128);
	if (r < 0)
		return r;
	w = c->data + c->len;
	PUT_HEAD(w, "\x03", "0");
	start = (size_t)(w - c->data);
	w = put_update(w + 4, id, m->flow.rows);
	c->len = (size_t)(w - c->data);
	length = bucket_put(m, c, 0, 16 + COMMAND_TAIL, 0);
	if (length < 0)
		return (int)length;
	w = c->data + c->len + length;
	PUT_HEAD(w, "\x08", "upsert");
	*w++ = 1;
	*w++ = 0;
	update = c->data + start;
	put32(update, (uint32_t)(w - update));
	c->len = (size_t)(w - c->data);
	command_end(c, array);
	return 1;
}

int bucket_encode(struct bucket_maker *m, bson_t *to, uint32_t bucket)
{
	bson_t document;
	int64_t length;

	m->one.len = 0;
	length = bucket_put(m, &m->one, 0, 0, bucket);
	if (length < 0)
		return (int)length;
	if (!bson_init_static(&document, m->one.data, (size_t)length) || !bson_concat(to, &document))
		return -ENOMEM;
	return 0;
}
