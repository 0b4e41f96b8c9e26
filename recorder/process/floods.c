/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/process/floods.h"

#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/ledger/flood_rows.h"
#include "recorder/process/drainer.h"
#include "recorder/source/summary.h"

#define PIECE_MOST 10000u /* documents of one call of the sink; half of it when a call has no time for so many, and twice as many again */
#define PIECE_LEAST 500u
#define MANY_ROWS 4096u	  /* of an epoch with more the next one may be longer */
#define INTERVAL_S 1u
#define INTERVAL_MANY_S 10u
#define CALM_S 3u

/* One epoch of one lane: both sides' rows, written piece by piece in their order. */
struct flood_write {
	uv_work_t work;
	uv_timer_t again;
	struct lane *lane;
	uint32_t epoch;
	bool last; /* the capture is over: nothing comes behind it */
	struct flood_epoch of[REC_SIDES];
	struct summaries rows[REC_SIDES];
	unsigned side;
	size_t at;   /* rows of `side` that are acknowledged */
	size_t n;    /* of the piece on its way */
	size_t most; /* that a piece has */
	enum sink_outcome outcome;
	struct sink_report report;
};

/* ---- writing ------------------------------------------------------------------------------------------------- */

static void write_work(uv_work_t *work)
{
	struct flood_write *w = work->data;
	struct sink *sink = w->lane->drainer->sink;
	const struct summaries *rows = &w->rows[w->side];
	bson_t *documents = NEW(bson_t, w->n);
	const bson_t **list = calloc(w->n, sizeof(*list));

	memset(&w->report, 0, sizeof(w->report));
	w->outcome = SINK_AGAIN;
	if (documents && list) {
		for (size_t i = 0; i < w->n; i++) {
			bson_init(&documents[i]);
			flood_document(&documents[i], &w->of[w->side], (uint32_t)(w->at + i), &rows->row[w->at + i]);
			list[i] = &documents[i];
		}
		w->outcome = sink->put_many(sink, "floods", flood_day(&w->of[w->side]), list, w->n, &w->report);
		for (size_t i = 0; i < w->n; i++)
			bson_destroy(&documents[i]);
	} else {
		snprintf(w->report.problem, sizeof(w->report.problem), "out of memory for %zu summaries", w->n);
		w->report.again_ns = clock_boot_ns() + NS_PER_SEC;
	}
	free(documents);
	free(list);
}

static void write_closed(uv_handle_t *handle)
{
	struct flood_write *w = handle->data;

	for (unsigned s = 0; s < REC_SIDES; s++)
		summaries_free(&w->rows[s]);
	free(w);
}

static void write_free(struct flood_write *w)
{
	w->lane->floods.write = NULL;
	uv_timer_stop(&w->again);
	uv_close((uv_handle_t *)&w->again, write_closed);
}

static void write_done(uv_work_t *work, int status);

/* The next piece, or the same one again, perhaps smaller; or the epoch is acknowledged. */
static void write_next(struct flood_write *w)
{
	struct floods *f = &w->lane->floods;

	while (w->side < REC_SIDES && w->at >= w->rows[w->side].count) {
		w->side++;
		w->at = 0;
	}
	if (w->side < REC_SIDES) {
		w->n = w->rows[w->side].count - w->at;
		w->n = w->n < w->most ? w->n : w->most;
		w->lane->drainer->working++;
		uv_queue_work(&w->lane->drainer->loop, &w->work, write_work, write_done);
		return;
	}
	f->written = (uint64_t)w->epoch + 1;
	f->rows = (uint32_t)(w->rows[0].count + w->rows[1].count);
	f->ended = w->last;
	write_free(w);
}

static void write_again(uv_timer_t *timer)
{
	write_next(timer->data);
}

