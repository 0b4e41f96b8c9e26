/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status socket: a line "status" in, a line of JSON out, then the connection is closed. Its listening descriptor comes from
 * the keeper. An asker that does not read or write within two seconds is dropped: a few at a time, the loop never waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"

#define ASKERS_MAX 16
#define ASKER_MS 2000

struct asker {
	uv_pipe_t pipe;
	uv_timer_t bound;
	uv_write_t write;
	struct drainer *drainer;
	char in[64];
	size_t used;
	char *answer;
	int handles; /* not closed yet */
};

/* ---- the answer ----------------------------------------------------------------------------------------------- */

static void append_count(bson_t *to, const char *name, struct rec_count count)
{
	bson_t one;

	bson_append_document_begin(to, name, -1, &one);
	bson_append_int64(&one, "packets", -1, (int64_t)count.packets);
	bson_append_int64(&one, "bytes", -1, (int64_t)count.bytes);
	bson_append_document_end(to, &one);
}

static struct rec_count sum2(struct rec_count a, struct rec_count b)
{
	return (struct rec_count){a.packets + b.packets, a.bytes + b.bytes};
}

static void append_totals(bson_t *to, const struct lane *lane)
{
	struct rec_count t[REC_TERMS] = {{0}};
	bson_t totals, lost;

	for (unsigned s = 0; s < REC_SIDES; s++) {
		struct rec_count side[REC_TERMS];

		if (!lane->sides[s].present)
			continue;
		balance_now(&lane->sides[s].balance, side);
		for (unsigned i = 0; i < REC_TERMS; i++)
			t[i] = sum2(t[i], side[i]);
	}
	bson_append_document_begin(to, "totals", -1, &totals);
	append_count(&totals, "seen", t[REC_SEEN]);
	append_count(&totals, "published", t[REC_PUBLISHED]);
	append_count(&totals, "stored", pipeline_stored(lane));
	append_count(&totals, "filtered", sum2(t[REC_FILTERED_OWN], t[REC_FILTERED_EXPR]));
	append_count(&totals, "blocked", t[REC_BLOCKED]);
	append_count(&totals, "blocked_stored", t[REC_BLOCKED_STORED]);
	append_count(&totals, "summarised", sum2(t[REC_SUMMARISED_FLOW], t[REC_SUMMARISED_PREFIX]));
	bson_append_document_begin(&totals, "lost", -1, &lost);
	append_count(&lost, "ring_full", t[REC_LOST_RING_FULL]);
	append_count(&lost, "contended", t[REC_LOST_CONTENDED]);
	append_count(&lost, "no_ring", t[REC_LOST_NO_RING]);
	append_count(&lost, "unreadable", t[REC_LOST_UNREADABLE]);
	bson_append_document_end(&totals, &lost);
	bson_append_document_end(to, &totals);
}

