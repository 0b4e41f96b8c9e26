/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the drainer's batches go: the database, opened, migrated and made ready for the day on a worker; the file; or both. And
 * what they say while batches go there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"
#include "recorder/sink/tee.h"

#define AWAY_END_S 10
#define SPOOLING_MS 1500 /* a capture that goes on waits so long for its database, then begins without it */

/* ---- what the sink says --------------------------------------------------------------------------------------- */

static const char *sink_words(const struct drainer *d)
{
	return !d->file ? "the database" : !d->db ? "the file" : "the database or the file";
}

static void away_begins(struct drainer *d, const char *problem)
{
	d->away_since = clock_boot_ns();
	log_warn("%s does not take anything: %s; capture goes on%s", sink_words(d), problem,
		 d->spool ? ", into the spool" : "");
}

static void away_ends(struct drainer *d)
{
	char text[120];
	uint64_t now = clock_boot_ns();
	double seconds = (double)(now - d->away_since) / 1e9;
	int64_t wall = clock_wall_ns();
	bson_t details = BSON_INITIALIZER;
	uint64_t since;

	snprintf(text, sizeof(text), "%s took nothing for %.1f s", sink_words(d), seconds);
	log_info("%s; it does again", text);
	since = d->away_since;
	d->away_since = 0;
	d->away_batch = false;
	d->problem[0] = '\0';
	bson_append_date_time(&details, "from", -1, clock_ms(wall - (int64_t)(now - since)));
	bson_append_date_time(&details, "to", -1, clock_ms(wall));
	book_event(d, NULL, "outage", text, &details);
	bson_destroy(&details);
}

void drainer_report(struct drainer *d, const struct sink_report *report, bool settled, bool batch)
{
	if (report->latency_ns)
		d->latency_ns = report->latency_ns;
	if (settled && !report->spooled) {
		if (d->away_since && (batch || !d->away_batch))
			away_ends(d);
		return;
	}
	if (report->waiting || !report->problem[0] || d->state == DRAINER_CLOSING)
		return;
	if (!d->away_since)
		away_begins(d, report->problem);
	d->away_batch |= batch;
	memcpy(d->problem, report->problem, sizeof(d->problem));
	if (d->settings->on_outage == ON_OUTAGE_END && d->state == DRAINER_RECORDING && !d->enough_sent &&
	    clock_boot_ns() - d->away_since > AWAY_END_S * NS_PER_SEC) {
		log_error("%s has been away for %d s: %s; ending (--on-outage end)", sink_words(d), AWAY_END_S, d->problem);
		d->enough_sent = true;
		d->exit_status = 1;
		link_send(d->link, LINK_ENOUGH, 1, NULL, 0, -1);
	}
}

/* ---- start of the database ------------------------------------------------------------------------------------ */

static void tell_start(struct drainer *d, const char *problem)
{
	uv_mutex_lock(&d->start_lock);
	snprintf(d->start_problem, sizeof(d->start_problem), "%s", problem);
	uv_mutex_unlock(&d->start_lock);
}

void upstream_problem(struct drainer *d, char *text, size_t size)
{
	snprintf(text, size, "%s", d->problem);
	if (d->problem[0])
		return;
	uv_mutex_lock(&d->start_lock);
	snprintf(text, size, "%s", d->start_problem);
	uv_mutex_unlock(&d->start_lock);
}

static void start_work(uv_work_t *work)
{
	struct drainer *d = work->data;
	uint64_t until = d->settings->database_wait_ms == SETTINGS_FOREVER
				 ? UINT64_MAX
				 : clock_boot_ns() + d->settings->database_wait_ms * 1000000;
	struct migrate_report report;
	uint64_t latency;
	struct db_problem problem = {0};
	uint32_t today = clock_day(clock_wall_ns());

	d->days_first = today;
	d->days_last = clock_next_day(today);
	d->start_result = DB_OK;
	if (d->patient) /* the spool takes what comes */
		until = UINT64_MAX;
	while (d->db) {
		/* Whether it is there is asked by itself: once it is, another recorder's migration may take its time. */
		d->start_result = db_ping(d->db, &latency, &problem);
		if (d->start_result == DB_OK)
			d->start_result = migrate_run(d->db, &d->migrations, NULL, &report, &problem);
		if (d->start_result == DB_OK)
			d->start_result = days_prepare(d->days, today, clock_next_day(today), &problem);
		if (d->start_result == DB_OK)
			d->start_result = storage_probe(d, &problem);
		tell_start(d, d->start_result == DB_OK ? "" : problem.text);
		if (d->start_result == DB_OK || d->start_result == DB_FATAL || d->start_result == DB_REFUSED ||
		    d->start_result == DB_CANCELLED || (d->start_result == DB_DENIED && until != UINT64_MAX) ||
		    clock_boot_ns() >= until)
			break;
		if (until == UINT64_MAX) {
			static struct log_limit limit;

			log_limited(&limit, 30, LOG_WARNING, "waiting for the database: %s", problem.text);
		}
		usleep(250000);
	}
}

