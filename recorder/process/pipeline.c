/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Batches on their way. On the loop: cut, recipe, settle; on workers: prepare, write.
 *
 *   cut --prepare--> PREPARED --(predecessor has its digest) recipe--> WRITING --> SETTLED --(predecessors settled)--> indexes
 *                                                                       ^   |
 *                                                                       +---+ WAITING (the sink says when)
 *
 * The recipe is valid before the first byte is sent, and is freed after the indexes have moved: whatever a kill -9 leaves
 * behind is either not sent, or in a recipe. Both recipes and indexes move in number order. A batch that stays open (open.c)
 * is always the last of its lane: nothing is cut behind it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/process/pipeline_internal.h"

/* Where --batch-packets and --batch-age say nothing. */
#define DOCUMENTS_BATCH 4096u
#define BUCKETS_BATCH 262144u /* flow.h's most: fewer index entries and bytes a packet the more are grouped at once */
#define BUCKETS_BATCH_LEAST 65536u
#define BUCKETS_RINGS 16u /* but not more than such a part of the rings */
#define ENCODED_MOST (192u << 20) /* bytes; a full batch of which each packet is a conversation is 100 MB, of others 10 */
#define ENCODED_TYPICAL 128u	  /* a packet, where it is not known yet */
#define DOCUMENTS_AGE_MS 200u
#define BUCKETS_AGE_MS 2000u
#define SLOW_PACKETS 100u /* fewer after DOCUMENTS_AGE_MS are slow traffic: they are sent, and their batch stays open */
#define BUSY_MS 2u
#define BUSY_MAX_MS 20u

static void sequence(struct lane *lane);
static void write_start(struct flight *flight);

/* ---- flights ------------------------------------------------------------------------------------------------ */

struct flight *flight_new(struct lane *lane, struct batch *batch)
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
	open_free(flight);
	uv_close((uv_handle_t *)&flight->again, flight_closed);
}

/* ---- prepare: order, digest, encode -------------------------------------------------------------------------- */

static void prepare_work(uv_work_t *work)
{
	struct flight *flight = work->data;
	struct sink *sink = flight->lane->drainer->sink;

	/* A batch that is sent once more, closed or under another salt, has both already. */
	flight->error = flight->ordered ? 0 : canonical_order(flight->batch);
	if (!flight->error && !flight->ordered)
		flight->error = canonical_digest(flight->batch);
	flight->ordered = !flight->error;
	if (!flight->error)
		flight->error = sink->encode(sink, flight->batch, &flight->job);
}

static void prepare_again(uv_timer_t *timer)
{
	flight_prepare(timer->data);
}

void flight_prepare_later(struct flight *flight, unsigned ms)
{
	flight->state = FLIGHT_PREPARING;
	uv_timer_start(&flight->again, prepare_again, ms, 0);
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
		flight_prepare_later(flight, 200);
	} else {
		flight->encoded = flight->batch->encoded;
		flight->state = FLIGHT_PREPARED;
		sequence(flight->lane);
	}
	drainer_check_end(d);
}

void flight_prepare(struct flight *flight)
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

