// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sink into a file or pipe.
 *
 * One writer at a time holds the lock; a batch goes out whole, or is cut off again. fdatasync is called without the lock, so that
 * the next batch is written meanwhile, and settles everything that was written before it began. If it fails, nobody knows
 * what of the pages since the last good one is on the disk (they count as clean then): the file goes back to that point and
 * what lay behind is written once more.
 *
 * Which batch is next: the loop encodes a batch before it writes any later one, so a batch may go when none of its capture with a lower
 * number is encoded and not written. One that is encoded anew, since the database wants it under another salt, leaves its number here
 * meanwhile.
 */
#include "recorder/sink/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/sink/file_internal.h"

#define EARLY_NS 1000000ull	   /* its predecessor is being written */
#define AGAIN_NS 1000000000ull	   /* the disk is full, or the like */
#define LOCK_NS (NS_PER_SEC / 5)   /* how long for who writes just now */

static void raise_flag(bool *f)
{
	__atomic_store_n(f, true, __ATOMIC_RELEASE);
}

struct file_capture *file_capture_of(struct file_sink *f, const uint8_t id[CAPTURE_ID_LEN])
{
	struct file_capture *list;

	for (unsigned i = 0; i < f->ncaptures; i++)
		if (!memcmp(f->captures[i].id, id, CAPTURE_ID_LEN))
			return &f->captures[i];
	list = reallocarray(f->captures, f->ncaptures + 1, sizeof(*list));
	if (!list)
		return NULL;
	f->captures = list;
	list += f->ncaptures++;
	*list = (struct file_capture){ .interface = FILE_NO_INTERFACE };
	memcpy(list->id, id, CAPTURE_ID_LEN);
	return list;
}

/* ---- what a writer is told ------------------------------------------------------------------------------------- */

static enum sink_outcome later(struct sink_report *report, uint64_t ns)
{
	report->again_ns = clock_boot_ns() + ns;
	report->waiting = true;
	return SINK_AGAIN;
}

static enum sink_outcome trouble(const struct file_sink *f, struct sink_report *report, const char *what, int err)
{
	report->again_ns = clock_boot_ns() + AGAIN_NS;
	report->waiting = false;
	snprintf(report->problem, sizeof(report->problem), "%.120s: %s: %s", f->name, what, strerror(err));
	return SINK_AGAIN;
}

/* ---- its turn, and durability --------------------------------------------------------------------------------------- */

/* Is it its turn? */
static bool early(struct file_sink *f, const struct sink_job *job)
{
	bool yes = f->current && f->current != job;

	pthread_mutex_lock(&f->list);
	for (const struct sink_job *other = f->jobs; other && !yes; other = other->next)
		yes = !other->written && other->number < job->number && !memcmp(other->capture, job->capture, CAPTURE_ID_LEN);
	pthread_mutex_unlock(&f->list);
	return yes;
}

static enum sink_outcome settle(struct file_sink *f, const struct sink_job *job, struct sink_report *report)
{
	enum sink_outcome outcome = SINK_SETTLED;
	uint64_t begin = clock_boot_ns(), end, cuts;
	int err = 0;

	pthread_mutex_lock(&f->lock);
	end = f->end;
	cuts = f->cuts;
	if (!f->regular || f->durable >= job->end)
		end = 0;
	pthread_mutex_unlock(&f->lock);
	if (!end)
		return SINK_SETTLED;
	if (fdatasync(f->fd))
		err = errno;
	pthread_mutex_lock(&f->lock);
	if (err && cuts == f->cuts)
		file_go_back(f);
	else if (!err && cuts == f->cuts && f->durable < end)
		f->durable = end;
	if (!job->written || f->durable < job->end)
		outcome = err ? trouble(f, report, "fdatasync", err) : later(report, EARLY_NS);
	f->full = err != 0;
	pthread_mutex_unlock(&f->lock);
	report->latency_ns = clock_boot_ns() - begin;
	return outcome;
}

/* ---- the sink's functions --------------------------------------------------------------------------------------- */

static void job_empty(struct sink_job *job)
{
	free(job->bytes);
	free(job->at);
	free(job->head);
	job->bytes = job->head = NULL;
	job->at = NULL;
}

static void job_destroy(struct sink_job *job)
{
	job_empty(job);
	free(job);
}

/* Out of the list, with its lock held. */
static void job_drop(struct file_sink *f, struct sink_job *job)
{
	struct sink_job **at = &f->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	job_destroy(job);
}

