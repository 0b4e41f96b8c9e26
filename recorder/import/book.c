/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the database knows of an import, and what is written around its packets.
 *
 * `events` gets one of kind `import`: from then on packets may be there. At the end come the balance, a document of the file
 * in `sensors`, and last an event of kind `imported`. All their _ids follow from the file, and none of them changes:
 * an import that goes on keeps the sensor's name of the one that began.
 */
#include "recorder/import/internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/ensure.h"
#include "recorder/db/read.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/rows.h"

#define BEGUN "import"
#define DONE "imported"
#define AT_ONCE 8u /* requests: each write waits 150 ms until it is believed */
#define EVENT_ID_MOST (CAPTURE_ID_LEN + 8 + 64)

/* ---- requests --------------------------------------------------------------------------------------------------- */

static int insist_one(struct import_file *file, struct import_request *request)
{
	return request ? import_insist(file, &request, 1) : -ENOMEM;
}

static enum db_result ask_put(struct import_request *request, struct db_problem *problem)
{
	struct sink *sink = request->file->import->sink;
	struct sink_report report;

	switch (sink->put_many(sink, request->family, request->year, (const bson_t *const *)request->documents,
			       request->count, &report)) {
	case SINK_SETTLED:
		return DB_OK;
	case SINK_ENDED:
		return DB_CANCELLED;
	default:
		return db_problem_set(problem, DB_LATER, "%s", report.problem);
	}
}

static enum db_result ask_year(struct import_request *request, struct db_problem *problem)
{
	return days_prepare(request->file->import->days, request->year, request->year, problem);
}

int import_year(struct import_file *file, uint32_t year)
{
	uint8_t *bits = &file->import->years[year % 10000 / 8], bit = (uint8_t)(1u << year % 8);
	struct import_request *request;
	int err;

	if (*bits & bit)
		return 0;
	request = import_request_new(file, ask_year);
	if (request)
		request->year = year;
	err = insist_one(file, request);
	if (!err)
		*bits |= bit;
	return err;
}

/* ---- what is there ------------------------------------------------------------------------------------------------- */

static uint32_t event_id(uint8_t id[EVENT_ID_MOST], const struct import_file *file, const char *kind)
{
	memset(id, 0, EVENT_ID_MOST);
	memcpy(id, file->id, CAPTURE_ID_LEN);
	memcpy(id + CAPTURE_ID_LEN + 8, kind, strlen(kind));
	return (uint32_t)(CAPTURE_ID_LEN + 8 + strlen(kind));
}

struct former {
	bool found;
	char sensor[256];
	char home[1024];
	char storage[16];
	int32_t encoder;
};

static void copy_text(const bson_t *doc, const char *path, char *out, size_t size)
{
	bson_iter_t it, at;

	if (bson_iter_init(&it, doc) && bson_iter_find_descendant(&it, path, &at) && BSON_ITER_HOLDS_UTF8(&at))
		snprintf(out, size, "%s", bson_iter_utf8(&at, NULL));
}

static bool look_at_event(void *arg, const bson_t *event)
{
	struct former *former = arg;
	bson_iter_t it, at;

	former->found = true;
	copy_text(event, "sensor", former->sensor, sizeof(former->sensor));
	copy_text(event, "details.home", former->home, sizeof(former->home));
	copy_text(event, "details.storage", former->storage, sizeof(former->storage));
	if (bson_iter_init(&it, event) && bson_iter_find_descendant(&it, "details.encoder", &at))
		former->encoder = (int32_t)bson_iter_as_int64(&at);
	return false;
}

static enum db_result find_event(const struct import_file *file, const char *kind, struct former *former,
				 struct db_problem *problem)
{
	struct db_client client;
	uint8_t id[EVENT_ID_MOST];
	uint32_t len = event_id(id, file, kind);
	bson_t *find = BCON_NEW("find", "events", "filter", "{", "_id", BCON_BIN(BSON_SUBTYPE_BINARY, id, len), "}", "limit",
				BCON_INT32(1), "maxTimeMS", BCON_INT32(DB_MAX_TIME_MS));
	enum db_result result = db_client_pop(file->import->db, &client, problem);

	memset(former, 0, sizeof(*former));
	if (result == DB_OK) {
		result = db_each(&client, NULL, find, look_at_event, former, problem);
		db_client_done(&client);
	}
	bson_destroy(find);
	return result;
}

