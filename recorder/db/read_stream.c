/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/read_stream.h"

#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/days.h"

/* A day's documents: a page of them, one behind the other, of which `at` is the next. */
struct source {
	uint32_t day;
	bool ended;
	uint8_t next[READ_ID_MOST]; /* _id of the next document; valid while not ended */
	uint8_t *page;
	size_t at, len, room;
	uint32_t left;	/* documents on the page from `at` on */
	bool full;	/* the page was full: more may come behind it */
	uint8_t last[READ_ID_MOST]; /* of the page */
};

struct read_stream {
	struct db_client *client;
	struct read_stream_options o;
	struct source *sources;
	size_t nsources;
	bool begun, no_memory;
	struct source *current;
	bson_t document;
};

static bool id_of(const bson_t *document, uint32_t len, uint8_t *id)
{
	const uint8_t *bytes;
	bson_subtype_t subtype;
	bson_iter_t it;
	uint32_t n;

	if (!bson_iter_init_find(&it, document, "_id") || !BSON_ITER_HOLDS_BINARY(&it))
		return false;
	bson_iter_binary(&it, &subtype, &n, &bytes);
	if (n != len)
		return false;
	memcpy(id, bytes, n);
	return true;
}

static void append_filter(bson_t *command, const uint8_t *from, bool behind, const uint8_t *to, uint32_t len, const bson_t *more)
{
	bson_t filter, range;

	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &filter);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
	BSON_APPEND_BINARY(&range, behind ? "$gt" : "$gte", BSON_SUBTYPE_BINARY, from, len);
	BSON_APPEND_BINARY(&range, "$lte", BSON_SUBTYPE_BINARY, to, len);
	bson_append_document_end(&filter, &range);
	if (more)
		bson_concat(&filter, more);
	bson_append_document_end(command, &filter);
}

static void append_rest(bson_t *command, int order, uint32_t limit, const bson_t *projection)
{
	bson_t sort, concern;

	BSON_APPEND_DOCUMENT_BEGIN(command, "sort", &sort);
	BSON_APPEND_INT32(&sort, "_id", order);
	bson_append_document_end(command, &sort);
	if (projection)
		BSON_APPEND_DOCUMENT(command, "projection", projection);
	BSON_APPEND_INT32(command, "limit", (int32_t)limit);
	BSON_APPEND_DOCUMENT_BEGIN(command, "readConcern", &concern);
	BSON_APPEND_UTF8(&concern, "level", "majority");
	bson_append_document_end(command, &concern);
	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
}

struct edge {
	uint8_t *id;
	uint32_t len;
};

static bool keep_edge(void *arg, const bson_t *document)
{
	struct edge *edge = arg;
	const uint8_t *bytes;
	bson_subtype_t subtype;
	bson_iter_t it;
	uint32_t n;

	if (!bson_iter_init_find(&it, document, "_id") || !BSON_ITER_HOLDS_BINARY(&it))
		return true;
	bson_iter_binary(&it, &subtype, &n, &bytes);
	if (n > READ_ID_MOST)
		return true;
	memcpy(edge->id, bytes, n);
	edge->len = n;
	return false;
}

enum db_result read_edge_id(struct db_client *client, const char *collection, const uint8_t *from, const uint8_t *to,
			    uint32_t len, bool greatest, const bson_t *filter, uint8_t id[READ_ID_MOST], uint32_t *found,
			    struct db_problem *problem)
{
	struct edge edge = {.id = id};
	bson_t command = BSON_INITIALIZER, only = BSON_INITIALIZER;
	enum db_result result;

	BSON_APPEND_INT32(&only, "_id", 1);
	BSON_APPEND_UTF8(&command, "find", collection);
	append_filter(&command, from, false, to, len, filter);
	append_rest(&command, greatest ? -1 : 1, 1, &only);
	result = db_each(client, NULL, &command, keep_edge, &edge, problem);
	bson_destroy(&command);
	bson_destroy(&only);
	*found = edge.len;
	return result;
}

struct filling {
	struct read_stream *stream;
	struct source *source;
	uint32_t met;
};

static bool keep_document(void *arg, const bson_t *document)
{
	struct filling *filling = arg;
	struct source *s = filling->source;
	uint8_t id[READ_ID_MOST];

	filling->met++;
	if (!id_of(document, filling->stream->o.id_len, id))
		return true;
	if (s->room - s->len < document->len) {
		size_t room = s->room ? s->room : 1 << 16;
		uint8_t *page;

		while (room - s->len < document->len)
			room *= 2;
		page = realloc(s->page, room);
		if (!page) {
			filling->stream->no_memory = true;
			return false;
		}
		s->page = page;
		s->room = room;
	}
	memcpy(s->page + s->len, bson_get_data(document), document->len);
	s->len += document->len;
	s->left++;
	memcpy(s->last, id, sizeof(id));
	return true;
}

