/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is sent for packets. Both kinds are encoded into the very bytes that go to the socket: a command is never put
 * together from pieces, but in the rare case that some of its buckets must not be sent again (thin_command).
 */
#include "recorder/sink/mongo_internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/encode/command.h"

/* ---- memory that is kept ------------------------------------------------------------------------------------- */

/* A megabyte that was just used is warm and mapped; a new one costs a page fault each 4 KiB. */
static struct command_buffer *buffer_take(struct mongo *m)
{
	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *buffer = atomic_exchange(&m->spare[i], NULL);
		if (buffer)
			return buffer;
	}
	return calloc(1, sizeof(struct command_buffer));
}

static void buffer_give(struct mongo *m, struct command_buffer *buffer)
{
	if (!buffer)
		return;
	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *none = NULL;
		if (atomic_compare_exchange_strong(&m->spare[i], &none, buffer))
			return;
	}
	command_buffer_free(buffer);
	free(buffer);
}

struct bucket_maker *maker_take(struct mongo *m)
{
	struct bucket_maker *maker = turns_take(&m->makers);

	if (!maker)
		maker = bucket_maker_new();
	if (!maker)
		turns_give(&m->makers, NULL);
	return maker;
}

void maker_give(struct mongo *m, struct bucket_maker *maker)
{
	if (maker)
		turns_give(&m->makers, maker);
}

void spare_free(struct mongo *m)
{
	for (unsigned i = 0; i < SPARE; i++) {
		struct command_buffer *buffer = m->spare[i];
		if (buffer)
			command_buffer_free(buffer);
		free(buffer);
	}
	for (struct bucket_maker *maker; (maker = turns_left(&m->makers));)
		bucket_maker_free(maker);
}

void drop_commands(struct mongo *m, struct sink_job *job)
{
	for (unsigned i = 0; i < job->count; i++) {
		buffer_give(m, job->commands[i].buffer);
		job->commands[i].buffer = NULL;
	}
	job->count = job->next = 0;
}

/* An empty command at the end of the list. NULL: no memory. */
static struct job_command *add_command(struct mongo *m, struct sink_job *job)
{
	struct job_command *command;

	if (job->count == job->room) {
		unsigned room = job->room ? 2 * job->room : 4;
		struct job_command *more = realloc(job->commands, room * sizeof(*more));
		if (!more)
			return NULL;
		job->commands = more;
		job->room = room;
	}
	command = &job->commands[job->count];
	*command = (struct job_command){.buffer = buffer_take(m)};
	if (!command->buffer)
		return NULL;
	job->count++;
	return command;
}

void name_batch(const struct batch *batch, char out[48])
{
	const uint8_t *c = batch->source->capture;

	snprintf(out, 48, "batch %llu of capture %02x%02x%02x%02x", (unsigned long long)batch->number, c[0], c[1], c[2],
		 c[3]);
}

/* ---- documents ----------------------------------------------------------------------------------------------- */

int make_documents(struct mongo *m, struct sink_job *job, const uint8_t *wanted)
{
	const struct batch *batch = job->batch;
	char collection[DAYS_NAME];
	uint32_t first = 0;
	int n = 0;

	days_collection(collection, "packets", batch->day);
	drop_commands(m, job);
	job->of_buckets = false;
	while (first < batch->nrecords) {
		uint32_t next = first;
		struct job_command *command = add_command(m, job);
		n = command ? document_command(command->buffer, collection, batch, job->ends, first,
					       batch->nrecords - first, wanted ? wanted + first : NULL,
					       m->command_bytes, DB_MAX_TIME_MS, &next)
			    : -ENOMEM;
		if (n < 0 || next <= first) {
			n = n < 0 ? n : -EINVAL;
			break;
		}
		command->count = (uint32_t)n;
		if (!n) /* the rest is not wanted */
			buffer_give(m, job->commands[--job->count].buffer);
		first = next;
	}
	if (n < 0)
		drop_commands(m, job);
	return n < 0 ? n : 0;
}