/* The networks of --home as one text. */
static void home_text(const struct settings *settings, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < settings->home.count && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", i ? "," : "", settings->home.items[i]);
}

/* An import that was interrupted goes on as it began; one that is complete is left as it is. */
static enum db_result go_on(struct import_file *file, const struct former *former, struct db_problem *problem)
{
	const struct settings *settings = file->import->settings;
	char home[1024];

	home_text(settings, home, sizeof(home));
	if (!file->complete && former->encoder != (int32_t)ENCODE_VERSION)
		return db_problem_set(problem, DB_FATAL,
				      "its import was begun by another version of this program: let that one end it, or "
				      "use another --database");
	if (!file->complete && strcmp(former->home, home))
		return db_problem_set(problem, DB_FATAL,
				      "its import was begun with --home '%.100s': end it with the same, or use another "
				      "--database",
				      former->home);
	if (strcmp(former->sensor, file->sensor) && settings->origin[SETTING_sensor].source != FROM_DEFAULT)
		log_warn("%s: was imported as sensor '%s' before; that stays its name", file->path, former->sensor);
	memcpy(file->sensor, former->sensor, sizeof(file->sensor));
	return import_storage_as_begun(file, former->storage, problem);
}

static enum db_result ask_former(struct import_request *request, struct db_problem *problem)
{
	struct import_file *file = request->file;
	struct former begun, done;
	struct read_ledger newest;
	enum db_result result = find_event(file, BEGUN, &begun, problem);

	if (result == DB_OK)
		result = find_event(file, DONE, &done, problem);
	if (result != DB_OK || !begun.found)
		return result;
	file->begun = true;
	file->complete = done.found;
	result = go_on(file, &begun, problem);
	for (unsigned i = 0; result == DB_OK && i < file->ncaptures; i++) {
		if (!file->captures[i].packets)
			continue;
		result = read_ledger_newest(file->import->db, file->captures[i].source.capture, &newest, problem);
		file->captures[i].known = newest.number;
	}
	return result;
}

int import_look_up(struct import_file *file)
{
	return insist_one(file, import_request_new(file, ask_former));
}

/* ---- what is written ----------------------------------------------------------------------------------------------- */

static void append_interfaces(bson_t *out, const struct import_file *file, bool captures)
{
	bson_t list, one;
	const char *key;
	char text[16];

	BSON_APPEND_ARRAY_BEGIN(out, "interfaces", &list);
	for (unsigned i = 0; i < file->ncaptures && i < 1000; i++) {
		bson_uint32_to_string(i, &key, text, sizeof(text));
		BSON_APPEND_DOCUMENT_BEGIN(&list, key, &one);
		BSON_APPEND_UTF8(&one, "iface", file->captures[i].iface);
		BSON_APPEND_INT64(&one, "packets", (int64_t)file->captures[i].packets);
		if (captures)
			BSON_APPEND_BINARY(&one, "capture", BSON_SUBTYPE_BINARY, file->captures[i].source.capture,
					   CAPTURE_ID_LEN);
		bson_append_document_end(&list, &one);
	}
	bson_append_array_end(out, &list);
}

static void append_file(bson_t *out, const struct import_file *file)
{
	char hex[2 * HASH_LEN + 1];

	*put_hex(hex, file->hash, HASH_LEN) = '\0';
	if (bson_utf8_validate(file->path, strlen(file->path), false))
		BSON_APPEND_UTF8(out, "file", file->path);
	else
		BSON_APPEND_BINARY(out, "file", BSON_SUBTYPE_BINARY, (const uint8_t *)file->path,
				   (uint32_t)strlen(file->path));
	BSON_APPEND_UTF8(out, "sha256", hex);
	BSON_APPEND_INT64(out, "bytes", (int64_t)file->bytes);
	BSON_APPEND_UTF8(out, "format", file->format);
	BSON_APPEND_INT64(out, "packets", (int64_t)file->total);
}

