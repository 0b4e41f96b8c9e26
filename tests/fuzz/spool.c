/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a file of the spool, as a batch and as small documents: nothing outside of them is read, the walk comes
 * to an end, and a batch that is read gives the same bytes back. Heads are sealed anew, so that the checksums do not
 * keep everything out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/sink/spool_internal.h"
#include "tests/fuzz/fuzz.h"

/* What spool_pack.c appends to; nothing is appended here. */
int spool_store_append(struct spool_store *store, const struct spool_head *head, uint8_t *bytes, size_t payload)
{
	(void)store;
	(void)head;
	(void)bytes;
	(void)payload;
	abort();
}

static void try_batch(const uint8_t *bytes, size_t size)
{
	struct spool_batch kept;
	uint8_t *again;

	if (spool_batch_unpack(&kept, bytes, size))
		return;
	MUST(spool_batch_size(&kept.batch) <= size + 7);
	again = malloc(spool_batch_size(&kept.batch));
	MUST(again);
	spool_batch_pack(&kept.batch, again);
	free(again);
	spool_batch_drop(&kept);
}

static void try_documents(const uint8_t *bytes, size_t size)
{
	struct spool_documents documents;

	if (spool_documents_read(&documents, bytes, size))
		return;
	for (size_t i = 0; i < documents.count; i++) {
		bson_iter_t it;

		MUST(bson_iter_init(&it, &documents.document[i]));
		while (bson_iter_next(&it))
			;
	}
	spool_documents_drop(&documents);
}

static void try_record(const struct spool_head *head, const uint8_t *payload)
{
	uint8_t *copy = malloc(head->length + (size_t)1), *raw;
	int err;

	MUST(copy);
	memcpy(copy, payload, head->length);
	raw = head->raw > 1 << 20 ? (free(copy), NULL) : spool_unpack(head, copy, &err);
	if (!raw)
		return;
	if (head->type == SPOOL_BATCH)
		try_batch(raw, head->raw);
	else
		try_documents(raw, head->raw);
	free(raw);
}

static void walk(const uint8_t *bytes, size_t size)
{
	struct spool_head head;
	size_t at = 0, next;

	for (;;) {
		enum spool_found found = spool_look(bytes, size, at, &head, &next);

		MUST(next <= size);
		if (found == SPOOL_FOUND_END || found == SPOOL_FOUND_TORN)
			return;
		MUST(next > at);
		if (found == SPOOL_FOUND_RECORD)
			try_record(&head, bytes + at + sizeof(head));
		at = next;
	}
}

/* As if whoever wrote the bytes had written the checksums, too. */
static void seal_all(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + sizeof(struct spool_head) <= size;) {
		struct spool_head head;
		size_t left = size - at - sizeof(head);

		memcpy(&head, bytes + at, sizeof(head));
		head.type = 1 + head.type % 2;
		head.packed %= 2;
		head.length = (uint32_t)(head.length % (left + 1));
		head.raw = head.packed ? head.raw % (1 << 20) : head.length;
		spool_head_seal(&head, bytes + at + sizeof(head), head.length);
		memcpy(bytes + at, &head, sizeof(head));
		at += sizeof(head) + head.length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	MUST(copy);
	memcpy(copy, data, size);
	walk(copy, size);
	try_batch(copy, size);
	try_documents(copy, size);
	seal_all(copy, size);
	walk(copy, size);
	free(copy);
	return 0;
}
