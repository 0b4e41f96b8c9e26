/* SPDX-License-Identifier: GPL-2.0-or-later */
/* judge.c - one capture: its batches with their packets, then each side's seconds. */
#include <stdlib.h>

#include "recorder/audit/internal.h"
#include "recorder/core/util.h"
#include "recorder/ledger/flood_rows.h"

/* A batch stays open for a bucket's span, an hour at most; an epoch of summaries is a matter of seconds. */
#define OPEN_S 3700u
#define EPOCH_S 300u

/* The batches that have a packet in [from, to); all of them without bounds. */
static enum db_result batches_of(struct audit_run *run, struct audit_capture *c, uint64_t from, uint64_t to, uint64_t *first,
				 uint64_t *last, bool *found)
{
	uint8_t id_from[READ_ID_MOST], id_to[READ_ID_MOST], id[READ_ID_MOST];
	bson_t filter = BSON_INITIALIZER;
	enum db_result result;

	ledger_id(id_from, c->of.capture, 0);
	ledger_id(id_to, c->of.capture, c->newest);
	if (run->since || run->until)
		audit_append_seconds(&filter, from, to);
	result = audit_edge(run, AUDIT_BATCHES, id_from, id_to, false, &filter, id, found);
	if (result == DB_OK && *found) {
		*first = get_be64(id + CAPTURE_ID_LEN);
		result = audit_edge(run, AUDIT_BATCHES, id_from, id_to, true, &filter, id, found);
		*last = get_be64(id + CAPTURE_ID_LEN);
	}
	bson_destroy(&filter);
	return result;
}

/* The batch in front of the range. */
static enum db_result neighbour(struct audit_run *run, const struct audit_capture *c, uint64_t number, struct audit_chain *chain)
{
	struct ledger_read entry = {.seconds = run->seconds};
	uint8_t id[READ_ID_MOST];
	struct read_stream *stream;
	const bson_t *document = NULL;
	enum db_result result;
	uint32_t day;

	ledger_id(id, c->of.capture, number);
	stream = audit_stream(run, AUDIT_BATCHES, id, id, LEDGER_ID_LEN, NULL, NULL);
	result = stream ? read_stream_next(stream, &document, &day, run->problem) : audit_no_memory(run);
	if (result == DB_OK && document && !ledger_read(document, &entry, NULL)) {
		chain->number = number;
		chain->last = entry.last;
		memcpy(chain->digest, entry.digest, DIGEST_LEN);
	} else if (result == DB_OK && run->since) {
		chain->number = number;
		chain->known = false;
		audit_note(run, "%s: batch %llu, in front of the range, is not in the database: the range is not tied to what was before it",
			   c->iface, (unsigned long long)number);
	}
	read_stream_close(stream);
	return result;
}

static enum db_result judge_packets(struct audit_run *run, struct audit_capture *c, uint64_t from, uint64_t to)
{
	struct audit_chain chain;
	uint64_t first = 0, last = 0;
	enum db_result result;
	bool found;

	audit_chain_begin(&chain, &c->of);
	result = batches_of(run, c, from, to, &first, &last, &found);
	if (result != DB_OK || !found)
		return result;
	if (first > 1)
		result = neighbour(run, c, first - 1, &chain);
	if (result == DB_OK)
		result = audit_packets(run, c, &chain, first, last);
	if (result == DB_OK && c->last_batch && chain.number != c->last_batch)
		audit_say_capture(run, c, "missing", "batches", -1, chain.last, chain.last,
			    "the ledger does not end with the batch that the event `gap` names");
	return result;
}

static void note_unseen(struct audit_run *run, const struct audit_capture *c, const struct audit_hook *hook)
{
	const struct audit_witness *w = &hook->witness;
	const uint64_t segments = c->more_segments[hook->side], proven = w->unseen + w->unseen_before;
	const char *side = hook->side == REC_TX ? "tx" : "rx";
	const uint64_t unseen = proven > segments ? proven - segments : 0;

	if (w->resets)
		audit_note(run, "%s %s: the interface's counters began anew %u times; what passed meanwhile cannot be compared", c->iface, side,
			   w->resets);
	if (w->readings < 2) {
		audit_note(run, "%s %s: the interface's counters were read %s within the range: nothing is known of what only they saw",
			   c->iface, side, w->readings ? "once" : "never");
		return;
	}
	if (w->excess)
		audit_note(run, "%s %s: the hook saw at least %llu packets more than the interface counted: it does not count what the hook sees",
			   c->iface, side, (unsigned long long)w->excess);
	if (segments)
		audit_note(run, "%s %s: super-packets of %llu segments more; the interface may count segments, so as many packets are not called unseen",
			   c->iface, side, (unsigned long long)segments);
	if (unseen)
		audit_note(run, "%s %s: the interface counted at least %llu packets, at most %llu, that the hook did not see", c->iface, side,
			   (unsigned long long)unseen, (unsigned long long)(w->at_most + w->at_most_before));
	run->totals.unseen += unseen;
}

