/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The open batch: quiet traffic is to be seen within seconds, and a bucket of a handful of packets is to cost no more than
 * a full one in the end. So a small batch stays at its lane's end and is sent again when it has grown:
 *
 *   cut small --> written (its packets only) --> FLIGHT_OPEN --(2 s, and more packets)--> its larger self: prepared, recipe, written
 *                                                    |
 *                                                    +--(full, span over, ...)--> closed: as any batch, then the ledger
 *
 * Each revision is a batch of its own under the same number. The former one is kept until the larger is acknowledged: up to
 * there is stored, whatever the balance asks. The recipe of the larger is valid before that of the former is freed.
 */
#include <errno.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/encode/bucket.h"
#include "recorder/process/pipeline_internal.h"

#define REPLACE_NS (2 * NS_PER_SEC) /* between two revisions, at least */
#define SALTS_AGAIN_MS 5000

static int64_t span_left(const struct batch *batch, uint64_t now)
{
	return batch_end(batch) - batch_wall(batch, now);
}

bool open_fits(const struct lane *lane, const struct batch *batch, const struct sink_storage *storage)
{
	return batch->mode == JOURNAL_BUCKETS && storage->replace && batch->nrecords < BUCKET_PACKETS &&
	       lane->drainer->state == DRAINER_RECORDING && span_left(batch, clock_boot_ns()) > 0;
}

struct flight *open_of(const struct lane *lane)
{
	return lane->last && lane->last->batch->open ? lane->last : NULL;
}

/* Nothing more may come into it: said by others than its packets. */
static bool must_close(const struct flight *flight)
{
	const struct batch *batch = flight->batch;
	struct lane *lane = flight->lane;
	const struct clock_pair *pairs;
	unsigned npairs = journal_pairs(lane->journal, &pairs);
	struct sink_storage storage;

	if (lane->drainer->state != DRAINER_RECORDING || lane_quarter(lane) ||
	    memcmp(&pairs[npairs - 1], &batch->pair, sizeof(batch->pair)))
		return true;
	lane_storage(lane, batch->day, &storage);
	return storage.mode != batch->mode || storage.span_s != batch->span_s || storage.form != batch->form ||
	       storage.raw != batch->raw || !storage.replace;
}

static void free_job(struct flight *flight)
{
	struct sink *sink = flight->lane->drainer->sink;

	if (flight->job)
		sink->job_free(sink, flight->job);
	flight->job = NULL;
}

void open_free(struct flight *flight)
{
	batch_free(flight->held);
	flight->held = NULL;
}

/* Exactly what is acknowledged: only the ledger entry is missing. */
static void close_as_it_is(struct flight *flight)
{
	free_job(flight);
	flight->batch->open = false;
	flight->batch->there = true;
	flight_prepare(flight);
}

/* Its larger self goes on its way. False: out of memory, at the next tick again. */
static bool grow(struct flight *flight, bool close)
{
	struct lane *lane = flight->lane;
	const struct clock_pair *pairs;
	unsigned npairs = journal_pairs(lane->journal, &pairs);
	bool over = false;
	struct batch *more = cut_more(flight->batch, lane->rings, lane->nrings, pairs, npairs, BUCKET_PACKETS, &over);

	if (!more) {
		static struct log_limit limit;

		log_limited(&limit, 5, LOG_ERROR, "%s: open batch %llu cannot grow: %s", lane->info.iface,
			    (unsigned long long)flight->batch->number, strerror(errno));
		return false;
	}
	close |= over;
	if (more->nrecords == flight->batch->nrecords) {
		batch_free(more);
		if (close)
			close_as_it_is(flight);
		return true;
	}
	free_job(flight);
	flight->held = flight->batch;
	more->open = !close;
	flight->batch = more;
	flight->rewrite = true;
	flight->ordered = flight->chained = false;
	flight->sent = clock_boot_ns();
	flight_prepare(flight);
	return true;
}

