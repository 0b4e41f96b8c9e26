/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "recorder/core/util.h"

/* Packets beyond what the entry says are counted, and so many of them kept: a batch that was doubled is no bound. */
#define BEYOND 1024u

void audit_batch_free(struct audit_batch *b)
{
	free(b->records);
	free(b->at);
	free(b->bytes);
	free(b->found);
	*b = (struct audit_batch){0};
}

int audit_batch_begin(struct audit_batch *b, const struct ledger_read *entry)
{
	if (b->found_room < entry->nseconds) {
		struct batch_second *more = realloc(b->found, entry->nseconds * sizeof(*more));

		if (!more)
			return -ENOMEM;
		b->found = more;
		b->found_room = entry->nseconds;
	}
	for (unsigned i = 0; i < entry->nseconds; i++)
		b->found[i] = (struct batch_second){.sec = entry->seconds[i].sec, .side = entry->seconds[i].side};
	b->nrecords = b->nbytes = 0;
	b->hint = 0;
	b->packets = b->size = b->ndamaged = 0;
	b->damaged = NULL;
	b->no_memory = false;
	memset(b->elsewhere, 0, sizeof(b->elsewhere));
	memset(b->more_segments, 0, sizeof(b->more_segments));
	return 0;
}

static int order(const struct batch_second *s, uint64_t sec, unsigned side)
{
	return s->sec != sec ? (s->sec < sec ? -1 : 1) : (int)s->side - (int)side;
}

/* The entry's seconds ascend by (sec, side); packets of a bucket come in the order of their time within a conversation. */
static struct batch_second *second_of(struct audit_batch *b, unsigned n, uint64_t sec, unsigned side)
{
	unsigned low = 0, high = n;

