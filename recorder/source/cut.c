/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/source/cut.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"

/* Boot times [from, until) that one batch may hold. */
struct window {
	uint64_t from, until;
};

uint64_t cut_pending(struct ring *rings, unsigned nrings, uint64_t *oldest)
{
	uint64_t bytes = 0;

	*oldest = UINT64_MAX;
	for (unsigned i = 0; i < nrings; i++) {
		uint64_t head = ring_end(&rings[i]);

		if (head == rings[i].next)
			continue;
		bytes += head - rings[i].next;
		if (ring_record(&rings[i], rings[i].next)->time < *oldest)
			*oldest = ring_record(&rings[i], rings[i].next)->time;
	}
	return bytes;
}

static uint64_t saturating_boot(int64_t wall, const struct clock_pair *pair)
{
	int64_t boot = wall - clock_pair_offset(pair);

	return boot < 0 ? 0 : (uint64_t)boot;
}

/* First ns of the span that `wall` is in; spans are multiples since 1970, before it too. */
static int64_t span_start(int64_t wall, uint32_t span_s)
{
	int64_t span = (int64_t)span_s * (int64_t)NS_PER_SEC, rest = wall % span;

	return wall - rest - (rest < 0 ? span : 0);
}

/* Wall times [*from, *until) of the span, or of the day, that `wall` is in. */
static void wall_window(int64_t wall, uint32_t span_s, int64_t *from, int64_t *until)
{
	uint32_t day = clock_day(wall);

	*from = clock_day_start(day);
	*until = clock_day_start(clock_next_day(day));
	if (!span_s)
		return;
	wall = span_start(wall, span_s);
	*from = wall > *from ? wall : *from;
	wall += (int64_t)span_s * (int64_t)NS_PER_SEC;
	*until = wall < *until ? wall : *until;
}

/* Boot times that a batch with a record of `time` under pairs[pair] may hold. */
static struct window window_of(uint64_t time, const struct clock_pair *pairs, unsigned npairs, unsigned pair, uint32_t span_s)
{
	const struct clock_pair *p = &pairs[pair];
	int64_t from, until;
	struct window window;

	wall_window((int64_t)time + clock_pair_offset(p), span_s, &from, &until);
	window.from = saturating_boot(from, p);
	window.until = saturating_boot(until, p);
	if (pair && p->boot > window.from) /* records before the first pair count as under it */
		window.from = p->boot;
	if (pair + 1 < npairs && pairs[pair + 1].boot < window.until)
		window.until = pairs[pair + 1].boot;
	return window;
}

static unsigned pair_at(const struct clock_pair *pairs, unsigned npairs, uint64_t time)
{
	unsigned pair = 0;

	while (pair + 1 < npairs && pairs[pair + 1].boot <= time)
		pair++;
	return pair;
}

uint32_t cut_day(struct ring *rings, unsigned nrings, const struct clock_pair *pairs, unsigned npairs)
{
	uint64_t oldest;

	if (!cut_pending(rings, nrings, &oldest))
		return 0;
	return clock_day((int64_t)oldest + clock_pair_offset(&pairs[pair_at(pairs, npairs, oldest)]));
}

int64_t batch_end(const struct batch *batch)
{
	int64_t from, until;

	wall_window(batch_wall(batch, batch->first_boot), batch->span_s, &from, &until);
	return until;
}

static struct batch *batch_new(const struct batch_source *source, unsigned nrings, uint32_t max_records)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	batch->source = source;
	batch->ranges = calloc(nrings, sizeof(*batch->ranges));
	batch->records = malloc((size_t)max_records * sizeof(*batch->records));
	batch->seconds = calloc(CUT_SECONDS, sizeof(*batch->seconds));
	batch->first_boot = UINT64_MAX;
	if (!batch->ranges || !batch->records || !batch->seconds) {
		batch_free(batch);
		errno = ENOMEM;
		return NULL;
	}
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->ranges);
	free((void *)batch->records);
	free(batch->seconds);
	free(batch);
}

/* The cell of (sec, side); NULL when all are taken. Records come in time order, so the newest cells are asked first. */
static struct batch_second *second_of(struct batch *batch, uint64_t sec, uint32_t side)
{
	for (unsigned i = batch->nseconds; i-- > 0;)
		if (batch->seconds[i].sec == sec && batch->seconds[i].side == side)
			return &batch->seconds[i];
	if (batch->nseconds == CUT_SECONDS)
		return NULL;
	batch->seconds[batch->nseconds] = (struct batch_second){.sec = sec, .side = side};
	return &batch->seconds[batch->nseconds++];
}