/* The job is in the place of one that was freed unwritten, if there is such; with the list's lock held. */
static void comes_again(struct file_sink *f, const struct sink_job *job)
{
	for (struct sink_job *former = f->jobs; former; former = former->next)
		if (former->freed && former->number == job->number && !memcmp(former->capture, job->capture, CAPTURE_ID_LEN)) {
			job_drop(f, former);
			return;
		}
}

static int file_encode_batch(struct sink *sink, struct batch *batch, struct sink_job **out)
{
	struct file_sink *f = file_sink_of(sink);
	struct sink_job *job;
	int err;

	if (batch->open) /* what is written cannot be written larger: it comes again, closed */
		return -EOPNOTSUPP;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	memcpy(job->capture, batch->source->capture, CAPTURE_ID_LEN);
	snprintf(job->iface, sizeof(job->iface), "%s", batch->source->iface);
	job->number = batch->number;
	err = file_encode(job, f->format, batch, __atomic_load_n(&f->ends, __ATOMIC_ACQUIRE));
	if (err) {
		job_destroy(job);
		return err;
	}
	pthread_mutex_lock(&f->list);
	comes_again(f, job);
	job->next = f->jobs;
	f->jobs = job;
	pthread_mutex_unlock(&f->list);
	*out = job;
	return 0;
}

static enum sink_outcome put_failed(struct file_sink *f, int err, struct sink_report *report)
{
	switch (err) {
	case -EPIPE:
		raise_flag(&f->gone);
		return SINK_SETTLED;
	case -ECANCELED:
		return SINK_ENDED;
	case -EAGAIN:
		trouble(f, report, "nobody reads it", EAGAIN);
		snprintf(report->problem, sizeof(report->problem), "%.120s: its reader does not read", f->name);
		report->again_ns = clock_boot_ns() + EARLY_NS;
		return SINK_AGAIN;
	case -ENOENT:
		f->full = true;
		trouble(f, report, "was removed", ENOENT);
		snprintf(report->problem, sizeof(report->problem), "%.120s: somebody removed it; stop, and record to another file", f->name);
		return SINK_AGAIN;
	case -ESTALE:
		f->full = true;
		trouble(f, report, "was cut", ESTALE);
		snprintf(report->problem, sizeof(report->problem), "%.120s: somebody cut it; stop, and record to another file", f->name);
		return SINK_AGAIN;
	default:
		f->full = true;
		return trouble(f, report, "cannot be written", -err);
	}
}

/* The lock, or false after LOCK_NS, whatever is done to the wall clock. */
static bool lock_in_time(struct file_sink *f)
{
#ifdef __SANITIZE_THREAD__ /* GCC 12's does not know pthread_mutex_clocklock, and takes the unlock for a fault */
	const clockid_t clock = CLOCK_REALTIME;
#else
	const clockid_t clock = CLOCK_MONOTONIC;
#endif
	struct timespec until;

	clock_gettime(clock, &until);
	until.tv_sec += (time_t)(LOCK_NS / NS_PER_SEC);
#ifdef __SANITIZE_THREAD__
	return !pthread_mutex_timedlock(&f->lock, &until);
#else
	return !pthread_mutex_clocklock(&f->lock, clock, &until);
#endif
}

static enum sink_outcome file_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	struct file_sink *f = file_sink_of(sink);
	enum sink_outcome outcome = SINK_SETTLED;
	int err = 0;

	if (!lock_in_time(f))
		return later(report, EARLY_NS);
	if (file_flag(&f->gone))
		job->written = true;
	else if (!job->written && file_flag(&f->cancelled))
		outcome = SINK_ENDED;
	else if (!job->written && f->regular && (err = file_look(f)))
		;
	else if (!job->written && early(f, job))
		outcome = later(report, EARLY_NS);
	else if (!job->written)
		err = file_put_job(f, job, report);
	if (err)
		outcome = put_failed(f, err, report);
	pthread_mutex_unlock(&f->lock);
	if (outcome != SINK_SETTLED || file_flag(&f->gone))
		return outcome;
	return settle(f, job, report);
}

static void file_job_free(struct sink *sink, struct sink_job *job)
{
	struct file_sink *f = file_sink_of(sink);

	pthread_mutex_lock(&f->list);
	if (f->current == job) /* it will never be whole: the process ends */
		f->current = NULL;
	if (job->written) {
		job_drop(f, job);
	} else { /* its number stays: nothing later may go before it has come again */
		job_empty(job);
		job->freed = true;
	}
	pthread_mutex_unlock(&f->list);
}

