/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/sink/spool_file.h"

#include <stdio.h>
#include <string.h>

#include "recorder/core/crc32c.h"

#define HEAD_MAGIC 0x31707378u /* "xsp1" */
#define ENDING ".spool"

static const uint8_t segment_magic[8] = "xdpspool";

static uint32_t segment_crc(const struct spool_segment *s)
{
	uint32_t crc = crc32c(0, s->magic, sizeof(s->magic));

	crc = crc32c(crc, &s->version, sizeof(s->version));
	crc = crc32c(crc, &s->sequence, sizeof(s->sequence));
	return crc32c(crc, &s->created, sizeof(s->created));
}

void spool_segment_begin(struct spool_segment *segment, uint64_t sequence, int64_t created)
{
	*segment = (struct spool_segment){
		.version = SPOOL_VERSION, .sequence = sequence, .created = created, .done = sizeof(*segment)};
	memcpy(segment->magic, segment_magic, sizeof(segment_magic));
	segment->crc = segment_crc(segment);
}

bool spool_segment_sound(const struct spool_segment *segment)
{
	return !memcmp(segment->magic, segment_magic, sizeof(segment_magic)) && segment->version == SPOOL_VERSION &&
	       segment->crc == segment_crc(segment);
}

static uint32_t head_crc(const struct spool_head *head)
{
	return crc32c(0, head, offsetof(struct spool_head, head_crc));
}

void spool_head_seal(struct spool_head *head, const uint8_t *payload, uint32_t length)
{
	head->magic = HEAD_MAGIC;
	head->length = length;
	head->payload_crc = crc32c(0, payload, length);
	head->head_crc = head_crc(head);
}

bool spool_head_sound(const struct spool_head *head)
{
	return head->magic == HEAD_MAGIC && (head->type == SPOOL_BATCH || head->type == SPOOL_PUT) &&
	       head->packed <= 1 && head->length <= SPOOL_PAYLOAD_MAX && head->raw <= SPOOL_PAYLOAD_MAX &&
	       (head->packed || head->raw == head->length) && head->head_crc == head_crc(head);
}

bool spool_payload_sound(const struct spool_head *head, const uint8_t *payload)
{
	return crc32c(0, payload, head->length) == head->payload_crc;
}

size_t spool_resync(const uint8_t *bytes, size_t length, size_t at)
{
	static const uint8_t magic[4] = {HEAD_MAGIC & 255, HEAD_MAGIC >> 8 & 255, HEAD_MAGIC >> 16 & 255,
					 HEAD_MAGIC >> 24};

	while (at < length && length - at >= sizeof(struct spool_head)) {
		const uint8_t *found = memmem(bytes + at, length - at, magic, sizeof(magic));
		struct spool_head head;

		if (!found || length - (size_t)(found - bytes) < sizeof(head))
			return length;
		memcpy(&head, found, sizeof(head));
		if (spool_head_sound(&head))
			return (size_t)(found - bytes);
		at = (size_t)(found - bytes) + 1;
	}
	return length;
}

enum spool_found spool_look(const uint8_t *bytes, size_t length, size_t at, struct spool_head *head, size_t *next)
{
	size_t left = at < length ? length - at : 0;

	*next = length;
	if (!left)
		return SPOOL_FOUND_END;
	if (left < sizeof(*head))
		return SPOOL_FOUND_TORN;
	memcpy(head, bytes + at, sizeof(*head));
	if (!spool_head_sound(head)) {
		*next = spool_resync(bytes, length, at + 1);
		return SPOOL_FOUND_DAMAGED;
	}
	if (left - sizeof(*head) < head->length)
		return SPOOL_FOUND_TORN;
	*next = at + sizeof(*head) + head->length;
	return spool_payload_sound(head, bytes + at + sizeof(*head)) ? SPOOL_FOUND_RECORD : SPOOL_FOUND_DAMAGED;
}

char *spool_name(char out[SPOOL_NAME], uint64_t sequence)
{
	snprintf(out, SPOOL_NAME, "%016llx" ENDING, (unsigned long long)sequence);
	return out;
}

uint64_t spool_name_sequence(const char *name)
{
	uint64_t sequence = 0;

	if (strlen(name) != 16 + strlen(ENDING) || strcmp(name + 16, ENDING))
		return 0;
	for (unsigned i = 0; i < 16; i++) {
		char c = name[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return 0;
		sequence = sequence << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return sequence;
}
