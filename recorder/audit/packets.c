/* SPDX-License-Identifier: GPL-2.0-or-later */
/* packets.c - a capture's batches, each read as its ledger entry says, and held against that entry. */
#include "recorder/audit/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/util.h"
#include "recorder/db/read_bucket.h"
#include "recorder/encode/document_read.h"

struct reading {
	struct audit_run *run;
	struct audit_capture *capture;
	const struct ledger_read *entry;
	uint64_t documents;	     /* packets with an _id: plain documents */
	uint64_t documents_in_range; /* by their time */
};

static bool in_range(const struct audit_run *run, int64_t wall)
{
	return wall >= (run->since ? run->since : INT64_MIN) && wall < (run->until ? run->until : INT64_MAX);
}

static bool take_packet(void *arg, const bson_t *document)
{
	struct reading *r = arg;
	struct audit_batch *batch = &r->run->batch;
	struct document_record record;
	uint8_t bytes[REC_CAP_MAX];
	const char *wrong = "";
	int n;

	if (document_read(document, &record, &wrong) < 0) {
		audit_batch_damaged(batch, wrong);
		return true;
	}
	if (record.id) {
		r->documents++;
		r->documents_in_range += in_range(r->run, record.wall);
	}
	if (!record.iface || strcmp(record.iface, r->capture->iface)) {
		audit_batch_damaged(batch, "meta.iface");
		return true;
	}
	n = packet_rebuild(&record.packet, bytes);
	if (n < 0) {
		audit_batch_damaged(batch, "fields that contradict each other");
		return true;
	}
	audit_batch_add(batch, r->entry,
			&(struct canonical_record){
				.ts = record.wall,
				.wire_len = record.packet.len,
				.cap_len = (uint16_t)n,
				.marks = record.packet.marks,
				.gso_segs = record.packet.segs,
				.gso_size = record.packet.gso,
				.side = record.packet.outer.key.side,
				.bytes = bytes,
			});
	return !batch->no_memory;
}

static void keep_delta(void *arg, uint64_t sec, unsigned side, int64_t packets, int64_t bytes)
{
	struct audit_run *run = arg;

	if (run->ndeltas < AUDIT_DELTAS)
		run->deltas[run->ndeltas++] = (struct audit_delta){sec, (uint64_t)packets, (uint64_t)bytes, side};
	else if (run->ndeltas++ == AUDIT_DELTAS)
		audit_note(run, "more than %u seconds differ from their ledger entries: from here on the balance is compared with the ledger",
			   AUDIT_DELTAS);
}

static void say_entry(struct audit_run *run, const struct audit_capture *capture, const struct ledger_read *entry,
		      const char *collection, const char *text)
{
	const struct audit_finding f = {.what = "ledger",
					.collection = collection,
					.capture = capture->of.capture,
					.sensor = capture->sensor,
					.iface = capture->iface,
					.side = -1,
					.from = entry->first,
					.to = entry->last,
					.text = text};

	run->say(run->arg, &f);
}

/* What the entry says beside its packets. */
static void check_entry(struct audit_run *run, const struct audit_capture *capture, const struct ledger_read *entry,
			const struct reading *r, uint32_t day, const char *collection)
{
	char name[DAYS_NAME], text[160];

	if (strcmp(entry->collection, days_collection(name, "packets", day))) {
		snprintf(text, sizeof(text), "batch %llu: its packets should be in %s, not in %.40s",
			 (unsigned long long)entry->number, name, entry->collection);
		say_entry(run, capture, entry, collection, text);
	}
	if (strcmp(entry->sensor, capture->sensor) || strcmp(entry->iface, capture->iface)) {
		snprintf(text, sizeof(text), "batch %llu names another sensor or interface than the capture",
			 (unsigned long long)entry->number);
		say_entry(run, capture, entry, collection, text);
	}
	if (r->documents != entry->documents && run->batch.packets == entry->packets) {
		snprintf(text, sizeof(text), "batch %llu says %llu of its packets are documents; there are %llu",
			 (unsigned long long)entry->number, (unsigned long long)entry->documents,
			 (unsigned long long)r->documents);
		say_entry(run, capture, entry, collection, text);
	}
}

static void note_seconds(struct audit_capture *capture, const struct ledger_read *entry)
{
	for (unsigned i = 0; i < entry->nseconds; i++) {
		uint64_t sec = entry->seconds[i].sec;

		if (sec < capture->first_sec)
			capture->first_sec = sec;
		if (sec > capture->last_sec)
			capture->last_sec = sec;
		if (sec / AUDIT_WINDOW < AUDIT_WINDOWS)
			capture->windows[sec / AUDIT_WINDOW / 8] |= (uint8_t)(1u << sec / AUDIT_WINDOW % 8);
	}
}