static void append_lane(bson_t *to, const struct lane *lane)
{
	static const char *const names[REC_SIDES] = {"rx", "tx"};
	uint64_t now = clock_boot_ns(), used = 0, settled = UINT64_MAX;
	char id[2 * CAPTURE_ID_LEN + 1];
	bson_t part;

	bson_append_utf8(to, "iface", -1, lane->info.iface, -1);
	if (lane->info.filter[0])
		bson_append_utf8(to, "filter", -1, lane->info.filter, -1);
	*put_hex(id, lane->info.id, CAPTURE_ID_LEN) = '\0';
	bson_append_utf8(to, "id", -1, id, -1);
	bson_append_document_begin(to, "hooks", -1, &part);
	for (unsigned s = 0; s < REC_SIDES; s++)
		if (lane->sides[s].present)
			bson_append_utf8(&part, names[s], -1, lane->info.mode[s], -1);
	bson_append_document_end(to, &part);
	if (gaps_unseen(lane))
		bson_append_utf8(to, "unseen", -1, gaps_unseen(lane), -1);
	append_totals(to, lane);
	bson_append_int32(to, "level", -1, (int32_t)floods_level(lane));
	bson_append_bool(to, "summaries_written", -1, floods_written(lane));
	if (lane->info.counting)
		bson_append_bool(to, "counting", -1, true);
	for (unsigned i = 0; i < lane->nrings; i++)
		used += ring_head(&lane->rings[i]) - ring_tail(&lane->rings[i]);
	bson_append_document_begin(to, "ring", -1, &part);
	bson_append_int64(&part, "bytes", -1, (int64_t)lane->nrings * lane->info.ring_size);
	bson_append_int64(&part, "used", -1, (int64_t)used);
	bson_append_int64(&part, "peak", -1, (int64_t)lane->ring_peak);
	bson_append_document_end(to, &part);
	bson_append_document_begin(to, "batches", -1, &part);
	bson_append_int64(&part, "next", -1, (int64_t)lane->next_number);
	bson_append_int32(&part, "in_flight", -1, (int32_t)lane->flights);
	bson_append_int64(&part, "settled", -1, (int64_t)lane->settled_batches);
	bson_append_document_end(to, &part);
	for (unsigned s = 0; s < REC_SIDES; s++)
		if (lane->sides[s].present && lane->sides[s].balance.settled.sec < settled)
			settled = lane->sides[s].balance.settled.sec;
	bson_append_document_begin(to, "balance", -1, &part);
	bson_append_int64(&part, "second", -1, (int64_t)settled);
	bson_append_int64(&part, "behind", -1, (int64_t)(now / NS_PER_SEC - settled));
	bson_append_document_end(to, &part);
}

static void append_database(bson_t *to, struct drainer *d)
{
	char uri[256], problem[sizeof(d->problem)];
	bson_t part;

	bson_append_document_begin(to, "database", -1, &part);
	bson_append_utf8(&part, "uri", -1, uri_redacted(d->settings->mongo, uri, sizeof(uri)), -1);
	bson_append_utf8(&part, "name", -1, d->settings->database, -1);
	bson_append_utf8(&part, "state", -1, !d->sink_ready ? "starting" : d->away_since || !d->db_ready ? "away" : "ok", -1);
	bson_append_double(&part, "latency_ms", -1, (double)d->latency_ns / 1e6);
	upstream_problem(d, problem, sizeof(problem));
	bson_append_utf8(&part, "problem", -1, problem, -1);
	bson_append_document_end(to, &part);
}

static void append_file(bson_t *to, const struct drainer *d)
{
	struct file_sink_counts counts;
	bson_t part;

	file_sink_counts(d->file, &counts);
	bson_append_document_begin(to, "file", -1, &part);
	bson_append_utf8(&part, "name", -1, d->settings->write, -1);
	bson_append_utf8(&part, "format", -1, d->file_format == FILE_JSON ? "json" : "pcapng", -1);
	bson_append_utf8(&part, "state", -1, counts.full ? "failing" : file_sink_reader_gone(d->file) ? "reader gone" : "ok", -1);
	bson_append_int64(&part, "bytes", -1, (int64_t)counts.bytes);
	bson_append_int64(&part, "packets", -1, (int64_t)counts.packets);
	if (!d->db)
		bson_append_utf8(&part, "problem", -1, d->problem, -1);
	bson_append_document_end(to, &part);
}

