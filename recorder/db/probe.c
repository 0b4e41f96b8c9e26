/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/ensure.h"
#include "recorder/db/probe_bucket.h"

#define WIRE_SPAN 20	  /* MongoDB 6.3: without a span of our choice a bucket would have to hold an hour */
#define WIRE_VERSION_3 25 /* 8.0 */
#define WIRE_RAW_DATA 27  /* 8.2 */

/* xdp_recorder_probe_<unix time, 8 hex>_<random, 16 hex> */
#define PREFIX "xdp_recorder_probe_"
#define NAME 64
#define STALE_S 3600
#define UNKNOWN_MOST 2 /* connections that ended instead of an answer: no more is asked of such a server */

struct way {
	bool raw;
	uint8_t version;
};

struct probe {
	struct db *db;
	struct db_client client;
	char name[NAME], buckets[NAME]; /* the scratch collection, and its buckets where they have a name */
	int64_t now;			/* the server's clock, unix seconds */
	unsigned unknown;
	bool denied;
	char because[120]; /* what stood in the way of the first way that failed */
};

/* ---- one thing asked --------------------------------------------------------------------------------------- */

/* The way is no good. The first reason is the one that is told: the ways come best first. */
static enum db_result not_so(struct probe *probe, const struct way *way, const char *what, const char *why)
{
	log_debug("%s: buckets by %s, version %u: %s: %s", db_where(probe->db), way->raw ? "rawData" : "system.buckets",
		  way->version, what, why);
	if (!*probe->because)
		snprintf(probe->because, sizeof(probe->because), "%s, version %u: %s: %s",
			 way->raw ? "rawData" : "system.buckets", way->version, what, why);
	return DB_REFUSED;
}

/* After silence or a closed connection: the next command needs a connection that certainly is new. */
static enum db_result renew(struct probe *probe, struct db_problem *problem)
{
	db_client_done(&probe->client);
	return db_client_fresh(probe->db, &probe->client, problem);
}

/*
 * What a command's result means for the way it belongs to: DB_OK, DB_REFUSED (the way is no good; told), or the database is
 * away and nothing was learnt.
 */
static enum db_result judge(struct probe *probe, const struct way *way, const char *what, enum db_result result,
			    struct db_problem *problem)
{
	struct db_problem first = *problem;

	switch (result) {
	case DB_OK:
		return DB_OK;
	case DB_UNKNOWN:
		probe->unknown++;
		result = renew(probe, problem);
		return result == DB_OK ? not_so(probe, way, what, first.text) : result;
	case DB_UNREACHABLE:
	case DB_LATER:
	case DB_CANCELLED:
		return result;
	default:
		probe->denied |= result == DB_DENIED;
		return not_so(probe, way, what, problem->text);
	}
}

static const char *target(const struct probe *probe, const struct way *way)
{
	return way->raw ? probe->name : probe->buckets;
}

static void append_way(bson_t *command, const struct way *way)
{
	if (way->raw)
		BSON_APPEND_BOOL(command, "rawData", true);
}

static enum db_result insert(struct probe *probe, const struct way *way, const bson_t *bucket,
			     struct db_problem *problem)
{
	bson_t *command = BCON_NEW("insert", BCON_UTF8(target(probe, way)), "documents", "[", BCON_DOCUMENT(bucket), "]",
				   "ordered", BCON_BOOL(false));
	enum db_result result;

	db_append_write_concern(command);
	append_way(command, way);
	result = db_command(&probe->client, NULL, command, NULL, problem);
	bson_destroy(command);
	return result;
}

/* As the sink replaces an open bucket: only a smaller one, and made where there is none. */
static enum db_result replace(struct probe *probe, const struct way *way, const bson_t *bucket, uint32_t count,
			      struct db_problem *problem)
{
	bson_iter_t id;
	bson_t *command;
	enum db_result result;