static enum db_result check_batch(struct audit_run *run, struct audit_capture *capture, const bson_t *document,
				  const struct ledger_read *entry, uint32_t day, const char *collection)
{
	struct reading r = {.run = run, .capture = capture, .entry = entry};
	struct read_walk walk = {0};
	char note[96] = "";
	long at = audit_day_index(run, AUDIT_PACKETS, day);
	enum db_result result;

	if (audit_batch_begin(&run->batch, entry) < 0)
		return audit_no_memory(run);
	result = read_entry(&run->client, document, take_packet, &r, &walk, run->problem);
	if (result != DB_OK)
		return result;
	if (run->batch.no_memory)
		return audit_no_memory(run);
	if (walk.damaged)
		audit_batch_damaged(&run->batch, walk.damage);
	if (walk.missing)
		snprintf(note, sizeof(note), "%u of %u buckets are not there", walk.missing, entry->nbuckets);
	else if (run->batch.packets > entry->packets && r.documents > entry->documents)
		snprintf(note, sizeof(note), "documents are there twice");
	audit_batch_end(&run->batch, &capture->of, entry, note, keep_delta, run);
	check_entry(run, capture, entry, &r, day, collection);
	note_seconds(capture, entry);
	for (unsigned side = 0; side < REC_SIDES; side++)
		capture->more_segments[side] += run->batch.more_segments[side];
	if (at >= 0) {
		run->documents[at] += r.documents_in_range;
		run->buckets[at] += entry->nbuckets;
	}
	run->totals.packets += run->batch.packets;
	run->totals.batches++;
	return DB_OK;
}

static void say_damaged(struct audit_run *run, const struct audit_capture *capture, const struct ledger_read *entry,
			const char *collection, const char *wrong)
{
	char text[128];

	snprintf(text, sizeof(text), "the entry of batch %llu cannot be read: %s", (unsigned long long)entry->number, wrong);
	say_entry(run, capture, entry, collection, text);
}

static uint64_t first_second(const struct ledger_read *entry)
{
	return (uint64_t)(entry->first - clock_pair_offset(&entry->pair)) / NS_PER_SEC;
}

/*
 * While a capture goes on, batches can wait on its spool while later ones are there. No second of the balance comes before
 * its packets: so a batch that is missing in front of where the balance ends was taken away.
 */
static bool may_be_kept(const struct audit_capture *capture, const struct audit_chain *chain, const struct ledger_read *entry)
{
	return capture->open && entry->number > chain->number + 1 && first_second(entry) >= capture->rows_end;
}

enum db_result audit_packets(struct audit_run *run, struct audit_capture *capture, struct audit_chain *chain, uint64_t first,
			     uint64_t last)
{
	uint8_t from[READ_ID_MOST], to[READ_ID_MOST];
	struct ledger_read entry = {.seconds = run->seconds};
	struct read_stream *stream;
	const bson_t *document;
	uint64_t newest_from = capture->newest_from;
	enum db_result result;
	uint32_t day;

	ledger_id(from, capture->of.capture, first);
	ledger_id(to, capture->of.capture, last);
	stream = audit_stream(run, AUDIT_BATCHES, from, to, LEDGER_ID_LEN, NULL, NULL);
	if (!stream)
		return audit_no_memory(run);
	while ((result = read_stream_next(stream, &document, &day, run->problem)) == DB_OK && document) {
		const uint64_t before = chain->batches;
		const char *wrong = "";
		char collection[DAYS_NAME];

		days_collection(collection, "batches", day);
		if (ledger_read(document, &entry, &wrong) < 0) {
			say_damaged(run, capture, &entry, collection, wrong);
			continue; /* the next one is then told to follow a batch that is missing */
		}
		if (may_be_kept(capture, chain, &entry)) {
			audit_note(run, "%s: batch %llu and some behind it are not in the database yet, nor is the balance of their seconds: on the spool?",
				   capture->iface, (unsigned long long)chain->number + 1);
			break;
		}
		if (capture->open && entry.number == chain->number + 1)
			newest_from = first_second(&entry);
		audit_chain_entry(chain, &entry, collection);
		if (chain->batches == before)
			continue; /* the second of two */
		result = check_batch(run, capture, document, &entry, day, collection);
		if (result != DB_OK)
			break;
	}
	if (capture->open && capture->newest > chain->number) {
		capture->newest = chain->number;
		capture->newest_from = newest_from;
	}
	read_stream_close(stream);
	return result;
}
