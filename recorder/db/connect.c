/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/counters.h"
#include "recorder/db/guard.h"
#include "recorder/db/translate.h"
#include "recorder/db/uri.h"

#define CLIENTS 16u

/*
 * A pool of our own, of libmongoc's single-threaded clients: its pool brings a monitor thread and two more connections
 * for each server, which guard.c could not stand in front of, and which live on while the recorder ends. A client that
 * had trouble is not used again, nor are those that are as old as it: a server that went away took all of their
 * connections.
 */
struct idle {
	mongoc_client_t *client;
	unsigned generation;
};

struct db {
	mongoc_uri_t *uri;
	mongoc_apm_callbacks_t *callbacks;
	char *app;
	char *name;
	char *where;
	struct guard guard;

	pthread_mutex_t lock; /* held for a few instructions, never over a call */
	struct idle *idle;
	unsigned count, most;
	unsigned generation;
};

/* The command that this thread has under way, for the callback that is told when it goes out. */
static _Thread_local struct db_client *under_way;

/* ---- the library ------------------------------------------------------------------------------------------- */

static void library_log(mongoc_log_level_t level, const char *domain, const char *message, void *arg)
{
	static const enum log_level levels[] = {
		[MONGOC_LOG_LEVEL_ERROR] = LOG_DEBUG,	[MONGOC_LOG_LEVEL_CRITICAL] = LOG_WARNING,
		[MONGOC_LOG_LEVEL_WARNING] = LOG_DEBUG, /* what our own line says already */
		[MONGOC_LOG_LEVEL_MESSAGE] = LOG_INFO,	[MONGOC_LOG_LEVEL_INFO] = LOG_INFO,
		[MONGOC_LOG_LEVEL_DEBUG] = LOG_DEBUG,	[MONGOC_LOG_LEVEL_TRACE] = LOG_DEBUG,
	};
	char text[512];

	(void)arg;
	snprintf(text, sizeof(text), "%s", message);
	uri_redact_text(text);
	log_at(level < ARRAY_SIZE(levels) ? levels[level] : LOG_DEBUG, "libmongoc: %s: %s", domain, text);
}

static void library_start(void)
{
	counters_forget();
	mongoc_log_set_handler(library_log, NULL);
	mongoc_init();
	mongoc_handshake_data_append("xdp-recorder", RECORDER_VERSION, NULL);
}

/* ---- problems ---------------------------------------------------------------------------------------------- */

const char *db_result_name(enum db_result result)
{
	static const char *const names[] = {
		[DB_OK] = "ok",
		[DB_UNREACHABLE] = "unreachable",
		[DB_DENIED] = "denied",
		[DB_LATER] = "later",
		[DB_UNKNOWN] = "unknown",
		[DB_DUPLICATE] = "duplicate",
		[DB_REFUSED] = "refused",
		[DB_FATAL] = "fatal",
		[DB_CANCELLED] = "cancelled",
	};

	return (size_t)result < ARRAY_SIZE(names) ? names[result] : "?";
}

enum db_result db_problem_set(struct db_problem *problem, enum db_result result, const char *format, ...)
{
	char text[1024] = "";
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	uri_redact_text(text);
	for (char *p = text; *p; p++) /* one line, whatever the server said */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	problem->result = result;
	problem->code = 0;
	problem->index = DB_NO_INDEX;
	text[sizeof(problem->text) - 1] = '\0';
	memcpy(problem->text, text, sizeof(problem->text));
	return result;
}

static enum db_result cancelled(struct db *db, struct db_problem *problem)
{
	return db_problem_set(problem, DB_CANCELLED, "%s: ended", db->where);
}

/* ---- cancelling -------------------------------------------------------------------------------------------- */

void db_cancel(struct db *db)
{
	db->guard.cancelled = true;
}

void db_on_connect(struct db *db, void (*connected)(void *arg), void *arg)
{
	db->guard.connected = connected;
	db->guard.connected_arg = arg;
}

bool db_cancelled(const struct db *db)
{
	return db->guard.cancelled;
}

/* Just before a command goes out, in the thread that sends it. */
static void on_started(const mongoc_apm_command_started_t *event)
{
	(void)event;
	if (under_way) /* else it is libmongoc's own */
		under_way->started_ns = clock_boot_ns();
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < 64 && !strpbrk(name, "/\\. \"$*<>:|?");
}

