/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/sink/spool_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

enum { FLAG_RAW = 1, FLAG_ATTEMPTED = 2, FLAG_FOREIGN = 4, FLAG_ASSUMED = 8 };

/* Behind it: ranges, seconds, the two names, zeros up to 8, records. */
struct packed {
	uint8_t capture[CAPTURE_ID_LEN];
	uint64_t number;
	uint32_t day;
	uint16_t mode, version, span_s;
	uint8_t form, salt;
	uint8_t flags;
	uint8_t zero[3];
	uint32_t cpus, reserved;
	uint64_t pair_boot;
	int64_t pair_wall;
	uint64_t bytes, first_boot, last_boot;
	uint32_t nranges, nseconds, nrecords;
	uint16_t sensor_len, iface_len;
	uint8_t digest[DIGEST_LEN], previous[DIGEST_LEN];
};
_Static_assert(sizeof(struct packed) == 168 && !(sizeof(struct packed) % 8),
	       "no padding, and what is behind it is aligned");
/* Records are kept as they are: a change of these is a new SPOOL_VERSION. */
_Static_assert(sizeof(struct rec_head) == 32 && sizeof(struct batch_range) == 24 && sizeof(struct batch_second) == 24,
	       "as in the spools of earlier versions");

static size_t rounded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static size_t name_len(const char *name)
{
	return strnlen(name, UINT16_MAX);
}

static size_t front_size(const struct batch *b)
{
	return sizeof(struct packed) + b->nranges * sizeof(*b->ranges) + b->nseconds * sizeof(*b->seconds) +
	       rounded(name_len(b->source->sensor) + name_len(b->source->iface));
}

size_t spool_batch_size(const struct batch *batch)
{
	size_t size = front_size(batch);

	for (uint32_t i = 0; i < batch->nrecords; i++)
		size += REC_RECORD_LEN(batch->records[i]->cap_len);
	return size;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
	memcpy(at, bytes, n);
	return at + n;
}

void spool_batch_pack(const struct batch *b, uint8_t *out)
{
	struct packed head = {
		.number = b->number,
		.day = b->day,
		.mode = b->mode,
		.version = b->version,
		.span_s = b->span_s,
		.form = b->form,
		.salt = b->salt,
		.flags = (uint8_t)((b->raw ? FLAG_RAW : 0) | (b->attempted ? FLAG_ATTEMPTED : 0) |
				   (b->foreign ? FLAG_FOREIGN : 0) | (b->assumed_span ? FLAG_ASSUMED : 0)),
		.cpus = b->source->cpus,
		.pair_boot = b->pair.boot,
		.pair_wall = b->pair.wall,
		.bytes = b->bytes,
		.first_boot = b->first_boot,
		.last_boot = b->last_boot,
		.nranges = b->nranges,
		.nseconds = b->nseconds,
		.nrecords = b->nrecords,
		.sensor_len = (uint16_t)name_len(b->source->sensor),
		.iface_len = (uint16_t)name_len(b->source->iface),
	};
	uint8_t *at = out, *records = out + front_size(b);

	memcpy(head.capture, b->source->capture, CAPTURE_ID_LEN);
	memcpy(head.digest, b->digest, DIGEST_LEN);
	memcpy(head.previous, b->previous, DIGEST_LEN);
	at = put(at, &head, sizeof(head));
	at = put(at, b->ranges, b->nranges * sizeof(*b->ranges));
	at = put(at, b->seconds, b->nseconds * sizeof(*b->seconds));
	at = put(at, b->source->sensor, head.sensor_len);
	at = put(at, b->source->iface, head.iface_len);
	memset(at, 0, (size_t)(records - at));
	at = records;
	for (uint32_t i = 0; i < b->nrecords; i++) {
		const struct rec_head *r = b->records[i];
		size_t whole = REC_RECORD_LEN(r->cap_len), used = sizeof(*r) + r->cap_len;

		at = put(at, r, used); /* behind it the ring has anything */
		memset(at, 0, whole - used);
		at += whole - used;
	}
}

