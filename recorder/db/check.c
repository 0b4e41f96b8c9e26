/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `check` asks of the database: tried out on a scratch collection, since rights cannot be read off in advance. */
#include "recorder/db/connect.h"

#include <inttypes.h>
#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define WIRE_TIME_SERIES 13
#define WIRE_SPAN 20

struct check {
	struct db *db;
	db_check_line *line;
	void *arg;
	int missing;
};

static void say(struct check *check, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void say(struct check *check, bool ok, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	check->missing += !ok;
	check->line(check->arg, ok, text);
}

/* One trial; what it needs is said when it fails. Takes the command. */
static bool try(struct check *check, struct db_client *client, bson_t *command, const char *what, const char *remedy)
{
	struct db_problem problem;
	enum db_result result = db_command(client, NULL, command, NULL, &problem);

	bson_destroy(command);
	if (result == DB_OK)
		return true;
	if (result == DB_DENIED)
		say(check, false,
		    "%s: not allowed; as an administrator: db.getSiblingDB('admin').grantRolesToUser(USER, "
		    "['readWrite', 'dbAdmin'] each on '%s')",
		    what, db_name(check->db));
	else
		say(check, false, "%s: %s%s%s", what, problem.text, *remedy ? "; " : "", remedy);
	return false;
}

static void check_scratch(struct check *check, struct db_client *client, int32_t wire)
{
	char name[64];
	const char *rights = "";

	snprintf(name, sizeof(name), "xdp_recorder_check_%" PRIx64, clock_boot_ns() ^ ((uint64_t)getpid() << 32));
	bson_t *create = wire >= WIRE_SPAN ? BCON_NEW("create", BCON_UTF8(name), "timeseries", "{", "timeField", "ts",
						      "metaField", "meta", "bucketMaxSpanSeconds", BCON_INT32(60),
						      "bucketRoundingSeconds", BCON_INT32(60), "}")
					   : BCON_NEW("create", BCON_UTF8(name), "timeseries", "{", "timeField", "ts",
						      "metaField", "meta", "}");
	if (!try(check, client, create, "make time-series collections", rights))
		return;
	bson_t *insert =
		BCON_NEW("insert", BCON_UTF8(name), "documents", "[", "{", "_id", BCON_INT32(1), "ts",
			 BCON_DATE_TIME(clock_wall_ns() / 1000000), "meta", "{", "sensor", "check", "}", "}", "]");
	db_append_write_concern(insert);
	bool ok = try(check, client, insert, "write, acknowledged by the majority and journalled",
		      "the recorder never acknowledges less");
	ok = try(check, client, BCON_NEW("find", BCON_UTF8(name)), "read", rights) && ok;
	ok = try(check, client,
		 BCON_NEW("createIndexes", BCON_UTF8(name), "indexes", "[", "{", "key", "{", "ts", BCON_INT32(1), "}",
			  "name", "ts", "}", "]"),
		 "make indexes", rights) &&
	     ok;
	ok = try(check, client, BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", BCON_UTF8(name), "}"),
		 "list collections", rights) &&
	     ok;
	ok = try(check, client, BCON_NEW("drop", BCON_UTF8(name)), "drop collections", rights) && ok;
	if (ok)
		say(check, true,
		    "%s: time-series collections, indexes, journalled majority writes, reading and dropping work",
		    db_where(check->db));
}

int db_check(struct db *db, db_check_line *line, void *arg)
{
	static const char *const kinds[] = {
		[DB_STANDALONE] = "standalone", [DB_REPLICA_SET] = "replica set", [DB_MONGOS] = "sharded cluster"};
	struct check check = {.db = db, .line = line, .arg = arg};
	struct db_server server;
	struct db_client client;
	struct db_problem problem;

	if (db_server_info(db, &server, &problem) != DB_OK) {
		say(&check, false, "%s", problem.text);
		return check.missing;
	}
	const char *mode = server.peer.writable ? "" : ", not writable";
	say(&check, server.peer.writable, "%s: MongoDB %s, %s%s%s%s", db_where(db), server.version,
	    kinds[server.peer.kind], *server.set ? " " : "", server.set, mode);
	if (server.peer.wire < WIRE_TIME_SERIES) {
		say(&check, false, "%s: MongoDB %s has no time-series collections; 5.0 or later is needed",
		    db_where(db), server.version);
		return check.missing;
	}
	if (server.peer.wire < WIRE_SPAN)
		say(&check, true, "%s: before MongoDB 6.3 the bucket span cannot be chosen: an hour is used",
		    db_where(db));
	if (db_client_pop(db, &client, &problem) != DB_OK) {
		say(&check, false, "%s", problem.text);
		return check.missing;
	}
	check_scratch(&check, &client, server.peer.wire);
	db_client_done(&client);
	return check.missing;
}
