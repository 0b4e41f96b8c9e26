/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small documents. Events go in order, one at a time; each hook's balance goes in order, one row at a time, and the
 * journal moves on when a row is acknowledged. So nothing here has to be remembered over a crash: the rows of an
 * unsettled second are formed again from the kernel's totals, under the same _id.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"

#define EVENTS_MAX 1000u /* waiting for a database that is away */

/* ---- puts ---------------------------------------------------------------------------------------------------- */

static void put_closed(uv_handle_t *handle)
{
	struct put *put = handle->data;

	bson_destroy(&put->document);
	free(put);
}

static void put_free(struct put *put)
{
	uv_timer_stop(&put->again);
	uv_close((uv_handle_t *)&put->again, put_closed);
}

static struct put *put_new(struct drainer *d, const char *family, uint32_t day, void (*settled)(struct put *),
			   void *arg)
{
	struct put *put = NEW(struct put, 1);

	if (!put)
		return NULL;
	put->drainer = d;
	put->day = day;
	put->settled = settled;
	put->arg = arg;
	snprintf(put->family, sizeof(put->family), "%s", family);
	bson_init(&put->document);
	uv_timer_init(&d->loop, &put->again);
	put->again.data = put;
	put->work.data = put;
	return put;
}

static bson_value_t id_value(uint8_t id[BALANCE_ID_LEN])
{
	bson_value_t value = {.value_type = BSON_TYPE_BINARY};

	value.value.v_binary.subtype = BSON_SUBTYPE_BINARY;
	value.value.v_binary.data = id;
	value.value.v_binary.data_len = BALANCE_ID_LEN;
	return value;
}

static void put_work(uv_work_t *work)
{
	struct put *put = work->data;
	struct sink *sink = put->drainer->sink;
	bson_value_t from = id_value(put->drop_from), to = id_value(put->drop_to);

	memset(&put->report, 0, sizeof(put->report));
	put->outcome = sink->put(sink, put->family, put->day, &put->document, put->drops ? &from : NULL,
				 put->drops ? &to : NULL, &put->report);
}

static void put_start(struct put *put);

static void put_again(uv_timer_t *timer)
{
	put_start(timer->data);
}

static void put_done(uv_work_t *work, int status)
{
	struct put *put = work->data;
	struct drainer *d = put->drainer;
	uint64_t now = clock_boot_ns();

	(void)status;
	d->working--;
	drainer_report(d, &put->report, put->outcome == SINK_SETTLED, false);
	if (put->outcome == SINK_SETTLED) {
		put->settled(put);
		put_free(put);
	} else if (put->outcome == SINK_AGAIN) {
		uv_timer_start(&put->again, put_again,
			       put->report.again_ns > now ? (put->report.again_ns - now) / 1000000 + 1 : 1, 0);
	}
	/* SINK_ENDED: held until book_drop. */
	drainer_check_end(d);
}