	if (!bson_iter_init_find(&id, bucket, "_id"))
		return db_problem_set(problem, DB_FATAL, "a bucket without _id");
	command = BCON_NEW("update", BCON_UTF8(target(probe, way)), "updates", "[", "{", "q", "{", "_id",
			   BCON_OID(bson_iter_oid(&id)), "control.count", "{", "$lt", BCON_INT32((int32_t)count), "}", "}",
			   "u", BCON_DOCUMENT(bucket), "upsert", BCON_BOOL(true), "}", "]");
	db_append_write_concern(command);
	append_way(command, way);
	result = db_command(&probe->client, NULL, command, NULL, problem);
	bson_destroy(command);
	return result;
}

struct seen {
	const bson_t *bucket;
	uint32_t count;
	uint8_t version;
	uint32_t n;
	bool wrong;
};

static bool look_raw(void *arg, const bson_t *doc)
{
	struct seen *seen = arg;

	seen->wrong |= seen->n++ || !bson_equal(doc, seen->bucket);
	return true;
}

static bool look_at_measurement(void *arg, const bson_t *doc)
{
	struct seen *seen = arg;
	bson_t wanted = BSON_INITIALIZER;

	if (seen->n < seen->count) {
		probe_measurement(&wanted, seen->n, seen->count, seen->version);
		seen->wrong |= !probe_same_fields(&wanted, doc);
	}
	seen->n++;
	bson_destroy(&wanted);
	return true;
}

/* What is there now must be this bucket: as it is, and as its measurements. */
static enum db_result shows(struct probe *probe, const struct way *way, const bson_t *bucket, uint32_t count,
			    struct db_problem *problem)
{
	struct seen raw = {.bucket = bucket}, documents = {.count = count, .version = way->version};
	bson_t *find = BCON_NEW("find", BCON_UTF8(target(probe, way)));
	enum db_result result;

	append_way(find, way);
	result = db_each(&probe->client, NULL, find, look_raw, &raw, problem);
	bson_destroy(find);
	result = judge(probe, way, "reading it", result, problem);
	if (result == DB_OK && (raw.wrong || raw.n != 1))
		result = not_so(probe, way, "reading it", "it is not what was written");
	if (result != DB_OK)
		return result;

	find = BCON_NEW("find", BCON_UTF8(probe->name), "filter", "{", "meta.hosts", "192.0.2.1", "}", "sort", "{", "ts",
			BCON_INT32(1), "}");
	result = db_each(&probe->client, NULL, find, look_at_measurement, &documents, problem);
	bson_destroy(find);
	result = judge(probe, way, "find()", result, problem);
	if (result == DB_OK && (documents.wrong || documents.n != count))
		result = not_so(probe, way, "find()", "it does not show the packets that were written");
	return result;
}

/* ---- one way ----------------------------------------------------------------------------------------------- */

/* DB_OK: buckets go in, are there, come out, and only once. */
static enum db_result try_insert(struct probe *probe, const struct way *way, const bson_t *bucket,
				 struct db_problem *problem)
{
	enum db_result result = judge(probe, way, "insert", insert(probe, way, bucket, problem), problem);

	if (result == DB_OK)
		result = shows(probe, way, bucket, PROBE_SMALL, problem);
	if (result != DB_OK)
		return result;
	result = insert(probe, way, bucket, problem);
	if (result == DB_DUPLICATE)
		return DB_OK;
	return result == DB_OK ? not_so(probe, way, "the same _id once more", "it was not refused")
			       : judge(probe, way, "the same _id once more", result, problem);
}

/* DB_OK: a bucket can be replaced by a larger one, and not by a smaller. */
static enum db_result try_replace(struct probe *probe, const struct way *way, const bson_t *small, const bson_t *large,
				  struct db_problem *problem)
{
	enum db_result result = judge(probe, way, "replacing it", replace(probe, way, large, PROBE_LARGE, problem), problem);

