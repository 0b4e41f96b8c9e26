/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What became of the guesses. A batch that is cut while nobody knows the day's collection has a guessed form, and is replayed in
 * the true one: as documents, or as buckets of some span and version. Whoever is killed in the midst of that may be followed by a
 * process with another storage, which would form other documents of the same packets and find none of them in the database. So the
 * form is decided once for each day, and written down before anything of it is sent.
 *
 * A file `decided` beside the segments: a line for each day, replaced as a whole. The next one has its room beforehand: where the disk
 * is full, what is in the spool goes out only behind a decision.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/ledger/journal.h"
#include "recorder/sink/spool_internal.h"

#define FILE_NAME "decided"
#define SPARE FILE_NAME ".new"
#define LINE_MOST 64u
#define FILE_BYTES (SPOOL_DECISIONS * LINE_MOST)

bool spool_storage_read(const char *text, struct sink_storage *storage)
{
	unsigned mode, span, form, raw;

	if (sscanf(text, "mode %u span %u form %u raw %u", &mode, &span, &form, &raw) != 4)
		return false;
	if (mode == JOURNAL_DOCUMENTS) {
		*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
		return true;
	}
	if (mode != JOURNAL_BUCKETS || !span || span > 3600 || (form != 2 && form != 3) || raw > 1)
		return false;
	*storage = (struct sink_storage){.mode = JOURNAL_BUCKETS, .span_s = (uint16_t)span, .form = (uint8_t)form, .raw = raw};
	return true;
}

int spool_storage_print(char *text, size_t size, const struct sink_storage *k)
{
	return snprintf(text, size, "mode %u span %u form %u raw %u\n", k->mode, k->span_s, k->form, k->raw);
}

static void read_lines(struct spool *s, char *text)
{
	char *rest;

	for (char *line = strtok_r(text, "\n", &rest); line && s->ndecided < SPOOL_DECISIONS; line = strtok_r(NULL, "\n", &rest)) {
		struct spool_decision *decision = &s->decided[s->ndecided];
		int behind = 0;

		if (sscanf(line, "day %" SCNu32 " %n", &decision->day, &behind) != 1 ||
		    !spool_storage_read(line + behind, &decision->storage)) {
			log_warn("spool %s: %s: '%.60s' is no decision: what it decided is decided again", s->name, FILE_NAME, line);
			continue;
		}
		s->ndecided++;
	}
}

static void make_spare(const struct spool *s)
{
	CLEANUP_CLOSE int fd = openat(s->dir, SPARE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		posix_fallocate(fd, 0, FILE_BYTES); /* no room now: then perhaps when it is needed */
}

void spool_decided_read(struct spool *s)
{
	CLEANUP_CLOSE int fd = openat(s->dir, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[FILE_BYTES + 1];
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	s->ndecided = 0;
	make_spare(s);
	if (n < 0 || (fd < 0 && errno != ENOENT))
		log_warn("spool %s: %s cannot be read: %s", s->name, FILE_NAME, strerror(errno));
	if (n <= 0)
		return;
	text[n] = '\0';
	read_lines(s, text);
}

const struct sink_storage *spool_decided(const struct spool *s, uint32_t day)
{
	for (unsigned i = 0; i < s->ndecided; i++)
		if (s->decided[i].day == day)
			return &s->decided[i].storage;
	return NULL;
}

static int write_all(const struct spool *s, const struct spool_decision *list, unsigned count)
{
	CLEANUP_CLOSE int fd = openat(s->dir, SPARE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[FILE_BYTES];
	size_t len = 0;
	ssize_t n;

	for (unsigned i = 0; i < count; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "day %" PRIu32 " ", list[i].day);
		len += (size_t)spool_storage_print(text + len, sizeof(text) - len, &list[i].storage);
	}
	if (fd < 0)
		return -errno;
	memset(text + len, '\n', sizeof(text) - len);
	n = pwrite(fd, text, sizeof(text), 0);
	if (n < 0)
		return -errno;
	if (n != sizeof(text))
		return -ENOSPC;
	if (fsync(fd) || renameat(s->dir, SPARE, s->dir, FILE_NAME) || fsync(s->dir))
		return -errno;
	make_spare(s);
	return 0;
}

int spool_decide(struct spool *s, uint32_t day, const struct sink_storage *storage)
{
	struct spool_decision list[SPOOL_DECISIONS];
	const unsigned from = s->ndecided == SPOOL_DECISIONS; /* the oldest goes */
	unsigned count = s->ndecided - from;
	int err;

	memcpy(list, s->decided + from, count * sizeof(list[0]));
	list[count++] = (struct spool_decision){.day = day, .storage = *storage};
	err = write_all(s, list, count);
	if (err)
		return err;
	memcpy(s->decided, list, count * sizeof(list[0]));
	s->ndecided = count;
	return 0;
}