/* ---- buckets ------------------------------------------------------------------------------------------------- */

struct bucket_form job_form(const struct sink_job *job)
{
	const struct batch *batch = job->batch;

	return (struct bucket_form){
		.span_s = batch->span_s, .version = batch->form, .salt = batch->salt, .raw = batch->raw};
}

/* The array of a command's documents or updates. */
static bool command_items(const struct command_buffer *buffer, bson_t *command, bson_iter_t *items)
{
	bson_iter_t it;

	if (!bson_init_static(command, buffer->data, buffer->len) || !bson_iter_init(&it, command))
		return false;
	while (bson_iter_next(&it))
		if (BSON_ITER_HOLDS_ARRAY(&it))
			return bson_iter_recurse(&it, items);
	return false;
}

static bool inside(const bson_iter_t *it, bson_t *document)
{
	const uint8_t *data;
	uint32_t len;

	if (!BSON_ITER_HOLDS_DOCUMENT(it))
		return false;
	bson_iter_document(it, &len, &data);
	return bson_init_static(document, data, len);
}

/* The bucket of an item: itself, or the `u` of an update. */
static bool item_bucket(const bson_iter_t *item, bool update, bson_t *bucket)
{
	bson_t whole;
	bson_iter_t u;

	if (!update)
		return inside(item, bucket);
	return inside(item, &whole) && bson_iter_init_find(&u, &whole, "u") && inside(&u, bucket);
}

bool bucket_in_command(const struct sink_job *job, const struct job_bucket *bucket, bson_t *document)
{
	bson_iter_t items;
	bson_t command;

	if (!job->of_buckets || bucket->command >= job->count ||
	    !command_items(job->commands[bucket->command].buffer, &command, &items))
		return false;
	for (unsigned i = 0; bson_iter_next(&items); i++)
		if (i == bucket->index)
			return item_bucket(&items, job->update, document);
	return false;
}

int thin_command(struct sink_job *job, unsigned number)
{
	struct job_command *c = &job->commands[number];
	bson_t command, thin = BSON_INITIALIZER, array;
	bson_iter_t it, items;
	uint32_t kept = 0;

	if (!bson_init_static(&command, c->buffer->data, c->buffer->len) || !bson_iter_init(&it, &command))
		return -EINVAL;
	while (bson_iter_next(&it)) {
		if (!BSON_ITER_HOLDS_ARRAY(&it)) {
			bson_append_iter(&thin, NULL, -1, &it);
			continue;
		}
		bson_append_array_begin(&thin, bson_iter_key(&it), -1, &array);
		bson_iter_recurse(&it, &items);
		for (unsigned i = 0; bson_iter_next(&items); i++)
			for (uint32_t k = 0; k < job->nbuckets; k++) {
				struct job_bucket *b = &job->buckets[k];
				char text[16];
				const char *key;
				if (b->command != number || b->index != i || b->fate != FATE_SEND)
					continue;
				bson_uint32_to_string(kept, &key, text, sizeof(text));
				bson_append_iter(&array, key, -1, &items);
				b->index = (uint16_t)kept++; /* at most i: no other one is taken for it */
				break;
			}
		bson_append_array_end(&thin, &array);
	}
	if (c->buffer->cap < thin.len) { /* cannot be: it is the same without some of its items */
		bson_destroy(&thin);
		return -EINVAL;
	}
	memcpy(c->buffer->data, bson_get_data(&thin), thin.len);
	c->buffer->len = thin.len;
	c->count = kept;
	bson_destroy(&thin);
	return 0;
}