void lane_settle_ranges(struct lane *lane, const struct batch_range *ranges, unsigned n)
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
void lane_settle_prefix(struct lane *lane)
{
	while (lane->first && lane->first->state == FLIGHT_SETTLED) {
		struct flight *flight = lane->first;
		const struct batch *batch = flight->batch;

		lane->stored.packets += batch->nrecords;
		lane->stored.bytes += batch->bytes;
		journal_set_chain(lane->journal, batch->number, batch->digest, &lane->stored);
		lane_settle_ranges(lane, batch->ranges, batch->nranges);
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
	if (flight->outcome != SINK_CLASH)
		drainer_report(d, &flight->report, flight->outcome == SINK_SETTLED, true);
	switch (flight->outcome) {
	case SINK_SETTLED:
		if (flight->batch->open) {
			open_acknowledged(flight);
			break;
		}
		flight->state = FLIGHT_SETTLED;
		journal_mark_done(lane->journal, flight->recipe);
		lane_settle_prefix(lane);
		break;
	case SINK_AGAIN:
		if (flight->report.close) {
			open_close(flight);
			break;
		}
		flight->state = FLIGHT_WAITING;
		set_lingering(flight, flight->report.waiting);
		uv_timer_start(&flight->again, write_again,
			       flight->report.again_ns > now ? (flight->report.again_ns - now) / 1000000 + 1 : 1, 0);
		break;
	case SINK_ENDED:
		flight->state = FLIGHT_HELD;
		break;
	case SINK_CLASH:
		open_clash(flight);
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

bool flight_write_recipe(struct flight *flight)
{
	struct lane *lane = flight->lane;
	struct batch *batch = flight->batch;
	int index = journal_free_recipe(lane->journal);

	if (index < 0) /* cannot be: there are more recipes than flights */
		return false;
	if (flight->recipe < 0)
		memcpy(batch->previous, lane->chain, DIGEST_LEN);
	if (!flight->chained)
		memcpy(lane->chain, batch->digest, DIGEST_LEN);
	flight->chained = true;
	journal_write_recipe(lane->journal, index, batch);
	if (flight->recipe >= 0)
		journal_free(lane->journal, flight->recipe);
	flight->recipe = index;
	flight->rewrite = false;
	return true;
}

struct flight *flight_next(const struct lane *lane)
{
	for (struct flight *flight = lane->first; flight && flight->state != FLIGHT_PREPARING; flight = flight->next)
		if (flight->state == FLIGHT_PREPARED)
			return flight;
	return NULL;
}

static void sequence(struct lane *lane)
{
	struct flight *flight;

	while (lane->drainer->sink_ready && (flight = flight_next(lane))) {
		if ((flight->recipe < 0 || flight->rewrite) && !flight_write_recipe(flight))
			return;
		write_start(flight);
	}
}

/* ---- cut ------------------------------------------------------------------------------------------------------ */

static uint64_t batch_most(const struct lane *lane, const struct sink_storage *storage)
{
	const struct settings *s = lane->drainer->settings;
	uint64_t fits;

	if (s->batch_packets)
		return s->batch_packets;
	if (storage->mode != JOURNAL_BUCKETS)
		return DOCUMENTS_BATCH;
	fits = lane->info.ring_size * lane->nrings / BUCKETS_RINGS / RECORD_TYPICAL;
	return fits < BUCKETS_BATCH_LEAST ? BUCKETS_BATCH_LEAST : fits > BUCKETS_BATCH ? BUCKETS_BATCH : fits;
}

static uint64_t batch_age_ns(const struct settings *s, const struct sink_storage *storage, uint64_t pending)
{
	bool slow = storage->replace && pending < SLOW_PACKETS * RECORD_TYPICAL;
	uint64_t ms = s->batch_age_ms		       ? s->batch_age_ms
		      : storage->mode != JOURNAL_BUCKETS || slow ? DOCUMENTS_AGE_MS
							 : BUCKETS_AGE_MS;

	return ms * 1000000;
}

void lane_storage(struct lane *lane, uint32_t day, struct sink_storage *storage)
{
	struct sink *sink = lane->drainer->sink;

	*storage = (struct sink_storage){.mode = JOURNAL_DOCUMENTS};
	if (sink->storage)
		sink->storage(sink, day, storage);
}

bool lane_quarter(const struct lane *lane)
{
	for (unsigned i = 0; i < lane->nrings; i++)
		if (ring_end(&lane->rings[i]) - ring_tail(&lane->rings[i]) >= lane->info.ring_size / 4)
			return true;
	return false;
}

/* The same of what is not yet cut: with small rings a full batch would never be there. */
static bool quarter_pending(const struct lane *lane)
{
	for (unsigned i = 0; i < lane->nrings; i++)
		if (ring_end(&lane->rings[i]) - lane->rings[i].next >= lane->info.ring_size / 4)
			return true;
	return false;
}

/* When what is pending is to be cut at the latest, boot ns; 0: now. */
static uint64_t cut_due(const struct lane *lane, const struct sink_storage *storage, uint64_t pending, uint64_t oldest)
{
	const struct settings *s = lane->drainer->settings;
	struct clock_pair pair = lane_pair_at(lane, oldest);
	const struct batch first = {.pair = pair, .span_s = storage->span_s, .first_boot = oldest};
	uint64_t due, end;

	if (pending >= batch_most(lane, storage) * RECORD_TYPICAL || quarter_pending(lane) ||
	    lane->drainer->state == DRAINER_ENDING)
		return 0;
	due = oldest + batch_age_ns(s, storage, pending);
	if (storage->mode != JOURNAL_BUCKETS)
		return due;
	end = (uint64_t)(batch_end(&first) - clock_pair_offset(&pair));
	return end < due ? end : due;
}

/* Memory of the commands that are not acknowledged yet. */
static size_t encoded(const struct lane *lane)
{
	size_t sum = 0;

	for (const struct flight *flight = lane->first; flight; flight = flight->next)
		if (!flight->lingering && flight->state < FLIGHT_SETTLED)
			sum += flight->encoded ? flight->encoded : flight->batch->nrecords * ENCODED_TYPICAL;
	return sum;
}

/* Workers, memory and recipes are bounded; a recipe is written anew before the former is freed. */
static bool may_cut(const struct lane *lane)
{
	return lane->flights - lane->lingering < lane->drainer->settings->in_flight && lane->flights < JOURNAL_RECIPES - 1 &&
	       encoded(lane) < ENCODED_MOST;
}

static bool cut_one(struct lane *lane, const struct sink_storage *storage)
{
	const struct clock_pair *pairs;
	unsigned npairs = journal_pairs(lane->journal, &pairs);
	struct batch *batch = cut_batch(&lane->source, lane->rings, lane->nrings, pairs, npairs, storage->span_s,
					(uint32_t)batch_most(lane, storage));
	struct flight *flight;

	if (!batch)
		return false;
	batch->number = lane->next_number;
	batch->mode = storage->mode;
	batch->version = ENCODE_VERSION;
	batch->form = storage->form;
	batch->raw = storage->raw;
	batch->assumed_span = storage->assumed;
	batch->open = open_fits(lane, batch, storage);
	flight = flight_new(lane, batch);
	if (!flight) {
		/* Nothing is lost: the ranges are given back and cut again at the next tick. */
		for (unsigned i = 0; i < batch->nranges; i++)
			cut_ring_of(lane->rings, lane->nrings, &batch->ranges[i])->next = batch->ranges[i].from;
		batch_free(batch);
		return false;
	}
	lane->next_number++;
	flight->sent = clock_boot_ns();
	flight_prepare(flight);
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

/* Cuts what is due. Boot time of the next look; UINT64_MAX: something that lands, or the bell, ticks again. */
static uint64_t tick_lane(struct lane *lane, uint64_t now)
{
	const struct clock_pair *pairs;
	unsigned npairs = journal_pairs(lane->journal, &pairs);
	uint64_t due = 0;

	note_peak(lane);
	for (;;) {
		struct flight *open = open_of(lane);
		struct sink_storage storage;
		uint64_t oldest, pending;

		if (open) {
			due = open_look(open, now);
			/* With nothing pending the bell says when more comes, and the backstop looks at the span's end. */
			if (open_of(lane))
				return cut_pending(lane->rings, lane->nrings, &oldest) ? due : arm(lane) ? UINT64_MAX : now;
		}
		pending = cut_pending(lane->rings, lane->nrings, &oldest);
		if (!may_cut(lane))
			return UINT64_MAX;
		if (!pending)
			return arm(lane) ? UINT64_MAX : now;
		lane_storage(lane, cut_day(lane->rings, lane->nrings, pairs, npairs), &storage);
		due = cut_due(lane, &storage, pending, oldest);
		if (due > now || !cut_one(lane, &storage))
			return due > now ? due : now;
	}
}

void pipeline_tick(struct drainer *d)
{
	uint64_t now = clock_boot_ns(), due = UINT64_MAX, wait;

	if (d->state == DRAINER_STARTING || d->state == DRAINER_CLOSING || !d->sink_ready)
		return;
	for (unsigned i = 0; i < d->nlanes; i++) {
		uint64_t lane_due = tick_lane(&d->lanes[i], now);

		due = lane_due < due ? lane_due : due;
	}
	wait = due > now ? (due - now) / 1000000 : 0;
	if (due == UINT64_MAX)
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

/* What an open batch has acknowledged counts, though its number is not settled yet. */
struct rec_count pipeline_stored(const struct lane *lane)
{
	const struct batch *batch = pipeline_acknowledged(lane);
	struct rec_count stored = lane->stored;

	if (batch) {
		stored.packets += batch->nrecords;
		stored.bytes += batch->bytes;
	}
	return stored;
}

const struct batch *pipeline_acknowledged(const struct lane *lane)
{
	const struct flight *last = lane->last;

	if (!last || last != lane->first)
		return NULL;
	return last->held ? last->held : last->state == FLIGHT_OPEN || last->batch->there ? last->batch : NULL;
}
