// SPDX-License-Identifier: GPL-2.0-or-later
/* Two sinks as one: see tee.h. */
#include "recorder/sink/tee.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

#define SINKS 2

/* A batch that one sink has and the other answered with SINK_CLASH. */
struct half {
	uint8_t capture[CAPTURE_ID_LEN];
	uint64_t number;
	bool settled[SINKS];
	struct half *next;
};

struct tee {
	struct sink base;
	struct sink *sink[SINKS];
	pthread_mutex_t lock;
	struct half *halves; /* hardly ever one */
};

struct sink_job {
	struct sink_job *job[SINKS];
	bool settled[SINKS];
	unsigned turn; /* who is asked first */
	bool spooled;  /* one of them said so, in whichever call */
	const struct batch *batch;
};

static struct tee *tee_of(struct sink *sink)
{
	return container_of(sink, struct tee, base);
}

static void tee_job_free(struct sink *sink, struct sink_job *job)
{
	struct tee *t = tee_of(sink);

	for (unsigned i = 0; i < SINKS; i++)
		if (job->job[i])
			t->sink[i]->job_free(t->sink[i], job->job[i]);
	free(job);
}

/* False: no memory. */
static bool half_put(struct tee *t, const struct sink_job *job)
{
	struct half *half = calloc(1, sizeof(*half));

	if (!half)
		return false;
	memcpy(half->capture, job->batch->source->capture, CAPTURE_ID_LEN);
	half->number = job->batch->number;
	memcpy(half->settled, job->settled, sizeof(half->settled));
	pthread_mutex_lock(&t->lock);
	half->next = t->halves;
	t->halves = half;
	pthread_mutex_unlock(&t->lock);
	return true;
}

static void half_take(struct tee *t, struct sink_job *job)
{
	struct half *found;

	pthread_mutex_lock(&t->lock);
	for (struct half **at = &t->halves; *at; at = &(*at)->next)
		if ((*at)->number == job->batch->number &&
		    !memcmp((*at)->capture, job->batch->source->capture, CAPTURE_ID_LEN)) {
			found = *at;
			*at = found->next;
			memcpy(job->settled, found->settled, sizeof(job->settled));
			free(found);
			break;
		}
	pthread_mutex_unlock(&t->lock);
}

static int tee_encode(struct sink *sink, struct batch *batch, struct sink_job **out)
{
	struct tee *t = tee_of(sink);
	struct sink_job *job = calloc(1, sizeof(*job));
	int err = job ? 0 : -ENOMEM;

	if (job) {
		job->batch = batch;
		half_take(t, job);
	}
	for (unsigned i = 0; !err && i < SINKS; i++) {
		job->settled[i] |= batch->open && !t->sink[i]->storage;
		if (!job->settled[i])
			err = t->sink[i]->encode(t->sink[i], batch, &job->job[i]);
	}
	if (err && job)
		tee_job_free(sink, job);
	if (!err)
		*out = job;
	return err;
}

/* What two sinks said, as one. `first` is true for the first of them that is not settled yet. */
static void add_report(struct sink_report *sum, const struct sink_report *one, enum sink_outcome outcome, bool first)
{
	sum->inserted += one->inserted;
	sum->found += one->found;
	sum->commands += one->commands;
	sum->close |= one->close;
	sum->away |= one->away;
	sum->spooled |= one->spooled;
	sum->refused |= one->refused;
	if (one->latency_ns > sum->latency_ns)
		sum->latency_ns = one->latency_ns;
	if (outcome == SINK_SETTLED && !one->spooled) /* by the disk: why not by the database is a problem still */
		return;
	/* A pause that is part of settling is no problem where the other has one. */
	if (!sum->problem[0] || (sum->waiting && !one->waiting && one->problem[0]))
		memcpy(sum->problem, one->problem, sizeof(sum->problem));
	sum->waiting = (first || sum->waiting) && one->waiting;
	if (outcome == SINK_AGAIN && (!sum->again_ns || one->again_ns < sum->again_ns))
		sum->again_ns = one->again_ns;
}

static enum sink_outcome clashed(struct tee *t, const struct sink_job *job, struct sink_report *report)
{
	bool settled = false;

	for (unsigned i = 0; i < SINKS; i++)
		settled |= job->settled[i] && job->job[i];
	if (!settled || half_put(t, job))
		return SINK_CLASH;
	report->again_ns = clock_boot_ns() + NS_PER_SEC; /* asked again, it says the same */
	return SINK_AGAIN;
}

/*
 * One of them may take all of SINK_BOUND_S: then the other has its turn in the next call, and is asked first there. ENDED by either
 * ends both: the batch cannot be settled any more.
 */
