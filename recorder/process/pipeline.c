/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Batches on their way. On the loop: cut, recipe, settle; on workers: prepare, write.
 *
 *   cut --prepare--> PREPARED --(predecessor has its digest) recipe--> WRITING --> SETTLED --(predecessors settled)--> indexes
 *                                                                       ^   |
 *                                                                       +---+ WAITING (the sink says when)
 *
 * The recipe is valid before the first byte is sent, and is freed after the indexes have moved: whatever a kill -9 leaves
 * behind is either not sent, or in a recipe. Both recipes and indexes move in number order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/process/drainer.h"

/* Bytes of ring that make a full batch: a UDP packet takes 80, most take more. */
#define RECORD_TYPICAL 96u
#define BUSY_MS 2u
#define BUSY_MAX_MS 20u

static void sequence(struct lane *lane);
static void write_start(struct flight *flight);

/* ---- flights ------------------------------------------------------------------------------------------------ */

static struct flight *flight_new(struct lane *lane, struct batch *batch)
{
	struct flight *flight = calloc(1, sizeof(*flight));

	if (!flight)
		return NULL;
	flight->lane = lane;
	flight->batch = batch;
	flight->recipe = -1;
	uv_timer_init(&lane->drainer->loop, &flight->again);
	flight->again.data = flight;
	flight->work.data = flight;
	if (lane->last)
		lane->last->next = flight;
	else
		lane->first = flight;
	lane->last = flight;
	lane->flights++;
	return flight;
}

static void set_lingering(struct flight *flight, bool lingering)
{
	flight->lane->lingering += lingering - flight->lingering;
	flight->lingering = lingering;
}

static void flight_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The first of the lane is done with. */
static void flight_pop(struct lane *lane)
{
	struct flight *flight = lane->first;

	lane->first = flight->next;
	if (!lane->first)
		lane->last = NULL;
	lane->flights--;
	set_lingering(flight, false);
	if (flight->job)
		lane->drainer->sink->job_free(lane->drainer->sink, flight->job);
	batch_free(flight->batch);
	uv_close((uv_handle_t *)&flight->again, flight_closed);
}

/* ---- prepare: order, digest, encode -------------------------------------------------------------------------- */

static void prepare_work(uv_work_t *work)
{
	struct flight *flight = work->data;
	struct sink *sink = flight->lane->drainer->sink;

	flight->error = canonical_order(flight->batch);
	if (!flight->error)
		flight->error = canonical_digest(flight->batch);
	if (!flight->error)
		flight->error = sink->encode(sink, flight->batch, &flight->job);
}

static void prepare_start(struct flight *flight);

static void prepare_again(uv_timer_t *timer)
{
	prepare_start(timer->data);
}

static void prepare_done(uv_work_t *work, int status)
{
	struct flight *flight = work->data;
	struct drainer *d = flight->lane->drainer;
	static struct log_limit limit;

	(void)status;
	d->working--;
	if (flight->error) {
		log_limited(&limit, 5, LOG_ERROR, "%s: batch %llu cannot be prepared: %s; trying again",
			    flight->lane->info.iface, (unsigned long long)flight->batch->number,
			    strerror(-flight->error));
		uv_timer_start(&flight->again, prepare_again, 200, 0);
	} else {
		flight->state = FLIGHT_PREPARED;
		sequence(flight->lane);
	}
	drainer_check_end(d);
}

static void prepare_start(struct flight *flight)
{
	flight->state = FLIGHT_PREPARING;
	flight->lane->drainer->working++;
	uv_queue_work(&flight->lane->drainer->loop, &flight->work, prepare_work, prepare_done);
}

/* ---- write ---------------------------------------------------------------------------------------------------- */

static void write_work(uv_work_t *work)
{
	struct flight *flight = work->data;
	struct sink *sink = flight->lane->drainer->sink;

	memset(&flight->report, 0, sizeof(flight->report));
	flight->outcome = sink->write(sink, flight->job, &flight->report);
}

/* Moves the consumer indexes behind these ranges. Doing it again changes nothing. */
static void settle_ranges(struct lane *lane, const struct batch_range *ranges, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct ring *ring = cut_ring_of(lane->rings, lane->nrings, &ranges[i]);

		if (!ring)
			continue;
		ring_settle(ring, ranges[i].to);
		if (ring->next < ranges[i].to)
			ring->next = ranges[i].to;
	}
}

/*
 * The settled prefix, in number order: the chain first, then the consumer indexes, then the recipe is freed. Killed in between,
 * the next process finds a recipe that the chain has passed, and moves the indexes once more.
 */
static void settle_prefix(struct lane *lane)
{
	while (lane->first && lane->first->state == FLIGHT_SETTLED) {
		struct flight *flight = lane->first;
		const struct batch *batch = flight->batch;

		lane->stored.packets += batch->nrecords;
		lane->stored.bytes += batch->bytes;
		journal_set_chain(lane->journal, batch->number, batch->digest, &lane->stored);
		settle_ranges(lane, batch->ranges, batch->nranges);
		journal_free(lane->journal, flight->recipe);
		lane->settled_batches++;
		flight_pop(lane);
	}
}