	if (b->hint < n && !order(&b->found[b->hint], sec, side))
		return &b->found[b->hint];
	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (order(&b->found[middle], sec, side) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	b->hint = low;
	return low < n && !order(&b->found[low], sec, side) ? &b->found[low] : NULL;
}

static bool reserve(struct audit_batch *b, size_t more)
{
	if (b->nrecords == b->records_room) {
		size_t room = b->records_room ? 2 * b->records_room : 4096;
		struct canonical_record *records = realloc(b->records, room * sizeof(*records));
		size_t *at;

		if (records)
			b->records = records;
		at = records ? realloc(b->at, room * sizeof(*at)) : NULL;
		if (!at)
			return false;
		b->at = at;
		b->records_room = room;
	}
	if (b->bytes_room - b->nbytes < more) {
		size_t room = b->bytes_room ? 2 * b->bytes_room : 1 << 20;
		uint8_t *bytes = realloc(b->bytes, room);

		if (!bytes)
			return false;
		b->bytes = bytes;
		b->bytes_room = room;
	}
	return true;
}

void audit_batch_add(struct audit_batch *b, const struct ledger_read *entry, const struct canonical_record *record)
{
	const unsigned side = record->side == REC_TX ? REC_TX : REC_RX;
	const uint64_t boot = (uint64_t)(record->ts - clock_pair_offset(&entry->pair));
	struct batch_second *second = second_of(b, entry->nseconds, boot / NS_PER_SEC, side);

	b->packets++;
	b->size += record->wire_len;
	if (record->gso_segs > 1)
		b->more_segments[side] += record->gso_segs - 1u;
	if (second) {
		second->packets++;
		second->bytes += record->wire_len;
	} else {
		b->elsewhere[side].packets++;
		b->elsewhere[side].bytes += record->wire_len;
	}
	if (b->nrecords >= entry->packets + BEYOND || b->no_memory)
		return;
	if (!reserve(b, record->cap_len)) {
		b->no_memory = true;
		return;
	}
	b->records[b->nrecords] = *record;
	b->at[b->nrecords++] = b->nbytes;
	if (record->cap_len)
		memcpy(b->bytes + b->nbytes, record->bytes, record->cap_len);
	b->nbytes += record->cap_len;
}

void audit_batch_damaged(struct audit_batch *b, const char *problem)
{
	b->damaged = problem;
	b->ndamaged++;
}

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

static struct audit_finding finding_of(const struct audit_of *of, const struct ledger_read *entry, const char *what)
{
	return (struct audit_finding){.what = what,
				      .collection = entry->collection,
				      .capture = of->capture,
				      .sensor = of->sensor,
				      .iface = of->iface,
				      .side = -1,
				      .from = entry->first,
				      .to = entry->last};
}

static bool differ(const struct batch_second *a, const struct batch_second *b)
{
	return a->packets != b->packets || a->bytes != b->bytes;
}

/* A run of seconds of one side that differ is one finding. */
static bool compare_side(struct audit_batch *b, const struct audit_of *of, const struct ledger_read *entry, unsigned side,
			 const char *text, audit_differs *differs, void *arg)
{
	const int64_t offset = clock_pair_offset(&entry->pair);
	struct audit_finding f = finding_of(of, entry, "packets");
	bool open = false, whole = true;

	f.side = (int)side;
	f.counted = true;
	f.text = text;
	for (unsigned i = 0; i <= entry->nseconds; i++) {
		const struct batch_second *want = &entry->seconds[i], *have = &b->found[i];
		bool wrong = i < entry->nseconds && differ(want, have);

		if (i < entry->nseconds && want->side != side)
			continue;
		if (open && !wrong) {
			of->say(of->arg, &f);
			f.expected = f.found = (struct rec_count){0};
		}
		if (wrong) {
			if (!open)
				f.from = (int64_t)(want->sec * NS_PER_SEC) + offset;
			f.to = (int64_t)((want->sec + 1) * NS_PER_SEC) + offset;
			f.expected.packets += want->packets;
			f.expected.bytes += want->bytes;
			f.found.packets += have->packets;
			f.found.bytes += have->bytes;
			differs(arg, want->sec, side, (int64_t)have->packets - want->packets, (int64_t)(have->bytes - want->bytes));
			whole = false;
		}
		open = wrong;
	}
	if (b->elsewhere[side].packets) {
		f = finding_of(of, entry, "packets");
		f.side = (int)side;
		f.counted = true;
		f.found = b->elsewhere[side];
		f.text = "packets of seconds that the ledger entry of their batch does not know";
		of->say(of->arg, &f);
		whole = false;
	}
	return whole;
}

static int compare_records(const void *a, const void *b)
{
	return canonical_compare(a, b);
}

static bool digest_matches(struct audit_batch *b, const struct audit_of *of, const struct ledger_read *entry,
			   uint8_t digest[DIGEST_LEN])
{
	struct canonical_hash *hash = canonical_begin(of->capture, of->iface);

	if (!hash)
		return false;
	for (size_t i = 0; i < b->nrecords; i++)
		b->records[i].bytes = b->bytes + b->at[i];
	if (b->nrecords)
		qsort(b->records, b->nrecords, sizeof(*b->records), compare_records);
	for (size_t i = 0; i < b->nrecords; i++)
		canonical_add(hash, &b->records[i]);
	return !canonical_end(hash, digest) && !memcmp(digest, entry->digest, DIGEST_LEN);
}

/* What the entry says of itself: packets and bytes are the sums of its seconds. */
static bool entry_adds_up(const struct audit_of *of, const struct ledger_read *entry)
{
	struct audit_finding f = finding_of(of, entry, "ledger");

	f.counted = true;
	f.expected = (struct rec_count){.packets = entry->packets, .bytes = entry->bytes};
	for (unsigned i = 0; i < entry->nseconds; i++) {
		f.found.packets += entry->seconds[i].packets;
		f.found.bytes += entry->seconds[i].bytes;
	}
	f.text = "the entry's total (expected) and the sum of its seconds (found)";
	if (f.expected.packets == f.found.packets && f.expected.bytes == f.found.bytes)
		return true;
	of->say(of->arg, &f);
	return false;
}

bool audit_batch_end(struct audit_batch *b, const struct audit_of *of, const struct ledger_read *entry, const char *note,
		     audit_differs *differs, void *arg)
{
	bool whole = entry_adds_up(of, entry);
	uint8_t digest[DIGEST_LEN] = {0};
	char text[256], hex[2][17] = {"", ""};
	struct audit_finding f;

	snprintf(text, sizeof(text), "batch %llu%s%s", (unsigned long long)entry->number, note[0] ? ": " : "", note);
	for (unsigned side = 0; side < REC_SIDES; side++)
		whole &= compare_side(b, of, entry, side, text, differs, arg);
	if (b->ndamaged) {
		f = finding_of(of, entry, "damaged");
		snprintf(text, sizeof(text), "batch %llu: %llu documents or buckets cannot be read as its packets: %s",
			 (unsigned long long)entry->number, (unsigned long long)b->ndamaged, b->damaged);
		f.text = text;
		of->say(of->arg, &f);
		whole = false;
	}
	if (whole && !digest_matches(b, of, entry, digest)) {
		f = finding_of(of, entry, "digest");
		*put_hex(hex[0], entry->digest, 8) = *put_hex(hex[1], digest, 8) = '\0';
		snprintf(text, sizeof(text),
			 "batch %llu: as many packets and bytes as recorded, but not the same: SHA-256 %s... in the ledger, %s... of what is there",
			 (unsigned long long)entry->number, hex[0], hex[1]);
		f.text = text;
		of->say(of->arg, &f);
		whole = false;
	}
	return whole;
}