/* The smaller of what the user asked for and our bound. */
static void bound_option(mongoc_uri_t *uri, const char *option, int32_t bound)
{
	int32_t asked = mongoc_uri_get_option_as_int32(uri, option, bound);

	mongoc_uri_set_option_as_int32(uri, option, asked > 0 && asked < bound ? asked : bound);
}

static char *where_of(const mongoc_uri_t *uri, const char *name)
{
	const char *srv = mongoc_uri_get_srv_hostname(uri);
	char *text = NULL, *longer;

	if (srv)
		return asprintf(&text, "%s/%s", srv, name) < 0 ? NULL : text;
	for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri); host; host = host->next) {
		if (asprintf(&longer, "%s%s%s", text ? text : "", text ? "," : "",
			     host->family == AF_UNIX ? host->host : host->host_and_port) < 0)
			longer = NULL;
		free(text);
		text = longer;
		if (!text)
			return NULL;
	}
	if (asprintf(&longer, "%s/%s", text ? text : "?", name) < 0)
		longer = NULL;
	free(text);
	return longer;
}

/*
 * libmongoc's words about a wrong URI quote parts of it, so they are shown only where there can be no password. The
 * usual mistakes are named by ourselves.
 */
static enum db_result wrong_uri(const char *uri, const bson_error_t *error, struct db_problem *problem)
{
	char shown[120];
	const char *why = NULL;
	const char *user_end = strrchr(uri, '@');

	uri_redacted(uri, shown, sizeof(shown));
	if (strncmp(uri, "mongodb://", 10) && strncmp(uri, "mongodb+srv://", 14))
		why = "it must begin with mongodb://, mongodb+srv:// or / (the path of a socket)";
	else if (user_end && (strchr(uri, '@') != user_end ||
			      memchr(strstr(uri, "://") + 3, '/', (size_t)(user_end - strstr(uri, "://") - 3))))
		why = "characters such as @ : / % in user or password must be percent-encoded";
	else if (user_end)
		why = "host, port, or an option is wrong, or user or password are not percent-encoded";
	return db_problem_set(problem, DB_FATAL, "'%s' is no usable MongoDB URI: %s", shown,
			      why ? why : error->message);
}

enum db_result db_open(struct db **out, const struct db_options *options, struct db_problem *problem)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char socket_uri[1024];
	const char *given = options->uri;
	bson_error_t error = {0};

	pthread_once(&once, library_start);
	if (!given || !*given)
		return db_problem_set(problem, DB_FATAL, "no MongoDB URI");
	if (*given == '/') {
		size_t len = strlen(given);
		if (len < 5 || strcmp(given + len - 5, ".sock")) /* libmongoc would take it for a host's name */
			return db_problem_set(problem, DB_FATAL, "'%s': the path of a socket must end in .sock", given);
		if (!uri_from_path(given, socket_uri, sizeof(socket_uri)))
			return db_problem_set(problem, DB_FATAL, "socket path '%s' is too long", given);
		given = socket_uri;
	}

	struct db *db = calloc(1, sizeof(*db));
	if (!db)
		return db_problem_set(problem, DB_FATAL, "out of memory");
	pthread_mutex_init(&db->lock, NULL);
	db->uri = mongoc_uri_new_with_error(given, &error);
	if (!db->uri) {
		wrong_uri(given, &error, problem);
		goto fail;
	}
	const char *name = options->database;
	if (!name)
		name = mongoc_uri_get_database(db->uri);
	if (!name)
		name = DB_NAME_DEFAULT;
	if (!name_is_valid(name)) {
		db_problem_set(problem, DB_FATAL,
			       "'%s' cannot be a database's name: 1 to 63 characters, none of / \\ . \" $ * < > : | ? "
			       "or space",
			       name);
		goto fail;
	}

	mongoc_uri_set_option_as_bool(db->uri, MONGOC_URI_RETRYWRITES, false);
	mongoc_uri_set_option_as_bool(db->uri, MONGOC_URI_RETRYREADS, false);
	bound_option(db->uri, MONGOC_URI_CONNECTTIMEOUTMS, DB_CONNECT_MS);
	bound_option(db->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DB_SELECT_MS);
	mongoc_uri_set_option_as_int32(db->uri, MONGOC_URI_SOCKETTIMEOUTMS, DB_SOCKET_MS);

	db->most = options->clients ? options->clients : CLIENTS;
	db->idle = calloc(db->most, sizeof(*db->idle));
	db->app = strdup(options->app ? options->app : "xdp-recorder");
	db->name = strdup(name);
	db->where = where_of(db->uri, name);
	db->callbacks = mongoc_apm_callbacks_new();
	if (!db->idle || !db->app || !db->name || !db->where || !db->callbacks) {
		db_problem_set(problem, DB_FATAL, "out of memory");
		goto fail;
	}
	mongoc_apm_set_command_started_cb(db->callbacks, on_started);
	*out = db;
	return DB_OK;