static void write_again(uv_timer_t *timer)
{
	struct flight *flight = timer->data;

	set_lingering(flight, false);
	write_start(flight);
}

static void write_done(uv_work_t *work, int status)
{
	struct flight *flight = work->data;
	struct lane *lane = flight->lane;
	struct drainer *d = lane->drainer;
	uint64_t now = clock_boot_ns();

	(void)status;
	d->working--;
	drainer_report(d, &flight->report, flight->outcome == SINK_SETTLED, true);
	switch (flight->outcome) {
	case SINK_SETTLED:
		flight->state = FLIGHT_SETTLED;
		journal_mark_done(lane->journal, flight->recipe);
		settle_prefix(lane);
		break;
	case SINK_AGAIN:
		flight->state = FLIGHT_WAITING;
		set_lingering(flight, flight->report.waiting);
		uv_timer_start(&flight->again, write_again,
			       flight->report.again_ns > now ? (flight->report.again_ns - now) / 1000000 + 1 : 1, 0);
		break;
	case SINK_ENDED:
		flight->state = FLIGHT_HELD;
		break;
	}
	pipeline_tick(d);
	drainer_check_end(d);
}

static void write_start(struct flight *flight)
{
	flight->state = FLIGHT_WRITING;
	flight->lane->drainer->working++;
	uv_queue_work(&flight->lane->drainer->loop, &flight->work, write_work, write_done);
}

/* Recipes are written in number order, because each holds the digest of the one before. */
static void sequence(struct lane *lane)
{
	if (!lane->drainer->sink_ready)
		return;
	for (struct flight *flight = lane->first; flight; flight = flight->next) {
		if (flight->state == FLIGHT_PREPARING)
			return;
		if (flight->state != FLIGHT_PREPARED)
			continue;
		if (flight->recipe < 0) {
			int index = journal_free_recipe(lane->journal);

			if (index < 0) /* cannot be: there are more recipes than flights */
				return;
			memcpy(flight->batch->previous, lane->chain, DIGEST_LEN);
			memcpy(lane->chain, flight->batch->digest, DIGEST_LEN);
			journal_write_recipe(lane->journal, index, flight->batch);
			flight->recipe = index;
		}
		write_start(flight);
	}
}

/* ---- cut ------------------------------------------------------------------------------------------------------ */

static bool cut_now(const struct lane *lane, uint64_t pending, uint64_t oldest, uint64_t now)
{
	const struct settings *s = lane->drainer->settings;

	return pending >= s->batch_packets * RECORD_TYPICAL || lane->drainer->state == DRAINER_ENDING ||
	       now >= oldest + s->batch_age_ms * 1000000;
}

/* Workers and recipes are both bounded. */
static bool may_cut(const struct lane *lane)
{
	return lane->flights - lane->lingering < lane->drainer->settings->in_flight && lane->flights < JOURNAL_RECIPES;
}

static bool cut_one(struct lane *lane)
{
	const struct clock_pair *pairs;
	unsigned npairs = journal_pairs(lane->journal, &pairs);
	struct batch *batch = cut_batch(&lane->source, lane->rings, lane->nrings, pairs, npairs,
					(uint32_t)lane->drainer->settings->batch_packets);
	struct flight *flight;

	if (!batch)
		return false;
	batch->number = lane->next_number;
	batch->mode = JOURNAL_DOCUMENTS;
	batch->version = ENCODE_VERSION;
	flight = flight_new(lane, batch);
	if (!flight) {
		/* Nothing is lost: the ranges are given back and cut again at the next tick. */
		for (unsigned i = 0; i < batch->nranges; i++)
			cut_ring_of(lane->rings, lane->nrings, &batch->ranges[i])->next = batch->ranges[i].from;
		batch_free(batch);
		return false;
	}
	lane->next_number++;
	prepare_start(flight);
	return true;
}

static void note_peak(struct lane *lane)
{
	for (unsigned i = 0; i < lane->nrings; i++) {
		uint64_t used = ring_head(&lane->rings[i]) - ring_tail(&lane->rings[i]);

		if (used > lane->ring_peak)
			lane->ring_peak = used;
	}
}

static void busy_again(uv_timer_t *timer)
{
	pipeline_tick(timer->data);
}

/* Asks for the bell, then looks once more: a record published in between rang for nobody. */
static bool arm(struct lane *lane)
{
	uint64_t oldest;

	__atomic_store_n(&lane->desk[REC_DESK_CONTROL].control.armed, 1, __ATOMIC_SEQ_CST);
	return cut_pending(lane->rings, lane->nrings, &oldest) == 0;
}