	if (result == DB_OK)
		result = shows(probe, way, large, PROBE_LARGE, problem);
	if (result != DB_OK)
		return result;
	result = replace(probe, way, small, PROBE_SMALL, problem);
	if (result != DB_OK && result != DB_DUPLICATE)
		return judge(probe, way, "replacing it by less", result, problem);
	return shows(probe, way, large, PROBE_LARGE, problem);
}

static enum db_result make_scratch(struct probe *probe, const struct way *way, struct db_problem *problem)
{
	bson_t *create = BCON_NEW("create", BCON_UTF8(probe->name), "timeseries", "{", "timeField", "ts", "metaField",
				  "meta", "bucketMaxSpanSeconds", BCON_INT32(PROBE_SPAN_S), "bucketRoundingSeconds",
				  BCON_INT32(PROBE_SPAN_S), "}");
	enum db_result result = db_command(&probe->client, NULL, create, NULL, problem);

	bson_destroy(create);
	return result == DB_REFUSED ? not_so(probe, way, "a collection for it", problem->text) : result;
}

static enum db_result drop(struct db_client *client, const char *name, struct db_problem *problem)
{
	bson_t *command = BCON_NEW("drop", BCON_UTF8(name));
	enum db_result result = ensure_command(client, command, problem);

	bson_destroy(command);
	return result;
}

/* One way from beginning to end, on a collection of its own. DB_OK: *storage says what works. */
static enum db_result try_way(struct probe *probe, const struct way *way, struct probe_storage *storage,
			      struct db_problem *problem)
{
	bson_t small = BSON_INITIALIZER, large = BSON_INITIALIZER;
	struct db_problem dropping;
	uint64_t random;
	enum db_result result, more;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return db_problem_set(problem, DB_FATAL, "no random bytes");
	snprintf(probe->name, sizeof(probe->name), PREFIX "%08" PRIx32 "_%016" PRIx64, (uint32_t)probe->now, random);
	snprintf(probe->buckets, sizeof(probe->buckets), "system.buckets.%.48s", probe->name);
	probe_bucket(&small, PROBE_SMALL, way->version);
	probe_bucket(&large, PROBE_LARGE, way->version);
	result = make_scratch(probe, way, problem);
	if (result == DB_OK) {
		result = try_insert(probe, way, &small, problem);
		if (result == DB_OK) {
			more = try_replace(probe, way, &small, &large, problem);
			*storage = (struct probe_storage){
				.buckets = true, .version = way->version, .raw = way->raw, .replace = more == DB_OK};
			if (more != DB_OK && more != DB_REFUSED)
				result = more;
		}
	}
	/* Also when it is not known whether it was made. A server that is away keeps it, until a probe an hour later. */
	if (result != DB_UNREACHABLE && result != DB_CANCELLED && drop(&probe->client, probe->name, &dropping) != DB_OK)
		log_debug("%s stays for now: %s", probe->name, dropping.text);
	bson_destroy(&small);
	bson_destroy(&large);
	return result;
}

/* ---- all of them ------------------------------------------------------------------------------------------- */

struct stale {
	struct probe *probe;
	char name[NAME];
	bool found;
};

static bool look_at_leftover(void *arg, const bson_t *collection)
{
	struct stale *stale = arg;
	bson_iter_t it;

	if (!bson_iter_init_find(&it, collection, "name") || !BSON_ITER_HOLDS_UTF8(&it))
		return true;
	const char *name = bson_iter_utf8(&it, NULL);
	if (strlen(name) >= sizeof(stale->name) || strncmp(name, PREFIX, strlen(PREFIX)) ||
	    (int64_t)strtoul(name + strlen(PREFIX), NULL, 16) > stale->probe->now - STALE_S)
		return true;
	snprintf(stale->name, sizeof(stale->name), "%s", name);
	stale->found = true;
	return false;
}