/* Decodes a bucket again. A wrong one is never sent: its packets become documents. */
static void self_check(struct mongo *m, struct sink_job *job, struct bucket_maker *maker, const bson_t *document,
		       uint32_t number)
{
	struct job_bucket *bucket = &job->buckets[number];
	struct bucket_problem problem;
	char name[48];

	if (!m->check_all && bucket->id[BUCKET_ID_LEN - 1] % CHECK_ONE_IN)
		return;
	m->checked++;
	if (!bucket_check(maker, document, number, &problem))
		return;
	m->check_failed++;
	bucket->fate = FATE_REFUSED;
	name_batch(job->batch, name);
	log_error("%s: bucket %u is not what it was made from: %s; its packets are written as documents", name, number,
		  problem.text);
}

/* Notes where the buckets [first, next) stand, and looks at them the first time. */
static int note_buckets(struct mongo *m, struct sink_job *job, struct bucket_maker *maker, uint32_t first,
			uint32_t next, bool fresh)
{
	unsigned number = job->count - 1;
	bson_iter_t items, id;
	bson_t command, document;

	if (!command_items(job->commands[number].buffer, &command, &items))
		return -EINVAL;
	for (uint32_t k = first; k < next; k++) {
		struct job_bucket *bucket = &job->buckets[k];
		if (!bson_iter_next(&items) || !item_bucket(&items, job->update, &document) ||
		    !bson_iter_init_find(&id, &document, "_id") || !BSON_ITER_HOLDS_OID(&id))
			return -EINVAL;
		memcpy(bucket->id, bson_iter_oid(&id)->bytes, BUCKET_ID_LEN);
		bucket->command = (uint16_t)number;
		bucket->index = (uint16_t)(k - first);
		bucket_positions(maker, k, &bucket->packets);
		if (m->spoil)
			m->spoil(job->batch, k, (uint8_t *)(uintptr_t)bson_get_data(&document), document.len);
		if (fresh)
			self_check(m, job, maker, &document, k);
	}
	job->commands[number].count = next - first;
	return 0;
}

static int fill_commands(struct mongo *m, struct sink_job *job, struct bucket_maker *maker, bool fresh)
{
	char collection[DAYS_NAME];
	int error = 0;

	days_collection(collection, "packets", job->batch->day);
	for (uint32_t first = 0, next; !error && first < job->nbuckets; first = next) {
		struct job_command *c = add_command(m, job);

		next = first + 1;
		if (!c)
			return -ENOMEM;
		error = job->update ? bucket_replace(maker, c->buffer, collection, DB_MAX_TIME_MS)
				    : bucket_command(maker, c->buffer, collection, first,
						     job->alone ? 1 : m->command_bytes, DB_MAX_TIME_MS, &next);
		error = error <= 0 || next <= first ? (error < 0 ? error : -EINVAL)
						    : note_buckets(m, job, maker, first, next, fresh);
	}
	return error;
}

int make_buckets(struct mongo *m, struct sink_job *job)
{
	struct bucket_form form = job_form(job);
	struct bucket_maker *maker = maker_take(m);
	bool fresh = !job->buckets;
	int n = maker ? bucket_plan(maker, job->batch, job->ends, &form) : -ENOMEM;
	int error = n < 0 ? n : 0;

	drop_commands(m, job);
	job->of_buckets = true;
	if (!error && fresh) {
		job->buckets = calloc((size_t)n + 1, sizeof(*job->buckets));
		job->nbuckets = (uint32_t)n;
		error = job->buckets ? 0 : -ENOMEM;
		/* Small batches are mostly open ones that are closed: a smaller version is there. */
		job->update |= job->batch->open || (n == 1 && m->storage & STORAGE_REPLACE);
	}
	if (!error && (uint32_t)n != job->nbuckets)
		error = -EINVAL;
	for (uint32_t k = 0; !error && k < job->nbuckets; k++)
		if (job->buckets[k].fate < FATE_REFUSED || job->buckets[k].fate == FATE_THERE)
			job->buckets[k].fate = FATE_SEND;
	if (!error)
		error = fill_commands(m, job, maker, fresh);
	maker_give(m, maker);
	if (error)
		drop_commands(m, job);
	return error;
}