static int compare_seconds(const void *a, const void *b)
{
	const struct batch_second *x = a, *y = b;

	if (x->sec != y->sec)
		return x->sec < y->sec ? -1 : 1;
	return (int)x->side - (int)y->side;
}

static void add_record(struct batch *batch, struct batch_second *cell, const struct rec_head *record)
{
	cell->packets++;
	cell->bytes += record->wire_len;
	batch->bytes += record->wire_len;
	batch->records[batch->nrecords++] = record;
	if (record->time < batch->first_boot)
		batch->first_boot = record->time;
	if (record->time > batch->last_boot)
		batch->last_boot = record->time;
}

/*
 * Walks the ring from `from` towards `head` and adds what lies in the window, until the first record that does not. A record that
 * is too early was published late, by another CPU: it is the oldest of the next batch. Returns where it stopped; *bad is set
 * when a record cannot be one.
 */
static uint64_t walk(struct batch *batch, const struct ring *ring, uint64_t from, uint64_t head, struct window window,
		     uint32_t max_records, int *bad)
{
	struct batch_second *cell = NULL;
	uint64_t at = from, boundary = 0;

	while (at < head && batch->nrecords < max_records) {
		const struct rec_head *record = ring_record(ring, at);
		uint32_t len = ring_record_len(ring, at, head);

		if (!len) {
			*bad = 1;
			break;
		}
		if (record->time >= window.until || record->time < window.from)
			break;
		if (!cell || record->time >= boundary || record->time < boundary - NS_PER_SEC) {
			uint64_t sec = record->time / NS_PER_SEC;

			cell = second_of(batch, sec, ring->side);
			if (!cell)
				break;
			boundary = (sec + 1) * NS_PER_SEC;
		}
		/* The next record's head is the next line or two: the walk is bound by these loads. */
		__builtin_prefetch((const char *)record + 512);
		add_record(batch, cell, record);
		at += len;
	}
	return at;
}

/* The same, and notes the range. */
static uint64_t take(struct batch *batch, const struct ring *ring, uint64_t from, uint64_t head, struct window window,
		     uint32_t max_records, int *bad)
{
	uint32_t before = batch->nrecords;
	uint64_t at = walk(batch, ring, from, head, window, max_records, bad);

	if (at > from)
		batch->ranges[batch->nranges++] = (struct batch_range){
			.from = from,
			.to = at,
			.side = ring->side,
			.cpu = ring->cpu,
			.records = batch->nrecords - before,
		};
	return at;
}

/* A record that cannot be one: what is published behind it cannot be found any more. Said once, seen by audit. */
static void skip_damage(struct ring *ring, uint64_t head)
{
	log_error("ring of cpu %u, side %s: no record at byte %llu; %llu bytes up to %llu are skipped", ring->cpu,
		  ring->side == REC_RX ? "rx" : "tx", (unsigned long long)ring->next,
		  (unsigned long long)(head - ring->next), (unsigned long long)head);
	ring->damaged = 1;
	ring->next = head;
}

struct batch *cut_batch(const struct batch_source *source, struct ring *rings, unsigned nrings,
			const struct clock_pair *pairs, unsigned npairs, uint32_t span_s, uint32_t max_records)
{
	unsigned first = 0, pair;
	struct window window;
	struct batch *batch;
	uint64_t oldest;

	errno = 0;
	if (!cut_pending(rings, nrings, &oldest))
		return NULL;
	batch = batch_new(source, nrings, max_records);
	if (!batch)
		return NULL;
	pair = pair_at(pairs, npairs, oldest);
	window = window_of(oldest, pairs, npairs, pair, span_s);
	batch->pair = pairs[pair];
	batch->span_s = (uint16_t)span_s;
	batch->day = clock_day((int64_t)oldest + clock_pair_offset(&batch->pair));
	for (unsigned i = 0; i < nrings; i++)
		if (ring_end(&rings[i]) != rings[i].next && ring_record(&rings[i], rings[i].next)->time == oldest)
			first = i;
	for (unsigned n = 0; n < nrings; n++) {
		struct ring *ring = &rings[(first + n) % nrings];
		uint64_t head = ring_end(ring);
		int bad = 0;

		ring->next = take(batch, ring, ring->next, head, window, max_records, &bad);
		if (bad)
			skip_damage(ring, head);
	}
	if (!batch->nrecords) {
		batch_free(batch);
		return NULL;
	}
	qsort(batch->seconds, batch->nseconds, sizeof(*batch->seconds), compare_seconds);
	return batch;
}

struct ring *cut_ring_of(struct ring *rings, unsigned nrings, const struct batch_range *range)
{
	for (unsigned i = 0; i < nrings; i++)
		if (rings[i].side == range->side && rings[i].cpu == range->cpu)
			return &rings[i];
	return NULL;
}