static uint64_t boot_second(int64_t wall, const struct audit_span *span)
{
	int64_t offset = span->wall_from - (int64_t)(span->from * NS_PER_SEC);

	return (uint64_t)(wall - offset) / NS_PER_SEC;
}

/* Where a capture that goes on is final. */
static enum db_result bound_hook(struct audit_run *run, const struct audit_capture *c, const struct audit_span *span,
				 struct audit_hook *hook)
{
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST];
	const uint64_t now = boot_second(run->now, span);
	struct read_stream *stream;
	const bson_t *document = NULL;
	struct flood_read flood;
	uint64_t written = 0;
	enum db_result result = DB_OK;
	uint32_t day;

	if (c->cut_off)
		hook->final_stored = span->to;
	if (!c->open)
		return DB_OK;
	hook->final_stored = c->newest_from;
	if (now > OPEN_S && hook->final_stored < now - OPEN_S)
		hook->final_stored = now - OPEN_S;
	for (uint8_t side = 0; result == DB_OK && side < REC_SIDES; side++) {
		uint8_t id[READ_ID_MOST];
		bool found;

		audit_id_range(from, to, FLOOD_ID_LEN, c->of.capture);
		from[CAPTURE_ID_LEN] = to[CAPTURE_ID_LEN] = side;
		result = audit_edge(run, AUDIT_FLOODS, from, to, true, NULL, id, &found);
		if (result != DB_OK || !found)
			continue;
		stream = audit_stream(run, AUDIT_FLOODS, id, id, FLOOD_ID_LEN, NULL, NULL);
		result = stream ? read_stream_next(stream, &document, &day, run->problem) : audit_no_memory(run);
		if (result == DB_OK && document && !flood_read(document, &flood, NULL) && flood.sec + flood.secs > written)
			written = flood.sec + flood.secs;
		read_stream_close(stream);
	}
	hook->final_summarised = now > EPOCH_S && written < now - EPOCH_S ? now - EPOCH_S : written;
	return result;
}

static enum db_result judge_side(struct audit_run *run, struct audit_capture *c, unsigned side, const struct audit_span *span)
{
	const bool bounded = c->open || run->until;
	struct audit_hook hook;
	enum db_result result;

	audit_hook_begin(&hook, &c->of, side, !c->file);
	if (span->has_before && !c->file)
		hook.end = span->before;
	hook.offset = span->wall_from - (int64_t)(span->from * NS_PER_SEC);
	result = bound_hook(run, c, span, &hook);
	if (result == DB_OK)
		result = audit_seconds(run, c, side, run->since ? span->from : 0, bounded ? span->to : 0, bounded, &hook);
	if (result != DB_OK)
		return result;
	for (unsigned i = 0; i < REC_TERMS; i++) {
		run->totals.term[i].packets += hook.term[i].packets;
		run->totals.term[i].bytes += hook.term[i].bytes;
	}
	run->totals.open.packets += hook.open.packets;
	run->totals.open.bytes += hook.open.bytes;
	if (!c->file && hook.rows)
		note_unseen(run, c, &hook);
	if (hook.open.packets)
		audit_note(run, "%s %s: still being written: %llu packets of the last seconds are not judged yet", c->iface,
			   side == REC_TX ? "tx" : "rx", (unsigned long long)hook.open.packets);
	return DB_OK;
}

enum db_result audit_judge(struct audit_run *run, struct audit_capture *c)
{
	struct audit_span span[REC_SIDES];
	uint64_t from = UINT64_MAX, to = 0;
	enum db_result result = DB_OK;

	run->ndeltas = 0;
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK; side++) {
		result = audit_side_span(run, c, side, &span[side]);
		if (result == DB_OK && span[side].there) {
			from = span[side].from < from ? span[side].from : from;
			to = span[side].to > to ? span[side].to : to;
			if (!c->rows_end || span[side].to < c->rows_end)
				c->rows_end = span[side].to;
		}
	}
	if (result != DB_OK || (!to && (run->since || run->until)))
		return result; /* nothing of it begins in the range */
	if (to && !c->file) {
		result = audit_judge_end(run, c, span);
		if (result == DB_OK)
			result = audit_judge_sides(run, c, span);
	}
	c->windows = calloc(AUDIT_WINDOWS / 8, 1);
	if (result == DB_OK && !c->windows)
		result = audit_no_memory(run);
	if (result == DB_OK)
		result = judge_packets(run, c, from, to);
	for (unsigned side = 0; side < REC_SIDES && result == DB_OK; side++)
		if (span[side].there || !(run->since || run->until))
			result = judge_side(run, c, side, &span[side]);
	free(TAKE_PTR(c->windows));
	return result;
}
