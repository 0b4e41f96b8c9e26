/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket.h - a batch as finished time-series buckets: what MongoDB would make of its documents, made here (BUCKETS.md).
 *
 * The packets, in flow order (flow.h), are cut into buckets of about BUCKET_PACKETS of equal size, each a document
 *
 *   {_id, control: {version, min, max, count, closed: true}, meta: {hosts, iface, sensor}, data: {ts, ns, ...}}
 *
 * with a column for each field that one of its packets has, in the order of fields.def. meta.hosts are the distinct addresses in
 * it: outer, inner, ARP and quoted, IPv4 before IPv6, each by number. The same batch, ends and form give the same bytes.
 * _id: seconds of control.min.ts (4 bytes), then 8 bytes of SHA-256(capture, number, salt, which), big-endian.
 *
 * Packets get no _id of their own: the batch's ledger entry names the buckets.
 */
#ifndef XDP_RECORDER_ENCODE_BUCKET_H
#define XDP_RECORDER_ENCODE_BUCKET_H

#include <stdbool.h>

#include "recorder/encode/document.h"
#include "recorder/encode/flow.h"

#define BUCKET_PACKETS 1000u /* aim; a bucket has at most half as many more */
#define BUCKET_ID_LEN 12

/* How buckets are written; all of it is in the recipe, so that a retry gives the same bytes. */
struct bucket_form {
	uint32_t span_s; /* of the collection: bucketMaxSpanSeconds = bucketRoundingSeconds */
	uint8_t version; /* of control.version, at most. 3: in flow order, and 2 where that is by time; 2: by time */
	uint8_t salt;	 /* 0, more after a clash of identities */
	bool raw;	 /* {rawData: true} on the collection itself; else on system.buckets.<collection> */
};

/* Memory that is kept from batch to batch: one for each worker. NULL: no memory. */
struct bucket_maker;
struct bucket_maker *bucket_maker_new(void);
void bucket_maker_free(struct bucket_maker *maker);

/*
 * Decodes, groups and cuts; what follows is about this batch until the next call. The number of buckets, or -ENOMEM, -E2BIG,
 * -ENAMETOOLONG; -ERANGE: the batch does not lie in one span, or before 1970 or after 2038-01-19 (section 2).
 */
int bucket_plan(struct bucket_maker *maker, const struct batch *batch, const struct ends_table *ends,
		const struct bucket_form *form);

/*
 * {insert: collection, ordered: false, writeConcern, maxTimeMS, rawData: true (where raw), documents: [...]} of buckets [first,
 * *next): as many as stay below max_bytes, one at least. Returns their number, or -ENOMEM, -ENAMETOOLONG.
 */
int bucket_command(struct bucket_maker *maker, struct command_buffer *command, const char *collection, uint32_t first,
		   size_t max_bytes, uint32_t max_time_ms, uint32_t *next);

/*
 * {update: collection, updates: [{q: {_id, "control.count": {$lt: n}}, u: bucket, upsert: true}], ...} of the only
 * bucket of an open batch: replaces a smaller version of itself, never a larger one (then: duplicate key). 1 or -errno;
 * -EINVAL where the plan has more than one bucket.
 */
int bucket_replace(struct bucket_maker *maker, struct command_buffer *command, const char *collection,
		   uint32_t max_time_ms);

/* One bucket as a document, appended to `to` (an empty bson_t). 0 or -errno. */
int bucket_encode(struct bucket_maker *maker, bson_t *to, uint32_t bucket);

/* Positions in the batch of the packets of a bucket, in the bucket's order. Valid until the next plan. */
const uint32_t *bucket_positions(const struct bucket_maker *maker, uint32_t bucket, uint32_t *count);

/* Of any bucket of a batch, without a plan: from the time of its first record. 0, or -ENOMEM (SHA-256). */
int bucket_id(uint8_t id[BUCKET_ID_LEN], const struct batch *batch, const struct bucket_form *form, uint32_t bucket);

/*
 * The self-check: decodes bucket `bucket` again and compares each packet with its document (document.h, but _id and meta) and
 * control and hosts with what they must be. 0, or -EBADMSG with the field and the position in *problem.
 */
struct bucket_problem {
	char text[160];
};
int bucket_check(struct bucket_maker *maker, const bson_t *bucket, uint32_t number, struct bucket_problem *problem);

#endif