fail:
	db_close(db);
	return problem->result;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	for (unsigned i = 0; i < db->count; i++)
		mongoc_client_destroy(db->idle[i].client);
	if (db->callbacks)
		mongoc_apm_callbacks_destroy(db->callbacks);
	if (db->uri)
		mongoc_uri_destroy(db->uri);
	pthread_mutex_destroy(&db->lock);
	free(db->idle);
	free(db->where);
	free(db->name);
	free(db->app);
	free(db);
}

const char *db_name(const struct db *db)
{
	return db->name;
}

const char *db_where(const struct db *db)
{
	return db->where;
}

static size_t add_port(uint16_t *ports, size_t n, size_t max, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i] == port)
			return n;
	if (n < max && port)
		ports[n++] = port;
	return n;
}

size_t db_ports(const struct db *db, uint16_t *ports, size_t max)
{
	size_t n = 0;

	for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(db->uri); host; host = host->next)
		if (host->family != AF_UNIX)
			n = add_port(ports, n, max, htons(host->port));
	for (size_t i = 0; i < ARRAY_SIZE(db->guard.port); i++)
		n = add_port(ports, n, max, db->guard.port[i]);
	return n;
}

/* ---- clients ----------------------------------------------------------------------------------------------- */

static enum db_result new_client(struct db *db, struct db_client *client, struct db_problem *problem)
{
	bson_error_t error = {0};

	client->client = mongoc_client_new_from_uri_with_error(db->uri, &error);
	if (!client->client) /* of a mongodb+srv URI the name is looked up here */
		return db_problem_set(problem, mongoc_uri_get_srv_hostname(db->uri) ? DB_UNREACHABLE : DB_FATAL,
				      "%s: %s", db->where, error.message);
	mongoc_client_set_error_api(client->client, MONGOC_ERROR_API_VERSION_2);
	mongoc_client_set_appname(client->client, db->app);
	mongoc_client_set_apm_callbacks(client->client, db->callbacks, db);
	mongoc_client_set_stream_initiator(client->client, guard_connect, &db->guard);
	return DB_OK;
}

enum db_result db_client_pop(struct db *db, struct db_client *client, struct db_problem *problem)
{
	struct idle taken = {0};
	bool stale;

	*client = (struct db_client){.db = db};
	if (db->guard.cancelled)
		return cancelled(db, problem);
	do {
		pthread_mutex_lock(&db->lock);
		taken = db->count ? db->idle[--db->count] : (struct idle){0};
		client->generation = db->generation;
		stale = taken.client && taken.generation != db->generation;
		pthread_mutex_unlock(&db->lock);
		if (stale)
			mongoc_client_destroy(taken.client);
	} while (stale);
	client->client = taken.client;
	return client->client ? DB_OK : new_client(db, client, problem);
}

enum db_result db_client_fresh(struct db *db, struct db_client *client, struct db_problem *problem)
{
	*client = (struct db_client){.db = db};
	if (db->guard.cancelled)
		return cancelled(db, problem);
	pthread_mutex_lock(&db->lock);
	client->generation = db->generation;
	pthread_mutex_unlock(&db->lock);
	return new_client(db, client, problem);
}

