// SPDX-License-Identifier: GPL-2.0-or-later
/* The accounts of audit: each closes when it should, and says what does not when one thing in it is wrong. */
#include "recorder/ledger/audit.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OFFSET 1700000000000000000ll

struct told {
	unsigned count;
	char what[16];
	struct rec_count expected, found;
	int64_t from, to;
	int side;
	char text[256];
};

static struct told told;

static void say(void *arg, const struct audit_finding *f)
{
	struct told *t = arg;

	t->count++;
	snprintf(t->what, sizeof(t->what), "%s", f->what);
	snprintf(t->text, sizeof(t->text), "%s", f->text);
	t->expected = f->expected;
	t->found = f->found;
	t->from = f->from;
	t->to = f->to;
	t->side = f->side;
}

static const struct audit_of of = {.capture = {1, 2, 3}, .sensor = "s", .iface = "r0", .say = say, .arg = &told};

static void expect(unsigned count, const char *what)
{
	if (told.count != count)
		fail_msg("%u findings, not %u; the last is %s: %s", told.count, count, told.what, told.text);
	if (count)
		assert_string_equal(told.what, what);
	told = (struct told){0};
}

/* ---- the balance ------------------------------------------------------------------------------------------------- */

static struct rec_count cell[1000];
static struct audit_cells cells;
static struct audit_hook hook;

static void begin(void)
{
	memset(cell, 0, sizeof(cell));
	cells = (struct audit_cells){.from = 100, .count = 1000, .cell = cell};
	told = (struct told){0};
	audit_hook_begin(&hook, &of, REC_RX, true);
}

static struct balance_row row_of(uint64_t sec, uint32_t seconds, uint64_t stored)
{
	struct balance_row row = {.side = REC_RX, .sec = sec, .seconds = seconds};

	row.term[REC_SEEN] = row.term[REC_PUBLISHED] = (struct rec_count){.packets = stored, .bytes = 60 * stored};
	return row;
}

static void feed(const struct balance_row *row)
{
	audit_hook_row(&hook, row, OFFSET + (int64_t)(row->sec * NS_PER_SEC), "balance_1", &cells);
}

static void feed_stored(uint64_t sec, uint32_t seconds, uint64_t stored)
{
	struct balance_row row = row_of(sec, seconds, stored);

	feed(&row);
}

static void a_balance_that_closes(void **state)
{
	struct balance_row row = row_of(103, 1, 5);

	(void)state;
	begin();
	audit_cells_add(&cells, 100, 7, 420);
	audit_cells_add(&cells, 101, 1, 60);
	audit_cells_add(&cells, 102, 2, 120); /* two seconds in one row */
	audit_cells_add(&cells, 103, 5, 300);
	feed_stored(100, 1, 7);
	feed_stored(101, 2, 3);
	row.term[REC_LOST_RING_FULL] = (struct rec_count){3, 180};
	row.term[REC_FILTERED_OWN] = (struct rec_count){1, 60};
	row.term[REC_BLOCKED] = (struct rec_count){1, 60};
	row.term[REC_SEEN] = (struct rec_count){10, 600};
	feed(&row); /* what is lost for a reason is accounted for */
	audit_hook_left(&hook, &cells, UINT64_MAX, "balance_1");
	audit_hook_end(&hook);
	expect(0, NULL);
	assert_int_equal(hook.term[REC_SEEN].packets, 20);
	assert_int_equal(hook.term[REC_LOST_RING_FULL].bytes, 180);
	assert_int_equal(hook.end, 104);
}

static void terms(void **state)
{
	struct balance_row row = row_of(100, 1, 5);

	(void)state;
	begin();
	audit_cells_add(&cells, 100, 5, 300);
	row.term[REC_SEEN].bytes++; /* one byte */
	feed(&row);
	assert_int_equal(told.expected.bytes, 301);
	assert_int_equal(told.found.bytes, 300);
	assert_int_equal(told.from, OFFSET + 100000000000);
	expect(1, "terms");
	row = row_of(101, 1, 5);
	row.silent = 1;
	audit_cells_add(&cells, 101, 5, 300);
	feed(&row);
	expect(1, "terms");
}