static void put_start(struct put *put)
{
	put->drainer->working++;
	uv_queue_work(&put->drainer->loop, &put->work, put_work, put_done);
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static void event_next(struct drainer *d)
{
	if (d->puts && d->sink_ready)
		put_start(d->puts);
}

void book_resume(struct drainer *d)
{
	event_next(d);
}

static void event_settled(struct put *put)
{
	struct drainer *d = put->drainer;

	d->puts = put->next;
	if (!d->puts)
		d->puts_last = NULL;
	d->nputs--;
	event_next(d);
}

static void queue_event(struct drainer *d, struct put *put)
{
	bool first = !d->puts;

	if (d->nputs >= EVENTS_MAX) {
		static struct log_limit limit;

		log_limited(&limit, 60, LOG_ERROR, "more than %u events wait for the database; this one is only here",
			    EVENTS_MAX);
		put_free(put);
		return;
	}
	if (d->puts_last)
		d->puts_last->next = put;
	else
		d->puts = put;
	d->puts_last = put;
	d->nputs++;
	if (first)
		event_next(d);
}

void book_event(struct drainer *d, struct lane *lane, const char *kind, const char *text, const bson_t *details)
{
	book_event_at(d, lane, clock_boot_ns(), kind, text, details);
}

void book_keep(struct drainer *d, const bson_t *event)
{
	struct put *put = put_new(d, "events", 0, event_settled, NULL);

	if (!put) {
		log_error("out of memory: an event is not kept");
		return;
	}
	bson_concat(&put->document, event);
	queue_event(d, put);
}

void book_event_at(struct drainer *d, struct lane *lane, uint64_t boot, const char *kind, const char *text,
		   const bson_t *details)
{
	struct put *put = put_new(d, "events", 0, event_settled, NULL);

	if (!put) {
		log_error("out of memory: event '%s' (%s) is not kept", kind, text);
		return;
	}
	event_document(&put->document, lane ? lane->info.id : d->sensor_id, boot,
		       clock_wall_ns() - (int64_t)(clock_boot_ns() - boot), kind,
		       d->settings->sensor, lane ? lane->info.iface : NULL, text, details);
	queue_event(d, put);
}

static void start_settled(struct put *put)
{
	struct lane *lane = put->arg;

	journal_set_start_told(lane->journal);
	event_settled(put);
}

void book_start(struct drainer *d, struct lane *lane, const bson_t *details)
{
	struct put *put = put_new(d, "events", 0, start_settled, lane);
	uint64_t attached = journal_attached(lane->journal);
	struct clock_pair pair = lane_pair_at(lane, attached);

	if (!put) {
		log_error("out of memory: the event 'start' is not told now");
		return;
	}
	event_document(&put->document, lane->info.id, lane->info.created, (int64_t)attached + clock_pair_offset(&pair), "start",
		       d->settings->sensor, lane->info.iface, "capture begins", details);
	queue_event(d, put);
}

static void block_settled(struct put *put)
{
	link_send(put->drainer->link, LINK_BLOCK_TOLD, 0, &put->stamp, sizeof(put->stamp), -1);
	event_settled(put);
}

void book_block(struct drainer *d, uint64_t stamp, const char *text, const bson_t *details)
{
	struct put *put = put_new(d, "events", 0, block_settled, NULL);

	if (!put) {
		log_error("out of memory: a change of the block list is not told now");
		return;
	}
	put->stamp = stamp;
	event_document(&put->document, d->sensor_id, stamp, (int64_t)stamp, "block", d->settings->sensor, NULL, text, details);
	queue_event(d, put);
}

void book_clock_step(struct drainer *d, struct lane *lane, const struct clock_pair *old, const struct clock_pair *now)
{
	struct put *put = put_new(d, "events", 0, event_settled, NULL);
	char text[80];

	if (!put) {
		log_error("out of memory: an event 'clock-step' is not kept");
		return;
	}
	snprintf(text, sizeof(text), "the wall clock stepped by %+.6f s",
		 (double)(clock_pair_offset(now) - clock_pair_offset(old)) / 1e9);
	event_document(&put->document, lane->info.id, now->boot, now->wall, "clock-step", d->settings->sensor, lane->info.iface, text,
		       NULL);
	queue_event(d, put);
}

/* The sensor's own document: replaced at every start. */
void book_sensor(struct drainer *d)
{
	struct put *put = put_new(d, "sensors", 0, event_settled, NULL);
	bson_t list, one, settings = BSON_INITIALIZER;
	char index[16];

	if (!put)
		return;
	bson_append_binary(&put->document, "_id", -1, BSON_SUBTYPE_UUID, d->sensor_id, sizeof(d->sensor_id));
	bson_append_utf8(&put->document, "name", -1, d->settings->sensor, -1);
	bson_append_utf8(&put->document, "version", -1, RECORDER_VERSION, -1);
	bson_append_date_time(&put->document, "started", -1, d->started_wall / 1000000);
	bson_append_array_begin(&put->document, "interfaces", -1, &list);
	for (unsigned i = 0; i < d->nlanes; i++) {
		const struct link_capture *info = &d->lanes[i].info;

		snprintf(index, sizeof(index), "%u", i);
		bson_append_document_begin(&list, index, -1, &one);
		bson_append_utf8(&one, "iface", -1, info->iface, -1);
		bson_append_binary(&one, "capture", -1, BSON_SUBTYPE_BINARY, info->id, CAPTURE_ID_LEN);
		bson_append_utf8(&one, "rx", -1, info->mode[REC_RX], -1);
		bson_append_utf8(&one, "tx", -1, info->mode[REC_TX], -1);
		bson_append_document_end(&list, &one);
	}
	bson_append_array_end(&put->document, &list);
	settings_to_bson_redacted(d->settings, SETTINGS_RECORD, &settings);
	bson_append_document(&put->document, "configuration", -1, &settings);
	bson_destroy(&settings);
	queue_event(d, put);
}

/* ---- the balance --------------------------------------------------------------------------------------------- */

static void row_settled(struct put *put)
{
	struct side *side = put->arg;

	balance_settle(&side->balance, side->lane->journal);
	side->put = NULL;
	book_rows(put->drainer);
}

/* Where the ring's first record stands that is not stored: its tail, or behind what the open batch has acknowledged. */
static uint64_t stored_to(const struct ring *ring, const struct batch *acknowledged)
{
	for (unsigned i = 0; acknowledged && i < acknowledged->nranges; i++) {
		const struct batch_range *range = &acknowledged->ranges[i];

		if (range->side == ring->side && range->cpu == ring->cpu)
			return range->to;
	}
	return ring_tail(ring);
}

/* Up to which boot time every record of this side is stored, ns. */
static uint64_t settled_until(const struct lane *lane, unsigned side)
{
	const struct batch *acknowledged = pipeline_acknowledged(lane);
	uint64_t until = lane->drainer->horizon;

	for (unsigned i = 0; i < lane->nrings; i++) {
		const struct ring *ring = &lane->rings[i];
		uint64_t at = stored_to(ring, acknowledged);

		if (ring->side == side && at < lane->horizon_head[i] && ring_record(ring, at)->time < until)
			until = ring_record(ring, at)->time;
	}
	return until;
}

static void row_start(struct side *side, bool flush, uint64_t final_sec)
{
	struct lane *lane = side->lane;
	struct drainer *d = lane->drainer;
	struct balance_row *row = &side->row;
	struct put *put;

	memset(row, 0, sizeof(*row));
	if (!balance_next(&side->balance, final_sec, flush, row))
		return;
	row->source = &lane->source;
	row->pair = lane_pair_at(lane, row->sec * NS_PER_SEC);
	if (witness_read(lane->info.iface, &row->witness))
		memset(&row->witness, 0, sizeof(row->witness)); /* the interface may be gone: no witness then */
	put = put_new(d, "balance", balance_day(row), row_settled, side);
	if (!put)
		return; /* formed again at the next horizon */
	balance_document(&put->document, row);
	put->drops = row->seconds > 1;
	balance_id(put->drop_from, lane->info.id, row->side, row->sec);
	balance_id(put->drop_to, lane->info.id, row->side, row->sec + row->seconds - 1);
	side->put = put;
	put_start(put);
}

void book_rows(struct drainer *d)
{
	bool last = d->final_horizon;

	if (!d->sink_ready || !d->horizon || d->state == DRAINER_CLOSING)
		return;
	for (unsigned i = 0; i < d->nlanes; i++)
		for (unsigned s = 0; s < REC_SIDES; s++) {
			struct side *side = &d->lanes[i].sides[s];
			uint64_t final_sec;

			if (!side->present || side->put || !journal_attached(d->lanes[i].journal))
				continue; /* a capture that was never attached has no seconds */
			final_sec = settled_until(&d->lanes[i], s) / NS_PER_SEC;
			/* Capture has ended and every record is settled: the second that is not over is final too. */
			if (last && pipeline_idle(&d->lanes[i]))
				final_sec = d->horizon / NS_PER_SEC + 1;
			row_start(side, last, final_sec);
		}
}

bool book_idle(const struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++)
		for (unsigned s = 0; s < REC_SIDES; s++)
			if (d->lanes[i].sides[s].put)
				return false;
	return !d->puts;
}

