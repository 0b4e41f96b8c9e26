/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spool's way out: one worker at a time gives what it keeps to the database, as long as anything is there and the
 * database is open for business; and what the spool says of itself becomes events and lines of `status`.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "recorder/core/log.h"
#include "recorder/process/drainer.h"
#include "recorder/process/pipeline_internal.h"

#define CALM_S 5u
#define KEEP_FREE_MOST ((uint64_t)1 << 30)

int spooling_open(struct drainer *d)
{
	struct spool_sink_options options = {.inner = d->mongo,
					     .name = d->settings->spool ? d->settings->spool : d->settings->instance,
					     .bytes = d->settings->spool_size,
					     .keep_free = d->settings->spool_free};
	struct statvfs fs;

	if (!options.keep_free && !fstatvfs(d->spool_fd, &fs)) {
		options.keep_free = (uint64_t)fs.f_blocks * fs.f_frsize / 10;
		options.keep_free = options.keep_free < KEEP_FREE_MOST ? options.keep_free : KEEP_FREE_MOST;
	}
	options.dir = d->spool_fd;
	d->spool = spool_sink_new(&options);
	if (!d->spool)
		return -EIO; /* said there */
	d->spool_fd = -1;
	return 0;
}

/* Packets and small documents that the database does not have yet. */
bool spooling_holds(const struct drainer *d, uint64_t *packets)
{
	struct spool_sink_status status;

	*packets = 0;
	if (!d->spool)
		return false;
	spool_sink_status(d->spool, &status);
	*packets = status.store.packets;
	return status.store.batches || status.store.documents;
}

/* ---- replaying --------------------------------------------------------------------------------------------------- */

static void replay_work(uv_work_t *work)
{
	struct drainer *d = work->data;

	d->replay.outcome = spool_sink_replay(d->spool, &d->replay.report);
}

static void replay_start(struct drainer *d);

static void replay_again(uv_timer_t *timer)
{
	replay_start(timer->data);
}

static void replay_done(uv_work_t *work, int status)
{
	struct drainer *d = work->data;
	const struct sink_report *report = &d->replay.report;
	uint64_t now = clock_boot_ns();

	(void)status;
	d->working--;
	d->replay.busy = false;
	if (report->latency_ns || report->problem[0])
		drainer_report(d, report, !report->problem[0], true);
	if (d->replay.outcome == SINK_AGAIN && d->state != DRAINER_CLOSING)
		uv_timer_start(&d->replay.again, replay_again,
			       report->again_ns > now ? (report->again_ns - now) / 1000000 + 1 : 1, 0);
	drainer_check_end(d);
}

static void replay_start(struct drainer *d)
{
	if (d->replay.busy || !d->db_ready || d->gave_up || d->state == DRAINER_CLOSING)
		return;
	d->replay.busy = true;
	d->replay.work.data = d;
	d->working++;
	uv_queue_work(&d->loop, &d->replay.work, replay_work, replay_done);
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

static void tell(struct drainer *d, const char *kind, const char *text)
{
	log_warn("%s", text);
	book_event(d, NULL, kind, text, NULL);
}

static void tell_full(struct drainer *d, const struct spool_sink_status *now)
{
	char text[200];
	bool full = now->store.refused > d->replay.refused;

	d->replay.refused = now->store.refused;
	d->replay.calm = full ? 0 : d->replay.calm + 1;
	/* Where a batch finds no room a small document may: it is over when nothing was refused for some seconds. */
	if (full == d->replay.full || (!full && d->replay.calm < CALM_S))
		return;
	d->replay.full = full;
	if (full)
		snprintf(text, sizeof(text),
			 "the spool takes nothing more (%s): what comes stays in the rings until it does",
			 now->store.error == ENOSPC ? "its size or the free space is used up"
						    : strerror(now->store.error));
	else
		snprintf(text, sizeof(text), "the spool has room again");
	tell(d, full ? "spool-full" : "spool-room", text);
}

static void tell_damage(struct drainer *d, const struct spool_sink_status *now)
{
	const uint64_t damaged = now->store.damaged + now->unreadable, said = d->replay.damaged;
	char text[200];

	if (damaged > said || now->store.aside > d->replay.aside) {
		snprintf(text, sizeof(text),
			 "the spool is damaged: %llu records or places cannot be read, %llu files are kept aside; the "
			 "ledger "
			 "names the batches that are missing",
			 (unsigned long long)damaged, (unsigned long long)now->store.aside);
		tell(d, "spool-damaged", text);
	}
	if (now->store.torn > d->replay.torn)
		book_event(d, NULL, "spool-torn",
			   "a file of the spool ended in mid-record: that record was never counted as kept", NULL);
	d->replay.damaged = damaged;
	d->replay.aside = now->store.aside;
	d->replay.torn = now->store.torn;
}

/* While the database is away, batches need not wait for it in vain until a quarter of a ring is full. */
void spooling_hurry(struct drainer *d)
{
	bool hurry = false;

	if (!d->spool)
		return;
	for (unsigned i = 0; d->away_since && i < d->nlanes; i++)
		hurry |= lane_quarter(&d->lanes[i]);
	spool_sink_hurry(d->spool, hurry);
}

/* Once a second. */
void spooling_look(struct drainer *d)
{
	struct spool_sink_status now;

	if (!d->spool)
		return;
	spool_sink_status(d->spool, &now);
	tell_full(d, &now);
	tell_damage(d, &now);
	spooling_go_on(d);
}

void spooling_go_on(struct drainer *d)
{
	struct spool_sink_status now;

	if (!d->spool)
		return;
	spool_sink_status(d->spool, &now);
	if ((now.store.segments || now.kept) && !uv_is_active((uv_handle_t *)&d->replay.again))
		replay_start(d);
}

/* At the end: true while it is worth waiting for the database to take more. */
bool spooling_goes_on(struct drainer *d)
{
	uint64_t packets;

	return d->db_ready && !d->gave_up && !d->away_since && spooling_holds(d, &packets);
}

void spooling_status(bson_t *to, const struct drainer *d)
{
	struct spool_sink_status now;
	bson_t part;

	if (!d->spool)
		return;
	spool_sink_status(d->spool, &now);
	bson_append_document_begin(to, "spool", -1, &part);
	bson_append_utf8(&part, "directory", -1, d->settings->spool, -1);
	bson_append_utf8(&part, "state", -1,
			 now.full || d->replay.full		    ? "full"
			 : now.away				    ? "spooling"
			 : now.store.batches || now.store.documents ? "replaying"
								    : "empty",
			 -1);
	bson_append_int64(&part, "batches", -1, (int64_t)now.store.batches);
	bson_append_int64(&part, "packets", -1, (int64_t)now.store.packets);
	bson_append_int64(&part, "documents", -1, (int64_t)now.store.documents);
	bson_append_int64(&part, "bytes", -1, (int64_t)now.store.bytes);
	bson_append_int64(&part, "room", -1, (int64_t)now.store.room);
	bson_append_int64(&part, "spooled", -1, (int64_t)now.spooled_packets);
	bson_append_int64(&part, "replayed", -1, (int64_t)now.replayed_packets);
	bson_append_int64(&part, "written", -1, (int64_t)now.store.appended_bytes);
	bson_append_int64(&part, "syncs", -1, (int64_t)now.store.syncs);
	bson_append_int64(&part, "damaged", -1, (int64_t)(now.store.damaged + now.unreadable));
	bson_append_document_end(to, &part);
}
