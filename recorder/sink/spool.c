/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/sink/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"

#define PAUSE_LEAST_NS NS_PER_SEC
#define PAUSE_MOST_NS (30 * NS_PER_SEC)
#define FULL_AGAIN_NS (NS_PER_SEC / 4)
#define MOMENT_NS (NS_PER_SEC / 2)
#define NOTE "storage" /* beside the segments */

struct sink_job {
	struct batch *batch;
	struct sink_job *inner; /* NULL: not encoded yet */
	uint64_t since;		/* boot ns of the first write */
	bool sent;		/* the inner sink was called: parts of it may be there */
};

/* ---- which way --------------------------------------------------------------------------------------------------- */

static bool goes_directly(struct spool *s)
{
	bool direct;

	pthread_mutex_lock(&s->lock);
	direct = s->ready && (!s->away || (s->taken && clock_boot_ns() >= s->direct_from));
	pthread_mutex_unlock(&s->lock);
	return direct;
}

/* What becomes of a guess is settled where it is written down: when it is replayed. */
static bool batch_goes_directly(struct spool *s, const struct batch *batch)
{
	return !batch->assumed_span && goes_directly(s);
}

/* `tried`: the inner sink did not take a live batch. */
static void note_spooled(struct spool *s, bool tried)
{
	pthread_mutex_lock(&s->lock);
	s->kept = s->away = true;
	if (tried) {
		s->taken = false;
		s->pause_ns = s->pause_ns ? 2 * s->pause_ns : PAUSE_LEAST_NS;
		s->pause_ns = s->pause_ns > PAUSE_MOST_NS ? PAUSE_MOST_NS : s->pause_ns;
		s->direct_from = clock_boot_ns() + s->pause_ns;
	}
	pthread_mutex_unlock(&s->lock);
}

void spool_taken(struct spool *s)
{
	pthread_mutex_lock(&s->lock);
	s->taken = true;
	pthread_mutex_unlock(&s->lock);
}

