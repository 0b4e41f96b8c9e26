/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a former process left in the spool's directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/sink/spool_store_internal.h"

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Sequences of all segments, ascending. */
static int list(int dir, uint64_t **sequences, size_t *count)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	int err = 0;

	*sequences = NULL;
	*count = 0;
	if (!stream) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((entry = readdir(stream))) {
		uint64_t sequence = spool_name_sequence(entry->d_name), *more;

		if (!sequence)
			continue;
		more = realloc(*sequences, (*count + 1) * sizeof(*more));
		if (!more) {
			err = -ENOMEM;
			break;
		}
		more[(*count)++] = sequence;
		*sequences = more;
	}
	closedir(stream);
	if (!err && *count)
		qsort(*sequences, *count, sizeof(**sequences), compare);
	return err;
}

/* No segment of ours: it is not read. */
static void keep_aside(struct spool_store *s, const char *name, const char *why)
{
	char aside[SPOOL_NAME + 16];

	snprintf(aside, sizeof(aside), "%s.corrupt", name);
	if (renameat(s->dir, name, s->dir, aside))
		log_error("spool %s: %s: %s, and cannot be renamed: %s", s->name, name, why, strerror(errno));
	else
		log_error("spool %s: %s: %s; it is kept aside as %s", s->name, name, why, aside);
	s->counts.aside++;
}

/* Counts what is in it, and cuts a torn end off. */
static int walk(struct spool_store *s, struct segment *segment, const char *name)
{
	struct spool_head head;
	uint64_t at = segment->done, next;

	for (; at < segment->written; at = next) {
		enum spool_found found = segment_look(segment, at, segment->written, &head, &next);

		if (found == SPOOL_FOUND_RECORD)
			count_in_locked(s, &head, 1);
		if (found != SPOOL_FOUND_TORN)
			continue; /* damage is passed by, and said, when it is read */
		log_warn("spool %s: %s ends in mid-record: %llu bytes, of which nobody was told that they are kept, "
			 "are cut off",
			 s->name, name, (unsigned long long)(segment->written - at));
		if (ftruncate(segment->fd, (off_t)at))
			return -errno;
		s->counts.bytes -= segment->written - at;
		s->counts.torn++;
		segment->written = at;
		break;
	}
	segment->synced = segment->written;
	return fdatasync(segment->fd) ? -errno : 0;
}

/* `done` must be where a record ends; else all of it is read once more. */
static uint64_t sound_done(const struct segment *segment, uint64_t done)
{
	struct spool_head head;
	uint64_t at = sizeof(struct spool_segment), next;

	while (at < done && at < segment->written &&
	       segment_look(segment, at, segment->written, &head, &next) != SPOOL_FOUND_TORN)
		at = next;
	return at == done ? done : sizeof(struct spool_segment);
}

static int take(struct spool_store *s, uint64_t sequence)
{
	struct spool_segment head = {0};
	struct segment *segment;
	char name[SPOOL_NAME];
	struct stat st;
	int fd;

	spool_name(name, sequence);
	if (sequence >= s->next_sequence)
		s->next_sequence = sequence + 1;
	fd = openat(s->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st)) {
		int err = -errno;

		log_error("spool %s: %s: %s", s->name, name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!S_ISREG(st.st_mode) || pread(fd, &head, sizeof(head), 0) != sizeof(head) || !spool_segment_sound(&head) ||
	    head.sequence != sequence) {
		close(fd);
		if (S_ISREG(st.st_mode) &&
		    (size_t)st.st_size < sizeof(head)) /* torn when it was made: nothing was ever in it */
			return unlinkat(s->dir, name, 0) ? -errno : 0;
		keep_aside(s, name, "it is no segment of this version's spool");
		return 0;
	}
	segment = segment_add(s, sequence, fd);
	if (!segment)
		return -ENOMEM;
	segment->written = (uint64_t)st.st_size;
	s->counts.bytes += segment->written;
	segment->done = segment->read = sound_done(segment, head.done);
	segment->inherited = true;
	segment->full = true; /* this process begins one of its own */
	return walk(s, segment, name);
}

int spool_store_scan(struct spool_store *s)
{
	uint64_t *sequences;
	size_t count;
	int err = list(s->dir, &sequences, &count);

	for (size_t i = 0; !err && i < count; i++)
		err = take(s, sequences[i]);
	free(sequences);
	return err;
}