static void time_without_holes(void **state)
{
	(void)state;
	begin();
	feed_stored(100, 1, 0);
	feed_stored(101, 60, 0);
	expect(0, NULL);
	feed_stored(163, 1, 0);
	assert_int_equal(told.from, OFFSET + 161000000000);
	assert_int_equal(told.to, OFFSET + 163000000000);
	expect(1, "hole");
	feed_stored(163, 1, 0);
	expect(1, "overlap");
	feed_stored(164, 1, 0);
	expect(0, NULL);
	/* a file's seconds need not follow each other, but none stands twice */
	begin();
	hook.continuous = false;
	feed_stored(100, 1, 0);
	feed_stored(200, 1, 0);
	expect(0, NULL);
	feed_stored(200, 1, 0);
	expect(1, "overlap");
}

static void stored(void **state)
{
	(void)state;
	begin();
	audit_cells_add(&cells, 100, 4, 300);
	feed_stored(100, 1, 5);
	assert_int_equal(told.expected.packets, 5);
	assert_int_equal(told.found.packets, 4);
	expect(1, "stored");
	audit_cells_add(&cells, 102, 4, 240);
	audit_cells_add(&cells, 103, 1, 60);
	audit_cells_add(&cells, 105, 1, 60);
	feed_stored(101, 1, 0);
	audit_hook_left(&hook, &cells, 105, "balance_1");
	assert_int_equal(told.found.packets, 5);
	assert_int_equal(told.from, OFFSET + 102000000000);
	assert_int_equal(told.to, OFFSET + 104000000000);
	expect(1, "no balance");
	/* what is still being written is not judged */
	hook.final_stored = 103;
	feed_stored(102, 1, 0);
	feed_stored(103, 1, 9);
	audit_hook_left(&hook, &cells, UINT64_MAX, "balance_1");
	expect(0, NULL);
	assert_int_equal(hook.open.packets, 9);
	assert_int_equal(hook.open.bytes, 540);
}

/* ---- summaries --------------------------------------------------------------------------------------------------- */

static void feed_summarised(uint64_t sec, uint32_t seconds, uint64_t flow, uint64_t prefix)
{
	struct balance_row row = row_of(sec, seconds, 0);

	row.term[REC_SUMMARISED_FLOW] = (struct rec_count){flow, 60 * flow};
	row.term[REC_SUMMARISED_PREFIX] = (struct rec_count){prefix, 60 * prefix};
	row.term[REC_SEEN] = (struct rec_count){flow + prefix, 60 * (flow + prefix)};
	feed(&row);
}

static void feed_epoch(uint32_t epoch, uint64_t sec, uint64_t secs, uint64_t packets)
{
	const struct flood_read sum = {.epoch = epoch, .sec = sec, .secs = secs, .count = {packets, 60 * packets}};

	audit_hook_epoch(&hook, &sum);
}

static void epochs(void **state)
{
	(void)state;
	begin();
	feed_epoch(1, 100, 2, 30);
	feed_summarised(100, 1, 10, 5);
	feed_summarised(101, 1, 15, 0);
	feed_epoch(2, 102, 2, 7);
	feed_summarised(102, 1, 7, 0);
	feed_summarised(103, 1, 0, 0);
	audit_hook_end(&hook);
	expect(0, NULL);
	assert_int_equal(hook.epochs.compared, 2);

	begin();
	feed_epoch(1, 100, 2, 30);
	feed_summarised(100, 1, 10, 5);
	feed_summarised(101, 1, 16, 0); /* one more than the summaries */
	feed_epoch(2, 102, 2, 7);
	assert_int_equal(told.expected.packets, 31);
	assert_int_equal(told.found.packets, 30);
	expect(1, "floods");
	feed_summarised(102, 2, 7, 0);
	feed_summarised(104, 1, 1, 0); /* of no epoch */
	audit_hook_end(&hook);
	expect(1, "floods");

	/* A row over two epochs, merged because nobody had read its seconds: they are compared together. */
	begin();
	feed_epoch(1, 100, 2, 30);
	feed_summarised(100, 1, 10, 0);
	feed_summarised(101, 9, 30, 0);
	feed_epoch(2, 102, 10, 12);
	feed_summarised(110, 1, 2, 0);
	audit_hook_end(&hook);
	expect(0, NULL);
	assert_int_equal(hook.epochs.compared, 1);

	/* Seconds of an epoch in front of the range, and of one that is not written yet. */
	begin();
	hook.first_summarised = 102;
	hook.final_summarised = 104;
	feed_summarised(100, 2, 10, 0);
	feed_epoch(5, 102, 2, 4);
	feed_summarised(102, 2, 4, 0);
	feed_summarised(104, 1, 9, 0);
	audit_hook_end(&hook);
	expect(0, NULL);
	assert_int_equal(hook.open.packets, 9);
}