/* Under the lock, so that nobody appends in between and then goes past what he appended. */
bool spool_emptied(struct spool *s)
{
	struct spool_store_counts counts;
	bool empty;

	pthread_mutex_lock(&s->lock);
	spool_store_counts(s->store, &counts);
	empty = !counts.batches && !counts.documents && !s->appending;
	if (empty) {
		s->kept = s->away = s->taken = false;
		s->pause_ns = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return empty;
}

/* From here on documents go behind what is appended now. */
static void append_begins(struct spool *s)
{
	pthread_mutex_lock(&s->lock);
	s->kept = true;
	s->appending++;
	pthread_mutex_unlock(&s->lock);
}

static int appended(struct spool *s, int err, struct sink_report *report)
{
	pthread_mutex_lock(&s->lock);
	s->appending--;
	pthread_mutex_unlock(&s->lock);
	s->full = err && err != -ECANCELED;
	if (!err) {
		report->spooled = true;
		return 0;
	}
	snprintf(report->problem, sizeof(report->problem), "spool %.100s: %s", s->name,
		 err == -ENOSPC ? "full" : strerror(-err));
	report->waiting = false;
	report->again_ns = clock_boot_ns() + FULL_AGAIN_NS;
	return err;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static int spool_encode(struct sink *sink, struct batch *batch, struct sink_job **out)
{
	struct spool *s = spool_of(sink);
	struct sink_job *job = calloc(1, sizeof(*job));
	int err = 0;

	if (!job)
		return -ENOMEM;
	job->batch = batch;
	batch->patience_ms = s->patience_ms;
	if (batch->open || batch_goes_directly(s, batch)) /* else most likely it need not be done at all, now */
		err = s->inner->encode(s->inner, batch, &job->inner);
	if (err)
		free(job);
	else
		*out = job;
	return err;
}

static void spool_job_free(struct sink *sink, struct sink_job *job)
{
	struct spool *s = spool_of(sink);

	if (job && job->inner)
		s->inner->job_free(s->inner, job->inner);
	free(job);
}

static enum sink_outcome keep(struct spool *s, struct sink_job *job, struct sink_report *report)
{
	struct batch *batch = job->batch;
	int err;

	if (batch->open) { /* it would be replaced, and a file is not: it is to be closed first */
		report->close = report->away = true;
		report->again_ns = clock_boot_ns();
		return SINK_AGAIN;
	}
	append_begins(s);
	err = spool_put_batch(s, batch, job->sent || batch->attempted || batch->there);
	if (appended(s, err, report))
		return err == -ECANCELED ? SINK_ENDED : SINK_AGAIN;
	note_spooled(s, job->sent);
	s->spooled_batches++;
	s->spooled_packets += batch->nrecords;
	return SINK_SETTLED;
}

/* Whether the inner sink is asked once more. A batch that is acknowledged and only waits to be believed has a moment
 * longer. */
static bool patient(struct spool *s, const struct sink_job *job, struct sink_report *report)
{
	uint64_t now = clock_boot_ns(), until = job->since + s->patience_ms * 1000000ull;

	if (report->waiting && report->again_ns < now + MOMENT_NS)
		until += MOMENT_NS;
	else if (s->hurry)
		return false;
	if (!goes_directly(s) || now >= until)
		return false;
	report->again_ns = report->again_ns < until ? report->again_ns : until;
	return true;
}

static enum sink_outcome spool_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	struct spool *s = spool_of(sink);
	enum sink_outcome outcome = SINK_AGAIN;

	memset(report, 0, sizeof(*report));
	if (s->cancelled)
		return SINK_ENDED;
	if (!job->since)
		job->since = clock_boot_ns();
	if (batch_goes_directly(s, job->batch) && !job->inner && s->inner->encode(s->inner, job->batch, &job->inner))
		job->inner = NULL; /* out of memory: to the disk then, which takes less */
	if (job->inner && batch_goes_directly(s, job->batch)) {
		outcome = s->inner->write(s->inner, job->inner, report);
		job->sent = true;
		if (outcome != SINK_AGAIN || report->close || patient(s, job, report))
			return outcome;
	}
	return keep(s, job, report);
}

/* ---- small documents --------------------------------------------------------------------------------------------- */

static bool behind(struct spool *s)
{
	bool is;

	pthread_mutex_lock(&s->lock);
	is = s->kept || !s->ready;
	pthread_mutex_unlock(&s->lock);
	return is;
}

static enum sink_outcome keep_documents(struct spool *s, const char *family, uint32_t day,
					const bson_t *const *documents, size_t count, const bson_value_t *from,
					const bson_value_t *to, struct sink_report *report)
{
	append_begins(s);
	return appended(s, spool_put_documents(s, family, day, documents, count, from, to), report) ? SINK_AGAIN
												    : SINK_SETTLED;
}

static enum sink_outcome spool_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
				   const bson_value_t *from, const bson_value_t *to, struct sink_report *report)
{
	struct spool *s = spool_of(sink);
	enum sink_outcome outcome;

	memset(report, 0, sizeof(*report));
	if (s->cancelled)
		return SINK_ENDED;
	if (!behind(s)) {
		outcome = s->inner->put(s->inner, family, day, document, from, to, report);
		if (outcome != SINK_AGAIN || report->waiting || report->refused)
			return outcome;
	}
	return keep_documents(s, family, day, &document, 1, from, to, report);
}

static enum sink_outcome spool_put_many(struct sink *sink, const char *family, uint32_t day,
					const bson_t *const *documents, size_t count, struct sink_report *report)
{
	struct spool *s = spool_of(sink);
	enum sink_outcome outcome;

	memset(report, 0, sizeof(*report));
	if (s->cancelled)
		return SINK_ENDED;
	if (!behind(s)) {
		outcome = s->inner->put_many(s->inner, family, day, documents, count, report);
		if (outcome != SINK_AGAIN || report->waiting || report->refused)
			return outcome;
	}
	for (size_t from = 0, n; from < count; from += n) {
		if (s->cancelled)
			return SINK_ENDED;
		n = count - from < SPOOL_DOCUMENTS ? count - from : SPOOL_DOCUMENTS;
		outcome = keep_documents(s, family, day, documents + from, n, NULL, NULL, report);
		if (outcome != SINK_SETTLED)
			return outcome;
	}
	return SINK_SETTLED;
}

static enum sink_outcome spool_prepare_days(struct sink *sink, uint32_t first, uint32_t last,
					    struct sink_report *report)
{
	struct spool *s = spool_of(sink);

	return s->inner->prepare_days(s->inner, first, last, report);
}

/* ---- storage ----------------------------------------------------------------------------------------------------- */

/*
 * While the database is away nothing stays open, and days whose collection nobody has seen have the span that the last
 * one had: a guess, which replaying corrects.
 */
static void spool_storage(struct sink *sink, uint32_t day, struct sink_storage *storage)
{
	struct spool *s = spool_of(sink);
	bool direct = goes_directly(s);

	*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
	if (s->inner->storage)
		s->inner->storage(s->inner, day, storage);
	if (direct)
		return;
	pthread_mutex_lock(&s->lock);
	if (storage->mode != JOURNAL_BUCKETS && s->known.mode == JOURNAL_BUCKETS) {
		*storage = s->known;
		storage->assumed = true;
	}
	pthread_mutex_unlock(&s->lock);
	storage->replace = false;
}

