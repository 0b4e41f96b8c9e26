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

/* The day of `time` under `pair`, as boot times. */
static struct window day_window(uint64_t time, const struct clock_pair *pair, uint32_t *day)
{
	*day = clock_day((int64_t)time + clock_pair_offset(pair));
	return (struct window){
		.from = saturating_boot(clock_day_start(*day), pair),
		.until = saturating_boot(clock_day_start(clock_next_day(*day)), pair),
	};
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

/*
 * Walks the ring from `from` towards `head` and adds what lies in the window. Returns where it stopped; *bad is set when a
 * record cannot be one.
 */
static uint64_t take(struct batch *batch, struct ring *ring, uint64_t from, uint64_t head, struct window window,
		     uint32_t max_records, int *bad)
{
	struct batch_second *cell = NULL;
	uint64_t at = from, boundary = 0;
	uint32_t before = batch->nrecords;

	while (at < head && batch->nrecords < max_records) {
		const struct rec_head *record = ring_record(ring, at);
		uint32_t len = ring_record_len(ring, at, head);

		if (!len) {
			*bad = 1;
			break;
		}
		if (record->time >= window.until)
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
		cell->packets++;
		cell->bytes += record->wire_len;
		batch->bytes += record->wire_len;
		batch->records[batch->nrecords++] = record;
		if (record->time < batch->first_boot)
			batch->first_boot = record->time;
		if (record->time > batch->last_boot)
			batch->last_boot = record->time;
		at += len;
	}
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
			const struct clock_pair *pairs, unsigned npairs, uint32_t max_records)
{
	uint64_t oldest;
	unsigned first = 0, pair = 0;
	struct window window;
	struct batch *batch;

	errno = 0;
	if (!cut_pending(rings, nrings, &oldest))
		return NULL;
	batch = batch_new(source, nrings, max_records);
	if (!batch)
		return NULL;
	while (pair + 1 < npairs && pairs[pair + 1].boot <= oldest)
		pair++;
	window = day_window(oldest, &pairs[pair], &batch->day);
	batch->pair = pairs[pair];
	if (pair + 1 < npairs && pairs[pair + 1].boot < window.until)
		window.until = pairs[pair + 1].boot;
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