void db_client_done(struct db_client *client)
{
	struct db *db = client->db;
	bool keep;

	if (!client->client)
		return;
	pthread_mutex_lock(&db->lock);
	if (client->broken && client->generation == db->generation)
		db->generation++;
	keep = !client->broken && client->generation == db->generation && db->count < db->most;
	if (keep)
		db->idle[db->count++] = (struct idle){client->client, client->generation};
	pthread_mutex_unlock(&db->lock);
	if (!keep)
		mongoc_client_destroy(client->client);
	client->client = NULL;
}

/* ---- commands ---------------------------------------------------------------------------------------------- */

static bool is_late(const struct db_client *client)
{
	return client->until_ns && clock_boot_ns() > client->until_ns;
}

static enum db_result slow(struct db *db, struct db_problem *problem)
{
	return db_problem_set(problem, DB_LATER, "%s: answers slowly", db->where);
}

static const char *command_name(const bson_t *command)
{
	bson_iter_t it;

	return bson_iter_init(&it, command) && bson_iter_next(&it) ? bson_iter_key(&it) : "?";
}

/* A path that is no socket is a mistake that libmongoc has no words for. */
static void explain_socket(const struct db *db, struct db_problem *problem)
{
	const mongoc_host_list_t *host = mongoc_uri_get_hosts(db->uri);
	struct stat st;

	if (problem->result != DB_UNREACHABLE || !host || host->family != AF_UNIX)
		return;
	if (stat(host->host, &st))
		db_problem_set(problem, DB_UNREACHABLE, "%s: no server: %s: %s", db->where, host->host,
			       strerror(errno));
	else if (!S_ISSOCK(st.st_mode))
		db_problem_set(problem, DB_UNREACHABLE, "%s: %s is no socket", db->where, host->host);
}

/* Without an answer the connection is worth nothing any more; with one (the server said no) it is. */
static enum db_result failed(struct db_client *client, const char *what, bson_error_t *error, const bson_t *reply,
			     struct db_problem *problem)
{
	struct db *db = client->db;

	client->broken |= !reply || bson_empty(reply) || error->domain != MONGOC_ERROR_SERVER;
	if (guard_reason() && client->broken)
		snprintf(error->message, sizeof(error->message), "%s", guard_reason());
	translate_error(db->where, what, error, reply, client->started_ns != 0, problem);
	explain_socket(db, problem);
	return db->guard.cancelled ? cancelled(db, problem) : problem->result;
}

enum db_result db_command(struct db_client *client, const char *database, const bson_t *command, bson_t *reply,
			  struct db_problem *problem)
{
	struct db *db = client->db;
	const char *what = command_name(command);
	bson_error_t error = {0};
	enum db_result result;
	bson_t own;
	bool ok;

	if (!reply)
		reply = &own;
	client->started_ns = 0;
	if (db->guard.cancelled || is_late(client)) {
		bson_init(reply);
		result = db->guard.cancelled ? cancelled(db, problem) : slow(db, problem);
		goto done;
	}
	guard_reset();
	guard_give_up(client->give_up_ns);
	under_way = client;
	ok = mongoc_client_command_simple(client->client, database ? database : db->name, command, NULL, reply, &error);
	under_way = NULL;
	guard_give_up(0);
	if (ok)
		result = translate_reply(db->where, what, reply, problem);
	else
		result = failed(client, what, &error, reply, problem);
done:
	if (reply == &own)
		bson_destroy(&own);
	return result;
}

enum db_result db_run(struct db *db, const char *database, const bson_t *command, bson_t *reply,
		      struct db_problem *problem)
{
	struct db_client client;
	enum db_result result = db_client_pop(db, &client, problem);

	if (result != DB_OK) {
		if (reply)
			bson_init(reply);
		return result;
	}
	result = db_command(&client, database, command, reply, problem);
	db_client_done(&client);
	return result;
}