static void say_ready(struct drainer *d)
{
	if (d->ready)
		return;
	d->ready = true;
	link_send(d->link, LINK_READY, 0, NULL, 0, -1);
}

static void open_for_batches(struct drainer *d)
{
	if (d->sink_ready)
		return;
	d->sink_ready = true;
	if (d->state == DRAINER_STARTING)
		d->state = DRAINER_RECORDING;
	book_resume(d);
	say_ready(d);
	pipeline_resume(d);
}

static void start_done(uv_work_t *work, int status)
{
	struct drainer *d = work->data;

	(void)status;
	d->working--;
	d->starting = false;
	if (d->start_result != DB_OK && d->state == DRAINER_ENDING) {
		drainer_check_end(d);
		return;
	}
	if (d->start_result != DB_OK) {
		log_error("%s", d->start_problem);
		drainer_fail(d);
		return;
	}
	d->problem[0] = '\0';
	storage_apply(d);
	d->db_ready = true;
	uv_timer_stop(&d->replay.again);
	if (d->spool)
		spool_sink_ready(d->spool);
	open_for_batches(d);
	book_sensor(d);
	spooling_go_on(d);
	drainer_check_end(d);
}

static int open_database(struct drainer *d)
{
	struct db_problem problem;
	struct db_options options = {
		.uri = d->settings->mongo,
		.database = d->settings->database,
		.clients = (unsigned)((d->settings->in_flight + 2) * d->nlanes + 6),
	};
	struct mongo_sink_options sink;
	bool ok = db_open(&d->db, &options, &problem) == DB_OK &&
		  migrations_load(&d->migrations, NULL, &problem) == DB_OK;

	if (!ok) {
		log_error("%s", problem.text);
		return -EINVAL;
	}
	d->days = days_new(d->db, &d->migrations, (unsigned)d->settings->bucket_span);
	sink = (struct mongo_sink_options){
		.db = d->db, .days = d->days, .ends = d->ends, .check_all = d->settings->check_buckets,
		.hasty = d->spool_fd >= 0};
	d->mongo = d->days ? mongo_sink_new(&sink) : NULL;
	if (d->mongo)
		return 0;
	log_error("out of memory");
	return -ENOMEM;
}

static int open_file(struct drainer *d)
{
	const struct file_sink_options options = {
		.fd = TAKE_FD(d->file_fd),
		.name = d->settings->write,
		.format = d->file_format,
		.filter = d->settings->filter,
		.ends = d->ends,
	};
	struct file_problem problem;

	d->file = file_sink_new(&options, &problem);
	if (d->file)
		return 0;
	log_error("--write %s", problem.text);
	return -EINVAL;
}

