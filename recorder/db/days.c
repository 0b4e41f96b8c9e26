/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/days_internal.h"

#include <stdatomic.h>
#include <stdio.h>

#include "recorder/core/clock.h"

#define DAYS_MAX 62u
#define PATIENCE_MS                                                                                                    \
	3000 /* a call does not begin another command after that: what is missing comes with the next call */

/* The packets of a day that comes are made this long before it, when there is a day's rate to choose its span by. */
#define EARLY_NS (3600 * (int64_t)NS_PER_SEC)

const char *const days_families[DAYS_FAMILIES] = {"packets", "balance", "batches", "floods"};

#define ALL_FAMILIES ((1u << DAYS_FAMILIES) - 1)

struct days *days_new(struct db *db, const struct migrations *migrations, unsigned span_s)
{
	struct days *days = calloc(1, sizeof(*days));

	if (!days)
		return NULL;
	days->db = db;
	days->migrations = migrations;
	days->span_s = span_s;
	pthread_mutex_init(&days->lock, NULL);
	return days;
}

void days_free(struct days *days)
{
	if (!days)
		return;
	pthread_mutex_destroy(&days->lock);
	free(days);
}

void days_set_span(struct days *days, unsigned span_s)
{
	days->span_s = span_s;
}

char *days_collection(char out[DAYS_NAME], const char *family, uint32_t day)
{
	snprintf(out, DAYS_NAME, days_is_year(day) ? "%.20s_%04u" : "%.20s_%08u", family, day);
	return out;
}

static uint32_t next_period(uint32_t day)
{
	return days_is_year(day) ? day + 1 : clock_next_day(day);
}

/* ---- what this process knows ------------------------------------------------------------------------------- */

/* The place of a day. Forgetting one that is still needed costs a look at the server, no more. Under the lock. */
static struct days_known *place_of(struct days *days, uint32_t day)
{
	struct days_known *free_one = NULL;

	for (unsigned i = 0; i < DAYS_READY; i++) {
		if (days->known[i].day == day)
			return &days->known[i];
		if (!days->known[i].day)
			free_one = &days->known[i];
	}
	if (!free_one)
		free_one = &days->known[day % DAYS_READY];
	*free_one = (struct days_known){.day = day};
	return free_one;
}

void days_note_span(struct days *days, uint32_t day, unsigned span_s)
{
	pthread_mutex_lock(&days->lock);
	place_of(days, day)->span_s = span_s;
	pthread_mutex_unlock(&days->lock);
}

unsigned days_span(struct days *days, uint32_t day)
{
	unsigned span_s = 0;

	pthread_mutex_lock(&days->lock);
	for (unsigned i = 0; i < DAYS_READY; i++)
		if (days->known[i].day == day)
			span_s = days->known[i].span_s;
	pthread_mutex_unlock(&days->lock);
	return span_s;
}

/* Families of a day that are there, as far as this process and the server process of `peer` go. */
static unsigned made_of(struct days *days, uint32_t day, const struct db_peer *peer)
{
	unsigned made = 0;

	pthread_mutex_lock(&days->lock);
	if (!db_peer_same_process(&days->peer, peer) && peer->kind == DB_STANDALONE) {
		for (unsigned i = 0; i < DAYS_READY; i++)
			days->known[i].made = 0;
		days->peer = *peer;
	}
	for (unsigned i = 0; i < DAYS_READY; i++)
		if (days->known[i].day == day)
			made = days->known[i].made;
	pthread_mutex_unlock(&days->lock);
	return made;
}

static void set_made(struct days *days, uint32_t day, unsigned family, const struct db_peer *peer)
{
	pthread_mutex_lock(&days->lock);
	if (db_peer_same_process(&days->peer, peer) || peer->kind != DB_STANDALONE)
		place_of(days, day)->made |= 1u << family;
	pthread_mutex_unlock(&days->lock);
}

void days_forget(struct days *days, uint32_t day)
{
	pthread_mutex_lock(&days->lock);
	for (unsigned i = 0; i < DAYS_READY; i++)
		if (days->known[i].day == day)
			days->known[i] = (struct days_known){0};
	pthread_mutex_unlock(&days->lock);
}

/* ---- from outside ------------------------------------------------------------------------------------------ */

/* The families in the bits of `wanted`. `there`: what the server has now (NULL: what this process remembers will do). */
static enum db_result make_day(struct days *days, struct db_client *client, uint32_t day, unsigned wanted,
			       struct days_listing *there, struct db_problem *problem)
{
	struct db_peer peer;
	enum db_result result = db_peer(client, &peer, problem);
	unsigned made = result == DB_OK ? made_of(days, day, &peer) : 0;

	for (unsigned i = 0; result == DB_OK && i < DAYS_FAMILIES; i++) {
		bool seen = there && days_set_has(&there->of[i], day);

		if (!(wanted & 1u << i) || (made & 1u << i && (seen || !there)))
			continue;
		result = days_make(days, client, i, day, seen, peer.wire, problem);
		if (result == DB_OK)
			set_made(days, day, i, &peer);
		if (result == DB_OK && there)
			days_set_add(&there->of[i], day);
	}
	return result;
}

/* Until its hour comes, or packets do, a day goes without a packets_*: its span follows the rate of the day before. */
static unsigned wanted_of(uint32_t day, const struct days_listing *there)
{
	bool early = !days_is_year(day) && clock_day_start(day) - clock_wall_ns() > EARLY_NS &&
		     !days_set_has(&there->of[DAYS_PACKETS], day);

	return early ? ALL_FAMILIES & ~(1u << DAYS_PACKETS) : ALL_FAMILIES;
}

enum db_result days_prepare(struct days *days, uint32_t first, uint32_t last, struct db_problem *problem)
{
	struct db_client client;
	struct days_listing there = {0};
	enum db_result result = db_client_pop(days->db, &client, problem);
	unsigned n = 0;

	if (result != DB_OK)
		return result;
	client.until_ns = clock_boot_ns() + PATIENCE_MS * 1000000ull;
	result = days_look(days, &client, first, last, &there, problem);
	if (result == DB_OK && days_is_year(first) != days_is_year(last))
		result = db_problem_set(problem, DB_FATAL, "%u to %u: days and years do not go together", first, last);
	for (uint32_t day = first; result == DB_OK && day <= last; day = next_period(day)) {
		if (++n > DAYS_MAX)
			result = db_problem_set(problem, DB_FATAL, "more than %u days at once", DAYS_MAX);
		else
			result = make_day(days, &client, day, wanted_of(day, &there), &there, problem);
	}
	if (result == DB_OK)
		result = days_keep_view(days, &client, &there, last, problem);
	days_listing_free(&there);
	db_client_done(&client);
	return result;
}

enum db_result days_need(struct days *days, struct db_client *client, uint32_t day, struct db_problem *problem)
{
	return make_day(days, client, day, ALL_FAMILIES, NULL, problem);
}