/* One answer with a cursor. `next` gets the cursor's id (0 = finished), `ns` its collection. */
static enum db_result hand_out(struct db_client *client, const bson_t *reply, db_document *each, void *arg,
			       int64_t *next, char *ns, size_t ns_size, bool *stopped, struct db_problem *problem)
{
	bson_iter_t it, field, batch;

	*next = 0;
	if (!bson_iter_init_find(&it, reply, "cursor") || !BSON_ITER_HOLDS_DOCUMENT(&it) ||
	    !bson_iter_recurse(&it, &field))
		return db_problem_set(problem, DB_UNKNOWN, "%s: an answer without cursor", client->db->where);
	while (bson_iter_next(&field)) {
		const char *key = bson_iter_key(&field);
		if (!strcmp(key, "id"))
			*next = bson_iter_as_int64(&field);
		else if (!strcmp(key, "ns") && BSON_ITER_HOLDS_UTF8(&field))
			snprintf(ns, ns_size, "%s", bson_iter_utf8(&field, NULL));
		else if ((!strcmp(key, "firstBatch") || !strcmp(key, "nextBatch")) && BSON_ITER_HOLDS_ARRAY(&field) &&
			 bson_iter_recurse(&field, &batch)) {
			while (!*stopped && bson_iter_next(&batch)) {
				const uint8_t *data;
				uint32_t len;
				bson_t doc;
				if (!BSON_ITER_HOLDS_DOCUMENT(&batch))
					continue;
				bson_iter_document(&batch, &len, &data);
				if (bson_init_static(&doc, data, len) && !each(arg, &doc))
					*stopped = true;
			}
		}
	}
	return DB_OK;
}

enum db_result db_each(struct db_client *client, const char *database, const bson_t *command, db_document *each,
		       void *arg, struct db_problem *problem)
{
	char ns[256] = "";
	int64_t cursor = 0;
	bool stopped = false;
	bson_t reply, more;
	enum db_result result = db_command(client, database, command, &reply, problem);

	if (result == DB_OK)
		result = hand_out(client, &reply, each, arg, &cursor, ns, sizeof(ns), &stopped, problem);
	bson_destroy(&reply);
	while (result == DB_OK && cursor) {
		const char *collection = strchr(ns, '.');
		bson_init(&more);
		if (stopped) {
			BSON_APPEND_UTF8(&more, "killCursors", collection ? collection + 1 : "");
			bson_t *cursors = BCON_NEW("0", BCON_INT64(cursor));
			BSON_APPEND_ARRAY(&more, "cursors", cursors);
			bson_destroy(cursors);
		} else {
			BSON_APPEND_INT64(&more, "getMore", cursor);
			BSON_APPEND_UTF8(&more, "collection", collection ? collection + 1 : "");
		}
		result = db_command(client, database, &more, &reply, problem);
		cursor = 0;
		if (stopped)
			result = DB_OK; /* the server forgets it by itself in the end */
		else if (result == DB_OK)
			result = hand_out(client, &reply, each, arg, &cursor, ns, sizeof(ns), &stopped, problem);
		bson_destroy(&more);
		bson_destroy(&reply);
	}
	return result;
}

void db_append_write_concern(bson_t *command)
{
	bson_t concern;

	BSON_APPEND_DOCUMENT_BEGIN(command, "writeConcern", &concern);
	BSON_APPEND_UTF8(&concern, "w", "majority");
	BSON_APPEND_BOOL(&concern, "j", true);
	bson_append_document_end(command, &concern);
	BSON_APPEND_INT32(command, "maxTimeMS", DB_MAX_TIME_MS);
}

/* ---- who answers ------------------------------------------------------------------------------------------- */

static void peer_from_hello(const bson_t *hello, struct db_peer *peer)
{
	bson_iter_t it, sub;

	*peer = (struct db_peer){.kind = DB_STANDALONE};
	if (bson_iter_init_find(&it, hello, "msg") && BSON_ITER_HOLDS_UTF8(&it) &&
	    !strcmp(bson_iter_utf8(&it, NULL), "isdbgrid"))
		peer->kind = DB_MONGOS;
	else if (bson_iter_init_find(&it, hello, "setName") || bson_iter_init_find(&it, hello, "isreplicaset"))
		peer->kind = DB_REPLICA_SET;
	if (bson_iter_init_find(&it, hello, "isWritablePrimary") || bson_iter_init_find(&it, hello, "ismaster"))
		peer->writable = bson_iter_as_bool(&it);
	if (bson_iter_init_find(&it, hello, "connectionId") && BSON_ITER_HOLDS_NUMBER(&it))
		peer->connection = bson_iter_as_int64(&it);
	if (bson_iter_init_find(&it, hello, "maxWireVersion") && BSON_ITER_HOLDS_NUMBER(&it))
		peer->wire = (int32_t)bson_iter_as_int64(&it);
	if (bson_iter_init(&it, hello) && bson_iter_find_descendant(&it, "topologyVersion.processId", &sub) &&
	    BSON_ITER_HOLDS_OID(&sub)) {
		memcpy(peer->process, bson_iter_oid(&sub)->bytes, sizeof(peer->process));
		peer->has_process = true;
	}
}