static void sensor_document(bson_t *out, const struct import_file *file)
{
	/* Only to be read: the names that are in force here, not those that `record` would have by default. */
	struct settings named = *file->import->settings;
	bson_t settings = BSON_INITIALIZER, child;

	named.database = (char *)file->import->database;
	named.sensor = (char *)file->sensor;
	BSON_APPEND_BINARY(out, "_id", BSON_SUBTYPE_UUID, file->hash, 16);
	BSON_APPEND_UTF8(out, "name", file->sensor);
	BSON_APPEND_UTF8(out, "version", RECORDER_VERSION);
	BSON_APPEND_DOCUMENT_BEGIN(out, "imported", &child);
	append_file(&child, file);
	bson_append_document_end(out, &child);
	append_interfaces(out, file, false);
	settings_to_bson_redacted(&named, SETTINGS_IMPORT, &settings);
	BSON_APPEND_DOCUMENT(out, "configuration", &settings);
	bson_destroy(&settings);
}

static void begin_details(bson_t *out, const struct import_file *file)
{
	const struct settings *settings = file->import->settings;
	char home[1024];

	home_text(settings, home, sizeof(home));
	append_file(out, file);
	BSON_APPEND_UTF8(out, "filter", settings->filter ? settings->filter : "");
	BSON_APPEND_UTF8(out, "home", home);
	BSON_APPEND_UTF8(out, "storage", import_storage_name(file));
	append_interfaces(out, file, true);
	BSON_APPEND_UTF8(out, "version", RECORDER_VERSION);
	BSON_APPEND_INT32(out, "cut", IMPORT_VERSION);
	BSON_APPEND_INT32(out, "encoder", ENCODE_VERSION);
}

static void append_wall(bson_t *out, const char *name, const char *ns_name, int64_t wall)
{
	BSON_APPEND_DATE_TIME(out, name, clock_ms(wall));
	BSON_APPEND_INT32(out, ns_name, clock_ms_rest(wall));
}

static void end_details(bson_t *out, const struct import_file *file)
{
	const struct import_result *result = &file->result;

	BSON_APPEND_INT64(out, "packets", (int64_t)result->packets);
	BSON_APPEND_INT64(out, "bytes", (int64_t)result->bytes);
	BSON_APPEND_INT64(out, "stored", (int64_t)result->stored);
	BSON_APPEND_INT64(out, "filtered", (int64_t)result->filtered);
	BSON_APPEND_INT64(out, "lost", (int64_t)result->lost);
	BSON_APPEND_INT64(out, "native", (int64_t)result->native);
	if (result->packets) {
		append_wall(out, "first", "first_ns", result->first);
		append_wall(out, "last", "last_ns", result->last);
	}
	if (file->torn)
		BSON_APPEND_UTF8(out, "torn", file->tear);
}

static struct import_request *new_event(struct import_file *file, const char *kind, const char *text,
				 void (*details)(bson_t *out, const struct import_file *file))
{
	struct import_request *request = import_request_new(file, ask_put);
	bson_t more = BSON_INITIALIZER;

	if (request) {
		request->family = "events";
		request->documents[request->count++] = bson_new();
		details(&more, file);
		event_document(request->documents[0], file->id, 0, clock_wall_ns(), kind, file->sensor, NULL, text, &more);
	}
	bson_destroy(&more);
	return request;
}

static struct import_request *new_sensor(struct import_file *file)
{
	struct import_request *request = import_request_new(file, ask_put);

	if (request) {
		request->family = "sensors";
		request->documents[request->count++] = bson_new();
		sensor_document(request->documents[0], file);
	}
	return request;
}