/* One is enough: each probe leaves at most one, and takes one away. */
static void drop_leftover(struct probe *probe)
{
	struct stale stale = {.probe = probe};
	struct db_problem problem;
	bson_t *list = BCON_NEW("listCollections", BCON_INT32(1), "nameOnly", BCON_BOOL(true), "filter", "{", "name", "{",
				"$regex", "^" PREFIX "[0-9a-f]{8}_[0-9a-f]{16}$", "}", "}");
	enum db_result result = db_each(&probe->client, NULL, list, look_at_leftover, &stale, &problem);

	bson_destroy(list);
	if (result == DB_OK && stale.found)
		result = drop(&probe->client, stale.name, &problem);
	if (result != DB_OK)
		log_debug("what a former probe left stays: %s", problem.text);
}

/* Seconds by the server's clock: recorders whose own clocks differ must not take each other's probes away. */
static enum db_result ask_time(struct probe *probe, struct db_problem *problem)
{
	bson_t *command = BCON_NEW("hello", BCON_INT32(1)), reply;
	enum db_result result = db_command(&probe->client, NULL, command, &reply, problem);
	bson_iter_t it;

	probe->now = clock_wall_ns() / (int64_t)NS_PER_SEC;
	if (result == DB_OK && bson_iter_init_find(&it, &reply, "localTime") && BSON_ITER_HOLDS_DATE_TIME(&it))
		probe->now = bson_iter_date_time(&it) / 1000;
	bson_destroy(&reply);
	bson_destroy(command);
	return result;
}

static enum db_result try_all(struct probe *probe, int32_t wire, struct probe_storage *storage,
			      struct db_problem *problem)
{
	static const struct way ways[] = {{true, 3}, {true, 2}, {false, 3}, {false, 2}};
	enum db_result result = ask_time(probe, problem);

	if (result != DB_OK)
		return result;
	drop_leftover(probe);
	result = DB_REFUSED;
	for (size_t i = 0; i < ARRAY_SIZE(ways) && result == DB_REFUSED && probe->unknown < UNKNOWN_MOST; i++) {
		if ((ways[i].raw && wire < WIRE_RAW_DATA) || (ways[i].version == 3 && wire < WIRE_VERSION_3))
			continue;
		result = try_way(probe, &ways[i], storage, problem);
	}
	return result;
}

enum db_result probe_storage(struct db *db, enum probe_wanted wanted, struct probe_storage *storage,
			     struct db_problem *problem)
{
	struct probe probe = {.db = db};
	struct db_peer peer;
	char name[64];
	enum db_result result;

	*storage = (struct probe_storage){0};
	if (wanted == PROBE_DOCUMENTS) {
		snprintf(storage->why, sizeof(storage->why), "documents, as --storage says");
		return DB_OK;
	}
	result = db_client_pop(db, &probe.client, problem);
	if (result != DB_OK)
		return result;
	result = db_peer(&probe.client, &peer, problem);
	if (result == DB_OK && peer.wire < WIRE_SPAN) {
		snprintf(probe.because, sizeof(probe.because), "before MongoDB 6.3 the bucket span cannot be chosen");
		result = DB_REFUSED;
	} else if (result == DB_OK) {
		result = try_all(&probe, peer.wire, storage, problem);
	}
	db_client_done(&probe.client);
	storage->denied = probe.denied;
	if (result == DB_REFUSED && wanted == PROBE_BUCKETS)
		return db_problem_set(problem, DB_FATAL, "%s takes no finished buckets (--storage buckets): %s", db_where(db),
				      probe.because);
	if (result != DB_OK && result != DB_REFUSED)
		return result;
	snprintf(storage->why, sizeof(storage->why), "%s%s%s", probe_name(storage, name), *probe.because ? "; " : "",
		 probe.because);
	return DB_OK;
}

char *probe_name(const struct probe_storage *storage, char out[64])
{
	if (!storage->buckets)
		snprintf(out, 64, "documents");
	else
		snprintf(out, 64, "buckets, version %u, %s%s", storage->version, storage->raw ? "rawData" : "system.buckets",
			 storage->replace ? ", replaced" : "");
	return out;
}
