/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connect.h - connections to MongoDB, the errors they give, and who answers at the other end.
 *
 * A `struct db` is a pool of clients for one URI and one database; every byte of theirs passes guard.h. It may be used
 * from all threads; a db_client belongs to one thread between db_client_pop and db_client_done. Nothing here blocks
 * longer than CONNECT_BOUND_S, then says so. There is one layer that retries, the caller: retryWrites is off, and no
 * function here sends anything twice.
 *
 * A URI can hold a password. It is kept inside; everything that leaves (text, logs, db_where) went through
 * uri_redacted().
 */
#ifndef XDP_RECORDER_DB_CONNECT_H
#define XDP_RECORDER_DB_CONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bson/bson.h>
#include <mongoc/mongoc.h>

#define DB_NAME_DEFAULT "recorder"

/*
 * Bounds of one command: choosing a server and connecting (each dead member of a set costs DB_CONNECT_MS), then sending
 * and the whole answer. The server gives up after DB_MAX_TIME_MS; we wait a second longer, so that it is the server who
 * says so.
 */
#define DB_SELECT_MS 3000
#define DB_CONNECT_MS 3000
#define DB_MAX_TIME_MS 10000
#define DB_SOCKET_MS 11000
#define CONNECT_BOUND_S 17

/* ---- what came of it -------------------------------------------------------------------------------------- */

enum db_result {
	DB_OK,
	DB_UNREACHABLE, /* no server could be chosen or connected to: nothing was sent */
	DB_DENIED,	/* login or rights refused before anything was done */
	DB_LATER,	/* the server says not now (not primary, no space, interrupted, busy, concern not met) */
	DB_UNKNOWN,	/* it was sent and no answer came: may have happened, or may still happen */
	DB_DUPLICATE,	/* duplicate key */
	DB_REFUSED,	/* a document or command is wrong in the server's eyes: the same again gives the same */
	DB_FATAL,	/* setting or program is wrong: bad URI, newer database, something else under this name */
	DB_CANCELLED,	/* db_cancel was called; what was under way is unknown */
};

#define DB_NO_INDEX UINT32_MAX

/* One line, redacted, that says what, where, and what would be right. Filled whenever a result is not DB_OK. */
struct db_problem {
	enum db_result result;
	int32_t code;	/* the server's, 0 = none */
	uint32_t index; /* of the first refused document, DB_NO_INDEX = none */
	char text[200];
};

const char *db_result_name(enum db_result result);

/* ---- life ------------------------------------------------------------------------------------------------- */

struct db;

struct db_options {
	const char *uri;      /* mongodb://..., mongodb+srv://..., or the path of a Unix socket */
	const char *database; /* NULL: the one in the URI, else DB_NAME_DEFAULT */
	const char *app;      /* appname in the server's logs, NULL: "xdp-recorder" */
	unsigned clients;     /* most that are kept while nobody uses them, 0: 16 */
};

/* Connects nothing yet. DB_OK or DB_FATAL (the URI is wrong: the problem says where). Copies everything. */
enum db_result db_open(struct db **db, const struct db_options *options, struct db_problem *problem);

/*
 * From any thread, for good: calls under way and later ones end with DB_CANCELLED; at once when they wait for an answer
 * or for room to send, within DB_CONNECT_MS when they are connecting.
 */
void db_cancel(struct db *db);

/* `connected` is called behind each TCP connection that is made, on whatever thread makes it. Before the first command;
 * once. */
void db_on_connect(struct db *db, void (*connected)(void *arg), void *arg);

bool db_cancelled(const struct db *db);

/* After the last client is done. NULL is fine. */
void db_close(struct db *db);

const char *db_name(const struct db *db);
/* Hosts and database for messages: "db.example:27017/recorder". Never user or password. */
const char *db_where(const struct db *db);

/*
 * Writes `uri` without its password and without secret options ("mongodb://user:***@host/?tls=true"). Works on strings
 * that are no URI too, and then hides more rather than less. Returns out.
 */
char *uri_redacted(const char *uri, char *out, size_t size);

/* Ports of the database's hosts, of the URI and found since, network byte order, at most `max`; returns how many (0 for
 * a Unix socket). */
size_t db_ports(const struct db *db, uint16_t *ports, size_t max);