static enum sink_outcome tee_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	struct tee *t = tee_of(sink);
	uint64_t begin = clock_boot_ns();
	bool again = false, ended = false, clash = false;

	for (unsigned n = 0; n < SINKS; n++) {
		unsigned i = (job->turn + n) % SINKS;
		struct sink_report one = { 0 };
		enum sink_outcome outcome;

		if (job->settled[i])
			continue;
		if (n && clock_boot_ns() - begin > NS_PER_SEC) {
			job->turn = i;
			report->again_ns = begin; /* at once */
			return ended ? SINK_ENDED : clash ? clashed(t, job, report) : SINK_AGAIN;
		}
		outcome = t->sink[i]->write(t->sink[i], job->job[i], &one);
		add_report(report, &one, outcome, !again && !ended);
		job->settled[i] = outcome == SINK_SETTLED;
		report->spooled = job->spooled |= one.spooled;
		again |= outcome == SINK_AGAIN;
		ended |= outcome == SINK_ENDED;
		clash |= outcome == SINK_CLASH;
	}
	return ended   ? SINK_ENDED
	       : clash ? clashed(t, job, report)
	       : again ? SINK_AGAIN
		       : SINK_SETTLED;
}

static void tee_storage(struct sink *sink, uint32_t day, struct sink_storage *storage)
{
	struct tee *t = tee_of(sink);
	struct sink *who = t->sink[0]->storage ? t->sink[0] : t->sink[1];

	who->storage(who, day, storage);
}

/* Puts replace by _id, so who has one already gets it once more while the other has not. */
static enum sink_outcome worse(enum sink_outcome a, enum sink_outcome b)
{
	return a > b ? a : b;
}
_Static_assert(SINK_SETTLED < SINK_AGAIN && SINK_AGAIN < SINK_ENDED, "worse() goes by the order");

static enum sink_outcome tee_put(struct sink *sink, const char *family, uint32_t day, const bson_t *document,
				 const bson_value_t *drop_from, const bson_value_t *drop_to, struct sink_report *report)
{
	struct tee *t = tee_of(sink);
	enum sink_outcome sum = SINK_SETTLED;

	for (unsigned i = 0; i < SINKS; i++) {
		struct sink_report one = { 0 };
		enum sink_outcome outcome = t->sink[i]->put(t->sink[i], family, day, document, drop_from, drop_to, &one);

		add_report(report, &one, outcome, sum == SINK_SETTLED);
		sum = worse(sum, outcome);
	}
	return sum;
}

static enum sink_outcome tee_put_many(struct sink *sink, const char *family, uint32_t day, const bson_t *const *documents,
				      size_t count, struct sink_report *report)
{
	struct tee *t = tee_of(sink);
	enum sink_outcome sum = SINK_SETTLED;

	for (unsigned i = 0; i < SINKS; i++) {
		struct sink_report one = { 0 };
		enum sink_outcome outcome = t->sink[i]->put_many(t->sink[i], family, day, documents, count, &one);

		add_report(report, &one, outcome, sum == SINK_SETTLED);
		sum = worse(sum, outcome);
	}
	return sum;
}

static enum sink_outcome tee_prepare_days(struct sink *sink, uint32_t first, uint32_t last, struct sink_report *report)
{
	struct tee *t = tee_of(sink);
	enum sink_outcome sum = SINK_SETTLED;

	for (unsigned i = 0; i < SINKS; i++) {
		struct sink_report one = { 0 };
		enum sink_outcome outcome = t->sink[i]->prepare_days(t->sink[i], first, last, &one);

		add_report(report, &one, outcome, sum == SINK_SETTLED);
		sum = worse(sum, outcome);
	}
	return sum;
}

static void tee_cancel(struct sink *sink)
{
	struct tee *t = tee_of(sink);

	for (unsigned i = 0; i < SINKS; i++)
		t->sink[i]->cancel(t->sink[i]);
}

static void tee_close(struct sink *sink)
{
	struct tee *t = tee_of(sink);

	for (unsigned i = 0; i < SINKS; i++)
		t->sink[i]->close(t->sink[i]);
	while (t->halves) {
		struct half *next = t->halves->next;
		free(t->halves);
		t->halves = next;
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct sink *tee_sink_new(struct sink *first, struct sink *second)
{
	struct tee *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->base = (struct sink){ .name = "tee",
				 .encode = tee_encode,
				 .storage = first->storage || second->storage ? tee_storage : NULL,
				 .write = tee_write,
				 .job_free = tee_job_free,
				 .put = tee_put,
				 .put_many = tee_put_many,
				 .prepare_days = tee_prepare_days,
				 .cancel = tee_cancel,
				 .close = tee_close };
	pthread_mutex_init(&t->lock, NULL);
	t->sink[0] = first;
	t->sink[1] = second;
	return &t->base;
}
