/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/sink/spool_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/core/write.h"
#include "recorder/sink/spool_store_internal.h"

#define SEGMENT_BYTES ((size_t)64 << 20)

/* ---- segments ---------------------------------------------------------------------------------------------------- */

static void segment_unlink(struct spool_store *s, struct segment *segment)
{
	char name[SPOOL_NAME], aside[SPOOL_NAME + 16];

	spool_name(name, segment->sequence);
	if (segment->damaged) {
		snprintf(aside, sizeof(aside), "%s.corrupt", name);
		if (renameat(s->dir, name, s->dir, aside))
			log_error("spool %s: %s cannot be renamed: %s", s->name, name, strerror(errno));
		else
			log_error("spool %s: %s is damaged and kept aside as %s; what could be read of it is stored",
				  s->name, name, aside);
		s->counts.aside++;
	} else if (unlinkat(s->dir, name, 0) && errno != ENOENT) {
		log_error("spool %s: %s cannot be removed: %s", s->name, name, strerror(errno));
	}
}

void segment_free(struct spool_store *s, struct segment *segment)
{
	struct segment **at = &s->first;

	while (*at && *at != segment)
		at = &(*at)->next;
	if (*at)
		*at = segment->next;
	s->last = NULL;
	for (struct segment *each = s->first; each; each = each->next)
		s->last = each;
	s->counts.bytes -= segment->written;
	s->counts.segments--;
	close(segment->fd);
	free(segment);
}

/* At the end of the list. Takes fd. NULL: no memory. */
struct segment *segment_add(struct spool_store *s, uint64_t sequence, int fd)
{
	struct segment *segment = calloc(1, sizeof(*segment));

	if (!segment) {
		close(fd);
		return NULL;
	}
	*segment = (struct segment){.sequence = sequence,
				    .fd = fd,
				    .done = sizeof(struct spool_segment),
				    .read = sizeof(struct spool_segment)};
	if (s->last)
		s->last->next = segment;
	else
		s->first = segment;
	s->last = segment;
	s->counts.segments++;
	if (sequence >= s->next_sequence)
		s->next_sequence = sequence + 1;
	return segment;
}