/* ---- the witness ------------------------------------------------------------------------------------------------- */

static struct audit_witness witness;

/* A second with `seen` packets, whose row is written a second later with the interface's counter at that moment. */
static void witnessed(uint64_t sec, uint64_t seen, uint64_t counter)
{
	struct balance_row row = row_of(sec, 1, seen);

	row.witness = (struct witness){.boot = (sec + 1) * NS_PER_SEC + 500000000, .rx_packets = counter};
	audit_witness_row(&witness, &row);
}

static void what_only_the_witness_saw(void **state)
{
	(void)state;
	/* 100 a second, half of them by the time of the reading: nothing is proven, and no more than a second's is open */
	memset(&witness, 0, sizeof(witness));
	for (unsigned i = 0; i < 20; i++)
		witnessed(10 + i, 100, 5000 + 100 * (i + 1) + 50);
	assert_int_equal(witness.readings, 19);
	assert_int_equal(witness.unseen, 0);
	assert_int_equal(witness.excess, 0);
	assert_true(witness.at_most <= 100);

	/* silence at both ends of 1,000 that nobody saw: known to the packet */
	memset(&witness, 0, sizeof(witness));
	witnessed(10, 0, 7);
	witnessed(11, 0, 7);
	witnessed(12, 300, 1307);
	witnessed(13, 0, 1307);
	witnessed(14, 0, 1307);
	assert_int_equal(witness.unseen, 1000);
	assert_int_equal(witness.at_most, 1000);

	/* the interface counts less than the hook */
	memset(&witness, 0, sizeof(witness));
	for (unsigned i = 0; i < 10; i++)
		witnessed(10 + i, i > 1 && i < 8 ? 100 : 0, 7);
	assert_int_equal(witness.unseen, 0);
	assert_int_equal(witness.excess, 600);

	/* counters that begin anew: what was known before stays */
	memset(&witness, 0, sizeof(witness));
	witnessed(10, 0, 1000);
	witnessed(11, 0, 1000);
	witnessed(12, 0, 1010);
	witnessed(13, 0, 1010);
	witnessed(14, 0, 3);
	witnessed(15, 0, 3);
	witnessed(16, 0, 5);
	witnessed(17, 0, 5);
	assert_int_equal(witness.resets, 1);
	assert_int_equal(witness.unseen + witness.unseen_before, 12);
}

/* ---- the chain --------------------------------------------------------------------------------------------------- */

static void feed_entry(struct audit_chain *chain, uint64_t number, uint8_t previous, uint8_t digest)
{
	struct ledger_read entry = {.number = number, .first = (int64_t)number, .last = (int64_t)number};

	memset(entry.previous, previous, DIGEST_LEN);
	memset(entry.digest, digest, DIGEST_LEN);
	audit_chain_entry(chain, &entry, "batches_1");
}

static void chains(void **state)
{
	struct audit_chain chain;

	(void)state;
	audit_chain_begin(&chain, &of);
	feed_entry(&chain, 1, 0, 11);
	feed_entry(&chain, 2, 11, 12);
	expect(0, NULL);
	feed_entry(&chain, 3, 9, 13);
	expect(1, "chain");
	feed_entry(&chain, 3, 12, 13);
	expect(1, "twice");
	feed_entry(&chain, 6, 15, 16);
	assert_string_equal(told.text, "batches 4 to 5 are not in the ledger");
	expect(1, "missing");
	feed_entry(&chain, 7, 16, 17);
	expect(0, NULL);
	audit_chain_begin(&chain, &of);
	feed_entry(&chain, 2, 11, 12); /* a first batch that is not the first */
	expect(1, "missing");
	audit_chain_begin(&chain, &of);
	feed_entry(&chain, 1, 5, 12); /* nothing is before it */
	expect(1, "chain");
	audit_chain_begin(&chain, &of); /* a range behind batch 41, which is not there */
	chain.number = 41;
	chain.known = false;
	feed_entry(&chain, 42, 99, 12);
	expect(0, NULL);
	assert_int_equal(chain.batches, 1);
}