int import_begin(struct import_file *file)
{
	return file->begun ? 0 : insist_one(file, new_event(file, BEGUN, "a capture file is imported", begin_details));
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void row_document(bson_t *out, const struct import_file *file, const struct import_row *row)
{
	struct balance_row full = {
		.source = &file->captures[row->capture].source,
		.side = row->side,
		.sec = row->sec,
		.seconds = 1,
	};

	full.term[REC_PUBLISHED] = row->stored;
	full.term[REC_FILTERED_EXPR] = row->filtered;
	full.term[REC_LOST_UNREADABLE] = row->lost;
	full.term[REC_SEEN].packets = row->stored.packets + row->filtered.packets + row->lost.packets;
	full.term[REC_SEEN].bytes = row->stored.bytes + row->filtered.bytes + row->lost.bytes;
	balance_document(out, &full);
}

static uint32_t year_of(const struct import_row *row)
{
	return clock_day((int64_t)(row->sec * NS_PER_SEC)) / 10000;
}

/* Rows of one year; takes those off *rows. NULL with file->problem. */
static struct import_request *new_rows(struct import_file *file, const struct import_row **rows, const struct import_row *end)
{
	struct import_request *request = import_request_new(file, ask_put);

	if (!request)
		return NULL;
	request->family = "balance";
	request->year = year_of(*rows);
	while (*rows < end && request->count < IMPORT_REQUEST && year_of(*rows) == request->year) {
		request->documents[request->count] = bson_new();
		row_document(request->documents[request->count++], file, (*rows)++);
	}
	return request;
}

/* At most AT_ONCE requests; their number in *n. False: out of memory. */
static bool next_rows(struct import_file *file, const struct import_row **rows, const struct import_row *end,
		      struct import_request **requests, unsigned *n)
{
	while (*rows < end && *n < AT_ONCE) {
		requests[*n] = new_rows(file, rows, end);
		if (!requests[*n])
			return false;
		++*n;
	}
	return true;
}

static int finish_sensor(struct import_file *file)
{
	return insist_one(file, new_sensor(file));
}

static int finish_event(struct import_file *file)
{
	return insist_one(file, new_event(file, DONE, file->torn ? "a capture file is imported as far as it goes: it is cut off"
								 : "a capture file is imported",
					  end_details));
}

/*
 * A row is the same whoever writes it: what is there already is replaced by its like. The event says that all is there, so
 * it comes when it is.
 */
int import_finish(struct import_file *file)
{
	struct import_request *requests[AT_ONCE];
	const struct import_row *rows, *end;
	int err = 0;

	end = import_rows_sorted(file->rows, &rows);
	for (const struct import_row *row = rows; !err && row < end; row++)
		err = import_year(file, year_of(row));
	while (!err && rows < end) {
		unsigned n = 0;
		bool made = next_rows(file, &rows, end, requests, &n);

		err = import_insist(file, requests, n);
		if (!made && !err)
			err = -ENOMEM;
	}
	if (!err && !file->complete)
		err = finish_sensor(file);
	if (!err && !file->complete)
		err = finish_event(file);
	return err;
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

struct opening {
	struct import *import;
	enum db_result result;
	struct db_problem problem;
};

static bool hopeless(enum db_result result)
{
	return result == DB_FATAL || result == DB_REFUSED || result == DB_CANCELLED || result == DB_DENIED;
}

static void open_work(void *arg)
{
	struct opening *opening = arg;
	struct import *im = opening->import;
	uint64_t wait = im->settings->database_wait_ms;
	uint64_t until = wait == SETTINGS_FOREVER ? UINT64_MAX : clock_boot_ns() + wait * 1000000, latency;
	struct migrate_report report;

	for (;;) {
		opening->result = db_ping(im->db, &latency, &opening->problem);
		if (opening->result == DB_OK)
			opening->result = migrate_run(im->db, &im->migrations, NULL, &report, &opening->problem);
		if (opening->result == DB_OK)
			opening->result = import_storage_probe(im, &opening->problem);
		if (opening->result == DB_OK || hopeless(opening->result) || clock_boot_ns() >= until)
			return;
		usleep(250000);
	}
}

int import_database_open(struct import *im)
{
	struct opening opening = {.import = im};
	struct db_options options = {.uri = im->settings->mongo, .database = im->database, .clients = IMPORT_FLIGHTS + 4};
	CLEANUP_FREE struct ends_network *home = NULL;
	size_t homes;

	if (db_open(&im->db, &options, &opening.problem) != DB_OK ||
	    migrations_load(&im->migrations, NULL, &opening.problem) != DB_OK) {
		log_error("%s", opening.problem.text);
		return -EINVAL;
	}
	home = settings_home(im->settings, &homes);
	im->days = days_new(im->db, &im->migrations, 0);
	im->ends = ends_table_new(NULL, 0, NULL, 0, home, homes);
	if (im->days && im->ends)
		im->sink = mongo_sink_new(&(struct mongo_sink_options){.db = im->db,
									.days = im->days,
									.ends = im->ends,
									.check_all = im->settings->check_buckets});
	if (!im->sink) {
		log_error("out of memory");
		return -ENOMEM;
	}
	import_on_worker(im, open_work, &opening);
	if (opening.result == DB_OK)
		return 0;
	if (!im->signals)
		log_error("%s", opening.problem.text);
	return -EIO;
}

void import_database_close(struct import *im)
{
	if (im->sink)
		im->sink->close(im->sink);
	days_free(im->days);
	ends_table_free(im->ends);
	migrations_free(&im->migrations);
	db_close(im->db);
}