/* Reads `n` items of `size` at *at. NULL: no memory, or (errno EBADMSG) they are not there. */
static void *take(const uint8_t *bytes, size_t length, size_t *at, size_t n, size_t size)
{
	void *copy;

	if (n > (length - *at) / size) {
		errno = EBADMSG;
		return NULL;
	}
	copy = malloc(n * size + 1);
	if (copy) {
		memcpy(copy, bytes + *at, n * size);
		*at += n * size;
	}
	return copy;
}

static int take_names(struct spool_batch *out, const struct packed *head, const uint8_t *bytes, size_t length,
		      size_t *at)
{
	size_t sensor = head->sensor_len, iface = head->iface_len;

	if (rounded(sensor + iface) > length - *at)
		return -EBADMSG;
	out->names = malloc(sensor + iface + 2);
	if (!out->names)
		return -ENOMEM;
	memcpy(out->names, bytes + *at, sensor);
	out->names[sensor] = '\0';
	memcpy(out->names + sensor + 1, bytes + *at + sensor, iface);
	out->names[sensor + 1 + iface] = '\0';
	out->source.sensor = out->names;
	out->source.iface = out->names + sensor + 1;
	*at += rounded(sensor + iface);
	return 0;
}

static int take_records(struct batch *batch, uint32_t n, const uint8_t *bytes, size_t length, size_t at)
{
	if (n > (length - at) / sizeof(struct rec_head))
		return -EBADMSG;
	batch->records = malloc(((size_t)n + 1) * sizeof(*batch->records));
	if (!batch->records)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct rec_head *r = (const struct rec_head *)(bytes + at);

		if (length - at < sizeof(*r) || r->cap_len > REC_CAP_MAX || REC_RECORD_LEN(r->cap_len) > length - at ||
		    r->side >= REC_SIDES)
			return -EBADMSG;
		batch->records[i] = r;
		at += REC_RECORD_LEN(r->cap_len);
	}
	batch->nrecords = n;
	return at == length ? 0 : -EBADMSG;
}

static void fill(struct spool_batch *out, const struct packed *head)
{
	memcpy(out->source.capture, head->capture, CAPTURE_ID_LEN);
	out->source.cpus = head->cpus;
	out->batch = (struct batch){
		.source = &out->source,
		.number = head->number,
		.day = head->day,
		.mode = head->mode,
		.version = head->version,
		.span_s = head->span_s,
		.form = head->form,
		.salt = head->salt,
		.raw = head->flags & FLAG_RAW,
		.attempted = !!(head->flags & FLAG_ATTEMPTED),
		.foreign = head->flags & FLAG_FOREIGN,
		.assumed_span = head->flags & FLAG_ASSUMED,
		.pair = {.boot = head->pair_boot, .wall = head->pair_wall},
		.bytes = head->bytes,
		.first_boot = head->first_boot,
		.last_boot = head->last_boot,
	};
	memcpy(out->batch.digest, head->digest, DIGEST_LEN);
	memcpy(out->batch.previous, head->previous, DIGEST_LEN);
}

int spool_batch_unpack(struct spool_batch *out, const uint8_t *bytes, size_t length)
{
	struct packed head;
	size_t at = sizeof(head);
	int err;

	memset(out, 0, sizeof(*out));
	if (length < sizeof(head))
		return -EBADMSG;
	memcpy(&head, bytes, sizeof(head));
	fill(out, &head);
	errno = ENOMEM;
	out->batch.ranges = take(bytes, length, &at, head.nranges, sizeof(struct batch_range));
	if (out->batch.ranges)
		out->batch.seconds = take(bytes, length, &at, head.nseconds, sizeof(struct batch_second));
	err = out->batch.seconds ? take_names(out, &head, bytes, length, &at) : -errno;
	if (!err)
		err = take_records(&out->batch, head.nrecords, bytes, length, at);
	if (err) {
		spool_batch_drop(out);
		return err;
	}
	out->batch.nranges = head.nranges;
	out->batch.nseconds = head.nseconds;
	return 0;
}

void spool_batch_drop(struct spool_batch *out)
{
	free(out->batch.ranges);
	free(out->batch.seconds);
	free(out->batch.records);
	free(out->names);
	memset(out, 0, sizeof(*out));
}
