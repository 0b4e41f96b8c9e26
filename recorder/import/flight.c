/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Batches on their way.
 *
 *   closed --prepare--> PREPARED --(predecessor has its digest)--> WRITING --> SETTLED --(predecessors settled)--> freed
 *                                                                   ^   |
 *                                                                   +---+ WAITING (the sink says when)
 *
 * There is no recipe: the file is the memory. What a former import may have sent is read from the ledger. A batch whose
 * entry is there is settled. Of a capture whose highest number in the ledger is N, none above N + IMPORT_FLIGHTS was ever
 * sent: of the batches on their way at once, which are at most IMPORT_FLIGHTS in a row, one at least was not above N + 1.
 * The others are `attempted`: the sink reads back first.
 */
#include "recorder/import/internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/read.h"
#include "recorder/ledger/canonical.h"
#include "recorder/ledger/journal.h"
#include "recorder/source/cut.h"

static void write_start(struct import_flight *flight);

bool import_ends(const struct import_file *file)
{
	return file->import->signals || file->problem[0];
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static bool same_digest(const bson_t *entry, const uint8_t digest[DIGEST_LEN])
{
	bson_subtype_t subtype;
	const uint8_t *bytes;
	bson_iter_t it;
	uint32_t len;

	if (!bson_iter_init_find(&it, entry, "digest") || !BSON_ITER_HOLDS_BINARY(&it))
		return false;
	bson_iter_binary(&it, &subtype, &len, &bytes);
	return len == DIGEST_LEN && !memcmp(bytes, digest, DIGEST_LEN);
}

/* What the ledger says of it. False: not answered, the report says why. */
static bool ask_ledger(struct import_flight *flight)
{
	struct import_file *file = flight->file;
	struct batch *batch = flight->batch;
	struct db_problem problem = {0};
	bool found = false;
	bson_t entry;

	if (!file->begun || batch->number > flight->capture->known + IMPORT_FLIGHTS) {
		flight->asked = true;
		return true;
	}
	if (read_ledger_entry(file->import->db, batch->source->capture, batch->number, batch->day, &entry, &found,
			      &problem) != DB_OK) {
		snprintf(flight->report.problem, sizeof(flight->report.problem), "%s", problem.text);
		flight->report.again_ns = clock_boot_ns() + NS_PER_SEC / 2;
		flight->outcome = problem.result == DB_CANCELLED ? SINK_ENDED : SINK_AGAIN;
		return false;
	}
	flight->asked = true;
	flight->there = found && same_digest(&entry, batch->digest);
	if (found && !flight->there)
		flight->error = -EEXIST;
	if (found)
		bson_destroy(&entry);
	else
		batch->attempted = 1;
	return true;
}

static void write_work(uv_work_t *work)
{
	struct import_flight *flight = work->data;
	struct sink *sink = flight->file->import->sink;

	memset(&flight->report, 0, sizeof(flight->report));
	if (!flight->asked && !ask_ledger(flight))
		return;
	flight->outcome = SINK_SETTLED;
	if (flight->there || flight->error)
		return;
	if (!flight->job)
		flight->error = sink->encode(sink, flight->batch, &flight->job);
	if (flight->error)
		return;
	flight->outcome = sink->write(sink, flight->job, &flight->report);
	/* The first reading tells what a former import put there; a later one also finds what this one did. */
	if (flight->batch->attempted && !flight->read && flight->report.found | flight->report.inserted) {
		flight->found = flight->report.found;
		flight->read = true;
	}
}

static void flight_free(struct import_flight *flight)
{
	struct sink *sink = flight->file->import->sink;

	if (flight->job)
		sink->job_free(sink, flight->job);
	batch_free(flight->batch);
	free(flight->arena);
}

static void flight_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void pop(struct import_capture *capture)
{
	struct import_flight *flight = capture->first;

	flight->file->flying -= flight->batch->nrecords;
	capture->first = flight->next;
	if (!capture->first)
		capture->last = NULL;
	flight->file->flights--;
	flight_free(flight);
	uv_close((uv_handle_t *)&flight->again, flight_closed);
}

static void settled(struct import_flight *flight)
{
	struct import_result *result = &flight->file->result;
	uint32_t n = flight->batch->nrecords, found = flight->found < n ? flight->found : n;

	flight->state = IMPORT_SETTLED;
	result->stored += n;
	if (!flight->there)
		result->added += n - found;
	if (!result->first_year || flight->batch->day < result->first_year)
		result->first_year = flight->batch->day;
	if (flight->batch->day > result->last_year)
		result->last_year = flight->batch->day;
	while (flight->capture->first && flight->capture->first->state == IMPORT_SETTLED)
		pop(flight->capture);
}

static void write_again(uv_timer_t *timer)
{
	write_start(timer->data);
}

static void failed(struct import_flight *flight)
{
	struct import_file *file = flight->file;

	flight->state = IMPORT_PREPARED;
	if (file->problem[0])
		return;
	if (flight->error == -EEXIST)
		snprintf(file->problem, sizeof(file->problem),
			 "%s: the database has another batch %llu of this file (batches_%04u, capture %02x%02x%02x%02x): it was "
			 "damaged, or written by another version; drop it or use another --database",
			 file->path, (unsigned long long)flight->batch->number, flight->batch->day,
			 flight->capture->source.capture[0], flight->capture->source.capture[1],
			 flight->capture->source.capture[2], flight->capture->source.capture[3]);
	else if (flight->error == -EADDRINUSE)
		snprintf(file->problem, sizeof(file->problem),
			 "%s: others have the ids of the buckets of batch %llu: use another --database", file->path,
			 (unsigned long long)flight->batch->number);
	else
		snprintf(file->problem, sizeof(file->problem), "%s: batch %llu cannot be prepared: %s", file->path,
			 (unsigned long long)flight->batch->number, strerror(-flight->error));
}

/* Others have the id of its bucket: the next salt, to which the next import comes in the same way. */
static void clash(struct import_flight *flight)
{
	struct sink *sink = flight->file->import->sink;

	sink->job_free(sink, TAKE_PTR(flight->job));
	if (++flight->batch->salt < JOURNAL_SALTS) {
		write_start(flight);
		return;
	}
	flight->error = -EADDRINUSE;
	failed(flight);
}

static void write_done(uv_work_t *work, int status)
{
	static struct log_limit limit;
	struct import_flight *flight = work->data;
	const struct sink_report *report = &flight->report;
	uint64_t now = clock_boot_ns();

	(void)status;
	if (flight->error) {
		failed(flight);
		return;
	}
	if (flight->outcome == SINK_SETTLED) {
		settled(flight);
		return;
	}
	if (flight->outcome == SINK_CLASH) {
		clash(flight);
		return;
	}
	flight->state = IMPORT_WAITING;
	if (flight->outcome == SINK_ENDED || flight->file->import->cancelled)
		return;
	if (report->problem[0] && !report->waiting) {
		flight->file->import->view->clear(flight->file->import->view->arg);
		log_limited(&limit, 10, LOG_WARNING, "the database does not take anything: %s; trying again",
			    report->problem);
	}
	uv_timer_start(&flight->again, write_again,
		       report->again_ns > now ? (report->again_ns - now) / 1000000 + 1 : 1, 0);
}

static void write_start(struct import_flight *flight)
{
	flight->state = IMPORT_WRITING;
	uv_queue_work(&flight->file->import->loop, &flight->work, write_work, write_done);
}

/* Those whose predecessor has its digest are sent, in number order. */
static void sequence(struct import_capture *capture)
{
	for (struct import_flight *flight = capture->first; flight; flight = flight->next) {
		if (flight->state == IMPORT_PREPARING || flight->error)
			return;
		if (flight->state != IMPORT_PREPARED)
			continue;
		memcpy(flight->batch->previous, capture->chain, DIGEST_LEN);
		memcpy(capture->chain, flight->batch->digest, DIGEST_LEN);
		write_start(flight);
	}
}

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static void prepare_work(uv_work_t *work)
{
	struct import_flight *flight = work->data;
	struct import_file *file = flight->file;
	struct sink *sink = file->import->sink;

	flight->error = canonical_order(flight->batch);
	if (!flight->error)
		flight->error = canonical_digest(flight->batch);
	/* What a former import may have written is most likely there: it is not encoded before the ledger was asked. */
	if (!flight->error && (!file->begun || flight->batch->number > flight->capture->known + IMPORT_FLIGHTS))
		flight->error = sink->encode(sink, flight->batch, &flight->job);
}

static void prepare_done(uv_work_t *work, int status)
{
	struct import_flight *flight = work->data;

	(void)status;
	flight->state = IMPORT_PREPARED;
	if (flight->error)
		failed(flight);
	else
		sequence(flight->capture);
}

void import_launch(struct import_file *file, struct import_capture *capture, struct batch *batch, uint8_t *arena)
{
	struct import_flight *flight = calloc(1, sizeof(*flight));

	if (!flight) {
		snprintf(file->problem, sizeof(file->problem), "%s: out of memory", file->path);
		batch_free(batch);
		free(arena);
		return;
	}
	flight->file = file;
	flight->capture = capture;
	flight->batch = batch;
	flight->arena = arena;
	flight->work.data = flight;
	uv_timer_init(&file->import->loop, &flight->again);
	flight->again.data = flight;
	if (capture->last)
		capture->last->next = flight;
	else
		capture->first = flight;
	capture->last = flight;
	file->flights++;
	file->flying += batch->nrecords;
	uv_queue_work(&file->import->loop, &flight->work, prepare_work, prepare_done);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

void import_wait(struct import_file *file, bool all)
{
	while ((file->flights >= (all ? 1 : IMPORT_FLIGHTS) || file->flying >= IMPORT_FLIGHT_PACKETS) && !import_ends(file)) {
		uv_run(&file->import->loop, UV_RUN_ONCE);
		import_say(file, false, 0, file->result.packets, false);
	}
}

/* A worker has it, or a timer will send it. */
static bool any_at_work(const struct import_file *file)
{
	for (unsigned i = 0; i < file->ncaptures; i++)
		for (const struct import_flight *f = file->captures[i].first; f; f = f->next)
			if (f->state == IMPORT_PREPARING || f->state == IMPORT_WRITING || uv_is_active((uv_handle_t *)&f->again))
				return true;
	return false;
}

static void stop_timers(struct import_file *file)
{
	for (unsigned i = 0; i < file->ncaptures; i++)
		for (struct import_flight *f = file->captures[i].first; f; f = f->next)
			uv_timer_stop(&f->again);
}

void import_drop_flights(struct import_file *file)
{
	while (any_at_work(file)) {
		uv_run(&file->import->loop, UV_RUN_ONCE);
		if (file->import->cancelled || file->problem[0])
			stop_timers(file);
	}
	for (unsigned i = 0; i < file->ncaptures; i++)
		while (file->captures[i].first)
			pop(&file->captures[i]);
}

struct call {
	uv_work_t work;
	void (*call)(void *arg);
	void *arg;
	bool done;
};

static void call_work(uv_work_t *work)
{
	struct call *call = work->data;

	call->call(call->arg);
}

static void call_done(uv_work_t *work, int status)
{
	(void)status;
	((struct call *)work->data)->done = true;
}

void import_on_worker(struct import *import, void (*function)(void *arg), void *arg)
{
	struct call call = {.call = function, .arg = arg};

	call.work.data = &call;
	uv_queue_work(&import->loop, &call.work, call_work, call_done);
	while (!call.done)
		uv_run(&import->loop, UV_RUN_ONCE);
}

static void pause_over(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

void import_pause(struct import *import, unsigned ms)
{
	bool over = false;

	import->pause.data = &over;
	uv_timer_start(&import->pause, pause_over, ms, 0);
	while (!over && !import->signals)
		uv_run(&import->loop, UV_RUN_ONCE);
	uv_timer_stop(&import->pause);
}