int upstream_open(struct drainer *d)
{
	int err;

	addresses_refresh(d);
	err = d->ends ? 0 : -ENOMEM;
	if (!err && d->settings->mongo)
		err = open_database(d);
	if (!err && d->mongo && d->spool_fd >= 0)
		err = spooling_open(d);
	if (!err && d->file_fd >= 0)
		err = open_file(d);
	if (err)
		return err;
	d->sink = d->spool ? d->spool : d->mongo;
	d->sink = d->sink && d->file ? tee_sink_new(d->sink, d->file) : d->sink ? d->sink : d->file;
	if (d->sink)
		return 0;
	log_error("%s", d->mongo || d->file ? "out of memory" : "there is neither a database nor a file to write to");
	return -EINVAL;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

void upstream_check_reader(struct drainer *d)
{
	if (!d->file || d->enough_sent || !file_sink_reader_gone(d->file))
		return;
	log_info("--write %s: nobody reads it any more: the recording ends", d->settings->write);
	d->enough_sent = true;
	link_send(d->link, LINK_ENOUGH, 0, NULL, 0, -1);
}

static void end_capture_in_file(struct drainer *d, const struct lane *lane)
{
	struct file_statistics statistics = {.source = &lane->source, .wall = clock_wall_ns(), .stored = lane->stored.packets};
	int err;

	for (unsigned s = 0; s < REC_SIDES; s++) {
		struct rec_count term[REC_TERMS];

		if (!lane->sides[s].present)
			continue;
		balance_now(&lane->sides[s].balance, term);
		statistics.received += term[REC_SEEN].packets;
		statistics.filtered += term[REC_FILTERED_OWN].packets + term[REC_FILTERED_EXPR].packets;
		/* What was summarised is in the database, but not in the file. */
		for (unsigned t = REC_SUMMARISED_FLOW; t <= REC_LOST_UNREADABLE; t++)
			statistics.dropped += term[t].packets;
	}
	err = file_sink_statistics(d->file, &statistics);
	if (err)
		log_warn("--write %s: the counters of %s cannot be written at its end: %s", d->settings->write, lane->info.iface,
			 strerror(-err));
}

void upstream_end_file(struct drainer *d)
{
	for (unsigned i = 0; d->file && i < d->nlanes; i++)
		end_capture_in_file(d, &d->lanes[i]);
}

/* ---- coming days -------------------------------------------------------------------------------- */

static void days_work(uv_work_t *work)
{
	struct drainer *d = work->data;
	struct sink_report report = {0};

	if (d->sink->prepare_days(d->sink, d->days_wanted_first, d->days_wanted_last, &report) == SINK_SETTLED) {
		d->days_first = d->days_wanted_first;
		d->days_last = d->days_wanted_last;
	} else if (report.problem[0]) {
		log_warn("the coming day's collections are not ready: %s", report.problem);
	}
	storage_probe_again(d);
}

static void days_done(uv_work_t *work, int status)
{
	struct drainer *d = work->data;

	(void)status;
	d->days_busy = false;
	d->working--;
	storage_apply(d);
	drainer_check_end(d);
}

/*
 * Today and tomorrow have their collections before their first packet. Looked at once a minute too: a server that was killed may
 * have forgotten one, somebody may have dropped it; another server may take other buckets.
 */
void upstream_check_days(struct drainer *d)
{
	uint32_t today = clock_day(clock_wall_ns());

	if (d->days_busy || !d->db_ready) /* a worker may be writing days_first and days_last */
		return;
	if (today == d->days_first && clock_next_day(today) == d->days_last && ++d->days_age < 60)
		return;
	d->days_age = 0;
	d->days_wanted_first = today;
	d->days_wanted_last = clock_next_day(today);
	d->days_busy = true;
	d->days_work.data = d;
	d->working++;
	uv_queue_work(&d->loop, &d->days_work, days_work, days_done);
}

/*
 * A drainer that is started again, or a capture that was left: packets come whether the database is there or not. A recording that
 * begins asks for it first, for a wrong URI is the most likely mistake.
 */
static bool may_begin_spooling(const struct drainer *d)
{
	bool resumed = d->settings->database_wait_ms == SETTINGS_FOREVER;

	for (unsigned i = 0; i < d->nlanes; i++)
		resumed |= d->lanes[i].info.resumed;
	return resumed && d->spool && spool_sink_knows_storage(d->spool);
}

static void begin_spooling(uv_timer_t *timer)
{
	struct drainer *d = timer->data;

	if (d->db_ready || d->gave_up || d->state == DRAINER_CLOSING)
		return;
	if (!d->away_since)
		away_begins(d, "it is not there");
	open_for_batches(d);
	drainer_check_end(d);
}

void upstream_start(struct drainer *d)
{
	if (may_begin_spooling(d)) /* what the spool's timer is for comes later */
		uv_timer_start(&d->replay.again, begin_spooling, SPOOLING_MS, 0);
	d->starting = true;
	d->patient = may_begin_spooling(d);
	d->start_work.data = d;
	d->working++;
	uv_queue_work(&d->loop, &d->start_work, start_work, start_done);
	if (d->settings->database_wait_ms == SETTINGS_FOREVER)
		say_ready(d);
}

void upstream_give_up(struct drainer *d)
{
	d->gave_up = true;
	if (d->sink)
		d->sink->cancel(d->sink);
	if (d->db)
		db_cancel(d->db);
}

void upstream_close(struct drainer *d)
{
	if (d->sink) {
		d->sink->close(d->sink);
	} else {
		if (d->spool)
			d->spool->close(d->spool);
		else if (d->mongo)
			d->mongo->close(d->mongo);
		if (d->file)
			d->file->close(d->file);
	}
	days_free(d->days);
	migrations_free(&d->migrations);
	db_close(d->db);
	if (d->file_fd >= 0)
		close(d->file_fd);
	if (d->spool_fd >= 0)
		close(d->spool_fd);
}
