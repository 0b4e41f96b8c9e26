/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ends.c - a capture's two ends: does it still go on, why has it ended, do both sides begin and end together. */
#include <stdio.h>
#include <unistd.h>

#include "recorder/audit/events.h"
#include "recorder/audit/internal.h"
#include "recorder/core/util.h"

/* A live capture writes a row each minute at the latest; so long after its last one it is taken for dead. */
#define SILENCE_NS (150ll * 1000000000)
#define SETTLE_TRIES 40 /* half a second each: batches in flight are acknowledged in any order */
#define IN_FLIGHT 16u

void audit_say_capture(struct audit_run *run, const struct audit_capture *c, const char *what, const char *family, int side,
			int64_t from, int64_t to, const char *text)
{
	const struct audit_finding f = {.what = what,
					.collection = family,
					.capture = c->of.capture,
					.sensor = c->sensor,
					.iface = c->iface,
					.side = side,
					.from = from,
					.to = to,
					.text = text};

	run->say(run->arg, &f);
}

/* The newest batch of which all before are there. */
static enum db_result settle(struct audit_run *run, struct audit_capture *c)
{
	enum db_result result = DB_OK;

	c->newest = c->newest_from = 0;
	for (unsigned tries = 0; result == DB_OK && tries < SETTLE_TRIES; tries++) {
		uint8_t from[READ_ID_MOST], to[READ_ID_MOST], id[READ_ID_MOST];
		struct ledger_read entry = {.seconds = run->seconds};
		uint64_t newest, next = 0;
		struct read_stream *stream;
		const bson_t *document;
		uint32_t day;
		bool found;

		audit_id_range(from, to, LEDGER_ID_LEN, c->of.capture);
		result = audit_edge(run, AUDIT_BATCHES, from, to, true, NULL, id, &found);
		if (result != DB_OK || !found)
			return result;
		newest = get_be64(id + CAPTURE_ID_LEN);
		ledger_id(from, c->of.capture, newest > IN_FLIGHT ? newest - IN_FLIGHT : 1);
		stream = audit_stream(run, AUDIT_BATCHES, from, id, LEDGER_ID_LEN, NULL, NULL);
		if (!stream)
			return audit_no_memory(run);
		while ((result = read_stream_next(stream, &document, &day, run->problem)) == DB_OK && document &&
		       !ledger_read(document, &entry, NULL) && (!next || entry.number <= next)) {
			next = entry.number + 1;
			c->newest = entry.number;
			c->newest_from = (uint64_t)(entry.first - clock_pair_offset(&entry.pair)) / NS_PER_SEC;
		}
		read_stream_close(stream);
		if (result != DB_OK || c->newest == newest)
			return result;
		usleep(500000);
	}
	c->newest = UINT64_MAX; /* a hole that does not close: audit_packets looks into it */
	return result;
}

enum db_result audit_judge_end(struct audit_run *run, struct audit_capture *c, const struct audit_span span[REC_SIDES])
{
	const struct audit_span *last = span[REC_TX].there && (!span[REC_RX].there || span[REC_TX].to > span[REC_RX].to) ? &span[REC_TX]
														  : &span[REC_RX];
	struct audit_ending ending;
	enum db_result result;
	char text[160];

	if (run->until && last->wall_to >= run->until)
		return DB_OK; /* it goes on behind the range */
	result = audit_event_of_end(run, c, last->wall_to, &ending);
	if (result != DB_OK)
		return result;
	if (!strcmp(ending.kind, "leave") || (!ending.explained && run->now - last->wall_to < SILENCE_NS)) {
		c->open = true;
		return settle(run, c);
	}
	if (!strcmp(ending.kind, "gap") && ending.explained) {
		c->cut_off = true;
		c->last_batch = ending.last_batch;
		audit_note(run, "%s: the capture was cut off; packets behind the last second of its balance are as its event `gap` says",
			   c->iface);
	}
	if (ending.explained)
		return DB_OK;
	snprintf(text, sizeof(text), "the balance ends without an event that says why%s%s", ending.kind[0] ? "; next event: " : "",
		 ending.kind);
	audit_say_capture(run, c, "end", "balance", -1, last->wall_to, last->wall_to, text);
	return DB_OK;
}

enum db_result audit_judge_sides(struct audit_run *run, const struct audit_capture *c, const struct audit_span span[REC_SIDES])
{
	const struct audit_span *rx = &span[REC_RX], *tx = &span[REC_TX];
	enum db_result result = DB_OK;
	uint64_t first[REC_SIDES];
	bool there = false;

	if (rx->there && tx->there && !run->since && rx->from != tx->from) {
		unsigned late = rx->from < tx->from ? REC_TX : REC_RX;

		audit_say_capture(run, c, "hole", "balance", (int)late, span[!late].wall_from, span[late].wall_from,
			    "no balance at the beginning, and the other side has one");
	}
	if (rx->there && tx->there && !run->until && !c->open && rx->to != tx->to) {
		unsigned early = rx->to < tx->to ? REC_RX : REC_TX;

		audit_say_capture(run, c, "hole", "balance", (int)early, span[early].wall_to, span[!early].wall_to,
			    "no balance at the end, and the other side has one");
	}
	result = audit_event_of_start(run, c, first, &there);
	if (result == DB_OK && !there)
		audit_say_capture(run, c, "event", "events", -1, rx->there ? rx->wall_from : tx->wall_from,
			    rx->there ? rx->wall_from : tx->wall_from, "no event says that this capture began");
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK && !run->since; side++)
		if (span[side].there && first[side] && span[side].from > first[side])
			audit_say_capture(run, c, "hole", "balance", (int)side,
				    span[side].wall_from - (int64_t)((span[side].from - first[side]) * NS_PER_SEC),
				    span[side].wall_from, "no balance from the first second on that its event `start` names");
	return result;
}
