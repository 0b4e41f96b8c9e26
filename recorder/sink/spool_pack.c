/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Batches and documents as records of the spool. zstd at its fastest: headers of the same conversations shrink to a
 * fraction. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "recorder/core/util.h"
#include "recorder/sink/spool_internal.h"

#define LEVEL 1
#define SMALL 256u /* not worth a frame */

/* ---- memory that is kept: what was just used is mapped, a new megabyte costs a page fault each 4 KiB ---- */

struct spool_scratch {
	ZSTD_CCtx *zstd;
	uint8_t *raw;
	size_t room;
};

static void scratch_free(struct spool_scratch *scratch)
{
	ZSTD_freeCCtx(scratch->zstd);
	free(scratch->raw);
	free(scratch);
}

static struct spool_scratch *scratch_new(void)
{
	struct spool_scratch *scratch = calloc(1, sizeof(*scratch));

	if (!scratch)
		return NULL;
	scratch->zstd = ZSTD_createCCtx();
	if (scratch->zstd)
		return scratch;
	free(scratch);
	return NULL;
}

static struct spool_scratch *scratch_take(struct spool *s)
{
	struct spool_scratch *scratch = turns_take(&s->packers);

	if (!scratch)
		scratch = scratch_new();
	if (!scratch)
		turns_give(&s->packers, NULL);
	return scratch;
}

static void scratch_give(struct spool *s, struct spool_scratch *scratch)
{
	if (scratch)
		turns_give(&s->packers, scratch);
}

void spool_scratch_free(struct spool *s)
{
	for (struct spool_scratch *scratch; (scratch = turns_left(&s->packers));)
		scratch_free(scratch);
}

static bool make_room(struct spool_scratch *scratch, size_t wanted)
{
	if (wanted <= scratch->room)
		return true;
	free(scratch->raw); /* what was in it is not needed */
	scratch->raw = malloc(wanted);
	scratch->room = scratch->raw ? wanted : 0;
	return scratch->raw;
}

/* ---- in ---- */

/* A record whose head is still to be written, and `used` bytes of payload behind it: to be freed. NULL: no memory. */
static uint8_t *pack(ZSTD_CCtx *zstd, struct spool_head *head, const uint8_t *raw, size_t length, size_t *used)
{
	size_t room = ZSTD_compressBound(length);
	uint8_t *record = malloc(sizeof(*head) + room), *payload = record + sizeof(*head);

	if (!record)
		return NULL;
	head->raw = (uint32_t)length;
	if (length >= SMALL) {
		*used = zstd ? ZSTD_compressCCtx(zstd, payload, room, raw, length, LEVEL)
			     : ZSTD_compress(payload, room, raw, length, LEVEL);
		head->packed = !ZSTD_isError(*used) && *used < length;
	}
	if (!head->packed) {
		*used = length;
		memcpy(payload, raw, length);
	}
	return record;
}

/* Takes the record; waits for the disk, with nothing in hand that others wait for. */
static int append(struct spool *s, struct spool_head *head, uint8_t *record, size_t used)
{
	int err = record ? spool_store_append(s->store, head, record, used) : -ENOMEM;

	free(record);
	return err;
}

int spool_put_batch(struct spool *s, const struct batch *batch, bool attempted)
{
	struct spool_head head = {.type = SPOOL_BATCH, .number = batch->number, .packets = batch->nrecords};
	size_t length = spool_batch_size(batch), used = 0;
	struct spool_scratch *scratch;
	struct batch kept = *batch;
	uint8_t *record = NULL;

	if (length > SPOOL_PAYLOAD_MAX)
		return -EFBIG;
	kept.attempted = attempted;
	memcpy(head.capture, batch->source->capture, CAPTURE_ID_LEN);
	memcpy(&head.digest, batch->digest, sizeof(head.digest));
	scratch = scratch_take(s);
	if (s->cancelled) { /* while it waited for its turn */
		scratch_give(s, scratch);
		return -ECANCELED;
	}
	if (scratch && make_room(scratch, length)) {
		spool_batch_pack(&kept, scratch->raw);
		record = pack(scratch->zstd, &head, scratch->raw, length, &used);
	}
	scratch_give(s, scratch);
	return append(s, &head, record, used);
}