/* ---- a batch ----------------------------------------------------------------------------------------------------- */

#define PACKETS 100u

static struct batch_second seconds[] = {{5, REC_RX, 40, 4000}, {5, REC_TX, 20, 2000}, {6, REC_RX, 40, 4000}};

static struct canonical_record record_of(unsigned i, uint8_t bytes[4])
{
	unsigned place = i * 37 % PACKETS; /* as in a bucket: not in the order of time */
	bool second = place >= 60;

	bytes[0] = (uint8_t)place;
	bytes[1] = bytes[2] = bytes[3] = 7;
	return (struct canonical_record){.ts = OFFSET + (second ? 6 : 5) * 1000000000ll + place,
					 .wire_len = 100,
					 .cap_len = 4,
					 .side = place >= 40 && place < 60 ? REC_TX : REC_RX,
					 .bytes = bytes};
}

static int by_time(const void *a, const void *b)
{
	return canonical_compare(a, b);
}

static struct ledger_read entry_of(void)
{
	struct ledger_read entry = {.number = 9, .sensor = "s", .iface = "r0", .collection = "packets_1", .packets = PACKETS,
				    .bytes = 10000, .pair = {0, OFFSET}, .seconds = seconds, .nseconds = 3};
	static uint8_t bytes[PACKETS][4];
	struct canonical_record records[PACKETS];
	struct canonical_hash *hash = canonical_begin(of.capture, "r0");

	for (unsigned i = 0; i < PACKETS; i++)
		records[i] = record_of(i, bytes[i]);
	qsort(records, PACKETS, sizeof(*records), by_time);
	for (unsigned i = 0; i < PACKETS; i++)
		canonical_add(hash, &records[i]);
	assert_int_equal(canonical_end(hash, entry.digest), 0);
	return entry;
}

static unsigned ndeltas;
static int64_t delta_packets, delta_bytes;

static void keep_delta(void *arg, uint64_t sec, unsigned side, int64_t packets, int64_t bytes)
{
	(void)arg, (void)sec, (void)side;
	ndeltas++;
	delta_packets += packets;
	delta_bytes += bytes;
}

/* All packets but `without`, and `twice` once more. */
static bool judge(struct audit_batch *batch, const struct ledger_read *entry, int without, int twice, int changed)
{
	ndeltas = 0;
	delta_packets = delta_bytes = 0;
	assert_int_equal(audit_batch_begin(batch, entry), 0);
	for (int i = 0; i < (int)PACKETS; i++) {
		uint8_t bytes[4];
		struct canonical_record r = record_of((unsigned)i, bytes);

		if (i == changed)
			bytes[3] ^= 1;
		for (int n = i == without ? 0 : i == twice ? 2 : 1; n > 0; n--)
			audit_batch_add(batch, entry, &r);
	}
	return audit_batch_end(batch, &of, entry, "", keep_delta, NULL);
}

static void batches(void **state)
{
	struct ledger_read entry = entry_of();
	struct audit_batch batch = {0};
	uint8_t bytes[4];
	struct canonical_record stray = record_of(0, bytes);

	(void)state;
	assert_true(judge(&batch, &entry, -1, -1, -1));
	assert_int_equal(ndeltas, 0);
	expect(0, NULL);
	assert_false(judge(&batch, &entry, 3, -1, -1));
	assert_int_equal(delta_packets, -1);
	assert_int_equal(delta_bytes, -100);
	expect(1, "packets");
	assert_false(judge(&batch, &entry, -1, 3, -1));
	assert_int_equal(delta_packets, 1);
	expect(1, "packets");
	assert_false(judge(&batch, &entry, 3, 4, -1)); /* as many as there should be, in other seconds */
	expect(2, "packets");
	assert_false(judge(&batch, &entry, -1, -1, 50));
	expect(1, "digest");
	assert_false(judge(&batch, &entry, 0, 37, -1)); /* the same second, another packet */
	told.count ? expect(told.count, told.what) : fail();

	assert_int_equal(audit_batch_begin(&batch, &entry), 0);
	stray.ts += 3600 * 1000000000ll;
	audit_batch_add(&batch, &entry, &stray);
	audit_batch_damaged(&batch, "ttl");
	assert_false(audit_batch_end(&batch, &of, &entry, "", keep_delta, NULL));
	assert_string_equal(told.what, "damaged");
	told = (struct told){0};

	entry.packets++; /* the entry contradicts itself */
	assert_false(judge(&batch, &entry, -1, -1, -1));
	expect(1, "ledger");
	audit_batch_free(&batch);
}