void pipeline_tick(struct drainer *d)
{
	uint64_t now = clock_boot_ns(), wait = UINT64_MAX;

	if (d->state == DRAINER_STARTING || d->state == DRAINER_CLOSING || !d->sink_ready)
		return;
	for (unsigned i = 0; i < d->nlanes; i++) {
		struct lane *lane = &d->lanes[i];
		uint64_t oldest, pending = cut_pending(lane->rings, lane->nrings, &oldest);

		note_peak(lane);
		while (pending && may_cut(lane) && cut_now(lane, pending, oldest, now) &&
		       cut_one(lane))
			pending = cut_pending(lane->rings, lane->nrings, &oldest);
		if (!may_cut(lane))
			continue; /* a flight that lands ticks again */
		if (pending) {
			uint64_t due = oldest + d->settings->batch_age_ms * 1000000;
			uint64_t ms = due > now ? (due - now) / 1000000 : 0;

			wait = ms < wait ? ms : wait;
		} else if (!arm(lane)) {
			wait = BUSY_MS;
		}
	}
	if (wait == UINT64_MAX)
		uv_timer_stop(&d->busy);
	else
		uv_timer_start(&d->busy, busy_again, wait < BUSY_MS ? BUSY_MS : wait > BUSY_MAX_MS ? BUSY_MAX_MS : wait,
			       0);
}

void pipeline_resume(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++)
		sequence(&d->lanes[i]);
	pipeline_tick(d);
}

bool pipeline_idle(const struct lane *lane)
{
	uint64_t oldest;

	return !lane->first && cut_pending(lane->rings, lane->nrings, &oldest) == 0;
}

void pipeline_drop(struct lane *lane)
{
	while (lane->first)
		flight_pop(lane);
}

/* ---- takeover ------------------------------------------------------------------------------------------------- */

struct left {
	int index;
	enum journal_state state;
	struct journal_recipe recipe;
	const struct batch_range *ranges;
};

static int compare_left(const void *a, const void *b)
{
	const struct left *x = a, *y = b;

	return x->recipe.number < y->recipe.number ? -1 : x->recipe.number > y->recipe.number;
}

/* Forms the batch of a recipe again; the rings still hold it, because its indexes have not moved. */
static bool take_over_one(struct lane *lane, const struct left *left)
{
	const struct journal_recipe *r = &left->recipe;
	struct batch *batch = cut_again(&lane->source, lane->rings, lane->nrings, left->ranges, r->nranges, &r->pair);
	struct flight *flight;

	if (!batch && errno != EBADMSG)
		return false;
	if (!batch) {
		log_error("%s: the recipe of batch %llu does not fit its rings: its packets may be missing",
			  lane->info.iface, (unsigned long long)r->number);
		book_event(lane->drainer, lane, "recipe-damaged", "a recipe did not fit its rings", NULL);
		journal_free(lane->journal, left->index);
		lane->next_number = r->number + 1; /* it may have been used */
		return true;
	}
	batch->number = r->number;
	batch->mode = r->mode;
	batch->version = r->version;
	batch->attempted = 1;
	memcpy(batch->digest, r->digest, DIGEST_LEN);
	memcpy(batch->previous, r->previous, DIGEST_LEN);
	memcpy(lane->chain, r->digest, DIGEST_LEN);
	flight = flight_new(lane, batch);
	if (!flight) {
		batch_free(batch);
		return false;
	}
	flight->recipe = left->index;
	for (unsigned i = 0; i < batch->nranges; i++) /* cut_again has found each of them */
		cut_ring_of(lane->rings, lane->nrings, &batch->ranges[i])->next = batch->ranges[i].to;
	lane->next_number = r->number + 1;
	if (left->state == JOURNAL_DONE)
		flight->state = FLIGHT_SETTLED;
	else
		prepare_start(flight);
	return true;
}

bool pipeline_take_over(struct lane *lane)
{
	struct left left[JOURNAL_RECIPES];
	uint64_t chain = journal_chain(lane->journal, lane->chain, &lane->stored);
	unsigned n = 0, taken = 0;

	lane->next_number = chain + 1;
	lane->stored_before = lane->stored.packets;
	for (int i = 0; i < (int)JOURNAL_RECIPES; i++) {
		left[n].index = i;
		left[n].state = journal_read_recipe(lane->journal, i, &left[n].recipe, &left[n].ranges);
		if (left[n].state != JOURNAL_FREE && left[n].recipe.number > chain) {
			n++;
			continue;
		}
		if (left[n].state != JOURNAL_FREE)
			settle_ranges(lane, left[n].ranges, left[n].recipe.nranges);
		journal_free(lane->journal, i); /* settled; or torn, so never sent */
	}
	qsort(left, n, sizeof(*left), compare_left);
	for (unsigned i = 0; i < n; i++) {
		taken += left[i].state == JOURNAL_VALID;
		if (!take_over_one(lane, &left[i]))
			return false;
	}
	settle_prefix(lane);
	if (taken)
		log_info("%s: %u batches of the former process may have been sent: they are read back first",
			 lane->info.iface, taken);
	return true;
}