enum open_step open_decide(const struct open_view *view, uint64_t *due)
{
	uint64_t again = view->sent + REPLACE_NS, end = view->now + (view->left > 0 ? (uint64_t)view->left : 0);

	*due = view->pending && again < end ? again : end;
	if (view->close || view->left <= 0)
		return OPEN_CLOSES;
	if (view->pending >= (uint64_t)(BUCKET_PACKETS - view->records) * RECORD_TYPICAL)
		return OPEN_GROWS;
	return view->pending && view->now >= again ? OPEN_GROWS : OPEN_WAITS;
}

uint64_t open_look(struct flight *flight, uint64_t now)
{
	struct lane *lane = flight->lane;
	const struct batch *batch = flight->batch;
	struct open_view view = {.now = now, .sent = flight->sent, .records = batch->nrecords};
	uint64_t oldest, due;
	enum open_step step;

	if (flight->state != FLIGHT_OPEN)
		return UINT64_MAX; /* its landing ticks again */
	view.left = span_left(batch, now);
	view.close = must_close(flight);
	view.pending = cut_pending(lane->rings, lane->nrings, &oldest);
	step = open_decide(&view, &due);
	if (step == OPEN_WAITS)
		return due;
	return grow(flight, step == OPEN_CLOSES) ? UINT64_MAX : now + NS_PER_SEC / 10;
}

void open_acknowledged(struct flight *flight)
{
	flight->state = FLIGHT_OPEN;
	open_free(flight);
}

void open_close(struct flight *flight)
{
	char text[120];

	snprintf(text, sizeof(text), "the server does not take the bucket of batch %llu",
		 (unsigned long long)flight->batch->number);
	if (!flight->report.away) {
		log_warn("%s: %s: %.150s", flight->lane->info.iface, text, flight->report.problem);
		book_event(flight->lane->drainer, flight->lane, "bucket-refused", text, NULL);
	}
	free_job(flight);
	flight->batch->open = false;
	flight->batch->attempted = 1; /* a revision without an answer may be on its way: documents have to wait for it */
	flight_prepare(flight);
}

/* The larger revision cannot be: what it has more is given back to the rings, and the acknowledged one closes. */
static void shrink(struct flight *flight)
{
	struct lane *lane = flight->lane;
	struct batch *batch = flight->batch;

	for (unsigned i = 0; i < batch->nranges; i++)
		cut_ring_of(lane->rings, lane->nrings, &batch->ranges[i])->next = batch->ranges[i].from;
	for (unsigned i = 0; i < flight->held->nranges; i++)
		cut_ring_of(lane->rings, lane->nrings, &flight->held->ranges[i])->next = flight->held->ranges[i].to;
	free_job(flight);
	batch_free(batch);
	flight->batch = flight->held;
	flight->held = NULL;
	flight->chained = false;
	flight->rewrite = true;
	close_as_it_is(flight);
}

/*
 * Salts take turns: the recipe is written anew with the next one before anything is sent. When all of them are taken, somebody
 * puts them there; the packets stay in the rings meanwhile.
 */
void open_clash(struct flight *flight)
{
	struct lane *lane = flight->lane;
	struct batch *batch = flight->batch;
	char text[160];

	snprintf(text, sizeof(text), "the identities of the buckets of batch %llu, salt %u, are taken by others",
		 (unsigned long long)batch->number, batch->salt);
	log_warn("%s: %s", lane->info.iface, text);
	book_event(lane->drainer, lane, "bucket-clash", text, NULL);
	if (flight->held && flight == lane->last) {
		shrink(flight);
		return;
	}
	free_job(flight);
	batch->there = false;
	batch->salt = (uint8_t)((batch->salt + 1) % JOURNAL_SALTS);
	flight->rewrite = true;
	if (batch->salt)
		flight_prepare(flight);
	else
		flight_prepare_later(flight, SALTS_AGAIN_MS);
}
