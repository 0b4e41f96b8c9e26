/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How packets are stored: what the server takes, asked at the start and again when another server process or version answers;
 * said to the sink, and as an event where it changed.
 */
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/process/drainer.h"

_Static_assert((int)STORAGE_AUTO == PROBE_AUTO && (int)STORAGE_BUCKETS == PROBE_BUCKETS &&
		       (int)STORAGE_DOCUMENTS == PROBE_DOCUMENTS,
	       "--storage and the probe name the same");

enum db_result storage_probe(struct drainer *d, struct db_problem *problem)
{
	enum db_result result = db_server_info(d->db, &d->server, problem);

	if (result == DB_OK)
		result = probe_storage(d->db, (enum probe_wanted)d->settings->storage, &d->probed, problem);
	d->probed_new = result == DB_OK;
	return result;
}

void storage_probe_again(struct drainer *d)
{
	struct db_problem problem = {0};
	struct db_server now, before = d->server;

	if (!d->db || db_server_info(d->db, &now, &problem) != DB_OK)
		return; /* away: the batches say so, and the next minute asks again */
	if (!strcmp(now.version, before.version) && db_peer_same_process(&now.peer, &before.peer))
		return;
	if (storage_probe(d, &problem) == DB_OK)
		return;
	d->server = before;
	log_warn("what the server takes cannot be probed again: %s", problem.text);
}

static char *storage_name(const struct drainer *d, char out[64])
{
	if (d->db)
		return probe_name(&d->storage, out);
	snprintf(out, 64, "none");
	return out;
}

void storage_apply(struct drainer *d)
{
	char before[64], now[64], text[sizeof(d->probed.why) + 192];
	bool first = !d->storage_known;

	if (!d->probed_new)
		return;
	d->probed_new = false;
	storage_name(d, before);
	d->storage = d->probed;
	d->storage_known = true;
	mongo_sink_set_storage(d->mongo, &d->storage);
	if (d->spool)
		spool_sink_note_storage(d->spool, clock_day(clock_wall_ns()));
	storage_name(d, now);
	if (!first && !strcmp(before, now))
		return;
	if (first)
		snprintf(text, sizeof(text), "packets are stored as %s", d->storage.why);
	else
		snprintf(text, sizeof(text), "packets are stored from now on as %s; before: %s", d->storage.why, before);
	log_at(LOG_INFO, "%s", text);
	book_event(d, NULL, "storage", text, NULL);
}

void storage_check_counts(struct drainer *d)
{
	struct mongo_sink_counts counts;
	char text[160];

	if (!d->mongo)
		return;
	mongo_sink_counts(d->mongo, &counts);
	if (counts.check_failed > d->check_failed) {
		snprintf(text, sizeof(text), "%llu buckets were not what they were made from, and are written as documents",
			 (unsigned long long)(counts.check_failed - d->check_failed));
		log_error("%s", text);
		book_event(d, NULL, "self-check", text, NULL);
		d->check_failed = counts.check_failed;
	}
	if (counts.buckets_refused > d->buckets_refused) {
		snprintf(text, sizeof(text), "the server refused %llu buckets: their packets are written as documents",
			 (unsigned long long)(counts.buckets_refused - d->buckets_refused));
		log_warn("%s", text);
		book_event(d, NULL, "bucket-refused", text, NULL);
		d->buckets_refused = counts.buckets_refused;
	}
}

void storage_status(bson_t *to, const struct drainer *d)
{
	struct mongo_sink_counts counts;
	char name[64];
	bson_t part;

	bson_append_utf8(to, "storage", -1, storage_name(d, name), -1);
	if (!d->mongo)
		return;
	mongo_sink_counts(d->mongo, &counts);
	bson_append_document_begin(to, "buckets", -1, &part);
	bson_append_int32(&part, "span", -1, (int32_t)days_span(d->days, clock_day(clock_wall_ns())));
	bson_append_int64(&part, "written", -1, (int64_t)counts.buckets);
	bson_append_int64(&part, "there", -1, (int64_t)counts.buckets_there);
	bson_append_int64(&part, "refused", -1, (int64_t)counts.buckets_refused);
	bson_append_int64(&part, "clashes", -1, (int64_t)counts.clashes);
	bson_append_int64(&part, "checked", -1, (int64_t)counts.checked);
	bson_append_int64(&part, "check_failed", -1, (int64_t)counts.check_failed);
	bson_append_document_end(to, &part);
}