/* ---- the note of it ---- */

static void read_note(struct spool *s)
{
	CLEANUP_CLOSE int fd = openat(s->dir, NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[64] = "";

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		spool_storage_read(text, &s->known);
}

static void write_note(struct spool *s)
{
	CLEANUP_CLOSE int fd = openat(s->dir, NOTE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[64];
	int n = spool_storage_print(text, sizeof(text), &s->known);

	if (fd < 0 || write(fd, text, (size_t)n) != n || renameat(s->dir, NOTE ".new", s->dir, NOTE))
		log_warn("spool %s: the note of storage cannot be written: %s; a recorder that begins without its "
			 "database stores "
			 "documents",
			 s->name, strerror(errno));
}

void spool_sink_note_storage(struct sink *sink, uint32_t day)
{
	struct spool *s = spool_of(sink);
	struct sink_storage now = {.mode = JOURNAL_DOCUMENTS};

	if (s->inner->storage)
		s->inner->storage(s->inner, day, &now);
	now.replace = false;
	if (!memcmp(&now, &s->known, sizeof(now)))
		return;
	pthread_mutex_lock(&s->lock);
	s->known = now;
	pthread_mutex_unlock(&s->lock);
	write_note(s);
}

bool spool_sink_knows_storage(const struct sink *sink)
{
	return container_of(sink, const struct spool, sink)->known.mode;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void spool_sink_ready(struct sink *sink)
{
	struct spool *s = spool_of(sink);

	pthread_mutex_lock(&s->lock);
	s->ready = true;
	pthread_mutex_unlock(&s->lock);
}

void spool_sink_hurry(struct sink *sink, bool hurry)
{
	spool_of(sink)->hurry = hurry;
}

bool spool_sink_holds(struct sink *sink, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number,
		      const uint8_t digest[DIGEST_LEN])
{
	return spool_store_holds(spool_of(sink)->store, capture, number, digest);
}

void spool_sink_status(const struct sink *sink, struct spool_sink_status *status)
{
	struct spool *s = spool_of((struct sink *)(uintptr_t)sink);

	memset(status, 0, sizeof(*status));
	spool_store_counts(s->store, &status->store);
	pthread_mutex_lock(&s->lock);
	status->away = s->away || !s->ready;
	status->kept = s->kept;
	pthread_mutex_unlock(&s->lock);
	status->full = s->full;
	status->spooled_batches = s->spooled_batches;
	status->spooled_packets = s->spooled_packets;
	status->replayed_batches = s->replayed_batches;
	status->replayed_packets = s->replayed_packets;
	status->unreadable = s->unreadable;
}

static void spool_cancel(struct sink *sink)
{
	struct spool *s = spool_of(sink);

	s->cancelled = true;
	s->inner->cancel(s->inner);
}

static void spool_close(struct sink *sink)
{
	struct spool *s = spool_of(sink);

	spool_round_free(s);
	spool_scratch_free(s);
	turns_end(&s->packers);
	s->inner->close(s->inner);
	spool_store_close(s->store);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct sink *spool_sink_new(const struct spool_sink_options *options)
{
	struct spool *s = calloc(1, sizeof(*s));
	struct spool_store_options store = {.dir = options->dir,
					    .name = options->name,
					    .bytes = options->bytes,
					    .keep_free = options->keep_free,
					    .segment_bytes = options->segment_bytes};
	struct spool_store_counts counts;

	if (!s || spool_store_open(&s->store, &store)) {
		free(s);
		return NULL;
	}
	s->inner = options->inner;
	s->name = options->name;
	s->dir = options->dir;
	s->patience_ms = options->patience_ms ? options->patience_ms : SPOOL_PATIENCE_MS;
	pthread_mutex_init(&s->lock, NULL);
	turns_begin(&s->packers);
	spool_store_counts(s->store, &counts);
	s->kept = counts.batches || counts.documents;
	read_note(s);
	spool_decided_read(s);
	s->sink = (struct sink){
		.name = "spool",
		.encode = spool_encode,
		.storage = spool_storage,
		.write = spool_write,
		.job_free = spool_job_free,
		.put = spool_put,
		.put_many = spool_put_many,
		.prepare_days = spool_prepare_days,
		.cancel = spool_cancel,
		.close = spool_close,
	};
	return &s->sink;
}