/* ---- documents back to rows -------------------------------------------------------------------------------------- */

static void rows_are_read_as_written(void **state)
{
	const struct batch_source source = {.capture = {9, 8, 7}, .sensor = "probe", .iface = "eth7"};
	struct balance_row row = {.source = &source, .side = REC_TX, .sec = 77, .seconds = 3, .pair = {1, OFFSET}, .witness = {.boot = 5, .tx_packets = 6}};
	bson_t document = BSON_INITIALIZER, cut = BSON_INITIALIZER;
	const char *wrong = NULL;
	struct balance_read read;

	(void)state;
	for (unsigned i = 0; i <= REC_LOST_UNREADABLE; i++)
		row.term[i] = (struct rec_count){100 + i, 1000 + i};
	balance_document(&document, &row);
	assert_int_equal(balance_read(&document, &read, &wrong), 0);
	assert_memory_equal(read.row.term, row.term, sizeof(row.term));
	assert_memory_equal(&read.row.witness, &row.witness, sizeof(row.witness));
	assert_memory_equal(read.capture, source.capture, CAPTURE_ID_LEN);
	assert_int_equal(read.row.sec, 77);
	assert_int_equal(read.row.seconds, 3);
	assert_int_equal(read.row.side, REC_TX);
	assert_int_equal(read.wall, 77 * 1000000000ll + OFFSET - 1);
	bson_copy_to_excluding_noinit(&document, &cut, "lost", NULL);
	assert_int_equal(balance_read(&cut, &read, &wrong), -EINVAL); /* a term that is not there is no zero */
	assert_string_equal(wrong, "lost.ring_full.packets");
	bson_reinit(&cut);
	bson_copy_to_excluding_noinit(&document, &cut, "sec", NULL);
	BSON_APPEND_INT64(&cut, "sec", 78); /* another than its _id */
	assert_int_equal(balance_read(&cut, &read, &wrong), -EINVAL);
	assert_string_equal(wrong, "sec");
	bson_destroy(&document);
	bson_destroy(&cut);
}

static void entries_are_read_as_written(void **state)
{
	struct batch_source source = {.capture = {9, 8, 7}, .sensor = "probe", .iface = "eth7"};
	struct batch batch = {.source = &source, .number = 12, .day = 20231114, .mode = 2, .version = 1, .pair = {1, OFFSET}, .nrecords = 100,
			      .seconds = seconds, .nseconds = 3, .bytes = 10000, .first_boot = 5000000000, .last_boot = 6000000009};
	struct batch_second *room = malloc(LEDGER_SECONDS_MOST * sizeof(*room));
	struct ledger_read read = {.seconds = room};
	bson_t document = BSON_INITIALIZER;
	const char *wrong = NULL;

	(void)state;
	memset(batch.digest, 5, DIGEST_LEN);
	ledger_document(&document, &batch, "packets_20231114");
	assert_int_equal(ledger_read(&document, &read, &wrong), -EINVAL); /* mode 2 names its buckets */
	assert_string_equal(wrong, "buckets");
	ledger_buckets(&document, (const uint8_t *)"123456789012abcdefghijkl", 2, 3);
	assert_int_equal(ledger_read(&document, &read, &wrong), 0);
	assert_int_equal(read.number, 12);
	assert_int_equal(read.packets, 100);
	assert_int_equal(read.nseconds, 3);
	assert_memory_equal(read.seconds, seconds, sizeof(seconds));
	assert_int_equal(read.nbuckets, 2);
	assert_int_equal(read.documents, 3);
	assert_int_equal(read.first, 5000000000 + OFFSET - 1);
	assert_memory_equal(read.digest, batch.digest, DIGEST_LEN);
	bson_destroy(&document);
	free(room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_balance_that_closes), cmocka_unit_test(terms),
		cmocka_unit_test(time_without_holes),	 cmocka_unit_test(stored),
		cmocka_unit_test(epochs),		 cmocka_unit_test(what_only_the_witness_saw),
		cmocka_unit_test(chains),		 cmocka_unit_test(batches),
		cmocka_unit_test(rows_are_read_as_written), cmocka_unit_test(entries_are_read_as_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