static void write_done(uv_work_t *work, int status)
{
	struct flood_write *w = work->data;
	struct drainer *d = w->lane->drainer;
	uint64_t now = clock_boot_ns();

	(void)status;
	d->working--;
	drainer_report(d, &w->report, w->outcome == SINK_SETTLED, false);
	if (w->outcome == SINK_SETTLED) {
		w->at += w->n;
		w->most = w->most * 2 < PIECE_MOST ? w->most * 2 : PIECE_MOST;
		write_next(w);
	} else if (w->outcome == SINK_AGAIN) {
		/* A server that is too slow for so many at once would be too slow each time. */
		if (!w->report.waiting && !w->report.refused)
			w->most = w->most / 2 > PIECE_LEAST ? w->most / 2 : PIECE_LEAST;
		uv_timer_start(&w->again, write_again,
			       w->report.again_ns > now ? (w->report.again_ns - now) / 1000000 + 1 : 1, 0);
	}
	/* SINK_ENDED: held until floods_drop. */
	drainer_check_end(d);
}

/* The first packet's and the last packet's second of the rows, where the desk does not say. */
static void span_of(const struct summaries *rows, uint64_t *sec, uint64_t *end)
{
	uint64_t first = UINT64_MAX, last = 0;

	for (size_t i = 0; i < rows->count; i++) {
		first = rows->row[i].first < first ? rows->row[i].first : first;
		last = rows->row[i].last > last ? rows->row[i].last : last;
	}
	if (!*sec)
		*sec = first / NS_PER_SEC;
	if (!*end)
		*end = last / NS_PER_SEC + 1;
}

/* Reads the epoch's tables, of seconds [sec, end) (0: as the rows say), and begins to write them. */
static void write_epoch(struct lane *lane, uint32_t epoch, uint64_t sec, uint64_t end, bool last)
{
	struct drainer *d = lane->drainer;
	struct flood_write *w = calloc(1, sizeof(*w));
	int r = w ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < lane->nrings; i++)
		r = summaries_add(&w->rows[lane->rings[i].side], lane->rings[i].map, lane->info.ring_size, epoch);
	if (r < 0) {
		log_error("%s: out of memory for the summaries of epoch %u; tried again", lane->info.iface, epoch);
		for (unsigned s = 0; w && s < REC_SIDES; s++)
			summaries_free(&w->rows[s]);
		free(w);
		return;
	}
	w->lane = lane;
	w->epoch = epoch;
	w->last = last;
	w->most = PIECE_MOST;
	for (unsigned s = 0; s < REC_SIDES; s++) {
		uint64_t from = sec, to = end;

		summaries_merge(&w->rows[s]);
		span_of(&w->rows[s], &from, &to);
		w->of[s] = (struct flood_epoch){.source = &lane->source, .side = s, .epoch = epoch, .sec = from, .end = to};
		w->of[s].pair = lane_pair_at(lane, from * NS_PER_SEC);
	}
	uv_timer_init(&d->loop, &w->again);
	w->again.data = w->work.data = w;
	lane->floods.write = w;
	write_next(w);
}

/* ---- epochs -------------------------------------------------------------------------------------------------- */

static void totals(const struct lane *lane, struct rec_count sum[2])
{
	memset(sum, 0, 2 * sizeof(*sum));
	for (unsigned s = 0; s < REC_SIDES; s++) {
		struct rec_count term[REC_TERMS];

		if (!lane->sides[s].present)
			continue;
		balance_now(&lane->sides[s].balance, term);
		for (unsigned i = 0; i < 2; i++) {
			sum[i].packets += term[REC_SUMMARISED_FLOW + i].packets;
			sum[i].bytes += term[REC_SUMMARISED_FLOW + i].bytes;
		}
	}
}

static bool more(const struct rec_count now[2], const struct rec_count before[2])
{
	return now[0].packets != before[0].packets || now[1].packets != before[1].packets;
}

/*
 * The kernel takes up the epoch with the first packet of a second. Two seconds from now, so that no CPU has begun that second
 * while this is stored. `began` first: a process that dies in between leaves it equal to the epoch's own second.
 */
