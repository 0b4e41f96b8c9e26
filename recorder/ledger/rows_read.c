/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/rows_read.h"

#include <errno.h>

#include "recorder/core/util.h"
#include "recorder/ledger/flood_rows.h"
#include "recorder/ledger/journal.h"

/* The first thing that is wrong stays: functions below do nothing once `wrong` is set. */
struct reader {
	const bson_t *document;
	const char *wrong;
};

static bool find(struct reader *r, const char *name, bson_iter_t *at)
{
	bson_iter_t it;

	if (r->wrong)
		return false;
	if (bson_iter_init(&it, r->document) && bson_iter_find_descendant(&it, name, at))
		return true;
	r->wrong = name;
	return false;
}

static uint64_t whole(struct reader *r, const char *name)
{
	bson_iter_t at;

	if (!find(r, name, &at))
		return 0;
	if (!BSON_ITER_HOLDS_INT(&at)) {
		r->wrong = name;
		return 0;
	}
	return (uint64_t)bson_iter_as_int64(&at);
}

static const char *text(struct reader *r, const char *name)
{
	bson_iter_t at;

	if (!find(r, name, &at))
		return "";
	if (!BSON_ITER_HOLDS_UTF8(&at)) {
		r->wrong = name;
		return "";
	}
	return bson_iter_utf8(&at, NULL);
}

static const uint8_t *binary(struct reader *r, const char *name, uint32_t *len)
{
	const uint8_t *bytes = NULL;
	bson_iter_t at;

	*len = 0;
	if (!find(r, name, &at))
		return NULL;
	if (BSON_ITER_HOLDS_BINARY(&at))
		bson_iter_binary(&at, NULL, len, &bytes);
	else
		r->wrong = name;
	return bytes;
}

/* Exactly `size` bytes. */
static void copy(struct reader *r, const char *name, uint8_t *out, uint32_t size)
{
	uint32_t len;
	const uint8_t *bytes = binary(r, name, &len);

	if (bytes && len == size)
		memcpy(out, bytes, size);
	else if (!r->wrong)
		r->wrong = name;
}

static int64_t wall(struct reader *r, const char *ms, const char *ns)
{
	bson_iter_t at;

	if (!find(r, ms, &at))
		return 0;
	if (!BSON_ITER_HOLDS_DATE_TIME(&at)) {
		r->wrong = ms;
		return 0;
	}
	return bson_iter_date_time(&at) * 1000000 + (int64_t)whole(r, ns);
}

/* "rx" or "tx" of an iterator: 0, 1; else -1. */
static int side_of(const bson_iter_t *at)
{
	const char *name = BSON_ITER_HOLDS_UTF8(at) ? bson_iter_utf8(at, NULL) : "";

	return !strcmp(name, "rx") ? REC_RX : !strcmp(name, "tx") ? REC_TX : -1;
}

static unsigned side(struct reader *r)
{
	bson_iter_t at;
	int found = find(r, "side", &at) ? side_of(&at) : 0;

	if (found < 0)
		r->wrong = "side";
	return found == REC_TX ? REC_TX : REC_RX;
}

static struct clock_pair clock_of(struct reader *r)
{
	struct clock_pair pair = {.boot = whole(r, "clock.boot")};

	pair.wall = (int64_t)whole(r, "clock.wall");
	return pair;
}

static int result(const struct reader *r, const char **problem)
{
	if (!r->wrong)
		return 0;
	if (problem)
		*problem = r->wrong;
	return -EINVAL;
}

/* ---- balance ----------------------------------------------------------------------------------------------------- */

static const struct {
	enum rec_term term;
	const char *packets, *bytes;
} terms[] = {
#define TERM(term, path) {term, path ".packets", path ".bytes"}
	TERM(REC_SEEN, "seen"),
	TERM(REC_PUBLISHED, "stored"),
	TERM(REC_FILTERED_OWN, "filtered.own"),
	TERM(REC_FILTERED_EXPR, "filtered.expr"),
	TERM(REC_BLOCKED, "blocked"),
	TERM(REC_SUMMARISED_FLOW, "summarised.flow"),
	TERM(REC_SUMMARISED_PREFIX, "summarised.prefix"),
	TERM(REC_LOST_RING_FULL, "lost.ring_full"),
	TERM(REC_LOST_CONTENDED, "lost.contended"),
	TERM(REC_LOST_NO_RING, "lost.no_ring"),
	TERM(REC_LOST_UNREADABLE, "lost.unreadable"),
#undef TERM
};

static void take_witness(struct reader *r, struct witness *w)
{
	bson_iter_t at;

	if (r->wrong || !bson_iter_init_find(&at, r->document, "witness"))
		return; /* the interface was gone, or it is a file's */
	*w = (struct witness){
		.boot = whole(r, "witness.boot"),
		.rx_packets = whole(r, "witness.rx.packets"),
		.rx_bytes = whole(r, "witness.rx.bytes"),
		.rx_dropped = whole(r, "witness.rx.dropped"),
		.tx_packets = whole(r, "witness.tx.packets"),
		.tx_bytes = whole(r, "witness.tx.bytes"),
		.tx_dropped = whole(r, "witness.tx.dropped"),
	};
}