/* Balance, events and sensors are a database's. */
static enum sink_outcome file_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
				  const bson_value_t *drop_from, const bson_value_t *drop_to, struct sink_report *report)
{
	(void)sink, (void)family, (void)day, (void)document, (void)drop_from, (void)drop_to, (void)report;
	return SINK_SETTLED;
}

static enum sink_outcome file_put_many(struct sink *sink, const char *family, uint32_t day, const bson_t *const *documents,
				       size_t count, struct sink_report *report)
{
	(void)sink, (void)family, (void)day, (void)documents, (void)count, (void)report;
	return SINK_SETTLED;
}

static enum sink_outcome file_prepare_days(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report)
{
	(void)sink, (void)first, (void)last, (void)report;
	return SINK_SETTLED;
}

static void file_cancel(struct sink *sink)
{
	raise_flag(&file_sink_of(sink)->cancelled);
}

static void file_close(struct sink *sink)
{
	struct file_sink *f = file_sink_of(sink);

	if (f->fd >= 0)
		close(f->fd);
	while (f->jobs)
		job_drop(f, f->jobs);
	pthread_mutex_destroy(&f->lock);
	pthread_mutex_destroy(&f->list);
	free(f->captures);
	free(f->name);
	free(f->filter);
	free(f);
}

/* ---- beginning -------------------------------------------------------------------------------------------------- */

static int problem_of(const struct file_sink *f, struct file_problem *problem, const char *what)
{
	snprintf(problem->text, sizeof(problem->text), "%.120s: %s: %s", f->name, what, strerror(errno));
	return -1;
}

static int open_regular(struct file_sink *f, struct file_problem *problem)
{
	struct stat st;
	int mode = fcntl(f->fd, F_GETFL);

	if (mode < 0 || fstat(f->fd, &st))
		return problem_of(f, problem, "cannot be looked at");
	f->regular = S_ISREG(st.st_mode) && (mode & O_ACCMODE) == O_RDWR;
	f->named = st.st_nlink;
	if (!f->regular)
		return 0;
	if (flock(f->fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return problem_of(f, problem, "cannot be locked");
		snprintf(problem->text, sizeof(problem->text), "%.120s: another recorder writes it; name another file", f->name);
		return -1;
	}
	if (file_scan(f, (uint64_t)st.st_size, problem))
		return -1;
	if (f->end != (uint64_t)st.st_size && ftruncate(f->fd, (off_t)f->end))
		return problem_of(f, problem, "its torn end cannot be cut off");
	/* What a killed process wrote may still be nowhere but in memory. */
	if (f->end && fdatasync(f->fd))
		return problem_of(f, problem, "fdatasync");
	f->durable = f->end;
	return 0;
}

struct sink *file_sink_new(const struct file_sink_options *options, struct file_problem *problem)
{
	struct file_sink *f = calloc(1, sizeof(*f));

	if (!f) {
		snprintf(problem->text, sizeof(problem->text), "%.120s: no memory", options->name);
		close(options->fd);
		return NULL;
	}
	f->base = (struct sink){ .name = "file",
				 .encode = file_encode_batch,
				 .write = file_write,
				 .job_free = file_job_free,
				 .put = file_put,
				 .put_many = file_put_many,
				 .prepare_days = file_prepare_days,
				 .cancel = file_cancel,
				 .close = file_close };
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->list, NULL);
	f->fd = options->fd;
	f->format = options->format;
	f->ends = options->ends;
	f->name = strdup(strcmp(options->name, "-") ? options->name : "stdout");
	f->filter = options->filter ? strdup(options->filter) : NULL;
	if (!f->name || (options->filter && !f->filter)) {
		snprintf(problem->text, sizeof(problem->text), "%.120s: no memory", options->name);
	} else if (!open_regular(f, problem)) {
		return &f->base;
	}
	file_close(&f->base);
	return NULL;
}

void file_sink_set_ends(struct sink *sink, const struct ends_table *ends)
{
	__atomic_store_n(&file_sink_of(sink)->ends, ends, __ATOMIC_RELEASE);
}

bool file_sink_reader_gone(const struct sink *sink)
{
	return file_flag(&container_of(sink, const struct file_sink, base)->gone);
}

void file_sink_counts(struct sink *sink, struct file_sink_counts *counts)
{
	struct file_sink *f = file_sink_of(sink);

	/* The loop asks: it does not wait for a writer. */
	counts->bytes = f->end;
	counts->packets = f->packets;
	counts->full = f->full;
}