static struct batch_range *range_of(struct batch *batch, const struct ring *ring)
{
	for (unsigned i = 0; i < batch->nranges; i++)
		if (batch->ranges[i].side == ring->side && batch->ranges[i].cpu == ring->cpu)
			return &batch->ranges[i];
	return NULL;
}

/* What the open one has of this ring: it was taken once, so it is whole. */
static bool take_held(struct batch *batch, const struct batch_range *range, const struct ring *ring, uint32_t max_records)
{
	const struct window all = {0, UINT64_MAX};
	int bad = 0;

	return ring && take(batch, ring, range->from, range->to, all, max_records, &bad) == range->to && !bad;
}

/* What stands behind it. True when the ring has a record that the batch cannot hold. */
static bool take_further(struct batch *batch, struct ring *ring, struct window window, uint32_t max_records)
{
	struct batch_range *range = range_of(batch, ring);
	uint64_t head = ring_end(ring);
	uint32_t before = batch->nrecords;
	bool over;
	int bad = 0;

	if (!range) {
		ring->next = take(batch, ring, ring->next, head, window, max_records, &bad);
	} else {
		ring->next = walk(batch, ring, range->to, head, window, max_records, &bad);
		range->to = ring->next;
		range->records += batch->nrecords - before;
	}
	over = ring->next != head;
	if (bad)
		skip_damage(ring, head);
	return over;
}

struct batch *cut_more(const struct batch *open, struct ring *rings, unsigned nrings, const struct clock_pair *pairs,
		       unsigned npairs, uint32_t max_records, bool *over)
{
	uint32_t room = max_records > open->nrecords ? max_records : open->nrecords;
	unsigned pair = pair_at(pairs, npairs, open->first_boot);
	struct batch *batch = batch_new(open->source, nrings, room);
	struct window window;

	if (!batch)
		return NULL;
	batch->number = open->number;
	batch->day = open->day;
	batch->mode = open->mode;
	batch->version = open->version;
	batch->span_s = open->span_s;
	batch->form = open->form;
	batch->salt = open->salt;
	batch->raw = open->raw;
	batch->attempted = open->attempted;
	batch->pair = open->pair;
	memcpy(batch->previous, open->previous, DIGEST_LEN);
	for (unsigned i = 0; i < open->nranges; i++)
		if (!take_held(batch, &open->ranges[i], cut_ring_of(rings, nrings, &open->ranges[i]), room)) {
			batch_free(batch);
			errno = EBADMSG;
			return NULL;
		}
	/* Under another pair than it was cut with nothing more can belong to it. */
	*over = memcmp(&pairs[pair], &open->pair, sizeof(open->pair)) != 0;
	if (!*over) {
		window = window_of(open->first_boot, pairs, npairs, pair, open->span_s);
		for (unsigned i = 0; i < nrings; i++)
			*over |= take_further(batch, &rings[i], window, room);
	}
	*over |= batch->nrecords >= max_records;
	qsort(batch->seconds, batch->nseconds, sizeof(*batch->seconds), compare_seconds);
	return batch;
}

struct batch *cut_again(const struct batch_source *source, struct ring *rings, unsigned nrings,
			const struct batch_range *ranges, unsigned nranges, const struct clock_pair *pair)
{
	const struct window all = {0, UINT64_MAX};
	uint64_t records = 0;
	struct batch *batch;
	uint32_t last_day;

	for (unsigned i = 0; i < nranges; i++)
		records += ranges[i].records;
	if (!nranges || nranges > nrings || !records || records > UINT32_MAX / sizeof(void *)) {
		errno = EBADMSG;
		return NULL;
	}
	batch = batch_new(source, nrings, (uint32_t)records);
	if (!batch)
		return NULL;
	for (unsigned i = 0; i < nranges; i++) {
		struct ring *ring = cut_ring_of(rings, nrings, &ranges[i]);
		uint32_t before = batch->nrecords;
		int bad = 0;

		if (!ring || ranges[i].from < ring_tail(ring) || ranges[i].to > ring_head(ring) ||
		    ranges[i].from > ranges[i].to ||
		    take(batch, ring, ranges[i].from, ranges[i].to, all, (uint32_t)records, &bad) != ranges[i].to ||
		    bad || batch->nrecords - before != ranges[i].records)
			goto damaged;
	}
	batch->pair = *pair;
	batch->day = clock_day(batch_wall(batch, batch->first_boot));
	last_day = clock_day(batch_wall(batch, batch->last_boot));
	if (batch->day != last_day)
		goto damaged;
	qsort(batch->seconds, batch->nseconds, sizeof(*batch->seconds), compare_seconds);
	return batch;
damaged:
	batch_free(batch);
	errno = EBADMSG;
	return NULL;
}
