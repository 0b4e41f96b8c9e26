/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/connect_internal.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/counters.h"
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

_Thread_local struct db_client *db_under_way;

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

enum db_result db_say_cancelled(struct db *db, struct db_problem *problem)
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
	if (db_under_way) /* else it is libmongoc's own */
		db_under_way->started_ns = clock_boot_ns();
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
		return db_say_cancelled(db, problem);
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
		return db_say_cancelled(db, problem);
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