static char *status_line(struct drainer *d)
{
	bson_t doc = BSON_INITIALIZER, list, one;
	char text[64], *json;
	size_t len;
	time_t since = (time_t)(d->started_wall / (int64_t)NS_PER_SEC);
	struct tm tm;

	gmtime_r(&since, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	bson_append_utf8(&doc, "instance", -1, d->settings->instance, -1);
	bson_append_utf8(&doc, "sensor", -1, d->settings->sensor, -1);
	bson_append_int32(&doc, "keeper", -1, (int32_t)getppid());
	bson_append_int32(&doc, "drainer", -1, (int32_t)getpid());
	bson_append_utf8(&doc, "version", -1, RECORDER_VERSION, -1);
	bson_append_utf8(&doc, "since", -1, text, -1);
	bson_append_double(&doc, "uptime", -1, (double)(clock_boot_ns() - d->started_boot) / 1e9);
	bson_append_utf8(&doc, "state", -1, drainer_state_name(d), -1);
	storage_status(&doc, d);
	if (d->db)
		append_database(&doc, d);
	spooling_status(&doc, d);
	if (d->file)
		append_file(&doc, d);
	bson_append_int64(&doc, "block_entries", -1, d->block_entries);
	bson_append_array_begin(&doc, "captures", -1, &list);
	for (unsigned i = 0; i < d->nlanes; i++) {
		snprintf(text, sizeof(text), "%u", i);
		bson_append_document_begin(&list, text, -1, &one);
		append_lane(&one, &d->lanes[i]);
		bson_append_document_end(&list, &one);
	}
	bson_append_array_end(&doc, &list);
	json = bson_as_relaxed_extended_json(&doc, &len);
	bson_destroy(&doc);
	return json;
}

/* ---- askers --------------------------------------------------------------------------------------------------- */

static void asker_closed(uv_handle_t *handle)
{
	struct asker *asker = handle->data;

	if (--asker->handles)
		return;
	asker->drainer->askers--;
	bson_free(asker->answer);
	free(asker);
}

static void asker_close(struct asker *asker)
{
	if (uv_is_closing((uv_handle_t *)&asker->pipe))
		return;
	uv_close((uv_handle_t *)&asker->pipe, asker_closed);
	uv_close((uv_handle_t *)&asker->bound, asker_closed);
}

static void asker_late(uv_timer_t *timer)
{
	asker_close(timer->data);
}

static void answered(uv_write_t *write, int status)
{
	(void)status; /* who asked has gone: nobody to tell */
	asker_close(write->data);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct asker *asker = handle->data;

	(void)suggested;
	*buf = uv_buf_init(asker->in + asker->used, (unsigned)(sizeof(asker->in) - 1 - asker->used));
}

static void heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct asker *asker = stream->data;
	uv_buf_t out[2];

	(void)buf;
	if (n < 0) {
		asker_close(asker);
		return;
	}
	asker->used += (size_t)n;
	asker->in[asker->used] = '\0';
	if (!strchr(asker->in, '\n') && asker->used < sizeof(asker->in) - 1)
		return;
	uv_read_stop(stream);
	if (strcmp(asker->in, "status\n") == 0)
		asker->answer = status_line(asker->drainer);
	else
		asker->answer = bson_strdup("{\"error\": \"the only question is status\"}");
	if (!asker->answer) {
		asker_close(asker);
		return;
	}
	out[0] = uv_buf_init(asker->answer, (unsigned)strlen(asker->answer));
	out[1] = uv_buf_init((char *)"\n", 1);
	asker->write.data = asker;
	if (uv_write(&asker->write, stream, out, 2, answered))
		asker_close(asker);
}

static void accept_one(uv_stream_t *server, int status)
{
	struct drainer *d = server->data;
	struct asker *asker;

	if (status < 0)
		return;
	asker = calloc(1, sizeof(*asker));
	if (!asker)
		return;
	d->askers++;
	asker->drainer = d;
	asker->handles = 2;
	uv_pipe_init(&d->loop, &asker->pipe, 0);
	uv_timer_init(&d->loop, &asker->bound);
	asker->pipe.data = asker;
	asker->bound.data = asker;
	uv_timer_start(&asker->bound, asker_late, ASKER_MS, 0);
	/* Accepted even when there are too many: libuv looks at the listener again only behind an accept. */
	if (uv_accept(server, (uv_stream_t *)&asker->pipe) || d->askers > ASKERS_MAX || d->state == DRAINER_CLOSING ||
	    uv_read_start((uv_stream_t *)&asker->pipe, give_room, heard))
		asker_close(asker);
}

int control_open(struct drainer *d)
{
	int err = uv_pipe_init(&d->loop, &d->listener, 0);

	d->listener.data = d;
	if (!err)
		err = uv_pipe_open(&d->listener, d->control);
	if (!err)
		err = uv_listen((uv_stream_t *)&d->listener, 8, accept_one);
	if (err)
		log_error("the status socket cannot be served: %s", uv_strerror(err));
	return err;
}

void control_close(struct drainer *d)
{
	if (d->listener.data && !uv_is_closing((uv_handle_t *)&d->listener))
		uv_close((uv_handle_t *)&d->listener, NULL);
}
