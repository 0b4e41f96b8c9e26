// SPDX-License-Identifier: GPL-2.0-or-later
/* Two sinks as one: see tee.h. */
#include "recorder/sink/tee.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

#define SINKS 2

struct tee {
	struct sink base;
	struct sink *sink[SINKS];
};

struct sink_job {
	struct sink_job *job[SINKS];
	bool settled[SINKS];
	unsigned turn; /* who is asked first */
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

static int tee_encode(struct sink *sink, struct batch *batch, struct sink_job **out)
{
	struct tee *t = tee_of(sink);
	struct sink_job *job = calloc(1, sizeof(*job));
	int err = job ? 0 : -ENOMEM;

	for (unsigned i = 0; !err && i < SINKS; i++)
		err = t->sink[i]->encode(t->sink[i], batch, &job->job[i]);
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
	if (one->latency_ns > sum->latency_ns)
		sum->latency_ns = one->latency_ns;
	if (outcome == SINK_SETTLED)
		return;
	/* A pause that is part of settling is no problem where the other has one. */
	if (!sum->problem[0] || (sum->waiting && !one->waiting && one->problem[0]))
		memcpy(sum->problem, one->problem, sizeof(sum->problem));
	sum->waiting = (first || sum->waiting) && one->waiting;
	if (outcome == SINK_AGAIN && (!sum->again_ns || one->again_ns < sum->again_ns))
		sum->again_ns = one->again_ns;
}

/*
 * One of them may take all of SINK_BOUND_S: then the other has its turn in the next call, and is asked first there. ENDED by either
 * ends both: the batch cannot be settled any more.
 */
static enum sink_outcome tee_write(struct sink *sink, struct sink_job *job, struct sink_report *report)
{
	struct tee *t = tee_of(sink);
	uint64_t begin = clock_boot_ns();
	bool again = false, ended = false;

	for (unsigned n = 0; n < SINKS; n++) {
		unsigned i = (job->turn + n) % SINKS;
		struct sink_report one = { 0 };
		enum sink_outcome outcome;

		if (job->settled[i])
			continue;
		if (n && clock_boot_ns() - begin > NS_PER_SEC) {
			job->turn = i;
			report->again_ns = begin; /* at once */
			return ended ? SINK_ENDED : SINK_AGAIN;
		}
		outcome = t->sink[i]->write(t->sink[i], job->job[i], &one);
		add_report(report, &one, outcome, !again && !ended);
		job->settled[i] = outcome == SINK_SETTLED;
		again |= outcome == SINK_AGAIN;
		ended |= outcome == SINK_ENDED;
	}
	return ended ? SINK_ENDED : again ? SINK_AGAIN : SINK_SETTLED;
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
	free(t);
}

struct sink *tee_sink_new(struct sink *first, struct sink *second)
{
	struct tee *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->base = (struct sink){ "tee", tee_encode, NULL, tee_write, tee_job_free, tee_put, tee_put_many, tee_prepare_days, tee_cancel,
				 tee_close };
	t->sink[0] = first;
	t->sink[1] = second;
	return &t->base;
}