static void begin_epoch(struct lane *lane, uint32_t epoch, uint64_t from)
{
	union rec_desk *desk = &lane->desk[REC_DESK_CONTROL];

	__atomic_store_n(&desk->control.began, from, __ATOMIC_RELEASE);
	__atomic_store_n(&desk->control.epoch, REC_EPOCH(epoch + 1, clock_boot_ns() / NS_PER_SEC + 2), __ATOMIC_RELEASE);
}

static void lane_tick(struct lane *lane)
{
	struct drainer *d = lane->drainer;
	struct floods *f = &lane->floods;
	const union rec_desk *desk = &lane->desk[REC_DESK_CONTROL];
	const uint64_t word = __atomic_load_n(&desk->control.epoch, __ATOMIC_ACQUIRE), from = (uint32_t)word;
	const uint32_t epoch = (uint32_t)(word >> 32);
	const bool over = d->final_horizon && !d->attached;
	struct rec_count now[2];

	totals(lane, now);
	if (f->write || f->ended || !d->sink_ready)
		return;
	if (f->written < epoch && desk->control.began != from) {
		if (d->horizon >= from * NS_PER_SEC || over)
			write_epoch(lane, epoch - 1, desk->control.began, from, false);
		return;
	}
	if (over) {
		write_epoch(lane, epoch, from, 0, true);
		return;
	}
	if (d->state != DRAINER_RECORDING || !more(now, f->begun) ||
	    d->horizon < (from + (f->rows > MANY_ROWS || lane->info.counting ? INTERVAL_MANY_S : INTERVAL_S)) * NS_PER_SEC)
		return;
	memcpy(f->begun, now, sizeof(now));
	begin_epoch(lane, epoch, from);
}

/* ---- levels -------------------------------------------------------------------------------------------------- */

static void tell_level(struct lane *lane, unsigned level)
{
	static const char *const words[] = {"every packet is stored again", "", "packets of heavy keys are counted by 5-tuple",
					    "packets of heavy keys are counted, some by network and protocol"};
	bson_t details = BSON_INITIALIZER;

	bson_append_int32(&details, "level", -1, (int32_t)level);
	bson_append_int32(&details, "before", -1, (int32_t)lane->floods.level);
	log_warn("%s: level %u: %s", lane->info.iface, level, words[level]);
	book_event(lane->drainer, lane, "pressure", words[level], &details);
	bson_destroy(&details);
	lane->floods.level = level;
}

/* Once a second, so there is an event a second at most. */
static void look_level(struct lane *lane)
{
	struct floods *f = &lane->floods;
	struct rec_count now[2];
	unsigned level;

	totals(lane, now);
	level = now[1].packets != f->seen[1].packets ? 3 : now[0].packets != f->seen[0].packets ? 2 : 0;
	memcpy(f->seen, now, sizeof(now));
	f->calm = level < f->level ? f->calm + 1 : 0;
	if (level > f->level || f->calm >= CALM_S) {
		f->calm = 0;
		tell_level(lane, level);
	}
}

unsigned floods_level(const struct lane *lane)
{
	return lane->floods.level;
}

bool floods_written(const struct lane *lane)
{
	const struct floods *f = &lane->floods;
	struct rec_count now[2];

	totals(lane, now);
	return !f->write && !more(now, f->begun) &&
	       f->written >= __atomic_load_n(&lane->desk[REC_DESK_CONTROL].control.epoch, __ATOMIC_ACQUIRE) >> 32;
}

void floods_tick(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes && d->state != DRAINER_CLOSING; i++)
		lane_tick(&d->lanes[i]);
}

void floods_look(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes && d->state == DRAINER_RECORDING; i++)
		if (!d->lanes[i].info.counting) /* that is no pressure */
			look_level(&d->lanes[i]);
}

bool floods_idle(const struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++)
		if (d->lanes[i].floods.write || (d->final_horizon && !d->attached && !d->lanes[i].floods.ended))
			return false;
	return true;
}

void floods_drop(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++)
		if (d->lanes[i].floods.write)
			write_free(d->lanes[i].floods.write);
}