int spool_put_documents(struct spool *s, const char *family, uint32_t day, const bson_t *const *documents, size_t count,
			const bson_value_t *from, const bson_value_t *to)
{
	struct spool_head head = {.type = SPOOL_PUT, .documents = (uint32_t)count};
	bson_t whole = BSON_INITIALIZER, list;
	uint8_t *record;
	size_t used = 0;
	int err = -EFBIG;

	BSON_APPEND_UTF8(&whole, "family", family);
	BSON_APPEND_INT32(&whole, "day", (int32_t)day);
	if (from && to) {
		BSON_APPEND_VALUE(&whole, "from", from);
		BSON_APPEND_VALUE(&whole, "to", to);
	}
	BSON_APPEND_ARRAY_BEGIN(&whole, "documents", &list);
	for (size_t i = 0; i < count; i++) {
		char text[16];
		const char *key;

		bson_uint32_to_string((uint32_t)i, &key, text, sizeof(text));
		BSON_APPEND_DOCUMENT(&list, key, documents[i]);
	}
	bson_append_array_end(&whole, &list);
	if (whole.len <= SPOOL_PAYLOAD_MAX) {
		record = pack(NULL, &head, bson_get_data(&whole), whole.len, &used);
		err = append(s, &head, record, used);
	}
	bson_destroy(&whole);
	return err;
}

/* ---- out ---- */

uint8_t *spool_unpack(const struct spool_head *head, uint8_t *payload, int *err)
{
	uint8_t *raw;
	size_t n;

	*err = 0;
	if (!head->packed)
		return payload;
	raw = malloc((size_t)head->raw + 1);
	n = raw ? ZSTD_decompress(raw, head->raw, payload, head->length) : 0;
	free(payload);
	*err = !raw ? -ENOMEM : ZSTD_isError(n) || n != head->raw ? -EBADMSG : 0;
	if (*err)
		free(raw);
	return *err ? NULL : raw;
}

/* A bson_t points into itself: they are made where they stay. */
static bool take_list(struct spool_documents *out, const bson_iter_t *array)
{
	bson_iter_t list;
	size_t count = 0;

	for (bson_iter_recurse(array, &list); bson_iter_next(&list);)
		count++;
	out->document = NEW(bson_t, count + 1);
	if (!out->document)
		return false;
	for (bson_iter_recurse(array, &list); bson_iter_next(&list); out->count++) {
		const uint8_t *data;
		uint32_t len;

		if (!BSON_ITER_HOLDS_DOCUMENT(&list))
			return false;
		bson_iter_document(&list, &len, &data);
		if (!bson_init_static(&out->document[out->count], data, len))
			return false;
	}
	return count > 0;
}

static const bson_value_t *value_of(const bson_t *whole, const char *name, bson_value_t *out)
{
	bson_iter_t it;

	if (!bson_iter_init_find(&it, whole, name) || !BSON_ITER_HOLDS_BINARY(&it))
		return NULL;
	*out = *bson_iter_value(&it); /* points into whole */
	return out;
}

int spool_documents_read(struct spool_documents *out, const uint8_t *bytes, size_t length)
{
	bson_iter_t it;
	bool sound;

	memset(out, 0, sizeof(*out));
	if (!bson_init_static(&out->whole, bytes, length) || !bson_validate(&out->whole, BSON_VALIDATE_NONE, NULL))
		return -EBADMSG;
	sound = bson_iter_init_find(&it, &out->whole, "family") && BSON_ITER_HOLDS_UTF8(&it);
	if (sound)
		out->family = bson_iter_utf8(&it, NULL);
	sound = sound && *out->family && strlen(out->family) < 16 && bson_iter_init_find(&it, &out->whole, "day") &&
		BSON_ITER_HOLDS_INT32(&it);
	if (sound)
		out->day = (uint32_t)bson_iter_int32(&it);
	out->drops = value_of(&out->whole, "from", &out->from) && value_of(&out->whole, "to", &out->to);
	sound = sound && bson_iter_init_find(&it, &out->whole, "documents") && BSON_ITER_HOLDS_ARRAY(&it) &&
		take_list(out, &it);
	if (sound)
		return 0;
	spool_documents_drop(out);
	return -EBADMSG;
}

void spool_documents_drop(struct spool_documents *documents)
{
	free(documents->document);
	documents->document = NULL;
	documents->count = 0;
}