static int segment_create(struct spool_store *s)
{
	struct spool_segment head;
	char name[SPOOL_NAME];
	struct segment *segment;
	int fd, err = 0;

	spool_name(name, s->next_sequence);
	fd = openat(s->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	spool_segment_begin(&head, s->next_sequence, clock_wall_ns());
	errno = 0;
	if (pwrite(fd, &head, sizeof(head), 0) != sizeof(head) || fsync(fd) || fsync(s->dir))
		err = errno ? -errno : -ENOSPC;
	segment = err ? NULL : segment_add(s, s->next_sequence, fd);
	if (!segment) {
		if (err)
			close(fd);
		unlinkat(s->dir, name, 0);
		return err ? err : -ENOMEM;
	}
	segment->written = segment->synced = sizeof(head);
	s->counts.bytes += sizeof(head);
	s->writing = segment;
	return 0;
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

/* What may still be written. */
static uint64_t room_left(struct spool_store *s)
{
	uint64_t room = s->counts.bytes < s->most ? s->most - s->counts.bytes : 0, free_bytes;
	struct statvfs fs;

	if (fstatvfs(s->dir, &fs))
		return room;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	free_bytes = free_bytes > s->keep_free ? free_bytes - s->keep_free : 0;
	return room < free_bytes ? room : free_bytes;
}

/* ---- append ------------------------------------------------------------------------------------------------------ */

static void count_in(struct spool_store *s, const struct spool_head *head, int sign)
{
	s->counts.batches += (uint64_t)(sign * (head->type == SPOOL_BATCH));
	s->counts.packets += (uint64_t)(sign * (int64_t)head->packets);
	s->counts.documents += (uint64_t)(sign * (int64_t)head->documents);
}

/* What stands behind `to` is not kept: whoever waits for it is told. */
static void cut_back(struct spool_store *s, struct segment *segment, uint64_t to)
{
	s->counts.bytes -= segment->written - to;
	segment->written = to;
	if (ftruncate(segment->fd, (off_t)to))
		segment->full = true; /* what is there is no record that anybody counts on: not before a sound one */
}

/* Until all of the segment up to `end` is on the disk. The lock is held, but not while the disk works. */
static int sync_until(struct spool_store *s, struct segment *segment, uint64_t end)
{
	while (!segment->failed && segment->synced < end) {
		uint64_t target = segment->written;
		int err;

		if (segment->syncing) {
			pthread_cond_wait(&s->synced, &s->lock);
			continue;
		}
		segment->syncing = true;
		pthread_mutex_unlock(&s->lock);
		err = fdatasync(segment->fd) ? errno : 0;
		pthread_mutex_lock(&s->lock);
		segment->syncing = false;
		s->counts.syncs++;
		if (err) {
			/* The kernel may have dropped these pages: they are not believed, and nothing more goes into
			 * this file. */
			segment->failed = err;
			segment->full = true;
			cut_back(s, segment, segment->synced);
		} else {
			segment->synced = target;
		}
		pthread_cond_broadcast(&s->synced);
	}
	return segment->synced >= end ? 0 : -segment->failed;
}

/* The lock is held. */
static int append(struct spool_store *s, const struct spool_head *head, const uint8_t *bytes, size_t length)
{
	struct segment *segment = s->writing;
	uint64_t begin, end;
	int err = 0;

	if (room_left(s) < length + sizeof(struct spool_segment))
		return -ENOSPC;
	if (!segment || segment->full ||
	    (segment->written + length > s->segment_bytes && segment->written > sizeof(struct spool_segment)))
		err = segment_create(s);
	if (err)
		return err;
	segment = s->writing;
	begin = segment->written;
	end = begin + length;
	err = write_at(segment->fd, bytes, length, begin);
	if (err) {
		segment->written = end; /* as far as anybody knows */
		s->counts.bytes += length;
		cut_back(s, segment, begin);
		return err;
	}
	segment->written = end;
	s->counts.bytes += length;
	segment->users++;
	err = sync_until(s, segment, end);
	segment->users--;
	if (!err)
		count_in(s, head, 1);
	return err;
}

int spool_store_append(struct spool_store *s, const struct spool_head *what, uint8_t *bytes, size_t payload)
{
	struct spool_head head = *what;
	int err;

	if (payload > SPOOL_PAYLOAD_MAX)
		return -EFBIG;
	if (!head.packed)
		head.raw = (uint32_t)payload;
	spool_head_seal(&head, bytes + sizeof(head), (uint32_t)payload);
	memcpy(bytes, &head, sizeof(head));
	pthread_mutex_lock(&s->lock);
	err = append(s, &head, bytes, sizeof(head) + payload);
	s->counts.error = -err;
	s->counts.appended += !err;
	s->counts.appended_bytes += err ? 0 : sizeof(head) + payload;
	s->counts.refused += err != 0;
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool read_at(int fd, void *to, size_t length, uint64_t at)
{
	uint8_t *bytes = to;

	while (length) {
		ssize_t n = pread(fd, bytes, length, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		at += (uint64_t)n;
		length -= (size_t)n;
	}
	return true;
}

uint64_t segment_resync(const struct segment *segment, uint64_t from, uint64_t end)
{
	size_t length = (size_t)(end - from);
	CLEANUP_FREE uint8_t *bytes = malloc(length + 1);

	if (!bytes || !read_at(segment->fd, bytes, length, from))
		return end;
	return from + spool_resync(bytes, length, 0);
}

enum spool_found segment_look(const struct segment *segment, uint64_t at, uint64_t end, struct spool_head *head,
			      uint64_t *next)
{
	*next = end;
	if (at >= end)
		return SPOOL_FOUND_END;
	if (end - at < sizeof(*head))
		return SPOOL_FOUND_TORN;
	if (!read_at(segment->fd, head, sizeof(*head), at) || !spool_head_sound(head)) {
		*next = segment_resync(segment, at + 1, end);
		return SPOOL_FOUND_DAMAGED;
	}
	if (end - at - sizeof(*head) < head->length)
		return SPOOL_FOUND_TORN;
	*next = at + sizeof(*head) + head->length;
	return SPOOL_FOUND_RECORD;
}

/* 1: the payload is there and is what was written; 0: it is not; -ENOMEM. */
static int read_payload(const struct segment *segment, uint64_t at, const struct spool_head *head, uint8_t **payload)
{
	uint8_t *bytes = malloc(head->length + (size_t)1);

	if (!bytes)
		return -ENOMEM;
	if (read_at(segment->fd, bytes, head->length, at + sizeof(*head)) && spool_payload_sound(head, bytes)) {
		*payload = bytes;
		return 1;
	}
	free(bytes);
	return 0;
}

static void note_damage(struct spool_store *s, struct segment *segment, uint64_t at, const struct spool_head *head)
{
	char name[SPOOL_NAME], what[96] = "";

	pthread_mutex_lock(&s->lock);
	segment->damaged = true;
	s->counts.damaged++;
	pthread_mutex_unlock(&s->lock);
	if (head && head->type == SPOOL_BATCH)
		snprintf(what, sizeof(what), ": batch %llu of capture %02x%02x%02x%02x, %u packets",
			 (unsigned long long)head->number, head->capture[0], head->capture[1], head->capture[2],
			 head->capture[3], head->packets);
	log_error("spool %s: %s is damaged at byte %llu%s", s->name, spool_name(name, segment->sequence),
		  (unsigned long long)at, what);
}

/* The segment that the reader is in; those before it wait to be committed. The lock is held. */
static struct segment *reading(struct spool_store *s)
{
	for (struct segment *segment = s->first; segment; segment = segment->next)
		if (segment->read < segment->synced)
			return segment;
	return NULL;
}

int spool_store_next(struct spool_store *s, struct spool_record *record)
{
	struct segment *segment;
	struct spool_head head;
	enum spool_found found;
	uint64_t at, end, next;
	int got;

	memset(record, 0, sizeof(*record));
	pthread_mutex_lock(&s->lock);
	segment = reading(s);
	at = segment ? segment->read : 0;
	end = segment ? segment->synced : 0;
	pthread_mutex_unlock(&s->lock);
	if (!segment)
		return 0; /* only the reader takes segments away, so this one stays */
	found = segment_look(segment, at, end, &head, &next);
	if (found == SPOOL_FOUND_RECORD) {
		got = read_payload(segment, at, &head, &record->payload);
		if (got < 0)
			return got;
		if (!got)
			note_damage(s, segment, at, &head);
	} else {
		got = 0;
		note_damage(s, segment, at, NULL);
	}
	pthread_mutex_lock(&s->lock);
	segment->read = next;
	pthread_mutex_unlock(&s->lock);
	if (!got)
		return -EIO;
	record->head = head;
	record->inherited = segment->inherited;
	return 1;
}

static void keep_place(const struct segment *segment)
{
	if (pwrite(segment->fd, &segment->done, sizeof(segment->done), offsetof(struct spool_segment, done)) !=
	    sizeof(segment->done))
		log_debug("spool: the place is not kept: %s", strerror(errno)); /* read once more then */
}

/* Takes what lies between `done` and `read` out of the counts. */
static void count_out(struct spool_store *s, const struct segment *segment)
{
	struct spool_head head;
	uint64_t next;

	for (uint64_t at = segment->done; at < segment->read; at = next)
		if (segment_look(segment, at, segment->read, &head, &next) == SPOOL_FOUND_RECORD)
			count_in_locked(s, &head, -1);
}

void spool_store_rewind(struct spool_store *s)
{
	pthread_mutex_lock(&s->lock);
	for (struct segment *segment = s->first; segment; segment = segment->next)
		segment->read = segment->done;
	pthread_mutex_unlock(&s->lock);
}

/* The first segment with something handed out and not committed. */
static struct segment *uncommitted(struct spool_store *s)
{
	struct segment *segment;

	pthread_mutex_lock(&s->lock);
	segment = s->first;
	while (segment && segment->done == segment->read)
		segment = segment->next;
	pthread_mutex_unlock(&s->lock);
	return segment;
}

void spool_store_commit(struct spool_store *s)
{
	struct segment *segment, *next;

	while ((segment = uncommitted(s))) {
		count_out(s, segment);
		pthread_mutex_lock(&s->lock);
		segment->done = segment->read;
		pthread_mutex_unlock(&s->lock);
		keep_place(segment);
	}
	pthread_mutex_lock(&s->lock);
	for (segment = s->first; segment; segment = next) {
		next = segment->next;
		if (segment->done < segment->written || segment->users)
			continue;
		if (segment == s->writing)
			s->writing = NULL;
		segment_unlink(s, segment);
		segment_free(s, segment);
	}
	pthread_mutex_unlock(&s->lock);
}

bool spool_store_holds(struct spool_store *s, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number,
		       const uint8_t digest[DIGEST_LEN])
{
	for (const struct segment *segment = s->first; segment; segment = segment->next) {
		struct spool_head head;
		uint64_t next;

		for (uint64_t at = segment->done; at < segment->synced; at = next) {
			CLEANUP_FREE uint8_t *payload = NULL;

			if (segment_look(segment, at, segment->synced, &head, &next) != SPOOL_FOUND_RECORD ||
			    head.type != SPOOL_BATCH || head.number != number ||
			    memcmp(head.capture, capture, CAPTURE_ID_LEN) ||
			    memcmp(&head.digest, digest, sizeof(head.digest)))
				continue;
			if (read_payload(segment, at, &head, &payload) > 0)
				return true;
		}
	}
	return false;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void count_in_locked(struct spool_store *s, const struct spool_head *head, int sign)
{
	pthread_mutex_lock(&s->lock);
	count_in(s, head, sign);
	pthread_mutex_unlock(&s->lock);
}

void spool_store_counts(struct spool_store *s, struct spool_store_counts *counts)
{
	pthread_mutex_lock(&s->lock);
	*counts = s->counts;
	counts->room = room_left(s);
	pthread_mutex_unlock(&s->lock);
}

int spool_store_open(struct spool_store **out, const struct spool_store_options *options)
{
	struct spool_store *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->dir = options->dir;
	s->name = options->name;
	s->most = options->bytes;
	s->keep_free = options->keep_free;
	s->segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES;
	s->next_sequence = 1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->synced, NULL);
	err = spool_store_scan(s);
	if (err) {
		log_error("spool %s: %s", s->name, strerror(-err));
		s->dir = -1; /* still the caller's */
		spool_store_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void spool_store_close(struct spool_store *s)
{
	if (!s)
		return;
	while (s->first)
		segment_free(s, s->first);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->synced);
	if (s->dir >= 0)
		close(s->dir);
	free(s);
}