void book_drop(struct drainer *d)
{
	while (d->puts) {
		struct put *put = d->puts;

		d->puts = put->next;
		put_free(put);
	}
	for (unsigned i = 0; i < d->nlanes; i++)
		for (unsigned s = 0; s < REC_SIDES; s++)
			if (d->lanes[i].sides[s].put)
				put_free(d->lanes[i].sides[s].put);
}

/* ---- the horizon --------------------------------------------------------------------------------------------- */

/* Behind it every program that read the clock before has also published and counted. membarrier(2): needs no privilege. */
static void horizon_work(uv_work_t *work)
{
	struct drainer *d = work->data;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0)) {
		static struct log_limit limit;

		/* nohz_full kernels refuse it: then wait longer than any program can run. */
		log_limited(&limit, 3600, LOG_WARNING, "membarrier: %s; seconds are closed half a second later",
			    strerror(errno));
		usleep(500000);
	}
	(void)d;
}

static void horizon_done(uv_work_t *work, int status)
{
	struct drainer *d = work->data;

	(void)status;
	d->horizon_busy = false;
	d->working--;
	/* A packet that was counted may have an older time than it should; at the end there is none any more. */
	d->horizon = d->horizon_asked - (d->horizon_last ? 0 : REC_CLOCK_LAG);
	for (unsigned i = 0; i < d->nlanes; i++)
		for (unsigned r = 0; r < d->lanes[i].nrings; r++)
			d->lanes[i].horizon_head[r] = ring_head(&d->lanes[i].rings[r]);
	if (d->horizon_last && !d->final_horizon) {
		d->final_horizon = true;
		pipeline_tick(d);
	}
	book_rows(d);
	floods_tick(d);
	drainer_check_end(d);
}

void book_horizon(struct drainer *d)
{
	if (d->horizon_busy)
		return;
	d->horizon_busy = true;
	d->horizon_last = d->state == DRAINER_ENDING && !d->attached; /* as it was asked, not as it lands */
	d->horizon_asked = clock_boot_ns();
	d->horizon_work.data = d;
	d->working++;
	uv_queue_work(&d->loop, &d->horizon_work, horizon_work, horizon_done);
}
