/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peer.c - who answers: kind, process, version, limits. */
#include "recorder/db/connect_internal.h"

#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

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
		return db_say_cancelled(db, problem);
	if (db_is_late(client))
		return db_say_slow(db, problem);
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
		result = db_failed(client, "hello", &error, NULL, problem);
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
