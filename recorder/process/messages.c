/* SPDX-License-Identifier: GPL-2.0-or-later */
/* messages.c - what the keeper tells a drainer that runs, and the events that follow: starts, settings, the block list. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"

static void print_counters(const struct drainer *d)
{
	struct link_summary s;

	drainer_summary(d, &s);
	log_at(LOG_INFO, "seen %llu, stored %llu, waiting %llu, filtered %llu, lost %llu; %s %s, %.1f ms",
	       (unsigned long long)s.term[REC_SEEN].packets, (unsigned long long)s.stored,
	       (unsigned long long)s.waiting,
	       (unsigned long long)(s.term[REC_FILTERED_OWN].packets + s.term[REC_FILTERED_EXPR].packets),
	       (unsigned long long)(s.term[REC_LOST_RING_FULL].packets + s.term[REC_LOST_CONTENDED].packets +
				    s.term[REC_LOST_NO_RING].packets + s.term[REC_LOST_UNREADABLE].packets),
	       d->db ? "database" : "file", d->away_since ? "away" : "ok", (double)d->latency_ns / 1e6);
}

static void reload(struct drainer *d, const struct link_message *message)
{
	struct settings *fresh = calloc(1, sizeof(*fresh));
	struct settings_problem problem;
	bson_t document;

	if (!fresh || !bson_init_static(&document, message->payload, message->len) ||
	    settings_from_bson(fresh, &document, &problem)) {
		log_error("the reloaded settings cannot be read");
		free(fresh);
		return;
	}
	/* What can change while it runs; the keeper has said what cannot. Batches under way read no setting. */
	d->settings->batch_packets = fresh->batch_packets;
	d->settings->batch_age_ms = fresh->batch_age_ms;
	d->settings->in_flight = fresh->in_flight;
	d->settings->on_outage = fresh->on_outage;
	d->settings->count = fresh->count;
	log_set_level(settings_log_level(fresh));
	{
		struct settings_list home = d->settings->home;

		d->settings->home = fresh->home;
		fresh->home = home;
	}
	settings_free(fresh);
	free(fresh);
	addresses_refresh(d);
	log_info("settings reloaded");
	book_event(d, NULL, "configuration", "settings were reloaded", NULL);
}

static void lane_details(const struct drainer *d, const struct lane *lane, bson_t *details)
{
	const struct link_capture *info = &lane->info;
	char boot[40];

	gaps_boot_id(boot);
	bson_append_binary(details, "capture", -1, BSON_SUBTYPE_BINARY, info->id, CAPTURE_ID_LEN);
	bson_append_utf8(details, "instance", -1, d->settings->instance, -1);
	bson_append_utf8(details, "boot", -1, boot, -1);
	bson_append_int64(details, "netns", -1, (int64_t)info->netns);
	bson_append_utf8(details, "build", -1, info->build, -1);
	bson_append_utf8(details, "filter", -1, info->filter, -1);
}

void messages_tell_start(struct drainer *d, struct lane *lane)
{
	bson_t details = BSON_INITIALIZER;

	lane_details(d, lane, &details);
	for (unsigned s = 0; s < REC_SIDES; s++) /* where the balance begins: else nobody would miss a first row that is gone */
		if (lane->sides[s].present)
			bson_append_int64(&details, s == REC_TX ? "tx_sec" : "rx_sec", -1, (int64_t)lane_first_second(lane));
	book_start(d, lane, &details);
	bson_destroy(&details);
}

/* The first words of a process about a lane: that it began, or goes on; and that filter or program are others than before. */
static void tell_attached(struct drainer *d, struct lane *lane)
{
	const struct link_capture *info = &lane->info;
	bson_t details = BSON_INITIALIZER;
	char text[200];

	lane_details(d, lane, &details);
	if (info->resumed) {
		book_event(d, lane, "resume", "a new process takes over the capture", &details);
	} else {
		journal_set_attached(lane->journal, clock_boot_ns());
		messages_tell_start(d, lane);
	}
	if (info->refiltered)
		book_event(d, lane, "filter", info->filter[0] ? "the capture filter is another one now"
							      : "the capture has no filter any more", &details);
	if (info->rebuilt[0]) {
		snprintf(text, sizeof(text), "the programs of build %s were replaced in place by those of %s", info->rebuilt,
			 info->build);
		book_event(d, lane, "program", text, &details);
	}
	bson_destroy(&details);
}

/* The number of the block list's entries, and perhaps a change of it. */
static void take_block(struct drainer *d, const struct link_message *message)
{
	const struct link_block *block = (const struct link_block *)message->payload;
	bson_t *details;
	bson_error_t error;
	bson_iter_t at;
	char text[160];
	bool added;

	d->block_entries = message->arg;
	if (message->len <= sizeof(*block) || message->payload[message->len - 1])
		return;
	details = bson_new_from_json((const uint8_t *)block->json, -1, &error);
	if (!details) {
		log_error("a change of the block list cannot be read, and is not told to the database: %s", error.message);
		return;
	}
	added = bson_iter_init_find(&at, details, "action") && BSON_ITER_HOLDS_UTF8(&at) && !strcmp(bson_iter_utf8(&at, NULL), "add");
	snprintf(text, sizeof(text), "%lld entries were %s the block list",
		 bson_iter_init_find(&at, details, "count") ? (long long)bson_iter_as_int64(&at) : 0, added ? "added to" : "taken off");
	book_block(d, block->stamp, text, details);
	bson_destroy(details);
}

static void handle(struct drainer *d, struct link_message *message)
{
	switch (message->type) {
	case LINK_ATTACHED:
		d->attached = message->arg;
		if (d->attached)
			for (unsigned i = 0; i < d->nlanes; i++) {
				struct lane *lane = &d->lanes[i];

				if (lane->started)
					continue;
				lane->started = true;
				tell_attached(d, lane);
			}
		gaps_look(d);
		break;
	case LINK_END:
		drainer_end(d, message->arg);
		break;
	case LINK_DUMP:
		print_counters(d);
		break;
	case LINK_RELOAD:
		reload(d, message);
		break;
	case LINK_TELL:
		if (message->len == sizeof(struct link_tell))
			gaps_tell(d, (const struct link_tell *)message->payload);
		break;
	case LINK_BLOCK:
		take_block(d, message);
		break;
	default:
		log_warn("message %u of the keeper is not known", message->type);
		break;
	}
	if (message->fd >= 0)
		close(message->fd);
}

void messages_on_link(uv_poll_t *poll, int status, int events)
{
	struct drainer *d = poll->data;
	static struct link_message message;
	int n;

	(void)status;
	(void)events;
	n = link_receive(d->link, &message);
	if (n == -EAGAIN)
		return;
	if (n > 0) {
		handle(d, &message);
		return;
	}
	uv_poll_stop(poll);
	log_warn("the keeper is gone: storing what is here; capture goes on, `record` takes it up");
	drainer_end(d, 10);
}