static enum db_result hello_of(struct db_client *client, bson_t *hello, struct db_problem *problem)
{
	struct db *db = client->db;
	bson_error_t error = {0};
	mongoc_server_description_t *server, *greeting = NULL;
	enum db_result result;

	bson_init(hello);
	if (db->guard.cancelled)
		return cancelled(db, problem);
	if (is_late(client))
		return slow(db, problem);
	client->started_ns = 0;
	guard_reset();
	server = mongoc_client_select_server(client->client, true, NULL, &error);
	if (server)
		greeting = mongoc_client_get_handshake_description(client->client, mongoc_server_description_id(server),
								   NULL, &error);
	if (greeting) {
		bson_destroy(hello);
		bson_copy_to(mongoc_server_description_hello_response(greeting), hello);
		result = DB_OK;
	} else {
		result = failed(client, "hello", &error, NULL, problem);
	}
	mongoc_server_description_destroy(greeting);
	mongoc_server_description_destroy(server);
	return result;
}

enum db_result db_peer(struct db_client *client, struct db_peer *peer, struct db_problem *problem)
{
	bson_t hello;
	enum db_result result = hello_of(client, &hello, problem);

	if (result == DB_OK)
		peer_from_hello(&hello, peer);
	bson_destroy(&hello);
	return result;
}

bool db_peer_other_process(const struct db_peer *a, const struct db_peer *b)
{
	return a->has_process && b->has_process && a->kind == DB_STANDALONE && b->kind == DB_STANDALONE &&
	       memcmp(a->process, b->process, sizeof(a->process)) != 0;
}

bool db_peer_same_process(const struct db_peer *a, const struct db_peer *b)
{
	return a->has_process && b->has_process && a->kind == b->kind &&
	       memcmp(a->process, b->process, sizeof(a->process)) == 0;
}

enum db_result db_ping(struct db *db, uint64_t *latency_ns, struct db_problem *problem)
{
	bson_t *ping = BCON_NEW("ping", BCON_INT32(1));
	uint64_t began = clock_boot_ns();
	enum db_result result = db_run(db, "admin", ping, NULL, problem);

	if (latency_ns)
		*latency_ns = clock_boot_ns() - began;
	bson_destroy(ping);
	return result;
}

static int32_t number(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_NUMBER(&it) ? (int32_t)bson_iter_as_int64(&it)
										  : 0;
}

static void text(const bson_t *doc, const char *name, char *out, size_t size)
{
	bson_iter_t it;

	if (bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it))
		snprintf(out, size, "%s", bson_iter_utf8(&it, NULL));
}

enum db_result db_server_info(struct db *db, struct db_server *server, struct db_problem *problem)
{
	bson_t *build = BCON_NEW("buildInfo", BCON_INT32(1));
	bson_t hello = BSON_INITIALIZER, reply = BSON_INITIALIZER;
	struct db_client client;
	enum db_result result;

	memset(server, 0, sizeof(*server));
	result = db_client_pop(db, &client, problem);
	if (result != DB_OK)
		goto done;
	result = hello_of(&client, &hello, problem);
	if (result == DB_OK)
		result = db_command(&client, "admin", build, &reply, problem);
	db_client_done(&client);
	if (result != DB_OK)
		goto done;
	peer_from_hello(&hello, &server->peer);
	text(&hello, "setName", server->set, sizeof(server->set));
	server->max_document = number(&hello, "maxBsonObjectSize");
	server->max_message = number(&hello, "maxMessageSizeBytes");
	server->max_batch = number(&hello, "maxWriteBatchSize");
	text(&reply, "version", server->version, sizeof(server->version));
done:
	bson_destroy(&hello);
	bson_destroy(&reply);
	bson_destroy(build);
	return result;
}