int balance_read(const bson_t *document, struct balance_read *out, const char **problem)
{
	struct reader r = {.document = document};
	uint8_t id[BALANCE_ID_LEN] = {0};
	uint64_t secs;
	bson_iter_t at;

	memset(out, 0, sizeof(*out));
	copy(&r, "_id", id, sizeof(id));
	memcpy(out->capture, id, CAPTURE_ID_LEN);
	out->row.side = id[CAPTURE_ID_LEN] == REC_TX ? REC_TX : REC_RX;
	out->row.sec = get_be64(id + CAPTURE_ID_LEN + 1);
	out->wall = wall(&r, "ts", "ns");
	out->sensor = text(&r, "sensor");
	out->iface = text(&r, "iface");
	if (side(&r) != id[CAPTURE_ID_LEN] && !r.wrong)
		r.wrong = "side";
	if (whole(&r, "sec") != out->row.sec && !r.wrong)
		r.wrong = "sec";
	secs = whole(&r, "secs");
	if ((secs < 1 || secs > INT32_MAX) && !r.wrong)
		r.wrong = "secs";
	out->row.seconds = (uint32_t)secs;
	out->row.silent = bson_iter_init_find(&at, document, "silent");
	for (size_t i = 0; i < ARRAY_SIZE(terms); i++)
		out->row.term[terms[i].term] =
			(struct rec_count){.packets = whole(&r, terms[i].packets), .bytes = whole(&r, terms[i].bytes)};
	take_witness(&r, &out->row.witness);
	out->row.pair = clock_of(&r);
	return result(&r, problem);
}

/* ---- ledger ------------------------------------------------------------------------------------------------------ */

static void take_seconds(struct reader *r, struct ledger_read *out)
{
	bson_iter_t at, list, one;

	if (!find(r, "seconds", &at))
		return;
	if (!BSON_ITER_HOLDS_ARRAY(&at) || !bson_iter_recurse(&at, &list)) {
		r->wrong = "seconds";
		return;
	}
	while (bson_iter_next(&list)) {
		struct batch_second *s = &out->seconds[out->nseconds];
		unsigned have = 0;

		if (out->nseconds == LEDGER_SECONDS_MOST || !BSON_ITER_HOLDS_DOCUMENT(&list) ||
		    !bson_iter_recurse(&list, &one)) {
			r->wrong = "seconds";
			return;
		}
		*s = (struct batch_second){0};
		while (bson_iter_next(&one)) {
			const char *key = bson_iter_key(&one);
			bool number = BSON_ITER_HOLDS_INT(&one);

			if (!strcmp(key, "sec") && number)
				s->sec = (uint64_t)bson_iter_as_int64(&one), have |= 1;
			else if (!strcmp(key, "packets") && number)
				s->packets = (uint32_t)bson_iter_as_int64(&one), have |= 2;
			else if (!strcmp(key, "bytes") && number)
				s->bytes = (uint64_t)bson_iter_as_int64(&one), have |= 4;
			else if (!strcmp(key, "side") && side_of(&one) >= 0)
				s->side = (uint32_t)side_of(&one), have |= 8;
		}
		if (have != 15) {
			r->wrong = "seconds";
			return;
		}
		out->nseconds++;
	}
}

int ledger_read_seconds(const bson_t *document, struct batch_second *seconds, unsigned *nseconds, const char **problem)
{
	struct reader r = {.document = document};
	struct ledger_read out = {.seconds = seconds};

	take_seconds(&r, &out);
	*nseconds = out.nseconds;
	return result(&r, problem);
}

static void take_buckets(struct reader *r, struct ledger_read *out)
{
	uint32_t len;

	if (out->mode != JOURNAL_BUCKETS) {
		out->documents = out->packets;
		return;
	}
	out->buckets = binary(r, "buckets", &len);
	if (len % LEDGER_BUCKET_ID_LEN && !r->wrong)
		r->wrong = "buckets";
	out->nbuckets = len / LEDGER_BUCKET_ID_LEN;
	out->documents = whole(r, "documents");
}

int ledger_read(const bson_t *document, struct ledger_read *out, const char **problem)
{
	struct reader r = {.document = document};
	struct batch_second *seconds = out->seconds;
	uint8_t id[LEDGER_ID_LEN] = {0};

	*out = (struct ledger_read){.seconds = seconds};
	copy(&r, "_id", id, sizeof(id));
	memcpy(out->capture, id, CAPTURE_ID_LEN);
	out->number = get_be64(id + CAPTURE_ID_LEN);
	out->first = wall(&r, "ts", "ns");
	out->last = wall(&r, "last", "last_ns");
	out->sensor = text(&r, "sensor");
	out->iface = text(&r, "iface");
	out->collection = text(&r, "collection");
	out->packets = whole(&r, "packets");
	out->bytes = whole(&r, "bytes");
	out->mode = (int32_t)whole(&r, "mode");
	out->version = (int32_t)whole(&r, "version");
	out->pair = clock_of(&r);
	take_seconds(&r, out);
	take_buckets(&r, out);
	copy(&r, "digest", out->digest, DIGEST_LEN);
	copy(&r, "previous", out->previous, DIGEST_LEN);
	if (!r.wrong && whole(&r, "number") != out->number)
		r.wrong = "number";
	return result(&r, problem);
}

/* ---- floods ------------------------------------------------------------------------------------------------------ */

int flood_read(const bson_t *document, struct flood_read *out, const char **problem)
{
	struct reader r = {.document = document};
	uint8_t id[FLOOD_ID_LEN] = {0};

	memset(out, 0, sizeof(*out));
	copy(&r, "_id", id, sizeof(id));
	memcpy(out->capture, id, CAPTURE_ID_LEN);
	out->side = id[CAPTURE_ID_LEN];
	out->epoch = get_be32(id + CAPTURE_ID_LEN + 1);
	out->sec = whole(&r, "sec");
	out->secs = whole(&r, "secs");
	out->count.packets = whole(&r, "packets");
	out->count.bytes = whole(&r, "bytes");
	out->wall = wall(&r, "ts", "ns");
	out->sensor = text(&r, "sensor");
	out->iface = text(&r, "iface");
	if (!r.wrong && out->secs < 1)
		r.wrong = "secs";
	return result(&r, problem);
}