/* The next document of a page, in place: a bson_t points into itself, and cannot be handed on by value. */
static uint32_t document_at(const struct source *s, bson_t *document)
{
	uint32_t len;

	memcpy(&len, s->page + s->at, sizeof(len));
	(void)bson_init_static(document, s->page + s->at, len); /* it was whole when it was copied */
	return len;
}

static void note_next(struct read_stream *stream, struct source *s)
{
	bson_t document;

	document_at(s, &document);
	id_of(&document, stream->o.id_len, s->next);
}

/* The page behind `last`; from `from` on to begin with. */
static enum db_result fill(struct read_stream *stream, struct source *s, bool begin, struct db_problem *problem)
{
	const struct read_stream_options *o = &stream->o;
	struct filling filling = {stream, s, 0};
	bson_t command = BSON_INITIALIZER;
	char name[DAYS_NAME];
	enum db_result result;

	BSON_APPEND_UTF8(&command, "find", days_collection(name, o->family, s->day));
	append_filter(&command, begin ? o->from : s->last, !begin, o->to, o->id_len, o->filter);
	append_rest(&command, 1, o->page, o->projection);
	s->at = s->len = 0;
	s->left = 0;
	result = db_each(stream->client, NULL, &command, keep_document, &filling, problem);
	bson_destroy(&command);
	if (result == DB_OK && stream->no_memory)
		return db_problem_set(problem, DB_LATER, "%s: out of memory", name);
	s->full = filling.met >= o->page;
	s->ended = !s->left;
	if (s->left)
		note_next(stream, s);
	return result;
}

/* Only the first _id of each day, so that days wait without a page. */
static enum db_result begin(struct read_stream *stream, struct db_problem *problem)
{
	const struct read_stream_options *o = &stream->o;
	enum db_result result = DB_OK;

	stream->begun = true;
	for (size_t i = 0; result == DB_OK && i < o->ndays; i++) {
		struct source *s = &stream->sources[stream->nsources];
		uint8_t id[READ_ID_MOST];
		char name[DAYS_NAME];
		uint32_t len;

		result = read_edge_id(stream->client, days_collection(name, o->family, o->days[i]), o->from, o->to, o->id_len,
				      false, o->filter, id, &len, problem);
		if (result != DB_OK || len != o->id_len)
			continue;
		*s = (struct source){.day = o->days[i]};
		memcpy(s->next, id, sizeof(id));
		stream->nsources++;
	}
	return result;
}

static enum db_result step(struct read_stream *stream, struct source *s, struct db_problem *problem)
{
	bson_t document;

	s->at += document_at(s, &document);
	if (--s->left) {
		note_next(stream, s);
		return DB_OK;
	}
	if (s->full)
		return fill(stream, s, false, problem);
	s->ended = true;
	free(s->page);
	s->page = NULL;
	s->room = 0;
	return DB_OK;
}

struct read_stream *read_stream_open(struct db_client *client, const struct read_stream_options *options)
{
	struct read_stream *stream = NEW(struct read_stream, 1);

	if (!stream)
		return NULL;
	stream->client = client;
	stream->o = *options;
	stream->o.filter = options->filter ? bson_copy(options->filter) : NULL;
	stream->o.projection = options->projection ? bson_copy(options->projection) : NULL;
	stream->sources = calloc(options->ndays + 1, sizeof(*stream->sources));
	if (!stream->sources) {
		read_stream_close(stream);
		return NULL;
	}
	return stream;
}

enum db_result read_stream_next(struct read_stream *stream, const bson_t **document, uint32_t *day,
				struct db_problem *problem)
{
	enum db_result result = DB_OK;
	struct source *next = NULL;

	*document = NULL;
	if (!stream->begun)
		result = begin(stream, problem);
	else if (stream->current)
		result = step(stream, stream->current, problem);
	stream->current = NULL;
	if (result != DB_OK)
		return result;
	for (size_t i = 0; i < stream->nsources; i++) {
		struct source *s = &stream->sources[i];

		if (!s->ended && (!next || memcmp(s->next, next->next, stream->o.id_len) < 0))
			next = s;
	}
	if (!next)
		return DB_OK;
	if (!next->page) {
		result = fill(stream, next, true, problem);
		if (result != DB_OK || next->ended) /* it went meanwhile: somebody deletes */
			return result != DB_OK ? result : db_problem_set(problem, DB_LATER, "%s_%u changes while it is read",
									 stream->o.family, next->day);
	}
	stream->current = next;
	document_at(next, &stream->document);
	*document = &stream->document;
	*day = next->day;
	return DB_OK;
}

void read_stream_close(struct read_stream *stream)
{
	if (!stream)
		return;
	for (size_t i = 0; i < stream->nsources; i++)
		free(stream->sources[i].page);
	bson_destroy((bson_t *)stream->o.filter);
	bson_destroy((bson_t *)stream->o.projection);
	free(stream->sources);
	free(stream);
}
