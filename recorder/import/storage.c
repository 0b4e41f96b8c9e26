/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a file's packets are stored: as finished buckets where the server takes them, else as documents; as in `record`.
 *
 * An import that goes on keeps the way of the one that began: a batch that was sent and has no ledger entry is looked
 * for in that way, and only in that one. The event `import` says which it was. The form of buckets may change
 * meanwhile, as their ids do not follow from it.
 */
#include "recorder/import/internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"

#define HOUR_S 3600

_Static_assert((int)STORAGE_AUTO == PROBE_AUTO && (int)STORAGE_BUCKETS == PROBE_BUCKETS &&
		       (int)STORAGE_DOCUMENTS == PROBE_DOCUMENTS,
	       "--storage and the probe name the same");

enum db_result import_storage_probe(struct import *im, struct db_problem *problem)
{
	enum db_result result = probe_storage(im->db, (enum probe_wanted)im->settings->storage, &im->storage, problem);

	if (result == DB_OK)
		log_at(LOG_INFO, "packets are stored as %s", im->storage.why);
	return result;
}

const char *import_storage_name(const struct import_file *file)
{
	return file->storage.buckets ? "buckets" : "documents";
}

enum db_result import_storage_as_begun(struct import_file *file, const char *begun, struct db_problem *problem)
{
	const struct import *im = file->import;
	bool buckets = !strcmp(begun, "buckets");
	enum db_result result;

	if (file->complete || buckets == file->storage.buckets)
		return DB_OK;
	if (im->settings->storage != STORAGE_AUTO)
		log_warn("%s: its import was begun with --storage %s; so it goes on", file->path, begun);
	if (!buckets) {
		file->storage = (struct probe_storage){0};
		return DB_OK;
	}
	result = probe_storage(im->db, PROBE_AUTO, &file->storage, problem);
	if (result == DB_OK && !file->storage.buckets)
		return db_problem_set(
			problem, DB_FATAL,
			"its import was begun with finished buckets, which the server does not take now (%s): end it "
			"where it does, or use another --database",
			file->storage.why);
	return result;
}

void import_storage_of(const struct import_file *file, struct batch *batch, int64_t hour)
{
	struct sink *sink = file->import->sink;
	struct sink_storage storage;

	sink->storage(sink, batch->day, &storage);
	batch->mode = JOURNAL_DOCUMENTS;
	/* A bucket's id has its seconds in 31 bits (BUCKETS.md); a collection of others may have any span. */
	if (storage.mode != JOURNAL_BUCKETS || storage.span_s != HOUR_S || hour < 0 || hour >= INT32_MAX / HOUR_S)
		return;
	batch->mode = JOURNAL_BUCKETS;
	batch->span_s = storage.span_s;
	batch->form = storage.form;
	batch->raw = storage.raw;
}

void import_storage_tell(struct import_file *file)
{
	struct mongo_sink_counts now;
	const struct mongo_sink_counts *before = &file->import->counts;

	mongo_sink_counts(file->import->sink, &now);
	if (now.check_failed > before->check_failed)
		log_error("%s: %llu buckets were not what they were made from, and are written as documents",
			  file->path, (unsigned long long)(now.check_failed - before->check_failed));
	if (now.buckets_refused > before->buckets_refused)
		log_warn("%s: the server refused %llu buckets: their packets are written as documents", file->path,
			 (unsigned long long)(now.buckets_refused - before->buckets_refused));
	file->import->counts = now;
}