/* ---- clients and commands --------------------------------------------------------------------------------- */

struct db_client {
	struct db *db;
	mongoc_client_t *client;
	unsigned generation;
	bool broken;	     /* its connection is not to be used again */
	uint64_t started_ns; /* boot time at which the last command went to the socket, 0: it never did */
	uint64_t until_ns;   /* no command begins after this boot time (DB_LATER); 0: no limit. The caller's to set. */
	uint64_t give_up_ns; /* from this boot time on no answer is waited for (DB_UNKNOWN); 0: DB_SOCKET_MS. The caller's to set. */
};

/* A client of the pool, or a new one; connects at its first command. DB_OK, DB_UNREACHABLE or DB_CANCELLED. */
enum db_result db_client_pop(struct db *db, struct db_client *client, struct db_problem *problem);
/* A client outside of the pool, whose connection is certainly made after this call. For settling and checks. */
enum db_result db_client_fresh(struct db *db, struct db_client *client, struct db_problem *problem);
void db_client_done(struct db_client *client);

/*
 * Sends one command as it is (no write concern, session or retry of libmongoc's is added, but for what the protocol
 * needs) and reads the whole answer: not only `ok`, but writeErrors and writeConcernError too. DB_OK means that all
 * three are fine. `reply` may be NULL, else the caller destroys it in every case. `database` NULL: ours.
 */
enum db_result db_command(struct db_client *client, const char *database, const bson_t *command, bson_t *reply,
			  struct db_problem *problem);

/* Same with a client of the pool, for who sends only one. */
enum db_result db_run(struct db *db, const char *database, const bson_t *command, bson_t *reply,
		      struct db_problem *problem);

/*
 * Sends a command that answers with a cursor (find, aggregate, listCollections, listIndexes) and hands out its
 * documents one by one, with getMore as often as needed. `each` returns false to stop early, which is DB_OK.
 */
typedef bool db_document(void *arg, const bson_t *document);
enum db_result db_each(struct db_client *client, const char *database, const bson_t *command, db_document *each,
		       void *arg, struct db_problem *problem);

/* Sets result and text. Returns result. */
enum db_result db_problem_set(struct db_problem *problem, enum db_result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends {writeConcern: {w: "majority", j: true}, maxTimeMS}: what every write says. */
void db_append_write_concern(bson_t *command);

/* ---- who answers ------------------------------------------------------------------------------------------ */

enum db_kind { DB_STANDALONE, DB_REPLICA_SET, DB_MONGOS };

/* The process at the other end of a connection, as it introduced itself when the connection was made. */
struct db_peer {
	enum db_kind kind;
	bool writable;	  /* standalone, primary or mongos */
	bool has_process; /* topologyVersion was there (4.4 on) */
	uint8_t process[12];
	int64_t connection; /* the server's number of this connection, 0 = not said */
	int32_t wire;	    /* maxWireVersion */
};

/* Of the connection that the next command of this client uses; connects if need be. */
enum db_result db_peer(struct db_client *client, struct db_peer *peer, struct db_problem *problem);

/*
 * True when `b` certainly is another server process than `a`, in whose place it stands: nothing that was sent to a can
 * still happen in b. Only of standalone servers: behind mongos, or on a former primary, a command may go on.
 */
bool db_peer_other_process(const struct db_peer *a, const struct db_peer *b);
/* True when both are certainly the same server process. */
bool db_peer_same_process(const struct db_peer *a, const struct db_peer *b);

enum db_result db_ping(struct db *db, uint64_t *latency_ns, struct db_problem *problem);

struct db_server {
	struct db_peer peer;
	char version[32];
	char set[64]; /* replica set's name */
	int32_t max_document, max_message, max_batch;
};
enum db_result db_server_info(struct db *db, struct db_server *server, struct db_problem *problem);

/* ---- what `check` asks ------------------------------------------------------------------------------------ */

/* One line for each thing looked at; ok 0: missing, and `text` says how to get it. */
typedef void db_check_line(void *arg, bool ok, const char *text);

/*
 * Reach, login, version, time-series collections, rights, journalled majority writes: with a scratch collection
 * (dropped again). Returns the number of things that are missing.
 */
int db_check(struct db *db, db_check_line *line, void *arg);

#endif
