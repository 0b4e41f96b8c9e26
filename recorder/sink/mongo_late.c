/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may still happen to a command, and whether an answer lasts: the rules are in mongo.c. */
#include "recorder/sink/mongo_internal.h"

#define PEER_VALID_NS (NS_PER_SEC / 2) /* at most so long before its use a connection is asked who it leads to */

void late_begin(struct mongo *m, struct late *late, const struct db_client *client, const struct db_peer *peer,
		uint64_t asked)
{
	*late = (struct late){.pending = true, .since = clock_boot_ns(), .peer = *peer};
	/* In between the connection may have been replaced by one to somebody else; not within so short a time. */
	if (!client->started_ns || client->started_ns - asked > PEER_VALID_NS)
		late->peer.has_process = false;
	m->unknown++;
	pthread_mutex_lock(&m->lock);
	m->unknown_at = late->since;
	pthread_mutex_unlock(&m->lock);
}

void late_inherit(struct mongo *m, struct late *late)
{
	*late = (struct late){.pending = true, .since = m->born};
	pthread_mutex_lock(&m->lock);
	if (m->unknown_at > late->since)
		late->since = m->unknown_at;
	pthread_mutex_unlock(&m->lock);
}

/* The time from which on nothing can come of it, if a connection made after it has been answered. */
static bool late_from_answer(struct mongo *m, struct late *late)
{
	bool known;

	pthread_mutex_lock(&m->lock);
	known = m->answer_opened >= late->since;
	if (known)
		late->until = db_peer_other_process(&late->peer, &m->answer_peer)
				      ? m->answer_came
				      : m->answer_came + m->late_ms * 1000000ull;
	pthread_mutex_unlock(&m->lock);
	return known;
}

enum db_result late_wait(struct mongo *m, struct late *late, uint64_t *again, struct db_problem *problem)
{
	struct db_client client;
	struct db_peer peer;
	enum db_result result;

	if (!late->pending)
		return DB_OK;
	if (!late->until && !late_from_answer(m, late)) {
		uint64_t opened = clock_boot_ns();
		result = db_client_fresh(m->db, &client, problem);
		if (result == DB_OK) {
			result = db_peer(&client, &peer, problem);
			db_client_done(&client);
		}
		if (result != DB_OK)
			return result;
		pthread_mutex_lock(&m->lock);
		if (m->answer_opened < opened) {
			m->answer_opened = opened;
			m->answer_came = clock_boot_ns();
			m->answer_peer = peer;
		}
		pthread_mutex_unlock(&m->lock);
		late_from_answer(m, late);
	}
	if (!late->until || clock_boot_ns() < late->until) {
		*again = late->until ? late->until : clock_boot_ns() + RETRY_LEAST_NS;
		return db_problem_set(problem, DB_LATER,
				      "%s: waiting until nothing can come of a command that was not answered",
				      db_where(m->db));
	}
	late->pending = false;
	return DB_OK;
}

enum db_result late_lives_on(struct mongo *m, struct db_client *client, const struct db_peer *before, bool *stood,
			     struct db_problem *problem)
{
	bson_t *ping = BCON_NEW("ping", BCON_INT32(1));
	uint64_t asked = clock_boot_ns();
	enum db_result result =
		db_command(client, "admin", ping, NULL, problem); /* else an old greeting would be looked at */
	struct db_peer now;

	bson_destroy(ping);
	*stood = clock_boot_ns() - asked > LINGER_MS * 1000000ull / 2;
	if (result == DB_OK)
		result = db_peer(client, &now, problem);
	if (result == DB_OK && !db_peer_same_process(&now, before))
		result = db_problem_set(problem, DB_LATER,
					"%s: the server was started anew right after it had acknowledged",
					db_where(m->db));
	return result;
}
