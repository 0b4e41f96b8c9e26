/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h - what this server takes: finished buckets, and in which way, or documents only (shared DESIGN.md section 6).
 *
 * On a scratch time-series collection of its own, dropped again whatever happens: inserts a bucket (probe_bucket.h), reads
 * it back bit for bit, asks for it by the documented find() and compares the documents, replaces it by its larger self,
 * offers it a smaller one and a duplicate (both must be refused), and drops. Ways are tried best first: rawData on the
 * collection (wire version 27, MongoDB 8.2, on), else system.buckets.<collection>; version 3 (8.0 on), else 2. What a probe
 * that was killed left is dropped an hour later, by the server's clock.
 */
#ifndef XDP_RECORDER_DB_PROBE_H
#define XDP_RECORDER_DB_PROBE_H

#include "recorder/db/connect.h"

/* What `auto`, `buckets`, `documents` of --storage ask for; the setting's places. */
enum probe_wanted { PROBE_AUTO, PROBE_BUCKETS, PROBE_DOCUMENTS };

struct probe_storage {
	bool buckets;	 /* false: documents */
	uint8_t version; /* control.version, 3 or 2 */
	bool raw;	 /* rawData; else system.buckets */
	bool replace;	 /* a bucket can be replaced by its larger self: open buckets are possible */
	bool denied;	 /* a better way failed for want of rights; also filled with DB_FATAL */
	char why[200];	 /* one line: what was chosen, and what stood in the way of better */
};

/*
 * DB_OK with *storage filled; with PROBE_BUCKETS DB_FATAL where the server takes none (the problem says what it said).
 * Everything else: the server could not be asked (DB_LATER, DB_UNREACHABLE...). With PROBE_DOCUMENTS nothing is asked.
 */
enum db_result probe_storage(struct db *db, enum probe_wanted wanted, struct probe_storage *storage,
			     struct db_problem *problem);

/* "buckets, version 3, rawData, replaced" or "documents": for status and check. At most 64 bytes. Returns out. */
char *probe_name(const struct probe_storage *storage, char out[64]);

#endif
